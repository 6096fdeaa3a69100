"""Sufficient statistics of repeated measures: subjects with the same observed visits, stacked and condensed.

The likelihood depends on the subjects of a pattern of observed visits only through sums over them of products
of design and response values. These sums are kept when the n subjects are replaced by Q'Z, with Q an
orthonormal basis of what their design rows are made of (arm, site, baseline, ...): as many rows as
there are such features, not as there are subjects. What of the response lies outside the basis is a scatter
matrix over visits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solve_triangular

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray

# As in R's lm: a column of which less than this part is left beside the columns before it is a combination of
# them.
ALIAS_TOLERANCE = 1e-7
# A response of which less than this part is left beside the design is fitted exactly.
EXACT_FIT = 1e-12
# Condensing a few subjects costs more than it saves.
FEW_SUBJECTS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The n subjects that were observed at the same r positions (visits of a group), condensed to c rows."""

    subjects: NDArray[np.int64]
    positions: NDArray[np.int64]
    rows: NDArray[np.int64]
    basis: FloatArray | None
    x: FloatArray
    y: FloatArray
    scatter: FloatArray


def condensed(
    subjects: NDArray[np.int64],
    positions: NDArray[np.int64],
    rows: NDArray[np.int64],
    x: FloatArray,
    y: FloatArray,
) -> Block:
    """Condense one pattern: `rows` (n, r) point into the design matrix `x` and the response `y`."""
    n, r = rows.shape
    taken = x[rows]
    basis = None
    if n > FEW_SUBJECTS:
        flat = taken.reshape(n, -1)
        features, feature_of = _distinct_columns(flat)
        if features.shape[1] < n:
            basis, triangle = np.linalg.qr(features)
            taken = triangle[:, feature_of].reshape(-1, r, x.shape[1])
    projected, scatter = _projected(basis, y[rows])
    return Block(subjects, positions, rows, basis, taken, projected, scatter)


def block_with_response(block: Block, y: FloatArray) -> Block:
    projected, scatter = _projected(block.basis, y[block.rows])
    return Block(block.subjects, block.positions, block.rows, block.basis, block.x, projected, scatter)


def _projected(basis: FloatArray | None, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    if basis is None:
        return y, np.zeros((y.shape[1], y.shape[1]))
    projected = basis.T @ y
    beside = y - basis @ projected
    return projected, beside.T @ beside


def _distinct_columns(flat: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return the distinct columns and which of them each column is."""
    # Equal columns have equal sums under the same weights, added in the same order; the weights are
    # arbitrary.
    weights = np.sin(np.arange(1, flat.shape[0] + 1) ** 2)
    sums = np.add.reduce(weights[:, None] * flat, axis=0)
    _, chosen, which = np.unique(sums, return_index=True, return_inverse=True)
    distinct = flat[:, chosen]
    if not np.array_equal(distinct[:, which], flat):
        return flat, np.arange(flat.shape[1])
    return distinct, which


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """All patterns, padded with zeros to the M positions, in coordinates in which the design is orthonormal.

    `x` (R, M, p) and `y` (R, M) are the condensed rows, sorted by pattern: pattern g begins at `starts[g]`.
    The response is what least squares leaves of it, in units of its residual standard deviation `scale`; a
    coefficient in these coordinates becomes `offset + scale * triangle^-1 coefficient` in the kept columns.
    `alias` (p, aliased) says which combination of the kept columns an aliased column is.
    """

    counts: FloatArray
    is_observed: NDArray[np.bool_]
    starts: NDArray[np.int64]
    pattern_of_row: NDArray[np.int64]
    x: FloatArray
    y: FloatArray
    scatter: FloatArray
    n_observations: int
    triangle: FloatArray
    offset: FloatArray
    scale: float
    kept: NDArray[np.int64]
    aliased: NDArray[np.int64]
    alias: FloatArray

    @property
    def n_coefficients(self) -> int:
        return int(self.kept.size)

    @property
    def residual_df(self) -> int:
        return self.n_observations - self.n_coefficients

    def residual_moments(self) -> tuple[FloatArray, FloatArray]:
        """Return the (M, M) sums of products of least-squares residuals, and of how many they are."""
        sums = self.y.T @ self.y + self.scatter.sum(axis=0)
        seen = self.is_observed.astype(np.float64)
        return sums, (seen * self.counts[:, None]).T @ seen


def assembled(blocks: Sequence[Block], n_positions: int) -> Moments:
    """Stack the patterns, find the aliased columns and change to orthonormal coordinates."""
    sizes = np.array([block.x.shape[0] for block in blocks])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    pattern_of_row = np.repeat(np.arange(len(blocks)), sizes)
    is_observed = np.zeros((len(blocks), n_positions), dtype=np.bool_)
    y: FloatArray = np.zeros((pattern_of_row.size, n_positions))
    scatter: FloatArray = np.zeros((len(blocks), n_positions, n_positions))
    for number, (block, start, size) in enumerate(zip(blocks, starts, sizes, strict=True)):
        is_observed[number, block.positions] = True
        y[start : start + size, block.positions] = block.y
        scatter[number][np.ix_(block.positions, block.positions)] = block.scatter
    is_cell = is_observed[pattern_of_row]
    stacked_x = np.concatenate([block.x.reshape(-1, block.x.shape[2]) for block in blocks])
    n_observations = sum(block.rows.size for block in blocks)
    kept, aliased, alias = _aliasing(stacked_x)
    if n_observations <= kept.size:
        raise ValueError(
            f"data: {n_observations} observations for {kept.size} coefficients: more observations needed"
        )
    orthonormal, triangle = np.linalg.qr(stacked_x[:, kept])
    x = np.zeros((*y.shape, kept.size))
    x[is_cell] = orthonormal
    y, scatter, offset, scale = _standardised(
        orthonormal, triangle, is_cell=is_cell, y=y, scatter=scatter, n_observations=n_observations
    )
    return Moments(
        counts=np.array([block.subjects.size for block in blocks], dtype=np.float64),
        is_observed=is_observed,
        starts=starts,
        pattern_of_row=pattern_of_row,
        x=x,
        y=y,
        scatter=scatter,
        n_observations=n_observations,
        triangle=triangle,
        offset=offset,
        scale=scale,
        kept=kept,
        aliased=aliased,
        alias=alias,
    )


def reassembled(before: Moments, blocks: Sequence[Block]) -> Moments:
    """Stack other responses of the same design."""
    y = np.zeros_like(before.y)
    scatter = np.zeros_like(before.scatter)
    start = 0
    for number, block in enumerate(blocks):
        y[start : start + block.y.shape[0], block.positions] = block.y
        scatter[number][np.ix_(block.positions, block.positions)] = block.scatter
        start += block.y.shape[0]
    is_cell = before.is_observed[before.pattern_of_row]
    y, scatter, offset, scale = _standardised(
        before.x[is_cell],
        before.triangle,
        is_cell=is_cell,
        y=y,
        scatter=scatter,
        n_observations=before.n_observations,
    )
    return replace(before, y=y, scatter=scatter, offset=offset, scale=scale)


def _standardised(
    orthonormal: FloatArray,
    triangle: FloatArray,
    *,
    is_cell: NDArray[np.bool_],
    y: FloatArray,
    scatter: FloatArray,
    n_observations: int,
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Return the least-squares residuals and the scatter in units of the residual standard deviation."""
    stacked = y[is_cell]
    along = orthonormal.T @ stacked
    left = stacked - orthonormal @ along
    scattered = float(np.trace(scatter, axis1=1, axis2=2).sum())
    residual_ss = float(left @ left) + scattered
    if residual_ss <= EXACT_FIT**2 * (float(stacked @ stacked) + scattered):
        raise ValueError("response: no variation beside the model: it must not be fitted exactly")
    scale = float(np.sqrt(residual_ss / (n_observations - orthonormal.shape[1])))
    residual = np.zeros_like(y)
    residual[is_cell] = left / scale
    return residual, scatter / scale**2, solve_triangular(triangle, along, check_finite=False), scale


def _aliasing(x: FloatArray) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Return the columns to keep, those that are combinations of earlier ones, and the combinations."""
    triangle = _triangle(x)
    size = np.sqrt(np.square(triangle).sum(axis=0))
    kept = np.flatnonzero(size > 0)
    while kept.size:
        # The diagonal says how much of a column those before it leave, up to the first that is left nothing.
        left = np.zeros(kept.size)
        diagonal = np.abs(np.diag(_triangle(triangle[:, kept])))
        left[: diagonal.size] = diagonal
        is_left_nothing = left < ALIAS_TOLERANCE * size[kept]
        if not is_left_nothing.any():
            break
        kept = np.delete(kept, int(np.argmax(is_left_nothing)))
    aliased = np.setdiff1d(np.arange(x.shape[1]), kept)
    if not aliased.size:
        return kept, aliased, np.zeros((kept.size, 0))
    return kept, aliased, np.linalg.lstsq(triangle[:, kept], triangle[:, aliased], rcond=None)[0]


def _triangle(x: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.qr(x).R, dtype=np.float64)
