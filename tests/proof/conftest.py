"""What the proofs share: the installed command, a clean environment for it, and a running `trialhouse up`."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMAND = Path(sys.executable).with_name("trialhouse")
# The first start makes Prefect's database, on a busy machine for minutes.
START_SECONDS = 300
STOP_SECONDS = 60


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Return this process's environment with no setting of the caller's, for a house at `home`."""
    ours = ("TRIALHOUSE_", "PREFECT_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"TRIALHOUSE_HOME": str(home)} | more


def call(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does, to its end."""
    return subprocess.run(
        [COMMAND, *arguments],
        env=clean_environment(home, **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Up:
    """A running `trialhouse up`."""

    home: Path
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def ui(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> str:
        return f"{self.ui}/api"

    @property
    def secret(self) -> str:
        return (self.home / "prefect" / "secret").read_text().strip()

    def ask(self, path: str, body: object = None, method: str | None = None) -> Any:
        """Send a request to Prefect's API, as its clients do, and return its answer."""
        chosen = method or ("GET" if body is None else "POST")
        credentials = base64.b64encode(self.secret.encode()).decode()
        headers = {"content-type": "application/json", "authorization": f"Basic {credentials}"}
        if chosen != "GET":
            headers |= {
                "prefect-csrf-client": "proof",
                "prefect-csrf-token": self.ask("/csrf-token?client=proof")["token"],
            }
        request = urllib.request.Request(  # noqa: S310 - our own loopback
            f"{self.api}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
            method=chosen,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own loopback
            text = answer.read()
        return json.loads(text) if text else None

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(STOP_SECONDS)


@contextlib.contextmanager
def running_up(home: Path, port: int | None = None) -> Iterator[Up]:
    """Run `trialhouse up` until the caller is done."""
    chosen = free_port() if port is None else port
    home.mkdir(parents=True, exist_ok=True)
    log = home / "up.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [COMMAND, "up", "--port", str(chosen)],
            env=clean_environment(home),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    up = Up(home, chosen, process, log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while "Prefect UI: " not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        yield up
    finally:
        if process.poll() is None:
            up.stop()


@pytest.fixture(scope="session")
def command() -> Path:
    return COMMAND


@pytest.fixture(scope="session")
def trialhouse() -> Callable[..., subprocess.CompletedProcess[str]]:
    return call


@pytest.fixture(scope="session")
def environment() -> Callable[..., dict[str, str]]:
    return clean_environment


@pytest.fixture(scope="session")
def start_up() -> Callable[..., contextlib.AbstractContextManager[Up]]:
    return running_up


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Serve one fresh home to all proofs of a file."""
    with running_up(tmp_path_factory.mktemp("served")) as served:
        yield served
