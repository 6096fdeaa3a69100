from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.stats.linear_model import (
    fit_linear_model,
    least_squares_differences,
    least_squares_means,
    linear_trend,
    one_way_anova,
    type_iii_tests,
)
from tasks.stats.rank_sum import kruskal_wallis

# R's PlantGrowth: weights of ten plants under each of three conditions.
CONTROL = [4.17, 5.58, 5.18, 6.11, 4.50, 4.61, 5.17, 4.53, 5.33, 5.14]
FIRST = [4.81, 4.17, 4.41, 3.59, 5.87, 3.83, 6.03, 4.89, 4.32, 4.69]
SECOND = [6.31, 5.12, 5.54, 5.50, 5.37, 5.29, 4.92, 6.15, 5.80, 5.26]
GROWTH = np.array(CONTROL + FIRST + SECOND)
GROUP = ["ctrl"] * 10 + ["trt1"] * 10 + ["trt2"] * 10


def _mixed(seed=0, n=24):
    generator = np.random.default_rng(seed)
    arm = ["a", "b", "c"] * (n // 3)
    site = generator.permutation(["x", "y"] * (n // 2)).tolist()
    base = generator.normal(10, 2, n)
    return base + generator.normal(size=n), arm, site, base


def test_plant_growth():
    # R's documentation of PlantGrowth: F 4.846, p .01591.
    test = one_way_anova(GROWTH, GROUP)
    assert (test.df, test.df_denominator) == (2, 27)
    assert test.statistic == pytest.approx(4.846, abs=5e-4)
    assert test.p_value == pytest.approx(0.01591, abs=5e-6)
    assert kruskal_wallis(GROWTH, GROUP).p_value == pytest.approx(0.01842, abs=5e-6)


def test_two_groups_are_the_pooled_t_test():
    model = fit_linear_model(GROWTH[:20], factors={"group": GROUP[:20]})
    (difference,) = least_squares_differences(model, "group")
    assert difference.estimate == pytest.approx(np.mean(FIRST) - np.mean(CONTROL))
    # R: t.test(weight ~ group, var.equal = TRUE) of the first twenty: t 1.1913, p .249.
    assert difference.t == pytest.approx(-1.1913, abs=5e-5)
    assert difference.p_value == pytest.approx(0.249, abs=5e-4)
    assert type_iii_tests(model)[0].f == pytest.approx(difference.t**2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(-5, 5), st.floats(0.1, 10))
def test_unit_and_origin_do_not_matter(seed, shift, scale):
    y, arm, site, base = _mixed(seed)
    model = fit_linear_model(y, factors={"arm": arm, "site": site}, covariates={"base": base})
    moved = fit_linear_model(
        scale * y + shift, factors={"arm": arm, "site": site}, covariates={"base": 3 * base - 1}
    )
    for one, other in zip(type_iii_tests(model), type_iii_tests(moved), strict=True):
        assert other.f == pytest.approx(one.f, rel=1e-6)
    for one, other in zip(least_squares_means(model, "arm"), least_squares_means(moved, "arm"), strict=True):
        assert other.estimate == pytest.approx(scale * one.estimate + shift, rel=1e-7, abs=1e-7)
        assert other.standard_error == pytest.approx(scale * one.standard_error, rel=1e-7)


def test_order_of_levels_changes_only_the_reference():
    y, arm, site, base = _mixed()
    factors, covariates = {"arm": arm, "site": site}, {"base": base}
    model = fit_linear_model(y, factors=factors, covariates=covariates)
    turned = fit_linear_model(y, factors=factors, covariates=covariates, levels={"arm": ["c", "b", "a"]})
    means = {mean.level_name: mean.estimate for mean in least_squares_means(model, "arm")}
    for mean in least_squares_means(turned, "arm"):
        assert mean.estimate == pytest.approx(means[mean.level_name])
    assert [mean.level_name for mean in least_squares_means(turned, "arm")] == ["c", "b", "a"]
    against_c = least_squares_differences(model, "arm", reference="c")
    assert [difference.level_name for difference in against_c] == ["a", "b"]
    assert against_c[0].estimate == pytest.approx(means["a"] - means["c"])


def test_aliased_columns_are_named_and_the_rest_is_estimated():
    y, arm, _, base = _mixed()
    plain = fit_linear_model(y, factors={"arm": arm}, covariates={"base": base})
    model = fit_linear_model(
        y, factors={"arm": arm, "one": ["same"] * 24}, covariates={"base": base, "again": 2 * base - 3}
    )
    assert model.aliased == ("one", "again")
    assert [c.name for c in model.coefficients] == [c.name for c in plain.coefficients]
    # Without "base" the fit stays the same, because of "again": neither has a test of its own.
    assert [t.term for t in type_iii_tests(model)] == ["arm"]
    for one, other in zip(least_squares_means(plain, "arm"), least_squares_means(model, "arm"), strict=True):
        assert other.estimate == pytest.approx(one.estimate)


def test_an_empty_cell_is_refused_where_it_matters():
    y, arm, _, _ = _mixed()
    site = ["x" if one == "a" else two for one, two in zip(arm, ["x", "y"] * 12, strict=True)]
    model = fit_linear_model(y, factors={"arm": arm, "site": site}, interactions=[("arm", "site")])
    assert len(model.aliased) == 1
    with pytest.raises(ValueError, match="every cell observed"):
        type_iii_tests(model)
    with pytest.raises(ValueError, match="not estimable"):
        least_squares_means(model, "arm")


def test_trend_is_the_slope():
    dose = np.repeat([0.0, 54, 81], 8)
    response = 2 - 0.05 * dose + np.tile([-1.0, 1], 12)
    trend = linear_trend(response, dose)
    assert trend.estimate == pytest.approx(-0.05)
    with pytest.raises(ValueError, match="dose"):
        linear_trend(response, np.ones(24))


def test_bad_input_is_refused():
    y, arm, _, base = _mixed()
    with pytest.raises(ValueError, match="arm: 23 value"):
        fit_linear_model(y, factors={"arm": arm[:-1]})
    with pytest.raises(ValueError, match="nan at position 3"):
        fit_linear_model(y, covariates={"base": np.where(np.arange(24) == 3, np.nan, base)})
    with pytest.raises(ValueError, match="'c': must be one of the levels a, b"):
        fit_linear_model(y, factors={"arm": arm}, levels={"arm": ["a", "b"]})
    with pytest.raises(ValueError, match="interactions: 'sex'"):
        fit_linear_model(y, factors={"arm": arm}, interactions=[("arm", "sex")])
    with pytest.raises(ValueError, match="more values needed"):
        fit_linear_model(y[:3], factors={"arm": arm[:3]})
    with pytest.raises(ValueError, match="fits every value exactly"):
        fit_linear_model(np.full(24, 0.3), factors={"arm": arm})
    with pytest.raises(ValueError, match="factor: 'base'"):
        least_squares_means(fit_linear_model(y, factors={"arm": arm}, covariates={"base": base}), "base")
    with pytest.raises(ValueError, match="both a factor and a covariate"):
        fit_linear_model(y, factors={"arm": arm}, covariates={"arm": base})
    with pytest.raises(ValueError, match="at least two groups"):
        one_way_anova(y, ["a"] * 24)
