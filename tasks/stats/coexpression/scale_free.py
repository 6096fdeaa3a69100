"""Whether connectivity is distributed as in a scale-free network, and the power chosen by that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tasks.stats.coexpression.adjacency import BLOCK
from tasks.stats.coexpression.correlation import correlation, pairwise_pearson, standardised

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasks.stats.coexpression.settings import CorrelationKind, NetworkKind
    from tasks.stats.types import FloatArray

POWERS = (*range(1, 11), *range(12, 21, 2))
_TINY = 1e-9
# Fewer samples than the first number: the power for unsigned and hybrid networks, and for signed ones.
_BY_SAMPLES = ((20, 9, 18), (30, 8, 16), (40, 7, 14))
_MANY_SAMPLES = (6, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleFreeFit:
    """Fit of log10 p(k) on log10 k: R squared, slope, and adjusted R squared with a term for truncation."""

    r_squared: float
    slope: float
    truncated_r_squared: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftThreshold:
    """One row per power, all arrays (powers,): the scale-free fit and the connectivity."""

    power: FloatArray
    r_squared: FloatArray
    slope: FloatArray
    truncated_r_squared: FloatArray
    mean_connectivity: FloatArray
    median_connectivity: FloatArray
    max_connectivity: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerChoice:
    """The power chosen, by which rule, and why in a sentence."""

    power: float
    rule: Literal["scale_free_fit", "sample_size_table"]
    reason: str


def scale_free_fit(connectivity: FloatArray, *, bins: int = 10, remove_first: bool = False) -> ScaleFreeFit:
    """Fit the share of genes in bins of connectivity on the bins' mean connectivity, both in log10.

    `connectivity` (genes,) is cut into bins of equal width; an empty bin takes part with a share of 1e-9, as
    in WGCNA's scaleFreeFitIndex. A scale-free network has a negative slope and an R squared near 1.
    """
    low, high = float(connectivity.min()), float(connectivity.max())
    if not high > low:
        return ScaleFreeFit(r_squared=np.nan, slope=np.nan, truncated_r_squared=np.nan)
    edges = np.linspace(low, high, bins + 1)
    middle = (edges[:-1] + edges[1:]) / 2
    place = np.clip(np.searchsorted(edges, connectivity, side="left") - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    mean = np.bincount(place, weights=connectivity, minlength=bins) / np.maximum(count, 1)
    log_k = np.log10(np.where((count == 0) | (mean == 0), middle, mean))
    log_p = np.log10(count / len(connectivity) + _TINY)
    first = int(remove_first)
    log_k, log_p = log_k[first:], log_p[first:]
    straight = np.column_stack([np.ones(len(log_k)), log_k])
    coefficient, unexplained = _fit(straight, log_p)
    _, truncated = _fit(np.column_stack([straight, 10**log_k]), log_p)
    total = float(((log_p - log_p.mean()) ** 2).sum())
    n = len(log_p)
    return ScaleFreeFit(
        r_squared=1 - unexplained / total,
        slope=float(coefficient[1]),
        truncated_r_squared=1 - (truncated / total) * (n - 1) / (n - 3),
    )


def _fit(design: FloatArray, response: FloatArray) -> tuple[FloatArray, float]:
    coefficient = np.linalg.lstsq(design, response, rcond=None)[0]
    return coefficient, float(((response - design @ coefficient) ** 2).sum())


def soft_threshold(
    value: FloatArray,
    powers: Sequence[float] = POWERS,
    *,
    kind: CorrelationKind = "pearson",
    max_p_outliers: float = 1.0,
    network: NetworkKind = "unsigned",
    bins: int = 10,
    remove_first: bool = False,
) -> SoftThreshold:
    """Tabulate the scale-free fit over powers for expression (genes, samples), as pickSoftThreshold does."""
    table = sorted(set(powers))
    if not table or table[0] <= 0:
        raise ValueError(f"powers: {list(powers)}: must be above 0, and at least one")
    if len(value) < 2 * bins:
        raise ValueError(f"value: {len(value)} gene(s): at least {2 * bins} are needed for {bins} bins")
    connectivity = np.zeros((len(table), len(value)))
    for start, block in _correlation_blocks(value, kind, max_p_outliers):
        end = start + len(block)
        if network == "signed":
            base = (1 + block) / 2
        else:
            base = np.abs(block) if network == "unsigned" else np.maximum(block, 0)
        np.nan_to_num(base, copy=False)
        np.fill_diagonal(base, 1.0)
        raised = np.ones_like(base)
        reached = 0.0
        for row, power in enumerate(table):
            raised *= _step(base, power - reached)
            reached = power
            connectivity[row, start:end] += raised.sum(axis=1)
            connectivity[row, end:] += raised[:, end - start :].sum(axis=0)
    connectivity -= 1
    fits = [scale_free_fit(k, bins=bins, remove_first=remove_first) for k in connectivity]
    return SoftThreshold(
        power=np.array(table, dtype=np.float64),
        r_squared=np.array([fit.r_squared for fit in fits]),
        slope=np.array([fit.slope for fit in fits]),
        truncated_r_squared=np.array([fit.truncated_r_squared for fit in fits]),
        mean_connectivity=connectivity.mean(axis=1),
        median_connectivity=np.median(connectivity, axis=1),
        max_connectivity=connectivity.max(axis=1),
    )


def _step(base: FloatArray, power: float) -> FloatArray:
    if power == 1:
        return base
    return base * base if power == 2 else base**power  # noqa: PLR2004 - a square is the usual step


def _correlation_blocks(
    value: FloatArray, kind: CorrelationKind, max_p_outliers: float
) -> Iterator[tuple[int, FloatArray]]:
    """Yield rows of the correlation from the diagonal on; without missing values no square is kept."""
    if np.isfinite(value).all():
        unit = standardised(value, kind=kind, max_p_outliers=max_p_outliers).unit
        for start in range(0, len(value), BLOCK):
            yield start, np.clip(unit[start : start + BLOCK] @ unit[start:].T, -1.0, 1.0)
        return
    square = (
        pairwise_pearson(value)
        if kind == "pearson"
        else correlation(value, kind=kind, max_p_outliers=max_p_outliers)
    )
    for start in range(0, len(value), BLOCK):
        yield start, square[start : start + BLOCK, start:]


def choose_power(
    table: SoftThreshold, n_samples: int, *, network: NetworkKind, r_squared_cut: float = 0.85
) -> PowerChoice:
    """Choose the lowest power that fits a scale-free network, or the usual one for the number of samples.

    A power fits when R squared is above `r_squared_cut` with a negative slope and the mean connectivity is 1
    or more: beyond, hardly any gene is connected and the fit is of noise. A strong contrast among samples
    (tissue, batch) makes every gene correlate; then no power fits, or only one so high that it leaves the
    contrast alone. Where none fits up to the usual power for so many samples, by the table of the authors of
    WGCNA, that one is taken.
    """
    usual = float(power_by_samples(n_samples, network=network))
    fits = (table.r_squared > r_squared_cut) & (table.slope < 0) & (table.mean_connectivity >= 1)
    row = int(np.flatnonzero(fits)[0]) if fits.any() else None
    if row is not None and table.power[row] <= usual:
        return PowerChoice(
            power=float(table.power[row]),
            rule="scale_free_fit",
            reason=(
                f"lowest power with scale-free R squared above {r_squared_cut:g}"
                f" ({table.r_squared[row]:.3f}, mean connectivity {table.mean_connectivity[row]:.1f})"
            ),
        )
    if row is None:
        why = f"no power has scale-free R squared above {r_squared_cut:g} with mean connectivity of 1 or more"
    else:
        why = (
            f"scale-free R squared above {r_squared_cut:g} is not reached before power {table.power[row]:g}"
            f" ({table.r_squared[row]:.3f})"
        )
    return PowerChoice(
        power=usual,
        rule="sample_size_table",
        reason=f"{why}: the usual power for {n_samples} samples",
    )


def power_by_samples(n_samples: int, *, network: NetworkKind) -> int:
    """Return the power that the authors of WGCNA advise for a number of samples where no power fits."""
    for below, plain, signed in _BY_SAMPLES:
        if n_samples < below:
            return signed if network == "signed" else plain
    return _MANY_SAMPLES[1] if network == "signed" else _MANY_SAMPLES[0]
