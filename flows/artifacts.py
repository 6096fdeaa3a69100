"""What a person wants to see of a run in the Prefect UI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from tasks.queries import failed_checks, primary_result, read, top_genes
from warehouse.errors import TrialhouseError
from warehouse.study import load_study
from warehouse.versions import versions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl

    from warehouse.study import Study

ROWS = 50
CHARACTERS = 80
# A screen shows the first few columns: what a person looks for comes first.
CHECKS = (
    "severity",
    "table_name",
    "rows_failing",
    "first_at",
    "notes",
    "column_name",
    "expectation",
    "observed",
)
PRIMARY = (
    "statistic_label",
    "variable",
    "n",
    "estimate",
    "ci_low",
    "ci_high",
    "p_value",
    "is_primary",
    "method",
)
GENES = ("symbol", "log2_fold_change", "p_adjusted", "p_value", "base_mean", "feature_id", "status")


async def show_checks(study_name: str) -> None:
    """Show what failed, also where the run stopped; a lake that is not there has nothing to show."""
    try:
        study = load_study(study_name)
        failed = read(study.id, failed_checks)
    except (TrialhouseError, duckdb.Error, OSError):  # the run's own error says why
        return
    await _table(
        study,
        "checks",
        failed,
        CHECKS,
        f"What failed in {study.study.title}: {failed.height} expectations are not met",
    )


async def show_results(study_name: str) -> None:
    """Show the primary result and the genes that changed most, where the study has them."""
    study = load_study(study_name)
    # One opening for both: each costs more than the questions.
    primary, genes = read(study.id, lambda connection: (primary_result(connection), top_genes(connection)))
    if primary.height:
        await _table(study, "primary-result", primary, PRIMARY, f"Primary result of {study.study.title}")
    if genes.height:
        await _table(study, "top-genes", genes, GENES, f"Genes that changed most in {study.study.title}")


async def show_version(study: Study, page: Path) -> None:
    """Show which version the lake is at, what each of the last ones did, and where the report lies."""
    listed = read(study.id, versions).tail(10).reverse()
    lines = [
        f"# {study.study.title}",
        f"The lake is at **version {listed['version'][0]}**. Report: `{page}`",
        "",
        "| version | when (UTC) | stage | what |",
        "|---|---|---|---|",
        *(
            f"| {row['version']} | {row['published_at']} | {row['stage']} | {row['message']} |"
            for row in listed.iter_rows(named=True)
        ),
        "",
        f'`trialhouse sql {study.id} "select ..." --at {listed["version"][0]}` asks this version again.',
    ]
    await acreate_markdown_artifact(
        key=_key(study, "version"), markdown="\n".join(lines), description=f"Versions of {study.study.title}"
    )


async def _table(
    study: Study, name: str, frame: pl.DataFrame, first: Sequence[str], description: str
) -> None:
    order = [*(column for column in first if column in frame.columns)]
    order += [column for column in frame.columns if column not in order]
    rows = [
        {column: _cell(value) for column, value in row.items()}
        for row in frame.select(order).head(ROWS).iter_rows(named=True)
    ]
    more = f" (the first {ROWS} of {frame.height})" if frame.height > ROWS else ""
    await acreate_table_artifact(
        key=_key(study, name), table=rows or [{"": "nothing"}], description=description + more
    )


def _cell(value: Any) -> Any:
    """Show as many digits and letters as a person reads in a table; the lake holds them all."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str) and len(value) > CHARACTERS:
        return value[: CHARACTERS - 1] + "…"
    return value


def _key(study: Study, name: str) -> str:
    return f"{study.id.replace('_', '-')}-{name}"
