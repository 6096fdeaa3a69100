"""What is estimated: each declared estimand with its population, variable and intercurrent events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tasks.report.section import About, Frames, Section
from tasks.report.tables import Column, prose, table
from tasks.report.wording import breakable, escape

RESULT = "meta.estimand"
POPULATIONS = {
    "enrlfl": "enrolled",
    "randfl": "randomised",
    "ittfl": "intention to treat",
    "saffl": "safety set",
    "fasfl": "full analysis set",
    "efffl": "efficacy set",
    "pprotfl": "per-protocol set",
    "complfl": "completers",
    "bmevalfl": "biomarker-evaluable",
}
# The words of an event may hold a semicolon themselves: the next one begins where a strategy follows.
_NEXT_EVENT = re.compile(
    r"; (?=[^;()]+: (?:treatment policy|hypothetical|composite|while on treatment|principal stratum))"
)
TREATMENTS = {"trt01p": "as planned", "trt01a": "as treated"}

Row = Mapping[str, Any]


def write(frames: Frames, about: About) -> str:
    declared = frames[RESULT]
    if declared.is_empty():
        return "<p>The study declares no estimand: its results say for themselves what they estimate.</p>"
    return table(
        "estimand-list",
        declared,
        [
            Column("Estimand", _name, is_markup=True),
            prose("Population", _population),
            prose("Variable and summary", _variable),
            Column("Intercurrent events", _events, is_markup=True),
        ],
        caption="Estimands as the study declares them",
        about=about,
    )


def _name(row: Row) -> str:
    family = f'<br><span class="tag">family {escape(row["family"])}</span>' if row["family"] else ""
    name = f"{escape(row['title'])}<br><code>{breakable(row['estimand'])}</code>"
    return f'<div class="prose">{name}{family}</div>'


def _events(row: Row) -> str:
    events = _NEXT_EVENT.split(str(row["intercurrent_events"] or "none declared"))
    return f'<div class="prose wide">{"<br>".join(escape(event) for event in events)}</div>'


def _population(row: Row) -> str:
    said = POPULATIONS.get(row["population"], f"{str(row['population']).upper()} = Y")
    parts = [said, *([row["subgroup"]] if row["subgroup"] else [])]
    parts.append(f"{row['arms'] or 'all arms'}, {TREATMENTS.get(row['treatment'], row['treatment'])}")
    if row["reference"]:
        parts.append(f"compared with {row['reference']}")
    return "; ".join(parts)


def _variable(row: Row) -> str:
    if not row["paramcd"]:
        return str(row["summary"])
    at = f" at {row['avisit']}" if row["avisit"] else ""
    missing = "" if row["imputation"] == "observed" else f"; a missing value by {row['imputation']}"
    return f"{str(row['variable']).upper()} of {row['paramcd']}{at}{missing}; {row['summary']}"


SECTION = Section("estimands", "What is estimated", (RESULT,), write)
