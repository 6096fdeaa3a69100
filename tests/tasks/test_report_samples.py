"""What the report says of the samples: exchanged ones by name, main directions, likeness of each two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tasks.omics.principal_component_associations import (
    PrincipalComponentAssociationsParameters,
    principal_component_associations,
)
from tasks.omics.principal_components import PrincipalComponentsParameters, principal_components
from tasks.omics.sample_correlation import SampleCorrelationParameters, sample_correlation
from tasks.omics.sample_quality import SampleQualityParameters, sample_quality
from tasks.report import sample_charts
from tasks.report.sample_quality import SECTION
from tasks.report.section import About
from tasks.simulation import simulated_frames

ASSUMPTIONS = Path(__file__).parents[2] / "studies" / "nl_ruxolitinib" / "simulation.toml"
ABOUT = About(
    study_id="study",
    title="Study",
    is_simulated=True,
    version=1,
    published_at="2026-01-01",
    run_id="run",
    code_version="1",
)


def _qc(made):
    library = made.expression.group_by("sample_id").agg(
        library_size=pl.col("count").sum(), n_genes_detected=(pl.col("count") > 0).sum()
    )
    return made.sample.join(library, on="sample_id").with_columns(
        recorded_sex="sex",
        expressed_sex="sex",
        is_sex_concordant=pl.lit(value=True),
        is_library_size_low=pl.col("library_size") < 0.1 * pl.col("library_size").median(),
    )


def _tables(*, has_flaws):
    made = simulated_frames(ASSUMPTIONS, seed=12, patients=8, genes=2000, has_flaws=has_flaws)
    omics = (made.expression, made.sample, made.feature)
    qc = _qc(made)
    few = {"n_resamples": 199}
    return {
        "omics.sample_qc": qc,
        "results.sample_quality": sample_quality(*omics, qc, parameters=SampleQualityParameters()),
        "results.principal_components": principal_components(
            *omics, parameters=PrincipalComponentsParameters()
        ),
        "results.principal_component_associations": principal_component_associations(
            *omics, parameters=PrincipalComponentAssociationsParameters.model_validate(few)
        ),
        "results.sample_correlation": sample_correlation(*omics, parameters=SampleCorrelationParameters()),
    }


@pytest.fixture(scope="module")
def flawed():
    return _tables(has_flaws=True)


def test_the_section_reads_what_there_is():
    assert SECTION.needs == ("omics.sample_qc",)
    assert set(SECTION.uses) == {
        "results.sample_quality",
        "results.principal_components",
        "results.principal_component_associations",
        "results.sample_correlation",
    }


def test_exchanged_samples_are_named_once_and_the_failed_one_is_said_to_be_left_out(flawed):
    written = SECTION.write(flawed, ABOUT)
    assert written.count("seem to be exchanged") == 1
    assert "NLSIM004_N_W12 and NLSIM005_N_W12 seem to be exchanged" in written
    assert "Left out of every analysis of expression: 1 (NLSIM002_N_W12)." in written
    assert "exchanged with NLSIM005_N_W12?" in written
    assert "Component 1 (" in written
    for figure in ("library_sizes", "principal_components", "sample_correlation"):
        assert written.count(f'<figure class="chart" id="{figure}">') == 1


def test_a_sample_without_a_partner_is_said_to_belong_elsewhere(flawed):
    quality = flawed["results.sample_quality"].with_columns(
        likely_partner_sample=pl.lit(None, dtype=pl.String)
    )
    written = SECTION.write(flawed | {"results.sample_quality": quality}, ABOUT)
    assert "NLSIM004_N_W12 seems to belong to NLSIM-005" in written


def test_sound_samples_need_no_look():
    written = SECTION.write(_tables(has_flaws=False), ABOUT)
    assert "No sample seems to be exchanged." in written
    assert "seem to be exchanged" not in written


def test_without_the_analyses_the_section_is_that_of_the_build(flawed):
    written = SECTION.write({"omics.sample_qc": flawed["omics.sample_qc"]}, ABOUT)
    assert "exchanged" not in written
    assert "low library size" in written
    assert 'id="principal_components"' not in written


def test_names_of_samples_are_escaped(flawed):
    renamed = {
        table: frame.with_columns(
            pl.col(column).replace("NLSIM004_N_W12", "<b>4</b>")
            for column in frame.columns
            if column.endswith("sample_id") or column == "likely_partner_sample"
        )
        for table, frame in flawed.items()
    }
    written = SECTION.write(renamed, ABOUT)
    assert "<b>4</b>" not in written
    assert "&lt;b&gt;4&lt;/b&gt; and NLSIM005_N_W12 seem to be exchanged" in written


def test_too_many_samples_to_draw_are_referred_to_the_table(flawed):
    pairs = flawed["results.sample_correlation"]
    many = pl.concat(
        pairs.with_columns(pl.col("sample_id") + f"_{copy}", pl.col("other_sample_id") + f"_{copy}")
        for copy in range(3)
    )
    assert "are too many to draw" in sample_charts.correlations(many, ABOUT)


def test_one_component_is_not_drawn_as_a_plane(flawed):
    line = flawed["results.principal_components"].filter(pl.col("component") == 1)
    assert not sample_charts.components(line, set(), replace(ABOUT, is_simulated=False))


def test_what_goes_with_nothing_is_said_so(flawed):
    none = flawed["results.principal_component_associations"].with_columns(p_adjusted=pl.lit(1.0))
    said = sample_charts.associations(none)
    assert said[0].endswith("goes with none of the variables tested.")
    assert not sample_charts.associations(none.clear())
