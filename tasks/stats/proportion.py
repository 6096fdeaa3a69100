"""Proportions of few subjects, and how two of them differ: always the first less, or over, the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, stats

from tasks.stats.types import Estimate, Interval, checked_level

if TYPE_CHECKING:
    from collections.abc import Callable


def clopper_pearson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Return the exact interval of a binomial proportion: those p that neither one-sided test rejects.

    Parameters
    ----------
    successes, n : int
        Number of successes among n independent subjects.
    level : float
        Confidence level, guaranteed for every true proportion.

    Returns
    -------
    Interval
        Ends in [0, 1]; 0 or n successes give a one-sided tail of (1 - level) / 2 all the same.

    Raises
    ------
    ValueError
        If n is below one or successes lie outside 0 to n.

    References
    ----------
    .. [1] Clopper CJ, Pearson ES (1934). The use of confidence or fiducial limits illustrated in the case of
       the binomial. Biometrika 26:404-413.
    """
    tail = (1 - checked_level(level)) / 2
    _check_counts(successes, n)
    low = 0.0 if successes == 0 else float(stats.beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes == n else float(stats.beta.isf(tail, successes + 1, n - successes))
    return Interval(low=low, high=high, level=level, achieved_level=level, method="Clopper-Pearson")


def wilson(successes: int, n: int, *, level: float = 0.95, continuity: bool = False) -> Interval:
    """Return the score interval of a binomial proportion: those p that the normal test does not reject.

    Parameters
    ----------
    successes, n : int
        Number of successes among n independent subjects.
    level : float
        Confidence level, held on average over true proportions, not for every one.
    continuity : bool
        Widen by half a subject, which brings the interval near the Clopper-Pearson one.

    Returns
    -------
    Interval
        Ends in [0, 1].

    Raises
    ------
    ValueError
        If n is below one or successes lie outside 0 to n.

    References
    ----------
    .. [1] Wilson EB (1927). Probable inference, the law of succession, and statistical inference. J Am Stat
       Assoc 22:209-212.
    .. [2] Newcombe RG (1998). Two-sided confidence intervals for the single proportion: comparison of seven
       methods. Stat Med 17:857-872, methods 3 and 4.
    """
    z2 = float(stats.norm.isf((1 - checked_level(level)) / 2)) ** 2
    _check_counts(successes, n)
    shift = 0.5 if continuity else 0.0

    def end(x: float, sign: int) -> float:
        root = np.sqrt(z2 * x * (n - x) / n + z2**2 / 4)
        return float((x + z2 / 2 + sign * root) / (n + z2))

    return Interval(
        low=0.0 if successes == 0 else max(end(successes - shift, -1), 0.0),
        high=1.0 if successes == n else min(end(successes + shift, 1), 1.0),
        level=level,
        achieved_level=None,
        method="Wilson score" + (", continuity correction" if continuity else ""),
    )


def newcombe_difference(
    successes: int,
    n: int,
    reference_successes: int,
    reference_n: int,
    *,
    level: float = 0.95,
    continuity: bool = False,
) -> Estimate:
    """Estimate the difference of two independent proportions, with the interval made of two Wilson intervals.

    Parameters
    ----------
    successes, n, reference_successes, reference_n : int
        Successes among the subjects of each group.
    level : float
        Confidence level.
    continuity : bool
        Use Wilson intervals with continuity correction.

    Returns
    -------
    Estimate
        Positive when the proportion exceeds the reference; interval within [-1, 1].

    Raises
    ------
    ValueError
        If an n is below one or successes lie outside 0 to n.

    References
    ----------
    .. [1] Newcombe RG (1998). Interval estimation for the difference between independent proportions:
       comparison of eleven methods. Stat Med 17:873-890, methods 10 and 11.
    """
    own = wilson(successes, n, level=level, continuity=continuity)
    other = wilson(reference_successes, reference_n, level=level, continuity=continuity)
    p, reference = successes / n, reference_successes / reference_n
    return Estimate(
        method="difference of proportions",
        estimate=p - reference,
        standard_error=_wald_error(p, n, reference, reference_n),
        interval=Interval(
            low=p - reference - float(np.hypot(p - own.low, other.high - reference)),
            high=p - reference + float(np.hypot(own.high - p, reference - other.low)),
            level=level,
            achieved_level=None,
            method="Newcombe" + (", continuity correction" if continuity else ""),
        ),
        n=n + reference_n,
    )


def miettinen_nurminen_difference(
    successes: int, n: int, reference_successes: int, reference_n: int, *, level: float = 0.95
) -> Estimate:
    """Estimate the difference of two independent proportions, with the score interval.

    Parameters
    ----------
    successes, n, reference_successes, reference_n : int
        Successes among the subjects of each group.
    level : float
        Confidence level.

    Returns
    -------
    Estimate
        Positive when the proportion exceeds the reference; the interval holds those differences that the
        score test, with the variance estimated under the difference, does not reject.

    Raises
    ------
    ValueError
        If an n is below one or successes lie outside 0 to n.

    References
    ----------
    .. [1] Miettinen O, Nurminen M (1985). Comparative analysis of two rates. Stat Med 4:213-226.
    """
    z = float(stats.norm.isf((1 - checked_level(level)) / 2))
    _check_counts(successes, n)
    _check_counts(reference_successes, reference_n, "reference_")
    p, reference = successes / n, reference_successes / reference_n
    total = n + reference_n
    observed = p - reference

    def score(difference: float) -> float:
        base = _restricted_reference(successes, n, reference_successes, reference_n, difference)
        shifted = min(max(base + difference, 0.0), 1.0)
        variance = shifted * (1 - shifted) / n + base * (1 - base) / reference_n
        distance = observed - difference
        if variance <= 0:
            return 0.0 if distance == 0 else float(np.sign(distance)) * np.inf
        return float(distance / np.sqrt(variance * total / (total - 1)))

    return Estimate(
        method="difference of proportions",
        estimate=observed,
        standard_error=_wald_error(p, n, reference, reference_n),
        interval=Interval(
            low=-1.0 if observed == -1 else _crossing(lambda d: score(d) - z, -1.0, observed),
            high=1.0 if observed == 1 else _crossing(lambda d: score(d) + z, observed, 1.0),
            level=level,
            achieved_level=None,
            method="Miettinen-Nurminen score",
        ),
        n=total,
    )


def _restricted_reference(x: int, n: int, reference_x: int, reference_n: int, difference: float) -> float:
    """Return the reference's most likely proportion when the other exceeds it by this difference.

    The likelihood's derivative is a cubic with one root in the range; it is solved by its cosine.
    """
    total = n + reference_n
    c = (reference_n * difference - total - 2 * reference_x) * difference + x + reference_x
    b = (n + 2 * reference_n) * difference - total - x - reference_x
    d = reference_x * difference * (1 - difference)
    ratio = b / (3 * total)
    v = ratio**3 - b * c / (6 * total**2) + d / (2 * total)
    u = float(np.copysign(np.sqrt(max(ratio**2 - c / (3 * total), 0.0)), v))
    angle = np.arccos(np.clip(v / u**3, -1, 1)) if u else np.pi / 2
    root = 2 * u * np.cos((np.pi + angle) / 3) - ratio
    return float(np.clip(root, max(0.0, -difference), min(1.0, 1 - difference)))


def _crossing(decreasing: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function that may be infinite at the ends passes zero."""
    inset = 1e-12 * (high - low)

    def finite(x: float) -> float:
        return float(np.clip(decreasing(x), -1e6, 1e6))

    if finite(low + inset) <= 0:
        return low
    if finite(high - inset) >= 0:
        return high
    return float(optimize.brentq(finite, low + inset, high - inset, xtol=1e-14, rtol=1e-14))


def risk_ratio(
    successes: int, n: int, reference_successes: int, reference_n: int, *, level: float = 0.95
) -> Estimate:
    """Estimate the ratio of two independent proportions, with the interval of its log.

    Parameters
    ----------
    successes, n, reference_successes, reference_n : int
        Successes among the subjects of each group.
    level : float
        Confidence level; a large-sample interval.

    Returns
    -------
    Estimate
        Above one when the proportion exceeds the reference; `standard_error` is of the log. Without either
        when one group has no success: the ratio is then zero or infinite.

    Raises
    ------
    ValueError
        If an n is below one, successes lie outside 0 to n, or neither group has any.

    References
    ----------
    .. [1] Katz D, Baptista J, Azen SP, Pike MC (1978). Obtaining confidence intervals for the risk ratio in
       cohort studies. Biometrics 34:469-474.
    """
    z = float(stats.norm.isf((1 - checked_level(level)) / 2))
    _check_counts(successes, n)
    _check_counts(reference_successes, reference_n, "reference_")
    if successes == reference_successes == 0:
        raise ValueError("successes: 0 in both groups: at least one needed for a ratio")
    method, total = "risk ratio", n + reference_n
    if successes == 0 or reference_successes == 0:
        edge = 0.0 if successes == 0 else float("inf")
        return Estimate(method=method, estimate=edge, standard_error=None, interval=None, n=total)
    ratio = successes / n / (reference_successes / reference_n)
    error = float(np.sqrt(1 / successes - 1 / n + 1 / reference_successes - 1 / reference_n))
    factor = float(np.exp(z * error))
    interval = Interval(
        low=ratio / factor, high=ratio * factor, level=level, achieved_level=None, method="Katz log"
    )
    return Estimate(method=method, estimate=ratio, standard_error=error, interval=interval, n=total)


def _wald_error(p: float, n: int, reference: float, reference_n: int) -> float:
    return float(np.sqrt(p * (1 - p) / n + reference * (1 - reference) / reference_n))


def _check_counts(successes: int, n: int, prefix: str = "") -> None:
    if n < 1:
        raise ValueError(f"{prefix}n: {n}: at least 1 needed")
    if not 0 <= successes <= n:
        raise ValueError(f"{prefix}successes: {successes}: must lie between 0 and {n}")
