"""Who the participants were before treatment: the table that every trial report opens with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import statistics, table
from tasks.clinical.population import population_of
from tasks.clinical.proportions import ProportionOptions, counted, independence_rows, proportion_rows
from tasks.clinical.summaries import summaries_by, summary_rows
from tasks.stats.linear_model import one_way_anova
from tasks.stats.rank_sum import kruskal_wallis
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.clinical.ard import Address
    from tasks.clinical.population import Population

NAME = "baseline_characteristics"
# Label and unit of what ADSL has by common names; shown where a study does not say which it wants.
CONTINUOUS = {
    "age": ("Age", "years"),
    "heightbl": ("Baseline height", "cm"),
    "weightbl": ("Baseline weight", "kg"),
    "bmibl": ("Baseline body mass index", "kg/m2"),
    "educlvl": ("Years of education", "years"),
    "mmsetot": ("Mini-Mental State Examination", "points"),
    "durdis": ("Duration of disease", "months"),
}
CATEGORICAL = {
    "agegr1": "Age group",
    "sex": "Sex",
    "race": "Race",
    "ethnic": "Ethnicity",
    "bmiblgr1": "Body mass index group",
    "durdsgr1": "Duration of disease group",
}


class BaselineCharacteristicsParameters(Parameters):
    """Which ADSL variables are described, and whether arms are compared in them.

    `labels` and `units` are for variables whose names do not say it. `continuous_test` and
    `categorical_test` compare all arms at once.
    """

    estimands: tuple[Estimand, ...] = Field(min_length=1)
    continuous: tuple[str, ...] | None = None
    categorical: tuple[str, ...] | None = None
    labels: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it
    units: dict[str, str] = {}  # noqa: RUF012 - as above
    continuous_test: Literal["anova", "kruskal_wallis", "none"] = "anova"
    categorical_test: Literal["chi_square", "fisher", "none"] = "chi_square"
    seed: int = Field(default=0, ge=0)


def baseline_characteristics(
    adsl: pl.DataFrame, *, parameters: BaselineCharacteristicsParameters
) -> pl.DataFrame:
    """Describe the participants by arm, and compare the arms where there are several.

    Contested choice: a test of baseline balance between randomised arms tests a hypothesis known to be
    true (CONSORT 2010 advises against it). It is here because reports carry it, can be switched off, and
    never enters a family. Missing values are counted and stay out of the tests.
    """
    return table(NAME, _rows(adsl, parameters))


def _rows(adsl: pl.DataFrame, parameters: BaselineCharacteristicsParameters) -> Iterator[dict[str, Any]]:
    continuous = _chosen(adsl, parameters.continuous, tuple(CONTINUOUS))
    categorical = _chosen(adsl, parameters.categorical, tuple(CATEGORICAL))
    for name in continuous:
        if not adsl[name].dtype.is_numeric():
            raise AnalysisError(f"continuous {name}: {adsl[name].dtype}: must be numbers")
    for estimand in parameters.estimands:
        population = population_of(adsl, estimand)
        yield from population.rows()
        for name in continuous:
            yield from _continuous(population, name, parameters)
        for name in categorical:
            yield from _categorical(population, name, parameters)


def _chosen(adsl: pl.DataFrame, declared: tuple[str, ...] | None, known: tuple[str, ...]) -> tuple[str, ...]:
    if declared is None:
        return tuple(name for name in known if name in adsl.columns)
    if unknown := [name for name in declared if name not in adsl.columns]:
        raise AnalysisError(f"{', '.join(unknown)}: adam.adsl has {', '.join(adsl.columns)}")
    return declared


def _continuous(
    population: Population, name: str, parameters: BaselineCharacteristicsParameters
) -> Iterator[dict[str, Any]]:
    label, unit = CONTINUOUS.get(name, (name.upper(), None))
    address = population.address(
        None,
        name.upper(),
        variable_label=parameters.labels.get(name, label),
        unit=parameters.units.get(name, unit),
    )
    for _, column, summary in summaries_by(population, population.subjects, name, []):
        yield from summary_rows(address.at(group1_level=column), summary)
    if parameters.continuous_test != "none" and len(population.arms) > 1:
        yield from _difference_of_means(population, name, address.at(unit=None), parameters)


def _difference_of_means(
    population: Population, name: str, address: Address, parameters: BaselineCharacteristicsParameters
) -> Iterator[dict[str, Any]]:
    context = parameters.continuous_test
    known = population.subjects.filter(pl.col(name).is_not_null())
    test = one_way_anova if context == "anova" else kruskal_wallis
    try:
        result = test(known[name].to_numpy().astype(np.float64), known["arm"].to_list())
    except ValueError as error:
        yield from statistics(address, context, {"p.value": None}, warning=f"not estimable: {error}")
        return
    values: dict[str, float | None] = {"statistic": result.statistic}
    values |= {key: df for key, df in (("df", result.df), ("df2", result.df_denominator)) if df is not None}
    yield from statistics(address, context, {**values, "p.value": result.p_value}, method=result.method)


def _categorical(
    population: Population, name: str, parameters: BaselineCharacteristicsParameters
) -> Iterator[dict[str, Any]]:
    subjects = population.subjects.with_columns(pl.col(name).cast(pl.String))
    label = parameters.labels.get(name, CATEGORICAL.get(name, name.upper()))
    address = population.address(None, name.upper(), variable_label=label)
    counts = counted(population, subjects, [name])
    options = ProportionOptions(interval=False)
    levels = _ordered(subjects[name])
    for level in levels:
        at = address.at(variable_level=level)
        yield from proportion_rows(population, at, counts[(level,)], context="categorical", options=options)
    absent = counts.get((None,), {})
    for column in population.columns:
        missing = absent.get(column, 0)
        values = {"N_obs": population.n(column) - missing, "N_miss": missing}
        yield from statistics(address.at(group1_level=column), "categorical", values)
    test = parameters.categorical_test
    if test == "none" or len(population.arms) == 1:
        return
    cells = [[counts[(level,)][arm] for level in levels] for arm in population.arms]
    yield from independence_rows(address, cells, ProportionOptions(test=test, seed=parameters.seed))


def _ordered(levels: pl.Series) -> list[str]:
    """Order categories as a reader expects: below a limit, between limits, above it; else by name."""
    rank = {"<": 0, ">": 2, "\N{GREATER-THAN OR EQUAL TO}": 2}
    return sorted(levels.drop_nulls().unique().to_list(), key=lambda level: (rank.get(level[:1], 1), level))


ANALYSIS = Analysis(
    name=NAME,
    function=baseline_characteristics,
    reads=("adam.adsl",),
    parameters=BaselineCharacteristicsParameters,
)
