"""Counts on a log2-like scale on which the variance does not depend on the mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import PPoly
from scipy.linalg import solve_banded

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tasks.stats.deseq.trend import DispersionTrend
    from tasks.stats.types import FloatArray

_GRID = 1000
# The numerically integrated scale agrees with log2 at these quantiles of the genes' means.
_ANCHORS = (0.95, 0.999)


def variance_stabilising(
    normalised_count: ArrayLike, trend: DispersionTrend, *, size_factor: ArrayLike | None = None
) -> FloatArray:
    r"""Transform counts by :math:`\int^q d\mu / \sqrt{v(\mu)}`, scaled to agree with log2 at high counts.

    :math:`v(\mu) = \mu + \alpha(\mu) \mu^2` with the dispersion :math:`\alpha` of the trend. The integral is
    known for the parametric trend and for a constant dispersion, and numerical for a local trend.

    Parameters
    ----------
    normalised_count : (genes, samples) array
        Counts divided by the size factor of their sample.
    trend : DispersionTrend
        Fitted to the same samples; for a look at the samples that is blind to their groups, with a design of
        the intercept alone.
    size_factor : (samples,) array, optional
        Needed for a local trend, whose Poisson part is the mean over the samples.

    Returns
    -------
    (genes, samples) array
        log2 scale; increases with the count.

    Raises
    ------
    ValueError
        If a count is negative or not finite, or the size factors are wanting for a local trend.

    References
    ----------
    .. [1] Anders S, Huber W (2010). Genome Biology 11:R106, "Variance-stabilizing transformation".
    .. [2] Love MI, Huber W, Anders S (2014). Genome Biology 15:550, Methods.
    """
    count = np.asarray(normalised_count, dtype=np.float64)
    if not (np.isfinite(count) & (count >= 0)).all():
        raise ValueError("normalised_count: a value is negative or not finite: counts are zero or more")
    if trend.curve is not None:
        return _by_integration(count, trend, size_factor)
    # Given for both kinds that are not local.
    asymptotic = float(trend.at(np.inf))
    if trend.extra_poisson is None:
        of_constant: FloatArray = (
            2 * np.arcsinh(np.sqrt(asymptotic * count)) - np.log(4 * asymptotic)
        ) / np.log(2)
        return of_constant
    scaled = asymptotic * count
    inner = 1 + trend.extra_poisson + 2 * scaled + 2 * np.sqrt(scaled * (1 + trend.extra_poisson + scaled))
    transformed: FloatArray = np.log2(inner / (4 * asymptotic))
    return transformed


def _by_integration(count: FloatArray, trend: DispersionTrend, size_factor: ArrayLike | None) -> FloatArray:
    if size_factor is None:
        raise ValueError("size_factor: missing: the transformation of a local trend needs them")
    factor = np.asarray(size_factor, dtype=np.float64)
    if factor.shape != count.shape[1:] or not (factor > 0).all():
        raise ValueError(f"size_factor: shape {factor.shape}: must be {count.shape[1]} positive values")
    grid = np.sinh(np.linspace(0, np.arcsinh(count.max()), _GRID))[1:]
    # The counts of sample j have the Poisson variance mean / factor_j after division by its factor.
    density = 1 / np.sqrt(trend.at(grid) * grid**2 + (1 / factor).mean() * grid)
    middle = (grid[1:] + grid[:-1]) / 2
    integral = np.cumsum(np.diff(grid) * (density[1:] + density[:-1]) / 2)
    spline = _spline(np.arcsinh(middle), integral)
    low, high = np.quantile(count.mean(axis=1), _ANCHORS)
    at_low, at_high = spline(np.arcsinh([low, high]))
    slope = (np.log2(high) - np.log2(low)) / (at_high - at_low)
    transformed: FloatArray = slope * (spline(np.arcsinh(count)) - at_low) + np.log2(low)
    return transformed


def _spline(x: FloatArray, y: FloatArray) -> PPoly:
    """Cubic spline whose third derivative at either end is that of the cubic through the four end points.

    These ends (Forsythe, Malcolm and Moler 1977, sec. 4.4) matter here: counts of zero lie beyond them.
    """
    width = np.diff(x)
    slope = np.diff(y) / width
    bend = np.diff(slope)
    third = np.diff(bend / (x[2:] - x[:-2])) / (x[3:] - x[:-3])
    # A sixth of the second derivative at each x solves this system.
    diagonal = np.concatenate([[-width[0]], 2 * (width[:-1] + width[1:]), [-width[-1]]])
    right = np.concatenate([[third[0] * width[0] ** 2], bend, [-third[-1] * width[-1] ** 2]])
    banded = np.stack([np.append(0, width), diagonal, np.append(width, 0)])
    sixth = solve_banded((1, 1), banded, right)
    linear = slope - width * (sixth[1:] + 2 * sixth[:-1])
    return PPoly(np.stack([np.diff(sixth) / width, 3 * sixth[:-1], linear, y[:-1]]), x)
