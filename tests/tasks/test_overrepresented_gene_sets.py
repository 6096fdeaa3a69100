from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from scipy.stats import hypergeom, norm

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.omics.overrepresented_gene_sets import (
    ANALYSIS,
    SCHEMA,
    OverrepresentedGeneSetsParameters,
    overrepresented_gene_sets,
)
from warehouse.errors import AnalysisError

SUITE = find_suites(Path(__file__).parents[2] / "expectations")["results.overrepresented_gene_sets"]
GENES = 1000
# The first hundred genes are called higher, the last fifty lower.
SETS = {
    ("pathways", "RISING"): range(10, 40),
    ("pathways", "FALLING"): range(GENES - 30, GENES),
    ("pathways", "SCATTERED"): range(5, GENES, 40),
    ("pathways", "SMALL"): range(6),
    ("pathways", "HUGE"): range(600),
    ("other", "RISING"): range(0, 200, 5),
}


def _effect(contrast="treatment"):
    row = np.arange(GENES)
    statistic = np.where(row < 100, 6.0, np.where(row >= GENES - 50, -5.0, 0.0)) + np.linspace(
        0.5, -0.5, GENES
    )
    p_value = 2 * norm.sf(np.abs(statistic))
    return pl.DataFrame(
        {
            "contrast": contrast,
            "contrast_title": "Week 12 against baseline",
            "feature_id": [f"F{number:04}" for number in row],
            "symbol": [f"Gene{number:04}" for number in row],
            "base_mean": np.linspace(500, 10, GENES),
            "log2_fold_change": statistic / 3,
            "statistic": statistic,
            "p_value": p_value,
            "p_adjusted": np.where(np.abs(statistic) > 4, 0.001, 0.9),
            "test": "wald",
            "n_subjects": 12,
            "n_samples": 24,
        }
    )


def _gene_sets(sets=None):
    return pl.DataFrame(
        [
            {"collection": collection, "gene_set": name, "symbol": f"Gene{number:04}", "description": name}
            for (collection, name), rows in (SETS if sets is None else sets).items()
            for number in rows
        ]
    )


def _run(effect=None, gene_set=None, **changes):
    effect = _effect() if effect is None else effect
    return overrepresented_gene_sets(
        effect,
        _gene_sets() if gene_set is None else gene_set,
        _effect().select("feature_id", "symbol"),
        parameters=OverrepresentedGeneSetsParameters.model_validate(changes),
    )


def _of(result, name, direction="higher", collection="pathways"):
    return result.row(
        by_predicate=(pl.col("collection") == collection)
        & (pl.col("gene_set") == name)
        & (pl.col("direction") == direction),
        named=True,
    )


def _verdict(result):
    return judge(result, SUITE, lambda *_: ())


@pytest.fixture(scope="module")
def planted():
    return _run()


def test_record_and_contract(planted):
    assert ANALYSIS.reads == ("results.differential_expression", "omics.gene_set", "omics.feature")
    assert dict(planted.schema) == SCHEMA
    assert planted.height == 2 * len(SETS)
    assert not _verdict(planted).is_stopped


def test_up_and_down_are_counted_apart(planted):
    rising, falling = _of(planted, "RISING"), _of(planted, "FALLING", "lower")
    assert (rising["n_called"], rising["n_called_in_set"], rising["n_expected"]) == (100, 30, 3.0)
    assert (falling["n_called"], falling["n_called_in_set"]) == (50, 30)
    assert _of(planted, "RISING", "lower")["n_called_in_set"] == 0
    assert _of(planted, "RISING", "lower")["p_value"] == 1
    assert rising["called_genes"].split(";") == [f"Gene{number:04}" for number in range(10, 40)]


def test_p_value_is_hypergeometric_over_the_tested_genes(planted):
    scattered = _of(planted, "SCATTERED")
    assert (scattered["size_tested"], scattered["n_called_in_set"]) == (25, 3)
    draws = [hypergeom.pmf(k, GENES, 25, 100) for k in range(3)]
    assert scattered["p_value"] == pytest.approx(1 - sum(draws))
    assert scattered["p_value"] > 0.3
    assert scattered["ci_low"] < 1 < scattered["ci_high"]


def test_an_odds_ratio_without_bound_is_null(planted):
    rising = _of(planted, "RISING")
    assert (rising["odds_ratio"], rising["ci_high"]) == (None, None)
    assert rising["ci_low"] > 10
    other = _of(planted, "RISING", collection="other")
    assert other["ci_low"] < other["odds_ratio"] < other["ci_high"]


def test_genes_without_a_test_are_not_drawn_from():
    untested = pl.col("feature_id").is_in([f"F{number:04}" for number in range(500, 900)])
    effect = _effect().with_columns(p_value=pl.when(~untested).then("p_value"))
    row = _of(_run(effect), "SCATTERED")
    assert (row["n_genes"], row["size_in_collection"], row["size_tested"]) == (600, 25, 15)


def test_the_threshold_decides_what_is_called():
    assert _of(_run(fdr=0.0005), "RISING")["n_called"] == 0
    assert _of(_run(fdr=0.0005), "RISING")["status"] == "none_called"
    far = _run(min_abs_log2_fold_change=2.15)
    assert 0 < _of(far, "RISING")["n_called"] < 100
    assert "log2 fold change of 2.15 or more" in far["method"][0]


def test_families_are_collections_of_a_contrast_and_direction(planted):
    assert _of(planted, "RISING", collection="other")["p_adjusted"] == pytest.approx(
        _of(planted, "RISING", collection="other")["p_value"]
    )
    # Three of this collection are tested in each direction.
    assert _of(planted, "RISING")["p_adjusted"] == pytest.approx(3 * _of(planted, "RISING")["p_value"])


def test_sizes_out_of_limits_have_no_test(planted):
    assert _of(planted, "SMALL")["status"] == "too_small"
    assert _of(planted, "HUGE")["status"] == "too_large"
    assert _of(planted, "HUGE")["p_value"] is None


def test_random_sets_are_called_no_more_often_than_promised():
    random = np.random.default_rng(8)
    sets = {("null", f"SET{n}"): random.choice(GENES, 40, replace=False) for n in range(300)}
    p_value = _run(gene_set=_gene_sets(sets)).filter(direction="higher")["p_value"]
    # A discrete one-sided test is below its level: at most 15 expected of 300, standard deviation 3.8.
    assert (p_value < 0.05).sum() <= 27


def test_result_does_not_depend_on_the_order_of_rows(planted):
    shuffled = [frame.sample(fraction=1, shuffle=True, seed=9) for frame in (_effect(), _gene_sets())]
    assert _run(*shuffled).equals(planted)


def test_errors_say_what_is_wrong():
    with pytest.raises(AnalysisError, match="no contrast has a direction"):
        _run(_effect().with_columns(test=pl.lit("likelihood_ratio")))
    with pytest.raises(ValidationError, match="max_size: 5: must be min_size"):
        _run(max_size=5)


BREAKS = {
    "a set twice": lambda frame: pl.concat([frame, frame.head(1)]),
    "a p-value of zero": lambda frame: frame.with_columns(p_value=pl.lit(0.0)),
    "an unknown status": lambda frame: frame.with_columns(status=pl.lit("fine")),
    "more called than tested": lambda frame: frame.with_columns(n_called_in_set=pl.lit(900)),
    "a silent gap": lambda frame: frame.with_columns(p_value=pl.lit(None, dtype=pl.Float64)),
    "an interval beside the estimate": lambda frame: frame.with_columns(ci_low=pl.lit(1e6)),
}


@pytest.mark.parametrize("what", BREAKS)
def test_suite_rejects(what, planted):
    assert _verdict(BREAKS[what](planted)).is_stopped
