"""The transcription factors and pathways whose targets moved as their weights would have it."""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field
from scipy.stats import false_discovery_control

from tasks.analysis import Analysis, Parameters
from tasks.omics.gene_sets import directed_contrasts, tested_genes
from tasks.omics.regulators import KEY, Regulators, regulators, weight_matrix
from tasks.stats.gene_sets.univariate_linear_model import univariate_linear_model
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression

SCHEMA = {
    "contrast": pl.String,
    "contrast_title": pl.String,
    "collection": pl.String,
    "regulator": pl.String,
    "status": pl.String,
    "direction": pl.String,
    "activity": pl.Float64,
    "slope": pl.Float64,
    "df": pl.Int64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "n_targets_in_collection": pl.Int64,
    "n_targets": pl.Int64,
    "n_genes": pl.Int64,
    "top_targets": pl.String,
    "unmatched_symbols": pl.String,
    "n_subjects": pl.Int64,
    "n_samples": pl.Int64,
    "method": pl.String,
}
_LEAST_GENES = 3
_TARGETS_NAMED = 10


class RegulatorActivityParameters(Parameters):
    """The fewest tested targets that a regulator is judged by."""

    min_targets: int = Field(default=5, ge=1)
    expression: Expression = Expression()


def regulator_activity(
    effect: pl.DataFrame,
    weight: pl.DataFrame,
    feature: pl.DataFrame,
    *,
    parameters: RegulatorActivityParameters,
) -> pl.DataFrame:
    """Estimate how far each regulator's targets moved in the direction of their weights, by contrast.

    A univariate linear model over all tested genes: the contrast's statistic on the weight, zero for genes
    that are no targets. `activity` is the t of the slope, positive when what the regulator raises rose and
    what it holds down fell; it says that the targets moved together, not that the regulator did it. Genes
    count as independent observations, which co-expressed targets are not: read the order of regulators, not
    the size of the p-value. P-values are adjusted (Benjamini-Hochberg) within contrast and collection. The
    weights are the study's own choice, and the result is as good as they are.
    """
    known = regulators(weight, feature)
    return pl.concat(
        [
            _of_contrast(name, tested, known, parameters)
            for name, tested in directed_contrasts(effect, declared=parameters.expression)
        ]
    )


def _of_contrast(
    contrast: str, effect: pl.DataFrame, known: Regulators, parameters: RegulatorActivityParameters
) -> pl.DataFrame:
    genes = tested_genes(effect)
    if genes.height < _LEAST_GENES:
        raise AnalysisError(
            f"results.differential_expression: contrast {contrast}: {genes.height} gene(s) with symbol and"
            f" test: at least {_LEAST_GENES} are needed for a line"
        )
    statistic = genes["statistic"].to_numpy()
    matrix = weight_matrix(known.target, known.regulator, genes["symbol"].to_list())
    fit = univariate_linear_model(statistic[:, np.newaxis], matrix)
    first = effect.row(0, named=True)
    numbers = {
        "activity": fit.statistic[:, 0],
        "slope": fit.slope[:, 0],
        "p_value": np.maximum(fit.p_value[:, 0], np.finfo(np.float64).tiny),
    }
    enough = pl.col("n_targets") >= parameters.min_targets
    rows = (
        known.regulator.with_columns(
            n_targets=pl.Series(fit.n_targets, dtype=pl.Int64),
            **{name: pl.Series(value) for name, value in numbers.items()},
        )
        .with_columns(
            status=pl.when(~enough)
            .then(pl.lit("too_few_targets"))
            .when(~pl.col("activity").is_finite())
            .then(pl.lit("not_estimable"))
            .otherwise(pl.lit("tested"))
        )
        .with_columns(pl.when(pl.col("status") == "tested").then(name).alias(name) for name in numbers)
        .join(_top_targets(known.target, genes), on=KEY, how="left", maintain_order="left")
        .with_columns(
            direction=pl.when(pl.col("activity") > 0)
            .then(pl.lit("higher"))
            .when(pl.col("activity") < 0)
            .then(pl.lit("lower")),
            top_targets=pl.when(pl.col("status") == "tested").then("top_targets"),
            contrast=pl.lit(contrast),
            contrast_title=pl.lit(first["contrast_title"]),
            n_genes=pl.lit(genes.height),
            df=pl.lit(fit.df),
            n_subjects=pl.lit(first["n_subjects"]),
            n_samples=pl.lit(first["n_samples"]),
            method=pl.lit(
                "univariate linear model of the test statistic on the weights, over all tested genes;"
                " Benjamini-Hochberg within contrast and collection"
            ),
        )
    )
    return pl.concat([_adjusted(family) for family in rows.partition_by("collection", maintain_order=True)])


def _top_targets(target: pl.DataFrame, genes: pl.DataFrame) -> pl.DataFrame:
    """Return the targets that speak most for the regulator's direction, by weight times centred statistic."""
    share = pl.col("weight") * (pl.col("statistic") - genes["statistic"].mean())
    return (
        target.join(genes.select("symbol", "statistic"), on="symbol")
        .with_columns(share=share)
        .with_columns(share=pl.col("share") * pl.col("share").sum().over(KEY).sign())
        .sort(["share", "symbol"], descending=[True, False])
        .filter(pl.col("share") > 0)
        .group_by(KEY)
        .agg(top_targets=pl.col("symbol").head(_TARGETS_NAMED).str.join(";"))
    )


def _adjusted(family: pl.DataFrame) -> pl.DataFrame:
    tested = family.filter(pl.col("p_value").is_not_null())
    adjusted = tested.select(
        *KEY, p_adjusted=pl.Series(false_discovery_control(tested["p_value"].to_numpy()), dtype=pl.Float64)
    )
    return family.join(adjusted, on=KEY, how="left", maintain_order="left").select(
        pl.col(name).cast(dtype) for name, dtype in SCHEMA.items()
    )


ANALYSIS = Analysis(
    name="regulator_activity",
    function=regulator_activity,
    reads=("results.differential_expression", "omics.regulator_weight", "omics.feature"),
    parameters=RegulatorActivityParameters,
)
