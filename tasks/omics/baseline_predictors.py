"""Whether the skin before treatment, lesional and not, goes with the change that followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tasks.analysis import Analysis
from tasks.omics.measured import measured, named_contrast, own_contrasts, own_levels, two_levels
from tasks.omics.score_association import (
    SCHEMA as ASSOCIATION,
)
from tasks.omics.score_association import (
    ScoreAssociationParameters,
    associations,
    score_changes,
    table,
)
from warehouse.errors import AnalysisError

if TYPE_CHECKING:
    from typing import Any

SCHEMA: dict[str, Any] = {"measure": pl.String, "cell": pl.String, **ASSOCIATION}
NOT_VALIDATED = "exploratory: no row is a validated predictor, and no accuracy can be claimed from this study"


class BaselinePredictorsParameters(ScoreAssociationParameters):
    """As for every association with a score.

    The reference of `treatment` is the lesion before treatment; `disease`, the contrast of that lesion with
    non-lesional tissue, adds the latter and the difference of both.
    """

    disease: str | None = None


def baseline_predictors(  # noqa: PLR0917 - one argument for each table read
    adsl: pl.DataFrame,
    adqs: pl.DataFrame,
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    scores: pl.DataFrame | None,
    *,
    parameters: BaselinePredictorsParameters,
) -> pl.DataFrame:
    """Correlate levels before treatment with the score's change that followed, over patients.

    Positive: the higher the level, the less the score fell. Three measures: lesional, non-lesional, and
    lesional minus non-lesional tissue, each a family of its own with each scorer. A correlation found in the
    patients that it is fitted to predicts nothing until it is found again in others, and every row says so.
    A change is related to its own baseline by error of measurement; expression before treatment is not the
    score's baseline, but who was enrolled in a bad moment may have had both high.
    """
    declared = parameters.expression
    treatment = named_contrast(declared, parameters.treatment, "treatment")
    _, before = two_levels(treatment, "treatment")
    change = score_changes(adsl, adqs, parameters.estimand)
    values = measured(expression, sample, feature, scores, declared=declared)
    if values.about.is_empty():
        raise AnalysisError(
            "baseline_predictors: nothing to correlate: name expression.protected_genes, or switch on the"
            " analysis signature_scores"
        )
    measures = [("lesional", before, own_levels(values, declared, treatment, before))]
    if parameters.disease is not None:
        disease = named_contrast(declared, parameters.disease, "disease")
        lesion, healthy = two_levels(disease, "disease")
        if lesion != before or disease.variable != treatment.variable:
            raise AnalysisError(
                f"disease: {disease.id!r}: its level must be {before!r}, the reference of the treatment"
                f" contrast {treatment.id!r}"
            )
        measures += [
            ("non_lesional", healthy, own_levels(values, declared, disease, healthy)),
            ("difference", f"{lesion} - {healthy}", own_contrasts(values, declared, disease)),
        ]
    rows = [
        {"measure": measure, "cell": cell, **row}
        for measure, cell, own in measures
        for row in associations(
            values.about,
            own,
            change,
            parameters=parameters,
            says=f"change of the score with the level of {cell} before treatment",
            warns=NOT_VALIDATED,
        )
    ]
    return table(rows, SCHEMA, ("measure",)).sort(
        "measure", "kind", "scorer", "collection", "name", "feature_id"
    )


ANALYSIS = Analysis(
    name="baseline_predictors",
    function=baseline_predictors,
    reads=("adam.adsl", "adam.adqs", "omics.expression", "omics.sample", "omics.feature"),
    uses=("results.signature_scores",),
    parameters=BaselinePredictorsParameters,
)
