"""The section of gene sets: clusters before sets, contrast by contrast."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tasks.omics.gene_set_clusters import GeneSetClustersParameters, gene_set_clusters
from tasks.report.gene_sets import SECTION
from tasks.report.section import About
from tasks.report.summary import SECTION as SUMMARY

ABOUT = About(
    study_id="sim",
    title="A study",
    is_simulated=True,
    version=1,
    published_at="2026-11-20",
    run_id="r",
    code_version="c",
)


def _enriched():
    rows = []
    for contrast, title in (("disease", "Lesion against other skin"), ("treatment", "Week 12 < baseline")):
        for number in range(8):
            genes = [f"Gene{gene}" for gene in (range(10) if number < 6 else range(50, 60 + number))]
            rows.append(
                {
                    "contrast": contrast,
                    "contrast_title": title,
                    "collection": "GO",
                    "gene_set": f"SET_{number}",
                    "status": "tested",
                    "direction": "lower",
                    "nes": -3.0 + number / 10,
                    "p_value": 1e-8 * (number + 1),
                    "p_adjusted": 1e-7 * (number + 1),
                    "size_ranked": 20,
                    "leading_edge": ";".join(genes),
                    "leading_edge_size": len(genes),
                    "n_ranked": 9000,
                    "n_subjects": 12,
                    "n_samples": 24,
                    "ranking": "statistic",
                    "seed": 1,
                    "method": "prerank",
                }
            )
    return pl.DataFrame(rows)


def _changes():
    return pl.DataFrame(
        {
            "contrast": "treatment",
            "collection": "GO",
            "gene_set": ["SET_0", "SET_0", "SET_1"],
            "scorer": ["gsva", "mean_z", "gsva"],
            "status": "tested",
            "reason": None,
            "n_subjects": 12,
            "hodges_lehmann": [-0.41, -1.2, 0.05],
            "ci_low": [-0.6, -1.5, -0.2],
            "ci_high": [-0.2, -0.9, 0.3],
            "d_z": [-1.5, -1.8, 0.1],
            "p_value": [0.00048828125, 0.00048828125, 0.8],
            "p_adjusted": [0.001, 0.001, 0.8],
            "smallest_p_value": 0.00048828125,
        },
        schema_overrides={"reason": pl.String},
    )


def _regulators():
    return pl.DataFrame(
        {
            "contrast": "treatment",
            "regulator": ["STAT1", "BCL6"],
            "status": ["tested", "too_few_targets"],
            "activity": [-9.5, None],
            "n_targets": [15, 2],
            "p_value": [1e-20, None],
            "p_adjusted": [1e-19, None],
            "top_targets": ["CXCL9;CXCL10", None],
        }
    )


@pytest.fixture
def frames():
    enriched = _enriched()
    position = pl.int_range(1, pl.len() + 1).over("contrast")
    return {
        "results.enriched_gene_sets": enriched,
        "reports.top_gene_sets": enriched.with_columns(position=position),
        "results.gene_set_clusters": gene_set_clusters(enriched, parameters=GeneSetClustersParameters()),
        "results.signature_changes": _changes(),
        "results.regulator_activity": _regulators(),
        "meta.expression_contrast": pl.DataFrame({"contrast": ["treatment", "disease"], "place": [1, 2]}),
    }


def test_contrasts_stand_as_declared_and_escaped(frames):
    html = SECTION.write(frames, ABOUT)
    assert html.index("Week 12 &lt; baseline") < html.index("Lesion against other skin")
    assert "Week 12 < baseline" not in html


def test_redundant_sets_read_as_a_few(frames):
    html = SECTION.write(frames, ABOUT)
    assert "8 called sets read as 2 clusters" in html
    clusters = html.index("Strongest set")
    assert clusters < html.index("Leading edge")
    assert "SET_<wbr>0" in html[clusters : clusters + 1500]


def test_exact_tests_and_regulators_stand_by_their_contrast(frames):
    first, _, second = SECTION.write(frames, ABOUT).partition("Lesion against other skin")
    assert "Signatures within participants" in first
    assert "cannot be below" in first
    assert "STAT1" in first
    assert "BCL6" not in first
    assert "STAT1" not in second


def test_a_study_with_enriched_sets_alone_is_told(frames):
    needed = {name: frames[name] for name in SECTION.needs}
    html = SECTION.write(needed, ABOUT)
    assert "clusters" not in html
    assert "Leading edge" in html


def test_nothing_tested_is_said(frames):
    nothing = {name: frames[name].clear() for name in SECTION.needs}
    assert "No gene set has a result" in SECTION.write(nothing, ABOUT)
    untested = frames["results.enriched_gene_sets"].with_columns(p_value=pl.lit(np.nan).fill_nan(None))
    told = SECTION.write({**nothing, "results.enriched_gene_sets": untested}, ABOUT)
    assert "No gene set could be tested" in told


def test_the_summary_names_sets_of_each_contrast(frames):
    html = SUMMARY.write(frames, ABOUT)
    assert "Week 12 &lt; baseline: SET_<wbr>0 (lower" in html
    assert "Lesion against other skin: SET_<wbr>0" in html


@pytest.mark.parametrize("asked", [SECTION, SUMMARY], ids=lambda asked: asked.name)
def test_a_column_that_an_older_version_lacks_is_named(asked, frames, misses_columns):
    assert misses_columns(asked, frames) == []
