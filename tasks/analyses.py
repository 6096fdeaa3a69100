"""The list of all analyses, and what a study switched on of it."""

from __future__ import annotations

from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from pydantic import ValidationError

from tasks.clinical import primary_endpoint
from tasks.omics import enriched_gene_sets, treatment_effect_on_expression
from warehouse.errors import AnalysisError, StudyError

if TYPE_CHECKING:
    from collections.abc import Collection

    from tasks.analysis import Analysis, Parameters
    from warehouse.study import Study

ANALYSES: tuple[Analysis, ...] = (
    primary_endpoint.ANALYSIS,
    treatment_effect_on_expression.ANALYSIS,
    enriched_gene_sets.ANALYSIS,
)


@dataclass(frozen=True, slots=True)
class SwitchedOn:
    """An analysis with the parameters that a study gives it."""

    analysis: Analysis
    parameters: Parameters


def switched_on(study: Study) -> tuple[SwitchedOn, ...]:
    """Return the study's analyses with checked parameters, each after those whose results it reads.

    Raises
    ------
    StudyError
        For an analysis that there is not, or a parameter that it does not take.
    """
    known = {analysis.name: analysis for analysis in ANALYSES}
    chosen: dict[str, SwitchedOn] = {}
    for name, values in study.analyses.items():
        place = f"{study.folder / 'study.toml'}: analyses.{name}"
        if name not in known:
            raise StudyError(f"{place}: no such analysis; allowed: {', '.join(known)}")
        analysis = known[name]
        try:
            parameters = analysis.parameters.model_validate(values)
        except ValidationError as error:
            allowed = ", ".join(analysis.parameters.model_fields)
            lines = [
                f"  {'.'.join(map(str, problem['loc'])) or name}: {problem['msg']} (allowed: {allowed})"
                for problem in error.errors()
            ]
            raise StudyError("\n".join([f"{place}:", *lines])) from error
        chosen[analysis.fills] = SwitchedOn(analysis, parameters)
    graph = {
        table: [read for read in one.analysis.reads if read in chosen]
        for table, one in sorted(chosen.items())
    }
    return tuple(chosen[table] for table in TopologicalSorter(graph).static_order())


def refuse_unrunnable(study: Study, analyses: Collection[SwitchedOn], made: Collection[str]) -> None:
    """Refuse, before any work starts, an analysis whose tables this study will not have."""
    filled = {one.analysis.fills for one in analyses}
    for one in analyses:
        missing = sorted(set(one.analysis.reads) - set(made) - filled)
        if missing:
            raise AnalysisError(
                f"{study.id}: analysis {one.analysis.name} is switched on, but the study makes no"
                f" {', '.join(missing)}: add the models, or switch it off in study.toml"
            )
