from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.stats.survival import kaplan_meier, restricted_mean, survival_at, survival_quantile

# Freireich's leukaemia trial, weeks of remission under 6-mercaptopurine.
MP_TIME = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
MP_EVENT = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
follow_up = st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=20)


def test_remission_under_mercaptopurine():
    # Kalbfleisch & Prentice; Klein & Moeschberger, table 4.1: S(6) .857 (.0764), S(23) .448 (.1346).
    curve = kaplan_meier(MP_TIME, MP_EVENT)
    six, late = survival_at(curve, 6), survival_at(curve, 23)
    assert six.n_at_risk == 21
    assert (six.estimate, six.standard_error) == pytest.approx((0.857, 0.0764), abs=5e-4)
    assert (late.estimate, late.standard_error) == pytest.approx((0.448, 0.1346), abs=5e-4)
    median = survival_quantile(curve)
    assert (median.estimate, median.low, median.high) == (23, 13, None)
    assert survival_at(curve, 3).estimate == 1


def test_without_censoring_it_is_the_share_still_free():
    time = np.array([3.0, 5, 5, 8, 12])
    curve = kaplan_meier(time, np.ones(5))
    for at in (2, 3, 5, 9, 12, 20):
        assert survival_at(curve, at).estimate == pytest.approx(np.mean(time > at))
    assert restricted_mean(curve, 12).estimate == pytest.approx(time.mean())
    # The variance is then that of the mean with divisor n.
    assert restricted_mean(curve, 12).standard_error == pytest.approx(time.std() / np.sqrt(5))


def test_the_median_of_a_curve_flat_at_a_half_is_the_middle_of_the_step():
    assert survival_quantile(kaplan_meier([1, 2, 4, 5], np.ones(4))).estimate == 3
    assert survival_quantile(kaplan_meier([1, 2, 4], [1, 0, 0])).estimate is None


@settings(max_examples=60, deadline=None)
@given(follow_up, st.sampled_from(["log-log", "log", "plain"]))
def test_curve_falls_within_its_interval_and_counts_add_up(pairs, kind):
    time, event = np.array(pairs, dtype=float).T
    curve = kaplan_meier(time, event, interval=kind)
    assert (curve.n_event + curve.n_censored).sum() == curve.n == len(pairs)
    assert (np.diff(curve.survival) <= 0).all()
    known = np.isfinite(curve.low)
    assert (curve.low[known] <= curve.survival[known] + 1e-12).all()
    assert (curve.high[known] >= curve.survival[known] - 1e-12).all()
    assert (curve.low[known] >= 0).all()
    assert (curve.high[known] <= 1).all()
    stretched = kaplan_meier(7 * time, event, interval=kind)
    assert stretched.survival == pytest.approx(curve.survival)
    assert (stretched.time == 7 * curve.time).all()


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="time: -1"):
        kaplan_meier([-1, 2], [1, 0])
    with pytest.raises(ValueError, match="event: 2"):
        kaplan_meier([1, 2], [1, 2])
    with pytest.raises(ValueError, match="event: 1 value"):
        kaplan_meier([1, 2], [1])
    curve = kaplan_meier([1, 2], [1, 0])
    with pytest.raises(ValueError, match="horizon: 3: beyond"):
        restricted_mean(curve, 3)
    with pytest.raises(ValueError, match="horizon: 0"):
        restricted_mean(curve, 0)
    with pytest.raises(ValueError, match="time: 3: beyond"):
        survival_at(curve, 3)
    with pytest.raises(ValueError, match="probability: 1"):
        survival_quantile(curve, 1)
