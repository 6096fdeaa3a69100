"""What a trial of this size could have found at all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import statistics, table
from tasks.clinical.population import Population, population_of
from tasks.clinical.scores import records_at_visit, score_address
from tasks.stats.power import (
    Detectable,
    detectable_ancova,
    detectable_paired_t,
    detectable_proportion,
    detectable_signed_rank,
    detectable_two_sample_t,
    smallest_p_fisher,
    smallest_p_sign,
    smallest_p_sign_flip,
)
from tasks.stats.signed_rank import signed_rank_exact
from tasks.stats.types import is_zero
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.clinical.ard import Address
    from tasks.stats.types import FloatArray

LABELS = {
    "effect_size": "Smallest effect found, in standard deviations",
    "effect": "Smallest effect found, in the unit of the score",
    "proportion": "Smallest true share of responders found",
    "power": "Power",
    "alpha": "Level of the test",
    "alpha.achieved": "Level that the test really has",
    "sd": "Standard deviation that the effect is scaled by",
    "correlation": "Correlation of baseline and value within arms",
    "n_first": "Participants in the arm",
    "n_second": "Participants in the reference",
    "n_zero": "Participants without any change",
    "p.smallest": "Smallest p-value attainable",
    "p.smallest_untied": "Smallest p-value attainable without zeros",
}


class DetectabilityParameters(Parameters):
    """Power and level; `null_proportion` is the share of responders that a single arm is tested against."""

    estimands: tuple[Estimand, ...] = Field(min_length=1)
    power: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(default=(0.8, 0.9), min_length=1)
    alpha: float = Field(default=0.05, gt=0, lt=1)
    null_proportion: float | None = Field(default=None, gt=0, lt=1)
    n_simulations: int = Field(default=20_000, ge=1000)
    seed: int = Field(default=20261123, ge=0)

    @model_validator(mode="after")
    def _power_exceeds_level(self) -> Self:
        if low := [power for power in self.power if power <= self.alpha]:
            raise ValueError(f"power: {low[0]:g}: must be above alpha, {self.alpha:g}")
        if len(set(self.power)) < len(self.power):
            raise ValueError("power: each at most once")
        return self


def detectability(
    adsl: pl.DataFrame, adqs: pl.DataFrame, *, parameters: DetectabilityParameters
) -> pl.DataFrame:
    """State the smallest effect that the analysed participants let a test find, and the smallest p-value.

    This is of the design: it says what could be found with as many participants as have the value, and is no
    power computed from the observed effect, which would only restate the p-value. Effects are in standard
    deviations; the observed standard deviation translates them into score points, as far as it is known
    itself. An exact test of few participants has a smallest p-value; when that is above the level, no result
    is significant whatever the treatment does.
    """
    rows: list[dict[str, Any]] = []
    for estimand in parameters.estimands:
        population = population_of(adsl, estimand)
        records = records_at_visit(adqs, population)
        rows += population.rows()
        if population.reference is None:
            rows += _paired_rows(records, population, parameters)
        for arm in population.compared:
            rows += _between_rows(records, arm, population, parameters)
    return table("detectability", rows)


ANALYSIS = Analysis(
    name="detectability",
    function=detectability,
    reads=("adam.adsl", "adam.adqs"),
    parameters=DetectabilityParameters,
)


def _paired_rows(
    records: pl.DataFrame, population: Population, parameters: DetectabilityParameters
) -> Iterator[dict[str, Any]]:
    variable = population.estimand.variable
    if variable == "aval":
        raise AnalysisError(
            f"estimand {population.estimand.id}: variable aval: within one arm it must be chg or pchg"
        )
    change = records[variable].drop_nulls().to_numpy().astype(np.float64)
    address = score_address(population, population.arms[0], variable, records)
    sd = float(change.std(ddof=1)) if change.size > 1 else None
    for power in parameters.power:
        computed: dict[str, Callable[[], Detectable]] = {
            "paired_t": partial(detectable_paired_t, change.size, power=power, alpha=parameters.alpha),
            "signed_rank_exact": partial(
                detectable_signed_rank,
                change.size,
                power=power,
                alpha=parameters.alpha,
                n_simulations=parameters.n_simulations,
                seed=parameters.seed,
            ),
        }
        if parameters.null_proportion is not None:
            computed["binomial"] = partial(
                detectable_proportion,
                change.size,
                parameters.null_proportion,
                power=power,
                alpha=parameters.alpha,
            )
        counts: dict[str, float] = {"N_obs": change.size}
        for context, compute in computed.items():
            here = address.at(variable_level=f"power={power:g}")
            yield from _detectable_rows(compute, here, context, sd, counts)
    yield from _smallest_rows(change, address.at(unit=None), parameters)


def _detectable_rows(
    compute: Callable[[], Detectable],
    address: Address,
    context: str,
    sd: float | None,
    counts: dict[str, float],
) -> Iterator[dict[str, Any]]:
    try:
        found = compute()
    except ValueError as error:
        yield from statistics(
            address,
            context,
            {"effect_size": None},
            labels=LABELS,
            method="minimum detectable effect",
            error=f"not estimable: {error}",
        )
        return
    values: dict[str, float | None] = {**counts}
    is_proportion = context == "binomial"
    values["proportion" if is_proportion else "effect_size"] = found.effect
    if not is_proportion and sd is not None:
        values |= {"sd": sd, "effect": found.effect * sd}
    values |= {"power": found.power, "alpha": found.alpha, "alpha.achieved": found.achieved_alpha}
    yield from statistics(
        address.at(unit=None) if is_proportion else address,
        context,
        values,
        labels=LABELS,
        method=f"{found.method}, in {found.unit}",
        warning=None if sd is not None or is_proportion else "no standard deviation: effect in units of it",
    )


def _smallest_rows(
    change: FloatArray, address: Address, parameters: DetectabilityParameters
) -> Iterator[dict[str, Any]]:
    moved = change[~is_zero(change)]
    n_zero = change.size - moved.size
    if not moved.size:
        yield from statistics(
            address,
            "smallest_p",
            {"p.smallest": None},
            labels=LABELS,
            error="nobody changed: no test is defined",
        )
        return
    # One sign throughout is the most extreme outcome; the ties at hand decide what p-value it has.
    found = {
        "signed_rank_exact": signed_rank_exact(np.abs(moved)).p_value,
        "sign_test": smallest_p_sign(moved.size),
        "sign_flip": smallest_p_sign_flip(moved.size),
    }
    untied = smallest_p_sign(change.size)
    for test, smallest in found.items():
        too_large = f"no result of this test can reach p <= {parameters.alpha:g}"
        yield from statistics(
            address.at(variable_level=test),
            "smallest_p",
            {
                "N_obs": change.size,
                "n_zero": n_zero,
                "p.smallest": smallest,
                "p.smallest_untied": untied,
            },
            labels=LABELS,
            method="every change that is not zero in one direction, two-sided",
            warning=too_large if smallest > parameters.alpha else None,
        )


def _between_rows(
    records: pl.DataFrame, arm: str, population: Population, parameters: DetectabilityParameters
) -> Iterator[dict[str, Any]]:
    variable = population.estimand.variable
    known = records.drop_nulls([variable])
    first = known.filter(pl.col("arm") == arm)
    second = known.filter(pl.col("arm") == population.reference)
    sizes = (first.height, second.height)
    counts: dict[str, float] = {"N_obs": sum(sizes), "n_first": sizes[0], "n_second": sizes[1]}
    address = score_address(population, arm, variable, records, group1_reference=population.reference)
    sd = _pooled([first[variable], second[variable]])
    outcome_sd, correlation = _with_baseline([first, second])
    for power in parameters.power:
        here = address.at(variable_level=f"power={power:g}")
        unadjusted = partial(detectable_two_sample_t, *sizes, power=power, alpha=parameters.alpha)
        yield from _detectable_rows(unadjusted, here, "two_sample_t", sd, counts)
        if correlation is not None:
            adjusted = partial(detectable_ancova, *sizes, correlation, power=power, alpha=parameters.alpha)
            more = {**counts, "correlation": correlation}
            yield from _detectable_rows(adjusted, here, "ancova", outcome_sd, more)
    smallest = smallest_p_fisher(*sizes) if min(sizes) else None
    yield from statistics(
        address.at(variable_level="fisher", unit=None),
        "smallest_p",
        {"N_obs": sum(sizes), "p.smallest": smallest},
        labels=LABELS,
        method="Fisher's exact test, all events in one arm, two-sided",
        error=None if smallest is not None else "nobody has the value in one of the arms",
        warning=f"no result of this test can reach p <= {parameters.alpha:g}"
        if smallest is not None and smallest > parameters.alpha
        else None,
    )


def _pooled(groups: list[pl.Series]) -> float | None:
    """Return the standard deviation within groups."""
    arrays = [group.to_numpy().astype(np.float64) for group in groups]
    df = sum(array.size - 1 for array in arrays)
    if df < 1 or not all(array.size for array in arrays):
        return None
    return float(np.sqrt(sum(np.square(array - array.mean()).sum() for array in arrays) / df))


def _with_baseline(groups: list[pl.DataFrame]) -> tuple[float | None, float | None]:
    """Return the standard deviation of the value and its correlation with baseline, within groups."""
    pairs = [group.drop_nulls(["base", "aval"]) for group in groups]
    sd = _pooled([pair["aval"] for pair in pairs])
    base_sd = _pooled([pair["base"] for pair in pairs])
    if not sd or not base_sd:
        return None, None
    df = sum(pair.height - 1 for pair in pairs)
    product = 0.0
    for pair in pairs:
        base = pair["base"].to_numpy().astype(np.float64)
        aval = pair["aval"].to_numpy().astype(np.float64)
        product += float(((base - base.mean()) * (aval - aval.mean())).sum())
    correlation = product / df / (sd * base_sd)
    return sd, correlation if abs(correlation) < 1 else None
