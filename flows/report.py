"""Report: one self-contained page of one version."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.artifacts import show_version
from tasks import steps


@flow(name="report", flow_run_name="report {study}", timeout_seconds=3600)
async def report(study: str, version: int | None = None, output: str | None = None) -> Path:
    """Write the report of a version, the newest by default, and return where it lies."""
    prepared = steps.prepare_study(study)
    page = steps.named(steps.write_report, "write report")(
        prepared, version, Path(output) if output else None
    )
    await show_version(prepared.study, page)
    return page
