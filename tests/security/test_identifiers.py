"""Identifiers are masked in everything but raw, kept out of raw on demand, and files are private.

Fifty identifiers are planted where they hurt: in rows set aside, values of a wrong type, failing rules, free
texts, corrections, errors of SQL, ragged rows, and stops by a critical rule. Then everything is searched.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import shutil
import sqlite3
import stat
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest

import flows
from tasks import steps
from tasks.queries import all_checks, failing_rows, read
from tasks.reporting import write_report
from tasks.stage import new_run, open_stage
from tests.security.planting import (
    NEEDLES,
    PEOPLE,
    PLANTED,
    PLANTED_STUDY,
    contents,
    deliver,
    forms,
    found_in,
    leaks,
)
from warehouse import models
from warehouse.errors import ExpectationFailed, LakeError, ModelError, SourceError
from warehouse.lake import LAKE, open_lake
from warehouse.masking import MASK
from warehouse.pseudonyms import open_pseudonyms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tasks.preparation import Prepared


@dataclass
class Said:
    """Everything that was said while something ran."""

    texts: list[str] = field(default_factory=list)

    def all(self) -> str:
        return "\n".join(self.texts)


class Listener(logging.Handler):
    """Keep log records as any handler would write them, tracebacks included."""

    def __init__(self, said: Said) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.texts.append(self.format(record))


@pytest.fixture
def said() -> Iterator[Said]:
    told = Said()
    listener = Listener(told)
    logger = logging.getLogger("trialhouse")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(listener)
    yield told
    logger.removeHandler(listener)
    logger.setLevel(level)


@pytest.fixture
def study(tmp_path: Path, home: Path) -> Iterator[Path]:
    """Return a copy of the planted study, to be run as the command runs it: what is written is private."""
    assert home
    before = os.umask(0o022)
    flows.keep_private()
    yield shutil.copytree(PLANTED_STUDY, tmp_path / "planted")
    os.umask(before)


@pytest.fixture(autouse=True)
def _house_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse the house's SQL once: it takes a second, and no test changes it."""

    def collect(folder: Path, *, is_house: bool) -> dict[str, models.Model]:
        return _house(folder) if is_house else COLLECT(folder, is_house=False)

    monkeypatch.setattr(models, "_collect", collect)


COLLECT = models._collect


@functools.cache
def _house(folder: Path) -> dict[str, models.Model]:
    return COLLECT(folder, is_house=True)


def prepare(study: Path) -> Prepared:
    return steps.prepare_study.fn(str(study))


def ingest(study: Path, data: Path) -> None:
    prepared = prepare(study)
    with open_stage("ingest", prepared.study, new_run({"study": str(study), "data": str(data)})) as stage:
        for delivery in steps.find_deliveries.fn(stage, prepared.root(str(data))):
            steps.land_source.fn(stage, delivery)
        steps.publish.fn(stage, "landed")


def build(study: Path) -> None:
    prepared = prepare(study)
    with open_stage("build", prepared.study, new_run({"study": str(study)})) as stage:
        steps.check_sources.fn(stage)
        # What the house makes without any data is not of interest here.
        made = prepared.plan.made("staging")
        for model in made:
            steps.build_model.fn(stage, model)
        stage.will_drop_all_but({model.table for model in made})
        steps.publish.fn(stage, "built")


def attempt(work: Callable[[], object], said: Said, expected: type[Exception]) -> str:
    """Do what must fail; return what the error says, and keep its whole traceback among what was said."""
    with pytest.raises(expected) as caught:
        work()
    said.texts += traceback.format_exception(caught.value)
    return str(caught.value)


def raw_rows(source: str = "people") -> list[dict[str, Any]]:
    with open_lake("planted").read() as connection:
        return connection.sql(f"from {LAKE}.raw.{source}").pl().to_dicts()


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """Each form in each kind of file is found: otherwise nothing found would mean nothing."""
    assert len(PLANTED) == 50
    name = PEOPLE[6][0]
    for number, form in enumerate(sorted(forms(name))):
        (tmp_path / f"{number}.txt").write_bytes(b"..." + form + b"...")
    pl.DataFrame({"a": [name] * 50}).write_parquet(tmp_path / "a.parquet", compression="zstd")
    with contextlib.closing(sqlite3.connect(tmp_path / "b.db")) as database:
        database.execute("create table t (x)")
        database.execute("insert into t values (?)", [name])
        database.commit()
    places = {place for place, found in leaks(tmp_path).items() if name in found}
    assert {f"{number}.txt" for number in range(len(forms(name)))} | {"a.parquet", "b.db:t"} <= places


def test_fifty_identifiers_are_nowhere_but_in_raw(
    study: Path, home: Path, tmp_path: Path, said: Said
) -> None:
    ingest(study, deliver(tmp_path / "good"))
    build(study)
    page = write_report(prepare(study), None, None)
    assert {row["PatientName"] for row in raw_rows()} == {person[0] for person in PEOPLE}

    ingest(study, deliver(tmp_path / "critical", status="critical"))
    stopped = attempt(lambda: build(study), said, ExpectationFailed)
    ingest(study, deliver(tmp_path / "cast", status="cast"))
    refused = attempt(lambda: build(study), said, ModelError)
    # Who may see the data finds the rows all the same: by file and row.
    assert "people.csv row 2, full_nm = [masked]" in stopped
    assert "Could not convert string" in refused
    failing = read("planted", failing_rows)
    said.texts += [failing.write_ndjson(), read("planted", all_checks).write_ndjson(), page.read_text()]
    masked = failing.filter(pl.col("column_name") == "PatientName")
    assert set(masked["value"]) == {MASK}
    # Row 5 was set aside before.
    assert sorted(masked["source_row"].unique()) == [2, 3, 4, *range(6, 12)]
    # What does not identify is still shown.
    assert "S07" in failing.filter(pl.col("column_name") == "SUBJID")["value"].to_list()

    assert len(list(contents(home))) > 30
    assert {name: oct(mode) for name, mode in modes(home).items() if mode not in (0o700, 0o600)} == {}
    assert leaks(home, said.all()) == {}


def without_rules(study: Path, *more: str) -> None:
    for name in ("expectations", "corrections.toml", *more):
        shutil.rmtree(study / name) if (study / name).is_dir() else (study / name).unlink()


def test_a_guess_that_is_neither_confirmed_nor_denied_is_recorded(study: Path, tmp_path: Path) -> None:
    ingest(study, deliver(tmp_path / "data"))
    build(study)

    def noted() -> set[tuple[str, str]]:
        told = read("planted", all_checks).filter(pl.col("expectation") == "identifying_column")
        return set(told.filter(~pl.col("is_met")).select("table_name", "column_name").iter_rows())

    guessed = {("raw.people", name) for name in ("PatientName", "e-mail", "Geburtsdatum", "PHONE")}
    carried = {("staging.person", name) for name in ("full_nm", "sur", "contact", "born", "digits", "note")}
    assert noted() == guessed | carried | {("staging.cast_name", "number")}

    text = (study / "study.toml").read_text(encoding="utf-8")
    decided = 'LABEL = "no", PatientName = "no", "e-mail" = "no", PHONE = "no", geburtsdatum = "no"'
    (study / "study.toml").write_text(text.replace('LABEL = "keep"', decided), encoding="utf-8")
    build(study)
    assert noted() == set()
    values = read("planted", failing_rows).filter(pl.col("column_name") == "PatientName")["value"]
    # The fourth was set aside before.
    assert set(values) == {person[0] for person in (*PEOPLE[:3], *PEOPLE[4:])}

    # What landed before it was to be dropped is told.
    without_rules(study)
    decided = decided.replace('LABEL = "no"', 'LABEL = "drop"')
    (study / "study.toml").write_text(text.replace('LABEL = "keep"', decided), encoding="utf-8")
    build(study)
    told = read("planted", all_checks).filter(pl.col("observed") == "raw holds values of earlier deliveries")
    assert told["column_name"].to_list() == ["LABEL"]


def test_what_is_dropped_or_pseudonymised_is_not_in_raw_either(
    study: Path, home: Path, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "keys" / "planted.key"
    monkeypatch.setenv("TRIALHOUSE_PSEUDONYM_KEY_FILE", str(key))
    text = (study / "study.toml").read_text(encoding="utf-8")
    handling = (
        'LABEL = "pseudonymise", PatientName = "pseudonymise", "e-mail" = "drop", PHONE = "pseudonymise",'
        ' Geburtsdatum = "drop"'
    )
    # A person's name in free text cannot be told from other text: such columns are dropped.
    text = text.replace('LABEL = "keep"', handling).replace(
        'path = "visits.csv"', 'path = "visits.csv"\nidentifying = { REMARK = "drop" }'
    )
    (study / "study.toml").write_text(text, encoding="utf-8")
    without_rules(study, "sql/staging/person.sql", "sql/staging/cast_name.sql")
    data = deliver(tmp_path / "data")
    lines = (data / "people.csv").read_text(encoding="utf-8").replace(f"{PEOPLE[4][0]},", "45,").splitlines()
    lines = [line.replace(",5550105,KH/77816-E,45,", ",5550105,KH/77816-E,45,") for line in lines]
    lines[5] = lines[5].replace("45,", f"{PEOPLE[4][0]},", 1)
    (data / "people.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    ingest(study, data)
    build(study)

    rows = raw_rows()
    assert rows[0].keys() >= {"SUBJID", "PatientName", "PHONE", "LABEL", "AGE"}
    assert not {"e-mail", "Geburtsdatum"} & rows[0].keys()
    pseudonyms = {row["SUBJID"]: row["PatientName"] for row in rows}
    assert len(set(pseudonyms.values())) == 10
    assert rows[0]["PatientName"] == rows[-1]["PatientName"]
    assert all(re.fullmatch("[0-9a-f]{32}", pseudonym) for pseudonym in pseudonyms.values())
    with open_lake("planted").read() as connection:
        everything = [
            connection.sql(f"from {LAKE}.raw.{source}").pl().write_ndjson() for source in ("people", "visits")
        ]
    assert leaks(home, "\n".join([*everything, said.all()])) == {}
    files = [file for file in home.rglob("*") if file.is_file()]
    secret = key.read_text(encoding="ascii").strip().encode()
    # Nothing is left out here: not raw, not the pages of the catalog.
    needles = {**NEEDLES, secret: "key"}
    assert {str(file): hit for file in files if (hit := found_in(file.read_bytes(), needles))} == {}

    # The next delivery has the same pseudonyms; another key, a lost one, one that others read are refused.
    (data / "people.csv").write_text("\n".join(lines[:4]) + "\n", encoding="utf-8")
    ingest(study, data)
    assert {row["PatientName"] for row in raw_rows()} == set(pseudonyms.values())
    (data / "people.csv").write_text("\n".join(lines[:3]) + "\n", encoding="utf-8")
    key.chmod(0o640)
    assert "chmod 600" in attempt(lambda: ingest(study, data), said, LakeError)
    key.chmod(0o600)
    key.write_text("another key of more than thirty-two bytes\n", encoding="ascii")
    assert "one person would have two pseudonyms" in attempt(lambda: ingest(study, data), said, LakeError)
    key.unlink()
    assert "bring back that key" in attempt(lambda: ingest(study, data), said, LakeError)
    assert not key.exists()
    assert secret.decode() not in said.all()


@pytest.mark.parametrize("place", ["", "planted/key", "prefect/key", "study"])
def test_a_key_beside_its_pseudonyms_is_refused(
    study: Path, home: Path, monkeypatch: pytest.MonkeyPatch, said: Said, place: str
) -> None:
    if place:
        file = study / "key" if place == "study" else home / place
        monkeypatch.setenv("TRIALHOUSE_PSEUDONYM_KEY_FILE", str(file))
    lake = open_lake("planted")
    message = attempt(lambda: open_pseudonyms(lake, study, duckdb.connect()), said, LakeError)
    assert ("protects nobody" if place else "TRIALHOUSE_PSEUDONYM_KEY_FILE is not set") in message
    assert not list(home.rglob("key"))


def test_a_declared_column_that_is_missing_stops_the_landing(study: Path, tmp_path: Path, said: Said) -> None:
    """Under another name it would land where it must not."""
    data = deliver(tmp_path / "data")
    text = (data / "people.csv").read_text(encoding="utf-8")
    (data / "people.csv").write_text(text.replace("LABEL", "LABEL_2", 1), encoding="utf-8")
    message = attempt(lambda: ingest(study, data), said, SourceError)
    assert "people.csv: identifying column 'LABEL' is missing" in message


def modes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode)
        for path in (folder, *folder.rglob("*"))
    }


def test_an_older_lake_is_closed_and_a_group_is_let_in(
    study: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = tmp_path / "storage"
    monkeypatch.setenv("TRIALHOUSE_STORAGE", str(storage))
    monkeypatch.setenv("TRIALHOUSE_GROUP_ACCESS", "true")
    flows.keep_private()
    ingest(study, deliver(tmp_path / "data"))
    for place in (home / "planted", storage / "planted"):
        for path in (place, *place.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o644)
    outside = tmp_path / "outside"
    outside.write_text("not ours to change", encoding="utf-8")
    outside.chmod(0o644)
    (home / "planted" / "link").symlink_to(outside)
    ingest(study, deliver(tmp_path / "data", status="later"))
    (home / "planted" / "link").unlink()
    allowed = (0o770, 0o660)
    found = {**modes(home), **{f"storage/{name}": mode for name, mode in modes(storage).items()}}
    assert len(found) > 10
    assert {name: oct(mode) for name, mode in found.items() if mode not in allowed} == {}
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644
