"""The eigengene of each module in each sample: what the module does as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tasks.analysis import Analysis, Parameters
from tasks.omics.network_expression import colour_of, labels_of, network_expressions
from tasks.stats.coexpression.eigengene import module_eigengenes as eigengenes_of
from tasks.stats.coexpression.settings import UNASSIGNED
from warehouse.expression_plan import Expression

if TYPE_CHECKING:
    from tasks.omics.network_expression import NetworkExpression

_OF_SAMPLE = ("usubjid", "visit", "tissue")
SCHEMA = {
    "network": pl.String,
    "network_title": pl.String,
    "module": pl.Int64,
    "colour": pl.String,
    "sample_id": pl.String,
    "usubjid": pl.String,
    "visit": pl.String,
    "tissue": pl.String,
    "eigengene": pl.Float64,
    "average_expression": pl.Float64,
    "variance_explained": pl.Float64,
    "module_size": pl.Int64,
    "n_samples": pl.Int64,
    "n_subjects": pl.Int64,
    "warning": pl.String,
    "method": pl.String,
}


class ModuleEigengenesParameters(Parameters):
    """The networks are declared in [[expression.networks]]."""

    expression: Expression = Expression()


def module_eigengenes(
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    modules: pl.DataFrame,
    *,
    parameters: ModuleEigengenesParameters,
) -> pl.DataFrame:
    """Summarise each module in each sample by its first principal component over standardised genes.

    The sign is that of the module's average expression: higher means that the module's genes are higher. The
    eigengene has length one over the samples of its network, so its unit is none and values of different
    networks do not compare. `variance_explained` says how much of the module it stands for. A network
    without a module has no rows.
    """
    return pl.concat(
        [
            pl.DataFrame(schema=SCHEMA),
            *(
                _of_network(given, modules)
                for given in network_expressions(expression, sample, feature, declared=parameters.expression)
            ),
        ]
    )


def _of_network(given: NetworkExpression, modules: pl.DataFrame) -> pl.DataFrame:
    label = labels_of(given, modules)
    if not (label != UNASSIGNED).any():
        return pl.DataFrame(schema=SCHEMA)
    found = eigengenes_of(given.value, label)
    size = np.bincount(label)
    described = given.sample.select(
        "sample_id",
        *(
            (pl.col(name) if name in given.sample.columns else pl.lit(None)).cast(pl.String).alias(name)
            for name in _OF_SAMPLE
        ),
    )
    said = {
        "network": given.network.id,
        "network_title": given.network.title,
        "n_samples": given.sample.height,
        "n_subjects": given.n_subjects,
        "warning": given.warning,
        "method": (
            "first right singular vector of the module's genes, each standardised over the samples; sign by"
            f" the correlation with their average; {given.about}"
        ),
    }
    parts = [
        described.with_columns(
            eigengene=pl.Series(found.value[row]),
            average_expression=pl.Series(found.average_expression[row]),
            variance_explained=pl.lit(float(found.variance_explained[row])),
            module=pl.lit(int(module)),
            colour=pl.lit(colour_of(int(module))),
            module_size=pl.lit(int(size[module])),
            **{name: pl.lit(value) for name, value in said.items()},
        )
        for row, module in enumerate(found.module)
    ]
    return pl.concat(parts).select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())


ANALYSIS = Analysis(
    name="module_eigengenes",
    function=module_eigengenes,
    reads=("omics.expression", "omics.sample", "omics.feature", "results.gene_modules"),
    parameters=ModuleEigengenesParameters,
)
