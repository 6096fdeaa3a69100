"""Suites of expectations: JSON data, read and refused in terms of its own keys."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from expectations import great

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

Severity = Literal["critical", "set_aside", "warning"]


class SuiteError(ValueError):
    """A suite cannot be read or judged: which suite, which expectation, what is allowed."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Expectation(_Record):
    """One rule, in the words of Great Expectations, and what its failing means."""

    type: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    kwargs: dict[str, Any]
    severity: Severity
    notes: str = Field(min_length=1)

    def __str__(self) -> str:
        """Name the rule as a message does: its type, the columns that it reads, the rows that it looks at."""
        columns = ", ".join(named_columns(self.kwargs))
        condition = self.kwargs.get("row_condition")
        return f"{self.type}({columns})" + (f" where {condition}" if condition else "")


class Suite(_Record):
    """All rules of one table; `columns` says what each column means, where no SQL header does.

    `extends` names the suite of the same folder whose columns and rules hold here too, for tables of one
    shape.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$")
    notes: str = Field(min_length=1)
    extends: str | None = None
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
    return tuple(single + list(kwargs.get("column_list", ())))


def referenced_table(kwargs: dict[str, Any]) -> tuple[str, str] | None:
    """Return the table and column that fill the value set, or None where the set is written out."""
    value_set = kwargs.get("value_set")
    return (value_set["table"], value_set["column"]) if isinstance(value_set, dict) else None


def load_suite(path: Path) -> Suite:
    """Read one suite; its name must be that of its path, schema.table."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise SuiteError(f"{path}: line {error.lineno}, column {error.colno}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise SuiteError(f"{path}: byte {error.start}: the file is not UTF-8") from error
    try:
        suite = Suite.model_validate(content)
    except ValidationError as error:
        raise SuiteError("\n".join(_messages(path, error))) from error
    expected = f"{path.parent.name}.{path.stem}"
    if suite.name != expected:
        raise SuiteError(f"{path}: name: {suite.name!r}: a suite bears the name of its path, {expected!r}")
    for position, expectation in enumerate(suite.expectations):
        _check_value_set(path, position, expectation)
    return suite


def find_suites(folder: Path) -> dict[str, Suite]:
    """Read every suite below the folder, `<schema>/<table>.json`, by name."""
    suites = {suite.name: suite for suite in map(load_suite, sorted(folder.glob("*/*.json")))}
    return {name: _extended(suite, suites, folder) for name, suite in suites.items()}


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
    """Refuse every expectation whose type or arguments Great Expectations does not know.

    Great Expectations drops a misspelt type without a word and calls the rest a success, so each type is
    looked up before anything is judged.
    """
    for expectation in suite.expectations:
        _check_type(suite, expectation)


def _check_type(suite: Suite, expectation: Expectation) -> None:
    known = great.known_types()
    if expectation.type not in known:
        raise SuiteError(
            f"suite {suite.name}: {expectation.type}: Great Expectations has no such expectation"
            f"{_near(expectation.type, known)}"
        )
    arguments = great.arguments(expectation.type)
    for key in expectation.kwargs:
        if key not in arguments:
            raise SuiteError(
                f"suite {suite.name}: {expectation.type}: it takes no argument {key!r}"
                f"{_near(key, arguments)}; allowed: {', '.join(sorted(arguments))}"
            )
    if expectation.kwargs.get("row_condition") and expectation.kwargs.get("condition_parser") != "pandas":
        raise SuiteError(
            f'suite {suite.name}: {expectation}: row_condition needs "condition_parser": "pandas" beside it'
        )
    if expectation.severity == "set_aside":
        if not great.is_row_level(expectation.type):
            raise SuiteError(
                f"suite {suite.name}: {expectation}: set_aside needs an expectation that judges single rows"
            )
        if "mostly" in expectation.kwargs:
            raise SuiteError(
                f"suite {suite.name}: {expectation}: mostly has no meaning with set_aside: each row is judged"
            )


def _check_value_set(path: Path, position: int, expectation: Expectation) -> None:
    value_set = expectation.kwargs.get("value_set")
    if not isinstance(value_set, dict):
        return
    texts = all(isinstance(value, str) for value in value_set.values())
    if set(value_set) != {"table", "column"} or not texts or value_set["table"].count(".") != 1:
        raise SuiteError(
            f"{path}: expectations[{position}].kwargs.value_set: {json.dumps(value_set)}: a list of values, "
            'or {"table": "schema.table", "column": "name"}'
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
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"])
        given = "" if detail["type"] == "missing" else f" {json.dumps(detail['input'], default=str)[:80]}:"
        messages.append(f"{path}: {key.lstrip('.') or 'the file'}:{given} {detail['msg']}")
    return messages


def _near(name: str, known: Collection[str]) -> str:
    matches = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
