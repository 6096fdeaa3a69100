"""Genes that leave a contrast without an estimate, against simple rules and the profile likelihood."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize
from scipy.special import expit

from tasks.stats.deseq.estimability import not_estimable


def _paired(subjects, cells=2):
    subject, cell = (part.ravel() for part in np.mgrid[:subjects, :cells])
    levels = subject[:, None] == np.arange(1, subjects)
    return np.column_stack([np.ones(subject.size), levels, cell[:, None] == np.arange(1, cells)]).astype(
        float
    )


def _last(design):
    return np.eye(design.shape[1])[-1]


def _best(count, design, contrast, target, dispersion=0.3):
    """Return the highest log-likelihood with the contrast near the target, or anywhere if that is None."""
    hold = 0.0 if target is None else 10.0

    def loss(coefficient):
        log_mean = design @ coefficient
        odds = log_mean + np.log(dispersion)
        miss = contrast @ coefficient - (target or 0.0)
        value = ((count + 1 / dispersion) * np.logaddexp(0, odds) - count * log_mean).sum()
        slope = design.T @ ((count + 1 / dispersion) * expit(odds) - count)
        return value + hold * miss**2, slope + 2 * hold * miss * contrast

    start = np.zeros(design.shape[1]) if target is None else target * contrast / (contrast @ contrast)
    return -minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-7, "maxiter": 2000}).fun


def test_two_groups_need_a_count_in_each():
    design = np.column_stack([np.ones(6), np.repeat([0.0, 1.0], 3)])
    count = np.array(
        [[0, 0, 0, 1, 0, 4], [1, 0, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0], [5] * 6]
    )
    expected = [True, True, False, True, False]
    np.testing.assert_array_equal(not_estimable(count, design, _last(design)), expected)
    # The level of the first group is another question.
    np.testing.assert_array_equal(
        not_estimable(count, design, np.array([1.0, 0.0])), [True, False, False, True, False]
    )


@settings(max_examples=60, deadline=None)
@given(arrays(np.int64, (12, 5, 2), elements=st.integers(0, 1)))
def test_pairs_need_a_count_at_each_visit(count):
    # Both visits must have a count; that of one subject need not be in the other's pair, for the sum over
    # subjects of the likelihoods then falls both ways.
    design = _paired(5)
    expected = ~(count.any(axis=1).all(axis=1))
    np.testing.assert_array_equal(not_estimable(count.reshape(12, 10), design, _last(design)), expected)


def test_subjects_without_counts_and_incomplete_pairs_say_nothing():
    design = np.delete(_paired(4), 7, axis=0)  # the last subject has no second visit
    count = np.array(
        [
            [3, 2, 0, 0, 1, 4, 0],  # one subject silent: the others decide
            [3, 0, 0, 0, 1, 0, 9],  # nobody has a second visit's count
            [0, 3, 0, 2, 0, 1, 9],  # the only first-visit count has no partner
            [0, 3, 1, 0, 0, 0, 0],
        ]
    )
    np.testing.assert_array_equal(not_estimable(count, design, _last(design)), [False, True, True, False])


def test_agrees_with_the_profile_likelihood_far_out_in_a_factorial_design():
    random = np.random.default_rng(20261123)
    design = _paired(4, cells=4)
    count = random.poisson(0.35, (40, 16))
    difference = np.zeros(design.shape[1])
    difference[-2:] = -1, 1
    for contrast in (_last(design), difference):
        called = not_estimable(count, design, contrast)
        # Where the contrast runs off, the likelihood at an effect of 15 is short of its supremum by e^-15 or
        # so; where it has an estimate, by what a few counts say against a three-million-fold change.
        short = [
            _best(gene, design, contrast, None)
            - max(_best(gene, design, contrast, target) for target in (15.0, -15.0))
            for gene in count
        ]
        np.testing.assert_array_equal(called, np.array(short) < 0.01)
        assert 5 < called.sum() < 35


def test_a_continuous_covariate_that_separates_zeros():
    age = np.array([31.0, 42.0, 50.0, 58.0, 63.0, 70.0])
    design = np.column_stack([np.ones(6), age])
    count = np.array([[0, 0, 0, 0, 0, 3], [0, 0, 0, 0, 2, 3], [3, 0, 0, 0, 0, 3], [0, 0, 4, 0, 0, 0]])
    # A count at one extreme only can be approached by an ever steeper slope; two counts fix the line.
    expected = [True, False, False, False]
    np.testing.assert_array_equal(not_estimable(count, design, _last(design)), expected)
    # Units do not matter.
    np.testing.assert_array_equal(not_estimable(count, design * [1, 365.25], _last(design)), expected)


def test_the_coding_of_the_design_does_not_matter():
    random = np.random.default_rng(7)
    design = _paired(5, cells=3)
    count = random.poisson(0.4, (200, 15))
    mixing = np.eye(design.shape[1]) + np.tri(design.shape[1], k=-1)
    contrast = _last(design)
    direct = not_estimable(count, design, contrast)
    assert 10 < direct.sum() < 190
    np.testing.assert_array_equal(not_estimable(count, design @ mixing, contrast @ mixing), direct)
    np.testing.assert_array_equal(not_estimable(count, design, -2.5 * contrast), direct)
    order = random.permutation(15)
    np.testing.assert_array_equal(not_estimable(count[:, order], design[order], contrast), direct)


def test_counts_everywhere_are_always_enough():
    design = _paired(6)
    count = np.random.default_rng(3).poisson(5, (50, 12)) + 1
    assert not not_estimable(count, design, _last(design)).any()


@pytest.mark.parametrize(
    ("count", "design", "contrast", "message"),
    [
        (np.ones(4), np.ones((4, 1)), np.ones(1), "count: shape"),
        (np.ones((2, 4)), np.ones((3, 1)), np.ones(1), "design: shape"),
        (np.ones((2, 4)), np.ones((4, 2)), np.ones(2), "design: rank 1 of 2"),
        (np.ones((2, 4)), np.ones((4, 1)), np.ones(2), "contrast: shape"),
        (np.ones((2, 4)), np.ones((4, 1)), np.zeros(1), "contrast: zero"),
    ],
)
def test_says_what_is_wrong(count, design, contrast, message):
    with pytest.raises(ValueError, match=message):
        not_estimable(count, design, contrast)
