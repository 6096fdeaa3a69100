"""Topological overlap: how much two genes share of those they are connected to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.coexpression.condensed import pairs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.stats.coexpression.settings import Denominator
    from tasks.stats.types import FloatArray

# Rows of one matrix product, and of them those that stay in the processor's cache while they are divided.
_BLOCK, _STRIP = 256, 32


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
    for start, end, strip in _strips(adjacency, denominator):
        result[start:end, start:] = strip
        result[end:, start:end] = strip[:, end - start :].T
    np.fill_diagonal(result, 1.0)
    return result


def overlap_dissimilarity(adjacency: FloatArray, *, denominator: Denominator = "min") -> FloatArray:
    """Return 1 - topological overlap in condensed form, in the precision of the adjacency.

    The condensed form has scipy's order. Beside it nothing grows with the square of the genes, and only pairs
    above the diagonal are computed, which halves the product.
    """
    n_genes = len(adjacency)
    condensed = np.empty(n_genes * (n_genes - 1) // 2, dtype=adjacency.dtype)
    for start, end, strip in _strips(adjacency, denominator):
        np.subtract(1, strip, out=strip)
        for row in range(start, end):
            condensed[pairs_of(row, n_genes)] = strip[row - start, row - start + 1 :]
    return condensed


def _strips(adjacency: FloatArray, denominator: Denominator) -> Iterator[tuple[int, int, FloatArray]]:
    """Yield strips of rows of the overlap, each from its diagonal to the right."""
    n_genes = len(adjacency)
    if adjacency.shape != (n_genes, n_genes) or not (np.diagonal(adjacency) == 1).all():
        raise ValueError(f"adjacency: shape {adjacency.shape}: must be square with 1 on the diagonal")
    connectivity = np.concatenate(
        [
            np.abs(adjacency[start : start + _STRIP]).sum(axis=1, dtype=np.float64)
            for start in range(0, n_genes, _STRIP)
        ]
    ).astype(adjacency.dtype)
    below = np.minimum if denominator == "min" else _mean
    for block_start in range(0, n_genes, _BLOCK):
        block = adjacency[block_start : block_start + _BLOCK] @ adjacency[:, block_start:]
        for start in range(block_start, block_start + len(block), _STRIP):
            end = min(start + _STRIP, n_genes)
            own = adjacency[start:end, start:]
            # The product counts i and j themselves, each adding a_ij once; the overlap wants it once in all.
            strip = block[start - block_start : end - block_start, start - block_start :]
            strip -= own
            np.abs(strip, out=strip)
            divisor = below(connectivity[start:end, None], connectivity[None, start:])
            divisor -= np.abs(own)
            # A gene connected to none has no overlap with itself to divide; its own is one by definition.
            np.fill_diagonal(divisor, 1)
            strip /= divisor
            yield start, end, strip


def _mean(one: FloatArray, two: FloatArray) -> FloatArray:
    return (one + two) / 2
