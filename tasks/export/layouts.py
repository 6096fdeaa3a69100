"""What the familiar tables look like, as data: one layout for each analysis, one for any other.

A layout says which statistics make a line, in which words, and where comparisons go. A line is written for a
row of the table if the row has all its statistics; what no line takes is written by its own name, so that no
statistic is lost for want of a layout.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

Field: TypeAlias = Literal["group2_level", "group3_level", "variable_label", "variable_level"]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a table: its words (none: those of the row it stands in) and the template of its cells."""

    label: str
    template: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the statistics of one analysis become a table.

    `rows` names, outermost first, what nests the rows. `lines` gives the lines of a context, `titles` its
    heading; a context with neither is headed by its name. `comparisons` puts statistics of two arms in
    columns of their own or in the column of the arm compared, `across` heads the column of statistics of all
    arms. `hidden` are contexts that are no rows of the table; `unshown` are statistics that get no line,
    `flat` contexts whose category the words of the variable already say.
    """

    title: str
    number: str | None = None
    rows: tuple[Field, ...] = ("group2_level", "group3_level", "variable_label", "variable_level")
    lines: Mapping[str, tuple[Line, ...]] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    comparisons: Literal["rows", "columns"] = "rows"
    across: str = "All arms"
    hidden: frozenset[str] = frozenset({"population"})
    unshown: frozenset[str] = frozenset({"conf.level", "N"})
    flat: frozenset[str] = frozenset()
    footnotes: tuple[str, ...] = ()


# Tried in this order in every context without lines of its own.
COMMON_LINES: tuple[Line, ...] = (
    Line("", "{n} ({p}) [{n_events}]"),
    Line("", "{n} ({p})"),
    Line("n", "{N_obs}"),
    Line("Missing", "{N_miss}"),
    Line("Mean (SD)", "{mean} ({sd})"),
    Line("Median", "{median}"),
    Line("Q1, Q3", "{p25}, {p75}"),
    Line("Min, Max", "{min}, {max}"),
    Line("Estimate (SE)", "{estimate} ({std.error})"),
    Line("Estimate", "{estimate}"),
    Line("{conf.level} CI", "({conf.low}, {conf.high})"),
    Line("p-value", "{p.value}"),
    Line("p-value, adjusted", "{p.value.adjusted}"),
)
# Lines of contexts that mean the same in every analysis: proportions and their differences.
_SHARES_COMPARED = "{estimate:%} ({conf.low:%}, {conf.high:%})"
CONTEXT_LINES: Mapping[str, tuple[Line, ...]] = {
    "newcombe": (Line("Difference of shares (Newcombe {conf.level} CI)", _SHARES_COMPARED),),
    "miettinen_nurminen": (
        Line("Difference of shares (Miettinen-Nurminen {conf.level} CI)", _SHARES_COMPARED),
    ),
    "clopper_pearson": (Line("Clopper-Pearson {conf.level} CI", "({conf.low:%}, {conf.high:%})"),),
    "wilson": (Line("Wilson {conf.level} CI", "({conf.low:%}, {conf.high:%})"),),
}
# Their estimate is the share that n (%) says.
UNSHOWN_IN_CONTEXT: Mapping[str, frozenset[str]] = {
    "clopper_pearson": frozenset({"estimate"}),
    "wilson": frozenset({"estimate"}),
}
# Contexts that need no heading: the lines say what they are.
PLAIN_CONTEXTS = frozenset(
    {"continuous", "categorical", "population", "analysis_set", "completion", "end_of_study", "site"}
)

_MODEL: dict[str, tuple[Line, ...]] = {
    "ancova": (Line("p-value, treatment (type III F test)", "{p.value}"),),
    "dose_response": (
        Line("Slope per unit of dose (SE)", "{estimate} ({std.error})"),
        Line("p-value, dose response", "{p.value}"),
    ),
    "covariate": (Line("p-value of the term (type III F test)", "{p.value}"),),
    "ls_means": (
        Line("LS mean (SE)", "{estimate} ({std.error})"),
        Line("{conf.level} CI of the LS mean", "({conf.low}, {conf.high})"),
    ),
    "difference": (
        Line("Difference in LS means (SE)", "{estimate} ({std.error})"),
        Line("{conf.level} CI of the difference", "({conf.low}, {conf.high})"),
        Line("p-value", "{p.value}"),
        Line("p-value, adjusted", "{p.value.adjusted}"),
    ),
}
_MODEL_UNSHOWN = frozenset({"conf.level", "N", "statistic", "df", "df2", "n"})

LAYOUTS: Mapping[str, Layout] = {
    "disposition": Layout(
        number="14-1.01",
        title="Disposition of participants",
        rows=("variable_label", "group2_level", "group3_level", "variable_level"),
        lines={"difference": (Line("Difference of shares ({conf.level} CI)", _SHARES_COMPARED),)},
        comparisons="columns",
        across="p-value",
        unshown=frozenset({"conf.level", "N", "statistic", "df"}),
        footnotes=("n (%): participants and their share of the column's N.",),
    ),
    "baseline_characteristics": Layout(
        number="14-2.01",
        title="Demographic and baseline characteristics",
        comparisons="columns",
        across="p-value",
        unshown=frozenset({"conf.level", "N", "statistic", "df", "df2"}),
        footnotes=("n (%): participants and their share of the column's N.",),
    ),
    "treatment_comparison": Layout(
        number="14-3.01",
        title="Comparison of treatments",
        lines=_MODEL,
        titles={
            "residual": "Fit of the model",
            "cmh_row_mean_scores": "Cochran-Mantel-Haenszel test, row mean scores",
            "cmh_general_association": "Cochran-Mantel-Haenszel test, general association",
            "rank_sum": "Wilcoxon rank-sum test",
            "van_elteren": "Van Elteren test",
        },
        unshown=_MODEL_UNSHOWN,
        footnotes=("Differences are the column's arm minus the arm named in the row.",),
    ),
    "score_over_time": Layout(
        number="14-3.11",
        title="Score over time: mixed model for repeated measures",
        lines=_MODEL,
        titles={"mmrm": "Fit of the model"},
        hidden=frozenset({"population", "mmrm_attempt", "covariance"}),
        unshown=_MODEL_UNSHOWN,
        footnotes=(
            "Differences are the column's arm minus the arm named in the row.",
            "The covariance of the visits and the fits tried stand in results.score_over_time.",
        ),
    ),
    "change_from_baseline": Layout(
        number="14-3.02",
        title="Change from baseline",
        unshown=frozenset({"conf.level", "N", "df"}),
    ),
    "responders": Layout(
        number="14-3.21",
        title="Responders",
        rows=("group2_level", "group3_level", "variable_label"),
        titles={"fisher": "Fisher's exact test"},
        unshown=frozenset({"conf.level", "N", "statistic", "df"}),
    ),
    "score_shifts": Layout(
        number="14-3.31",
        title="Shifts of category from baseline",
        unshown=frozenset({"conf.level", "N", "statistic", "df"}),
        footnotes=("Rows are nested: category at baseline, then category after it.",),
    ),
    "exposure": Layout(
        number="14-4.01",
        title="Exposure to treatment and compliance",
        rows=("variable_label", "group3_level", "variable_level"),
    ),
    "adverse_events": Layout(
        number="14-5.01",
        title="Treatment-emergent adverse events by system organ class and preferred term",
        rows=("variable_label", "group2_level", "group3_level", "variable_level"),
        lines={"difference": (Line("Difference of shares ({conf.level} CI)", _SHARES_COMPARED),)},
        comparisons="columns",
        across="p-value",
        hidden=frozenset({"population", "clopper_pearson"}),
        unshown=frozenset({"conf.level", "N", "statistic", "df"}),
        flat=frozenset({"incidence"}),
        footnotes=("n (%) [events]: participants with at least one event, share of the column's N, events.",),
    ),
    "time_to_event": Layout(
        number="14-5.11",
        title="Time to event",
        lines={
            "quantile": (
                Line("Quantile of the time ({conf.level} CI)", "{estimate:1} ({conf.low:1}, {conf.high:1})"),
            ),
            "cox": (
                Line("Hazard ratio ({conf.level} CI)", "{estimate:2} ({conf.low:2}, {conf.high:2})"),
                Line("p-value, hazard ratio", "{p.value}"),
            ),
            "log_rank": (Line("p-value, log-rank test", "{p.value}"),),
            "events": (
                Line("Events", "{n_events}"),
                Line("Censored", "{n_censored}"),
            ),
        },
        hidden=frozenset({"population", "kaplan_meier"}),
        unshown=frozenset({"conf.level", "N", "statistic", "df"}),
        footnotes=("The curves stand in results.time_to_event, context kaplan_meier.",),
    ),
    "laboratory": Layout(
        number="14-6.01",
        title="Laboratory values and their shifts",
        unshown=frozenset({"conf.level", "N", "statistic", "df"}),
    ),
    "vital_signs": Layout(number="14-7.01", title="Vital signs and their change from baseline"),
}


def layout_of(analysis: str) -> Layout:
    """Return the layout of an analysis; one without its own gets every statistic by its name."""
    known = LAYOUTS.get(analysis)
    return known or Layout(title=analysis.replace("_", " ").capitalize(), unshown=frozenset({"conf.level"}))
