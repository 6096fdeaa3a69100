"""Properties of the engine that need no oracle, and its refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import nbinom, poisson, t

from tasks.stats.deseq.blocks import each_block, gene_blocks
from tasks.stats.deseq.bounded_glm import bounded_fit
from tasks.stats.deseq.cox_reid import Profile, adjusted_profile_likelihood
from tasks.stats.deseq.dispersion import gene_wise_dispersion, max_dispersion
from tasks.stats.deseq.glm import fit_glm
from tasks.stats.deseq.likelihood_ratio import likelihood_ratio_test, signed_root
from tasks.stats.deseq.model import fit_deseq
from tasks.stats.deseq.roots import bracketed_root
from tasks.stats.deseq.size_factors import median_of_ratios
from tasks.stats.deseq.strata import analysed_design
from tasks.stats.deseq.wald import wald_test

PAIRS = 6


def simulated(genes=300, seed=11, depth=4.5):
    random = np.random.default_rng(seed)
    mean = np.exp(random.normal(depth, 1.5, genes))
    dispersion = (0.05 + 2 / mean) * np.exp(random.normal(0, 0.5, genes))
    of_subject = np.tile(random.normal(0, 0.4, (genes, PAIRS)), 2)
    change = np.where(random.random(genes) < 0.2, random.normal(0, 1, genes), 0.0)
    log_mean = np.log(mean)[:, None] + of_subject + change[:, None] * np.repeat([0, 1], PAIRS)
    size = 1 / dispersion[:, None]
    return random.negative_binomial(size, size / (size + np.exp(log_mean))).astype(float)


def design(pairs=PAIRS):
    subject = np.tile(np.arange(pairs), 2)
    dummies = (subject[:, None] == np.arange(1, pairs)).astype(float)
    return np.column_stack([np.ones(2 * pairs), dummies, np.repeat([0.0, 1.0], pairs)])


CHANGE = np.eye(PAIRS + 1)[-1]


@pytest.fixture(scope="module")
def counts():
    return simulated()


@pytest.fixture(scope="module")
def fit(counts):
    return fit_deseq(counts, design())


def test_size_factors_where_every_gene_has_a_zero():
    count = np.array([[0.0, 4.0, 8.0], [2.0, 0.0, 8.0], [3.0, 6.0, 0.0], [0.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match="every gene has a zero"):
        median_of_ratios(count)
    # By hand: the geometric means with zeros as ones are 32^(1/3), 16^(1/3) and 18^(1/3).
    centre = np.array([32.0, 16.0, 18.0]) ** (1 / 3)
    expected = [
        np.exp(np.mean(np.log([2 / centre[1], 3 / centre[2]]))),
        np.exp(np.mean(np.log([4 / centre[0], 6 / centre[2]]))),
        np.exp(np.mean(np.log([8 / centre[0], 8 / centre[1]]))),
    ]
    np.testing.assert_allclose(median_of_ratios(count, kind="poscounts"), expected, rtol=1e-14)


def test_size_factors_follow_the_depth_of_a_library(counts):
    present = counts[(counts > 0).all(axis=1)]
    factor = median_of_ratios(present)
    deeper = present.copy()
    deeper[:, 3] *= 8
    changed = median_of_ratios(deeper)
    assert changed[3] / factor[3] / (changed[0] / factor[0]) == pytest.approx(8, rel=1e-12)


def test_an_empty_library_is_named():
    with pytest.raises(ValueError, match=r"no count at all in sample\(s\) 1"):
        median_of_ratios([[3.0, 0.0], [1.0, 0.0]])


def test_the_slope_is_the_derivative_of_the_likelihood(counts):
    present = counts[counts.any(axis=1)]
    mean = np.maximum(present.mean(axis=1, keepdims=True), 0.5) * np.ones(2 * PAIRS)
    structure = analysed_design(design())
    centre = np.full(len(present), -1.0)
    profile = Profile(count=present, mean=mean, design=structure, prior_mean=centre, prior_variance=0.7)
    at, step, everyone = np.linspace(-5, 1, len(present)), 1e-4, slice(None)
    numeric = (profile.likelihood(at + step, everyone) - profile.likelihood(at - step, everyone)) / (2 * step)
    # Rounding of a likelihood of 1e5 in a difference over 2e-4.
    np.testing.assert_allclose(profile.slope(at, everyone), numeric, rtol=1e-5, atol=1e-4)


def test_the_likelihood_is_that_of_the_negative_binomial_at_every_size():
    """Differences between dispersions, so that the terms left out cancel; near zero, against Poisson."""
    count, mean = np.array([[0.0, 3.0, 40.0, 900.0]]), np.array([[0.6, 4.0, 30.0, 1000.0]])
    constant = np.ones((4, 1))

    def by_scipy(dispersion):
        size, weight = 1 / dispersion, mean / (1 + mean * dispersion)
        log_likelihood = nbinom.logpmf(count, size, 1 / (1 + mean * dispersion)).sum()
        return log_likelihood - 0.5 * np.log(weight.sum())

    def ours(dispersion):
        return adjusted_profile_likelihood(count, mean, constant, [np.log(dispersion)])[0]

    for dispersion in (1e-5, 0.99e-4, 1.01e-4, 0.01, 1.0, 30.0):
        # scipy's own terms cancel to some 1e-10 of 1e5 at small dispersions.
        assert ours(dispersion) - ours(0.1) == pytest.approx(by_scipy(dispersion) - by_scipy(0.1), abs=1e-6)
    at_zero = poisson.logpmf(count, mean).sum() - 0.5 * np.log(mean.sum())
    assert ours(1e-8) - ours(0.1) == pytest.approx(at_zero - by_scipy(0.1), abs=1e-3)


def test_no_dispersion_on_a_fine_grid_beats_the_one_found():
    count = simulated(genes=80, seed=5, depth=2.5)
    count = count[count.any(axis=1)]
    found = gene_wise_dispersion(count, np.ones(2 * PAIRS), design())
    best = adjusted_profile_likelihood(count, found.mean, design(), np.log(found.dispersion))
    rises = found.dispersion > 1e-8
    for point in np.linspace(np.log(1e-8), np.log(max_dispersion(2 * PAIRS)), 200):
        there = adjusted_profile_likelihood(count, found.mean, design(), np.full(len(count), point))
        assert (there <= best + 1e-8)[rises].all()
    # The others vary less than Poisson counts by their own rough estimate, and stay at the bound.
    assert 0.5 < rises.mean() < 1


def test_roots_are_found_to_the_tolerance():
    target = np.array([-3.0, 0.1, 2.5, 7.9])

    def function(at, gene):
        return np.expm1(target[gene] - at)

    gene = np.arange(4)
    ends = np.tile([[-8.0], [8.0]], (1, 4))
    values = np.stack([function(end, gene) for end in ends])
    np.testing.assert_allclose(bracketed_root(function, gene, ends, values), target, atol=1e-8)


def test_the_bounded_optimiser_reaches_the_maximum_of_the_likelihood(counts):
    structure = analysed_design(design())
    count = counts[:5]
    alpha = np.array([0.1, 0.5, 2.0, 0.05, 1.0])
    log_ratio, converged = bounded_fit(
        count, np.zeros(2 * PAIRS), structure, alpha, np.zeros(count.shape), ridge=1e-6
    )
    assert converged.all()
    for gene in range(5):
        size = 1 / alpha[gene]

        def loss(coefficient, y=count[gene], size=size):
            mean = np.exp(design() @ coefficient)
            return -nbinom.logpmf(y, size, size / (size + mean)).sum()

        start = np.linalg.lstsq(design(), np.log(count[gene] + 0.5), rcond=None)[0]
        theirs = minimize(loss, start, method="BFGS", options={"gtol": 1e-7}).fun
        ours = loss(np.linalg.lstsq(design(), log_ratio[gene], rcond=None)[0])
        assert ours <= theirs + 1e-6


def test_a_gene_seen_at_one_visit_only_comes_to_rest_within_the_bounds():
    structure = analysed_design(design())
    count = np.concatenate([np.zeros(PAIRS), np.full(PAIRS, 20.0)])[None]
    log_ratio, converged = bounded_fit(
        count, np.zeros(2 * PAIRS), structure, np.array([0.1]), np.zeros((1, 2 * PAIRS)), ridge=1e-6
    )
    change = structure.coefficient(log_ratio)[0, -1] / np.log(2)
    assert converged.all()
    assert 15 < change <= 30


def test_the_fit_is_where_the_score_is_zero(counts):
    present = counts[(counts > 5).all(axis=1)]
    alpha = np.full(len(present), 0.2)
    fit = fit_glm(present, np.ones(2 * PAIRS), design(), alpha)
    score = ((present - fit.mean) / (1 + alpha[:, None] * fit.mean)) @ design()
    assert np.abs(score).max() < 1e-2
    np.testing.assert_allclose(fit.leverage.sum(axis=1), PAIRS + 1, rtol=1e-9)


def test_the_result_does_not_depend_on_the_number_of_threads(counts, fit):
    repeated = np.tile(counts, (12, 1))
    assert len(gene_blocks(*repeated.shape)) > 2
    one, three = (fit_deseq(repeated, design(), threads=threads) for threads in (1, 3))
    for name in ("dispersion", "coefficient", "mean", "leverage", "cooks", "gene_wise_dispersion"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))


def test_an_error_in_a_block_is_raised():
    def work(block):
        raise ArithmeticError(block)

    with pytest.raises(ArithmeticError):
        each_block(work, 10_000, 10, threads=2)


def test_swapping_the_visits_turns_the_sign(counts, fit):
    order = np.roll(np.arange(2 * PAIRS), PAIRS)
    swapped = wald_test(fit_deseq(counts[:, order], design()), CHANGE)
    test = wald_test(fit, CHANGE)
    # Iterations start elsewhere and end within 1e-8 of the deviance.
    error = np.abs(swapped.estimate + test.estimate) / test.standard_error
    assert np.nanquantile(error, 0.99) < 1e-3


def test_another_basis_of_the_design_gives_the_same_contrast(counts, fit):
    means = design().copy()
    means[:, 0] = 1 - means[:, 1:-1].sum(axis=1)
    other = wald_test(fit_deseq(counts, means), CHANGE)
    test = wald_test(fit, CHANGE)
    np.testing.assert_allclose(other.estimate, test.estimate, atol=1e-8)
    np.testing.assert_allclose(other.p_value, test.p_value, rtol=1e-6)


def test_genes_without_a_count_have_empty_rows_and_move_no_other(counts, fit):
    with_empty = np.insert(counts, [0, 7], 0.0, axis=0)
    wider = fit_deseq(with_empty, design())
    empty = np.array([0, 8])
    test = wald_test(wider, CHANGE)
    assert np.isnan(test.p_value[empty]).all()
    assert np.isnan(wider.dispersion[empty]).all()
    assert not wider.converged[empty].any()
    np.testing.assert_array_equal(np.delete(wider.dispersion, empty), fit.dispersion)
    ratio = likelihood_ratio_test(wider, design()[:, :-1])
    assert np.isnan(ratio.statistic[empty]).all()
    assert not np.isnan(np.delete(ratio.p_value, empty)).any()


def test_a_gene_that_does_not_shape_the_trend_moves_no_other(counts, fit):
    strange = np.full((1, 2 * PAIRS), 3.0)
    strange[0, ::2] = 90_000
    mask = np.append(np.ones(len(counts), dtype=bool), False)
    wider = fit_deseq(np.concatenate([counts, strange]), design(), shapes_trend=mask)
    np.testing.assert_array_equal(wider.dispersion[:-1], fit.dispersion)
    np.testing.assert_array_equal(wider.coefficient[:-1], fit.coefficient)
    assert np.isfinite(wider.dispersion[-1])


def test_wald_and_likelihood_ratio_agree_on_precise_genes(counts, fit):
    precise = fit.base_mean > 200
    wald = wald_test(fit, CHANGE).statistic[precise] ** 2
    ratio = likelihood_ratio_test(fit, design()[:, :-1]).statistic[precise]
    assert np.corrcoef(wald, ratio)[0, 1] > 0.98
    assert (ratio > -1e-6).all()


def test_the_signed_root_is_the_likelihood_ratio_with_the_sign_of_the_effect(fit):
    contrast = CHANGE - np.eye(PAIRS + 1)[1]
    root = signed_root(fit, contrast)
    # Written out: without the contrast the two coefficients are one.
    design_without = np.delete(fit.design, 1, axis=1)
    design_without[:, -1] = fit.design[:, -1] + fit.design[:, 1]
    ratio = likelihood_ratio_test(fit, design_without)
    far = np.abs(root.statistic) > 0.1
    np.testing.assert_allclose(root.statistic[far] ** 2, ratio.statistic[far], rtol=1e-5)
    np.testing.assert_allclose(root.p_value[far], ratio.p_value[far], rtol=1e-5)
    np.testing.assert_array_equal(root.estimate, wald_test(fit, contrast).estimate)
    np.testing.assert_allclose(root.estimate / root.standard_error, root.statistic, rtol=1e-9)


def test_a_t_distribution_can_take_the_place_of_the_normal_one(fit):
    normal, student = wald_test(fit, CHANGE), wald_test(fit, CHANGE, df=5)
    np.testing.assert_allclose(student.p_value, 2 * t.sf(np.abs(normal.statistic), 5))


def test_counts_that_vary_no_more_than_poisson_are_fitted_without_trend():
    fit = fit_deseq(np.full((20, 8), 50.0), np.column_stack([np.ones(8), np.repeat([0.0, 1.0], 4)]))
    assert fit.trend is None
    assert fit.prior is None
    assert "no gene varies more than a Poisson count" in fit.notes[0]
    np.testing.assert_allclose(wald_test(fit, [0.0, 1.0]).estimate, 0, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": np.full((3, 12), 1.5)}, "1.5 at gene 0, sample 0 .*whole number"),
        ({"count": np.full((3, 12), -1.0)}, "whole number, zero or more"),
        ({"count": np.zeros((3, 12))}, "no count at all"),
        ({"count": np.zeros((3, 12)), "size_factor": np.ones(12)}, "every count is zero"),
        ({"count": np.ones(12)}, "must be genes x samples"),
        ({"design": np.ones((11, 1))}, "11 rows beside 12 samples"),
        ({"design": np.eye(12)}, "12 samples with 12 coefficients"),
        ({"size_factor": np.zeros(12)}, "finite and above zero"),
        ({"size_factor": np.ones(3)}, "one for each of 12 samples"),
        ({"shapes_trend": np.ones(3)}, "must be 4 booleans"),
    ],
)
def test_bad_input_is_refused(change, message):
    given = {"count": np.arange(48.0).reshape(4, 12), "design": design(), **change}
    with pytest.raises(ValueError, match=message):
        fit_deseq(given.pop("count"), given.pop("design"), **given)


@pytest.mark.parametrize(
    ("contrast", "message"), [([1.0], "has 7 coefficients"), (np.zeros(7), "not all zero")]
)
def test_a_contrast_that_is_none_is_refused(fit, contrast, message):
    with pytest.raises(ValueError, match=message):
        wald_test(fit, contrast)


@pytest.mark.parametrize(
    ("reduced", "message"),
    [
        (design(), "7 columns: must be fewer"),
        (np.ones((5, 1)), "5 rows: the design has 12"),
        (np.arange(12.0)[:, None] ** 2, "must be nested"),
    ],
)
def test_a_reduced_design_that_is_not_nested_is_refused(fit, reduced, message):
    with pytest.raises(ValueError, match=message):
        likelihood_ratio_test(fit, reduced)
