"""Score shifts: which grade at baseline became which, within each arm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.report.section import About, Frames, Section
from tasks.report.shift_table import Shifts, parted, shift_table
from tasks.report.statistics_cells import TOTAL, Cell, by_estimand, cells, methods_note
from tasks.report.wording import count, escape, integer, p_value_in_words

if TYPE_CHECKING:
    import polars as pl

RESULT = "results.score_shifts"
MISSING = "Missing"
_TEST = "ordinal_marginal_homogeneity"


def write(frames: Frames, about: About) -> str:
    statistics = frames[RESULT]
    if statistics.is_empty():
        return "<p>No score has been shifted.</p>"
    parts = []
    for estimand, heading, part in by_estimand(statistics, frames):
        parts += [heading, _table(part, estimand, about), _in_words(part)]
    return "".join(parts)


def _table(statistics: pl.DataFrame, estimand: str, about: About) -> str:
    moves = cells(statistics, "shift")
    arms = [arm for arm in dict.fromkeys(cell.arm for cell in moves) if arm != TOTAL]
    counts = {
        arm: {parted(cell.level or ""): round(cell.number("n") or 0) for cell in moves if cell.arm == arm}
        for arm in arms
    }
    ends = [end for each in counts.values() for move in each for end in move]
    levels = sorted(dict.fromkeys(ends), key=_order)
    first = moves[0] if moves else None
    where = f": {first.group2}, baseline to {first.group3}" if first else ""
    return shift_table(
        f"shifts-{estimand}",
        [Shifts(str(arm) if len(arms) > 1 else "", counts[arm]) for arm in arms],
        before=levels,
        after=levels,
        caption=f"Participants by grade{where}",
        about=about,
        whole_table=RESULT,
    )


def _order(level: str) -> tuple[bool, float, str]:
    try:
        return level == MISSING, float(level), level
    except ValueError:
        return True, 0.0, level


def _in_words(statistics: pl.DataFrame) -> str:
    directions = cells(statistics, "direction")
    tests = {cell.arm: cell for cell in cells(statistics, _TEST)}
    said = []
    for arm in dict.fromkeys(cell.arm for cell in directions):
        n = {cell.level: round(cell.number("n") or 0) for cell in directions if cell.arm == arm}
        known = sum(number for level, number in n.items() if level != MISSING)
        test = tests.get(arm)
        said.append(
            f"<li>{escape(arm)}: of {count(known, 'participant')}, {integer(n.get('lower', 0))} have a lower"
            f" grade, {integer(n.get('same', 0))} the same, {integer(n.get('higher', 0))} a higher one"
            f"{_tested(test)}.</li>"
        )
    notes = methods_note([cell for cell in tests.values() if cell.arm != TOTAL][:1])
    return f"<ul>{''.join(said)}</ul>{notes}" if said else ""


def _tested(test: Cell | None) -> str:
    if test is None or test.number("p.value") is None:
        return ""
    return f"; {escape(p_value_in_words(test.number('p.value')))}"


SECTION = Section("score_shifts", "Score shifts", (RESULT,), write, uses=("meta.estimand",))
