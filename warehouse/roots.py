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
        root = home / _expanded(study, override)
    elif declared.startswith(TEST_DATA):
        root = _below(study, test_data(), declared.removeprefix(TEST_DATA), TEST_DATA)
    elif declared.startswith(HOME):
        root = _below(study, home, declared.removeprefix(HOME), HOME)
    elif (named := _expanded(study, declared)).is_absolute():
        root = named
    else:
        root = _below(study, study.folder, declared, "")
    if not root.is_dir():
        obtain = f" {study.study.obtain}" if study.study.obtain else ""
        raise SourceError(
            f"{study.id}: the data root {root} does not exist: name the folder that holds the study's files"
            f" with --data DIR, or data_root in study.toml.{obtain}"
        )
    return root.resolve()


def _expanded(study: Study, named: str) -> Path:
    try:
        named.encode()
        return Path(named).expanduser()
    except (RuntimeError, UnicodeEncodeError) as error:
        raise SourceError(
            f"{study.id}: data_root: {named!a}: is not the path of a folder ({error!a})"
        ) from error


def _below(study: Study, base: Path, named: str, prefix: str) -> Path:
    """Return the folder, which no `..`, no absolute path and no link may lead out of `base`."""
    root = base / named
    if not root.resolve().is_relative_to(base.resolve()):
        raise SourceError(
            f"{study.id}: data_root: {prefix}{named}: leads to {root.resolve()}, outside {base}: a"
            " folder below it or"
            " an absolute path is allowed, as is --data DIR"
        )
    return root


def test_data() -> Path:
    """Return the folder of real public inputs: TRIALHOUSE_TEST_DATA, else beside the checkout."""
    named = os.environ.get("TRIALHOUSE_TEST_DATA")
    return Path(named).expanduser() if named else HOUSE.parent / "shared" / "data"
