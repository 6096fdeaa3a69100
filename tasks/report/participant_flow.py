"""Participant flow: from the first record to the analysis sets, with everyone who left and why."""

from __future__ import annotations

import polars as pl

from tasks.report.section import About, Frames, Section
from tasks.report.wording import escape, integer


def write(frames: Frames, about: About) -> str:
    flow = frames["reports.participant_flow"].sort("position")
    stages = flow.filter(pl.col("kind") == "stage").to_dicts()
    if not stages:
        return "<p>No participant has been recorded.</p>"
    boxes = []
    for row in stages:
        left = flow.filter((pl.col("kind") == "left") & (pl.col("stage") == row["stage"])).to_dicts()
        aside = ""
        if left:
            total = sum(reason["n"] for reason in left)
            reasons = "".join(
                f"<li>{escape(each['reason'])} <b>{integer(each['n'])}</b></li>" for each in left
            )
            aside = f'<div class="left"><b>{integer(total)}</b> not further<ul>{reasons}</ul></div>'
        boxes.append(
            f'<li><div class="box"><b>{integer(row["n"])}</b><span>{escape(row["stage"])}</span></div>'
            f"{aside}</li>"
        )
    sets = flow.filter(pl.col("kind") == "analysis set").to_dicts()
    listed = "".join(
        f"<div><dt>{escape(row['stage'])}</dt><dd>{integer(row['n'])}</dd></div>" for row in sets
    )
    tag = '<span class="tag simulated">Simulated data</span> ' if about.is_simulated else ""
    analysis_sets = f'<h3>Analysis sets</h3><dl class="sets">{listed}</dl>' if sets else ""
    return (
        f'<figure class="flow"><ol>{"".join(boxes)}</ol>'
        f"<figcaption>{tag}Participants at each stage; to the side, who went no further and why.</figcaption>"
        f"</figure>{analysis_sets}"
    )


SECTION = Section("participant_flow", "Participant flow", ("reports.participant_flow",), write)
