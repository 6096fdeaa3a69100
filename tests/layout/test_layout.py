"""The house's rules that a tool can check: where things lie, what is named how, what is never committed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from expectations.suite import check_types, find_suites
from tasks.analyses import ANALYSES
from tasks.readers import READERS
from warehouse.study import HOUSE, Format, find_studies, load_study

TOP = {
    "flows", "sql", "tasks", "expectations", "warehouse", "tests", "studies", "benchmarks", "docs",
    "prefect.yaml", "pyproject.toml", "README.md", "Makefile", "constraints.txt", "CHANGELOG.md",
    ".ci", ".gitignore",
}  # fmt: skip
PACKAGES = ("flows", "tasks", "expectations", "warehouse")


def committed() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=HOUSE,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.splitlines() if (HOUSE / name).is_file()]


def test_the_top_level_is_fixed() -> None:
    assert {name.partition("/")[0] for name in committed()} <= TOP


def test_no_module_is_named_like_a_top_level_package() -> None:
    inside = [
        path
        for package in PACKAGES
        for path in (HOUSE / package).rglob("*.py")
        if path.stem in {"sql", "studies", *PACKAGES} or {"utils", "helpers"} & {path.stem, path.parent.name}
    ]
    assert inside == []


@pytest.mark.parametrize("analysis", ANALYSES, ids=lambda analysis: analysis.name)
def test_an_analysis_has_its_files(analysis) -> None:
    module = analysis.function.__module__
    assert module.rpartition(".")[2] == analysis.function.__name__ == analysis.name
    assert (HOUSE / "expectations" / "results" / f"{analysis.name}.json").is_file()
    assert (HOUSE / "tests" / "tasks" / f"test_{analysis.name}.py").is_file()


def test_every_analysis_module_is_in_the_list() -> None:
    found = {
        file.stem
        for area in ("clinical", "omics")
        for file in (HOUSE / "tasks" / area).glob("*.py")
        if "ANALYSIS = Analysis(" in file.read_text(encoding="utf-8")
    }
    assert found == {analysis.name for analysis in ANALYSES}


def test_every_format_of_a_source_has_a_reader() -> None:
    assert set(READERS) == set(Format.__args__)


def models() -> list[Path]:
    folders = [HOUSE / "sql", *(folder / "sql" for folder in find_studies())]
    return [file for folder in folders for file in sorted(folder.rglob("*.sql"))]


@pytest.mark.parametrize("model", models(), ids=lambda file: str(file.relative_to(HOUSE)))
def test_a_published_model_has_a_suite(model: Path) -> None:
    schema, table = model.parent.name, model.stem
    own = model.parent.parent.parent / "expectations" / schema / f"{table}.json"
    house = HOUSE / "expectations" / schema / f"{table}.json"
    assert house.is_file() or own.is_file(), f"expectations/{schema}/{table}.json"


@pytest.mark.parametrize("folder", [HOUSE, *find_studies()], ids=lambda folder: folder.name)
def test_every_suite_uses_expectations_that_exist(folder: Path) -> None:
    suites = find_suites(folder / "expectations")
    for suite in suites.values():
        check_types(suite)


@pytest.mark.parametrize("folder", find_studies(), ids=lambda folder: folder.name)
def test_a_study_is_sound_and_explains_itself(folder: Path) -> None:
    study = load_study(folder)
    assert study.id == folder.name
    assert (folder / "README.md").is_file()
    assert not list(folder.rglob("*.py"))


def test_a_deployment_names_a_study_of_the_house() -> None:
    import yaml

    deployments = yaml.safe_load((HOUSE / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    assert {deployment["parameters"]["study"] for deployment in deployments} == {
        folder.name for folder in find_studies()
    }


# Built from pieces, so that this file does not hold what it forbids.
FORBIDDEN = {
    "a machine path": re.compile(r"(?<![\w.])/(?:" + "work|home|root|Users" + r")/\w"),
    "a registry": re.compile("(?:pypi" + r"|pythonhosted)\.org|index" + "-url", re.IGNORECASE),
    "unfinished work": re.compile(r"\b(?:TO" + "DO|FIX" + r"ME|X" + r"XX)\b"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_committed_file_holds(what: str) -> None:
    found = []
    for name in committed():
        if name.endswith((".png", ".gz", ".parquet", ".xpt", ".zip")):
            continue
        text = (HOUSE / name).read_text(encoding="utf-8", errors="replace")
        found += [f"{name}: {match[0]}" for match in FORBIDDEN[what].finditer(text)]
    assert found == []
