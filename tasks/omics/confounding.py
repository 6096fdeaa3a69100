"""Why the terms of a design cannot be told apart, in the words of samples and visits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

_SHOWN = 3


def confounded(
    sample: pl.DataFrame,
    term: str,
    others: Sequence[str],
    factors: Collection[str],
    *,
    adds_nothing_to: Callable[[Sequence[str]], bool],
) -> str:
    """Say why `term` adds nothing to the other terms of a design.

    `adds_nothing_to` tells whether the term still adds nothing where only the terms given stay.
    """
    values = sample[term].cast(pl.String)
    if values.n_unique() == 1:
        return f"{term}: every sample has the same value, {values[0]}; leave it out of the formula"
    for other in others:
        if other not in factors or not _is_one_within(sample, term, other):
            continue
        if term in factors and _is_one_within(sample, other, term):
            pairs = sample.select(other, term).unique().sort(other, descending=True).rows()
            said = ", ".join(f"every {level} sample is {term} {own}" for level, own in pairs[:_SHOWN])
            return (
                f"{term} and {other} tell the same samples apart: {said}; their effects cannot be told from"
                " each other: leave one of them out of the formula"
            )
        shown = "; ".join(
            f"{level}: {own}"
            for level, own in sample.select(other, term).unique().sort(other).rows()[:_SHOWN]
        )
        return (
            f"{term} is the same in all samples of one {other} ({shown} ...), so {other} already takes up"
            f" whatever {term} does: leave one of them out of the formula"
        )
    needed = list(others)
    for other in others:
        fewer = [name for name in needed if name != other]
        if adds_nothing_to(fewer):
            needed = fewer
    return (
        f"{term} follows from {' and '.join(needed)} in these {sample.height} samples, so its effect cannot"
        " be told from theirs: leave one of them out of the formula"
    )


def disconnected(
    sample: pl.DataFrame, variable: str, levels: Sequence[str], others: Sequence[str]
) -> str | None:
    """Say which factor keeps the levels of `variable` from being compared, if one does.

    Two levels can be compared within another factor if a chain of its values leads from one to the other,
    each value with samples of both its neighbours in the chain.
    """
    for other in others:
        piece = _pieces(sample, variable, other)
        if len({piece[level] for level in levels}) > 1:
            of = {
                level: sorted(
                    sample.filter(pl.col(variable).cast(pl.String) == level)[other].cast(pl.String).unique()
                )
                for level in levels
            }
            shown = "; ".join(
                f"{level}: {other} {', '.join(names[:_SHOWN])}{' ...' if len(names) > _SHOWN else ''}"
                for level, names in of.items()
            )
            return f"no {other} has samples to compare them by ({shown})"
    return None


def _is_one_within(sample: pl.DataFrame, term: str, other: str) -> bool:
    """Tell whether the samples of each value of `other` share one value of `term`."""
    return sample.select(term, other).unique().height == sample[other].n_unique()


def _pieces(sample: pl.DataFrame, variable: str, other: str) -> dict[str, int]:
    """Return for each level of a factor the number of its connected piece."""
    levels = sample[variable].cast(pl.String).unique().sort().to_list()
    piece = {level: number for number, level in enumerate(levels)}
    within = (
        sample.select(pl.col(variable).cast(pl.String), other)
        .unique()
        .group_by(other)
        .agg(variable)[variable]
    )
    for together in within.to_list():
        joined = {piece[level] for level in together}
        for level, number in piece.items():
            if number in joined:
                piece[level] = min(joined)
    return piece
