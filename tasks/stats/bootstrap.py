"""Bias-corrected and accelerated bootstrap intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy import stats

from tasks.stats.types import RESOLUTION, Bootstrap, FloatArray, Interval, checked_level

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    Statistic: TypeAlias = Callable[[FloatArray], FloatArray]

_CHUNK_ELEMENTS = 1 << 21


def mean_of_rows(samples: FloatArray) -> FloatArray:
    """Return the mean of each of m samples, an (m, n) array."""
    return np.asarray(samples.mean(axis=1), dtype=np.float64)


def ratio_of_means_change_pct(samples: FloatArray) -> FloatArray:
    """Return the percentage of means, 100 * (mean after - mean before) / mean before, of (m, n, 2) samples.

    The last axis holds before and after. Unlike the mean of percentages it weights patients by baseline.
    """
    before, after = samples[..., 0].mean(axis=1), samples[..., 1].mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(100 * (after - before) / before, dtype=np.float64)


def bca_bootstrap(
    sample: ArrayLike,
    *,
    statistic: Statistic = mean_of_rows,
    level: float = 0.95,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> Bootstrap:
    """Estimate a statistic of independent subjects, the mean if none is given, with its BCa interval.

    Parameters
    ----------
    sample : (n,) or (n, k) array
        One row per subject, resampled whole; no NaN; n of 2 or more.
    statistic : callable
        Takes m samples, an (m, n) or (m, n, k) array, and returns m values.
    level : float
        Confidence level; both tails have half of the rest.
    n_resamples, seed : int
        Number of resamples and the seed of numpy's default generator.

    Returns
    -------
    Bootstrap
        In the unit of the statistic; `standard_error` is the standard deviation of the resampled values.

    Raises
    ------
    ValueError
        If fewer than two rows are given, one holds NaN, the resampled statistic does not vary or is not
        finite, or the sample is too skewed for an interval of this level.

    Notes
    -----
    End points are the quantiles Phi(z0 + (z0 + z) / (1 - a (z0 + z))) of the resampled values, z being the
    normal quantile of the tail. z0 comes from the share of resampled values below the estimate, those equal
    to it counted half; a from the jackknife, and is zero where the jackknife does not vary. Below about 15
    subjects the interval covers less than its level.

    References
    ----------
    .. [1] Efron B (1987). Better bootstrap confidence intervals. J Am Stat Assoc 82:171-185.
    .. [2] Efron B, Tibshirani RJ (1993). An Introduction to the Bootstrap, sec. 14.3.
    """
    nominal = checked_level(level)
    rows = _checked_sample(sample)
    if n_resamples < 1:
        raise ValueError(f"n_resamples: {n_resamples}: at least 1 needed")
    estimate = float(statistic(rows[np.newaxis])[0])
    resampled = _resampled(rows, statistic, n_resamples, seed)
    undefined = int(np.count_nonzero(~np.isfinite(resampled)))
    if undefined or not np.isfinite(estimate):
        raise ValueError(
            f"statistic: not finite in {undefined} of {n_resamples} resamples: must be finite in all"
        )
    tolerance = RESOLUTION * max(abs(estimate), float(np.abs(resampled).max()))
    if np.ptp(resampled) <= tolerance:
        raise ValueError(
            f"statistic: {estimate:g} in every resample: a bootstrap interval needs values that vary"
        )
    below = np.count_nonzero(resampled < estimate - tolerance)
    equal = np.count_nonzero(np.abs(resampled - estimate) <= tolerance)
    # Half a resample keeps z0 finite where all resampled values lie on one side.
    share = np.clip((below + 0.5 * equal) / n_resamples, 0.5 / n_resamples, 1 - 0.5 / n_resamples)
    z0 = float(stats.norm.ppf(share))
    acceleration = _acceleration(rows, statistic, tolerance)
    low, high = np.quantile(resampled, _adjusted_tails(z0, acceleration, nominal))
    return Bootstrap(
        estimate=estimate,
        standard_error=float(resampled.std(ddof=1)),
        bias_correction=z0,
        acceleration=acceleration,
        interval=Interval(
            low=float(low), high=float(high), level=nominal, achieved_level=None, method="BCa bootstrap"
        ),
        n=rows.shape[0],
        n_resamples=n_resamples,
        seed=seed,
    )


def _checked_sample(sample: ArrayLike) -> FloatArray:
    rows = np.asarray(sample, dtype=np.float64)
    if rows.ndim not in {1, 2}:
        raise ValueError(f"sample: shape {rows.shape}: must be (n,) or (n, k)")
    if rows.shape[0] < 2:  # noqa: PLR2004 - one subject cannot be resampled
        raise ValueError(f"sample: {rows.shape[0]} row(s): at least 2 needed")
    if not np.isfinite(rows).all():
        position = int(np.argwhere(~np.isfinite(rows))[0][0])
        raise ValueError(f"sample: {rows[position]} in row {position}: every value must be finite")
    return rows


def _resampled(rows: FloatArray, statistic: Statistic, n_resamples: int, seed: int) -> FloatArray:
    generator = np.random.default_rng(seed)
    chunk = max(_CHUNK_ELEMENTS // rows.size, 1)
    n = rows.shape[0]
    parts = [
        statistic(rows[generator.integers(0, n, size=(min(chunk, n_resamples - start), n))])
        for start in range(0, n_resamples, chunk)
    ]
    return np.concatenate(parts)


def _acceleration(rows: FloatArray, statistic: Statistic, tolerance: float) -> float:
    left_out = np.array(
        [float(statistic(np.delete(rows, i, axis=0)[np.newaxis])[0]) for i in range(rows.shape[0])]
    )
    if not np.isfinite(left_out).all():
        raise ValueError("statistic: not finite when one row is left out: must be finite in all")
    if np.ptp(left_out) <= tolerance:
        return 0.0
    deviation = left_out.mean() - left_out
    return float((deviation**3).sum() / (6 * (deviation**2).sum() ** 1.5))


def _adjusted_tails(z0: float, acceleration: float, level: float) -> FloatArray:
    z = z0 + np.asarray(stats.norm.ppf([(1 - level) / 2, (1 + level) / 2]), dtype=np.float64)
    denominator = 1 - acceleration * z
    if (denominator <= 0).any():
        raise ValueError(
            f"sample: acceleration {acceleration:.3g}: too skewed for a BCa interval at level {level}"
        )
    return np.asarray(stats.norm.cdf(z0 + z / denominator), dtype=np.float64)
