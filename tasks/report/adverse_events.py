"""Adverse events: an overview, then every class and term with participants and events of each arm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tasks.report.arm_table import COUNTS_AND_EVENTS, ArmTable, lines_of, p_values
from tasks.report.section import About, Frames, Section
from tasks.report.statistics_cells import TOTAL, Cell, by_estimand, cells, methods_note, sizes
from tasks.report.tables import folded
from tasks.report.wording import calm, count, integer

if TYPE_CHECKING:
    from collections.abc import Iterable

RESULT = "results.adverse_events"
ANY = "TRTEMFL"
COUNTED = "incidence"
WORST = "worst_severity"
# A table with more lines than this leaves out what is rare.
MOST_LINES = 60
COMMON_SHARE = 0.05


def write(frames: Frames, about: About) -> str:
    statistics = frames[RESULT]
    if statistics.is_empty():
        return "<p>No adverse event has been recorded.</p>"
    parts = []
    for estimand, heading, part in by_estimand(statistics, frames):
        parts += [heading, _overview(part, f"ae_overview-{estimand}", about)]
        parts.append(_by_term(part, f"ae_terms-{estimand}", about))
    return "".join(parts)


def _overview(statistics: pl.DataFrame, name: str, about: About) -> str:
    overall = statistics.filter(pl.col("group2").is_null())
    made = ArmTable(sizes(statistics))
    tests = _tests(cells(overall))
    counted = [cell for cell in cells(overall, COUNTED, WORST) if "n" in cell.values]
    block = None
    for key, parts in lines_of(counted).items():
        label, level = parts[0].label, parts[0].level
        has_levels = parts[0].context == WORST or level not in {None, "Y", "DRUG WITHDRAWN"}
        if has_levels and label != block:
            made.heading(label)
        block = label
        words = str(level).capitalize() if has_levels else label
        made.counts(
            words, parts, depth=int(has_levels), template=COUNTS_AND_EVENTS, p=p_values(tests.get(key, ()))
        )
    table = made.write(
        name, caption="Adverse events: participants (%) [events]", about=about, whole_table=RESULT
    )
    return table + methods_note(cell for cells_of in tests.values() for cell in cells_of)


def _tests(found: Iterable[Cell]) -> dict[tuple[str | None, ...], list[Cell]]:
    return lines_of(cell for cell in found if "p.value" in cell.values)


def _by_term(statistics: pl.DataFrame, name: str, about: About) -> str:
    """Order classes and terms by how many have them, and leave out rare terms of a long list."""
    found = cells(statistics.filter(pl.col("variable") == ANY, pl.col("group2").is_not_null()))
    lines = lines_of(cell for cell in found if cell.context == COUNTED)
    if not lines:
        return ""
    tests = _tests(found)
    is_long = len(lines) > MOST_LINES
    made = ArmTable(sizes(statistics))
    n_left_out = 0
    terms = {str(name) for key in lines for name in key[:2] if name is not None}
    for key in sorted(lines, key=lambda key: _rank(key, lines)):
        system, term = key[0], key[1]
        if is_long and term is not None and not _is_common(lines[key]):
            n_left_out += 1
            continue
        words = calm(str(term or system), terms)
        made.counts(
            words,
            lines[key],
            depth=0 if term is None else 1,
            template=COUNTS_AND_EVENTS,
            p=p_values(tests.get(key, ())),
        )
    table = made.write(
        name,
        caption="Adverse events by system organ class and preferred term: participants (%) [events]",
        about=about,
        whole_table=RESULT,
    )
    note = (
        f'<p class="note">{count(n_left_out, "term")} seen in less than {100 * COMMON_SHARE:g} % of every arm'
        f" not shown; all are in <code>{RESULT}</code>.</p>"
        if n_left_out
        else ""
    )
    shown = table + note
    if not is_long:
        return shown
    n_terms = sum(key[1] is not None for key in lines)
    return folded(f"By class and term ({integer(n_terms)} terms)", shown)


def _rank(
    key: tuple[str | None, ...], lines: dict[tuple[str | None, ...], list[Cell]]
) -> tuple[float, str, bool, float, str]:
    system, term, *rest = key
    of_class = lines.get((system, None, *rest), [])
    return (
        -_participants(of_class), str(system), term is not None,
        0.0 if term is None else -_participants(lines[key]), str(term),
    )  # fmt: skip


def _participants(parts: Iterable[Cell]) -> float:
    counts = {cell.arm: cell.number("n") or 0 for cell in parts}
    return counts.get(TOTAL, sum(counts.values()))


def _is_common(parts: Iterable[Cell]) -> bool:
    return any((cell.number("p") or 0) >= COMMON_SHARE for cell in parts if cell.arm != TOTAL)


SECTION = Section("adverse_events", "Adverse events", (RESULT,), write, uses=("meta.estimand",))
