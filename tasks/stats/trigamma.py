"""The inverse of the trigamma function: degrees of freedom from the variance of a log variance."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.special import polygamma

if TYPE_CHECKING:
    from tasks.stats.types import FloatArray

_NEWTON_STEPS = 50


def inverse_trigamma(value: FloatArray) -> FloatArray:
    """Return x > 0 with trigamma(x) equal to the value, by Newton's method on the convex 1 / trigamma [1]_.

    References
    ----------
    .. [1] Smyth GK (2004). Stat Appl Genet Mol Biol 3(1):3, appendix.
    """
    inverse = _tabulated_inverse()
    log_value = np.log(value)
    is_tabulated = (log_value > inverse.x[0]) & (log_value < inverse.x[-1])
    # From the table Newton has nothing left to do; from where it may always start, it takes nine rounds.
    x = np.where(is_tabulated, np.exp(inverse(np.where(is_tabulated, log_value, 0.0))), 0.5 + 1 / value)
    for _ in range(_NEWTON_STEPS):
        trigamma = polygamma(1, x)
        step = trigamma * (1 - trigamma / value) / polygamma(2, x)
        x = x + step
        if (np.abs(step) <= 1e-9 * x).all():
            break
    return np.asarray(x, dtype=np.float64)


@cache
def _tabulated_inverse() -> CubicSpline:
    """Interpolate log x by log trigamma(x)."""
    x = np.geomspace(1e-4, 1e7, 3000)[::-1]
    return CubicSpline(np.log(polygamma(1, x)), np.log(x))
