"""How far treatment moved genes and signatures of the lesion towards non-lesional tissue, in percent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pydantic import Field

from tasks.analysis import Analysis, Parameters
from tasks.omics.measured import (
    ABOUT,
    GENE,
    SCALE,
    Measured,
    measured,
    named_contrast,
    own_contrasts,
    own_levels,
    small_sample_warning,
    two_levels,
)
from tasks.stats.molecular_response import METHOD, cohort_improvement, percent_improvement
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray
    from warehouse.expression_plan import ExpressionContrast

SCHEMA = {
    "level": pl.String,
    **ABOUT,
    "usubjid": pl.String,
    "disease_direction": pl.String,
    "is_disease_gene": pl.Boolean,
    "is_protected": pl.Boolean,
    "improvement_pct": pl.Float64,
    "interval_low": pl.Float64,
    "interval_high": pl.Float64,
    "confidence_level": pl.Float64,
    "mean_of_ratios_pct": pl.Float64,
    "n_ratios": pl.Int64,
    "disease_difference": pl.Float64,
    "treatment_change": pl.Float64,
    "least_difference": pl.Float64,
    "status": pl.String,
    "reason": pl.String,
    "n_subjects": pl.Int64,
    "n_genes": pl.Int64,
    "left_out_subjects": pl.String,
    "disease_contrast": pl.String,
    "treatment_contrast": pl.String,
    "n_resamples": pl.Int64,
    "seed": pl.Int64,
    "is_small_sample": pl.Boolean,
    "warning": pl.String,
    "method": pl.String,
}
PROFILE = "profile"
_LEAST_SUBJECTS = 2
# Selecting genes by a difference and measuring improvement from the same biopsies shares their noise.
_SHARED_BASELINE = (
    "the same baseline lesional biopsies define disease and start of treatment, so their noise counts as"
    " improvement"
)


class MolecularResponseParameters(Parameters):
    """The contrasts to relate, which genes are of the disease, and the smallest usable disease difference.

    `disease` and `treatment` are ids of contrasts that share the lesion before treatment: it is the level of
    the first and the reference of the second. Disease genes have an adjusted p-value below `alpha` and a
    fold change of `least_log2_fold_change` or more in the disease contrast, the first `max_genes` by
    p-value. A patient or cohort whose own difference is below `least_difference_log2` (genes, profile) or
    `least_difference_sd` pooled standard deviations (signatures) gets no percentage.
    """

    disease: str
    treatment: str
    alpha: float = Field(default=0.05, gt=0, lt=1)
    least_log2_fold_change: float = Field(default=1.0, ge=0)
    max_genes: int = Field(default=500, ge=1)
    least_difference_log2: float = Field(default=0.5, gt=0)
    least_difference_sd: float = Field(default=0.5, gt=0)
    confidence_level: float = Field(default=0.95, gt=0, lt=1)
    n_resamples: int = Field(default=10_000, ge=1000)
    seed: int = Field(default=20240101, ge=0)
    expression: Expression = Expression()


@dataclass(frozen=True, slots=True)
class _Response:
    """Differences of k rows in n subjects, with the smallest usable difference of each row."""

    about: pl.DataFrame
    disease: FloatArray
    treatment: FloatArray
    least: FloatArray
    subjects: tuple[str, ...]
    left_out: str | None


def molecular_response(
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    effect: pl.DataFrame,
    scores: pl.DataFrame | None,
    *,
    parameters: MolecularResponseParameters,
) -> pl.DataFrame:
    """Relate each patient's change on treatment to the patient's own difference from non-lesional tissue.

    100 is the non-lesional level of before treatment, more is overshoot, below zero is worse. The cohort's
    value is the ratio of the mean differences, with an interval from resampled patients; the mean of the
    patients' percentages stands beside it and is ruled by those with a small difference. Only patients with
    all three biopsies count. A difference too small to divide by gives no number, but a reason. The profile
    is the mean over the disease genes, those lower in the lesion turned round. Intervals take the list of
    disease genes as given and are not adjusted for its length.
    """
    disease = named_contrast(parameters.expression, parameters.disease, "disease")
    treatment = named_contrast(parameters.expression, parameters.treatment, "treatment")
    lesion, healthy = two_levels(disease, "disease")
    if two_levels(treatment, "treatment")[1] != lesion or disease.variable != treatment.variable:
        raise AnalysisError(
            f"treatment: {treatment.id!r}: its reference must be {lesion!r}, the level of the disease"
            f" contrast {disease.id!r}"
        )
    genes = _disease_genes(effect, parameters)
    values = measured(
        expression,
        sample,
        feature,
        scores,
        declared=parameters.expression,
        genes=genes["feature_id"].to_list(),
    )
    values = values.of(_complete(values))
    of_rows = _response(values, disease, treatment, healthy, parameters)
    response = _with_profile(of_rows, genes, parameters.least_difference_log2)
    rows = [*_cohort_rows(response, parameters), *_patient_rows(response)]
    if genes.is_empty():
        rows.append(_no_profile(response, parameters))
    method = _method(parameters)
    n_subjects = len(response.subjects)
    warning = small_sample_warning(n_subjects)
    return (
        pl.DataFrame(rows, schema_overrides=SCHEMA, infer_schema_length=None)
        .with_columns(
            left_out_subjects=pl.lit(response.left_out, dtype=pl.String),
            disease_contrast=pl.lit(disease.id),
            treatment_contrast=pl.lit(treatment.id),
            is_disease_gene=pl.when(pl.col("kind") == GENE).then(
                pl.col("feature_id").is_in(genes["feature_id"].to_list())
            ),
            is_protected=pl.when(pl.col("kind") == GENE).then(
                pl.col("name").is_in(list(parameters.expression.protected_genes))
            ),
            is_small_sample=pl.lit(warning is not None),
            warning=pl.lit(warning, dtype=pl.String),
            method=pl.lit(method),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
        .sort("level", "kind", "scorer", "collection", "name", "feature_id", "usubjid")
    )


ANALYSIS = Analysis(
    name="molecular_response",
    function=molecular_response,
    reads=("omics.expression", "omics.sample", "omics.feature", "results.differential_expression"),
    uses=("results.signature_scores",),
    parameters=MolecularResponseParameters,
)


def _disease_genes(effect: pl.DataFrame, parameters: MolecularResponseParameters) -> pl.DataFrame:
    of_contrast = effect.filter(pl.col("contrast") == parameters.disease)
    if of_contrast.is_empty():
        known = ", ".join(effect["contrast"].unique().sort()) or "none"
        raise AnalysisError(f"disease: {parameters.disease!r}: results.differential_expression has {known}")
    return (
        of_contrast.filter(
            pl.col("p_adjusted") < parameters.alpha,
            pl.col("log2_fold_change").abs() >= parameters.least_log2_fold_change,
        )
        .sort(
            ["p_adjusted", pl.col("log2_fold_change").abs(), "feature_id"],
            descending=[False, True, False],
        )
        .head(parameters.max_genes)
        .select("feature_id", sign=pl.col("log2_fold_change").sign())
    )


def _complete(values: Measured) -> list[int]:
    """Return the rows with a value in every sample: a scorer scores all libraries or none."""
    return np.flatnonzero(np.isfinite(values.value).all(axis=1)).tolist()


def _response(
    values: Measured,
    disease: ExpressionContrast,
    treatment: ExpressionContrast,
    healthy: str,
    parameters: MolecularResponseParameters,
) -> _Response:
    declared = parameters.expression
    difference = own_contrasts(values, declared, disease)
    change = own_contrasts(values, declared, treatment)
    subjects = tuple(sorted(set(difference.subjects) & set(change.subjects)))
    if len(subjects) < _LEAST_SUBJECTS:
        raise AnalysisError(
            f"disease {disease.id!r}, treatment {treatment.id!r}: {len(subjects)} subject(s) with a sample in"
            f" every cell of both: at least {_LEAST_SUBJECTS} are needed"
        )
    everybody = set(values.counts.sample["usubjid"].drop_nulls().cast(pl.String))
    missing = sorted(everybody - set(subjects))
    lesion, _ = two_levels(disease, "disease")
    cells = [own_levels(values, declared, disease, level).of(subjects) for level in (lesion, healthy)]
    pooled_sd = np.sqrt(np.mean([cell.var(axis=1, ddof=1) for cell in cells], axis=0))
    is_gene = (values.about["kind"] == GENE).to_numpy()
    return _Response(
        about=values.about,
        disease=difference.of(subjects),
        treatment=change.of(subjects),
        least=np.where(is_gene, parameters.least_difference_log2, parameters.least_difference_sd * pooled_sd),
        subjects=subjects,
        left_out="; ".join(missing) or None,
    )


def _with_profile(response: _Response, genes: pl.DataFrame, least: float) -> _Response:
    """Add the mean over the disease genes: all of them, those higher, and those lower in the lesion."""
    place = {name: row for row, name in enumerate(response.about["feature_id"]) if name is not None}
    names, disease, treatment = [], [], []
    for name, chosen in (
        ("disease genes", genes),
        ("disease genes, higher in the lesion", genes.filter(pl.col("sign") > 0)),
        ("disease genes, lower in the lesion", genes.filter(pl.col("sign") < 0)),
    ):
        if chosen.is_empty():
            continue
        rows = [place[feature] for feature in chosen["feature_id"]]
        sign = chosen["sign"].to_numpy()[:, np.newaxis]
        names.append((name, chosen.height))
        disease.append((sign * response.disease[rows]).mean(axis=0))
        treatment.append((sign * response.treatment[rows]).mean(axis=0))
    about = pl.DataFrame(
        [{"kind": PROFILE, "name": name, "unit": "log2", "n_genes": n} for name, n in names],
        schema={**ABOUT, "n_genes": pl.Int64},
    )
    return _Response(
        about=pl.concat([response.about.with_columns(n_genes=pl.lit(None, dtype=pl.Int64)), about]),
        disease=np.vstack([response.disease, *disease]),
        treatment=np.vstack([response.treatment, *treatment]),
        least=np.concatenate([response.least, np.full(len(names), least)]),
        subjects=response.subjects,
        left_out=response.left_out,
    )


def _cohort_rows(response: _Response, parameters: MolecularResponseParameters) -> Iterator[dict[str, Any]]:
    found = cohort_improvement(
        response.disease,
        response.treatment,
        level=parameters.confidence_level,
        n_resamples=parameters.n_resamples,
        seed=parameters.seed,
    )
    own = percent_improvement(response.disease, response.treatment)
    is_usable = _is_large(response.disease, response.least[:, np.newaxis])
    mean_disease, mean_treatment = response.disease.mean(axis=1), response.treatment.mean(axis=1)
    is_large = _is_large(mean_disease, response.least)
    for row, about in enumerate(response.about.iter_rows(named=True)):
        ratios = own[row, is_usable[row]]
        has_interval = bool(is_large[row] and np.isfinite(found.low[row]))
        status, reason = "estimated", None
        if not is_large[row]:
            status, reason = "small_difference", _too_small(mean_disease[row], response.least[row], about)
        elif not has_interval:
            status = "no_interval"
            reason = (
                "the disease difference is less than about three standard errors from zero"
                if found.has_unstable_denominator[row]
                else "resampled patients do not vary, or too skewed"
            )
        yield {
            **about,
            "level": "cohort",
            "disease_direction": _direction(mean_disease[row], about),
            "improvement_pct": float(found.estimate[row]) if is_large[row] else None,
            "interval_low": float(found.low[row]) if has_interval else None,
            "interval_high": float(found.high[row]) if has_interval else None,
            "confidence_level": found.level if has_interval else None,
            "mean_of_ratios_pct": float(ratios.mean()) if ratios.size and is_large[row] else None,
            "n_ratios": ratios.size,
            "disease_difference": float(mean_disease[row]),
            "treatment_change": float(mean_treatment[row]),
            "least_difference": float(response.least[row]),
            "status": status,
            "reason": reason,
            "n_subjects": len(response.subjects),
            "n_resamples": found.n_resamples,
            "seed": found.seed,
        }


def _patient_rows(response: _Response) -> Iterator[dict[str, Any]]:
    own = percent_improvement(response.disease, response.treatment)
    is_large = _is_large(response.disease, response.least[:, np.newaxis])
    for row, about in enumerate(response.about.iter_rows(named=True)):
        for column, subject in enumerate(response.subjects):
            difference, usable = response.disease[row, column], is_large[row, column]
            yield {
                **about,
                "level": "patient",
                "usubjid": subject,
                "disease_direction": _direction(difference, about),
                "improvement_pct": float(own[row, column]) if usable else None,
                "disease_difference": float(difference),
                "treatment_change": float(response.treatment[row, column]),
                "least_difference": float(response.least[row]),
                "status": "estimated" if usable else "small_difference",
                "reason": None if usable else _too_small(difference, response.least[row], about),
                "n_subjects": 1,
            }


def _no_profile(response: _Response, parameters: MolecularResponseParameters) -> dict[str, Any]:
    return {
        "level": "cohort",
        "kind": PROFILE,
        "name": "disease genes",
        "unit": "log2",
        "status": "no_disease_genes",
        "reason": f"no gene with an adjusted p-value below {parameters.alpha:g} and a log2 fold change of"
        f" {parameters.least_log2_fold_change:g} or more in contrast {parameters.disease}",
        "n_subjects": len(response.subjects),
        "n_genes": 0,
    }


def _is_large(difference: FloatArray, least: FloatArray) -> NDArray[np.bool_]:
    return np.asarray((np.abs(difference) >= least) & (difference != 0), dtype=np.bool_)


def _direction(difference: float, about: dict[str, Any]) -> str | None:
    # A profile has its genes turned round: it is higher in the lesion by making.
    if about["kind"] == PROFILE or difference == 0:
        return None
    return "higher" if difference > 0 else "lower"


def _too_small(difference: float, least: float, about: dict[str, Any]) -> str:
    return (
        f"lesional minus non-lesional {difference:.3g}: at least {least:.3g} {about['unit']} needed to divide"
        " by"
    )


def _method(parameters: MolecularResponseParameters) -> str:
    return (
        f"100 * (after - before) / (non-lesional - before) of {SCALE} or of the score; cohort: {METHOD},"
        f" {parameters.n_resamples} resamples; disease genes: adjusted p below {parameters.alpha:g} and |log2"
        f" fold change| at least {parameters.least_log2_fold_change:g}, at most {parameters.max_genes}; a"
        f" difference below {parameters.least_difference_log2:g} log2 or"
        f" {parameters.least_difference_sd:g} pooled SD of the score is not divided by; {_SHARED_BASELINE}"
    )
