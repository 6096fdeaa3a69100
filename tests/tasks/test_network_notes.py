from __future__ import annotations

import polars as pl
import pytest

from tasks.omics.network_notes import ANALYSIS, SCHEMA, NetworkNotesParameters, network_notes


@pytest.fixture
def tables(network_results):
    return dict(zip(("threshold", "modules", "eigengenes"), network_results, strict=True))


def _notes(tables, **changes):
    given = tables | changes
    return network_notes(
        given["threshold"], given["modules"], given["eigengenes"], parameters=NetworkNotesParameters()
    )


def _texts(notes, topic, severity):
    return notes.filter(pl.col("topic") == topic, pl.col("severity") == severity)["text"].to_list()


def test_record_and_contract(tables, unmet):
    notes = _notes(tables)
    assert ANALYSIS.fills == "results.network_notes"
    assert dict(notes.schema) == SCHEMA
    assert unmet(notes, "network_notes") == []
    assert unmet(notes.with_columns(note=pl.lit(1)), "network_notes") != []


def test_a_sound_network_is_told_as_such(tables):
    notes = _notes(tables)
    assert _texts(notes, "samples", "info")[0] == "48 samples: enough to look for modules"
    assert _texts(notes, "power", "info") == ["power 6: declared in study.toml"]
    assert _texts(notes, "protected_genes", "warning") == ["in no module: Gene339"]
    assert _texts(notes, "eigengene", "warning") == []


def test_few_samples_are_a_warning(tables):
    few = tables["threshold"].with_columns(warning=pl.lit("12 samples, fewer than 15"))
    assert _texts(_notes(tables, threshold=few), "samples", "warning") == ["12 samples, fewer than 15"]


def test_a_power_that_no_fit_supports_is_a_warning(tables):
    other = tables["threshold"].with_columns(rule=pl.lit("sample_size_table"))
    assert len(_texts(_notes(tables, threshold=other), "power", "warning")) == 1


def test_weak_eigengenes_and_no_module_are_warnings(tables):
    weak = tables["eigengenes"].with_columns(variance_explained=pl.lit(0.2))
    assert len(_texts(_notes(tables, eigengenes=weak), "eigengene", "warning")) == 3
    grey = tables["modules"].with_columns(module=pl.lit(0))
    assert _texts(_notes(tables, modules=grey, eigengenes=None), "modules", "warning") == [
        "no module among 340 genes"
    ]


def test_labels_that_changed_are_told_module_by_module(tables):
    is_first = pl.col("module") == 1
    later = tables["modules"].with_columns(
        label_status=pl.when(is_first).then(pl.lit("new")).otherwise(pl.lit("kept")),
        label_note=pl.when(pl.col("module") == 0)
        .then(pl.lit("former module(s) 4 not found again"))
        .otherwise(pl.lit("as told")),
    )
    notes = _notes(tables, modules=later)
    assert _texts(notes, "labels", "warning") == [
        "former module(s) 4 not found again",
        "module 1 (turquoise) as told",
    ]
    assert len(_texts(notes, "labels", "info")) == 2
