"""Write the simulated trial to a folder: whole or not at all, the same bytes for the same seed and size."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks.simulation.assumptions import read_assumptions
from tasks.simulation.clinical import clinical_tables
from tasks.simulation.cohort import enrol
from tasks.simulation.transcriptome import (
    as_sequenced,
    count_libraries,
    draw_genes,
    plan_libraries,
    sample_sheet,
)
from warehouse.errors import SourceError, StudyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl

    from tasks.simulation.assumptions import Assumptions

NULL = "Null study: no gene differs in lesions, changes on treatment or follows the score."
MARKER = "SIMULATED.json"
WRITTEN = {MARKER, "README.txt", "clinical", "omics", "truth"}
PATIENTS = (6, 200)
GENES = (500, 40_000)
# One stream of random numbers for each part, so that the patients stay the same when the genes change.
COHORT, EXPORTS, TRANSCRIPTOME, LIBRARIES, COUNTS = range(5)


@dataclass(frozen=True, slots=True)
class Summary:
    """What was written: nobody in it exists."""

    folder: Path
    seed: int
    patients: int
    genes: int
    libraries: int
    files: int
    is_calibrated: bool
    is_null: bool
    flaws: tuple[str, ...]

    def __str__(self) -> str:
        fitted = (
            "totals fitted to the publication"
            if self.is_calibrated
            else "drawn, not fitted to the publication"
        )
        return "\n".join(
            [
                f"Simulated data: {self.patients} patients, {self.libraries} libraries, {self.genes} genes.",
                f"Seed {self.seed} ({fitted}); {self.files} files.",
                *([NULL] if self.is_null else []),
                "Errors planted on purpose:",
                *(f"  {flaw}" for flaw in self.flaws),
            ]
        )


def simulate(
    assumptions: Path, out: Path, *, seed: int, patients: int, genes: int, is_null: bool = False
) -> Summary:
    """Simulate the trial that `simulation.toml` assumes and write its raw files to a folder.

    With `is_null` patients, scores and planted errors are the same, but no gene has an effect.

    Raises
    ------
    StudyError
        If the assumptions cannot be read, or the seed, patients or genes are outside what is allowed.
    SourceError
        If the folder holds something else than an earlier simulation.
    """
    check_size(seed=seed, patients=patients, genes=genes)
    assumed = read_assumptions(assumptions)
    if is_null:
        assumed = assumed.without_effects()
    out = out.expanduser().resolve()
    _refuse_other_content(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        delivery = Path(scratch, "delivery")
        delivery.mkdir()
        summary = _write(assumed, delivery, out, seed=seed, patients=patients, genes=genes, is_null=is_null)
        if out.exists():
            out.rename(Path(scratch, "earlier"))
        delivery.rename(out)
    return summary


def check_size(*, seed: int, patients: int, genes: int) -> None:
    """Refuse a seed or size that the simulation is not made for."""
    _check("patients", patients, *PATIENTS)
    _check("genes", genes, *GENES)
    if seed < 0:
        raise StudyError(f"seed: {seed}: a whole number of 0 or more is allowed")


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise StudyError(f"{name}: {value}: {low} to {high} is allowed")


def _refuse_other_content(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise SourceError(f"{out}: is a file: a folder, new, empty or an earlier simulation, is allowed")
    if not out.is_dir():
        return
    found = {path.name for path in out.iterdir()}
    if found and not (MARKER in found and found <= WRITTEN):
        foreign = ", ".join(sorted(found - WRITTEN)[:3]) or f"no {MARKER}"
        raise SourceError(
            f"{out}: holds more than an earlier simulation ({foreign}): a new or empty folder is allowed"
        )


def _write(
    assumptions: Assumptions,
    folder: Path,
    out: Path,
    *,
    seed: int,
    patients: int,
    genes: int,
    is_null: bool,
) -> Summary:
    for part in ("clinical", "omics/star", "truth"):
        (folder / part).mkdir(parents=True)
    subjects = enrol(assumptions, np.random.default_rng([seed, COHORT]), seed=seed, patients=patients)
    for name, table in clinical_tables(assumptions, subjects, np.random.default_rng([seed, EXPORTS])).items():
        _write_clinical(table, folder / "clinical" / name)

    transcriptome = draw_genes(assumptions, np.random.default_rng([seed, TRANSCRIPTOME]), genes=genes)
    transcriptome.gene_table().write_csv(folder / "omics" / "gene_table.tsv", separator="\t")
    libraries, falls = plan_libraries(assumptions, subjects, np.random.default_rng([seed, LIBRARIES]))
    sample_sheet(assumptions, libraries).write_csv(folder / "omics" / "sample_sheet.csv")
    sequenced = as_sequenced(assumptions, libraries)
    for library, table in count_libraries(assumptions, transcriptome, sequenced, seed=(seed, COUNTS)):
        file = folder / "omics" / "star" / f"{library.sample_id}_ReadsPerGene.out.tab"
        table.write_csv(file, separator="\t", include_header=False)

    transcriptome.truth().write_csv(folder / "truth" / "genes.tsv", separator="\t")
    falls.write_csv(folder / "truth" / "subjects.csv", float_precision=6)
    flaws = planted(assumptions)
    called = {"simulated": True, "seed": seed, "patients": patients, "genes": genes, "null": is_null}
    (folder / MARKER).write_text(json.dumps(called, indent=2) + "\n", encoding="utf-8", newline="\n")
    (folder / "README.txt").write_text(_readme(called, flaws), encoding="utf-8", newline="\n")
    return Summary(
        folder=out,
        seed=seed,
        patients=patients,
        genes=genes,
        libraries=len(libraries),
        files=sum(path.is_file() for path in folder.rglob("*")),
        is_calibrated=assumptions.is_calibrated(seed=seed, patients=patients),
        is_null=is_null,
        flaws=flaws,
    )


def _write_clinical(table: pl.DataFrame, file: Path) -> None:
    """Write an export; the rating application runs on a European Windows machine and writes as such."""
    if file.name == "lesion_scores.csv":
        table.write_csv(file, separator=";", include_bom=True, line_terminator="\r\n")
    else:
        table.write_csv(file)


def planted(assumptions: Assumptions) -> tuple[str, ...]:
    """Return a sentence for each planted error: where it is and what is wrong."""
    flaws = assumptions.flaws
    late, typo, failed = flaws.visit_out_of_window, flaws.mistyped_score, flaws.failed_library
    twice, bsa, dated = flaws.duplicated_row, flaws.bsa_over_limit, flaws.date_typo
    swapped = flaws.swapped_libraries
    return (
        f"subject {late.subject:03d}, {late.visit}: visit {late.days_late} days after its target day",
        f"subject {typo.subject:03d}, {typo.visit}: {typo.column} typed {typo.typed} for {typo.meant}",
        f"subject {failed.subject:03d}, {failed.visit}, {_tissue(failed.is_lesional)}: failed library",
        (
            f"subjects {swapped.subject:03d} and {swapped.other:03d}, {swapped.visit},"
            f" {_tissue(swapped.is_lesional)}: libraries exchanged"
        ),
        f"subject {flaws.sex_mismatch.subject:03d}: recorded sex is not the expressed one",
        f"subject {twice.subject:03d}, {twice.visit}: lesion scores delivered twice",
        f"subject {bsa.subject:03d}: {bsa.bsa_pct:g} % of body surface area",
        f"subject {dated.subject:03d}: first adverse event dated {dated.typed_year}",
    )


def _tissue(is_lesional: bool) -> str:
    return "lesional" if is_lesional else "non-lesional"


def _readme(called: Mapping[str, object], flaws: tuple[str, ...]) -> str:
    lines = [
        "SIMULATED DATA. No patient, sample or measurement in this folder exists.",
        "",
        f"Drawn with seed {called['seed']}, {called['patients']} patients, {called['genes']} genes.",
        "The assumptions stand in simulation.toml of the study folder.",
        *([NULL] if called["null"] else []),
        "",
        "clinical/  exports of the data capture system, the rating application and the diary",
        "omics/     sample sheet, gene table, one STAR ReadsPerGene table per library (reverse-stranded)",
        "truth/     what was put in; no source of the study reads it",
        "",
        "Errors planted on purpose:",
        *(f"- {flaw}" for flaw in flaws),
    ]
    return "\n".join(lines) + "\n"
