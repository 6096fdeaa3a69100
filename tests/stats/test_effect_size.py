from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from tasks.stats.effect_size import (
    cohen_d_z,
    hedges_g,
    minimum_detectable_d_z,
    noncentral_t_cdf,
    rank_biserial,
)
from tasks.stats.location import paired_t

SLEEP = np.array([-1.2, -2.4, -1.3, -1.3, 0.0, -1.0, -1.8, -0.8, -4.6, -1.4])
differences = st.lists(st.integers(-8, 8), min_size=3, max_size=9).filter(any).map(lambda x: np.array(x) / 2)


def test_cohen_d_z_of_r_sleep():
    # Cumming & Finch's exact interval; checked by the definition below.
    effect = cohen_d_z(SLEEP)
    assert effect.estimate == pytest.approx(-1.2845576, abs=1e-7)
    t = paired_t(SLEEP).statistic
    root = np.sqrt(10)
    assert stats.nct.cdf(t, 9, effect.interval.low * root) == pytest.approx(0.975, abs=1e-6)
    assert stats.nct.cdf(t, 9, effect.interval.high * root) == pytest.approx(0.025, abs=1e-6)


def test_d_z_of_the_published_summary():
    shape = np.arange(12) - 5.5
    effect = cohen_d_z(-58.2 + 28.7 * shape / shape.std(ddof=1))
    assert effect.estimate == pytest.approx(-58.2 / 28.7)


@pytest.mark.parametrize("df", [1, 2, 3, 11, 100])
@pytest.mark.parametrize("t", [0.0, 0.5, 2.0, 20.0, 600.0])
@pytest.mark.parametrize("noncentrality", [-3.0, 0.0, 1.5, 18.0, 590.0])
def test_noncentral_t_is_the_integral_that_defines_it(df, t, noncentrality):
    # P(T <= t) as the mean over S of Phi(t S - noncentrality): the other order of integration.
    def integrand(s):
        return stats.norm.cdf(t * s - noncentrality) * stats.chi.pdf(s * np.sqrt(df), df) * np.sqrt(df)

    bends = [x / t for x in (noncentrality - 9, noncentrality, noncentrality + 9) if t and 0 < x / t < 40]
    expected = integrate.quad(integrand, 0, 40, points=sorted([1.0, *bends]), limit=400)[0]
    assert noncentral_t_cdf(t, df, noncentrality) == pytest.approx(expected, abs=1e-8)


@settings(max_examples=40, deadline=None)
@given(differences)
def test_swap_negates_and_unit_does_not_matter(values):
    assert rank_biserial(values).estimate == -rank_biserial(-values).estimate
    assert -1 <= rank_biserial(values, zeros="pratt").estimate <= 1
    assume(np.ptp(values) > 0)
    for effect_of in (cohen_d_z, hedges_g):
        effect, swapped, scaled = effect_of(values), effect_of(-values), effect_of(8 * values)
        assert swapped.estimate == pytest.approx(-effect.estimate)
        assert swapped.interval.low == pytest.approx(-effect.interval.high, abs=1e-7)
        assert scaled.interval.high == pytest.approx(effect.interval.high, abs=1e-7)
        assert effect.interval.low <= effect.estimate <= effect.interval.high


@settings(deadline=None)
@given(differences)
def test_d_z_interval_holds_zero_exactly_when_t_does_not_reject(values):
    assume(np.ptp(values) > 0)
    p = paired_t(values).p_value
    assume(abs(p - 0.05) > 1e-6)
    interval = cohen_d_z(values).interval
    assert (interval.low <= 0 <= interval.high) == (p > 0.05)


def test_hedges_correction_is_the_exact_one():
    # Gamma(m / 2) / (sqrt(m / 2) Gamma((m - 1) / 2)) in closed form for m = 2, 4.
    for m, factor in [(2, 1 / np.sqrt(np.pi)), (4, np.sqrt(2 / np.pi)), (11, 1 - 3 / (4 * 11 - 1))]:
        values = np.arange(m + 1) + 1.0
        ratio = hedges_g(values).estimate / cohen_d_z(values).estimate
        # For m = 11 the usual approximation, good to a few units in the fourth digit.
        assert ratio == pytest.approx(factor, abs=1e-12 if m < 11 else 4e-4)


def test_an_almost_constant_change_has_a_finite_interval():
    effect = cohen_d_z([1, 1, 1, 1.0001])
    assert 0 < effect.interval.low < effect.estimate < effect.interval.high < np.inf


def test_rank_biserial_by_hand():
    # Ranks 1 2 3 4, the second negative: (8 - 2) / 10.
    assert rank_biserial([1, -2, 3, 4]).estimate == pytest.approx(0.6)
    # Pratt: the zero takes rank 1, so 2 -3 4 5: (11 - 3) / 14.
    assert rank_biserial([0, 1, -2, 3, 4], zeros="pratt").estimate == pytest.approx(8 / 14)
    assert rank_biserial([0, -1, -2]).estimate == -1


def test_minimum_detectable_effect_of_twelve_pairs():
    assert minimum_detectable_d_z(12) == pytest.approx(0.89, abs=5e-3)
    assert minimum_detectable_d_z(12, power=0.9) == pytest.approx(1.03, abs=5e-3)


def test_minimum_detectable_effect_has_the_power_it_promises():
    for n in (2, 5, 40):
        noncentrality = minimum_detectable_d_z(n, power=0.85, alpha=0.01) * np.sqrt(n)
        critical = stats.t.isf(0.005, n - 1)
        power = 1 - noncentral_t_cdf(critical, n - 1, noncentrality)
        assert power == pytest.approx(0.85, abs=1e-6)


@pytest.mark.parametrize(
    ("n", "d_z", "power"),
    [(12, 0.2, 0.09719878342), (12, 0.4, 0.2446254806), (5, 0.1, 0.05355543787)],
)
def test_minimum_detectable_effect_at_low_power_counts_both_tails(n, d_z, power):
    # R 4.2.2: power.t.test(n, delta = d_z, sd = 1, type = "paired", strict = TRUE)$power
    assert minimum_detectable_d_z(n, power=power) == pytest.approx(d_z, abs=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cohen_d_z([1, 1]), "vary"),
        (lambda: hedges_g([1, 2]), "at least 3 needed"),
        (lambda: rank_biserial([0, 0]), "every value is zero"),
        (lambda: minimum_detectable_d_z(1), "n: 1: at least 2 needed"),
        (lambda: minimum_detectable_d_z(9, power=0.01), "0 < alpha < power < 1"),
        (lambda: cohen_d_z([1, 2], level=0), "level: 0"),
    ],
)
def test_what_has_no_effect_size_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
