"""Activity of a regulator: the slope of expression on the weights of its targets, gene by gene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse, stats

from tasks.stats.gene_sets.membership import IndexArray, checked_expression

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tasks.stats.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """Regulators by columns: the slope, its t statistic and two-sided p-value; `n_targets` by regulator."""

    method: str
    slope: FloatArray
    statistic: FloatArray
    p_value: FloatArray
    df: int
    n_targets: IndexArray


def univariate_linear_model(values: ArrayLike, weight: ArrayLike | sparse.csr_array) -> Activity:
    """Test H0: a regulator's targets, by their weights, have the values of all other genes.

    Parameters
    ----------
    values : (genes, columns) array
        A statistic or expression of every measured gene, in each column of its own; finite.
    weight : (regulators, genes) array, dense or sparse
        Zero where a gene is no target, negative where the regulator holds it down.

    Returns
    -------
    Activity
        `statistic` is positive when genes that the regulator raises are higher and those that it holds down
        are lower than the rest. NaN where a regulator's weights, or the values of a column, are all alike.

    Raises
    ------
    ValueError
        If there are fewer than three genes, shapes differ, or a value is not finite.

    Notes
    -----
    For each regulator and column separately value = a + b weight over all genes, non-targets at zero, and
    t = b / SE(b) with genes - 2 degrees of freedom [1]_. Genes are taken as independent; they are not, so
    that p-values are too small where targets are co-expressed.

    References
    ----------
    .. [1] Badia-i-Mompel P et al. (2022). decoupleR: ensemble of computational methods to infer biological
       activities from omics data. Bioinform Adv 2:vbac016.
    """
    y = checked_expression(values, samples=1)
    x = _checked_weight(weight, y.shape[0])
    n_genes = y.shape[0]
    if n_genes < 3:  # noqa: PLR2004 - a line through two points leaves nothing to test
        raise ValueError(f"values: {n_genes} genes: at least 3 needed")
    centred = y - y.mean(axis=0)
    y_squares = np.square(centred).sum(axis=0)
    # The centred values sum to zero, so the mean of the weights drops out of the product.
    product = np.asarray(x @ centred)
    every = np.ones(n_genes)
    squares = np.asarray(x.power(2) @ every)
    x_squares = squares - np.square(np.asarray(x @ every)) / n_genes
    # All weights alike: rounding leaves next to nothing of the squares.
    flat = x_squares <= n_genes * np.finfo(np.float64).eps * squares
    x_squares = np.where(flat, np.nan, x_squares)[:, np.newaxis]
    df = n_genes - 2
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = product / x_squares
        unexplained = np.maximum(y_squares - slope * product, 0)
        statistic = slope / np.sqrt(unexplained / df / x_squares)
    return Activity(
        method="univariate linear model over all genes",
        slope=slope,
        statistic=statistic,
        p_value=2 * stats.t.sf(np.abs(statistic), df),
        df=df,
        n_targets=np.diff(x.indptr).astype(np.intp),
    )


def _checked_weight(weight: ArrayLike | sparse.csr_array, n_genes: int) -> sparse.csr_array:
    given = weight.copy() if isinstance(weight, sparse.csr_array) else np.asarray(weight, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != n_genes:  # noqa: PLR2004 - regulators and genes
        raise ValueError(f"weight: shape {given.shape} beside {n_genes} genes: must be regulators by genes")
    table = sparse.csr_array(given)
    if not np.isfinite(table.data).all():
        raise ValueError("weight: one is not finite: every weight must be finite")
    table.eliminate_zeros()
    return table
