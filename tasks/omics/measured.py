"""What is set against clinical scores and the healthy level: signatures and genes, one value per sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tasks.omics.counts import count_matrix, samples_of
from tasks.omics.designs import SUBJECT, subject_contrast
from tasks.omics.normalised import vst
from warehouse.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tasks.omics.counts import CountMatrix
    from tasks.stats.types import FloatArray
    from warehouse.expression_plan import Expression, ExpressionContrast

GENE, SIGNATURE, MODULE = "gene", "signature", "module"
SCALE = "variance-stabilised expression (log2)"
ABOUT = {
    "kind": pl.String,
    "collection": pl.String,
    "name": pl.String,
    "scorer": pl.String,
    "feature_id": pl.String,
    "unit": pl.String,
}
# Exact p-values are right for any n; below this an estimate is too loose to build on.
SMALL_SAMPLE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Measurements (`about`, columns as in ABOUT) by the samples of `counts`; NaN where not scored."""

    about: pl.DataFrame
    value: FloatArray
    counts: CountMatrix

    def of(self, rows: Sequence[int]) -> Measured:
        return Measured(about=self.about[list(rows)], value=self.value[list(rows)], counts=self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnValues:
    """A value of each measurement (rows) in each subject (columns), subjects sorted."""

    subjects: tuple[str, ...]
    value: FloatArray

    def of(self, subjects: Sequence[str]) -> FloatArray:
        place = {subject: number for number, subject in enumerate(self.subjects)}
        return self.value[:, [place[subject] for subject in subjects]]


def measured(
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    scores: pl.DataFrame | None,
    *,
    declared: Expression,
    genes: Collection[str] = (),
) -> Measured:
    """Return the signature scores, and the protected genes and those named by feature_id, in each sample.

    Genes are variance-stabilised over the whole study without regard to groups, as the scores are.
    """
    counts = count_matrix(expression, sample, feature, declared=declared)
    is_taken = counts.feature["is_protected"] | counts.feature["feature_id"].is_in(list(genes))
    rows = np.flatnonzero(is_taken.to_numpy())
    of_genes = counts.feature[rows].select(
        kind=pl.lit(GENE),
        collection=pl.lit(None, dtype=pl.String),
        name=pl.coalesce("symbol", "feature_id"),
        scorer=pl.lit(None, dtype=pl.String),
        feature_id="feature_id",
        unit=pl.lit("log2"),
    )
    about, value = _signatures(scores, counts.sample["sample_id"].to_list())
    of_genes_value = vst(counts)[rows] if rows.size else np.empty((0, counts.sample.height))
    return Measured(
        about=pl.concat([about, of_genes.cast(pl.Schema(ABOUT))]),
        value=np.concatenate([value, of_genes_value]),
        counts=counts,
    )


def _signatures(scores: pl.DataFrame | None, samples: list[str]) -> tuple[pl.DataFrame, FloatArray]:
    if scores is None or scores.is_empty():
        return pl.DataFrame(schema=ABOUT), np.empty((0, len(samples)))
    keys = ["collection", "gene_set", "scorer"]
    wide = (
        scores.filter(pl.col("sample_id").is_in(samples))
        .pivot("sample_id", index=keys, values="score")
        .sort(keys)
    )
    missing = [pl.lit(None, dtype=pl.Float64).alias(name) for name in samples if name not in wide.columns]
    value = wide.with_columns(missing).select(pl.col(samples).cast(pl.Float64).fill_null(np.nan)).to_numpy()
    about = wide.select(
        kind=pl.lit(SIGNATURE),
        collection="collection",
        name="gene_set",
        scorer="scorer",
        feature_id=pl.lit(None, dtype=pl.String),
        unit=pl.lit("score"),
    )
    # A set that is scored in no sample, being too small, is no measurement.
    is_scored = np.isfinite(value).any(axis=1)
    return about.filter(pl.Series(is_scored)).cast(pl.Schema(ABOUT)), value[is_scored]


def with_modules(values: Measured, eigengenes: pl.DataFrame | None) -> Measured:
    """Return the measurements and the eigengene of each module; NaN in samples not of its network."""
    if eigengenes is None or eigengenes.is_empty():
        return values
    keys = ["network", "module", "colour"]
    wide = eigengenes.pivot("sample_id", index=keys, values="eigengene").sort(keys)
    samples = values.counts.sample["sample_id"].to_list()
    missing = [pl.lit(None, dtype=pl.Float64).alias(name) for name in samples if name not in wide.columns]
    value = wide.with_columns(missing).select(pl.col(samples).cast(pl.Float64).fill_null(np.nan)).to_numpy()
    about = wide.select(
        kind=pl.lit(MODULE),
        collection="network",
        name="colour",
        scorer=pl.lit("eigengene"),
        feature_id=pl.lit(None, dtype=pl.String),
        unit=pl.lit("eigengene"),
    ).cast(pl.Schema(ABOUT))
    return Measured(
        about=pl.concat([values.about, about]),
        value=np.concatenate([values.value, value]),
        counts=values.counts,
    )


def named_contrast(declared: Expression, contrast_id: str, key: str) -> ExpressionContrast:
    """Return the contrast that a parameter names, which must compare levels."""
    for contrast in declared.contrasts:
        if contrast.id == contrast_id:
            if not contrast.level_weights:
                raise AnalysisError(
                    f"{key}: {contrast_id!r}: must compare levels, not a slope or terms alone"
                )
            return contrast
    known = ", ".join(contrast.id for contrast in declared.contrasts) or "none: none is declared"
    raise AnalysisError(f"{key}: {contrast_id!r}: must be one of expression.contrasts: {known}")


def two_levels(contrast: ExpressionContrast, key: str) -> tuple[str, str]:
    """Return level and reference of a contrast of two levels."""
    if contrast.level is None or contrast.reference is None:
        raise AnalysisError(f"{key}: {contrast.id!r}: must compare one level with one reference")
    return contrast.level, contrast.reference


def own_contrasts(values: Measured, declared: Expression, contrast: ExpressionContrast) -> OwnValues:
    """Return the contrast in each subject who has a sample in all its cells."""
    sample, value = _of_design(values, declared, contrast)
    is_scored = np.isfinite(value)
    found: dict[tuple[int, str], float] = {}
    # Rows that were scored in the same samples are taken together; mostly that is all of them.
    patterns, pattern = np.unique(is_scored, axis=0, return_inverse=True)
    for number, scored in enumerate(patterns):
        rows = np.flatnonzero(pattern.reshape(-1) == number)
        subjects, difference = subject_contrast(
            sample.filter(pl.Series(scored)), contrast, value[np.ix_(rows, np.flatnonzero(scored))]
        )
        for column, subject in enumerate(subjects):
            found |= dict(
                zip(((int(row), subject) for row in rows), difference[:, column].tolist(), strict=True)
            )
    everybody = sorted({subject for _, subject in found})
    matrix = [[found.get((row, subject), np.nan) for subject in everybody] for row in range(len(value))]
    return OwnValues(
        subjects=tuple(everybody), value=np.array(matrix, dtype=np.float64).reshape(len(value), -1)
    )


def own_levels(values: Measured, declared: Expression, contrast: ExpressionContrast, level: str) -> OwnValues:
    """Return the mean at one level of a contrast's variable in each subject who has a sample there."""
    sample, value = _of_design(values, declared, contrast)
    chosen = (
        sample.select(SUBJECT, level=pl.col(contrast.variable).cast(pl.String))
        .with_row_index("place")
        .filter(pl.col("level") == level, pl.col(SUBJECT).is_not_null())
        .group_by(SUBJECT)
        .agg("place")
        .sort(SUBJECT)
    )
    means = [value[:, places].mean(axis=1) for places in chosen["place"].to_list()]
    stacked = np.stack(means, axis=1) if means else np.empty((len(value), 0))
    return OwnValues(subjects=tuple(chosen[SUBJECT]), value=stacked)


def _of_design(
    values: Measured, declared: Expression, contrast: ExpressionContrast
) -> tuple[pl.DataFrame, FloatArray]:
    chosen = samples_of(values.counts, declared.design_of(contrast)).sample
    place = {name: number for number, name in enumerate(values.counts.sample["sample_id"])}
    missing = [name for name in (SUBJECT, contrast.variable) if name not in chosen.columns]
    if missing:
        raise AnalysisError(
            f"contrast {contrast.id}: {', '.join(missing)}: must be a column of omics.sample to be taken"
            " within subjects"
        )
    return chosen, values.value[:, [place[name] for name in chosen["sample_id"]]]


def small_sample_warning(n: int) -> str | None:
    if n >= SMALL_SAMPLE:
        return None
    return f"{n} patients, fewer than {SMALL_SAMPLE}: the estimate is loose and one of them can turn it"
