"""False discovery rates that use the size of effects: adaptive shrinkage of all genes' estimates together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import nnls
from scipy.special import log_ndtr, ndtri_exp
from scipy.stats import t as student

if TYPE_CHECKING:
    from tasks.stats.types import FloatArray

# As in ashr: the grid's step, and a prior worth ten genes that favours no effect, so that errors go that way.
_STEP = np.sqrt(2.0)
# Of the values away from zero: the step between them, and the width of a normal about one as a share of it.
_FINE_STEP = 2.0**0.25
_NARROW = 0.1
_NULL_WEIGHT = 10.0
_MOST_ROUNDS = 200
_SETTLED = 1e-6
_RIDGE = 1e-10
_LEAST_LEFT = 1e-2
_LEAST_ESTIMATES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveShrinkage:
    """What all estimates together say of each: the chance that it is zero.

    `local_fdr` and `q_value` are (genes,) arrays; `q_value` is the expected share of true nulls among the
    genes with a `local_fdr` as small. `null_share` is the estimated share of genes without an effect.
    """

    local_fdr: FloatArray
    q_value: FloatArray
    null_share: float


def adaptive_shrinkage(
    estimate: FloatArray, standard_error: FloatArray, *, degrees_of_freedom: FloatArray | float = np.inf
) -> AdaptiveShrinkage:
    r"""Estimate per gene the posterior chance that its effect is zero, from the effects of all genes.

    The effects are taken to come from a mixture of a point mass at zero and normals of many widths about it,
    whose weights maximise the likelihood of all estimates [1]_; and once more from one that has narrow
    normals about many other values besides. The larger chance counts. Alone, the first takes effects that
    lie apart from zero, all up or all of one size, for a wide normal that fills the gap, and errors for small
    effects; the second takes null genes that err together, as co-expressed ones do, for effects of one size.
    A gene measured poorly counts less than its p-value alone would have it, and genes of large effects help
    each other, which is where the power beyond that of adjusted p-values comes from. Small degrees of
    freedom widen the error to that for which a normal statistic has the t statistic's p-value.

    Parameters
    ----------
    estimate : (genes,) array
        Any scale; NaN for a gene without one, which takes no part and stays NaN.
    standard_error : (genes,) array
    degrees_of_freedom : (genes,) array or float
        Of the reference t distribution.

    Returns
    -------
    AdaptiveShrinkage

    Raises
    ------
    ValueError
        If a standard error is not positive, or fewer than two genes have an estimate.

    References
    ----------
    .. [1] Stephens M (2017). False discovery rates: a new deal. Biostatistics 18(2):275-294.
    .. [2] Kim Y, Carbonetto P, Stephens M, Anitescu M (2020). A fast algorithm for maximum likelihood
       estimation of mixture proportions using sequential quadratic programming. Journal of Computational
       and Graphical Statistics 29(2):261-273.
    """
    used = np.isfinite(estimate) & np.isfinite(standard_error)
    if used.sum() < _LEAST_ESTIMATES:
        raise ValueError(
            f"estimate: {int(used.sum())} genes have one: at least {_LEAST_ESTIMATES} are needed"
        )
    if (standard_error[used] <= 0).any():
        raise ValueError(f"standard_error: {standard_error[used].min():g}: must be above zero")
    df = np.broadcast_to(np.asarray(degrees_of_freedom, dtype=np.float64), estimate.shape)[used]
    b, s = estimate[used], _normal_error(estimate[used], standard_error[used], df)
    centre, width = _components(b, s)
    is_about_zero = centre == 0
    unimodal, unimodal_share = _null_chance(b, s, centre[is_about_zero], width[is_about_zero])
    any_shape, any_shape_share = _null_chance(b, s, centre, width)
    null = np.maximum(unimodal, any_shape)

    def whole(values: FloatArray) -> FloatArray:
        result = np.full(estimate.shape, np.nan)
        result[used] = values
        return result

    return AdaptiveShrinkage(
        local_fdr=whole(null),
        q_value=whole(_running_mean(null)),
        null_share=max(unimodal_share, any_shape_share),
    )


def _null_chance(
    b: FloatArray, s: FloatArray, centre: FloatArray, width: FloatArray
) -> tuple[FloatArray, float]:
    """Return each gene's chance of no effect under the mixture that fits best, and the weight of none."""
    total = np.sqrt(s[:, None] ** 2 + width**2)
    log_likelihood = -0.5 * ((b[:, None] - centre) / total) ** 2 - np.log(total)
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    weight = _weights(likelihood)
    return weight[0] * likelihood[:, 0] / (likelihood @ weight), float(weight[0])


def _normal_error(estimate: FloatArray, error: FloatArray, df: FloatArray) -> FloatArray:
    """Return the error at which the normal tail of the estimate equals the t tail at the given error."""
    statistic = np.abs(estimate) / error
    # Near zero both quantiles are, and their ratio is that of the two densities there.
    small = statistic < 1e-6  # noqa: PLR2004 - far from where the two differ
    finite = np.isfinite(df)
    log_tail = log_ndtr(-statistic)
    log_tail[finite] = student.logsf(statistic[finite], df[finite])
    quantile = -ndtri_exp(log_tail)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(small, 1.0, statistic / quantile)
    return np.asarray(error * np.where(np.isfinite(ratio), np.maximum(ratio, 1.0), 1.0))


def _components(estimate: FloatArray, error: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return centres and widths of the mixture: the point at zero, then those about it, then the rest."""
    smallest = error.min() / 10
    largest = 2 * np.sqrt(max(float((estimate**2 - error**2).max()), (8 * smallest) ** 2))
    steps = int(np.ceil(np.log(largest / smallest) / np.log(_STEP)))
    about_zero = largest * _STEP ** np.arange(-steps, 1)
    # Nearer to zero than the smallest error nobody could tell them from it.
    steps = int(np.ceil(np.log(largest / error.min()) / np.log(_FINE_STEP)))
    apart = largest * _FINE_STEP ** np.arange(-steps, 1)
    zeros = np.zeros(1 + len(about_zero))
    narrow = _NARROW * apart
    return np.concatenate([zeros, apart, -apart]), np.concatenate([[0.0], about_zero, narrow, narrow])


def _weights(likelihood: FloatArray) -> FloatArray:
    """Maximise the penalised likelihood of the mixture; it is concave, so where it starts does not matter.

    Newton steps on its quadratic model, by non-negative least squares [2]_: where components look alike, EM
    needs thousands of rounds. Weights add up to one at the maximum without being held to it.
    """
    genes, components = likelihood.shape
    total = genes + _NULL_WEIGHT - 1
    share = np.zeros(components)
    share[0] = (_NULL_WEIGHT - 1) / total

    def objective(weight: FloatArray) -> float:
        fit = np.log(likelihood @ weight).sum() / total + share[0] * np.log(weight[0])
        return float(weight.sum() - fit)

    weight = np.full(components, 1 / components)
    reached = objective(weight)
    for _ in range(_MOST_ROUNDS):
        relative = likelihood / (likelihood @ weight)[:, None]
        slope = 1 - relative.sum(axis=0) / total
        slope[0] -= share[0] / weight[0]
        if slope.min() > -_SETTLED:
            break
        curvature = relative.T @ relative / total
        curvature[0, 0] += share[0] / weight[0] ** 2
        # Components so near each other that rounding takes them for one would have no Cholesky factor.
        curvature[np.diag_indices(components)] += _RIDGE * curvature.trace() / components
        root = np.linalg.cholesky(curvature)
        target = solve_triangular(root, curvature @ weight - slope, lower=True)
        direction = nnls(root.T, target)[0] - weight
        length = 1.0
        while True:
            # A weight that a step sets to zero may be all that explains one gene: it goes there in steps.
            candidate = np.maximum(weight + length * direction, _LEAST_LEFT * weight)
            value = objective(candidate)
            if value < reached or length < _SETTLED:
                break
            length /= 2
        if length < _SETTLED:
            break
        weight, reached = candidate, value
    return np.asarray(weight / weight.sum())


def _running_mean(null: FloatArray) -> FloatArray:
    order = np.argsort(null, kind="stable")
    q = np.empty(len(null))
    q[order] = np.cumsum(null[order]) / np.arange(1, len(null) + 1)
    return q
