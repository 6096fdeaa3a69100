"""Analysis results data: one row per statistic, in the shape that the R package cards and CDISC ARS share."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from warehouse.study import Estimand

SCHEMA: dict[str, type[pl.DataType]] = {
    "analysis": pl.String,
    "position": pl.Int64,
    "estimand": pl.String,
    "population": pl.String,
    "family": pl.String,
    "group1": pl.String,
    "group1_level": pl.String,
    "group1_reference": pl.String,
    "group2": pl.String,
    "group2_level": pl.String,
    "group3": pl.String,
    "group3_level": pl.String,
    "variable": pl.String,
    "variable_label": pl.String,
    "variable_level": pl.String,
    "context": pl.String,
    "stat_name": pl.String,
    "stat_label": pl.String,
    "stat": pl.Float64,
    "stat_text": pl.String,
    "unit": pl.String,
    "method": pl.String,
    "is_confirmatory": pl.Boolean,
    "warning": pl.String,
    "error": pl.String,
}

# One address, one number.
KEY = (
    "analysis", "estimand", "group1", "group1_level", "group1_reference", "group2", "group2_level", "group3",
    "group3_level", "variable", "variable_level", "context", "stat_name",
)  # fmt: skip

TOTAL = "Total"

# Names as in the R packages cards and cardx, where they have one.
LABELS: dict[str, str] = {
    "N": "Participants in the population",
    "n": "Participants",
    "p": "Proportion",
    "n_events": "Events",
    "N_obs": "Values",
    "N_miss": "Missing",
    "mean": "Mean",
    "sd": "Standard deviation",
    "median": "Median",
    "p25": "First quartile",
    "p75": "Third quartile",
    "min": "Minimum",
    "max": "Maximum",
    "estimate": "Estimate",
    "std.error": "Standard error",
    "conf.low": "Lower confidence limit",
    "conf.high": "Upper confidence limit",
    "conf.level": "Confidence level",
    "statistic": "Test statistic",
    "df": "Degrees of freedom",
    "df2": "Denominator degrees of freedom",
    "p.value": "p-value",
    "p.value.adjusted": "p-value, adjusted in its family",
    "n_resamples": "Resamples",
    "seed": "Seed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What a statistic is about: estimand, groups, variable and its level."""

    estimand: Estimand
    group1: str | None = None
    group1_level: str | None = None
    group1_reference: str | None = None
    group2: str | None = None
    group2_level: str | None = None
    group3: str | None = None
    group3_level: str | None = None
    variable: str
    variable_label: str | None = None
    variable_level: str | None = None
    unit: str | None = None

    def at(self, **changed: str | None) -> Address:
        """Return this address with some of its parts changed."""
        return replace(self, **changed)  # type: ignore[arg-type]


def statistics(
    address: Address,
    context: str,
    values: Mapping[str, float | str | None],
    *,
    labels: Mapping[str, str] | None = None,
    method: str | None = None,
    is_confirmatory: bool = False,
    warning: str | None = None,
    error: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Write one row for each statistic of one address and context.

    A value that is not finite or None becomes null and needs `error` or `warning` to say why; text goes to
    `stat_text`. `is_confirmatory` marks the p-value that the estimand's family adjusts. `labels` are for
    statistics that `LABELS` does not know.
    """
    known = {**LABELS, **(labels or {})}
    for name, value in values.items():
        number = float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
        if number is None and not isinstance(value, str) and not (warning or error):
            raise ValueError(f"{context}: {name}: {value}: a missing statistic must say why")
        yield {
            "estimand": address.estimand.id,
            "population": address.estimand.population,
            "family": address.estimand.family if is_confirmatory and name == "p.value" else None,
            "group1": address.group1,
            "group1_level": address.group1_level,
            "group1_reference": address.group1_reference,
            "group2": address.group2,
            "group2_level": address.group2_level,
            "group3": address.group3,
            "group3_level": address.group3_level,
            "variable": address.variable,
            "variable_label": address.variable_label,
            "variable_level": address.variable_level,
            "context": context,
            "stat_name": name,
            "stat_label": known[name],
            "stat": number,
            "stat_text": value if isinstance(value, str) else None,
            "unit": address.unit,
            "method": method,
            "is_confirmatory": is_confirmatory and name == "p.value",
            "warning": warning,
            "error": error,
        }


def table(analysis: str, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Gather the rows of an analysis in their order, and refuse two numbers at one address."""
    frame = pl.DataFrame(
        [{"analysis": analysis, "position": place, **row} for place, row in enumerate(rows, start=1)],
        schema=SCHEMA,
        orient="row",
    )
    repeated = frame.filter(frame.select(KEY).is_duplicated())
    if repeated.height:
        first = {name: value for name, value in repeated.select(KEY).row(0, named=True).items() if value}
        raise ValueError(f"{analysis}: {repeated.height} rows share an address; the first: {first}")
    return frame


def described(values: pl.Series, n_missing: int = 0) -> dict[str, float | None]:
    """Summarise numbers as clinical tables do; quartiles by SAS's definition 5."""
    known = values.drop_nulls().sort()
    n = known.len()
    summary: dict[str, float | None] = {"N_obs": float(n), "N_miss": float(values.null_count() + n_missing)}
    if n == 0:
        return summary | dict.fromkeys(("mean", "sd", "median", "p25", "p75", "min", "max"))
    return summary | {
        "mean": float(known.mean()),  # type: ignore[arg-type]
        "sd": float(known.std()) if n > 1 else None,  # type: ignore[arg-type]
        "median": _quantile(known, 0.5),
        "p25": _quantile(known, 0.25),
        "p75": _quantile(known, 0.75),
        "min": float(known[0]),
        "max": float(known[-1]),
    }


def _quantile(ordered: pl.Series, share: float) -> float:
    """Return a quantile of sorted numbers as the average of the two where the share falls between them."""
    place = ordered.len() * share
    whole = round(place)
    if abs(place - whole) < 1e-9:  # noqa: PLR2004 - a share of a count is a whole number but for rounding
        return (float(ordered[whole - 1]) + float(ordered[min(whole, ordered.len() - 1)])) / 2
    return float(ordered[math.ceil(place) - 1])
