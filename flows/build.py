"""Build: from raw to checked, analysis-ready tables."""

from __future__ import annotations

from prefect import flow

from flows.naming import flow_run_name
from tasks import steps
from tasks.modelling import count
from tasks.stage import STAGE_SCHEMAS, StageResult, log, new_run, open_stage


@flow(name="build", flow_run_name="build {study}", timeout_seconds=6 * 3600)
async def build(study: str, run_id: str | None = None, again: bool = False) -> StageResult:
    """Make and judge every table from staging to adam whose SQL, suite or inputs changed, or all `again`."""
    prepared = steps.prepare_study(study)
    run = new_run({"study": study, "again": again}, flow_run_name(), run_id, again=again)
    with open_stage("build", prepared.study, run) as stage:
        for table, reason in prepared.plan.skipped.items():
            log.info("%s: not made: %s", table, reason)
        steps.check_sources(stage)
        models = prepared.plan.made(*STAGE_SCHEMAS["build"])
        made = [steps.named(steps.build_model, f"build {model.table}")(stage, model) for model in models]
        stage.will_drop_all_but({model.table for model in models})
        return steps.named(steps.publish, "publish tables")(stage, f"built {count(sum(made), 'table')}")
