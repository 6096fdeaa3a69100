"""Lakes made by older commits, read with today's code: old_lakes/README.md tells how they were made."""

from __future__ import annotations

import json
import re
import tarfile
from html.parser import HTMLParser
from pathlib import Path

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
COMMITS = tuple(sorted(file.name.partition(".")[0] for file in LAKES.glob("*.tar.xz")))
# The empty lake, the first stages, the first results, a stopped build, the newest results.
SHOWN = (1, 2, 3, 5, 8)


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


def test_every_version_answers_as_it_did(lake):
    for version, told in lake.items():

        def counts(connection, told=told):
            return {
                table: connection.execute(f"select count(*) from lake.{table}").fetchone()[0]
                for table in told["rows"]
            }

        assert queries.read(STUDY, counts, version) == told["rows"]
        assert queries.read(STUDY, queries.failed_checks, version).height >= told["failed_checks"]
        if "primary" in told:
            found = ask(
                STUDY,
                """
                select max(n) filter (is_primary) as n, max(p_value) filter (is_primary) as p_value,
                    max(estimate) filter (statistic = 'mean' and variable = 'PCHG') as mean_pchg,
                    max(estimate) filter (statistic = 'sd' and variable = 'PCHG') as sd_pchg
                from results.primary_endpoint
                """,
                version,
            )
            assert found.row(0, named=True) == pytest.approx(told["primary"], rel=1e-12)


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


@pytest.mark.parametrize("version", SHOWN)
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
    assert f"{lake[version]['primary']['n']} participants" in said or "n = " in said
    assert f"The results of version {version} were made by trialhouse {code}" in said
    assert "Gene expression: there is no results.differential_expression" in said
    assert (
        f"results.enriched_gene_sets and reports.top_gene_sets of version {version}, made by trialhouse"
        f" {code}, have no column contrast." in said
    )
    assert f'"from results.treatment_effect_on_expression" --at {version}' in said.replace("&quot;", '"')


@pytest.mark.parametrize("form", ["xpt", "dataset-json", "ndjson", "dsjc"])
def test_old_versions_are_exported_as_data_sets(lake, tmp_path, form):
    study = load_study(STUDY)
    for version in (2, 8):
        files = export(study, form, "adam", tmp_path / str(version), version)
        assert len(files) >= len([table for table in lake[version]["rows"] if table.startswith("adam.ad")])


@pytest.mark.parametrize("form", ["tables", "ars"])
def test_statistics_of_old_versions_are_exported_or_said_to_be_missing(lake, tmp_path, form):
    study = load_study(STUDY)
    for version in (2, 3, 8):
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
