"""What failed: every expectation that is not met, every failing value with its file and row, corrections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from tasks.report.section import About, Frames, Section
from tasks.report.tables import Column, code, folded, numeric, plain, prose, table
from tasks.report.wording import ABSENT, count, escape, integer, verb

STAGES = ("ingest", "build", "analyze")
_SEVERITY_ORDER = ("critical", "set_aside", "warning")
_SEVERITY_SAID = {"critical": "stops", "set_aside": "sets aside", "warning": "notes"}

Row = Mapping[str, Any]


def write(frames: Frames, about: About) -> str:
    results = frames["meta.check_result"]
    if results.is_empty():
        return "<p>No check has been made.</p>"
    parts = [_per_stage(results, about)]
    unmet = results.filter(~pl.col("is_met")).sort(
        _severity_rank(), "table_name", "expectation", "column_name"
    )
    if unmet.is_empty():
        parts.append(f"<p>All {count(results.height, 'check')} are met.</p>")
    else:
        parts += [_unmet(unmet, about), _failures(frames.get("meta.check_failure"), about)]
    if "meta.correction" in frames:
        parts.append(_corrections(frames["meta.correction"], about))
    return "".join(parts)


def _severity_rank() -> pl.Expr:
    return pl.col("severity").replace_strict(
        {name: rank for rank, name in enumerate(_SEVERITY_ORDER)}, default=len(_SEVERITY_ORDER)
    )


def _per_stage(results: pl.DataFrame, about: About) -> str:
    # rows_in, kept and set aside repeat on every check of a table: they are counted once a table.
    rows = (
        results.group_by("stage", "table_name")
        .agg(pl.col("rows_in", "rows_kept", "rows_set_aside").max())
        .group_by("stage")
        .agg(pl.len().alias("tables"), pl.col("rows_in", "rows_kept", "rows_set_aside").sum())
    )
    checks = results.group_by("stage").agg(pl.len().alias("checks"), (~pl.col("is_met")).sum().alias("unmet"))
    order = {stage: place for place, stage in enumerate(STAGES)}
    joined = rows.join(checks, on="stage").sort(
        pl.col("stage").replace_strict(order, default=len(order), return_dtype=pl.Int64), "stage"
    )
    return table(
        "gates",
        joined,
        [
            Column("Stage", lambda row: str(row["stage"])),
            numeric("Tables", "tables"),
            numeric("Checks", "checks"),
            numeric("Not met", "unmet"),
            numeric("Rows in", "rows_in"),
            numeric("Kept", "rows_kept"),
            numeric("Set aside", "rows_set_aside"),
        ],
        caption="Checks by stage (rows in = rows kept + rows set aside)",
        about=about,
    )


def _unmet(unmet: pl.DataFrame, about: About) -> str:
    return table(
        "unmet",
        unmet,
        [
            Column("Failing", _severity_tag, is_markup=True),
            code("Table", "table_name"),
            code("Column", "column_name"),
            prose("Why it is checked", lambda row: row["notes"] or row["expectation"]),
            numeric("Rows failing", "rows_failing"),
            numeric("of", "rows_in"),
            prose("Observed", lambda row: row["observed"] or ABSENT),
        ],
        caption="Checks that are not met",
        about=about,
        whole_table="meta.check_result",
    )


def _severity_tag(row: Row) -> str:
    severity = str(row["severity"])
    said = _SEVERITY_SAID.get(severity, severity)
    css = severity if severity in _SEVERITY_SAID else "warning"
    return f'<span class="tag {css}">{escape(said)}</span>'


def _failures(failures: pl.DataFrame | None, about: About) -> str:
    if failures is None or failures.is_empty():
        return ""
    listed = failures.sort(
        _severity_rank(), "table_name", "column_name", "source_file", "source_row", "row_key"
    )
    made = table(
        "failures",
        listed,
        [
            Column("What became of it", lambda row: str(row["disposition"])),
            code("Table", "table_name"),
            code("Column", "column_name"),
            Column("Value", lambda row: "empty" if row["value"] is None else str(row["value"])),
            Column("File", _place, is_markup=True),
            numeric("Row", "source_row"),
            prose("Why it is checked", lambda row: row["notes"] or row["expectation"]),
        ],
        caption="Failing values",
        about=about,
        whole_table="meta.check_failure",
    )
    return folded(f"Every failing value with its file and row ({integer(failures.height)})", made)


def _place(row: Row) -> str:
    return f"<code>{escape(row['source_file'] or row['row_key'])}</code>"


def _corrections(corrections: pl.DataFrame, about: About) -> str:
    if corrections.is_empty():
        return "<p>No value was corrected.</p>"
    applied = corrections.filter(pl.col("status") == "confirmed").height
    proposed = corrections.height - applied
    opening = (
        f"<p>{count(applied, 'value')} {verb(applied, 'was', 'were')} corrected by the study's"
        " corrections file"
        + (
            f"; {integer(proposed)} more {verb(proposed, 'is', 'are')} proposed and not applied"
            if proposed
            else ""
        )
        + ".</p>"
    )
    return opening + table(
        "corrections",
        corrections.sort("status", "correction_id", "source_file", "source_row"),
        [
            plain("Status", "status"),
            code("Source", "source"),
            code("Column", "column_name"),
            Column(
                "As delivered", lambda row: "empty" if row["old_value"] is None else str(row["old_value"])
            ),
            plain("As corrected", "new_value"),
            prose("Reason", lambda row: row["reason"]),
            prose("Evidence", lambda row: row["evidence"]),
            code("File", "source_file"),
            numeric("Row", "source_row"),
        ],
        caption="Corrections of source errors",
        about=about,
        whole_table="meta.correction",
    )


SECTION = Section(
    name="checks",
    title="What failed",
    needs=("meta.check_result",),
    write=write,
    uses=("meta.check_failure", "meta.correction"),
)
