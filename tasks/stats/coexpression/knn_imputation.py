"""Missing values of a gene from the genes nearest to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tasks.stats.types import FloatArray

_MOST_MISSING = 0.5


def knn_imputed(value: FloatArray, *, neighbours: int = 10) -> FloatArray:
    """Fill the gaps of expression (genes, samples) with the mean of the `neighbours` nearest genes.

    Nearness is the mean squared difference over the samples that both genes have. Where none of the
    neighbours has the sample, and for a gene of which more than half is missing, the sample's mean over all
    genes is taken.

    References
    ----------
    Troyanskaya O et al. Missing value estimation methods for DNA microarrays. Bioinformatics 2001;17:520-525.
    """
    known = np.isfinite(value)
    if known.all():
        return value
    filled = value.copy()
    with np.errstate(invalid="ignore"):
        column_mean = np.where(known, value, 0).sum(axis=0) / known.sum(axis=0)
    zeroed = np.where(known, value, 0.0)
    usable = (~known).mean(axis=1) <= _MOST_MISSING
    for gene in np.flatnonzero(~known.all(axis=1)):
        gaps = ~known[gene]
        if not usable[gene]:
            filled[gene, gaps] = column_mean[gaps]
            continue
        shared = known & known[gene]
        n_shared = shared.sum(axis=1)
        squared = (((zeroed - zeroed[gene]) ** 2) * shared).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            distance = np.where((n_shared > 0) & usable, squared / n_shared, np.inf)
        distance[gene] = np.inf
        nearest = np.argsort(distance, kind="stable")[: min(neighbours, int(np.isfinite(distance).sum()))]
        count = known[nearest][:, gaps].sum(axis=0)
        total = zeroed[nearest][:, gaps].sum(axis=0)
        filled[gene, gaps] = np.where(count > 0, total / np.maximum(count, 1), column_mean[gaps])
    return filled
