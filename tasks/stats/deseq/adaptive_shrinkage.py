"""False discovery rates that use the size of effects: adaptive shrinkage of all genes' estimates together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri_exp
from scipy.stats import t as student

if TYPE_CHECKING:
    from tasks.stats.types import FloatArray

# As in ashr: the grid's step, and a prior worth ten genes that favours no effect, so that errors go that way.
_STEP = np.sqrt(2.0)
_NULL_WEIGHT = 10.0
_MOST_ROUNDS = 2000
_SETTLED = 1e-7
_LEAST_ESTIMATES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveShrinkage:
    """What all estimates together say of each: the chances that it is zero, or of the wrong sign.

    `local_fdr`, `local_false_sign_rate` and `q_value` are (genes,) arrays; `q_value` is the expected share of
    true nulls among the genes with a `local_fdr` as small. `posterior_mean` and `posterior_sd` are on the
    scale of the estimates. `null_share` is the estimated share of genes without an effect.
    """

    local_fdr: FloatArray
    local_false_sign_rate: FloatArray
    q_value: FloatArray
    posterior_mean: FloatArray
    posterior_sd: FloatArray
    null_share: float


def adaptive_shrinkage(
    estimate: FloatArray, standard_error: FloatArray, *, degrees_of_freedom: FloatArray | float = np.inf
) -> AdaptiveShrinkage:
    r"""Estimate per gene the posterior chance that its effect is zero, from the effects of all genes.

    The effects are taken to come from a mixture of a point mass at zero and centred normals of many widths,
    whose weights maximise the likelihood of all estimates. A gene measured poorly therefore counts less than
    its p-value alone would have it, and genes of large effects help each other, which is where the power
    beyond that of adjusted p-values comes from. Small degrees of freedom widen the error to that for which a
    normal statistic has the t statistic's p-value.

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
    width = _widths(b, s)
    total = np.sqrt(s[:, None] ** 2 + width**2)
    log_likelihood = -0.5 * (b[:, None] / total) ** 2 - np.log(total)
    likelihood = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    weight = _weights(likelihood)
    chance = likelihood * weight
    chance /= chance.sum(axis=1, keepdims=True)
    shrunk = width**2 / total**2
    centre, spread = shrunk * b[:, None], np.sqrt(shrunk) * s[:, None]
    mean = (chance * centre).sum(axis=1)
    second = (chance * (centre**2 + spread**2)).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.where(width > 0, ndtr(-centre / spread), 0.0)
    negative = (chance * below).sum(axis=1)
    null = chance[:, 0]
    false_sign = np.minimum(1.0, np.minimum(negative, 1 - null - negative) + null)

    def whole(values: FloatArray) -> FloatArray:
        result = np.full(estimate.shape, np.nan)
        result[used] = values
        return result

    return AdaptiveShrinkage(
        local_fdr=whole(null),
        local_false_sign_rate=whole(false_sign),
        q_value=whole(_running_mean(null)),
        posterior_mean=whole(mean),
        posterior_sd=whole(np.sqrt(np.maximum(second - mean**2, 0.0))),
        null_share=float(weight[0]),
    )


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


def _widths(estimate: FloatArray, error: FloatArray) -> FloatArray:
    smallest = error.min() / 10
    largest = 2 * np.sqrt(max(float((estimate**2 - error**2).max()), (8 * smallest) ** 2))
    steps = int(np.ceil(np.log(largest / smallest) / np.log(_STEP)))
    return np.concatenate([[0.0], largest * _STEP ** np.arange(-steps, 1)])


def _weights(likelihood: FloatArray) -> FloatArray:
    """Maximise the penalised likelihood of the mixture; it is concave, so where it starts does not matter."""
    components = likelihood.shape[1]
    prior = np.zeros(components)
    prior[0] = _NULL_WEIGHT - 1
    weight = np.full(components, 1 / components)

    def step(weight: FloatArray) -> FloatArray:
        share = weight * (likelihood / (likelihood @ weight)[:, None]).sum(axis=0) + prior
        return np.asarray(share / share.sum())

    def objective(weight: FloatArray) -> float:
        return float(np.log(likelihood @ weight).sum() + prior[0] * np.log(weight[0]))

    reached = objective(weight)
    for _ in range(_MOST_ROUNDS):
        first = step(weight)
        second = step(first)
        # Squared extrapolation (Varadhan and Roland 2008): EM alone crawls where components look alike.
        change, curve = first - weight, second - 2 * first + weight
        length = -np.sqrt(float(change @ change) / max(float(curve @ curve), 1e-300))
        leap = weight - 2 * length * change + length**2 * curve
        candidate = step(np.maximum(leap, 1e-12) / np.maximum(leap, 1e-12).sum())
        value = objective(candidate)
        if value < reached:
            candidate, value = second, objective(second)
        settled = value - reached < _SETTLED * len(likelihood)
        weight, reached = candidate, value
        if settled:
            break
    return weight


def _running_mean(null: FloatArray) -> FloatArray:
    order = np.argsort(null, kind="stable")
    q = np.empty(len(null))
    q[order] = np.cumsum(null[order]) / np.arange(1, len(null) + 1)
    return q
