"""SQL models are ordered by what they read, and refused before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from warehouse import models
from warehouse.errors import ModelError
from warehouse.models import plan, read_model
from warehouse.study import load_study

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """
[study]
id = "lupus"
title = "Lupus"
[design]
kind = "single-arm"
[sources.scores]
path = "scores.csv"
format = "csv"
[sources.people]
path = "people.csv"
format = "csv"
"""
CONTRACT = ("sdtm.dm", "sdtm.qs", "sdtm.ae", "adam.adsl")


@pytest.fixture
def house(tmp_path, monkeypatch):
    """Give the house no models but those that a test writes."""
    folder = tmp_path / "house"
    (folder / "sql").mkdir(parents=True)
    monkeypatch.setattr(models, "HOUSE", folder)
    return folder


@pytest.fixture
def own(tmp_path, house):
    assert not list(house.rglob("*.sql"))
    folder = tmp_path / "lupus"
    folder.mkdir()
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    return folder


def write(folder: Path, table: str, select: str, header: str = "-- grain: one row per usubjid") -> Path:
    file = folder / "sql" / f"{table.replace('.', '/')}.sql"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"-- A table.\n{header}\n{select}\n", encoding="utf-8")
    return file


def planned(folder: Path, results: tuple[str, ...] = ()) -> models.Plan:
    return plan(load_study(folder), CONTRACT, results)


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        planned(folder)
    return str(error.value)


def reads(tmp_path: Path, select: str) -> set[str]:
    file = write(tmp_path, "sdtm.dm", select)
    return set(read_model(file, "sdtm.dm", is_house=False).reads)


def test_the_order_comes_from_the_sql(own):
    # The alphabet would put every one of these before what it reads.
    write(own, "adam.a_first", "select * from sdtm.b_second join sdtm.z_last using (usubjid)")
    write(own, "sdtm.b_second", "select * from staging.c_third")
    write(own, "staging.c_third", "select * from staging.d_fourth")
    write(own, "staging.d_fourth", "select * from raw.scores")
    write(own, "sdtm.z_last", "select * from raw.people")
    order = [model.table for model in planned(own).models]
    for before, after in (
        ("staging.d_fourth", "staging.c_third"),
        ("staging.c_third", "sdtm.b_second"),
        ("sdtm.b_second", "adam.a_first"),
        ("sdtm.z_last", "adam.a_first"),
    ):
        assert order.index(before) < order.index(after)
    assert planned(own).models == planned(own).models


def test_a_table_is_made_after_those_that_its_suite_compares_it_with(own):
    write(own, "sdtm.ae", "select * from raw.scores")
    write(own, "sdtm.dm", "select * from raw.people")
    study = load_study(own)
    for judged, compared in (("sdtm.ae", "sdtm.dm"), ("sdtm.dm", "sdtm.ae")):
        found = plan(study, CONTRACT, judged_by={judged: [compared, "meta.visit"]})
        assert [model.table for model in found.models] == [compared, judged]


def test_made_returns_the_models_of_the_schemas_asked_for_in_order(own):
    write(own, "sdtm.dm", "select * from raw.people")
    write(own, "adam.adsl", "select * from sdtm.dm")
    write(own, "reports.flow", "select * from adam.adsl")
    assert [model.table for model in planned(own).made("adam", "sdtm")] == ["sdtm.dm", "adam.adsl"]


def test_a_cycle_is_refused_with_its_tables(own):
    write(own, "sdtm.dm", "select * from sdtm.ae")
    write(own, "sdtm.ae", "select * from sdtm.qs")
    write(own, "sdtm.qs", "select * from sdtm.dm")
    message = refusal(own)
    assert message.startswith("the SQL models read each other in a cycle: ")
    assert message.count(" -> ") == 3
    assert {"sdtm.dm", "sdtm.ae", "sdtm.qs"} <= set(message.partition(": ")[2].split(" -> "))


def test_an_unknown_table_is_refused_with_those_of_its_schema(own):
    file = write(own, "adam.adsl", "select * from sdtm.demographics")
    assert refusal(own) == f"{file}: unknown table sdtm.demographics: allowed: sdtm.ae, sdtm.dm, sdtm.qs"


def test_an_unknown_source_is_refused_with_those_of_the_study(own):
    file = write(own, "sdtm.dm", "select * from raw.persons")
    assert refusal(own) == f"{file}: unknown table raw.persons: allowed: raw.people, raw.scores"


def test_a_table_of_the_contract_that_the_study_does_not_make_is_refused_in_a_study_model(own):
    file = write(own, "adam.adae", "select * from sdtm.ae")
    assert refusal(own) == f"{file}: reads sdtm.ae, which this study does not make"


def test_an_unknown_schema_is_refused(own):
    file = write(own, "sdtm.dm", "select * from stage.people")
    message = refusal(own)
    assert message.startswith(f"{file}: unknown schema in stage.people: allowed: raw, staging, sdtm, omics")
    assert message.endswith("meta")


def test_a_table_without_schema_is_refused(own):
    file = write(own, "sdtm.dm", "select * from people")
    assert refusal(own) == f"{file}: unknown table people: name tables as schema.table"


def test_a_table_of_another_database_is_refused(own):
    write(own, "sdtm.dm", "select * from lake.raw.people")
    assert "lake.raw.people: name tables as schema.table" in refusal(own)


def test_a_layer_reads_only_to_its_left(own):
    write(own, "adam.adsl", "select * from sdtm.dm")
    file = write(own, "sdtm.dm", "select * from raw.people where exists (from adam.other)")
    write(own, "adam.other", "select * from raw.scores")
    assert refusal(own) == f"{file}: sdtm.dm reads adam.other: a layer reads only to its left"


def test_tables_of_meta_may_be_read_by_every_layer(own):
    write(own, "staging.visit", "select * from raw.scores join meta.visit on scores.VISIT = visit.avisit")
    assert [model.table for model in planned(own).models] == ["staging.visit"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("select 1; select 2", "SELECT, SELECT"),
        ("create table x as select 1 as a", "CREATE"),
        ("delete from sdtm.dm", "DELETE"),
        ("-- nothing", "no statement"),
    ],
)
def test_a_file_that_is_not_one_select_is_refused(own, text, found):
    file = write(own, "sdtm.dm", text)
    assert refusal(own) == f"{file}: exactly one SELECT is allowed: found {found}"


def test_a_file_that_is_no_sql_is_refused(own):
    file = write(own, "sdtm.dm", "select from where (")
    assert refusal(own).startswith(f"{file}: not SQL: ")


def test_a_union_is_one_select(own):
    write(own, "sdtm.dm", "select * from raw.people union all by name select * from raw.scores")
    assert planned(own).models[0].reads == {"raw.people", "raw.scores"}


def test_a_last_semicolon_is_no_part_of_the_select(own):
    write(own, "sdtm.dm", "select 1 as usubjid;")
    assert planned(own).models[0].select.endswith("usubjid")


def test_a_header_without_grain_is_refused(own):
    file = write(own, "sdtm.dm", "select * from raw.people", header="-- unit: age in years")
    assert refusal(own) == f"{file}: the header comment must say the grain: `-- grain: one row per ...`"


def test_the_header_is_read_into_table_and_column_comments(own):
    header = (
        "-- of the people.\n-- grain: one row per usubjid\n-- null: age is null\n--   where unknown\n"
        "-- column USUBJID: Unique subject identifier\n-- column age: Age,\n--   in years\n"
    )
    write(own, "sdtm.dm", "-- not a column usubjid: x\nselect * from raw.people", header=header + "\n")
    model = planned(own).models[0]
    assert (
        model.comment
        == "A table. of the people.\ngrain: one row per usubjid\nnull: age is null where unknown"
    )
    assert model.column_comments == {"usubjid": "Unique subject identifier", "age": "Age, in years"}
    assert model.replaces is None


@pytest.mark.parametrize(
    "place", ["sql/dm.sql", "sql/sdtm/sub/dm.sql", "sql/stage/dm.sql", "sql/sdtm/Dm.sql"]
)
def test_a_model_in_a_wrong_place_is_refused(own, place):
    file = own / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("-- A table.\n-- grain: one row\nselect 1 as a", encoding="utf-8")
    assert f"{file}: a model lies at sql/<schema>/<table>.sql with schema one of staging, sdtm" in refusal(
        own
    )


def test_no_model_fills_raw(own):
    write(own, "raw.people", "select 1 as a")
    assert "with schema one of staging" in refusal(own)


def test_a_study_does_not_silently_replace_a_model_of_the_house(own, house):
    write(house, "sdtm.dm", "select * from raw.people")
    file = write(own, "sdtm.dm", "select * from raw.scores")
    message = refusal(own)
    assert message.startswith(f"{file}: the house has a model sdtm.dm already")
    assert "`-- replaces: <why>`" in message


def test_a_study_replaces_a_model_of_the_house_when_it_says_why(own, house):
    write(house, "sdtm.dm", "select * from raw.people")
    write(
        own, "sdtm.dm", "select * from raw.scores", "-- grain: one row\n-- replaces: no people were delivered"
    )
    (model,) = planned(own).models
    assert not model.is_house
    assert model.reads == {"raw.scores"}
    assert model.replaces == "no people were delivered"


def test_a_replacement_of_nothing_is_refused(own):
    file = write(own, "sdtm.dm", "select * from raw.people", "-- grain: one row\n-- replaces: a whim")
    assert refusal(own) == f"{file}: replaces sdtm.dm, but the house has no such model"


def test_a_house_model_that_the_study_cannot_feed_is_skipped_with_the_reason(own, house):
    write(house, "adam.adsl", "select * from sdtm.dm")
    write(house, "adam.adae", "select * from sdtm.ae join sdtm.dm using (usubjid)")
    write(house, "reports.events", "select * from adam.adae")
    write(own, "sdtm.dm", "select * from raw.people")
    found = planned(own)
    assert [model.table for model in found.models] == ["sdtm.dm", "adam.adsl"]
    assert found.skipped == {
        "adam.adae": "the study has no sdtm.ae",
        "reports.events": "the study has no adam.adae",
    }


def test_a_report_waits_for_the_analysis_that_fills_its_table(own, house):
    write(house, "reports.primary", "select * from results.primary")
    with pytest.raises(ModelError, match=r"unknown table results\.primary"):
        planned(own)
    contract = (*CONTRACT, "results.primary")
    study = load_study(own)
    assert plan(study, contract).skipped == {"reports.primary": "the study has no results.primary"}
    assert [model.table for model in plan(study, contract, ["results.primary"]).models] == ["reports.primary"]


def test_the_models_of_the_house_can_be_ordered_for_every_study():
    from tasks.preparation import prepare
    from warehouse.study import find_studies

    for folder in find_studies():
        found = prepare(folder.name).plan
        assert found.models
        assert all(reason.startswith("the study has no ") for reason in found.skipped.values())


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("with a as (select * from raw.people), b as (select * from a) select * from b", {"raw.people"}),
        ("with A as (select * from raw.people) select * from a", {"raw.people"}),
        (
            "with recursive n as (select 1 as i union all select i + 1 from n where i < 3) select * from n",
            set(),
        ),
        ("select * from raw.people where id in (select id from sdtm.ae)", {"raw.people", "sdtm.ae"}),
        ("from raw.people", {"raw.people"}),
        ("from raw.people select id where exists (from sdtm.ae)", {"raw.people", "sdtm.ae"}),
        ("select * from RAW.People", {"raw.people"}),
        ('select * from "raw"."people"', {"raw.people"}),
        ("select * from raw.people, lateral (values (1, people.a)) as item (place, value)", {"raw.people"}),
        ("select * from raw.people cross join range(3) as r(i)", {"raw.people"}),
        ("select * from raw.people cross join unnest([1, 2]) as r(i)", {"raw.people"}),
        ("select unnest(string_split(a, '|')) from raw.people", {"raw.people"}),
        ("select * from (values (1)) as v(a)", set()),
        ("select * exclude (a) from raw.people left join sdtm.ae using (id)", {"raw.people", "sdtm.ae"}),
    ],
)
def test_what_a_select_reads(tmp_path, select, expected):
    assert reads(tmp_path, select) == expected


SUPPDM = "-- grain: one row per usubjid\n-- optional: sdtm.suppdm (usubjid varchar, qnam varchar)"
ADSL = "select * from sdtm.dm left join sdtm.suppdm using (usubjid)"


def test_a_table_that_may_be_absent_does_not_stop_a_model(own, house):
    write(house, "adam.adsl", ADSL, SUPPDM)
    write(own, "sdtm.dm", "select * from raw.people")
    found = planned(own)
    assert [model.table for model in found.models] == ["sdtm.dm", "adam.adsl"]
    assert found.skipped == {}
    assert found.models[1].optional == {"sdtm.suppdm": '"usubjid" varchar, "qnam" varchar'}


def test_a_table_that_may_be_absent_is_made_first_where_there_is_one(own, house):
    write(house, "adam.adsl", ADSL, SUPPDM)
    write(own, "sdtm.dm", "select * from raw.people")
    write(own, "sdtm.suppdm", "select * from raw.scores")
    assert [model.table for model in planned(own).models][-1] == "adam.adsl"


def test_the_header_of_an_optional_table_is_refused_in_another_form(own):
    file = write(own, "sdtm.dm", "select * from raw.people", "-- grain: one row\n-- optional: sdtm.suppdm")
    assert refusal(own).startswith(
        f"{file}: optional: sdtm.suppdm: it is `optional: schema.table (column type"
    )


def test_an_optional_table_that_nothing_reads_is_refused(own):
    file = write(own, "sdtm.dm", "select * from raw.people", SUPPDM)
    assert refusal(own) == f"{file}: optional: sdtm.suppdm: the SELECT does not read it"


def test_an_optional_table_lies_to_the_left_too(own):
    header = "-- grain: one row\n-- optional: adam.adsl (usubjid varchar)"
    file = write(own, "sdtm.dm", "select * from raw.people join adam.adsl using (usubjid)", header)
    assert refusal(own) == f"{file}: sdtm.dm reads adam.adsl: a layer reads only to its left"
