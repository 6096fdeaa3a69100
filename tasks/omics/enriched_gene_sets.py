"""The gene sets that gather at one end of the genes ranked by their change, contrast by contrast."""

from __future__ import annotations

import contextlib
import io
from importlib.metadata import version
from typing import Any

import polars as pl
from pydantic import Field, model_validator
from scipy.stats import false_discovery_control

from tasks.analysis import Analysis, Parameters
from tasks.omics.gene_sets import KEY, GeneSets, directed_contrasts, gene_sets, size_status, tested_genes
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression

SCHEMA = {
    "contrast": pl.String,
    "contrast_title": pl.String,
    "collection": pl.String,
    "gene_set": pl.String,
    "description": pl.String,
    "status": pl.String,
    "direction": pl.String,
    "size_in_collection": pl.Int64,
    "size_measured": pl.Int64,
    "size_ranked": pl.Int64,
    "n_renamed": pl.Int64,
    "unmatched_symbols": pl.String,
    "enrichment_score": pl.Float64,
    "nes": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "log2_error": pl.Float64,
    "leading_edge": pl.String,
    "leading_edge_size": pl.Int64,
    "n_ranked": pl.Int64,
    "n_subjects": pl.Int64,
    "n_samples": pl.Int64,
    "ranking": pl.String,
    "seed": pl.Int64,
    "method": pl.String,
}
RANKING = (
    "test statistic of the contrast, highest first, ties by symbol; a symbol of several features stands for"
    " the one with the highest base mean"
)
# Those of fgsea; more permutations did not steady the normalised score, and the tail does not use them.
_SAMPLE_SIZE = 101
_PERMUTATIONS = 1000
_LEAST_RANKED = 2
# The result is the same in every bit for any number.
_THREADS = 2


class EnrichedGeneSetsParameters(Parameters):
    """Limits on the ranked members of a set, the seed, and where the search for small p-values ends.

    A p-value below `smallest_p_value` is given as that number, with no `log2_error`: each further power of
    ten costs as much time as the first and tells nobody more.
    """

    min_size: int = Field(default=15, ge=1)
    max_size: int = Field(default=500, ge=1)
    seed: int = Field(default=20240101, ge=0)
    smallest_p_value: float = Field(default=1e-20, ge=1e-50, le=1e-6)
    expression: Expression = Expression()

    @model_validator(mode="after")
    def _sizes_in_order(self) -> EnrichedGeneSetsParameters:
        if self.max_size < self.min_size:
            raise ValueError(f"max_size: {self.max_size}: must be min_size ({self.min_size}) or more")
        return self


def enriched_gene_sets(
    effect: pl.DataFrame,
    gene_set: pl.DataFrame,
    feature: pl.DataFrame,
    *,
    parameters: EnrichedGeneSetsParameters,
) -> pl.DataFrame:
    """Test each gene set for members gathering at one end of the ranking, against random sets of its size.

    Every tested gene is ranked, also where independent filtering took its adjusted p-value; genes without a
    p-value are not. `nes` above zero and direction `higher` mean higher where the contrast's weights are
    positive. Contrasts whose test has no direction (likelihood ratio) rank nothing and have no rows. The null
    hypothesis is competitive and takes genes as exchangeable: correlated genes make it anti-conservative, so
    a small p-value ranks sets rather than proving a pathway. P-values come from multilevel splitting, which
    never gives zero; `log2_error` is their expected error, in doublings. They are adjusted
    (Benjamini-Hochberg) over the tested sets of one collection and contrast, since a collection is what a
    study chose to ask. `unmatched_symbols` are members that no gene of the study answers to; the others that
    are not ranked had no test. A leading edge lists its symbols from the most extreme inwards.
    """
    known = gene_sets(gene_set, feature, declared=parameters.expression)
    return pl.concat(
        [
            _of_contrast(name, tested, known, parameters)
            for name, tested in directed_contrasts(effect, declared=parameters.expression)
        ]
    )


def _of_contrast(
    contrast: str, effect: pl.DataFrame, known: GeneSets, parameters: EnrichedGeneSetsParameters
) -> pl.DataFrame:
    ranked = _ranked(contrast, effect)
    ranked_members = known.member.join(ranked.select("symbol", "gene"), on="symbol").sort(*KEY, "gene")
    sets = (
        known.sets.join(ranked_members.group_by(KEY).agg(genes="gene"), on=KEY, how="left")
        .sort(KEY)
        .with_row_index("number")
        .with_columns(
            key=pl.format("SET{}", "number"),
            size_ranked=pl.col("genes").list.len().fill_null(0).cast(pl.Int64),
        )
        .with_columns(
            status=size_status(parameters.min_size, parameters.max_size, ranked.height, "size_ranked")
        )
    )
    scored = _scored(ranked, sets.filter(pl.col("status") == "tested"), parameters)
    of_contrast = effect.row(0, named=True)
    said = {
        "contrast": contrast,
        "contrast_title": of_contrast["contrast_title"],
        "n_ranked": ranked.height,
        "n_subjects": of_contrast["n_subjects"],
        "n_samples": of_contrast["n_samples"],
        "ranking": RANKING,
        "seed": parameters.seed,
        "method": (
            f"gseapy {version('gseapy')} prerank, multilevel p-values, weight 1, "
            f"sample size {_SAMPLE_SIZE}, down to {parameters.smallest_p_value:g}; "
            "Benjamini-Hochberg within contrast and collection"
        ),
    }
    return (
        sets.join(scored, on="key", how="left", maintain_order="left")
        .with_columns(
            status=pl.when((pl.col("status") == "tested") & pl.col("p_value").is_null())
            .then(pl.lit("not_estimable"))
            .otherwise("status"),
            direction=pl.when(pl.col("nes") > 0)
            .then(pl.lit("higher"))
            .when(pl.col("nes") < 0)
            .then(pl.lit("lower")),
            **{name: pl.lit(value) for name, value in said.items()},
        )
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )


def _ranked(contrast: str, effect: pl.DataFrame) -> pl.DataFrame:
    ranked = (
        tested_genes(effect)
        .with_row_index("place")
        # Neutral names: the ranking program would change the case of symbols or make them unique its own way.
        .with_columns(gene=pl.format("GENE{}", "place"))
        .select("gene", "symbol", "statistic")
    )
    if ranked.height < _LEAST_RANKED:
        raise AnalysisError(
            f"results.differential_expression: contrast {contrast}: {ranked.height} gene(s) with symbol and"
            f" test: at least {_LEAST_RANKED} are needed to rank"
        )
    return ranked


def _scored(ranked: pl.DataFrame, sets: pl.DataFrame, parameters: EnrichedGeneSetsParameters) -> pl.DataFrame:
    place = {gene: row for row, gene in enumerate(ranked["gene"])}
    rows: list[dict[str, Any]] = []
    for key, result in _prerank(ranked, sets, parameters).items() if sets.height else ():
        edge = sorted(place[gene] for gene in result["lead_genes"].split(";") if gene)
        leading = [ranked["symbol"][row] for row in (reversed(edge) if result["es"] < 0 else edge)]
        rows.append(
            {
                "key": key,
                "enrichment_score": result["es"],
                "nes": result["nes"],
                "p_value": result["pval"],
                "log2_error": result["log2err"],
                "leading_edge": ";".join(leading),
                "leading_edge_size": len(leading),
            }
        )
    numbers = ("enrichment_score", "nes", "p_value", "log2_error")
    scored = pl.DataFrame(
        rows,
        schema={
            "key": pl.String,
            **dict.fromkeys(numbers, pl.Float64),
            "leading_edge": pl.String,
            "leading_edge_size": pl.Int64,
        },
    ).with_columns(pl.when(pl.col(name).is_finite()).then(pl.col(name)).alias(name) for name in numbers)
    adjusted = (
        scored.join(sets.select("key", "collection"), on="key")
        .filter(pl.col("p_value").is_not_null())
        .select("key", "collection", "p_value")
    )
    families = [
        family.select("key", p_adjusted=pl.Series(false_discovery_control(family["p_value"].to_numpy())))
        for family in adjusted.partition_by("collection", maintain_order=True)
    ]
    empty = pl.DataFrame(schema={"key": pl.String, "p_adjusted": pl.Float64})
    return scored.join(pl.concat([empty, *families]), on="key", how="left")


def _prerank(
    ranked: pl.DataFrame, sets: pl.DataFrame, parameters: EnrichedGeneSetsParameters
) -> dict[str, dict[str, Any]]:
    import gseapy
    import pandas as pd

    # It warns that tied genes stand in arbitrary order; here they stand in the order of RANKING.
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            prerank = gseapy.prerank(
                rnk=pd.DataFrame(
                    {"gene": ranked["gene"].to_list(), "statistic": ranked["statistic"].to_list()}
                ),
                gene_sets=dict(zip(sets["key"], sets["genes"].to_list(), strict=True)),
                method="multilevel",
                weight=1.0,
                min_size=parameters.min_size,
                max_size=parameters.max_size,
                sample_size=_SAMPLE_SIZE,
                permutation_num=_PERMUTATIONS,
                eps=parameters.smallest_p_value,
                seed=parameters.seed,
                threads=_THREADS,
                # Already in order, ties included.
                ascending=None,
                no_plot=True,
                outdir=None,
            )
    except BaseException as error:
        # Its compiled core gives up on rankings of few distinct values by what is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        distinct = ranked["statistic"].n_unique()
        raise AnalysisError(
            f"ranking: {distinct} distinct statistics among {ranked.height} genes: "
            f"too many ties to sample from ({error})"
        ) from None
    results: dict[str, dict[str, Any]] = prerank.results
    return results


ANALYSIS = Analysis(
    name="enriched_gene_sets",
    function=enriched_gene_sets,
    reads=("results.differential_expression", "omics.gene_set", "omics.feature"),
    parameters=EnrichedGeneSetsParameters,
)
