"""Where a study's source paths start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.errors import SourceError
from warehouse.study import HOUSE

if TYPE_CHECKING:
    from warehouse.settings import Settings
    from warehouse.study import Study

HOME = "home:"
TEST_DATA = "test-data:"


def data_root(study: Study, settings: Settings, override: str | None = None) -> Path:
    """Return the folder below which the study's files lie: the override, else what study.toml says.

    Raises
    ------
    SourceError
        If there is no such folder; the message says how to name one and where to get the files.
    """
    home = settings.home.expanduser().resolve()
    declared = study.study.data_root
    if override is not None:
        # A deployment's parameter may be relative: it then starts at the folder of all lakes.
        root = home / Path(override).expanduser()
    elif declared.startswith(TEST_DATA):
        root = test_data() / declared.removeprefix(TEST_DATA)
    elif declared.startswith(HOME):
        root = home / declared.removeprefix(HOME)
    else:
        root = study.folder / Path(declared).expanduser()
    if not root.is_dir():
        obtain = f" {study.study.obtain}" if study.study.obtain else ""
        raise SourceError(
            f"{study.id}: the data root {root} does not exist: name the folder that holds the study's files"
            f" with --data DIR, or data_root in study.toml.{obtain}"
        )
    return root.resolve()


def test_data() -> Path:
    """Return the folder of real public inputs: TRIALHOUSE_TEST_DATA, else beside the checkout."""
    named = os.environ.get("TRIALHOUSE_TEST_DATA")
    return Path(named).expanduser() if named else HOUSE.parent / "shared" / "data"
