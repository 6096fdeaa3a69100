"""Single-sample enrichment: how high the genes of a set stand among all genes of a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from tasks.stats.gene_sets.membership import SampleScores, checked_expression, checked_members, indicator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike


def ssgsea(
    expression: ArrayLike,
    members: Sequence[ArrayLike],
    *,
    weight: float = 0.25,
    is_normalised: bool = True,
) -> SampleScores:
    """Score gene sets in each sample by the single-sample enrichment of Barbie et al.

    Parameters
    ----------
    expression : (genes, samples) array
        On any scale that orders the genes of a sample; finite. The order of rows breaks ties in the walk.
    members : sequence of integer arrays
        The rows of each set's genes.
    weight : float
        Exponent of the rank that a member's step is weighted by.
    is_normalised : bool
        Divide by the range over all sets and samples given; scores then depend on which sets those are.

    Returns
    -------
    SampleScores
        Positive when the set's genes stand high among the genes of this sample.

    Raises
    ------
    ValueError
        If the expression is not a finite matrix, or a set names a row that there is not.

    Notes
    -----
    With genes in descending order, rank R_g counted from the lowest (midranks, cut to whole numbers, as in
    R's GSVA), and t_g the number of genes at or below g in that order, the sum over the genes of the
    difference of the two running shares is sum(R^w t) / sum(R^w) over the members less the mean of t over the
    others [1]_.

    References
    ----------
    .. [1] Barbie DA et al. (2009). Systematic RNA interference reveals that oncogenic KRAS-driven cancers
       require TBK1. Nature 462:108-112, supplementary methods.
    """
    values = checked_expression(expression, samples=1)
    n_genes = values.shape[0]
    sets = checked_members(members, n_genes)
    rank = np.floor(stats.rankdata(values, axis=0))
    order = np.argsort(-rank, axis=0, kind="stable")
    above = np.empty_like(rank)
    np.put_along_axis(above, order, np.arange(n_genes, 0, -1.0)[:, np.newaxis], axis=0)
    belongs = indicator(sets, n_genes)
    step = rank**weight
    size = np.array([rows.size for rows in sets], dtype=np.intp)
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = (belongs @ (step * above)) / (belongs @ step)
        outside = (n_genes * (n_genes + 1) / 2 - belongs @ above) / (n_genes - size)[:, np.newaxis]
    score = np.where(((size > 0) & (size < n_genes))[:, np.newaxis], inside - outside, np.nan)
    known = score[np.isfinite(score)]
    span = float(np.ptp(known)) if known.size else 0.0
    return SampleScores(
        method=f"ssGSEA, weight {weight:g}" + (", over the range of the collection" if is_normalised else ""),
        score=score / span if is_normalised and span > 0 else score,
        size=size,
        n_genes=n_genes,
    )
