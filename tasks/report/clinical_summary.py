"""The clinical results in a sentence each, with a link to where they are told in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.report import adverse_events, multiplicity, sensitivity, treatment_comparison
from tasks.report.statistics_cells import TOTAL, Cell, cells, sizes
from tasks.report.wording import (
    capitalised,
    count,
    escape,
    integer,
    interval,
    number,
    p_value,
    p_value_in_words,
    verb,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.report.section import Frames

# More are told in their own section.
MOST_DECISIONS = 4
USES = (
    treatment_comparison.RESULT,
    sensitivity.SCENARIOS,
    sensitivity.RESULT,
    adverse_events.RESULT,
    multiplicity.TESTS,
    multiplicity.COUNTS,
)


def differences(frames: Frames) -> list[Cell]:
    """Return each arm's difference from the reference, of the first estimand that decides, or the first."""
    statistics = frames.get(treatment_comparison.RESULT)
    if statistics is None or statistics.is_empty():
        return []
    confirmed = statistics.filter(pl.col("is_confirmatory"))
    estimand = (confirmed if confirmed.height else statistics)["estimand"][0]
    own = cells(statistics.filter(pl.col("estimand").eq_missing(estimand)), "difference")
    return [cell for cell in own if own[0].reference == cell.reference]


def comparison(frames: Frames) -> str:
    """Say the primary comparison of arms, where there are arms."""
    found = differences(frames)
    told = [_difference(cell) for cell in found if cell.number("estimate") is not None]
    if not told:
        return ""
    first = found[0]
    return (
        f'<p class="lead">{escape(first.label)} at {escape(first.group3)}, difference from'
        f" {escape(first.reference)}: {'; '.join(told)}."
        ' <a href="#treatment_comparison">Comparison of treatments</a>.</p>'
    )


def _difference(cell: Cell) -> str:
    unit = f" {cell.unit}" if cell.unit else ""
    level = cell.number("conf.level")
    limits = interval(cell.number("conf.low"), cell.number("conf.high"), 2)
    described = f"{100 * level:g} % interval {limits}" if level else limits
    value = f"{number(cell.number('estimate'), 2)}{unit}"
    return (
        f"{escape(cell.arm)} <strong>{escape(value)}</strong> ({escape(described)};"
        f" {escape(p_value_in_words(cell.number('p.value')))})"
    )


def scenarios(frames: Frames) -> str:
    """Say how far the estimate moves between the scenarios of the sensitivity analysis."""
    found = frames.get(sensitivity.SCENARIOS)
    if found is None or sensitivity.RESULT not in frames:
        return ""
    drawn = sensitivity.of_the_estimates_unit(found)
    if drawn.is_empty():
        return ""
    first = drawn.row(0, named=True)
    own = drawn.filter(pl.col("estimand") == first["estimand"], pl.col("arm").eq_missing(first["arm"]))
    unit = f" {first['unit']}" if first["unit"] else ""
    low, high = number(own["estimate"].min(), 2), number(own["estimate"].max(), 2)  # type: ignore[arg-type]
    spread = f"is {low}{unit}" if low == high else f"goes from {low} to {high}{unit}"
    of_arm = f" ({first['arm']} against {first['reference']})" if first["reference"] else ""
    return (
        f"<p>Under {count(own.height, 'scenario')} of the sensitivity analysis the estimate{escape(of_arm)}"
        f' {escape(spread)}. <a href="#sensitivity">Sensitivity</a>.</p>'
    )


def safety(frames: Frames) -> str:
    """Say how many had an adverse event, a serious one, one that ended treatment."""
    statistics = frames.get(adverse_events.RESULT)
    if statistics is None or statistics.is_empty():
        return ""
    everyone = [*sizes(statistics)][-1:]
    overall = statistics.filter(pl.col("group2").is_null(), pl.col("group1_level").is_in([TOTAL, *everyone]))
    counted = {
        cell.variable: cell
        for cell in cells(overall, adverse_events.COUNTED)
        if cell.arm in everyone and cell.variable in _SAFETY
    }
    told = [
        f"{integer(n)} {words}"
        for variable, words in _SAFETY.items()
        if variable in counted and (n := counted[variable].number("n")) is not None
    ]
    if not told:
        return ""
    n = sizes(statistics)[everyone[0]]
    return (
        f"<p>Adverse events: of {count(n, 'participant')}, {escape(', '.join(told))}."
        ' <a href="#adverse_events">Adverse events</a>.</p>'
    )


_SAFETY = {
    adverse_events.ANY: "had an event during treatment",
    "RELGR1": "a related one",
    "AESER": "a serious one",
    "AEACN": "one that ended treatment",
    "AESDTH": "a fatal one",
}


def _decision(row: Mapping[str, Any]) -> str:
    who = f", {row['arm']} against {row['reference']}" if row["reference"] else ""
    p = p_value_in_words(row["p_value"]).partition(" (")[0]
    adjusted = "" if row["p_adjusted"] is None else f", adjusted {p_value(row['p_adjusted'])}"
    return f"{row['title']}{who} {p}{adjusted}"


def decisions(frames: Frames) -> str:
    """Say how many tests decide, and that every stated number of participants was counted anew."""
    tests = frames.get(multiplicity.TESTS)
    if tests is None:
        return ""
    said = []
    if tests.height:
        families = tests["family"].n_unique()
        told = [_decision(row) for row in tests.sort("position").head(MOST_DECISIONS).to_dicts()]
        more = tests.height - len(told)
        said.append(
            f"{count(tests.height, 'test')} in {count(families, 'family', 'families')}"
            f" {verb(tests.height, 'decides', 'decide')} about an estimand: {'; '.join(told)}"
            + (f" and {integer(more)} more" if more else "")
        )
    counts = frames.get(multiplicity.COUNTS)
    if counts is not None and counts.height:
        wrong = counts.filter(~pl.col("is_reconciled")).height
        outcome = f"{integer(wrong)} differ" if wrong else "all equal"
        said.append(
            f"{integer(counts.height)} stated numbers of participants compared with the participant flow:"
            f" {outcome}"
        )
    if not said:
        return ""
    return f'<p>{escape(capitalised(". ".join(said)))}. <a href="#multiplicity">Tests that decide</a>.</p>'
