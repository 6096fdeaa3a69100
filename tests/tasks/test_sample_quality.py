from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.omics.counts import CountMatrix
from tasks.omics.normalised import most_variable, size_factors, vst
from tasks.omics.sample_quality import ANALYSIS, SCHEMA, SampleQualityParameters, sample_quality
from tasks.simulation import simulated_frames
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression

HOUSE = Path(__file__).parents[2]
SUITE = find_suites(HOUSE / "expectations")["results.sample_quality"]
ASSUMPTIONS = HOUSE / "studies" / "nl_ruxolitinib" / "simulation.toml"
AS_EXPECTED = "as expected"


def _simulated(**about):
    made = simulated_frames(ASSUMPTIONS, **{"seed": 12, "patients": 12, "genes": 3000, **about})
    return made.expression, made.sample, made.feature


def _run(frames, sample_qc=None, **changes):
    return sample_quality(*frames, sample_qc, parameters=SampleQualityParameters.model_validate(changes))


def _of(result, sample_id):
    return result.row(by_predicate=pl.col("sample_id") == sample_id, named=True)


def _verdict(result):
    return judge(result, SUITE, lambda *_: ())


def _small(samples=3, genes=60, seed=1, **columns):
    """Counts of samples that differ in nothing, with the columns of omics.sample that are named."""
    rng = np.random.default_rng(seed)
    names = [f"S{number:02}" for number in range(samples)]
    mean = rng.lognormal(4, 1, genes)
    count = rng.negative_binomial(10, 10 / (10 + mean[:, None]), (genes, samples))
    genes_named = [f"G{number:03}" for number in range(genes)]
    expression = pl.DataFrame(
        {
            "feature_id": np.repeat(genes_named, samples),
            "sample_id": np.tile(names, genes),
            "count": count.ravel(),
        }
    )
    sample = pl.DataFrame({"sample_id": names, **columns})
    feature = pl.DataFrame({"feature_id": genes_named, "symbol": genes_named})
    return expression, sample, feature


def _sexes(sample, **different):
    """Return omics.sample_qc where every sample expresses the recorded sex but those named."""
    return sample.select(
        "sample_id",
        recorded_sex="sex",
        expressed_sex=pl.col("sample_id").replace_strict(different, default=None).fill_null(pl.col("sex")),
    ).with_columns(is_sex_concordant=pl.col("recorded_sex") == pl.col("expressed_sex"))


@pytest.fixture(scope="module")
def flawed():
    return _simulated(has_flaws=True)


@pytest.fixture(scope="module")
def judged(flawed):
    mismatched = {f"NLSIM006_{place}": "M" for place in ("L_BL", "L_W12", "N_BL", "N_W12")}
    return _run(flawed, _sexes(flawed[1], **mismatched))


def test_record_and_contract(judged):
    assert ANALYSIS.reads == ("omics.expression", "omics.sample", "omics.feature")
    assert ANALYSIS.uses == ("omics.sample_qc",)
    assert ANALYSIS.fills == "results.sample_quality"
    assert dict(judged.schema) == SCHEMA
    assert not _verdict(judged).is_stopped


def test_exchanged_libraries_name_each_other(judged):
    one, other = _of(judged, "NLSIM004_N_W12"), _of(judged, "NLSIM005_N_W12")
    assert judged.filter("has_swap_suspected")["sample_id"].to_list() == ["NLSIM004_N_W12", "NLSIM005_N_W12"]
    assert (one["likely_subject"], one["likely_partner_sample"]) == ("NLSIM-005", "NLSIM005_N_W12")
    assert (other["likely_subject"], other["likely_partner_sample"]) == ("NLSIM-004", "NLSIM004_N_W12")
    assert one["within_subject_correlation"] < one["between_subject_correlation"]
    assert one["verdict"] == (
        "like the samples of NLSIM-005, not of NLSIM-004: exchanged with NLSIM005_N_W12?"
        " Sex cannot tell: both are F."
    )


def test_without_the_exchange_nobody_is_suspected():
    assert _run(_simulated())["has_swap_suspected"].sum() == 0


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_the_exchange_is_found_whatever_the_seed(seed):
    result = _run(_simulated(seed=seed, has_flaws=True))
    found = result.filter("has_swap_suspected")
    assert found["sample_id"].to_list() == ["NLSIM004_N_W12", "NLSIM005_N_W12"]
    assert found["likely_partner_sample"].to_list() == ["NLSIM005_N_W12", "NLSIM004_N_W12"]


def test_a_failed_library_stays_in_the_table_with_the_rule_that_left_it_out(judged):
    failed = _of(judged, "NLSIM002_N_W12")
    assert judged["is_excluded"].sum() == 1
    assert failed["is_excluded"]
    assert failed["exclusion_rule"].startswith("failed library: ")
    assert failed["library_size_of_median_pct"] < 10
    assert failed["has_swap_suspected"] is None
    assert failed["verdict"].startswith("left out of all analyses of expression: failed library")
    assert judged["n_samples"].unique().to_list() == [47]


def test_a_decision_to_leave_a_sample_out_is_repeated(flawed):
    plan = Expression.model_validate({"exclude_samples": [{"sample_id": "NLSIM001_L_BL", "reason": "torn"}]})
    left_out = _of(_run(flawed, expression=plan), "NLSIM001_L_BL")
    assert left_out["exclusion_rule"] == "left out by decision: torn"


def test_sex_in_all_samples_points_at_the_record_and_in_one_at_the_sample(flawed, judged):
    assert _of(judged, "NLSIM006_L_BL")["verdict"] == (
        "expressed sex M, recorded F in every sample of the participant: is the record mistyped?"
    )
    one = _run(flawed, _sexes(flawed[1], NLSIM007_L_BL="M"))
    assert _of(one, "NLSIM007_L_BL")["verdict"] == "expressed sex M, recorded F"


def test_sex_speaks_for_or_against_an_exchange(flawed):
    expression, sample, feature = flawed
    other = sample.with_columns(
        sex=pl.when(pl.col("usubjid") == "NLSIM-005").then(pl.lit("M")).otherwise(pl.lit("F"))
    )
    said = _of(_run((expression, other, feature), _sexes(other, NLSIM004_N_W12="M")), "NLSIM004_N_W12")
    assert " The expressed sex, M, says so too." in said["verdict"]
    said = _of(_run((expression, other, feature), _sexes(other)), "NLSIM004_N_W12")
    assert " The expressed sex, F, speaks against it." in said["verdict"]


def test_one_sample_of_somebody_else_is_named_without_a_partner():
    expression, sample, feature = _simulated()
    wrong = sample.with_columns(
        usubjid=pl.when(pl.col("sample_id") == "NLSIM001_L_BL").then(pl.lit("NLSIM-009")).otherwise("usubjid")
    )
    found = _of(_run((expression, wrong, feature)), "NLSIM001_L_BL")
    assert (found["likely_subject"], found["likely_partner_sample"]) == ("NLSIM-001", None)
    assert found["verdict"] == "like the samples of NLSIM-001, not of NLSIM-009: belongs to NLSIM-001?"


def test_with_two_samples_each_the_verdict_says_that_either_pair_may_be_exchanged():
    expression, sample, feature = _simulated()
    two = sample.filter(pl.col("tissue") == "LESIONAL")
    swapped = {"NLSIM001_L_BL": "NLSIM-002", "NLSIM002_L_BL": "NLSIM-001"}
    recorded = two.with_columns(
        usubjid=pl.col("sample_id").replace_strict(swapped, default=None).fill_null(pl.col("usubjid"))
    )
    kept = expression.filter(pl.col("sample_id").is_in(two["sample_id"].to_list()))
    found = _run((kept, recorded, feature)).filter("has_swap_suspected")
    assert found["usubjid"].unique().sort().to_list() == ["NLSIM-001", "NLSIM-002"]
    assert found["verdict"].str.contains("or the other sample of each was; which, expression cannot").all()


def _spoiled(frames, sample_id, factor):
    """Multiply every tenth gene of a sample, as contamination would."""
    expression, sample, feature = frames
    hit = (pl.col("sample_id") == sample_id) & (pl.col("feature_id").hash(1) % 3 == 0)
    count = pl.when(hit).then(pl.col("count") * factor).otherwise("count")
    return expression.with_columns(count=count), sample, feature


def test_a_contaminated_library_is_unlike_its_group_and_kept():
    result = _run(_spoiled(_simulated(), "NLSIM010_L_BL", 12))
    odd = _of(result, "NLSIM010_L_BL")
    assert odd["is_outlier"]
    assert not odd["is_excluded"]
    assert max(odd["correlation_outlier_score"], odd["pca_outlier_score"]) > 5
    assert "unlike the others of its group" in odd["verdict"]
    assert result["is_outlier"].sum() <= 2


def test_fat_markers_tell_a_deep_biopsy():
    expression, sample, feature = _simulated()
    markers = feature.filter(pl.col("symbol").is_in(["ADIPOQ", "PLIN1", "PLIN4", "CIDEC", "LEP"]))
    hit = (pl.col("sample_id") == "NLSIM003_L_BL") & pl.col("feature_id").is_in(
        markers["feature_id"].to_list()
    )
    count = pl.when(hit).then(pl.col("count") * 200 + 1000).otherwise("count")
    deep = _of(_run((expression.with_columns(count=count), sample, feature)), "NLSIM003_L_BL")
    assert deep["is_depth_outlier"]
    assert "the biopsy went deeper" in deep["verdict"]


def test_depth_is_the_mean_of_the_markers_in_log2_per_million():
    frames = _small(4)
    result = _run(frames, depth_markers=("G001", "G002", "ABSENT"))
    wide = frames[0].pivot(on="sample_id", index="feature_id", values="count")
    of = wide.filter(pl.col("feature_id").is_in(["G001", "G002"]))["S00"].to_numpy()
    library = wide["S00"].sum()
    expected = np.log2(1e6 * (of + 0.5) / (library + 1)).mean()
    assert result["depth_markers_log2_cpm"][0] == pytest.approx(expected)
    assert "depth by G001, G002 beyond 3.5" in result["method"][0]


def test_three_samples_of_nobody_known():
    result = _run(_small(3))
    assert result.height == 3
    assert result["has_swap_suspected"].null_count() == 3
    assert result["depth_markers_log2_cpm"].null_count() == 3
    assert "whose a sample is cannot be asked" in result["method"][0]
    assert "no depth marker measured" in result["method"][0]
    assert not _verdict(result).is_stopped


def test_two_samples_are_counted_and_not_compared():
    result = _run(_small(2, usubjid=["A", "B"]))
    assert result["median_correlation"].null_count() == 2
    assert result["library_size"].null_count() == 0
    assert set(result["verdict"]) == {AS_EXPECTED}


def test_unpaired_people_without_visit_or_tissue():
    result = _run(_small(12, usubjid=[f"P{number}" for number in range(12)]))
    assert result["has_swap_suspected"].null_count() == 12
    assert result["is_outlier"].null_count() == 0
    assert result["visit"].null_count() == 12


def test_samples_without_likeness_within_people_are_not_suspected():
    frames = _small(24, 300, usubjid=[f"P{number // 2:02}" for number in range(24)], visit=["a", "b"] * 12)
    result = _run(frames)
    assert not result["has_swap_suspected"].any()
    assert "too few to suspect any" in result["method"][0]


def test_many_samples_are_judged():
    names = [f"P{number // 2:03}" for number in range(400)]
    result = _run(_small(400, 120, usubjid=names, visit=["a", "b"] * 200))
    assert result.height == 400
    assert result["is_outlier"].mean() < 0.02


def test_order_of_rows_does_not_matter(flawed, judged):
    shuffled = tuple(frame.sample(fraction=1, shuffle=True, seed=4) for frame in flawed)
    again = _run(shuffled)
    assert again["sample_id"].to_list() == judged["sample_id"].to_list()
    assert np.allclose(again["pca_distance"].fill_null(-1), judged["pca_distance"].fill_null(-1))
    assert again["likely_subject"].to_list() == judged["likely_subject"].to_list()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (pl.col("sample_id").first().alias("sample_id"), "expect_column_values_to_be_unique"),
        (pl.lit(None, dtype=pl.String).alias("exclusion_rule"), "expect_column_values_to_not_be_null"),
        (pl.lit(1.5).alias("median_correlation"), "expect_column_values_to_be_between"),
        (pl.lit(-0.1).alias("pca_distance"), "expect_column_values_to_be_between"),
        (pl.lit(value=False).alias("has_swap_suspected"), "expect_column_values_to_be_in_set"),
        (pl.lit(None, dtype=pl.String).alias("verdict"), "expect_column_values_to_not_be_null"),
    ],
)
def test_the_suite_rejects_a_broken_copy(judged, change, rule):
    verdict = _verdict(judged.with_columns(change))
    assert verdict.is_stopped
    assert rule in {one.expectation.type for one in verdict.outcomes if not one.is_met}


def test_what_needs_a_look_is_noted_and_stops_nothing(judged):
    noted = {
        one.expectation.kwargs["column"]: one.rows_failing
        for one in _verdict(judged).outcomes
        if not one.is_met
    }
    assert noted["has_swap_suspected"] == 2
    # Sex is judged where it is found out, in omics.sample_qc: not noted twice.
    assert "is_sex_concordant" not in noted
    assert noted["is_excluded"] == 1


@pytest.mark.parametrize(
    "wrong", [{"outlier_mads": 0}, {"swap_alpha": 1}, {"n_variable_genes": 1}, {"outlier_mad": 3}], ids=str
)
def test_parameters_that_cannot_be(wrong):
    with pytest.raises(ValidationError):
        SampleQualityParameters.model_validate(wrong)


# The scale that all of this rests on


def _matrix(count):
    genes = [f"G{number}" for number in range(count.shape[0])]
    return CountMatrix(
        feature=pl.DataFrame({"feature_id": genes, "symbol": genes}),
        sample=pl.DataFrame({"sample_id": [f"S{number}" for number in range(count.shape[1])]}),
        count=count.astype(float),
        excluded={},
    )


def test_depth_does_not_move_stabilised_expression_and_high_counts_are_on_the_log2_scale():
    rng = np.random.default_rng(3)
    mean = rng.lognormal(6, 1.5, 2000)
    count = rng.negative_binomial(20, 20 / (20 + mean[:, None]), (2000, 8))
    value = vst(_matrix(count))
    deeper = vst(_matrix(count * np.array([1, 1, 1, 1, 4, 4, 4, 4])))
    # Counts times four have less Poisson noise in the eyes of the model; at high means that is nothing.
    high = mean > 2000
    assert (
        np.abs((deeper - deeper.mean(axis=1, keepdims=True)) - (value - value.mean(axis=1, keepdims=True)))[
            high
        ].max()
        < 0.05
    )
    normalised = count[high] / size_factors(count.astype(float))
    assert np.abs(value[high] - np.log2(normalised)).max() < 0.05


def test_variance_is_even_over_the_mean():
    rng = np.random.default_rng(4)
    mean = np.repeat([20.0, 200.0, 2000.0], 600)
    # The dispersion of such counts is .05 + 1 / mean.
    dispersion = 0.05 + 1 / mean
    count = rng.negative_binomial(1 / dispersion[:, None], 1 / (1 + mean * dispersion)[:, None], (1800, 20))
    spread = vst(_matrix(count)).std(axis=1, ddof=1)
    low, middle, high = (np.median(spread[mean == one]) for one in (20, 200, 2000))
    assert max(low, middle, high) / min(low, middle, high) < 1.15


def test_silent_genes_are_flat_and_in_their_place():
    count = np.random.default_rng(5).poisson(50, (40, 6)).astype(float)
    count[7] = 0
    value = vst(_matrix(count))
    assert value.shape == count.shape
    assert np.ptp(value[7]) == 0
    assert value[7, 0] <= value.min()


def test_stabilised_expression_is_refused_for_one_sample_or_no_reads():
    with pytest.raises(AnalysisError, match=r"1 sample\(s\) kept: at least 2"):
        vst(_matrix(np.ones((3, 1))))
    with pytest.raises(AnalysisError, match="every count is zero"):
        vst(_matrix(np.zeros((3, 4))))


def test_the_most_variable_genes_come_first_and_constant_ones_never():
    value = np.array([[1.0, 1, 1], [0, 5, 10], [0, 1, 2]])
    assert most_variable(value, 3).tolist() == [1, 2]
    assert most_variable(value, 1).tolist() == [1]
