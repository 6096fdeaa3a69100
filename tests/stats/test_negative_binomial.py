from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pydeseq2 import utils
from pydeseq2.default_inference import DefaultInference
from scipy.stats import norm

from tasks.stats.negative_binomial import dispersion_trend, glm_fit, paired_dispersion, wald_test

SUBJECTS = 8


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(7)
    genes = 60
    size_factor = random.uniform(0.6, 1.6, 2 * SUBJECTS)
    level = random.lognormal(5, 1.2, genes)[:, None]
    subject = random.lognormal(0, 0.4, (genes, SUBJECTS))
    mean = level * np.tile(subject, 2) * size_factor
    mean[:10, SUBJECTS:] *= 3
    dispersion = random.uniform(0.02, 0.6, genes)
    size = 1 / dispersion[:, None]
    count = random.negative_binomial(size, size / (size + mean)).astype(float)
    identity = np.eye(SUBJECTS)[:, 1:]
    visit = np.repeat([0.0, 1.0], SUBJECTS)
    design = np.column_stack([np.ones(2 * SUBJECTS), np.tile(identity, (2, 1)), visit])
    return count, size_factor, design, dispersion


@pytest.fixture(scope="module")
def fit(data):
    return glm_fit(*data, min_mean=0.5, tolerance=1e-8)


def test_fit_equals_the_gene_by_gene_fit(data, fit):
    count, size_factor, design, dispersion = data
    for gene in np.flatnonzero(~fit.has_diverged):
        coefficient, mean, leverage, _ = utils.irls_solver(count[gene], size_factor, design, dispersion[gene])
        np.testing.assert_allclose(fit.coefficient[gene], coefficient, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(fit.mean[gene], mean, rtol=1e-7)
        np.testing.assert_allclose(fit.leverage[gene], leverage, rtol=1e-6)
    assert (~fit.has_diverged).sum() >= 55


def test_fit_solves_the_score_equation_of_the_visit(data, fit):
    count, _, design, dispersion = data
    weight = 1 / (1 + fit.mean * dispersion[:, None])
    score = ((count - fit.mean) * weight) @ design[:, -1]
    assert np.abs(score[count.min(axis=1) > 5]).max() < 1e-2


def test_exchanging_the_visits_negates_the_effect_and_keeps_its_error(data, fit):
    count, size_factor, design, dispersion = data
    turn = np.r_[SUBJECTS : 2 * SUBJECTS, 0:SUBJECTS]
    turned = glm_fit(count[:, turn], size_factor[turn], design, dispersion, min_mean=0.5, tolerance=1e-8)
    # Where a fitted mean is held at its least value the path matters: only well expressed genes are compared.
    well = count.min(axis=1) > 5
    np.testing.assert_allclose(turned.coefficient[well, -1], -fit.coefficient[well, -1], atol=1e-4)
    contrast, ridge = np.r_[np.zeros(SUBJECTS), 1.0], 1e-6 * np.eye(SUBJECTS + 1)
    one = wald_test(fit.coefficient, fit.mean, dispersion, design=design, contrast=contrast, ridge=ridge)
    two = wald_test(
        turned.coefficient, turned.mean, dispersion, design=design, contrast=contrast, ridge=ridge
    )
    np.testing.assert_allclose(two.standard_error[well], one.standard_error[well], rtol=1e-3)


def test_a_gene_without_reads_at_one_visit_diverges_or_is_far_out():
    count = np.r_[np.zeros(SUBJECTS), np.full(SUBJECTS, 5.0)][None, :]
    design = np.column_stack([np.ones(2 * SUBJECTS), np.repeat([0.0, 1.0], SUBJECTS)])
    fit = glm_fit(count, np.ones(2 * SUBJECTS), design, np.array([0.1]), min_mean=1e-12, tolerance=1e-8)
    assert fit.has_diverged[0] or fit.coefficient[0, -1] > 10


def test_wald_test_equals_the_gene_by_gene_test(data, fit):
    _, _, design, dispersion = data
    contrast, ridge = np.r_[np.zeros(SUBJECTS), 1.0], 1e-6 * np.eye(SUBJECTS + 1)
    test = wald_test(fit.coefficient, fit.mean, dispersion, design=design, contrast=contrast, ridge=ridge)
    for gene in range(len(dispersion)):
        p_value, statistic, error = utils.wald_test(
            design, dispersion[gene], fit.coefficient[gene], fit.mean[gene], ridge, contrast, 0.0, None
        )
        assert test.statistic[gene] == pytest.approx(statistic, rel=1e-9)
        assert test.standard_error[gene] == pytest.approx(error, rel=1e-9)
        assert test.p_value[gene] == pytest.approx(p_value, rel=1e-7)


@pytest.mark.parametrize("prior_variance", [None, 0.8])
def test_dispersion_maximises_the_adjusted_likelihood(data, fit, prior_variance):
    # L-BFGS-B stops when the gain is a few parts in 1e9 of a likelihood of about 100, which leaves the log
    # dispersion free by about the root of that; hence the tolerance.
    count, _, design, _ = data
    start = np.full(len(count), 0.1)
    ours = paired_dispersion(count, fit.mean, start, bounds=(1e-8, 16.0), prior_variance=prior_variance)
    theirs = np.array(
        [
            utils.fit_alpha_mle(
                count[gene], design, fit.mean[gene], 0.1, 1e-8, 16.0, prior_variance,
                prior_reg=prior_variance is not None,
            )[0]
            for gene in range(len(count))
        ]
    )  # fmt: skip
    # A gene whose likelihood rises towards no overdispersion has no maximum; anything tiny will do.
    inside = theirs > 1e-4
    assert inside.sum() >= 50
    np.testing.assert_allclose(np.log(ours[inside]), np.log(theirs[inside]), atol=2e-4)
    assert (ours[~inside] < 1e-3).all()


def test_a_dispersion_that_starts_at_the_lower_bound_stays_there(data, fit):
    count = data[0]
    start = np.full(len(count), 1e-8)
    dispersion = paired_dispersion(count, fit.mean, start, bounds=(1e-8, 16.0))
    np.testing.assert_allclose(dispersion, start)


def test_trend_finds_the_curve_through_its_noise():
    random = np.random.default_rng(3)
    inverse_mean = 1 / random.lognormal(5, 1.5, 4000)
    dispersion = (0.05 + 4 * inverse_mean) * random.gamma(4, 1 / 4, 4000)
    dispersion[:40] *= 1000
    dispersion[40:400] = 1e-8
    trend = dispersion_trend(dispersion, inverse_mean, min_dispersion=1e-6)
    assert trend.status == "converged"
    # Standard error of a mean of 3600 gamma variables with a coefficient of variation of one half: under 1 %.
    assert trend.asymptotic == pytest.approx(0.05, rel=0.05)
    assert trend.extra_poisson == pytest.approx(4, rel=0.05)


def test_trend_equals_the_default_one_where_no_gene_is_left_out():
    random = np.random.default_rng(4)
    inverse_mean = 1 / random.lognormal(4, 1, 800)
    dispersion = (0.1 + 2 * inverse_mean) * random.uniform(0.5, 1.5, 800)
    trend = dispersion_trend(dispersion, inverse_mean, min_dispersion=1e-6)
    coefficient, _, _ = DefaultInference(n_cpus=1).dispersion_trend_gamma_glm(
        pd.Series(inverse_mean), pd.Series(dispersion)
    )
    assert [trend.asymptotic, trend.extra_poisson] == pytest.approx(list(coefficient), rel=1e-3)


def test_trend_that_falls_below_zero_is_said_not_to_fit():
    inverse_mean = np.linspace(0.001, 1, 200)
    trend = dispersion_trend(2 - 1.9 * inverse_mean, inverse_mean, min_dispersion=1e-6)
    assert trend.status == "not_positive"


def test_p_value_is_two_sided(data, fit):
    _, _, design, dispersion = data
    contrast = np.r_[np.zeros(SUBJECTS), 1.0]
    test = wald_test(
        fit.coefficient,
        fit.mean,
        dispersion,
        design=design,
        contrast=contrast,
        ridge=1e-6 * np.eye(SUBJECTS + 1),
    )
    np.testing.assert_allclose(test.p_value, 2 * norm.cdf(-np.abs(test.statistic)))
