"""Fixtures that every test may use: an empty home for lakes, and the folder of real public inputs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from warehouse.roots import test_data as find_test_data


TESTS = Path(__file__).parent
# Folders whose tests share lakes and a server that take a minute to make.
TOGETHER = {"acceptance", "flows"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file, or of a folder that shares its fixtures, in one worker."""
    for item in items:
        place = item.path.relative_to(TESTS)
        group = place.parts[0] if place.parts[0] in TOGETHER else str(place)
        item.add_marker(pytest.mark.xdist_group(group))


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
