from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tasks.omics.biomarker_response import (
    ANALYSIS,
    SCHEMA,
    BiomarkerResponseParameters,
    biomarker_response,
)
from tasks.stats.multiplicity import adjusted_p
from tasks.stats.spearman import spearman
from warehouse.errors import AnalysisError

UNRELATED = 5


@pytest.fixture(scope="module")
def run(biopsies, make_trial, estimand):
    def correlate(*, own=biopsies, trial=None, scores=None, with_scores=True, estimand_has=None, **changes):
        of_trial = own.scored(make_trial) if trial is None else trial
        return biomarker_response(
            of_trial.adsl,
            of_trial.adqs,
            *own.omics,
            (own.scores if scores is None else scores) if with_scores else None,
            parameters=BiomarkerResponseParameters.model_validate(
                {
                    "estimand": estimand(**{"variable": "pchg", **(estimand_has or {})}),
                    "treatment": "treatment",
                    "expression": own.declared,
                    **changes,
                }
            ),
        )

    return correlate


@pytest.fixture(scope="module")
def planted(run):
    return run()


def _row(result, name):
    return result.row(by_predicate=pl.col("name") == name, named=True)


def test_record_and_contract(planted, unmet):
    result = planted
    assert ANALYSIS.fills == "results.biomarker_response"
    assert dict(result.schema) == SCHEMA
    assert unmet(result, "biomarker_response") == []


def test_what_falls_with_the_score_is_found_and_the_rest_is_not(planted):
    result = planted
    spot = _row(result, "SPOT")
    # Positive: the signature falls as the score falls.
    assert spot["rho"] > 0.9
    assert spot["p_value"] < 1e-4
    # One gene has more noise of its own than a signature.
    assert _row(result, "GENE0")["rho"] > 0.7
    assert _row(result, "FLAT")["p_value"] > 0.05
    assert spot["interval_low"] < spot["rho"] < spot["interval_high"]
    assert (spot["score"], spot["visit"], spot["variable"]) == ("SCORE", "Week 12", "pchg")


def test_a_score_that_follows_nothing_is_not_called(run, biopsies, make_trial):
    # An order of the shares that has next to nothing to do with their own.
    result = run(trial=biopsies.scored(make_trial, follows=False, seed=UNRELATED))
    assert _row(result, "SPOT")["rho"] == pytest.approx(0, abs=0.2)
    assert (result["p_adjusted"] > 0.05).all()


def test_it_is_the_correlation_of_the_patients_changes(run, biopsies, make_trial):
    trial = biopsies.scored(make_trial)
    change = trial.adqs.filter(pl.col("avisit") == "Week 12", pl.col("dtype").is_null()).sort("usubjid")
    cells = biopsies.scores.filter(pl.col("gene_set") == "SPOT", pl.col("tissue") == "LESIONAL")
    wide = cells.pivot("visit", index="usubjid", values="score").sort("usubjid")
    expected = spearman(wide["WEEK 12"] - wide["BASELINE"], change["pchg"])
    row = _row(run(trial=trial), "SPOT")
    assert (row["rho"], row["p_value"]) == pytest.approx((expected.rho, expected.p_value))
    assert (row["n_subjects"], row["is_exact"], row["n_permutations"]) == (12, True, None)


def test_each_scorer_and_the_genes_are_families_of_their_own(run, biopsies):
    twice = pl.concat([biopsies.scores, biopsies.scores.with_columns(scorer=pl.lit("gsva"))])
    result = run(scores=twice)
    assert set(result["family"]) == {"gene", "signature gsva", "signature mean_z"}
    for _, family in result.group_by("family"):
        expected = adjusted_p(family["p_value"].to_numpy(), "benjamini-hochberg")
        assert family["p_adjusted"].to_list() == pytest.approx(expected.tolist())
        assert family["n_family"].to_list() == [family.height] * family.height


def test_influence_names_the_patient_that_carries_a_correlation(run, biopsies, make_trial):
    trial = biopsies.scored(make_trial, follows=False)
    # Eleven patients without a relation, and one with far more fall in both.
    scores = biopsies.scores.with_columns(
        score=pl.when(
            (pl.col("gene_set") == "FLAT") & (pl.col("usubjid") == "A04") & (pl.col("visit") == "WEEK 12")
        )
        .then(-99.0)
        .otherwise("score")
    )
    row = _row(run(trial=trial, scores=scores), "FLAT")
    assert row["rho_without_one_low"] <= row["rho"] <= row["rho_without_one_high"]
    others = biopsies.scores.filter(pl.col("gene_set") == "FLAT", pl.col("tissue") == "LESIONAL")
    assert row["influential_subject"] in set(others["usubjid"])


def test_small_samples_say_so_in_the_row(planted):
    result = planted
    assert result["is_small_sample"].all()
    assert set(result["warning"]) == {
        "12 patients, fewer than 20: the estimate is loose and one of them can turn it"
    }


def test_many_patients_are_permuted_and_carry_no_warning(run, make_biopsies, make_trial, unmet):
    many = make_biopsies(np.random.default_rng(2).uniform(0, 1, 24))
    result = run(own=many, n_permutations=999, seed=5)
    row = _row(result, "SPOT")
    assert (row["is_exact"], row["n_permutations"], row["seed"]) == (False, 999, 5)
    assert row["p_value"] == row["smallest_p"] == pytest.approx(0.001)
    assert not row["is_small_sample"]
    assert unmet(result, "biomarker_response") == []


def test_patients_with_only_one_of_both_are_left_out_by_name(run, biopsies, make_trial, unmet):
    trial = biopsies.scored(make_trial)
    trial.arms["Active"][2][3] = None
    result = run(trial=trial, scores=biopsies.scores.filter(pl.col("sample_id") != "A07_L_W"))
    assert _row(result, "SPOT")["left_out_subjects"] == "A03; A07"
    assert _row(result, "SPOT")["n_subjects"] == 10
    assert _row(result, "GENE0")["left_out_subjects"] == "A03"
    assert unmet(result, "biomarker_response") == []


def test_the_estimand_chooses_who_and_what(run, biopsies, make_trial):
    trial = biopsies.scored(make_trial)
    trial.columns["fasfl"] = ["N", *["Y"] * 11]
    row = _row(run(trial=trial), "SPOT")
    assert (row["n_subjects"], row["left_out_subjects"]) == (11, "A01")
    assert _row(run(estimand_has={"variable": "chg"}), "SPOT")["variable"] == "chg"


def test_what_cannot_be_correlated_is_a_row_with_its_reason(run, biopsies, make_trial, unmet):
    constant = biopsies.scores.with_columns(
        score=pl.when(pl.col("gene_set") == "FLAT").then(1.0).otherwise("score")
    )
    row = _row(run(scores=constant), "FLAT")
    assert (row["status"], row["p_value"], row["p_adjusted"]) == ("not_estimable", None, None)
    assert row["reason"] == "the measurement is the same in every subject"
    few = biopsies.scored(make_trial)
    few.columns["fasfl"] = [*["Y"] * 3, *["N"] * 9]
    result = run(trial=few)
    assert set(result["status"]) == {"too_few_subjects"}
    assert unmet(result, "biomarker_response") == []


def test_only_genes_or_only_signatures(run, biopsies):
    assert set(run(with_scores=False)["kind"]) == {"gene"}
    bare = {**biopsies.declared, "protected_genes": []}
    assert set(run(expression=bare)["kind"]) == {"signature"}
    with pytest.raises(AnalysisError, match=r"nothing to correlate: name expression\.protected_genes"):
        run(expression=bare, with_scores=False)


def test_errors_say_what_is_wrong(run):
    with pytest.raises(AnalysisError, match=r"treatment: 'cure': must be one of expression\.contrasts"):
        run(treatment="cure")
    with pytest.raises(AnalysisError, match="variable 'aval': must be a change"):
        run(estimand_has={"variable": "aval"})


def test_unrelated_scores_give_uniform_p_values(biopsies, make_trial, run):
    noise = np.random.default_rng(13)
    rows = biopsies.sample.select("sample_id", "usubjid", "visit", "tissue")
    scores = pl.concat(
        rows.with_columns(
            collection=pl.lit("null"),
            gene_set=pl.lit(f"SET{number}"),
            scorer=pl.lit("gsva"),
            score=pl.Series(noise.normal(size=rows.height)),
        )
        for number in range(400)
    )
    result = run(scores=scores).filter(pl.col("kind") == "signature")
    # Binomial: 20 expected of 400, standard deviation 4.4.
    assert 7 <= (result["p_value"] <= 0.05).sum() <= 34
    assert result["p_value"].median() == pytest.approx(0.5, abs=0.1)
    assert result["p_adjusted"].min() > 0.05


BREAKS = {
    "a row twice": lambda frame: pl.concat([frame, frame.head(1)]),
    "a p-value of zero": lambda frame: frame.with_columns(p_value=pl.lit(0.0)),
    "a correlation above one": lambda frame: frame.with_columns(rho=pl.lit(1.2)),
    "an adjustment that helps": lambda frame: frame.with_columns(p_adjusted=pl.col("p_value") / 2),
    "a gap without a reason": lambda frame: frame.with_columns(
        status=pl.lit("not_estimable"), p_value=pl.lit(None, dtype=pl.Float64)
    ),
    "no warning": lambda frame: frame.with_columns(warning=pl.lit(None, dtype=pl.String)),
    "orders without a seed": lambda frame: frame.with_columns(is_exact=pl.lit(value=False), seed=None),
    "no rows": lambda frame: frame.head(0),
}


@pytest.mark.parametrize("what", BREAKS)
def test_suite_rejects(what, planted, unmet):
    assert unmet(BREAKS[what](planted), "biomarker_response")
