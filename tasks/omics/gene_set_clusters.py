"""The called gene sets, brought together where the same genes carry them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
from pydantic import Field

from tasks.analysis import Analysis, Parameters
from tasks.stats.gene_sets.leading_edge import Similarity, cluster_leading_edges
from warehouse.expression_plan import Expression

SCHEMA = {
    "contrast": pl.String,
    "contrast_title": pl.String,
    "direction": pl.String,
    "cluster": pl.Int64,
    "n_sets": pl.Int64,
    "is_representative": pl.Boolean,
    "representative_collection": pl.String,
    "representative": pl.String,
    "collection": pl.String,
    "gene_set": pl.String,
    "nes": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "leading_edge_size": pl.Int64,
    "similarity": pl.Float64,
    "core_genes": pl.String,
    "n_core_genes": pl.Int64,
    "n_subjects": pl.Int64,
    "n_samples": pl.Int64,
    "method": pl.String,
}
_CORE_SHARE = 0.5


class GeneSetClustersParameters(Parameters):
    """Which sets are clustered, and how alike their leading edges must be to stand together."""

    fdr: float = Field(default=0.05, gt=0, lt=1)
    similarity: Similarity = "jaccard"
    least_similarity: float = Field(default=0.25, ge=0, le=1)
    expression: Expression = Expression()


def gene_set_clusters(enriched: pl.DataFrame, *, parameters: GeneSetClustersParameters) -> pl.DataFrame:
    """Bring the called gene sets of each contrast and direction together by the genes of their leading edges.

    Leading edges, not whole sets: two sets that overlap in genes which did not move say different things
    here. Collections are clustered together, since the same biology stands in each under another name. The
    set with the largest |NES| represents its cluster, and clusters are numbered from the strongest. Nothing
    is tested: the table is a way to read `enriched_gene_sets`, and a contrast without a called set has no
    rows. `core_genes` are those in the leading edges of at least half of a cluster's sets,
    those of most sets first and then the most extreme of the representative.
    """
    called = enriched.filter(pl.col("p_adjusted") < parameters.fdr).sort("collection", "gene_set")
    order = {contrast.id: place for place, contrast in enumerate(parameters.expression.contrasts)}
    groups = called.partition_by("contrast", "direction", as_dict=True)
    empty = pl.DataFrame(schema=SCHEMA)
    return pl.concat(
        [
            empty,
            *(
                _clustered(groups[key], parameters)
                for key in sorted(
                    groups, key=lambda key: (order.get(str(key[0]), len(order)), *map(str, key))
                )
            ),
        ]
    )


def _clustered(sets: pl.DataFrame, parameters: GeneSetClustersParameters) -> pl.DataFrame:
    edges = [edge.split(";") for edge in sets["leading_edge"]]
    number = {gene: place for place, gene in enumerate(sorted({gene for edge in edges for gene in edge}))}
    clusters = cluster_leading_edges(
        [np.array([number[gene] for gene in edge]) for edge in edges],
        sets["nes"].abs().to_numpy(),
        least_similarity=parameters.least_similarity,
        similarity=parameters.similarity,
    )
    core = {
        int(leader): _core(
            [edges[place] for place in np.flatnonzero(clusters.representative == leader)], edges[int(leader)]
        )
        for leader in np.unique(clusters.representative)
    }
    cores = [core[int(leader)] for leader in clusters.representative]
    return (
        sets.with_columns(
            cluster=pl.Series(clusters.cluster, dtype=pl.Int64),
            is_representative=pl.Series(clusters.representative == np.arange(sets.height)),
            representative_collection=sets["collection"][clusters.representative.tolist()],
            representative=sets["gene_set"][clusters.representative.tolist()],
            similarity=pl.Series(clusters.similarity, dtype=pl.Float64),
            core_genes=pl.Series([";".join(genes) or None for genes in cores], dtype=pl.String),
            n_core_genes=pl.Series([len(genes) for genes in cores], dtype=pl.Int64),
            method=pl.lit(f"sets with p adjusted below {parameters.fdr:g}; {clusters.method}"),
        )
        .with_columns(n_sets=pl.len().over("cluster"))
        .sort(
            "cluster",
            pl.col("nes").abs(),
            *("collection", "gene_set"),
            descending=[False, True, False, False],
        )
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )


def _core(edges: list[list[str]], strongest: list[str]) -> list[str]:
    """Return the genes of at least half of the edges: those of most edges first, then the most extreme."""
    counted = Counter(gene for edge in edges for gene in edge)
    place = {gene: number for number, gene in enumerate(strongest)}
    return sorted(
        (gene for gene, n in counted.items() if n >= _CORE_SHARE * len(edges)),
        key=lambda gene: (-counted[gene], place.get(gene, len(place)), gene),
    )


ANALYSIS = Analysis(
    name="gene_set_clusters",
    function=gene_set_clusters,
    reads=("results.enriched_gene_sets",),
    parameters=GeneSetClustersParameters,
)
