"""The expression that a declared network is made of, and its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tasks.omics.counts import CountMatrix, count_matrix, samples_of
from tasks.omics.normalised import most_variable, vst
from tasks.stats.coexpression.settings import NetworkSettings
from warehouse.errors import AnalysisError
from warehouse.expression_plan import ExpressionDesign

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray
    from warehouse.expression_plan import Expression, ExpressionNetwork

_LEAST_SAMPLES = 4
_FEW, _VERY_FEW = 20, 15
# In the order in which WGCNA gives them out, by falling size of the module.
_COLOURS = """
turquoise blue brown yellow green red black pink magenta purple greenyellow tan salmon cyan
midnightblue lightcyan grey60 lightgreen lightyellow royalblue darkred darkgreen darkturquoise darkgrey
orange darkorange white skyblue saddlebrown steelblue paleturquoise violet darkolivegreen darkmagenta
sienna3 yellowgreen skyblue3 plum1 orangered4 mediumpurple3
""".split()  # noqa: SIM905 - forty names in quotes are forty lines


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkExpression:
    """Variance-stabilised expression: `value` (rows of `feature`, rows of `sample`)."""

    network: ExpressionNetwork
    feature: pl.DataFrame
    sample: pl.DataFrame
    value: FloatArray
    excluded_text: str

    @property
    def n_subjects(self) -> int | None:
        return self.sample["usubjid"].n_unique() if "usubjid" in self.sample.columns else None

    @property
    def warning(self) -> str | None:
        n = self.sample.height
        if n >= _FEW:
            return None
        advice = "co-expression is not advised below that" if n < _VERY_FEW else "modules will be noisy"
        limit = _VERY_FEW if n < _VERY_FEW else _FEW
        return f"{n} samples, fewer than {limit}: {advice}; read modules as hypotheses"

    @property
    def correlation_text(self) -> str:
        if self.network.correlation == "pearson":
            return "Pearson correlation"
        return f"biweight midcorrelation with at most {self.network.max_p_outliers:.0%} outliers on a side"

    @property
    def about(self) -> str:
        chosen = "; ".join(f"{key} {', '.join(values)}" for key, values in self.network.samples.items())
        adjusted = (
            f"; less the level of each {' and '.join(self.network.adjust_for)}"
            if self.network.adjust_for
            else ""
        )
        return (
            f"variance-stabilised counts blind to the design{adjusted}; the {len(self.value)} most variable"
            f" and protected genes; samples: {chosen or 'all'}"
        )


def network_expressions(
    expression: pl.DataFrame, sample: pl.DataFrame, feature: pl.DataFrame, *, declared: Expression
) -> Iterator[NetworkExpression]:
    """Yield the expression of each declared network.

    Genes are stabilised over all samples that the declared rules keep, as for signature scores, then the
    network's samples are taken. A gene enters with `min_count` reads in `min_samples` of them (by default a
    third) if its variance there is among the `n_genes` largest; protected genes enter if they vary at all. No
    test of difference chooses genes: that would make modules of the contrast.

    Raises
    ------
    AnalysisError
        Without a declared network, for a column or value that omics.sample does not have, or fewer than four
        samples.
    """
    if not declared.networks:
        raise AnalysisError("no network is declared: [[expression.networks]] with id and title is needed")
    counts = count_matrix(expression, sample, feature, declared=declared)
    stabilised = vst(counts)
    for network in declared.networks:
        chosen = _samples(counts, network)
        value = stabilised[:, _places(counts, chosen)]
        rows = _genes(chosen, value, network, declared)
        yield NetworkExpression(
            network=network,
            feature=chosen.feature[rows.tolist()],
            sample=chosen.sample,
            value=_adjusted(value[rows], chosen.sample, network),
            excluded_text=counts.excluded_text,
        )


def every_gene(
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    *,
    declared: Expression,
    network: ExpressionNetwork,
) -> NetworkExpression:
    """Return the expression of all genes in the samples of a network, declared or not."""
    counts = count_matrix(expression, sample, feature, declared=declared)
    chosen = _samples(counts, network)
    return NetworkExpression(
        network=network,
        feature=chosen.feature,
        sample=chosen.sample,
        value=_adjusted(vst(counts)[:, _places(counts, chosen)], chosen.sample, network),
        excluded_text=counts.excluded_text,
    )


def _places(counts: CountMatrix, chosen: CountMatrix) -> NDArray[np.intp]:
    place = {name: number for number, name in enumerate(counts.sample["sample_id"])}
    return np.array([place[name] for name in chosen.sample["sample_id"]])


def _samples(counts: CountMatrix, network: ExpressionNetwork) -> CountMatrix:
    # The rule that chooses samples for a design chooses them here.
    rule = ExpressionDesign(id=network.id, formula="~ usubjid", samples=network.samples)
    try:
        chosen = samples_of(counts, rule)
    except AnalysisError as error:
        raise AnalysisError(str(error).replace("design ", "network ", 1)) from error
    if chosen.sample.height < _LEAST_SAMPLES:
        raise AnalysisError(
            f"network {network.id}: {chosen.sample.height} sample(s): at least {_LEAST_SAMPLES} are needed"
        )
    return chosen


def _genes(
    counts: CountMatrix, value: FloatArray, network: ExpressionNetwork, declared: Expression
) -> NDArray[np.intp]:
    needed = declared.min_samples or -(-counts.sample.height // 3)
    is_expressed = (counts.count >= declared.min_count).sum(axis=1) >= needed
    candidates = np.flatnonzero(is_expressed)
    variable = candidates[most_variable(value[candidates], network.n_genes)]
    is_protected = counts.feature["is_protected"].to_numpy() & (np.ptp(value, axis=1) > 0)
    return np.union1d(variable, np.flatnonzero(is_protected))


def _adjusted(value: FloatArray, sample: pl.DataFrame, network: ExpressionNetwork) -> FloatArray:
    """Take out of each gene what the levels of the columns explain, by least squares; its mean stays."""
    if not network.adjust_for:
        return value
    columns = [np.ones((sample.height, 1))]
    for name in network.adjust_for:
        if name not in sample.columns:
            raise AnalysisError(
                f"network {network.id}: adjust_for: {name}: must be a column of omics.sample:"
                f" {', '.join(sample.columns)}"
            )
        columns.append(sample.select(pl.col(name).cast(pl.String)).to_dummies().to_numpy().astype(np.float64))
    design = np.column_stack(columns)
    fitted = design @ np.linalg.lstsq(design, value.T, rcond=None)[0]
    left: FloatArray = value - fitted.T + value.mean(axis=1, keepdims=True)
    return left


def settings_of(network: ExpressionNetwork, power: float) -> NetworkSettings:
    return NetworkSettings(
        power=power,
        correlation=network.correlation,
        max_p_outliers=network.max_p_outliers,
        network=network.network,
        overlap=network.overlap,
        deep_split=network.deep_split,
        min_module_size=network.min_module_size,
        merge_cut_height=network.merge_cut_height,
        pam_stage=network.pam_stage,
        pam_respects_dendrogram=network.pam_respects_dendrogram,
        min_kme_to_stay=network.min_kme_to_stay,
        max_block_size=network.max_block_size,
        precision=network.precision,
    )


def colour_of(module: int) -> str:
    """Return the name by which WGCNA's users know a module; beyond forty modules, its number."""
    if module == 0:
        return "grey"
    return _COLOURS[module - 1] if module <= len(_COLOURS) else f"module {module}"


def chosen_powers(threshold: pl.DataFrame) -> dict[str, float]:
    """Return the power chosen for each network in results.soft_thresholds."""
    rows = threshold.filter("is_chosen")
    return dict(zip(rows["network"], rows["power"], strict=True))


def power_of(given: NetworkExpression, chosen: Mapping[str, float]) -> float:
    if given.network.id not in chosen:
        raise AnalysisError(f"results.soft_thresholds: network {given.network.id}: must have a power chosen")
    return chosen[given.network.id]


def labels_of(given: NetworkExpression, modules: pl.DataFrame) -> NDArray[np.int64]:
    """Return the module of each gene of the network, as results.gene_modules has it.

    Raises
    ------
    AnalysisError
        If the table is of other genes.
    """
    rows = modules.filter(pl.col("network") == given.network.id)
    module = dict(zip(rows["feature_id"], rows["module"], strict=True))
    genes = given.feature["feature_id"].to_list()
    if set(module) != set(genes):
        unknown = sorted(set(module) ^ set(genes))
        raise AnalysisError(
            f"results.gene_modules: network {given.network.id}: {unknown[0]} and {len(unknown) - 1} more:"
            " must be the genes that the network has now"
        )
    return np.array([module[gene] for gene in genes], dtype=np.int64)
