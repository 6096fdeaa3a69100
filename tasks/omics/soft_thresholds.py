"""The scale-free fit of each network over soft-thresholding powers, and the power chosen by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tasks.analysis import Analysis, Parameters
from tasks.omics.network_expression import network_expressions
from tasks.stats.coexpression.scale_free import POWERS, PowerChoice, choose_power, soft_threshold
from warehouse.expression_plan import Expression

if TYPE_CHECKING:
    from tasks.omics.network_expression import NetworkExpression

SCHEMA = {
    "network": pl.String,
    "network_title": pl.String,
    "power": pl.Float64,
    "r_squared": pl.Float64,
    "slope": pl.Float64,
    "truncated_r_squared": pl.Float64,
    "mean_connectivity": pl.Float64,
    "median_connectivity": pl.Float64,
    "max_connectivity": pl.Float64,
    "is_chosen": pl.Boolean,
    "rule": pl.String,
    "reason": pl.String,
    "r_squared_cut": pl.Float64,
    "n_genes": pl.Int64,
    "n_samples": pl.Int64,
    "n_subjects": pl.Int64,
    "excluded_samples": pl.String,
    "warning": pl.String,
    "method": pl.String,
}


class SoftThresholdsParameters(Parameters):
    """The networks are declared in [[expression.networks]]."""

    expression: Expression = Expression()


def soft_thresholds(
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    *,
    parameters: SoftThresholdsParameters,
) -> pl.DataFrame:
    """Tabulate for each network what each power makes of it, and choose one.

    A high power leaves only the strongest correlations. The power is chosen by the fit of a scale-free
    network where one is good at a power no higher than is usual for so many samples, else the usual one is
    taken; a power declared for the network stands above both.
    """
    return pl.concat(
        [
            _of_network(given)
            for given in network_expressions(expression, sample, feature, declared=parameters.expression)
        ]
    )


def _of_network(given: NetworkExpression) -> pl.DataFrame:
    network = given.network
    powers = POWERS if network.power is None else (*POWERS, network.power)
    found = soft_threshold(
        given.value,
        powers,
        kind=network.correlation,
        max_p_outliers=network.max_p_outliers,
        network=network.network,
    )
    chosen: PowerChoice | None = None
    if network.power is None:
        chosen = choose_power(
            found, given.sample.height, network=network.network, r_squared_cut=network.r_squared_cut
        )
    said = {
        "network": network.id,
        "network_title": network.title,
        "rule": chosen.rule if chosen else "declared",
        "reason": chosen.reason if chosen else "declared in study.toml",
        "r_squared_cut": network.r_squared_cut,
        "n_genes": len(given.value),
        "n_samples": given.sample.height,
        "n_subjects": given.n_subjects,
        "excluded_samples": given.excluded_text or None,
        "warning": given.warning,
        "method": (
            f"connectivity of {network.network.replace('_', ' ')} adjacencies of the"
            f" {given.correlation_text}; linear fit of log10 p(k) on log10 k over 10 bins of equal width, R"
            f" squared not adjusted; {given.about}"
        ),
    }
    power = chosen.power if chosen else network.power
    return pl.DataFrame(
        {
            "power": found.power,
            "r_squared": found.r_squared,
            "slope": found.slope,
            "truncated_r_squared": found.truncated_r_squared,
            "mean_connectivity": found.mean_connectivity,
            "median_connectivity": found.median_connectivity,
            "max_connectivity": found.max_connectivity,
            "is_chosen": found.power == power,
        }
    ).select(
        pl.col(name).cast(dtype).fill_nan(None)
        if dtype == pl.Float64 and name not in said
        else (pl.lit(said[name]) if name in said else pl.col(name)).cast(dtype).alias(name)
        for name, dtype in SCHEMA.items()
    )


ANALYSIS = Analysis(
    name="soft_thresholds",
    function=soft_thresholds,
    reads=("omics.expression", "omics.sample", "omics.feature"),
    parameters=SoftThresholdsParameters,
)
