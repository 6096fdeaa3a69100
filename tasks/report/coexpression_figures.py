"""Charts of the co-expression section: choice of the power, changes of all modules, eigengenes by patient."""

from __future__ import annotations

import json
import re
import textwrap
from typing import TYPE_CHECKING

import altair as alt
import polars as pl

from tasks.report.charts import ACCENT, INK, MUTED, NARROW, SERIES, WORSE, Drawing, figure
from tasks.report.coexpression_tables import EIGENGENES, changed
from tasks.report.expression import FALSE_DISCOVERY_RATE
from tasks.report.module_colours import named
from tasks.report.wording import count, number, p_value_in_words, verb

if TYPE_CHECKING:
    from tasks.report.section import About, Frames

THRESHOLDS = "results.soft_thresholds"
MODULES_DRAWN = 3
MOST_CONDITIONS = 8
_LETTERS_OF_A_CONTRAST = 17
_WIDTH_OF_A_LETTER = 8
_HEIGHT_OF_A_LINE = 16


def thresholds_figure(place: int, frames: Frames, about: About) -> str:
    """Draw the scale-free fit and the mean connectivity over powers."""
    table = frames.get(THRESHOLDS)
    if table is None:
        return ""
    # A network whose connectivity grows more frequent with its size is not scale-free, however good the fit.
    data = table.sort("power").with_columns(
        fit=pl.col("r_squared") * pl.when(pl.col("slope") > 0).then(-1.0).otherwise(1.0)
    )
    chosen = data.filter(pl.col("is_chosen")).row(0, named=True)
    caption = (
        f"Soft thresholding. Left: fit of a scale-free network (R\N{SUPERSCRIPT TWO}, negative where the"
        f" slope is positive), dashed at {chosen['r_squared_cut']:g}. Right: mean connectivity, on a log"
        f" scale. Chosen: power {chosen['power']:g}, {chosen['reason']}."
    )
    told = "; ".join(
        f"power {row['power']:g}: R squared {number(row['fit'], 2)}, mean connectivity"
        f" {number(row['mean_connectivity'], 1)}"
        for row in data.iter_rows(named=True)
    )
    return figure(
        f"coexpression_powers_{place}",
        lambda width: _draw_thresholds(data, chosen["r_squared_cut"], width),
        says=f"Fit and mean connectivity by power, {chosen['power']:g} chosen. {told}.",
        caption=caption,
        about=about,
    )


def _draw_thresholds(data: pl.DataFrame, cut: float, width: int) -> Drawing:
    fit = alt.Y("fit:Q", title="Scale-free fit (R\N{SUPERSCRIPT TWO})")
    connected = data.filter(pl.col("mean_connectivity") > 0)
    mean = alt.Y("mean_connectivity:Q", title="Mean connectivity", scale=alt.Scale(type="log"))
    dashed = alt.Chart(pl.DataFrame({"fit": [cut]})).mark_rule(color=MUTED, strokeDash=[4, 3]).encode(y=fit)
    left = alt.layer(dashed, *_curve(data.filter(pl.col("fit").is_not_null()), fit))
    right = alt.layer(*_curve(connected, mean))
    if width == NARROW:
        return alt.vconcat(
            *(one.properties(width=width - 70, height=170) for one in (left, right)), spacing=16
        )
    each = width // 2 - 75
    return alt.hconcat(*(one.properties(width=each, height=220) for one in (left, right)), spacing=30)


def _curve(data: pl.DataFrame, y: alt.Y) -> list[alt.Chart]:
    base = alt.Chart(data).encode(x=alt.X("power:Q", title="Power"), y=y)
    chosen = base.transform_filter("datum.is_chosen")
    return [
        base.mark_line(color=ACCENT, strokeWidth=1.4, opacity=0.5),
        base.mark_point(size=36, filled=False, color=ACCENT, opacity=1),
        chosen.mark_point(size=110, filled=True, color=WORSE, opacity=1),
        chosen.mark_text(dy=-13, color=WORSE, fontSize=11, fontWeight="bold").encode(text="power:Q"),
    ]


def changes_figure(place: int, frames: Frames, about: About) -> str:
    """Draw the change of every module in every contrast: up or down, by how sure it is."""
    tested = changed(frames)
    if tested is None:
        return ""
    drawn = tested.filter(pl.col("hodges_lehmann") != 0).with_columns(
        name=pl.struct("module", "colour").map_elements(named, return_dtype=pl.String),
        side=pl.when(pl.col("hodges_lehmann") > 0).then(pl.lit("Higher")).otherwise(pl.lit("Lower")),
        sureness=-pl.col("p_value").log10(),
        is_called=pl.col("p_adjusted").fill_null(1.0) < FALSE_DISCOVERY_RATE,
    )
    if drawn.is_empty():
        return ""
    called = drawn.filter(pl.col("is_called"))
    told = "; ".join(
        f"{row['name']}, {row['contrast_title']}: {row['side'].lower()},"
        f" {p_value_in_words(row['p_value']).partition(' (')[0]}"
        for row in called.iter_rows(named=True)
    )
    caption = (
        "Change of each module's eigengene within participants. Upwards: higher. Larger: smaller exact p."
        f" Filled: p adjusted over the modules of the contrast below {FALSE_DISCOVERY_RATE:g}."
    )
    return figure(
        f"coexpression_change_{place}",
        lambda width: _draw_changes(drawn, width),
        says=f"Changes of modules by contrast; {count(called.height, 'change')}"
        f" {verb(called.height, 'has', 'have')} an adjusted p below {FALSE_DISCOVERY_RATE:g}"
        f"{': ' + told if told else ''}.",
        caption=caption,
        about=about,
    )


def _draw_changes(drawn: pl.DataFrame, width: int) -> Drawing:
    narrow = width == NARROW
    contrasts = drawn.unique("contrast", maintain_order=True).select("contrast", "contrast_title")
    modules = drawn.unique("module").sort("module")["name"].to_list()
    letters = max(_LETTERS_OF_A_CONTRAST, width // contrasts.height // _WIDTH_OF_A_LETTER)
    lines = {
        name: [name] if narrow else textwrap.wrap(title, letters) for name, title in contrasts.iter_rows()
    }
    axis = alt.Axis(
        orient="top",
        labelExpr=f"{json.dumps(lines)}[datum.value]",
        labelAngle=-60 if narrow else 0,
        labelLimit=150 if narrow else 0,
        # Lines are set downwards from the first: a third one would stand on the marks.
        labelPadding=6 + _HEIGHT_OF_A_LINE * max(0, max(map(len, lines.values())) - 2),
        labelColor=INK,
        labelOverlap=False,
        ticks=False,
        domain=False,
        grid=True,
    )
    x = alt.X("contrast:N", sort=contrasts["contrast"].to_list(), title=None, axis=axis)
    y = alt.Y(
        "name:N",
        sort=modules,
        title=None,
        axis=alt.Axis(ticks=False, domain=False, labelColor=INK, grid=True),
    )
    sides = ["Higher", "Lower"]
    color = alt.Color("side:N", scale=alt.Scale(domain=sides, range=[WORSE, ACCENT]))
    shape = alt.Shape("side:N", scale=alt.Scale(domain=sides, range=["triangle-up", "triangle-down"]))
    size = alt.Size("sureness:Q", scale=alt.Scale(range=[20, 240], domainMin=0), legend=None)
    base = alt.Chart(drawn).encode(x=x, y=y, color=color, shape=shape, size=size)
    layered: Drawing = alt.layer(
        base.transform_filter("!datum.is_called").mark_point(filled=False, opacity=1, strokeWidth=1.3),
        base.transform_filter("datum.is_called").mark_point(filled=True, opacity=1),
    ).properties(width=width, height=24 * len(modules) + 140)
    return layered


def patients_figure(place: int, frames: Frames, about: About) -> str:
    """Draw the eigengene of the surest modules in each participant's samples, joined within a tissue."""
    tested, eigengenes = changed(frames), frames.get(EIGENGENES)
    if tested is None or eigengenes is None or eigengenes["usubjid"].null_count():
        return ""
    surest = tested.group_by("module").agg(pl.col("p_value").min()).sort("p_value", "module")
    modules = surest.head(MODULES_DRAWN)["module"].to_list()
    data = _conditions(eigengenes.filter(pl.col("module").is_in(modules)), frames.get("meta.visit"))
    conditions = data.sort("tissue", "visit_place")["condition"].unique(maintain_order=True).to_list()
    if not 1 < len(conditions) <= MOST_CONDITIONS:
        return ""
    panels = [data.filter(pl.col("module") == module) for module in modules]
    names = [named(panel.row(0, named=True)) for panel in panels]
    told = "; ".join(
        f"{name}: "
        + ", ".join(f"{row['condition']} {number(float(row['eigengene']), 2)}" for row in _medians(panel))
        for name, panel in zip(names, panels, strict=True)
    )
    return figure(
        f"coexpression_patients_{place}",
        lambda width: _draw_patients(panels, names, conditions, width),
        says=f"Eigengene of the surest modules in each participant. Medians: {told}.",
        caption="Eigengenes of the modules whose change is surest: a line joins the samples of a participant,"
        " the thick bar is the median.",
        about=about,
    )


def _medians(panel: pl.DataFrame) -> list[dict[str, float | str]]:
    return (
        panel.group_by("condition", "tissue", "visit_place")
        .agg(pl.col("eigengene").median())
        .sort("tissue", "visit_place")
        .to_dicts()
    )


def _conditions(eigengenes: pl.DataFrame, visits: pl.DataFrame | None) -> pl.DataFrame:
    """Name each sample's condition; visits stand as declared, tissues side by side."""
    filled = eigengenes.with_columns(
        pl.col("visit").fill_null("all visits"), pl.col("tissue").fill_null("all tissue")
    )
    declared = [] if visits is None else visits["avisit"].to_list()
    order = sorted(filled["visit"].unique().to_list(), key=lambda visit: _visit_key(visit, declared))
    parts = [name for name in ("tissue", "visit") if filled[name].n_unique() > 1]
    # Without two tissues or visits there is nothing to join.
    condition = pl.concat_str(parts or ["visit"], separator=", ")
    join = ["usubjid", "tissue"] if filled["visit"].n_unique() > 1 else ["usubjid"]
    return filled.with_columns(
        condition=condition,
        visit_place=pl.col("visit").replace_strict({visit: n for n, visit in enumerate(order)}),
        line=pl.concat_str(join, separator="/"),
    ).sort("tissue", "visit_place", "usubjid")


def _visit_key(visit: str, declared: list[str]) -> tuple[int, list[tuple[int, str]]]:
    """Sort by the declared order, then Week 4 before Week 12."""
    folded = [name.casefold() for name in declared]
    place = folded.index(visit.casefold()) if visit.casefold() in folded else len(folded)
    return place, [
        (int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", visit.casefold())
    ]


def _draw_patients(
    panels: list[pl.DataFrame], names: list[str], conditions: list[str], width: int
) -> Drawing:
    narrow = width == NARROW
    each = width - 80 if narrow else (width - 70) // len(panels) - 30
    drawn = [
        _panel(panel, name, conditions, with_title=narrow or place == 0).properties(
            width=each, height=190 if narrow else 250
        )
        for place, (panel, name) in enumerate(zip(panels, names, strict=True))
    ]
    return alt.vconcat(*drawn, spacing=14) if narrow else alt.hconcat(*drawn, spacing=18)


def _panel(
    panel: pl.DataFrame, name: str, conditions: list[str], *, with_title: bool
) -> alt.LayerChart | alt.FacetChart:
    axis = alt.Axis(
        labelAngle=-40, labelExpr=f"{json.dumps(_broken(conditions))}[datum.value]", labelOverlap=False
    )
    x = alt.X("condition:N", sort=conditions, scale=alt.Scale(domain=conditions), title=None, axis=axis)
    y = alt.Y("eigengene:Q", title="Eigengene" if with_title else None)
    base = alt.Chart(panel).encode(x=x, y=y)
    medians = alt.Chart(pl.DataFrame(_medians(panel))).encode(x=x, y=y)
    return alt.layer(
        base.mark_line(strokeWidth=1, opacity=0.5, color=MUTED).encode(
            detail="line:N", order="visit_place:Q"
        ),
        base.mark_circle(size=24, opacity=0.75, color=SERIES[0]),
        medians.mark_tick(orient="horizontal", thickness=3, size=22, color=WORSE),
    ).properties(title=alt.TitleParams(f"Module {name}", color=INK, fontSize=12, anchor="start", offset=6))


def _broken(conditions: list[str]) -> dict[str, list[str]]:
    """Give tissue and visit a line each."""
    return {name: name.split(", ") for name in conditions}
