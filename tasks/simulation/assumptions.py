"""What the simulation assumes: `simulation.toml` and gene list of a study folder, refused by key."""

from __future__ import annotations

import datetime as dt  # pydantic reads the annotation
import tomllib
from pathlib import Path  # pydantic reads the annotation
from typing import Annotated, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from warehouse.errors import StudyError

Fraction = Annotated[float, Field(ge=0, le=1)]
Subject = Annotated[int, Field(ge=1, le=6)]  # planted in every simulation, also the smallest
GENE_COLUMNS = (
    "gene_id",
    "symbol",
    "biotype",
    "chromosome",
    "module",
    "expressed_in_sex",
    "mean_log2",
    "loading",
)


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Trial(_Record):
    study_id: str
    first_enrolment: dt.date
    days_between_enrolments: tuple[int, int]
    days_of_screening: tuple[int, int]
    female_fraction: Fraction
    age_mean: float
    age_sd: float
    age_range: tuple[int, int]
    diabetes_fraction: Fraction
    shin_fraction: Fraction
    ulceration_fraction: Fraction
    smallest_lesion_cm: float
    largest_bsa_pct: float
    screen_failures_per_patient: Fraction
    dropout_probability: Fraction
    missed_visit_probability: Fraction


class Visit(_Record):
    name: str
    day: int = Field(ge=1)
    jitter_days: int = Field(ge=0)


class Item(_Record):
    column: str
    maximum: int = Field(ge=1)
    share: Fraction
    speed: float


class Score(_Record):
    baseline_mean: float
    baseline_sd: float
    baseline_range: tuple[int, int]
    response_mean: float
    response_sd: float
    response_range: tuple[float, float]
    time_constant_days: float = Field(gt=0)
    visit_noise_fraction: Fraction
    item: tuple[Item, ...] = Field(min_length=1)

    @property
    def maximum(self) -> int:
        return sum(item.maximum for item in self.item)


class Expression(_Record):
    genes_file: str
    expressed_fraction: Fraction
    expressed_log2: tuple[float, float]
    silent_log2: tuple[float, float]
    patient_sd_log2: float
    library_sd_log2: float
    batch_sd_log2: float
    dispersion_floor: float = Field(gt=0)
    dispersion_slope: float = Field(ge=0)
    dispersion_sd_log: float = Field(ge=0)
    lesion_genes_fraction: Fraction
    lesion_genes_sd_log2: float
    antisense_fraction: Fraction
    ambiguous_fraction: Fraction
    hub: str


class Module(_Record):
    fraction: Fraction
    lesion: float
    fall: float
    fall_sd: float = Field(ge=0)
    sample_sd: float = Field(ge=0)


class VisitOutOfWindow(_Record):
    subject: Subject
    visit: str
    days_late: int


class MistypedScore(_Record):
    subject: Subject
    visit: str
    column: str
    meant: int
    typed: str


class FailedLibrary(_Record):
    subject: Subject
    visit: str
    is_lesional: bool
    size_factor: float = Field(gt=0, lt=1)


class SexMismatch(_Record):
    subject: Subject


class DuplicatedRow(_Record):
    subject: Subject
    visit: str


class BsaOverLimit(_Record):
    subject: Subject
    bsa_pct: float


class DateTypo(_Record):
    subject: Subject
    day: int = Field(ge=1)
    typed_year: int


class SwappedLibraries(_Record):
    """Two tubes of one tissue and visit, exchanged before sequencing; `other` has the sex of `subject`."""

    subject: Subject
    other: Subject
    visit: str
    is_lesional: bool

    @model_validator(mode="after")
    def _names_two_people(self) -> Self:
        if self.other == self.subject:
            raise ValueError(f"other: {self.other}: must differ from subject")
        return self


class Flaws(_Record):
    """The errors planted at fixed places, so that a reader can look for each of them."""

    visit_out_of_window: VisitOutOfWindow
    mistyped_score: MistypedScore
    failed_library: FailedLibrary
    swapped_libraries: SwappedLibraries
    sex_mismatch: SexMismatch
    duplicated_row: DuplicatedRow
    bsa_over_limit: BsaOverLimit
    date_typo: DateTypo


class Calibrated(_Record):
    """The one seed and size whose totals are fitted to the publication instead of drawn."""

    seed: int
    patients: int
    baseline_total: tuple[int, ...]
    week12_total: tuple[int, ...]

    @model_validator(mode="after")
    def _has_a_total_per_patient(self) -> Self:
        for name, totals in (("baseline_total", self.baseline_total), ("week12_total", self.week12_total)):
            if len(totals) != self.patients:
                raise ValueError(
                    f"{name}: {len(totals)} values: one per patient, {self.patients}, is allowed"
                )
        return self


class Shipped(_Record):
    """What is simulated unless something else is asked for."""

    seed: int
    patients: int
    genes: int


class Assumptions(_Record):
    """Everything `simulation.toml` says, and the genes it names."""

    trial: Trial
    visit: tuple[Visit, ...] = Field(min_length=2)
    score: Score
    expression: Expression
    module: dict[str, Module]
    flaws: Flaws
    shipped: Shipped
    calibrated: Calibrated
    folder: Path

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        names = [visit.name for visit in self.visit]
        planted = self.flaws
        for key, visit in (
            ("visit_out_of_window", planted.visit_out_of_window.visit),
            ("mistyped_score", planted.mistyped_score.visit),
            ("failed_library", planted.failed_library.visit),
            ("swapped_libraries", planted.swapped_libraries.visit),
            ("duplicated_row", planted.duplicated_row.visit),
        ):
            if visit not in names:
                raise ValueError(f"flaws.{key}.visit: {visit!r}: allowed: {', '.join(names)}")
        columns = [item.column for item in self.score.item]
        if planted.mistyped_score.column not in columns:
            raise ValueError(
                f"flaws.mistyped_score.column: {planted.mistyped_score.column!r}:"
                f" allowed: {', '.join(columns)}"
            )
        if planted.mistyped_score.visit in (names[0], names[-1]):
            raise ValueError(
                f"flaws.mistyped_score.visit: {planted.mistyped_score.visit!r}:"
                f" the primary endpoint rests on it; allowed: {', '.join(names[1:-1])}"
            )
        swapped, failed = planted.swapped_libraries, planted.failed_library
        if swapped.visit not in (names[0], names[-1]):
            raise ValueError(
                f"flaws.swapped_libraries.visit: {swapped.visit!r}:"
                f" biopsies are taken at {names[0]} and {names[-1]}"
            )
        for subject in (swapped.subject, swapped.other):
            if subject in {planted.sex_mismatch.subject, failed.subject}:
                raise ValueError(
                    f"flaws.swapped_libraries: subject {subject}: must not carry a flaw of samples already"
                )
        return self

    def without_effects(self) -> Assumptions:
        """Return the null study: no gene differs in lesions, none changes on treatment or with the score.

        Modules stay correlated and patients stay recognisable, so that what finds something is wrong.
        """
        modules = {
            name: module.model_copy(update={"lesion": 0.0, "fall": 0.0, "fall_sd": 0.0})
            for name, module in self.module.items()
        }
        expression = self.expression.model_copy(update={"lesion_genes_fraction": 0.0})
        return self.model_copy(update={"module": modules, "expression": expression})

    def is_calibrated(self, *, seed: int, patients: int) -> bool:
        return (seed, patients) == (self.calibrated.seed, self.calibrated.patients)

    def genes(self) -> pl.DataFrame:
        """Return the genes that matter by name; the rest of the transcriptome is placeholders."""
        file = self.folder / self.expression.genes_file
        if not file.is_file():
            raise StudyError(
                f"{file}: no such file: expression.genes_file names a table beside simulation.toml"
            )
        table = pl.read_csv(
            file,
            separator="\t",
            schema_overrides={"chromosome": pl.String, "mean_log2": pl.Float64, "loading": pl.Float64},
        )
        if tuple(table.columns) != GENE_COLUMNS:
            raise StudyError(
                f"{file}: columns {', '.join(table.columns)}: allowed: {', '.join(GENE_COLUMNS)}"
            )
        unknown = sorted(set(table["module"].drop_nulls()) - self.module.keys())
        if unknown:
            raise StudyError(f"{file}: module {', '.join(unknown)}: allowed: {', '.join(self.module)}")
        return table


def read_assumptions(file: Path) -> Assumptions:
    """Read simulation.toml.

    Raises
    ------
    StudyError
        If it is missing, not TOML, or a key is unknown, missing or outside what is allowed.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StudyError(
            f"{file}: no such file: a study that can be simulated has a simulation.toml"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{file}: not a TOML file: {error}") from error
    try:
        return Assumptions.model_validate({**content, "folder": file.parent})
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
        raise StudyError("\n".join([f"{file}:", *lines])) from error
