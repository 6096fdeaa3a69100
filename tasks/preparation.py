"""Before any work: read the study whole, refuse what cannot run, and see what there is to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.analyses import SwitchedOn, refuse_unrunnable, switched_on
from tasks.gate import references
from tasks.stage import suites_of
from warehouse.corrections import load_corrections
from warehouse.models import Plan, plan
from warehouse.roots import data_root
from warehouse.settings import load_settings
from warehouse.study import Study, load_study

if TYPE_CHECKING:
    from collections.abc import Mapping
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
    refuse_unrunnable(study, analyses, [model.table for model in planned.models])
    return Prepared(study, planned, analyses, suites)
