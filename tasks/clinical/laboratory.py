"""Laboratory values by visit and arm, the worst of them on treatment, and where they moved from baseline."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import Field

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import table
from tasks.clinical.laboratory_shifts import (
    WORST_IN_WORDS,
    Limits,
    Worst,
    frequency_rows,
    on_treatment,
    shift_rows,
    with_categories,
    worst_of,
)
from tasks.clinical.liver_signals import LiverSignals, liver_rows
from tasks.clinical.population import population_of
from tasks.clinical.proportions import Comparison, ProportionOptions
from tasks.clinical.summaries import chosen_of_visit, members_of, summaries_by, summary_rows
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.clinical.ard import Address
    from tasks.clinical.population import Population

NAME = "laboratory"
KEYS = ("paramcd", "avisit")


class LaboratoryParameters(Parameters):
    """Which values of adam.adlb are tabulated, and what counts as worst and as a shift.

    `treatment_visits` are the visits of the treatment period, for which ONTRTFL stands where none is named.
    `low` and `high` are the multiples of the reference limits beyond which a value counts as low or high in
    the shifts; `worst` chooses the one value of each participant that counts. `liver` sets
    the signals of liver injury; true takes the common ones, false none.
    """

    estimands: tuple[Estimand, ...] = Field(min_length=1)
    params: tuple[str, ...] | None = None
    treatment_visits: tuple[str, ...] | None = None
    worst: Worst = "beyond_limit"
    low: float = Field(default=1, gt=0, le=1)
    high: float = Field(default=1, ge=1)
    summaries: bool = True
    shifts_by_visit: bool = True
    grades: bool = True
    liver: LiverSignals | bool = True
    comparison: Comparison = "overall"
    confidence_level: float = Field(default=0.95, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)


def laboratory(adsl: pl.DataFrame, adlb: pl.DataFrame, *, parameters: LaboratoryParameters) -> pl.DataFrame:
    """Summarise values by visit; count worst values, shifts, toxicity grades and signals of liver injury.

    Contested choice: a participant counts once in a parameter, with the worst value on treatment, whatever
    the number of measurements; unscheduled ones count unless the visits are named, though sick participants
    have more of them. Frequencies are compared by Fisher's test of all categories, shifts by the
    Cochran-Mantel-Haenszel test within the category at baseline; none of them is adjusted.
    """
    return table(NAME, _rows(adsl, adlb, parameters))


def _rows(
    adsl: pl.DataFrame, adlb: pl.DataFrame, parameters: LaboratoryParameters
) -> Iterator[dict[str, Any]]:
    known = adlb["paramcd"].unique(maintain_order=True).sort().to_list()
    chosen = known if parameters.params is None else list(parameters.params)
    if unknown := [name for name in chosen if name not in known]:
        raise AnalysisError(f"params {', '.join(unknown)}: adam.adlb has {', '.join(known)}")
    visits = adlb["avisit"].drop_nulls().unique().sort().to_list()
    if unknown := [name for name in parameters.treatment_visits or () if name not in visits]:
        raise AnalysisError(f"treatment_visits {', '.join(unknown)}: adam.adlb has {', '.join(visits)}")
    records = adlb.filter(pl.col("paramcd").is_in(chosen)).sort("paramcd", "avisitn", "usubjid", "adt")
    for estimand in parameters.estimands:
        population = population_of(adsl, estimand)
        yield from population.rows()
        yield from _of_population(population, members_of(population, records), parameters)


def _of_population(
    population: Population, records: pl.DataFrame, parameters: LaboratoryParameters
) -> Iterator[dict[str, Any]]:
    labels = dict(records.select("paramcd", "param").unique(keep="first", maintain_order=True).iter_rows())
    if parameters.summaries:
        yield from _summaries(population, records, labels)
    options = ProportionOptions(
        comparison=parameters.comparison, level=parameters.confidence_level, seed=parameters.seed
    )
    baseline = records.filter(pl.col("ablfl") == "Y")
    treated = on_treatment(records, parameters.treatment_visits)
    yield from _worst(population, treated, baseline, labels, parameters)
    if parameters.shifts_by_visit:
        yield from _by_visit(population, records, baseline, labels, parameters)
    if parameters.grades and "atoxgr" in records.columns:
        yield from _grades(population, treated, labels, parameters)
    if parameters.liver is not False:
        signals = LiverSignals() if parameters.liver is True else parameters.liver
        yield from liver_rows(population, treated, baseline, signals, options)


def _parameter(population: Population, variable: str, paramcd: str, labels: dict[str, str]) -> Address:
    return population.address(
        None, variable, variable_label=labels[paramcd], group2="PARAMCD", group2_level=paramcd
    )


def _summaries(
    population: Population, records: pl.DataFrame, labels: dict[str, str]
) -> Iterator[dict[str, Any]]:
    units = dict(records.select("paramcd", "unit").unique(keep="first", maintain_order=True).iter_rows())
    of_visit = chosen_of_visit(records.filter(pl.col("aval").is_not_null()), KEYS)
    changed = of_visit.filter(pl.col("ablfl").fill_null("N") != "Y", pl.col("avisitn").fill_null(1) > 0)
    for variable, part in (("AVAL", of_visit), ("CHG", changed)):
        for key, column, summary in summaries_by(population, part, variable.lower(), KEYS):
            paramcd, avisit = key["paramcd"], key["avisit"]
            address = _parameter(population, variable, paramcd, labels).at(
                group1_level=column, group3="AVISIT", group3_level=avisit, unit=units[paramcd]
            )
            yield from summary_rows(address, summary)


def _worst(
    population: Population,
    treated: pl.DataFrame,
    baseline: pl.DataFrame,
    labels: dict[str, str],
    parameters: LaboratoryParameters,
) -> Iterator[dict[str, Any]]:
    """Count the worst value of each participant: by the reference range, and as a shift by the limits."""
    limits = Limits(low=parameters.low, high=parameters.high)
    options = ProportionOptions(
        comparison=parameters.comparison, level=parameters.confidence_level, seed=parameters.seed
    )
    method = WORST_IN_WORDS[parameters.worst]
    worst = worst_of(treated, parameters.worst, limits)
    ranged = with_categories(worst, baseline, Limits(low=1, high=1))
    shifted = with_categories(worst, baseline, limits)
    for paramcd in worst["paramcd"].unique().sort():
        of_param = pl.col("paramcd") == paramcd
        address = _parameter(population, "ANRIND", paramcd, labels)
        yield from frequency_rows(
            population, ranged.filter(of_param), address, method=method, options=options
        )
        yield from shift_rows(
            population,
            shifted.filter(of_param),
            address.at(variable="SHIFT1"),
            context="worst_shift",
            method=f"{method}; {_limits_in_words(limits)}",
            cmh="none" if parameters.comparison == "none" else "row_mean_scores",
        )


def _limits_in_words(limits: Limits) -> str:
    if limits.is_reference_range:
        return "low and high by the reference range"
    return f"low below {limits.low:g} x LLN, high above {limits.high:g} x ULN"


def _by_visit(
    population: Population,
    records: pl.DataFrame,
    baseline: pl.DataFrame,
    labels: dict[str, str],
    parameters: LaboratoryParameters,
) -> Iterator[dict[str, Any]]:
    limits = Limits(low=parameters.low, high=parameters.high)
    planned = chosen_of_visit(records.filter(pl.col("ablfl").fill_null("N") != "Y"), KEYS)
    shifted = with_categories(planned.filter(pl.col("avisitn").fill_null(1) > 0), baseline, limits)
    for (paramcd, avisit), part in shifted.partition_by(KEYS, as_dict=True, maintain_order=True).items():
        address = _parameter(population, "SHIFT1", paramcd, labels).at(group3="AVISIT", group3_level=avisit)
        method = _limits_in_words(limits)
        yield from shift_rows(population, part, address, context="shift_by_visit", method=method)


def _grades(
    population: Population,
    treated: pl.DataFrame,
    labels: dict[str, str],
    parameters: LaboratoryParameters,
) -> Iterator[dict[str, Any]]:
    """Count shifts of the worst toxicity grade on treatment from the grade at baseline."""
    number = pl.col("atoxgr").cast(pl.String).str.extract(r"(-?[0-5])").cast(pl.Int64)
    moved = (
        treated.filter(pl.col("atoxgr").is_not_null())
        .sort(number.abs(), "adt", descending=[True, False], nulls_last=True, maintain_order=True)
        .unique(["usubjid", "paramcd"], keep="first", maintain_order=True)
        .with_columns(
            pl.col("atoxgr").cast(pl.String).alias("category"),
            pl.col("btoxgr").cast(pl.String).alias("base_category"),
        )
    )
    for paramcd in moved["paramcd"].unique().sort():
        part = moved.filter(pl.col("paramcd") == paramcd)
        seen = pl.concat([part["category"], part["base_category"]]).drop_nulls().unique().to_list()
        yield from shift_rows(
            population,
            part,
            _parameter(population, "ATOXGR", paramcd, labels),
            context="grade_shift",
            method="worst toxicity grade on treatment, negative where the value is too low",
            levels=sorted(seen, key=_signed),
            cmh="none" if parameters.comparison == "none" else "row_mean_scores",
        )


def _signed(grade: str) -> tuple[int, str]:
    number = re.search(r"-?[0-5]", grade)
    return (int(number[0]) if number else 0, grade)


ANALYSIS = Analysis(
    name=NAME,
    function=laboratory,
    reads=("adam.adsl", "adam.adlb"),
    parameters=LaboratoryParameters,
)
