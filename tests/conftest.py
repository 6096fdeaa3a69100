"""Fixtures that every test may use: an empty home for lakes, and the folder of real public inputs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadScopeScheduling

from warehouse.roots import test_data as find_test_data

if TYPE_CHECKING:
    from xdist.remote import Producer

# Folders whose tests share lakes and a server that take a minute to make.
TOGETHER = ("tests/acceptance/", "tests/flows/")


class Workers(LoadScopeScheduling):
    """Keep the tests of a file, or of a folder that shares its fixtures, in one worker."""

    def _split_scope(self, nodeid: str) -> str:
        return next(
            (folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.split("::", maxsplit=1)[0]
        )


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Workers:
    return Workers(config, log)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a TRIALHOUSE_HOME of its own."""
    folder = tmp_path / "home"
    for name in [name for name in os.environ if name.startswith("TRIALHOUSE_") and "TEST_DATA" not in name]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TRIALHOUSE_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Return the folder of real public inputs, or skip."""
    folder = find_test_data()
    if not folder.is_dir():
        pytest.skip(f"no real public inputs at {folder} (TRIALHOUSE_TEST_DATA)")
    return folder
