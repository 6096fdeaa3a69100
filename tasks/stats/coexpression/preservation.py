"""Whether modules found in one data set are modules in another, beyond what chance gives their size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from tasks.stats.coexpression.network import usable
from tasks.stats.coexpression.preservation_statistics import (
    CONNECTIVITY,
    DENSITY,
    GOLD,
    STATISTICS,
    ReferenceModules,
    Samples,
)
from tasks.stats.coexpression.settings import UNASSIGNED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.coexpression.settings import NetworkSettings
    from tasks.stats.types import FloatArray

_DENSITY = [STATISTICS.index(name) for name in DENSITY]
_CONNECTIVITY = [STATISTICS.index(name) for name in CONNECTIVITY]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One row per module (m,): Z of every statistic (m, statistics) and what they come to.

    `p_value` is the share of permutations, the observed one counted in, whose summary is as high.
    """

    z: FloatArray
    z_density: FloatArray
    z_connectivity: FloatArray
    z_summary: FloatArray
    p_value: FloatArray
    median_rank: FloatArray
    median_rank_density: FloatArray
    median_rank_connectivity: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ModulePreservation:
    """`module` (m,): the labels, UNASSIGNED and GOLD among them; `size` (m,): genes of each that were used.

    `observed` (m, statistics) in the order of STATISTICS; `used` (genes,): with enough values in both.
    """

    module: NDArray[np.int64]
    size: NDArray[np.int64]
    observed: FloatArray
    summary: Summary
    used: NDArray[np.bool_]
    permutations: int


def module_preservation(
    reference: FloatArray,
    test: FloatArray,
    label: NDArray[np.int64],
    settings: NetworkSettings,
    *,
    permutations: int = 200,
    seed: int = 0,
    max_gold_size: int = 1000,
    max_module_size: int = 1000,
) -> ModulePreservation:
    """Ask whether modules of a reference are found in a test set of the same genes, other samples.

    `reference` (genes, samples) and `test` (genes, other samples), rows the same genes; `label` (genes,) the
    modules of the reference. H0 for each module: its genes are no closer in the test set than as many genes
    drawn at random; the genes of the test set are permuted. Z = (observed - mean) / SD of the permutations;
    `z_summary` is the mean of the medians of Z over the statistics of density and of connectivity. Below 2
    there is no evidence of preservation, from 2 to 10 weak to moderate, above 10 strong. It grows with the
    size of a module; `median_rank`, the median rank of the observed statistics among the modules (1 = best
    preserved), does not, and compares modules of one data set only. The statistics, thresholds and summary
    are those of WGCNA's modulePreservation, with three differences: the genes at random (GOLD) and those kept
    of modules above `max_module_size` are drawn once, not anew for each permutation; unassigned and random
    genes, which are no modules, are measured and ranked but have no Z; missing values are never approximated.

    Raises
    ------
    ValueError
        For arrays of other genes, fewer than two permutations, or fewer than two labels.

    References
    ----------
    Langfelder P, Luo R, Oldham MC, Horvath S. Is my network module preserved and reproducible? PLoS Comput
    Biol 2011;7:e1001057.
    """
    if not len(reference) == len(test) == len(label):
        raise ValueError(
            f"reference, test and label: {len(reference)}, {len(test)} and {len(label)} genes:"
            " must be the same genes"
        )
    if permutations < 2:  # noqa: PLR2004 - one has no spread
        raise ValueError(f"permutations: {permutations}: must be at least 2")
    used, reference_samples, test_samples = _usable_in_both(reference, test)
    label = label[used]
    if len(np.unique(label)) < 2:  # noqa: PLR2004 - nothing to permute with
        raise ValueError("label: one module of all genes: others are needed to permute with")
    rng = np.random.default_rng(seed)
    n_genes = len(label)
    kept = np.sort(
        np.concatenate(
            [_some(rng, np.flatnonzero(label == one), max_module_size) for one in np.unique(label)]
        )
    )
    n_gold = min(max_gold_size, n_genes // 2)
    gold = rng.permutation(n_genes)[:n_gold]
    rows = np.concatenate([kept, gold])
    chosen_label = np.concatenate([label[kept], np.full(n_gold, GOLD)])
    modules = ReferenceModules(reference[np.ix_(used, reference_samples)], rows, chosen_label, settings)
    samples = Samples(test[np.ix_(used, test_samples)], settings)
    observed = modules.statistics_in(samples, rows)
    asked = np.flatnonzero((modules.module != UNASSIGNED) & (modules.module != GOLD)).tolist()
    permuted = np.array(
        [
            modules.statistics_in(
                samples,
                np.concatenate([rng.permutation(n_genes)[: len(kept)], rng.permutation(n_genes)[:n_gold]]),
                asked,
            )
            for _ in range(permutations)
        ]
    )
    return ModulePreservation(
        module=modules.module,
        size=modules.size,
        observed=observed,
        summary=summarise(observed, permuted),
        used=used,
        permutations=permutations,
    )


def summarise(observed: FloatArray, permuted: FloatArray) -> Summary:
    """Set observed statistics (modules, statistics) against (permutations, modules, statistics).

    A statistic that does not vary over permutations has no Z; a median is over those that have one.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        # Numpy warns of what is NaN in every permutation, such as a module of one gene; it stays NaN.
        known = np.isfinite(permuted)
        n = known.sum(axis=0)
        mean = np.where(known, permuted, 0.0).sum(axis=0) / n
        spread = np.sqrt(np.where(known, (permuted - mean) ** 2, 0.0).sum(axis=0) / (n - 1))
        spread = np.where(spread > 0, spread, np.nan)
        z = (observed - mean) / spread
        z_density, z_connectivity, z_summary = _summaries(z)
        *_, by_chance = _summaries((permuted - mean) / spread)
    reached = (by_chance >= z_summary).sum(axis=0) + 1
    ranks = stats.rankdata(-observed, axis=0, nan_policy="omit")
    ranks = np.where(np.isfinite(observed), ranks, np.nan)
    return Summary(
        z=z,
        z_density=z_density,
        z_connectivity=z_connectivity,
        z_summary=z_summary,
        p_value=np.where(np.isfinite(z_summary), reached / (len(permuted) + 1), np.nan),
        median_rank=_median(ranks[:, _DENSITY + _CONNECTIVITY]),
        median_rank_density=_median(ranks[:, _DENSITY]),
        median_rank_connectivity=_median(ranks[:, _CONNECTIVITY]),
    )


def _summaries(z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    density, connectivity = _median(z[..., _DENSITY]), _median(z[..., _CONNECTIVITY])
    return density, connectivity, (density + connectivity) / 2


def _median(value: FloatArray) -> FloatArray:
    """Return the median over the last axis of what is known, NaN where nothing is."""
    known = np.asarray(np.isfinite(value).any(axis=-1))
    filled = np.where(known[..., None], value, 0.0)
    return np.where(known, np.nanmedian(filled, axis=-1), np.nan)


def _usable_in_both(
    reference: FloatArray, test: FloatArray
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the genes with enough values in both sets, and the samples of each."""
    used = np.ones(len(reference), dtype=np.bool_)
    while True:
        before = int(used.sum())
        masks = []
        for value in (reference, test):
            genes, samples = usable(value[used])
            masks.append(samples)
            used[np.flatnonzero(used)[~genes]] = False
        if int(used.sum()) == before:
            return used, masks[0], masks[1]


def _some(rng: np.random.Generator, genes: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    return genes if len(genes) <= most else rng.choice(genes, most, replace=False)
