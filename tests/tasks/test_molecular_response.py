from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from tasks.omics.molecular_response import (
    ANALYSIS,
    SCHEMA,
    MolecularResponseParameters,
    molecular_response,
)
from warehouse.errors import AnalysisError


def _run(biopsies, *, sample=None, effect=None, scores=None, with_scores=True, **changes):
    expression, own_sample, feature = biopsies.omics
    used = own_sample if sample is None else sample
    return molecular_response(
        expression.filter(pl.col("sample_id").is_in(used["sample_id"].to_list())),
        used,
        feature,
        biopsies.effect if effect is None else effect,
        (biopsies.scores if scores is None else scores) if with_scores else None,
        parameters=MolecularResponseParameters.model_validate(
            {
                "disease": "disease",
                "treatment": "treatment",
                "n_resamples": 1000,
                "expression": biopsies.declared,
                **changes,
            }
        ),
    )


def _cohort(result, name):
    return result.row(by_predicate=(pl.col("level") == "cohort") & (pl.col("name") == name), named=True)


@pytest.fixture(scope="module")
def planted(biopsies):
    return _run(biopsies)


def test_record_and_contract(planted, unmet):
    assert ANALYSIS.fills == "results.molecular_response"
    assert ANALYSIS.uses == ("results.signature_scores",)
    assert dict(planted.schema) == SCHEMA
    assert unmet(planted, "molecular_response") == []


def test_planted_improvement_is_found_in_the_cohort(planted, biopsies):
    expected = 100 * biopsies.share.mean()
    for name in ("disease genes, higher in the lesion", "SPOT"):
        row = _cohort(planted, name)
        assert row["improvement_pct"] == pytest.approx(expected, abs=4)
        assert row["interval_low"] < expected < row["interval_high"]
    stays = _cohort(planted, "disease genes, lower in the lesion")
    # Noise of the shared baseline biopsies is all that can make it differ from zero.
    assert stays["improvement_pct"] == pytest.approx(0, abs=3)
    assert (stays["n_genes"], _cohort(planted, "disease genes")["n_genes"]) == (20, 60)


def test_planted_improvement_is_found_in_each_patient(planted, biopsies):
    of_profile = planted.filter(
        pl.col("level") == "patient", pl.col("name") == "disease genes, higher in the lesion"
    )
    assert of_profile["usubjid"].to_list() == biopsies.subjects
    # Noise of forty genes (2 points), of size factors, and of a scale that is not quite a logarithm.
    assert of_profile["improvement_pct"].to_list() == pytest.approx((100 * biopsies.share).tolist(), abs=12)


def test_the_percentage_is_that_of_the_two_differences(planted):
    estimated = planted.filter(pl.col("improvement_pct").is_not_null())
    expected = -100 * estimated["treatment_change"] / estimated["disease_difference"]
    assert estimated["improvement_pct"].to_list() == pytest.approx(expected.to_list())


def test_a_small_difference_gives_a_reason_and_no_number(planted):
    row = _cohort(planted, "IFNG")
    assert (row["status"], row["improvement_pct"], row["interval_low"]) == ("small_difference", None, None)
    assert "at least 0.5 log2 needed to divide by" in row["reason"]
    assert row["is_disease_gene"] is False
    flat = planted.filter(pl.col("name") == "FLAT", pl.col("status") == "small_difference")
    assert flat.height > 0
    divided = planted.filter(pl.col("improvement_pct").is_not_null())
    assert (divided["disease_difference"].abs() >= divided["least_difference"]).all()


def test_mean_of_ratios_counts_the_patients_it_is_of(planted):
    row = _cohort(planted, "SPOT")
    own = planted.filter(pl.col("level") == "patient", pl.col("name") == "SPOT")["improvement_pct"]
    assert row["n_ratios"] == own.count() == 12
    assert row["mean_of_ratios_pct"] == pytest.approx(own.mean())


def test_without_treatment_effect_nothing_improves(make_biopsies):
    result = _run(make_biopsies([0.0] * 12))
    row = _cohort(result, "disease genes")
    assert row["improvement_pct"] == pytest.approx(0, abs=3)
    assert _cohort(result, "SPOT")["interval_low"] < 2


def test_without_a_disease_there_is_no_profile_but_a_row_that_says_so(biopsies, unmet):
    result = _run(biopsies, effect=biopsies.effect.with_columns(p_adjusted=pl.lit(0.9)))
    row = _cohort(result, "disease genes")
    assert (row["status"], row["n_genes"], row["improvement_pct"]) == ("no_disease_genes", 0, None)
    assert "no gene with an adjusted p-value below 0.05" in row["reason"]
    assert unmet(result, "molecular_response") == []


def test_the_best_genes_are_taken(biopsies):
    result = _run(biopsies, max_genes=5)
    called = result.filter(pl.col("is_disease_gene"), pl.col("level") == "cohort")
    assert called["feature_id"].to_list() == [f"F{number:03}" for number in range(5)]
    assert _cohort(result, "disease genes")["n_genes"] == 5


def test_a_patient_without_one_of_three_biopsies_is_left_out_by_name(biopsies, unmet):
    sample = biopsies.sample.filter(~pl.col("sample_id").is_in(["A02_N_B", "A05_L_W"]))
    result = _run(biopsies, sample=sample)
    assert result["left_out_subjects"].unique().to_list() == ["A02; A05"]
    assert _cohort(result, "SPOT")["n_subjects"] == 10
    assert not {"A02", "A05"} & set(result["usubjid"].drop_nulls())
    assert unmet(result, "molecular_response") == []


def test_a_biopsy_that_is_not_compared_may_be_missing(biopsies, planted):
    # Skin without a lesion after treatment is in neither contrast.
    sample = biopsies.sample.filter(pl.col("sample_id") != "A02_N_W")
    result = _run(biopsies, sample=sample)
    assert _cohort(result, "SPOT")["n_subjects"] == 12
    assert _cohort(result, "SPOT")["improvement_pct"] == _cohort(planted, "SPOT")["improvement_pct"]


def test_signatures_may_be_absent(biopsies, unmet):
    result = _run(biopsies, with_scores=False)
    assert set(result["kind"]) == {"gene", "profile"}
    assert unmet(result, "molecular_response") == []


def test_result_does_not_depend_on_the_order_of_rows(biopsies, planted):
    scores = biopsies.scores.sample(fraction=1, shuffle=True, seed=3)
    sample = biopsies.sample.sample(fraction=1, shuffle=True, seed=4)
    shuffled = _run(biopsies, sample=sample, scores=scores)
    numbers = [name for name, dtype in SCHEMA.items() if dtype == pl.Float64]
    # Sums over a dozen samples in another order differ in their last digits.
    for name in numbers:
        assert np.allclose(
            shuffled[name].fill_null(-1).to_numpy(), planted[name].fill_null(-1).to_numpy(), atol=1e-9
        )
    assert shuffled.drop(numbers).equals(planted.drop(numbers))


def test_errors_say_what_is_wrong(biopsies):
    with pytest.raises(AnalysisError, match=r"disease: 'illness': must be one of expression\.contrasts: dis"):
        _run(biopsies, disease="illness")
    with pytest.raises(AnalysisError, match="its reference must be 'LESIONAL BASELINE', the level of the"):
        _run(biopsies, treatment="residual")
    with pytest.raises(AnalysisError, match="differential_expression has residual"):
        _run(biopsies, effect=biopsies.effect.filter(pl.col("contrast") == "residual"))
    lone = biopsies.sample.filter(pl.col("usubjid").is_in(["A01", "A02"]) | (pl.col("tissue") != "LESIONAL"))
    with pytest.raises(AnalysisError, match=r"1 subject\(s\) with a sample in every cell of both"):
        _run(biopsies, sample=lone.filter(pl.col("sample_id") != "A02_L_W"))
    with pytest.raises(ValidationError, match="least_difference_log2"):
        _run(biopsies, least_difference_log2=0)


BREAKS = {
    "a row twice": lambda frame: pl.concat([frame, frame.head(1)]),
    "a percentage of nothing": lambda frame: frame.with_columns(improvement_pct=pl.lit(1e9)),
    "a gap without a reason": lambda frame: frame.with_columns(reason=pl.lit(None, dtype=pl.String)),
    "an unknown status": lambda frame: frame.with_columns(status=pl.lit("fine")),
    "a patient without a name": lambda frame: frame.with_columns(usubjid=pl.lit(None, dtype=pl.String)),
    "an estimate without interval": lambda frame: frame.with_columns(
        interval_low=pl.lit(None, dtype=pl.Float64)
    ),
    "ends in the wrong order": lambda frame: frame.with_columns(
        interval_low="interval_high", interval_high="interval_low"
    ),
    "no warning": lambda frame: frame.with_columns(warning=pl.lit(None, dtype=pl.String)),
    "no rows": lambda frame: frame.head(0),
}


@pytest.mark.parametrize("what", BREAKS)
def test_suite_rejects(what, planted, unmet):
    assert unmet(BREAKS[what](planted), "molecular_response")
