"""Trimmed mean of M-values: factors that make library sizes comparable between samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

from tasks.stats.limma.checks import checked_count, checked_library_size

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from tasks.stats.types import FloatArray

# Of the genes, by log ratio and by abundance, cut off at each end.
_TRIM_RATIO = 0.3
_TRIM_ABUNDANCE = 0.05
# Log ratios that small are those of one library with itself.
_SAME = 1e-6
_NO_UPPER_QUARTILE = 1e-20


def tmm_factors(count: ArrayLike, *, library_size: ArrayLike | None = None) -> FloatArray:
    """Return the factors that library sizes are to be multiplied by, of geometric mean one.

    Each sample is compared with the one whose upper quartile is nearest to the mean upper quartile: the
    weighted mean of the log ratios of counts per library, after the most extreme ratios and the most and the
    least abundant genes are cut off, weights being one over the asymptotic variance.

    Parameters
    ----------
    count : (genes, samples) array
    library_size : (samples,) array, optional
        The column sums when not given.

    Returns
    -------
    (samples,) array
        Multiply library sizes by it. Few genes that take much of one library make its factor small.

    Raises
    ------
    ValueError
        If a count is negative or not finite, or a library is empty.

    References
    ----------
    .. [1] Robinson MD, Oshlack A (2010). A scaling normalization method for differential expression analysis
       of RNA-seq data. Genome Biology 11:R25.
    """
    counts = checked_count(count)
    library = checked_library_size(library_size, counts)
    # A sample's counts side by side; genes that nobody expresses say nothing.
    by_sample = np.ascontiguousarray(counts[counts.any(axis=1)].T)
    reference = _reference(by_sample, library)
    factor = np.array(
        [
            _factor(sample, by_sample[reference], size, library[reference])
            for sample, size in zip(by_sample, library, strict=True)
        ]
    )
    scaled: FloatArray = factor / np.exp(np.log(factor).mean())
    return scaled


def _reference(by_sample: FloatArray, library: FloatArray) -> int:
    upper = np.quantile(by_sample, 0.75, axis=1) / library
    if np.median(upper) < _NO_UPPER_QUARTILE:
        return int(np.sqrt(by_sample).sum(axis=1).argmax())
    return int(np.abs(upper - upper.mean()).argmin())


def _factor(sample: FloatArray, reference: FloatArray, size: float, reference_size: float) -> float:
    both = (sample > 0) & (reference > 0)
    if not both.any():
        return 1.0
    here, there = sample[both], reference[both]
    ratio = np.log2((here / size) / (there / reference_size))
    if np.abs(ratio).max() < _SAME:
        return 1.0
    abundance = (np.log2(here / size) + np.log2(there / reference_size)) / 2
    kept = _is_inside(ratio, _TRIM_RATIO) & _is_inside(abundance, _TRIM_ABUNDANCE)
    precision = 1 / ((size - here) / size / here + (reference_size - there) / reference_size / there)
    total = float(precision[kept].sum())
    return float(2 ** ((ratio * precision)[kept].sum() / total)) if total else 1.0


def _is_inside(values: FloatArray, trim: float) -> NDArray[np.bool_]:
    rank = rankdata(values)
    lowest = int(len(values) * trim) + 1
    inside: NDArray[np.bool_] = (rank >= lowest) & (rank <= len(values) + 1 - lowest)
    return inside
