"""Deliveries as they come: each fault is refused by name, or recorded with file, row, column and value."""

from __future__ import annotations

import gzip
import re
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

STUDY = "nl_ruxolitinib"
VISITS = "clinical/visits.csv"
SCORES = "clinical/lesion_scores.csv"
PEOPLE = "clinical/demographics.csv"
STAR = "omics/star/NLSIM001_L_BL_ReadsPerGene.out.tab"


def replace_line(file: Path, row: int, old: str, new: str) -> None:
    lines = file.read_bytes().split(b"\n")
    assert old.encode() in lines[row - 1], lines[row - 1]
    lines[row - 1] = lines[row - 1].replace(old.encode(), new.encode(), 1)
    file.write_bytes(b"\n".join(lines))


# Faults that make a file unreadable, or another file than the one declared: refused before anything lands.


def empty(folder: Path) -> None:
    (folder / VISITS).write_bytes(b"")


def white_space(folder: Path) -> None:
    (folder / VISITS).write_bytes(b"\n  \n\n")


def missing(folder: Path) -> None:
    (folder / VISITS).unlink()


def missing_column(folder: Path) -> None:
    replace_line(folder / VISITS, 1, "VISITDAT", "VISIT_DATE")


def repeated_column(folder: Path) -> None:
    replace_line(folder / VISITS, 1, "STATUS", "Visit")


def short_row(folder: Path) -> None:
    replace_line(folder / VISITS, 7, ",Done", "")


def long_row(folder: Path) -> None:
    replace_line(folder / VISITS, 7, ",Done", ",Done,see note")


def open_quote(folder: Path) -> None:
    replace_line(folder / VISITS, 7, "Done", '"Done')


def nul_bytes(folder: Path) -> None:
    replace_line(folder / VISITS, 7, "Done", "Do\0ne")


def another_separator_than_declared(folder: Path) -> None:
    file = folder / SCORES
    file.write_bytes(file.read_bytes().replace(b";", b","))


def negative_count(folder: Path) -> None:
    replace_line(folder / STAR, 5, "\t705\t", "\t-705\t")


def fractional_count(folder: Path) -> None:
    replace_line(folder / STAR, 5, "\t705\t", "\t705.5\t")


def not_a_gzip_file(folder: Path) -> None:
    (folder / STAR).rename(folder / f"{STAR}.gz")


@pytest.mark.parametrize(
    ("spoil", "texts"),
    [
        (empty, [VISITS, "the file is empty (0 bytes)"]),
        (white_space, [VISITS, "nothing but white space; a header is needed"]),
        (missing, ["source 'visits': there is no file 'clinical/visits.csv' below the data root"]),
        (missing_column, [VISITS, "declared column 'VISITDAT' is missing; did you mean 'VISIT_DATE'?"]),
        (repeated_column, [VISITS, "'VISIT' and 'Visit' in columns 2, 4"]),
        (short_row, [VISITS, "row 7 has 3 cells where the header has 4"]),
        (long_row, [VISITS, "row 7 has 5 cells where the header has 4"]),
        (open_quote, [VISITS, "row 7 cannot be split at ','"]),
        (nul_bytes, [VISITS, "line 7 holds a NUL character"]),
        (another_separator_than_declared, [SCORES, "declared column 'SUBJID' is missing"]),
        (negative_count, [STAR, "row 5 is not a gene and three whole numbers", "it has 4 cells"]),
        (fractional_count, [STAR, "row 5 is not a gene and three whole numbers", "it has 4 cells"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_file_that_cannot_be_read_is_refused_by_name(
    trialhouse: Any,
    answers: Any,
    rows: Any,
    finished: Path,
    delivery: Path,
    spoil: Callable[[Path], None],
    texts: list[str],
) -> None:
    assert finished
    before = answers()
    spoil(delivery)
    done = trialhouse("ingest", STUDY, "--data", delivery)
    assert done.code == 4
    assert done.out == ""
    for text in texts:
        assert text in done.err
    assert done.err.count("trialhouse: ") == 1
    assert rows("select max(snapshot_id) as newest from lake.snapshots()") == [{"newest": 3}]
    assert answers() == before


def test_every_fault_of_a_delivery_is_told_at_once(
    trialhouse: Any, home: Path, delivery: Path, prefect: str
) -> None:
    assert prefect
    (delivery / VISITS).unlink()
    (delivery / PEOPLE).unlink()
    done = trialhouse("run", STUDY, "--data", delivery)
    assert done.code == 4
    assert "'visits'" in done.err
    assert "'demographics'" in done.err
    assert not (home / STUDY / "catalog.sqlite").exists()


def test_no_data_root(trialhouse: Any, home: Path, tmp_path: Path) -> None:
    assert home
    done = trialhouse("run", STUDY, "--data", tmp_path / "nowhere")
    assert done.code == 4
    assert f"the data root {tmp_path / 'nowhere'} does not exist" in done.err
    assert "trialhouse simulate nl_ruxolitinib" in done.err


@pytest.mark.usefixtures("finished")
class TestOtherDeclarations:
    """Faults against what another study.toml declares of the same delivery."""

    def test_a_file_that_is_not_the_declared_one(
        self, trialhouse: Any, answers: Any, study: Path, simulated: Path, edit: Any
    ) -> None:
        before = answers()
        edit(study / "study.toml", rf'^path = "{VISITS}"', rf'path = "{VISITS}"\nsha256 = "{"0" * 64}"')
        done = trialhouse("run", study, "--data", simulated)
        assert done.code == 4
        assert f"source 'visits': {VISITS} is not the declared file: sha256 is " in done.err
        assert f"declared is {'0' * 64}" in done.err
        assert answers() == before

    @pytest.mark.parametrize("is_cut", [True, False])
    def test_a_gzip_file(
        self, trialhouse: Any, answers: Any, study: Path, delivery: Path, edit: Any, is_cut: bool
    ) -> None:
        before = answers()
        edit(study / "study.toml", rf'^path = "{VISITS}"', rf'path = "{VISITS}.gz"')
        packed = gzip.compress((delivery / VISITS).read_bytes())
        (delivery / f"{VISITS}.gz").write_bytes(packed[:-20] if is_cut else packed)
        done = trialhouse("ingest", study, "--data", delivery)
        assert done.code == (4 if is_cut else 0)
        assert (f"{VISITS}.gz: the gzip data are cut short or damaged after line" in done.err) == is_cut
        assert answers() == before

    def test_a_matrix_with_a_sample_twice(
        self, trialhouse: Any, answers: Any, matrix_study: Path, matrix_delivery: Path
    ) -> None:
        before = answers()
        replace_line(matrix_delivery / "omics/counts.tsv", 1, "NLSIM001_L_W12", "NLSIM001_L_BL")
        done = trialhouse("run", matrix_study, "--data", matrix_delivery)
        assert done.code == 4
        assert "omics/counts.tsv: samples stand more than once: 'NLSIM001_L_BL' in columns 2, 3" in done.err
        assert answers() == before

    def test_negative_and_fractional_counts_of_a_matrix(
        self, trialhouse: Any, answers: Any, rows: Any, matrix_study: Path, matrix_delivery: Path
    ) -> None:
        before = answers()
        replace_line(matrix_delivery / "omics/counts.tsv", 2, "\t704\t", "\t-704\t")
        replace_line(matrix_delivery / "omics/counts.tsv", 3, "\t122\t", "\t122.5\t")
        done = trialhouse("run", matrix_study, "--data", matrix_delivery)
        assert done.code == 6
        assert "omics.expression" in done.err
        assert "omics/counts.tsv row 2, count = -704" in done.err
        negative, fractional = rows(
            "select source_file, source_row, column_name, value, disposition, row_key->>'sample_id' as sample"
            " from meta.check_failure where table_name = 'omics.expression' order by source_row"
        )
        # A row of the matrix holds all samples: the key says which of them.
        place = {"source_file": "omics/counts.tsv", "sample": "NLSIM001_L_BL"}
        assert negative == place | {
            "source_row": 2,
            "column_name": "count",
            "value": "-704",
            "disposition": "stopped",
        }
        assert fractional == place | {
            "source_row": 3,
            "column_name": "count, count_delivered",
            "value": "count=123, count_delivered=122.5",
            "disposition": "kept",
        }
        assert answers() == before


@pytest.fixture
def matrix_study(study: Path, edit: Any) -> Path:
    """Return the study as it would be if the laboratory delivered one matrix of counts."""
    edit(
        study / "study.toml",
        r"^\[sources\.star\][\s\S]*?\n\n",
        '[sources.counts]\npath = "omics/counts.tsv"\nformat = "matrix"\n\n',
    )
    sql = study / "sql" / "omics"
    model = (sql / "expression.sql").read_text(encoding="utf-8")
    for old, new in (
        (r"raw\.star", "raw.counts"),
        ("gene_id as feature_id", "feature_id"),
        ("reverse as double", "value as double"),
        (r"-- The first rows.*\nwhere.*\n", ""),
    ):
        model, times = re.subn(old, new, model)
        assert times
    (sql / "expression.sql").write_text(model, encoding="utf-8")
    edit(
        sql / "sample.sql",
        r"^    select\n        sample_id,[\s\S]*?group by sample_id",
        "    select distinct sample_id, 0 as forward_reads, 1 as reverse_reads from raw.counts",
    )
    return study


@pytest.fixture
def matrix_delivery(delivery: Path) -> Path:
    """Gather the libraries into one matrix, genes by samples, of the reads on the sense strand."""
    columns: dict[str, list[str]] = {}
    genes: list[str] = []
    for file in sorted((delivery / "omics" / "star").iterdir()):
        cells = [line.split("\t") for line in file.read_text(encoding="utf-8").splitlines()[4:]]
        genes = [gene for gene, *_ in cells]
        columns[file.name.removesuffix("_ReadsPerGene.out.tab")] = [reverse for *_, reverse in cells]
    lines = ["\t".join(["gene", *columns])]
    lines += ["\t".join(row) for row in zip(genes, *columns.values(), strict=True)]
    (delivery / "omics" / "counts.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return delivery


# Faults of rows and keys that make a table unusable: the stage stops, and what it found is kept.


def unknown_subject(folder: Path) -> None:
    replace_line(folder / "omics/sample_sheet.csv", 6, ",002,", ",999,")


def no_subject(folder: Path) -> None:
    replace_line(folder / "omics/sample_sheet.csv", 6, ",002,", ",,")


def differing_duplicate(folder: Path) -> None:
    with (folder / PEOPLE).open("a", encoding="utf-8") as file:
        line = (folder / PEOPLE).read_text(encoding="utf-8").splitlines()[2]
        file.write(line.replace(",43,", ",44,") + "\n")


def differing_score(folder: Path) -> None:
    # The two deliveries of one assessment differ in the erythema.
    replace_line(folder / SCORES, 10, ";5;", ";4;")


def no_people(folder: Path) -> None:
    header = (folder / PEOPLE).read_text(encoding="utf-8").splitlines()[0]
    (folder / PEOPLE).write_text(header + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "table", "column", "value", "file", "row"),
    [
        (unknown_subject, "sdtm.be", "usubjid", "NLSIM-999", "omics/sample_sheet.csv", 6),
        (no_subject, "sdtm.be", "usubjid", None, "omics/sample_sheet.csv", 6),
        (differing_duplicate, "sdtm.dm", "usubjid", "NLSIM-002", PEOPLE, 16),
        (
            differing_score,
            "sdtm.qs",
            "usubjid, qstestcd, visit",
            "usubjid=NLSIM-002, qstestcd=NLERYTH, visit=WEEK 4",
            SCORES,
            10,
        ),
        (no_people, "staging.eligibility", "", "", "", 0),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_key_that_fails_stops_the_stage(
    trialhouse: Any,
    answers: Any,
    rows: Any,
    finished: Path,
    delivery: Path,
    spoil: Callable[[Path], None],
    table: str,
    column: str,
    value: str | None,
    file: str,
    row: int,
) -> None:
    assert finished
    before = answers()
    spoil(delivery)
    done = trialhouse("run", STUDY, "--data", delivery)
    assert done.code == 6
    assert answers() == before
    found = rows(
        "select table_name, column_name, value, source_file, source_row, disposition from meta.check_failure"
        " where severity = 'critical'"
    )
    if not column:
        # Without people every other table's subjects are unknown.
        assert {"sdtm.be", "sdtm.qs", "sdtm.sv"} <= {failure["table_name"] for failure in found}
        return
    assert {
        "table_name": table,
        "column_name": column,
        "value": value,
        "source_file": file,
        "source_row": row,
        "disposition": "stopped",
    } in found
    assert f"{table}: " in done.err
    assert file in done.err


# Faults that are recorded and kept, and oddities that are none: one delivery with all of them.


@pytest.fixture(scope="module")
def odd_home(
    finished_once: Path, simulated: Path, run: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Run a delivery in which everything is odd and nothing is refused, on top of the finished lake."""
    folder = tmp_path_factory.mktemp("lasting-odd")
    delivery = shutil.copytree(simulated, folder / "delivery")
    replace_line(delivery / SCORES, 3, "WEEK 2", "WEEK 99")
    lines = (delivery / SCORES).read_text(encoding="utf-8-sig").splitlines()
    cells = lines[3].split(";")
    cells[3] = "abc"
    lines[3] = ";".join(cells)
    # No byte order mark, Unix line ends.
    (delivery / SCORES).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    visits = (delivery / VISITS).read_bytes()
    (delivery / VISITS).write_bytes(b"\xef\xbb\xbf" + visits.replace(b"\n", b"\r\n"))
    people = (delivery / PEOPLE).read_text(encoding="utf-8").splitlines()
    people.append(people[2])
    people[3] = people[3].replace("WHITE", "Métis")
    (delivery / PEOPLE).write_bytes(("\n".join(people) + "\n").replace(",", ";").encode("latin-1"))
    replace_line(delivery / "clinical/exposure.csv", 2, "2023-03-06", "06/03/2023")
    with pytest.MonkeyPatch.context() as patch:
        home = shutil.copytree(finished_once, folder / "home")
        patch.setenv("TRIALHOUSE_HOME", str(home))
        run(STUDY, delivery)
    return home


@pytest.mark.usefixtures("odd")
class TestRecorded:
    @pytest.fixture
    def odd(self, home: Path, odd_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert home
        monkeypatch.setenv("TRIALHOUSE_HOME", str(odd_home))

    @pytest.mark.parametrize(
        ("table", "column", "value", "file", "row"),
        [
            ("sdtm.qs", "visit", "WEEK 99", SCORES, 3),
            ("raw.lesion_scores", "ERYTHEMA", "abc", SCORES, 4),
            ("sdtm.qs", "qsstresn", None, SCORES, 4),
            ("raw.exposure", "STARTDAT", "06/03/2023", "clinical/exposure.csv", 2),
        ],
    )
    def test_a_wrong_value_is_noted_and_kept(
        self, rows: Any, table: str, column: str, value: str | None, file: str, row: int
    ) -> None:
        found = rows(
            "select column_name, value, source_file, source_row, severity, disposition"
            f" from meta.check_failure where table_name = '{table}'"
            " and run_id = (select max(run_id) from meta.run)"
        )
        assert {
            "column_name": column,
            "value": value,
            "source_file": file,
            "source_row": row,
            "severity": "warning",
            "disposition": "kept",
        } in found

    def test_the_row_of_a_wrong_value_is_still_there(self, rows: Any) -> None:
        items = rows(
            f"select qstestcd, qsorres, qsstresn from sdtm.qs where _source_file = '{SCORES}'"
            " and _source_row = 4 and qstestcd in ('NLERYTH', 'NLSCORE') order by qstestcd"
        )
        # A total without one of its items is missing, not smaller.
        assert [(item["qstestcd"], item["qsorres"], item["qsstresn"]) for item in items] == [
            ("NLERYTH", "abc", None),
            ("NLSCORE", None, None),
        ]
        assert rows("select count(*) as n from sdtm.qs where visit = 'WEEK 99'") == [{"n": 7}]

    def test_an_exact_duplicate_is_set_aside(self, rows: Any) -> None:
        gone = rows(
            "select source_file, source_row, row->>'usubjid' as usubjid, reason from meta.quarantine"
            " where table_name = 'sdtm.dm'"
        )
        assert len(gone) == 1
        assert (gone[0]["source_file"], gone[0]["source_row"], gone[0]["usubjid"]) == (
            PEOPLE,
            16,
            "NLSIM-002",
        )
        assert "expect_compound_columns_to_be_unique" in gone[0]["reason"]
        assert rows("select count(*) as n from sdtm.dm") == [{"n": 14}]
        judged = rows(
            "select distinct rows_in, rows_kept, rows_set_aside from meta.current_check_result"
            " where table_name = 'sdtm.dm'"
        )
        assert judged == [{"rows_in": 15, "rows_kept": 14, "rows_set_aside": 1}]

    @pytest.mark.parametrize(
        ("source", "encoding", "separator", "has_bom", "remark"),
        [
            ("visits", "utf-8-sig", ",", True, None),
            ("demographics", "cp1252", ";", False, "not UTF-8 at byte"),
            ("lesion_scores", "utf-8", ";", False, None),
        ],
    )
    def test_how_a_file_was_read_is_written_down(
        self, rows: Any, source: str, encoding: str, separator: str, has_bom: bool, remark: str | None
    ) -> None:
        (file,) = rows(f"from meta.current_source_file where source = '{source}'")
        assert file["encoding"] in (encoding, encoding.removesuffix("-sig"))
        assert (file["separator"], file["has_bom"]) == (separator, has_bom)
        assert (remark or "") in (file["remarks"] or "")

    def test_what_was_read_is_what_was_meant(self, rows: Any) -> None:
        assert rows("select race from sdtm.dm where usubjid = 'NLSIM-003'") == [{"race": "Métis"}]
        # A byte order mark and other line ends change no value.
        columns = "SUBJID, VISIT, VISITDAT, STATUS, _source_row"
        assert rows(f"select count(*) as loads from raw.visits group by {columns} having loads <> 2") == []

    def test_the_version_before_still_answers(self, rows: Any) -> None:
        assert rows("select count(*) as n from sdtm.qs where visit = 'WEEK 99'", 3) == [{"n": 0}]
        (mean,) = rows(
            "select estimate from results.primary_endpoint where variable = 'PCHG' and statistic = 'mean'", 3
        )
        assert round(mean["estimate"], 1) == -58.2
