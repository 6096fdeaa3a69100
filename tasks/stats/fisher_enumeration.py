"""The exact distribution of r x c tables with fixed margins, counted column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray

    # What remains of the row sums, ascending; the log weights that lead there and in how many ways.
    States: TypeAlias = dict[tuple[int, ...], tuple[FloatArray, FloatArray]]

# Tables count as equally probable within this relative distance (R's fisher.test has it for 2 x 2 tables).
RELATIVE_TOLERANCE = 1e-7
# Ways to reach a column, and ways to fill one: about a second of work and 100 MB each.
_STATE_LIMIT = 2_000_000
_DIGITS = 10


def log_probability(table: NDArray[np.int64]) -> float:
    """Return the log of the probability of a table given its margins."""
    margins = special.gammaln(table.sum(axis=1) + 1).sum() + special.gammaln(table.sum(axis=0) + 1).sum()
    return float(margins - special.gammaln(table.sum() + 1) - special.gammaln(table + 1).sum())


def share_no_more_probable(table: NDArray[np.int64]) -> float | None:
    """Return the probability of all tables of these margins that are no more probable than this one.

    None if there are too many ways to fill them.

    The columns are filled one after the other. What is left for the next ones depends only on what remains of
    the row sums, in any order, so ways that leave the same and are equally probable so far are counted once
    (Mehta and Patel's network). The last two columns are met with the ways that lead to them by a search in
    sorted probabilities instead of one by one.
    """
    if table.shape[0] > table.shape[1]:
        table = table.T
    columns = np.sort(table.sum(axis=0))
    rows = np.sort(table.sum(axis=1))
    constant = float(special.gammaln(rows + 1).sum() + special.gammaln(columns + 1).sum())
    constant -= float(special.gammaln(columns.sum() + 1))
    threshold = log_probability(table) - constant + RELATIVE_TOLERANCE
    states: States = {tuple(rows.tolist()): (np.zeros(1), np.ones(1))}
    for column in columns[:-2].tolist():
        advanced = _filled(states, column)
        if advanced is None:
            return None
        states = advanced
    total = 0.0
    work = 0
    for remaining, (log_weight, ways) in states.items():
        fills = _column_fills(remaining, int(columns[-2]), 4 * _STATE_LIMIT - work)
        if fills is None:
            return None
        work += fills.shape[0]
        last = np.array(remaining) - fills
        tail = -special.gammaln(fills + 1).sum(axis=1) - special.gammaln(last + 1).sum(axis=1)
        order = np.argsort(log_weight)
        mass = np.concatenate([[0.0], np.cumsum((ways * np.exp(log_weight + constant / 2))[order])])
        counted = np.searchsorted(log_weight[order], threshold - tail, side="right")
        total += float((mass[counted] * np.exp(tail + constant / 2)).sum())
    return total


def _filled(states: States, column: int) -> States | None:
    parts: dict[tuple[int, ...], list[tuple[FloatArray, FloatArray]]] = {}
    work = 0
    for remaining, (log_weight, ways) in states.items():
        fills = _column_fills(remaining, column, (_STATE_LIMIT - work) // log_weight.size)
        if fills is None:
            return None
        work += fills.shape[0] * log_weight.size
        left = np.sort(np.array(remaining) - fills, axis=1)
        weights = -special.gammaln(fills + 1).sum(axis=1)
        for key, weight in zip(map(tuple, left.tolist()), weights.tolist(), strict=True):
            parts.setdefault(key, []).append((log_weight + weight, ways))
    return {key: _merged(reached) for key, reached in parts.items()}


def _merged(reached: list[tuple[FloatArray, FloatArray]]) -> tuple[FloatArray, FloatArray]:
    log_weight = np.concatenate([weight for weight, _ in reached])
    distinct, group = np.unique(np.round(log_weight, _DIGITS), return_inverse=True)
    ways = np.bincount(group, weights=np.concatenate([ways for _, ways in reached]))
    return distinct, ways.astype(np.float64)


def _column_fills(remaining: tuple[int, ...], column: int, limit: int) -> NDArray[np.int64] | None:
    """Return every way to spread a column over rows with this much room, None if beyond the limit."""
    fills = np.zeros((1, 0), dtype=np.int64)
    left = np.array([column])
    room_after = [*np.cumsum(remaining[::-1])[::-1].tolist()[1:], 0]
    for room, after in zip(remaining, room_after, strict=True):
        low, high = np.maximum(left - after, 0), np.minimum(left, room)
        counts = high - low + 1
        # Every way to begin can be ended, so their number only grows.
        if counts.sum() > limit:
            return None
        repeated = np.repeat(np.arange(left.size), counts)
        cell = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + low[repeated]
        fills = np.column_stack([fills[repeated], cell])
        left = left[repeated] - cell
    return fills
