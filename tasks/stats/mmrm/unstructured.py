"""The unstructured covariance by its Cholesky factor, in two coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray


@cache
def below_diagonal(m: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.tril_indices(m, -1)


@dataclass(frozen=True, slots=True)
class Unstructured:
    """Every variance and every covariance free."""

    n_visits: int

    @property
    def is_log_scale(self) -> NDArray[np.bool_]:
        return np.arange(self.n_parameters) < self.n_visits

    @property
    def n_parameters(self) -> int:
        return self.n_visits * (self.n_visits + 1) // 2

    @property
    def search(self) -> LogCholesky:
        return LogCholesky(self.n_visits)

    def at(self, theta: FloatArray) -> UnstructuredAt:
        m = self.n_visits
        below = below_diagonal(m)
        scale = np.exp(theta[:m])
        unit = np.eye(m)
        unit[below] = theta[m:]
        root = scale[:, None] * unit
        # A log scale moves its row of A, and as much again.
        by_scale = np.zeros((m, m, m))
        by_scale[np.arange(m), np.arange(m)] = root
        return UnstructuredAt(root, by_scale, scale[below[0]], mixed_rows=below[0])

    def start(self, moments: FloatArray) -> FloatArray:
        return self.parameters_of(moments)

    def parameters_of(self, matrix: FloatArray) -> FloatArray:
        root = np.linalg.cholesky(matrix)
        scale = np.diag(root)
        below = below_diagonal(self.n_visits)
        return np.concatenate([np.log(scale), (root / scale[:, None])[below]])


@dataclass(frozen=True, slots=True)
class LogCholesky:
    """The unstructured covariance by the logs of the diagonal of A and its other elements as they are.

    Here the way to a singular covariance is straight (one logarithm falls), so that a search soon sees it.
    """

    n_visits: int

    @property
    def n_parameters(self) -> int:
        return self.n_visits * (self.n_visits + 1) // 2

    def at(self, theta: FloatArray) -> UnstructuredAt:
        m = self.n_visits
        root = np.diag(np.exp(theta[:m]))
        by_scale = np.zeros((m, m, m))
        by_scale[np.arange(m), np.arange(m), np.arange(m)] = np.diag(root)
        root[below_diagonal(m)] = theta[m:]
        return UnstructuredAt(root, by_scale, np.ones(theta.size - m), mixed_rows=None)

    def start(self, moments: FloatArray) -> FloatArray:
        return self.parameters_of(moments)

    def parameters_of(self, matrix: FloatArray) -> FloatArray:
        root = np.linalg.cholesky(matrix)
        return np.concatenate([np.log(np.diag(root)), root[below_diagonal(self.n_visits)]])


class UnstructuredAt:
    """Sigma = A A'; the second derivatives of A repeat the first or vanish.

    `by_scale` are the derivatives of A by the first m parameters, and its second derivatives; the others move
    one element below the diagonal each, by `by_element`. `mixed_rows` says which of the first parameters
    multiplies that element, if one does.
    """

    __slots__ = (
        "_below",
        "_by_element",
        "_by_scale",
        "_mixed_rows",
        "_root",
        "_root_first",
        "first",
        "matrix",
    )

    def __init__(
        self,
        root: FloatArray,
        by_scale: FloatArray,
        by_element: FloatArray,
        *,
        mixed_rows: NDArray[np.int64] | None,
    ) -> None:
        m = root.shape[0]
        self._below = below_diagonal(m)
        moved = np.zeros((by_element.size, m, m))
        moved[np.arange(by_element.size), self._below[0], self._below[1]] = by_element
        self._root, self._by_scale, self._by_element, self._mixed_rows = (
            root,
            by_scale,
            by_element,
            mixed_rows,
        )
        self._root_first = np.concatenate([by_scale, moved])
        half = self._root_first @ root.T
        self.matrix: FloatArray = root @ root.T
        self.first: FloatArray = half + half.transpose(0, 2, 1)

    def second_against(self, weights: FloatArray) -> FloatArray:
        k, m = self.first.shape[:2]
        result = 2 * (weights @ self._root_first).reshape(k, -1) @ self._root_first.reshape(k, -1).T
        pull = 2 * weights @ self._root
        own = np.arange(m)
        result[own, own] += self._by_scale.reshape(m, -1) @ pull.reshape(-1)
        if self._mixed_rows is not None:
            mixed = self._by_element * pull[self._below]
            pair = np.arange(m, k)
            result[self._mixed_rows, pair] += mixed
            result[pair, self._mixed_rows] += mixed
        return np.asarray(result)

    def second_weighted(self, weights: FloatArray) -> FloatArray:
        k, m = self.first.shape[:2]
        twice = np.tensordot(np.diag(weights)[:m], self._by_scale, axes=1)
        if self._mixed_rows is not None:
            twice[self._below] += 2 * weights[self._mixed_rows, np.arange(m, k)] * self._by_element
        curved = twice @ self._root.T
        weighted = np.tensordot(weights, self._root_first, axes=1)
        crossed = np.einsum("hab,hcb->ac", self._root_first, weighted, optimize=True)
        return np.asarray(curved + curved.T + 2 * crossed)
