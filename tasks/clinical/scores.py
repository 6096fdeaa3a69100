"""What analyses of a score share: who is analysed and who is left out, covariates, addresses, intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.clinical.ard import TOTAL, described, statistics
from tasks.clinical.population import chosen_records
from warehouse.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tasks.clinical.ard import Address
    from tasks.clinical.population import Population
    from tasks.stats.types import FloatArray, HypothesisTest, Interval
    from warehouse.study import Estimand

_NAMED = 10
_SCORE_LABELS = {"base": "Baseline", "aval": "Value", "chg": "Change", "pchg": "Percent change"}


@dataclass(frozen=True, slots=True)
class Analysed:
    """Participants with an outcome and every covariate; `warning` says who is left out.

    `frame` has usubjid, arm, avisit, `outcome` and the covariates; text covariates are factors.
    """

    frame: pl.DataFrame
    factors: tuple[str, ...]
    numbers: tuple[str, ...]
    warning: str | None

    @property
    def outcome(self) -> FloatArray:
        return self.frame["outcome"].to_numpy().astype(np.float64)

    def factor_values(self) -> dict[str, list[str]]:
        return {name: self.frame[name].to_list() for name in self.factors}

    def number_values(self) -> dict[str, FloatArray]:
        return {name: self.frame[name].to_numpy().astype(np.float64) for name in self.numbers}


def visit_of(estimand: Estimand) -> str:
    if estimand.visit is None:
        raise AnalysisError(f"estimand {estimand.id}: visit: this analysis needs one")
    return estimand.visit


def records_at_visit(adqs: pl.DataFrame, population: Population) -> pl.DataFrame:
    """Return the one analysis record of each participant at the estimand's visit."""
    visit = visit_of(population.estimand)
    chosen = chosen_records(adqs, population, visit=visit)
    if chosen.is_empty():
        score = adqs.filter(pl.col("paramcd") == population.estimand.score)
        known = ", ".join(score["avisit"].drop_nulls().unique().sort()) or "none"
        raise AnalysisError(
            f"estimand {population.estimand.id}: visit {visit}: nobody of the population has"
            f" {population.estimand.score} there; its visits are {known}"
        )
    return chosen


def baselines(adqs: pl.DataFrame, population: Population) -> pl.DataFrame:
    """Return usubjid, arm and base of every participant with a baseline of the estimand's score."""
    of_score = adqs.filter(pl.col("paramcd") == population.estimand.score, pl.col("base").is_not_null())
    one_each = of_score.sort("usubjid", "avisitn").unique("usubjid", keep="first", maintain_order=True)
    arms = population.subjects.select("usubjid", "arm")
    return one_each.select("usubjid", "base").join(arms, on="usubjid", how="inner").sort("usubjid")


def analysed(
    records: pl.DataFrame, population: Population, variable: str, covariates: Sequence[str]
) -> Analysed:
    """Take the outcome from the records, covariates from them or else from adam.adsl, and complete cases.

    Raises
    ------
    AnalysisError
        If neither table has a covariate, or nobody has all of them.
    """
    estimand = population.estimand
    own = [name for name in covariates if name in records.columns]
    others = [name for name in covariates if name not in records.columns]
    if unknown := [name for name in others if name not in population.subjects.columns]:
        raise AnalysisError(
            f"estimand {estimand.id}: covariate {', '.join(unknown)}: neither adam.adqs nor adam.adsl has it"
        )
    frame = (
        records.with_columns(pl.col(variable).alias("outcome"))
        .select("usubjid", "arm", "avisit", "outcome", *own)
        .join(population.subjects.select("usubjid", *others), on="usubjid", how="left")
    )
    complete = frame.drop_nulls(["outcome", *covariates]).sort("usubjid")
    if complete.is_empty():
        raise AnalysisError(
            f"estimand {estimand.id}: nobody has {variable.upper()} with {', '.join(covariates) or 'it'}"
        )
    factors = tuple(name for name in covariates if not complete.schema[name].is_numeric())
    complete = complete.with_columns(pl.col(name).cast(pl.String) for name in factors)
    return Analysed(
        frame=complete,
        factors=factors,
        numbers=tuple(name for name in covariates if name not in factors),
        warning=left_out(population.subjects, complete["usubjid"].unique().to_list(), variable, covariates),
    )


def left_out(
    subjects: pl.DataFrame, kept: Sequence[str], variable: str, covariates: Sequence[str] = ()
) -> str | None:
    """Say how many of these participants are not analysed, and who."""
    missing = sorted(set(subjects["usubjid"]) - set(kept))
    if not missing:
        return None
    needed = " and ".join([variable.upper(), *(name.upper() for name in covariates)])
    return f"{len(missing)} of {subjects.height} without {needed} left out: {named(missing)}"


def named(subjects: Sequence[str]) -> str:
    more = len(subjects) - _NAMED
    return ", ".join(subjects[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def join_warnings(*warnings: str | None) -> str | None:
    return "; ".join(warning for warning in warnings if warning) or None


def score_address(
    population: Population, column: str | None, variable: str, records: pl.DataFrame, **more: Any
) -> Address:
    """Address a statistic of the estimand's score at its visit (or at the `avisit` given)."""
    estimand = population.estimand
    label = _SCORE_LABELS[variable]
    param = only(records, "param")
    options: dict[str, Any] = {
        "variable_label": f"{label} of {param}" if param else label,
        "group2": "PARAMCD",
        "group2_level": estimand.score,
        "group3": "AVISIT",
        "group3_level": estimand.visit,
        "unit": unit_of(variable, records),
    }
    return population.address(column, variable.upper(), **{**options, **more})


def unit_of(variable: str, records: pl.DataFrame) -> str | None:
    return "%" if variable == "pchg" else only(records, "unit")


def only(frame: pl.DataFrame, column: str) -> str | None:
    """Return the one value of a descriptive column, or None where it is absent, empty or not one."""
    values = frame[column].drop_nulls().unique().to_list() if column in frame.columns else []
    return str(values[0]) if len(values) == 1 else None


def interval_values(interval: Interval | None) -> dict[str, float]:
    if interval is None:
        return {}
    return {"conf.low": interval.low, "conf.high": interval.high, "conf.level": interval.level}


def values_of_test(test: HypothesisTest) -> dict[str, float]:
    """Return the statistic, its degrees of freedom where it has any, and the p-value."""
    values = {"statistic": test.statistic}
    if test.df is not None:
        values["df"] = test.df
    if test.df_denominator is not None:
        values["df2"] = test.df_denominator
    return values | {"p.value": test.p_value}


def description(
    population: Population, records: pl.DataFrame, variable: str, **more: Any
) -> Iterator[dict[str, Any]]:
    """Describe a variable of the records in each arm and in all; nothing where it has no value at all.

    Participants of the population without a record count as missing.
    """
    if records[variable].null_count() == records.height:
        return
    for column in population.columns:
        values = records[variable] if column == TOTAL else records.filter(pl.col("arm") == column)[variable]
        yield from described_rows(
            score_address(population, column, variable, records, **more),
            described(values, population.n(column) - values.len()),
        )


def described_rows(
    address: Address, summary: Mapping[str, float | None], warning: str | None = None
) -> Iterator[dict[str, Any]]:
    few = "not defined for so few values" if None in summary.values() else None
    yield from statistics(
        address,
        "continuous",
        summary,
        method="quartiles by SAS definition 5",
        warning=join_warnings(few, warning),
    )
