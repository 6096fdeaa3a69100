"""Where the test-data folder is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def test_data():
    default = Path(__file__).parents[2].parent / "shared" / "data"
    return Path(os.environ.get("TRIALHOUSE_TEST_DATA", default))
