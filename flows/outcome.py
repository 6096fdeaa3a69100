"""How a command ends: whatever went wrong is one message and one documented exit code."""

from __future__ import annotations

import errno
import os
import shutil
from signal import SIGINT, Signals
from typing import TYPE_CHECKING

import cyclopts
import duckdb

from flows import environment, output, signals
from tasks.export.data_set import ExportError
from warehouse.errors import (
    AnalysisError,
    ExpectationFailed,
    LakeError,
    ModelError,
    SourceError,
    StudyError,
    TrialhouseError,
)
from warehouse.faults import SPACE, advice_on, describe_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_CODES: dict[type[TrialhouseError], int] = {
    StudyError: 3,
    SourceError: 4,
    ModelError: 5,
    ExpectationFailed: 6,
    AnalysisError: 7,
    LakeError: 8,
    output.QueryError: 9,
    ExportError: 10,
}
DEFECT = 1
USAGE = 2
MACHINE = EXIT_CODES[LakeError]
INTERRUPTED = signals.exit_code(SIGINT)
# Less than this is no space for Prefect's database.
FULL_BYTES = 2**20
SERVER_PACKAGES = ("prefect", "httpx", "httpcore", "sqlalchemy", "websockets")


def outcome_of(error: BaseException) -> tuple[str | None, int]:
    """Return the one message, if there is one to give, and the exit code."""
    if signals.received() or isinstance(error, KeyboardInterrupt):
        return _outcome_of_signal(signals.received() or SIGINT)
    if isinstance(error, cyclopts.CycloptsError):  # has been printed
        return None, USAGE
    if isinstance(error, BrokenPipeError):  # who reads what we print has seen enough
        return None, 0
    if isinstance(error, TrialhouseError):
        return _outcome_of_ours(error)
    if trouble := _trouble(error):
        return trouble, MACHINE
    what = f"{type(error).__name__}: {_first_line(error)}"
    return f"{what}: this is a defect of trialhouse: TRIALHOUSE_TRACEBACK=1 shows where", DEFECT


def _outcome_of_signal(number: Signals) -> tuple[str, int]:
    how = "interrupted" if number == SIGINT else f"ended by {number.name}"
    return f"{how}; a stage that had not published has changed nothing", signals.exit_code(number)


def _outcome_of_ours(error: TrialhouseError) -> tuple[str, int]:
    codes = (code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
    code, cause = next(codes, DEFECT), error.__cause__
    if not isinstance(cause, duckdb.Error) or not describe_fault(cause):
        return str(error), code
    # A disk, and not the SQL that met it, made a query or a model fail.
    of_machine = MACHINE if isinstance(error, (ModelError, output.QueryError)) else code
    return f"{error}: {advice_on(str(cause))}", of_machine


def _trouble(error: BaseException) -> str | None:
    """Say what the disk, the lake or the server did, where it was one of them."""
    if fault := next(filter(None, map(describe_fault, _chain(error))), None):
        # SQLite names no file.
        return (
            fault if "/" in fault or isinstance(error, OSError) else f"{environment.home_folder()}: {fault}"
        )
    if isinstance(error, duckdb.Error):
        return f"the lake cannot be read: {_first_line(error)}"
    if type(error).__module__.partition(".")[0] not in SERVER_PACKAGES:
        return None
    folder = environment.home_folder() / "prefect"
    if folder.is_dir() and shutil.disk_usage(folder).free < FULL_BYTES:
        return f"{folder}: {os.strerror(errno.ENOSPC)}: {SPACE}"
    return f"the Prefect server, whose data is in {folder}: {type(error).__name__}: {_first_line(error)}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
