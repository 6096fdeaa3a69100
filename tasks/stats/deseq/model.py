"""The course of DESeq2: size factors, dispersions with their trend and prior, coefficients, outliers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tasks.stats.deseq.cooks import (
    cooks_distance,
    cooks_outliers,
    replace_outliers,
    replaceable_samples,
)
from tasks.stats.deseq.dispersion import MIN_DISPERSION, gene_wise_dispersion, map_dispersion
from tasks.stats.deseq.glm import fit_glm
from tasks.stats.deseq.prior import DispersionPrior, dispersion_prior
from tasks.stats.deseq.size_factors import median_of_ratios
from tasks.stats.deseq.strata import Design, analysed_design
from tasks.stats.deseq.trend import DispersionTrend, dispersion_trend

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tasks.stats.types import FloatArray

BoolArray = NDArray[np.bool_]

_DIMENSIONS = 2
# The trend and the prior look at genes whose dispersion is so many times the least one.
_SHAPING = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DeseqFit:
    """A fitted model; arrays by gene are NaN (flags False) for genes without any count.

    Attributes
    ----------
    count : (genes, samples) array
        As fitted: with outliers replaced where the design has replicates enough.
    design : (samples, coefficients) array
    structure : Design
        The design with its strata.
    size_factor : (samples,) array
    base_mean : (genes,) array
        Mean of the normalised counts as fitted.
    gene_wise_dispersion, fitted_dispersion, dispersion : (genes,) array
        Of the gene alone, of the trend at its mean, and the one used.
    trend, prior : DispersionTrend, DispersionPrior, or None
        None where no gene shows more variance than a Poisson count; gene-wise dispersions are then used.
    is_dispersion_outlier : (genes,) array
        Kept its gene-wise dispersion for lying far above the trend.
    coefficient : (genes, coefficients) array
        Natural log scale.
    mean, leverage, cooks : (genes, samples) array
        Fitted mean, diagonal of the hat matrix, Cook's distance before any replacement.
    converged : (genes,) array
        Of the coefficients.
    is_replaced : (genes,) array
        An outlying count was replaced and the gene fitted again.
    is_cooks_outlier : (genes,) array
        Has an outlying count that could not be replaced: no p-value of it is to be believed.
    notes : tuple of str
        What departed from the usual course, in words.
    """

    count: FloatArray
    design: FloatArray
    structure: Design
    size_factor: FloatArray
    base_mean: FloatArray
    gene_wise_dispersion: FloatArray
    trend: DispersionTrend | None
    fitted_dispersion: FloatArray
    prior: DispersionPrior | None
    dispersion: FloatArray
    is_dispersion_outlier: BoolArray
    coefficient: FloatArray
    mean: FloatArray
    leverage: FloatArray
    converged: BoolArray
    cooks: FloatArray
    is_replaced: BoolArray
    is_cooks_outlier: BoolArray
    notes: tuple[str, ...]

    @property
    def n_replaced(self) -> int:
        return int(self.is_replaced.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """What is the same for all genes, first fit or second."""

    structure: Design
    size_factor: FloatArray
    threads: int | None
    trend: DispersionTrend | None = None
    prior: DispersionPrior | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fitted:
    """Estimates of some genes."""

    base_mean: FloatArray
    gene_wise: FloatArray
    fitted: FloatArray
    dispersion: FloatArray
    is_dispersion_outlier: BoolArray
    coefficient: FloatArray
    mean: FloatArray
    leverage: FloatArray
    converged: BoolArray


def fit_deseq(
    count: ArrayLike,
    design: ArrayLike,
    *,
    size_factor: ArrayLike | None = None,
    size_factor_kind: Literal["ratio", "poscounts"] = "ratio",
    fit_type: Literal["parametric", "local", "mean"] = "parametric",
    min_replicates_for_replace: int = 7,
    shapes_trend: ArrayLike | None = None,
    threads: int | None = None,
) -> DeseqFit:
    """Fit a negative binomial model to the counts of every gene, dispersions shared through trend and prior.

    Parameters
    ----------
    count : (genes, samples) array
        Whole numbers, zero or more.
    design : (samples, coefficients) array
        Of full column rank, with more samples than coefficients.
    size_factor : (samples,) array, optional
        Without it, estimated by median of ratios.
    size_factor_kind : {"ratio", "poscounts"}
        How they are estimated.
    fit_type : {"parametric", "local", "mean"}
        The kind of dispersion trend; a parametric one that fails falls back to a local one.
    min_replicates_for_replace : int
        Outlying counts are replaced where so many samples share a row of the design.
    shapes_trend : (genes,) array of bool, optional
        Genes with False are fitted with the size factors, trend and prior of the others, so that their being
        there moves no other gene's result.
    threads : int, optional
        The result does not depend on it.

    Raises
    ------
    ValueError
        If counts, design or size factors are not as described.

    References
    ----------
    .. [1] Love MI, Huber W, Anders S (2014). Genome Biology 15:550.
    """
    counts = _checked_counts(count)
    structure = _checked_design(design, counts.shape[1])
    shaping = _checked_mask(shapes_trend, len(counts))
    if size_factor is None:
        factor = median_of_ratios(counts[shaping], kind=size_factor_kind)
    else:
        factor = _checked_size_factor(size_factor, counts.shape[1])
    usable: BoolArray = np.asarray(counts.any(axis=1))
    if not (usable & shaping).any():
        raise ValueError("count: every count is zero: nothing can be fitted")
    setting = _Setting(structure=structure, size_factor=factor, threads=threads)
    present = counts if usable.all() else counts[usable]
    setting, fitted, notes = _first_fit(present, setting, shaping[usable], kind=fit_type)
    result = _assembled(counts, usable, setting, fitted, notes)
    return _without_outliers(result, setting, usable, min_replicates_for_replace)


def _first_fit(
    count: FloatArray,
    setting: _Setting,
    shaping: BoolArray,
    *,
    kind: Literal["parametric", "local", "mean"],
) -> tuple[_Setting, _Fitted, tuple[str, ...]]:
    """Estimate dispersions, then trend and prior from the genes that shape them, then all else."""
    base_mean = _base_mean(count, setting.size_factor)
    own = gene_wise_dispersion(count, setting.size_factor, setting.structure, threads=setting.threads)
    notes: tuple[str, ...] = ()
    if (own.dispersion[shaping] > _SHAPING * MIN_DISPERSION).any():
        trend = dispersion_trend(
            base_mean[shaping], own.dispersion[shaping], kind=kind, min_dispersion=MIN_DISPERSION
        )
        prior = dispersion_prior(
            own.dispersion[shaping],
            trend.at(base_mean[shaping]),
            residual_df=setting.structure.residual_df,
            min_dispersion=MIN_DISPERSION,
        )
        setting = replace(setting, trend=trend, prior=prior)
        notes = (trend.note,) if trend.note else ()
    else:
        notes = ("dispersion: no gene varies more than a Poisson count: gene-wise estimates stand alone",)
    return setting, _estimated(count, base_mean, own.dispersion, own.mean, setting), notes


def _estimated(
    count: FloatArray, base_mean: FloatArray, own: FloatArray, mean: FloatArray, setting: _Setting
) -> _Fitted:
    """Shrink the dispersions and fit the coefficients."""
    if setting.trend is None or setting.prior is None:
        fitted = np.full(len(own), np.nan)
        dispersion, is_outlier = own, np.zeros(len(own), dtype=np.bool_)
    else:
        fitted = setting.trend.at(base_mean)
        shrunken = map_dispersion(
            count,
            mean,
            setting.structure,
            own,
            fitted,
            setting.prior.variance,
            residual_variance=setting.prior.residual_variance,
            threads=setting.threads,
        )
        dispersion, is_outlier = shrunken.dispersion, shrunken.is_outlier
    fit = fit_glm(count, setting.size_factor, setting.structure, dispersion, threads=setting.threads)
    return _Fitted(
        base_mean=base_mean,
        gene_wise=own,
        fitted=fitted,
        dispersion=dispersion,
        is_dispersion_outlier=is_outlier,
        coefficient=fit.coefficient,
        mean=fit.mean,
        leverage=fit.leverage,
        converged=fit.converged,
    )


def _assembled(
    count: FloatArray, usable: BoolArray, setting: _Setting, fitted: _Fitted, notes: tuple[str, ...]
) -> DeseqFit:
    """Give every gene its row, and those with counts their Cook's distances."""
    present = count if usable.all() else count[usable]
    cooks = cooks_distance(
        present,
        setting.size_factor,
        fitted.mean,
        fitted.leverage,
        setting.structure.matrix,
        threads=setting.threads,
    )
    nowhere = np.zeros(len(count), dtype=np.bool_)
    return DeseqFit(
        count=count,
        design=setting.structure.matrix,
        structure=setting.structure,
        size_factor=setting.size_factor,
        base_mean=_base_mean(count, setting.size_factor),
        gene_wise_dispersion=_rows(fitted.gene_wise, usable),
        trend=setting.trend,
        fitted_dispersion=_rows(fitted.fitted, usable),
        prior=setting.prior,
        dispersion=_rows(fitted.dispersion, usable),
        is_dispersion_outlier=_flags(fitted.is_dispersion_outlier, usable),
        coefficient=_rows(fitted.coefficient, usable),
        mean=_rows(fitted.mean, usable),
        leverage=_rows(fitted.leverage, usable),
        converged=_flags(fitted.converged, usable),
        cooks=_rows(cooks, usable),
        is_replaced=nowhere,
        is_cooks_outlier=nowhere,
        notes=notes,
    )


def _without_outliers(fit: DeseqFit, setting: _Setting, usable: BoolArray, min_replicates: int) -> DeseqFit:
    """Replace outlying counts and fit those genes again; flag the genes with outliers that remain."""
    design = setting.structure.matrix
    present = slice(None) if usable.all() else usable
    observed, cooks = fit.count[present], fit.cooks[present]
    is_replaceable = replaceable_samples(design, min_replicates=min_replicates)
    is_replaced_sample = np.zeros(len(design), dtype=np.bool_)
    if is_replaceable.any():
        count, is_replaced = replace_outliers(
            observed, setting.size_factor, cooks, design, min_replicates=min_replicates
        )
        if count[is_replaced].any():
            fit = _refitted(fit, setting, np.flatnonzero(usable)[is_replaced], count[is_replaced])
            is_replaced_sample = is_replaceable
    flagged = cooks_outliers(cooks, observed, design, is_replaced_sample=is_replaced_sample)
    return replace(fit, is_cooks_outlier=_flags(flagged, usable))


def _refitted(fit: DeseqFit, setting: _Setting, gene: NDArray[np.intp], count: FloatArray) -> DeseqFit:
    """Fit some genes again with other counts, the trend and the prior staying what they are."""
    is_left = count.any(axis=1)
    again, present = gene[is_left], count[is_left]
    base_mean = _base_mean(present, setting.size_factor)
    own = gene_wise_dispersion(present, setting.size_factor, setting.structure, threads=setting.threads)
    fitted = _estimated(present, base_mean, own.dispersion, own.mean, setting)
    counts, means = fit.count.copy(), fit.base_mean.copy()
    counts[gene] = count
    means[gene] = _base_mean(count, setting.size_factor)
    is_replaced = fit.is_replaced.copy()
    is_replaced[gene] = True
    flags = {"is_dispersion_outlier": fitted.is_dispersion_outlier, "converged": fitted.converged}
    values = {
        "gene_wise_dispersion": fitted.gene_wise,
        "fitted_dispersion": fitted.fitted,
        "dispersion": fitted.dispersion,
        "coefficient": fitted.coefficient,
        "mean": fitted.mean,
        "leverage": fitted.leverage,
    }
    for name, new in {**values, **flags}.items():
        rows = getattr(fit, name)
        # A gene whose only counts were the outliers has nothing left to fit.
        rows[gene[~is_left]] = False if name in flags else np.nan
        rows[again] = new
    return replace(fit, count=counts, base_mean=means, is_replaced=is_replaced)


def _base_mean(count: FloatArray, size_factor: FloatArray) -> FloatArray:
    mean: FloatArray = count @ (1 / size_factor) / count.shape[1]
    return mean


def _rows(value: FloatArray, usable: BoolArray) -> FloatArray:
    """Return an array with the values at the usable genes and NaN elsewhere."""
    if usable.all():
        return value
    rows = np.full((len(usable), *value.shape[1:]), np.nan)
    rows[usable] = value
    return rows


def _flags(value: BoolArray, usable: BoolArray) -> BoolArray:
    flags = np.zeros(len(usable), dtype=np.bool_)
    flags[usable] = value
    return flags


def _checked_counts(count: ArrayLike) -> FloatArray:
    counts = np.ascontiguousarray(count, dtype=np.float64)
    if counts.ndim != _DIMENSIONS or not counts.size:
        raise ValueError(f"count: shape {counts.shape}: must be genes x samples, at least one of each")
    for row in range(0, len(counts), 1024):
        block = counts[row : row + 1024]
        is_wrong = ~(np.isfinite(block) & (block >= 0) & (block == np.floor(block)))
        if is_wrong.any():
            gene, sample = np.argwhere(is_wrong)[0]
            raise ValueError(
                f"count: {block[gene, sample]:g} at gene {row + gene}, sample {sample} (from 0): must be a"
                f" whole number, zero or more"
            )
    return counts


def _checked_design(design: ArrayLike, samples: int) -> Design:
    structure = analysed_design(design)
    rows, coefficients = structure.matrix.shape
    if rows != samples:
        raise ValueError(f"design: {rows} rows beside {samples} samples: must be as many")
    if rows <= coefficients:
        raise ValueError(
            f"design: {rows} samples with {coefficients} coefficients: without more samples than coefficients"
            f" no dispersion can be estimated"
        )
    return structure


def _checked_mask(shapes_trend: ArrayLike | None, genes: int) -> BoolArray:
    if shapes_trend is None:
        return np.ones(genes, dtype=np.bool_)
    mask = np.asarray(shapes_trend)
    if mask.dtype != np.bool_ or mask.shape != (genes,):
        raise ValueError(f"shapes_trend: {mask.dtype} of shape {mask.shape}: must be {genes} booleans")
    return mask


def _checked_size_factor(size_factor: ArrayLike, samples: int) -> FloatArray:
    factor = np.asarray(size_factor, dtype=np.float64)
    if factor.shape != (samples,):
        raise ValueError(f"size_factor: shape {factor.shape}: must be one for each of {samples} samples")
    if not (np.isfinite(factor) & (factor > 0)).all():
        raise ValueError(f"size_factor: {factor.min():g}: every one must be finite and above zero")
    return factor
