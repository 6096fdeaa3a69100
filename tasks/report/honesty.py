"""How far the numbers carry: what selection alone would have given, what could have been found at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl

from tasks.report.section import About, Frames, Section
from tasks.report.statistics_cells import TOTAL, Cell, by_estimand, cells, sizes
from tasks.report.tables import Column, folded, table
from tasks.report.wording import (
    ABSENT,
    MINUS,
    capitalised,
    count,
    escape,
    integer,
    interval,
    number,
    p_value,
    p_value_in_words,
    percent,
    verb,
)

REGRESSION = "results.regression_to_the_mean"
DETECTABILITY = "results.detectability"
FORENSICS = "results.p_value_forensics"
_TESTS = {
    "paired_t": "a paired t-test",
    "signed_rank_exact": "the exact signed-rank test",
    "two_sample_t": "a t-test between the arms",
    "ancova": "an analysis of covariance",
    "binomial": "an exact test of the share of responders",
    "sign_test": "the sign test",
    "sign_flip": "the sign-flip permutation test",
    "fisher": "Fisher's exact test",
}
# What stands beside the settings of a published p-value.
_NO_SETTING = ("published", "summary", "population")

Say = Callable[[pl.DataFrame], Iterator[str]]


def write(frames: Frames, about: About) -> str:
    parts = [
        _lines("Regression to the mean", frames.get(REGRESSION), frames, _regression),
        _lines("What could have been found", frames.get(DETECTABILITY), frames, _detectable),
        _forensics(frames.get(FORENSICS), about),
    ]
    said = [part for part in parts if part]
    return "".join(said) or "<p>No analysis of this study asks how far its numbers carry.</p>"


def _lines(title: str, statistics: pl.DataFrame | None, frames: Frames, say: Say) -> str:
    if statistics is None or statistics.is_empty():
        return ""
    parts = [f"<h3>{escape(title)}</h3>"]
    for _, heading, part in by_estimand(statistics, frames):
        # With one arm its name before every sentence says nothing.
        arms = [arm for arm in sizes(part) if arm != TOTAL]
        lone = f"{arms[0]}: " if len(arms) == 1 else ""
        told = (text.replace(f"{lone[:-2]}, ", "", 1) if lone else text for text in say(part))
        lines = "".join(f"<li>{escape(capitalised(text.removeprefix(lone)))}</li>" for text in told)
        parts.append(f"{heading.replace('h3', 'h4')}<ul>{lines}</ul>" if lines else "")
    return "".join(parts)


def _unit(cell: Cell) -> str:
    return f" {cell.unit}" if cell.unit else ""


def _in_arm(cell: Cell) -> str:
    return f"{cell.arm} against {cell.reference}" if cell.reference else str(cell.arm)


def _regression(statistics: pl.DataFrame) -> Iterator[str]:
    yield (
        "Who is enrolled when the score is bad is better next time without any treatment; how much better"
        " depends on figures from outside the trial."
    )
    for cell in cells(statistics, "expected_of_sample"):
        expected, observed = cell.number("expected_change"), cell.number("mean_change")
        if expected is None or observed is None:
            continue
        share = cell.number("share")
        of_it = "" if share is None else f", {percent(share, 1)} of it"
        yield (
            f"{cell.arm}, {str(cell.level).replace('=', ' ')}: the mean change was"
            f" {number(observed, 1)}{_unit(cell)}; {number(expected, 1)}{_unit(cell)}{of_it} would have come"
            f" without treatment."
        )
    for cell in cells(statistics, "mee_chua"):
        p = cell.number("p.value")
        if p is None:
            yield f"{cell.arm}: the change beyond regression to the mean: {cell.remark}."
            continue
        limits = interval(cell.number("conf.low"), cell.number("conf.high"), 1)
        yield (
            f"{cell.arm}: change beyond regression to a population mean of"
            f" {number(cell.number('population_mean'), 1)}: {number(cell.number('estimate'), 1)}{_unit(cell)}"
            f" ({limits}), {p_value_in_words(p)}. {capitalised(cell.method or '')}."
        )
        if cell.text("not_rejected"):
            yield (
                f"{cell.arm}: regression to the mean alone is not rejected for population means of"
                f" {str(cell.text('not_rejected')).replace('-', MINUS)}."
            )


def _detectable(statistics: pl.DataFrame) -> Iterator[str]:
    for cell in cells(statistics):
        if cell.context == "smallest_p":
            yield from _smallest(cell)
        elif cell.context in _TESTS:
            yield from _effect(cell)


def _effect(cell: Cell) -> Iterator[str]:
    size, share = cell.number("effect_size"), cell.number("proportion")
    power = str(cell.level).partition("=")[2]
    power_said = f"{100 * float(power):g} % power" if power else "its power"
    n = integer(cell.number("N_obs"))
    if share is not None:
        yield (
            f"{_in_arm(cell)}: with n = {n} and {power_said}, {_TESTS[cell.context]} finds a true share of"
            f" {percent(share, 1)} or more."
        )
    elif size is not None:
        effect = cell.number("effect")
        points = "" if effect is None else f" ({number(effect, 2)}{_unit(cell)})"
        yield (
            f"{_in_arm(cell)}: with n = {n} and {power_said}, {_TESTS[cell.context]} finds a true effect of"
            f" {number(size, 2)} standard deviations{points} or more."
        )
    elif cell.remark:
        yield f"{_in_arm(cell)}: {_TESTS[cell.context]}: {cell.remark}."


def _smallest(cell: Cell) -> Iterator[str]:
    smallest = cell.number("p.smallest")
    test = _TESTS.get(str(cell.level), str(cell.level))
    if smallest is None:
        yield f"{_in_arm(cell)}: {cell.remark}."
        return
    zeros = cell.number("n_zero")
    unchanged = f", {integer(zeros)} of them unchanged" if zeros else ""
    warning = f": {cell.remark}" if cell.remark else ""
    yield (
        f"{_in_arm(cell)}: with n = {integer(cell.number('N_obs'))}{unchanged}, the smallest p-value that"
        f" {test} can give is {p_value(smallest)}{warning}."
    )


def _forensics(statistics: pl.DataFrame | None, about: About) -> str:
    if statistics is None or statistics.is_empty():
        return ""
    found = cells(statistics)
    settings = [cell for cell in found if cell.context not in _NO_SETTING]
    said = []
    for cell in found:
        if cell.context != "published":
            continue
        own = [each for each in settings if each.group2 == cell.group2]
        matching = [each for each in own if each.number("reproduces")]
        source = cell.label.partition(": ")[2] or cell.label
        tests = ", ".join(dict.fromkeys(each.context.replace("_", " ") for each in matching))
        outcome = (
            f"{count(len(matching), 'way', 'ways')} of {integer(len(own))} tried"
            f" {verb(len(matching), 'gives', 'give')} it: {tests}"
            if matching
            else f"none of {integer(len(own))} ways tried gives it"
        )
        said.append(
            f"<li>{escape(source)} prints p = {escape(cell.text('published') or cell.number('published'))}"
            f" with n = {integer(cell.number('N_obs'))} and no method; {escape(outcome)}. That a way gives"
            " the printed digits shows that it may have been used, never that it was.</li>"
        )
    opening = f"<h3>Published p-values, recomputed</h3><ul>{''.join(said)}</ul>"
    shown = [cell for cell in settings if cell.number("reproduces")]
    if not shown:
        return opening
    made = _settings_table(shown, about)
    note = f'<p class="note">Those that do not give it are in <code>{FORENSICS}</code>.</p>'
    return opening + folded(f"Every way that gives it ({integer(len(shown))})", made + note)


def _settings_table(settings: list[Cell], about: About) -> str:
    rows = pl.DataFrame({"place": range(len(settings))}, schema={"place": pl.Int64})
    return table(
        "forensics",
        rows,
        [
            Column("Published", lambda row: str(settings[row["place"]].group2 or ABSENT)),
            Column("Test", lambda row: settings[row["place"]].context.replace("_", " ")),
            Column("Setting", lambda row: str(settings[row["place"]].level or ABSENT)),
            Column("p", lambda row: p_value(settings[row["place"]].number("p.value")), align="right"),
        ],
        caption="Settings that give the published p-value",
        about=about,
        whole_table=FORENSICS,
    )


SECTION = Section(
    "honesty",
    "How far the numbers carry",
    (),
    write,
    uses=(REGRESSION, DETECTABILITY, FORENSICS, "meta.estimand"),
)
