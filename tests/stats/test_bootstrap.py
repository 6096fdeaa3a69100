from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tasks.stats.bootstrap import bca_bootstrap, mean_of_rows, ratio_of_means_change_pct
from tasks.stats.location import paired_t

SLEEP = np.array([-1.2, -2.4, -1.3, -1.3, 0.0, -1.0, -1.8, -0.8, -4.6, -1.4])


def test_agrees_with_scipys_bca():
    ours = bca_bootstrap(SLEEP, n_resamples=100_000, seed=1)
    theirs = stats.bootstrap(
        (SLEEP,), np.mean, method="BCa", n_resamples=100_000, rng=np.random.default_rng(2)
    )
    # Both are Monte Carlo: the standard error of an end is about .01 at this number of resamples.
    assert ours.interval.low == pytest.approx(theirs.confidence_interval.low, abs=0.04)
    assert ours.interval.high == pytest.approx(theirs.confidence_interval.high, abs=0.04)
    assert ours.standard_error == pytest.approx(theirs.standard_error, rel=0.02)
    assert ours.estimate == SLEEP.mean()


def test_acceleration_of_a_mean_is_a_sixth_of_the_skewness_over_root_n():
    # Efron & Tibshirani 1993, eq. 14.15 for the mean.
    deviation = SLEEP - SLEEP.mean()
    expected = (deviation**3).sum() / (6 * (deviation**2).sum() ** 1.5)
    assert bca_bootstrap(SLEEP).acceleration == pytest.approx(expected)


def test_same_seed_same_interval_and_chunks_do_not_matter():
    first = bca_bootstrap(SLEEP, seed=5)
    assert first == bca_bootstrap(SLEEP, seed=5)
    assert first != bca_bootstrap(SLEEP, seed=6)
    wide = np.random.default_rng(0).normal(size=3000)
    assert bca_bootstrap(wide, n_resamples=2000).standard_error == pytest.approx(
        paired_t(wide).standard_error, rel=0.07
    )


def test_shift_moves_scale_scales_swap_negates():
    base = bca_bootstrap(SLEEP, seed=3)
    moved, scaled = bca_bootstrap(SLEEP + 10, seed=3), bca_bootstrap(4 * SLEEP, seed=3)
    assert moved.interval.low == pytest.approx(base.interval.low + 10)
    assert scaled.interval.high == pytest.approx(4 * base.interval.high)
    swapped = bca_bootstrap(-SLEEP, seed=3)
    assert swapped.interval.low == pytest.approx(-base.interval.high)
    assert swapped.bias_correction == pytest.approx(-base.bias_correction)


def test_skew_moves_the_interval_to_its_tail():
    skewed = np.exp(np.linspace(-2, 2.5, 15))
    interval = bca_bootstrap(skewed, n_resamples=20_000).interval
    mean = skewed.mean()
    assert interval.high - mean > mean - interval.low


def test_pairs_are_resampled_whole():
    before = np.array([8.0, 10, 6, 12, 9, 7])
    pairs = np.column_stack([before, before / 2])
    assert ratio_of_means_change_pct(pairs[np.newaxis])[0] == -50
    with pytest.raises(ValueError, match="statistic: -50 in every resample"):
        bca_bootstrap(pairs, statistic=ratio_of_means_change_pct)
    pairs[:, 1] += [1, -1, 0, 2, -2, 0]
    result = bca_bootstrap(pairs, statistic=ratio_of_means_change_pct)
    assert result.interval.low < -50 < result.interval.high


def test_coverage_of_a_skewed_mean_is_near_its_level():
    # 300 samples of 30 exponentials; the t interval covers about .92 there, BCa about .93.
    generator = np.random.default_rng(9)
    covered = 0
    for seed, sample in enumerate(generator.exponential(size=(300, 30))):
        interval = bca_bootstrap(sample, n_resamples=1000, seed=seed).interval
        covered += interval.low <= 1 <= interval.high
    assert 0.88 < covered / 300 < 0.98


def test_a_statistic_without_jackknife_spread_has_no_acceleration():
    def middle(samples):
        return np.median(samples, axis=1)

    assert bca_bootstrap([1, 2, 2, 2, 3], statistic=middle).acceleration == 0


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ([1.0], "1 row.*at least 2 needed"),
        ([2.0, 2.0, 2.0], "2 in every resample"),
        ([0.0, 0.0], "0 in every resample"),
        ([1.0, np.nan], "nan in row 1"),
        (np.zeros((2, 2, 2)), "shape"),
    ],
)
def test_degenerate_samples_are_refused(sample, message):
    with pytest.raises(ValueError, match=message):
        bca_bootstrap(sample)


def test_an_undefined_statistic_is_refused():
    with pytest.raises(ValueError, match="statistic: not finite in"):
        bca_bootstrap([[0.0, 1.0], [0.0, 2.0], [1.0, 1.0]], statistic=ratio_of_means_change_pct)
    with pytest.raises(ValueError, match="n_resamples: 0"):
        bca_bootstrap([1, 2], n_resamples=0)

    def undefined_for_two(samples):
        return samples.mean(axis=1) if samples.shape[1] > 2 else np.full(samples.shape[0], np.nan)

    with pytest.raises(ValueError, match="not finite when one row is left out"):
        bca_bootstrap([1.0, 2.0, 9.0], statistic=undefined_for_two)


def test_a_tail_beyond_what_the_acceleration_allows_is_refused():
    # The acceleration of one outlier among zeros is 1/6, so the adjustment breaks down six deviations out.
    with pytest.raises(
        ValueError, match=r"acceleration 0\.16\d: too skewed for a BCa interval at level 0\.99"
    ):
        bca_bootstrap([1.0] + [0.0] * 200, level=1 - 1e-11)


def test_mean_of_rows_keeps_samples_apart():
    assert mean_of_rows(np.array([[1.0, 3], [5, 7]])).tolist() == [2, 6]
