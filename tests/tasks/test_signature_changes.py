from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.omics.signature_changes import (
    ANALYSIS,
    SCHEMA,
    SignatureChangesParameters,
    signature_changes,
)
from tasks.stats.hodges_lehmann import hodges_lehmann
from tasks.stats.location import sign_flip
from tasks.stats.signed_rank import signed_rank_exact
from warehouse.errors import AnalysisError

SUITE = find_suites(Path(__file__).parents[2] / "expectations")["results.signature_changes"]
SUBJECTS = 12
CELLS = [(tissue, visit) for tissue in ("LESIONAL", "NON-LESIONAL") for visit in ("BASELINE", "WEEK 12")]
DECLARED = {
    "designs": [{"id": "skin", "formula": "~ usubjid + group", "group": ["tissue", "visit"]}],
    "contrasts": [
        {
            "id": "treatment",
            "title": "Lesional, week 12 against baseline",
            "design": "skin",
            "level": "LESIONAL WEEK 12",
            "reference": "LESIONAL BASELINE",
        },
        {
            "id": "interaction",
            "title": "Change in lesional less change in non-lesional skin",
            "design": "skin",
            "weights": {
                "LESIONAL WEEK 12": 1,
                "LESIONAL BASELINE": -1,
                "NON-LESIONAL WEEK 12": -1,
                "NON-LESIONAL BASELINE": 1,
            },
        },
    ],
}
SETS = ("FALLING", "NOISE_1", "NOISE_2")


def _sample():
    return pl.DataFrame(
        [
            {"sample_id": f"L{s:02}{c}", "usubjid": f"P{s:02}", "visit": visit, "tissue": tissue}
            for s in range(SUBJECTS)
            for c, (tissue, visit) in enumerate(CELLS)
        ]
    )


def _scores(fall=1.0):
    random = np.random.default_rng(12)
    rows = []
    for scorer in ("gsva", "mean_z"):
        for name in SETS:
            for sample in _sample().iter_rows(named=True):
                after = sample["visit"] == "WEEK 12" and sample["tissue"] == "LESIONAL"
                shift = -fall * after if name == "FALLING" else 0
                rows.append(
                    {
                        "sample_id": sample["sample_id"],
                        "collection": "own",
                        "gene_set": name,
                        "scorer": scorer,
                        "score": shift + random.normal(0, 0.1),
                    }
                )
    return pl.DataFrame(rows)


def _run(scores=None, sample=None, expression=None, **changes):
    return signature_changes(
        _scores() if scores is None else scores,
        _sample() if sample is None else sample,
        parameters=SignatureChangesParameters.model_validate(
            {"expression": DECLARED if expression is None else expression, **changes}
        ),
    )


def _of(result, name, contrast="treatment", scorer="gsva"):
    return result.row(
        by_predicate=(pl.col("gene_set") == name)
        & (pl.col("contrast") == contrast)
        & (pl.col("scorer") == scorer),
        named=True,
    )


def _difference(scores, name="FALLING", scorer="gsva"):
    wide = (
        scores.filter(gene_set=name, scorer=scorer)
        .join(_sample().filter(tissue="LESIONAL"), on="sample_id")
        .pivot("visit", index="usubjid", values="score")
        .sort("usubjid")
    )
    return (wide["WEEK 12"] - wide["BASELINE"]).to_numpy()


def _verdict(result):
    return judge(result, SUITE, lambda *_: ())


@pytest.fixture(scope="module")
def planted():
    return _run()


def test_record_and_contract(planted):
    assert ANALYSIS.reads == ("results.signature_scores", "omics.sample")
    assert dict(planted.schema) == SCHEMA
    assert planted.height == 2 * 2 * len(SETS)
    assert not _verdict(planted).is_stopped


def test_a_planted_fall_has_the_smallest_p_value_of_twelve(planted):
    row = _of(planted, "FALLING")
    assert (row["direction"], row["n_subjects"], row["n_higher"]) == ("lower", SUBJECTS, 0)
    assert row["p_value"] == row["smallest_p_value"] == pytest.approx(2**-11)
    assert row["p_sign_flip"] == pytest.approx(2**-11)
    assert row["is_sign_flip_exact"]
    assert -1.2 < row["ci_low"] < row["hodges_lehmann"] < row["ci_high"] < -0.8
    assert row["d_z"] < -4
    assert _of(planted, "NOISE_1")["p_value"] > 0.05


def test_numbers_are_those_of_the_paired_differences(planted):
    difference = _difference(_scores(), "NOISE_1")
    row = _of(planted, "NOISE_1")
    centre = hodges_lehmann(difference)
    assert row["p_value"] == signed_rank_exact(difference).p_value
    assert row["p_sign_flip"] == pytest.approx(sign_flip(difference).p_value)
    assert row["hodges_lehmann"] == pytest.approx(centre.estimate)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((centre.interval.low, centre.interval.high))
    assert row["ci_achieved_level"] > 0.95
    assert row["mean_difference"] == pytest.approx(difference.mean())
    assert row["d_z"] == pytest.approx(difference.mean() / difference.std(ddof=1))


def test_interaction_is_a_difference_of_differences(planted):
    scores = _scores()
    wide = scores.filter(gene_set="FALLING", scorer="gsva").join(_sample(), on="sample_id")
    means = {
        cell: wide.filter(tissue=cell[0], visit=cell[1]).sort("usubjid")["score"].to_numpy() for cell in CELLS
    }
    first, second, third, fourth = (means[cell] for cell in CELLS)
    expected = (second - first) - (fourth - third)
    assert _of(planted, "FALLING", "interaction")["mean_difference"] == pytest.approx(expected.mean())


def test_adjusted_over_the_sets_of_contrast_scorer_and_collection(planted):
    row = _of(planted, "FALLING")
    assert row["p_adjusted"] == pytest.approx(3 * row["p_value"])


def test_incomplete_subjects_are_named_and_left_out():
    lost = (pl.col("sample_id") == "L030") | (pl.col("sample_id") == "L053")
    result = _run(_scores().filter(~lost))
    treatment, interaction = _of(result, "FALLING"), _of(result, "FALLING", "interaction")
    assert (treatment["n_subjects"], treatment["incomplete_subjects"]) == (SUBJECTS - 1, "P03")
    assert treatment["smallest_p_value"] == pytest.approx(2**-10)
    assert (interaction["n_subjects"], interaction["incomplete_subjects"]) == (SUBJECTS - 2, "P03; P05")


def test_a_missing_score_leaves_its_subject_out_of_that_test_alone():
    scores = _scores().with_columns(
        score=pl.when((pl.col("gene_set") == "NOISE_1") & (pl.col("sample_id") == "L000"))
        .then(None)
        .otherwise("score")
    )
    assert _of(_run(scores), "NOISE_1")["n_subjects"] == SUBJECTS - 1
    assert _of(_run(scores), "NOISE_2")["n_subjects"] == SUBJECTS


def test_too_few_subjects_and_no_difference_are_rows_with_a_reason():
    one = _run(_scores().filter(pl.col("sample_id").str.starts_with("L00")))
    row = _of(one, "FALLING")
    assert (row["status"], row["p_value"], row["n_subjects"]) == ("not_estimable", None, 1)
    assert "1 subject(s) with a score at every level" in row["reason"]
    level = _run(_scores().with_columns(score=pl.lit(0.25)))
    assert _of(level, "FALLING")["reason"] == "no subject's score differs"
    assert not _verdict(level).is_stopped


def test_a_study_without_subjects_says_so():
    declared = DECLARED | {
        "designs": [{"id": "skin", "formula": "~ group", "group": ["tissue", "visit"]}],
    }
    result = _run(sample=_sample().drop("usubjid"), expression=declared)
    assert result["status"].unique().to_list() == ["not_estimable"]


def test_turning_the_scores_round_turns_the_sign_and_keeps_p(planted):
    turned = _run(_scores().with_columns(score=-pl.col("score")))
    for name in SETS:
        one, other = _of(planted, name), _of(turned, name)
        assert other["p_value"] == pytest.approx(one["p_value"])
        assert other["hodges_lehmann"] == pytest.approx(-one["hodges_lehmann"])
        assert other["ci_low"] == pytest.approx(-one["ci_high"])


def test_null_scores_are_called_no_more_often_than_promised():
    random = np.random.default_rng(13)
    frames = [
        _scores(fall=0).with_columns(
            gene_set=pl.format("{}_{}", "gene_set", pl.lit(number)),
            score=pl.Series(random.normal(size=len(SETS) * 2 * 4 * SUBJECTS)),
        )
        for number in range(60)
    ]
    p = _run(pl.concat(frames)).filter(contrast="treatment")["p_value"]
    # 360 tests whose exact level is .042 at .05: 15 expected, standard deviation 3.8.
    assert 4 <= (p <= 0.05).sum() <= 28


def test_result_does_not_depend_on_the_order_of_rows(planted):
    again = _run(_scores().sample(fraction=1, shuffle=True, seed=5), _sample().reverse())
    assert again.equals(planted)


def test_errors_say_what_is_wrong():
    with pytest.raises(AnalysisError, match=r"no contrast of levels is declared"):
        _run(expression={})
    with pytest.raises(AnalysisError, match=r"sample L000: must be listed in omics\.sample"):
        _run(sample=_sample().filter(pl.col("sample_id") != "L000"))


BREAKS = {
    "a test twice": lambda frame: pl.concat([frame, frame.head(1)]),
    "a p-value of zero": lambda frame: frame.with_columns(p_value=pl.lit(0.0)),
    "a p-value that n does not allow": lambda frame: frame.with_columns(smallest_p_value=pl.lit(1.0)),
    "an interval beside the estimate": lambda frame: frame.with_columns(ci_low=pl.lit(99.0)),
    "a silent gap": lambda frame: frame.with_columns(p_adjusted=pl.lit(None, dtype=pl.Float64)),
    "an unknown status": lambda frame: frame.with_columns(status=pl.lit("fine")),
}


@pytest.mark.parametrize("what", BREAKS)
def test_suite_rejects(what, planted):
    assert _verdict(BREAKS[what](planted)).is_stopped
