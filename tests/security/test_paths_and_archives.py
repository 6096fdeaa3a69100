"""What a source reads stays inside the data root and inside the limits, and nothing waits or is extracted."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import socket
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import duckdb
import pytest

from tasks.readers import Piece, archive, find_pieces, limits, paths, read, sha256_of
from tasks.scaffold import make_study
from warehouse.corrections import load_corrections
from warehouse.errors import LakeError, SourceError, StudyError
from warehouse.roots import data_root
from warehouse.settings import load_settings
from warehouse.study import RESERVED, Source, load_study

CSV = b"a,b\n1,2\n"
STUDY = """
[study]
id = "{id}"
title = "T"
data_root = {root!r}
[design]
kind = "single-arm"
[sources.{source}]
path = {path}
format = "csv"
"""


def source(path: str, **declared) -> Source:
    return Source(path=path, format="csv", **declared)


@pytest.fixture
def root(tmp_path):
    """Give a data root with a secret beside it."""
    folder = tmp_path / "data"
    (folder / "lab").mkdir(parents=True)
    (folder / "lab" / "a.csv").write_bytes(CSV)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "s.csv").write_bytes(b"secret,b\n1,2\n")
    return folder


def landed(connection, pieces, declared):
    return [
        connection.execute(f"from {read(connection, piece, declared).relation}").fetchall()
        for piece in pieces
    ]


@pytest.fixture
def connection():
    with duckdb.connect() as opened:
        yield opened


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda data: (data / "x.csv").symlink_to("/etc/passwd"), "x.csv"),
        (lambda data: (data / "x.csv").symlink_to("../secret/s.csv"), "x.csv"),
        (lambda data: (data / "x.csv").symlink_to("../secret/s.csv"), "*.csv"),
        (lambda data: (data / "lab/x.csv").symlink_to("../../secret/s.csv"), "**/*.csv"),
        (lambda data: (data / "out").symlink_to("../secret"), "out/s.csv"),
        (lambda data: (data / "out").symlink_to("../secret"), "*/s.csv"),
        (lambda data: (data / "out").symlink_to("../secret"), "out/*.csv"),
        (lambda data: (data / "out").symlink_to("/"), "*/etc/passwd"),
        (
            lambda data: ((data / "one").symlink_to("two"), (data / "two").symlink_to("../secret/s.csv")),
            "one",
        ),
        (lambda data: (data / "x.csv").symlink_to("/proc/self/environ"), "x.csv"),
        (lambda data: (data / "x.csv").symlink_to("/dev/zero"), "x.csv"),
        (lambda data: (data / "x.zip").symlink_to("/etc/passwd"), "x.zip"),
        (lambda data: (data / "back").symlink_to(".."), "back/secret/s.csv"),
        # A name that begins as the root does is not below it.
        (
            lambda data: (
                (data.parent / "data2").mkdir(),
                (data.parent / "data2/x.csv").write_bytes(CSV),
                (data / "x.csv").symlink_to("../data2/x.csv"),
            ),
            "x.csv",
        ),
    ],
)
def test_a_link_out_of_the_data_root_is_refused_with_its_target(root, make, path):
    make(root)
    with pytest.raises(SourceError, match=r"is a link to '/.*', outside the data root"):
        find_pieces(root, "x", source(path))


def test_links_within_the_data_root_and_hard_links_are_read(root, connection):
    (root / "x.csv").symlink_to("lab/a.csv")
    (root / "late").symlink_to("lab")
    (root / "lab" / "hard.csv").hardlink_to(root.parent / "secret" / "s.csv")
    pieces = find_pieces(root, "x", source("*.csv")) + find_pieces(root, "x", source("late/*.csv"))
    assert [piece.source_file for piece in pieces] == ["x.csv", "late/a.csv", "late/hard.csv"]
    assert landed(connection, pieces, source("x"))[0] == [("1", "2", 2)]


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../secret/s.csv", "lab/../../secret/s.csv", "..", "lab/..", "a\0b", "a\nb", "\x1b[2J"],
)
def test_a_path_that_leaves_the_data_root_cannot_be_declared(path):
    with pytest.raises(ValueError, match=r"must be relative to the data root|must not hold control"):
        source(path)


@pytest.mark.parametrize(
    "path",
    [
        "~/s.csv",
        "~root/x",
        "C:\\x.csv",
        "\\\\host\\x",
        "file:///etc/passwd",
        "http://localhost/x",
        "s3://b/x",
        "${HOME}/x",
        "lab",
        ".",
        "LAB/A.CSV",
        "lab/a.csv/x",
        "house:../study.py",
        "house:/etc/passwd",
        "house:",
        "house:.",
        "x" * 5000,
    ],
)
def test_other_names_of_places_mean_nothing(root, path):
    with pytest.raises(SourceError):
        find_pieces(root, "x", source(path))


@pytest.mark.parametrize("pattern", ["x", "*", "**/*", "?"])
@pytest.mark.parametrize("kind", ["fifo", "socket", "dangling", "loop", "device"])
def test_what_is_not_a_regular_file_is_refused_and_nothing_waits(root, pattern, kind, monkeypatch):
    if kind == "fifo":
        os.mkfifo(root / "x")
    elif kind == "socket":
        monkeypatch.chdir(root)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("x")
    elif kind == "device":
        try:
            os.mknod(root / "x", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("only root makes devices")
    else:
        (root / "x").symlink_to("nowhere" if kind == "dangling" else "x")
    with pytest.raises(SourceError, match=r"is a device, pipe or socket|leads nowhere or cannot be followed"):
        find_pieces(root, "x", source(pattern))


@pytest.mark.parametrize("change", ["fifo", "link", "folder", "gone", "folder becomes a link"])
def test_a_file_that_is_replaced_after_it_was_found_is_refused(root, connection, change):
    (piece,) = find_pieces(root, "x", source("lab/a.csv"))
    file = root / "lab" / "a.csv"
    if change == "folder becomes a link":
        (root.parent / "secret" / "a.csv").write_bytes(CSV)
        (root / "lab").rename(root / "old")
        (root / "lab").symlink_to("../secret")
    else:
        file.unlink()
    if change == "fifo":
        os.mkfifo(file)
    elif change == "link":
        file.symlink_to(root.parent / "secret" / "s.csv")
    elif change == "folder":
        file.mkdir()
    for use in (sha256_of, lambda it: read(connection, it, source("x"))):
        with pytest.raises(
            SourceError, match=r"^lab/a.csv: (cannot be read|is not a regular file|was replaced)"
        ):
            use(piece)


def test_loops_and_depths_end(root):
    deep = root
    for _ in range(20):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "a.csv").write_bytes(CSV)
    (deep / "up").symlink_to(root)
    (root / "self").symlink_to(".")
    (root / "lab" / "other").symlink_to("../d")
    (root / "d" / "back").symlink_to("../lab")
    assert len(find_pieces(root, "x", source("**/a.csv"))) == 2
    assert len(find_pieces(root, "x", source("**/**/**/**/**/a.csv"))) == 2
    assert [piece.source_file for piece in find_pieces(root, "x", source("*/a.csv"))] == ["lab/a.csv"]
    with pytest.raises(SourceError):
        find_pieces(root, "x", source("*/" * 100 + "none"))


def test_a_pattern_that_looks_at_too_much_or_means_too_much_is_refused(root, monkeypatch):
    for number in range(30):
        (root / f"{number}.csv").write_bytes(CSV)
    monkeypatch.setattr(paths, "MAX_ENTRIES", 20)
    with pytest.raises(SourceError, match="more than 20 names were looked at"):
        find_pieces(root, "x", source("**/none"))
    monkeypatch.undo()
    monkeypatch.setattr(paths, "MAX_FILES", 20)
    with pytest.raises(SourceError, match=r"30 files match '\*.csv'; 20 are allowed"):
        find_pieces(root, "x", source("*.csv"))


@pytest.mark.parametrize(
    "name", [b"a\xff.csv", b"a\nb.csv", b"a\x1b[31m.csv", "a\u2028.csv".encode(), b"\xed\xa0\x80.csv"]
)
def test_a_file_name_that_cannot_be_shown_is_refused_as_text(root, name):
    with open(os.fsencode(root) + b"/" + name, "wb") as file:  # noqa: PTH123 - the name is bytes
        file.write(CSV)
    with pytest.raises(SourceError, match="holds a control character or bytes that are not UTF-8") as refused:
        find_pieces(root, "x", source("*.csv"))
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "name",
    [
        "it's.csv",
        'a"b.csv',
        "a;drop.csv",
        "$(touch x).csv",
        "a b.csv",
        "-rf.csv",
        "=1.csv",
        "{}.csv",
        "%s.csv",
        "é.csv",
        "e\u0301.csv",
    ],
)
def test_an_odd_but_honest_file_name_lands(root, connection, name):
    (root / name).write_bytes(CSV)
    (piece,) = find_pieces(root, "x", source("*.csv"))
    assert piece.source_file == name
    assert landed(connection, (piece,), source("x")) == [[("1", "2", 2)]]


# Zip files.


def zip_of(root, members, **options) -> None:
    with zipfile.ZipFile(root / "x.zip", "w", zipfile.ZIP_DEFLATED, **options) as target:
        for name, content in members:
            target.writestr(name, content)


@pytest.mark.parametrize(
    "member",
    [
        "../../evil.csv",
        "/etc/evil.csv",
        "C:\\evil.csv",
        "..\\evil.csv",
        "a/../../evil.csv",
        "\\\\h\\evil.csv",
        "evil.csv",
    ],
)
def test_member_names_are_only_names(root, connection, member):
    zip_of(root, [(member, CSV)])
    before = sorted(root.parent.rglob("*"))
    declared = source("x.zip", member=member if ".." in member else "*evil.csv")
    if ".." in member:
        # Names that begin with a dot are leftovers, unless the member that is meant begins so.
        with contextlib.suppress(SourceError):
            assert landed(connection, find_pieces(root, "x", declared), declared) == [[("1", "2", 2)]]
    else:
        pieces = find_pieces(root, "x", declared)
        assert landed(connection, pieces, declared) == [[("1", "2", 2)]]
        assert pieces[0].source_file == f"x.zip!{member}"
    assert sorted(root.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["a\nb.csv", "a\x1bb.csv", "a\u2028b.csv"])
def test_a_member_name_that_cannot_be_shown_is_refused(root, name):
    zip_of(root, [(name, CSV)])
    with pytest.raises(SourceError, match="holds a control character") as refused:
        find_pieces(root, "x", source("x.zip", member="*.csv"))
    assert str(refused.value).isprintable()


def patched(root, old: bytes, new: bytes) -> None:
    content = (root / "x.zip").read_bytes()
    assert old in content
    (root / "x.zip").write_bytes(content.replace(old, new))


def damages():
    """Yield a name and what to do to a zip that holds a.csv."""
    info = zipfile.ZipInfo("a.csv")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    yield "link", lambda root: zip_of(root, [(info, b"/etc/passwd")])
    special = zipfile.ZipInfo("a.csv")
    special.external_attr = (stat.S_IFIFO | 0o600) << 16
    yield "pipe", lambda root: zip_of(root, [(special, CSV)])
    yield (
        "encrypted",
        lambda root: (
            zip_of(root, [("a.csv", CSV)]),
            patched(root, b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\x01\0"),
        ),
    )
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield (
            f"method {method}",
            lambda root, method=method: zipfile.ZipFile(root / "x.zip", "w", method).writestr("a.csv", CSV),
        )
    yield (
        "unknown method",
        lambda root: (
            zip_of(root, [("a.csv", CSV)]),
            patched(root, b"\x14\0\0\0\x08\0", b"\x14\0\0\0\x63\0"),
        ),
    )
    yield (
        "checksum",
        lambda root: (
            zip_of(root, [("a.csv", CSV)]),
            patched(root, struct.pack("<I", zlib.crc32(CSV)), b"abcd"),
        ),
    )
    yield (
        "size too small",
        lambda root: (
            zip_of(root, [("a.csv", CSV * 50)]),
            patched(root, struct.pack("<I", len(CSV * 50)), struct.pack("<I", 16)),
        ),
    )
    yield (
        "size too large",
        lambda root: (
            zip_of(root, [("a.csv", CSV * 50)]),
            patched(root, struct.pack("<I", len(CSV * 50)), struct.pack("<I", 0x7FFFFFFF)),
        ),
    )
    yield (
        "offset beyond the file",
        lambda root: (
            zip_of(root, [("b.csv", CSV), ("a.csv", CSV)]),
            (root / "x.zip").write_bytes((root / "x.zip").read_bytes()[40:]),
        ),
    )
    yield (
        "directory beyond memory",
        lambda root: (
            zip_of(root, [("a.csv", CSV)]),
            (root / "x.zip").write_bytes(
                (root / "x.zip").read_bytes()[:-10] + struct.pack("<IIH", 0x7FFFFFF0, 0, 0)
            ),
        ),
    )
    yield (
        "cut",
        lambda root: (
            zip_of(root, [("a.csv", CSV)]),
            (root / "x.zip").write_bytes((root / "x.zip").read_bytes()[:-9]),
        ),
    )
    yield "empty", lambda root: (root / "x.zip").write_bytes(b"")
    yield "not a zip", lambda root: (root / "x.zip").write_bytes(CSV)
    yield (
        "name that is not UTF-8",
        lambda root: (
            zip_of(root, [("é.csv", CSV)]),
            patched(root, "é".encode(), b"\xff\xfe"),
        ),
    )
    yield (
        "extra field",
        lambda root: (
            zip_of(root, [("a.csv", CSV)]),
            patched(root, b"PK\x01\x02", b"PK\x01\x03"),
        ),
    )


@pytest.mark.parametrize(("damage", "make"), list(damages()), ids=[name for name, _ in damages()])
@pytest.mark.filterwarnings("ignore")
def test_a_dishonest_zip_is_refused(root, connection, damage, make):
    make(root)
    with pytest.raises(SourceError, match=r"x\.zip"):
        landed(connection, find_pieces(root, "x", source("x.zip", member="*.csv")), source("x"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_stand_twice_are_refused_also_behind_a_nul(root):
    for second in ("a.csv", "a.csv\0.exe"):
        with zipfile.ZipFile(root / "x.zip", "w") as target:
            target.writestr("a.csv", CSV)
            other = zipfile.ZipInfo("b")
            other.filename = second
            target.writestr(other, CSV)
        with pytest.raises(SourceError, match=r"more than once|NUL|differ"):
            [sha256_of(piece) for piece in find_pieces(root, "x", source("x.zip", member="a.csv*"))]


def test_members_that_overlap_are_refused(root, connection):
    """As of a bomb whose many members share one stretch of compressed bytes."""
    zip_of(root, [("a.csv", CSV * 1000), ("b.csv", CSV * 1000)])
    content = bytearray((root / "x.zip").read_bytes())
    first = content.index(b"PK\x01\x02")
    second = content.index(b"PK\x01\x02", first + 4)
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    (root / "x.zip").write_bytes(content)
    with pytest.raises(SourceError, match=r"x\.zip!.\.csv: damaged"):
        landed(connection, find_pieces(root, "x", source("x.zip", member="*.csv")), source("x"))


def test_too_many_members_are_refused(root, monkeypatch):
    zip_of(root, [(f"{number}.csv", CSV) for number in range(30)])
    monkeypatch.setattr(archive, "MAX_MEMBERS", 20)
    with pytest.raises(SourceError, match=r"x.zip: the zip file holds 30 files; 20 are allowed"):
        find_pieces(root, "x", source("x.zip", member="*"))
    monkeypatch.setattr(archive, "MAX_DIRECTORY_BYTES", 100)
    with pytest.raises(SourceError, match="not readable as a zip file"):
        find_pieces(root, "x", source("x.zip", member="*"))


# Limits of size and ratio, lowered so that a test is quick.

BOMB = b"a,b\n" + b"0,0\n" * 3_000_000  # 12 MB, 1:1000


def packings():
    small = gzip.compress(BOMB)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("x.csv", BOMB)
    nested = io.BytesIO()
    with zipfile.ZipFile(nested, "w", zipfile.ZIP_STORED) as packed:
        packed.writestr("x.csv.gz", small)
    yield "gzip", "x.csv.gz", small, {}
    yield "gzip without the name", "x.csv", small, {}
    yield "members of gzip", "x.csv.gz", gzip.compress(BOMB[: 1 << 20]) * 12, {}
    yield "zip", "x.zip", target.getvalue(), {"member": "x.csv"}
    yield "gzip in zip", "x.zip", nested.getvalue(), {"member": "x.csv.gz"}
    yield "Dataset-JSON", "x.dsjc", zlib.compress(BOMB), {"format": "dataset_json"}


@pytest.mark.parametrize(
    ("what", "name", "content", "declared"), list(packings()), ids=[each[0] for each in packings()]
)
@pytest.mark.parametrize("limit", ["ratio", "size", "disk"])
def test_a_bomb_is_refused_while_it_expands(
    root, connection, monkeypatch, what, name, content, declared, limit
):
    scratch = root.parent / "scratch"
    scratch.mkdir()
    (root / name).write_bytes(content)
    if limit == "size":
        monkeypatch.setenv("TRIALHOUSE_MAX_FILE_GB", "0.002")
    else:
        monkeypatch.setattr(limits, "FREE_OF_RATIO_BYTES", 1 << 20)
    if limit == "disk":
        monkeypatch.setenv("TRIALHOUSE_MAX_COMPRESSION_RATIO", "1e9")
        full = os.statvfs_result((4096, 4096, 1000, 500, 500, 1, 1, 1, 0, 255))
        monkeypatch.setattr(os, "statvfs", lambda _: full)
    declared = {"path": name, "format": "csv"} | declared
    (piece,) = find_pieces(root, "x", Source(**declared))
    written = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda *all: written.append(1) or write(*all))
    told = {
        "ratio": "expands to more than 200 times",
        "size": "more than 0.002 GB",
        "disk": "too little space",
    }
    with pytest.raises(SourceError, match=told[limit]):
        read(connection, piece, Source(**declared), scratch=scratch)
    assert not list(scratch.iterdir())


def test_honest_compression_lands(root, connection):
    lines = b"".join(b"G%d,0,0,0,0,%d,0,0\n" % (number, number % 7) for number in range(20_000))
    (root / "x.csv.gz").write_bytes(gzip.compress(b"g,a,b,c,d,e,f,h\n" + lines))
    pieces = find_pieces(root, "x", source("x.csv.gz"))
    assert read(connection, pieces[0], source("x")).rows == 20_000


def test_a_file_without_end_is_refused(root, connection, monkeypatch):
    monkeypatch.setenv("TRIALHOUSE_MAX_FILE_GB", "0.000001")
    (root / "x.csv").write_bytes(CSV * 1000)
    (piece,) = find_pieces(root, "x", source("x.csv"))
    with pytest.raises(SourceError, match=r"x.csv: holds more than 1e-06 GB"):
        sha256_of(piece)


def test_a_full_disk_is_one_message_and_leaves_nothing(root, connection):
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("no /dev/full here")
    from tasks.readers import private_copy

    with (
        pytest.raises(LakeError, match=r"no copy of it can be written for reading.*No space left") as refused,
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        private_copy._write(Piece(root, "x.csv"), full, CSV)
    assert refused.value.__cause__ is None


# The study folder.


def study_in(folder, *, id="hostile", root=".", path='"x.csv"', source="x"):  # noqa: A002
    folder.mkdir(exist_ok=True)
    (folder / "study.toml").write_text(
        STUDY.format(id=id, root=root, path=path, source=source), encoding="utf-8"
    )
    return folder


@pytest.mark.parametrize(
    "named",
    [
        "../secret",
        "..",
        "data/../../secret",
        "link",
        "home:..",
        "home:../secret",
        "home:/etc",
        "home:x/../../..",
        "test-data:..",
        "test-data:/etc",
    ],
)
def test_a_data_root_stays_below_where_it_starts(tmp_path, home, monkeypatch, named):
    monkeypatch.setenv("TRIALHOUSE_TEST_DATA", str(tmp_path / "public"))
    for name in ("secret", "study/data", "public", "home"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    folder = study_in(tmp_path / "study", root=named)
    (folder / "link").symlink_to("../secret")
    with pytest.raises(SourceError, match=r"data_root: .* leads to .*, outside"):
        data_root(load_study(folder), load_settings())


@pytest.mark.parametrize("named", ["data", ".", "./data/", "data/../data"])
def test_a_data_root_below_and_an_absolute_one_are_taken(tmp_path, home, named):
    folder = study_in(tmp_path / "study", root=named)
    (folder / "data").mkdir()
    assert data_root(load_study(folder), load_settings()).is_relative_to(folder)
    absolute = study_in(tmp_path / "other", root=str(tmp_path))
    assert data_root(load_study(absolute), load_settings()) == tmp_path


def test_an_unknown_home_is_a_message(tmp_path, home):
    folder = study_in(tmp_path / "study", root="~nobody_of_this_name/x")
    with pytest.raises(SourceError, match="is not the path of a folder"):
        data_root(load_study(folder), load_settings())


@pytest.mark.parametrize("file", ["study.toml", "corrections.toml"])
@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "huge", "deep", "nul", "not utf-8"])
def test_files_of_a_study_folder_are_its_own(tmp_path, file, kind, monkeypatch):
    folder = study_in(tmp_path / "study")
    study = load_study(folder)
    target = folder / file
    target.unlink(missing_ok=True)
    if kind == "link":
        outside = study_in(tmp_path / "elsewhere") / "study.toml"
        target.symlink_to(outside)
    elif kind == "fifo":
        os.mkfifo(target)
    elif kind == "folder":
        target.mkdir()
    elif kind == "huge":
        target.write_bytes(b"#" * 5_000_000)
    elif kind == "deep":
        target.write_bytes(b"a = " + b"[" * 100_000)
    elif kind == "nul":
        target.write_text('title = "a\\u0000b"')
    else:
        target.write_bytes(b'title = "\xff"')
    with pytest.raises(StudyError):
        load_study(folder) if file == "study.toml" else load_corrections(study)


@pytest.mark.parametrize(
    "name",
    [
        *sorted(RESERVED),
        "pg_catalog",
        "pg_x",
        "x" * 41,
        "x\n",
        "X",
        "é",
        "",
        "1x",
        "x-y",
        "x/y",
        "..",
        "x ",
        "x\0",
    ],
)
def test_ids_that_cannot_be_a_lake_are_refused(tmp_path, name):
    toml = name.encode("unicode_escape").decode().replace("\\x00", "\\u0000").replace("\\xe9", "é")
    folder = study_in(tmp_path / "study", id=toml)
    with pytest.raises(StudyError):
        load_study(folder)
    if "/" not in name and name not in ("", ".."):
        with pytest.raises((StudyError, ValueError)):
            make_study(str(tmp_path / name))
    with pytest.raises(StudyError):
        load_study(
            study_in(
                tmp_path / "study", source='"X"' if name in RESERVED or name[:3] == "pg_" else f'"{toml}"'
            )
        )


@pytest.mark.parametrize(
    "name", ["order", "select", "main", "temp", "memory", "lake", "system", "raw", "meta", "x" * 40]
)
def test_words_of_sql_are_ids_like_any_other(tmp_path, name):
    assert load_study(study_in(tmp_path / "study", id=name, source=name)).id == name


@pytest.mark.parametrize(
    "path", [os.fsdecode(b"/tmp/\xff"), "~nobody_of_this_name", "x\0y", "/dev/null", "/etc"]
)
def test_what_is_no_study_folder_is_a_message(path):
    with pytest.raises(StudyError) as refused:
        load_study(path)
    assert str(refused.value).isprintable()
