"""The one door to Great Expectations: imported on first use, silent, offline, one context per process."""

from __future__ import annotations

import functools
import os
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

# Values are read from the judged frame itself: Great Expectations cuts its own list at 200 and turns
# integers beside nulls into floats.
_RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "exclude_unexpected_values": True,
    "include_unexpected_rows": False,
    "return_unexpected_index_query": False,
}
# The context and pandas' warning filters are shared by the threads of a process.
_lock = threading.Lock()


class GreatExpectationsError(ValueError):
    """Great Expectations could not judge: the innermost message, without its traceback."""


@dataclass(frozen=True, slots=True)
class RawOutcome:
    """What Great Expectations says: `failing` holds index labels, and None where no rows are judged."""

    is_met: bool
    rows_checked: int | None
    failing: list[int] | None
    observed: object


def validate(frame: pd.DataFrame, expectation_type: str, kwargs: dict[str, Any]) -> RawOutcome:
    """Judge one frame by one expectation; the index of the frame names its rows."""
    batch = _context_batch()
    with _lock, _quiet():
        try:
            rule = _implementation(expectation_type)(**kwargs)
            result = batch.get_batch({"dataframe": frame}).validate(rule, result_format=_RESULT_FORMAT)
        except Exception as error:
            raise GreatExpectationsError(_one_line(str(error))) from error
    if (message := _exception_message(result.exception_info)) is not None:
        raise GreatExpectationsError(_one_line(message))
    details = result.result
    return RawOutcome(
        is_met=bool(result.success),
        rows_checked=details.get("element_count"),
        failing=details.get("unexpected_index_list"),
        observed=details.get("observed_value", details.get("details")),
    )


@functools.cache
def _implementation(expectation_type: str) -> Any:
    from great_expectations.expectations.registry import get_expectation_impl

    return get_expectation_impl(expectation_type)


def _context_batch() -> Any:
    with _lock:
        return _make_context_batch()


@functools.cache
def _make_context_batch() -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with _quiet():
        import great_expectations
        from great_expectations.data_context.types.base import ProgressBarsConfig

        context = great_expectations.get_context(mode="ephemeral")
    context.enable_analytics(enable=False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    asset = context.data_sources.add_pandas("judge").add_dataframe_asset("table")
    return asset.add_batch_definition_whole_dataframe("rows")


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # On import: a parser that Great Expectations depends on names a module by its old name.
        warnings.filterwarnings("ignore", "module 'sre_", DeprecationWarning)
        # A regular expression with groups is only searched, never extracted.
        warnings.filterwarnings("ignore", "This pattern is interpreted as a regular expression", UserWarning)
        yield


def _exception_message(info: dict[str, Any] | None) -> str | None:
    """Find the message in either of the two shapes: one exception, or one per metric."""
    if not info:
        return None
    if "raised_exception" in info:
        return str(info["exception_message"]) if info["raised_exception"] else None
    for nested in info.values():
        if isinstance(nested, dict) and nested.get("raised_exception"):
            return str(nested.get("exception_message"))
    return None


def _one_line(message: str) -> str:
    return " ".join(message.split())
