"""One stage of one run: what it reads, what it has made so far, and what it will publish."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from expectations.suite import combine, find_suites
from tasks.fence import refuse_ended_run
from warehouse.errors import ExpectationFailed, LakeError, StudyError
from warehouse.identifying import Identifiers
from warehouse.lake import LAKE, STORE, as_json, open_lake, tables
from warehouse.lineage import code_version, content_of, digest, last_made
from warehouse.masking import mask_secrets, masking
from warehouse.meta import LEDGERS, study_tables
from warehouse.publish import SCHEMAS, Note, append, publish, replace
from warehouse.quoting import qualified
from warehouse.seal import refuse_damage
from warehouse.study import HOUSE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import polars as pl

    from expectations.suite import Suite
    from warehouse.lake import Store, Writer
    from warehouse.pseudonyms import Pseudonyms
    from warehouse.study import Study

log = logging.getLogger("trialhouse")

STAGE_SCHEMAS: Mapping[str, tuple[str, ...]] = {
    "ingest": ("raw",),
    "build": ("staging", "sdtm", "omics", "adam"),
    "analyze": ("results", "reports"),
}


# What a stage believes without making it anew: its files are checked before it begins.
READ_BY: Mapping[str, tuple[str, ...]] = {
    "ingest": ("meta",),
    "build": ("meta", "raw", *STAGE_SCHEMAS["build"]),
    "analyze": ("meta", *STAGE_SCHEMAS["build"], *STAGE_SCHEMAS["analyze"]),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One `trialhouse run`, or one stage called alone; with `again` it takes nothing for current."""

    run_id: str
    flow_run: str | None
    parameters: Mapping[str, object]
    again: bool = False


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage did: the version that now holds its tables, and whether this stage made it."""

    stage: str
    version: int
    is_new: bool
    message: str
    tables: tuple[str, ...]


class Stage:
    """The workbench of one stage: an in-memory DuckDB beside the lake.

    Tables are made and judged in memory; the lake is written once, at the end, by `publish`. A stage
    that is cancelled, killed or stopped by a gate has written nothing.
    """

    # A plain class, for the orchestrator looks into the fields of data classes that a task is given.
    def __init__(self, name: str, study: Study, writer: Writer, run: Run) -> None:
        connection = writer.connection
        self.name = name
        self.study = study
        self.writer = writer
        self.lake = writer.lake
        self.run = run
        self.connection = connection
        self.started_at = now()
        self.input_version = writer.version
        self.in_lake = tables(connection)
        self.identifiers = Identifiers(study, connection)
        self.pseudonyms: Pseudonyms | None = None
        self.last_made = {
            table: made
            for table, made in last_made(connection).items()
            if table in self.in_lake or table.startswith("raw.")
        }
        self.suites = suites_of(study)
        self.are_suites_checked = False
        self.content: dict[str, str] = {}
        self.provided: set[str] = set()
        self._frames: dict[tuple[str, str], pl.DataFrame] = {}
        self.ledgers: dict[str, list[dict[str, object]]] = defaultdict(list)
        self.stopped: dict[str, str] = {}
        self._writes: list[Callable[[Store], None]] = []
        self._changed: list[str] = []
        for schema in SCHEMAS:
            connection.execute(f"create schema if not exists {schema}")

    def is_current(self, table: str, fingerprint: str) -> bool:
        """Tell whether the lake holds this table, made from just the same things."""
        made = self.last_made.get(table)
        return not self.run.again and made is not None and made.fingerprint == fingerprint

    def read_from_lake(self, table: str) -> None:
        """Show a table of the lake, at the version that this stage reads, under its own name."""
        stored = qualified(f"{LAKE}.{table}")
        self.connection.execute(
            f"create or replace view {qualified(table)} as from {stored} at (version => {self.input_version})"
        )
        self.provided.add(table)
        if table in self.last_made:
            self.content[table] = self.last_made[table].content

    def frame(self, table: str) -> pl.DataFrame:
        """Return a provided table; the many analyses that read the largest table share one frame of it."""
        key = (table, self.content[table])
        if key not in self._frames:
            self._frames[key] = self.connection.sql(f"from {qualified(table)}").pl()
        return self._frames[key]

    def require(self, table: str) -> None:
        """Take a table of an earlier stage as it stands; it is shown only if something reads it."""
        if table not in self.in_lake:
            raise LakeError(
                f"{self.study.id}: {table} is not built yet: run `trialhouse build {self.study.id}`"
            )
        self.content[table] = self.last_made[table].content

    def made(
        self,
        table: str,
        fingerprint: str,
        inputs: Mapping[str, str],
        *,
        content: str | None = None,
        parameters: Mapping[str, object] | None = None,
        elsewhere: Mapping[str, tuple[str, int | None]] | None = None,
    ) -> int:
        """Record what a table was made from; return its number of rows.

        `content` is given where it is known without reading the rows; `elsewhere` are content and version of
        tables read in other lakes.
        """
        if content is None:
            content, rows = content_of(self.connection, table)
        else:
            (rows,) = self.connection.execute(f"select count(*) from {qualified(table)}").fetchone() or (0,)
        self.content[table] = content
        lineage = {
            "run_id": self.run.run_id,
            "target": table,
            "fingerprint": fingerprint,
            "content": content,
            "rows": rows,
            "parameters": as_json(parameters) if parameters is not None else None,
        }
        read: dict[str, tuple[str, int | None]] = {
            **{name: (inputs[name], self.input_version) for name in sorted(inputs)},
            **(elsewhere or {}),
        }
        self.ledgers["lineage"] += [
            {**lineage, "input": name, "input_content": hashed, "input_version": version}
            for name, (hashed, version) in read.items()
        ] or [lineage]
        return rows

    def will_replace(self, table: str, comment: str | None, columns: Mapping[str, str]) -> None:
        text = f"SIMULATED DATA. {comment or ''}".strip() if self.study.study.simulated else comment
        self._writes.append(lambda store: replace(store, table, text, columns))
        self._changed.append(table)

    def will_write(self, table: str, write: Callable[[Store], None]) -> None:
        self._writes.append(write)
        self._changed.append(table)

    def will_drop_all_but(self, kept: set[str]) -> None:
        """Drop the tables of this stage that nothing makes any more: a stale table misleads."""
        for table in sorted(self.in_lake - kept):
            if table.partition(".")[0] in STAGE_SCHEMAS[self.name]:
                self.will_write(
                    table,
                    lambda store, table=table: _drop(store, table),  # type: ignore[misc]
                )

    def provide_study_tables(self) -> None:
        """Make `meta.study`, `meta.visit` and so on from study.toml, for SQL models to read."""
        for name, frame in study_tables(self.study).items():
            table = f"meta.{name}"
            self.connection.register("study_frame", frame)
            self.connection.execute(f"create or replace table {qualified(table)} as from study_frame")
            self.connection.unregister("study_frame")
            content = digest(frame.to_dict(as_series=False))
            self.content[table] = content
            self.provided.add(table)
            if not self.is_current(table, content):
                self.made(table, content, {}, content=content)
                self.will_replace(table, f"study.toml as SQL models see it: {name}", {})

    def publish(self, message: str) -> StageResult:
        """Publish everything as one version, or say that there is nothing new."""
        if self.stopped:
            self._record_stop()
        if not self._changed and not any(self.ledgers.values()):
            return StageResult(self.name, self.input_version, is_new=False, message="unchanged", tables=())

        prepared = {name: list(rows) for name, rows in self.ledgers.items()}

        def write(store: Store) -> None:
            # A second attempt starts from the same ledgers: the steps below add to them.
            self.ledgers = defaultdict(list, {name: list(rows) for name, rows in prepared.items()})
            for step in self._writes:
                step(store)
            self._append_ledgers(store, "published", message)
            refuse_ended_run()

        version = publish(self.writer, write, self._note("published", message))
        return StageResult(self.name, version, is_new=True, message=message, tables=tuple(self._changed))

    def _record_stop(self) -> None:
        """Publish what failed and nothing else, then raise: the tables of the last version stand."""
        lines = [f"  {table}: {why}" for table, why in self.stopped.items()]
        message = f"{self.name} stopped by {', '.join(self.stopped)}: nothing published"
        for kept in ("quarantine", "correction", "lineage"):
            self.ledgers.pop(kept, None)
        publish(
            self.writer,
            lambda store: self._append_ledgers(store, "stopped", message),
            self._note("stopped", message),
        )
        raise ExpectationFailed(
            "\n".join(
                [
                    (
                        f"{self.study.id}: {self.name} stopped, nothing published;"
                        f" version {self.input_version} still answers:"
                    ),
                    *lines,
                    f"see `trialhouse checks {self.study.id}`",
                ]
            )
        )

    def _append_ledgers(self, store: Store, status: str, message: str) -> None:
        version = self.input_version + 1
        append(
            store,
            "run",
            [
                {
                    "run_id": self.run.run_id,
                    "stage": self.name,
                    "version": version,
                    "status": status,
                    "started_at": self.started_at,
                    "finished_at": now(),
                    "author": self.lake.settings.author,
                    "flow_run": self.run.flow_run,
                    "code_version": code_version(),
                    "parameters": mask_secrets(as_json(self.run.parameters)),
                    "input_version": self.input_version,
                    "message": message,
                }
            ],
        )
        for name, rows in self.ledgers.items():
            rows = self.identifiers.mask_rows(name, rows)  # noqa: PLW2901 - the same rows, to be seen
            if "version" in LEDGERS[name].columns:
                rows = [{**row, "version": version} for row in rows]  # noqa: PLW2901 - the same rows, placed
            append(store, name, rows)

    def _note(self, status: str, message: str) -> Note:
        return Note(
            self.lake.settings.author,
            message,
            {
                "stage": self.name,
                "status": status,
                "run_id": self.run.run_id,
                "flow_run": self.run.flow_run,
                "input_version": self.input_version,
                "code_version": code_version(),
                "parameters": {
                    name: mask_secrets(value) if isinstance(value, str) else value
                    for name, value in self.run.parameters.items()
                },
                "tables": self._changed if status == "published" else [],
            },
        )


@contextlib.contextmanager
def open_stage(name: str, study: Study, run: Run) -> Iterator[Stage]:
    """Open the study's lake for writing and a workbench beside it."""
    lake = open_lake(study.id)
    # Only the readers of ingest open delivered files; the SQL of a study must not.
    with lake.write(reads_files=name == "ingest") as writer:
        refuse_damage(lake, writer.version, READ_BY[name])
        stage = Stage(name, study, writer, run)
        with masking(stage.identifiers.mask):
            yield stage


def new_run_id() -> str:
    return f"{now():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def new_run(
    parameters: Mapping[str, object],
    flow_run: str | None = None,
    run_id: str | None = None,
    *,
    again: bool = False,
) -> Run:
    return Run(run_id or new_run_id(), flow_run, parameters, again)


def suites_of(study: Study) -> dict[str, Suite]:
    """Return the house's suites with the study's expectations added to them."""
    try:
        house = find_suites(HOUSE / "expectations")
        own = find_suites(study.folder / "expectations")
        return house | {
            table: combine(house[table], suite) if table in house else suite for table, suite in own.items()
        }
    except ValueError as error:
        raise StudyError(str(error)) from error


def now() -> datetime:
    """Return the time in UTC, as the lake's naive timestamps hold it."""
    return datetime.now(UTC).replace(tzinfo=None)


def _drop(store: Store, table: str) -> None:
    store.connection.execute(f"drop table if exists {qualified(f'{STORE}.{table}')}")
