"""760 random small data sets against R; see golden_clinical/README.md."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from tasks.stats import cochran_mantel_haenszel as cmh
from tasks.stats import contingency, multiplicity, proportion, rank_sum
from tasks.stats.cox import cox_regression
from tasks.stats.linear_model import (
    fit_linear_model,
    least_squares_differences,
    least_squares_means,
    linear_trend,
    one_way_anova,
    type_iii_tests,
)
from tasks.stats.log_rank import log_rank, log_rank_trend
from tasks.stats.marginal_homogeneity import bhapkar, ordinal_marginal_homogeneity, stuart_maxwell
from tasks.stats.pooling import pool_rubin
from tasks.stats.power import detectable_proportion, detectable_two_sample_t
from tasks.stats.regression_to_mean import expected_regression, mee_chua, oldham, pitman_morgan
from tasks.stats.survival import kaplan_meier, restricted_mean, survival_at, survival_quantile

GOLDEN = Path(__file__).parent / "golden_clinical"
# The same few dozen doubles are summed in another order and pass through one factorisation.
RELATIVE = 1e-8
# fisher.test solves for the odds ratio, or its inverse above one, with uniroot's default tolerance, which is
# .Machine$double.eps^0.25. That ours are exact is shown beside the module, by the tails at the ends.
UNIROOT = 1.3e-4


def _read():
    data, numbers = defaultdict(lambda: defaultdict(dict)), defaultdict(lambda: defaultdict(dict))
    with (GOLDEN / "samples.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            values = row["values"].split(" ")
            try:
                data[row["family"]][row["case"]][row["name"]] = np.array([float(value) for value in values])
            except ValueError:
                data[row["family"]][row["case"]][row["name"]] = values
    with (GOLDEN / "results.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            value = float("nan") if row["value"] == "NA" else float(row["value"])
            numbers[row["family"]][row["case"]][row["quantity"]] = value
    return {
        family: [(case, data[family][case], numbers[family][case]) for case in data[family]]
        for family in data
    }


CASES = _read()


def _agrees(ours, expected, where, *, rel=RELATIVE, absolute=1e-10):
    assert ours == pytest.approx(expected, rel=rel, abs=absolute, nan_ok=True), where


def _tables(values, dims):
    return values.reshape([int(size) for size in dims])


def test_every_family_has_its_cases():
    counts = {family: len(cases) for family, cases in CASES.items()}
    assert counts == {
        "linear": 60,
        "two_by_two": 100,
        "r_by_c": 80,
        "stratified_2x2": 60,
        "stratified": 60,
        "paired_categories": 80,
        "rank_sum": 80,
        "proportions": 80,
        "survival": 60,
        "multiplicity": 20,
        "pooling": 20,
        "regression_to_mean": 30,
        "expected_regression": 20,
        "power": 10,
    }


def _linear(data, case):
    interactions = [("g", "h")] if int(case) % 2 else []
    factors = {"g": data["g"], "h": data["h"]}
    return fit_linear_model(
        data["y"], factors=factors, covariates={"x": data["x"]}, interactions=interactions
    )


def test_linear_model():
    for case, data, expected in CASES["linear"]:
        model = _linear(data, case)
        assert f"coef{len(model.coefficients) + 1}.estimate" not in expected
        for i, coefficient in enumerate(model.coefficients, start=1):
            _agrees(coefficient.estimate, expected[f"coef{i}.estimate"], case)
            _agrees(coefficient.standard_error, expected[f"coef{i}.se"], case)
            _agrees(coefficient.p_value, expected[f"coef{i}.p"], case)
        _agrees(model.coefficients[1].interval.low, expected["confint.low"], case)
        _agrees(model.coefficients[1].interval.high, expected["confint.high"], case)
        _agrees(model.r_squared, expected["r2"], case)
        tests = type_iii_tests(model)
        assert {f"typeIII.{test.term}.f" for test in tests} == {
            name for name in expected if name.startswith("typeIII") and name.endswith(".f")
        }
        for test in tests:
            _agrees(test.sum_of_squares, expected[f"typeIII.{test.term}.ss"], case)
            assert test.df == expected[f"typeIII.{test.term}.df"]
            _agrees(test.f, expected[f"typeIII.{test.term}.f"], case)
            _agrees(test.p_value, expected[f"typeIII.{test.term}.p"], case)


@pytest.mark.parametrize(("weights", "name"), [("equal", "equal"), ("observed", "proportional")])
def test_least_squares_means(weights, name):
    for case, data, expected in CASES["linear"]:
        model = _linear(data, case)
        for mean in least_squares_means(model, "g", weights=weights):
            key = f"mean.{name}.{mean.level_name}"
            _agrees(mean.estimate, expected[f"{key}.estimate"], case)
            _agrees(mean.standard_error, expected[f"{key}.se"], case)
            _agrees(mean.interval.low, expected[f"{key}.low"], case)
            _agrees(mean.interval.high, expected[f"{key}.high"], case)
        differences = least_squares_differences(model, "g", weights=weights)
        assert len(differences) == sum(
            key.startswith(f"diff.{name}.") and key.endswith(".p") for key in expected
        )
        for difference in differences:
            key = f"diff.{name}.{difference.level_name}-{difference.reference}"
            _agrees(difference.estimate, expected[f"{key}.estimate"], case)
            _agrees(difference.standard_error, expected[f"{key}.se"], case)
            _agrees(difference.p_value, expected[f"{key}.p"], case)
            _agrees(difference.interval.low, expected[f"{key}.low"], case)
            _agrees(difference.interval.high, expected[f"{key}.high"], case)


def test_anova_and_trend():
    for case, data, expected in CASES["linear"]:
        anova = one_way_anova(data["y"], data["g"])
        _agrees(anova.statistic, expected["anova.f"], case)
        _agrees(anova.p_value, expected["anova.p"], case)
        trend = linear_trend(data["y"], data["dose"], factors={"h": data["h"]}, covariates={"x": data["x"]})
        _agrees(trend.estimate, expected["trend.estimate"], case)
        _agrees(trend.standard_error, expected["trend.se"], case)
        _agrees(trend.p_value, expected["trend.p"], case)


def test_two_by_two():
    for case, data, expected in CASES["two_by_two"]:
        table = data["table"].reshape(2, 2)
        _agrees(contingency.fisher_exact(table).p_value, expected["fisher"], case)
        for side in ("greater", "less"):
            _agrees(contingency.fisher_exact(table, alternative=side).p_value, expected[side], case)
        plain = contingency.pearson_chi_square(table)
        _agrees(plain.statistic, expected["chisq"], case)
        _agrees(plain.p_value, expected["chisq_p"], case)
        corrected = contingency.pearson_chi_square(table, continuity=True)
        _agrees(corrected.statistic, expected["yates"], case)
        odds = contingency.conditional_odds_ratio(table)
        for ours, name in (
            (odds.estimate, "odds"),
            (odds.interval.low, "odds_low"),
            (odds.interval.high, "odds_high"),
        ):
            if expected[name] > 1 and np.isfinite(expected[name]):
                _agrees(1 / ours, 1 / expected[name], (case, name), rel=0, absolute=UNIROOT)
            else:
                _agrees(ours, expected[name], (case, name), rel=0, absolute=UNIROOT)


def test_mcnemar():
    compared = [one for one in CASES["two_by_two"] if "mcnemar" in one[2]]
    assert len(compared) > 90
    for case, data, expected in compared:
        table = data["table"].reshape(2, 2)
        asymptotic = contingency.mcnemar(table, method="asymptotic")
        _agrees(asymptotic.statistic, expected["mcnemar"], case)
        corrected = contingency.mcnemar(table, method="asymptotic", continuity=True)
        _agrees(corrected.statistic, expected["mcnemar_corrected"], case)
        _agrees(contingency.mcnemar(table).p_value, expected["mcnemar_exact"], case)
        _agrees(contingency.mcnemar(table, method="mid-p").p_value, expected["mcnemar_mid"], case)


def test_r_by_c():
    for case, data, expected in CASES["r_by_c"]:
        table = _tables(data["table"], data["dim"])
        # FEXACT merges paths whose lengths agree to about 1e-7.
        _agrees(contingency.fisher_exact(table).p_value, expected["fisher"], case, rel=1e-7)
        plain = contingency.pearson_chi_square(table)
        _agrees(plain.statistic, expected["chisq"], case)
        _agrees(plain.p_value, expected["chisq_p"], case)


def test_mantel_haenszel():
    for case, data, expected in CASES["stratified_2x2"]:
        tables = data["table"].reshape(-1, 2, 2)
        result = cmh.mantel_haenszel(tables)
        _agrees(result.test.statistic, expected["q"], case)
        _agrees(result.test.p_value, expected["p"], case)
        _agrees(result.odds_ratio.estimate, expected["odds"], case)
        _agrees(result.odds_ratio.interval.low, expected["low"], case)
        _agrees(result.odds_ratio.interval.high, expected["high"], case)
        corrected = cmh.mantel_haenszel(tables, continuity=True)
        _agrees(corrected.test.statistic, expected["q_corrected"], case)
        # R's root is found to 1e-15 in the count, which is a larger share of the deviation from it.
        for tarone, name in ((False, "breslow_day"), (True, "breslow_day_tarone")):
            statistic = cmh.breslow_day(tables, tarone=tarone).statistic
            _agrees(statistic, expected[name], case, rel=1e-7, absolute=1e-9)


def test_stratified_tables():
    with_strata = 0
    for case, data, expected in CASES["stratified"]:
        tables = _tables(data["table"], data["dim"])
        general = cmh.cmh_general_association(tables)
        _agrees(general.statistic, expected["general.q"], case)
        _agrees(general.p_value, expected["general.p"], case)
        if "mantelhaen.q" in expected:
            with_strata += 1
            _agrees(general.statistic, expected["mantelhaen.q"], case)
            _agrees(general.p_value, expected["mantelhaen.p"], case)
        correlation = cmh.cmh_correlation(tables)
        _agrees(correlation.statistic, expected["correlation.q"], case)
        _agrees(correlation.p_value, expected["correlation.p"], case)
        own = np.arange(tables.shape[2]) ** 2
        for name, scores in {**{kind: kind for kind in cmh.SCORE_KINDS}, "own": own}.items():
            rows = cmh.cmh_row_mean_scores(tables, column_scores=scores)
            _agrees(rows.statistic, expected[f"{name}.q"], (case, name))
            _agrees(rows.p_value, expected[f"{name}.p"], (case, name))
    assert with_strata > 30


def test_marginal_homogeneity():
    for case, data, expected in CASES["paired_categories"]:
        size = int(data["k"][0])
        table = data["table"].reshape(size, size)
        general = stuart_maxwell(table)
        _agrees(general.statistic, expected["stuart"], case)
        _agrees(general.p_value, expected["stuart_p"], case)
        assert general.df == size - 1
        if np.isnan(expected["bhapkar"]):
            with pytest.raises(ValueError, match="changed alike"):
                bhapkar(table)
        else:
            _agrees(bhapkar(table).statistic, expected["bhapkar"], case)
        ordinal = ordinal_marginal_homogeneity(table, scores=data["scores"], method="asymptotic")
        _agrees(abs(ordinal.statistic), expected["ordinal_z"], case)
        _agrees(ordinal.p_value, expected["ordinal_p"], case)
        sides = {
            "exact": "two-sided",
            "exact_coin": "two-sided",
            "exact_greater": "greater",
            "exact_less": "less",
        }
        for name, side in sides.items():
            exact = ordinal_marginal_homogeneity(table, scores=data["scores"], alternative=side)
            assert exact.is_exact
            _agrees(exact.p_value, expected[name], (case, side))


def test_rank_sum():
    for case, data, expected in CASES["rank_sum"]:
        first, second = data["first"], data["second"]
        exact = rank_sum.rank_sum_exact(first, second)
        assert exact.statistic == expected["w"]
        _agrees(exact.p_value, expected["exact"], case)
        for side in ("greater", "less"):
            one_sided = rank_sum.rank_sum_exact(first, second, alternative=side)
            _agrees(one_sided.p_value, expected[side], (case, side))
        normal = rank_sum.rank_sum_asymptotic(first, second, continuity=False)
        _agrees(normal.p_value, expected["normal"], case)
        corrected = rank_sum.rank_sum_asymptotic(first, second, continuity=True)
        _agrees(corrected.p_value, expected["corrected"], case)
        less = rank_sum.rank_sum_asymptotic(first, second, continuity=True, alternative="less")
        _agrees(less.p_value, expected["corrected_less"], case)
        groups = [name for name in ("first", "second", "third") for _ in data[name]]
        third = rank_sum.kruskal_wallis(np.concatenate([first, second, data["third"]]), groups)
        _agrees(third.statistic, expected["kruskal"], case)
        _agrees(third.p_value, expected["kruskal_p"], case)


def test_proportions():
    ratios = 0
    for case, data, expected in CASES["proportions"]:
        (s, s2), (n, n2) = data["s"].astype(int).tolist(), data["n"].astype(int).tolist()
        intervals = {
            "wilson": proportion.wilson(s, n),
            "corrected": proportion.wilson(s, n, continuity=True),
            "newcombe": proportion.newcombe_difference(s, n, s2, n2).interval,
            "newcombe_corrected": proportion.newcombe_difference(s, n, s2, n2, continuity=True).interval,
            "mn": proportion.miettinen_nurminen_difference(s, n, s2, n2).interval,
        }
        for name, interval in intervals.items():
            _agrees(interval.low, expected[f"{name}_low"], (case, name))
            _agrees(interval.high, expected[f"{name}_high"], (case, name))
        if "ratio" in expected:
            ratios += 1
            ratio = proportion.risk_ratio(s, n, s2, n2)
            # Iterated by glm until the deviance settles to 1e-14.
            _agrees(ratio.estimate, expected["ratio"], case, rel=1e-6)
            _agrees(ratio.standard_error, expected["ratio_se"], case, rel=1e-5)
    assert ratios > 50


@pytest.mark.parametrize("kind", ["log-log", "log", "plain"])
def test_kaplan_meier(kind):
    compared, rising = 0, 0
    for case, data, expected in CASES["survival"]:
        curve = kaplan_meier(data["time"], data["event"], interval=kind)
        for i, time in enumerate(data["at"].tolist(), start=1):
            point = survival_at(curve, time)
            name = f"{kind}.{i}"
            _agrees(point.estimate, expected[f"{name}.surv"], case)
            assert point.n_at_risk == expected[f"{name}.n"]
            if point.estimate == 0:
                assert point.standard_error == 0
                assert point.interval is None
                continue
            _agrees(point.standard_error, expected[f"{name}.se"], case)
            if point.interval is None:
                assert point.estimate == 1
            else:
                _agrees(point.interval.low, expected[f"{name}.low"], (case, name))
                _agrees(point.interval.high, expected[f"{name}.high"], (case, name))
        for i, probability in enumerate((0.25, 0.5, 0.75), start=1):
            quantile = survival_quantile(curve, probability)
            for field, line in (("estimate", curve.survival), ("low", curve.low), ("high", curve.high)):
                # Where a limit rises again, R sorts it and takes a later time than the first; see the README.
                if (np.diff(line[np.isfinite(line)]) > 0).any():
                    rising += 1
                    continue
                compared += 1
                ours = getattr(quantile, field)
                _agrees(np.nan if ours is None else ours, expected[f"{kind}.q{i}.{field}"], (case, i, field))
    assert compared > 10 * rising


def test_restricted_mean():
    for case, data, expected in CASES["survival"]:
        curve = kaplan_meier(data["time"], data["event"])
        mean = restricted_mean(curve, float(data["horizon"][0]))
        _agrees(mean.estimate, expected["rmean.estimate"], case)
        _agrees(mean.standard_error, expected["rmean.se"], case)


def test_log_rank():
    for case, data, expected in CASES["survival"]:
        plain = log_rank(data["time"], data["event"], data["g"])
        _agrees(plain.statistic, expected["logrank"], case)
        _agrees(plain.expected[0], expected["expected"], case)
        stratified = log_rank(data["time"], data["event"], data["g"], stratum=data["s"])
        _agrees(stratified.statistic, expected["logrank_strata"], case)
        scores = {name: i for i, name in enumerate(plain.groups)}
        trend = log_rank_trend(data["time"], data["event"], data["g"], scores=scores)
        _agrees(trend.statistic, expected["trend"], case)


def test_cox():
    stratified = 0
    for case, data, expected in CASES["survival"]:
        for name, stratum in (("cox", None), ("cox_strata", data["s"])):
            if f"{name}.lrt" not in expected:
                continue
            stratified += stratum is not None
            model = cox_regression(
                data["time"],
                data["event"],
                factors={"g": data["g"]},
                covariates={"x": data["x"]},
                stratum=stratum,
            )
            assert model.is_converged
            # R stops when a step changes the log likelihood by 1e-11 of it: coefficients are off by its root.
            for i, ratio in enumerate(model.coefficients, start=1):
                _agrees(
                    ratio.log_hazard_ratio, expected[f"{name}{i}.estimate"], case, rel=1e-6, absolute=1e-7
                )
                _agrees(ratio.standard_error, expected[f"{name}{i}.se"], case, rel=1e-6)
                _agrees(ratio.interval.low, expected[f"{name}{i}.low"], case, rel=1e-6)
                _agrees(ratio.interval.high, expected[f"{name}{i}.high"], case, rel=1e-6)
                _agrees(ratio.p_value, expected[f"{name}{i}.p"], case, rel=1e-5)
            _agrees(model.log_likelihood_null, expected[f"{name}.null"], case)
            _agrees(model.log_likelihood, expected[f"{name}.full"], case)
            _agrees(model.likelihood_ratio.statistic, expected[f"{name}.lrt"], case, absolute=1e-7)
            _agrees(model.wald.statistic, expected[f"{name}.wald"], case, rel=1e-5)
            _agrees(model.score.statistic, expected[f"{name}.score"], case, absolute=1e-7)
    assert stratified > 30


def test_adjusted_p():
    names = {"bonferroni": "bonferroni", "holm": "holm", "hochberg": "hochberg", "benjamini-hochberg": "BH"}
    for case, data, expected in CASES["multiplicity"]:
        for method, name in names.items():
            adjusted = multiplicity.adjusted_p(data["p"], method)
            for i, value in enumerate(adjusted.tolist(), start=1):
                _agrees(value, expected[f"{name}.{i}"], (case, method))


def test_pooling():
    for case, data, expected in CASES["pooling"]:
        n = float(data["n"][0])
        for name, complete_df in (("large", None), ("small", n - 2)):
            pooled = pool_rubin(data["q"], data["u"], complete_df=complete_df)
            _agrees(pooled.estimate, expected[f"{name}.estimate"], case)
            _agrees(pooled.standard_error**2, expected[f"{name}.variance"], case)
            _agrees(pooled.df, expected[f"{name}.df"], case)
            _agrees(pooled.fraction_missing_information, expected[f"{name}.fmi"], case)
        _agrees(pooled.relative_increase, expected["large.riv"], case)


def test_regression_to_mean():
    for case, data, expected in CASES["regression_to_mean"]:
        before, after, mean = data["before"], data["after"], float(data["mu"][0])
        mee = mee_chua(before, after, population_mean=mean)
        _agrees(mee.treatment_effect, expected["effect"], case)
        _agrees(mee.standard_error, expected["se"], case)
        _agrees(mee.p_value, expected["p"], case)
        # R's slope is that of the change in the assumed mean's frame, which is the slope itself.
        _agrees(mee.slope, expected["slope"], case)
        inside = any(low <= 10 <= high for low, high in mee.not_rejected)
        assert inside == (abs(expected["t_at_10"]) <= expected["critical"]), case
        morgan = pitman_morgan(before, after)
        _agrees(morgan.t, expected["morgan_t"], case)
        _agrees(morgan.p_value, expected["morgan_p"], case)
        _agrees(oldham(before, after).statistic, expected["correlation"], case)
        _agrees(oldham(before, after).p_value, expected["morgan_p"], case)


def test_expected_regression():
    for case, data, expected in CASES["expected_regression"]:
        mean, sd, reliability, count, cutoff = (
            float(data[name][0]) for name in ("mean", "sd", "reliability", "k", "cutoff")
        )
        result = expected_regression(mean, sd, reliability, cutoff=cutoff, n_measurements=int(count))
        _agrees(result.selected_share, expected["share"], case)
        _agrees(result.selected_mean, expected["baseline"], case)
        _agrees(result.expected_change, expected["change"], case)


def test_power():
    for case, data, expected in CASES["power"]:
        n, power = int(data["n"][0]), float(data["power"][0])
        # R's own noncentral t is good to about 1e-9 in the probability.
        _agrees(detectable_two_sample_t(n, n, power=power).effect, expected["two_sample"], case, rel=1e-6)
        effect = detectable_proportion(n, 0.2, power=power, alternative="two-sided").effect
        _agrees(effect, expected["proportion"], case)
