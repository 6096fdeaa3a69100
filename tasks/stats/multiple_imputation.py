"""Impute the missing visits of a score several times, by Bayesian regression on what was observed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg, special

from tasks.stats.linear_design import independent_columns
from tasks.stats.pooling import Pooled, pool_rubin

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from tasks.stats.types import FloatArray

__all__ = ["Imputation", "Pooled", "impute_scores", "pool_rubin", "shifted"]

# One predictor for this many subjects observed at a visit; more would make a dozen patients fit anything.
SUBJECTS_PER_PREDICTOR = 4
_LEAST_OBSERVED = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Imputation:
    """Completed copies of a score by visit, and how they were made.

    `values` is (imputations, subjects, visits); `predictors` names for each visit what it was predicted from
    ("visit 0", "covariate 1"), empty where nothing was missing. `is_monotone` says that nobody returned after
    a missing visit, so that one pass through the visits sufficed. `notes` says what could not be had.
    """

    values: FloatArray
    is_imputed: NDArray[np.bool_]
    predictors: tuple[tuple[str, ...], ...]
    is_monotone: bool
    n_imputations: int
    n_cycles: int
    seed: int
    delta: tuple[float, ...]
    low: float | None
    high: float | None
    notes: tuple[str, ...]


def impute_scores(
    scores: ArrayLike,
    *,
    n_imputations: int,
    seed: int,
    covariates: ArrayLike | None = None,
    delta: ArrayLike = 0.0,
    low: float | None = None,
    high: float | None = None,
    n_cycles: int = 20,
) -> Imputation:
    """Draw what missing scores may have been, given that missingness depends on observed values only.

    Parameters
    ----------
    scores : (n, visits) array
        In the order of the visits, the baseline among them; NaN where missing.
    n_imputations, seed : int
        Number of completed copies and the seed of numpy's default generator.
    covariates : (n, k) array or None
        Complete numbers that predict the score, an arm's indicator among them.
    delta : float or (visits,) array
        Added to imputed scores once all are drawn: zero for missing at random, else how much worse or better
        the unseen were than the seen ones like them.
    low, high : float or None
        Ends of the scale: draws are from the normal truncated to it.
    n_cycles : int
        Rounds through the visits where missing ones lie between observed ones.

    Returns
    -------
    Imputation
        The observed values are the same in every copy.

    Raises
    ------
    ValueError
        If shapes differ, a visit has fewer than four scores observed and one missing, an observed score lies
        outside the scale, or a count is below one.

    Notes
    -----
    Each visit is regressed, among subjects observed there, on covariates and other visits: residual variance
    drawn from its scaled inverse chi-square, coefficients from their normal given it, then the scores. There
    is one predictor for each four subjects observed, the visits nearest in time first, before covariates when
    room is short. With monotone missingness only earlier visits predict, and this is a proper draw from the
    joint model; else visits take turns (chained equations).

    References
    ----------
    .. [1] Rubin DB (1987). Multiple Imputation for Nonresponse in Surveys, sec. 5.3, example 5.1.
    .. [2] van Buuren S (2018). Flexible Imputation of Missing Data, sec. 3.2 and 4.5.
    """
    observed, extra = _checked_scores(scores, covariates, low, high)
    for name, count in (("n_imputations", n_imputations), ("n_cycles", n_cycles)):
        if count < 1:
            raise ValueError(f"{name}: {count}: at least 1 needed")
    missing = np.isnan(observed)
    is_monotone = not (missing[:, :-1] & ~missing[:, 1:]).any()
    chosen, notes = _chosen_predictors(missing, extra.shape[1], is_monotone)
    generator = np.random.default_rng(seed)
    cycles = 1 if is_monotone else n_cycles
    copies = np.array(
        [
            _completed(observed, missing, extra, chosen, generator=generator, cycles=cycles, ends=(low, high))
            for _ in range(n_imputations)
        ]
    )
    visits = observed.shape[1]
    imputation = Imputation(
        values=copies,
        is_imputed=missing,
        predictors=tuple(tuple(_name(p, visits) for p in used) for used in chosen),
        is_monotone=is_monotone,
        n_imputations=n_imputations,
        n_cycles=cycles,
        seed=seed,
        delta=(0.0,) * visits,
        low=low,
        high=high,
        notes=notes,
    )
    return shifted(imputation, delta)


def shifted(imputation: Imputation, delta: ArrayLike) -> Imputation:
    """Return the imputation with delta added to imputed scores, cut at the ends of the scale.

    The draws stay the same, so that a series of deltas up to the tipping point needs one imputation only.
    """
    shift = np.asarray(delta, dtype=np.float64)
    visits = imputation.values.shape[2]
    if shift.shape not in {(), (visits,)} or not np.isfinite(shift).all():
        raise ValueError(
            f"delta: {shift.tolist()}: must be a finite number, or one for each of {visits} visits"
        )
    by_visit = np.broadcast_to(shift, (visits,))
    values = imputation.values + by_visit * imputation.is_imputed
    if imputation.low is not None or imputation.high is not None:
        cut = np.clip(values, imputation.low, imputation.high)
        values = np.where(imputation.is_imputed, cut, values)
    total = tuple((np.array(imputation.delta) + by_visit).tolist())
    return replace(imputation, values=values, delta=total)


def _checked_scores(
    scores: ArrayLike, covariates: ArrayLike | None, low: float | None, high: float | None
) -> tuple[FloatArray, FloatArray]:
    observed = np.array(scores, dtype=np.float64)
    if observed.ndim != 2 or observed.size == 0:  # noqa: PLR2004 - subjects and visits
        raise ValueError(f"scores: shape {observed.shape}: must be (subjects, visits)")
    extra = np.empty((observed.shape[0], 0)) if covariates is None else np.array(covariates, dtype=np.float64)
    if extra.ndim != 2 or extra.shape[0] != observed.shape[0]:  # noqa: PLR2004 - subjects and covariates
        raise ValueError(f"covariates: shape {extra.shape}: must be ({observed.shape[0]}, covariates)")
    if not np.isfinite(extra).all():
        raise ValueError("covariates: not finite: every value must be")
    if np.isinf(observed).any():
        raise ValueError("scores: infinite: must be finite, or NaN where missing")
    for end, is_beyond in ((low, np.less), (high, np.greater)):
        if end is not None and (beyond := observed[is_beyond(observed, end)]).size:
            raise ValueError(f"scores: {beyond[0]:g}: beyond the end of the scale, {end:g}")
    if low is not None and high is not None and low >= high:
        raise ValueError(f"low: {low:g} with high {high:g}: must be below it")
    counts = (~np.isnan(observed)).sum(axis=0)
    for visit, count in enumerate(counts.tolist()):
        if _LEAST_OBSERVED > count < observed.shape[0]:
            raise ValueError(f"scores: visit {visit}: {count} observed: {_LEAST_OBSERVED} needed to impute")
    return observed, extra


def _chosen_predictors(
    missing: NDArray[np.bool_], n_covariates: int, is_monotone: bool
) -> tuple[tuple[tuple[int, ...], ...], tuple[str, ...]]:
    """Return for each visit the columns (visits, then covariates) that predict it, and what was left out."""
    visits = missing.shape[1]
    chosen, notes = [], []
    for visit in range(visits):
        if not missing[:, visit].any():
            chosen.append(())
            continue
        others = [v for v in range(visits) if v != visit and (v < visit or not is_monotone)]
        # The nearest visit first, the earlier of two equally near; then covariates, then the other visits.
        others.sort(key=lambda v: (abs(v - visit), v))
        wanted = [*others[:1], *range(visits, visits + n_covariates), *others[1:]]
        room = int((~missing[:, visit]).sum()) // SUBJECTS_PER_PREDICTOR
        chosen.append(tuple(wanted[:room]))
        if left_out := [_name(p, visits) for p in wanted[room:]]:
            notes.append(
                f"visit {visit}: {(~missing[:, visit]).sum()} observed allow {room} predictor(s); "
                f"left out: {', '.join(left_out)}"
            )
    return tuple(chosen), tuple(notes)


def _name(predictor: int, visits: int) -> str:
    return f"visit {predictor}" if predictor < visits else f"covariate {predictor - visits}"


def _completed(
    observed: FloatArray,
    missing: NDArray[np.bool_],
    extra: FloatArray,
    chosen: tuple[tuple[int, ...], ...],
    *,
    generator: np.random.Generator,
    cycles: int,
    ends: tuple[float | None, float | None],
) -> FloatArray:
    n, visits = observed.shape
    filled = np.concatenate([observed, extra], axis=1)
    if cycles > 1:  # a start that the cycles forget
        for visit in range(visits):
            seen = observed[~missing[:, visit], visit]
            filled[missing[:, visit], visit] = generator.choice(seen, size=int(missing[:, visit].sum()))
    for _ in range(cycles):
        for visit, predictors in enumerate(chosen):
            absent = missing[:, visit]
            if not absent.any():
                continue
            matrix = np.column_stack([np.ones(n), filled[:, list(predictors)]])
            filled[absent, visit] = _drawn(
                filled[~absent, visit], matrix[~absent], matrix[absent], generator, ends
            )
    return filled[:, :visits]


def _drawn(
    seen: FloatArray,
    matrix: FloatArray,
    wanted: FloatArray,
    generator: np.random.Generator,
    ends: tuple[float | None, float | None],
) -> FloatArray:
    """Return one draw from the posterior predictive distribution of a normal linear regression."""
    kept = independent_columns(matrix)
    q, r = np.linalg.qr(matrix[:, kept])
    beta = linalg.solve_triangular(r, q.T @ seen)
    rest = seen - matrix[:, kept] @ beta
    sd = float(np.sqrt(np.square(rest).sum() / generator.chisquare(seen.size - kept.sum())))
    beta = beta + sd * linalg.solve_triangular(r, generator.standard_normal(int(kept.sum())))
    mean = wanted[:, kept] @ beta
    uniform = generator.random(mean.size)
    low, high = ends
    if sd == 0:
        return np.asarray(np.clip(mean, low, high) if (low, high) != (None, None) else mean)
    below = special.ndtr(((-np.inf if low is None else low) - mean) / sd)
    above = special.ndtr(((np.inf if high is None else high) - mean) / sd)
    # Kept off 0 and 1, where the normal quantile is infinite; a mean far outside the scale falls on its end.
    share = np.clip(below + uniform * (above - below), 1e-300, 1 - 1e-16)
    drawn = mean + sd * special.ndtri(share)
    return np.asarray(np.clip(drawn, low, high) if (low, high) != (None, None) else drawn)
