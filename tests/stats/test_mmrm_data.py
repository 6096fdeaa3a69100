"""What a formula and columns become, which bad input is refused, and refits that reuse what was prepared."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.stats.mmrm import MmrmData, fit_mmrm
from tasks.stats.mmrm.design import parse_formula

FORMULA = "y ~ base + arm * visit + base * visit + site"


def _columns(seed=1, n=40, visits=4, missing=0.2):
    random = np.random.default_rng(seed)
    subject, visit = (part.ravel() for part in np.mgrid[:n, :visits])
    base = random.normal(20, 5, n)
    y = (
        0.4 * base[subject]
        - visit
        + random.normal(0, 2, n)[subject]
        + random.normal(0, 1 + visit, subject.size)
    )
    y[(random.random(subject.size) < missing) & (visit > 0)] = np.nan
    return {
        "y": y,
        "subject": np.array([f"s{number:03}" for number in subject]),
        "visit": visit,
        "base": base[subject],
        "arm": np.where(subject % 2, "active", "control"),
        "site": np.array(["north", "east", "west"])[subject % 3],
    }


def _data(columns, formula=FORMULA, **more):
    levels = {"arm": ("control", "active")} if "arm" in formula else None
    return MmrmData.from_columns(
        columns, formula, **{"subject": "subject", "visit": "visit", "levels": levels} | more
    )


@pytest.mark.parametrize(
    ("formula", "terms"),
    [
        ("y ~ a", [(), ("a",)]),
        ("y ~ 1", [()]),
        ("y ~ 0 + a", [("a",)]),
        ("y ~ a*b", [(), ("a",), ("b",), ("a", "b")]),
        ("y ~ a:b + b", [(), ("b",), ("a", "b")]),
        ("y ~ a*b*c", [(), ("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c")]),
        ("y ~ a + b + b:a + a*b", [(), ("a",), ("b",), ("a", "b")]),
        ("log.y ~ größe", [(), ("größe",)]),
    ],
)
def test_formulas_mean_what_they_mean_in_r(formula, terms):
    assert list(parse_formula(formula).terms) == terms


@pytest.mark.parametrize(
    "formula", ["y", "~ a", "y ~", "y ~ a +", "y ~ a b", "y ~ a - b", "y ~ y + a", "y ~ 0", "2 ~ a"]
)
def test_formulas_that_say_nothing_are_refused(formula):
    with pytest.raises(ValueError, match="formula: "):
        parse_formula(formula)


def test_columns_are_named_and_coded_as_in_r():
    columns = {
        "y": [1.0, 2.0, 4.0, 7.0, 5.0, 9.0, 3.0, 4.0],
        "s": [1, 1, 1, 2, 2, 2, 3, 3],
        "v": ["a", "b", "c", "a", "b", "c", "a", "b"],
        "x": [2, 2, 2, 5, 5, 5, 3, 3],
    }
    data = MmrmData.from_columns(columns, "y ~ v * x", subject="s", visit="v")
    assert data.column_names == ("(Intercept)", "vb", "vc", "x", "vb:x", "vc:x")
    np.testing.assert_array_equal(
        data.rows.x[[0, 2, 4]], [[1, 0, 0, 2, 0, 0], [1, 0, 1, 2, 0, 2], [1, 1, 0, 5, 5, 0]]
    )


def test_a_factor_without_its_margin_has_a_column_for_each_level():
    columns = _columns(n=12)
    cells = _data(columns, "y ~ 0 + visit:arm")
    assert len(cells.column_names) == 8
    assert _data(columns, "y ~ 0 + visit").column_names == ("visit0", "visit1", "visit2", "visit3")
    slopes = _data(columns, "y ~ visit + visit:base")
    assert slopes.column_names[4:] == ("visit0:base", "visit1:base", "visit2:base", "visit3:base")
    one, other = (fit_mmrm(each) for each in (slopes, _data(columns, "y ~ visit * base")))
    for mean, same in zip(one.ls_means(("visit",)), other.ls_means(("visit",)), strict=True):
        assert mean.contrast.estimate == pytest.approx(same.contrast.estimate, rel=1e-7)
        assert mean.contrast.df == pytest.approx(same.contrast.df, rel=1e-6)


def test_rows_that_lack_a_value_are_left_out_and_counted():
    columns = _columns(missing=0)
    columns["base"][columns["subject"] == "s003"] = np.nan
    columns["y"][:2] = np.nan
    columns["site"] = [
        None if subject == "s005" else site
        for subject, site in zip(columns["subject"], columns["site"], strict=True)
    ]
    data = _data(columns)
    assert data.n_subjects == 38
    assert data.n_observations == 38 * 4 - 2
    assert "s003" not in data.subjects
    is_used = ~np.isin(columns["subject"], ["s003", "s005"]) & ~np.isnan(columns["y"])
    assert data.covariate_means()["base"] == pytest.approx(columns["base"][is_used].mean())


def test_numbers_with_none_among_them_are_no_factor():
    columns = _columns()
    columns["base"] = [None, *columns["base"][1:].tolist()]
    columns["y"] = [None if np.isnan(y) else y for y in columns["y"]]
    data = _data(columns, "y ~ visit + base")
    assert data.column_names == ("(Intercept)", "visit1", "visit2", "visit3", "base")
    assert data.n_observations == _data(_columns(), "y ~ visit + base").n_observations - 1


def test_a_level_without_rows_is_dropped_and_named():
    columns = _columns()
    columns["y"][columns["visit"] == 3] = np.nan
    data = _data(columns)
    assert data.visits == (0, 1, 2)
    assert data.dropped_levels == {"visit": (3,)}
    assert _data(_columns()).dropped_levels == {}


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, {"subject": "patient"}, "columns: patient missing: there are y, subject"),
        ({"base": np.ones(3)}, {}, "columns: lengths .*'base': 3.*must be equal"),
        ({"y": ["high"] * 160}, {}, "y: values that are no numbers"),
        ({"y": np.full(160, np.inf)}, {}, "y: inf in row 0: must be finite or missing"),
        ({"y": np.full(160, np.nan)}, {}, "data: no row with every value"),
        ({"visit": np.zeros(160)}, {}, "data: subject 's000' at visit 0.0: more than one row"),
        ({"subject": [None] * 160}, {}, "subject: missing in row 0"),
        ({}, {"levels": {"arm": ("control",)}}, "arm: 'active': must be one of control"),
        (
            {},
            {"levels": {"arm": ("control", "active", "control")}},
            "arm: levels .*: each must be given once",
        ),
        ({}, {"levels": {"sex": ("f", "m")}}, "levels: sex: must be of a factor in the model"),
        ({}, {"group": "visit"}, "group: subject 's000' is in several"),
        ({"site": [1, "a"] * 80}, {"levels": {}}, None),
        ({"site": np.array([1, "a"] * 80, dtype=object)}, {}, "site: values of several types"),
        ({"y": np.zeros(160)}, {}, "response: no variation beside the model"),
    ],
)
def test_bad_columns_are_refused_with_the_value(change, arguments, message):
    columns = {**_columns(missing=0), **change}
    if message is None:  # numpy makes text of a mixed list: two levels
        assert "sitea" in _data(columns, **arguments).column_names
        return
    with pytest.raises(ValueError, match=message):
        _data(columns, **arguments)


def test_more_coefficients_than_observations_are_refused():
    with pytest.raises(ValueError, match="data: 8 observations for 8 coefficients: more observations needed"):
        _data(_columns(n=2, missing=0), "y ~ 0 + visit:arm", levels=None)


def test_arrays_are_fitted_as_columns_are():
    columns = _columns()
    prepared = _data(columns)
    design = np.full((160, len(prepared.column_names)), np.nan)
    design[prepared.rows.input_row] = prepared.rows.x
    data = MmrmData.from_arrays(
        columns["y"],
        design,
        subject=columns["subject"],
        visit=columns["visit"],
        column_names=prepared.column_names,
    )
    one, other = fit_mmrm(prepared), fit_mmrm(data)
    assert one.deviance == pytest.approx(other.deviance, rel=1e-12)
    np.testing.assert_allclose(one.vcov, other.vcov, rtol=1e-7)
    with pytest.raises(ValueError, match="least-squares means need a formula"):
        other.ls_means(("visit",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"design": np.ones((3, 2))}, r"design: shape \(3, 2\): must be \(160, columns\)"),
        ({"design": np.full((160, 2), np.inf)}, "design: infinite"),
        ({"column_names": ("one",)}, "column_names: 1: must be 2"),
        ({"visit": [1, 2]}, "visit: length 2: must be 160"),
        ({"group": ["a"]}, "group: length 1: must be 160"),
        ({"response": np.full(160, np.nan)}, "data: no row with every value"),
    ],
)
def test_bad_arrays_are_refused(change, message):
    columns = _columns()
    arguments = {
        "response": columns["y"],
        "design": np.column_stack([np.ones(160), columns["base"]]),
        "subject": columns["subject"],
        "visit": columns["visit"],
    } | change
    with pytest.raises(ValueError, match=message):
        MmrmData.from_arrays(arguments.pop("response"), arguments.pop("design"), **arguments)


def _same_fit(one, other):
    assert one.structure == other.structure
    assert (one.n_subjects, one.n_observations) == (other.n_subjects, other.n_observations)
    assert one.deviance == pytest.approx(other.deviance, rel=1e-10)
    assert one.coefficient_names == other.coefficient_names
    np.testing.assert_allclose(one.beta, other.beta, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(one.vcov, other.vcov, rtol=1e-5, atol=1e-7)
    for mean, same in zip(one.ls_means(("arm", "visit")), other.ls_means(("arm", "visit")), strict=True):
        assert mean.contrast.estimate == pytest.approx(same.contrast.estimate, rel=1e-6)
        assert mean.contrast.df == pytest.approx(same.contrast.df, rel=1e-5)


@pytest.mark.parametrize("left_out", ["s000", "s017", "s039"])
def test_leaving_a_subject_out_is_preparing_the_others(left_out):
    columns = _columns()
    data = _data(columns)
    full = fit_mmrm(data)
    others = columns["subject"] != left_out
    expected = fit_mmrm(_data({name: values[others] for name, values in columns.items()}))
    _same_fit(fit_mmrm(data.without(left_out), start=full.theta), expected)
    assert left_out not in data.without(left_out).subjects
    assert left_out in data.subjects


def test_leaving_out_the_last_of_a_level_drops_the_level():
    columns = _columns()
    columns["site"][columns["subject"] == "s007"] = "south"
    data = _data(columns).without("s007")
    assert data.dropped_levels == {"site": ("south",)}
    others = columns["subject"] != "s007"
    _same_fit(fit_mmrm(data), fit_mmrm(_data({name: values[others] for name, values in columns.items()})))


def test_subjects_can_be_left_out_one_after_another():
    columns = _columns()
    data = _data(columns)
    for subject in ("s001", "s002", "s011"):
        data = data.without(subject)
    others = ~np.isin(columns["subject"], ["s001", "s002", "s011"])
    _same_fit(fit_mmrm(data), fit_mmrm(_data({name: values[others] for name, values in columns.items()})))
    with pytest.raises(ValueError, match="subject: 's001': must be analysed"):
        data.without("s001")
    with pytest.raises(ValueError, match="subject: 's999': must be one of those analysed"):
        data.without("s999")


def test_another_response_is_preparing_it():
    columns = _columns()
    data = _data(columns)
    other = columns["y"] ** 2 / 10 + 3
    expected = fit_mmrm(_data({**columns, "y": other}))
    _same_fit(fit_mmrm(data.with_response(other)), expected)
    shift = np.where((columns["arm"] == "active") & (columns["visit"] == 3), 1.5, 0.0)
    moved = fit_mmrm(data.shifted(shift))
    _same_fit(moved, fit_mmrm(_data({**columns, "y": columns["y"] + shift})))
    last = [one.contrast.estimate for one in moved.ls_mean_differences("arm", by=("visit",))][-1]
    plain = [one.contrast.estimate for one in fit_mmrm(data).ls_mean_differences("arm", by=("visit",))][-1]
    assert last == pytest.approx(plain + 1.5, rel=1e-6)


def test_another_response_reaches_whom_leaving_out_left():
    columns = _columns()
    other = columns["y"] + np.sin(np.arange(160))
    others = columns["subject"] != "s020"
    kept = {name: values[others] for name, values in {**columns, "y": other}.items()}
    _same_fit(fit_mmrm(_data(columns).without("s020").with_response(other)), fit_mmrm(_data(kept)))


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (np.zeros(3), r"response: shape \(3,\): must be \(160,\)"),
        (np.full(160, np.nan), "missing or infinite in an analysed"),
    ],
)
def test_a_response_that_does_not_fit_is_refused(response, message):
    with pytest.raises(ValueError, match=message):
        _data(_columns()).with_response(response)


def test_condensing_keeps_every_sum_of_products():
    # 400 subjects become a few rows for each pattern; the likelihood must not notice.
    columns = _columns(n=400)
    data = _data(columns)
    assert data.moments.x.shape[0] < 10 * data.n_patterns
    x, y = data.rows.x, data.response
    fit = fit_mmrm(data, structures=("cs",), df_method="satterthwaite")
    information, score = 0.0, 0.0
    for subject in range(400):
        rows = data.rows.subject.codes == subject
        visits = data.rows.visit.codes[rows]
        inverse = np.linalg.inv(fit.covariance[np.ix_(visits, visits)])
        information = information + x[rows].T @ inverse @ x[rows]
        score = score + x[rows].T @ inverse @ y[rows]
    np.testing.assert_allclose(fit.beta, np.linalg.solve(information, score), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(fit.vcov, np.linalg.inv(information), rtol=1e-8, atol=1e-12)
