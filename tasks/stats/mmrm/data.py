"""The data of a mixed model for repeated measures, prepared once for many fits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.mmrm.design import (
    MATRIX_DIMENSIONS,
    Design,
    Factor,
    Level,
    is_missing,
    is_numeric,
    parse_formula,
    read_factor,
    read_number,
)
from tasks.stats.mmrm.moments import assembled, block_with_response, condensed, reassembled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from tasks.stats.mmrm.moments import Block, Moments
    from tasks.stats.types import FloatArray

# The one group where the covariance does not differ.
ALL = "(all)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rows:
    """The analysed rows: what the blocks of an `MmrmData` point into."""

    subject: Factor
    visit: Factor
    group: Factor
    x: FloatArray
    design: Design | None
    input_row: NDArray[np.int64]
    n_input: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MmrmData:
    """Repeated measures prepared for fitting: one condensed block per pattern of observed visits.

    Made by `from_columns` or `from_arrays`. Rows without a response, a covariate or a level of a factor are
    left out; `dropped_levels` names, by factor, the levels that then have no row.
    """

    response_name: str
    column_names: tuple[str, ...]
    dropped_levels: Mapping[str, tuple[Level, ...]]
    response: FloatArray = field(repr=False)
    blocks: tuple[Block, ...] = field(repr=False)
    moments: Moments = field(repr=False)
    is_active: NDArray[np.bool_] = field(repr=False)
    rows: _Rows = field(repr=False)

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, ArrayLike],
        formula: str,
        *,
        subject: str,
        visit: str,
        group: str | None = None,
        levels: Mapping[str, Sequence[Level]] | None = None,
    ) -> MmrmData:
        """Prepare columns of equal length by a formula.

        Parameters
        ----------
        columns : mapping of name to (rows,) array
            Text, logical values and every column in `levels` are factors, coded by treatment contrasts;
            numbers are covariates. None and NaN are missing.
        formula : str
            For example `"chg ~ base + arm * visit + base * visit + site"`; `0 +` removes the intercept.
        subject, visit : str
            Columns of the subject, and of the visit: a factor, its levels (given or sorted) in order of time.
        group : str, optional
            Column of a factor in whose levels the covariance differs; constant within a subject.
        levels : mapping of name to sequence, optional
            Order of a factor's levels; the first is the reference. Without it they are sorted.

        Raises
        ------
        ValueError
            If a column is missing or of another length, a value infinite or not among the levels, a visit of
            a subject there twice, or fewer observations are left than there are coefficients.
        """
        parsed = parse_formula(formula)
        levels = dict(levels or {})
        used = [parsed.response, *parsed.variables, subject, visit, *([group] if group else [])]
        idle = [name for name in levels if name not in {*parsed.variables, visit, group}]
        if idle:
            raise ValueError(f"levels: {', '.join(idle)}: must be of a factor in the model")
        absent = [name for name in dict.fromkeys(used) if name not in columns]
        if absent:
            raise ValueError(f"columns: {', '.join(absent)} missing: there are {', '.join(columns)}")
        lengths = {name: len(np.asarray(columns[name])) for name in used}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns: lengths {lengths}: must be equal")
        is_factor = {visit, *([group] if group else []), *levels}
        is_factor |= {name for name in parsed.variables if not is_numeric(columns[name])}
        factors = {name: read_factor(name, columns[name], levels.get(name)) for name in sorted(is_factor)}
        covariates = {
            name: read_number(name, columns[name]) for name in parsed.variables if name not in is_factor
        }
        response = read_number(parsed.response, columns[parsed.response])
        subjects = _read_subjects(columns[subject])
        complete = ~np.isnan(response)
        for factor in factors.values():
            complete &= factor.codes >= 0
        for values in covariates.values():
            complete &= ~np.isnan(values)
        if not complete.any():
            raise ValueError("data: no row with every value: at least one needed")
        whole = Design(terms=parsed.terms, factors=factors, covariates=covariates)
        design = whole.restricted(complete)
        dropped = _dropped(whole.factors, design.factors)
        rows = _Rows(
            subject=subjects.restricted(complete),
            visit=design.factors[visit],
            group=design.factors[group] if group else _one_group(int(complete.sum())),
            x=design.matrix(),
            design=design,
            input_row=np.flatnonzero(complete),
            n_input=complete.size,
        )
        return _prepared(parsed.response, design.column_names(), dropped, response[complete], rows)

    @classmethod
    def from_arrays(
        cls,
        response: ArrayLike,
        design: ArrayLike,
        *,
        subject: ArrayLike,
        visit: ArrayLike,
        group: ArrayLike | None = None,
        column_names: Sequence[str] | None = None,
        visits: Sequence[Level] | None = None,
    ) -> MmrmData:
        """Prepare a design matrix (rows, columns) as it is; NaN in it or in the response leaves the row out.

        Least-squares means need `from_columns`; everything else is there.
        """
        y = read_number("response", response)
        x = np.asarray(design, dtype=np.float64)
        if x.ndim != MATRIX_DIMENSIONS or x.shape[0] != y.size:
            raise ValueError(f"design: shape {x.shape}: must be ({y.size}, columns), as the response has it")
        names = tuple(column_names or (f"x{number}" for number in range(x.shape[1])))
        if len(names) != x.shape[1]:
            raise ValueError(f"column_names: {len(names)}: must be {x.shape[1]}, as the design has columns")
        if np.isinf(x).any():
            raise ValueError("design: infinite values: must be finite or missing")
        visit_factor = read_factor("visit", visit, visits)
        group_factor = _one_group(y.size) if group is None else read_factor("group", group, None)
        subjects = _read_subjects(subject)
        for name, factor in (("subject", subjects), ("visit", visit_factor), ("group", group_factor)):
            if factor.codes.size != y.size:
                raise ValueError(
                    f"{name}: length {factor.codes.size}: must be {y.size}, as the response has it"
                )
        complete = (
            ~np.isnan(y) & ~np.isnan(x).any(axis=1) & (visit_factor.codes >= 0) & (group_factor.codes >= 0)
        )
        if not complete.any():
            raise ValueError("data: no row with every value: at least one needed")
        rows = _Rows(
            subject=subjects.restricted(complete),
            visit=visit_factor.restricted(complete),
            group=group_factor.restricted(complete),
            x=x[complete],
            design=None,
            input_row=np.flatnonzero(complete),
            n_input=y.size,
        )
        dropped = _dropped({"visit": visit_factor}, {"visit": rows.visit})
        return _prepared("response", names, dropped, y[complete], rows)

    @property
    def visits(self) -> tuple[Level, ...]:
        return self.rows.visit.levels

    @property
    def groups(self) -> tuple[Level, ...]:
        """Levels of the group by which the covariance differs; one, `ALL`, where it does not."""
        return self.rows.group.levels

    @property
    def subjects(self) -> tuple[Level, ...]:
        """The subjects analysed, in the order of their first row."""
        present = np.sort(np.concatenate([block.subjects for block in self.blocks]))
        return tuple(self.rows.subject.levels[code] for code in present)

    @property
    def n_subjects(self) -> int:
        return sum(block.subjects.size for block in self.blocks)

    @property
    def n_observations(self) -> int:
        return self.moments.n_observations

    @property
    def n_patterns(self) -> int:
        """How many patterns of observed visits (by group) there are."""
        return len(self.blocks)

    @property
    def aliased(self) -> tuple[str, ...]:
        """Columns that are combinations of earlier ones and have no coefficient."""
        return tuple(self.column_names[column] for column in self.moments.aliased)

    @property
    def design(self) -> Design:
        """The terms over the analysed rows, if there is a formula."""
        if self.rows.design is None:
            raise ValueError("data: made from arrays: least-squares means need a formula; use from_columns")
        return self.rows.design

    def covariate_means(self) -> dict[str, float]:
        """Return each covariate's mean over the analysed observations."""
        return {name: float(values[self.is_active].mean()) for name, values in self.design.covariates.items()}

    def level_counts(self, name: str) -> NDArray[np.int64]:
        """Return how many analysed observations each level of a factor has."""
        factor = self.design.factors[name]
        return np.bincount(factor.codes[self.is_active], minlength=len(factor.levels))

    def without(self, subject: Level) -> MmrmData:
        """Leave out one subject, reusing what was prepared for all others."""
        if subject not in self.rows.subject.levels:
            raise ValueError(f"subject: {subject!r}: must be one of those analysed")
        code = self.rows.subject.levels.index(subject)
        blocks: list[Block] = []
        is_active = self.is_active.copy()
        for block in self.blocks:
            is_kept = block.subjects != code
            if is_kept.all():
                blocks.append(block)
                continue
            is_active[block.rows[~is_kept]] = False
            if is_kept.any():
                blocks.append(
                    condensed(
                        block.subjects[is_kept],
                        block.positions,
                        block.rows[is_kept],
                        self.rows.x,
                        self.response,
                    )
                )
        if not blocks or np.array_equal(is_active, self.is_active):
            raise ValueError(f"subject: {subject!r}: must be analysed and not the only one")
        if self._loses_a_level(is_active):
            return self._prepared_again(is_active)
        moments = assembled(blocks, len(self.visits) * len(self.groups))
        return replace(self, blocks=tuple(blocks), moments=moments, is_active=is_active)

    def with_response(self, response: ArrayLike) -> MmrmData:
        """Replace the response, row by row of the input; rows that are not analysed are ignored."""
        values = np.asarray(response, dtype=np.float64)
        if values.shape != (self.rows.n_input,):
            raise ValueError(
                f"response: shape {values.shape}: must be ({self.rows.n_input},) as the input had"
            )
        taken = values[self.rows.input_row]
        if not np.isfinite(taken[self.is_active]).all():
            raise ValueError("response: missing or infinite in an analysed row: must be finite")
        blocks = tuple(block_with_response(block, taken) for block in self.blocks)
        return replace(self, response=taken, blocks=blocks, moments=reassembled(self.moments, blocks))

    def shifted(self, delta: ArrayLike) -> MmrmData:
        """Add to the response, row by row of the input (as a delta-adjusted imputation does)."""
        moved = np.full(self.rows.n_input, np.nan)
        moved[self.rows.input_row] = self.response
        return self.with_response(moved + np.asarray(delta, dtype=np.float64))

    def _loses_a_level(self, is_active: NDArray[np.bool_]) -> bool:
        factors = [self.rows.visit, self.rows.group]
        if self.rows.design is not None:
            factors += list(self.rows.design.factors.values())
        return any(
            np.bincount(factor.codes[is_active], minlength=len(factor.levels)).min() == 0
            for factor in factors
        )

    def _prepared_again(self, keep: NDArray[np.bool_]) -> MmrmData:
        design = self.rows.design.restricted(keep) if self.rows.design else None
        rows = replace(
            self.rows,
            subject=self.rows.subject.restricted(keep),
            visit=self.rows.visit.restricted(keep),
            group=self.rows.group.restricted(keep),
            x=design.matrix() if design else self.rows.x[keep],
            design=design,
            input_row=self.rows.input_row[keep],
        )
        before = self.rows.design.factors if self.rows.design else {"visit": self.rows.visit}
        after = design.factors if design else {"visit": rows.visit}
        dropped = {**self.dropped_levels}
        for name, levels in _dropped(before, after).items():
            dropped[name] = (*dropped.get(name, ()), *levels)
        names = design.column_names() if design else self.column_names
        return _prepared(self.response_name, names, dropped, self.response[keep], rows)


def _prepared(
    response_name: str,
    column_names: tuple[str, ...],
    dropped: Mapping[str, tuple[Level, ...]],
    response: FloatArray,
    rows: _Rows,
) -> MmrmData:
    blocks = _blocks(rows, response)
    return MmrmData(
        response_name=response_name,
        column_names=column_names,
        dropped_levels=dropped,
        response=response,
        blocks=blocks,
        moments=assembled(blocks, len(rows.visit.levels) * len(rows.group.levels)),
        is_active=np.ones(response.size, dtype=np.bool_),
        rows=rows,
    )


def _blocks(rows: _Rows, response: FloatArray) -> tuple[Block, ...]:
    """Sort the rows by subject and position and gather the subjects with the same positions."""
    n_visits = len(rows.visit.levels)
    position = rows.group.codes * n_visits + rows.visit.codes
    row_at = np.full((len(rows.subject.levels), n_visits * len(rows.group.levels)), -1, dtype=np.int64)
    row_at[rows.subject.codes, position] = np.arange(response.size)
    _check_once(rows, row_at, position)
    patterns, pattern_of = np.unique(row_at >= 0, axis=0, return_inverse=True)
    blocks = []
    for number, pattern in enumerate(patterns):
        subjects = np.flatnonzero(pattern_of.reshape(-1) == number)
        positions = np.flatnonzero(pattern)
        taken = row_at[np.ix_(subjects, positions)]
        blocks.append(condensed(subjects, positions, taken, rows.x, response))
    return tuple(blocks)


def _check_once(rows: _Rows, row_at: NDArray[np.int64], position: NDArray[np.int64]) -> None:
    taken = row_at[rows.subject.codes, position]
    again = np.flatnonzero(taken != np.arange(taken.size))
    if again.size:
        row = int(again[0])
        who, when = rows.subject.levels[rows.subject.codes[row]], rows.visit.levels[rows.visit.codes[row]]
        raise ValueError(f"data: subject {who!r} at visit {when!r}: more than one row; must be one")
    per_group = (row_at >= 0).reshape(row_at.shape[0], len(rows.group.levels), -1).any(axis=2)
    several = np.flatnonzero(per_group.sum(axis=1) > 1)
    if several.size:
        subject = rows.subject.levels[several[0]]
        raise ValueError(f"group: subject {subject!r} is in several: must be constant within a subject")


def _read_subjects(values: ArrayLike) -> Factor:
    """Return the subjects numbered in the order of their first row."""
    items = np.asarray(values).tolist()
    missing = [row for row, item in enumerate(items) if is_missing(item)]
    if missing:
        raise ValueError(f"subject: missing in row {missing[0]}: must be given in every row")
    return read_factor("subject", values, list(dict.fromkeys(items)))


def _one_group(n: int) -> Factor:
    return Factor("group", (ALL,), np.zeros(n, dtype=np.int64))


def _dropped(before: Mapping[str, Factor], after: Mapping[str, Factor]) -> dict[str, tuple[Level, ...]]:
    dropped = {
        name: tuple(level for level in factor.levels if level not in after[name].levels)
        for name, factor in before.items()
    }
    return {name: levels for name, levels in dropped.items() if levels}
