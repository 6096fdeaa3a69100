"""Responders: by every declared criterion how many responded, with exact intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.report.arm_table import ArmTable
from tasks.report.section import About, Frames, Section
from tasks.report.statistics_cells import Cell, by_estimand, cells, methods_note, sizes

if TYPE_CHECKING:
    import polars as pl

RESULT = "results.responders"
_INTERVALS = {"clopper_pearson": "Clopper-Pearson", "wilson": "Wilson"}
_DIFFERENCES = {"newcombe": "Newcombe", "miettinen_nurminen": "Miettinen-Nurminen"}


def write(frames: Frames, about: About) -> str:
    statistics = frames[RESULT]
    if statistics.is_empty():
        return "<p>No criterion of response has been judged.</p>"
    parts = []
    for estimand, heading, part in by_estimand(statistics, frames):
        parts += [heading, _table(part, estimand, about)]
    return "".join(parts)


def _table(statistics: pl.DataFrame, estimand: str, about: About) -> str:
    made = ArmTable(sizes(statistics))
    found = cells(statistics)
    for criterion in dict.fromkeys(cell.level for cell in found if cell.context == "responders"):
        _criterion(made, [cell for cell in found if cell.level == criterion])
    counted = [cell for cell in found if cell.context == "responders"]
    first = counted[0] if counted else None
    where = f": {first.group2} at {first.group3}" if first else ""
    table = made.write(
        f"responders-{estimand}",
        caption=f"Responders{where}: responders / participants who could respond (%)",
        about=about,
        whole_table=RESULT,
    )
    return table + methods_note(counted)


def _criterion(made: ArmTable, own: list[Cell]) -> None:
    counted = [cell for cell in own if cell.context == "responders"]
    made.counts(counted[0].label, counted, template="{n} / {N_evaluable} ({p})")
    for context, words in _INTERVALS.items():
        parts = [cell for cell in own if cell.context == context]
        if parts:
            level = parts[0].number("conf.level") or 0
            made.counts(
                f"{100 * level:g} % interval, {words}", parts, 1, template="{conf.low:%} to {conf.high:%}"
            )
    for context, words in _DIFFERENCES.items():
        parts = [cell for cell in own if cell.context == context]
        if parts:
            label = f"Minus {parts[0].reference}, {words}, difference"
            made.counts(label, parts, 1, template="{estimate:%} ({conf.low:%} to {conf.high:%})")
    tests = [cell for cell in own if cell.context == "fisher"]
    if tests:
        made.tested(f"p, Fisher's exact test against {tests[0].reference}", tests, 1)


SECTION = Section("responders", "Responders", (RESULT,), write, uses=("meta.estimand",))
