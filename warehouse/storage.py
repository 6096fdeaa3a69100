"""The folder of a lake's data files: it belongs to one catalog, which removes only leftovers of its own."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from typing import TYPE_CHECKING

from warehouse.errors import LakeError
from warehouse.lake import STORE
from warehouse.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb

    from warehouse.catalog import Catalog
    from warehouse.lake import Lake

# Who the folder belongs to, and the newest version that its owner has published.
MARKER = "lake.json"
# Stands while data files are written: what lies there and is in no version came from a killed writer.
WRITING = "writing"


def writing_file(lake: Lake) -> Path:
    """Return the file that marks a writer at work, where every home that uses the catalog sees it."""
    return (lake.folder if lake.is_sqlite else lake.data_folder) / WRITING


def claim_storage(lake: Lake, catalog: Catalog) -> None:
    """Refuse a folder that another catalog writes to.

    Raises
    ------
    LakeError
        Naming the folder, and the lake that it belongs to.
    """
    lake_id = identify_lake(catalog)
    said = read_marker(lake)
    if said is None:
        lake.data_folder.mkdir(parents=True, exist_ok=True)
        _refuse_foreign_files(lake, catalog)
        if not _create_marker(lake, lake_id):  # another home was faster
            said = read_marker(lake)
    if said is not None and said.get("lake") != lake_id:
        raise LakeError(
            f"{lake.data_folder}: belongs to another lake: {said.get('study')}, {said.get('lake')}, and not"
            f" to that of {lake.folder}: give each home a folder of its own with TRIALHOUSE_STORAGE, or"
            " let both use one catalog"
        )


def identify_lake(catalog: Catalog) -> str:
    """Return the identity of a catalog, given to it when it is first written."""
    catalog.make_own_tables()
    said = dict(catalog.read("trialhouse_lake", "name", "value"))
    if "id" not in said:
        said["id"] = str(uuid.uuid4())
        catalog.insert("trialhouse_lake", "id", said["id"])
    return str(said["id"])


def read_marker(lake: Lake) -> dict[str, object] | None:
    """Return what the folder says of its owner, or None where it says nothing."""
    file = lake.data_folder / MARKER
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LakeError(
            f"{file}: cannot be read: {error}: see `trialhouse verify {lake.study_id}`"
        ) from error
    return said if isinstance(said, dict) else {}


def write_marker(lake: Lake, said: dict[str, object]) -> None:
    replace_file(lake.data_folder / MARKER, json.dumps(said))


def _create_marker(lake: Lake, lake_id: str) -> bool:
    """Create the marker whole, unless there is one by now."""
    new = lake.data_folder / f".{MARKER}.{lake_id}"
    replace_file(new, json.dumps({"lake": lake_id, "study": lake.study_id}))
    try:
        os.link(new, lake.data_folder / MARKER)
    except FileExistsError:
        return False
    finally:
        new.unlink(missing_ok=True)
    return True


def replace_file(file: Path, text: str) -> None:
    """Put a small file in place whole, or not at all."""
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with unfinished.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(file)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def _refuse_foreign_files(lake: Lake, catalog: Catalog) -> None:
    """Refuse to claim a folder that holds data files which this catalog does not know."""
    known = {file.path for file in catalog.list_files()}
    for path in lake.data_folder.rglob("*.parquet"):
        if path.relative_to(lake.data_folder).as_posix() not in known and not writing_file(lake).exists():
            raise LakeError(
                f"{path}: a data file that the catalog of {lake.folder} does not know: the folder may belong"
                " to another lake: give this one a folder of its own with TRIALHOUSE_STORAGE"
            )


@contextlib.contextmanager
def mark_writing(lake: Lake) -> Iterator[None]:
    """Mark that data files are being written, so that a killed writer's orphans are found."""
    marker = writing_file(lake)
    if not marker.exists():  # an attempt that failed may have left files, which are not to be kept
        replace_file(marker, json.dumps(sorted(list_data_files(lake.data_folder))))
    yield
    marker.unlink(missing_ok=True)


def list_data_files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")}


def remove_orphans(lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
    """Remove the data files that a killed writer of this catalog left without a version that names them.

    A file is removed only if DuckLake wrote it and knows it as an orphan, and it came after the killed writer
    began: what else lies in the folder is somebody's, and stays.
    """
    marker = writing_file(lake)
    try:
        before = set(json.loads(marker.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return
    except (
        OSError,
        ValueError,
    ):  # written by an older trialhouse, or cut off: nothing is known, nothing goes
        before = list_data_files(lake.data_folder)
    orphans = connection.execute(
        f"from ducklake_delete_orphaned_files({literal(STORE)}, cleanup_all => true, dry_run => true)"
    ).fetchall()
    root = lake.data_folder.resolve()
    for (name,) in orphans:
        path = root / name
        if (
            path.resolve().is_relative_to(root)
            and path.relative_to(root).as_posix() not in before
            and path.name.startswith("ducklake-")  # as DuckLake names what it writes
        ):
            path.unlink(missing_ok=True)
    marker.unlink(missing_ok=True)
