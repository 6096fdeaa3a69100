"""Pearson and biweight midcorrelation of genes, with missing values taken pair by pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.coexpression.settings import CorrelationKind
    from tasks.stats.types import FloatArray

_TUNING = 9.0
# What the value at the quantile of `max_p_outliers` is scaled to at most, on a side where it were more.
_AT_QUANTILE = 0.5
_LEAST_DIMENSIONS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Standardised:
    """Rows of length one whose inner products are correlations.

    `unit` (genes, samples) is NaN throughout for a gene without spread. `fell_back` marks genes of which more
    than half the values are one: their median absolute deviation is zero, so that Pearson's standardisation
    stands in for the biweight one.
    """

    unit: FloatArray
    fell_back: NDArray[np.bool_]


def standardised(value: FloatArray, *, kind: CorrelationKind, max_p_outliers: float = 1.0) -> Standardised:
    """Standardise complete expression (genes, samples) for correlation.

    For the biweight midcorrelation a value u scaled deviations from the median has weight (1 - u^2)^2, none
    beyond 1. The scale is nine median absolute deviations, or on a side with many values far out so much more
    that the quantile of `max_p_outliers` comes to lie at u = 1/2, as in WGCNA.

    Raises
    ------
    ValueError
        For an array that is not two-dimensional, or a share outside 0 to 1.

    References
    ----------
    Langfelder P, Horvath S. Fast R functions for robust correlations and hierarchical clustering.
    J Stat Softw 2012;46(11). Wilcox RR. Introduction to robust estimation and hypothesis testing, 9.3.8.
    """
    value = np.ascontiguousarray(value, dtype=np.float64)
    if value.ndim != _LEAST_DIMENSIONS:
        raise ValueError(f"value: {value.ndim} dimension(s): must be genes by samples")
    if not 0 <= max_p_outliers <= 1:
        raise ValueError(f"max_p_outliers: {max_p_outliers}: must be from 0 to 1")
    centred = value - value.mean(axis=1, keepdims=True)
    fell_back = np.zeros(len(value), dtype=np.bool_)
    if kind == "bicor":
        median = np.median(value, axis=1, keepdims=True)
        from_median = value - median
        spread = np.median(np.abs(from_median), axis=1, keepdims=True)
        fell_back = (spread == 0).reshape(-1)
        low = high = np.where(spread == 0, 1.0, _TUNING * spread)
        if max_p_outliers < 1:
            lowest, highest = np.quantile(from_median, [max_p_outliers, 1 - max_p_outliers], axis=1)
            low = np.maximum(low, -lowest[:, None] / _AT_QUANTILE)
            high = np.maximum(high, highest[:, None] / _AT_QUANTILE)
        scaled = from_median / np.where(from_median < 0, low, high)
        weight = np.where(np.abs(scaled) < 1, (1 - scaled**2) ** 2, 0.0)
        centred = np.where(fell_back[:, None], centred, from_median * weight)
    length = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    # A constant's deviations are nothing but rounding of its mean.
    is_flat = (np.ptp(value, axis=1) == 0)[:, None] | (length == 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = np.where(is_flat, np.nan, centred / length)
    return Standardised(unit=unit, fell_back=fell_back)


def correlation(value: FloatArray, *, kind: CorrelationKind, max_p_outliers: float = 1.0) -> FloatArray:
    """Return the correlations (genes, genes) of expression (genes, samples).

    A missing value leaves out its sample from the pairs of its gene alone, as in WGCNA's `cor` and `bicor`:
    medians and deviations too are those of the samples that both genes have. NaN where a gene of the pair
    does not vary over the samples shared.
    """
    return cross_correlation(value, value, kind=kind, max_p_outliers=max_p_outliers)


def cross_correlation(
    value: FloatArray, other: FloatArray, *, kind: CorrelationKind, max_p_outliers: float = 1.0
) -> FloatArray:
    """Return the correlations of the rows of `value` with those of `other`, as `correlation` does."""
    value, other = np.atleast_2d(value), np.atleast_2d(other)
    if value.shape[1] != other.shape[1]:
        raise ValueError(f"other: {other.shape[1]} samples: must be {value.shape[1]}, as of value")
    is_same = value is other or (value.shape == other.shape and np.array_equal(value, other, equal_nan=True))
    result = np.full((len(value), len(other)), np.nan)
    for rows, columns, samples in _patterns(value, other):
        one = standardised(value[np.ix_(rows, samples)], kind=kind, max_p_outliers=max_p_outliers).unit
        two = standardised(other[np.ix_(columns, samples)], kind=kind, max_p_outliers=max_p_outliers).unit
        result[np.ix_(rows, columns)] = one @ two.T
    np.clip(result, -1.0, 1.0, out=result)
    if is_same:
        known = np.isfinite(np.diagonal(result))
        np.fill_diagonal(result, np.where(known, 1.0, np.nan))
    return result


def _patterns(
    value: FloatArray, other: FloatArray
) -> list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]]:
    """Return groups of rows of the two that share the same samples, each pair of rows once."""
    groups = [_by_pattern(np.isfinite(value)), _by_pattern(np.isfinite(other))]
    return [
        (rows, columns, one & two)
        for rows, one in groups[0]
        for columns, two in groups[1]
        if (one & two).sum() > 1
    ]


def _by_pattern(known: NDArray[np.bool_]) -> list[tuple[NDArray[np.intp], NDArray[np.bool_]]]:
    if known.all():
        return [(np.arange(len(known)), np.ones(known.shape[1], dtype=np.bool_))]
    found: dict[bytes, list[int]] = {}
    for row, pattern in enumerate(np.packbits(known, axis=1)):
        found.setdefault(pattern.tobytes(), []).append(row)
    return [(np.array(rows), known[rows[0]]) for rows in found.values()]


def pairwise_pearson(value: FloatArray) -> FloatArray:
    """Return Pearson correlations (genes, genes) over the samples each pair has, by matrix products.

    The sums of a pair are products of zero-filled values and of the marks of what is known, so missing values
    in many patterns cost six products in all. Equal to `correlation` up to rounding.
    """
    known = np.isfinite(value)
    mark = known.astype(np.float64)
    count = mark.sum(axis=1, keepdims=True)
    filled = np.where(known, value, 0.0)
    mean = filled.sum(axis=1, keepdims=True) / np.maximum(count, 1)
    # Centred on the gene's own mean first, so that the sums of squares lose no digits.
    filled = np.where(known, value - mean, 0.0)
    pairs = mark @ mark.T
    total = filled @ mark.T
    square = (filled**2) @ mark.T
    product = filled @ filled.T
    with np.errstate(invalid="ignore", divide="ignore"):
        product -= total * total.T / pairs
        spread = square - total**2 / pairs
        spread[spread <= np.finfo(float).eps * square * 8] = np.nan
        result = product / np.sqrt(spread * spread.T)
    np.clip(result, -1.0, 1.0, out=result)
    np.fill_diagonal(result, np.where(np.isfinite(np.diagonal(result)), 1.0, np.nan))
    return result


def paired_observations(value: FloatArray, other: FloatArray | None = None) -> FloatArray:
    """Return how many samples each row of `value` shares with each of `other` (itself when None)."""
    one = np.isfinite(value).astype(np.float64)
    two = one if other is None else np.isfinite(other).astype(np.float64)
    return one @ two.T


def correlation_p_value(r: FloatArray, n: FloatArray | float) -> FloatArray:
    """Return the two-sided p-value of H0: no correlation, by Student's t with n - 2 degrees of freedom.

    It takes the n samples as independent and normal; repeated samples of patients are not.
    """
    freedom = np.asarray(n, dtype=np.float64) - 2
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.sqrt(freedom) * r / np.sqrt(1 - np.square(r))
        return np.asarray(2 * stats.t.sf(np.abs(t), freedom))
