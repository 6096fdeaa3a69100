"""Run any analysis: read its tables at one version, compute, judge, and prepare the publishing."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import TYPE_CHECKING

from tasks.borrowing import load, offer
from tasks.gate import judge_table, references
from tasks.modelling import count, inputs_of, provide
from warehouse.errors import AnalysisError
from warehouse.lake import LAKE
from warehouse.lineage import LIBRARIES, code_of, fingerprint
from warehouse.quoting import qualified

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from expectations.suite import Suite
    from tasks.analyses import SwitchedOn
    from tasks.analysis import Borrowed
    from tasks.stage import Stage

log = logging.getLogger("trialhouse")


def analysis_fingerprint(
    one: SwitchedOn,
    suite: Suite | None,
    content: Mapping[str, str],
    borrowed: Mapping[str, Borrowed] | None = None,
) -> str:
    """Hash what decides a result: code, libraries, parameters, suite, and the content of its tables."""
    return fingerprint(
        "analysis",
        {
            "code": code_of(one.analysis.function.__module__),
            "libraries": {name: version(name) for name in LIBRARIES},
            "suite": suite.model_dump(mode="json") if suite is not None else None,
        },
        inputs_of((*one.analysis.reads, *one.analysis.uses), suite, content),
        parameters=one.parameters.model_dump(mode="json"),
        **({"borrowed": [_told(each) for each in borrowed.values()]} if borrowed else {}),
    )


def _told(borrowed: Borrowed) -> dict[str, object]:
    return {
        "study": borrowed.study,
        "title": borrowed.title,
        "content": dict(borrowed.content),
        "expression": borrowed.expression.model_dump(mode="json"),
        "missing": borrowed.missing,
    }


def run_analysis(stage: Stage, one: SwitchedOn) -> bool:
    """Run one analysis unless the lake holds just this result; return whether it was run."""
    analysis, table = one.analysis, one.analysis.fills
    suite = stage.suites.get(table)
    tables = (*analysis.reads, *analysis.uses)
    blocked = sorted(({*tables} | references(suite)) & stage.stopped.keys())
    if blocked:
        stage.stopped[table] = f"not run, for it reads {', '.join(blocked)}"
        return False
    settings = stage.lake.settings
    offered = {
        study: offer(study, analysis.borrows, settings)
        for study in (one.parameters.other_studies if analysis.borrows else ())
    }
    own = analysis_fingerprint(one, suite, stage.content, offered)
    if stage.is_current(table, own):
        stage.content[table] = stage.last_made[table].content
        return False
    inputs = inputs_of(tables, suite, stage.content)
    for name in sorted(inputs):
        provide(stage, name)
    frames = [stage.frame(name) if name in inputs else None for name in tables]
    log.info("%s: started", analysis.name)
    former = _former(stage, table) if analysis.recalls else None
    given: dict[str, object] = {"former": former} if analysis.recalls else {}
    if analysis.borrows:
        given["borrowed"] = {study: load(each, settings) for study, each in offered.items()}
    try:
        result: pl.DataFrame = analysis.function(*frames, parameters=one.parameters, **given)
    except AnalysisError as error:
        raise AnalysisError(f"{stage.study.id}: {analysis.name}: {error}") from error
    stage.connection.register("result_frame", result)
    stage.connection.execute(f"create or replace table {qualified(table)} as from result_frame")
    stage.connection.unregister("result_frame")
    stage.provided.add(table)
    judge_table(stage, table, reference_tables=inputs)
    parameters = one.parameters.model_dump(mode="json")
    # Not part of the fingerprint: a table that was made from its former self would never be current.
    read = inputs | ({table: stage.last_made[table].content} if former is not None else {})
    elsewhere = {
        f"{each.study}:{name}": (content, each.version)
        for each in offered.values()
        for name, content in each.content.items()
    }
    rows = stage.made(table, own, read, parameters=parameters, elsewhere=elsewhere)
    stage.will_replace(table, suite.notes if suite else None, suite.columns if suite else {})
    log.info("%s: %s", table, count(rows, "row"))
    return True


def _former(stage: Stage, table: str) -> pl.DataFrame | None:
    """Return an analysis's own table as the version that this stage reads holds it."""
    if table not in stage.in_lake or table not in stage.last_made:
        return None
    return stage.connection.sql(
        f"from {qualified(f'{LAKE}.{table}')} at (version => {stage.input_version})"
    ).pl()
