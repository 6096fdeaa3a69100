from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tasks.omics.baseline_predictors import (
    ANALYSIS,
    NOT_VALIDATED,
    SCHEMA,
    BaselinePredictorsParameters,
    baseline_predictors,
)
from tasks.stats.spearman import spearman
from warehouse.errors import AnalysisError


@pytest.fixture(scope="module")
def run(biopsies, make_trial, estimand):
    def correlate(*, scores=None, trial=None, with_scores=True, **changes):
        of_trial = biopsies.scored(make_trial) if trial is None else trial
        return baseline_predictors(
            of_trial.adsl,
            of_trial.adqs,
            *biopsies.omics,
            (biopsies.scores if scores is None else scores) if with_scores else None,
            parameters=BaselinePredictorsParameters.model_validate(
                {
                    "estimand": estimand(variable="pchg"),
                    "treatment": "treatment",
                    "disease": "disease",
                    "expression": biopsies.declared,
                    **changes,
                }
            ),
        )

    return correlate


@pytest.fixture(scope="module")
def planted(run):
    return run()


def _row(result, name, measure):
    return result.row(by_predicate=(pl.col("name") == name) & (pl.col("measure") == measure), named=True)


@pytest.fixture
def predictive(biopsies):
    """Let the signature FLAT stand higher, in skin without a lesion, in those who will respond."""
    share = dict(zip(biopsies.subjects, biopsies.share, strict=True))
    is_planted = (
        (pl.col("gene_set") == "FLAT")
        & (pl.col("tissue") == "NON-LESIONAL")
        & (pl.col("visit") == "BASELINE")
    )
    return biopsies.scores.with_columns(
        score=pl.when(is_planted)
        .then(pl.col("usubjid").replace_strict(share, return_dtype=pl.Float64))
        .otherwise("score")
    )


def test_record_and_contract(planted, unmet):
    result = planted
    assert ANALYSIS.fills == "results.baseline_predictors"
    assert dict(result.schema) == SCHEMA
    assert unmet(result, "baseline_predictors") == []
    assert set(result["measure"]) == {"lesional", "non_lesional", "difference"}
    assert _row(result, "SPOT", "difference")["cell"] == "LESIONAL BASELINE - NON-LESIONAL BASELINE"


def test_a_level_of_skin_without_a_lesion_that_goes_with_response_is_found_there(run, predictive):
    result = run(scores=predictive)
    row = _row(result, "FLAT", "non_lesional")
    # Higher before, more fall of the score: negative.
    assert row["rho"] < -0.9
    assert row["p_adjusted"] < 0.001
    assert _row(result, "FLAT", "lesional")["p_value"] > 0.05


def test_levels_that_go_with_nothing_are_not_called(run, biopsies, make_trial):
    result = run(trial=biopsies.scored(make_trial, follows=False, seed=8))
    # Twelve tests at 5 %: more than three by chance has a probability of .002.
    assert (result["p_value"] < 0.05).sum() <= 3
    assert (result["p_adjusted"] > 0.05).all()


def test_the_difference_is_lesional_less_non_lesional(run, biopsies, make_trial):
    trial = biopsies.scored(make_trial)
    change = trial.adqs.filter(pl.col("avisit") == "Week 12", pl.col("dtype").is_null()).sort("usubjid")
    before = biopsies.scores.filter(pl.col("gene_set") == "SPOT", pl.col("visit") == "BASELINE")
    wide = before.pivot("tissue", index="usubjid", values="score").sort("usubjid")
    result = run(trial=trial)
    for measure, level in (
        ("lesional", wide["LESIONAL"]),
        ("non_lesional", wide["NON-LESIONAL"]),
        ("difference", wide["LESIONAL"] - wide["NON-LESIONAL"]),
    ):
        row = _row(result, "SPOT", measure)
        expected = spearman(level, change["pchg"])
        assert (row["rho"], row["p_value"]) == pytest.approx((expected.rho, expected.p_value))


def test_each_measure_is_a_family_of_its_own(planted):
    result = planted
    for _, family in result.group_by("measure", "family"):
        assert family["n_family"].to_list() == [family.height] * family.height


def test_every_row_says_that_nothing_is_validated(planted):
    result = planted
    assert result["warning"].str.starts_with(NOT_VALIDATED).all()
    assert result["warning"].str.contains("12 patients, fewer than 20").all()


def test_a_patient_without_a_biopsy_counts_where_he_has_one(run, biopsies):
    scores = biopsies.scores.with_columns(
        score=pl.when(pl.col("sample_id") == "A05_N_B").then(None).otherwise("score")
    )
    result = run(scores=scores)
    assert _row(result, "SPOT", "lesional")["n_subjects"] == 12
    assert _row(result, "SPOT", "non_lesional")["left_out_subjects"] == "A05"
    assert _row(result, "SPOT", "difference")["n_subjects"] == 11


def test_without_a_disease_contrast_only_the_lesion_is_read(run, unmet):
    result = run(disease=None)
    assert set(result["measure"]) == {"lesional"}
    assert unmet(result, "baseline_predictors") == []


def test_errors_say_what_is_wrong(run, biopsies):
    with pytest.raises(AnalysisError, match="disease: 'residual': its level must be 'LESIONAL BASELINE'"):
        run(disease="residual")
    bare = {**biopsies.declared, "protected_genes": []}
    with pytest.raises(AnalysisError, match="baseline_predictors: nothing to correlate"):
        run(expression=bare, with_scores=False)


BREAKS = {
    "a row twice": lambda frame: pl.concat([frame, frame.head(1)]),
    "a p-value of zero": lambda frame: frame.with_columns(p_value=pl.lit(0.0)),
    "no word of validation": lambda frame: frame.with_columns(warning=pl.lit("12 patients")),
    "no warning": lambda frame: frame.with_columns(warning=pl.lit(None, dtype=pl.String)),
    "an unknown measure": lambda frame: frame.with_columns(measure=pl.lit("blood")),
    "no rows": lambda frame: frame.head(0),
}


@pytest.mark.parametrize("what", BREAKS)
def test_suite_rejects(what, planted, unmet):
    assert unmet(BREAKS[what](planted), "baseline_predictors")


def test_gene_levels_are_those_of_the_samples(run, biopsies):
    # GENE0 stands in the lesion as in no other skin; its level there varies by patient alone.
    result = run()
    assert np.isfinite(_row(result, "GENE0", "lesional")["rho"])
    assert _row(result, "GENE0", "lesional")["feature_id"] == "F000"
