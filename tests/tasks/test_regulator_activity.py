from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import linregress, norm

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.omics.regulator_activity import (
    ANALYSIS,
    SCHEMA,
    RegulatorActivityParameters,
    regulator_activity,
)
from warehouse.errors import AnalysisError

SUITE = find_suites(Path(__file__).parents[2] / "expectations")["results.regulator_activity"]
GENES = 800
# Each regulator with its targets and their weights; the first sixty genes fall.
WEIGHTS = {
    "STAT1": dict.fromkeys(range(20), 1.0),
    "BRAKE": dict.fromkeys(range(20, 40), -1.0),
    "MIXED": {number: (1.0 if number % 2 else -0.5) for number in range(200, 240)},
    "FEW": dict.fromkeys(range(3), 1.0),
    "FOREIGN": dict.fromkeys(range(5000, 5010), 1.0),
}


def _effect(contrast="treatment"):
    statistic = np.random.default_rng(11).normal(0, 1, GENES)
    statistic[:60] -= 3
    return pl.DataFrame(
        {
            "contrast": contrast,
            "contrast_title": "Week 12 against baseline",
            "feature_id": [f"F{number:04}" for number in range(GENES)],
            "symbol": [f"Gene{number:04}" for number in range(GENES)],
            "base_mean": np.linspace(500, 10, GENES),
            "statistic": statistic,
            "p_value": 2 * norm.sf(np.abs(statistic)),
            "test": "wald",
            "n_subjects": 12,
            "n_samples": 24,
        }
    )


def _weight():
    return pl.DataFrame(
        [
            {"collection": "own", "regulator": name, "symbol": f"Gene{number:04}", "weight": weight}
            for name, targets in WEIGHTS.items()
            for number, weight in targets.items()
        ]
    )


def _run(effect=None, weight=None, **changes):
    return regulator_activity(
        _effect() if effect is None else effect,
        _weight() if weight is None else weight,
        _effect().select("feature_id", "symbol"),
        parameters=RegulatorActivityParameters.model_validate(changes),
    )


def _of(result, name):
    return result.row(by_predicate=pl.col("regulator") == name, named=True)


def _verdict(result):
    return judge(result, SUITE, lambda *_: ())


@pytest.fixture(scope="module")
def planted():
    return _run()


def test_record_and_contract(planted):
    assert ANALYSIS.reads == ("results.differential_expression", "omics.regulator_weight", "omics.feature")
    assert dict(planted.schema) == SCHEMA
    assert not _verdict(planted).is_stopped


def test_planted_activities_have_the_sign_of_their_weights(planted):
    assert _of(planted, "STAT1")["direction"] == "lower"
    # What it holds down fell: the brake is stronger.
    assert _of(planted, "BRAKE")["direction"] == "higher"
    assert _of(planted, "STAT1")["p_adjusted"] < 1e-8
    assert _of(planted, "MIXED")["p_value"] > 0.05


def test_activity_is_the_t_of_a_line_over_all_tested_genes(planted):
    weight = np.zeros(GENES)
    for number, value in WEIGHTS["MIXED"].items():
        weight[number] = value
    line = linregress(weight, _effect()["statistic"].to_numpy())
    row = _of(planted, "MIXED")
    assert row["slope"] == pytest.approx(line.slope)
    assert row["activity"] == pytest.approx(line.slope / line.stderr)
    assert row["p_value"] == pytest.approx(line.pvalue)
    assert (row["df"], row["n_genes"], row["n_targets"]) == (GENES - 2, GENES, 40)


def test_top_targets_speak_for_the_direction(planted):
    symbols = _of(planted, "STAT1")["top_targets"].split(";")
    statistic = dict(_effect().select("symbol", "statistic").iter_rows())
    values = [statistic[symbol] for symbol in symbols]
    assert len(values) == 10
    assert values == sorted(values)
    assert values[0] == min(statistic[f"Gene{number:04}"] for number in range(20))


def test_regulators_without_enough_targets_are_rows_without_a_test(planted):
    few, foreign = _of(planted, "FEW"), _of(planted, "FOREIGN")
    assert (few["status"], few["activity"], few["p_value"]) == ("too_few_targets", None, None)
    assert (foreign["n_targets"], foreign["n_targets_in_collection"]) == (0, 10)
    assert foreign["unmatched_symbols"].startswith("Gene5000;Gene5001")
    assert _of(_run(min_targets=2), "FEW")["status"] == "tested"


def test_genes_without_a_test_are_not_part_of_the_line():
    effect = _effect().with_columns(p_value=pl.when(pl.col("feature_id") >= "F0005").then("p_value"))
    row = _of(_run(effect), "STAT1")
    assert (row["n_targets"], row["n_genes"]) == (15, GENES - 5)


def test_adjusted_within_contrast_and_collection(planted):
    row = _of(planted, "STAT1")
    # Three are tested, and the two planted ones are the smallest.
    assert row["p_value"] <= row["p_adjusted"] <= 3 * row["p_value"]
    other = _weight().with_columns(collection=pl.lit("other")).filter(pl.col("regulator") == "MIXED")
    both = _run(weight=pl.concat([_weight(), other]))
    alone = both.filter(collection="other").row(0, named=True)
    assert alone["p_adjusted"] == alone["p_value"]


def test_result_does_not_depend_on_the_order_of_rows(planted):
    shuffled = [frame.sample(fraction=1, shuffle=True, seed=9) for frame in (_effect(), _weight())]
    again = _run(*shuffled)
    # Sums run in another order.
    assert again.drop("activity", "slope", "p_value", "p_adjusted").equals(
        planted.drop("activity", "slope", "p_value", "p_adjusted")
    )
    assert _of(again, "STAT1")["activity"] == pytest.approx(_of(planted, "STAT1")["activity"], rel=1e-12)


def test_errors_say_what_is_wrong():
    with pytest.raises(AnalysisError, match=r"omics\.regulator_weight: no rows"):
        _run(weight=_weight().head(0))
    with pytest.raises(AnalysisError, match=r"STAT1, Gene0000: weight 0\.0: must be a number"):
        _run(weight=_weight().with_columns(weight=pl.lit(0.0)))
    twice = pl.concat([_weight(), _weight().head(1).with_columns(weight=pl.lit(2.0))])
    with pytest.raises(AnalysisError, match=r"STAT1, Gene0000: weight .* and another: must have one weight"):
        _run(weight=twice)
    with pytest.raises(AnalysisError, match=r"contrast treatment: 0 gene\(s\)"):
        _run(_effect().with_columns(statistic=pl.lit(None, dtype=pl.Float64)))


BREAKS = {
    "a regulator twice": lambda frame: pl.concat([frame, frame.head(1)]),
    "a p-value of zero": lambda frame: frame.with_columns(p_value=pl.lit(0.0)),
    "a sign that disagrees": lambda frame: frame.with_columns(activity=-pl.col("activity")),
    "an unknown status": lambda frame: frame.with_columns(status=pl.lit("fine")),
    "a silent gap": lambda frame: frame.with_columns(slope=pl.lit(None, dtype=pl.Float64)),
}


@pytest.mark.parametrize("what", BREAKS)
def test_suite_rejects(what, planted):
    assert _verdict(BREAKS[what](planted)).is_stopped
