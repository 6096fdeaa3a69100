"""Disposition: who completed, who left and why, compared between arms; and who was seen where."""

from __future__ import annotations

import polars as pl

from tasks.report.arm_table import ArmTable, lines_of, variables
from tasks.report.section import About, Frames, Section
from tasks.report.statistics_cells import by_estimand, cells, methods_note, sizes
from tasks.report.tables import folded

RESULT = "results.disposition"
SITES = "site"


def write(frames: Frames, about: About) -> str:
    statistics = frames[RESULT]
    if statistics.is_empty():
        return "<p>No participant has been recorded.</p>"
    parts = []
    for estimand, heading, part in by_estimand(statistics, frames):
        # A set has no test of its own: its line of completion says the same and has one.
        ended = part.filter(~pl.col("context").is_in([SITES, "analysis_set"]))
        made = variables(ended).write(
            f"disposition-{estimand}", caption="End of study: n (%)", about=about, whole_table=RESULT
        )
        parts += [heading, made, methods_note(cell for cell in cells(ended) if "p.value" in cell.values)]
        parts.append(_sites(part, f"sites-{estimand}", about))
    return "".join(parts)


def _sites(statistics: pl.DataFrame, name: str, about: About) -> str:
    """Tabulate the sites of everybody, small ones below the group in which they are pooled."""
    found = [cell for cell in cells(statistics, SITES) if cell.group3 is None]
    if not found:
        return ""
    made = ArmTable(sizes(statistics))
    pool = None
    for (group, _, _, _, site), parts in lines_of(found).items():
        is_pooled = group is not None and group != site
        if is_pooled and group != pool:
            made.heading(f"Pooled as {group}")
        pool = group
        made.counts(str(site), parts, depth=int(is_pooled))
    table = made.write(name, caption="Participants by site: n (%)", about=about, whole_table=RESULT)
    return folded(f"Participants by site ({len(lines_of(found))})", table)


SECTION = Section("disposition", "End of study", (RESULT,), write, uses=("meta.estimand",))
