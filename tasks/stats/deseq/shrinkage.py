"""Shrunken effects of one contrast: posterior modes under a heavy-tailed prior fitted to all genes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from tasks.stats.types import FloatArray

BoolArray = NDArray[np.bool_]
_BLOCK = 512
# The bounds of apeglm: standard deviations of the estimates' prior searched, the widest Cauchy prior used,
# and the normal prior of the coefficients that are not shrunk.
_LEAST_SD, _GREATEST_SD = 1e-3, 20.0
_WIDEST_SCALE = 1.0
_NUISANCE_SD = 15.0
# A Newton decrement this small (twice the log posterior still to be gained) ends the search.
_SETTLED = 1e-16
_MOST_STEPS = 200
_HALVINGS = 30
_LARGEST_EXPONENT = 700.0
# A normal prior so narrow that it holds the contrast at zero while the other coefficients settle.
_HELD = 1e10


@dataclass(frozen=True, slots=True, kw_only=True)
class Shrinkage:
    """Posterior modes of one contrast, natural log scale, with what they are worth.

    `estimate`, `standard_error`, `false_sign_rate` and `s_value` are (genes,) arrays, NaN where a gene has no
    count or no dispersion. `s_value` is the mean false sign rate of the genes with at most a gene's own rate.
    `has_converged` is False where there is no estimate. `has_second_mode` marks the genes whose posterior has
    a second, lower mode. `prior_scale` is the scale of the Cauchy prior.
    """

    estimate: FloatArray
    standard_error: FloatArray
    false_sign_rate: FloatArray
    s_value: FloatArray
    has_converged: BoolArray
    has_second_mode: BoolArray
    prior_scale: float


@dataclass(frozen=True, slots=True)
class _Posterior:
    """The model of a block of genes; the contrast is the coefficient at `position`."""

    count: FloatArray
    log_size_factor: FloatArray
    design: FloatArray
    dispersion: FloatArray
    position: int
    scale: float

    def take(self, rows: NDArray[Any]) -> _Posterior:
        return _Posterior(
            self.count[rows],
            self.log_size_factor,
            self.design,
            self.dispersion[rows],
            self.position,
            self.scale,
        )

    def log_mean(self, coefficient: FloatArray) -> FloatArray:
        return np.asarray(coefficient @ self.design.T + self.log_size_factor, dtype=np.float64)

    def log_density(self, coefficient: FloatArray, hold: float) -> FloatArray:
        """Return the log posterior, up to a constant; `hold` is the precision that replaces the Cauchy."""
        log_mean = self.log_mean(coefficient)
        alpha = self.dispersion[:, None]
        mean = np.exp(np.minimum(log_mean, _LARGEST_EXPONENT))
        log_likelihood = self.count * log_mean - (self.count + 1 / alpha) * np.log1p(alpha * mean)
        effect = coefficient[:, self.position]
        others = (coefficient**2).sum(axis=1) - effect**2
        penalty = hold * effect**2 / 2 if hold else np.log1p((effect / self.scale) ** 2)
        return np.asarray(log_likelihood.sum(axis=1) - others / (2 * _NUISANCE_SD**2) - penalty)

    def slope_and_curvature(self, coefficient: FloatArray, hold: float) -> tuple[FloatArray, FloatArray]:
        """Return the gradient of the log posterior and its negative Hessian."""
        alpha = self.dispersion[:, None]
        mean = np.exp(np.minimum(self.log_mean(coefficient), _LARGEST_EXPONENT))
        shared = 1 / (1 + alpha * mean)
        slope = ((self.count - mean) * shared) @ self.design - coefficient / _NUISANCE_SD**2
        weight = (1 + alpha * self.count) * mean * shared**2
        curvature = _cross_products(self.design, weight)
        diagonal = np.arange(self.design.shape[1])
        curvature[:, diagonal, diagonal] += 1 / _NUISANCE_SD**2
        j = self.position
        effect = coefficient[:, j]
        spread = self.scale**2 + effect**2
        slope[:, j] += effect / _NUISANCE_SD**2 - (hold * effect if hold else 2 * effect / spread)
        bend = hold or 2 * (self.scale**2 - effect**2) / spread**2
        curvature[:, j, j] += bend - 1 / _NUISANCE_SD**2
        return np.asarray(slope, dtype=np.float64), curvature


def apeglm_shrinkage(
    count: FloatArray,
    size_factor: FloatArray,
    design: FloatArray,
    dispersion: FloatArray,
    contrast: FloatArray,
    *,
    estimate: FloatArray,
    standard_error: FloatArray,
    prior_scale: float | None = None,
    threads: int | None = None,
) -> Shrinkage:
    r"""Shrink an estimable contrast by an adaptive Cauchy prior: posterior mode, error and sign certainty.

    Counts are negative binomial with known dispersions and :math:`\log\mu = \log s + X\beta`. The design is
    rewritten so that :math:`c^\top\beta` is one of its coefficients, which makes any contrast, not only a
    coefficient, open to shrinkage. That coefficient has a Cauchy prior centred at zero, the others normal
    priors so wide that they only keep a separated gene's coefficients finite.

    Parameters
    ----------
    count : (genes, samples) array
    size_factor : (samples,) array
    design : (samples, coefficients) array
        Of full column rank.
    dispersion : (genes,) array
        Above zero; NaN for a gene that is left out.
    contrast : (coefficients,) array
        Not all zero.
    estimate, standard_error : (genes,) arrays
        Maximum-likelihood estimates of the contrast and their errors, natural log scale, from which the
        prior's scale comes. NaN for a gene that should not shape the prior.
    prior_scale : float, optional
        Scale of the Cauchy prior, instead of the one fitted to the estimates.
    threads : int, optional
        The result is the same in every bit whatever the number.

    Returns
    -------
    Shrinkage
        Positive estimates mean that the contrast is positive.

    Raises
    ------
    ValueError
        If the shapes disagree, the design has not full rank, the contrast is zero, or no prior can be fitted.

    Notes
    -----
    A Cauchy prior can make the posterior bimodal: one mode near zero, one near the estimate. The higher one
    is returned. The error is the Laplace approximation's, from the exact Hessian, in which the prior's
    curvature at the mode takes part. The cost per gene grows with the cube of the number of coefficients.

    References
    ----------
    .. [1] Zhu A, Ibrahim JG, Love MI (2019). Bioinformatics 35(12):2084-2092, sections 2.1 to 2.4.
    .. [2] Efron B, Morris C (1975). J Am Stat Assoc 70:311-319, section 3, for the scale of the prior.
    .. [3] Stephens M (2017). Biostatistics 18(2):275-294, for the s-value.
    """
    count, size_factor, design = (np.asarray(a, dtype=np.float64) for a in (count, size_factor, design))
    dispersion, contrast, estimate, standard_error = (
        np.asarray(a, dtype=np.float64) for a in (dispersion, contrast, estimate, standard_error)
    )
    _check_shapes(
        count,
        size_factor,
        design,
        dispersion,
        contrast,
        estimate=estimate,
        standard_error=standard_error,
    )
    if prior_scale is None:
        prior_scale = cauchy_scale(estimate, standard_error)
    elif not 0 < prior_scale < np.inf:
        raise ValueError(f"prior_scale: {prior_scale}: must be above zero")
    rewritten, position = contrast_as_coefficient(design, contrast)

    used = np.flatnonzero(np.isfinite(dispersion) & (count.sum(axis=1) > 0))
    blocks = [used[start : start + _BLOCK] for start in range(0, used.size, _BLOCK)]
    whole = _Posterior(count, np.log(size_factor), rewritten, dispersion, position, prior_scale)
    work = partial(_shrink_block, whole)
    # Many small matrices: BLAS's own threads would only get in each other's way.
    with threadpool_limits(limits=1, user_api="blas"), ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        results = list(pool.map(work, blocks))

    shrunk, error = np.full(dispersion.size, np.nan), np.full(dispersion.size, np.nan)
    converged, bimodal = np.zeros(dispersion.size, dtype=bool), np.zeros(dispersion.size, dtype=bool)
    for rows, result in zip(blocks, results, strict=True):
        shrunk[rows], error[rows], converged[rows], bimodal[rows] = result
    false_sign = ndtr(-np.abs(shrunk) / error)
    return Shrinkage(
        estimate=shrunk,
        standard_error=error,
        false_sign_rate=false_sign,
        s_value=s_value(false_sign),
        has_converged=converged,
        has_second_mode=bimodal,
        prior_scale=prior_scale,
    )


def cauchy_scale(estimate: FloatArray, standard_error: FloatArray) -> float:
    r"""Return the scale of the prior: the standard deviation of the true effects, at most one.

    The variance of the true effects solves :math:`A = \sum_g I_g(A) (x_g^2 - d_g) / \sum_g I_g(A)` with
    :math:`I_g(A) = (A + d_g)^{-2} / 2` the information of gene g on it, :math:`x` the estimates and :math:`d`
    their squared errors (Efron and Morris 1975).
    """
    used = np.isfinite(estimate) & np.isfinite(standard_error) & (standard_error > 0)
    if not used.any():
        raise ValueError("estimate: no gene has one with an error above zero: the prior needs some")
    square, error_variance = estimate[used] ** 2, standard_error[used] ** 2

    def excess(variance: float) -> float:
        information = (variance + error_variance) ** -2.0
        return float((information * (square - error_variance - variance)).sum() / information.sum())

    low, high = _LEAST_SD**2, _GREATEST_SD**2
    if excess(low) < 0:
        return _LEAST_SD
    if excess(high) > 0:
        return _WIDEST_SCALE
    return float(min(np.sqrt(brentq(excess, low, high, xtol=1e-14, rtol=1e-12)), _WIDEST_SCALE))


def contrast_as_coefficient(design: FloatArray, contrast: FloatArray) -> tuple[FloatArray, int]:
    """Return a design of the same column space that has the contrast as a coefficient, and its position.

    The contrast takes the place of the coefficient that has the largest part in it; the others keep their
    meaning. A contrast that is a coefficient leaves the design as it is.
    """
    position = int(np.argmax(np.abs(contrast)))
    column = design[:, position] / contrast[position]
    rest = contrast.copy()
    rest[position] = 0.0
    rewritten = design - np.outer(column, rest)
    rewritten[:, position] = column
    return rewritten, position


def s_value(false_sign_rate: FloatArray) -> FloatArray:
    """Return per gene the mean false sign rate of it and of all genes with a smaller one; NaN stays NaN."""
    result = np.full(false_sign_rate.shape, np.nan)
    used = np.flatnonzero(np.isfinite(false_sign_rate))
    rate = false_sign_rate[used]
    order = np.argsort(rate, kind="stable")
    mean = np.cumsum(rate[order]) / np.arange(1, order.size + 1)
    # Equal rates get equal values, those of the last of them, so that the order of genes does not matter.
    last = np.searchsorted(rate[order], rate, side="right") - 1
    result[used] = mean[last]
    return result


def _shrink_block(
    whole: _Posterior, rows: NDArray[Any]
) -> tuple[FloatArray, FloatArray, BoolArray, BoolArray]:
    """Return modes, errors, convergence and bimodality of the contrast in some genes."""
    model = whole.take(rows)
    start = _rough_coefficient(model)
    mode, converged = _climb(model, start)
    bimodal = np.zeros(rows.size, dtype=bool)
    # Within one scale of zero the prior is log-concave: a mode there, met on the way down, is the only one.
    far = np.flatnonzero(np.abs(mode[:, model.position]) > model.scale)
    if far.size:
        outer = model.take(far)
        held, _ = _climb(outer, mode[far], hold=_HELD)
        inner, inner_converged = _climb(outer, held)
        bimodal[far] = np.abs(inner - mode[far])[:, model.position] > 1e-6 * model.scale
        better = outer.log_density(inner, 0.0) > outer.log_density(mode[far], 0.0) + 1e-9
        mode[far[better]] = inner[better]
        converged[far[better]] = inner_converged[better]
    _, curvature = model.slope_and_curvature(mode, 0.0)
    unit = np.zeros((model.design.shape[1], 1))
    unit[model.position] = 1.0
    variance = np.linalg.solve(curvature, np.broadcast_to(unit, (rows.size, *unit.shape)))[
        :, model.position, 0
    ]
    with np.errstate(invalid="ignore"):
        error = np.sqrt(variance)
    return mode[:, model.position], error, converged & np.isfinite(error), bimodal


def _rough_coefficient(model: _Posterior) -> FloatArray:
    """Return least-squares coefficients of the log counts, as a start."""
    log_count = np.log(model.count + 0.5) - model.log_size_factor
    return np.asarray(log_count @ np.linalg.pinv(model.design).T, dtype=np.float64)


def _climb(model: _Posterior, start: FloatArray, *, hold: float = 0.0) -> tuple[FloatArray, BoolArray]:
    """Climb from `start` to a mode by Newton's method; each step must raise the log posterior.

    The likelihood and the normal priors are concave; only the Cauchy prior can bend the other way. There the
    step uses the quadratic that touches the Cauchy's log density from below, as an EM algorithm would.
    """
    coefficient = start.copy()
    height = model.log_density(coefficient, hold)
    converged = np.zeros(start.shape[0], dtype=bool)
    active = np.arange(start.shape[0])
    for _ in range(_MOST_STEPS):
        part = model.take(active)
        at = coefficient[active]
        slope, curvature = part.slope_and_curvature(at, hold)
        step, gain = _step(part, at, slope, curvature)
        # The decrement is judged beside the height, whose rounding no step can see past.
        settled = gain <= _SETTLED * (1 + np.abs(height[active]))
        move = np.where(settled[:, None], 0.0, step)
        new, new_height = _raise(part, at, height[active], move, hold)
        stuck = ~settled & (new_height <= height[active])
        # A gain too small for the height to show is the last full step of Newton's method.
        near = stuck & (gain <= 1e-11 * (1 + np.abs(height[active])))
        new[near] = at[near] + step[near]
        coefficient[active], height[active] = new, np.maximum(new_height, height[active])
        converged[active[settled | near]] = True
        active = active[~(settled | stuck)]
        if not active.size:
            break
    return coefficient, converged


def _step(
    part: _Posterior, at: FloatArray, slope: FloatArray, curvature: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return Newton's step and its decrement; where the posterior is not concave, a step that still rises."""
    j = part.position
    sides = np.zeros((*at.shape, 2))
    sides[:, :, 0] = slope
    sides[:, j, 1] = 1.0
    solved = np.linalg.solve(curvature, sides)
    step = solved[:, :, 0]
    effect = at[:, j]
    spread = part.scale**2 + effect**2
    # The rest of the curvature is positive definite, so the sign of the whole is that of this element's
    # Schur complement, the reciprocal of the element of the inverse.
    bent = np.flatnonzero(~(solved[:, j, 1] > 0))
    if bent.size:
        safe = curvature[bent]
        safe[:, j, j] += 2 / spread[bent] - 2 * (part.scale**2 - effect[bent] ** 2) / spread[bent] ** 2
        step[bent] = np.linalg.solve(safe, slope[bent, :, None])[:, :, 0]
    return step, np.asarray((step * slope).sum(axis=1))


def _raise(
    part: _Posterior, at: FloatArray, height: FloatArray, step: FloatArray, hold: float
) -> tuple[FloatArray, FloatArray]:
    """Return the coefficients after the longest of the step, its half, quarter... that does not go down."""
    new = at + step
    new_height = part.log_density(new, hold)
    for _ in range(_HALVINGS):
        lower = np.flatnonzero(~(new_height >= height))
        if not lower.size:
            break
        step = step.copy()
        step[lower] /= 2
        new[lower] = at[lower] + step[lower]
        new_height[lower] = part.take(lower).log_density(new[lower], hold)
    failed = ~(new_height >= height)
    new[failed] = at[failed]
    new_height[failed] = height[failed]
    return new, new_height


def _cross_products(design: FloatArray, weight: FloatArray) -> FloatArray:
    """Return X' diag(w) X for each row of weights."""
    n, p = design.shape
    products = (design[:, :, None] * design[:, None, :]).reshape(n, p * p)
    return np.asarray(weight @ products, dtype=np.float64).reshape(-1, p, p)


def _check_shapes(
    count: FloatArray,
    size_factor: FloatArray,
    design: FloatArray,
    dispersion: FloatArray,
    contrast: FloatArray,
    *,
    estimate: FloatArray,
    standard_error: FloatArray,
) -> None:
    if count.ndim != 2:  # noqa: PLR2004 - genes by samples
        raise ValueError(f"count: shape {count.shape}: must be genes by samples")
    genes, samples = count.shape
    if design.ndim != 2 or design.shape[0] != samples:  # noqa: PLR2004 - samples by coefficients
        raise ValueError(f"design: shape {design.shape}: must have a row for each of {samples} samples")
    expected = {
        "size_factor": (size_factor, samples),
        "dispersion": (dispersion, genes),
        "contrast": (contrast, design.shape[1]),
        "estimate": (estimate, genes),
        "standard_error": (standard_error, genes),
    }
    for name, (values, length) in expected.items():
        if values.shape != (length,):
            raise ValueError(f"{name}: shape {values.shape}: must be ({length},)")
    if not (np.isfinite(count) & (count >= 0)).all():
        raise ValueError("count: a value is negative or not finite: every count must be zero or more")
    if not ((size_factor > 0) & np.isfinite(size_factor)).all():
        raise ValueError(f"size_factor: {size_factor.min():g}: every size factor must be above zero")
    if (dispersion <= 0).any():
        raise ValueError(f"dispersion: {np.nanmin(dispersion):g}: must be above zero, or NaN")
    rank = int(np.linalg.matrix_rank(design))
    if rank < design.shape[1]:
        raise ValueError(f"design: rank {rank} of {design.shape[1]} columns: must be of full column rank")
    if not (np.isfinite(contrast).all() and contrast.any()):
        raise ValueError("contrast: zero or not finite: must name at least one coefficient")
