"""The directions in which the samples differ most, and the genes that make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from pydantic import Field

from tasks.analysis import Analysis, Parameters
from tasks.omics.counts import CountMatrix, count_matrix
from tasks.omics.normalised import most_variable, vst
from tasks.stats.principal_components import PrincipalComponents
from tasks.stats.principal_components import principal_components as decompose
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression

if TYPE_CHECKING:
    from tasks.stats.types import FloatArray

SCHEMA = {
    "component": pl.Int64,
    "variance_pct": pl.Float64,
    "cumulative_variance_pct": pl.Float64,
    "kind": pl.String,
    "sample_id": pl.String,
    "usubjid": pl.String,
    "visit": pl.String,
    "tissue": pl.String,
    "feature_id": pl.String,
    "symbol": pl.String,
    "value": pl.Float64,
    "rank": pl.Int64,
    "n_genes": pl.Int64,
    "n_samples": pl.Int64,
    "excluded_samples": pl.String,
    "method": pl.String,
}
_LEAST = 3


class PrincipalComponentsParameters(Parameters):
    """Genes that enter, components given, and the genes named for each."""

    n_variable_genes: int = Field(default=500, ge=2)
    n_components: int = Field(default=10, ge=1)
    n_top_genes: int = Field(default=20, ge=1)
    expression: Expression = Expression()


def principal_components(
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    *,
    parameters: PrincipalComponentsParameters,
) -> pl.DataFrame:
    """Decompose the most variable genes of variance-stabilised expression, centred and not scaled.

    Rows of kind `score` place a sample on a component, rows of kind `loading` name the genes that make it,
    largest in size first. Sign and scale of a component mean nothing between studies; here the largest
    loading is positive. Genes are not scaled to equal variance: after stabilisation a gene that varies more
    is more likely to say something, and scaling would raise the noise of the silent ones.
    """
    counts = count_matrix(expression, sample, feature, declared=parameters.expression)
    chosen, found = components_of(counts, parameters.n_variable_genes, parameters.n_components)
    share = 100 * found.variance_share
    about = pl.DataFrame(
        {
            "component": np.arange(1, share.size + 1),
            "variance_pct": share,
            "cumulative_variance_pct": np.cumsum(share),
        }
    )
    rows = pl.concat([_scores(counts, found), _loadings(counts, chosen, found, parameters.n_top_genes)])
    return (
        about.join(rows, on="component", how="inner", maintain_order="left_right")
        .with_columns(
            n_genes=pl.lit(chosen.size),
            n_samples=pl.lit(counts.sample.height),
            excluded_samples=pl.lit(counts.excluded_text or None, dtype=pl.String),
            method=pl.lit(
                f"principal components of variance-stabilised log2 expression, {chosen.size} most variable"
                " genes, centred, not scaled"
            ),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )


def components_of(
    counts: CountMatrix, n_genes: int, n_components: int
) -> tuple[np.ndarray, PrincipalComponents]:
    """Return the rows of the most variable genes and their principal components."""
    if counts.sample.height < _LEAST:
        raise AnalysisError(
            f"omics.sample: {counts.sample.height} sample(s) kept:"
            f" at least {_LEAST} are needed for components"
        )
    value: FloatArray = vst(counts)
    chosen = most_variable(value, n_genes)
    if not chosen.size:
        raise AnalysisError("omics.expression: no gene differs between the samples: there is no component")
    return chosen, decompose(value[chosen], at_most=n_components)


def _scores(counts: CountMatrix, found: PrincipalComponents) -> pl.DataFrame:
    number = found.variance_share.size
    texts = [
        (pl.col(name) if name in counts.sample.columns else pl.lit(None)).cast(pl.String).alias(name)
        for name in ("usubjid", "visit", "tissue")
    ]
    one = counts.sample.select("sample_id", *texts)
    return pl.concat(
        [
            one.with_columns(
                component=pl.lit(component + 1, dtype=pl.Int64),
                kind=pl.lit("score"),
                feature_id=pl.lit(None, dtype=pl.String),
                symbol=pl.lit(None, dtype=pl.String),
                value=pl.Series(found.score[:, component]),
                rank=pl.lit(None, dtype=pl.Int64),
            )
            for component in range(number)
        ]
    ).select(*_ROW)


def _loadings(
    counts: CountMatrix, chosen: np.ndarray, found: PrincipalComponents, n_top: int
) -> pl.DataFrame:
    parts = []
    for component in range(found.variance_share.size):
        loading = found.loading[:, component]
        order = np.argsort(-np.abs(loading), kind="stable")[:n_top]
        genes = counts.feature[chosen[order]]
        parts.append(
            genes.select("feature_id", "symbol").with_columns(
                component=pl.lit(component + 1, dtype=pl.Int64),
                kind=pl.lit("loading"),
                sample_id=pl.lit(None, dtype=pl.String),
                usubjid=pl.lit(None, dtype=pl.String),
                visit=pl.lit(None, dtype=pl.String),
                tissue=pl.lit(None, dtype=pl.String),
                value=pl.Series(loading[order]),
                rank=pl.int_range(1, order.size + 1, dtype=pl.Int64),
            )
        )
    return pl.concat([part.select(*_ROW) for part in parts])


_ROW = (
    "component",
    "kind",
    "sample_id",
    "usubjid",
    "visit",
    "tissue",
    "feature_id",
    "symbol",
    "value",
    "rank",
)

ANALYSIS = Analysis(
    name="principal_components",
    function=principal_components,
    reads=("omics.expression", "omics.sample", "omics.feature"),
    parameters=PrincipalComponentsParameters,
)
