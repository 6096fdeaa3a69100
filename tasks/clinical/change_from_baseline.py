"""The change of several scores from baseline to a visit within each arm, one test deciding about each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import TOTAL, statistics, table
from tasks.clinical.population import population_of
from tasks.clinical.scores import (
    description,
    interval_values,
    join_warnings,
    left_out,
    records_at_visit,
    score_address,
)
from tasks.stats.hodges_lehmann import hodges_lehmann
from tasks.stats.location import paired_t
from tasks.stats.signed_rank import signed_rank_exact
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.clinical.ard import Address
    from tasks.clinical.population import Population
    from tasks.stats.types import FloatArray, PairedTest

Decision = Literal["signed_rank_exact", "paired_t"]


class ChangeFromBaselineParameters(Parameters):
    """`decides` is the test of every estimand that belongs to a family."""

    estimands: tuple[Estimand, ...] = Field(min_length=1)
    decides: Decision = "signed_rank_exact"
    zero_rule: Literal["wilcox", "pratt"] = "wilcox"
    confidence_level: float = Field(default=0.95, gt=0, lt=1)


def change_from_baseline(
    adsl: pl.DataFrame, adqs: pl.DataFrame, *, parameters: ChangeFromBaselineParameters
) -> pl.DataFrame:
    """Describe, estimate and test the change of each estimand's score within each arm.

    This is what a single-arm trial has for its secondary scores, and what a comparison of arms describes
    beside itself; it is no comparison with a control. The exact signed-rank test decides by default, for n
    is small; an estimand decides only where there is one arm, since a family of arms would be another
    question.
    """
    rows: list[dict[str, Any]] = []
    for estimand in parameters.estimands:
        if estimand.variable == "aval":
            raise AnalysisError(f"estimand {estimand.id}: variable aval: a change is chg or pchg")
        population = population_of(adsl, estimand)
        records = records_at_visit(adqs, population)
        rows += population.rows()
        for variable in ("base", "aval", "chg", "pchg"):
            rows += description(population, records, variable)
        for arm in population.arms:
            rows += _arm_rows(population, arm, records.filter(pl.col("arm") == arm), parameters)
    return table("change_from_baseline", rows)


def _arm_rows(
    population: Population, arm: str, records: pl.DataFrame, parameters: ChangeFromBaselineParameters
) -> Iterator[dict[str, Any]]:
    estimand = population.estimand
    known = records.drop_nulls(estimand.variable)
    change = known[estimand.variable].to_numpy().astype(np.float64)
    address = score_address(population, arm, estimand.variable, records)
    subjects = population.members(arm if len(population.arms) > 1 else TOTAL)
    missing = left_out(subjects, known["usubjid"].to_list(), estimand.variable)
    level, is_alone = parameters.confidence_level, len(population.arms) == 1

    def test_rows(name: Decision, compute: Callable[[], PairedTest]) -> Iterator[dict[str, Any]]:
        yield from _test_rows(
            name, compute, address, is_confirmatory=is_alone and parameters.decides == name, warning=missing
        )

    yield from _estimate_rows(change, address, level, missing)
    yield from test_rows("signed_rank_exact", lambda: signed_rank_exact(change, zeros=parameters.zero_rule))
    yield from test_rows("paired_t", lambda: paired_t(change, level=level))


def _estimate_rows(
    change: FloatArray, address: Address, level: float, warning: str | None
) -> Iterator[dict[str, Any]]:
    try:
        mean = paired_t(change, level=level)
        shift = hodges_lehmann(change, level=level)
    except ValueError as error:
        yield from statistics(
            address, "mean_change", {"estimate": None}, warning=warning, error=f"not estimable: {error}"
        )
        return
    yield from statistics(
        address,
        "mean_change",
        {
            "estimate": mean.estimate,
            "std.error": mean.standard_error,
            "df": float(mean.df),
            **interval_values(mean.interval),
        },
        method="mean of the changes, Student t interval",
        warning=warning,
    )
    yield from statistics(
        address,
        "hodges_lehmann",
        {"estimate": shift.estimate, **interval_values(shift.interval)},
        method=f"median of the Walsh averages; {shift.interval.method}",
        warning=warning,
    )


def _test_rows(
    name: str,
    compute: Callable[[], PairedTest],
    address: Address,
    *,
    is_confirmatory: bool,
    warning: str | None,
) -> Iterator[dict[str, Any]]:
    try:
        test = compute()
    except ValueError as error:
        yield from statistics(
            address.at(unit=None),
            name,
            {"p.value": None},
            is_confirmatory=is_confirmatory,
            warning=warning,
            error=f"not estimable: {error}",
        )
        return
    yield from statistics(
        address.at(unit=None),
        name,
        {"statistic": test.statistic, "p.value": test.p_value},
        method=f"{test.method}, {test.alternative}; zeros: {test.zero_rule}; ties: {test.tie_rule}",
        is_confirmatory=is_confirmatory,
        warning=join_warnings(warning, "no change at all" if test.n_used == 0 else None),
    )


ANALYSIS = Analysis(
    name="change_from_baseline",
    function=change_from_baseline,
    reads=("adam.adsl", "adam.adqs"),
    parameters=ChangeFromBaselineParameters,
)
