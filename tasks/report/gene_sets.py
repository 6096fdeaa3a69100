"""Gene sets by contrast: what moved together, clusters of redundant sets first, and changes in patients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from tasks.report.charts import ACCENT, INK, NARROW, WIDE, WORSE, Drawing, figure
from tasks.report.expression import FALSE_DISCOVERY_RATE, FALSE_DISCOVERY_RATE_SAID
from tasks.report.section import About, Frames, Section
from tasks.report.tables import Column, folded, numeric, plain, prose, table
from tasks.report.wording import (
    ABSENT,
    breakable,
    capitalised,
    count,
    escape,
    integer,
    interval,
    number,
    p_value,
    verb,
)

SETS_DRAWN = 20
GENES_NAMED = 5
CLUSTERS_SHOWN = 12
SETS_NAMED = 4
CHANGES_SHOWN = 12
REGULATORS_SHOWN = 12

Row = Mapping[str, Any]


def write(frames: Frames, about: About) -> str:
    every = frames["results.enriched_gene_sets"]
    if every.is_empty():
        return "<p>No gene set has a result in this version.</p>"
    written = [_contrast(place, name, frames, about) for place, name in enumerate(contrasts(frames))]
    return "".join(written) or "<p>No gene set could be tested: each is too small, too large or tied.</p>"


def contrasts(frames: Frames) -> list[str]:
    """Return the contrasts as declared in order."""
    found = frames["reports.top_gene_sets"]["contrast"].unique().sort().to_list()
    declared = frames.get("meta.expression_contrast")
    order = [] if declared is None else declared.sort("place")["contrast"].to_list()
    return sorted(found, key=lambda name: order.index(name) if name in order else len(order))


def _contrast(place: int, contrast: str, frames: Frames, about: About) -> str:
    def of_contrast(name: str) -> pl.DataFrame | None:
        frame = frames.get(name)
        chosen = None if frame is None else frame.filter(pl.col("contrast") == contrast)
        return None if chosen is None or chosen.is_empty() else chosen

    every = frames["results.enriched_gene_sets"].filter(pl.col("contrast") == contrast)
    top = frames["reports.top_gene_sets"].filter(pl.col("contrast") == contrast).sort("position")
    clusters = of_contrast("results.gene_set_clusters")
    changes = of_contrast("results.signature_changes")
    regulators = of_contrast("results.regulator_activity")
    parts = [_opening(every)]
    if clusters is not None:
        parts.append(_clusters(place, clusters, about))
    parts.append(_chart(place, top, about))
    ranked = _table(place, top, about)
    parts.append(ranked if clusters is None else folded("The gene sets one by one", ranked))
    if changes is not None:
        parts.append(_changes(place, changes, about))
    if regulators is not None:
        parts.append(_regulators(place, regulators, about))
    return "".join(parts)


def _opening(every: pl.DataFrame) -> str:
    first = every.row(0, named=True)
    tested = every.filter(pl.col("p_value").is_not_null())
    called = tested.filter(pl.col("p_adjusted") < FALSE_DISCOVERY_RATE)
    lower, higher = called.filter(pl.col("nes") < 0).height, called.filter(pl.col("nes") > 0).height
    untested = every.height - tested.height
    return (
        f"<h3>{escape(first['contrast_title'])}</h3>"
        f"<p>{count(tested.height, 'gene set')} tested against the ranking of"
        f" {integer(first['n_ranked'])} genes"
        + (f", {integer(untested)} more too small, too large or not estimable" if untested else "")
        + f". At a false discovery rate of {FALSE_DISCOVERY_RATE_SAID}: {integer(lower)} lower,"
        f" {integer(higher)} higher.</p>"
        f'<p class="note wide-note">{escape(capitalised(str(first["method"])))}; seed'
        f" {escape(first['seed'])}. Ranked by {escape(first['ranking'])}.</p>"
    )


def _clusters(place: int, clusters: pl.DataFrame, about: About) -> str:
    members = (
        clusters.filter(~pl.col("is_representative"))
        .sort(pl.col("nes").abs(), "gene_set", descending=[True, False])
        .group_by("direction", "cluster", maintain_order=True)
        .agg(others="gene_set")
    )
    leading = (
        clusters.filter(pl.col("is_representative"))
        .join(members, on=["direction", "cluster"], how="left")
        .sort(pl.col("nes").abs(), "gene_set", descending=[True, False])
    )
    n_left = leading.height - CLUSTERS_SHOWN
    opening = (
        f"<p>{capitalised(count(clusters.height, 'called set'))}"
        f" {verb(clusters.height, 'reads', 'read')} as {count(leading.height, 'cluster')} of sets whose"
        " score the same genes carry.</p>"
    )
    shown = table(
        f"gene_set_clusters_{place}",
        leading.head(CLUSTERS_SHOWN),
        [
            Column("Strongest set", _name, is_markup=True),
            numeric("NES", "nes", lambda value: number(value, 2)),
            numeric("p adjusted", "p_adjusted", p_value),
            numeric("Sets", "n_sets"),
            prose("Also", lambda row: _listed(row["others"] or [], SETS_NAMED)),
            prose("Genes that carry them", lambda row: _listed(_split(row["core_genes"]), GENES_NAMED)),
        ],
        caption=(
            "Clusters of gene sets, strongest first"
            + (f"; {integer(n_left)} weaker ones are in the table" if n_left > 0 else "")
        ),
        about=about,
        whole_table="results.gene_set_clusters",
    )
    return opening + shown + f'<p class="note">{escape(capitalised(str(clusters["method"][0])))}.</p>'


def _chart(place: int, top: pl.DataFrame, about: About) -> str:
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
        f"{top['contrast_title'][0]}: the {integer(drawn.height)} most significant gene sets by normalised"
        f" enrichment score. Filled: p adjusted below {FALSE_DISCOVERY_RATE:g}. Size: genes in the leading"
        " edge."
    )
    says = f"Normalised enrichment scores of gene sets, lowest first: {told}."
    return figure(
        f"gene_set_scores_{place}", lambda width: _draw(data, width), says=says, caption=caption, about=about
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


def _table(place: int, top: pl.DataFrame, about: About) -> str:
    return table(
        f"gene_sets_table_{place}",
        top,
        [
            Column("Gene set", _name, is_markup=True),
            plain("Collection", "collection"),
            numeric("Genes", "size_ranked"),
            numeric("NES", "nes", lambda value: number(value, 2)),
            numeric("p", "p_value", p_value),
            numeric("p adjusted", "p_adjusted", p_value),
            prose("Leading edge", lambda row: _listed(_split(row["leading_edge"]), GENES_NAMED)),
        ],
        caption="Gene sets, most significant first",
        about=about,
        whole_table="results.enriched_gene_sets",
    )


def _changes(place: int, changes: pl.DataFrame, about: About) -> str:
    """Show the exact paired tests: the surest signatures, each by all of its scorers."""
    tested = changes.filter(pl.col("status") == "tested")
    if tested.is_empty():
        return f"<p>Scores within participants: {escape(changes['reason'][0])}.</p>"
    key = ["collection", "gene_set"]
    surest = (
        tested.group_by(key)
        .agg(
            pl.col("p_value").min(),
            n_scorers=pl.len(),
            n_agreeing=(pl.col("p_value") < FALSE_DISCOVERY_RATE).sum(),
        )
        .sort("n_agreeing", "p_value", *key, descending=[True, False, False, False])
        .head(CHANGES_SHOWN)
        .with_row_index("order")
    )
    shown = tested.join(surest.select(*key, "order"), on=key).sort("order", "scorer")
    n = max(tested["n_subjects"].to_list())
    smallest = min(tested["smallest_p_value"].to_list())
    opening = (
        f"<p>Scores compared within {count(n, 'participant')}: an exact p-value of so few cannot be below"
        f" {p_value(smallest)}.</p>"
    )
    listed = table(
        f"signature_changes_{place}",
        shown,
        [
            Column("Signature", _name, is_markup=True),
            plain("Score", "scorer"),
            numeric("Participants", "n_subjects"),
            numeric("Hodges-Lehmann", "hodges_lehmann", lambda value: number(value, 2)),
            Column("Interval", lambda row: interval(row["ci_low"], row["ci_high"], 2), align="right"),
            numeric("d", "d_z", lambda value: number(value, 1)),
            numeric("p exact", "p_value", p_value),
            numeric("p adjusted", "p_adjusted", p_value),
        ],
        caption=f"Signatures that changed within participants: the {count(surest.height, 'surest one')}",
        about=about,
        whole_table="results.signature_changes",
    )
    return opening + folded("Signatures within participants, by each score", listed)


def _regulators(place: int, regulators: pl.DataFrame, about: About) -> str:
    tested = regulators.filter(pl.col("status") == "tested")
    if tested.is_empty():
        return ""
    return table(
        f"regulators_{place}",
        tested.sort(pl.col("activity").abs(), "regulator", descending=[True, False]).head(REGULATORS_SHOWN),
        [
            plain("Regulator", "regulator"),
            numeric("Activity (t)", "activity", lambda value: number(value, 1)),
            numeric("Targets", "n_targets"),
            numeric("p", "p_value", p_value),
            numeric("p adjusted", "p_adjusted", p_value),
            prose("Targets that speak most", lambda row: _listed(_split(row["top_targets"]), GENES_NAMED)),
        ],
        caption="Regulators by what their targets did: higher is more active",
        about=about,
        whole_table="results.regulator_activity",
    )


def _name(row: Row) -> str:
    return f'<span class="name">{breakable(row["gene_set"])}</span>'


def _split(names: str | None) -> list[str]:
    return [name.strip() for name in names.replace(",", ";").split(";")] if names else []


def _listed(names: list[str], most: int) -> str:
    more = len(names) - most
    return (", ".join(names[:most]) or ABSENT) + (f" and {integer(more)} more" if more > 0 else "")


SECTION = Section(
    name="gene_sets",
    title="Gene sets",
    needs=("results.enriched_gene_sets", "reports.top_gene_sets"),
    write=write,
    uses=(
        "results.gene_set_clusters",
        "results.signature_changes",
        "results.regulator_activity",
        "meta.expression_contrast",
    ),
)
