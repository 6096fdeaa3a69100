"""docs/clinical.md says what each clinical analysis computes, by the names that its results have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from expectations.suite import find_suites
from tasks.clinical.ard import LABELS, SCHEMA
from tasks.clinical.clinical_statistics import GATHERED

REPOSITORY = Path(__file__).resolve().parents[2]
DOC = (REPOSITORY / "docs" / "clinical.md").read_text(encoding="utf-8")
# The seed and number of resamples are said in `method`; the population has a section of its own.
ELSEWHERE = {"population"}


def section(title: str) -> str:
    """Return the text from a heading to the next."""
    _, found, rest = DOC.partition(f"{title}\n")
    assert found, title
    return re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]


def contexts() -> list[tuple[str, str]]:
    """Return each analysis with each context that its suite allows."""
    suites = find_suites(REPOSITORY / "expectations")
    return [
        (name, context)
        for name in GATHERED
        for expectation in suites[f"results.{name}"].expectations
        if expectation.kwargs.get("column") == "context"
        for context in expectation.kwargs.get("value_set", ())
        if context not in ELSEWHERE
    ]


@pytest.mark.parametrize("name", GATHERED)
def test_every_clinical_analysis_has_its_section(name):
    assert section(f"### `{name}`").strip()


@pytest.mark.parametrize(("name", "context"), contexts())
def test_every_context_is_named_with_its_analysis(name, context):
    assert f"`{context}`" in section(f"### `{name}`")


@pytest.mark.parametrize("column", SCHEMA)
def test_every_column_of_the_statistics_is_documented(column):
    assert f"`{column}`" in section("## `results.clinical_statistics`")


@pytest.mark.parametrize("name", sorted(LABELS.keys() - {"n_resamples", "seed"}))
def test_every_common_statistic_is_documented(name):
    assert f"`{name}`" in section("## `results.clinical_statistics`")
