"""Fixtures for whole runs: one Prefect server and one finished lake for the session, a copy for each test."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import re
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.cli import main
from tasks.simulated_delivery import simulate_delivery
from warehouse.lake import LAKE, open_lake
from warehouse.study import HOUSE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import duckdb

    from flows.run import RunResult

STUDY = "nl_ruxolitinib"
GENES = 500  # the fewest that a simulation may have
LASTING = "lasting-"


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start one Prefect server with a database of its own; return the address of its API."""
    from prefect import settings
    from prefect.testing.utilities import prefect_test_harness

    quiet = {
        settings.PREFECT_HOME: tmp_path_factory.mktemp("prefect"),
        settings.PREFECT_SERVER_ANALYTICS_ENABLED: False,
        settings.PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        settings.PREFECT_LOGGING_LEVEL: "CRITICAL",
    }
    with (
        settings.temporary_settings(quiet),
        prefect_test_harness(server_startup_timeout=180),
        pytest.MonkeyPatch.context() as patch,
    ):
        api = str(settings.PREFECT_API_URL.value())
        patch.setenv("PREFECT_API_URL", api)  # the command starts no server of its own
        yield api


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Take back what the command sets for its whole process: Prefect's variables and the progress lines."""
    environment = dict(os.environ)
    logger = logging.getLogger("trialhouse")
    interrupt = signal.getsignal(signal.SIGINT)
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    signal.signal(signal.SIGINT, interrupt)
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulate the delivery of the reference study once; nobody writes to it."""
    folder = tmp_path_factory.mktemp("simulated") / "delivery"
    simulate_delivery(STUDY, genes=GENES, out=folder)
    return folder


@pytest.fixture
def delivery(simulated: Path, tmp_path: Path) -> Path:
    """Return a delivery that the test may spoil."""
    return Path(shutil.copytree(simulated, tmp_path / "delivery"))


@pytest.fixture(scope="session")
def finished_once(prefect: str, simulated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the reference study once; the home that holds its lake is only ever copied or read."""
    assert prefect
    folder = tmp_path_factory.mktemp(f"{LASTING}finished") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIALHOUSE_HOME", str(folder))
        _run(STUDY, simulated)
    return folder


@pytest.fixture
def read_only(finished_once: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Look at the finished lake itself."""
    assert home != finished_once
    monkeypatch.setenv("TRIALHOUSE_HOME", str(finished_once))
    return finished_once


@pytest.fixture
def finished(finished_once: Path, home: Path) -> Path:
    """Return a home that holds the finished lake and may change: a lake can be moved."""
    return Path(shutil.copytree(finished_once, home))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return a copy of the reference study's folder that the test may edit."""
    return Path(shutil.copytree(HOUSE / "studies" / STUDY, tmp_path / "study"))


@pytest.fixture(scope="session")
def run(prefect: str) -> Callable[..., RunResult]:
    """Run all stages of a study, as its run does, but without the report: `run(study, data)`."""
    assert prefect
    from flows.analyze import analyze
    from flows.build import build
    from flows.ingest import ingest
    from flows.run import RunResult
    from tasks.stage import new_run_id

    async def stages(study: str, data: str, run_id: str) -> RunResult:
        done = (await ingest(study, data, run_id), await build(study, run_id), await analyze(study, run_id))
        return RunResult(done, Path())

    def ran(study: str | Path, data: Path) -> RunResult:
        return asyncio.run(stages(str(study), str(data), new_run_id()))

    return ran


def _run(study: str | Path, data: Path) -> None:
    from flows.run import run as flow

    asyncio.run(flow(str(study), str(data)))


class Readers:
    """Connections to lakes, one for each lake and version: to open one takes longer than to ask it."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._open: dict[tuple[Path, int | None], duckdb.DuckDBPyConnection] = {}

    def ask(self, query: str, at: int | None, study: str) -> list[dict[str, object]]:
        lake = open_lake(study)
        key = (lake.folder, at)
        if key not in self._open:
            self._open[key] = self._stack.enter_context(lake.read(at))
            self._open[key].execute(f"use {LAKE}")
        return self._open[key].sql(query).pl().to_dicts()

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="session")
def lasting_readers() -> Iterator[Readers]:
    readers = Readers()
    yield readers
    readers.close()


@pytest.fixture
def rows(lasting_readers: Readers) -> Iterator[Callable[..., list[dict[str, object]]]]:
    """Ask the lake: `rows(query, at=..., study=...)` gives the rows as dicts."""
    readers = Readers()

    def asked(query: str, at: int | None = None, study: str = STUDY) -> list[dict[str, object]]:
        # The lakes of a whole session lie outside the test's own home.
        lasts = "TRIALHOUSE_HOME" in os.environ and Path(
            os.environ["TRIALHOUSE_HOME"]
        ).parent.name.startswith(LASTING)
        return (lasting_readers if lasts else readers).ask(query, at, study)

    yield asked
    readers.close()


@pytest.fixture
def answers(rows: Callable[..., list[dict[str, object]]]) -> Callable[..., list[dict[str, object]]]:
    """Return what people ask of a version, to compare two versions."""

    def asked(at: int | None = None) -> list[dict[str, object]]:
        return rows(
            """
            select
                (select hash(list(p order by variable, statistic)) from results.primary_endpoint p) as result,
                (select sum(hash(a)) from adam.adqs as a) as scores,
                (select sum(hash(e)) from omics.expression as e) as reads,
                (select sum(hash(q)) from meta.quarantine as q) as set_aside
            """,
            at,
        )

    return asked


@dataclass(frozen=True, slots=True)
class Done:
    """A finished command: its exit code and what it wrote."""

    code: int
    out: str
    err: str
    out_bytes: bytes

    @property
    def progress(self) -> list[str]:
        """Return the lines about steps, without their seconds."""
        return [line[line.index(" s  ") + 4 :] for line in self.err.splitlines() if " s  " in line]


@pytest.fixture
def trialhouse() -> Callable[..., Done]:
    """Run the command in this process: `trialhouse("run", study)`; no traceback may reach the user."""

    def command(*arguments: object) -> Done:
        with contextlib.ExitStack() as stack:
            out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
            err = io.StringIO()
            stack.enter_context(contextlib.redirect_stdout(out))
            stack.enter_context(contextlib.redirect_stderr(err))
            try:
                main([str(argument) for argument in arguments])
                code = 0
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
            written = out.buffer.getvalue()  # type: ignore[attr-defined]
        assert "Traceback" not in err.getvalue()
        return Done(code, written.decode("utf-8", errors="replace"), err.getvalue(), written)

    return command


@pytest.fixture
def edit() -> Callable[[Path, str, str], None]:
    """Change a file by regular expression: `edit(file, pattern, replacement)`; it fits exactly once."""

    def change(file: Path, pattern: str, replacement: str) -> None:
        text = file.read_text(encoding="utf-8")
        changed, count = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        assert count == 1, f"{pattern!r} fits {count} times in {file.name}"
        file.write_text(changed, encoding="utf-8", newline="")

    return change


@pytest.fixture(scope="session")
def python() -> str:
    return sys.executable
