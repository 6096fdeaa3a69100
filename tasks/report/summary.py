"""The first thing read: the primary result in a sentence, the top of the expression result, what failed."""

from __future__ import annotations

from typing import Any

import polars as pl

from tasks.report import clinical_summary, gene_sets
from tasks.report.expression import FALSE_DISCOVERY_RATE, FALSE_DISCOVERY_RATE_SAID, called, contrasts
from tasks.report.primary_result import headline, method_in_words
from tasks.report.section import About, Frames, Section
from tasks.report.wording import (
    breakable,
    count,
    escape,
    gene,
    integer,
    interval,
    number,
    p_value_in_words,
    verb,
)

GENES_NAMED = 6
GENE_SETS_NAMED = 3

Row = dict[str, Any]


def write(frames: Frames, about: About) -> str:
    sentences = [
        _primary(frames) or clinical_summary.comparison(frames),
        clinical_summary.scenarios(frames),
        clinical_summary.safety(frames),
        clinical_summary.decisions(frames),
        _expression(frames),
        _gene_sets(frames),
        _checks(frames),
    ]
    tiles = [tile for tile in (_participants(frames), *_result_tiles(frames), _check_tile(frames)) if tile]
    written = [sentence for sentence in sentences if sentence]
    if not written:
        written = [f"<p>Nothing of {escape(about.study_id)} has been analysed in this version.</p>"]
    return f'<div class="tiles">{"".join(tiles)}</div>' * bool(tiles) + "".join(written)


def _primary(frames: Frames) -> str:
    frame = frames.get("results.primary_endpoint")
    if frame is None:
        return ""
    test, estimate = headline(frame)
    row = estimate or test
    if row is None:
        return '<p class="lead">The primary endpoint has no result in this version.</p>'
    said = [_change(estimate)] if estimate else []
    if test:
        said.append(f"{escape(method_in_words(test))}: {escape(p_value_in_words(test['p_value']))}.")
    improved = frame.filter(
        pl.col("statistic") == "n_improved", pl.col("variable") == row["variable"]
    ).to_dicts()
    if improved and improved[0]["estimate"] is not None:
        said.append(
            f"{integer(improved[0]['estimate'])} of {integer(improved[0]['n'])} participants improved."
        )
    return f'<p class="lead">{" ".join(said)}</p>'


def _change(row: Row) -> str:
    """Say a change in the direction that it took, with its interval in the same direction."""
    value, low, high = row["estimate"], row["ci_low"], row["ci_high"]
    fell = value < 0
    if fell:
        value = -value
        low, high = (None if high is None else -high), (None if low is None else -low)
    unit = f" {row['unit']}" if row["unit"] else ""
    details = []
    if low is not None and high is not None:
        details.append(f"{100 * row['ci_level']:g} % interval {interval(low, high, 1)}")
    details.append(f"n = {integer(row['n'])}")
    return (
        f"At {escape(row['avisit'])}, {escape(row['param'] or row['paramcd'])} had"
        f" {'fallen' if fell else 'risen'} by a mean of"
        f" <strong>{escape(number(value, 1) + unit)}</strong> ({escape('; '.join(details))})."
    )


def _expression(frames: Frames) -> str:
    if "results.differential_expression" not in frames:
        return ""
    return "".join(_contrast(part) for part in contrasts(frames))


def _contrast(effects: pl.DataFrame) -> str:
    genes = called(effects)
    title = effects["contrast_title"][0]
    tested = effects["p_value"].drop_nulls().len()
    if genes.is_empty():
        return (
            f"<p>{escape(title)}: no gene of {integer(tested)} tested is called at a false discovery rate of"
            f" {FALSE_DISCOVERY_RATE_SAID}.</p>"
        )
    up = genes.filter(pl.col("log2_fold_change") > 0)
    down = genes.filter(pl.col("log2_fold_change") < 0)
    named = [
        f"{word} most surely: {', '.join(f'<i>{escape(gene(row))}</i>' for row in part.to_dicts())}"
        for word, part in (("lower", down.head(GENES_NAMED)), ("higher", up.head(GENES_NAMED)))
        if not part.is_empty()
    ]
    sides = (
        f": {integer(down.height)} lower, {integer(up.height)} higher; {'; '.join(named)}" if named else ""
    )
    return (
        f"<p>{escape(title)}: <strong>{count(genes.height, 'gene')}</strong> of {integer(tested)} tested"
        f" {verb(genes.height, 'differs', 'differ')} at a false discovery rate of"
        f" {FALSE_DISCOVERY_RATE_SAID}{sides}.</p>"
    )


def _gene_sets(frames: Frames) -> str:
    frame = frames.get("reports.top_gene_sets")
    if frame is None or frame.is_empty():
        return ""
    called = frame.filter(pl.col("p_adjusted") < FALSE_DISCOVERY_RATE).sort("position")
    if called.is_empty():
        return "<p>No gene set moved together beyond chance.</p>"
    said = []
    for contrast in gene_sets.contrasts(frames):
        top = called.filter(pl.col("contrast") == contrast).head(GENE_SETS_NAMED)
        named = "; ".join(
            f"{breakable(row['gene_set'])} ({'lower' if row['nes'] < 0 else 'higher'},"
            f" normalised score {number(row['nes'], 2)})"
            for row in top.to_dicts()
        )
        if named:
            said.append(f"{escape(top['contrast_title'][0])}: {named}.")
    return f"<p>Gene sets that moved together most clearly. {' '.join(said)}</p>"


def _checks(frames: Frames) -> str:
    results = frames.get("meta.check_result")
    if results is None:
        return ""
    unmet = results.filter(~pl.col("is_met"))
    if unmet.is_empty():
        return f"<p>All {count(results.height, 'check')} of the data and the results are met.</p>"
    stopped = unmet.filter(pl.col("severity") == "critical").height
    failures = frames.get("meta.check_failure")
    failing = 0 if failures is None else failures.height
    aside = 0 if failures is None else _set_aside(failures)
    parts = [
        (
            f"<strong>{integer(unmet.height)}</strong> of {count(results.height, 'check')}"
            f" {verb(unmet.height, 'is', 'are')} not met"
        ),
        f"{integer(failing)} failing {verb(failing, 'value is', 'values are')} listed with file and row",
        f"{count(aside, 'row')} {verb(aside, 'was', 'were')} set aside",
    ]
    if stopped:
        parts.append(f"{count(stopped, 'check')} stopped a stage")
    return f'<p>{"; ".join(parts)}. <a href="#checks">What failed</a>.</p>'


def _set_aside(failures: pl.DataFrame) -> int:
    """Count rows, for a row that fails two expectations is set aside once."""
    rows = failures.filter(pl.col("disposition") == "set aside")
    return rows.select("table_name", "source_file", "source_row", "row_key").n_unique()


def _tile(value: str, label: str, *, href: str) -> str:
    return f'<a class="tile" href="#{href}"><b>{escape(value)}</b><span>{escape(label)}</span></a>'


def _participants(frames: Frames) -> str:
    frame = frames.get("reports.participant_flow")
    if frame is None or frame.is_empty():
        return ""
    stages = frame.filter(pl.col("kind") == "stage").sort("position")
    treated = stages.filter(pl.col("stage") == "Treated")
    row = (treated if not treated.is_empty() else stages).row(0, named=True)
    return _tile(integer(row["n"]), f"participants {str(row['stage']).lower()}", href="participant_flow")


def _result_tiles(frames: Frames) -> list[str]:
    tiles = []
    frame = frames.get("results.primary_endpoint")
    if frame is not None:
        test, estimate = headline(frame)
        if estimate:
            unit = f" {estimate['unit']}" if estimate["unit"] else ""
            value = number(estimate["estimate"], 1) + unit
            what = "mean percent change" if estimate["variable"] == "PCHG" else "mean change"
            label = f"{what}, {estimate['avisit']}"
            tiles.append(_tile(value, label, href="primary_result"))
        if test and test["p_value"] is not None:
            label = "primary test, two-sided" if test["alternative"] == "two-sided" else "primary test"
            value = p_value_in_words(test["p_value"]).partition(" (")[0]
            tiles.append(_tile(value, label, href="primary_result"))
    tiles += [] if frame is not None else _comparison_tiles(frames)
    for part in contrasts(frames) if "results.differential_expression" in frames else []:
        label = f"genes at FDR {FALSE_DISCOVERY_RATE_SAID}, {part['contrast'][0]}"
        tiles.append(_tile(integer(called(part).height), label, href="expression"))
    return tiles


def _comparison_tiles(frames: Frames) -> list[str]:
    """Show the last arm, which has the highest dose, against the reference."""
    found = clinical_summary.differences(frames)
    if not found or found[-1].number("estimate") is None:
        return []
    cell = found[-1]
    value = number(cell.number("estimate"), 1) + (f" {cell.unit}" if cell.unit else "")
    p = p_value_in_words(cell.number("p.value")).partition(" (")[0]
    return [
        _tile(value, f"{cell.arm} minus {cell.reference}, {cell.group3}", href="treatment_comparison"),
        _tile(p, "that difference, not adjusted", href="treatment_comparison"),
    ]


def _check_tile(frames: Frames) -> str:
    results = frames.get("meta.check_result")
    if results is None or results.is_empty():
        return ""
    unmet = results.filter(~pl.col("is_met")).height
    return _tile(f"{integer(unmet)} of {integer(results.height)}", "checks not met", href="checks")


SECTION = Section(
    name="summary",
    title="Summary",
    needs=(),
    write=write,
    uses=(
        *clinical_summary.USES,
        "meta.check_failure",
        "meta.check_result",
        "reports.participant_flow",
        "reports.top_gene_sets",
        "results.primary_endpoint",
        "results.differential_expression",
        "results.enriched_gene_sets",
        "meta.expression_contrast",
    ),
)
