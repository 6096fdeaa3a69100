"""Laboratory values as categories: which value of a period is the worst, and where it moved from baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import polars as pl

from tasks.clinical.ard import statistics
from tasks.clinical.proportions import (
    ProportionOptions,
    counted,
    independence_rows,
    proportion_rows,
    sizes,
)
from tasks.clinical.summaries import END_OF_TREATMENT
from tasks.stats.cochran_mantel_haenszel import cmh_general_association, cmh_row_mean_scores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tasks.clinical.ard import Address
    from tasks.clinical.population import Population
    from tasks.clinical.proportions import Counts

Worst: TypeAlias = Literal["beyond_limit", "from_opposite_limit", "flagged"]
# From low to high, which is the order of their scores in a test of a shift.
CATEGORIES = ("LOW", "NORMAL", "ABNORMAL", "HIGH")
WORST_IN_WORDS = {
    "beyond_limit": "worst on treatment: farthest beyond a limit, the first of equals",
    "from_opposite_limit": "worst on treatment: farthest from the opposite limit, the first of equals",
    "flagged": "worst on treatment: the record with ANL01FL",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where values count as low and high: multiples of the limits of the reference range."""

    low: float
    high: float

    @property
    def is_reference_range(self) -> bool:
        return self.low == self.high == 1

    def category(self) -> pl.Expr:
        """Return LOW, NORMAL or HIGH by these limits; the laboratory's word where it gave no range."""
        low, high = self.low * pl.col("anrlo"), self.high * pl.col("anrhi")
        computed = (
            pl.when(pl.col("aval") < low)
            .then(pl.lit("LOW"))
            .when(pl.col("aval") > high)
            .then(pl.lit("HIGH"))
            .when(pl.col("aval").is_not_null() & (low.is_not_null() | high.is_not_null()))
            .then(pl.lit("NORMAL"))
        )
        given = pl.col("anrind").cast(pl.String).str.to_uppercase()
        return pl.coalesce(given, computed) if self.is_reference_range else pl.coalesce(computed, given)


def on_treatment(records: pl.DataFrame, visits: Sequence[str] | None) -> pl.DataFrame:
    """Return the observed records of the treatment period: of the visits named, else by ONTRTFL."""
    own = records.filter(pl.col("dtype").is_null(), pl.col("avisit").fill_null("") != END_OF_TREATMENT)
    if visits is not None:
        return own.filter(pl.col("avisit").is_in(list(visits)))
    return own.filter(pl.col("ontrtfl") == "Y")


def worst_of(records: pl.DataFrame, rule: Worst, limits: Limits) -> pl.DataFrame:
    """Choose one record of each participant and parameter: the worst by the rule."""
    return (
        records.with_columns(_badness(rule, limits).alias("badness"))
        .filter(pl.col("badness").is_not_null())
        .sort("badness", "adt", descending=[True, False], nulls_last=True, maintain_order=True)
        .unique(["usubjid", "paramcd"], keep="first", maintain_order=True)
        .drop("badness")
    )


def _badness(rule: Worst, limits: Limits) -> pl.Expr:
    if rule == "flagged":
        return pl.when(pl.col("anl01fl") == "Y").then(pl.lit(0.0))
    low, high = limits.low * pl.col("anrlo"), limits.high * pl.col("anrhi")
    if rule == "beyond_limit":
        distance = pl.max_horizontal(pl.col("aval") - high, low - pl.col("aval"))
    else:
        # No result is below zero, so a range without a lower limit begins there.
        floor = pl.when(high.is_not_null()).then(low.fill_null(0)).otherwise(low)
        distance = pl.max_horizontal(high - pl.col("aval"), pl.col("aval") - floor)
    # A result in words has no distance: abnormal is worse than normal.
    is_abnormal = pl.col("anrind").is_in(["LOW", "HIGH", "ABNORMAL"])
    in_words = pl.when(is_abnormal).then(pl.lit(0.0)).when(is_abnormal.not_()).then(pl.lit(-1.0))
    return pl.coalesce(distance, in_words)


def with_categories(records: pl.DataFrame, baseline: pl.DataFrame, limits: Limits) -> pl.DataFrame:
    """Add `category` by the limits, and `base_category` of the participant's baseline record."""
    own = (
        baseline.sort("adt", descending=True, nulls_last=True)
        .unique(["usubjid", "paramcd"], keep="first", maintain_order=True)
        .select("usubjid", "paramcd", limits.category().alias("base_category"))
    )
    return records.with_columns(limits.category().alias("category")).join(
        own, on=["usubjid", "paramcd"], how="left", maintain_order="left"
    )


def frequency_rows(
    population: Population, worst: pl.DataFrame, address: Address, *, method: str, options: ProportionOptions
) -> Iterator[dict[str, Any]]:
    """Count the categories of the worst values, and compare arms in all of them at once."""
    known = worst.filter(pl.col("category").is_not_null())
    counts = counted(population, known, ["category"])
    assessed = counted(population, known, []).get((), dict.fromkeys(population.columns, 0))
    yield from _assessed_rows(population, address, assessed, "worst_range", method)
    levels = [level for level in CATEGORIES if (level,) in counts]
    plain = ProportionOptions(interval=options.interval, level=options.level)
    for level in levels:
        yield from proportion_rows(
            population,
            address.at(variable_level=level),
            counts[(level,)],
            context="worst_range",
            options=plain,
            denominators=assessed,
            method=f"{method}; share of those with a value",
        )
    if options.comparison == "none" or population.reference is None:
        return
    cells = {arm: [counts[(level,)][arm] for level in levels] for arm in population.arms}
    if options.comparison in {"overall", "both"}:
        yield from independence_rows(address, list(cells.values()), options)
    if options.comparison in {"pairwise", "both"}:
        for arm in population.compared:
            at = address.at(group1_level=arm, group1_reference=population.reference)
            yield from independence_rows(at, [cells[arm], cells[population.reference]], options)


def _assessed_rows(
    population: Population, address: Address, assessed: Mapping[str, int], context: str, method: str
) -> Iterator[dict[str, Any]]:
    for column, total in sizes(population).items():
        values = {"N_obs": assessed[column], "N_miss": total - assessed[column]}
        yield from statistics(address.at(group1_level=column), context, values, method=method)


def shift_rows(
    population: Population,
    moved: pl.DataFrame,
    address: Address,
    *,
    context: str,
    method: str,
    levels: Sequence[str] = CATEGORIES,
    cmh: Literal["row_mean_scores", "general_association", "none"] = "none",
) -> Iterator[dict[str, Any]]:
    """Count moves from `base_category` to `category`, as shares of those who started from there.

    The test compares arms within baseline categories: by mean scores of the ordered categories, or by any
    association.
    """
    known = moved.filter(pl.col("category").is_not_null(), pl.col("base_category").is_not_null())
    if known.is_empty():
        return
    starts = counted(population, known, ["base_category"])
    moves = counted(population, known, ["base_category", "category"])
    order = {level: place for place, level in enumerate(levels)}
    for start, end in sorted(moves, key=lambda move: (order[move[0]], order[move[1]])):
        yield from _move_rows(
            population,
            address.at(variable_level=f"{start} to {end}"),
            moves[(start, end)],
            starts[(start,)],
            context,
            f"{method}; share of those {start} at baseline",
        )
    if cmh != "none" and len(population.arms) > 1:
        yield from _cmh_rows(population, moves, address, list(order), cmh)


def _move_rows(  # noqa: PLR0917 - the parts of one cell
    population: Population, address: Address, counts: Counts, starts: Counts, context: str, method: str
) -> Iterator[dict[str, Any]]:
    for column in population.columns:
        total = starts[column]
        if total:
            values = {"n": counts[column], "p": counts[column] / total}
            yield from statistics(address.at(group1_level=column), context, values, method=method)
        else:
            yield from statistics(address.at(group1_level=column), context, {"n": 0}, method=method)


def _cmh_rows(
    population: Population,
    moves: Mapping[tuple[str, str], Counts],
    address: Address,
    levels: list[str],
    kind: Literal["row_mean_scores", "general_association"],
) -> Iterator[dict[str, Any]]:
    tables = np.array(
        [
            [[moves.get((start, end), {}).get(arm, 0) for end in levels] for arm in population.arms]
            for start in levels
        ]
    )
    used = [place for place in range(len(levels)) if tables[:, :, place].any()]
    test = cmh_row_mean_scores if kind == "row_mean_scores" else cmh_general_association
    try:
        result = test(tables[:, :, used])
    except ValueError as error:
        yield from statistics(address, "cmh", {"p.value": None}, warning=f"not estimable: {error}")
        return
    values = {"statistic": result.statistic, "df": result.df, "p.value": result.p_value}
    strata = f"{result.n_strata_used} of {result.n_strata} baseline categories in use"
    yield from statistics(
        address, "cmh", values, method=f"{result.method}, by category at baseline; {strata}"
    )
