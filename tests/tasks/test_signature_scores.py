from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.omics.counts import count_matrix
from tasks.omics.normalised import vst
from tasks.omics.signature_scores import ANALYSIS, SCHEMA, SignatureScoresParameters, signature_scores
from tasks.stats.gene_sets.gsva import gsva
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression

SUITE = find_suites(Path(__file__).parents[2] / "expectations")["results.signature_scores"]
GENES, SUBJECTS = 400, 6
VISITS = ("BASELINE", "WEEK 12")
SETS = {
    ("own", "FALLING"): range(20),
    ("own", "STEADY"): range(100, 140),
    ("own", "TINY"): range(3),
    ("other", "FALLING"): range(0, 20, 2),
}


def _sample():
    return pl.DataFrame(
        [
            {"sample_id": f"L{s}{v}", "usubjid": f"P{s}", "visit": visit, "tissue": "LESIONAL"}
            for s in range(SUBJECTS)
            for v, visit in enumerate(VISITS)
        ]
    )


def _feature():
    return pl.DataFrame(
        {
            "feature_id": [f"F{number:03}" for number in range(GENES)],
            "symbol": [f"Gene{number:03}" for number in range(GENES)],
        }
    )


def _counts():
    random = np.random.default_rng(4)
    level = np.tile(random.uniform(30, 3000, GENES)[:, np.newaxis], (1, 2 * SUBJECTS))
    level[:20, 1::2] /= 4
    # A gene whose reads are too few to be scored, and one without any.
    level[300], level[301] = 0.3, 0
    return random.negative_binomial(10, 10 / (10 + level))


def _expression(counts=None):
    counts = _counts() if counts is None else counts
    names = _sample()["sample_id"].to_list()
    wide = pl.DataFrame(counts, schema=names).with_columns(_feature()["feature_id"])
    return wide.unpivot(index="feature_id", on=names, variable_name="sample_id", value_name="count")


def _gene_sets():
    return pl.DataFrame(
        [
            {"collection": collection, "gene_set": name, "symbol": f"Gene{number:03}", "description": name}
            for (collection, name), rows in SETS.items()
            for number in rows
        ]
    )


def _weight():
    targets = {"STAT1": dict.fromkeys(range(20), 1.0), "FEW": dict.fromkeys(range(2), 1.0)}
    return pl.DataFrame(
        [
            {"collection": "regulators", "regulator": name, "symbol": f"Gene{number:03}", "weight": weight}
            for name, weights in targets.items()
            for number, weight in weights.items()
        ]
    )


def _run(counts=None, sample=None, weight=None, gene_set=None, **changes):
    return signature_scores(
        _expression() if counts is None else counts,
        _sample() if sample is None else sample,
        _feature(),
        _gene_sets() if gene_set is None else gene_set,
        weight,
        parameters=SignatureScoresParameters.model_validate(changes),
    )


def _verdict(result):
    return judge(result, SUITE, lambda *_: ())


@pytest.fixture(scope="module")
def planted():
    return _run(weight=_weight())


def test_record_and_contract(planted):
    assert ANALYSIS.reads == ("omics.expression", "omics.sample", "omics.feature", "omics.gene_set")
    assert ANALYSIS.uses == ("omics.regulator_weight",)
    assert dict(planted.schema) == SCHEMA
    assert not _verdict(planted).is_stopped


def test_every_set_is_scored_by_each_scorer_in_each_sample(planted):
    grain = planted.select("collection", "gene_set", "scorer").unique()
    # Three sets by three scorers, and one regulator.
    assert grain.height == 10
    assert planted.height == 10 * 2 * SUBJECTS
    assert set(planted["gene_set"]) == {"FALLING", "STEADY", "STAT1"}


@pytest.mark.parametrize("scorer", ["gsva", "ssgsea", "mean_z", "ulm"])
def test_a_planted_fall_is_seen_in_every_subject(planted, scorer):
    name = "STAT1" if scorer == "ulm" else "FALLING"
    chosen = planted.filter(gene_set=name, scorer=scorer).filter(pl.col("collection") != "other")
    wide = chosen.pivot("visit", index="usubjid", values="score")
    assert wide.height == SUBJECTS
    assert (wide["WEEK 12"] < wide["BASELINE"]).all()


def test_gsva_is_that_of_the_stabilised_counts_of_scored_genes(planted):
    counts = count_matrix(_expression(), _sample(), _feature(), declared=Expression())
    kept = (_counts() >= 10).sum(axis=1) >= SUBJECTS
    rows = np.flatnonzero(kept)
    place = {int(row): number for number, row in enumerate(rows)}
    expected = gsva(vst(counts)[rows], [[place[number] for number in range(100, 140) if number in place]])
    steady = planted.filter(gene_set="STEADY", scorer="gsva").sort("sample_id")
    np.testing.assert_allclose(steady["score"].to_numpy(), expected.score[0], atol=1e-12)
    assert steady["n_genes"][0] == rows.size < GENES


def test_protected_genes_are_scored_whatever_their_counts(planted):
    gene_set = _gene_sets().with_columns(
        symbol=pl.when(pl.col("symbol") == "Gene139").then(pl.lit("Gene300")).otherwise("symbol")
    )
    assert _counts()[300].max() < 10
    size = planted.filter(gene_set="STEADY")["size_scored"][0]
    for protected, expected in (((), size - 1), (("Gene300",), size)):
        result = _run(gene_set=gene_set, expression={"protected_genes": protected})
        assert result.filter(gene_set="STEADY")["size_scored"][0] == expected


def test_sets_out_of_limits_have_no_rows(planted):
    assert "TINY" not in planted["gene_set"]
    assert "TINY" in _run(min_size=2)["gene_set"]
    assert set(_run(max_size=30)["gene_set"]) == {"FALLING"}


def test_collections_and_scorers_can_be_chosen():
    result = _run(collections=["other"], scorers=["mean_z"])
    assert set(result.select("collection", "gene_set", "scorer").iter_rows()) == {
        ("other", "FALLING", "mean_z")
    }


def test_a_collection_is_scored_the_same_beside_others(planted):
    alone = _run(collections=["own"])
    beside = planted.filter(collection="own")
    assert alone.equals(beside)


def test_a_failed_library_is_left_out_and_named():
    counts = _counts()
    counts[:, 3] = counts[:, 3] // 50
    result = _run(_expression(counts))
    assert "L11" not in result["sample_id"]
    assert result["n_samples"][0] == 2 * SUBJECTS - 1
    assert result["excluded_samples"][0].startswith("L11 (failed library")


def test_a_study_without_visits_or_tissue_is_scored():
    result = _run(sample=_sample().select("sample_id", "usubjid"))
    assert result["visit"].null_count() == result.height
    assert not _verdict(result).is_stopped


def test_result_does_not_depend_on_the_order_of_rows(planted):
    shuffled = _run(
        _expression().sample(fraction=1, shuffle=True, seed=1),
        _sample().reverse(),
        _weight(),
        _gene_sets().reverse(),
    )
    np.testing.assert_allclose(shuffled["score"], planted["score"], rtol=1e-12)
    assert shuffled.drop("score").equals(planted.drop("score"))


def test_errors_say_what_is_wrong():
    with pytest.raises(AnalysisError, match="no gene set has 50 to 500 of the"):
        _run(min_size=50)
    with pytest.raises(AnalysisError, match=r"collections: nowhere: must be of omics\.gene_set: other, own"):
        _run(collections=["nowhere"])
    with pytest.raises(ValidationError, match="scorers"):
        _run(scorers=[])
    one = _expression().filter(pl.col("sample_id") == "L00")
    with pytest.raises(AnalysisError, match=r"1 sample\(s\) kept: at least 2"):
        _run(one, _sample().head(1))


BREAKS = {
    "a score twice": lambda frame: pl.concat([frame, frame.head(1)]),
    "a walk beyond one": lambda frame: frame.with_columns(score=pl.lit(1.5)).filter(scorer="gsva"),
    "an unknown scorer": lambda frame: frame.with_columns(scorer=pl.lit("mine")),
    "more members than there are": lambda frame: frame.with_columns(size_scored=pl.lit(900)),
    "no rows": lambda frame: frame.head(0),
}


@pytest.mark.parametrize("what", BREAKS)
def test_suite_rejects(what, planted):
    assert _verdict(BREAKS[what](planted)).is_stopped
