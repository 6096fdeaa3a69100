from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tasks.queries import read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import polars as pl


@pytest.fixture(scope="session")
def ran(
    test_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Callable[[str], pl.DataFrame]]:
    """Run a study through the command as a user does, once, and return a way to ask its lake."""
    home = tmp_path_factory.mktemp("home")
    done: dict[str, Callable[[str], pl.DataFrame]] = {}

    def run(study: str) -> Callable[[str], pl.DataFrame]:
        if study not in done:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("TRIALHOUSE_HOME", str(home))
                patch.setenv("TRIALHOUSE_TEST_DATA", str(test_data))
                ended = subprocess.run(
                    [sys.executable, "-m", "flows.cli", "run", study],
                    capture_output=True,
                    text=True,
                    check=False,
                )
            assert ended.returncode == 0, ended.stderr

            def ask(query: str) -> pl.DataFrame:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setenv("TRIALHOUSE_HOME", str(home))
                    return read(study, lambda connection: connection.sql(query).pl())

            done[study] = ask
        return done[study]

    return run
