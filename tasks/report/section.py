"""What a section of the report is: the tables it cannot do without, and a function from frames to HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

Frames = Mapping[str, pl.DataFrame]


@dataclass(frozen=True, slots=True)
class About:
    """What the page says about itself: which study, which version, and how to make it again.

    `version` is the version of the lake that the page shows, `data_version` the one that the analyses
    read. Times are text, made by the caller: the page knows no clock.
    """

    study_id: str
    title: str
    is_simulated: bool
    version: int
    published_at: str
    run_id: str
    code_version: str
    commands: tuple[str, ...] = ()
    data_version: int | None = None
    release: str | None = None
    phase: str | None = None
    indication: str | None = None
    registry: str | None = None
    reference: str | None = None
    obtain: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """One section: `needs` must exist for it to be written, `uses` are read where they exist.

    `write` returns an HTML fragment below the section's own heading; every value from a table passes
    through `wording.escape` or a table or chart, which escape by themselves.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    write: Callable[[Frames, About], str]
    uses: tuple[str, ...] = ()

    def missing(self, frames: Frames) -> list[str]:
        return [table for table in self.needs if table not in frames]
