"""Run a module that ends with the process that started it: `python -m flows.lifeline MODULE ARGUMENTS`."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING

from warehouse.study import HOUSE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STOP_SECONDS = 15


def start(
    module: str,
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str],
    inherited: tuple[int, ...] = (),
    stdout: int | IO[str] = subprocess.PIPE,
    stderr: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a module in a folder; it is ended when this process ends, also when that is killed."""
    modules = os.pathsep.join(filter(None, [str(HOUSE), environment.get("PYTHONPATH")]))
    return subprocess.Popen(  # noqa: S603 - our own interpreter and fixed arguments
        # -P: no module of that folder is imported in place of another.
        [sys.executable, "-P", "-m", "flows.lifeline", module, *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": modules},
        pass_fds=inherited,
        stdin=subprocess.PIPE,  # never written to: it closes with this process
        stdout=stdout,
        stderr=stderr,
        # A session of its own: Ctrl-C reaches us alone, and we say what ends when.
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started here, and, if it does not listen, all that it has started."""
    with process:  # closes its pipes
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def main() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
