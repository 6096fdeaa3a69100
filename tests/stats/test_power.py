from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tasks.stats.contingency import fisher_exact
from tasks.stats.power import (
    detectable_ancova,
    detectable_paired_t,
    detectable_proportion,
    detectable_signed_rank,
    detectable_two_sample_t,
    smallest_p_fisher,
    smallest_p_sign,
    smallest_p_sign_flip,
    smallest_p_signed_rank,
)
from tasks.stats.signed_rank import signed_rank_exact


def test_twelve_pairs():
    assert detectable_paired_t(12).effect == pytest.approx(0.89, abs=5e-3)
    assert detectable_paired_t(12, power=0.9).effect == pytest.approx(1.03, abs=5e-3)


def test_two_groups_of_cohen():
    # R: power.t.test(n = 26, delta = .8, sd = 1) has power .807.
    effect = detectable_two_sample_t(26, 26, power=0.807487).effect
    assert effect == pytest.approx(0.8, abs=1e-3)
    # Unequal groups of the same total find less.
    assert detectable_two_sample_t(10, 42).effect > detectable_two_sample_t(26, 26).effect
    # A covariate that explains nothing costs a degree of freedom; one that explains much helps.
    plain = detectable_two_sample_t(10, 10).effect
    assert detectable_ancova(10, 10, 0).effect > plain
    assert detectable_ancova(10, 10, 0.6).effect == pytest.approx(0.8 * detectable_ancova(10, 10, 0).effect)


def test_signed_rank_has_the_power_it_claims():
    result = detectable_signed_rank(12)
    generator = np.random.default_rng(99)
    samples = generator.standard_normal((4000, 12)) + result.effect
    found = np.mean([signed_rank_exact(sample).p_value <= 0.05 for sample in samples])
    # Four standard errors of 4,000 fresh samples and of the 20,000 it is based on.
    assert found == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / 4000 + 0.16 / 20_000))
    # R: 2 * psignrank(13, 12): the level that the discrete test really has.
    assert result.achieved_alpha == pytest.approx(0.04248046875)
    # The t-test is a little better for normal differences.
    assert detectable_paired_t(12).effect < result.effect < 1.1 * detectable_paired_t(12).effect
    # Noether's approximation keeps the variance of H0: near with many pairs, too large with few.
    assert detectable_signed_rank(12, method="noether").effect > 1.2 * result.effect
    many = detectable_signed_rank(60, n_simulations=4000).effect
    assert detectable_signed_rank(60, method="noether").effect == pytest.approx(many, rel=0.1)


def test_proportion_has_the_power_it_claims():
    result = detectable_proportion(12, 0.2)
    critical = next(c for c in range(13) if stats.binom.sf(c - 1, 12, 0.2) <= 0.05)
    assert stats.binom.sf(critical - 1, 12, result.effect) == pytest.approx(0.8)
    assert result.achieved_alpha == pytest.approx(stats.binom.sf(critical - 1, 12, 0.2))
    less = detectable_proportion(12, 0.8, alternative="less")
    assert less.effect == pytest.approx(1 - result.effect)


def test_smallest_p_values():
    # Two-sided exact signed rank: .00195, .00098, .00049 for 10, 11 and 12.
    for n, p in ((10, 0.00195), (11, 0.00098), (12, 0.00049)):
        assert smallest_p_signed_rank(n) == pytest.approx(p, abs=5e-6)
        assert smallest_p_signed_rank(n) == signed_rank_exact(np.arange(1, n + 1)).p_value
        assert smallest_p_sign(n) == smallest_p_sign_flip(n) == smallest_p_signed_rank(n)
    assert smallest_p_signed_rank(1) == 1
    assert smallest_p_signed_rank(5, alternative="less") == 1 / 32
    assert smallest_p_fisher(4, 4) == pytest.approx(2 / 70)
    assert smallest_p_fisher(12, 12, 2) == pytest.approx(fisher_exact([[2, 10], [0, 12]]).p_value)
    assert smallest_p_fisher(12, 12, 0) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: detectable_two_sample_t(1, 1), "3 together"),
        (lambda: detectable_two_sample_t(5, 5, power=0.01), "alpha < power"),
        (lambda: detectable_ancova(5, 5, 1), "correlation: 1"),
        (lambda: detectable_signed_rank(5), "no outcome has p"),
        (lambda: detectable_signed_rank(0), "n: 0"),
        (lambda: detectable_signed_rank(8, n_simulations=3), "n_simulations: 3"),
        (lambda: detectable_proportion(3, 0.5), "no outcome is significant"),
        (lambda: detectable_proportion(3, 0), "null_proportion: 0"),
        (lambda: smallest_p_fisher(3, 3, 7), "n_events: 7"),
        (lambda: smallest_p_sign(0), "n: 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
