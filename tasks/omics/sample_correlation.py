"""How alike each two samples are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from pydantic import Field

from tasks.analysis import Analysis, Parameters
from tasks.omics.counts import count_matrix
from tasks.omics.normalised import most_variable, vst
from tasks.omics.sample_groups import sample_groups
from tasks.stats.biweight import biweight_midcorrelation
from tasks.stats.sample_identity import without_groups
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression

if TYPE_CHECKING:
    from tasks.stats.types import FloatArray

SCHEMA = {
    "sample_id": pl.String,
    "other_sample_id": pl.String,
    "usubjid": pl.String,
    "other_usubjid": pl.String,
    "is_same_subject": pl.Boolean,
    "is_same_visit": pl.Boolean,
    "is_same_tissue": pl.Boolean,
    "correlation": pl.Float64,
    "correlation_within_groups": pl.Float64,
    "n_genes": pl.Int64,
    "n_samples": pl.Int64,
    "excluded_samples": pl.String,
    "method": pl.String,
}
_LEAST = 2


class SampleCorrelationParameters(Parameters):
    """How many genes, which correlation, and the columns of omics.sample whose groups differ by design."""

    n_variable_genes: int = Field(default=500, ge=2)
    correlation: Literal["pearson", "biweight"] = "pearson"
    group: tuple[str, ...] = ("tissue", "visit")
    expression: Expression = Expression()


def sample_correlation(
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    *,
    parameters: SampleCorrelationParameters,
) -> pl.DataFrame:
    """Correlate each two samples on the most variable genes of variance-stabilised expression.

    `correlation` is dominated by what differs by design, tissue before all. `correlation_within_groups` is
    what remains when the mean of each group is taken out: there a patient shows, and a pair of one patient
    should stand out. Each pair stands once, ordered by sample.
    """
    counts = count_matrix(expression, sample, feature, declared=parameters.expression)
    if counts.sample.height < _LEAST:
        raise AnalysisError(f"omics.sample: {counts.sample.height} sample(s) kept: two are needed to compare")
    value = vst(counts)
    value = value[most_variable(value, parameters.n_variable_genes)]
    if value.shape[0] < _LEAST:
        raise AnalysisError("omics.expression: no two genes differ between the samples: nothing to correlate")
    groups = sample_groups(counts.sample, parameters.group)
    correlate = biweight_midcorrelation if parameters.correlation == "biweight" else _pearson
    whole = correlate(value - value.mean(axis=1, keepdims=True))
    # Among few genes or samples the groups may hold all variance there is.
    within = correlate(without_groups(value, groups.group)) if len(groups.groups) > 1 else None
    one, other = np.triu_indices(counts.sample.height, k=1)
    names = {
        name: counts.sample[name]
        if name in counts.sample.columns
        else pl.repeat(None, counts.sample.height, dtype=pl.String, eager=True)
        for name in ("sample_id", "usubjid", "visit", "tissue")
    }
    return pl.DataFrame(
        {
            "sample_id": names["sample_id"][one],
            "other_sample_id": names["sample_id"][other],
            "usubjid": names["usubjid"][one],
            "other_usubjid": names["usubjid"][other],
            **{
                f"is_same_{what}": names[column][one] == names[column][other]
                for what, column in (("subject", "usubjid"), ("visit", "visit"), ("tissue", "tissue"))
            },
            "correlation": whole[one, other],
            "correlation_within_groups": within[one, other] if within is not None else None,
            "n_genes": value.shape[0],
            "n_samples": counts.sample.height,
            "excluded_samples": counts.excluded_text or None,
            "method": f"{NAMES[parameters.correlation]} of variance-stabilised log2 expression, centred,"
            f" {value.shape[0]} most variable genes"
            + (
                f"; within groups of {', '.join(parameters.group)}: means removed"
                if within is not None
                else ""
            ),
        }
    ).select(
        pl.col(name).cast(dtype).fill_nan(None) if dtype == pl.Float64 else pl.col(name).cast(dtype)
        for name, dtype in SCHEMA.items()
    )


NAMES = {"pearson": "Pearson correlation", "biweight": "biweight midcorrelation"}


def _pearson(value: FloatArray) -> FloatArray:
    centred = value - value.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    unit = centred / np.where(length > 0, length, np.nan)
    correlation: FloatArray = np.clip(unit.T @ unit, -1, 1)
    return correlation


ANALYSIS = Analysis(
    name="sample_correlation",
    function=sample_correlation,
    reads=("omics.expression", "omics.sample", "omics.feature"),
    parameters=SampleCorrelationParameters,
)
