"""What the statistics of paired differences take and return, and how they refuse bad input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.floating[Any]]
Alternative: TypeAlias = Literal["two-sided", "greater", "less"]
ZeroRule: TypeAlias = Literal["wilcox", "pratt"]

# Differences of decimal scores carry rounding noise (0.3 - 0.2 is not 0.1 in binary). Values nearer to each
# other than this fraction of the largest are the same value: a tie, or a zero.
RESOLUTION = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Confidence interval; `achieved_level` is the guaranteed level where the method is discrete."""

    low: float
    high: float
    level: float
    achieved_level: float | None
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """A p-value with everything needed to know which p-value it is.

    `n` counts the differences given, `n_zero` those equal to zero, `n_used` those that enter the null
    distribution. `has_continuity_correction` is None where the question does not arise.
    """

    method: str
    alternative: Alternative
    statistic: float
    p_value: float
    is_exact: bool
    has_continuity_correction: bool | None
    zero_rule: str
    tie_rule: str
    n: int
    n_zero: int
    n_used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRank(PairedTest):
    """`statistic` is the rank sum of the positive differences; `z` its standardised value, if asymptotic."""

    rank_sum_negative: float
    z: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedT(PairedTest):
    """`statistic` is t; `estimate` the mean difference."""

    df: int
    estimate: float
    standard_error: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class SignTest(PairedTest):
    """`statistic` counts the positive differences; `estimate` is their proportion among those not zero."""

    estimate: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class SignFlip(PairedTest):
    """`statistic` is the mean difference; resamples and seed are None when every sign pattern was counted."""

    n_resamples: int | None
    seed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HodgesLehmann:
    """The median of the Walsh averages and its interval."""

    estimate: float
    interval: Interval
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """A statistic with its bootstrap standard error and interval, and what is needed to repeat them."""

    estimate: float
    standard_error: float
    bias_correction: float
    acceleration: float
    interval: Interval
    n: int
    n_resamples: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectSize:
    """A dimensionless effect; `interval` is None where none is defined."""

    method: str
    estimate: float
    interval: Interval | None
    n: int
    n_zero: int


def checked_difference(difference: ArrayLike, *, at_least: int = 1) -> FloatArray:
    """Return the differences as a finite vector of float64, or say which value is wrong."""
    array = np.asarray(difference, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"difference: shape {array.shape}: must be one-dimensional")
    not_finite = np.flatnonzero(~np.isfinite(array))
    if not_finite.size:
        position = int(not_finite[0])
        raise ValueError(f"difference: {array[position]} at position {position}: every value must be finite")
    if array.size < at_least:
        raise ValueError(f"difference: {array.size} value(s): at least {at_least} needed")
    return array


def checked_level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level: {level}: must lie between 0 and 1, both excluded")
    return float(level)


def checked_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}: {value!r}: must be one of {', '.join(allowed)}")


def checked_alternative(alternative: Alternative) -> None:
    checked_choice("alternative", alternative, ("two-sided", "greater", "less"))


def resolution(values: FloatArray) -> float:
    """Return the distance within which two of the values count as equal."""
    return RESOLUTION * float(np.max(np.abs(values), initial=0.0))


def is_zero(difference: FloatArray) -> NDArray[np.bool_]:
    return np.abs(difference) <= resolution(difference)


def snapped(values: FloatArray) -> FloatArray:
    """Return the values with those that count as equal made equal (the smallest of them stands for all)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.diff(ordered, prepend=-np.inf) > resolution(values)
    result = np.empty_like(values)
    result[order] = ordered[np.flatnonzero(starts)[np.cumsum(starts) - 1]]
    return result


def positive_p(p_value: float) -> float:
    """Return a p-value that is neither zero by underflow nor above one by rounding."""
    return float(min(1.0, max(p_value, np.finfo(np.float64).tiny)))
