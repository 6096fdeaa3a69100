"""Unlucky days: each ends with one message and the documented code, the lake whole, nothing left behind."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import duckdb
import polars as pl
import pytest

from flows import cli, output, processes, signals
from flows.cli import main
from tasks import landing, modelling
from tasks.preparation import prepare
from tasks.queries import read
from tasks.scaffold import make_study
from tasks.stage import STAGE_SCHEMAS, new_run, open_stage
from warehouse.errors import LakeError, SourceError, is_passing_fault
from warehouse.lake import newest_version, open_lake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "unlucky"
NOBODY = 65534
QUERY = "select usubjid from sdtm.dm order by all limit 1"
IS_ROOT = os.geteuid() == 0


@dataclass(frozen=True, slots=True)
class Place:
    """A study with a lake of two versions."""

    home: Path
    study: Path
    outside: Path

    @property
    def lake(self) -> Path:
        return self.home / NAME

    @property
    def catalog(self) -> Path:
        return self.lake / "catalog.sqlite"

    def parquet(self, table: str) -> Path:
        return next((self.lake / "data" / table.replace(".", "/")).glob("*.parquet"))


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: str
    err: str
    messages: list[str] = field(default_factory=list)


def run(*arguments: object, stdout: io.TextIOWrapper | None = None) -> Done:
    """Run the command in this process."""
    out = stdout or io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    err = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
    told = err.getvalue()
    raw = getattr(out, "buffer", None)
    text = raw.getvalue().decode(errors="replace") if isinstance(raw, io.BytesIO) else ""
    return Done(code, text, told, [line for line in told.split("\n") if line.startswith("trialhouse: ")])


def assert_one_message(done: Done, code: int, *texts: str) -> None:
    assert done.code == code, done.err
    assert len(done.messages) == 1, done.err
    assert "Traceback" not in done.err
    for text in texts:
        assert text in done.err, done.err


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Make the lake once, of the scaffold of a study: ingested and built."""
    folder = tmp_path_factory.mktemp("unlucky")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIALHOUSE_HOME", str(folder / "home"))
        study = make_study(str(folder / NAME))
        prepared = prepare(str(study))
        with open_stage("ingest", prepared.study, new_run({})) as stage:
            for delivery in landing.find_deliveries(prepared.study, prepared.root(None), {}):
                landing.land_source(stage, delivery)
            stage.publish("landed")
        with open_stage("build", prepared.study, new_run({})) as stage:
            stage.provide_study_tables()
            modelling.provide_sources(stage)
            for model in prepared.plan.made(*STAGE_SCHEMAS["build"]):
                modelling.build_model(stage, model)
            stage.publish("built")
    return Place(folder / "home", study, folder)


@pytest.fixture
def place(made: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Give the test a lake of its own to spoil, and look for what it leaves."""
    for name in [name for name in os.environ if name.startswith("TRIALHOUSE_") and "TEST_DATA" not in name]:
        monkeypatch.delenv(name)
    own = Place(tmp_path / "home", made.study, tmp_path)
    shutil.copytree(made.home, own.home)
    scratch = tmp_path / "scratch"
    scratch.mkdir(mode=0o777)
    monkeypatch.setenv("TRIALHOUSE_HOME", str(own.home))
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", None)
    handlers = {number: signal.getsignal(number) for number in signals.ENDING}
    yield own
    assert {number: signal.getsignal(number) for number in signals.ENDING} == handlers
    assert not list(scratch.iterdir())
    assert not [file for file in own.home.rglob(".*")] if own.home.is_dir() else True  # noqa: C416


def assert_whole(place: Place) -> None:
    """Look at the newest version, and let the next writer remove what a failed one left."""
    assert read(NAME, newest_version) == 2
    assert run("sql", place.study, QUERY, "--format", "csv").code == 0
    if (place.lake / "writing").exists():
        with open_lake(NAME).write():
            pass
    assert not (place.lake / "writing").exists()
    assert not list((place.lake / "tmp").glob("*"))


@contextlib.contextmanager
def stranger() -> Iterator[None]:
    """Be an account without rights; an account that is no root has few enough."""
    if not IS_ROOT:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


# A damaged lake.


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def garbled(file: Path) -> None:
    file.write_bytes(b"not what it was" * 100)


def halved(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def removed(file: Path) -> None:
    file.unlink()


def made_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def made_a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


READING = {
    "sql": ["sql", "{study}", "select * from adam.score_item"],
    "versions": ["versions", "{study}"],
    "checks": ["checks", "{study}", "--rows"],
    "report": ["report", "{study}"],
    "export": ["export", "{study}", "--format", "xpt", "--to", "{outside}/out"],
}


def filled(arguments: list[str], place: Place) -> list[str]:
    return [one.format(study=place.study, outside=place.outside, home=place.home) for one in arguments]


@pytest.mark.parametrize(
    ("damage", "command"),
    [
        *((damage, "sql") for damage in (emptied, garbled, halved, made_a_folder)),
        *((halved, command) for command in READING if command != "sql"),
    ],
    ids=lambda it: getattr(it, "__name__", it),
)
def test_a_damaged_catalog(place: Place, damage: Callable[[Path], None], command: str) -> None:
    damage(place.catalog)
    assert_one_message(run(*filled(READING[command], place)), 8, NAME)


@pytest.mark.parametrize(
    ("damage", "table", "command"),
    [
        *(
            (damage, "adam.score_item", "sql")
            for damage in (emptied, garbled, halved, removed, made_a_folder)
        ),
        (halved, "meta.check_result", "report"),
        (removed, "adam.adqs", "export"),
    ],
    ids=lambda it: getattr(it, "__name__", it),
)
def test_a_damaged_table(place: Place, damage: Callable[[Path], None], table: str, command: str) -> None:
    file = place.parquet(table)
    damage(file)
    done = run(*filled(READING[command], place))
    assert_one_message(done, 8, file.name)
    assert not list(place.outside.glob("out/*"))


@pytest.mark.parametrize(
    "damage", [emptied, garbled, halved, removed, made_a_folder], ids=lambda it: it.__name__
)
def test_a_damaged_note_of_the_last_run_is_as_none(place: Place, damage: Callable[[Path], None]) -> None:
    from tasks.unchanged import remember, unchanged_version
    from warehouse.study import load_study

    study = load_study(place.study)
    remember(study, "key", 2)
    assert unchanged_version(study, "key") == 2
    damage(place.lake / "last_run.json")
    assert unchanged_version(study, "key") is None


@pytest.mark.parametrize("note", ["[]", "1", '"text"', "null", "[" * 100_000, "{}"])
def test_a_note_of_the_last_run_that_says_something_else(place: Place, note: str) -> None:
    from tasks.unchanged import unchanged_version
    from warehouse.study import load_study

    (place.lake / "last_run.json").write_text(note)
    assert unchanged_version(load_study(place.study), "key") is None


def test_studies_lists_the_others_and_says_which_lake_cannot_be_read(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(place.lake, place.home / "other")
    garbled(place.catalog)
    broken = place.outside / "broken"
    broken.mkdir()
    (broken / "study.toml").write_text("[study")
    other = shutil.copytree(place.study, place.outside / "other")
    toml = (other / "study.toml").read_text()
    (other / "study.toml").write_text(toml.replace(f'"{NAME}"', '"other"'))
    monkeypatch.setattr(output, "find_studies", lambda: [place.study, broken, other])
    done = run("studies", "--format", "csv")
    assert [line.split(",")[:2] for line in done.out.splitlines()[1:]] == [[NAME, ""], ["other", "2"]]
    assert done.code == 8
    assert f"the lake of {NAME} cannot be read" in done.err
    assert str(broken / "study.toml") in done.err
    assert "Traceback" not in done.err


# Permissions, places and paths.


def test_another_accounts_lake(place: Place) -> None:
    for folder in (place.home, *place.home.rglob("*")):
        folder.chmod(0o700 if folder.is_dir() else 0o600)
    if not IS_ROOT:
        place.home.chmod(0)
    open_up(place)
    with stranger():
        for command in ("sql", "versions", "report"):
            assert_one_message(run(*filled(READING[command], place)), 8, "permission")
    place.home.chmod(0o700)
    assert_whole(place)


def test_a_lake_that_may_only_be_read(place: Place) -> None:
    for folder in (place.home, *place.home.rglob("*")):
        folder.chmod(0o555 if folder.is_dir() else 0o444)
    open_up(place)
    with stranger():
        # SQLite writes beside the catalog even to read it.
        assert_one_message(run("versions", place.study), 8, NAME, "written to")
        assert_one_message(run("ingest", place.study), 8, "ermi")
    for folder in (place.home, *place.home.rglob("*")):
        folder.chmod(0o755 if folder.is_dir() else 0o644)
    assert_whole(place)


def open_up(place: Place) -> None:
    """Let every account reach the folder that holds the home."""
    for folder in [place.outside, *place.outside.parents][:4]:
        if folder != Path(tempfile.gettempdir()) and folder.owner() == Path.home().owner():
            folder.chmod(folder.stat().st_mode | 0o055)
    for file in (place.study, *place.study.rglob("*")):
        file.chmod(0o755 if file.is_dir() else 0o644)
    for folder in (place.study.parent, place.study.parent.parent):
        folder.chmod(folder.stat().st_mode | 0o055)


@pytest.mark.parametrize(
    ("arguments", "code", "texts"),
    [
        (["report", "{study}", "--output", "{outside}"], 8, ["it is not a file: name another path"]),
        (["report", "{study}", "--output", "{outside}/pipe"], 8, ["it is not a file"]),
        (["report", "{study}", "--output", "{outside}/file/page.html"], 8, ["file", "name another path"]),
        (["report", "{study}", "--output", "{outside}/" + "x" * 300], 8, ["File name too long"]),
        (["report", "{study}", "--output", "{outside}/" + "x/" * 3000], 8, ["File name too long"]),
        (["report", "{study}", "--output", "{outside}/circle/page.html"], 8, ["circle"]),
        (["report", "{study}", "--output", "/proc/page.html"], 8, ["/proc"]),
        (["export", "{study}", "--format", "xpt", "--to", "{outside}/file"], 10, ["cannot be made a folder"]),
        (["export", "{study}", "--format", "xpt", "--to", "/proc/1"], 8, ["/proc/1"]),
        (["sql", "{study}", "-f", "{outside}"], 9, ["the query cannot be read"]),
        (["sql", "{study}", "-f", "{outside}/binary"], 9, ["the query cannot be read"]),
        (["sql", "{study}", "-f", "{outside}/none"], 9, ["the query cannot be read"]),
        (["ingest", "{study}", "--data", "{outside}/file"], 4, ["file"]),
        (["run", "{study}", "--data", "{outside}/file"], 4, ["file"]),
        (["new", "{outside}/file/study"], 3, ["cannot be written"]),
        (["sql", "{outside}/" + "x" * 300, "select 1"], 8, ["File name too long"]),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_a_path_that_cannot_be_used(
    place: Place, arguments: list[str], code: int, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.outside / "file").write_text("a file")
    (place.outside / "binary").write_bytes(bytes(range(256)))
    (place.outside / "circle").symlink_to(place.outside / "circle")
    os.mkfifo(place.outside / "pipe")
    monkeypatch.setattr(cli.environment, "connect", refuse_server)
    before = place.catalog.read_bytes()
    assert_one_message(run(*filled(arguments, place)), code, *texts)
    assert (place.outside / "pipe").is_fifo()
    assert place.catalog.read_bytes() == before


def refuse_server() -> None:
    raise SourceError("this file is looked at before a server is started: file")


@pytest.mark.parametrize("command", ["sql", "report", "run"])
@pytest.mark.parametrize(
    "home", ["a file", "below a file", "~no_such_account/lakes", "x" * 300, "a link to itself"]
)
def test_a_home_that_cannot_be_one(
    place: Place, monkeypatch: pytest.MonkeyPatch, home: str, command: str
) -> None:
    file = place.outside / "file"
    file.write_text("a file")
    circle = place.outside / "circle"
    circle.symlink_to(circle)
    where = {"a file": file, "below a file": file / "below", "a link to itself": circle}.get(home, home)
    monkeypatch.setenv("TRIALHOUSE_HOME", str(where))
    monkeypatch.chdir(place.outside)
    assert_one_message(run(command, place.study, *([QUERY] if command == "sql" else [])), 8)


def test_a_current_folder_that_is_gone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = place.outside / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert_one_message(run("sql", place.study, QUERY), 8, "working directory")
    assert_one_message(run("sql", "../somewhere/study", QUERY), 8)
    monkeypatch.chdir(place.outside)


def test_a_path_that_is_not_utf_8(place: Place) -> None:
    odd = place.outside / os.fsdecode(b"caf\xe9 \x1b[31m")
    odd.mkdir()
    page = odd / os.fsdecode(b"\xff.html")
    done = run("report", place.study, "--output", page)
    assert done.code == 0, done.err
    assert page.is_file()
    # A study is described in text, its own folder included.
    study = shutil.copytree(place.study, odd / NAME)
    assert_one_message(run("sql", study, QUERY), 3, "\\udce9 \\x1b[31m")
    done = run("report", place.study, "--output", odd)
    assert_one_message(done, 8, "\\udce9 \\x1b[31m")


def test_no_home_of_an_account(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    assert run("sql", place.study, QUERY).code == 0


# Disks.


@contextlib.contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Let no file grow beyond a size: what a disk says of its end, in numbers that need no disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room_for_a_report(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.reporting.render", lambda *_: "x" * 200_000)
    page = place.outside / "page.html"
    with file_limit(100_000):
        assert_one_message(run("report", place.study, "--output", page), 8, f"{page}: File too large")
    assert not list(place.outside.glob("*page*"))
    assert_whole(place)


def test_no_room_for_an_export(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")  # as `write` does: it names no file

    monkeypatch.setattr("csv.DictWriter.writeheader", full)
    done = run(*filled(READING["export"], place))
    assert_one_message(done, 8, "out/variables.csv: No space left on device: free some space")
    assert not list((place.outside / "out").glob(".*"))


@pytest.mark.parametrize("size", [pytest.param(100, marks=pytest.mark.proof), 40_000])
def test_no_room_for_a_version(place: Place, size: int) -> None:
    """No file may grow beyond a size: by turns tables, catalog or log are the first to fail."""
    data = shutil.copytree(place.study / "data", place.outside / "data")
    rows = (data / "scores.csv").read_text().splitlines()
    (data / "scores.csv").write_text("\n".join([*rows, *rows[1:] * 500]) + "\n")
    prepared = prepare(str(place.study))

    def land() -> None:
        with open_stage("ingest", prepared.study, new_run({})) as stage:
            landed = landing.landed_files(stage.connection, stage.input_version)
            for delivery in landing.find_deliveries(prepared.study, data, landed):
                if delivery.new:
                    landing.land_source(stage, delivery)
            stage.publish("landed")

    with file_limit(size), pytest.raises((OSError, duckdb.Error, LakeError)) as caught:
        land()
    message, code = cli.outcome_of(caught.value)
    assert code == 8
    assert message
    gc.collect()
    assert read(NAME, newest_version) == 2
    land()
    assert read(NAME, newest_version) == 3
    assert not (place.lake / "writing").exists()


@pytest.mark.parametrize(
    ("number", "is_passing"),
    [("ENOSPC", False), ("EDQUOT", False), ("EROFS", False), ("EACCES", False), ("ENOENT", False),
     ("EFBIG", False), ("ENAMETOOLONG", False), ("EIO", True), ("ESTALE", True), ("ETIMEDOUT", True)],
)  # fmt: skip
def test_only_a_fault_that_may_pass_is_tried_again(number: str, is_passing: bool) -> None:
    import errno

    error = SourceError("a file")
    error.__cause__ = OSError(getattr(errno, number), "fault")
    assert is_passing_fault(error) is is_passing


# Standard streams.


@pytest.mark.parametrize("form", ["table", "csv", "json", "parquet"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_stdout(place: Place, form: str) -> None:
    saved = os.dup(1)
    try:
        with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - a text file as stdout is one
            done = run("sql", place.study, QUERY, "--format", form, stdout=full)  # type: ignore[arg-type]
    finally:
        os.close(saved)
    assert_one_message(done, 8, "standard output: No space left on device")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_letters_that_the_terminal_does_not_have(place: Place, form: str, encoding: str) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    done = run("sql", place.study, "select 'λ é 病' as x", "--format", form, stdout=out)
    assert (done.code, done.err) == (0, "")
    assert "λ é 病" in done.out or "\\u03bb" in done.out


@pytest.mark.proof
def test_closed_standard_streams(place: Place) -> None:
    """A file that is opened must not take the place of a closed stream, and be written into."""
    code = "import sys; from flows.cli import main; main(sys.argv[1:])"
    for closed in ("2>&-", "<&- >&- 2>&-"):
        line = f'exec "$0" -c "$1" sql "$2" "select 1 as x" {closed}'
        done = subprocess.run(
            ["bash", "-c", line, sys.executable, code, place.study],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), closed
        assert done.stdout.split() == (["x", "1"] if closed == "2>&-" else []), closed
    assert_whole(place)


# The net below everything.


class PanicException(BaseException):
    """What a panic of polars is: no Exception."""


def raise_deep() -> None:
    raise_deep()


FALLS = [
    (OSError(28, "No space left on device", "/lakes/x"), 8, "/lakes/x: No space left on device: free some"),
    (OSError(30, "Read-only file system", "/lakes/x"), 8, "/lakes/x: Read-only file system"),
    (PermissionError(13, "Permission denied", "/lakes/x"), 8, "/lakes/x: Permission denied"),
    (duckdb.IOException('Could not write file "/l/x": No space left on device'), 8, "free some space"),
    (duckdb.OutOfMemoryException("Out of Memory: could not allocate"), 8, "TRIALHOUSE_MEMORY_LIMIT"),
    (duckdb.OutOfMemoryException("failed to offload: max_temp_directory_size"), 8, "free some space"),
    (duckdb.InternalException("INTERNAL Error: x\nstack"), 8, "the lake cannot be read: INTERNAL Error: x"),
    (sqlite3.DatabaseError("database disk image is malformed"), 8, "damaged: put it back from a backup"),
    (MemoryError(), 8, "not enough memory"),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 1, "this is a defect of trialhouse"),
    (RecursionError("maximum recursion depth exceeded"), 1, "TRIALHOUSE_TRACEBACK=1 shows where"),
    (pl.exceptions.ComputeError("cannot"), 1, "ComputeError: cannot: this is a defect"),
    (PanicException("called `Result::unwrap()` on an `Err` value"), 1, "PanicException"),
    (KeyError("x"), 1, "KeyError"),
    (AssertionError(), 1, "AssertionError"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (BrokenPipeError(32, "Broken pipe"), 0, ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "code", "text"), FALLS, ids=[f"{type(e).__name__}-{c}" for e, c, _ in FALLS]
)
def test_whatever_falls_to_the_bottom_is_one_message(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    def fall() -> None:
        raise error

    monkeypatch.setattr(output, "list_studies", fall)
    done = run("studies")
    assert (done.code, done.out) == (code, "")
    assert len(done.messages) == (1 if text else 0)
    assert text in done.err
    assert "Traceback" not in done.err
    monkeypatch.setenv("TRIALHOUSE_TRACEBACK", "1")
    assert "Traceback" in run("studies").err


@pytest.mark.parametrize("package", ["prefect.exceptions", "httpx", "sqlalchemy.exc"])
def test_a_server_that_fails_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    kind = type("ConnectError", (Exception,), {"__module__": package})

    def fall() -> None:
        raise kind("All connection attempts failed\nand more")

    monkeypatch.setattr(output, "list_studies", fall)
    assert_one_message(
        run("studies"), 8, "the Prefect server", "ConnectError: All connection attempts failed"
    )


# Signals.


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize(
    "disguise", [None, RuntimeError("Query interrupted"), OSError("closed"), LakeError("x")]
)
def test_a_signal_ends_with_its_code_whatever_it_becomes_on_its_way(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int, disguise: Exception | None
) -> None:
    def work() -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            if disguise:
                raise disguise from None
            raise

    monkeypatch.setattr(output, "list_studies", work)
    done = run("studies")
    assert_one_message(done, code, "a stage that had not published has changed nothing")


def test_a_signal_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under nohup a closed terminal must end nothing."""
    seen = []

    def work() -> tuple[pl.DataFrame, list[LakeError]]:
        signal.raise_signal(signal.SIGHUP)
        seen.append("went on")
        return pl.DataFrame(), []

    monkeypatch.setattr(output, "list_studies", work)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run("studies").code == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen == ["went on"]


WORK = {
    "a second signal": "try: signal.raise_signal(15)\n    finally: signal.raise_signal(2)",
    "a step that swallows it": "try: signal.raise_signal(15)\n    except BaseException: time.sleep(60)",
    # It leaves the interpreter for hours, in which no handler of Python gets its turn.
    "a step that hears nothing": "kill_soon()\n    hashlib.pbkdf2_hmac('sha256', b'x', b'y', 2**31 - 1)",
}


@pytest.mark.parametrize("work", WORK)
def test_a_process_ends_even_if_a_step_does_not(work: str) -> None:
    text = f"""
import hashlib, os, signal, threading, time
from flows import signals

def kill_soon():
    threading.Timer(0.05, os.kill, (os.getpid(), 15)).start()

signals.GRACE_SECONDS = {60 if work == "a second signal" else 0.05}
with signals.listening():
    {WORK[work]}
"""
    done = subprocess.run(
        [sys.executable, "-c", text], check=False, timeout=50, capture_output=True, text=True
    )
    assert done.returncode == 143, done.stderr


# Runs whose process has gone.


def test_the_note_of_a_live_process_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[tuple[list[str], bool]] = []

    def end_runs(names: list[str], *, is_cancelled: bool, why: str) -> None:
        assert why
        ended.append((list(names), is_cancelled))

    monkeypatch.setattr(processes, "_end_runs", end_runs)
    folder = tmp_path / "processes"
    with processes.noted(folder):
        (note,) = folder.iterdir()
        processes.close_abandoned(folder)
        assert note.exists()
    assert not list(folder.iterdir())
    assert ended == []
    # A killed process leaves its note, unlocked.
    (folder / "process-here-1-abc").touch()
    processes.close_abandoned(folder)
    assert ended == [(["process-here-1-abc"], False)]
    assert not list(folder.iterdir())


def test_a_note_stays_until_the_server_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise LakeError("the server does not answer")

    monkeypatch.setattr(processes, "_end_runs", unreachable)
    (tmp_path / "process-here-1-abc").touch()
    with pytest.raises(LakeError):
        processes.close_abandoned(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["process-here-1-abc"]


@pytest.mark.parametrize(
    ("state", "which"), [("Crashed", "own"), ("Cancelling", "root"), ("Failed", "root"), ("Running", "own")]
)
def test_a_run_that_was_ended_publishes_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, state: str, which: str
) -> None:
    import uuid

    from prefect import states
    from prefect.client import orchestration
    from prefect.runtime import flow_run

    ids = {"own": uuid.uuid4(), "root": uuid.uuid4()}

    class Client:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

        def read_flow_run(self, run_id: uuid.UUID) -> Any:
            from types import SimpleNamespace

            chosen = getattr(states, state)() if run_id == ids[which] else states.Running()
            return SimpleNamespace(state=chosen)

    monkeypatch.setattr(orchestration, "get_client", lambda **_: Client())
    monkeypatch.setattr(flow_run, "get_id", lambda: str(ids["own"]))
    monkeypatch.setattr(flow_run, "get_root_flow_run_id", lambda: str(ids["root"]))
    prepared = prepare(str(place.study))
    with open_stage("build", prepared.study, new_run({})) as stage:
        stage.ledgers["quarantine"].clear()
        stage.will_write("adam.adsl", lambda _: None)
        if state == "Running":
            assert stage.publish("again").version == 3
        else:
            with pytest.raises(LakeError, match=f"nothing was published: this run was marked {state}"):
                stage.publish("again")
            assert read(NAME, newest_version) == 2


def test_a_run_whose_worker_has_gone_publishes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(str(place.study))
    monkeypatch.setenv("TRIALHOUSE_WORKER", "1" if os.getppid() != 1 else "2")
    with open_stage("build", prepared.study, new_run({})) as stage:
        stage.will_write("adam.adsl", lambda _: None)
        with pytest.raises(LakeError, match="the worker of this run has gone"):
            stage.publish("again")
    assert open_lake(NAME).catalog_file.is_file()
    assert_whole(place)


def test_a_run_is_killed_with_its_worker() -> None:
    """The worker is killed while its run sleeps; the end of the run closes the pipe that is read here."""
    of_run = (
        "import time; from flows.working import die_with_worker;"
        "die_with_worker(); print('ready', flush=True); time.sleep(60)"
    )
    of_worker = (
        "import os, subprocess, sys, time; os.environ['TRIALHOUSE_WORKER'] = str(os.getpid());"
        f"subprocess.Popen([sys.executable, '-c', {of_run!r}]); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", of_worker], stdout=subprocess.PIPE) as worker:
        assert worker.stdout
        assert worker.stdout.readline() == b"ready\n"
        worker.kill()
        assert worker.stdout.read() == b""
