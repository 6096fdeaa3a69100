"""Separators within quotes are told from those between cells by the bytes alone, or left to the database."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.readers import delimited

CELLS = st.text(alphabet='a,"\n ', max_size=6)


def _marks(path, content, monkeypatch, chunk):
    path.write_bytes(content)
    monkeypatch.setattr(delimited, "CHUNK_BYTES", chunk)
    return delimited._count_marks(path, ",")


@given(
    table=st.lists(st.lists(CELLS, min_size=2, max_size=3), min_size=1, max_size=4), chunk=st.integers(1, 9)
)
def test_agrees_with_a_csv_writer_wherever_a_chunk_ends(tmp_path_factory, table, chunk):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    path = tmp_path_factory.getbasetemp() / "marks.csv"
    with pytest.MonkeyPatch.context() as patch:
        marks = _marks(path, text.getvalue().encode(), patch, chunk)
    assert marks.separators_within_quotes == sum(cell.count(",") for row in table for cell in row)
    assert marks.separators == text.getvalue().count(",")
    assert marks.line_feeds == text.getvalue().count("\n")


@pytest.mark.parametrize("chunk", [1, 2, 5, 1000])
@pytest.mark.parametrize("line", ['5" tube,6",x', ' "a,b",c', 'a,"b', 'a,5""'])
def test_leaves_a_quote_inside_a_cell_to_the_database(tmp_path, monkeypatch, line, chunk):
    marks = _marks(tmp_path / "x.csv", f"a,b\n{line}\n".encode(), monkeypatch, chunk)
    assert marks.separators_within_quotes is None


@pytest.mark.parametrize("extra", ["", '"x,y",'])
def test_a_shifted_row_is_refused_beside_quoted_separators(read_bytes, extra):
    with pytest.raises(delimited.SourceError, match=r"row 3 has \d cells where the header has"):
        read_bytes(f'a,b,{"c," if extra else ""}d\n"1,5",2,{extra}\n3,4,{extra}5,\n'.encode())


def test_inches_and_a_shifted_row_do_not_cancel(read_bytes):
    # Counted as quotes, the two marks of inches would hide just the separator that the last row has too many.
    with pytest.raises(delimited.SourceError, match="row 3 has 4 cells"):
        read_bytes(b'a,b,c\n5",6",\n1,2,3,\n')
