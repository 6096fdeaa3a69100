"""Negative binomial regression of genes that reweighted least squares cannot fit: bounded and damped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.deseq.strata import Design
    from tasks.stats.types import FloatArray

# Coefficients on log2 scale stay within it, as in DESeq2.
_BOUND_LOG2 = 30.0
_ITERATIONS = 200
_TOLERANCE = 1e-9
_DAMPING = (1e-4, 1e-8, 1e8)


def bounded_fit(
    count: FloatArray,
    log_factor: FloatArray,
    design: Design,
    dispersion: FloatArray,
    start: FloatArray,
    *,
    ridge: float,
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Climb the likelihood, with a weak normal prior, by damped Newton steps within bounds.

    Parameters
    ----------
    count : (genes, samples) array
    log_factor : (samples,) array
        Logarithm of the size factors.
    dispersion : (genes,) array
    start : (genes, samples) array
        Log means without the size factors, in the span of the design.
    ridge : float
        Precision of the prior of each coefficient on log2 scale.

    Returns
    -------
    log_ratio : (genes, samples) array
    converged : (genes,) array
        Where a gene's likelihood rises for ever it still has come to be flat, and this is True.
    """
    problem = _Problem(count, log_factor, design.matrix, dispersion[:, None], ridge / np.log(2) ** 2)
    bound = _BOUND_LOG2 * np.log(2)
    coefficient = np.clip(design.coefficient(start), -bound, bound)
    everyone = np.arange(len(count))
    value = problem.value(coefficient, everyone)
    damping = np.full(len(count), _DAMPING[0])
    converged = np.zeros(len(count), dtype=np.bool_)
    active = everyone
    for _ in range(_ITERATIONS):
        step = problem.step(coefficient[active], active, damping[active], bound)
        proposed = np.clip(coefficient[active] + step, -bound, bound)
        there = problem.value(proposed, active)
        gain = there - value[active]
        is_better = gain >= 0
        better = active[is_better]
        coefficient[better], value[better] = proposed[is_better], there[is_better]
        factor = np.where(is_better, 0.1, 10.0)
        damping[active] = np.clip(damping[active] * factor, *_DAMPING[1:])
        is_flat = np.abs(gain) <= _TOLERANCE * (np.abs(there) + 0.1)
        converged[active[is_flat]] = True
        active = active[~is_flat & (damping[active] < _DAMPING[2])]
        if not active.size:
            break
    return coefficient @ design.matrix.T, converged


class _Problem:
    """The penalised log likelihood of some genes and its Newton steps."""

    def __init__(
        self, count: FloatArray, log_factor: FloatArray, matrix: FloatArray, alpha: FloatArray, ridge: float
    ) -> None:
        self.count, self.log_factor, self.matrix, self.alpha = count, log_factor, matrix, alpha
        self.ridge = ridge

    def value(self, coefficient: FloatArray, gene: NDArray[np.intp]) -> FloatArray:
        count, alpha = self.count[gene], self.alpha[gene]
        linear = coefficient @ self.matrix.T + self.log_factor
        term = count * linear - (count + 1 / alpha) * np.logaddexp(0.0, linear + np.log(alpha))
        value: FloatArray = term.sum(axis=1) - 0.5 * self.ridge * (coefficient**2).sum(axis=1)
        return value

    def step(
        self, coefficient: FloatArray, gene: NDArray[np.intp], damping: FloatArray, bound: float
    ) -> FloatArray:
        count, alpha = self.count[gene], self.alpha[gene]
        # Far out the mean is zero or infinite; what enters below stays finite.
        linear = np.clip(coefficient @ self.matrix.T + self.log_factor, -700.0, 700.0)
        mean = np.exp(linear)
        saturation = 1 / (1 + alpha * mean)
        gradient = ((count - mean) * saturation) @ self.matrix - self.ridge * coefficient
        curvature = mean * saturation * (1 + alpha * count) * saturation
        information = np.matmul(self.matrix.T * curvature[:, None, :], self.matrix)
        diagonal = np.arange(self.matrix.shape[1])
        information[:, diagonal, diagonal] += self.ridge + damping[:, None] * (
            information[:, diagonal, diagonal] + self.ridge
        )
        is_held = (np.abs(coefficient) >= bound) & (gradient * coefficient > 0)
        information[is_held] = 0.0
        information.transpose(0, 2, 1)[is_held] = 0.0
        held_gene, held = np.nonzero(is_held)
        information[held_gene, held, held] = 1.0
        step: FloatArray = np.linalg.solve(information, np.where(is_held, 0.0, gradient)[:, :, None])[:, :, 0]
        return step
