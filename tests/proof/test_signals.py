"""Signals, kills and full disks: one message, its code, a whole lake, no process left."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tasks.scaffold import make_study
from warehouse.errors import NoLakeError
from warehouse.lake import newest_version, open_lake
from warehouse.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.proof

NAME = "signalled"
MARK = "TRIALHOUSE_MARK"
# A server that loses its parent has this long to end.
LINGER_SECONDS = 20
GIVE_UP_SECONDS = 900
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGKILL: -9}
# Seconds after the start, or what the command says first: imports, server, landing, building, analysing.
MOMENTS = [0.1, 0.5, 2.0, 4.0, "raw.exposure", "sdtm.qs:", "adam.adqs:", "primary_endpoint: started"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(str(tmp_path_factory.mktemp("study") / NAME))


@pytest.fixture(scope="module")
def migrated(
    tmp_path_factory: pytest.TempPathFactory, study: Path, environment: Callable[..., dict[str, str]]
) -> Path:
    """Return a home with Prefect's database and no lake: its making takes longest of all."""
    home = tmp_path_factory.mktemp("migrated") / "home"
    complete(environment(home), "run", study)
    shutil.rmtree(home / NAME)
    return home


@pytest.fixture
def home(migrated: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(migrated, tmp_path / "home"))


def start(environment: dict[str, str], *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flows.entry", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def complete(environment: dict[str, str], *arguments: object) -> None:
    process = start(environment, *arguments)
    _, err = process.communicate(timeout=GIVE_UP_SECONDS)
    assert process.returncode == 0, err


def of_mark(mark: str) -> list[psutil.Process]:
    """Return the processes that have inherited a mark in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                found.append(process)
    return found


def await_none_of(mark: str) -> None:
    deadline = time.monotonic() + LINGER_SECONDS
    while left := of_mark(mark):
        assert time.monotonic() < deadline, [process.cmdline() for process in left]
        time.sleep(0.1)


def await_moment(process: subprocess.Popen[str], moment: float | str) -> str:
    if isinstance(moment, float):
        time.sleep(moment)
        return ""
    assert process.stderr
    said = ""
    for line in process.stderr:
        said += line
        if moment in line:
            break
    return said


def versions_in(home: Path) -> int:
    try:
        with open_lake(NAME, Settings(home=home, catalog="sqlite", storage=None)).read() as connection:
            return newest_version(connection)
    except NoLakeError:
        return 0


def flow_runs(home: Path) -> dict[str, list[str]]:
    """Return the states of the flow runs by name, from Prefect's database."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(home / "prefect" / "prefect.db")) as database:
        rows = database.execute("select name, state_name from flow_run").fetchall()
    states: dict[str, list[str]] = {}
    for name, state in rows:
        states.setdefault(name.partition(" ")[0], []).append(state)
    return states


def all_states(home: Path) -> set[str]:
    return {state for states in flow_runs(home).values() for state in states}


def refuse_leftovers(home: Path) -> None:
    assert not list((home / "prefect" / "processes").glob("*"))
    assert not [file for file in (home / NAME).rglob("*") if file.name.startswith(".")]
    assert not list((home / NAME / "tmp").glob("*"))


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run(
    home: Path, study: Path, environment: Callable[..., dict[str, str]], sent: signal.Signals, moment: Any
) -> None:
    mark = secrets.token_hex(8)
    process = start(environment(home, **{MARK: mark}), "run", study)
    said = await_moment(process, moment)
    process.send_signal(sent)
    _, err = process.communicate(timeout=GIVE_UP_SECONDS)
    assert process.returncode == CODES[sent], err
    assert "Traceback" not in said + err
    assert (said + err).count("trialhouse: ") == 1
    await_none_of(mark)
    refuse_leftovers(home)
    assert all_states(home) <= {"Completed", "Cancelled"}
    if isinstance(moment, str):
        assert "Cancelled" in flow_runs(home)["run"]
    before = versions_in(home)
    complete(environment(home), "run", study)
    assert versions_in(home) == 3
    assert before <= 3


@pytest.mark.parametrize("command", ["ingest", "build", "simulate"])
def test_a_signal_ends_the_other_commands(
    home: Path, study: Path, environment: Callable[..., dict[str, str]], command: str
) -> None:
    for sent in (signal.SIGTERM, signal.SIGHUP):
        mark = secrets.token_hex(8)
        of = "nl_ruxolitinib" if command == "simulate" else study
        process = start(environment(home, **{MARK: mark}), command, of)
        time.sleep(2)
        process.send_signal(sent)
        _, err = process.communicate(timeout=GIVE_UP_SECONDS)
        assert process.returncode == CODES[sent], err
        assert "Traceback" not in err
        await_none_of(mark)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_query(
    home: Path, study: Path, environment: Callable[..., dict[str, str]], sent: signal.Signals
) -> None:
    complete(environment(home), "run", study)
    long = "select count(*) from range(100000) as a(x), range(100000) as b(y), range(100000) as c(z)"
    process = start(environment(home), "sql", study, long)
    time.sleep(5)
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.count("trialhouse: ")) == (CODES[sent], 1), err


@pytest.mark.parametrize("moment", ["raw.exposure", "adam.adqs:"])
def test_a_killed_command_leaves_no_server_and_no_running_run(
    home: Path, study: Path, environment: Callable[..., dict[str, str]], moment: str
) -> None:
    mark = secrets.token_hex(8)
    process = start(environment(home, **{MARK: mark}), "run", study)
    await_moment(process, moment)
    process.kill()
    process.communicate()
    await_none_of(mark)
    assert "Running" in flow_runs(home)["run"]
    complete(environment(home), "run", study)
    assert versions_in(home) == 3
    assert "Crashed" in flow_runs(home)["run"]
    assert not {"Running", "Pending"} & all_states(home)
    refuse_leftovers(home)


def test_a_live_run_of_another_process_is_left_alone(
    home: Path, study: Path, tmp_path: Path, environment: Callable[..., dict[str, str]]
) -> None:
    other = make_study(str(tmp_path / "other"))
    first = start(environment(home), "run", study)
    await_moment(first, "raw.exposure")
    os.kill(first.pid, signal.SIGSTOP)
    try:
        complete(environment(home), "run", other)
        assert "Running" in flow_runs(home)["run"]
    finally:
        os.kill(first.pid, signal.SIGCONT)
    _, err = first.communicate(timeout=GIVE_UP_SECONDS)
    assert first.returncode == 0, err
    assert flow_runs(home)["run"].count("Crashed") == 0


@pytest.mark.parametrize("killed", ["worker", "up"])
def test_a_killed_workers_run_ends_before_it_publishes(
    home: Path, study: Path, start_up: Any, environment: Callable[..., dict[str, str]], killed: str
) -> None:
    with start_up(home) as up:
        begin = [sys.executable, "-m", "prefect", "deployment", "run", "run/nl_ruxolitinib"]
        given = [f"-p=study={study}", f"-p=data={study / 'data'}"]
        secret = (home / "prefect" / "secret").read_text(encoding="ascii").strip()
        access = {"PREFECT_API_URL": up.api, "PREFECT_API_AUTH_STRING": secret}
        subprocess.run([*begin, *given], env=environment(home, **access), check=True, capture_output=True)
        family = psutil.Process(up.process.pid).children(recursive=True)
        await_file(home / NAME / "catalog.sqlite")
        family = psutil.Process(up.process.pid).children(recursive=True)
        worker = next(process for process in family if "flows.working" in process.cmdline())
        (worker if killed == "worker" else up.process).kill()
        _, alive = psutil.wait_procs(family, timeout=LINGER_SECONDS)
        assert alive == []
        assert up.process.wait(LINGER_SECONDS) == (8 if killed == "worker" else -9)
    before = versions_in(home)
    with start_up(home):
        assert "Crashed" in flow_runs(home)["run"]
        assert not {"Running", "Pending"} & all_states(home)
    assert versions_in(home) == before


def await_file(file: Path) -> None:
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while not file.exists():
        assert time.monotonic() < deadline, file
        time.sleep(0.01)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(kilobytes: int, *, options: str = "rw") -> Path:
        line = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,{options}", "tmpfs", str(disk)]
        done = subprocess.run(line, check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr}")
        return disk

    yield mount
    subprocess.run(["umount", str(disk)], check=False, capture_output=True)


# A run of this study needs 7 MB: Prefect's database, the lake, the report, by turns, find no room.
@pytest.mark.parametrize("kilobytes", [8, 300, 2500, 4000, 5000, 5500, 6000, 6400, 6800])
def test_a_full_disk_is_one_message(
    small_disk: Callable[..., Path], study: Path, environment: Callable[..., dict[str, str]], kilobytes: int
) -> None:
    disk = small_disk(kilobytes)
    mark = secrets.token_hex(8)
    process = start(environment(disk / "home", **{MARK: mark}), "run", study)
    _, err = process.communicate(timeout=GIVE_UP_SECONDS)
    await_none_of(mark)
    if process.returncode == 0:
        assert versions_in(disk / "home") == 3
        return
    assert process.returncode == 8, err
    assert "Traceback" not in err
    assert err.count("trialhouse: ") == 1
    assert str(disk) in err
    assert "free some space" in err or "disk is full" in err
    # With room again, the same command does it all.
    subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
    complete(environment(disk / "home"), "run", study)
    assert versions_in(disk / "home") == 3
    refuse_leftovers(disk / "home")


def test_a_file_system_that_is_read_only(
    small_disk: Callable[..., Path], study: Path, environment: Callable[..., dict[str, str]]
) -> None:
    disk = small_disk(1000, options="ro")
    for command in ("run", "ingest", "sql", "report"):
        process = start(
            environment(disk / "home"), command, study, *(["select 1"] if command == "sql" else [])
        )
        _, err = process.communicate(timeout=GIVE_UP_SECONDS)
        assert (process.returncode, err.count("trialhouse: ")) == (8, 1), err
        assert "Traceback" not in err


@pytest.mark.parametrize("damage", [b"", b"not a database" * 1000, None])
def test_a_damaged_database_of_prefect(
    home: Path, study: Path, environment: Callable[..., dict[str, str]], damage: bytes | None
) -> None:
    for file in (home / "prefect").glob("prefect.db*"):
        file.unlink()
    database = home / "prefect" / "prefect.db"
    if damage is None:
        database.mkdir()
    else:
        database.write_bytes(damage)
    process = start(environment(home), "run", study)
    _, err = process.communicate(timeout=GIVE_UP_SECONDS)
    assert "Traceback" not in err
    assert process.returncode == (0 if damage == b"" else 8), err
    assert err.count("trialhouse: ") == (0 if damage == b"" else 1)
