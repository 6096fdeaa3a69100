"""The engine against R's DESeq2 on seven simulated sets; see golden_deseq_core/README.md."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tasks.stats.deseq.cox_reid import adjusted_profile_likelihood
from tasks.stats.deseq.dispersion import gene_wise_dispersion, map_dispersion
from tasks.stats.deseq.glm import fit_glm
from tasks.stats.deseq.likelihood_ratio import likelihood_ratio_test
from tasks.stats.deseq.model import fit_deseq
from tasks.stats.deseq.size_factors import median_of_ratios
from tasks.stats.deseq.wald import wald_test

GOLDEN = Path(__file__).parent / "golden_deseq_core"
SETS = (
    "six_pairs",
    "three_pairs",
    "missing_pair",
    "four_against_four",
    "eight_with_outliers",
    "covariate",
    "shallow",
)
# R's iterations end where the deviance of a gene, some hundreds, changes by less than 1e-8 of itself: a
# coefficient is then within sqrt(1e-6) of a standard error of the maximum.
OF_A_STANDARD_ERROR = 1e-3


@cache
def _golden(name):
    with (GOLDEN / f"{name}_genes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    genes = {
        column: np.array([float(row[column].replace("NA", "nan")) for row in rows]) for column in rows[0]
    }
    with (GOLDEN / f"{name}_shared.csv").open(newline="") as file:
        shared = next(csv.DictReader(file))
    samples = np.loadtxt(GOLDEN / f"{name}_samples.csv", delimiter=",", skiprows=1)
    return SimpleNamespace(
        count=np.loadtxt(GOLDEN / f"{name}_counts.csv", delimiter=","),
        size_factor=samples[:, 0],
        design=samples[:, 1:],
        prior_variance=float(shared["prior_variance"]),
        residual_variance=float(shared["residual_variance"]),
        kind=shared["kind"],
        **genes,
    )


@cache
def _fit(name):
    r = _golden(name)
    return fit_deseq(r.count, r.design)


def _last(r):
    contrast = np.zeros(r.design.shape[1])
    contrast[-1] = 1
    return contrast


@pytest.mark.parametrize("name", SETS)
def test_size_factors_and_base_means_are_those_of_r(name):
    r, fit = _golden(name), _fit(name)
    # R's values are kept with 11 digits.
    np.testing.assert_allclose(median_of_ratios(r.count), r.size_factor, rtol=1e-10)
    np.testing.assert_allclose(fit.base_mean, r.base_mean, rtol=1e-10)


@pytest.mark.parametrize("name", SETS)
def test_the_adjusted_likelihood_is_that_of_r_and_the_dispersion_nowhere_worse(name):
    r = _golden(name)
    seen = ~np.isnan(r.gene_wise_first)
    count, dispersion = r.count[seen], r.gene_wise_first[seen]
    ours = gene_wise_dispersion(count, r.size_factor, r.design)
    at_r = adjusted_profile_likelihood(count, ours.mean, r.design, np.log(dispersion))
    # The means of groups are equal to the last digits. Those of a regression are not, and without the terms
    # in the means alone the likelihood changes with them to first order.
    difference = np.abs(at_r - r.likelihood_first[seen])
    if name in {"four_against_four", "eight_with_outliers"}:
        assert difference.max() < 1e-5
    else:
        assert np.median(difference) < 1e-3
        assert (difference < 1e-4 * np.abs(at_r)).all()
    at_ours = adjusted_profile_likelihood(count, ours.mean, r.design, np.log(ours.dispersion))
    # A root to within 1e-8 leaves nothing but rounding of sums of some 1e5.
    assert (at_ours > at_r - 1e-8).mean() >= 0.999
    assert (at_ours > at_r - 1e-2).all()


@pytest.mark.parametrize("name", SETS)
def test_the_genes_that_shape_the_trend_are_those_of_r(name):
    r = _golden(name)
    seen = ~np.isnan(r.gene_wise_first)
    ours = gene_wise_dispersion(r.count[seen], r.size_factor, r.design).dispersion
    differ = (ours >= 1e-6) != (r.gene_wise_first[seen] >= 1e-6)
    assert differ.sum() <= 1


@pytest.mark.parametrize("name", [name for name in SETS if name != "eight_with_outliers"])
def test_shrunken_dispersions_are_those_of_r_given_its_trend_and_prior(name):
    r = _golden(name)
    seen = ~np.isnan(r.dispersion)
    mean = gene_wise_dispersion(r.count[seen], r.size_factor, r.design).mean
    ours = map_dispersion(
        r.count[seen],
        mean,
        r.design,
        r.gene_wise[seen],
        r.fitted[seen],
        r.prior_variance,
        residual_variance=r.residual_variance,
    )
    ratio = np.log(ours.shrunken / r.shrunken[seen])
    # R stops where a step gains less than 1e-6 of log likelihood, short of the mode by a few thousandths.
    assert np.median(np.abs(ratio)) < 1e-4
    assert np.quantile(np.abs(ratio), 0.99) < 0.03
    np.testing.assert_array_equal(ours.is_outlier, r.is_outlier[seen] == 1)

    def posterior(dispersion):
        return adjusted_profile_likelihood(
            r.count[seen],
            mean,
            r.design,
            np.log(dispersion),
            prior_mean=np.log(r.fitted[seen]),
            prior_variance=r.prior_variance,
        )

    assert (posterior(ours.shrunken) > posterior(r.shrunken[seen]) - 1e-6).all()


@pytest.mark.parametrize("name", [name for name in SETS if name != "eight_with_outliers"])
def test_coefficients_are_those_of_r_given_its_dispersions(name):
    r = _golden(name)
    seen = ~np.isnan(r.dispersion)
    fit = fit_glm(r.count[seen], r.size_factor, r.design, r.dispersion[seen])
    difference = np.abs(fit.coefficient[:, -1] / np.log(2) - r.log2_fold_change[seen])
    assert np.median(difference) < 1e-5
    of_error = difference / r.standard_error[seen]
    # Where a sample's mean falls below the threshold the iterations have more than one end: a gene or two.
    assert (of_error > OF_A_STANDARD_ERROR).sum() <= 2
    np.testing.assert_array_equal(fit.converged, np.ones(seen.sum(), dtype=bool))


@pytest.mark.parametrize("name", SETS)
def test_the_whole_course_gives_the_genes_of_r(name):
    r, fit = _golden(name), _fit(name)
    test = wald_test(fit, _last(r))
    np.testing.assert_array_equal(np.isnan(test.p_value), np.isnan(r.log2_fold_change))
    seen = ~np.isnan(r.log2_fold_change)
    assert np.median(np.abs(test.estimate / np.log(2) - r.log2_fold_change)[seen]) < 1e-3
    ours, theirs = test.p_value[seen] < 0.01, r.p_value[seen] < 0.01
    # One gene in some twenty may lie on the threshold.
    assert (ours ^ theirs).sum() <= 1
    assert theirs.sum() >= 8
    assert fit.trend.kind == r.kind
    np.testing.assert_array_equal(fit.is_replaced, r.is_replaced == 1)


def test_the_genes_with_outliers_are_fitted_again():
    r, fit = _golden("eight_with_outliers"), _fit("eight_with_outliers")
    planted = [2, 49, 110]
    assert fit.is_replaced[planted].all()
    assert not fit.is_cooks_outlier.any()
    again = np.flatnonzero(fit.is_replaced)
    # The trend is fitted anew from our own dispersions, and shifts them by so much.
    np.testing.assert_allclose(fit.dispersion[again], r.dispersion[again], rtol=0.03)
    kept = fit_deseq(r.count, r.design, min_replicates_for_replace=9)
    assert not kept.is_replaced.any()
    assert kept.is_cooks_outlier[planted].all()
    assert (kept.dispersion[planted] > 3 * fit.dispersion[planted]).all()


@pytest.mark.parametrize("name", ["six_pairs", "missing_pair", "four_against_four", "covariate"])
def test_likelihood_ratios_are_those_of_r(name):
    r, fit = _golden(name), _fit(name)
    test = likelihood_ratio_test(fit, r.design[:, :-1])
    assert test.df == 1
    seen = ~np.isnan(r.likelihood_ratio)
    # The statistic follows the dispersion, whose trend we estimate ourselves.
    difference = np.abs(test.statistic - r.likelihood_ratio)[seen]
    assert np.median(difference / (1 + r.likelihood_ratio[seen])) < 1e-3
    assert np.quantile(difference / (1 + r.likelihood_ratio[seen]), 0.95) < 0.02
