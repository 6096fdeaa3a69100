"""Shrunken effects against apeglm and R's optimiser, see golden_apeglm/README.md, and by the model."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import integrate, stats

from tasks.stats.deseq.shrinkage import apeglm_shrinkage, cauchy_scale, contrast_as_coefficient, s_value

GOLDEN = Path(__file__).parent / "golden_apeglm"
BY_OPTIMISER = ("paired", "three_groups", "covariate")
BY_APEGLM = ("apeglm_condition", "apeglm_wide_prior", "apeglm_group_condition", "apeglm_continuous")
LOG2 = np.log(2)


def _read(name):
    with (GOLDEN / name).open(newline="") as file:
        return list(csv.DictReader(file))


@cache
def _case(name):
    genes, samples = _read(f"{name}.csv"), _read(f"{name}_design.csv")
    unit, suffix = (LOG2, "_log2") if name.startswith("apeglm") else (1.0, "")
    column = {
        key: unit * np.array([float(row[key + suffix]) for row in genes])
        for key in ("mle", "mle_error", "mode", "error")
    }
    design = np.array([[float(v) for key, v in row.items() if key.startswith("x")] for row in samples])
    return SimpleNamespace(
        **column,
        count=np.array([[float(v) for key, v in row.items() if key.startswith("X")] for row in genes]),
        dispersion=np.array([float(row["dispersion"]) for row in genes]),
        scale=float(genes[0]["scale"] or "nan"),
        size_factor=np.array([float(row["size_factor"]) for row in samples]),
        design=design,
        contrast=np.eye(design.shape[1])[int(samples[0]["position"]) - 1],
    )


def _shrink(case, **changes):
    a = SimpleNamespace(**(vars(case) | changes))
    return apeglm_shrinkage(
        a.count,
        a.size_factor,
        a.design,
        a.dispersion,
        a.contrast,
        estimate=a.mle,
        standard_error=a.mle_error,
        prior_scale=changes.get("prior_scale"),
        threads=changes.get("threads"),
    )


def _log_posterior(case, gene, coefficient, position, scale):
    """Return the log posterior at coefficients in the last axis of an array."""
    mean = np.exp(coefficient @ case.design.T) * case.size_factor
    size = 1 / case.dispersion[gene]
    others = np.delete(coefficient, position, axis=-1)
    return (
        stats.nbinom.logpmf(case.count[gene], size, size / (size + mean)).sum(axis=-1)
        + stats.norm.logpdf(others, 0, 15).sum(axis=-1)
        + stats.cauchy.logpdf(coefficient[..., position], 0, scale)
    )


def _on_grid(case, gene, base, effect, scale):
    """Return the log posterior of an intercept and an effect, effects in rows."""
    return _log_posterior(case, gene, np.stack(np.meshgrid(base, effect), axis=-1), 1, scale)


@pytest.mark.parametrize("name", BY_OPTIMISER)
def test_modes_and_errors_are_those_of_r_s_optimiser(name):
    case = _case(name)
    shrunk = _shrink(case)
    assert shrunk.has_converged.all()
    # Both scales are roots to 1e-13 of the same equation.
    assert shrunk.prior_scale == pytest.approx(case.scale, rel=1e-9)
    # BFGS stops where the log posterior (about 100) no longer rises in its 16 digits: d short of the top is
    # sqrt(2 d) errors, 2e-7 here, and more where the posterior is flat, as in one separated gene.
    np.testing.assert_allclose(shrunk.estimate, case.mode, atol=5e-6)
    np.testing.assert_allclose(shrunk.standard_error, case.error, rtol=5e-6)


@pytest.mark.parametrize("name", BY_APEGLM)
def test_modes_and_errors_are_those_of_apeglm(name):
    case = _case(name)
    shrunk = _shrink(case, prior_scale=1.0 if name == "apeglm_wide_prior" else None)
    # apeglm's optimiser leaves off a few thousandths of an error from the mode.
    np.testing.assert_allclose(shrunk.estimate, case.mode, atol=4e-4 * LOG2)
    np.testing.assert_allclose(shrunk.standard_error, case.error, rtol=2e-4)


def test_very_high_counts_where_apeglm_stops_short_of_the_mode():
    case = _case("apeglm_large_counts")
    shrunk = _shrink(case)
    np.testing.assert_allclose(shrunk.estimate[:4], case.mode[:4], atol=1e-3)

    base = np.log(392923) + np.linspace(-1, 1, 20001)
    at_ours, at_theirs = (
        _on_grid(case, 4, base, effect, shrunk.prior_scale).max()
        for effect in (shrunk.estimate[4], case.mode[4])
    )
    assert at_ours > at_theirs


@pytest.mark.parametrize("name", BY_OPTIMISER)
def test_any_contrast_is_a_coefficient_of_some_design(name):
    case = _case(name)
    expected = _shrink(case)
    # The same model with every coefficient mixed into every other: only the contrast says what is asked.
    mixing = np.eye(case.design.shape[1]) + np.tri(case.design.shape[1], k=-1)
    mixed = _shrink(case, design=case.design @ mixing, contrast=case.contrast @ mixing)
    # The wide priors of the other coefficients are on other coefficients now, which tells on genes whose
    # counts say little.
    apart = np.abs(mixed.estimate - expected.estimate)
    assert (apart < 0.05 * expected.standard_error).all()
    assert np.median(apart / expected.standard_error) < 5e-3
    rewritten, position = contrast_as_coefficient(case.design, case.contrast)
    assert case.contrast[position] == 1
    np.testing.assert_array_equal(rewritten, case.design)


def test_a_difference_of_two_levels_is_the_coefficient_after_releveling():
    case = _case("three_groups")
    difference = np.array([0.0, -1.0, 1.0])
    first = 1 - case.design[:, 1] - case.design[:, 2]
    releveled = np.column_stack([np.ones(12), first, case.design[:, 2]])
    as_contrast = _shrink(case, contrast=difference)
    as_coefficient = _shrink(case, design=releveled, contrast=np.array([0.0, 0.0, 1.0]))
    apart = np.abs(as_contrast.estimate - as_coefficient.estimate)
    assert (apart < 0.05 * as_contrast.standard_error).all()
    assert np.median(apart / as_contrast.standard_error) < 5e-3


def test_reversing_the_contrast_reverses_the_sign_only():
    case = _case("paired")
    forth, back = _shrink(case), _shrink(case, contrast=-case.contrast, mle=-case.mle)
    np.testing.assert_allclose(back.estimate, -forth.estimate, atol=1e-9)
    np.testing.assert_allclose(back.standard_error, forth.standard_error, rtol=1e-9)


def test_effects_shrink_towards_zero_and_never_past_it():
    case = _case("paired")
    shrunk = _shrink(case)
    # DESeq2 lifts fitted means to one half, and the other coefficients have priors: a tenth of an error.
    slack = 0.1 * case.mle_error
    assert (np.abs(shrunk.estimate) <= np.abs(case.mle) + slack).all()
    assert (shrunk.estimate * np.sign(case.mle) >= -slack).all()
    assert (np.abs(shrunk.estimate) < 0.9 * np.abs(case.mle)).mean() > 0.3
    tight = _shrink(case, prior_scale=0.01)
    assert np.median(np.abs(tight.estimate)) < 0.05 * np.median(np.abs(shrunk.estimate))
    # A large effect measured well is nearly left alone by the heavy tail.
    sure = np.abs(case.mle) > 10 * case.mle_error
    assert sure.sum() > 3
    np.testing.assert_allclose(shrunk.estimate[sure], case.mle[sure], rtol=0.05)


def test_the_same_in_every_bit_whatever_the_threads():
    case = _case("covariate")
    repeated = {
        key: np.concatenate([getattr(case, key)] * 6) for key in ("count", "dispersion", "mle", "mle_error")
    }
    one, three = (_shrink(case, **repeated, threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one.estimate, three.estimate)
    np.testing.assert_array_equal(one.standard_error, three.standard_error)


def test_of_two_modes_the_higher_one_is_taken():
    # One sample a side and a narrow prior: the counts ask for a large effect, the prior for none.
    count = np.array([[20.0, 60.0], [20.0, 85.0], [20.0, 180.0]])
    design, dispersion = np.array([[1.0, 0.0], [1.0, 1.0]]), np.full(3, 0.02)
    scale = 1e-4
    shrunk = apeglm_shrinkage(
        count,
        np.ones(2),
        design,
        dispersion,
        np.array([0.0, 1.0]),
        estimate=np.log(count[:, 1] / count[:, 0]),
        standard_error=np.ones(3),
        prior_scale=scale,
    )
    assert shrunk.has_second_mode.any()
    case = SimpleNamespace(count=count, design=design, dispersion=dispersion, size_factor=np.ones(2))
    effects = np.concatenate([np.linspace(-0.01, 0.01, 401), np.linspace(0.02, 3, 400)])
    for gene in range(3):
        grid = _on_grid(case, gene, np.linspace(2, 6, 201), effects, scale).max(axis=1)
        assert shrunk.estimate[gene] == pytest.approx(effects[np.argmax(grid)], abs=0.02)
    assert abs(shrunk.estimate[0]) < 0.01
    assert shrunk.estimate[2] > 1


def test_a_separated_gene_gets_a_finite_effect_from_the_prior():
    design = np.column_stack([np.ones(8), np.repeat([0.0, 1.0], 4)])
    shrunk = apeglm_shrinkage(
        np.array([[0.0] * 4 + [9.0, 12.0, 7.0, 10.0]]),
        np.ones(8),
        design,
        np.array([0.1]),
        np.array([0.0, 1.0]),
        estimate=np.array([np.nan]),
        standard_error=np.array([np.nan]),
        prior_scale=0.5,
    )
    assert shrunk.has_converged.all()
    assert 1 < shrunk.estimate[0] < 40
    assert np.isfinite(shrunk.standard_error[0])


def test_genes_without_counts_or_dispersion_have_no_estimate():
    case = _case("covariate")
    count, dispersion = case.count.copy(), case.dispersion.copy()
    count[0], dispersion[1] = 0, np.nan
    shrunk = _shrink(case, count=count, dispersion=dispersion)
    for values in (shrunk.estimate, shrunk.standard_error, shrunk.false_sign_rate, shrunk.s_value):
        assert np.isnan(values[:2]).all()
        assert np.isfinite(values[2:]).all()
    assert not shrunk.has_converged[:2].any()
    assert shrunk.has_converged[2:].all()


def test_false_sign_rates_are_the_posterior_s_where_it_is_normal():
    case = _case("apeglm_condition")
    shrunk = _shrink(case)
    # Gene 7 (28 counts a sample, 100 samples): the posterior integrated over a grid of its two coefficients.
    gene, base = 6, np.linspace(2.5, 4.2, 201)
    effect = shrunk.estimate[gene] + shrunk.standard_error[gene] * np.linspace(-8, 8, 201)
    log_density = _on_grid(case, gene, base, effect, shrunk.prior_scale)
    density = integrate.trapezoid(np.exp(log_density - log_density.max()), base, axis=1)
    mass = integrate.trapezoid(density, effect)
    wrong = integrate.trapezoid(np.where(effect < 0, density, 0.0), effect) / mass
    # The Cauchy's peak at zero is what the Laplace approximation leaves out.
    assert shrunk.false_sign_rate[gene] == pytest.approx(wrong, rel=0.25)


def test_s_values_are_running_means_of_false_sign_rates():
    rate = np.array([0.2, 0.01, np.nan, 0.05, 0.01])
    expected = [0.27 / 4, 0.01, np.nan, 0.07 / 3, 0.01]
    np.testing.assert_allclose(s_value(rate), expected)


def test_the_prior_s_scale_is_the_spread_of_the_true_effects():
    random = np.random.default_rng(20261123)
    error = random.uniform(0.1, 1.0, 20000)
    estimate = random.normal(0, 0.4, error.size) + error * random.normal(size=error.size)
    # The information on A of so many effects leaves it known to 1 %.
    assert cauchy_scale(estimate, error) == pytest.approx(0.4, rel=0.03)
    assert cauchy_scale(estimate * 100, error) == 1.0
    assert cauchy_scale(0 * estimate, error) == 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contrast": np.zeros(3)}, "contrast: zero"),
        ({"contrast": np.ones(4)}, "contrast: shape"),
        ({"design": np.ones((14, 3))}, "design: rank 1 of 3"),
        ({"design": np.ones((13, 3))}, "design: shape"),
        ({"size_factor": np.zeros(14)}, "size_factor: 0"),
        ({"dispersion": np.zeros(120)}, "dispersion: 0"),
        ({"mle": np.full(120, np.nan)}, "estimate: no gene"),
        ({"prior_scale": -1.0}, "prior_scale: -1"),
        ({"count": np.full((120, 14), -1.0)}, "count: a value"),
        ({"count": np.ones(14)}, "count: shape"),
    ],
)
def test_says_what_is_wrong(change, message):
    case = _case("covariate")
    if "count" not in change:
        change = {"count": case.count[:120]} | change
    with pytest.raises(ValueError, match=message):
        _shrink(case, **change)
