"""Voom: log counts per million with weights from the trend of their variance over their size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.limma.checks import checked_count, checked_full_rank, checked_library_size
from tasks.stats.limma.gls import Blocks, gene_blocks, gls_fit, uncorrelated
from tasks.stats.lowess import lowess

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tasks.stats.types import FloatArray

_MILLION = 1e6
_GENES = 512
_TREND_GENES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Voom:
    """Log2 counts per million and their weights, (genes, samples) each, and the trend that gave the weights.

    The trend is the square root of the residual standard deviation over the mean log2 count, at increasing
    `trend_x`; outside of them it is level.
    """

    expression: FloatArray
    weight: FloatArray
    trend_x: FloatArray
    trend_y: FloatArray


def log_cpm(count: FloatArray, library_size: FloatArray) -> FloatArray:
    """Return log2 of counts per million, a half count added, so that no zero is without a logarithm."""
    result: FloatArray = count + 0.5
    result /= library_size + 1
    result *= _MILLION
    np.log2(result, out=result)
    return result


def voom(
    count: ArrayLike,
    design: ArrayLike,
    *,
    library_size: ArrayLike | None = None,
    blocks: Blocks | None = None,
    correlation: float = 0.0,
    span: float = 0.5,
) -> Voom:
    """Return log2 counts per million with precision weights.

    Parameters
    ----------
    count : (genes, samples) array
    design : (samples, coefficients) array
        Of full column rank.
    library_size : (samples,) array, optional
        Effective library sizes; the column sums when not given.
    blocks, correlation
        Which samples correlate, and how much.
    span : float
        Part of the genes that each local line of the trend is fitted to.

    Returns
    -------
    Voom

    Raises
    ------
    ValueError
        If a count is negative or not finite, the design is not of full rank, or fewer than two genes have
        counts.

    References
    ----------
    .. [1] Law CW, Chen Y, Shi W, Smyth GK (2014). voom: precision weights unlock linear model analysis tools
       for RNA-seq read counts. Genome Biology 15:R29.
    """
    counts = checked_count(count)
    columns = checked_full_rank(design, counts.shape[1])
    library = checked_library_size(library_size, counts)
    has_counts = counts.any(axis=1)
    if has_counts.sum() < _TREND_GENES:
        raise ValueError(f"count: {has_counts.sum()} gene(s) with counts: at least {_TREND_GENES} needed")
    expression = log_cpm(counts, library)
    grouped = uncorrelated(counts.shape[1]) if blocks is None else blocks
    fit = gls_fit(expression, columns, blocks=grouped, correlation=correlation)
    size = expression.mean(axis=1) + np.log2(library + 1).mean() - np.log2(_MILLION)
    x, y = _trend(size[has_counts], fit.variance[has_counts] ** 0.25, span)
    weight = np.empty_like(expression)
    to_count = np.log2(library + 1) - np.log2(_MILLION)
    for part in gene_blocks(len(counts), _GENES):
        fitted = fit.coefficient[part] @ columns.T
        weight[part] = np.interp(fitted + to_count, x, y) ** -4
    return Voom(expression=expression, weight=weight, trend_x=x, trend_y=y)


def _trend(size: FloatArray, root_deviation: FloatArray, span: float) -> tuple[FloatArray, FloatArray]:
    order = np.argsort(size, kind="stable")
    x, first = np.unique(size[order], return_index=True)
    curve = lowess(size[order], root_deviation[order], span=span)[first]
    if curve.min() <= 0:
        raise ValueError(
            f"count: the trend of the standard deviation falls to {curve.min():g}: too few or too equal genes"
        )
    return x, curve
