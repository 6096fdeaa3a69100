"""Small statistics behind the quality of samples: robust scores, components, biweight, permutation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from tasks.stats.biweight import biweight_midcorrelation
from tasks.stats.location_scale import mad_scores, median_and_mad
from tasks.stats.principal_components import principal_components
from tasks.stats.restricted_permutation import permutation_association


def test_median_and_mad_are_those_of_scipy():
    values = np.random.default_rng(1).normal(3, 2, 41)
    centre, spread = median_and_mad(values)
    assert centre == np.median(values)
    # scipy divides by the normal quantile, which the factor 1.4826 (as R's mad) rounds.
    assert spread == pytest.approx(stats.median_abs_deviation(values, scale="normal"), rel=1e-5)


def test_mad_scores_leave_unknown_ones_out_and_need_spread():
    scores = mad_scores(np.array([1.0, 2, 3, 4, 100, np.nan]))
    assert np.isnan(scores[-1])
    assert scores[2] == 0
    assert scores[4] == pytest.approx(97 / 1.4826)
    assert np.isnan(mad_scores(np.ones(4))).all()
    assert np.isnan(mad_scores(np.full(3, np.nan))).all()


def test_components_give_back_the_data_with_orthogonal_scores():
    value = np.random.default_rng(2).normal(0, 1, (40, 9))
    found = principal_components(value)
    centred = value - value.mean(axis=1, keepdims=True)
    assert np.allclose(found.loading @ found.score.T, centred)
    assert found.variance_share.sum() == pytest.approx(1)
    assert np.all(np.diff(found.variance_share) <= 0)
    assert found.score.shape == (9, 8)  # nine centred samples span eight dimensions
    largest = found.loading[np.abs(found.loading).argmax(axis=0), np.arange(8)]
    assert (largest > 0).all()


def test_variance_of_components_is_that_of_the_covariance_matrix():
    value = np.random.default_rng(3).normal(0, 1, (5, 30)) * np.arange(1, 6)[:, None]
    eigenvalue = np.sort(np.linalg.eigvalsh(np.cov(value)))[::-1]
    assert np.allclose(principal_components(value).variance_share, eigenvalue / eigenvalue.sum())


def test_components_of_nothing_and_bad_input():
    assert principal_components(np.ones((3, 4))).score.shape == (4, 0)
    assert principal_components(np.random.default_rng(0).normal(0, 1, (9, 6)), at_most=2).score.shape == (
        6,
        2,
    )
    with pytest.raises(ValueError, match="two samples or more"):
        principal_components(np.ones((3, 1)))
    with pytest.raises(ValueError, match="finite"):
        principal_components(np.array([[1.0, np.nan], [1, 2]]))


def biweight_by_the_book(x, y):
    """Return the biweight midcorrelation from the weighted midvariances, term by term."""

    def weights(values):
        u = (values - np.median(values)) / (9 * np.median(np.abs(values - np.median(values))))
        return np.where(np.abs(u) < 1, (1 - u**2) ** 2, 0)

    a = (x - np.median(x)) * weights(x)
    b = (y - np.median(y)) * weights(y)
    return (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())


def test_biweight_midcorrelation_by_the_book_and_unmoved_by_one_value():
    rng = np.random.default_rng(4)
    x = rng.normal(0, 1, 30)
    value = np.column_stack([x, x + rng.normal(0, 0.5, 30), rng.normal(0, 1, 30)])
    found = biweight_midcorrelation(value)
    for one, other in itertools.combinations(range(3), 2):
        assert found[one, other] == pytest.approx(biweight_by_the_book(value[:, one], value[:, other]))
    assert np.allclose(np.diag(found), 1)
    spoiled = value.copy()
    spoiled[0, 1] = 1e6
    assert abs(biweight_midcorrelation(spoiled)[0, 1] - found[0, 1]) < 0.1
    assert np.corrcoef(spoiled[:, 0], spoiled[:, 1])[0, 1] < 0.5


def test_biweight_without_spread_is_pearson_and_of_a_constant_unknown():
    x = np.array([0.0, 0, 0, 0, 1, 0, 2])
    y = np.array([0.0, 0, 0, 0, 2, 0, 1])
    assert biweight_midcorrelation(np.column_stack([x, y]))[0, 1] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert np.isnan(biweight_midcorrelation(np.column_stack([np.ones(7), x]))[0, 1])
    with pytest.raises(ValueError, match="finite"):
        biweight_midcorrelation(np.array([[np.nan, 1.0]]))


def test_few_samples_are_counted_out_exactly():
    value = np.array([[1.0], [2], [4], [7]])
    predictor = np.array([[1.0], [2], [3], [4]])
    found = permutation_association(value, predictor, np.zeros(4, dtype=int), seed=1)
    correlations = [
        np.corrcoef(value[list(order), 0], predictor[:, 0])[0, 1] ** 2
        for order in itertools.permutations(range(4))
    ]
    observed = np.corrcoef(value[:, 0], predictor[:, 0])[0, 1] ** 2
    assert found.is_exact
    assert found.seed is None
    assert found.n_arrangements == 24
    assert found.r_squared[0] == pytest.approx(observed)
    assert found.p_value[0] == np.mean([one >= observed - 1e-12 for one in correlations])


def test_pairs_are_turned_within_pairs_only():
    # Four pairs, all higher after: of 16 arrangements that one and its mirror image are as extreme.
    value = np.array([1.0, 2, 5, 6.5, 3, 4.2, 9, 9.9])[:, None]
    predictor = np.tile(np.eye(2), (4, 1))
    found = permutation_association(value, predictor, np.repeat(np.arange(4), 2), seed=1)
    assert found.n_arrangements == 16
    assert found.p_value[0] == 2 / 16
    difference = np.array([1, 1.5, 1.2, 0.9])
    assert found.r_squared[0] == pytest.approx(4 * difference.mean() ** 2 / (difference**2).sum())


def test_many_samples_are_drawn_and_agree_with_the_analysis_of_variance():
    rng = np.random.default_rng(5)
    level = np.repeat(np.arange(3), 20)
    value = rng.normal(0, 1, (60, 2)) + np.outer(level * 0.35, [1, 0])
    found = permutation_association(value, np.eye(3)[level], np.zeros(60, dtype=int), seed=3)
    assert not found.is_exact
    assert found.n_arrangements == 10_000
    for column in range(2):
        by_f = stats.f_oneway(*(value[level == code, column] for code in range(3))).pvalue
        # Normal values: both tests are valid and agree within three standard errors of 10,000 draws, and .01.
        assert found.p_value[column] == pytest.approx(by_f, abs=0.01 + 3 * np.sqrt(by_f * (1 - by_f) / 1e4))
    again = permutation_association(value, np.eye(3)[level], np.zeros(60, dtype=int), seed=3)
    assert np.array_equal(found.p_value, again.p_value)


def test_p_is_uniform_without_association_within_blocks():
    rng = np.random.default_rng(6)
    block = np.repeat(np.arange(6), 4)
    predictor = rng.normal(0, 1, (24, 1))
    value = rng.normal(0, 1, (24, 300)) + rng.normal(0, 5, (6, 300))[block]
    p_value = permutation_association(value, predictor, block, n_resamples=999, seed=2).p_value
    # 300 independent tests: 3 standard errors of a share of .05 or .5.
    assert abs((p_value <= 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 300)
    assert abs((p_value <= 0.5).mean() - 0.5) < 3 * np.sqrt(0.25 / 300)


def test_a_constant_value_explains_nothing_and_shapes_must_agree():
    found = permutation_association(np.ones((5, 1)), np.arange(5.0)[:, None], np.zeros(5, dtype=int), seed=1)
    assert found.r_squared[0] == 0
    assert found.p_value[0] == 1
    with pytest.raises(ValueError, match="as many rows"):
        permutation_association(np.ones((5, 1)), np.ones((4, 1)), np.zeros(5, dtype=int), seed=1)
