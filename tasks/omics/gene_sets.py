"""The gene sets that a study asks about, under its own symbols, and the genes that a contrast ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from warehouse.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tasks.stats.gene_sets.membership import IndexArray
    from warehouse.expression_plan import Expression, GeneSetDifference

KEY = ("collection", "gene_set")
# A likelihood-ratio test asks whether terms are needed at all: its statistic has no direction to rank by.
_UNDIRECTED = "likelihood_ratio"
_MANY = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneSets:
    """Sets by collection and name, and their members under the symbols of omics.feature.

    `sets`: collection, gene_set, description, size_in_collection, size_measured (members that are a gene of
    the study), n_renamed (those that the collection calls by another name), unmatched_symbols (the rest).
    `member`: collection, gene_set, symbol.
    """

    sets: pl.DataFrame
    member: pl.DataFrame


def gene_sets(gene_set: pl.DataFrame, feature: pl.DataFrame, *, declared: Expression) -> GeneSets:
    """Return the sets of omics.gene_set and the declared differences, matched with the study's genes.

    A member is looked up among the symbols of omics.feature, then among its `current_symbol`, then among its
    `aliases` (joined by a bar), where there are such columns; a name that leads to several genes leads to
    none. A difference is made of genes, not of names, and joins the collection of the set that it is taken
    from.

    Raises
    ------
    AnalysisError
        If there is no set, or a difference names a set that there is not, or that several collections have,
        or leaves no gene, or takes a name that is in use.
    """
    named = gene_set.filter(pl.col("symbol").is_not_null()).select(
        *KEY, "description", name=pl.col("symbol").str.strip_chars()
    )
    if named.is_empty():
        raise AnalysisError("omics.gene_set: no rows: at least one gene set with one member is needed")
    matched = named.join(study_symbols(feature), on="name", how="left").with_columns(
        gene=pl.coalesce("symbol", "name")
    )
    for difference in declared.gene_set_differences:
        matched = pl.concat([matched, _difference(matched, difference)])
    every = matched.unique([*KEY, "gene"], keep="first", maintain_order=True)
    is_measured = pl.col("symbol").is_not_null()
    sets = (
        every.group_by(KEY)
        .agg(
            pl.col("description").drop_nulls().sort().first(),
            size_in_collection=pl.len().cast(pl.Int64),
            size_measured=is_measured.sum().cast(pl.Int64),
            n_renamed=(is_measured & (pl.col("symbol") != pl.col("name"))).sum().cast(pl.Int64),
            unmatched_symbols=pl.col("name").filter(pl.col("symbol").is_null()).sort().str.join(";"),
        )
        .with_columns(pl.col("unmatched_symbols").replace("", None))
        .sort(KEY)
    )
    return GeneSets(sets=sets, member=every.filter(is_measured).select(*KEY, "symbol").sort(*KEY, "symbol"))


def study_symbols(feature: pl.DataFrame) -> pl.DataFrame:
    """Return names that lead to one symbol, and that symbol: the study's own, else another of its names."""
    columns = [pl.col("symbol"), pl.col("symbol").alias("name")]
    ways = [feature.select(*columns, way=0)]
    if "current_symbol" in feature.columns:
        ways.append(feature.select("symbol", name=pl.col("current_symbol"), way=1))
    if "aliases" in feature.columns:
        split = pl.col("aliases").str.split("|")
        ways.append(feature.select("symbol", name=split, way=2).explode("name"))
    return (
        pl.concat(ways)
        .drop_nulls()
        .unique()
        .filter(pl.col("way") == pl.col("way").min().over("name"))
        .filter(pl.len().over("name") == 1)
        .select("name", "symbol")
    )


def _difference(matched: pl.DataFrame, difference: GeneSetDifference) -> pl.DataFrame:
    place = f"gene_set_differences.{difference.id}"
    for name in (difference.genes_of, *difference.but_not_of):
        found = matched.filter(pl.col("gene_set") == name)["collection"].unique().sort().to_list()
        if len(found) != 1:
            where = f"stands in {_listed(found)}" if found else "is in no collection"
            raise AnalysisError(f"{place}: {name}: {where}: must be a gene set of one collection")
    whole = matched.filter(pl.col("gene_set") == difference.genes_of)
    collection = whole["collection"][0]
    if matched.filter((pl.col("collection") == collection) & (pl.col("gene_set") == difference.id)).height:
        raise AnalysisError(f"{place}: the collection {collection} has a gene set of this name")
    others = matched.filter(pl.col("gene_set").is_in(list(difference.but_not_of)))
    left = whole.join(others.select("gene").unique(), on="gene", how="anti", maintain_order="left")
    if left.is_empty():
        raise AnalysisError(f"{place}: no gene is left of {difference.genes_of}")
    told = f"Genes of {difference.genes_of} that are not in {_listed(difference.but_not_of)}"
    return left.with_columns(gene_set=pl.lit(difference.id), description=pl.lit(told))


def directed_contrasts(effect: pl.DataFrame, *, declared: Expression) -> list[tuple[str, pl.DataFrame]]:
    """Return the contrasts of results.differential_expression that have a direction, as declared in order."""
    directed = effect.filter((pl.col("test") != _UNDIRECTED) | pl.col("test").is_null())
    order = {contrast.id: place for place, contrast in enumerate(declared.contrasts)}
    found = sorted(directed["contrast"].unique(), key=lambda name: (order.get(name, len(order)), name))
    if not found:
        raise AnalysisError(
            "results.differential_expression: no contrast has a direction: a likelihood-ratio test ranks no"
            " gene as higher or lower; declare a contrast of levels"
        )
    return [(name, directed.filter(pl.col("contrast") == name)) for name in found]


def tested_genes(effect: pl.DataFrame) -> pl.DataFrame:
    """Return the genes of one contrast that were tested, one feature for each symbol, in order of statistic.

    A gene without a p-value takes no part, whatever left it without. A symbol of several features stands for
    the one with the highest base mean.
    """
    return (
        effect.filter(
            pl.col("statistic").is_finite() & pl.col("p_value").is_not_null() & pl.col("symbol").is_not_null()
        )
        .sort(["base_mean", "feature_id"], descending=[True, False], nulls_last=True)
        .unique("symbol", keep="first", maintain_order=True)
        .sort(["statistic", "symbol"], descending=[True, False])
    )


def measured_genes(feature: pl.DataFrame, mean: Iterable[float]) -> pl.DataFrame:
    """Return the row of each symbol among these features: the one with the highest mean, in order of symbol.

    `feature` has the rows of a matrix in order; features without a symbol are in no set.
    """
    return (
        feature.select("feature_id", "symbol")
        .with_row_index("row")
        .with_columns(mean=pl.Series(mean, dtype=pl.Float64))
        .filter(pl.col("symbol").is_not_null())
        .sort(["mean", "feature_id"], descending=[True, False])
        .unique("symbol", keep="first", maintain_order=True)
        .sort("symbol")
        .select("symbol", "row")
    )


def member_rows(member: pl.DataFrame, sets: pl.DataFrame, symbols: Sequence[str]) -> list[IndexArray]:
    """Return for each row of `sets` the places of its members among `symbols`, ascending."""
    place = pl.DataFrame({"symbol": symbols}).with_row_index("place")
    found = (
        member.join(place, on="symbol")
        .group_by(KEY)
        .agg(pl.col("place").sort())
        .join(sets.select(KEY).with_row_index("set"), on=KEY, how="right")
        .sort("set")
    )
    return [np.array([] if places is None else places, dtype=np.intp) for places in found["place"].to_list()]


def size_status(min_size: int, max_size: int, n_genes: int, size: str) -> pl.Expr:
    """Return what a set's size allows: `tested`, or why not."""
    return (
        pl.when(pl.col(size) < min_size)
        .then(pl.lit("too_small"))
        # A set of all genes leaves nothing to compare it with.
        .when((pl.col(size) > max_size) | (pl.col(size) >= n_genes))
        .then(pl.lit("too_large"))
        .otherwise(pl.lit("tested"))
    )


def _listed(values: Sequence[str]) -> str:
    more = f" and {len(values) - _MANY} more" if len(values) > _MANY else ""
    return ", ".join(values[:_MANY]) + more
