"""The genes whose expression differs, contrast by contrast of the declared designs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from pydantic import Field
from threadpoolctl import threadpool_limits

from tasks.analysis import Analysis, Parameters
from tasks.omics import deseq_contrasts, voom_contrasts
from tasks.omics.counts import CountMatrix, count_matrix
from tasks.omics.designs import SUBJECT, DesignMatrix, design_matrix
from tasks.omics.tested_genes import ContrastTests, TestedGenes, adjusted, q_values, tested_genes
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasks.stats.types import FloatArray
    from warehouse.expression_plan import ExpressionContrast, ExpressionDesign

SCHEMA = {
    "contrast": pl.String,
    "contrast_title": pl.String,
    "feature_id": pl.String,
    "ensembl_id": pl.String,
    "symbol": pl.String,
    "base_mean": pl.Float64,
    "log2_fold_change": pl.Float64,
    "lfc_se": pl.Float64,
    "statistic": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "q_value": pl.Float64,
    "lfc_shrunken": pl.Float64,
    "lfc_shrunken_se": pl.Float64,
    "s_value": pl.Float64,
    "status": pl.String,
    "reason": pl.String,
    "outlier_sample": pl.String,
    "is_protected": pl.Boolean,
    "is_low_count": pl.Boolean,
    "dispersion": pl.Float64,
    "test": pl.String,
    "design": pl.String,
    "n_subjects": pl.Int64,
    "n_samples": pl.Int64,
    "excluded_samples": pl.String,
    "method": pl.String,
}
# What is said of a gene by its status; an outlier keeps its estimate, so that what was set aside can be seen.
_ESTIMATE = ("log2_fold_change", "lfc_se")
_TEST = ("statistic", "p_value", "p_adjusted", "q_value", "lfc_shrunken", "lfc_shrunken_se", "s_value")


class DifferentialExpressionParameters(Parameters):
    """The false discovery rate that results are read at, and what keeps a fitted gene from being tested.

    `alpha` is what independent filtering is tuned to; R's own default is a different one. `outlier_rules`
    apply where a design allows them: Cook's distance with three samples or more to a row of the design, and
    outlying subjects where the comparison is within subjects. `max_absolute_lfc` bounds what is reported as
    an estimate for a gene without a finite one: no library is deep enough to see a larger ratio.
    """

    expression: Expression = Expression()
    alpha: float = Field(default=0.05, gt=0, lt=1)
    outlier_rules: tuple[Literal["cooks", "paired"], ...] = ("cooks", "paired")
    max_absolute_lfc: float = Field(default=20.0, gt=0)


def differential_expression(
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    *,
    parameters: DifferentialExpressionParameters,
) -> pl.DataFrame:
    """Fit each declared design once, and put to it each of its contrasts, gene by gene.

    A positive fold change is higher where the contrast has positive weight. The negative binomial model
    follows DESeq2's course; limma-voom is for designs that name it. Every delivered gene has a row for every
    contrast, with what became of it: a gene that is not tested says why, never by a gap. Genes that fail the
    count filter are not fitted, save protected ones, which are, and are marked; since they shape neither size
    factors nor trend nor prior nor the family of the others, protecting a gene moves no other gene's number.
    A protected gene is not lost to independent filtering either, which leaves `p_adjusted` null and `p_value`
    in place. `p_adjusted` is DESeq2's, gene for gene; it takes dispersions as known, and lets a few more null
    genes through than the level says. `q_value` does not: read that one where false discoveries are dear.
    What a statistician would contest: in a paired design a gene whose effect is one subject's doing gets no
    p-value, where DESeq2 has no rule at all; `outlier_rules` takes the rule away.
    """
    declared = parameters.expression
    if not declared.contrasts:
        raise AnalysisError("expression.contrasts: none is declared: at least one is needed")
    counts = count_matrix(expression, sample, feature, declared=declared)
    frames: dict[str, pl.DataFrame] = {}
    for design in declared.designs:
        asked = [contrast for contrast in declared.contrasts if contrast.design == design.id]
        if not asked:
            continue
        try:
            # Threads within the threads of the models cost more than they give.
            with threadpool_limits(limits=1, user_api="blas"):
                frames |= dict(_design_results(counts, design, asked, parameters))
        except ValueError as error:
            raise AnalysisError(f"design {design.id} ({design.formula.strip()}): {error}") from error
    return pl.concat([frames[contrast.id] for contrast in declared.contrasts])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Design:
    """What the contrasts of a design share; `base_mean` is of every gene of the study."""

    matrix: DesignMatrix
    genes: TestedGenes
    base_mean: FloatArray
    parameters: DifferentialExpressionParameters


def _design_results(
    counts: CountMatrix,
    design: ExpressionDesign,
    asked: Sequence[ExpressionContrast],
    parameters: DifferentialExpressionParameters,
) -> Iterator[tuple[str, pl.DataFrame]]:
    matrix = design_matrix(counts, design)
    genes = tested_genes(matrix, parameters.expression)
    factor, _ = deseq_contrasts.size_factors(genes)
    base_mean = matrix.counts.count @ (1 / factor) / len(factor)
    if design.engine == "voom":
        weighted = voom_contrasts.fitted_design(matrix, genes)
        described = _Design(matrix=matrix, genes=genes, base_mean=base_mean, parameters=parameters)
        for contrast in asked:
            yield contrast.id, _table(described, voom_contrasts.voom_contrast(weighted, contrast), contrast)
        return
    fitted = deseq_contrasts.fitted_design(matrix, genes)
    # As fitted: without the counts that were replaced as outliers.
    base_mean[genes.is_fitted] = fitted.fit.base_mean
    described = _Design(matrix=matrix, genes=genes, base_mean=base_mean, parameters=parameters)
    rules = deseq_contrasts.Rules(
        outlier_rules=parameters.outlier_rules, max_absolute_lfc=parameters.max_absolute_lfc
    )
    for contrast in asked:
        yield (
            contrast.id,
            _table(described, deseq_contrasts.deseq_contrast(fitted, contrast, rules), contrast),
        )


def _table(design: _Design, tests: ContrastTests, contrast: ExpressionContrast) -> pl.DataFrame:
    """Return the rows of one contrast, every gene of the study among them."""
    matrix, genes = design.matrix, design.genes
    status, reason, outlier_sample = _verdicts(design, tests)
    is_barred = np.array([one is not None for one in status])[genes.is_fitted]
    p_value = np.where(is_barred, np.nan, tests.p_value)
    p_adjusted = adjusted(
        p_value,
        design.base_mean[genes.is_fitted],
        shapes=genes.shapes,
        is_protected=genes.is_protected[genes.is_fitted],
        alpha=design.parameters.alpha,
        is_filtered=tests.is_filtered,
    )
    q_value = np.full(p_value.shape, np.nan)
    if tests.t_statistic is not None:
        q_value = q_values(
            tests.t_statistic,
            p_value,
            shapes=genes.shapes,
            is_protected=genes.is_protected[genes.is_fitted],
        )
    numbers = {
        "log2_fold_change": tests.estimate,
        "lfc_se": tests.standard_error,
        "statistic": tests.statistic,
        "p_value": p_value,
        "p_adjusted": p_adjusted,
        "q_value": q_value,
        "lfc_shrunken": tests.shrunken,
        "lfc_shrunken_se": tests.shrunken_error,
        "s_value": tests.s_value,
        "dispersion": tests.dispersion,
    }
    feature = matrix.counts.feature
    frame = feature.with_columns(
        pl.Series(name, _everywhere(values, genes)).fill_nan(None) for name, values in numbers.items()
    ).with_columns(
        base_mean=pl.Series(design.base_mean),
        is_low_count=pl.Series(genes.is_low_count),
        status=pl.Series(status, dtype=pl.String),
        reason=pl.Series(reason, dtype=pl.String),
        outlier_sample=pl.Series(outlier_sample, dtype=pl.String),
    )
    threshold = "mean count below the threshold that independent filtering chose"
    is_below = pl.col("status").is_null() & pl.col("p_adjusted").is_null()
    has_estimate = pl.col("status").is_null() | (pl.col("status") == "outlier")
    return (
        frame.with_columns(
            reason=pl.when(is_below).then(pl.lit(threshold)).otherwise("reason"),
            **{name: pl.when(has_estimate).then(name) for name in _ESTIMATE},
            **{name: pl.when(pl.col("status").is_null()).then(name) for name in _TEST},
        )
        .with_columns(
            status=pl.when(is_below)
            .then(pl.lit("independent_filtering"))
            .otherwise(pl.col("status").fill_null("tested")),
            contrast=pl.lit(contrast.id),
            contrast_title=pl.lit(contrast.title),
            test=pl.lit(tests.test),
            design=pl.lit(matrix.design.formula.strip()),
            n_subjects=pl.lit(len(matrix.subjects)),
            n_samples=pl.lit(matrix.sample.height),
            excluded_samples=pl.lit(matrix.counts.excluded_text),
            method=pl.lit(_method(design, tests, contrast)),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )


def _verdicts(
    design: _Design, tests: ContrastTests
) -> tuple[list[str | None], list[str | None], list[str | None]]:
    """Return why each gene has no p-value, in a word and in words, and the library; None if it has one."""
    matrix, genes = design.matrix, design.genes
    n = len(genes.is_fitted)
    status: list[str | None] = [None] * n
    reason: list[str | None] = [None] * n
    outlier: list[str | None] = [None] * n
    filtered = (
        f"fewer than {genes.min_samples} samples with {design.parameters.expression.min_count} reads or more"
    )
    for row in np.flatnonzero(~genes.is_fitted):
        is_empty = genes.is_all_zero[row]
        status[row] = "all_zero" if is_empty else "filtered_low_count"
        reason[row] = "no read in any sample of the design" if is_empty else filtered
    place = np.flatnonzero(genes.is_fitted)
    name = matrix.sample["sample_id"]
    for gene, (sample, words) in tests.outlier.items():
        status[place[gene]], reason[place[gene]], outlier[place[gene]] = "outlier", words, name[sample]
    for label, found in (("not_converged", tests.not_converged), ("not_estimable", tests.not_estimable)):
        for gene, words in found.items():
            status[place[gene]], reason[place[gene]], outlier[place[gene]] = label, words, None
    return status, reason, outlier


def _everywhere(values: FloatArray, genes: TestedGenes) -> FloatArray:
    spread = np.full(len(genes.is_fitted), np.nan)
    spread[genes.is_fitted] = values
    return spread


def _method(design: _Design, tests: ContrastTests, contrast: ExpressionContrast) -> str:
    matrix, genes, parameters = design.matrix, design.genes, design.parameters
    said = list(tests.method)
    said.append(
        "Benjamini-Hochberg"
        + (f" with independent filtering at {parameters.alpha:g}" if tests.is_filtered else "")
        + f" over genes with {parameters.expression.min_count} reads in {genes.min_samples} samples or more"
    )
    complete = _complete_subjects(matrix.sample, contrast)
    if complete is not None:
        said.append(f"{complete} of {len(matrix.subjects)} subjects have every sample of the contrast")
    return "; ".join(said)


def _complete_subjects(sample: pl.DataFrame, contrast: ExpressionContrast) -> int | None:
    """Count the subjects with a sample at every level of the contrast; None where no subject can have two."""
    levels = list(contrast.level_weights)
    if not levels or SUBJECT not in sample.columns:
        return None
    level = pl.col(contrast.variable).cast(pl.String)
    own = sample.filter(pl.col(SUBJECT).is_not_null()).group_by(SUBJECT)
    n = own.agg(level.filter(level.is_in(levels)).n_unique().alias("n"), pl.len().alias("samples"))
    return int((n["n"] == len(levels)).sum()) if (n["samples"] > 1).any() else None


ANALYSIS = Analysis(
    name="differential_expression",
    function=differential_expression,
    reads=("omics.expression", "omics.sample", "omics.feature"),
    parameters=DifferentialExpressionParameters,
)
