"""Over-representation: more genes of a set among the called ones than drawing at random would give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special, stats

from tasks.stats.types import checked_counts, checked_level

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from tasks.stats.types import FloatArray

# Odds ratios beyond e**700 are no numbers.
_LOG_ODDS_LIMIT = 700.0
_ITERATIONS = 200
_TOLERANCE = 1e-9
# In the log of the odds, as far as a step may go.
_LONGEST_STEP = 4.0
# Tables at a time times the points of their distributions.
_CHUNK_ELEMENTS = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OverRepresentation:
    """One value for each set; `odds_ratio` is conditional, infinite or zero at the last table."""

    method: str
    p_value: FloatArray
    expected: FloatArray
    odds_ratio: FloatArray
    odds_ratio_low: FloatArray
    odds_ratio_high: FloatArray
    level: float


def over_representation(
    n_called_in_set: ArrayLike, n_in_set: ArrayLike, n_called: int, n_genes: int, *, level: float = 0.95
) -> OverRepresentation:
    """Test H0: the called genes are a random draw from all genes, against more of a set's genes among them.

    Parameters
    ----------
    n_called_in_set : (sets,) array
        Genes of each set that were called.
    n_in_set : (sets,) array
        Genes of each set among those that could be called.
    n_called, n_genes : int
        Genes called, and genes that could be: those with a test, never all genes of the genome.
    level : float
        Confidence level of the odds ratio's interval, half of the rest in each tail.

    Returns
    -------
    OverRepresentation
        One-sided hypergeometric p-values, exact and never zero; Fisher's conditional odds ratio, above one
        when the set is over-represented, with its exact interval.

    Raises
    ------
    ValueError
        If a count is no whole number, or counts contradict each other.

    Notes
    -----
    P(X >= x) with X hypergeometric is the one-sided exact test of Fisher. The odds ratio solves
    E(X | odds) = x in Fisher's noncentral hypergeometric distribution; the interval's ends are where either
    tail falls to (1 - level) / 2.

    References
    ----------
    .. [1] Rivals I et al. (2007). Enrichment or depletion of a GO category within a class of genes: which
       test? Bioinformatics 23:401-407.
    .. [2] Cornfield J (1956). A statistical problem arising from retrospective studies. Proc Third Berkeley
       Symp 4:135-148.
    """
    tail = (1 - checked_level(level)) / 2
    found, size = checked_counts("n_called_in_set", n_called_in_set), checked_counts("n_in_set", n_in_set)
    _check(found, size, n_called, n_genes)
    low, high = np.maximum(size + n_called - n_genes, 0), np.minimum(size, n_called)
    p_value = np.maximum(stats.hypergeom.sf(found - 1, n_genes, size, n_called), np.finfo(np.float64).tiny)
    ratio, lower, upper = np.ones(found.size), np.zeros(found.size), np.full(found.size, np.inf)
    # Sets with distributions of like length stand together, so that little of a chunk is empty.
    order = np.argsort(high - low, kind="stable")
    start = 0
    while start < order.size:
        width = int((high - low)[order[start:]][0]) + 1
        stop = start + max(_CHUNK_ELEMENTS // (8 * width), 1)
        chunk = order[start:stop]
        chunk = chunk[(high - low)[chunk] < max(2 * width, 16)]
        ratio[chunk], lower[chunk], upper[chunk] = _odds_ratios(
            found[chunk], low[chunk], high[chunk], (size[chunk], n_called, n_genes), tail
        )
        start += chunk.size
    return OverRepresentation(
        method="hypergeometric test, one-sided, exact",
        p_value=np.minimum(p_value, 1.0),
        expected=size * n_called / n_genes,
        odds_ratio=ratio,
        odds_ratio_low=lower,
        odds_ratio_high=upper,
        level=level,
    )


def _check(found: NDArray[np.int64], size: NDArray[np.int64], n_called: int, n_genes: int) -> None:
    if found.ndim != 1 or found.shape != size.shape:
        raise ValueError(f"n_in_set: shape {size.shape} beside {found.shape}: must be vectors as long")
    if not 0 <= n_called <= n_genes or n_genes < 1:
        raise ValueError(f"n_called: {n_called} of {n_genes} genes: must be 0 to n_genes, and that positive")
    wrong = np.flatnonzero(
        (size > n_genes) | (found > np.minimum(size, n_called)) | (found < size + n_called - n_genes)
    )
    if wrong.size:
        first = int(wrong[0])
        raise ValueError(
            f"n_called_in_set: {found[first]} of a set of {size[first]}, with {n_called} of {n_genes} genes"
            " called: no table has these margins"
        )


def _odds_ratios(
    found: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    margins: tuple[NDArray[np.int64], int, int],
    tail: float,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    size, n_called, n_genes = margins
    point = low[:, np.newaxis] + np.arange(int((high - low).max()) + 1)
    inside = point <= high[:, np.newaxis]
    point = np.minimum(point, high[:, np.newaxis])
    log_weight = np.where(
        inside, stats.hypergeom.logpmf(point, n_genes, size[:, np.newaxis], n_called), -np.inf
    )
    x = found[:, np.newaxis]

    def expectation(log_odds: FloatArray, rows: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        mean, slope = _moments(log_weight[rows], point[rows], log_odds, point[rows])
        return mean - found[rows], slope

    def at_least(log_odds: FloatArray, rows: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        share, slope = _moments(log_weight[rows], point[rows], log_odds, point[rows] >= x[rows])
        return share - tail, slope

    def at_most(log_odds: FloatArray, rows: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        share, slope = _moments(log_weight[rows], point[rows], log_odds, point[rows] <= x[rows])
        return tail - share, -slope

    is_lowest, is_highest = found == low, found == high
    estimate = np.where(
        is_lowest, 0.0, np.where(is_highest, np.inf, _exp_roots(expectation, ~(is_lowest | is_highest)))
    )
    return (
        np.where(is_lowest & is_highest, 1.0, estimate),
        np.where(is_lowest, 0.0, _exp_roots(at_least, ~is_lowest)),
        np.where(is_highest, np.inf, _exp_roots(at_most, ~is_highest)),
    )


def _moments(
    log_weight: FloatArray, point: NDArray[np.int64], log_odds: FloatArray, value: NDArray[Any]
) -> tuple[FloatArray, FloatArray]:
    """Return the mean of a value of X, and its slope in the log odds, which is its covariance with X."""
    probability = special.softmax(log_weight + log_odds[:, np.newaxis] * point, axis=1)
    mean = (probability * value).sum(axis=1)
    centred = point - (probability * point).sum(axis=1)[:, np.newaxis]
    return mean, (probability * value * centred).sum(axis=1)


def _exp_roots(
    increasing: Callable[[FloatArray, NDArray[np.intp]], tuple[FloatArray, FloatArray]],
    has_root: NDArray[np.bool_],
) -> FloatArray:
    """Return e to the root of each of several increasing functions; one where there is none.

    Newton's steps, bounded, halving the bracket where a step would leave it; rows that are done are asked no
    more.
    """
    root = np.zeros(has_root.size)
    low, high = root - _LOG_ODDS_LIMIT, root + _LOG_ODDS_LIMIT
    rows = np.flatnonzero(has_root)
    for _ in range(_ITERATIONS):
        if not rows.size:
            break
        here = root[rows]
        value, slope = increasing(here, rows)
        low[rows] = np.where(value < 0, here, low[rows])
        high[rows] = np.where(value > 0, here, high[rows])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = np.clip(here - value / slope, here - _LONGEST_STEP, here + _LONGEST_STEP)
        inside = (step > low[rows]) & (step < high[rows])
        root[rows] = np.where(value == 0, here, np.where(inside, step, (low[rows] + high[rows]) / 2))
        rows = rows[np.abs(root[rows] - here) > _TOLERANCE * np.maximum(np.abs(here), 1)]
    return np.asarray(np.exp(root))
