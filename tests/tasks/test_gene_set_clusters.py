from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.omics.gene_set_clusters import ANALYSIS, SCHEMA, GeneSetClustersParameters, gene_set_clusters

SUITE = find_suites(Path(__file__).parents[2] / "expectations")["results.gene_set_clusters"]


def _set(name, nes, genes, p_adjusted=0.001, contrast="treatment", collection="GO"):
    edge = [f"Gene{number:03}" for number in genes]
    return {
        "contrast": contrast,
        "contrast_title": f"About {contrast}",
        "collection": collection,
        "gene_set": name,
        "direction": "higher" if nes > 0 else "lower",
        "nes": nes,
        "p_value": p_adjusted / 2,
        "p_adjusted": p_adjusted,
        "leading_edge": ";".join(edge),
        "leading_edge_size": len(edge),
        "n_subjects": 12,
        "n_samples": 24,
    }


def _enriched():
    """Fifty terms around interferon, each with most of the same genes, and two that say something else."""
    redundant = [
        _set(f"INTERFERON_{number:02}", -1.5 - number / 100, [*range(20), 20 + number % 7])
        for number in range(50)
    ]
    return pl.DataFrame(
        [
            *redundant,
            _set("HALLMARK_INTERFERON", -3.0, range(24), collection="hallmark"),
            _set("LIPID", -1.8, range(100, 130)),
            _set("KERATIN", 2.2, range(20)),
            _set("NOT_CALLED", -1.1, range(20), p_adjusted=0.4),
            _set("INTERFERON_00", 1.9, range(20), contrast="disease"),
        ]
    )


def _run(enriched=None, **changes):
    return gene_set_clusters(
        _enriched() if enriched is None else enriched,
        parameters=GeneSetClustersParameters.model_validate(changes),
    )


def _verdict(result):
    return judge(result, SUITE, lambda *_: ())


def test_record_and_contract():
    assert ANALYSIS.reads == ("results.enriched_gene_sets",)
    assert dict(_run().schema) == SCHEMA
    assert not _verdict(_run()).is_stopped


def test_fifty_redundant_terms_read_as_one_over_collections():
    lower = _run().filter(contrast="treatment", direction="lower")
    representatives = lower.filter("is_representative")
    assert representatives["gene_set"].to_list() == ["HALLMARK_INTERFERON", "LIPID"]
    assert representatives["n_sets"].to_list() == [51, 1]
    assert representatives["cluster"].to_list() == [1, 2]
    assert lower.height == 52
    member = lower.row(by_predicate=pl.col("gene_set") == "INTERFERON_00", named=True)
    assert (member["representative"], member["representative_collection"]) == (
        "HALLMARK_INTERFERON",
        "hallmark",
    )
    assert member["similarity"] == pytest.approx(21 / 24)


def test_core_genes_are_those_of_half_the_sets():
    first = _run().filter(contrast="treatment", direction="lower").row(0, named=True)
    assert first["core_genes"].split(";") == [f"Gene{number:03}" for number in range(20)]
    assert first["n_core_genes"] == 20


def test_directions_and_contrasts_stay_apart():
    result = _run()
    assert result.filter(contrast="treatment", direction="higher")["gene_set"].to_list() == ["KERATIN"]
    assert result.filter(contrast="disease")["gene_set"].to_list() == ["INTERFERON_00"]
    assert "NOT_CALLED" not in result["gene_set"]


def test_a_stricter_cut_makes_more_clusters():
    lower = pl.col("direction") == "lower"
    assert _run(least_similarity=1.0).filter(lower)["cluster"].n_unique() > 5
    assert _run(least_similarity=0.0).filter(lower)["cluster"].n_unique() == 1


def test_contrasts_stand_as_declared():
    declared = {
        "designs": [{"id": "one", "formula": "~ usubjid + visit"}],
        "contrasts": [
            {"id": name, "title": name, "design": "one", "variable": "visit", "level": "A", "reference": "B"}
            for name in ("treatment", "disease")
        ],
    }
    assert _run()["contrast"].unique(maintain_order=True).to_list() == ["disease", "treatment"]
    in_order = _run(expression=declared)["contrast"].unique(maintain_order=True).to_list()
    assert in_order == ["treatment", "disease"]


def test_no_called_set_is_an_answer():
    nothing = _run(_enriched().with_columns(p_adjusted=pl.lit(0.9)))
    assert nothing.height == 0
    assert dict(nothing.schema) == SCHEMA
    assert not _verdict(nothing).is_stopped


def test_result_does_not_depend_on_the_order_of_rows():
    assert _run(_enriched().sample(fraction=1, shuffle=True, seed=3)).equals(_run())


BREAKS = {
    "a set in two clusters": lambda frame: pl.concat(
        [frame, frame.head(1).with_columns(cluster=pl.lit(9, dtype=pl.Int64))]
    ),
    "a p-value of zero": lambda frame: frame.with_columns(p_value=pl.lit(0.0)),
    "a stranger as representative": lambda frame: frame.with_columns(representative=pl.lit("X")),
    "a sign that disagrees": lambda frame: frame.with_columns(nes=-pl.col("nes")),
    "a similarity above one": lambda frame: frame.with_columns(similarity=pl.lit(1.2)),
}


@pytest.mark.parametrize("what", BREAKS)
def test_suite_rejects(what):
    assert _verdict(BREAKS[what](_run())).is_stopped
