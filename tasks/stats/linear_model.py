"""Ordinary least squares with factors and covariates: coefficients, type III tests, least-squares means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy import stats

from tasks.stats.linear_design import contrasts, independent_columns
from tasks.stats.linear_fit import Coefficient, LinearModel, fit_linear_model, t_test_of
from tasks.stats.types import (
    FloatArray,
    HypothesisTest,
    Interval,
    checked_choice,
    checked_level,
    positive_p,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

__all__ = [
    "Coefficient",
    "LeastSquaresDifference",
    "LeastSquaresMean",
    "LinearModel",
    "TermTest",
    "Weights",
    "fit_linear_model",
    "least_squares_differences",
    "least_squares_means",
    "linear_trend",
    "one_way_anova",
    "type_iii_tests",
]

Weights: TypeAlias = Literal["equal", "observed"]

# A linear combination is estimable when it is one of the rows' combinations to within rounding.
_ESTIMABLE_TOLERANCE = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class TermTest:
    """The F-test of all coefficients of a term at once."""

    term: str
    df: int
    df_denominator: int
    sum_of_squares: float
    f: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastSquaresMean:
    """The mean that the model gives a level at the mean of the covariates; `n` counts its observations."""

    level_name: str
    estimate: float
    standard_error: float
    df: int
    interval: Interval
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastSquaresDifference:
    """The least-squares mean of a level less that of the reference."""

    level_name: str
    reference: str
    estimate: float
    standard_error: float
    df: int
    t: float
    p_value: float
    interval: Interval


def type_iii_tests(model: LinearModel) -> tuple[TermTest, ...]:
    """Test H0 for each term: its effects, averaged over the levels of the other factors, are all zero.

    Parameters
    ----------
    model : LinearModel
        As fitted.

    Returns
    -------
    tuple of TermTest
        In the order of the model's terms; a term wholly determined by others (see `aliased`) has no row.
        `sum_of_squares` is what the residual sum of squares would grow by without the term.

    Raises
    ------
    ValueError
        If an interaction has empty cells: which hypothesis is then tested depends on the coding.

    Notes
    -----
    Effects are coded to add to zero over the levels of a factor, so that leaving out the columns of a main
    effect tests its unweighted average also where it takes part in an interaction; SAS calls these type III.
    A covariate in an interaction should be centred: its factor is compared where the covariate is zero.

    References
    ----------
    .. [1] Speed FM, Hocking RR, Hackney OP (1978). Methods of analysis of linear models with unbalanced
       data. J Am Stat Assoc 73:105-112.
    """
    design = model.design
    matrix = design.matrix("sum")
    of_term = design.column_terms()
    for name, term in zip(design.column_names(), of_term.tolist(), strict=True):
        if name in model.aliased and term >= 0 and len(design.terms[term]) > 1:
            raise ValueError(f"interactions: {name} is aliased: type III tests need every cell observed")
    whole_ss, whole_rank = _residual(matrix, model.response)
    variance = whole_ss / (model.n - whole_rank)
    tests = []
    for position, term_name in enumerate(model.terms):
        reduced_ss, reduced_rank = _residual(matrix[:, of_term != position], model.response)
        df = whole_rank - reduced_rank
        if df == 0:
            continue
        grown = reduced_ss - whole_ss
        f = max(grown, 0.0) / df / variance
        tests.append(
            TermTest(
                term=term_name,
                df=df,
                df_denominator=model.residual_df,
                sum_of_squares=grown,
                f=f,
                p_value=positive_p(float(stats.f.sf(f, df, model.residual_df))),
            )
        )
    return tuple(tests)


def _residual(matrix: FloatArray, values: FloatArray) -> tuple[float, int]:
    kept = matrix[:, independent_columns(matrix)]
    q, _ = np.linalg.qr(kept)
    rest = values - q @ (q.T @ values)
    return float(np.square(rest).sum()), kept.shape[1]


def least_squares_means(
    model: LinearModel, factor: str, *, weights: Weights = "equal", level: float = 0.95
) -> tuple[LeastSquaresMean, ...]:
    """Estimate the mean response at each level of a factor with everything else the same for all levels.

    Parameters
    ----------
    model : LinearModel
        As fitted.
    factor : str
        Name of a factor of the model.
    weights : {"equal", "observed"}
        Levels of the other factors count alike, or as often as their combinations were observed.
    level : float
        Level of the t intervals.

    Returns
    -------
    tuple of LeastSquaresMean
        In the order of the levels; covariates are held at their mean.

    Raises
    ------
    ValueError
        If the model has no such factor, or a mean is not estimable because a cell of an interaction is empty.

    References
    ----------
    .. [1] Searle SR, Speed FM, Milliken GA (1980). Population marginal means in the linear model: an
       alternative to least squares means. Am Stat 34:216-221.
    """
    nominal = checked_level(level)
    variable = model.design.factor(factor)
    means = []
    for code, row in enumerate(_margin_rows(model, factor, weights)):
        estimate, standard_error = _combination(model, row, f"{factor} {variable.levels[code]}")
        means.append(
            LeastSquaresMean(
                level_name=variable.levels[code],
                estimate=estimate,
                standard_error=standard_error,
                df=model.residual_df,
                interval=t_test_of(estimate, standard_error, model.residual_df, nominal)[2],
                n=int((variable.codes == code).sum()),
            )
        )
    return tuple(means)


def least_squares_differences(
    model: LinearModel,
    factor: str,
    *,
    weights: Weights = "equal",
    level: float = 0.95,
    reference: str | None = None,
) -> tuple[LeastSquaresDifference, ...]:
    """Estimate differences between the least-squares means of a factor, unadjusted for their number.

    Parameters
    ----------
    model, factor, weights, level
        As in `least_squares_means`.
    reference : str or None
        Every other level minus this one; None: of every pair the later level minus the earlier.

    Returns
    -------
    tuple of LeastSquaresDifference
        Positive when the response is higher at `level_name` than at `reference`.

    Raises
    ------
    ValueError
        As in `least_squares_means`, or if the reference is no level of the factor.
    """
    nominal = checked_level(level)
    levels = model.design.factor(factor).levels
    rows = _margin_rows(model, factor, weights)
    if reference is None:
        pairs = [(i, j) for j in range(len(levels)) for i in range(j + 1, len(levels))]
    else:
        checked_choice("reference", reference, levels)
        pairs = [(i, levels.index(reference)) for i in range(len(levels)) if levels[i] != reference]
    differences = []
    for i, j in pairs:
        name = f"{factor} {levels[i]} - {levels[j]}"
        estimate, standard_error = _combination(model, rows[i] - rows[j], name)
        t, p_value, interval = t_test_of(estimate, standard_error, model.residual_df, nominal)
        differences.append(
            LeastSquaresDifference(
                level_name=levels[i],
                reference=levels[j],
                estimate=estimate,
                standard_error=standard_error,
                df=model.residual_df,
                t=t,
                p_value=p_value,
                interval=interval,
            )
        )
    return tuple(differences)


def _margin_rows(model: LinearModel, factor: str, weights: Weights) -> FloatArray:
    """Return for each level the row of the design that stands for its margin."""
    checked_choice("weights", weights, ("equal", "observed"))
    design = model.design
    target = design.factor(factor)
    rows = []
    for code in range(len(target.levels)):
        blocks = {}
        for variable in design.variables:
            columns = variable.columns("treatment")
            if variable.name == factor:
                columns = np.tile(contrasts(len(target.levels), "treatment")[code], (design.n, 1))
            elif not variable.is_factor:
                columns = np.full_like(columns, columns.mean())
            elif weights == "equal":
                columns = np.full_like(columns, 1 / len(variable.levels))
            blocks[variable.name] = columns
        rows.append(design.rows(blocks, design.n).mean(axis=0))
    return np.array(rows)


def _combination(model: LinearModel, row: FloatArray, name: str) -> tuple[float, float]:
    matrix = model.design.matrix()
    through_kept = np.linalg.lstsq(matrix[:, model.kept], matrix, rcond=None)[0]
    if np.abs(row - row[model.kept] @ through_kept).max() > _ESTIMABLE_TOLERANCE * max(1, np.abs(row).max()):
        raise ValueError(f"{name}: not estimable: the model's aliased columns are {', '.join(model.aliased)}")
    kept = row[model.kept]
    variance = float(kept @ model.unscaled_covariance @ kept)
    return float(kept @ model.beta), model.residual_sd * float(np.sqrt(variance))


def one_way_anova(
    response: ArrayLike, group: Sequence[str], *, levels: Sequence[str] | None = None
) -> HypothesisTest:
    """Test H0: all groups have the same mean, assuming normal values of one variance.

    Parameters
    ----------
    response : (n,) array
        One value per subject; no NaN.
    group : sequence of n labels
        Two groups or more.
    levels : sequence of labels
        The labels allowed.

    Returns
    -------
    HypothesisTest
        `statistic` is F on `df` and `df_denominator` degrees of freedom.

    Raises
    ------
    ValueError
        If there are fewer than two groups, or as for `fit_linear_model`.

    References
    ----------
    .. [1] Scheffe H (1959). The Analysis of Variance, sec. 3.1.
    """
    order = None if levels is None else {"group": levels}
    model = fit_linear_model(response, factors={"group": group}, levels=order)
    tests = type_iii_tests(model)
    if not tests:
        raise ValueError(f"group: {group[0]!r} throughout: at least two groups needed")
    return HypothesisTest(
        method="One-way analysis of variance",
        alternative="two-sided",
        statistic=tests[0].f,
        p_value=tests[0].p_value,
        df=tests[0].df,
        df_denominator=tests[0].df_denominator,
        is_exact=False,
        has_continuity_correction=None,
        n=model.n,
    )


def linear_trend(
    response: ArrayLike,
    dose: ArrayLike,
    *,
    factors: Mapping[str, Sequence[str]] | None = None,
    covariates: Mapping[str, ArrayLike] | None = None,
    level: float = 0.95,
) -> Coefficient:
    """Estimate the change in response per unit of dose, dose taken as a number, given other variables.

    Parameters
    ----------
    response, dose : (n,) arrays
        Response and dose of each subject; no NaN.
    factors, covariates
        What else the response depends on, as in `fit_linear_model`.
    level : float
        Level of the interval.

    Returns
    -------
    Coefficient
        Positive when the response rises with the dose.

    Raises
    ------
    ValueError
        If the dose does not vary or others determine it, or as for `fit_linear_model`.
    """
    model = fit_linear_model(
        response, factors=factors, covariates={**(covariates or {}), "dose": dose}, level=level
    )
    for coefficient in model.coefficients:
        if coefficient.name == "dose":
            return coefficient
    raise ValueError("dose: does not vary, or other variables determine it: no trend can be estimated")
