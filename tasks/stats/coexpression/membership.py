"""How closely each gene follows each module, and how it is connected within its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.coexpression.correlation import (
    correlation_p_value,
    cross_correlation,
    paired_observations,
)
from tasks.stats.coexpression.settings import UNASSIGNED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.coexpression.eigengene import Eigengenes
    from tasks.stats.coexpression.settings import CorrelationKind
    from tasks.stats.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Correlations (genes, modules) with two-sided Student p-values and the samples each pair has."""

    kme: FloatArray
    p_value: FloatArray
    n: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Connectivity:
    """Sums of adjacencies of each gene (genes,): to all, to its module, to the rest, and the difference."""

    total: FloatArray
    within: FloatArray
    out: FloatArray
    diff: FloatArray


def module_membership(
    value: FloatArray,
    eigengenes: Eigengenes,
    *,
    kind: CorrelationKind = "pearson",
    max_p_outliers: float = 1.0,
) -> Membership:
    """Correlate each gene of expression (genes, samples) with each eigengene: kME, in WGCNA's `signedKME`.

    The p-value takes samples as independent; two biopsies of one patient are not, and it is then too small.
    """
    return gene_significance(value, eigengenes.value, kind=kind, max_p_outliers=max_p_outliers)


def gene_significance(
    value: FloatArray, trait: FloatArray, *, kind: CorrelationKind = "pearson", max_p_outliers: float = 1.0
) -> Membership:
    """Correlate each gene (genes, samples) with each trait (traits, samples); NaN is missing in either."""
    kme = cross_correlation(value, trait, kind=kind, max_p_outliers=max_p_outliers)
    n = paired_observations(value, np.atleast_2d(trait))
    return Membership(kme=kme, p_value=correlation_p_value(kme, n), n=n)


def intramodular_connectivity(adjacency: FloatArray, label: NDArray[np.int64]) -> Connectivity:
    """Sum each gene's adjacencies (genes, genes), its own left out; `within` is NaN for unassigned genes."""
    own = np.diagonal(adjacency).astype(np.float64)
    total = adjacency.sum(axis=1, dtype=np.float64) - own
    within = np.full(len(label), np.nan)
    for module in np.unique(label[label != UNASSIGNED]):
        members = np.flatnonzero(label == module)
        within[members] = adjacency[np.ix_(members, members)].sum(axis=1, dtype=np.float64) - own[members]
    return Connectivity(total=total, within=within, out=total - within, diff=2 * within - total)


def rank_in_module(kme: FloatArray, label: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rank the genes of each module by the kME (genes,) in their own, 1 the highest; 0 for unassigned."""
    rank = np.zeros(len(label), dtype=np.int64)
    for module in np.unique(label[label != UNASSIGNED]):
        members = np.flatnonzero(label == module)
        order = np.argsort(-np.nan_to_num(kme[members], nan=-np.inf), kind="stable")
        rank[members[order]] = np.arange(1, len(members) + 1)
    return rank
