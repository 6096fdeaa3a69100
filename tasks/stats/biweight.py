"""Biweight midcorrelation: a correlation that a few odd values do not make or break."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tasks.stats.types import FloatArray

# Values further than this many median absolute deviations from the median have no weight.
_REACH = 9.0


def biweight_midcorrelation(value: FloatArray) -> FloatArray:
    """Return the biweight midcorrelation of each two columns, (n, m) array in and (m, m) out.

    A column whose median absolute deviation is zero is correlated as Pearson does; a constant one gives NaN.

    References
    ----------
    .. [1] Wilcox RR (2012). Introduction to Robust Estimation and Hypothesis Testing, 3rd ed., sec. 9.3.8.
    .. [2] Langfelder P, Horvath S (2012). Fast R functions for robust correlations and hierarchical
       clustering. J Stat Softw 46(11), eqs. 1-5.
    """
    if value.ndim != 2 or not np.isfinite(value).all():  # noqa: PLR2004
        raise ValueError("value: must be a finite table of two dimensions")
    centre = np.median(value, axis=0)
    deviation = value - centre
    spread = np.median(np.abs(deviation), axis=0)
    has_spread = spread > 0
    distance = deviation / (_REACH * np.where(has_spread, spread, 1))
    weight = np.where(np.abs(distance) < 1, (1 - distance**2) ** 2, 0.0)
    weighted = np.where(has_spread, deviation * weight, value - value.mean(axis=0))
    length = np.sqrt((weighted**2).sum(axis=0))
    unit = weighted / np.where(length > 0, length, np.nan)
    correlation: FloatArray = np.clip(unit.T @ unit, -1, 1)
    return correlation
