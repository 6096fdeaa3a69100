"""Participant flow: from the first record to the analysis sets, with everyone who left and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.report.charts import NARROW, WIDE, framed
from tasks.report.flow_diagram import Flow, Stage, draw
from tasks.report.section import About, Frames, Section
from tasks.report.tables import Column, table
from tasks.report.wording import count, escape, integer

if TYPE_CHECKING:
    from collections.abc import Mapping

BY_ARM = "reports.participant_flow_by_arm"
# Up to here all participants are one group; from here on each arm has its own.
_LAST_OF_TRUNK = "Enrolled"


def write(frames: Frames, about: About) -> str:
    rows = frames["reports.participant_flow"].sort("position")
    stages = _stages(rows)
    if not stages:
        return "<p>No participant has been recorded.</p>"
    by_arm = frames.get(BY_ARM)
    branches = {} if by_arm is None else _branches(by_arm.sort("position"))
    flow = Flow(_trunk(stages) if branches else stages, branches)
    made = framed(
        "flow",
        draw(flow, WIDE, about),
        draw(flow, NARROW, about),
        says=_in_words(flow),
        caption="Participants at each stage, with those who went no further and why.",
        about=about,
    )
    return made + _sets(rows, by_arm if branches else None, about)


def _stages(rows: pl.DataFrame) -> tuple[Stage, ...]:
    lost: dict[str, list[tuple[str, int]]] = {}
    for row in rows.filter(pl.col("kind") == "left").iter_rows(named=True):
        lost.setdefault(row["stage"], []).append((row["reason"], row["n"]))
    return tuple(
        Stage(row["stage"], row["n"], tuple(lost.get(row["stage"], ())))
        for row in rows.filter(pl.col("kind") == "stage").iter_rows(named=True)
    )


def _branches(by_arm: pl.DataFrame) -> dict[str, tuple[Stage, ...]]:
    arms = by_arm["arm"].unique(maintain_order=True)
    return {arm: _stages(by_arm.filter(pl.col("arm") == arm)) for arm in arms}


def _trunk(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Return the stages before the arms part; the losses from there on are told in each arm."""
    kept: list[Stage] = []
    for stage in stages:
        if stage.name == _LAST_OF_TRUNK:
            return (*kept, Stage(stage.name, stage.n))
        kept.append(stage)
    return tuple(kept)


def _in_words(flow: Flow) -> str:
    said = [_said(flow.trunk)]
    said += [f"{arm}: {_said(stages)}" for arm, stages in flow.branches.items()]
    return f"Flow chart of participants. {' '.join(said)}"


def _said(stages: tuple[Stage, ...]) -> str:
    parts = []
    for stage in stages:
        lost = ", ".join(f"{reason} {n}" for reason, n in stage.lost)
        parts.append(f"{stage.name} {stage.n}" + (f" (not further: {lost})" if lost else ""))
    return f"{', '.join(parts)}."


def _sets(rows: pl.DataFrame, by_arm: pl.DataFrame | None, about: About) -> str:
    sets = rows.filter(pl.col("kind") == "analysis set")
    if sets.is_empty():
        return ""
    if by_arm is None:
        listed = "".join(
            f"<div><dt>{escape(row['stage'])}</dt><dd>{integer(row['n'])}</dd></div>"
            for row in sets.iter_rows(named=True)
        )
        return f'<h3>Analysis sets</h3><dl class="sets">{listed}</dl>'
    arms = by_arm["arm"].unique(maintain_order=True).to_list()
    of_arm = {(row["stage"], row["arm"]): row["n"] for row in by_arm.iter_rows(named=True)}

    def cell(arm: str) -> Column:
        def written(row: Mapping[str, Any]) -> str:
            return integer(of_arm.get((row["stage"], arm)))

        return Column(arm, written, align="right")

    return table(
        "sets",
        sets,
        [
            Column("Set", lambda row: str(row["stage"])),
            *(cell(arm) for arm in arms),
            Column("All arms", lambda row: integer(row["n"]), align="right"),
        ],
        caption=f"Analysis sets by arm: {count(len(arms), 'arm')}",
        about=about,
    )


SECTION = Section(
    "participant_flow", "Participant flow", ("reports.participant_flow",), write, uses=(BY_ARM,)
)
