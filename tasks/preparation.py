"""Before any work: read the study whole, refuse what cannot run, and see what there is to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from expectations.suite import find_suites
from tasks.analyses import SwitchedOn, refuse_unrunnable, switched_on
from tasks.gate import references
from tasks.stage import suites_of
from warehouse.corrections import load_corrections
from warehouse.errors import StudyError
from warehouse.models import Plan, plan
from warehouse.roots import data_root
from warehouse.settings import load_settings
from warehouse.study import Study, load_study

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from expectations.suite import Suite


@dataclass(frozen=True, slots=True)
class Prepared:
    """A study found sound: its models in order, its analyses with their parameters, its suites."""

    study: Study
    plan: Plan
    analyses: tuple[SwitchedOn, ...]
    suites: Mapping[str, Suite]

    def root(self, data: str | None) -> Path:
        return data_root(self.study, load_settings(), data)


def prepare(study_name: str) -> Prepared:
    """Read everything that a study folder says, and refuse it as a whole before any work starts."""
    study = load_study(study_name)
    load_corrections(study)
    analyses = switched_on(study)
    suites = suites_of(study)
    judged_by = {table: references(suite) for table, suite in suites.items()}
    planned = plan(study, suites, [one.analysis.fills for one in analyses], judged_by)
    made = [model.table for model in planned.models]
    refuse_unrunnable(study, analyses, made)
    filled = [one.analysis.fills for one in analyses]
    _refuse_idle_suites(study, {*made, *filled, *(f"raw.{name}" for name in study.sources)})
    return Prepared(study, planned, analyses, suites)


def _refuse_idle_suites(study: Study, judged: Collection[str]) -> None:
    """Refuse a suite of the study that would judge nothing: its name is most likely misspelt."""
    folder = study.folder / "expectations"
    idle = sorted(set(find_suites(folder)) - set(judged))
    if idle:
        raise StudyError(
            f"{folder}: {', '.join(idle)}: the study makes no such table;"
            f" allowed: {', '.join(sorted(judged))}"
        )
