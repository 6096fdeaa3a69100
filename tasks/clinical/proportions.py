"""How many participants of each arm are of a kind, and how the arms compare in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from tasks.clinical.ard import TOTAL, statistics
from tasks.stats.contingency import fisher_exact, fisher_monte_carlo, pearson_chi_square
from tasks.stats.proportion import clopper_pearson, miettinen_nurminen_difference, newcombe_difference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import polars as pl

    from tasks.clinical.ard import Address
    from tasks.clinical.population import Population
    from tasks.stats.types import Estimate, HypothesisTest

Comparison: TypeAlias = Literal["none", "overall", "pairwise", "both"]
IndependenceTest: TypeAlias = Literal["fisher", "chi_square"]
DifferenceInterval: TypeAlias = Literal["none", "newcombe", "miettinen_nurminen"]
Counts: TypeAlias = dict[str, int]

_DIFFERENCES = {
    "newcombe": newcombe_difference,
    "miettinen_nurminen": miettinen_nurminen_difference,
}
# Cochran's rule of thumb: below this many expected, chi-square is a rough approximation.
_SMALL_EXPECTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ProportionOptions:
    """What is said of a proportion beside its count.

    `comparison` tests all arms at once, each against the reference, or both; `interval` gives every
    proportion its Clopper-Pearson interval or none; unsaid, a single arm has them: there is nothing to test
    it against.
    """

    comparison: Comparison = "none"
    test: IndependenceTest = "fisher"
    difference: DifferenceInterval = "none"
    interval: bool | None = None
    level: float = 0.95
    seed: int = 0


def participants_by(population: Population, records: pl.DataFrame, keys: Sequence[str]) -> dict[Any, Counts]:
    """Count distinct participants by keys and by column of the table; a key is a tuple, () without keys."""
    distinct = records.select("usubjid", "arm", *keys).unique()
    return counted(population, distinct, keys)


def counted(population: Population, rows: pl.DataFrame, keys: Sequence[str]) -> dict[Any, Counts]:
    """Count rows by keys and by column of the table, as `participants_by` counts participants."""
    found: dict[Any, Counts] = {}
    for *key, arm, n in rows.group_by([*keys, "arm"]).len().iter_rows():
        counts = found.setdefault(tuple(key), dict.fromkeys(population.columns, 0))
        counts[arm] += n
        if TOTAL in counts and arm != TOTAL:
            counts[TOTAL] += n
    return found


def sizes(population: Population) -> Counts:
    return {column: population.n(column) for column in population.columns}


def proportion_rows(
    population: Population,
    address: Address,
    counts: Mapping[str, int],
    *,
    context: str,
    options: ProportionOptions,
    denominators: Mapping[str, int] | None = None,
    events: Mapping[str, int] | None = None,
    method: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Write count and share by column of the table, and what the options add.

    `denominators` are those who could be counted, everybody if not given; `events` are numbers of
    occurrences behind the participants. Fisher's test is exact at any size; chi-square says where expected
    counts are small.
    """
    of = sizes(population) if denominators is None else denominators
    has_interval = len(population.arms) == 1 if options.interval is None else options.interval
    for column in population.columns:
        n, total = counts.get(column, 0), of[column]
        at = address.at(group1_level=column)
        values: dict[str, float | None] = {"n": n, "p": n / total if total else None}
        if events is not None:
            values["n_events"] = events.get(column, 0)
        warning = None if total else "nobody to be counted among"
        yield from statistics(at, context, values, method=method, warning=warning)
        if total and has_interval:
            interval = clopper_pearson(n, total, level=options.level)
            limits = {
                "estimate": n / total, "conf.level": interval.level,
                "conf.low": interval.low, "conf.high": interval.high,
            }  # fmt: skip
            yield from statistics(at, "clopper_pearson", limits, method=f"{interval.method} interval, exact")
    yield from _compared(population, address, counts, of, options)


def _compared(
    population: Population,
    address: Address,
    counts: Mapping[str, int],
    of: Mapping[str, int],
    options: ProportionOptions,
) -> Iterator[dict[str, Any]]:
    reference = population.reference
    if reference is None:
        return
    if options.comparison in {"overall", "both"}:
        table = [(counts.get(arm, 0), of[arm] - counts.get(arm, 0)) for arm in population.arms]
        yield from independence_rows(address.at(group1_level=None), table, options)
    for arm in population.compared:
        at = address.at(group1_level=arm, group1_reference=reference)
        n, other = counts.get(arm, 0), counts.get(reference, 0)
        if options.comparison in {"pairwise", "both"}:
            table = [(n, of[arm] - n), (other, of[reference] - other)]
            yield from independence_rows(at, table, options)
        if options.difference != "none" and of[arm] and of[reference]:
            estimate = _difference(options.difference, (n, of[arm], other, of[reference]), options.level)
            yield from estimate_rows(at, "difference", estimate)


def independence_rows(
    address: Address, table: Sequence[Sequence[int]], options: ProportionOptions
) -> Iterator[dict[str, Any]]:
    """Test whether rows and columns are independent, or say why that cannot be tested."""
    key = tuple(tuple(row) for row in table)
    if sum(map(sum, key)) == 0:
        yield from statistics(address, options.test, {"p.value": None}, warning="not estimable: nobody")
        return
    try:
        test = _tested(key, options.test, options.seed)
    except ValueError as error:
        yield from statistics(address, options.test, {"p.value": None}, warning=f"not estimable: {error}")
        return
    values: dict[str, float | None] = {"p.value": test.p_value}
    warning = None
    if options.test == "chi_square":
        values = {"statistic": test.statistic, "df": test.df, **values}
        warning = _small_expected(key)
    yield from statistics(address, options.test, values, method=test.method, warning=warning)


def estimate_rows(address: Address, context: str, estimate: Estimate) -> Iterator[dict[str, Any]]:
    values: dict[str, float | None] = {"estimate": estimate.estimate}
    method = estimate.method
    if estimate.standard_error is not None:
        values["std.error"] = estimate.standard_error
    if estimate.interval is not None:
        interval = estimate.interval
        method = f"{method}; {interval.method} interval"
        values |= {"conf.level": interval.level, "conf.low": interval.low, "conf.high": interval.high}
    yield from statistics(address, context, values, method=method)


# Hundreds of preferred terms share few different tables: one or two participants of the arms' fixed sizes.
@lru_cache(maxsize=65536)
def _tested(table: tuple[tuple[int, ...], ...], test: IndependenceTest, seed: int) -> HypothesisTest:
    counts = np.array(table)
    if test == "chi_square":
        return pearson_chi_square(counts)
    try:
        return fisher_exact(counts)
    except ValueError as error:
        if "fisher_monte_carlo" not in str(error):
            raise
        return fisher_monte_carlo(counts, seed=seed)


@lru_cache(maxsize=65536)
def _difference(method: str, counts: tuple[int, int, int, int], level: float) -> Estimate:
    return _DIFFERENCES[method](*counts, level=level)


def _small_expected(table: Sequence[Sequence[int]]) -> str | None:
    counts = np.array(table, dtype=np.float64)
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    small = int((expected < _SMALL_EXPECTED).sum())
    if not small:
        return None
    return f"{small} of {expected.size} expected counts below {_SMALL_EXPECTED}: see Fisher's exact test"
