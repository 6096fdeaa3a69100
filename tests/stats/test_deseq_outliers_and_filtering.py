"""Cook's distances, replacement, independent filtering and lowess; see golden_deseq_rules/README.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control

from tasks.stats.deseq.cooks import cooks_distance, cooks_outliers, replace_outliers, replaceable_samples
from tasks.stats.deseq.independent_filtering import independent_filtering
from tasks.stats.lowess import lowess

GOLDEN = Path(__file__).parent / "golden_deseq_rules"
COOKS = dict(iter(pd.read_csv(GOLDEN / "cooks.csv").groupby("set", sort=False)))
FLAGS = dict(iter(pd.read_csv(GOLDEN / "cooks_genes.csv").groupby("set", sort=False)))
FILTER_GENES = dict(iter(pd.read_csv(GOLDEN / "filtering_genes.csv").groupby("set", sort=False)))
FILTERING = dict(iter(pd.read_csv(GOLDEN / "filtering.csv").groupby("set", sort=False)))
LOWESS = dict(iter(pd.read_csv(GOLDEN / "lowess.csv").groupby("set", sort=False)))


def _two_groups(first, second):
    return np.stack([np.ones(first + second), np.repeat([0.0, 1.0], [first, second])], axis=1)


def _subjects_and_group(subject, group):
    dummies = [subject == level for level in np.unique(subject)[1:]]
    return np.stack([np.ones(len(subject)), *dummies, group], axis=1).astype(float)


DESIGNS = {
    "groups_4_4": _two_groups(4, 4),
    "groups_3_3": _two_groups(3, 3),
    "groups_8_8": _two_groups(8, 8),
    "groups_8_4": _two_groups(8, 4),
    "batch": _subjects_and_group(np.tile([0, 1], 6), np.repeat([0.0, 1.0], 6)),
    "pairs_5": _subjects_and_group(np.tile(np.arange(5), 2), np.repeat([0.0, 1.0], 5)),
    "many": _two_groups(26, 7),
}


def _matrix(name, column):
    return COOKS[name].pivot_table(index="gene", columns="sample", values=column).to_numpy(float)


def _size_factor(name):
    return COOKS[name].drop_duplicates("sample").sort_values("sample").size_factor.to_numpy()


@pytest.mark.parametrize("name", DESIGNS)
def test_cooks_distances_are_those_of_r(name):
    ours = cooks_distance(
        _matrix(name, "count"),
        _size_factor(name),
        _matrix(name, "mu"),
        _matrix(name, "leverage"),
        DESIGNS[name],
    )
    # A formula of the same numbers; the difference of count and mean loses a few digits near zero.
    np.testing.assert_allclose(ours, _matrix(name, "cooks"), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", DESIGNS)
def test_outlying_genes_and_replaced_counts_are_those_of_r(name):
    count, cooks, design = _matrix(name, "count"), _matrix(name, "cooks"), DESIGNS[name]
    replaced, is_replaced = replace_outliers(count, _size_factor(name), cooks, design)
    np.testing.assert_array_equal(replaced, _matrix(name, "replaced"))
    np.testing.assert_array_equal(is_replaced, FLAGS[name].is_replaced)
    gone = replaceable_samples(design) if is_replaced.any() else None
    flagged = cooks_outliers(cooks, count, design, is_replaced_sample=gone)
    np.testing.assert_array_equal(flagged, FLAGS[name].is_outlier)


def test_the_golden_sets_hold_outliers_of_every_fate():
    assert {name for name in DESIGNS if FLAGS[name].is_outlier.any()} >= {"groups_4_4", "groups_8_4", "batch"}
    assert {name for name in DESIGNS if FLAGS[name].is_replaced.any()} == {"groups_8_8", "groups_8_4", "many"}
    assert not FLAGS["pairs_5"].is_outlier.any()


def test_a_suspect_that_three_counts_exceed_is_no_outlier_of_two_groups():
    design = _two_groups(4, 4)
    count = np.array([[5, 5, 5, 900, 1000, 1000, 1000, 1000], [5, 5, 5, 900, 9, 9, 1000, 1000]], dtype=float)
    cooks = np.zeros_like(count)
    cooks[:, 3] = 100
    np.testing.assert_array_equal(cooks_outliers(cooks, count, design), [False, True])
    three_columns = np.column_stack([design, np.tile([0.0, 0.0, 0.0, 0.0], 2)])
    np.testing.assert_array_equal(cooks_outliers(cooks, count, three_columns), [True, True])


def test_threads_and_missing_genes_change_nothing():
    name = "batch"
    arrays = [np.tile(_matrix(name, column), (80, 1)) for column in ("count", "mu", "leverage")]
    arrays[1][7] = arrays[2][7] = np.nan
    count, mean, leverage = arrays
    one, two = (
        cooks_distance(count, _size_factor(name), mean, leverage, DESIGNS[name], threads=threads)
        for threads in (1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert np.isnan(one[7]).all()
    assert not cooks_outliers(one, count, DESIGNS[name])[7]
    assert np.isfinite(np.delete(one, 7, axis=0)).all()


@pytest.mark.parametrize("name", FILTERING)
def test_filtering_is_that_of_r(name):
    genes, curve = FILTER_GENES[name], FILTERING[name]
    ours = independent_filtering(genes.base_mean, genes.p_value, alpha=curve.alpha.iloc[0])
    # Products and running minima of the same p-values: equal but for the last bits.
    np.testing.assert_allclose(ours.p_adjusted, genes.p_adjusted, rtol=1e-13)
    np.testing.assert_allclose(ours.theta, curve.theta, rtol=1e-14)
    np.testing.assert_array_equal(ours.n_rejected, curve.n_rejected)
    assert ours.threshold == pytest.approx(curve.threshold.iloc[0], rel=1e-14)
    assert ours.quantile == pytest.approx(curve["quantile"].iloc[0], rel=1e-14)
    if np.ptp(ours.theta) > 0:
        # Sums of fifty values, with weights that cubes of cubes have rounded.
        np.testing.assert_allclose(
            lowess(ours.theta, ours.n_rejected, span=0.2, interpolate_within=0.0),
            curve.smooth,
            rtol=1e-10,
            atol=1e-10,
        )


def test_the_golden_sets_hold_thresholds_above_and_at_the_bottom():
    chosen = {name: curve["quantile"].iloc[0] > curve.theta.min() for name, curve in FILTERING.items()}
    assert chosen["signal"]
    assert not chosen["all_one"]
    assert not chosen["few_genes"]


def test_what_is_kept_is_adjusted_as_by_scipy_and_the_rest_is_nan():
    genes = FILTER_GENES["zeros_and_untested"]
    ours = independent_filtering(genes.base_mean, genes.p_value, alpha=0.05)
    kept = ((genes.base_mean >= ours.threshold) & genes.p_value.notna()).to_numpy()
    np.testing.assert_array_equal(~np.isnan(ours.p_adjusted), kept)
    np.testing.assert_allclose(
        ours.p_adjusted[kept], false_discovery_control(genes.p_value[kept]), rtol=1e-13
    )
    shuffle = np.random.default_rng(1).permutation(len(genes))
    again = independent_filtering(
        genes.base_mean.to_numpy()[shuffle], genes.p_value.to_numpy()[shuffle], alpha=0.05
    )
    np.testing.assert_array_equal(again.p_adjusted, ours.p_adjusted[shuffle])


def test_nothing_tested_gives_nothing_adjusted():
    ours = independent_filtering([1.0, 2.0, 3.0], [np.nan] * 3, alpha=0.05)
    assert np.isnan(ours.p_adjusted).all()
    assert (ours.n_rejected == 0).all()


@pytest.mark.parametrize("name", LOWESS)
def test_lowess_is_that_of_r(name):
    points = LOWESS[name]
    ours = lowess(points.x, points.y, span=points.span.iloc[0], interpolate_within=0.0)
    # R sums in another order.
    np.testing.assert_allclose(ours, points.smooth, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lowess([2.0, 1.0], [1.0, 1.0], span=0.5), "must ascend"),
        (lambda: lowess([1.0, 2.0], [1.0, 1.0], span=0.0), "span: 0.0"),
        (lambda: independent_filtering([np.nan], [0.1], alpha=0.05), "filter_statistic: nan"),
        (lambda: independent_filtering([1.0], [1.5], alpha=0.05), "1.5"),
        (lambda: independent_filtering([1.0], [0.5], alpha=1.0), "level: 1.0"),
        (lambda: cooks_outliers(np.ones((1, 3)), np.ones((1, 4)), _two_groups(2, 2)), "cooks: shape"),
        (lambda: cooks_outliers(np.ones(4), np.ones(4), _two_groups(2, 2)), "count: shape"),
        (lambda: cooks_outliers(np.ones((1, 4)), np.ones((1, 4)), _two_groups(2, 3)), "design: shape"),
        (
            lambda: cooks_distance(
                np.ones((1, 4)), np.zeros(4), np.ones((1, 4)), np.ones((1, 4)), _two_groups(2, 2)
            ),
            "size_factor",
        ),
        (
            lambda: cooks_distance(
                np.ones((1, 4)), np.ones(4), np.ones((1, 3)), np.ones((1, 4)), _two_groups(2, 2)
            ),
            "mean: shape",
        ),
        (
            lambda: replace_outliers(
                np.ones((1, 4)), np.ones(4), np.ones((1, 4)), _two_groups(2, 2), min_replicates=2
            ),
            "min_replicates: 2",
        ),
    ],
)
def test_bad_input_is_refused_in_words(call, message):
    with pytest.raises(ValueError, match=message):
        call()
