"""Rows in are rows kept or refused with a message, for every reader: what was written is what is read."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
import zipfile
import zlib

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.readers import find_pieces, read
from warehouse.errors import SourceError
from warehouse.study import Source

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
DAMAGED = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=12)
ODD = st.sampled_from(
    ["'", '"', '""', ";", "--", "\\", ",", "\t", "|", "NA", "-0", "1e5", " x ", "é", "\u202e", "=1"]
)
CELL = TEXT | ODD
# Formats without quotes: what ends a cell or a line there cannot be in a cell.
PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="\0\t\r\n\ufeff"), min_size=1, max_size=12)
WORD = PLAIN.filter(lambda text: text == text.strip())
COUNT = st.integers(0, 10**12).map(str)


def table(cells, width, most=6):
    return st.lists(st.lists(cells, min_size=width, max_size=width), max_size=most)


def as_null(cell):
    return cell or None


# Each strategy gives: format, name of the file, bytes, and the rows that they hold.


@st.composite
def csv_file(draw):
    width = draw(st.integers(2, 5))
    rows = draw(table(CELL, width))
    separator = draw(st.sampled_from(",;\t|"))
    text = io.StringIO(newline="")
    writer = csv.writer(
        text, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator=draw(st.sampled_from(["\n", "\r\n"]))
    )
    writer.writerow([f"h{place}" for place in range(width)])
    writer.writerows(rows)
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    expected = [(*map(as_null, row), number) for number, row in enumerate(rows, start=2)]
    return "csv", "x.csv", text.getvalue().encode(encoding), expected, {"separator": separator}


@st.composite
def matrix_file(draw):
    samples = draw(st.lists(CELL.filter(lambda text: text.strip()), min_size=2, max_size=4, unique=True))
    rows = draw(table(CELL, len(samples) + 1))
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["gene", *samples], *rows])
    expected = [
        (as_null(row[0]), sample, as_null(cell), place, number)
        for number, row in enumerate(rows, start=2)
        for place, (sample, cell) in enumerate(zip(samples, row[1:], strict=True), start=2)
    ]
    return "matrix", "x.csv", text.getvalue().encode(), expected, {"separator": ","}


@st.composite
def star_file(draw):
    head = [
        [name, *draw(st.lists(COUNT, min_size=3, max_size=3))]
        for name in ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous")
    ]
    rows = head + draw(st.lists(st.tuples(PLAIN, COUNT, COUNT, COUNT).map(list), max_size=6))
    content = "".join("\t".join(row) + "\n" for row in rows)
    expected = [("S1", *row, number) for number, row in enumerate(rows, start=1)]
    return "star", "S1_ReadsPerGene.out.tab", content.encode(), expected, {}


@st.composite
def gmt_file(draw):
    sets = draw(
        st.lists(st.tuples(WORD, PLAIN, st.lists(WORD, min_size=1, max_size=5)), min_size=1, max_size=5)
    )
    content = "".join("\t".join([name, about, *genes]) + "\n" for name, about, genes in sets)
    expected = [
        (name, about, gene, str(place), number)
        for number, (name, about, genes) in enumerate(sets, start=1)
        for place, gene in enumerate(genes, start=1)
    ]
    return "gmt", "x.gmt", content.encode(), expected, {}


@st.composite
def geo_file(draw):
    samples = draw(
        st.lists(st.from_regex(r"GSM[0-9]{1,6}", fullmatch=True), min_size=1, max_size=4, unique=True)
    )
    cell = st.text(st.characters(codec="utf-8", exclude_characters='\0\t\r\n"\ufeff'), max_size=10)
    titles = draw(st.lists(cell, min_size=len(samples), max_size=len(samples)))
    rows = draw(table(cell, len(samples) + 1))
    quoted = lambda cells: "\t".join(f'"{each}"' for each in cells)  # noqa: E731
    lines = [
        f"!Sample_geo_accession\t{quoted(samples)}",
        f"!Sample_title\t{quoted(titles)}",
        "!series_matrix_table_begin",
        quoted(["ID_REF", *samples]),
        *map(quoted, rows),
        "!series_matrix_table_end",
    ]
    expected = [("sample", "Sample_geo_accession", sample, None, sample, "1", 1) for sample in samples]
    expected += [
        ("sample", "Sample_title", sample, None, as_null(title), "1", 2)
        for sample, title in zip(samples, titles, strict=True)
    ]
    expected += [
        ("table", "ID_REF", sample, as_null(row[0]), as_null(each), "1", number)
        for number, row in enumerate(rows, start=5)
        for sample, each in zip(samples, row[1:], strict=True)
    ]
    return "geo_series_matrix", "x.txt", "\n".join(lines).encode() + b"\n", expected, {}


@st.composite
def json_file(draw):
    width = draw(st.integers(1, 4))
    cells = CELL | st.none() | st.booleans() | st.integers(-(10**15), 10**15)
    rows = draw(table(cells, width))
    head = {
        "datasetJSONCreationDateTime": "2026-01-01",
        "datasetJSONVersion": "1.1.0",
        "itemGroupOID": "o",
        "records": len(rows),
        "name": "AD",
        "label": "",
        "columns": [
            {"itemOID": f"o{n}", "name": f"V{n}", "label": draw(CELL), "dataType": "string"}
            for n in range(width)
        ],
    }
    if draw(st.booleans()):
        content = "".join(json.dumps(part) + "\n" for part in (head, *rows)).encode()
        if draw(st.booleans()):
            content = zlib.compress(content)
    else:
        content = json.dumps(
            head | {"rows": rows}, ensure_ascii=False, indent=draw(st.sampled_from([None, 1]))
        ).encode()
    said = lambda cell: as_null(cell) if isinstance(cell, str) else None if cell is None else json.dumps(cell)  # noqa: E731
    expected = [(*map(said, row), number) for number, row in enumerate(rows, start=1)]
    return "dataset_json", "x.json", content, expected, {}


def ibm(value: int) -> bytes:
    """Write a whole number as the System/360 does."""
    if not value:
        return bytes(8)
    digits = (abs(value).bit_length() + 3) // 4
    fraction = abs(value) << 56 >> (4 * digits)
    return struct.pack(">Q", (value < 0) << 63 | (64 + digits) << 56 | fraction)


def xpt_of(names, labels, lengths, rows) -> bytes:
    """Write a transport file of version 5; a length of None is a number."""

    def header(name, digits):
        return b"HEADER RECORD*******" + name.ljust(8) + b"HEADER RECORD!!!!!!!" + digits.ljust(32)

    described, place = b"", 0
    for number, (name, label, length) in enumerate(zip(names, labels, lengths, strict=True), start=1):
        described += struct.pack(
            ">hhhh8s40s8shhh2s8shhl52s",
            1 if length is None else 2,
            0,
            length or 8,
            number,
            name.ljust(8),
            label.ljust(40),
            b" " * 8,
            0,
            0,
            0,
            b"",
            b" " * 8,
            0,
            0,
            place,
            b"",
        )
        place += length or 8
    observations = b"".join(
        ibm(cell) if length is None else cell.ljust(length)
        for row in rows
        for cell, length in zip(row, lengths, strict=True)
    )
    filled = lambda content: content + b" " * (-len(content) % 80)  # noqa: E731
    return (
        header(b"LIBRARY", b"0" * 30)
        + b" " * 160
        + header(b"MEMBER", b"000000000000000001600000000140")
        + header(b"DSCRPTR", b"0" * 30)
        + b" " * 160
        + header(b"NAMESTR", b"000000%04d00000000000000000000" % len(names))
        + filled(described)
        + header(b"OBS", b"0" * 30)
        + filled(observations)
    )


@st.composite
def xpt_file(draw):
    lengths = draw(st.lists(st.none() | st.integers(1, 40), min_size=1, max_size=4))
    names = [b"V%d" % number for number in range(len(lengths))]

    def fitting(length):
        return st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10).filter(
            lambda text: len(text.encode()) <= length and text == text.rstrip(" ")
        )

    rows = draw(
        st.lists(
            st.tuples(
                *(
                    st.integers(1 - 2**53, 2**53 - 1) if length is None else fitting(length)
                    for length in lengths
                )
            ),
            max_size=6,
        )
    )
    content = xpt_of(
        names,
        [b"label"] * len(names),
        lengths,
        [[cell if isinstance(cell, int) else cell.encode() for cell in row] for row in rows],
    )
    expected = [
        (*(str(cell) if isinstance(cell, int) else as_null(cell) for cell in row), number)
        for number, row in enumerate(rows, start=1)
    ]
    width = sum(length or 8 for length in lengths)
    # Blank observations that may as well be the filling of the last record cannot be told from it.
    fewest = -(-(len(rows) * width + -(len(rows) * width) % 80 - 79) // width)
    while expected and len(expected) > fewest and not any(expected[-1][:-1]):
        expected.pop()
    return "xpt", "x.xpt", content, expected, {}


FILES = {
    "csv": csv_file(),
    "matrix": matrix_file(),
    "star": star_file(),
    "gmt": gmt_file(),
    "geo_series_matrix": geo_file(),
    "dataset_json": json_file(),
    "xpt": xpt_file(),
}
PACKINGS = ("plain", "gzip", "zip", "gzip in zip")


def deliver(folder, name, content, packing):
    """Write a file in one of the ways in which it may come; return the path and the member to declare."""
    for old in folder.iterdir():
        old.unlink()
    if "gzip" in packing:
        name, content = f"{name}.gz", gzip.compress(content, 1)
    if "zip" not in packing.removeprefix("gzip"):
        (folder / name).write_bytes(content)
        return {"path": name}
    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(f"in/{name}", content)
    return {"path": "x.zip", "member": f"in/{name}"}


def rows_of(folder, kind, declared):
    with duckdb.connect(config={"threads": 1}) as connection:
        source = Source(format=kind, **declared)
        (piece,) = find_pieces(folder, "x", source)
        delivered = read(connection, piece, source)
        order = "_source_row, _source_column" if "_source_column" in delivered.columns else "_source_row"
        rows = connection.execute(f"from {delivered.relation} order by {order}").fetchall()
        assert delivered.rows == len(rows)
        return rows


def comparable(kind, rows):
    # The cells of a line of a series matrix have no order among themselves but that of their samples.
    return sorted(rows, key=repr) if kind == "geo_series_matrix" else rows


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.proof) if kind == "matrix" else kind for kind in FILES]
)
def test_what_was_written_is_read(tmp_path, kind):
    check_round_trips(tmp_path, kind, QUICK)


@pytest.mark.parametrize("kind", FILES)
def test_what_is_damaged_is_refused_or_read_as_it_stands(tmp_path, kind):
    check_damages(tmp_path, kind, DAMAGED)


def check_round_trips(folder, kind, how_many):
    @how_many
    @given(file=FILES[kind], packing=st.sampled_from(PACKINGS))
    def check(file, packing):
        _, name, content, expected, declared = file
        declared = declared | deliver(folder, name, content, packing)
        assert comparable(kind, rows_of(folder, kind, declared)) == comparable(kind, expected)

    check()


DAMAGE = st.sampled_from(["flip", "cut", "insert", "delete", "repeat"])


def damaged(content, damage, place, extra):
    at = int(place * len(content))
    return {
        "flip": content[:at]
        + bytes(byte ^ 1 << (extra[0] % 8) for byte in content[at : at + 1])
        + content[at + 1 :],
        "cut": content[:at],
        "insert": content[:at] + extra + content[at:],
        "delete": content[:at] + content[at + len(extra) :],
        "repeat": content[:at] + content[at : at + 20] + content[at:],
    }[damage]


def check_damages(folder, kind, how_many):
    @how_many
    @given(
        file=FILES[kind],
        packing=st.sampled_from(PACKINGS),
        inner=st.booleans(),
        damage=DAMAGE,
        place=st.floats(0, 1, exclude_max=True),
        extra=st.binary(min_size=1, max_size=8),
    )
    def check(file, packing, inner, damage, place, extra):
        _, name, content, expected, declared = file
        if inner:
            content = damaged(content, damage, place, extra)
        declared = declared | deliver(folder, name, content, packing)
        if not inner:
            target = folder / declared["path"]
            target.write_bytes(damaged(target.read_bytes(), damage, place, extra))
        try:
            rows = rows_of(folder, kind, declared)
        except SourceError as error:
            message = str(error)
            assert declared["path"] in message
            assert len(message) < 3000
            return
        # Beneath a checksum nothing else can be read than what was written.
        if not inner and packing != "plain":
            assert comparable(kind, rows) == comparable(kind, expected)

    check()
