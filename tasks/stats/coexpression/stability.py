"""What of the modules would be found again, had other patients of the same kind been enrolled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.coexpression.eigengene import module_eigengenes
from tasks.stats.coexpression.membership import module_membership, rank_in_module
from tasks.stats.coexpression.network import find_modules
from tasks.stats.coexpression.settings import UNASSIGNED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tasks.stats.coexpression.settings import NetworkSettings
    from tasks.stats.types import FloatArray

FOUND_AGAIN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """Over resamples of patients.

    Per module (`module` (m,)): `jaccard` (resamples, m) of the module most like it, 0 where none shares a
    gene. Per gene: `share_in_module` (genes,), how often it was in the match of its module; `rank`
    (resamples, genes) by kME to its own module, NaN for genes without one.
    """

    module: NDArray[np.int64]
    jaccard: FloatArray
    share_in_module: FloatArray
    rank: FloatArray


def module_stability(
    value: FloatArray,
    patient: Sequence[str],
    label: NDArray[np.int64],
    settings: NetworkSettings,
    *,
    resamples: int = 20,
    seed: int = 0,
) -> Stability:
    """Resample patients with replacement, with all samples of each, and find the modules anew.

    `value` (genes, samples), `patient` (samples,), `label` (genes,) the modules found with everybody.
    Patients, not samples, are drawn: two biopsies of one patient stand and fall together. A patient drawn
    twice counts twice, so that medians and correlations are those of the bootstrap distribution; a draw of
    fewer than three different patients is drawn again. Ranks are of membership in the given module over the
    drawn samples, so they vary with the patients alone.

    References
    ----------
    Efron B, Tibshirani RJ. An introduction to the bootstrap. 1993, chapter 8. Hennig C. Cluster-wise
    assessment of cluster stability. Comput Stat Data Anal 2007;52:258-271.
    """
    everybody = sorted(set(patient))
    least = 3
    if len(everybody) < least:
        raise ValueError(f"patient: {len(everybody)} patient(s): at least {least} are needed to resample")
    places = {one: np.flatnonzero(np.array(patient) == one) for one in everybody}
    modules = np.unique(label[label != UNASSIGNED])
    own_place = np.searchsorted(modules, label)
    rng = np.random.default_rng(seed)
    jaccard = np.zeros((resamples, len(modules)))
    rank = np.full((resamples, len(label)), np.nan)
    in_match = np.zeros(len(label))
    quick = replace(settings, precision="single")
    for draw in range(resamples):
        drawn = _drawn(rng, len(everybody), least)
        sample = np.concatenate([places[everybody[one]] for one in drawn])
        found = find_modules(value[:, sample], quick).label
        for row, module in enumerate(modules):
            members = label == module
            best = _best_match(members, found)
            jaccard[draw, row] = best[1]
            if best[0] != UNASSIGNED:
                in_match += members & (found == best[0])
        if len(modules):
            kme = module_membership(
                value[:, sample],
                module_eigengenes(value[:, sample], label),
                kind=settings.correlation,
                max_p_outliers=settings.max_p_outliers,
            ).kme
            own = kme[np.arange(len(label)), np.minimum(own_place, len(modules) - 1)]
            ranked = rank_in_module(own, label)
            rank[draw] = np.where(ranked > 0, ranked, np.nan)
    return Stability(module=modules, jaccard=jaccard, share_in_module=in_match / resamples, rank=rank)


def _drawn(rng: np.random.Generator, n: int, least: int) -> NDArray[np.int64]:
    while True:
        drawn = rng.integers(0, n, n)
        if len(np.unique(drawn)) >= least:
            return np.sort(drawn)


def _best_match(members: NDArray[np.bool_], found: NDArray[np.int64]) -> tuple[int, float]:
    size = np.bincount(found)
    shared = np.bincount(found[members], minlength=len(size))
    jaccard = shared / (members.sum() + size - shared)
    jaccard[UNASSIGNED] = 0
    best = int(jaccard.argmax())
    return (best, float(jaccard[best])) if jaccard[best] > 0 else (UNASSIGNED, 0.0)
