"""Neither `trialhouse sql` nor a model does anything but read rows of the lake, whatever its text says."""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import duckdb
import polars as pl
import pytest
import sqlglot
from sqlglot import exp

from flows import output
from flows.answers import as_frame
from warehouse.errors import ModelError
from warehouse.lake import connect, open_lake
from warehouse.models import plan, read_model
from warehouse.query_limit import OverTimeError, limit_time
from warehouse.select_guard import MODEL, QUERY, RefusedSelectError, _fold, _functions, check_select
from warehouse.settings import load_settings
from warehouse.study import HOUSE, load_study

STUDY = "guarded"
STUDY_TOML = f"""
[study]
id = "{STUDY}"
title = "Guarded"
[design]
kind = "single-arm"
[sources.people]
path = "people.csv"
format = "csv"
"""
FRAME = pl.DataFrame({"secret": [1]})  # what a replacement scan of Python would find

NO_SELECT = [
    "",
    ";;",
    "-- nothing",
    "select 1; select 2",
    "select 1; drop table adam.adqs",
    "select 1;\u00a0delete from adam.adqs",
    "select 1 /* ; */ ; -- ;\n drop table adam.adqs",
    "select $$;$$ ; delete from adam.adqs",
    "pivot adam.adqs on g using sum(aval); delete from adam.adqs",
    "pivot adam.adqs on g using sum(aval); pivot adam.adqs on id using sum(aval)",
    "create type t as enum ('x'); pivot adam.adqs on g using sum(aval)",
    "copy adam.adqs to '{out}'",
    "copy (select 1) to '{out}' (format csv)",
    "copy adam.adqs from '{canary}'",
    "copy from database lake to memory",
    "export database '{out}'",
    "import database '{out}'",
    "attach '{catalog}' as k (type sqlite)",
    "attach '{out}' as k",
    "detach lake",
    "use memory",
    "install httpfs",
    "load '{out}'",
    "pragma database_list",
    "pragma table_info('adam.adqs')",
    "set memory_limit = '64GB'",
    "set variable x = 1",
    "reset all",
    "call lake.set_option('target_file_size', '1')",
    "call ducklake_delete_orphaned_files('lake', cleanup_all => true)",
    "call ducklake_expire_snapshots('lake', older_than => now())",
    "create macro f() as 1",
    "create or replace table adam.adqs as select 1",
    "create view adam.v as select 1",
    "create temp table t as select 1",
    "create secret s (type s3)",
    "insert into adam.adqs values (1, 2, 3)",
    "update adam.adqs set aval = 0.0001",
    "delete from adam.adqs",
    "truncate adam.adqs",
    "merge into adam.adqs using adam.adqs as n using (id) when matched then delete",
    "with gone as (delete from adam.adqs returning *) select * from gone",
    "with made as (insert into adam.adqs values (1, 2, 3) returning *) from made",
    "drop schema adam cascade",
    "alter table adam.adqs drop column aval",
    "comment on table adam.adqs is 'x'",
    "explain select 1",
    "explain analyze delete from adam.adqs",
    "prepare p as select 1",
    "execute p",
    "begin",
    "vacuum",
    "checkpoint",
    "select 1 into adam.copy",
    "select * from adam.adqs for update",
]
REACHES = [
    # Files, by a function in every place where a query can stand.
    "from read_text('{canary}')",
    "FROM Read_Text('{canary}')",
    "select * from \"read_text\"('{canary}')",
    "select * from main.read_text('{canary}')",
    "select * from system.main.read_text('{canary}')",
    "select (select content from read_text('{canary}'))",
    "with a as (from read_blob('{canary}')) select 1",
    "with a as materialized (with b as (from read_csv('{canary}')) from b) from a",
    "select 1 where exists (from read_csv_auto('{canary}'))",
    "from range(1) as r(i), lateral (select content from read_text('{canary}'))",
    "select 1 union all select content from read_text('{canary}')",
    "select 1 order by (select content from read_text('{canary}'))",
    "select 1 limit (select count(*) from glob('/*'))",
    "select 1 having (select count(*) from glob('/*')) > 0",
    "select sum(1) over (order by (select count(*) from glob('/*')))",
    "select list_transform([1], lambda x: (select content from read_text('{canary}')))",
    "select * replace ((select content from read_text('{canary}')) as id) from adam.adqs",
    "values ((select content from read_text('{canary}')))",
    "from range((select count(*) from glob('/*')))",
    "with recursive a as (select 1 as x union all select 2 from read_text('{canary}')) from a",
    "pivot (from read_text('{canary}')) on filename using count(*)",
    "unpivot (from read_text('{canary}')) on content",
    "describe from read_text('{canary}')",
    "summarize read_text('{canary}')",
    "from glob('/etc/*')",
    "from read_json('{canary}')",
    "from read_ndjson_objects('{canary}')",
    "from read_parquet('{canary}')",
    "from parquet_scan('{canary}')",
    "from parquet_metadata('{canary}')",
    "from sniff_csv('{canary}')",
    "from read_duckdb('{canary}')",
    "from sqlite_scan('{catalog}', 'ducklake_snapshot')",
    "from sqlite_query('{catalog}', 'delete from ducklake_snapshot')",
    "from sqlite_attach('{catalog}')",
    "from postgres_query('x', 'select 1')",
    "from postgres_scan('', 'public', 't')",
    # Text that is run as SQL or names a table.
    "from query('select 1')",
    "from query_table('{canary}')",
    "from query_table(['adam.adqs'])",
    "from histogram('{canary}', column0)",
    "from histogram_values(adam.adqs, g)",
    "from summary('x')",
    "from json_execute_serialized_sql('x')",
    "select json_serialize_plan('from read_text(''{canary}'')')",
    "select json_deserialize_sql('x')",
    # Files and Python's variables by a name.
    "from '{canary}'",
    'from "{canary}"',
    "from '{canary}' as adqs",
    "describe '{canary}'",
    'from raw."{canary}"',
    'from raw."/../..{canary}"',
    'from lake.raw."x.csv"',
    "from FRAME",
    "from “x.csv”",
    "select ('{canary}').read_text()",
    "select content from adam.adqs, adqs.id.read_text()",
    "with recursive frame as (from frame union all select 1) from frame",
    "with frame as (from frame) from frame",
    "with a as (from frame), frame as (select 1) from a",
    "select * from connection",
    'with "{canary}" as (from "{canary}") select 1',
    'select * from "{canary}", (with "{canary}" as (select 1) from "{canary}")',
    "with a as (select 1 as x) select (with frame as (select 1) select 2) from frame",
    'with recursive "{canary}" as (from "{canary}" union all select 1) select 1',
    'with k as (select 1) from "\u212a"',  # the Kelvin sign, which Python lowers to k and DuckDB does not
    # Other catalogs and the system.
    "from __ducklake_metadata_lake.ducklake_snapshot",
    "from __ducklake_metadata_lake.main.ducklake_snapshot",
    "from memory.main.x",
    "from memory.adam.adqs",
    "from system.information_schema.tables",
    "from temp.x",
    "from system.main.duckdb_settings",
    "from pg_catalog.pg_class",
    "from pg_tables",
    "from sqlite_master",
    "from duckdb_settings()",
    "from duckdb_secrets()",
    "from duckdb_databases()",
    "from duckdb_logs()",
    "from duckdb_variables()",
    "from which_secret('s3://x', 's3')",
    "from pragma_database_size()",
    "from pragma_table_info('adam.adqs')",
    "from ducklake_list_files('lake', 'adqs')",
    "from ducklake_delete_orphaned_files('lake', cleanup_all => true)",
    "from ducklake_expire_snapshots('lake', versions => [1])",
    "from ducklake_set_option('lake', 'x', 'y')",
    "from lake.set_option('x', 'y')",
    "from lake.options()",
    "from lake.settings()",
    "from enable_logging()",
    "from force_checkpoint('lake')",
    "from pandas_scan(1)",
    "from arrow_scan(1, 2, 3)",
    "from python_map_function(1)",
    "from seq_scan('adam.adqs')",
    "from test_all_types()",
    "show databases",
    "show variables",
    "show tables from __ducklake_metadata_lake",
    # Functions with reach or side effects.
    "select getenv('HOME')",
    "select GetEnv('HOME')",
    "select main.getenv('HOME')",
    "select ('HOME').getenv()",
    "select current_setting('home_directory')",
    "select id.current_setting() from adam.adqs",
    "select [x for x in ['a'] if current_setting(x) = 'b']",
    "select case when true then current_setting('x') end",
    "select count(*) filter (where current_setting('x') = '') from adam.adqs",
    "from adam.adqs qualify current_setting('x') = ''",
    "from adam.adqs join adam.adqs as b on current_setting('x') = ''",
    "from adam.adqs group by grouping sets ((current_setting('x')))",
    "select distinct on (current_setting('x')) 1",
    "select 1::varchar like current_setting('x')",
    "from adam.adqs pivot (sum(aval) for g in (1) group by current_setting)  where current_setting('x') = ''",
    "pivot adam.adqs on current_setting(g) using sum(aval)",
    "pivot adam.adqs on g using first(current_setting(g))",
    "select getvariable('x')",
    "select nextval('s')",
    "select write_log('x')",
    "select sleep_ms(1)",
    "select pg_sleep(1)",
    "select setseed(0.5)",
    "select stats(1)",
    "select __internal_compress_string_hugeint('x')",
    "select no_such_function(1)",
    "select no_such_aggregate(1) over ()",
    # Values that are not in the text.
    "select $1",
    "select ?",
    "select $name",
    # Texts that are no texts.
    "select 1\0; drop table adam.adqs",
    "select '\udcff'",
]
EXPLORES = [
    "describe adam.adqs",
    "describe select 1 as a",
    "summarize adam.adqs",
    "show adam.adqs",
    "show tables",
    "show all tables",
    "show schemas",
    "show tables from adam",
    "show tables from lake.adam",
    "from (describe adam.adqs)",
    "from adam.adqs at (version => 8)",
    "select o.aval from adam.adqs as o at (version => 8) join adam.adqs as n at (version => 8) using (id)",
    "from adam.adqs at (timestamp => now())",
    "from lake.adam.adqs",
    "select max(snapshot_id) from lake.snapshots()",
    "from lake.current_snapshot()",
    "from lake.snapshots() select snapshot_time::varchar",
    "select table_name, comment from duckdb_tables() where database_name = 'lake'",
    "select column_name from duckdb_columns() where database_name = 'lake' and table_name = 'adqs'",
    "select table_name from information_schema.tables",
    "pivot adam.adqs on g using sum(aval)",
    "pivot adam.adqs on g, g + 1 using sum(aval) order by id;",
    "with wide as (pivot adam.adqs on g using sum(aval) group by g) select count(*) from wide",
    "pivot (from adam.adqs select *, coalesce(g::text, 'ü') as arm where g < 9) on arm using max(g) -- )",
]
READS = [
    "select 1",
    "select * from adam.adqs;",
    "-- a comment\nselect /* and; another */ 'it''s; -- one' as a",
    "from adam.adqs",
    "from ADAM.Adqs select ID where aval > 3",
    'select "id" from "adam"."adqs"',
    "table adam.adqs",
    "values (1, 'a'), (2, 'b')",
    "select a.id from adam.adqs a left join raw.people p using (id) where p.id is not null",
    "from adam.adqs semi join raw.people using (id)",
    "from adam.adqs anti join raw.people using (id)",
    "from adam.adqs positional join raw.people",
    "from adam.adqs asof join raw.people on adqs.id >= people.id",
    "from adam.adqs cross join range(3) as r(i)",
    "from adam.adqs, lateral (select adqs.id + 1 as next)",
    "with a as (from adam.adqs), B as (from A) select count(*) from b",
    "with a as materialized (select 1 as x), b as not materialized (from a) from b",
    "with recursive n as (select 1 as i union all select i + 1 from n where i < 5) select sum(i) from n",
    "with a as (select 1 as x) select (select max(x) from a) + (with a as (select 2 as y) select y from a)",
    "select id from adam.adqs union select id from raw.people",
    "from adam.adqs union all by name from raw.people",
    "from raw.people except select id from adam.adqs order by 1 limit 3 offset 1",
    "select g, sum(aval) filter (where id > 3) from adam.adqs group by all having count(*) > 1 order by all",
    "select g, id, count(*) from adam.adqs group by grouping sets ((g), (id), ()), cube (g)",
    "select distinct on (g) * from adam.adqs order by g, id",
    "select id, row_number() over w, lag(aval, 1) over w from adam.adqs window w as (order by id)",
    "select sum(aval) over (order by id rows between 1 preceding and current row) from adam.adqs",
    "from adam.adqs qualify rank() over (partition by g order by aval desc) = 1",
    "select columns('i.*') from adam.adqs",
    "select columns(c -> c like 'a%') from adam.adqs",
    "select min(columns(*)) from adam.adqs",
    "select * exclude (g) replace (aval / 2 as aval) rename (id as subject) from adam.adqs",
    "select list_transform([1, 2], lambda x: x + 1), [x * 2 for x in [1, 2] if x > 1]",
    "select unnest([1, 2]), unnest({{'a': 1}})",
    "from unnest([1, 2]) with ordinality",
    "select string_agg(id::varchar, ', ' order by id desc), median(aval), arg_max(id, aval) from adam.adqs",
    "select quantile_cont(aval, 0.5), percentile_cont(0.5) within group (order by aval) from adam.adqs",
    "select any_value(id), count(distinct g), count(*), histogram(g)::varchar from adam.adqs",
    "select case g when 1 then 'a' else 'b' end, coalesce(g, 0), nullif(g, 1) from adam.adqs",
    "select try_cast('x' as int), '1'::double, cast('2020-01-01' as date) + interval 3 day",
    "select extract(year from date '2020-02-03'), date_trunc('month', now()), strftime(today(), '%Y')",
    "select timestamp '2020-01-01 10:00:00' at time zone 'UTC'",
    "select 'a' like 'A', 'a' ilike 'A', 'a' similar to 'a', 'abc' ~ 'b', regexp_extract('a1', '[0-9]')",
    "select ('Ab').lower().replace('a', 'x'), ('ab').upper(), split_part('a|b', '|', 2), 'abc'[1:2]",
    "select substring('abc' from 2 for 1), position('b' in 'abc'), trim(both 'a' from 'aba'), 'a' || 'b'",
    "select 7 // 2, 7 % 2, 2 ** 3, -1, @ -1, 5 & 3, 1 << 2, 3!, not true, 1 between 0 and 2, 1 in (1, 2)",
    "select 1 = any (select id from adam.adqs), 1 > all (select 0), array(select 1), exists (from adam.adqs)",
    "select {{'a': 1}}.a, map {{'k': 1}}['k'], [1, 2, 3][2:], struct_pack(a := 1)",
    """select '{{"a": 1}}'::json ->> '$.a', json_extract('{{"a": 1}}', '$.a'), to_json([1])""",
    """from json_each('{{"a": 1}}') select key""",
    "select a collate nocase from (values ('b'), ('A')) as t(a) order by a",
    "from adam.adqs tablesample 50%",
    "from adam.adqs using sample 3 rows",
    "from adam.adqs pivot (sum(aval) for g in (0, 1) group by id)",
    "pivot adam.adqs on g in (0, 1) using sum(aval), count(*) group by id",
    "unpivot (select id, g, id + 1 as h from adam.adqs) on g, h into name what value number",
    "from (select id, g, id + 1 as h from adam.adqs) unpivot include nulls (v for n in (g, h))",
    "select current_date, grouping(g) from adam.adqs group by g",
    "from meta.current",
    "from generate_series(1, 3)",
    "select repeat('x', 3), greatest(1, 2), round(1.25, 1), ln(2), hash('a'), md5('a'), random() < 2",
]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("guard")
    canary = folder / "canary.csv"
    canary.write_text("secret\nkept\n", encoding="utf-8")
    return {"home": folder / "home", "canary": canary, "out": folder / "out.csv"}


@pytest.fixture(autouse=True)
def _own_home(places, monkeypatch):
    monkeypatch.setenv("TRIALHOUSE_HOME", str(places["home"]))


@pytest.fixture(scope="module")
def lake(places):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIALHOUSE_HOME", str(places["home"]))
        made = open_lake(STUDY)
        (made.folder / "data").mkdir(parents=True)
        connection = connect(load_settings())
        connection.execute(
            f"attach 'ducklake:sqlite:{made.catalog_file}' as lake (data_path '{made.folder}/data/')"
        )
        for statement in (
            *(f"create schema lake.{name}" for name in ("raw", "adam", "meta", "results")),
            "create table lake.adam.adqs as select i as id, i % 3 as g, i * 2.5 as aval from range(20) r(i)",
            "create table lake.raw.people as select i as id from range(20) as r(i)",
            "create view lake.meta.current as select 1 as a",
            "create table lake.results.primary_endpoint as select 0.04 as p_value",
        ):
            connection.execute(statement)
        connection.close()
        return made


@pytest.fixture(scope="module")
def reading(lake):
    """One connection for all questions: opening takes longer than asking."""
    with lake.read() as connection:
        connection.execute("use lake")
        yield connection


def fill(text: str, places: dict[str, Path]) -> str:
    catalog = places["home"] / STUDY / "catalog.sqlite"
    for name, value in {**places, "catalog": catalog}.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text.replace("{{", "{").replace("}}", "}")


def state(places: dict[str, Path]) -> dict[str, str]:
    """Hash every file of the lake and beside it, but those that SQLite keeps for its readers."""
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(places["canary"].parent.rglob("*"))
        if file.is_file() and not file.name.endswith(("-wal", "-shm"))
    }


def model(folder: Path, select: str, header: str = "") -> Path:
    file = folder / "adsl.sql"
    file.write_bytes(f"-- A table.\n-- grain: one row\n{header}{select}\n".encode(errors="surrogatepass"))
    return file


def test_no_hostile_text_does_anything(lake, places, tmp_path) -> None:
    before = state(places)
    for text in (fill(text, places) for text in NO_SELECT + REACHES):
        with pytest.raises(output.QueryError) as refused:
            output.ask(STUDY, text, None)
        assert "kept" not in str(refused.value)
        with pytest.raises(ModelError) as refused:
            read_model(model(tmp_path, text), "adam.adsl", is_house=False)
        assert str(tmp_path / "adsl.sql") in str(refused.value)
    assert state(places) == before


@pytest.mark.parametrize("text", [text for text in REACHES if "\0" not in text])
def test_what_reaches_out_is_refused_before_it_is_bound(text, places) -> None:
    """DuckDB would refuse some of these, too, in a sandbox; the guard asks nobody."""
    for reach in (QUERY, MODEL):
        with pytest.raises((RefusedSelectError, duckdb.ParserException)):
            check_select(fill(text, places), reach)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("select 1; select 2", "exactly one SELECT is allowed: found SELECT, SELECT"),
        ("select 1" + "; select 1" * 20, "found SELECT, SELECT, SELECT, SELECT, SELECT, ..."),
        ("from read_text('x')", "table function read_text is refused: allowed: generate_series, json_each"),
        ("select current_setting('x')", "function current_setting is refused: it reads or changes the state"),
        ("select uper('x')", "function uper is not one that a query may call: did you mean upper?"),
        ("select qqqqq('x')", "the allowed ones stand in warehouse/functions.toml"),
        ("from adqs", "unknown table adqs: name tables as schema.table"),
        ("from adsl.adqs", "unknown schema in adsl.adqs: allowed: raw, staging"),
        ("from memory.adam.adqs", "memory.adam.adqs: name tables as schema.table"),
        ("from 'x.csv'", "unknown table 'x.csv': names are letters, digits and underscores; no file is read"),
        ("select $1", "parameters such as ? and $1 are refused: write the value"),
        ("show databases", "SHOW is allowed as SHOW TABLES"),
        ("selec 1", 'Parser Error: syntax error at or near "selec"'),
        ("select from where", "LINE 1"),
        ("pivot adam.adqs on g in (select 1) using sum(aval)", "list its columns"),
        ("select 1 --" + "x" * 100_000, "at most 100,000 are allowed"),
    ],
)
def test_a_refusal_says_what_is_allowed(text, message) -> None:
    with pytest.raises((RefusedSelectError, duckdb.Error)) as refused:
        check_select(text, QUERY)
    assert message in str(refused.value)


@pytest.mark.parametrize("text", READS + EXPLORES)
def test_an_honest_query_is_answered(text, reading) -> None:
    text = fill(text, {"home": Path()})
    check_select(text, QUERY)
    shown = as_frame(reading.sql(text), lambda relation: output._fetch(reading, relation))
    assert shown.width > 0


@pytest.mark.parametrize("text", READS)
def test_a_model_may_select_as_a_query_does(text, tmp_path) -> None:
    text = fill(text, {"home": Path()})
    if "meta.current" not in text:
        read_model(model(tmp_path, text), "reports.x", is_house=False)


@pytest.mark.parametrize("text", EXPLORES)
def test_a_model_reads_rows_of_its_own_run_only(text, tmp_path) -> None:
    with pytest.raises(ModelError):
        read_model(model(tmp_path, text), "reports.x", is_house=False)


def test_a_message_of_duckdb_stays_as_helpful_as_it_was(lake) -> None:
    for text, hint in (
        ("select avall from adam.adqs", 'Candidate bindings: "aval"'),
        ("from adam.adqss", 'Did you mean "adqs"'),
        ("select 'x'::int from adam.adqs", "Could not convert string 'x'"),
    ):
        with pytest.raises(output.QueryError, match=re.escape(hint)):
            output.ask(STUDY, text, None)


def test_every_function_of_duckdb_is_judged() -> None:
    connection = duckdb.connect()
    there = {
        _fold(name)
        for (name,) in connection.execute(
            "select function_name from duckdb_functions()"
            " where function_type in ('scalar', 'aggregate', 'macro') and database_name = 'system'"
        ).fetchall()
    }
    allowed, refused = _functions()
    assert not allowed & refused.keys()
    assert there - allowed - refused.keys() == set(), "judge them in warehouse/functions.toml"
    assert (allowed | refused.keys()) - there <= {"unnest"}


def seen_by_sqlglot(select: str) -> set[str]:
    """Find the tables by another parser."""
    (statement,) = [each for each in sqlglot.parse(select, dialect="duckdb") if each]
    return {f"{table.db}.{table.name}".lower() for table in statement.find_all(exp.Table) if table.db}


@pytest.mark.parametrize("folder", [HOUSE / "sql", *sorted((HOUSE / "studies").glob("*/sql"))], ids=str)
def test_the_models_of_house_and_studies_pass_and_two_parsers_see_the_same_tables(folder) -> None:
    found = sorted(folder.glob("*/*.sql"))
    assert found
    for file in found:
        text = file.read_text(encoding="utf-8")
        assert check_select(text, MODEL) == seen_by_sqlglot(text), file


def documented() -> list[str]:
    """Return the queries that the documents show for `trialhouse sql`, or for a session that reads."""
    queries = []
    for file in (
        HOUSE / "README.md",
        *(HOUSE / "docs").glob("*.md"),
        *(HOUSE / "studies").glob("*/README.md"),
    ):
        text = file.read_text(encoding="utf-8")
        queries += re.findall(r'trialhouse sql \S+ "([^"]+)"', text)
        if file.name == "sql.md":
            text = text[text.index("## Versions") :]
        if file.name == "sql.md" or "studies" in file.parts:
            for block in re.findall(r"^```sql\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
                queries += [each for each in re.split(r";\s*$", block, flags=re.MULTILINE) if each.strip()]
    return [query for query in queries if query not in {"select ...", "..."}]


def test_the_documented_queries_pass() -> None:
    queries = documented()
    assert len(queries) > 30
    for query in queries:
        check_select(query, QUERY)


def test_no_text_is_too_much_for_the_parser() -> None:
    """In a process of its own, for a stack that overflows ends it; in a thread, whose stack is smaller."""
    script = """
        import threading
        from warehouse.select_guard import QUERY, RefusedSelectError, check_select
        import duckdb

        def nested(opened, closed, inner="1", start="select "):
            count = 40_000 // len(opened + closed)
            for n in (140, 470, count):
                yield start + opened * n + inner + closed * n

        texts = [
            *nested("(", ")"), *nested("", "+1"), *nested("[", "]", ""), *nested("case when 1 then ", " end"),
            *nested("(select ", ")"), *nested("(from ", ")", "range(1)", "from "), *nested("not ", ""),
            *nested("abs(", ")"), *nested("{'a':", "}"), *nested("", "::int"), *nested("", "||'a'"),
            *nested("", "[1]", "a"), *nested("", ".b", "a"), *nested("exists(select ", ")"),
            *nested("struct(a ", ")", "int", "select null::"), *nested("lambda x: ", ""), *nested("/*", "*/"),
            *nested("with a as (", ") from a", "select 1", ""), *nested("", " union all select 1"),
            *nested("", " and 1"), *nested("", ";select 1"), *nested("(", ")", "select 1", ""),
            *nested("", ",g", "g", "pivot adam.a on "), "(" * 1_000_000, "select '" + "x" * 1_000_000 + "'",
        ]
        counts = {}

        def judge():
            for text in texts:
                try:
                    check_select(text, QUERY)
                    outcome = "passed"
                except (RefusedSelectError, duckdb.Error) as error:
                    outcome = type(error).__name__
                counts[outcome] = counts.get(outcome, 0) + 1

        thread = threading.Thread(target=judge)
        thread.start()
        thread.join()
        print(sum(counts.values()) == len(texts), sorted(counts))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=HOUSE,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, ""), shlex.quote(done.stderr[-2000:])
    assert done.stdout == "True ['ParserException', 'RefusedSelectError', 'passed']\n"


def test_lambdas_in_lambdas_are_refused() -> None:
    """DuckDB takes twice as long for each, and cannot be interrupted."""
    text = "select " + "list_transform([1], lambda x: " * 12 + "1" + ")" * 12
    with pytest.raises(RefusedSelectError, match="nested too deeply"):
        check_select(text, QUERY)


# Limits.


@pytest.mark.parametrize(
    "text",
    [
        "select count(*) from range(100000000) a, range(100000000) b",
        "select a.range from range(100000000) a, range(100000000) b where a.range + b.range < 0",
        "with recursive n as (select 1 as i union all select i + 1 from n) select max(i) from n",
    ],
)
def test_a_query_without_end_is_stopped(text, lake, monkeypatch) -> None:
    monkeypatch.setenv("TRIALHOUSE_QUERY_SECONDS", "0.3")
    with pytest.raises(output.QueryError, match=r"stopped after 0\.3 s.*TRIALHOUSE_QUERY_SECONDS"):
        output.ask(STUDY, text, None)


def test_a_connection_can_be_used_again_after_the_limit() -> None:
    connection = duckdb.connect()
    with pytest.raises(OverTimeError), limit_time(connection, 0.1):
        connection.execute("create table t as select 1 from range(100000000) a, range(100000000) b")
    with limit_time(connection, 60):
        assert connection.execute("select 1").fetchone() == (1,)
    with pytest.raises(duckdb.BinderException), limit_time(connection, 60):
        connection.execute("select nothing")


@pytest.mark.parametrize(
    "text",
    [
        "select repeat('x', 10000) as x from range(10000000)",
        "select string_agg(repeat('x', 100000), '') from range(1000000)",
        # What DuckDB does not count against its limit.
        pytest.param(
            "select len(repeat('x', 4000000000)) from range(100)",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux tells how much memory there is"),
        ),
    ],
)
def test_a_query_without_measure_is_one_message(text, lake, monkeypatch) -> None:
    monkeypatch.setenv("TRIALHOUSE_MEMORY_LIMIT", "100MB")
    with pytest.raises(output.QueryError, match="TRIALHOUSE_MEMORY_LIMIT"):
        output.ask(STUDY, text, None)


# Files of a study.


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / STUDY
    (folder / "sql" / "sdtm").mkdir(parents=True)
    (folder / "study.toml").write_text(STUDY_TOML, encoding="utf-8")
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        plan(load_study(folder), ("sdtm.dm",))
    return str(error.value)


def test_no_link_stands_for_a_model(study, tmp_path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "dm.sql").write_text("-- grain: one row\nselect 1 as a", encoding="utf-8")
    for link, target in (
        (study / "sql" / "sdtm" / "dm.sql", elsewhere / "dm.sql"),
        (study / "sql" / "sdtm" / "dm.sql", Path("/nowhere")),
        (study / "sql" / "adam", elsewhere),
    ):
        link.symlink_to(target)
        assert (
            refusal(study)
            == f"{link}: is a link: a model is a file of its own folder, so that it is what it seems"
        )
        link.unlink()
    (study / "sql" / "sdtm").rmdir()
    (study / "sql").rmdir()
    (study / "sql").symlink_to(elsewhere)
    assert "is a link" in refusal(study)


def test_what_is_no_readable_text_is_refused(study) -> None:
    file = study / "sql" / "sdtm" / "dm.sql"
    file.mkdir()
    assert refusal(study) == f"{file}: is not a file: a model is a text file"
    file.rmdir()
    file.write_bytes(b"-- grain: \xff")
    assert refusal(study) == f"{file}: byte 10: the file is not UTF-8"
    file.write_text("-- grain: one row\nselect 1 --" + "x" * 100_000, encoding="utf-8")
    assert refusal(study) == f"{file}: 100,001 characters of SQL: at most 100,000 are allowed"


@pytest.mark.parametrize(
    "columns",
    [
        "a varchar default getenv",
        "a varchar, a double",
        "a varchar, A double",
        "a varchar,",
        "a",
        "a text[]",
        "a varchar check",
        "a varchar primary key",
        "a enum",
        "1a nothing",
        "a varchar) as select 1 --",
        'a "varchar"',
        "a varchar; drop table x",
        "ä varchar",
    ],
)
def test_the_columns_of_an_optional_table_are_names_and_types(columns, tmp_path) -> None:
    file = model(tmp_path, "select * from sdtm.x", f"-- optional: sdtm.x ({columns})\n")
    with pytest.raises(ModelError, match="optional: "):
        read_model(file, "adam.adsl", is_house=False)


def test_the_columns_of_an_optional_table_make_a_table(tmp_path) -> None:
    header = "-- optional: sdtm.x (order varchar, select Double,\n--   \ta  timestamp)\n"
    (columns,) = read_model(
        model(tmp_path, "from sdtm.x", header), "adam.adsl", is_house=False
    ).optional.values()
    connection = duckdb.connect()
    connection.execute(f"create table x ({columns})")
    assert [name for name, *_ in connection.execute("describe x").fetchall()] == ["order", "select", "a"]
