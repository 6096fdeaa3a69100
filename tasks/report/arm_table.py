"""Tables with a column for each arm, its N in the heading, and p-values at the right."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.export.cells import NOT_ESTIMABLE, Precision, decimals_of, fill
from tasks.report.statistics_cells import cells, sizes
from tasks.report.tables import Column, table
from tasks.report.wording import ABSENT, MINUS, escape, integer, p_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tasks.report.section import About
    from tasks.report.statistics_cells import Cell

COUNTS = "{n} ({p})"
COUNTS_AND_EVENTS = "{n} ({p}) [{n_events}]"
# Of a number, the line that tells most, and all of them.
MEAN = (("Mean (SD)", "{mean} ({sd})"),)
DESCRIBED = (*MEAN, ("Median", "{median}"), ("Quartiles", "{p25}, {p75}"), ("Range", "{min} to {max}"))
P_VALUE = "p"
# Codes such as M, F or ALT are no words.
SHORTEST_WORD = 3


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table: its words, how deep they stand, and what it says in each column."""

    label: str
    depth: int = 0
    said: Mapping[str, str] = field(default_factory=dict)
    is_heading: bool = False


@dataclass(slots=True)
class ArmTable:
    """A table in the making: columns with their N, p-values by their heading, lines in order."""

    columns: Mapping[str, int]
    lines: list[Line] = field(default_factory=list)

    def heading(self, label: str, depth: int = 0, *, p: Mapping[str, str] | None = None) -> None:
        self.lines.append(Line(label, depth, p or {}, is_heading=True))

    def counts(
        self, label: str, parts: Iterable[Cell], depth: int = 0, *, template: str = COUNTS,
        p: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Add a line of counts, one cell per arm."""
        said = {cell.arm or "": written(template, cell) for cell in parts}
        self.lines.append(Line(label, depth, {**said, **(p or {})}))

    def described(
        self,
        parts: Sequence[Cell],
        depth: int = 0,
        *,
        lines: Sequence[tuple[str, str]] = DESCRIBED,
        label: str | None = None,
    ) -> None:
        """Add lines that describe numbers, with decimals as the data have, and n if some are missing."""
        precision = precision_of(parts)
        chosen = list(lines)
        if label is None and any(cell.number("N_miss") for cell in parts):
            chosen.insert(0, ("n", "{N_obs}"))
        for words, template in chosen:
            said = {cell.arm or "": written(template, cell, precision) for cell in parts}
            self.lines.append(Line(label or words, depth, said))

    def tested(self, label: str, parts: Iterable[Cell], depth: int = 0) -> None:
        """Add a line of p-values, each in the column of the arm that is compared."""
        said = {cell.arm or "": next(iter(p_values([cell]).values()), "") for cell in parts}
        self.lines.append(Line(label, depth, said))

    def write(self, name: str, *, caption: str, about: About, whole_table: str | None = None) -> str:
        """Write the table; a p-value column stands for every heading that a line has besides the arms."""
        p_headings = dict.fromkeys(
            heading for line in self.lines for heading in line.said if heading not in self.columns
        )
        rows = pl.DataFrame({"place": range(len(self.lines))}, schema={"place": pl.Int64})
        return table(
            name,
            rows,
            [
                Column("", self._words, is_markup=True),
                *(self._column(arm, f"{arm} {_n_of(n)}") for arm, n in self.columns.items()),
                *(self._column(heading, heading) for heading in p_headings),
            ],
            caption=caption,
            about=about,
            whole_table=whole_table,
            css="table arms",
        )

    def _column(self, key: str, heading: str) -> Column:
        return Column(heading, lambda row: self.lines[row["place"]].said.get(key, ""), align="right")

    def _words(self, row: Mapping[str, Any]) -> str:
        line = self.lines[row["place"]]
        css = f"d{min(line.depth, 3)}" + (" head" if line.is_heading else "")
        return f'<span class="{css}">{escape(line.label)}</span>'


def _n_of(n: int) -> str:
    space = "\N{NO-BREAK SPACE}"
    return f"(N{space}={space}{integer(n)})"


def written(template: str, cell: Cell, precision: Precision | None = None) -> str:
    """Write the statistics of a cell into a template, with a true minus sign."""
    text = fill(template, cell.values, precision or Precision())
    return text.replace("-", MINUS) if text else text


def precision_of(parts: Iterable[Cell]) -> Precision:
    """Return the decimals that half of the extremes of the arms have or exceed."""
    extremes = (cell.number(name) for cell in parts for name in ("min", "max"))
    known = sorted(found for value in extremes if (found := decimals_of(value)) is not None)
    return Precision(decimals=known[len(known) // 2] if known else None)


def p_values(tests: Iterable[Cell]) -> dict[str, str]:
    """Write the p-values of tests by the heading of their column: all arms at once, or two arms."""
    found: dict[str, str] = {}
    for cell in tests:
        if "p.value" not in cell.values:
            continue
        heading = P_VALUE if cell.arm is None else f"{P_VALUE}: {cell.arm} against {cell.reference}"
        number = cell.number("p.value")
        found.setdefault(heading, NOT_ESTIMABLE if number is None else p_value(number))
    return found


def lines_of(found: Iterable[Cell]) -> dict[tuple[str | None, ...], list[Cell]]:
    """Group cells into the lines that they belong to: all of the address but the arm."""
    lines: dict[tuple[str | None, ...], list[Cell]] = {}
    for cell in found:
        lines.setdefault((cell.group2, cell.group3, cell.variable, cell.label, cell.level), []).append(cell)
    return lines


def variables(statistics: pl.DataFrame, *contexts: str) -> ArmTable:
    """Make the usual table of variables: numbers described, categories counted, tests beside them."""
    made = ArmTable(sizes(statistics))
    blocks: dict[str, list[Cell]] = {}
    for cell in cells(statistics, *contexts):
        blocks.setdefault(cell.label, []).append(cell)
    for label, block in blocks.items():
        if any("n" in cell.values or "N_obs" in cell.values for cell in block):
            _variable(made, label, block)
    return made


def _variable(made: ArmTable, label: str, block: list[Cell]) -> None:
    tests = [cell for cell in block if "p.value" in cell.values]
    numbers = [cell for cell in block if cell.context == "continuous"]
    counts = [cell for cell in block if "n" in cell.values]
    unit = next((cell.unit for cell in numbers if cell.unit), None)
    heading = f"{label} ({unit})" if unit else label
    levels = lines_of(counts)
    if not numbers and all(cell.level in (None, "Y") for cell in counts):
        # A yes or no needs no line below its name.
        made.counts(heading, counts, p=p_values(tests))
        return
    made.heading(heading, p=p_values(cell for cell in tests if cell.level is None))
    if numbers:
        made.described(numbers, 1)
    for key, parts in levels.items():
        level = key[-1]
        made.counts(
            _category(level), parts, 1, p=p_values(cell for cell in tests if cell.level == level is not None)
        )
    missing = [cell for cell in block if cell.context != "continuous" and cell.number("N_miss")]
    if missing:
        made.counts("Missing", missing, 1, template="{N_miss}")


def _category(level: str | None) -> str:
    """Write a category as people do where the data shout: WHITE becomes White, but M and F stay."""
    if level is None:
        return ABSENT
    if not level.isupper() or len(level) <= SHORTEST_WORD:
        return level
    return " ".join(
        word.capitalize() if len(word) > SHORTEST_WORD else word.lower() for word in level.split()
    )
