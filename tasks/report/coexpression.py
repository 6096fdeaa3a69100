"""Co-expression modules, network by network: what they are, how sure, what moved them, who leads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from tasks.report.coexpression_figures import changes_figure, patients_figure, thresholds_figure
from tasks.report.coexpression_tables import (
    changes_table,
    enrichment_table,
    hubs_table,
    modules_table,
    preservation_table,
    protected_table,
)
from tasks.report.section import About, Frames, Section
from tasks.report.tables import folded
from tasks.report.wording import capitalised, count, escape, integer, percent, verb

MODULES = "results.gene_modules"
NOTES = "results.network_notes"

WHAT_THEY_ARE = (
    "<p>A module is a set of genes that rise and fall together over the samples: genes under one command, of"
    " one cell type, or of one disturbance, such as the depth of a biopsy. Its eigengene is one number for"
    " each sample that says how high the module stands there; a hub is a gene that follows the eigengene most"
    " closely. Modules are found without being told which sample was treated; what treatment did to them is"
    " tested afterwards, within participants. Genes of no module are called grey.</p>"
)

Row = Mapping[str, Any]


def write(frames: Frames, about: About) -> str:
    modules = frames[MODULES]
    if modules.is_empty():
        return WHAT_THEY_ARE + "<p>No network has modules in this version.</p>"
    networks = modules["network"].unique(maintain_order=True).to_list()
    written = "".join(_network(place, name, frames, about) for place, name in enumerate(networks, start=1))
    return WHAT_THEY_ARE + _warnings(frames) + written


def _warnings(frames: Frames) -> str:
    """List what makes modules doubtful: once for each network, its modules' own warnings in one line."""
    notes = frames.get(NOTES)
    if notes is None:
        few = frames[MODULES].filter(pl.col("warning").is_not_null()).unique("network", maintain_order=True)
        said = [(row["network_title"], row["warning"]) for row in few.iter_rows(named=True)]
    else:
        warnings = notes.filter(pl.col("severity") == "warning").sort("note")
        said = [
            told
            for part in warnings.partition_by("network", maintain_order=True)
            for told in _told_of_network(part)
        ]
    if not said:
        return ""
    lines = "".join(
        f"<li><b>{escape(title)}</b>: {escape(capitalised(str(text)))}.</li>" for title, text in said
    )
    return f"<p><b>Before you read on</b></p><ul>{lines}</ul>"


def _told_of_network(warnings: pl.DataFrame) -> list[tuple[str, str]]:
    title = str(warnings["network_title"][0])
    whole = warnings.filter(pl.col("module").is_null())["text"].to_list()
    of_modules = warnings.filter(pl.col("module").is_not_null())["text"].to_list()
    return [(title, text) for text in (*whole, *(["; ".join(of_modules)] if of_modules else []))]


def _network(place: int, network: str, frames: Frames, about: About) -> str:
    own = {
        name: frame.filter(pl.col("network") == network)
        for name, frame in frames.items()
        if name in _OF_NETWORKS
    }
    own = {name: frame for name, frame in own.items() if not frame.is_empty()}
    own |= {name: frame for name, frame in frames.items() if name in _OF_STUDY}
    parts = [_opening(own[MODULES])]
    if (own[MODULES]["module"] > 0).any():
        parts += [
            modules_table(place, own, about),
            changes_figure(place, own, about),
            patients_figure(place, own, about),
            _folded(
                "What each module did: exact, by permutation and pooled", changes_table(place, own, about)
            ),
            protected_table(place, own, about),
            _folded("Hub genes of each module", hubs_table(place, own, about)),
            _folded("Gene sets of each module", enrichment_table(place, own, about)),
            preservation_table(place, own, about),
        ]
    parts.append(_folded("How the power was chosen", thresholds_figure(place, own, about)))
    parts.append(_information(own.get(NOTES)))
    return "".join(parts)


def _opening(modules: pl.DataFrame) -> str:
    first = modules.row(0, named=True)
    found = modules.filter(pl.col("module") > 0)
    n_modules, grey = found["module"].n_unique(), modules.height - found.height
    subjects = f" of {count(first['n_subjects'], 'participant')}" if first["n_subjects"] is not None else ""
    return (
        f"<h3>{escape(first['network_title'])}</h3>"
        f"<p>{integer(first['n_genes'])} genes in {count(first['n_samples'], 'sample')}{subjects}:"
        f" {count(n_modules, 'module')}; {integer(grey)} genes ({percent(grey, modules.height)})"
        f" {verb(grey, 'is', 'are')} in none.</p>"
        f'<p class="note wide-note">{escape(capitalised(str(first["method"])))}.</p>'
    )


def _information(notes: pl.DataFrame | None) -> str:
    if notes is None:
        return ""
    told = notes.filter(pl.col("severity") != "warning").sort("note")["text"].to_list()
    lines = "".join(f"<li>{escape(capitalised(text))}.</li>" for text in told)
    return folded("Notes on this network", f'<ul class="note">{lines}</ul>') if told else ""


def _folded(summary: str, content: str) -> str:
    return folded(summary, content) if content else ""


_OF_NETWORKS = (
    MODULES,
    NOTES,
    "results.soft_thresholds",
    "results.module_eigengenes",
    "results.module_response",
    "results.module_enrichment",
    "results.hub_genes",
    "results.module_preservation",
)
_OF_STUDY = ("meta.visit", "meta.expression_contrast")

SECTION = Section(
    name="coexpression",
    title="Co-expression modules",
    needs=(MODULES,),
    write=write,
    uses=(*(name for name in _OF_NETWORKS if name != MODULES), *_OF_STUDY),
)
