"""Sensitivity: the primary result under every assumption that a reader could doubt, in one forest plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from tasks.report.forest import Effect, forest
from tasks.report.section import About, Frames, Section
from tasks.report.statistics_cells import Cell, cells, estimand_titles
from tasks.report.tables import Column, folded, numeric, prose, table
from tasks.report.wording import (
    ABSENT,
    capitalised,
    escape,
    integer,
    interval,
    number,
    p_value,
)

SCENARIOS = "reports.sensitivity_scenarios"
RESULT = "results.primary_endpoint_sensitivity"
# One more participant out, or one more point of delta: summed up in a sentence instead of drawn.
_SUMMED_UP = ("without ", "delta=")
_EFFECTS = ("CHG", "PCHG", "AVAL")
# Where a scenario has two tests of the same values, the mean is drawn.
_RANKS = "signed_rank_exact"
_TESTS = {
    "paired_t": "paired t-test",
    _RANKS: "exact signed-rank test",
    "ancova": "analysis of covariance",
}

Row = Mapping[str, Any]


def write(frames: Frames, about: About) -> str:
    scenarios = frames[SCENARIOS].sort("position")
    if scenarios.is_empty():
        return "<p>No sensitivity analysis has a result in this version.</p>"
    titles = estimand_titles(frames)
    parts = []
    for estimand in scenarios["estimand"].unique(maintain_order=True):
        part = scenarios.filter(
            pl.col("estimand").eq_missing(estimand),
            ~pl.any_horizontal(pl.col("scenario").str.starts_with(start) for start in _SUMMED_UP),
        )
        statistics = frames[RESULT].filter(pl.col("estimand").eq_missing(estimand))
        parts.append(f"<h3>{escape(titles.get(estimand, estimand))}</h3>")
        parts += [_plot(part, estimand, about), _ranges(statistics), _table(part, estimand, about)]
    return "".join(parts)


def of_the_estimates_unit(scenarios: pl.DataFrame) -> pl.DataFrame:
    """Keep scenarios that estimate what the primary analysis does, each once and not as a mere step."""
    is_step = pl.any_horizontal(pl.col("scenario").str.starts_with(start) for start in _SUMMED_UP)
    return scenarios.filter(
        ~is_step,
        pl.col("variable").is_in(_EFFECTS),
        pl.col("context") != _RANKS,
        pl.col("estimate").is_not_null(),
    )


def _plot(scenarios: pl.DataFrame, estimand: str, about: About) -> str:
    """Draw what has the unit of the primary estimate; a log ratio or a share has a scale of its own."""
    drawn = of_the_estimates_unit(scenarios)
    if drawn.is_empty():
        return "<p>No scenario has an estimate.</p>"
    several = drawn["arm"].n_unique() > 1
    first = drawn.row(0, named=True)
    effects = [
        Effect(
            label=f"{row['label']}: {row['arm']}" if several else row["label"],
            estimate=row["estimate"],
            low=row["ci_low"],
            high=row["ci_high"],
            p_value=row["p_value"],
            is_primary=bool(row["is_primary"]),
        )
        for row in drawn.iter_rows(named=True)
    ]
    unit = f" ({first['unit']})" if first["unit"] else ""
    versus = f"difference from {first['reference']}" if first["reference"] else "mean change from baseline"
    level = "" if first["ci_level"] is None else f"{100 * first['ci_level']:g} % "
    return forest(
        f"sensitivity-{estimand}",
        effects,
        axis=f"{capitalised(versus)}{unit}",
        caption=f"The {versus} under each scenario with its {level}interval; the estimand's own analysis"
        " first. The dashed line is no effect.",
        about=about,
    )


def _ranges(statistics: pl.DataFrame) -> str:
    """Say in words how far one participant, or the participants not seen, carry the result."""
    said = [text for cell in cells(statistics) if (text := _left_out(cell) or _tipping(cell))]
    return f'<ul class="note">{"".join(f"<li>{text}</li>" for text in said)}</ul>' if said else ""


def _of(cell: Cell) -> str:
    return f" ({cell.arm} against {cell.reference})" if cell.reference else ""


def _left_out(cell: Cell) -> str:
    low, high = cell.number("estimate.min"), cell.number("estimate.max")
    if low is None or high is None:
        return ""
    smallest, largest = cell.number("p.value.min"), cell.number("p.value.max")
    return (
        f"Leaving out each participant in turn, {_TESTS.get(cell.context, 'the estimate')}"
        f"{escape(_of(cell))}: the estimate goes from {interval(low, high, 2)},"
        f" p from {escape(p_value(smallest))} to {escape(p_value(largest))}."
    )


def _tipping(cell: Cell) -> str:
    if cell.level != "tipping_point":
        return ""
    unit = f" {cell.unit}" if cell.unit else ""
    delta, zero = cell.number("delta_significance"), cell.number("delta_zero")
    parts = []
    if delta is not None:
        parts.append(
            f"significance is lost when the {integer(cell.number('N_imputed'))} values not seen are"
            f" {number(delta, 1)}{unit} worse than imputed"
        )
    if zero is not None:
        parts.append(f"the estimate becomes zero at {number(zero, 1)}{unit} worse")
    if cell.remark:
        parts.append(cell.remark)
    return f"Tipping point{escape(_of(cell))}: {escape('; '.join(parts))}." if parts else ""


def _table(scenarios: pl.DataFrame, estimand: str, about: About) -> str:
    several = scenarios["arm"].n_unique() > 1
    made = table(
        f"scenarios-{estimand}",
        scenarios,
        [
            prose("Scenario", lambda row: row["label"]),
            *([Column("Arm", lambda row: str(row["arm"]))] if several else []),
            numeric("n", "n"),
            numeric("Estimate", "estimate", lambda value: number(value, 2)),
            Column("Interval", lambda row: interval(row["ci_low"], row["ci_high"], 2), align="right"),
            numeric("p", "p_value", p_value),
            Column("Unit", lambda row: row["unit"] or ABSENT),
            prose("Method", lambda row: capitalised(row["method"] or ABSENT)),
            prose("Remark", lambda row: row["remark"] or ABSENT),
        ],
        caption="Every scenario with its method; none of them decides",
        about=about,
        emphasise=lambda row: bool(row["is_primary"]),
        whole_table=SCENARIOS,
    )
    return folded(f"Every scenario in numbers ({integer(scenarios.height)})", made)


SECTION = Section(
    "sensitivity", "Sensitivity of the primary result", (SCENARIOS, RESULT), write, uses=("meta.estimand",)
)
