"""Table 1: who the participants were before treatment."""

from __future__ import annotations

from tasks.report.arm_table import variables
from tasks.report.section import About, Frames, Section
from tasks.report.statistics_cells import by_estimand, cells, methods_note

RESULT = "results.baseline_characteristics"


def write(frames: Frames, about: About) -> str:
    statistics = frames[RESULT]
    if statistics.is_empty():
        return "<p>No participant has been described.</p>"
    parts = []
    for estimand, heading, part in by_estimand(statistics, frames):
        made = variables(part).write(
            f"baseline-{estimand}",
            caption="Table 1. Participants at baseline: n (%), or as the line says",
            about=about,
            whole_table=RESULT,
        )
        tests = [cell for cell in cells(part) if "p.value" in cell.values]
        parts += [heading, made, methods_note(tests)]
        if tests:
            parts.append(
                '<p class="note">Randomised arms differ at baseline by chance alone: these p-values test a'
                " hypothesis known to be true and belong to no family.</p>"
            )
    return "".join(parts)


SECTION = Section("baseline", "Baseline characteristics", (RESULT,), write, uses=("meta.estimand",))
