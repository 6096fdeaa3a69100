"""Size factors: how deeply each library was sequenced, by the median ratio to a typical sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from tasks.stats.types import checked_choice

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tasks.stats.types import FloatArray

_KINDS = ("ratio", "poscounts")


def median_of_ratios(count: ArrayLike, *, kind: Literal["ratio", "poscounts"] = "ratio") -> FloatArray:
    """Estimate the size factor of each library as its median ratio to the genes' geometric means.

    Parameters
    ----------
    count : (genes, samples) array
    kind : {"ratio", "poscounts"}
        Which geometric mean: of genes without a zero in any sample, or, where zeros are everywhere, of every
        gene with its zeros counting as ones in the mean and not at all in the median.

    Returns
    -------
    (samples,) array
        Positive; a count divided by it is comparable between samples.

    Raises
    ------
    ValueError
        If every gene has a zero in some sample ("ratio"), or a sample has no count at all.

    References
    ----------
    .. [1] Anders S, Huber W (2010). Genome Biology 11:R106, equation 5.
    """
    checked_choice("kind", kind, _KINDS)
    values = np.asarray(count, dtype=np.float64)
    is_empty = ~values.any(axis=0)
    if is_empty.any():
        raise ValueError(
            f"count: no count at all in sample(s) {', '.join(map(str, np.flatnonzero(is_empty)))} (from 0): a"
            f" library without reads has no size factor"
        )
    if kind == "ratio":
        usable = values[(values > 0).all(axis=1)]
        if not len(usable):
            raise ValueError(
                'count: every gene has a zero in some sample: kind "ratio" has no gene to compare by;'
                ' "poscounts" allows zeros'
            )
        log_count = np.log(usable)
        factor: FloatArray = np.exp(np.median(log_count - log_count.mean(axis=1, keepdims=True), axis=0))
        return factor
    with np.errstate(divide="ignore"):
        log_count = np.log(values[values.any(axis=1)])
    is_zero = np.isneginf(log_count)
    centre = np.where(is_zero, 0.0, log_count).mean(axis=1, keepdims=True)
    ratio = np.where(is_zero, np.nan, log_count - centre)
    positive: FloatArray = np.exp(np.nanmedian(ratio, axis=0))
    return positive
