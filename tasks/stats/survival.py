"""Time to event: the Kaplan-Meier curve, its quantiles and the restricted mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy import stats

from tasks.stats.types import (
    RESOLUTION,
    Estimate,
    FloatArray,
    Interval,
    checked_choice,
    checked_level,
    checked_same_length,
    checked_vector,
    snapped,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

IntervalKind: TypeAlias = Literal["log-log", "log", "plain"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KaplanMeier:
    """The curve at every distinct time; an interval is NaN where none is defined (curve at one or zero)."""

    time: FloatArray
    n_at_risk: NDArray[np.int64]
    n_event: NDArray[np.int64]
    n_censored: NDArray[np.int64]
    survival: FloatArray
    standard_error: FloatArray
    low: FloatArray
    high: FloatArray
    n: int
    n_events: int
    level: float
    interval_method: IntervalKind


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivalAt:
    """The curve at one time; `interval` is None where none is defined."""

    time: float
    n_at_risk: int
    estimate: float
    standard_error: float
    interval: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantile:
    """The time by which a share of subjects has had the event; None: the curve does not come so far down."""

    probability: float
    estimate: float | None
    low: float | None
    high: float | None
    level: float
    method: str


def checked_follow_up(time: ArrayLike, event: ArrayLike) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return times, equal ones made equal, and whether each ended in the event, or say what is wrong."""
    times = checked_vector("time", time)
    if times.min() < 0:
        raise ValueError(f"time: {times.min():g}: must be zero or more")
    events = checked_vector("event", event)
    checked_same_length("event", events.size, "time", times.size)
    if not np.isin(events, (0, 1)).all():
        wrong = events[~np.isin(events, (0, 1))][0]
        raise ValueError(f"event: {wrong:g}: must be 1 (event) or 0 (censored)")
    return snapped(times), events == 1


def kaplan_meier(
    time: ArrayLike, event: ArrayLike, *, level: float = 0.95, interval: IntervalKind = "log-log"
) -> KaplanMeier:
    """Estimate the probability of being without the event after each time, given censoring.

    Parameters
    ----------
    time : (n,) array
        Time to the event or to the end of follow-up, zero or more.
    event : (n,) array
        True or 1 for the event, False or 0 for censoring; an event at a time comes before a censoring then.
    level : float
        Level of the pointwise intervals.
    interval : {"log-log", "log", "plain"}
        Normal on the scale of log(-log S), of log S, or of S itself; within [0, 1] in any case.

    Returns
    -------
    KaplanMeier
        One element per distinct time; `standard_error` is Greenwood's, of the survival itself.

    Raises
    ------
    ValueError
        If lengths differ, a time is negative or NaN, or an event is neither 0 nor 1.

    References
    ----------
    .. [1] Kaplan EL, Meier P (1958). Nonparametric estimation from incomplete observations. J Am Stat Assoc
       53:457-481.
    .. [2] Kalbfleisch JD, Prentice RL (2002). The Statistical Analysis of Failure Time Data, sec. 1.4.
    """
    nominal = checked_level(level)
    checked_choice("interval", interval, ("log-log", "log", "plain"))
    times, events = checked_follow_up(time, event)
    distinct, position = np.unique(times, return_inverse=True)
    n_event = np.bincount(position[events], minlength=distinct.size)
    n_all = np.bincount(position, minlength=distinct.size)
    at_risk = times.size - np.concatenate([[0], np.cumsum(n_all)[:-1]])
    survival = np.cumprod(1 - n_event / at_risk)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Infinite once everybody at risk has had the event; the standard error there is zero by convention.
        hazard_variance = np.cumsum(n_event / (at_risk * (at_risk - n_event)))
        error = np.where(survival > 0, survival * np.sqrt(hazard_variance), 0.0)
    low, high = _pointwise(survival, hazard_variance, nominal, interval)
    return KaplanMeier(
        time=distinct,
        n_at_risk=at_risk.astype(np.int64),
        n_event=n_event.astype(np.int64),
        n_censored=(n_all - n_event).astype(np.int64),
        survival=survival,
        standard_error=error,
        low=low,
        high=high,
        n=times.size,
        n_events=int(events.sum()),
        level=nominal,
        interval_method=interval,
    )


def _pointwise(
    survival: FloatArray, hazard_variance: FloatArray, level: float, interval: IntervalKind
) -> tuple[FloatArray, FloatArray]:
    z = float(stats.norm.isf((1 - level) / 2))
    inside = (survival > 0) & ((survival < 1) if interval == "log-log" else True)
    s, spread = survival[inside], z * np.sqrt(hazard_variance[inside])
    if interval == "log-log":
        exponent = spread / np.log(s)
        ends = s ** np.exp(-exponent), s ** np.exp(exponent)
    elif interval == "log":
        ends = s * np.exp(-spread), s * np.exp(spread)
    else:
        ends = s * (1 - spread), s * (1 + spread)
    low, high = np.full(survival.size, np.nan), np.full(survival.size, np.nan)
    low[inside], high[inside] = np.clip(ends[0], 0, 1), np.clip(ends[1], 0, 1)
    return low, high


def survival_at(curve: KaplanMeier, time: float) -> SurvivalAt:
    """Return the curve at a time: the share without the event then, and how many are still followed.

    Parameters
    ----------
    curve : KaplanMeier
        As estimated.
    time : float
        Zero or more, not beyond the last follow-up unless all have had the event.

    Returns
    -------
    SurvivalAt
        `n_at_risk` counts those followed until this time or longer.

    Raises
    ------
    ValueError
        If the time is negative or the curve says nothing about it.
    """
    _check_within(curve, "time", time)
    reached = int(np.searchsorted(curve.time, time, side="right"))
    still = int(np.searchsorted(curve.time, time, side="left"))
    n_at_risk = int(curve.n_at_risk[still]) if still < curve.time.size else 0
    if reached == 0:
        return SurvivalAt(time=time, n_at_risk=n_at_risk, estimate=1.0, standard_error=0.0, interval=None)
    low, high = float(curve.low[reached - 1]), float(curve.high[reached - 1])
    interval = Interval(
        low=low,
        high=high,
        level=curve.level,
        achieved_level=None,
        method=f"Greenwood, {curve.interval_method}",
    )
    return SurvivalAt(
        time=time,
        n_at_risk=n_at_risk,
        estimate=float(curve.survival[reached - 1]),
        standard_error=float(curve.standard_error[reached - 1]),
        interval=None if np.isnan(low) else interval,
    )


def survival_quantile(curve: KaplanMeier, probability: float = 0.5) -> Quantile:
    """Estimate the time by which a share of subjects has had the event; the median for a share of a half.

    Parameters
    ----------
    curve : KaplanMeier
        As estimated; its pointwise intervals are the ones inverted.
    probability : float
        Share of subjects with the event, between 0 and 1.

    Returns
    -------
    Quantile
        The first time at which the curve is below 1 - probability, or the middle of the step on which it
        equals that. The limits are where the lower and the upper limit of the curve come so far down.

    Raises
    ------
    ValueError
        If the probability is not between 0 and 1.

    References
    ----------
    .. [1] Brookmeyer R, Crowley J (1982). A confidence interval for the median survival time. Biometrics
       38:29-41.
    """
    if not 0 < probability < 1:
        raise ValueError(f"probability: {probability}: must lie between 0 and 1, both excluded")
    return Quantile(
        probability=probability,
        estimate=_first_below(curve, curve.survival, 1 - probability),
        # No interval is defined where the curve is zero, so that a limit may be unknown after the last event.
        low=_first_below(curve, curve.low, 1 - probability),
        high=_first_below(curve, curve.high, 1 - probability),
        level=curve.level,
        method=f"Brookmeyer-Crowley, {curve.interval_method}",
    )


def _first_below(curve: KaplanMeier, height: FloatArray, target: float) -> float | None:
    at_or_below = np.flatnonzero(height <= target + RESOLUTION)
    if not at_or_below.size:
        return None
    first = int(at_or_below[0])
    start = float(curve.time[first])
    if height[first] < target - RESOLUTION:
        return start
    below = np.flatnonzero(height < target - RESOLUTION)
    return (start + float(curve.time[below[0]])) / 2 if below.size else start


def restricted_mean(curve: KaplanMeier, horizon: float) -> Estimate:
    """Estimate the mean time without the event up to a horizon: the area under the curve until then.

    Parameters
    ----------
    curve : KaplanMeier
        As estimated; the interval takes its level.
    horizon : float
        In the unit of the times; above zero, not beyond the last follow-up unless all have had the event.

    Returns
    -------
    Estimate
        In the unit of the times; normal interval.

    Raises
    ------
    ValueError
        If the horizon is not above zero or the curve says nothing about it.

    References
    ----------
    .. [1] Klein JP, Moeschberger ML (2003). Survival Analysis, sec. 4.5, eq. 4.5.1-4.5.2.
    """
    if horizon <= 0:
        raise ValueError(f"horizon: {horizon:g}: must be above zero")
    _check_within(curve, "horizon", horizon)
    before = curve.time < horizon
    edges = np.concatenate([[0.0], curve.time[before], [horizon]])
    areas = np.diff(edges) * np.concatenate([[1.0], curve.survival[before]])
    area_after = np.cumsum(areas[::-1])[::-1][1:]
    events, at_risk = curve.n_event[before], curve.n_at_risk[before]
    open_ended = at_risk > events
    terms = events[open_ended] / (at_risk[open_ended] * (at_risk[open_ended] - events[open_ended]))
    error = float(np.sqrt((area_after[open_ended] ** 2 * terms).sum()))
    estimate = float(areas.sum())
    half_width = float(stats.norm.isf((1 - curve.level) / 2)) * error
    return Estimate(
        method=f"restricted mean survival time to {horizon:g}",
        estimate=estimate,
        standard_error=error,
        interval=Interval(
            low=estimate - half_width,
            high=estimate + half_width,
            level=curve.level,
            achieved_level=None,
            method="normal",
        ),
        n=curve.n,
    )


def _check_within(curve: KaplanMeier, name: str, time: float) -> None:
    if time < 0:
        raise ValueError(f"{name}: {time:g}: must be zero or more")
    last = float(curve.time[-1])
    if time > last and curve.survival[-1] > 0:
        raise ValueError(f"{name}: {time:g}: beyond the last follow-up, {last:g}, with subjects left")
