"""The report of one version of a study: one HTML page that needs no network, no script and no server."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from tasks.older_versions import NO_SUCH_COLUMN, lacking
from tasks.report import (
    adverse_events,
    baseline,
    biomarkers,
    checks,
    coexpression,
    deliveries,
    disposition,
    estimands,
    exposure,
    expression,
    gene_sets,
    honesty,
    laboratory,
    molecular_response,
    multiplicity,
    participant_flow,
    primary_result,
    provenance,
    responders,
    sample_quality,
    score_changes,
    score_over_time,
    score_shifts,
    sensitivity,
    summary,
    time_to_event,
    treatment_comparison,
    vital_signs,
)
from tasks.report.section import About, Frames, Section
from tasks.report.wording import escape, moment, verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tasks.older_versions import Lacking, Makers

__all__ = ["SECTIONS", "TABLES", "About", "Section", "render"]

# In the order of the page. A new analysis adds its file and its line here.
SECTIONS: tuple[Section, ...] = (
    summary.SECTION,
    deliveries.SECTION,
    checks.SECTION,
    participant_flow.SECTION,
    disposition.SECTION,
    estimands.SECTION,
    baseline.SECTION,
    primary_result.SECTION,
    treatment_comparison.SECTION,
    score_over_time.SECTION,
    score_changes.SECTION,
    sensitivity.SECTION,
    responders.SECTION,
    score_shifts.SECTION,
    multiplicity.SECTION,
    honesty.SECTION,
    exposure.SECTION,
    adverse_events.SECTION,
    time_to_event.SECTION,
    laboratory.SECTION,
    vital_signs.SECTION,
    expression.SECTION,
    gene_sets.SECTION,
    coexpression.SECTION,
    molecular_response.SECTION,
    biomarkers.SECTION,
    sample_quality.SECTION,
    provenance.SECTION,
)

# Everything the page can show; a table that the study lacks is left out of `frames`. Of what `meta` says of
# each delivery and each judging, the page expects the newest word and not the history.
TABLES: tuple[str, ...] = tuple(
    sorted({table for section in SECTIONS for table in (*section.needs, *section.uses)})
)

SIMULATED = "Simulated data"
_NOT_HERE = "not_in_this_version"

# Holds the browser to what is true of the page.
_LOADS_NOTHING = "default-src 'none'; style-src 'unsafe-inline'"


def render(frames: Frames, about: About, makers: Makers | None = None) -> str:
    """Write the page from the tables that exist: the same tables and arguments give the same bytes.

    With `makers` a version of older code is shown as far as it goes: what lacks a column of today's is left
    out, and the page says so.
    """
    written = [section for section in SECTIONS if not section.missing(frames)]
    absent = [section for section in SECTIONS if section.missing(frames)]
    body = "".join(_section(section, frames, about, makers) for section in written)
    links = [(section.name, section.title) for section in written]
    if absent:
        body += _not_here(absent, frames, about, makers)
        links.append((_NOT_HERE, "Not in this version"))
    contents = "".join(f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title in links)
    simulated = f"{SIMULATED}: " if about.is_simulated else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_LOADS_NOTHING}">\n'
        f"<title>{simulated}{escape(about.title)}, version {about.version}</title>\n"
        f"<style>\n{_style()}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#main">To the report</a>\n'
        f"{_banner(about)}{_header(about)}"
        f'<div class="page"><nav aria-label="Contents"><ol>{contents}</ol></nav>\n'
        f'<main id="main">\n{body}</main></div>\n{_footer(about)}</body>\n</html>\n'
    )


def _style() -> str:
    return resources.files("tasks.report").joinpath("page.css").read_text(encoding="utf-8")


def _banner(about: About) -> str:
    if not about.is_simulated:
        return ""
    return (
        f'<div class="banner" role="note"><strong>{SIMULATED}.</strong> No participant exists and no number'
        " here is a finding: every value was drawn by a program to show what the report looks like.</div>\n"
    )


def _header(about: About) -> str:
    facts = [fact for fact in (about.phase, about.indication, about.registry) if fact]
    joined = " \N{MIDDLE DOT} ".join(facts)
    described = f'<p class="described">{escape(joined)}</p>' if facts else ""
    data = f", from data version {about.data_version}" if about.data_version is not None else ""
    release = f" ({escape(about.release)})" if about.release else ""
    return (
        f'<header><p class="study">{escape(about.study_id)}</p><h1>{escape(about.title)}</h1>{described}'
        f'<p class="version">Version {about.version}{release}{data}; published'
        f" {escape(moment(about.published_at))}</p></header>\n"
    )


def _section(section: Section, frames: Frames, about: About, makers: Makers | None) -> str:
    return (
        f'<section id="{section.name}" aria-labelledby="{section.name}-title">'
        f'<h2 id="{section.name}-title">{escape(section.title)}</h2>'
        f"{_written(section, frames, about, makers)}</section>\n"
    )


def _written(section: Section, frames: Frames, about: About, makers: Makers | None) -> str:
    """Write a section; where a table of older code lacks a column, without that table or not at all."""
    notes = ""
    while True:
        try:
            return notes + section.write(frames, about)
        except NO_SUCH_COLUMN as error:
            found = lacking(error, frames, (*section.uses, *section.needs), makers) if makers else None
            if makers is None or found is None:
                raise
        spared = [table for table in found.tables if table not in section.needs]
        if not spared:
            return f"<p>This section is left out: {_why(found, found.tables, about, makers)}</p>"
        notes += f'<p class="note">Not shown here: {_why(found, spared, about, makers)}</p>'
        frames = {table: frame for table, frame in frames.items() if table not in spared}


def _why(found: Lacking, tables: Sequence[str], about: About, makers: Makers) -> str:
    named = " and ".join(f"<code>{escape(table)}</code>" for table in tables)
    code = sorted({makers.tables[table] for table in tables if table in makers.tables})
    made_by = f", made by trialhouse {escape(' and '.join(code))}," if code else ""
    return (
        f"{named} of version {about.version}{made_by} {verb(len(tables), 'has', 'have')} no column"
        f" <code>{escape(found.column)}</code>."
    )


def _not_here(absent: list[Section], frames: Frames, about: About, makers: Makers | None) -> str:
    lines = "".join(
        f"<li><b>{escape(section.title)}</b>: there is no"
        f" {' and no '.join(f'<code>{escape(table)}</code>' for table in section.missing(frames))}.</li>"
        for section in absent
    )
    return (
        f'<section id="{_NOT_HERE}" aria-labelledby="{_NOT_HERE}-title"><h2 id="{_NOT_HERE}-title">Not in'
        f" this version</h2>{_other_code(about, makers)}<ul>{lines}</ul>{_unknown(about, makers)}</section>\n"
    )


def _other_code(about: About, makers: Makers | None) -> str:
    if makers is None or not makers.others:
        return ""
    return (
        f"<p>The results of version {about.version} were made by trialhouse"
        f" {escape(' and '.join(makers.others))}, this page by trialhouse {escape(makers.reader)}, which may"
        f" know more analyses: <code>trialhouse run {escape(about.study_id)}</code> adds their results in a"
        " new version.</p>"
    )


def _unknown(about: About, makers: Makers | None) -> str:
    if makers is None or not makers.unknown:
        return ""
    tables = ", ".join(f"<code>{escape(table)}</code>" for table in makers.unknown)
    query = f'trialhouse sql {about.study_id} "from {makers.unknown[0]}" --at {about.version}'
    return (
        f"<p>Version {about.version} holds results that today's code does not make and this page does not"
        f" show: {tables}. <code>{escape(query)}</code> reads them.</p>"
    )


def _footer(about: About) -> str:
    simulated = f"{SIMULATED}. " if about.is_simulated else ""
    return (
        f"<footer><p>{simulated}{escape(about.study_id)}, version {about.version}. Code"
        f" {escape(about.code_version)}, run {escape(about.run_id)}.</p></footer>\n"
    )
