"""Corrections of source errors: declared in corrections.toml, applied between raw and staging, audited."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from warehouse.errors import StudyError
from warehouse.quoting import identifier, qualified
from warehouse.toml_file import read_toml

if TYPE_CHECKING:
    import duckdb

    from warehouse.study import Study


class Correction(BaseModel):
    """One error of the source: the rows it is in, the value that is right, and who says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    source: str
    match: Annotated[dict[str, str], Field(min_length=1)]
    column: str
    value: str
    reason: str = Field(min_length=1)
    evidence: str = Field(min_length=1)
    status: Literal["confirmed", "proposed"]
    expect: int = Field(ge=1)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    correction: tuple[Correction, ...] = ()


def load_corrections(study: Study) -> tuple[Correction, ...]:
    """Read corrections.toml; none is fine.

    Raises
    ------
    StudyError
        If the file is wrong, an id stands twice, or a source is not of this study.
    """
    file = study.folder / "corrections.toml"
    if not os.path.lexists(file):
        return ()
    content = read_toml(study.folder, file.name)
    try:
        corrections = _File.model_validate(content).correction
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            f" (allowed keys: {', '.join((Correction if len(problem['loc']) > 1 else _File).model_fields)})"
            for problem in error.errors()
        ]
        raise StudyError("\n".join([f"{file}:", *lines])) from error
    seen: set[str] = set()
    for correction in corrections:
        if correction.id in seen:
            raise StudyError(f"{file}: {correction.id}: two corrections have this id")
        seen.add(correction.id)
        if correction.source not in study.sources:
            raise StudyError(
                f"{file}: {correction.id}: source {correction.source!r}: allowed: {', '.join(study.sources)}"
            )
    return corrections


def apply(
    connection: duckdb.DuckDBPyConnection, relation: str, corrections: tuple[Correction, ...]
) -> list[dict[str, object]]:
    """Apply the confirmed corrections to a table of text; return one audit row per row matched.

    Raises
    ------
    StudyError
        If a correction names a column that is not there, or matches more or fewer rows than it
        expects: the source may have been mended, and the correction is then to be withdrawn.
    """
    target = qualified(relation)
    columns = [name for name, *_ in connection.execute(f"describe {target}").fetchall()]
    audit: list[dict[str, object]] = []
    for correction in corrections:
        for name in (*correction.match, correction.column):
            if name not in columns:
                delivered = ", ".join(column for column in columns if not column.startswith("_"))
                raise StudyError(
                    f"corrections.toml: {correction.id}: column {name!r}:"
                    f" source {correction.source} has {delivered}"
                )
        condition = " and ".join(f"{identifier(name)} = ?" for name in correction.match)
        values = list(correction.match.values())
        rows = connection.execute(
            f"select _source_file, _source_row, {identifier(correction.column)}"
            f" from {target} where {condition}",
            values,
        ).fetchall()
        if len(rows) != correction.expect:
            found = ", ".join(f"{file} row {row}" for file, row, _ in rows) or "none"
            raise StudyError(
                f"corrections.toml: {correction.id}: matches {len(rows)} rows of {correction.source}"
                f" ({found}), {correction.expect} expected:"
                " is the source mended? then withdraw the correction"
            )
        is_confirmed = correction.status == "confirmed"
        if is_confirmed:
            connection.execute(
                f"update {target} set {identifier(correction.column)} = ? where {condition}",
                [correction.value, *values],
            )
        audit += [
            {
                "correction_id": correction.id,
                "source": correction.source,
                "column_name": correction.column,
                "old_value": old,
                "new_value": correction.value if is_confirmed else None,
                "reason": correction.reason,
                "evidence": correction.evidence,
                "status": correction.status,
                "source_file": file,
                "source_row": row,
            }
            for file, row, old in rows
        ]
    return audit
