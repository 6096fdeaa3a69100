"""The disease genes that treatment did not bring back: what is left of the lesion."""

from __future__ import annotations

import polars as pl
from pydantic import Field

from tasks.analysis import Analysis, Parameters
from tasks.omics.measured import GENE, named_contrast
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression

SCHEMA = {
    "feature_id": pl.String,
    "ensembl_id": pl.String,
    "symbol": pl.String,
    "disease_direction": pl.String,
    "disease_log2_fold_change": pl.Float64,
    "disease_p_adjusted": pl.Float64,
    "improvement_pct": pl.Float64,
    "interval_low": pl.Float64,
    "interval_high": pl.Float64,
    "confidence_level": pl.Float64,
    "is_residual": pl.Boolean,
    "outcome": pl.String,
    "reason": pl.String,
    "residual_log2_fold_change": pl.Float64,
    "residual_lfc_se": pl.Float64,
    "residual_p_adjusted": pl.Float64,
    "threshold_pct": pl.Float64,
    "disease_contrast": pl.String,
    "residual_contrast": pl.String,
    "n_subjects": pl.Int64,
    "is_small_sample": pl.Boolean,
    "warning": pl.String,
    "method": pl.String,
}
RECOVERED_PCT = 100.0


class ResidualDiseaseProfileParameters(Parameters):
    """What counts as residual, and the contrast that measures what is left.

    A disease gene improved by less than `threshold_pct` is residual. `residual` is the id of the contrast of
    lesional tissue after treatment with non-lesional tissue; its fold change stands beside the improvement.
    """

    threshold_pct: float = Field(default=75.0, gt=0, le=RECOVERED_PCT)
    residual: str | None = None
    expression: Expression = Expression()


def residual_disease_profile(
    response: pl.DataFrame, effect: pl.DataFrame, *, parameters: ResidualDiseaseProfileParameters
) -> pl.DataFrame:
    """Judge each disease gene by the interval of its improvement, and mark it residual by its estimate.

    The field calls a gene residual by its estimate alone (`is_residual`). With a dozen patients most
    intervals reach over the threshold, so `outcome` commits itself only where the whole interval does:
    residual below the threshold, improved above it, overshoot above 100 %, and uncertain otherwise.
    Intervals are of each gene by itself: of many genes some are judged wrongly by chance.
    """
    if parameters.residual is not None:
        named_contrast(parameters.expression, parameters.residual, "residual")
    genes = response.filter(pl.col("level") == "cohort", pl.col("kind") == GENE, pl.col("is_disease_gene"))
    threshold = parameters.threshold_pct
    has_interval = pl.col("interval_low").is_not_null()
    return (
        genes.join(_of_disease(effect, response), on="feature_id", how="left")
        .join(_of_residual(effect, parameters.residual), on="feature_id", how="left")
        .with_columns(
            disease_direction=pl.when(pl.col("disease_log2_fold_change") > 0)
            .then(pl.lit("higher"))
            .otherwise(pl.lit("lower")),
            is_residual=pl.col("improvement_pct") < threshold,
            outcome=pl.when(~has_interval)
            .then(pl.lit("uncertain"))
            .when(pl.col("interval_high") < threshold)
            .then(pl.lit("residual"))
            .when(pl.col("interval_low") > RECOVERED_PCT)
            .then(pl.lit("overshoot"))
            .when(pl.col("interval_low") >= threshold)
            .then(pl.lit("improved"))
            .otherwise(pl.lit("uncertain")),
            threshold_pct=pl.lit(threshold),
            residual_contrast=pl.lit(parameters.residual, dtype=pl.String),
            method=pl.format(
                "residual by estimate below {} %, outcome by the whole interval; {}",
                pl.lit(f"{threshold:g}"),
                "method",
            ),
        )
        .sort("improvement_pct", "feature_id", nulls_last=True)
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )


ANALYSIS = Analysis(
    name="residual_disease_profile",
    function=residual_disease_profile,
    reads=("results.molecular_response", "results.differential_expression"),
    parameters=ResidualDiseaseProfileParameters,
)


def _of_disease(effect: pl.DataFrame, response: pl.DataFrame) -> pl.DataFrame:
    (contrast,) = response["disease_contrast"].unique()
    return effect.filter(pl.col("contrast") == contrast).select(
        "feature_id",
        "ensembl_id",
        "symbol",
        disease_log2_fold_change="log2_fold_change",
        disease_p_adjusted="p_adjusted",
    )


def _of_residual(effect: pl.DataFrame, contrast: str | None) -> pl.DataFrame:
    found = effect.filter(pl.col("contrast") == contrast) if contrast is not None else effect.head(0)
    if contrast is not None and found.is_empty():
        known = ", ".join(effect["contrast"].unique().sort())
        raise AnalysisError(f"residual: {contrast!r}: results.differential_expression has {known}")
    return found.select(
        "feature_id",
        residual_log2_fold_change="log2_fold_change",
        residual_lfc_se="lfc_se",
        residual_p_adjusted="p_adjusted",
    )
