from __future__ import annotations

import gzip
from typing import get_args

import pyreadstat
import pytest

from tasks.readers import READERS, Piece, read
from tasks.readers.xpt import number_text
from warehouse.errors import SourceError
from warehouse.study import Format, Source

STAR = (
    b"N_unmapped\t1\t1\t1\nN_multimapping\t2\t2\t2\nN_noFeature\t3\t3\t3\nN_ambiguous\t4\t4\t4\n"
    b"ENSG1\t5\t6\t7\n"
)
GEO = (
    b'!Series_title\t"A series: its title"\n!Series_relation\t"SRA: x"\n\n'
    b'!Sample_title\t"t1"\t"t2: left"\n!Sample_geo_accession\t"GSM1"\t"GSM2"\n'
    b'!Sample_characteristics_ch1\t"sex: F"\t"age: 53"\n'
    b'!Sample_characteristics_ch1\t"age: 44"\t""\n'
    b'!series_matrix_table_begin\n"ID_REF"\t"GSM1"\t"GSM2"\n"p_1"\t1.5\t\n!series_matrix_table_end\n'
)


def test_every_format_that_a_study_may_declare_has_a_reader():
    assert set(READERS) == set(get_args(Format))


@pytest.mark.parametrize("header", [b"gene,s1,s2", b",s1,s2", b'"s1","s2"'])
def test_matrix_is_long_with_the_place_of_each_cell(read_bytes, header):
    delivered, rows = read_bytes(header + b"\nG1,1,2.5\nG2,,x\n", format="matrix")
    assert delivered.columns == ("feature_id", "sample_id", "value", "_source_column")
    assert rows == [
        ("G1", "s1", "1", 2, 2),
        ("G1", "s2", "2.5", 3, 2),
        ("G2", "s1", None, 2, 3),
        ("G2", "s2", "x", 3, 3),
    ]
    assert delivered.rows == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"g,s1,s1\nG1,1,2\n", "samples stand more than once: 's1' in columns 2, 3"),
        (b"g,s1,\nG1,1,2\n", "column 3 has no sample name"),
        (b"g\nG1\n", "one column only"),
        (b"g,s1\nG1,1\nG2\n", "row 3 has 1 cells where the header has 2"),
        (b"s1,s2\nG1,1,2\nG2,1\n", "row 3 has 2 cells"),
    ],
)
def test_matrix_faults(read_bytes, content, message):
    with pytest.raises(SourceError, match=message):
        read_bytes(content, format="matrix")


def test_matrix_of_a_real_series(real):
    delivered, rows = real("gse97165_ra_synovium/GSE97165_GEO_count_matrix.txt.gz", "matrix")
    assert delivered.rows == len(rows) == 25227 * 38
    assert rows[0] == ("5S_rRNA", "RA_post_1", "1", 2, 2)


def test_star_names_the_sample_and_keeps_the_unassigned(read_bytes):
    delivered, rows = read_bytes(STAR, name="S-01_ReadsPerGene.out.tab", format="star")
    assert delivered.columns == ("sample_id", "gene_id", "unstranded", "forward", "reverse")
    assert rows[0] == ("S-01", "N_unmapped", "1", "1", "1", 1)
    assert rows[-1] == ("S-01", "ENSG1", "5", "6", "7", 5)
    _, rows = read_bytes(gzip.compress(STAR), name="S2/ReadsPerGene.out.tab.gz", format="star")
    assert rows[0][0] == "S2"


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (
            STAR + b"ENSG2\t1\t2\n",
            "aReadsPerGene.out.tab",
            "row 6 is not a gene and three whole numbers separated by tabs: it has 3 cells",
        ),
        (STAR + b"ENSG2\t1\t2\t-3\n", "aReadsPerGene.out.tab", "row 6 is not"),
        (
            STAR[STAR.index(b"N_no") :],
            "aReadsPerGene.out.tab",
            "the first rows are not those that STAR writes",
        ),
        (STAR, "counts.tab", "the name must be <sample>ReadsPerGene.out.tab"),
    ],
)
def test_star_faults(read_bytes, content, name, message):
    with pytest.raises(SourceError, match=message):
        read_bytes(content, name=name, format="star")


def test_real_star_file(real):
    delivered, rows = real("quant_formats/star/ERR458837_subsamp_1ReadsPerGene.out.tab.gz", "star")
    assert rows[0] == ("ERR458837_subsamp_1", "N_unmapped", "5304", "5304", "5304", 1)
    assert delivered.rows == len(rows)


def test_series_matrix_reads_the_key_of_each_cell(read_bytes):
    delivered, rows = read_bytes(GEO, name="m.txt", format="geo_series_matrix")
    assert delivered.columns == ("section", "field", "sample_id", "key", "value", "ordinal")
    assert rows[0] == ("series", "Series_title", None, None, "A series: its title", "1", 1)
    assert rows[1] == ("series", "Series_relation", None, "SRA", "x", "1", 2)
    of_second = [row[1:6] for row in rows if row[2] == "GSM2"]
    assert of_second == [
        ("Sample_title", "GSM2", None, "t2: left", "1"),
        ("Sample_geo_accession", "GSM2", None, "GSM2", "1"),
        ("Sample_characteristics_ch1", "GSM2", "age", "53", "1"),
        ("Sample_characteristics_ch1", "GSM2", None, None, "2"),
        ("ID_REF", "GSM2", "p_1", None, "1"),
    ]
    assert ("table", "ID_REF", "GSM1", "p_1", "1.5", "1", 10) in rows
    assert delivered.rows == len(rows)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"!series_matrix_table_end\n", b"", "ends within its table"),
        (b'"p_1"\t1.5\t\n', b'"p_1"\t1.5\n', "line 10 has 2 cells where the header of the table has 3"),
        (b'"ID_REF"\t"GSM1"', b'"ID_REF"\t"GSM9"', "line 9: the samples of the table are not those"),
        (b'"sex: F"\t"age: 53"', b'"sex: F"', r"line 6 \(!Sample_characteristics_ch1\) has 1 cells"),
        (b"!Sample_title", b"Sample_title", "line 4 is no part of a series matrix"),
    ],
)
def test_series_matrix_faults(read_bytes, old, new, message):
    assert old in GEO
    with pytest.raises(SourceError, match=message):
        read_bytes(GEO.replace(old, new), name="m.txt", format="geo_series_matrix")


def test_real_series_matrix_has_misaligned_characteristics(real):
    delivered, rows = real("gse97165_ra_synovium/meta_treatment_GSE97165.txt", "geo_series_matrix")
    points = {row[2]: row[4] for row in rows if row[3] == "time point"}
    assert len(points) == 38
    assert sorted(set(points.values())) == ["6 mo tDMARD", "Baseline"]
    assert sum(row[3] == "age" for row in rows) == 19
    assert delivered.rows == len(rows)


def test_gene_sets(read_bytes):
    delivered, rows = read_bytes(b"S1\tna\tSTAT1\tIRF1\tSTAT1\t\r\n\nS2\thttp://x\tA\nS3\tna\n", format="gmt")
    assert delivered.columns == ("gene_set", "description", "gene", "position")
    assert rows == [
        ("S1", "na", "STAT1", "1", 1),
        ("S1", "na", "IRF1", "2", 1),
        ("S1", "na", "STAT1", "3", 1),
        ("S2", "http://x", "A", "1", 3),
    ]
    assert delivered.remarks == ("gene set 'S3' in line 4 has no genes and gives no rows",)
    with pytest.raises(SourceError, match="line 1 is not a set name"):
        read_bytes(b"S1 na STAT1\n", format="gmt")


def test_real_gene_sets(real):
    _, rows = real("genesets/h.all.v7.4.symbols.gmt", "gmt")
    assert len({row[0] for row in rows}) == 50
    assert sum(row[0] == "HALLMARK_INTERFERON_GAMMA_RESPONSE" for row in rows) == 200


@pytest.mark.parametrize("version", [5, 8])
def test_transport_file_as_text_with_labels(read_bytes, tmp_path, version):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "AGE": [63.0, None, 0.1],
            "SEX": ["F", "", "M"],
            "ADT": [22000.0] * 3,
            "ATM": [90061.0] * 3,
            "ADTM": [60.0] * 3,
        }
    )
    path = tmp_path / "w.xpt"
    pyreadstat.write_xport(
        frame,
        str(path),
        file_label="Analysis data",
        table_name="AD",
        column_labels={"AGE": "Age (years)"},
        variable_format={"ADT": "DATE9.", "ATM": "TIME8.", "ADTM": "DATETIME20."},
        file_format_version=version,
    )
    delivered, rows = read_bytes(path.read_bytes(), name="ad.xpt", format="xpt")
    assert delivered.columns == ("AGE", "SEX", "ADT", "ATM", "ADTM")
    assert rows[0] == ("63", "F", "2020-03-26", "25:01:01", "1960-01-01T00:01:00", 1)
    assert [row[:2] for row in rows[1:]] == [(None, None), ("0.1", "M")]
    assert (delivered.labels["AGE"], delivered.table_label) == ("Age (years)", "Analysis data")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (63.0, "63"),
        (-0.5, "-0.5"),
        (0.1, "0.1"),
        (1e20, "1e+20"),
        (1e-7, "1e-07"),
        (2.0**53 - 1, "9007199254740991"),
    ],
)
def test_numbers_are_the_shortest_text(value, text):
    assert number_text(value) == text
    assert float(text) == value


def _member(real, name):
    return real("cdiscpilot_sdtm/cdiscpilot_update2.zip", "xpt", member=f"SDTM/{name}.xpt")


def test_real_transport_files(real):
    delivered, rows = _member(real, "dm")
    assert (delivered.rows, len(delivered.columns)) == (306, 25)
    age = delivered.columns.index("AGE")
    assert rows[0][age] == "63"
    assert delivered.labels["USUBJID"] == "Unique Subject Identifier"
    assert delivered.source_file == "cdiscpilot_sdtm/cdiscpilot_update2.zip!SDTM/dm.xpt"
    delivered, _ = _member(real, "ts")
    assert (delivered.encoding, delivered.rows) == ("cp1252", 48)
    delivered, _ = _member(real, "qsni")
    assert (delivered.rows, len(delivered.columns)) == (71200, 23)


def test_real_dates_of_an_analysis_data_set(real):
    delivered, rows = real("cdiscpilot_adam/xpt/adsl.xpt", "xpt")
    assert rows[0][delivered.columns.index("TRTSDT")] == "2014-01-02"


def test_damaged_transport_files(read_bytes, connection, tmp_path):
    frame = pytest.importorskip("pandas").DataFrame({"A": [f"text {i:06d}" for i in range(100)]})
    path = tmp_path / "w.xpt"
    pyreadstat.write_xport(frame, str(path), table_name="T", file_format_version=5)
    whole = path.read_bytes()
    for content, message in (
        (whole[:-1], "cut short"),
        (whole[:-160], "cut short or damaged within observation"),
        (whole[:480], "header of the observations is missing"),
        (whole + whole[240:], "several data sets"),
        (b"a,b\n1,2\n", "not a SAS transport file"),
        (b"", "empty"),
    ):
        with pytest.raises(SourceError, match=message):
            read_bytes(content, name="d.xpt", format="xpt")
    path.write_bytes(whole)
    assert read(connection, Piece(path, "w.xpt"), Source(path="w.xpt", format="xpt")).rows == 100
