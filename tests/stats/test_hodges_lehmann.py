from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.stats.hodges_lehmann import EXACT_LIMIT, WALSH_LIMIT, hodges_lehmann, walsh_averages
from tasks.stats.signed_rank import signed_rank_exact

DEPRESSION = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]) - np.array(
    [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
)
samples = st.lists(st.integers(-10, 10), min_size=2, max_size=10).map(lambda x: np.array(x) / 2)


def test_hollander_wolfe_depression_data():
    result = hodges_lehmann(DEPRESSION)
    assert result.estimate == pytest.approx(0.46)
    assert (result.interval.low, result.interval.high) == (pytest.approx(0.01), pytest.approx(0.786))
    # 1 - 2 P(T <= 5) with P(T <= 5) = 10 / 512.
    assert result.interval.achieved_level == 1 - 20 / 512


@pytest.mark.parametrize(("n", "quantile"), [(6, 1), (9, 6), (10, 9), (15, 26), (20, 53)])
def test_ends_are_the_walsh_averages_at_the_signed_rank_quantile(n, quantile):
    values = 2.0 ** np.arange(n)
    walsh = walsh_averages(values)
    interval = hodges_lehmann(values).interval
    assert (interval.low, interval.high) == (walsh[quantile - 1], walsh[-quantile])


@settings(deadline=None)
@given(samples, st.sampled_from([0.8, 0.9, 0.95]))
def test_interval_agrees_with_the_test(values, level):
    result = hodges_lehmann(values, level=level)
    interval = result.interval
    assert values.min() <= interval.low <= interval.high <= values.max()
    walsh = np.unique(walsh_averages(values))
    if interval.achieved_level < level:
        assert (interval.low, interval.high) == (values.min(), values.max())
        assert 2.0 ** (1 - values.size) > 1 - level
        return
    for shift in [walsh[0] - 1, *(walsh[:-1] + walsh[1:]) / 2, walsh[-1] + 1]:
        is_rejected = signed_rank_exact(values - shift).p_value <= 1 - level
        if not interval.low < shift < interval.high:
            assert is_rejected
    inside = walsh[(walsh >= interval.low) & (walsh <= interval.high)]
    if inside.size > 1:
        for shift in ((inside[0] + inside[1]) / 2, (inside[-2] + inside[-1]) / 2):
            assert signed_rank_exact(values - shift).p_value > 1 - level


@settings(deadline=None)
@given(samples, st.integers(-20, 20))
def test_shift_moves_swap_negates_and_unit_scales(values, shift):
    result = hodges_lehmann(values)
    moved, swapped, scaled = (hodges_lehmann(x) for x in (values + shift, -values, 4 * values))
    assert moved.estimate == result.estimate + shift
    assert moved.interval.low == result.interval.low + shift
    assert moved.interval.achieved_level == pytest.approx(result.interval.achieved_level)
    assert swapped.estimate == -result.estimate
    assert (swapped.interval.low, swapped.interval.high) == (-result.interval.high, -result.interval.low)
    assert scaled.interval.high == 4 * result.interval.high


def test_rounding_noise_changes_nothing():
    whole = np.array([3, -1, 1, 0, 2, 2, -3, 0, 4, 1])
    noisy = hodges_lehmann(np.arange(10) * 0.1 + whole * 0.1 - np.arange(10) * 0.1)
    clean = hodges_lehmann(whole)
    assert noisy.estimate == pytest.approx(clean.estimate / 10)
    assert noisy.interval.low == pytest.approx(clean.interval.low / 10)
    assert noisy.interval.high == pytest.approx(clean.interval.high / 10)
    assert noisy.interval.achieved_level == clean.interval.achieved_level


def test_too_few_to_reject_anything_gives_the_range_and_says_its_level():
    interval = hodges_lehmann([1.0, 2.0, 4.0, 8.0, 16.0]).interval
    assert (interval.low, interval.high, interval.level) == (1, 16, 0.95)
    assert interval.achieved_level == 1 - 2 / 32


def test_constant_differences_have_an_interval_of_no_width():
    result = hodges_lehmann(np.full(8, -3.0))
    assert (result.estimate, result.interval.low, result.interval.high) == (-3, -3, -3)


def test_larger_samples_use_the_normal_index_and_hardly_change():
    values = np.random.default_rng(5).normal(0.3, 1, EXACT_LIMIT + 1)
    approximate = hodges_lehmann(values).interval
    exact = hodges_lehmann(values[:-1]).interval
    assert approximate.achieved_level is None
    assert "normal approximation" in approximate.method
    assert approximate.high - approximate.low == pytest.approx(exact.high - exact.low, rel=0.05)


def test_coverage_is_at_least_nominal():
    # 1000 samples of 8 from a symmetric, heavily tied distribution; 3 standard errors of .95 are .021.
    generator = np.random.default_rng(11)
    covered = 0
    for sample in generator.integers(-3, 4, size=(1000, 8)) + 2:
        interval = hodges_lehmann(sample).interval
        covered += interval.low <= 2 <= interval.high
    assert covered / 1000 > 0.929


@pytest.mark.parametrize(
    ("values", "level", "message"),
    [
        ([1.0], 0.95, "1 value.*at least 2 needed"),
        ([1.0, np.nan], 0.95, "nan at position 1"),
        ([1.0, 2.0], 1.0, "level: 1.0: must lie between 0 and 1"),
        (np.zeros(WALSH_LIMIT + 1), 0.95, f"at most {WALSH_LIMIT}"),
    ],
)
def test_what_cannot_be_estimated_is_refused(values, level, message):
    with pytest.raises(ValueError, match=message):
        hodges_lehmann(values, level=level)
