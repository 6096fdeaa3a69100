"""Proportional-hazards regression of a time to event on factors and covariates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from tasks.stats.linear_design import build_design, independent_columns
from tasks.stats.survival import checked_follow_up
from tasks.stats.types import (
    FloatArray,
    HypothesisTest,
    Interval,
    checked_level,
    checked_same_length,
    positive_p,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

_MAX_ITERATIONS = 50
_MAX_HALVINGS = 30
# The log likelihood has settled when a step changes it by no more than this share.
_LIKELIHOOD_TOLERANCE = 1e-13
# A log hazard ratio this many standard deviations of its covariate from zero means that the groups never mix.
_SEPARATED = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HazardRatio:
    """The effect of one column: above one, the event comes earlier as the column rises."""

    name: str
    log_hazard_ratio: float
    standard_error: float
    hazard_ratio: float
    interval: Interval
    z: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CoxModel:
    """A fitted model with its three tests of H0: no column has an effect.

    Where `is_converged` is False, some log hazard ratio runs off to infinity: the likelihood-ratio and score
    tests hold, Wald's and the intervals do not.
    """

    coefficients: tuple[HazardRatio, ...]
    aliased: tuple[str, ...]
    likelihood_ratio: HypothesisTest
    wald: HypothesisTest
    score: HypothesisTest
    log_likelihood: float
    log_likelihood_null: float
    n: int
    n_events: int
    is_converged: bool
    n_iterations: int


def cox_regression(
    time: ArrayLike,
    event: ArrayLike,
    *,
    factors: Mapping[str, Sequence[str]] | None = None,
    covariates: Mapping[str, ArrayLike] | None = None,
    levels: Mapping[str, Sequence[str]] | None = None,
    stratum: Sequence[str] | None = None,
    level: float = 0.95,
) -> CoxModel:
    """Estimate how factors and covariates multiply the hazard of the event, tied times by Efron's method.

    Parameters
    ----------
    time, event : (n,) arrays
        As in `kaplan_meier`.
    factors, covariates, levels
        As in `fit_linear_model`: the first level of a factor is the reference.
    stratum : sequence of n labels or None
        Each stratum has a baseline hazard of its own.
    level : float
        Level of the intervals, normal on the log scale.

    Returns
    -------
    CoxModel
        `aliased` names columns that others determine.

    Raises
    ------
    ValueError
        If lengths differ, there is no event, or no column is left to estimate.

    References
    ----------
    .. [1] Cox DR (1972). Regression models and life-tables. J R Stat Soc B 34:187-220.
    .. [2] Efron B (1977). The efficiency of Cox's likelihood function for censored data. J Am Stat Assoc
       72:557-565.
    """
    nominal = checked_level(level)
    times, events = checked_follow_up(time, event)
    if not events.any():
        raise ValueError("event: no event: at least one needed")
    design = build_design(
        times.size, factors=factors, covariates=covariates, levels=levels, has_intercept=False
    )
    strata = _stratum_codes(stratum, times.size)
    columns = _within(design.matrix(), strata)
    kept = independent_columns(columns)
    kept &= np.abs(columns).max(axis=0, initial=0.0) > 0
    names = design.column_names()
    if not kept.any():
        raise ValueError("factors, covariates: no column varies: at least one must")
    # Newton's steps are taken in units of each column's spread.
    scale = columns[:, kept].std(axis=0)
    fit = _newton(_risk_sets(times, events, strata), columns[:, kept] / scale)
    beta = fit.beta / scale
    covariance = np.linalg.pinv(fit.information) / np.outer(scale, scale)
    n, n_columns = times.size, int(kept.sum())
    statistics = {
        "likelihood-ratio": 2 * (fit.log_likelihood - fit.log_likelihood_null),
        "Wald": float(fit.beta @ fit.information @ fit.beta),
        "score": fit.score_statistic,
    }
    tests = {kind: _chi_square(kind, value, n_columns, n) for kind, value in statistics.items()}
    estimable = [name for name, keep in zip(names, kept, strict=True) if keep]
    errors = np.sqrt(np.diag(covariance))
    return CoxModel(
        coefficients=tuple(
            _hazard_ratio(name, b, error, nominal)
            for name, b, error in zip(estimable, beta.tolist(), errors.tolist(), strict=True)
        ),
        aliased=tuple(name for name, keep in zip(names, kept, strict=True) if not keep),
        likelihood_ratio=tests["likelihood-ratio"],
        wald=tests["Wald"],
        score=tests["score"],
        log_likelihood=fit.log_likelihood,
        log_likelihood_null=fit.log_likelihood_null,
        n=n,
        n_events=int(events.sum()),
        is_converged=fit.is_converged,
        n_iterations=fit.n_iterations,
    )


def _stratum_codes(stratum: Sequence[str] | None, n: int) -> NDArray[np.int64]:
    if stratum is None:
        return np.zeros(n, dtype=np.int64)
    checked_same_length("stratum", len(stratum), "time", n)
    return np.unique(np.asarray(stratum), return_inverse=True)[1].astype(np.int64)


def _within(matrix: FloatArray, strata: NDArray[np.int64]) -> FloatArray:
    """Return the columns less their mean in each stratum: what the baseline hazards leave of them."""
    sizes = np.bincount(strata)
    centred = matrix.astype(np.float64).copy()
    for column in range(matrix.shape[1]):
        sums = np.bincount(strata, weights=matrix[:, column])
        centred[:, column] -= (sums / sizes)[strata]
        if np.abs(centred[:, column]).max() <= 1e-12 * np.abs(matrix[:, column]).max():
            centred[:, column] = 0.0
    return centred


@dataclass(frozen=True, slots=True)
class _RiskSet:
    at_risk: NDArray[np.int64]
    failing: NDArray[np.int64]


def _risk_sets(times: FloatArray, events: NDArray[np.bool_], strata: NDArray[np.int64]) -> list[_RiskSet]:
    sets = []
    for one in range(int(strata.max()) + 1):
        here = strata == one
        sets += [
            _RiskSet(
                np.flatnonzero(here & (times >= moment)), np.flatnonzero(here & events & (times == moment))
            )
            for moment in np.unique(times[here & events])
        ]
    return sets


def _likelihood(
    sets: list[_RiskSet], columns: FloatArray, beta: FloatArray
) -> tuple[float, FloatArray, FloatArray]:
    """Return Efron's log partial likelihood, its gradient and the information."""
    eta = columns @ beta
    eta -= eta.max()
    hazard = np.exp(eta)
    log_likelihood, gradient = 0.0, np.zeros(beta.size)
    information = np.zeros((beta.size, beta.size))
    for risk in sets:
        x, w = columns[risk.at_risk], hazard[risk.at_risk]
        failing_x, failing_w = columns[risk.failing], hazard[risk.failing]
        total, moment, square = w.sum(), w @ x, (x * w[:, np.newaxis]).T @ x
        failing_total, failing_moment = failing_w.sum(), failing_w @ failing_x
        failing_square = (failing_x * failing_w[:, np.newaxis]).T @ failing_x
        log_likelihood += float(eta[risk.failing].sum())
        gradient += failing_x.sum(axis=0)
        # Of d that fail together, the k-th finds a share k / d of them already gone.
        for gone in np.arange(risk.failing.size) / risk.failing.size:
            rest = total - gone * failing_total
            mean = (moment - gone * failing_moment) / rest
            log_likelihood -= float(np.log(rest))
            gradient -= mean
            information += (square - gone * failing_square) / rest - np.outer(mean, mean)
    return log_likelihood, gradient, information


@dataclass(frozen=True, slots=True)
class _Fit:
    beta: FloatArray
    information: FloatArray
    log_likelihood: float
    log_likelihood_null: float
    score_statistic: float
    is_converged: bool
    n_iterations: int


def _newton(sets: list[_RiskSet], columns: FloatArray) -> _Fit:
    beta = np.zeros(columns.shape[1])
    null, gradient, information = _likelihood(sets, columns, beta)
    score = float(gradient @ np.linalg.pinv(information) @ gradient)
    current, settled, iteration = null, False, 0
    while not settled and iteration < _MAX_ITERATIONS:
        iteration += 1
        step = np.linalg.pinv(information) @ gradient
        for _ in range(_MAX_HALVINGS):
            candidate, new_gradient, new_information = _likelihood(sets, columns, beta + step)
            if candidate >= current - _LIKELIHOOD_TOLERANCE * abs(current):
                break
            step = step / 2
        else:
            break
        settled = abs(candidate - current) <= _LIKELIHOOD_TOLERANCE * max(abs(current), 1.0)
        beta, current, gradient, information = beta + step, candidate, new_gradient, new_information
    is_converged = settled and float(np.abs(beta).max()) < _SEPARATED
    return _Fit(beta, information, current, null, score, is_converged, iteration)


def _chi_square(kind: str, statistic: float, df: int, n: int) -> HypothesisTest:
    return HypothesisTest(
        method=f"Cox regression, {kind} test",
        alternative="two-sided",
        statistic=statistic,
        p_value=positive_p(float(stats.chi2.sf(statistic, df))),
        df=df,
        df_denominator=None,
        is_exact=False,
        has_continuity_correction=None,
        n=n,
    )


def _hazard_ratio(name: str, log_ratio: float, error: float, level: float) -> HazardRatio:
    half_width = float(stats.norm.isf((1 - level) / 2)) * error
    z = log_ratio / error
    with np.errstate(over="ignore"):
        low, ratio, high = np.exp([log_ratio - half_width, log_ratio, log_ratio + half_width]).tolist()
    return HazardRatio(
        name=name,
        log_hazard_ratio=log_ratio,
        standard_error=error,
        hazard_ratio=ratio,
        interval=Interval(low=low, high=high, level=level, achieved_level=None, method="normal, log scale"),
        z=z,
        p_value=positive_p(2 * float(stats.norm.sf(abs(z)))),
    )
