"""Right before publishing: a run that was ended, or whose worker has gone, publishes nothing."""

from __future__ import annotations

import os
from uuid import UUID

from warehouse.errors import LakeError

# Holds the process id of the worker in what the worker starts.
WORKER = "TRIALHOUSE_WORKER"


def refuse_ended_run() -> None:
    """Ask what has become of the flow run that this process works at, and of the run that it is part of.

    Raises
    ------
    LakeError
        If one of them was marked as ended, or is to be cancelled.
    """
    # Prefect reads its settings when it is imported, which the command does after it has set them.
    from prefect.client.orchestration import get_client
    from prefect.runtime import flow_run

    worker = os.environ.get(WORKER)
    if worker and os.getppid() != int(worker):
        raise LakeError("nothing was published: the worker of this run has gone: run again")
    run_ids = {UUID(run_id) for run_id in (flow_run.get_id(), flow_run.get_root_flow_run_id()) if run_id}
    if not run_ids:  # called outside a flow, as a notebook or a test does
        return
    with get_client(sync_client=True) as client:
        for run_id in run_ids:
            state = client.read_flow_run(run_id).state
            if state and (state.is_final() or state.is_cancelling()):
                why = f": {state.message}" if state.message else ""
                raise LakeError(
                    f"nothing was published: this run was marked {state.name} meanwhile{why}: run again"
                )
