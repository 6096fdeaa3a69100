from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.stats.cox import cox_regression
from tasks.stats.log_rank import log_rank, log_rank_trend

MP_TIME = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
MP_EVENT = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
PLACEBO_TIME = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
TIME, EVENT = MP_TIME + PLACEBO_TIME, MP_EVENT + [1] * 21
GROUP = ["6-MP"] * 21 + ["placebo"] * 21


def test_freireich():
    # Cox & Oakes (1984): log-rank chi-square 16.79, expected 19.25 and 10.75; R survival, Efron's method:
    # log hazard ratio 1.572.
    test = log_rank(TIME, EVENT, GROUP)
    assert test.statistic == pytest.approx(16.79, abs=5e-3)
    assert test.observed == (9, 21)
    assert test.expected == pytest.approx((19.25, 10.75), abs=5e-3)
    model = cox_regression(TIME, EVENT, factors={"group": GROUP})
    assert model.coefficients[0].log_hazard_ratio == pytest.approx(1.572, abs=5e-4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.booleans(), st.sampled_from("abc")), min_size=6, max_size=25))
def test_names_of_groups_and_scale_of_time_do_not_matter(rows):
    time, event, group = (list(column) for column in zip(*rows, strict=True))
    at_events = [t for t, e, _ in rows if e]
    assume(any(len({g for t, _, g in rows if t >= moment}) > 1 for moment in at_events))
    # Where all at risk have the event at once, their groups cannot differ: then nothing is left to compare.
    try:
        test = log_rank(time, event, group)
    except ValueError as error:
        assert "nothing to compare" in str(error)  # noqa: PT017 - either outcome is right
        return
    renamed = log_rank([t**2 for t in time], event, [{"a": "z", "b": "y", "c": "x"}[g] for g in group])
    assert renamed.statistic == pytest.approx(test.statistic, abs=1e-9)
    assert sum(test.observed) == pytest.approx(sum(test.expected))


def test_trend_of_two_groups_is_the_log_rank_test():
    trend = log_rank_trend(TIME, EVENT, GROUP, scores={"6-MP": 0, "placebo": 54})
    assert trend.statistic > 0
    assert trend.statistic**2 == pytest.approx(log_rank(TIME, EVENT, GROUP).statistic)
    with pytest.raises(ValueError, match="'placebo'"):
        log_rank_trend(TIME, EVENT, GROUP, scores={"6-MP": 0})
    with pytest.raises(ValueError, match="must differ"):
        log_rank_trend(TIME, EVENT, GROUP, scores={"6-MP": 1, "placebo": 1})


def test_a_stratum_of_one_group_changes_nothing():
    plain = log_rank(TIME, EVENT, GROUP)
    wider = log_rank(
        [*TIME, 4, 9, 14], [*EVENT, 1, 1, 0], [*GROUP, *["6-MP"] * 3], stratum=["s"] * 42 + ["t"] * 3
    )
    assert wider.statistic == pytest.approx(plain.statistic)
    assert np.sum(wider.observed) == np.sum(plain.observed) + 2


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="at least two groups"):
        log_rank([1, 2], [1, 1], ["a", "a"])
    with pytest.raises(ValueError, match="nothing to compare"):
        log_rank([1, 2], [0, 0], ["a", "b"])
    with pytest.raises(ValueError, match="stratum: 1"):
        log_rank([1, 2], [1, 1], ["a", "b"], stratum=["s"])
