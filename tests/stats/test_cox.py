from __future__ import annotations

import numpy as np
import pytest

from tasks.stats.cox import cox_regression


def _trial(seed=5, n=60):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=n)
    arm = ["a", "b"] * (n // 2)
    time = generator.exponential(np.exp(-0.7 * x - 0.5 * (np.array(arm) == "b")))
    return np.ceil(10 * time), generator.random(n) < 0.8, arm, x


def test_unit_of_a_covariate_and_of_time_do_not_matter():
    time, event, arm, x = _trial()
    model = cox_regression(time, event, factors={"arm": arm}, covariates={"x": x})
    scaled = cox_regression(time**3, event, factors={"arm": arm}, covariates={"x": 1000 * x + 5})
    assert model.is_converged
    assert scaled.log_likelihood == pytest.approx(model.log_likelihood)
    for one, other, unit in zip(model.coefficients, scaled.coefficients, (1, 1000), strict=True):
        assert other.log_hazard_ratio * unit == pytest.approx(one.log_hazard_ratio, rel=1e-6)
        assert other.z == pytest.approx(one.z, rel=1e-6)


def test_the_other_reference_inverts_the_ratio():
    time, event, arm, _ = _trial()
    ratio = cox_regression(time, event, factors={"arm": arm}).coefficients[0]
    inverse = cox_regression(time, event, factors={"arm": arm}, levels={"arm": ["b", "a"]}).coefficients[0]
    assert (ratio.name, inverse.name) == ("arm[b]", "arm[a]")
    assert inverse.hazard_ratio == pytest.approx(1 / ratio.hazard_ratio)
    assert inverse.interval.low == pytest.approx(1 / ratio.interval.high)
    assert inverse.p_value == pytest.approx(ratio.p_value)


def test_planted_effects_are_found_and_covered():
    inside, estimates = 0, []
    for seed in range(100):
        time, event, arm, x = _trial(seed)
        first, second = cox_regression(time, event, factors={"arm": arm}, covariates={"x": x}).coefficients
        estimates.append([first.log_hazard_ratio, second.log_hazard_ratio])
        inside += second.interval.low <= np.exp(0.7) <= second.interval.high
    # Means of 100 trials have standard errors of .03 and .02; small samples and ties shift them by as much.
    assert np.mean(estimates, axis=0) == pytest.approx([0.5, 0.7], abs=0.1)
    # 95 expected of 100: fewer than 88 has a probability of .0015.
    assert inside >= 88


def test_groups_that_never_mix_are_said_not_to_converge():
    model = cox_regression([1, 2, 3, 4, 5, 6], [1] * 6, factors={"arm": ["b"] * 3 + ["a"] * 3})
    assert not model.is_converged
    assert model.coefficients[0].log_hazard_ratio > 5
    # No arrangement of three of six is more extreme: the likelihood ratio stays finite and says so.
    assert 0 < model.likelihood_ratio.p_value < 0.02


def test_aliased_columns_are_named():
    time, event, arm, x = _trial()
    model = cox_regression(
        time, event, factors={"arm": arm, "site": arm}, covariates={"x": x, "constant": np.ones(60)}
    )
    assert model.aliased == ("site[b]", "constant")
    assert model.likelihood_ratio.df == 2
    # Strata take up what is constant within them.
    stratified = cox_regression(time, event, factors={"arm": arm}, covariates={"x": x}, stratum=arm)
    assert stratified.aliased == ("arm[b]",)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no event"):
        cox_regression([1, 2], [0, 0], covariates={"x": [1, 2]})
    with pytest.raises(ValueError, match="no column varies"):
        cox_regression([1, 2], [1, 1], covariates={"x": [1, 1]})
    with pytest.raises(ValueError, match="stratum: 1"):
        cox_regression([1, 2], [1, 1], covariates={"x": [1, 2]}, stratum=["s"])
