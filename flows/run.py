"""Run: all stages, each publishing at most one version; what is unchanged is not done again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.states import Completed

from flows.analyze import analyze
from flows.artifacts import show_checks, show_results
from flows.build import build
from flows.ingest import ingest
from flows.report import report
from flows.working import die_with_worker
from tasks import steps
from tasks.stage import log, new_run_id
from warehouse.errors import LakeMovedOnError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from tasks.stage import StageResult

ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run did, stage by stage, and the report of the version it ended at."""

    stages: tuple[StageResult, ...]
    page: Path

    @property
    def version(self) -> int:
        return max(stage.version for stage in self.stages)

    @property
    def is_new(self) -> bool:
        return any(stage.is_new for stage in self.stages)


async def _start_again_if_moved(
    stage: Callable[..., Coroutine[Any, Any, StageResult]], *arguments: object
) -> StageResult:
    """Do a stage again, on the newest version, if another writer published while it worked."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await stage(*arguments)
        except LakeMovedOnError as error:
            log.warning("%s: it starts again", error)
    return await stage(*arguments)


@flow(name="run", flow_run_name="run {study}", timeout_seconds=24 * 3600)
async def run(study: str, data: str | None = None, again: bool = False) -> RunResult:
    """Ingest, build, analyze and report one study; with `again` make every table anew."""
    die_with_worker()
    run_id = new_run_id()
    # Taken before anything is read: a file that arrives during the run is then news to the next one.
    key = steps.hash_delivery(study, data)
    try:
        stages = (
            await _start_again_if_moved(ingest, study, data, run_id),
            await _start_again_if_moved(build, study, run_id, again),
            await _start_again_if_moved(analyze, study, run_id, again),
        )
    except Exception:
        await show_checks(study)
        raise
    await show_checks(study)
    page = await report(study)
    await show_results(study)
    result = RunResult(stages, page)
    steps.remember_run(study, key, result.version)
    message = (
        f"version {result.version}" if result.is_new else f"nothing changed since version {result.version}"
    )
    # Prefect unpacks a returned state; this one tells the UI the version.
    return Completed(message=message, data=result)  # type: ignore[return-value]
