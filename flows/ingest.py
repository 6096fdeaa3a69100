"""Ingest: land what was delivered in `raw`, once."""

from __future__ import annotations

from prefect import flow

from flows.naming import flow_run_name
from tasks import steps
from tasks.modelling import count
from tasks.stage import StageResult, new_run, open_stage


@flow(name="ingest", flow_run_name="ingest {study}", timeout_seconds=6 * 3600)
async def ingest(study: str, data: str | None = None, run_id: str | None = None) -> StageResult:
    """Land every new or changed file of the study; files already landed are left alone."""
    prepared = steps.prepare_study(study)
    run = new_run({"study": study, "data": data}, flow_run_name(), run_id)
    root = prepared.root(data)
    with open_stage("ingest", prepared.study, run) as stage:
        deliveries = steps.find_deliveries(stage, root)
        changed = [delivery for delivery in deliveries if delivery.new or delivery.withdrawn]
        for delivery in changed:
            steps.named(steps.land_source, f"land {delivery.source}")(stage, delivery)
        files = sum(len(delivery.new) for delivery in changed)
        gone = sum(len(delivery.withdrawn) for delivery in changed)
        message = f"landed {count(files, 'file')}" + (f", {gone} withdrawn" if gone else "")
        return steps.named(steps.publish, "publish raw")(stage, message)
