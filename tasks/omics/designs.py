"""Designs of expression: the samples that a formula can use, its matrix, and its contrasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tasks.omics.confounding import confounded, disconnected
from tasks.omics.counts import CountMatrix, samples_of
from tasks.stats.linear_design import INTERCEPT, Design, build_design, independent_columns
from warehouse.errors import AnalysisError
from warehouse.expression_plan import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray
    from warehouse.expression_plan import ExpressionContrast, ExpressionDesign

SUBJECT = "usubjid"
_SHOWN = 8
_LEAST_SAMPLES_OF_A_SUBJECT = 2
# A contrast that the samples do not determine leaves a residual of order 1; rounding one of order 1e-14.
_ESTIMABLE = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignMatrix:
    """A design put into numbers.

    `counts` holds the samples used, `group` among their columns, and the reason for each left out.
    `matrix` is samples by coefficients and of full column rank: the intercept, the levels of each factor
    against its first, covariates centred and divided by their standard deviation. `declared` and
    `declared_columns` are the same before columns that follow from earlier ones were dropped, as with
    subjects nested in arms. `levels` has the levels of each factor, the reference first; `scale` the standard
    deviation of each covariate. `subject` numbers the subject of each sample, as named in `subjects`;
    `has_subject_effects` says that the matrix compares within them. `block` numbers the correlated samples
    of a design that has a block.
    """

    design: ExpressionDesign
    counts: CountMatrix
    matrix: FloatArray
    columns: tuple[str, ...]
    declared: FloatArray
    declared_columns: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]
    scale: Mapping[str, float]
    subject: NDArray[np.int64]
    subjects: tuple[str, ...]
    has_subject_effects: bool
    block: NDArray[np.int64] | None

    @property
    def sample(self) -> pl.DataFrame:
        return self.counts.sample

    @property
    def residual_df(self) -> int:
        return int(self.matrix.shape[0] - self.matrix.shape[1])

    @property
    def smallest_group(self) -> int:
        """The size of the smallest level of the factor that is compared; all samples without one."""
        factors = [term for term in self.design.terms if term in self.levels and term != SUBJECT]
        name = GROUP if GROUP in factors else (factors[-1] if factors else None)
        if name is None:
            return self.sample.height
        return min(int(n) for n in self.sample[name].value_counts()["count"])


def design_matrix(counts: CountMatrix, design: ExpressionDesign) -> DesignMatrix:
    """Return the design of the samples that it can use.

    A sample without a value for a term is left out, and so is the only sample of a subject where subjects
    are a term: it says nothing of differences within subjects. A subject with some of its cells stays.

    Raises
    ------
    AnalysisError
        For a term that is no column, two samples of a subject in one cell, terms that cannot be told apart,
        and too few samples for the coefficients.
    """
    place = f"design {design.id} ({design.formula.strip()})"
    chosen = _usable(samples_of(counts, design), design, place)
    sample = chosen.sample
    _refuse_replicates(sample, design, place)
    chosen = _with_two_samples(chosen, design, place)
    sample = chosen.sample
    described, scale = _described(sample, design, place)
    _refuse_confounded(sample, design, described, place)
    declared = described.matrix()
    kept = independent_columns(declared)
    matrix = np.ascontiguousarray(declared[:, kept])
    if matrix.shape[0] <= matrix.shape[1]:
        raise AnalysisError(
            f"{place}: {matrix.shape[0]} samples for {matrix.shape[1]} coefficients leave nothing to tell"
            f" chance by: at least {matrix.shape[1] + 1} samples are needed{_left_out(chosen)}"
        )
    columns = described.column_names()
    subject, subjects = _subjects(sample)
    return DesignMatrix(
        design=design,
        counts=chosen,
        matrix=matrix,
        columns=tuple(name for name, is_kept in zip(columns, kept, strict=True) if is_kept),
        declared=declared,
        declared_columns=columns,
        levels={variable.name: variable.levels for variable in described.variables if variable.is_factor},
        scale=scale,
        subject=subject,
        subjects=subjects,
        has_subject_effects=_spans(matrix, subject),
        block=None if design.block is None else _codes(sample[design.block].cast(pl.String).to_list())[0],
    )


def contrast_vector(matrix: DesignMatrix, contrast: ExpressionContrast) -> FloatArray:
    """Return the weights of the coefficients that make the contrast, in the order of `matrix.columns`.

    For levels it is the weighted sum of what the model expects at each, all other terms held; for a slope
    the effect of one unit of the covariate.

    Raises
    ------
    AnalysisError
        For a level without samples, a slope of a factor, levels of a covariate, and a contrast that the
        samples do not determine.
    """
    place = f"contrast {contrast.id}"
    wanted = np.zeros(len(matrix.declared_columns))
    if contrast.slope:
        if contrast.variable not in matrix.scale:
            raise AnalysisError(f"{place}: slope: {contrast.variable} is text: name level and reference")
        wanted[matrix.declared_columns.index(contrast.variable)] = 1 / matrix.scale[contrast.variable]
    else:
        for level, weight in contrast.level_weights.items():
            wanted[_column_of(matrix, contrast, level)] = weight
        wanted[0] = 0.0
    # What is a weighted sum of samples is determined by them, and the same sum of the columns kept.
    of_samples, *_ = np.linalg.lstsq(matrix.declared.T, wanted, rcond=None)
    if np.abs(matrix.declared.T @ of_samples - wanted).max() > _ESTIMABLE * np.abs(wanted).max():
        factors = [
            term for term in matrix.design.terms if term in matrix.levels and term != contrast.variable
        ]
        reason = disconnected(matrix.sample, contrast.variable, list(contrast.level_weights), factors)
        raise AnalysisError(
            f"{place}: cannot be estimated: {reason or 'its effect cannot be told from the other terms'};"
            f" design {matrix.design.formula.strip()}, {matrix.sample.height} samples"
            f"{_left_out(matrix.counts)}"
        )
    weights = matrix.matrix.T @ of_samples
    weights[np.abs(weights) < _ESTIMABLE * np.abs(weights).max()] = 0.0
    return np.asarray(weights, dtype=np.float64)


def reduced_matrix(matrix: DesignMatrix, without: Sequence[str], place: str) -> FloatArray:
    """Return the matrix of the design without some terms, for a likelihood-ratio test of them."""
    terms = [term for term in matrix.design.terms if term not in without]
    described, _ = _described(matrix.sample, matrix.design, place, terms)
    columns = described.matrix() if terms else np.ones((matrix.sample.height, 1))
    reduced = np.ascontiguousarray(columns[:, independent_columns(columns)])
    if reduced.shape[1] == matrix.matrix.shape[1]:
        raise AnalysisError(
            f"{place}: without: {', '.join(without)}: the design says as much without, so nothing is tested"
        )
    return reduced


def subject_contrast(
    sample: pl.DataFrame, contrast: ExpressionContrast, values: FloatArray, subject: str = SUBJECT
) -> tuple[list[str], FloatArray]:
    """Return the contrast of each subject's own values, for subjects with a sample at every level of it.

    Parameters
    ----------
    sample : DataFrame
        The samples in the order of the columns of `values`, with `subject` and the contrast's variable.
    contrast : ExpressionContrast
        One with levels; positive is higher where its weights are.
    values : (k, samples) array
        Anything on a scale where differences mean something, such as log2 expression or scores.

    Returns
    -------
    subjects : list of str
        Sorted.
    difference : (k, subjects) array
        The weighted sum of the means of each subject's cells; NaN where one of the subject's values is.
    """
    weights = contrast.level_weights
    if not weights:
        raise AnalysisError(f"contrast {contrast.id}: must have levels to be taken within subjects")
    for column in (subject, contrast.variable):
        if column not in sample.columns:
            raise AnalysisError(f"contrast {contrast.id}: {column}: must be a column of the samples")
    cells = (
        sample.select(
            pl.col(subject).cast(pl.String).alias("subject"),
            pl.col(contrast.variable).cast(pl.String).alias("level"),
        )
        .with_row_index("position")
        .filter(pl.col("subject").is_not_null() & pl.col("level").is_in(list(weights)))
        .with_columns(
            n=pl.len().over("subject", "level"), n_levels=pl.col("level").n_unique().over("subject")
        )
        .filter(pl.col("n_levels") == len(weights))
    )
    subjects = cells["subject"].unique().sort().to_list()
    difference = np.empty((len(values), len(subjects)))
    # Subject by subject: in one product a missing value would spread to everybody.
    for number, subject_name in enumerate(subjects):
        own = cells.filter(subject=subject_name)
        share = [weights[level] / n for level, n in own.select("level", "n").iter_rows()]
        difference[:, number] = values[:, own["position"].to_numpy()] @ np.array(share)
    return subjects, difference


def _column_of(matrix: DesignMatrix, contrast: ExpressionContrast, level: str) -> int:
    """Return the declared column of a level, the intercept's for the reference level."""
    levels = matrix.levels.get(contrast.variable)
    if levels is None:
        raise AnalysisError(
            f"contrast {contrast.id}: {contrast.variable} is a number: it has no levels; ask for its slope"
        )
    if level not in levels:
        raise AnalysisError(
            f"contrast {contrast.id}: {contrast.variable} {level!r}: no sample of the design is one;"
            f" there are {', '.join(levels)}{_left_out(matrix.counts)}"
        )
    if level == levels[0]:
        return 0
    return matrix.declared_columns.index(f"{contrast.variable}[{level}]")


def _usable(counts: CountMatrix, design: ExpressionDesign, place: str) -> CountMatrix:
    """Return the samples with a value for every term."""
    sample = counts.sample
    needed = [*design.terms, *([design.block] if design.block else [])]
    if unknown := [name for name in needed if name not in sample.columns]:
        raise AnalysisError(
            f"{place}: {', '.join(unknown)}: must be columns of omics.sample: {', '.join(sample.columns)}"
        )
    reasons: dict[str, str] = {}
    for name in needed:
        column = sample[name]
        is_missing = column.is_null() | (column.is_nan() if column.dtype.is_float() else pl.lit(value=False))
        missing = sample.filter(is_missing)["sample_id"]
        reasons |= {one: f"no {name}" for one in missing if one not in reasons}
    kept = counts.of([one not in reasons for one in sample["sample_id"]], reasons)
    if not kept.sample.height:
        raise AnalysisError(f"{place}: no sample is left{_left_out(kept)}")
    return kept


def _unit(design: ExpressionDesign) -> str | None:
    return SUBJECT if SUBJECT in design.terms else design.block


def _is_factor(sample: pl.DataFrame, name: str) -> bool:
    return name in {SUBJECT, GROUP} or not sample[name].dtype.is_numeric()


def _refuse_replicates(sample: pl.DataFrame, design: ExpressionDesign, place: str) -> None:
    """Two libraries of one biopsy are not two biopsies: which of them counts is the study's decision."""
    if (unit := _unit(design)) is None:
        return
    cell = [name for name in design.terms if name != unit and _is_factor(sample, name)]
    together = (
        sample.group_by(unit, *cell, maintain_order=True)
        .agg("sample_id")
        .filter(pl.col("sample_id").list.len() > 1)
        .sort(unit, *cell)
    )
    if together.height:
        which = "; ".join(
            f"{' at '.join([str(keys[0]), ' '.join(map(str, keys[1:]))] if keys[1:] else [str(keys[0])])}:"
            f" {', '.join(samples)}"
            for *keys, samples in together.head(_SHOWN).iter_rows()
        )
        raise AnalysisError(
            f"{place}: {which}: one sample of each {unit} in each cell is needed; name those not to be used"
            " in expression.exclude_samples, or restrict the design by `samples`"
        )


def _with_two_samples(counts: CountMatrix, design: ExpressionDesign, place: str) -> CountMatrix:
    if SUBJECT not in design.terms:
        return counts
    sample = counts.sample
    n = sample.select(pl.len().over(SUBJECT)).to_series()
    alone = sample.filter(n < _LEAST_SAMPLES_OF_A_SUBJECT)
    reasons = {
        one: f"the only sample of subject {subject}, and the comparison is within subjects"
        for one, subject in alone.select("sample_id", SUBJECT).iter_rows()
    }
    kept = counts.of(n >= _LEAST_SAMPLES_OF_A_SUBJECT, reasons)
    if not kept.sample.height:
        raise AnalysisError(
            f"{place}: no subject has two samples, so nothing can be compared within subjects: leave"
            f" {SUBJECT} out of the formula{_left_out(kept)}"
        )
    return kept


def _described(
    sample: pl.DataFrame, design: ExpressionDesign, place: str, terms: Sequence[str] | None = None
) -> tuple[Design, dict[str, float]]:
    """Return the columns of the terms, in the order of the formula, and the scale of each covariate."""
    factors: dict[str, list[str]] = {}
    covariates: dict[str, FloatArray] = {}
    scale: dict[str, float] = {}
    for name in design.terms if terms is None else terms:
        if _is_factor(sample, name):
            factors[name] = sample[name].cast(pl.String).to_list()
            continue
        value = sample[name].cast(pl.Float64).to_numpy()
        if not np.isfinite(value).all():
            raise AnalysisError(f"{place}: {name}: infinite in a sample: must be a number")
        spread = float(value.std())
        # A constant has no spread; it is refused in words later.
        scale[name] = spread if spread > 0 else 1.0
        covariates[name] = (value - value.mean()) / scale[name]
    levels = {name: _ordered_levels(sample, name, design) for name in factors}
    described = build_design(sample.height, factors=factors, covariates=covariates, levels=levels)
    return described, scale


def _ordered_levels(sample: pl.DataFrame, name: str, design: ExpressionDesign) -> list[str]:
    """Return the levels with the reference first: visits in their order in time, all else sorted."""
    parts = design.group if name == GROUP else (name,)
    order = []
    for part in parts:
        if part == "visit" and "visitnum" in sample.columns:
            order.append(pl.col("visitnum").min().over("visit"))
        order.append(pl.col(part).cast(pl.String))
    keys = [f"key_{number}" for number in range(len(order))]
    keyed = sample.select(
        pl.col(name).cast(pl.String), *(key.alias(to) for key, to in zip(order, keys, strict=True))
    )
    return keyed.sort(keys, nulls_last=True)[name].unique(maintain_order=True).to_list()


def _refuse_confounded(sample: pl.DataFrame, design: ExpressionDesign, described: Design, place: str) -> None:
    columns = described.matrix()
    rank = _rank(columns)
    # A factor of one level has no columns that could be too many.
    if rank == columns.shape[1] and all(sample[name].n_unique() > 1 for name in design.terms):
        return
    named = [INTERCEPT, *(described.terms[at][0] for at in described.column_terms()[1:])]
    factors = {variable.name for variable in described.variables if variable.is_factor}

    def rank_of(terms: Iterable[str]) -> int:
        kept = {INTERCEPT, *terms}
        return _rank(columns[:, [name in kept for name in named]])

    for term in design.terms:
        others = [name for name in design.terms if name != term]
        if rank_of(others) == rank:
            reason = confounded(
                sample,
                term,
                others,
                factors,
                adds_nothing_to=lambda fewer, term=term: rank_of([*fewer, term]) == rank_of(fewer),  # type: ignore[misc]
            )
            raise AnalysisError(f"{place}: {reason}")


def _rank(columns: FloatArray) -> int:
    return int(independent_columns(columns).sum())


def _codes(names: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    distinct, codes = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
    return codes.astype(np.int64), tuple(map(str, distinct))


def _subjects(sample: pl.DataFrame) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    # Nothing is known to join a sample without a subject to any other.
    own = pl.format("sample {}", "sample_id")
    named = (
        sample.select(pl.col(SUBJECT).cast(pl.String).fill_null(own))
        if SUBJECT in sample.columns
        else sample.select(own)
    )
    return _codes(named.to_series().to_list())


def _spans(matrix: FloatArray, subject: NDArray[np.int64]) -> bool:
    """Tell whether the columns hold an effect of each subject, some subject having several samples."""
    n = int(subject.max()) + 1
    if n == len(subject):
        return False
    indicator = np.eye(n)[subject]
    fitted, *_ = np.linalg.lstsq(matrix, indicator, rcond=None)
    return bool(np.abs(matrix @ fitted - indicator).max() < _ESTIMABLE)


def _left_out(counts: CountMatrix) -> str:
    return f"; left out: {counts.excluded_text}" if counts.excluded else ""
