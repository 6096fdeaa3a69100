"""What an analysis is: a pure function and the record that tells the runner what to feed it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl


class Parameters(BaseModel):
    """Base of every analysis's parameters: read from study.toml, unknown keys refused, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Analysis:
    """One question: the tables it reads (in the order of its arguments) and the parameters it takes.

    The function is called as `function(*frames, parameters=...)` and returns the whole result table
    `results.<name>`; module, function, result table, suite and test share that name. The tables of `uses`
    follow those of `reads`, None for one that the study does not make. With `recalls` the function is also
    given `former`, its own table in the version that this run reads (None at first), so that labels can stay;
    what it recalls is recorded as an input and does not make it run again.
    """

    name: str
    function: Callable[..., pl.DataFrame]
    reads: tuple[str, ...]
    parameters: type[Parameters]
    uses: tuple[str, ...] = ()
    recalls: bool = False

    @property
    def fills(self) -> str:
        return f"results.{self.name}"
