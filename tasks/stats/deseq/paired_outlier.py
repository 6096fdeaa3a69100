"""Genes whose effect is one subject's doing: an outlier rule for designs with a coefficient per subject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, expit, polygamma, psi
from scipy.stats import f as fisher
from scipy.stats import t as student

from tasks.stats.trigamma import inverse_trigamma

if TYPE_CHECKING:
    from tasks.stats.types import FloatArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.intp]
# Share of the genes without an outlier that may be called; see the notes of `paired_outliers`.
LEVEL = 0.005
_LEAST_SUBJECTS = 3
_PAIR = 2
# Chance of a spread that seems to contradict the prior when it does not.
_CONTRADICTION = 0.05
# One subject's doing: nobody else is half as far off on the same side.
_APART = 2.0
# Weights and lengths below this are zero up to rounding: nothing of the contrast hangs on such a library.
_TOLERANCE = 1e-8
_HALF_COUNT = 0.5
# Reach, in standard deviations, and number of the nodes at which an uncertain scale is averaged over.
_REACH = 5.0
_NODES = 33
# Beyond this share of the cut-off a distance gets its own tail.
_WHERE_TAILS_MATTER = 0.6
_TINY = np.finfo(np.float64).tiny


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedOutliers:
    """Per gene: whether one subject stands out in a contrast, which one, and by which library.

    All are (genes,) arrays. `subject` is the code of the subject furthest from the others and `sample` the
    index of the library that makes it so, whether or not it is far enough to be an outlier; -1 for a gene
    without a count or a dispersion. `statistic` is that subject's distance, which without outliers is
    distributed as the largest of as many absolute t variables as there are subjects; `cutoff` what it must
    exceed. `p_value` is Bonferroni's over subjects.
    """

    is_outlier: BoolArray
    subject: IntArray
    sample: IntArray
    statistic: FloatArray
    cutoff: FloatArray
    p_value: FloatArray


@dataclass(frozen=True, slots=True)
class _Within:
    """The design seen within subjects: `effects` (samples, q), orthonormal, and the contrast's `weight`."""

    effects: FloatArray
    weight: FloatArray
    subject: NDArray[Any]
    codes: NDArray[Any]


@dataclass(frozen=True, slots=True)
class _Deletion:
    """What a fit without one subject gives, each as weights of the log counts of all libraries.

    `effects` (q, samples) are the fitted effects, `distance` (samples,) the subject's own contrast minus its
    prediction, scaled such that the subject's largest weight is one.
    """

    code: Any
    effects: FloatArray
    distance: FloatArray


def paired_outliers(
    count: FloatArray,
    size_factor: FloatArray,
    design: FloatArray,
    subject: NDArray[Any],
    contrast: FloatArray,
    *,
    mean: FloatArray,
    trend_dispersion: FloatArray,
    prior_variance: float,
    level: float = LEVEL,
) -> PairedOutliers:
    r"""Test H0: in this contrast no subject differs from the others by more than the spread among these.

    Cook's distance cannot serve where every row of the design is unique, as in `~ subject + visit`: the
    subject's coefficient follows an aberrant library halfway, and no replicate tells the two apart. What
    remains is the subject's own contrast, which can be compared with the other subjects'.

    Parameters
    ----------
    count : (genes, samples) array
    size_factor : (samples,) array
    design : (samples, coefficients) array
        Of full column rank, with a coefficient for each subject in any coding; any number of libraries per
        subject.
    subject : (samples,) array of int
        Code of each library's subject, zero or more.
    contrast : (coefficients,) array
        Must compare libraries within subjects.
    mean : (genes, samples) array
        Fitted means of the whole model, on the scale of the counts.
    trend_dispersion : (genes,) array
        What the trend gives for a gene of this mean, not the gene's own estimate, which an outlier inflates.
    prior_variance : float
        Variance of the true log dispersions around the trend, from the dispersion prior.
    level : float
        Chance that a gene without outliers is called.

    Returns
    -------
    PairedOutliers

    Raises
    ------
    ValueError
        If the shapes disagree, the design has no coefficient for each subject, the contrast compares
        subjects or is not estimable, or fewer than three subjects inform it.

    Notes
    -----
    *The subject's own contrast.* Let :math:`a = X (X^\top X)^{-1} c` be the weights by which log expression
    makes up the contrast. The weights :math:`a_i` of subject i's libraries sum to zero, because the
    subject's coefficient takes up whatever they share; so :math:`a_i^\top y_i`, with
    :math:`y = \log((K + 1/2)/s)`, is free of the subject's level. In pairs it is the log ratio; in a
    factorial design, the same cells enter as in the contrast, so a library outside the contrast is no
    outlier of it.

    *Its distance.* :math:`D_i` is :math:`a_i^\top y_i` minus its prediction from a fit without subject i:
    exact deletion, in closed form by the design alone, and linear, :math:`D_i = b_i^\top y`. Were there no
    uncertainty of scale, its variance would be :math:`V_i = \sum_k b_{ik}^2 v_k`, where the count's log is
    taken as that of a gamma variable with the negative binomial's mean and variance,
    :math:`v_k = \psi'(\kappa_k)`, :math:`1/\kappa_k = \alpha + 1/(\mu_k + 1/2)`.

    *Its scale.* The others' residuals in the fit without i, each over its own variance, have mean square
    :math:`s_{(i)}^2` with :math:`d_i` degrees of freedom; the dispersion's prior counts as
    :math:`d_0 = 2\,\psi'^{-1}(\text{prior variance})` further ones that say 1:
    :math:`\tilde s^2 = (d_0 + d_i s_{(i)}^2)/(d_0 + d_i)`, or :math:`s_{(i)}^2` where that is larger, with
    :math:`d_i` degrees of freedom alone where it contradicts the prior by an F test. This is what keeps
    heterogeneous response from being called: if half of the subjects respond, :math:`s_{(i)}` is large, and
    a subject can stand out only from others that agree. For the same reason an outlier must be alone: nobody
    else may be half as far off on its side, each in its own standard deviations.

    *Its tail.* Differences of logs of gamma variables have heavier tails than normal ones where the
    dispersion is large. For a scale :math:`\sigma^2`, let :math:`\psi'(\kappa_+)` and
    :math:`\psi'(\kappa_-)` be :math:`\sigma^2` times the positive and the negative part of :math:`V_i`; the
    ratio of two such gamma variables is a beta prime variable [3]_, whose tail beyond :math:`D_i` is averaged
    over what is known of the scale, :math:`\sigma^2 = \tilde s^2 (d_0 + d_i) / \chi^2_{d_0 + d_i}`. For large
    :math:`\kappa` that is the t test of an externally studentised residual [1]_, and `statistic` is the t
    deviate with the same tail. The largest over subjects is tested by Bonferroni, nearly exact so far out.

    *The library.* Within a pair both libraries explain the ratio equally well. The one is named whose
    level, freed of the group's effect, is further from the subject's median level or, where it has two
    libraries only, from the median of the other subjects.

    The level holds per gene, as that of Cook's cut-off does. Several outliers in one gene can go unseen.

    References
    ----------
    .. [1] Cook RD, Weisberg S (1982). Residuals and Influence in Regression, sections 2.2.1 and 2.2.2.
    .. [2] Smyth GK (2004). Stat Appl Genet Mol Biol 3(1):3, sections 3 and 6 (moderated scale).
    .. [3] Johnson NL, Kotz S, Balakrishnan N (1995). Continuous Univariate Distributions 2, section 23.10.
    """
    count, size_factor, mean, trend_dispersion, design, contrast = (
        np.asarray(a, dtype=np.float64)
        for a in (count, size_factor, mean, trend_dispersion, design, contrast)
    )
    subject = np.asarray(subject)
    _check(count, design, subject, contrast, size_factor=size_factor, mean=mean, dispersion=trend_dispersion)
    if not prior_variance > 0:
        raise ValueError(f"prior_variance: {prior_variance}: must be above zero")
    if not 0 < level < 1:
        raise ValueError(f"level: {level}: must lie between 0 and 1, both excluded")
    within = _within_subjects(design, subject, contrast)
    deletions = [d for code in within.codes if (d := _deletion(within, code)) is not None]
    if len(deletions) < _LEAST_SUBJECTS:
        raise ValueError(
            f"subject: {len(deletions)} inform the contrast beside others: at least {_LEAST_SUBJECTS} needed"
        )
    # Beyond so many, the prior is as good as certain.
    prior_df = float(min(2 * inverse_trigamma(np.array([prior_variance]))[0], 1e6))

    used = np.flatnonzero(np.isfinite(trend_dispersion) & (count.sum(axis=1) > 0))
    log_count = np.log(count[used] + _HALF_COUNT) - np.log(size_factor)
    gamma_shape = 1 / (trend_dispersion[used, None] + 1 / (mean[used] + _HALF_COUNT))
    variance = np.asarray(polygamma(1, gamma_shape), dtype=np.float64)
    weights = np.stack([d.distance for d in deletions])
    distance = log_count @ weights.T
    # The suspect is who is furthest off by the same scale for all; only the spread beside the suspect counts.
    suspect = np.argmax(np.abs(distance) / np.sqrt(variance @ (weights**2).T), axis=1)

    statistic, cutoff, p_value = (np.full(count.shape[0], np.nan) for _ in range(3))
    sample, who = (np.full(count.shape[0], -1, dtype=np.intp) for _ in range(2))
    is_alone = np.zeros(count.shape[0], dtype=bool)
    for index, deletion in enumerate(deletions):
        rows = np.flatnonzero(suspect == index)
        if not rows.size:
            continue
        at, y, far = used[rows], log_count[rows], distance[rows, index]
        scale, df, deviates = _spread_beside(within, deletion, y, variance[rows], prior_df)
        limit = student.isf(level / (2 * len(deletions)), df)
        expected = variance[rows] * scale[:, None]
        deviate = np.abs(far) / np.sqrt(expected @ deletion.distance**2)
        # The tail's shape matters where the tail is; elsewhere the plain t deviate will do.
        tails = np.flatnonzero(deviate > _WHERE_TAILS_MATTER * limit)
        tail = np.asarray(student.sf(deviate, df), dtype=np.float64)
        tail[tails] = _predictive_tail(deletion, far[tails], expected[tails], df[tails])
        deviate[tails] = student.isf(tail[tails], df[tails])
        statistic[at], cutoff[at] = deviate, limit
        p_value[at] = np.minimum(2 * len(deletions) * tail, 1.0)
        is_alone[at] = _stands_alone(deletion, far, variance[rows], deviates)
        sample[at] = _aberrant_library(within, deletion, y)
        who[at] = deletion.code
    with np.errstate(invalid="ignore"):
        is_outlier = is_alone & (statistic > cutoff)
    return PairedOutliers(
        is_outlier=is_outlier,
        subject=who,
        sample=sample,
        statistic=statistic,
        cutoff=cutoff,
        p_value=p_value,
    )


def _within_subjects(design: FloatArray, subject: NDArray[Any], contrast: FloatArray) -> _Within:
    codes, position = np.unique(subject, return_inverse=True)
    member = (position.ravel()[:, None] == np.arange(codes.size)).astype(np.float64)
    # Whatever is constant within subjects must be in the design's column space.
    orthonormal, _ = np.linalg.qr(design)
    outside = member - orthonormal @ (orthonormal.T @ member)
    if np.abs(outside).max() > _TOLERANCE:
        code = codes[int(np.argmax(np.abs(outside).max(axis=0)))]
        raise ValueError(f"design: no coefficient for subject {code}: each subject must have its own")
    weight = np.linalg.pinv(design).T @ contrast
    weight /= np.abs(weight).max()
    between = np.abs(member.T @ weight)
    if between.max() > _TOLERANCE:
        code = codes[int(np.argmax(between))]
        raise ValueError(f"contrast: compares subject {code} with others: must compare within subjects")
    centred = design - member @ ((member.T @ design) / member.sum(axis=0)[:, None])
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    effects = left[:, singular > _TOLERANCE * singular.max()]
    return _Within(effects=effects, weight=weight, subject=subject, codes=codes)


def _deletion(within: _Within, code: Any) -> _Deletion | None:
    """Return the fit without one subject; None where the contrast does not need, or hangs on, the subject."""
    own = within.subject == code
    weight = np.where(own, within.weight, 0.0)
    largest = np.abs(weight).max()
    if largest <= _TOLERANCE:
        return None
    weight = weight / largest
    others = np.where(own[:, None], 0.0, within.effects)
    fit = np.linalg.pinv(others, rcond=_TOLERANCE)
    wanted = weight @ within.effects
    if np.abs(wanted - wanted @ fit @ others).max() > _TOLERANCE:
        return None
    return _Deletion(code=code, effects=fit, distance=weight - wanted @ fit)


def _spread_beside(
    within: _Within, deletion: _Deletion, log_count: FloatArray, variance: FloatArray, prior_df: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the others' spread as a multiple of the expected variance, its df, and their deviates."""
    codes = [code for code in within.codes if code != deletion.code]
    own = np.where(within.subject == np.array(codes)[:, None], within.weight, 0.0)
    own = own[np.abs(own).max(axis=1) > _TOLERANCE]
    residual = own - (own @ within.effects) @ deletion.effects
    df = float(((residual**2).sum(axis=1) / (own**2).sum(axis=1)).sum())
    deviates = (log_count @ residual.T) / np.sqrt(variance @ (own**2).T)
    observed = (deviates**2).sum(axis=1) / df
    # The prior knows of the counts' dispersion, not of how unequally subjects respond: it may not take away
    # from what is seen, nor lend its certainty to what contradicts it.
    scale = np.maximum(observed, (prior_df + df * observed) / (prior_df + df))
    contradicts = observed > fisher.isf(_CONTRADICTION, df, prior_df)
    return scale, np.where(contradicts, df, prior_df + df), np.asarray(deviates, dtype=np.float64)


def _stands_alone(
    deletion: _Deletion, distance: FloatArray, variance: FloatArray, deviates: FloatArray
) -> BoolArray:
    """Say where nobody else is half as far off on the same side."""
    own = distance / np.sqrt(variance @ deletion.distance**2)
    runner_up = np.maximum(deviates * np.sign(own)[:, None], 0.0).max(axis=1)
    return np.asarray(np.abs(own) > _APART * runner_up, dtype=np.bool_)


def _predictive_tail(
    deletion: _Deletion, distance: FloatArray, variance: FloatArray, df: FloatArray
) -> FloatArray:
    """Return the chance of a distance so far out on its side, the scale being known to `df` only."""
    above = variance @ np.maximum(deletion.distance, 0.0) ** 2
    below = variance @ np.minimum(deletion.distance, 0.0) ** 2
    relative, weight = _scale_posterior(df)
    shape_above = inverse_trigamma(above[:, None] * relative)
    shape_below = inverse_trigamma(below[:, None] * relative)
    # The distance is centred already; the two logs are not.
    log_ratio = distance[:, None] + psi(shape_above) - psi(shape_below)
    tail = np.where(
        distance[:, None] > 0,
        betainc(shape_below, shape_above, expit(-log_ratio)),
        betainc(shape_above, shape_below, expit(log_ratio)),
    )
    return np.asarray(np.maximum((tail * weight).sum(axis=1), _TINY), dtype=np.float64)


def _scale_posterior(df: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return multiples of the estimated variance and their weights: df over chi-square, on a grid of logs."""
    df = df[:, None]
    reach = _REACH * np.sqrt(2 / df)
    # The left tail of log chi-square is exponential, the slower the fewer degrees.
    lowest = -reach * (1 + _REACH / df)
    log_ratio = lowest + (reach - lowest) * np.linspace(0.0, 1.0, _NODES)
    log_density = df / 2 * (log_ratio - np.exp(log_ratio))
    weight = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    return np.exp(-log_ratio), weight / weight.sum(axis=1, keepdims=True)


def _aberrant_library(within: _Within, deletion: _Deletion, log_count: FloatArray) -> IntArray:
    """Return which of the subject's libraries that the contrast uses makes the distance."""
    own = np.flatnonzero(within.subject == deletion.code)
    level = log_count - (log_count @ deletion.effects.T) @ within.effects.T
    others = own if own.size > _PAIR else np.flatnonzero(within.subject != deletion.code)
    centre = np.median(level[:, others], axis=1, keepdims=True)
    candidates = own[np.abs(within.weight[own]) > _TOLERANCE]
    return np.asarray(candidates[np.argmax(np.abs(level[:, candidates] - centre), axis=1)], dtype=np.intp)


def _check(
    count: FloatArray,
    design: FloatArray,
    subject: NDArray[Any],
    contrast: FloatArray,
    *,
    size_factor: FloatArray,
    mean: FloatArray,
    dispersion: FloatArray,
) -> None:
    if count.ndim != 2:  # noqa: PLR2004 - genes by samples
        raise ValueError(f"count: shape {count.shape}: must be genes by samples")
    genes, samples = count.shape
    if design.ndim != 2 or design.shape[0] != samples:  # noqa: PLR2004 - samples by coefficients
        raise ValueError(f"design: shape {design.shape}: must have a row for each of {samples} samples")
    expected = {
        "size_factor": (size_factor, (samples,)),
        "mean": (mean, (genes, samples)),
        "trend_dispersion": (dispersion, (genes,)),
        "subject": (subject, (samples,)),
        "contrast": (contrast, (design.shape[1],)),
    }
    for name, (values, shape) in expected.items():
        if values.shape != shape:
            raise ValueError(f"{name}: shape {values.shape}: must be {shape}")
    if subject.dtype.kind not in "iu" or (subject < 0).any():
        raise ValueError("subject: not codes: must be whole numbers, zero or more")
    if (dispersion <= 0).any():
        raise ValueError(f"trend_dispersion: {np.nanmin(dispersion):g}: must be above zero, or NaN")
    if not contrast.any():
        raise ValueError("contrast: zero: must name at least one coefficient")
    rank = int(np.linalg.matrix_rank(design))
    if rank < design.shape[1]:
        raise ValueError(f"design: rank {rank} of {design.shape[1]} columns: must be of full column rank")
