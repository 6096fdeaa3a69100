"""Laboratory: liver signals first, then values outside their range, shifts, and the values themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tasks.report.arm_table import MEAN, ArmTable, lines_of, p_values
from tasks.report.section import About, Frames, Section
from tasks.report.shift_table import Shifts, parted, shift_table
from tasks.report.statistics_cells import TOTAL, Cell, by_estimand, cells, methods_note, sizes
from tasks.report.tables import folded
from tasks.report.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterable

RESULT = "results.laboratory"
LIVER = "hys_law"
RANGE = "worst_range"
_SHIFTS = {
    "worst_shift": "Shift of the reference range, baseline to worst on treatment",
    "grade_shift": "Shift of the toxicity grade, baseline to worst on treatment",
}
# Grades and ranges as people order them.
_ORDER = ("LOW", "NORMAL", "HIGH", "ABNORMAL")


def write(frames: Frames, about: About) -> str:
    statistics = frames[RESULT]
    if statistics.is_empty():
        return "<p>No laboratory value has been recorded.</p>"
    parts = []
    for estimand, heading, part in by_estimand(statistics, frames):
        parts += [
            heading,
            _liver(part, f"liver-{estimand}", about),
            _ranges(part, f"ranges-{estimand}", about),
            *(_shifts(part, context, f"{context}-{estimand}", about) for context in _SHIFTS),
            _values(part, f"lab_values-{estimand}", about),
        ]
    return "".join(parts)


def _tests(statistics: pl.DataFrame, variable: str) -> dict[tuple[str | None, ...], list[Cell]]:
    own = statistics.filter(pl.col("variable") == variable, pl.col("stat_name") == "p.value")
    found: dict[tuple[str | None, ...], list[Cell]] = {}
    for cell in cells(own, "fisher"):
        found.setdefault((cell.group2, cell.group3), []).append(cell)
    return found


def _liver(statistics: pl.DataFrame, name: str, about: About) -> str:
    found = [cell for cell in cells(statistics, LIVER) if "n" in cell.values]
    if not found:
        return ""
    made = ArmTable(sizes(statistics))
    tests = _tests(statistics, "CRIT1FL")
    parameter = None
    for key, parts in lines_of(found).items():
        if key[0] != parameter:
            made.heading(str(key[0]))
        parameter = key[0]
        made.counts(str(key[1] or parts[0].label), parts, 1, p=p_values(tests.get(key[:2], ())))
    table = made.write(
        name,
        caption="Liver signals on treatment (Hy's law: transaminases and bilirubin at once): n (%)",
        about=about,
        whole_table=RESULT,
    )
    return table + methods_note(cell for each in tests.values() for cell in each)


def _ranges(statistics: pl.DataFrame, name: str, about: About) -> str:
    """Count participants whose worst value on treatment lies outside the range; inside says nothing more."""
    found = [cell for cell in cells(statistics, RANGE) if "n" in cell.values and cell.level != "NORMAL"]
    if not found:
        return ""
    made = ArmTable(sizes(statistics))
    tests = _tests(statistics, "ANRIND")
    by_parameter: dict[str, list[Cell]] = {}
    for cell in found:
        by_parameter.setdefault(cell.label, []).append(cell)
    for label, parts in by_parameter.items():
        made.heading(label, p=p_values(tests.get((parts[0].group2, parts[0].group3), ())))
        for key, of_level in lines_of(parts).items():
            made.counts(str(key[-1]).capitalize(), of_level, 1)
    table = made.write(
        name,
        caption="Worst value on treatment outside the reference range: n (%)",
        about=about,
        whole_table=RESULT,
    )
    return folded(f"Outside the reference range ({count(len(by_parameter), 'parameter')})", table)


def _shifts(statistics: pl.DataFrame, context: str, name: str, about: About) -> str:
    moves = [cell for cell in cells(statistics, context) if cell.level and cell.arm != TOTAL]
    if not moves:
        return ""
    counts: dict[tuple[str, str], dict[tuple[str, str], int]] = {}
    for cell in moves:
        own = counts.setdefault((cell.label, cell.arm or ""), {})
        own[parted(cell.level or "")] = round(cell.number("n") or 0)
    arms = len({arm for _, arm in counts})
    groups = [
        Shifts(f"{label}, {arm}" if arms > 1 else label, moved)
        for (label, arm), moved in counts.items()
        if any(n for (before, after), n in moved.items() if before != after)
    ]
    still = len(counts) - len(groups)
    levels = _ordered(end for shifts in groups for move in shifts.counts for end in move)
    table = shift_table(
        name, groups, before=levels, after=levels, caption=_SHIFTS[context], about=about, whole_table=RESULT
    )
    what = "parameter of an arm" if arms > 1 else "parameter"
    note = (
        f'<p class="note">{count(still, what, what.replace("parameter", "parameters"))} without any shift'
        f" not shown; all are in <code>{RESULT}</code>.</p>"
        if still
        else ""
    )
    parameters = count(len({label for label, _ in counts}), "parameter")
    return folded(f"{_SHIFTS[context]} ({parameters})", table + note)


def _ordered(levels: Iterable[str]) -> list[str]:
    return sorted(
        dict.fromkeys(levels),
        key=lambda level: (_ORDER.index(level) if level in _ORDER else len(_ORDER), level),
    )


def _values(statistics: pl.DataFrame, name: str, about: About) -> str:
    """Show each parameter before treatment and its change at the last visit; every visit is in the table."""
    made = ArmTable(sizes(statistics))
    by_parameter: dict[str, list[Cell]] = {}
    for cell in cells(statistics, "continuous"):
        by_parameter.setdefault(cell.label, []).append(cell)
    for label, parts in by_parameter.items():
        before = [cell for cell in parts if cell.variable == "AVAL" and cell.group3 == parts[0].group3]
        changes = [cell for cell in parts if cell.variable == "CHG"]
        made.heading(label)
        made.described(before, 1, lines=MEAN, label=f"{before[0].group3}, mean (SD)" if before else label)
        last = changes[-1].group3 if changes else None
        at_last = [cell for cell in changes if cell.group3 == last]
        if at_last:
            made.described(at_last, 1, lines=MEAN, label=f"Change at {last}, mean (SD)")
    if not by_parameter:
        return ""
    table = made.write(
        name, caption="Laboratory values: before and at the last visit", about=about, whole_table=RESULT
    )
    return folded(f"Laboratory values ({count(len(by_parameter), 'parameter')})", table)


SECTION = Section("laboratory", "Laboratory", (RESULT,), write, uses=("meta.estimand",))
