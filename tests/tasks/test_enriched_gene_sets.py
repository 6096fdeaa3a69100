from __future__ import annotations

from pathlib import Path

import gseapy
import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from scipy.stats import norm

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.omics.enriched_gene_sets import ANALYSIS, SCHEMA, EnrichedGeneSetsParameters, enriched_gene_sets
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression

HOUSE = Path(__file__).parents[2]
SUITE = find_suites(HOUSE / "expectations")["results.enriched_gene_sets"]
GENES = 1000
LEVELS = {"level": "WEEK 12", "reference": "BASELINE"}
# Rows of the effect, which is in descending order of the statistic.
SETS = {
    ("pathways", "RISING"): range(25),
    ("pathways", "FALLING"): range(GENES - 25, GENES),
    ("pathways", "SCATTERED"): range(7, GENES, 33),
    ("pathways", "SMALL"): range(6),
    ("pathways", "HUGE"): range(600),
    ("other", "RISING"): range(0, 60, 3),
}


def _effect(contrast="treatment"):
    statistic = np.sort(np.random.default_rng(2).normal(0, 1.5, GENES))[::-1]
    return pl.DataFrame(
        {
            "contrast": contrast,
            "contrast_title": f"About {contrast}",
            "feature_id": [f"F{number:04}" for number in range(GENES)],
            "symbol": [f"Gene{number:04}" for number in range(GENES)],
            "base_mean": np.linspace(10, 500, GENES),
            "statistic": statistic,
            "p_value": 2 * norm.sf(np.abs(statistic)),
            "test": "wald",
            "n_subjects": 12,
            "n_samples": 24,
        }
    )


def _feature(effect):
    return effect.select("feature_id", "symbol").unique("feature_id", maintain_order=True)


def _gene_sets(sets=None):
    return pl.DataFrame(
        [
            {
                "collection": collection,
                "gene_set": name,
                "symbol": f"Gene{number:04}",
                "description": f"about {name}",
            }
            for (collection, name), rows in (SETS if sets is None else sets).items()
            for number in rows
        ]
    )


def _run(effect=None, gene_set=None, feature=None, **changes):
    effect = _effect() if effect is None else effect
    return enriched_gene_sets(
        effect,
        _gene_sets() if gene_set is None else gene_set,
        _feature(_effect()) if feature is None else feature,
        parameters=EnrichedGeneSetsParameters.model_validate(changes),
    )


def _of(result, name, collection="pathways"):
    return result.row(
        by_predicate=(pl.col("collection") == collection) & (pl.col("gene_set") == name), named=True
    )


def _verdict(result):
    return judge(result, SUITE, lambda *_: ())


@pytest.fixture(scope="module")
def planted():
    return _run()


def test_record_and_contract(planted):
    assert ANALYSIS.reads == ("results.differential_expression", "omics.gene_set", "omics.feature")
    assert ANALYSIS.fills == "results.enriched_gene_sets"
    assert dict(planted.schema) == SCHEMA
    assert not _verdict(planted).is_stopped


def test_planted_sets_are_found_with_their_direction(planted):
    rising, falling = _of(planted, "RISING"), _of(planted, "FALLING")
    assert (rising["direction"], falling["direction"]) == ("higher", "lower")
    assert rising["enrichment_score"] == pytest.approx(1)
    assert falling["enrichment_score"] == pytest.approx(-1)
    # Twenty-five of twenty-five at one end has a chance of one in 5e49: the search ends before that.
    assert rising["p_value"] == pytest.approx(1e-20)
    assert falling["p_adjusted"] < 1e-19
    assert rising["log2_error"] is None
    assert 0 < _of(planted, "RISING", "other")["log2_error"] < 2
    assert rising["nes"] > 2 > -2 > falling["nes"]


def test_scattered_members_are_not_called(planted):
    assert _of(planted, "SCATTERED")["p_value"] > 0.05


def test_leading_edge_runs_from_the_most_extreme_inwards(planted):
    assert _of(planted, "RISING")["leading_edge"].split(";") == [f"Gene{number:04}" for number in range(25)]
    falling = _of(planted, "FALLING")
    assert falling["leading_edge"].split(";") == [f"Gene{number:04}" for number in range(999, 974, -1)]
    assert falling["leading_edge_size"] == 25


def test_enrichment_score_is_the_textbook_running_sum(planted):
    statistic = _effect()["statistic"].to_numpy()
    member = np.zeros(GENES, dtype=bool)
    member[list(SETS["pathways", "SCATTERED"])] = True
    hit = np.where(member, np.abs(statistic), 0)
    running = np.cumsum(hit / hit.sum() - np.where(member, 0, 1 / (~member).sum()))
    expected = running[np.abs(running).argmax()]
    # Single precision inside the ranking program.
    assert _of(planted, "SCATTERED")["enrichment_score"] == pytest.approx(expected, abs=2e-3)


def test_sets_outside_the_limits_are_rows_without_a_test(planted):
    small, huge = _of(planted, "SMALL"), _of(planted, "HUGE")
    assert (small["status"], small["p_value"], small["nes"], small["direction"]) == ("too_small", *[None] * 3)
    assert (huge["status"], huge["size_ranked"]) == ("too_large", 600)
    assert _of(_run(min_size=5), "SMALL")["status"] == "tested"


def test_a_set_of_every_ranked_gene_cannot_be_compared():
    result = _run(gene_set=_gene_sets({("pathways", "ALL"): range(GENES)}), max_size=GENES)
    assert result["status"].to_list() == ["too_large"]


def test_each_collection_is_a_family_of_its_own(planted):
    other = _of(planted, "RISING", "other")
    assert other["p_adjusted"] == other["p_value"]
    # Three sets of this collection are tested, two of them at the smallest p-value.
    assert _of(planted, "RISING")["p_adjusted"] == pytest.approx(1.5e-20)


def test_result_depends_neither_on_the_order_of_rows_nor_on_threads(planted, monkeypatch):
    shuffled = [frame.sample(fraction=1, shuffle=True, seed=9) for frame in (_effect(), _gene_sets())]
    assert _run(*shuffled).equals(planted)
    prerank = gseapy.prerank
    used = []
    for threads in (1, 3, 4):

        def with_threads(n=threads, **options):
            used.append(n)
            return prerank(**options | {"threads": n})

        monkeypatch.setattr(gseapy, "prerank", with_threads)
        assert _run().equals(planted)
    assert used == [1, 3, 4]


def test_another_seed_gives_another_search(planted):
    other = _of(_run(seed=7), "RISING", "other")
    first = _of(planted, "RISING", "other")
    assert other["p_value"] != first["p_value"]
    # Within the error that each run states of itself, in doublings.
    assert abs(np.log2(other["p_value"] / first["p_value"])) < 5 * first["log2_error"]


def test_each_contrast_is_ranked_and_adjusted_by_itself(planted):
    opposite = _effect("relapse").with_columns(statistic=-pl.col("statistic"))
    undirected = _effect("any").with_columns(test=pl.lit("likelihood_ratio"))
    declared = Expression.model_validate(
        {
            "designs": [{"id": "one", "formula": "~ usubjid + visit"}],
            "contrasts": [
                {"id": name, "title": name, "design": "one", "variable": "visit"} | LEVELS
                for name in ("treatment", "relapse")
            ],
        }
    )
    result = _run(pl.concat([opposite, undirected, _effect()]), expression=declared)
    assert result["contrast"].unique(maintain_order=True).to_list() == ["treatment", "relapse"]
    assert result.filter(contrast="treatment").equals(planted)
    rising = _of(result.filter(contrast="relapse"), "RISING")
    assert (rising["direction"], rising["contrast_title"]) == ("lower", "About relapse")


def test_contrasts_without_a_direction_rank_nothing():
    with pytest.raises(AnalysisError, match="no contrast has a direction"):
        _run(_effect().with_columns(test=pl.lit("likelihood_ratio")))


def test_declared_differences_are_sets_of_the_collection():
    difference = {"id": "RISING_ONLY", "genes_of": "RISING_A", "but_not_of": ["RISING_B"]}
    sets = {("pathways", "RISING_A"): range(40), ("pathways", "RISING_B"): range(20, 60)}
    result = _run(gene_set=_gene_sets(sets), expression={"gene_set_differences": [difference]})
    only = _of(result, "RISING_ONLY")
    assert (only["size_in_collection"], only["size_ranked"]) == (20, 20)
    assert only["description"] == "Genes of RISING_A that are not in RISING_B"
    assert set(only["leading_edge"].split(";")) <= {f"Gene{number:04}" for number in range(20)}
    assert result.height == 3


def test_members_are_found_by_other_names_of_a_gene():
    feature = _feature(_effect()).with_columns(
        current_symbol=pl.when(pl.col("symbol") == "Gene0001").then(pl.lit("NEW1")),
        aliases=pl.when(pl.col("symbol") == "Gene0002")
        .then(pl.lit("OLD2|SHARED"))
        .when(pl.col("symbol") == "Gene0003")
        .then(pl.lit("SHARED")),
    )
    named = pl.DataFrame({"symbol": ["Gene0000", "NEW1", "Gene0001", "OLD2", "SHARED", "NOBODY"]})
    gene_set = named.with_columns(collection=pl.lit("c"), gene_set=pl.lit("s"), description=pl.lit("d"))
    row = _run(gene_set=gene_set, feature=feature, min_size=2).row(0, named=True)
    # NEW1 and Gene0001 are one gene, and SHARED may be either of two.
    assert (row["size_in_collection"], row["size_measured"], row["size_ranked"]) == (5, 3, 3)
    assert (row["n_renamed"], row["unmatched_symbols"]) == (2, "NOBODY;SHARED")


def test_turning_the_ranking_round_turns_the_sign():
    turned = _run(_effect().with_columns(statistic=-pl.col("statistic")))
    rising = _of(turned, "RISING")
    assert rising["direction"] == "lower"
    assert rising["enrichment_score"] == pytest.approx(-1)


def test_ties_are_broken_by_symbol_whatever_the_order():
    tied = _effect().with_columns(statistic=pl.col("statistic").round(2))
    assert tied["statistic"].n_unique() < GENES / 2
    one, two = _run(tied), _run(tied.reverse())
    assert one.equals(two)


def test_too_many_ties_are_an_error_not_a_panic():
    with pytest.raises(AnalysisError, match="3 distinct statistics among 1000 genes: too many ties"):
        _run(_effect().with_columns(statistic=pl.col("statistic").sign() * (pl.int_range(pl.len()) % 2)))


def test_a_symbol_of_two_features_counts_once_by_its_higher_base_mean():
    twin = (
        _effect()
        .head(1)
        .with_columns(feature_id=pl.lit("F9999"), base_mean=pl.lit(1.0), statistic=pl.lit(-9.0))
    )
    result = _run(pl.concat([_effect(), twin]))
    assert result["n_ranked"][0] == GENES
    assert _of(result, "RISING")["enrichment_score"] == pytest.approx(1)


def test_genes_without_a_statistic_or_symbol_are_not_ranked():
    effect = _effect().with_columns(
        statistic=pl.when(pl.col("feature_id") != "F0000").then("statistic"),
        symbol=pl.when(pl.col("feature_id") != "F0001").then("symbol"),
    )
    rising = _of(_run(effect), "RISING")
    assert (rising["size_in_collection"], rising["size_ranked"], rising["n_ranked"]) == (25, 23, GENES - 2)


def test_members_that_match_no_gene_are_counted_and_noted():
    outdated = _gene_sets({("old", "NAMES"): range(5000, 5020)})
    result = _run(gene_set=pl.concat([_gene_sets(), outdated]))
    row = _of(result, "NAMES", "old")
    assert (row["status"], row["size_in_collection"], row["size_ranked"]) == ("too_small", 20, 0)
    verdict = _verdict(result)
    assert not verdict.is_stopped
    assert [outcome.expectation.severity for outcome in verdict.outcomes if not outcome.is_met] == ["warning"]


def test_nothing_to_test_is_an_answer_not_a_crash():
    result = _run(gene_set=_gene_sets({("pathways", "SMALL"): range(3)}))
    assert result["status"].to_list() == ["too_small"]
    assert dict(result.schema) == SCHEMA


def test_random_sets_give_uniform_p_values():
    random = np.random.default_rng(6)
    sets = {("null", f"SET{n}"): random.choice(GENES, 30, replace=False) for n in range(200)}
    p_value = _run(gene_set=_gene_sets(sets))["p_value"]
    # Binomial: 10 expected of 200, standard deviation 3.1.
    assert 1 <= (p_value < 0.05).sum() <= 22
    assert p_value.median() == pytest.approx(0.5, abs=0.12)


def test_errors_say_what_is_wrong():
    with pytest.raises(AnalysisError, match=r"treatment: 0 gene\(s\) with symbol and test: at least 2"):
        _run(_effect().with_columns(statistic=pl.lit(None, dtype=pl.Float64)))
    with pytest.raises(AnalysisError, match=r"omics\.gene_set: no rows"):
        _run(gene_set=_gene_sets().head(0))
    with pytest.raises(ValidationError, match="max_size: 5: must be min_size"):
        _run(max_size=5)


def _house_sets():
    lines = (HOUSE / "tasks" / "omics" / "interferon.gmt").read_text(encoding="utf-8").splitlines()
    return {name: (about, genes) for name, about, *genes in (line.split("\t") for line in lines)}


def test_house_sets_are_well_formed_and_explained():
    readme = (HOUSE / "tasks" / "omics" / "README.md").read_text(encoding="utf-8")
    for name, (about, genes) in _house_sets().items():
        assert genes == sorted(set(genes)), name
        assert about
        assert f"| `{name}` | {len(genes)} |" in readme
    table = readme.partition("| set |")[2].partition("\n\n")[0]
    assert table.count("\n| `") == len(_house_sets())


def test_house_sets_hold_what_the_publications_name():
    sets = {name: set(genes) for name, (_, genes) in _house_sets().items()}
    assert sets["TYPE_I_IFN_SCORE_6"] == {"IFI27", "IFI44L", "IFIT1", "ISG15", "RSAD2", "SIGLEC1"}
    assert sets["IFNG_SCORE_6"] == {"CXCL10", "CXCL9", "HLA-DRA", "IDO1", "IFNG", "STAT1"}
    assert len(sets["T_CELL_INFLAMED_18"]) == 18
    assert not sets["TYPE_I_IFN_CORE"] & sets["TYPE_II_IFN_CORE"]


BREAKS = {
    "a set twice": lambda frame: pl.concat([frame, frame.head(1)]),
    "a p-value of zero": lambda frame: frame.with_columns(p_value=pl.lit(0.0)),
    "a sign that disagrees": lambda frame: frame.with_columns(nes=-pl.col("nes")),
    "an unknown status": lambda frame: frame.with_columns(status=pl.lit("fine")),
    "a leading edge beyond the set": lambda frame: frame.with_columns(leading_edge_size=pl.lit(900)),
    "a silent gap": lambda frame: frame.with_columns(nes=pl.lit(None, dtype=pl.Float64)),
    "no rows": lambda frame: frame.head(0),
}


@pytest.mark.parametrize("what", BREAKS)
def test_suite_rejects(what, planted):
    assert _verdict(BREAKS[what](planted)).is_stopped
