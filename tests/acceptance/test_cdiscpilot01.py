"""A real phase 2 trial from SDTM transport files: it lands, is checked, and builds sdtm and adam."""

from __future__ import annotations

import polars as pl
import pytest

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def ask(ran):
    return ran("cdiscpilot01")


def test_the_populations_are_those_of_the_trial(ask) -> None:
    assert ask("select count(*) as n from sdtm.dm")["n"][0] == 306
    assert ask("select count(*) as n from adam.adsl")["n"][0] == 254
    arms = dict(ask("select armcd, count(*) as n from sdtm.dm group by 1").iter_rows())
    assert arms == {"Scrnfail": 52, "Pbo": 86, "Xan_Lo": 84, "Xan_Hi": 84}


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("ae", 1191),
        ("cm", 7510),
        ("ds", 596),
        ("ex", 591),
        ("vs", 29643),
        ("lb", 59580),
        ("qs", 121749),
        ("mh", 1817),
    ],
)
def test_no_row_of_a_domain_is_lost_split_domains_included(ask, table: str, rows: int) -> None:
    assert ask(f"select count(*) as n from raw.{table}")["n"][0] == rows
    kept = ask(f"select count(*) as n from sdtm.{table}")["n"][0]
    aside = ask(f"select count(*) as n from meta.quarantine where table_name = 'sdtm.{table}'")["n"][0]
    assert kept + aside == rows


def test_labels_of_the_transport_files_are_column_comments(ask) -> None:
    comment = ask(
        "select comment from duckdb_columns() where schema_name = 'raw' and table_name = 'dm'"
        " and column_name = 'USUBJID'"
    )["comment"][0]
    assert comment == "Unique Subject Identifier"


def test_text_that_is_not_utf8_is_read_as_it_was_written(ask) -> None:
    assert ask("select count(*) as n from sdtm.ts")["n"][0] == 48
    assert ask("select count(*) as n from sdtm.ts where contains(tsval, chr(65533))")["n"][0] == 0


def test_the_chosen_adas_cog_records_are_those_of_the_published_adam(ask, test_data) -> None:
    published = pl.read_parquet(test_data / "cdiscpilot_adam" / "parquet" / "adadas.parquet").filter(
        (pl.col("PARAMCD") == "ACTOT") & (pl.col("ANL01FL") == "Y") & (pl.col("DTYPE").fill_null("") == "")
    )
    theirs = {(row["USUBJID"], row["AVISIT"].strip()): row["AVAL"] for row in published.iter_rows(named=True)}
    chosen = ask("select * from adam.adqs where paramcd = 'ACTOT' and anl01fl = 'Y' and dtype is null")
    ours = {(row["usubjid"], row["avisit"]): row["aval"] for row in chosen.iter_rows(named=True)}
    assert ours == theirs
