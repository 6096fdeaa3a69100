"""How often events happen in a time under observation."""

from __future__ import annotations

from scipy import stats

from tasks.stats.types import Estimate, Interval, checked_level


def incidence_rate(events: int, time: float, *, level: float = 0.95) -> Estimate:
    """Estimate a rate of events per unit of time, with the exact interval of a Poisson count.

    Parameters
    ----------
    events : int
        Events seen, zero or more.
    time : float
        Sum of the times under observation, above zero; the rate is per its unit.
    level : float
        Confidence level, guaranteed for every true rate; both tails have half of the rest.

    Returns
    -------
    Estimate
        The interval holds the rates that neither one-sided test rejects; `n` is the number of events.

    Raises
    ------
    ValueError
        If events are negative or the time is not above zero.

    References
    ----------
    .. [1] Garwood F (1936). Fiducial limits for the Poisson distribution. Biometrika 28:437-442.
    """
    tail = (1 - checked_level(level)) / 2
    if events < 0:
        raise ValueError(f"events: {events}: must be zero or more")
    if not time > 0:
        raise ValueError(f"time: {time}: must be above zero")
    low = float(stats.chi2.ppf(tail, 2 * events)) / 2 if events else 0.0
    high = float(stats.chi2.isf(tail, 2 * events + 2)) / 2
    return Estimate(
        method="events per time under observation",
        estimate=events / time,
        standard_error=float(events**0.5 / time),
        interval=Interval(
            low=low / time,
            high=high / time,
            level=level,
            achieved_level=level,
            method="Garwood exact Poisson",
        ),
        n=events,
    )
