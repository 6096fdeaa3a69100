"""Which process does which flow run: one whose process has gone is not left Running in the UI for ever."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
from typing import TYPE_CHECKING

from flows import signals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from prefect.client.schemas.objects import FlowRun, State

PROCESSES = "processes"
SECONDS = 5


@contextlib.contextmanager
def noted(folder: Path) -> Iterator[None]:
    """Tag the flow runs of this process, and hold a file of that name locked for as long as it lives.

    The kernel frees the lock however the process ends; a process id may be another's by then.
    """
    from prefect import tags

    folder.mkdir(parents=True, exist_ok=True)
    name = f"process-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    unfinished = folder / f".{name}"
    with unfinished.open("x") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        note = unfinished.rename(folder / name)  # from here on others see it, locked
        try:
            with tags(name):
                yield
        except BaseException:
            if number := signals.received():
                _end_runs([name], is_cancelled=True, why=f"ended by {number.name}")
            raise
        finally:
            note.unlink()


def close_abandoned(folder: Path) -> None:
    """Mark the flow runs Crashed whose command was killed."""
    with contextlib.ExitStack() as held:
        gone = [note for note in sorted(folder.glob("process-*")) if _is_free(note, held)]
        if gone:
            why = "the command was killed; a new run goes on from there"
            _end_runs([note.name for note in gone], is_cancelled=False, why=why)
        for note in gone:
            note.unlink(missing_ok=True)


def _is_free(note: Path, held: contextlib.ExitStack) -> bool:
    try:
        file = held.enter_context(note.open())
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):  # it lives, or has just ended well
        return False
    return True


def _end_runs(names: Sequence[str], *, is_cancelled: bool, why: str) -> None:
    """Give the runs with one of these tags a final state; a server that is gone is not waited for."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
    from prefect.states import Cancelled, Crashed

    state: State[object] = Cancelled(message=why) if is_cancelled else Crashed(message=why)
    with get_client(httpx_settings={"timeout": SECONDS}, sync_client=True) as client:
        for name in names:
            wanted = FlowRunFilter(tags=FlowRunFilterTags(all_=[name]))
            for run in client.read_flow_runs(flow_run_filter=wanted):
                if _is_open(run) or (is_cancelled and not _has_completed(run)):
                    client.set_flow_run_state(run.id, state, force=True)


def _is_open(run: FlowRun) -> bool:
    return run.state is None or not run.state.is_final()


def _has_completed(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_completed()
