"""Know at once that a run would do nothing, without loading what it would do it with."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import TYPE_CHECKING

from tasks.landing import find_deliveries
from warehouse.lake import LAKE, Lake, newest_version, open_lake, report_file
from warehouse.lineage import LIBRARIES, code_version, digest
from warehouse.roots import data_root
from warehouse.seal import hash_file
from warehouse.storage import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.study import Study


def run_key(study: Study, data: str | None) -> str:
    """Hash everything that a run depends on: the code, the libraries, the study folder, the delivery."""
    lake = open_lake(study.id)
    delivered = find_deliveries(study, data_root(study, lake.settings, data), {})
    return digest(
        {
            "code": code_version(),
            "libraries": {name: version(name) for name in LIBRARIES},
            "study": _folder(study.folder),
            "files": {delivery.source: delivery.files for delivery in delivered},
        }
    )


def remember(study: Study, key: str, version: int) -> None:
    """Note in the lake's folder what the run that ended at this version depended on."""
    lake = open_lake(study.id)
    note = {"key": key, "version": version, "page": _hash_page(lake, version)}
    replace_file(_memory(lake), json.dumps(note))


def unchanged_version(study: Study, key: str) -> int | None:
    """Return the newest version if a run with this key made it or found nothing to add to it.

    "Nothing changed" is said only of a lake, and of a page, that are as they were published.
    """
    lake = open_lake(study.id)
    try:
        last = json.loads(_memory(lake).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # no run has ended yet, or the note is damaged
        return None
    if not isinstance(last, dict) or last.get("key") != key or not isinstance(last.get("version"), int):
        return None
    if last.get("page") != _hash_page(lake, last["version"]):
        return None
    with lake.read(is_checked=True) as connection:
        newest = newest_version(connection)
        is_whole = connection.execute(
            f"select count(*) from {LAKE}.meta.run where status = 'published'"
        ).fetchone()
    return newest if last.get("version") == newest and is_whole else None


def _hash_page(lake: Lake, version: int) -> str | None:
    page = report_file(lake, version)
    return hash_file(page)[1] if page.is_file() else None


def _memory(lake: Lake) -> Path:
    return lake.folder / "last_run.json"


def _folder(folder: Path) -> dict[str, str]:
    """Hash what decides a run in a study folder; data delivered into it is hashed as data."""
    files = [folder / "study.toml", folder / "corrections.toml"]
    files += [*folder.glob("sql/**/*.sql"), *folder.glob("expectations/**/*.json")]
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(files)
        if file.is_file()
    }
