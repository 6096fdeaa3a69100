"""The whole job on the simulated study: versions, gates, lineage, and what stops it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tasks import modelling
from tasks.stage import STAGE_SCHEMAS, Stage
from warehouse import publish as publishing
from warehouse.errors import AnalysisError, ExpectationFailed, LakeError, SourceError, StudyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STUDY = "nl_ruxolitinib"


def changed_tables(result: Any) -> set[str]:
    return {table for stage in result.stages if stage.is_new for table in stage.tables}


# The first run.


@pytest.mark.usefixtures("read_only")
class TestFirstRun:
    def test_each_stage_publishes_one_version(self, rows: Any) -> None:
        versions = rows("select snapshot_id, commit_message, author from lake.snapshots() order by all")
        assert [row["snapshot_id"] for row in versions] == [0, 1, 2, 3]
        assert [row["commit_message"] for row in versions[1:]] == [
            "landed 61 files",
            "built 30 tables",
            "ran 39 analyses, built 14 report tables",
        ]
        stages = rows("select stage, status, flow_run, input_version from meta.run order by started_at")
        assert stages == [
            {"stage": stage, "status": "published", "flow_run": f"{stage} {STUDY}", "input_version": version}
            for version, stage in enumerate(["ingest", "build", "analyze"])
        ]
        assert rows("select count(distinct run_id) as runs from meta.run") == [{"runs": 1}]

    @pytest.mark.parametrize(
        ("table", "value", "file", "row"),
        [
            ("sdtm.sv", "false", "clinical/visits.csv", 15),  # visit out of its window
            ("sdtm.qs", "33", "clinical/lesion_scores.csv", 25),  # mistyped score
            ("omics.sample_qc", "true", "omics/sample_sheet.csv", 9),  # failed library
            ("omics.sample_qc", "false", "omics/sample_sheet.csv", 22),  # sex mismatch
            ("staging.eligibility", "12.5", "clinical/eligibility.csv", 5),  # body surface area
        ],
    )
    def test_a_planted_flaw_is_noted_with_its_row(
        self, rows: Any, simulated: Path, table: str, value: str, file: str, row: int
    ) -> None:
        failures = rows(
            f"select severity, disposition, column_name from meta.check_failure where table_name = '{table}'"
            f" and value = '{value}' and source_file = '{file}' and source_row = {row}"
        )
        assert [(failure["severity"], failure["disposition"]) for failure in failures] == [
            ("warning", "kept")
        ]
        assert (simulated / file).is_file()

    def test_the_planted_flaws_are_where_the_checks_say(self, simulated: Path) -> None:
        def line(file: str, row: int) -> str:
            return (simulated / file).read_text(encoding="utf-8-sig").splitlines()[row - 1]

        assert line("clinical/visits.csv", 15).startswith("003,Week 8,")
        assert line("clinical/lesion_scores.csv", 25).startswith("005;WEEK 4;")
        assert line("clinical/lesion_scores.csv", 9) == line("clinical/lesion_scores.csv", 10)
        assert line("clinical/eligibility.csv", 5).startswith("004,")
        assert line("omics/sample_sheet.csv", 9).split(",")[1:4] == ["002", "W12", "non-lesional"]
        assert line("omics/sample_sheet.csv", 22).split(",")[1] == "006"
        assert line("clinical/adverse_events.csv", 2).startswith("001,1,")

    def test_a_duplicated_row_is_set_aside_and_kept_whole(self, rows: Any) -> None:
        gone = rows(
            "select table_name, source_file, source_row, row->>'qstestcd' as item, row->>'visit' as visit"
            " from meta.quarantine order by item"
        )
        items = ["NLERYTH", "NLIGA", "NLINDUR", "NLPIGM", "NLSCALE", "NLSCORE", "NLSIZE"]
        assert [row["item"] for row in gone] == items
        assert {(row["table_name"], row["source_file"], row["source_row"], row["visit"]) for row in gone} == {
            ("sdtm.qs", "clinical/lesion_scores.csv", 10, "WEEK 4")
        }
        assert rows("select count(*) as n from meta.check_failure where disposition = 'set aside'") == [
            {"n": 7}
        ]
        assert rows(
            "select count(*) as n from sdtm.qs where _source_file like '%lesion%' and _source_row = 10"
        ) == [{"n": 0}]
        assert rows("select count(*) as n from raw.lesion_scores where _source_row = 10") == [{"n": 1}]

    def test_nothing_else_fails(self, rows: Any) -> None:
        failing = rows(
            "select distinct table_name, source_file, source_row from meta.check_failure"
            " where source_file is not null order by all"
        )
        places = {(row["source_file"], row["source_row"]) for row in failing}
        assert places == {
            ("clinical/visits.csv", 15),
            ("clinical/lesion_scores.csv", 10),
            ("clinical/lesion_scores.csv", 16),  # the scores of the late visit
            ("clinical/patient_reported.csv", 15),  # and its questionnaires
            ("clinical/lesion_scores.csv", 25),
            ("clinical/eligibility.csv", 5),
            ("omics/sample_sheet.csv", 9),
            *(("omics/sample_sheet.csv", row) for row in (17, 21)),  # libraries exchanged
            *(("omics/sample_sheet.csv", row) for row in (22, 23, 24, 25)),
        }
        assert rows("select count(*) as n from meta.check_failure where source_file is null") == [{"n": 0}]

    def test_a_confirmed_correction_is_applied_and_a_proposed_one_listed(self, rows: Any) -> None:
        listed = rows(
            "select correction_id, old_value, new_value, status, source_file, source_row"
            " from meta.correction order by correction_id"
        )
        assert listed == [
            {
                "correction_id": "AE-001",
                "old_value": "15-MAR-2032",
                "new_value": "15-MAR-2023",
                "status": "confirmed",
                "source_file": "clinical/adverse_events.csv",
                "source_row": 2,
            },
            {
                "correction_id": "BE-001",
                "old_value": "NLSIM004_N_W12",
                "new_value": None,
                "status": "proposed",
                "source_file": "omics/sample_sheet.csv",
                "source_row": 17,
            },
            {
                "correction_id": "BE-002",
                "old_value": "NLSIM005_N_W12",
                "new_value": None,
                "status": "proposed",
                "source_file": "omics/sample_sheet.csv",
                "source_row": 21,
            },
            {
                "correction_id": "QS-001",
                "old_value": "33",
                "new_value": None,
                "status": "proposed",
                "source_file": "clinical/lesion_scores.csv",
                "source_row": 25,
            },
        ]
        assert rows("select STARTDAT from raw.adverse_events where _source_row = 2") == [
            {"STARTDAT": "15-MAR-2032"}
        ]
        assert rows("select aestdtc from sdtm.ae where _source_row = 2") == [{"aestdtc": "2023-03-15"}]

    def test_rows_in_are_rows_kept_and_rows_set_aside(self, rows: Any) -> None:
        judged = rows("select distinct table_name, rows_in, rows_kept, rows_set_aside from meta.check_result")
        assert all(row["rows_in"] == row["rows_kept"] + row["rows_set_aside"] for row in judged)
        kept = {row["table_name"]: row["rows_kept"] for row in judged}
        assert len(kept) == len(judged)
        made = {row["target"]: row["rows"] for row in rows("select distinct target, rows from meta.lineage")}
        assert kept == {table: made[table] for table in kept}
        counts = " union all ".join(f"select '{table}' as name, count(*) as n from {table}" for table in made)
        assert {row["name"]: row["n"] for row in rows(counts)} == made

    def test_every_failing_row_is_counted(self, rows: Any) -> None:
        unequal = rows(
            """
            select
                result.table_name, result.expectation, result.column_name, result.notes,
                result.rows_failing, count(failure.run_id) as listed
            from meta.check_result as result
            left join meta.check_failure as failure
                on failure.run_id = result.run_id and failure.table_name = result.table_name
                and failure.expectation = result.expectation and failure.notes = result.notes
                and failure.column_name is not distinct from result.column_name
            group by all having result.rows_failing <> listed
            """
        )
        assert unequal == []

    def test_every_delivered_row_has_landed(self, rows: Any, simulated: Path) -> None:
        files = rows("select source, source_file, rows from meta.current_source_file")
        assert len(files) == 61
        for row in files:
            if row["source_file"].startswith("house:"):
                continue
            text = (simulated / row["source_file"]).read_text(encoding="utf-8-sig")
            header = 0 if row["source"] == "star" else 1
            assert row["rows"] == len(text.splitlines()) - header, row["source_file"]

    def test_the_primary_endpoint_is_the_published_one(self, rows: Any) -> None:
        (mean, sd) = rows(
            "select statistic, estimate from results.primary_endpoint"
            " where variable = 'PCHG' and statistic in ('mean', 'sd') order by statistic"
        )
        # Published: mean fall 58.2 % (SD 28.7 %), n = 12, P = .003; positive = higher after.
        assert round(mean["estimate"], 1) == -58.2
        assert round(sd["estimate"], 1) == 28.7
        (primary,) = rows("from results.primary_endpoint where is_primary")
        assert round(primary["p_value"], 3) == 0.003
        assert (primary["statistic"], primary["variable"], primary["n"]) == (
            "signed_rank_asymptotic",
            "PCHG",
            12,
        )
        assert (primary["paramcd"], primary["avisit"]) == ("NLSCORE", "WEEK 12")

    def test_a_result_leads_back_to_its_files(self, rows: Any) -> None:
        found = rows(
            """
            with recursive back as (
                select 'results.primary_endpoint' as target
                union
                select lineage.input from meta.lineage join back using (target) where input is not null
            )
            from back
            """
        )
        names = {row["target"] for row in found}
        assert {"adam.adqs", "sdtm.qs", "raw.lesion_scores", "clinical/lesion_scores.csv"} <= names
        # Whether a participant has samples is a population flag; what was measured in them is not.
        assert "omics.expression" not in names

    def test_simulated_is_said_on_every_table(self, rows: Any) -> None:
        unsaid = rows(
            "select schema_name, table_name from duckdb_tables() where database_name = 'lake'"
            " and schema_name <> 'meta' and not coalesce(comment, '') like 'SIMULATED DATA.%'"
        )
        assert unsaid == []

    def test_the_report_of_the_version_is_written(self, read_only: Path) -> None:
        page = read_only / STUDY / "reports" / f"{STUDY}-v3.html"
        text = page.read_text(encoding="utf-8")
        assert "Simulated" in text
        assert "58.2" in text


# What is unchanged is not done again.


@pytest.mark.usefixtures("finished")
class TestSecondRun:
    def test_nothing_changed_makes_no_version(self, run: Any, delivery: Path) -> None:
        done = run(STUDY, delivery)
        assert not done.is_new
        assert done.version == 3
        assert {stage.message for stage in done.stages} == {"unchanged"}

    def test_the_command_says_so_without_any_step(self, trialhouse: Any, delivery: Path) -> None:
        done = trialhouse("run", STUDY, "--data", delivery)
        assert done.code == 0
        assert "nothing changed since version 3: no new version" in done.err
        assert done.progress == []
        assert done.out.strip().endswith(f"{STUDY}-v3.html")

    def test_a_changed_parameter_reruns_what_depends_on_it(
        self, run: Any, rows: Any, study: Path, simulated: Path, edit: Any
    ) -> None:
        edit(study / "study.toml", r'^better = "lower"\n# The pub', 'better = "lower"\nseed = 7\n# The pub')
        done = run(study, simulated)
        assert [stage.is_new for stage in done.stages] == [False, False, True]
        reports = {"primary_estimates", "primary_summary", "primary_tests", "waterfall"}
        results = {"primary_endpoint", "clinical_statistics", "participant_counts"}
        reports |= {"confirmatory_tests"}
        made = {f"results.{name}" for name in results} | {f"reports.{name}" for name in reports}
        assert changed_tables(done) == made
        (last,) = rows(
            "select fingerprint, parameters->>'seed' as seed, input_version from meta.lineage"
            " where target = 'results.primary_endpoint' and input = 'adam.adqs'"
            " qualify row_number() over (order by run_id desc) = 1"
        )
        assert last["seed"] == "7"
        assert rows("select distinct seed from results.primary_endpoint where seed is not null") == [
            {"seed": 7}
        ]
        before = rows("select distinct seed from results.primary_endpoint where seed is not null", 3)
        assert before != [{"seed": 7}]

    def test_a_result_that_comes_out_equal_stops_the_rerun(
        self, run: Any, study: Path, simulated: Path, edit: Any
    ) -> None:
        # Another limit of set size, and the same sets within it: the result is the same, its readers stand.
        edit(
            study / "study.toml",
            r"^\[analyses\.enriched_gene_sets\]",
            "[analyses.enriched_gene_sets]\nmax_size = 499",
        )
        assert changed_tables(run(study, simulated)) == {"results.enriched_gene_sets"}

    def test_a_changed_comment_remakes_that_table_alone(
        self, run: Any, study: Path, simulated: Path, edit: Any
    ) -> None:
        edit(
            study / "sql" / "sdtm" / "ex.sql", r"^-- column exdose: .*", "-- column exdose: Strength applied"
        )
        assert changed_tables(run(study, simulated)) == {"sdtm.ex"}

    def test_a_changed_suite_judges_that_table_alone(
        self, run: Any, rows: Any, study: Path, simulated: Path, edit: Any
    ) -> None:
        edit(study / "expectations" / "sdtm" / "ex.json", r"\[1\.5\]", "[2.5]")
        done = run(study, simulated)
        assert changed_tables(done) == {"sdtm.ex"}
        failing = rows("select distinct value from meta.check_failure where table_name = 'sdtm.ex'")
        assert failing == [{"value": "1.5"}]

    def test_changed_sql_remakes_what_reads_another_content(
        self, run: Any, rows: Any, study: Path, simulated: Path, edit: Any
    ) -> None:
        edit(
            study / "sql" / "omics" / "feature.sql",
            r"^    symbol,",
            "    symbol || '' as symbol,\n    'x' as note,",
        )
        changed = changed_tables(run(study, simulated))
        assert "omics.feature" in changed
        assert not {table for table in changed if table.startswith(("sdtm.", "results.primary", "raw."))}
        assert rows("select distinct note from omics.feature") == [{"note": "x"}]

    def test_a_changed_file_is_a_new_load_beside_the_old(
        self, run: Any, rows: Any, answers: Any, delivery: Path, edit: Any
    ) -> None:
        before = answers()
        # The last visit of the first patient scores one point more.
        edit(delivery / "clinical" / "lesion_scores.csv", r"^(001;WEEK 12;[^;]*);0;", r"\1;1;")
        done = run(STUDY, delivery)
        assert [stage.is_new for stage in done.stages] == [True, True, True]
        assert done.stages[0].tables == ("raw.lesion_scores",)
        assert "sdtm.qs" in done.stages[1].tables
        assert not {table for table in done.stages[1].tables if table.startswith("omics.")}
        loads = rows("select count(*) as n, count(distinct _sha256) as files from raw.lesion_scores")
        assert loads == [{"n": 122, "files": 2}]
        assert rows("select count(*) as n from sdtm.qs") == [{"n": 540}]
        assert answers() != before
        assert answers(3) == before
        changed = rows(
            "select estimate from results.primary_endpoint where variable = 'AVAL' and statistic = 'mean'"
        )
        was = rows(
            "select estimate from results.primary_endpoint where variable = 'AVAL' and statistic = 'mean'", 3
        )
        assert changed[0]["estimate"] == pytest.approx(was[0]["estimate"] + 1 / 12)

    def test_a_withdrawn_file_is_no_longer_current(self, run: Any, rows: Any, delivery: Path) -> None:
        next((delivery / "omics" / "star").glob("*001_N_W12*")).unlink()
        done = run(STUDY, delivery)
        assert done.stages[0].message == "landed 0 files, 1 withdrawn"
        (gone,) = rows("from meta.source_file where status = 'withdrawn'")
        assert gone["source_file"] == "omics/star/NLSIM001_N_W12_ReadsPerGene.out.tab"
        assert rows("select count(distinct sample_id) as n from raw.star") == [{"n": 48}]
        assert rows("select count(distinct sample_id) as n from omics.expression") == [{"n": 47}]
        noted = rows(
            "select source_file, source_row from meta.check_failure"
            " where table_name = 'omics.sample' and column_name = 'reverse_pct'"
        )
        assert noted == [{"source_file": "omics/sample_sheet.csv", "source_row": 5}]

    def test_a_correction_that_matches_nothing_is_an_error(
        self, run: Any, answers: Any, delivery: Path, edit: Any
    ) -> None:
        before = answers()
        edit(delivery / "clinical" / "adverse_events.csv", "15-MAR-2032", "15-MAR-2023")
        with pytest.raises(
            StudyError, match=r"AE-001: matches 0 rows of adverse_events.*withdraw the correction"
        ):
            run(STUDY, delivery)
        assert answers() == before

    def test_an_analysis_switched_off_disappears(
        self, run: Any, rows: Any, study: Path, simulated: Path, edit: Any
    ) -> None:
        for name in ("enriched_gene_sets", "gene_set_clusters"):
            edit(study / "study.toml", rf"^\[analyses\.{name}\]\n[^\[]*", "")
        done = run(study, simulated)
        gone = {"results.enriched_gene_sets", "results.gene_set_clusters", "reports.top_gene_sets"}
        assert changed_tables(done) == gone
        left = rows(
            "select schema_name || '.' || table_name as name from duckdb_tables()"
            " where database_name = 'lake'"
        )
        assert not gone & {row["name"] for row in left}
        assert rows("select count(*) > 0 as answers from results.enriched_gene_sets", 3) == [
            {"answers": True}
        ]


# What cannot run is refused before any work.


class TestRefused:
    def test_an_analysis_without_its_tables(self, run: Any, home: Path, study: Path, simulated: Path) -> None:
        shutil.rmtree(study / "sql" / "omics")
        shutil.rmtree(study / "expectations" / "omics")
        with pytest.raises(AnalysisError, match=r"is switched on, but the study makes no omics\."):
            run(study, simulated)
        assert not (home / STUDY).exists()

    @pytest.mark.parametrize(
        ("declared", "message"),
        [
            ("[analyses.no_such_question]", r"no such analysis; allowed: primary_endpoint, "),
            ("[analyses.enriched_gene_sets]\nmin_sise = 3", r"min_sise: .* \(allowed: min_size, "),
            ("[analyses.enriched_gene_sets]\nmax_size = 0", r"max_size: .* greater than or equal to 1"),
        ],
    )
    def test_an_analysis_wrongly_declared(
        self, run: Any, home: Path, study: Path, simulated: Path, edit: Any, declared: str, message: str
    ) -> None:
        edit(study / "study.toml", r"^\[analyses\.enriched_gene_sets\]", declared)
        with pytest.raises(StudyError, match=message):
            run(study, simulated)
        assert not (home / STUDY).exists()

    def test_stages_out_of_order(self, trialhouse: Any, home: Path, prefect: str) -> None:
        assert home
        assert prefect
        done = trialhouse("build", STUDY)
        assert (done.code, "run `trialhouse ingest" in done.err) == (8, True)
        done = trialhouse("analyze", STUDY)
        assert (done.code, "run `trialhouse build" in done.err) == (8, True)


# Several studies.


class TestStudies:
    def test_two_studies_have_two_lakes(
        self, rows: Any, finished: Path, trialhouse: Any, tmp_path: Path, answers: Any, prefect: str
    ) -> None:
        assert prefect
        before = answers()
        folder = tmp_path / "small_example"
        assert trialhouse("new", folder).code == 0
        done = trialhouse("run", folder)
        assert done.code == 0, done.err
        assert done.out.strip() == str(finished / "small_example" / "reports" / "small_example-v3.html")
        assert rows("select count(*) as n from sdtm.dm", study="small_example") == [{"n": 8}]
        assert answers() == before
        assert len(rows("from lake.snapshots()")) == 4

    def test_a_study_by_path_is_the_study_it_names(
        self, run: Any, finished: Path, study: Path, simulated: Path
    ) -> None:
        assert finished
        assert not run(study, simulated).is_new


# What stops a run leaves the last version in force.


def failing_delivery(delivery: Path, edit: Any) -> None:
    edit(delivery / "omics" / "sample_sheet.csv", "^(NLSIM002_L_BL),002,", r"\1,999,")


@contextlib.contextmanager
def locking(python: str, catalog: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold SQLite's lock on a catalog, as another program may, until the process is spoken to."""
    script = (
        "import sqlite3, sys; catalog = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "catalog.execute('begin immediate'); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [python, "-c", script, str(catalog)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        if process.poll() is None:
            process.communicate()


@pytest.mark.usefixtures("finished")
class TestStopped:
    def test_a_critical_expectation_publishes_its_finding_alone(
        self, trialhouse: Any, rows: Any, answers: Any, delivery: Path, edit: Any
    ) -> None:
        before = answers()
        made = rows("select target, fingerprint from meta.lineage order by all")
        failing_delivery(delivery, edit)
        done = trialhouse("run", STUDY, "--data", delivery)
        assert done.code == 6
        assert "build stopped, nothing published; version 4 still answers" in done.err
        assert "sdtm.be" in done.err
        assert "omics/sample_sheet.csv row 6, usubjid = NLSIM-999" in done.err
        assert answers() == before
        stopped = rows("select stage, status, message from meta.run order by started_at desc limit 1")
        assert stopped[0]["status"] == "stopped"
        (failure,) = rows("from meta.check_failure where severity = 'critical' and table_name = 'sdtm.be'")
        assert (failure["disposition"], failure["value"]) == ("stopped", "NLSIM-999")
        assert (failure["source_file"], failure["source_row"]) == ("omics/sample_sheet.csv", 6)
        assert rows("select target, fingerprint from meta.lineage order by all") == made
        # Version 4 is the landing, version 5 the finding: only ledgers grew in it.
        tables = rows(
            "select schema_name as name, table_name from duckdb_tables() where database_name = 'lake'"
        )
        counts = " union all ".join(
            f"select '{table}' as name, count(*) as n from {table}"
            for table in (f"{row['name']}.{row['table_name']}" for row in tables if row["name"] != "meta")
        )
        assert rows(f"from ({counts}) order by name", 4) == rows(f"from ({counts}) order by name", 5)

    def test_the_delivery_mended_the_run_goes_on(
        self, run: Any, rows: Any, answers: Any, delivery: Path, simulated: Path, edit: Any
    ) -> None:
        before = answers()
        failing_delivery(delivery, edit)
        with pytest.raises(ExpectationFailed):
            run(STUDY, delivery)
        # The very file of version 1 comes again: what was judged meanwhile is judged again.
        done = run(STUDY, simulated)
        assert done.stages[0].tables == ("raw.sample_sheet",)
        assert answers() == before
        critical = rows("from meta.current_check_result where severity = 'critical' and not is_met")
        assert critical == []
        assert not run(STUDY, simulated).is_new

    def test_an_analysis_alone_runs_after_a_stopped_build(
        self, run: Any, trialhouse: Any, answers: Any, delivery: Path, edit: Any
    ) -> None:
        before = answers()
        failing_delivery(delivery, edit)
        with pytest.raises(ExpectationFailed):
            run(STUDY, delivery)
        done = trialhouse("analyze", STUDY)
        assert done.code == 0
        assert "analyze: unchanged" in done.err
        assert answers() == before

    @pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
    def test_a_run_that_breaks_off_leaves_the_lake(
        self,
        run: Any,
        rows: Any,
        answers: Any,
        delivery: Path,
        edit: Any,
        monkeypatch: pytest.MonkeyPatch,
        error: type[BaseException],
    ) -> None:
        before = answers()
        edit(delivery / "clinical" / "exposure.csv", r",22\.6$", ",22.7")
        build_model = modelling.build_model

        def breaking(stage: Stage, model: Any) -> bool:
            if model.table == "sdtm.mh":
                raise error
            return build_model(stage, model)

        with monkeypatch.context() as patch:
            patch.setattr(modelling, "build_model", breaking)
            with pytest.raises(error):
                run(STUDY, delivery)
        # The landing was a stage of its own and stands; of the build there is nothing.
        assert [row["snapshot_id"] for row in rows("from lake.snapshots() order by all")] == [0, 1, 2, 3, 4]
        assert answers() == before
        assert rows(
            "select count(*) as n from meta.check_result where run_id not in (select run_id from meta.run)"
        ) == [{"n": 0}]
        done = run(STUDY, delivery)
        assert [stage.is_new for stage in done.stages] == [False, True, True]
        assert {"sdtm.ex"} <= set(done.stages[1].tables)

    def test_an_interrupted_command_says_so(
        self, trialhouse: Any, answers: Any, delivery: Path, edit: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = answers()
        edit(delivery / "clinical" / "exposure.csv", r",22\.6$", ",22.7")

        def interrupted(_stage: Stage, _message: str) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Stage, "publish", interrupted)
        done = trialhouse("run", STUDY, "--data", delivery)
        assert done.code == 130
        assert done.err.splitlines()[-1].startswith("trialhouse: interrupted")
        assert answers() == before

    def test_a_commit_that_stays_locked_publishes_nothing(
        self,
        run: Any,
        rows: Any,
        finished: Path,
        delivery: Path,
        edit: Any,
        python: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(publishing, "ATTEMPTS", 2)
        edit(delivery / "clinical" / "exposure.csv", r",22\.6$", ",22.7")
        with (
            locking(python, finished / STUDY / "catalog.sqlite"),
            pytest.raises(LakeError, match="nothing was published: another process uses the catalog"),
        ):
            run(STUDY, delivery)
        assert len(rows("from lake.snapshots()")) == 4
        assert run(STUDY, delivery).stages[0].version == 4

    def test_a_commit_done_again_counts_once(
        self,
        run: Any,
        rows: Any,
        finished: Path,
        delivery: Path,
        edit: Any,
        python: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        edit(delivery / "clinical" / "exposure.csv", r",22\.6$", ",22.7")
        waited: list[float] = []
        with locking(python, finished / STUDY / "catalog.sqlite") as other:

            def sleep(seconds: float) -> None:
                # The other program lets go while the first attempt waits for the second.
                waited.append(seconds)
                other.communicate()

            monkeypatch.setattr(publishing, "time", SimpleNamespace(sleep=sleep))
            done = run(STUDY, delivery)
        assert len(waited) == 1
        assert done.stages[0].version == 4
        assert rows("select count(*) as n from raw.exposure") == [{"n": 84}]
        assert rows("select count(*) as n from meta.source_file where source = 'exposure'") == [{"n": 2}]
        assert rows("select count(*) as n from meta.run where stage = 'ingest'") == [{"n": 2}]

    def test_a_full_disk_publishes_nothing(
        self, run: Any, answers: Any, rows: Any, delivery: Path, edit: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = answers()
        edit(delivery / "clinical" / "exposure.csv", r",22\.6$", ",22.7")

        def full(_self: Stage, *_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            # Last in the transaction: every table is written already.
            patch.setattr(Stage, "_append_ledgers", full)
            with pytest.raises(OSError, match="No space left"):
                run(STUDY, delivery)
        assert len(rows("from lake.snapshots()")) == 4
        assert answers() == before
        assert rows("select count(*) as n from raw.exposure") == [{"n": 42}]

    def test_a_file_gone_between_finding_and_reading(
        self, run: Any, answers: Any, delivery: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tasks import landing

        before = answers()
        file = delivery / "clinical" / "exposure.csv"
        file.write_text(file.read_text(encoding="utf-8").replace(",22.6\n", ",22.7\n"), encoding="utf-8")
        find = landing.find_deliveries

        def find_then_lose(*arguments: Any) -> Any:
            found = find(*arguments)
            file.unlink(missing_ok=True)
            return found

        monkeypatch.setattr(landing, "find_deliveries", find_then_lose)
        with pytest.raises(SourceError, match="exposure"):
            run(STUDY, delivery)
        assert answers() == before

    def test_a_share_that_hiccups_once_is_read_again(
        self, run: Any, rows: Any, delivery: Path, edit: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tasks import landing

        edit(delivery / "clinical" / "exposure.csv", r",22\.6$", ",22.7")
        read, attempts = landing.read, []

        def hiccup(connection: Any, piece: Any, source: Any, **named: Any) -> Any:
            attempts.append(piece.source_file)
            if len(attempts) == 1:
                cause = OSError(errno.EIO, "Input/output error")
                raise SourceError(f"{piece.source_file}: cannot be read ({cause})") from cause
            return read(connection, piece, source, **named)

        monkeypatch.setattr(landing, "read", hiccup)
        assert run(STUDY, delivery).is_new
        assert attempts == ["clinical/exposure.csv"] * 2
        assert rows("select count(*) as n from meta.source_file where source = 'exposure'") == [{"n": 2}]


def command(python: str, api: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [python, "-m", "flows.cli", *map(str, arguments)],
        env={**os.environ, "PREFECT_API_URL": api},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class TestProcesses:
    def test_two_runs_at_once_end_with_one_result(
        self, rows: Any, finished: Path, delivery: Path, edit: Any, prefect: str, python: str
    ) -> None:
        assert finished
        edit(delivery / "clinical" / "exposure.csv", r",22\.6$", ",22.7")
        both = [command(python, prefect, "run", STUDY, "--data", delivery) for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            ended = list(pool.map(lambda process: process.communicate(timeout=300), both))
        assert [process.returncode for process in both] == [0, 0], ended
        assert len({out.strip() for out, _ in ended}) == 1
        # Each change is made once, whoever made it; a stage that comes second finds nothing to do.
        published = rows("select stage, count(*) as n from meta.run group by all order by all")
        assert published == [
            {"stage": stage, "n": n} for stage, n in (("analyze", 2), ("build", 2), ("ingest", 2))
        ]
        assert rows("select count(*) as n from raw.exposure") == [{"n": 84}]
        assert [row["snapshot_id"] for row in rows("from lake.snapshots() order by all")] == list(range(7))

    @pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
    def test_a_run_that_is_stopped_from_outside_leaves_the_lake(
        self,
        rows: Any,
        answers: Any,
        run: Any,
        finished: Path,
        delivery: Path,
        edit: Any,
        prefect: str,
        python: str,
        sent: signal.Signals,
    ) -> None:
        assert finished
        before = answers()
        edit(delivery / "clinical" / "exposure.csv", r",22\.6$", ",22.7")
        process = command(python, prefect, "run", STUDY, "--data", delivery)
        assert process.stderr is not None
        for line in process.stderr:
            if "sdtm.dm:" in line:
                process.send_signal(sent)
                break
        _, err = process.communicate(timeout=60)
        assert process.returncode == (130 if sent is signal.SIGINT else -sent), err
        assert "Traceback" not in err
        assert len(rows("from lake.snapshots()")) == 5
        assert answers() == before
        assert run(STUDY, delivery).version == 6


def test_the_stages_own_all_schemas() -> None:
    schemas = [schema for owned in STAGE_SCHEMAS.values() for schema in owned]
    assert sorted(schemas) == sorted(set(publishing.SCHEMAS) - {"meta"})
