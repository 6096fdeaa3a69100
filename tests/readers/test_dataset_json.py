"""CDISC Dataset-JSON 1.1: the three forms, the text of each cell, and every way a file can be wrong."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib

import pytest

from tasks.readers import Piece, read
from tasks.readers import dataset_json as reader
from warehouse.errors import SourceError
from warehouse.study import Source

COLUMNS = [
    {"itemOID": "IT.AD.USUBJID", "name": "USUBJID", "label": "Subject", "dataType": "string"},
    {"itemOID": "IT.AD.AGE", "name": "AGE", "label": "Age", "dataType": "integer"},
    {"itemOID": "IT.AD.AVAL", "name": "AVAL", "label": "", "dataType": "float"},
    {
        "itemOID": "IT.AD.ADT",
        "name": "ADT",
        "label": "Date",
        "dataType": "date",
        "targetDataType": "integer",
        "displayFormat": "DATE9.",
    },
]  # fmt: skip
ROWS = [["S-1", 63, 0.5, "2014-01-02"], ["S-2", None, 12.0, ""], ['Ä "x"\n', -1, 1e-7, None]]
EXPECTED = [
    ("S-1", "63", "0.5", "2014-01-02", 1),
    ("S-2", None, "12", None, 2),
    ('Ä "x"\n', "-1", "1e-07", None, 3),
]


def attributes(**changed):
    made = {
        "datasetJSONCreationDateTime": "2026-01-31T12:00:00",
        "datasetJSONVersion": "1.1.0",
        "itemGroupOID": "IG.AD",
        "records": len(ROWS),
        "name": "AD",
        "label": "Analysis data",
        "columns": COLUMNS,
    }
    return {name: value for name, value in {**made, **changed}.items() if value is not ...}


def ndjson(rows=ROWS, **changed) -> bytes:
    return b"".join(json.dumps(part).encode() + b"\n" for part in (attributes(**changed), *rows))


def whole(rows=ROWS, indent=None, **changed) -> bytes:
    return json.dumps({**attributes(**changed), "rows": rows}, indent=indent, ensure_ascii=False).encode()


def zipped(content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("data/ad.dsjc", content)
    return target.getvalue()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (whole(), "ad.json"),
        (whole(indent=2), "ad.json"),
        (ndjson(), "ad.ndjson"),
        (ndjson().replace(b"\n", b"\r\n") + b"\n", "ad.ndjson"),
        (ndjson().removesuffix(b"\n"), "ad.ndjson"),
        (b"\xef\xbb\xbf" + ndjson(), "ad.ndjson"),
        (zlib.compress(ndjson(), 9), "ad.dsjc"),
        (zlib.compress(ndjson(), 1), "ad.dsjc"),
        (gzip.compress(ndjson()), "ad.dsjc"),
        (gzip.compress(whole()), "ad.json.gz"),
        (gzip.compress(zlib.compress(ndjson())), "ad.dsjc.gz"),
        (ndjson([dict(zip([c["name"] for c in COLUMNS], row, strict=True)) for row in ROWS]), "ad.ndjson"),
    ],
    ids=[
        "json",
        "pretty",
        "ndjson",
        "crlf",
        "no end",
        "mark",
        "dsjc",
        "fast",
        "gzip",
        "gz",
        "both",
        "objects",
    ],
)
def test_every_form_holds_the_same(read_bytes, content, name):
    delivered, rows = read_bytes(content, name=name, format="dataset_json")
    assert rows == EXPECTED
    assert delivered.columns == ("USUBJID", "AGE", "AVAL", "ADT")
    assert delivered.labels == {"USUBJID": "Subject", "AGE": "Age", "ADT": "Date"}
    assert (delivered.table_label, delivered.rows, delivered.encoding) == ("Analysis data", 3, "utf-8")
    assert delivered.has_bom == content.startswith(b"\xef\xbb\xbf")


def test_a_member_of_a_zip_file(connection, tmp_path):
    path = tmp_path / "all.zip"
    path.write_bytes(zipped(zlib.compress(ndjson())))
    source = Source(path="all.zip", member="*.dsjc", format="dataset_json")
    delivered = read(connection, Piece(path, "all.zip!data/ad.dsjc", "data/ad.dsjc"), source)
    assert delivered.rows == 3


def test_records_are_read_in_batches(read_bytes, monkeypatch):
    monkeypatch.setattr(reader, "_BATCH", 2)
    _, rows = read_bytes(ndjson(), format="dataset_json")
    assert rows == EXPECTED


@pytest.mark.parametrize("content", [whole([], records=0), ndjson([], records=0)])
def test_attributes_without_records(read_bytes, content):
    delivered, rows = read_bytes(content, format="dataset_json")
    assert (rows, delivered.rows) == ([], 0)
    assert delivered.remarks == ("the data set has no records",)


# SAS counts days and seconds from 1960-01-01: 2014-01-02 is day 19725 (SAS '02JAN2014'd).
@pytest.mark.parametrize(
    ("kind", "shown_as", "value", "text"),
    [
        ("date", "DATE9.", 19725, "2014-01-02"),
        ("date", None, 19725.0, "2014-01-02"),
        ("date", None, "2014-01", "2014-01"),
        ("datetime", "E8601DT.", 60, "1960-01-01T00:01:00"),
        ("datetime", None, 86400.5, "1960-01-02T00:00:00.500000"),
        ("time", None, 90061, "25:01:01"),
        ("integer", "E8601DA.", 0, "1960-01-01"),
        ("float", "8.2", 19725, "19725"),
        ("decimal", None, "30.8983333232059", "30.8983333232059"),
        ("decimal", None, "0.50", "0.50"),
        ("integer", None, 12345678901234567890, "12345678901234567890"),
        ("double", None, 0.1, "0.1"),
        ("float", None, -0.0, "0"),
        ("boolean", None, True, "true"),
        ("boolean", None, False, "false"),
        ("string", None, 7, "7"),
        ("URI", None, "https://x.org/a", "https://x.org/a"),
    ],
)
def test_the_text_of_a_cell(read_bytes, kind, shown_as, value, text):
    column = {"itemOID": "I", "name": "X", "label": "x", "dataType": kind}
    if shown_as:
        column["displayFormat"] = shown_as
    _, rows = read_bytes(ndjson([[value]], columns=[column], records=1), format="dataset_json")
    assert rows == [(text, 1)]


def test_a_number_that_is_no_date_stays_a_number(read_bytes):
    column = {"itemOID": "I", "name": "ADT", "label": "", "dataType": "date"}
    delivered, rows = read_bytes(ndjson([[1e12], [0]], columns=[column], records=2), format="dataset_json")
    assert rows == [("1000000000000", 1), ("1960-01-01", 2)]
    assert delivered.remarks == ("column ADT: 1 numbers are outside its date format and stay numbers",)


def _column(**changed):
    return [{k: v for k, v in {**COLUMNS[0], **changed}.items() if v is not ...}, *COLUMNS[1:]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"the file is empty \(0 bytes\)"),
        (b"USUBJID,AGE\nS-1,63\n", "line 1 is not JSON, column 1: Expecting value"),
        (b"[1, 2]", "not Dataset-JSON: it begins with list"),
        (ndjson(datasetJSONVersion="1.0.0"), "datasetJSONVersion: '1.0.0': version 1.1"),
        (ndjson(records=..., label=...), "required attributes are missing: records, label"),
        (ndjson(label=None), "label: None: a text is allowed"),
        (ndjson(records="3"), "records: '3': a whole number"),
        (ndjson(records=True), "records: True: a whole number"),
        (ndjson(records=-1), "records: -1: a whole number"),
        (ndjson(records=4), "holds 3 records where its attribute records says 4: cut short"),
        (ndjson(records=2), "holds 3 records where its attribute records says 2"),
        (whole(records=4), "holds 3 records where its attribute records says 4: cut short"),
        (ndjson(columns=[]), "columns: an array of at least one column"),
        (ndjson(columns=["USUBJID"]), "column 1: 'USUBJID': an object is allowed"),
        (ndjson(columns=_column(itemOID=...)), r"column 1 \('USUBJID'\): required .* missing: itemOID"),
        (ndjson(columns=_column(name="")), "column 1: name: ''"),
        (ndjson(columns=_column(label=3)), "column USUBJID: label: 3"),
        (ndjson(columns=_column(dataType="text")), "column USUBJID: dataType: 'text': allowed are string"),
        (ndjson(columns=_column(name="age")), "'age' and 'AGE' in columns 1, 2"),
        (ndjson(columns=_column(name="_sha256")), "added on landing and may not be delivered"),
        (ndjson([*ROWS[:2], ["S-3"]]), "record 3 has 1 values where 4 columns are described"),
        (ndjson([*ROWS[:2], 7]), "record 3 is no array of values but a number"),
        (ndjson([*ROWS[:2], {"AGE": 7}]), "record 3 has other names .* 0 are unknown, missing"),
        (ndjson([*ROWS[:2], [["S"], 1, 1, ""]]), r"record 3, column USUBJID: an array: a text without"),
        (ndjson([*ROWS[:2], ["\ud800", 1, 1, ""]]), r"record 3, column USUBJID: a text: a text without"),
        (ndjson([*ROWS[:2], ["a\0", 1, 1, ""]]), r"record 3, column USUBJID: a text: a text without NUL"),
        (ndjson().replace(b"1e-07", b"1e999"), "record 3, column AVAL: a number: .* a finite number"),
        (ndjson().replace(b"1e-07", b"NaN"), "line 4 cannot be read as JSON: NaN is no JSON number"),
        (ndjson()[:-4], "line 4 is not JSON, ends within it: cut short"),
        (whole()[:-20], "is not JSON, ends within it: cut short"),
        (whole()[:200], "is not JSON, ends within it: cut short"),
        (whole(indent=1)[:-3].rstrip() + b"\n\n", r"line \d+ is not JSON, ends within it: cut short"),
        (whole(indent=1)[:-20], "is not JSON, ends within it: cut short"),
        (ndjson().replace(b"S-2", b"S-\xe4"), "line 3 holds 0xe4, which is not utf-8"),
        (whole().replace(b'"rows": [', b'"rows": 3, "x": ['), "rows: int: an array of records"),
        (whole() + b"{}", "line 1 is not JSON, column .*: Extra data"),
        (zlib.compress(ndjson())[:-5], "the zlib data are cut short"),
        (zlib.compress(ndjson()) + b"x", "the zlib data go on after their end"),
        (zlib.compress(ndjson())[:9] + b"\xff" * 40, "the zlib data are damaged"),
        (gzip.compress(ndjson())[:-9], "the gzip data are cut short"),
    ],
)  # fmt: skip
def test_faults(read_bytes, connection, content, message):
    with pytest.raises(SourceError, match=message):
        read_bytes(content, name="ad.json", format="dataset_json")
    assert connection.execute("select count(*) from duckdb_tables()").fetchone() == (0,)


def test_what_the_study_declares(read_bytes):
    with pytest.raises(SourceError, match="declared column 'AGEU' is missing; did you mean 'AGE'"):
        read_bytes(ndjson(), format="dataset_json", columns={"AGEU": "text"})
    with pytest.raises(SourceError, match="encoding 'cp1252' is declared: Dataset-JSON is always utf-8"):
        read_bytes(ndjson(), format="dataset_json", encoding="cp1252")
    assert read_bytes(ndjson(), format="dataset_json", encoding="UTF-8")[1] == EXPECTED


@pytest.mark.parametrize("name", ["adae", "adcibc", "adlbhy", "adsl", "adtte"])
def test_real_files_equal_their_transport_files(real, name):
    delivered, rows = real(f"cdiscpilot_adam/dsjc/{name}.dsjc", "dataset_json")
    suffix = ".xpt.gz" if name == "adlbhy" else ".xpt"
    transported, others = real(f"cdiscpilot_adam/xpt/{name}{suffix}", "xpt")
    assert delivered.columns == transported.columns
    assert delivered.labels == transported.labels
    assert len(rows) == len(others) == delivered.rows
    different = set()
    for row, other in zip(rows, others, strict=True):
        for column, value, expected in zip(delivered.columns, row[:-1], other[:-1], strict=True):
            if value != expected:
                different.add(column)
                # Sent as decimals of 12 places: half a unit of the last, for numbers up to a thousand.
                assert float(value) == pytest.approx(float(expected), rel=5e-12, abs=5e-13)
    ratios = {"AVAL", "BASE", "R2A1LO", "R2A1HI", "BR2A1LO", "BR2A1HI"}
    assert different == (ratios if name == "adlbhy" else set())


def test_a_real_file_without_a_transport_file(real):
    delivered, rows = real("cdiscpilot_adam/dsjc/adadas.dsjc", "dataset_json")
    assert (delivered.rows, len(delivered.columns)) == (12463, 40)
    assert delivered.table_label == "ADAS-Cog Analysis"
    assert rows[0][:2] == ("CDISCPILOT01", "701")
