"""A Prefect server of our own: on loopback, with authentication, ending with the process that started it."""

from __future__ import annotations

import errno
import os
import re
import secrets
import select
import socket
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

from flows import lifeline
from warehouse.errors import LakeError
from warehouse.faults import advice_on

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

LOOPBACK = "127.0.0.1"
# The first start migrates a new database, on a busy machine for a minute or more.
START_SECONDS = 180
LOG_BYTES = 2**20
# The server has no use for a client's secret, and stands where the commands look for it.
DROPPED = frozenset({"PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_BASE_PATH"})
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
    folder: Path
    # What a temporary server says of itself, in memory: the terminal is the run's, and a disk may be full.
    log: int | None

    @classmethod
    def start(cls, folder: Path, secret: str, *, port: int = 0, is_temporary: bool) -> PrefectServer:
        """Start the server, in a folder from which Prefect reads its settings; it is not ready at once."""
        listening = _listen(port)
        port = listening.getsockname()[1]
        address = f"http://{LOOPBACK}:{port}"
        key = secrets.token_hex(32)
        log = os.memfd_create("prefect-server") if is_temporary else None
        more = TEMPORARY if is_temporary else {}
        process = lifeline.start(
            "flows.serving",
            str(listening.fileno()),
            folder=folder,
            environment=_environment(address, secret) | {"TRIALHOUSE_SERVER_KEY": key} | more,
            inherited=(listening.fileno(),),
            stderr=log,
        )
        return cls(f"{address}/api", secret, key, process, listening, folder, log)

    def await_ready(self) -> None:
        """Wait until the server answers."""
        said = cast("IO[bytes]", self.process.stdout)
        if not select.select([said], [], [], START_SECONDS)[0]:
            raise LakeError(f"the Prefect server does not answer at {self.api} after {START_SECONDS} s")
        if not said.readline():
            raise LakeError(
                f"{self.folder}: the Prefect server ended with code {self.process.wait()}: {self._why()}"
            )

    def _why(self) -> str:
        """Return the last error that the server told, with what to do about a disk."""
        if self.log is None:
            return "see above"
        said = os.pread(self.log, LOG_BYTES, 0).decode(errors="replace")
        errors = re.findall(r"^[\w.]*(?:Error|Exception)\b.*$", said, re.MULTILINE)
        why = errors[-1] if errors else said.strip().rpartition("\n")[2]
        return ": ".join(filter(None, (why, advice_on(why))))

    def stop(self) -> None:
        """End the server; does nothing when it has ended."""
        lifeline.end(self.process)
        self.listening.close()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            why = "something listens there already"
        raise LakeError(f"port {port}: {why}: name another with --port") from error


def _environment(address: str, secret: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in DROPPED}
    guarded = {
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": address,
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        # Without a host: the UI asks the server that it came from, by whatever name that is known.
        "PREFECT_UI_API_URL": "/api",
    }
    own = {
        "PREFECT_SERVER_API_AUTH_STRING": secret,
        "PREFECT_API_URL": f"{address}/api",
    }
    return guarded | kept | own
