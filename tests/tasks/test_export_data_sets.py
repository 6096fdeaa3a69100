"""Tables of the lake as CDISC files: what is written reads back as it was, or is refused with a reason."""

from __future__ import annotations

import csv
import datetime as dt
import json
import re
import zlib
from decimal import Decimal
from typing import TYPE_CHECKING

import duckdb
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.cli import main
from tasks.export.data_set import DataSet, ExportError, Origin
from tasks.export.dataset_json import SUFFIXES, write_dataset_json
from tasks.export.transport_file import short_names, write_transport_file
from tasks.readers import Piece, read
from tasks.readers.xpt import number_text
from warehouse.lake import open_lake
from warehouse.study import Source

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN = Origin(
    study_id="demo",
    title="Demo",
    is_simulated=False,
    version=3,
    published_at="2026-01-31 12:00:00",
    run_id="r1",
    software_version="9.9.9",
)
FRAME = pl.DataFrame(
    {
        "usubjid": ["S-1", "S-2", "Ä-3"],
        "age": [63, None, -1],
        "aval": [0.1, float("nan"), 12.0],
        "trtsdt": [dt.date(2014, 1, 2), None, dt.date(1959, 12, 31)],
        "adtm": [dt.datetime(2014, 1, 2, 3, 4, 5), None, dt.datetime(1960, 1, 1)],  # noqa: DTZ001
        "atm": [dt.time(1, 2, 3), None, dt.time(0)],
        "dcsreas": [None, "", "left"],
        "is_in_window": [True, False, None],
        "nothing": pl.Series([None, None, None], dtype=pl.String),
    }
)
TEXT = {
    "usubjid": ["S-1", "S-2", "Ä-3"],
    "age": ["63", None, "-1"],
    "aval": ["0.1", None, "12"],
    "trtsdt": ["2014-01-02", None, "1959-12-31"],
    "adtm": ["2014-01-02T03:04:05", None, "1960-01-01T00:00:00"],
    "atm": ["01:02:03", None, "00:00:00"],
    "dcsreas": [None, None, "left"],
    "is_in_window": ["true", "false", None],
    "nothing": [None, None, None],
}
LABEL = "Analysis data of the enrolled participants, with a long label"


def data_set(frame: pl.DataFrame = FRAME, name: str = "adsl", **labels: str) -> DataSet:
    known = {column: labels.get(column, f"Label of {column}") for column in frame.columns}
    return DataSet(schema="adam", name=name, label=LABEL, frame=frame, labels=known, keys=("usubjid",))


def read_back(path: Path, form: str):
    with duckdb.connect() as connection:
        delivered = read(connection, Piece(path, path.name), Source(path=path.name, format=form))
        rows = connection.execute(f"from {delivered.relation} order by _source_row").fetchall()
    cells = {name: [row[place] for row in rows] for place, name in enumerate(delivered.columns)}
    return delivered, cells


@pytest.mark.parametrize("form", SUFFIXES)
def test_dataset_json_reads_back(tmp_path, form):
    path = write_dataset_json(data_set(), tmp_path, form, ORIGIN)
    delivered, values = read_back(path, "dataset_json")
    assert values == {column.upper(): cells for column, cells in TEXT.items()}
    assert delivered.labels["USUBJID"] == "Label of usubjid"
    assert delivered.table_label == LABEL
    assert [file.name for file in tmp_path.iterdir()] == [f"adsl{SUFFIXES[form]}"]


def test_dataset_json_says_what_the_standard_asks(tmp_path):
    written = json.loads(write_dataset_json(data_set(), tmp_path, "dataset-json", ORIGIN).read_text("utf-8"))
    # The order that version 1.1 recommends, without what a study here does not have.
    assert list(written) == [
        "datasetJSONCreationDateTime", "datasetJSONVersion", "fileOID", "dbLastModifiedDateTime",
        "sourceSystem", "studyOID", "itemGroupOID", "records", "name", "label", "columns", "rows",
    ]  # fmt: skip
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(moment, written["datasetJSONCreationDateTime"])
    assert written["dbLastModifiedDateTime"] == "2026-01-31T12:00:00Z"
    assert written["sourceSystem"] == {"name": "trialhouse", "version": "9.9.9"}
    assert (written["itemGroupOID"], written["records"], written["name"]) == ("IG.ADSL", 3, "ADSL")
    columns = {column["name"]: column for column in written["columns"]}
    assert columns["USUBJID"] == {
        "itemOID": "IT.ADSL.USUBJID", "name": "USUBJID", "label": "Label of usubjid",
        "dataType": "string", "length": 3, "keySequence": 1,
    }  # fmt: skip
    assert {name: column["dataType"] for name, column in columns.items()} == {
        "USUBJID": "string", "AGE": "integer", "AVAL": "float", "TRTSDT": "date", "ADTM": "datetime",
        "ATM": "time", "DCSREAS": "string", "IS_IN_WINDOW": "boolean", "NOTHING": "string",
    }  # fmt: skip
    # ADaM's dates are numbers to SAS: the receiver is told so.
    assert columns["TRTSDT"]["targetDataType"] == "integer"
    assert columns["TRTSDT"]["displayFormat"] == "DATE9."
    assert columns["NOTHING"]["length"] == 1
    assert written["rows"][0] == [
        "S-1", 63, 0.1, "2014-01-02", "2014-01-02T03:04:05", "01:02:03", None, True, None
    ]  # fmt: skip


def test_forms_of_dataset_json_hold_the_same(tmp_path):
    paths = {form: write_dataset_json(data_set(), tmp_path, form, ORIGIN) for form in SUFFIXES}
    whole = json.loads(paths["dataset-json"].read_text("utf-8"))
    head, *rows = [json.loads(line) for line in paths["ndjson"].read_text("utf-8").splitlines()]
    assert rows == whole.pop("rows")
    assert {**head, "datasetJSONCreationDateTime": ""} == {**whole, "datasetJSONCreationDateTime": ""}
    # The standard's compressed form is a zlib stream of the NDJSON.
    assert zlib.decompress(paths["dsjc"].read_bytes()).count(b"\n") == 4


def test_decimals_keep_their_digits(tmp_path):
    frame = pl.DataFrame({"x": [Decimal("1.50"), None]}, schema={"x": pl.Decimal(10, 2)})
    path = write_dataset_json(data_set(frame), tmp_path, "ndjson", ORIGIN)
    assert json.loads(path.read_text().splitlines()[1]) == ["1.50"]
    assert read_back(path, "dataset_json")[1] == {"X": ["1.50", None]}


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"a": [1.0, float("inf")]}), "adam.adsl: a: row 2: an infinite number"),
        (pl.DataFrame({"a": [[1]]}), "adam.adsl: a: List.Int64.: text, numbers"),
    ],
)
def test_what_json_has_no_place_for(tmp_path, frame, message):
    with pytest.raises(ExportError, match=message):
        write_dataset_json(data_set(frame), tmp_path, "ndjson", ORIGIN)
    assert list(tmp_path.iterdir()) == []


def test_a_transport_file_reads_back(tmp_path):
    path, variables = write_transport_file(data_set(age="Age"), tmp_path)
    delivered, values = read_back(path, "xpt")
    names = {variable.column: variable.name for variable in variables}
    expected = {**TEXT, "is_in_window": ["Y", "N", None]}
    assert values == {names[column]: cells for column, cells in expected.items()}
    assert names["is_in_window"] == "ISINWIND"
    assert delivered.labels["AGE"] == "Age"
    assert delivered.table_label == LABEL[:40].rstrip()
    assert [file.name for file in tmp_path.iterdir()] == ["adsl.xpt"]


def test_another_reader_sees_the_same_transport_file(tmp_path):
    path, _ = write_transport_file(data_set(), tmp_path)
    seen = pd.read_sas(path, format="xport", encoding="utf-8")
    assert seen["USUBJID"].tolist() == ["S-1", "S-2", "Ä-3"]
    assert seen["AGE"].tolist()[::2] == [63, -1]
    assert pd.isna(seen["AVAL"][1])
    # Days and seconds since 1960-01-01: '02JAN2014'd is 19725.
    assert seen["TRTSDT"].tolist()[::2] == [19725, -1]
    # pandas reads a zero of IBM's as the smallest number that IBM has.
    assert seen["ADTM"].tolist()[::2] == pytest.approx([19725 * 86400 + 3 * 3600 + 4 * 60 + 5, 0], abs=1e-70)
    assert seen["ATM"].tolist()[::2] == pytest.approx([3723, 0], abs=1e-70)
    content = path.read_bytes()
    assert content.startswith(b"HEADER RECORD*******LIBRARY HEADER RECORD")  # version 5
    for format_name in (b"DATE    ", b"DATETIME", b"TIME    "):
        assert format_name in content


def test_an_empty_table(tmp_path):
    empty = data_set(FRAME.clear())
    path, _ = write_transport_file(empty, tmp_path)
    assert read_back(path, "xpt")[0].rows == 0
    path = write_dataset_json(empty, tmp_path, "dataset-json", ORIGIN)
    delivered, _ = read_back(path, "dataset_json")
    assert (delivered.rows, len(delivered.columns)) == (0, FRAME.width)


@pytest.mark.parametrize(
    ("frame", "name", "message"),
    [
        (FRAME, "primary_endpoint", "PRIMARY_ENDPOINT: a name of up to 8 letters, digits and _ is allowed"),
        (pl.DataFrame({"a": ["x", "é" * 101]}), "ad", "a: 1 values are longer than 200 bytes.*is row 2"),
        (pl.DataFrame({"a": [2**53 + 1]}), "ad", "a: row 1: 9007199254740993: the numbers of a SAS"),
        (pl.DataFrame({"a": [1.0, 1e76]}), "ad", "a: row 2: 1e.76: the numbers"),
        (pl.DataFrame({"a": [1.0, float("inf")]}), "ad", "a: row 2: inf: the numbers"),
        (pl.DataFrame({"a": [1e-80]}), "ad", "a: row 1: 1e-80: the numbers"),
        (pl.DataFrame({"a": [[1]]}), "ad", "a: List.Int64.: text, numbers"),
    ],
)  # fmt: skip
def test_what_a_transport_file_has_no_place_for(tmp_path, frame, name, message):
    with pytest.raises(ExportError, match=message):
        write_transport_file(data_set(frame, name), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_text_of_two_hundred_bytes_fits(tmp_path):
    longest = "é" * 100
    path, _ = write_transport_file(data_set(pl.DataFrame({"a": [longest]})), tmp_path)
    assert read_back(path, "xpt")[1] == {"A": [longest]}


@given(st.lists(st.from_regex(r"[a-z_][a-z0-9_]{0,14}", fullmatch=True), unique=True, max_size=40))
def test_short_names_are_valid_and_unique(columns):
    names = short_names(columns)
    assert list(names) == columns
    assert len(set(names.values())) == len(columns)
    for column, name in names.items():
        assert re.fullmatch(r"[A-Z_][A-Z0-9_]{0,7}", name)
        assert len(column) > 8 or name == column.upper()


# SAS pads texts with blanks, so those at the end of one are not part of it.
_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["C"]), max_size=40)
_TRIMMED = _TEXTS.filter(lambda text: len(text.encode()) <= 200).map(lambda text: text.rstrip(" "))
_NUMBERS = st.floats(-1e70, 1e70).filter(lambda value: value == 0 or abs(value) > 1e-70)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.tuples(
            st.none() | _TRIMMED,
            st.none() | _NUMBERS,
            st.none() | st.integers(1 - 2**53, 2**53 - 1),
            st.none() | st.dates(dt.date(1600, 1, 1), dt.date(9999, 12, 31)),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_values_survive_either_format(tmp_path, rows):
    schema = {"a": pl.String, "b": pl.Float64, "c": pl.Int64, "d": pl.Date}
    frame = pl.DataFrame({"k": [f"row {n}" for n in range(len(rows))]}).hstack(
        pl.DataFrame(rows, schema=schema, orient="row")
    )
    expected = {
        "K": frame["k"].to_list(),
        "A": [text or None for text in frame["a"]],
        "B": [None if value is None else number_text(value) for value in frame["b"]],
        "C": [None if value is None else str(value) for value in frame["c"]],
        "D": [None if value is None else value.isoformat() for value in frame["d"]],
    }
    path = write_dataset_json(data_set(frame), tmp_path, "ndjson", ORIGIN)
    assert read_back(path, "dataset_json")[1] == expected
    path, _ = write_transport_file(data_set(frame), tmp_path)
    values = read_back(path, "xpt")[1]
    # An IBM number has at least as many binary digits as a double: nothing is lost.
    assert values == expected


@pytest.fixture
def lake(home):
    """Make a lake of the reference study with an adam schema in its first versions."""
    lake = open_lake("nl_ruxolitinib")
    lake.scratch.mkdir(parents=True)
    with lake.open_store() as store:
        connection = store.connection
        connection.execute("create schema store.adam")
        connection.execute(
            "create table store.adam.adsl as select 'S-1' as usubjid, 63 as age, true as is_trtedt_imputed,"
            " date '2014-01-02' as trtsdt, 'dm.csv' as _source_file, 2::bigint as _source_row"
        )
        connection.execute(
            "comment on table store.adam.adsl is 'SIMULATED DATA. Participants.\ngrain: one row per usubjid'"
        )
        connection.execute("comment on column store.adam.adsl.age is 'Age at the reference start'")
        connection.execute("insert into store.adam.adsl values ('S-2', 40, false, null, 'dm.csv', 3)")
    return home


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    code = 0
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.usefixtures("lake")
class TestCommand:
    def test_dataset_json(self, capsys, tmp_path):
        folder = tmp_path / "made" / "here"
        code, out, err = run(capsys, "export", "nl_ruxolitinib", "--format", "dataset-json", "--to", folder)
        assert (code, out, err) == (0, f"{folder / 'adsl.json'}\n", "")
        written = json.loads((folder / "adsl.json").read_text("utf-8"))
        assert [column["name"] for column in written["columns"]] == [
            "USUBJID", "AGE", "IS_TRTEDT_IMPUTED", "TRTSDT",
        ]  # fmt: skip
        assert written["columns"][0]["keySequence"] == 1
        assert written["columns"][1]["label"] == "Age at the reference start"
        assert written["label"] == "SIMULATED DATA. Participants."
        assert written["rows"] == [["S-1", 63, True, "2014-01-02"], ["S-2", 40, False, None]]

    def test_transport_files_with_the_list_of_their_variables(self, capsys, tmp_path):
        code, out, _ = run(capsys, "export", "nl_ruxolitinib", "--format", "xpt", "--to", tmp_path / "x")
        assert code == 0
        assert out.splitlines() == [str(tmp_path / "x" / name) for name in ("adsl.xpt", "variables.csv")]
        listed = list(csv.DictReader((tmp_path / "x" / "variables.csv").read_text("utf-8").splitlines()))
        assert listed[2] == {
            "data_set": "ADSL", "name": "ISTRTEDT", "table": "adam.adsl", "column": "is_trtedt_imputed",
            "label": "is_trtedt_imputed",
        }  # fmt: skip

    def test_an_earlier_version(self, capsys, tmp_path):
        with open_lake("nl_ruxolitinib").read() as connection:
            newest = connection.execute("select max(snapshot_id) from lake.snapshots()").fetchone()[0]
        for option in ("--at", "--version"):
            arguments = ("--format", "ndjson", "--to", tmp_path, option, newest - 1)
            assert run(capsys, "export", "nl_ruxolitinib", *arguments)[0] == 0
            head, *rows = (tmp_path / "adsl.ndjson").read_text("utf-8").splitlines()
            assert len(rows) == json.loads(head)["records"] == 1

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (("--format", "xpt", "--schema", "sdtm"), 10, "schema 'sdtm': has no tables .* adam"),
            (("--format", "ars"), 10, "has no results.clinical_statistics: switch on a clinical analysis"),
            (("--format", "tables"), 10, "has no results.clinical_statistics"),
            (("--format", "sas7bdat"), 2, "--format"),
            (("--format", "xpt", "--at", "99"), 8, "version 99: .* no such version"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_written(self, capsys, tmp_path, arguments, code, message):
        ended, out, err = run(capsys, "export", "nl_ruxolitinib", *arguments, "--to", tmp_path / "x")
        assert (ended, out) == (code, "")
        assert re.search(message, err)
        assert not (tmp_path / "x").exists()

    def test_a_folder_that_is_a_file(self, capsys, tmp_path):
        (tmp_path / "x").write_text("")
        ended, _, err = run(capsys, "export", "nl_ruxolitinib", "--format", "ndjson", "--to", tmp_path / "x")
        assert ended == 10
        assert "cannot be made a folder" in err
