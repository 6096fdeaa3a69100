"""Turn factors, covariates and their interactions into the columns of a regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from tasks.stats.types import FloatArray, checked_same_length, checked_vector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

Coding: TypeAlias = Literal["treatment", "sum"]

INTERCEPT = "(intercept)"

# A column is aliased when what the columns before it leave of it is this small a share of its length.
_ALIAS_TOLERANCE = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A factor (levels and codes) or a covariate (values, and no levels)."""

    name: str
    levels: tuple[str, ...]
    codes: NDArray[np.int64]
    values: FloatArray

    @property
    def is_factor(self) -> bool:
        return bool(self.levels)

    def column_names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}[{level}]" for level in self.levels[1:]) if self.levels else (self.name,)

    def columns(self, coding: Coding) -> FloatArray:
        return contrasts(len(self.levels), coding)[self.codes] if self.levels else self.values[:, np.newaxis]


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The variables of a regression and its terms, each the names of the variables that it multiplies."""

    variables: tuple[Variable, ...]
    terms: tuple[tuple[str, ...], ...]
    has_intercept: bool
    n: int

    def variable(self, name: str) -> Variable:
        for variable in self.variables:
            if variable.name == name:
                return variable
        raise ValueError(f"variable: {name!r}: must be one of {', '.join(v.name for v in self.variables)}")

    def factor(self, name: str) -> Variable:
        factors = [variable.name for variable in self.variables if variable.is_factor]
        if name not in factors:
            raise ValueError(f"factor: {name!r}: must be one of {', '.join(factors) or 'no factors'}")
        return self.variable(name)

    def column_names(self) -> tuple[str, ...]:
        names = [INTERCEPT] if self.has_intercept else []
        for term in self.terms:
            products = [""]
            for name in term:
                products = [
                    f"{left}:{right}" if left else right
                    for left in products
                    for right in self.variable(name).column_names()
                ]
            names += products
        return tuple(names)

    def column_terms(self) -> NDArray[np.int64]:
        """Return for each column the position of its term, -1 for the intercept."""
        positions = [-1] if self.has_intercept else []
        for position, term in enumerate(self.terms):
            width = 1
            for name in term:
                width *= len(self.variable(name).column_names())
            positions += [position] * width
        return np.array(positions, dtype=np.int64)

    def matrix(self, coding: Coding = "treatment") -> FloatArray:
        """Return the (n, p) columns, the intercept first."""
        return self.rows({variable.name: variable.columns(coding) for variable in self.variables}, self.n)

    def rows(self, blocks: Mapping[str, FloatArray], n: int) -> FloatArray:
        """Return rows of the design from each variable's own columns."""
        parts = [np.ones((n, 1))] if self.has_intercept else []
        for term in self.terms:
            product = np.ones((n, 1))
            for name in term:
                product = (product[:, :, np.newaxis] * blocks[name][:, np.newaxis, :]).reshape(n, -1)
            parts.append(product)
        return np.concatenate(parts, axis=1) if parts else np.empty((n, 0))


def contrasts(n_levels: int, coding: Coding) -> FloatArray:
    """Return the (levels, levels - 1) columns of a factor.

    Treatment coding compares each level with the first; with sum coding the effects of all levels add to
    zero, so that a main effect is an effect averaged over the levels of the other factors.
    """
    if coding == "treatment":
        return np.eye(n_levels)[:, 1:]
    columns = np.eye(n_levels)[:, :-1]
    columns[-1] = -1
    return columns


def build_design(
    n: int,
    *,
    factors: Mapping[str, Sequence[str]] | None = None,
    covariates: Mapping[str, ArrayLike] | None = None,
    interactions: Sequence[tuple[str, ...]] = (),
    levels: Mapping[str, Sequence[str]] | None = None,
    has_intercept: bool = True,
) -> Design:
    """Return the design of n subjects: main effects of all variables, then the interactions named.

    The levels of a factor stand in the order given in `levels`, else sorted; those not seen are left out.
    """
    variables = [
        _factor(name, values, n, (levels or {}).get(name)) for name, values in (factors or {}).items()
    ]
    variables += [_covariate(name, values, n) for name, values in (covariates or {}).items()]
    names = [variable.name for variable in variables]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice}: both a factor and a covariate: must be one of them")
    for unknown in set(levels or {}) - set(factors or {}):
        raise ValueError(f"levels: {unknown!r}: must be a factor of the model ({', '.join(factors or {})})")
    for interaction in interactions:
        for name in interaction:
            if name not in names:
                raise ValueError(
                    f"interactions: {name!r} in {':'.join(interaction)}: must be one of {', '.join(names)}"
                )
    terms = [(name,) for name in names] + [tuple(interaction) for interaction in interactions]
    return Design(variables=tuple(variables), terms=tuple(terms), has_intercept=has_intercept, n=n)


def _factor(name: str, values: Sequence[str], n: int, wanted: Sequence[str] | None) -> Variable:
    checked_same_length(name, len(values), "the response", n)
    seen = set(values)
    order = sorted(seen) if wanted is None else [level for level in wanted if level in seen]
    if unknown := seen - set(order):
        raise ValueError(f"{name}: {min(unknown)!r}: must be one of the levels {', '.join(wanted or ())}")
    position = {level: i for i, level in enumerate(order)}
    codes = np.array([position[value] for value in values], dtype=np.int64)
    return Variable(name=name, levels=tuple(order), codes=codes, values=np.empty(0))


def _covariate(name: str, values: ArrayLike, n: int) -> Variable:
    checked = checked_vector(name, values)
    checked_same_length(name, checked.size, "the response", n)
    return Variable(name=name, levels=(), codes=np.empty(0, dtype=np.int64), values=checked)


def independent_columns(matrix: FloatArray) -> NDArray[np.bool_]:
    """Say which columns are no linear combination of those before them."""
    basis = np.empty((matrix.shape[0], 0))
    kept = np.zeros(matrix.shape[1], dtype=np.bool_)
    for i, column in enumerate(matrix.T):
        length = float(np.linalg.norm(column))
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)  # once more: rounding leaves a trace of the basis
        rest_length = float(np.linalg.norm(rest))
        if rest_length > _ALIAS_TOLERANCE * length:
            kept[i] = True
            basis = np.column_stack([basis, rest / rest_length])
    return kept
