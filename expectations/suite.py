"""Suites of expectations: JSON data, read and refused in terms of its own keys."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from expectations.json_file import JsonFileError, read_json
from expectations.vocabulary import ALLOWED, find_fault, plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NAME = re.compile(r"[a-z][a-z0-9_]*")
Severity = Literal["critical", "set_aside", "warning"]


class SuiteError(ValueError):
    """A suite cannot be read or judged: which suite, which expectation, what is allowed."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expectation(_Record):
    """One rule, in the words of Great Expectations, and what its failing means."""

    type: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)
    kwargs: dict[str, Any]
    severity: Severity
    notes: str = Field(min_length=1)

    @field_validator("kwargs")
    @classmethod
    def _without_parser(cls, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Drop what older suites say beside a condition: there is one grammar, and it needs no name."""
        return {key: value for key, value in kwargs.items() if (key, value) != ("condition_parser", "pandas")}

    def __str__(self) -> str:
        """Name the rule as a message does: its type, the columns that it reads, the rows that it looks at."""
        columns = ", ".join(plain(str(column)) for column in named_columns(self.kwargs))
        condition = self.kwargs.get("row_condition")
        return f"{self.type}({columns})" + (f" where {condition}" if condition else "")


class Suite(_Record):
    """All rules of one table; `columns` says what each column means, where no SQL header does.

    `extends` names the suite of the same folder whose columns and rules hold here too, for tables of one
    shape.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$", max_length=200)
    notes: str = Field(min_length=1)
    extends: str | None = Field(default=None, max_length=200)
    columns: dict[str, str] = {}
    expectations: tuple[Expectation, ...]

    @field_validator("expectations")
    @classmethod
    def _none_twice(cls, expectations: tuple[Expectation, ...]) -> tuple[Expectation, ...]:
        if repeated := _repeated(expectations):
            raise ValueError(f"{'; '.join(map(str, repeated))}: twice with the same kwargs: once is enough")
        return expectations


def named_columns(kwargs: dict[str, Any]) -> tuple[str, ...]:
    """Return the columns that the arguments of an expectation name, without those of its row condition."""
    single = [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs]
    listed = kwargs.get("column_list")
    return tuple(single + (list(listed) if isinstance(listed, list | tuple) else []))


def referenced_table(kwargs: dict[str, Any]) -> tuple[str, str] | None:
    """Return the table and column that fill the value set, or None where the set is written out."""
    value_set = kwargs.get("value_set")
    return (value_set["table"], value_set["column"]) if isinstance(value_set, dict) else None


def load_suite(path: Path) -> Suite:
    """Read one suite; its name must be that of its path, schema.table."""
    try:
        suite = Suite.model_validate(read_json(path))
    except JsonFileError as error:
        raise SuiteError(str(error)) from error
    except ValidationError as error:
        raise SuiteError("\n".join(_messages(path, error))) from error
    expected = f"{path.parent.name}.{path.stem}"
    if suite.name != expected:
        raise SuiteError(f"{path}: name: {suite.name!r}: a suite bears the name of its path, {expected!r}")
    for position, expectation in enumerate(suite.expectations):
        _check(f"{path}: expectations[{position}]", expectation)
    return suite


def find_suites(folder: Path) -> dict[str, Suite]:
    """Read every suite below the folder, `<schema>/<table>.json`, by name."""
    paths = sorted(folder.glob("*/*.json"))
    for path in paths:
        _check_place(path, folder)
    suites = {suite.name: suite for suite in map(load_suite, paths)}
    return {name: _extended(suite, suites, folder) for name, suite in suites.items()}


def _check_place(path: Path, folder: Path) -> None:
    """Refuse a file that lies elsewhere, behind a link, or whose name could not be that of a table."""
    if not all(_NAME.fullmatch(part) for part in (path.parent.name, path.stem)):
        raise SuiteError(
            f"{folder}: {f'{path.parent.name}/{path.name}'!r}: a suite is <schema>/<table>.json in lower-case"
            " letters, digits and _"
        )
    try:
        # The parent is the study's folder, or the house.
        is_inside = path.resolve().is_relative_to(folder.parent.resolve())
    except (OSError, RuntimeError):  # a link that leads to itself
        is_inside = False
    if not is_inside:
        raise SuiteError(f"{path}: a link to elsewhere: a suite lies in {folder.parent}")


def _extended(suite: Suite, suites: Mapping[str, Suite], folder: Path) -> Suite:
    """Return the suite with the columns and rules of the one that it extends before its own."""
    if suite.extends is None:
        return suite
    base = suites.get(suite.extends)
    if base is None or base.extends is not None:
        raise SuiteError(
            f"{folder}: {suite.name}: extends {suite.extends!r}: it must be a suite of this folder that"
            " extends none itself"
        )
    if repeated := _repeated((*base.expectations, *suite.expectations)):
        rules = "; ".join(map(str, repeated))
        raise SuiteError(f"{folder}: {suite.name}: {rules}: in {base.name} already; once is enough")
    return suite.model_copy(
        update={
            "columns": {**base.columns, **suite.columns},
            "expectations": base.expectations + suite.expectations,
        }
    )


def combine(house: Suite, study: Suite) -> Suite:
    """Add the study's rules to those of the house; a study neither repeats nor softens a rule."""
    if house.name != study.name:
        raise SuiteError(f"suite {study.name}: it cannot be added to {house.name}: the names must be equal")
    if repeated := _repeated((*house.expectations, *study.expectations)):
        rules = "; ".join(map(str, repeated))
        raise SuiteError(f"suite {study.name}: {rules}: in the house suite already; a study only adds")
    return house.model_copy(
        update={
            "notes": f"{house.notes} {study.notes}",
            "columns": {**house.columns, **study.columns},
            "expectations": house.expectations + study.expectations,
        }
    )


def check_types(suite: Suite) -> None:
    """Refuse every expectation that is not in the vocabulary of suites, or whose arguments are not."""
    for expectation in suite.expectations:
        _check(f"suite {suite.name}", expectation)


def _check(where: str, expectation: Expectation) -> None:
    if fault := find_fault(expectation.type, expectation.kwargs):
        raise SuiteError(f"{where}: {expectation.type}: {fault}")
    if expectation.severity == "set_aside":
        if not ALLOWED[expectation.type].is_row_level:
            raise SuiteError(
                f"{where}: {expectation}: set_aside needs an expectation that judges single rows"
            )
        if "mostly" in expectation.kwargs:
            raise SuiteError(
                f"{where}: {expectation}: mostly has no meaning with set_aside: each row is judged"
            )


def _repeated(expectations: tuple[Expectation, ...]) -> list[Expectation]:
    seen: set[str] = set()
    repeated = []
    for expectation in expectations:
        identity = json.dumps([expectation.type, expectation.kwargs], sort_keys=True, default=str)
        if identity in seen:
            repeated.append(expectation)
        seen.add(identity)
    return repeated


def _messages(path: Path, error: ValidationError) -> list[str]:
    messages = []
    for detail in error.errors():
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{plain(part)}" for part in detail["loc"])
        given = "" if detail["type"] == "missing" else f" {json.dumps(detail['input'], default=str)[:80]}:"
        messages.append(f"{path}: {key.lstrip('.') or 'the file'}:{given} {detail['msg']}")
    return messages
