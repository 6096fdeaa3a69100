"""Covariances with correlations that pairs of visits share: Toeplitz, autoregressive, compound symmetry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray

# A search starts away from the edge, where the likelihood is steep.
LARGEST_START_CORRELATION = 0.95
START_EIGENVALUE = 1e-3


@dataclass(frozen=True, slots=True)
class SignedLink:
    """Correlations in (-1, 1) from the real line: rho = theta / sqrt(1 + theta^2)."""

    low: float = -1.0

    def derivatives(self, theta: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return rho and its first and second derivative."""
        size = 1 + theta**2
        return theta / np.sqrt(size), size**-1.5, -3 * theta * size**-2.5

    def inverse(self, rho: FloatArray) -> FloatArray:
        return np.asarray(rho / np.sqrt(1 - rho**2), dtype=np.float64)


SIGNED_LINK = SignedLink()


@dataclass(frozen=True, slots=True)
class LogisticLink:
    """Correlations in (low, 1), where they make compound symmetry positive definite."""

    low: float

    def derivatives(self, theta: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        share, width = special.expit(theta), 1 - self.low
        slope = width * share * (1 - share)
        return self.low + width * share, slope, slope * (1 - 2 * share)

    def inverse(self, rho: FloatArray) -> FloatArray:
        return np.asarray(special.logit((rho - self.low) / (1 - self.low)), dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Patterned:
    """D C D: correlations are shared by pairs of visits, as powers of one or by a table of which is whose.

    `pattern[s, t]` numbers the correlation of a pair of visits, -1 on the diagonal; with `is_power` it is the
    power of the one correlation instead.
    """

    n_visits: int
    pattern: NDArray[np.int64]
    link: SignedLink | LogisticLink
    is_power: bool
    is_scaled: bool

    @property
    def n_scale(self) -> int:
        return self.n_visits if self.is_scaled else 1

    @property
    def is_log_scale(self) -> NDArray[np.bool_]:
        return np.arange(self.n_parameters) < self.n_scale

    @property
    def search(self) -> Patterned:
        return self

    @property
    def n_correlations(self) -> int:
        if self.n_visits == 1:
            return 0
        return 1 if self.is_power else int(self.pattern.max()) + 1

    @property
    def n_parameters(self) -> int:
        return self.n_scale + self.n_correlations

    def at(self, theta: FloatArray) -> PatternedAt:
        return PatternedAt(self, theta)

    def parameters_of(self, matrix: FloatArray) -> FloatArray:
        scale, shared = self._scales_and_correlations(matrix)
        return np.concatenate([np.log(scale), self.link.inverse(shared)])

    def start(self, moments: FloatArray) -> FloatArray:
        scale, shared = self._scales_and_correlations(moments)
        shared = np.clip(shared, LARGEST_START_CORRELATION * self.link.low, LARGEST_START_CORRELATION)
        while True:
            theta = np.concatenate([np.log(scale), self.link.inverse(shared)])
            matrix = self.at(theta).matrix
            if not shared.size or np.linalg.eigvalsh(matrix)[0] > START_EIGENVALUE * np.diag(matrix).min():
                return theta
            shared = 0.8 * shared

    def _scales_and_correlations(self, matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
        variance = np.diag(matrix)
        correlation = matrix / np.sqrt(np.outer(variance, variance))
        numbers = np.where(self.pattern == 1, 0, -1) if self.is_power else self.pattern
        shared = np.array([correlation[numbers == one].mean() for one in range(self.n_correlations)])
        return np.sqrt(variance if self.is_scaled else variance.mean(keepdims=True)), shared

    def correlations(self, rho: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return C (m, m), its derivatives (r, m, m) and its second derivatives (r, m, m).

        No element of C depends on two correlations, so that mixed second derivatives vanish.
        """
        m, r = self.n_visits, rho.size
        if not r:
            return np.eye(m), np.zeros((0, m, m)), np.zeros((0, m, m))
        if self.is_power:
            lag = self.pattern
            value = rho[0] ** lag
            first = np.where(lag > 0, lag * rho[0] ** np.maximum(lag - 1, 0), 0.0)
            second = np.where(lag > 1, lag * (lag - 1) * rho[0] ** np.maximum(lag - 2, 0), 0.0)
            return value, first[None], second[None]
        value = np.where(self.pattern < 0, 1.0, rho[np.maximum(self.pattern, 0)])
        first = (self.pattern == np.arange(r)[:, None, None]).astype(np.float64)
        return value, first, np.zeros((r, m, m))


class PatternedAt:
    """Sigma = D C D; a log standard deviation multiplies, so its derivatives are multiples of Sigma."""

    __slots__ = ("_second", "first", "matrix")

    def __init__(self, structure: Patterned, theta: FloatArray) -> None:
        a = structure.n_scale
        scale = np.broadcast_to(np.exp(theta[:a]), (structure.n_visits,))
        rho, slope, bend = structure.link.derivatives(theta[a:])
        value, by_rho, by_rho_twice = structure.correlations(rho)
        product = np.outer(scale, scale)
        matrix = product * value
        member = np.eye(structure.n_visits) if structure.is_scaled else np.ones((1, structure.n_visits))
        multiple = member[:, :, None] + member[:, None, :]
        by_theta = product * by_rho * slope[:, None, None]
        first = np.concatenate([multiple * matrix, by_theta])
        k = theta.size
        second = np.empty((k, k, *matrix.shape))
        second[:a, :a] = multiple[:, None] * multiple[None] * matrix
        second[:a, a:] = multiple[:, None] * by_theta[None]
        second[a:, :a] = second[:a, a:].transpose(1, 0, 2, 3)
        second[a:, a:] = 0.0
        own = np.arange(a, k)
        second[own, own] = product * (by_rho_twice * (slope**2)[:, None, None] + by_rho * bend[:, None, None])
        self.matrix: FloatArray = matrix
        self.first: FloatArray = first
        self._second: FloatArray = second

    def second_against(self, weights: FloatArray) -> FloatArray:
        k = self.first.shape[0]
        return self._second.reshape(k, k, -1) @ weights.reshape(-1)

    def second_weighted(self, weights: FloatArray) -> FloatArray:
        m = self.matrix.shape[0]
        return (weights.reshape(-1) @ self._second.reshape(weights.size, -1)).reshape(m, m)
