"""Prefect as trialhouse runs it: on loopback, silent towards the outside, its data beside the lakes."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from warehouse.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

QUIET: Mapping[str, str] = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",  # the newer UI asks a host outside on every page
    # The first start migrates a new database, on a busy machine for longer than the 20 s of the default.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "trialhouse",
    # Without it the UI's log of a scheduled run would miss what the steps say of themselves.
    "PREFECT_LOGGING_ROOT_LEVEL": "INFO",
    # What a run says on the terminal is trialhouse's own; Prefect's log is in its UI.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}


def server_file() -> Path:
    """Return the file in which `trialhouse up` says where its server listens."""
    return load_settings().home.expanduser().resolve() / "server.json"


def configure(*, use_server: bool = True) -> None:
    """Set Prefect's environment; a running `trialhouse up` is used, else Prefect starts a server for the run.

    Must run before Prefect is imported, for it reads its settings once.
    """
    home = load_settings().home.expanduser().resolve()
    home.mkdir(parents=True, exist_ok=True)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(home / "prefect"))
    if use_server and "PREFECT_API_URL" not in os.environ:
        url = running_server()
        if url:
            os.environ["PREFECT_API_URL"] = url


def running_server() -> str | None:
    """Return the API address of the server that `trialhouse up` started, if it answers."""
    try:
        url = str(json.loads(server_file().read_text(encoding="utf-8"))["api"])
    except (OSError, ValueError, KeyError):
        return None
    return url if answers(url) else None


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as response:  # noqa: S310 - our own loopback
            return bool(response.status == 200)  # noqa: PLR2004
    except (OSError, urllib.error.URLError):
        return False


class Progress(logging.Formatter):
    """One line per step, with the seconds since the command started."""

    def __init__(self) -> None:
        super().__init__()
        self._started = time.monotonic()

    def format(self, record: logging.LogRecord) -> str:
        mark = "! " if record.levelno >= logging.WARNING else ""
        return f"{time.monotonic() - self._started:6.1f} s  {mark}{record.getMessage()}"


def show_progress() -> None:
    """Print the steps of a run on stderr, so that stdout holds results alone."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Progress())
    logger = logging.getLogger("trialhouse")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False
