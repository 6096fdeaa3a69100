"""The Prefect tasks: thin shells that give each step a name, a time limit and, where it helps, retries."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import analyzing, landing, modelling, preparation, reporting, unchanged
from warehouse import errors
from warehouse.masking import masked_errors
from warehouse.study import load_study

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any, TypeVar

    from tasks.analyses import SwitchedOn
    from tasks.landing import Delivery
    from tasks.preparation import Prepared
    from tasks.stage import Stage, StageResult
    from warehouse.models import Model

    Result = TypeVar("Result")

MINUTES = 60


def may_mend_itself(_task: Any, _run: Any, state: Any) -> bool:
    """Retry only what may mend itself: a network share that hiccups, never a wrong file or a wrong study."""
    try:
        state.result()
    except Exception as error:  # noqa: BLE001 - the state holds whatever the step raised
        return errors.is_passing_fault(error)
    return False


def masked(step: Callable[..., Result]) -> Callable[..., Result]:
    """Let no error of a step reach the orchestrator, which stores it, before it is masked."""

    @functools.wraps(step)
    def masked_step(*arguments: Any, **more: Any) -> Result:
        with masked_errors():
            return step(*arguments, **more)

    return masked_step


@task(name="prepare study", cache_policy=NO_CACHE, timeout_seconds=5 * MINUTES)
@masked
def prepare_study(study: str) -> Prepared:
    return preparation.prepare(study)


@task(
    name="find deliveries",
    cache_policy=NO_CACHE,
    timeout_seconds=60 * MINUTES,
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=may_mend_itself,
)
@masked
def find_deliveries(stage: Stage, root: Path) -> tuple[Delivery, ...]:
    landed = landing.landed_files(stage.connection, stage.input_version)
    return landing.find_deliveries(stage.study, root, landed)


@task(
    name="land source",
    cache_policy=NO_CACHE,
    timeout_seconds=120 * MINUTES,
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=may_mend_itself,
)
@masked
def land_source(stage: Stage, delivery: Delivery) -> bool:
    return landing.land_source(stage, delivery)


@task(name="check sources", cache_policy=NO_CACHE, timeout_seconds=120 * MINUTES)
@masked
def check_sources(stage: Stage) -> None:
    stage.provide_study_tables()
    modelling.provide_sources(stage)


@task(name="build model", cache_policy=NO_CACHE, timeout_seconds=120 * MINUTES)
@masked
def build_model(stage: Stage, model: Model) -> bool:
    return modelling.build_model(stage, model)


@task(name="run analysis", cache_policy=NO_CACHE, timeout_seconds=240 * MINUTES)
@masked
def run_analysis(stage: Stage, one: SwitchedOn) -> bool:
    return analyzing.run_analysis(stage, one)


@task(name="publish", cache_policy=NO_CACHE, timeout_seconds=120 * MINUTES)
@masked
def publish(stage: Stage, message: str) -> StageResult:
    return stage.publish(message)


@task(name="write report", cache_policy=NO_CACHE, timeout_seconds=10 * MINUTES)
@masked
def write_report(prepared: Prepared, version: int | None, output: Path | None) -> Path:
    return reporting.write_report(prepared, version, output)


@task(
    name="hash delivery",
    cache_policy=NO_CACHE,
    timeout_seconds=60 * MINUTES,
    retries=2,
    retry_delay_seconds=[2, 10],
    retry_condition_fn=may_mend_itself,
)
@masked
def hash_delivery(study: str, data: str | None) -> str:
    return unchanged.run_key(load_study(study), data)


@task(name="remember run", cache_policy=NO_CACHE, timeout_seconds=MINUTES)
@masked
def remember_run(study: str, key: str, version: int) -> None:
    unchanged.remember(load_study(study), key, version)


def named(step: Callable[..., Result], name: str) -> Callable[..., Result]:
    """Give one task run the name of what it works on, so that the UI shows each by name."""
    return step.with_options(task_run_name=name)  # type: ignore[attr-defined,no-any-return]
