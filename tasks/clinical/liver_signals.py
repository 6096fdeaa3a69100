"""Signals of liver injury: transaminases and bilirubin as multiples of their upper limits (Hy's law)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, model_validator

from tasks.clinical.ard import statistics
from tasks.clinical.laboratory_shifts import shift_rows
from tasks.clinical.proportions import counted, proportion_rows, sizes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.clinical.population import Population
    from tasks.clinical.proportions import ProportionOptions

STATUS = ("NORMAL", "HIGH")


class LiverSignals(BaseModel):
    """Which parameters are transaminases and bilirubin, and the multiples of the upper limit that count.

    `together` are pairs of multiples, of a transaminase and of bilirubin on the same day.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    transaminases: tuple[str, ...] = ("ALT", "AST")
    bilirubin: str = "BILI"
    transaminase_multiples: tuple[float, ...] = (3, 5, 10)
    bilirubin_multiples: tuple[float, ...] = (1.5, 2)
    together: tuple[tuple[float, float], ...] = ((3, 2),)

    @model_validator(mode="after")
    def _are_multiples(self) -> Self:
        pairs = [multiple for pair in self.together for multiple in pair]
        for multiple in (*self.transaminase_multiples, *self.bilirubin_multiples, *pairs):
            if multiple <= 0:
                raise ValueError(f"multiples: {multiple:g}: must be above zero")
        return self


def liver_rows(
    population: Population,
    treated: pl.DataFrame,
    baseline: pl.DataFrame,
    signals: LiverSignals,
    options: ProportionOptions,
) -> Iterator[dict[str, Any]]:
    """Count participants beyond each multiple on treatment, and their shifts from baseline.

    Nothing is written where the study measures none of the parameters. Bilirubin counts together with a
    transaminase of the same participant and day only.
    """
    criteria = list(_criteria(signals))
    during = _days(treated, signals)
    before = _days(baseline, signals)
    for paramcd, level, met in criteria:
        needed = _needed(paramcd, signals)
        assessed = during.filter(*[pl.col(name).is_not_null() for name in needed])
        if assessed.is_empty():
            continue
        worst = assessed.group_by("usubjid", "arm", maintain_order=True).agg(met.any().alias("is_met"))
        started = (
            before.filter(*[pl.col(name).is_not_null() for name in needed])
            .group_by("usubjid")
            .agg(met.any().alias("was_met"))
        )
        yield from _criterion_rows(population, worst, (paramcd, level), options)
        moved = worst.join(started, on="usubjid", how="left", maintain_order="left").select(
            "usubjid",
            "arm",
            pl.when("is_met").then(pl.lit("HIGH")).otherwise(pl.lit("NORMAL")).alias("category"),
            pl.when("was_met")
            .then(pl.lit("HIGH"))
            .when(pl.col("was_met").not_())
            .then(pl.lit("NORMAL"))
            .alias("base_category"),
        )
        address = population.address(
            None, "SHIFT1", variable_label="Shift of the criterion from baseline",
            group2="PARAMCD", group2_level=paramcd, group3="CRIT1", group3_level=level,
        )  # fmt: skip
        yield from shift_rows(
            population,
            moved,
            address,
            context="hys_law_shift",
            method="any day on treatment",
            levels=STATUS,
            cmh="none" if options.comparison == "none" else "general_association",
        )


def _days(records: pl.DataFrame, signals: LiverSignals) -> pl.DataFrame:
    """Give each participant's days with multiples of the upper limit: `transaminase` is the larger one."""
    wanted = [*signals.transaminases, signals.bilirubin]
    kinds = dict.fromkeys(signals.transaminases, "transaminase") | {signals.bilirubin: "bilirubin"}
    ratio = (
        records.filter(pl.col("paramcd").is_in(wanted), pl.col("anrhi") > 0, pl.col("aval").is_not_null())
        .with_columns((pl.col("aval") / pl.col("anrhi")).alias("ratio"))
        .with_columns(pl.col("paramcd").replace_strict(kinds, default=None).alias("kind"))
    )
    value = pl.col("ratio")
    return ratio.group_by("usubjid", "arm", "adt", maintain_order=True).agg(
        value.filter(pl.col("kind") == "transaminase").max().alias("transaminase"),
        value.filter(pl.col("kind") == "bilirubin").max().alias("bilirubin"),
        *[value.filter(pl.col("paramcd") == code).max().alias(code) for code in signals.transaminases],
    )


def _criteria(signals: LiverSignals) -> Iterator[tuple[str, str, pl.Expr]]:
    """Name each criterion by parameter and level, with what meets it on a day."""
    either = " or ".join(signals.transaminases)
    for code in signals.transaminases:
        for multiple in signals.transaminase_multiples:
            yield code, f"> {multiple:g} x ULN", pl.col(code) > multiple
    for multiple in signals.transaminase_multiples:
        yield either, f"> {multiple:g} x ULN", pl.col("transaminase") > multiple
    for multiple in signals.bilirubin_multiples:
        yield signals.bilirubin, f"> {multiple:g} x ULN", pl.col("bilirubin") > multiple
    for transaminase, bilirubin in signals.together:
        yield (
            f"{either}, with {signals.bilirubin}",
            f"> {transaminase:g} x ULN with > {bilirubin:g} x ULN",
            (pl.col("transaminase") > transaminase) & (pl.col("bilirubin") > bilirubin),
        )


def _needed(paramcd: str, signals: LiverSignals) -> tuple[str, ...]:
    """Return what must have been measured on a day for it to tell about a criterion."""
    if paramcd in signals.transaminases:
        return (paramcd,)
    if paramcd == signals.bilirubin:
        return ("bilirubin",)
    return ("transaminase", "bilirubin") if " with " in paramcd else ("transaminase",)


def _criterion_rows(
    population: Population, worst: pl.DataFrame, criterion: tuple[str, str], options: ProportionOptions
) -> Iterator[dict[str, Any]]:
    paramcd, level = criterion
    address = population.address(
        None, "CRIT1FL", variable_label="Criterion met on treatment", variable_level="Y",
        group2="PARAMCD", group2_level=paramcd, group3="CRIT1", group3_level=level,
    )  # fmt: skip
    nobody = dict.fromkeys(population.columns, 0)
    assessed = counted(population, worst, []).get((), nobody)
    for column, total in sizes(population).items():
        values = {"N_obs": assessed[column], "N_miss": total - assessed[column]}
        yield from statistics(address.at(group1_level=column), "hys_law", values)
    yield from proportion_rows(
        population,
        address,
        counted(population, worst.filter("is_met"), []).get((), nobody),
        context="hys_law",
        options=options,
        denominators=assessed,
        method="share of those with a value on treatment",
    )
