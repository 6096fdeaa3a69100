"""What a suite may say: which expectations of Great Expectations, with which arguments.

A list of what is allowed, not of what is forbidden: an expectation that a new version adds is refused until
somebody has read what it does with a stranger's arguments and a stranger's values.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expectations.condition import ConditionError, read_condition
from expectations.pattern import PatternError, check_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping


@dataclass(frozen=True, slots=True)
class Form:
    """The arguments of an expectation, and whether it judges single rows."""

    needs: tuple[str, ...]
    takes: tuple[str, ...]
    is_row_level: bool


def _of_rows(*needs: str, takes: tuple[str, ...] = ()) -> Form:
    return Form(needs, (*takes, "mostly", "row_condition"), is_row_level=True)


def _of_column(*needs: str, takes: tuple[str, ...] = ()) -> Form:
    return Form(("column", *needs), (*takes, "row_condition"), is_row_level=False)


def _of_table(*needs: str, takes: tuple[str, ...] = ()) -> Form:
    return Form(needs, takes, is_row_level=False)


_BOUNDS = ("min_value", "max_value", "strict_min", "strict_max")

ALLOWED: Mapping[str, Form] = {
    "expect_column_distinct_values_to_be_in_set": _of_column("value_set"),
    "expect_column_distinct_values_to_contain_set": _of_column("value_set"),
    "expect_column_distinct_values_to_equal_set": _of_column("value_set"),
    "expect_column_max_to_be_between": _of_column(takes=_BOUNDS),
    "expect_column_mean_to_be_between": _of_column(takes=_BOUNDS),
    "expect_column_median_to_be_between": _of_column(takes=_BOUNDS),
    "expect_column_min_to_be_between": _of_column(takes=_BOUNDS),
    "expect_column_most_common_value_to_be_in_set": _of_column("value_set", takes=("ties_okay",)),
    "expect_column_pair_values_a_to_be_greater_than_b": _of_rows(
        "column_A", "column_B", takes=("or_equal", "ignore_row_if")
    ),
    "expect_column_pair_values_to_be_equal": _of_rows("column_A", "column_B", takes=("ignore_row_if",)),
    "expect_column_pair_values_to_be_in_set": _of_rows(
        "column_A", "column_B", "value_pairs_set", takes=("ignore_row_if",)
    ),
    "expect_column_proportion_of_non_null_values_to_be_between": _of_column(takes=_BOUNDS),
    "expect_column_proportion_of_unique_values_to_be_between": _of_column(takes=_BOUNDS),
    "expect_column_quantile_values_to_be_between": _of_column("quantile_ranges"),
    "expect_column_stdev_to_be_between": _of_column(takes=_BOUNDS),
    "expect_column_sum_to_be_between": _of_column(takes=_BOUNDS),
    "expect_column_to_exist": _of_table("column", takes=("column_index",)),
    "expect_column_unique_value_count_to_be_between": _of_column(takes=_BOUNDS),
    "expect_column_value_lengths_to_be_between": _of_rows("column", takes=_BOUNDS),
    "expect_column_value_lengths_to_equal": _of_rows("column", "value"),
    "expect_column_value_z_scores_to_be_less_than": _of_rows("column", "threshold", "double_sided"),
    "expect_column_values_to_be_between": _of_rows("column", takes=_BOUNDS),
    "expect_column_values_to_be_decreasing": _of_rows("column", takes=("strictly",)),
    "expect_column_values_to_be_in_set": _of_rows("column", "value_set"),
    "expect_column_values_to_be_increasing": _of_rows("column", takes=("strictly",)),
    "expect_column_values_to_be_null": _of_rows("column"),
    "expect_column_values_to_be_unique": _of_rows("column"),
    "expect_column_values_to_match_regex": _of_rows("column", "regex"),
    "expect_column_values_to_match_regex_list": _of_rows("column", "regex_list", takes=("match_on",)),
    "expect_column_values_to_not_be_in_set": _of_rows("column", "value_set"),
    "expect_column_values_to_not_be_null": _of_rows("column"),
    "expect_column_values_to_not_be_outliers": _of_rows("column", takes=("method", "multiplier")),
    "expect_column_values_to_not_match_regex": _of_rows("column", "regex"),
    "expect_column_values_to_not_match_regex_list": _of_rows("column", "regex_list"),
    "expect_compound_columns_to_be_unique": _of_rows("column_list", takes=("ignore_row_if",)),
    "expect_multicolumn_sum_to_equal": _of_rows("column_list", "sum_total", takes=("ignore_row_if",)),
    "expect_multicolumn_values_to_be_equal": _of_rows("column_list", takes=("ignore_row_if",)),
    "expect_select_column_values_to_be_unique_within_record": _of_rows(
        "column_list", takes=("ignore_row_if",)
    ),
    "expect_table_column_count_to_be_between": _of_table(takes=("min_value", "max_value")),
    "expect_table_column_count_to_equal": _of_table("value"),
    "expect_table_columns_to_match_ordered_list": _of_table("column_list"),
    "expect_table_columns_to_match_set": _of_table("column_set", takes=("exact_match",)),
    "expect_table_row_count_to_be_between": _of_table(takes=(*_BOUNDS, "row_condition")),
    "expect_table_row_count_to_equal": _of_table("value", takes=("row_condition",)),
}

_SQL = "it runs SQL of its own: write a model in sql/ and judge its table"
_LIKE = "it needs a database: expect_column_values_to_match_regex says the same"
_TYPES = "it looks names up in pandas; the type of a column is that of study.toml or SQL"
_PARSER = "it parses each value by code that can be made to run long: expect_column_values_to_match_regex"
REFUSED: Mapping[str, str] = {
    "expect_column_kl_divergence_to_be_less_than": "a comparison of distributions is an analysis",
    "expect_column_type_to_be": _TYPES,
    "expect_column_values_to_be_dateutil_parseable": _PARSER,
    "expect_column_values_to_be_in_type_list": _TYPES,
    "expect_column_values_to_be_json_parseable": _PARSER,
    "expect_column_values_to_be_of_type": _TYPES,
    "expect_column_values_to_match_json_schema": "a schema can name files and addresses to be read",
    "expect_column_values_to_match_like_pattern": _LIKE,
    "expect_column_values_to_match_like_pattern_list": _LIKE,
    "expect_column_values_to_match_strftime_format": _PARSER,
    "expect_column_values_to_not_match_like_pattern": _LIKE,
    "expect_column_values_to_not_match_like_pattern_list": _LIKE,
    "expect_query_results_to_match_comparison": _SQL,
    "expect_table_row_count_to_equal_other_table": _SQL,
    "unexpected_rows_expectation": _SQL,
}

_TABLE = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_IGNORABLE = (
    "both_values_are_missing", "either_value_is_missing", "neither",
    "all_values_are_missing", "any_value_is_missing", "never",
)  # fmt: skip


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return _is_whole(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_truth(value: object) -> bool:
    return isinstance(value, bool)


def _is_single(value: object) -> bool:
    return isinstance(value, str | bool) or _is_number(value)


def _is_list(value: object, of: Callable[[object], bool] = _is_text) -> bool:
    return isinstance(value, list) and bool(value) and all(map(of, value))


def _is_value_set(value: object) -> bool:
    if isinstance(value, dict):
        return (
            set(value) == {"table", "column"}
            and all(map(_is_text, value.values()))
            and _TABLE.fullmatch(value["table"]) is not None
        )
    return value == [] or _is_list(value, _is_single)


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and _is_number(value) and 0 <= value <= 1


def _is_pair(value: object, of: Callable[[object], bool] = _is_single) -> bool:
    is_two = isinstance(value, list) and len(value) == 2  # noqa: PLR2004
    return is_two and _is_list(value, lambda one: one is None or of(one))


def _are_ranges(value: object) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"quantiles", "value_ranges"}
        and _is_list(value["quantiles"], _is_share)
        and _is_list(value["value_ranges"], lambda bounds: _is_pair(bounds, _is_number))
    )


def _one_of(*words: str) -> tuple[str, Callable[[object], bool]]:
    return f"one of {', '.join(words)}", lambda value: value in words


_COLUMN = ("the name of a column", _is_text)
_BOUND = ("a number, or a date as text", lambda value: _is_text(value) or _is_number(value))
_TRUTH = ("true or false", _is_truth)
_ARGUMENTS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "column": _COLUMN,
    "column_A": _COLUMN,
    "column_B": _COLUMN,
    "column_index": ("a whole number", _is_whole),
    "column_list": ("a list of columns", _is_list),
    "column_set": ("a list of columns", _is_list),
    "double_sided": _TRUTH,
    "exact_match": _TRUTH,
    "ignore_row_if": _one_of(*_IGNORABLE),
    "match_on": _one_of("any", "all"),
    "max_value": _BOUND,
    "method": _one_of("iqr", "std"),
    "min_value": _BOUND,
    "mostly": ("a number from 0 to 1", _is_share),
    "multiplier": ("a number", _is_number),
    "or_equal": _TRUTH,
    "quantile_ranges": ("quantiles and their value_ranges, two lists of numbers", _are_ranges),
    "regex": ("a regular expression", _is_text),
    "regex_list": ("a list of regular expressions", _is_list),
    "row_condition": ("a condition on the rows", _is_text),
    "strict_max": _TRUTH,
    "strict_min": _TRUTH,
    "strictly": _TRUTH,
    "sum_total": ("a number", _is_number),
    "threshold": ("a number", _is_number),
    "ties_okay": _TRUTH,
    "value": ("a whole number", _is_whole),
    "value_pairs_set": ("a list of pairs of values", lambda value: _is_list(value, _is_pair)),
    "value_set": (
        'a list of texts, numbers, true and false, or {"table": "schema.table", "column": "name"}',
        _is_value_set,
    ),
}


def find_fault(expectation_type: str, kwargs: Mapping[str, object]) -> str | None:
    """Say what is wrong with an expectation and what is allowed, or nothing."""
    if (reason := REFUSED.get(expectation_type)) is not None:
        return f"it is not allowed in a suite: {reason}"
    if (form := ALLOWED.get(expectation_type)) is None:
        return f"an unknown expectation{near(expectation_type, ALLOWED)}; docs/study.md lists those allowed"
    allowed = (*form.needs, *form.takes)
    for key, value in kwargs.items():
        if key not in allowed:
            told = f"it takes no argument {shown(key)}{near(key, allowed)}"
            return f"{told}; allowed: {', '.join(sorted(allowed))}"
        said, is_allowed = _ARGUMENTS[key]
        if not is_allowed(value):
            return f"{key}: {shown(value)}: {said}"
    if missing := [key for key in form.needs if key not in kwargs]:
        return f"it lacks {', '.join(missing)}"
    return _find_unreadable(kwargs)


def patterns(kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the regular expressions among the arguments of an expectation."""
    return (*([kwargs["regex"]] if "regex" in kwargs else []), *kwargs.get("regex_list", ()))


def _find_unreadable(kwargs: Mapping[str, object]) -> str | None:
    for pattern in patterns(kwargs):
        try:
            check_pattern(pattern)
        except PatternError as error:
            return f"regular expression {shown(pattern)}: {error}"
    condition = kwargs.get("row_condition")
    if isinstance(condition, str):
        try:
            read_condition(condition)
        except ConditionError as error:
            return f"row_condition {shown(condition)}: {error}"
    return None


def shown(value: object) -> str:
    """Show a value of a suite in a message: on one line, without control characters, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."  # noqa: PLR2004


def plain(name: str) -> str:
    """Show a name in a message as it stands, unless it is long or not printable."""
    return name if name.isprintable() and len(name) <= 80 else shown(name)  # noqa: PLR2004


def near(name: str, known: Collection[str]) -> str:
    matches = difflib.get_close_matches(name[:100], sorted(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
