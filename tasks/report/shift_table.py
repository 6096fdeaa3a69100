"""A shift table: from which category to which, each cell shaded by how many of its row came there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.report.tables import Column, table
from tasks.report.wording import escape, integer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks.report.section import About

SHADES = 9


@dataclass(frozen=True, slots=True)
class Shifts:
    """Counts of (before, after), under a name for the group that they are of."""

    group: str
    counts: Mapping[tuple[str, str], int]


def shift_table(
    name: str,
    groups: Sequence[Shifts],
    *,
    before: Sequence[str],
    after: Sequence[str],
    caption: str,
    about: About,
    whole_table: str,
    corner: str = "Baseline",
) -> str:
    """Write one line for each group and category before, one column for each category after."""
    rows = [
        {"group": shifts.group if place == 0 else "", "shifts": at, "before": start}
        for at, shifts in enumerate(groups)
        for place, start in enumerate(_starts(shifts, before))
    ]
    frame = pl.DataFrame(rows, schema={"group": pl.String, "shifts": pl.Int64, "before": pl.String})
    several = len(groups) > 1 or bool(groups and groups[0].group)

    def count(end: str) -> Column:
        def written(row: Mapping[str, Any]) -> str:
            counts = groups[row["shifts"]].counts
            n = counts.get((row["before"], end), 0)
            of_row = sum(counts.get((row["before"], each), 0) for each in after)
            return _shaded(n, of_row)

        return Column(f"to {end}", written, align="right", is_markup=True)

    def total(row: Mapping[str, Any]) -> str:
        counts = groups[row["shifts"]].counts
        return integer(sum(counts.get((row["before"], each), 0) for each in after))

    return table(
        name,
        frame,
        [
            *([Column("", lambda row: f"<b>{escape(row['group'])}</b>", is_markup=True)] if several else []),
            Column(corner, lambda row: str(row["before"])),
            *(count(end) for end in after),
            Column("All", total, align="right"),
        ],
        caption=caption,
        about=about,
        whole_table=whole_table,
    )


def _starts(shifts: Shifts, before: Sequence[str]) -> list[str]:
    """Return the categories that someone started from; a line of nobody says nothing."""
    return [start for start in before if any(n and at == start for (at, _), n in shifts.counts.items())]


def _shaded(n: int, of_row: int) -> str:
    shade = round(SHADES * n / of_row) if of_row else 0
    return f'<span class="heat{f" h{shade}" if shade else ""}">{integer(n)}</span>'


def parted(level: str) -> tuple[str, str]:
    """Part `NORMAL to HIGH` into both ends."""
    before, _, after = level.partition(" to ")
    return before, after
