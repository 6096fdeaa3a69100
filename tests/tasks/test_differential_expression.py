from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.omics.differential_expression import (
    ANALYSIS,
    SCHEMA,
    DifferentialExpressionParameters,
    differential_expression,
)
from warehouse.errors import AnalysisError

HOUSE = Path(__file__).parents[2]
SUITE = find_suites(HOUSE / "expectations")["results.differential_expression"]
SUBJECTS = 8
PLANTED = 40
GENES = 400
FITTED = ("tested", "independent_filtering")
TREATMENT = {
    "id": "treatment",
    "title": "Week 12 against baseline",
    "design": "paired",
    "variable": "visit",
    "level": "WEEK 12",
    "reference": "BASELINE",
}
PAIRED = {"id": "paired", "formula": "~ usubjid + visit"}


def _counts(fold=4.0, seed=11):
    """Return genes x (baseline, week 12); the first PLANTED genes rise, the next fall."""
    random = np.random.default_rng(seed)
    level = random.lognormal(5.5, 1, GENES)[:, None]
    subject = random.lognormal(0, 0.3, (GENES, SUBJECTS))
    mean = level * np.tile(subject, 2) * random.uniform(0.7, 1.4, 2 * SUBJECTS)
    mean[:PLANTED, SUBJECTS:] *= fold
    mean[PLANTED : 2 * PLANTED, SUBJECTS:] /= fold
    size = 1 / (0.05 + 2 / level)
    return random.negative_binomial(size, size / (size + mean))


def _frames(counts=None):
    counts = _counts() if counts is None else counts
    names = [f"{visit}{number:02}" for visit in "BW" for number in range(counts.shape[1] // 2)]
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
        }
    )
    feature = pl.DataFrame(
        {
            "feature_id": ids,
            "symbol": [f"GENE{name[1:]}" for name in ids],
            "ensembl_id": [f"E{name}" for name in ids],
        }
    )
    return expression, sample, feature


def _run(frames=None, *, designs=(PAIRED,), contrasts=(TREATMENT,), parameters=None, **declared):
    expression = {"designs": designs, "contrasts": contrasts, **declared}
    return differential_expression(
        *(frames or _frames()),
        parameters=DifferentialExpressionParameters.model_validate(
            {"expression": expression, **(parameters or {})}
        ),
    )


def _of(result, feature_id, contrast="treatment"):
    return result.row(
        by_predicate=(pl.col("feature_id") == feature_id) & (pl.col("contrast") == contrast), named=True
    )


def _verdict(result):
    return judge(result, SUITE, lambda *_: ())


@pytest.fixture(scope="module")
def planted():
    return _run()


def test_record_and_contract(planted):
    assert ANALYSIS.reads == ("omics.expression", "omics.sample", "omics.feature")
    assert ANALYSIS.fills == "results.differential_expression"
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


def test_q_values_call_the_planted_genes_and_spare_the_others(planted):
    assert (planted[: 2 * PLANTED]["q_value"] < 0.05).mean() > 0.9
    assert (planted[2 * PLANTED :]["q_value"] < 0.05).sum() <= 7
    nothing = _run(_frames(_counts(fold=1.0)))
    assert not (nothing["q_value"] < 0.05).any()
    turned = _run(contrasts=[TREATMENT | {"level": "BASELINE", "reference": "WEEK 12"}])
    np.testing.assert_allclose(turned["q_value"], planted["q_value"], atol=1e-6)


@pytest.mark.parametrize("without", [["visit"], []])
def test_q_values_are_of_effects_so_a_likelihood_ratio_test_has_none(without):
    result = _run(contrasts=[TREATMENT | {"without": without}])
    assert result["q_value"].null_count() == (GENES if without else result["p_value"].null_count())


def test_every_delivered_gene_has_one_row_in_order(planted):
    assert planted["feature_id"].to_list() == [f"F{number:04}" for number in range(GENES)]
    assert planted["ensembl_id"][0] == "EF0000"
    assert planted["n_subjects"].unique().to_list() == [SUBJECTS]
    assert planted["n_samples"].unique().to_list() == [2 * SUBJECTS]
    assert planted["excluded_samples"].unique().to_list() == [""]
    assert planted["design"].unique().to_list() == ["~ usubjid + visit"]


def test_order_of_rows_does_not_matter(planted):
    shuffled = [frame.sample(fraction=1, shuffle=True, seed=5) for frame in _frames()]
    assert _run(shuffled).equals(planted)


def test_exchanging_level_and_reference_negates_the_effect(planted):
    turned = _run(contrasts=[TREATMENT | {"level": "BASELINE", "reference": "WEEK 12"}])
    for name in ("log2_fold_change", "statistic", "lfc_shrunken"):
        np.testing.assert_allclose(turned[name], -planted[name], rtol=1e-6, atol=1e-8)
    assert turned["p_adjusted"].equals(planted["p_adjusted"])


def test_deeper_sequencing_of_a_sample_is_no_effect(planted):
    counts = _counts()
    counts[:, 3] *= 2
    result = _run(_frames(counts))
    # Twice the reads carry the same information twice: the effect stays, to what one sample can weigh.
    both = result["log2_fold_change"] - planted["log2_fold_change"]
    assert abs(both.median()) < 0.01


def test_shrinkage_pulls_towards_zero_and_spares_what_is_sure(planted):
    tested = planted.filter(pl.col("status").is_in(FITTED))
    # A mode of a slightly skewed posterior near zero may lie a thousandth of an error on the far side.
    bound = tested["log2_fold_change"].abs() + 1e-3 * tested["lfc_se"]
    assert (tested["lfc_shrunken"].abs() <= bound).all()
    sure = tested.filter(pl.col("p_value") < 1e-12)
    np.testing.assert_allclose(sure["lfc_shrunken"], sure["log2_fold_change"], rtol=0.1)
    assert tested["s_value"].min() < 1e-6
    assert tested["s_value"].max() < 0.5


def test_the_method_says_what_was_done(planted):
    said = planted["method"][0]
    for part in (
        "Wald test, two-sided",
        "apeglm prior",
        "outlying subjects by their own contrast",
        "independent filtering at 0.05",
        "10 reads in 8 samples or more",
        "8 of 8 subjects have every sample of the contrast",
    ):
        assert part in said


def test_a_design_is_fitted_once_for_all_its_contrasts(planted):
    turned = TREATMENT | {"id": "turned", "level": "BASELINE", "reference": "WEEK 12"}
    both = _run(contrasts=[turned, TREATMENT])
    assert both["contrast"].unique(maintain_order=True).to_list() == ["turned", "treatment"]
    assert both.filter(pl.col("contrast") == "treatment").equals(planted)
    assert not _verdict(both).is_stopped


def test_a_gene_that_one_library_makes_is_an_outlier_by_name_unless_the_rule_is_off():
    counts = _counts()
    counts[200] = 300
    counts[200, SUBJECTS + 3] = 60000
    result = _run(_frames(counts))
    row = _of(result, "F0200")
    assert (row["status"], row["outlier_sample"], row["p_value"], row["statistic"]) == (
        "outlier",
        "W03",
        None,
        None,
    )
    assert "sample W03 of subject S03 differs from all others" in row["reason"]
    assert row["log2_fold_change"] is not None
    assert row["lfc_shrunken"] is None
    assert not _verdict(result).is_stopped
    without = _run(_frames(counts), parameters={"outlier_rules": []})
    assert _of(without, "F0200")["status"] in FITTED
    assert "no outlier rule applies" in without["method"][0]


def test_half_of_the_subjects_responding_is_no_outlier():
    counts = _counts()
    counts[200, SUBJECTS : SUBJECTS + SUBJECTS // 2] *= 8
    assert _of(_run(_frames(counts)), "F0200")["status"] in FITTED


def test_in_groups_of_replicates_cooks_distance_names_the_library():
    counts = _counts()[:, :SUBJECTS]
    counts[300] = 200
    counts[300, 2] = 90000
    expression, sample, feature = _frames(counts)
    sample = sample.with_columns(usubjid=pl.format("S{}", "sample_id"))
    arms = [{"id": "arms", "formula": "~ visit"}]
    result = _run((expression, sample, feature), designs=arms, contrasts=[TREATMENT | {"design": "arms"}])
    row = _of(result, "F0300")
    assert (row["status"], row["outlier_sample"]) == ("outlier", "B02")
    assert "Cook's distance" in row["reason"]
    assert result["n_subjects"][0] == SUBJECTS


def test_an_incomplete_pair_is_left_out_by_name():
    expression, sample, feature = _frames()
    frames = (
        expression.filter(pl.col("sample_id") != "W03"),
        sample.filter(pl.col("sample_id") != "W03"),
        feature,
    )
    result = _run(frames)
    assert result["excluded_samples"][0] == (
        "B03 (the only sample of subject S03, and the comparison is within subjects)"
    )
    assert (result["n_subjects"][0], result["n_samples"][0]) == (SUBJECTS - 1, 2 * SUBJECTS - 2)


def test_a_block_uses_incomplete_pairs_too():
    expression, sample, feature = _frames()
    frames = (
        expression.filter(~pl.col("sample_id").is_in(["W03", "B05"])),
        sample.filter(~pl.col("sample_id").is_in(["W03", "B05"])),
        feature,
    )
    voom = [{"id": "paired", "formula": "~ visit", "engine": "voom", "block": "usubjid"}]
    result = _run(frames, designs=voom)
    assert (result["n_subjects"][0], result["n_samples"][0], result["excluded_samples"][0]) == (8, 14, "")
    assert set(result["test"]) == {"moderated_t"}
    assert "samples of one usubjid correlated by 0." in result["method"][0]
    assert "6 of 8 subjects have every sample" in result["method"][0]
    assert (result[: 2 * PLANTED]["p_adjusted"] < 0.05).mean() > 0.9
    assert (result[2 * PLANTED :]["p_adjusted"] < 0.05).sum() <= 10
    assert result[:PLANTED]["log2_fold_change"].median() == pytest.approx(2, abs=0.25)
    assert result["lfc_shrunken"].null_count() == result["dispersion"].null_count() == GENES
    assert not _verdict(result).is_stopped


@pytest.mark.parametrize("engine", ["deseq", "voom"])
def test_protecting_a_gene_moves_no_other_genes_numbers(engine):
    counts = _counts()
    counts[101:103] = np.tile([0, 1, 2, 3], 4)
    counts[110] = 9
    design = (
        PAIRED
        if engine == "deseq"
        else {"id": "paired", "formula": "~ visit", "engine": "voom", "block": "usubjid"}
    )
    frames = _frames(counts)
    plain = _run(frames, designs=[design])
    kept = _run(frames, designs=[design], protected_genes=["GENE0102", "GENE0110", "GENE0005"])
    assert _of(plain, "F0102")["status"] == _of(plain, "F0110")["status"] == "filtered_low_count"
    others = ~pl.col("feature_id").is_in(["F0102", "F0110"])
    # Genes are worked on in blocks; another place in its block changes a number in its last bit.
    assert_frame_equal(
        kept.filter(others).drop("is_protected"), plain.filter(others).drop("is_protected"), rel_tol=1e-12
    )
    for feature_id in ("F0102", "F0110"):
        row = _of(kept, feature_id)
        assert (row["status"], row["is_protected"], row["is_low_count"]) == ("tested", True, True)
        assert 0 < row["p_value"] <= row["p_adjusted"] <= 1
    assert not _verdict(kept).is_stopped


def test_independent_filtering_spares_protected_genes():
    random = np.random.default_rng(3)
    change = np.repeat([1.0, 1.35], SUBJECTS)
    seen = random.negative_binomial(20, 20 / (20 + 400 * np.tile(change, (200, 1))))
    rare = random.uniform(8, 15, (1000, 1)) * np.ones(2 * SUBJECTS)
    counts = np.concatenate([seen, random.negative_binomial(2, 2 / (2 + rare))])
    plain = _run(_frames(counts), min_count=1)
    lost = plain.filter(pl.col("status") == "independent_filtering")
    assert lost.height > 500
    assert lost["reason"].str.contains("threshold").all()
    one = lost["symbol"][0]
    kept = _run(_frames(counts), min_count=1, protected_genes=[one])
    assert _of(kept, lost["feature_id"][0])["status"] == "tested"
    others = pl.col("symbol") != one
    assert kept.filter(others).equals(plain.filter(others))


def test_rare_genes_are_filtered_and_say_so():
    counts = _counts()
    counts[100] = 0
    counts[101] = np.tile([0, 1, 2, 3], 4)
    counts[103] = np.r_[np.zeros(SUBJECTS), [0, 1, 0, 2, 1, 3, 0, 1]].astype(int)
    result = _run(_frames(counts), protected_genes=["GENE0100", "GENE0103"])
    empty = _of(result, "F0100")
    assert (empty["status"], empty["reason"]) == ("all_zero", "no read in any sample of the design")
    filtered = _of(result, "F0101")
    assert (filtered["status"], filtered["p_value"]) == ("filtered_low_count", None)
    assert filtered["reason"] == "fewer than 8 samples with 10 reads or more"
    assert filtered["base_mean"] > 0
    separated = _of(result, "F0103")
    assert (separated["status"], separated["log2_fold_change"]) == ("not_estimable", None)
    assert not _verdict(result).is_stopped


def test_a_gene_switched_off_for_good_is_a_finding_not_a_gap():
    counts = _counts()
    counts[200, :SUBJECTS] += 30
    counts[200, SUBJECTS:] = 0
    row = _of(_run(_frames(counts)), "F0200")
    assert row["status"] == "tested"
    assert row["log2_fold_change"] < -5
    assert row["p_adjusted"] < 0.05
    bounded = _of(_run(_frames(counts), parameters={"max_absolute_lfc": 5}), "F0200")
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
    assert "no rule for outlying subjects among fewer than 3" in result["method"][0]
    assert not _verdict(result).is_stopped


def test_no_gene_with_reads_everywhere_changes_the_size_factors_and_says_so():
    counts = _counts()
    counts[np.arange(GENES), np.arange(GENES) % (2 * SUBJECTS)] = 0
    assert "size factors from positive counts" in _run(_frames(counts))["method"][0]


def test_samples_of_a_subject_taken_as_independent_are_said():
    result = _run(designs=[{"id": "paired", "formula": "~ visit"}])
    assert "samples of one usubjid taken as independent" in result["method"][0]


def test_a_likelihood_ratio_test_stands_with_or_without_an_effect(planted):
    alone = {"id": "any", "title": "Any", "design": "paired", "without": ["visit"]}
    beside = TREATMENT | {"id": "beside", "without": ["visit"]}
    result = _run(contrasts=[alone, beside])
    first, second = (result.filter(pl.col("contrast") == name) for name in ("any", "beside"))
    assert first["log2_fold_change"].null_count() == GENES
    assert first["p_value"].equals(second["p_value"])
    assert set(second["test"]) == {"likelihood_ratio"}
    fitted = second["log2_fold_change"].is_not_null() & planted["log2_fold_change"].is_not_null()
    np.testing.assert_allclose(
        second.filter(fitted)["log2_fold_change"], planted.filter(fitted)["log2_fold_change"], rtol=1e-12
    )
    # With one degree of freedom and no extreme effect, the ratio is close to the square of Wald's statistic.
    mild = planted["statistic"].abs() < 2
    np.testing.assert_allclose(
        second.filter(mild)["statistic"], planted.filter(mild)["statistic"] ** 2, rtol=0.25, atol=0.05
    )
    assert not _verdict(result).is_stopped


def test_an_interaction_is_found_where_only_one_tissue_changes():
    random = np.random.default_rng(8)
    cells = [(tissue, visit) for tissue in ("LESION", "SKIN") for visit in ("BASELINE", "WEEK 12")]
    level = random.lognormal(5, 1, 200)[:, None]
    mean = np.tile(level * random.lognormal(0, 0.3, (200, 6)), 4)
    mean[:30, 6:12] *= 4
    mean[30:60, 6:12] *= 4
    mean[30:60, 18:] *= 4
    counts = random.negative_binomial(20, 20 / (20 + mean))
    ids = [f"X{number}" for number in range(24)]
    expression = (
        pl.DataFrame(counts, schema=ids)
        .with_columns(feature_id=pl.Series([f"F{number:04}" for number in range(200)]))
        .unpivot(index="feature_id", variable_name="sample_id", value_name="count")
    )
    sample = pl.DataFrame(
        {
            "sample_id": ids,
            "usubjid": [f"S{number % 6}" for number in range(24)],
            "tissue": [cells[number // 6][0] for number in range(24)],
            "visit": [cells[number // 6][1] for number in range(24)],
        }
    )
    feature = expression.select("feature_id").unique().with_columns(symbol="feature_id")
    interaction = {
        "id": "interaction",
        "title": "Interaction",
        "design": "skin",
        "weights": {"LESION WEEK 12": 1, "LESION BASELINE": -1, "SKIN WEEK 12": -1, "SKIN BASELINE": 1},
    }
    treatment = {
        "id": "treatment",
        "title": "T",
        "design": "skin",
        "level": "LESION WEEK 12",
        "reference": "LESION BASELINE",
    }
    result = _run(
        (expression, sample, feature),
        designs=[{"id": "skin", "formula": "~ usubjid + group", "group": ["tissue", "visit"]}],
        contrasts=[treatment, interaction],
    )
    both = result.filter(pl.col("contrast") == "treatment")
    only = result.filter(pl.col("contrast") == "interaction")
    assert (both[:60]["p_adjusted"] < 0.05).mean() > 0.9
    assert (only[:30]["p_adjusted"] < 0.05).mean() > 0.9
    assert only[:30]["log2_fold_change"].median() == pytest.approx(2, abs=0.3)
    assert (only[30:60]["p_adjusted"] < 0.05).sum() <= 2
    assert only["ensembl_id"].null_count() == 200
    assert not _verdict(result).is_stopped


E, S, F = _frames()
BAD = [
    ({"contrasts": []}, (E, S, F), "expression.contrasts: none is declared"),
    (
        {"contrasts": [TREATMENT | {"level": "WEEK 99"}]},
        (E, S, F),
        "visit 'WEEK 99': no sample of the design is one; there are BASELINE, WEEK 12",
    ),
    ({"min_samples": 99}, (E, S, F), "min_samples: 99: must be 16 or less"),
    ({"min_count": 10**9}, (E, S, F), "min_count: 1000000000: no gene has that many reads in 8 samples"),
    ({"protected_genes": ["NOPE"]}, (E, S, F), "protected_genes: NOPE"),
]


@pytest.mark.parametrize(("declared", "frames", "message"), BAD, ids=[case[2][:30] for case in BAD])
def test_errors_say_what_is_wrong(declared, frames, message):
    with pytest.raises(AnalysisError, match=message):
        _run(frames, **declared)


@pytest.mark.parametrize("parameters", [{"alpha": 1}, {"outlier_rules": ["mine"]}, {"colour": "red"}])
def test_parameters_are_checked(parameters):
    with pytest.raises(ValidationError):
        _run(parameters=parameters)


NOT_TESTED = ("log2_fold_change", "lfc_se", "statistic", "p_value", "p_adjusted", "lfc_shrunken", "s_value")
BREAKS = {
    "two rows for one gene": lambda frame: pl.concat([frame, frame.head(1)]),
    "a p-value of zero": lambda frame: frame.with_columns(p_value=pl.lit(0.0)),
    "a p-value above one": lambda frame: frame.with_columns(p_adjusted=pl.lit(1.5)),
    "a q-value of a gene without a test": lambda frame: frame.with_columns(
        status=pl.lit("not_estimable"), reason=pl.lit("none fits")
    ).with_columns(pl.lit(None).alias(name) for name in NOT_TESTED),
    "an unknown status": lambda frame: frame.with_columns(status=pl.lit("fine")),
    "a sign that disagrees": lambda frame: frame.with_columns(log2_fold_change=-pl.col("log2_fold_change")),
    "a silent gap": lambda frame: frame.with_columns(p_value=pl.lit(None, dtype=pl.Float64)),
    "no test without a reason": lambda frame: frame.with_columns(
        status=pl.lit("outlier"), outlier_sample=pl.lit("B01"), statistic=None, p_value=None
    ),
    "a protected gene lost": lambda frame: frame.with_columns(
        is_protected=pl.lit(value=True), status=pl.lit("filtered_low_count")
    ),
    "columns out of order": lambda frame: frame.select(reversed(frame.columns)),
    "no rows": lambda frame: frame.head(0),
}


@pytest.mark.parametrize("what", BREAKS)
def test_suite_rejects(what, planted):
    assert _verdict(BREAKS[what](planted)).is_stopped
