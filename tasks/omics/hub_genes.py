"""The genes that a module turns around, and whether they would be so with other patients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pydantic import Field

from tasks.analysis import Analysis, Parameters
from tasks.omics.counts import CountMatrix, samples_of
from tasks.omics.designs import subject_contrast
from tasks.omics.network_expression import labels_of, network_expressions, settings_of
from tasks.stats.coexpression.settings import UNASSIGNED
from tasks.stats.coexpression.stability import FOUND_AGAIN, module_stability
from tasks.stats.location import sign_flip
from tasks.stats.types import is_zero
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression

if TYPE_CHECKING:
    from tasks.omics.network_expression import NetworkExpression
    from tasks.stats.types import FloatArray
    from warehouse.expression_plan import ExpressionContrast

SCHEMA = {
    "network": pl.String,
    "network_title": pl.String,
    "module": pl.Int64,
    "colour": pl.String,
    "module_size": pl.Int64,
    "feature_id": pl.String,
    "symbol": pl.String,
    "is_protected": pl.Boolean,
    "is_hub": pl.Boolean,
    "rank_in_module": pl.Int64,
    "kme": pl.Float64,
    "kme_p_value": pl.Float64,
    "connectivity_in_module": pl.Float64,
    "contrast": pl.String,
    "gene_significance": pl.Float64,
    "gene_significance_p_value": pl.Float64,
    "rank_median": pl.Float64,
    "rank_low": pl.Float64,
    "rank_high": pl.Float64,
    "share_in_module": pl.Float64,
    "share_top": pl.Float64,
    "module_jaccard_mean": pl.Float64,
    "module_found_again": pl.Float64,
    "n_resamples": pl.Int64,
    "seed": pl.Int64,
    "n_samples": pl.Int64,
    "n_subjects": pl.Int64,
    "warning": pl.String,
    "method": pl.String,
}
_LEAST_SUBJECTS = 3


class HubGenesParameters(Parameters):
    """What makes a hub, the contrast that gene significance is about, and how patients are resampled.

    A hub is among the `n_hubs` first of its module by kME, which is `min_kme` or more. `n_resamples` of 0
    leaves the stability out.
    """

    n_hubs: int = Field(default=10, ge=1)
    min_kme: float = Field(default=0.8, ge=0, le=1)
    trait: str | None = None
    n_resamples: int = Field(default=20, ge=0)
    seed: int = Field(default=20240101, ge=0)
    expression: Expression = Expression()


def hub_genes(
    modules: pl.DataFrame,
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    *,
    parameters: HubGenesParameters,
) -> pl.DataFrame:
    """List the first genes of each module by kME, and every protected gene, with how sure their rank is.

    `gene_significance` is the correlation of the gene with the levels of the contrast `trait` within patients
    (each patient's mean taken out), its p-value from the signs of the patients' own contrasts, exactly.
    Patients are drawn with replacement, all samples of each, and modules are found anew: `share_in_module`
    says how often the gene was in the module most like its own, `rank_low` to `rank_high` the middle ninety
    per cent of its ranks, `module_found_again` how often that module shared half of its genes (Jaccard).
    Without patients in omics.sample, samples are drawn.
    """
    contrast = _contrast(parameters)
    parts = [
        _of_network(given, modules, contrast, parameters)
        for given in network_expressions(expression, sample, feature, declared=parameters.expression)
    ]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *parts])


def _contrast(parameters: HubGenesParameters) -> ExpressionContrast | None:
    if parameters.trait is None:
        return None
    for contrast in parameters.expression.contrasts:
        if contrast.id == parameters.trait and contrast.level_weights:
            return contrast
    known = [contrast.id for contrast in parameters.expression.contrasts if contrast.level_weights]
    raise AnalysisError(
        f"hub_genes: trait: {parameters.trait!r}: must be one of {', '.join(known) or 'none'}"
    )


def _of_network(
    given: NetworkExpression,
    modules: pl.DataFrame,
    contrast: ExpressionContrast | None,
    parameters: HubGenesParameters,
) -> pl.DataFrame:
    label = labels_of(given, modules)
    own = modules.filter(pl.col("network") == given.network.id)
    place = {name: row for row, name in enumerate(given.feature["feature_id"])}
    rank = pl.col("rank_in_module")
    chosen = own.filter((rank <= parameters.n_hubs) | pl.col("is_protected")).with_columns(
        is_hub=((rank <= parameters.n_hubs) & (pl.col("kme") >= parameters.min_kme)).fill_null(value=False)
    )
    rows = np.array([place[name] for name in chosen["feature_id"]], dtype=np.intp)
    has_patients = "usubjid" in given.sample.columns and not given.sample["usubjid"].has_nulls()
    unit = given.sample["usubjid" if has_patients else "sample_id"].cast(pl.String).to_list()
    is_resampled = bool(
        parameters.n_resamples and len(set(unit)) >= _LEAST_SUBJECTS and (label != UNASSIGNED).any()
    )
    stable = (
        _stability(given, label, rows, unit, float(own["power"][0]), parameters)
        if is_resampled
        else [{"n_resamples": 0} for _ in rows]
    )
    significance = _significance(given, rows, contrast, parameters)
    who = "patients" if has_patients else "samples, no patient being known,"
    drawn = (
        f"{who} drawn {parameters.n_resamples} times with replacement, modules found anew"
        if is_resampled
        else "not resampled"
    )
    said = {
        "contrast": contrast.id if contrast else None,
        "seed": parameters.seed,
        "method": (
            f"kME by the network's correlation; hub: rank {parameters.n_hubs} or better and kME"
            f" {parameters.min_kme:g} or more; gene significance within patients, exact sign flips; {drawn}"
        ),
    }
    extra = pl.DataFrame(
        [one | two for one, two in zip(stable, significance, strict=True)],
        schema={
            name: SCHEMA[name]
            for name in (
                "gene_significance",
                "gene_significance_p_value",
                "rank_median",
                "rank_low",
                "rank_high",
                "share_in_module",
                "share_top",
                "module_jaccard_mean",
                "module_found_again",
                "n_resamples",
            )
        },
    )
    return (
        pl.concat([chosen.drop("method"), extra], how="horizontal")
        .with_columns(**{name: pl.lit(value) for name, value in said.items()})
        .sort("module", "rank_in_module", "feature_id")
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )


def _stability(  # noqa: PLR0917 - what a network is made of
    given: NetworkExpression,
    label: Any,
    rows: Any,
    unit: list[str],
    power: float,
    parameters: HubGenesParameters,
) -> list[dict[str, Any]]:
    found = module_stability(
        given.value,
        unit,
        label,
        settings_of(given.network, power),
        resamples=parameters.n_resamples,
        seed=parameters.seed,
    )
    column = {int(module): place for place, module in enumerate(found.module)}
    result: list[dict[str, Any]] = []
    for row in rows:
        module = int(label[row])
        if module == UNASSIGNED:
            result.append({"n_resamples": parameters.n_resamples})
            continue
        ranks, jaccard = found.rank[:, row], found.jaccard[:, column[module]]
        low, middle, high = np.quantile(ranks, [0.05, 0.5, 0.95])
        result.append(
            {
                "n_resamples": parameters.n_resamples,
                "rank_median": float(middle),
                "rank_low": float(low),
                "rank_high": float(high),
                "share_in_module": float(found.share_in_module[row]),
                "share_top": float((ranks <= parameters.n_hubs).mean()),
                "module_jaccard_mean": float(jaccard.mean()),
                "module_found_again": float((jaccard >= FOUND_AGAIN).mean()),
            }
        )
    return result


def _significance(
    given: NetworkExpression, rows: Any, contrast: ExpressionContrast | None, parameters: HubGenesParameters
) -> list[dict[str, Any]]:
    none: list[dict[str, Any]] = [{} for _ in rows]
    if contrast is None or "usubjid" not in given.sample.columns:
        return none
    matrix = CountMatrix(
        feature=given.feature[rows.tolist()], sample=given.sample, count=given.value[rows], excluded={}
    )
    try:
        chosen = samples_of(matrix, parameters.expression.design_of(contrast))
    except AnalysisError:
        # The network is of other samples than the contrast.
        return none
    if not set(contrast.level_weights) <= set(chosen.sample[contrast.variable].cast(pl.String)):
        return none
    subjects, difference = subject_contrast(chosen.sample, contrast, chosen.count)
    if len(subjects) < _LEAST_SUBJECTS:
        return none
    level = chosen.sample[contrast.variable].cast(pl.String)
    is_kept = level.is_in(list(contrast.level_weights)) & chosen.sample["usubjid"].is_in(subjects)
    kept = np.flatnonzero(is_kept.to_numpy())
    weight = np.array([contrast.level_weights[level[int(one)]] for one in kept], dtype=np.float64)
    of = np.unique(chosen.sample["usubjid"].gather(kept).to_list(), return_inverse=True)[1]
    r = _correlated(_within(chosen.count[:, kept], of), _within(weight[None, :], of))
    return [
        {
            "gene_significance": float(r[row]) if np.isfinite(r[row]) else None,
            "gene_significance_p_value": None
            if is_zero(own).all()
            else sign_flip(own, seed=parameters.seed).p_value,
        }
        for row, own in enumerate(difference)
    ]


def _within(value: FloatArray, subject: Any) -> FloatArray:
    """Take each subject's mean out of its values (genes, samples)."""
    count = np.bincount(subject)
    total = np.zeros((len(value), len(count)))
    np.add.at(total.T, subject, value.T)
    left: FloatArray = value - (total / count)[:, subject]
    return left


def _correlated(value: FloatArray, weight: FloatArray) -> FloatArray:
    length = np.sqrt((value**2).sum(axis=1) * (weight**2).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        r: FloatArray = (value @ weight[0]) / length
    return r


ANALYSIS = Analysis(
    name="hub_genes",
    function=hub_genes,
    reads=("results.gene_modules", "omics.expression", "omics.sample", "omics.feature"),
    parameters=HubGenesParameters,
)
