"""The likelihood and Kenward-Roger's covariance against their definitions, written out subject by subject."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tasks.stats.mmrm import STRUCTURE_NAMES, MmrmData, fit_mmrm
from tasks.stats.mmrm.likelihood import Likelihood
from tasks.stats.mmrm.structures import PerGroup, structure_named

VISITS = 4
STEP = 1e-5


def _columns(seed=7, n=15):
    random = np.random.default_rng(seed)
    subject = np.repeat(np.arange(n), VISITS)
    visit = np.tile(np.arange(VISITS), n)
    arm = np.where(subject % 2, "b", "a")
    base = random.normal(20, 4, n)[subject]
    response = (
        base + visit + random.normal(size=n)[subject] + random.normal(size=subject.size) * (1 + visit / 2)
    )
    response[random.random(subject.size) < 0.2] = np.nan
    return {"y": response, "subject": subject, "visit": visit, "arm": arm, "base": base}


def _data(group=None):
    return MmrmData.from_columns(
        _columns(), "y ~ base + arm * visit", subject="subject", visit="visit", group=group
    )


def _dense(data):
    """Return the design, the response, and each analysed row's position and subject."""
    rows = data.rows
    position = rows.group.codes * len(data.visits) + rows.visit.codes
    return rows.x, data.response, position, rows.subject.codes


def _dense_covariance(sigma, position, subject):
    return np.where(subject[:, None] == subject, sigma[np.ix_(position, position)], 0.0)


def _structure(name, data):
    one = structure_named(name, VISITS)
    return one if len(data.groups) == 1 else PerGroup(one, VISITS, len(data.groups))


def _some_theta(structure, seed=3):
    return np.random.default_rng(seed).normal(size=structure.n_parameters) * 0.3


@pytest.fixture(params=[None, "arm"], ids=["one covariance", "by arm"])
def data(request):
    return _data(request.param)


def test_some_subjects_miss_visits(data):
    assert data.n_patterns > 4
    assert data.n_observations < 15 * VISITS


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", STRUCTURE_NAMES)
def test_the_deviance_is_that_of_the_multivariate_normal(data, name, reml):
    x, y, position, subject = _dense(data)
    structure = _structure(name, data)
    sigma = structure.at(_some_theta(structure)).matrix
    v = _dense_covariance(data.moments.scale**2 * sigma, position, subject)
    information = x.T @ np.linalg.solve(v, x)
    beta = np.linalg.solve(information, x.T @ np.linalg.solve(v, y))
    expected = -2 * stats.multivariate_normal(x @ beta, v).logpdf(y)
    if reml:
        expected += np.linalg.slogdet(information)[1] - x.shape[1] * np.log(2 * np.pi)
    assert Likelihood(data.moments, sigma, reml=reml).deviance == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("coordinates", ["results", "search"])
@pytest.mark.parametrize("name", STRUCTURE_NAMES)
def test_gradient_and_hessian_are_those_of_the_deviance(data, name, coordinates, reml):
    structure = _structure(name, data)
    if coordinates == "search":
        structure = structure.search
    theta = _some_theta(structure)

    def derivatives(at):
        covariance = structure.at(at)
        likelihood = Likelihood(data.moments, covariance.matrix, reml=reml)
        return likelihood.deviance, *likelihood.derivatives(covariance)

    _, gradient, hessian = derivatives(theta)
    for number in range(theta.size):
        step = STEP * (np.arange(theta.size) == number)
        above, below = derivatives(theta + step), derivatives(theta - step)
        # A central difference errs by the third derivative times STEP^2 and by rounding / STEP: 1e-9 of about
        # 1e2.
        assert (above[0] - below[0]) / (2 * STEP) == pytest.approx(gradient[number], rel=1e-5, abs=1e-5)
        assert (above[1] - below[1]) / (2 * STEP) == pytest.approx(hessian[number], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", STRUCTURE_NAMES)
def test_derivatives_of_the_covariance(data, name):
    structure = _structure(name, data)
    theta = _some_theta(structure)
    here = structure.at(theta)
    weights = np.random.default_rng(1).normal(size=here.matrix.shape)
    weights += weights.T
    by_theta = np.random.default_rng(2).normal(size=(theta.size, theta.size))
    by_theta += by_theta.T
    second = np.empty((theta.size, *here.first.shape))
    for number in range(theta.size):
        step = STEP * (np.arange(theta.size) == number)
        above, below = structure.at(theta + step), structure.at(theta - step)
        np.testing.assert_allclose((above.matrix - below.matrix) / (2 * STEP), here.first[number], atol=1e-8)
        second[number] = (above.first - below.first) / (2 * STEP)
    np.testing.assert_allclose(here.second_against(weights), (second * weights).sum(axis=(2, 3)), atol=1e-7)
    expected = np.tensordot(by_theta, second, axes=2)
    np.testing.assert_allclose(here.second_weighted(by_theta), expected, atol=1e-7)


@pytest.mark.parametrize("name", STRUCTURE_NAMES)
@pytest.mark.parametrize("method", ["kenward-roger", "kenward-roger-linear"])
def test_kenward_rogers_covariance_is_their_formula(data, name, method):
    if name in {"us", "toeph"} and len(data.groups) > 1:
        pytest.skip("seven subjects a group are too few for so many parameters each")
    fit = fit_mmrm(data, structures=(name,), df_method=method)
    x, _, position, subject = _dense(data)
    structure = _structure(name, data)
    covariance = structure.at(fit.theta)
    v = _dense_covariance(covariance.matrix, position, subject)
    first = [_dense_covariance(part, position, subject) for part in covariance.first]
    phi = np.linalg.inv(x.T @ np.linalg.solve(v, x))
    np.testing.assert_allclose(fit.model_vcov, phi, rtol=1e-8, atol=1e-10)
    inverse = np.linalg.inv(v)
    total = np.zeros_like(phi)
    for i, by_i in enumerate(first):
        step = STEP * (np.arange(len(first)) == i)
        bent = (structure.at(fit.theta + step).first - structure.at(fit.theta - step).first) / (2 * STEP)
        for j, by_j in enumerate(first):
            p_i = -x.T @ inverse @ by_i @ inverse @ x
            p_j = -x.T @ inverse @ by_j @ inverse @ x
            q = x.T @ inverse @ by_i @ inverse @ by_j @ inverse @ x
            r = x.T @ inverse @ _dense_covariance(bent[j], position, subject) @ inverse @ x
            r *= method == "kenward-roger"
            total += fit.theta_vcov[i, j] * (q - p_i @ phi @ p_j - r / 4)
    expected = phi + 2 * phi @ total @ phi
    # The second derivatives are differences here.
    np.testing.assert_allclose(fit.vcov, expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())


def test_satterthwaite_is_the_delta_method_on_the_variance():
    data = _data()
    fit = fit_mmrm(data, structures=("ar1h",), df_method="satterthwaite")
    weights = np.zeros(len(data.column_names))
    weights[[2, -1]] = 1
    structure = structure_named("ar1h", VISITS)
    x, _, position, subject = _dense(data)

    def variance(theta):
        v = _dense_covariance(structure.at(theta).matrix, position, subject)
        return weights @ np.linalg.solve(x.T @ np.linalg.solve(v, x), weights)

    slope = [
        (variance(fit.theta + step) - variance(fit.theta - step)) / (2 * STEP)
        for step in STEP * np.eye(fit.theta.size)
    ]
    expected = 2 * variance(fit.theta) ** 2 / (slope @ fit.theta_vcov @ slope)
    contrast = fit.contrast(weights)
    assert contrast.df == pytest.approx(expected, rel=1e-7)
    assert contrast.standard_error == pytest.approx(np.sqrt(variance(fit.theta)), rel=1e-9)
