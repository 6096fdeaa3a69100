"""The counts that all analyses of expression work on: checked, complete, without failed libraries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from warehouse.errors import AnalysisError
from warehouse.expression_plan import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray
    from warehouse.expression_plan import Expression, ExpressionDesign

_MANY = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CountMatrix:
    """Counts of genes by samples.

    `feature` (feature_id, symbol, ensembl_id, is_protected) has the rows in order of feature_id, `sample`
    (all columns of omics.sample) the columns in order of sample_id; `excluded` gives the reason for each
    sample that is listed and is not among them.
    """

    feature: pl.DataFrame
    sample: pl.DataFrame
    count: FloatArray
    excluded: Mapping[str, str]

    @property
    def excluded_text(self) -> str:
        return "; ".join(f"{sample} ({reason})" for sample, reason in sorted(self.excluded.items()))

    def of(self, is_kept: Iterable[bool], reasons: Mapping[str, str] | None = None) -> CountMatrix:
        """Return the samples kept; `reasons` joins the exclusions, for those left out that it names."""
        kept = np.fromiter(is_kept, dtype=np.bool_)
        return CountMatrix(
            feature=self.feature,
            sample=self.sample.filter(pl.Series(kept)),
            count=np.ascontiguousarray(self.count[:, kept]),
            excluded={**self.excluded, **(reasons or {})},
        )


def count_matrix(
    expression: pl.DataFrame, sample: pl.DataFrame, feature: pl.DataFrame, *, declared: Expression
) -> CountMatrix:
    """Return the counts of all samples of the study that the declared rules keep.

    A sample that is listed but was not counted is excluded, as a failed library is.

    Raises
    ------
    AnalysisError
        For a count that is missing, negative or given twice, counts without a sample, no counts at all, and
        names in the declaration that the study does not have.
    """
    genes = _genes(expression, feature, declared)
    samples = _samples(sample, declared)
    is_counted = pl.col("sample_id").is_in(expression["sample_id"].unique().implode())
    counted = samples.filter(is_counted)
    if not counted.height:
        raise AnalysisError("omics.expression: no sample of omics.sample has counts")
    count = _counts(expression, genes, counted)
    excluded = dict.fromkeys(samples.filter(~is_counted)["sample_id"], "no counts delivered")
    excluded |= _exclusions(counted, count, declared)
    everything = CountMatrix(feature=genes, sample=counted, count=count, excluded={})
    return everything.of([name not in excluded for name in counted["sample_id"]], excluded)


def with_group(sample: pl.DataFrame, design: ExpressionDesign) -> pl.DataFrame:
    """Return the samples with the column `group` of the design; null where one of its columns is null."""
    if not design.group:
        return sample
    if unknown := [name for name in design.group if name not in sample.columns]:
        raise AnalysisError(
            f"design {design.id}: group: {_listed(unknown)}: must be columns of omics.sample:"
            f" {', '.join(sample.columns)}"
        )
    return sample.with_columns(
        pl.concat_str([pl.col(name).cast(pl.String) for name in design.group], separator=" ").alias(GROUP)
    )


def samples_of(counts: CountMatrix, design: ExpressionDesign) -> CountMatrix:
    """Return the samples that a design asks for, with its `group`."""
    sample = with_group(counts.sample, design)
    kept = pl.Series([True] * sample.height, dtype=pl.Boolean)
    for column, values in design.samples.items():
        if column not in sample.columns:
            raise AnalysisError(
                f"design {design.id}: samples: {column}: must be a column of omics.sample:"
                f" {', '.join(sample.columns)}"
            )
        text = sample[column].cast(pl.String)
        if unknown := set(values) - set(text.drop_nulls()):
            raise AnalysisError(
                f"design {design.id}: samples: {column}: {_listed(unknown)}: must be one of"
                f" {_listed(set(text.drop_nulls()))}"
            )
        kept &= text.is_in(list(values)).fill_null(value=False)
    chosen = counts.of(kept)
    return CountMatrix(
        feature=chosen.feature, sample=sample.filter(kept), count=chosen.count, excluded=chosen.excluded
    )


def _listed(values: Iterable[object]) -> str:
    named = sorted(str(value) for value in values)
    more = f" and {len(named) - _MANY} more" if len(named) > _MANY else ""
    return ", ".join(named[:_MANY]) + more


def _genes(expression: pl.DataFrame, feature: pl.DataFrame, declared: Expression) -> pl.DataFrame:
    repeated = feature.filter(pl.col("feature_id").is_duplicated())["feature_id"].unique().to_list()
    if repeated:
        raise AnalysisError(f"omics.feature: {_listed(repeated)}: one row per feature_id is needed")
    ensembl = pl.col("ensembl_id") if "ensembl_id" in feature.columns else pl.lit(None, dtype=pl.String)
    genes = (
        expression.select(pl.col("feature_id").unique())
        .join(feature.select("feature_id", "symbol", ensembl_id=ensembl), on="feature_id", how="left")
        .sort("feature_id")
    )
    if unknown := set(declared.protected_genes) - set(genes["symbol"].drop_nulls()):
        raise AnalysisError(
            f"expression.protected_genes: {_listed(unknown)}: must be symbols of delivered genes, as in"
            " omics.feature"
        )
    return genes.with_columns(
        is_protected=pl.col("symbol").is_in(list(declared.protected_genes)).fill_null(value=False)
    )


def _samples(sample: pl.DataFrame, declared: Expression) -> pl.DataFrame:
    repeated = sample.filter(pl.col("sample_id").is_duplicated())["sample_id"].unique().to_list()
    if repeated:
        raise AnalysisError(f"omics.sample: {_listed(repeated)}: one row per sample_id is needed")
    named = {excluded.sample_id for excluded in declared.exclude_samples}
    if unknown := named - set(sample["sample_id"]):
        raise AnalysisError(
            f"expression.exclude_samples: {_listed(unknown)}: must be sample_id of omics.sample"
        )
    return sample.sort("sample_id")


def _counts(expression: pl.DataFrame, genes: pl.DataFrame, sample: pl.DataFrame) -> FloatArray:
    """Return genes by samples in the order of their ids, every cell a count."""
    delivered = expression["sample_id"].unique()
    if unlisted := set(delivered) - set(sample["sample_id"]):
        raise AnalysisError(f"omics.expression: sample {_listed(unlisted)}: must be listed in omics.sample")
    wrong = expression.filter((pl.col("count") < 0) | pl.col("count").is_null())
    if wrong.height:
        feature_id, sample_id, count = wrong.select("feature_id", "sample_id", "count").row(0)
        raise AnalysisError(
            f"omics.expression: count {count} of {feature_id} in {sample_id} ({wrong.height} such rows): "
            "must be 0 or more"
        )
    # By place in a flat matrix: a pivot does the same several times slower, and every analysis needs it.
    place = _place(expression["feature_id"], genes["feature_id"]) * sample.height
    place += _place(expression["sample_id"], sample["sample_id"])
    times = np.bincount(place, minlength=genes.height * sample.height)
    if (times > 1).any():
        repeated = expression.row(int(np.flatnonzero(times[place] > 1)[0]), named=True)
        raise AnalysisError(
            f"omics.expression: {repeated['feature_id']} in {repeated['sample_id']}: must be given once"
        )
    if (times == 0).any():
        gaps = (times == 0).reshape(genes.height, sample.height).any(axis=0)
        raise AnalysisError(
            f"omics.expression: sample {_listed(sample['sample_id'].filter(pl.Series(gaps)))}: lacks genes"
            " that others have; a zero must be given"
        )
    count = np.empty(genes.height * sample.height)
    count[place] = expression["count"].to_numpy()
    return count.reshape(genes.height, sample.height)


def _place(names: pl.Series, order: pl.Series) -> NDArray[np.int64]:
    return names.cast(pl.Enum(order)).to_physical().to_numpy().astype(np.int64)


def _exclusions(sample: pl.DataFrame, count: FloatArray, declared: Expression) -> dict[str, str]:
    library = count.sum(axis=0)
    # The median of all libraries, so that leaving one out does not move the limit for the others.
    limit = declared.min_library_pct / 100 * float(np.median(library)) if library.size else 0.0
    excluded = {}
    for sample_id, reads in zip(sample["sample_id"], library, strict=True):
        if reads < limit or reads == 0:
            excluded[sample_id] = (
                f"failed library: {reads:.0f} reads, below {limit:.0f}, which is"
                f" {declared.min_library_pct:g} % of the study's median"
            )
    return excluded | {
        one.sample_id: f"left out by decision: {one.reason}" for one in declared.exclude_samples
    }
