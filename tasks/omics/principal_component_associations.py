"""What the main directions among the samples go with: people, visits, tissue, or how they were handled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field
from scipy.stats import false_discovery_control

from tasks.analysis import Analysis, Parameters
from tasks.omics.counts import CountMatrix, count_matrix
from tasks.omics.principal_components import components_of
from tasks.omics.sample_groups import SampleGroups, sample_groups
from tasks.stats.restricted_permutation import permutation_association
from warehouse.expression_plan import Expression

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray

SCHEMA = {
    "component": pl.Int64,
    "variance_pct": pl.Float64,
    "variable": pl.String,
    "kind": pl.String,
    "level": pl.String,
    "n_samples": pl.Int64,
    "n_subjects": pl.Int64,
    "n_values": pl.Int64,
    "r_squared": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "is_exact": pl.Boolean,
    "n_arrangements": pl.Int64,
    "seed": pl.Int64,
    "excluded_samples": pl.String,
    "method": pl.String,
}
SUBJECT = "usubjid"
LIBRARY_SIZE, GENES_DETECTED = "library_size_log2", "n_genes_detected"
_ISO_DAY = r"^\d{4}-\d{2}-\d{2}"
_LEAST = 3
METHODS = {
    "subject": "means of groups removed, participants rearranged within groups",
    "between subjects": "mean of each participant, values rearranged among participants",
    "within subjects": "means of participants removed, samples rearranged within participants",
}


class PrincipalComponentAssociationsParameters(Parameters):
    """Components as in principal_components; what makes a group; variables of omics.sample not to test."""

    n_variable_genes: int = Field(default=500, ge=2)
    n_components: int = Field(default=10, ge=1)
    group: tuple[str, ...] = ("tissue", "visit")
    leave_out: tuple[str, ...] = ()
    n_resamples: int = Field(default=9999, ge=99)
    seed: int = Field(default=20240101, ge=0)
    expression: Expression = Expression()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Variable:
    name: str
    kind: Literal["categorical", "numeric"]
    value: tuple[Any, ...]

    def table(self, rows: NDArray[np.intp]) -> FloatArray:
        values = [self.value[row] for row in rows]
        if self.kind == "numeric":
            return np.array(values, dtype=np.float64)[:, None]
        levels = sorted(set(values))
        return np.eye(len(levels))[[levels.index(value) for value in values]]


def principal_component_associations(
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    *,
    parameters: PrincipalComponentAssociationsParameters,
) -> pl.DataFrame:
    """Test each component against each variable of the samples, by permutation.

    Samples of one participant are not independent, so `level` says what is rearranged. A variable that is the
    same in all samples of a participant (sex, age) is tested between participants, on their mean scores; one
    that changes (visit, tissue, RNA quality) within participants, whose means are taken out; the participant
    itself within the groups. Tested over samples as if these were independent, sex would be confirmed as
    often as there are biopsies. `r_squared` is the share of the variance at that level. All tests of the
    table are one family (Benjamini-Hochberg). Library size and genes detected are tested beside the
    variables; dates count as days; identifiers and constants are left out, and numbers that only repeat a
    text.
    """
    counts = count_matrix(expression, sample, feature, declared=parameters.expression)
    _, found = components_of(counts, parameters.n_variable_genes, parameters.n_components)
    groups = sample_groups(counts.sample, parameters.group)
    rows: list[dict[str, Any]] = []
    for variable in _variables(counts, parameters.leave_out):
        rows += _tested(variable, found.score, groups, parameters)
    share = 100 * found.variance_share
    table = pl.DataFrame(
        rows,
        schema={name: dtype for name, dtype in SCHEMA.items() if name not in _ADDED},
        infer_schema_length=None,
    )
    adjusted: FloatArray = (
        false_discovery_control(table["p_value"].to_numpy()) if table.height else np.empty(0)
    )
    return (
        table.with_columns(
            variance_pct=pl.Series([share[number - 1] for number in table["component"]], dtype=pl.Float64),
            p_adjusted=pl.Series(adjusted, dtype=pl.Float64),
            excluded_samples=pl.lit(counts.excluded_text or None, dtype=pl.String),
        )
        .sort("component", "variable")
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )


_ADDED = ("variance_pct", "p_adjusted", "excluded_samples")


def _tested(
    variable: _Variable,
    score: FloatArray,
    groups: SampleGroups,
    parameters: PrincipalComponentAssociationsParameters,
) -> list[dict[str, Any]]:
    known = np.flatnonzero([value is not None for value in variable.value])
    subject, group = groups.subject[known], groups.group[known]
    level = _level(variable, known, subject)
    value: FloatArray
    block: NDArray[np.integer[Any]]
    if level == "between subjects":
        people, first, place = np.unique(subject, return_index=True, return_inverse=True)
        sums = np.zeros((people.size, score.shape[1]))
        np.add.at(sums, place, score[known])
        value, block = sums / np.bincount(place)[:, None], np.zeros(people.size, dtype=np.int64)
        predictor = variable.table(known[first])
    else:
        value, predictor = score[known], variable.table(known)
        block = group if level == "subject" else subject
    if len(value) < _LEAST or np.allclose(predictor, predictor[0]) or not _varies(predictor, block):
        return []
    tested = permutation_association(
        value, predictor, block, n_resamples=parameters.n_resamples, seed=parameters.seed
    )
    arranged = "all" if tested.is_exact else f"{tested.n_arrangements - 1} random"
    statistic = "one-way analysis of variance" if variable.kind == "categorical" else "correlation"
    return [
        {
            "component": component + 1,
            "variable": variable.name,
            "kind": variable.kind,
            "level": level,
            "n_samples": known.size,
            "n_subjects": np.unique(subject).size,
            "n_values": len({variable.value[row] for row in known}),
            "r_squared": float(tested.r_squared[component]),
            "p_value": float(tested.p_value[component]),
            "is_exact": tested.is_exact,
            "n_arrangements": tested.n_arrangements,
            "seed": tested.seed,
            "method": f"permutation test of {statistic}: {METHODS[level]}; {arranged} arrangements;"
            " Benjamini-Hochberg over all components and variables",
        }
        for component in range(score.shape[1])
    ]


def _level(variable: _Variable, known: NDArray[np.intp], subject: NDArray[Any]) -> str:
    if variable.name == SUBJECT:
        return "subject"
    seen: dict[int, Any] = {}
    for row, code in zip(known, subject, strict=True):
        if seen.setdefault(int(code), variable.value[row]) != variable.value[row]:
            return "within subjects"
    return "between subjects"


def _varies(predictor: FloatArray, block: NDArray[Any]) -> bool:
    return any(
        not np.allclose(predictor[block == code], predictor[block == code][0]) for code in np.unique(block)
    )


def _variables(counts: CountMatrix, leave_out: tuple[str, ...]) -> list[_Variable]:
    library = counts.count.sum(axis=0)
    found = [
        _Variable(name=LIBRARY_SIZE, kind="numeric", value=tuple(np.log2(library).tolist())),
        _Variable(name=GENES_DETECTED, kind="numeric", value=tuple((counts.count > 0).sum(axis=0).tolist())),
    ]
    for column in counts.sample.iter_columns():
        if column.name in leave_out or column.name == "sample_id" or column.name.startswith("_"):
            continue
        variable = _variable(column)
        distinct = {value for value in variable.value if value is not None}
        is_identifier = variable.kind == "categorical" and len(distinct) == sum(
            value is not None for value in variable.value
        )
        if len(distinct) > 1 and not is_identifier:
            found.append(variable)
    texts = [variable for variable in found if variable.kind == "categorical"]
    return [
        variable
        for variable in found
        if variable.kind == "categorical" or not any(_repeats(variable, text) for text in texts)
    ]


def _variable(column: pl.Series) -> _Variable:
    if column.dtype.is_temporal():
        column = column.cast(pl.Date).to_physical()
    elif column.dtype == pl.String and column.drop_nulls().len():
        days = column.str.slice(0, 10).str.to_date(strict=False)
        if column.drop_nulls().str.contains(_ISO_DAY).all() and days.null_count() == column.null_count():
            column = days.to_physical()
    if column.dtype.is_numeric():
        values = column.cast(pl.Float64).fill_nan(None)
        return _Variable(name=column.name, kind="numeric", value=tuple(values.to_list()))
    return _Variable(name=column.name, kind="categorical", value=tuple(column.cast(pl.String).to_list()))


def _repeats(number: _Variable, text: _Variable) -> bool:
    pairs = set(zip(number.value, text.value, strict=True))
    return len(pairs) == len(set(number.value)) == len(set(text.value))


ANALYSIS = Analysis(
    name="principal_component_associations",
    function=principal_component_associations,
    reads=("omics.expression", "omics.sample", "omics.feature"),
    parameters=PrincipalComponentAssociationsParameters,
)
