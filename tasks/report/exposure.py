"""Exposure: how long the participants were treated, and with how much."""

from __future__ import annotations

from tasks.report.arm_table import variables
from tasks.report.section import About, Frames, Section
from tasks.report.statistics_cells import by_estimand

RESULT = "results.exposure"


def write(frames: Frames, about: About) -> str:
    statistics = frames[RESULT]
    if statistics.is_empty():
        return "<p>No exposure has been recorded.</p>"
    parts = []
    for estimand, heading, part in by_estimand(statistics, frames):
        made = variables(part).write(
            f"exposure-{estimand}", caption="Exposure to treatment", about=about, whole_table=RESULT
        )
        parts += [heading, made]
    return "".join(parts)


SECTION = Section("exposure", "Exposure", (RESULT,), write, uses=("meta.estimand",))
