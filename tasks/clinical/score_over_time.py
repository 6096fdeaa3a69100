"""The course of a score over all visits, by arm, with a mixed model for repeated measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator
from threadpoolctl import threadpool_limits

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import statistics, table
from tasks.clinical.population import Population, chosen_records, population_of
from tasks.clinical.scores import (
    Analysed,
    analysed,
    description,
    interval_values,
    join_warnings,
    score_address,
)
from tasks.stats.mmrm import FALL_BACK, MmrmData, NotConvergedError, fit_mmrm
from tasks.stats.mmrm.structures import StructureName
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasks.clinical.ard import Address
    from tasks.stats.mmrm import Attempt, Contrast, MmrmFit

LABELS = {
    "structure": "Covariance structure used",
    "df_method": "Method of the degrees of freedom",
    "n_subjects": "Participants in the model",
    "n_observations": "Values in the model",
    "deviance": "-2 restricted log-likelihood",
    "aic": "Akaike information criterion",
    "bic": "Bayesian information criterion",
    "status": "Whether the fit converged, or why not",
    "n_iterations": "Iterations",
    "gradient_norm": "Norm of the gradient at the end",
    "covariance": "Covariance",
    "correlation": "Correlation",
}
# Names of the model's own columns, which a covariate cannot have.
_OWN = frozenset({"outcome", "visit", "arm", "usubjid"})


class ScoreOverTimeParameters(Parameters):
    """What the model holds beside arm, visit and baseline, and how its covariance is found.

    `visits` are those after baseline that enter, all planned ones where none is named. `decides` says
    whether the estimand's own test, in a family, is that of its visit here.
    """

    estimands: tuple[Estimand, ...] = Field(min_length=1)
    covariates: tuple[str, ...] = ()
    visits: tuple[str, ...] = ()
    has_baseline_by_visit: bool = True
    structures: tuple[StructureName, ...] = Field(default=FALL_BACK, min_length=1)
    df_method: Literal["kenward-roger-linear", "kenward-roger", "satterthwaite"] = "kenward-roger-linear"
    weights: Literal["equal", "observed"] = "equal"
    decides: bool = True
    confidence_level: float = Field(default=0.95, gt=0, lt=1)

    @model_validator(mode="after")
    def _covariates_are_new(self) -> Self:
        if taken := {*_OWN, "base"} & set(self.covariates):
            raise ValueError(f"covariates: {', '.join(sorted(taken))}: in the model already")
        if len(set(self.structures)) < len(self.structures):
            raise ValueError(f"structures: {', '.join(self.structures)}: each at most once")
        return self


def score_over_time(
    adsl: pl.DataFrame, adqs: pl.DataFrame, *, parameters: ScoreOverTimeParameters
) -> pl.DataFrame:
    """Describe a score at each visit and estimate its mean change by a mixed model for repeated measures.

    Observed values only: a visit that was missed is left to the likelihood, which is right if what is
    missing depends on what was observed (missing at random); imputing by a rule belongs to the sensitivity
    analyses. Visit is a factor, and so is its product with arm and baseline, so that no shape over time is
    assumed. The covariance is unstructured where that can be estimated, else the first simpler one in the
    declared order that converges; which one was used, and why not those before it, are rows of the result.
    """
    rows: list[dict[str, Any]] = []
    # Many small fits: threads would cost more than they bring, and make the last digit the machine's.
    with threadpool_limits(limits=1, user_api="blas"):
        for estimand in parameters.estimands:
            rows += _estimand_rows(adsl, adqs, estimand, parameters)
    return table("score_over_time", rows)


ANALYSIS = Analysis(
    name="score_over_time",
    function=score_over_time,
    reads=("adam.adsl", "adam.adqs"),
    parameters=ScoreOverTimeParameters,
)


def _estimand_rows(
    adsl: pl.DataFrame, adqs: pl.DataFrame, estimand: Estimand, parameters: ScoreOverTimeParameters
) -> Iterator[dict[str, Any]]:
    if estimand.imputation != "observed":
        raise AnalysisError(
            f"estimand {estimand.id}: imputation {estimand.imputation}: the model takes observed values"
        )
    population = population_of(adsl, estimand)
    records = chosen_records(adqs, population)
    after = _after_baseline(records, estimand, parameters.visits)
    yield from population.rows()
    yield from _course(records, after, population)
    has_baseline = after["base"].null_count() < after.height
    covariates = (*(["base"] if has_baseline else []), *parameters.covariates)
    cases = analysed(after, population, estimand.variable, covariates)
    yield from _model_rows(cases, after, population, parameters)


def _after_baseline(records: pl.DataFrame, estimand: Estimand, wanted: Sequence[str]) -> pl.DataFrame:
    at_baseline = records.filter(pl.col("ablfl") == "Y")["avisit"].unique().to_list()
    after = records.filter(~pl.col("avisit").is_in(at_baseline))
    known = _visits(after)
    if unknown := [visit for visit in wanted if visit not in known]:
        raise AnalysisError(
            f"estimand {estimand.id}: visits {', '.join(unknown)}: after baseline are {', '.join(known)}"
        )
    after = after.filter(pl.col("avisit").is_in(list(wanted or known)))
    if after.is_empty():
        raise AnalysisError(f"estimand {estimand.id}: no {estimand.score} of the population after baseline")
    return after


def _visits(records: pl.DataFrame) -> list[str]:
    return records.sort("avisitn")["avisit"].unique(maintain_order=True).to_list()


def _course(records: pl.DataFrame, after: pl.DataFrame, population: Population) -> Iterator[dict[str, Any]]:
    kept = _visits(after)
    for visit in _visits(records):
        here = records.filter(pl.col("avisit") == visit)
        is_baseline = "Y" in here["ablfl"].to_list()
        if not is_baseline and visit not in kept:
            continue
        for variable in ("aval",) if is_baseline else ("aval", "chg"):
            yield from description(population, here, variable, group3_level=visit)


def _formula(cases: Analysed, population: Population, parameters: ScoreOverTimeParameters) -> str:
    terms = ["visit"]
    if len(population.arms) > 1:
        terms += ["arm", "arm:visit"]
    terms += [*cases.numbers, *cases.factors]
    if parameters.has_baseline_by_visit and "base" in cases.numbers:
        terms.append("base:visit")
    return f"outcome ~ {' + '.join(terms)}"


def _data(
    cases: Analysed, visits: list[str], population: Population, parameters: ScoreOverTimeParameters
) -> MmrmData:
    others = [arm for arm in population.arms if arm != population.reference]
    levels = {"visit": visits}
    if population.reference is not None:
        levels["arm"] = [population.reference, *others]
    columns: dict[str, Any] = {
        "outcome": cases.outcome,
        "usubjid": cases.frame["usubjid"].to_list(),
        "visit": cases.frame["avisit"].to_list(),
        "arm": cases.frame["arm"].to_list(),
        **cases.number_values(),
        **cases.factor_values(),
    }
    formula = _formula(cases, population, parameters)
    return MmrmData.from_columns(columns, formula, subject="usubjid", visit="visit", levels=levels)


def _model_rows(
    cases: Analysed, after: pl.DataFrame, population: Population, parameters: ScoreOverTimeParameters
) -> Iterator[dict[str, Any]]:
    estimand = population.estimand
    overall = score_address(population, None, estimand.variable, after, group3=None, group3_level=None)
    visits = [visit for visit in _visits(after) if visit in set(cases.frame["avisit"])]
    method = f"MMRM, {_formula(cases, population, parameters).replace('outcome', estimand.variable)}, REML"
    try:
        data = _data(cases, visits, population, parameters)
        fit = fit_mmrm(data, structures=parameters.structures, df_method=parameters.df_method)
    except NotConvergedError as error:
        yield from _attempts(error.attempts, overall, method)
        yield from _failure(overall, population, parameters, method, f"no structure converged: {error}")
        return
    except ValueError as error:
        yield from _failure(overall, population, parameters, method, f"not estimable: {error}")
        return
    warning = join_warnings(_fallen_back(fit), _aliased(fit), cases.warning)
    yield from _attempts(fit.attempts, overall, method)
    yield from _fit_rows(fit, overall, method, warning)
    yield from _covariance_rows(fit, visits, overall, method)
    how = f"{method}, {fit.structure} covariance, {parameters.df_method} df, {parameters.weights} weights"
    yield from _means(fit, after, population, parameters, method=how, warning=warning)
    yield from _differences(fit, after, population, parameters, method=how, warning=warning)


def _failure(
    overall: Address, population: Population, parameters: ScoreOverTimeParameters, method: str, error: str
) -> Iterator[dict[str, Any]]:
    """Say at the model, and at the p-values that were to decide, why there are none."""
    yield from statistics(overall, "mmrm", {"structure": None}, labels=LABELS, method=method, error=error)
    estimand = population.estimand
    target = overall.at(group3="AVISIT", group3_level=estimand.visit)
    for arm in population.compared or population.arms:
        yield from statistics(
            target.at(group1_level=arm, group1_reference=population.reference),
            "difference" if population.compared else "ls_means",
            {"p.value": None},
            method=method,
            is_confirmatory=_is_deciding(population, parameters, estimand.visit),
            error=error,
        )


def _fallen_back(fit: MmrmFit) -> str | None:
    failed = [one for one in fit.attempts if not one.has_converged]
    reasons = "; ".join(f"{one.structure}: {one.reason}" for one in failed)
    return f"covariance {fit.structure}, since {reasons}" if failed else None


def _aliased(fit: MmrmFit) -> str | None:
    return f"without a coefficient: {', '.join(fit.aliased)}" if fit.aliased else None


def _attempts(attempts: Sequence[Attempt], overall: Address, method: str) -> Iterator[dict[str, Any]]:
    for attempt in attempts:
        status = "converged" if attempt.has_converged else f"not converged: {attempt.reason}"
        values: dict[str, float | str | None] = {
            "status": status,
            "n_iterations": attempt.n_iterations,
            "deviance": attempt.deviance,
            "gradient_norm": attempt.gradient_norm,
        }
        yield from statistics(
            overall.at(variable_level=attempt.structure),
            "mmrm_attempt",
            values,
            labels=LABELS,
            method=method,
            warning=None if attempt.has_converged else attempt.reason,
        )


def _fit_rows(fit: MmrmFit, overall: Address, method: str, warning: str | None) -> Iterator[dict[str, Any]]:
    values: dict[str, float | str | None] = {
        "structure": fit.structure,
        "df_method": fit.df_method,
        "n_subjects": fit.n_subjects,
        "n_observations": fit.n_observations,
        "deviance": fit.deviance,
        "aic": fit.aic,
        "bic": fit.bic,
    }
    yield from statistics(overall, "mmrm", values, labels=LABELS, method=method, warning=warning)


def _covariance_rows(
    fit: MmrmFit, visits: list[str], overall: Address, method: str
) -> Iterator[dict[str, Any]]:
    spread = np.sqrt(np.diag(fit.covariance))
    for i, first in enumerate(visits):
        for j, second in enumerate(visits[i:], start=i):
            values = {
                "covariance": float(fit.covariance[i, j]),
                "correlation": float(fit.covariance[i, j] / (spread[i] * spread[j])),
            }
            yield from statistics(
                overall.at(variable_level=f"{first}, {second}"),
                "covariance",
                values,
                labels=LABELS,
                method=f"{method}, {fit.structure} covariance",
            )


def _is_deciding(population: Population, parameters: ScoreOverTimeParameters, visit: str | None) -> bool:
    estimand = population.estimand
    return parameters.decides and estimand.family is not None and visit == estimand.visit


def _values(contrast: Contrast, level: float, *, is_tested: bool) -> dict[str, float]:
    values: dict[str, float] = {
        "estimate": contrast.estimate,
        "std.error": contrast.standard_error,
        **interval_values(contrast.interval(level)),
    }
    tested = {"statistic": contrast.t, "df": contrast.df, "p.value": contrast.p_value}
    return values | (tested if is_tested else {"df": contrast.df})


def _means(
    fit: MmrmFit,
    after: pl.DataFrame,
    population: Population,
    parameters: ScoreOverTimeParameters,
    *,
    method: str,
    warning: str | None,
) -> Iterator[dict[str, Any]]:
    """Write the least-squares mean of each visit and arm; a single arm's are tested against no change."""
    estimand = population.estimand
    is_single = len(population.arms) == 1
    is_tested = is_single and estimand.variable != "aval"
    factors = ("visit",) if is_single else ("arm", "visit")
    for mean in fit.ls_means(factors, weights=parameters.weights):
        visit = str(mean.levels["visit"])
        address = score_address(
            population,
            str(mean.levels.get("arm", population.arms[0])),
            estimand.variable,
            after,
            group3_level=visit,
        )
        yield from statistics(
            address,
            "ls_means",
            _contrast_values(mean.contrast, parameters.confidence_level, is_tested=is_tested),
            method=f"{method}; t test against no change" if is_tested else method,
            is_confirmatory=is_tested and _is_deciding(population, parameters, visit),
            warning=warning,
            error=mean.reason if mean.contrast is None else None,
        )


def _differences(
    fit: MmrmFit,
    after: pl.DataFrame,
    population: Population,
    parameters: ScoreOverTimeParameters,
    *,
    method: str,
    warning: str | None,
) -> Iterator[dict[str, Any]]:
    if population.reference is None:
        return
    for difference in fit.ls_mean_differences(
        "arm", by=("visit",), reference=population.reference, weights=parameters.weights
    ):
        visit = str(difference.by["visit"])
        address = score_address(
            population,
            str(difference.level),
            population.estimand.variable,
            after,
            group1_reference=population.reference,
            group3_level=visit,
        )
        yield from statistics(
            address,
            "difference",
            _contrast_values(difference.contrast, parameters.confidence_level, is_tested=True),
            method=f"{method}; t test, not adjusted",
            is_confirmatory=_is_deciding(population, parameters, visit),
            warning=warning,
            error=difference.reason if difference.contrast is None else None,
        )


def _contrast_values(contrast: Contrast | None, level: float, *, is_tested: bool) -> dict[str, float | None]:
    if contrast is None:
        missing = ["estimate", "std.error", "conf.low", "conf.high", *(["p.value"] if is_tested else [])]
        return dict.fromkeys(missing)
    return dict(_values(contrast, level, is_tested=is_tested))
