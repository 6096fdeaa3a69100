"""Likelihood-ratio tests of nested designs of a negative binomial fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2, norm

from tasks.stats.deseq.glm import deviance, fit_glm
from tasks.stats.deseq.strata import analysed_design
from tasks.stats.deseq.wald import WaldTest, wald_test

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tasks.stats.deseq.model import DeseqFit
    from tasks.stats.types import FloatArray

_IN_SPAN = 1e-8
# Nearer to zero the two statistics are one, save for rounding.
_TOLD = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class LikelihoodRatioTest:
    """Per gene: twice the log likelihood ratio and its p-value; `converged` is of the reduced fit."""

    statistic: FloatArray
    df: int
    p_value: FloatArray
    converged: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def likelihood_ratio_test(
    fit: DeseqFit, reduced: ArrayLike, *, threads: int | None = None
) -> LikelihoodRatioTest:
    """Test H0: the reduced design suffices, for every gene, the dispersion being that of the full one.

    Parameters
    ----------
    fit : DeseqFit
        Of the full design.
    reduced : (samples, fewer coefficients) array
        Every column a combination of the full design's.

    Returns
    -------
    LikelihoodRatioTest
        NaN for genes without any count.

    Raises
    ------
    ValueError
        If the reduced design has no fewer coefficients, or is not nested in the full one.

    References
    ----------
    .. [1] Love MI, Huber W, Anders S (2014). Genome Biology 15:550, Methods, "Likelihood ratio test".
    """
    nested = analysed_design(reduced)
    full = fit.design
    if nested.matrix.shape[0] != full.shape[0]:
        raise ValueError(f"reduced: {nested.matrix.shape[0]} rows: the design has {full.shape[0]}")
    df = full.shape[1] - nested.matrix.shape[1]
    if df < 1:
        raise ValueError(f"reduced: {nested.matrix.shape[1]} columns: must be fewer than {full.shape[1]}")
    outside = nested.matrix - full @ np.linalg.lstsq(full, nested.matrix, rcond=None)[0]
    if np.abs(outside).max() > _IN_SPAN * np.abs(nested.matrix).max():
        raise ValueError("reduced: a column is no combination of the design's: the designs must be nested")
    usable = np.flatnonzero(np.isfinite(fit.dispersion))
    count, dispersion = fit.count[usable], fit.dispersion[usable]
    without = fit_glm(count, fit.size_factor, nested, dispersion, threads=threads)
    statistic, p_value = np.full((2, len(fit.dispersion)), np.nan)
    converged = np.zeros(len(fit.dispersion), dtype=np.bool_)
    statistic[usable] = without.deviance - deviance(count, fit.mean[usable], dispersion[:, None])
    p_value[usable] = chi2.sf(statistic[usable], df)
    converged[usable] = without.converged
    return LikelihoodRatioTest(statistic=statistic, df=df, p_value=p_value, converged=converged)


def signed_root(fit: DeseqFit, contrast: ArrayLike, *, threads: int | None = None) -> WaldTest:
    """Test H0: contrast @ coefficient = 0 for every gene by the signed root of the likelihood ratio.

    With few samples and strong effects it is nearer to normal than Wald's statistic, whose standard error is
    that at the estimate alone [1]_. The standard error is the one by which the estimate has this statistic.

    Parameters
    ----------
    fit : DeseqFit
    contrast : (coefficients,) array
        A positive estimate and statistic mean a positive contrast.
    threads : int, optional
        The result does not depend on it.

    Returns
    -------
    WaldTest
        Wald's own where the fit without the contrast does not converge, or the estimate is as good as zero;
        NaN for genes without any count.

    References
    ----------
    .. [1] Barndorff-Nielsen OE, Cox DR (1994). Inference and Asymptotics, section 3.2.
    """
    direction = np.asarray(contrast, dtype=np.float64)
    wald = wald_test(fit, direction)
    # The columns that the contrast does not weigh stay as they are, and with them what a design is made of.
    pivot = int(np.argmax(np.abs(direction)))
    kept = np.delete(np.arange(direction.size), pivot)
    share = direction[kept] / direction[pivot]
    ratio = likelihood_ratio_test(fit, fit.design[:, kept] - fit.design[:, [pivot]] * share, threads=threads)
    root = np.sqrt(np.maximum(np.where(ratio.converged, ratio.statistic, 0.0), 0.0))
    is_told = (root > _TOLD) & (np.abs(wald.statistic) > _TOLD)
    statistic = np.where(is_told, np.sign(wald.estimate) * root, wald.statistic)
    return WaldTest(
        estimate=wald.estimate,
        standard_error=np.where(
            is_told, np.abs(wald.estimate) / np.where(is_told, root, 1.0), wald.standard_error
        ),
        statistic=statistic,
        p_value=np.where(is_told, 2 * norm.sf(root), wald.p_value),
    )
