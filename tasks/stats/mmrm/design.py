"""From a formula and columns to a design matrix, and to its average row for a least-squares mean."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from tasks.stats.types import FloatArray

Level: TypeAlias = str | int | float | bool
Term: TypeAlias = tuple[str, ...]

MATRIX_DIMENSIONS = 2
NAME = re.compile(r"[^\W\d][\w.]*")


@dataclass(frozen=True, slots=True)
class Formula:
    """A response and the terms of its mean; the empty term is the intercept."""

    response: str
    variables: tuple[str, ...]
    terms: tuple[Term, ...]


def parse_formula(text: str) -> Formula:
    """Read `response ~ a + b * c + a:c`: `a * b` means `a + b + a:b`; a term `0` removes the intercept.

    Terms are ordered by their number of variables, then as written; variables as first written.
    """
    response, tilde, right = (part.strip() for part in text.partition("~"))
    if not tilde or not NAME.fullmatch(response):
        raise ValueError(f"formula: {text!r}: must read 'response ~ term + term'")
    crossings = [[factor.strip() for factor in piece.split("*")] for piece in right.split("+")]
    has_intercept = ["0"] not in crossings
    written: list[Term] = []
    for crossing in crossings:
        if crossing in (["0"], ["1"]):
            continue
        parts = [tuple(name.strip() for name in factor.split(":")) for factor in crossing]
        for name in itertools.chain(*parts):
            if not NAME.fullmatch(name):
                raise ValueError(f"formula: {name!r} in {text!r}: must be a column's name")
        for size in range(1, len(parts) + 1):
            written += [tuple(itertools.chain(*some)) for some in itertools.combinations(parts, size)]
    variables = tuple(dict.fromkeys(itertools.chain(*written)))
    if response in variables:
        raise ValueError(f"formula: {response!r} in {text!r}: must not stand on both sides")
    ordered = [tuple(sorted(set(term), key=variables.index)) for term in written]
    terms = sorted(dict.fromkeys(ordered), key=len)
    if not terms and not has_intercept:
        raise ValueError(f"formula: {text!r}: must have a term or an intercept")
    return Formula(response, variables, ((),) * has_intercept + tuple(terms))


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """A categorical variable: each row's level by number, -1 if missing; the first level is the reference."""

    name: str
    levels: tuple[Level, ...]
    codes: NDArray[np.int64]

    def position(self, level: Level) -> int:
        if level not in self.levels:
            raise ValueError(f"{self.name}: {level!r}: must be one of {', '.join(map(str, self.levels))}")
        return self.levels.index(level)

    def restricted(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Factor:
        """Keep some rows, and only the levels that these have."""
        codes = self.codes[rows]
        present, renumbered = np.unique(codes, return_inverse=True)
        return Factor(self.name, tuple(self.levels[code] for code in present), renumbered.astype(np.int64))


def is_missing(item: object) -> bool:
    return item is None or (isinstance(item, float) and math.isnan(item))


def is_numeric(values: ArrayLike) -> bool:
    """Tell numbers, also a column of them with None for what is missing, from text and logical values."""
    array = np.asarray(values)
    if array.dtype.kind != "O":
        return array.dtype.kind in "iuf"
    given = [item for item in array.tolist() if not is_missing(item)]
    return bool(given) and all(isinstance(item, Real) and not isinstance(item, bool) for item in given)


def read_factor(name: str, values: ArrayLike, levels: Sequence[Level] | None) -> Factor:
    """Return a column's values numbered by level; without levels they are its sorted values."""
    items = np.asarray(values).tolist()
    missing_rows = [is_missing(item) for item in items]
    if levels is None:
        distinct = {item for item, missing in zip(items, missing_rows, strict=True) if not missing}
        try:
            levels = sorted(distinct)
        except TypeError:
            raise ValueError(f"{name}: values of several types: give the levels in their order") from None
    numbered = {level: number for number, level in enumerate(np.asarray(levels).tolist())}
    if len(numbered) < len(levels):
        raise ValueError(f"{name}: levels {', '.join(map(str, levels))}: each must be given once")
    codes = np.full(len(items), -1, dtype=np.int64)
    for row, (item, missing) in enumerate(zip(items, missing_rows, strict=True)):
        if missing:
            continue
        if item not in numbered:
            raise ValueError(f"{name}: {item!r}: must be one of {', '.join(map(str, levels))}")
        codes[row] = numbered[item]
    return Factor(name, tuple(numbered), codes)


def read_number(name: str, values: ArrayLike) -> FloatArray:
    """Return a column as floats, None as NaN; infinite values are refused."""
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: values that are no numbers: must be numeric") from None
    if np.isinf(numbers).any():
        row = int(np.flatnonzero(np.isinf(numbers))[0])
        raise ValueError(f"{name}: {numbers[row]} in row {row}: must be finite or missing")
    return numbers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Design:
    """The terms of the mean over rows of factors and covariates.

    A factor of a term is coded by its levels but the first where the term without it is in the model too,
    else by all of them, so that the columns of a hierarchical model are not redundant.
    """

    terms: tuple[Term, ...]
    factors: Mapping[str, Factor]
    covariates: Mapping[str, FloatArray]

    def restricted(self, rows: NDArray[np.bool_]) -> Design:
        return replace(
            self,
            factors={name: factor.restricted(rows) for name, factor in self.factors.items()},
            covariates={name: values[rows] for name, values in self.covariates.items()},
        )

    def column_names(self) -> tuple[str, ...]:
        names: list[str] = []
        for term in self.terms:
            parts = [self._part_names(term, name) for name in term]
            # The first variable of a term runs fastest.
            names += [":".join(reversed(combination)) for combination in itertools.product(*reversed(parts))]
        return tuple(name or "(Intercept)" for name in names)

    def matrix(self) -> FloatArray:
        """Return the (rows, columns) design matrix."""
        coded: dict[str, FloatArray] = {name: values[:, None] for name, values in self.covariates.items()}
        for name, factor in self.factors.items():
            coded[name] = (factor.codes[:, None] == np.arange(len(factor.levels))).astype(np.float64)
        n = next(iter(coded.values())).shape[0]
        return self._expanded(coded, n)

    def average_row(self, weights: Mapping[str, FloatArray], values: Mapping[str, float]) -> FloatArray:
        """Return the design row averaged over levels with these weights, with covariates at these values.

        Columns are products over variables, so that the average over the full crossing of the factors is the
        product of the averages.
        """
        coded = {name: np.array([[value]]) for name, value in values.items()}
        coded |= {name: np.asarray(weight)[None] for name, weight in weights.items()}
        return np.asarray(self._expanded(coded, 1)[0])

    def _expanded(self, coded: Mapping[str, FloatArray], n: int) -> FloatArray:
        columns = []
        for term in self.terms:
            block = np.ones((n, 1))
            for name in term:
                part = coded[name][:, 1:] if self._has_reference(term, name) else coded[name]
                block = np.asarray((part[:, :, None] * block[:, None, :]).reshape(n, -1))
            columns.append(block)
        return np.concatenate(columns, axis=1)

    def _has_reference(self, term: Term, name: str) -> bool:
        return name in self.factors and tuple(other for other in term if other != name) in self.terms

    def _part_names(self, term: Term, name: str) -> list[str]:
        if name not in self.factors:
            return [name]
        levels = (
            self.factors[name].levels[1:] if self._has_reference(term, name) else self.factors[name].levels
        )
        return [f"{name}{level}" for level in levels]
