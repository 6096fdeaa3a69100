"""A Prefect server of our own: on loopback, with authentication, ending with the process that started it."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

from warehouse.errors import LakeError
from warehouse.study import HOUSE

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK = "127.0.0.1"
# The first start migrates a new database, on a busy machine for a minute or more.
START_SECONDS = 180
STOP_SECONDS = 15
# What only a temporary server is told: no UI, and no service that a single run does not need.
TEMPORARY = {"PREFECT_SERVER_UI_ENABLED": "false", "PREFECT__SERVER_EPHEMERAL": "1"}


@dataclass(frozen=True, slots=True)
class PrefectServer:
    """A server that has been started; nobody else can take its port as long as this process lives."""

    api: str
    secret: str
    key: str
    process: subprocess.Popen[bytes]
    listening: socket.socket

    @classmethod
    def start(cls, folder: Path, secret: str, *, port: int = 0, is_temporary: bool) -> PrefectServer:
        """Start the server, in a folder from which Prefect reads its settings; it is not ready at once."""
        listening = _listen(port)
        port = listening.getsockname()[1]
        address = f"http://{LOOPBACK}:{port}"
        key = secrets.token_hex(32)
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and fixed arguments
            # -P: no module of the current folder is imported in place of one of ours.
            [sys.executable, "-P", "-m", "flows.serving", str(listening.fileno())],
            cwd=folder,
            env=_environment(address, secret) | (TEMPORARY if is_temporary else {}),
            pass_fds=[listening.fileno()],
            stdin=subprocess.PIPE,  # held open: the server ends when it closes
            stdout=subprocess.PIPE,
            # A session of its own: Ctrl-C reaches us alone, and we end the server last.
            start_new_session=True,
        )
        with contextlib.suppress(BrokenPipeError):  # `await_ready` says that it ended
            told = cast("IO[bytes]", process.stdin)
            told.write(f"{key}\n".encode())
            told.flush()
        return cls(f"{address}/api", secret, key, process, listening)

    def await_ready(self) -> None:
        """Wait until the server answers."""
        said = cast("IO[bytes]", self.process.stdout)
        if not select.select([said], [], [], START_SECONDS)[0]:
            raise LakeError(f"the Prefect server does not answer at {self.api} after {START_SECONDS} s")
        if not said.readline():
            raise LakeError(f"the Prefect server ended at once with code {self.process.wait()}: see above")

    def stop(self) -> None:
        """End the server; does nothing when it has ended."""
        with self.process:  # closes its pipes
            end(self.process)
        self.listening.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a session, and with it, if it does not listen, all that it has started."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise LakeError(f"port {port}: {why}: name another with --port") from error


def _environment(address: str, secret: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PREFECT_API_AUTH_STRING"}
    guarded = {
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": address,
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        # Without a host: the UI asks the server that it came from, by whatever name that is known.
        "PREFECT_UI_API_URL": "/api",
    }
    own = {
        "PREFECT_SERVER_API_AUTH_STRING": secret,
        "PREFECT_API_URL": f"{address}/api",
        "PYTHONPATH": os.pathsep.join([str(HOUSE), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    return guarded | kept | own
