"""Negative binomial fits of many genes at once: the steps of DESeq2 that cost time, as array operations.

Each function does for a genes x samples array what DESeq2 does gene by gene. Genes are worked on in blocks
that stay in the processor's cache. The matrices are small: with BLAS held to one thread all is faster, and a
result does not depend, in any bit, on the number of processors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import elementwise
from scipy.special import digamma, gammaln
from scipy.stats import norm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.stats.types import FloatArray

BoolArray = NDArray[np.bool_]
_BLOCK = 512
# A slope this flat ends the search, as in L-BFGS-B: the likelihood no longer tells dispersions apart.
_FLAT = 1e-5
# The numbers of R's DESeq2: genes whose ratio to the trend is outside this range do not shape it; rounds of
# choosing them; squared log change of the coefficients at which it is done.
_NEAR_TREND = (1e-4, 15.0)
_TREND_ROUNDS = 11
_TREND_TOLERANCE = 1e-6
_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, slots=True)
class GlmFit:
    """Coefficients on the natural log scale, fitted means, leverages, and which genes diverged."""

    coefficient: FloatArray
    mean: FloatArray
    leverage: FloatArray
    has_diverged: BoolArray


@dataclass(frozen=True, slots=True)
class WaldTest:
    """Two-sided Wald test of one linear contrast per gene, natural log scale."""

    statistic: FloatArray
    standard_error: FloatArray
    p_value: FloatArray


@dataclass(frozen=True, slots=True)
class DispersionTrend:
    """Dispersion as `asymptotic + extra_poisson / mean`; `status` says whether the fit can be used."""

    asymptotic: float
    extra_poisson: float
    status: Literal["converged", "not_positive", "not_converged"]


def glm_fit(
    count: FloatArray,
    size_factor: FloatArray,
    design: FloatArray,
    dispersion: FloatArray,
    *,
    min_mean: float,
    tolerance: float,
    ridge: float = 1e-6,
    max_coefficient: float = 30.0,
    max_iterations: int = 250,
) -> GlmFit:
    """Fit log mean = log size factor + design @ coefficient by reweighted least squares.

    Parameters
    ----------
    count : (genes, samples) array
    size_factor : (samples,) array
    design : (samples, coefficients) array
        Of full column rank.
    dispersion : (genes,) array
        Held fixed.
    min_mean : float
        Fitted means below it count as `min_mean` while iterating; the returned means do not.
    tolerance : float
        Relative change of the deviance at which a gene is done.
    ridge, max_coefficient, max_iterations
        As in DESeq2. A gene with a coefficient beyond `max_coefficient` has diverged and its row is not to
        be used.

    References
    ----------
    .. [1] Love MI, Huber W, Anders S (2014). Genome Biology 15:550, Methods, "Estimation of logarithmic fold
       changes".
    """
    genes, samples = count.shape
    fit = GlmFit(
        np.empty((genes, design.shape[1])),
        np.empty((genes, samples)),
        np.empty((genes, samples)),
        np.zeros(genes, dtype=np.bool_),
    )
    orthogonal, triangular = np.linalg.qr(design)
    glm = _Glm(
        size_factor=size_factor,
        design=design,
        from_log_count=np.linalg.solve(triangular, orthogonal.T),
        penalty=ridge * np.eye(design.shape[1]),
        min_mean=min_mean,
        tolerance=tolerance,
        max_coefficient=max_coefficient,
        max_iterations=max_iterations,
    )
    for block in _blocks(genes):
        fit.coefficient[block], fit.has_diverged[block] = glm.fit(count[block], dispersion[block, None])
        fit.mean[block] = glm.mean(fit.coefficient[block])
        thresholded = np.maximum(fit.mean[block], min_mean)
        weight = thresholded / (1 + thresholded * dispersion[block, None])
        inverse = np.linalg.inv(_information(design, weight) + glm.penalty)
        fit.leverage[block] = weight * np.einsum("ij,gjk,ik->gi", design, inverse, design, optimize=True)
    return fit


def wald_test(
    coefficient: FloatArray,
    mean: FloatArray,
    dispersion: FloatArray,
    *,
    design: FloatArray,
    contrast: FloatArray,
    ridge: FloatArray,
) -> WaldTest:
    """Test H0: contrast @ coefficient = 0 per gene, against a normal distribution.

    Parameters
    ----------
    coefficient : (genes, coefficients) array
    mean : (genes, samples) array
    dispersion : (genes,) array
    design : (samples, coefficients) array
    contrast : (coefficients,) array
        A positive statistic means a positive contrast.
    ridge : (coefficients, coefficients) array
        Added to the information matrix before it is inverted; the standard error is the sandwich of the two.
    """
    error = np.empty(len(dispersion))
    for block in _blocks(len(dispersion)):
        information = _information(design, mean[block] / (1 + mean[block] * dispersion[block, None]))
        solved = np.linalg.solve(information + ridge, contrast)
        error[block] = np.sqrt(np.einsum("gi,gij,gj->g", solved, information, solved, optimize=True))
    statistic = coefficient @ contrast / error
    return WaldTest(statistic, error, 2 * norm.sf(np.abs(statistic)))


def paired_dispersion(
    count: FloatArray,
    mean: FloatArray,
    start: FloatArray,
    *,
    bounds: tuple[float, float],
    prior_variance: float | None = None,
) -> FloatArray:
    r"""Maximise the Cox-Reid adjusted profile likelihood of the dispersion of paired samples.

    With one sample per subject and visit, weights :math:`w = \mu / (1 + \alpha \mu)` and
    :math:`s_i = w_{i0} + w_{i1}`, the determinant of the information of `~ subject + visit` is
    :math:`\prod_i s_i \sum_i w_{i0} w_{i1} / s_i`, so that the adjustment needs no matrix.

    Parameters
    ----------
    count, mean : (genes, 2 * subjects) array
        First the reference visit of every subject, then the other visit in the same order of subjects.
    start : (genes,) array
        Where the search begins and, given `prior_variance`, the centre of the log-normal prior. A gene that
        starts at the lower bound (no more variance than a Poisson count) stays there, as in R and PyDESeq2.
    bounds : (low, high)
        Of the dispersion.
    prior_variance : float, optional
        Of the log dispersion; without it no prior is used.

    Returns
    -------
    (genes,) array
        The maximum reached uphill from `start`, or the bound, or the point beyond which all is flat.

    References
    ----------
    .. [1] Love MI, Huber W, Anders S (2014). Genome Biology 15:550, equations 12 to 16.
    """
    low, high = np.log(bounds)
    centre = np.log(start)
    dispersion = np.empty(len(start))
    for block in _blocks(len(start)):
        slope = _PairedSlope(count[block], mean[block], centre[block], prior_variance)
        dispersion[block] = np.exp(_downhill(slope, np.clip(centre[block], low, high), low, high))
    return dispersion


def dispersion_trend(
    dispersion: FloatArray, inverse_mean: FloatArray, *, min_dispersion: float
) -> DispersionTrend:
    """Fit dispersion = asymptotic + extra_poisson / mean by gamma regression with identity link.

    The rule is that of R's DESeq2, which PyDESeq2 does not follow: genes far from the curve are left out, and
    chosen afresh in every round.

    Parameters
    ----------
    dispersion : (genes,) array
        Gene-wise estimates; those of `min_dispersion` or less take no part.
    inverse_mean : (genes,) array
        One over the mean of the normalised counts.
    min_dispersion : float
    """
    use = dispersion > min_dispersion
    y, x = dispersion[use], inverse_mean[use]
    coefficient = np.array([0.1, 1.0])
    status: Literal["converged", "not_positive", "not_converged"] = "not_converged"
    for _ in range(_TREND_ROUNDS):
        ratio = y / (coefficient[0] + coefficient[1] * x)
        near = (ratio > _NEAR_TREND[0]) & (ratio < _NEAR_TREND[1])
        previous = coefficient
        fitted = _gamma_identity(y[near], x[near], previous)
        if fitted is None:
            break
        coefficient = fitted
        if not (coefficient > 0).all():
            status = "not_positive"
            break
        if (np.log(coefficient / previous) ** 2).sum() < _TREND_TOLERANCE:
            status = "converged"
            break
    return DispersionTrend(float(coefficient[0]), float(coefficient[1]), status)


def _blocks(genes: int) -> Iterator[slice]:
    return (slice(first, first + _BLOCK) for first in range(0, genes, _BLOCK))


def _information(design: FloatArray, weight: FloatArray) -> FloatArray:
    information: FloatArray = np.matmul(design.T * weight[:, None, :], design)
    return information


@dataclass(frozen=True, slots=True, kw_only=True)
class _Glm:
    """What is common to the fits of all genes."""

    size_factor: FloatArray
    design: FloatArray
    from_log_count: FloatArray
    penalty: FloatArray
    min_mean: float
    tolerance: float
    max_coefficient: float
    max_iterations: int

    def mean(self, coefficient: FloatArray) -> FloatArray:
        # Limited only so that a gene about to be given up does not overflow.
        linear = np.clip(coefficient @ self.design.T, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
        mean: FloatArray = self.size_factor * np.exp(linear)
        return mean

    def fit(self, count: FloatArray, dispersion: FloatArray) -> tuple[FloatArray, BoolArray]:
        result = np.log(count / self.size_factor + 0.1) @ self.from_log_count.T
        has_diverged = np.zeros(len(count), dtype=np.bool_)
        active = np.arange(len(count))
        size = 1 / dispersion
        # The part of the log likelihood that does not change with the means.
        constant = (gammaln(count + size) - gammaln(count + 1) - gammaln(size) + size * np.log(size)).sum(
            axis=1
        )
        mean = np.maximum(self.mean(result), self.min_mean)
        deviance = np.full(len(count), np.inf)
        iteration = 0
        while active.size:
            iteration += 1
            weight = mean / (1 + mean * dispersion)
            working = np.log(mean / self.size_factor) + (count - mean) / mean
            score = ((weight * working) @ self.design)[:, :, None]
            coefficient = np.linalg.solve(_information(self.design, weight) + self.penalty, score)[:, :, 0]
            diverged = (np.abs(coefficient) > self.max_coefficient).any(axis=1)
            diverged |= iteration >= self.max_iterations
            mean = np.maximum(self.mean(coefficient), self.min_mean)
            varying = (count + size) * np.log(size + mean) - count * np.log(mean)
            new_deviance = -2 * (constant - varying.sum(axis=1))
            has_moved = np.abs(new_deviance - deviance) / (np.abs(new_deviance) + 0.1) > self.tolerance
            result[active] = coefficient
            has_diverged[active[diverged]] = True
            go_on = has_moved & ~diverged
            active, mean, deviance, constant = (
                active[go_on],
                mean[go_on],
                new_deviance[go_on],
                constant[go_on],
            )
            count, dispersion, size = count[go_on], dispersion[go_on], size[go_on]
        return result, has_diverged


@dataclass(frozen=True, slots=True)
class _PairedSlope:
    """Derivative of the negative adjusted log likelihood by the log of the dispersion."""

    count: FloatArray
    mean: FloatArray
    centre: FloatArray
    prior_variance: float | None

    def __call__(self, log_dispersion: FloatArray, gene: NDArray[np.intp]) -> FloatArray:
        count, mean = self.count[gene], self.mean[gene]
        dispersion = np.exp(log_dispersion)[:, None]
        size = 1 / dispersion
        likelihood = (
            count.shape[1] * digamma(size[:, 0])
            + (np.log1p(mean * dispersion) - digamma(count + size) + (count - mean) / (mean + size)).sum(
                axis=1
            )
        ) * -size[:, 0]
        half = count.shape[1] // 2
        weight = mean / (1 + mean * dispersion)
        before, after = weight[:, :half], weight[:, half:]
        both = before + after
        product = before * after / both
        d_both = -(before**2) - after**2
        d_product = -product * both - product * d_both / both
        adjustment = (d_both / both).sum(axis=1) + d_product.sum(axis=1) / product.sum(axis=1)
        slope: FloatArray = likelihood + 0.5 * dispersion[:, 0] * adjustment
        if self.prior_variance is not None:
            slope += (log_dispersion - self.centre[gene]) / self.prior_variance
        return slope


def _downhill(slope: _PairedSlope, start: FloatArray, low: float, high: float) -> FloatArray:
    """Walk from the start in growing steps until the slope turns, then find where it is zero."""
    position = start.copy()
    gene = np.arange(len(start))
    here = slope(position, gene)
    bracket = np.full((2, len(start)), np.nan)
    step = 0.5
    walking = gene[(np.abs(here) > _FLAT) & (start > low)]
    while walking.size:
        direction = -np.sign(here[walking])
        there_position = np.clip(position[walking] + direction * step, low, high)
        there = slope(there_position, walking)
        turned = there * direction > _FLAT
        bracket[:, walking[turned]] = np.sort([position[walking[turned]], there_position[turned]], axis=0)
        is_at_bound = (there_position == low) | (there_position == high)
        position[walking], here[walking] = there_position, there
        walking = walking[~turned & ~is_at_bound & (np.abs(there) > _FLAT)]
        step *= 2
    turned_genes = np.flatnonzero(~np.isnan(bracket[0]))
    if turned_genes.size:
        root = elementwise.find_root(
            _at_gene(slope),
            (bracket[0, turned_genes], bracket[1, turned_genes]),
            # The root finder hands its arguments on as floating-point numbers.
            args=(turned_genes.astype(np.float64),),
            tolerances={"xatol": 1e-9, "xrtol": 0.0},
        )
        position[turned_genes] = root.x
    return position


def _at_gene(slope: _PairedSlope) -> Callable[..., FloatArray]:
    def at(log_dispersion: FloatArray, /, gene: FloatArray) -> FloatArray:
        return slope(log_dispersion, gene.astype(np.intp))

    return at


def _gamma_identity(y: FloatArray, x: FloatArray, start: FloatArray) -> FloatArray | None:
    """Gamma regression of y on intercept and x with identity link, from start; None if it does not settle."""
    coefficient = start
    deviance = np.inf
    for _ in range(25):
        mean = coefficient[0] + coefficient[1] * x
        if not (mean > 0).all():
            return coefficient
        new_deviance = 2 * float(((y - mean) / mean - np.log(y / mean)).sum())
        if abs(new_deviance - deviance) < 1e-8 * (abs(new_deviance) + 0.1):
            return coefficient
        deviance = new_deviance
        scaled = np.stack([1 / mean, x / mean], axis=1)
        coefficient = np.linalg.lstsq(scaled, y / mean, rcond=None)[0]
    return None
