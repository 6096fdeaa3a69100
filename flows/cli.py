"""The `trialhouse` command."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from flows import environment, output, signals, upkeep
from flows.outcome import EXIT_CODES, INTERRUPTED, USAGE, outcome_of
from warehouse.masking import mask

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, TypeVar

    Result = TypeVar("Result")

__all__ = ["EXIT_CODES", "INTERRUPTED", "USAGE", "app", "main"]

EPILOGUE = """
Exit codes: 0 done, 2 wrong usage, 3 study folder, 4 delivered file, 5 SQL model, 6 critical expectation
(nothing published), 7 analysis, 8 lake, disk or server, 9 query, 10 export, 129, 130 and 143 ended by
SIGHUP, Ctrl-C or SIGTERM, 1 anything else.
Lakes live under TRIALHOUSE_HOME. Results go to stdout, messages to stderr.
"""

app = App(
    name="trialhouse",
    help="Turn the raw exports of a clinical trial into a versioned warehouse of checked data and results."
    + EPILOGUE,
    help_format="plaintext",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)

Study = Annotated[str, Parameter(help="A study's name, or the path of a study folder.")]
Data = Annotated[
    Path | None, Parameter(help="Folder of the delivered files; default: data_root of study.toml.")
]
Again = Annotated[
    bool, Parameter(negative="", help="Make every table anew, also what is taken to be unchanged.")
]
Format = output.Format
Escape = Annotated[
    bool,
    Parameter(
        name="--escape-formulas",
        negative="",
        help="In CSV, put ' before each text that a spreadsheet would calculate, such as =1+1.",
    ),
]
ExportFormat = Literal["xpt", "dataset-json", "ndjson", "dsjc", "ars", "tables"]


@app.command
def run(study: Study, *, data: Data = None, again: Again = False) -> None:
    """Ingest, check, build, analyze and report; what is unchanged is not done again."""
    from tasks.unchanged import run_key, unchanged_version
    from warehouse.lake import open_lake, report_file
    from warehouse.study import load_study

    _begin()
    where = _absolute(data)
    loaded = load_study(study)
    version = None if again else unchanged_version(loaded, run_key(loaded, where))
    if version is not None:
        page = report_file(open_lake(loaded.id), version)
        if page.is_file():
            output.say(f"{loaded.id}: nothing changed since version {version}: no new version")
            output.tell(page)
            return
    environment.connect()
    from flows.run import run as flow

    done = _carry_out(flow, study, where, again)
    for stage in done.stages:
        what = f"version {stage.version}: {stage.message}" if stage.is_new else "unchanged"
        output.say(f"{stage.stage}: {what}")
    if not done.is_new:
        output.say(f"{loaded.id}: nothing changed since version {done.version}: no new version")
    output.tell(done.page)


@app.command
def ingest(study: Study, *, data: Data = None) -> None:
    """Land new and changed files in raw."""
    _begin()
    environment.connect()
    from flows.ingest import ingest as flow

    _tell(_carry_out(flow, study, _absolute(data)))


@app.command
def build(study: Study, *, again: Again = False) -> None:
    """Make and check the sdtm, omics and adam tables."""
    _begin()
    environment.connect()
    from flows.build import build as flow

    _tell(_carry_out(flow, study, None, again))


@app.command
def analyze(study: Study, *, again: Again = False) -> None:
    """Run the study's analyses on the newest version."""
    _begin()
    environment.connect()
    from flows.analyze import analyze as flow

    _tell(_carry_out(flow, study, None, again))


@app.command
def report(
    study: Study,
    *,
    at: Annotated[int | None, Parameter(help="Version to report; default: the newest.")] = None,
    page: Annotated[
        Path | None, Parameter(name="--output", help="File to write; default: in the lake's folder.")
    ] = None,
) -> None:
    """Write one self-contained HTML page of a version and print its path."""
    from tasks.preparation import prepare
    from tasks.reporting import write_report

    output.tell(write_report(prepare(study), at, page))


@app.command
def export(
    study: Study,
    *,
    format: Annotated[ExportFormat, Parameter(help="ars and tables write results.")],  # noqa: A002
    to: Annotated[Path, Parameter(help="Folder to write into; made if need be.")],
    schema: Annotated[str, Parameter(help="Schema whose tables to write.")] = "adam",
    at: Annotated[
        int | None, Parameter(name=["--at", "--version"], help="Version to write; default: the newest.")
    ] = None,
    escape_formulas: Escape = False,
) -> None:
    """Write tables as CDISC files, or clinical statistics as CDISC ARS or formatted tables."""
    from tasks.export.run import export as write
    from warehouse.study import load_study

    where = to.expanduser()
    for file in write(load_study(study), format, schema, where, at, is_escaped=escape_formulas):
        output.tell(file)


@app.command
def sql(
    study: Study,
    query: Annotated[
        str | None,
        # A comment that a query begins with is no option.
        Parameter(help="One SELECT; tables as schema.table.", allow_leading_hyphen=True),
    ] = None,
    *,
    file: Annotated[Path | None, Parameter(name=["--file", "-f"], help="Read the query from a file.")] = None,
    at: Annotated[int | None, Parameter(help="Version to ask; default: the newest.")] = None,
    format: Annotated[Format, Parameter(help="How to print the rows.")] = "table",  # noqa: A002
    escape_formulas: Escape = False,
) -> None:
    """Ask a study's lake, read-only, at any version."""
    from warehouse.study import load_study

    if (query is None) == (file is None):
        raise output.QueryError("sql: give a query, or a file with -f, and not both")
    text = query if file is None else output.read_query(file)
    output.show(output.ask(load_study(study).id, str(text), at), format, is_escaped=escape_formulas)


@app.command
def versions(
    study: Study,
    *,
    format: Annotated[Format, Parameter(help="How to print.")] = "table",  # noqa: A002
    escape_formulas: Escape = False,
) -> None:
    """List every version: when, who, which stage, why, which tables changed."""
    from tasks.queries import read
    from warehouse.study import load_study
    from warehouse.versions import versions as listed

    frame = read(load_study(study).id, listed)
    if format == "table":
        frame = frame.select("version", "published_at", "author", "stage", "status", "message", "tables")
    output.show(frame, format, is_escaped=escape_formulas)


@app.command
def checks(
    study: Study,
    *,
    rows: Annotated[bool, Parameter(help="List every failing row with its file and row.")] = False,
    all: Annotated[bool, Parameter(help="List the expectations that are met, too.")] = False,  # noqa: A002
    at: Annotated[int | None, Parameter(help="Version to ask; default: the newest.")] = None,
    format: Annotated[Format, Parameter(help="How to print.")] = "table",  # noqa: A002
    escape_formulas: Escape = False,
) -> None:
    """Show what failed, how severe it is, and which file and row it is in."""
    from tasks.queries import all_checks, failed_checks, failing_rows, read
    from warehouse.study import load_study

    question = failing_rows if rows else all_checks if all else failed_checks
    frame = read(load_study(study).id, question, at)
    output.show(frame, format, is_escaped=escape_formulas)
    if format == "table":
        output.say(
            f"{frame.height} {'failing rows' if rows else 'expectations'}; --rows lists each failing row"
        )


@app.command
def studies(
    *,
    format: Annotated[Format, Parameter(help="How to print.")] = "table",  # noqa: A002
    escape_formulas: Escape = False,
) -> None:
    """List the studies of the house and the newest version of each."""
    listed, problems = output.list_studies()
    output.show(listed, format, is_escaped=escape_formulas)
    if problems:
        raise type(problems[0])("\n".join(map(str, problems)))


@app.command
def new(study: Annotated[str, Parameter(help="Name of a new study, or path of its new folder.")]) -> None:
    """Make a study folder to fill in."""
    from tasks.scaffold import make_study

    folder = make_study(study)
    output.tell(folder)
    output.say(
        f"next: edit {folder / 'study.toml'}, put files in {folder / 'data'}, `trialhouse run {study}`"
    )


@app.command
def simulate(
    study: Study,
    *,
    seed: Annotated[int | None, Parameter(help="Default: the study's calibrated seed.")] = None,
    patients: Annotated[int | None, Parameter(help="Number of patients; default: the study's.")] = None,
    genes: Annotated[int | None, Parameter(help="Number of genes; default: the study's.")] = None,
    out: Annotated[Path | None, Parameter(help="Folder to write; default: the study's data root.")] = None,
    null: Annotated[
        bool, Parameter(negative="", help="No gene differs, changes or follows the score.")
    ] = False,
) -> None:
    """Write the raw files of a simulated trial of the study's design."""
    from tasks.simulated_delivery import simulate_delivery

    _begin()
    folder, summary = simulate_delivery(
        study, seed=seed, patients=patients, genes=genes, out=out, is_null=null
    )
    output.say(summary)
    output.tell(folder)


@app.command
def up(
    *,
    port: Annotated[int, Parameter(help="Port on the loopback interface.")] = 4200,
) -> None:
    """Serve Prefect's API and UI on loopback and run the scheduled deployments of prefect.yaml."""
    from flows.server import serve

    environment.configure(use_server=False)
    serve(port)


app.command(upkeep.verify)
app.command(upkeep.repair)
app.command(upkeep.upgrade)
app.command(upkeep.erase)


def _begin() -> None:
    environment.configure()
    environment.show_progress()


def _carry_out(flow: Callable[..., Coroutine[Any, Any, Result]], *arguments: object) -> Result:
    from flows import processes

    folder = environment.prefect_folder() / processes.PROCESSES
    processes.close_abandoned(folder)
    with processes.noted(folder):
        return asyncio.run(flow(*arguments))


def _absolute(data: Path | None) -> str | None:
    return str(data.expanduser().resolve()) if data else None


def _tell(done: object) -> None:
    from tasks.stage import StageResult

    if isinstance(done, StageResult):
        what = (
            f"version {done.version}: {done.message}"
            if done.is_new
            else f"unchanged at version {done.version}"
        )
        output.say(f"{done.stage}: {what}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command; whatever goes wrong is one message and an exit code, never a traceback."""
    with signals.listening():
        output.prepare_streams()
        try:
            app(arguments, exit_on_error=False, print_error=True)
        except SystemExit:
            raise
        except BaseException as error:  # noqa: BLE001 - polars' panics are no Exception
            if os.environ.get("TRIALHOUSE_TRACEBACK"):
                traceback.print_exception(error)
            message, code = outcome_of(error)
            if message:
                output.say(f"trialhouse: {mask(message)}")
            sys.exit(code)


if __name__ == "__main__":
    from flows.entry import main as enter

    enter()
