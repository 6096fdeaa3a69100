"""`trialhouse up`: Prefect's server and UI on loopback, the deployments of prefect.yaml, and their worker."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from flows.environment import answers, running_server, server_file
from flows.output import say
from warehouse.errors import LakeError, StudyError
from warehouse.study import HOUSE

if TYPE_CHECKING:
    from types import FrameType

POOL = "trialhouse"
START_SECONDS = 120
STOP_SECONDS = 15


def serve(port: int) -> None:
    """Start the server, deploy, and work until interrupted; both processes end with this one."""
    if url := running_server():
        raise LakeError(f"a trialhouse server is up already at {url.removesuffix('/api')}")
    prefect_file = HOUSE / "prefect.yaml"
    if not prefect_file.is_file():
        raise StudyError(f"{prefect_file}: not found: `trialhouse up` serves the deployments of a checkout")
    _refuse_taken(port)
    api = f"http://127.0.0.1:{port}/api"
    os.environ |= {
        "PREFECT_API_URL": api,
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_UI_API_URL": api,
        "PREFECT_UI_API_URL": api,
    }
    for ending in (signal.SIGTERM, signal.SIGHUP):  # a service manager, a closed terminal
        signal.signal(ending, _stop)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes.append(_start("server", "start", "--host", "127.0.0.1", "--port", str(port)))
        _await(api, processes[0])
        _call("work-pool", "create", POOL, "--type", "process", "--overwrite")
        _call("deploy", "--all", "--prefect-file", str(prefect_file))
        _close_abandoned()
        processes.append(_start("worker", "start", "--pool", POOL, "--type", "process", "--name", POOL))
        server_file().write_text(json.dumps({"api": api, "pid": os.getpid()}), encoding="utf-8")
        say(f"Prefect UI: http://127.0.0.1:{port}  (schedules run while this is up; Ctrl-C ends it)")
        _watch(processes)
    except KeyboardInterrupt:
        say("stopping")
    finally:
        server_file().unlink(missing_ok=True)
        for process in reversed(processes):
            _end(process)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches us alone, and we end the server after the worker.
    return subprocess.Popen(  # noqa: S603 - our own interpreter and fixed arguments
        [sys.executable, "-m", "prefect", *arguments], cwd=HOUSE, start_new_session=True, stdout=sys.stderr
    )


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


def _await(api: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers(api):
        if server.poll() is not None:
            raise LakeError(f"the Prefect server ended at once with code {server.returncode}: see above")
        if time.monotonic() > deadline:
            raise LakeError(f"the Prefect server does not answer at {api} after {START_SECONDS} s")
        time.sleep(0.5)


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


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with the runs that a stuck worker has started
        process.wait()


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise LakeError(f"port {port}: something listens there already: name another with --port")
