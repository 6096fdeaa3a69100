"""What must hold of a mixed model for repeated measures in any data, and where its answer is exact."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tasks.stats.mmrm import (
    FALL_BACK,
    STRUCTURE_NAMES,
    MmrmData,
    NotConvergedError,
    NotEstimableError,
    fit_mmrm,
)

# Two searches that end at the same maximum differ by what the last Newton step leaves open.
SAME = 1e-7
METHODS = ("kenward-roger", "kenward-roger-linear", "satterthwaite")
# Those that are exact where an exact answer exists; see test_second_derivatives_move_what_is_exact.
EXACT = METHODS[1:]


def _trial(seed, n=12, visits=3, missing=0.15, arms=1):
    random = np.random.default_rng(seed)
    subject, visit = (part.ravel() for part in np.mgrid[:n, :visits])
    base = random.normal(20, 5, n)
    y = (
        0.4 * base[subject]
        - visit
        + random.normal(0, 2, n)[subject]
        + random.normal(0, 1 + visit, subject.size)
    )
    # The first visit stays, so that nobody is lost.
    y[(random.random(subject.size) < missing) & (visit > 0)] = np.nan
    return {"y": y, "subject": subject, "visit": visit, "base": base[subject], "arm": subject % arms}


def _data(columns, formula="y ~ visit + base + visit:base", **more):
    return MmrmData.from_columns(columns, formula, subject="subject", visit="visit", **more)


def _close(one, other, rel=SAME):
    assert one.estimate == pytest.approx(other.estimate, rel=rel, abs=rel)
    assert one.standard_error == pytest.approx(other.standard_error, rel=rel)
    assert one.df == pytest.approx(other.df, rel=10 * rel)
    assert one.p_value == pytest.approx(other.p_value, rel=100 * rel, abs=1e-12)


@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
def test_the_order_of_rows_and_of_subjects_does_not_matter(structure):
    columns = _trial(1)
    shuffled = np.random.default_rng(0).permutation(columns["y"].size)
    mixed = {name: values[shuffled] for name, values in columns.items()}
    mixed["subject"] = np.array([f"patient {99 - number}" for number in mixed["subject"]])
    one, other = (fit_mmrm(_data(each), structures=(structure,)) for each in (columns, mixed))
    assert one.deviance == pytest.approx(other.deviance, rel=1e-12)
    for name, contrast in one.coefficients().items():
        _close(contrast, other.coefficients()[name])


@settings(deadline=None, max_examples=25)
@given(st.floats(1e-6, 1e6), st.floats(-1e3, 1e3), st.sampled_from(STRUCTURE_NAMES))
def test_another_unit_and_zero_of_the_response_scale_the_result(unit, zero, structure):
    columns = _trial(2)
    plain = fit_mmrm(_data(columns), structures=(structure,))
    scaled = fit_mmrm(_data({**columns, "y": unit * (columns["y"] + zero)}), structures=(structure,))
    df = plain.n_observations - plain.beta.size
    assert scaled.deviance - 2 * df * np.log(unit) == pytest.approx(plain.deviance, rel=1e-9)
    np.testing.assert_allclose(scaled.covariance, unit**2 * plain.covariance, rtol=1e-6)
    for name, contrast in plain.coefficients().items():
        other = scaled.coefficients()[name]
        moved = zero if name == "(Intercept)" else 0.0
        assert other.estimate == pytest.approx(unit * (contrast.estimate + moved), rel=1e-6, abs=1e-6 * unit)
        assert other.standard_error == pytest.approx(unit * contrast.standard_error, rel=1e-6)
        assert other.df == pytest.approx(contrast.df, rel=1e-5)


@pytest.mark.parametrize("structure", ["us", "csh", "cs"])
def test_relabelled_visits_give_the_same_means_where_their_order_means_nothing(structure):
    columns = _trial(3, visits=3)
    order = (2, 0, 1)
    one = fit_mmrm(_data(columns), structures=(structure,), df_method="satterthwaite")
    other = fit_mmrm(
        _data(columns, levels={"visit": order}), structures=(structure,), df_method="satterthwaite"
    )
    assert one.deviance == pytest.approx(other.deviance, rel=1e-10)
    np.testing.assert_allclose(one.covariance[np.ix_(order, order)], other.covariance, rtol=1e-6)
    theirs = {mean.levels["visit"]: mean.contrast for mean in other.ls_means(("visit",))}
    for mean in one.ls_means(("visit",)):
        _close(mean.contrast, theirs[mean.levels["visit"]])


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("n", [3, 8, 12])
def test_two_visits_of_everyone_are_the_paired_t_test(n, method):
    random = np.random.default_rng(n)
    before, after = random.normal(10, 2, n), random.normal(8, 3, n)
    subject, visit = (part.ravel() for part in np.mgrid[:n, :2])
    columns = {"y": np.column_stack([before, after]).ravel(), "subject": subject, "visit": visit}
    change = fit_mmrm(_data(columns, "y ~ visit"), structures=("us",), df_method=method).contrast(
        {"visit1": 1}
    )
    exact = stats.ttest_rel(after, before)
    assert change.df == pytest.approx(n - 1, rel=1e-6)
    assert change.t == pytest.approx(exact.statistic, rel=1e-7)
    assert change.p_value == pytest.approx(exact.pvalue, rel=1e-6)
    interval, expected = change.interval(0.9), exact.confidence_interval(0.9)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-6)


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("visits", [2, 3, 5])
def test_compound_symmetry_of_everyone_is_the_repeated_measures_analysis_of_variance(visits, method):
    n = 9
    columns = _trial(4, n=n, visits=visits, missing=0)
    wide = columns["y"].reshape(n, visits)
    fit = fit_mmrm(_data(columns, "y ~ visit"), structures=("cs",), df_method=method)
    residual = wide - wide.mean(axis=1, keepdims=True) - wide.mean(axis=0) + wide.mean()
    mean_square = (residual**2).sum() / ((n - 1) * (visits - 1))
    change = fit.contrast({"visit1": 1})
    assert change.estimate == pytest.approx(wide[:, 1].mean() - wide[:, 0].mean(), rel=1e-9)
    assert change.standard_error == pytest.approx(np.sqrt(2 * mean_square / n), rel=1e-7)
    assert change.df == pytest.approx((n - 1) * (visits - 1), rel=1e-6)
    test = fit.f_test(np.eye(visits)[1:])
    between = n * ((wide.mean(axis=0) - wide.mean()) ** 2).sum() / (visits - 1)
    assert test.f == pytest.approx(between / mean_square, rel=1e-7)
    assert test.numerator_df == visits - 1
    assert test.denominator_df == pytest.approx((n - 1) * (visits - 1), rel=1e-6)


@pytest.mark.parametrize("method", EXACT)
def test_unstructured_visits_of_everyone_are_each_tested_as_if_alone(method):
    # Complete data and the same design at each visit: the generalised estimate is least squares visit by
    # visit.
    columns = _trial(5, n=20, visits=3, missing=0, arms=2)
    data = _data(columns, "y ~ arm * visit", levels={"arm": (0, 1)})
    fit = fit_mmrm(data, structures=("us",), df_method=method)
    for difference in fit.ls_mean_differences("arm", by=("visit",)):
        y = columns["y"][columns["visit"] == difference.by["visit"]]
        exact = stats.ttest_ind(y[1::2], y[::2])
        assert difference.contrast.t == pytest.approx(exact.statistic, rel=1e-6)
        assert difference.contrast.df == pytest.approx(18, rel=1e-6)
        assert difference.contrast.p_value == pytest.approx(exact.pvalue, rel=1e-5)


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
def test_a_single_visit_is_ordinary_regression(structure, method):
    columns = {name: values[::3] for name, values in _trial(6, n=15, visits=3).items()}
    fit = fit_mmrm(_data(columns, "y ~ base"), structures=(structure,), df_method=method)
    exact = stats.linregress(columns["base"], columns["y"])
    slope = fit.contrast({"base": 1})
    assert slope.estimate == pytest.approx(exact.slope, rel=1e-9)
    assert slope.df == pytest.approx(13, rel=1e-6)
    assert slope.standard_error == pytest.approx(exact.stderr, rel=1e-6)
    assert slope.p_value == pytest.approx(exact.pvalue, rel=1e-5)


def test_second_derivatives_move_what_is_exact():
    # The variance of a mean change is unbiased as it is. In parameters in which Sigma is not linear the
    # second derivatives, meant for its bias, change it: here the standard error falls by the factor below.
    subject, visit = (part.ravel() for part in np.mgrid[:12, :2])
    y = np.random.default_rng(5).normal(size=24)
    data = _data({"y": y, "subject": subject, "visit": visit}, "y ~ visit")
    exact, moved = (
        fit_mmrm(data, structures=("us",), df_method=method).contrast({"visit1": 1})
        for method in ("kenward-roger-linear", "kenward-roger")
    )
    assert moved.df == pytest.approx(exact.df, rel=1e-9)
    assert 0.9 < moved.standard_error / exact.standard_error < 0.99


def test_structures_that_are_special_cases_fit_no_better():
    fits = {name: fit_mmrm(_data(_trial(7, n=30, visits=4)), structures=(name,)) for name in STRUCTURE_NAMES}
    for general, special in [
        ("us", "toeph"),
        ("toeph", "ar1h"),
        ("toeph", "csh"),
        ("toeph", "toep"),
        ("toep", "ar1"),
        ("toep", "cs"),
        ("ar1h", "ar1"),
        ("csh", "cs"),
    ]:
        assert fits[general].deviance < fits[special].deviance
        assert fits[general].n_parameters > fits[special].n_parameters


def test_covariances_by_group_are_separate_fits_where_the_means_are_separate():
    columns = _trial(8, n=40, visits=3, arms=2)
    data = _data(columns, "y ~ arm * visit + arm:base", group="arm", levels={"arm": (0, 1)})
    joint = fit_mmrm(data, structures=("us",), df_method="kenward-roger-linear")
    deviance = 0.0
    for arm in (0, 1):
        one = {name: values[columns["arm"] == arm] for name, values in columns.items()}
        alone = fit_mmrm(_data(one, "y ~ visit + base"), structures=("us",), df_method="kenward-roger-linear")
        deviance += alone.deviance
        np.testing.assert_allclose(joint.covariances[arm], alone.covariance, rtol=1e-6)
        ours = {
            mean.levels["visit"]: mean.contrast
            for mean in joint.ls_means(("visit", "arm"), at={"base": 20})
            if mean.levels["arm"] == arm
        }
        for mean in alone.ls_means(("visit",), at={"base": 20}):
            _close(ours[mean.levels["visit"]], mean.contrast)
    # |X'V^-1 X| is that of other columns of the same space: their triangle has determinant one.
    assert joint.deviance == pytest.approx(deviance, rel=1e-9)
    with pytest.raises(ValueError, match="covariance: differs between 0, 1"):
        _ = joint.covariance


def test_one_contrast_is_the_square_root_of_an_f_test():
    for method in METHODS:
        fit = fit_mmrm(_data(_trial(9, n=25)), structures=("us",), df_method=method)
        row = np.random.default_rng(1).normal(size=len(fit.coefficient_names))
        one, several = fit.contrast(row), fit.f_test(np.array([row, -2 * row]))
        assert several.numerator_df == 1
        assert several.f == pytest.approx(one.t**2, rel=1e-9)
        assert several.denominator_df == pytest.approx(one.df, rel=1e-9)
        assert several.p_value == pytest.approx(one.p_value, rel=1e-8)
        assert several.scale == pytest.approx(1, rel=1e-9)


def test_kenward_rogers_f_test_depends_on_the_hypothesis_not_on_how_it_is_stated():
    fit = fit_mmrm(_data(_trial(9, n=25)), structures=("toeph",))
    rows = np.eye(len(fit.coefficient_names))[1:4]
    restated = np.random.default_rng(2).normal(size=(5, 3)) @ rows
    one, other = fit.f_test(rows), fit.f_test(restated)
    assert one.numerator_df == other.numerator_df == 3
    assert one.f == pytest.approx(other.f, rel=1e-9)
    assert one.denominator_df == pytest.approx(other.denominator_df, rel=1e-9)


@pytest.mark.parametrize("structure", STRUCTURE_NAMES)
@pytest.mark.parametrize("group", [None, "arm"])
def test_a_start_elsewhere_ends_at_the_same_place(structure, group):
    data = _data(_trial(10, n=60, visits=3, arms=2), "y ~ visit * arm", levels={"arm": (0, 1)}, group=group)
    fit = fit_mmrm(data, structures=(structure,))
    other = fit_mmrm(data, structures=(structure,), start=fit.theta + 0.3)
    np.testing.assert_allclose(other.theta, fit.theta, rtol=1e-6, atol=1e-6)
    assert fit_mmrm(data, structures=(structure,), start=fit.theta).attempts[0].n_iterations <= 1


def test_a_start_that_leads_nowhere_is_not_the_end():
    data = _data(_trial(10, n=30, visits=4))
    fit = fit_mmrm(data, structures=("toep",))
    impossible = np.array([0.0, 3.0, -3.0, 3.0])
    np.testing.assert_allclose(
        fit_mmrm(data, structures=("toep",), start=impossible).theta, fit.theta, rtol=1e-6
    )


@pytest.mark.parametrize("seed", range(30))
def test_twelve_subjects_with_missing_visits_converge_or_say_why_not(seed):
    random = np.random.default_rng(seed)
    columns = _trial(seed, n=12, visits=int(random.integers(3, 7)), missing=random.choice([0.1, 0.25, 0.4]))
    data = _data(columns, "y ~ visit + base")
    fit = fit_mmrm(data, df_method="satterthwaite")
    assert tuple(attempt.structure for attempt in fit.attempts) == FALL_BACK[: len(fit.attempts)]
    for attempt in fit.attempts[:-1]:
        assert not attempt.has_converged
        assert attempt.reason
    last = fit.attempts[-1]
    assert (last.structure, last.has_converged, last.reason) == (fit.structure, True, "")
    assert last.gradient_norm < 1e-4
    assert np.linalg.eigvalsh(fit.theta_vcov)[0] > 0
    assert np.linalg.eigvalsh(fit.covariance)[0] > 0
    assert np.isfinite([contrast.p_value for contrast in fit.coefficients().values()]).all()


def test_the_fall_back_goes_on_to_a_structure_that_the_data_determine():
    columns = _trial(11, n=12, visits=3, missing=0)
    # Nobody is seen at both of the last visits.
    columns["y"][(columns["visit"] == 1 + columns["subject"] % 2)] = np.nan
    fit = fit_mmrm(_data(columns, "y ~ visit"))
    assert fit.attempts[0].reason == "visits 1 and 2 are never seen in the same subject"
    assert fit.structure != "us"


def test_no_structure_that_converges_is_an_error_with_each_reason():
    # The visits are the same but for a constant: their correlation is one.
    subject, visit = (part.ravel() for part in np.mgrid[:8, :3])
    y = np.random.default_rng(0).normal(size=8)[subject] + visit
    with pytest.raises(
        NotConvergedError, match=r"us: the covariance matrix tends to a singular one; .*cs: "
    ) as caught:
        fit_mmrm(_data({"y": y, "subject": subject, "visit": visit}, "y ~ visit"))
    assert [attempt.structure for attempt in caught.value.attempts] == list(FALL_BACK)
    assert all(attempt.reason and not attempt.has_converged for attempt in caught.value.attempts)


def test_maximum_likelihood_is_scaled_as_in_regression():
    n = 15
    columns = {name: values[::3] for name, values in _trial(6, n=n, visits=3).items()}
    data = _data(columns, "y ~ base")
    ml, reml = (
        fit_mmrm(data, structures=("cs",), reml=reml, df_method="satterthwaite") for reml in (False, True)
    )
    assert ml.covariance[0, 0] == pytest.approx(reml.covariance[0, 0] * (n - 2) / n, rel=1e-8)
    assert ml.deviance == pytest.approx(n * (np.log(2 * np.pi * ml.covariance[0, 0]) + 1), rel=1e-9)
    assert ml.aic == pytest.approx(ml.deviance + 2 * 3)
    assert reml.bic == pytest.approx(reml.deviance + np.log(n))


def test_cells_without_data_are_not_estimable_and_say_so():
    columns = _trial(12, n=24, visits=3, arms=2)
    columns["y"][(columns["arm"] == 1) & (columns["visit"] == 2)] = np.nan
    fit = fit_mmrm(_data(columns, "y ~ arm * visit", levels={"arm": (0, 1)}))
    assert fit.aliased == ("arm1:visit2",)
    assert "arm1:visit2" not in fit.coefficient_names
    means = {(mean.levels["arm"], mean.levels["visit"]): mean for mean in fit.ls_means(("arm", "visit"))}
    for cell, mean in means.items():
        if cell == (1, 2):
            assert mean.contrast is None
            assert mean.reason == "contrast: not estimable: the data do not determine arm1:visit2"
        else:
            assert np.isfinite(mean.contrast.p_value)
            assert not mean.reason
    with pytest.raises(NotEstimableError, match="arm1:visit2"):
        fit.contrast({"arm1:visit2": 1})
    with pytest.raises(NotEstimableError, match="arm1:visit2"):
        fit.f_test(np.eye(6)[3:])


def test_a_redundant_column_changes_nothing_that_is_estimable():
    columns = _trial(13, n=24, visits=3, arms=2)
    columns["site"] = np.where(columns["arm"] == 1, "south", "north")
    plain = fit_mmrm(_data(columns, "y ~ arm * visit", levels={"arm": (0, 1)}))
    aliased = fit_mmrm(_data(columns, "y ~ arm * visit + site", levels={"arm": (0, 1)}))
    assert aliased.aliased == ("sitesouth",)
    assert aliased.deviance == pytest.approx(plain.deviance, rel=1e-10)
    # An arm at one site only: their sum is what the data determine, neither alone.
    _close(aliased.contrast({"arm1": 1, "sitesouth": 1}), plain.contrast({"arm1": 1}))
    with pytest.raises(NotEstimableError, match="sitesouth"):
        aliased.contrast({"arm1": 1})


def test_means_are_averages_of_cells():
    columns = _trial(14, n=30, visits=3, arms=3)
    columns["sex"] = np.where(columns["subject"] % 5 < 3, "f", "m")
    fit = fit_mmrm(_data(columns, "y ~ arm * visit + sex * visit + base", levels={"arm": (0, 1, 2)}))
    cells = {tuple(mean.levels.values()): mean.contrast for mean in fit.ls_means(("arm", "sex", "visit"))}
    for mean in fit.ls_means(("arm", "visit")):
        arm, visit = mean.levels.values()
        expected = (cells[arm, "f", visit].estimate + cells[arm, "m", visit].estimate) / 2
        assert mean.contrast.estimate == pytest.approx(expected, rel=1e-10)
    is_seen = ~np.isnan(columns["y"])
    share = (columns["sex"][is_seen] == "f").mean()
    for mean in fit.ls_means(("arm", "visit"), weights="observed"):
        arm, visit = mean.levels.values()
        expected = share * cells[arm, "f", visit].estimate + (1 - share) * cells[arm, "m", visit].estimate
        assert mean.contrast.estimate == pytest.approx(expected, rel=1e-10)
    differences = fit.ls_mean_differences("arm", by=("visit",), reference=1)
    assert [(one.level, one.by["visit"]) for one in differences] == [
        (level, visit) for visit, level in itertools.product((0, 1, 2), (0, 2))
    ]
    means = {tuple(mean.levels.values()): mean.contrast for mean in fit.ls_means(("arm", "visit"))}
    for one in differences:
        expected = means[one.level, one.by["visit"]].estimate - means[1, one.by["visit"]].estimate
        assert one.contrast.estimate == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"structures": ("ante",)}, "structure: 'ante': must be one of us, toeph"),
        ({"structures": ()}, "structures: none given"),
        ({"df_method": "residual"}, "df_method: 'residual': must be one of kenward-roger"),
        ({"reml": False}, "with maximum likelihood: must be 'satterthwaite'"),
        ({"start": [1.0]}, "start: shape .*: must be 6 finite parameters"),
    ],
)
def test_arguments_that_make_no_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_mmrm(_data(_trial(1)), **arguments)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda fit: fit.contrast({"week": 1}), "weights: 'week': must be one of"),
        (lambda fit: fit.contrast([1.0]), r"weights: shape \(1,\)"),
        (lambda fit: fit.contrast([np.nan] * 6), "weights: must be finite"),
        (lambda fit: fit.f_test([1.0]), r"weights: shape \(1,\)"),
        (lambda fit: fit.f_test(np.zeros((2, 6))), "weights: every one is zero"),
        (lambda fit: fit.ls_means(("arm",)), "factor: 'arm': must be one of visit"),
        (lambda fit: fit.ls_means(("visit",), at={"age": 3}), "at: 'age': must be a covariate: base"),
        (lambda fit: fit.ls_means(("visit",), weights="cells"), "weights: 'cells': must be one of equal"),
        (lambda fit: fit.ls_mean_differences("visit", reference=9), "visit: 9: must be one of 0, 1, 2"),
        (lambda fit: fit.ls_mean_differences("visit", by=("visit",)), "by: 'visit': must not be the factor"),
        (lambda fit: fit.contrast({"base": 1}).interval(95), "level: 95"),
    ],
)
def test_questions_that_a_fit_cannot_answer_are_refused(ask, message):
    fit = fit_mmrm(_data(_trial(1)))
    with pytest.raises(ValueError, match=message):
        ask(fit)
