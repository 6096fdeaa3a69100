"""The gate between making a table and publishing it: judge, set aside, record, stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from expectations.suite import check_types, named_columns, referenced_table
from warehouse.errors import StudyError
from warehouse.lake import as_json
from warehouse.masking import MASK, mask
from warehouse.quoting import identifier, qualified

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from expectations.judge import Outcome, Verdict
    from expectations.suite import Suite
    from tasks.stage import Stage

SOURCE = ("_source_file", "_source_row")
DISPOSITION: Mapping[str, str] = {"critical": "stopped", "set_aside": "set aside", "warning": "kept"}
KEY_COLUMNS = 6


def references(suite: Suite | None) -> frozenset[str]:
    """Return the other tables that a suite looks at: they too decide what becomes of the rows."""
    if suite is None:
        return frozenset()
    named = (referenced_table(expectation.kwargs) for expectation in suite.expectations)
    return frozenset(reference[0] for reference in named if reference is not None)


def judge_table(stage: Stage, table: str, *, reference_tables: Collection[str]) -> bool:
    """Judge a table of the workbench by its suite; return whether it may be published.

    Rows that are to be set aside leave the table and are kept whole in `meta.quarantine`. Every outcome
    and every failing row is recorded, with the source row where the table carries it.
    """
    suite = stage.suites.get(table)
    if suite is None:
        return True
    # Imported late: Great Expectations takes seconds to load and many runs find nothing to judge.
    from expectations.judge import judge

    frame = stage.connection.sql(f"select rowid as _rowid, * from {qualified(table)} order by rowid").pl()
    rowid = frame.get_column("_rowid")
    frame = frame.drop("_rowid")
    hidden = frozenset(stage.identifiers.columns(table, frame.columns))

    unmade = references(suite) - set(reference_tables)
    if strange := sorted(unmade - stage.suites.keys()):
        raise StudyError(f"suite {table}: value_set reads {', '.join(strange)}: there is no such table")
    if unmade:
        suite = _without(stage, suite, unmade, frame.height)

    def reference(name: str, column: str) -> list[object]:
        present = stage.connection.sql(f"select * from {qualified(name)} limit 0").columns
        if column.lower() not in map(str.lower, present):
            raise StudyError(
                f"suite {table}: value_set reads {column!r} of {name}: it has {', '.join(present)}"
            )
        rows = stage.connection.execute(
            f"select distinct {identifier(column)} from {qualified(name)}"
        ).fetchall()
        return [value for (value,) in rows]

    try:
        _check_suites(stage)
        verdict = judge(frame, suite, reference, dict.fromkeys(hidden, MASK))
    except ValueError as error:  # a suite that cannot be judged is an error, never a pass
        raise StudyError(mask(str(error))) from error
    _record(stage, table, frame, verdict, hidden)
    if verdict.set_aside:
        gone = pl.DataFrame({"gone": rowid.gather(list(verdict.set_aside))})
        stage.connection.register("gone_rows", gone)
        stage.connection.execute(
            f"delete from {qualified(table)} where rowid in (select gone from gone_rows)"
        )
        stage.connection.unregister("gone_rows")
    if verdict.is_stopped:
        failed = [
            f"{outcome.expectation.type} ({outcome.observed}; {outcome.expectation.notes})"
            for outcome in verdict.outcomes
            if outcome.expectation.severity == "critical" and not outcome.is_met
        ]
        stage.stopped[table] = mask("; ".join(failed)) + _first_failure(stage, verdict, frame, hidden)
        return False
    return True


def _without(stage: Stage, suite: Suite, unmade: Collection[str], rows: int) -> Suite:
    """Leave out, and say so, the rules that compare with a table which this study does not make."""
    kept = []
    for expectation in suite.expectations:
        named = referenced_table(expectation.kwargs)
        if named is None or named[0] not in unmade:
            kept.append(expectation)
            continue
        record_outcome(
            stage,
            suite.name,
            expectation=expectation.type,
            column=", ".join(named_columns(expectation.kwargs)) or None,
            severity="warning",
            observed=f"not judged: this study makes no {named[0]}",
            notes=expectation.notes,
            rows_in=rows,
            rows_set_aside=0,
            failures=(),
        )
    return suite.model_copy(update={"expectations": tuple(kept)})


def _check_suites(stage: Stage) -> None:
    """Refuse a misspelt expectation in any suite before the first table is judged, not after the tenth."""
    if not stage.are_suites_checked:
        for suite in stage.suites.values():
            check_types(suite)
        stage.are_suites_checked = True


def record_outcome(
    stage: Stage,
    table: str,
    *,
    expectation: str,
    column: str | None,
    severity: str,
    observed: str,
    notes: str,
    rows_in: int,
    rows_set_aside: int,
    failures: Iterable[Mapping[str, object]],
    is_met: bool | None = None,
) -> None:
    """Record one outcome and its failing rows in the ledgers."""
    failures = list(failures)
    stage.ledgers["check_result"].append(
        {
            "run_id": stage.run.run_id,
            "stage": stage.name,
            "table_name": table,
            "expectation": expectation,
            "column_name": column,
            "severity": severity,
            "is_met": not failures if is_met is None else is_met,
            "rows_in": rows_in,
            "rows_failing": len(failures),
            "rows_set_aside": rows_set_aside,
            "rows_kept": rows_in - rows_set_aside,
            "observed": observed,
            "notes": notes,
        }
    )
    stage.ledgers["check_failure"] += [
        {
            "run_id": stage.run.run_id,
            "table_name": table,
            "expectation": expectation,
            "severity": severity,
            "disposition": DISPOSITION[severity],
            "notes": notes,
            **failure,
        }
        for failure in failures
    ]


def _record(stage: Stage, table: str, frame: pl.DataFrame, verdict: Verdict, hidden: Collection[str]) -> None:
    reasons: dict[int, list[str]] = {}
    for outcome in verdict.outcomes:
        expectation = outcome.expectation
        record_outcome(
            stage,
            table,
            expectation=expectation.type,
            column=", ".join(_columns(outcome)) or None,
            severity=expectation.severity,
            observed=outcome.observed,
            notes=expectation.notes,
            rows_in=frame.height,
            rows_set_aside=len(verdict.set_aside),
            failures=_failures(frame, outcome, hidden),
            is_met=outcome.is_met,
        )
        if expectation.severity == "set_aside":
            for position in outcome.failing["position"]:
                reasons.setdefault(position, []).append(f"{expectation.type}: {expectation.notes}")
    for position in verdict.set_aside:
        row = frame.row(position, named=True)
        stage.ledgers["quarantine"].append(
            {
                "run_id": stage.run.run_id,
                "table_name": table,
                "source_file": row.get("_source_file"),
                "source_row": row.get("_source_row"),
                "reason": "; ".join(reasons.get(position, [])),
                "row": _as_json({name: value for name, value in row.items() if name not in SOURCE}, hidden),
            }
        )


def _columns(outcome: Outcome) -> list[str]:
    kwargs = outcome.expectation.kwargs
    single = [kwargs[key] for key in ("column", "column_A", "column_B") if key in kwargs]
    return [*single, *kwargs.get("column_list", ())]


def _failures(frame: pl.DataFrame, outcome: Outcome, hidden: Collection[str]) -> list[dict[str, object]]:
    """Point each failing row to its source row, and to its key where that says too little or is missing."""
    failing = outcome.failing
    if failing.is_empty():
        return []
    rows = frame[failing["position"].to_list()]
    has_source = all(name in frame.columns for name in SOURCE)
    source_file = rows[SOURCE[0]].to_list() if has_source else [None] * rows.height
    source_row = rows[SOURCE[1]].to_list() if has_source else [None] * rows.height
    keys: list[str | None] = list(_keys(rows, hidden))
    if has_source:
        # One delivered row may be many rows here, as a line of a matrix is: the key says which of them.
        shares = frame.select(SOURCE).is_duplicated()[failing["position"].to_list()]
        keys = [key if is_shared else None for key, is_shared in zip(keys, shares, strict=True)]
    return [
        {"column_name": column, "value": value, "source_file": file, "source_row": row, "row_key": key}
        for column, value, file, row, key in zip(
            failing["column"], failing["value"], source_file, source_row, keys, strict=True
        )
    ]


def _keys(rows: pl.DataFrame, hidden: Collection[str]) -> list[str]:
    identifying = [
        name
        for name, kind in rows.schema.items()
        if kind in (pl.String, pl.Int64, pl.Int32, pl.Date) and name not in SOURCE
    ]
    # Column by column: a delivered name such as `^.*$` would choose others if it were selected by name.
    columns = {name: rows.get_column(name).to_list() for name in identifying[:KEY_COLUMNS]}
    return [
        _as_json({name: values[row] for name, values in columns.items()}, hidden)
        for row in range(rows.height)
    ]


def _as_json(row: Mapping[str, object], hidden: Collection[str]) -> str:
    """Write a row with a mask in the place of what identifies; where nothing stands, nothing is masked."""
    return as_json(
        {name: MASK if name in hidden and value is not None else value for name, value in row.items()}
    )


def _first_failure(stage: Stage, verdict: Verdict, frame: pl.DataFrame, hidden: Collection[str]) -> str:
    for outcome in verdict.outcomes:
        if outcome.expectation.severity == "critical" and not outcome.is_met:
            for failure in stage.identifiers.mask_rows(
                "check_failure", _failures(frame, outcome, hidden)[:1]
            ):
                place = (
                    f"{failure['source_file']} row {failure['source_row']}"
                    if failure["source_file"]
                    else failure["row_key"]
                )
                return f"; first: {place}, {failure['column_name']} = {failure['value']}"
    return ""
