"""What a reader must know of each network before believing its modules, as rows with text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.analysis import Analysis, Parameters

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = {
    "network": pl.String,
    "network_title": pl.String,
    "note": pl.Int64,
    "topic": pl.String,
    "severity": pl.String,
    "module": pl.Int64,
    "colour": pl.String,
    "text": pl.String,
}
_MUCH = 0.5
_LOW_VARIANCE = 0.4
_FEW_SUBJECTS = 6


class NetworkNotesParameters(Parameters):
    """Nothing to choose."""


def network_notes(
    threshold: pl.DataFrame,
    modules: pl.DataFrame,
    eigengenes: pl.DataFrame | None,
    *,
    parameters: NetworkNotesParameters,  # noqa: ARG001 - every analysis is called alike
) -> pl.DataFrame:
    """Tell of each network its samples, how its power was chosen, and what became of its labels.

    Severity `warning` is for what makes modules doubtful: few samples, several of one patient, a power that
    no fit supports, most genes in no module, no module, modules whose eigengene stands for little, former
    modules not found again, protected genes in no module. The rest is `info`.
    """
    rows: list[dict[str, Any]] = []
    for (network,), part in threshold.group_by("network", maintain_order=True):
        own = modules.filter(pl.col("network") == network)
        of_eigengenes = eigengenes.filter(pl.col("network") == network) if eigengenes is not None else None
        told = [*_of_samples(part), *_of_power(part), *_of_modules(own, of_eigengenes), *_of_labels(own)]
        title = part["network_title"][0]
        rows.extend(
            {"network": network, "network_title": title, "note": number} | note
            for number, note in enumerate(told, 1)
        )
    return pl.DataFrame(rows, schema=SCHEMA)


def _note(
    topic: str, text: str, *, warns: bool, module: int | None = None, colour: str | None = None
) -> dict[str, Any]:
    return {
        "topic": topic,
        "severity": "warning" if warns else "info",
        "module": module,
        "colour": colour,
        "text": text,
    }


def _of_samples(threshold: pl.DataFrame) -> Iterator[dict[str, Any]]:
    first = threshold.row(0, named=True)
    if first["warning"]:
        yield _note("samples", first["warning"], warns=True)
    else:
        yield _note("samples", f"{first['n_samples']} samples: enough to look for modules", warns=False)
    subjects = first["n_subjects"]
    if subjects is not None and subjects < first["n_samples"]:
        yield _note(
            "samples",
            f"{first['n_samples']} samples of {subjects} patients: correlations also tell of what differs"
            " between patients, and p-values that count samples are too small",
            warns=subjects < _FEW_SUBJECTS,
        )
    if first["excluded_samples"]:
        yield _note("samples", f"left out: {first['excluded_samples']}", warns=False)


def _of_power(threshold: pl.DataFrame) -> Iterator[dict[str, Any]]:
    chosen = threshold.filter("is_chosen").row(0, named=True)
    yield _note(
        "power",
        f"power {chosen['power']:g}: {chosen['reason']}",
        warns=chosen["rule"] == "sample_size_table",
    )


def _of_modules(modules: pl.DataFrame, eigengenes: pl.DataFrame | None) -> Iterator[dict[str, Any]]:
    grey = modules.filter(pl.col("module") == 0)
    n_modules = modules.filter(pl.col("module") > 0)["module"].n_unique()
    if not n_modules:
        yield _note("modules", f"no module among {modules.height} genes", warns=True)
    else:
        share = grey.height / modules.height
        yield _note(
            "modules",
            f"{n_modules} module(s); {grey.height} of {modules.height} genes ({share:.0%}) are in none",
            warns=share > _MUCH,
        )
    lost = grey.filter("is_protected")
    if lost.height:
        names = ", ".join(lost.select(pl.coalesce("symbol", "feature_id")).to_series().sort())
        yield _note("protected_genes", f"in no module: {names}", warns=True)
    if eigengenes is None:
        return
    weak = eigengenes.filter(pl.col("variance_explained") < _LOW_VARIANCE).unique("module").sort("module")
    for row in weak.iter_rows(named=True):
        yield _note(
            "eigengene",
            f"module {row['module']} ({row['colour']}): its eigengene stands for"
            f" {row['variance_explained']:.0%} of the variance of its {row['module_size']} genes",
            warns=True,
            module=row["module"],
            colour=row["colour"],
        )


def _of_labels(modules: pl.DataFrame) -> Iterator[dict[str, Any]]:
    grey = modules.filter((pl.col("module") == 0) & pl.col("label_note").is_not_null())
    if grey.height:
        yield _note("labels", grey["label_note"][0], warns=True)
    named = modules.filter(pl.col("module") > 0).unique("module").sort("module")
    if (named["label_status"] == "first").all():
        if named.height:
            yield _note("labels", "first version of this network: modules are numbered by size", warns=False)
        return
    for row in named.iter_rows(named=True):
        yield _note(
            "labels",
            f"module {row['module']} ({row['colour']}) {row['label_note']}",
            warns=row["label_status"] == "new",
            module=row["module"],
            colour=row["colour"],
        )


ANALYSIS = Analysis(
    name="network_notes",
    function=network_notes,
    reads=("results.soft_thresholds", "results.gene_modules"),
    uses=("results.module_eigengenes",),
    parameters=NetworkNotesParameters,
)
