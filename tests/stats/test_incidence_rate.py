from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tasks.stats.incidence_rate import incidence_rate


@pytest.mark.parametrize(
    ("events", "time", "low", "high"),
    [
        # R 4.2.2: poisson.test(x, T)$conf.int, printed with digits = 12.
        (0, 10.0, 0.0, 0.368887945411),
        (1, 4.5, 0.00562617955206, 1.23814297576420),
        (7, 12.25, 0.229743922573, 1.177361254017),
        (137, 24.19893, 4.75312480485, 6.69270933418),
    ],
)
def test_interval_is_that_of_r(events, time, low, high):
    interval = incidence_rate(events, time).interval
    assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-8, abs=1e-12)


@given(st.integers(0, 200), st.floats(0.1, 1e4), st.floats(0.5, 0.999))
def test_limits_are_the_rates_that_are_just_rejected(events, time, level):
    result = incidence_rate(events, time, level=level)
    tail = (1 - level) / 2
    assert stats.poisson.cdf(events, result.interval.high * time) == pytest.approx(tail, rel=1e-6)
    if events:
        assert stats.poisson.sf(events - 1, result.interval.low * time) == pytest.approx(tail, rel=1e-6)
    assert result.interval.low <= result.estimate <= result.interval.high


def test_the_rate_is_per_unit_of_time():
    years, hundreds = incidence_rate(6, 50.0), incidence_rate(6, 0.5)
    assert hundreds.estimate == pytest.approx(100 * years.estimate)
    assert hundreds.interval.high == pytest.approx(100 * years.interval.high)


@pytest.mark.parametrize(
    ("events", "time", "message"),
    [(-1, 1.0, "events: -1"), (1, 0.0, "time: 0.0"), (1, float("nan"), "time: nan")],
)
def test_bad_input_is_refused(events, time, message):
    with pytest.raises(ValueError, match=message):
        incidence_rate(events, time)
