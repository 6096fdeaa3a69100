"""Clinical statistics as a reporting event of CDISC's Analysis Results Standard, version 1.0 (JSON).

One analysis of the standard is one variable in one context of one estimand; a comparison of two arms is an
analysis of its own, on the subset of both. Each context is a method, each statistic an operation of it, and
each row of results.clinical_statistics one operation result with its raw and its formatted value.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from tasks.export.cells import NOT_ESTIMABLE, Precision, statistic
from tasks.export.formatted_table import POPULATIONS, TOTAL, precisions
from tasks.readers.xpt import number_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import polars as pl

    from tasks.export.data_set import Origin
    from tasks.export.formatted_table import FormattedTable
    from warehouse.study import Estimand

REASON = "TE_REASON_1"
HTML = "TE_FILE_1"
SUBJECTS = "ADSL"
# Which data set a grouping or a variable is of; whatever is not here is of the subject-level data set.
_DATA_SETS = {
    "adverse_events": "ADAE",
    "laboratory": "ADLB",
    "vital_signs": "ADVS",
    "time_to_event": "ADTTE",
    "exposure": "ADEX",
    "disposition": SUBJECTS,
    "baseline_characteristics": SUBJECTS,
}
_SCORES = "ADQS"

Row: TypeAlias = "Mapping[str, Any]"
Json: TypeAlias = dict[str, Any]
# Analysis, estimand, variable, context, arm compared and its comparator (both null for no comparison).
Key: TypeAlias = tuple[str, str | None, str, str, str | None, str | None]


@dataclass(slots=True)
class _Event:
    """What the analyses refer to, gathered while they are written."""

    estimands: Mapping[str, Estimand]
    arms: Mapping[str, Sequence[str]]
    exact: Mapping[tuple[str | None, str], Precision]
    primary_scores: frozenset[str]
    sets: dict[str, Json] = field(default_factory=dict)
    subsets: dict[str, Json] = field(default_factory=dict)
    groupings: dict[str, Json] = field(default_factory=dict)
    methods: dict[str, Json] = field(default_factory=dict)


def reporting_event(
    statistics: pl.DataFrame,
    estimands: Sequence[Estimand],
    tables: Sequence[FormattedTable],
    origin: Origin,
    primary_scores: Iterable[str] = (),
) -> Json:
    """Return the reporting event of a version: everything that one JSON file of the standard holds.

    `primary_scores` are the PARAMCDs whose estimands are primary; other estimands that belong to a family of
    tests are secondary, the rest is exploratory.
    """
    rows = list(statistics.iter_rows(named=True))
    event = _Event(
        {estimand.id: estimand for estimand in estimands},
        _arms(rows),
        precisions(rows),
        frozenset(primary_scores),
    )
    grouped: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        arm = row["group1_level"] if row["group1_reference"] is not None else None
        key = (
            row["analysis"],
            row["estimand"],
            row["variable"],
            row["context"],
            arm,
            row["group1_reference"],
        )
        grouped[key].append(row)
    ids = _unique_ids("AN", [tuple(part for part in key if part) for key in grouped])
    analyses = [
        _analysis(name, key, group, event) for name, (key, group) in zip(ids, grouped.items(), strict=True)
    ]
    simulated = "SIMULATED DATA: no participant exists. " if origin.is_simulated else ""
    return {
        "id": _id("RE", origin.study_id, f"v{origin.version}"),
        "version": origin.version,
        "name": origin.title,
        "description": (
            f"{simulated}Results of {origin.study_id}, version {origin.version}, published"
            f" {origin.published_at} UTC; written by trialhouse {origin.software_version}"
        ),
        "mainListOfContents": _contents(grouped, ids, tables, analyses),
        "terminologyExtensions": [
            _extension("TE_REASON", "AnalysisReasonEnum", REASON, "SPECIFIED IN STUDY CONFIGURATION"),
            _extension("TE_FILE", "OutputFileTypeEnum", HTML, "html"),
        ],
        "analysisSets": list(event.sets.values()),
        "dataSubsets": list(event.subsets.values()),
        "analysisGroupings": list(event.groupings.values()),
        "methods": list(event.methods.values()),
        "analyses": analyses,
        "outputs": [_output(table, origin) for table in tables],
    }


def _arms(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return the arms of each treatment variable, in the order of the results."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        for level in (row["group1_level"], row["group1_reference"]):
            if row["group1"] and level not in (None, TOTAL):
                found[row["group1"]][level] = None
    return {name: list(levels) for name, levels in found.items()}


def _analysis(
    name: str,
    key: Key,
    rows: Sequence[Row],
    event: _Event,
) -> Json:
    analysis, estimand_id, variable, context, arm, reference = key
    estimand = event.estimands.get(estimand_id or "")
    data_set = _DATA_SETS.get(analysis, _SCORES)
    method = _method(context, rows, event)
    subset = _subset(rows[0], estimand, data_set, arm, event)
    groupings = list(dict.fromkeys(grouping for row in rows for grouping, _ in _groups(row, data_set, event)))
    described = "; ".join(dict.fromkeys(row["method"] for row in rows if row["method"]))
    warned = "; ".join(dict.fromkeys(row["warning"] for row in rows if row["warning"]))
    written: Json = {
        "id": name,
        "name": _analysis_name(rows[0], context, arm, reference),
        "reason": {"sponsorTermId": REASON},
        "purpose": {"controlledTerm": _purpose(rows, estimand, event.primary_scores)},
        "methodId": method,
        "dataset": data_set,
        "variable": variable,
        "analysisSetId": _analysis_set(rows[0], estimand, event),
    }
    description = "; ".join(text for text in (described, warned and f"Note: {warned}") if text)
    if description:
        written["description"] = description
    if subset:
        written["dataSubsetId"] = subset
    if groupings:
        written["orderedGroupings"] = [
            {"order": place, "groupingId": grouping, "resultsByGroup": True}
            for place, grouping in enumerate(groupings, start=1)
        ]
    written["results"] = [_result(row, method, data_set, event) for row in rows]
    return written


def _analysis_name(row: Row, context: str, arm: str | None, reference: str | None) -> str:
    versus = f", {arm} compared with {reference}" if reference else ""
    return f"{row['variable_label'] or row['variable']}: {context.replace('_', ' ')}{versus}"


def _purpose(rows: Sequence[Row], estimand: Estimand | None, primary: frozenset[str]) -> str:
    if estimand is None or estimand.family is None:
        return "EXPLORATORY OUTCOME MEASURE"
    is_primary = estimand.score in primary and any(row["is_confirmatory"] for row in rows)
    return "PRIMARY OUTCOME MEASURE" if is_primary else "SECONDARY OUTCOME MEASURE"


def _result(
    row: Row,
    method: str,
    data_set: str,
    event: _Event,
) -> Json:
    precision = event.exact.get((row["group2_level"], row["variable"]), Precision())
    value = row["stat"] if row["stat_text"] is None else row["stat_text"]
    result: Json = {"operationId": _id(method, row["stat_name"])}
    groups = [group for _, group in _groups(row, data_set, event)]
    if groups:
        result["resultGroups"] = groups
    if value is not None:
        result["rawValue"] = value if isinstance(value, str) else number_text(value)
    result["formattedValue"] = (
        NOT_ESTIMABLE if value is None else statistic(row["stat_name"], value, precision)
    )
    return result


def _groups(row: Row, data_set: str, event: _Event) -> Iterator[tuple[str, Json]]:
    """Yield each grouping of a row and the group in it, defining those not met before."""
    if row["group1"] and row["group1_level"] is not None:
        yield _treatment(row["group1"], row["group1_level"], event)
    for name, level, of in (
        (row["group2"], row["group2_level"], data_set),
        (row["group3"], row["group3_level"], data_set),
        (row["variable"], row["variable_level"], data_set),
    ):
        if name and level is not None:
            grouping = _id("AG", of, name)
            event.groupings.setdefault(
                grouping,
                {
                    "id": grouping,
                    "name": f"{name} of {of}",
                    "groupingDataset": of,
                    "groupingVariable": name,
                    "dataDriven": True,
                },
            )
            yield grouping, {"groupingId": grouping, "groupValue": level}


def _treatment(variable: str, level: str, event: _Event) -> tuple[str, Json]:
    grouping = _id("AG", SUBJECTS, variable)
    arms = event.arms.get(variable, [])
    groups = [(arm, [arm]) for arm in arms] + [(TOTAL, list(arms))]
    if grouping not in event.groupings:
        event.groupings[grouping] = {
            "id": grouping,
            "name": f"Treatment ({variable})",
            "groupingDataset": SUBJECTS,
            "groupingVariable": variable,
            "dataDriven": False,
            "groups": [
                {
                    "id": f"{grouping}_{place}",
                    "name": name,
                    "level": 1,
                    "order": place,
                    "condition": _condition(SUBJECTS, variable, values),
                }
                for place, (name, values) in enumerate(groups, start=1)
            ],
        }
    place = next(place for place, (name, _) in enumerate(groups, start=1) if name == level)
    return grouping, {"groupingId": grouping, "groupId": f"{grouping}_{place}"}


def _condition(data_set: str, variable: str, values: Sequence[str]) -> Json:
    comparator = "EQ" if len(values) == 1 else "IN"
    return {"dataset": data_set, "variable": variable, "comparator": comparator, "value": list(values)}


def _where(conditions: Sequence[Json]) -> Json:
    """Return one condition as it is, several as a compound expression that asks for all of them."""
    if len(conditions) == 1:
        return {"condition": conditions[0]}
    clauses = [
        {"level": 2, "order": place, "condition": condition}
        for place, condition in enumerate(conditions, start=1)
    ]
    return {"compoundExpression": {"logicalOperator": "AND", "whereClauses": clauses}}


def _analysis_set(row: Row, estimand: Estimand | None, event: _Event) -> str:
    flag = str(row["population"])
    conditions = [_condition(SUBJECTS, flag.upper(), ["Y"])]
    subgroup = estimand.subgroup if estimand else {}
    conditions += [_condition(SUBJECTS, name.upper(), values) for name, values in subgroup.items()]
    name = _id("AS", flag, estimand.id) if estimand and subgroup else _id("AS", flag)
    within = f": {', '.join(value for values in subgroup.values() for value in values)}" if subgroup else ""
    event.sets.setdefault(
        name,
        {
            "id": name,
            "name": f"{POPULATIONS.get(flag.lower(), flag.upper())}{within}",
            "level": 1,
            "order": len(event.sets) + 1,
            **_where(conditions),
        },
    )
    return name


def _subset(row: Row, estimand: Estimand | None, data_set: str, arm: str | None, event: _Event) -> str | None:
    """Define the records that an analysis looks at: the estimand's score and visit, the arms compared."""
    conditions: list[Json] = []
    words: list[str] = []
    if estimand and data_set == _SCORES:
        if estimand.score and row["group2"] == "PARAMCD":
            conditions.append(_condition(data_set, "PARAMCD", [estimand.score]))
            words.append(estimand.score)
        if estimand.visit and row["group3_level"] == estimand.visit:
            conditions.append(_condition(data_set, "AVISIT", [estimand.visit]))
            words.append(estimand.visit)
    reference = row["group1_reference"]
    if arm and reference:
        conditions.append(_condition(SUBJECTS, row["group1"], [arm, reference]))
        words.append(f"{arm} and {reference}")
    if not conditions:
        return None
    name = _id("DS", *words)
    event.subsets.setdefault(
        name,
        {
            "id": name,
            "name": ", ".join(words),
            "level": 1,
            "order": len(event.subsets) + 1,
            **_where(conditions),
        },
    )
    return name


def _method(context: str, rows: Sequence[Row], event: _Event) -> str:
    """Define the method of a context, and each statistic as an operation of it."""
    name = _id("MT", context)
    method = event.methods.setdefault(
        name, {"id": name, "name": context.replace("_", " ").capitalize(), "operations": []}
    )
    known = {operation["id"] for operation in method["operations"]}
    for row in rows:
        operation = _id(name, row["stat_name"])
        if operation not in known:
            known.add(operation)
            method["operations"].append(
                {
                    "id": operation,
                    "name": row["stat_name"],
                    "label": row["stat_label"] or row["stat_name"],
                    "order": len(known),
                }
            )
    return name


def _contents(
    grouped: Mapping[Key, Sequence[Row]],
    ids: Sequence[str],
    tables: Sequence[FormattedTable],
    analyses: Sequence[Json],
) -> Json:
    """List each output with the analyses that it shows, in the order of the results."""
    names = {table.name: table for table in tables}
    by_table: dict[str, list[Json]] = defaultdict(list)
    for name, key, analysis in zip(ids, grouped, analyses, strict=True):
        items = by_table["_".join(part for part in key[:2] if part)]
        items.append({"name": analysis["name"], "level": 2, "order": len(items) + 1, "analysisId": name})
    listed = []
    for place, (name, items) in enumerate(by_table.items(), start=1):
        item: Json = {"name": name.replace("_", " ").capitalize(), "level": 1, "order": place}
        if name in names:
            item |= {"name": names[name].title, "outputId": _id("OUT", name)}
        listed.append({**item, "sublist": {"listItems": items}})
    return {"name": "Analyses and outputs", "contentsList": {"listItems": listed}}


def _output(table: FormattedTable, origin: Origin) -> Json:
    name = _id("OUT", table.name)
    return {
        "id": name,
        "version": origin.version,
        "name": f"{table.title}: {table.subtitles[0]}" if table.subtitles else table.title,
        "fileSpecifications": [
            {
                "name": f"{table.name}.rtf",
                "location": f"{table.name}.rtf",
                "fileType": {"controlledTerm": "rtf"},
            },
            {
                "name": f"{table.name}.html",
                "location": f"{table.name}.html",
                "fileType": {"sponsorTermId": HTML},
            },
        ],
        "displays": [
            {
                "order": 1,
                "display": {
                    "id": f"{name}_D",
                    "name": table.title,
                    "displayTitle": table.title,
                    "displaySections": [
                        _section("Title", f"{name}_T", [table.title, *table.subtitles]),
                        _section("Footnote", f"{name}_F", table.footnotes),
                    ],
                },
            }
        ],
    }


def _section(kind: str, name: str, texts: Sequence[str]) -> Json:
    return {
        "sectionType": kind,
        "orderedSubSections": [
            {"order": place, "subSection": {"id": f"{name}{place}", "text": text}}
            for place, text in enumerate(texts, start=1)
        ],
    }


def _extension(name: str, enumeration: str, term: str, value: str) -> Json:
    return {
        "id": name,
        "enumeration": enumeration,
        "sponsorTerms": [{"id": term, "submissionValue": value}],
    }


def _unique_ids(prefix: str, parts: Sequence[tuple[str, ...]]) -> list[str]:
    """Return an identifier for each; those that become the same without punctuation get a number."""
    made: dict[str, int] = {}
    ids = []
    for part in parts:
        name = _id(prefix, *part)
        made[name] = made.get(name, 0) + 1
        ids.append(name if made[name] == 1 else f"{name}_{made[name]}")
    return ids


@cache
def _id(*parts: str) -> str:
    return "_".join(re.sub(r"[^A-Za-z0-9.]+", "_", part).strip("_") for part in parts)
