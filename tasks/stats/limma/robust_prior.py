"""A prior of variances that a few hypervariable genes do not spoil, nor profit from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, f, rankdata, trim_mean

from tasks.stats.lowess import lowess

if TYPE_CHECKING:
    from tasks.stats.types import FloatArray

# limma's numbers: the floor of a variance in medians, the nodes of the quadrature, the span of the trend.
_SMALLEST = 1e-12
_NODES = 128
_TREND_SPAN = 0.4
_TREND_ITERATIONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RobustPrior:
    """Prior variance and prior degrees of freedom of every gene."""

    variance: FloatArray
    df: FloatArray


def robust_prior(
    variance: FloatArray,
    df: float,
    by_moments: RobustPrior,
    *,
    covariate: FloatArray | None,
    winsorised: tuple[float, float],
) -> RobustPrior:
    """Return the prior by the moments of winsorised log variances; outlying genes have fewer prior df.

    `by_moments` is the estimate that is not robust. It stands with too few genes to cut any, and bounds the
    degrees of freedom from below.
    """
    genes = len(variance)
    if max(winsorised) < 1 / genes:
        return by_moments
    log_variance = np.log(np.maximum(variance, _SMALLEST * np.median(variance)))
    trend = _trend(log_variance, covariate, winsorised[1])
    cut = np.clip(
        log_variance - trend, *np.quantile(log_variance - trend, [winsorised[0], 1 - winsorised[1]])
    )
    df_prior = _df_prior(float(cut.var(ddof=1)), df, float(by_moments.df[0]), winsorised)
    mean = _winsorised_moments(df, df_prior, winsorised)[0]
    level = trend + cut.mean() - mean
    ratio = np.exp(log_variance - level)
    shrunk = _pooled_outliers(ratio, df) if np.isinf(df_prior) else _outlier_df(ratio, df, df_prior)
    return RobustPrior(variance=np.exp(level), df=shrunk)


def _trend(log_variance: FloatArray, covariate: FloatArray | None, trim: float) -> FloatArray:
    if covariate is None:
        return np.full(len(log_variance), trim_mean(log_variance, trim))
    order = np.argsort(covariate, kind="stable")
    trend = np.empty_like(log_variance)
    trend[order] = lowess(
        covariate[order], log_variance[order], span=_TREND_SPAN, iterations=_TREND_ITERATIONS
    )
    return trend


def _df_prior(spread: float, df: float, at_least: float, winsorised: tuple[float, float]) -> float:
    """Return the prior df at which winsorised log F ratios spread as the log variances do."""

    def excess(compressed: float) -> float:
        df_prior = np.inf if compressed >= 1 else compressed / (1 - compressed)
        return float(np.log(spread / _winsorised_moments(df, df_prior, winsorised)[1]))

    if np.isinf(at_least) or excess(1.0) <= 0:
        return float(np.inf)
    lowest = at_least / (1 + at_least)
    if excess(lowest) >= 0:
        return at_least
    compressed = brentq(excess, lowest, 1.0, xtol=1e-14, rtol=1e-14)
    return float(compressed / (1 - compressed))


def _winsorised_moments(df: float, df_prior: float, winsorised: tuple[float, float]) -> tuple[float, float]:
    """Return mean and variance of the winsorised log of an F ratio."""
    ratio = chi2(df, scale=1 / df) if np.isinf(df_prior) else f(df, df_prior)
    end = ratio.ppf([winsorised[0], 1 - winsorised[1]])
    # The half line becomes (0, 1) by x / (1 + x).
    low, high = end / (1 + end)
    node, weight = np.polynomial.legendre.leggauss(_NODES)
    at = low + (high - low) * (node + 1) / 2
    x = at / (1 - at)
    density = weight / 2 * (high - low) * ratio.pdf(x) / (1 - at) ** 2
    tail, log_end = np.asarray(winsorised), np.log(end)
    mean = float(density @ np.log(x) + tail @ log_end)
    spread = float(density @ (np.log(x) - mean) ** 2 + tail @ (log_end - mean) ** 2)
    return mean, spread


def _pooled_outliers(ratio: FloatArray, df: float) -> FloatArray:
    """Return infinite df, but as many as the genes pool to for those with more variance than chance gives."""
    genes = len(ratio)
    tail = chi2.sf(ratio * df, df)
    regular = np.minimum(tail / ((genes - rankdata(ratio) + 0.5) / genes), 1)
    shrunk = np.full(genes, np.inf)
    outlying = regular < 1
    shrunk[outlying] = regular[outlying] * genes * df
    order = np.argsort(tail, kind="stable")
    shrunk[order] = np.maximum.accumulate(shrunk[order])
    return shrunk


def _outlier_df(ratio: FloatArray, df: float, df_prior: float) -> FloatArray:
    """Return fewer df for genes whose variance is more extreme than its rank among the genes explains."""
    genes = len(ratio)
    log_tail = f.logsf(ratio, df, df_prior)
    log_regular = np.minimum(log_tail - np.log((genes - rankdata(ratio) + 0.5) / genes), 0)
    if not (log_regular < 0).any():
        return np.full(genes, df_prior)
    regular = np.exp(log_regular)
    smallest = float(log_tail.min())
    if np.isneginf(smallest):
        shrunk = regular * df_prior
    else:
        # The df with which the most extreme gene would be at the median, by two steps towards it.
        outlier = np.log(0.5) / smallest * df_prior
        outlier *= np.log(0.5) / float(f.logsf(ratio.max(), df, outlier))
        shrunk = regular * df_prior - np.expm1(log_regular) * outlier
    order = np.argsort(log_tail, kind="stable")
    ordered = shrunk[order]
    running = np.cumsum(ordered) / np.arange(1, genes + 1)
    lowest = int(running.argmin())
    ordered[: lowest + 1] = running[lowest]
    shrunk[order] = np.maximum.accumulate(ordered)
    return shrunk
