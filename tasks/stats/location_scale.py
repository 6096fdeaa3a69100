"""Centre and spread that a few odd values do not move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tasks.stats.types import FloatArray

# Makes the median absolute deviation of a normal sample estimate its standard deviation.
NORMAL_CONSISTENT = 1.4826


def median_and_mad(values: FloatArray) -> tuple[float, float]:
    """Return the median and the median absolute deviation, scaled as a standard deviation; (n,) array."""
    centre = float(np.median(values))
    return centre, NORMAL_CONSISTENT * float(np.median(np.abs(values - centre)))


def mad_scores(values: FloatArray) -> FloatArray:
    """Return how many scaled MADs each value lies above the median; NaN where the spread is zero.

    NaN values stay NaN and take no part.
    """
    scores = np.full(values.shape, np.nan)
    known = np.isfinite(values)
    if not known.any():
        return scores
    centre, spread = median_and_mad(values[known])
    if spread > 0:
        scores[known] = (values[known] - centre) / spread
    return scores
