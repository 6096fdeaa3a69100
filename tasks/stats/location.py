"""Tests of paired location besides the signed-rank test: t, sign, sign-flip permutation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from tasks.stats.proportion import clopper_pearson
from tasks.stats.types import (
    RESOLUTION,
    Alternative,
    FloatArray,
    Interval,
    PairedT,
    SignFlip,
    SignTest,
    checked_alternative,
    checked_difference,
    checked_level,
    is_zero,
    positive_p,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

# Two halves of 2**20 partial sums each stand for all 2**40 sign patterns (16 MB).
SIGN_FLIP_EXACT_LIMIT = 40
_CHUNK_ELEMENTS = 1 << 21


def paired_t(
    difference: ArrayLike, *, level: float = 0.95, alternative: Alternative = "two-sided"
) -> PairedT:
    """Test H0: the mean of the paired differences is zero, assuming they are normal; with its t interval.

    Parameters
    ----------
    difference : (n,) array
        After minus before, in the unit of the score; no NaN; n of 2 or more.
    level : float
        Confidence level of the interval, which is two-sided whatever the alternative.
    alternative : {"two-sided", "greater", "less"}
        "greater": the mean is positive.

    Returns
    -------
    PairedT
        `statistic` is t on n - 1 degrees of freedom, positive when the score rises.

    Raises
    ------
    ValueError
        If fewer than two differences are given, one is NaN, or all are equal (no variance to test against).

    References
    ----------
    .. [1] Student (1908). The probable error of a mean. Biometrika 6:1-25.
    """
    checked_alternative(alternative)
    nominal = checked_level(level)
    values = checked_difference(difference, at_least=2)
    if np.ptp(values) <= RESOLUTION * float(np.max(np.abs(values))):
        raise ValueError(f"difference: every value is {values[0]:g}: a t-test needs values that vary")
    df = values.size - 1
    mean = float(values.mean())
    standard_error = float(values.std(ddof=1) / np.sqrt(values.size))
    t = mean / standard_error
    if alternative == "two-sided":
        p_value = 2 * float(stats.t.sf(abs(t), df))
    else:
        p_value = float(stats.t.sf(t if alternative == "greater" else -t, df))
    half_width = float(stats.t.isf((1 - nominal) / 2, df)) * standard_error
    return PairedT(
        method="Paired t-test",
        alternative=alternative,
        statistic=t,
        p_value=positive_p(p_value),
        is_exact=False,
        has_continuity_correction=None,
        zero_rule="kept",
        tie_rule="none needed",
        n=values.size,
        n_zero=int(is_zero(values).sum()),
        n_used=values.size,
        df=df,
        estimate=mean,
        standard_error=standard_error,
        interval=Interval(
            low=mean - half_width,
            high=mean + half_width,
            level=nominal,
            achieved_level=None,
            method="Student t",
        ),
    )


def sign_test(
    difference: ArrayLike, *, level: float = 0.95, alternative: Alternative = "two-sided"
) -> SignTest:
    """Test H0: a paired difference is as often positive as negative, exactly.

    Parameters
    ----------
    difference : (n,) array
        After minus before; only the signs are used; no NaN. Zero differences are dropped.
    level : float
        Level of the Clopper-Pearson interval of the proportion, two-sided whatever the alternative.
    alternative : {"two-sided", "greater", "less"}
        "greater": more than half are positive.

    Returns
    -------
    SignTest
        `statistic` counts the positive differences, `estimate` is their share of those that are not zero.

    Raises
    ------
    ValueError
        If every difference is zero or one is NaN.

    References
    ----------
    .. [1] Hollander M, Wolfe DA (1999). Nonparametric Statistical Methods, sec. 3.4.
    """
    checked_alternative(alternative)
    values = checked_difference(difference)
    zero = is_zero(values)
    n_used = int((~zero).sum())
    if n_used == 0:
        raise ValueError("difference: every value is zero: at least one must differ from zero")
    n_positive = int((values[~zero] > 0).sum())
    return SignTest(
        method="Sign test, exact binomial",
        alternative=alternative,
        statistic=float(n_positive),
        p_value=positive_p(float(stats.binomtest(n_positive, n_used, 0.5, alternative=alternative).pvalue)),
        is_exact=True,
        has_continuity_correction=False,
        zero_rule="dropped",
        tie_rule="none needed",
        n=values.size,
        n_zero=values.size - n_used,
        n_used=n_used,
        estimate=n_positive / n_used,
        interval=clopper_pearson(n_positive, n_used, level=level),
    )


def sign_flip(
    difference: ArrayLike,
    *,
    alternative: Alternative = "two-sided",
    n_resamples: int = 100_000,
    seed: int = 0,
) -> SignFlip:
    """Test H0: the paired differences are symmetric about zero, by sign-flip permutation of their mean.

    Parameters
    ----------
    difference : (n,) array
        After minus before, in the unit of the score; no NaN.
    alternative : {"two-sided", "greater", "less"}
        "greater": the mean is positive.
    n_resamples, seed : int
        Used only when more than `SIGN_FLIP_EXACT_LIMIT` differences are not zero: random sign patterns drawn
        then in place of all.

    Returns
    -------
    SignFlip
        `statistic` is the mean. `p_value` is the share of sign patterns with a mean as extreme as the one
        observed (in absolute value if two-sided); for random patterns (1 + extreme) / (1 + drawn), so that it
        cannot be zero and the level is kept. `is_exact` says which.

    Raises
    ------
    ValueError
        If every difference is zero, one is NaN, or `n_resamples` is below 1.

    Notes
    -----
    All 2**n sums are counted without listing them: the sums of the first half of the differences are met with
    the sorted sums of the second half. Zero differences contribute the same to every pattern and stay in.

    References
    ----------
    .. [1] Fisher RA (1935). The Design of Experiments, sec. 21.
    .. [2] Phipson B, Smyth GK (2010). Permutation p-values should never be zero. Stat Appl Genet Mol Biol
       9:39.
    """
    checked_alternative(alternative)
    values = checked_difference(difference)
    if n_resamples < 1:
        raise ValueError(f"n_resamples: {n_resamples}: at least 1 needed")
    moving = values[~is_zero(values)]
    if moving.size == 0:
        raise ValueError("difference: every value is zero: at least one must differ from zero")
    observed = float(moving.sum())
    if alternative == "less":
        moving, observed = -moving, -observed
    is_exact = moving.size <= SIGN_FLIP_EXACT_LIMIT
    if is_exact:
        p_value = _exact_share(moving, observed, two_sided=alternative == "two-sided")
    else:
        p_value = _random_share(moving, observed, alternative == "two-sided", n_resamples, seed)
    return SignFlip(
        method="Sign-flip permutation test of the mean, "
        + ("every sign pattern" if is_exact else "random sign patterns"),
        alternative=alternative,
        statistic=float(values.mean()),
        p_value=positive_p(p_value),
        is_exact=is_exact,
        has_continuity_correction=False,
        zero_rule="kept",
        tie_rule="none needed",
        n=values.size,
        n_zero=values.size - moving.size,
        n_used=moving.size,
        n_resamples=None if is_exact else n_resamples,
        seed=None if is_exact else seed,
    )


def _threshold(values: FloatArray, observed: float) -> float:
    """Return the sum from which a pattern counts as extreme: rounding must not lose the observed one."""
    return observed - RESOLUTION * float(np.abs(values).sum())


def _exact_share(values: FloatArray, observed: float, *, two_sided: bool) -> float:
    half = values.size // 2
    first, second = _all_signed_sums(values[:half]), np.sort(_all_signed_sums(values[half:]))
    threshold = _threshold(values, abs(observed) if two_sided else observed)
    if two_sided and threshold <= 0:
        return 1.0
    extreme = int((second.size - np.searchsorted(second, threshold - first)).sum())
    # The distribution is symmetric, so the other tail holds as many patterns.
    return (2 if two_sided else 1) * extreme / float(2**values.size)


def _all_signed_sums(values: FloatArray) -> FloatArray:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def _random_share(values: FloatArray, observed: float, two_sided: bool, n_resamples: int, seed: int) -> float:
    generator = np.random.default_rng(seed)
    threshold = _threshold(values, abs(observed) if two_sided else observed)
    rows = max(_CHUNK_ELEMENTS // values.size, 1)
    extreme = 0
    for start in range(0, n_resamples, rows):
        size = (min(rows, n_resamples - start), values.size)
        sums = generator.choice(np.array([-1.0, 1.0]), size=size) @ values
        extreme += int(np.count_nonzero((np.abs(sums) if two_sided else sums) >= threshold))
    return (1 + extreme) / (1 + n_resamples)
