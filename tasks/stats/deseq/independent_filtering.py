"""Leave out the genes that had no chance, chosen by their mean count, before p-values are adjusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.lowess import lowess
from tasks.stats.multiplicity import benjamini_hochberg
from tasks.stats.types import checked_level, checked_same_length, checked_vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tasks.stats.types import FloatArray

_CANDIDATES = 50
# Filtering goes up to this share of the genes; where more of them are zero, up to all.
_HIGHEST_SHARE = 0.95
_SPAN = 1 / 5
# With no more rejections than this the curve says nothing, and nothing is filtered beyond the zeros.
_FEW_REJECTIONS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class IndependentFiltering:
    """Adjusted p-values, and the curve of rejections over the share filtered from which it was chosen.

    Genes below `threshold`, the `quantile` of the filter statistic, are NaN in `p_adjusted`.
    """

    p_adjusted: FloatArray
    threshold: float
    quantile: float
    theta: FloatArray
    n_rejected: FloatArray


def independent_filtering(
    filter_statistic: ArrayLike, p_value: ArrayLike, *, alpha: float
) -> IndependentFiltering:
    """Adjust p-values by Benjamini and Hochberg over the genes above a threshold that costs no rejections.

    The threshold is the lowest of fifty quantiles whose number of rejections comes within one residual
    standard deviation of the peak of their smoothed curve. The rule is that of DESeq2's `results`.

    Parameters
    ----------
    filter_statistic : (genes,) array
        Independent of the p-value under its null hypothesis: the mean of the normalised counts.
    p_value : (genes,) array
        NaN where a gene was not tested; it stays NaN and does not count.
    alpha : float
        The false discovery rate at which rejections are counted: that at which results will be read.

    Returns
    -------
    IndependentFiltering

    Raises
    ------
    ValueError
        If the statistic is not finite, a p-value lies outside [0, 1], or alpha outside (0, 1).

    References
    ----------
    .. [1] Bourgon R, Gentleman R, Huber W (2010). PNAS 107:9546-9551.
    .. [2] Love MI, Huber W, Anders S (2014). Genome Biology 15:550, Methods, "Independent filtering".
    """
    statistic = checked_vector("filter_statistic", filter_statistic)
    p_values = np.asarray(p_value, dtype=np.float64)
    checked_same_length("p_value", p_values.size, "filter_statistic", statistic.size)
    checked_level(alpha)
    share_zero = float((statistic == 0).mean())
    theta = np.linspace(share_zero, _HIGHEST_SHARE if share_zero < _HIGHEST_SHARE else 1.0, _CANDIDATES)
    cutoffs = _quantiles(statistic, theta)
    tested = np.flatnonzero(~np.isnan(p_values))
    tested = tested[np.argsort(p_values[tested], kind="stable")]
    n_rejected = np.array(
        [_rejections(p_values[tested[statistic[tested] >= cutoff]], alpha) for cutoff in cutoffs]
    )
    chosen = _choice(theta, n_rejected)
    p_adjusted = np.full(statistic.size, np.nan)
    kept = tested[statistic[tested] >= cutoffs[chosen]]
    if kept.size:
        p_adjusted[kept] = benjamini_hochberg(p_values[kept])
    return IndependentFiltering(
        p_adjusted=p_adjusted,
        threshold=float(cutoffs[chosen]),
        quantile=float(theta[chosen]),
        theta=theta,
        n_rejected=n_rejected,
    )


def _rejections(ascending: FloatArray, alpha: float) -> float:
    """Count the adjusted p-values below alpha; one exactly at alpha is not rejected, as in R."""
    if not ascending.size:
        return 0.0
    return float((benjamini_hochberg(ascending) < alpha).sum())


def _choice(theta: FloatArray, n_rejected: FloatArray) -> int:
    if n_rejected.max() <= _FEW_REJECTIONS:
        return 0
    smooth = lowess(theta, n_rejected, span=_SPAN, interpolate_within=0.0)
    residual = (n_rejected - smooth)[n_rejected > 0]
    enough = n_rejected > smooth.max() - np.sqrt((residual**2).mean())
    return int(np.argmax(enough))


def _quantiles(values: FloatArray, probability: FloatArray) -> FloatArray:
    """Interpolate linearly; a quantile between equal values is that value to the last bit."""
    ordered = np.sort(values)
    position = (values.size - 1) * probability
    low = np.floor(position).astype(np.intp)
    below, above = ordered[low], ordered[np.ceil(position).astype(np.intp)]
    share = position - low
    return np.where(below == above, below, (1 - share) * below + share * above)
