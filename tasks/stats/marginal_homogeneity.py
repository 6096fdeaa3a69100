"""Change between two visits in a category: are the categories as frequent after as before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy import stats

from tasks.stats.contingency import checked_table
from tasks.stats.location import sign_flip
from tasks.stats.signed_rank import null_distribution, tail_probability
from tasks.stats.types import (
    Alternative,
    HypothesisTest,
    checked_alternative,
    checked_choice,
    checked_same_length,
    checked_vector,
    positive_p,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from tasks.stats.types import FloatArray

OrdinalMethod: TypeAlias = Literal["exact", "asymptotic"]

# The exact distribution of whole-number scores has one point for each possible sum.
_LATTICE_LIMIT = 100_000


def stuart_maxwell(table: ArrayLike) -> HypothesisTest:
    """Test H0: every category is as frequent after as before, the order of categories not mattering.

    Parameters
    ----------
    table : (k, k) array
        Counts of subjects: rows before, columns after.

    Returns
    -------
    HypothesisTest
        Chi-square; `df` is one less than the categories that somebody entered or left, in each group of
        categories that exchanged subjects.

    Raises
    ------
    ValueError
        If the table is not square or nobody changed.

    References
    ----------
    .. [1] Stuart A (1955). A test for homogeneity of the marginal distributions in a two-way classification.
       Biometrika 42:412-416.
    .. [2] Maxwell AE (1970). Comparing the classification of subjects by two independent judges. Br J
       Psychiatry 116:651-655.
    """
    counts = _checked_square(table)
    statistic, df = _stuart_maxwell(counts)
    return _result("Stuart-Maxwell test of marginal homogeneity", statistic, df, counts)


def bhapkar(table: ArrayLike) -> HypothesisTest:
    """Test H0: every category is as frequent after as before, with the variance not restricted by H0.

    Parameters
    ----------
    table : (k, k) array
        Counts of subjects: rows before, columns after.

    Returns
    -------
    HypothesisTest
        Chi-square Q / (1 - Q / n) of the Stuart-Maxwell Q; `df` as there. Larger than Q, and too large in
        small samples.

    Raises
    ------
    ValueError
        If the table is not square, nobody changed, or everybody changed so that Q = n.

    References
    ----------
    .. [1] Bhapkar VP (1966). A note on the equivalence of two test criteria for hypotheses in categorical
       data. J Am Stat Assoc 61:228-235.
    """
    counts = _checked_square(table)
    statistic, df = _stuart_maxwell(counts)
    n = int(counts.sum())
    if statistic >= n * (1 - 1e-12):
        raise ValueError(f"table: all {n} subjects changed alike: the variance is zero; use stuart_maxwell")
    return _result("Bhapkar test of marginal homogeneity", statistic / (1 - statistic / n), df, counts)


def _stuart_maxwell(counts: NDArray[np.int64]) -> tuple[float, int]:
    difference = (counts.sum(axis=0) - counts.sum(axis=1)).astype(np.float64)
    variance = -(counts + counts.T).astype(np.float64)
    np.fill_diagonal(variance, 0.0)
    np.fill_diagonal(variance, -variance.sum(axis=1))
    values, vectors = np.linalg.eigh(variance)
    kept = values > 1e-10 * values[-1]
    projected = vectors[:, kept].T @ difference
    return float((projected**2 / values[kept]).sum()), int(kept.sum())


def _result(method: str, statistic: float, df: int, counts: NDArray[np.int64]) -> HypothesisTest:
    return HypothesisTest(
        method=method,
        alternative="two-sided",
        statistic=statistic,
        p_value=positive_p(float(stats.chi2.sf(statistic, df))),
        df=df,
        df_denominator=None,
        is_exact=False,
        has_continuity_correction=False,
        n=int(counts.sum()),
    )


def ordinal_marginal_homogeneity(
    table: ArrayLike,
    *,
    scores: ArrayLike | None = None,
    method: OrdinalMethod = "exact",
    alternative: Alternative = "two-sided",
) -> HypothesisTest:
    """Test H0: a subject is as likely to move up as down by the same step, the categories being ordered.

    Parameters
    ----------
    table : (k, k) array
        Counts of subjects: rows before, columns after, in ascending order.
    scores : (k,) array or None
        Numbers that the categories stand for; 1 to k if None.
    method : {"exact", "asymptotic"}
        All ways to exchange before and after, or the normal approximation without correction.
    alternative : {"two-sided", "greater", "less"}
        "greater": scores rise.

    Returns
    -------
    HypothesisTest
        `statistic` is the summed change of scores (exact) or that over its standard deviation (asymptotic);
        positive when scores rise. `is_exact` is False when scores that are not whole numbers made random
        exchanges necessary.

    Raises
    ------
    ValueError
        If the table is not square, scores are not finite, or nobody changed score.

    Notes
    -----
    Given the sizes of the changes, each is as likely up as down: the permutation distribution of the test
    of Agresti's sec. 11.3.

    References
    ----------
    .. [1] Agresti A (2013). Categorical Data Analysis, sec. 11.3.
    """
    checked_alternative(alternative)
    checked_choice("method", method, ("exact", "asymptotic"))
    counts = _checked_square(table)
    points = np.arange(1.0, counts.shape[0] + 1) if scores is None else checked_vector("scores", scores)
    checked_same_length("scores", points.size, "categories", counts.shape[0])
    change = np.repeat((points[np.newaxis, :] - points[:, np.newaxis]).ravel(), counts.ravel())
    change = change[change != 0]
    if change.size == 0:
        raise ValueError("table: nobody changed score: at least one subject must")
    total = float(change.sum())
    is_exact = method == "exact"
    if method == "asymptotic":
        total /= float(np.sqrt(np.square(change).sum()))
        tails = {"two-sided": 2 * stats.norm.sf(abs(total)), "greater": stats.norm.sf(total)}
        p_value = float(tails.get(alternative, stats.norm.cdf(total)))
    elif _is_lattice(change):
        steps = np.abs(change).astype(np.int64)
        raised = int(change[change > 0].sum())
        p_value = tail_probability(null_distribution(steps), raised, alternative)
    else:
        flipped = sign_flip(change, alternative=alternative)
        p_value, is_exact = flipped.p_value, flipped.is_exact
    return HypothesisTest(
        method=f"Marginal homogeneity of ordered categories, {method}",
        alternative=alternative,
        statistic=total,
        p_value=positive_p(p_value),
        df=None,
        df_denominator=None,
        is_exact=is_exact,
        has_continuity_correction=False,
        n=int(counts.sum()),
    )


def _is_lattice(change: FloatArray) -> bool:
    return bool((change == np.rint(change)).all()) and float(np.abs(change).sum()) <= _LATTICE_LIMIT


def _checked_square(table: ArrayLike) -> NDArray[np.int64]:
    counts = checked_table(table)
    if counts.shape[0] != counts.shape[1]:
        raise ValueError(f"table: shape {counts.shape}: must have the same categories before and after")
    if counts.sum() == np.trace(counts):
        raise ValueError("table: nobody changed: at least one subject must")
    return counts
