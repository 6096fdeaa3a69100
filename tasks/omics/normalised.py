"""Expression on a scale where samples can be compared: size factors out, variance made even over the mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.deseq.dispersion import gene_wise_dispersion
from tasks.stats.deseq.size_factors import median_of_ratios
from tasks.stats.deseq.trend import dispersion_trend
from tasks.stats.deseq.variance_stabilising import variance_stabilising
from warehouse.errors import AnalysisError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.omics.counts import CountMatrix
    from tasks.stats.types import FloatArray

_LEAST = 2
# The trend is as well determined by so many genes, spread over all means, as by twenty times as many.
_GENES_FOR_TREND = 1000
_LEAST_MEAN_FOR_TREND = 5
_HALF_A_READ = 0.5


def vst(counts: CountMatrix, *, design: FloatArray | None = None) -> FloatArray:
    """Return variance-stabilised expression on the log2 scale, genes by samples as in `counts`.

    Without `design` (samples by coefficients) the dispersions know nothing of the groups, as quality control
    and sample scores need: no sample may be pulled towards what its label promises. The trend of the
    dispersions comes from a thousand genes spread evenly over those above five reads, as in DESeq2's `vst`,
    or from all genes where there are fewer. A gene without a read in
    any sample has the same value in all of them.

    Raises
    ------
    AnalysisError
        For fewer than two samples, or without any read.
    """
    count = counts.count
    if count.shape[1] < _LEAST:
        raise AnalysisError(
            f"omics.sample: {count.shape[1]} sample(s) kept: at least {_LEAST} are needed to compare"
        )
    has_reads = count.any(axis=1)
    if not has_reads.any():
        raise AnalysisError("omics.expression: every count is zero")
    size_factor = size_factors(count)
    normalised = count / size_factor
    chosen = _for_trend(normalised.mean(axis=1))
    blind = np.ones((count.shape[1], 1))
    gene_wise = gene_wise_dispersion(count[chosen], size_factor, blind if design is None else design)
    try:
        trend = dispersion_trend(normalised[chosen].mean(axis=1), gene_wise.dispersion)
    except ValueError:
        # No gene varies more than reads drawn from one tube would: there is no dispersion to make even.
        return np.log2(normalised + _HALF_A_READ)
    stabilised = variance_stabilising(normalised[has_reads], trend, size_factor=size_factor)
    result = np.full(count.shape, float(stabilised.min()))
    if not has_reads.all():
        # What the transformation makes of no reads; with a local trend it depends on the genes beside it.
        silent = np.zeros((1, count.shape[1]))
        with_silent = variance_stabilising(
            np.vstack([normalised[has_reads], silent]), trend, size_factor=size_factor
        )
        result[~has_reads] = with_silent[-1]
    result[has_reads] = stabilised
    return result


def _for_trend(mean: FloatArray) -> NDArray[np.intp]:
    high = np.flatnonzero(mean > _LEAST_MEAN_FOR_TREND)
    if high.size < _GENES_FOR_TREND:
        return np.flatnonzero(mean > 0)
    by_mean = high[np.argsort(mean[high], kind="stable")]
    return by_mean[np.round(np.linspace(0, high.size - 1, _GENES_FOR_TREND)).astype(np.intp)]


def size_factors(count: FloatArray) -> FloatArray:
    """Return size factors by median of ratios, over genes with zeros where every gene has one."""
    everywhere = (count > 0).all(axis=1).any()
    return median_of_ratios(count, kind="ratio" if everywhere else "poscounts")


def most_variable(value: FloatArray, number: int) -> NDArray[np.intp]:
    """Return the rows with the largest variance, the largest first; constant rows are never among them."""
    variance = value.var(axis=1)
    order = np.argsort(-variance, kind="stable")[:number]
    varying: NDArray[np.intp] = order[variance[order] > 0]
    return varying
