"""The weights of regulators on their targets that a study brings, under the symbols of its own genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
from scipy import sparse

from tasks.omics.gene_sets import study_symbols
from warehouse.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = ("collection", "regulator")


@dataclass(frozen=True, slots=True, kw_only=True)
class Regulators:
    """Regulators by collection and name, and the weights of their targets.

    `regulator`: collection, regulator, n_targets_in_collection, unmatched_symbols.
    `target`: collection, regulator, symbol (of omics.feature), weight.
    """

    regulator: pl.DataFrame
    target: pl.DataFrame


def regulators(weight: pl.DataFrame, feature: pl.DataFrame) -> Regulators:
    """Return omics.regulator_weight matched with the study's genes, as gene sets are.

    Raises
    ------
    AnalysisError
        If there is no weight, one is not a number or zero, or two names of one target have other weights.
    """
    named = weight.select(*KEY, name=pl.col("symbol").str.strip_chars(), weight=pl.col("weight"))
    if named.is_empty():
        raise AnalysisError("omics.regulator_weight: no rows: at least one regulator with targets is needed")
    wrong = named.filter(~pl.col("weight").is_finite().fill_null(value=False) | (pl.col("weight") == 0))
    if wrong.height:
        _, regulator, name, value = wrong.row(0)
        raise AnalysisError(
            f"omics.regulator_weight: {regulator}, {name}: weight {value}: must be a number other than zero"
        )
    matched = named.join(study_symbols(feature), on="name", how="left").unique()
    target = (
        matched.filter(pl.col("symbol").is_not_null())
        .unique([*KEY, "symbol", "weight"])
        .sort(*KEY, "symbol")
        .select(*KEY, "symbol", "weight")
    )
    twice = target.filter(pl.struct(*KEY, "symbol").is_duplicated())
    if twice.height:
        _, regulator, symbol, value = twice.row(0)
        raise AnalysisError(
            f"omics.regulator_weight: {regulator}, {symbol}: weight {value} and another: must have one weight"
        )
    unmatched = pl.col("name").filter(pl.col("symbol").is_null())
    return Regulators(
        regulator=matched.group_by(KEY)
        .agg(
            n_targets_in_collection=pl.col("name").n_unique().cast(pl.Int64),
            unmatched_symbols=unmatched.unique().sort().str.join(";"),
        )
        .with_columns(pl.col("unmatched_symbols").replace("", None))
        .sort(KEY),
        target=target,
    )


def weight_matrix(target: pl.DataFrame, regulator: pl.DataFrame, symbols: Sequence[str]) -> sparse.csr_array:
    """Return regulators (rows as in `regulator`) by genes, zero where a gene is no target."""
    placed = target.join(regulator.select(KEY).with_row_index("row"), on=KEY).join(
        pl.DataFrame({"symbol": symbols}).with_row_index("column"), on="symbol"
    )
    cells = placed["weight"].to_numpy(), (placed["row"].to_numpy(), placed["column"].to_numpy())
    return sparse.csr_array(cells, shape=(regulator.height, len(symbols)))
