"""Which samples to trust: depth of sequencing, odd ones out, whose they are, how deep the biopsy went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pydantic import Field

from tasks.analysis import Analysis, Parameters
from tasks.omics.counts import CountMatrix, count_matrix
from tasks.omics.normalised import most_variable, vst
from tasks.omics.sample_groups import SampleGroups, sample_groups
from tasks.omics.sample_verdicts import verdict
from tasks.stats.location_scale import mad_scores
from tasks.stats.principal_components import principal_components
from tasks.stats.sample_identity import FEWEST_SUBJECTS, LEAST_RECOGNISED, SampleIdentity, sample_identity
from warehouse.expression_plan import Expression

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray

SCHEMA = {
    "sample_id": pl.String,
    "usubjid": pl.String,
    "visit": pl.String,
    "tissue": pl.String,
    "library_size": pl.Int64,
    "library_size_of_median_pct": pl.Float64,
    "n_genes_detected": pl.Int64,
    "median_correlation": pl.Float64,
    "correlation_outlier_score": pl.Float64,
    "pca_distance": pl.Float64,
    "pca_outlier_score": pl.Float64,
    "is_outlier": pl.Boolean,
    "recorded_sex": pl.String,
    "expressed_sex": pl.String,
    "is_sex_concordant": pl.Boolean,
    "within_subject_correlation": pl.Float64,
    "between_subject_correlation": pl.Float64,
    "most_alike_subject": pl.String,
    "has_swap_suspected": pl.Boolean,
    "likely_subject": pl.String,
    "likely_partner_sample": pl.String,
    "depth_markers_log2_cpm": pl.Float64,
    "depth_outlier_score": pl.Float64,
    "is_depth_outlier": pl.Boolean,
    "is_excluded": pl.Boolean,
    "exclusion_rule": pl.String,
    "verdict": pl.String,
    "n_samples": pl.Int64,
    "method": pl.String,
    "_source_file": pl.String,
    "_source_row": pl.Int64,
}
SEX_GENES = (
    "XIST",
    "TSIX",
    "RPS4Y1",
    "RPS4Y2",
    "DDX3Y",
    "KDM5D",
    "UTY",
    "EIF1AY",
    "USP9Y",
    "ZFY",
    "TMSB4Y",
    "NLGN4Y",
    "TXLNGY",
    "PRKY",
    "TTTY14",
    "TTTY15",
)
# A gene says something about a person if it is seen: so many reads, in a quarter of the samples.
_READS = 10
_SHARE_OF_SAMPLES = 0.25
# In smaller groups "the others of the group" is nobody to compare with; all samples are taken instead.
_FEWEST_IN_GROUP = 4
_FEWEST = 3
# Components that hold this share of the variance beyond the groups place a sample; the rest is noise.
_SHARE_OF_VARIANCE = 0.8
_LARGEST = 1 - 1e-9


class SampleQualityParameters(Parameters):
    """Limits in scaled median absolute deviations, markers of tissue depth, and the rule for exchanges.

    `group` names the columns of omics.sample whose groups differ by design; those that a study lacks are
    passed over.
    `swap_alpha` is the probability of suspecting any sample of a study in which none is exchanged.
    """

    n_variable_genes: int = Field(default=500, ge=2)
    outlier_mads: float = Field(default=5.0, gt=0)
    depth_markers: tuple[str, ...] = ("ADIPOQ", "PLIN1", "PLIN4", "CIDEC", "LEP")
    depth_mads: float = Field(default=3.5, gt=0)
    swap_alpha: float = Field(default=0.01, gt=0, lt=1)
    group: tuple[str, ...] = ("tissue", "visit")
    expression: Expression = Expression()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """Columns over the samples kept, in their order."""

    columns: dict[str, Any]
    method: str


def sample_quality(
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    sample_qc: pl.DataFrame | None,
    *,
    parameters: SampleQualityParameters,
) -> pl.DataFrame:
    """Judge every sample that is listed; nothing but a failed library is left out, and that by rule.

    Odd ones out are judged within their group (tissue and visit), since groups differ by design: by the
    median correlation with the others of the group, and by the distance from the group's middle on the
    principal components; both as scaled median absolute deviations among all samples, positive = further off.
    Whose a sample is, is asked of the genes that differ between people, without those of the sex
    chromosomes, so that expressed sex is evidence of its own: see `sample_identity` for the rule and its
    error rate. Two samples that point at each other's subjects are an exchange; one alone is somebody
    else's, and how it came there is not known. The verdict is advice: a library that is merely odd may be
    the biology, and to leave it out is a decision that `expression.exclude_samples` records.
    """
    counts = count_matrix(expression, sample, feature, declared=parameters.expression)
    groups = sample_groups(counts.sample, parameters.group)
    value = vst(counts) if counts.sample.height >= _FEWEST else None
    judged = _judged(counts, groups, value, parameters)
    table = (
        _delivered(expression, sample)
        .join(_sexes(sample, sample_qc), on="sample_id", how="left", maintain_order="left")
        .join(pl.DataFrame(judged.columns), on="sample_id", how="left", maintain_order="left")
        .with_columns(
            is_excluded=pl.col("sample_id").is_in(list(counts.excluded)),
            exclusion_rule=pl.col("sample_id").replace_strict(
                dict(counts.excluded), default=None, return_dtype=pl.String
            ),
            n_samples=pl.lit(counts.sample.height),
            method=pl.lit(judged.method),
        )
    )
    return table.with_columns(verdict=pl.Series(verdict(table.to_dicts()), dtype=pl.String)).select(
        pl.col(name).cast(dtype).fill_nan(None) if dtype == pl.Float64 else pl.col(name).cast(dtype)
        for name, dtype in SCHEMA.items()
    )


def _delivered(expression: pl.DataFrame, sample: pl.DataFrame) -> pl.DataFrame:
    library = expression.group_by("sample_id").agg(
        library_size=pl.col("count").sum(), n_genes_detected=(pl.col("count") > 0).sum()
    )
    asked = {name: SCHEMA[name] for name in ("usubjid", "visit", "tissue", "_source_file", "_source_row")}
    recorded = [
        (pl.col(name) if name in sample.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in asked.items()
    ]
    return (
        sample.select("sample_id", *recorded)
        .join(library, on="sample_id", how="left")
        .with_columns(
            library_size_of_median_pct=100 * pl.col("library_size") / pl.col("library_size").median()
        )
        # Listed but not counted: no reads, and no part in the median.
        .with_columns(
            pl.col("library_size", "n_genes_detected").fill_null(0),
            pl.col("library_size_of_median_pct").fill_null(0.0),
        )
        .sort("sample_id")
    )


def _sexes(sample: pl.DataFrame, sample_qc: pl.DataFrame | None) -> pl.DataFrame:
    names = ("recorded_sex", "expressed_sex", "is_sex_concordant")
    if sample_qc is not None:
        return sample_qc.select("sample_id", *names)
    recorded = pl.col("sex") if "sex" in sample.columns else pl.lit(None)
    return sample.select(
        "sample_id",
        recorded_sex=recorded.cast(pl.String),
        expressed_sex=pl.lit(None, dtype=pl.String),
        is_sex_concordant=pl.lit(None, dtype=pl.Boolean),
    )


def _judged(
    counts: CountMatrix,
    groups: SampleGroups,
    value: FloatArray | None,
    parameters: SampleQualityParameters,
) -> _Judged:
    columns: dict[str, Any] = {"sample_id": counts.sample["sample_id"]}
    said = [f"outliers beyond {parameters.outlier_mads:g} scaled median absolute deviations"]
    odd = _outliers(value, groups, parameters)
    columns |= odd
    markers = _depth(counts, parameters)
    columns |= markers
    found = [name for name in parameters.depth_markers if name in set(counts.feature["symbol"])]
    said.append(
        f"depth by {', '.join(found)} beyond {parameters.depth_mads:g}"
        if found
        else "no depth marker measured"
    )
    identity = None
    if value is not None:
        genes = _personal_genes(counts)
        if genes.any():
            identity = sample_identity(
                value[genes], groups.subject, groups.group, alpha=parameters.swap_alpha
            )
    columns |= _identity(identity, counts, groups)
    said.append(_of_identity(identity))
    return _Judged(columns=columns, method="; ".join(said))


def _of_identity(identity: SampleIdentity | None) -> str:
    if identity is None:
        return (
            f"whose a sample is cannot be asked: it takes {FEWEST_SUBJECTS} participants,"
            " and two samples of one"
        )
    told = (
        f"identity on {identity.n_genes} genes without those of the sex chromosomes,"
        f" {100 * identity.recognised:.0f} % of undisputed samples recognised, alpha {identity.alpha:g}"
    )
    if identity.recognised < LEAST_RECOGNISED:
        return f"{told}: too few to suspect any"
    return told


def _outliers(
    value: FloatArray | None, groups: SampleGroups, parameters: SampleQualityParameters
) -> dict[str, Any]:
    n = groups.subject.size
    if value is None:
        none = [None] * n
        return {
            name: pl.Series(none, dtype=pl.Float64)
            for name in (
                "median_correlation",
                "correlation_outlier_score",
                "pca_distance",
                "pca_outlier_score",
            )
        } | {"is_outlier": pl.Series(none, dtype=pl.Boolean)}
    chosen = value[most_variable(value, parameters.n_variable_genes)]
    group = groups.group
    if np.bincount(group).min() < _FEWEST_IN_GROUP:
        group = np.zeros(n, dtype=np.int64)
    median = _median_correlation(chosen, group)
    # Transformed as Fisher does: near one, correlations differ little for much.
    by_correlation = -mad_scores(_from_group_middle(np.arctanh(np.clip(median, -_LARGEST, _LARGEST)), group))
    distance = _pca_distance(chosen, group)
    by_distance = mad_scores(distance)
    score = np.fmax(by_correlation, by_distance)
    return {
        "median_correlation": median,
        "correlation_outlier_score": by_correlation,
        "pca_distance": distance,
        "pca_outlier_score": by_distance,
        "is_outlier": pl.Series(
            [None if np.isnan(one) else bool(one > parameters.outlier_mads) for one in score],
            dtype=pl.Boolean,
        ),
    }


def _median_correlation(value: FloatArray, group: NDArray[Any]) -> FloatArray:
    if value.shape[0] < _FEWEST:
        return np.full(group.size, np.nan)
    centred = value - value.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    unit = centred / np.where(length > 0, length, np.nan)
    correlation = unit.T @ unit
    alike = group[:, None] == group
    np.fill_diagonal(alike, val=False)
    return np.array([np.median(row[near]) for row, near in zip(correlation, alike, strict=True)])


def _from_group_middle(value: FloatArray, group: NDArray[Any]) -> FloatArray:
    result = value.copy()
    for code in np.unique(group):
        result[group == code] -= np.median(value[group == code])
    return result


def _pca_distance(value: FloatArray, group: NDArray[Any]) -> FloatArray:
    residual = value.copy()
    for code in np.unique(group):
        residual[:, group == code] -= np.median(value[:, group == code], axis=1, keepdims=True)
    if not residual.shape[0]:
        return np.full(group.size, np.nan)
    found = principal_components(residual)
    if not found.variance_share.size:
        return np.full(group.size, np.nan)
    needed = int(np.searchsorted(np.cumsum(found.variance_share), _SHARE_OF_VARIANCE)) + 1
    score = found.score[:, :needed]
    distance: FloatArray = np.sqrt(((score - np.median(score, axis=0)) ** 2).sum(axis=1))
    return distance


def _depth(counts: CountMatrix, parameters: SampleQualityParameters) -> dict[str, Any]:
    is_marker = (
        counts.feature["symbol"].is_in(list(parameters.depth_markers)).fill_null(value=False).to_numpy()
    )
    if not is_marker.any():
        level = np.full(counts.sample.height, np.nan)
    else:
        library = counts.count.sum(axis=0)
        # Half a read keeps the logarithm finite without moving a gene that is expressed.
        level = np.log2(1e6 * (counts.count[is_marker] + 0.5) / (library + 1)).mean(axis=0)
    score = mad_scores(level)
    return {
        "depth_markers_log2_cpm": level,
        "depth_outlier_score": score,
        "is_depth_outlier": pl.Series(
            [None if np.isnan(one) else bool(abs(one) > parameters.depth_mads) for one in score],
            dtype=pl.Boolean,
        ),
    }


def _personal_genes(counts: CountMatrix) -> NDArray[np.bool_]:
    least = max(2, int(np.ceil(_SHARE_OF_SAMPLES * counts.sample.height)))
    is_seen = (counts.count >= _READS).sum(axis=1) >= least
    is_of_sex = counts.feature["symbol"].is_in(SEX_GENES).fill_null(value=False).to_numpy()
    return np.asarray(is_seen & ~is_of_sex)


def _identity(identity: SampleIdentity | None, counts: CountMatrix, groups: SampleGroups) -> dict[str, Any]:
    names = counts.sample["sample_id"].to_list()
    n = len(names)
    if identity is None:
        return {
            "within_subject_correlation": pl.Series([None] * n, dtype=pl.Float64),
            "between_subject_correlation": pl.Series([None] * n, dtype=pl.Float64),
            "most_alike_subject": pl.Series([None] * n, dtype=pl.String),
            "has_swap_suspected": pl.Series([None] * n, dtype=pl.Boolean),
            "likely_subject": pl.Series([None] * n, dtype=pl.String),
            "likely_partner_sample": pl.Series([None] * n, dtype=pl.String),
        }
    likely = [
        groups.subjects[best] if is_other else None
        for best, is_other in zip(identity.best, identity.is_other, strict=True)
    ]
    return {
        "within_subject_correlation": identity.own,
        "between_subject_correlation": identity.best_correlation,
        "most_alike_subject": pl.Series(
            [groups.subjects[best] if best >= 0 else None for best in identity.best], dtype=pl.String
        ),
        "has_swap_suspected": pl.Series(identity.is_other.tolist(), dtype=pl.Boolean),
        "likely_subject": pl.Series(likely, dtype=pl.String),
        "likely_partner_sample": pl.Series(
            [_partner(number, identity, groups, names) for number in range(n)], dtype=pl.String
        ),
    }


def _partner(number: int, identity: SampleIdentity, groups: SampleGroups, names: list[str]) -> str | None:
    """Return the sample exchanged with this one: of the subject it resembles, and resembling its own."""
    if not identity.is_other[number]:
        return None
    points_back = (
        identity.is_other
        & (groups.subject == identity.best[number])
        & (identity.best == groups.subject[number])
    )
    same_group = points_back & (groups.group == groups.group[number])
    candidates = np.flatnonzero(same_group if same_group.any() else points_back)
    return names[candidates[0]] if candidates.size else None


ANALYSIS = Analysis(
    name="sample_quality",
    function=sample_quality,
    reads=("omics.expression", "omics.sample", "omics.feature"),
    uses=("omics.sample_qc",),
    parameters=SampleQualityParameters,
)
