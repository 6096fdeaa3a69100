"""The clinical exports of the simulated trial, each in the manner of the system that would deliver it."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks.simulation.assumptions import Assumptions
    from tasks.simulation.cohort import Subject

FIRST_SCREEN_FAILURE = 901
ARM = "Ruxolitinib 1.5% cream"
RACES = ("WHITE", "BLACK OR AFRICAN AMERICAN", "ASIAN", "OTHER")
RACE_FRACTIONS = (0.78, 0.12, 0.06, 0.04)
RATERS = ("RATER-A", "RATER-B")
DISPENSED_EVERY_DAYS = 28

GENERAL = "General disorders and administration site conditions"
# Verbatim term, preferred term, system organ class, whether it may be called related.
EVENTS = (
    ("Stinging where cream was applied", "Application site pain", GENERAL, True),
    ("itching at application site", "Application site pruritus", GENERAL, True),
    ("Redness of treated skin", "Application site erythema", GENERAL, True),
    ("common cold", "Nasopharyngitis", "Infections and infestations", False),
    ("URTI", "Upper respiratory tract infection", "Infections and infestations", False),
    ("COVID-19", "COVID-19", "Infections and infestations", False),
    ("headache", "Headache", "Nervous system disorders", True),
    ("low blood sugar", "Hypoglycaemia", "Metabolism and nutrition disorders", False),
    ("back pain", "Back pain", "Musculoskeletal and connective tissue disorders", False),
    ("open sore in plaque", "Skin ulcer", "Skin and subcutaneous tissue disorders", False),
)
SERIOUS_EVENT = ("cellulitis, admitted", "Cellulitis", "Infections and infestations", False)
SERIOUS_PROBABILITY = 0.03
EVENTS_PER_PATIENT = 1.1
# Term, system organ class, probability beside diabetes.
HISTORY = (
    ("Hypertension", "Vascular disorders", 0.35),
    ("Hypothyroidism", "Endocrine disorders", 0.15),
    ("Hyperlipidaemia", "Metabolism and nutrition disorders", 0.30),
    ("Obesity", "Metabolism and nutrition disorders", 0.25),
)
METABOLIC = "Metabolism and nutrition disorders"

Row = dict[str, str]


def clinical_tables(
    assumptions: Assumptions, subjects: Sequence[Subject], rng: np.random.Generator
) -> dict[str, pl.DataFrame]:
    """Return every clinical export by its file name, planted errors included."""
    failures = round(assumptions.trial.screen_failures_per_patient * len(subjects))
    demographics, eligibility, disposition = _screening(assumptions, subjects, failures, rng)
    return {
        "demographics.csv": _frame(demographics),
        "eligibility.csv": _frame(eligibility),
        "visits.csv": _frame(_visits(assumptions, subjects)),
        "lesion_scores.csv": _frame(_lesion_scores(assumptions, subjects, rng)),
        "patient_reported.csv": _frame(_patient_reported(subjects, rng)),
        "exposure.csv": _frame(_exposure(subjects, rng)),
        "disposition.csv": _frame(disposition),
        "adverse_events.csv": _frame(_adverse_events(assumptions, subjects, rng)),
        "medical_history.csv": _frame(_medical_history(subjects, rng)),
    }


def _frame(rows: Sequence[Mapping[str, str]]) -> pl.DataFrame:
    # An empty cell of an export is empty, not a quoted nothing.
    return pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.String), orient="row").with_columns(
        pl.all().replace("", None)
    )


def _screening(
    assumptions: Assumptions, subjects: Sequence[Subject], failures: int, rng: np.random.Generator
) -> tuple[list[Row], list[Row], list[Row]]:
    trial, flaws = assumptions.trial, assumptions.flaws
    demographics, eligibility, disposition = [], [], []
    for subject in subjects:
        recorded = subject.sex
        if subject.number == flaws.sex_mismatch.subject:
            recorded = "M" if subject.sex == "F" else "F"
        demographics.append(
            _person(assumptions, rng, subject.subjid, age=subject.age, sex=recorded, consent=subject.consent)
        )
        lesion = max(trial.smallest_lesion_cm, round(float(rng.lognormal(1.5, 0.45)), 1))
        bsa = float(np.clip(rng.lognormal(0.9, 0.6), 0.3, trial.largest_bsa_pct - 0.5))
        if subject.number == flaws.bsa_over_limit.subject:
            bsa = flaws.bsa_over_limit.bsa_pct
        screened = subject.consent + dt.timedelta(days=1)
        eligibility.append(
            _assessed(assumptions, rng, subject.subjid, screened, lesion_cm=lesion, bsa_pct=bsa)
        )
        disposition += _course(subject)
    for place in range(failures):
        subjid = f"{FIRST_SCREEN_FAILURE + place:03d}"
        consent = trial.first_enrolment + dt.timedelta(days=int(rng.integers(0, 10 * len(subjects))))
        sex = "F" if rng.random() < trial.female_fraction else "M"
        age = int(np.clip(round(rng.normal(trial.age_mean, trial.age_sd)), *trial.age_range))
        demographics.append(_person(assumptions, rng, subjid, age=age, sex=sex, consent=consent, arm=""))
        too_small = place % 2 == 0
        lesion = round(trial.smallest_lesion_cm - 0.5, 1) if too_small else 4.0
        bsa = 2.0 if too_small else trial.largest_bsa_pct + 4.0
        reason = "Largest lesion too small" if too_small else "Body surface area above limit"
        screened = consent + dt.timedelta(days=1)
        eligibility.append(
            _assessed(assumptions, rng, subjid, screened, lesion_cm=lesion, bsa_pct=bsa, reason=reason)
        )
        disposition += [
            _milestone(subjid, consent, "PROTOCOL MILESTONE", "Informed consent obtained"),
            _milestone(subjid, screened, "DISPOSITION EVENT", "Screen failure", reason),
        ]
    return demographics, eligibility, disposition


def _person(
    assumptions: Assumptions,
    rng: np.random.Generator,
    subjid: str,
    *,
    age: int,
    sex: str,
    consent: dt.date,
    arm: str = ARM,
) -> Row:
    return {
        "STUDYID": assumptions.trial.study_id,
        "SITEID": "01",
        "SUBJID": subjid,
        "CONSENTDAT": consent.isoformat(),
        "AGE": str(age),
        "SEX": sex,
        "RACE": str(rng.choice(RACES, p=RACE_FRACTIONS)),
        "ETHNIC": "HISPANIC OR LATINO" if rng.random() < 0.15 else "NOT HISPANIC OR LATINO",  # noqa: PLR2004
        "ARM": arm,
    }


def _assessed(
    assumptions: Assumptions,
    rng: np.random.Generator,
    subjid: str,
    screened: dt.date,
    *,
    lesion_cm: float,
    bsa_pct: float,
    reason: str = "",
) -> Row:
    trial = assumptions.trial
    return {
        "SUBJID": subjid,
        "SCREENDAT": screened.isoformat(),
        "NL_CLINICAL": "Yes",
        "NL_HISTOLOGY": "Yes",
        "LARGEST_LESION_CM": f"{lesion_cm:.1f}",
        "BSA_PCT": f"{bsa_pct:.1f}",
        "LESION_SITE": "Shin" if rng.random() < trial.shin_fraction else "Thigh",
        "ULCERATED": "Yes" if rng.random() < trial.ulceration_fraction else "No",
        "DISEASE_YEARS": f"{rng.gamma(2, 4):.1f}",
        "ENROLLED": "No" if reason else "Yes",
        "FAILURE_REASON": reason,
    }


def _milestone(subjid: str, date: dt.date, category: str, term: str, verbatim: str = "") -> Row:
    return {
        "SUBJID": subjid,
        "DSCAT": category,
        "DSDECOD": term.upper(),
        "DSTERM": verbatim or term,
        "DSDAT": date.isoformat(),
    }


def _course(subject: Subject) -> list[Row]:
    end = (
        _milestone(subject.subjid, subject.last_seen, "DISPOSITION EVENT", "Completed")
        if subject.has_completed
        else _milestone(
            subject.subjid, subject.last_seen, "DISPOSITION EVENT", "Withdrawal by subject", "Moved away"
        )
    )
    return [
        _milestone(subject.subjid, subject.consent, "PROTOCOL MILESTONE", "Informed consent obtained"),
        _milestone(subject.subjid, subject.first_dose, "PROTOCOL MILESTONE", "Enrolled"),
        end,
    ]


def _visits(assumptions: Assumptions, subjects: Sequence[Subject]) -> list[Row]:
    return [
        {
            "SUBJID": subject.subjid,
            "VISIT": visit.name.capitalize(),
            "VISITDAT": subject.visits[visit.name].isoformat() if visit.name in subject.visits else "",
            "STATUS": "Done" if visit.name in subject.visits else "Not done",
        }
        for subject in subjects
        for visit in assumptions.visit
    ]


def _lesion_scores(
    assumptions: Assumptions, subjects: Sequence[Subject], rng: np.random.Generator
) -> list[Row]:
    typo, repeated = assumptions.flaws.mistyped_score, assumptions.flaws.duplicated_row
    rows = []
    for subject in subjects:
        rater = str(rng.choice(RATERS))
        for visit, date in subject.visits.items():
            row = {"SUBJID": subject.subjid, "VISIT": visit, "ASSESSDAT": date.strftime("%d.%m.%Y")}
            for item, points in zip(assumptions.score.item, subject.items[visit], strict=True):
                row[item.column] = str(points)
            row["IGA"] = str(global_assessment(sum(subject.items[visit]), assumptions.score.maximum))
            row["RATER"] = rater
            if (subject.number, visit) == (typo.subject, typo.visit):
                row[typo.column] = typo.typed
            rows.append(row)
            if (subject.number, visit) == (repeated.subject, repeated.visit):
                rows.append(dict(row))
    return rows


def global_assessment(total: int, maximum: int) -> int:
    """Return the grade 0-5 that goes with a total: 0 only when the lesion is gone."""
    thresholds = np.array([0, 0.1, 0.25, 0.45, 0.65]) * maximum
    return int(np.sum(total > thresholds))


def _patient_reported(subjects: Sequence[Subject], rng: np.random.Generator) -> list[Row]:
    rows = []
    for subject in subjects:
        burden = float(np.clip(rng.normal(9, 5), 0, 28))
        itch = float(np.clip(rng.normal(4.5, 2.5), 0, 10))
        for visit, date in subject.visits.items():
            left = 1 - 0.8 * subject.response_at(visit)
            minute = int(rng.integers(8 * 60, 17 * 60))
            rows.append(
                {
                    "SUBJID": subject.subjid,
                    "VISIT": visit,
                    "COMPLETED_AT": f"{date.isoformat()}T{minute // 60:02d}:{minute % 60:02d}",
                    "DLQI": str(int(np.clip(round(burden * left + rng.normal(0, 1.5)), 0, 30))),
                    "ITCH_NRS": str(int(np.clip(round(itch * left + rng.normal(0, 0.8)), 0, 10))),
                }
            )
    return rows


def _exposure(subjects: Sequence[Subject], rng: np.random.Generator) -> list[Row]:
    rows = []
    for subject in subjects:
        last = subject.last_seen - dt.timedelta(days=1)
        start = subject.first_dose
        while start <= last:
            end = min(start + dt.timedelta(days=DISPENSED_EVERY_DAYS - 1), last)
            rows.append(
                {
                    "SUBJID": subject.subjid,
                    "TREATMENT": "Ruxolitinib cream",
                    "STRENGTH_PCT": "1.5",
                    "FREQUENCY": "BID",
                    "STARTDAT": start.isoformat(),
                    "ENDDAT": end.isoformat(),
                    "GRAMS_USED": f"{rng.gamma(8, 3):.1f}",
                }
            )
            start = end + dt.timedelta(days=1)
    return rows


def _log_date(date: dt.date) -> str:
    # Not strftime("%b"), which follows the locale of the machine.
    months = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
    return f"{date.day:02d}-{months[date.month - 1]}-{date.year}"


def _adverse_events(
    assumptions: Assumptions, subjects: Sequence[Subject], rng: np.random.Generator
) -> list[Row]:
    typo = assumptions.flaws.date_typo
    rows = []
    for subject in subjects:
        days_observed = (subject.last_seen - subject.first_dose).days
        events = [
            EVENTS[int(kind)] for kind in rng.integers(len(EVENTS), size=rng.poisson(EVENTS_PER_PATIENT))
        ]
        days = sorted(int(day) for day in rng.integers(2, max(days_observed, 3), size=len(events)))
        if rng.random() < SERIOUS_PROBABILITY:
            events, days = [*events, SERIOUS_EVENT], [*days, days_observed]
        if subject.number == typo.subject:
            events, days = [EVENTS[1], *events], [typo.day, *days]
        for place, (event, day) in enumerate(zip(events, days, strict=True), start=1):
            row = _event(subject, place, event, day, rng)
            if subject.number == typo.subject and place == 1:
                onset = subject.first_dose + dt.timedelta(days=day - 1)
                row["STARTDAT"] = _log_date(onset.replace(year=typo.typed_year))
            rows.append(row)
    return rows


def _event(
    subject: Subject, place: int, event: tuple[str, str, str, bool], day: int, rng: np.random.Generator
) -> Row:
    verbatim, preferred, body_system, may_be_related = event
    is_serious = event == SERIOUS_EVENT
    grade = 3 if is_serious else int(rng.choice((1, 2), p=(0.8, 0.2)))
    onset = subject.first_dose + dt.timedelta(days=day - 1)
    is_over = bool(rng.random() < 0.85)  # noqa: PLR2004
    end = onset + dt.timedelta(days=int(rng.integers(1, 15)))
    return {
        "SUBJID": subject.subjid,
        "AE_NO": str(place),
        "VERBATIM": verbatim,
        "PT": preferred,
        "SOC": body_system,
        "SEVERITY": ("MILD", "MODERATE", "SEVERE")[grade - 1],
        "GRADE": str(grade),
        "SERIOUS": "Y" if is_serious else "N",
        "RELATED": "RELATED" if may_be_related and rng.random() < 0.6 else "NOT RELATED",  # noqa: PLR2004
        "ACTION": "DOSE NOT CHANGED",
        "OUTCOME": "RECOVERED/RESOLVED" if is_over else "NOT RECOVERED/NOT RESOLVED",
        "STARTDAT": _log_date(onset),
        "ENDDAT": _log_date(end) if is_over else "",
    }


def _medical_history(subjects: Sequence[Subject], rng: np.random.Generator) -> list[Row]:
    rows = []
    for subject in subjects:
        conditions = [("Necrobiosis lipoidica", "Skin and subcutaneous tissue disorders")]
        if subject.has_diabetes:
            kind = "Type 1 diabetes mellitus" if rng.random() < 0.5 else "Type 2 diabetes mellitus"  # noqa: PLR2004
            conditions.append((kind, METABOLIC))
        conditions += [(term, system) for term, system, chance in HISTORY if rng.random() < chance]
        for place, (term, system) in enumerate(conditions, start=1):
            years = int(rng.integers(1, max(2, min(subject.age - 10, 25))))
            rows.append(
                {
                    "SUBJID": subject.subjid,
                    "MH_NO": str(place),
                    "TERM": term,
                    "SOC": system,
                    "START_YEAR": str(subject.consent.year - years),
                    "ONGOING": "Y",
                }
            )
    return rows
