"""Analysis results data as a report reads them: one cell for each address, its statistics by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from tasks.report.wording import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tasks.report.section import Frames

TOTAL = "Total"
Value = float | str | None


@dataclass(frozen=True, slots=True)
class Cell:
    """The statistics that one computation gave at one address; a comparison names its `reference`."""

    estimand: str | None
    arm: str | None
    reference: str | None
    group2: str | None
    group3: str | None
    variable: str
    label: str
    level: str | None
    context: str
    unit: str | None
    values: dict[str, Value] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, None] = field(default_factory=dict)

    def number(self, name: str) -> float | None:
        value = self.values.get(name)
        return value if isinstance(value, float) else None

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        return None if value is None or isinstance(value, float) else value

    @property
    def method(self) -> str | None:
        return next(iter(self.methods.values()), None)

    @property
    def remark(self) -> str | None:
        return "; ".join(self.remarks) or None


# What tells one cell from another, besides the estimand and the context.
_ADDRESS = (
    "estimand", "group1_level", "group1_reference", "group2_level", "group3_level", "variable",
    "variable_label", "variable_level", "context",
)  # fmt: skip
_READ = (*_ADDRESS, "unit", "stat_name", "stat", "stat_text", "method", "warning", "error")


def cells(statistics: pl.DataFrame, *contexts: str) -> list[Cell]:
    """Gather statistics into cells, in the order of their first statistic; all contexts if none is named."""
    chosen = statistics.filter(pl.col("context").is_in(list(contexts))) if contexts else statistics
    found: dict[tuple[str | None, ...], Cell] = {}
    for row in chosen.select(_READ).iter_rows():
        address, (unit, name, number, text, method, warning, error) = row[:-7], row[-7:]
        cell = found.get(address)
        if cell is None:
            cell = found[address] = _new(address, unit)
        cell.values[name] = number if text is None else text
        if method:
            cell.methods[name] = method
        cell.remarks.update(dict.fromkeys(said for said in (warning, error) if said))
    return list(found.values())


def _new(address: tuple[str | None, ...], unit: str | None) -> Cell:
    estimand, arm, reference, group2, group3, variable, label, level, context = address
    return Cell(
        estimand=estimand, arm=arm, reference=reference, group2=group2, group3=group3,
        variable=variable or "", label=label or variable or "", level=level, context=context or "", unit=unit,
    )  # fmt: skip


def sizes(statistics: pl.DataFrame) -> dict[str, int]:
    """Return the columns of a table with their N: the arms in their order, and all of them together last."""
    stated = {
        cell.arm: round(n)
        for cell in cells(statistics, "population")
        if cell.arm is not None and (n := cell.number("N")) is not None
    }
    return dict(sorted(stated.items(), key=lambda item: item[0] == TOTAL))


def estimand_titles(frames: Frames) -> dict[str, str]:
    declared = frames.get("meta.estimand")
    if declared is None:
        return {}
    return dict(declared.select("estimand", "title").iter_rows())


def by_estimand(statistics: pl.DataFrame, frames: Frames) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Give the statistics of each estimand with its id and the heading that it needs among others."""
    titles = estimand_titles(frames)
    ids = statistics["estimand"].unique(maintain_order=True).to_list()
    for estimand in ids:
        part = statistics.filter(pl.col("estimand").eq_missing(estimand))
        heading = f"<h3>{escape(titles.get(estimand, estimand))}</h3>" if len(ids) > 1 else ""
        yield estimand or "", heading, part


def methods_note(parts: Iterable[Cell], *, most: int = 6) -> str:
    """Name every method of the cells once, and what they warn of."""
    read = list(parts)
    methods = dict.fromkeys(method for cell in read for method in cell.methods.values())
    remarks = dict.fromkeys(said for cell in read for said in cell.remarks)
    said = [f"Method: {method}." for method in methods] + [f"{remark}." for remark in remarks]
    if not said:
        return ""
    more = len(said) - most
    listed = "".join(f"<li>{escape(text[:1].upper() + text[1:])}</li>" for text in said[:most])
    rest = f"<li>and {more} more methods and remarks</li>" if more > 0 else ""
    return f'<ul class="note">{listed}{rest}</ul>'
