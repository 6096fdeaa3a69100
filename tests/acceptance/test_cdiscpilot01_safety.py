"""The descriptive and safety tables of the CDISC pilot's report, from its published analysis data.

The expected values are those that the public replication of the report prints (repository
atorus-research/CDISC_pilot_replication, folder outputs, one file per table), to the digits printed there;
of table 14-6.06 it says itself that the report's .015 is a mistake and .405 is right. Survival values, for
which the report has a figure only, come from R 4.2.2 with survival (survfit with log-log intervals, survdiff,
coxph) on the published ADTTE. Tolerances are half of the last digit printed, and a hair for values that lie
on the half.
"""

from __future__ import annotations

import polars as pl
import pytest

from tasks.clinical.adverse_events import AdverseEventsParameters, adverse_events
from tasks.clinical.baseline_characteristics import (
    BaselineCharacteristicsParameters,
    baseline_characteristics,
)
from tasks.clinical.disposition import DispositionParameters, disposition
from tasks.clinical.exposure import ExposureParameters, exposure
from tasks.clinical.laboratory import LaboratoryParameters, laboratory
from tasks.clinical.time_to_event import TimeToEventParameters, time_to_event
from tasks.clinical.vital_signs import VitalSignsParameters, vital_signs

pytestmark = pytest.mark.acceptance

PLACEBO, LOW, HIGH = "Placebo", "Xanomeline Low Dose", "Xanomeline High Dose"
ARMS = (PLACEBO, LOW, HIGH)
SAFETY = {
    "id": "safety", "title": "Safety", "population": "saffl", "summary": "tables", "reference": PLACEBO,
}  # fmt: skip
TREATMENT_VISITS = [f"Week {week}" for week in (2, 4, 6, 8, 12, 16, 20, 24)]
# Looks of blood cells, which the report does not tabulate.
MORPHOLOGY = ("ANISO", "POIKILO", "MICROCY", "MACROCY", "POLYCHR")


@pytest.fixture(scope="module")
def published(test_data):
    folder = test_data / "cdiscpilot_adam" / "parquet"
    if not folder.is_dir():
        pytest.skip(f"no published analysis data at {folder}")

    def read(name):
        return pl.read_parquet(folder / f"{name}.parquet").rename(str.lower)

    return read


@pytest.fixture(scope="module")
def adsl(published):
    # The report counts the Hispanic as an origin of their own beside the races.
    return published("adsl").with_columns(
        origin=pl.when(pl.col("ethnic") == "HISPANIC OR LATINO").then(pl.lit("HISPANIC")).otherwise("race")
    )


def _derived(frame):
    return frame.with_columns(
        unit=pl.col("param").str.extract(r"\(([^)]*)\)$"), dtype=pl.lit(None, pl.String)
    )


@pytest.fixture(scope="module")
def adlb(published):
    both = pl.concat([published("adlbc"), published("adlbh")])
    return _derived(both.filter(~pl.col("paramcd").is_in(MORPHOLOGY))).with_columns(
        anrlo="a1lo", anrhi="a1hi", anrind="lbnrind", ontrtfl=pl.lit(None, pl.String)
    )


def _stat(result, stat_name, **where):
    where = {"group1_reference": None, **where}
    found = result.filter(
        pl.col("stat_name") == stat_name,
        *[pl.col(name).eq_missing(pl.lit(value)) for name, value in where.items()],
    )
    return found["stat"].item()


def _by_arm(result, stat_name, **where):
    return tuple(_stat(result, stat_name, group1_level=arm, **where) for arm in ARMS)


def _printed(values, digits):
    return pytest.approx(values, abs=0.5001 * 10.0**-digits)


@pytest.fixture(scope="module")
def ends(adsl):
    parameters = DispositionParameters.model_validate(
        {"estimands": [SAFETY], "reason_unless": "comp24fl", "site_sets": ["efffl", "comp24fl"]}
    )
    return disposition(adsl, parameters=parameters)


@pytest.mark.parametrize(
    ("flag", "counts"),
    [("ITTFL", (86, 84, 84)), ("SAFFL", (86, 84, 84)), ("EFFFL", (79, 81, 74)), ("COMP24FL", (60, 28, 30))],
)
def test_populations(ends, flag, counts):
    """Table 14-1.01."""
    assert _by_arm(ends, "n", context="analysis_set", variable=flag) == counts


def test_completed_the_study(ends):
    """Table 14-1.01, last line."""
    assert _by_arm(ends, "n", variable="EOSSTT", variable_level="COMPLETED") == (58, 25, 27)


@pytest.mark.parametrize(
    ("reason", "counts"),
    [
        ("Adverse Event", (8, 44, 39)),
        ("Death", (1, 1, 0)),
        ("Lack of Efficacy", (3, 0, 1)),
        ("Lost to Follow-up", (1, 0, 0)),
        ("Withdrew Consent", (9, 8, 8)),
    ],
)
def test_reasons_for_early_termination(ends, reason, counts):
    """Table 14-1.02."""
    assert _by_arm(ends, "n", variable="DCSREAS", variable_level=reason) == counts


def test_tests_of_the_end_of_the_study(ends):
    """Table 14-1.02: <.0001, <.0001 and .3281."""
    overall = {"context": "fisher", "group1_level": None}
    assert _stat(ends, "p.value", variable="COMP24FL", **overall) < 0.0001
    assert _stat(ends, "p.value", variable_level="Adverse Event", **overall) < 0.0001
    assert _stat(ends, "p.value", variable_level="Lack of Efficacy", **overall) == _printed(0.3281, 4)


def test_sites_add_up(ends):
    """Table 14-1.03: 17 sites in 11 groups, 254 participants, 234 of them in the efficacy set."""
    sites = ends.filter(pl.col("context") == "site", pl.col("group1_level") == "Total")
    counts = sites.filter(pl.col("stat_name") == "n")
    everybody = counts.filter(pl.col("group3").is_null())
    assert (everybody["variable_level"].n_unique(), everybody["group2_level"].n_unique()) == (17, 11)
    assert everybody["stat"].sum() == 254
    assert counts.filter(pl.col("group3") == "EFFFL")["stat"].sum() == 234


@pytest.fixture(scope="module")
def demographics(adsl):
    parameters = BaselineCharacteristicsParameters.model_validate(
        {"estimands": [{**SAFETY, "population": "ittfl"}],
         "categorical": ["agegr1", "sex", "origin", "durdsgr1", "bmiblgr1"]}
    )  # fmt: skip
    return baseline_characteristics(adsl, parameters=parameters)


# Variable; means, standard deviations, medians of the three arms; p-value of the analysis of variance.
CONTINUOUS = [
    ("AGE", (75.2, 75.7, 74.4), (8.59, 8.29, 7.89), (76.0, 77.5, 76.0), 0.5934),
    ("MMSETOT", (18.0, 17.9, 18.5), (4.27, 4.22, 4.16), (19.5, 18.0, 20.0), 0.5947),
    ("DURDIS", (42.6, 48.7, 40.5), (30.24, 29.58, 24.69), (35.3, 40.2, 36.0), 0.1530),
    ("EDUCLVL", (12.6, 13.2, 12.5), (2.95, 4.15, 2.92), (12.0, 12.0, 12.0), 0.3875),
    ("WEIGHTBL", (62.8, 67.3, 70.0), (12.77, 14.12, 14.65), (60.5, 64.9, 69.2), 0.0030),
    ("HEIGHTBL", (162.6, 163.4, 165.8), (11.52, 10.42, 10.13), (162.6, 162.6, 165.1), 0.1262),
    ("BMIBL", (23.6, 25.1, 25.3), (3.67, 4.27, 4.16), (23.4, 24.3, 24.8), 0.0133),
]


@pytest.mark.parametrize(("variable", "means", "sds", "medians", "p_value"), CONTINUOUS)
def test_continuous_characteristics(demographics, variable, means, sds, medians, p_value):
    """Table 14-2.01."""
    described = {"context": "continuous", "variable": variable}
    assert _by_arm(demographics, "mean", **described) == _printed(means, 1)
    assert _by_arm(demographics, "sd", **described) == _printed(sds, 2)
    assert _by_arm(demographics, "median", **described) == _printed(medians, 1)
    anova = {"context": "anova", "variable": variable, "group1_level": None}
    assert _stat(demographics, "p.value", **anova) == _printed(p_value, 4)


@pytest.mark.parametrize(
    ("variable", "level", "counts", "p_value"),
    [
        ("AGEGR1", "<65", (14, 8, 11), 0.1439),
        ("AGEGR1", "65-80", (42, 47, 55), 0.1439),
        ("AGEGR1", ">80", (30, 29, 18), 0.1439),
        ("SEX", "M", (33, 34, 44), None),
        ("ORIGIN", "WHITE", (75, 72, 71), 0.6477),
        ("ORIGIN", "HISPANIC", (3, 6, 3), 0.6477),
        ("DURDSGR1", "<12", (5, 3, 4), 0.7885),
    ],
)
def test_categorical_characteristics(demographics, variable, level, counts, p_value):
    """Table 14-2.01."""
    row = {"context": "categorical", "variable": variable, "variable_level": level}
    assert _by_arm(demographics, "n", **row) == counts
    if p_value is not None:
        test = {"context": "chi_square", "variable": variable, "group1_level": None}
        assert _stat(demographics, "p.value", **test) == _printed(p_value, 4)


def test_one_weight_is_missing(demographics):
    """Table 14-2.01: n of weight is 86, 83, 84."""
    assert _by_arm(demographics, "N_obs", context="continuous", variable="WEIGHTBL") == (86, 83, 84)


@pytest.mark.parametrize(
    ("estimand", "paramcd", "means", "sds"),
    [
        ("safety", "AVDDSE", (0, 54.0, 71.6), (0, 0, 8.11)),
        ("completers", "AVDDSE", (0, 54.0, 77.0), (0, 0, 0.58)),
        ("safety", "CUMDOSE", (0, 5347.3, 7551.0), (0, 3680.35, 5531.04)),
        ("completers", "CUMDOSE", (0, 9918.6, 14089.5), (0, 603.84, 481.01)),
    ],
)
def test_exposure(adsl, estimand, paramcd, means, sds):
    """Table 14-4.01."""
    completers = {**SAFETY, "id": "completers", "population": "comp24fl"}
    parameters = ExposureParameters.model_validate({"estimands": [SAFETY, completers]})
    result = exposure(adsl, None, parameters=parameters)
    row = {"estimand": estimand, "group2_level": paramcd}
    assert _by_arm(result, "mean", **row) == _printed(means, 1)
    assert _by_arm(result, "sd", **row) == _printed(sds, 2)


@pytest.fixture(scope="module")
def events(adsl, published):
    adae = published("adae").with_columns(
        relgr1=pl.when(pl.col("aerel").is_in(["NONE", "REMOTE"])).then(pl.lit("N")).otherwise(pl.lit("Y"))
    )
    parameters = AdverseEventsParameters.model_validate({"estimands": [SAFETY]})
    return adverse_events(adsl, adae, parameters=parameters)


def test_any_adverse_event(events):
    """Table 14-5.01, first line."""
    row = {"context": "incidence", "variable": "TRTEMFL", "group2_level": None}
    assert _by_arm(events, "n", **row) == (65, 77, 76)
    assert _by_arm(events, "n_events", **row) == (281, 412, 433)
    assert _by_arm(events, "p", **row) == _printed((0.756, 0.917, 0.905), 3)
    against = {"context": "fisher", "variable": "TRTEMFL", "group1_reference": PLACEBO, "group2_level": None}
    assert _stat(events, "p.value", group1_level=LOW, **against) == _printed(0.007, 3)
    assert _stat(events, "p.value", group1_level=HIGH, **against) == _printed(0.014, 3)


GENERAL, SKIN = (
    "GENERAL DISORDERS AND ADMINISTRATION SITE CONDITIONS",
    "SKIN AND SUBCUTANEOUS TISSUE DISORDERS",
)


@pytest.mark.parametrize(
    ("soc", "term", "percent"),
    [
        (GENERAL, None, (24.4, 56.0, 47.6)),
        (GENERAL, "APPLICATION SITE PRURITUS", (7.0, 26.2, 26.2)),
        (GENERAL, "APPLICATION SITE ERYTHEMA", (3.5, 14.3, 17.9)),
        (GENERAL, "APPLICATION SITE DERMATITIS", (5.8, 10.7, 8.3)),
        (GENERAL, "FATIGUE", (1.2, 6.0, 6.0)),
        (SKIN, None, (23.3, 46.4, 47.6)),
        (SKIN, "PRURITUS", (9.3, 25.0, 31.0)),
        (SKIN, "RASH", (5.8, 15.5, 10.7)),
        ("NERVOUS SYSTEM DISORDERS", None, (9.3, 23.8, 29.8)),
        ("NERVOUS SYSTEM DISORDERS", "SYNCOPE", (0, 4.8, 3.6)),
        ("GASTROINTESTINAL DISORDERS", "DIARRHOEA", (10.5, 4.8, 4.8)),
        ("CARDIAC DISORDERS", None, (14.0, 15.5, 17.9)),
        ("INFECTIONS AND INFESTATIONS", None, (18.6, 10.7, 15.5)),
    ],
)
def test_adverse_events_by_class_and_term(events, soc, term, percent):
    """Table 14-5.01."""
    row = {"variable": "TRTEMFL", "group2_level": soc, "group3_level": term}
    found = tuple(100 * value for value in _by_arm(events, "p", context="incidence", **row))
    assert found == _printed(percent, 1)


def test_nobody_is_lost_between_classes_and_terms(events):
    """Tables 14-5.01 and 14-5.02: events of all classes, and of all terms, are all events."""
    of_kind = events.filter(pl.col("context") == "incidence", pl.col("stat_name") == "n_events")
    for variable, total in (("TRTEMFL", 1126), ("AESER", 3)):
        rows = of_kind.filter(pl.col("variable") == variable, pl.col("group1_level") == "Total")
        by_class = rows.filter(pl.col("group2").is_not_null(), pl.col("group3").is_null())
        by_term = rows.filter(pl.col("group3").is_not_null())
        assert [part["stat"].sum() for part in (by_class, by_term)] == [total, total]


@pytest.fixture(scope="module")
def survival(adsl, published):
    parameters = TimeToEventParameters.model_validate({"estimands": [SAFETY], "days": [90]})
    return time_to_event(adsl, published("adtte"), parameters=parameters)


def test_time_to_the_first_dermatologic_event(survival):
    """Figure 14-1, in numbers of R."""
    assert _by_arm(survival, "n_events", context="events") == (29, 62, 61)
    quantile = {"context": "quantile", "variable_level": "0.25"}
    assert _by_arm(survival, "estimate", **quantile) == (70, 19, 14)
    assert _by_arm(survival, "conf.low", **quantile) == (28, 15, 4)
    assert _by_arm(survival, "conf.high", **quantile) == (110, 24, 20)
    at_90 = {"context": "survival_at", "group3_level": "90"}
    assert _by_arm(survival, "estimate", **at_90) == pytest.approx(
        (0.6714718, 0.2384373, 0.1378810), abs=1e-7
    )
    assert _by_arm(survival, "conf.low", **at_90) == pytest.approx(
        (0.5550928, 0.1432790, 0.0621669), abs=1e-7
    )
    assert _by_arm(survival, "n.risk", **at_90) == (49, 13, 6)
    overall = {"context": "log_rank", "group1_level": None}
    assert _stat(survival, "statistic", **overall) == pytest.approx(60.26955674, rel=1e-8)
    against = {"context": "cox", "group1_reference": PLACEBO}
    for arm, ratio, low, high in ((LOW, 4.077027425, 2.588920664, 6.420495171), (HIGH, 4.920218242, 3.0839699,
                                                                                   7.849800204)):  # fmt: skip
        row = {**against, "group1_level": arm}
        found = tuple(_stat(survival, name, **row) for name in ("estimate", "conf.low", "conf.high"))
        # Newton's iterations of both stop at a relative change of about 1e-9.
        assert found == pytest.approx((ratio, low, high), rel=1e-7)


@pytest.fixture(scope="module")
def values(adsl, adlb):
    parameters = LaboratoryParameters.model_validate(
        {
            "estimands": [SAFETY],
            "treatment_visits": TREATMENT_VISITS,
            "worst": "flagged",
            "low": 0.5,
            "high": 1.5,
            "liver": {
                "transaminase_multiples": [1.5],
                "bilirubin_multiples": [1.5],
                "together": [[1.5, 1.5]],
            },
        }
    )
    return laboratory(adsl, adlb, parameters=parameters)


@pytest.mark.parametrize(
    ("visit", "counts", "means", "sds", "changes", "change_sds"),
    [
        ("Baseline", (86, 82, 84), (17.6, 18.0, 19.2), (9.22, 8.72, 10.05), None, None),
        (
            "Week 2",
            (83, 80, 78),
            (18.0, 20.9, 21.0),
            (12.53, 10.55, 8.87),
            (0.2, 2.8, 1.6),
            (7.90, 8.18, 6.83),
        ),
        (
            "Week 4",
            (79, 72, 72),
            (18.7, 17.5, 21.3),
            (12.91, 7.66, 9.51),
            (0.7, -0.7, 2.1),
            (8.66, 5.08, 7.08),
        ),
        (
            "Week 8",
            (72, 60, 56),
            (16.7, 17.6, 22.8),
            (9.34, 7.86, 17.49),
            (-1.1, 0.2, 3.2),
            (5.05, 5.45, 17.24),
        ),
    ],
)
def test_alanine_aminotransferase_by_visit(values, visit, counts, means, sds, changes, change_sds):
    """Table 14-6.01, first block."""
    row = {"context": "continuous", "group2_level": "ALT", "group3_level": visit}
    assert _by_arm(values, "N_obs", variable="AVAL", **row) == counts
    assert _by_arm(values, "mean", variable="AVAL", **row) == _printed(means, 1)
    assert _by_arm(values, "sd", variable="AVAL", **row) == _printed(sds, 2)
    if changes is not None:
        assert _by_arm(values, "mean", variable="CHG", **row) == _printed(changes, 1)
        assert _by_arm(values, "sd", variable="CHG", **row) == _printed(change_sds, 2)


# Parameter, low, normal and high of each arm, p-value of Fisher's test.
FREQUENCIES = [
    ("ALB", (16, 15, 5), (65, 66, 74), (3, 1, 1), 0.042),
    ("ALP", (4, 2, 3), (72, 74, 73), (8, 6, 4), 0.776),
    ("ALT", (1, 5, 0), (74, 68, 70), (9, 9, 10), 0.185),
    ("AST", None, (74, 72, 72), (10, 10, 8), 0.907),
    ("BILI", None, (78, 79, 75), (6, 2, 5), 0.402),
    ("BUN", None, (75, 60, 68), (9, 22, 12), 0.023),
    ("CA", (5, 7, 7), (78, 72, 71), (1, 3, 2), 0.789),
    ("CHOL", (5, 6, 6), (73, 72, 70), (6, 4, 4), 0.962),
]


@pytest.mark.parametrize(("paramcd", "low", "normal", "high", "p_value"), FREQUENCIES)
def test_normal_and_abnormal_values(values, paramcd, low, normal, high, p_value):
    """Table 14-6.02, first page."""
    row = {"context": "worst_range", "group2_level": paramcd}
    for level, counts in (("LOW", low), ("NORMAL", normal), ("HIGH", high)):
        if counts is not None:
            assert _by_arm(values, "n", variable_level=level, **row) == counts
    test = {"context": "fisher", "variable": "ANRIND", "group2_level": paramcd, "group1_level": None}
    assert _stat(values, "p.value", **test) == _printed(p_value, 3)


def test_the_flagged_values_are_those_farthest_from_the_opposite_limit(adsl, adlb, values):
    """What ANL01FL of the published data marks can be chosen without it."""
    parameters = LaboratoryParameters.model_validate(
        {
            "estimands": [SAFETY], "treatment_visits": TREATMENT_VISITS, "worst": "from_opposite_limit",
            "low": 0.5, "high": 1.5, "summaries": False, "shifts_by_visit": False, "liver": False,
        }
    )  # fmt: skip
    chosen = laboratory(adsl, adlb, parameters=parameters)
    same = pl.col("context").is_in(["worst_range", "worst_shift", "fisher", "cmh"])
    of_worst = values.filter(same, pl.col("group3").is_null())
    assert chosen.filter(same).drop("position", "method").equals(of_worst.drop("position", "method"))


def test_shifts_beyond_the_threshold_range(values):
    """Table 14-6.05: alanine aminotransferase and alkaline phosphatase."""
    shift = {"context": "worst_shift", "group2_level": "ALT"}
    assert _by_arm(values, "n", variable_level="NORMAL to NORMAL", **shift) == (80, 78, 78)
    assert _by_arm(values, "n", variable_level="NORMAL to HIGH", **shift) == (2, 1, 2)
    assert _by_arm(values, "n", variable_level="HIGH to HIGH", **shift) == (2, 1, 0)
    for paramcd, p_value in (("ALT", 0.828), ("ALP", 0.611)):
        row = {"context": "cmh", "group2_level": paramcd, "group3": None, "group1_level": None}
        assert _stat(values, "p.value", **row) == _printed(p_value, 3)


def test_hys_law(values):
    """Table 14-6.06, upper half: transaminases at 1.5 times the upper limit."""
    row = {"context": "hys_law_shift", "group2_level": "ALT or AST"}
    assert _by_arm(values, "n", variable_level="NORMAL to NORMAL", **row) == (79, 77, 77)
    assert _by_arm(values, "n", variable_level="NORMAL to HIGH", **row) == (3, 1, 3)
    assert _by_arm(values, "n", variable_level="HIGH to HIGH", **row) == (2, 1, 0)
    assert _by_arm(values, "n", variable_level="HIGH to NORMAL", **row) == (0, 1, 0)
    test = {"context": "cmh", "group2_level": "ALT or AST", "group1_level": None}
    assert _stat(values, "p.value", **test) == _printed(0.405, 3)
    both = {"context": "hys_law", "group2_level": "ALT or AST, with BILI", "variable_level": "Y"}
    assert _by_arm(values, "n", **both) == (1, 0, 0)


@pytest.mark.parametrize(
    ("visit", "counts", "means", "sds"),
    [
        ("Week 24", (58, 27, 30), (-2.1, -0.3, -5.6), (14.73, 17.19, 17.18)),
        # The report's 73 of the high dose counts a record without a value.
        ("End of Treatment", (81, 72, 72), (-3.7, -3.5, -8.9), (18.98, 16.69, 16.54)),
    ],
)
def test_systolic_blood_pressure_lying(adsl, published, visit, counts, means, sds):
    """Table 14-7.02, first block."""
    parameters = VitalSignsParameters.model_validate(
        {"estimands": [SAFETY], "params": ["SYSBP"], "with_baseline_only": True}
    )
    result = vital_signs(adsl, _derived(published("advs")), parameters=parameters)
    row = {"variable": "CHG", "variable_level": "AFTER LYING DOWN FOR 5 MINUTES", "group3_level": visit}
    assert _by_arm(result, "N_obs", **row) == counts
    assert _by_arm(result, "mean", **row) == _printed(means, 1)
    assert _by_arm(result, "sd", **row) == _printed(sds, 2)
