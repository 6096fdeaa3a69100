from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from tasks.stats.location import SIGN_FLIP_EXACT_LIMIT, paired_t, sign_flip, sign_test

# R's data set sleep: extra hours under drug 1 and drug 2.
SLEEP = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]) - np.array(
    [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
)
DEPRESSION = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]) - np.array(
    [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
)
differences = st.lists(st.integers(-8, 8), min_size=2, max_size=9).filter(any).map(lambda x: np.array(x) / 2)
alternatives = st.sampled_from(["two-sided", "greater", "less"])


def test_paired_t_of_r_sleep():
    result = paired_t(SLEEP)
    assert result.statistic == pytest.approx(-4.0621, abs=5e-5)
    assert result.p_value == pytest.approx(0.002833, abs=5e-7)
    assert result.interval.low == pytest.approx(-2.4598858, abs=5e-8)
    assert result.interval.high == pytest.approx(-0.7001142, abs=5e-8)
    assert (result.df, result.n_zero, result.n_used) == (9, 1, 10)


def test_t_interval_of_the_published_summary():
    # Mean -58.2 %, SD 28.7 %, n = 12 (Hwang 2024): interval (40.0, 76.4) and t(11) = 7.02 of the improvement.
    shape = np.arange(12) - 5.5
    result = paired_t(58.2 + 28.7 * shape / shape.std(ddof=1))
    assert result.statistic == pytest.approx(7.02, abs=5e-3)
    assert result.p_value == pytest.approx(2.2e-5, abs=5e-7)
    assert (result.interval.low, result.interval.high) == (
        pytest.approx(40.0, abs=0.05),
        pytest.approx(76.4, abs=0.05),
    )


@settings(deadline=None)
@given(differences, alternatives, st.sampled_from([0.5, 0.9, 0.99]))
def test_t_agrees_with_scipy_and_with_its_interval(values, alternative, level):
    assume(np.ptp(values) > 0)
    result = paired_t(values, level=level, alternative=alternative)
    theirs = stats.ttest_1samp(values, 0, alternative=alternative)
    assert result.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    two_sided = paired_t(values, level=level)
    for end in (result.interval.low, result.interval.high):
        assert paired_t(values - end).p_value == pytest.approx(1 - level, rel=1e-6)
    assert two_sided.interval == result.interval


def test_a_t_test_of_equal_differences_is_refused():
    with pytest.raises(ValueError, match="every value is 3: a t-test needs values that vary"):
        paired_t([3, 3, 3])
    with pytest.raises(ValueError, match="vary"):
        paired_t([0.1 + 0.2, 0.3, 0.3])
    with pytest.raises(ValueError, match="vary"):
        paired_t([0, 0])
    with pytest.raises(ValueError, match="at least 2 needed"):
        paired_t([1])


def test_a_p_value_that_underflows_is_not_zero():
    assert paired_t(1e9 + np.arange(50.0)).p_value > 0
    assert sign_test(np.ones(3000)).p_value > 0


def test_sign_test_of_the_depression_data():
    result = sign_test(DEPRESSION)
    assert (result.statistic, result.estimate) == (7, 7 / 9)
    assert result.p_value == 0.1796875


def test_sign_test_drops_zeros_and_says_so():
    result = sign_test([0, 0, -1, -2, -3, -4, -5, -6])
    assert (result.n, result.n_zero, result.n_used, result.zero_rule) == (8, 2, 6, "dropped")
    assert (result.statistic, result.p_value) == (0, 2 / 64)
    with pytest.raises(ValueError, match="every value is zero"):
        sign_test([0, 0])


@settings(deadline=None)
@given(differences, alternatives)
def test_sign_flip_equals_the_enumeration_of_all_patterns(values, alternative):
    means = np.array([np.mean(values * s) for s in itertools.product([1, -1], repeat=values.size)])
    observed = values.mean()
    extreme = {
        "two-sided": np.abs(means) >= abs(observed) - 1e-9,
        "greater": means >= observed - 1e-9,
        "less": means <= observed + 1e-9,
    }[alternative]
    result = sign_flip(values, alternative=alternative)
    assert result.p_value == pytest.approx(extreme.mean(), rel=1e-12)
    assert result.is_exact
    assert (result.n_resamples, result.seed) == (None, None)


@settings(deadline=None)
@given(differences, alternatives)
def test_swapping_before_and_after_swaps_the_sides(values, alternative):
    opposite = {"two-sided": "two-sided", "greater": "less", "less": "greater"}[alternative]
    for test in (sign_test, sign_flip):
        one = test(values, alternative=alternative)
        other = test(-values, alternative=opposite)
        assert one.p_value == pytest.approx(other.p_value, rel=1e-12)
        assert 0 < one.p_value <= 1


def test_sign_flip_of_all_improved_is_the_smallest_p():
    assert sign_flip(-np.arange(1.0, 13)).p_value == 2 / 4096
    assert sign_flip([0.1, 0.2, 0.3 - 1e-17]).p_value == 2 / 8


def test_sign_flip_beyond_enumeration_draws_with_a_seed_and_says_so():
    values = np.random.default_rng(3).normal(0.35, 1, SIGN_FLIP_EXACT_LIMIT + 20)
    result = sign_flip(values, n_resamples=20_000, seed=7)
    assert not result.is_exact
    assert (result.n_resamples, result.seed) == (20_000, 7)
    assert "random" in result.method
    assert result == sign_flip(values, n_resamples=20_000, seed=7)
    # Two-sided t is nearly the same test here; 4 standard errors of the share drawn.
    p = paired_t(values).p_value
    assert result.p_value == pytest.approx(p, abs=4 * np.sqrt(p / 20_000) + 0.1 * p)
    assert sign_flip(values + 9, n_resamples=999).p_value == 1 / 1000


def test_enumeration_and_draws_agree_at_the_limit():
    values = np.random.default_rng(4).normal(0.3, 1, SIGN_FLIP_EXACT_LIMIT)
    exact = sign_flip(values)
    assert exact.is_exact
    assert exact.p_value == pytest.approx(paired_t(values).p_value, rel=0.05)


def test_sign_flip_refuses_what_it_cannot_test():
    with pytest.raises(ValueError, match="every value is zero"):
        sign_flip([0, 0])
    with pytest.raises(ValueError, match="n_resamples: 0: at least 1 needed"):
        sign_flip([1, 2], n_resamples=0)
