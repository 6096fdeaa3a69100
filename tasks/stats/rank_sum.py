"""Tests of independent groups by ranks: Wilcoxon-Mann-Whitney, exact with ties, and Kruskal-Wallis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special, stats

from tasks.stats.types import (
    RESOLUTION,
    Alternative,
    FloatArray,
    HypothesisTest,
    checked_alternative,
    checked_same_length,
    checked_vector,
    positive_p,
    snapped,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

# Numbers of rank sums grow with the square of the subjects, and their binomial coefficients out of range.
EXACT_LIMIT = 200


def rank_sum_exact(
    first: ArrayLike, second: ArrayLike, *, alternative: Alternative = "two-sided"
) -> HypothesisTest:
    """Test H0: two groups have the same distribution, exactly, with ties allowed.

    Parameters
    ----------
    first, second : (m,) and (n,) arrays
        Values of independent subjects; no NaN.
    alternative : {"two-sided", "greater", "less"}
        "greater": the first group tends to have the larger values.

    Returns
    -------
    HypothesisTest
        `statistic` is the Mann-Whitney U of the first group: the pairs in which its value is larger, ties
        counting half. `p_value` comes from all ways to choose m of the (mid)ranks; two-sided it is the share
        with U as far from m n / 2.

    Raises
    ------
    ValueError
        If a group is empty, a value is NaN, all values are equal, or there are more than `EXACT_LIMIT`.

    References
    ----------
    .. [1] Hollander M, Wolfe DA (1999). Nonparametric Statistical Methods, sec. 4.1.
    """
    checked_alternative(alternative)
    ranks, m = _ranked(first, second)
    if ranks.size > EXACT_LIMIT:
        raise ValueError(
            f"first, second: {ranks.size} values: at most {EXACT_LIMIT} for the exact test; "
            "use rank_sum_asymptotic"
        )
    doubled = np.rint(2 * ranks).astype(np.int64)
    observed = int(doubled[:m].sum())
    share = _sums_of_chosen(doubled, m)
    sums = np.arange(share.size)
    # Twice the distance from the expectation, times the number of subjects, is a whole number.
    centre = m * int(doubled.sum())
    excess = sums * ranks.size - centre
    observed_excess = observed * ranks.size - centre
    chosen = {
        "two-sided": np.abs(excess) >= abs(observed_excess),
        "greater": excess >= observed_excess,
        "less": excess <= observed_excess,
    }[alternative]
    return HypothesisTest(
        method="Wilcoxon rank-sum test, exact permutation distribution",
        alternative=alternative,
        statistic=observed / 2 - m * (m + 1) / 2,
        p_value=positive_p(float(share[chosen].sum())),
        df=None,
        df_denominator=None,
        is_exact=True,
        has_continuity_correction=False,
        n=ranks.size,
    )


def _sums_of_chosen(doubled_ranks: NDArray[np.int64], m: int) -> FloatArray:
    """Return the share of all ways to choose m ranks whose sum is 0, 1, 2, ... half ranks."""
    n = doubled_ranks.size
    fewer = min(m, n - m)
    total = int(doubled_ranks.sum())
    largest = int(np.sort(doubled_ranks)[n - fewer :].sum())
    ways = np.zeros((fewer + 1, largest + 1))
    ways[0, 0] = 1.0
    for rank in np.sort(doubled_ranks).tolist():
        # The largest group first, so that each rank is chosen at most once.
        for chosen in range(fewer, 0, -1):
            ways[chosen, rank:] += ways[chosen - 1, : largest + 1 - rank]
    share = ways[fewer] / special.binom(n, fewer)
    if fewer == m:
        return np.asarray(share, dtype=np.float64)
    # Leaving out n - m ranks leaves the rest of the sum.
    complement = np.zeros(total + 1)
    complement[total - largest :] = share[::-1]
    return complement


def rank_sum_asymptotic(
    first: ArrayLike, second: ArrayLike, *, continuity: bool, alternative: Alternative = "two-sided"
) -> HypothesisTest:
    """Test H0: two groups have the same distribution, by the normal approximation.

    Parameters
    ----------
    first, second : (m,) and (n,) arrays
        Values of independent subjects; no NaN.
    continuity : bool
        Move U half a pair towards its expectation.
    alternative : {"two-sided", "greater", "less"}
        "greater": the first group tends to have the larger values.

    Returns
    -------
    HypothesisTest
        `statistic` is the Mann-Whitney U of the first group; its variance is corrected for ties.

    Raises
    ------
    ValueError
        If a group is empty, a value is NaN, or all values are equal.

    References
    ----------
    .. [1] Hollander M, Wolfe DA (1999). Nonparametric Statistical Methods, sec. 4.1, eq. 4.9-4.12.
    """
    checked_alternative(alternative)
    ranks, m = _ranked(first, second)
    n = ranks.size - m
    u = float(ranks[:m].sum()) - m * (m + 1) / 2
    variance = m * n / (ranks.size * (ranks.size - 1)) * float(np.square(ranks - ranks.mean()).sum())
    excess = u - m * n / 2
    if continuity:
        excess -= 0.5 * {"two-sided": float(np.sign(excess)), "greater": 1.0, "less": -1.0}[alternative]
    z = excess / float(np.sqrt(variance))
    tails = {"two-sided": 2 * stats.norm.sf(abs(z)), "greater": stats.norm.sf(z), "less": stats.norm.cdf(z)}
    return HypothesisTest(
        method="Wilcoxon rank-sum test, normal approximation "
        + ("with continuity correction" if continuity else "without continuity correction"),
        alternative=alternative,
        statistic=u,
        p_value=positive_p(float(tails[alternative])),
        df=None,
        df_denominator=None,
        is_exact=False,
        has_continuity_correction=continuity,
        n=ranks.size,
    )


def kruskal_wallis(response: ArrayLike, group: Sequence[str]) -> HypothesisTest:
    """Test H0: all groups have the same distribution, by ranks and the chi-square approximation.

    Parameters
    ----------
    response : (n,) array
        Values of independent subjects; no NaN.
    group : sequence of n labels
        Two groups or more.

    Returns
    -------
    HypothesisTest
        `statistic` is H, corrected for ties; `df` one less than the groups.

    Raises
    ------
    ValueError
        If lengths differ, there are fewer than two groups, a value is NaN, or all values are equal.

    References
    ----------
    .. [1] Hollander M, Wolfe DA (1999). Nonparametric Statistical Methods, sec. 6.1.
    """
    values = checked_vector("response", response, at_least=2)
    checked_same_length("group", len(group), "response", values.size)
    levels, codes = np.unique(np.asarray(group), return_inverse=True)
    if levels.size < 2:  # noqa: PLR2004 - nothing to compare
        raise ValueError(f"group: {levels[0]!r} throughout: at least two groups needed")
    ranks = _midranks("response", values)
    deviation = np.bincount(codes, weights=ranks - ranks.mean())
    between = float((deviation**2 / np.bincount(codes)).sum())
    statistic = (values.size - 1) * between / float(np.square(ranks - ranks.mean()).sum())
    df = levels.size - 1
    return HypothesisTest(
        method="Kruskal-Wallis test, chi-square approximation",
        alternative="two-sided",
        statistic=statistic,
        p_value=positive_p(float(stats.chi2.sf(statistic, df))),
        df=df,
        df_denominator=None,
        is_exact=False,
        has_continuity_correction=False,
        n=values.size,
    )


def _ranked(first: ArrayLike, second: ArrayLike) -> tuple[FloatArray, int]:
    groups = checked_vector("first", first), checked_vector("second", second)
    return _midranks("first, second", np.concatenate(groups)), groups[0].size


def _midranks(name: str, values: FloatArray) -> FloatArray:
    if np.ptp(values) <= RESOLUTION * float(np.abs(values).max()):
        raise ValueError(f"{name}: every value is {values[0]:g}: ranks need values that vary")
    return np.asarray(stats.rankdata(snapped(values)), dtype=np.float64)
