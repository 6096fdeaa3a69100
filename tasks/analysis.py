"""What an analysis is: a pure function and the record that tells the runner what to feed it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from warehouse.expression_plan import Expression

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import polars as pl


class Parameters(BaseModel):
    """Base of every analysis's parameters: read from study.toml, unknown keys refused, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def other_studies(self) -> tuple[str, ...]:
        """The studies whose tables an analysis that borrows is to be given."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Borrowed:
    """Tables of another study at one version of its lake, or in `missing` why there are none.

    `content` has the hash of each table by name, `expression` what its study.toml declares; `frames` are in
    the order of the analysis's `borrows`, empty until loaded.
    """

    study: str
    title: str = ""
    version: int | None = None
    content: Mapping[str, str] = field(default_factory=dict)
    expression: Expression = field(default_factory=Expression)
    frames: tuple[pl.DataFrame, ...] = ()
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Analysis:
    """One question: the tables it reads (in the order of its arguments) and the parameters it takes.

    The function is called as `function(*frames, parameters=...)` and returns the whole result table
    `results.<name>`; module, function, result table, suite and test share that name. The tables of `uses`
    follow those of `reads`, None for one that the study does not make. With `recalls` the function is also
    given `former`, its own table in the version that this run reads (None at first), so that labels can stay;
    what it recalls is recorded as an input and does not make it run again. The tables of `borrows` are read
    from the lakes of the studies that the parameters name and given as `borrowed`, by study.
    """

    name: str
    function: Callable[..., pl.DataFrame]
    reads: tuple[str, ...]
    parameters: type[Parameters]
    uses: tuple[str, ...] = ()
    recalls: bool = False
    borrows: tuple[str, ...] = ()

    @property
    def fills(self) -> str:
        return f"results.{self.name}"
