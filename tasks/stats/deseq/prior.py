"""How far true dispersions scatter about the trend: the variance of the prior of their logarithm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammainc, polygamma
from scipy.stats import median_abs_deviation

from tasks.stats.deseq.local_fit import smooth_even_grid
from tasks.stats.types import checked_same_length

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tasks.stats.types import FloatArray

_ABOVE_FLOOR = 100
# DESeq2's lower limit of the prior variance.
LEAST_VARIANCE = 0.25
# Makes the median absolute deviation of normal values their standard deviation; R rounds it so.
_NORMAL_CONSISTENT = 1.4826
# With so few residual degrees of freedom the log of a dispersion estimate is far from normal.
_FEW_DF = 3
_BIN_EDGES = np.linspace(-10, 10, 41)
_VARIANCES = np.linspace(0, 8, 200)
_FINE_VARIANCES = np.linspace(0, 8, 1000)
_SPAN = 0.2
# Distributions are told apart only as far as a histogram of this many draws would tell them.
_DRAWS = 10_000
# Steps of the trapezoidal rule over the normal distribution: with these its error is below 1e-10.
_NORMAL_STEP = 0.15
_NORMAL_STEPS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class DispersionPrior:
    """`variance` is of the log dispersion about the trend; `residual_variance` that of its estimates."""

    variance: float
    residual_variance: float
    method: str


def dispersion_prior(
    gene_wise: ArrayLike,
    fitted: ArrayLike,
    *,
    residual_df: int,
    min_dispersion: float = 1e-8,
    least_variance: float = LEAST_VARIANCE,
) -> DispersionPrior:
    r"""Estimate the variance of the true log dispersions about the trend, by the rule of DESeq2.

    The log of an estimate with :math:`m` residual degrees of freedom scatters about the truth nearly as
    :math:`\log \chi^2_m`, whose variance :math:`\psi_1(m / 2)` is subtracted from the observed one. With few
    degrees of freedom that variance is mostly the long lower tail, and the prior variance is instead the one
    whose distribution, :math:`\log (\chi^2_m / m) + N(0, \sigma^2)`, is nearest to the histogram of the
    residuals in Kullback-Leibler divergence. DESeq2 simulates these distributions with a fixed seed; here
    they are computed, so that the result has no noise, and is what the mean over seeds would be nearly.

    Parameters
    ----------
    gene_wise, fitted : (genes,) array
        Dispersion of each gene alone and on the trend, natural scale. Genes that are NaN, or less than two
        orders of magnitude above `min_dispersion`, take no part.
    residual_df : int
        Samples less coefficients.
    min_dispersion : float
        The smallest dispersion that the gene-wise estimate could take.
    least_variance : float
        The prior variance is raised to it. With few degrees of freedom DESeq2's limit always applies.

    Returns
    -------
    DispersionPrior
        `residual_variance` is the squared normal-consistent median absolute deviation.

    Raises
    ------
    ValueError
        If there are no residual degrees of freedom, or no gene takes part.

    References
    ----------
    .. [1] Love MI, Huber W, Anders S (2014). Genome Biology 15:550, Methods, "Empirical Bayes shrinkage of
       dispersion estimates".
    """
    estimate = np.asarray(gene_wise, dtype=np.float64)
    trend = np.asarray(fitted, dtype=np.float64)
    checked_same_length("fitted", trend.size, "gene_wise", estimate.size)
    if residual_df < 1:
        raise ValueError(f"residual_df: {residual_df}: dispersions need more samples than coefficients")
    is_used = (estimate >= _ABOVE_FLOOR * min_dispersion) & np.isfinite(trend)
    if not is_used.any():
        raise ValueError(
            f"gene_wise: none of {estimate.size} genes reaches {_ABOVE_FLOOR * min_dispersion:g}: "
            "no scatter about the trend to estimate"
        )
    residual = np.log(estimate[is_used]) - np.log(trend[is_used])
    residual_variance = float((_NORMAL_CONSISTENT * median_abs_deviation(residual)) ** 2)
    if residual_df <= _FEW_DF:
        least_variance = max(least_variance, LEAST_VARIANCE)
        variance = _nearest_variance(residual, residual_df)
        method = f"nearest log chi-squared ({residual_df} df) plus normal distribution"
    else:
        variance = residual_variance - float(polygamma(1, residual_df / 2))
        method = "observed less sampling variance"
    if variance < least_variance:
        variance, method = least_variance, f"{method}, raised to the lower limit"
    return DispersionPrior(variance=variance, residual_variance=residual_variance, method=method)


def _nearest_variance(residual: FloatArray, residual_df: int) -> float:
    """Return the variance on a fine grid whose distribution is nearest to the residuals."""
    within = residual[np.abs(residual) < _BIN_EDGES[-1]]
    if not within.size:
        return LEAST_VARIANCE
    # Bins are closed on the right, as in R.
    position = np.searchsorted(_BIN_EDGES, within, side="left") - 1
    width = float(_BIN_EDGES[1] - _BIN_EDGES[0])
    observed = np.bincount(position, minlength=len(_BIN_EDGES) - 1) / (within.size * width)
    offset = min(observed[observed > 0].min(), 1 / (_DRAWS * width))
    expected = _bin_probabilities(residual_df) / width
    divergence = (observed * (np.log(observed + offset) - np.log(expected + offset))).sum(axis=1)
    smooth = smooth_even_grid(_VARIANCES, divergence, span=_SPAN).at(_FINE_VARIANCES)
    return float(_FINE_VARIANCES[np.argmin(smooth)])


@lru_cache(maxsize=_FEW_DF)
def _bin_probabilities(df: int) -> FloatArray:
    """P(bin | within all bins) of log(chi-squared / df) + N(0, variance): (variances, bins)."""
    deviate = np.arange(-_NORMAL_STEPS, _NORMAL_STEPS + 1) * _NORMAL_STEP
    weight = np.exp(-(deviate**2) / 2)
    weight /= weight.sum()
    shift = np.sqrt(_VARIANCES)[:, None, None] * deviate
    below = gammainc(df / 2, df / 2 * np.exp(_BIN_EDGES[:, None] - shift)) @ weight
    probability = np.diff(below, axis=1)
    within: FloatArray = probability / probability.sum(axis=1, keepdims=True)
    return within
