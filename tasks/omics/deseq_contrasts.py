"""Contrasts tested by DESeq2's negative binomial model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from tasks.omics.designs import SUBJECT, contrast_vector, reduced_matrix
from tasks.omics.tested_genes import SMALLEST_P, ContrastTests, TStatistic
from tasks.stats.deseq.calibration import CalibratedFit, calibrated
from tasks.stats.deseq.estimability import not_estimable
from tasks.stats.deseq.likelihood_ratio import likelihood_ratio_test, signed_root
from tasks.stats.deseq.model import DeseqFit, fit_deseq
from tasks.stats.deseq.paired_outlier import paired_outliers
from tasks.stats.deseq.shrinkage import apeglm_shrinkage, s_value
from tasks.stats.deseq.size_factors import median_of_ratios
from tasks.stats.deseq.wald import wald_test

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tasks.omics.designs import DesignMatrix
    from tasks.omics.tested_genes import TestedGenes
    from tasks.stats.deseq.wald import WaldTest
    from tasks.stats.types import FloatArray
    from warehouse.expression_plan import ExpressionContrast

    BoolArray = NDArray[np.bool_]

OutlierRule = Literal["cooks", "paired"]
_LEAST_SUBJECTS_OF_RULE = 3
# Up to here the prior of the dispersions rests on few degrees of freedom.
_FEW_RESIDUAL_DF = 3
_LEAST_WEIGHT = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class DeseqDesign:
    """A design fitted once for all its contrasts, as DESeq2 does and, for q-values, to hold the level."""

    matrix: DesignMatrix
    genes: TestedGenes
    fit: DeseqFit
    calibrated: CalibratedFit
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What keeps a fitted gene from being tested: outlier rules, and the bound on log2 estimates."""

    outlier_rules: Sequence[OutlierRule]
    max_absolute_lfc: float


def size_factors(genes: TestedGenes) -> tuple[FloatArray, tuple[str, ...]]:
    """Return the size factors by the genes that pass the filter, and what is unusual about them."""
    shaping = genes.count[genes.shapes]
    if (shaping > 0).all(axis=1).any():
        return median_of_ratios(shaping), ()
    note = "size factors from positive counts, as no gene has reads in every sample"
    return median_of_ratios(shaping, kind="poscounts"), (note,)


def fitted_design(matrix: DesignMatrix, genes: TestedGenes) -> DeseqDesign:
    factor, notes = size_factors(genes)
    fit = fit_deseq(genes.count, matrix.matrix, size_factor=factor, shapes_trend=genes.shapes)
    few = matrix.residual_df
    if few <= _FEW_RESIDUAL_DF:
        notes += (f"prior of the dispersion poorly known with {few} residual degree(s) of freedom",)
    if not matrix.has_subject_effects and len(matrix.subjects) < matrix.sample.height:
        notes += (f"samples of one {SUBJECT} taken as independent: no term of the formula tells them apart",)
    return DeseqDesign(
        matrix=matrix,
        genes=genes,
        fit=fit,
        calibrated=calibrated(fit, shapes_trend=genes.shapes),
        notes=(*notes, *fit.notes),
    )


def deseq_contrast(design: DeseqDesign, contrast: ExpressionContrast, rules: Rules) -> ContrastTests:
    """Test one contrast of a fitted design: the terms named by `without`, or else its effect."""
    has_effect = bool(contrast.level_weights) or contrast.slope
    direction = contrast_vector(design.matrix, contrast) if has_effect else None
    n = len(design.genes.count)
    nothing = np.full(n, np.nan)
    wald = None if direction is None else wald_test(design.fit, direction)
    not_converged = dict.fromkeys(_rows(~design.fit.converged), "the fit did not converge")
    if contrast.without:
        reduced = reduced_matrix(design.matrix, contrast.without, f"contrast {contrast.id}")
        ratio = likelihood_ratio_test(design.fit, reduced)
        test, statistic, p_value = "likelihood_ratio", ratio.statistic, ratio.p_value
        said = (
            f"likelihood-ratio test of {', '.join(contrast.without)} with {ratio.df} degree(s) of freedom"
            + (", fold change beside it of the contrast" if has_effect else "")
        )
        not_converged |= dict.fromkeys(
            _rows(~ratio.converged), "the fit without the terms tested did not converge"
        )
    else:
        test, said = "wald", "Wald test, two-sided"
        statistic, p_value = (nothing, nothing) if wald is None else (wald.statistic, wald.p_value)
    method = [f"negative binomial model by the course of DESeq2, {said}", _dispersions(design.fit)]
    shrunken = shrunken_error = certain = nothing
    cannot: dict[int, str] = {}
    t_statistic: TStatistic | None = None
    outlier, rule_said = _cooks(design, rules)
    if direction is not None and wald is not None:
        shrunken, shrunken_error, certain, scale = _shrunken(design, direction, wald)
        method.append(f"shrunken fold changes by an apeglm prior of scale {scale:.3g} (log2)")
        cannot = _not_estimable(design, direction, wald, rules)
        if not contrast.without:
            found, paired_said = _paired(design, direction, rules)
            # A library that Cook's distance names stays named.
            outlier = found | outlier
            rule_said = "; ".join(part for part in (rule_said, paired_said) if part)
            root = signed_root(design.calibrated.fit, direction)
            t_statistic = TStatistic(
                value=root.statistic, degrees_of_freedom=design.calibrated.degrees_of_freedom
            )
            prior = design.calibrated.fit.prior
            said = "" if prior is None else f" (prior variance {prior.variance:.3g})"
            method.append(
                "q-values by adaptive shrinkage of signed likelihood-ratio roots, t reference,"
                f" dispersions about the middle of the trend{said}"
            )
    return ContrastTests(
        test=test,
        estimate=nothing if wald is None else wald.estimate / np.log(2),
        standard_error=nothing if wald is None else wald.standard_error / np.log(2),
        statistic=statistic,
        p_value=np.maximum(p_value, SMALLEST_P),
        shrunken=shrunken,
        shrunken_error=shrunken_error,
        s_value=certain,
        dispersion=design.fit.dispersion,
        not_estimable=cannot,
        not_converged=not_converged,
        outlier=outlier,
        is_filtered=True,
        t_statistic=t_statistic,
        method=(*method, rule_said or "no outlier rule applies", *design.notes),
    )


def _rows(flag: BoolArray) -> list[int]:
    return [int(row) for row in np.flatnonzero(flag)]


def _dispersions(fit: DeseqFit) -> str:
    if fit.trend is None or fit.prior is None:
        return "dispersions of each gene alone"
    return f"dispersions towards a {fit.trend.kind} trend, prior variance {fit.prior.variance:.3g}"


def _shrunken(
    design: DeseqDesign, direction: FloatArray, wald: WaldTest
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Return shrunken effects, errors and s-values, log2 scale, and the scale of the prior."""
    fit, shapes = design.fit, design.genes.shapes
    shrunken = apeglm_shrinkage(
        fit.count,
        fit.size_factor,
        fit.design,
        fit.dispersion,
        direction,
        estimate=np.where(shapes, wald.estimate, np.nan),
        standard_error=np.where(shapes, wald.standard_error, np.nan),
    )
    rate = shrunken.false_sign_rate
    certain = np.full(rate.shape, np.nan)
    certain[shapes] = s_value(rate[shapes])
    # As with adjusted p-values: a protected gene joins the others without moving them.
    certain[~shapes] = s_value(rate)[~shapes]
    natural = np.log(2)
    return (
        shrunken.estimate / natural,
        shrunken.standard_error / natural,
        certain,
        shrunken.prior_scale / natural,
    )


def _not_estimable(
    design: DeseqDesign, direction: FloatArray, wald: WaldTest, rules: Rules
) -> dict[int, str]:
    """Return the genes whose estimate only says where the fit stopped.

    A gene that is plentiful on one side and silent on the other has no finite estimate either, but is a
    finding; it is told from a rare gene by the count filter and by the bound.
    """
    is_separated = not_estimable(design.fit.count, design.fit.design, direction)
    is_far = np.abs(wald.estimate) / np.log(2) > rules.max_absolute_lfc
    rare = "no reads where the contrast would need them, and few elsewhere: no finite fold change fits"
    far = f"no finite fold change fits: the fit ran beyond {rules.max_absolute_lfc:g} (log2)"
    return dict.fromkeys(_rows(is_separated & ~design.genes.shapes), rare) | dict.fromkeys(
        _rows(is_separated & is_far), far
    )


def _cooks(design: DeseqDesign, rules: Rules) -> tuple[dict[int, tuple[int, str]], str]:
    if "cooks" not in rules.outlier_rules:
        return {}, ""
    fit = design.fit
    _, replicates = np.unique(fit.design, axis=0, return_counts=True)
    if replicates.max() < _LEAST_SUBJECTS_OF_RULE:
        return {}, ""
    found = {}
    for gene in _rows(fit.is_cooks_outlier):
        sample = int(np.argmax(fit.cooks[gene]))
        found[gene] = (sample, f"{_named(design.matrix, sample)} decides alone (Cook's distance)")
    said = "outliers by Cook's distance"
    if fit.n_replaced:
        said += f", replaced in {fit.n_replaced} gene(s)"
    return found, said


def _paired(
    design: DeseqDesign, direction: FloatArray, rules: Rules
) -> tuple[dict[int, tuple[int, str]], str]:
    """Return the genes whose effect is one subject's doing, in a design that compares within subjects."""
    fit, matrix = design.fit, design.matrix
    if "paired" not in rules.outlier_rules or not matrix.has_subject_effects:
        return {}, ""
    if fit.trend is None or fit.prior is None:
        return {}, "no rule for outlying subjects without a trend of the dispersions"
    if _n_informing(matrix, direction) < _LEAST_SUBJECTS_OF_RULE:
        return {}, f"no rule for outlying subjects among fewer than {_LEAST_SUBJECTS_OF_RULE}"
    outliers = paired_outliers(
        fit.count,
        fit.size_factor,
        fit.design,
        matrix.subject,
        direction,
        mean=fit.mean,
        trend_dispersion=fit.fitted_dispersion,
        prior_variance=fit.prior.variance,
    )
    found = {}
    for gene in _rows(outliers.is_outlier):
        sample = int(outliers.sample[gene])
        far, limit = outliers.statistic[gene], outliers.cutoff[gene]
        said = f"{_named(matrix, sample)} differs from all others (distance {far:.1f}, limit {limit:.1f})"
        found[gene] = (sample, said)
    return found, "outlying subjects by their own contrast against the others'"


def _n_informing(matrix: DesignMatrix, direction: FloatArray) -> int:
    """Count the subjects whose samples have weight in the contrast."""
    weight = matrix.matrix @ np.linalg.solve(matrix.matrix.T @ matrix.matrix, direction)
    total = np.bincount(matrix.subject, weights=np.abs(weight))
    return int((total > _LEAST_WEIGHT * total.max()).sum())


def _named(matrix: DesignMatrix, sample: int) -> str:
    row = matrix.sample.row(sample, named=True)
    subject = row.get(SUBJECT)
    return f"sample {row['sample_id']}" + (f" of subject {subject}" if subject is not None else "")
