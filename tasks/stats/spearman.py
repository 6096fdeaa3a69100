"""Spearman's rank correlation: exact permutation test with ties, interval, and what one subject changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from tasks.stats.types import (
    Alternative,
    FloatArray,
    Interval,
    checked_alternative,
    checked_level,
    checked_same_length,
    checked_vector,
    positive_p,
    snapped,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# Work and memory double with each subject; fifteen would take seconds and hundreds of megabytes.
EXACT_LIMIT = 14
_LEAST_PAIRS = 3
_LEAST_FOR_INTERVAL = 4
_INTERVAL_METHOD = "Fisher z with the variance of Bonett and Wright"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spearman:
    """A rank correlation with its p-value and interval.

    `smallest_p` is the smallest p-value that these ranks could give in any order. `n_permutations` and `seed`
    are None when every order was counted. `interval` is None where it is not defined: fewer than four
    subjects, or a correlation of one.
    """

    rho: float
    p_value: float
    smallest_p: float
    method: str
    alternative: Alternative
    is_exact: bool
    n_permutations: int | None
    seed: int | None
    tie_rule: str
    interval: Interval | None
    n: int


@dataclass(frozen=True, slots=True)
class _Null:
    """Sums of products of ranks under the null hypothesis, as `share` of all orders, ascending.

    `excess` is the distance of each sum from its expectation, in whole units.
    """

    excess: NDArray[np.int64]
    share: FloatArray


def spearman(
    x: ArrayLike,
    y: ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    level: float = 0.95,
    n_permutations: int = 9_999,
    seed: int = 0,
) -> Spearman:
    """Test H0: x and y are independent, by the permutation distribution of their rank correlation.

    Parameters
    ----------
    x, y : (n,) arrays
        Values of the same subjects; no NaN. Values that differ by rounding alone are tied.
    alternative : {"two-sided", "greater", "less"}
        "greater": x tends to be larger where y is.
    level : float
        Level of the interval.
    n_permutations, seed : int
        Random orders drawn where n exceeds `EXACT_LIMIT`, and the seed of numpy's default generator.

    Returns
    -------
    Spearman
        `rho` is the product-moment correlation of the midranks. Up to `EXACT_LIMIT` subjects `p_value` is the
        share of all n! orders whose rho is as extreme; beyond, (k + 1) / (n_permutations + 1). Two-sided it
        counts the orders with rho as far from zero.

    Raises
    ------
    ValueError
        If lengths differ, there are fewer than three subjects, a value is NaN, or one variable is constant.

    Notes
    -----
    All orders are counted without listing them: subject by subject in the order of x, over the sets of values
    of y already given away. Given the observed midranks the count is exact with ties. The interval is
    tanh(atanh(rho) -+ z sqrt((1 + rho**2 / 2) / (n - 3))), an approximation that does not follow from the
    test; where the two disagree at the edge, the p-value decides.

    References
    ----------
    .. [1] Hollander M, Wolfe DA (1999). Nonparametric Statistical Methods, sec. 8.5.
    .. [2] Bonett DG, Wright TA (2000). Sample size requirements for estimating Pearson, Kendall and Spearman
       correlations. Psychometrika 65:23-28.
    .. [3] Phipson B, Smyth GK (2010). Permutation p-values should never be zero. Stat Appl Genet Mol Biol
       9:39.
    """
    checked_alternative(alternative)
    nominal = checked_level(level)
    doubled_x, doubled_y = _doubled_ranks("x", x), _doubled_ranks("y", y)
    checked_same_length("y", doubled_y.size, "x", doubled_x.size)
    n = doubled_x.size
    whole_x, whole_y = _whole(doubled_x), _whole(doubled_y)
    observed = n * int(whole_x @ whole_y) - int(whole_x.sum()) * int(whole_y.sum())
    is_exact = n <= EXACT_LIMIT
    if is_exact:
        null = _every_order(tuple(sorted(whole_x.tolist())), tuple(sorted(whole_y.tolist())))
        p_value = float(null.share[_as_extreme(null.excess, observed, alternative)].sum())
        extremes = (int(null.excess[0]), int(null.excess[-1]))
        smallest_p = min(
            float(null.share[_as_extreme(null.excess, extreme, alternative)].sum()) for extreme in extremes
        )
    else:
        if n_permutations < 1:
            raise ValueError(f"n_permutations: {n_permutations}: at least 1 needed")
        drawn = _random_orders(tuple(whole_y.tolist()), n_permutations, seed)
        excess = n * (drawn @ whole_x) - int(whole_x.sum()) * int(whole_y.sum())
        reached = int(np.count_nonzero(_as_extreme(excess, observed, alternative)))
        p_value = (reached + 1) / (n_permutations + 1)
        smallest_p = 1 / (n_permutations + 1)
    rho = _correlation(doubled_x.astype(np.float64), doubled_y.astype(np.float64))
    return Spearman(
        rho=rho,
        p_value=positive_p(p_value),
        smallest_p=positive_p(smallest_p),
        method="Spearman rank correlation, "
        + ("exact permutation distribution" if is_exact else f"{n_permutations} random permutations"),
        alternative=alternative,
        is_exact=is_exact,
        n_permutations=None if is_exact else n_permutations,
        seed=None if is_exact else seed,
        tie_rule="midranks",
        interval=_interval(rho, n, nominal),
        n=n,
    )


def leave_one_out(x: ArrayLike, y: ArrayLike) -> FloatArray:
    """Return the rank correlation without each subject in turn; NaN where what is left does not vary.

    Parameters
    ----------
    x : (k, n) or (n,) array
        One row per variable, or a single one.
    y : (n,) array
        What each is correlated with; n of 4 or more.

    Returns
    -------
    (k, n) or (n,) array
        In the order of the subjects.
    """
    y_values = snapped(checked_vector("y", y, at_least=_LEAST_FOR_INTERVAL))
    given = np.asarray(x, dtype=np.float64)
    rows = np.array([snapped(checked_vector("x", row)) for row in np.atleast_2d(given)])
    checked_same_length("x", rows.shape[1], "y", y_values.size)
    without = np.empty(rows.shape)
    for subject in range(y_values.size):
        x_ranks = stats.rankdata(np.delete(rows, subject, axis=1), axis=1)
        y_ranks = stats.rankdata(np.delete(y_values, subject))
        x_ranks = x_ranks - x_ranks.mean(axis=1, keepdims=True)
        y_ranks = y_ranks - y_ranks.mean()
        size = np.sqrt(np.square(x_ranks).sum(axis=1) * np.square(y_ranks).sum())
        with np.errstate(invalid="ignore", divide="ignore"):
            without[:, subject] = np.where(size > 0, x_ranks @ y_ranks / size, np.nan)
    return np.asarray(without[0] if given.ndim == 1 else without, dtype=np.float64)


def _doubled_ranks(name: str, values: ArrayLike) -> NDArray[np.int64]:
    """Return twice the midranks, which are whole numbers also when tied."""
    array = checked_vector(name, values, at_least=_LEAST_PAIRS)
    doubled = np.rint(2 * stats.rankdata(snapped(array))).astype(np.int64)
    if np.ptp(doubled) == 0:
        raise ValueError(f"{name}: every value is {array[0]:g}: values must vary")
    return doubled


def _whole(doubled: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the ranks from zero in their largest common unit: a correlation knows neither."""
    from_zero = doubled - doubled.min()
    return np.asarray(from_zero // np.gcd.reduce(from_zero), dtype=np.int64)


def _as_extreme(excess: NDArray[np.int64], observed: int, alternative: Alternative) -> NDArray[np.bool_]:
    if alternative == "greater":
        return excess >= observed
    if alternative == "less":
        return excess <= observed
    return np.abs(excess) >= abs(observed)


def _every_order(x: tuple[int, ...], y: tuple[int, ...]) -> _Null:
    """Return the distribution of the sum of products, the variable with fewer values given away."""
    return _counted(y, x) if len(set(x)) < len(set(y)) else _counted(x, y)


@lru_cache(maxsize=256)
def _counted(in_turn: tuple[int, ...], given_away: tuple[int, ...]) -> _Null:
    """Count the sums over all orders; a state is how many of each value have been given away."""
    value, multiplicity = np.unique(given_away, return_counts=True)
    digit = np.indices(tuple((multiplicity + 1).tolist())).reshape(value.size, -1)
    stride = np.array([np.prod(multiplicity[place + 1 :] + 1) for place in range(value.size)], dtype=np.int64)
    given = digit.sum(axis=0)
    place_in_level = np.empty(given.size, dtype=np.int64)
    for level in range(len(in_turn) + 1):
        states = np.flatnonzero(given == level)
        place_in_level[states] = np.arange(states.size)
    ways = np.ones((1, 1))
    for level, weight in enumerate(in_turn):
        states = np.flatnonzero(given == level)
        width = ways.shape[1]
        grown = np.zeros((int((given == level + 1).sum()), width + weight * int(value[-1])))
        for number in range(value.size):
            left = multiplicity[number] - digit[number, states]
            able = left > 0
            target = place_in_level[states[able] + stride[number]]
            shift = weight * int(value[number])
            grown[target, shift : shift + width] += left[able, np.newaxis] * ways[able]
        ways = grown
    # Whole numbers up to 14!, exact in floating point.
    total = ways[0]
    sums = np.flatnonzero(total)
    return _Null(excess=len(in_turn) * sums - sum(in_turn) * sum(given_away), share=total[sums] / total.sum())


@lru_cache(maxsize=4)
def _random_orders(values: tuple[int, ...], n_permutations: int, seed: int) -> NDArray[np.int64]:
    generator = np.random.default_rng(seed)
    copies = np.tile(np.array(values, dtype=np.int64), (n_permutations, 1))
    return generator.permuted(copies, axis=1)


def _correlation(x: FloatArray, y: FloatArray) -> float:
    x, y = x - x.mean(), y - y.mean()
    rho = float(x @ y / np.sqrt(np.square(x).sum() * np.square(y).sum()))
    return max(-1.0, min(1.0, rho))


def _interval(rho: float, n: int, level: float) -> Interval | None:
    if n < _LEAST_FOR_INTERVAL or abs(rho) >= 1 - 1e-12:
        return None
    z = float(stats.norm.isf((1 - level) / 2))
    half = z * float(np.sqrt((1 + rho**2 / 2) / (n - 3)))
    centre = float(np.arctanh(rho))
    return Interval(
        low=float(np.tanh(centre - half)),
        high=float(np.tanh(centre + half)),
        level=level,
        achieved_level=None,
        method=_INTERVAL_METHOD,
    )
