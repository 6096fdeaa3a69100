"""Combine the estimates of several imputed data sets by Rubin's rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from tasks.stats.types import Interval, checked_level, checked_same_length, checked_vector, positive_p

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """A combined estimate with the share of its variance that is owed to what is missing.

    `df` is infinite when the imputations agree and the complete data are taken as unlimited.
    """

    estimate: float
    standard_error: float
    df: float
    t: float
    p_value: float
    interval: Interval
    within_variance: float
    between_variance: float
    relative_increase: float
    fraction_missing_information: float
    n_imputations: int


def pool_rubin(
    estimates: ArrayLike, variances: ArrayLike, *, complete_df: float | None = None, level: float = 0.95
) -> Pooled:
    """Estimate a quantity from the estimates of m completed data sets, and test that it is zero.

    Parameters
    ----------
    estimates, variances : (m,) arrays
        Estimate and squared standard error of each completed data set; m of 2 or more.
    complete_df : float or None
        Degrees of freedom had nothing been missing; None: unlimited, Rubin's own rule, which in small trials
        can give more degrees of freedom than there are subjects.
    level : float
        Level of the t interval.

    Returns
    -------
    Pooled
        `df` after Barnard and Rubin, never above `complete_df`.

    Raises
    ------
    ValueError
        If fewer than two estimates are given, lengths differ, a variance is negative or all are zero, or
        `complete_df` is not above zero.

    Notes
    -----
    T = U + (1 + 1/m) B with U the mean of the variances and B the variance of the estimates; the share of
    missing information is (r + 2 / (df + 3)) / (r + 1), r = (1 + 1/m) B / U.

    References
    ----------
    .. [1] Rubin DB (1987). Multiple Imputation for Nonresponse in Surveys, sec. 3.1.
    .. [2] Barnard J, Rubin DB (1999). Small-sample degrees of freedom with multiple imputation. Biometrika
       86:948-955.
    """
    nominal = checked_level(level)
    values = checked_vector("estimates", estimates, at_least=2)
    squares = checked_vector("variances", variances)
    checked_same_length("variances", squares.size, "estimates", values.size)
    if squares.min() < 0 or squares.max() == 0:
        raise ValueError(f"variances: {squares.min():g} among them: none may be negative, nor all zero")
    if complete_df is not None and not complete_df > 0:
        raise ValueError(f"complete_df: {complete_df}: must be above zero")
    m = values.size
    within, between = float(squares.mean()), float(values.var(ddof=1))
    extra = (1 + 1 / m) * between
    total = within + extra
    df = _degrees_of_freedom(m, extra / total, complete_df)
    estimate, error = float(values.mean()), float(np.sqrt(total))
    t = estimate / error
    half_width = float(stats.t.isf((1 - nominal) / 2, df)) * error
    increase = extra / within
    return Pooled(
        estimate=estimate,
        standard_error=error,
        df=df,
        t=t,
        p_value=positive_p(2 * float(stats.t.sf(abs(t), df))),
        interval=Interval(
            low=estimate - half_width,
            high=estimate + half_width,
            level=nominal,
            achieved_level=None,
            method="Student t, Barnard-Rubin" if complete_df is not None else "Student t, Rubin",
        ),
        within_variance=within,
        between_variance=between,
        relative_increase=increase,
        fraction_missing_information=(increase + 2 / (df + 3)) / (increase + 1),
        n_imputations=m,
    )


def _degrees_of_freedom(m: int, missing_share: float, complete_df: float | None) -> float:
    of_imputations = (m - 1) / missing_share**2 if missing_share > 0 else np.inf
    if complete_df is None or np.isinf(complete_df):
        return float(of_imputations)
    observed = (complete_df + 1) / (complete_df + 3) * complete_df * (1 - missing_share)
    return float(1 / (1 / of_imputations + 1 / observed))
