"""Before any work: read the study whole, refuse what cannot run, and see what there is to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.analyses import SwitchedOn, refuse_unrunnable, switched_on
from tasks.analyzing import analysis_fingerprint
from tasks.landing import find_deliveries, landed_files
from tasks.modelling import model_fingerprint, source_fingerprint
from tasks.stage import STAGE_SCHEMAS, suites_of
from warehouse.corrections import load_corrections
from warehouse.lake import newest_version, open_lake, tables
from warehouse.lineage import digest, last_made
from warehouse.meta import study_tables
from warehouse.models import Plan, plan
from warehouse.roots import data_root
from warehouse.settings import load_settings
from warehouse.study import Study, load_study

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from expectations.suite import Suite
    from warehouse.lineage import Made


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
    planned = plan(study, suites, [one.analysis.fills for one in analyses])
    refuse_unrunnable(study, analyses, [model.table for model in planned.models])
    return Prepared(study, planned, analyses, suites)


def first_change(prepared: Prepared, data: str | None) -> tuple[str | None, int]:
    """Return the first thing that a run would make anew, or None, and the newest version.

    Nothing is computed: while all fingerprints agree, the content of every table is known.
    """
    lake = open_lake(prepared.study.id)
    if lake.is_sqlite and not lake.catalog_file.is_file():
        return "the study has no version yet", 0
    with lake.read() as connection:
        version = newest_version(connection)
        in_lake = tables(connection)
        if "meta.lineage" not in in_lake:
            return "the study has no version yet", version
        landed = landed_files(connection, version)
        made = last_made(connection)
    deliveries = find_deliveries(prepared.study, prepared.root(data), landed)
    for delivery in deliveries:
        if delivery.new or delivery.withdrawn:
            return f"raw.{delivery.source}", version
    files = {delivery.source: delivery.files for delivery in deliveries}
    return _first_stale(prepared, files, made, in_lake), version


def _first_stale(
    prepared: Prepared,
    files: Mapping[str, Mapping[str, str]],
    made: Mapping[str, Made],
    in_lake: frozenset[str],
) -> str | None:
    content: dict[str, str] = {}
    for table, fingerprint in _fingerprints(prepared, files, content):
        last = made.get(table)
        is_there = table in in_lake or table.startswith("raw.")
        if last is None or not is_there or last.fingerprint != fingerprint:
            return table
        content[table] = last.content
    stages = {schema for schemas in STAGE_SCHEMAS.values() for schema in schemas} - {"raw"}
    no_longer_made = {table for table in in_lake if table.partition(".")[0] in stages} - content.keys()
    return next(iter(sorted(no_longer_made)), None)


def _fingerprints(
    prepared: Prepared, files: Mapping[str, Mapping[str, str]], content: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield each table that a run would make, in order; the caller adds its content before the next."""
    study, suites = prepared.study, prepared.suites
    for name, frame in study_tables(study).items():
        yield f"meta.{name}", digest(frame.to_dict(as_series=False))
    for name in study.sources:
        table = f"raw.{name}"
        yield table, source_fingerprint(study, name, files[name], suites.get(table))
    for model in prepared.plan.made(*STAGE_SCHEMAS["build"]):
        yield model.table, model_fingerprint(model, suites.get(model.table), content)
    for one in prepared.analyses:
        table = one.analysis.fills
        yield table, analysis_fingerprint(one, suites.get(table), content)
    for model in prepared.plan.made("reports"):
        yield model.table, model_fingerprint(model, suites.get(model.table), content)
