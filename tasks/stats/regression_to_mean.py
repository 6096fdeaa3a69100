"""How much of a change after selection is regression to the mean, and whether change depends on baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy import special, stats

from tasks.stats.types import (
    RESOLUTION,
    FloatArray,
    HypothesisTest,
    Interval,
    checked_choice,
    checked_level,
    checked_same_length,
    checked_vector,
    positive_p,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Selection: TypeAlias = Literal["above", "below"]

# A regression of after on before takes two degrees of freedom and needs one left.
_LEAST_PAIRS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionToMean:
    """What happens without any treatment to subjects selected by one end of their baseline score.

    `selected_share` is the part of the population beyond the cutoff, `selected_mean` their expected
    baseline, `expected_change` the mean of their next score less the one they were selected by.
    """

    expected_change: float
    selected_share: float
    selected_mean: float
    within_sd: float
    reliability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeeChua:
    """The change beyond regression to the mean, for an assumed mean of the population.

    `slope` is that of after on before. `not_rejected` holds the population means for which the change could
    be regression to the mean alone: one range, or the two outer ones when the slope is near one.
    """

    treatment_effect: float
    standard_error: float
    df: int
    t: float
    p_value: float
    interval: Interval
    slope: float
    population_mean: float
    not_rejected: tuple[tuple[float, float], ...]
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceRatio:
    """The variance after over that before in the same subjects, and the test that it is one."""

    ratio: float
    correlation: float
    t: float
    df: int
    p_value: float
    interval: Interval
    n: int


def expected_regression(
    mean: float,
    sd: float,
    reliability: float,
    *,
    cutoff: float,
    selection: Selection = "above",
    n_measurements: int = 1,
) -> RegressionToMean:
    """Return the change expected without treatment in subjects selected by a cutoff of their baseline.

    Parameters
    ----------
    mean, sd : float
        Of a single score in the unselected population, which is taken as normal.
    reliability : float
        Test-retest correlation of single scores, 0 to 1.
    cutoff : float
        Subjects beyond it were enrolled.
    selection : {"above", "below"}
        On which side of it.
    n_measurements : int
        Scores averaged into the baseline by which they were selected.

    Returns
    -------
    RegressionToMean
        `expected_change` is negative for selection above: scores fall.

    Raises
    ------
    ValueError
        If the standard deviation is not above zero, the reliability outside 0 to 1, the number of
        measurements below one, or nobody is expected beyond the cutoff.

    Notes
    -----
    With within-subject variance w = (1 - reliability) sd**2 and between-subject variance b, a baseline of k
    scores has variance v = b + w / k, and the change is -(w / k) / sqrt(v) * phi(z) / (1 - Phi(z)) with
    z = (cutoff - mean) / sqrt(v) for selection above.

    References
    ----------
    .. [1] Gardner MJ, Heady JA (1973). Some effects of within-person variability in epidemiological studies.
       J Chronic Dis 26:781-795.
    .. [2] Davis CE (1976). The effect of regression to the mean in epidemiologic and clinical studies. Am J
       Epidemiol 104:493-498.
    """
    checked_choice("selection", selection, ("above", "below"))
    if not sd > 0:
        raise ValueError(f"sd: {sd}: must be above zero")
    if not 0 <= reliability <= 1:
        raise ValueError(f"reliability: {reliability}: must lie between 0 and 1")
    if n_measurements < 1:
        raise ValueError(f"n_measurements: {n_measurements}: at least 1 needed")
    side = 1.0 if selection == "above" else -1.0
    within = (1 - reliability) * sd**2
    baseline_sd = float(np.sqrt(reliability * sd**2 + within / n_measurements))
    z = side * (cutoff - mean) / baseline_sd
    share = float(special.ndtr(-z))
    if share == 0:
        raise ValueError(f"cutoff: {cutoff:g}: {z:.0f} standard deviations out: nobody lies beyond it")
    hazard = float(np.exp(-(z**2) / 2 - np.log(2 * np.pi) / 2 - special.log_ndtr(-z)))
    return RegressionToMean(
        expected_change=-side * within / n_measurements / baseline_sd * hazard,
        selected_share=share,
        selected_mean=mean + side * baseline_sd * hazard,
        within_sd=float(np.sqrt(within)),
        reliability=reliability,
    )


def expected_regression_of_sample(baseline_mean: float, population_mean: float, reliability: float) -> float:
    """Return the change expected without treatment when the mean baseline of the sample is known.

    -(1 - reliability) (baseline mean - population mean): Davis (1976), for whatever rule selected them.
    """
    if not 0 <= reliability <= 1:
        raise ValueError(f"reliability: {reliability}: must lie between 0 and 1")
    return -(1 - reliability) * (baseline_mean - population_mean)


def mee_chua(before: ArrayLike, after: ArrayLike, *, population_mean: float, level: float = 0.95) -> MeeChua:
    """Test H0: the change from before to after is regression to the population mean and nothing else.

    Parameters
    ----------
    before, after : (n,) arrays
        Scores of the same subjects, selected by the first; no NaN.
    population_mean : float
        Mean score of the population they were selected from: an assumption.
    level : float
        Level of the interval and of the range of means not rejected.

    Returns
    -------
    MeeChua
        `treatment_effect` is the expected score after, of a subject whose score before is the population
        mean, less that mean: where nothing regresses. Positive when treatment raises the score.

    Raises
    ------
    ValueError
        If lengths differ, there are fewer than three pairs, the scores before do not vary, or those after
        lie on a line.

    References
    ----------
    .. [1] Mee RW, Chua TC (1991). Regression toward the mean and the paired sample t test. Am Stat 45:39-42.
    .. [2] Ostermann T, Willich SN, Luedtke R (2008). Regression toward the mean: a detection method for
       unknown population mean based on Mee and Chua's algorithm. BMC Med Res Methodol 8:52.
    """
    nominal = checked_level(level)
    x, y = _pairs(before, after)
    n = x.size
    spread = float(np.square(x - x.mean()).sum())
    slope = float((x - x.mean()) @ y) / spread
    df = n - 2
    variance = float(np.square(y - y.mean() - slope * (x - x.mean())).sum()) / df
    if variance <= (RESOLUTION * max(float(np.abs(y).max()), 1e-300)) ** 2:
        raise ValueError("after: a straight line of before: a test needs values that vary about it")
    distance = population_mean - float(x.mean())
    effect = float(y.mean()) + slope * distance - population_mean
    error = float(np.sqrt(variance * (1 / n + distance**2 / spread)))
    t = effect / error
    critical = float(stats.t.isf((1 - nominal) / 2, df))
    return MeeChua(
        treatment_effect=effect,
        standard_error=error,
        df=df,
        t=t,
        p_value=positive_p(2 * float(stats.t.sf(abs(t), df))),
        interval=Interval(
            low=effect - critical * error,
            high=effect + critical * error,
            level=nominal,
            achieved_level=None,
            method="Student t",
        ),
        slope=slope,
        population_mean=population_mean,
        not_rejected=_not_rejected(
            float(x.mean()),
            float((y - x).mean()),
            slope=slope,
            bound=critical**2 * variance,
            n=n,
            spread=spread,
        ),
        n=n,
    )


def _not_rejected(
    centre: float, change: float, *, slope: float, bound: float, n: int, spread: float
) -> tuple[tuple[float, float], ...]:
    """Return the population means at which t stays within its critical values.

    A quadratic: (change + (slope - 1) u)**2 <= bound (1 / n + u**2 / spread), u = mean - centre.
    """
    a = (slope - 1) ** 2 - bound / spread
    b = 2 * change * (slope - 1)
    c = change**2 - bound / n
    discriminant = b**2 - 4 * a * c
    if discriminant <= 0:
        return () if a > 0 else ((-np.inf, np.inf),)
    # The root that adds two numbers of one sign first, so that a near zero costs no digits.
    q = -(b + np.copysign(np.sqrt(discriminant), b)) / 2
    roots = sorted(centre + root for root in (q / a if a else np.inf, c / q))
    if a > 0:
        return ((float(roots[0]), float(roots[1])),)
    return ((-np.inf, float(roots[0])), (float(roots[1]), np.inf))


def oldham(before: ArrayLike, after: ArrayLike) -> HypothesisTest:
    """Test H0: the change is not related to the underlying level of the score.

    Parameters
    ----------
    before, after : (n,) arrays
        Scores of the same subjects; no NaN.

    Returns
    -------
    HypothesisTest
        `statistic` is the correlation of the change with the mean of both scores, which unlike that with the
        baseline is not negative by error of measurement alone. The same test as `pitman_morgan`.

    Raises
    ------
    ValueError
        If lengths differ, there are fewer than three pairs, or the change or the mean does not vary.

    References
    ----------
    .. [1] Oldham PD (1962). A note on the analysis of repeated measurements of the same subjects. J Chronic
       Dis 15:969-977.
    """
    x, y = _pairs(before, after)
    correlation = _correlation(y - x, (x + y) / 2)
    df = x.size - 2
    return HypothesisTest(
        method="Oldham: correlation of change with the mean of before and after",
        alternative="two-sided",
        statistic=correlation,
        p_value=_correlation_p(correlation, df),
        df=df,
        df_denominator=None,
        is_exact=False,
        has_continuity_correction=None,
        n=x.size,
    )


def pitman_morgan(before: ArrayLike, after: ArrayLike, *, level: float = 0.95) -> VarianceRatio:
    """Test H0: the scores vary as much after as before, in the same subjects.

    Parameters
    ----------
    before, after : (n,) arrays
        Scores of the same subjects, bivariate normal; no NaN.
    level : float
        Level of the interval of the ratio.

    Returns
    -------
    VarianceRatio
        Below one when scores vary less after than before: those with the worst baseline fell most, beyond
        what error of measurement explains.

    Raises
    ------
    ValueError
        If lengths differ, there are fewer than three pairs, scores do not vary, or before and after
        determine each other.

    References
    ----------
    .. [1] Pitman EJG (1939). A note on normal correlation. Biometrika 31:9-12.
    .. [2] Morgan WA (1939). A test for the significance of the difference between the two variances in a
       sample from a normal bivariate population. Biometrika 31:13-19.
    """
    nominal = checked_level(level)
    x, y = _pairs(before, after)
    df = x.size - 2
    ratio = float(y.var(ddof=1) / x.var(ddof=1))
    correlation = _correlation(x, y)
    rest = 1 - correlation**2
    if rest <= RESOLUTION or ratio <= 0:
        raise ValueError("before, after: one determines the other: their variances cannot be compared")
    t = (ratio - 1) * float(np.sqrt(df / (4 * ratio * rest)))
    critical = float(stats.t.isf((1 - nominal) / 2, df))
    k = 1 + 2 * rest * critical**2 / df
    width = float(np.sqrt(k**2 - 1))
    return VarianceRatio(
        ratio=ratio,
        correlation=correlation,
        t=t,
        df=df,
        p_value=positive_p(2 * float(stats.t.sf(abs(t), df))),
        interval=Interval(
            low=ratio * (k - width),
            high=ratio * (k + width),
            level=nominal,
            achieved_level=None,
            method="Pitman",
        ),
        n=x.size,
    )


def _correlation(x: FloatArray, y: FloatArray) -> float:
    for values in (x, y):
        if np.ptp(values) <= RESOLUTION * max(float(np.abs(values).max()), 1e-300):
            raise ValueError("before, after: scores, changes or means do not vary: no correlation")
    return float(np.corrcoef(x, y)[0, 1])


def _correlation_p(correlation: float, df: int) -> float:
    rest = max(1 - correlation**2, np.finfo(np.float64).tiny)
    return positive_p(2 * float(stats.t.sf(abs(correlation) * np.sqrt(df / rest), df)))


def _pairs(before: ArrayLike, after: ArrayLike) -> tuple[FloatArray, FloatArray]:
    x = checked_vector("before", before, at_least=_LEAST_PAIRS)
    y = checked_vector("after", after)
    checked_same_length("after", y.size, "before", x.size)
    if np.ptp(x) <= RESOLUTION * float(np.abs(x).max()):
        raise ValueError(f"before: every value is {x[0]:g}: scores must vary")
    return x, y
