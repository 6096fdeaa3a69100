"""A formatted table as a web page of its own, set by great-tables, and the page that lists all of them."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import great_tables as gt
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.export.data_set import Origin
    from tasks.export.formatted_table import FormattedTable, TableColumn

LABELS = "label"
_INDENT_EM = 1.4
_STYLE = (
    "body{margin:2rem;font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif;color:#1d2733}"
    ".simulated{background:#fdf1e3;border:1px solid #b4501e;color:#5c2a0d;padding:.4rem .8rem;"
    "margin:0 0 1rem}"
    ".table{overflow-x:auto}.gt_table td.gt_center{white-space:nowrap}"
    "@media print{body{margin:0}thead{display:table-header-group}tr{break-inside:avoid}"
    "@page{size:landscape}}"
)


def html_table(table: FormattedTable, origin: Origin) -> str:
    """Set one table as a page without scripts or files beside it."""
    return _page(table.title, origin, f'<div class="table">{_set(table)}</div>')


def html_index(tables: Sequence[FormattedTable], origin: Origin) -> str:
    """List the tables with links to their files."""
    items = "".join(
        f'<li><a href="{table.name}.html">{html.escape(table.title)}</a>: '
        f'{html.escape("; ".join(table.subtitles))} (<a href="{table.name}.rtf">RTF</a>)</li>'
        for table in tables
    )
    heading = (
        f"<h1>{html.escape(origin.title)}</h1><p>Version {origin.version}, {origin.published_at} UTC</p>"
    )
    return _page(f"Tables of {origin.study_id}", origin, f"{heading}<ul>{items}</ul>")


def _page(title: str, origin: Origin, content: str) -> str:
    banner = '<p class="simulated">Simulated data: no participant exists.</p>' if origin.is_simulated else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body>{banner}{content}</body></html>\n"
    )


def _set(table: FormattedTable) -> str:
    keys = [f"c{place}" for place in range(len(table.columns))]
    cells = pl.DataFrame(
        {LABELS: [row.label for row in table.rows]}
        | {key: [row.cells[place] for row in table.rows] for place, key in enumerate(keys)},
        schema=dict.fromkeys([LABELS, *keys], pl.String),
    )
    headings = {key: gt.html(_heading(column)) for key, column in zip(keys, table.columns, strict=True)}
    made = (
        gt.GT(cells, id="table")
        .tab_header(
            gt.html(html.escape(table.title)), gt.html("<br>".join(map(html.escape, table.subtitles)))
        )
        .cols_label({LABELS: "", **headings})
        .cols_align(align="left", columns=LABELS)
    )
    if keys:
        made = made.cols_align(align="center", columns=keys)
    for indent, is_heading in sorted({(row.indent, row.is_heading) for row in table.rows}):
        places = [
            place
            for place, row in enumerate(table.rows)
            if (row.indent, row.is_heading) == (indent, is_heading)
        ]
        weight = "font-weight: bold; " if is_heading else ""
        rule = gt.style.css(f"{weight}padding-left: {0.4 + _INDENT_EM * indent:.1f}em")
        made = made.tab_style(rule, gt.loc.body(columns=LABELS, rows=places))
    for note in table.footnotes:
        made = made.tab_source_note(gt.html(html.escape(note)))
    made = made.tab_options(table_font_size="13px", data_row_padding="3px", heading_align="left")
    return str(made.as_raw_html())


def _heading(column: TableColumn) -> str:
    size = "" if column.n is None else f"<br>(N={column.n})"
    return f"{html.escape(column.heading)}{size}"
