"""Wilcoxon's signed-rank test, exact and asymptotic, with ties and zero differences allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from tasks.stats.types import (
    Alternative,
    FloatArray,
    SignedRank,
    ZeroRule,
    checked_alternative,
    checked_choice,
    checked_difference,
    is_zero,
    positive_p,
    snapped,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# The distribution has n (n + 1) + 1 points and costs n passes over them; 2**-n is still a normal number.
EXACT_LIMIT = 1000

TIE_RULE = "midranks"
TIE_RULE_ASYMPTOTIC = "midranks, tie-corrected variance"


def signed_ranks(difference: FloatArray, zeros: ZeroRule) -> FloatArray:
    """Return the midranks of the absolute differences, signed; zero differences are left out.

    With `wilcox` zeros are dropped before ranking; with `pratt` they take part in the ranking, so that the
    others keep their higher ranks, and are dropped afterwards.
    """
    checked_choice("zeros", zeros, ("wilcox", "pratt"))
    zero = is_zero(difference)
    if zero.all():
        raise ValueError("difference: every value is zero: at least one must differ from zero")
    magnitude = snapped(np.where(zero, 0.0, np.abs(difference)))
    ranks = stats.rankdata(magnitude[~zero]) if zeros == "wilcox" else stats.rankdata(magnitude)[~zero]
    return np.asarray(np.sign(difference[~zero]) * ranks, dtype=np.float64)


def null_distribution(doubled_ranks: NDArray[np.int64]) -> FloatArray:
    """Return P(T = t), t = 0, 1, ..., of the sum of ranks that fair coins pick, in units of half a rank.

    Probabilities are only ever added, so the smallest tail is as accurate as the largest.
    """
    # Large ranks last: the occupied part of the array, and so the work, stays small for longest.
    ranks = np.sort(doubled_ranks)
    probability = np.zeros(int(ranks.sum()) + 1)
    probability[0] = 1.0
    top = 0
    for rank in ranks.tolist():
        occupied = 0.5 * probability[: top + 1]
        probability[: top + 1] = occupied
        probability[rank : top + rank + 1] += occupied
        top += rank
    return probability


def tail_probability(distribution: FloatArray, doubled_sum: int, alternative: Alternative) -> float:
    """Return the probability of a sum as extreme as the observed one; two-sided doubles the smaller tail."""
    at_most = float(distribution[: doubled_sum + 1].sum())
    at_least = float(distribution[doubled_sum:].sum())
    if alternative == "greater":
        return positive_p(at_least)
    if alternative == "less":
        return positive_p(at_most)
    return positive_p(2 * min(at_most, at_least))


def signed_rank_exact(
    difference: ArrayLike, *, zeros: ZeroRule = "wilcox", alternative: Alternative = "two-sided"
) -> SignedRank:
    """Test H0: the paired differences are symmetric about zero, exactly, with ties allowed.

    Parameters
    ----------
    difference : (n,) array
        After minus before, in the unit of the score; no NaN. Values closer together than `RESOLUTION` times
        the largest magnitude are tied.
    zeros : {"wilcox", "pratt"}
        Drop zero differences before ranking, or rank them and drop their ranks.
    alternative : {"two-sided", "greater", "less"}
        "greater": the differences tend to be positive.

    Returns
    -------
    SignedRank
        `statistic` is the sum of the ranks of positive differences; `p_value` comes from all 2**n_used sign
        patterns of the observed (mid)ranks. It is two-sided as twice the smaller tail, at most 1.

    Raises
    ------
    ValueError
        If every difference is zero, one is NaN, or more than `EXACT_LIMIT` are not zero.

    Notes
    -----
    The null distribution is built rank by rank, p_k(t) = (p_{k-1}(t) + p_{k-1}(t - r_k)) / 2, on doubled
    ranks, which are whole numbers also when tied. It is conditional on the ranks, so ties need no correction.

    References
    ----------
    .. [1] Hollander M, Wolfe DA (1999). Nonparametric Statistical Methods, sec. 3.1.
    .. [2] Pratt JW (1959). Remarks on zeros and ties in the Wilcoxon signed rank procedures. J Am Stat
       Assoc 54:655-667.

    Examples
    --------
    >>> signed_rank_exact([-7, -5, -4, -6, -3, -8, -2, -9, -1, -10, -12, -11]).p_value
    0.00048828125
    """
    checked_alternative(alternative)
    values = checked_difference(difference)
    ranks = signed_ranks(values, zeros)
    if ranks.size > EXACT_LIMIT:
        raise ValueError(
            f"difference: {ranks.size} values that are not zero: "
            f"at most {EXACT_LIMIT} for the exact test; use signed_rank_asymptotic"
        )
    doubled = np.rint(2 * np.abs(ranks)).astype(np.int64)
    doubled_sum = int(doubled[ranks > 0].sum())
    return SignedRank(
        method="Wilcoxon signed-rank test, exact permutation distribution",
        alternative=alternative,
        statistic=doubled_sum / 2,
        p_value=tail_probability(null_distribution(doubled), doubled_sum, alternative),
        is_exact=True,
        has_continuity_correction=False,
        zero_rule=zeros,
        tie_rule=TIE_RULE,
        n=values.size,
        n_zero=values.size - ranks.size,
        n_used=ranks.size,
        rank_sum_negative=float(doubled[ranks < 0].sum()) / 2,
        z=None,
    )


def signed_rank_asymptotic(
    difference: ArrayLike,
    *,
    continuity: bool,
    zeros: ZeroRule = "wilcox",
    alternative: Alternative = "two-sided",
) -> SignedRank:
    """Test H0: the paired differences are symmetric about zero, by the normal approximation.

    Wrong where it is most tempting: with about a dozen differences of one sign its p-value is several times
    the exact one. It is here because published results use it.

    Parameters
    ----------
    difference : (n,) array
        After minus before, in the unit of the score; no NaN.
    continuity : bool
        Move the rank sum half a rank towards its expectation before standardising.
    zeros : {"wilcox", "pratt"}
        Drop zero differences before ranking, or rank them and drop their ranks.
    alternative : {"two-sided", "greater", "less"}
        "greater": the differences tend to be positive.

    Returns
    -------
    SignedRank
        `statistic` is the sum of the ranks of positive differences; `z` is positive when it exceeds its
        expectation.

    Raises
    ------
    ValueError
        If every difference is zero or one is NaN.

    Notes
    -----
    Given the (mid)ranks r, the sum has mean sum(r) / 2 and variance sum(r**2) / 4; the latter equals
    n (n + 1) (2 n + 1) / 24 less the usual correction for ties.

    References
    ----------
    .. [1] Hollander M, Wolfe DA (1999). Nonparametric Statistical Methods, sec. 3.1, eq. 3.9-3.13.
    """
    checked_alternative(alternative)
    values = checked_difference(difference)
    ranks = signed_ranks(values, zeros)
    statistic = float(ranks[ranks > 0].sum())
    excess = statistic - float(np.abs(ranks).sum()) / 2
    if continuity:
        towards = {"two-sided": float(np.sign(excess)), "greater": 1.0, "less": -1.0}[alternative]
        excess -= 0.5 * towards
    z = excess / float(np.sqrt(np.square(ranks).sum() / 4))
    if alternative == "two-sided":
        p_value = 2 * float(stats.norm.sf(abs(z)))
    else:
        p_value = float(stats.norm.sf(z if alternative == "greater" else -z))
    return SignedRank(
        method="Wilcoxon signed-rank test, normal approximation "
        + ("with continuity correction" if continuity else "without continuity correction"),
        alternative=alternative,
        statistic=statistic,
        p_value=positive_p(p_value),
        is_exact=False,
        has_continuity_correction=continuity,
        zero_rule=zeros,
        tie_rule=TIE_RULE_ASYMPTOTIC,
        n=values.size,
        n_zero=values.size - ranks.size,
        n_used=ranks.size,
        rank_sum_negative=float(-ranks[ranks < 0].sum()),
        z=z,
    )
