"""Gene sets as rows of a matrix: checked, and as the sparse table of who belongs where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from tasks.stats.types import FloatArray

IndexArray: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleScores:
    """A score for each set in each sample.

    `score` is sets by samples, NaN in the row of a set that has no gene left or holds every gene; `size`
    counts the genes that made each row, `n_genes` those of all genes that could.
    """

    method: str
    score: FloatArray
    size: IndexArray
    n_genes: int


def checked_expression(expression: ArrayLike, *, samples: int) -> FloatArray:
    """Return genes by samples as finite float64 in rows that lie together."""
    array = np.ascontiguousarray(expression, dtype=np.float64)
    if array.ndim != 2:  # noqa: PLR2004 - genes and samples
        raise ValueError(f"expression: shape {array.shape}: must be genes by samples")
    if array.shape[0] < 2 or array.shape[1] < samples:  # noqa: PLR2004 - a gene outside the set
        raise ValueError(
            f"expression: {array.shape[0]} genes by {array.shape[1]} samples: at least 2 by {samples} needed"
        )
    wrong = np.argwhere(~np.isfinite(array))
    if wrong.size:
        gene, sample = (int(place) for place in wrong[0])
        raise ValueError(
            f"expression: {array[gene, sample]} at gene {gene}, sample {sample}: every value must be finite"
        )
    return array


def checked_members(members: Sequence[ArrayLike], n_genes: int) -> list[IndexArray]:
    """Return each set as ascending row numbers, or say which set is wrong."""
    checked = []
    for number, rows in enumerate(members):
        given = np.asarray(rows)
        if given.size and not np.issubdtype(given.dtype, np.integer):
            raise ValueError(f"members: set {number}: {given.dtype}: must be row numbers of genes")
        row = np.unique(given.astype(np.intp))
        if row.size < given.size:
            raise ValueError(f"members: set {number}: a gene stands more than once: each may stand once")
        if row.size and not 0 <= row[0] <= row[-1] < n_genes:
            raise ValueError(f"members: set {number}: row {row[0]} to {row[-1]}: must be 0 to {n_genes - 1}")
        checked.append(row)
    return checked


def indicator(members: Sequence[IndexArray], n_genes: int) -> sparse.csr_array:
    """Return sets by genes, 1 where a gene is in a set."""
    ends = np.cumsum([0, *(rows.size for rows in members)])
    columns = np.concatenate([np.empty(0, dtype=np.intp), *members])
    return sparse.csr_array((np.ones(columns.size), columns, ends), shape=(len(members), n_genes))


def within(members: Sequence[IndexArray], is_kept: NDArray[np.bool_]) -> list[IndexArray]:
    """Return the sets among the kept genes, as rows of the matrix without the others."""
    row = np.cumsum(is_kept) - 1
    return [row[rows[is_kept[rows]]] for rows in members]
