"""Limma-voom with correlated samples: from counts to moderated t-tests of contrasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, stdtr

from tasks.stats.limma.checks import checked_block, checked_count, checked_full_rank, checked_library_size
from tasks.stats.limma.duplicate_correlation import duplicate_correlation
from tasks.stats.limma.empirical_bayes import VariancePrior, variance_prior
from tasks.stats.limma.gls import Blocks, blocks_of, gls_fit, uncorrelated, unscaled_variance
from tasks.stats.limma.tmm import tmm_factors
from tasks.stats.limma.voom import Voom, voom
from tasks.stats.types import checked_same_length, checked_vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from tasks.stats.types import FloatArray

_ROUNDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LimmaFit:
    """Linear models of all genes on the log2 scale.

    `voom` holds expression and weights, `coefficient` is (genes, coefficients), `variance` the residual
    variances with `df_residual`, `prior` their empirical Bayes prior; `correlation` is that within blocks
    (zero without them). `notes` say in words what departed from the usual course.
    """

    design: FloatArray
    library_size: FloatArray
    voom: Voom
    blocks: Blocks
    correlation: float
    coefficient: FloatArray
    variance: FloatArray
    df_residual: int
    prior: VariancePrior
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeratedT:
    """Two-sided moderated t-test of one contrast per gene, log2 scale; each array (genes,)."""

    estimate: FloatArray
    standard_error: FloatArray
    statistic: FloatArray
    df: FloatArray
    p_value: FloatArray


def voom_fit(
    count: ArrayLike,
    design: ArrayLike,
    *,
    block: ArrayLike | None = None,
    library_size: ArrayLike | None = None,
    correlation: float | None = None,
    rounds: int = _ROUNDS,
    has_trend: bool = False,
    is_robust: bool = False,
    span: float = 0.5,
) -> LimmaFit:
    """Fit a linear model to log2 counts per million, weighted by precision, samples of one block correlated.

    Subjects as blocks, in place of coefficients of their own, keep samples without a partner in the
    comparison: the contrast then takes what it can from differences within subjects and from those between
    them, in the proportion that the correlation tells.

    Parameters
    ----------
    count : (genes, samples) array
        Genes that are to be tested only: one prior holds for all of them.
    design : (samples, coefficients) array
        Of full column rank; without the subjects when they are the blocks.
    block : (samples,) array, optional
        Equal for samples of one subject.
    library_size : (samples,) array, optional
        Effective library sizes; column sums times their TMM factors when not given.
    correlation : float, optional
        Within blocks; estimated when not given.
    rounds : int
        How often the correlation is estimated. The weights of the first round know of none; every later
        round, and the fit, have weights that know the correlation of the round before (of this one, if it is
        the only one).
    has_trend : bool
        Let the prior variance follow the mean expression.
    is_robust : bool
        Estimate the prior robustly; see `variance_prior`.
    span : float
        Of the trend of the variance that gives the weights.

    Returns
    -------
    LimmaFit

    Raises
    ------
    ValueError
        If shapes do not agree, a count is negative, the design is not of full rank, or the correlation is not
        that of a covariance matrix.

    References
    ----------
    .. [1] Law CW, Chen Y, Shi W, Smyth GK (2014). Genome Biology 15:R29.
    .. [2] Smyth GK, Michaud J, Scott HS (2005). Bioinformatics 21:2067-2075.
    """
    counts = checked_count(count)
    samples = counts.shape[1]
    columns = checked_full_rank(design, samples)
    if rounds < 1:
        raise ValueError(f"rounds: {rounds}: must be one or more")
    if library_size is None:
        library = counts.sum(axis=0)
        library = checked_library_size(library * tmm_factors(counts), counts)
    else:
        library = checked_library_size(library_size, counts)
    code = np.arange(samples) if block is None else checked_block(block, samples)
    blocks = uncorrelated(samples) if block is None else blocks_of(code)
    used = 0.0 if block is None else _checked_correlation(correlation, blocks)
    notes: tuple[str, ...] = ()
    if block is None or correlation is not None:
        weighted = voom(counts, columns, library_size=library, blocks=blocks, correlation=used, span=span)
    else:
        weighted, used, notes = _in_turn(counts, columns, library, code, rounds=rounds, span=span)
    fit = gls_fit(weighted.expression, columns, weight=weighted.weight, blocks=blocks, correlation=used)
    along = weighted.expression.mean(axis=1) if has_trend else None
    prior = variance_prior(fit.variance, fit.df_residual, covariate=along, is_robust=is_robust)
    return LimmaFit(
        design=columns,
        library_size=library,
        voom=weighted,
        blocks=blocks,
        correlation=used,
        coefficient=fit.coefficient,
        variance=fit.variance,
        df_residual=fit.df_residual,
        prior=prior,
        notes=notes,
    )


def contrast_test(fit: LimmaFit, contrast: ArrayLike) -> ModeratedT:
    """Test H0: contrast @ coefficient = 0 of every gene, by a t with moderated variance.

    The variance of the contrast is that of each gene's own weights. limma's `contrasts.fit` takes the
    correlations between coefficients as if all weights were equal; for a single coefficient the two are the
    same.

    Parameters
    ----------
    fit : LimmaFit
    contrast : (coefficients,) array
        A positive statistic means a positive contrast.

    Raises
    ------
    ValueError
        If the contrast is all zero or has not as many values as the design has columns.

    References
    ----------
    .. [1] Smyth GK (2004). SAGMB 3:3, equation 4.
    """
    weights = checked_vector("contrast", contrast)
    checked_same_length("contrast", len(weights), "coefficients", fit.design.shape[1])
    if not weights.any():
        raise ValueError("contrast: every value is zero: at least one must differ from zero")
    unscaled = unscaled_variance(
        fit.design, weights, weight=fit.voom.weight, blocks=fit.blocks, correlation=fit.correlation
    )
    estimate = fit.coefficient @ weights
    error = np.sqrt(unscaled * fit.prior.posterior)
    statistic = estimate / error
    df = fit.prior.df_total
    tail = np.where(np.isinf(df), ndtr(-np.abs(statistic)), stdtr(df, -np.abs(statistic)))
    p_value = np.clip(2 * tail, np.finfo(np.float64).tiny, 1.0)
    return ModeratedT(estimate=estimate, standard_error=error, statistic=statistic, df=df, p_value=p_value)


def _checked_correlation(correlation: float | None, blocks: Blocks) -> float:
    lowest = -1 / max(int(blocks.size.max()) - 1, 1)
    if correlation is None:
        return 0.0
    if not lowest < correlation < 1:
        raise ValueError(f"correlation: {correlation}: must lie between {lowest:g} and 1, both excluded")
    return float(correlation)


def _in_turn(
    counts: FloatArray,
    design: FloatArray,
    library: FloatArray,
    code: NDArray[np.intp],
    *,
    rounds: int,
    span: float,
) -> tuple[Voom, float, tuple[str, ...]]:
    """Estimate the correlation so many times, and in between the weights that know of it."""
    blocks = blocks_of(code)
    weighted = voom(counts, design, library_size=library, span=span)
    correlation = 0.0
    for done in range(1, rounds + 1):
        estimated = duplicate_correlation(weighted.expression, design, code, weight=weighted.weight)
        if estimated.note:
            return weighted, 0.0, (estimated.note,)
        correlation = estimated.correlation
        # However few the rounds, no fit is weighted as if the samples were independent.
        if done == 1 or done < rounds:
            weighted = voom(
                counts, design, library_size=library, blocks=blocks, correlation=correlation, span=span
            )
    return weighted, correlation, ()
