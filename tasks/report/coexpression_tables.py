"""Tables of the co-expression section: each reads the frames of one network, and is empty without them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.report.expression import FALSE_DISCOVERY_RATE, FALSE_DISCOVERY_RATE_SAID
from tasks.report.module_colours import MODULE, named
from tasks.report.tables import Column, numeric, plain, prose, table
from tasks.report.wording import (
    ABSENT,
    breakable,
    capitalised,
    count,
    escape,
    gene,
    integer,
    interval,
    number,
    p_value,
    p_value_in_words,
    percent,
)

if TYPE_CHECKING:
    from tasks.report.section import About, Frames

MODULES = "results.gene_modules"
EIGENGENES = "results.module_eigengenes"
RESPONSE = "results.module_response"
ENRICHMENT = "results.module_enrichment"
HUBS = "results.hub_genes"
PRESERVATION = "results.module_preservation"

SETS_NAMED = 3
SETS_SHOWN = 5
HUBS_NAMED = 8

POOLED_SAID = (
    "The pooled p takes every sample as a participant of its own, as most published module-trait tables do."
    " Samples of one participant are alike, so it is too small: it is here for comparison, and no basis for a"
    " conclusion."
)

Row = Mapping[str, Any]


def changed(frames: Frames) -> pl.DataFrame | None:
    """Return the changes that could be tested, contrasts as declared; None where there are none."""
    response = frames.get(RESPONSE)
    if response is None:
        return None
    tested = response.filter(pl.col("status") == "tested")
    declared = frames.get("meta.expression_contrast")
    order = [] if declared is None else declared.sort("place")["contrast"].to_list()
    place = {name: position for position, name in enumerate(order)}
    return (
        tested.with_columns(
            contrast_place=pl.col("contrast").replace_strict(place, default=len(place), return_dtype=pl.Int64)
        ).sort("contrast_place", "contrast", "module")
        if not tested.is_empty()
        else None
    )


def modules_table(place: int, frames: Frames, about: About) -> str:
    """Write one row for each module: the whole story in short."""
    explained = _by_module(frames.get(EIGENGENES), "variance_explained")
    found_again = _by_module(frames.get(HUBS), "module_found_again")
    sets, change = _strongest_sets(frames.get(ENRICHMENT)), _strongest_change(changed(frames))
    shown = frames[MODULES].filter(pl.col("module") > 0).unique("module").sort("module")
    columns = [MODULE, numeric("Genes", "module_size")]
    if explained:
        columns.append(_share("Variance explained", explained))
    if any(value is not None for value in found_again.values()):
        columns.append(_share("Found again", found_again))
    if sets is not None:
        columns.append(
            Column(
                "Strongest gene sets, interferon first",
                lambda row: _wide(sets.get(row["module"])),
                is_markup=True,
            )
        )
    if change is not None:
        columns.append(Column("Surest change", lambda row: _wide(change.get(row["module"])), is_markup=True))
    columns.append(prose("Label", lambda row: str(row["label_note"] or row["label_status"])))
    made = table(
        f"coexpression_modules_{place}",
        shown,
        columns,
        caption="Modules, by their number",
        about=about,
        whole_table=MODULES,
    )
    said = (
        "Variance explained: by its eigengene, of the variance of its genes."
        " Found again: in how many resamples of participants half of it was."
    )
    if change is not None:
        said += f" {POOLED_SAID}"
    return made + f'<p class="note wide-note">{said}</p>'


def _by_module(frame: pl.DataFrame | None, name: str) -> dict[int, float | None]:
    if frame is None:
        return {}
    first = frame.filter(pl.col("module") > 0).unique("module")
    return dict(zip(first["module"], first[name], strict=True))


def _share(heading: str, values: Mapping[int, float | None]) -> Column:
    def text(row: Row) -> str:
        value = values.get(row["module"])
        return ABSENT if value is None else percent(value, 1)

    return Column(heading, text, align="right")


def _wide(markup: str | None) -> str:
    return f'<div class="prose wide">{markup or ABSENT}</div>'


def _strongest_sets(enrichment: pl.DataFrame | None) -> dict[int, str] | None:
    """Name the called sets of each module, those of interferon before the others however sure these are."""
    if enrichment is None:
        return None
    said = dict.fromkeys(
        enrichment["module"], f"none at a false discovery rate of {FALSE_DISCOVERY_RATE_SAID}"
    )
    called = enrichment.filter(pl.col("p_adjusted") < FALSE_DISCOVERY_RATE)
    for (module,), part in _ranked_sets(called).group_by("module", maintain_order=True):
        names = [
            f"{breakable(row['gene_set'])} ({integer(row['n_in_module'])} genes, p adjusted"
            f" {p_value(row['p_adjusted'])})"
            for row in part.head(SETS_NAMED).iter_rows(named=True)
        ]
        more = part.height - SETS_NAMED
        said[int(module)] = "; ".join(names) + (f"; and {integer(more)} more" if more > 0 else "")
    return said


def _ranked_sets(sets: pl.DataFrame) -> pl.DataFrame:
    return sets.sort(
        "module",
        "is_interferon",
        "p_value",
        "collection",
        "gene_set",
        descending=[False, True, False, False, False],
    )


def _strongest_change(tested: pl.DataFrame | None) -> dict[int, str] | None:
    if tested is None:
        return None
    surest = tested.sort("p_value", "contrast_place").unique("module", keep="first", maintain_order=True)
    return {
        row["module"]: (
            f"{escape(row['contrast_title'])}: {_direction(row)}, exact {p_value_in_words(row['p_value'])} in"
            f" {count(row['n_subjects'], 'participant')}, adjusted {p_value(row['p_adjusted'])}"
            + (
                f'; <span class="note">pooled {p_value(row["p_value_pooled"])}, too small</span>'
                if row["p_value_pooled"] is not None
                else ""
            )
        )
        for row in surest.iter_rows(named=True)
    }


def _direction(row: Row) -> str:
    estimate = row["hodges_lehmann"]
    if not estimate:
        return "no change"
    return f"{'higher' if estimate > 0 else 'lower'} by {number(abs(estimate), 2)}"


def changes_table(place: int, frames: Frames, about: About) -> str:
    """Write every tested change, and the correlation with the score where one was asked for."""
    tested = changed(frames)
    if tested is None:
        response = frames.get(RESPONSE)
        if response is None:
            return ""
        reasons = response.unique("contrast", maintain_order=True)
        return "".join(
            f"<p>{escape(row['contrast_title'])}: {escape(row['reason'])}.</p>"
            for row in reasons.iter_rows(named=True)
        )
    columns = [
        plain("Contrast", "contrast_title"),
        MODULE,
        numeric("Participants", "n_subjects"),
        numeric("Hodges-Lehmann", "hodges_lehmann", lambda value: number(value, 2)),
        Column("Interval", lambda row: interval(row["ci_low"], row["ci_high"], 2), align="right"),
        numeric("p exact", "p_value", p_value),
        numeric("p adjusted", "p_adjusted", p_value),
        numeric("p, labels exchanged within participants", "p_sign_flip", p_value),
        numeric("p pooled (too small)", "p_value_pooled", p_value),
    ]
    return (
        table(
            f"coexpression_changes_{place}",
            tested,
            columns,
            caption="Change of each eigengene within participants: positive: higher in the first",
            about=about,
            whole_table=RESPONSE,
        )
        + f'<p class="note wide-note">{POOLED_SAID} {escape(capitalised(str(tested["method"][0])))}.</p>'
        + _scores(place, tested, about)
    )


def _scores(place: int, tested: pl.DataFrame, about: About) -> str:
    asked = tested.filter(pl.col("score_rho").is_not_null())
    if asked.is_empty():
        return ""
    first = asked.row(0, named=True)
    return table(
        f"coexpression_scores_{place}",
        asked.sort("score_p_value", "contrast_place", "module"),
        [
            plain("Contrast", "contrast_title"),
            MODULE,
            numeric("Participants", "score_n_subjects"),
            numeric("rho", "score_rho", lambda value: number(value, 2)),
            Column(
                "Interval",
                lambda row: interval(row["score_rho_low"], row["score_rho_high"], 2),
                align="right",
            ),
            numeric("p exact or by permutation", "score_p_value", p_value),
            numeric("p adjusted", "score_p_adjusted", p_value),
            numeric("p pooled (too small)", "score_p_value_pooled", p_value),
        ],
        caption=f"Change of the eigengene against the change of {first['score']} to {first['score_visit']}:"
        " positive, it falls as the score falls",
        about=about,
        whole_table=RESPONSE,
    )


def protected_table(place: int, frames: Frames, about: About) -> str:
    """Say of each protected gene what it is in this network, above all when it is no hub."""
    hubs = frames.get(HUBS)
    protected = None if hubs is None else hubs.filter(pl.col("is_protected"))
    if protected is None or protected.is_empty():
        return ""
    return table(
        f"coexpression_protected_{place}",
        protected.sort(
            pl.col("is_hub"), "rank_in_module", "feature_id", descending=[True, False, False], nulls_last=True
        ),
        [
            Column("Protected gene", lambda row: gene(dict(row))),
            MODULE,
            Column("Rank in its module", _rank, align="right"),
            numeric("kME", "kme", lambda value: number(value, 2)),
            prose("That is", _role),
        ],
        caption="Protected genes: hubs or not",
        about=about,
        emphasise=lambda row: bool(row["is_hub"]),
        whole_table=HUBS,
    )


def _role(row: Row) -> str:
    if not row["module"]:
        return "in no module: it follows none of them closely enough"
    if row["is_hub"]:
        return f"a hub of module {named(row)}"
    rank, size = integer(row["rank_in_module"]), integer(row["module_size"])
    return f"in module {named(row)}, but no hub of it: rank {rank} of {size}"


def _rank(row: Row) -> str:
    """Write a rank with what it is in nine of ten resamples."""
    if row["rank_in_module"] is None:
        return ABSENT
    limits = interval(row["rank_low"], row["rank_high"], 0)
    return integer(row["rank_in_module"]) + ("" if limits == ABSENT else f" ({limits})")


def hubs_table(place: int, frames: Frames, about: About) -> str:
    """Write one row for each module with the genes that lead it."""
    rows = frames.get(HUBS)
    hubs = None if rows is None else rows.filter(pl.col("is_hub")).sort("module", "rank_in_module")
    if hubs is None or hubs.is_empty():
        return ""
    listed = [
        {"module": part["module"][0], "colour": part["colour"][0], "genes": part.head(HUBS_NAMED).to_dicts()}
        for part in hubs.partition_by("module", maintain_order=True)
    ]
    return (
        table(
            f"coexpression_hubs_{place}",
            pl.DataFrame(listed),
            [
                MODULE,
                Column("Hub genes", lambda row: _wide(", ".join(map(_hub, row["genes"]))), is_markup=True),
            ],
            caption="Hub genes in order of kME; in brackets the rank in nine of ten resamples",
            about=about,
            whole_table=HUBS,
        )
        + '<p class="note">Protected genes are in bold.</p>'
    )


def _hub(row: Row) -> str:
    limits = interval(row["rank_low"], row["rank_high"], 0)
    name = escape(gene(dict(row)))
    return (f"<b>{name}</b>" if row["is_protected"] else name) + ("" if limits == ABSENT else f" ({limits})")


def enrichment_table(place: int, frames: Frames, about: About) -> str:
    """Write every interferon set that was tested, and the surest others of each module."""
    every = frames.get(ENRICHMENT)
    tested = None if every is None else every.filter(pl.col("p_value").is_not_null())
    if tested is None or tested.is_empty():
        return ""
    called = pl.col("p_adjusted") < FALSE_DISCOVERY_RATE
    others = _ranked_sets(tested.filter(~pl.col("is_interferon"), called)).group_by(
        "module", maintain_order=True
    )
    shown = _ranked_sets(
        pl.concat([tested.filter(pl.col("is_interferon")), others.head(SETS_SHOWN)], how="diagonal")
    )
    return table(
        f"coexpression_sets_{place}",
        shown,
        [
            MODULE,
            Column(
                "Gene set",
                lambda row: f'<span class="name">{breakable(row["gene_set"])}</span>',
                is_markup=True,
            ),
            plain("Collection", "collection"),
            Column(
                "Genes in the module",
                lambda row: f"{integer(row['n_in_module'])} of {integer(row['size_in_network'])}",
                align="right",
            ),
            numeric("Odds ratio", "odds_ratio", lambda value: number(value, 1)),
            Column("Interval", lambda row: interval(row["ci_low"], row["ci_high"], 1), align="right"),
            numeric("p", "p_value", p_value),
            numeric("p adjusted", "p_adjusted", p_value),
        ],
        caption=f"Gene sets of interferon, then up to {SETS_SHOWN} called others of each module",
        about=about,
        emphasise=lambda row: row["p_adjusted"] is not None and row["p_adjusted"] < FALSE_DISCOVERY_RATE,
        whole_table=ENRICHMENT,
    )


def preservation_table(place: int, frames: Frames, about: About) -> str:
    """Write whether the modules hold together in other samples, test by test, where that was asked."""
    rows = frames.get(PRESERVATION)
    if rows is None:
        return ""
    modules = rows.filter(pl.col("module") > 0).sort("module")
    return "".join(
        _preserved(f"{place}_{number}", part, about)
        for number, part in enumerate(modules.sort("test").partition_by("test", maintain_order=True), start=1)
    )


def _preserved(place: str, modules: pl.DataFrame, about: About) -> str:
    title = modules["test_title"][0]
    tested = modules.filter(pl.col("status") == "tested").sort("module")
    untested = modules.filter(pl.col("status") == "not_tested").sort("module")
    reasons = [
        f"{', '.join(named(row) for row in part.iter_rows(named=True))}: {part['reason'][0]}"
        for part in untested.partition_by("reason", maintain_order=True)
    ]
    said = f'<p class="note wide-note">Not tested: {escape("; ".join(reasons))}.</p>' if reasons else ""
    if tested.is_empty():
        return f"<p>{escape(title)}: {escape(untested['reason'][0])}.</p>"
    warned = tested.filter(pl.col("warning").is_not_null()).partition_by("warning", maintain_order=True)
    every = [part["warning"][0] for part in warned if part.height == tested.height]
    some = [
        f"{named(row)}: {part['warning'][0]}"
        for part in warned
        if part.height < tested.height
        for row in part.iter_rows(named=True)
    ]
    notes = f'<p class="note wide-note">{escape("; ".join((*every, *some)))}.</p>' if warned else ""
    return (
        table(
            f"coexpression_preservation_{place}",
            tested,
            [
                MODULE,
                Column(
                    "Genes",
                    lambda row: f"{integer(row['n_genes_tested'])} of {integer(row['module_size'])}",
                    align="right",
                ),
                numeric("Samples", "n_samples_test"),
                numeric("Zsummary", "z_summary", lambda value: number(value, 1)),
                numeric("p", "p_value", p_value),
                numeric("p adjusted", "p_adjusted", p_value),
                numeric("Median rank", "median_rank", lambda value: number(value, 1)),
                plain("Evidence that it is a module there", "verdict"),
            ],
            caption=f"Modules in other samples. {title}",
            about=about,
            whole_table=PRESERVATION,
        )
        + '<p class="note wide-note">Zsummary below 2 is no evidence, from 10 strong; it grows with a'
        " module's size. The median rank (1 is best) does not. p: against genes at random.</p>" + notes + said
    )
