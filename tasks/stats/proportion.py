"""Proportions of few subjects."""

from __future__ import annotations

from scipy import stats

from tasks.stats.types import Interval, checked_level


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
    if n < 1:
        raise ValueError(f"n: {n}: at least 1 needed")
    if not 0 <= successes <= n:
        raise ValueError(f"successes: {successes}: must lie between 0 and {n}")
    low = 0.0 if successes == 0 else float(stats.beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes == n else float(stats.beta.isf(tail, successes + 1, n - successes))
    return Interval(low=low, high=high, level=level, achieved_level=level, method="Clopper-Pearson")
