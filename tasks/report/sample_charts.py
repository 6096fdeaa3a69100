"""Charts of the samples: their main directions, and how alike each two are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt
import polars as pl

from tasks.report.charts import INK, NARROW, SERIES, WIDE, WORSE, Drawing, figure
from tasks.report.wording import count, integer, number, p_value_in_words

if TYPE_CHECKING:
    from tasks.report.section import About

COMPONENTS = "results.principal_components"
ASSOCIATIONS = "results.principal_component_associations"
CORRELATION = "results.sample_correlation"
MOST_IN_MAP = 80
COMPONENTS_SAID = 3
FALSE_DISCOVERY = 0.05
CALLED = {
    "usubjid": "the participant",
    "library_size_log2": "library size",
    "n_genes_detected": "genes detected",
    "rin": "RNA integrity",
    "collected_dtc": "day of collection",
}


def components(frame: pl.DataFrame, needs_a_look: set[str], about: About) -> str:
    """Draw the samples on the first two components; those that need a look bear their name."""
    score = frame.filter(pl.col("kind") == "score", pl.col("component") <= 2)  # noqa: PLR2004 - a plane
    share = dict(score.select("component", "variance_pct").iter_rows())
    if len(share) < 2:  # noqa: PLR2004
        return ""
    data = (
        score.pivot(on="component", index=["sample_id", "visit", "tissue"], values="value")
        .with_columns(
            pl.col("visit").fill_null("no visit"),
            pl.col("tissue").fill_null("no tissue"),
            label=pl.when(pl.col("sample_id").is_in(list(needs_a_look)))
            .then("sample_id")
            .otherwise(pl.lit("")),
        )
        .rename({"1": "first", "2": "second"})
        .sort("sample_id")
    )
    titles = [f"Component {place}: {number(share[place], 0)} % of variance" for place in (1, 2)]
    says = (
        f"{count(data.height, 'sample')} on the first two principal components, which hold"
        f" {number(share[1] + share[2], 0)} percent of the variance."
    )
    caption = (
        f"Principal components of the {integer(score['n_genes'][0])} most variable genes;"
        " samples that need a look are named."
    )
    return figure(
        "principal_components",
        lambda width: _draw_components(data, titles, width),
        says=says,
        caption=caption,
        about=about,
    )


def _draw_components(data: pl.DataFrame, titles: list[str], width: int) -> Drawing:
    visits = data["visit"].unique().sort().to_list()
    tissues = data["tissue"].unique().sort().to_list()
    at = {
        "x": alt.X("first:Q", title=titles[0], axis=alt.Axis(grid=False)),
        "y": alt.Y("second:Q", title=titles[1], axis=alt.Axis(grid=False)),
    }
    points = (
        alt.Chart(data)
        .mark_point(filled=False, size=60, strokeWidth=2, opacity=1)
        .encode(
            **at,
            color=alt.Color(
                "visit:N",
                scale=alt.Scale(domain=visits, range=[SERIES[n % len(SERIES)] for n in range(len(visits))]),
            ),
            shape=alt.Shape(
                "tissue:N",
                scale=alt.Scale(domain=tissues),
                legend=alt.Legend() if len(tissues) > 1 else None,
            ),
        )
    )
    names = (
        alt.Chart(data).mark_text(align="left", dx=7, fontSize=10, color=WORSE).encode(**at, text="label:N")
    )
    drawn: Drawing = alt.layer(points, names).properties(width=width, height=360 if width == WIDE else 300)
    return drawn


def correlations(frame: pl.DataFrame, about: About) -> str:
    """Draw the correlation of each two samples, participants side by side, beneath the diagonal."""
    names = frame.select(
        sample_id=pl.concat_list("sample_id", "other_sample_id"),
        usubjid=pl.concat_list("usubjid", "other_usubjid"),
    ).explode("sample_id", "usubjid")
    order = names.unique("sample_id").sort("usubjid", "sample_id", nulls_last=True)["sample_id"].to_list()
    if len(order) > MOST_IN_MAP:
        return (
            f"<p>{count(len(order), 'sample')} are too many to draw the correlation of each two:"
            f" <code>{CORRELATION}</code> has them.</p>"
        )
    shown = (
        "correlation"
        if frame["correlation_within_groups"].null_count() == frame.height
        else "correlation_within_groups"
    )
    place = {name: position for position, name in enumerate(order)}
    one, other = (pl.col(name).replace_strict(place) for name in ("sample_id", "other_sample_id"))
    data = frame.select(
        row=pl.max_horizontal(one, other),
        column=pl.min_horizontal(one, other),
        # Shades finer than this cannot be seen.
        value=pl.col(shown).round(2),
    ).with_columns(
        row=pl.col("row").replace_strict(dict(enumerate(order)), return_dtype=pl.String),
        column=pl.col("column").replace_strict(dict(enumerate(order)), return_dtype=pl.String),
    )
    without = " after the means of tissue and visit are taken out" if shown != "correlation" else ""
    caption = (
        f"Correlation of each two samples{without}; samples of one participant stand together,"
        " and their likeness shows along the edge."
    )
    own = frame.filter(pl.col("is_same_subject"))[shown].mean()
    rest = frame.filter(~pl.col("is_same_subject"))[shown].mean()
    says = f"Correlation of each two of {count(len(order), 'sample')}" + (
        f": on average {number(own, 2)} within participants, {number(rest, 2)} between."
        if isinstance(own, float) and isinstance(rest, float)
        else "."
    )
    return figure(
        "sample_correlation",
        lambda width: _draw_map(data, order, width),
        says=says,
        caption=caption,
        about=about,
    )


def _draw_map(data: pl.DataFrame, order: list[str], width: int) -> Drawing:
    narrow = width == NARROW
    labels = alt.Axis(
        labels=not narrow,
        ticks=False,
        title=None,
        domain=False,
        labelFontSize=8,
        labelPadding=2,
        labelAngle=0,
    )
    side = min(width, 620)
    drawn: Drawing = (
        alt.Chart(data)
        .mark_rect()
        .encode(
            x=alt.X("column:N", sort=order[:-1], axis=None),
            y=alt.Y("row:N", sort=order[1:], axis=labels),
            color=alt.Color(
                "value:Q",
                scale=alt.Scale(domain=[-1, 0, 1], range=[WORSE, "#ffffff", INK], interpolate="rgb"),
                legend=alt.Legend(title="Correlation", gradientLength=140),
            ),
        )
        .properties(width=width, height=side if not narrow else width)
    )
    return drawn


def associations(frame: pl.DataFrame) -> list[str]:
    """Return a sentence for each of the first components: what it goes with."""
    said = []
    for component in range(1, COMPONENTS_SAID + 1):
        rows = frame.filter(pl.col("component") == component).sort("r_squared", descending=True)
        if rows.is_empty():
            continue
        found = [
            f"{CALLED.get(row['variable'], row['variable'])} ({number(100 * row['r_squared'], 0)} %,"
            f" {p_value_in_words(row['p_adjusted'])})"
            for row in rows.filter(pl.col("p_adjusted") <= FALSE_DISCOVERY).to_dicts()
        ]
        share = number(rows["variance_pct"][0], 0)
        goes = ", ".join(found) if found else "none of the variables tested"
        said.append(f"Component {component} ({share} % of variance) goes with {goes}.")
    if said:
        said.append(
            "In brackets: the share of the component that the variable explains, and the adjusted p-value of"
            " a permutation test that keeps the samples of a participant together."
        )
    return said
