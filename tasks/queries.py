"""Questions that the command and the artifacts put to a lake."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from warehouse.lake import LAKE, open_lake, tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    import duckdb

    Result = TypeVar("Result")


def read(
    study_id: str, question: Callable[[duckdb.DuckDBPyConnection], Result], version: int | None = None
) -> Result:
    """Put a question to the study's lake, at its newest version or at the one named."""
    with open_lake(study_id).read(version) as connection:
        connection.execute(f"use {LAKE}")
        return question(connection)


def all_checks(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Return the newest outcome of every expectation, the failed and severe first."""
    return _ask(
        connection,
        "meta.check_result",
        """
        select table_name, expectation, column_name, severity, is_met, rows_in, rows_failing, rows_set_aside,
            rows_kept, observed, notes
        from meta.current_check_result
        order by is_met, array_position(['critical', 'set_aside', 'warning'], severity),
            table_name, expectation
        """,
    )


def failed_checks(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Return the expectations not met, each with the first row that fails it."""
    return _ask(
        connection,
        "meta.check_result",
        """
        select result.severity, result.table_name, result.expectation, result.column_name, result.rows_in,
            result.rows_failing, result.observed, result.notes,
            first(
                coalesce(failure.source_file || ' row ' || failure.source_row, failure.row_key)
                order by failure.source_file, failure.source_row
            ) as first_at
        from meta.current_check_result as result
        left join meta.check_failure as failure
            on failure.run_id = result.run_id and failure.table_name = result.table_name
            and failure.expectation = result.expectation and failure.notes = result.notes
            and failure.column_name is not distinct from result.column_name
        where not result.is_met or result.rows_failing > 0
        group by all
        order by all
        """,
    )


def failing_rows(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Return every failing row of the newest judgement of each table, with where it came from."""
    return _ask(
        connection,
        "meta.check_failure",
        """
        select failure.severity, failure.disposition, failure.table_name, failure.column_name, failure.value,
            failure.source_file, failure.source_row, failure.row_key, failure.expectation, failure.notes
        from meta.check_failure as failure
        semi join meta.current_check_result using (run_id, table_name)
        order by array_position(['critical', 'set_aside', 'warning'], severity),
            table_name, source_file, source_row
        """,
    )


def primary_result(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Return the flagged test with the estimates of the same variable."""
    return _ask(
        connection,
        "results.primary_endpoint",
        """
        select statistic_label, paramcd, avisit, variable, n, estimate, ci_low, ci_high, p_value, method,
            is_primary
        from results.primary_endpoint
        where is_primary or (kind <> 'summary' and variable in (
            select variable from results.primary_endpoint where is_primary
        )) or statistic in ('mean', 'sd')
        order by is_primary desc, variable desc, statistic
        """,
    )


def top_genes(connection: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Return the genes of each contrast with the smallest adjusted p-value."""
    return _ask(
        connection,
        "results.differential_expression",
        """
        select contrast, symbol, feature_id, base_mean, log2_fold_change, p_value, p_adjusted, status
        from results.differential_expression where p_value is not null
        qualify row_number() over (
            partition by contrast order by p_adjusted nulls last, p_value, feature_id
        ) <= 20
        order by contrast, p_adjusted nulls last, p_value, feature_id
        """,
    )


def _ask(connection: duckdb.DuckDBPyConnection, table: str, query: str) -> pl.DataFrame:
    """Ask only where the table exists: a study need not have every result."""
    return connection.sql(query).pl() if table in tables(connection) else pl.DataFrame()
