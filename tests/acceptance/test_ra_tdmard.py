"""The real paired-biopsy study from its public files to results in the lake."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def ask(ran):
    return ran("ra_tdmard")


def test_nineteen_pairs_are_linked_by_subject_and_not_by_the_number_in_the_sample_name(ask) -> None:
    pairs = ask(
        """
        select usubjid, count(*) as n, count(distinct visit) as visits
        from omics.sample group by usubjid
        """
    )
    assert pairs.height == 19
    assert set(pairs["n"]) == {2}
    assert set(pairs["visits"]) == {2}
    # GEO says that subject AP10 gave RA_pre_2 and RA_post_2: the number is the order of the subjects as text.
    samples = ask("select sample_id from omics.sample where usubjid like '%AP10'")["sample_id"].to_list()
    assert sorted(samples) == ["RA_post_2", "RA_pre_2"]


def test_fractional_counts_are_reported_row_by_row_and_rounded_by_the_stated_rule(ask) -> None:
    counts = ask(
        """
        select count(*) as n, count(*) filter (count_delivered <> floor(count_delivered)) as fractional,
            count(*) filter (count <> floor(count_delivered + 0.5)) as not_nearest
        from omics.expression
        """
    ).row(0, named=True)
    assert counts["n"] == 25227 * 38
    assert counts["not_nearest"] == 0
    recorded = ask(
        "select count(*) as n from meta.check_failure where table_name = 'omics.expression'"
        " and source_file like '%GSE97165_GEO_count_matrix.txt.gz' and source_row > 1"
    )["n"][0]
    assert recorded == counts["fractional"] == 113_144


def test_the_interferon_gamma_response_falls_after_treatment(ask) -> None:
    sets = ask(
        "select * from results.enriched_gene_sets where gene_set = 'HALLMARK_INTERFERON_GAMMA_RESPONSE'"
    ).row(0, named=True)
    assert sets["nes"] < -3
    assert 0 < sets["p_value"] < 1e-10
    assert "CXCL10" in sets["leading_edge"] or "CXCL9" in sets["leading_edge"]


def test_what_only_one_interferon_moves_is_told_apart(ask) -> None:
    sets = ask(
        "select gene_set, size_in_collection, nes, p_value from results.enriched_gene_sets"
        " where gene_set like 'INTERFERON_%_NOT_%' order by gene_set"
    )
    # The hallmark sets have 97 and 200 genes and share 73.
    assert dict(sets.select("gene_set", "size_in_collection").iter_rows()) == {
        "INTERFERON_ALPHA_NOT_GAMMA": 24,
        "INTERFERON_GAMMA_NOT_ALPHA": 127,
    }
    alpha, gamma = sets["nes"]
    assert gamma < alpha < 0


def test_hallmark_genes_are_found_under_the_names_of_2016(ask) -> None:
    (row,) = ask(
        "select sum(n_renamed) as n_renamed, sum(size_measured) / sum(size_in_collection) as found"
        " from results.enriched_gene_sets where collection = 'hallmark'"
    ).to_dicts()
    assert row["n_renamed"] > 50
    assert row["found"] > 0.97


def test_regulators_and_paired_scores_agree_on_type_two_interferon(ask) -> None:
    (activity,) = ask("select * from results.regulator_activity where regulator = 'STAT1'").to_dicts()
    assert (activity["direction"], activity["status"]) == ("lower", "tested")
    changes = ask(
        "select * from results.signature_changes"
        " where gene_set in ('INTERFERON_GAMMA_NOT_ALPHA', 'STAT1') order by scorer"
    )
    assert changes["scorer"].to_list() == ["gsva", "mean_z", "ssgsea", "ulm"]
    assert set(changes["n_subjects"]) == {19}
    assert (changes["hodges_lehmann"] < 0).all()
    assert (changes["p_adjusted"] < 0.05).all()


def test_interferon_gamma_itself_is_tested_and_falls(ask) -> None:
    gene = ask("select * from results.differential_expression where symbol = 'IFNG'").row(0, named=True)
    assert gene["status"] == "tested"
    assert gene["is_protected"]
    assert gene["log2_fold_change"] < -2


def test_every_result_leads_back_to_the_delivered_files(ask) -> None:
    files = ask(
        """
        with recursive upstream(target, input) as (
            select target, input from meta.lineage where target = 'results.enriched_gene_sets'
            union select lineage.target, lineage.input
            from meta.lineage join upstream on lineage.target = upstream.input
        )
        select distinct source_file from upstream join meta.source_file on upstream.input = source_file
        """
    )["source_file"].to_list()
    assert any("count_matrix" in name for name in files)
    assert any("meta_treatment" in name for name in files)
    assert any("h.all" in name for name in files)
