"""The change in expression of each gene from one visit to another, within subjects."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import anndata  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import polars as pl
import pydeseq2
from pydantic import Field, model_validator
from pydeseq2 import utils
from pydeseq2.dds import DeseqDataSet
from pydeseq2.default_inference import DefaultInference
from pydeseq2.ds import DeseqStats
from threadpoolctl import threadpool_limits

from tasks.analysis import Analysis, Parameters
from tasks.stats.negative_binomial import dispersion_trend, glm_fit, paired_dispersion, wald_test
from warehouse.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray

DESIGN = "~ subject + visit"
SCHEMA = {
    "feature_id": pl.String,
    "symbol": pl.String,
    "base_mean": pl.Float64,
    "log2_fold_change": pl.Float64,
    "lfc_se": pl.Float64,
    "wald_statistic": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "status": pl.String,
    "is_protected": pl.Boolean,
    "is_low_count": pl.Boolean,
    "dispersion": pl.Float64,
    "reference_visit": pl.String,
    "contrast_visit": pl.String,
    "design": pl.String,
    "n_subjects": pl.Int64,
    "n_samples": pl.Int64,
    "excluded_samples": pl.String,
    "method": pl.String,
}
_LEAST_SUBJECTS = 2
# As in R: a hundred times the smallest dispersion.
_LEAST_TREND_DISPERSION = 1e-6
# Up to here R draws the prior variance by simulation and PyDESeq2 falls to its floor.
_FEW_RESIDUAL_DF = 3


class TreatmentEffectOnExpressionParameters(Parameters):
    """The contrast, the samples and the genes that take part.

    `alpha` is the false discovery rate that independent filtering is tuned to, and has to be the one at which
    results are then read: R's own default is a different one. `min_count` reads are asked of a gene in at
    least `min_samples` samples (by default as many as there are subjects, the size of the smaller group).
    `min_library_size` is a fraction of the median library of the samples of the contrast. `protected_genes`
    (symbols) are tested whatever their counts. `max_absolute_lfc` bounds what is reported as an estimate for
    a gene without a single read at one of the visits: no library is deep enough to see a larger ratio.
    """

    reference_visit: str
    contrast_visit: str
    tissue: str | None = None
    alpha: float = Field(default=0.05, gt=0, lt=1)
    min_count: int = Field(default=10, ge=0)
    min_samples: int | None = Field(default=None, ge=1)
    min_library_size: float = Field(default=0.1, ge=0, lt=1)
    protected_genes: tuple[str, ...] = ()
    exclude_samples: tuple[str, ...] = ()
    max_absolute_lfc: float = Field(default=20.0, gt=0)

    @model_validator(mode="after")
    def _visits_differ(self) -> Self:
        if self.reference_visit == self.contrast_visit:
            raise ValueError(f"contrast_visit: {self.contrast_visit!r}: must differ from reference_visit")
        return self


class PairedInference(DefaultInference):  # type: ignore[misc]
    """PyDESeq2's numerical steps for `~ subject + visit`, all genes at once in one thread.

    Samples must come as every subject's reference visit, then every subject's contrast visit in the same
    order. The steps give what the default ones give, within their stopping tolerance, save the dispersion
    trend, which follows the rule of R's DESeq2 because that is where PyDESeq2 departs furthest from it.
    """

    def __init__(self) -> None:
        super().__init__(n_cpus=1)

    def irls(  # noqa: PLR0917 - the interface's order
        self,
        counts: NDArray[Any],
        size_factors: NDArray[np.float64],
        design_matrix: NDArray[Any],
        disp: NDArray[np.float64],
        min_mu: float,
        beta_tol: float,
        **_: object,
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        count, design = _by_gene(counts), design_matrix.astype(np.float64)
        fit = glm_fit(count, size_factors, design, disp, min_mean=min_mu, tolerance=beta_tol)
        converged = np.ones(len(count), dtype=np.bool_)
        for gene in np.flatnonzero(fit.has_diverged):
            fit.coefficient[gene], fit.mean[gene], fit.leverage[gene], converged[gene] = utils.irls_solver(
                count[gene], size_factors, design, disp[gene], min_mu, beta_tol
            )
        return fit.coefficient, fit.mean.T, fit.leverage.T, converged

    def alpha_mle(  # noqa: PLR0917 - the interface's order
        self,
        counts: NDArray[Any],
        design_matrix: NDArray[Any],  # noqa: ARG002 - the interface's; the pairing is in the order of samples
        mu: NDArray[np.float64],
        alpha_hat: NDArray[np.float64],
        min_disp: float,
        max_disp: float,
        prior_disp_var: float | None = None,
        **_: object,
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        bounds = (min_disp, max_disp)
        dispersion = paired_dispersion(
            _by_gene(counts), _by_gene(mu), alpha_hat, bounds=bounds, prior_variance=prior_disp_var
        )
        return dispersion, np.asarray(np.isfinite(dispersion), dtype=np.bool_)

    def wald_test(  # noqa: PLR0917 - the interface's order
        self,
        design_matrix: NDArray[Any],
        disp: NDArray[np.float64],
        lfc: NDArray[np.float64],
        mu: NDArray[np.float64],
        ridge_factor: NDArray[np.float64],
        contrast: NDArray[Any],
        **_: object,
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        test = wald_test(
            lfc,
            _by_gene(mu),
            disp,
            design=design_matrix.astype(np.float64),
            contrast=contrast.astype(np.float64),
            ridge=ridge_factor,
        )
        return test.p_value, test.statistic, test.standard_error

    def dispersion_trend_gamma_glm(
        self, covariates: pd.Series[float], targets: pd.Series[float]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
        inverse_mean = covariates.to_numpy(dtype=np.float64)
        trend = dispersion_trend(
            targets.to_numpy(dtype=np.float64), inverse_mean, min_dispersion=_LEAST_TREND_DISPERSION
        )
        coefficient = np.array([trend.asymptotic, trend.extra_poisson])
        return coefficient, coefficient[0] + coefficient[1] * inverse_mean, trend.status == "converged"


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The samples compared, by subject, and those left out with the reason."""

    subject: list[str]
    reference: list[str]
    contrast: list[str]
    excluded: dict[str, tuple[str, str]]

    @property
    def samples(self) -> list[str]:
        return [*self.reference, *self.contrast]

    @property
    def excluded_text(self) -> str:
        return "; ".join(
            f"{sample} (subject {subject}: {reason})"
            for sample, (subject, reason) in sorted(self.excluded.items())
        )


def treatment_effect_on_expression(
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    *,
    parameters: TreatmentEffectOnExpressionParameters,
) -> pl.DataFrame:
    """Fit DESeq2's negative binomial model `~ subject + visit` and test the visit, gene by gene.

    Positive is higher at the contrast visit. Subjects are a fixed effect, so only complete pairs count and
    every other sample is left out by name. One choice is to be known: with one sample per subject and visit
    no two samples share a row of the design, so DESeq2's outlier rule (Cook's distance) does not apply,
    neither here nor in R, where it is silently skipped; a gene moved by one subject alone can be called.
    Genes that fail the count filter are rows without a test, save protected ones, which are tested and
    marked. A gene with no read at one visit has no finite fold change; if it is also rare, or the fit runs
    beyond the bound, it is not estimable, which is neither a zero nor a discovery. Independent filtering
    leaves `p_adjusted` null and `p_value` in place.
    """
    genes = _genes(expression, feature, parameters)
    candidates = _candidates(sample, parameters)
    counts = _counts(expression, sample, candidates)
    pairs = _pairs(candidates, counts, parameters)
    counts = counts.select("feature_id", *pairs.samples)
    genes = genes.join(
        _count_flags(counts, pairs, parameters), on="feature_id", how="left", maintain_order="left"
    )
    # Threads cost more than they give on small matrices, and change the last bits of a sum.
    with threadpool_limits(limits=1, user_api="blas"):
        fitted, method = _fit(counts, genes, pairs, parameters)
    return (
        genes.join(fitted, on="feature_id", how="left", maintain_order="left")
        .with_columns(
            status=pl.when("is_all_zero")
            .then(pl.lit("all_zero"))
            .when(~pl.col("is_fitted"))
            .then(pl.lit("filtered_low_count"))
            .otherwise("status"),
            reference_visit=pl.lit(parameters.reference_visit),
            contrast_visit=pl.lit(parameters.contrast_visit),
            design=pl.lit(DESIGN),
            n_subjects=pl.lit(len(pairs.subject), dtype=pl.Int64),
            n_samples=pl.lit(len(pairs.samples), dtype=pl.Int64),
            excluded_samples=pl.lit(pairs.excluded_text),
            method=pl.lit(method),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )


def _by_gene(samples_by_genes: NDArray[Any]) -> NDArray[np.float64]:
    return np.ascontiguousarray(samples_by_genes.T, dtype=np.float64)


def _listed(values: Iterable[str]) -> str:
    return ", ".join(sorted(values))


def _genes(
    expression: pl.DataFrame, feature: pl.DataFrame, parameters: TreatmentEffectOnExpressionParameters
) -> pl.DataFrame:
    delivered = expression.select("feature_id").unique().sort("feature_id")
    repeated = feature.filter(pl.col("feature_id").is_duplicated())["feature_id"].unique().to_list()
    if repeated:
        raise AnalysisError(f"omics.feature: {_listed(repeated)}: one row per feature_id is needed")
    genes = delivered.join(feature.select("feature_id", "symbol"), on="feature_id", how="left").sort(
        "feature_id"
    )
    unknown = set(parameters.protected_genes) - set(genes["symbol"].drop_nulls())
    if unknown:
        raise AnalysisError(
            f"protected_genes: {_listed(unknown)}: must be symbols of delivered genes, as in omics.feature"
        )
    return genes.with_columns(
        is_protected=pl.col("symbol").is_in(list(parameters.protected_genes)).fill_null(value=False)
    )


def _candidates(sample: pl.DataFrame, parameters: TreatmentEffectOnExpressionParameters) -> pl.DataFrame:
    """Return the samples of the two visits (and the tissue), excluded ones among them."""
    unknown = set(parameters.exclude_samples) - set(sample["sample_id"])
    if unknown:
        raise AnalysisError(f"exclude_samples: {_listed(unknown)}: must be sample_id of omics.sample")
    repeated = sample.filter(pl.col("sample_id").is_duplicated())["sample_id"].unique().to_list()
    if repeated:
        raise AnalysisError(f"omics.sample: {_listed(repeated)}: one row per sample_id is needed")
    if parameters.tissue is not None:
        tissues = sample["tissue"].drop_nulls().unique().to_list()
        if parameters.tissue not in tissues:
            raise AnalysisError(f"tissue: {parameters.tissue!r}: must be one of {_listed(tissues)}")
        sample = sample.filter(pl.col("tissue") == parameters.tissue)
    visits = sample["visit"].drop_nulls().unique().to_list()
    for name in ("reference_visit", "contrast_visit"):
        if (visit := getattr(parameters, name)) not in visits:
            raise AnalysisError(f"{name}: {visit!r}: must be one of {_listed(visits)}")
    candidates = sample.filter(pl.col("visit").is_in([parameters.reference_visit, parameters.contrast_visit]))
    taken = candidates.filter(~pl.col("sample_id").is_in(list(parameters.exclude_samples)))
    replicates = (
        taken.filter(pl.col("usubjid").is_not_null())
        .group_by("usubjid", "visit")
        .agg(pl.col("sample_id").sort())
        .filter(pl.col("sample_id").list.len() > 1)
        .sort("usubjid", "visit")
    )
    if replicates.height:
        which = "; ".join(
            f"{subject} at {visit}: {', '.join(samples)}"
            for subject, visit, samples in replicates.iter_rows()
        )
        raise AnalysisError(
            f"omics.sample: {which}: one sample per subject and visit is needed; "
            "name those not to be used in exclude_samples, or restrict the tissue"
        )
    return candidates.select("sample_id", "usubjid", "visit").sort("sample_id")


def _counts(expression: pl.DataFrame, sample: pl.DataFrame, candidates: pl.DataFrame) -> pl.DataFrame:
    """Return genes x candidate samples, every cell a count."""
    unlisted = set(expression["sample_id"].unique()) - set(sample["sample_id"])
    if unlisted:
        raise AnalysisError(f"omics.expression: sample {_listed(unlisted)}: must be listed in omics.sample")
    used = expression.filter(pl.col("sample_id").is_in(candidates["sample_id"].implode()))
    uncounted = set(candidates["sample_id"]) - set(used["sample_id"].unique())
    if uncounted:
        raise AnalysisError(
            f"omics.sample: sample {_listed(uncounted)}: has no counts in omics.expression; "
            "deliver them or leave the sample out of omics.sample"
        )
    wrong = used.filter((pl.col("count") < 0) | pl.col("count").is_null())
    if wrong.height:
        feature_id, sample_id, count = wrong.select("feature_id", "sample_id", "count").row(0)
        raise AnalysisError(
            f"omics.expression: count {count} of {feature_id} in {sample_id} ({wrong.height} such rows): "
            "must be 0 or more"
        )
    if used.select(pl.struct("feature_id", "sample_id").is_duplicated().any()).item():
        repeated = used.filter(pl.struct("feature_id", "sample_id").is_duplicated()).row(0, named=True)
        raise AnalysisError(
            f"omics.expression: {repeated['feature_id']} in {repeated['sample_id']}: must be given once"
        )
    wide = used.pivot("sample_id", index="feature_id", values="count")  # noqa: PD010 - polars
    wide = wide.sort("feature_id")
    gaps = [column.name for column in wide.iter_columns() if column.null_count()]
    if gaps:
        raise AnalysisError(
            f"omics.expression: sample {_listed(gaps)}: lacks genes that others have; a zero must be given"
        )
    return wide


def _pairs(
    candidates: pl.DataFrame, counts: pl.DataFrame, parameters: TreatmentEffectOnExpressionParameters
) -> _Pairs:
    excluded: dict[str, tuple[str, str]] = {}
    library = {name: int(counts[name].sum()) for name in candidates["sample_id"]}
    # The median of all libraries, so that leaving one out by name does not move the limit for the others.
    limit = parameters.min_library_size * float(np.median(list(library.values())))
    by_visit: dict[str, dict[str, str]] = {parameters.reference_visit: {}, parameters.contrast_visit: {}}
    for sample_id, subject, visit in candidates.iter_rows():
        if sample_id in parameters.exclude_samples:
            excluded[sample_id] = (subject or "unknown", "excluded by parameter")
        elif subject is None:
            excluded[sample_id] = ("unknown", "no subject")
        elif library[sample_id] < limit or library[sample_id] == 0:
            excluded[sample_id] = (subject, f"library of {library[sample_id]} reads, limit {limit:.0f}")
        else:
            by_visit[visit][subject] = sample_id
    reference, contrast = by_visit.values()
    for own, other, missing in (
        (reference, contrast, parameters.contrast_visit),
        (contrast, reference, parameters.reference_visit),
    ):
        for subject in own.keys() - other.keys():
            excluded[own[subject]] = (subject, f"incomplete pair, no sample at {missing}")
    subjects = sorted(reference.keys() & contrast.keys())
    pairs = _Pairs(subjects, [reference[s] for s in subjects], [contrast[s] for s in subjects], excluded)
    if len(subjects) < _LEAST_SUBJECTS:
        raise AnalysisError(
            f"complete pairs, {parameters.reference_visit} and {parameters.contrast_visit}: {len(subjects)}: "
            f"at least {_LEAST_SUBJECTS} are needed; left out: {pairs.excluded_text or 'none'}"
        )
    return pairs


def _count_flags(
    counts: pl.DataFrame, pairs: _Pairs, parameters: TreatmentEffectOnExpressionParameters
) -> pl.DataFrame:
    needed = len(pairs.subject) if parameters.min_samples is None else parameters.min_samples
    if needed > len(pairs.samples):
        raise AnalysisError(
            f"min_samples: {needed}: must be {len(pairs.samples)} or less, the samples compared"
        )
    enough = pl.sum_horizontal(pl.col(pairs.samples) >= parameters.min_count)
    return counts.select(
        "feature_id",
        is_low_count=enough < needed,
        is_all_zero=pl.sum_horizontal(pairs.samples) == 0,
        # Without a read at one visit the likelihood rises for ever towards an infinite fold change.
        is_separated=(pl.sum_horizontal(pairs.reference) == 0) != (pl.sum_horizontal(pairs.contrast) == 0),
    )


def _fit(
    counts: pl.DataFrame,
    genes: pl.DataFrame,
    pairs: _Pairs,
    parameters: TreatmentEffectOnExpressionParameters,
) -> tuple[pl.DataFrame, str]:
    """Return the estimates by gene and the description of the method, departures included."""
    flags = genes.with_columns(
        is_fitted=(~pl.col("is_low_count") | pl.col("is_protected")) & ~pl.col("is_all_zero")
    )
    kept = flags.filter("is_fitted")
    if kept.is_empty():
        raise AnalysisError(
            f"min_count: {parameters.min_count}: no gene has that many reads in enough samples; lower it"
        )
    matrix = counts.join(kept.select("feature_id"), on="feature_id", how="semi").sort("feature_id")
    kept = kept.sort("feature_id")
    dataset, notes = _deseq(matrix, pairs)
    statistics = DeseqStats(
        dataset,
        contrast=np.array([0.0] * len(pairs.subject) + [1.0]),
        alpha=parameters.alpha,
        cooks_filter=False,
        independent_filter=True,
        inference=dataset.inference,
        quiet=True,
    )
    statistics.run_wald_test()
    fold_change = dataset.varm["LFC"].to_numpy()[:, -1] / np.log(2)
    cannot = kept["is_separated"].to_numpy() & (
        kept["is_low_count"].to_numpy() | (np.abs(fold_change) > parameters.max_absolute_lfc)
    )
    failed = ~(
        dataset.var["_LFC_converged"].to_numpy(dtype=bool) & np.isfinite(statistics.p_values.to_numpy())
    )
    # Taken out before the adjustment: such a gene is no hypothesis of the family.
    statistics.p_values[cannot | failed] = np.nan
    statistics.summary()
    result = statistics.results_df
    p_value, p_adjusted = result["pvalue"].to_numpy(), result["padj"].to_numpy()
    status: list[Literal["tested", "independent_filtering", "not_estimable", "not_converged"]] = [
        "not_estimable"
        if c
        else "not_converged"
        if f
        else "independent_filtering"
        if np.isnan(q)
        else "tested"
        for c, f, q in zip(cannot, failed, p_adjusted, strict=True)
    ]
    smallest = np.finfo(np.float64).tiny
    fitted = pl.DataFrame(
        {
            "feature_id": matrix["feature_id"],
            "log2_fold_change": fold_change,
            "lfc_se": result["lfcSE"].to_numpy(),
            "wald_statistic": result["stat"].to_numpy(),
            # Below the range of floating-point numbers a p-value is small, not zero.
            "p_value": np.maximum(p_value, smallest),
            "p_adjusted": np.maximum(p_adjusted, smallest),
            "dispersion": dataset.var["dispersions"].to_numpy(),
            "status": status,
        }
    ).with_columns(
        pl.when(pl.col("status").is_in(["not_estimable", "not_converged"]))
        .then(None)
        .otherwise(pl.col(name).fill_nan(None))
        .alias(name)
        for name in ("log2_fold_change", "lfc_se", "wald_statistic", "p_value", "p_adjusted")
    )
    normalised = counts.select(pairs.samples).to_numpy() / dataset.obs["size_factors"].to_numpy()
    base = counts.select("feature_id").with_columns(base_mean=pl.Series(normalised.mean(axis=1)))
    described = (
        flags.select("feature_id", "is_fitted")
        .join(base, on="feature_id")
        .join(fitted, on="feature_id", how="left")
    )
    return described, _method(parameters, notes)


def _deseq(matrix: pl.DataFrame, pairs: _Pairs) -> tuple[DeseqDataSet, list[str]]:
    """Estimate size factors, dispersions and fold changes; return what departs from the usual course."""
    subjects = len(pairs.subject)
    design = pd.DataFrame(
        np.column_stack(
            [
                np.ones(2 * subjects),
                np.tile(np.eye(subjects)[:, 1:], (2, 1)),
                np.repeat([0.0, 1.0], subjects),
            ]
        ),
        index=pairs.samples,
        columns=["Intercept", *(f"subject[{name}]" for name in pairs.subject[1:]), "visit"],
    )
    counts = matrix.select(pairs.samples).to_numpy().T
    notes = []
    has_common_genes = bool((counts > 0).all(axis=0).any())
    if not has_common_genes:
        notes.append("size factors from positive counts, as no gene has reads in every sample")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = DeseqDataSet(
            adata=anndata.AnnData(
                X=counts,
                obs=pd.DataFrame(index=pairs.samples),
                var=pd.DataFrame(index=matrix["feature_id"].to_list()),
            ),
            design=design,
            size_factors_fit_type="ratio" if has_common_genes else "poscounts",
            # No two samples share a row of the design, so none can be replaced as an outlier.
            refit_cooks=False,
            inference=PairedInference(),
            quiet=True,
        )
        dataset.fit_size_factors()
        dataset.fit_genewise_dispersions()
        dataset.fit_dispersion_trend()
        dataset.fit_dispersion_prior()
        dataset.fit_MAP_dispersions()
        dataset.fit_LFC()
    if dataset.uns["disp_function_type"] == "mean":
        notes.append("dispersion prior around the mean dispersion, as no parametric trend could be fitted")
    if subjects - 1 <= _FEW_RESIDUAL_DF:
        notes.append(
            f"prior of the dispersion poorly known with {subjects - 1} residual degree(s) of freedom"
        )
    expected = ("dispersion trend curve fitting did not converge", "residual degrees of freedom")
    for warning in caught:
        text = str(warning.message)
        if not issubclass(warning.category, (FutureWarning, DeprecationWarning)) and not any(
            part in text for part in expected
        ):
            notes.append(text)
    return dataset, sorted(set(notes))


def _method(parameters: TreatmentEffectOnExpressionParameters, notes: list[str]) -> str:
    return "; ".join(
        [
            f"PyDESeq2 {pydeseq2.__version__}, negative binomial Wald test, two-sided",
            "dispersion trend by the rule of R's DESeq2",
            f"Benjamini-Hochberg with independent filtering at {parameters.alpha:g}",
            "no outlier rule (Cook's distance does not apply to one sample per subject and visit)",
            *notes,
        ]
    )


ANALYSIS = Analysis(
    name="treatment_effect_on_expression",
    function=treatment_effect_on_expression,
    reads=("omics.expression", "omics.sample", "omics.feature"),
    parameters=TreatmentEffectOnExpressionParameters,
)
