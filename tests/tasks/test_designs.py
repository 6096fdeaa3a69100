from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tasks.omics.counts import CountMatrix
from tasks.omics.designs import contrast_vector, design_matrix, reduced_matrix, subject_contrast
from warehouse.errors import AnalysisError
from warehouse.expression_plan import ExpressionContrast, ExpressionDesign

VISITS = ("BASELINE", "WEEK 12")
TISSUES = ("LESIONAL", "NON-LESIONAL")


def _sample(subjects=4, **columns):
    """Return a sample at each visit of each tissue of each subject, and more columns computed from each."""
    rows = [
        {
            "sample_id": f"{subject}{tissue[0]}{visit[0]}",
            "usubjid": f"S{subject}",
            "visit": visit,
            "visitnum": 12.0 if visit == "WEEK 12" else 0.0,
            "tissue": tissue,
        }
        for subject in range(1, subjects + 1)
        for tissue in TISSUES
        for visit in VISITS
    ]
    rows = [row | {name: value(row) for name, value in columns.items()} for row in rows]
    return pl.DataFrame(rows, infer_schema_length=None).sort("sample_id")


def _counts(sample, *drop, excluded=None):
    kept = sample.filter(~pl.col("sample_id").is_in(list(drop)))
    return CountMatrix(
        feature=pl.DataFrame({"feature_id": ["G1"]}),
        sample=kept,
        count=np.arange(float(kept.height))[np.newaxis],
        excluded=excluded or {},
    )


def _design(formula="~ usubjid + group", group=("tissue", "visit"), **changes):
    return ExpressionDesign.model_validate({"id": "skin", "formula": formula, "group": group, **changes})


def _contrast(**changes):
    asked = {"id": "asked", "title": "Asked", "design": "skin", **changes}
    return ExpressionContrast.model_validate(asked)


TREATMENT = _contrast(level="LESIONAL WEEK 12", reference="LESIONAL BASELINE")
INTERACTION = _contrast(
    weights={
        "LESIONAL WEEK 12": 1,
        "LESIONAL BASELINE": -1,
        "NON-LESIONAL WEEK 12": -1,
        "NON-LESIONAL BASELINE": 1,
    }
)


def _estimate(matrix, contrast, values):
    coefficient, *_ = np.linalg.lstsq(matrix.matrix, values, rcond=None)
    return float(contrast_vector(matrix, contrast) @ coefficient)


def test_the_paired_factorial_has_its_columns_and_its_reference_is_the_first_visit():
    matrix = design_matrix(_counts(_sample()), _design())
    assert matrix.columns == (
        "(intercept)",
        "usubjid[S2]",
        "usubjid[S3]",
        "usubjid[S4]",
        "group[LESIONAL WEEK 12]",
        "group[NON-LESIONAL BASELINE]",
        "group[NON-LESIONAL WEEK 12]",
    )
    assert matrix.levels["group"][0] == "LESIONAL BASELINE"
    assert (matrix.residual_df, matrix.smallest_group) == (9, 4)
    assert matrix.subjects == ("S1", "S2", "S3", "S4")
    assert matrix.has_subject_effects
    assert matrix.block is None


def test_visits_stand_in_their_order_in_time_and_other_text_in_order_of_letters():
    sample = _sample(visit=lambda row: {"BASELINE": "SCREENING", "WEEK 12": "DAY 85"}[row["visit"]])
    matrix = design_matrix(_counts(sample), _design("~ usubjid + tissue + visit", ()))
    assert matrix.levels["visit"] == ("SCREENING", "DAY 85")
    assert matrix.levels["tissue"] == TISSUES
    by_text = design_matrix(_counts(sample.drop("visitnum")), _design("~ usubjid + tissue + visit", ()))
    assert by_text.levels["visit"] == ("DAY 85", "SCREENING")


@pytest.mark.parametrize("contrast", [TREATMENT, INTERACTION], ids=["difference", "interaction"])
def test_a_contrast_is_the_weighted_sum_of_the_means_of_its_cells(contrast):
    sample = _sample()
    matrix = design_matrix(_counts(sample), _design())
    values = np.random.default_rng(1).normal(size=sample.height)
    # Complete pairs: the subject takes no part in a difference of means of cells.
    cell = pl.concat_str("tissue", "visit", separator=" ")
    mean = dict(sample.select(cell.alias("g"), v=values).group_by("g").mean().iter_rows())
    by_hand = sum(weight * mean[level] for level, weight in contrast.level_weights.items())
    assert _estimate(matrix, contrast, values) == pytest.approx(by_hand, rel=1e-10)


def test_exchanging_level_and_reference_negates_the_contrast():
    matrix = design_matrix(_counts(_sample()), _design())
    turned = _contrast(level="LESIONAL BASELINE", reference="LESIONAL WEEK 12")
    np.testing.assert_array_equal(contrast_vector(matrix, turned), -contrast_vector(matrix, TREATMENT))


def test_a_slope_is_per_unit_of_the_covariate_as_delivered():
    rin = {
        f"{subject}{tissue}{visit}": 5 + 0.37 * subject
        for subject in range(9)
        for tissue in "LN"
        for visit in "BW"
    }
    sample = _sample(8, rin=lambda row: rin[row["sample_id"]] + (0.8 if row["tissue"] == "LESIONAL" else 0))
    matrix = design_matrix(_counts(sample), _design("~ rin + group"))
    level = sample["tissue"].replace_strict({"LESIONAL": 3.0, "NON-LESIONAL": 1.0}).to_numpy()
    values = 2.5 * sample["rin"].to_numpy() + level
    assert _estimate(matrix, _contrast(variable="rin", slope=True), values) == pytest.approx(2.5)
    at_baseline = _contrast(level="LESIONAL BASELINE", reference="NON-LESIONAL BASELINE")
    assert _estimate(matrix, at_baseline, values) == pytest.approx(2.0)
    # Fitted on its own scale, so that a covariate in thousands steps no worse.
    np.testing.assert_allclose(matrix.matrix[:, -1].mean(), 0, atol=1e-12)
    np.testing.assert_allclose(matrix.matrix[:, -1].std(), 1)


def test_a_subject_with_one_of_its_cells_missing_stays():
    matrix = design_matrix(_counts(_sample(), "2NW"), _design())
    assert matrix.sample.height == 15
    assert matrix.counts.excluded == {}
    np.testing.assert_array_equal(matrix.counts.count[0], np.arange(15))


def test_the_only_sample_of_a_subject_is_left_out_by_name():
    counts = _counts(_sample(), "3LW", "3NB", "3NW", excluded={"1LB": "failed library"})
    matrix = design_matrix(counts, _design())
    assert set(matrix.counts.excluded) == {"1LB", "3LB"}
    assert matrix.counts.excluded["3LB"] == (
        "the only sample of subject S3, and the comparison is within subjects"
    )
    assert "S3" not in matrix.subjects
    assert "3LB" not in matrix.sample["sample_id"]


def test_a_block_keeps_the_only_sample_of_a_subject():
    counts = _counts(_sample(), "3LW", "3NB", "3NW")
    matrix = design_matrix(counts, _design("~ group", engine="voom", block="usubjid"))
    assert matrix.sample.height == 13
    assert matrix.block is not None
    assert sorted(np.bincount(matrix.block)) == [1, 4, 4, 4]
    assert not matrix.has_subject_effects


def test_a_sample_without_a_value_of_a_term_is_left_out_with_the_reason():
    sample = _sample(
        rin=lambda row: {"1LB": None, "1NB": float("nan")}.get(
            row["sample_id"], len(row) + hash(row["sample_id"]) % 7
        )
    )
    sample = sample.with_columns(visit=pl.when(pl.col("sample_id") != "2LW").then("visit"))
    matrix = design_matrix(_counts(sample), _design("~ usubjid + rin + group"))
    assert matrix.counts.excluded == {"1LB": "no rin", "1NB": "no rin", "2LW": "no group"}


def test_subjects_may_be_nested_in_arms_where_the_contrast_is_within_them():
    sample = _sample(6, arm=lambda row: "A" if row["usubjid"] < "S4" else "B")
    design = _design("~ usubjid + group", ("arm", "visit"), samples={"tissue": ["LESIONAL"]})
    matrix = design_matrix(_counts(sample), design)
    assert (matrix.declared.shape[1], matrix.matrix.shape) == (9, (12, 8))
    values = np.random.default_rng(2).normal(size=12)
    change = {}
    for arm in "AB":
        one = (
            matrix.sample.with_columns(v=values)
            .filter(pl.col("arm") == arm)
            .group_by("visit")
            .agg(pl.col("v").mean())
        )
        mean = dict(one.iter_rows())
        change[arm] = mean["WEEK 12"] - mean["BASELINE"]
    between = {"A WEEK 12": 1, "A BASELINE": -1, "B WEEK 12": -1, "B BASELINE": 1}
    assert _estimate(matrix, _contrast(weights=between), values) == pytest.approx(change["A"] - change["B"])
    with pytest.raises(
        AnalysisError, match=r"cannot be estimated: no usubjid has samples to compare them by"
    ):
        contrast_vector(matrix, _contrast(level="A BASELINE", reference="B BASELINE"))


def test_a_likelihood_ratio_test_leaves_the_terms_out():
    matrix = design_matrix(_counts(_sample()), _design("~ usubjid + tissue + visit", ()))
    assert reduced_matrix(matrix, ["visit"], "contrast x").shape == (16, 5)
    assert reduced_matrix(matrix, ["usubjid", "tissue", "visit"], "contrast x").shape == (16, 1)


def test_what_a_formula_without_subjects_assumes_can_be_told():
    matrix = design_matrix(_counts(_sample()), _design("~ group"))
    assert not matrix.has_subject_effects
    assert len(matrix.subjects) == 4


def _batch(row):
    return "B" if row["visit"] == "WEEK 12" else "A"


CONFOUNDED = [
    (
        _sample(batch=_batch),
        _design("~ batch + visit", ()),
        r"batch and visit tell the same samples apart: every WEEK 12 sample is batch B, .*leave one",
    ),
    (
        _sample(sex=lambda row: "F" if row["usubjid"] < "S3" else "M"),
        _design("~ usubjid + sex + group"),
        r"sex is the same in all samples of one usubjid \(S1: F; S2: F; S3: M \.\.\.\)",
    ),
    (
        _sample(age=lambda row: 40 + 3.5 * int(row["usubjid"][1])),
        _design("~ usubjid + age + group"),
        r"age is the same in all samples of one usubjid \(S1: 43\.5",
    ),
    (
        _sample(lot=lambda row: row["visit"][0] + row["usubjid"][1:]),
        _design("~ lot + visit", ()),
        r"visit is the same in all samples of one lot \(B1: BASELINE",
    ),
    (_sample(lab=lambda _: "one"), _design("~ lab + group"), r"lab: every sample has the same value, one"),
    (_sample(lab=lambda _: 3), _design("~ lab + group"), r"lab: every sample has the same value, 3"),
    (
        _sample(dose=lambda row: (row["visit"] == "WEEK 12") * 2 + (row["tissue"] == "LESIONAL") * 1.0),
        _design("~ usubjid + dose + visit + tissue", ()),
        r"dose follows from visit and tissue in these 16 samples",
    ),
]


@pytest.mark.parametrize(
    ("sample", "design", "message"), CONFOUNDED, ids=[case[2][:25] for case in CONFOUNDED]
)
def test_confounded_terms_are_named(sample, design, message):
    with pytest.raises(AnalysisError, match=message):
        design_matrix(_counts(sample), design)


REPEATED = pl.concat([_sample(), _sample().head(1).with_columns(sample_id=pl.lit("1LBx"))])
REFUSED = [
    (_counts(_sample()), _design("~ rin + group"), r"design skin .*: rin: must be columns of omics.sample"),
    (
        _counts(REPEATED),
        _design(),
        r"S1 at LESIONAL BASELINE: 1LB, 1LBx: one sample of each usubjid in each cell",
    ),
    (
        _counts(REPEATED),
        _design("~ group", engine="voom", block="usubjid"),
        r"S1 at LESIONAL BASELINE: 1LB, 1LBx",
    ),
    (
        _counts(
            _sample(2, rin=lambda row: len(row["visit"]) * float(row["usubjid"][1])),
            excluded={"X1": "failed library"},
        ),
        _design("~ usubjid + rin + visit", (), samples={"tissue": ["LESIONAL"]}),
        r"4 samples for 4 coefficients .* at least 5 samples are needed; left out: X1 \(failed library\)",
    ),
    (
        _counts(_sample().filter((pl.col("tissue") == "LESIONAL") & (pl.col("visit") == "BASELINE"))),
        _design("~ usubjid + visit", ()),
        r"no subject has two samples.* leave usubjid out of the formula; left out: 1LB",
    ),
    (
        _counts(_sample().with_columns(visit=pl.lit(None, dtype=pl.String))),
        _design(),
        r"no sample is left; left out: 1LB \(no group\)",
    ),
    (
        _counts(_sample(rin=lambda row: float("inf") if row["sample_id"] == "1LB" else 3.0)),
        _design("~ rin + group"),
        r"rin: infinite in a sample",
    ),
]


@pytest.mark.parametrize(("counts", "design", "message"), REFUSED, ids=[case[2][:25] for case in REFUSED])
def test_what_a_design_cannot_do_is_said(counts, design, message):
    with pytest.raises(AnalysisError, match=message):
        design_matrix(counts, design)


UNASKABLE = [
    (
        _contrast(level="LESIONAL WEEK 99", reference="LESIONAL BASELINE"),
        r"group 'LESIONAL WEEK 99': no sample of the design is one; there are LESIONAL BASELINE",
    ),
    (_contrast(slope=True), r"slope: group is text"),
    (
        _contrast(variable="rin", level="1", reference="2"),
        r"rin is a number: it has no levels; ask for its slope",
    ),
]


@pytest.mark.parametrize(("contrast", "message"), UNASKABLE, ids=[case[1][:20] for case in UNASKABLE])
def test_what_a_contrast_cannot_ask_is_said(contrast, message):
    matrix = design_matrix(
        _counts(_sample(rin=lambda row: float(ord(row["sample_id"][1]) * int(row["usubjid"][1]) % 5))),
        _design("~ usubjid + rin + group"),
    )
    with pytest.raises(AnalysisError, match=message):
        contrast_vector(matrix, contrast)


def test_a_term_that_says_nothing_cannot_be_tested():
    sample = _sample(6, arm=lambda row: "A" if row["usubjid"] < "S4" else "B")
    design = _design("~ usubjid + tissue + group", ("arm", "visit"))
    matrix = design_matrix(_counts(sample), design)
    assert reduced_matrix(matrix, ["tissue"], "contrast x").shape[1] == matrix.matrix.shape[1] - 1
    one = design_matrix(
        _counts(sample), _design("~ usubjid + group", ("arm", "visit"), samples={"tissue": ["LESIONAL"]})
    )
    with pytest.raises(AnalysisError, match="contrast x: without: nothing"):
        reduced_matrix(one, ["nothing"], "contrast x")


def test_the_contrast_of_each_subject_is_that_of_the_means_of_its_cells():
    sample = pl.concat([_sample(3), _sample(1).tail(1).with_columns(sample_id=pl.lit("1NWx"))])
    sample = sample.with_columns(group=pl.concat_str("tissue", "visit", separator=" "))
    values = np.arange(2.0 * sample.height).reshape(2, -1) ** 2
    subjects, difference = subject_contrast(sample, INTERACTION, values)
    assert subjects == ["S1", "S2", "S3"]
    at = {name: position for position, name in enumerate(sample["sample_id"])}
    mean = (values[:, at["1NW"]] + values[:, at["1NWx"]]) / 2
    by_hand = values[:, at["1LW"]] - values[:, at["1LB"]] - mean + values[:, at["1NB"]]
    np.testing.assert_allclose(difference[:, 0], by_hand)


def test_a_subject_without_one_of_the_cells_has_no_contrast_and_its_gaps_spread_nowhere():
    sample = _sample(3).filter(pl.col("sample_id") != "2LW")
    sample = sample.with_columns(group=pl.concat_str("tissue", "visit", separator=" "))
    values = np.ones((1, sample.height))
    values[0, sample["sample_id"].to_list().index("3NB")] = np.nan
    subjects, difference = subject_contrast(sample, TREATMENT, values)
    assert subjects == ["S1", "S3"]
    np.testing.assert_array_equal(difference, [[0, 0]])
    values[0, sample["sample_id"].to_list().index("3LB")] = np.nan
    np.testing.assert_array_equal(subject_contrast(sample, TREATMENT, values)[1], [[0, np.nan]])
    nobody = sample.filter(pl.col("usubjid") == "S2")
    assert subject_contrast(nobody, TREATMENT, values[:, :3])[1].shape == (1, 0)


def test_only_levels_can_be_taken_within_subjects():
    with pytest.raises(AnalysisError, match="must have levels"):
        subject_contrast(_sample(), _contrast(variable="rin", slope=True), np.ones((1, 16)))
    with pytest.raises(AnalysisError, match="group: must be a column"):
        subject_contrast(_sample(), TREATMENT, np.ones((1, 16)))
