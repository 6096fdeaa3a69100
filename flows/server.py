"""`trialhouse up`: Prefect's server and UI on loopback, the deployments of prefect.yaml, and their worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from flows import environment, lifeline
from flows.output import say
from flows.prefect_server import PrefectServer
from flows.processes import PROCESSES, close_abandoned
from flows.secret import own_secret
from warehouse.errors import LakeError, StudyError
from warehouse.study import HOUSE

POOL = "trialhouse"


def serve(port: int) -> None:
    """Start the server, deploy, and work until interrupted; both processes end with this one."""
    if running := environment.running_server():
        raise LakeError(f"a trialhouse server is up already at {running.api.removesuffix('/api')}")
    prefect_file = HOUSE / "prefect.yaml"
    if not prefect_file.is_file():
        raise StudyError(f"{prefect_file}: not found: `trialhouse up` serves the deployments of a checkout")
    given = os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or os.environ.get("PREFECT_API_AUTH_STRING")
    secret = given or own_secret(environment.secret_file())
    server = PrefectServer.start(environment.prefect_folder(), secret, port=port, is_temporary=False)
    worker = None
    try:
        server.await_ready()
        environment.use(server.api, secret)
        environment.connect()
        _call("work-pool", "create", POOL, "--type", "process", "--overwrite")
        _call("deploy", "--all", "--prefect-file", str(prefect_file))
        _close_abandoned()
        close_abandoned(environment.prefect_folder() / PROCESSES)
        worker = lifeline.start(
            *("flows.working", "--pool", POOL, "--type", "process", "--name", POOL),
            folder=HOUSE,
            environment=os.environ,
            stdout=sys.stderr,
        )
        environment.announce(server, is_secret_ours=not given)
        where = "in PREFECT_SERVER_API_AUTH_STRING" if given else f"the line in {environment.secret_file()}"
        say(f"Password of the UI: {where}")
        say(f"Prefect UI: http://127.0.0.1:{port}  (schedules run while this is up; Ctrl-C ends it)")
        _watch([server.process, worker])
    except KeyboardInterrupt:
        say("stopping")
    finally:
        environment.server_file().unlink(missing_ok=True)
        if worker:
            lifeline.end(worker)
        server.stop()


def _call(*arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter and fixed arguments
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        cwd=HOUSE,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LakeError(f"prefect {' '.join(arguments)}: {done.stdout}{done.stderr}")


def _close_abandoned() -> None:
    """Mark the runs Crashed that ended with an earlier `up`.

    Nobody else would, and each holds the one place of its deployment: no later run would start.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterParentFlowRunId,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    at_work = FlowRunFilterState(
        type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
    )
    with get_client(sync_client=True) as client:
        abandoned = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=at_work),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
        )
        if not abandoned:
            return
        parents = FlowRunFilterParentFlowRunId(any_=[run.id for run in abandoned])
        stages = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=at_work, parent_flow_run_id=parents)
        )
        why = "ended with an earlier `trialhouse up`; a new run goes on from there"
        for run in (*stages, *abandoned):
            client.set_flow_run_state(run.id, Crashed(message=why), force=True)


def _watch(processes: list[subprocess.Popen[bytes]]) -> None:
    while True:
        for process in processes:
            if process.poll() is not None:
                raise LakeError(f"a Prefect process ended with code {process.returncode}: see above")
        time.sleep(1)
