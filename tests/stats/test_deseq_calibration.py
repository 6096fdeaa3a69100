"""Dispersions that are right on average, and tests that hold their level with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from tasks.stats.deseq.calibration import calibrated
from tasks.stats.deseq.likelihood_ratio import signed_root
from tasks.stats.deseq.model import fit_deseq
from tasks.stats.deseq.wald import wald_test

GENES, PAIRS = 3000, 6
SUBJECT = np.tile(np.arange(PAIRS), 2)
DESIGN = np.column_stack(
    [np.ones(2 * PAIRS), SUBJECT[:, None] == np.arange(1, PAIRS), np.repeat([0, 1], PAIRS)]
).astype(float)
CHANGE = np.eye(PAIRS + 1)[-1]
MIDDLE, SCATTER = 0.1, 0.9


@pytest.fixture(scope="module")
def simulated():
    """Return counts without any effect, and their true dispersions."""
    random = np.random.default_rng(8)
    mean = np.exp(random.normal(6, 1, GENES))
    dispersion = MIDDLE * np.exp(random.normal(0, SCATTER, GENES))
    level = np.exp(np.log(mean)[:, None] + np.tile(random.normal(0, 0.3, (GENES, PAIRS)), 2))
    size = 1 / dispersion[:, None]
    return random.negative_binomial(size, size / (size + level)).astype(float), dispersion


@pytest.fixture(scope="module")
def fit(simulated):
    return fit_deseq(simulated[0], DESIGN)


@pytest.fixture(scope="module")
def again(fit):
    return calibrated(fit)


def test_the_trend_moves_to_the_middle_of_the_logarithms(simulated, fit, again):
    # The mean of log-normal values lies above their middle by half the variance of the logarithm.
    assert np.median(np.log(fit.fitted_dispersion / MIDDLE)) == pytest.approx(SCATTER**2 / 2, abs=0.12)
    assert np.median(np.log(again.fit.fitted_dispersion / MIDDLE)) == pytest.approx(0, abs=0.12)
    assert again.fit.prior.variance == pytest.approx(SCATTER**2, rel=0.3)


def test_tests_without_an_effect_hold_their_level(fit, again):
    root = signed_root(again.fit, CHANGE)
    p_value = 2 * t.sf(np.abs(root.statistic), again.degrees_of_freedom)
    # Of 3,000 genes: the standard errors are .004 and .0006.
    assert (p_value < 0.05).mean() == pytest.approx(0.05, abs=0.012)
    assert (p_value < 0.001).mean() < 0.003
    # What this is for: the usual test lets through several times as many of the extreme ones.
    assert (wald_test(fit, CHANGE).p_value < 0.001).mean() > 0.004


def test_a_gene_is_known_between_its_own_samples_and_all_genes(simulated, again):
    residual = PAIRS - 1
    plenty = simulated[0].mean(axis=1) > 2000
    df = again.degrees_of_freedom[plenty & ~again.fit.is_dispersion_outlier]
    assert residual < df.min()
    alone = again.degrees_of_freedom[plenty & again.fit.is_dispersion_outlier]
    assert alone.max() < np.median(df)
    # Few reads: the variance is mostly that of counting, which is known.
    rare = again.degrees_of_freedom[simulated[0].mean(axis=1) < 30]
    assert np.median(rare) > np.median(df)


def test_genes_without_a_count_and_genes_that_do_not_shape_move_no_other(simulated, again):
    counts = simulated[0][:400]
    silent = np.zeros((1, counts.shape[1]))
    odd = np.tile([5000.0, 1.0], PAIRS)[None]
    shapes = np.arange(402) < 401
    more = np.vstack([counts, silent, odd])
    plain = calibrated(fit_deseq(counts, DESIGN))
    wider = calibrated(
        fit_deseq(more, DESIGN, size_factor=plain.fit.size_factor, shapes_trend=shapes), shapes_trend=shapes
    )
    np.testing.assert_allclose(wider.fit.dispersion[:400], plain.fit.dispersion, rtol=1e-9)
    np.testing.assert_allclose(wider.degrees_of_freedom[:400], plain.degrees_of_freedom, rtol=1e-9)
    assert np.isnan(wider.degrees_of_freedom[400])
    assert np.isfinite(wider.degrees_of_freedom[401])


def test_without_a_trend_the_fit_stays_and_has_its_residual_degrees_of_freedom(fit):
    bare = replace(fit, trend=None, prior=None)
    found = calibrated(bare)
    assert found.fit is bare
    assert np.nanmin(found.degrees_of_freedom) > 0.9 * (PAIRS - 1)
