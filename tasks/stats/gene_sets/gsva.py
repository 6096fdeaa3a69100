"""Gene set variation analysis: how high the genes of a set stand in a sample, each against all samples."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy import special

from tasks.stats.gene_sets.membership import (
    IndexArray,
    SampleScores,
    checked_expression,
    checked_members,
    within,
)
from tasks.stats.types import checked_choice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from tasks.stats.types import FloatArray

Kernel: TypeAlias = Literal["gaussian", "none"]

# A gene that varies by less than this has no place among the samples.
LEAST_SD = 1e-10
# The bandwidth of a gene's kernel is its standard deviation over this.
_BANDWIDTHS_PER_SD = 4.0
# The normal distribution function is read from a table with this many steps for each of ten bandwidths, as
# R's GSVA reads it: scores are made of ranks, and a finer function would order near ties another way.
_STEPS, _WIDEST = 10_000, 10.0
_TABLE = special.ndtr(_WIDEST * np.arange(_STEPS + 1) / _STEPS)
# Genes at a time, so that a block of genes by samples stays in the processor's cache.
_BLOCK_ELEMENTS = 16_384


def gsva(
    expression: ArrayLike,
    members: Sequence[ArrayLike],
    *,
    kernel: Kernel = "gaussian",
    max_difference: bool = True,
    threads: int = 2,
) -> SampleScores:
    """Score gene sets in each sample by the walk of Hänzelmann, Castelo and Guinney.

    Parameters
    ----------
    expression : (genes, samples) array
        On a scale of continuous values, such as VST or log2 of counts per million; finite. The order of rows
        breaks ties.
    members : sequence of integer arrays
        The rows of each set's genes.
    kernel : {"gaussian", "none"}
        Estimate each gene's distribution over the samples by a Gaussian kernel with bandwidth of a quarter of
        its standard deviation, or take the empirical one.
    max_difference : bool
        Add the largest deviations of the walk to both sides; otherwise take the larger of the two.
    threads : int
        The result does not depend on it in any bit.

    Returns
    -------
    SampleScores
        From -1 to 1, positive when the set's genes stand high in this sample compared with the other
        samples. Genes without variation take no part.

    Raises
    ------
    ValueError
        If the expression is not a finite matrix of two samples and genes that vary, or a set names a row that
        there is not.

    Notes
    -----
    With F_g the estimated distribution of gene g, the genes of a sample are put in descending order of
    logit F_g(x_gj). A gene at place r of p weighs |p / 2 - r + 1|; the walk rises at members by their share
    of the members' weight and falls at the others by 1 / (p - k) [1]_.

    A score belongs to its set of samples: without one sample all others have other scores.

    References
    ----------
    .. [1] Hänzelmann S, Castelo R, Guinney J (2013). GSVA: gene set variation analysis for microarray and
       RNA-seq data. BMC Bioinformatics 14:7, eq. 1-5.
    """
    checked_choice("kernel", kernel, ("gaussian", "none"))
    values = checked_expression(expression, samples=2)
    sets = checked_members(members, values.shape[0])
    varies = values.std(axis=1, ddof=1) >= LEAST_SD
    n_genes = int(varies.sum())
    if n_genes < 2:  # noqa: PLR2004 - a gene outside the set
        raise ValueError(f"expression: {n_genes} gene(s) vary over the samples: at least 2 needed")
    sets = within(sets, varies)
    place = _places(_relative(values[varies], kernel, threads))
    score = np.full((len(sets), values.shape[1]), np.nan)
    for number, rows in enumerate(sets):
        if 0 < rows.size < n_genes:
            high, low = _extremes(place[rows], n_genes)
            score[number] = high + low if max_difference else np.where(high > -low, high, low)
    return SampleScores(
        method=f"GSVA, {'Gaussian kernel' if kernel == 'gaussian' else 'empirical distribution'}"
        + (", difference of the maxima" if max_difference else ", larger maximum"),
        score=score,
        size=np.array([rows.size for rows in sets], dtype=np.intp),
        n_genes=n_genes,
    )


def _relative(values: FloatArray, kernel: Kernel, threads: int) -> FloatArray:
    """Return where each value stands among those of its gene: the logit of the distribution function."""
    rows = max(_BLOCK_ELEMENTS // values.shape[1], 1)
    blocks = [slice(start, start + rows) for start in range(0, values.shape[0], rows)]
    share = _kernel_share if kernel == "gaussian" else _empirical_share
    result = np.empty_like(values)

    def fill(block: slice) -> None:
        below = share(values[block])
        with np.errstate(divide="ignore"):
            result[block] = -np.log((1 - below) / below)

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(fill, blocks):
            pass
    return result


def _kernel_share(values: FloatArray) -> FloatArray:
    # Sums run over the samples one by one, here and in R: pairwise sums would part values that R finds tied.
    n_samples = values.shape[1]
    mean = _sum(values) / n_samples
    bandwidth = np.sqrt(_sum(np.square(values - mean)) / (n_samples - 1)) / _BANDWIDTHS_PER_SD
    below = np.zeros_like(values)
    for sample in range(n_samples):
        distance = (values - values[:, sample : sample + 1]) / bandwidth
        step = (np.minimum(np.abs(distance), _WIDEST) / _WIDEST * _STEPS).astype(np.intp)
        tail = _TABLE[step]
        below += np.where(distance < 0, 1 - tail, tail)
    return np.asarray(below / n_samples)


def _sum(values: FloatArray) -> FloatArray:
    return np.cumsum(values, axis=1)[:, -1:]


def _empirical_share(values: FloatArray) -> FloatArray:
    share = np.empty_like(values)
    for gene, row in enumerate(values):
        share[gene] = np.searchsorted(np.sort(row), row, side="right")
    return np.asarray(share / values.shape[1])


def _places(relative: FloatArray) -> IndexArray:
    """Return each gene's place in its sample, 0 for the highest; ties in order of the rows."""
    order = np.argsort(-relative, axis=0, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(order.shape[0])[:, np.newaxis], axis=0)
    return place


def _extremes(place: IndexArray, n_genes: int) -> tuple[FloatArray, FloatArray]:
    """Return the walk's highest and lowest point in each sample; it can turn only at a member."""
    size = place.shape[0]
    place = np.sort(place, axis=0)
    # In whole steps of one half, so that the sums are exact.
    weight = np.abs(2 * (n_genes - place) - n_genes)
    risen = np.cumsum(weight, axis=0)
    member = np.arange(size)[:, np.newaxis]
    fallen = (place - member) / (n_genes - size)
    high = (risen / risen[-1] - fallen).max(axis=0)
    low = ((risen - weight) / risen[-1] - fallen).min(axis=0)
    return np.maximum(high, 0), np.minimum(low, 0)
