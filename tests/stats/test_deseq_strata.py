"""The structure of a design gives what dense matrices give, and finds the strata it should."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.stats.deseq.strata import analysed_design

# Sums in another order: some hundred roundings of numbers near one.
ROUNDING = 1e-9


def paired(subjects, *, missing=()):
    subject = np.tile(np.arange(subjects), 2)
    visit = np.repeat([0.0, 1.0], subjects)
    dummies = (subject[:, None] == np.arange(1, subjects)).astype(float)
    design = np.column_stack([np.ones(2 * subjects), dummies, visit])
    return np.delete(design, missing, axis=0)


def nested():
    """Two groups of four, each with its own subjects and its own change."""
    group = np.repeat([0.0, 1.0], 8)
    within = np.tile(np.repeat(np.arange(4), 2), 2)
    visit = np.tile([0.0, 1.0], 8)
    of_subject = [(within == k) * (group == g) for g in (0, 1) for k in (1, 2, 3)]
    return np.column_stack([np.ones(16), group, *of_subject, (group == 0) * visit, (group == 1) * visit])


def cell_means():
    return np.repeat(np.eye(3), 5, axis=0)


def covariates():
    random = np.random.default_rng(3)
    return np.column_stack([np.ones(20), random.normal(size=(20, 2)), np.repeat([0.0, 1.0], 10)])


def without_constant():
    random = np.random.default_rng(4)
    return random.normal(size=(12, 3))


def large_groups():
    batch = np.tile([0.0, 1.0, 1.0], 20)
    return np.column_stack([np.ones(60), np.repeat([0.0, 1.0], 30), batch])


DESIGNS = {
    "paired": (paired(6), 6),
    "missing pair": (paired(6, missing=[3, 10]), 6),
    "nested": (nested(), 8),
    "cell means": (cell_means(), 3),
    "covariates": (covariates(), 2),
    "without constant": (without_constant(), 0),
    "large groups": (large_groups(), 2),
}


@pytest.fixture(params=DESIGNS)
def case(request):
    matrix, n_strata = DESIGNS[request.param]
    random = np.random.default_rng(1)
    weight, value = random.gamma(2.0, 1.0, (2, 7, len(matrix)))
    return matrix, n_strata, analysed_design(matrix), weight, value


def test_the_strata_are_found(case):
    matrix, n_strata, design, _, _ = case
    assert design.n_strata == n_strata
    assert design.rest.shape == (len(matrix), matrix.shape[1] - n_strata)


def test_every_quantity_is_that_of_dense_matrices(case):
    matrix, _, design, weight, value = case
    contrast = np.arange(1.0, matrix.shape[1] + 1)
    coefficient = design.coefficient(design.weighted_fit(value, weight))
    centred = design.centred(weight)
    log_det = np.log(centred.level).sum(axis=1) + design.log_det
    log_det += np.linalg.slogdet(centred.information(weight))[1]
    leverage, variance = design.leverage(weight), design.contrast_variance(weight, contrast)
    for gene in range(len(weight)):
        information = matrix.T * weight[gene] @ matrix
        inverse = np.linalg.inv(information)
        np.testing.assert_allclose(log_det[gene], np.linalg.slogdet(information)[1], rtol=ROUNDING)
        expected = inverse @ (matrix.T @ (weight[gene] * value[gene]))
        np.testing.assert_allclose(coefficient[gene], expected, rtol=ROUNDING, atol=ROUNDING)
        hat = weight[gene] * np.einsum("ij,jk,ik->i", matrix, inverse, matrix)
        np.testing.assert_allclose(leverage[gene], hat, rtol=ROUNDING)
        np.testing.assert_allclose(variance[gene], contrast @ inverse @ contrast, rtol=ROUNDING)


def test_an_unweighted_fit_is_a_projection(case):
    matrix, _, design, _, value = case
    expected = value @ matrix @ np.linalg.pinv(matrix)
    expected = value @ np.linalg.pinv(matrix).T @ matrix.T
    np.testing.assert_allclose(design.fitted(value), expected, rtol=ROUNDING, atol=ROUNDING)


def test_the_order_of_columns_moves_nothing():
    forward, backward = analysed_design(paired(5)), analysed_design(paired(5)[:, ::-1])
    assert forward.n_strata == backward.n_strata == 5
    assert forward.log_det == pytest.approx(backward.log_det, abs=ROUNDING)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]], "rank 1 with 2 columns"),
        ([1.0, 1.0], "must be samples x coefficients"),
        ([[1.0], [np.nan]], "a value is not finite"),
    ],
)
def test_a_matrix_that_is_no_design_is_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        analysed_design(matrix)
