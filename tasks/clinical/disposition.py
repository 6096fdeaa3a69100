"""Where the participants went: the sets they are in, how they ended the study and why, and their sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
from pydantic import Field

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import table
from tasks.clinical.population import population_of
from tasks.clinical.proportions import (
    Comparison,
    ProportionOptions,
    counted,
    participants_by,
    proportion_rows,
)
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.clinical.population import Population

NAME = "disposition"
SET_LABELS = {
    "enrlfl": "Enrolled",
    "randfl": "Randomised",
    "saffl": "Safety",
    "fasfl": "Full analysis",
    "ittfl": "Intention to treat",
    "efffl": "Efficacy",
    "pprotfl": "Per protocol",
    "complfl": "Completed the study",
    "bmevalfl": "Biomarker-evaluable",
    "comp8fl": "Completed week 8",
    "comp16fl": "Completed week 16",
    "comp24fl": "Completed week 24",
}
Flag = Annotated[str, Field(pattern=r"^[a-z0-9]+fl$")]
MISSING = "Missing"
# Being in a set or at a site is by design, not a chance to be estimated.
_COUNTS_ONLY = ProportionOptions(interval=False)


class DispositionParameters(Parameters):
    """Which sets are counted and which ends of the study are compared.

    `completion` are the flags of completing the study or a part of it. `reason` is why participants left;
    `reason_unless` counts it only of those without that flag, as where a study asks about leaving before a
    visit. `sites` are the site variables, the pooled one first; `site_sets` are counted by site too.
    """

    estimands: tuple[Estimand, ...] = Field(min_length=1)
    sets: tuple[Flag, ...] | None = None
    completion: tuple[Flag, ...] | None = None
    reason: str = "dcsreas"
    reason_unless: Flag | None = None
    sites: tuple[str, ...] = ("sitegr1", "siteid")
    site_sets: tuple[Flag, ...] = ()
    comparison: Comparison = "overall"
    confidence_level: float = Field(default=0.95, gt=0, lt=1)


def disposition(adsl: pl.DataFrame, *, parameters: DispositionParameters) -> pl.DataFrame:
    """Count who is in each set, how and why the study ended for them, and at which sites they were.

    Contested choice: every share is of the estimand's population in the arm, reasons too, so that the
    reasons of an arm add up to its discontinuations and arms of different completion can be compared; a
    share of the discontinued would answer another question. The tests are Fisher's, one line at a time and
    not adjusted: they describe.
    """
    return table(NAME, _rows(adsl, parameters))


def _rows(adsl: pl.DataFrame, parameters: DispositionParameters) -> Iterator[dict[str, Any]]:
    flags = [name for name in adsl.columns if name.endswith("fl") and adsl[name].dtype == pl.String]
    completion = parameters.completion
    if completion is None:
        completion = tuple(name for name in flags if name.startswith("comp"))
    sets = tuple(flags) if parameters.sets is None else parameters.sets
    wanted = (*sets, *completion, *parameters.site_sets, *filter(None, [parameters.reason_unless]))
    _refuse_unknown(adsl, wanted)
    for estimand in parameters.estimands:
        population = population_of(adsl, estimand)
        yield from population.rows()
        yield from _sets(population, sets)
        yield from _ends(population, completion, parameters)
        yield from _sites(population, parameters)


def _refuse_unknown(adsl: pl.DataFrame, names: tuple[str, ...]) -> None:
    if unknown := [name for name in names if name not in adsl.columns]:
        raise AnalysisError(
            f"{', '.join(unknown)}: must be flags of adam.adsl: "
            + ", ".join(name for name in adsl.columns if name.endswith("fl"))
        )


def _sets(population: Population, sets: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for flag in sets:
        yield from _flag_rows(population, flag, "analysis_set", _COUNTS_ONLY)


def _flag_rows(
    population: Population, flag: str, context: str, options: ProportionOptions
) -> Iterator[dict[str, Any]]:
    members = population.subjects.filter(pl.col(flag) == "Y")
    counts = participants_by(population, members, []).get((), {})
    label = SET_LABELS.get(flag, flag.upper())
    address = population.address(None, flag.upper(), variable_label=label, variable_level="Y")
    yield from proportion_rows(population, address, counts, context=context, options=options)


def _ends(
    population: Population, completion: tuple[str, ...], parameters: DispositionParameters
) -> Iterator[dict[str, Any]]:
    options = ProportionOptions(comparison=parameters.comparison, level=parameters.confidence_level)
    for flag in completion:
        yield from _flag_rows(population, flag, "completion", options)
    subjects = population.subjects
    if "eosstt" in subjects.columns:
        ends = subjects.with_columns(pl.col("eosstt").fill_null(MISSING))
        yield from _levels(population, ends, "eosstt", "Status at the end of the study", options)
    reason = parameters.reason
    if reason not in subjects.columns:
        raise AnalysisError(f"reason {reason}: adam.adsl has {', '.join(subjects.columns)}")
    if parameters.reason_unless is not None:
        left = subjects.filter(pl.col(parameters.reason_unless).fill_null("N") != "Y")
    elif "eosstt" in subjects.columns:
        left = subjects.filter(pl.col("eosstt") == "DISCONTINUED")
    else:
        left = subjects.filter(pl.col(reason).is_not_null())
    left = left.with_columns(pl.col(reason).fill_null(MISSING))
    yield from _levels(population, left, reason, "Reason for leaving", options)


def _levels(
    population: Population, subjects: pl.DataFrame, variable: str, label: str, options: ProportionOptions
) -> Iterator[dict[str, Any]]:
    counts = counted(population, subjects, [variable])
    for (level,) in sorted(counts):
        address = population.address(None, variable.upper(), variable_label=label, variable_level=level)
        yield from proportion_rows(
            population, address, counts[(level,)], context="end_of_study", options=options
        )


def _sites(population: Population, parameters: DispositionParameters) -> Iterator[dict[str, Any]]:
    sites = [name for name in parameters.sites if name in population.subjects.columns]
    if not sites:
        return
    *groups, site = sites
    for flag in (None, *parameters.site_sets):
        members = population.subjects
        if flag is not None:
            members = members.filter(pl.col(flag) == "Y")
        counts = counted(population, members, sites)
        for key in sorted(counts, key=lambda found: tuple(map(str, found))):
            address = population.address(
                None,
                site.upper(),
                variable_label="Site",
                variable_level=str(key[-1]),
                group2=groups[0].upper() if groups else None,
                group2_level=str(key[0]) if groups else None,
                group3=None if flag is None else flag.upper(),
                group3_level=None if flag is None else "Y",
            )
            yield from proportion_rows(population, address, counts[key], context="site", options=_COUNTS_ONLY)


ANALYSIS = Analysis(name=NAME, function=disposition, reads=("adam.adsl",), parameters=DispositionParameters)
