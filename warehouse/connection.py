"""DuckDB as the house opens it: extensions of installed packages, and what a connection may reach."""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import socket
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from warehouse.errors import LakeError
from warehouse.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from warehouse.settings import Settings


_HOST = socket.gethostname()
_numbers = itertools.count(1)


def connect(settings: Settings, *, spill: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB with the lake's extensions, loaded from the installed packages only."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "memory_limit": settings.memory_limit,
        "preserve_insertion_order": True,
        # A query names tables of the lake, never a variable of the program that runs it.
        "python_enable_replacements": False,
    }
    if settings.threads:
        config["threads"] = settings.threads
    if spill:
        # A folder of its own, for DuckDB names its files alike in every process.
        config["temp_directory"] = str(spill / f"{_HOST}-{os.getpid()}-{next(_numbers)}")
        config["max_temp_directory_size"] = settings.temp_limit
    connection = duckdb.connect(":memory:", config=config)
    _load(connection, _scanner(settings), "ducklake")
    connection.execute("set TimeZone = 'UTC'")
    # Of two publications at once, one must fail: DuckLake would put the second behind the first.
    connection.execute("set ducklake_max_retry_count = 0")
    return connection


def sweep_spilled(spill: Path) -> None:
    """Remove what DuckDB spilled for processes of this machine that have died."""
    for folder in spill.glob(f"{_HOST}-*-*"):
        process = folder.name.removeprefix(f"{_HOST}-").partition("-")[0]
        if process.isdigit() and not _is_alive(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


def connect_scanner(settings: Settings) -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB that reads the catalog's database, and knows nothing of lakes."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,
    }
    connection = duckdb.connect(":memory:", config=config)
    _load(connection, _scanner(settings))
    connection.execute("set TimeZone = 'UTC'")
    return connection


def _scanner(settings: Settings) -> str:
    return "sqlite_scanner" if settings.is_sqlite else "postgres_scanner"


def _load(connection: duckdb.DuckDBPyConnection, *extensions: str) -> None:
    for name in extensions:
        connection.execute(f"load {literal(str(find_extension(name)))}")


def confine(connection: duckdb.DuckDBPyConnection, folders: Iterable[Path]) -> None:
    """Let a connection reach the files below the folders and nothing else, for good.

    What it has attached stays attached; it can load, attach and configure nothing more outside.
    """
    allowed = ", ".join(literal(f"{folder}/") for folder in folders)
    connection.execute(f"set allowed_directories = [{allowed}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


@cache
def find_extension(name: str) -> Path:
    package = f"duckdb_extension_{name}"
    spec = importlib.util.find_spec(package)
    found = (
        sorted(Path(next(iter(spec.submodule_search_locations))).rglob(f"{name}.duckdb_extension"))
        if spec and spec.submodule_search_locations
        else []
    )
    matching = [file for file in found if f"v{duckdb.__version__}" in file.parts]
    if not matching:
        raise LakeError(
            f"DuckDB extension {name}: not found for DuckDB {duckdb.__version__}:"
            f" install {package.replace('_', '-')}=={duckdb.__version__}"
        )
    return matching[0]
