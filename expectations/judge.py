"""Judge a frame by its suite: every rule, every failing row, and what the failing means."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl

from expectations import great
from expectations.condition import ConditionError, read_condition
from expectations.pattern import search
from expectations.suite import Expectation, Suite, SuiteError, check_types, named_columns, referenced_table
from expectations.vocabulary import ALLOWED, patterns, plain, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Reference: TypeAlias = Callable[[str, str], Collection[object]]

_UNIQUENESS = frozenset({"expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique"})
_IN_SET = "expect_column_values_to_be_in_set"
_NOT_IN_SET = "expect_column_values_to_not_be_in_set"
_MEMBERSHIP = frozenset({_IN_SET, _NOT_IN_SET})
_PRESENCE = frozenset({"expect_column_values_to_not_be_null", "expect_column_values_to_be_null"})
_PRESENCE_ARGUMENTS = frozenset({"column", "row_condition"})
_PATTERNS = frozenset(name for name, form in ALLOWED.items() if {"regex", "regex_list"} & {*form.needs})
# These order or add values: they need numbers and dates, where the others need values exactly as they are.
_ORDERING = re.compile(
    r"^(?!.*_lengths_).*(?:_between$|_greater_than_b$|_increasing$|_decreasing$"
    r"|_z_scores_|_outliers$|_sum_|_mean_|_median_|_stdev_|_quantile_)"
)
# Bounds of pandas' nanosecond clock. A mistyped year outside is still before or after any real date.
_FIRST_INSTANT = dt.datetime(1677, 9, 22)  # noqa: DTZ001
_LAST_INSTANT = dt.datetime(2262, 4, 11)  # noqa: DTZ001
_DATED = (pl.Date, pl.Datetime)
_EXAMPLES = 3
_FAILING = {"position": pl.Int64, "column": pl.String, "value": pl.String}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One rule judged.

    `failing` has one line per failing row: `position` in the judged frame, `column` (several joined by ", ")
    and `value` (as text; "name=value, ..." for several). It is complete, also where `mostly` is reached.
    """

    expectation: Expectation
    is_met: bool
    rows_checked: int
    rows_failing: int
    observed: str
    failing: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Verdict:
    """All rules judged, in the order of the suite; `set_aside` holds row positions, sorted, each once."""

    outcomes: tuple[Outcome, ...]
    set_aside: tuple[int, ...]

    @property
    def is_stopped(self) -> bool:
        return any(
            outcome.expectation.severity == "critical" and not outcome.is_met for outcome in self.outcomes
        )


def judge(
    frame: pl.DataFrame,
    suite: Suite,
    reference: Reference,
    hidden: Mapping[str, str] = MappingProxyType({}),
) -> Verdict:
    """Judge the frame by every rule of the suite; a hidden column's values are told as the text given for it.

    Rows are set aside first: the other rules see the rows that stay, because those are what is published.
    So an exact duplicate is set aside, while two differing rows with one key still stop the stage.
    Nulls pass a rule on one column, as Great Expectations has it; only the null rules look at them.
    """
    check_types(suite)
    judged: dict[int, Outcome] = {}
    court = _Court(frame, suite, reference, hidden)
    for number, expectation in enumerate(suite.expectations):
        if expectation.severity == "set_aside":
            judged[number] = court.judge(expectation)
    positions = {
        position for outcome in judged.values() for position in outcome.failing["position"].to_list()
    }
    court.leave_out(positions)
    alike: dict[tuple[str, str | None], list[int]] = {}
    for number, expectation in enumerate(suite.expectations):
        if number in judged:
            continue
        if expectation.type in _PRESENCE and expectation.kwargs.keys() <= _PRESENCE_ARGUMENTS:
            alike.setdefault((expectation.type, expectation.kwargs.get("row_condition")), []).append(number)
        else:
            judged[number] = court.judge(expectation)
    for numbers in alike.values():
        together = [suite.expectations[number] for number in numbers]
        judged |= zip(numbers, court.judge_presence(together), strict=True)
    return Verdict(
        outcomes=tuple(judged[number] for number in sorted(judged)), set_aside=tuple(sorted(positions))
    )


class _Court:
    """The frame before the rules: converts a column to pandas once per form, and only those in use."""

    def __init__(
        self, frame: pl.DataFrame, suite: Suite, reference: Reference, hidden: Mapping[str, str]
    ) -> None:
        self._frame = frame
        self._hidden = hidden
        self._suite = suite
        self._reference = reference
        self._rows = pl.arange(frame.height, eager=True, dtype=pl.Int64)
        self._converted: dict[tuple[str, bool], pd.Series[Any]] = {}
        self._met: dict[str, pl.Series] = {}

    def leave_out(self, positions: Collection[int]) -> None:
        if not positions:
            return
        left = pl.Series(sorted(positions), dtype=pl.Int64)
        self._rows = self._rows.filter(~self._rows.is_in(left.implode()))
        self._converted.clear()
        self._met.clear()

    def judge(self, expectation: Expectation) -> Outcome:
        kwargs = dict(expectation.kwargs)
        condition = kwargs.pop("row_condition", None)
        asked = expectation.type
        if asked in _PATTERNS:
            self._require(named_columns(kwargs), expectation)
            frame = self._matching(expectation)
            asked, kwargs = (
                _IN_SET,
                {"column": "value", "value_set": [1.0], "mostly": kwargs.get("mostly", 1)},
            )
        elif (
            named_columns(kwargs)
            and asked != "expect_column_to_exist"
            and not asked.startswith("expect_table_")
        ):
            self._require(named_columns(kwargs), expectation)
            frame = self._values(expectation)
        else:
            frame = self._outline(expectation)
        if condition:
            frame = frame.loc[self._meets(condition, expectation).to_numpy()]
        if (named := referenced_table(kwargs)) is not None:
            asked, kwargs["value_set"] = self._filled(expectation, named)
        for bound in ("min_value", "max_value"):
            kwargs.update(self._bound(expectation, bound))
        try:
            raw = great.validate(frame, asked, kwargs)
        except great.GreatExpectationsError as error:
            raise SuiteError(
                f"suite {self._suite.name}: {expectation}: it cannot be judged: {error}"
            ) from error
        return self._outcome(expectation, raw, rows=len(frame))

    def judge_presence(self, expectations: Sequence[Expectation]) -> list[Outcome]:
        """Judge null rules of one type and condition, column under column, as if of one long column.

        Half of all rules are of this kind, and each question to Great Expectations costs ten milliseconds.
        """
        import numpy as np
        import pandas as pd

        first = expectations[0]
        labels = self._rows.to_numpy()
        if condition := first.kwargs.get("row_condition"):
            labels = self._meets(condition, first).to_numpy()
        columns = [str(expectation.kwargs["column"]) for expectation in expectations]
        for expectation in expectations:
            self._require(named_columns(expectation.kwargs), expectation)
        if len(expectations) == 1 or not len(labels):
            return [self.judge(expectation) for expectation in expectations]
        absent = np.concatenate([_is_absent(self._frame.get_column(name).gather(labels)) for name in columns])
        long = pd.DataFrame({"value": np.where(absent, np.nan, 0.0)})
        raw = great.validate(long, first.type, {"column": "value"})
        column, row = np.divmod(np.array(raw.failing, dtype=np.int64), len(labels))
        return [
            self._outcome(
                expectation,
                great.RawOutcome(
                    is_met=not (own := column == number).any(),
                    rows_checked=len(labels),
                    failing=labels[row[own]].tolist(),
                    observed=None,
                ),
                rows=len(labels),
            )
            for number, expectation in enumerate(expectations)
        ]

    def _require(self, columns: Iterable[str], expectation: Expectation) -> None:
        for column in columns:
            if column not in self._frame.columns:
                raise SuiteError(
                    f"suite {self._suite.name}: {expectation.type}: column {plain(column)} is absent; "
                    f"the table has {', '.join(map(plain, self._frame.columns))}"
                )

    def _values(self, expectation: Expectation) -> pd.DataFrame:
        import pandas as pd

        columns = dict.fromkeys(named_columns(expectation.kwargs))
        is_ordered = _ORDERING.search(expectation.type) is not None
        return pd.DataFrame(
            {column: self._column(column, is_ordered=is_ordered) for column in columns}, copy=False
        )

    def _outline(self, expectation: Expectation) -> pd.DataFrame:
        """Stand in for the table where only its columns or its number of rows are asked for."""
        import pandas as pd

        if expectation.type.startswith("expect_table_row_count"):
            return pd.DataFrame(index=self._rows.to_numpy())
        return pd.DataFrame(columns=self._frame.columns)

    def _column(self, column: str, *, is_ordered: bool) -> pd.Series[Any]:
        key = (column, is_ordered)
        if key not in self._converted:
            values = self._frame.get_column(column).gather(self._rows)
            self._converted[key] = _to_pandas(values, self._rows, is_ordered=is_ordered)
        return self._converted[key]

    def _meets(self, condition: str, expectation: Expectation) -> pl.Series:
        """Return the positions of the rows that meet the condition, among those that stay."""
        if condition not in self._met:
            read = read_condition(condition)
            self._require(read.columns, expectation)
            try:
                is_met = read.mask(self._frame).gather(self._rows)
            except (ConditionError, pl.exceptions.PolarsError) as error:
                raise SuiteError(
                    f"suite {self._suite.name}: {expectation.type}: row_condition {shown(condition)}: {error}"
                ) from error
            self._met[condition] = self._rows.filter(is_met)
        return self._met[condition]

    def _matching(self, expectation: Expectation) -> pd.DataFrame:
        """Search the values by an engine that never runs long; Great Expectations judges what it found.

        The column is 1 where a value is as the rule asks, 0 where it is not, and missing with the value.
        """
        import pandas as pd

        values = _as_searched(self._frame.get_column(expectation.kwargs["column"]).gather(self._rows))
        text = pl.col("value")
        found = [search(text, pattern) for pattern in patterns(expectation.kwargs)]
        combine = pl.all_horizontal if expectation.kwargs.get("match_on") == "all" else pl.any_horizontal
        is_as_asked = combine(found) != ("_not_match_" in expectation.type)
        judged = values.alias("value").to_frame().select(pl.when(text.is_not_null()).then(is_as_asked))
        array = judged.to_series().cast(pl.Float64).to_numpy()
        return pd.DataFrame({"value": array}, index=self._rows.to_numpy(), copy=False)

    def _filled(self, expectation: Expectation, named: tuple[str, str]) -> tuple[str, list[object]]:
        """Fill the value set from another table.

        Great Expectations copies and prints the set many times over, which takes seconds at the size of a
        transcriptome. So "in the set" is asked as its equal, "not among the values that the set lacks":
        as a rule there are none.
        """
        allowed = {_exact(value) for value in self._reference(*named) if value is not None}
        if expectation.type not in _MEMBERSHIP:
            return expectation.type, list(allowed)
        column = self._column(expectation.kwargs["column"], is_ordered=False)
        present = column.dropna().unique().tolist()
        if expectation.type == _NOT_IN_SET:
            return _NOT_IN_SET, [value for value in present if value in allowed]
        return _NOT_IN_SET, [value for value in present if value not in allowed]

    def _bound(self, expectation: Expectation, bound: str) -> dict[str, object]:
        """Turn a date written as text into an instant, where the column holds dates."""
        value, column = expectation.kwargs.get(bound), expectation.kwargs.get("column")
        if not isinstance(value, str) or not column or not isinstance(self._frame.schema[column], _DATED):
            return {}
        try:
            return {bound: dt.datetime.fromisoformat(value)}
        except ValueError as error:
            raise SuiteError(
                f"suite {self._suite.name}: {expectation}: {bound}: {value!r}: a date as 2026-01-31"
            ) from error

    def _outcome(self, expectation: Expectation, raw: great.RawOutcome, *, rows: int) -> Outcome:
        rows_checked = rows if raw.rows_checked is None else raw.rows_checked
        if raw.failing is None:
            failing = pl.DataFrame(schema=_FAILING)
            fallback = "met" if raw.is_met else "unmet"
            # Of a hidden column even the largest value, or the commonest, is somebody's.
            is_hidden = any(column in self._hidden for column in named_columns(expectation.kwargs))
            observed = fallback if raw.observed is None or is_hidden else _text_of(raw.observed)
            if expectation.type.startswith("expect_table_") or expectation.type == "expect_column_to_exist":
                rows_checked = self._rows.len()
        else:
            failing = self._failing(expectation, sorted(raw.failing))
            observed = _describe(failing, rows_checked)
        return Outcome(
            expectation=expectation,
            is_met=raw.is_met,
            rows_checked=rows_checked,
            rows_failing=failing.height,
            observed=observed,
            failing=failing,
        )

    def _failing(self, expectation: Expectation, positions: list[int]) -> pl.DataFrame:
        columns = list(dict.fromkeys(named_columns(expectation.kwargs)))
        at = pl.Series("position", positions, dtype=pl.Int64)
        # One by one: polars takes a name as "^.*$" for a pattern of names.
        rows = pl.DataFrame([self._frame.get_column(column).gather(at) for column in columns])
        if expectation.severity == "set_aside" and expectation.type in _UNIQUENESS:
            is_later = ~rows.select(pl.struct(pl.all()).is_first_distinct()).to_series()
            rows, at = rows.filter(is_later), at.filter(is_later)
        if len(columns) == 1:
            value = self._told(rows.to_series())
        else:
            parts = [
                pl.format("{}={}", pl.lit(column), self._told(rows.get_column(column)).fill_null("null"))
                for column in columns
            ]
            value = rows.select(pl.concat_str(parts, separator=", ")).to_series()
        return pl.DataFrame({"position": at, "value": value}).select(
            "position", pl.lit(", ".join(columns)).alias("column"), pl.col("value").cast(pl.String)
        )

    def _told(self, values: pl.Series) -> pl.Series:
        """Write values as text; of those of a hidden column, only whether there is one."""
        if (stand_in := self._hidden.get(values.name)) is None:
            return _as_text(values)
        return pl.select(pl.when(values.is_not_null()).then(pl.lit(stand_in))).to_series()


def _to_pandas(values: pl.Series, rows: pl.Series, *, is_ordered: bool) -> pd.Series[Any]:
    """Convert so that nothing changes on the way: no integer beside a null becomes 3.0, no year overflows."""
    import numpy as np
    import pandas as pd

    kind = values.dtype
    if kind.is_temporal() and not is_ordered:
        values = _as_searched(values)
    elif isinstance(kind, _DATED):
        values = values.cast(pl.Datetime("us")).clip(_FIRST_INSTANT, _LAST_INSTANT).cast(pl.Datetime("ns"))
    elif kind.is_decimal() or (kind.is_integer() and values.null_count() and is_ordered):
        values = values.cast(pl.Float64)
    if values.null_count() and (values.dtype.is_integer() or values.dtype == pl.Boolean):
        array = np.array(values.to_list(), dtype=object)
    elif values.dtype.is_numeric() or values.dtype == pl.Boolean or values.dtype.is_temporal():
        array = values.to_numpy()
    else:
        # Through Arrow, equal texts share one Python object: a million rows of a few names stay small.
        array = values.cast(pl.String).to_arrow().to_pandas().to_numpy(dtype=object)
    return pd.Series(array, index=rows.to_numpy(), copy=False)


def _as_searched(values: pl.Series) -> pl.Series:
    """Write values as a rule on texts sees them; NaN is missing."""
    if values.dtype.is_temporal():
        return values.dt.to_string("iso:strict") if values.dtype != pl.Duration else values.dt.to_string()
    return (values.fill_nan(None) if values.dtype.is_float() else values).cast(pl.String)


def _is_absent(values: pl.Series) -> NDArray[np.bool_]:
    """Tell which values pandas takes for missing."""
    absent = values.is_null() | values.is_nan() if values.dtype.is_float() else values.is_null()
    return absent.to_numpy()


def _exact(value: object) -> object:
    """Bring a referenced value into the form of a column that is compared exactly."""
    if isinstance(value, dt.date | dt.datetime | dt.time):
        return pl.Series([value]).dt.to_string("iso:strict").item()
    return value


def _as_text(values: pl.Series) -> pl.Series:
    """Write values as they were delivered: a whole number has no decimal point."""
    if values.dtype.is_temporal() and values.dtype != pl.Duration:
        return values.dt.to_string("iso:strict")
    text = values.cast(pl.String, strict=False)
    return text.str.replace(r"\.0$", "") if values.dtype.is_float() else text


def _text_of(value: object) -> str:
    return str(float(value)).removesuffix(".0") if isinstance(value, float) else str(value)


def _describe(failing: pl.DataFrame, rows_checked: int) -> str:
    summary = f"{failing.height} of {rows_checked} rows fail"
    if not failing.height:
        return summary
    values = failing.get_column("value").fill_null("null").unique(maintain_order=True)
    more = ", ..." if values.len() > _EXAMPLES else ""
    return f"{summary}: {failing.item(0, 'column')}: {'; '.join(values.head(_EXAMPLES))}{more}"
