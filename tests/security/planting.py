"""Fifty identifiers to plant in a delivery, and the search for them in all that was written and said."""

from __future__ import annotations

import base64
import contextlib
import csv
import html
import json
import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import polars as pl

from warehouse.connection import connect_scanner
from warehouse.quoting import literal
from warehouse.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PLANTED_STUDY = Path(__file__).parent / "planted_study"
PEOPLE = (
    # name, e-mail, birth date, telephone, label
    (
        "Anna-Maria Müller-Lüdenscheidt",
        "anna.maria@planted.example",
        "1957-03-04",
        "+49 30 5550101",
        "KH/77812-A",
    ),
    ("Séamus O'Brien", "seamus_obrien@planted.example", "1961-12-24", "0171-5550102", "KH/77813-B"),
    ('Smith, John "Jack"', "j.smith+trial@planted.example", "31.02.1958", "(030) 5550103", "KH/77814-C"),
    ("Łukasz Żółciński", "lukasz@planted.example", "04.03.1963", "+48 22 555 01 04", "KH/77815-D"),
    ("Nguyễn Thị Minhkhai", "minhkhai@planted.example", "1949-07-30", "5550105", "KH/77816-E"),
    ("王小明 Wangxiao", "wangxiao@planted.example", "1971-01-09", "+86 10 5550106", "KH/77817-F"),
    ("Ludwig van Beethovensohn", "ludwig@planted.example", "1970-12-17", "0228 5550107", "KH/77818-G"),
    ("Zoë Quackenbush", "zoe.q@planted.example", "1988-08-08", "555-0108-77", "KH/77819-H"),
    ("Þórr Björnsdóttir", "thorr@planted.example", "1955-05-05", "+354 5550109", "KH/77820-I"),
    ("Marguerite D'Arcy; jr.", "m.darcy@planted.example", "1966-06-16", "004455550110", "KH/77821-J"),
)
HEADER = ("SUBJID", "PatientName", "e-mail", "Geburtsdatum", "PHONE", "LABEL", "AGE", "STATUS")
PLANTED = [text for person in PEOPLE for text in person]
# What SQL and corrections make of them, or bring.
DERIVED = [
    "Beethovensohn", "Quackenbush", "BEETHOVENSOHN", "LUDWIG@PLANTED.EXAMPLE", "49305550101", "1963-03-04",
    "1963-04-03", "corrected.address", "Someone Corrected",
]  # fmt: skip


def deliver(folder: Path, *, status: str = "", is_ragged: bool = False) -> Path:
    """Write a delivery, with each person's identifiers also where nobody expects them."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "people.csv").open("w", encoding="utf-8", newline="") as file:
        write = csv.writer(file)
        write.writerow(HEADER)
        for number, person in enumerate(PEOPLE, start=1):
            # A name has slipped into the age of one.
            age = person[0] if number == 5 else 40 + number
            row = [f"S{number:02}", *person, age, status]
            write.writerow([*row, *person] if is_ragged and number == 4 else row)
        write.writerow(["S01", *PEOPLE[0], 41, status])
    with (folder / "visits.csv").open("w", encoding="utf-8", newline="") as file:
        write = csv.writer(file)
        write.writerow(("SUBJID", "VISIT", "REMARK"))
        for number, (name, mail, born, phone, label) in enumerate(PEOPLE, start=1):
            write.writerow(
                (f"S{number:02}", "WEEK 1", f"{label}: call {name}, born {born}, {phone} or {mail}")
            )
    return folder


def forms(text: str) -> set[bytes]:
    """Return a text as programs write it."""
    found = {
        text,
        text.lower(),
        text.upper(),
        quote(text, safe=""),
        quote(text),
        html.escape(text),
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        repr(text)[1:-1],
        text.replace("'", "''"),
        text.encode().hex(),
    }
    encoded = {form.encode() for form in found} | {text.encode("utf-16-le"), text.encode("utf-16-be")}
    # In base64 a text has three forms, by where it begins; its first and last letters depend on neighbours.
    for shift in range(3):
        inner = base64.b64encode(b"\0" * shift + text.encode())
        encoded.add(inner[4 if shift else 0 : -4])
    return {form for form in encoded if len(form) > 6}


NEEDLES = {form: text for text in (*PLANTED, *DERIVED) for form in forms(text)}


def found_in(content: bytes, needles: dict[bytes, str]) -> set[str]:
    return {text for form, text in needles.items() if form in content}


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Return what lies in a folder, packed content unpacked, without what belongs to raw."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(file.relative_to(folder))
        if "/raw/" in f"/{name}":
            continue
        if not file.name.startswith("catalog."):  # there raw is told from the rest by its tables
            content = file.read_bytes()
            yield name, content
            # Prefect keeps errors as pickles in base64, with line breaks in between.
            with contextlib.suppress(ValueError):
                yield f"{name} decoded", base64.b64decode(b"".join(content.split()), validate=True)
        if file.suffix == ".parquet":
            yield name, pl.read_parquet(file).write_ndjson().encode()
        if file.suffix in {".sqlite", ".db"}:
            with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
                yield from tables_of(
                    name, lambda query, database=database: database.execute(query).fetchall()
                )


def tables_of(name: str, ask: Callable[[str], list[tuple[Any, ...]]]) -> Iterator[tuple[str, bytes]]:
    """Return each table of a SQLite database as bytes, without what a DuckLake catalog holds of raw."""
    present = [table for (table,) in ask("select name from sqlite_master where type = 'table'")]
    raw: set[int] = set()
    if "ducklake_table" in present:
        raw = {
            number
            for (number,) in ask(
                "select table_id from ducklake_table join ducklake_schema using (schema_id)"
                " where schema_name = 'raw'"
            )
        }
    for table in present:
        inlined = re.match(r"ducklake_inlined_\w+?_(\d+)", table)
        if inlined and int(inlined[1]) in raw:
            continue
        columns = [column[1] for column in ask(f'pragma table_info("{table}")')]
        rows = ask(f'select * from "{table}"')
        if "table_id" in columns:
            rows = [row for row in rows if row[columns.index("table_id")] not in raw]
        yield f"{name}:{table}", as_bytes(rows)


def tables_of_postgres(address: str) -> Iterator[tuple[str, bytes]]:
    """Return each table of a PostgreSQL database as bytes, without what a DuckLake catalog holds of raw."""
    with contextlib.closing(connect_scanner(Settings(catalog=f"postgres:{address}"))) as connection:
        connection.execute(f"attach {literal(address)} as server (type postgres, read_only)")
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'server'"
            " and schema_name not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        raw = {
            (schema, number)
            for schema, table in tables
            if table == "ducklake_table"
            for (number,) in connection.execute(
                f"select table_id from server.{schema}.ducklake_table join server.{schema}.ducklake_schema"
                " using (schema_id) where schema_name = 'raw'"
            ).fetchall()
        }
        for schema, table in tables:
            inlined = re.match(r"ducklake_inlined_\w+?_(\d+)", table)
            if inlined and (schema, int(inlined[1])) in raw:
                continue
            rows = connection.execute(f"from server.{schema}.{table}")
            columns = [column[0] for column in rows.description or ()]
            at = columns.index("table_id") if "table_id" in columns else None
            kept = [row for row in rows.fetchall() if at is None or (schema, row[at]) not in raw]
            yield f"{schema}.{table}", as_bytes(kept)


def as_bytes(rows: Iterable[Iterable[object]]) -> bytes:
    cells = (cell if isinstance(cell, bytes) else str(cell).encode() for row in rows for cell in row)
    return b"\n".join(cells)


def leaks(
    folder: Path,
    said: str = "",
    needles: dict[bytes, str] | None = None,
    more: Iterable[tuple[str, bytes]] = (),
) -> dict[str, set[str]]:
    """Return what was found, and where: in a folder, in what was said, and in more places."""
    needles = needles or NEEDLES
    places = [*contents(folder), ("said", said.encode()), *more]
    return {name: found for name, content in places if (found := found_in(content, needles))}
