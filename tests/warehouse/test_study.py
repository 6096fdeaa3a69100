"""study.toml is refused in terms of its own keys: which key, which value, what is allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from warehouse.errors import StudyError
from warehouse.study import find_studies, load_study

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """
[study]
id = "lupus"
title = "Lupus"

[design]
kind = "single-arm"

[[design.arms]]
armcd = "A"
arm = "Active"

[[design.visits]]
avisit = "BASELINE"
avisitn = 0
target_day = 1
window = [-7, 1]
baseline = true

[[design.visits]]
avisit = "WEEK 4"
avisitn = 4
target_day = 29
window = [22, 36]

[[design.scores]]
paramcd = "TOTAL"
param = "Total"
range = [0, 40]
better = "lower"
primary = true

[sources.scores]
path = "scores.csv"
format = "csv"
"""


def make(folder: Path, old: str = "", new: str = "", text: str = STUDY) -> Path:
    """Write a study folder, with one passage of study.toml replaced."""
    assert old in text
    folder.mkdir(exist_ok=True)
    (folder / "study.toml").write_text(text.replace(old, new, 1) if old else text + new, encoding="utf-8")
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(StudyError) as error:
        load_study(folder)
    return str(error.value)


def test_a_sound_study_is_read_whole(tmp_path):
    study = load_study(make(tmp_path))
    assert study.id == "lupus"
    assert study.folder == tmp_path.resolve()
    assert study.study.data_root == "."
    assert study.study.simulated is False
    assert [visit.avisit for visit in study.design.visits] == ["BASELINE", "WEEK 4"]
    assert study.design.visits[0].window == (-7, 1)
    assert study.design.scores[0].unit == "points"
    assert study.sources["scores"].format == "csv"
    assert study.analyses == {}


@pytest.mark.parametrize(
    ("old", "new", "key", "allowed"),
    [
        ('title = "Lupus"', 'title = "L"\ntitel = "L"', "study.titel", "id, title, simulated, registry"),
        ('kind = "single-arm"', 'kind = "single-arm"\narm = 1', "design.arm", "kind, visit_assignment, arms"),
        ('arm = "Active"', 'arm = "Active"\nname = "x"', "design.arms.0.name", "armcd, arm"),
        ("baseline = true", "baseline = true\nday = 1", "design.visits.0.day", "avisit, avisitn, target_day"),
        (
            'better = "lower"',
            'better = "lower"\nmax = 4',
            "design.scores.0.max",
            "paramcd, param, unit, range",
        ),
        ('format = "csv"', 'format = "csv"\nsep = ";"', "sources.scores.sep", "path, format, member, sha256"),
        (
            'better = "lower"',
            'better = "lower"\nvisits = [{ day = 1 }]',
            "design.scores.0.visits.0.day",
            "avisit, ",
        ),
        ("", "\n[[design.ae_queries]]\nterm = 'x'", "design.ae_queries.0.term", "paramcd, name, contains"),
        ("", "\n[[estimands]]\nset = 'x'", "estimands.0.set", "id, title, population, subgroup, treatment"),
        (
            "",
            "\n[[estimands]]\nintercurrent_events = [{ name = 'x' }]",
            "estimands.0.intercurrent_events.0.name",
            "event, strategy, handling",
        ),
        ("", "\n[families.first]\nalpha = 0.05", "families.first.alpha", "method, description"),
        (
            "",
            "\n[source.x]\npath = 'a'",
            "source",
            "study, design, sources, estimands, families, expression, analyses",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_its_place_and_the_allowed_ones(tmp_path, old, new, key, allowed):
    message = refusal(make(tmp_path, old, new))
    assert str(tmp_path / "study.toml") in message
    assert f"  {key}: no such key; allowed: {allowed}" in message


def test_the_folder_is_no_key_of_the_file(tmp_path):
    message = refusal(make(tmp_path, "[study]", 'folder = "x"\n[study]'))
    assert (
        "folder: no such key; allowed: study, design, sources, estimands, families, expression, analyses"
        in message
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('id = "lupus"', 'id = "Lupus"', "  study.id: 'Lupus': String should match pattern"),
        ('title = "Lupus"', 'title = ""', "  study.title: '': String should have at least 1 character"),
        ('title = "Lupus"', "", "  study.title: must be given"),
        (
            'kind = "single-arm"',
            'kind = "crossover"',
            "  design.kind: 'crossover': Input should be 'single-arm' or 'parallel-group'",
        ),
        ("window = [22, 36]", "window = [22]", "  design.visits.1.window.1: must be given"),
        ('paramcd = "TOTAL"', 'paramcd = "total score"', "  design.scores.0.paramcd: 'total score'"),
        ('better = "lower"', 'better = "less"', "  design.scores.0.better: 'less'"),
        (
            'format = "csv"',
            'format = "excel"',
            "  sources.scores.format: 'excel': Input should be 'csv', 'xpt', 'dataset_json', 'matrix'",
        ),
        ('format = "csv"', 'format = "csv"\nsha256 = "abc"', "  sources.scores.sha256: 'abc'"),
        ('format = "csv"', 'format = "csv"\nseparator = "x"', "  sources.scores.separator: 'x'"),
        (
            'format = "csv"',
            'format = "csv"\ncolumns = { AGE = "int" }',
            "  sources.scores.columns.AGE: 'int': Input should be 'text', 'integer', 'number'",
        ),
        (
            'path = "scores.csv"',
            'path = "../scores.csv"',
            "  sources.scores.path: '../scores.csv': path '../scores.csv' must be relative to the data root",
        ),
        (
            'path = "scores.csv"',
            'path = "/data/scores.csv"',
            "must be relative to the data root and stay below it",
        ),
        ("[sources.scores]", "[sources.Scores]", "  sources.Scores: 'Scores': String should match pattern"),
    ],
)
def test_a_wrong_value_is_refused_with_key_value_and_what_is_allowed(tmp_path, old, new, told):
    assert told in refusal(make(tmp_path, old, new))


def test_every_wrong_key_is_told_at_once(tmp_path):
    text = STUDY.replace('kind = "single-arm"', 'kind = "x"').replace('format = "csv"', 'format = "y"')
    message = refusal(make(tmp_path, text=text))
    assert message.startswith(f"{tmp_path / 'study.toml'}: 2 wrong")
    assert "design.kind" in message
    assert "sources.scores.format" in message


@pytest.mark.parametrize(
    ("title", "is_sound"), [("Simulated lupus", True), ("Lupus, SIMULATED", True), ("Lupus", False)]
)
def test_a_simulated_study_says_so_in_its_title(tmp_path, title, is_sound):
    folder = make(tmp_path, 'title = "Lupus"', f'title = "{title}"\nsimulated = true')
    if is_sound:
        assert load_study(folder).study.simulated
    else:
        assert 'must say "Simulated" in its title' in refusal(folder)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "target_day = 29",
            "target_day = 60",
            "  design.visits.1: window [22, 36] does not hold target_day 60",
        ),
        ('avisit = "WEEK 4"', 'avisit = "BASELINE"', "visits.avisit: BASELINE stands more than once"),
        ("avisitn = 4", "avisitn = 0", "visits.avisitn: 0.0 stands more than once; each must be unique"),
        ("baseline = true", "baseline = false", "visits: exactly one must have baseline = true"),
        ("window = [22, 36]", "window = [22, 36]\nbaseline = true", "exactly one must have baseline = true"),
        ("primary = true", "primary = false", "scores: exactly one must have primary = true"),
        (
            "",
            '\n[[design.arms]]\narmcd = "A"\narm = "Another"',
            "arms.armcd: A stands more than once; each must be unique",
        ),
        (
            "",
            '\n[[design.scores]]\nparamcd = "TOTAL"\nparam = "x"\nrange = [0, 1]\nbetter = "lower"',
            "scores.paramcd: TOTAL stands more than once",
        ),
    ],
)
def test_a_design_that_contradicts_itself_is_refused(tmp_path, old, new, told):
    assert told in refusal(make(tmp_path, old, new))


def test_a_design_without_visits_scores_and_arms_is_sound(tmp_path):
    text = '[study]\nid = "x"\ntitle = "X"\n[design]\nkind = "single-arm"\n[sources]\n'
    study = load_study(make(tmp_path, text=text))
    assert (study.design.arms, study.design.visits, study.design.scores) == ((), (), ())


def test_a_study_of_the_house_is_loaded_by_name_and_by_path():
    folders = find_studies()
    assert folders
    for folder in folders:
        by_name, by_path = load_study(folder.name), load_study(folder)
        assert by_name == by_path
        assert by_name.id == folder.name


def test_a_name_is_a_study_of_the_house_before_it_is_a_folder_here(tmp_path, monkeypatch):
    known = find_studies()[0].name
    make(tmp_path / known)
    monkeypatch.chdir(tmp_path)
    assert load_study(known).id == known
    assert load_study(f"./{known}").id == "lupus"


def test_a_relative_path_is_a_study_folder(tmp_path, monkeypatch):
    make(tmp_path / "lupus")
    monkeypatch.chdir(tmp_path)
    assert load_study("lupus").folder == (tmp_path / "lupus").resolve()


def test_a_study_that_is_not_there_is_refused_with_those_that_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refusal("lupus")
    assert message.startswith("study 'lupus': no such study; known: ")
    for folder in find_studies():
        assert folder.name in message
    assert message.endswith("or the path of a study folder")


def test_a_folder_without_study_toml_is_refused(tmp_path):
    assert refusal(tmp_path).endswith("the folder has no study.toml")


def test_a_file_that_is_no_toml_is_refused_with_the_line(tmp_path):
    message = refusal(make(tmp_path, text="[study\n"))
    assert "study.toml: not a TOML file:" in message
    assert "line 1" in message


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "study.toml").write_bytes(b'[study]\ntitle = "\xff"')
    assert "study.toml: not a TOML file:" in refusal(tmp_path)


SECOND_ARM = '\n[[design.arms]]\narmcd = "P"\narm = "Placebo"\n'
ESTIMAND = """
[[estimands]]
id = "primary"
title = "Change to week 4"
population = "fasfl"
score = "TOTAL"
visit = "WEEK 4"
summary = "mean change"
"""
OWN_VISITS = """visits = [
    { avisit = "START", avisitn = 0, target_day = 1, window = [-7, 1], baseline = true },
    { avisit = "END", avisitn = 1, target_day = 29, window = [22, 36] },
]"""


def test_an_estimand_is_read_with_its_defaults(tmp_path):
    (estimand,) = load_study(make(tmp_path, new=ESTIMAND)).estimands
    assert (estimand.treatment, estimand.variable, estimand.imputation) == ("trt01p", "chg", "observed")
    assert (estimand.arms, estimand.reference, estimand.family, estimand.subgroup) == ((), None, None, {})


def test_an_estimand_may_use_the_visits_of_its_score(tmp_path):
    text = STUDY.replace('better = "lower"', f'better = "lower"\n{OWN_VISITS}')
    study = load_study(make(tmp_path, text=text + ESTIMAND.replace("WEEK 4", "END")))
    assert [visit.avisit for visit in study.design.scores[0].visits] == ["START", "END"]
    assert "visit 'WEEK 4': must be one of START, END" in refusal(make(tmp_path, text=text + ESTIMAND))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('id = "primary"', 'id = "Primary"', "  estimands.0.id: 'Primary': String should match pattern"),
        ('title = "Change to week 4"', "", "  estimands.0.title: must be given"),
        ('summary = "mean change"', "", "  estimands.0.summary: must be given"),
        ('"fasfl"', '"everybody"', "  estimands.0.population: 'everybody': String should match pattern"),
        ('"TOTAL"', '"TOTALS"', "estimands.primary: score 'TOTALS': must be one of TOTAL"),
        ('"WEEK 4"', '"WEEK 5"', "estimands.primary: visit 'WEEK 5': must be one of BASELINE, WEEK 4"),
        ('"mean change"', '"x"\narms = ["Sham"]', "estimands.primary: arm 'Sham': must be one of Active"),
        ('"mean change"', '"x"\nreference = "Sham"', "estimands.primary: arm 'Sham': must be one of Active"),
        (
            '"mean change"',
            '"x"\nfamily = "first"',
            "estimands.primary: family 'first': must be one of none: none is declared",
        ),
        ('"mean change"', '"x"\nvariable = "base"', "  estimands.0.variable: 'base': Input should be 'aval'"),
        ('"mean change"', '"x"\nimputation = "MI"', "  estimands.0.imputation: 'MI': Input should be 'obs"),
        (
            '"mean change"',
            '"x"\nintercurrent_events = [{ event = "rescue", strategy = "ignore" }]',
            "  estimands.0.intercurrent_events.0.strategy: 'ignore': Input should be 'treatment policy'",
        ),
        ('"mean change"', '"x"\n' + ESTIMAND, "estimands.id: primary stands more than once"),
        (
            '"mean change"',
            '"x"\n[families.first]\nmethod = "sidak"',
            "  families.first.method: 'sidak': Input should be 'none', 'bonferroni', 'holm'",
        ),
    ],
)
def test_an_estimand_that_cannot_be_is_refused(tmp_path, old, new, told):
    assert told in refusal(make(tmp_path, text=STUDY + ESTIMAND.replace(old, new, 1)))


def test_the_reference_of_an_estimand_is_one_of_its_arms(tmp_path):
    text = STUDY + SECOND_ARM + ESTIMAND + 'arms = ["Active"]\nreference = "Placebo"'
    assert "reference 'Placebo': must be one of arms, Active" in refusal(make(tmp_path, text=text))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            'arm = "Active"',
            'arm = "Active"\ndose = 5' + SECOND_ARM,
            "arms: either every arm has a dose or none",
        ),
        (
            'better = "lower"',
            'better = "lower"\n' + OWN_VISITS.replace(", baseline = true", ""),
            "exactly one of a score's visits must have baseline = true",
        ),
        (
            'better = "lower"',
            'better = "lower"\n' + OWN_VISITS.replace('"END"', '"START"'),
            "visits.avisit: START stands more than once",
        ),
        (
            'better = "lower"',
            'better = "lower"\n' + OWN_VISITS.replace("avisitn = 1", "avisitn = 0"),
            "visits.avisitn: 0.0 stands more than once",
        ),
        (
            "[sources.scores]",
            '[[design.ae_queries]]\nparamcd = "TTINF"\nname = "x"\nexcluding = ["y"]\n[sources.scores]',
            "contains or soc must name something",
        ),
    ],
)
def test_arms_visits_of_a_score_and_queries_are_consistent(tmp_path, old, new, told):
    assert told in refusal(make(tmp_path, old, new))
