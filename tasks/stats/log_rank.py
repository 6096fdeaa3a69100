"""Comparison of times to event between groups: the log-rank test, stratified, and for trend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from tasks.stats.survival import checked_follow_up
from tasks.stats.types import FloatArray, HypothesisTest, checked_same_length, positive_p

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRank(HypothesisTest):
    """The test with the events observed in each group and those expected under equal hazards."""

    groups: tuple[str, ...]
    observed: tuple[float, ...]
    expected: tuple[float, ...]


def log_rank(
    time: ArrayLike,
    event: ArrayLike,
    group: Sequence[str],
    *,
    stratum: Sequence[str] | None = None,
) -> LogRank:
    """Test H0: the hazard of the event is the same in all groups at every time, within each stratum.

    Parameters
    ----------
    time, event : (n,) arrays
        As in `kaplan_meier`.
    group : sequence of n labels
        Two groups or more.
    stratum : sequence of n labels or None
        Subjects are compared within their stratum only.

    Returns
    -------
    LogRank
        Chi-square; `df` is one less than the groups ever at risk together with others at an event.

    Raises
    ------
    ValueError
        If lengths differ, there are fewer than two groups, or no event happened while two groups were at
        risk.

    References
    ----------
    .. [1] Mantel N (1966). Evaluation of survival data and two new rank order statistics arising in its
       consideration. Cancer Chemother Rep 50:163-170.
    """
    times, groups, observed, expected, variance = _counted(time, event, group, stratum)
    values, vectors = np.linalg.eigh(variance)
    kept = values > 1e-10 * values[-1]
    projected = vectors[:, kept].T @ (observed - expected)
    statistic, df = float((projected**2 / values[kept]).sum()), int(kept.sum())
    return LogRank(
        method="Log-rank test" + (", stratified" if stratum is not None else ""),
        alternative="two-sided",
        statistic=statistic,
        p_value=positive_p(float(stats.chi2.sf(statistic, df))),
        df=df,
        df_denominator=None,
        is_exact=False,
        has_continuity_correction=False,
        n=times.size,
        groups=groups,
        observed=tuple(observed.tolist()),
        expected=tuple(expected.tolist()),
    )


def log_rank_trend(
    time: ArrayLike,
    event: ArrayLike,
    group: Sequence[str],
    *,
    scores: Mapping[str, float],
    stratum: Sequence[str] | None = None,
) -> HypothesisTest:
    """Test H0: equal hazards, against hazards that rise or fall with the scores of the groups.

    Parameters
    ----------
    time, event, group, stratum
        As in `log_rank`.
    scores : mapping of group to number
        Doses, or the order of the groups.

    Returns
    -------
    HypothesisTest
        `statistic` is z, positive when events are earlier at higher scores.

    Raises
    ------
    ValueError
        If a group has no score, all have the same, or as in `log_rank`.

    References
    ----------
    .. [1] Tarone RE (1975). Tests for trend in life table analysis. Biometrika 62:679-682.
    """
    times, groups, observed, expected, variance = _counted(time, event, group, stratum)
    for name in groups:
        if name not in scores:
            raise ValueError(f"scores: none for group {name!r}: every group needs one")
    points = np.array([scores[name] for name in groups], dtype=np.float64)
    spread = float((points - points.mean()) @ variance @ (points - points.mean()))
    if spread <= 0:
        raise ValueError(f"scores: {points[0]:g} in all groups compared: must differ")
    z = float(points @ (observed - expected)) / float(np.sqrt(spread))
    return HypothesisTest(
        method="Log-rank test for trend" + (", stratified" if stratum is not None else ""),
        alternative="two-sided",
        statistic=z,
        p_value=positive_p(2 * float(stats.norm.sf(abs(z)))),
        df=None,
        df_denominator=None,
        is_exact=False,
        has_continuity_correction=False,
        n=times.size,
    )


def _counted(
    time: ArrayLike, event: ArrayLike, group: Sequence[str], stratum: Sequence[str] | None
) -> tuple[FloatArray, tuple[str, ...], FloatArray, FloatArray, FloatArray]:
    times, events = checked_follow_up(time, event)
    checked_same_length("group", len(group), "time", times.size)
    groups, codes = np.unique(np.asarray(group), return_inverse=True)
    if groups.size < 2:  # noqa: PLR2004 - nothing to compare
        raise ValueError(f"group: {groups[0]!r} throughout: at least two groups needed")
    strata = np.zeros(times.size, dtype=np.int64)
    if stratum is not None:
        checked_same_length("stratum", len(stratum), "time", times.size)
        strata = np.unique(np.asarray(stratum), return_inverse=True)[1]
    observed = np.bincount(codes[events], minlength=groups.size).astype(np.float64)
    expected, variance = np.zeros(groups.size), np.zeros((groups.size, groups.size))
    for one in range(int(strata.max()) + 1):
        here = strata == one
        more_expected, more_variance = _moments(times[here], events[here], codes[here], groups.size)
        expected += more_expected
        variance += more_variance
    if np.trace(variance) <= 0:
        raise ValueError("event: none happened while two groups were at risk: nothing to compare")
    return times, tuple(groups.tolist()), observed, expected, variance


def _moments(
    times: FloatArray, events: NDArray[np.bool_], codes: NDArray[np.int64], n_groups: int
) -> tuple[FloatArray, FloatArray]:
    """Return the expected events by group and their covariance, the margins at each time being given."""
    moments = np.unique(times[events])
    members = codes[:, np.newaxis] == np.arange(n_groups)
    at_risk = (times >= moments[:, np.newaxis]).astype(np.float64) @ members
    n_events = (times[events] == moments[:, np.newaxis]).sum(axis=1).astype(np.float64)
    total = at_risk.sum(axis=1)
    share = at_risk / total[:, np.newaxis]
    factor = n_events * np.where(total > 1, (total - n_events) / np.maximum(total - 1, 1), 0.0)
    variance = np.diag(factor @ share) - (share * factor[:, np.newaxis]).T @ share
    return n_events @ share, variance
