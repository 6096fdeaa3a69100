"""Which tests decide, adjusted in their families, and whether every N of every table is the same people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from tasks.report.section import About, Frames, Section
from tasks.report.tables import Column, numeric, prose, table
from tasks.report.wording import ABSENT, capitalised, count, escape, integer, p_value

TESTS = "reports.confirmatory_tests"
COUNTS = "results.participant_counts"

Row = Mapping[str, Any]


def write(frames: Frames, about: About) -> str:
    return _families(frames[TESTS], about) + _reconciled(frames.get(COUNTS), about)


def _families(tests: pl.DataFrame, about: About) -> str:
    if tests.is_empty():
        return (
            "<p>No test belongs to a family: every p-value of this report is descriptive, and none decides."
            "</p>"
        )
    several = tests.select("arm", "reference").n_unique() > 1
    made = table(
        "families",
        tests.sort("position"),
        [
            Column("Family", lambda row: str(row["family"])),
            prose("Estimand", lambda row: row["title"]),
            *([Column("Arm", _arm)] if several else []),
            numeric("p", "p_value", p_value),
            numeric("p, adjusted", "p_adjusted", p_value),
            prose("Adjustment", lambda row: capitalised(row["adjustment"] or "none")),
            prose("Test", lambda row: capitalised(row["method"] or ABSENT)),
        ],
        caption="The tests that decide, adjusted within their families",
        about=about,
        whole_table=TESTS,
    )
    return (
        "<p>Only these p-values decide about an estimand; every other one on this page is descriptive and"
        f" not adjusted for their number.</p>{made}"
    )


def _arm(row: Row) -> str:
    if row["reference"]:
        return f"{row['arm']} against {row['reference']}"
    return str(row["arm"] or "all arms")


def _reconciled(counts: pl.DataFrame | None, about: About) -> str:
    if counts is None or counts.is_empty():
        return ""
    wrong = counts.filter(~pl.col("is_reconciled"))
    n_tables = counts["analysis"].n_unique()
    opening = (
        f"<h3>Participant counts</h3><p>{count(counts.height, 'number')} of participants in"
        f" {count(n_tables, 'result')} compared with the participant flow:"
    )
    if wrong.is_empty():
        return f"{opening} all equal.</p>"
    return f"{opening} <strong>{integer(wrong.height)} differ</strong>.</p>" + table(
        "unreconciled",
        wrong,
        [
            prose("Rule", lambda row: row["rule"]),
            Column("Result", lambda row: f"<code>{escape(row['analysis'])}</code>", is_markup=True),
            Column("Arm", lambda row: str(row["arm"] or ABSENT)),
            prose("Of", lambda row: row["subject"] or ABSENT),
            numeric("Stated", "n_stated"),
            numeric("Expected", "n_expected"),
        ],
        caption="Numbers that differ",
        about=about,
        whole_table=COUNTS,
    )


SECTION = Section("multiplicity", "Tests that decide", (TESTS,), write, uses=(COUNTS,))
