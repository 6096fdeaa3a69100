"""Newton's method for the covariance parameters, and why it ended where it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.mmrm.likelihood import Likelihood, NotPositiveDefiniteError

if TYPE_CHECKING:
    from tasks.stats.mmrm.moments import Moments
    from tasks.stats.mmrm.structures import Coordinates, CovarianceAt
    from tasks.stats.types import FloatArray

MOST_ITERATIONS = 100
# The fall in the deviance that a further step promises. A small one is taken on trust: the deviance is
# rounded by as much. A tiny one is not worth taking: the search has converged.
SMALL_PROMISE = 1e-8
TINY_PROMISE = 1e-15
# No step moves a log scale or a mapped correlation further than this.
LONGEST_STEP = 1.5
SHORTEST_FRACTION = 2.0**-30
# Curvature below this part of the largest counts as none.
FLAT = 1e-9
# A correlation matrix with an eigenvalue below this is singular; a search that gets stuck below the larger
# number was on the way there.
SINGULAR = 1e-8
NEARLY_SINGULAR = 1e-4
TINY_SCALE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Optimum:
    """Where the search ended; `reason` is empty if it converged."""

    theta: FloatArray
    covariance: CovarianceAt
    likelihood: Likelihood
    gradient: FloatArray
    hessian: FloatArray
    n_iterations: int
    reason: str

    @property
    def gradient_norm(self) -> float:
        return float(np.abs(self.gradient).max(initial=0.0))


def minimise(moments: Moments, structure: Coordinates, start: FloatArray, *, reml: bool) -> Optimum:
    """Minimise the deviance over theta; a start without a positive definite covariance is refused.

    Each step is Newton's with the absolute values of the Hessian's eigenvalues, so that it descends also
    where the deviance is not convex, and halved until the deviance falls.
    """
    theta = start
    covariance = structure.at(theta)
    likelihood = Likelihood(moments, covariance.matrix, reml=reml)
    n_iterations = 0
    while True:
        gradient, hessian = likelihood.derivatives(covariance)
        values, vectors = np.linalg.eigh(hessian)
        bounded = np.maximum(np.abs(values), FLAT * np.abs(values).max(initial=TINY_SCALE))
        along = vectors.T @ gradient
        promise = float(along**2 @ (1 / bounded)) / 2
        reason = _degenerate(covariance.matrix, SINGULAR)
        if promise < TINY_PROMISE or reason or n_iterations == MOST_ITERATIONS:
            break
        step = -vectors @ (along / bounded)
        step *= min(1.0, LONGEST_STEP / float(np.abs(step).max()))
        # Where so little is left to gain, the deviance's rounding hides it.
        bound = np.inf if promise < SMALL_PROMISE else likelihood.deviance
        moved = _descended(moments, structure, theta, step, bound, reml=reml)
        if moved is None:
            break
        theta, covariance, likelihood = moved
        n_iterations += 1
    if not reason and promise >= SMALL_PROMISE:
        stuck = f"no convergence after {n_iterations} iterations: the gradient is not zero"
        reason = _degenerate(covariance.matrix, NEARLY_SINGULAR) or stuck
    if not reason and values[0] <= FLAT * abs(values[-1]):
        reason = "the Hessian is not positive definite: a parameter is not determined by the data"
    return Optimum(
        theta=theta,
        covariance=covariance,
        likelihood=likelihood,
        gradient=gradient,
        hessian=hessian,
        n_iterations=n_iterations,
        reason=reason,
    )


def _descended(
    moments: Moments, structure: Coordinates, theta: FloatArray, step: FloatArray, bound: float, *, reml: bool
) -> tuple[FloatArray, CovarianceAt, Likelihood] | None:
    """Go along the step, or half, a quarter, ... of it, to below the bound; None if none gets there."""
    fraction = 1.0
    while fraction >= SHORTEST_FRACTION:
        there = theta + fraction * step
        covariance = structure.at(there)
        try:
            likelihood = Likelihood(moments, covariance.matrix, reml=reml)
        except NotPositiveDefiniteError:
            fraction /= 2
            continue
        if likelihood.deviance < bound:
            return there, covariance, likelihood
        fraction /= 2
    return None


def _degenerate(sigma: FloatArray, singular: float) -> str:
    """Say in which way a covariance matrix is at the edge of being one, if it is."""
    scale = np.sqrt(np.diag(sigma))
    if scale.min() < TINY_SCALE:
        return "the variance of a visit tends to zero"
    if np.linalg.eigvalsh(sigma / np.outer(scale, scale))[0] < singular:
        return "the covariance matrix tends to a singular one"
    return ""
