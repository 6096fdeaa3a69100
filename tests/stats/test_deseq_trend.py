"""Trend, prior and local fit of dispersions; see golden_deseq_rules/README.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.stats.deseq.local_fit import local_fit
from tasks.stats.deseq.prior import dispersion_prior
from tasks.stats.deseq.trend import dispersion_trend

GOLDEN = Path(__file__).parent / "golden_deseq_rules"
GENES = dict(iter(pd.read_csv(GOLDEN / "trend_genes.csv").groupby("set", sort=False)))
CURVES = dict(iter(pd.read_csv(GOLDEN / "trend_curves.csv").groupby(["set", "asked"])))
TRENDS = list(pd.read_csv(GOLDEN / "trends.csv").itertuples())
# Regressions of a few hundred numbers in other linear algebra; locfit's own solver stops at about 1e-8.
CLOSE = {"parametric": 1e-10, "mean": 1e-12, "local": 1e-6}
# Steps of the fine grid of prior variances.
STEP = 8 / 999


def _trend(row):
    genes = GENES[row.set]
    return dispersion_trend(genes.base_mean, genes.gene_wise, kind=row.asked)


def _name(row):
    return f"{row.set}-{row.asked}"


@pytest.mark.parametrize("row", TRENDS, ids=_name)
def test_the_trend_is_that_of_r(row):
    trend = _trend(row)
    assert trend.kind == row.fit
    assert bool(trend.note) == (row.asked != row.fit)
    curve = CURVES[row.set, row.asked]
    np.testing.assert_allclose(trend.at(curve["mean"]), curve.dispersion, rtol=CLOSE[trend.kind])
    if trend.kind == "parametric":
        assert trend.asymptotic == pytest.approx(row.asymptotic, rel=1e-10)
        assert trend.extra_poisson == pytest.approx(row.extra_poisson, rel=1e-10)


def test_the_golden_sets_hold_a_parametric_trend_that_fails():
    assert {row.fit for row in TRENDS if row.asked == "parametric"} == {"parametric", "local"}


@pytest.mark.parametrize("row", TRENDS, ids=_name)
def test_the_prior_is_that_of_r_within_the_scatter_of_its_seeds(row):
    genes = GENES[row.set]
    prior = dispersion_prior(
        genes.gene_wise, _trend(row).at(genes.base_mean), residual_df=int(row.residual_df)
    )
    # The median of residuals moves as little as the trend does.
    assert prior.residual_variance == pytest.approx(row.residual_variance, rel=1e-6)
    if row.residual_df > 3:
        assert prior.variance == pytest.approx(row.prior, rel=1e-5)
    else:
        # R draws: ours lies within three standard deviations of its seeds, or two steps of its grid.
        assert abs(prior.variance - row.prior_over_seeds) <= max(3 * row.prior_sd_of_seeds, 2 * STEP)


@pytest.mark.parametrize("df", [1, 2, 3])
def test_the_prior_finds_the_scatter_that_was_put_in(df):
    random = np.random.default_rng(5)
    truth = 1.5
    log_estimate = np.log(random.chisquare(df, 20_000) / df) + random.normal(0, np.sqrt(truth), 20_000)
    prior = dispersion_prior(np.exp(log_estimate), np.ones(20_000), residual_df=df)
    # The standard error of a variance estimated so from 20,000 draws is below .06.
    assert prior.variance == pytest.approx(truth, abs=0.2)


def test_the_prior_variance_has_a_lower_limit_and_says_so():
    prior = dispersion_prior(np.full(50, 0.2), np.full(50, 0.2), residual_df=8)
    assert prior.variance == 0.25
    assert "lower limit" in prior.method
    assert dispersion_prior(np.full(50, 1e-3), np.full(50, 1e3), residual_df=2).variance == 0.25


def test_scaling_the_means_scales_the_extra_poisson_part_alone():
    genes = GENES["pairs_12"]
    plain = dispersion_trend(genes.base_mean, genes.gene_wise)
    deeper = dispersion_trend(genes.base_mean * 1.5, genes.gene_wise)
    # Each fit ends when another round of genes would change it by less than 1e-3.
    assert deeper.extra_poisson == pytest.approx(1.5 * plain.extra_poisson, rel=2e-3)
    assert deeper.asymptotic == pytest.approx(plain.asymptotic, rel=2e-3)


def test_missing_genes_take_no_part_and_stay_missing():
    genes = GENES["pairs_12"]
    mean, own = np.append(genes.base_mean, [np.nan, 5.0]), np.append(genes.gene_wise, [0.5, np.nan])
    for kind in ("parametric", "local", "mean"):
        trend = dispersion_trend(mean, own, kind=kind)
        expected = dispersion_trend(genes.base_mean, genes.gene_wise, kind=kind)
        np.testing.assert_array_equal(trend.at(genes.base_mean), expected.at(genes.base_mean))
        assert np.isnan(trend.at(np.nan))


def test_too_few_genes_for_any_curve_give_the_mean_dispersion_with_the_reason():
    trend = dispersion_trend([10.0, 10.0, 10.0], [0.1, 0.2, 0.3])
    assert trend.kind == "mean"
    assert trend.at([1.0, 100.0]) == pytest.approx([0.2, 0.2])
    assert "parametric trend failed" in trend.note
    assert "local fit is not determined" in trend.note


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dispersion_trend([1.0, 2.0], [1e-8, 1e-7]), "none of 2 genes is above 1e-06"),
        (lambda: dispersion_trend([1.0, 0.0], [0.1, 0.1]), "base_mean: 0: must be positive"),
        (lambda: dispersion_trend([1.0], [0.1], kind="cubic"), "kind: 'cubic'"),
        (lambda: dispersion_trend([1.0, 2.0], [0.1]), "must be as many"),
        (lambda: dispersion_prior([0.1], [0.1], residual_df=0), "residual_df: 0"),
        (lambda: dispersion_prior([1e-8], [0.1], residual_df=2), "none of 1 genes reaches"),
        (lambda: local_fit([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, -1.0, 1.0]), "weight: -1"),
        (lambda: local_fit([1.0, 2.0, 2.0], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0]), "2 distinct"),
        (
            lambda: local_fit([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0]),
            "a parabola is not determined",
        ),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_parabola_is_its_own_local_fit():
    random = np.random.default_rng(3)
    x = random.uniform(-2, 5, 80)
    fit = local_fit(x, 3 - 2 * x + 0.5 * x**2, random.uniform(0.1, 10, 80))
    place = np.linspace(-4, 7, 50)
    # Exact algebra but for rounding, beyond the data too.
    np.testing.assert_allclose(fit.at(place), 3 - 2 * place + 0.5 * place**2, atol=1e-10)
