"""Gene sets: which moved together, how far, and the genes that carry them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from tasks.report.charts import ACCENT, INK, NARROW, WIDE, WORSE, Drawing, figure
from tasks.report.expression import FALSE_DISCOVERY_RATE, FALSE_DISCOVERY_RATE_SAID
from tasks.report.section import About, Frames, Section
from tasks.report.tables import Column, numeric, plain, prose, table
from tasks.report.wording import ABSENT, breakable, capitalised, count, escape, integer, number, p_value

SETS_DRAWN = 20
GENES_NAMED = 5

Row = Mapping[str, Any]


def write(frames: Frames, about: About) -> str:
    every = frames["results.enriched_gene_sets"]
    if every.is_empty():
        return "<p>No gene set has a result in this version.</p>"
    first = every.row(0, named=True)
    tested = every.filter(pl.col("p_value").is_not_null())
    called = tested.filter(pl.col("p_adjusted") < FALSE_DISCOVERY_RATE)
    lower, higher = called.filter(pl.col("nes") < 0).height, called.filter(pl.col("nes") > 0).height
    untested = every.height - tested.height
    opening = (
        f"<p>{count(tested.height, 'gene set')} tested against the ranking of"
        f" {integer(first['n_ranked'])} genes"
        + (f", {integer(untested)} more too small, too large or not estimable" if untested else "")
        + f". At a false discovery rate of {FALSE_DISCOVERY_RATE_SAID}: {integer(lower)} lower,"
        f" {integer(higher)} higher.</p>"
        f'<p class="note wide-note">{escape(capitalised(str(first["method"])))}; seed'
        f" {escape(first['seed'])}. Ranked by {escape(first['ranking'])}.</p>"
    )
    top = frames["reports.top_gene_sets"].sort("position")
    return opening + _chart(top, about) + _table(top, about)


def _chart(top: pl.DataFrame, about: About) -> str:
    drawn = top.filter(pl.col("nes").is_not_null()).head(SETS_DRAWN).sort("nes", "gene_set")
    if drawn.is_empty():
        return ""
    data = drawn.with_columns(
        pl.when(pl.col("nes") < 0).then(pl.lit("Lower")).otherwise(pl.lit("Higher")).alias("side"),
        (pl.col("p_adjusted").fill_null(1.0) < FALSE_DISCOVERY_RATE).alias("is_called"),
        pl.lit(0.0).alias("zero"),
    )
    told = "; ".join(f"{row['gene_set']} {number(row['nes'], 2)}" for row in drawn.to_dicts())
    caption = (
        f"The {integer(drawn.height)} most significant gene sets by normalised enrichment score. Filled: p"
        f" adjusted below {FALSE_DISCOVERY_RATE:g}. Size: genes in the leading edge."
    )
    says = f"Normalised enrichment scores of gene sets, lowest first: {told}."
    return figure(
        "gene_set_scores", lambda width: _draw(data, width), says=says, caption=caption, about=about
    )


def _draw(data: pl.DataFrame, width: int) -> Drawing:
    narrow = width == NARROW
    order = data["gene_set"].to_list()
    # On a phone the name stands above its line, for beside it there is no room.
    axis = (
        None
        if narrow
        else alt.Axis(labelLimit=WIDE // 2, grid=False, domain=False, ticks=False, labelColor=INK)
    )
    y = alt.Y("gene_set:N", sort=order, title=None, axis=axis)
    most = max(1.0, float(data["nes"].abs().max() or 0.0)) * 1.12  # type: ignore[arg-type]
    x = alt.X(
        "nes:Q",
        title="Normalised enrichment score",
        scale=alt.Scale(domain=[-most, most], nice=False),
        axis=alt.Axis(tickCount=7),
    )
    color = alt.Color("side:N", scale=alt.Scale(domain=["Lower", "Higher"], range=[ACCENT, WORSE]))
    base = alt.Chart(data).encode(y=y)
    size = alt.Size("leading_edge_size:Q", scale=alt.Scale(range=[30, 200], zero=True), legend=None)
    layers = [
        base.mark_rule(strokeWidth=2, opacity=0.45).encode(x=x, x2="zero:Q", color=color),
        base.transform_filter("datum.is_called").mark_circle(opacity=1).encode(x=x, color=color, size=size),
        base.transform_filter("!datum.is_called")
        .mark_point(opacity=1, fill="white", strokeWidth=1.6)
        .encode(x=x, color=color, size=size),
    ]
    if narrow:
        names = base.mark_text(align="center", dy=-13, fontSize=9.5, color=INK, limit=NARROW - 10)
        layers.append(names.encode(x=alt.value((NARROW - 20) / 2), text="gene_set:N"))
    step = 34 if narrow else 23
    return alt.layer(*layers).properties(width=width, height=step * data.height + 90)


def _table(top: pl.DataFrame, about: About) -> str:
    return table(
        "gene_sets_table",
        top,
        [
            Column(
                "Gene set",
                lambda row: f'<span class="name">{breakable(row["gene_set"])}</span>',
                is_markup=True,
            ),
            plain("Collection", "collection"),
            numeric("Genes", "size_ranked"),
            numeric("NES", "nes", lambda value: number(value, 2)),
            numeric("p", "p_value", p_value),
            numeric("p adjusted", "p_adjusted", p_value),
            prose("Leading edge", _leading_edge),
        ],
        caption="Gene sets, most significant first",
        about=about,
        whole_table="results.enriched_gene_sets",
    )


def _leading_edge(row: Row) -> str:
    edge = row["leading_edge"]
    if not edge:
        return ABSENT
    genes = (
        [name.strip() for name in str(edge).replace(";", ",").split(",")]
        if isinstance(edge, str)
        else list(edge)
    )
    more = len(genes) - GENES_NAMED
    return ", ".join(str(name) for name in genes[:GENES_NAMED]) + (
        f" and {integer(more)} more" if more > 0 else ""
    )


SECTION = Section(
    name="gene_sets",
    title="Gene sets",
    needs=("results.enriched_gene_sets", "reports.top_gene_sets"),
    write=write,
)
