"""The `trialhouse` command: its subcommands, formats, messages and exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import socket
import subprocess
from typing import TYPE_CHECKING

import polars as pl
import pytest

from flows.cli import EXIT_CODES, INTERRUPTED, USAGE, app
from warehouse.study import HOUSE

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

STUDY = "nl_ruxolitinib"
COMMANDS = sorted(name for name in app if not name.startswith("-"))
QUERY = "select usubjid, age, armcd from sdtm.dm order by usubjid limit 3"


def test_the_commands_are_those_that_are_promised() -> None:
    promised = {"run", "ingest", "build", "analyze", "report", "sql", "versions", "checks", "studies", "new"}
    assert promised | {"simulate", "up"} <= set(COMMANDS)


# Documentation.


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_shows_every_command(command: str) -> None:
    assert re.search(rf"\btrialhouse {command}\b", (HOUSE / "README.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(trialhouse: Any, command: str) -> None:
    done = trialhouse(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"trialhouse {command}" in done.out
    # A sentence on the command, and one on each option.
    assert app[command].help.strip().rstrip(".") in " ".join(done.out.split())


def test_help_names_every_command_and_exit_code(trialhouse: Any) -> None:
    done = trialhouse("--help")
    assert done.code == 0
    for command in COMMANDS:
        assert re.search(rf"^[\s│]*{command}\b", done.out, flags=re.MULTILINE)
    for code in (USAGE, INTERRUPTED, *EXIT_CODES.values()):
        assert re.search(rf"\b{code} ", done.out)


def test_version(trialhouse: Any) -> None:
    done = trialhouse("--version")
    assert done.code == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+", done.out.strip())


# Asking a lake.


@pytest.mark.usefixtures("read_only")
class TestSql:
    def test_table(self, trialhouse: Any) -> None:
        done = trialhouse("sql", STUDY, QUERY)
        assert (done.code, done.err) == (0, "")
        head, *lines = done.out.splitlines()
        assert head.split() == ["usubjid", "age", "armcd"]
        assert [line.split()[0] for line in lines] == ["NLSIM-001", "NLSIM-002", "NLSIM-003"]

    def test_a_query_may_begin_with_a_comment(self, trialhouse: Any) -> None:
        done = trialhouse("sql", STUDY, "-- how many\nselect count(*) as n from sdtm.dm", "--format", "csv")
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("n\n")
        assert trialhouse("sql", STUDY, QUERY, "--frmat", "csv").code != 0

    def test_a_table_in_a_pipe_is_not_cut(self, trialhouse: Any) -> None:
        done = trialhouse("sql", STUDY, "select repeat('x', 900) as long, 'end' as last")
        assert re.search(r"^x{900} +end *$", done.out, flags=re.MULTILINE)

    def test_csv(self, trialhouse: Any) -> None:
        done = trialhouse("sql", STUDY, QUERY, "--format", "csv")
        assert done.err == ""
        records = list(csv.DictReader(io.StringIO(done.out)))
        assert [record["usubjid"] for record in records] == ["NLSIM-001", "NLSIM-002", "NLSIM-003"]

    def test_json(self, trialhouse: Any) -> None:
        done = trialhouse("sql", STUDY, QUERY, "--format", "json")
        assert json.loads(done.out)[0] == {"usubjid": "NLSIM-001", "age": 53, "armcd": "RUX"}

    def test_parquet(self, trialhouse: Any) -> None:
        done = trialhouse("sql", STUDY, QUERY, "--format", "parquet")
        frame = pl.read_parquet(io.BytesIO(done.out_bytes))
        assert frame.schema == {"usubjid": pl.String, "age": pl.Int32, "armcd": pl.String}

    @pytest.mark.parametrize("form", ["table", "csv", "json", "parquet"])
    def test_no_rows(self, trialhouse: Any, form: str) -> None:
        done = trialhouse("sql", STUDY, "select usubjid from sdtm.dm where false", "--format", form)
        assert (done.code, done.err) == (0, "")
        assert done.out_bytes

    def test_a_query_of_a_file(self, trialhouse: Any, tmp_path: Path) -> None:
        file = tmp_path / "query.sql"
        file.write_text(f"-- Who took part?\n{QUERY};\n", encoding="utf-8")
        for option in ("-f", "--file"):
            done = trialhouse("sql", STUDY, option, file, "--format", "csv")
            assert (done.code, done.out.splitlines()[1]) == (0, "NLSIM-001,53,RUX")

    def test_an_earlier_version(self, trialhouse: Any) -> None:
        query = "select count(*) as n from meta.run"
        counts = [trialhouse("sql", STUDY, query, "--at", at, "--format", "csv").out for at in (1, 2, 3)]
        assert counts == ["n\n1\n", "n\n2\n", "n\n3\n"]

    @pytest.mark.parametrize(
        "write",
        [
            "delete from sdtm.dm",
            "create table sdtm.mine as select 1",
            "update meta.run set author = 'x'",
            "drop table results.primary_endpoint",
            "insert into meta.run (run_id) values ('x')",
            "delete from sdtm.dm; select 1",
        ],
    )
    def test_a_write_is_refused(self, trialhouse: Any, write: str) -> None:
        done = trialhouse("sql", STUDY, write)
        assert (done.code, done.out) == (9, "")
        assert "exactly one SELECT is allowed: found" in done.err
        assert (
            trialhouse("sql", STUDY, "select count(*) as n from sdtm.dm", "--format", "csv").out == "n\n14\n"
        )

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["select nothing from sdtm.dm"], 9, 'column "nothing" not found'),
            (["select * from sdtm.nothing"], 9, "nothing does not exist"),
            (["selec 1"], 9, "syntax error"),
            ([""], 9, "exactly one SELECT is allowed: found no statement"),
            ([], 9, "sql: give a query, or a file with -f, and not both"),
            (["select 1", "-f", "query.sql"], 9, "sql: give a query, or a file with -f, and not both"),
            (["-f", "no_such_file.sql"], 9, "no_such_file.sql: the query cannot be read"),
            (["select 1", "--at", "99"], 8, "version 99: the lake of nl_ruxolitinib has no such version"),
            (["select 1", "--at", "-1"], 8, "version -1: "),
            (["select 1", "--at", "first"], 2, "--at"),
            (["select 1", "--format", "xml"], 2, "--format"),
        ],
    )
    def test_a_question_that_has_no_answer(
        self, trialhouse: Any, arguments: list[str], code: int, message: str
    ) -> None:
        done = trialhouse("sql", STUDY, *arguments)
        assert (done.code, done.out) == (code, "")
        assert message.lower() in done.err.lower()


@pytest.mark.usefixtures("read_only")
class TestLists:
    def test_versions(self, trialhouse: Any) -> None:
        done = trialhouse("versions", STUDY, "--format", "json")
        listed = json.loads(done.out)
        assert [(row["version"], row["stage"], row["status"]) for row in listed] == [
            (1, "ingest", "published"),
            (2, "build", "published"),
            (3, "analyze", "published"),
        ]
        assert trialhouse("versions", STUDY).out.splitlines()[0].split()[:3] == [
            "version",
            "published_at",
            "author",
        ]

    def test_checks(self, trialhouse: Any) -> None:
        failed = json.loads(trialhouse("checks", STUDY, "--format", "json").out)
        assert len(failed) == 12
        assert failed[0]["severity"] == "set_aside"
        assert failed[0]["first_at"] == "clinical/lesion_scores.csv row 10"
        met = json.loads(trialhouse("checks", STUDY, "--all", "--format", "json").out)
        assert len(met) > 200
        assert sum(not row["is_met"] for row in met) == 12
        done = trialhouse("checks", STUDY)
        assert done.err == "12 expectations; --rows lists each failing row\n"

    def test_failing_rows(self, trialhouse: Any) -> None:
        listed = json.loads(trialhouse("checks", STUDY, "--rows", "--format", "json").out)
        assert len(listed) == 31
        assert {"source_file", "source_row", "column_name", "value", "disposition"} <= set(listed[0])
        assert all(row["source_file"] and row["source_row"] for row in listed)

    def test_checks_before_anything_was_judged(self, trialhouse: Any) -> None:
        done = trialhouse("checks", STUDY, "--at", "1", "--format", "json")
        assert (done.code, json.loads(done.out)) == (0, [])

    def test_studies(self, trialhouse: Any) -> None:
        listed = {row["study"]: row for row in json.loads(trialhouse("studies", "--format", "json").out)}
        assert listed[STUDY]["version"] == 3
        assert "Simulated" in listed[STUDY]["title"]
        assert listed["cdiscpilot01"]["version"] is None

    def test_a_report_of_an_earlier_version(self, trialhouse: Any, tmp_path: Path) -> None:
        page = tmp_path / "pages" / "early.html"
        done = trialhouse("report", STUDY, "--at", "2", "--output", page)
        assert (done.code, done.out) == (0, f"{page}\n")
        assert "Simulated" in page.read_text(encoding="utf-8")
        assert trialhouse("report", STUDY, "--at", "99").code == 8


# Wrong use.


@pytest.mark.usefixtures("home")
class TestWrongUse:
    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["run"], 2, "study"),
            (["run", STUDY, "more"], 2, "more"),
            (["run", STUDY, "--dta", "x"], 2, "--dta"),
            (["rn", STUDY], 2, "rn"),
            (["up", "--port", "many"], 2, "port"),
            (["run", "no_such_study"], 3, "study 'no_such_study': no such study; known: cdiscpilot01, "),
            (["versions", "no_such_study"], 3, "no such study"),
            (["new", "Not-A-Name"], 3, "cannot be the id of a study"),
            (["new", STUDY], 3, "exists already"),
            (["simulate", "cdiscpilot01"], 3, "it is not a simulated study"),
            (["simulate", STUDY, "--genes", "5"], 3, "genes: 5: 500 to 40000 is allowed"),
            (["simulate", STUDY, "--patients", "1"], 3, "patients: 1: "),
            (["simulate", STUDY, "--seed", "-1"], 3, "seed: -1"),
            (["run", STUDY], 4, "`trialhouse simulate nl_ruxolitinib` writes them there"),
            (["versions", STUDY], 8, "`trialhouse run nl_ruxolitinib` makes its first version"),
            (["checks", STUDY], 8, "makes its first version"),
            (["sql", STUDY, "select 1"], 8, "makes its first version"),
            (["report", STUDY], 8, "makes its first version"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_one_message_and_the_exit_code(
        self, trialhouse: Any, arguments: list[str], code: int, message: str
    ) -> None:
        done = trialhouse(*arguments)
        assert (done.code, done.out) == (code, "")
        assert message in done.err

    def test_a_folder_without_study_toml(self, trialhouse: Any, tmp_path: Path) -> None:
        done = trialhouse("run", tmp_path)
        assert (done.code, "the folder has no study.toml" in done.err) == (3, True)

    def test_a_study_that_says_wrong_things(self, trialhouse: Any, study: Path, edit: Any) -> None:
        edit(study / "study.toml", '^kind = "single-arm"', 'kind = "crossover"\ncolour = "blue"')
        done = trialhouse("run", study)
        assert done.code == 3
        assert f"{study / 'study.toml'}: 2 wrong" in done.err
        assert "design.kind: 'crossover'" in done.err
        assert "design.colour: no such key; allowed: kind, visit_assignment, arms, visits, scores" in done.err

    @pytest.mark.parametrize(
        ("sql", "message"),
        [
            ("select 1", "the header comment must say the grain"),
            ("-- X.\n-- grain: one row\nselec 1", "sql/sdtm/mh.sql"),
            ("-- X.\n-- grain: one row\nselect * from raw.nothing", "raw.nothing"),
        ],
    )
    def test_a_model_that_cannot_be_planned(
        self, trialhouse: Any, study: Path, simulated: Path, prefect: str, sql: str, message: str
    ) -> None:
        assert prefect
        (study / "sql" / "sdtm" / "mh.sql").write_text(sql, encoding="utf-8")
        done = trialhouse("run", study, "--data", simulated)
        assert done.code == 5
        assert message in done.err

    def test_a_model_that_cannot_run(
        self, trialhouse: Any, finished: Path, study: Path, simulated: Path, prefect: str, edit: Any
    ) -> None:
        assert finished
        assert prefect
        edit(
            study / "sql" / "sdtm" / "mh.sql",
            r"^    medical_history\.TERM as mhterm,",
            "    no_column as mhterm,",
        )
        done = trialhouse("run", study, "--data", simulated)
        assert done.code == 5
        assert "sql/sdtm/mh.sql of study nl_ruxolitinib: Binder Error" in done.err
        assert "no_column" in done.err

    def test_a_wrong_setting(self, trialhouse: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRIALHOUSE_THREADS", "none")
        done = trialhouse("versions", STUDY)
        assert (done.code, "TRIALHOUSE_THREADS: 'none'" in done.err) == (8, True)

    def test_a_port_that_is_taken(self, trialhouse: Any) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            done = trialhouse("up", "--port", port)
        assert (done.code, f"port {port}: something listens there already" in done.err) == (8, True)


# Making studies and deliveries.


@pytest.mark.usefixtures("home")
class TestMaking:
    def test_simulate_writes_where_the_study_looks(self, trialhouse: Any, home: Path) -> None:
        done = trialhouse("simulate", STUDY, "--genes", "500")
        folder = home / "simulated" / STUDY
        assert (done.code, done.out) == (0, f"{folder}\n")
        assert done.err.startswith("Simulated data: 12 patients, 48 libraries, 500 genes.")
        assert done.err.count("\n  subject ") == 7
        assert (folder / "clinical" / "lesion_scores.csv").is_file()

    def test_new_makes_a_folder_once(self, trialhouse: Any, tmp_path: Path) -> None:
        folder = tmp_path / "my_trial"
        done = trialhouse("new", folder)
        assert (done.code, done.out) == (0, f"{folder}\n")
        assert f"next: edit {folder / 'study.toml'}" in done.err
        again = trialhouse("new", folder)
        assert (again.code, "exists already" in again.err) == (3, True)


def test_stages_can_be_called_one_by_one(trialhouse: Any, home: Path, tmp_path: Path, prefect: str) -> None:
    assert home
    assert prefect
    folder = tmp_path / "my_trial"
    trialhouse("new", folder)
    for version, stage in enumerate(("ingest", "build", "analyze"), start=1):
        done = trialhouse(stage, folder)
        assert (done.code, done.out) == (0, "")
        assert done.err.splitlines()[-1].startswith(f"{stage}: version {version}: ")
        assert done.progress
    for stage in ("ingest", "build", "analyze"):
        assert trialhouse(stage, folder).err.splitlines()[-1] == f"{stage}: unchanged at version 3"
    done = trialhouse("report", folder)
    assert done.out == f"{home / 'my_trial' / 'reports' / 'my_trial-v3.html'}\n"


# As a process, for what only a process shows.


def process(python: str, *arguments: str, pipe_to: str = "") -> subprocess.CompletedProcess[str]:
    line = [python, "-m", "flows.cli", *arguments]
    if pipe_to:
        line = ["bash", "-c", f'set -o pipefail; "$0" "$@" | {pipe_to}', *line]
    return subprocess.run(line, capture_output=True, text=True, check=False, env=dict(os.environ))


def test_results_go_to_stdout_and_messages_to_stderr(read_only: Path, python: str) -> None:
    assert read_only
    done = process(python, "sql", STUDY, QUERY, "--format", "csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "usubjid,age,armcd"
    done = process(python, "sql", STUDY, "select nothing")
    assert (done.returncode, done.stdout) == (9, "")
    assert done.stderr.startswith("trialhouse: Binder Error")
    assert "Traceback" not in done.stderr


def test_a_reader_that_stops_early_is_no_error(read_only: Path, python: str) -> None:
    assert read_only
    done = process(
        python, "sql", STUDY, "select * from omics.expression", "--format", "csv", pipe_to="head -n 1"
    )
    assert done.stdout.startswith("feature_id,sample_id,count")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
