"""Empirical Bayes variances: each gene's residual variance shrunk towards that of all genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import digamma, polygamma

from tasks.stats.limma.robust_prior import RobustPrior, robust_prior
from tasks.stats.types import checked_vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tasks.stats.types import FloatArray

# limma's floor of a variance, in medians.
_SMALLEST = 1e-5
# Beyond these trigamma is its limit to all digits that count.
_TRIGAMMA_LARGE, _TRIGAMMA_SMALL = 1e7, 1e-6
# Genes from which on limma gives the trend one more degree of freedom.
_SPLINE_GENES = (3, 6, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariancePrior:
    """The prior variance and its degrees of freedom of every gene, and the variance they and the data give.

    `df` is infinite where all genes have one variance; with the robust rule it is smaller for outlying genes.
    `df_total` are those of the moderated t.
    """

    variance: FloatArray
    df: FloatArray
    posterior: FloatArray
    df_total: FloatArray


def variance_prior(
    variance: ArrayLike,
    df_residual: float,
    *,
    covariate: ArrayLike | None = None,
    is_robust: bool = False,
    winsorised: tuple[float, float] = (0.05, 0.1),
) -> VariancePrior:
    """Estimate the scaled F distribution of the residual variances and shrink them.

    Parameters
    ----------
    variance : (genes,) array
        Residual variances, all with `df_residual` degrees of freedom.
    df_residual : float
    covariate : (genes,) array, optional
        Mean log expression; the prior variance then follows a natural spline over it.
    is_robust : bool
        Estimate from the winsorised log variances and let hypervariable genes have a weaker prior.
    winsorised : (low, high)
        Parts of the genes cut to the quantile at each end, with the robust rule.

    Returns
    -------
    VariancePrior

    Raises
    ------
    ValueError
        If there are fewer than two genes, a variance is negative, or half of them are zero.

    References
    ----------
    .. [1] Smyth GK (2004). Linear models and empirical Bayes methods for assessing differential expression in
       microarray experiments. SAGMB 3:3, section 6.2.
    .. [2] Phipson B, Lee S, Majewski IJ, Alexander WS, Smyth GK (2016). Robust hyperparameter estimation
    protects
       against hypervariable genes and improves power to detect differential expression. AOAS 10:946-963.
    """
    values = checked_vector("variance", variance, at_least=2)
    median = float(np.median(values))
    if values.min() < 0 or median == 0:
        what = f"{values.min():g}" if values.min() < 0 else "zero in half of the genes"
        raise ValueError(f"variance: {what}: must be positive, with few exceptions")
    along = None if covariate is None else checked_vector("covariate", covariate)
    if along is not None and len(along) != len(values):
        raise ValueError(
            f"covariate: {len(along)} value(s) beside {len(values)} of variance: must be as many"
        )
    prior = _moments(np.maximum(values, _SMALLEST * median), df_residual, along)
    if is_robust:
        prior = robust_prior(values, df_residual, prior, covariate=along, winsorised=winsorised)
    posterior = prior.variance.copy()
    finite = np.isfinite(prior.df)
    of_prior = prior.df[finite]
    posterior[finite] = (df_residual * values[finite] + of_prior * posterior[finite]) / (
        df_residual + of_prior
    )
    df_total = np.minimum(df_residual + prior.df, df_residual * len(values))
    return VariancePrior(variance=prior.variance, df=prior.df, posterior=posterior, df_total=df_total)


def trigamma_inverse(value: float) -> float:
    """Return y with trigamma(y) = value, for a positive value, by Newton steps on its convex reciprocal."""
    if value > _TRIGAMMA_LARGE:
        return float(1 / np.sqrt(value))
    if value < _TRIGAMMA_SMALL:
        return 1 / value
    y = 0.5 + 1 / value
    step = np.inf
    while abs(step) > 1e-12 * y:
        trigamma = float(polygamma(1, y))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, y))
        y += step
    return y


def _moments(values: FloatArray, df: float, covariate: FloatArray | None) -> RobustPrior:
    genes = len(values)
    centred = np.log(values) - digamma(df / 2) + np.log(df / 2)
    basis = np.ones((genes, 1)) if covariate is None else _natural_spline(covariate)
    orthogonal = np.linalg.qr(basis)[0]
    mean = orthogonal @ (orthogonal.T @ centred)
    excess = float(np.square(centred - mean).sum()) / (genes - basis.shape[1]) - float(polygamma(1, df / 2))
    if excess <= 0:
        # No more spread than chance gives one common variance: its best estimate is the plain mean.
        level = np.exp(mean) if basis.shape[1] > 1 else np.full(genes, values.mean())
        return RobustPrior(variance=level, df=np.full(genes, np.inf))
    df_prior = 2 * trigamma_inverse(excess)
    level = np.exp(mean + digamma(df_prior / 2) - np.log(df_prior / 2))
    return RobustPrior(variance=level, df=np.full(genes, df_prior))


def _natural_spline(covariate: FloatArray) -> FloatArray:
    """Return a basis of the natural cubic splines with knots at equally spaced quantiles."""
    dimension = 1 + sum(len(covariate) >= genes for genes in _SPLINE_GENES)
    dimension = min(dimension, len(np.unique(covariate)))
    if dimension == 1:
        return np.ones((len(covariate), 1))
    knot = np.quantile(covariate, np.linspace(0, 1, dimension))
    scaled, knot = ((v - knot[0]) / (knot[-1] - knot[0]) for v in (covariate, knot))
    cubic = [
        (np.maximum(scaled - k, 0) ** 3 - np.maximum(scaled - knot[-1], 0) ** 3) / (knot[-1] - k)
        for k in knot[:-1]
    ]
    return np.column_stack([np.ones_like(scaled), scaled, *(part - cubic[-1] for part in cubic[:-1])])
