"""SQL models: one SELECT per file, path = schema/table; the order is read from the SQL itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import duckdb

from warehouse.errors import ModelError
from warehouse.meta import STUDY_TABLES
from warehouse.quoting import identifier
from warehouse.select_guard import LAYERS, MAX_CHARACTERS, MODEL, RefusedSelectError, check_select
from warehouse.study import HOUSE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from warehouse.study import Study

# raw is landed and results are computed: no SELECT makes their tables.
MODELLED = ("staging", "sdtm", "omics", "adam", "reports")
HEADER_KEYS = ("grain", "unit", "null", "replaces", "optional")
OPTIONAL_TYPES = ("bigint", "boolean", "date", "double", "integer", "time", "timestamp", "varchar")


@dataclass(frozen=True, slots=True)
class Model:
    """One SELECT: the table it makes, the tables it reads, and what its header says of them."""

    table: str
    file: Path
    select: str
    reads: frozenset[str]
    is_house: bool
    comment: str
    column_comments: Mapping[str, str]
    replaces: str | None
    # Tables that not every study makes, with their columns in SQL: where absent they are read as empty.
    optional: Mapping[str, str]

    @property
    def schema(self) -> str:
        return self.table.partition(".")[0]

    @property
    def place(self) -> str:
        """Name the file as its reader knows it: below the house or below the study folder."""
        return f"sql/{self.table.replace('.', '/')}.sql"


@dataclass(frozen=True, slots=True)
class Plan:
    """The models that can run, in order, and those of the house that cannot, with the reason."""

    models: tuple[Model, ...]
    skipped: Mapping[str, str]

    def made(self, *schemas: str) -> tuple[Model, ...]:
        return tuple(model for model in self.models if model.schema in schemas)


def plan(
    study: Study,
    contract: Collection[str],
    results: Collection[str] = (),
    judged_by: Mapping[str, Collection[str]] | None = None,
) -> Plan:
    """Collect the house's and the study's models and put them in order.

    Parameters
    ----------
    study
        Its folder's `sql/` is read beside the house's.
    contract
        Every table name that the house knows, whether or not this study fills it.
    results
        The result tables that this study's analyses fill.
    judged_by
        For a table, those that its suite compares it with: they are made before it.

    Raises
    ------
    ModelError
        For a file that is not one SELECT, a table made twice, an unknown table, a layer read from
        the right, or a cycle.
    """
    house = _collect(HOUSE / "sql", is_house=True)
    own = _collect(study.folder / "sql", is_house=False)
    for table in sorted(house.keys() & own.keys()):
        if own[table].replaces is None:
            raise ModelError(
                f"{own[table].file}: the house has a model {table} already: a study adds and does not"
                " silently replace; to replace it say why in the header: `-- replaces: <why>`"
            )
    for table in sorted(own.keys() - house.keys()):
        if own[table].replaces is not None:
            raise ModelError(f"{own[table].file}: replaces {table}, but the house has no such model")
    models = house | own
    given = {f"raw.{source}" for source in study.sources} | set(results)
    known = given | set(models) | set(contract)
    skipped: dict[str, str] = {}
    ordered: list[Model] = []
    for table in _order(models, judged_by or {}):
        model = models[table]
        _refuse_unknown(model, known, given)
        made = {earlier.table for earlier in ordered}
        missing = sorted(model.reads - model.optional.keys() - given - made - _meta(model))
        if not missing:
            ordered.append(model)
        elif model.is_house:
            skipped[table] = f"the study has no {', '.join(missing)}"
        else:
            raise ModelError(f"{model.file}: reads {', '.join(missing)}, which this study does not make")
    return Plan(tuple(ordered), skipped)


def _meta(model: Model) -> set[str]:
    return {table for table in model.reads if table.startswith("meta.")}


def _refuse_unknown(model: Model, known: Collection[str], given: Collection[str]) -> None:
    for table in sorted(model.reads):
        schema = table.partition(".")[0]
        if schema == "meta":
            if table not in STUDY_TABLES:
                raise ModelError(f"{model.file}: unknown table {table}: allowed: {', '.join(STUDY_TABLES)}")
            continue
        if table not in known and table not in model.optional:
            candidates = sorted(name for name in known if name.startswith(f"{schema}."))
            allowed = ", ".join(candidates) or f"nothing in {schema}"
            raise ModelError(f"{model.file}: unknown table {table}: allowed: {allowed}")
        if schema == "raw" and table not in given and not model.is_house:
            raise ModelError(f"{model.file}: {table}: study.toml has no such source")
        if LAYERS.index(schema) > LAYERS.index(model.schema):
            raise ModelError(f"{model.file}: {model.table} reads {table}: a layer reads only to its left")


def _order(models: Mapping[str, Model], judged_by: Mapping[str, Collection[str]]) -> Sequence[str]:
    graph = {
        table: sorted((model.reads | {*judged_by.get(table, ())}) & models.keys() - {table})
        for table, model in sorted(models.items())
    }
    try:
        return tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        cycle = " -> ".join(reversed(error.args[1]))
        raise ModelError(f"the SQL models read each other in a cycle: {cycle}") from error


def _collect(folder: Path, *, is_house: bool) -> dict[str, Model]:
    # An installer may link the files of the house.
    for path in () if is_house else (folder, *sorted(folder.rglob("*"))):
        if path.is_symlink():
            raise ModelError(
                f"{path}: is a link: a model is a file of its own folder, so that it is what it seems"
            )
    models = {}
    for file in sorted(folder.glob("**/*.sql")):
        parts = file.relative_to(folder).with_suffix("").parts
        if len(parts) != 2 or parts[0] not in MODELLED or not re.fullmatch(r"[a-z][a-z0-9_]*", parts[1]):  # noqa: PLR2004
            raise ModelError(
                f"{file}: a model lies at sql/<schema>/<table>.sql with schema one of {', '.join(MODELLED)}"
            )
        table = ".".join(parts)
        models[table] = read_model(file, table, is_house=is_house)
    return models


def read_model(file: Path, table: str, *, is_house: bool) -> Model:
    """Read one file: its header comment, its SELECT and the tables that the SELECT reads."""
    text = _read_text(file)
    try:
        reads = check_select(text, MODEL)
    except RefusedSelectError as error:
        raise ModelError(f"{file}: {error}") from error
    except duckdb.Error as error:
        raise ModelError(f"{file}: not SQL: {error}") from error
    header = _header(file, text)
    if unread := sorted(header.optional.keys() - reads):
        raise ModelError(f"{file}: optional: {', '.join(unread)}: the SELECT does not read it")
    if table in reads:
        raise ModelError(f"{file}: {table} reads itself")
    return Model(
        table=table,
        file=file,
        select=text.strip().rstrip(";"),
        reads=reads,
        is_house=is_house,
        comment=header.comment,
        column_comments=header.columns,
        replaces=header.replaces,
        optional=header.optional,
    )


def _read_text(file: Path) -> str:
    if not file.is_file():
        raise ModelError(f"{file}: is not a file: a model is a text file")
    try:
        with file.open(encoding="utf-8") as opened:
            # One more than is allowed is enough to be refused.
            return opened.read(MAX_CHARACTERS + 1)
    except UnicodeDecodeError as error:
        raise ModelError(f"{file}: byte {error.start}: the file is not UTF-8") from error
    except OSError as error:
        raise ModelError(f"{file}: cannot be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class _Header:
    comment: str
    columns: Mapping[str, str]
    replaces: str | None
    optional: Mapping[str, str]


def _header(file: Path, text: str) -> _Header:
    """Read what the leading `--` lines say: a sentence, then `key: text` lines."""
    columns = {}
    about: list[str] = []
    replaces = None
    optional = {}
    for line in _header_lines(text):
        if found := re.match(r"column\s+(\w+):\s*(.*)", line):
            columns[found[1].lower()] = found[2]
        elif line.startswith("replaces:"):
            replaces = line.removeprefix("replaces:").strip()
        elif line.startswith("optional:"):
            table, columns_in_sql = _optional(file, line)
            optional[table] = columns_in_sql
        else:
            about.append(line)
    if not any(line.startswith("grain:") for line in about):
        raise ModelError(f"{file}: the header comment must say the grain: `-- grain: one row per ...`")
    return _Header("\n".join(about), columns, replaces, optional)


def _optional(file: Path, line: str) -> tuple[str, str]:
    """Return the table that may be absent, and its columns in SQL."""
    shape = re.fullmatch(r"optional:\s*(\w+\.\w+)\s*\(([\w\s,]+)\)", line, re.ASCII)
    if shape is None:
        raise ModelError(f"{file}: {line}: it is `optional: schema.table (column type, ...)`")
    columns: dict[str, str] = {}
    for column in shape[2].split(","):
        name, _, kind = " ".join(column.split()).lower().partition(" ")
        if not name or name in columns or kind not in OPTIONAL_TYPES:
            raise ModelError(
                f"{file}: {line}: {column.strip()!r}: each column is named once, as `name type`;"
                f" the type is one of {', '.join(OPTIONAL_TYPES)}"
            )
        columns[name] = f"{identifier(name)} {kind}"
    return shape[1].lower(), ", ".join(columns.values())


def _header_lines(text: str) -> list[str]:
    """Return the leading comment, a line for each key; a line without a key continues the one before."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("--"):
            break
        content = line[2:].strip()
        is_key = re.match(rf"({'|'.join(HEADER_KEYS)}|column\s+\w+):", content)
        if lines and content and not is_key:
            lines[-1] += f" {content}"
        elif content:
            lines.append(content)
    return lines
