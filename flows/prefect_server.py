"""A Prefect server of our own: on loopback, with authentication, ending with the process that started it."""

from __future__ import annotations

import os
import secrets
import select
import socket
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

from flows import lifeline
from warehouse.errors import LakeError

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

LOOPBACK = "127.0.0.1"
# The first start migrates a new database, on a busy machine for a minute or more.
START_SECONDS = 180
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

    @classmethod
    def start(cls, folder: Path, secret: str, *, port: int = 0, is_temporary: bool) -> PrefectServer:
        """Start the server, in a folder from which Prefect reads its settings; it is not ready at once."""
        listening = _listen(port)
        port = listening.getsockname()[1]
        address = f"http://{LOOPBACK}:{port}"
        key = secrets.token_hex(32)
        more = TEMPORARY if is_temporary else {}
        process = lifeline.start(
            "flows.serving",
            str(listening.fileno()),
            folder=folder,
            environment=_environment(address, secret) | {"TRIALHOUSE_SERVER_KEY": key} | more,
            inherited=(listening.fileno(),),
        )
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
        lifeline.end(self.process)
        self.listening.close()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((LOOPBACK, port))
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
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
