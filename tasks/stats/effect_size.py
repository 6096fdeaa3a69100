"""Dimensionless effects of paired differences, and the effect a paired t-test could find."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, special, stats

from tasks.stats.location import paired_t
from tasks.stats.signed_rank import signed_ranks
from tasks.stats.types import EffectSize, FloatArray, Interval, ZeroRule, checked_difference

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

# Beyond nine standard deviations a normal variable has a probability of 2e-19.
_Z_LIMIT = 9.0
_S_QUANTILES = (1e-9, 0.01, 0.5, 0.99, 1 - 1e-9)
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


def cohen_d_z(difference: ArrayLike, *, level: float = 0.95) -> EffectSize:
    """Estimate the mean of the paired differences in units of their own standard deviation.

    Parameters
    ----------
    difference : (n,) array
        After minus before, in the unit of the score; no NaN; n of 2 or more.
    level : float
        Level of the interval.

    Returns
    -------
    EffectSize
        Positive when the score rises. The interval is exact for normal differences: it holds those d for
        which the observed t lies within the tails of the noncentral t with noncentrality d sqrt(n).

    Raises
    ------
    ValueError
        If fewer than two differences are given, one is NaN, or all are equal.

    References
    ----------
    .. [1] Cohen J (1988). Statistical Power Analysis for the Behavioral Sciences, sec. 2.3.5.
    .. [2] Cumming G, Finch S (2001). A primer on the understanding, use, and calculation of confidence
       intervals that are based on central and noncentral distributions. Educ Psychol Meas 61:532-574.
    """
    test = paired_t(difference, level=level)
    tail = (1 - level) / 2
    root = float(np.sqrt(test.n))
    low, high = (_noncentrality(test.statistic, test.df, p) / root for p in (1 - tail, tail))
    return EffectSize(
        method="Cohen d_z: mean / SD of the differences",
        estimate=test.statistic / root,
        interval=Interval(low=low, high=high, level=level, achieved_level=level, method="noncentral t"),
        n=test.n,
        n_zero=test.n_zero,
    )


def hedges_g(difference: ArrayLike, *, level: float = 0.95) -> EffectSize:
    """Estimate the standardised mean of the paired differences without Cohen d_z's small-sample bias.

    Parameters
    ----------
    difference : (n,) array
        After minus before, in the unit of the score; no NaN; n of 3 or more.
    level : float
        Level of the interval.

    Returns
    -------
    EffectSize
        J d_z with J = Gamma(m / 2) / (sqrt(m / 2) Gamma((m - 1) / 2)), m = n - 1; the interval's ends are
        those of d_z times J.

    Raises
    ------
    ValueError
        If fewer than three differences are given, one is NaN, or all are equal.

    References
    ----------
    .. [1] Hedges LV (1981). Distribution theory for Glass's estimator of effect size and related estimators.
       J Educ Stat 6:107-128, eq. 6e.
    """
    checked_difference(difference, at_least=3)
    effect = cohen_d_z(difference, level=level)
    half_df = (effect.n - 1) / 2
    factor = float(np.exp(special.gammaln(half_df) - special.gammaln(half_df - 0.5)) / np.sqrt(half_df))
    interval = effect.interval
    return EffectSize(
        method="Hedges g: d_z with the exact bias correction",
        estimate=factor * effect.estimate,
        interval=interval
        and Interval(
            low=factor * interval.low,
            high=factor * interval.high,
            level=interval.level,
            achieved_level=interval.achieved_level,
            method=interval.method,
        ),
        n=effect.n,
        n_zero=effect.n_zero,
    )


def rank_biserial(difference: ArrayLike, *, zeros: ZeroRule = "wilcox") -> EffectSize:
    """Estimate how far positive differences outweigh negative ones in signed ranks, from -1 to 1.

    Parameters
    ----------
    difference : (n,) array
        After minus before; no NaN.
    zeros : {"wilcox", "pratt"}
        As in the signed-rank test.

    Returns
    -------
    EffectSize
        (W+ - W-) / (W+ + W-): 1 when every difference that is not zero is positive. Without an interval.

    Raises
    ------
    ValueError
        If every difference is zero or one is NaN.

    References
    ----------
    .. [1] Kerby DS (2014). The simple difference formula: an approach to teaching nonparametric correlation.
       Compr Psychol 3:11.IT.3.1.
    """
    values = checked_difference(difference)
    ranks = signed_ranks(values, zeros)
    return EffectSize(
        method=f"matched-pairs rank-biserial correlation, zero rule {zeros}",
        estimate=float(ranks.sum() / np.abs(ranks).sum()),
        interval=None,
        n=values.size,
        n_zero=values.size - ranks.size,
    )


def minimum_detectable_d_z(n: int, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Return the standardised mean difference that a two-sided paired t-test of n pairs can find.

    Parameters
    ----------
    n : int
        Number of pairs, 2 or more.
    power, alpha : float
        Power wanted, above alpha, and level of the test.

    Returns
    -------
    float
        Positive: the size of an effect in either direction.

    Raises
    ------
    ValueError
        If n is below 2, or not 0 < alpha < power < 1.

    References
    ----------
    .. [1] Cohen J (1988). Statistical Power Analysis for the Behavioral Sciences, sec. 2.3.5.
    """
    if n < 2:  # noqa: PLR2004 - a variance needs two
        raise ValueError(f"n: {n}: at least 2 needed")
    if not 0 < alpha < power < 1:
        raise ValueError(f"power: {power} with alpha {alpha}: must satisfy 0 < alpha < power < 1")
    df = n - 1
    critical = float(stats.t.isf(alpha / 2, df))

    def shortfall(noncentrality: float) -> float:
        upper = 1 - noncentral_t_cdf(critical, df, noncentrality)
        lower = 1 - noncentral_t_cdf(critical, df, -noncentrality)
        return upper + lower - power

    return _root(shortfall, 0.0, critical) / float(np.sqrt(n))


def noncentral_t_cdf(t: float, df: int, noncentrality: float) -> float:
    """Return P(T <= t) of the noncentral t, T = (Z + noncentrality) / S with S**2 = chi2 / df, for t >= 0.

    The integral over Z of P(S >= (z + noncentrality) / t), by Gauss-Legendre on the pieces where it is
    smooth. scipy's own is NaN for some t of few degrees of freedom.
    """
    if t == 0:
        return float(special.ndtr(-noncentrality))
    bends = t * _s_quantiles(df) - noncentrality
    edges = np.sort(np.clip([-_Z_LIMIT, -noncentrality, *bends, _Z_LIMIT], -_Z_LIMIT, _Z_LIMIT))
    half_widths = np.diff(edges)[:, np.newaxis] / 2
    z = edges[:-1, np.newaxis] + half_widths * (1 + _NODES)
    survival = special.chdtrc(df, df * np.square(np.maximum(z + noncentrality, 0) / t))
    density = np.exp(-np.square(z) / 2) / np.sqrt(2 * np.pi)
    return float((half_widths * _WEIGHTS * density * survival).sum())


@cache
def _s_quantiles(df: int) -> FloatArray:
    return np.asarray(np.sqrt(stats.chi2.ppf(_S_QUANTILES, df) / df), dtype=np.float64)


def _noncentrality(t: float, df: int, probability: float) -> float:
    """Return the noncentrality under which t is the quantile of this probability."""
    if t < 0:
        return -_noncentrality(-t, df, 1 - probability)

    def excess(noncentrality: float) -> float:
        return probability - noncentral_t_cdf(t, df, noncentrality)

    start, step = t - 1.0, 1.0
    while excess(start) > 0:
        start, step = start - step, 2 * step
    return _root(excess, start, t + 1.0)


def _root(increasing: Callable[[float], float], low: float, high: float) -> float:
    step = 1.0
    while increasing(high) < 0:
        high, step = high + step, 2 * step
    return float(optimize.brentq(increasing, low, high, xtol=1e-10, rtol=1e-10))
