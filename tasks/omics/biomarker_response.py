"""Whether those whose score fell further are those whose signatures, modules and genes fell further."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from tasks.analysis import Analysis
from tasks.omics.measured import measured, named_contrast, own_contrasts, with_modules
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

SCHEMA: dict[str, Any] = {"contrast": pl.String, **ASSOCIATION}


class BiomarkerResponseParameters(ScoreAssociationParameters):
    """As for every association with a score; `treatment` is the contrast that gives each patient's change."""


def biomarker_response(  # noqa: PLR0917 - one argument for each table read
    adsl: pl.DataFrame,
    adqs: pl.DataFrame,
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    scores: pl.DataFrame | None,
    eigengenes: pl.DataFrame | None = None,
    *,
    parameters: BiomarkerResponseParameters,
) -> pl.DataFrame:
    """Correlate the change of a score with that of each signature, module and protected gene, over patients.

    Positive: the signature falls as the score falls. One pair of changes per patient, never per sample,
    since two biopsies of a patient are not two patients. Ranks, because a dozen patients cannot show that a
    relation is straight, and the exact distribution of their orders, because no approximation holds there.
    A correlation of changes says nothing of cause: whatever heals a lesion moves both. Each scorer, the
    eigengenes of modules, and the genes are a family of their own.
    """
    declared = parameters.expression
    contrast = named_contrast(declared, parameters.treatment, "treatment")
    change = score_changes(adsl, adqs, parameters.estimand)
    values = with_modules(measured(expression, sample, feature, scores, declared=declared), eigengenes)
    if values.about.is_empty():
        raise AnalysisError(
            "biomarker_response: nothing to correlate: name expression.protected_genes, or switch on the"
            " analysis signature_scores"
        )
    rows = [
        {"contrast": contrast.id, **row}
        for row in associations(
            values.about,
            own_contrasts(values, declared, contrast),
            change,
            parameters=parameters,
            says=f"change of the score with change in contrast {contrast.id} of the same patient",
        )
    ]
    return table(rows, SCHEMA, ()).sort("kind", "scorer", "collection", "name", "feature_id")


ANALYSIS = Analysis(
    name="biomarker_response",
    function=biomarker_response,
    reads=("adam.adsl", "adam.adqs", "omics.expression", "omics.sample", "omics.feature"),
    uses=("results.signature_scores", "results.module_eigengenes"),
    parameters=BiomarkerResponseParameters,
)
