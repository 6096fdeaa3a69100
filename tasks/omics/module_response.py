"""The modules that changed within patients, and whether they changed with the clinical score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from tasks.analysis import Analysis, Parameters
from tasks.omics.counts import CountMatrix, samples_of
from tasks.omics.designs import subject_contrast
from tasks.omics.measured import ABOUT, MODULE, Measured, named_contrast, own_contrasts
from tasks.omics.score_association import ScoreAssociationParameters, associations, score_changes
from tasks.omics.subject_changes import taking_part, tested_change
from tasks.stats.coexpression.membership import gene_significance
from tasks.stats.multiplicity import adjusted_p
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression
from warehouse.study import Estimand

if TYPE_CHECKING:
    from tasks.stats.types import FloatArray
    from warehouse.expression_plan import ExpressionContrast

SCHEMA = {
    "network": pl.String,
    "network_title": pl.String,
    "module": pl.Int64,
    "colour": pl.String,
    "module_size": pl.Int64,
    "contrast": pl.String,
    "contrast_title": pl.String,
    "status": pl.String,
    "reason": pl.String,
    "direction": pl.String,
    "n_subjects": pl.Int64,
    "n_incomplete": pl.Int64,
    "n_higher": pl.Int64,
    "n_zero": pl.Int64,
    "mean_difference": pl.Float64,
    "sd_difference": pl.Float64,
    "hodges_lehmann": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "ci_level": pl.Float64,
    "ci_achieved_level": pl.Float64,
    "d_z": pl.Float64,
    "signed_rank": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "smallest_p_value": pl.Float64,
    "p_sign_flip": pl.Float64,
    "is_sign_flip_exact": pl.Boolean,
    "incomplete_subjects": pl.String,
    "pooled_correlation": pl.Float64,
    "p_value_pooled": pl.Float64,
    "n_pooled": pl.Int64,
    "pooled_note": pl.String,
    "score": pl.String,
    "score_visit": pl.String,
    "score_variable": pl.String,
    "score_rho": pl.Float64,
    "score_rho_low": pl.Float64,
    "score_rho_high": pl.Float64,
    "score_p_value": pl.Float64,
    "score_p_adjusted": pl.Float64,
    "score_n_subjects": pl.Int64,
    "score_is_exact": pl.Boolean,
    "score_influential_subject": pl.String,
    "score_p_value_pooled": pl.Float64,
    "score_status": pl.String,
    "score_reason": pl.String,
    "warning": pl.String,
    "method": pl.String,
}
POOLED_NOTE = (
    "p_value_pooled and score_p_value_pooled count every sample as a patient of its own: anti-conservative,"
    " kept to compare with published module-trait tables, never to conclude from"
)
_OF_MODULE = ("network", "network_title", "module", "colour", "module_size", "warning")
_LEAST_POOLED = 4


class ModuleResponseParameters(Parameters):
    """Level of intervals, resamples, and the score that modules are set against.

    `estimand` (an id, its variable a change) and `treatment` (the contrast that gives each patient's change)
    are given together or not at all.
    """

    confidence_level: float = Field(default=0.95, gt=0, lt=1)
    n_resamples: int = Field(default=10_000, ge=1000)
    seed: int = Field(default=0, ge=0)
    estimand: Estimand | None = None
    treatment: str | None = None
    n_permutations: int = Field(default=9_999, ge=999)
    expression: Expression = Expression()

    @model_validator(mode="after")
    def _score_and_contrast(self) -> ModuleResponseParameters:
        if (self.estimand is None) != (self.treatment is None):
            raise ValueError("estimand, treatment: must be given together")
        return self


def module_response(
    eigengenes: pl.DataFrame,
    sample: pl.DataFrame,
    adsl: pl.DataFrame | None,
    adqs: pl.DataFrame | None,
    *,
    parameters: ModuleResponseParameters,
) -> pl.DataFrame:
    """Test each module's eigengene for a change within patients, exactly, and against the change of a score.

    The unit is the patient: `p_value` is the exact signed-rank test of the contrast of each patient's own
    eigengenes, `p_sign_flip` the permutation of the treatment label within patients; adjusted
    (Benjamini-Hochberg) over the modules of a network and contrast. `p_value_pooled` is what a module-trait
    table gives, Student's p-value of the correlation over samples: two biopsies of a patient are not two
    patients, so it is too small where patients differ little and wrong in any case. A positive difference is
    higher where the contrast's weights are positive. A module was found in the same samples, without regard
    to the contrast. `score_rho` is the rank correlation, over patients, of the module's change with the
    score's, its p-value from the orders of the patients.
    """
    asked = [contrast for contrast in parameters.expression.contrasts if contrast.level_weights]
    if not asked:
        raise AnalysisError(
            "module_response: no contrast of levels is declared: [[expression.contrasts]] with level and"
            " reference, or weights, is needed"
        )
    if parameters.treatment is not None:
        named_contrast(parameters.expression, parameters.treatment, "treatment")
    if parameters.estimand and (adsl is None or adqs is None):
        raise AnalysisError("module_response: estimand: adam.adsl and adam.adqs must be made")
    rows: list[dict[str, Any]] = []
    for own in eigengenes.partition_by("network", maintain_order=True):
        matrix = _as_matrix(own, sample)
        for contrast in asked:
            changes = _changes(matrix, contrast, parameters)
            scores = _scores(matrix, contrast, adsl, adqs, parameters)
            rows.extend(
                module | change | score
                for module, change, score in zip(
                    matrix.feature.iter_rows(named=True), changes, scores, strict=True
                )
            )
    every = [dict.fromkeys(SCHEMA) | row for row in rows]
    return pl.DataFrame(every, schema=SCHEMA)


def _as_matrix(own: pl.DataFrame, sample: pl.DataFrame) -> CountMatrix:
    """Return the eigengenes of a network as features by samples, so that designs choose samples of them."""
    wide = own.pivot("sample_id", index=_OF_MODULE, values="eigengene").sort("module")
    names = [name for name in wide.columns if name not in _OF_MODULE]
    known = sample.filter(pl.col("sample_id").is_in(names)).sort("sample_id")
    if missing := sorted(set(names) - set(known["sample_id"])):
        raise AnalysisError(f"results.module_eigengenes: sample {missing[0]}: must be listed in omics.sample")
    return CountMatrix(
        feature=wide.select(_OF_MODULE),
        sample=known,
        count=wide.select(known["sample_id"].to_list()).to_numpy().astype(np.float64),
        excluded={},
    )


def _changes(
    matrix: CountMatrix, contrast: ExpressionContrast, parameters: ModuleResponseParameters
) -> list[dict[str, Any]]:
    said = {
        "contrast": contrast.id,
        "contrast_title": contrast.title,
        "ci_level": parameters.confidence_level,
        "pooled_note": POOLED_NOTE,
        "method": (
            "eigengenes' differences within subjects: exact signed-rank test (midranks, zeros dropped),"
            " two-sided; Hodges-Lehmann estimate with the interval of that test; sign-flip permutation of the"
            " mean; Benjamini-Hochberg over the modules of network and contrast"
        ),
    }
    chosen, lacking = _chosen(matrix, contrast, parameters)
    if chosen is None:
        none = said | {
            "status": "not_estimable",
            "reason": lacking,
            "n_subjects": 0,
            "n_incomplete": 0,
        }
        return [none] * matrix.feature.height
    subjects, difference = _differences(contrast, chosen)
    incomplete = taking_part(contrast, chosen.sample) - set(subjects)
    said |= {"n_incomplete": len(incomplete), "incomplete_subjects": "; ".join(sorted(incomplete)) or None}
    pooled = _pooled(contrast, chosen)
    tested = [
        tested_change(
            values,
            confidence_level=parameters.confidence_level,
            n_resamples=parameters.n_resamples,
            seed=parameters.seed,
        )
        for values in difference
    ]
    adjusted = _adjusted([one.get("p_value") for one in tested])
    return [
        said | one | {"p_adjusted": p} | of_samples
        for one, p, of_samples in zip(tested, adjusted, pooled, strict=True)
    ]


def _chosen(
    matrix: CountMatrix, contrast: ExpressionContrast, parameters: ModuleResponseParameters
) -> tuple[CountMatrix | None, str | None]:
    """Return the network's samples that the contrast's design asks for, or why there are none."""
    try:
        chosen = samples_of(matrix, parameters.expression.design_of(contrast))
    except AnalysisError as error:
        return None, str(error)
    if contrast.variable not in chosen.sample.columns:
        raise AnalysisError(f"contrast {contrast.id}: {contrast.variable}: must be a column of omics.sample")
    there = set(chosen.sample[contrast.variable].cast(pl.String))
    if missing := sorted(set(contrast.level_weights) - there):
        return None, f"no sample of the network is {', '.join(missing)}"
    return chosen, None


def _differences(contrast: ExpressionContrast, chosen: CountMatrix) -> tuple[list[str], FloatArray]:
    if "usubjid" not in chosen.sample.columns:
        return [], np.empty((len(chosen.count), 0))
    return subject_contrast(chosen.sample, contrast, chosen.count)


def _pooled(contrast: ExpressionContrast, chosen: CountMatrix) -> list[dict[str, Any]]:
    """Return what a module-trait table says: the correlation with the weights over samples."""
    level = chosen.sample[contrast.variable].cast(pl.String)
    kept = np.flatnonzero(level.is_in(list(contrast.level_weights)).to_numpy())
    weight = np.array([contrast.level_weights[level[int(place)]] for place in kept], dtype=np.float64)
    return _student(chosen.count[:, kept], weight, "pooled_correlation", "p_value_pooled", "n_pooled")


def _student(value: FloatArray, trait: FloatArray, r: str, p: str, n: str) -> list[dict[str, Any]]:
    if len(trait) < _LEAST_POOLED or np.ptp(trait) == 0:
        return [{} for _ in value]
    found = gene_significance(value, trait[None, :])
    return [
        {r: _finite(found.kme[row, 0]), p: _finite(found.p_value[row, 0]), n: len(trait)}
        for row in range(len(value))
    ]


def _finite(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None


def _adjusted(p_values: list[float | None]) -> list[float | None]:
    tested = [place for place, p in enumerate(p_values) if p is not None]
    result: list[float | None] = [None] * len(p_values)
    if tested:
        given = np.array([p_values[place] for place in tested], dtype=np.float64)
        for place, p in zip(tested, adjusted_p(given, "benjamini-hochberg"), strict=True):
            result[place] = float(p)
    return result


def _scores(
    matrix: CountMatrix,
    contrast: ExpressionContrast,
    adsl: pl.DataFrame | None,
    adqs: pl.DataFrame | None,
    parameters: ModuleResponseParameters,
) -> list[dict[str, Any]]:
    estimand = parameters.estimand
    if estimand is None or adsl is None or adqs is None or contrast.id != parameters.treatment:
        return [{"score_status": "not_asked"}] * matrix.feature.height
    _, lacking = _chosen(matrix, contrast, parameters)
    if lacking:
        return [{"score_status": "not_estimable", "score_reason": lacking}] * matrix.feature.height
    about = matrix.feature.select(
        kind=pl.lit(MODULE),
        collection="network",
        name="colour",
        scorer=pl.lit("eigengene"),
        feature_id=pl.lit(None),
        unit=pl.lit("eigengene"),
    ).cast(pl.Schema(ABOUT))
    values = Measured(about=about, value=matrix.count, counts=matrix)
    asked = ScoreAssociationParameters(
        estimand=estimand,
        treatment=contrast.id,
        confidence_level=parameters.confidence_level,
        n_permutations=parameters.n_permutations,
        seed=parameters.seed,
        expression=parameters.expression,
    )
    found = list(
        associations(
            about,
            own_contrasts(values, parameters.expression, contrast),
            score_changes(adsl, adqs, estimand),
            parameters=asked,
            says=f"change of the score with change in contrast {contrast.id} of the same patient",
        )
    )
    adjusted = _adjusted([one.get("p_value") for one in found])
    return [
        {
            "score": one["score"],
            "score_visit": one["visit"],
            "score_variable": one["variable"],
            "score_rho": one.get("rho"),
            "score_rho_low": one.get("interval_low"),
            "score_rho_high": one.get("interval_high"),
            "score_p_value": one.get("p_value"),
            "score_p_adjusted": p,
            "score_n_subjects": one["n_subjects"],
            "score_is_exact": one.get("is_exact"),
            "score_influential_subject": one.get("influential_subject"),
            "score_status": one["status"],
            "score_reason": one.get("reason"),
            "score_p_value_pooled": pooled.get("p"),
        }
        for one, p, pooled in zip(found, adjusted, _pooled_score(matrix, adqs, estimand), strict=True)
    ]


def _pooled_score(matrix: CountMatrix, adqs: pl.DataFrame, estimand: Estimand) -> list[dict[str, Any]]:
    """Correlate eigengene and score over all samples with a score at the visit of the sample."""
    if not {"usubjid", "visit"} <= set(matrix.sample.columns):
        return [{} for _ in matrix.count]
    score = (
        adqs.filter((pl.col("paramcd") == estimand.score) & pl.col("aval").is_not_null())
        .select("usubjid", "aval", at=pl.col("avisit").str.to_uppercase())
        .group_by("usubjid", "at")
        .agg(pl.col("aval").mean())
    )
    joined = (
        matrix.sample.select("usubjid", at=pl.col("visit").cast(pl.String).str.to_uppercase())
        .join(score, on=["usubjid", "at"], how="left", maintain_order="left")["aval"]
        .cast(pl.Float64)
        .fill_null(np.nan)
        .to_numpy()
    )
    kept = np.flatnonzero(np.isfinite(joined))
    return _student(matrix.count[:, kept], joined[kept], "r", "p", "n")


ANALYSIS = Analysis(
    name="module_response",
    function=module_response,
    reads=("results.module_eigengenes", "omics.sample"),
    uses=("adam.adsl", "adam.adqs"),
    parameters=ModuleResponseParameters,
)
