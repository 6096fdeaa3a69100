"""Single counts that decide a gene's result: Cook's distance, which genes it flags, what replaces a count."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution

from tasks.stats.deseq.blocks import each_block

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tasks.stats.types import FloatArray

BoolArray: TypeAlias = NDArray[np.bool_]

# Samples with one row of the design, from which a variance of that row is estimated.
_CELL_REPLICATES = 3
_SMALLEST_DISPERSION = 0.04
# Up to so many samples: share trimmed from each end, and the factor that makes the trimmed variance of normal
# values their variance.
_TRIMMED_VARIANCE = ((3, 1 / 3, 2.04), (23, 1 / 4, 1.86))
_TRIMMED_VARIANCE_OF_MANY = (1 / 8, 1.51)
_CUTOFF_LEVEL = 0.99
# In a comparison of two groups, a count that so many others exceed is no outlier.
_EXCEEDED_BY = 3
_REPLACEMENT_TRIM = 0.2


def cooks_distance(
    count: ArrayLike,
    size_factor: ArrayLike,
    mean: ArrayLike,
    leverage: ArrayLike,
    design: ArrayLike,
    *,
    threads: int | None = None,
) -> FloatArray:
    r"""Measure how far each count draws the coefficients of its gene.

    .. math:: D_{ij} = \frac{(K_{ij} - \mu_{ij})^2}{\mu_{ij} + \alpha_i \mu_{ij}^2}
              \frac{h_{ij}}{p (1 - h_{ij})^2}

    with a dispersion :math:`\alpha_i` that one count cannot inflate: from trimmed variances within the rows
    of the design that three samples or more share (the largest of them), or of all samples if there is none.

    Parameters
    ----------
    count, mean, leverage : (genes, samples) array
        Counts as observed; fitted means and diagonal of the hat matrix of the fit. NaN for genes not fitted.
    size_factor : (samples,) array
    design : (samples, coefficients) array
    threads : int, optional
        All processors without it; the result is the same in every bit.

    Returns
    -------
    (genes, samples) array

    Raises
    ------
    ValueError
        If the shapes do not belong together.

    References
    ----------
    .. [1] Love MI, Huber W, Anders S (2014). Genome Biology 15:550, Methods, "Cook's distance for outlier
       detection".
    """
    counts = _checked_counts(count, design)
    means, leverages = np.asarray(mean, dtype=np.float64), np.asarray(leverage, dtype=np.float64)
    for name, array in (("mean", means), ("leverage", leverages)):
        if array.shape != counts.shape:
            raise ValueError(f"{name}: shape {array.shape}: must be that of count, {counts.shape}")
    factor = _checked_size_factor(size_factor, counts)
    coefficients = np.shape(design)[1]
    cells = _cells(design)
    distance = np.empty(counts.shape)

    def work(block: slice) -> None:
        with np.errstate(invalid="ignore", divide="ignore"):
            dispersion = _robust_dispersion(counts[block] / factor, cells)[:, None]
            expected = means[block]
            variance = expected + dispersion * expected**2
            pull = leverages[block] / (1 - leverages[block]) ** 2
            distance[block] = (counts[block] - expected) ** 2 / variance * pull / coefficients

    each_block(work, *counts.shape, threads=threads)
    return distance


def cooks_outliers(
    cooks: ArrayLike, count: ArrayLike, design: ArrayLike, *, is_replaced_sample: ArrayLike | None = None
) -> BoolArray:
    """Flag genes with a count beyond the .99 quantile of F(coefficients, residual df).

    Only samples whose row of the design occurs three times or more can flag a gene: in a paired design there
    are none. In a comparison of two groups a gene is not flagged if three counts or more exceed the suspect.

    Parameters
    ----------
    cooks, count : (genes, samples) array
        Distances of `cooks_distance`, and the counts as observed. NaN flags nothing.
    design : (samples, coefficients) array
    is_replaced_sample : (samples,) array of bool, optional
        Samples in which outlying counts have been replaced; they flag nothing any more.

    Returns
    -------
    (genes,) array of bool

    Raises
    ------
    ValueError
        If the shapes do not belong together.
    """
    counts = _checked_counts(count, design)
    distance = _checked_distance(cooks, counts)
    samples, coefficients = np.shape(design)
    may_flag = _replicates(design) >= _CELL_REPLICATES
    if is_replaced_sample is not None:
        may_flag &= ~np.asarray(is_replaced_sample, dtype=np.bool_)
    if samples <= coefficients or not may_flag.any():
        return np.zeros(len(counts), dtype=np.bool_)
    is_outlier: BoolArray = np.any(distance[:, may_flag] > _cutoff(samples, coefficients), axis=1)
    if _compares_two_groups(design):
        gene = np.flatnonzero(is_outlier)
        suspect = np.argmax(np.nan_to_num(distance[gene], nan=-np.inf), axis=1)
        exceeding = (counts[gene] > counts[gene, suspect][:, None]).sum(axis=1)
        is_outlier[gene[exceeding >= _EXCEEDED_BY]] = False
    return is_outlier


def replace_outliers(
    count: ArrayLike,
    size_factor: ArrayLike,
    cooks: ArrayLike,
    design: ArrayLike,
    *,
    min_replicates: int = 7,
) -> tuple[FloatArray, BoolArray]:
    """Replace outlying counts by what the trimmed mean of their gene predicts for the sample.

    Parameters
    ----------
    count, cooks : (genes, samples) array
    size_factor : (samples,) array
    design : (samples, coefficients) array
    min_replicates : int
        Counts are replaced in samples whose row of the design occurs so many times.

    Returns
    -------
    (genes, samples) array
        The counts, a copy, with the replacements: whole numbers.
    (genes,) array of bool
        Genes with a distance beyond the cutoff in any sample: those that DESeq2 fits once more.

    Raises
    ------
    ValueError
        If the shapes do not belong together, or fewer than three replicates are asked for.
    """
    if min_replicates < _CELL_REPLICATES:
        raise ValueError(f"min_replicates: {min_replicates}: must be {_CELL_REPLICATES} or more")
    counts = _checked_counts(count, design)
    distance = _checked_distance(cooks, counts)
    factor = _checked_size_factor(size_factor, counts)
    replaced = counts.copy()
    samples, coefficients = np.shape(design)
    is_replaceable = replaceable_samples(design, min_replicates=min_replicates)
    if samples <= coefficients or not is_replaceable.any():
        return replaced, np.zeros(len(counts), dtype=np.bool_)
    is_beyond = distance > _cutoff(samples, coefficients)
    gene, sample = np.nonzero(is_beyond & is_replaceable)
    changed, place = np.unique(gene, return_inverse=True)
    typical = _trimmed_mean(counts[changed] / factor, _REPLACEMENT_TRIM)
    replaced[gene, sample] = np.floor(typical[place] * factor[sample])
    return replaced, np.any(is_beyond, axis=1)


def replaceable_samples(design: ArrayLike, *, min_replicates: int = 7) -> BoolArray:
    """Tell which samples have a row of the design that occurs so many times."""
    return _replicates(design) >= min_replicates


def _cutoff(samples: int, coefficients: int) -> float:
    return float(f_distribution.ppf(_CUTOFF_LEVEL, coefficients, samples - coefficients))


def _replicates(design: ArrayLike) -> NDArray[np.intp]:
    """For each sample, the number of samples with its row of the design."""
    _, cell, size = np.unique(np.asarray(design), axis=0, return_inverse=True, return_counts=True)
    return np.asarray(size[cell.reshape(-1)])


def _cells(design: ArrayLike) -> list[NDArray[np.intp]]:
    """Return the samples of each row of the design that occurs often enough to estimate a variance."""
    _, cell, size = np.unique(np.asarray(design), axis=0, return_inverse=True, return_counts=True)
    return [np.flatnonzero(cell.reshape(-1) == index) for index in np.flatnonzero(size >= _CELL_REPLICATES)]


def _compares_two_groups(design: ArrayLike) -> bool:
    groups = 2
    return np.shape(design)[1] == groups and len(np.unique(np.asarray(design), axis=0)) == groups


def _robust_dispersion(normalised: FloatArray, cells: list[NDArray[np.intp]]) -> FloatArray:
    if cells:
        variance = np.max([_trimmed_variance(normalised[:, cell]) for cell in cells], axis=0)
    else:
        variance = _trimmed_variance(normalised, of_all=True)
    mean = normalised.mean(axis=1)
    dispersion: FloatArray = np.maximum((variance - mean) / mean**2, _SMALLEST_DISPERSION)
    return dispersion


def _trimmed_variance(values: FloatArray, *, of_all: bool = False) -> FloatArray:
    trim, scale = _TRIMMED_VARIANCE_OF_MANY
    if not of_all:
        for largest, cell_trim, cell_scale in reversed(_TRIMMED_VARIANCE):
            if values.shape[1] <= largest:
                trim, scale = cell_trim, cell_scale
    centre = _trimmed_mean(values, trim)
    return scale * _trimmed_mean((values - centre[:, None]) ** 2, trim)


def _trimmed_mean(values: FloatArray, trim: float) -> FloatArray:
    """Mean of each row without so large a share of its values at either end."""
    drop = int(values.shape[1] * trim)
    mean: FloatArray = np.sort(values, axis=1)[:, drop : values.shape[1] - drop].mean(axis=1)
    return mean


def _checked_counts(count: ArrayLike, design: ArrayLike) -> FloatArray:
    counts = np.asarray(count, dtype=np.float64)
    if counts.ndim != 2:  # noqa: PLR2004 -- genes and samples
        raise ValueError(f"count: shape {counts.shape}: must be (genes, samples)")
    shape = np.shape(design)
    if len(shape) != 2 or shape[0] != counts.shape[1]:  # noqa: PLR2004 -- samples and coefficients
        raise ValueError(
            f"design: shape {shape}: must be (samples, coefficients) of {counts.shape[1]} samples"
        )
    return counts


def _checked_distance(cooks: ArrayLike, counts: FloatArray) -> FloatArray:
    distance = np.asarray(cooks, dtype=np.float64)
    if distance.shape != counts.shape:
        raise ValueError(f"cooks: shape {distance.shape}: must be that of count, {counts.shape}")
    return distance


def _checked_size_factor(size_factor: ArrayLike, counts: FloatArray) -> FloatArray:
    factor = np.asarray(size_factor, dtype=np.float64)
    if factor.shape != counts.shape[1:] or not (factor > 0).all():
        raise ValueError(f"size_factor: shape {factor.shape}: must be {counts.shape[1]} positive values")
    return factor
