from __future__ import annotations

import numpy as np
import pytest

from tasks.stats.multiple_imputation import impute_scores, pool_rubin, shifted


def _trial(n=12, seed=0):
    generator = np.random.default_rng(seed)
    baseline = generator.normal(20, 4, n)
    middle = 0.7 * baseline + generator.normal(3, 2, n)
    end = 0.6 * middle + generator.normal(2, 2, n)
    return np.column_stack([baseline, middle, end])


def _dropped(n=12, seed=0):
    scores = _trial(n, seed)
    scores[[1, 5, 8], 2] = np.nan
    scores[5, 1] = np.nan
    return scores


def test_observed_scores_stay_and_the_seed_repeats():
    scores = _dropped()
    one = impute_scores(scores, n_imputations=5, seed=1)
    seen = ~np.isnan(scores)
    assert one.values.shape == (5, 12, 3)
    assert (one.values[:, seen] == scores[seen]).all()
    assert np.isfinite(one.values).all()
    assert (one.values == impute_scores(scores, n_imputations=5, seed=1).values).all()
    assert (one.values != impute_scores(scores, n_imputations=5, seed=2).values).any()
    assert np.ptp(one.values[:, 1, 2]) > 0


def test_few_subjects_allow_few_predictors_and_it_is_said():
    covariates = np.random.default_rng(1).normal(size=(12, 2))
    imputation = impute_scores(_dropped(), covariates=covariates, n_imputations=2, seed=1)
    assert imputation.is_monotone
    assert imputation.predictors == (
        (),
        ("visit 0", "covariate 0"),  # eleven observed
        ("visit 1", "covariate 0"),  # nine observed
    )
    assert "visit 2: 9 observed allow 2 predictor(s)" in imputation.notes[1]
    assert imputation.notes[1].endswith("left out: covariate 1, visit 0")
    roomy = impute_scores(_dropped(40), covariates=np.ones((40, 1)), n_imputations=2, seed=1)
    assert roomy.notes == ()
    assert roomy.predictors[2] == ("visit 1", "covariate 0", "visit 0")


def test_visits_missed_in_between_take_turns():
    scores = _trial(20)
    scores[[2, 3], 1] = np.nan
    scores[4, 2] = np.nan
    imputation = impute_scores(scores, n_imputations=3, seed=0, n_cycles=5)
    assert not imputation.is_monotone
    assert imputation.n_cycles == 5
    assert imputation.predictors[1] == ("visit 0", "visit 2")


def test_draws_have_the_moments_of_theory():
    # With one complete predictor the predictive distribution is Student's, on n - 2 degrees of freedom, about
    # the fitted line with scale s sqrt(1 + 1/n + d**2 / S); Rubin (1987), example 5.1.
    generator = np.random.default_rng(7)
    before = generator.normal(20, 4, 13)
    after = 0.5 * before + generator.normal(0, 2, 13)
    scores = np.column_stack([before, after])
    scores[12, 1] = np.nan
    draws = impute_scores(scores, n_imputations=8_000, seed=3).values[:, 12, 1]
    x, y = before[:12], after[:12]
    slope, intercept = np.polyfit(x, y, 1)
    s2 = np.square(y - intercept - slope * x).sum() / 10
    spread = s2 * (1 + 1 / 12 + (before[12] - x.mean()) ** 2 / np.square(x - x.mean()).sum())
    variance = spread * 10 / 8  # of Student's t on ten degrees of freedom
    # Four standard errors; the t has a kurtosis of 4.
    assert draws.mean() == pytest.approx(intercept + slope * before[12], abs=4 * np.sqrt(variance / 8_000))
    assert draws.var() == pytest.approx(variance, rel=4 * np.sqrt(3 / 8_000))


def test_intervals_under_missing_at_random_cover():
    # Those with bad baselines drop out: observed cases are biased, imputation by the baseline is not.
    inside, estimates, naive = 0, [], []
    for seed in range(120):
        generator = np.random.default_rng(1000 + seed)
        before = generator.normal(0, 1, 60)
        after = before + generator.normal(0, 1, 60)
        gone = generator.random(60) < 1 / (1 + np.exp(-2 * before))
        naive.append(after[~gone].mean())
        scores = np.column_stack([before, np.where(gone, np.nan, after)])
        values = impute_scores(scores, n_imputations=20, seed=seed).values[:, :, 1]
        pooled = pool_rubin(values.mean(axis=1), values.var(axis=1, ddof=1) / 60, complete_df=59)
        estimates.append(pooled.estimate)
        inside += pooled.interval.low <= 0 <= pooled.interval.high
    # Standard deviation of one estimate is below .35, so of the mean of 120 below .03.
    assert abs(np.mean(estimates)) < 0.1
    assert np.mean(naive) < -0.3
    # 114 expected of 120: fewer than 106 has a probability of .001.
    assert inside >= 106


def test_delta_moves_imputed_scores_only_and_adds_up():
    scores = _dropped()
    at_random = impute_scores(scores, n_imputations=4, seed=1)
    worse = impute_scores(scores, n_imputations=4, seed=1, delta=[0, 0, 3.0])
    gap = worse.values - at_random.values
    assert gap[:, at_random.is_imputed] == pytest.approx(np.tile([3.0, 0, 3, 3], (4, 1)))
    assert (gap[:, ~at_random.is_imputed] == 0).all()
    again = shifted(shifted(at_random, 1.0), [-1, -1, 2.0])
    assert again.values == pytest.approx(worse.values)
    assert again.delta == (0, 0, 3)


def test_draws_stay_on_the_scale():
    scores = np.clip(np.rint(_dropped()), 8, 22)
    imputation = impute_scores(scores, n_imputations=50, seed=1, low=8, high=22)
    assert imputation.values.min() >= 8
    assert imputation.values.max() <= 22
    # Truncated draws do not pile up on the ends as cut ones would.
    assert not np.isin(imputation.values[:, imputation.is_imputed], (8, 22)).any()
    assert shifted(imputation, 30.0).values[:, imputation.is_imputed].max() == 22


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_imputations": 0}, "n_imputations: 0"),
        ({"covariates": np.ones((3, 1))}, r"covariates: shape \(3, 1\)"),
        ({"covariates": np.full((12, 1), np.nan)}, "not finite"),
        ({"delta": [1, 2]}, "one for each of 3 visits"),
        ({"high": 10}, "beyond the end of the scale"),
        ({"low": 5, "high": 5}, "beyond the end"),
        ({"scores": np.ones(3)}, r"\(subjects, visits\)"),
        ({"scores": np.array([[1.0, np.nan]] * 9 + [[1.0, 2.0]] * 3)}, "visit 1: 3 observed"),
        ({"scores": np.array([[1.0, np.inf]])}, "infinite"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"scores": _dropped(), "n_imputations": 2, "seed": 0, **change}
    with pytest.raises(ValueError, match=message):
        impute_scores(arguments.pop("scores"), **arguments)


def test_pooling_by_hand():
    pooled = pool_rubin([1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
    # B = 1, T = 1 + 4/3, lambda = 4/7, df = 2 / lambda**2.
    assert pooled.standard_error**2 == pytest.approx(7 / 3)
    assert pooled.df == pytest.approx(2 * 49 / 16)
    assert pool_rubin([2.0, 2.0], [1.0, 1.0]).df == np.inf
    # Imputations that agree leave only what Barnard and Rubin take for the size of the trial.
    assert pool_rubin([2.0, 2.0], [1.0, 1.0], complete_df=11).df == pytest.approx(12 / 14 * 11)
    with pytest.raises(ValueError, match="at least 2"):
        pool_rubin([1.0], [1.0])
    with pytest.raises(ValueError, match="variances"):
        pool_rubin([1.0, 2.0], [-1.0, 1.0])
    with pytest.raises(ValueError, match="complete_df: 0"):
        pool_rubin([1.0, 2.0], [1.0, 1.0], complete_df=0)
