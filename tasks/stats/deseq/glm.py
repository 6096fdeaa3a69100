"""Negative binomial regression with log link of many genes at once, dispersions held fixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from tasks.stats.deseq.blocks import each_block
from tasks.stats.deseq.bounded_glm import bounded_fit
from tasks.stats.deseq.strata import Design, analysed_design

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tasks.stats.types import FloatArray

BoolArray = NDArray[np.bool_]

MIN_MEAN = 0.5
_TOLERANCE = 1e-8
_ITERATIONS = 100
_RIDGE_LOG2 = 1e-6
# Log means so far from zero, or from each other, have overshot: the bounded optimiser takes over.
_OVERSHOT = 30.0
_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GlmFit:
    """Coefficients on the natural log scale with what the fit leaves.

    `mean` is the fitted mean (never thresholded), `leverage` the diagonal of the hat matrix, `deviance` minus
    twice the log likelihood. Genes with `converged` False have the last values tried.
    """

    coefficient: FloatArray
    mean: FloatArray
    leverage: FloatArray
    deviance: FloatArray
    converged: BoolArray
    iterations: NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFit:
    """What is fitted of a block of genes before coefficients and leverages are asked for."""

    log_ratio: FloatArray
    mean: FloatArray
    converged: BoolArray
    iterations: NDArray[np.intp]


def fit_glm(
    count: ArrayLike,
    size_factor: ArrayLike,
    design: ArrayLike | Design,
    dispersion: ArrayLike,
    *,
    start_mean: ArrayLike | None = None,
    min_mean: float = MIN_MEAN,
    tolerance: float = _TOLERANCE,
    ridge: float = _RIDGE_LOG2,
    max_iterations: int = _ITERATIONS,
    threads: int | None = None,
) -> GlmFit:
    r"""Fit :math:`\log\mu_i = \log s_i + x_i\beta` by iteratively reweighted least squares.

    Parameters
    ----------
    count : (genes, samples) array
    size_factor : (samples,) array
    design : (samples, coefficients) array
        Of full column rank.
    dispersion : (genes,) array
    start_mean : (genes, samples) array, optional
        Where to begin; without it, at a least-squares fit of log counts.
    min_mean : float
        Fitted means below it count as it while iterating and in the leverages. It keeps the weights away from
        zero, so that the iterations need no ridge.
    tolerance : float
        Relative change of the deviance at which a gene is done.
    ridge : float
        Precision of the normal prior that bounds coefficients (on log2 scale, as DESeq2 states it) where
        genes do not converge and a bounded optimiser takes over.
    max_iterations : int

    References
    ----------
    .. [1] Love MI, Huber W, Anders S (2014). Genome Biology 15:550, Methods, "Estimation of logarithmic fold
       changes".
    """
    structure = design if isinstance(design, Design) else analysed_design(design)
    counts = np.asarray(count, dtype=np.float64)
    factor, alpha = np.asarray(size_factor, dtype=np.float64), np.asarray(dispersion, dtype=np.float64)
    start = None if start_mean is None else np.asarray(start_mean, dtype=np.float64)
    genes = len(counts)
    result = GlmFit(
        coefficient=np.empty((genes, structure.matrix.shape[1])),
        mean=np.empty(counts.shape),
        leverage=np.empty(counts.shape),
        deviance=np.empty(genes),
        converged=np.empty(genes, dtype=np.bool_),
        iterations=np.empty(genes, dtype=np.intp),
    )

    def work(block: slice) -> None:
        here = counts[block]
        fit = fit_block(
            here,
            factor,
            structure,
            alpha[block],
            start_mean=None if start is None else start[block],
            min_mean=min_mean,
            tolerance=tolerance,
            ridge=ridge,
            max_iterations=max_iterations,
        )
        result.coefficient[block] = structure.coefficient(fit.log_ratio)
        result.mean[block], result.converged[block] = fit.mean, fit.converged
        result.iterations[block] = fit.iterations
        weight = negative_binomial_weight(np.maximum(fit.mean, min_mean), alpha[block, None])
        result.leverage[block] = structure.leverage(weight)
        result.deviance[block] = deviance(here, fit.mean, alpha[block, None])

    each_block(work, *counts.shape, threads=threads)
    return result


def fit_block(
    count: FloatArray,
    size_factor: FloatArray,
    design: Design,
    dispersion: FloatArray,
    *,
    start_mean: FloatArray | None = None,
    min_mean: float = MIN_MEAN,
    tolerance: float = _TOLERANCE,
    ridge: float = _RIDGE_LOG2,
    max_iterations: int = _ITERATIONS,
) -> BlockFit:
    """Fit the genes of one block; see `fit_glm`."""
    log_factor = np.log(size_factor)
    if start_mean is None:
        log_ratio = design.fitted(np.log(count / size_factor + 0.1))
    else:
        log_ratio = np.log(start_mean) - log_factor
    converged = np.zeros(len(count), dtype=np.bool_)
    iterations = np.full(len(count), max_iterations)
    active = np.arange(len(count))
    y, alpha = count, dispersion[:, None]
    mean = np.maximum(size_factor * _exp(log_ratio), min_mean)
    constant = _constant(y, alpha)
    before = np.full(len(count), np.inf)
    for iteration in range(1, max_iterations + 1):
        weight = negative_binomial_weight(mean, alpha)
        working = np.log(mean) - log_factor + (y - mean) / mean
        fitted = design.weighted_fit(working, weight)
        mean = np.maximum(size_factor * _exp(fitted), min_mean)
        now = constant - 2 * _varying(y, mean, alpha)
        highest, lowest = fitted.max(axis=1), fitted.min(axis=1)
        has_overshot = np.maximum(highest, 0.0) - np.minimum(lowest, 0.0) > _OVERSHOT
        log_ratio[active[~has_overshot]] = fitted[~has_overshot]
        is_done = (np.abs(now - before) < tolerance * (np.abs(now) + 0.1)) & ~has_overshot
        converged[active[is_done]], iterations[active[is_done]] = True, iteration
        go_on = ~is_done & ~has_overshot
        active, y, alpha, constant = active[go_on], y[go_on], alpha[go_on], constant[go_on]
        mean, before = mean[go_on], now[go_on]
        if not active.size:
            break
    failed = np.flatnonzero(~converged)
    if failed.size:
        log_ratio[failed], converged[failed] = bounded_fit(
            count[failed], log_factor, design, dispersion[failed], log_ratio[failed], ridge=ridge
        )
    return BlockFit(
        log_ratio=log_ratio,
        mean=size_factor * _exp(log_ratio),
        converged=converged,
        iterations=iterations,
    )


def negative_binomial_weight(mean: FloatArray, dispersion: FloatArray) -> FloatArray:
    """Return the information about the log mean."""
    weight: FloatArray = mean / (1 + mean * dispersion)
    return weight


def deviance(count: FloatArray, mean: FloatArray, dispersion: FloatArray) -> FloatArray:
    """Return minus twice the negative binomial log likelihood of (genes, samples) counts."""
    total: FloatArray = _constant(count, dispersion) - 2 * _varying(count, mean, dispersion)
    return total


def _constant(count: FloatArray, dispersion: FloatArray) -> FloatArray:
    """Return the part of the deviance that does not change with the means."""
    size = 1 / dispersion
    by_count = gammaln(count + size) - gammaln(count + 1)
    total: FloatArray = by_count.sum(axis=1) - count.shape[1] * gammaln(size[:, 0])
    total += count.sum(axis=1) * np.log(dispersion[:, 0])
    return -2 * total


def _varying(count: FloatArray, mean: FloatArray, dispersion: FloatArray) -> FloatArray:
    # A mean of exactly zero is one that has underflowed.
    log_mean = np.log(np.maximum(mean, np.finfo(np.float64).tiny))
    term = count * log_mean - (count + 1 / dispersion) * np.log1p(mean * dispersion)
    total: FloatArray = term.sum(axis=1)
    return total


def _exp(log_ratio: FloatArray) -> FloatArray:
    limited: FloatArray = np.exp(np.clip(log_ratio, -_LARGEST_EXPONENT, _LARGEST_EXPONENT))
    return limited
