"""A new study folder runs as it is, and nothing is overwritten."""

from __future__ import annotations

import pytest

from tasks import landing, modelling, scaffold
from tasks.analyzing import run_analysis
from tasks.modelling import build_model
from tasks.preparation import prepare
from tasks.scaffold import make_study
from tasks.stage import STAGE_SCHEMAS, new_run, open_stage
from warehouse.corrections import load_corrections
from warehouse.errors import StudyError
from warehouse.lake import open_lake
from warehouse.study import HOUSE, find_studies, load_study


def test_a_new_study_is_sound_and_switched_on(tmp_path):
    folder = make_study(str(tmp_path / "my_trial"))
    assert folder == tmp_path / "my_trial"
    prepared = prepare(str(folder))
    assert prepared.study.id == "my_trial"
    assert prepared.study.study.simulated
    assert "Simulated example" in prepared.study.study.title
    names = [one.analysis.name for one in prepared.analyses]
    assert names == ["primary_endpoint", "clinical_statistics", "participant_counts"]
    made = {model.table for model in prepared.plan.models}
    assert {"sdtm.dm", "sdtm.ds", "sdtm.ex", "sdtm.qs", "adam.adsl", "adam.adqs"} <= made
    assert {"reports.participant_flow", "reports.primary_tests", "reports.waterfall"} <= made
    assert prepared.root(None) == folder / "data"


def test_every_placeholder_is_filled(tmp_path):
    folder = make_study(str(tmp_path / "my_trial"))
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert ".gitignore" in files
    assert "README.md" in files
    for file in files:
        assert "{{" not in (folder / file).read_text(encoding="utf-8")


def test_patient_data_stay_out_of_version_control(tmp_path):
    folder = make_study(str(tmp_path / "my_trial"))
    assert "/data/" in (folder / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_a_second_study_of_that_name_is_refused_and_the_first_is_left_alone(tmp_path):
    folder = make_study(str(tmp_path / "my_trial"))
    (folder / "study.toml").write_text("mine", encoding="utf-8")
    with pytest.raises(StudyError) as error:
        make_study(str(tmp_path / "my_trial"))
    assert str(error.value) == f"{folder}: exists already: name a new or an empty folder"
    assert (folder / "study.toml").read_text(encoding="utf-8") == "mine"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "my_trial").mkdir()
    assert load_study(make_study(str(tmp_path / "my_trial"))).id == "my_trial"


@pytest.mark.parametrize("name", ["My Trial", "Lupus", "2nd_trial", "my-trial", "_trial", "über"])
def test_an_id_that_a_study_cannot_have_is_refused_with_what_is_allowed(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError) as error:
        make_study(name)
    assert f"{name!r} cannot be the id of a study: allowed: lower-case letters, digits and _" in str(
        error.value
    )
    assert list(tmp_path.iterdir()) == []


def test_the_id_of_a_study_of_the_house_is_refused_elsewhere(tmp_path):
    taken = find_studies()[0].name
    with pytest.raises(StudyError, match="both would share a lake"):
        make_study(str(tmp_path / taken))
    with pytest.raises(StudyError, match="exists already"):
        make_study(taken)


def test_a_name_makes_a_folder_among_the_studies_of_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(scaffold, "HOUSE", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    assert make_study("my_trial") == tmp_path / "studies" / "my_trial"


def test_a_name_makes_a_folder_here_where_the_house_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(scaffold, "HOUSE", tmp_path / "site-packages")
    monkeypatch.chdir(tmp_path)
    assert make_study("my_trial") == tmp_path / "my_trial"
    assert load_study("my_trial").folder == tmp_path / "my_trial"


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="cannot be written"):
        make_study(str(tmp_path / "file" / "my_trial"))


def test_the_template_is_part_of_the_package():
    assert scaffold.TEMPLATE.is_relative_to(HOUSE / "tasks")


def test_the_correction_in_the_template_fits_the_example_data(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIALHOUSE_HOME", str(tmp_path / "home"))
    folder = make_study(str(tmp_path / "my_trial"))
    assert load_corrections(load_study(folder)) == ()
    _build(str(folder))
    assert _ask("select max(aval) as most from adam.adqs") == [210.0]
    file = folder / "corrections.toml"
    text = file.read_text(encoding="utf-8")
    before, mark, example = text.partition("# [[correction]]")
    file.write_text(before + (mark + example).replace("\n# ", "\n").removeprefix("# "), encoding="utf-8")
    _build(str(folder))
    assert _ask("select max(aval) as most from adam.adqs") == [33.0]
    assert _ask("select old_value || '>' || new_value as change from meta.correction") == ["210>21"]


def test_the_example_goes_from_files_to_a_result(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIALHOUSE_HOME", str(tmp_path / "home"))
    folder = str(make_study(str(tmp_path / "my_trial")))
    _build(folder)
    prepared = prepare(folder)
    with open_stage("analyze", prepared.study, new_run({})) as stage:
        stage.provide_study_tables()
        for model in prepared.plan.made(*STAGE_SCHEMAS["build"]):
            stage.require(model.table)
        for one in prepared.analyses:
            run_analysis(stage, one)
        stage.publish("results")
    # Five differences, the smallest positive: W+ = 1, and 4 of 32 sign patterns are as extreme.
    assert _ask("select p_value from results.primary_endpoint where is_primary") == [0.125]
    assert _ask("select n from results.primary_endpoint where is_primary") == [5]
    assert _ask("select count(*) from adam.adsl") == [7]
    # What the README says of the example.
    noted = "select value from meta.check_failure where table_name = 'sdtm.qs' and value is not null"
    assert _ask(noted) == ["210"]
    assert _ask("select source_file || ' ' || source_row from meta.check_failure where value = '210'") == [
        "scores.csv 9"
    ]


def _build(folder: str) -> None:
    prepared = prepare(folder)
    run = new_run({})
    with open_stage("ingest", prepared.study, run) as stage:
        landed = landing.landed_files(stage.connection, stage.input_version)
        for delivery in landing.find_deliveries(prepared.study, prepared.root(None), landed):
            if delivery.new:
                landing.land_source(stage, delivery)
        stage.publish("landed")
    with open_stage("build", prepared.study, run) as stage:
        stage.provide_study_tables()
        modelling.provide_sources(stage)
        for model in prepared.plan.made(*STAGE_SCHEMAS["build"]):
            build_model(stage, model)
        stage.publish("built")


def _ask(query: str) -> list[object]:
    with open_lake("my_trial").read() as connection:
        connection.execute("use lake")
        return [value for (value,) in connection.execute(query).fetchall()]
