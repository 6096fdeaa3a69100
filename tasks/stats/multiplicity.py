"""Adjust p-values for the number of hypotheses of a family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from tasks.stats.types import FloatArray, checked_choice, checked_vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Adjustment: TypeAlias = Literal["bonferroni", "holm", "hochberg", "benjamini-hochberg", "fixed-sequence"]


def adjusted_p(p_values: ArrayLike, method: Adjustment) -> FloatArray:
    """Return each hypothesis's smallest family level at which the procedure rejects it.

    Parameters
    ----------
    p_values : (m,) array
        Unadjusted, in [0, 1]; no NaN.
    method : {"bonferroni", "holm", "hochberg", "benjamini-hochberg", "fixed-sequence"}
        The procedure; see the function of that name.

    Returns
    -------
    (m,) array
        In the order given; never below the unadjusted p-value.

    Raises
    ------
    ValueError
        If a p-value is NaN or outside [0, 1], or the method is unknown.
    """
    procedures = {
        "bonferroni": bonferroni,
        "holm": holm,
        "hochberg": hochberg,
        "benjamini-hochberg": benjamini_hochberg,
        "fixed-sequence": fixed_sequence,
    }
    checked_choice("method", method, tuple(procedures))
    return procedures[method](p_values)


def bonferroni(p_values: ArrayLike) -> FloatArray:
    """Adjust for any dependence, all hypotheses alike: m times each p-value.

    Parameters
    ----------
    p_values : (m,) array
        Unadjusted, in [0, 1].

    Returns
    -------
    (m,) array
        Keeps the chance of any false rejection.

    Raises
    ------
    ValueError
        If a p-value is NaN or outside [0, 1].

    References
    ----------
    .. [1] Dunn OJ (1961). Multiple comparisons among means. J Am Stat Assoc 56:52-64.
    """
    p = _checked_p(p_values)
    return np.minimum(p.size * p, 1.0)


def holm(p_values: ArrayLike) -> FloatArray:
    """Adjust for any dependence, stepping from the smallest p-value: at least as powerful as Bonferroni.

    Parameters
    ----------
    p_values : (m,) array
        Unadjusted, in [0, 1].

    Returns
    -------
    (m,) array
        Keeps the chance of any false rejection.

    Raises
    ------
    ValueError
        If a p-value is NaN or outside [0, 1].

    References
    ----------
    .. [1] Holm S (1979). A simple sequentially rejective multiple test procedure. Scand J Stat 6:65-70.
    """
    p = _checked_p(p_values)
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(np.arange(p.size, 0, -1) * p[order])
    return _in_given_order(np.minimum(raised, 1.0), order)


def hochberg(p_values: ArrayLike) -> FloatArray:
    """Adjust stepping from the largest p-value, for independent or positively dependent tests.

    Parameters
    ----------
    p_values : (m,) array
        Unadjusted, in [0, 1].

    Returns
    -------
    (m,) array
        Keeps the chance of any false rejection under that assumption; never above Holm's.

    Raises
    ------
    ValueError
        If a p-value is NaN or outside [0, 1].

    References
    ----------
    .. [1] Hochberg Y (1988). A sharper Bonferroni procedure for multiple tests of significance. Biometrika
       75:800-802.
    """
    p = _checked_p(p_values)
    return _step_up(p, np.arange(1.0, p.size + 1))


def benjamini_hochberg(p_values: ArrayLike) -> FloatArray:
    """Adjust to the expected share of false rejections, for independent or positively dependent tests.

    Parameters
    ----------
    p_values : (m,) array
        Unadjusted, in [0, 1].

    Returns
    -------
    (m,) array
        False discovery rates, not chances of any false rejection.

    Raises
    ------
    ValueError
        If a p-value is NaN or outside [0, 1].

    References
    ----------
    .. [1] Benjamini Y, Hochberg Y (1995). Controlling the false discovery rate. J R Stat Soc B 57:289-300.
    """
    p = _checked_p(p_values)
    return _step_up(p, p.size / np.arange(p.size, 0, -1))


def fixed_sequence(p_values: ArrayLike) -> FloatArray:
    """Adjust hypotheses tested in a declared order, each only if all before it were rejected.

    Parameters
    ----------
    p_values : (m,) array
        Unadjusted, in [0, 1], in the declared order.

    Returns
    -------
    (m,) array
        The largest p-value so far: keeps the chance of any false rejection without lowering the level.

    Raises
    ------
    ValueError
        If a p-value is NaN or outside [0, 1].

    References
    ----------
    .. [1] Maurer W, Hothorn LA, Lehmacher W (1995). Multiple comparisons in drug clinical trials and
       preclinical assays: a-priori ordered hypotheses. Biometrie in der chemisch-pharmazeutischen Industrie
       6:3-18.
    """
    return np.asarray(np.maximum.accumulate(_checked_p(p_values)), dtype=np.float64)


def _step_up(p: FloatArray, factors: FloatArray) -> FloatArray:
    """Multiply the p-values, the largest first, and let none exceed one larger than it."""
    order = np.argsort(-p, kind="stable")
    return _in_given_order(np.minimum.accumulate(np.minimum(factors * p[order], 1.0)), order)


def _in_given_order(adjusted: FloatArray, order: NDArray[np.intp]) -> FloatArray:
    result = np.empty_like(adjusted)
    result[order] = adjusted
    return result


def _checked_p(p_values: ArrayLike) -> FloatArray:
    p = checked_vector("p_values", p_values, at_least=0)
    outside = np.flatnonzero((p < 0) | (p > 1))
    if outside.size:
        raise ValueError(f"p_values: {p[outside[0]]:g} at position {outside[0]}: must lie between 0 and 1")
    return p
