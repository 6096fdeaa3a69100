from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tasks.omics.counts import count_matrix, samples_of, with_group
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression, ExpressionDesign

SAMPLES = ("S3", "S1", "S2", "S4")
COUNTS = {"G2": (200, 100, 150, 5), "G1": (0, 50, 60, 2), "G3": (300, 250, 190, 8)}


def _frames():
    expression = pl.DataFrame(
        [
            (gene, sample, count)
            for gene, row in COUNTS.items()
            for sample, count in zip(SAMPLES, row, strict=True)
        ],
        schema=["feature_id", "sample_id", "count"],
        orient="row",
    )
    sample = pl.DataFrame(
        {
            "sample_id": SAMPLES,
            "usubjid": ["B", "A", "A", "B"],
            "visit": ["WEEK 12", "BASELINE", "WEEK 12", "BASELINE"],
            "tissue": ["SKIN", "SKIN", None, "SKIN"],
        }
    )
    feature = pl.DataFrame({"feature_id": ["G1", "G2", "G9"], "symbol": ["IFNG", "STAT1", "X"]})
    return expression, sample, feature


def _counts(frames=None, **declared):
    return count_matrix(*(frames or _frames()), declared=Expression.model_validate(declared))


def test_genes_and_samples_stand_in_order_and_a_failed_library_is_left_out_with_the_reason():
    counts = _counts(protected_genes=["IFNG"])
    assert counts.sample["sample_id"].to_list() == ["S1", "S2", "S3"]
    np.testing.assert_array_equal(counts.count, [[50, 60, 0], [100, 150, 200], [250, 190, 300]])
    assert counts.feature["feature_id"].to_list() == ["G1", "G2", "G3"]
    assert counts.feature["symbol"].to_list() == ["IFNG", "STAT1", None]
    assert counts.feature["is_protected"].to_list() == [True, False, False]
    # Libraries of 15, 400, 400 and 500 reads.
    assert (
        counts.excluded_text == "S4 (failed library: 15 reads, below 40, which is 10 % of the study's median)"
    )


def test_leaving_a_sample_out_by_decision_does_not_move_the_limit_for_others():
    counts = _counts(exclude_samples=[{"sample_id": "S3", "reason": "mislabelled"}])
    assert counts.excluded["S3"] == "left out by decision: mislabelled"
    assert "below 40," in counts.excluded["S4"]
    assert counts.sample["sample_id"].to_list() == ["S1", "S2"]
    assert _counts(min_library_pct=0).excluded == {}


def test_a_sample_without_counts_is_left_out_by_name():
    expression, sample, feature = _frames()
    counts = count_matrix(
        expression.filter(pl.col("sample_id") != "S1"), sample, feature, declared=Expression()
    )
    assert counts.sample["sample_id"].to_list() == ["S2", "S3"]
    assert counts.excluded["S1"] == "no counts delivered"


def test_a_group_joins_its_columns_and_is_null_where_one_is():
    design = ExpressionDesign(id="d", formula="~ group", group=("tissue", "visit"))
    grouped = with_group(_counts().sample, design)
    assert grouped["group"].to_list() == ["SKIN BASELINE", None, "SKIN WEEK 12"]
    unknown = ExpressionDesign(id="d", formula="~ group", group=("colour",))
    with pytest.raises(AnalysisError, match="design d: group: colour: must be columns"):
        with_group(_counts().sample, unknown)


def test_a_design_takes_the_samples_it_names():
    design = ExpressionDesign(
        id="d", formula="~ usubjid", samples={"tissue": ("SKIN",), "visit": ("WEEK 12",)}
    )
    chosen = samples_of(_counts(), design)
    assert chosen.sample["sample_id"].to_list() == ["S3"]
    np.testing.assert_array_equal(chosen.count, [[0], [200], [300]])
    assert set(chosen.excluded) == {"S4"}
    for samples, message in (
        ({"colour": ("red",)}, "samples: colour: must be a column"),
        ({"tissue": ("LIVER",)}, "samples: tissue: LIVER: must be one of SKIN"),
    ):
        with pytest.raises(AnalysisError, match=message):
            samples_of(_counts(), ExpressionDesign(id="d", formula="~ usubjid", samples=samples))


E, S, F = _frames()
BAD = [
    ((E.head(0), S, F), {}, "omics.expression: no sample of omics.sample has counts"),
    ((E, S.filter(pl.col("sample_id") != "S1"), F), {}, "sample S1: must be listed"),
    ((E.with_columns(count=pl.lit(-1)), S, F), {}, "count -1 of G2 in S3 .12 such rows"),
    ((E.with_columns(count=pl.lit(None, dtype=pl.Int64)), S, F), {}, "count None of G2 in S3"),
    ((pl.concat([E, E.head(1)]), S, F), {}, "G2 in S3: must be given once"),
    ((E.tail(-1), S, F), {}, "sample S3: lacks genes"),
    ((E, S, pl.concat([F, F.head(1)])), {}, "G1: one row per feature_id"),
    ((E, pl.concat([S, S.head(1)]), F), {}, "S3: one row per sample_id"),
    ((E, S, F), {"protected_genes": ["NOPE"]}, "protected_genes: NOPE"),
    ((E, S, F), {"exclude_samples": [{"sample_id": "X1", "reason": "r"}]}, "exclude_samples: X1"),
]


@pytest.mark.parametrize(("frames", "declared", "message"), BAD, ids=[case[2][:24] for case in BAD])
def test_errors_say_what_is_wrong(frames, declared, message):
    with pytest.raises(AnalysisError, match=message):
        _counts(frames, **declared)
