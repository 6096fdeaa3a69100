"""The signatures that changed within patients, contrast by contrast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pydantic import Field
from scipy.stats import false_discovery_control

from tasks.analysis import Analysis, Parameters
from tasks.omics.counts import CountMatrix, samples_of
from tasks.omics.designs import subject_contrast
from tasks.omics.subject_changes import taking_part, tested_change
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tasks.stats.types import FloatArray
    from warehouse.expression_plan import ExpressionContrast

SCHEMA = {
    "contrast": pl.String,
    "contrast_title": pl.String,
    "collection": pl.String,
    "gene_set": pl.String,
    "scorer": pl.String,
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
    "method": pl.String,
}
_GRAIN = ("collection", "gene_set", "scorer")
_FAMILY = ("contrast", "scorer", "collection")


class SignatureChangesParameters(Parameters):
    """Level of the intervals; resamples and seed where the sign flips are too many to be counted."""

    confidence_level: float = Field(default=0.95, gt=0, lt=1)
    n_resamples: int = Field(default=10_000, ge=1000)
    seed: int = Field(default=0, ge=0)
    expression: Expression = Expression()


def signature_changes(
    scores: pl.DataFrame, sample: pl.DataFrame, *, parameters: SignatureChangesParameters
) -> pl.DataFrame:
    """Test the contrast of each patient's own scores against zero, exactly.

    The unit is the patient: a patient's scores are combined into one number by the contrast's weights (week
    12 less baseline; for an interaction one difference less another), and those numbers are tested. Only
    patients with a score at every level take part; the others are named. `p_value` is the exact signed-rank
    test's, adjusted (Benjamini-Hochberg) over the sets of one contrast, scorer and collection. With a dozen
    patients it cannot fall below `smallest_p_value`, so an adjusted p-value that stays above .05 in a large
    collection may be for want of patients. The sign-flip permutation test of the mean stands beside it, not
    instead of it. A positive difference is higher where the contrast's weights are positive.
    """
    asked = [contrast for contrast in parameters.expression.contrasts if contrast.level_weights]
    if not asked:
        raise AnalysisError(
            "signature_changes: no contrast of levels is declared: [[expression.contrasts]] with level and"
            " reference, or weights, is needed"
        )
    counted = _as_matrix(scores, sample)
    return pl.concat([_of_contrast(contrast, counted, parameters) for contrast in asked])


def _as_matrix(scores: pl.DataFrame, sample: pl.DataFrame) -> CountMatrix:
    """Return the scores as features by samples, so that designs choose their samples as of counts."""
    wide = scores.pivot("sample_id", index=_GRAIN, values="score", sort_columns=True).sort(_GRAIN)
    names = [name for name in wide.columns if name not in _GRAIN]
    known = sample.filter(pl.col("sample_id").is_in(names)).sort("sample_id")
    if missing := sorted(set(names) - set(known["sample_id"])):
        raise AnalysisError(f"results.signature_scores: sample {missing[0]}: must be listed in omics.sample")
    return CountMatrix(
        feature=wide.select(_GRAIN),
        sample=known,
        count=wide.select(known["sample_id"].to_list()).to_numpy().astype(np.float64),
        excluded={},
    )


def _of_contrast(
    contrast: ExpressionContrast, scores: CountMatrix, parameters: SignatureChangesParameters
) -> pl.DataFrame:
    design = parameters.expression.design_of(contrast)
    chosen = samples_of(scores, design)
    rows: list[dict[str, Any]] = []
    for places, subjects, difference in _differences(contrast, chosen):
        incomplete = taking_part(contrast, chosen.sample) - set(subjects)
        told = {"n_incomplete": len(incomplete), "incomplete_subjects": "; ".join(sorted(incomplete))}
        names = chosen.feature[places].iter_rows(named=True)
        for named, values in zip(names, difference, strict=True):
            rows.append(dict.fromkeys(SCHEMA) | named | told | _tested(values, parameters))
    said = {
        "contrast": contrast.id,
        "contrast_title": contrast.title,
        "ci_level": parameters.confidence_level,
        "method": (
            "differences within subjects: exact signed-rank test (midranks, zeros dropped), two-sided;"
            " Hodges-Lehmann estimate with the interval of that test; sign-flip permutation of the mean;"
            " Benjamini-Hochberg within contrast, scorer and collection"
        ),
    }
    tests = pl.DataFrame(rows, schema=SCHEMA)
    tests = tests.with_columns(pl.lit(value).alias(name) for name, value in said.items())
    families = tests.partition_by(_FAMILY, maintain_order=True)
    return pl.concat([_adjusted(family) for family in families]).sort("contrast", *_GRAIN)


def _differences(
    contrast: ExpressionContrast, scores: CountMatrix
) -> Iterator[tuple[list[int], list[str], FloatArray]]:
    """Yield the signatures that are known in the same samples, with the subjects and their differences."""
    known = np.isfinite(scores.count)
    has_subjects = "usubjid" in scores.sample.columns
    for pattern in np.unique(known, axis=0):
        places = np.flatnonzero((known == pattern).all(axis=1)).tolist()
        if has_subjects:
            sample = scores.sample.filter(pl.Series(pattern))
            yield places, *subject_contrast(sample, contrast, scores.count[np.ix_(places, pattern)])
        else:
            yield places, [], np.empty((len(places), 0))


def _adjusted(family: pl.DataFrame) -> pl.DataFrame:
    tested = family.filter(pl.col("p_value").is_not_null())
    adjusted = tested.select(
        *_GRAIN, p_adjusted=pl.Series(false_discovery_control(tested["p_value"].to_numpy()), dtype=pl.Float64)
    )
    return (
        family.drop("p_adjusted")
        .join(adjusted, on=_GRAIN, how="left", maintain_order="left")
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )


def _tested(difference: FloatArray, parameters: SignatureChangesParameters) -> dict[str, Any]:
    return tested_change(
        difference,
        confidence_level=parameters.confidence_level,
        n_resamples=parameters.n_resamples,
        seed=parameters.seed,
    )


ANALYSIS = Analysis(
    name="signature_changes",
    function=signature_changes,
    reads=("results.signature_scores", "omics.sample"),
    parameters=SignatureChangesParameters,
)
