"""Gene expression, contrast by contrast: volcano, genes at the top, protected genes, what was not tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt
import polars as pl

from tasks.report.charts import ACCENT, INK, NARROW, PALE, WORSE, Drawing, figure
from tasks.report.section import About, Frames, Section
from tasks.report.tables import Column, code, folded, numeric, plain, table
from tasks.report.wording import capitalised, count, escape, gene, integer, number, p_value, verb

FALSE_DISCOVERY_RATE = 0.05
FALSE_DISCOVERY_RATE_SAID = f"{100 * FALSE_DISCOVERY_RATE:g} %"
MOST_DOTS = 1200
GRID_COLUMNS, GRID_ROWS = 72, 24
MOST_ROWS_OF_THE_CHART = 80
TOP_SHOWN = 25
SMALLEST_P_DRAWN = 1e-300
# The share of fold changes that must fit: a few genes with hardly a count can lie at 20 or more.
SHARE_IN_VIEW = 0.998
LEAST_HALF_WIDTH = 2.0

# Where a name stands beside its dot: alignment of the text, and its offset in pixels.
Side = tuple[Literal["left", "right", "center"], int, int]
_RIGHT: Side = ("left", 7, 0)
_LEFT: Side = ("right", -7, 0)
_ABOVE: Side = ("center", 0, -11)

_STATUSES = {
    "tested": "tested",
    "outlier": "not tested, one library decides",
    "independent_filtering": "no adjusted p (independent filtering)",
    "not_estimable": "fold change not estimable",
    "not_converged": "fit did not converge",
    "filtered_low_count": "not tested, low counts",
    "all_zero": "not tested, no read at all",
}

Row = Mapping[str, Any]


def called(effects: pl.DataFrame) -> pl.DataFrame:
    """Return the genes below the false discovery rate, the surest first."""
    return effects.filter(pl.col("p_adjusted") < FALSE_DISCOVERY_RATE).sort(
        "p_value", "feature_id", nulls_last=True
    )


def contrasts(frames: Frames) -> list[pl.DataFrame]:
    """Return the results of each contrast, in the order in which the study declares them."""
    effects = frames["results.differential_expression"]
    parts = effects.partition_by("contrast", as_dict=True)
    declared = frames.get("meta.expression_contrast")
    order = [] if declared is None else declared.sort("place")["contrast"].to_list()
    known = {str(key[0]): part for key, part in parts.items()}
    return [known[name] for name in (*order, *sorted(set(known) - set(order))) if name in known]


def write(frames: Frames, about: About) -> str:
    effects = contrasts(frames)
    if not effects:
        return "<p>No gene has a result in this version.</p>"
    overview = _overview(effects, about) if len(effects) > 1 else ""
    written = "".join(_contrast(place, part, frames, about) for place, part in enumerate(effects, start=1))
    return overview + written + _statuses(effects, about)


def _overview(effects: list[pl.DataFrame], about: About) -> str:
    rows = []
    for part in effects:
        genes = called(part)
        rows.append(
            part.select("contrast_title", "n_subjects", "n_samples").row(0, named=True)
            | {
                "tested": part["p_value"].count(),
                "lower": genes.filter(pl.col("log2_fold_change") < 0).height,
                "higher": genes.filter(pl.col("log2_fold_change") > 0).height,
            }
        )
    return table(
        "contrasts",
        pl.DataFrame(rows),
        [
            plain("Contrast", "contrast_title"),
            numeric("Participants", "n_subjects"),
            numeric("Samples", "n_samples"),
            numeric("Genes tested", "tested"),
            numeric("Lower", "lower"),
            numeric("Higher", "higher"),
        ],
        caption=f"Contrasts, and genes called at a false discovery rate of {FALSE_DISCOVERY_RATE_SAID}",
        about=about,
    )


def _contrast(place: int, effects: pl.DataFrame, frames: Frames, about: About) -> str:
    first = effects.row(0, named=True)
    left_out = f" Samples left out: {escape(first['excluded_samples'])}." if first["excluded_samples"] else ""
    opening = (
        f"<h3>{escape(first['contrast_title'])}</h3>"
        f"<p>{count(first['n_subjects'], 'participant')}, {count(first['n_samples'], 'sample')}, design"
        f" <code>{escape(first['design'])}</code>. {_sign(first['contrast'], frames)}</p>"
        f'<p class="note wide-note">{escape(capitalised(str(first["method"])))}.{left_out}</p>'
    )
    parts = [opening, _volcano(place, effects, about)]
    if "reports.top_genes" in frames:
        top = frames["reports.top_genes"].filter(pl.col("contrast") == first["contrast"])
        parts.append(_tables(place, top, about))
    return "".join(parts)


def _sign(contrast: str, frames: Frames) -> str:
    """Say what a positive fold change means."""
    declared = frames.get("meta.expression_contrast")
    rows = [] if declared is None else declared.filter(pl.col("contrast") == contrast).to_dicts()
    if not rows:
        return "A positive fold change is higher where the contrast has positive weight."
    row = rows[0]
    if row["level"]:
        return (
            f"A positive fold change is higher at {escape(row['level'])} than at {escape(row['reference'])}."
        )
    if row["level_weights"]:
        return f"The fold change is the sum of levels by these weights: {escape(row['level_weights'])}."
    if row["is_slope"]:
        return f"The fold change is that of one unit of {escape(row['variable'])}."
    return f"Tested is whether {escape(row['without'])} is needed at all; there is no one fold change."


@dataclass(frozen=True, slots=True)
class Volcano:
    """What is drawn: single genes, the grid of the rest, and the genes with a name beside them."""

    dots: pl.DataFrame
    grid: pl.DataFrame
    protected: pl.DataFrame
    half_width: float
    height: float
    n_genes: int
    n_at_the_edge: int


def thin(effects: pl.DataFrame) -> Volcano:
    """Reduce a volcano of every gene to what a page can carry, by a rule and not by chance.

    The most significant called genes are drawn one by one; all others are counted in the cells of a
    grid, and each cell that holds a gene is one dot whose size tells how many. Fold changes beyond the
    view stand at its edge.
    """
    tested = effects.filter(
        pl.col("p_value").is_not_null() & pl.col("log2_fold_change").is_not_null()
    ).with_columns(
        (-pl.col("p_value").clip(lower_bound=SMALLEST_P_DRAWN).log10()).alias("y"),
        pl.when(pl.col("p_adjusted").fill_null(1.0) >= FALSE_DISCOVERY_RATE)
        .then(pl.lit("Not called"))
        .when(pl.col("log2_fold_change") < 0)
        .then(pl.lit("Lower"))
        .otherwise(pl.lit("Higher"))
        .alias("direction"),
    )
    magnitude = tested["log2_fold_change"].abs()
    shown = magnitude.filter(tested["direction"] != "Not called")
    half_width = max(
        LEAST_HALF_WIDTH,
        float(magnitude.quantile(SHARE_IN_VIEW) or 0.0),
        float(shown.quantile(SHARE_IN_VIEW) or 0.0),
    )
    height = float(tested["y"].max() or 0.0) or 1.0  # type: ignore[arg-type]
    placed = tested.with_columns(
        pl.col("log2_fold_change").clip(-half_width, half_width).alias("x"),
    ).sort("p_value", "feature_id")
    single = placed.filter(pl.col("direction") != "Not called").head(MOST_DOTS)
    rest = placed.join(single.select("feature_id"), on="feature_id", how="anti")
    cell_width = 2 * half_width / GRID_COLUMNS
    # The rest lies low: its rows are close together, but never closer than can be told apart.
    top_of_rest = float(rest["y"].max() or 0.0)  # type: ignore[arg-type]
    cell_height = max(top_of_rest / GRID_ROWS, height / MOST_ROWS_OF_THE_CHART)
    grid = (
        rest.group_by(
            "direction",
            ((pl.col("x") + half_width) / cell_width).floor().clip(0, GRID_COLUMNS - 1).alias("column"),
            (pl.col("y") / cell_height).floor().clip(0, GRID_ROWS - 1).alias("row"),
        )
        .agg(pl.len().alias("genes"))
        .with_columns(
            ((pl.col("column") + 0.5) * cell_width - half_width).alias("x"),
            ((pl.col("row") + 0.5) * cell_height).alias("y"),
        )
        .sort("direction", "row", "column")
    )
    keep = ["x", "y", "direction", "symbol", "feature_id", "is_protected", "p_value"]
    return Volcano(
        dots=single.select(keep),
        grid=grid.select("x", "y", "direction", "genes"),
        protected=placed.filter(pl.col("is_protected")).select(keep),
        half_width=half_width,
        height=height,
        n_genes=placed.height,
        n_at_the_edge=int((magnitude > half_width).sum()),
    )


def _volcano(place: int, effects: pl.DataFrame, about: About) -> str:
    reduced = thin(effects)
    genes = called(effects)
    if reduced.n_genes == 0:
        tested = effects["p_value"].count()
        return (
            f"<p>{count(genes.height, 'gene')} of {integer(tested)} tested"
            f" {verb(genes.height, 'is', 'are')} called at a false discovery rate of"
            f" {FALSE_DISCOVERY_RATE_SAID}; there is no fold change to draw.</p>"
            if tested
            else "<p>No gene could be tested.</p>"
        )
    up = genes.filter(pl.col("log2_fold_change") > 0).height
    top = ", ".join(gene(row) for row in genes.head(10).to_dicts()) or "none"
    title = effects["contrast_title"][0]
    says = (
        f"Volcano chart of {integer(reduced.n_genes)} genes, {title}: {integer(genes.height - up)} lower and"
        f" {integer(up)} higher at a false discovery rate of {FALSE_DISCOVERY_RATE_SAID}."
        f" Most significant: {top}."
    )
    n_far = reduced.n_at_the_edge
    edge = f" {count(n_far, 'gene')} beyond the view {verb(n_far, 'stands', 'stand')} at its edge."
    caption = (
        f"{integer(reduced.n_genes)} tested genes. Coloured: called at a false discovery rate of"
        f" {FALSE_DISCOVERY_RATE_SAID}, each of the {integer(reduced.dots.height)} most significant drawn"
        f" singly. All others are counted in the cells of a grid, {GRID_COLUMNS} across, a larger dot for"
        " more genes."
        f"{edge if n_far else ''} Outlined: protected genes."
    )
    return figure(
        f"volcano_{place}", lambda width: _draw(reduced, width), says=says, caption=caption, about=about
    )


def _draw(volcano: Volcano, width: int) -> Drawing:
    height = 460 if width != NARROW else 380
    span = volcano.half_width * 1.06
    x = alt.X(
        "x:Q",
        title="log\N{SUBSCRIPT TWO} fold change",
        scale=alt.Scale(domain=[-span, span], nice=False),
        axis=alt.Axis(grid=False, tickCount=7),
    )
    y = alt.Y(
        "y:Q",
        title="\N{MINUS SIGN}log\N{SUBSCRIPT ONE}\N{SUBSCRIPT ZERO} p",
        scale=alt.Scale(domain=[0, volcano.height * 1.08], nice=False),
        axis=alt.Axis(tickCount=6),
    )
    names = ["Lower", "Higher", "Not called"]
    color = alt.Color("direction:N", scale=alt.Scale(domain=names, range=[ACCENT, WORSE, PALE]))
    dot = 26 if width != NARROW else 14
    layers = [
        alt.Chart(volcano.grid)
        .mark_circle(opacity=0.75)
        .encode(
            x=x,
            y=y,
            color=color,
            size=alt.Size("genes:Q", scale=alt.Scale(type="sqrt", range=[dot / 4, dot * 2.4]), legend=None),
        ),
        alt.Chart(volcano.dots).mark_circle(size=dot, opacity=0.8).encode(x=x, y=y, color=color),
        alt.Chart(volcano.protected)
        .mark_point(shape="diamond", size=dot * 3, color=INK, strokeWidth=1.4, filled=False, opacity=1)
        .encode(x=x, y=y),
    ]
    for (align, dx, dy), where in _labels(volcano, width, height, span).items():
        common: dict[str, Any] = {
            "align": align,
            "dx": dx,
            "dy": dy,
            "fontSize": _letters(width),
            "fontStyle": "italic",
        }
        # The halo is a second copy, because a stroke is painted over its own fill.
        layers += [
            alt.Chart(where)
            .mark_text(**common, stroke="white", strokeWidth=3, strokeJoin="round")
            .encode(x=x, y=y, text="text:N"),
            alt.Chart(where).mark_text(**common, color=INK).encode(x=x, y=y, text="text:N"),
        ]
    return alt.layer(*layers).properties(width=width, height=height)


def _letters(width: int) -> int:
    return 11 if width != NARROW else 10


def _labels(volcano: Volcano, width: int, height: int, span: float) -> dict[Side, pl.DataFrame]:
    """Name the protected and the most significant genes where the name fits between the names before it.

    Returns the names, with the place of their dots, by the side of the dot that they stand at.
    """
    most, size = (20 if width != NARROW else 9), _letters(width)
    candidates = pl.concat([volcano.protected, volcano.dots]).unique(
        "feature_id", keep="first", maintain_order=True
    )
    inner_width, inner_height = width - 60, height - 90
    taken: list[tuple[float, float, float, float]] = []
    labels: dict[Side, list[dict[str, Any]]] = {}
    for row in candidates.sort(
        "is_protected", "p_value", "feature_id", descending=[True, False, False]
    ).to_dicts():
        if len(taken) == most:
            break
        text = gene(row)
        across = (row["x"] + span) / (2 * span) * inner_width
        down = (1 - row["y"] / (volcano.height * 1.08)) * inner_height
        length = 0.62 * size * len(text)
        for side in (_LEFT, _RIGHT, _ABOVE) if row["x"] < 0 else (_RIGHT, _LEFT, _ABOVE):
            align, dx, dy = side
            start = across + dx - {"left": 0.0, "right": length, "center": length / 2}[align]
            box = (start - 5, down + dy - size * 0.75, start + length + 5, down + dy + size * 0.75)
            if box[0] < 0 or box[2] > inner_width or any(_overlap(box, other) for other in taken):
                continue
            taken.append(box)
            labels.setdefault(side, []).append({"x": row["x"], "y": row["y"], "text": text})
            break
    return {side: pl.DataFrame(named) for side, named in labels.items()}


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _tables(place: int, top: pl.DataFrame, about: About) -> str:
    ranked = top.sort("position", nulls_last=True)
    surest = ranked.filter(pl.col("position").is_not_null())
    columns = [
        Column("Gene", lambda row: f"<i>{escape(gene(dict(row)))}</i>", is_markup=True),
        code("Feature", "feature_id"),
        numeric("Mean count", "base_mean", _mean_count),
        numeric("log\N{SUBSCRIPT TWO} fold change", "log2_fold_change", lambda value: number(value, 2)),
        numeric("SE", "lfc_se", lambda value: number(value, 2)),
        numeric("shrunken", "lfc_shrunken", lambda value: number(value, 2)),
        numeric("p", "p_value", p_value),
        numeric("p adjusted", "p_adjusted", p_value),
        numeric("q", "q_value", p_value),
        Column("Remarks", _remarks),
    ]
    parts = [
        table(
            f"top_genes_{place}",
            surest.head(TOP_SHOWN),
            columns,
            caption=f"The {integer(min(TOP_SHOWN, surest.height))} most significant genes",
            about=about,
        )
    ]
    if surest.height > TOP_SHOWN:
        rest = table(
            f"more_genes_{place}", surest[TOP_SHOWN:], columns, caption="The next genes", about=about
        )
        parts.append(folded(f"The next {integer(surest.height - TOP_SHOWN)}", rest))
    protected = ranked.filter(pl.col("is_protected"))
    if protected.height:
        parts.append(
            table(
                f"protected_genes_{place}",
                protected,
                columns,
                caption="Protected genes: tested and shown whatever their counts",
                about=about,
            )
        )
    return "".join(parts)


def _mean_count(value: float | None) -> str:
    return number(value, 1) if value is None or value < 1000 else integer(value)  # noqa: PLR2004


def _remarks(row: Row) -> str:
    said = []
    if row["is_protected"]:
        said.append("protected")
    if row["is_low_count"]:
        said.append("low count")
    if row["status"] != "tested":
        said.append(_status(row))
    return ", ".join(said)


def _status(row: Row) -> str:
    return _STATUSES.get(row["status"], str(row["status"]))


def _statuses(effects: list[pl.DataFrame], about: About) -> str:
    counted = pl.concat(
        part.group_by("contrast_title", "status")
        .agg(pl.len().alias("genes"), (pl.col("p_adjusted") < FALSE_DISCOVERY_RATE).sum().alias("called"))
        .sort("genes", "status", descending=[True, False])
        for part in effects
    )
    columns = [Column("Status", _status), numeric("Genes", "genes"), numeric("Called", "called")]
    return table(
        "statuses",
        counted,
        columns if len(effects) == 1 else [plain("Contrast", "contrast_title"), *columns],
        caption=f"Genes by status; called is p adjusted below {FALSE_DISCOVERY_RATE:g}",
        about=about,
    )


SECTION = Section(
    name="expression",
    title="Gene expression",
    needs=("results.differential_expression",),
    write=write,
    uses=("reports.top_genes", "meta.expression_contrast"),
)
