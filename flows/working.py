"""The process of the worker, started by flows/server.py: a run that it starts is killed when it is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from tasks.fence import WORKER

_SET_PARENT_DEATH_SIGNAL = 1


def die_with_worker() -> None:
    """Have the kernel kill this run with its worker: nobody else would end it before it publishes.

    Does nothing in a run that a person started, which has no worker.
    """
    worker = os.environ.get(WORKER)
    if not worker:
        return
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != int(worker):  # it has died already
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    os.environ[WORKER] = str(os.getpid())
    from prefect.cli import app

    sys.argv = ["prefect", "worker", "start", *sys.argv[1:]]
    app()


if __name__ == "__main__":
    main()
