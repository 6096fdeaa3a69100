"""How far treatment moves a measurement from the diseased towards the healthy level, in percent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special, stats

from tasks.stats.types import RESOLUTION, FloatArray, checked_level

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

# A denominator that changes its sign in more resamples than this is about three standard errors from zero or
# nearer; the ratio then has no finite interval worth the name.
MOST_SIGN_CHANGES = 0.001
METHOD = "ratio of means, BCa bootstrap of patients"
_LEAST_SUBJECTS = 2
_CHUNK_ELEMENTS = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortImprovement:
    """Improvement of k measurements in n patients, in percent, with intervals; all arrays are (k,).

    `low` and `high` are NaN where there is no interval: `has_unstable_denominator` where the disease
    difference is not well told from zero, else because the resampled values do not vary or are too skewed.
    """

    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    has_unstable_denominator: NDArray[np.bool_]
    level: float
    method: str
    n: int
    n_resamples: int
    seed: int


def percent_improvement(disease: ArrayLike, treatment: ArrayLike) -> FloatArray:
    """Return how much of the disease difference the treatment took away, in percent.

    Parameters
    ----------
    disease : array
        Diseased minus healthy at baseline, on a scale where differences mean something (log2, score).
    treatment : array of the same shape
        Diseased after minus diseased before treatment.

    Returns
    -------
    array
        -100 * treatment / disease: 100 when the healthy level is reached, more beyond it, below zero when
        worse. NaN where there is no disease difference. On log2 expression it equals
        100 * log2(after / before) / log2(healthy / before).

    References
    ----------
    .. [1] Tian S, Krueger JG, Li K, et al. (2012). Meta-analysis derived (MAD) transcriptome of psoriasis
       defines the "core" pathogenesis of disease. PLoS One 7:e44274.
    """
    difference = np.asarray(disease, dtype=np.float64)
    change = np.asarray(treatment, dtype=np.float64)
    if difference.shape != change.shape:
        raise ValueError(f"treatment: shape {change.shape}: must be that of disease, {difference.shape}")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(difference != 0, -100 * change / difference, np.nan), dtype=np.float64)


def cohort_improvement(
    disease: ArrayLike, treatment: ArrayLike, *, level: float = 0.95, n_resamples: int = 10_000, seed: int = 0
) -> CohortImprovement:
    """Estimate the improvement of the mean of all patients, with BCa intervals from resampled patients.

    Parameters
    ----------
    disease, treatment : (k, n) arrays
        As in `percent_improvement`, k measurements of the same n patients; no NaN.
    level : float
        Confidence level of each interval by itself.
    n_resamples, seed : int
        Resamples of whole patients, the same for all k, and the seed of numpy's default generator.

    Returns
    -------
    CohortImprovement
        `estimate` is the percent improvement of the mean differences. It weights patients by the size of
        their disease difference, where the mean of the patients' own percentages would be ruled by whoever
        has hardly any.

    Raises
    ------
    ValueError
        If shapes differ, a value is NaN, or there are fewer than two patients.

    Notes
    -----
    Row by row the interval is that of `tasks.stats.bootstrap.bca_bootstrap` with the same seed; all rows are
    resampled together by one matrix product.

    References
    ----------
    .. [1] Efron B (1987). Better bootstrap confidence intervals. J Am Stat Assoc 82:171-185.
    .. [2] Franz VH (2007). Ratios: a short guide to confidence limits and proper use. arXiv:0710.2024.
    """
    nominal = checked_level(level)
    if n_resamples < 1:
        raise ValueError(f"n_resamples: {n_resamples}: at least 1 needed")
    difference, change = _checked(disease, treatment)
    k, n = difference.shape
    drawn = np.random.default_rng(seed).integers(0, n, size=(n_resamples, n))
    weight = np.stack([(drawn == patient).mean(axis=1) for patient in range(n)])
    estimate = percent_improvement(difference.mean(axis=1), change.mean(axis=1))
    low, high = np.full(k, np.nan), np.full(k, np.nan)
    unstable = np.zeros(k, dtype=np.bool_)
    chunk = max(_CHUNK_ELEMENTS // n_resamples, 1)
    for start in range(0, k, chunk):
        rows = slice(start, start + chunk)
        low[rows], high[rows], unstable[rows] = _intervals(
            difference[rows], change[rows], estimate[rows], weight, nominal
        )
    return CohortImprovement(
        estimate=estimate,
        low=low,
        high=high,
        has_unstable_denominator=unstable,
        level=nominal,
        method=METHOD,
        n=n,
        n_resamples=n_resamples,
        seed=seed,
    )


def _checked(disease: ArrayLike, treatment: ArrayLike) -> tuple[FloatArray, FloatArray]:
    difference = np.asarray(disease, dtype=np.float64)
    change = np.asarray(treatment, dtype=np.float64)
    if difference.ndim != 2 or change.shape != difference.shape:  # noqa: PLR2004 - rows and columns
        raise ValueError(
            f"disease, treatment: shapes {difference.shape} and {change.shape}: must both be (k, n)"
        )
    if difference.shape[1] < _LEAST_SUBJECTS:
        raise ValueError(f"disease: {difference.shape[1]} patient(s): at least {_LEAST_SUBJECTS} needed")
    for name, values in (("disease", difference), ("treatment", change)):
        if not np.isfinite(values).all():
            row, patient = (int(place) for place in np.argwhere(~np.isfinite(values))[0])
            raise ValueError(
                f"{name}: {values[row, patient]} at ({row}, {patient}): every value must be finite"
            )
    return difference, change


def _intervals(
    difference: FloatArray, change: FloatArray, estimate: FloatArray, weight: FloatArray, level: float
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    denominator = difference @ weight
    own_sign = np.sign(difference.mean(axis=1))
    # A sum of zero has neither sign.
    changed = np.sign(denominator) * own_sign[:, np.newaxis] <= 0
    unstable = changed.mean(axis=1) > MOST_SIGN_CHANGES
    resampled = percent_improvement(denominator, change @ weight)
    # A ratio whose denominator passed zero is beyond all others, on the side that its numerator points to.
    is_worse = (change @ weight) * own_sign[:, np.newaxis] > 0
    resampled = np.sort(np.where(changed, np.where(is_worse, -np.inf, np.inf), resampled), axis=1)
    finite = np.where(np.isfinite(resampled), resampled, 0.0)
    tolerance = RESOLUTION * np.maximum(np.abs(estimate), np.abs(finite).max(axis=1))
    n_resamples = resampled.shape[1]
    below = (resampled < (estimate - tolerance)[:, np.newaxis]).sum(axis=1)
    equal = (np.abs(resampled - estimate[:, np.newaxis]) <= tolerance[:, np.newaxis]).sum(axis=1)
    share = np.clip((below + 0.5 * equal) / n_resamples, 0.5 / n_resamples, 1 - 0.5 / n_resamples)
    z0 = special.ndtri(share)
    z = z0[:, np.newaxis] + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    curvature = 1 - _acceleration(difference, change, tolerance)[:, np.newaxis] * z
    with np.errstate(divide="ignore", invalid="ignore"):
        tails = special.ndtr(z0[:, np.newaxis] + z / curvature)
    defined = ~unstable & (curvature > 0).all(axis=1) & np.isfinite(estimate)
    defined &= resampled[:, -1] > resampled[:, 0] + tolerance
    ends = np.full((len(estimate), 2), np.nan)
    ends[defined] = _quantiles(resampled[defined], tails[defined])
    return ends[:, 0], ends[:, 1], unstable


def _acceleration(difference: FloatArray, change: FloatArray, tolerance: FloatArray) -> FloatArray:
    n = difference.shape[1]
    left_out = percent_improvement(
        (difference.sum(axis=1, keepdims=True) - difference) / (n - 1),
        (change.sum(axis=1, keepdims=True) - change) / (n - 1),
    )
    deviation = left_out.mean(axis=1, keepdims=True) - left_out
    with np.errstate(divide="ignore", invalid="ignore"):
        skew = (deviation**3).sum(axis=1) / (6 * (deviation**2).sum(axis=1) ** 1.5)
    varies = np.ptp(left_out, axis=1) > tolerance
    return np.where(varies, skew, 0.0)


def _quantiles(ordered: FloatArray, tails: FloatArray) -> FloatArray:
    """Return two quantiles of each row, interpolated between order statistics."""
    place = tails * (ordered.shape[1] - 1)
    lower = np.floor(place).astype(np.int64)
    upper = np.minimum(lower + 1, ordered.shape[1] - 1)
    below = np.take_along_axis(ordered, lower, axis=1)
    above = np.take_along_axis(ordered, upper, axis=1)
    with np.errstate(invalid="ignore"):
        between = below + (place - lower) * (above - below)
    ends = np.where(below == above, below, between)
    # An end that lies among resamples without a ratio is no end.
    return np.where(np.isfinite(ends).all(axis=1, keepdims=True), ends, np.nan)
