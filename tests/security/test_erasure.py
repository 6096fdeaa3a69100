"""One participant is erased from every version, file and ledger; everything else stays as it was."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import duckdb
import pytest

from tasks.erased import keep_out_erased
from tasks.readers import Delivered
from warehouse import amending, erasure, leftovers
from warehouse import publish as publishing
from warehouse.erasure import erase, plan_erasure
from warehouse.errors import LakeError, SourceError
from warehouse.lake import LAKE, Lake, newest_version, open_lake, report_file, tables
from warehouse.lineage import content_of, content_of_load
from warehouse.publish import Note, append, publish
from warehouse.seal import refuse_damage
from warehouse.settings import Settings
from warehouse.verification import verify

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from warehouse.lake import Store

WHO, NUMBER, SAMPLE = "TRIAL-01-1015", "1015", "LIB-77A"
OTHER = "TRIAL-01-10152"
LOADED = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - as the lake holds it
SOURCE = ("_source_file varchar", "_source_row bigint", "_loaded_at timestamp")


def write_version(
    lake: Lake,
    stage: str,
    statements: Sequence[str],
    message: str = "made",
    **ledgers: list[dict[str, object]],
) -> int:
    with lake.write(reads_files=True) as writer:
        version = writer.version + 1
        run = {"run_id": f"run{version}", "stage": stage, "version": version, "status": "published"}

        def write(store: Store) -> None:
            for statement in statements:
                store.connection.execute(statement)
            append(store, "run", [{**run, "author": "me", "message": message}])
            for name, rows in ledgers.items():
                append(store, name, [{"run_id": run["run_id"], **row} for row in rows])

        return publish(writer, write, Note("me", message, {"run_id": run["run_id"], "stage": stage}))


def hashed(select: str) -> tuple[str, int]:
    connection = duckdb.connect()
    connection.execute("create table people as from range(0)")
    return content_of(connection, f"({select})", is_quoted=True)


PEOPLE = f"(values ('{WHO}', '{NUMBER}'), ('{OTHER}', '10152'), ('TRIAL-01-2', '2')) as p(usubjid, subjid)"
DM = f"select usubjid, subjid, 'note on the visit' as note from {PEOPLE}"
ADQS = f"select usubjid, i::bigint as avisitn, i * 1.5 as aval, 1015 as number from {PEOPLE}, range(900) t(i)"
ADQS_AFTER = ADQS.replace("1.5", "2.5") + " union all select 'TRIAL-01-3', 0, 0.5, 1015"


EXPRESSION = (
    f"create table store.omics.expression as select if(i % 2 = 0, '{SAMPLE}', 'LIB-78') as sample_id,"
    " i as count from range(1000) t(i)"
)
LATE = (
    f"insert into store.raw.visits by name select '{NUMBER}' as subject, 'late' as value,"
    " 'late.csv' as _source_file, 2 as _source_row, 'A' as arm"
)


def line(subject: str, row: int, value: str) -> str:
    return f"('{subject}', '{value}', 'visits.csv', {row}, timestamp '{LOADED}')"


VISITS = ", ".join(line(n, 2 + i, f"v{i}") for i, n in enumerate(("1015", "10152", "2") * 400))
LOADED_ROWS = f"select * from (values {VISITS}) as t(subject, value, _source_file, _source_row, _loaded_at)"


def recorded(target: str, select: str) -> dict[str, object]:
    content, rows = hashed(select)
    return {"target": target, "content": content, "rows": rows, "fingerprint": "f"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a lake of four versions: the participant is in files, the catalog, ledgers and notes."""
    home = tmp_path_factory.mktemp("made")
    lake = Lake("trial", Settings(home=home))
    relation = f"({LOADED_ROWS})"
    load = {
        "source": "visits", "source_file": "visits.csv", "status": "delivered", "version": 1, "rows": 1200,
        "loaded_at": LOADED, "columns": '["subject", "value"]',
        "content": content_of_load(duckdb.connect(), relation, ["subject", "value"]),
    }  # fmt: skip
    own = {"source": "visits", "source_file": f"pages/{WHO}.csv", "status": "delivered", "version": 1}
    write_version(
        lake,
        "ingest",
        [f"create table store.raw.visits (subject varchar, value varchar, {', '.join(SOURCE)})",
         f"insert into store.raw.visits {LOADED_ROWS}"],
        source_file=[load, own],
    )  # fmt: skip
    failing = {"table_name": "sdtm.sv", "expectation": "e", "source_file": "visits.csv"}
    write_version(
        lake,
        "build",
        [f"create table store.sdtm.dm as {DM}", f"create table store.adam.adqs as {ADQS}",
         f"create table store.omics.sample as select '{SAMPLE}' as sample_id, '{WHO}' as usubjid",
         "insert into store.omics.sample values ('LIB-78', 'TRIAL-01-2')",
         EXPRESSION],
        message=f"after the query about {WHO}",
        lineage=[recorded("sdtm.dm", DM), recorded("adam.adqs", ADQS)],
        check_failure=[
            {**failing, "source_row": 2, "value": "a word of the participant"},
            {**failing, "source_row": 3, "value": "a word of another"},
            {**failing, "row_key": f'{{"subjid": "{NUMBER}"}}', "value": "x"},
            {**failing, "row_key": '{"subjid": "10152"}', "value": "1015"},
        ],
        quarantine=[{"table_name": "sdtm.sv", "row": f'{{"usubjid": "{WHO}", "n": 1}}'},
                    {"table_name": "sdtm.sv", "row": f'{{"usubjid": "{OTHER}", "n": 1015}}'}],
        check_result=[{"table_name": "sdtm.dm", "observed": f"1 of 3, such as {WHO}"}],
    )  # fmt: skip
    write_version(
        lake,
        "build",
        [f"create or replace table store.adam.adqs as {ADQS_AFTER}",
         "alter table store.raw.visits add column arm varchar",
         LATE],
        lineage=[recorded("adam.adqs", ADQS_AFTER)],
    )  # fmt: skip
    write_version(lake, "build", [f"create table store.sdtm.vs as select '{WHO}' as usubjid from range(500)"])
    page = report_file(lake, 3)
    page.parent.mkdir()
    page.write_text(f"<td>{WHO}</td>")
    report_file(lake, 2).write_text(f"<td>{OTHER}</td>")
    (lake.folder / "catalog.format-1.sqlite").write_bytes(lake.catalog_file.read_bytes())
    (lake.folder / "last_run.json").write_text("{}")
    return home


@pytest.fixture
def lake(made: Path, home: Path) -> Lake:
    shutil.copytree(made, home)
    return open_lake("trial")


def read_all(lake: Lake, newest: int) -> dict[tuple[int, str], list[tuple[object, ...]]]:
    """Return all rows of all tables of all versions but the ledgers, in their order."""
    found: dict[tuple[int, str], list[tuple[object, ...]]] = {}
    for version in range(1, newest + 1):
        with lake.read(version) as connection:
            for schema, table in connection.execute(
                "select schema_name, table_name from duckdb_tables() where database_name = ?", [LAKE]
            ).fetchall():
                if schema != "meta":
                    found[version, f"{schema}.{table}"] = sorted(
                        connection.execute(f"from {LAKE}.{schema}.{table}").fetchall(), key=repr
                    )
    return found


def bytes_of(home: Path) -> dict[Path, bytes]:
    # A reader, too, opens the log of SQLite.
    files = [file for file in home.rglob("*") if file.is_file() and not file.name.endswith(("-shm", "-wal"))]
    return {file: file.read_bytes() for file in files}


def of_participant(row: tuple[object, ...]) -> bool:
    return any(cell in (WHO, SAMPLE, NUMBER) for cell in row)


def places_of(home: Path, needles: Sequence[str]) -> list[str]:
    """Return the files that hold a needle: in their bytes, and in the values of a Parquet file."""
    found = []
    for file in filter(lambda path: path.is_file(), home.rglob("*")):
        content = file.read_bytes()
        if file.suffix == ".parquet":
            content += repr(duckdb.sql(f"from read_parquet('{file}')").fetchall()).encode()
            content += repr(duckdb.sql(f"from parquet_metadata('{file}')").fetchall()).encode()
        found += [
            f"{file}: {needle}"
            for needle in needles
            if needle.encode() in content.replace(OTHER.encode(), b"")
        ]
    return found


def test_no_file_of_the_home_names_the_participant_and_all_else_is_as_it_was(lake: Lake, home: Path) -> None:
    assert verify(lake) == []
    before = read_all(lake, 4)
    assert places_of(home, [WHO, SAMPLE])
    done = erase(lake, NUMBER, "consent withdrawn")
    assert places_of(home, [WHO, SAMPLE, "a word of the participant"]) == []
    assert verify(lake) == []
    refuse_damage(lake)
    after = read_all(lake, 5)
    for place, rows in before.items():
        assert after[place] == [row for row in rows if not of_participant(row)], place
    assert {place: rows for place, rows in after.items() if place[0] == 5} == {
        (5, table): rows for (version, table), rows in after.items() if version == 4
    }
    assert not report_file(lake, 3).exists()
    assert report_file(lake, 2).exists()
    assert not (lake.folder / "last_run.json").exists()
    assert any("catalog.format-1.sqlite" in said for said in done)


def test_the_erasure_is_a_version_with_an_audit_row_that_names_nobody(lake: Lake) -> None:
    erase(lake, WHO, "consent withdrawn")
    with lake.read() as connection:
        rows = connection.execute(
            f"select version, reason, rows, files, keys, subject_keys from {LAKE}.meta.erasure"
        ).fetchall()
        runs = connection.execute(f"select stage, message from {LAKE}.meta.run order by version").fetchall()
        failures = connection.execute(
            f"select source_row, row_key, value from {LAKE}.meta.check_failure order by all"
        ).fetchall()
        observed = connection.execute(f"select observed from {LAKE}.meta.check_result").fetchall()
        files = connection.execute(f"select source_file, rows from {LAKE}.meta.source_file").fetchall()
    ((version, reason, count, _, keys, subject_keys),) = rows
    assert (version, reason) == (5, "consent withdrawn")
    # Visits, a late one, dm, answers of two versions, a sample, counts, signs, rows of three ledgers.
    assert count == 400 + 1 + 1 + 1800 + 1 + 500 + 500 + 2 + 1 + 1
    assert len(json.loads(keys)) == 2
    assert len(json.loads(subject_keys)) == 1
    assert runs[4] == ("erasure", "erased a participant from all versions")
    assert runs[1] == ("build", "after the query about [erased]")
    assert failures == [(3, None, "a word of another"), (None, '{"subjid": "10152"}', "1015")]
    assert observed == [("1 of 3, such as [erased]",)]
    assert files == [("visits.csv", 800)]


@pytest.mark.parametrize("asked", [NUMBER, f" {WHO.lower()} "])
def test_the_plan_changes_nothing(lake: Lake, home: Path, asked: str) -> None:
    before = bytes_of(home)
    plan = plan_erasure(lake, asked)
    assert bytes_of(home) == before
    assert plan.rows["raw.visits"] == 401
    assert plan.versions == (1, 2, 3, 4)
    assert plan.delivered == ("late.csv", "visits.csv")
    assert plan.reports == (report_file(lake, 3),)
    assert set(plan.keys.anywhere) == {WHO.lower(), SAMPLE.lower()}
    assert plan.keys.as_subject == (NUMBER,)


@pytest.mark.parametrize(
    ("who", "reason", "said"),
    [
        ("TRIAL-01-101", "why", "no version of the lake knows"),
        ("", "why", "no version of the lake knows"),
        ("%", "why", "no version of the lake knows"),
        ("' or '1' = '1", "why", "no version of the lake knows"),
        (WHO, " ", "--reason: is empty"),
        (WHO, f"{WHO} asked for it", "names the participant"),
        (WHO, f"subject {NUMBER} asked for it", "names the participant"),
    ],
)
def test_what_is_refused_changes_nothing(lake: Lake, who: str, reason: str, said: str) -> None:
    with pytest.raises(LakeError, match=said):
        erase(lake, who, reason)
    assert verify(lake) == []
    with lake.read() as connection:
        assert newest_version(connection) == 4


@pytest.mark.parametrize(
    ("place", "name"),
    [
        pytest.param(erasure, "amend", marks=pytest.mark.proof),
        (amending, "_take_out_of_notes"),
        pytest.param(publishing, "seal_version", marks=pytest.mark.proof),
        pytest.param(leftovers, "keep_copy", marks=pytest.mark.proof),
    ],
)
def test_an_interrupted_erasure_is_finished_by_the_next(
    lake: Lake, home: Path, monkeypatch: pytest.MonkeyPatch, place: object, name: str
) -> None:
    before = read_all(lake, 4)

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place, name, fail)
        with pytest.raises(KeyboardInterrupt):
            erase(lake, WHO, "consent withdrawn")
    assert plan_erasure(lake, WHO).keys.as_subject == (NUMBER,)
    erase(lake, WHO, "consent withdrawn")
    assert places_of(home, [WHO, SAMPLE, "a word of the participant"]) == []
    assert verify(lake) == []
    refuse_damage(lake)
    after = read_all(lake, 4)
    assert after == {key: [row for row in rows if not of_participant(row)] for key, rows in before.items()}
    assert not (lake.folder / "erasing.json").exists()


@pytest.mark.proof
def test_rows_deleted_in_a_later_version_stay_deleted(lake: Lake, home: Path) -> None:
    write_version(lake, "build", ["delete from store.raw.visits where value between 'v10' and 'v900'"])
    write_version(lake, "build", ["delete from store.raw.visits where value = 'v91'"])
    write_version(lake, "build", ["delete from store.adam.adqs where avisitn in (3, 4)",
                                  f"delete from store.sdtm.vs where usubjid = '{WHO}'"])  # fmt: skip
    before = read_all(lake, 7)
    erase(lake, WHO, "consent withdrawn")
    after = read_all(lake, 7)
    assert after == {key: [row for row in rows if not of_participant(row)] for key, rows in before.items()}
    assert places_of(home, [WHO, SAMPLE]) == []
    refuse_damage(lake)


def test_the_lake_goes_on(lake: Lake) -> None:
    """Statistics of files and tables are right: no query is misled by them, also after new rows."""
    erase(lake, WHO, "consent withdrawn")
    write_version(
        lake, "build", [f"insert into store.adam.adqs select '{OTHER}', 5000 + i, 9e9, 7 from range(50) t(i)"]
    )
    with lake.read() as connection:
        for where, rows in {
            f"usubjid = '{OTHER}'": 950, f"usubjid = '{WHO}'": 0, "avisitn > 4999": 50, "aval > 8e9": 50,
            "aval < 1": 3, "avisitn is null": 0, "usubjid > 'TRIAL-01-2'": 1,
        }.items():  # fmt: skip
            found = connection.execute(f"select count(*) from {LAKE}.adam.adqs where {where}").fetchone()
            assert found == (rows,), where
        assert connection.execute(
            f"select min(avisitn), max(avisitn), max(aval), count(*) from {LAKE}.adam.adqs"
        ).fetchone() == (0, 5049, 9e9, 1851)
    assert verify(lake) == []


@pytest.mark.proof
def test_values_of_all_types_stay_as_they_are(home: Path) -> None:
    lake = open_lake("types")
    types = (
        "i::hugeint as a, i::utinyint as b, [i, null] as c, {'x': i, 'y': [str]} as d, map {str: i} as e,"
        " timestamptz '2026-01-01 00:00:00+00' as f, uuid '00000000-0000-0000-0000-000000000001' as g,"
        " str::blob as h, (i / 7)::decimal(18, 3) as j, 'nan'::double as k, interval 1 day as l,"
        " if(i % 2 = 0, 'a', 'b')::enum('a', 'b')::varchar as m, time '12:00' as n, i::float as \"o ; \"\"p\""
    )
    table = f"select if(i % 9 = 0, '{WHO}', 'T-' || i) as usubjid, {types} from source"
    table = f"with source as (select i, 'x' || i as str from range(200) t(i)) {table}"
    write_version(lake, "build", [f"create table store.sdtm.dm as {table}"])
    write_version(lake, "build", [f"create table store.sdtm.few as {table} limit 12"])
    before = read_all(lake, 2)
    erase(lake, WHO, "consent withdrawn")
    after = read_all(lake, 2)
    for key, rows in before.items():
        assert repr(after[key]) == repr([row for row in rows if not of_participant(row)])
    assert verify(lake) == []


def test_a_later_delivery_does_not_bring_the_participant_back(lake: Lake) -> None:
    erase(lake, WHO, "consent withdrawn")
    with lake.read() as connection:
        run = SimpleNamespace(run_id="r")
        stage = SimpleNamespace(
            name="ingest",
            run=run,
            in_lake=tables(connection),
            connection=connection,
            ledgers=defaultdict(list),
        )
        connection.execute(
            f"create temp table file as select * from (values ('{NUMBER}', 'a'),"
            f" (' {NUMBER} ', 'b'), ('10152', '1015'), ('x', '{WHO.lower()}'), ('{SAMPLE}', null),"
            ' (null, null)) as t("Subject ID", other)'
        )
        file = Delivered("new.csv", "file", ("Subject ID", "other"))
        kept = keep_out_erased(cast("Any", stage), "visits", file)
        assert connection.execute(f"from {kept.relation}").fetchall() == [("10152", "1015"), (None, None)]
        (said,) = stage.ledgers["check_result"]
        assert (said["severity"], said["is_met"], said["rows_in"], said["rows_kept"]) == (
            "warning",
            False,
            6,
            2,
        )
        assert said["observed"] == "4 rows of an erased participant were kept out"
        assert NUMBER not in repr(said)
        other = Delivered(f"{OTHER}.csv", "file", ("other",))
        assert keep_out_erased(cast("Any", stage), "visits", other).rows == 5
        named = Delivered(f"pages/{WHO}_scan.csv", "file", ("other",))
        with pytest.raises(SourceError, match="named after a participant") as raised:
            keep_out_erased(cast("Any", stage), "visits", named)
        assert WHO not in str(raised.value)
