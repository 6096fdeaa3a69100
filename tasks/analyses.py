"""The list of all analyses, and what a study switched on of it."""

from __future__ import annotations

from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from pydantic import ValidationError

from tasks.clinical import (
    adverse_events,
    baseline_characteristics,
    change_from_baseline,
    clinical_statistics,
    detectability,
    disposition,
    exposure,
    laboratory,
    p_value_forensics,
    participant_counts,
    primary_endpoint,
    primary_endpoint_sensitivity,
    regression_to_the_mean,
    responders,
    score_over_time,
    score_shifts,
    time_to_event,
    treatment_comparison,
    vital_signs,
)
from tasks.omics import (
    baseline_predictors,
    biomarker_response,
    differential_expression,
    enriched_gene_sets,
    gene_modules,
    gene_set_clusters,
    hub_genes,
    module_eigengenes,
    module_enrichment,
    module_preservation,
    module_response,
    molecular_response,
    network_notes,
    overrepresented_gene_sets,
    principal_component_associations,
    principal_components,
    regulator_activity,
    residual_disease_profile,
    sample_correlation,
    sample_quality,
    signature_changes,
    signature_scores,
    soft_thresholds,
)
from warehouse.errors import AnalysisError, StudyError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

    from tasks.analysis import Analysis, Parameters
    from warehouse.study import Study

ANALYSES: tuple[Analysis, ...] = (
    primary_endpoint.ANALYSIS,
    sample_quality.ANALYSIS,
    sample_correlation.ANALYSIS,
    principal_components.ANALYSIS,
    principal_component_associations.ANALYSIS,
    differential_expression.ANALYSIS,
    enriched_gene_sets.ANALYSIS,
    overrepresented_gene_sets.ANALYSIS,
    gene_set_clusters.ANALYSIS,
    regulator_activity.ANALYSIS,
    signature_scores.ANALYSIS,
    signature_changes.ANALYSIS,
    soft_thresholds.ANALYSIS,
    gene_modules.ANALYSIS,
    module_eigengenes.ANALYSIS,
    module_response.ANALYSIS,
    module_enrichment.ANALYSIS,
    hub_genes.ANALYSIS,
    module_preservation.ANALYSIS,
    network_notes.ANALYSIS,
    molecular_response.ANALYSIS,
    residual_disease_profile.ANALYSIS,
    biomarker_response.ANALYSIS,
    baseline_predictors.ANALYSIS,
    disposition.ANALYSIS,
    baseline_characteristics.ANALYSIS,
    exposure.ANALYSIS,
    adverse_events.ANALYSIS,
    time_to_event.ANALYSIS,
    laboratory.ANALYSIS,
    vital_signs.ANALYSIS,
    change_from_baseline.ANALYSIS,
    treatment_comparison.ANALYSIS,
    score_over_time.ANALYSIS,
    primary_endpoint_sensitivity.ANALYSIS,
    responders.ANALYSIS,
    score_shifts.ANALYSIS,
    regression_to_the_mean.ANALYSIS,
    detectability.ANALYSIS,
    p_value_forensics.ANALYSIS,
    clinical_statistics.ANALYSIS,
    participant_counts.ANALYSIS,
)

# Not for a study to switch on or forget: they follow from any clinical analysis.
GATHERING = (clinical_statistics.ANALYSIS, participant_counts.ANALYSIS)


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
        if name not in known or known[name] in GATHERING:
            raise StudyError(f"{place}: no such analysis; allowed: {', '.join(known)}")
        analysis = known[name]
        try:
            parameters = analysis.parameters.model_validate(_with_study(study, analysis, values, place))
        except ValidationError as error:
            allowed = ", ".join(analysis.parameters.model_fields)
            lines = [
                f"  {'.'.join(map(str, problem['loc'])) or name}: {problem['msg']} (allowed: {allowed})"
                for problem in error.errors()
            ]
            raise StudyError("\n".join([f"{place}:", *lines])) from error
        chosen[analysis.fills] = SwitchedOn(analysis, parameters)
    if set(chosen) & set(clinical_statistics.ANALYSIS.uses):
        for analysis in GATHERING:
            values = _with_study(study, analysis, {}, analysis.name)
            chosen[analysis.fills] = SwitchedOn(analysis, analysis.parameters.model_validate(values))
    graph = {
        table: [read for read in (*one.analysis.reads, *one.analysis.uses) if read in chosen]
        for table, one in sorted(chosen.items())
    }
    return tuple(chosen[table] for table in TopologicalSorter(graph).static_order())


def _with_study(study: Study, analysis: Analysis, values: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Put in, for the ids of estimands, what the study declares of them, and its families where asked."""
    filled = dict(values)
    declared = {estimand.id: estimand for estimand in study.estimands}
    fields = analysis.parameters.model_fields
    if analysis in GATHERING and "estimands" in fields:
        filled["estimands"] = tuple(declared.values())
    for key in ("estimand", "estimands"):
        if key not in fields or key not in values:
            continue
        given = values[key]
        ids = given if isinstance(given, list) else [given]
        if unknown := [name for name in ids if name not in declared]:
            raise StudyError(
                f"{place}.{key}: {', '.join(map(str, unknown))}: must be declared in estimands:"
                f" {', '.join(declared) or 'none is'}"
            )
        found = tuple(declared[name] for name in ids)
        filled[key] = found if isinstance(given, list) else found[0]
    if "families" in fields:
        filled["families"] = study.families
    if "expression" in fields:
        filled["expression"] = study.expression
    return filled


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
