"""Molecular response: how much of the lesion is gone, in the cohort and in each patient, and what is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from tasks.report.charts import BETTER, INK, MUTED, WORSE, Drawing, figure
from tasks.report.forest import Effect, forest
from tasks.report.section import About, Frames, Section
from tasks.report.tables import Column, folded, numeric, plain, prose, table
from tasks.report.wording import (
    ABSENT,
    capitalised,
    count,
    escape,
    gene,
    integer,
    interval,
    number,
    p_value,
    verb,
)

RESPONSE = "results.molecular_response"
RESIDUAL = "results.residual_disease_profile"
# A signature has a row for each way of scoring it; one is enough to look at.
SCORERS = ("gsva", "mean_z", "ssgsea")
SIGNATURES_DRAWN = 20
RESIDUAL_SHOWN = 25
ALL_GENES = "disease genes"

Row = Mapping[str, Any]


def preferred_scorer(rows: pl.DataFrame) -> str | None:
    """Return the scorer that is shown: the first of those in use by a fixed order."""
    used = set(rows["scorer"].drop_nulls())
    return next((name for name in (*SCORERS, *sorted(used)) if name in used), None)


def shown(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of one scorer with the genes and profiles, which have none."""
    one = pl.lit(preferred_scorer(rows), dtype=pl.String)
    return rows.filter(pl.col("scorer").is_null() | pl.col("scorer").eq_missing(one))


def write(frames: Frames, about: About) -> str:
    rows = frames[RESPONSE]
    if rows.is_empty():
        return "<p>Nothing has a molecular response in this version.</p>"
    cohort = rows.filter(pl.col("level") == "cohort")
    parts = [
        _opening(cohort),
        _forest(cohort, about),
        _patients(rows, about),
        folded("All signatures, protected genes and disease genes", _table(cohort, about)),
        _residual(frames.get(RESIDUAL), about),
    ]
    return "".join(parts)


def _opening(cohort: pl.DataFrame) -> str:
    first = cohort.row(0, named=True)
    profile = cohort.filter(pl.col("name") == ALL_GENES, pl.col("kind") == "profile").row(0, named=True)
    left_out = (
        f" Without one of the three biopsies: {escape(first['left_out_subjects'])}."
        if first["left_out_subjects"]
        else ""
    )
    if profile["improvement_pct"] is None:
        said = f"For the profile of the disease there is no number: {escape(profile['reason'])}."
    else:
        said = (
            f"Over {count(profile['n_genes'], 'disease gene')} {number(profile['improvement_pct'], 0)} % of"
            f" the difference is gone{_limits(profile)}."
        )
    return (
        "<p>The part of the lesion's difference from non-lesional tissue before treatment that is gone after"
        " it: 0 % is no change, 100 % the non-lesional level, more is overshoot and less than 0 % worse."
        f" {capitalised(said)} {count(int(cohort['n_subjects'].max() or 0), 'patient')}.{left_out}</p>"  # type: ignore[arg-type]
        + (f'<p class="note">{escape(capitalised(first["warning"]))}.</p>' if first["warning"] else "")
        + f'<p class="note wide-note">{escape(capitalised(first["method"]))}.</p>'
    )


def _limits(row: Row) -> str:
    if row["interval_low"] is None:
        return ""
    level = f"{100 * row['confidence_level']:g}"
    return f" ({level} % interval {interval(row['interval_low'], row['interval_high'], 0)} %)"


def _of_interest(cohort: pl.DataFrame) -> pl.DataFrame:
    """Return profile, signatures and protected genes: not the hundreds of other disease genes."""
    rows = shown(cohort)
    signatures = rows.filter(pl.col("kind") == "signature")
    genes = rows.filter(pl.col("is_protected")).sort("name", "feature_id")
    largest_first = signatures.sort(pl.col("disease_difference").abs(), "name", descending=[True, False])
    profile = rows.filter(pl.col("kind") == "profile").sort("name")
    return pl.concat([profile, largest_first.head(SIGNATURES_DRAWN), genes])


def _forest(cohort: pl.DataFrame, about: About) -> str:
    drawn = _of_interest(cohort).filter(pl.col("improvement_pct").is_not_null())
    effects = [
        Effect(
            label=capitalised(str(row["name"])),
            estimate=row["improvement_pct"],
            low=row["interval_low"],
            high=row["interval_high"],
            is_primary=row["kind"] == "profile",
        )
        for row in drawn.iter_rows(named=True)
    ]
    scorer = preferred_scorer(cohort)
    scored = f" Signatures scored by {scorer}." if scorer else ""
    return forest(
        "molecular_response_forest",
        effects,
        axis="Improvement towards non-lesional tissue (%)",
        caption=f"Improvement of the cohort with intervals from resampled patients.{scored}",
        about=about,
    )


def _patients(rows: pl.DataFrame, about: About) -> str:
    own = rows.filter(
        pl.col("level") == "patient",
        pl.col("kind") == "profile",
        pl.col("name") == ALL_GENES,
        pl.col("improvement_pct").is_not_null(),
    ).sort("improvement_pct", "usubjid", descending=[True, False])
    if own.is_empty():
        return ""
    told = "; ".join(f"{row['usubjid']} {number(row['improvement_pct'], 0)} %" for row in own.to_dicts())
    return figure(
        "molecular_response_patients",
        lambda width: _bars(own, width),
        says=f"Improvement of the disease genes by patient, best first: {told}.",
        caption="Improvement of the disease genes in each patient, best first. Dashed: non-lesional level.",
        about=about,
    )


def _bars(own: pl.DataFrame, width: int) -> Drawing:
    data = own.select(
        "usubjid",
        "improvement_pct",
        side=pl.when(pl.col("improvement_pct") < 0).then(pl.lit("worse")).otherwise(pl.lit("better")),
    )
    highest = max(110.0, float(data["improvement_pct"].max() or 0) * 1.05)  # type: ignore[arg-type]
    lowest = min(0.0, float(data["improvement_pct"].min() or 0) * 1.1)  # type: ignore[arg-type]
    y = alt.Y(
        "improvement_pct:Q", title="Improvement (%)", scale=alt.Scale(domain=[lowest, highest], nice=False)
    )
    bars = (
        alt.Chart(data)
        .mark_bar(opacity=0.85)
        .encode(
            x=alt.X("usubjid:N", sort=data["usubjid"].to_list(), title=None, axis=alt.Axis(labelAngle=-90)),
            y=y,
            color=alt.Color(
                "side:N", legend=None, scale=alt.Scale(domain=["better", "worse"], range=[BETTER, WORSE])
            ),
        )
    )
    healthy = (
        alt.Chart(pl.DataFrame({"level": [100.0]}))
        .mark_rule(color=MUTED, strokeDash=[4, 3])
        .encode(y="level:Q")
    )
    zero = alt.Chart(pl.DataFrame({"level": [0.0]})).mark_rule(color=INK).encode(y="level:Q")
    return alt.layer(bars, healthy, zero).properties(width=width, height=260)


def _table(cohort: pl.DataFrame, about: About) -> str:
    other = cohort.filter(pl.col("kind") != "gene")
    genes = cohort.filter(pl.col("kind") == "gene").sort(
        "is_protected", pl.col("disease_difference").abs(), "feature_id", descending=[True, True, False]
    )
    kind = pl.col("kind").replace_strict({"profile": 0, "signature": 1}, default=2)
    return table(
        "molecular_response_table",
        pl.concat([other.sort(kind, "name", "scorer", nulls_last=True), genes]),
        [
            plain("Name", "name"),
            Column("Scored by", lambda row: str(row["scorer"] or row["kind"])),
            numeric("Lesional - non-lesional", "disease_difference", lambda value: number(value, 2)),
            numeric("Change", "treatment_change", lambda value: number(value, 2)),
            numeric("Improvement, %", "improvement_pct", lambda value: number(value, 0)),
            Column(
                "Interval", lambda row: interval(row["interval_low"], row["interval_high"], 0), align="right"
            ),
            numeric("Mean of the patients' own, %", "mean_of_ratios_pct", lambda value: number(value, 0)),
            Column(
                "Patients",
                lambda row: f"{integer(row['n_ratios'])} of {integer(row['n_subjects'])}",
                align="right",
            ),
            prose("Without number or interval because", lambda row: str(row["reason"] or "")),
        ],
        caption="Improvement of the cohort; the patients' own mean is of those who have a percentage",
        about=about,
        whole_table=RESPONSE,
    )


def _residual(profile: pl.DataFrame | None, about: About) -> str:
    if profile is None:
        return ""
    heading = "<h3>What is left of the disease</h3>"
    if profile.is_empty():
        return heading + "<p>No gene is called in the disease contrast, so there is nothing to follow.</p>"
    first = profile.row(0, named=True)
    by_estimate = int(profile["is_residual"].fill_null(value=False).sum())
    outcomes = {
        str(row["outcome"]): int(row["len"]) for row in profile["outcome"].value_counts(name="len").to_dicts()
    }
    sure = ", ".join(
        f"{integer(outcomes.get(name, 0))} {name}"
        for name in ("residual", "improved", "overshoot", "uncertain")
    )
    kept = profile.filter(pl.col("outcome") == "residual").sort(
        pl.col("residual_log2_fold_change").abs(),
        "improvement_pct",
        descending=[True, False],
        nulls_last=True,
    )
    said = (
        f"<p>Of {count(profile.height, 'disease gene')}, {integer(by_estimate)}"
        f" {verb(by_estimate, 'has', 'have')} improved by less than {number(first['threshold_pct'], 0)} %. By"
        f" the whole interval of each gene: {sure}. Intervals are of each gene by itself.</p>"
    )
    return (
        heading
        + said
        + table(
            "residual_disease",
            kept.head(RESIDUAL_SHOWN),
            [
                Column("Gene", lambda row: gene(dict(row))),
                Column("In the lesion", lambda row: str(row["disease_direction"])),
                numeric("log2 FC, disease", "disease_log2_fold_change", lambda value: number(value, 2)),
                numeric("log2 FC, left", "residual_log2_fold_change", lambda value: number(value, 2)),
                numeric("p adjusted, left", "residual_p_adjusted", p_value),
                numeric("Improvement, %", "improvement_pct", lambda value: number(value, 0)),
                Column(
                    "Interval",
                    lambda row: (
                        ABSENT
                        if row["interval_low"] is None
                        else interval(row["interval_low"], row["interval_high"], 0)
                    ),
                    align="right",
                ),
            ],
            caption="Residual disease genes, the largest difference left first"
            f" ({integer(min(kept.height, RESIDUAL_SHOWN))} of {integer(kept.height)})",
            about=about,
            whole_table=RESIDUAL,
        )
    )


SECTION = Section("molecular_response", "Molecular response", (RESPONSE,), write, uses=(RESIDUAL,))
