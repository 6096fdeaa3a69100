"""The same fit with dispersions that are right on average, and how well each of them is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from scipy.special import polygamma
from scipy.stats import chi2

from tasks.stats.deseq.dispersion import MIN_DISPERSION, map_dispersion
from tasks.stats.deseq.glm import fit_glm
from tasks.stats.deseq.prior import dispersion_prior
from tasks.stats.trigamma import inverse_trigamma

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from tasks.stats.deseq.model import DeseqFit
    from tasks.stats.types import FloatArray

    BoolArray = NDArray[np.bool_]

Values = TypeVar("Values", bound="NDArray[Any]")

# Of the log dispersions: a tenth up or down, as even replicates of one library scatter.
LEAST_PRIOR_VARIANCE = 0.01
# As where the trend and the prior are estimated: estimates that rest on the lower bound say nothing.
_ABOVE_FLOOR = 100
# Degrees of freedom by theory are too few, most of all where they are: see the notes of `calibrated`.
_KNOWN_BETTER = 1.5
_MOST_DF = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedFit:
    """A fit, and per gene the degrees of freedom of the t distribution that its statistics follow nearly."""

    fit: DeseqFit
    degrees_of_freedom: FloatArray


def calibrated(
    fit: DeseqFit, *, shapes_trend: ArrayLike | None = None, threads: int | None = None
) -> CalibratedFit:
    """Shrink the dispersions anew so that tests hold their level; the coefficients follow.

    Parameters
    ----------
    fit : DeseqFit
    shapes_trend : (genes,) array of bool, optional
        As given to `fit_deseq`.
    threads : int, optional
        The result does not depend on it.

    Returns
    -------
    CalibratedFit
        The fit as it is, with its residual degrees of freedom, where it has no trend.

    Notes
    -----
    DESeq2's test takes dispersions as known. They are shrunken towards the trend, which follows their mean,
    as if it were the middle of their logarithms, and with a prior variance of .25 at least. The first errs
    to one side, the other two to the other, and by how much depends on how dispersions scatter [1]_. Here
    the trend is moved to the middle, the prior variance is the estimate, and the posterior variance of the
    log dispersion gives degrees of freedom: that of a log chi-squared over its degrees of freedom, the share
    of a count's variance that comes from the dispersion weighed in. These are too few by simulation, as the
    posterior is no normal distribution; half as many again hold the level from four pairs to twelve and at
    any scatter tried (docs/proofs.md). A gene that keeps its own dispersion has the residual ones.

    References
    ----------
    .. [1] Love MI, Huber W, Anders S (2014). Genome Biology 15:550, Methods.
    """
    residual_df = fit.structure.residual_df
    usable = np.isfinite(fit.dispersion)
    own, on_trend = fit.gene_wise_dispersion[usable], fit.fitted_dispersion[usable]
    shapes = np.ones(len(own), dtype=np.bool_)
    if shapes_trend is not None:
        shapes = np.asarray(shapes_trend, dtype=np.bool_)[usable]
    sampling = float(polygamma(1, residual_df / 2))
    known = np.full(len(own), sampling)
    if fit.prior is not None and fit.trend is not None:
        prior = dispersion_prior(
            own[shapes],
            on_trend[shapes],
            residual_df=residual_df,
            min_dispersion=MIN_DISPERSION,
            least_variance=LEAST_PRIOR_VARIANCE,
        )
        says = shapes & (own >= _ABOVE_FLOOR * MIN_DISPERSION)
        scatter = np.median(np.log(own[says] / on_trend[says]))
        middle = on_trend * np.exp(scatter - np.log(chi2.median(residual_df) / residual_df))
        count, mean = fit.count[usable], fit.mean[usable]
        shrunken = map_dispersion(
            count,
            mean,
            fit.structure,
            own,
            middle,
            prior.variance,
            residual_variance=prior.residual_variance,
            threads=threads,
        )
        glm = fit_glm(count, fit.size_factor, fit.structure, shrunken.dispersion, threads=threads)
        fit = replace(
            fit,
            prior=prior,
            fitted_dispersion=_filled(fit.fitted_dispersion, usable, middle),
            dispersion=_filled(fit.dispersion, usable, shrunken.dispersion),
            is_dispersion_outlier=_filled(fit.is_dispersion_outlier, usable, shrunken.is_outlier),
            coefficient=_filled(fit.coefficient, usable, glm.coefficient),
            mean=_filled(fit.mean, usable, glm.mean),
            leverage=_filled(fit.leverage, usable, glm.leverage),
            converged=_filled(fit.converged, usable, glm.converged),
        )
        known = np.where(shrunken.is_outlier, sampling, 1 / (1 / prior.variance + 1 / sampling))
    dispersion = fit.dispersion[usable]
    share = (dispersion[:, None] / (dispersion[:, None] + 1 / fit.mean[usable])).mean(axis=1)
    df = _KNOWN_BETTER * 2 * inverse_trigamma(np.maximum(known * share**2, 1 / _MOST_DF))
    return CalibratedFit(
        fit=fit, degrees_of_freedom=_filled(np.full(len(usable), np.nan), usable, np.minimum(df, _MOST_DF))
    )


def _filled(whole: Values, usable: BoolArray, values: Values) -> Values:
    filled = whole.copy()
    filled[usable] = values
    return filled
