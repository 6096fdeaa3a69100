"""Sample quality: is every sample deep enough, and does its expression show the sex on record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import polars as pl

from tasks.report import sample_charts
from tasks.report.charts import NARROW, SERIES, Drawing, figure
from tasks.report.section import About, Frames, Section
from tasks.report.tables import code, folded, numeric, plain, prose, table
from tasks.report.wording import count, escape, integer, number, verb

if TYPE_CHECKING:
    from collections.abc import Mapping

SAMPLES_NAMED = 48
SAMPLES_IN_A_SENTENCE = 8
QUALITY = "results.sample_quality"
AS_EXPECTED = "as expected"


def write(frames: Frames, about: About) -> str:
    samples = _with_verdicts(frames).sort("usubjid", "visit", "tissue", "sample_id", nulls_last=True)
    if samples.is_empty():
        return "<p>No sample has been measured.</p>"
    swapped = samples.filter(~pl.col("is_sex_concordant"))
    shallow = samples.filter(pl.col("is_library_size_low"))
    unknown = samples.filter(pl.col("is_sex_concordant").is_null())
    sentences = [
        f"{count(samples.height, 'sample')} of {count(samples['usubjid'].n_unique(), 'participant')}.",
        f"The expressed sex differs from the record in {_named(swapped)}.",
    ]
    if unknown.height:
        sentences.append(f"It could not be compared in {integer(unknown.height)}.")
    sentences.append(f"The library size is low in {_named(shallow)}.")
    if QUALITY in frames:
        sentences += _judgements(samples)
    doubtful = samples.filter(_needs_a_look()).height
    verdict = (
        f"<strong>{count(doubtful, 'sample')} {verb(doubtful, 'needs', 'need')} a look.</strong> "
        if doubtful
        else ""
    )
    return (
        f"<p>{verdict}{' '.join(sentences)}</p>"
        + _chart(samples, about)
        + _drawn(frames, samples, about)
        + folded(f"Every sample ({integer(samples.height)})", _table(samples, about))
    )


def _with_verdicts(frames: Frames) -> pl.DataFrame:
    samples = frames["omics.sample_qc"]
    if QUALITY not in frames:
        return samples.with_columns(verdict=pl.lit(None, dtype=pl.String))
    judged = frames[QUALITY].select(
        "sample_id",
        "verdict",
        "has_swap_suspected",
        "likely_subject",
        "likely_partner_sample",
        "is_outlier",
        "is_depth_outlier",
        "is_excluded",
    )
    return samples.join(judged, on="sample_id", how="left")


def _judgements(samples: pl.DataFrame) -> list[str]:
    """Say whose samples seem exchanged, which are odd, and which are left out."""
    sentences = []
    seen: set[str] = set()
    for row in samples.filter(pl.col("has_swap_suspected")).sort("sample_id").to_dicts():
        one, other, whose = row["sample_id"], row["likely_partner_sample"], row["likely_subject"]
        if one in seen:
            continue
        seen |= {one, other}
        sentences.append(
            f"<strong>{escape(one)} and {escape(other)} seem to be exchanged</strong>: each is like the other"
            " samples of the other's participant."
            if other
            else f"<strong>{escape(one)} seems to belong to {escape(whose or 'somebody else')}</strong>."
        )
    if not seen and samples["has_swap_suspected"].null_count() < samples.height:
        sentences.append("No sample seems to be exchanged.")
    sentences.append(f"Unlike the others of its group: {_named(samples.filter('is_outlier'))}.")
    deep = samples.filter(pl.col("is_depth_outlier"))
    if deep.height:
        sentences.append(f"Fat markers are unusual in {_named(deep)}.")
    left_out = _named(samples.filter(pl.col("is_excluded")))
    sentences.append(f"Left out of every analysis of expression: {left_out}.")
    return sentences


def _drawn(frames: Frames, samples: pl.DataFrame, about: About) -> str:
    named = set(samples.filter(_needs_a_look())["sample_id"])
    drawn = ""
    if sample_charts.COMPONENTS in frames:
        drawn += sample_charts.components(frames[sample_charts.COMPONENTS], named, about)
    if sample_charts.ASSOCIATIONS in frames:
        said = sample_charts.associations(frames[sample_charts.ASSOCIATIONS])
        drawn += f"<p>{escape(' '.join(said))}</p>" if said else ""
    if sample_charts.CORRELATION in frames:
        drawn += sample_charts.correlations(frames[sample_charts.CORRELATION], about)
    return drawn


def _named(samples: pl.DataFrame) -> str:
    if samples.is_empty():
        return "none"
    names = ", ".join(escape(each) for each in samples["sample_id"].head(SAMPLES_IN_A_SENTENCE))
    more = samples.height - SAMPLES_IN_A_SENTENCE
    return f"{integer(samples.height)} ({names}{f' and {integer(more)} more' if more > 0 else ''})"


def _needs_a_look() -> pl.Expr:
    return (
        ~pl.col("is_sex_concordant").fill_null(True)
        | pl.col("is_library_size_low").fill_null(False)
        | (pl.col("verdict").fill_null(AS_EXPECTED) != AS_EXPECTED)
    )


def _chart(samples: pl.DataFrame, about: About) -> str:
    data = samples.with_columns(
        (pl.col("library_size") / 1e6).alias("millions"),
        pl.col("visit").fill_null("no visit"),
        pl.when(_needs_a_look())
        .then(pl.lit("needs a look"))
        .otherwise(pl.lit("as expected"))
        .alias("verdict"),
    )
    data = data.filter(pl.col("library_size").is_not_null()).sort("library_size", "sample_id")
    if data.is_empty():
        return ""
    smallest, largest = data["millions"][0], data["millions"][-1]
    says = (
        f"Library sizes of {count(data.height, 'sample')}, from {number(smallest, 1)} to"
        f" {number(largest, 1)} million counts."
    )
    caption = "Library size of each sample, smallest first; crosses need a look."
    return figure("library_sizes", lambda width: _draw(data, width), says=says, caption=caption, about=about)


def _draw(data: pl.DataFrame, width: int) -> Drawing:
    narrow = width == NARROW
    named = data.height <= (SAMPLES_NAMED if not narrow else SAMPLES_NAMED // 2)
    visits = data["visit"].unique().sort().to_list()
    palette = [SERIES[place % len(SERIES)] for place in range(len(visits))]
    drawn: Drawing = (
        alt.Chart(data)
        .mark_point(filled=False, strokeWidth=2, opacity=1)
        .encode(
            x=alt.X(
                "sample_id:N",
                sort=data["sample_id"].to_list(),
                title=None if named else "Samples",
                axis=alt.Axis(labelAngle=-90, labels=named, ticks=named, grid=False),
            ),
            y=alt.Y("millions:Q", title="Million counts", scale=alt.Scale(zero=True)),
            color=alt.Color("visit:N", scale=alt.Scale(domain=visits, range=palette)),
            shape=alt.Shape(
                "verdict:N",
                scale=alt.Scale(domain=["as expected", "needs a look"], range=["circle", "cross"]),
                legend=None,
            ),
            size=alt.Size(
                "verdict:N",
                scale=alt.Scale(domain=["as expected", "needs a look"], range=[45, 170]),
                legend=None,
            ),
        )
        .properties(width=width, height=300 if not narrow else 270)
    )
    return drawn


def _table(samples: pl.DataFrame, about: About) -> str:
    return table(
        "samples",
        samples,
        [
            code("Sample", "sample_id"),
            plain("Participant", "usubjid"),
            plain("Visit", "visit"),
            plain("Tissue", "tissue"),
            numeric("Library size", "library_size"),
            numeric("Genes detected", "n_genes_detected"),
            plain("Sex on record", "recorded_sex"),
            plain("Sex expressed", "expressed_sex"),
            prose("Remarks", _remarks),
        ],
        caption="Samples",
        about=about,
        emphasise=lambda row: bool(_remarks(row)),
        whole_table=QUALITY if samples["verdict"].null_count() < samples.height else "omics.sample_qc",
    )


def _remarks(row: Mapping[str, Any]) -> str:
    if row["verdict"] is not None:
        return "" if row["verdict"] == AS_EXPECTED else str(row["verdict"])
    said = []
    if row["is_sex_concordant"] is False:
        said.append("sex differs from the record")
    if row["is_library_size_low"]:
        said.append("low library size")
    return ", ".join(said)


SECTION = Section(
    "sample_quality",
    "Sample quality",
    ("omics.sample_qc",),
    write,
    uses=(QUALITY, sample_charts.COMPONENTS, sample_charts.ASSOCIATIONS, sample_charts.CORRELATION),
)
