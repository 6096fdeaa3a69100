"""What happened to the participants on treatment: adverse events by class, term and severity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import polars as pl
from pydantic import Field

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import TOTAL, statistics, table
from tasks.clinical.population import population_of
from tasks.clinical.proportions import (
    Comparison,
    DifferenceInterval,
    ProportionOptions,
    counted,
    estimate_rows,
    participants_by,
    proportion_rows,
    sizes,
)
from tasks.clinical.summaries import members_of
from tasks.stats.incidence_rate import incidence_rate
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.clinical.ard import Address
    from tasks.clinical.population import Population

NAME = "adverse_events"
NOT_CODED = "Not coded"
Kind: TypeAlias = Literal["any", "related", "serious", "discontinuing", "fatal"]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Which treatment-emergent events are of a kind, and the ADaM variable that says so."""

    variable: str
    level: str
    label: str
    column: str


KINDS: dict[Kind, _Kind] = {
    "any": _Kind("TRTEMFL", "Y", "Any treatment-emergent event", "trtemfl"),
    "related": _Kind("RELGR1", "Y", "Related to treatment", "relgr1"),
    "serious": _Kind("AESER", "Y", "Serious", "aeser"),
    "discontinuing": _Kind("AEACN", "DRUG WITHDRAWN", "Led to discontinuation", "is_discontinuing"),
    "fatal": _Kind("AESDTH", "Y", "Fatal", "aesdth"),
}


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Events with their `severity` and its `rank`, and the variable that the severity comes from."""

    variable: str
    label: str
    events: pl.DataFrame


SEVERITIES = ("MILD", "MODERATE", "SEVERE")
CLASS, TERM = "aebodsys", "aedecod"
DAYS_OF_100_YEARS = 36525


class AdverseEventsParameters(Parameters):
    """What is tabulated, and how arms are compared line by line.

    `by_term` are the kinds tabulated by system organ class and preferred term; every kind has a line of its
    own for all events together. `severity_by_term` tabulates the worst severity of each participant;
    `rates` adds participants with an event per 100 patient-years at risk of a first one.
    """

    estimands: tuple[Estimand, ...] = Field(min_length=1)
    by_term: tuple[Kind, ...] = ("any", "serious", "related")
    severity_by_term: bool = True
    rates: bool = False
    comparison: Comparison = "pairwise"
    difference: DifferenceInterval = "none"
    confidence_level: float = Field(default=0.95, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)


def adverse_events(
    adsl: pl.DataFrame, adae: pl.DataFrame, *, parameters: AdverseEventsParameters
) -> pl.DataFrame:
    """Count participants and events of every kind, class, term and severity, by arm.

    Contested choice: each line is tested against the reference arm by Fisher's exact test without
    adjustment; with hundreds of lines some are small by chance, so the p-values flag and do not conclude.
    A participant counts once per line, at the worst severity; events count each time. In a single arm each
    line has its Clopper-Pearson interval instead.
    """
    return table(NAME, _rows(adsl, adae, parameters))


def _rows(
    adsl: pl.DataFrame, adae: pl.DataFrame, parameters: AdverseEventsParameters
) -> Iterator[dict[str, Any]]:
    _refuse_unusable(adae, parameters)
    kinds = [kind for kind, record in KINDS.items() if record.column in adae.columns]
    options = ProportionOptions(
        comparison=parameters.comparison,
        difference=parameters.difference,
        level=parameters.confidence_level,
        seed=parameters.seed,
    )
    emergent = adae.filter(_is_yes("trtemfl")).with_columns(
        pl.col(CLASS, TERM).cast(pl.String).fill_null(NOT_CODED)
    )
    for estimand in parameters.estimands:
        population = population_of(adsl, estimand)
        events = members_of(population, emergent)
        yield from population.rows()
        at_risk = _AtRisk.of(population, parameters) if parameters.rates else None
        for kind in kinds:
            yield from _overall(population, events, KINDS[kind], options, at_risk)
        yield from _special_interest(population, events, options)
        for ranked in _severities(events):
            yield from _worst(population, ranked, [], options)
        for kind in parameters.by_term:
            yield from _by_term(population, events, KINDS[kind], options, at_risk)
        if parameters.severity_by_term:
            plain = ProportionOptions(level=parameters.confidence_level)
            for ranked in _severities(events):
                yield from _worst(population, ranked, [CLASS], plain)
                yield from _worst(population, ranked, [CLASS, TERM], plain)


def _refuse_unusable(adae: pl.DataFrame, parameters: AdverseEventsParameters) -> None:
    timed = ("astdy",) if parameters.rates else ()
    needed = {"usubjid", "trtemfl", CLASS, TERM, *timed, *(KINDS[kind].column for kind in parameters.by_term)}
    if lacking := sorted(needed - set(adae.columns)):
        raise AnalysisError(f"{', '.join(lacking)}: adam.adae has {', '.join(adae.columns)}")


def _is_yes(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String).str.to_lowercase().is_in(["y", "true"]).fill_null(value=False)


def _is_unrecorded(events: pl.DataFrame, column: str) -> bool:
    return column in events.columns and 0 < events.height == events[column].null_count()


def _overall(
    population: Population,
    events: pl.DataFrame,
    kind: _Kind,
    options: ProportionOptions,
    at_risk: _AtRisk | None,
) -> Iterator[dict[str, Any]]:
    found = events.filter(_is_yes(kind.column))
    address = population.address(None, kind.variable, variable_label=kind.label, variable_level=kind.level)
    if kind.variable == "AEACN" and _is_unrecorded(events, "aeacn"):
        warning = "not known: no event has an action recorded (AEACN)"
        for column in population.columns:
            yield from statistics(address.at(group1_level=column), "incidence", {"p": None}, warning=warning)
        return
    yield from _incidence(population, found, [], address, options)
    if at_risk is not None:
        yield from at_risk.rows(found, [], address)


def _incidence(
    population: Population,
    events: pl.DataFrame,
    keys: list[str],
    address: Address,
    options: ProportionOptions,
) -> Iterator[dict[str, Any]]:
    """Write participants and events for each value of the keys, which become group2 and group3."""
    participants = participants_by(population, events, keys)
    of = sizes(population)
    occurrences = counted(population, events, keys)
    for key in sorted(participants) if keys else [()]:
        at = address.at(**_groups(keys, key))
        yield from proportion_rows(
            population,
            at,
            participants.get(key, {}),
            context="incidence",
            options=options,
            denominators=of,
            events=occurrences.get(key, {}),
        )


def _groups(keys: list[str], key: tuple[Any, ...]) -> dict[str, str | None]:
    groups: dict[str, str | None] = {}
    for place, (name, value) in enumerate(zip(keys, key, strict=True), start=2):
        groups |= {f"group{place}": name.upper(), f"group{place}_level": str(value)}
    return groups


def _by_term(
    population: Population,
    events: pl.DataFrame,
    kind: _Kind,
    options: ProportionOptions,
    at_risk: _AtRisk | None,
) -> Iterator[dict[str, Any]]:
    found = events.filter(_is_yes(kind.column))
    address = population.address(None, kind.variable, variable_label=kind.label, variable_level=kind.level)
    if found.height:
        for keys in ([CLASS], [CLASS, TERM]):
            yield from _incidence(population, found, keys, address, options)
            if at_risk is not None:
                yield from at_risk.rows(found, keys, address)


@dataclass(frozen=True, slots=True)
class _AtRisk:
    """Days on treatment of each participant, and what they add up to in each column of the table."""

    days: pl.DataFrame
    total: dict[str, float]
    level: float

    @classmethod
    def of(cls, population: Population, parameters: AdverseEventsParameters) -> _AtRisk:
        if "trtdurd" not in population.subjects.columns:
            raise AnalysisError("rates: adam.adsl has no trtdurd, the days on treatment")
        total = {column: float(population.members(column)["trtdurd"].sum()) for column in population.columns}
        return cls(population.subjects.select("usubjid", "trtdurd"), total, parameters.confidence_level)

    def rows(self, events: pl.DataFrame, keys: list[str], address: Address) -> Iterator[dict[str, Any]]:
        """Write the rate of first events: nobody is at risk of a first event any more after it.

        An event after the last day of treatment, or on a day unknown, ends no time on treatment.
        """
        first = (
            events.group_by("usubjid", "arm", *keys, maintain_order=True)
            .agg(pl.col("astdy").min())
            .join(self.days, on="usubjid", how="inner")
            .filter(pl.col("trtdurd").is_not_null())
            .with_columns(
                (pl.col("trtdurd") - pl.col("astdy")).clip(lower_bound=0).fill_null(0).alias("after")
            )
        )
        by_arm = first.group_by(*keys, "arm", maintain_order=True).agg(pl.len(), pl.col("after").sum())
        found = {tuple(row[:-2]): (row[-2], float(row[-1])) for row in by_arm.iter_rows()}
        for key in sorted({cell[:-1] for cell in found}) if keys else [()]:
            at = address.at(**_groups(keys, key), unit="per 100 patient-years")
            for column, days in self.total.items():
                arms = [column] if column != TOTAL else [arm for arm in self.total if arm != TOTAL]
                cells = [found.get((*key, arm), (0, 0.0)) for arm in arms]
                n, after = sum(cell[0] for cell in cells), sum(cell[1] for cell in cells)
                yield from self._rate(at.at(group1_level=column), n, days - after)

    def _rate(self, address: Address, n: int, days: float) -> Iterator[dict[str, Any]]:
        if days <= 0:
            yield from statistics(
                address, "incidence_rate", {"estimate": None}, warning="not estimable: no time at risk"
            )
            return
        rate = incidence_rate(n, days / DAYS_OF_100_YEARS, level=self.level)
        yield from estimate_rows(address, "incidence_rate", rate)


def _special_interest(
    population: Population, events: pl.DataFrame, options: ProportionOptions
) -> Iterator[dict[str, Any]]:
    if "cq01nam" not in events.columns:
        return
    found = events.filter(pl.col("cq01nam").is_not_null())
    for name in found["cq01nam"].unique().sort():
        of_name = found.filter(pl.col("cq01nam") == name)
        address = population.address(
            None, "CQ01NAM", variable_label="Events of special interest", variable_level=name
        )
        yield from _incidence(population, of_name, [], address, options)


def _severities(events: pl.DataFrame) -> Iterator[_Ranked]:
    """Rank the events by AESEV, and by toxicity grade where one was recorded."""
    if "aesev" in events.columns:
        ranks = {name: rank for rank, name in enumerate(SEVERITIES, start=1)}
        ranked = events.with_columns(
            pl.col("aesev").str.to_uppercase().alias("severity"),
            pl.col("aesev").str.to_uppercase().replace_strict(ranks, default=None).alias("rank"),
        )
        yield _Ranked("AESEV", "Worst severity", ranked.filter(pl.col("severity").is_not_null()))
    if "aetoxgr" in events.columns and events["aetoxgr"].null_count() < events.height:
        graded = events.with_columns(
            pl.col("aetoxgr").cast(pl.String).alias("severity"),
            pl.col("aetoxgr").cast(pl.String).str.extract(r"([1-5])").cast(pl.Int64).alias("rank"),
        )
        yield _Ranked("ATOXGR", "Worst toxicity grade", graded.filter(pl.col("severity").is_not_null()))


def _worst(
    population: Population, ranked: _Ranked, keys: list[str], options: ProportionOptions
) -> Iterator[dict[str, Any]]:
    """Count each participant once, at the worst severity of the events that share the keys."""
    events = ranked.events
    order = events.sort("rank", descending=True, nulls_last=True, maintain_order=True)
    worst = order.unique(["usubjid", *keys], keep="first", maintain_order=True)
    participants = participants_by(population, worst, [*keys, "severity"])
    # A severity that is nobody's worst still has its events.
    occurrences = counted(population, events, [*keys, "severity"])
    of = sizes(population)
    ranks = dict(events.select("severity", "rank").unique().iter_rows())
    for key in sorted(occurrences, key=lambda found: (*found[:-1], ranks[found[-1]] or 0, found[-1])):
        address = population.address(
            None, ranked.variable, variable_label=ranked.label, variable_level=key[-1]
        )
        yield from proportion_rows(
            population,
            address.at(**_groups(keys, key[:-1])),
            participants.get(key, {}),
            context="worst_severity",
            options=options,
            denominators=of,
            events=occurrences[key],
        )


ANALYSIS = Analysis(
    name=NAME,
    function=adverse_events,
    reads=("adam.adsl", "adam.adae"),
    parameters=AdverseEventsParameters,
)
