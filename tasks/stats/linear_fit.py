"""Fit ordinary least squares with factors and covariates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg, stats

from tasks.stats.linear_design import Design, build_design, independent_columns
from tasks.stats.types import RESOLUTION, FloatArray, Interval, checked_level, checked_vector, positive_p

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficient:
    """A regression coefficient with its t-test against zero."""

    name: str
    estimate: float
    standard_error: float
    df: int
    t: float
    p_value: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearModel:
    """A fitted model; `aliased` names the columns that others determine and that have no coefficient."""

    terms: tuple[str, ...]
    coefficients: tuple[Coefficient, ...]
    aliased: tuple[str, ...]
    n: int
    residual_df: int
    residual_sd: float
    r_squared: float
    level: float
    design: Design = field(repr=False)
    response: FloatArray = field(repr=False)
    kept: NDArray[np.bool_] = field(repr=False)
    beta: FloatArray = field(repr=False)
    unscaled_covariance: FloatArray = field(repr=False)


def fit_linear_model(
    response: ArrayLike,
    *,
    factors: Mapping[str, Sequence[str]] | None = None,
    covariates: Mapping[str, ArrayLike] | None = None,
    interactions: Sequence[tuple[str, ...]] = (),
    levels: Mapping[str, Sequence[str]] | None = None,
    level: float = 0.95,
) -> LinearModel:
    """Estimate the mean of a response as a linear function of factors and covariates by least squares.

    Parameters
    ----------
    response : (n,) array
        One value per subject; no NaN.
    factors : mapping of name to n labels
        Each level but the first has a column that compares it with the first.
    covariates : mapping of name to (n,) array
        Numbers, one column each.
    interactions : sequence of tuples of names
        Products of variables, added to the main effects of all.
    levels : mapping of factor to labels
        Order of the levels, the reference first; sorted where not given.
    level : float
        Level of the intervals of the coefficients.

    Returns
    -------
    LinearModel
        `coefficients` holds the estimable columns in order; `aliased` the names of the rest, and of factors
        with a single level.

    Raises
    ------
    ValueError
        If lengths differ, a value is NaN, no residual degree of freedom is left, or the fit leaves no
        residual variance to test against.

    Notes
    -----
    A column that is a linear combination of those before it is left out, as in R's `lm`.

    References
    ----------
    .. [1] Searle SR (1971). Linear Models, ch. 5 and sec. 8.2.
    """
    values = checked_vector("response", response, at_least=2)
    nominal = checked_level(level)
    design = build_design(
        values.size, factors=factors, covariates=covariates, interactions=interactions, levels=levels
    )
    matrix = design.matrix()
    kept = independent_columns(matrix)
    df = values.size - int(kept.sum())
    if df < 1:
        raise ValueError(f"response: {values.size} values for {kept.sum()} coefficients: more values needed")
    q, r = np.linalg.qr(matrix[:, kept])
    beta = linalg.solve_triangular(r, q.T @ values)
    inverse = linalg.solve_triangular(r, np.eye(r.shape[0]))
    unscaled = inverse @ inverse.T
    residual_ss = float(np.square(values - matrix[:, kept] @ beta).sum())
    if residual_ss <= values.size * (RESOLUTION * float(np.abs(values).max())) ** 2:
        raise ValueError("response: the model fits every value exactly: tests need values that vary about it")
    residual_sd = float(np.sqrt(residual_ss / df))
    names = design.column_names()
    return LinearModel(
        terms=tuple(":".join(term) for term in design.terms),
        coefficients=tuple(
            _coefficient(name, estimate, residual_sd * float(np.sqrt(v)), df, nominal)
            for name, estimate, v in zip(
                (name for name, keep in zip(names, kept, strict=True) if keep),
                beta.tolist(),
                np.diag(unscaled).tolist(),
                strict=True,
            )
        ),
        aliased=(
            *(v.name for v in design.variables if len(v.levels) == 1),
            *(name for name, keep in zip(names, kept, strict=True) if not keep),
        ),
        n=values.size,
        residual_df=df,
        residual_sd=residual_sd,
        r_squared=_explained(values, residual_ss),
        level=nominal,
        design=design,
        response=values,
        kept=kept,
        beta=beta,
        unscaled_covariance=unscaled,
    )


def _explained(values: FloatArray, residual_ss: float) -> float:
    total = float(np.square(values - values.mean()).sum())
    return 1 - residual_ss / total if total > 0 else 0.0


def _coefficient(name: str, estimate: float, standard_error: float, df: int, level: float) -> Coefficient:
    t, p_value, interval = t_test_of(estimate, standard_error, df, level)
    return Coefficient(
        name=name,
        estimate=estimate,
        standard_error=standard_error,
        df=df,
        t=t,
        p_value=p_value,
        interval=interval,
    )


def t_test_of(estimate: float, standard_error: float, df: int, level: float) -> tuple[float, float, Interval]:
    """Return t, its two-sided p-value and the interval of an estimate."""
    t = estimate / standard_error
    half_width = float(stats.t.isf((1 - level) / 2, df)) * standard_error
    interval = Interval(
        low=estimate - half_width,
        high=estimate + half_width,
        level=level,
        achieved_level=None,
        method="Student t",
    )
    return t, positive_p(2 * float(stats.t.sf(abs(t), df))), interval
