"""The gene sets that have more of their genes among the called ones than chance would give."""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field, model_validator
from scipy.stats import false_discovery_control

from tasks.analysis import Analysis, Parameters
from tasks.omics.gene_sets import KEY, GeneSets, directed_contrasts, gene_sets, size_status, tested_genes
from tasks.stats.gene_sets.over_representation import over_representation
from warehouse.expression_plan import Expression

SCHEMA = {
    "contrast": pl.String,
    "contrast_title": pl.String,
    "direction": pl.String,
    "collection": pl.String,
    "gene_set": pl.String,
    "description": pl.String,
    "status": pl.String,
    "size_in_collection": pl.Int64,
    "size_tested": pl.Int64,
    "n_genes": pl.Int64,
    "n_called": pl.Int64,
    "n_called_in_set": pl.Int64,
    "n_expected": pl.Float64,
    "odds_ratio": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "ci_level": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "called_genes": pl.String,
    "n_subjects": pl.Int64,
    "n_samples": pl.Int64,
    "method": pl.String,
}


class OverrepresentedGeneSetsParameters(Parameters):
    """What makes a gene called, and limits on the tested members of a set."""

    fdr: float = Field(default=0.05, gt=0, lt=1)
    min_abs_log2_fold_change: float = Field(default=0.0, ge=0)
    min_size: int = Field(default=15, ge=1)
    max_size: int = Field(default=500, ge=1)
    confidence_level: float = Field(default=0.95, gt=0, lt=1)
    expression: Expression = Expression()

    @model_validator(mode="after")
    def _sizes_in_order(self) -> OverrepresentedGeneSetsParameters:
        if self.max_size < self.min_size:
            raise ValueError(f"max_size: {self.max_size}: must be min_size ({self.min_size}) or more")
        return self


def overrepresented_gene_sets(
    effect: pl.DataFrame,
    gene_set: pl.DataFrame,
    feature: pl.DataFrame,
    *,
    parameters: OverrepresentedGeneSetsParameters,
) -> pl.DataFrame:
    """Test each gene set for more of its genes among the called ones, up and down apart.

    The genes drawn from are those with a p-value in this contrast and a symbol: taking the whole genome
    instead would make every set of expressed genes look enriched. Genes are called at the false discovery
    rate, so that this test depends on a threshold which `enriched_gene_sets` does not need; it answers what
    the list of called genes is rich in. Like that analysis it takes genes as independent draws. P-values are
    adjusted (Benjamini-Hochberg) over the tested sets of one contrast, direction and collection.
    """
    known = gene_sets(gene_set, feature, declared=parameters.expression)
    return pl.concat(
        [
            _of_direction(tested, direction, known, parameters)
            for _, tested in directed_contrasts(effect, declared=parameters.expression)
            for direction in ("higher", "lower")
        ]
    )


def _of_direction(
    effect: pl.DataFrame, direction: str, known: GeneSets, parameters: OverrepresentedGeneSetsParameters
) -> pl.DataFrame:
    sign = 1 if direction == "higher" else -1
    change = sign * pl.col("log2_fold_change")
    tested = tested_genes(effect).select(
        "symbol",
        "p_value",
        is_called=(
            (pl.col("p_adjusted") < parameters.fdr)
            & (change > 0)
            & (change >= parameters.min_abs_log2_fold_change)
        ).fill_null(value=False),
    )
    n_genes, n_called = tested.height, int(tested["is_called"].sum())
    found = (
        known.member.join(tested, on="symbol")
        .sort("p_value", "symbol")
        .group_by(KEY, maintain_order=True)
        .agg(
            size_tested=pl.len().cast(pl.Int64),
            n_called_in_set=pl.col("is_called").sum().cast(pl.Int64),
            called_genes=pl.col("symbol").filter("is_called").str.join(";"),
        )
    )
    sets = (
        known.sets.join(found, on=KEY, how="left")
        .with_columns(pl.col("size_tested", "n_called_in_set").fill_null(0))
        .with_columns(status=size_status(parameters.min_size, parameters.max_size, n_genes, "size_tested"))
        .with_columns(
            status=pl.when((pl.col("status") == "tested") & (n_called == 0))
            .then(pl.lit("none_called"))
            .otherwise("status")
        )
    )
    first = effect.row(0, named=True)
    larger = (
        f" and log2 fold change of {parameters.min_abs_log2_fold_change:g} or more"
        if parameters.min_abs_log2_fold_change
        else ""
    )
    said = {
        "contrast": first["contrast"],
        "contrast_title": first["contrast_title"],
        "direction": direction,
        "n_genes": n_genes,
        "n_called": n_called,
        "ci_level": parameters.confidence_level,
        "n_subjects": first["n_subjects"],
        "n_samples": first["n_samples"],
        "method": (
            "one-sided hypergeometric test, exact; genes called at p adjusted below"
            f" {parameters.fdr:g}{larger} among the genes with a test; conditional odds ratio with its exact"
            " interval; Benjamini-Hochberg within contrast, direction and collection"
        ),
    }
    return (
        sets.join(_tested(sets, n_called, n_genes, parameters.confidence_level), on=KEY, how="left")
        .with_columns(
            pl.col("called_genes").replace("", None), **{name: pl.lit(value) for name, value in said.items()}
        )
        .sort(KEY)
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )


def _tested(sets: pl.DataFrame, n_called: int, n_genes: int, level: float) -> pl.DataFrame:
    chosen = sets.filter(pl.col("status") == "tested").sort(KEY)
    numbers = ("p_value", "n_expected", "odds_ratio", "ci_low", "ci_high")
    if not chosen.height:
        dtypes = dict.fromkeys((*numbers, "p_adjusted"), pl.Float64)
        return pl.DataFrame(schema={**dict.fromkeys(KEY, pl.String), **dtypes})
    result = over_representation(
        chosen["n_called_in_set"].to_numpy(), chosen["size_tested"].to_numpy(), n_called, n_genes, level=level
    )
    values = (
        result.p_value,
        result.expected,
        result.odds_ratio,
        result.odds_ratio_low,
        result.odds_ratio_high,
    )
    tested = chosen.select(KEY).with_columns(
        # An odds ratio without bound is no number.
        pl.Series(name, np.where(np.isfinite(value), value, np.nan)).fill_nan(None)
        for name, value in zip(numbers, values, strict=True)
    )
    return pl.concat(
        [
            family.with_columns(p_adjusted=pl.Series(false_discovery_control(family["p_value"].to_numpy())))
            for family in tested.partition_by("collection", maintain_order=True)
        ]
    )


ANALYSIS = Analysis(
    name="overrepresented_gene_sets",
    function=overrepresented_gene_sets,
    reads=("results.differential_expression", "omics.gene_set", "omics.feature"),
    parameters=OverrepresentedGeneSetsParameters,
)
