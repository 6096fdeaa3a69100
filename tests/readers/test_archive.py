from __future__ import annotations

import hashlib
import zipfile

import pytest

from tasks.readers import Piece, check_sha256, find_pieces, read, sha256_of
from warehouse.errors import SourceError
from warehouse.study import Source


def _source(path, **declared):
    return Source(path=path, format="csv", **declared)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "lab").mkdir()
    for name in ("b.csv", "a.csv", "~$a.csv", ".a.csv"):
        (tmp_path / "lab" / name).write_text("a,b\n1,2\n")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("SDTM/qsb.csv", "SDTM/qsa.csv", "SDTM/dm.csv", "__MACOSX/SDTM/qsa.csv"):
            archive.writestr(name, f"a,b\n{name},2\n")
    return tmp_path


def test_files_come_sorted_and_without_leftovers(root):
    pieces = find_pieces(root, "lab", _source("lab/*.csv"))
    assert [piece.source_file for piece in pieces] == ["lab/a.csv", "lab/b.csv"]


def test_members_come_sorted(root, connection):
    pieces = find_pieces(root, "qs", _source("x.zip", member="SDTM/qs*.csv"))
    assert [piece.source_file for piece in pieces] == ["x.zip!SDTM/qsa.csv", "x.zip!SDTM/qsb.csv"]
    assert pieces[0].member == "SDTM/qsa.csv"
    delivered = read(connection, pieces[0], _source("x.zip"))
    assert connection.execute(f"from {delivered.relation}").fetchall() == [("SDTM/qsa.csv", "2", 2)]


@pytest.mark.parametrize(
    ("path", "member", "message"),
    [
        ("none.csv", None, "source 'lab': there is no file 'none.csv' below the data root"),
        ("lab/*.tsv", None, "no file matches 'lab/\\*.tsv' below the data root"),
        ("x.zip", None, "`member` must say which"),
        ("x.zip", "lb*.csv", "no member of x.zip matches 'lb\\*.csv'; it holds: SDTM/qsb.csv"),
        ("lab/a.csv", "q.csv", "lab/a.csv: not readable as a zip file"),
        ("house:none.gmt", None, "no file 'none.gmt' is shipped"),
    ],
)
def test_what_is_not_there_is_named(root, path, member, message):
    with pytest.raises(SourceError, match=message):
        find_pieces(root, "lab", _source(path, member=member))


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(SourceError, match="is no folder"):
        find_pieces(tmp_path / "none", "lab", _source("a.csv"))


def test_house_file(tmp_path, monkeypatch):
    (tmp_path / "interferon.gmt").write_text("S\tna\tSTAT1\n")
    monkeypatch.setattr("tasks.readers.archive.resources.files", lambda _: tmp_path)
    (piece,) = find_pieces(tmp_path, "sets", _source("house:interferon.gmt"))
    assert piece == Piece(tmp_path / "interferon.gmt", "house:interferon.gmt")


def test_digest_is_of_the_member_so_that_a_repacked_zip_brings_nothing_new(root):
    (piece,) = find_pieces(root, "dm", _source("x.zip", member="dm.csv"))
    content = b"a,b\nSDTM/dm.csv,2\n"
    assert sha256_of(piece) == hashlib.sha256(content).hexdigest()


def test_declared_digest(root):
    digest = hashlib.sha256(b"a,b\n1,2\n").hexdigest()
    right, wrong = _source("lab/a.csv", sha256=digest), _source("lab/a.csv", sha256="0" * 64)
    check_sha256("lab", right, find_pieces(root, "lab", right))
    with pytest.raises(SourceError, match=f"sha256 is {digest}, declared is 0000"):
        check_sha256("lab", wrong, find_pieces(root, "lab", wrong))
    many = _source("lab/*.csv", sha256=digest)
    with pytest.raises(SourceError, match="matches 2 files"):
        check_sha256("lab", many, find_pieces(root, "lab", many))
    packed = _source(
        "x.zip", member="dm.csv", sha256=hashlib.sha256((root / "x.zip").read_bytes()).hexdigest()
    )
    check_sha256("lab", packed, find_pieces(root, "lab", packed))


def test_damaged_member_is_named(root, connection):
    path = root / "x.zip"
    path.write_bytes(path.read_bytes().replace(b"SDTM/dm.csv,2", b"SDTM/dm.csv,3"))
    (piece,) = find_pieces(root, "dm", _source("x.zip", member="dm.csv"))
    with pytest.raises(SourceError, match=r"x\.zip!SDTM/dm\.csv: damaged \(Bad CRC-32"):
        read(connection, piece, _source("x.zip"))
