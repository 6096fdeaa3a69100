"""The simulated libraries: genes, co-expression modules, and negative binomial counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tasks.simulation.assumptions import Assumptions, Module
    from tasks.simulation.cohort import Subject

FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
IntArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

LIBRARIES_PER_BATCH = 24
PLACEHOLDER_LOADING = (0.5, 1.1)
OTHER_SEX_LOG2 = -2.5  # stray reads on the genes of the other sex
HUB_DISPERSION_FACTOR = 0.1
AUTOSOMES_AND_X = (*(str(number) for number in range(1, 23)), "X")


@dataclass(frozen=True, slots=True)
class Library:
    """One biopsy's library and what was put into it."""

    sample_id: str
    subject: Subject
    visit: str
    is_lesional: bool
    rin: float
    batch: int
    size_factor: float
    factors: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Transcriptome:
    """The genes (one row each, in the order of the files) with the parameters of their counts."""

    genes: pl.DataFrame
    lesion_log2: FloatArray
    dispersion_factor: FloatArray
    patient_sd: FloatArray

    def gene_table(self) -> pl.DataFrame:
        return self.genes.select("gene_id", "symbol", "biotype", "chromosome")

    def truth(self) -> pl.DataFrame:
        return self.genes.select("gene_id", "symbol", "module", "loading")


def draw_genes(assumptions: Assumptions, rng: np.random.Generator, *, genes: int) -> Transcriptome:
    """Return the named genes and as many honest placeholders as make up the number asked for."""
    settings = assumptions.expression
    named = assumptions.genes()
    count = genes - named.height
    level = np.where(
        rng.random(count) < settings.expressed_fraction,
        rng.normal(*settings.expressed_log2, count),
        rng.normal(*settings.silent_log2, count),
    )
    module = np.full(count, "", dtype=object)
    loading = np.full(count, np.nan)
    start = 0
    for name, assumed in assumptions.module.items():
        own = named.filter(pl.col("module") == name).height
        wanted = min(max(round(assumed.fraction * genes) - own, 0), count - start)
        end = start + wanted
        module[start:end] = name
        loading[start:end] = rng.uniform(*PLACEHOLDER_LOADING, wanted)
        level[start:end] = rng.normal(*settings.expressed_log2, wanted)
        start = end
    is_coding = rng.random(count) < np.where(level > 0, 0.9, 0.4)
    placeholders = pl.DataFrame(
        {
            "gene_id": [f"SIMG{number:011d}" for number in range(1, count + 1)],
            "symbol": [f"SIM{number:05d}" for number in range(1, count + 1)],
            "biotype": np.where(is_coding, "protein_coding", "lncRNA").astype(str),
            "chromosome": rng.choice(np.array(AUTOSOMES_AND_X), count).astype(str),
            "module": pl.Series(module.tolist(), dtype=pl.String).replace("", None),
            "expressed_in_sex": pl.Series([None] * count, dtype=pl.String),
            "mean_log2": level,
            "loading": pl.Series(loading).fill_nan(None),
        }
    )
    table = pl.concat([named, placeholders]).sort("gene_id")
    in_module = table["module"].is_not_null().to_numpy()
    is_placeholder = table["gene_id"].str.starts_with("SIMG").to_numpy()
    differs = (rng.random(genes) < settings.lesion_genes_fraction) & ~in_module & is_placeholder
    is_hub = (table["symbol"] == settings.hub).to_numpy()
    return Transcriptome(
        genes=table,
        lesion_log2=np.where(differs, rng.normal(0, settings.lesion_genes_sd_log2, genes), 0.0),
        dispersion_factor=np.where(
            is_hub, HUB_DISPERSION_FACTOR, np.exp(rng.normal(0, settings.dispersion_sd_log, genes))
        ),
        patient_sd=np.where(is_hub, 0.0, settings.patient_sd_log2),
    )


def plan_libraries(
    assumptions: Assumptions, subjects: Sequence[Subject], rng: np.random.Generator
) -> tuple[tuple[Library, ...], pl.DataFrame]:
    """Return the libraries (both tissues, first and last visit) and how far each patient's modules fall."""
    failed = assumptions.flaws.failed_library
    first, last = assumptions.visit[0].name, assumptions.visit[-1].name
    libraries: list[Library] = []
    falls = []
    for subject in subjects:
        fall = {
            name: module.fall * subject.response + float(rng.normal(0, module.fall_sd))
            for name, module in assumptions.module.items()
        }
        # The patient's own height of each module, shared by all the libraries of the patient.
        own = {
            name: float(rng.normal(0, 0.5 * module.sample_sd)) for name, module in assumptions.module.items()
        }
        falls.append(
            {
                "SUBJID": subject.subjid,
                "response": subject.response,
                **{f"fall_{k}": v for k, v in fall.items()},
            }
        )
        for visit in (first, last):
            for is_lesional in (True, False):
                size = float(np.exp2(rng.normal(0, assumptions.expression.library_sd_log2)))
                rin = float(np.clip(rng.normal(7.6, 0.7), 5.5, 9.6))
                factors = {
                    name: own[name]
                    + _factor(module, rng, is_lesional=is_lesional, fall=fall[name] * (visit == last))
                    for name, module in assumptions.module.items()
                }
                if visit not in subject.visits:
                    continue
                if (subject.number, visit, is_lesional) == (failed.subject, failed.visit, failed.is_lesional):
                    size *= failed.size_factor
                tissue = "L" if is_lesional else "N"
                libraries.append(
                    Library(
                        sample_id=f"NLSIM{subject.subjid}_{tissue}_{_lab_visit(visit, first)}",
                        subject=subject,
                        visit=visit,
                        is_lesional=is_lesional,
                        rin=round(rin, 1),
                        # Whole patients share a batch, so that the batch is not mistaken for the treatment.
                        batch=1 + (subject.number - 1) * 4 // LIBRARIES_PER_BATCH,
                        size_factor=size,
                        factors=factors,
                    )
                )
    return tuple(libraries), pl.DataFrame(falls)


def as_sequenced(assumptions: Assumptions, libraries: Sequence[Library]) -> tuple[Library, ...]:
    """Return the libraries as they were sequenced: two tubes bear each other's name."""
    swapped = assumptions.flaws.swapped_libraries
    places = {
        library.subject.number: place
        for place, library in enumerate(libraries)
        if (library.visit, library.is_lesional) == (swapped.visit, swapped.is_lesional)
    }
    one, other = places[swapped.subject], places[swapped.other]
    sequenced = list(libraries)
    sequenced[one] = replace(libraries[one], sample_id=libraries[other].sample_id)
    sequenced[other] = replace(libraries[other], sample_id=libraries[one].sample_id)
    return tuple(sequenced)


def _factor(module: Module, rng: np.random.Generator, *, is_lesional: bool, fall: float) -> float:
    noise = float(rng.normal(0, module.sample_sd * np.sqrt(0.75)))
    return noise + (module.lesion * (1 - fall) if is_lesional else 0.0)


def _lab_visit(visit: str, first: str) -> str:
    return "BL" if visit == first else visit.replace("WEEK ", "W")


def sample_sheet(assumptions: Assumptions, libraries: Sequence[Library]) -> pl.DataFrame:
    first = assumptions.visit[0].name
    return pl.DataFrame(
        [
            {
                "SAMPLE_ID": library.sample_id,
                "SUBJECT": library.subject.subjid,
                "TIMEPOINT": _lab_visit(library.visit, first),
                "TISSUE": "lesional" if library.is_lesional else "non-lesional",
                "COLLECTED": library.subject.visits[library.visit].isoformat(),
                "RIN": f"{library.rin:.1f}",
                "BATCH": f"B{library.batch}",
                "STRANDEDNESS": "reverse",
            }
            for library in libraries
        ]
    )


def count_libraries(
    assumptions: Assumptions,
    transcriptome: Transcriptome,
    libraries: Sequence[Library],
    *,
    seed: Sequence[int],
) -> Iterator[tuple[Library, pl.DataFrame]]:
    """Yield each library's ReadsPerGene table, one at a time, so that memory does not grow with the trial."""
    gene_ids = transcriptome.genes["gene_id"]
    for library, sense, rng in draw_reads(assumptions, transcriptome, libraries, seed=seed):
        yield library, _reads_per_gene(assumptions, gene_ids, sense, rng)


def draw_reads(
    assumptions: Assumptions,
    transcriptome: Transcriptome,
    libraries: Sequence[Library],
    *,
    seed: Sequence[int],
) -> Iterator[tuple[Library, IntArray, np.random.Generator]]:
    """Yield each library with its reads on genes and the stream of random numbers they came from."""
    settings = assumptions.expression
    genes = transcriptome.genes
    level = genes["mean_log2"].to_numpy()
    loading = genes["loading"].fill_null(0.0).to_numpy()
    members = {
        name: (genes["module"] == name).fill_null(value=False).to_numpy() for name in assumptions.module
    }
    sex = genes["expressed_in_sex"].fill_null("").to_numpy()
    for library in libraries:
        subject = library.subject
        patient = np.random.default_rng([*seed, 1, subject.number]).normal(0, 1, len(level))
        batch = np.random.default_rng([*seed, 2, library.batch]).normal(0, settings.batch_sd_log2, len(level))
        log2_mean = np.where((sex == "") | (sex == subject.sex), level, OTHER_SEX_LOG2)
        log2_mean = log2_mean + patient * transcriptome.patient_sd + batch
        log2_mean += transcriptome.lesion_log2 * library.is_lesional
        for name, factor in library.factors.items():
            log2_mean += np.where(members[name], loading * factor, 0.0)
        mean = np.exp2(log2_mean) * library.size_factor
        # The dispersion belongs to the gene's abundance, not to how deep this library happens to be.
        dispersion = settings.dispersion_floor + settings.dispersion_slope / np.maximum(np.exp2(level), 0.05)
        place = {True: 0, False: 1}[library.is_lesional] + 2 * (library.visit != assumptions.visit[0].name)
        rng = np.random.default_rng([*seed, 3, subject.number, place])
        shape = 1 / (dispersion * transcriptome.dispersion_factor)
        sense = rng.poisson(rng.gamma(shape, mean / shape))
        yield library, sense, rng


def _reads_per_gene(
    assumptions: Assumptions,
    gene_ids: pl.Series,
    sense: IntArray,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Return STAR's table of a reverse-stranded library: the last column holds the sense reads."""
    settings = assumptions.expression
    antisense = rng.poisson(settings.antisense_fraction * sense)
    # Counted without strand, a read on two overlapping genes is ambiguous and leaves both.
    unstranded = sense + antisense - rng.binomial(sense, settings.ambiguous_fraction)
    total = int(sense.sum())
    unmapped, multimapping = int(total * rng.uniform(0.03, 0.08)), int(total * rng.uniform(0.04, 0.09))
    no_feature = [int(total * share) for share in (0.06, 0.95, 0.07)]
    ambiguous = [int(total * share) for share in (settings.ambiguous_fraction, 0.002, 0.006)]
    head = pl.DataFrame(
        {
            "gene_id": ["N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous"],
            "unstranded": [unmapped, multimapping, no_feature[0], ambiguous[0]],
            "forward": [unmapped, multimapping, no_feature[1], ambiguous[1]],
            "reverse": [unmapped, multimapping, no_feature[2], ambiguous[2]],
        }
    )
    body = pl.DataFrame(
        {"gene_id": gene_ids, "unstranded": unstranded, "forward": antisense, "reverse": sense}
    )
    return pl.concat([head, body.cast({"unstranded": pl.Int64, "forward": pl.Int64, "reverse": pl.Int64})])
