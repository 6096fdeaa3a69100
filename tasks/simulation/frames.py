"""The simulated trial as tables of the warehouse, without files: for studies drawn by the hundred."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tasks.simulation.assumptions import read_assumptions
from tasks.simulation.cohort import enrol
from tasks.simulation.delivery import COHORT, COUNTS, LIBRARIES, TRANSCRIPTOME, check_size
from tasks.simulation.transcriptome import as_sequenced, draw_genes, draw_reads, plan_libraries

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tasks.simulation.assumptions import Assumptions
    from tasks.simulation.cohort import Subject
    from tasks.simulation.transcriptome import Library

SCORE = "NLSCORE"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedFrames:
    """What the models of the study make of its files, in so far as analyses of expression read it.

    `sample`, `feature` and `expression` are as in omics, `score` as the rows of adam.adqs of the total score;
    `truth` names the module of each gene.
    """

    sample: pl.DataFrame
    feature: pl.DataFrame
    expression: pl.DataFrame
    score: pl.DataFrame
    truth: pl.DataFrame


def simulated_frames(
    assumptions: Path, *, seed: int, patients: int, genes: int, is_null: bool = False, has_flaws: bool = False
) -> SimulatedFrames:
    """Draw the trial that `simulation.toml` assumes, the same as `simulate` writes for the seed and size.

    Without `has_flaws` no library failed or is exchanged; the errors of the clinical exports are never in.

    Raises
    ------
    StudyError
        If the assumptions cannot be read, or the seed, patients or genes are outside what is allowed.
    """
    check_size(seed=seed, patients=patients, genes=genes)
    assumed = read_assumptions(assumptions)
    if is_null:
        assumed = assumed.without_effects()
    if not has_flaws:
        assumed = _with_sound_libraries(assumed)
    subjects = enrol(assumed, np.random.default_rng([seed, COHORT]), seed=seed, patients=patients)
    transcriptome = draw_genes(assumed, np.random.default_rng([seed, TRANSCRIPTOME]), genes=genes)
    libraries, _ = plan_libraries(assumed, subjects, np.random.default_rng([seed, LIBRARIES]))
    sequenced = as_sequenced(assumed, libraries) if has_flaws else libraries
    names, reads = [], []
    for library, sense, _ in draw_reads(assumed, transcriptome, sequenced, seed=(seed, COUNTS)):
        names.append(library.sample_id)
        reads.append(sense)
    gene = transcriptome.gene_table()
    return SimulatedFrames(
        sample=_sample(assumed, libraries),
        feature=gene.select(
            feature_id="gene_id",
            symbol="symbol",
            ensembl_id=pl.when(pl.col("gene_id").str.starts_with("ENSG")).then("gene_id"),
            biotype="biotype",
            chromosome="chromosome",
        ),
        expression=pl.DataFrame(
            {
                "feature_id": np.tile(gene["gene_id"].to_numpy(), len(names)),
                "sample_id": np.repeat(np.array(names), gene.height),
                "count": np.concatenate(reads).astype(np.int64),
            }
        ),
        score=_score(assumed, subjects),
        truth=transcriptome.truth(),
    )


def _with_sound_libraries(assumptions: Assumptions) -> Assumptions:
    # A failed library is one of a small size factor; the others of the draw stay as they are.
    failed = assumptions.flaws.failed_library.model_copy(update={"size_factor": 1.0})
    flaws = assumptions.flaws.model_copy(update={"failed_library": failed})
    return assumptions.model_copy(update={"flaws": flaws})


def _usubjid(assumptions: Assumptions, subject: Subject) -> str:
    return f"{assumptions.trial.study_id}-{subject.subjid}"


def _sample(assumptions: Assumptions, libraries: Sequence[Library]) -> pl.DataFrame:
    number = {visit.name: float(place) for place, visit in enumerate(assumptions.visit)}
    return pl.DataFrame(
        [
            {
                "sample_id": library.sample_id,
                "usubjid": _usubjid(assumptions, library.subject),
                "visit": library.visit,
                "visitnum": number[library.visit],
                "tissue": "LESIONAL" if library.is_lesional else "NON-LESIONAL",
                "sex": library.subject.sex,
                "rin": library.rin,
                "batch": f"B{library.batch}",
            }
            for library in libraries
        ]
    ).sort("sample_id")


def _score(assumptions: Assumptions, subjects: Sequence[Subject]) -> pl.DataFrame:
    rows = []
    for subject in subjects:
        base = float(subject.baseline_total)
        for place, visit in enumerate(assumptions.visit):
            if visit.name not in subject.visits:
                continue
            value = float(sum(subject.items[visit.name]))
            is_baseline = place == 0
            rows.append(
                {
                    "usubjid": _usubjid(assumptions, subject),
                    "paramcd": SCORE,
                    "avisit": visit.name,
                    "avisitn": float(place),
                    "aval": value,
                    "base": base,
                    "chg": None if is_baseline else value - base,
                    "pchg": None if is_baseline else 100 * (value - base) / base,
                    "ablfl": "Y" if is_baseline else None,
                    "anl01fl": "Y",
                    "dtype": None,
                    "saffl": "Y",
                    "fasfl": "Y",
                }
            )
    numbers = dict.fromkeys(["chg", "pchg"], pl.Float64)
    return pl.DataFrame(
        rows, schema_overrides={"dtype": pl.String, "ablfl": pl.String, **numbers}, infer_schema_length=None
    )
