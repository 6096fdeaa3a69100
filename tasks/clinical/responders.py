"""Participants who respond, by every declared criterion."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import polars as pl
from pydantic import Field, model_validator

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import TOTAL, statistics, table
from tasks.clinical.population import Population, population_of
from tasks.clinical.scores import baselines, interval_values, named, records_at_visit, score_address
from tasks.stats.contingency import fisher_exact
from tasks.stats.proportion import (
    clopper_pearson,
    miettinen_nurminen_difference,
    newcombe_difference,
    wilson,
)
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.clinical.ard import Address

_CONDITION = r"^(base|aval|chg|pchg) (<=|>=|<|>|==) (-?[0-9]+(?:\.[0-9]+)?)$"
# Percent changes carry rounding noise: 50 % is reached by a change of 49.999999999 %.
_DECIMALS = 9

Condition = Annotated[str, Field(pattern=_CONDITION)]

LABELS = {
    "N_evaluable": "Participants who could respond",
    "n_imputed": "Participants without a value, counted as non-responders",
    "n_excluded": "Participants without a value, left out",
}


class Criterion(Parameters):
    """A responder meets all `conditions`; only who meets those of `evaluable` at baseline is counted at all.

    A condition is a variable, a comparison and a number: "pchg <= -50", "aval <= 1", "chg <= -2". `score`
    is the PARAMCD that it is meant for; without, it holds for every estimand.
    """

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    label: str = Field(min_length=1)
    score: str | None = None
    conditions: tuple[Condition, ...] = Field(min_length=1)
    evaluable: tuple[Condition, ...] = ()

    @model_validator(mode="after")
    def _is_evaluable_at_baseline(self) -> Self:
        if late := [text for text in self.evaluable if not text.startswith("base ")]:
            raise ValueError(f"evaluable: {', '.join(late)}: only the baseline (base) can decide that")
        return self


class RespondersParameters(Parameters):
    """Criteria beside the percent improvements, which need to know which direction is better.

    `improvement_scores` narrows the percent improvements to some scores. `decides` names the criterion whose
    comparison of arms is the test of an estimand that belongs to a family.
    """

    estimands: tuple[Estimand, ...] = Field(min_length=1)
    better: Literal["lower", "higher"]
    improvement_pct: tuple[Annotated[float, Field(gt=0)], ...] = (50, 75, 90)
    improvement_scores: tuple[str, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    decides: str | None = None
    confidence_level: float = Field(default=0.95, gt=0, lt=1)

    @model_validator(mode="after")
    def _names_each_criterion_once(self) -> Self:
        ids = [criterion.id for criterion in (*self.improvements, *self.criteria)]
        if len(set(ids)) < len(ids):
            raise ValueError(f"criteria: {', '.join(ids)}: each id at most once")
        if not ids:
            raise ValueError("criteria: none, and improvement_pct is empty: one is needed")
        if self.decides is not None and self.decides not in ids:
            raise ValueError(f"decides: {self.decides}: must be one of {', '.join(ids)}")
        return self

    @property
    def improvements(self) -> tuple[Criterion, ...]:
        sign = "<= -" if self.better == "lower" else ">= "
        return tuple(
            Criterion(
                id=f"improved_{percent:g}".replace(".", "_"),
                label=f"Improved by {percent:g} % or more",
                conditions=(f"pchg {sign}{percent:g}",),
            )
            for percent in self.improvement_pct
        )

    def criteria_of(self, estimand: Estimand) -> tuple[Criterion, ...]:
        is_improving = not self.improvement_scores or estimand.score in self.improvement_scores
        of_score = [one for one in self.criteria if one.score in (None, estimand.score)]
        return (*(self.improvements if is_improving else ()), *of_score)


@dataclass(frozen=True, slots=True)
class _Judged:
    """Evaluable participants of the population with `is_responder`, and what became of missing values."""

    frame: pl.DataFrame
    n_without: dict[str, int]
    is_imputing: bool
    warning: str | None

    def of(self, column: str) -> pl.DataFrame:
        return self.frame if column == TOTAL else self.frame.filter(pl.col("arm") == column)


def responders(adsl: pl.DataFrame, adqs: pl.DataFrame, *, parameters: RespondersParameters) -> pl.DataFrame:
    """Count who responds, with exact and score intervals, and compare arms where there are any.

    A participant without a value is a non-responder unless the estimand is of observed cases: who leaves a
    trial has rarely responded, and leaving them out flatters. Clopper-Pearson keeps its level at any n but
    is wide, Wilson's interval holds it on average; both are given. Cutting a score into responders loses
    information: the comparison of its means has more power.
    """
    rows: list[dict[str, Any]] = []
    for estimand in parameters.estimands:
        population = population_of(adsl, estimand)
        records = records_at_visit(adqs, population)
        criteria = parameters.criteria_of(estimand)
        if not criteria:
            raise AnalysisError(f"estimand {estimand.id}: no criterion for {estimand.score}: declare one")
        rows += population.rows()
        for criterion in criteria:
            judged = _judge(adqs, records, population, criterion)
            rows += _criterion_rows(judged, records, population, criterion, parameters)
    return table("responders", rows)


ANALYSIS = Analysis(
    name="responders",
    function=responders,
    reads=("adam.adsl", "adam.adqs"),
    parameters=RespondersParameters,
)


def _judge(
    adqs: pl.DataFrame, records: pl.DataFrame, population: Population, criterion: Criterion
) -> _Judged:
    at_visit = records.select("usubjid", "aval", "chg", "pchg")
    everyone = (
        population.subjects.select("usubjid", "arm")
        .join(baselines(adqs, population).select("usubjid", "base"), on="usubjid", how="left")
        .join(at_visit, on="usubjid", how="left")
        .with_columns(pl.col("base", "aval", "chg", "pchg").cast(pl.Float64).round(_DECIMALS))
    )
    could = everyone
    for condition in criterion.evaluable:
        could = could.filter(_met(condition).fill_null(value=False))
    # With no percent change of a zero baseline the criterion cannot be judged, value or not.
    judged = could.with_columns(
        pl.all_horizontal([_met(condition) for condition in criterion.conditions]).alias("is_responder")
    )
    without = judged.filter(pl.col("is_responder").is_null())
    is_imputing = population.estimand.imputation != "observed"
    kept = judged if is_imputing else judged.filter(pl.col("is_responder").is_not_null())
    warning = None
    if without.height:
        how = "counted as non-responders" if is_imputing else "left out"
        warning = f"{without.height} without the value {how}: {named(without['usubjid'].to_list())}"
    return _Judged(
        frame=kept.with_columns(pl.col("is_responder").fill_null(value=False)),
        n_without={
            column: without.height if column == TOTAL else without.filter(pl.col("arm") == column).height
            for column in population.columns
        },
        is_imputing=is_imputing,
        warning=warning,
    )


def _met(condition: str) -> pl.Expr:
    match = re.fullmatch(_CONDITION, condition)
    if match is None:
        raise ValueError(f"condition {condition!r}: must be as in 'pchg <= -50'")
    variable, comparison, number = pl.col(match[1]), match[2], float(match[3])
    return {
        "<=": variable <= number,
        ">=": variable >= number,
        "<": variable < number,
        ">": variable > number,
        "==": variable == number,
    }[comparison]


def _method(judged: _Judged, criterion: Criterion, population: Population) -> str:
    rule = " and ".join(criterion.conditions)
    among = f" among {' and '.join(criterion.evaluable)}" if criterion.evaluable else ""
    imputation = population.estimand.imputation
    if not judged.is_imputing:
        missing = "observed cases"
    elif imputation == "NRI":
        missing = "no value counts as no response (NRI)"
    else:
        missing = f"{imputation}, and still no value counts as no response"
    return f"{rule}{among}; {missing}"


def _criterion_rows(
    judged: _Judged,
    records: pl.DataFrame,
    population: Population,
    criterion: Criterion,
    parameters: RespondersParameters,
) -> Iterator[dict[str, Any]]:
    method = _method(judged, criterion, population)
    missing = "n_imputed" if judged.is_imputing else "n_excluded"
    address = score_address(population, None, "aval", records).at(
        variable="CRITFL", variable_label=criterion.label, variable_level=criterion.id, unit=None
    )
    for column in population.columns:
        frame = judged.of(column)
        here = address.at(group1_level=column)
        n, responding = frame.height, int(frame["is_responder"].sum())
        values: dict[str, float | None] = {
            "N_evaluable": n,
            missing: judged.n_without[column],
            "n": responding,
            "p": responding / n if n else None,
        }
        nobody = None if n else "nobody could respond"
        yield from statistics(
            here, "responders", values, labels=LABELS, method=method, warning=judged.warning, error=nobody
        )
        if not n:
            continue
        for context, interval in (("clopper_pearson", clopper_pearson), ("wilson", wilson)):
            found = interval(responding, n, level=parameters.confidence_level)
            yield from statistics(
                here,
                context,
                {"estimate": responding / n, **interval_values(found)},
                method=f"{found.method} interval; {method}",
                warning=judged.warning,
            )
    for arm in population.compared:
        decides = parameters.decides == criterion.id and population.estimand.family is not None
        here = address.at(group1_level=arm, group1_reference=population.reference)
        yield from _comparison_rows(
            judged.of(arm),
            judged.of(population.reference or ""),
            here,
            method=method,
            warning=judged.warning,
            level=parameters.confidence_level,
            decides=decides,
        )


def _comparison_rows(
    treated: pl.DataFrame,
    reference: pl.DataFrame,
    address: Address,
    *,
    method: str,
    warning: str | None,
    level: float,
    decides: bool,
) -> Iterator[dict[str, Any]]:
    counts = [(int(frame["is_responder"].sum()), frame.height) for frame in (treated, reference)]
    (x, n), (reference_x, reference_n) = counts
    if not (n and reference_n):
        yield from statistics(
            address, "fisher", {"p.value": None}, is_confirmatory=decides, method=method,
            error="nobody could respond in one of the arms",
        )  # fmt: skip
        return
    for context, difference in (
        ("newcombe", newcombe_difference),
        ("miettinen_nurminen", miettinen_nurminen_difference),
    ):
        found = difference(x, n, reference_x, reference_n, level=level)
        how = found.interval.method if found.interval else found.method
        yield from statistics(
            address,
            context,
            {"estimate": found.estimate, **interval_values(found.interval)},
            method=f"difference of proportions, {how} interval; {method}",
            warning=warning,
        )
    fisher: dict[str, Any] = {"warning": warning}
    try:
        test = fisher_exact([[x, n - x], [reference_x, reference_n - reference_x]])
        values, how = {"p.value": test.p_value}, test.method
    except ValueError as error:
        # All or nobody responded: the margins leave a single table, which is sure.
        values, how = {"p.value": 1.0}, "Fisher's exact test, a single table is possible"
        fisher["warning"] = f"{warning + '; ' if warning else ''}nothing to compare: {error}"
    yield from statistics(
        address, "fisher", values, method=f"{how}, two-sided; {method}", is_confirmatory=decides, **fisher
    )
