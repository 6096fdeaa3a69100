"""The simulated patients: who they are, when they come, how their lesions score."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks.simulation.assumptions import Assumptions, Item


@dataclass(frozen=True, slots=True)
class Subject:
    """One enrolled patient: the truth, before the planted errors."""

    number: int
    sex: str
    age: int
    consent: dt.date
    first_dose: dt.date
    has_diabetes: bool
    response: float
    baseline_total: int
    visits: Mapping[str, dt.date]
    items: Mapping[str, tuple[int, ...]]

    @property
    def subjid(self) -> str:
        return f"{self.number:03d}"

    @property
    def has_completed(self) -> bool:
        return list(self.visits)[-1] == list(self.items)[-1]

    @property
    def last_seen(self) -> dt.date:
        return max(self.visits.values())

    def response_at(self, visit: str) -> float:
        """Return the fraction of the baseline total that is gone at a visit."""
        return 1 - sum(self.items[visit]) / self.baseline_total


def enrol(
    assumptions: Assumptions, rng: np.random.Generator, *, seed: int, patients: int
) -> tuple[Subject, ...]:
    """Draw the enrolled patients; the calibrated seed and size take their totals from the assumptions."""
    trial, score = assumptions.trial, assumptions.score
    is_calibrated = assumptions.is_calibrated(seed=seed, patients=patients)
    first_dose = trial.first_enrolment
    subjects = []
    for number in range(1, patients + 1):
        baseline = _whole(rng.normal(score.baseline_mean, score.baseline_sd), *score.baseline_range)
        response = float(np.clip(rng.normal(score.response_mean, score.response_sd), *score.response_range))
        last = min(round(baseline * (1 - response)), score.maximum)
        if is_calibrated:
            baseline = assumptions.calibrated.baseline_total[number - 1]
            last = assumptions.calibrated.week12_total[number - 1]
        # The patients that carry planted errors come to every visit, so that each error has its place.
        may_be_absent = number > _largest_planted(assumptions)
        dropped = bool(rng.random() < trial.dropout_probability) and may_be_absent and not is_calibrated
        missed = rng.random(len(assumptions.visit)) < trial.missed_visit_probability
        visits = _visit_dates(assumptions, rng, number, first_dose)
        names = list(visits)
        attended = {
            name: date
            for place, (name, date) in enumerate(visits.items())
            if not (dropped and name == names[-1])
            and not (may_be_absent and missed[place] and 0 < place < len(names) - 1)
        }
        subjects.append(
            Subject(
                number=number,
                sex="F" if rng.random() < trial.female_fraction else "M",
                age=_whole(rng.normal(trial.age_mean, trial.age_sd), *trial.age_range),
                consent=first_dose
                - dt.timedelta(days=int(rng.integers(*trial.days_of_screening, endpoint=True))),
                first_dose=first_dose,
                has_diabetes=bool(rng.random() < trial.diabetes_fraction),
                response=1 - last / baseline,
                baseline_total=baseline,
                visits=attended,
                items=_item_scores(assumptions, rng, number, baseline, last),
            )
        )
        first_dose += dt.timedelta(days=int(rng.integers(*trial.days_between_enrolments, endpoint=True)))
    return _alike_where_swapped(assumptions, subjects)


def _alike_where_swapped(assumptions: Assumptions, subjects: Sequence[Subject]) -> tuple[Subject, ...]:
    """Give the patients with exchanged libraries one sex, so that the exchange does not show in it."""
    swapped = assumptions.flaws.swapped_libraries
    sex = subjects[swapped.subject - 1].sex
    return tuple(
        replace(subject, sex=sex) if subject.number == swapped.other else subject for subject in subjects
    )


def _whole(value: float, low: int, high: int) -> int:
    return min(max(round(float(value)), low), high)


def _largest_planted(assumptions: Assumptions) -> int:
    flaws = assumptions.flaws
    subjects = [int(getattr(flaws, name).subject) for name in type(flaws).model_fields]
    return max(*subjects, flaws.swapped_libraries.other)


def _visit_dates(
    assumptions: Assumptions, rng: np.random.Generator, number: int, first_dose: dt.date
) -> dict[str, dt.date]:
    late = assumptions.flaws.visit_out_of_window
    dates = {}
    for visit in assumptions.visit:
        day = visit.day + int(rng.integers(-visit.jitter_days, visit.jitter_days, endpoint=True))
        if (number, visit.name) == (late.subject, late.visit):
            day = visit.day + late.days_late
        dates[visit.name] = first_dose + dt.timedelta(days=day - 1)
    return dates


def _item_scores(
    assumptions: Assumptions, rng: np.random.Generator, number: int, baseline: int, last: int
) -> dict[str, tuple[int, ...]]:
    """Split the total of every visit into items: the fast ones (scale, redness) go first."""
    score, typo = assumptions.score, assumptions.flaws.mistyped_score
    share = np.array([item.share for item in score.item]) * np.exp(rng.normal(0, 0.25, len(score.item)))
    speed = np.array([item.speed for item in score.item])
    first_day, last_day = assumptions.visit[0].day, assumptions.visit[-1].day
    constant = score.time_constant_days
    reached = 1 - np.exp(-(last_day - first_day) / constant)
    scores = {}
    for place, visit in enumerate(assumptions.visit):
        progress = (1 - np.exp(-(visit.day - first_day) / constant)) / reached
        expected = baseline + (last - baseline) * progress
        noisy = _whole(expected + rng.normal(0, score.visit_noise_fraction * baseline), 0, score.maximum)
        total = {0: baseline, len(assumptions.visit) - 1: last}.get(place, noisy)
        gone = np.clip(1 - total / baseline, 0, 1)
        items = split_total(total, share * np.exp(-speed * gone), score.item)
        if (number, visit.name) == (typo.subject, typo.visit):
            items = tuple(
                typo.meant if item.column == typo.column else value
                for item, value in zip(score.item, items, strict=True)
            )
        scores[visit.name] = items
    return scores


def split_total(
    total: int, weight: np.ndarray[tuple[int], np.dtype[np.float64]], items: Sequence[Item]
) -> tuple[int, ...]:
    """Split a total into whole items in proportion to their weights, none above its maximum."""
    maximum = np.array([item.maximum for item in items])
    if total > maximum.sum():
        raise ValueError(f"total: {total}: at most {maximum.sum()}, the sum of the items' maxima, is allowed")
    wanted = total * weight / weight.sum()
    points = np.zeros(len(items), dtype=np.int64)
    for _ in range(total):
        lacking = np.where(points < maximum, wanted - points, -np.inf)
        points[int(np.argmax(lacking))] += 1
    return tuple(int(value) for value in points)
