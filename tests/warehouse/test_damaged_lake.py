"""A data file that is damaged or gone is one message with its name, and no page or file is half written."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from flows.cli import EXIT_CODES
from tasks.export.run import export
from tasks.lake_reading import read_table
from tasks.preparation import prepare
from tasks.reporting import write_report
from warehouse.errors import LakeError
from warehouse.lake import open_lake
from warehouse.study import load_study

STUDY = "nl_ruxolitinib"
LAKE = Path(__file__).parent / "old_lakes" / "14df529.tar.xz"
SMALL = ("adam.adqs", "results.primary_endpoint", "meta.check_result")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    with tarfile.open(LAKE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def prepared():
    return prepare(STUDY)


@pytest.fixture
def damage(home, monkeypatch):
    """Change every data file of a table; after the test they are as they were."""
    monkeypatch.setenv("TRIALHOUSE_HOME", str(home))
    kept = {}

    def change(table, how):
        folder = home / STUDY / "data" / Path(*table.split("."))
        for file in sorted(folder.glob("*.parquet")):
            kept[file] = file.read_bytes()
            file.unlink()
            if (content := how(kept[file])) is not None:
                file.write_bytes(content)
        assert kept
        return sorted(file.name for file in kept)

    yield change
    for file, content in kept.items():
        file.write_bytes(content)


def cut(content):
    return content[: len(content) // 2]


def scrambled(content):
    return bytes(byte ^ 0x5A for byte in content)


def emptied(_content):
    return b""


def deleted(_content):
    return None


def scrambled_inside(content):
    """Leave the frame of the file and spoil what it holds."""
    return content[:4] + scrambled(content[4:-8]) + content[-8:]


DAMAGES = (cut, scrambled, scrambled_inside, emptied, deleted)


@pytest.mark.parametrize("how", DAMAGES, ids=lambda how: how.__name__)
@pytest.mark.parametrize(
    "table", [SMALL[0], *(pytest.param(table, marks=pytest.mark.proof) for table in SMALL[1:])]
)
def test_the_message_names_table_file_and_command(damage, table, how):
    files = damage(table, how)
    with open_lake(STUDY).read() as connection, pytest.raises(LakeError) as raised:
        read_table(connection, STUDY, table)
    said = str(raised.value)
    assert said.startswith(f"{STUDY}: {table}: the data file ")
    assert any(file in said for file in files)
    assert ("is missing" if how is deleted else "is damaged") in said
    assert f"`trialhouse verify {STUDY}`" in said
    assert "\n" not in said


@pytest.mark.parametrize("how", [scrambled_inside, deleted], ids=lambda how: how.__name__)
def test_a_report_of_a_damaged_table_leaves_no_page(damage, prepared, tmp_path, how):
    page = tmp_path / "page.html"
    page.write_text("the page before", encoding="utf-8")
    damage("results.primary_endpoint", how)
    with pytest.raises(LakeError, match=r"results\.primary_endpoint: the data file"):
        write_report(prepared, None, page)
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    assert page.read_text(encoding="utf-8") == "the page before"


@pytest.mark.parametrize("form", ["xpt", "ndjson"])
def test_an_export_of_a_damaged_table_leaves_no_file(damage, tmp_path, form):
    damage("adam.adqs", cut)
    with pytest.raises(LakeError, match=r"adam\.adqs: the data file"):
        export(load_study(STUDY), form, "adam", tmp_path / "out", None)
    assert not (tmp_path / "out").exists()


def test_a_damaged_lake_ends_with_the_code_of_the_lake():
    assert EXIT_CODES[LakeError] == 8


@pytest.mark.proof
def test_bits_flipped_at_random_are_read_or_named(damage, home):
    """Whatever the bits do, the answer is rows or the one message; what reads but differs is for verify."""
    chance = np.random.default_rng(20261201)

    def flipped(content):
        changed = bytearray(content)
        for place in map(int, chance.integers(0, 8 * len(changed), chance.choice((1, 8, 200)))):
            changed[place // 8] ^= 1 << place % 8
        return bytes(changed)

    named = 0
    damage("adam.adqs", lambda content: content)
    folder = home / STUDY / "data" / "adam" / "adqs"
    whole = {file: file.read_bytes() for file in folder.glob("*.parquet")}
    for _ in range(10):
        for file, content in whole.items():
            file.write_bytes(flipped(content))
        with open_lake(STUDY).read() as connection:
            try:
                read_table(connection, STUDY, "adam.adqs")
            except LakeError as error:
                named += "adam.adqs: " in str(error)
    assert named > 2


def test_a_page_that_cannot_be_written_is_left_to_the_command_to_tell(home, prepared, tmp_path, monkeypatch):
    monkeypatch.setenv("TRIALHOUSE_HOME", str(home))
    (tmp_path / "file").write_text("", encoding="utf-8")
    # The command makes one message of every such fault, with its path.
    with pytest.raises(FileExistsError):
        write_report(prepared, 1, tmp_path / "file" / "page.html")
