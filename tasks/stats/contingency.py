"""Tests of a single table of counts: independence, and change between two paired yes-or-no answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy import optimize, special, stats

from tasks.stats.fisher_enumeration import RELATIVE_TOLERANCE, log_probability, share_no_more_probable
from tasks.stats.types import (
    Alternative,
    Estimate,
    HypothesisTest,
    Interval,
    checked_alternative,
    checked_choice,
    checked_counts,
    checked_level,
    positive_p,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from tasks.stats.types import FloatArray

McNemarMethod: TypeAlias = Literal["exact", "mid-p", "asymptotic"]

_TWO_BY_TWO = (2, 2)
# Odds ratios beyond e**700 are no numbers.
_LOG_ODDS_LIMIT = 700.0


def pearson_chi_square(table: ArrayLike, *, continuity: bool = False) -> HypothesisTest:
    """Test H0: rows and columns are independent, by Pearson's chi-square.

    Parameters
    ----------
    table : (r, c) array
        Counts of independent subjects. Rows and columns without any are left out.
    continuity : bool
        Yates's correction, for 2 x 2 tables only: deviations shrink by half a subject, or to zero.

    Returns
    -------
    HypothesisTest
        `df` is (r - 1) (c - 1) of the rows and columns that count.

    Raises
    ------
    ValueError
        If fewer than two rows or columns hold subjects, or a correction is asked of a larger table.

    References
    ----------
    .. [1] Agresti A (2013). Categorical Data Analysis, sec. 3.2.1.
    """
    counts = _without_empty(checked_table(table))
    if min(counts.shape) < 2:  # noqa: PLR2004 - nothing to compare
        raise ValueError(f"table: {counts.shape[0]} rows and {counts.shape[1]} columns in use: two needed")
    if continuity and counts.shape != _TWO_BY_TWO:
        raise ValueError(f"continuity: a table of {counts.shape}: only defined for 2 x 2")
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    deviation = np.abs(counts - expected)
    if continuity:
        deviation -= min(0.5, float(deviation.min()))
    statistic = float((np.square(deviation) / expected).sum())
    df = (counts.shape[0] - 1) * (counts.shape[1] - 1)
    return HypothesisTest(
        method="Pearson chi-square" + (", Yates's correction" if continuity else ""),
        alternative="two-sided",
        statistic=statistic,
        p_value=positive_p(float(stats.chi2.sf(statistic, df))),
        df=df,
        df_denominator=None,
        is_exact=False,
        has_continuity_correction=continuity,
        n=int(counts.sum()),
    )


def fisher_exact(table: ArrayLike, *, alternative: Alternative = "two-sided") -> HypothesisTest:
    """Test H0: rows and columns are independent, exactly, given all row and column sums.

    Parameters
    ----------
    table : (r, c) array
        Counts of independent subjects. Rows and columns without any change nothing.
    alternative : {"two-sided", "greater", "less"}
        For 2 x 2 tables, "greater": the odds ratio exceeds one. Larger tables have only "two-sided".

    Returns
    -------
    HypothesisTest
        `statistic` is the probability of the table; two-sided `p_value` that of all tables no more probable.

    Raises
    ------
    ValueError
        If a side is asked of a larger table, or the table has too many others of its margins to be counted.

    Notes
    -----
    A table with a single row or column in use is the only one of its margins: its p-value is one.

    References
    ----------
    .. [1] Fisher RA (1935). The logic of inductive inference. J R Stat Soc 98:39-82.
    .. [2] Mehta CR, Patel NR (1983). A network algorithm for performing Fisher's exact test in r x c
       contingency tables. J Am Stat Assoc 78:427-434.
    """
    checked_alternative(alternative)
    whole = checked_table(table)
    if alternative != "two-sided" and whole.shape != _TWO_BY_TWO:
        raise ValueError(f"alternative: {alternative!r} of a table of {whole.shape}: only defined for 2 x 2")
    counts = _without_empty(whole)
    if min(counts.shape) < 2:  # noqa: PLR2004 - the only table of its margins
        p_value: float | None = 1.0
    elif counts.shape == _TWO_BY_TWO:
        p_value = _two_by_two_p(counts, alternative)
    else:
        p_value = share_no_more_probable(counts)
    if p_value is None:
        raise ValueError(
            f"table: {counts.shape[0]} x {counts.shape[1]} with {counts.sum()} subjects: too many tables of "
            "its margins for the exact test; use fisher_monte_carlo"
        )
    return _fisher_result(counts, alternative, p_value, "every table", is_exact=True)


def _fisher_result(
    counts: NDArray[np.int64], alternative: Alternative, p_value: float, how: str, *, is_exact: bool
) -> HypothesisTest:
    return HypothesisTest(
        method=f"Fisher's exact test, {how}",
        alternative=alternative,
        statistic=float(np.exp(log_probability(counts))),
        p_value=positive_p(p_value),
        df=None,
        df_denominator=None,
        is_exact=is_exact,
        has_continuity_correction=False,
        n=int(counts.sum()),
    )


def _two_by_two_p(counts: NDArray[np.int64], alternative: Alternative) -> float:
    support, log_weight = _hypergeometric(counts)
    probability = special.softmax(log_weight)
    observed = int(counts[0, 0])
    if alternative == "greater":
        chosen = support >= observed
    elif alternative == "less":
        chosen = support <= observed
    else:
        chosen = probability <= probability[support == observed] * (1 + RELATIVE_TOLERANCE)
    return float(probability[chosen].sum())


def _hypergeometric(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], FloatArray]:
    """Return the values the first cell can take given the margins, and their log probabilities."""
    first_row, first_column, n = int(counts[0].sum()), int(counts[:, 0].sum()), int(counts.sum())
    support = np.arange(max(0, first_row + first_column - n), min(first_row, first_column) + 1)
    log_weight = stats.hypergeom.logpmf(support, n, first_row, first_column)
    return support, np.asarray(log_weight, dtype=np.float64)


def fisher_monte_carlo(table: ArrayLike, *, n_resamples: int = 100_000, seed: int = 0) -> HypothesisTest:
    """Test H0: rows and columns are independent, by random tables of the same row and column sums.

    Parameters
    ----------
    table : (r, c) array
        Counts of independent subjects.
    n_resamples, seed : int
        Number of random tables and the seed of numpy's default generator.

    Returns
    -------
    HypothesisTest
        `p_value` is (1 + tables no more probable) / (1 + tables drawn), which keeps the level.

    Raises
    ------
    ValueError
        If `n_resamples` is below 1.

    References
    ----------
    .. [1] Phipson B, Smyth GK (2010). Permutation p-values should never be zero. Stat Appl Genet Mol Biol
       9:39.
    """
    if n_resamples < 1:
        raise ValueError(f"n_resamples: {n_resamples}: at least 1 needed")
    counts = _without_empty(checked_table(table))
    if min(counts.shape) < 2:  # noqa: PLR2004 - the only table of its margins
        return _fisher_result(counts, "two-sided", 1.0, "random tables", is_exact=True)
    tables = stats.random_table(counts.sum(axis=1), counts.sum(axis=0)).rvs(
        n_resamples, random_state=np.random.default_rng(seed)
    )
    surprise = special.gammaln(tables + 1).sum(axis=(1, 2))
    observed = float(special.gammaln(counts + 1).sum())
    extreme = int(np.count_nonzero(surprise >= observed - RELATIVE_TOLERANCE))
    p_value = (1 + extreme) / (1 + n_resamples)
    how = f"{n_resamples} random tables, seed {seed}"
    return _fisher_result(counts, "two-sided", p_value, how, is_exact=False)


def conditional_odds_ratio(table: ArrayLike, *, level: float = 0.95) -> Estimate:
    """Estimate the odds ratio of a 2 x 2 table given its margins, with the exact interval.

    Parameters
    ----------
    table : (2, 2) array
        Counts; the ratio is (a d) / (b c)-like: above one when the first row leans to the first column.
    level : float
        Confidence level, guaranteed; both tails have half of the rest.

    Returns
    -------
    Estimate
        The conditional maximum-likelihood estimate, which is not a d / (b c); zero or infinite where the
        table is as extreme as its margins allow. No standard error is defined.

    Raises
    ------
    ValueError
        If the table is not 2 x 2, or a row or column holds no subject.

    References
    ----------
    .. [1] Cornfield J (1956). A statistical problem arising from retrospective studies. Proc Third Berkeley
       Symp 4:135-148.
    """
    tail = (1 - checked_level(level)) / 2
    counts = checked_table(table)
    if counts.shape != _TWO_BY_TWO or _without_empty(counts).shape != _TWO_BY_TWO:
        raise ValueError(f"table: {counts.tolist()}: must be 2 x 2 with no empty row or column")
    support, log_weight = _hypergeometric(counts)
    x = int(counts[0, 0])

    def probability(log_odds: float) -> FloatArray:
        return np.asarray(special.softmax(log_weight + log_odds * support), dtype=np.float64)

    def at_least(log_odds: float) -> float:
        return float(probability(log_odds)[support >= x].sum()) - tail

    def at_most(log_odds: float) -> float:
        return tail - float(probability(log_odds)[support <= x].sum())

    def mean(log_odds: float) -> float:
        return float(probability(log_odds) @ support) - x

    is_lowest, is_highest = x == support[0], x == support[-1]
    estimate = 0.0 if is_lowest else float("inf") if is_highest else _exp_root(mean)
    return Estimate(
        method="conditional maximum-likelihood odds ratio",
        estimate=1.0 if is_lowest and is_highest else estimate,
        standard_error=None,
        interval=Interval(
            low=0.0 if is_lowest else _exp_root(at_least),
            high=float("inf") if is_highest else _exp_root(at_most),
            level=level,
            achieved_level=level,
            method="exact conditional (Cornfield)",
        ),
        n=int(counts.sum()),
    )


def _exp_root(increasing: Callable[[float], float]) -> float:
    width = 1.0
    while increasing(-width) > 0 or increasing(width) < 0:
        width = min(2 * width, _LOG_ODDS_LIMIT)
    return float(np.exp(optimize.brentq(increasing, -width, width, xtol=1e-13, rtol=1e-14)))


def mcnemar(table: ArrayLike, *, method: McNemarMethod = "exact", continuity: bool = False) -> HypothesisTest:
    """Test H0: of those who changed, as many changed one way as the other.

    Parameters
    ----------
    table : (2, 2) array
        Counts of subjects: rows before, columns after, in the same order of the two answers.
    method : {"exact", "mid-p", "asymptotic"}
        Binomial; binomial less half the probability of the outcome itself; or chi-square.
    continuity : bool
        Edwards's correction of the chi-square by one subject.

    Returns
    -------
    HypothesisTest
        `statistic` is the count from the first answer to the second, or chi-square on one `df`; `n` counts
        all subjects.

    Raises
    ------
    ValueError
        If the table is not 2 x 2, nobody changed, or a correction is asked of a binomial test.

    References
    ----------
    .. [1] McNemar Q (1947). Note on the sampling error of the difference between correlated proportions or
       percentages. Psychometrika 12:153-157.
    .. [2] Fagerland MW, Lydersen S, Laake P (2013). The McNemar test for binary matched-pairs data: mid-p and
       asymptotic are better than exact conditional. BMC Med Res Methodol 13:91.
    """
    checked_choice("method", method, ("exact", "mid-p", "asymptotic"))
    counts = checked_table(table)
    if counts.shape != _TWO_BY_TWO:
        raise ValueError(f"table: shape {counts.shape}: must be 2 x 2")
    if continuity and method != "asymptotic":
        raise ValueError(f"continuity: with method {method!r}: only the asymptotic test has a correction")
    there, back = int(counts[0, 1]), int(counts[1, 0])
    changed = there + back
    if changed == 0:
        raise ValueError("table: nobody changed: at least one subject must")
    if method == "asymptotic":
        distance = abs(there - back)
        statistic = max(distance - int(continuity), 0) ** 2 / changed
        p_value = float(stats.chi2.sf(statistic, 1))
    else:
        statistic = float(there)
        fewer = min(there, back)
        half = float(stats.binom.pmf(fewer, changed, 0.5)) / 2 if method == "mid-p" else 0.0
        p_value = 2 * (float(stats.binom.cdf(fewer, changed, 0.5)) - half)
    return HypothesisTest(
        method=f"McNemar test, {method}" + (", continuity correction" if continuity else ""),
        alternative="two-sided",
        statistic=float(statistic),
        p_value=positive_p(p_value),
        df=1 if method == "asymptotic" else None,
        df_denominator=None,
        is_exact=method == "exact",
        has_continuity_correction=continuity,
        n=int(counts.sum()),
    )


def checked_table(table: ArrayLike) -> NDArray[np.int64]:
    """Return a table of counts with at least one subject, or say what is wrong with it."""
    counts = checked_counts("table", table)
    if counts.ndim != 2:  # noqa: PLR2004 - rows and columns
        raise ValueError(f"table: shape {counts.shape}: must have rows and columns")
    if counts.sum() == 0:
        raise ValueError("table: no subject: at least one needed")
    return counts


def _without_empty(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    in_use = np.ix_(counts.sum(axis=1) > 0, counts.sum(axis=0) > 0)
    return np.asarray(counts[in_use], dtype=np.int64)
