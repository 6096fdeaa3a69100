"""The study folder: study.toml read and refused in terms of its own keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from warehouse.errors import StudyError
from warehouse.expression_plan import (
    ExcludedSample,
    Expression,
    ExpressionContrast,
    ExpressionDesign,
    ExpressionNetwork,
    GeneSetDifference,
)
from warehouse.toml_file import read_toml

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

HOUSE = Path(__file__).resolve().parent.parent

# Ids become names of folders, tables and PostgreSQL schemas, which end at 63 bytes.
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
# Folders beside the lakes, and schemas that PostgreSQL has; it keeps all that begin with pg_ for itself.
RESERVED = frozenset({"prefect", "server", "simulated", "public", "information_schema"})
Format = Literal["csv", "xpt", "dataset_json", "matrix", "star", "geo_series_matrix", "gmt"]
ColumnType = Literal["text", "integer", "number", "date", "datetime"]
Handling = Literal["keep", "drop", "pseudonymise", "no"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Identity(_Record):
    """Who the study is and where its files are.

    `data_root` is a folder relative to the study folder, or absolute; `home:...` starts at the folder of
    all lakes, `test-data:` at the folder of real public inputs.
    """

    id: Identifier
    title: str = Field(min_length=1)
    simulated: bool = False
    registry: str | None = None
    phase: str | None = None
    indication: str | None = None
    reference: str | None = None
    data_root: str = "."
    obtain: str | None = None

    @field_validator("id")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name in RESERVED or name.startswith("pg_"):
            raise ValueError(
                f"{name} cannot be the id of a study: the folder of all lakes or PostgreSQL uses the"
                " name itself"
            )
        return name

    @model_validator(mode="after")
    def _says_that_it_is_simulated(self) -> Self:
        if self.simulated and "simulated" not in self.title.lower():
            raise ValueError('a study with simulated = true must say "Simulated" in its title')
        return self


class Arm(_Record):
    """A planned arm; `dose` is TRT01PN, which orders the arms and is the scale of a dose response."""

    armcd: str
    arm: str
    dose: float | None = None


class Visit(_Record):
    """A planned visit: study days count from 1 on the first treatment day; there is no day 0."""

    avisit: str
    avisitn: float
    target_day: int
    window: tuple[int, int]
    baseline: bool = False

    @model_validator(mode="after")
    def _window_holds_target(self) -> Self:
        low, high = self.window
        if not low <= self.target_day <= high:
            raise ValueError(f"window {list(self.window)} does not hold target_day {self.target_day}")
        return self


class Score(_Record):
    """A score parameter: `better` says which direction is improvement.

    `visits` is the score's own plan of visits, where it differs from that of the study.
    """

    paramcd: str = Field(pattern=r"^[A-Z][A-Z0-9]{0,7}$")
    param: str
    unit: str = "points"
    range: tuple[float, float]
    better: Literal["lower", "higher"]
    primary: bool = False
    visits: tuple[Visit, ...] = ()

    @field_validator("visits")
    @classmethod
    def _is_a_plan(cls, visits: tuple[Visit, ...]) -> tuple[Visit, ...]:
        _refuse_repeated("visits.avisit", [visit.avisit for visit in visits])
        _refuse_repeated("visits.avisitn", [visit.avisitn for visit in visits])
        if visits and sum(visit.baseline for visit in visits) != 1:
            raise ValueError("exactly one of a score's visits must have baseline = true")
        return visits


class AeQuery(_Record):
    """Adverse events of special interest: PARAMCD of the time to the first of them, and what they are.

    An event belongs if its preferred term contains one of `contains`, or its system organ class is one of
    `soc` and its preferred term none of `excluding`; letter case does not count.
    """

    paramcd: str = Field(pattern=r"^[A-Z][A-Z0-9]{0,7}$")
    name: str = Field(min_length=1)
    contains: tuple[str, ...] = ()
    soc: tuple[str, ...] = ()
    excluding: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _finds_something(self) -> Self:
        if not (self.contains or self.soc):
            raise ValueError("contains or soc must name something")
        return self


class Design(_Record):
    kind: Literal["single-arm", "parallel-group"]
    visit_assignment: Literal["nominal", "window"] = "nominal"
    arms: tuple[Arm, ...] = ()
    visits: tuple[Visit, ...] = ()
    scores: tuple[Score, ...] = ()
    ae_queries: tuple[AeQuery, ...] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for name, values in (
            ("arms.armcd", [arm.armcd for arm in self.arms]),
            ("visits.avisit", [visit.avisit for visit in self.visits]),
            ("visits.avisitn", [visit.avisitn for visit in self.visits]),
            ("scores.paramcd", [score.paramcd for score in self.scores]),
            ("ae_queries.paramcd", [query.paramcd for query in self.ae_queries]),
        ):
            _refuse_repeated(name, values)
        doses = [arm.dose for arm in self.arms]
        if None in doses and any(dose is not None for dose in doses):
            raise ValueError("arms: either every arm has a dose or none")
        if self.visits and sum(visit.baseline for visit in self.visits) != 1:
            raise ValueError("visits: exactly one must have baseline = true")
        if self.scores and sum(score.primary for score in self.scores) != 1:
            raise ValueError("scores: exactly one must have primary = true")
        return self


Strategy = Literal["treatment policy", "hypothetical", "composite", "while on treatment", "principal stratum"]
Multiplicity = Literal["none", "bonferroni", "holm", "hochberg", "benjamini-hochberg", "fixed-sequence"]


class IntercurrentEvent(_Record):
    """What may happen after treatment began, and which ICH E9(R1) strategy meets it.

    `handling` says how the analysis carries the strategy out.
    """

    event: str = Field(min_length=1)
    strategy: Strategy
    handling: str | None = None


class Estimand(_Record):
    """What is estimated: in whom, of which variable, whatever happens in between, summarised how.

    `population` is an ADSL flag and `subgroup` narrows it by ADSL variables; `score`, `visit` and
    `variable` are PARAMCD, AVISIT and the ADaM variable; `imputation` is the DTYPE that stands in for a
    value not observed. `family` names the tests that are adjusted together.
    """

    id: Identifier
    title: str = Field(min_length=1)
    population: str = Field(pattern=r"^[a-z0-9]+fl$")
    subgroup: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], tuple[str, ...]] = {}
    treatment: Literal["trt01p", "trt01a"] = "trt01p"
    arms: tuple[str, ...] = ()
    reference: str | None = None
    score: str | None = None
    visit: str | None = None
    variable: Literal["aval", "chg", "pchg"] = "chg"
    imputation: Literal["observed", "LOCF", "BOCF", "NRI"] = "observed"
    intercurrent_events: tuple[IntercurrentEvent, ...] = ()
    summary: str = Field(min_length=1)
    family: Identifier | None = None

    @model_validator(mode="after")
    def _compares_with_an_arm_of_its_own(self) -> Self:
        if self.reference is not None and self.arms and self.reference not in self.arms:
            raise ValueError(f"reference {self.reference!r}: must be one of arms, {', '.join(self.arms)}")
        return self


class Family(_Record):
    """Tests that are adjusted together; a fixed sequence follows the order of the estimands."""

    method: Multiplicity
    description: str | None = None


class Source(_Record):
    """One kind of delivered file: a path or glob below the data root, landing in `raw.<name>`.

    `member` is a glob inside a zip. `columns` are those that must be present, with the type their
    text must convert to; a value that does not convert is recorded with file, row and column.
    `identifying` are columns that identify a person, and what becomes of their values: kept in raw alone,
    dropped, or pseudonymised; "no" denies what the name of a column suggests.
    """

    path: str = Field(min_length=1)
    format: Format
    member: str | None = None
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    encoding: str | None = None
    separator: Literal[",", ";", "\t", "|"] | None = None
    columns: dict[str, ColumnType] = {}
    identifying: dict[str, Handling] = {}
    description: str | None = None

    @field_validator("path")
    @classmethod
    def _stays_below_the_root(cls, path: str) -> str:
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise ValueError(f"path {path!r} must be relative to the data root and stay below it")
        if not path.isprintable():
            raise ValueError(f"path {path!a} must not hold control characters")
        return path


class Study(_Record):
    """A study as its folder describes it."""

    study: Identity
    design: Design
    sources: dict[Identifier, Source]
    estimands: tuple[Estimand, ...] = ()
    families: dict[Identifier, Family] = {}
    expression: Expression = Expression()
    analyses: dict[Identifier, dict[str, Any]] = {}
    folder: Path

    @model_validator(mode="after")
    def _names_what_there_is(self) -> Self:
        _refuse_repeated("estimands.id", [estimand.id for estimand in self.estimands])
        arms = [arm.arm for arm in self.design.arms]
        scores = {score.paramcd: score for score in self.design.scores}
        for estimand in self.estimands:
            place = f"estimands.{estimand.id}"
            for arm in (*estimand.arms, *filter(None, [estimand.reference])):
                _refuse_unknown(f"{place}: arm", arm, arms)
            if estimand.family is not None:
                _refuse_unknown(f"{place}: family", estimand.family, self.families)
            if estimand.score is not None:
                _refuse_unknown(f"{place}: score", estimand.score, scores)
                visits = scores[estimand.score].visits or self.design.visits
                if estimand.visit is not None:
                    _refuse_unknown(f"{place}: visit", estimand.visit, [visit.avisit for visit in visits])
        return self

    @property
    def id(self) -> str:
        return self.study.id


def find_studies() -> tuple[Path, ...]:
    """Return the folders of the studies that the house ships, by name."""
    return tuple(sorted(file.parent for file in (HOUSE / "studies").glob("*/study.toml")))


def load_study(study: str | Path) -> Study:
    """Load a study by its name under `studies/` or by the path of its folder.

    Raises
    ------
    StudyError
        If there is no such study, or study.toml does not say what it must; the message names the
        file, each wrong key and what is allowed there.
    """
    folder = _folder(study)
    file = folder / "study.toml"
    content = read_toml(folder, file.name)
    if "folder" in content:
        raise StudyError(f"{file}: folder: no such key; allowed: {_allowed(Study)}")
    try:
        return Study.model_validate(content | {"folder": folder})
    except ValidationError as error:
        raise StudyError("\n".join([f"{file}: {error.error_count()} wrong", *_explain(error)])) from error


def _refuse_repeated(name: str, values: Sequence[object]) -> None:
    texts = [str(value) for value in values]
    if repeated := sorted({text for text in texts if texts.count(text) > 1}):
        raise ValueError(f"{name}: {', '.join(repeated)} stands more than once; each must be unique")


def _refuse_unknown(what: str, name: str, allowed: Collection[str]) -> None:
    if name not in allowed:
        raise ValueError(f"{what} {name!r}: must be one of {', '.join(allowed) or 'none: none is declared'}")


def _folder(study: str | Path) -> Path:
    named = HOUSE / "studies" / str(study)
    if re.fullmatch(r"[a-z][a-z0-9_]*", str(study)) and (named / "study.toml").is_file():
        return named
    try:
        folder = Path(study).expanduser().resolve()
        str(folder).encode()
    except (RuntimeError, ValueError) as error:
        raise StudyError(f"study {str(study)!a}: cannot be the path of a folder: {str(error)!a}") from error
    if (folder / "study.toml").is_file():
        return folder
    if folder.is_dir():
        raise StudyError(f"study {str(study)!r}: the folder has no study.toml")
    names = ", ".join(path.name for path in find_studies())
    raise StudyError(f"study {str(study)!r}: no such study; known: {names}; or the path of a study folder")


def _explain(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"] if part != "[key]") or "study.toml"
        if problem["type"] == "extra_forbidden":
            owner = _record_at(problem["loc"][:-1])
            allowed = _allowed(owner) if owner else "see docs/study.md"
            lines.append(f"  {key}: no such key; allowed: {allowed}")
        elif problem["type"] == "missing":
            lines.append(f"  {key}: must be given")
        else:
            value = problem["input"]
            given = "" if isinstance(value, dict) else f": {value!r}"
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"  {key}{given}: {message}")
    return lines


def _record_at(path: tuple[int | str, ...]) -> type[BaseModel] | None:
    """Return the record that holds the key at this path, to list what it allows."""
    by_place: dict[tuple[str, ...], type[BaseModel]] = {
        (): Study,
        ("study",): Identity,
        ("design",): Design,
        ("design", "arms"): Arm,
        ("design", "visits"): Visit,
        ("design", "scores"): Score,
        ("design", "scores", "visits"): Visit,
        ("design", "ae_queries"): AeQuery,
        ("estimands",): Estimand,
        ("estimands", "intercurrent_events"): IntercurrentEvent,
        ("expression",): Expression,
        ("expression", "designs"): ExpressionDesign,
        ("expression", "contrasts"): ExpressionContrast,
        ("expression", "gene_set_differences"): GeneSetDifference,
        ("expression", "networks"): ExpressionNetwork,
        ("expression", "exclude_samples"): ExcludedSample,
    }
    names = tuple(part for part in path if isinstance(part, str))
    if names[:1] == ("families",):
        return Family
    if names[:1] == ("sources",):
        return Source
    return by_place.get(names)


def _allowed(record: type[BaseModel]) -> str:
    return ", ".join(name for name in record.model_fields if name != "folder")
