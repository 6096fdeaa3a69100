from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from scipy.stats import pearsonr

from tasks.omics.module_response import ANALYSIS, SCHEMA, ModuleResponseParameters, module_response
from tasks.stats.signed_rank import signed_rank_exact
from tasks.stats.spearman import spearman
from warehouse.errors import AnalysisError


@pytest.fixture(scope="module")
def falling(network_results):
    return network_results[1].row(by_predicate=pl.col("feature_id") == "F000", named=True)["module"]


@pytest.fixture(scope="module")
def run(network, network_results):
    def respond(*, trial=None, eigengenes=None, expression=None, **changes):
        return module_response(
            network_results[2] if eigengenes is None else eigengenes,
            network.sample,
            *((trial.adsl, trial.adqs) if trial else (None, None)),
            parameters=ModuleResponseParameters.model_validate(
                {"expression": expression or network.declared(), **changes}
            ),
        )

    return respond


@pytest.fixture(scope="module")
def with_score(run, network, make_trial, estimand):
    scores = [[30.0, None, None, 30.0 * (1 - part)] for part in network.share]
    return run(
        trial=make_trial({"Active": scores}), estimand=estimand(variable="pchg"), treatment="treatment"
    )


def _row(result, module, contrast="treatment"):
    return result.row(
        by_predicate=(pl.col("module") == module) & (pl.col("contrast") == contrast), named=True
    )


def test_record_and_contract(with_score, unmet):
    assert ANALYSIS.fills == "results.module_response"
    assert ANALYSIS.uses == ("adam.adsl", "adam.adqs")
    assert dict(with_score.schema) == SCHEMA
    assert unmet(with_score, "module_response") == []
    assert unmet(with_score.with_columns(p_value=pl.lit(0.0)), "module_response") != []


def test_a_planted_fall_is_found_within_patients_and_nothing_else(
    with_score, falling, network, network_results
):
    own = _row(with_score, falling)
    assert (own["status"], own["direction"], own["n_subjects"]) == ("tested", "lower", 12)
    # The smallest there is, or near it.
    assert own["smallest_p_value"] <= own["p_value"] < 0.005
    wide = (
        network_results[2]
        .filter(pl.col("module") == falling, pl.col("tissue") == "LESIONAL")
        .pivot("visit", index="usubjid", values="eigengene")
    )
    difference = (wide["WEEK 12"] - wide["BASELINE"]).to_numpy()
    assert own["p_value"] == signed_rank_exact(difference).p_value
    others = with_score.filter(pl.col("contrast") == "treatment", pl.col("module") != falling)
    assert (others["p_value"] > 0.05).all()


def test_the_pooled_p_value_is_students_over_samples_and_says_so(with_score, falling, network_results):
    lesion = network_results[2].filter(pl.col("module") == falling, pl.col("tissue") == "LESIONAL")
    expected = pearsonr(lesion["eigengene"], (lesion["visit"] == "WEEK 12").cast(pl.Float64))
    own = _row(with_score, falling)
    assert own["pooled_correlation"] == pytest.approx(expected.statistic)
    assert own["p_value_pooled"] == pytest.approx(expected.pvalue)
    assert own["n_pooled"] == 24
    assert "anti-conservative" in own["pooled_note"]


def test_the_change_goes_with_the_score_where_it_was_planted(with_score, falling, network, network_results):
    own = _row(with_score, falling)
    wide = (
        network_results[2]
        .filter(pl.col("module") == falling, pl.col("tissue") == "LESIONAL")
        .pivot("visit", index="usubjid", values="eigengene")
        .sort("usubjid")
    )
    difference = (wide["WEEK 12"] - wide["BASELINE"]).to_numpy()
    expected = spearman(difference, -100 * network.share)
    assert own["score_rho"] == pytest.approx(expected.rho)
    assert own["score_p_value"] == pytest.approx(expected.p_value)
    assert own["score_rho"] > 0.6
    assert own["score_is_exact"]
    assert _row(with_score, falling, "disease")["score_status"] == "not_asked"


def test_without_a_score_only_changes_are_tested(run):
    assert set(run()["score_status"]) == {"not_asked"}


def test_a_contrast_that_the_network_has_no_samples_of_is_told(run, network_results, falling):
    lesions = network_results[2].filter(pl.col("tissue") == "LESIONAL")
    own = _row(run(eigengenes=lesions), falling, "disease")
    assert own["status"] == "not_estimable"
    assert own["reason"] == "no sample of the network is SKIN BASELINE"
    assert own["p_value"] is None


def test_no_module_has_no_rows(run, network_results):
    assert dict(run(eigengenes=network_results[2].clear()).schema) == SCHEMA


def test_under_no_change_exact_p_values_hold_their_level(run, network, network_results):
    rng = np.random.default_rng(0)
    eigengenes = network_results[2]
    rejected = []
    for _ in range(60):
        drawn = eigengenes.with_columns(eigengene=pl.Series(rng.normal(size=eigengenes.height)))
        rejected.extend((run(eigengenes=drawn)["p_value"] <= 0.05).to_list())
    # 360 tests at most .05 each: 30 is four standard errors above.
    assert sum(rejected) <= 18 + 4 * np.sqrt(360 * 0.05 * 0.95)
    assert network.SUBJECTS == 12


def test_what_cannot_be_asked_is_refused(run, network, estimand):
    with pytest.raises(ValidationError, match="must be given together"):
        run(treatment="treatment")
    with pytest.raises(AnalysisError, match=r"must be one of expression.contrasts: treatment, disease"):
        run(treatment="none", estimand=estimand(variable="pchg"))
    with pytest.raises(AnalysisError, match=r"adam.adsl and adam.adqs must be made"):
        run(treatment="treatment", estimand=estimand(variable="pchg"))
    with pytest.raises(AnalysisError, match="no contrast of levels is declared"):
        run(expression=network.declared() | {"contrasts": []})
