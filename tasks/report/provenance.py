"""Versions: which data, code and runs the page shows, and the commands that make it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.report.section import About, Frames, Section
from tasks.report.tables import Column, code, plain, prose, table
from tasks.report.wording import escape, moment

if TYPE_CHECKING:
    import polars as pl

NEWEST_RUNS = 20


def write(frames: Frames, about: About) -> str:
    parts = [_facts(about), _commands(about)]
    if "meta.run" in frames:
        parts.append(_runs(frames["meta.run"], about))
    return "".join(parts)


def _facts(about: About) -> str:
    facts = [
        ("Study", about.study_id),
        (
            "Version of this page",
            f"{about.version}" + (f" (release {about.release})" if about.release else ""),
        ),
        ("Version of the data analysed", about.data_version),
        ("Published", moment(about.published_at)),
        ("Run", about.run_id),
        ("Code", about.code_version),
        ("Phase", about.phase),
        ("Indication", about.indication),
        ("Registry", about.registry),
        ("Reference", about.reference),
        ("Data to be had from", about.obtain),
    ]
    listed = "".join(
        f"<div><dt>{name}</dt><dd>{escape(fact)}</dd></div>" for name, fact in facts if fact is not None
    )
    return f'<dl class="facts">{listed}</dl>'


def _commands(about: About) -> str:
    if not about.commands:
        return ""
    lines = "\n".join(escape(command) for command in about.commands)
    return (
        "<h3>How to make this page again</h3>"
        '<p>With the same data folder and the code version above:</p><pre class="scroll" tabindex="0"'
        f' role="region" aria-label="Commands"><code>{lines}</code></pre>'
    )


def _runs(runs: pl.DataFrame, about: About) -> str:
    newest = runs.sort("started_at", "stage", descending=True, nulls_last=True)
    return table(
        "runs",
        newest.head(NEWEST_RUNS),
        [
            Column("Started (UTC)", lambda row: moment(row["started_at"])),
            Column("Finished (UTC)", lambda row: moment(row["finished_at"])),
            plain("Stage", "stage"),
            plain("Status", "status"),
            prose("What happened", lambda row: row["message"]),
            code("Run", "run_id"),
            code("Code", "code_version"),
        ],
        caption="Runs, newest first" if runs.height <= NEWEST_RUNS else f"The newest {NEWEST_RUNS} runs",
        about=about,
        whole_table="meta.run",
    )


SECTION = Section("provenance", "Versions and how to reproduce", (), write, uses=("meta.run",))
