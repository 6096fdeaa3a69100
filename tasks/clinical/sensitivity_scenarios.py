"""One record per participant at the visit, completed or narrowed in the ways that a reader would try."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from tasks.clinical.population import Population, chosen_records
from tasks.clinical.scores import baselines, named, visit_of
from warehouse.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = ("usubjid", "arm", "avisit", "base", "aval", "chg", "pchg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """The records of a scenario, or the reason why there are none; `subjects` are those it is narrowed to."""

    id: str
    label: str
    rule: str
    records: pl.DataFrame | None = None
    subjects: pl.DataFrame | None = None
    error: str | None = None
    warning: str | None = None


def scenarios(adqs: pl.DataFrame, population: Population, rescue: str) -> Iterator[Scenario]:
    """Yield the estimand's own records first, then those with other rules for what is missing or excluded."""
    own = _records(adqs, population)
    imputation = population.estimand.imputation
    yield Scenario(
        id="primary",
        label="As the estimand says",
        rule="observed cases" if imputation == "observed" else f"{imputation} where missing",
        records=own,
    )
    observed = _records(adqs, _with_imputation(population, "observed"))
    yield Scenario(id="complete_cases", label="Complete cases", rule="observed cases", records=observed)
    yield _carried_forward(adqs, population, observed)
    yield _baseline_carried_forward(adqs, population, observed)
    yield _per_protocol(own, population)
    yield _without_rescue(own, population, rescue)


def _with_imputation(population: Population, imputation: str) -> Population:
    estimand = population.estimand.model_copy(update={"imputation": imputation})
    return Population(estimand, population.subjects, population.arms)


def _records(adqs: pl.DataFrame, population: Population) -> pl.DataFrame:
    return chosen_records(adqs, population, visit=visit_of(population.estimand)).select(COLUMNS)


def _carried_forward(adqs: pl.DataFrame, population: Population, observed: pl.DataFrame) -> Scenario:
    own = Scenario(
        id="locf",
        label="Last observation carried forward (LOCF)",
        rule="the last value after baseline stands for a missing one",
    )
    carried = _records(adqs, _with_imputation(population, "LOCF"))
    is_known = (adqs.filter(pl.col("paramcd") == population.estimand.score)["dtype"] == "LOCF").any()
    if not is_known and observed.height < population.subjects.height:
        return replace(own, error="adam.adqs has no LOCF records of this score")
    return replace(own, records=carried)


def _baseline_carried_forward(adqs: pl.DataFrame, population: Population, observed: pl.DataFrame) -> Scenario:
    missing = baselines(adqs, population).join(observed, on="usubjid", how="anti")
    imputed = missing.with_columns(
        pl.lit(population.estimand.visit).alias("avisit"),
        pl.col("base").alias("aval"),
        pl.lit(0.0).alias("chg"),
        pl.when(pl.col("base") != 0).then(0.0).alias("pchg"),
    ).select(COLUMNS)
    return Scenario(
        id="bocf",
        label="Baseline carried forward (BOCF)",
        rule="no change where the value is missing",
        records=pl.concat([observed, imputed], how="vertical_relaxed").sort("usubjid"),
        warning=f"{missing.height} imputed: {named(missing['usubjid'].to_list())}"
        if missing.height
        else None,
    )


def _per_protocol(own: pl.DataFrame, population: Population) -> Scenario:
    empty = Scenario(
        id="per_protocol",
        label="Per-protocol set",
        rule="completed, and no major deviation (PPROTFL)",
    )
    if "pprotfl" not in population.subjects.columns:
        return replace(empty, error="adam.adsl has no pprotfl")
    kept = population.subjects.filter(pl.col("pprotfl") == "Y")
    return _narrowed(own, kept, empty, "nobody is in the per-protocol set")


def _without_rescue(own: pl.DataFrame, population: Population, rescue: str) -> Scenario:
    empty = Scenario(
        id="without_rescue",
        label="Without those who took rescue medication",
        rule=f"{rescue.upper()} is not Y",
    )
    if rescue not in population.subjects.columns:
        return replace(
            empty, error=f"adam.adsl has no {rescue}: rescue medication is not recorded by participant"
        )
    kept = population.subjects.filter(pl.col(rescue).ne_missing("Y"))
    return _narrowed(own, kept, empty, "everybody took rescue medication")


def _narrowed(own: pl.DataFrame, kept: pl.DataFrame, empty: Scenario, nobody: str) -> Scenario:
    records = own.join(kept.select("usubjid"), on="usubjid", how="semi")
    if records.is_empty():
        return replace(empty, error=nobody)
    return replace(empty, records=records, subjects=kept)


def log_ratio(own: pl.DataFrame, population: Population) -> Scenario:
    """Add `logratio` and `logbase`; where a score is zero, half its smallest positive value is added to all.

    Raises
    ------
    AnalysisError
        If nobody has both values.
    """
    empty = Scenario(id="log_ratio", label="Logarithm of the ratio to baseline", rule="log(AVAL / BASE)")
    pairs = own.drop_nulls(["base", "aval"])
    if pairs.is_empty():
        raise AnalysisError(f"estimand {population.estimand.id}: nobody has both baseline and value")
    values = pl.concat([pairs["base"].cast(pl.Float64), pairs["aval"].cast(pl.Float64)])
    if (values < 0).any():
        return replace(empty, error="the score takes values below zero: no ratio is defined")
    positive = values.filter(values > 0)
    if positive.is_empty():
        return replace(empty, error="the score is zero throughout: no ratio is defined")
    offset = 0.0 if positive.len() == values.len() else float(positive.min()) / 2  # type: ignore[arg-type]
    rule = empty.rule
    if offset:
        added = f"{offset:g} (half the smallest positive value) added for zeros"
        rule = f"log((AVAL + {offset:g}) / (BASE + {offset:g})), {added}"
    return replace(
        empty,
        rule=rule,
        records=pairs.with_columns(
            ((pl.col("aval") + offset).log() - (pl.col("base") + offset).log()).alias("logratio"),
            (pl.col("base") + offset).log().alias("logbase"),
        ),
    )
