"""Every clinical statistic of the study in one table, with p-values adjusted within their families."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pydantic import Field

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import LABELS, SCHEMA
from tasks.stats.multiplicity import adjusted_p
from warehouse.errors import AnalysisError
from warehouse.study import Estimand, Family

if TYPE_CHECKING:
    from collections.abc import Mapping

# The results gathered, in the order of the table; the first has a shape of its own.
GATHERED = (
    "primary_endpoint",
    "disposition",
    "baseline_characteristics",
    "change_from_baseline",
    "treatment_comparison",
    "score_over_time",
    "primary_endpoint_sensitivity",
    "responders",
    "score_shifts",
    "regression_to_the_mean",
    "detectability",
    "p_value_forensics",
    "exposure",
    "adverse_events",
    "time_to_event",
    "laboratory",
    "vital_signs",
)

# What the wide result of the primary endpoint calls its statistics.
_WIDE = {
    "estimate": "estimate",
    "standard_error": "std.error",
    "ci_level": "conf.level",
    "ci_low": "conf.low",
    "ci_high": "conf.high",
    "test_statistic": "statistic",
    "df": "df",
    "p_value": "p.value",
    "n": "N_obs",
}


class ClinicalStatisticsParameters(Parameters):
    """What the study declares: its estimands, in the order of a fixed sequence, and their families."""

    estimands: tuple[Estimand, ...] = ()
    families: dict[str, Family] = Field(default_factory=dict)


def clinical_statistics(
    *frames: pl.DataFrame | None, parameters: ClinicalStatisticsParameters
) -> pl.DataFrame:
    """Gather the analyses' results and add what only all of them together say: the adjusted p-values.

    Only p-values that an analysis marks as confirmatory enter a family; everything else is descriptive and
    carries no adjusted value. In a fixed sequence the order is that in which study.toml declares estimands.
    """
    named = {name: frame for name, frame in zip(GATHERED, frames, strict=True) if frame is not None}
    gathered = [
        _long(frame, parameters) if name == "primary_endpoint" else frame for name, frame in named.items()
    ]
    rows = pl.concat(gathered) if gathered else pl.DataFrame(schema=SCHEMA)
    return pl.concat([rows, *_adjusted(rows, parameters)])


def _adjusted(rows: pl.DataFrame, parameters: ClinicalStatisticsParameters) -> list[pl.DataFrame]:
    order = {estimand.id: place for place, estimand in enumerate(parameters.estimands)}
    written = []
    for name, family in parameters.families.items():
        tests = rows.filter(pl.col("family") == name, pl.col("is_confirmatory"))
        if tests.is_empty() or family.method == "none":
            continue
        tests = tests.sort(
            pl.col("estimand").replace_strict(order, default=len(order)), "position", maintain_order=True
        )
        if tests["stat"].null_count():
            lost = tests.filter(pl.col("stat").is_null())["estimand"].to_list()
            raise AnalysisError(f"family {name}: no p-value for {', '.join(lost)}: nothing can be adjusted")
        p_values = adjusted_p(tests["stat"].to_numpy().astype(np.float64), family.method)
        written.append(
            tests.with_columns(
                pl.Series("stat", p_values),
                pl.lit("p.value.adjusted").alias("stat_name"),
                pl.lit(LABELS["p.value.adjusted"]).alias("stat_label"),
                pl.lit(f"{family.method} over {tests.height} test(s) of family {name}").alias("method"),
                pl.lit(value=False).alias("is_confirmatory"),
            )
        )
    return written


def _long(endpoint: pl.DataFrame, parameters: ClinicalStatisticsParameters) -> pl.DataFrame:
    """Write the wide table of the primary endpoint as analysis results data."""
    declared = {estimand.id: estimand for estimand in parameters.estimands}
    rows: list[dict[str, Any]] = []
    for wide in endpoint.iter_rows(named=True):
        for column, stat_name in _WIDE.items():
            if wide[column] is None and column != "estimate":
                continue
            if column == "estimate" and wide["estimate"] is None and wide["kind"] == "test":
                continue
            rows.append(_long_row(wide, column, stat_name, declared) | {"position": len(rows) + 1})
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _long_row(
    wide: Mapping[str, Any], column: str, stat_name: str, declared: Mapping[str, Estimand]
) -> dict[str, Any]:
    is_confirmatory = bool(wide["is_primary"]) and column == "p_value"
    estimand = declared.get(wide["estimand"])
    dimensionless = column in {"ci_level", "test_statistic", "df", "p_value", "n"}
    return {
        "analysis": "primary_endpoint",
        "estimand": wide["estimand"],
        "population": wide["population"],
        "family": estimand.family if estimand and is_confirmatory else None,
        "group1": (estimand.treatment if estimand else "trt01a").upper(),
        "group1_level": wide["arm"],
        "group2": "PARAMCD",
        "group2_level": wide["paramcd"],
        "group3": "AVISIT",
        "group3_level": wide["avisit"],
        "variable": wide["variable"],
        "variable_label": wide["param"],
        "context": wide["statistic"],
        "stat_name": stat_name,
        "stat_label": wide["statistic_label"] if column == "estimate" else LABELS[stat_name],
        "stat": None if wide[column] is None else float(wide[column]),
        "unit": None if dimensionless else wide["unit"],
        "method": wide["method"],
        "is_confirmatory": is_confirmatory,
        "warning": wide["warning"],
    }


ANALYSIS = Analysis(
    name="clinical_statistics",
    function=clinical_statistics,
    reads=(),
    uses=tuple(f"results.{name}" for name in GATHERED),
    parameters=ClinicalStatisticsParameters,
)
