"""Conditions on rows: a small grammar of our own, evaluated by polars; nothing in it is code.

condition  = either {"or" either}            either = single {"and" single}
single     = "not" single | "(" condition ")" | comparison
comparison = sum ("==" | "!=" | "<" | "<=" | ">" | ">=") sum | sum ["not"] "in" "[" literal {"," literal} "]"
           | sum "is" ["not"] "null" | sum ["not"] "matches" text
sum        = product {("+" | "-") product}   product = value {("*" | "/") value}
value      = column | literal | "length" "(" column ")"
literal    = text | ["-"] number | "true" | "false"

A column is a name or stands between backticks; a text stands between single or double quotes; a quote is
doubled inside its own kind. A comparison with a missing value is false; `!=`, `not in` and `not matches` are
true, for each is the opposite of what it negates. NaN is missing.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import operator
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import polars as pl

from expectations.pattern import PatternError, check_pattern, search

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Operand: TypeAlias = Callable[[Sequence["_Value"]], "_Value"]
    Test: TypeAlias = Callable[[Sequence["_Value"]], pl.Expr]

LONGEST = 10_000
# Of parentheses and negations within each other, and of columns, numbers and texts outside lists.
DEEPEST = 20
MOST_VALUES = 200

_WORDS = frozenset({"and", "or", "not", "in", "is", "null", "matches", "true", "false"})
_COMPARISONS: Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: Mapping[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_COMPARABLE = frozenset({"number", "text", "truth value", "date"})
# Control characters, and those that turn the direction of writing: a message would not show what is asked.
_INVISIBLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069]")
_SPACE = re.compile(" *")
_TOKEN = re.compile(
    r"""(?P<number>[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)"""
    r"""|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"""
    r"""|(?P<quoted>`(?:[^`]|``)+`)"""
    r"""|(?P<text>"(?:[^"]|"")*"|'(?:[^']|'')*')"""
    r"""|(?P<sign>==|!=|<=|>=|[<>+\-*/()\[\],.])"""
)


class ConditionError(ValueError):
    """A condition cannot be read or does not fit its table: where in it, and what is allowed."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that was read: the columns that it names, and the test of each row."""

    columns: tuple[str, ...]
    _test: Test

    def mask(self, frame: pl.DataFrame) -> pl.Series:
        """Return for each row of the frame whether it meets the condition; never null."""
        # Renamed to their numbers: polars takes a name as "^.*$" for a pattern of names.
        columns = [frame.get_column(name).alias(str(n)) for n, name in enumerate(self.columns)]
        values = [_column(series, name) for series, name in zip(columns, self.columns, strict=True)]
        return pl.DataFrame(columns).with_columns(self._test(values).alias("mask")).get_column("mask")


@functools.lru_cache(maxsize=1_000)
def read_condition(text: str) -> Condition:
    """Read a condition, or say where in it what would be allowed."""
    if len(text) > LONGEST:
        raise ConditionError(f"{len(text)} characters: at most {LONGEST} are allowed")
    if found := _INVISIBLE.search(text):
        raise ConditionError(
            f"at character {found.start() + 1}, {found.group()!r}: no control character is allowed"
        )
    reader = _Reader(text)
    test = reader.read()
    return Condition(tuple(reader.columns), test)


@dataclass(frozen=True, slots=True)
class _Value:
    """A column, a literal or what is computed of them; `literal` is null but for a literal."""

    expression: pl.Expr
    kind: str
    name: str
    literal: str | float | bool | dt.datetime | None = None
    is_whole: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


class _Reader:
    """Reads by recursive descent; the columns are numbered in the order in which they are named."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0
        self._values = 0
        self.columns: dict[str, int] = {}

    def read(self) -> Test:
        test = self._condition()
        if self._token.kind != "end":
            raise self._refusal("'and', 'or' or the end")
        if not self.columns:
            raise ConditionError("it names no column: a condition is on the rows of a table")
        return test

    def _condition(self) -> Test:
        tests = [self._either()]
        while self._accept("or"):
            tests.append(self._either())
        return tests[0] if len(tests) == 1 else lambda v: pl.any_horizontal([test(v) for test in tests])

    def _either(self) -> Test:
        tests = [self._single()]
        while self._accept("and"):
            tests.append(self._single())
        return tests[0] if len(tests) == 1 else lambda v: pl.all_horizontal([test(v) for test in tests])

    def _single(self) -> Test:
        if not (opened := self._accept("not", "(")):
            return self._comparison()
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._refusal(f"at most {DEEPEST} parentheses and negations within each other")
        test = self._single() if opened == "not" else self._condition()
        if opened == "(":
            self._expect(")")
        self._depth -= 1
        return (lambda v: ~test(v)) if opened == "not" else test

    def _comparison(self) -> Test:
        left = self._sum()
        if (is_null := self._presence()) is not None:
            return _negated(not is_null, lambda v: left(v).expression.is_null())
        is_negated = bool(self._accept("not"))
        if self._accept("in"):
            items = self._list()
            return _negated(is_negated, lambda v: _among(left(v), items))
        if self._accept("matches"):
            pattern = self._pattern()
            return _negated(is_negated, lambda v: _matches(left(v), pattern))
        if is_negated:
            raise self._refusal("'in' or 'matches' after 'not'")
        if not (sign := self._accept(*_COMPARISONS)):
            raise self._refusal("a comparison (== != < <= > >=), 'in', 'is null' or 'matches'")
        right = self._sum()
        return lambda v: _compare(left(v), sign, right(v))

    def _presence(self) -> bool | None:
        """Read "is null" or "is not null", also as pandas writes them; null if neither stands here."""
        if self._accept("is"):
            is_null = not self._accept("not")
            self._expect("null")
            return is_null
        if self._accept("."):
            method = self._expect("isnull", "notnull")
            self._expect("(")
            self._expect(")")
            return method == "isnull"
        return None

    def _sum(self) -> Operand:
        before = self._values
        value = self._product()
        while sign := self._accept("+", "-"):
            value = _computed(value, sign, self._product())
        return value if self._values - before < 2 else _without_nan(value)  # noqa: PLR2004 - a computation

    def _product(self) -> Operand:
        value = self._value()
        while sign := self._accept("*", "/"):
            value = _computed(value, sign, self._value())
        return value

    def _value(self) -> Operand:
        self._values += 1
        if self._values > MOST_VALUES:
            raise self._refusal(f"at most {MOST_VALUES} columns, numbers and texts")
        if (literal := self._literal()) is not None:
            return lambda _: literal
        token, after = self._token, self._tokens[min(self._next + 1, len(self._tokens) - 1)]
        if token.kind == "name" and token.text.lower() == "length" and after.text == "(":
            self._next += 2
            column = self._column()
            self._expect(")")
            return lambda v: _length(column(v))
        return self._column()

    def _column(self) -> Operand:
        token = self._token
        if token.kind not in ("name", "quoted") or (token.kind == "name" and token.text.lower() in _WORDS):
            raise self._refusal("a column, a number, a text, true or false")
        self._next += 1
        name = token.text if token.kind == "name" else token.text[1:-1].replace("``", "`")
        number = self.columns.setdefault(name, len(self.columns))
        return lambda v: v[number]

    def _list(self) -> tuple[_Value, ...]:
        self._expect("[")
        items: list[_Value] = []
        while not items or self._accept(","):
            if (item := self._literal()) is None:
                raise self._refusal("a number, a text, true or false")
            items.append(item)
        self._expect("]")
        return tuple(items)

    def _pattern(self) -> str:
        token = self._token
        literal = self._literal()
        if literal is None or not isinstance(literal.literal, str):
            self._next = self._tokens.index(token)
            raise self._refusal("a regular expression between quotes")
        try:
            check_pattern(literal.literal)
        except PatternError as error:
            raise ConditionError(f"at character {token.at + 1}: {error}") from error
        return literal.literal

    def _literal(self) -> _Value | None:
        """Read a literal, or nothing if none stands here."""
        start, token = self._next, self._token
        is_negative = bool(self._accept("-"))
        token = self._token
        self._next += 1
        if token.kind == "number":
            return _number(("-" if is_negative else "") + token.text, token.at)
        if not is_negative and token.kind == "text":
            quote = token.text[0]
            text = token.text[1:-1].replace(quote * 2, quote)
            return _Value(pl.lit(text), "text", repr(text[:40]), text)
        if not is_negative and token.kind == "name" and token.text.lower() in ("true", "false"):
            is_true = token.text.lower() == "true"
            return _Value(pl.lit(is_true), "truth value", token.text, is_true)
        self._next = start
        return None

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _accept(self, *words: str) -> str:
        """Take the next token if it is one of these, and return it; else an empty text."""
        token = self._token
        found = token.text.lower() if token.kind == "name" else token.text
        if token.kind in ("name", "sign") and found in words:
            self._next += 1
            return found
        return ""

    def _expect(self, *words: str) -> str:
        if not (found := self._accept(*words)):
            raise self._refusal(" or ".join(map(repr, words)))
        return found

    def _refusal(self, allowed: str) -> ConditionError:
        token = self._token
        found = "the end" if token.kind == "end" else repr(token.text[:40])
        return ConditionError(f"at character {token.at + 1}, {found}: allowed here: {allowed}")


def _tokens(text: str) -> list[_Token]:
    tokens = []
    at = 0
    while (at := _end_of_space(text, at)) < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            is_open = text[at] in "`\"'"
            allowed = "the quote that ends it" if is_open else "and or not == != < <= > >= + - * / ( ) [ ]"
            raise ConditionError(f"at character {at + 1}, {text[at : at + 20]!r}: allowed: {allowed}")
        tokens.append(_Token(str(found.lastgroup), found.group(), at))
        at = found.end()
    return [*tokens, _Token("end", "", len(text))]


def _end_of_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _number(text: str, at: int) -> _Value:
    is_whole = text.lstrip("-").isdigit()
    # Python reads no whole number of thousands of digits.
    value = float(text)
    if not math.isfinite(value) or (is_whole and abs(value) >= 2**63):
        raise ConditionError(f"at character {at + 1}, {text[:40]!r}: the number is too large")
    if is_whole:
        return _Value(pl.lit(int(text), dtype=pl.Int64), "number", text, int(text), is_whole=True)
    return _Value(pl.lit(value), "number", text, value)


def _column(values: pl.Series, name: str) -> _Value:
    kind, column = values.dtype, pl.col(values.name)
    if kind.is_float() or kind.is_decimal():
        return _Value(column.cast(pl.Float64).fill_nan(None), "number", name)
    if kind.is_integer():
        return _Value(column, "number", name, is_whole=True)
    if isinstance(kind, pl.String | pl.Categorical | pl.Enum):
        return _Value(column.cast(pl.String), "text", name)
    if isinstance(kind, pl.Date | pl.Datetime):
        return _Value(column.cast(pl.Datetime("us")), "date", name)
    if isinstance(kind, pl.Boolean):
        return _Value(column, "truth value", name)
    return _Value(column, "missing" if isinstance(kind, pl.Null) else str(kind), name)


def _negated(is_negated: bool, test: Test) -> Test:
    return (lambda v: ~test(v)) if is_negated else test


def _computed(left: Operand, sign: str, right: Operand) -> Operand:
    def compute(values: Sequence[_Value]) -> _Value:
        one, other = _of_kind(left(values), "number"), _of_kind(right(values), "number")
        result = _ARITHMETIC[sign](one.expression.cast(pl.Float64), other.expression.cast(pl.Float64))
        return _Value(result, "number", f"{one.name} {sign} {other.name}")

    return compute


def _without_nan(operand: Operand) -> Operand:
    """Take NaN for missing once, at the end: polars doubles what stands before each such step."""

    def compute(values: Sequence[_Value]) -> _Value:
        value = operand(values)
        return replace(value, expression=value.expression.fill_nan(None))

    return compute


def _compare(left: _Value, sign: str, right: _Value) -> pl.Expr:
    left, right = _alike(left, right), _alike(right, left)
    if "missing" in (left.kind, right.kind):
        return pl.lit(sign == "!=")
    return _COMPARISONS[sign](left.expression, right.expression).fill_null(sign == "!=")


def _among(value: _Value, items: Sequence[_Value]) -> pl.Expr:
    if value.kind == "missing":
        return pl.lit(value=False)
    allowed = [_alike(item, value) for item in items]
    is_whole = all(one.is_whole for one in (value, *allowed))
    kinds: Mapping[str, pl.DataType] = {
        "number": pl.Int64() if is_whole else pl.Float64(),
        "text": pl.String(),
        "date": pl.Datetime("us"),
    }
    kind = kinds.get(value.kind, pl.Boolean())
    listed = pl.Series([item.literal for item in allowed], dtype=kind, strict=False)
    return value.expression.cast(kind, strict=False).is_in(listed.implode()).fill_null(value=False)


def _matches(value: _Value, pattern: str) -> pl.Expr:
    return search(_of_kind(value, "text").expression.cast(pl.String), pattern).fill_null(value=False)


def _length(value: _Value) -> _Value:
    length = _of_kind(value, "text").expression.cast(pl.String).str.len_chars()
    return _Value(length, "number", f"length({value.name})", is_whole=True)


def _of_kind(value: _Value, kind: str) -> _Value:
    if value.kind not in (kind, "missing"):
        raise ConditionError(f"{value}: a {kind} is allowed here")
    return value


def _alike(value: _Value, other: _Value) -> _Value:
    """Return the value so that it can be compared with the other: a text beside a date is a date."""
    if other.kind == "date" and isinstance(value.literal, str):
        try:
            day = dt.datetime.fromisoformat(value.literal)
            if day.tzinfo is not None:
                day = day.astimezone(dt.UTC).replace(tzinfo=None)
        except (ValueError, OverflowError) as error:
            raise ConditionError(f"{value.name}: a date as 2026-01-31 is compared with {other}") from error
        return replace(value, expression=pl.lit(day, dtype=pl.Datetime("us")), kind="date", literal=day)
    kinds = {value.kind, other.kind} - {"missing"}
    is_dated = value.kind == "date" and isinstance(other.literal, str)
    if not is_dated and (len(kinds) > 1 or not kinds <= _COMPARABLE):
        raise ConditionError(f"{other} is compared with {value}: both must be of one kind")
    return value
