"""What `trialhouse run` does, without Prefect: the steps of flows/*.py in their order, as plain functions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.stage import StageResult


def run(study: str, data: str) -> Path:
    from tasks.preparation import prepare
    from tasks.reporting import write_report
    from tasks.stage import new_run_id
    from tasks.unchanged import remember, run_key, unchanged_version
    from warehouse.study import load_study

    loaded = load_study(study)
    key = run_key(loaded, data)
    if unchanged_version(loaded, key) is not None:
        raise SystemExit("the home holds a run of this study already: only a whole run can be compared")
    run_id = new_run_id()
    ingest(study, data, run_id)
    build(study, run_id)
    done = analyze(study, run_id)
    page = write_report(prepare(study), None, None)
    remember(loaded, key, done.version)
    return page


def ingest(study: str, data: str, run_id: str) -> StageResult:
    from tasks import landing
    from tasks.preparation import prepare
    from tasks.stage import new_run, open_stage

    prepared = prepare(study)
    root = prepared.root(data)
    with open_stage("ingest", prepared.study, new_run({"study": study}, None, run_id)) as stage:
        landed = landing.landed_files(stage.connection, stage.input_version)
        deliveries = landing.find_deliveries(stage.study, root, landed)
        for delivery in deliveries:
            if delivery.new or delivery.withdrawn:
                landing.land_source(stage, delivery)
        return stage.publish("landed")


def build(study: str, run_id: str) -> StageResult:
    from tasks import modelling
    from tasks.preparation import prepare
    from tasks.stage import STAGE_SCHEMAS, new_run, open_stage

    prepared = prepare(study)
    with open_stage("build", prepared.study, new_run({"study": study}, None, run_id)) as stage:
        stage.provide_study_tables()
        modelling.provide_sources(stage)
        models = prepared.plan.made(*STAGE_SCHEMAS["build"])
        for model in models:
            modelling.build_model(stage, model)
        stage.will_drop_all_but({model.table for model in models})
        return stage.publish("built")


def analyze(study: str, run_id: str) -> StageResult:
    from tasks import analyzing, modelling
    from tasks.preparation import prepare
    from tasks.stage import STAGE_SCHEMAS, new_run, open_stage

    prepared = prepare(study)
    with open_stage("analyze", prepared.study, new_run({"study": study}, None, run_id)) as stage:
        stage.provide_study_tables()
        for model in prepared.plan.made(*STAGE_SCHEMAS["build"]):
            stage.require(model.table)
        for one in prepared.analyses:
            analyzing.run_analysis(stage, one)
        reports = prepared.plan.made("reports")
        for model in reports:
            modelling.build_model(stage, model)
        stage.will_drop_all_but(
            {one.analysis.fills for one in prepared.analyses} | {model.table for model in reports}
        )
        return stage.publish("analyzed")


def main() -> None:
    from flows.environment import show_progress

    show_progress()
    study, data = sys.argv[1:]
    print(run(study, data))


if __name__ == "__main__":
    main()
