"""Vital signs: each before treatment and its change at the last visit, by position and arm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.report.arm_table import MEAN, ArmTable
from tasks.report.section import About, Frames, Section
from tasks.report.statistics_cells import Cell, by_estimand, cells, sizes
from tasks.report.tables import folded
from tasks.report.wording import count

if TYPE_CHECKING:
    import polars as pl

RESULT = "results.vital_signs"
# More lines than this are folded away.
MOST_LINES = 24


def write(frames: Frames, about: About) -> str:
    statistics = frames[RESULT]
    if statistics.is_empty():
        return "<p>No vital sign has been recorded.</p>"
    parts = []
    for estimand, heading, part in by_estimand(statistics, frames):
        parts += [heading, _table(part, f"vital-{estimand}", about)]
    return "".join(parts)


def _table(statistics: pl.DataFrame, name: str, about: About) -> str:
    made = ArmTable(sizes(statistics))
    blocks: dict[tuple[str, str | None], list[Cell]] = {}
    for cell in cells(statistics, "continuous"):
        blocks.setdefault((cell.label, cell.level), []).append(cell)
    for (label, position), parts in blocks.items():
        unit = f" ({parts[0].unit})" if parts[0].unit else ""
        place = f", {position.lower()}" if position else ""
        values = [cell for cell in parts if cell.variable == "AVAL"]
        changes = [cell for cell in parts if cell.variable == "CHG"]
        made.heading(f"{label}{unit}{place}")
        before = [cell for cell in values if cell.group3 == values[0].group3]
        if before:
            made.described(before, 1, lines=MEAN, label=f"{before[0].group3}, mean (SD)")
        at_last = [cell for cell in changes if cell.group3 == changes[-1].group3]
        if at_last:
            made.described(at_last, 1, lines=MEAN, label=f"Change at {at_last[0].group3}, mean (SD)")
            made.counts("n", at_last, 2, template="{N_obs}")
    if not blocks:
        return "<p>No vital sign has a value.</p>"
    table = made.write(
        name,
        caption="Vital signs: before treatment, and the change at the last visit",
        about=about,
        whole_table=RESULT,
    )
    if len(made.lines) <= MOST_LINES:
        return table
    return folded(f"Vital signs ({count(len(blocks), 'parameter and position', 'parameters and positions')})",
                  table)  # fmt: skip


SECTION = Section("vital_signs", "Vital signs", (RESULT,), write, uses=("meta.estimand",))
