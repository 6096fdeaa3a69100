"""Prefect as trialhouse runs it: on loopback, behind a secret, silent, its data beside the lakes."""

from __future__ import annotations

import atexit
import contextlib
import hmac
import http.client
import importlib
import json
import logging
import os
import re
import secrets
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flows.guard import PROOF, prove
from flows.output import legible_lines
from flows.prefect_server import LOOPBACK, PrefectServer
from flows.secret import make_private, new_secret, read_private, write_private
from warehouse.errors import LakeError
from warehouse.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

QUIET: Mapping[str, str] = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",  # the newer UI asks a host outside on every page
    # Prefect would start a server of its own, without a secret, where none is named.
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "trialhouse",
    # Without it the UI's log of a scheduled run would miss what the steps say of themselves.
    "PREFECT_LOGGING_ROOT_LEVEL": "INFO",
    # What a run says on the terminal is trialhouse's own; Prefect's log is in its UI.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}

ADDRESS = re.compile(r"http://127\.0\.0\.1:[0-9]{1,5}/api")


@dataclass(frozen=True, slots=True)
class RunningServer:
    """The server of `trialhouse up`: where it listens, and what it proves itself with."""

    api: str
    pid: int
    key: str
    # Whether its secret is that of `secret_file`, or one that its operator set.
    is_secret_ours: bool


def home_folder() -> Path:
    return load_settings().home.expanduser().resolve()


def prefect_folder() -> Path:
    """Return the private folder of Prefect's database and of the server's secret; make it at first."""
    folder = home_folder() / "prefect"
    make_private(folder)
    return folder


def secret_file() -> Path:
    """Return the file of the secret with which one logs in to `trialhouse up`."""
    return prefect_folder() / "secret"


def server_file() -> Path:
    """Return the file in which `trialhouse up` says where its server listens."""
    return home_folder() / "server.json"


def configure(*, use_server: bool = True) -> None:
    """Set Prefect's environment, and which server to use where one runs already.

    Must run before Prefect is imported, for it reads its settings once.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(prefect_folder()))
    if use_server and "PREFECT_API_URL" not in os.environ and (server := running_server()):
        use(server.api, _secret_of(server))


def connect() -> None:
    """Start a server for as long as this process lives, unless there is one to use already."""
    folder = prefect_folder()
    # Prefect obeys the `.env`, `prefect.toml` and `pyproject.toml` of the folder in which it is imported.
    with contextlib.chdir(folder):
        if "PREFECT_API_URL" in os.environ:
            importlib.import_module("prefect.main")
            return
        server = PrefectServer.start(folder, new_secret(), is_temporary=True)
        # Before Prefect registers what it has to send to the server at the end: that comes first.
        atexit.register(server.stop)
        use(server.api, server.secret)
        importlib.import_module("prefect.main")  # takes a second, in which the server starts, too
        server.await_ready()


def announce(server: PrefectServer, *, is_secret_ours: bool) -> None:
    """Tell the commands of this account where the server listens."""
    running = {"api": server.api, "pid": os.getpid(), "key": server.key, "is_secret_ours": is_secret_ours}
    write_private(server_file(), json.dumps(running))


def running_server() -> RunningServer | None:
    """Return the server of `trialhouse up`, if it is the one that listens where it should."""
    try:
        server = RunningServer(**json.loads(read_private(server_file())))
        if not ADDRESS.fullmatch(server.api):
            raise ValueError(f"api: {server.api!r}: an address on loopback is expected")  # noqa: TRY301
    except FileNotFoundError:
        return None
    except (PermissionError, ValueError, TypeError, RecursionError) as error:
        raise LakeError(f"{server_file()}: {error}: end `trialhouse up` and remove the file") from error
    return server if _is_ours(server) else None


def _is_ours(server: RunningServer) -> bool:
    """Ask the server for what only ours can know: the port may be another's since ours has ended."""
    nonce = secrets.token_hex(32)
    port = int(urlsplit(server.api).port or 0)
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)  # by no proxy, after no redirection
    try:
        connection.request("GET", f"{PROOF}?nonce={nonce}")
        said = connection.getresponse().read(64)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return hmac.compare_digest(said, prove(server.key, port, nonce).encode())


def _secret_of(server: RunningServer) -> str:
    if server.is_secret_ours:
        try:
            return read_private(secret_file())
        except (FileNotFoundError, PermissionError) as error:
            raise LakeError(f"{secret_file()}: {error}: end `trialhouse up` and start it again") from error
    for name in ("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING"):
        if given := os.environ.get(name):
            return given
    raise LakeError(
        f"the server at {server.api} has a secret of its operator: set PREFECT_API_AUTH_STRING to it"
    )


def use(api: str, secret: str) -> None:
    """Make this process, and those that it starts, clients of a server of ours."""
    os.environ |= {"PREFECT_API_URL": api, "PREFECT_API_AUTH_STRING": secret}
    # Only the server needs to hold it under this name.
    os.environ.pop("PREFECT_SERVER_API_AUTH_STRING", None)
    # No proxy is told the secret.
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = f"{direct},{LOOPBACK}" if direct else LOOPBACK


class Progress(logging.Formatter):
    """One line per step, with the seconds since the command started."""

    def __init__(self) -> None:
        super().__init__()
        self._started = time.monotonic()

    def format(self, record: logging.LogRecord) -> str:
        mark = "! " if record.levelno >= logging.WARNING else ""
        return f"{time.monotonic() - self._started:6.1f} s  {mark}{legible_lines(record.getMessage())}"


def show_progress() -> None:
    """Print the steps of a run on stderr, so that stdout holds results alone."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Progress())
    logger = logging.getLogger("trialhouse")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False
