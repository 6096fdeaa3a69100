from __future__ import annotations

import polars as pl
import pytest

from tasks.omics.molecular_response import MolecularResponseParameters, molecular_response
from tasks.omics.residual_disease_profile import (
    ANALYSIS,
    SCHEMA,
    ResidualDiseaseProfileParameters,
    residual_disease_profile,
)
from warehouse.errors import AnalysisError


def _response(biopsies, effect=None):
    return molecular_response(
        *biopsies.omics,
        biopsies.effect if effect is None else effect,
        None,
        parameters=MolecularResponseParameters.model_validate(
            {
                "disease": "disease",
                "treatment": "treatment",
                "n_resamples": 1000,
                "expression": biopsies.declared,
            }
        ),
    )


def _run(biopsies, response=None, **changes):
    return residual_disease_profile(
        _response(biopsies) if response is None else response,
        biopsies.effect,
        parameters=ResidualDiseaseProfileParameters.model_validate(
            {"residual": "residual", "expression": biopsies.declared, **changes}
        ),
    )


@pytest.fixture(scope="module")
def planted(biopsies):
    return _run(biopsies)


def test_record_and_contract(planted, unmet):
    assert ANALYSIS.reads == ("results.molecular_response", "results.differential_expression")
    assert dict(planted.schema) == SCHEMA
    assert unmet(planted, "residual_disease_profile") == []


def test_genes_that_stay_are_residual(planted, biopsies):
    stay = planted.filter(pl.col("disease_direction") == "lower")
    assert stay.height == len(biopsies.DOWN)
    assert stay["outcome"].unique().to_list() == ["residual"]
    assert stay["is_residual"].all()
    assert stay["residual_log2_fold_change"].unique().to_list() == [-2.0]


def test_genes_that_come_back_are_not(make_biopsies):
    healed = _run(make_biopsies([0.9, 1.0, 1.1] * 4)).filter(pl.col("disease_direction") == "higher")
    assert healed["outcome"].is_in(["improved", "uncertain"]).sum() >= 38
    assert (healed["outcome"] == "improved").sum() >= 30
    assert not healed["is_residual"].any()


def test_genes_beyond_the_healthy_level_overshoot(make_biopsies):
    beyond = _run(make_biopsies([1.5, 1.6, 1.4] * 4)).filter(pl.col("disease_direction") == "higher")
    assert beyond["outcome"].unique().to_list() == ["overshoot"]


def test_the_threshold_moves_what_counts(biopsies, planted):
    response = _response(biopsies)
    lenient = _run(biopsies, response, threshold_pct=5)
    up = lenient.filter(pl.col("disease_direction") == "higher")
    assert not up["is_residual"].any()
    assert planted.filter(pl.col("disease_direction") == "higher")["is_residual"].all()
    assert set(up["outcome"]) == {"improved"}


def test_an_interval_over_the_threshold_is_uncertain(planted):
    for row in planted.iter_rows(named=True):
        reaches_over = row["interval_low"] < 75 <= row["interval_high"]
        assert (row["outcome"] == "uncertain") == reaches_over


def test_without_interval_uncertain(biopsies):
    response = _response(biopsies).with_columns(
        interval_low=pl.lit(None, dtype=pl.Float64), interval_high=pl.lit(None, dtype=pl.Float64)
    )
    assert _run(biopsies, response)["outcome"].unique().to_list() == ["uncertain"]


def test_without_disease_genes_an_empty_profile_is_noted(biopsies, unmet):
    response = _response(biopsies, biopsies.effect.with_columns(p_adjusted=pl.lit(0.9)))
    empty = _run(biopsies, response)
    assert empty.is_empty()
    assert dict(empty.schema) == SCHEMA
    assert unmet(empty, "residual_disease_profile") == []


def test_the_contrast_of_what_is_left_may_be_missing(biopsies, unmet):
    result = _run(biopsies, residual=None)
    assert result["residual_log2_fold_change"].null_count() == result.height
    assert unmet(result, "residual_disease_profile") == []
    with pytest.raises(AnalysisError, match=r"residual: 'rest': must be one of expression\.contrasts"):
        _run(biopsies, residual="rest")
    with pytest.raises(AnalysisError, match="differential_expression has disease"):
        _run(biopsies, residual="treatment")


BREAKS = {
    "a gene twice": lambda frame: pl.concat([frame, frame.head(1)]),
    "an unknown outcome": lambda frame: frame.with_columns(outcome=pl.lit("good")),
    "residual above the threshold": lambda frame: frame.with_columns(threshold_pct=pl.lit(-500.0)),
    "an outcome without interval": lambda frame: frame.with_columns(
        interval_high=pl.lit(None, dtype=pl.Float64)
    ),
    "ends in the wrong order": lambda frame: frame.with_columns(
        interval_low="interval_high", interval_high="interval_low"
    ),
    "no warning": lambda frame: frame.with_columns(warning=pl.lit(None, dtype=pl.String)),
}


@pytest.mark.parametrize("what", BREAKS)
def test_suite_rejects(what, planted, unmet):
    assert unmet(BREAKS[what](planted), "residual_disease_profile")
