"""Adaptive shrinkage against the exact posterior of a known mixture, and the properties it must have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t

from tasks.stats.deseq import adaptive_shrinkage as module
from tasks.stats.deseq.adaptive_shrinkage import adaptive_shrinkage

GENES = 6000
NULL_SHARE = 0.85
WIDTH = 1.5


@pytest.fixture(scope="module")
def mixture():
    """Effects that are zero, or normal with a known width, measured with errors that differ."""
    random = np.random.default_rng(5)
    is_null = random.random(GENES) < NULL_SHARE
    effect = np.where(is_null, 0.0, random.normal(0, WIDTH, GENES))
    error = random.uniform(0.1, 0.6, GENES)
    return effect, error, effect + random.normal(0, error)


@pytest.fixture(scope="module")
def shrunk(mixture):
    _, error, estimate = mixture
    return adaptive_shrinkage(estimate, error)


def test_chance_of_no_effect_is_that_of_the_known_mixture(mixture, shrunk):
    _, error, estimate = mixture
    total = np.sqrt(error**2 + WIDTH**2)
    null = NULL_SHARE * norm.pdf(estimate, 0, error)
    truth = null / (null + (1 - NULL_SHARE) * norm.pdf(estimate, 0, total))
    # The mixture is estimated from 6,000 genes, not known, and leans towards no effect by design.
    assert np.abs(shrunk.local_fdr - truth).mean() < 0.03
    assert shrunk.null_share == pytest.approx(NULL_SHARE, abs=0.03)


def test_q_value_is_the_share_of_true_nulls_called(mixture, shrunk):
    effect = mixture[0]
    called = shrunk.q_value < 0.05
    # Some 800 genes are called: the standard error of the share is .008.
    assert called.sum() > 500
    assert (effect[called] == 0).mean() < 0.05 + 3 * 0.008


@pytest.mark.parametrize("effects", [[-1.5, 1.5], [1.5]])
def test_effects_of_one_size_are_told_from_errors(effects):
    """Normals about zero alone would call half as many nulls again."""
    random = np.random.default_rng(3)
    is_null = random.random(GENES) < NULL_SHARE
    error = random.uniform(0.1, 0.6, GENES)
    effect = np.where(is_null, 0.0, random.choice(effects, GENES))
    called = adaptive_shrinkage(effect + random.normal(0, error), error).q_value < 0.05
    assert called[~is_null].mean() > 0.85
    assert is_null[called].mean() < 0.05 + 2 * 0.008


def test_weights_satisfy_the_conditions_of_the_maximum(mixture):
    """No gradient exceeds the common multiplier at the maximum, and those in use equal it."""
    _, error, estimate = mixture
    centre, width = module._components(estimate, error)
    likelihood = norm.pdf(estimate[:, None], centre, np.sqrt(error[:, None] ** 2 + width**2))
    likelihood /= likelihood.max(axis=1, keepdims=True)
    weight = module._weights(likelihood)
    gradient = (likelihood / (likelihood @ weight)[:, None]).sum(axis=0)
    gradient[0] += (module._NULL_WEIGHT - 1) / weight[0]
    multiplier = GENES + module._NULL_WEIGHT - 1
    assert gradient.max() < multiplier * (1 + 1e-5)
    np.testing.assert_allclose(gradient[weight > 1e-6], multiplier, rtol=1e-5)


def test_without_effects_nothing_is_called():
    random = np.random.default_rng(11)
    error = random.uniform(0.1, 0.6, GENES)
    shrunk = adaptive_shrinkage(random.normal(0, error), error)
    assert shrunk.null_share > 0.95
    assert (shrunk.q_value > 0.05).all()


def test_a_small_df_widens_the_error_to_the_same_p_value():
    estimate, error = np.array([1.5, -2.0, 0.0, 5.0]), np.array([0.5, 0.5, 0.5, 0.5])
    widened = module._normal_error(estimate, error, np.full(4, 6.0))
    p_t = 2 * t.sf(np.abs(estimate) / error, 6)
    np.testing.assert_allclose(2 * norm.sf(np.abs(estimate) / widened)[[0, 1, 3]], p_t[[0, 1, 3]], rtol=1e-10)
    assert widened[2] == error[2]


def test_infinite_df_is_the_normal_distribution(mixture):
    _, error, estimate = mixture
    normal = adaptive_shrinkage(estimate, error)
    again = adaptive_shrinkage(estimate, error, degrees_of_freedom=np.full(GENES, np.inf))
    np.testing.assert_array_equal(normal.q_value, again.q_value)


@given(st.floats(0.01, 100), st.integers(0, 1000))
def test_unit_and_direction_of_the_effect_do_not_matter(scale, seed):
    random = np.random.default_rng(seed)
    error = random.uniform(0.1, 0.6, 40)
    estimate = random.normal(0, 1, 40)
    one = adaptive_shrinkage(estimate, error)
    other = adaptive_shrinkage(-scale * estimate, scale * error)
    np.testing.assert_allclose(other.local_fdr, one.local_fdr, rtol=1e-4, atol=1e-6)


def test_a_gene_without_an_estimate_stays_without():
    estimate = np.array([1.0, np.nan, -3.0, 0.2])
    shrunk = adaptive_shrinkage(estimate, np.full(4, 0.5))
    assert np.isnan(shrunk.q_value).tolist() == [False, True, False, False]
    rest = adaptive_shrinkage(estimate[[0, 2, 3]], np.full(3, 0.5))
    np.testing.assert_array_equal(shrunk.q_value[[0, 2, 3]], rest.q_value)


@pytest.mark.parametrize(
    ("estimate", "error", "says"),
    [([1.0, 2.0], [0.5, 0.0], "standard_error: 0"), ([1.0, np.nan], [0.5, 0.5], "1 genes have one")],
)
def test_unusable_estimates_are_refused(estimate, error, says):
    with pytest.raises(ValueError, match=says):
        adaptive_shrinkage(np.array(estimate), np.array(error))
