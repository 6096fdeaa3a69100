"""The section of networks: warnings first, the exact beside the pooled, nothing that was not asked."""

from __future__ import annotations

import polars as pl
import pytest

from tasks.analyses import ANALYSES
from tasks.analysis import Borrowed
from tasks.report.coexpression import SECTION
from tasks.report.section import About

ABOUT = About(
    study_id="sim",
    title="A study",
    is_simulated=True,
    version=1,
    published_at="2026-11-20",
    run_id="r",
    code_version="c",
)


@pytest.fixture(scope="module")
def frames(network):
    """Return all that the analyses of one network give."""
    declared = network.declared() | {
        "preservation_tests": [
            {
                "id": "skin",
                "title": "Skin of the <same> patients",
                "network": "skin",
                "samples": {"tissue": ["SKIN"]},
            },
            {"id": "far", "title": "Another study", "network": "skin", "study": "far"},
        ]
    }
    records = {analysis.name: analysis for analysis in ANALYSES}
    made = dict(zip(("omics.expression", "omics.sample", "omics.feature"), network.omics, strict=True))
    made["omics.gene_set"] = network.gene_set
    asked = {
        "hub_genes": {"trait": "treatment", "n_resamples": 4},
        "module_preservation": {"n_permutations": 10},
    }
    more = {
        "module_preservation": {
            "borrowed": {"far": Borrowed(study="far", missing="study far has no lake here yet")}
        }
    }
    for name in (
        "soft_thresholds",
        "gene_modules",
        "module_eigengenes",
        "module_response",
        "module_enrichment",
        "hub_genes",
        "module_preservation",
        "network_notes",
    ):
        analysis = records[name]
        parameters = analysis.parameters.model_validate(
            {
                key: value
                for key, value in {"expression": declared, **asked.get(name, {})}.items()
                if key in analysis.parameters.model_fields
            }
        )
        made[analysis.fills] = analysis.function(
            *(made.get(table) for table in (*analysis.reads, *analysis.uses)),
            parameters=parameters,
            **more.get(name, {}),
        )
    return made


@pytest.fixture(scope="module")
def page(frames):
    return SECTION.write(frames, ABOUT)


def test_it_needs_modules_and_uses_what_there_is():
    assert SECTION.needs == ("results.gene_modules",)
    fills = {analysis.fills for analysis in ANALYSES}
    assert {name for name in SECTION.uses if name.startswith("results.")} < fills


def test_modules_come_with_their_genes_sets_and_surest_change(frames, page):
    named = frames["results.gene_modules"].filter(pl.col("module") > 0)["colour"].unique()
    assert len(named) == 3
    assert all(colour in page for colour in named)
    assert "FALLING_INTERFERON" in page.replace("<wbr>", "")
    assert "exact p" in page
    assert "too small" in page


def test_warnings_stand_before_the_modules(page):
    assert 0 < page.index("Before you read on") < page.index("<h3>")


def test_preservation_says_what_held_and_what_was_not_tested(page):
    assert "Skin of the &lt;same&gt; patients" in page
    assert "<same>" not in page
    assert "Another study: study far has no lake here yet." in page
    assert "of its samples made the modules too" in page
    assert "Zsummary" in page


def test_a_network_alone_makes_a_section(frames):
    alone = SECTION.write({"results.gene_modules": frames["results.gene_modules"]}, ABOUT)
    assert "turquoise" in alone
    for absent in ("Zsummary", "pooled", "Hub genes"):
        assert absent not in alone


def test_no_module_is_said(frames):
    grey = frames["results.gene_modules"].with_columns(
        module=pl.lit(0, pl.Int64), colour=pl.lit("grey"), rank_in_module=pl.lit(None, pl.Int64)
    )
    told = SECTION.write({"results.gene_modules": grey}, ABOUT)
    assert "0 modules" in told
    assert "No network has modules" in SECTION.write({"results.gene_modules": grey.clear()}, ABOUT)


def test_a_column_that_an_older_version_lacks_is_named(frames, misses_columns):
    assert misses_columns(SECTION, frames) == []
