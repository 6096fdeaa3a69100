"""From which category to which: a score at baseline against the same score at a visit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import TOTAL, statistics, table
from tasks.clinical.population import Population, population_of
from tasks.clinical.scores import (
    baselines,
    join_warnings,
    left_out,
    records_at_visit,
    score_address,
    values_of_test,
)
from tasks.stats.marginal_homogeneity import ordinal_marginal_homogeneity, stuart_maxwell
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.clinical.ard import Address
    from tasks.stats.types import HypothesisTest

# More categories than this are no table.
MOST_CATEGORIES = 12
# The chi-square approximation needs this many participants who moved.
FEW_MOVED = 20
MISSING = "Missing"


class ScoreShiftsParameters(Parameters):
    """`levels` are the categories of a score by PARAMCD, in order; without, those that occur.

    `decides` is for ordinal estimands of a family within one arm: the exact ordinal test is then theirs.
    """

    estimands: tuple[Estimand, ...] = Field(min_length=1)
    levels: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    decides: bool = False
    exact_up_to: int = Field(default=200, ge=1, description="participants for the exact ordinal test")

    @field_validator("levels")
    @classmethod
    def _are_in_order(cls, levels: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        for score, values in levels.items():
            if len(values) < 2 or list(values) != sorted(set(values)):  # noqa: PLR2004 - one is no scale
                raise ValueError(f"{score}: {list(values)}: two or more, each once, from low to high")
        return levels


def score_shifts(
    adsl: pl.DataFrame, adqs: pl.DataFrame, *, parameters: ScoreShiftsParameters
) -> pl.DataFrame:
    """Cross an ordinal score before and after within each arm, and test whether its distribution moved.

    The grades of a global assessment have no unit, so their mean change says little; which grade became
    which says it all. The ordinal test asks whether the mean grade moved and is exact where few
    participants are, by all ways in which their changes could have had the other sign; Stuart-Maxwell asks
    whether any share moved and leans on a large sample. Within an arm this is no comparison with a control.
    """
    rows: list[dict[str, Any]] = []
    for estimand in parameters.estimands:
        population = population_of(adsl, estimand)
        records = records_at_visit(adqs, population)
        shifts = _shifts(adqs, records, population)
        levels = _levels(shifts, estimand, parameters)
        rows += population.rows()
        for column in population.columns:
            own = shifts if column == TOTAL else shifts.filter(pl.col("arm") == column)
            address = score_address(population, column, "aval", records).at(unit=None)
            rows += _shift_rows(own, levels, address.at(variable="SHIFT1"))
            rows += _direction_rows(own, address.at(variable="CHG", variable_label="Change"))
            rows += _test_rows(own, levels, address, population, parameters)
    return table("score_shifts", rows)


ANALYSIS = Analysis(
    name="score_shifts",
    function=score_shifts,
    reads=("adam.adsl", "adam.adqs"),
    parameters=ScoreShiftsParameters,
)


def _shifts(adqs: pl.DataFrame, records: pl.DataFrame, population: Population) -> pl.DataFrame:
    """Return base and aval, null where missing, of everyone in the population."""
    before = baselines(adqs, population)
    if before.is_empty():
        estimand = population.estimand
        raise AnalysisError(f"estimand {estimand.id}: {estimand.score} has no baseline to shift from")
    return (
        population.subjects.select("usubjid", "arm")
        .join(before.select("usubjid", "base"), on="usubjid", how="left")
        .join(records.select("usubjid", "aval"), on="usubjid", how="left")
        .with_columns(pl.col("base", "aval").cast(pl.Float64))
    )


def _levels(shifts: pl.DataFrame, estimand: Estimand, parameters: ScoreShiftsParameters) -> tuple[float, ...]:
    seen = sorted(set(shifts["base"].drop_nulls()) | set(shifts["aval"].drop_nulls()))
    levels = parameters.levels.get(estimand.score or "", tuple(seen))
    if unknown := set(seen) - set(levels):
        raise AnalysisError(
            f"estimand {estimand.id}: {estimand.score} {min(unknown):g}: levels are"
            f" {', '.join(f'{level:g}' for level in levels)}"
        )
    if len(levels) > MOST_CATEGORIES:
        raise AnalysisError(
            f"estimand {estimand.id}: {estimand.score} has {len(levels)} values: a shift table takes at most"
            f" {MOST_CATEGORIES} categories"
        )
    return levels


def _name(value: float | None) -> str:
    return MISSING if value is None else f"{value:g}"


def _shift_rows(own: pl.DataFrame, levels: tuple[float, ...], address: Address) -> Iterator[dict[str, Any]]:
    counts = {(base, aval): count for base, aval, count in own.group_by("base", "aval").len().iter_rows()}
    for base in (*levels, None):
        for aval in (*levels, None):
            count = counts.get((base, aval), 0)
            if count == 0 and None in (base, aval):
                continue
            yield from _share(
                address.at(variable_level=f"{_name(base)} to {_name(aval)}"), "shift", count, own
            )


def _direction_rows(own: pl.DataFrame, address: Address) -> Iterator[dict[str, Any]]:
    change = (own["aval"] - own["base"]).round(9)
    counts = {
        "lower": int((change < 0).sum()),
        "same": int((change == 0).sum()),
        "higher": int((change > 0).sum()),
        MISSING: change.null_count(),
    }
    for direction, count in counts.items():
        yield from _share(address.at(variable_level=direction), "direction", count, own)


def _share(address: Address, context: str, count: int, own: pl.DataFrame) -> Iterator[dict[str, Any]]:
    yield from statistics(
        address,
        context,
        {"n": count, "p": count / own.height if own.height else None},
        error=None if own.height else "nobody is in this arm",
    )


def _test_rows(
    own: pl.DataFrame,
    levels: tuple[float, ...],
    address: Address,
    population: Population,
    parameters: ScoreShiftsParameters,
) -> Iterator[dict[str, Any]]:
    known = own.drop_nulls(["base", "aval"])
    counts = np.zeros((len(levels), len(levels)), dtype=np.int64)
    place = {level: i for i, level in enumerate(levels)}
    for base, aval in known.select("base", "aval").iter_rows():
        counts[place[base], place[aval]] += 1
    moved = int(counts.sum() - np.trace(counts))
    is_exact = known.height <= parameters.exact_up_to
    warning = left_out(own, known["usubjid"].to_list(), "aval", ["base"])
    tests: dict[str, Callable[[], HypothesisTest]] = {
        "ordinal_marginal_homogeneity": lambda: ordinal_marginal_homogeneity(
            counts, scores=np.array(levels), method="exact" if is_exact else "asymptotic"
        ),
        "stuart_maxwell": lambda: stuart_maxwell(counts),
    }
    for context, compute in tests.items():
        decides = (
            parameters.decides
            and context == "ordinal_marginal_homogeneity"
            and len(population.arms) == 1
            and population.estimand.family is not None
        )
        try:
            test = compute()
        except ValueError as error:
            # Nobody who could have moved did: every other outcome would be at least as extreme.
            certain = 1.0 if known.height and context == "ordinal_marginal_homogeneity" else None
            yield from statistics(
                address,
                context,
                {"statistic": None, "p.value": certain},
                is_confirmatory=decides,
                method=f"{context.replace('_', ' ').capitalize()} test",
                error=f"not estimable: {error}",
            )
            continue
        few = f"chi-square approximation with {moved} who moved" if moved < FEW_MOVED else None
        yield from statistics(
            address,
            context,
            values_of_test(test),
            method=f"{test.method}, two-sided, scores {', '.join(f'{level:g}' for level in levels)}",
            is_confirmatory=decides,
            warning=join_warnings(None if test.is_exact else few, warning),
        )
