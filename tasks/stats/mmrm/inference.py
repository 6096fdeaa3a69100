"""Degrees of freedom of contrasts: Satterthwaite and Kenward-Roger, for one contrast and for several at once.

Everything is in coordinates of the coefficients in which their covariance Phi is the identity: a contrast is
a vector there, its variance the sum of squares, and P_h = -(d Phi^-1 / d theta_h) is given as (k, p, p).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from tasks.stats.types import FloatArray, Interval, checked_level

# Degrees of freedom that differ by less are one number (as in the R packages lmerTest and mmrm).
SAME_DF = 1.5e-8
# An F with so few denominator df has no expectation.
LEAST_DF = 2.0
# Rows of a hypothesis of which less than this is left beside the others say nothing new.
REDUNDANT = 1e-8


class NotEstimableError(ValueError):
    """A combination of coefficients that the data do not determine, or not its standard error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A linear combination of coefficients, tested against zero (two-sided)."""

    estimate: float
    standard_error: float
    df: float
    t: float
    p_value: float
    df_method: str

    def interval(self, level: float = 0.95) -> Interval:
        """Return the t interval."""
        half = float(special.stdtrit(self.df, (1 + checked_level(level)) / 2)) * self.standard_error
        return Interval(
            low=self.estimate - half,
            high=self.estimate + half,
            level=level,
            achieved_level=None,
            method=f"t, {self.df_method} degrees of freedom",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FTest:
    """Test H0: every one of several linear combinations is zero.

    `numerator_df` is their rank. `scale` is the factor lambda of Kenward and Roger that `f` already contains;
    1 for Satterthwaite.
    """

    f: float
    numerator_df: int
    denominator_df: float
    p_value: float
    scale: float
    df_method: str


def t_test(estimate: float, variance: float, df: float, df_method: str) -> Contrast:
    standard_error = float(np.sqrt(variance))
    t = estimate / standard_error
    return Contrast(
        estimate=estimate,
        standard_error=standard_error,
        df=df,
        t=t,
        p_value=float(min(1.0, 2 * special.stdtr(df, -abs(t)))),
        df_method=df_method,
    )


def f_test(f: float, numerator_df: int, denominator_df: float, scale: float, df_method: str) -> FTest:
    return FTest(
        f=f,
        numerator_df=numerator_df,
        denominator_df=denominator_df,
        p_value=float(special.fdtrc(numerator_df, denominator_df, f)),
        scale=scale,
        df_method=df_method,
    )


def one_df(contrast: FloatArray, information_by: FloatArray, theta_vcov: FloatArray) -> float:
    """Return Satterthwaite's 2 v^2 / var(v) of the variance v of one contrast.

    Kenward and Roger's for one contrast is the same number.
    """
    slope = np.einsum("a,hab,b->h", contrast, information_by, contrast, optimize=True)
    return float(2 * (contrast @ contrast) ** 2 / (slope @ theta_vcov @ slope))


def satterthwaite_df(orthonormal: FloatArray, information_by: FloatArray, theta_vcov: FloatArray) -> float:
    """Return the denominator df for (q, p) uncorrelated contrasts, by matching the expectation of F.

    An F with df v2 has expectation v2 / (v2 - 2); the sum of the squared t over q has the mean of the q
    values.
    """
    dfs = np.array([one_df(row, information_by, theta_vcov) for row in orthonormal])
    if np.ptp(dfs) < SAME_DF:
        return float(dfs.mean())
    if dfs.min() <= LEAST_DF:
        return LEAST_DF
    expected = float((dfs / (dfs - 2)).sum())
    return 2 * expected / (expected - dfs.size)


def kenward_roger_df(
    orthonormal: FloatArray, information_by: FloatArray, theta_vcov: FloatArray
) -> tuple[float, float]:
    """Return the denominator df and the scale of the F statistic for q contrasts.

    `orthonormal` (q, p) has the contrasts' row space. Kenward and Roger (1997), section 3.
    """
    q = orthonormal.shape[0]
    by = orthonormal @ information_by @ orthonormal.T
    traces = np.trace(by, axis1=1, axis2=2)
    a1 = float(traces @ theta_vcov @ traces)
    # tr(P_i P_j) of symmetric matrices is the sum of products of their elements.
    flat = by.reshape(by.shape[0], -1)
    a2 = float((theta_vcov * (flat @ flat.T)).sum())
    b = (a1 + 6 * a2) / (2 * q)
    g = ((q + 1) * a1 - (q + 4) * a2) / ((q + 2) * a2)
    below = 3 * q + 2 * (1 - g)
    c1, c2, c3 = g / below, (q - g) / below, (q + 2 - g) / below
    expected = 1 / (1 - a2 / q)
    variance = 2 / q * (1 + c1 * b) / ((1 - c2 * b) ** 2 * (1 - c3 * b))
    ratio = variance / (2 * expected**2)
    df = 4 + (q + 2) / (q * ratio - 1)
    return df, df / (expected * (df - 2))


def row_space(contrasts: FloatArray) -> FloatArray:
    """Return an orthonormal basis (rank, p) of what several contrasts span."""
    _, size, basis = np.linalg.svd(contrasts, full_matrices=False)
    return np.asarray(basis[size > REDUNDANT * size.max(initial=0.0)], dtype=np.float64)
