"""Vital signs by visit, position and arm: values and changes from baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import Field

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import table
from tasks.clinical.population import population_of
from tasks.clinical.summaries import chosen_of_visit, members_of, summaries_by, summary_rows
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.clinical.population import Population

NAME = "vital_signs"
KEYS = ("paramcd", "atpt", "avisit")
VARIABLES = {"aval": "AVAL", "chg": "CHG", "pchg": "PCHG"}


class VitalSignsParameters(Parameters):
    """Which parameters, visits and positions of adam.advs are described; all if not named.

    `with_baseline_only` leaves out values of participants without a baseline, as tables of change do.
    """

    estimands: tuple[Estimand, ...] = Field(min_length=1)
    params: tuple[str, ...] | None = None
    visits: tuple[str, ...] | None = None
    percent_change: tuple[str, ...] = ()
    with_baseline_only: bool = False


def vital_signs(adsl: pl.DataFrame, advs: pl.DataFrame, *, parameters: VitalSignsParameters) -> pl.DataFrame:
    """Summarise values and changes from baseline by parameter, position, visit and arm.

    Contested choice: lying and standing values are never pooled, and each position has its own baseline;
    the position (ATPT) stands in variable_level. Summaries only: tests of many vital signs at many visits
    find little but chance.
    """
    return table(NAME, _rows(adsl, advs, parameters))


def _rows(
    adsl: pl.DataFrame, advs: pl.DataFrame, parameters: VitalSignsParameters
) -> Iterator[dict[str, Any]]:
    records = advs if "atpt" in advs.columns else advs.with_columns(pl.lit(None, pl.String).alias("atpt"))
    for column, wanted in (("paramcd", parameters.params), ("avisit", parameters.visits)):
        if wanted is not None:
            _refuse_unknown(records, column, wanted)
            records = records.filter(pl.col(column).is_in(list(wanted)))
    if parameters.percent_change:
        _refuse_unknown(records, "paramcd", parameters.percent_change)
    if parameters.with_baseline_only:
        records = records.filter(pl.col("base").is_not_null())
    records = chosen_of_visit(records, KEYS)
    by = ["paramcd", "atptn", "avisitn"] if "atptn" in records.columns else ["paramcd", "atpt", "avisitn"]
    records = records.sort(*by, "usubjid", nulls_last=True)
    for estimand in parameters.estimands:
        population = population_of(adsl, estimand)
        yield from population.rows()
        yield from _summaries(population, members_of(population, records), parameters)


def _refuse_unknown(records: pl.DataFrame, column: str, wanted: tuple[str, ...]) -> None:
    known = records[column].drop_nulls().unique().sort().to_list()
    if unknown := [name for name in wanted if name not in known]:
        raise AnalysisError(f"{column} {', '.join(unknown)}: adam.advs has {', '.join(known)}")


def _summaries(
    population: Population, records: pl.DataFrame, parameters: VitalSignsParameters
) -> Iterator[dict[str, Any]]:
    labels = dict(records.select("paramcd", "param").unique(keep="first", maintain_order=True).iter_rows())
    units = dict(records.select("paramcd", "unit").unique(keep="first", maintain_order=True).iter_rows())
    for value, variable in VARIABLES.items():
        part = records
        if value != "aval":
            part = part.filter(pl.col("ablfl").fill_null("N") != "Y", pl.col("avisitn").fill_null(1) > 0)
        if value == "pchg":
            part = part.filter(pl.col("paramcd").is_in(list(parameters.percent_change)))
        for key, column, summary in summaries_by(population, part, value, KEYS):
            address = population.address(
                column,
                variable,
                variable_label=labels[key["paramcd"]],
                variable_level=key["atpt"],
                unit="%" if value == "pchg" else units[key["paramcd"]],
                group2="PARAMCD",
                group2_level=key["paramcd"],
                group3="AVISIT",
                group3_level=key["avisit"],
            )
            yield from summary_rows(address, summary)


ANALYSIS = Analysis(
    name=NAME,
    function=vital_signs,
    reads=("adam.adsl", "adam.advs"),
    parameters=VitalSignsParameters,
)
