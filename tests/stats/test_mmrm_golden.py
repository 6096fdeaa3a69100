"""Fits of seven small trials against R's gls, lmerTest, pbkrtest and emmeans; see golden_mmrm/README.md."""

from __future__ import annotations

import csv
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tasks.stats.mmrm import STRUCTURE_NAMES, MmrmData, fit_mmrm

GOLDEN = Path(__file__).parent / "golden_mmrm"
# gls stops where the log-likelihood is within 1e-7 of its maximum. A quadratic that is off by d at the top is
# off by sqrt(2 d) standard errors in its parameters: 4.5e-4; the search's last step makes that 1e-5 in
# practice.
SHORT_OF_THE_MAXIMUM = 1e-7
CLOSE = 5e-5


def _read(name):
    with (GOLDEN / name).open(newline="") as file:
        return list(csv.DictReader(file))


@cache
def _trial(name):
    rows = [row for row in _read("data.csv") if row["data"] == name]
    return {
        "subject": [int(row["subject"]) for row in rows],
        "V": [int(row["visit"]) for row in rows],
        "A": [int(row["arm"]) for row in rows],
        "base": [float(row["base"]) for row in rows],
        "y": [float(row["y"]) for row in rows],
    }


@cache
def _data(name, formula=None):
    columns = _trial(name)
    arms = sorted(set(columns["A"]))
    if formula is None:
        formula = "y ~ V + base + V:base" if len(arms) == 1 else "y ~ base + A * V + base * V"
    levels = {"A": arms} if "A" in formula else None
    return MmrmData.from_columns(columns, formula, subject="subject", visit="V", levels=levels)


def _same_term(ours):
    return frozenset(ours.split(":"))


@pytest.mark.parametrize("fitted", _read("fits.csv"), ids=lambda row: "-".join(list(row.values())[:3]))
def test_fits_are_those_of_gls(fitted):
    key = (fitted["data"], fitted["structure"], fitted["method"])
    data = _data(fitted["data"])
    fit = fit_mmrm(
        data, structures=(fitted["structure"],), df_method="satterthwaite", reml=fitted["method"] == "REML"
    )
    ahead = fit.log_likelihood - float(fitted["log_likelihood"])
    assert -1e-9 < ahead < SHORT_OF_THE_MAXIMUM

    inflated = 1.0
    if fitted["method"] == "ML":
        inflated = np.sqrt(data.n_observations / (data.n_observations - fit.beta.size))
    ours = dict(
        zip(
            map(_same_term, fit.coefficient_names),
            zip(fit.beta, fit.vcov.diagonal(), strict=True),
            strict=True,
        )
    )
    theirs = [
        row for row in _read("coefficients.csv") if (row["data"], row["structure"], row["method"]) == key
    ]
    assert len(theirs) == len(ours)
    for row in theirs:
        estimate, variance = ours[_same_term(row["term"])]
        error = float(row["std_error"])
        assert inflated * np.sqrt(variance) == pytest.approx(error, rel=CLOSE)
        assert estimate == pytest.approx(float(row["estimate"]), abs=CLOSE * error)

    elements = [
        row for row in _read("covariances.csv") if (row["data"], row["structure"], row["method"]) == key
    ]
    largest = fit.covariance.max()
    assert len(elements) == fit.covariance.size
    for row in elements:
        element = fit.covariance[int(row["row"]) - 1, int(row["column"]) - 1]
        assert element == pytest.approx(float(row["value"]), abs=CLOSE * largest)


def test_the_golden_trials_hold_what_is_hard():
    fits = _read("fits.csv")
    assert len(fits) == 6 * 7 * 2
    assert {row["structure"] for row in fits} == set(STRUCTURE_NAMES)
    assert all(row["converged"] == "TRUE" for row in fits)
    sizes = defaultdict(set)
    for row in _read("data.csv"):
        sizes[row["data"]].add(row["subject"])
    assert sorted(map(len, sizes.values())) == [12, 12, 12, 40, 40, 45, 90]
    assert _data("two_40").n_patterns > 5


@pytest.mark.parametrize(
    "tested",
    _read("f_tests.csv"),
    ids=lambda row: "-".join(row[key] for key in ("data", "hypothesis", "method")),
)
def test_several_contrasts_at_once_are_tested_as_in_lmertest_and_pbkrtest(tested):
    fit = fit_mmrm(_data(tested["data"], "y ~ base + A * V"), structures=("cs",), df_method=tested["method"])
    names = fit.coefficient_names
    chosen = {
        "visits": [name.startswith("V") for name in names],
        "interaction": [":" in name for name in names],
        "arm_and_visits": [name.startswith(("A", "V")) for name in names],
        "all_but_intercept": [name != "(Intercept)" for name in names],
    }[tested["hypothesis"]]
    test = fit.f_test(np.eye(len(names))[np.array(chosen)])
    # lmerTest differentiates numerically; its df are good to about five digits.
    assert test.f == pytest.approx(float(tested["f"]), rel=1e-6)
    assert test.numerator_df == int(tested["numerator_df"])
    assert test.denominator_df == pytest.approx(float(tested["denominator_df"]), rel=2e-5)
    assert test.p_value == pytest.approx(float(tested["p_value"]), rel=1e-4)
    assert test.scale == pytest.approx(float(tested["scale"]), rel=1e-6)


@pytest.mark.parametrize("mean", _read("ls_means.csv"), ids=lambda row: "-".join(list(row.values())[:3]))
def test_least_squares_means_are_those_of_emmeans(mean):
    fit = fit_mmrm(_data(mean["data"], "y ~ base + A * V"), structures=("cs",), df_method="satterthwaite")
    weights = "observed" if mean["weights"] == "proportional" else "equal"
    ours = {one.levels["V"]: one.contrast for one in fit.ls_means(("V",), weights=weights)}[
        int(mean["visit"])
    ]
    assert ours.estimate == pytest.approx(float(mean["estimate"]), rel=1e-6)
    assert ours.standard_error == pytest.approx(float(mean["std_error"]), rel=1e-6)
    assert ours.df == pytest.approx(float(mean["df"]), rel=2e-5)
