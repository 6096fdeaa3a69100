"""How much treatment the participants had, for how long, and how well they kept to the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import polars as pl
from pydantic import Field, model_validator

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import table
from tasks.clinical.population import population_of
from tasks.clinical.proportions import ProportionOptions, participants_by, proportion_rows
from tasks.clinical.summaries import members_of, summaries_by, summary_rows
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.clinical.population import Population

NAME = "exposure"
# Where there is no adam.adex: what ADSL may say itself, as the parameters of ADEX.
FROM_ADSL = {
    "trtdurd": ("TRTDUR", "Days on treatment", "days"),
    "avgdd": ("AVDDSE", "Average daily dose", None),
    "cumdose": ("CUMDOSE", "Cumulative dose", None),
}
COMPLIANCE = "COMPL"


class ExposureParameters(Parameters):
    """Which parameters of adam.adex are described; `compliant` is the range of COMPL, in percent."""

    estimands: tuple[Estimand, ...] = Field(min_length=1)
    params: tuple[str, ...] | None = None
    compliant: tuple[float, float] = (80.0, 120.0)

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        low, high = self.compliant
        if not 0 <= low < high:
            raise ValueError(f"compliant: {low} to {high}: must be a range of percentages from 0 on")
        return self


def exposure(
    adsl: pl.DataFrame, adex: pl.DataFrame | None, *, parameters: ExposureParameters
) -> pl.DataFrame:
    """Describe duration, average and cumulative dose, dose changes and compliance by arm.

    Contested choice: exposure is described per arm and not tested; a placebo arm has a dose of zero, which
    is a value and not a missing one. Completers are an estimand of their own, beside the safety set.
    """
    records = _from_adsl(adsl) if adex is None else adex
    return table(NAME, _rows(adsl, records, parameters))


def _from_adsl(adsl: pl.DataFrame) -> pl.DataFrame:
    found = [
        adsl.select(
            "usubjid",
            pl.lit(paramcd).alias("paramcd"),
            pl.lit(param).alias("param"),
            pl.lit(unit, dtype=pl.String).alias("unit"),
            pl.col(name).cast(pl.Float64).alias("aval"),
        )
        for name, (paramcd, param, unit) in FROM_ADSL.items()
        if name in adsl.columns
    ]
    if not found:
        raise AnalysisError(f"the study makes no adam.adex, and adam.adsl has none of {', '.join(FROM_ADSL)}")
    return pl.concat(found)


def _rows(
    adsl: pl.DataFrame, records: pl.DataFrame, parameters: ExposureParameters
) -> Iterator[dict[str, Any]]:
    known = records["paramcd"].unique(maintain_order=True).to_list()
    chosen = known if parameters.params is None else list(parameters.params)
    if unknown := [name for name in chosen if name not in known]:
        raise AnalysisError(f"params {', '.join(unknown)}: the data have {', '.join(known)}")
    for estimand in parameters.estimands:
        population = population_of(adsl, estimand)
        yield from population.rows()
        mine = members_of(population, records)
        for paramcd in chosen:
            yield from _parameter(population, mine.filter(pl.col("paramcd") == paramcd), paramcd, parameters)


def _parameter(
    population: Population, records: pl.DataFrame, paramcd: str, parameters: ExposureParameters
) -> Iterator[dict[str, Any]]:
    first = records.row(0, named=True) if records.height else {"param": paramcd, "unit": None}
    address = population.address(
        None,
        "AVAL",
        variable_label=first["param"],
        unit=first["unit"],
        group2="PARAMCD",
        group2_level=paramcd,
    )
    for _, column, summary in summaries_by(population, records, "aval", []):
        yield from summary_rows(address.at(group1_level=column), summary)
    if paramcd == COMPLIANCE:
        low, high = parameters.compliant
        within = records.filter(pl.col("aval").is_between(low, high))
        at = address.at(variable_level=f"{low:g} to {high:g} %", unit=None)
        counts = participants_by(population, within, []).get((), {})
        yield from proportion_rows(population, at, counts, context="compliant", options=ProportionOptions())


ANALYSIS = Analysis(
    name=NAME,
    function=exposure,
    reads=("adam.adsl",),
    uses=("adam.adex",),
    parameters=ExposureParameters,
)
