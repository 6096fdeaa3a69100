"""The report of one version of a study: one HTML page that needs no network, no script and no server."""

from __future__ import annotations

from importlib import resources

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
from tasks.report.wording import escape, moment

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

# Holds the browser to what is true of the page.
_LOADS_NOTHING = "default-src 'none'; style-src 'unsafe-inline'"


def render(frames: Frames, about: About) -> str:
    """Write the page from the tables that exist: the same tables and `about` give the same bytes."""
    written = [section for section in SECTIONS if not section.missing(frames)]
    absent = [section for section in SECTIONS if section.missing(frames)]
    body = "".join(_section(section, frames, about) for section in written)
    links = [(section.name, section.title) for section in written]
    if absent:
        body += _not_here(absent, frames)
        links.append(("not_in_this_study", "Not in this study"))
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


def _section(section: Section, frames: Frames, about: About) -> str:
    return (
        f'<section id="{section.name}" aria-labelledby="{section.name}-title">'
        f'<h2 id="{section.name}-title">{escape(section.title)}</h2>'
        f"{section.write(frames, about)}</section>\n"
    )


def _not_here(absent: list[Section], frames: Frames) -> str:
    lines = "".join(
        f"<li><b>{escape(section.title)}</b>: there is no"
        f" {' and no '.join(f'<code>{escape(table)}</code>' for table in section.missing(frames))}.</li>"
        for section in absent
    )
    return (
        '<section id="not_in_this_study" aria-labelledby="not_in_this_study-title">'
        f'<h2 id="not_in_this_study-title">Not in this study</h2><ul>{lines}</ul></section>\n'
    )


def _footer(about: About) -> str:
    simulated = f"{SIMULATED}. " if about.is_simulated else ""
    return (
        f"<footer><p>{simulated}{escape(about.study_id)}, version {about.version}. Code"
        f" {escape(about.code_version)}, run {escape(about.run_id)}.</p></footer>\n"
    )
