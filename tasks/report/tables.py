"""Tables of the report: great-tables makes the markup, the page's one style sheet dresses all of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import great_tables as gt
import polars as pl

from tasks.report.wording import ABSENT, count, escape, integer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tasks.report.section import About

MOST_ROWS = 200


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: heading, and how a row's cell is written.

    `text` gives plain text, which great-tables escapes; with `is_markup` it gives HTML and has escaped
    its data itself.
    """

    heading: str
    text: Callable[[Mapping[str, Any]], str]
    align: Literal["left", "right"] = "left"
    is_markup: bool = False


def prose(heading: str, text: Callable[[Mapping[str, Any]], str]) -> Column:
    """Return a column of sentences, which keeps room to be read in however many columns stand beside it."""
    return Column(heading, lambda row: f'<div class="prose">{escape(text(row))}</div>', is_markup=True)


def plain(heading: str, name: str) -> Column:
    return Column(heading, lambda row: ABSENT if row[name] is None else str(row[name]))


def code(heading: str, name: str) -> Column:
    """Return a column of names that a person may want to copy: tables, files, identifiers.

    Several names in a cell stand in elements of their own, so that a line may break between them.
    """

    def names(row: Mapping[str, Any]) -> str:
        return ", ".join(f"<code>{escape(one)}</code>" for one in str(row[name] or ABSENT).split(", "))

    return Column(heading, names, is_markup=True)


def numeric(heading: str, name: str, write: Callable[[Any], str] = integer) -> Column:
    return Column(heading, lambda row: write(row[name]), align="right")


def table(
    name: str,
    frame: pl.DataFrame,
    columns: Sequence[Column],
    *,
    caption: str,
    about: About,
    emphasise: Callable[[Mapping[str, Any]], bool] | None = None,
    whole_table: str | None = None,
    css: str = "table",
) -> str:
    """Write a frame as a captioned table that scrolls inside its own box.

    `name` makes the ids, so it is unique on the page. `whole_table` names the warehouse table that holds
    the rows beyond those shown; `css` names the classes of the figure.
    """
    rows = frame.head(MOST_ROWS).to_dicts()
    if not rows:
        return f'<p class="none">{escape(caption)}: none.</p>'
    keys = [f"c{position}" for position in range(len(columns))]
    cells = pl.DataFrame(
        {key: [column.text(row) for row in rows] for key, column in zip(keys, columns, strict=True)},
        schema=dict.fromkeys(keys, pl.String),
    )
    headings: dict[str, Any] = {key: column.heading for key, column in zip(keys, columns, strict=True)}
    made = gt.GT(cells, id=name).cols_label(**headings)
    for align in ("left", "right"):
        aligned = [key for key, column in zip(keys, columns, strict=True) if column.align == align]
        if aligned:
            made = made.cols_align(align=align, columns=aligned)
    markup = [key for key, column in zip(keys, columns, strict=True) if column.is_markup]
    if markup:
        made = made.fmt_passthrough(columns=markup, escape=False)
    emphasised = [place for place, row in enumerate(rows) if emphasise and emphasise(row)]
    if emphasised:
        made = made.tab_style(gt.style.text(weight="bold"), gt.loc.body(rows=emphasised))
    note = ""
    if frame.height > len(rows):
        where = f" All of them are in <code>{escape(whole_table)}</code>." if whole_table else ""
        note = f'<p class="note">The first {integer(len(rows))} of {count(frame.height, "row")}.{where}</p>'
    return (
        f'<figure class="{css}" id="{name}-table"><figcaption>{_caption(caption, about)}</figcaption>'
        f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0">{_bare(made)}</div>'
        f"{note}</figure>"
    )


def folded(summary: str, content: str) -> str:
    """Put a long table behind a line that opens it; on paper it is open."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _caption(caption: str, about: About) -> str:
    said = ' <span class="tag simulated">Simulated data</span>' if about.is_simulated else ""
    return f"{escape(caption)}{said}"


def _bare(made: gt.GT) -> str:
    # great-tables repeats eight kilobytes of style rules for each table; the page has its own.
    found = re.search(r"<table.*</table>", made.as_raw_html(), re.DOTALL)
    if found is None:
        raise ValueError("great-tables: a table without <table>: one is expected")
    slim = re.sub(r' data-quarto-[a-z-]+="false"', "", found.group())
    # With one row of headings `scope="col"` says what `headers` would repeat in every cell.
    slim = re.sub(r'<td headers="[^"]*" class="gt_row gt_left"', "<td", slim)
    slim = re.sub(r'<td headers="[^"]*" class="gt_row ', '<td class="', slim)
    return re.sub(r">\s*\n\s*<", "><", slim)
