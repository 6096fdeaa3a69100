from __future__ import annotations

import polars as pl
import pytest

from tasks.analysis import Borrowed
from tasks.omics.module_preservation import (
    ANALYSIS,
    SCHEMA,
    ModulePreservationParameters,
    module_preservation,
)
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression

TITLE = "Another trial (simulated)"


@pytest.fixture(scope="module")
def lesions(network):
    """The network of the lesions alone, so that skin is other samples."""
    return network.results(samples={"tissue": ["LESIONAL"]})


@pytest.fixture(scope="module")
def ask(network, lesions):
    def asked(*tests, borrowed=None, modules=None):
        declared = network.declared(samples={"tissue": ["LESIONAL"]})
        declared["preservation_tests"] = [
            {"id": f"t{place}", "title": "In other samples", "network": "skin"} | test
            for place, test in enumerate(tests)
        ]
        parameters = ModulePreservationParameters.model_validate(
            {"expression": declared, "n_permutations": 20}
        )
        return module_preservation(
            *network.omics,
            lesions[1] if modules is None else modules,
            parameters=parameters,
            borrowed=borrowed,
        )

    return asked


@pytest.fixture(scope="module")
def in_skin(ask):
    return ask({"samples": {"tissue": ["SKIN"]}})


@pytest.fixture(scope="module")
def elsewhere(make_network):
    other = make_network(seed=8)
    return Borrowed(
        study="other",
        title=TITLE,
        version=3,
        expression=Expression.model_validate(other.declared()),
        frames=other.omics,
    )


def _planted(modules):
    """Return the number that each planted module has."""
    genes = dict(modules.select("feature_id", "module").iter_rows())
    return genes["F000"], genes["F080"], genes["F140"]


def test_record_and_contract(in_skin, unmet):
    assert ANALYSIS.fills == "results.module_preservation"
    assert ANALYSIS.borrows
    assert dict(in_skin.schema) == SCHEMA
    assert unmet(in_skin, "module_preservation") == []
    silent = in_skin.with_columns(z_summary=pl.lit(None, dtype=pl.Float64))
    assert unmet(silent, "module_preservation") != []


def test_the_module_of_the_lesion_is_none_in_skin_without_one(lesions, in_skin):
    lesion, *others = _planted(lesions[1])
    z = dict(in_skin.select("module", "z_summary").iter_rows())
    verdict = dict(in_skin.select("module", "verdict").iter_rows())
    # A tenth of the factor is left there, and the eye of the test is sharp.
    assert verdict[lesion] != "strong"
    assert all(verdict[module] == "strong" and z[module] > 2 * z[lesion] for module in others)
    rank = dict(in_skin.select("module", "median_rank").iter_rows())
    assert all(rank[module] < rank[lesion] for module in others)


def test_genes_of_no_module_and_random_ones_are_described_only(in_skin):
    rows = in_skin.filter(pl.col("module") <= 0)
    assert rows["colour"].to_list() == ["gold", "grey"]
    assert (rows["status"] == "described").all()
    assert rows["z_summary"].null_count() == 2
    assert rows["median_rank"].null_count() == 0


def test_samples_that_made_the_modules_are_told(ask):
    found = ask({"samples": {"visit": ["BASELINE"]}})
    assert found["n_samples_in_both"].unique().to_list() == [12]
    assert "12 of its samples made the modules too" in found["warning"][0]


def test_all_planted_modules_but_their_centres_hold_in_another_study(lesions, ask, elsewhere):
    found = ask({"study": "other", "match_by": "symbol"}, borrowed={"other": elsewhere})
    tested = found.filter(pl.col("status") == "tested")
    assert tested["test_title"].unique().to_list() == [f"In other samples ({TITLE})"]
    assert (tested["z_density"] > 5).all()
    assert tested["p_value"].to_list() == [pytest.approx(1 / 21)] * tested.height
    assert tested["n_samples_in_both"].unique().to_list() == [0]


def test_a_study_that_cannot_be_read_is_said_row_by_row(ask, unmet, in_skin):
    absent = Borrowed(study="other", missing="study other has no lake here yet")
    found = ask({"study": "other"}, {"samples": {"tissue": ["SKIN"]}}, borrowed={"other": absent})
    untested = found.filter(pl.col("test") == "t0")
    assert untested["reason"].unique().to_list() == ["study other has no lake here yet"]
    assert (untested["status"] == "not_tested").all()
    assert found.filter(pl.col("test") == "t1")["z_summary"].equals(in_skin["z_summary"])
    assert unmet(found, "module_preservation") == []


def test_genes_that_do_not_match_and_samples_that_are_not_there_are_said(ask, elsewhere):
    frames = (elsewhere.frames[0], elsewhere.frames[1])
    renamed = elsewhere.frames[2].with_columns(symbol="X" + pl.col("symbol"))
    other = Borrowed(study="other", frames=(*frames, renamed))
    found = ask({"study": "other", "match_by": "symbol"}, borrowed={"other": other})
    assert found["reason"].unique().to_list() == ["0 gene(s) in both by symbol: at least 30 are needed"]
    found = ask({"samples": {"tissue": ["BLOOD"]}})
    assert "BLOOD" in found["reason"][0]


def test_of_several_genes_of_one_symbol_the_highest_counts(ask, elsewhere):
    expression, sample, feature = elsewhere.frames
    # Gene F189 is a tenth of itself under the symbol of F000 and must not stand for it.
    low = expression.filter(pl.col("feature_id") == "F189").with_columns(
        feature_id=pl.lit("F999"), count=pl.col("count") // 10
    )
    more = pl.concat([feature, pl.DataFrame({"feature_id": ["F999"], "symbol": ["Gene000"]})])
    other = Borrowed(
        study="other", expression=elsewhere.expression, frames=(pl.concat([expression, low]), sample, more)
    )
    question = {"study": "other", "match_by": "symbol"}
    with_it = ask(question, borrowed={"other": other})
    without = ask(question, borrowed={"other": elsewhere})
    for column in ("n_genes_tested", "n_genes_matched"):
        assert with_it[column].equals(without[column])
    difference = (with_it["cor_kme"] - without["cor_kme"]).abs().max()
    # One more gene shifts size factors a little, and nothing else.
    assert difference < 0.02


def test_without_a_declared_test_it_is_refused(ask):
    with pytest.raises(AnalysisError, match="preservation_tests"):
        ask()


def test_studies_named_are_asked_for_once():
    tests = [{"id": f"t{n}", "title": "x", "network": "a", "study": "b"} for n in range(2)]
    declared = {"networks": [{"id": "a", "title": "A"}], "preservation_tests": tests}
    assert ModulePreservationParameters.model_validate({"expression": declared}).other_studies == ("b",)


def test_a_test_of_no_network_is_refused():
    with pytest.raises(ValueError, match="must be one of none: none is declared"):
        Expression.model_validate({"preservation_tests": [{"id": "t", "title": "x", "network": "a"}]})
