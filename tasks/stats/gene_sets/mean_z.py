"""The mean of the standardised expression of a set's genes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.gene_sets.gsva import LEAST_SD
from tasks.stats.gene_sets.membership import (
    SampleScores,
    checked_expression,
    checked_members,
    indicator,
    within,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike


def mean_z(expression: ArrayLike, members: Sequence[ArrayLike]) -> SampleScores:
    """Score gene sets in each sample by the mean over their genes of (x - mean) / SD over the samples.

    Parameters
    ----------
    expression : (genes, samples) array
        On a scale where differences mean the same everywhere, such as VST; finite.
    members : sequence of integer arrays
        The rows of each set's genes.

    Returns
    -------
    SampleScores
        In standard deviations of a gene, positive when the set's genes are above their means. Genes without
        variation take no part.

    Raises
    ------
    ValueError
        If the expression is not a finite matrix of two samples, or a set names a row that there is not.

    Notes
    -----
    Times the square root of the size it is the combined z-score of Lee et al. [1]_, which makes sets of
    independent genes comparable; the mean keeps the unit.

    References
    ----------
    .. [1] Lee E et al. (2008). Inferring pathway activity toward precise disease classification. PLoS Comput
       Biol 4:e1000217.
    """
    values = checked_expression(expression, samples=2)
    sets = checked_members(members, values.shape[0])
    deviation = values.std(axis=1, ddof=1)
    varies = deviation >= LEAST_SD
    kept = values[varies]
    z = (kept - kept.mean(axis=1, keepdims=True)) / deviation[varies, np.newaxis]
    sets = within(sets, varies)
    size = np.array([rows.size for rows in sets], dtype=np.intp)
    with np.errstate(invalid="ignore"):
        score = (indicator(sets, kept.shape[0]) @ z) / size[:, np.newaxis]
    return SampleScores(
        method="mean z-score over the genes of the set",
        score=np.asarray(score, dtype=np.float64),
        size=size,
        n_genes=kept.shape[0],
    )
