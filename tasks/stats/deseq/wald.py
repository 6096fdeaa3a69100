"""Wald tests of contrasts of a negative binomial fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm, t

from tasks.stats.deseq.blocks import each_block
from tasks.stats.deseq.glm import MIN_MEAN, negative_binomial_weight

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tasks.stats.deseq.model import DeseqFit
    from tasks.stats.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class WaldTest:
    """Per gene, on natural log scale: the contrast, its standard error, their ratio and the p-value."""

    estimate: FloatArray
    standard_error: FloatArray
    statistic: FloatArray
    p_value: FloatArray


def wald_test(
    fit: DeseqFit, contrast: ArrayLike, *, df: float | None = None, threads: int | None = None
) -> WaldTest:
    """Test H0: contrast @ coefficient = 0 for every gene, two-sided, against a normal distribution.

    Parameters
    ----------
    fit : DeseqFit
    contrast : (coefficients,) array
        A positive estimate and statistic mean a positive contrast.
    df : float, optional
        Degrees of freedom of a t distribution to use in place of the normal one.

    Returns
    -------
    WaldTest
        NaN for genes without any count.

    Raises
    ------
    ValueError
        If the contrast has another length than the design has columns, or is zero.

    References
    ----------
    .. [1] Love MI, Huber W, Anders S (2014). Genome Biology 15:550, Methods, "Wald test".
    """
    direction = np.asarray(contrast, dtype=np.float64)
    if direction.shape != (fit.coefficient.shape[1],):
        raise ValueError(
            f"contrast: shape {direction.shape}: the design has {fit.coefficient.shape[1]} coefficients"
        )
    if not direction.any() or not np.isfinite(direction).all():
        raise ValueError(f"contrast: {direction.tolist()}: must be finite and not all zero")
    error = np.empty(len(fit.dispersion))

    def work(block: slice) -> None:
        weight = negative_binomial_weight(np.maximum(fit.mean[block], MIN_MEAN), fit.dispersion[block, None])
        usable = np.isfinite(weight).all(axis=1)
        variance = np.full(len(weight), np.nan)
        variance[usable] = fit.structure.contrast_variance(weight[usable], direction)
        error[block] = np.sqrt(variance)

    each_block(work, *fit.mean.shape, threads=threads)
    estimate = fit.coefficient @ direction
    statistic = estimate / error
    tail = norm.sf(np.abs(statistic)) if df is None else t.sf(np.abs(statistic), df)
    return WaldTest(estimate=estimate, standard_error=error, statistic=statistic, p_value=2 * tail)
