"""Dispersions of genes: rough starts, gene-wise maxima of the adjusted likelihood, shrunken estimates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tasks.stats.deseq.blocks import each_block
from tasks.stats.deseq.cox_reid import Profile
from tasks.stats.deseq.glm import MIN_MEAN, fit_block
from tasks.stats.deseq.roots import bracketed_root
from tasks.stats.deseq.strata import Design, analysed_design

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tasks.stats.types import FloatArray

BoolArray = NDArray[np.bool_]

MIN_DISPERSION = 1e-8
# A gene that starts at the lower bound stays there unless its likelihood rises faster than this with the log
# dispersion: R's DESeq2 would stop at once (its step would gain less than 1e-6), and its trend leaves such
# genes out even where they have a maximum further up.
_FLAT = 1e-3
# The slopes' signs are looked at on a grid of log dispersions: fine enough that no maximum worth having lies
# between two points of the same sign.
_GRID_START, _GRID_STEP = -13.0, 1.25
_OUTLIER_SD = 2.0
_LARGEST_DISPERSION = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneWise:
    """Gene-wise dispersions with the means they were found at.

    Attributes
    ----------
    dispersion : (genes,) array
        The highest maximum, `min_dispersion` where that is dispersion zero.
    mean : (genes, samples) array
        Thresholded from below.
    converged : (genes,) array
        Of the fit of the means.
    """

    dispersion: FloatArray
    mean: FloatArray
    converged: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class MapDispersion:
    """The dispersion to use, the shrunken one, and whether the gene keeps its own, far above the trend."""

    dispersion: FloatArray
    shrunken: FloatArray
    is_outlier: BoolArray


def max_dispersion(samples: int) -> float:
    return max(_LARGEST_DISPERSION, float(samples))


def rough_dispersion(normalised: FloatArray, design: Design) -> FloatArray:
    """Estimate dispersions from squared residuals of a linear fit to (genes, samples) normalised counts."""
    fitted = np.maximum(design.fitted(normalised), 1.0)
    excess = ((normalised - fitted) ** 2 - fitted) / fitted**2
    rough: FloatArray = np.maximum(excess.sum(axis=1) / design.residual_df, 0.0)
    return rough


def moments_dispersion(normalised: FloatArray, size_factor: FloatArray) -> FloatArray:
    """Estimate dispersions from mean and variance of (genes, samples) normalised counts, design ignored."""
    mean = normalised.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        moments: FloatArray = (normalised.var(axis=1, ddof=1) - (1 / size_factor).mean() * mean) / mean**2
    return moments


def gene_wise_dispersion(
    count: ArrayLike,
    size_factor: ArrayLike,
    design: ArrayLike | Design,
    *,
    min_dispersion: float = MIN_DISPERSION,
    threads: int | None = None,
) -> GeneWise:
    """Estimate each gene's dispersion by the highest maximum of its Cox-Reid adjusted profile likelihood.

    The means are those of a log-linear fit at a rough dispersion or, where the design fits each of its
    distinct rows freely, the means of the normalised counts of each row.

    Parameters
    ----------
    count : (genes, samples) array
        No gene without a count.
    size_factor : (samples,) array
    design : (samples, coefficients) array
        Of full column rank, with fewer coefficients than samples.
    min_dispersion : float
        A gene whose rough estimate is no higher stays there unless its likelihood rises from there.

    Returns
    -------
    GeneWise

    References
    ----------
    .. [1] Love MI, Huber W, Anders S (2014). Genome Biology 15:550, Methods, "Estimation of dispersions".
    """
    structure = design if isinstance(design, Design) else analysed_design(design)
    counts = np.asarray(count, dtype=np.float64)
    factor = np.asarray(size_factor, dtype=np.float64)
    bounds = (np.log(min_dispersion), np.log(max_dispersion(counts.shape[1])))
    result = GeneWise(
        dispersion=np.empty(len(counts)),
        mean=np.empty(counts.shape),
        converged=np.ones(len(counts), dtype=np.bool_),
    )

    def work(block: slice) -> None:
        here = counts[block]
        normalised = here / factor
        start = np.minimum(rough_dispersion(normalised, structure), moments_dispersion(normalised, factor))
        start = np.clip(start, *np.exp(bounds))
        if structure.is_saturated_in_cells:
            mean: FloatArray = structure.fitted(normalised) * factor
        else:
            fit = fit_block(here, factor, structure, start)
            mean, result.converged[block] = fit.mean, fit.converged
        mean = np.maximum(mean, MIN_MEAN)
        result.mean[block] = mean
        profile = Profile(count=here, mean=mean, design=structure)
        result.dispersion[block] = np.exp(_highest(profile, np.log(start), bounds))

    each_block(work, *counts.shape, threads=threads)
    return result


def map_dispersion(  # noqa: PLR0917 -- five arrays and their prior, all of them needed
    count: ArrayLike,
    mean: ArrayLike,
    design: ArrayLike | Design,
    gene_wise: ArrayLike,
    trend: ArrayLike,
    prior_variance: float,
    *,
    residual_variance: float,
    min_dispersion: float = MIN_DISPERSION,
    threads: int | None = None,
) -> MapDispersion:
    """Shrink gene-wise dispersions towards the trend: the posterior mode under a log-normal prior.

    Parameters
    ----------
    count, mean : (genes, samples) array
    design : (samples, coefficients) array
    gene_wise, trend : (genes,) array
        Dispersions; the trend is the centre of the prior.
    prior_variance, residual_variance : float
        Of the log dispersion, and of the gene-wise log dispersions about the trend.

    Returns
    -------
    MapDispersion
        A gene whose gene-wise estimate lies more than two residual standard deviations above the trend is an
        outlier and keeps that estimate.

    References
    ----------
    .. [1] Love MI, Huber W, Anders S (2014). Genome Biology 15:550, equations 17 to 19.
    """
    structure = design if isinstance(design, Design) else analysed_design(design)
    counts, means = np.asarray(count, dtype=np.float64), np.asarray(mean, dtype=np.float64)
    own, centre = (np.log(np.asarray(part, dtype=np.float64)) for part in (gene_wise, trend))
    bounds = (np.log(min_dispersion), np.log(max_dispersion(counts.shape[1])))
    shrunken = np.empty(len(counts))

    def work(block: slice) -> None:
        posterior = Profile(
            count=counts[block],
            mean=means[block],
            design=structure,
            prior_mean=centre[block],
            prior_variance=prior_variance,
        )
        shrunken[block] = np.exp(_between(posterior, own[block], centre[block], bounds))

    each_block(work, *counts.shape, threads=threads)
    is_outlier = own > centre + _OUTLIER_SD * np.sqrt(residual_variance)
    return MapDispersion(
        dispersion=np.where(is_outlier, np.exp(own), shrunken), shrunken=shrunken, is_outlier=is_outlier
    )


def _highest(profile: Profile, start: FloatArray, bounds: tuple[float, float]) -> FloatArray:
    """Return the log dispersion of the highest maximum."""
    low, high = bounds
    genes = len(start)
    grid = np.array([low, *np.arange(_GRID_START, high, _GRID_STEP), high])
    slope = np.array([profile.slope(np.full(genes, point), slice(None)) for point in grid])
    rises = slope > 0
    left, turning = np.nonzero(rises[:-1] & ~rises[1:])
    ends = np.stack([grid[left], grid[left + 1]])
    inner = bracketed_root(
        profile.slope, turning, ends, np.stack([slope[left, turning], slope[left + 1, turning]])
    )
    at_high, at_low = np.flatnonzero(rises[-1]), np.flatnonzero(~rises[0])
    gene = np.concatenate([turning, at_high, at_low])
    maximum = np.concatenate([inner, np.full(at_high.size, high), np.full(at_low.size, low)])
    best = _best_of_each(profile, gene, maximum, genes)
    best[(start <= low) & (slope[0] <= _FLAT)] = low
    return best


def _best_of_each(profile: Profile, gene: NDArray[np.intp], maximum: FloatArray, genes: int) -> FloatArray:
    """Return for each gene the one of its maxima with the highest likelihood."""
    best = np.empty(genes)
    best[gene] = maximum
    is_one_of_several = np.bincount(gene, minlength=genes)[gene] > 1
    contested, candidate = gene[is_one_of_several], maximum[is_one_of_several]
    if contested.size:
        ascending = np.argsort(profile.likelihood(candidate, contested), kind="stable")
        # Of values assigned to the same place the last one stays.
        best[contested[ascending]] = candidate[ascending]
    return best


def _between(
    posterior: Profile, own: FloatArray, centre: FloatArray, bounds: tuple[float, float]
) -> FloatArray:
    """Return the posterior mode: likelihood and prior pull to either side between their own maxima."""
    ends = np.clip(np.stack([np.minimum(own, centre), np.maximum(own, centre)]), *bounds)
    everyone = np.arange(len(own))
    slope = np.stack([posterior.slope(point, everyone) for point in ends])
    _widen(posterior, ends, slope, bounds)
    mode: FloatArray = np.where(slope[0] <= 0, ends[0], ends[1])
    gene = np.flatnonzero((slope[0] > 0) & (slope[1] < 0))
    mode[gene] = bracketed_root(posterior.slope, gene, ends[:, gene], slope[:, gene])
    return mode


def _widen(posterior: Profile, ends: FloatArray, slope: FloatArray, bounds: tuple[float, float]) -> None:
    """Move ends outwards, in place, until the posterior falls from both (a gene that starts at a bound)."""
    for end, sign, bound in ((0, -1.0, bounds[0]), (1, 1.0, bounds[1])):
        step = 1.0
        gene = np.flatnonzero((slope[end] * sign > 0) & (ends[end] != bound))
        while gene.size:
            other = 1 - end
            ends[other, gene], slope[other, gene] = ends[end, gene], slope[end, gene]
            ends[end, gene] = np.clip(ends[end, gene] + sign * step, *bounds)
            slope[end, gene] = posterior.slope(ends[end, gene], gene)
            gene = gene[(slope[end, gene] * sign > 0) & (ends[end, gene] != bound)]
            step *= 2
