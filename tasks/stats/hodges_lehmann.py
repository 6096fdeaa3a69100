"""The Hodges-Lehmann estimate and the interval that inverts the signed-rank test."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from tasks.stats.signed_rank import null_distribution
from tasks.stats.types import (
    FloatArray,
    HodgesLehmann,
    Interval,
    checked_difference,
    checked_level,
    snapped,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

# With ties every candidate end has a null distribution of its own; beyond this n the normal index is as good.
EXACT_LIMIT = 100
# There are n (n + 1) / 2 Walsh averages: at this n they take 100 MB.
WALSH_LIMIT = 5000


def walsh_averages(values: FloatArray) -> FloatArray:
    """Return the means of all pairs of values, each value paired with itself too, in ascending order."""
    if values.size > WALSH_LIMIT:
        raise ValueError(f"difference: {values.size} values: at most {WALSH_LIMIT}")
    first, second = np.triu_indices(values.size)
    return np.sort((values[first] + values[second]) / 2)


def hodges_lehmann(difference: ArrayLike, *, level: float = 0.95) -> HodgesLehmann:
    """Estimate the centre of symmetry of the paired differences (their pseudo-median), with an interval.

    Parameters
    ----------
    difference : (n,) array
        After minus before, in the unit of the score; no NaN; zeros and ties are kept.
    level : float
        Nominal confidence level.

    Returns
    -------
    HodgesLehmann
        `estimate` is the median of the Walsh averages, positive when the score rises. The interval runs from
        the smallest to the largest shift that the exact two-sided signed-rank test of `difference - shift`
        does not reject at 1 - `level`. `achieved_level` is one minus the p-value of the shifts just outside
        (mean of both ends); it exceeds `level` because the test is discrete, and falls short of it only where
        n is so small that no shift can be rejected: the interval is then the range of the differences.

    Raises
    ------
    ValueError
        If fewer than two differences are given, one is NaN, or there are more than `WALSH_LIMIT`.

    Notes
    -----
    Between two neighbouring Walsh averages the rank sum of `difference - shift` is constant, so only those
    gaps need testing. Without ties this gives the order statistics W_(k) and W_(N + 1 - k) of the N Walsh
    averages with k the quantile of the signed-rank distribution. With ties each gap is tested against the
    distribution of its own midranks. Shifts equal to a Walsh average, where differences vanish and the zero
    rule would decide, are not tested; both ends belong to the interval. Above `EXACT_LIMIT` differences k
    comes from the normal approximation.

    References
    ----------
    .. [1] Hodges JL, Lehmann EL (1963). Estimates of location based on rank tests. Ann Math Stat 34:598-611.
    .. [2] Hollander M, Wolfe DA (1999). Nonparametric Statistical Methods, sec. 3.2-3.3.
    .. [3] Bauer DF (1972). Constructing confidence sets using rank statistics. J Am Stat Assoc 67:687-690.
    """
    nominal = checked_level(level)
    values = snapped(checked_difference(difference, at_least=2))
    walsh = walsh_averages(values)
    interval = _normal_interval(walsh, values.size, nominal)
    if values.size <= EXACT_LIMIT:
        low, p_below = _lower_end(values, walsh, 1 - nominal)
        negative_high, p_above = _lower_end(-values, -walsh[::-1], 1 - nominal)
        interval = Interval(
            low=low,
            high=-negative_high,
            level=nominal,
            achieved_level=1 - (p_below + p_above) / 2,
            method="inversion of the exact signed-rank test",
        )
    return HodgesLehmann(estimate=float(np.median(walsh)), interval=interval, n=values.size)


def _lower_end(values: FloatArray, walsh: FloatArray, alpha: float) -> tuple[float, float]:
    """Return the smallest Walsh average above which shifts are accepted, and the p-value just below it."""
    distinct = np.unique(snapped(walsh))
    gaps = (distinct[:-1] + distinct[1:]) / 2
    # Below all Walsh averages every difference is positive: one sign pattern of 2**n.
    p_rejected = 2.0 ** (1 - values.size)
    distributions: dict[bytes, FloatArray] = {}
    for j in range(_surely_rejected(values.size, walsh, gaps, alpha), gaps.size):
        p = _p_of_shift(values, gaps[j], distributions)
        if p > alpha:
            return float(distinct[j]), p_rejected
        p_rejected = p
    return float(distinct[-1]), p_rejected


def _surely_rejected(n: int, walsh: FloatArray, gaps: FloatArray, alpha: float) -> int:
    """Return how many of the first gaps need no test, since Hoeffding's inequality already rejects them.

    A sum of independent r_i B_i falls short of its mean by x with probability at most
    exp(-2 x**2 / sum r_i**2), and tied ranks have the smaller sum of squares.
    """
    deviation = math.sqrt(math.log(2 / alpha) * n * (n + 1) * (2 * n + 1) / 12)
    count_below = np.searchsorted(walsh, gaps)
    # One gap less than is certain: its p-value is wanted if the very next gap is accepted.
    return max(int(np.count_nonzero(count_below < n * (n + 1) / 4 - deviation)) - 1, 0)


def _p_of_shift(values: FloatArray, shift: float, distributions: dict[bytes, FloatArray]) -> float:
    """Return twice the lower-tail p-value of the negative rank sum, capped at one."""
    shifted = values - shift
    doubled = np.rint(2 * stats.rankdata(np.abs(shifted))).astype(np.int64)
    key = np.sort(doubled).tobytes()
    if key not in distributions:
        distributions[key] = np.cumsum(null_distribution(doubled))
    return min(1.0, 2 * float(distributions[key][int(doubled[shifted < 0].sum())]))


def _normal_interval(walsh: FloatArray, n: int, level: float) -> Interval:
    half_width = float(stats.norm.isf((1 - level) / 2)) * math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    k = max(math.floor(n * (n + 1) / 4 - half_width), 1)
    return Interval(
        low=float(walsh[k - 1]),
        high=float(walsh[walsh.size - k]),
        level=level,
        achieved_level=None,
        method="order statistics of the Walsh averages, normal approximation",
    )
