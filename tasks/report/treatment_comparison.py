"""Treatment comparison: each arm's score with its adjusted mean, and every difference with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.report.arm_table import MEAN, ArmTable, p_values
from tasks.report.forest import Effect, forest
from tasks.report.section import About, Frames, Section
from tasks.report.statistics_cells import (
    Cell,
    by_estimand,
    cells,
    estimand_titles,
    methods_note,
    sizes,
)
from tasks.report.tables import folded
from tasks.report.wording import capitalised, escape, interval, number, p_value

if TYPE_CHECKING:
    import polars as pl

RESULT = "results.treatment_comparison"
_DESCRIBED = {"BASE": "Baseline", "AVAL": "Value", "CHG": "Change", "PCHG": "Percent change"}
_ORDINAL = {
    "cmh_row_mean_scores": "Cochran-Mantel-Haenszel test, row mean scores",
    "cmh_general_association": "Cochran-Mantel-Haenszel test, general association",
    "rank_sum": "Wilcoxon rank-sum test",
    "van_elteren": "Van Elteren test",
}


def write(frames: Frames, about: About) -> str:
    statistics = frames[RESULT]
    if statistics.is_empty():
        return "<p>No comparison of arms has a result in this version.</p>"
    parts = []
    titles = estimand_titles(frames)
    for place, (estimand, heading, part) in enumerate(by_estimand(statistics, frames)):
        written = _plot(part, estimand, about) + _table(part, estimand, about) + _tests(part)
        # What decides is open, and the first in any case.
        if place == 0 or part["is_confirmatory"].any():
            parts.append(heading + written)
        else:
            parts.append(folded(titles.get(estimand, estimand), written))
    return "".join(parts)


def _plot(statistics: pl.DataFrame, estimand: str, about: About) -> str:
    effects = [
        Effect(
            label=f"{cell.arm} minus {cell.reference}",
            estimate=estimate,
            low=cell.number("conf.low"),
            high=cell.number("conf.high"),
            p_value=cell.number("p.value"),
        )
        for cell in cells(statistics, "difference")
        if (estimate := cell.number("estimate")) is not None
    ]
    first = next(iter(cells(statistics, "difference")), None)
    if first is None or not effects:
        return ""
    unit = f" ({first.unit})" if first.unit else ""
    return forest(
        f"differences-{estimand}",
        effects,
        axis=f"Difference of LS means{unit}",
        caption=f"{first.label} at {first.group3}: differences of the arms' least-squares means with their"
        f" {_level(first)} intervals. The dashed line is no difference.",
        about=about,
    )


def _level(cell: Cell) -> str:
    level = cell.number("conf.level")
    return "" if level is None else f"{100 * level:g} %"


def _table(statistics: pl.DataFrame, estimand: str, about: About) -> str:
    made = ArmTable(sizes(statistics))
    described = cells(statistics, "continuous")
    for variable, words in _DESCRIBED.items():
        parts = [cell for cell in described if cell.variable == variable]
        if parts:
            made.described(parts, lines=MEAN, label=f"{words}, mean (SD)")
            made.counts("n", parts, 1, template="{N_obs}")
    means = cells(statistics, "ls_means")
    if means:
        made.counts("LS mean (SE)", means, template="{estimate} ({std.error})")
        made.counts(f"{_level(means[0])} interval", means, 1, template="{conf.low}, {conf.high}")
    differences = cells(statistics, "difference")
    for reference in dict.fromkeys(cell.reference for cell in differences):
        parts = [cell for cell in differences if cell.reference == reference]
        made.counts(f"Minus {reference} (SE)", parts, template="{estimate} ({std.error})")
        made.counts(f"{_level(parts[0])} interval", parts, 1, template="{conf.low}, {conf.high}")
        made.tested("p", parts, 1)
    first = described[0] if described else means[0] if means else None
    where = f": {first.group2} at {first.group3}" if first else ""
    table = made.write(
        f"comparison-{estimand}", caption=f"Comparison of arms{where}", about=about, whole_table=RESULT
    )
    return table + methods_note((differences or means)[:1])


def _by_order(statistics: pl.DataFrame) -> list[str]:
    """Say the tests of ordered categories, all comparisons of one test in a sentence."""
    found: dict[str, list[str]] = {}
    for cell in cells(statistics, *_ORDINAL):
        if "p.value" not in cell.values:
            continue
        who = f"{cell.arm} against {cell.reference}" if cell.reference else "all arms"
        found.setdefault(cell.context, []).append(f"{who} p {p_value(cell.number('p.value'))}")
    return [f"{_ORDINAL[context]}: {'; '.join(told)}." for context, told in found.items()]


def _tests(statistics: pl.DataFrame) -> str:
    """Say the tests of all arms at once, which belong in no column."""
    said = []
    for cell in cells(statistics, "ancova", "dose_response", "covariate"):
        p = next(iter(p_values([cell]).values()), None)
        if p is None:
            continue
        if cell.context == "dose_response":
            slope = (
                f"slope {number(cell.number('estimate'), 4)} per unit of dose"
                f" ({interval(cell.number('conf.low'), cell.number('conf.high'), 4)})"
            )
            said.append(f"Dose response: {slope}, p {p}. {cell.method or ''}")
        else:
            what = "All arms alike" if cell.context == "ancova" else f"Term {cell.level}"
            df = f"{number(cell.number('df'), 0)}, {number(cell.number('df2'), 0)}"
            said.append(f"{what}: F({df}) = {number(cell.number('statistic'), 2)}, p {p}.")
    said += _by_order(statistics)
    listed = "".join(f"<li>{escape(capitalised(text))}</li>" for text in said)
    return f'<ul class="note">{listed}</ul>' if listed else ""


SECTION = Section(
    "treatment_comparison", "Comparison of treatments", (RESULT,), write, uses=("meta.estimand",)
)
