from __future__ import annotations

import csv
import gzip
import io

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.readers import Piece, read, release
from tasks.readers.delimited import find_separator
from warehouse.errors import SourceError
from warehouse.study import Source


def test_cells_stay_text_and_rows_are_numbered_as_a_spreadsheet_does(read_bytes):
    delivered, rows = read_bytes(b'USUBJID,AVAL,NOTE\nS-1,007,"1,5"\nS-2,,""\n')
    assert delivered.columns == ("USUBJID", "AVAL", "NOTE")
    assert rows == [("S-1", "007", "1,5", 2), ("S-2", None, None, 3)]
    assert (delivered.rows, delivered.separator, delivered.encoding, delivered.has_bom) == (
        2,
        ",",
        "utf-8",
        False,
    )
    assert delivered.remarks == ()


@pytest.mark.parametrize(
    ("content", "encoding", "has_bom"),
    [
        ("\ufeffa;b\nµg;é\n".encode(), "utf-8-sig", True),
        ("a;b\nµg;é\n".encode(), "utf-8", False),
        ("a;b\nµg;é\n".encode("cp1252"), "cp1252", False),
        ("\ufeffa;b\nµg;é\n".encode("utf-16-le"), "utf-16", True),
        ("\ufeffa;b\nµg;é\n".encode("utf-16-be"), "utf-16", True),
        ("\ufeffa;b\nµg;é\n".encode("utf-32-le"), "utf-32", True),
        ("a;b\nµg;é\n".encode("utf-16-le"), "utf-16-le", False),
    ],
)
def test_encoding_is_found(read_bytes, content, encoding, has_bom):
    delivered, rows = read_bytes(content)
    assert (delivered.columns, rows) == (("a", "b"), [("µg", "é", 2)])
    assert (delivered.encoding, delivered.has_bom) == (encoding, has_bom)


def test_the_characters_that_cp1252_makes_are_named(read_bytes):
    delivered, rows = read_bytes(b"a,b\nRen\xe9\x92s,Ren\xe9\n")
    assert rows == [("Ren\xe9\u2019s", "Ren\xe9", 2)]
    assert delivered.remarks == (
        "not UTF-8 at byte 7: read as cp1252, which makes \xe9 (2), \u2019 (1) of its bytes",
    )


def test_declared_encoding_decides_and_is_held_to(read_bytes):
    _, rows = read_bytes("a,b\n\u0142,2\n".encode("iso8859-2"), encoding="iso-8859-2")
    assert rows == [("ł", "2", 2)]
    with pytest.raises(SourceError, match=r"x\.csv: line 3, byte 8 \(0xe9\) is not utf-8"):
        read_bytes(b"a,b\n1,2\n\xe9,2\n", encoding="utf-8")
    with pytest.raises(SourceError, match="encoding 'klingon' is unknown"):
        read_bytes(b"a,b\n", encoding="klingon")


def test_nul_is_no_text(read_bytes):
    with pytest.raises(SourceError, match="line 2 holds a NUL character"):
        read_bytes(b"a,b\n1\x00,2\n")


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2,5\n", ";"),
        ("a\tb\n1,5;2\t3\n", "\t"),
        ("a|b|c\n1|2|3\n", "|"),
        ('a,b\n"x;y",2\n', ","),
        ("note\nall one; cell\nnext, cell\n", "|"),
        ("note\nplain\n", ","),
        ("a,b\n1,2\n1,2,3\n", ","),
    ],
)
def test_separator_is_found(text, separator):
    assert find_separator(text)[0] == separator


def test_ambiguous_separator_is_said_and_can_be_declared(read_bytes):
    delivered, rows = read_bytes(b"a,b;c\n1,2;3\n")
    assert rows == [("1,2", "3", 2)]
    assert delivered.remarks == ("the separator was taken to be ';'; ',' fits as well",)
    assert read_bytes(b"a,b;c\n1,2;3\n", separator=",")[1] == [("1", "2;3", 2)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("last", [True, False])
def test_line_ends(read_bytes, end, last):
    content = end.join([b"a,b", b'"x\ny",2', b"3,4"]) + (end if last else b"")
    assert read_bytes(content)[1] == [("x\ny", "2", 2), ("3", "4", 3)]


def test_mixed_line_ends_are_read_record_by_record(read_bytes):
    delivered, rows = read_bytes(b"a,b\r\n1,2\n3,4\r5,6\r\n")
    assert rows == [("1", "2", 2), ("3", "4", 3), ("5", "6", 4)]
    assert "record by record" in delivered.remarks[0]


def test_empty_lines_are_no_rows(read_bytes):
    delivered, rows = read_bytes(b"\n\na,b\n\n1,2\n\n\n3,4\n\n")
    assert rows == [("1", "2", 2), ("3", "4", 3)]
    assert any("empty lines" in remark for remark in delivered.remarks)


def test_one_column_tells_an_empty_line_from_an_empty_cell(read_bytes):
    _, rows = read_bytes(b'a\n1\n\n""\n2\n')
    assert rows == [("1", 2), (None, 3), ("2", 4)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n3,4,5\n", r"x\.csv: row 3 has 3 cells where the header has 2"),
        (b"a,b\n1,2\n3\n", "row 3 has 1 cells where the header has 2"),
        (b"a,b,c\nx,y,2,\n", "row 2 has 4 cells where the header has 3"),
        (b'a,b\n"q,q",\nx,1,""\n', "row 3 has 3 cells"),
        (b'a,b\n"x\n\ny",2\n3\n', "row 3 has 1 cells"),
        (b'a,b\n"x"y,2\n', "row 2 cannot be split"),
        (b'a,b\n1,2\n"x,2\n', "row 3 cannot be split"),
        (b"", r"the file is empty \(0 bytes\)"),
        (b" \n\t\n", "nothing but white space"),
        (b"A,b,a\n1,2,3\n", "column names stand more than once: 'A' and 'a' in columns 1, 3"),
        (b"a,_sha256\n1,2\n", "column 2 is named '_sha256'"),
    ],
)
def test_faults_are_named(read_bytes, connection, content, message):
    with pytest.raises(SourceError, match=message):
        read_bytes(content)
    assert connection.execute("select count(*) from duckdb_tables()").fetchone() == (0,)


def test_header_without_rows_is_allowed_and_said(read_bytes):
    delivered, rows = read_bytes(b"a,b")
    assert (rows, delivered.rows) == ([], 0)
    assert "no rows" in delivered.remarks[0]


def test_header_names(read_bytes):
    delivered, _ = read_bytes(b'"","visit\n date",\n1,2,3\n')
    assert delivered.columns == ("row_name", "visit date", "column_3")
    assert len(delivered.remarks) == 3


def test_missing_declared_column_offers_the_nearest(read_bytes):
    with pytest.raises(SourceError, match=r"'USUBJID' is missing; did you mean 'usubjid'\?.*'usubjid', 'b'"):
        read_bytes(b"usubjid,b\n1,2\n", columns={"USUBJID": "text"})


def test_gzip_is_seen_through_and_a_short_one_refused(read_bytes):
    content = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * 7919 % 10007) for i in range(50_000))
    packed = gzip.compress(content)
    assert read_bytes(packed, name="x.csv.gz")[0].rows == 50_000
    assert read_bytes(packed, name="x.csv")[0].rows == 50_000
    for cut in (packed[:-4], packed[: len(packed) // 2], packed[:-8] + b"12345678"):
        with pytest.raises(
            SourceError, match=r"x\.csv\.gz: the gzip data are cut short or damaged after line \d+"
        ):
            read_bytes(cut, name="x.csv.gz")
    with pytest.raises(SourceError, match=r"named \.gz but"):
        read_bytes(content, name="x.csv.gz")


@pytest.mark.parametrize("name", ["a[1].csv", "b*c?.csv", "it's.csv", "day=1/x.csv"])
def test_names_that_mean_something_to_the_database_are_only_names(read_bytes, name):
    assert read_bytes(b"a,b\n1,2\n", name=name)[0].columns == ("a", "b")


def test_a_line_longer_than_the_database_takes(read_bytes):
    assert read_bytes(b"a,b\n1," + b"x" * 3_000_000 + b"\n")[1][0][1] == "x" * 3_000_000


def test_rows_are_numbered_on_a_connection_that_does_not_keep_their_order(connection, read_bytes):
    connection.execute("set preserve_insertion_order = false")
    _, rows = read_bytes(b"a,b\n" + b"".join(b"%d,1\n" % number for number in range(300_000)))
    assert all(int(cell) + 2 == number for cell, _, number in rows)


def test_release_leaves_nothing(connection, read_bytes):
    for content, kind in ((b"a,b\n1,2\n", "csv"), (b"g\td\tA\n", "gmt")):
        delivered, _ = read_bytes(content, format=kind)
        release(connection, delivered)
    assert connection.execute("select count(*) from information_schema.tables").fetchone() == (0,)


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=8)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(2, 4).flatmap(
        lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=8)
    ),
    separator=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_cells_in_are_cells_out(tmp_path, rows, separator, end, quoting):
    if quoting == csv.QUOTE_MINIMAL:
        # The writer leaves a lone carriage return unquoted, where it ends the row.
        rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=separator, lineterminator=end, quoting=quoting)
    writer.writerow([f"h{position}" for position in range(len(rows[0]))])
    writer.writerows(rows)
    path = tmp_path / "x.csv"
    path.write_bytes(stream.getvalue().encode())
    with duckdb.connect() as connection:
        delivered = read(
            connection, Piece(path, "x.csv"), Source(path="x.csv", format="csv", separator=separator)
        )
        out = connection.execute(f"select * from {delivered.relation} order by _source_row").fetchall()
    assert out == [(*(cell or None for cell in row), number) for number, row in enumerate(rows, start=2)]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=60)
    | st.text(st.sampled_from('a1",;\n\r\t| é'), max_size=40).map(str.encode)
    | st.text(st.sampled_from('a",\n '), max_size=30).map(lambda text: f"h,i\n{text}".encode()),
    kind=st.sampled_from(["csv", "csv", "matrix", "gmt", "star", "geo_series_matrix", "xpt"]),
)
def test_any_bytes_are_delivered_or_refused(tmp_path, content, kind):
    path = tmp_path / "ReadsPerGene.out.tab"
    path.write_bytes(content)
    with duckdb.connect() as connection:
        try:
            delivered = read(connection, Piece(path, f"s/{path.name}"), Source(path=path.name, format=kind))
        except SourceError:
            return
        row = connection.execute(f"select count(*) from {delivered.relation}").fetchone()
        assert row == (delivered.rows,)


def test_real_line_breaks_in_header_cells(real):
    delivered, rows = real("messy_inputs/ad_pso_clinical_table_newline_headers.csv", "csv")
    assert not any("\n" in name for name in delivered.columns)
    assert delivered.rows == len(rows) > 0


@pytest.mark.parametrize(
    ("path", "encoding", "separator"),
    [
        ("messy_inputs/bom_overview_errors.csv", "utf-8-sig", ","),
        ("messy_inputs/nextclade_semicolon.csv", "utf-8", ";"),
        ("messy_inputs/sdtm_ts_not_utf8.csv", "cp1252", ","),
        ("messy_inputs/excel_mangled_symbols_excerpt.csv", "utf-8", ","),
    ],
)
def test_real_messy_files(real, path, encoding, separator):
    delivered, rows = real(path, "csv")
    assert (delivered.encoding, delivered.separator) == (encoding, separator)
    assert delivered.rows == len(rows) > 0


def test_real_row_names_without_a_name(real):
    delivered, rows = real("wgcna_femaleliver/ClinicalTraits.csv", "csv")
    assert delivered.columns[:2] == ("row_name", "Mice")
    assert rows[0][:2] == ("1", "F2_290")
