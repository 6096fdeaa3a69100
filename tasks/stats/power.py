"""What a trial of this size could have found: detectable effects and smallest attainable p-values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy import optimize, special, stats

from tasks.stats.contingency import fisher_exact
from tasks.stats.effect_size import minimum_detectable_d_z, noncentral_t_cdf
from tasks.stats.signed_rank import null_distribution
from tasks.stats.types import Alternative, checked_alternative, checked_choice

if TYPE_CHECKING:
    from tasks.stats.types import FloatArray

SignedRankMethod: TypeAlias = Literal["simulation", "noether"]

_CHUNK = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectable:
    """The smallest effect that the test finds with this power.

    `achieved_alpha` is the level the test really has: below `alpha` where its p-values are discrete. `unit`
    says what the effect is measured in.
    """

    method: str
    effect: float
    unit: str
    n: int
    power: float
    alpha: float
    achieved_alpha: float


def detectable_paired_t(n: int, *, power: float = 0.8, alpha: float = 0.05) -> Detectable:
    """Return the mean difference that a two-sided paired t-test of n pairs finds.

    Parameters
    ----------
    n : int
        Pairs, 2 or more.
    power, alpha : float
        Power wanted and level of the test.

    Returns
    -------
    Detectable
        In standard deviations of the differences.

    Raises
    ------
    ValueError
        If n is below 2, or not 0 < alpha < power < 1.

    References
    ----------
    .. [1] Cohen J (1988). Statistical Power Analysis for the Behavioral Sciences, sec. 2.3.5.
    """
    return Detectable(
        method="paired t-test, two-sided",
        effect=minimum_detectable_d_z(n, power=power, alpha=alpha),
        unit="standard deviations of the differences",
        n=n,
        power=power,
        alpha=alpha,
        achieved_alpha=alpha,
    )


def detectable_two_sample_t(
    n_first: int, n_second: int, *, power: float = 0.8, alpha: float = 0.05
) -> Detectable:
    """Return the difference of means that a two-sided t-test of two independent groups finds.

    Parameters
    ----------
    n_first, n_second : int
        Subjects in each group, three or more together.
    power, alpha : float
        Power wanted and level of the test.

    Returns
    -------
    Detectable
        In standard deviations within the groups.

    Raises
    ------
    ValueError
        If a group is empty, both have one subject, or not 0 < alpha < power < 1.

    References
    ----------
    .. [1] Cohen J (1988). Statistical Power Analysis for the Behavioral Sciences, sec. 2.5.
    """
    _check_groups(n_first, n_second, 3)
    effect = _two_group_effect(n_first, n_second, n_first + n_second - 2, power, alpha)
    return Detectable(
        method="two-sample t-test, two-sided",
        effect=effect,
        unit="standard deviations within groups",
        n=n_first + n_second,
        power=power,
        alpha=alpha,
        achieved_alpha=alpha,
    )


def detectable_ancova(
    n_first: int, n_second: int, correlation: float, *, power: float = 0.8, alpha: float = 0.05
) -> Detectable:
    """Return the adjusted difference of means that a two-sided analysis of covariance of two groups finds.

    Parameters
    ----------
    n_first, n_second : int
        Subjects in each group, four or more together.
    correlation : float
        Between baseline and outcome within the groups, -1 to 1 excluded.
    power, alpha : float
        Power wanted and level of the test.

    Returns
    -------
    Detectable
        In standard deviations of the outcome within the groups, baselines being balanced.

    Raises
    ------
    ValueError
        If the groups are too small, the correlation not within -1 to 1, or not 0 < alpha < power < 1.

    References
    ----------
    .. [1] Borm GF, Fransen J, Lemmens WAJG (2007). A simple sample size formula for analysis of covariance in
       randomized clinical trials. J Clin Epidemiol 60:1234-1238.
    """
    if not -1 < correlation < 1:
        raise ValueError(f"correlation: {correlation}: must lie between -1 and 1, both excluded")
    _check_groups(n_first, n_second, 4)
    effect = _two_group_effect(n_first, n_second, n_first + n_second - 3, power, alpha)
    return Detectable(
        method=f"analysis of covariance, correlation {correlation:g}, two-sided",
        effect=effect * float(np.sqrt(1 - correlation**2)),
        unit="standard deviations within groups",
        n=n_first + n_second,
        power=power,
        alpha=alpha,
        achieved_alpha=alpha,
    )


def _check_groups(n_first: int, n_second: int, together: int) -> None:
    if min(n_first, n_second) < 1 or n_first + n_second < together:
        raise ValueError(
            f"n_first, n_second: {n_first}, {n_second}: at least 1 each and {together} together needed"
        )


def _two_group_effect(n_first: int, n_second: int, df: int, power: float, alpha: float) -> float:
    _check_power(power, alpha)
    critical = float(stats.t.isf(alpha / 2, df))

    def shortfall(noncentrality: float) -> float:
        upper = 1 - noncentral_t_cdf(critical, df, noncentrality)
        return upper + 1 - noncentral_t_cdf(critical, df, -noncentrality) - power

    high = critical + 1
    while shortfall(high) < 0:
        high *= 2
    noncentrality = float(optimize.brentq(shortfall, 0.0, high, xtol=1e-10, rtol=1e-10))
    return noncentrality * float(np.sqrt(1 / n_first + 1 / n_second))


def detectable_signed_rank(
    n: int,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    method: SignedRankMethod = "simulation",
    n_simulations: int = 20_000,
    seed: int = 0,
) -> Detectable:
    """Return the shift of normal differences that the two-sided exact signed-rank test of n pairs finds.

    Parameters
    ----------
    n : int
        Pairs, none tied or zero.
    power, alpha : float
        Power wanted and level of the test.
    method : {"simulation", "noether"}
        Simulated normal samples with the exact critical value, or Noether's approximation.
    n_simulations, seed : int
        For the simulation; the standard error of its power is sqrt(power (1 - power) / n_simulations).

    Returns
    -------
    Detectable
        In standard deviations of the differences.

    Raises
    ------
    ValueError
        If n is so small that no outcome is significant, n_simulations below 100, or not
        0 < alpha < power < 1.

    Notes
    -----
    The test rejects when at least c Walsh averages exceed zero, so a sample shifted by d is found once d
    exceeds minus its c-th largest Walsh average: the power is the distribution function of that, and the
    detectable shift its quantile. The other tail adds less than alpha / 2 and is left out. Noether: for a
    shift d, P(D1 + D2 > 0) = Phi(sqrt(2) d) must lie (z_alpha/2 + z_power) / sqrt(3 n) above a half. That
    keeps the variance under H0 and so asks for too large an effect when pairs are few.

    References
    ----------
    .. [1] Noether GE (1987). Sample size determination for some common nonparametric tests. J Am Stat Assoc
       82:645-647.
    """
    checked_choice("method", method, ("simulation", "noether"))
    _check_power(power, alpha)
    distribution = null_distribution(2 * np.arange(1, n + 1)) if n > 0 else np.ones(1)
    upper_tail = np.cumsum(distribution[::-1])[::-1][::2]
    attainable = np.flatnonzero(2 * upper_tail <= alpha * (1 + 1e-12))
    if not attainable.size:
        raise ValueError(f"n: {n}: no outcome has p of {alpha:g} or less: more pairs needed")
    critical = int(attainable[0])
    if method == "noether":
        above_half = (stats.norm.isf(alpha / 2) + stats.norm.ppf(power)) / np.sqrt(3 * n)
        if above_half >= 0.5:  # noqa: PLR2004 - a probability of one
            raise ValueError(f"n: {n}: too small for Noether's approximation; use method 'simulation'")
        effect = float(stats.norm.ppf(0.5 + above_half) / np.sqrt(2))
        how = "Noether's approximation"
    else:
        if n_simulations < 100:  # noqa: PLR2004 - fewer say nothing of a tail
            raise ValueError(f"n_simulations: {n_simulations}: at least 100 needed")
        effect = float(np.quantile(_shift_to_reject(n, critical, n_simulations, seed), power))
        how = f"{n_simulations} simulated normal samples, seed {seed}"
    return Detectable(
        method=f"exact signed-rank test, two-sided; {how}",
        effect=effect,
        unit="standard deviations of the differences",
        n=n,
        power=power,
        alpha=alpha,
        achieved_alpha=2 * float(upper_tail[critical]),
    )


def _shift_to_reject(n: int, critical: int, n_simulations: int, seed: int) -> FloatArray:
    generator = np.random.default_rng(seed)
    first, second = np.triu_indices(n)
    rank_from_below = first.size - critical
    parts = []
    for start in range(0, n_simulations, _CHUNK):
        samples = generator.standard_normal((min(_CHUNK, n_simulations - start), n))
        walsh = (samples[:, first] + samples[:, second]) / 2
        parts.append(-np.partition(walsh, rank_from_below, axis=1)[:, rank_from_below])
    return np.concatenate(parts)


def detectable_proportion(
    n: int,
    null_proportion: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    alternative: Alternative = "greater",
) -> Detectable:
    """Return the true proportion that the exact binomial test of n subjects finds.

    Parameters
    ----------
    n : int
        Subjects.
    null_proportion : float
        Proportion under H0, between 0 and 1.
    power, alpha : float
        Power wanted and level of the test; "two-sided" has alpha / 2 on each side and looks upwards.
    alternative : {"greater", "less", "two-sided"}
        Side of the test.

    Returns
    -------
    Detectable
        `effect` is the proportion itself, on the side tested.

    Raises
    ------
    ValueError
        If n is so small that no outcome is significant, the proportion is not between 0 and 1, or not
        0 < alpha < power < 1.

    References
    ----------
    .. [1] A'Hern RP (2001). Sample size tables for exact single-stage phase II designs. Stat Med 20:859-866.
    """
    checked_alternative(alternative)
    _check_power(power, alpha)
    if n < 1:
        raise ValueError(f"n: {n}: at least 1 needed")
    if not 0 < null_proportion < 1:
        raise ValueError(f"null_proportion: {null_proportion}: must lie between 0 and 1, both excluded")
    if alternative == "less":
        mirrored = detectable_proportion(n, 1 - null_proportion, power=power, alpha=alpha)
        effect, achieved = 1 - mirrored.effect, mirrored.achieved_alpha
    else:
        tail = alpha / 2 if alternative == "two-sided" else alpha
        at_least = stats.binom.sf(np.arange(n + 1) - 1, n, null_proportion)
        attainable = np.flatnonzero(at_least <= tail * (1 + 1e-12))
        if not attainable.size:
            raise ValueError(f"n: {n}: no outcome is significant at {alpha:g}: more subjects needed")
        critical = int(attainable[0])
        effect, achieved = (
            float(special.betaincinv(critical, n - critical + 1, power)),
            float(at_least[critical]),
        )
    return Detectable(
        method=f"exact binomial test against {null_proportion:g}, {alternative}",
        effect=effect,
        unit="proportion",
        n=n,
        power=power,
        alpha=alpha,
        achieved_alpha=achieved,
    )


def _check_power(power: float, alpha: float) -> None:
    if not 0 < alpha < power < 1:
        raise ValueError(f"power: {power} with alpha {alpha}: must satisfy 0 < alpha < power < 1")


def smallest_p_signed_rank(n: int, *, alternative: Alternative = "two-sided") -> float:
    """Return the exact signed-rank test's p-value when all n differences that are not zero have one sign."""
    checked_alternative(alternative)
    if n < 1:
        raise ValueError(f"n: {n}: at least 1 needed")
    return float(min(1.0, 2.0 ** (1 - n) if alternative == "two-sided" else 2.0**-n))


def smallest_p_sign(n: int, *, alternative: Alternative = "two-sided") -> float:
    """Return the exact sign test's p-value when all n differences that are not zero have one sign."""
    return smallest_p_signed_rank(n, alternative=alternative)


def smallest_p_sign_flip(n: int, *, alternative: Alternative = "two-sided") -> float:
    """Return the exact sign-flip test's p-value when all n differences that are not zero have one sign."""
    return smallest_p_signed_rank(n, alternative=alternative)


def smallest_p_fisher(n_first: int, n_second: int, n_events: int | None = None) -> float:
    """Return the smallest two-sided p-value of Fisher's exact test of two groups of these sizes.

    Parameters
    ----------
    n_first, n_second : int
        Subjects in each group.
    n_events : int or None
        Subjects with the event in both together; None: whatever number gives the smallest p-value.

    Returns
    -------
    float
        Of the most extreme table possible.

    Raises
    ------
    ValueError
        If a group is empty, or the events are more than the subjects or negative.
    """
    _check_groups(n_first, n_second, 2)
    total = n_first + n_second
    if n_events is not None and not 0 <= n_events <= total:
        raise ValueError(f"n_events: {n_events}: must lie between 0 and {total}")
    smallest = 1.0
    for events in range(total + 1) if n_events is None else (n_events,):
        for of_first in (max(0, events - n_second), min(events, n_first)):
            of_second = events - of_first
            table = [[of_first, n_first - of_first], [of_second, n_second - of_second]]
            smallest = min(smallest, fisher_exact(table).p_value)
    return smallest
