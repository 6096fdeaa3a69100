"""Changes of the other scores: each estimand's mean change and median shift within an arm, and its tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from tasks.report.section import About, Frames, Section
from tasks.report.statistics_cells import TOTAL, Cell, cells, estimand_titles, methods_note
from tasks.report.tables import Column, prose, table
from tasks.report.wording import ABSENT, integer, interval, number, p_value

if TYPE_CHECKING:
    from collections.abc import Mapping

RESULT = "results.change_from_baseline"
_ESTIMATES = ("mean_change", "hodges_lehmann")
_TESTS = ("signed_rank_exact", "paired_t")


@dataclass(frozen=True, slots=True)
class _Change:
    """One line: an estimand in an arm, with what each computation gave."""

    title: str
    arm: str
    n: float | None
    by: Mapping[str, Cell]

    def estimate(self, context: str) -> str:
        cell = self.by.get(context)
        if cell is None or cell.number("estimate") is None:
            return "NE"
        limits = interval(cell.number("conf.low"), cell.number("conf.high"), 2)
        return f"{number(cell.number('estimate'), 2)} ({limits})"

    def p(self, context: str) -> str:
        cell = self.by.get(context)
        return "NE" if cell is None or cell.number("p.value") is None else p_value(cell.number("p.value"))

    @property
    def unit(self) -> str:
        return next((cell.unit for cell in self.by.values() if cell.unit), ABSENT)


def write(frames: Frames, about: About) -> str:
    statistics = frames[RESULT]
    if statistics.is_empty():
        return "<p>No change of a score has been estimated.</p>"
    lines = _lines(statistics, estimand_titles(frames))
    rows = pl.DataFrame({"place": range(len(lines))}, schema={"place": pl.Int64})
    several = len({line.arm for line in lines}) > 1
    made = table(
        "score_change_list",
        rows,
        [
            prose("Estimand", lambda row: lines[row["place"]].title),
            *([Column("Arm", lambda row: lines[row["place"]].arm)] if several else []),
            Column("n", lambda row: integer(lines[row["place"]].n), align="right"),
            Column("Mean change", lambda row: lines[row["place"]].estimate("mean_change"), align="right"),
            Column(
                "Hodges-Lehmann", lambda row: lines[row["place"]].estimate("hodges_lehmann"), align="right"
            ),
            Column("p, exact signed rank", lambda row: lines[row["place"]].p("signed_rank_exact"), "right"),
            Column("p, paired t", lambda row: lines[row["place"]].p("paired_t"), "right"),
            Column("Unit", lambda row: lines[row["place"]].unit),
        ],
        caption="Change from baseline within each arm: estimate (interval); negative is lower after",
        about=about,
        whole_table=RESULT,
    )
    return (
        made
        + methods_note(cells(statistics, *_TESTS))
        + '<p class="note">A change within an arm is no comparison with a control.</p>'
    )


def _lines(statistics: pl.DataFrame, titles: Mapping[str, str]) -> list[_Change]:
    found: dict[tuple[str | None, str | None], dict[str, Cell]] = {}
    for cell in cells(statistics, *_ESTIMATES, *_TESTS):
        found.setdefault((cell.estimand, cell.arm), {})[cell.context] = cell
    counted = {
        (cell.estimand, cell.arm, cell.variable): cell.number("N_obs")
        for cell in cells(statistics, "continuous")
        if cell.arm != TOTAL
    }
    return [
        _Change(
            title=titles.get(estimand or "", estimand or ABSENT),
            arm=arm or ABSENT,
            n=counted.get((estimand, arm, next(iter(by.values())).variable)),
            by=by,
        )
        for (estimand, arm), by in found.items()
    ]


SECTION = Section("score_changes", "Change of other scores", (RESULT,), write, uses=("meta.estimand",))
