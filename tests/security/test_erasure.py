"""An erased participant is in no version, file or page of a lake; all others are as they were."""

from __future__ import annotations

import base64
import shutil
import sqlite3
from datetime import UTC, datetime
from types import SimpleNamespace

import duckdb
import pytest

from tasks import erasing
from tasks.readers.delivery import Delivered
from warehouse import erasure
from warehouse.catalog import open_catalog
from warehouse.erasure import erase, plan_erasure
from warehouse.errors import LakeError
from warehouse.lake import open_lake
from warehouse.lineage import content_of
from warehouse.participant import gather_keys
from warehouse.publish import Note, append, publish
from warehouse.seal import refuse_damage
from warehouse.settings import load_settings
from warehouse.verification import verify

KEYS = ("SIM-01-007", "TRIAL-SIM-01-007", "S007_BL", "S007_W12")
REASON = "consent withdrawn"
PEOPLE = (6, 7, 8)
TABLES = {
    "raw.demographics": "SUBJID varchar, AGE varchar, _source_file varchar, _source_row bigint",
    "raw.star": "sample_id varchar, n bigint, _source_file varchar",
    "sdtm.dm": "usubjid varchar, subjid varchar, age bigint, source_file varchar, source_row bigint",
    "omics.sample": "sample_id varchar, usubjid varchar",
    "omics.expression": "sample_id varchar, counts bigint[], more struct(a bigint, b varchar)",
    "results.molecular_response": "usubjid varchar, change double",
    "results.means": "mean double, left_out varchar",
    "meta.check_failure": None,
}


def rows_of(number):
    subject, person = f"SIM-01-00{number}", f"TRIAL-SIM-01-00{number}"
    samples = [f"S00{number}_{visit}" for visit in ("BL", "W12")]
    file = "clinical/dm.csv"
    yield "raw.demographics", (subject, f"{number}0", file, number)
    yield "sdtm.dm", (person, f"00{number}", number * 10, file, number)
    yield "results.molecular_response", (person, number / 2)
    for sample in samples:
        yield "raw.star", (sample, number, f"star/{sample}_ReadsPerGene.out.tab")
        yield "omics.sample", (sample, person)
        yield "omics.expression", (sample, [number, 1], {"a": number, "b": "x"})


def make_version(lake, note, limit):
    """Publish a version in which every table is made again or appended to."""
    with lake.write(reads_files=True) as writer:
        number, now = writer.version + 1, datetime.now(UTC).replace(tzinfo=None)
        run = {"run_id": f"run-{number}", "stage": "build", "status": "published"}

        def write(store):
            connection = store.connection
            if not limit:
                connection.execute("call store.set_option('data_inlining_row_limit', '0')")
            for table, columns in TABLES.items():
                if columns and (number == 1 or not table.startswith("raw.")):
                    connection.execute(f"create or replace table store.{table} ({columns})")
                    connection.execute(f"comment on table store.{table} is 'first seen in SIM-01-007'")
            rows = [row for person in PEOPLE for row in rows_of(person)]
            rows.append(("results.means", (number, "TRIAL-SIM-01-007; TRIAL-SIM-01-008")))
            for table in filter(TABLES.get, TABLES):
                theirs = [values for name, values in rows if name == table]
                marks = ", ".join(f"({', '.join('?' * len(values))})" for values in theirs)
                flat = [value for values in theirs for value in values]
                connection.execute(f"insert into store.{table} values {marks}", flat)
            failures = [{"run_id": "x", "value": f"{key}:0"} for key in (KEYS[0], "SIM-01-008")]
            append(store, "check_failure", failures)
            made = [
                {
                    **run,
                    "target": table,
                    "content": content_of(connection, f"store.{table}")[0],
                }
                for table in TABLES
                if table.startswith(("sdtm", "omics"))
            ]
            append(
                store,
                "lineage",
                [{k: v for k, v in row.items() if k in ("run_id", "target", "content")} for row in made],
            )
            append(
                store,
                "run",
                [
                    {
                        **run,
                        "version": number,
                        "author": note.author,
                        "message": note.message,
                        "started_at": now,
                    }
                ],
            )

        publish(writer, write, Note(note.author, note.message, run))


@pytest.fixture(
    scope="module",
    params=[pytest.param(0, id="files"), pytest.param(10, id="inlined", marks=pytest.mark.proof)],
)
def made(request, tmp_path_factory):
    """Make a lake of three versions once, its small tables in files or in the catalog."""
    home = tmp_path_factory.mktemp("made")
    lake = open_lake("trial", load_settings().model_copy(update={"home": home}))
    for number in (1, 2, 3):
        make_version(lake, Note("somebody", f"version {number}"), request.param)
    assert verify(lake) == []
    page = lake.folder / "reports" / "trial-v1.html"
    page.parent.mkdir()
    page.write_text("<p>TRIAL-SIM-01-007")
    (lake.scratch / "left").write_text("SIM-01-007")
    return home


@pytest.fixture
def lake(made, home):
    shutil.copytree(made, home)
    return open_lake("trial")


def read_all(lake, versions=(1, 2, 3)):
    with lake.read() as connection:
        return {
            (table, version): sorted(
                map(repr, connection.execute(f"from lake.{table} at (version => {version})").fetchall())
            )
            for table in TABLES
            for version in versions
        }


def without(rows):
    """Return what an erasure should leave."""
    left = {}
    for (table, version), lines in rows.items():
        if table == "results.means":
            left[table, version] = [line.replace("TRIAL-SIM-01-007", "erased") for line in lines]
        else:
            left[table, version] = [line for line in lines if not any(key in line for key in KEYS)]
    return left


def find_left(folder):
    """Return the files below a folder that hold a key: as they are, decoded, or in another spelling."""
    forms = [
        form
        for key in KEYS
        for form in (key.encode(), key.encode("utf-16-le"), base64.b64encode(key.encode())[:-4])
    ]
    found = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        if file.suffix == ".parquet":
            content += str(duckdb.sql(f"from read_parquet('{file}')").fetchall()).encode()
            content += str(duckdb.sql(f"from parquet_metadata('{file}')").fetchall()).encode()
        found += [file.name for form in forms if form in content or form in file.name.encode()]
    return found


def test_any_identifier_names_the_participant(lake):
    for name in ("SIM-01-007", "trial-sim-01-007", "007", "S007_BL"):
        found = plan_erasure(lake, name).participant
        assert (set(found.keys), found.bare) == (set(KEYS), ("007",))


def test_nothing_of_the_participant_is_left_and_all_else_is_as_it_was(lake):
    before = read_all(lake)
    assert find_left(lake.folder)
    plan, version = erase(lake, KEYS[0], REASON)
    assert (version, plan.versions) == (4, [1, 2, 3])
    assert find_left(lake.folder) == []
    assert read_all(lake) == without(before)
    assert verify(lake) == []
    refuse_damage(lake)
    make_version(lake, Note("somebody", "after"), 0)
    assert verify(lake) == []
    with lake.read() as connection:
        told = connection.execute("select reason, rows, files from lake.meta.erasure").fetchall()
        count = connection.execute(
            "select count(*), min(usubjid) from lake.sdtm.dm at (version => 2)"
        ).fetchall()
    assert told == [(REASON, plan.rows, len(plan.files))]
    assert count == [(2, "TRIAL-SIM-01-006")]


KILLS = (
    ("rewrite_file", True),
    ("kept_contents", False),
    ("swap_rows", False),
    ("swap_rows", True),
    ("publish", True),
    ("compact", False),
)


@pytest.mark.parametrize(
    ("step", "is_after"),
    [KILLS[3], *(pytest.param(*kill, marks=pytest.mark.proof) for kill in (*KILLS[:3], *KILLS[4:]))],
)
def test_an_interrupted_erasure_is_finished_by_the_same_command(lake, monkeypatch, step, is_after):
    before = read_all(lake)
    done = getattr(erasure, step)

    def fail(*arguments, **named):
        if step == "finish_interrupted" and not (lake.folder / erasure.ERASING).exists():
            return False
        if is_after:
            done(*arguments, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(erasure, step, fail)
        if step == "rewrite_file" and not plan_erasure(lake, KEYS[0]).files:
            pytest.skip("no data file holds them")
        with pytest.raises(KeyboardInterrupt):
            erase(lake, KEYS[0], REASON)
    erase(lake, KEYS[0], REASON)
    assert find_left(lake.folder) == []
    assert read_all(lake) == without(before)
    assert verify(lake) == []


def test_verification_still_sees_what_is_changed_after_an_erasure(lake):
    plan, _ = erase(lake, KEYS[0], REASON)
    paths = [each.new_path for each in plan.held if each.chunk.table == "sdtm.dm" and each.new_path]
    for path in paths:
        file = lake.data_folder / path
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    if not paths:
        with open_catalog(lake, is_writable=True) as catalog:
            table = next(each.chunk.inlined for each in plan.held if each.chunk.table == "sdtm.dm")
            catalog.execute(f"update catalog.main.{table} set age = '99'")
        paths = [table]
    places = " ".join(finding.place for finding in verify(lake))
    assert all(path in places for path in paths)


def test_a_damaged_lake_is_refused(lake):
    file = next(iter(lake.data_folder.rglob("*.parquet")), None)
    if file is None:
        pytest.skip("no data file")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(LakeError, match="nothing was erased"):
        erase(lake, KEYS[0], REASON)


REFUSED = (
    ("SIM-01-009", REASON, "not in the lake"),
    ("SIM-01-00", REASON, "not in the lake"),
    ("%", REASON, "not in the lake"),
    ("", REASON, "not in the lake"),
    ("' or 1=1 --", REASON, "not in the lake"),
    ("SIM-01-007", "asked by SIM-01-007", "--reason"),
    ("007", "S007_BL", "--reason"),
)


def test_what_cannot_be_erased_is_refused_and_changes_nothing(lake):
    before = read_all(lake)
    for name, reason, match in REFUSED:
        with pytest.raises(LakeError, match=match):
            erase(lake, name, reason)
    assert read_all(lake) == before
    assert verify(lake) == []


def cells(*rows):
    return [tuple(row.items()) for row in rows]


def test_a_number_that_two_sites_gave_is_nobodys_alone():
    rows = cells(
        {"usubjid": "T-01-0001", "subjid": "0001"},
        {"usubjid": "T-02-0001", "subjid": "0001"},
        {"usubjid": "T-01-0001", "sample_id": "SMP-9001"},
    )
    assert gather_keys("T-01-0001", rows).all_keys == ("SMP-9001", "T-01-0001")
    with pytest.raises(LakeError, match="several"):
        gather_keys("0001", rows)


DELIVERED = (
    ("SUBJID", "SIM-01-007", False),
    ("SUBJID", "sim-01-007 ", False),
    ("SUBJID", "007", False),
    ("comment", "see SIM-01-007, again", False),
    ("comment", "007", True),
    ("SUBJID", "SIM-01-0071", True),
    ("SUBJID", "SIM-01-008", True),
)


def test_a_later_delivery_sets_the_rows_aside(lake):
    erase(lake, KEYS[0], REASON)
    with lake.read() as connection:
        stage = SimpleNamespace(
            connection=connection,
            name="ingest",
            run=SimpleNamespace(run_id="r"),
            ledgers={"check_result": [], "check_failure": []},
        )
        for column, value, is_kept in DELIVERED:
            connection.execute(f'create or replace temp table d ("{column}" varchar, _source_row bigint)')
            connection.execute("insert into d values (?, 1), ('SIM-01-006', 2)", [value])
            (kept,) = erasing.keep_out_erased(stage, "demographics", [Delivered("dm.csv", "d", (column,))])
            rows = connection.execute(f"select count(*) from {kept.relation}").fetchone()
            assert rows == (1 + is_kept,), value
        theirs = Delivered("star/S007_BL_ReadsPerGene.out.tab", "d", ("SUBJID",))
        assert erasing.keep_out_erased(stage, "star", [theirs]) == []
    assert not any(key.lower() in str(stage.ledgers).lower() for key in KEYS)


def test_prefects_database_holds_nothing_of_the_participant(tmp_path):
    database = tmp_path / "prefect.db"
    with sqlite3.connect(database) as connection:
        connection.execute("create table log (message text)")
        connection.execute("create table flow_run (name text, parameters json)")
        connection.executemany("insert into log values (?)", [("row of SIM-01-007",), ("SIM-01-008",)])
        connection.execute("insert into flow_run values ('a', '{\"who\": \"SIM-01-007\"}')")
    connection.close()
    person = gather_keys("SIM-01-007", cells({"subjid": "SIM-01-007"}))
    assert erasing.clean_prefect(tmp_path, person) == 2
    assert find_left(tmp_path) == []
    with sqlite3.connect(database) as connection:
        assert connection.execute("select message from log").fetchall() == [("SIM-01-008",)]
        assert connection.execute("select * from flow_run").fetchall() == [("a", '{"who": "erased"}')]
    connection.close()
