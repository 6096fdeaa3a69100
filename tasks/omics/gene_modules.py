"""The modules of co-expressed genes of each declared network, gene by gene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tasks.analysis import Analysis, Parameters
from tasks.omics.network_expression import (
    chosen_powers,
    colour_of,
    network_expressions,
    power_of,
    settings_of,
)
from tasks.stats.coexpression.adjacency import adjacency
from tasks.stats.coexpression.label_continuity import continued_labels
from tasks.stats.coexpression.membership import intramodular_connectivity, module_membership, rank_in_module
from tasks.stats.coexpression.network import find_modules
from tasks.stats.coexpression.settings import UNASSIGNED
from warehouse.expression_plan import Expression

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tasks.omics.network_expression import NetworkExpression
    from tasks.stats.coexpression.label_continuity import Continuity
    from tasks.stats.types import FloatArray

SCHEMA = {
    "network": pl.String,
    "network_title": pl.String,
    "feature_id": pl.String,
    "symbol": pl.String,
    "module": pl.Int64,
    "colour": pl.String,
    "module_size": pl.Int64,
    "module_before_merging": pl.Int64,
    "kme": pl.Float64,
    "kme_p_value": pl.Float64,
    "rank_in_module": pl.Int64,
    "connectivity": pl.Float64,
    "connectivity_in_module": pl.Float64,
    "is_protected": pl.Boolean,
    "label_status": pl.String,
    "label_note": pl.String,
    "power": pl.Float64,
    "n_genes": pl.Int64,
    "n_samples": pl.Int64,
    "n_subjects": pl.Int64,
    "warning": pl.String,
    "method": pl.String,
}
_P_NOTE = "p-value of kME by Student's t takes samples as independent, which samples of one patient are not"


class GeneModulesParameters(Parameters):
    """The networks are declared in [[expression.networks]]."""

    expression: Expression = Expression()


def gene_modules(
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    threshold: pl.DataFrame,
    *,
    parameters: GeneModulesParameters,
    former: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Find the modules of each network, by weighted correlation network analysis.

    A module is a set of genes that rise and fall together over the samples, whatever the reason: disease,
    treatment, the depth of the biopsy, its handling. `kme` is the correlation of the gene with the eigengene
    of its module; genes of module 0 (grey) belong to none. A module keeps the number it had in `former`, this
    table's last version, where it keeps half of its genes, and says so.
    """
    chosen = chosen_powers(threshold)
    parts = [
        _of_network(one, chosen, former)
        for one in network_expressions(expression, sample, feature, declared=parameters.expression)
    ]
    return pl.concat(parts)


def _of_network(
    given: NetworkExpression, chosen: Mapping[str, float], former: pl.DataFrame | None
) -> pl.DataFrame:
    network = given.network
    power = power_of(given, chosen)
    settings = settings_of(network, power)
    found = find_modules(given.value, settings)
    names = given.feature["feature_id"].to_list()
    kept = continued_labels(found.label, names, _former_modules(former, network.id))
    membership = module_membership(
        given.value[:, found.used_samples],
        found.eigengenes,
        kind=network.correlation,
        max_p_outliers=network.max_p_outliers,
    )
    kme, p_value = (_own(matrix, found.label) for matrix in (membership.kme, membership.p_value))
    connectivity = intramodular_connectivity(np.abs(adjacency(given.value, settings)), found.label)
    size = np.bincount(found.label)[found.label]
    said = {
        "network": network.id,
        "network_title": network.title,
        "power": power,
        "n_genes": len(names),
        "n_samples": given.sample.height,
        "n_subjects": given.n_subjects,
        "warning": given.warning,
        "method": _method(given, power),
    }
    return (
        given.feature.select("feature_id", "symbol", "is_protected")
        .with_columns(
            module=pl.Series(kept.label),
            colour=pl.Series([colour_of(int(one)) for one in kept.label]),
            module_size=pl.Series(size),
            module_before_merging=pl.Series(found.unmerged_label),
            kme=pl.Series(kme).fill_nan(None),
            kme_p_value=pl.Series(p_value).fill_nan(None),
            rank_in_module=pl.Series(rank_in_module(kme, found.label)).replace(0, None),
            connectivity=pl.Series(connectivity.total),
            connectivity_in_module=pl.Series(connectivity.within).fill_nan(None),
            **_labels(kept),
            **{name: pl.lit(value) for name, value in said.items()},
        )
        .sort("module", "rank_in_module", "feature_id")
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )


def _labels(kept: Continuity) -> dict[str, pl.Series]:
    lost = f"former module(s) {', '.join(map(str, kept.lost))} not found again" if kept.lost else None
    modules = [int(module) for module in kept.label]
    return {
        "label_status": pl.Series([kept.status.get(module, "unassigned") for module in modules]),
        "label_note": pl.Series([kept.note.get(module, lost) for module in modules], dtype=pl.String),
    }


def _former_modules(former: pl.DataFrame | None, network: str) -> dict[str, int] | None:
    if former is None:
        return None
    rows = former.filter(pl.col("network") == network)
    return dict(zip(rows["feature_id"], rows["module"], strict=True)) if rows.height else None


def _own(matrix: FloatArray, label: NDArray[np.int64]) -> FloatArray:
    """Return each gene's value for its own module, modules being columns 1, 2 ..; NaN for those without."""
    result = np.full(len(label), np.nan)
    assigned = np.flatnonzero(label != UNASSIGNED)
    result[assigned] = matrix[assigned, label[assigned] - 1]
    return result


def _method(given: NetworkExpression, power: float) -> str:
    network = given.network
    return (
        f"WGCNA: {given.correlation_text}; {network.network.replace('_', ' ')} adjacency, power {power:g};"
        f" {network.overlap} topological overlap; average linkage; dynamic hybrid cut, deepSplit"
        f" {network.deep_split}, at least {network.min_module_size} genes; merged at"
        f" {network.merge_cut_height:g}; {given.about}; {_P_NOTE}"
    )


ANALYSIS = Analysis(
    name="gene_modules",
    function=gene_modules,
    reads=("omics.expression", "omics.sample", "omics.feature", "results.soft_thresholds"),
    parameters=GeneModulesParameters,
    recalls=True,
)
