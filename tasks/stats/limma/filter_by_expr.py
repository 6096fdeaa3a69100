"""Which genes are counted often enough, in enough samples, to be tested: edgeR's filter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.limma.checks import checked_count, checked_design, checked_library_size
from tasks.stats.types import checked_same_length

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from tasks.stats.types import FloatArray

_MILLION = 1e6
# edgeR's allowance for rounding in the size of the smallest group.
_ROUNDING = 1e-14


def filter_by_expr(
    count: ArrayLike,
    *,
    design: ArrayLike | None = None,
    group: ArrayLike | None = None,
    library_size: ArrayLike | None = None,
    min_count: float = 10,
    min_total_count: float = 15,
    large_n: float = 10,
    min_proportion: float = 0.7,
) -> NDArray[np.bool_]:
    """Return which genes reach `min_count` in a library of median size in as many samples as one group has.

    Parameters
    ----------
    count : (genes, samples) array
    design : (samples, coefficients) array, optional
        The smallest group then has one over the largest leverage samples.
    group : (samples,) array, optional
        Takes the place of the design. Without either, all samples are one group.
    library_size : (samples,) array, optional
        The column sums when not given.
    min_count : float
        Asked of a library of median size; others in proportion.
    min_total_count : float
        Over all samples.
    large_n, min_proportion : float
        Of the samples of the smallest group beyond `large_n`, only this part is asked for.

    Returns
    -------
    (genes,) array of bool

    Raises
    ------
    ValueError
        If a count is negative or not finite, a library is empty, or both design and group are given.

    References
    ----------
    .. [1] Chen Y, Lun ATL, Smyth GK (2016). F1000Research 5:1438, "Filtering to remove low counts".
    """
    counts = checked_count(count)
    samples = counts.shape[1]
    library = checked_library_size(library_size, counts)
    enough = _smallest_group(samples, design, group)
    if enough > large_n:
        enough = large_n + (enough - large_n) * min_proportion
    cutoff = min_count / float(np.median(library)) * _MILLION
    # In edgeR's order of operations, so that a count right at the cutoff falls to the same side.
    is_above = counts / (library / _MILLION) >= cutoff
    is_kept: NDArray[np.bool_] = is_above.sum(axis=1) >= enough - _ROUNDING
    is_kept &= counts.sum(axis=1) >= min_total_count - _ROUNDING
    return is_kept


def _smallest_group(samples: int, design: ArrayLike | None, group: ArrayLike | None) -> float:
    if group is not None:
        if design is not None:
            raise ValueError("group: given beside a design: only one of the two may be given")
        codes = np.asarray(group)
        checked_same_length("group", len(codes), "samples", samples)
        return float(np.unique(codes, return_counts=True)[1].min())
    if design is None:
        return float(samples)
    columns = checked_design(design, samples)
    return 1 / float(_leverage(np.column_stack([np.ones(samples), columns])).max())


def _leverage(columns: FloatArray) -> FloatArray:
    left, singular, _ = np.linalg.svd(columns, full_matrices=False)
    within: FloatArray = left[:, singular > singular[0] * 1e-7]
    leverage: FloatArray = np.square(within).sum(axis=1)
    return leverage
