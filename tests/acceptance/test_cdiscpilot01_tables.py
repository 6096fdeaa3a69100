"""The tables of the CDISC pilot's report by the queries that the study's README gives for them.

The queries are read out of the README and run on the lake that the tabulations (SDTM) make. Expected
values are those that the public replication of the report prints (repository
atorus-research/CDISC_pilot_replication, folder outputs), a few of each table; tolerances are half of the
last digit printed, and a hair for values on the half. What the README says to differ is expected to differ.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

pytestmark = pytest.mark.acceptance

README = (Path(__file__).resolve().parents[2] / "studies" / "cdiscpilot01" / "README.md").read_text("utf-8")
PLACEBO, LOW, HIGH = "Placebo", "Xanomeline Low Dose", "Xanomeline High Dose"
ARMS = (PLACEBO, LOW, HIGH)
_BLOCK = re.MULTILINE | re.DOTALL
LYING = "AFTER LYING DOWN FOR 5 MINUTES"
# All of the report but those that nothing computes: 14-6.03, and concomitant medication (14-7.04).
TABLES = [
    *(f"14-1.0{n}" for n in range(1, 4)),
    "14-2.01",
    *(f"14-3.{n:02}" for n in range(1, 14)),
    "14-4.01",
    "14-5.01",
    "14-5.02",
    *(f"14-6.0{n}" for n in (1, 2, 4, 5, 6)),
    *(f"14-7.0{n}" for n in range(1, 4)),
    "Figure 14-1",
]


def documented() -> dict[str, str]:
    """Return the query of each table; those of one shape differ in the estimand."""
    blocks = "\n".join(re.findall(r"```sql\n(.*?)```", README, flags=re.DOTALL))
    queries = dict(re.findall(r"^-- ((?:Figure )?14-[0-9.]+): .*?\n(.*?);$", blocks, flags=_BLOCK))
    for table, estimand in re.findall(r"^\| (14-3\.\d+) \|.*\| `(\w+)` \|$", README, flags=re.MULTILINE):
        queries[table] = queries["14-3.01"].replace("adas_w24_locf", estimand)
    return queries


@pytest.fixture(scope="module")
def table(ran):
    ask, queries, answered = ran("cdiscpilot01"), documented(), {}

    def answer(name):
        if name not in answered:
            answered[name] = ask(queries[name])
        return answered[name]

    return answer


def _rows(frame, where):
    return frame.filter(*[pl.col(name).eq_missing(pl.lit(value)) for name, value in where.items()])


def _by_arm(frame, **where):
    return _rows(frame, where).select(ARMS).row(0)


def _stat(frame, stat_name, **where):
    return _rows(frame, {"stat_name": stat_name, **where})["stat"].item()


def _printed(values, digits):
    return pytest.approx(values, abs=0.5001 * 10.0**-digits)


def test_every_table_has_its_query():
    assert sorted(documented()) == sorted(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_every_query_answers_for_every_arm(table, name):
    frame = table(name)
    named = set(frame["group1_level"]) if "group1_level" in frame.columns else set(frame.columns)
    assert frame.height > 0
    assert set(ARMS) <= named


@pytest.mark.parametrize(
    ("name", "where", "expected"),
    [
        ("14-1.01", {"variable": "EFFFL", "context": "analysis_set"}, (79, 81, 74)),
        ("14-1.01", {"variable": "COMP24FL", "context": "completion"}, (60, 28, 30)),
        ("14-1.01", {"variable": "EOSSTT", "variable_level": "COMPLETED"}, (58, 25, 27)),
        ("14-1.02", {"variable_level": "Adverse Event"}, (8, 44, 39)),
        ("14-1.02", {"variable_level": "Withdrew Consent"}, (9, 8, 8)),
        ("14-1.02", {"variable_level": "Lack of Efficacy"}, (3, 0, 1)),
        ("14-2.01", {"variable": "AGEGR1", "variable_level": "65-80"}, (42, 47, 55)),
        ("14-2.01", {"variable": "ORIGIN", "variable_level": "Hispanic"}, (3, 6, 3)),
        ("14-3.13", {"estimand": "cibic_w8_locf", "variable_level": "5"}, (10, 14, 20)),
        ("14-3.13", {"estimand": "cibic_w16_locf", "variable_level": "4"}, (41, 46, 39)),
        ("14-5.01", {"group2_level": None, "group3_level": None}, (65, 77, 76)),
        ("14-6.02", {"group2_level": "ALB", "variable_level": "LOW"}, (16, 15, 5)),
        ("14-6.02", {"group2_level": "BILI", "variable_level": "HIGH"}, (6, 2, 5)),
        ("14-6.05", {"group2_level": "ALT", "variable_level": "NORMAL to HIGH"}, (2, 1, 2)),
        ("14-6.06", {"group2_level": "ALT or AST", "variable_level": "NORMAL to HIGH"}, (3, 1, 3)),
        ("14-6.06", {"group2_level": "ALT or AST", "variable_level": "HIGH to HIGH"}, (2, 1, 0)),
    ],
)
def test_participants_are_those_of_the_report(table, name, where, expected):
    assert _by_arm(table(name), stat_name="n", **where) == expected


def test_events_are_those_of_the_report(table):
    everything = {"group2_level": None, "group3_level": None}
    assert _by_arm(table("14-5.01"), stat_name="n_events", **everything) == (281, 412, 433)
    pruritus = {"group3_level": "APPLICATION SITE PRURITUS", "stat_name": "p"}
    assert _by_arm(table("14-5.01"), **pruritus) == _printed((0.070, 0.262, 0.262), 3)
    row = _rows(table("14-5.01"), {**everything, "stat_name": "p.value"})
    against = [f"{arm} against {PLACEBO}" for arm in (LOW, HIGH)]
    assert row.select(against).row(0) == _printed((0.007, 0.014), 3)
    assert _by_arm(table("14-5.02"), stat_name="n_events", **everything) == (0, 1, 2)


def test_sites_add_up(table):
    counts = table("14-1.03")
    sums = dict(counts.group_by("group3").agg(pl.col("Total").sum()).iter_rows())
    assert sums == {None: 254, "EFFFL": 234, "COMP24FL": 118}
    assert counts["group2_level"].n_unique() == 11


@pytest.mark.parametrize(
    ("name", "where", "means", "sds"),
    [
        ("14-2.01", {"variable": "AGE"}, (75.2, 75.7, 74.4), (8.59, 8.29, 7.89)),
        ("14-2.01", {"variable": "BMIBL"}, (23.6, 25.1, 25.3), (3.67, 4.27, 4.16)),
        (
            "14-3.10",
            {"how": "observed", "variable": "AVAL", "group3_level": "Week 8"},
            (25.0, 26.2, 22.3),
            (13.10, 12.98, 12.41),
        ),
        (
            "14-3.10",
            {"how": "LOCF", "variable": "CHG", "group3_level": "Week 24"},
            (2.5, 2.0, 1.5),
            (5.80, 5.55, 4.26),
        ),
        (
            "14-4.01",
            {"estimand": "safety", "group2_level": "CUMDOSE"},
            (0, 5347.3, 7551.0),
            (0, 3680.35, 5531.04),
        ),
        (
            "14-4.01",
            {"estimand": "safety", "group2_level": "AVDDSE"},
            (0, 54.0, 71.6),
            (0, 0, 8.11),
        ),
        (
            "14-6.01",
            {"group2_level": "ALT", "group3_level": "Week 8", "variable": "AVAL"},
            (16.7, 17.6, 22.8),
            (9.34, 7.86, 17.49),
        ),
    ],
)
def test_means_are_those_of_the_report(table, name, where, means, sds):
    for stat_name, values, digits in (("mean", means, 1), ("sd", sds, 2)):
        rows = _rows(table(name), {**where, "stat_name": stat_name})
        if "group1_level" in rows.columns:
            by_arm = dict(rows.select("group1_level", "stat").iter_rows())
            assert tuple(by_arm[arm] for arm in ARMS) == _printed(values, digits)
        else:
            assert rows.select(ARMS).row(0) == _printed(values, digits)


# Dose response; low, high dose against placebo: estimate, standard error, limits, p-value; high against low.
COMPARISONS = [
    ("14-3.01", 0.245, (-0.5, 0.82, -2.1, 1.1, 0.569), (-1.0, 0.84, -2.7, 0.7, 0.233), 0.520),
    ("14-3.03", 0.497, (1.1, 0.65, -0.2, 2.4, 0.099), (0.2, 0.67, -1.1, 1.5, 0.751), None),
    ("14-3.04", None, (0.0, 0.12, -0.2, 0.3, 0.754), (0.2, 0.12, -0.1, 0.4, 0.128), 0.218),
    ("14-3.05", 0.412, (-0.3, 0.77, -1.8, 1.2, 0.724), (-0.7, 0.79, -2.2, 0.9, 0.392), 0.606),
    ("14-3.07", 0.234, (-2.1, 1.26, -4.6, 0.4, 0.105), (-0.9, 1.22, -3.3, 1.5, 0.461), 0.430),
    ("14-3.08", 0.873, (0.5, 1.30, -2.1, 3.1, 0.712), (0.1, 1.25, -2.4, 2.6, 0.915), 0.783),
    ("14-3.12", 0.142, (-0.6, 1.14, -2.9, 1.6, 0.594), (-1.8, 1.16, -4.1, 0.5, 0.119), 0.311),
]


@pytest.mark.parametrize(("name", "dose", "low", "high", "high_low"), COMPARISONS)
def test_differences_are_those_of_the_report(table, name, dose, low, high, high_low):
    frame = table(name)
    if dose is not None:
        assert _stat(frame, "p.value", context="dose_response") == _printed(dose, 3)
    for arm, printed in ((LOW, low), (HIGH, high)):
        here = {"context": "difference", "group1_level": arm, "group1_reference": PLACEBO}
        names = ("estimate", "std.error", "conf.low", "conf.high", "p.value")
        for stat_name, value, digits in zip(names, printed, (1, 2, 1, 1, 3), strict=True):
            assert _stat(frame, stat_name, **here) == _printed(value, digits), (arm, stat_name)
    if high_low is not None:
        here = {"context": "difference", "group1_level": HIGH, "group1_reference": LOW}
        assert _stat(frame, "p.value", **here) == _printed(high_low, 3)


def test_the_dose_response_of_the_impression_of_change(table):
    assert _stat(table("14-3.02"), "p.value", context="dose_response") == _printed(0.960, 3)


def test_repeated_measures_are_those_of_sas_at_week_24(table):
    """The replication's notes give the output of PROC MIXED; the printed table averages over the weeks."""
    frame = table("14-3.11")
    for arm, mean in ((PLACEBO, 2.3291), (LOW, 1.7352), (HIGH, 1.5009)):
        assert _stat(frame, "estimate", context="ls_means", group1_level=arm) == _printed(mean, 4)
    for arm, estimate, p_value in ((LOW, -0.5939, 0.5600), (HIGH, -0.8282, 0.4403)):
        here = {"context": "difference", "group1_level": arm}
        assert _stat(frame, "estimate", **here) == _printed(estimate, 4)
        assert _stat(frame, "p.value", **here) == _printed(p_value, 4)


@pytest.mark.parametrize(
    ("name", "where", "p_value", "digits"),
    [
        ("14-1.02", {"variable_level": "Lack of Efficacy"}, 0.3281, 4),
        ("14-2.01", {"variable": "AGE"}, 0.5934, 4),
        ("14-2.01", {"variable": "WEIGHTBL"}, 0.0030, 4),
        ("14-2.01", {"variable": "AGEGR1"}, 0.1439, 4),
        ("14-3.13", {"estimand": "cibic_w8_locf", "context": "cmh_row_mean_scores"}, 0.2727, 4),
        ("14-3.13", {"estimand": "cibic_w16_locf", "context": "cmh_row_mean_scores"}, 0.4003, 4),
        ("14-3.13", {"estimand": "cibic_w24_locf", "context": "cmh_row_mean_scores"}, 0.6180, 4),
        ("14-6.02", {"group2_level": "ALB"}, 0.042, 3),
        ("14-6.02", {"group2_level": "CHOL"}, 0.962, 3),
        ("14-6.02", {"group2_level": "UREAN"}, 0.023, 3),
    ],
)
def test_tests_of_all_arms_are_those_of_the_report(table, name, where, p_value, digits):
    assert _rows(table(name), {"stat_name": "p.value", **where})["All"].item() == _printed(p_value, digits)


def test_time_to_the_first_dermatologic_event(table):
    """The figure has no numbers: survfit and survdiff of R's survival on the published times."""
    frame = table("Figure 14-1")
    quantile = {"context": "quantile", "variable_level": "0.25"}
    assert tuple(_stat(frame, "estimate", group1_level=arm, **quantile) for arm in ARMS) == (70, 19, 14)
    overall = {"context": "log_rank", "group1_level": None}
    assert _stat(frame, "statistic", **overall) == pytest.approx(60.26955674, rel=1e-8)


def test_what_the_readme_says_to_differ_does(table):
    alanine = {"group2_level": "ALT", "context": "cmh", "stat_name": "p.value"}
    assert _rows(table("14-6.05"), alanine)["All"].item() == _printed(0.816, 3)
    stays = {"group2_level": "ALT or AST", "variable_level": "NORMAL to NORMAL", "stat_name": "n"}
    assert _by_arm(table("14-6.06"), **stays) == (79, 79, 77)
    transaminases = {"group2_level": "ALT or AST", "context": "cmh", "stat_name": "p.value"}
    assert _rows(table("14-6.06"), transaminases)["All"].item() == _printed(0.392, 3)
    dose = {"estimand": "completers", "group2_level": "AVDDSE", "stat_name": "sd"}
    assert _by_arm(table("14-4.01"), **dose) == _printed((0, 0, 0.587), 3)
    protein = {"group2_level": "PROT", "context": "fisher", "stat_name": "p.value"}
    assert _rows(table("14-6.02"), protein)["All"].item() == _printed(0.536, 3)
    general = {"context": "cmh_general_association", "stat_name": "p.value"}
    for estimand, p_value in (("cibic_w8_locf", 0.478), ("cibic_w16_locf", 0.770), ("cibic_w24_locf", 0.868)):
        found = _rows(table("14-3.13"), {"estimand": estimand, **general})["All"].item()
        assert found == _printed(p_value, 3)
    lying = {"group2_level": "SYSBP", "variable_level": LYING, "group3_level": "Week 24"}
    assert _by_arm(table("14-7.02"), stat_name="N_obs", **lying) == (59, 27, 30)
    # Low and high dose are those of the report.
    assert _by_arm(table("14-7.02"), stat_name="mean", **lying) == _printed((-2.3, -0.3, -5.6), 1)
    assert _by_arm(table("14-7.02"), stat_name="sd", **lying)[1:] == _printed((17.19, 17.18), 2)
