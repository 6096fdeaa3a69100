"""Find out which test settings reproduce a published p-value of a before/after comparison."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy import stats

from tasks.stats.signed_rank import null_distribution, tail_probability
from tasks.stats.types import Alternative, positive_p

if TYPE_CHECKING:
    from collections.abc import Iterator

TestName: TypeAlias = Literal["paired t", "normal z", "signed rank", "sign"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One way to have computed the p-value.

    `rank_sum_negative` is the assumed rank sum of the subjects who changed the wrong way and `n_negative` how
    many they are, for the signed-rank test at least how many; None where the test does not use them.
    """

    test: TestName
    settings: str
    alternative: Alternative
    n_used: int
    rank_sum_negative: int | None
    n_negative: int | None
    p_value: float
    reproduces: bool


@dataclass(frozen=True, slots=True)
class _Published:
    """The p-values that are written in this way."""

    low: float
    high: float
    is_bound: bool

    def covers(self, p_value: float) -> bool:
        return p_value < self.high if self.is_bound else self.low <= p_value <= self.high


def p_value_settings(
    published: str,
    n: int,
    *,
    mean: float | None = None,
    sd: float | None = None,
    n_negative: int | None = None,
    largest_rank_sum_negative: int = 3,
    most_dropped: int = 2,
) -> tuple[Setting, ...]:
    """Compute the p-value of a change under many settings and say which agree with the published one.

    Parameters
    ----------
    published : str
        As printed, such as "0.003" or "<0.001": its decimals say how precise it is.
    n : int
        Subjects reported.
    mean, sd : float or None
        Mean and standard deviation of the change, for the tests that need nothing else; both or neither.
    n_negative : int or None
        Subjects known to have changed the wrong way; None: not known, so all up to those of
        `largest_rank_sum_negative` are tried.
    largest_rank_sum_negative : int
        Signed-rank tests are tried with the wrong way having rank sum 0 to this, the sign test with none to
        this many subjects.
    most_dropped : int
        Subjects that may have been left out, for a change of zero or a missing visit.

    Returns
    -------
    tuple of Setting
        Those that reproduce the p-value first, then the others; within each by test, n used and rank sum.
        That a setting reproduces it says that it may be the one, not that it is.

    Raises
    ------
    ValueError
        If the p-value cannot be read or is none, n is below 2, a standard deviation is not above zero, or
        one of mean and standard deviation is given alone.

    Notes
    -----
    Signed ranks are taken without ties: the normal approximation has variance m (m + 1) (2 m + 1) / 24.
    "With correction" moves the statistic by a half. Exact two-sided p-values double the smaller tail.
    One-sided p-values are those in the direction of the change.

    References
    ----------
    .. [1] Hollander M, Wolfe DA (1999). Nonparametric Statistical Methods, sec. 3.1 and 3.4.
    """
    target = _read(published)
    if n < 2:  # noqa: PLR2004 - one subject has no test
        raise ValueError(f"n: {n}: at least 2 needed")
    if (mean is None) != (sd is None):
        raise ValueError("mean, sd: one without the other: give both or neither")
    if not 0 <= most_dropped < n - 1:
        raise ValueError(f"most_dropped: {most_dropped}: must lie between 0 and {n - 2}")
    if largest_rank_sum_negative < 0:
        raise ValueError(f"largest_rank_sum_negative: {largest_rank_sum_negative}: must be zero or more")
    if n_negative is not None and not 0 <= n_negative <= n:
        raise ValueError(f"n_negative: {n_negative}: must lie between 0 and {n}")
    rows = [] if mean is None or sd is None else list(_of_summary(mean, sd, n, target))
    for used in range(n, n - most_dropped - 1, -1):
        rows += _signed_rank(used, n_negative, largest_rank_sum_negative, target)
    for used in range(n, n - most_dropped - 1, -1):
        rows += _sign(used, n_negative, largest_rank_sum_negative, target)
    return tuple(sorted(rows, key=lambda row: not row.reproduces))


def _read(published: str) -> _Published:
    text = published.strip()
    is_bound = text.startswith("<")
    try:
        value = Decimal(text.lstrip("<").strip())
    except InvalidOperation:
        raise ValueError(f"published: {published!r}: must be a number such as 0.003 or <0.001") from None
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or not 0 < value <= 1:
        raise ValueError(f"published: {published!r}: must be above 0 and at most 1")
    half_unit = Decimal(5).scaleb(exponent - 1)
    return _Published(
        float(value - half_unit), float(value) if is_bound else float(value + half_unit), is_bound
    )


def _row(
    test: TestName,
    settings: str,
    tail: float,
    *,
    n_used: int,
    target: _Published,
    two_sided: bool,
    rank_sum_negative: int | None = None,
    n_negative: int | None = None,
) -> Setting:
    p_value = positive_p(2 * tail if two_sided else tail)
    return Setting(
        test=test,
        settings=settings,
        alternative="two-sided" if two_sided else "greater",
        n_used=n_used,
        rank_sum_negative=rank_sum_negative,
        n_negative=n_negative,
        p_value=p_value,
        reproduces=target.covers(p_value),
    )


def _of_summary(mean: float, sd: float, n: int, target: _Published) -> Iterator[Setting]:
    if not sd > 0:
        raise ValueError(f"sd: {sd}: must be above zero")
    statistic = abs(mean) / (sd / np.sqrt(n))
    for two_sided in (True, False):
        tails: tuple[tuple[TestName, str, float], ...] = (
            ("paired t", f"from mean and SD, t({n - 1})", float(stats.t.sf(statistic, n - 1))),
            ("normal z", "from mean and SD", float(stats.norm.sf(statistic))),
        )
        for test, settings, tail in tails:
            yield _row(test, settings, tail, n_used=n, target=target, two_sided=two_sided)


def _signed_rank(
    n: int, n_negative: int | None, largest_rank_sum: int, target: _Published
) -> Iterator[Setting]:
    most = n * (n + 1) // 2
    distribution = null_distribution(2 * np.arange(1, n + 1))
    spread = float(np.sqrt(n * (n + 1) * (2 * n + 1) / 24))
    for rank_sum in _rank_sums(n, n_negative, largest_rank_sum):
        # The fewest subjects that have this rank sum take the largest ranks.
        fewest = _fewest(n, rank_sum) if n_negative is None else n_negative
        tails = {"exact": tail_probability(distribution, 2 * rank_sum, "less")}
        excess = abs(most / 2 - rank_sum)
        tails["normal approximation without correction"] = float(stats.norm.sf(excess / spread))
        corrected = max(excess - 0.5, 0.0)
        tails["normal approximation with correction"] = float(stats.norm.sf(corrected / spread))
        for two_sided in (True, False):
            for settings, tail in tails.items():
                yield _row(
                    "signed rank",
                    settings,
                    tail,
                    n_used=n,
                    target=target,
                    two_sided=two_sided,
                    rank_sum_negative=rank_sum,
                    n_negative=fewest,
                )


def _rank_sums(n: int, n_negative: int | None, largest: int) -> range:
    half = n * (n + 1) // 4
    if n_negative is None:
        return range(min(largest, half) + 1)
    least = n_negative * (n_negative + 1) // 2
    most = n_negative * (2 * n - n_negative + 1) // 2
    # Known counts start at the least rank sum they can have and go on for as many as asked.
    return range(least, min(least + largest, most, half) + 1)


def _fewest(n: int, rank_sum: int) -> int:
    count = 0
    while rank_sum > 0:
        rank_sum -= min(rank_sum, n - count)
        count += 1
    return count


def _sign(n: int, n_negative: int | None, largest: int, target: _Published) -> Iterator[Setting]:
    counts = range(min(largest, n // 2) + 1) if n_negative is None else (n_negative,)
    for negative in counts:
        if negative > n / 2:
            continue
        excess = n / 2 - negative
        spread = float(np.sqrt(n)) / 2
        tails = {
            "exact": float(stats.binom.cdf(negative, n, 0.5)),
            "normal approximation without correction": float(stats.norm.sf(excess / spread)),
            "normal approximation with correction": float(stats.norm.sf(max(excess - 0.5, 0.0) / spread)),
        }
        for two_sided in (True, False):
            for settings, tail in tails.items():
                yield _row(
                    "sign",
                    settings,
                    tail,
                    n_used=n,
                    target=target,
                    two_sided=two_sided,
                    n_negative=negative,
                )
