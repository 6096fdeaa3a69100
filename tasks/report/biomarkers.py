"""Biomarkers: what changes with the score, and what stood high or low before it changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from tasks.report.forest import Effect, forest
from tasks.report.molecular_response import preferred_scorer, shown
from tasks.report.section import About, Frames, Section
from tasks.report.tables import Column, folded, numeric, plain, prose, table
from tasks.report.wording import capitalised, count, escape, integer, interval, number, p_value, verb

RESPONSE = "results.biomarker_response"
BASELINE = "results.baseline_predictors"
FALSE_DISCOVERY_RATE = 0.05
MOST_DRAWN = 25
_MEASURES = {"lesional": "lesional", "non_lesional": "non-lesional", "difference": "difference of both"}

Row = Mapping[str, Any]


def write(frames: Frames, about: About) -> str:
    rows = frames[RESPONSE]
    if rows.is_empty():
        return "<p>Nothing is set against a score in this version.</p>"
    return "".join(
        [_opening(rows), _forest(rows, about), _table(rows, about), _baseline(frames.get(BASELINE), about)]
    )


def _opening(rows: pl.DataFrame) -> str:
    first = rows.row(0, named=True)
    tested = rows.filter(pl.col("status") == "tested")
    called = tested.filter(pl.col("p_adjusted") < FALSE_DISCOVERY_RATE)
    families = tested["family"].n_unique()
    change = "percent change" if first["variable"] == "pchg" else "change"
    n = int(rows["n_subjects"].max() or 0)  # type: ignore[arg-type]
    return (
        f"<p>The {change} of {escape(first['score'])} to {escape(first['visit'])} set against the change of"
        f" each signature and gene of interest in the same {count(n, 'patient')}, by rank correlation."
        f" Positive: it falls as the score falls. Of {count(tested.height, 'correlation')},"
        f" {integer(called.height)} {verb(called.height, 'has', 'have')} an adjusted p below"
        f" {FALSE_DISCOVERY_RATE:g} ({count(families, 'family', 'families')}: each way of scoring,"
        " and the genes)."
        " That two things change together does not say that one moves the other.</p>"
        + (f'<p class="note">{escape(capitalised(first["warning"]))}.</p>' if first["warning"] else "")
        + f'<p class="note wide-note">{escape(capitalised(first["method"]))}.</p>'
    )


def _forest(rows: pl.DataFrame, about: About) -> str:
    drawn = shown(rows).filter(pl.col("rho").is_not_null()).sort("p_value", "name").head(MOST_DRAWN)
    effects = [
        Effect(
            label=str(row["name"]),
            estimate=row["rho"],
            low=row["interval_low"],
            high=row["interval_high"],
            p_value=row["p_value"],
            is_primary=row["p_adjusted"] < FALSE_DISCOVERY_RATE,
        )
        for row in drawn.iter_rows(named=True)
    ]
    scorer = preferred_scorer(rows)
    scored = f" Signatures scored by {scorer}." if scorer else ""
    return forest(
        "biomarker_response_forest",
        effects,
        axis="Rank correlation with the score (rho)",
        caption=f"Correlations with intervals and exact or permutation p, surest first.{scored}"
        f" Diamond: p adjusted below {FALSE_DISCOVERY_RATE:g}.",
        about=about,
    )


def _table(rows: pl.DataFrame, about: About) -> str:
    made = table(
        "biomarker_response_table",
        rows.sort("p_value", "name", "scorer", nulls_last=True),
        [
            plain("Name", "name"),
            Column("Scored by", lambda row: str(row["scorer"] or row["kind"])),
            *_correlation(),
            Column(
                "Without one patient",
                lambda row: interval(row["rho_without_one_low"], row["rho_without_one_high"], 2),
                align="right",
            ),
            plain("Who counts most", "influential_subject"),
            prose("Not tested because", lambda row: str(row["reason"] or "")),
        ],
        caption="Change with the score: rank correlations, and how far one patient moves them",
        about=about,
        whole_table=RESPONSE,
    )
    return folded(f"All correlations ({integer(rows.height)})", made)


def _correlation() -> list[Column]:
    return [
        numeric("rho", "rho", lambda value: number(value, 2)),
        Column("Interval", lambda row: interval(row["interval_low"], row["interval_high"], 2), align="right"),
        numeric("p", "p_value", p_value),
        numeric("p adjusted", "p_adjusted", p_value),
        numeric("n", "n_subjects"),
    ]


def _baseline(rows: pl.DataFrame | None, about: About) -> str:
    if rows is None or rows.is_empty():
        return ""
    tested = rows.filter(pl.col("status") == "tested")
    called = tested.filter(pl.col("p_adjusted") < FALSE_DISCOVERY_RATE)
    by_chance = tested.filter(pl.col("p_value") < FALSE_DISCOVERY_RATE).height
    measures = ", ".join(_MEASURES[name] for name in _MEASURES if name in set(rows["measure"]))
    warning = str(rows["warning"].drop_nulls()[0])
    said = (
        f"<h3>Before treatment</h3><p>Levels before treatment ({measures}) against the same change of the"
        f" score. Positive: the higher before, the less the score fell. Of"
        f" {count(tested.height, 'correlation')} {integer(called.height)}"
        f" {verb(called.height, 'has', 'have')} an adjusted p below"
        f" {FALSE_DISCOVERY_RATE:g}; {integer(by_chance)} {verb(by_chance, 'lies', 'lie')} below it without"
        f" adjustment, where {number(FALSE_DISCOVERY_RATE * tested.height, 1)} would by chance alone.</p>"
        f'<p class="note"><strong>{escape(capitalised(warning))}.</strong></p>'
    )
    made = table(
        "baseline_predictors_table",
        rows.sort("p_value", "name", "scorer", "measure", nulls_last=True),
        [
            plain("Name", "name"),
            Column("Scored by", lambda row: str(row["scorer"] or row["kind"])),
            Column("Tissue", lambda row: _MEASURES[str(row["measure"])]),
            *_correlation(),
        ],
        caption="Levels before treatment and the change that followed, exploratory",
        about=about,
        whole_table=BASELINE,
    )
    return said + folded(f"All levels before treatment ({integer(rows.height)})", made)


SECTION = Section("biomarkers", "Biomarkers and response", (RESPONSE,), write, uses=(BASELINE,))
