r"""The structure of a design: strata with a level of their own, and the few columns that remain.

In `~ subject + visit` all but one coefficient are levels of subjects. The information matrix is then an
arrow: a diagonal block for the strata, bordered by the remaining columns. Centring those columns within
strata, with the weights of the gene, leaves a small dense matrix (the Schur complement), so that a gene costs
work proportional to its samples, not to the cube of its subjects.

With indicators :math:`Z`, remaining columns :math:`U` and weights :math:`W`,
:math:`A_s = \sum_{i \in s} w_i`, :math:`\bar u_s = \sum_{i \in s} w_i u_i / A_s` and
:math:`K = \sum_i w_i (u_i - \bar u_{s(i)})(u_i - \bar u_{s(i)})^T`:
:math:`\log\det [Z\,U]^T W [Z\,U] = \sum_s \log A_s + \log\det K`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import qr, solve_triangular
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from tasks.stats.types import FloatArray

_DIMENSIONS = 2
# Strata up to this size are summed sample by sample over all strata at once, larger ones by a matrix product.
_SMALL_STRATUM = 16
_IN_SPAN = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A design matrix of full column rank, with its strata and a basis of what they leave.

    Attributes
    ----------
    matrix : (samples, coefficients) array
        As given.
    codes : (samples,) array
        The stratum of each sample; -1, and `n_strata` 0, where the
        design has no constant.
    rest : (samples, coefficients - n_strata) array
        Columns of `matrix` that complete the strata to its span.
    to_coefficient : (coefficients, coefficients) array
        From coefficients of strata and rest to those of `matrix`.
    log_det : float
        What log det of the information in `matrix` has more than that in strata and rest.
    cells : (samples,) array
        Which samples share a row of the matrix.
    """

    matrix: FloatArray
    codes: NDArray[np.intp]
    n_strata: int
    rest: FloatArray
    to_coefficient: FloatArray
    log_det: float
    cells: NDArray[np.intp]
    slabs: tuple[tuple[NDArray[np.intp], NDArray[np.intp]], ...]
    indicator: FloatArray

    @property
    def residual_df(self) -> int:
        samples, coefficients = self.matrix.shape
        return int(samples - coefficients)

    @property
    def is_saturated_in_cells(self) -> bool:
        """Whether the design fits each of its distinct rows freely, as a one-way layout does."""
        return bool(int(self.cells.max()) + 1 == self.matrix.shape[1])

    def stratum_sum(self, value: FloatArray) -> FloatArray:
        """Return (genes, strata) sums of (genes, samples) values."""
        if not self.slabs:
            total: FloatArray = value @ self.indicator
            return total
        first, *others = self.slabs
        total = np.empty((len(value), self.n_strata))
        total[:, first[0]] = value[:, first[1]]
        for stratum, sample in others:
            total[:, stratum] += value[:, sample]
        return total

    def spread(self, by_stratum: FloatArray) -> FloatArray:
        """Return to each sample the value of its stratum."""
        return np.take(by_stratum, self.codes, axis=1)

    def centred(self, weight: FloatArray) -> Centred:
        """Return the remaining columns centred within strata by (genes, samples) weights."""
        genes, samples = weight.shape
        rest = np.broadcast_to(self.rest.T, (genes, self.rest.shape[1], samples))
        if not self.n_strata:
            return Centred(level=np.ones((genes, 0)), mean=np.empty((genes, 0, 0)), column=rest)
        level = self.stratum_sum(weight)
        mean = np.empty((genes, self.rest.shape[1], self.n_strata))
        column = np.empty(rest.shape)
        for j, values in enumerate(self.rest.T):
            mean[:, j] = self.stratum_sum(weight * values) / level
            np.subtract(values, self.spread(mean[:, j]), out=column[:, j])
        return Centred(level=level, mean=mean, column=column)

    def fitted(self, value: FloatArray) -> FloatArray:
        """Return the least-squares fit of (genes, samples) values."""
        return self._solved(value, np.ones((1, value.shape[1])))[0]

    def weighted_fit(self, value: FloatArray, weight: FloatArray) -> FloatArray:
        """Return the weighted least-squares fit of (genes, samples) values."""
        return self._solved(value, weight)[0]

    def coefficient(self, fitted: FloatArray) -> FloatArray:
        """Return (genes, coefficients) of values that lie in the span of the design."""
        _, level, rest = self._solved(fitted, np.ones((1, fitted.shape[1])))
        result: FloatArray = np.concatenate([level, rest], axis=1) @ self.to_coefficient.T
        return result

    def _solved(self, value: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the fit, the coefficients of the strata and those of the rest."""
        centred = self.centred(weight)
        level: FloatArray = np.empty((len(value), 0))
        fitted: FloatArray = np.zeros(value.shape)
        if self.n_strata:
            level = self.stratum_sum(value * weight) / centred.level
            fitted = self.spread(level)
        if not self.rest.shape[1]:
            return fitted, level, np.empty((len(value), 0))
        score = np.matmul(centred.column, (weight * (value - fitted))[:, :, None])
        rest = np.linalg.solve(centred.information(weight), score).transpose(0, 2, 1)
        fitted = fitted + np.matmul(rest, centred.column)[:, 0]
        if self.n_strata:
            level = level - np.matmul(rest, centred.mean)[:, 0]
        return fitted, level, rest[:, 0]

    def leverage(self, weight: FloatArray) -> FloatArray:
        """Return the diagonal of the hat matrix of each gene's weighted fit."""
        centred = self.centred(weight)
        inverse = self.spread(1 / centred.level) if self.n_strata else np.zeros(weight.shape)
        if self.rest.shape[1]:
            solved = np.linalg.solve(centred.information(weight), centred.column)
            inverse = inverse + (solved * centred.column).sum(axis=1)
        leverage: FloatArray = weight * inverse
        return leverage

    def contrast_variance(self, weight: FloatArray, contrast: FloatArray) -> FloatArray:
        """Return the variance of `contrast @ coefficient` per gene, the inverse information being theirs."""
        centred = self.centred(weight)
        in_basis = self.to_coefficient.T @ contrast
        of_level, of_rest = in_basis[: self.n_strata], in_basis[self.n_strata :]
        variance: FloatArray = (of_level**2 / centred.level).sum(axis=1)
        if of_rest.size:
            left = of_rest - centred.mean @ of_level if self.n_strata else np.tile(of_rest, (len(weight), 1))
            solved = np.linalg.solve(centred.information(weight), left[:, :, None])[:, :, 0]
            variance = variance + (left * solved).sum(axis=1)
        return variance


@dataclass(frozen=True, slots=True, kw_only=True)
class Centred:
    """For some weights: sum of weights and mean of the columns per stratum, and the centred columns."""

    level: FloatArray
    mean: FloatArray
    column: FloatArray

    def information(self, weight: FloatArray) -> FloatArray:
        """Return (genes, rest, rest) weighted sums of products of the centred columns."""
        product: FloatArray = np.matmul(self.column * weight[:, None, :], self.column.transpose(0, 2, 1))
        return product


def analysed_design(matrix: ArrayLike) -> Design:
    """Find the strata of a design.

    Raises
    ------
    ValueError
        If the matrix is no finite (samples, coefficients) array of full column rank.
    """
    design = np.array(matrix, dtype=np.float64)
    if design.ndim != _DIMENSIONS or not design.shape[1]:
        raise ValueError(f"design: shape {design.shape}: must be samples x coefficients")
    if not np.isfinite(design).all():
        raise ValueError("design: a value is not finite: every value must be a number")
    coefficients = design.shape[1]
    with threadpool_limits(1, user_api="blas"):
        orthogonal, triangular, order = qr(design, mode="economic", pivoting=True)
    size = np.abs(np.diagonal(triangular))
    rank = int((size > size[0] * max(design.shape) * np.finfo(np.float64).eps).sum())
    if rank < coefficients:
        raise ValueError(
            f"design: rank {rank} with {coefficients} columns: every column must say something that the"
            f" others do not"
        )
    codes = _strata(design, orthogonal)
    n_strata = int(codes.max()) + 1
    indicator = (codes[:, None] == np.arange(n_strata)).astype(np.float64)
    rest = _rest(design, indicator, coefficients - n_strata)
    basis = np.concatenate([indicator, rest], axis=1)
    to_coefficient = np.empty((coefficients, coefficients))
    to_coefficient[order] = solve_triangular(triangular, orthogonal.T @ basis)
    return Design(
        matrix=design,
        codes=codes,
        n_strata=n_strata,
        rest=rest,
        to_coefficient=to_coefficient,
        log_det=-2 * float(np.linalg.slogdet(to_coefficient)[1]),
        cells=_cells(design),
        slabs=_slabs(codes, n_strata),
        indicator=indicator,
    )


def _strata(design: FloatArray, orthogonal: FloatArray) -> NDArray[np.intp]:
    """Return the finest partition found whose every part has an indicator in the span of the design.

    Where not even the whole has one, all codes are -1.
    """

    def is_in_span(member: NDArray[np.intp]) -> bool:
        # The projection of an indicator on the span is as long as itself.
        projection = orthogonal[member].sum(axis=0)
        return bool(len(member) - projection @ projection < _IN_SPAN * len(member))

    samples = len(design)
    if not is_in_span(np.arange(samples)):
        return np.full(samples, -1, dtype=np.intp)
    is_binary = ((design == 0) | (design == 1)).all(axis=0)
    members = [np.flatnonzero(column) for column in design.T[is_binary]]
    codes = np.zeros(samples, dtype=np.intp)
    # Small groups first: were the two visits split first, no subject could be split off any more.
    for member in sorted(members, key=len):
        for part in np.unique(codes[member]):
            inside = member[codes[member] == part]
            if len(inside) < np.count_nonzero(codes == part) and is_in_span(inside):
                codes[inside] = codes.max() + 1
    first, inverse = np.unique(codes, return_index=True, return_inverse=True)[1:]
    return np.argsort(np.argsort(first))[inverse]


def _cells(design: FloatArray) -> NDArray[np.intp]:
    """Give each row the number of its pattern, in the order in which the patterns appear."""
    number: dict[bytes, int] = {}
    # Adding zero makes a negative zero a positive one, which is another pattern of bits.
    rows = np.ascontiguousarray(design + 0.0)
    return np.array([number.setdefault(row.tobytes(), len(number)) for row in rows], dtype=np.intp)


def _rest(design: FloatArray, indicator: FloatArray, wanted: int) -> FloatArray:
    """Choose columns that complete the strata, by the size of what is new in them."""
    chosen: list[FloatArray] = [np.empty((len(design), 0))]
    basis = indicator / np.sqrt(indicator.sum(axis=0))
    left = design - basis @ (basis.T @ design)
    for _ in range(wanted):
        best = int(np.argmax((left**2).sum(axis=0) / (design**2).sum(axis=0)))
        chosen.append(design[:, [best]])
        direction = left[:, best] / np.linalg.norm(left[:, best])
        left = left - np.outer(direction, direction @ left)
    return np.concatenate(chosen, axis=1)


def _slabs(codes: NDArray[np.intp], n_strata: int) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp]], ...]:
    """Return, for the first, second, ... sample of each stratum: which strata have one, and which it is."""
    if not n_strata or np.bincount(codes).max() > _SMALL_STRATUM:
        return ()
    members = [np.flatnonzero(codes == stratum) for stratum in range(n_strata)]
    return tuple(
        (
            np.array([s for s, member in enumerate(members) if len(member) > position], dtype=np.intp),
            np.array([member[position] for member in members if len(member) > position], dtype=np.intp),
        )
        for position in range(max(len(member) for member in members))
    )
