"""How much of a change would have come without treatment, because participants were chosen when bad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import statistics, table
from tasks.clinical.population import Population, population_of
from tasks.clinical.scores import interval_values, left_out, records_at_visit, score_address, values_of_test
from tasks.stats.regression_to_mean import (
    expected_regression,
    expected_regression_of_sample,
    mee_chua,
    oldham,
    pitman_morgan,
)
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.clinical.ard import Address
    from tasks.stats.types import FloatArray

    Computed = tuple[dict[str, float | str | None], str]

LABELS = {
    "mean_change": "Mean change observed",
    "expected_change": "Change expected without treatment",
    "share": "Share of the mean change that regression to the mean explains",
    "selected_share": "Share of the population that meets the cutoff",
    "selected_mean": "Mean baseline expected of those who meet the cutoff",
    "reliability": "Test-retest reliability assumed",
    "population_mean": "Population mean assumed",
    "slope": "Slope of the score after on the score before",
    "not_rejected": "Population means for which regression to the mean alone is not rejected",
    "correlation": "Correlation",
    "ratio": "Variance after over variance before",
}


class RegressionToTheMeanParameters(Parameters):
    """What is known of the score outside the trial: it cannot be learned from the trial itself.

    `population_mean` and `population_sd` are of the people from whom participants were selected, one
    reading each; `reliability` is the correlation of two readings without treatment between them. A `cutoff`
    is the entry criterion on the score. Several reliabilities show how much depends on them.
    """

    estimands: tuple[Estimand, ...] = Field(min_length=1)
    population_mean: float
    population_sd: float = Field(gt=0)
    reliability: tuple[float, ...] = Field(default=(0.6, 0.8, 0.9), min_length=1)
    cutoff: float | None = None
    selection: Literal["above", "below"] = "above"
    source: str = Field(min_length=1, description="where the population's figures come from")
    confidence_level: float = Field(default=0.95, gt=0, lt=1)

    @model_validator(mode="after")
    def _are_correlations(self) -> Self:
        if wrong := [value for value in self.reliability if not 0 <= value <= 1]:
            raise ValueError(f"reliability: {wrong[0]:g}: must lie between 0 and 1")
        if len(set(self.reliability)) < len(self.reliability):
            raise ValueError("reliability: each at most once")
        return self


def regression_to_the_mean(
    adsl: pl.DataFrame, adqs: pl.DataFrame, *, parameters: RegressionToTheMeanParameters
) -> pl.DataFrame:
    """Set the observed change beside the one expected without treatment, in each arm by itself.

    Who is enrolled when the score is bad is better next time without any treatment, the more so the less
    reliable the score. The expectation needs figures from outside the trial, so it is an argument and no
    proof; the Mee-Chua test is given with the range of population means that it does not reject. Change is
    related to baseline by Oldham's correlation with the mean of both and the variance ratio, since its
    correlation with the baseline itself is negative by error of measurement alone.
    """
    rows: list[dict[str, Any]] = []
    for estimand in parameters.estimands:
        population = population_of(adsl, estimand)
        records = records_at_visit(adqs, population)
        rows += population.rows()
        for arm in population.arms:
            rows += _arm_rows(records.filter(pl.col("arm") == arm), records, arm, population, parameters)
    return table("regression_to_the_mean", rows)


ANALYSIS = Analysis(
    name="regression_to_the_mean",
    function=regression_to_the_mean,
    reads=("adam.adsl", "adam.adqs"),
    parameters=RegressionToTheMeanParameters,
)


def _arm_rows(
    own: pl.DataFrame,
    records: pl.DataFrame,
    arm: str,
    population: Population,
    parameters: RegressionToTheMeanParameters,
) -> Iterator[dict[str, Any]]:
    pairs = own.drop_nulls(["base", "aval"])
    if pairs.is_empty():
        raise AnalysisError(f"estimand {population.estimand.id}: nobody in {arm} has baseline and value")
    before = pairs["base"].to_numpy().astype(np.float64)
    after = pairs["aval"].to_numpy().astype(np.float64)
    warning = left_out(population.members(arm), pairs["usubjid"].to_list(), "aval", ["base"])
    address = score_address(population, arm, "chg", records)
    yield from _expected_rows(before, after, address, parameters, warning)
    for context, compute in _tests(before, after, parameters).items():
        values, method = _or_nothing(compute)
        yield from statistics(
            address.at(unit=None) if context in {"oldham", "pitman_morgan"} else address,
            context,
            values,
            labels=LABELS,
            method=method,
            warning=warning,
            error=None if "p.value" in values and values["p.value"] is not None else method,
        )


def _or_nothing(compute: Callable[[], Computed]) -> Computed:
    try:
        return compute()
    except ValueError as error:
        return {"p.value": None}, f"not estimable: {error}"


def _expected_rows(
    before: FloatArray,
    after: FloatArray,
    address: Address,
    parameters: RegressionToTheMeanParameters,
    warning: str | None,
) -> Iterator[dict[str, Any]]:
    observed = float((after - before).mean())
    about = (
        f"population mean {parameters.population_mean:g}, SD {parameters.population_sd:g}"
        f" ({parameters.source})"
    )
    for reliability in parameters.reliability:
        expected = expected_regression_of_sample(
            float(before.mean()), parameters.population_mean, reliability
        )
        yield from statistics(
            address.at(variable_level=f"reliability={reliability:g}"),
            "expected_of_sample",
            _against(observed, expected) | {"reliability": reliability, "N_obs": before.size},
            labels=LABELS,
            method=f"(1 - reliability) (population mean - mean baseline), Davis 1976; {about}",
            warning=warning,
        )
        if parameters.cutoff is None:
            continue
        here = address.at(variable_level=f"reliability={reliability:g}")
        method = (
            f"normal scores selected {parameters.selection} {parameters.cutoff:g}, Gardner-Heady; {about}"
        )
        try:
            found = expected_regression(
                parameters.population_mean,
                parameters.population_sd,
                reliability,
                cutoff=parameters.cutoff,
                selection=parameters.selection,
            )
        except ValueError as error:
            failed = {"expected_change": None}
            yield from statistics(
                here, "expected_of_cutoff", failed, labels=LABELS, method=method, error=str(error)
            )
            continue
        values = _against(observed, found.expected_change) | {
            "selected_share": found.selected_share,
            "selected_mean": found.selected_mean,
            "reliability": reliability,
        }
        yield from statistics(
            here, "expected_of_cutoff", values, labels=LABELS, method=method, warning=warning
        )


def _against(observed: float, expected: float) -> dict[str, float]:
    """Set them side by side; a share is only told of a change in the expected direction."""
    values = {"mean_change": observed, "expected_change": expected}
    return values | ({"share": expected / observed} if expected * observed > 0 else {})


def _tests(
    before: FloatArray, after: FloatArray, parameters: RegressionToTheMeanParameters
) -> dict[str, Callable[[], Computed]]:
    level = parameters.confidence_level

    def beyond_regression() -> Computed:
        found = mee_chua(before, after, population_mean=parameters.population_mean, level=level)
        ranges = " or ".join(f"{low:.4g} to {high:.4g}" for low, high in found.not_rejected)
        values: dict[str, float | str | None] = {
            "N_obs": found.n,
            "estimate": found.treatment_effect,
            "std.error": found.standard_error,
            **interval_values(found.interval),
            "statistic": found.t,
            "df": found.df,
            "p.value": found.p_value,
            "slope": found.slope,
            "population_mean": parameters.population_mean,
            "not_rejected": ranges or "none",
        }
        return values, (
            f"Mee-Chua test, change beyond regression to a population mean of {parameters.population_mean:g}"
            f" ({parameters.source}), two-sided t test"
        )

    def related() -> Computed:
        found = oldham(before, after)
        tested = values_of_test(found)
        correlation = tested.pop("statistic")
        values: dict[str, float | str | None] = {"N_obs": found.n, "correlation": correlation, **tested}
        return values, f"{found.method}, change against the mean of both, two-sided"

    def narrowed() -> Computed:
        found = pitman_morgan(before, after, level=level)
        values: dict[str, float | str | None] = {
            "N_obs": found.n,
            "ratio": found.ratio,
            "correlation": found.correlation,
            **interval_values(found.interval),
            "statistic": found.t,
            "df": found.df,
            "p.value": found.p_value,
        }
        return values, "Pitman-Morgan test of equal variances before and after, two-sided t test"

    return {"mee_chua": beyond_regression, "oldham": related, "pitman_morgan": narrowed}
