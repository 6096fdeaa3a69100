"""500 damages and forgeries of the lake of the simulated study: `verify` finds and names every one."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.security.damages import damage, schedule
from warehouse.errors import LakeError
from warehouse.lake import Lake, open_lake
from warehouse.seal import refuse_damage
from warehouse.settings import Settings
from warehouse.verification import find_damage, verify

pytestmark = pytest.mark.proof

STUDY = "nl_ruxolitinib"
DAMAGES = 500
GENES = 500
GIGABYTE = 1 << 30


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was said of one damage."""

    number: int
    kind: str
    is_found: bool
    is_named: bool
    is_refused: bool
    first: str


def lake_at(home: Path) -> Lake:
    return open_lake(STUDY, Settings(home=home, catalog="sqlite", storage=None))


def try_damage(whole: Path, folder: Path, number: int, kind: str) -> Outcome:
    """Damage a copy of the lake, and ask for what is wrong until the damage is named."""
    home = folder / str(number)
    shutil.copytree(whole, home / STUDY)
    lake = lake_at(home)
    place = damage(lake, number, kind)
    found = []
    is_named = False
    for finding in find_damage(lake):
        found.append(str(finding))
        is_named = bool(re.search(place, str(finding)))
        if is_named:
            break
    try:
        refuse_damage(lake)
        is_refused = False
    except LakeError:
        is_refused = True
    shutil.rmtree(home)
    return Outcome(number, kind, bool(found), is_named, is_refused, (found or [place])[0])


def measure(work: Callable[[Lake], object], lake: Lake) -> float:
    started = time.perf_counter()
    work(lake)
    return time.perf_counter() - started


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    trialhouse: Callable[..., subprocess.CompletedProcess[str]],
) -> Path:
    """Return the folder of a lake of two deliveries of the simulated study."""
    home = tmp_path_factory.mktemp("whole")
    for seed in ("1", "2"):
        data = home / f"delivery-{seed}"
        for call in (
            ("simulate", STUDY, "--seed", seed, "--genes", str(GENES), "--out", str(data)),
            ("run", STUDY, "--data", str(data)),
        ):
            done = trialhouse(home, *call)
            assert done.returncode == 0, done.stderr
    shutil.rmtree(home / STUDY / "reports")  # pages are made again from the lake
    return home / STUDY


def test_verify_finds_and_names_every_damage(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = lake_at(whole.parent)
    assert verify(lake) == []
    # Several read at once, and the figures are of one alone.
    seconds = {work.__name__: measure(work, lake) for work in (verify, refuse_damage)}
    stored = sum(file.stat().st_size for file in lake.data_folder.rglob("*.parquet"))
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        outcomes = pool.starmap(
            try_damage, [(whole, tmp_path, *each) for each in schedule(DAMAGES)], chunksize=1
        )
    missed = [outcome for outcome in outcomes if not outcome.is_found]
    misnamed = [outcome for outcome in outcomes if outcome.is_found and not outcome.is_named]
    unseen = Counter(outcome.kind for outcome in outcomes if not outcome.is_refused)
    with capsys.disabled():
        print(  # noqa: T201 - the figures are what the proof is for
            f"\n{len(outcomes)} damages and forgeries of {len({outcome.kind for outcome in outcomes})} kinds:"
            f" {len(outcomes) - len(missed)} found by verify;"
            f" {sum(outcome.is_refused for outcome in outcomes)} by the check before a run or a report"
            f"\nnot by the check: {dict(unseen)}"
            f"\nlake of {stored / 1e6:.1f} MB: "
            + ", ".join(
                f"{name} {took:.2f} s, {took / stored * GIGABYTE:.0f} s/GB" for name, took in seconds.items()
            )
        )
    assert missed == []
    assert misnamed == []
