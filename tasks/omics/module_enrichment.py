"""The gene sets that a module has more genes of than chance would give."""

from __future__ import annotations

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from tasks.analysis import Analysis, Parameters
from tasks.omics.gene_sets import KEY, GeneSets, gene_sets, size_status
from tasks.stats.gene_sets.over_representation import over_representation
from tasks.stats.multiplicity import adjusted_p
from warehouse.expression_plan import Expression

SCHEMA = {
    "network": pl.String,
    "network_title": pl.String,
    "module": pl.Int64,
    "colour": pl.String,
    "module_size": pl.Int64,
    "collection": pl.String,
    "is_interferon": pl.Boolean,
    "gene_set": pl.String,
    "description": pl.String,
    "status": pl.String,
    "size_in_collection": pl.Int64,
    "size_in_network": pl.Int64,
    "n_genes": pl.Int64,
    "n_genes_of_module": pl.Int64,
    "n_in_module": pl.Int64,
    "n_expected": pl.Float64,
    "odds_ratio": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "ci_level": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "member_genes": pl.String,
    "method": pl.String,
}
_INTERFERON = r"(?i)interferon|(^|[^a-z])ifn"
_FAMILY = ("network", "collection")


class ModuleEnrichmentParameters(Parameters):
    """Limits on the members of a set among the network's genes, and the level of intervals."""

    min_size: int = Field(default=5, ge=1)
    max_size: int = Field(default=500, ge=1)
    confidence_level: float = Field(default=0.95, gt=0, lt=1)
    expression: Expression = Expression()

    @model_validator(mode="after")
    def _sizes_in_order(self) -> ModuleEnrichmentParameters:
        if self.max_size < self.min_size:
            raise ValueError(f"max_size: {self.max_size}: must be min_size ({self.min_size}) or more")
        return self


def module_enrichment(
    modules: pl.DataFrame,
    gene_set: pl.DataFrame,
    feature: pl.DataFrame,
    *,
    parameters: ModuleEnrichmentParameters,
) -> pl.DataFrame:
    """Test each module for more genes of each set than a draw from the network's genes would give.

    The genes drawn from are those of the network with a symbol, not the genome: they were chosen for being
    expressed and variable, and sets of such genes would look enriched in any module. P-values are adjusted
    (Benjamini-Hochberg) over all modules and tested sets of one network and collection. Sets about
    interferon, by their name or collection, stand first. Modules are made of correlated genes, which the
    test takes as independent draws: a small p-value names what a module is of, it proves no pathway.
    """
    known = gene_sets(gene_set, feature, declared=parameters.expression)
    parts = [
        _of_network(own, known, parameters) for own in modules.partition_by("network", maintain_order=True)
    ]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *parts])


def _of_network(own: pl.DataFrame, known: GeneSets, parameters: ModuleEnrichmentParameters) -> pl.DataFrame:
    # Of several features of a symbol the best connected stands for it.
    genes = (
        own.filter(pl.col("symbol").is_not_null())
        .sort(["connectivity", "feature_id"], descending=[True, False])
        .unique("symbol", keep="first", maintain_order=True)
    )
    member = known.member.join(genes.select("symbol", "module", "kme"), on="symbol")
    size = member.group_by(KEY).agg(size_in_network=pl.len().cast(pl.Int64))
    sets = (
        known.sets.join(size, on=KEY, how="left")
        .with_columns(pl.col("size_in_network").fill_null(0))
        .with_columns(
            status=size_status(parameters.min_size, parameters.max_size, genes.height, "size_in_network")
        )
    )
    found = (
        member.sort("kme", "symbol", descending=[True, False])
        .group_by(*KEY, "module", maintain_order=True)
        .agg(n_in_module=pl.len().cast(pl.Int64), member_genes=pl.col("symbol").str.join(";"))
    )
    module = (
        genes.filter(pl.col("module") > 0)
        .group_by("network", "network_title", "module", "colour", "module_size")
        .agg(n_genes_of_module=pl.len().cast(pl.Int64))
        .sort("module")
    )
    rows = (
        module.join(sets, how="cross")
        .join(found, on=[*KEY, "module"], how="left")
        .with_columns(
            pl.col("n_in_module").fill_null(0),
            n_genes=pl.lit(genes.height, dtype=pl.Int64),
            is_interferon=pl.col("gene_set").str.contains(_INTERFERON)
            | pl.col("collection").str.contains(_INTERFERON),
            ci_level=pl.lit(parameters.confidence_level),
            method=pl.lit(
                "one-sided hypergeometric test, exact, of the network's genes with a symbol; conditional odds"
                " ratio with its exact interval; Benjamini-Hochberg over modules and sets of network and"
                " collection"
            ),
        )
    )
    return (
        rows.join(_tested(rows, parameters.confidence_level), on=[*KEY, "module"], how="left")
        .sort(["module", "is_interferon", "p_value", *KEY], descending=[False, True, False, False, False])
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )


def _tested(rows: pl.DataFrame, level: float) -> pl.DataFrame:
    numbers = ("p_value", "n_expected", "odds_ratio", "ci_low", "ci_high")
    parts = []
    for part in rows.filter(pl.col("status") == "tested").partition_by("module", maintain_order=True):
        result = over_representation(
            part["n_in_module"].to_numpy(),
            part["size_in_network"].to_numpy(),
            part["n_genes_of_module"][0],
            part["n_genes"][0],
            level=level,
        )
        values = (
            result.p_value,
            result.expected,
            result.odds_ratio,
            result.odds_ratio_low,
            result.odds_ratio_high,
        )
        parts.append(
            part.select(*_FAMILY, "gene_set", "module").with_columns(
                # An odds ratio without bound is no number.
                pl.Series(name, np.where(np.isfinite(value), value, np.nan)).fill_nan(None)
                for name, value in zip(numbers, values, strict=True)
            )
        )
    if not parts:
        empty = dict.fromkeys((*numbers, "p_adjusted"), pl.Float64)
        return pl.DataFrame(schema={**dict.fromkeys(KEY, pl.String), "module": pl.Int64, **empty})
    families = pl.concat(parts).partition_by(_FAMILY, maintain_order=True)
    return pl.concat(
        [
            family.with_columns(
                p_adjusted=pl.Series(adjusted_p(family["p_value"].to_numpy(), "benjamini-hochberg"))
            )
            for family in families
        ]
    ).drop("network")


ANALYSIS = Analysis(
    name="module_enrichment",
    function=module_enrichment,
    reads=("results.gene_modules", "omics.gene_set", "omics.feature"),
    parameters=ModuleEnrichmentParameters,
)
