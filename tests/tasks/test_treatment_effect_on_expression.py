from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pydantic import ValidationError
from pydeseq2.dds import DeseqDataSet
from pydeseq2.default_inference import DefaultInference
from pydeseq2.ds import DeseqStats

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.omics.treatment_effect_on_expression import (
    ANALYSIS,
    SCHEMA,
    PairedInference,
    TreatmentEffectOnExpressionParameters,
    treatment_effect_on_expression,
)
from warehouse.errors import AnalysisError

HOUSE = Path(__file__).parents[2]
SUITE = find_suites(HOUSE / "expectations")["results.treatment_effect_on_expression"]
SUBJECTS = 8
PLANTED = 40
GENES = 400
FITTED = ("tested", "independent_filtering")


def _counts(fold=4.0):
    """Return genes x (reference visits, contrast visits); the first PLANTED genes rise, the next fall."""
    random = np.random.default_rng(11)
    level = random.lognormal(5.5, 1, GENES)[:, None]
    subject = random.lognormal(0, 0.3, (GENES, SUBJECTS))
    mean = level * np.tile(subject, 2) * random.uniform(0.7, 1.4, 2 * SUBJECTS)
    mean[:PLANTED, SUBJECTS:] *= fold
    mean[PLANTED : 2 * PLANTED, SUBJECTS:] /= fold
    size = 1 / (0.05 + 2 / level)
    return random.negative_binomial(size, size / (size + mean))


def _sample_ids(subjects=SUBJECTS):
    return [f"{visit}{number:02}" for visit in ("B", "W") for number in range(subjects)]


def _frames(counts=None):
    counts = _counts() if counts is None else counts
    names = _sample_ids(counts.shape[1] // 2)
    ids = [f"F{number:04}" for number in range(len(counts))]
    expression = (
        pl.DataFrame(counts, schema=names)
        .with_columns(feature_id=pl.Series(ids))
        .unpivot(index="feature_id", variable_name="sample_id", value_name="count")
    )
    sample = pl.DataFrame(
        {
            "sample_id": names,
            "usubjid": [f"S{name[1:]}" for name in names],
            "visit": ["BASELINE" if name[0] == "B" else "WEEK 12" for name in names],
            "tissue": ["lesion"] * len(names),
        }
    )
    feature = pl.DataFrame({"feature_id": ids, "symbol": [f"GENE{name[1:]}" for name in ids]})
    return expression, sample, feature


def _run(frames=None, **changes):
    parameters = TreatmentEffectOnExpressionParameters.model_validate(
        {"reference_visit": "BASELINE", "contrast_visit": "WEEK 12", **changes}
    )
    return treatment_effect_on_expression(*(frames or _frames()), parameters=parameters)


def _of(result, feature_id):
    return result.row(by_predicate=pl.col("feature_id") == feature_id, named=True)


def _verdict(result):
    return judge(result, SUITE, lambda *_: ())


@pytest.fixture(scope="module")
def planted():
    return _run()


def test_record_and_contract(planted):
    assert ANALYSIS.reads == ("omics.expression", "omics.sample", "omics.feature")
    assert ANALYSIS.fills == "results.treatment_effect_on_expression"
    assert dict(planted.schema) == SCHEMA
    assert not _verdict(planted).is_stopped


def test_planted_effects_are_found_with_their_direction(planted):
    up, down, null = planted[:PLANTED], planted[PLANTED : 2 * PLANTED], planted[2 * PLANTED :]
    assert (up["p_adjusted"] < 0.05).mean() > 0.9
    assert (down["p_adjusted"] < 0.05).mean() > 0.9
    assert up["log2_fold_change"].median() == pytest.approx(2, abs=0.25)
    assert down["log2_fold_change"].median() == pytest.approx(-2, abs=0.25)
    # With 320 null genes among 400, a rate of 5 % among discoveries is about four genes.
    assert (null["p_adjusted"] < 0.05).sum() <= 10


def test_without_an_effect_nothing_much_is_called():
    result = _run(_frames(_counts(fold=1.0)))
    assert (result["p_adjusted"] < 0.05).sum() <= 2
    assert (result["p_value"] < 0.05).mean() < 0.1


def test_every_delivered_gene_has_one_row_in_order(planted):
    assert planted["feature_id"].to_list() == [f"F{number:04}" for number in range(GENES)]
    assert planted["n_subjects"].unique().to_list() == [SUBJECTS]
    assert planted["n_samples"].unique().to_list() == [2 * SUBJECTS]
    assert planted["excluded_samples"].unique().to_list() == [""]


def test_order_of_rows_does_not_matter(planted):
    shuffled = [frame.sample(fraction=1, shuffle=True, seed=5) for frame in _frames()]
    assert _run(shuffled).equals(planted)


def test_exchanging_the_visits_negates_the_effect(planted):
    turned = _run(reference_visit="WEEK 12", contrast_visit="BASELINE")
    # Search paths differ with the order of samples; estimates agree to the tolerance they stop at.
    np.testing.assert_allclose(turned["log2_fold_change"], -planted["log2_fold_change"], atol=2e-3)


def test_equals_the_default_backend():
    """The same model fitted gene by gene: PyDESeq2's own steps, with the same rule for the trend."""

    class Default(DefaultInference):
        dispersion_trend_gamma_glm = PairedInference.dispersion_trend_gamma_glm

    # The first genes are the changed ones; a few of them and twice as many others keep the slow fit short.
    chosen = np.r_[0:10, PLANTED : PLANTED + 10, 100:160]
    names, ids = _sample_ids(), [f"F{number:04}" for number in range(len(chosen))]
    ours = _run(_frames(_counts()[chosen]))
    metadata = pd.DataFrame(
        {"subject": [f"s{name[1:]}" for name in names], "visit": [name[0] for name in names]}, index=names
    )
    counts = pd.DataFrame(_counts()[chosen].T, index=names, columns=ids)
    dataset = DeseqDataSet(
        counts=counts, metadata=metadata, design="~ subject + visit", inference=Default(n_cpus=1), quiet=True
    )
    dataset.deseq2()
    statistics = DeseqStats(dataset, contrast=["visit", "W", "B"], alpha=0.05, quiet=True)
    statistics.summary()
    theirs = statistics.results_df
    fitted = ours["status"].is_in(FITTED).to_numpy()
    assert fitted.all()
    # Gene-wise dispersions agree to about 1e-5 (see the statistics' own test); the rest follows from them.
    np.testing.assert_allclose(ours["base_mean"], theirs["baseMean"], rtol=1e-10)
    np.testing.assert_allclose(ours["dispersion"], dataset.var["dispersions"], rtol=2e-3)
    np.testing.assert_allclose(ours["log2_fold_change"], theirs["log2FoldChange"], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(ours["wald_statistic"], theirs["stat"], rtol=2e-3, atol=1e-3)
    ours_called = set(ours.filter(pl.col("p_adjusted") < 0.05)["feature_id"])
    assert ours_called == set(theirs.index[theirs["padj"] < 0.05])


def test_says_that_no_outlier_rule_applies(planted):
    assert "no outlier rule" in planted["method"][0]
    assert planted["method"][0].startswith("PyDESeq2 ")


def test_an_incomplete_pair_is_left_out_by_name():
    expression, sample, feature = _frames()
    frames = (
        expression.filter(pl.col("sample_id") != "W03"),
        sample.filter(pl.col("sample_id") != "W03"),
        feature,
    )
    result = _run(frames)
    assert result["excluded_samples"][0] == "B03 (subject S03: incomplete pair, no sample at WEEK 12)"
    assert (result["n_subjects"][0], result["n_samples"][0]) == (SUBJECTS - 1, 2 * SUBJECTS - 2)


def test_samples_are_excluded_by_request_by_library_and_without_a_subject():
    expression, sample, feature = _frames()
    expression = expression.with_columns(
        count=pl.when(pl.col("sample_id") == "B01").then(pl.col("count") // 50).otherwise("count")
    )
    sample = sample.with_columns(usubjid=pl.when(pl.col("sample_id") != "W02").then("usubjid"))
    result = _run((expression, sample, feature), exclude_samples=["B00"])
    text = result["excluded_samples"][0]
    assert "B00 (subject S00: excluded by parameter)" in text
    assert "W00 (subject S00: incomplete pair, no sample at BASELINE)" in text
    assert "B01 (subject S01: library of " in text
    assert "W02 (subject unknown: no subject)" in text
    assert result["n_subjects"][0] == SUBJECTS - 3


def test_other_visits_and_tissues_take_no_part(planted):
    expression, sample, feature = _frames()
    extra = sample.filter(pl.col("visit") == "BASELINE").with_columns(
        sample_id=pl.format("N{}", "sample_id"), tissue=pl.lit("healthy")
    )
    counts = expression.filter(pl.col("sample_id").str.starts_with("B")).with_columns(
        sample_id=pl.format("N{}", "sample_id")
    )
    frames = (pl.concat([expression, counts]), pl.concat([sample, extra]), feature)
    assert _run(frames, tissue="lesion").equals(planted)
    with pytest.raises(AnalysisError, match=r"S00 at BASELINE: B00, NB00.*exclude_samples"):
        _run(frames)


def test_rare_genes_are_filtered_unless_protected():
    counts = _counts()
    counts[100] = 0
    counts[101:103] = np.tile([0, 1, 2, 3], 4)
    counts[103] = np.r_[np.zeros(SUBJECTS), [0, 1, 0, 2, 1, 3, 0, 1]].astype(int)
    result = _run(_frames(counts), protected_genes=["GENE0102", "GENE0103", "GENE0100"])
    assert _of(result, "F0100")["status"] == "all_zero"
    filtered = _of(result, "F0101")
    assert filtered["status"] == "filtered_low_count"
    assert filtered["p_value"] is None
    assert filtered["base_mean"] > 0
    protected = _of(result, "F0102")
    assert protected["status"] in FITTED
    assert protected["is_protected"]
    assert protected["is_low_count"]
    assert 0 < protected["p_value"] <= 1
    separated = _of(result, "F0103")
    assert separated["status"] == "not_estimable"
    assert separated["log2_fold_change"] is None
    assert not _verdict(result).is_stopped


def test_a_gene_switched_off_for_good_is_a_finding_not_a_gap():
    counts = _counts()
    counts[200, :SUBJECTS] += 30
    counts[200, SUBJECTS:] = 0
    row = _of(_run(_frames(counts)), "F0200")
    assert row["status"] == "tested"
    assert row["log2_fold_change"] < -5
    assert row["p_adjusted"] < 0.05
    bounded = _of(_run(_frames(counts), max_absolute_lfc=5), "F0200")
    assert (bounded["status"], bounded["p_value"]) == ("not_estimable", None)


def test_a_pair_without_reads_does_not_disturb_the_others():
    counts = _counts()
    counts[300, [2, 2 + SUBJECTS]] = 0
    row = _of(_run(_frames(counts)), "F0300")
    assert row["status"] in FITTED
    assert abs(row["log2_fold_change"]) < 1


def test_two_pairs_are_enough_and_the_weak_prior_is_said():
    expression, sample, feature = _frames()
    sample = sample.filter(pl.col("usubjid").is_in(["S00", "S01"]))
    expression = expression.filter(pl.col("sample_id").is_in(sample["sample_id"].implode()))
    result = _run((expression, sample, feature))
    assert "1 residual degree(s) of freedom" in result["method"][0]
    assert not _verdict(result).is_stopped


def test_no_gene_with_reads_everywhere_changes_the_size_factors_and_says_so():
    counts = _counts()
    counts[np.arange(GENES), np.arange(GENES) % (2 * SUBJECTS)] = 0
    assert "size factors from positive counts" in _run(_frames(counts))["method"][0]


def _with(frames, position, frame):
    return tuple(frame if number == position else kept for number, kept in enumerate(frames))


E, S, F = _frames()
BAD = [
    ({"contrast_visit": "WEEK 99"}, (E, S, F), "contrast_visit: 'WEEK 99': must be one of BASELINE, WEEK 12"),
    ({"tissue": "liver"}, (E, S, F), "tissue: 'liver': must be one of lesion"),
    ({"protected_genes": ["NOPE"]}, (E, S, F), "protected_genes: NOPE"),
    ({"exclude_samples": ["X1"]}, (E, S, F), "exclude_samples: X1"),
    ({"min_samples": 99}, (E, S, F), "min_samples: 99"),
    ({"min_count": 10**9}, (E, S, F), "min_count: 1000000000"),
    (
        {"exclude_samples": [f"B{number:02}" for number in range(1, SUBJECTS)]},
        (E, S, F),
        "complete pairs, BASELINE and WEEK 12: 1: at least 2 are needed; left out: B01",
    ),
    ({}, (E.filter(pl.col("sample_id") != "B00"), S, F), "sample B00: has no counts"),
    ({}, (E, S.filter(pl.col("sample_id") != "B00"), F), "sample B00: must be listed"),
    ({}, (E.with_columns(count=pl.lit(-1)), S, F), "count -1 of F0000 in B00 .6400 such rows"),
    ({}, (pl.concat([E, E.head(1)]), S, F), "F0000 in B00: must be given once"),
    ({}, (E.tail(-1), S, F), "sample B00: lacks genes"),
    ({}, (E, S, pl.concat([F, F.head(1)])), "F0000: one row per feature_id"),
    ({}, (E, pl.concat([S, S.head(1)]), F), "B00: one row per sample_id"),
]


@pytest.mark.parametrize(("changes", "frames", "message"), BAD, ids=[case[2][:30] for case in BAD])
def test_errors_say_what_is_wrong(changes, frames, message):
    with pytest.raises(AnalysisError, match=message):
        _run(frames, **changes)


@pytest.mark.parametrize(
    "changes", [{"contrast_visit": "BASELINE"}, {"alpha": 1}, {"min_library_size": 2}, {"colour": "red"}]
)
def test_parameters_are_checked(changes):
    with pytest.raises(ValidationError):
        _run(**changes)


BREAKS = {
    "two rows for one gene": lambda frame: pl.concat([frame, frame.head(1)]),
    "a p-value of zero": lambda frame: frame.with_columns(p_value=pl.lit(0.0)),
    "a p-value above one": lambda frame: frame.with_columns(p_adjusted=pl.lit(1.5)),
    "an unknown status": lambda frame: frame.with_columns(status=pl.lit("fine")),
    "a sign that disagrees": lambda frame: frame.with_columns(log2_fold_change=-pl.col("log2_fold_change")),
    "a silent gap": lambda frame: frame.with_columns(p_value=pl.lit(None, dtype=pl.Float64)),
    "columns out of order": lambda frame: frame.select(reversed(frame.columns)),
    "no rows": lambda frame: frame.head(0),
}


@pytest.mark.parametrize("what", BREAKS)
def test_suite_rejects(what, planted):
    assert _verdict(BREAKS[what](planted)).is_stopped
