from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tasks.stats.signed_rank import (
    EXACT_LIMIT,
    null_distribution,
    signed_rank_asymptotic,
    signed_rank_exact,
    signed_ranks,
)

# Hollander & Wolfe (1999), table 3.1: depression scale factor IV of nine patients.
BEFORE = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
AFTER = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
TIED = np.array([0.3, -0.1, 0.1, 0, 0.2, 0.2, -0.3, 0, 0.4, 0.1])

# Halves, so that ties and zeros are frequent and exact.
differences = st.lists(st.integers(-8, 8), min_size=1, max_size=9).filter(any).map(lambda x: np.array(x) / 2)
zero_rules = st.sampled_from(["wilcox", "pratt"])


def test_hollander_wolfe_depression_data():
    result = signed_rank_exact(BEFORE - AFTER)
    assert (result.statistic, result.rank_sum_negative) == (40, 5)
    assert result.p_value == 0.0390625


@pytest.mark.parametrize(("n", "p"), [(10, 0.00195), (11, 0.00098), (12, 0.00049)])
def test_smallest_two_sided_p(n, p):
    result = signed_rank_exact(-np.arange(1, n + 1))
    assert result.p_value == 2.0 ** (1 - n)
    assert result.p_value == pytest.approx(p, abs=5e-6)


@pytest.mark.parametrize(
    ("n", "n_worse", "plain", "corrected", "exact"),
    [
        (12, 0, 0.0022, 0.0025, 0.00049),
        (12, 1, 0.0029, 0.0033, 0.00098),
        (11, 0, 0.0034, None, 0.00098),
    ],
)
def test_the_published_p_of_003_is_asymptotic(n, n_worse, plain, corrected, exact):
    """Everyone improves, or everyone but the one with the smallest change."""
    change = -np.arange(1.0, n + 1)
    change[:n_worse] *= -1
    assert signed_rank_asymptotic(change, continuity=False).p_value == pytest.approx(plain, abs=6e-5)
    if corrected is not None:
        assert signed_rank_asymptotic(change, continuity=True).p_value == pytest.approx(corrected, abs=5e-5)
    assert signed_rank_exact(change).p_value == pytest.approx(exact, abs=5e-6)


def test_tied_set_with_zeros():
    # R 4.2, wilcox.test(x, exact = FALSE).
    result = signed_rank_asymptotic(TIED, continuity=True)
    assert result.statistic == 27.5
    assert result.p_value == pytest.approx(0.20421927, abs=5e-9)
    assert (result.n, result.n_zero, result.n_used) == (10, 2, 8)


def test_rounding_noise_makes_neither_ties_nor_zeros():
    noisy = np.array([0.3 - 0.2, 0.1, -(0.7 - 0.6), 0.1 + 0.2 - 0.3, 0.5])
    clean = np.array([0.1, 0.1, -0.1, 0.0, 0.5])
    assert signed_rank_exact(noisy) == signed_rank_exact(clean)


def test_a_result_says_which_result_it_is():
    exact = signed_rank_exact(TIED, zeros="pratt", alternative="greater")
    assert exact.is_exact
    assert exact.has_continuity_correction is False
    assert (exact.zero_rule, exact.tie_rule, exact.alternative) == ("pratt", "midranks", "greater")
    assert exact.z is None
    asymptotic = signed_rank_asymptotic(TIED, continuity=True)
    assert not asymptotic.is_exact
    assert asymptotic.has_continuity_correction is True
    assert "tie-corrected" in asymptotic.tie_rule


@settings(deadline=None)
@given(differences, zero_rules, st.sampled_from(["two-sided", "greater", "less"]))
def test_equals_the_enumeration_of_all_sign_patterns(difference, zeros, alternative):
    ranks = np.abs(signed_ranks(difference, zeros))
    sums = np.array([np.dot(ranks, signs) for signs in itertools.product([0, 1], repeat=ranks.size)])
    result = signed_rank_exact(difference, zeros=zeros, alternative=alternative)
    at_least, at_most = (sums >= result.statistic).mean(), (sums <= result.statistic).mean()
    expected = {"greater": at_least, "less": at_most, "two-sided": min(1, 2 * min(at_least, at_most))}
    assert result.p_value == pytest.approx(expected[alternative], rel=1e-12)


@settings(deadline=None)
@given(differences, zero_rules, st.booleans())
def test_swapping_before_and_after_negates(difference, zeros, continuity):
    one, other = (signed_rank_exact(sign * difference, zeros=zeros) for sign in (1, -1))
    assert one.p_value == pytest.approx(other.p_value, rel=1e-12)
    assert (one.statistic, one.rank_sum_negative) == (other.rank_sum_negative, other.statistic)
    one, other = (
        signed_rank_asymptotic(sign * difference, zeros=zeros, continuity=continuity) for sign in (1, -1)
    )
    assert one.z == -other.z
    greater = signed_rank_asymptotic(
        difference, zeros=zeros, continuity=continuity, alternative="greater"
    ).p_value
    less = signed_rank_asymptotic(-difference, zeros=zeros, continuity=continuity, alternative="less").p_value
    assert greater == less


@settings(deadline=None)
@given(differences, zero_rules, st.sampled_from([0.25, 3.0, 1000.0]))
def test_neither_order_nor_unit_matters(difference, zeros, unit):
    expected = signed_rank_exact(difference, zeros=zeros).p_value
    assert signed_rank_exact(unit * difference[::-1], zeros=zeros).p_value == expected


@settings(deadline=None)
@given(differences, st.booleans(), st.sampled_from(["two-sided", "greater", "less"]))
def test_p_lies_above_zero_and_at_most_at_one(difference, continuity, alternative):
    for p in (
        signed_rank_exact(difference, alternative=alternative).p_value,
        signed_rank_asymptotic(difference, continuity=continuity, alternative=alternative).p_value,
    ):
        assert 0 < p <= 1


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40))
def test_distribution_is_symmetric_and_has_the_textbook_moments(n):
    distribution = null_distribution(2 * np.arange(1, n + 1))
    doubled = np.arange(distribution.size)
    assert distribution.sum() == pytest.approx(1)
    assert distribution == pytest.approx(distribution[::-1], rel=1e-12)
    mean = (doubled * distribution).sum() / 2
    assert mean == pytest.approx(n * (n + 1) / 4)
    variance = ((doubled / 2 - mean) ** 2 * distribution).sum()
    assert variance == pytest.approx(n * (n + 1) * (2 * n + 1) / 24)


@pytest.mark.parametrize(("n", "quantile"), [(6, 1), (9, 6), (10, 9), (15, 26), (20, 53)])
def test_qsignrank_025(n, quantile):
    # R: qsignrank(.025, n), the smallest value whose cumulative probability reaches .025.
    cumulative = np.cumsum(null_distribution(np.arange(1, n + 1)))
    assert np.searchsorted(cumulative, 0.025) == quantile


def test_agrees_with_scipy_where_scipy_is_right():
    difference = np.random.default_rng(1).normal(0.4, 1, 25)
    assert signed_rank_exact(difference).p_value == pytest.approx(
        stats.wilcoxon(difference, method="exact").pvalue
    )


def test_large_samples_stay_positive_and_agree_with_the_approximation():
    n = EXACT_LIMIT
    assert signed_rank_exact(np.arange(1, n + 1)).p_value == pytest.approx(2.0 ** (1 - n), rel=1e-9)
    assert signed_rank_asymptotic(np.arange(1, 5001), continuity=False).p_value > 0
    shifted = np.random.default_rng(2).normal(0.1, 1, 400)
    exact, asymptotic = signed_rank_exact(shifted), signed_rank_asymptotic(shifted, continuity=False)
    assert exact.p_value == pytest.approx(asymptotic.p_value, rel=0.02)


def test_a_correction_never_passes_the_expectation():
    # Rank sums lie half a rank apart, so the correction can reach the expectation but not turn the sign.
    for difference in ([1.0], [1.0, -1.0], [1.0, 2.0, -2.5]):
        result = signed_rank_asymptotic(difference, continuity=True)
        assert (result.z, result.p_value) == (0, 1)


@pytest.mark.parametrize(
    ("difference", "message"),
    [
        ([0, 0, 0], "every value is zero"),
        ([], "every value is zero|at least 1 needed"),
        ([1, np.nan], "nan at position 1: every value must be finite"),
        ([1, np.inf], "inf at position 1"),
        ([[1, 2]], r"shape \(1, 2\): must be one-dimensional"),
    ],
)
def test_what_cannot_be_tested_is_refused(difference, message):
    with pytest.raises(ValueError, match=message):
        signed_rank_exact(difference)
    with pytest.raises(ValueError, match=message):
        signed_rank_asymptotic(difference, continuity=True)


def test_unknown_options_and_too_many_values_are_refused():
    with pytest.raises(ValueError, match="zeros: 'zsplit': must be one of wilcox, pratt"):
        signed_rank_exact([1, 2], zeros="zsplit")
    with pytest.raises(ValueError, match="alternative: 'both': must be one of two-sided, greater, less"):
        signed_rank_exact([1, 2], alternative="both")
    with pytest.raises(ValueError, match="use signed_rank_asymptotic"):
        signed_rank_exact(np.arange(1, EXACT_LIMIT + 2))
