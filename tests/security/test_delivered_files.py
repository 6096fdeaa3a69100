"""Whatever a delivered file holds, it lands as it is or is refused, and changes nothing else."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import itertools
import json
import logging
import re
import threading
import zipfile
from pathlib import Path

import duckdb
import pandas as pd
import pyreadstat
import pytest

from tasks import landing
from tasks.readers import Piece, find_pieces, read, sha256_of
from tasks.readers.encoding import judge
from tasks.stage import new_run, open_stage
from warehouse.errors import SourceError
from warehouse.lake import open_lake
from warehouse.study import Source, load_study

HOSTILE = (
    'x"; drop table canary; --',
    "x'; drop table canary; --",
    "a\" varchar); copy canary to 'canary.csv'; --",
    "'); attach 'canary.db' as c; --",
    '"',
    "'",
    "''",
    '""',
    ";",
    "--",
    "/*",
    "*/",
    "$$",
    "$1",
    "?",
    "{0}",
    "%s",
    "\\",
    "\\'",
    "a\\",
    "a\tb",
    "a\nb",
    "a\r\nb",
    "a\x0bb",
    "a\x1b[2Jb",
    "a\x85b",
    "a\u2028b",
    "a\0b",
    " ",
    "",
    " a ",
    "e\u0301",
    "\u202eabc",
    "\u05d0\u05d1",
    "\ud800",
    "\U0001f9ec",
    "\ufeffa",
    "İ",
    "x" * 64 + "1",
    "x" * 1000,
    "x" * 10_000,
    "rowid",
    "row_id",
    "begin_snapshot",
    "end_snapshot",
    "ctid",
    "_source_file",
    "_SOURCE_ROW",
    "_sha256",
    "c0",
    "select",
    "null",
    "=1+1",
    "<script>",
    "{{x}}",
)
STAR_HEAD = "N_unmapped\t1\t1\t1\nN_multimapping\t1\t1\t1\nN_noFeature\t1\t1\t1\nN_ambiguous\t1\t1\t1\n"


def as_csv(*rows: list[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def as_json(name: str = "A", label: str = "a label", title: str = "t") -> bytes:
    column = {"itemOID": "o", "name": name, "label": label, "dataType": "string"}
    head = {
        "datasetJSONCreationDateTime": "2026-01-01",
        "datasetJSONVersion": "1.1",
        "itemGroupOID": "o",
        "records": 1,
        "name": "AD",
        "label": title,
        "columns": [column],
    }
    return (json.dumps(head) + "\n" + json.dumps(["v"]) + "\n").encode()


def as_geo(sample: str) -> bytes:
    doubled = sample.replace('"', '""')
    return f'!Series_title\t"t"\n!Sample_geo_accession\t"{doubled}"\t"GSM2"\n'.encode(
        "utf-8", "surrogatepass"
    )


# Position: format, the bytes with a name in this position, and what becomes of the name: a column, or a cell.
POSITIONS = {
    "header": ("csv", lambda name: as_csv([name, "b"], ["1", "2"]), "column"),
    "last header": ("csv", lambda name: as_csv(["b", name], ["2", "1"]), "column"),
    "cell": ("csv", lambda name: as_csv(["a", "b"], [name, "2"]), "cell"),
    "sample": ("matrix", lambda name: as_csv(["gene", name, "s2"], ["G", "1", "2"]), "cell"),
    "gene": ("matrix", lambda name: as_csv(["gene", "s1", "s2"], [name, "1", "2"]), "cell"),
    "gene set": ("gmt", lambda name: f"{name}\tna\tA\n".encode("utf-8", "surrogatepass"), "cell"),
    "gene of a set": ("gmt", lambda name: f"S\tna\t{name}\tB\n".encode("utf-8", "surrogatepass"), "cell"),
    "gene of STAR": (
        "star",
        lambda name: f"{STAR_HEAD}{name}\t1\t2\t3\n".encode("utf-8", "surrogatepass"),
        "cell",
    ),
    "accession": ("geo_series_matrix", as_geo, "cell"),
    "column of Dataset-JSON": ("dataset_json", as_json, "column"),
    "label of Dataset-JSON": ("dataset_json", lambda name: as_json(label=name), "label"),
    "title of Dataset-JSON": ("dataset_json", lambda name: as_json(title=name), "title"),
}


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    """Give a connection with a canary table, in a folder where nothing may appear."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with duckdb.connect() as connection:
        connection.execute("create table canary as select 1 as sings")
        yield connection
        assert connection.execute("from canary").fetchall() == [(1,)]
        assert not list(folder.iterdir())


@pytest.mark.parametrize("position", POSITIONS)
def test_a_name_lands_as_it_is_or_is_refused(guarded, tmp_path, position):
    kind, content, becomes = POSITIONS[position]
    landed = 0
    refused: list[str] = []
    file = tmp_path / ("s" + "ReadsPerGene.out.tab")
    for name in HOSTILE:
        file.write_bytes(content(name))
        try:
            delivered = read(guarded, Piece(file, file.name), Source(path=file.name, format=kind))
        except SourceError as error:
            refused.append(str(error))
            continue
        rows = guarded.execute(f"from {delivered.relation}").fetchall()
        assert delivered.rows == len(rows)
        if becomes == "column":
            shown = re.sub(r"\s*[\r\n]+\s*", " ", name)
            assert {name, name.removeprefix("\ufeff"), shown} & {*delivered.columns} or not shown.strip()
        elif becomes == "cell":
            cells = {cell for row in rows for cell in row}
            # A tab or a line break ends a cell of these formats, gene sets lose blanks, an empty cell is
            # null.
            parts = re.split(r"[\t\r\n]+", name) if kind in ("gmt", "star") else [name]
            for part in parts:
                held = {part, part.strip(), part.removeprefix("\ufeff")} & cells
                assert held or not part.strip() or f"gene set {part!r}" in " ".join(delivered.remarks)
        else:
            value = delivered.labels.get("A") if becomes == "label" else delivered.table_label
            assert value == (name or None)
        landed += 1
    assert landed > len(HOSTILE) / 2
    assert all(message.startswith(f"{file.name}: ") and len(message) < 2500 for message in refused)


@pytest.mark.parametrize("position", ["header", "column of Dataset-JSON", "label of Dataset-JSON"])
@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_a_name_that_cannot_be_stored_is_refused_with_its_place(guarded, tmp_path, position, name):
    kind, content, _ = POSITIONS[position]
    file = tmp_path / "x"
    file.write_bytes(content(name))
    with pytest.raises(SourceError, match=r"^x: (line 1|the (name|label) of column 1)"):
        read(guarded, Piece(file, "x"), Source(path="x", format=kind))


@pytest.mark.parametrize(
    "name", [b'x";drop-', b"';--/*$$", b"\x00\x01\x02\x03", b"a\xff\xfe", b"_sha256", b"        "]
)
@pytest.mark.parametrize("place", [b"NAMEHERE", b"LABELHERE", b"TITLEHERE", b"CELLHERE"])
def test_names_of_a_transport_file(guarded, tmp_path, name, place):
    file = tmp_path / "x.xpt"
    frame = pd.DataFrame({"NAMEHERE": ["CELLHERE", "é"], "N": [1.0, 2.0]})
    pyreadstat.write_xport(
        frame,
        str(file),
        file_label="TITLEHERE",
        table_name="T",
        column_labels=["LABELHERE", "n"],
        file_format_version=5,
    )
    content = file.read_bytes()
    assert content.count(place)
    file.write_bytes(content.replace(place, name.ljust(len(place))))
    try:
        delivered = read(guarded, Piece(file, "x.xpt"), Source(path="x.xpt", format="xpt"))
    except SourceError as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert refused.startswith("x.xpt: ")
        return
    text = name.decode().strip() or None
    found = {
        b"NAMEHERE": delivered.columns[0],
        b"LABELHERE": delivered.labels.get("NAMEHERE"),
        b"TITLEHERE": delivered.table_label,
        b"CELLHERE": guarded.execute(f"select NAMEHERE from {delivered.relation}").fetchone()[0]
        if place == b"CELLHERE"
        else None,
    }[place]
    assert found == text or (place == b"NAMEHERE" and text is None)


def study_of(folder: Path, sources: str) -> None:
    (folder / "study.toml").write_text(
        '[study]\nid = "hostile"\ntitle = "Hostile"\n[design]\nkind = "single-arm"\n' + sources,
        encoding="utf-8",
    )


def ingest(folder: Path):
    study = load_study(folder)
    with open_stage("ingest", study, new_run({})) as stage:
        landed = landing.landed_files(stage.connection, stage.input_version)
        for delivery in landing.find_deliveries(study, folder, landed):
            landing.land_source(stage, delivery)
        stage.publish("landed")


def test_hostile_names_reach_the_lake_as_they_are(home, tmp_path):
    # A line break becomes a space, a nameless column gets a name, some names are ours; the readers'
    # tests have them.
    names = [
        name
        for name in HOSTILE
        if name.strip() and not re.search("[\0\r\n\ud800]", name) and len(name) <= 1000 and name[0] != "_"
    ]
    rows = [names, [str(place) for place in range(len(names))]]
    (tmp_path / "first.csv").write_bytes(as_csv(*rows))
    (tmp_path / 'it\'s "x".json').write_bytes(as_json("A", "it's \"; drop", "title's"))
    sources = "".join(
        f'[sources.{source}]\npath = """{path}"""\nformat = "{kind}"\ndescription = """{about}"""\n'
        for source, path, kind, about in (
            ("select", "first.csv", "csv", "'; drop schema meta; --"),
            ("order", 'it\'s \\"x\\".json', "dataset_json", ""),
            ("t" * 40, "first.csv", "csv", "$$"),
        )
    )
    study_of(tmp_path, sources)
    ingest(tmp_path)
    with open_lake("hostile").read() as connection:
        for source in ("select", "t" * 40):
            found = connection.execute(f'from lake.raw."{source}"')
            assert [column[0] for column in found.description[: len(names)]] == names
            assert list(found.fetchone()[: len(names)]) == rows[1]
        assert connection.execute('select "A", _source_file from lake.raw."order"').fetchall() == [
            ("v", 'it\'s "x".json')
        ]
        comments = connection.execute(
            "select comment from duckdb_tables() where schema_name = 'raw'"
        ).fetchall()
    assert any("'; drop schema meta; --" in comment for (comment,) in comments)
    # The second delivery widens the table by names that DuckLake keeps for itself inside the catalog.
    (tmp_path / "first.csv").write_bytes(as_csv(['new"; --', "row_id2", "ROWID2"[:-1]], ["1", "2", "3"]))
    ingest(tmp_path)


def test_many_columns_land_and_too_many_are_refused(guarded, tmp_path, monkeypatch):
    monkeypatch.setenv("TRIALHOUSE_MAX_COLUMNS", "300")
    file = tmp_path / "x.csv"
    for kind, most in (("csv", 300), ("matrix", 10_000)):
        width = most + (kind == "matrix")
        file.write_bytes(as_csv([f"c{n}" for n in range(width)], [str(n) for n in range(width)]))
        rows = read(guarded, Piece(file, "x.csv"), Source(path="x.csv", format=kind)).rows
        assert rows == (1 if kind == "csv" else most)
        file.write_bytes(as_csv([f"c{n}" for n in range(width + 1)]))
        with pytest.raises(SourceError, match=f"x.csv: {most + 1} (columns|samples)"):
            read(guarded, Piece(file, "x.csv"), Source(path="x.csv", format=kind))


SECRET = "Jane Roe jane.roe@example.org 1970-01-02"  # noqa: S105 - a participant's, not a password


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("csv", f"a,b\n1,2\n{SECRET},2,3\n"),
        ("csv", f'a,b\n"{SECRET}"x,2\n'),
        ("csv", f'a,b\n"{SECRET},2\n'),
        ("csv", f"{SECRET},2\n1,2\n"),
        ("csv", f"a\0{SECRET},2\n"),
        ("csv", f"a,b\n{SECRET}\xe9\ud8ff\n"),
        ("matrix", f"g,s\nG,{SECRET},1,2\n"),
        ("star", f"{STAR_HEAD}{SECRET}\t1\n"),
        ("star", f"{SECRET}\t1\t2\t3\n"),
        ("gmt", f"{SECRET}\n"),
        ("geo_series_matrix", f"{SECRET}\n"),
        (
            "geo_series_matrix",
            f"!Series_title\tt\n!Sample_geo_accession\tG1\n!series_matrix_table_begin\nID\tG1\n{SECRET}\t\t\n",
        ),
        (
            "geo_series_matrix",
            f'!Series_title\tt\n!Sample_geo_accession\tG1\n!series_matrix_table_begin\nID\tG1\n"{SECRET}\t2\n!series_matrix_table_end\n',
        ),
        ("dataset_json", SECRET),
        ("dataset_json", as_json().decode().replace('"v"', f'"{SECRET}", 2')),
        ("dataset_json", as_json().decode().replace('["v"]', f'{{"{SECRET}": 1}}')),
        ("dataset_json", as_json().decode().replace('["v"]', f'"{SECRET}"')),
        ("dataset_json", as_json().decode().replace('"v"', f'"{SECRET}')),
        ("dataset_json", as_json().decode().replace('"v"', f'["{SECRET}"]')),
        ("dataset_json", as_json().decode().replace('"v"', f'"{SECRET}\\ud800"')),
        ("xpt", SECRET),
    ],
)
def test_no_message_quotes_a_cell(guarded, tmp_path, kind, content):
    file = tmp_path / ("s" + "ReadsPerGene.out.tab")
    file.write_bytes(content.encode("utf-8", "surrogatepass"))
    source = Source(path=file.name, format=kind, columns={"USUBJID": "text"} if kind == "csv" else {})
    with pytest.raises(SourceError) as refused:
        read(guarded, Piece(file, file.name), source)
    error: BaseException | None = refused.value
    while error is not None:
        for part in ("Jane", "Roe", "example", "1970"):
            assert part not in str(error)
        error = error.__cause__


# Encodings: what a text is in, and whether it is taken without being declared.
WESTERN = (
    "Ren\xe9e, M\xfcller, Gar\xe7on, na\xefve",
    "Alzheimer\u2019s",
    "5 \xb5g/m\xb2 \xb1 2 \xb0C \u2013 10 \u20ac",
    "Crohn\xb4s",
    "T\xb0C",
    "mean\xb1sd",
)
TAKEN = [(text, "cp1252") for text in WESTERN]
FOREIGN = [
    ("Ren\xe9e, M\xfcller, Gar\xe7on", "mac-roman"),
    ("M\xfcller, Fran\xe7oise, S\xe4nger", "cp437"),
    ("Pawe\u0142 Wa\u0142\u0119sa, \u017bubr", "cp1250"),
    ("Pawe\u0142 Wa\u0142\u0119sa, \u017a\u017a", "iso8859-2"),
    ("Привет, Иванов", "cp1251"),
    ("Привет, Иванов", "koi8-r"),
    ("Καλημέρα κόσμε", "cp1253"),
    ("שלום עולם", "cp1255"),
    ("東京都の患者", "shift_jis"),
    ("カタカナ", "shift_jis"),
    ("北京的病人", "gbk"),
    ("서울 환자", "euc-kr"),
    ("東京都の患者", "euc-jp"),
]


@pytest.mark.parametrize(("text", "encoding"), TAKEN)
def test_western_text_is_taken_for_cp1252(guarded, tmp_path, text, encoding):
    file = tmp_path / "x.csv"
    file.write_bytes(f"a|b\n{text}|2\n".encode(encoding))
    delivered = read(guarded, Piece(file, "x.csv"), Source(path="x.csv", format="csv", separator="|"))
    assert guarded.execute(f"select a from {delivered.relation}").fetchall() == [(text,)]
    assert "read as cp1252, which makes" in delivered.remarks[0]


@pytest.mark.parametrize(("text", "encoding"), FOREIGN)
@pytest.mark.parametrize("kind", ["csv", "xpt"])
def test_other_encodings_are_refused_until_they_are_declared(guarded, tmp_path, text, encoding, kind):
    file = tmp_path / "x"
    if kind == "csv":
        file.write_bytes(f"a|b\n{text}|2\n".encode(encoding))
    else:
        placed = "X" * len(text.encode(encoding))
        pyreadstat.write_xport(
            pd.DataFrame({"a": [placed], "b": ["2"]}), str(file), table_name="T", file_format_version=5
        )
        file.write_bytes(file.read_bytes().replace(placed.encode(), text.encode(encoding)))
    declared = {"separator": "|"} if kind == "csv" else {}
    with pytest.raises(SourceError, match=r"declare the (encoding|one)"):
        read(guarded, Piece(file, "x"), Source(path="x", format=kind, **declared))
    delivered = read(guarded, Piece(file, "x"), Source(path="x", format=kind, encoding=encoding, **declared))
    assert guarded.execute(f"select a from {delivered.relation}").fetchall() == [(text,)]


@pytest.mark.parametrize(
    "damage", [b"\xff", b"\x80", b"\xe9", b"\x81", b"\xc3", b"\xf0\x9f", b"\xed\xa0\x80"]
)
@pytest.mark.parametrize("place", [0.0, 0.3, 0.9])
def test_one_wrong_byte_does_not_turn_a_file_into_another_encoding(guarded, tmp_path, damage, place):
    text = "name,city\n" + "René,Zürich\nŁukasz,Łódź\n" * 500
    content = text.encode()
    at = int(place * len(content))
    while content[at] > 0x7F or content[at - 1] > 0x7F:
        at += 1
    file = tmp_path / "x.csv"
    file.write_bytes(content[:at] + damage + content[at:])
    line = content[:at].count(b"\n") + 1
    with pytest.raises(
        SourceError, match=rf"^x.csv: line {line}, byte {at} \(0x.*damaged or mixes encodings"
    ):
        read(guarded, Piece(file, "x.csv"), Source(path="x.csv", format="csv"))


@pytest.mark.parametrize("character", "éèäöüßáàñçíóúêâîôûåæøÉÄÖÜ")
@pytest.mark.parametrize("keeps", [slice(1, None), slice(0, 1)])
def test_half_of_the_only_accent_of_a_file_is_no_western_text(character, keeps):
    half = character.encode()[keeps]
    verdict = judge([b"name\nab" + half + b"cd\n"])
    # Half of these is a no-break space, a plus-minus, a degree or a quote, which a word may hold.
    may_pass = character in "àñíîçÉÄÖÜ" or (keeps.start == 1 and character == "ß")
    assert verdict.multibyte == 0
    assert verdict.unlike_windows is not None or may_pass


def test_evidence_does_not_depend_on_where_the_chunks_end():
    content = ("naïve café\n" * 50).encode("cp1252") + "Привет\n".encode("cp1251")
    whole = judge([content])
    for size in (1, 7, 64):
        parts = judge(content[at : at + size] for at in range(0, len(content), size))
        assert (parts.unlike_windows, parts.characters) == (whole.unlike_windows, whole.characters)


# A delivered file changes while it is read.


def land_while(monkeypatch, folder, change):
    """Ingest, and change the delivered file after it was hashed and before it is read."""
    find = landing.find_deliveries

    def then_change(*arguments):
        found = find(*arguments)
        change()
        return found

    monkeypatch.setattr(landing, "find_deliveries", then_change)
    try:
        ingest(folder)
    finally:
        monkeypatch.setattr(landing, "find_deliveries", find)


@pytest.mark.parametrize("shape", ["plain", "gzip", "member"])
def test_the_recorded_digest_is_that_of_the_rows(home, tmp_path, monkeypatch, shape):
    def write(content: bytes) -> None:
        if shape == "member":
            with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
                archive.writestr("x.csv", content)
        else:
            (tmp_path / "x.csv").write_bytes(gzip.compress(content) if shape == "gzip" else content)

    path, member = ("x.zip", '\nmember = "x.csv"') if shape == "member" else ("x.csv", "")
    study_of(tmp_path, f'[sources.x]\npath = "{path}"\nformat = "csv"{member}\n')
    write(b"a,b\n1,old\n")
    land_while(monkeypatch, tmp_path, lambda: write(b"a,b\n1,new\n2,new\n"))
    (piece,) = find_pieces(tmp_path, "x", load_study(tmp_path).sources["x"])
    with open_lake("hostile").read() as connection:
        rows = connection.execute("select b, _sha256 from lake.raw.x").fetchall()
        ledger = connection.execute("select sha256, rows from lake.meta.source_file").fetchall()
    assert rows == [("new", sha256_of(piece))] * 2
    assert ledger == [(sha256_of(piece), 2)]
    # The old content comes back: a row lost for good, when the lake believed that it had it.
    write(b"a,b\n1,old\n")
    ingest(tmp_path)
    with open_lake("hostile").read() as connection:
        assert connection.execute("select count(*) from lake.raw.x where b = 'old'").fetchone() == (1,)


@pytest.mark.parametrize("packed", [False, True])
def test_a_declared_digest_is_that_of_the_bytes_that_are_parsed(home, tmp_path, monkeypatch, packed):
    file = tmp_path / ("x.zip" if packed else "x.csv")

    def write(content: bytes) -> None:
        if packed:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("x.csv", content)
        else:
            file.write_bytes(content)

    write(b"a,b\n1,2\n")
    declared = hashlib.sha256(file.read_bytes()).hexdigest()
    member = '\nmember = "x.csv"' if packed else ""
    study_of(tmp_path, f'[sources.x]\npath = "{file.name}"\nformat = "csv"\nsha256 = "{declared}"{member}\n')
    with pytest.raises(SourceError, match="is not the declared file"):
        land_while(monkeypatch, tmp_path, lambda: write(b"a,b\n1,3\n"))


@pytest.mark.parametrize("kind", ["csv", "xpt"])
def test_a_file_that_is_rewritten_all_the_time_lands_with_the_digest_of_its_rows(guarded, tmp_path, kind):
    """Whatever moment of a file is read, rows and digest are of the same bytes, and nothing crashes."""
    contents = [f"a,b\n{(text * 9 + ',1' + chr(10)) * 30_000}".encode() for text in "xy"]
    if kind == "xpt":
        pyreadstat.write_xport(pd.DataFrame({"A": ["x" * 20] * 30_000}), str(tmp_path / "w"), table_name="T")
        contents[0] = (tmp_path / "w").read_bytes()
        contents[1] = contents[0].replace(b"xxx", b"yyy")
    file = tmp_path / "x"
    file.write_bytes(contents[0])
    stop = threading.Event()

    def rewrite() -> None:
        with file.open("r+b", buffering=0) as stream:
            for turn in itertools.count():
                if stop.is_set():
                    return
                stream.seek(0)
                stream.write(contents[turn % 2])
                if turn % 3 == 0:
                    stream.truncate(len(contents[0]) // 3)

    writer = threading.Thread(target=rewrite)
    writer.start()
    try:
        for _ in range(6):
            with contextlib.suppress(SourceError):
                delivered = read(guarded, Piece(file, "x"), Source(path="x", format=kind))
                if kind == "csv":
                    rows = guarded.execute(
                        f"select a || ',' || b from {delivered.relation} order by _source_row"
                    )
                    lines = "\n".join(["a,b", *(line for (line,) in rows.fetchall())])
                    possible = {hashlib.sha256(f"{lines}{end}".encode()).hexdigest() for end in ("", "\n")}
                    assert delivered.sha256 in possible
    finally:
        stop.set()
        writer.join()


def test_no_remark_and_no_log_quotes_a_cell(guarded, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "x.csv"
    file.write_bytes(f'a,b\r\n{SECRET},"x"\n\n"1",2\r\n'.encode())
    delivered = read(guarded, Piece(file, "x.csv"), Source(path="x.csv", format="csv"))
    assert delivered.remarks
    assert not any("Jane" in text for text in (*delivered.remarks, caplog.text))
