from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.omics.principal_component_associations import (
    ANALYSIS,
    SCHEMA,
    PrincipalComponentAssociationsParameters,
    principal_component_associations,
)
from tasks.omics.principal_components import PrincipalComponentsParameters, principal_components
from tasks.simulation import simulated_frames

HOUSE = Path(__file__).parents[2]
SUITE = find_suites(HOUSE / "expectations")["results.principal_component_associations"]
ASSUMPTIONS = HOUSE / "studies" / "nl_ruxolitinib" / "simulation.toml"


def _run(frames, **changes):
    return principal_component_associations(
        *frames,
        parameters=PrincipalComponentAssociationsParameters.model_validate({"n_resamples": 999, **changes}),
    )


def _row(result, component, variable):
    return result.row(
        by_predicate=(pl.col("component") == component) & (pl.col("variable") == variable), named=True
    )


@pytest.fixture(scope="module")
def frames():
    made = simulated_frames(ASSUMPTIONS, seed=12, patients=12, genes=2000)
    return made.expression, made.sample, made.feature


@pytest.fixture(scope="module")
def found(frames):
    return _run(frames)


def test_record_and_contract(found):
    assert ANALYSIS.reads == ("omics.expression", "omics.sample", "omics.feature")
    assert ANALYSIS.fills == "results.principal_component_associations"
    assert dict(found.schema) == SCHEMA
    assert not judge(found, SUITE, lambda *_: ()).is_stopped


def test_variables_are_tested_at_the_level_where_they_vary(found):
    levels = dict(found.select("variable", "level").unique().rows())
    assert levels == {
        "usubjid": "subject",
        "sex": "between subjects",
        "batch": "between subjects",
        "visit": "within subjects",
        "tissue": "within subjects",
        "rin": "within subjects",
        "library_size_log2": "within subjects",
        "n_genes_detected": "within subjects",
    }
    # The number of the visit only repeats its name.
    assert found.height == 10 * 8


def test_the_planted_difference_of_tissue_is_found(found):
    best = found.filter(pl.col("variable") == "tissue").sort("r_squared", descending=True).row(0, named=True)
    assert best["r_squared"] > 0.5
    assert best["p_value"] == pytest.approx(1 / 1000)
    assert best["p_adjusted"] < 0.05


def test_p_values_are_adjusted_over_the_whole_table(found):
    assert np.allclose(found["p_adjusted"], stats.false_discovery_control(found["p_value"]))


def test_a_variable_of_people_is_tested_on_people_not_on_samples(frames, found):
    expression, sample, feature = frames
    scores = principal_components(expression, sample, feature, parameters=PrincipalComponentsParameters())
    first = scores.filter(pl.col("component") == 1, pl.col("kind") == "score").join(
        sample.select("sample_id", "sex"), on="sample_id"
    )
    means = first.group_by("usubjid").agg(pl.col("value").mean(), pl.col("sex").first())
    is_female = (means["sex"] == "F").to_numpy()
    expected = np.corrcoef(means["value"], is_female)[0, 1] ** 2
    row = _row(found, 1, "sex")
    assert row["r_squared"] == pytest.approx(expected)
    assert row["n_subjects"] == 12


def test_a_variable_of_people_with_no_effect_is_not_confirmed_by_their_many_samples(frames):
    """Between people alone, arbitrary labels must reach .05 in about one of twenty tests."""
    expression, sample, feature = frames
    people = sample["usubjid"].unique().sort().to_list()
    rng = np.random.default_rng(1)
    labels = {}
    for number in range(30):
        labels[f"label_{number}"] = dict(zip(people, rng.permutation(["a"] * 6 + ["b"] * 6), strict=True))
    with_labels = sample.select("sample_id", "usubjid").with_columns(
        pl.col("usubjid").replace_strict(of).alias(name) for name, of in labels.items()
    )
    result = _run((expression, with_labels, feature), n_components=3).filter(
        pl.col("variable").str.starts_with("label_")
    )
    # 90 tests at .05: 4.5 expected, more than 12 with probability .001.
    assert (result["p_value"] <= 0.05).sum() <= 12


def test_dates_count_as_days_and_identifiers_and_constants_are_left_out(frames):
    expression, sample, feature = frames
    more = sample.with_columns(
        collected=pl.when(pl.col("visit") == "BASELINE")
        .then(pl.lit("2024-01-10"))
        .otherwise(pl.lit("2024-04-03")),
        barcode=pl.concat_str(pl.lit("B"), pl.col("sample_id")),
        assay=pl.lit("bulk"),
        _source_row=pl.int_range(pl.len()),
    )
    result = _run((expression, more, feature), n_components=1, leave_out=("rin",))
    variables = set(result["variable"])
    assert variables.isdisjoint({"barcode", "assay", "_source_row", "sample_id", "rin"})
    # Two days that go with the two visits say nothing that the visit does not.
    assert "collected" not in variables
    jittered = more.with_columns(
        collected=pl.Series([f"2024-01-{1 + number % 28:02}" for number in range(more.height)])
    )
    assert _row(_run((expression, jittered, feature), n_components=1), 1, "collected")["kind"] == "numeric"


def test_three_samples_are_counted_out(frames):
    expression, sample, feature = frames
    few = sample.head(3).select(
        "sample_id", group=pl.Series(["a", "a", "b"]), rin=pl.Series([7.0, 8.0, None])
    )
    kept = expression.filter(pl.col("sample_id").is_in(few["sample_id"].to_list()))
    result = _run((kept, few, feature))
    row = _row(result, 1, "group")
    assert row["is_exact"]
    assert row["n_arrangements"] == 6
    assert row["seed"] is None
    assert row["p_value"] >= 1 / 3
    assert "rin" not in set(result["variable"])


def test_the_seed_decides_nothing_but_the_draw(frames, found):
    again = _run(frames)
    assert again.equals(found)
    other = _run(frames, seed=5)
    assert np.allclose(other["r_squared"], found["r_squared"])
    assert not other["p_value"].equals(found["p_value"])


@pytest.mark.parametrize(
    "change",
    [
        pl.lit(0.0).alias("p_value"),
        pl.lit(1.2).alias("r_squared"),
        pl.lit("samples").alias("level"),
        (pl.col("p_value") / 2).alias("p_adjusted"),
        pl.lit("x").alias("variable"),
    ],
    ids=str,
)
def test_the_suite_rejects_a_broken_copy(found, change):
    assert judge(found.with_columns(change), SUITE, lambda *_: ()).is_stopped
