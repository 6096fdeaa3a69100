"""From analysis results data to a table: which rows, nested how, in which columns, with which notes."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tasks.export.cells import NOT_ESTIMABLE, ROUNDING, Precision, decimals_of, fill, placeholders, statistic
from tasks.export.layouts import (
    COMMON_LINES,
    CONTEXT_LINES,
    PLAIN_CONTEXTS,
    UNSHOWN_IN_CONTEXT,
    Layout,
    Line,
    layout_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import polars as pl

    from tasks.export.data_set import Origin
    from warehouse.study import Estimand

TOTAL = "Total"
POPULATIONS = {
    "enrlfl": "Enrolled participants",
    "randfl": "Randomised participants",
    "ittfl": "Intent-to-treat population",
    "saffl": "Safety population",
    "fasfl": "Full analysis set",
    "efffl": "Efficacy population",
    "pprotfl": "Per-protocol population",
    "complfl": "Completers",
}
GROUP_NAMES = {
    "PARAMCD": "Parameter",
    "AVISIT": "Visit",
    "AEBODSYS": "System organ class",
    "AEDECOD": "Preferred term",
}
VARIABLES = {
    "AVAL": "value",
    "BASE": "baseline",
    "CHG": "change from baseline",
    "PCHG": "percent change from baseline",
}
MOST_NOTES = 12
_ADDRESS = (
    "group2",
    "group2_level",
    "group3",
    "group3_level",
    "variable",
    "variable_level",
    "context",
)

Row: TypeAlias = "Mapping[str, Any]"
Address: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    """A column of a table: an arm (with its N), two arms compared, or all arms at once."""

    heading: str
    n: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A row of a table: words, how deep they stand, a cell for each column (none for a heading)."""

    label: str
    indent: int
    cells: tuple[str, ...]

    @property
    def is_heading(self) -> bool:
        return not any(self.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class FormattedTable:
    """A table ready to be set, whatever the form of the file."""

    name: str
    title: str
    subtitles: tuple[str, ...]
    columns: tuple[TableColumn, ...]
    rows: tuple[TableRow, ...]
    footnotes: tuple[str, ...]


@dataclass(slots=True)
class _Node:
    """A row in the making, with the rows below it."""

    cells: dict[Address, str] = field(default_factory=dict)
    children: dict[str, _Node] = field(default_factory=dict)

    def at(self, path: Iterable[str]) -> _Node:
        node = self
        for label in path:
            node = node.children.setdefault(label, _Node())
        return node

    def rows(self, columns: Sequence[Address], indent: int = 0) -> Iterator[TableRow]:
        for label, node in self.children.items():
            cells = tuple(node.cells.get(column, "") for column in columns)
            if any(cells) or node.children:
                yield TableRow(label=label, indent=indent, cells=cells)
                yield from node.rows(columns, indent + 1)


def format_tables(
    statistics: pl.DataFrame, estimands: Sequence[Estimand], origin: Origin
) -> tuple[FormattedTable, ...]:
    """Make a table of each analysis and estimand, in the order of the statistics."""
    declared = {estimand.id: estimand for estimand in estimands}
    grouped: dict[tuple[str, str | None], list[dict[str, Any]]] = defaultdict(list)
    for row in statistics.iter_rows(named=True):
        grouped[row["analysis"], row["estimand"]].append(row)
    tables = (
        _format(analysis, rows, declared.get(estimand or ""), origin)
        for (analysis, estimand), rows in grouped.items()
    )
    return tuple(table for table in tables if table.rows)


def _format(analysis: str, rows: Sequence[Row], estimand: Estimand | None, origin: Origin) -> FormattedTable:
    layout = layout_of(analysis)
    body = [row for row in rows if row["context"] not in layout.hidden]
    sizes = {
        row["group1_level"]: round(row["stat"])
        for row in rows
        if row["context"] == "population" and row["stat_name"] == "N" and row["stat"] is not None
    }
    columns = _columns(body, sizes, layout)
    hoisted = _hoisted(body)
    tree = _Node()
    for block in _blocks(body, layout, hoisted):
        _place(tree, block, layout)
    number = f"Table {layout.number} " if layout.number else ""
    population = rows[0]["population"]
    return FormattedTable(
        name="_".join(part for part in (analysis, rows[0]["estimand"]) if part),
        title=f"{number}{layout.title}",
        subtitles=tuple(_subtitles(estimand, population, hoisted)),
        columns=tuple(columns.values()),
        rows=tuple(tree.rows(list(columns))),
        footnotes=tuple(_footnotes(body, layout, estimand, origin)),
    )


def _columns(
    body: Sequence[Row], sizes: Mapping[str | None, int], layout: Layout
) -> dict[Address, TableColumn]:
    arms = dict.fromkeys(level for level in sizes if level is not None)
    arms |= dict.fromkeys(row["group1_level"] for row in body if row["group1_level"] is not None)
    # All arms together stand to the right of each.
    ordered = sorted(arms, key=lambda arm: arm == TOTAL)
    keys = dict.fromkeys(_column_of(row, layout) for row in body)
    columns: dict[Address, TableColumn] = {
        ("arm", arm): TableColumn(heading=arm, n=sizes.get(arm))
        for arm in ordered
        if ("arm", arm) in keys or arm in sizes
    }
    for key in keys:
        if key[0] == "comparison":
            columns[key] = TableColumn(heading=f"{layout.across}: {key[1]} vs {key[2]}")
    if ("across",) in keys:
        columns["across",] = TableColumn(heading=layout.across)
    return columns


def _column_of(row: Row, layout: Layout) -> Address:
    if row["group1_level"] is None:
        return ("across",)
    if row["group1_reference"] is not None and layout.comparisons == "columns":
        return ("comparison", row["group1_level"], row["group1_reference"])
    return ("arm", row["group1_level"])


def _hoisted(body: Sequence[Row]) -> dict[str, str]:
    """Return the groups that are the same in the whole table: a subtitle says them once."""
    found = {}
    for group in ("group2", "group3"):
        levels = {(row[group], row[f"{group}_level"]) for row in body}
        if len(levels) == 1:
            name, level = levels.pop()
            if level is not None:
                found[group] = f"{GROUP_NAMES.get(name, name)}: {level}"
    return found


@dataclass(slots=True)
class _Cell:
    """The statistics of one cell, and what is needed to write them."""

    values: dict[str, float | str | None] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    precision: Precision = field(default_factory=Precision)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """The statistics of one row of the results, by column: one address but for the arm."""

    path: tuple[str, ...]
    context: str
    variable: str
    cells: dict[Address, _Cell] = field(default_factory=dict)


def _blocks(body: Sequence[Row], layout: Layout, hoisted: Mapping[str, str]) -> Iterable[_Block]:
    """Gather the statistics of each row of the table, by column."""
    exact = precisions(body)
    words = _words(body, layout, hoisted)
    blocks: dict[Address, _Block] = {}
    for row in body:
        reference = row["group1_reference"] if layout.comparisons == "rows" else None
        address = (*(row[name] for name in _ADDRESS), reference)
        if address not in blocks:
            blocks[address] = _Block(path=_path(row, words), context=row["context"], variable=row["variable"])
        cell = blocks[address].cells.setdefault(_column_of(row, layout), _Cell())
        text = row["stat_text"]
        cell.values[row["stat_name"]] = row["stat"] if text is None else text
        cell.labels[row["stat_name"]] = row["stat_label"] or row["stat_name"]
        cell.precision = exact.get((row["group2_level"], row["variable"]), Precision())
    return blocks.values()


def precisions(body: Sequence[Row]) -> dict[tuple[str | None, str], Precision]:
    """Return the decimals of each variable's data: those that half of its extremes have or exceed.

    The most that any has would let one imputed value decide for a table of whole numbers.
    """
    found: dict[tuple[str | None, str], list[int]] = defaultdict(list)
    for row in body:
        decimals = decimals_of(row["stat"]) if row["stat_name"] in {"min", "max"} else None
        if decimals is not None:
            found[row["group2_level"], row["variable"]].append(decimals)
    return {key: Precision(decimals=sorted(each)[len(each) // 2]) for key, each in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """What decides which words lead to a row."""

    layout: Layout
    hoisted: Mapping[str, str]
    plain: AbstractSet[str]
    units: Mapping[tuple[str | None, str], str]
    ambiguous: AbstractSet[str]


def _words(body: Sequence[Row], layout: Layout, hoisted: Mapping[str, str]) -> _Words:
    variables: dict[str, set[str]] = defaultdict(set)
    for row in body:
        variables[row["variable_label"] or row["variable"]].add(row["variable"])
    shares = {row["context"] for row in body if row["stat_name"] == "p"}
    return _Words(
        layout=layout,
        hoisted=hoisted,
        # Counts with shares say what they are, whatever they come from.
        plain=PLAIN_CONTEXTS | layout.lines.keys() | CONTEXT_LINES.keys() | shares,
        units={(row["group2_level"], row["variable"]): row["unit"] for row in reversed(body) if row["unit"]},
        ambiguous=frozenset(label for label, of in variables.items() if len(of) > 1),
    )


def _path(row: Row, words: _Words) -> tuple[str, ...]:
    """Return the words that lead to a row, outermost first."""
    layout = words.layout
    path: list[str] = []
    for name in layout.rows:
        word = _word(row, name, words)
        if word is not None and word not in path[-1:]:
            path.append(word)
    compares = row["group1_level"] is None or row["group1_reference"] is not None
    is_beside = layout.comparisons == "columns" and compares
    if row["context"] not in words.plain and not is_beside:
        path.append(_context_title(row["context"], layout))
    if row["group1_reference"] is not None and layout.comparisons == "rows":
        path.append(f"Compared with {row['group1_reference']}")
    return tuple(path)


def _word(row: Row, name: str, words: _Words) -> str | None:
    if name == "variable_label":
        label = str(row["variable_label"] or row["variable"])
        unit = words.units.get((row["group2_level"], row["variable"]))
        shown = f"{label} ({unit})" if unit and f"({unit})" not in label else label
        if label in words.ambiguous:
            return f"{shown}: {VARIABLES.get(row['variable'], row['variable'])}"
        return shown
    value = row[name]
    group = name.removesuffix("_level")
    if value is None or group in words.hoisted:
        return None
    if name == "variable_level":
        # Of a flag only Y is counted, and the flag's words say it.
        return None if value == "Y" or row["context"] in words.layout.flat else str(value)
    return f"{row[group]} = Y" if value == "Y" else str(value)


def _context_title(context: str, layout: Layout) -> str:
    return layout.titles.get(context) or context.replace("_", " ").capitalize()


def _place(tree: _Node, block: _Block, layout: Layout) -> None:
    """Write the lines of one row of statistics into the tree; no number replaces another."""
    beside = layout.comparisons == "columns" and all(column[0] != "arm" for column in block.cells)
    title = _context_title(block.context, layout)
    for line in _lines(block.context, block.cells, layout):
        # In a column that says p-value the number needs no words of its own.
        says_itself = beside and line.template == "{p.value}"
        label = "" if says_itself else _label(line, block.cells)
        written = {
            column: fill(line.template, cell.values, cell.precision) for column, cell in block.cells.items()
        }
        # Where two results have the same words and other numbers, context, variable or a number tell them
        # apart.
        candidates = itertools.chain(
            [(), (title,), (block.variable, title)],
            ((block.variable, f"{title} ({n})") for n in itertools.count(2)),
        )
        for further in candidates:
            node = tree.at((*block.path, *further, *([label] if label else [])))
            if all(node.cells.get(column, text) == text for column, text in written.items()):
                node.cells.update(written)
                break


def _lines(context: str, cells: Mapping[Address, _Cell], layout: Layout) -> Iterator[Line]:
    """Yield the lines that the statistics fill, then one for each statistic that no line has taken."""
    labels = {name: label for cell in cells.values() for name, label in cell.labels.items()}
    used: set[str] = set()
    unshown = layout.unshown | UNSHOWN_IN_CONTEXT.get(context, frozenset())
    for line in layout.lines.get(context) or CONTEXT_LINES.get(context) or COMMON_LINES:
        names = {*placeholders(line.template)}
        if names <= labels.keys() and not names & used and not names <= unshown:
            used |= names | {*placeholders(line.label)}
            yield line
    for name, label in labels.items():
        if name not in used and name not in unshown:
            yield Line(label, f"{{{name}}}")


def _label(line: Line, cells: Mapping[Address, _Cell]) -> str:
    first = next(iter(cells.values()))
    label = line.label
    for name in placeholders(label):
        label = label.replace(f"{{{name}}}", statistic(name, first.values.get(name, ""), Precision()))
    return label.strip()


def _subtitles(
    estimand: Estimand | None, population: str | None, hoisted: Mapping[str, str]
) -> Iterator[str]:
    if estimand is not None:
        yield estimand.title
    if population:
        yield POPULATIONS.get(population.lower(), f"Participants with {population.upper()} = Y")
    if estimand is not None and estimand.subgroup:
        yield "; ".join(f"{name.upper()}: {', '.join(values)}" for name, values in estimand.subgroup.items())
    yield from hoisted.values()


def _footnotes(
    body: Sequence[Row], layout: Layout, estimand: Estimand | None, origin: Origin
) -> Iterator[str]:
    yield from layout.footnotes
    if estimand is not None:
        yield f"Estimand {estimand.id}: {estimand.summary}"
        for event in estimand.intercurrent_events:
            handling = f" ({event.handling})" if event.handling else ""
            yield f"Intercurrent event: {event.event}: {event.strategy}{handling}"
    yield from _noted("Method", (row["method"] for row in body))
    yield from _noted("Note", (row["warning"] for row in body))
    if any(row["stat"] is None and row["stat_text"] is None for row in body):
        yield f"{NOT_ESTIMABLE}: not estimable."
    yield from _noted(NOT_ESTIMABLE, (row["error"] for row in body))
    yield ROUNDING
    simulated = "SIMULATED DATA: no participant exists. " if origin.is_simulated else ""
    run = f", run {origin.run_id}" if origin.run_id else ""
    yield (
        f"{simulated}Source: results.clinical_statistics of {origin.study_id}, version {origin.version}"
        f" ({origin.published_at} UTC){run}; trialhouse {origin.software_version}"
    )


def _noted(what: str, texts: Iterable[str | None]) -> Iterator[str]:
    """Say each text once; very many of them are counted, and stand in the lake."""
    distinct = list(dict.fromkeys(text for text in texts if text))
    for text in distinct[:MOST_NOTES]:
        yield f"{what}: {text}"
    if len(distinct) > MOST_NOTES:
        yield f"{what}: {len(distinct) - MOST_NOTES} more in results.clinical_statistics"
