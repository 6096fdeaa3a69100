"""How long participants go without an event: Kaplan-Meier curves, log-rank tests and hazard ratios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import statistics, table
from tasks.clinical.population import population_of
from tasks.clinical.summaries import members_of
from tasks.stats.cox import cox_regression
from tasks.stats.log_rank import log_rank
from tasks.stats.survival import KaplanMeier, kaplan_meier, survival_at, survival_quantile
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.clinical.ard import Address
    from tasks.clinical.population import Population
    from tasks.stats.types import FloatArray

NAME = "time_to_event"
# As in the R packages survival and broom.
LABELS = {
    "time": "Time",
    "n.risk": "Participants at risk",
    "n.event": "Events",
    "n.censor": "Censored",
    "n_censored": "Censored",
}
_CURVE = {
    "time": "time",
    "n.risk": "n_at_risk",
    "n.event": "n_event",
    "n.censor": "n_censored",
    "estimate": "survival",
    "std.error": "standard_error",
    "conf.low": "low",
    "conf.high": "high",
}


class TimeToEventParameters(Parameters):
    """Which parameters of adam.adtte are analysed, and what is said of their curves.

    `days` are the times at which the curve is read off, `quantiles` shares of participants with the event;
    `strata` are ADSL variables within which arms are compared.
    """

    estimands: tuple[Estimand, ...] = Field(min_length=1)
    params: tuple[str, ...] | None = None
    days: tuple[float, ...] = ()
    quantiles: tuple[float, ...] = (0.25, 0.5, 0.75)
    interval: Literal["log-log", "log", "plain"] = "log-log"
    log_rank: bool = True
    hazard_ratio: bool = True
    strata: tuple[str, ...] = ()
    confidence_level: float = Field(default=0.95, gt=0, lt=1)

    @field_validator("quantiles")
    @classmethod
    def _are_shares(cls, quantiles: tuple[float, ...]) -> tuple[float, ...]:
        if wrong := [share for share in quantiles if not 0 < share < 1]:
            raise ValueError(f"quantiles: {wrong[0]}: must lie between 0 and 1, both excluded")
        return quantiles

    @field_validator("days")
    @classmethod
    def _are_times(cls, days: tuple[float, ...]) -> tuple[float, ...]:
        if wrong := [day for day in days if day < 0]:
            raise ValueError(f"days: {wrong[0]}: must be zero or more")
        return days


@dataclass(frozen=True, slots=True)
class _FollowUp:
    """Follow-up of the participants of one parameter."""

    records: pl.DataFrame

    def of(self, arm: str) -> _FollowUp:
        return _FollowUp(self.records.filter(pl.col("arm") == arm))

    @property
    def time(self) -> FloatArray:
        return self.records["aval"].to_numpy().astype(np.float64)

    @property
    def event(self) -> FloatArray:
        return (self.records["cnsr"] == 0).to_numpy().astype(np.float64)

    @property
    def arm(self) -> list[str]:
        return self.records["arm"].to_list()

    def stratum(self, names: tuple[str, ...]) -> list[str] | None:
        if not names:
            return None
        joined = self.records.select(pl.concat_str(pl.col(list(names)).cast(pl.String), separator=" / "))
        return joined.to_series().fill_null("missing").to_list()


def time_to_event(
    adsl: pl.DataFrame, adtte: pl.DataFrame, *, parameters: TimeToEventParameters
) -> pl.DataFrame:
    """Estimate the curves of each arm, read times and shares off them, and compare the arms.

    Contested choice: censoring is taken as unrelated to the event. Where leaving the study and having the
    event go together, as with events that make participants leave, the curves flatter the arm that loses
    more; the numbers at risk stand beside them for that reason. The hazard ratio is one number for all
    time and assumes proportional hazards.
    """
    return table(NAME, _rows(adsl, adtte, parameters))


def _rows(
    adsl: pl.DataFrame, adtte: pl.DataFrame, parameters: TimeToEventParameters
) -> Iterator[dict[str, Any]]:
    known = adtte["paramcd"].unique(maintain_order=True).to_list()
    chosen = known if parameters.params is None else list(parameters.params)
    if unknown := [name for name in chosen if name not in known]:
        raise AnalysisError(f"params {', '.join(unknown)}: the data have {', '.join(known)}")
    if unknown := [name for name in parameters.strata if name not in adsl.columns]:
        raise AnalysisError(f"strata {', '.join(unknown)}: adam.adsl has {', '.join(adsl.columns)}")
    for estimand in parameters.estimands:
        population = population_of(adsl, estimand)
        yield from population.rows()
        strata = population.subjects.select("usubjid", *parameters.strata)
        own = adtte.drop(parameters.strata, strict=False).join(strata, on="usubjid", how="inner")
        for paramcd in chosen:
            records = members_of(population, own.filter(pl.col("paramcd") == paramcd))
            yield from _parameter(population, records, paramcd, parameters)


def _parameter(
    population: Population, records: pl.DataFrame, paramcd: str, parameters: TimeToEventParameters
) -> Iterator[dict[str, Any]]:
    if records["usubjid"].is_duplicated().any():
        repeated = records.filter(pl.col("usubjid").is_duplicated())["usubjid"][0]
        raise AnalysisError(f"{paramcd}: {repeated} has more than one record: one is allowed")
    label = records["param"][0] if records.height else paramcd
    address = population.address(None, "AVAL", variable_label=label, group2="PARAMCD", group2_level=paramcd)
    known = records.filter(pl.col("aval").is_not_null(), pl.col("cnsr").is_not_null())
    follow_up = _FollowUp(known)
    for column in population.columns:
        part = follow_up.records if column not in population.arms else follow_up.of(column).records
        yield from _event_counts(population, part, address.at(group1_level=column))
    for arm in population.arms:
        own = follow_up.of(arm)
        if own.records.height:
            yield from _curve_rows(own, address.at(group1_level=arm), parameters)
    if len(population.arms) > 1:
        yield from _comparisons(population, follow_up, address, parameters)


def _event_counts(population: Population, part: pl.DataFrame, address: Address) -> Iterator[dict[str, Any]]:
    events = part.filter(pl.col("cnsr") == 0).height
    n = population.n(str(address.group1_level))
    values = {
        "N_obs": part.height,
        "N_miss": n - part.height,
        "n_events": events,
        "n_censored": part.height - events,
    }
    warning = None if part.height == n else f"{n - part.height} of the population have no record"
    yield from statistics(address, "events", values, labels=LABELS, warning=warning)


def _curve_rows(
    follow_up: _FollowUp, address: Address, parameters: TimeToEventParameters
) -> Iterator[dict[str, Any]]:
    curve = kaplan_meier(
        follow_up.time, follow_up.event, level=parameters.confidence_level, interval=parameters.interval
    )
    yield from _steps(curve, address)
    method = f"Kaplan-Meier, Greenwood, {parameters.interval} interval"
    for day in parameters.days:
        at = address.at(group3="TIME", group3_level=f"{day:g}")
        try:
            point = survival_at(curve, day)
        except ValueError as error:
            yield from statistics(at, "survival_at", {"estimate": None}, warning=f"not estimable: {error}")
            continue
        values: dict[str, float | None] = {
            "n.risk": point.n_at_risk,
            "estimate": point.estimate,
            "std.error": point.standard_error,
        }
        if point.interval is not None:
            values |= {"conf.level": curve.level, "conf.low": point.interval.low}
            values["conf.high"] = point.interval.high
        yield from statistics(at, "survival_at", values, labels=LABELS, method=method)
    yield from _quantile_rows(curve, address.at(unit="days"), parameters)


def _steps(curve: KaplanMeier, address: Address) -> Iterator[dict[str, Any]]:
    method = f"Kaplan-Meier, Greenwood, {curve.interval_method} interval at level {curve.level:g}"
    for step in range(curve.time.size):
        at = address.at(group3="TIME", group3_level=f"{curve.time[step]:g}")
        values = {name: float(getattr(curve, column)[step]) for name, column in _CURVE.items()}
        finite = {name: value for name, value in values.items() if np.isfinite(value)}
        yield from statistics(at, "kaplan_meier", finite, labels=LABELS, method=method)


def _quantile_rows(
    curve: KaplanMeier, address: Address, parameters: TimeToEventParameters
) -> Iterator[dict[str, Any]]:
    for share in parameters.quantiles:
        at = address.at(variable_level=f"{share:g}")
        quantile = survival_quantile(curve, share)
        limits = {"estimate": quantile.estimate, "conf.low": quantile.low, "conf.high": quantile.high}
        for name, value in limits.items():
            unreached = None if value is not None else "not reached during follow-up"
            yield from statistics(at, "quantile", {name: value}, method=quantile.method, warning=unreached)
        yield from statistics(at.at(unit=None), "quantile", {"conf.level": quantile.level})


def _comparisons(
    population: Population, follow_up: _FollowUp, address: Address, parameters: TimeToEventParameters
) -> Iterator[dict[str, Any]]:
    if parameters.log_rank:
        yield from _log_rank(follow_up, address, parameters)
        for arm in population.compared:
            pair = follow_up.records.filter(pl.col("arm").is_in([arm, population.reference]))
            at = address.at(group1_level=arm, group1_reference=population.reference)
            yield from _log_rank(_FollowUp(pair), at, parameters)
    if parameters.hazard_ratio:
        yield from _hazard_ratios(population, follow_up, address, parameters)


def _log_rank(
    follow_up: _FollowUp, address: Address, parameters: TimeToEventParameters
) -> Iterator[dict[str, Any]]:
    try:
        test = log_rank(
            follow_up.time, follow_up.event, follow_up.arm, stratum=follow_up.stratum(parameters.strata)
        )
    except ValueError as error:
        yield from statistics(address, "log_rank", {"p.value": None}, warning=f"not estimable: {error}")
        return
    values = {"statistic": test.statistic, "df": test.df, "p.value": test.p_value}
    yield from statistics(address, "log_rank", values, method=_stratified(test.method, parameters))


def _stratified(method: str, parameters: TimeToEventParameters) -> str:
    return f"{method} by {', '.join(parameters.strata)}" if parameters.strata else method


def _hazard_ratios(
    population: Population, follow_up: _FollowUp, address: Address, parameters: TimeToEventParameters
) -> Iterator[dict[str, Any]]:
    reference = population.reference
    for arm in population.compared:
        pair = _FollowUp(follow_up.records.filter(pl.col("arm").is_in([arm, reference])))
        at = address.at(group1_level=arm, group1_reference=reference)
        try:
            model = cox_regression(
                pair.time,
                pair.event,
                covariates={"arm": (pair.records["arm"] == arm).to_numpy().astype(np.float64)},
                stratum=pair.stratum(parameters.strata),
                level=parameters.confidence_level,
            )
        except ValueError as error:
            yield from statistics(at, "cox", {"estimate": None}, warning=f"not estimable: {error}")
            continue
        ratio = model.coefficients[0]
        method = _stratified("Cox's model of the two arms, ties by Efron's method, Wald test", parameters)
        if not model.is_converged:
            values: dict[str, float | None] = {"estimate": None, "p.value": model.likelihood_ratio.p_value}
            warning = "the ratio runs off to infinity: only the p-value, of the likelihood-ratio test"
            yield from statistics(at, "cox", values, method=method, warning=warning)
            continue
        values = {
            "estimate": ratio.hazard_ratio,
            "conf.level": ratio.interval.level,
            "conf.low": ratio.interval.low,
            "conf.high": ratio.interval.high,
            "statistic": ratio.z,
            "p.value": ratio.p_value,
        }
        yield from statistics(at, "cox", values, method=method)


ANALYSIS = Analysis(
    name=NAME,
    function=time_to_event,
    reads=("adam.adsl", "adam.adtte"),
    parameters=TimeToEventParameters,
)
