"""How high each signature stands in each sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from tasks.analysis import Analysis, Parameters
from tasks.omics.counts import count_matrix
from tasks.omics.gene_sets import gene_sets, measured_genes, member_rows
from tasks.omics.normalised import vst
from tasks.omics.regulators import regulators, weight_matrix
from tasks.stats.gene_sets.gsva import gsva
from tasks.stats.gene_sets.mean_z import mean_z
from tasks.stats.gene_sets.ssgsea import ssgsea
from tasks.stats.gene_sets.univariate_linear_model import univariate_linear_model
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tasks.omics.counts import CountMatrix
    from tasks.stats.gene_sets.membership import IndexArray, SampleScores
    from tasks.stats.types import FloatArray

Scorer = Literal["gsva", "ssgsea", "mean_z"]

SCHEMA = {
    "sample_id": pl.String,
    "usubjid": pl.String,
    "visit": pl.String,
    "tissue": pl.String,
    "collection": pl.String,
    "gene_set": pl.String,
    "scorer": pl.String,
    "score": pl.Float64,
    "size_in_collection": pl.Int64,
    "size_scored": pl.Int64,
    "n_genes": pl.Int64,
    "n_samples": pl.Int64,
    "excluded_samples": pl.String,
    "method": pl.String,
}
_SCORERS: dict[Scorer, Callable[[FloatArray, Sequence[IndexArray]], SampleScores]] = {
    "gsva": gsva,
    "ssgsea": ssgsea,
    "mean_z": mean_z,
}
_SCALE = "VST, blind to the design"
_LEAST_SAMPLES = 2
_LEAST_GENES = 3
# The columns of omics.sample that name a group where a study has them.
_GROUPING = ("tissue", "visit")


class SignatureScoresParameters(Parameters):
    """Which scorers and collections, and limits on the scored members of a set.

    Without `collections` all are scored. `min_targets` is the fewest scored targets of a regulator.
    """

    scorers: tuple[Scorer, ...] = ("gsva", "ssgsea", "mean_z")
    collections: tuple[str, ...] = ()
    min_size: int = Field(default=5, ge=1)
    max_size: int = Field(default=500, ge=1)
    min_targets: int = Field(default=5, ge=1)
    expression: Expression = Expression()

    @model_validator(mode="after")
    def _is_consistent(self) -> SignatureScoresParameters:
        if self.max_size < self.min_size:
            raise ValueError(f"max_size: {self.max_size}: must be min_size ({self.min_size}) or more")
        if not self.scorers or len(set(self.scorers)) < len(self.scorers):
            raise ValueError(f"scorers: {list(self.scorers)}: must name at least one, each once")
        return self


def signature_scores(
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    gene_set: pl.DataFrame,
    weight: pl.DataFrame | None,
    *,
    parameters: SignatureScoresParameters,
) -> pl.DataFrame:
    """Score each gene set in each sample by GSVA, ssGSEA and mean z, and each regulator by a linear model.

    All samples that the declared rules keep are scored together on variance-stabilised counts that know
    nothing of the design. GSVA and mean z set each gene against its own values in all samples, so a score is
    relative to the samples of the study; ssGSEA sets a sample's genes against each other, over the range of
    the collection's scores. The three agree on strong signals and differ on sets of few or opposed genes; all
    are given so that none can be chosen after the fact. A regulator (scorer `ulm`) has the t of the slope of
    its sample's expression, less each gene's mean over the samples, on its weights. Genes: those with the
    declared `min_count` in `min_samples` samples (by default as many as the smallest group of tissue and
    visit has), and the protected ones. Sets with too few or too many scored genes have no rows.
    """
    counts = count_matrix(expression, sample, feature, declared=parameters.expression)
    if counts.sample.height < _LEAST_SAMPLES:
        raise AnalysisError(
            f"omics.sample: {counts.sample.height} sample(s) kept: at least {_LEAST_SAMPLES} are needed to"
            " score one against the others"
        )
    values, symbols = _scored_expression(counts, parameters.expression)
    parts = _set_scores(values, symbols, gene_set, feature, parameters)
    if weight is not None:
        parts += _regulator_scores(values, symbols, weight, feature, parameters)
    scored = [part for part in parts if part.height]
    if not scored:
        raise AnalysisError(
            f"signature_scores: no gene set has {parameters.min_size} to {parameters.max_size} of the"
            f" {len(symbols)} scored genes; its symbols must be those of omics.feature"
        )
    samples = counts.sample.with_row_index("place").with_columns(
        pl.lit(None, dtype=pl.String).alias(name)
        for name in ("usubjid", *_GROUPING)
        if name not in counts.sample.columns
    )
    return (
        pl.concat(scored)
        .join(samples.select("place", "sample_id", "usubjid", "visit", "tissue"), on="place", how="left")
        .with_columns(
            n_genes=pl.lit(len(symbols)),
            n_samples=pl.lit(counts.sample.height),
            excluded_samples=pl.lit(counts.excluded_text),
        )
        .sort("collection", "gene_set", "scorer", "sample_id")
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )


def _scored_expression(counts: CountMatrix, declared: Expression) -> tuple[FloatArray, list[str]]:
    """Return the stabilised expression of the genes that are scored, one row for each symbol."""
    enough = (counts.count >= declared.min_count).sum(axis=1) >= _samples_needed(counts.sample, declared)
    kept = enough | (counts.feature["is_protected"].to_numpy() & counts.count.any(axis=1))
    rows = measured_genes(counts.feature.filter(pl.Series(kept)), counts.count[kept].mean(axis=1))
    if rows.height < _LEAST_GENES:
        raise AnalysisError(
            f"signature_scores: {rows.height} gene(s) with a symbol pass the filter of expression.min_count"
            f" ({declared.min_count}): at least {_LEAST_GENES} are needed"
        )
    return vst(counts)[kept][rows["row"].to_numpy()], rows["symbol"].to_list()


def _samples_needed(sample: pl.DataFrame, declared: Expression) -> int:
    if declared.min_samples is not None:
        return declared.min_samples
    grouping = [name for name in _GROUPING if name in sample.columns]
    return int(sample.group_by(grouping).len()["len"].min() or 1) if grouping else sample.height  # type: ignore[arg-type]


def _set_scores(
    values: FloatArray,
    symbols: list[str],
    gene_set: pl.DataFrame,
    feature: pl.DataFrame,
    parameters: SignatureScoresParameters,
) -> list[pl.DataFrame]:
    known = gene_sets(gene_set, feature, declared=parameters.expression)
    found = known.sets["collection"].unique().sort().to_list()
    if unknown := sorted(set(parameters.collections) - set(found)):
        raise AnalysisError(
            f"signature_scores.collections: {', '.join(unknown)}: must be of omics.gene_set:"
            f" {', '.join(found)}"
        )
    parts = []
    for collection in parameters.collections or found:
        sets = known.sets.filter(pl.col("collection") == collection)
        rows = member_rows(known.member, sets, symbols)
        fits = [
            parameters.min_size <= each.size <= parameters.max_size and each.size < len(symbols)
            for each in rows
        ]
        if not any(fits):
            continue
        sets = sets.filter(pl.Series(fits))
        rows = [each for each, is_kept in zip(rows, fits, strict=True) if is_kept]
        parts += [_scores_by(scorer, values, sets, rows) for scorer in parameters.scorers]
    return parts


def _scores_by(
    scorer: Scorer, values: FloatArray, sets: pl.DataFrame, rows: Sequence[IndexArray]
) -> pl.DataFrame:
    result = _SCORERS[scorer](values, rows)
    described = sets.select(
        "collection",
        "gene_set",
        "size_in_collection",
        size_scored=pl.Series(result.size, dtype=pl.Int64),
        scorer=pl.lit(scorer),
        method=pl.lit(f"{result.method}; {_SCALE}"),
    )
    return _long(described, result.score)


def _regulator_scores(
    values: FloatArray,
    symbols: list[str],
    weight: pl.DataFrame,
    feature: pl.DataFrame,
    parameters: SignatureScoresParameters,
) -> list[pl.DataFrame]:
    known = regulators(weight, feature)
    matrix = weight_matrix(known.target, known.regulator, symbols)
    result = univariate_linear_model(values - values.mean(axis=1, keepdims=True), matrix)
    enough = result.n_targets >= parameters.min_targets
    described = known.regulator.filter(pl.Series(enough)).select(
        "collection",
        gene_set="regulator",
        size_in_collection="n_targets_in_collection",
        size_scored=pl.Series(result.n_targets[enough], dtype=pl.Int64),
        scorer=pl.lit("ulm"),
        method=pl.lit(
            f"{result.method}: t of the slope on the weights; {_SCALE}, less the mean of each gene"
        ),
    )
    return [_long(described, result.statistic[enough])]


def _long(described: pl.DataFrame, score: FloatArray) -> pl.DataFrame:
    """Return one row for each set and sample; a set whose genes do not vary has no score."""
    n_samples = score.shape[1]
    every = np.repeat(np.arange(described.height), n_samples)
    return described[every.tolist()].with_columns(
        place=pl.Series(np.tile(np.arange(n_samples), described.height), dtype=pl.UInt32),
        score=pl.Series(score.ravel(), dtype=pl.Float64).fill_nan(None),
    )


ANALYSIS = Analysis(
    name="signature_scores",
    function=signature_scores,
    reads=("omics.expression", "omics.sample", "omics.feature", "omics.gene_set"),
    parameters=SignatureScoresParameters,
    uses=("omics.regulator_weight",),
)
