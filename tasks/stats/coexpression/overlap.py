"""Topological overlap: how much two genes share of those they are connected to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.stats.coexpression.settings import Denominator
    from tasks.stats.types import FloatArray

_BLOCK = 512


def topological_overlap(adjacency: FloatArray, *, denominator: Denominator = "min") -> FloatArray:
    """Return the topological overlap (genes, genes) of an adjacency with 1 on its diagonal.

    TOM_ij = |sum over u of a_iu a_uj + a_ij| / (min(k_i, k_j) + 1 - |a_ij|), u neither i nor j, with the
    connectivity k the sum of a gene's absolute adjacencies; `denominator` "mean" takes the mean of the two
    in place of the lesser. Of adjacencies with signs this is the signed overlap: neighbours that speak
    against each other cancel.

    Raises
    ------
    ValueError
        For an adjacency that is not square, or has another diagonal.

    References
    ----------
    Zhang B, Horvath S. Stat Appl Genet Mol Biol 2005;4:17. Langfelder P, Horvath S. BMC Bioinformatics
    2008;9:559.
    """
    result = np.empty_like(adjacency)
    for start, end, block in _blocks(adjacency, denominator):
        result[start:end, start:] = block
        result[end:, start:end] = block[:, end - start :].T
    np.fill_diagonal(result, 1.0)
    return result


def overlap_dissimilarity(
    adjacency: FloatArray, *, denominator: Denominator = "min"
) -> tuple[FloatArray, FloatArray]:
    """Return 1 - topological overlap as a square (written over `adjacency`) and in condensed form.

    The condensed form is float64 in scipy's order, as large as a float32 square; beside the two nothing
    grows with the square of the genes. Only pairs above the diagonal are computed, which halves the product.
    """
    n_genes = len(adjacency)
    condensed = np.empty(n_genes * (n_genes - 1) // 2)
    for start, end, block in _blocks(adjacency, denominator):
        np.subtract(1, block, out=block)
        for row in range(start, end):
            place = row * (2 * n_genes - row - 1) // 2
            condensed[place : place + n_genes - row - 1] = block[row - start, row - start + 1 :]
    for start in range(0, n_genes, _BLOCK):
        end = min(start + _BLOCK, n_genes)
        for row in range(start, end):
            place = row * (2 * n_genes - row - 1) // 2
            adjacency[row, row + 1 :] = condensed[place : place + n_genes - row - 1]
            adjacency[row, row] = 0
        adjacency[end:, start:end] = adjacency[start:end, end:].T
        corner = adjacency[start:end, start:end]
        corner[...] = np.triu(corner) + np.triu(corner).T
    return adjacency, condensed


def _blocks(adjacency: FloatArray, denominator: Denominator) -> Iterator[tuple[int, int, FloatArray]]:
    """Yield blocks of rows of the overlap, each from its diagonal to the right."""
    n_genes = len(adjacency)
    if adjacency.shape != (n_genes, n_genes) or not (np.diagonal(adjacency) == 1).all():
        raise ValueError(f"adjacency: shape {adjacency.shape}: must be square with 1 on the diagonal")
    connectivity = np.concatenate(
        [
            np.abs(adjacency[start : start + _BLOCK]).sum(axis=1, dtype=np.float64)
            for start in range(0, n_genes, _BLOCK)
        ]
    ).astype(adjacency.dtype)
    for start in range(0, n_genes, _BLOCK):
        end = min(start + _BLOCK, n_genes)
        own = adjacency[start:end, start:]
        # The product counts i and j themselves, each adding a_ij once; the overlap wants it once in all.
        block = adjacency[start:end] @ adjacency[start:].T
        block -= own
        np.abs(block, out=block)
        below = np.minimum if denominator == "min" else _mean
        divisor = below(connectivity[start:end, None], connectivity[None, start:])
        divisor -= np.abs(own)
        # A gene connected to none has no overlap with itself to divide; its own is one by definition.
        np.fill_diagonal(divisor, 1)
        block /= divisor
        yield start, end, block


def _mean(one: FloatArray, two: FloatArray) -> FloatArray:
    return (one + two) / 2
