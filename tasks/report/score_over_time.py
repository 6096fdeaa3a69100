"""Score over time: every participant's course, and the longitudinal model's means over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt
import polars as pl

from tasks.report.charts import INK, MUTED, NARROW, SERIES, Drawing, figure
from tasks.report.section import About, Frames, Section
from tasks.report.statistics_cells import cells
from tasks.report.tables import Column, numeric, table
from tasks.report.wording import ABSENT, capitalised, count, escape, integer, interval, number, p_value

COURSE = "reports.score_over_time"
MEANS = "reports.model_means_over_time"
RESULT = "results.score_over_time"
MANY_PARTICIPANTS = 40
_LABELS = {"aval": "{param}", "chg": "Change of {param}", "pchg": "Percent change of {param}"}
_AXES = {"aval": "Score", "chg": "Change from baseline", "pchg": "Change from baseline"}

Variable = Literal["aval", "chg", "pchg"]
Row = Mapping[str, Any]


def write(frames: Frames, about: About) -> str:
    course = frames[COURSE].filter(pl.col("aval").is_not_null()).sort("avisitn", "usubjid")
    means = frames.get(MEANS)
    parts = []
    if course.is_empty():
        parts.append("<p>No participant has a value of the primary score.</p>")
    else:
        parts.append(_figure(course, _of_score(means, course), about))
    if means is not None and not means.is_empty():
        parts += [_means(means, about), _model(frames.get(RESULT))]
    return "".join(parts)


def _of_score(means: pl.DataFrame | None, course: pl.DataFrame) -> pl.DataFrame | None:
    """Return the means of the first estimand that models the score drawn, in the arms drawn."""
    if means is None:
        return None
    own = means.filter(
        pl.col("kind") == "mean",
        pl.col("paramcd") == course["paramcd"][0],
        pl.col("estimate").is_not_null(),
        pl.col("arm").is_in(course["trt01a"].drop_nulls().unique().to_list()),
    )
    return own.filter(pl.col("estimand") == own["estimand"][0]) if own.height else None


@dataclass(frozen=True, slots=True)
class _Course:
    """What is drawn: participants' values of one variable, and the means over them with their interval."""

    values: pl.DataFrame
    means: pl.DataFrame
    variable: Variable
    title: str
    axis: str
    visits: list[str]
    arms: list[str]


def _figure(course: pl.DataFrame, model: pl.DataFrame | None, about: About) -> str:
    first = course.row(0, named=True)
    drawn = _course(course, model, first)
    means = "; ".join(
        f"{row['arm'] + ' ' if len(drawn.arms) > 1 else ''}{row['avisit']} {number(row['estimate'], 1)}"
        for row in drawn.means.to_dicts()
    )
    n = integer(drawn.values["usubjid"].n_unique())
    thick = (
        "the mean of those seen drawn thick"
        if model is None
        else f"the model's means with their {100 * (model['ci_level'][0] or 0):g} % intervals drawn thick"
    )
    return figure(
        "score_course",
        lambda width: _draw(drawn, width),
        says=f"{drawn.title} over time, a thin line for each of {n} participants. Means: {means}.",
        caption=f"{drawn.title} at each visit: a thin line per participant (n = {n}), {thick}.",
        about=about,
    )


def _course(course: pl.DataFrame, model: pl.DataFrame | None, first: Row) -> _Course:
    variable: Variable = "aval" if model is None else model["variable"][0].lower()
    values = course.with_columns(pl.col(variable).alias("value"), pl.col("trt01a").alias("arm")).filter(
        pl.col("value").is_not_null()
    )
    visits = course.select("avisit", "avisitn").unique().sort("avisitn")["avisit"].to_list()
    if model is None:
        means = values.group_by("arm", "avisit", "avisitn").agg(pl.col("value").mean().alias("estimate"))
        means = means.sort("avisitn", "arm").with_columns(
            pl.lit(None, pl.Float64).alias(name) for name in ("ci_low", "ci_high")
        )
    else:
        means = model.filter(pl.col("avisit").is_in(visits))
    means = means.select("arm", "avisit", "estimate", "ci_low", "ci_high")
    unit = "%" if variable == "pchg" else first["unit"]
    title = capitalised(_LABELS[variable].format(param=first["param"]))
    present = set(values["avisit"]) | set(means["avisit"])
    return _Course(
        values=values.select("usubjid", "arm", "avisit", "avisitn", "value"),
        means=means,
        variable=variable,
        title=f"{title} ({unit})" if unit else title,
        axis=f"{_AXES[variable]} ({unit})" if unit else _AXES[variable],
        visits=[visit for visit in visits if visit in present],
        arms=_arms(values, model),
    )


def _arms(values: pl.DataFrame, model: pl.DataFrame | None) -> list[str]:
    """Return the arms in the order of the model, which knows their doses; without one by name."""
    drawn = values["arm"].drop_nulls().unique().sort().to_list()
    known = [] if model is None else model.sort("position")["arm"].unique(maintain_order=True).to_list()
    return sorted(drawn, key=lambda arm: known.index(arm) if arm in known else len(known))


def _draw(drawn: _Course, width: int) -> Drawing:
    """Give each arm a panel of its own, all with one scale."""
    is_wide = width != NARROW
    if len(drawn.arms) <= 1:
        return _panel(drawn, SERIES[0], is_wide=is_wide, title=None).properties(
            width=width, height=320 if is_wide else 270
        )
    panels = [
        _panel(_of_arm(drawn, arm), SERIES[place % len(SERIES)], is_wide=is_wide, title=arm, all_arms=drawn)
        for place, arm in enumerate(drawn.arms)
    ]
    if is_wide:
        each = (width - 70) // len(panels) - 20
        return alt.hconcat(*(panel.properties(width=each, height=280) for panel in panels), spacing=20)
    return alt.vconcat(*(panel.properties(width=width - 60, height=190) for panel in panels), spacing=14)


def _of_arm(drawn: _Course, arm: str) -> _Course:
    return _Course(
        values=drawn.values.filter(pl.col("arm") == arm),
        means=drawn.means.filter(pl.col("arm") == arm),
        variable=drawn.variable,
        title=drawn.title,
        axis=drawn.axis,
        visits=drawn.visits,
        arms=[arm],
    )


def _panel(
    drawn: _Course, color: str, *, is_wide: bool, title: str | None, all_arms: _Course | None = None
) -> alt.LayerChart | alt.FacetChart:
    whole = all_arms or drawn
    is_first = all_arms is None or drawn.arms == whole.arms[:1] or not is_wide
    span = pl.concat(
        [whole.values["value"], *(whole.means[name].drop_nulls() for name in ("ci_low", "ci_high"))]
    )
    scale = alt.Scale(domain=[float(span.min()), float(span.max())], nice=True)  # type: ignore[arg-type]
    angle = 0 if is_wide and title is None else -40
    x = alt.X("avisit:N", sort=drawn.visits, title=None, axis=alt.Axis(labelAngle=angle),
              scale=alt.Scale(domain=drawn.visits))  # fmt: skip
    heading = drawn.axis if is_wide and is_first else None
    axis = alt.Axis() if is_first else alt.Axis(labels=False, ticks=False, domain=False)

    def y(column: str) -> alt.Y:
        return alt.Y(f"{column}:Q", title=heading, scale=scale, axis=axis)

    opacity = 0.45 if whole.values["usubjid"].n_unique() <= MANY_PARTICIPANTS else 0.16
    thin = (
        alt.Chart(drawn.values)
        .mark_line(strokeWidth=1, opacity=opacity, color=MUTED)
        .encode(x=x, y=y("value"), detail="usubjid:N", order="avisitn:Q")
    )
    means = alt.Chart(drawn.means.with_row_index("place"))
    layers = [
        thin,
        means.mark_rule(strokeWidth=2.2, color=color).encode(x=x, y=y("ci_low"), y2="ci_high:Q"),
        means.mark_line(strokeWidth=2.6, color=color).encode(x=x, y=y("estimate"), order="place:Q"),
        means.mark_point(size=55, filled=True, color=color, opacity=1).encode(x=x, y=y("estimate")),
    ]
    if drawn.variable != "aval":
        nothing = alt.Chart(pl.DataFrame({"none": [0.0]}))
        layers.insert(0, nothing.mark_rule(color=INK, strokeDash=[3, 3]).encode(y=y("none")))
    layered = alt.layer(*layers)
    if title is None:
        return layered
    return layered.properties(
        title=alt.TitleParams(title, color=color, fontSize=12, anchor="start", offset=6)
    )


def _means(means: pl.DataFrame, about: About) -> str:
    several = means["estimand"].n_unique() > 1
    arms = means["arm"].n_unique() > 1
    columns: Sequence[Column] = [
        *([Column("Estimand", lambda row: str(row["estimand"]))] if several else []),
        Column("Visit", lambda row: str(row["avisit"])),
        *([Column("Arm", _arm)] if arms else []),
        Column("Estimate", lambda row: "Difference" if row["kind"] == "difference" else "LS mean"),
        numeric("Value", "estimate", lambda value: number(value, 2)),
        numeric("SE", "standard_error", lambda value: number(value, 2)),
        Column("Interval", lambda row: interval(row["ci_low"], row["ci_high"], 2), align="right"),
        numeric("df", "df", lambda value: number(value, 1)),
        numeric("p", "p_value", p_value),
        Column("Unit", lambda row: row["unit"] or ABSENT),
    ]
    remarks = dict.fromkeys(
        text for name in ("method", "remark") for text in means[name].drop_nulls().to_list()
    )
    notes = "".join(f"<li>{escape(capitalised(text))}.</li>" for text in list(remarks)[:6])
    return table(
        "model_means",
        means.sort("position"),
        columns,
        caption="The longitudinal model at each visit"
        + (": LS means, and each arm minus the reference" if arms else ": LS means"),
        about=about,
        emphasise=lambda row: row["kind"] == "difference",
        whole_table=MEANS,
    ) + f'<ul class="note">{notes}</ul>' * bool(notes)


def _arm(row: Row) -> str:
    return f"{row['arm']} minus {row['reference']}" if row["reference"] else str(row["arm"] or ABSENT)


def _model(statistics: pl.DataFrame | None) -> str:
    """Say which covariance the model ended with and what it rests on."""
    if statistics is None:
        return ""
    said = []
    for cell in cells(statistics, "mmrm"):
        structure = cell.text("structure")
        if structure is None:
            said.append(f"<li>{escape(cell.estimand)}: no model: {escape(cell.remark)}.</li>")
            continue
        n = integer(cell.number("n_subjects"))
        said.append(
            f"<li>{escape(cell.estimand)}: {escape(structure)} covariance,"
            f" {escape(cell.text('df_method'))} degrees of freedom; {n} participants,"
            f" {count(round(cell.number('n_observations') or 0), 'value')}; deviance"
            f" {number(cell.number('deviance'), 2)}, AIC {number(cell.number('aic'), 1)}.</li>"
        )
    return f'<ul class="note">{"".join(said)}</ul>' if said else ""


SECTION = Section("score_over_time", "Score over time", (COURSE,), write, uses=(MEANS, RESULT))
