"""Lakes made by older commits, read with today's code: old_lakes/README.md tells how they were made."""

from __future__ import annotations

import json
import re
import tarfile
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from flows.output import ask
from tasks import queries
from tasks.export.data_set import ExportError
from tasks.export.run import export
from tasks.preparation import prepare
from tasks.reporting import write_report
from warehouse.errors import LakeError
from warehouse.study import load_study
from warehouse.versions import versions

LAKES = Path(__file__).parent / "old_lakes"
STUDY = "nl_ruxolitinib"
COMMITS = tuple(sorted(file.stem for file in LAKES.glob("*.json")))
# The stages before any result, the first results, a stopped build, the newest results.
SHOWN = (("14df529", 1), ("14df529", 3), ("14df529", 5), ("6132e38", 2), ("6132e38", 8))


@pytest.fixture(scope="module", params=COMMITS)
def commit(request):
    return request.param


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    homes = {}
    for commit in COMMITS:
        homes[commit] = tmp_path_factory.mktemp(commit)
        with tarfile.open(LAKES / f"{commit}.tar.xz") as archive:
            archive.extractall(homes[commit], filter="data")
    return homes


@pytest.fixture
def lake(unpacked, commit, monkeypatch):
    """Return what the old code itself answered about its lake, which is the home of this test."""
    monkeypatch.setenv("TRIALHOUSE_HOME", str(unpacked[commit]))
    told = json.loads((LAKES / f"{commit}.json").read_text(encoding="utf-8"))
    return {int(version): answers for version, answers in told.items()}


@pytest.fixture(scope="module")
def prepared():
    return prepare(STUDY)


def test_there_are_lakes_of_two_commits():
    assert len(COMMITS) >= 2


def test_its_versions_are_those_that_the_old_code_made(lake):
    listed = queries.read(STUDY, versions)
    assert listed["version"].to_list() == sorted(lake)
    for row in listed.iter_rows(named=True):
        told = lake[row["version"]]
        assert (row["stage"], row["status"], row["code_version"]) == (
            told["stage"],
            told["status"],
            told["code_version"],
        )


def test_its_tables_have_the_rows_that_they_had(lake):
    for version in (1, 5):
        rows = {table: count for table, count in lake[version]["rows"].items() if "results" not in table}
        counted = " union all ".join(f"select '{table}', count(*) from {table}" for table in rows)
        assert dict(ask(STUDY, counted, version).iter_rows()) == rows


@pytest.mark.parametrize("version", [7, 8])
def test_its_primary_result_and_its_checks_are_what_they_were(lake, version):
    told = lake[version]
    primary = queries.read(STUDY, queries.primary_result, version)
    test = primary.filter(pl.col("is_primary")).row(0, named=True)
    mean = primary.filter(
        pl.col("statistic_label").str.to_lowercase() == "mean", pl.col("variable") == "PCHG"
    )
    assert test["n"] == told["primary"]["n"]
    assert test["p_value"] == pytest.approx(told["primary"]["p_value"], rel=1e-12)
    assert mean["estimate"].to_list() == pytest.approx([told["primary"]["mean_pchg"]], rel=1e-12)
    checks = queries.read(STUDY, queries.failed_checks, version)
    assert checks.height == told["failed_checks"]
    assert queries.read(STUDY, queries.failing_rows, version)["notes"].null_count() == 0


def text(page):
    """Return what a person reads of a page, without its drawings."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", re.sub(r"(?s)<(svg|style).*?</\1>", "", page)))


class Balance(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, _attrs):
        if tag not in {"meta", "br", "hr", "img", "wbr"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize(("commit", "version"), SHOWN)
def test_every_version_has_a_report(lake, prepared, version, tmp_path):
    page = write_report(prepared, version, tmp_path / "page.html").read_text(encoding="utf-8")
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    said = text(page)
    code = lake[version]["code_version"]
    assert f"version {version}. Code {code}" in said
    assert "Not in this version" in said
    if version < 3:
        assert "there is no results.primary_endpoint" in said
        return
    assert f"The results of version {version} were made by trialhouse {code}" in said
    assert "Gene expression: there is no results.differential_expression" in said
    assert (
        f"results.enriched_gene_sets and reports.top_gene_sets of version {version}, made by trialhouse"
        f" {code}, have no column contrast." in said
    )
    assert f'"from results.treatment_effect_on_expression" --at {version}' in said.replace("&quot;", '"')


@pytest.mark.parametrize("form", [pytest.param("xpt", marks=pytest.mark.proof), "dataset-json"])
def test_old_versions_are_exported_as_data_sets(lake, tmp_path, form):
    files = export(load_study(STUDY), form, "adam", tmp_path, 3)
    assert len(files) >= len([table for table in lake[3]["rows"] if table.startswith("adam.ad")])


@pytest.mark.parametrize("form", [pytest.param("tables", marks=pytest.mark.proof), "ars"])
def test_statistics_of_old_versions_are_exported_or_said_to_be_missing(lake, tmp_path, form):
    study = load_study(STUDY)
    for version in (2, 8):
        if "results.clinical_statistics" in lake[version]["rows"]:
            assert export(study, form, "", tmp_path / str(version), version)
        else:
            with pytest.raises(ExportError, match=f"version {version} has no results.clinical_statistics"):
                export(study, form, "", tmp_path / str(version), version)


def test_a_version_that_there_is_not_is_refused(lake, prepared, tmp_path):
    for version in (0, max(lake) + 1, -1):
        with pytest.raises(LakeError, match=f"version {version}"):
            write_report(prepared, version, tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_the_fixtures_name_no_place_and_no_person(unpacked):
    listed = [file for home in unpacked.values() for file in home.rglob("*") if file.is_file()]
    assert len(listed) > 100
    for file in listed:
        content = file.read_bytes()
        assert not re.search(rb"/(?:home|root|Users|work)/", content), file
