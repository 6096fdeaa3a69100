"""Every house suite accepts a sound frame, and every rule that stops or removes is shown to fail once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

import expectations
from expectations.judge import judge
from expectations.suite import check_types, find_suites

CASES = Path(__file__).parent / "cases"
# An analysis's contract is tested with the analysis: tests/tasks.
OF_ANALYSES = {"omics.sample_qc"}
SUITES = {
    name: suite
    for name, suite in find_suites(Path(expectations.__file__).parent).items()
    if name.split(".")[0] in {"sdtm", "omics", "adam"} and name not in OF_ANALYSES
}


def case_of(name):
    schema, table = name.split(".")
    return yaml.safe_load((CASES / schema / f"{table}.yaml").read_text(encoding="utf-8"))


BREAKS = [
    pytest.param(name, broken, id=f"{name}-{number}-{broken['rule']}")
    for name in sorted(SUITES)
    for number, broken in enumerate(case_of(name)["breaks"])
]


def frame_of(rows):
    return pl.DataFrame(rows, infer_schema_length=None)


def reference_of(case):
    return lambda table, column: case.get("references", {})[f"{table}.{column}"]


def broken_frame(case, broken):
    first, *others = case["rows"]
    frame = frame_of(case["rows"])
    if "change" in broken:
        return pl.concat([frame_of([first | broken["change"]]), frame_of(others)], how="diagonal_relaxed")
    if "repeat" in broken:
        return pl.concat([frame, frame_of([first | broken["repeat"]])], how="diagonal_relaxed")
    return frame.head(broken["rows"])


def rules_named(suite, broken):
    return [rule for rule in suite.expectations if str(rule) == broken["rule"]]


@pytest.mark.parametrize("name", sorted(SUITES))
def test_sound_frame_is_accepted_whole(name):
    case = case_of(name)
    check_types(SUITES[name])

    verdict = judge(frame_of(case["rows"]), SUITES[name], reference_of(case))

    assert [f"{o.expectation}: {o.observed}" for o in verdict.outcomes if not o.is_met] == []
    assert verdict.set_aside == ()
    assert not verdict.is_stopped


@pytest.mark.parametrize(("name", "broken"), BREAKS)
def test_broken_frame_is_caught_by_its_rule(name, broken):
    case, suite = case_of(name), SUITES[name]
    rule = rules_named(suite, broken)[broken.get("number", 0)]

    # The other rules take no part, but for those that set rows aside: they come first.
    rules = [r for r in suite.expectations if r is rule or "set_aside" in (r.severity, rule.severity)]
    suite = suite.model_copy(update={"expectations": tuple(rules)})
    verdict = judge(broken_frame(case, broken), suite, reference_of(case))

    outcome = next(outcome for outcome in verdict.outcomes if outcome.expectation is rule)
    assert not outcome.is_met
    if rule.severity == "critical":
        assert verdict.is_stopped
    if rule.severity == "set_aside":
        assert set(outcome.failing["position"]) <= set(verdict.set_aside)
        assert outcome.rows_failing == 1
        assert not verdict.is_stopped


@pytest.mark.parametrize("name", sorted(SUITES))
def test_every_rule_that_stops_or_removes_has_a_broken_frame(name):
    suite = SUITES[name]
    breaks = case_of(name)["breaks"]
    shown = [rules_named(suite, broken)[broken.get("number", 0)] for broken in breaks]

    missing = [str(r) for r in suite.expectations if r.severity != "warning" and r not in shown]

    assert missing == []


@pytest.mark.parametrize("name", sorted(SUITES))
def test_table_without_rows_is_judged(name):
    case = case_of(name)

    verdict = judge(frame_of(case["rows"]).clear(), SUITES[name], reference_of(case))

    assert verdict.set_aside == ()
    assert verdict.is_stopped == (name == "omics.expression")


@pytest.mark.parametrize(
    "symbol", ["MARCH1", "SEPT1", "DEC1", "MARC1", "HLA-DRA", "NKX2-1", "SEPTIN9", "7157"]
)
def test_real_gene_names_are_not_taken_for_dates(symbol):
    case = case_of("omics.feature")
    frame = frame_of([case["rows"][0] | {"feature_id": symbol, "symbol": symbol}])

    assert all(
        outcome.is_met for outcome in judge(frame, SUITES["omics.feature"], reference_of(case)).outcomes
    )


def test_excel_excerpt_is_found_in_full(test_data):
    path = test_data / "messy_inputs" / "excel_mangled_symbols_excerpt.csv"
    if not path.exists():
        pytest.skip(f"{path}: the test-data folder is absent")
    delivered = pl.read_csv(path, infer_schema=False)
    frame = pl.DataFrame(
        {"feature_id": delivered["ENS"], "symbol": delivered.to_series(1), "ensembl_id": delivered["ENS"]}
    )

    verdict = judge(frame, SUITES["omics.feature"], reference_of({}))

    mangled = next(o for o in verdict.outcomes if str(o.expectation).endswith("not_match_regex(symbol)"))
    looks_like_date = frame["symbol"].str.contains(r"^[A-Z][a-z]{2}-\d\d$").fill_null(value=False)
    assert mangled.rows_failing == looks_like_date.sum() > 0


def test_reading_suites_does_not_import_great_expectations():
    program = (
        "import sys, pathlib, expectations, expectations.judge; from expectations.suite import find_suites; "
        "find_suites(pathlib.Path(expectations.__file__).parent); print('great_expectations' in sys.modules)"
    )

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "False"
