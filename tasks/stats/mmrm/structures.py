"""Covariance structures over visits: the matrix and its first and second derivatives in closed form.

A structure maps an unbounded parameter vector theta to a covariance matrix. The unstructured is (D L)(D L)',
with D = diag(exp(theta_1..m)) and L unit lower triangular with the other parameters, filled row by row. All
others are D C D with log standard deviations first (one, or one per visit) and then the correlations:
rho = theta / sqrt(1 + theta^2) for Toeplitz and autoregression; the logistic function of theta, stretched to
(-1 / (m - 1), 1), for compound symmetry. These are the parameters of the R package mmrm: Kenward-Roger's
covariance with second derivatives depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, get_args

import numpy as np

from tasks.stats.mmrm.patterned import SIGNED_LINK, LogisticLink, Patterned
from tasks.stats.mmrm.unstructured import Unstructured
from tasks.stats.types import checked_choice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray

StructureName: TypeAlias = Literal["us", "toeph", "toep", "ar1h", "ar1", "csh", "cs"]
STRUCTURE_NAMES: tuple[StructureName, ...] = get_args(StructureName)


class CovarianceAt(Protocol):
    """A covariance matrix at one theta of length k, over m visits."""

    @property
    def matrix(self) -> FloatArray:
        """(m, m) covariance."""

    @property
    def first(self) -> FloatArray:
        """(k, m, m) first derivatives."""

    def second_against(self, weights: FloatArray) -> FloatArray:
        """Return the (k, k) inner products of each second derivative with a symmetric (m, m) matrix."""

    def second_weighted(self, weights: FloatArray) -> FloatArray:
        """Return the (m, m) sum of the second derivatives weighted by a symmetric (k, k) matrix."""


class Coordinates(Protocol):
    """A family of covariance matrices over m visits by unbounded parameters."""

    @property
    def n_parameters(self) -> int: ...

    def at(self, theta: FloatArray) -> CovarianceAt: ...

    def parameters_of(self, matrix: FloatArray) -> FloatArray:
        """Return the theta of a positive definite (m, m) matrix of the family."""

    def start(self, moments: FloatArray) -> FloatArray:
        """Return a theta from which to search, near a positive definite (m, m) matrix."""


class Structure(Coordinates, Protocol):
    """A family by the parameters that results are stated in."""

    @property
    def is_log_scale(self) -> NDArray[np.bool_]:
        """(k,) which parameters shift by log(c) when the response is multiplied by c; the others stay."""

    @property
    def search(self) -> Coordinates:
        """The same matrices in coordinates that suit a search."""


def structure_named(name: StructureName, n_visits: int) -> Structure:
    checked_choice("structure", name, STRUCTURE_NAMES)
    if name == "us":
        return Unstructured(n_visits)
    family = name.removesuffix("h")
    is_scaled = name != family
    lag = np.abs(np.subtract.outer(np.arange(n_visits), np.arange(n_visits)))
    if family == "ar1":
        return Patterned(n_visits, lag, SIGNED_LINK, is_power=True, is_scaled=is_scaled)
    if family == "toep":
        return Patterned(n_visits, lag - 1, SIGNED_LINK, is_power=False, is_scaled=is_scaled)
    link = LogisticLink(-1 / (n_visits - 1) if n_visits > 1 else 0.0)
    return Patterned(n_visits, np.where(lag == 0, -1, 0), link, is_power=False, is_scaled=is_scaled)


@dataclass(frozen=True, slots=True)
class CoordinatesPerGroup:
    """One family, with parameters of its own in each group of subjects: block diagonal over the groups."""

    one: Coordinates
    n_visits: int
    n_groups: int

    @property
    def n_parameters(self) -> int:
        return self.n_groups * self.one.n_parameters

    def at(self, theta: FloatArray) -> PerGroupAt:
        return PerGroupAt([self.one.at(part) for part in theta.reshape(self.n_groups, -1)], self.n_visits)

    def parameters_of(self, matrix: FloatArray) -> FloatArray:
        return np.concatenate([self.one.parameters_of(block) for block in self._blocks(matrix)])

    def start(self, moments: FloatArray) -> FloatArray:
        return np.concatenate([self.one.start(block) for block in self._blocks(moments)])

    def _blocks(self, matrix: FloatArray) -> list[FloatArray]:
        ends = [(g * self.n_visits, (g + 1) * self.n_visits) for g in range(self.n_groups)]
        return [matrix[begin:end, begin:end] for begin, end in ends]


@dataclass(frozen=True, slots=True)
class PerGroup(CoordinatesPerGroup):
    """One structure in each group."""

    one: Structure

    @property
    def is_log_scale(self) -> NDArray[np.bool_]:
        return np.tile(self.one.is_log_scale, self.n_groups)

    @property
    def search(self) -> CoordinatesPerGroup:
        return CoordinatesPerGroup(self.one.search, self.n_visits, self.n_groups)


class PerGroupAt:
    """The groups' covariances on the diagonal of one matrix; derivatives never mix groups."""

    __slots__ = ("_blocks", "_parameters", "_parts", "first", "matrix")

    def __init__(self, parts: list[CovarianceAt], m: int) -> None:
        k = parts[0].first.shape[0]
        self._parts = parts
        self._blocks = [slice(g * m, (g + 1) * m) for g in range(len(parts))]
        self._parameters = [slice(g * k, (g + 1) * k) for g in range(len(parts))]
        self.matrix: FloatArray = np.zeros((m * len(parts), m * len(parts)))
        self.first: FloatArray = np.zeros((k * len(parts), *self.matrix.shape))
        for part, block, own in zip(parts, self._blocks, self._parameters, strict=True):
            self.matrix[block, block] = part.matrix
            self.first[own, block, block] = part.first

    def second_against(self, weights: FloatArray) -> FloatArray:
        result = np.zeros((self.first.shape[0],) * 2)
        for part, block, own in zip(self._parts, self._blocks, self._parameters, strict=True):
            result[own, own] = part.second_against(np.ascontiguousarray(weights[block, block]))
        return result

    def second_weighted(self, weights: FloatArray) -> FloatArray:
        result = np.zeros_like(self.matrix)
        for part, block, own in zip(self._parts, self._blocks, self._parameters, strict=True):
            result[block, block] = part.second_weighted(np.ascontiguousarray(weights[own, own]))
        return result
