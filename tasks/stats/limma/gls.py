r"""Least squares of many genes at once, each with weights of its own, samples of a block correlated.

With W the weights of a gene, its observations have the covariance :math:`W^{-1/2} R W^{-1/2}` times a
variance, R being one on the diagonal and the correlation :math:`\rho` between samples of one block. In a
block of m samples R has the eigenvalues :math:`1 - \rho` (m - 1 times) and :math:`1 - \rho + m \rho` (the
block's mean), so that every cross product :math:`A^T R^{-1} A` is a sum of two kinds of matrices that do not
depend on the correlation: one within blocks, and one between the blocks of each size. They are all that a fit
needs, of size coefficients by coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray

# Genes at a time: their working arrays stay in the processor's cache.
_GENES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Which samples belong together: their order, where each block starts in it, and how large it is."""

    order: NDArray[np.intp]
    start: NDArray[np.intp]
    size: NDArray[np.intp]

    @property
    def sizes(self) -> list[int]:
        return [int(size) for size in np.unique(self.size)]

    def log_determinant(self, correlation: FloatArray) -> FloatArray:
        """Return that of the correlation matrix."""
        within = (len(self.order) - len(self.size)) * np.log1p(-correlation)
        for size, times in zip(*np.unique(self.size, return_counts=True), strict=True):
            within = within + times * np.log1p((size - 1) * correlation)
        return within


def blocks_of(code: NDArray[np.intp]) -> Blocks:
    """Return the blocks that samples with these codes form."""
    order = np.argsort(code, kind="stable")
    start = np.flatnonzero(np.diff(code[order], prepend=-1))
    return Blocks(order=order, start=start, size=np.diff(start, append=len(code)))


def uncorrelated(samples: int) -> Blocks:
    """Return blocks of one sample each."""
    return blocks_of(np.arange(samples))


@dataclass(frozen=True, slots=True)
class Moments:
    """Cross products of weighted columns, the response last: within blocks, between those of each size."""

    within: FloatArray
    between: dict[int, FloatArray]

    def at(self, correlation: FloatArray | float) -> FloatArray:
        """Return the cross products with the inverse of the correlation matrix in between."""
        total = self.within / (1 - correlation)
        for size, between in self.between.items():
            total = total + between / (1 + (size - 1) * correlation)
        return total


def moments(columns: FloatArray, response: FloatArray, weight: FloatArray | None, blocks: Blocks) -> Moments:
    """Return the moments of genes (first axis) whose responses are the rows of `response`."""
    genes, samples = response.shape
    stacked = np.empty((genes, samples, columns.shape[1] + 1))
    stacked[:, :, :-1] = columns[blocks.order]
    stacked[:, :, -1] = response[:, blocks.order]
    if weight is not None:
        stacked *= np.sqrt(weight[:, blocks.order])[:, :, None]
    within = np.matmul(stacked.transpose(0, 2, 1), stacked)
    total = np.add.reduceat(stacked, blocks.start, axis=1)
    between = {}
    for size in blocks.sizes:
        of_size = total[:, blocks.size == size]
        between[size] = np.matmul(of_size.transpose(0, 2, 1), of_size) / size
        within -= between[size]
    return Moments(within, between)


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """An orthogonal basis of the design's columns, in which least squares lose no digits to their scale."""

    column: FloatArray
    triangular: FloatArray

    def residual(self, response: FloatArray) -> FloatArray:
        """Return what ordinary least squares leave of rows of responses."""
        return response - response @ self.column @ self.column.T

    def coefficient(self, of_basis: FloatArray) -> FloatArray:
        """Return the design's coefficients, rows of genes, from those of the basis."""
        return np.linalg.solve(self.triangular, of_basis.T).T

    def contrast(self, of_design: FloatArray) -> FloatArray:
        """Return a contrast of the design's coefficients as one of those of the basis."""
        return np.linalg.solve(self.triangular.T, of_design)


def basis_of(design: FloatArray) -> Basis:
    column, triangular = np.linalg.qr(design)
    return Basis(column=column, triangular=triangular)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlsFit:
    """Coefficients (genes, coefficients) and residual variance of every gene."""

    coefficient: FloatArray
    variance: FloatArray
    df_residual: int


def gls_fit(
    response: FloatArray,
    design: FloatArray,
    *,
    weight: FloatArray | None = None,
    blocks: Blocks,
    correlation: float,
) -> GlsFit:
    """Fit every row of `response` to the design, given the correlation within blocks."""
    genes, samples = response.shape
    basis = basis_of(design)
    of_basis = response @ basis.column
    variance = np.empty(genes)
    df = samples - design.shape[1]
    for part in gene_blocks(genes):
        left = basis.residual(response[part])
        # Without weights all genes have the cross products of the columns in common.
        rows, root = (left[:1], 1.0) if weight is None else (left, np.sqrt(weight[part]))
        columns = moments(basis.column, rows, None if weight is None else weight[part], blocks)
        information = columns.at(correlation)[:, :-1, :-1]
        score = (root * _solved((root * left).T, blocks, correlation).T) @ basis.column
        change = np.linalg.solve(information, score[:, :, None])[:, :, 0]
        of_basis[part] += change
        # The residual anew: the difference of two cross products would lose the digits of a small one.
        left -= change @ basis.column.T
        variance[part] = (root * left * _solved((root * left).T, blocks, correlation).T).sum(axis=1) / df
    return GlsFit(coefficient=basis.coefficient(of_basis), variance=variance, df_residual=df)


def unscaled_variance(
    design: FloatArray, contrast: FloatArray, *, weight: FloatArray, blocks: Blocks, correlation: float
) -> FloatArray:
    """Return every gene's variance of a contrast in units of its residual variance."""
    basis = basis_of(design)
    of_basis = basis.contrast(contrast)
    genes, samples = weight.shape
    variance = np.empty(genes)
    for part in gene_blocks(genes):
        none = np.zeros((part.stop - part.start, samples))
        cross = moments(basis.column, none, weight[part], blocks).at(correlation)[:, :-1, :-1]
        right = np.broadcast_to(of_basis[:, None], (len(cross), len(of_basis), 1))
        variance[part] = np.linalg.solve(cross, right)[:, :, 0] @ of_basis
    return variance


def gene_blocks(genes: int, at_once: int = _GENES) -> Iterator[slice]:
    return (slice(first, min(first + at_once, genes)) for first in range(0, genes, at_once))


def _solved(columns: FloatArray, blocks: Blocks, correlation: float) -> FloatArray:
    """Return columns (samples, any) with the inverse of the correlation matrix before them."""
    # In a block of m, R^-1 = (I - c 1 1') / (1 - rho) with c = rho / (1 - rho + m rho).
    total = np.add.reduceat(columns[blocks.order], blocks.start, axis=0)
    share = correlation / (1 + (blocks.size - 1) * correlation)
    solved = np.empty_like(columns)
    solved[blocks.order] = np.repeat(share[:, None] * total, blocks.size, axis=0)
    return (columns - solved) / (1 - correlation)
