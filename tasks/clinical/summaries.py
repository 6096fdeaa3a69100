"""Numbers summarised by arm, and by parameter and visit where there are such."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.clinical.ard import TOTAL, described, statistics
from warehouse.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tasks.clinical.ard import Address
    from tasks.clinical.population import Population

Summary = dict[str, float | None]
END_OF_TREATMENT = "End of Treatment"
_AFTER_SD = ((("median", "p25", "p75"), "SAS percentile definition 5"), (("min", "max"), None))


def members_of(population: Population, records: pl.DataFrame) -> pl.DataFrame:
    """Keep the records of the population's participants, with `arm` as it groups them."""
    arms = population.subjects.select("usubjid", "arm")
    return records.drop("arm", strict=False).join(arms, on="usubjid", how="inner", maintain_order="left")


def chosen_of_visit(records: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Return the records of planned visits; of several with the same keys, those chosen by ANL01FL.

    Records that summarise others, as the largest of a period, have a DTYPE and stay out; the last value on
    treatment is such a record too, but a visit of its own in every table.
    """
    observed = pl.col("dtype").is_null() | (pl.col("avisit") == END_OF_TREATMENT)
    planned = records.filter(pl.col("avisit").is_not_null(), observed)
    is_alone = planned.select("usubjid", *keys).is_duplicated().not_()
    return planned.filter(is_alone | (planned["anl01fl"] == "Y").fill_null(value=False))


def summaries_by(
    population: Population, records: pl.DataFrame, value: str, keys: Sequence[str]
) -> Iterator[tuple[dict[str, Any], str, Summary]]:
    """Summarise a value by keys, in their order in the records, and by column of the table.

    A participant of the population without a record counts as missing.

    Raises
    ------
    AnalysisError
        If a participant has two records of the same keys: their mean would count them twice.
    """
    repeated = records.filter(records.select("usubjid", *keys).is_duplicated())
    if repeated.height:
        first = repeated.row(0, named=True)
        where = ", ".join(f"{key} {first[key]}" for key in keys)
        raise AnalysisError(
            f"{value}: {first['usubjid']} has more than one record of {where}: one is allowed"
        )
    of = {column: population.n(column) for column in population.columns}
    for key, group in _partitioned(records, keys):
        arms = _partitioned(group, ["arm"])
        parts = {name: part for (name,), part in arms} | {TOTAL: group}
        for column in population.columns:
            part = parts.get(column)
            values = group[value].clear() if part is None else part[value]
            summary = described(values.cast(pl.Float64), of[column] - values.len())
            yield dict(zip(keys, key, strict=True)), column, summary


def _partitioned(
    records: pl.DataFrame, keys: Sequence[str]
) -> Iterator[tuple[tuple[Any, ...], pl.DataFrame]]:
    if not keys:
        yield (), records
        return
    yield from records.partition_by(list(keys), as_dict=True, maintain_order=True).items()


def summary_rows(
    address: Address, summary: Mapping[str, float | None], *, context: str = "continuous"
) -> Iterator[dict[str, Any]]:
    """Write a summary; without values only their number, with one no standard deviation, both said."""
    counts = {name: summary[name] for name in ("N_obs", "N_miss")}
    warning = None if summary["N_obs"] else "nobody has a value"
    yield from statistics(address.at(unit=None), context, counts, warning=warning)
    if not summary["N_obs"]:
        return
    lone = "one value has no standard deviation" if summary["sd"] is None else None
    yield from statistics(address, context, {"mean": summary["mean"]})
    yield from statistics(address, context, {"sd": summary["sd"]}, warning=lone)
    for names, method in _AFTER_SD:
        yield from statistics(address, context, {name: summary[name] for name in names}, method=method)
