"""Every number of participants that a table states, held against the participant flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import TOTAL
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA: dict[str, type[pl.DataType]] = {
    "rule": pl.String,
    "analysis": pl.String,
    "estimand": pl.String,
    "arm": pl.String,
    "subject": pl.String,
    "n_stated": pl.Int64,
    "n_expected": pl.Int64,
    "is_reconciled": pl.Boolean,
}

# What a row of values is told apart by, within one analysis, estimand and arm.
_CELL = ("group2", "group2_level", "group3", "group3_level", "variable", "context")
_ARM = ("analysis", "estimand", "group1_level")


class ParticipantCountsParameters(Parameters):
    """What the study declares of its estimands."""

    estimands: tuple[Estimand, ...] = ()


def participant_counts(
    adsl: pl.DataFrame,
    statistics: pl.DataFrame,
    demographics: pl.DataFrame | None,
    *,
    parameters: ParticipantCountsParameters,
) -> pl.DataFrame:
    """Recount, apart from the analyses, who is in each set and arm, and compare with what they state.

    Four rules: a stated population equals the set counted anew; arms add up to the total; values and
    missing values add up to the population; nobody is counted who is not in it. And the flow itself adds
    up: screened is enrolled and not enrolled. The suite stops the stage at the first number that differs.
    """
    declared = {estimand.id: estimand for estimand in parameters.estimands}
    stated = statistics.filter(pl.col("context") == "population", pl.col("stat_name") == "N")
    frames = [
        pl.DataFrame(list(_populations(adsl, stated, declared)), schema=SCHEMA, orient="row"),
        _totals(stated),
        _values(statistics, stated),
        _members(statistics, stated),
        pl.DataFrame(list(_flow(adsl, demographics)), schema=SCHEMA, orient="row"),
    ]
    return pl.concat(frames).with_columns(
        pl.col("n_stated").eq_missing(pl.col("n_expected")).alias("is_reconciled")
    )


def _populations(
    adsl: pl.DataFrame, stated: pl.DataFrame, declared: dict[str, Estimand]
) -> Iterator[dict[str, object]]:
    for row in stated.iter_rows(named=True):
        estimand = declared.get(row["estimand"])
        if estimand is None:
            raise AnalysisError(f"{row['analysis']}: estimand {row['estimand']}: not declared in study.toml")
        keep = pl.col(estimand.population) == "Y"
        for name, values in estimand.subgroup.items():
            keep &= pl.col(name).cast(pl.String).is_in(list(values))
        if row["group1_level"] not in (None, TOTAL):
            keep &= pl.col(estimand.treatment) == row["group1_level"]
        elif estimand.arms:
            keep &= pl.col(estimand.treatment).is_in(list(estimand.arms))
        else:
            keep &= pl.col(estimand.treatment).is_not_null()
        yield {
            "rule": "a population is its set counted anew",
            "analysis": row["analysis"],
            "estimand": estimand.id,
            "arm": row["group1_level"],
            "subject": estimand.population,
            "n_stated": round(row["stat"]),
            "n_expected": adsl.filter(keep)["usubjid"].n_unique(),
        }


def _totals(stated: pl.DataFrame) -> pl.DataFrame:
    """Compare each total with the sum of its arms."""
    is_total = pl.col("group1_level") == TOTAL
    return _shaped(
        stated.group_by("analysis", "estimand", maintain_order=True)
        .agg(
            pl.col("stat").filter(is_total).sum().alias("n_stated"),
            pl.col("stat").filter(is_total.not_()).sum().alias("n_expected"),
            is_total.any().alias("has_total"),
        )
        .filter("has_total"),
        "arms add up to the total",
        arm=pl.lit(TOTAL),
        subject=pl.lit("population"),
    )


def _values(statistics: pl.DataFrame, stated: pl.DataFrame) -> pl.DataFrame:
    """Compare values plus missing values with the population, wherever both are stated."""
    wide = (
        statistics.filter(
            pl.col("stat_name").is_in(["N_obs", "N_miss"]), pl.col("group1_reference").is_null()
        )
        .group_by(*_ARM, *_CELL, "variable_level", maintain_order=True)
        .agg(pl.col("stat").sum().alias("n_stated"), pl.len().alias("parts"))
        .filter(pl.col("parts") == 2)  # noqa: PLR2004 - both were stated
    )
    return _against_population(wide, stated, "values and missing values add up to the population")


def _members(statistics: pl.DataFrame, stated: pl.DataFrame) -> pl.DataFrame:
    """Compare the largest count of each kind with the population that bounds it."""
    counted = (
        statistics.filter(pl.col("stat_name") == "n", pl.col("group1_reference").is_null())
        .group_by(*_ARM, *_CELL, maintain_order=True)
        .agg(pl.col("stat").max().alias("most"))
    )
    joined = _with_population(counted, stated).with_columns(
        # Reconciled unless more are counted than there are.
        pl.max_horizontal("most", "n_expected").alias("n_stated")
    )
    return _shaped(
        joined, "nobody is counted who is not in the population", pl.col("group1_level"), _subject()
    )


def _against_population(cells: pl.DataFrame, stated: pl.DataFrame, rule: str) -> pl.DataFrame:
    return _shaped(_with_population(cells, stated), rule, pl.col("group1_level"), _subject())


def _with_population(cells: pl.DataFrame, stated: pl.DataFrame) -> pl.DataFrame:
    populations = stated.select(*_ARM, pl.col("stat").alias("n_expected"))
    return cells.join(populations, on=list(_ARM), how="inner", nulls_equal=True, maintain_order="left")


def _subject() -> pl.Expr:
    return pl.concat_str(
        "context", "variable", "group2_level", "group3_level", separator=", ", ignore_nulls=True
    )


def _shaped(frame: pl.DataFrame, rule: str, arm: pl.Expr, subject: pl.Expr) -> pl.DataFrame:
    return frame.select(
        pl.lit(rule).alias("rule"),
        "analysis",
        "estimand",
        arm.alias("arm"),
        subject.alias("subject"),
        pl.col("n_stated").cast(pl.Int64),
        pl.col("n_expected").cast(pl.Int64),
        pl.lit(None, dtype=pl.Boolean).alias("is_reconciled"),
    ).cast(SCHEMA)  # type: ignore[arg-type]


def _flow(adsl: pl.DataFrame, demographics: pl.DataFrame | None) -> Iterator[dict[str, object]]:
    """Hold the flow against itself: each stage is what the next one and those lost on the way make up."""
    common = {"analysis": "participant_flow", "estimand": None, "arm": None}
    ended = adsl["eosstt"].is_in(["COMPLETED", "DISCONTINUED", "ONGOING"]).sum()
    yield {
        **common,
        "rule": "every enrolled participant completed, discontinued or is in the study",
        "subject": "eosstt",
        "n_stated": int(ended),
        "n_expected": adsl["usubjid"].n_unique(),
    }
    if demographics is None:
        return
    lost = demographics.join(adsl.select("usubjid"), on="usubjid", how="anti")
    screened = demographics["usubjid"].n_unique()
    yield {
        **common,
        "rule": "screened is enrolled and not enrolled",
        "subject": "usubjid",
        "n_stated": adsl["usubjid"].n_unique() + lost["usubjid"].n_unique(),
        "n_expected": screened,
    }


ANALYSIS = Analysis(
    name="participant_counts",
    function=participant_counts,
    reads=("adam.adsl", "results.clinical_statistics"),
    uses=("sdtm.dm",),
    parameters=ParticipantCountsParameters,
)
