"""Primary result: every participant's change, and every test of it with its method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from tasks.report.charts import BETTER, INK, NARROW, WORSE, Drawing, figure
from tasks.report.section import About, Frames, Section
from tasks.report.tables import Column, numeric, prose, table
from tasks.report.wording import (
    ABSENT,
    capitalised,
    count,
    escape,
    integer,
    interval,
    number,
    p_value,
    verb,
)

MOST_NAMED_PARTICIPANTS = 40

Row = Mapping[str, Any]


def headline(endpoint: pl.DataFrame) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the primary test, and the estimate told beside it.

    Percent change is what the field reports, whatever scale the test was made on; without it the mean of
    what was tested is told.
    """
    tests = endpoint.filter(pl.col("is_primary"))
    test = tests.row(0, named=True) if tests.height else None
    means = endpoint.filter((pl.col("statistic") == "mean_t_interval") & pl.col("estimate").is_not_null())
    if test:
        means = means.filter(pl.col("paramcd") == test["paramcd"], pl.col("avisit") == test["avisit"])
    told = means.sort((pl.col("variable") == "PCHG").not_(), maintain_order=True)
    return test, told.row(0, named=True) if told.height else None


def method_in_words(row: Row) -> str:
    """Name the test so that its p-value can be found again: exactness, correction and sides included."""
    method = str(row["method"])
    details = []
    if row["is_exact"] and "exact" not in method.lower():
        details.append("exact")
    if row["has_continuity_correction"] and "continuity" not in method.lower():
        details.append("continuity-corrected")
    if row["alternative"]:
        details.append(str(row["alternative"]))
    return capitalised(", ".join([method, *details]))


def write(frames: Frames, about: About) -> str:
    endpoint = frames["results.primary_endpoint"]
    parts = []
    if "reports.waterfall" in frames:
        parts += _waterfalls(frames["reports.waterfall"], about)
    parts.append(_tests(frames["reports.primary_tests"], about))
    parts.append(_honesty(endpoint))
    parts.append(_estimates(frames["reports.primary_estimates"], about))
    if "reports.primary_summary" in frames:
        parts.append(_summary(frames["reports.primary_summary"], about))
    return "".join(parts)


def _waterfalls(changes: pl.DataFrame, about: About) -> list[str]:
    """Draw one waterfall for each arm, for a fall in one arm is not evidence about another."""
    if changes.is_empty():
        return ["<p>No participant has a value at the primary visit.</p>"]
    arms = changes["trt01a"].unique().sort().to_list()
    # Arms are compared by eye, so they share one axis.
    drawn = changes["pchg"].drop_nulls().to_numpy()
    span = (float(drawn.min(initial=0)), float(drawn.max(initial=0)))
    if len(arms) <= 1:
        return [_waterfall("waterfall", "", changes, span, about)]
    return [
        _waterfall(
            f"waterfall-{place}", f"{arm}: ", changes.filter(pl.col("trt01a").eq_missing(arm)), span, about
        )
        for place, arm in enumerate(arms, start=1)
    ]


def _waterfall(name: str, arm: str, changes: pl.DataFrame, span: tuple[float, float], about: About) -> str:
    drawn = changes.filter(pl.col("pchg").is_not_null()).sort("position")
    undefined = changes.height - drawn.height
    note = (
        f'<p class="note">{count(undefined, "participant")} {verb(undefined, "has", "have")} no percent'
        " change, because the baseline is zero or missing.</p>"
        if undefined
        else ""
    )
    if drawn.is_empty():
        return f"<p>{escape(arm)}no participant has a percent change at the primary visit.</p>{note}"
    first = drawn.row(0, named=True)
    improved = int(drawn["is_improved"].sum())
    lowest, highest = number(drawn["pchg"].min(), 1), number(drawn["pchg"].max(), 1)  # type: ignore[arg-type]
    data = drawn.with_columns(
        pl.when("is_improved").then(pl.lit("Better")).otherwise(pl.lit("Not better")).alias("direction"),
        pl.col("pchg").map_elements(lambda value: number(value, 0), pl.String).alias("label"),
    )
    says = (
        f"Waterfall chart. {arm}{first['param']}, percent change at {first['avisit']}, one bar for each of"
        f" {count(drawn.height, 'participant')}: {improved} improved; from {lowest} to {highest} percent."
    )
    caption = (
        f"{arm}{first['param']}: percent change from baseline to {first['avisit']}, one bar per participant"
        f" (n = {integer(drawn.height)}, {integer(improved)} improved). Negative is lower than at baseline."
    )
    return (
        figure(
            name, lambda width: _draw_waterfall(data, span, width), says=says, caption=caption, about=about
        )
        + note
    )


def _draw_waterfall(data: pl.DataFrame, span: tuple[float, float], width: int) -> Drawing:
    named = data.height <= MOST_NAMED_PARTICIPANTS
    axis = (
        alt.Axis(labelAngle=-90 if width == NARROW or data.height > MOST_NAMED_PARTICIPANTS / 2 else -40)
        if named
        else None
    )
    lowest, highest = span
    room = 0.09 * max(highest, 0.0, highest - lowest, -lowest)
    base = alt.Chart(data).encode(
        x=alt.X("usubjid:N", sort=data["usubjid"].to_list(), title=None, axis=axis),
        y=alt.Y(
            "pchg:Q",
            title="Change from baseline (%)",
            scale=alt.Scale(domain=[min(lowest - room, 0), max(highest + room, 0)], nice=False),
        ),
    )
    bars = base.mark_bar(cornerRadius=1).encode(
        color=alt.Color(
            "direction:N",
            scale=alt.Scale(domain=["Better", "Not better"], range=[BETTER, WORSE]),
        )
    )
    zero = alt.Chart(pl.DataFrame({"zero": [0.0]})).mark_rule(color=INK).encode(y="zero:Q")
    layers = [bars, zero]
    if named and (width != NARROW or data.height <= MOST_NAMED_PARTICIPANTS / 2):
        letters = 11 if width != NARROW else 9
        layers += [
            base.transform_filter(keep)
            .mark_text(dy=offset, fontSize=letters, color=INK)
            .encode(text="label:N")
            for keep, offset in (("datum.pchg >= 0", -8), ("datum.pchg < 0", 10))
        ]
    return alt.layer(*layers).properties(width=width, height=340 if width != NARROW else 300)


def _tests(tests: pl.DataFrame, about: About) -> str:
    made = table(
        "tests",
        tests.sort("position"),
        [
            Column("Test", _test, is_markup=True),
            Column("Of", lambda row: str(row["variable"])),
            numeric("n", "n"),
            numeric("Statistic", "test_statistic", lambda value: number(value, 2)),
            numeric("df", "df", lambda value: ABSENT if value is None else f"{value:g}"),
            numeric("p", "p_value", p_value),
            Column("Exact", lambda row: {True: "yes", False: "no"}.get(row["is_exact"], ABSENT)),
            Column("Zero differences", _zeros),
            Column("Ties", lambda row: row["tie_rule"] or ABSENT),
        ],
        caption="Every test of the primary endpoint, with what its p-value depends on",
        about=about,
        emphasise=lambda row: bool(row["is_primary"]),
    )
    said = [
        part for warning in tests.sort("position")["warning"].drop_nulls() for part in warning.split("; ")
    ]
    warnings = "".join(f"<li>{escape(capitalised(each))}.</li>" for each in dict.fromkeys(said) if each)
    return made + (f'<ul class="note">{warnings}</ul>' if warnings else "")


def _test(row: Row) -> str:
    said = method_in_words(row)
    if row["n_resamples"]:
        said += f"; {integer(row['n_resamples'])} resamples, seed {row['seed']}"
    primary = ' <span class="tag primary">primary</span>' if row["is_primary"] else ""
    return f'<div class="prose">{escape(said)}{primary}</div>'


def _zeros(row: Row) -> str:
    rule = row["zero_rule"] or ABSENT
    return f"{row['n_zero']}, {rule}" if row["n_zero"] else f"none ({rule})"


def _honesty(endpoint: pl.DataFrame) -> str:
    """Say what the number of participants allows before anyone reads too much into a p-value."""
    primary = endpoint.filter(pl.col("is_primary"))
    if primary.is_empty():
        return ""
    variable = primary.row(0, named=True)["variable"]
    about = {
        row["statistic"]: row
        for row in endpoint.filter(
            pl.col("variable") == variable, pl.col("estimate").is_not_null()
        ).to_dicts()
    }
    said = []
    if "smallest_attainable_p" in about:
        row = about["smallest_attainable_p"]
        said.append(
            f"With {integer(row['n'])} participants the smallest p-value that an exact signed-rank test can"
            f" reach is {escape(p_value(row['estimate']))}."
        )
    if "minimum_detectable_d_z" in about:
        row = about["minimum_detectable_d_z"]
        said.append(
            f"The smallest standardised change that a paired t-test finds with 80 % power is d<sub>z</sub> ="
            f" {number(row['estimate'], 2)}."
        )
    said.append(
        "The comparison is with the same participants before treatment, so natural course and regression"
        " to the mean are part of the change."
    )
    return f'<p class="note wide-note">{" ".join(said)}</p>'


def _estimates(estimates: pl.DataFrame, about: About) -> str:
    return table(
        "estimates",
        estimates.sort("position"),
        [
            prose("Estimate", lambda row: row["statistic_label"]),
            Column("Of", lambda row: str(row["variable"])),
            numeric("n", "n"),
            numeric("Value", "estimate", lambda value: number(value, 2)),
            numeric("SE", "standard_error", lambda value: number(value, 2)),
            Column("Interval", lambda row: interval(row["ci_low"], row["ci_high"], 2), align="right"),
            Column("Level", _level, align="right"),
            Column("Unit", lambda row: row["unit"] or ABSENT),
            prose("Method", lambda row: capitalised(row["method"] or ABSENT)),
        ],
        caption="Estimates of the change from baseline (negative is lower than at baseline)",
        about=about,
    )


def _level(row: Row) -> str:
    return ABSENT if row["ci_low"] is None else f"{100 * row['ci_level']:g} %"


def _summary(summary: pl.DataFrame, about: About) -> str:
    def to_one_decimal(value: float | None) -> str:
        return number(value, 1)

    return table(
        "summary_statistics",
        summary.sort("position"),
        [
            Column("Of", lambda row: f"{_VARIABLES.get(row['variable'], row['variable'])} ({row['unit']})"),
            numeric("n", "n"),
            *(
                numeric(heading, name, to_one_decimal)
                for heading, name in (
                    ("Mean", "mean"),
                    ("SD", "sd"),
                    ("Minimum", "min"),
                    ("First quartile", "q1"),
                    ("Median", "median"),
                    ("Third quartile", "q3"),
                    ("Maximum", "max"),
                )
            ),
        ],
        caption="The score in numbers",
        about=about,
    )


_VARIABLES = {"BASE": "Baseline", "AVAL": "Visit", "CHG": "Change", "PCHG": "Percent change"}

SECTION = Section(
    name="primary_result",
    title="Primary result",
    needs=("results.primary_endpoint", "reports.primary_tests", "reports.primary_estimates"),
    write=write,
    uses=("reports.primary_summary", "reports.waterfall"),
)
