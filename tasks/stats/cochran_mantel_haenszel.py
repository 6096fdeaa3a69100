"""Association between rows and columns within strata: Cochran-Mantel-Haenszel and its relatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy import stats

from tasks.stats.types import (
    Estimate,
    FloatArray,
    HypothesisTest,
    Interval,
    checked_choice,
    checked_counts,
    checked_level,
    checked_same_length,
    checked_vector,
    positive_p,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

ScoreKind: TypeAlias = Literal["table", "rank", "ridit", "modridit"]
SCORE_KINDS = ("table", "rank", "ridit", "modridit")


@dataclass(frozen=True, slots=True, kw_only=True)
class StratifiedTest(HypothesisTest):
    """A test over strata; those with one row or one column in use say nothing and are not among the used."""

    n_strata: int
    n_strata_used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MantelHaenszel:
    """The test of 2 x 2 strata with the odds ratio they share; its standard error is of the log."""

    test: StratifiedTest
    odds_ratio: Estimate


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StratifiedTables:
    """Counts by stratum, row and column with the labels of each axis."""

    tables: NDArray[np.int64]
    row_levels: tuple[str, ...]
    column_levels: tuple[str, ...]
    stratum_levels: tuple[str, ...]


def stratified_tables(
    row: Sequence[str],
    column: Sequence[str],
    stratum: Sequence[str] | None = None,
    *,
    row_levels: Sequence[str] | None = None,
    column_levels: Sequence[str] | None = None,
) -> StratifiedTables:
    """Count subjects by stratum, row and column; levels in the order given, else sorted."""
    strata = stratum if stratum is not None else ["all"] * len(row)
    checked_same_length("column", len(column), "row", len(row))
    checked_same_length("stratum", len(strata), "row", len(row))
    orders = [_order("stratum", strata, None), _order("row", row, row_levels)]
    orders.append(_order("column", column, column_levels))
    positions = [{level: i for i, level in enumerate(order)} for order in orders]
    tables = np.zeros(tuple(len(order) for order in orders), dtype=np.int64)
    for cell in zip(strata, row, column, strict=True):
        tables[tuple(position[value] for position, value in zip(positions, cell, strict=True))] += 1
    return StratifiedTables(
        tables=tables, row_levels=orders[1], column_levels=orders[2], stratum_levels=orders[0]
    )


def _order(name: str, values: Sequence[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
    seen = set(values)
    if wanted is not None and (unknown := seen - set(wanted)):
        raise ValueError(f"{name}: {min(unknown)!r}: must be one of {', '.join(wanted)}")
    return tuple(sorted(seen) if wanted is None else wanted)


def mantel_haenszel(tables: ArrayLike, *, continuity: bool = False, level: float = 0.95) -> MantelHaenszel:
    """Test H0: the odds ratio is one in every 2 x 2 stratum, and estimate the odds ratio they share.

    Parameters
    ----------
    tables : (k, 2, 2) array
        Counts by stratum.
    continuity : bool
        Move the summed deviation half a subject towards zero.
    level : float
        Level of the interval of the odds ratio.

    Returns
    -------
    MantelHaenszel
        The odds ratio is above one when the first row leans to the first column; its interval is None when
        it is zero or infinite.

    Raises
    ------
    ValueError
        If strata are not 2 x 2 or none has two rows and two columns in use.

    References
    ----------
    .. [1] Mantel N, Haenszel W (1959). Statistical aspects of the analysis of data from retrospective studies
       of disease. J Natl Cancer Inst 22:719-748.
    .. [2] Robins J, Breslow N, Greenland S (1986). Estimators of the Mantel-Haenszel variance consistent in
       both sparse data and large-strata limiting models. Biometrics 42:311-323.
    """
    nominal = checked_level(level)
    strata, used = _two_by_two_strata(tables)
    informative = strata[used].astype(np.float64)
    n = informative.sum(axis=(1, 2))
    row, column = informative.sum(axis=2), informative.sum(axis=1)
    deviation = float((informative[:, 0, 0] - row[:, 0] * column[:, 0] / n).sum())
    variance = float((row.prod(axis=1) * column.prod(axis=1) / (n**2 * (n - 1))).sum())
    correction = 0.5 if continuity and abs(deviation) >= 0.5 else 0.0  # noqa: PLR2004 - half a subject
    statistic = (abs(deviation) - correction) ** 2 / variance
    return MantelHaenszel(
        test=_stratified(
            "Mantel-Haenszel chi-square" + (", continuity correction" if continuity else ""),
            statistic,
            1,
            strata,
            used,
            continuity=continuity,
        ),
        odds_ratio=_common_odds_ratio(informative, nominal),
    )


def _common_odds_ratio(strata: FloatArray, level: float) -> Estimate:
    n = strata.sum(axis=(1, 2))
    same = (strata[:, 0, 0] + strata[:, 1, 1]) / n
    across = (strata[:, 0, 1] + strata[:, 1, 0]) / n
    for_ratio = strata[:, 0, 0] * strata[:, 1, 1] / n
    against = strata[:, 0, 1] * strata[:, 1, 0] / n
    total_for, total_against = float(for_ratio.sum()), float(against.sum())
    method, total = "Mantel-Haenszel odds ratio", int(n.sum())
    if total_for == 0 or total_against == 0:
        edge = float("inf") if total_for > 0 else 0.0 if total_against > 0 else float("nan")
        if np.isnan(edge):
            raise ValueError("tables: no stratum compares the two rows: no odds ratio can be estimated")
        return Estimate(method=method, estimate=edge, standard_error=None, interval=None, n=total)
    variance = float(
        (same * for_ratio).sum() / (2 * total_for**2)
        + (same * against + across * for_ratio).sum() / (2 * total_for * total_against)
        + (across * against).sum() / (2 * total_against**2)
    )
    ratio, standard_error = total_for / total_against, float(np.sqrt(variance))
    factor = float(np.exp(stats.norm.isf((1 - level) / 2) * standard_error))
    interval = Interval(
        low=ratio / factor,
        high=ratio * factor,
        level=level,
        achieved_level=None,
        method="Robins-Breslow-Greenland",
    )
    return Estimate(method=method, estimate=ratio, standard_error=standard_error, interval=interval, n=total)


def breslow_day(tables: ArrayLike, *, tarone: bool = True) -> StratifiedTest:
    """Test H0: the odds ratio is the same in every 2 x 2 stratum.

    Parameters
    ----------
    tables : (k, 2, 2) array
        Counts by stratum; large-sample, so of little use where strata are small.
    tarone : bool
        Adjust for the Mantel-Haenszel odds ratio not being the maximum-likelihood one.

    Returns
    -------
    StratifiedTest
        Chi-square; `df` is one less than the strata used.

    Raises
    ------
    ValueError
        If fewer than two strata can be used, or the common odds ratio is zero or infinite.

    References
    ----------
    .. [1] Breslow NE, Day NE (1980). Statistical Methods in Cancer Research I, sec. 4.4.
    .. [2] Tarone RE (1985). On heterogeneity tests based on efficient scores. Biometrika 72:91-95.
    """
    strata, used = _two_by_two_strata(tables)
    if used.sum() < 2:  # noqa: PLR2004 - nothing to compare
        raise ValueError(f"tables: {used.sum()} stratum with both rows and columns in use: two needed")
    informative = strata[used].astype(np.float64)
    ratio = _common_odds_ratio(informative, 0.95)
    if ratio.interval is None:
        raise ValueError(f"tables: common odds ratio {ratio.estimate:g}: must be above zero and finite")
    deviation, variance = np.array([_fitted_cell(stratum, ratio.estimate) for stratum in informative]).T
    statistic = float((deviation**2 / variance).sum())
    if tarone:
        statistic -= float(deviation.sum() ** 2 / variance.sum())
    method = "Breslow-Day test of one odds ratio" + (", Tarone's adjustment" if tarone else "")
    return _stratified(method, statistic, int(used.sum()) - 1, strata, used)


def _fitted_cell(stratum: FloatArray, ratio: float) -> tuple[float, float]:
    """Return the first cell less its value under this odds ratio and the same margins, and its variance."""
    row, column, n = float(stratum[0].sum()), float(stratum[:, 0].sum()), float(stratum.sum())
    # a (n - row - column + a) = ratio (row - a) (column - a)
    quadratic = [1 - ratio, n - row - column + ratio * (row + column), -ratio * row * column]
    roots = np.roots(quadratic if abs(quadratic[0]) > 1e-12 else quadratic[1:]).real  # noqa: PLR2004
    low, high = max(0.0, row + column - n), min(row, column)
    fitted = float(roots[np.argmin(np.abs(roots - np.clip(roots, low, high)))])
    cells = np.array([fitted, row - fitted, column - fitted, n - row - column + fitted])
    return float(stratum[0, 0]) - fitted, 1 / float((1 / cells).sum())


def cmh_general_association(tables: ArrayLike) -> StratifiedTest:
    """Test H0: rows and columns are independent within every stratum, against any association.

    Parameters
    ----------
    tables : (k, r, c) array
        Counts by stratum, row and column.

    Returns
    -------
    StratifiedTest
        `df` is (r - 1) (c - 1), fewer where a level meets no other in any stratum.

    Raises
    ------
    ValueError
        If no stratum has two rows and two columns in use.

    References
    ----------
    .. [1] Landis JR, Heyman ER, Koch GG (1978). Average partial association in three-way contingency tables:
       a review and discussion of alternative tests. Int Stat Rev 46:237-254.
    """
    strata, used = _checked_strata(tables)
    rows, columns = np.eye(strata.shape[1]), np.eye(strata.shape[2])
    pairs = [(rows, columns)] * strata.shape[0]
    return _generalised("Cochran-Mantel-Haenszel, general association", strata, used, pairs)


def cmh_row_mean_scores(
    tables: ArrayLike, *, column_scores: ScoreKind | ArrayLike = "table"
) -> StratifiedTest:
    """Test H0: within every stratum all rows have the same mean of the column scores.

    Parameters
    ----------
    tables : (k, r, c) array
        Counts by stratum, row and column; columns in order.
    column_scores : {"table", "rank", "ridit", "modridit"} or (c,) array
        1 to c; midranks within the stratum; these over n; over n + 1 (the stratified Kruskal-Wallis or, for
        two rows, van Elteren test); or scores of one's own.

    Returns
    -------
    StratifiedTest
        `df` is r - 1, fewer where a row meets no other in any stratum.

    Raises
    ------
    ValueError
        If no stratum has two rows and two columns in use, or the scores do not vary.

    References
    ----------
    .. [1] Landis JR, Heyman ER, Koch GG (1978), as above, sec. 4.
    """
    strata, used = _checked_strata(tables)
    rows = np.eye(strata.shape[1])
    pairs = [(rows, _scores("column_scores", column_scores, stratum.sum(axis=0))) for stratum in strata]
    return _generalised("Cochran-Mantel-Haenszel, row mean scores differ", strata, used, pairs)


def cmh_correlation(
    tables: ArrayLike,
    *,
    row_scores: ScoreKind | ArrayLike = "table",
    column_scores: ScoreKind | ArrayLike = "table",
) -> StratifiedTest:
    """Test H0: within every stratum row and column scores are uncorrelated.

    Parameters
    ----------
    tables : (k, r, c) array
        Counts by stratum, row and column; both in order.
    row_scores, column_scores : {"table", "rank", "ridit", "modridit"} or array
        As in `cmh_row_mean_scores`.

    Returns
    -------
    StratifiedTest
        Chi-square on one `df`.

    Raises
    ------
    ValueError
        If no stratum has two rows and two columns in use, or scores do not vary.

    References
    ----------
    .. [1] Mantel N (1963). Chi-square tests with one degree of freedom; extensions of the Mantel-Haenszel
       procedure. J Am Stat Assoc 58:690-700.
    """
    strata, used = _checked_strata(tables)
    pairs = [
        (
            _scores("row_scores", row_scores, stratum.sum(axis=1)),
            _scores("column_scores", column_scores, stratum.sum(axis=0)),
        )
        for stratum in strata
    ]
    return _generalised("Cochran-Mantel-Haenszel, nonzero correlation", strata, used, pairs)


def _scores(name: str, wanted: ScoreKind | ArrayLike, margin: NDArray[np.int64]) -> FloatArray:
    """Return the scores of one axis of a stratum as a (1, levels) array."""
    if not isinstance(wanted, str):
        scores = checked_vector(name, wanted)
        checked_same_length(name, scores.size, "levels", margin.size)
        # Their origin does not matter; at zero, scores that do not vary have a variance of exactly zero.
        return np.asarray(scores - scores[0], dtype=np.float64)[np.newaxis]
    checked_choice(name, wanted, SCORE_KINDS)
    if wanted == "table":
        return np.arange(1.0, margin.size + 1)[np.newaxis]
    midranks = np.cumsum(margin) - (margin - 1) / 2
    n = margin.sum()
    divisor = {"rank": 1.0, "ridit": max(n, 1), "modridit": n + 1.0}[wanted]
    return np.asarray(midranks / divisor)[np.newaxis]


def _generalised(
    method: str,
    strata: NDArray[np.int64],
    used: NDArray[np.bool_],
    pairs: Sequence[tuple[FloatArray, FloatArray]],
) -> StratifiedTest:
    """Return Q = G' V^- G of the summed deviations G, each stratum seen through its scores."""
    size = pairs[0][0].shape[0] * pairs[0][1].shape[0]
    deviation, variance = np.zeros(size), np.zeros((size, size))
    for stratum, (row_scores, column_scores), is_used in zip(strata, pairs, used, strict=True):
        if not is_used:
            continue
        n = stratum.sum()
        row, column = stratum.sum(axis=1) / n, stratum.sum(axis=0) / n
        deviation += (row_scores @ (stratum - n * np.outer(row, column)) @ column_scores.T).ravel()
        spread = [
            scores @ (np.diag(share) - np.outer(share, share)) @ scores.T
            for scores, share in ((row_scores, row), (column_scores, column))
        ]
        variance += n**2 / (n - 1) * np.kron(spread[0], spread[1])
    # Deviations add to zero over the levels, so V has no inverse; its rank is the degrees of freedom.
    values, vectors = np.linalg.eigh(variance)
    kept = values > 1e-10 * max(float(values[-1]), 0.0)
    if values[-1] <= 0 or not kept.any():
        raise ValueError("scores: the same for all subjects of each stratum: must vary")
    projected = vectors[:, kept].T @ deviation
    return _stratified(method, float((projected**2 / values[kept]).sum()), int(kept.sum()), strata, used)


def _stratified(
    method: str,
    statistic: float,
    df: int,
    strata: NDArray[np.int64],
    used: NDArray[np.bool_],
    *,
    continuity: bool = False,
) -> StratifiedTest:
    return StratifiedTest(
        method=method,
        alternative="two-sided",
        statistic=statistic,
        p_value=positive_p(float(stats.chi2.sf(statistic, df))),
        df=df,
        df_denominator=None,
        is_exact=False,
        has_continuity_correction=continuity,
        n=int(strata.sum()),
        n_strata=strata.shape[0],
        n_strata_used=int(used.sum()),
    )


def _checked_strata(tables: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    strata = checked_counts("tables", tables)
    if strata.ndim != 3:  # noqa: PLR2004 - stratum, row, column
        raise ValueError(f"tables: shape {strata.shape}: must be (strata, rows, columns)")
    in_use = [(strata.sum(axis=axis) > 0).sum(axis=1) for axis in (1, 2)]
    used = (in_use[0] > 1) & (in_use[1] > 1)
    if not used.any():
        raise ValueError("tables: no stratum has two rows and two columns in use: at least one must")
    return strata, used


def _two_by_two_strata(tables: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    strata, used = _checked_strata(tables)
    if strata.shape[1:] != (2, 2):
        raise ValueError(f"tables: shape {strata.shape}: must be (strata, 2, 2)")
    return strata, used
