from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.stats.regression_to_mean import (
    expected_regression,
    expected_regression_of_sample,
    mee_chua,
    oldham,
    pitman_morgan,
)

pairs = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=4, max_size=12)


def test_regression_seen_in_simulated_selected_subjects():
    generator = np.random.default_rng(11)
    true = generator.normal(10, np.sqrt(0.6) * 2, 400_000)
    first, second = (true + generator.normal(0, np.sqrt(0.4) * 2, true.size) for _ in range(2))
    chosen = first > 12
    expected = expected_regression(10, 2, 0.6, cutoff=12)
    # Standard errors with 60,000 chosen: below .01 and .001.
    assert (second - first)[chosen].mean() == pytest.approx(expected.expected_change, abs=0.03)
    assert chosen.mean() == pytest.approx(expected.selected_share, abs=0.003)
    assert first[chosen].mean() == pytest.approx(expected.selected_mean, abs=0.03)
    # Davis: the same from the mean of the chosen alone.
    change = expected_regression_of_sample(expected.selected_mean, 10, 0.6)
    assert change == pytest.approx(expected.expected_change)


def test_regression_has_its_limits():
    assert expected_regression(0, 1, 1, cutoff=1).expected_change == 0
    above = expected_regression(0, 1, 0.5, cutoff=1).expected_change
    assert expected_regression(0, 1, 0.5, cutoff=-1, selection="below").expected_change == pytest.approx(
        -above
    )
    assert above < 0
    # Averaging baselines and more reliable scores both shrink it; a stricter cutoff widens it.
    assert abs(expected_regression(0, 1, 0.5, cutoff=1, n_measurements=3).expected_change) < abs(above)
    assert abs(expected_regression(0, 1, 0.8, cutoff=1).expected_change) < abs(above)
    assert abs(expected_regression(0, 1, 0.5, cutoff=2).expected_change) > abs(above)


def test_mee_chua_separates_treatment_from_regression():
    generator = np.random.default_rng(2)
    rejected = {0.0: 0, -1.5: 0}
    for effect in rejected:
        for _ in range(400):
            true = generator.normal(10, 1.5, 400)
            before = true + generator.normal(0, 1, 400)
            after = true + generator.normal(0, 1, 400) + effect
            chosen = np.flatnonzero(before > 10.5)[:40]
            rejected[effect] += mee_chua(before[chosen], after[chosen], population_mean=10).p_value <= 0.05
    # Twenty expected of 400 under H0, limits of probability .001; a plain paired t-test rejects nearly all.
    assert 8 <= rejected[0.0] <= 35
    assert rejected[-1.5] > 150


@settings(max_examples=60, deadline=None)
@given(pairs, st.floats(-10, 30))
def test_range_of_means_not_rejected_agrees_with_the_test(scores, mean):
    before, after = np.array(scores, dtype=float).T
    assume(np.ptp(before) > 0)
    try:
        result = mee_chua(before, after, population_mean=mean)
    except ValueError:
        return  # a straight line
    assume(abs(result.p_value - 0.05) > 1e-6)
    inside = any(low <= mean <= high for low, high in result.not_rejected)
    assert inside == (result.p_value > 0.05)
    assert (result.interval.low <= 0 <= result.interval.high) == inside


def test_at_the_mean_of_the_sample_it_is_the_mean_change():
    before, after = np.array([8.0, 11, 9, 14, 10]), np.array([6.0, 8, 8, 9, 9])
    result = mee_chua(before, after, population_mean=float(before.mean()))
    assert result.treatment_effect == pytest.approx((after - before).mean())


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_oldham_is_pitman_morgan_and_its_interval_agrees(scores):
    before, after = np.array(scores, dtype=float).T
    try:
        ratio, correlation = pitman_morgan(before, after), oldham(before, after)
    except ValueError:
        return  # scores, changes or means that do not vary
    assert correlation.p_value == pytest.approx(ratio.p_value, rel=1e-6)
    assert np.sign(correlation.statistic) == np.sign(ratio.t) or abs(ratio.t) < 1e-7
    assume(abs(ratio.p_value - 0.05) > 1e-6)
    assert (ratio.interval.low <= 1 <= ratio.interval.high) == (ratio.p_value > 0.05)
    assert pitman_morgan(after, before).ratio == pytest.approx(1 / ratio.ratio)


def test_bad_input_is_refused():
    for arguments, message in (
        ((0, 0, 0.5), "sd: 0"),
        ((0, 1, 1.5), "reliability: 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            expected_regression(*arguments, cutoff=1)
    with pytest.raises(ValueError, match="nobody lies beyond"):
        expected_regression(0, 1, 0.5, cutoff=60)
    with pytest.raises(ValueError, match="straight line"):
        mee_chua([1, 2, 3, 4], [2, 4, 6, 8], population_mean=0)
    with pytest.raises(ValueError, match="every value is 2"):
        mee_chua([2, 2, 2], [1, 2, 3], population_mean=0)
    with pytest.raises(ValueError, match="after: 2 value"):
        pitman_morgan([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="determines the other"):
        pitman_morgan([1, 2, 3], [2, 4, 6])
