"""docs/coexpression.md: its Python runs as it stands, and its options are those of the engine."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from tasks.stats.coexpression.settings import NetworkSettings

DOC = (Path(__file__).resolve().parents[2] / "docs" / "coexpression.md").read_text(encoding="utf-8")


def test_the_python_of_the_page_finds_the_modules_it_is_given() -> None:
    code = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
    assert len(code) == 1
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(2, 24))
    value = np.concatenate([one + rng.normal(0, 0.4, (40, 24)) for one in factor])
    known: dict[str, Any] = {
        "value": value,
        "other": value + rng.normal(0, 0.1, value.shape),
        "patient": [str(sample // 2) for sample in range(24)],
    }
    quick = code[0].replace("permutations=200", "permutations=9").replace("resamples=100", "resamples=2")
    exec(quick, known)  # noqa: S102 - the page is our own
    assert np.bincount(known["modules"].label).tolist() == [0, 40, 40]
    assert known["overlap"].shape == (80, 80)
    assert known["held"].summary.z_summary[-1] > 2
    assert known["stable"].jaccard.min() > 0.9


def test_every_setting_is_one_of_the_engine_and_has_its_name_in_r() -> None:
    page = DOC[DOC.index("## From Python") :]
    table = page[page.index("| R | here |") : page.index("Defaults are")]
    named = set(re.findall(r"`([a-z_]+)`", table)) - {"unsigned", "signed"}
    ours = {field.name for field in fields(NetworkSettings)} - {"power", "precision"}
    assert ours <= named
