"""Analyze: from one fixed version of the checked tables to results and the views for people."""

from __future__ import annotations

from prefect import flow

from flows.naming import flow_run_name
from tasks import steps
from tasks.modelling import count
from tasks.stage import STAGE_SCHEMAS, StageResult, new_run, open_stage


@flow(name="analyze", flow_run_name="analyze {study}", timeout_seconds=12 * 3600)
async def analyze(study: str, run_id: str | None = None, again: bool = False) -> StageResult:
    """Run every analysis whose code, parameters or inputs changed, and judge its result."""
    prepared = steps.prepare_study(study)
    run = new_run({"study": study, "again": again}, flow_run_name(), run_id, again=again)
    with open_stage("analyze", prepared.study, run) as stage:
        stage.provide_study_tables()
        for model in prepared.plan.made(*STAGE_SCHEMAS["build"]):
            stage.require(model.table)
        ran = [steps.named(steps.run_analysis, one.analysis.name)(stage, one) for one in prepared.analyses]
        reports = prepared.plan.made("reports")
        made = [steps.named(steps.build_model, f"build {model.table}")(stage, model) for model in reports]
        stage.will_drop_all_but(
            {one.analysis.fills for one in prepared.analyses} | {model.table for model in reports}
        )
        analyses = f"{sum(ran)} analys{'is' if sum(ran) == 1 else 'es'}"
        message = f"ran {analyses}, built {count(sum(made), 'report table')}"
        return steps.named(steps.publish, "publish results")(stage, message)
