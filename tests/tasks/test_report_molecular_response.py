"""The report's sections on molecular response and biomarkers, from planted biopsies."""

from __future__ import annotations

import re

import polars as pl
import pytest

from tasks.omics.baseline_predictors import BaselinePredictorsParameters, baseline_predictors
from tasks.omics.biomarker_response import BiomarkerResponseParameters, biomarker_response
from tasks.omics.molecular_response import MolecularResponseParameters, molecular_response
from tasks.omics.residual_disease_profile import ResidualDiseaseProfileParameters, residual_disease_profile
from tasks.report import biomarkers
from tasks.report import molecular_response as section
from tasks.report.section import About

ABOUT = About(
    study_id="t",
    title="A trial",
    is_simulated=False,
    version=1,
    published_at="2026-01-01",
    run_id="r",
    code_version="c",
)


@pytest.fixture(scope="module")
def frames(biopsies, make_trial, estimand):
    of_response = {"disease": "disease", "treatment": "treatment", "expression": biopsies.declared}
    response = molecular_response(
        *biopsies.omics,
        biopsies.effect,
        biopsies.scores,
        parameters=MolecularResponseParameters.model_validate(of_response | {"n_resamples": 1000}),
    )
    trial = biopsies.scored(make_trial)
    tables = (trial.adsl, trial.adqs, *biopsies.omics, biopsies.scores)
    of_score = {"estimand": estimand(variable="pchg"), **of_response}
    of_change = {key: value for key, value in of_score.items() if key != "disease"}
    return {
        "results.molecular_response": response,
        "results.residual_disease_profile": residual_disease_profile(
            response,
            biopsies.effect,
            parameters=ResidualDiseaseProfileParameters.model_validate(
                {"residual": "residual", "expression": biopsies.declared}
            ),
        ),
        "results.biomarker_response": biomarker_response(
            *tables, parameters=BiomarkerResponseParameters.model_validate(of_change)
        ),
        "results.baseline_predictors": baseline_predictors(
            *tables, parameters=BaselinePredictorsParameters.model_validate(of_score)
        ),
    }


def _text(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_molecular_response_says_what_the_table_holds(frames):
    page = section.write(frames, ABOUT)
    cohort = frames["results.molecular_response"].filter(
        pl.col("level") == "cohort", pl.col("name") == "disease genes"
    )
    said = f"Over 60 disease genes {cohort['improvement_pct'][0]:.0f} % of the difference is gone"
    assert said in _text(page)
    assert 'id="molecular_response_forest"' in page
    assert 'id="molecular_response_patients"' in page
    assert "12 patients, fewer than 20" in page
    assert "at least 0.5 log2 needed to divide by" in page


def test_what_is_left_is_counted(frames):
    outcomes = frames["results.residual_disease_profile"]["outcome"]
    residual = (outcomes == "residual").sum()
    assert f"{residual} residual" in section.write(frames, ABOUT)
    without = {key: frame for key, frame in frames.items() if "residual" not in key}
    assert "What is left" not in section.write(without, ABOUT)
    empty = frames | {"results.residual_disease_profile": frames["results.residual_disease_profile"].head(0)}
    assert "No gene is called in the disease contrast" in section.write(empty, ABOUT)


def test_without_disease_genes_the_reason_is_said(frames, biopsies):
    response = molecular_response(
        *biopsies.omics,
        biopsies.effect.with_columns(p_adjusted=pl.lit(0.9)),
        None,
        parameters=MolecularResponseParameters.model_validate(
            {"disease": "disease", "treatment": "treatment", "expression": biopsies.declared}
        ),
    )
    page = section.write({"results.molecular_response": response}, ABOUT)
    assert "there is no number: no gene with an adjusted p-value below 0.05" in page
    assert 'id="molecular_response_patients"' not in page


def test_biomarkers_say_what_the_table_holds(frames):
    page = biomarkers.write(frames, ABOUT)
    assert "Of 4 correlations" in _text(page)
    assert 'id="biomarker_response_forest"' in page
    assert "no row is a validated predictor" in page.lower()
    only = {"results.biomarker_response": frames["results.biomarker_response"]}
    assert "Before treatment" not in biomarkers.write(only, ABOUT)


def test_one_scorer_is_drawn_and_all_are_in_the_table(frames):
    rows = frames["results.biomarker_response"]
    twice = pl.concat([rows, rows.filter(pl.col("kind") == "signature").with_columns(scorer=pl.lit("gsva"))])
    page = biomarkers.write({"results.biomarker_response": twice}, ABOUT)
    assert "Signatures scored by gsva" in page
    assert "All correlations (6)" in page


def test_names_from_the_data_are_escaped(frames):
    rows = frames["results.biomarker_response"].with_columns(name=pl.lit("<b>SPOT</b>"))
    assert "<b>SPOT" not in biomarkers.write({"results.biomarker_response": rows}, ABOUT)


def test_empty_tables_are_an_answer(frames):
    assert "Nothing has a molecular response" in section.write(
        {"results.molecular_response": frames["results.molecular_response"].head(0)}, ABOUT
    )
    assert "Nothing is set against a score" in biomarkers.write(
        {"results.biomarker_response": frames["results.biomarker_response"].head(0)}, ABOUT
    )


@pytest.mark.parametrize("asked", [section.SECTION, biomarkers.SECTION], ids=lambda asked: asked.name)
def test_a_column_that_an_older_version_lacks_is_named(asked, frames, misses_columns):
    assert misses_columns(asked, frames) == []
