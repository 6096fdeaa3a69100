"""What must hold of limma-voom whatever the counts: symmetries, limits, missing partners, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import polygamma

from tasks.stats.limma import (
    contrast_test,
    duplicate_correlation,
    filter_by_expr,
    tmm_factors,
    variance_prior,
    voom,
    voom_fit,
)
from tasks.stats.limma.empirical_bayes import trigamma_inverse
from tasks.stats.limma.gls import blocks_of, gls_fit, uncorrelated
from tasks.stats.lowess import lowess

SUBJECT = np.repeat(np.arange(6), 2)
VISIT = np.tile([0.0, 1.0], 6)
DESIGN = np.column_stack([np.ones(12), VISIT])
# Least squares of a dozen numbers by two routes.
CLOSE = 1e-9


def _counts(seed=1, genes=300, *, subject=SUBJECT, visit=VISIT, effect=0.0, spread=0.3):
    random = np.random.default_rng(seed)
    level = random.normal(4.5, 1.5, (genes, 1))
    of_subject = random.normal(size=(genes, subject.max() + 1))[:, subject]
    own = random.normal(size=(genes, len(subject)))
    return random.poisson(np.exp(level + spread * (of_subject + own) + effect * visit)).astype(float)


def test_swapping_the_visits_negates_the_test_and_nothing_else():
    count = _counts(effect=0.3)
    swapped = np.column_stack([np.ones(12), 1 - VISIT])
    there = contrast_test(voom_fit(count, DESIGN, block=SUBJECT), [0, 1])
    back = contrast_test(voom_fit(count, swapped, block=SUBJECT), [0, 1])
    np.testing.assert_allclose(back.statistic, -there.statistic, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(back.p_value, there.p_value, rtol=1e-6)


def test_neither_the_order_of_samples_nor_the_names_of_subjects_matter():
    count = _counts()
    order = np.random.default_rng(3).permutation(12)
    names = np.array(list("fbeadc"))[SUBJECT]
    plain = voom_fit(count, DESIGN, block=SUBJECT)
    shuffled = voom_fit(count[:, order], DESIGN[order], block=names[order])
    assert shuffled.correlation == pytest.approx(plain.correlation, abs=1e-7)
    np.testing.assert_allclose(shuffled.variance, plain.variance, rtol=1e-5)


def test_the_coding_of_the_design_does_not_matter_to_a_contrast():
    count = _counts()
    cells = np.column_stack([1 - VISIT, VISIT])
    one = contrast_test(voom_fit(count, DESIGN, block=SUBJECT), [0, 1])
    other = contrast_test(voom_fit(count, cells, block=SUBJECT), [-1, 1])
    np.testing.assert_allclose(other.statistic, one.statistic, rtol=1e-6, atol=1e-9)


def test_a_given_correlation_of_zero_is_the_fit_without_blocks():
    count = _counts()
    without = voom_fit(count, DESIGN)
    zero = voom_fit(count, DESIGN, block=SUBJECT, correlation=0.0)
    np.testing.assert_allclose(zero.variance, without.variance, rtol=CLOSE)


def test_generalised_least_squares_are_those_of_the_whole_matrices():
    random = np.random.default_rng(2)
    block = np.array([0, 0, 1, 2, 2, 2, 1, 3, 4, 4])
    design = np.column_stack([np.ones(10), random.normal(50, 10, 10), random.normal(size=10)])
    y, weight = random.normal(5, 1, (4, 10)), random.uniform(0.2, 5, (4, 10))
    fit = gls_fit(y, design, weight=weight, blocks=blocks_of(block), correlation=0.4)
    for gene in range(4):
        correlation = np.where(np.eye(10, dtype=bool), 1.0, 0.4 * np.equal.outer(block, block))
        inverse = np.linalg.inv(correlation / np.sqrt(np.outer(weight[gene], weight[gene])))
        expected = np.linalg.solve(design.T @ inverse @ design, design.T @ inverse @ y[gene])
        left = y[gene] - design @ expected
        np.testing.assert_allclose(fit.coefficient[gene], expected, rtol=1e-8)
        assert fit.variance[gene] == pytest.approx(left @ inverse @ left / 7, rel=CLOSE)


def test_without_weights_it_is_the_fit_with_equal_ones():
    y = np.random.default_rng(4).normal(size=(5, 12))
    for blocks, rho in ((blocks_of(SUBJECT), 0.6), (uncorrelated(12), 0.0)):
        plain = gls_fit(y, DESIGN, blocks=blocks, correlation=rho)
        equal = gls_fit(y, DESIGN, weight=np.ones_like(y), blocks=blocks, correlation=rho)
        np.testing.assert_allclose(plain.variance, equal.variance, rtol=CLOSE)
        np.testing.assert_allclose(plain.coefficient, equal.coefficient, rtol=CLOSE, atol=1e-12)


def test_in_complete_pairs_the_correlation_has_its_textbook_value():
    # Means within and between pairs: (MSB - MSW) / (MSB + MSW), the intraclass correlation, visits taken out.
    y = np.random.default_rng(5).normal(size=(40, 6))[:, SUBJECT] + np.random.default_rng(6).normal(
        size=(40, 12)
    )
    left = y - np.stack([y[:, visit == VISIT].mean(axis=1) for visit in (0, 1)], axis=1)[:, VISIT.astype(int)]
    mean = left.reshape(40, 6, 2).mean(axis=2)
    between = 2 * np.square(mean).sum(axis=1) / 5
    within = np.square(left.reshape(40, 6, 2) - mean[:, :, None]).sum(axis=(1, 2)) / 5
    expected = np.clip((between - within) / (between + within), -0.99, 0.99)
    np.testing.assert_allclose(duplicate_correlation(y, DESIGN, SUBJECT).by_gene, expected, atol=1e-7)


def test_the_consensus_is_near_the_truth_with_missing_partners():
    subject, visit = np.repeat(np.arange(20), 2), np.tile([0.0, 1.0], 20)
    kept = np.delete(np.arange(40), [1, 6, 13, 20])
    random = np.random.default_rng(7)
    y = random.normal(size=(4000, 20))[:, subject] + random.normal(size=(4000, 40))
    design = np.column_stack([np.ones(40), visit])
    # True .5; the mean of Fisher's z of 4000 genes has a standard error of .004, and a bias of 1 / (2 n).
    found = duplicate_correlation(y[:, kept], design[kept], subject[kept])
    assert found.correlation == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("subject", "design", "words"),
    [
        (np.arange(12), DESIGN, "no subject has two samples"),
        (SUBJECT, np.column_stack([np.equal.outer(SUBJECT, np.arange(6)).astype(float), VISIT]), "contains"),
        (np.concatenate([[0, 0], np.arange(1, 11)]), DESIGN, "do not tell"),
    ],
)
def test_data_that_cannot_tell_the_correlation_say_so(subject, design, words):
    found = duplicate_correlation(np.random.default_rng(8).normal(size=(20, 12)), design, subject)
    assert found.correlation == 0
    assert words in found.note
    fit = voom_fit(_counts(), design, block=subject)
    assert fit.correlation == 0
    assert any(words in note for note in fit.notes)


def test_genes_without_residuals_have_no_correlation_and_the_others_do():
    y = np.random.default_rng(9).normal(size=(10, 12))
    y[3] = 0
    found = duplicate_correlation(y, DESIGN, SUBJECT)
    assert np.flatnonzero(np.isnan(found.by_gene)).tolist() == [3]
    nothing = duplicate_correlation(np.zeros((3, 12)), DESIGN, SUBJECT)
    assert nothing.correlation == 0
    assert "no gene varies" in nothing.note


def test_singles_add_power_that_complete_pairs_alone_do_not_have():
    subject = np.concatenate([np.repeat(np.arange(6), 2), np.arange(6, 14)])
    visit = np.concatenate([np.tile([0.0, 1.0], 6), np.repeat([0.0, 1.0], 4)])
    design = np.column_stack([np.ones(20), visit])
    count = _counts(10, subject=subject, visit=visit)
    # With given library sizes only the weights of single genes differ between the two.
    paired = voom_fit(count[:, :12], design[:12], block=subject[:12])
    every = voom_fit(count, design, block=subject)
    ratio = contrast_test(every, [0, 1]).standard_error / contrast_test(paired, [0, 1]).standard_error
    # Independent: (1 - rho) 2 / 6 within six pairs, 2 / 4 between four and four singles; rho is about .5.
    assert np.median(ratio) == pytest.approx(np.sqrt(1 / (1 + (1 - 0.5) * 2 / 6 / (2 / 4))), abs=0.08)


def test_a_planted_change_is_found_with_its_size():
    fit = voom_fit(_counts(11, effect=0.0), DESIGN, block=SUBJECT)
    count = _counts(11, effect=0.0)
    count[:20] = _counts(12, genes=20, effect=1.5)
    changed = contrast_test(voom_fit(count, DESIGN, block=SUBJECT), [0, 1])
    same = contrast_test(fit, [0, 1])
    assert np.median(changed.estimate[:20]) == pytest.approx(1.5 / np.log(2), abs=0.4)
    assert np.median(changed.p_value[:20]) < 1e-3
    assert 0.35 < np.median(same.p_value) < 0.65


def test_p_values_are_never_zero_and_agree_with_the_t_distribution():
    count = _counts(13, effect=0.0, spread=0.01)
    count[0] = np.where(VISIT == 1, 1e6, 1)
    test = contrast_test(voom_fit(count, DESIGN, block=SUBJECT), [0, 1])
    assert test.p_value.min() > 0
    ordinary = test.p_value > 1e-12
    expected = 2 * stats.t.sf(np.abs(test.statistic), test.df)
    np.testing.assert_allclose(test.p_value[ordinary], expected[ordinary], rtol=1e-10)


def test_a_weaker_prior_is_what_hypervariable_genes_get():
    random = np.random.default_rng(14)
    variance = random.chisquare(6, 500) / 6
    variance[:10] *= 200
    plain, robust = variance_prior(variance, 6), variance_prior(variance, 6, is_robust=True)
    assert (robust.df[:10] < 1).all()
    assert np.median(robust.df) > plain.df[0]
    assert (robust.posterior[:10] > 10).all()


def test_too_few_genes_to_cut_any_have_the_plain_prior():
    variance = [0.1, 2.0, 0.4, 7.0]
    np.testing.assert_array_equal(
        variance_prior(variance, 3, is_robust=True).df, variance_prior(variance, 3).df
    )


def test_equal_variances_are_outlying_only_beyond_chance():
    variance = stats.chi2.ppf((np.arange(200) + 0.5) / 200, 5) / 5
    variance[-1] = 40
    robust = variance_prior(variance, 5, is_robust=True)
    assert np.isinf(robust.df[:-1]).all()
    assert robust.df[-1] < 1
    assert robust.posterior[-1] > 20


@given(st.floats(1e-9, 1e9))
def test_trigamma_is_inverted(value):
    # The limits for small and large values are good to 1e-6, relatively, where they take over.
    assert float(polygamma(1, trigamma_inverse(value))) == pytest.approx(value, rel=1e-3)
    if 1e-6 < value < 1e7:
        assert float(polygamma(1, trigamma_inverse(value))) == pytest.approx(value, rel=1e-10)


@settings(max_examples=50)
@given(st.lists(st.floats(-100, 100), min_size=8, max_size=40, unique=True), st.floats(0.3, 1))
def test_a_straight_line_is_its_own_curve(x, span):
    x = np.sort(x)
    y = 3 - 0.5 * x
    # Not robust: the residuals are rounding, and so would be the weights.
    curve = lowess(x, y, span=span, iterations=0)
    # Where a window is narrower than a thousandth of the range, its mean stands for the line. Any of n
    # values is within sqrt(n) weighted standard deviations of their mean, its own weight being the largest.
    assert np.abs(curve - y).max() <= 0.5 * 0.001 * (x[-1] - x[0]) * np.sqrt(len(x)) + 1e-9


def test_a_scaled_library_has_the_same_factor_and_the_factors_multiply_to_one():
    count = _counts(15)
    factor = tmm_factors(count)
    assert np.prod(factor) == pytest.approx(1, rel=1e-12)
    deeper = count * np.array([1, 7] * 6)
    np.testing.assert_allclose(tmm_factors(deeper), factor, rtol=0.02)
    np.testing.assert_allclose(tmm_factors(np.repeat(count[:, :1], 3, axis=1)), 1)


def test_a_few_genes_that_take_half_of_a_library_do_not_shift_the_others():
    count = _counts(16, spread=0.02)
    count[:3, 0] = count[:, 0].sum()
    effective = count.sum(axis=0) * tmm_factors(count)
    ratio = effective[0] / np.median(effective[1:])
    clean = _counts(16, spread=0.02)
    assert ratio == pytest.approx(clean[:, 0].sum() / np.median(clean.sum(axis=0)[1:]), rel=0.05)


def test_libraries_that_share_no_gene_have_factor_one():
    assert tmm_factors([[5, 0], [0, 9], [3, 0]]).tolist() == [1, 1]


def test_a_count_right_at_the_cutoff_is_kept():
    # Three libraries of a million each: ten counts are ten per million, in as many samples as a group has.
    count = np.array([[10, 10, 0, 0], [10, 9, 0, 0], [10, 10, 10, 10], [0, 0, 7, 8]], dtype=float)
    count = np.vstack([count, 1_000_000 - count.sum(axis=0)])
    assert filter_by_expr(count, group=["a", "a", "b", "b"]).tolist() == [True, False, True, False, True]
    assert filter_by_expr(count).tolist() == [False, False, True, False, True]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: voom_fit([[1, -1, 2]], np.ones((3, 1))), "count: -1 in row 0, column 1"),
        (lambda: voom_fit([[1, np.nan, 2]], np.ones((3, 1))), "count: nan in row 0, column 1"),
        (lambda: voom_fit([1, 2, 3], np.ones((3, 1))), "must be a matrix"),
        (lambda: voom_fit(np.ones((0, 3)), np.ones((3, 1))), "a row and a column"),
        (lambda: voom_fit(np.ones((3, 3)), np.ones((3, 2))), "rank 1 of 2 columns"),
        (lambda: voom_fit(np.ones((3, 3)), np.eye(3)), "more samples are needed"),
        (lambda: voom_fit(np.ones((3, 3)), np.ones((4, 1))), "design: 4"),
        (lambda: voom_fit(_counts(), DESIGN, block=[1, 2]), "block: 2"),
        (lambda: voom_fit(_counts(), DESIGN, block=[[1, 2]]), "block: shape"),
        (lambda: voom_fit(_counts(), DESIGN, block=SUBJECT, correlation=1), "correlation: 1"),
        (lambda: voom_fit(_counts(), DESIGN, block=SUBJECT, correlation=-1.0), "between -1 and 1"),
        (lambda: voom_fit(_counts(), DESIGN, block=SUBJECT, rounds=0), "rounds: 0"),
        (lambda: voom_fit(_counts() * (np.arange(12) > 0), DESIGN), "library_size: 0 of sample 0"),
        (lambda: voom([[0, 0, 0], [1, 2, 3]], np.ones((3, 1))), "1 gene"),
        (lambda: filter_by_expr(np.ones((2, 3)), design=np.ones((3, 1)), group=[1, 1, 2]), "only one"),
        (lambda: duplicate_correlation(np.ones((2, 12)), DESIGN, SUBJECT, weight=np.ones((1, 12))), "shape"),
        (
            lambda: duplicate_correlation(np.ones((2, 12)), DESIGN, SUBJECT, weight=np.zeros((2, 12))),
            "positive",
        ),
        (lambda: variance_prior([1, 2, -1], 3), "variance: -1"),
        (lambda: variance_prior([0, 0, 1], 3), "zero in half"),
        (lambda: variance_prior([1, 2, 3], 3, covariate=[1]), "covariate: 1"),
        (lambda: contrast_test(voom_fit(_counts(), DESIGN), [0, 0]), "contrast: every value is zero"),
        (lambda: contrast_test(voom_fit(_counts(), DESIGN), [1]), "contrast: 1"),
        (lambda: lowess([2, 1], [1, 2]), "must ascend"),
        (lambda: lowess([1, 2], [1, 2], span=0), "span: 0"),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()
