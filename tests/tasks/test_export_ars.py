"""The reporting event of CDISC's Analysis Results Standard 1.0: its classes, its references, its values."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from tasks.clinical.ard import Address, described, statistics, table
from tasks.export.ars import reporting_event
from tasks.export.data_set import Origin
from tasks.export.formatted_table import format_tables
from tasks.export.run import export
from warehouse.lake import open_lake
from warehouse.study import Estimand, load_study

ORIGIN = Origin(
    study_id="demo",
    title="Demo trial",
    is_simulated=True,
    version=3,
    published_at="2026-01-31 12:00:00",
    run_id="r1",
    software_version="9.9.9",
)
PRIMARY = Estimand(
    id="primary",
    title="Change at week 24",
    population="fasfl",
    subgroup={"sex": ("F", "M")},
    score="ACTOT",
    visit="Week 24",
    family="main",
    summary="difference in LS means",
)
SAFETY = Estimand(id="safety", title="Safety", population="saffl", treatment="trt01a", summary="counts")

# Classes of version 1.0 as its LinkML model and its JSON schema have them: slot, and what it holds. A name in
# capitals and small letters is a class, in brackets a list; `!` marks what is required, `|` alternatives.
SCHEMA: dict[str, dict[str, str]] = {
    "ReportingEvent": {
        "id": "!str", "name": "!str", "version": "int", "label": "str", "description": "str",
        "mainListOfContents": "!ListOfContents", "otherListsOfContents": "[ListOfContents]",
        "referenceDocuments": "[ReferenceDocument]", "terminologyExtensions": "[TerminologyExtension]",
        "analysisOutputCategorizations": "[AnalysisOutputCategorization]", "analysisSets": "[AnalysisSet]",
        "dataSubsets": "[DataSubset]", "analysisGroupings": "[GroupingFactor]", "methods": "[AnalysisMethod]",
        "analyses": "[Analysis]", "globalDisplaySections": "[GlobalDisplaySection]", "outputs": "[Output]",
    },
    "ListOfContents": {"name": "!str", "label": "str", "description": "str", "contentsList": "!NestedList"},
    "NestedList": {"listItems": "[OrderedListItem]"},
    "OrderedListItem": {
        "name": "!str", "level": "!int", "order": "!int", "label": "str", "description": "str",
        "sublist": "NestedList", "analysisId": "str", "outputId": "str",
    },
    "TerminologyExtension": {"id": "!str", "enumeration": "str", "sponsorTerms": "![SponsorTerm]"},
    "SponsorTerm": {"id": "!str", "submissionValue": "!str", "description": "str"},
    "AnalysisSet": {
        "id": "!str", "name": "!str", "label": "str", "description": "str", "level": "!int", "order": "!int",
        "condition": "WhereClauseCondition", "compoundExpression": "CompoundExpression",
    },
    "DataSubset": {
        "id": "!str", "name": "!str", "label": "str", "description": "str", "level": "!int", "order": "!int",
        "condition": "WhereClauseCondition", "compoundExpression": "CompoundExpression",
    },
    "CompoundExpression": {"logicalOperator": "!AND|OR|NOT", "whereClauses": "[WhereClause]"},
    "WhereClause": {
        "level": "!int", "order": "!int",
        "condition": "WhereClauseCondition", "compoundExpression": "CompoundExpression",
    },
    "WhereClauseCondition": {
        "dataset": "str", "variable": "str", "comparator": "EQ|NE|GT|GE|LT|LE|IN|NOTIN", "value": "[str]",
    },
    "GroupingFactor": {
        "id": "!str", "name": "!str", "label": "str", "description": "str", "groupingDataset": "str",
        "groupingVariable": "str", "dataDriven": "!bool", "groups": "[Group]",
    },
    "Group": {
        "id": "!str", "name": "!str", "label": "str", "description": "str", "level": "!int", "order": "!int",
        "condition": "WhereClauseCondition", "compoundExpression": "CompoundExpression",
    },
    "AnalysisMethod": {
        "id": "!str", "name": "!str", "label": "str", "description": "str", "operations": "![Operation]",
        "codeTemplate": "AnalysisProgrammingCodeTemplate", "documentRefs": "[DocumentReference]",
    },
    "Operation": {
        "id": "!str", "name": "!str", "label": "str", "description": "str", "order": "!int",
        "referencedOperationRelationships": "[ReferencedOperationRelationship]", "resultPattern": "str",
    },
    "Analysis": {
        "id": "!str", "name": "!str", "label": "str", "description": "str", "version": "int",
        "reason": "!Term", "purpose": "!Term", "categoryIds": "[str]", "documentRefs": "[DocumentReference]",
        "analysisSetId": "str", "dataset": "str", "variable": "str", "dataSubsetId": "str",
        "orderedGroupings": "[OrderedGroupingFactor]", "methodId": "!str",
        "referencedAnalysisOperations": "[ReferencedAnalysisOperation]", "results": "[OperationResult]",
        "programmingCode": "AnalysisOutputProgrammingCode",
    },
    # AnalysisReason, AnalysisPurpose and OutputFileType, each with its sponsor's counterpart.
    "Term": {"controlledTerm": "str", "sponsorTermId": "str"},
    "OrderedGroupingFactor": {"order": "!int", "groupingId": "!str", "resultsByGroup": "!bool"},
    "OperationResult": {
        "operationId": "!str", "resultGroups": "[ResultGroup]", "rawValue": "str", "formattedValue": "str",
    },
    "ResultGroup": {"groupingId": "!str", "groupId": "str", "groupValue": "str"},
    "Output": {
        "id": "!str", "name": "!str", "version": "int", "label": "str", "description": "str",
        "fileSpecifications": "[OutputFile]", "displays": "![OrderedDisplay]", "categoryIds": "[str]",
        "documentRefs": "[DocumentReference]", "programmingCode": "AnalysisOutputProgrammingCode",
    },
    "OutputFile": {
        "name": "!str", "label": "str", "description": "str", "fileType": "Term", "location": "str",
        "style": "str",
    },
    "OrderedDisplay": {"order": "!int", "display": "!OutputDisplay"},
    "OutputDisplay": {
        "id": "!str", "name": "!str", "version": "int", "label": "str", "description": "str",
        "displayTitle": "str", "displaySections": "[DisplaySection]",
    },
    "DisplaySection": {
        "sectionType": "Header|Title|Rowlabel Header|Legend|Abbreviation|Footnote|Footer",
        "orderedSubSections": "[OrderedSubSection]",
    },
    "OrderedSubSection": {"order": "!int", "subSection": "!DisplaySubSection"},
    "DisplaySubSection": {"id": "!str", "text": "!str"},
}  # fmt: skip
CONTROLLED = {
    "reason": {
        "SPECIFIED IN PROTOCOL", "SPECIFIED IN SAP", "DATA DRIVEN", "REQUESTED BY REGULATORY AGENCY",
    },
    "purpose": {"PRIMARY OUTCOME MEASURE", "SECONDARY OUTCOME MEASURE", "EXPLORATORY OUTCOME MEASURE"},
    "fileType": {"pdf", "rtf", "txt"},
}  # fmt: skip
BASIC = {"str": str, "int": int, "bool": bool}


def faults(value: Any, kind: str, place: str) -> list[str]:
    """Return what an object has that its class does not allow, or lacks that it requires."""
    if kind.startswith("["):
        if not isinstance(value, list):
            return [f"{place}: not a list"]
        return [fault for n, each in enumerate(value) for fault in faults(each, kind[1:-1], f"{place}[{n}]")]
    if kind in BASIC:
        return [] if type(value) is BASIC[kind] else [f"{place}: {value!r} is no {kind}"]
    if "|" in kind:
        return [] if value in kind.split("|") else [f"{place}: {value!r} is none of {kind}"]
    slots = SCHEMA[kind]
    if not isinstance(value, dict):
        return [f"{place}: not an object"]
    found = [f"{place}: no slot {name}" for name in value.keys() - slots.keys()]
    found += [f"{place}: lacks {name}" for name, of in slots.items() if of[0] == "!" and name not in value]
    for name in value.keys() & slots.keys():
        found += faults(value[name], slots[name].removeprefix("!"), f"{place}.{name}")
        if name in CONTROLLED:
            term = value[name]
            is_known = term.get("controlledTerm") in CONTROLLED[name]
            if len(term) != 1 or not (is_known or "sponsorTermId" in term):
                found.append(f"{place}.{name}: {term}")
    return found


def rows():
    for arm, n in (("Placebo", 3), ("High", 2), ("Total", 5)):
        where = Address(estimand=PRIMARY, group1="TRT01P", group1_level=arm, variable="FASFL")
        yield from statistics(where, "population", {"N": n})
    score = {"group2": "PARAMCD", "group2_level": "ACTOT", "group3": "AVISIT", "group3_level": "Week 24"}
    for arm in ("Placebo", "High"):
        where = Address(
            estimand=PRIMARY,
            group1="TRT01P",
            group1_level=arm,
            variable="CHG",
            variable_label="Change",
            **score,
        )
        yield from statistics(where, "continuous", described(pl.Series([-1.5, 2.0, 6.25])))
    yield from statistics(
        where.at(group1_reference="Placebo"), "difference", {"estimate": -0.1, "p.value": 0.00002},
        is_confirmatory=True, method="t test", warning="few",
    )  # fmt: skip
    yield from statistics(
        where.at(group1_level=None), "mmrm", {"structure": "us", "aic": None}, error="no fit",
        labels={"structure": "Covariance", "aic": "AIC"},
    )  # fmt: skip


def safety_rows():
    for arm in ("Placebo", "High"):
        where = Address(
            estimand=SAFETY, group1="TRT01A", group1_level=arm, variable="TRTEMFL", variable_level="Y",
            group2="AEBODSYS", group2_level="CARDIAC",
        )  # fmt: skip
        yield from statistics(where, "incidence", {"n": 1, "p": 0.5, "n_events": 4})


@pytest.fixture(scope="module")
def ard() -> pl.DataFrame:
    return pl.concat([table("treatment_comparison", rows()), table("adverse_events", safety_rows())])


@pytest.fixture(scope="module")
def event(ard) -> dict[str, Any]:
    tables = format_tables(ard, [PRIMARY, SAFETY], ORIGIN)
    return reporting_event(ard, [PRIMARY, SAFETY], tables, ORIGIN, ["ACTOT"])


def test_it_has_the_classes_and_slots_of_the_standard(event):
    assert faults(event, "ReportingEvent", "event") == []
    assert json.loads(json.dumps(event)) == event


def test_the_check_itself_finds_faults(event):
    broken = {**event, "analyses": [{**event["analyses"][0], "purpose": {"controlledTerm": "X"}, "extra": 1}]}
    del broken["name"]
    assert sorted(faults(broken, "ReportingEvent", "event")) == [
        "event.analyses[0].purpose: {'controlledTerm': 'X'}",
        "event.analyses[0]: no slot extra",
        "event: lacks name",
    ]


def ids(objects) -> set[str]:
    names = [each["id"] for each in objects]
    assert len(set(names)) == len(names)
    return set(names)


def test_every_reference_leads_somewhere(event):
    sets, subsets = ids(event["analysisSets"]), ids(event["dataSubsets"])
    groupings = {each["id"]: each for each in event["analysisGroupings"]}
    methods = {each["id"]: ids(each["operations"]) for each in event["methods"]}
    terms = {term["id"] for each in event["terminologyExtensions"] for term in each["sponsorTerms"]}
    for analysis in event["analyses"]:
        assert analysis["analysisSetId"] in sets
        assert analysis.get("dataSubsetId", next(iter(subsets))) in subsets
        assert analysis["reason"]["sponsorTermId"] in terms
        ordered = {each["groupingId"] for each in analysis.get("orderedGroupings", [])}
        assert ordered <= groupings.keys()
        for result in analysis["results"]:
            assert result["operationId"] in methods[analysis["methodId"]]
            for group in result.get("resultGroups", []):
                assert group["groupingId"] in ordered
                grouping = groupings[group["groupingId"]]
                # A group is one of those defined, or a value where the data define them.
                assert grouping["dataDriven"] == ("groupValue" in group)
                assert grouping["dataDriven"] or group["groupId"] in ids(grouping["groups"])
    listed = event["mainListOfContents"]["contentsList"]["listItems"]
    assert {item["outputId"] for item in listed} == ids(event["outputs"])
    shown = [item["analysisId"] for entry in listed for item in entry["sublist"]["listItems"]]
    assert sorted(shown) == sorted(ids(event["analyses"]))


def test_every_statistic_is_a_result_with_its_value(event, ard):
    results = [result for analysis in event["analyses"] for result in analysis["results"]]
    assert len(results) == ard.height
    numbers = sorted(float(r["rawValue"]) for r in results if r.get("rawValue", "us") != "us")
    assert numbers == sorted(ard["stat"].drop_nulls())
    assert sum("rawValue" not in result for result in results) == 1


def test_a_comparison_of_two_arms(event):
    (analysis,) = [each for each in event["analyses"] if each["methodId"] == "MT_difference"]
    assert analysis["name"] == "Change: difference, High compared with Placebo"
    assert analysis["purpose"] == {"controlledTerm": "PRIMARY OUTCOME MEASURE"}
    assert analysis["description"] == "t test; Note: few"
    subset = next(each for each in event["dataSubsets"] if each["id"] == analysis["dataSubsetId"])
    conditions = [clause["condition"] for clause in subset["compoundExpression"]["whereClauses"]]
    assert conditions == [
        {"dataset": "ADQS", "variable": "PARAMCD", "comparator": "EQ", "value": ["ACTOT"]},
        {"dataset": "ADQS", "variable": "AVISIT", "comparator": "EQ", "value": ["Week 24"]},
        {"dataset": "ADSL", "variable": "TRT01P", "comparator": "IN", "value": ["High", "Placebo"]},
    ]
    assert [(each["rawValue"], each["formattedValue"]) for each in analysis["results"]] == [
        ("-0.1", "-0.100"),
        ("2e-05", "<.0001"),
    ]


def test_what_could_not_be_computed_has_no_raw_value(event):
    (analysis,) = [each for each in event["analyses"] if each["methodId"] == "MT_mmrm"]
    text, missing = analysis["results"]
    assert (text["rawValue"], text["formattedValue"]) == ("us", "us")
    assert (missing.get("rawValue"), missing["formattedValue"]) == (None, "NE")


def test_sets_groups_and_purposes(event):
    full, safety = event["analysisSets"]
    clauses = full["compoundExpression"]["whereClauses"]
    assert [clause["condition"]["variable"] for clause in clauses] == ["FASFL", "SEX"]
    assert clauses[1]["condition"]["comparator"] == "IN"
    assert safety["condition"] == {
        "dataset": "ADSL", "variable": "SAFFL", "comparator": "EQ", "value": ["Y"],
    }  # fmt: skip
    arms = next(each for each in event["analysisGroupings"] if each["groupingVariable"] == "TRT01P")
    assert [group["name"] for group in arms["groups"]] == ["Placebo", "High", "Total"]
    assert arms["groups"][2]["condition"]["value"] == ["Placebo", "High"]
    adverse = next(each for each in event["analyses"] if each["dataset"] == "ADAE")
    assert adverse["purpose"] == {"controlledTerm": "EXPLORATORY OUTCOME MEASURE"}
    assert "SIMULATED DATA" in event["description"]


def test_outputs_name_their_files_and_texts(event):
    output = event["outputs"][0]
    assert [each["location"] for each in output["fileSpecifications"]] == [
        "treatment_comparison_primary.rtf",
        "treatment_comparison_primary.html",
    ]
    title, notes = output["displays"][0]["display"]["displaySections"]
    assert title["orderedSubSections"][0]["subSection"]["text"] == "Table 14-3.01 Comparison of treatments"
    assert "NE: no fit" in [each["subSection"]["text"] for each in notes["orderedSubSections"]]


def test_from_the_lake_to_files(home, tmp_path, ard):
    study = load_study("nl_ruxolitinib").model_copy(update={"estimands": (PRIMARY, SAFETY)})
    lake = open_lake(study.id)
    lake.scratch.mkdir(parents=True)
    with lake.open_store() as store:
        connection = store.connection
        connection.execute("create schema store.results")
        connection.register("ard", ard.to_arrow())
        connection.execute("create table store.results.clinical_statistics as from ard")
    (file,) = export(study, "ars", "adam", tmp_path, None)
    assert file.name == "reporting_event.json"
    written = json.loads(file.read_text("utf-8"))
    assert faults(written, "ReportingEvent", "event") == []
    assert len(written["analyses"]) == 5
    files = export(study, "tables", "adam", tmp_path, None)
    assert [path.name for path in files] == [
        "treatment_comparison_primary.html", "treatment_comparison_primary.rtf",
        "adverse_events_safety.html", "adverse_events_safety.rtf", "index.html",
    ]  # fmt: skip
    for output in written["outputs"]:
        for specified in output["fileSpecifications"]:
            assert (tmp_path / specified["location"]).is_file()
    assert "Simulated data" in (tmp_path / "index.html").read_text("utf-8")
