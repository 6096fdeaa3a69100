"""Properties that the statistics of gene sets must have, whatever the data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.stats.contingency import conditional_odds_ratio, fisher_exact
from tasks.stats.gene_sets.gsva import gsva
from tasks.stats.gene_sets.leading_edge import cluster_leading_edges
from tasks.stats.gene_sets.mean_z import mean_z
from tasks.stats.gene_sets.over_representation import over_representation
from tasks.stats.gene_sets.ssgsea import ssgsea
from tasks.stats.gene_sets.univariate_linear_model import univariate_linear_model

GENES, SAMPLES = 300, 10
SCORERS = [gsva, ssgsea, mean_z]


def _expression(seed=3):
    random = np.random.default_rng(seed)
    return random.normal(random.uniform(2, 12, GENES)[:, np.newaxis], 1, (GENES, SAMPLES))


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_set_raised_in_some_samples_scores_higher_there(scorer):
    values = _expression()
    values[:20, 5:] += 4
    score = scorer(values, [range(20), range(100, 140)]).score
    assert score[0, 5:].min() > score[0, :5].max()


@pytest.mark.parametrize("scorer", SCORERS)
def test_samples_in_another_order_have_the_same_scores(scorer):
    values, order = _expression(), np.random.default_rng(1).permutation(SAMPLES)
    sets = [range(20), range(50, 57)]
    # The order of the sums over the samples rounds differently.
    np.testing.assert_allclose(
        scorer(values[:, order], sets).score, scorer(values, sets).score[:, order], atol=1e-12
    )


@pytest.mark.parametrize("scorer", [gsva, mean_z])
def test_scores_against_other_samples_know_no_scale_of_a_gene(scorer):
    values = _expression()
    scaled = values * np.random.default_rng(2).uniform(0.5, 2, GENES)[:, np.newaxis] + 3
    np.testing.assert_allclose(
        scorer(scaled, [range(20)]).score, scorer(values, [range(20)]).score, atol=1e-9
    )


def test_a_monotone_scale_of_a_sample_does_not_change_its_ssgsea_score():
    values = _expression()
    np.testing.assert_allclose(
        ssgsea(np.exp(values), [range(20)]).score, ssgsea(values, [range(20)]).score, rtol=1e-12
    )


def test_gsva_depends_on_no_number_of_threads():
    values = _expression()
    one, three = (gsva(values, [range(20)], threads=threads).score for threads in (1, 3))
    assert (one == three).all()


def test_gsva_of_all_samples_alike_but_one_finds_that_one():
    values = np.tile(np.linspace(0, 10, GENES)[:, np.newaxis], (1, SAMPLES))
    values[:30, 0] += 1
    values[30:, 1] += 1
    score = gsva(values, [range(30)]).score[0]
    assert score.argmax() == 0
    assert score.argmin() == 1


@pytest.mark.parametrize("scorer", SCORERS)
def test_sets_without_a_gene_have_no_score(scorer):
    values = _expression()
    values[7] = 5.0
    result = scorer(values, [[], [3, 4]])
    assert np.isnan(result.score[0]).all()
    assert np.isfinite(result.score[1]).all()
    assert result.size.tolist() == [0, 2]


@pytest.mark.parametrize("scorer", [gsva, mean_z])
def test_genes_without_variation_take_no_part(scorer):
    values = _expression()
    values[7] = 5.0
    result = scorer(values, [[3, 4, 7], [7]])
    assert result.size.tolist() == [2, 0]
    assert result.n_genes == GENES - 1
    assert np.isnan(result.score[1]).all()


def test_a_set_of_all_genes_has_nothing_to_stand_against():
    assert np.isnan(gsva(_expression(), [range(GENES)]).score).all()
    assert np.isnan(ssgsea(_expression(), [range(GENES)]).score).all()


def test_mean_z_by_hand():
    score = mean_z([[1.0, 2.0, 3.0], [10.0, 30.0, 20.0]], [[0, 1]]).score
    np.testing.assert_allclose(score, [[-1.0, 0.5, 0.5]])


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize(
    ("values", "sets", "message"),
    [
        ([[1.0, np.nan], [1.0, 2.0]], [[0]], r"expression: nan at gene 0, sample 1: every value must be"),
        ([1.0, 2.0], [[0]], r"expression: shape \(2,\): must be genes by samples"),
        ([[1.0, 2.0], [2.0, 1.0]], [[2]], r"members: set 0: row 2 to 2: must be 0 to 1"),
        ([[1.0, 2.0], [2.0, 1.0]], [[0], [1, 1]], r"members: set 1: a gene stands more than once"),
        ([[1.0, 2.0], [2.0, 1.0]], [[0.5]], r"members: set 0: float64: must be row numbers"),
    ],
)
def test_bad_input_is_named(scorer, values, sets, message):
    with pytest.raises(ValueError, match=message):
        scorer(values, sets)


def test_gsva_needs_genes_that_vary():
    with pytest.raises(ValueError, match=r"expression: 0 gene\(s\) vary over the samples: at least 2"):
        gsva(np.ones((5, 4)), [[0]])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_over_representation_agrees_with_the_exact_table(data):
    n_genes = data.draw(st.integers(2, 400))
    n_called, size = data.draw(st.integers(1, n_genes - 1)), data.draw(st.integers(1, n_genes - 1))
    low, high = max(0, size + n_called - n_genes), min(size, n_called)
    found = data.draw(st.integers(low, high))
    result = over_representation([found], [size], n_called, n_genes)
    table = [[found, size - found], [n_called - found, n_genes - size - n_called + found]]
    estimate = conditional_odds_ratio(table)
    assert estimate.interval is not None
    assert result.p_value[0] == pytest.approx(fisher_exact(table, alternative="greater").p_value, rel=1e-9)
    for ours, theirs in (
        (result.odds_ratio[0], estimate.estimate),
        (result.odds_ratio_low[0], estimate.interval.low),
        (result.odds_ratio_high[0], estimate.interval.high),
    ):
        # The probabilities of the two solvers carry rounding of their own.
        assert ours == pytest.approx(theirs, rel=1e-7)


def test_sets_judged_together_are_judged_as_alone():
    random = np.random.default_rng(4)
    size = random.integers(1, 500, 200)
    found = random.hypergeometric(300, 9700, size)
    together = over_representation(found, size, 300, 10_000)
    for number in range(0, 200, 17):
        alone = over_representation(found[[number]], size[[number]], 300, 10_000)
        for name in ("p_value", "expected", "odds_ratio", "odds_ratio_low", "odds_ratio_high"):
            assert getattr(together, name)[number] == pytest.approx(getattr(alone, name)[0], rel=1e-9)


@pytest.mark.parametrize(
    ("found", "size", "n_called", "n_genes", "message"),
    [
        ([3], [2], 5, 10, "3 of a set of 2, with 5 of 10 genes called: no table"),
        ([0], [8], 5, 10, "0 of a set of 8, with 5 of 10 genes called: no table"),
        ([0], [8], 11, 10, "n_called: 11 of 10 genes"),
        ([0, 1], [8], 5, 10, "must be vectors as long"),
    ],
)
def test_margins_that_contradict_each_other_are_refused(found, size, n_called, n_genes, message):
    with pytest.raises(ValueError, match=message):
        over_representation(found, size, n_called, n_genes)


def test_activity_turns_with_the_weights_and_with_the_values():
    random = np.random.default_rng(5)
    values = random.normal(size=(200, 2))
    weight = np.zeros((3, 200))
    weight[0, :12], weight[1] = random.uniform(0.5, 1, 12), 0
    weight[2] = -weight[0]
    result = univariate_linear_model(values, weight)
    np.testing.assert_allclose(result.statistic[2], -result.statistic[0])
    np.testing.assert_allclose(univariate_linear_model(-values, weight).statistic[0], -result.statistic[0])
    assert np.isnan(result.statistic[1]).all()
    assert (result.n_targets.tolist(), result.df) == ([12, 0, 12], 198)


def test_activity_does_not_change_with_the_size_of_all_weights():
    values = np.random.default_rng(6).normal(size=(50, 1))
    weight = np.zeros((2, 50))
    weight[0, :6] = 1
    weight[1, :6] = 7.5
    result = univariate_linear_model(values, weight)
    assert result.statistic[0, 0] == pytest.approx(result.statistic[1, 0])
    assert np.isnan(univariate_linear_model(values, np.ones((1, 50))).statistic).all()


def test_activity_of_random_targets_is_rarely_called():
    random = np.random.default_rng(7)
    weight = np.zeros((400, 1000))
    for row in weight:
        row[random.choice(1000, 20, replace=False)] = random.choice([-1.0, 1.0], 20)
    p = univariate_linear_model(random.normal(size=(1000, 1)), weight).p_value[:, 0]
    # 400 draws at .05: 20 expected; beyond 9 and 34 lies a chance of one in a thousand on either side.
    assert 9 <= (p < 0.05).sum() <= 34


@pytest.mark.parametrize(
    ("values", "weight", "message"),
    [
        (np.ones((4, 1)), np.ones((1, 3)), r"weight: shape \(1, 3\) beside 4 genes"),
        (np.ones((2, 1)), np.ones((1, 2)), "values: 2 genes: at least 3 needed"),
        (np.ones((4, 1)), np.full((1, 4), np.inf), "every weight must be finite"),
    ],
)
def test_activity_names_bad_input(values, weight, message):
    with pytest.raises(ValueError, match=message):
        univariate_linear_model(values, weight)


def test_sets_with_one_leading_edge_are_one_cluster_led_by_the_strongest():
    edges = [range(20), range(1, 21), range(100, 110), range(20), [500]]
    clusters = cluster_leading_edges(edges, [1.5, 2.5, 3.0, 2.0, 1.0])
    assert clusters.cluster.tolist() == [2, 2, 1, 2, 3]
    assert clusters.representative.tolist() == [1, 1, 2, 1, 4]
    np.testing.assert_allclose(clusters.similarity, [19 / 21, 1, 1, 19 / 21, 1])


def test_a_set_inside_another_is_the_same_by_overlap_alone():
    edges = [range(40), range(4)]
    assert cluster_leading_edges(edges, [1, 2]).cluster.tolist() == [2, 1]
    assert cluster_leading_edges(edges, [1, 2], similarity="overlap").cluster.tolist() == [1, 1]


def test_no_set_makes_no_cluster():
    assert cluster_leading_edges([], []).cluster.size == 0


@pytest.mark.parametrize(
    ("edges", "strength", "options", "message"),
    [
        ([[0], []], [1, 1], {}, "edges: set 1: is empty"),
        ([[0], [1]], [1], {}, "strength: 1 value"),
        ([[0]], [1], {"least_similarity": 1.5}, "least_similarity: 1.5: must lie between"),
        ([[0]], [1], {"similarity": "dice"}, "similarity: 'dice': must be one of"),
    ],
)
def test_clusters_name_bad_input(edges, strength, options, message):
    with pytest.raises(ValueError, match=message):
        cluster_leading_edges(edges, strength, **options)
