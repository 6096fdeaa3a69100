"""Arms compared by the order of a score's categories, without a model of its mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import polars as pl

from tasks.clinical.ard import TOTAL, statistics
from tasks.clinical.scores import left_out, score_address, values_of_test
from tasks.stats.cochran_mantel_haenszel import (
    StratifiedTest,
    cmh_general_association,
    cmh_row_mean_scores,
    stratified_tables,
)
from tasks.stats.rank_sum import rank_sum_asymptotic, rank_sum_exact
from warehouse.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasks.clinical.population import Population
    from tasks.stats.types import HypothesisTest

OrdinalTest: TypeAlias = Literal["cmh_row_mean_scores", "cmh_general_association", "rank_sum", "van_elteren"]
# More values than this are no categories that a table shows.
MOST_CATEGORIES = 20
# The exact distribution of the rank sum is the convention below this size of the larger arm.
EXACT_BELOW = 50


def ordinal_rows(
    records: pl.DataFrame,
    population: Population,
    tests: Sequence[OrdinalTest],
    stratum: str | None,
    *,
    decides: str,
) -> Iterator[dict[str, Any]]:
    """Count the categories of a score and test whether the arms are alike in them.

    The stratified tests compare all arms at once, and then each with the reference, within strata.
    """
    if not tests:
        return
    variable = population.estimand.variable
    frame = _with_stratum(records, population, stratum).drop_nulls([variable, "stratum"])
    warning = left_out(
        population.subjects, frame["usubjid"].to_list(), variable, [stratum] if stratum else []
    )
    if frame[variable].n_unique() <= MOST_CATEGORIES:
        yield from _categories(records, population, variable)
    for test in tests:
        groups: list[tuple[str | None, str | None]] = []
        if test != "rank_sum" and len(population.arms) > len(population.compared[:1]) + 1:
            groups.append((None, None))
        groups += [(arm, population.reference) for arm in population.compared]
        for arm, reference in groups:
            arms = population.arms if arm is None else (reference, arm)
            address = score_address(population, arm, variable, records, group1_reference=reference)
            is_overall = len(groups) == 1 or arm is None or test == "rank_sum"
            part = frame.filter(pl.col("arm").is_in(list(arms)))
            yield from statistics(
                address,
                test,
                **_tested(test, part, variable, arm=arm, stratum=stratum, warning=warning),
                labels={"n_strata": "Strata", "n_strata_used": "Strata that inform the test"},
                is_confirmatory=is_overall and decides == test and population.estimand.family is not None,
            )


def _with_stratum(records: pl.DataFrame, population: Population, stratum: str | None) -> pl.DataFrame:
    if stratum is None:
        return records.with_columns(pl.lit("all").alias("stratum"))
    if stratum not in population.subjects.columns:
        known = ", ".join(population.subjects.columns)
        raise AnalysisError(f"estimand {population.estimand.id}: stratum {stratum}: adam.adsl has {known}")
    strata = population.subjects.select("usubjid", pl.col(stratum).cast(pl.String).alias("stratum"))
    return records.join(strata, on="usubjid", how="left")


def _categories(records: pl.DataFrame, population: Population, variable: str) -> Iterator[dict[str, Any]]:
    levels = records[variable].drop_nulls().unique().sort().to_list()
    for column in population.columns:
        own = records if column == TOTAL else records.filter(pl.col("arm") == column)
        n = population.n(column)
        address = score_address(population, column, variable, records)
        counts = {f"{level:g}": int((own[variable] == level).sum()) for level in levels}
        counts["Missing"] = n - sum(counts.values())
        for level, count in counts.items():
            yield from statistics(
                address.at(variable_level=level),
                "categorical",
                {"n": count, "p": count / n if n else None},
                error=None if n else "nobody is in this arm",
            )


def _tested(
    test: OrdinalTest,
    frame: pl.DataFrame,
    variable: str,
    *,
    arm: str | None,
    stratum: str | None,
    warning: str | None,
) -> dict[str, Any]:
    """Return values, method and warning of one test, or the error that stands for them."""
    try:
        if test == "rank_sum":
            found, values = _rank_sum(frame, variable, arm)
            return {"values": values, "method": found.method, "warning": warning}
        result = _stratified(test, frame, variable)
    except ValueError as error:
        failed = dict.fromkeys(("statistic", "p.value"))
        return {"values": failed, "error": f"not estimable: {error}", "method": test.replace("_", " ")}
    within = f", within strata of {stratum.upper()}" if stratum else ", not stratified"
    values = values_of_test(result) | {"n_strata": result.n_strata, "n_strata_used": result.n_strata_used}
    name = "Van Elteren test: " if test == "van_elteren" else ""
    return {"values": values, "method": f"{name}{result.method}{within}", "warning": warning}


def _stratified(test: OrdinalTest, frame: pl.DataFrame, variable: str) -> StratifiedTest:
    levels = frame[variable].unique().sort().to_list()
    tables = stratified_tables(
        frame["arm"].to_list(),
        [f"{value:g}" for value in frame[variable]],
        frame["stratum"].to_list(),
        column_levels=[f"{level:g}" for level in levels],
    ).tables
    if test == "cmh_general_association":
        return cmh_general_association(tables)
    # The categories' own numbers are the scores, so that a category that nobody chose still counts a step.
    scores = "modridit" if test == "van_elteren" else np.array(levels)
    return cmh_row_mean_scores(tables, column_scores=scores)


def _rank_sum(frame: pl.DataFrame, variable: str, arm: str | None) -> tuple[HypothesisTest, dict[str, float]]:
    first = frame.filter(pl.col("arm") == arm)[variable].to_numpy().astype(np.float64)
    second = frame.filter(pl.col("arm") != arm)[variable].to_numpy().astype(np.float64)
    small = max(first.size, second.size) < EXACT_BELOW
    test = rank_sum_exact(first, second) if small else rank_sum_asymptotic(first, second, continuity=True)
    return test, values_of_test(test)
