r"""The Cox-Reid adjusted profile likelihood of the dispersion, and its slope, for blocks of genes.

With dispersion :math:`\alpha`, size :math:`r = 1/\alpha`, means :math:`\mu` and weights
:math:`w = \mu / (1 + \alpha\mu)`,

.. math:: \ell(\alpha) = \sum_i \log\Gamma(y_i + r) - \log\Gamma(r) - y_i \log r
          - (y_i + r) \log(1 + \alpha\mu_i) - \tfrac12 \log\det X^T W X

up to what does not depend on the dispersion. The slope of the adjustment by :math:`\log\alpha` is
:math:`\tfrac12 \alpha \sum_i w_i h_i`, with the leverages :math:`h` of the weighted fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import digamma, gammaln

from tasks.stats.deseq.blocks import each_block
from tasks.stats.deseq.strata import analysed_design

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from tasks.stats.deseq.strata import Design
    from tasks.stats.types import FloatArray

    Rise = Callable[[FloatArray, FloatArray], FloatArray]

# From this size on the next terms of Stirling's series are below the last digit.
_LARGE_SIZE = 1e4


def adjusted_profile_likelihood(
    count: ArrayLike,
    mean: ArrayLike,
    design: ArrayLike,
    log_dispersion: ArrayLike,
    *,
    prior_mean: ArrayLike | None = None,
    prior_variance: float | None = None,
) -> FloatArray:
    """Return the Cox-Reid adjusted log likelihood of each gene's dispersion, the means held fixed.

    Parameters
    ----------
    count, mean : (genes, samples) array
        Means positive.
    design : (samples, coefficients) array
        Of full column rank.
    log_dispersion : (genes,) array
        Natural logarithm.
    prior_mean, prior_variance : (genes,) array, float, optional
        Of a normal prior of the log dispersion, whose log density is then added up to its constant.

    Returns
    -------
    (genes,) array
        Without the terms that do not depend on the dispersion.

    References
    ----------
    .. [1] Love MI, Huber W, Anders S (2014). Genome Biology 15:550, equations 12 to 16.
    .. [2] Cox DR, Reid N (1987). Journal of the Royal Statistical Society B 49:1-39.
    """
    counts, means, at = (np.asarray(part, dtype=np.float64) for part in (count, mean, log_dispersion))
    structure = analysed_design(design)
    centre = None if prior_mean is None else np.asarray(prior_mean, dtype=np.float64)
    result = np.empty(len(at))

    def work(block: slice) -> None:
        profile = Profile(
            count=counts[block],
            mean=means[block],
            design=structure,
            prior_mean=None if centre is None else centre[block],
            prior_variance=prior_variance,
        )
        result[block] = profile.likelihood(at[block], slice(None))

    each_block(work, *counts.shape)
    return result


def _by_size(exact: Rise, of_large: Rise, count: FloatArray, dispersion: FloatArray) -> FloatArray:
    """Use for genes with a large size the series, without which all digits cancel."""
    is_large = dispersion[:, 0] < 1 / _LARGE_SIZE
    if not is_large.any():
        return exact(count, dispersion)
    if is_large.all():
        return of_large(count, dispersion)
    result = np.empty(count.shape)
    result[is_large] = of_large(count[is_large], dispersion[is_large])
    result[~is_large] = exact(count[~is_large], dispersion[~is_large])
    return result


def _log_gamma_rise(count: FloatArray, dispersion: FloatArray) -> FloatArray:
    """Return log gamma(count + size) - log gamma(size) - count log(size)."""
    size = 1 / dispersion
    rise: FloatArray = gammaln(count + size) - gammaln(size) - count * np.log(size)
    return rise


def _log_gamma_rise_of_large(count: FloatArray, dispersion: FloatArray) -> FloatArray:
    size = 1 / dispersion
    first = (count + size - 0.5) * np.log1p(count * dispersion) - count
    rise: FloatArray = first + (1 / (count + size) - dispersion) / 12
    return rise


def _digamma_rise(count: FloatArray, dispersion: FloatArray) -> FloatArray:
    """Return digamma(count + size) - digamma(size)."""
    size = 1 / dispersion
    rise: FloatArray = digamma(count + size) - digamma(size)
    return rise


def _digamma_rise_of_large(count: FloatArray, dispersion: FloatArray) -> FloatArray:
    inverse = dispersion / (1 + count * dispersion)
    rise: FloatArray = np.log1p(count * dispersion) + (dispersion - inverse) / 2
    rise += (dispersion**2 - inverse**2) / 12
    return rise


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The adjusted likelihood of a block of genes; with a prior mean and variance, the posterior."""

    count: FloatArray
    mean: FloatArray
    design: Design
    prior_mean: FloatArray | None = None
    prior_variance: float | None = None

    def likelihood(self, log_dispersion: FloatArray, gene: NDArray[np.intp] | slice) -> FloatArray:
        count, mean = self.count[gene], self.mean[gene]
        dispersion = np.exp(log_dispersion)[:, None]
        term = _by_size(_log_gamma_rise, _log_gamma_rise_of_large, count, dispersion)
        term -= (count + 1 / dispersion) * np.log1p(mean * dispersion)
        weight = mean / (1 + mean * dispersion)
        centred = self.design.centred(weight)
        log_det = np.log(centred.level).sum(axis=1) + self.design.log_det
        if self.design.rest.shape[1]:
            log_det += np.linalg.slogdet(centred.information(weight))[1]
        value: FloatArray = term.sum(axis=1) - 0.5 * log_det
        if self.prior_mean is not None and self.prior_variance is not None:
            value -= 0.5 * (log_dispersion - self.prior_mean[gene]) ** 2 / self.prior_variance
        return value

    def slope(self, log_dispersion: FloatArray, gene: NDArray[np.intp] | slice) -> FloatArray:
        """Return the derivative by the log of the dispersion."""
        count, mean = self.count[gene], self.mean[gene]
        dispersion = np.exp(log_dispersion)[:, None]
        scaled = mean * dispersion
        term = np.log1p(scaled)
        scaled += 1
        term -= _by_size(_digamma_rise, _digamma_rise_of_large, count, dispersion)
        term += (count - mean) * dispersion / scaled
        adjustment = 0.5 * dispersion[:, 0] * self._sum_of_weight_leverage(mean / scaled)
        slope: FloatArray = term.sum(axis=1) / dispersion[:, 0] + adjustment
        if self.prior_mean is not None and self.prior_variance is not None:
            slope -= (log_dispersion - self.prior_mean[gene]) / self.prior_variance
        return slope

    def _sum_of_weight_leverage(self, weight: FloatArray) -> FloatArray:
        centred = self.design.centred(weight)
        square = weight**2
        total = np.zeros(len(weight))
        if self.design.n_strata:
            total += (self.design.stratum_sum(square) / centred.level).sum(axis=1)
        if self.design.rest.shape[1]:
            ratio = np.linalg.solve(centred.information(weight), centred.information(square))
            total += np.trace(ratio, axis1=1, axis2=2)
        return total
