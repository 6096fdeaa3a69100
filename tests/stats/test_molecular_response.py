"""Percent improvement and its bootstrap intervals, against the general bootstrap and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.stats.bootstrap import bca_bootstrap
from tasks.stats.molecular_response import METHOD, cohort_improvement, percent_improvement


def _cohort(k=4, n=12, share=0.6, seed=1):
    random = np.random.default_rng(seed)
    disease = random.normal(2, 0.6, size=(k, n))
    return disease, -share * disease + random.normal(0, 0.4, size=(k, n))


def test_percent_improvement_is_the_ratio_of_logarithms():
    before, after, healthy = np.array([80.0, 10.0]), np.array([20.0, 40.0]), np.array([10.0, 90.0])
    expected = 100 * np.log2(after / before) / np.log2(healthy / before)
    found = percent_improvement(np.log2(before / healthy), np.log2(after / before))
    assert found == pytest.approx(expected)
    # From 80 to 20 of a way from 80 to 10: two of three doublings.
    assert found[0] == pytest.approx(200 / 3)


def test_percent_improvement_tells_overshoot_worsening_and_nothing():
    assert percent_improvement([2, 2, 2, -2, 0], [-3, 1, 0, 2, 1])[:4] == pytest.approx([150, -50, 0, 100])
    assert np.isnan(percent_improvement([0.0], [1.0])[0])
    with pytest.raises(ValueError, match=r"treatment: shape \(1,\): must be that of disease, \(2,\)"):
        percent_improvement([1, 2], [1])


def test_intervals_are_those_of_the_general_bootstrap():
    disease, treatment = _cohort()
    found = cohort_improvement(disease, treatment, level=0.9, n_resamples=4000, seed=3)
    for row in range(len(disease)):
        one = bca_bootstrap(
            np.column_stack([disease[row], treatment[row]]),
            statistic=lambda samples: -100 * samples[..., 1].mean(axis=1) / samples[..., 0].mean(axis=1),
            level=0.9,
            n_resamples=4000,
            seed=3,
        )
        # The same resamples; a mean by a matrix product rounds differently in the last digits.
        assert found.estimate[row] == pytest.approx(one.estimate, rel=1e-12)
        assert (found.low[row], found.high[row]) == pytest.approx(
            (one.interval.low, one.interval.high), rel=1e-6
        )
    assert (found.method, found.n, found.seed) == (METHOD, 12, 3)


def test_rows_do_not_depend_on_each_other():
    disease, treatment = _cohort(k=700)
    whole = cohort_improvement(disease, treatment, n_resamples=2000)
    part = cohort_improvement(disease[650:], treatment[650:], n_resamples=2000)
    assert whole.low[650:] == pytest.approx(part.low, rel=1e-12)


def test_ratio_of_means_weights_patients_by_their_difference():
    # One patient with hardly any disease difference and an opposite change rules the mean of ratios.
    found = cohort_improvement([[2.0, 2.0, 2.0, 0.01]], [[-1.0, -1.0, -1.0, 0.5]], n_resamples=1000)
    assert found.estimate[0] == pytest.approx(100 * 2.5 / 6.01)
    assert percent_improvement([2.0, 2.0, 2.0, 0.01], [-1.0, -1.0, -1.0, 0.5]).mean() < -1000


def test_a_denominator_near_zero_has_no_interval():
    random = np.random.default_rng(4)
    disease = np.vstack([random.normal(0.3, 1, 12), random.normal(3, 1, 12), np.zeros(12)])
    found = cohort_improvement(disease, random.normal(-1, 0.3, size=(3, 12)))
    assert found.has_unstable_denominator.tolist() == [True, False, True]
    assert np.isnan(found.low).tolist() == np.isnan(found.high).tolist() == [True, False, True]
    assert np.isnan(found.estimate[2])


def test_what_does_not_vary_has_no_interval():
    found = cohort_improvement([[1.0, 2.0, 3.0]], [[-0.5, -1.0, -1.5]])
    assert found.estimate[0] == pytest.approx(50)
    assert np.isnan(found.low[0])
    assert not found.has_unstable_denominator[0]


def test_swapping_directions_keeps_and_turning_change_negates():
    disease, treatment = _cohort()
    found = cohort_improvement(disease, treatment, n_resamples=2000)
    mirrored = cohort_improvement(-disease, -treatment, n_resamples=2000)
    turned = cohort_improvement(disease, -treatment, n_resamples=2000)
    assert mirrored.low == pytest.approx(found.low)
    assert turned.estimate == pytest.approx(-found.estimate)
    assert turned.low == pytest.approx(-found.high, rel=1e-6)


def test_intervals_cover_what_they_promise():
    random = np.random.default_rng(9)
    disease = random.normal(2, 0.6, size=(600, 15))
    treatment = -0.6 * disease + random.normal(0, 0.4, size=disease.shape)
    found = cohort_improvement(disease, treatment, n_resamples=1000)
    # The bootstrap of 15 covers somewhat less than 95 %; binomial noise of 600 is .9 points.
    assert 0.87 <= ((found.low <= 60) & (found.high >= 60)).mean() <= 0.97


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(2,\): must both be \(k, n\)"):
        cohort_improvement([1, 2], [1, 2])
    with pytest.raises(ValueError, match=r"1 patient\(s\): at least 2"):
        cohort_improvement([[1]], [[1]])
    with pytest.raises(ValueError, match=r"treatment: nan at \(0, 1\)"):
        cohort_improvement([[1, 2]], [[1, np.nan]])
    with pytest.raises(ValueError, match="n_resamples: 0"):
        cohort_improvement([[1, 2]], [[1, 2]], n_resamples=0)
