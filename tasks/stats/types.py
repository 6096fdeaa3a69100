"""What the statistics take and return, and how they refuse bad input."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class HypothesisTest:
    """A test that is not of paired differences; `df` is None where the statistic has none."""

    method: str
    alternative: Alternative
    statistic: float
    p_value: float
    df: float | None
    df_denominator: float | None
    is_exact: bool
    has_continuity_correction: bool | None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """An estimate; its standard error or interval is None where the method defines none."""

    method: str
    estimate: float
    standard_error: float | None
    interval: Interval | None
    n: int


def checked_vector(name: str, values: ArrayLike, *, at_least: int = 1) -> FloatArray:
    """Return the values as a finite vector of float64, or say which value is wrong."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: shape {array.shape}: must be one-dimensional")
    not_finite = np.flatnonzero(~np.isfinite(array))
    if not_finite.size:
        position = int(not_finite[0])
        raise ValueError(f"{name}: {array[position]} at position {position}: every value must be finite")
    if array.size < at_least:
        raise ValueError(f"{name}: {array.size} value(s): at least {at_least} needed")
    return array


def checked_difference(difference: ArrayLike, *, at_least: int = 1) -> FloatArray:
    return checked_vector("difference", difference, at_least=at_least)


def checked_same_length(name: str, length: int, other: str, other_length: int) -> None:
    if length != other_length:
        raise ValueError(f"{name}: {length} value(s) beside {other_length} of {other}: must be as many")


def checked_counts(name: str, counts: ArrayLike) -> NDArray[np.int64]:
    """Return counts of subjects as whole numbers, or say which is none."""
    array = np.asarray(counts, dtype=np.float64)
    wrong = np.argwhere(~(np.isfinite(array) & (array >= 0) & (array == np.floor(array))))
    if wrong.size:
        position = tuple(int(i) for i in wrong[0])
        raise ValueError(f"{name}: {array[position]:g} at {position}: must be a whole number, zero or more")
    return array.astype(np.int64)


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
