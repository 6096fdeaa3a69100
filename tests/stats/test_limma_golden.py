"""Limma-voom against R's limma and edgeR on six small studies; see golden_limma/README.md."""

from __future__ import annotations

import csv
from collections import Counter
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tasks.stats.limma import (
    contrast_test,
    duplicate_correlation,
    filter_by_expr,
    tmm_factors,
    variance_prior,
    voom,
    voom_fit,
)
from tasks.stats.lowess import lowess

GOLDEN = Path(__file__).parent / "golden_limma"
STUDIES = ("complete", "missing", "factorial", "covariates", "three_pairs", "unpaired")
PAIRED = STUDIES[:-1]
# The files have fifteen digits; sums of twenty terms in another order lose one or two more.
ROUNDING = 1e-11
# The robust prior df is a root that R looks for to 1e-8 of df / (1 + df); ours goes to the last digits.
ROOT = 1e-8
# A likelihood tells its maximum to the square root of its own rounding.
MAXIMUM = 1e-7
ROBUST = {"plain": {}, "trend": {"has_trend": True}, "robust": {"is_robust": True}}
VARIANTS = {**ROBUST, "both": {"has_trend": True, "is_robust": True}}


@cache
def _rows(name):
    with (GOLDEN / name).open(newline="") as file:
        return list(csv.DictReader(file))


def _column(rows, name):
    return np.array([float(row[name].replace("NA", "nan")) for row in rows])


def _of(name, study, **more):
    wanted = {"data": study, **more}
    return [row for row in _rows(name) if all(row[key] == value for key, value in wanted.items())]


@cache
def _study(name):
    table = np.array([[float(value) for value in row.values()] for row in _rows(f"counts_{name}.csv")])
    samples = _of("samples.csv", name)
    columns = list(dict.fromkeys(row["column"] for row in samples))
    kept = table[:, -2] == 1
    factors = _column(_of("libraries.csv", name), "factor")
    subject = _column(samples, "subject")[: table.shape[1] - 2].astype(int)
    return SimpleNamespace(
        all=table[:, :-2],
        kept=kept,
        kept_by_group=table[:, -1] == 1,
        count=table[kept, :-2],
        design=np.column_stack([_column([r for r in samples if r["column"] == c], "value") for c in columns]),
        block=None if name == "unpaired" else subject,
        factor=factors,
        library=table[:, :-2].sum(axis=0) * factors,
        correlation=_of("correlations.csv", name)[0],
    )


def _fit(study, **more):
    correlation = None if study.block is None else float(study.correlation["first"])
    return voom_fit(
        study.count,
        study.design,
        block=study.block,
        library_size=study.library,
        correlation=correlation,
        **more,
    )


def _assert_as_r(test, rows, tolerance):
    genes = len(rows)
    for ours, name in (
        (test.estimate, "estimate"),
        (test.standard_error, "error"),
        (test.df, "df"),
        (test.p_value, "p"),
    ):
        np.testing.assert_allclose(ours[:genes], _column(rows, name), rtol=tolerance, err_msg=name)


@pytest.mark.parametrize("name", STUDIES)
def test_filter_and_normalisation_are_those_of_edger(name):
    study = _study(name)
    assert 0 < study.kept.sum() < len(study.kept)
    np.testing.assert_array_equal(filter_by_expr(study.all, design=study.design), study.kept)
    np.testing.assert_array_equal(filter_by_expr(study.all, group=study.design[:, -1]), study.kept_by_group)
    np.testing.assert_allclose(tmm_factors(study.all), study.factor, rtol=ROUNDING)


@pytest.mark.parametrize("name", STUDIES)
def test_expression_and_weights_are_those_of_voom(name):
    fit = _fit(_study(name))
    rows = _of("weights.csv", name)
    shape = (-1, 5)
    for ours, column in ((fit.voom.expression, "expression"), (fit.voom.weight, "weight")):
        np.testing.assert_allclose(ours[:5].T, _column(rows, column).reshape(shape), rtol=ROUNDING)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", STUDIES)
def test_moderated_t_is_that_of_limma_given_the_correlation(name, variant):
    study = _study(name)
    fit = _fit(study, **VARIANTS[variant])
    last = np.eye(study.design.shape[1])[-1]
    coefficient = {"factorial": "both"}.get(name, "group")
    rows = _of("fits.csv", name, variant=variant, coefficient=coefficient)
    assert len(rows) == 40
    _assert_as_r(contrast_test(fit, last), rows, ROOT if variant in {"robust", "both"} else ROUNDING)


def test_a_contrast_has_the_variance_it_has_as_a_coefficient():
    rows = _of("fits.csv", "factorial", coefficient="lesion")
    assert len(rows) == 40
    _assert_as_r(contrast_test(_fit(_study("factorial")), [0, 0, 1, 1]), rows, ROUNDING)


@pytest.mark.parametrize("name", PAIRED)
def test_gene_correlations_are_those_of_limma_run_to_the_end(name):
    study = _study(name)
    weighted = voom(study.count, study.design, library_size=study.library)
    ours = duplicate_correlation(weighted.expression, study.design, study.block, weight=weighted.weight)
    theirs, is_far = _theirs(study, name)
    off = np.abs(ours.by_gene - theirs)
    # In `factorial` one gene's likelihood has two maxima.
    two_maxima = 1 if name == "factorial" else 0
    assert (off[~is_far] > MAXIMUM).sum() == two_maxima
    if not two_maxima:
        assert ours.correlation == pytest.approx(float(study.correlation["first_to_the_end"]), abs=MAXIMUM)
    for gene in np.flatnonzero(off > MAXIMUM):
        rivals = (ours.by_gene[gene], theirs[gene])
        deviance = [
            _restricted_deviance(study, weighted.expression[gene], weighted.weight[gene], rho)
            for rho in rivals
        ]
        # The smaller the likelier; of values near 50 the last digits are rounding.
        assert deviance[0] <= deviance[1] + 1e-10


def _theirs(study, name):
    """Return limma's correlations within its limits, and where its scoring does not aim at the maximum.

    It takes no squared variance as less than a thousandth of the largest, which moves the zero of the score
    where the variances between and within blocks are further apart than that.
    """
    largest = max(Counter(study.block.tolist()).values())
    theirs = _column(_of("gene_correlations.csv", name), "to_the_end")
    theirs = np.clip(theirs, 1 / (1 - largest) + 0.01, 0.99)
    ratio = np.abs(np.log((1 + (largest - 1) * theirs) / (1 - theirs)))
    return theirs, ratio > np.log(1000) / 2


def _restricted_deviance(study, y, weight, rho):
    """Return minus twice the restricted likelihood from its definition, with whole matrices."""
    same = np.equal.outer(study.block, study.block)
    covariance = np.where(np.eye(len(y), dtype=bool), 1.0, rho * same) / np.sqrt(np.outer(weight, weight))
    inverse = np.linalg.inv(covariance)
    information = study.design.T @ inverse @ study.design
    residual = y - study.design @ np.linalg.solve(information, study.design.T @ inverse @ y)
    df = len(y) - study.design.shape[1]
    return (
        df * np.log(residual @ inverse @ residual)
        + np.linalg.slogdet(covariance)[1]
        + np.linalg.slogdet(information)[1]
    )


@pytest.mark.parametrize("name", PAIRED)
def test_the_whole_course_is_limmas_but_for_where_its_search_stops(name):
    study = _study(name)
    fit = voom_fit(study.count, study.design, block=study.block, library_size=study.library)
    # Limma's first consensus is off its own limit by so much; over a hundred genes one gene weighs 1 %.
    short = abs(float(study.correlation["first"]) - float(study.correlation["first_to_the_end"]))
    allowed = 2 * max(short, 1e-5) + (1e-3 if name == "factorial" else 0)
    assert fit.correlation == pytest.approx(float(study.correlation["second"]), abs=allowed)
    rows = _of("fits.csv", name, variant="second")
    test = contrast_test(fit, np.eye(study.design.shape[1])[-1])
    # A standard error moves with the correlation by at most one over one minus its square.
    np.testing.assert_allclose(test.standard_error[: len(rows)], _column(rows, "error"), rtol=2 * allowed)


def test_library_sizes_are_normalised_by_default():
    study = _study("unpaired")
    assert not np.allclose(tmm_factors(study.count), 1, rtol=1e-3)
    given = voom_fit(
        study.count, study.design, library_size=study.count.sum(axis=0) * tmm_factors(study.count)
    )
    np.testing.assert_array_equal(voom_fit(study.count, study.design).coefficient, given.coefficient)


def test_variances_without_excess_spread_have_an_infinite_prior():
    # R: squeezeVar(c(.9, 1, 1.1, 1.05, .95), df = 4) has df.prior Inf and var.prior 1, the mean.
    prior = variance_prior([0.9, 1, 1.1, 1.05, 0.95], 4)
    assert np.isinf(prior.df).all()
    np.testing.assert_allclose(prior.posterior, 1.0)
    assert (prior.df_total == 20).all()


@pytest.mark.parametrize(
    ("curve", "options"),
    [
        ("plain", {}),
        ("narrow", {"span": 0.2}),
        ("coarse", {"span": 0.5, "iterations": 0, "interpolate_within": 3}),
    ],
)
def test_the_curve_is_that_of_lowess(curve, options):
    rows = _rows("lowess.csv")
    ours = lowess(_column(rows, "x"), _column(rows, "y"), **options)
    np.testing.assert_allclose(ours, _column(rows, curve), rtol=ROUNDING)
