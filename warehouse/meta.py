"""The tables a lake keeps about itself: what ran, arrived, failed, was corrected, came from what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from warehouse.expression_plan import ExpressionContrast, ExpressionDesign
    from warehouse.study import Estimand, Study, Visit


@dataclass(frozen=True, slots=True)
class Ledger:
    """An append-only table of `meta`: its comment, and type and comment of each column."""

    comment: str
    columns: Mapping[str, tuple[str, str]]

    def frame(self, rows: Iterable[Mapping[str, object]]) -> pl.DataFrame:
        schema = {name: _POLARS[sql_type] for name, (sql_type, _) in self.columns.items()}
        return pl.DataFrame(list(rows), schema=schema, orient="row")


_POLARS: Mapping[str, pl.DataType] = {
    "VARCHAR": pl.String(),
    "BIGINT": pl.Int64(),
    "DOUBLE": pl.Float64(),
    "BOOLEAN": pl.Boolean(),
    "TIMESTAMP": pl.Datetime("us"),
}

LEDGERS: Mapping[str, Ledger] = {
    "run": Ledger(
        "Every stage that published or was stopped. grain: one row per run_id, stage",
        {
            "run_id": ("VARCHAR", "one `trialhouse run` or stage"),
            "stage": ("VARCHAR", "ingest, build or analyze; upgrade, repair or erasure"),
            "version": ("BIGINT", "version of the lake that the stage published; orders the stages"),
            "status": ("VARCHAR", "published, or stopped by a critical expectation"),
            "started_at": ("TIMESTAMP", "UTC"),
            "finished_at": ("TIMESTAMP", "UTC"),
            "author": ("VARCHAR", "TRIALHOUSE_AUTHOR, else the user's name"),
            "flow_run": ("VARCHAR", "name of the Prefect flow run"),
            "code_version": ("VARCHAR", "version and hash of the code, SQL and suites that ran"),
            "parameters": ("VARCHAR", "JSON: what the stage was called with"),
            "input_version": ("BIGINT", "version of the lake that the stage read"),
            "message": ("VARCHAR", "what happened, in a sentence"),
        },
    ),
    "source_file": Ledger(
        "Every delivery of a file. grain: one row per run_id, source, source_file",
        {
            "run_id": ("VARCHAR", "the run that landed it"),
            "source": ("VARCHAR", "source of study.toml; the rows are in raw.<source>"),
            "source_file": ("VARCHAR", "path below the data root; `archive.zip!member` inside a zip"),
            "status": ("VARCHAR", "delivered, or withdrawn when a delivery no longer holds the file"),
            "format": ("VARCHAR", "reader that read it"),
            "sha256": ("VARCHAR", "of the file's bytes"),
            "bytes": ("BIGINT", "size of the file"),
            "rows": ("BIGINT", "rows landed"),
            "columns": ("VARCHAR", "JSON list of the delivered columns"),
            "encoding": ("VARCHAR", "detected or declared; null for binary formats"),
            "separator": ("VARCHAR", "detected or declared; null where the format has none"),
            "has_bom": ("BOOLEAN", "whether the file began with a byte-order mark"),
            "remarks": ("VARCHAR", "what was odd about it"),
            "loaded_at": ("TIMESTAMP", "UTC; equals _loaded_at of its rows"),
            "version": ("BIGINT", "version of the lake that it landed in; orders the deliveries"),
            "content": ("VARCHAR", "hash of the rows landed"),
        },
    ),
    "check_result": Ledger(
        "Every outcome of every expectation."
        " grain: one row per run_id, table_name, expectation, column_name, notes",
        {
            "run_id": ("VARCHAR", "the run that judged the table"),
            "stage": ("VARCHAR", "stage of that run"),
            "table_name": ("VARCHAR", "the table judged"),
            "expectation": ("VARCHAR", "type of the Great Expectations expectation, or column_type"),
            "column_name": ("VARCHAR", "column or columns it looks at"),
            "severity": ("VARCHAR", "critical stops the stage, set_aside removes rows, warning notes"),
            "is_met": ("BOOLEAN", "whether the table meets it"),
            "rows_in": ("BIGINT", "rows of the table before the gate: rows_kept + rows_set_aside"),
            "rows_failing": ("BIGINT", "rows that fail this expectation"),
            "rows_set_aside": ("BIGINT", "rows of the table set aside by any expectation"),
            "rows_kept": ("BIGINT", "rows of the table after the gate"),
            "observed": ("VARCHAR", "what was seen"),
            "notes": ("VARCHAR", "why the expectation exists"),
        },
    ),
    "check_failure": Ledger(
        "Every failing row, kept or set aside. grain: one row per run_id, table_name, expectation, row",
        {
            "run_id": ("VARCHAR", "the run that judged the table"),
            "table_name": ("VARCHAR", "the table judged"),
            "expectation": ("VARCHAR", "the expectation that the row fails"),
            "column_name": ("VARCHAR", "the column that holds the value"),
            "value": ("VARCHAR", "the value found"),
            "severity": ("VARCHAR", "as in check_result"),
            "disposition": ("VARCHAR", "kept, set aside, or stopped"),
            "source_file": (
                "VARCHAR",
                "delivered file of the row; null for tables with no single source row",
            ),
            "source_row": ("BIGINT", "row in that file as a spreadsheet shows it"),
            "row_key": (
                "VARCHAR",
                "what identifies the row where it has no source row, or shares it with others",
            ),
            "notes": ("VARCHAR", "why the expectation exists"),
        },
    ),
    "quarantine": Ledger(
        "Rows set aside, whole. grain: one row per run_id, table_name, source_file, source_row",
        {
            "run_id": ("VARCHAR", "the run that set it aside"),
            "table_name": ("VARCHAR", "the table that it is missing from"),
            "source_file": ("VARCHAR", "delivered file of the row"),
            "source_row": ("BIGINT", "row in that file as a spreadsheet shows it"),
            "reason": ("VARCHAR", "the expectations that it fails"),
            "row": ("VARCHAR", "JSON of the whole row"),
        },
    ),
    "correction": Ledger(
        "Corrections of source errors as applied. grain: one row per run_id, correction_id, source row",
        {
            "run_id": ("VARCHAR", "the run that applied it"),
            "correction_id": ("VARCHAR", "id in corrections.toml"),
            "source": ("VARCHAR", "source corrected"),
            "column_name": ("VARCHAR", "column corrected"),
            "old_value": ("VARCHAR", "as delivered"),
            "new_value": ("VARCHAR", "as corrected; null when only proposed"),
            "reason": ("VARCHAR", "why"),
            "evidence": ("VARCHAR", "what the correction rests on"),
            "status": ("VARCHAR", "confirmed (applied) or proposed (only listed)"),
            "source_file": ("VARCHAR", "delivered file of the row"),
            "source_row": ("BIGINT", "row in that file as a spreadsheet shows it"),
        },
    ),
    "lineage": Ledger(
        "What each table was made from. grain: one row per run_id, target, input",
        {
            "run_id": ("VARCHAR", "the run that made the target"),
            "target": ("VARCHAR", "table made"),
            "input": (
                "VARCHAR",
                "table read, as study:table in another lake; null for a target that reads none",
            ),
            "input_content": ("VARCHAR", "hash of the input's rows as read"),
            "input_version": ("BIGINT", "version of the lake that was read"),
            "fingerprint": (
                "VARCHAR",
                "hash of code, parameters, suites and inputs: unchanged = not made again",
            ),
            "content": ("VARCHAR", "hash of the target's rows"),
            "rows": ("BIGINT", "rows of the target"),
            "parameters": ("VARCHAR", "JSON of the parameters, for an analysis"),
        },
    ),
    "format": Ledger(
        "The shape that the lake has had, from which version on. grain: one row per format",
        {
            "format": ("BIGINT", "number of the shape of ledgers and views"),
            "version": ("BIGINT", "first version of the lake in that shape"),
            "change": ("VARCHAR", "what changed"),
            "code_version": ("VARCHAR", "version and hash of the code that made the change"),
            "duckdb_version": ("VARCHAR", "version of DuckDB that made the change"),
            "changed_at": ("TIMESTAMP", "UTC"),
        },
    ),
    "erasure": Ledger(
        "Every erasure of a participant from all versions. grain: one row per run_id",
        {
            "run_id": ("VARCHAR", "the run that erased"),
            "version": ("BIGINT", "version of the lake that the erasure published"),
            "erased_at": ("TIMESTAMP", "UTC"),
            "author": ("VARCHAR", "TRIALHOUSE_AUTHOR, else the user's name"),
            "reason": ("VARCHAR", "why, as given"),
            "rows": ("BIGINT", "rows erased, over all tables and versions"),
            "files": ("BIGINT", "data files written again without the participant"),
            "salt": ("VARCHAR", "what stands before each identifier that is hashed"),
            "keys": ("VARCHAR", "JSON list of SHA-256 of the identifiers, none of which may land again"),
            "subject_keys": ("VARCHAR", "likewise, of those that count in columns of participants only"),
        },
    ),
}

# The shape of a lake: its ledgers and views. A change of it is a migration, with a number above the last.
FORMAT = 3

# What SQL models may know of study.toml.
STUDY_TABLES = (
    "meta.study",
    "meta.arm",
    "meta.visit",
    "meta.score",
    "meta.score_visit",
    "meta.ae_query",
    "meta.estimand",
    "meta.expression_design",
    "meta.expression_contrast",
)

# The newest word on each file and on each table that was ever judged.
VIEWS: Mapping[str, str] = {
    "current_source_file": """
        select * from meta.source_file
        qualify row_number() over (partition by source, source_file order by version desc) = 1
            and status = 'delivered'
    """,
    "current_check_result": """
        select check_result.* from meta.check_result
        join meta.run using (run_id, stage)
        qualify run.version = max(run.version) over (partition by table_name)
    """,
}


_VISIT: Mapping[str, pl.DataType] = {
    "avisit": pl.String(),
    "avisitn": pl.Float64(),
    "target_day": pl.Int64(),
    "window_start_day": pl.Int64(),
    "window_end_day": pl.Int64(),
    "is_baseline": pl.Boolean(),
}
_ESTIMAND = (
    "estimand", "title", "population", "subgroup", "treatment", "arms", "reference", "paramcd", "avisit",
    "variable", "imputation", "intercurrent_events", "summary", "family",
)  # fmt: skip


_EXPRESSION_DESIGN: Mapping[str, pl.DataType] = dict.fromkeys(
    ("design", "formula", "group_columns", "samples", "engine", "block"), pl.String()
)
_EXPRESSION_CONTRAST: Mapping[str, pl.DataType] = {
    "contrast": pl.String(),
    "place": pl.Int64(),
    **dict.fromkeys(("title", "design", "variable", "level", "reference", "level_weights"), pl.String()),
    "is_slope": pl.Boolean(),
    "without": pl.String(),
}


def _visit(visit: Visit) -> dict[str, object]:
    return {
        "avisit": visit.avisit,
        "avisitn": visit.avisitn,
        "target_day": visit.target_day,
        "window_start_day": visit.window[0],
        "window_end_day": visit.window[1],
        "is_baseline": visit.baseline,
    }


def _estimand(estimand: Estimand) -> dict[str, str | None]:
    subgroup = "; ".join(f"{name}: {', '.join(values)}" for name, values in estimand.subgroup.items())
    events = "; ".join(
        f"{event.event}: {event.strategy}" + (f" ({event.handling})" if event.handling else "")
        for event in estimand.intercurrent_events
    )
    return {
        **estimand.model_dump(include={"title", "population", "treatment", "reference", "variable"}),
        **estimand.model_dump(include={"imputation", "summary", "family"}),
        "estimand": estimand.id,
        "subgroup": subgroup or None,
        "arms": "; ".join(estimand.arms) or None,
        "paramcd": estimand.score,
        "avisit": estimand.visit,
        "intercurrent_events": events or None,
    }


def _expression_design(design: ExpressionDesign) -> dict[str, str | None]:
    samples = "; ".join(f"{name}: {', '.join(values)}" for name, values in design.samples.items())
    return {
        "design": design.id,
        "formula": design.formula.strip(),
        "group_columns": ", ".join(design.group) or None,
        "samples": samples or None,
        "engine": design.engine,
        "block": design.block,
    }


def _expression_contrast(contrast: ExpressionContrast, place: int) -> dict[str, object]:
    levels = "; ".join(f"{level}: {weight:g}" for level, weight in contrast.level_weights.items())
    return {
        "contrast": contrast.id,
        "place": place,
        "title": contrast.title,
        "design": contrast.design,
        "variable": contrast.variable if levels or contrast.slope else None,
        "level": contrast.level,
        "reference": contrast.reference,
        "level_weights": levels or None,
        "is_slope": contrast.slope,
        "without": ", ".join(contrast.without) or None,
    }


def study_tables(study: Study) -> dict[str, pl.DataFrame]:
    """Return what SQL models may know of study.toml, as the tables `meta.study`, `meta.visit` ..."""
    design = study.design
    return {
        "study": pl.DataFrame(
            [
                {
                    "studyid": study.id,
                    "title": study.study.title,
                    "is_simulated": study.study.simulated,
                    "kind": design.kind,
                    "visit_assignment": design.visit_assignment,
                }
            ]
        ),
        "arm": pl.DataFrame(
            [arm.model_dump() for arm in design.arms],
            schema={"armcd": pl.String, "arm": pl.String, "dose": pl.Float64},
        ),
        "visit": pl.DataFrame([_visit(visit) for visit in design.visits], schema=_VISIT),
        "score_visit": pl.DataFrame(
            [
                {"paramcd": score.paramcd, **_visit(visit)}
                for score in design.scores
                for visit in score.visits or design.visits
            ],
            schema={"paramcd": pl.String(), **_VISIT},
        ),
        "ae_query": pl.DataFrame(
            [
                {"paramcd": query.paramcd, "name": query.name, "rule": rule, "text": text.upper()}
                for query in design.ae_queries
                for rule in ("contains", "soc", "excluding")
                for text in getattr(query, rule)
            ],
            schema={"paramcd": pl.String, "name": pl.String, "rule": pl.String, "text": pl.String},
        ),
        "estimand": pl.DataFrame(
            [_estimand(estimand) for estimand in study.estimands], schema=dict.fromkeys(_ESTIMAND, pl.String)
        ),
        "expression_design": pl.DataFrame(
            [_expression_design(design) for design in study.expression.designs], schema=_EXPRESSION_DESIGN
        ),
        "expression_contrast": pl.DataFrame(
            [
                _expression_contrast(contrast, place)
                for place, contrast in enumerate(study.expression.contrasts, start=1)
            ],
            schema=_EXPRESSION_CONTRAST,
        ),
        "score": pl.DataFrame(
            [
                {
                    "paramcd": score.paramcd,
                    "param": score.param,
                    "unit": score.unit,
                    "range_low": score.range[0],
                    "range_high": score.range[1],
                    "better": score.better,
                    "is_primary": score.primary,
                }
                for score in design.scores
            ],
            schema={
                "paramcd": pl.String,
                "param": pl.String,
                "unit": pl.String,
                "range_low": pl.Float64,
                "range_high": pl.Float64,
                "better": pl.String,
                "is_primary": pl.Boolean,
            },
        ),
    }
