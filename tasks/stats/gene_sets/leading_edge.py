"""Gene sets that say the same, brought together by the genes that carry them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from tasks.stats.gene_sets.membership import IndexArray, checked_members, indicator
from tasks.stats.types import checked_choice, checked_same_length, checked_vector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from tasks.stats.types import FloatArray

Similarity: TypeAlias = Literal["jaccard", "overlap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadingEdgeClusters:
    """For each set its cluster (1 holds the strongest set), and the place of its cluster's representative.

    `similarity` is that of a set and its representative, 1 for the representative itself.
    """

    method: str
    cluster: IndexArray
    representative: IndexArray
    similarity: FloatArray


def cluster_leading_edges(
    edges: Sequence[ArrayLike],
    strength: ArrayLike,
    *,
    least_similarity: float = 0.3,
    similarity: Similarity = "jaccard",
) -> LeadingEdgeClusters:
    """Bring sets together whose leading edges share genes, and name the strongest of each cluster.

    Parameters
    ----------
    edges : sequence of integer arrays
        The genes of each leading edge, as numbers; none may be empty.
    strength : (sets,) array
        How strong each set's result is, such as its absolute normalised score; the largest represents.
    least_similarity : float
        Clusters whose sets are on average less similar than this stay apart; from 0 to 1.
    similarity : {"jaccard", "overlap"}
        Shared genes over all genes of both, or over those of the smaller one: then a set inside another
        is the same.

    Returns
    -------
    LeadingEdgeClusters
        Average linkage, so that a chain of small overlaps does not join what shares nothing.

    Raises
    ------
    ValueError
        If an edge is empty, there are not as many strengths, or the threshold is outside 0 to 1.

    References
    ----------
    .. [1] Merico D et al. (2010). Enrichment Map: a network-based method for gene-set enrichment
       visualization and interpretation. PLoS One 5:e13984.
    """
    checked_choice("similarity", similarity, ("jaccard", "overlap"))
    if not 0 <= least_similarity <= 1:
        raise ValueError(f"least_similarity: {least_similarity}: must lie between 0 and 1")
    genes = 1 + max((int(np.max(edge)) for edge in edges if np.size(edge)), default=-1)
    sets = checked_members(edges, max(genes, 1))
    if empty := [number for number, edge in enumerate(sets) if not edge.size]:
        raise ValueError(f"edges: set {empty[0]}: is empty: a leading edge has at least one gene")
    power = checked_vector("strength", strength, at_least=0)
    checked_same_length("strength", power.size, "edges", len(sets))
    alike = _similarities(sets, genes, similarity)
    group = _groups(alike, least_similarity)
    # The first of equally strong sets represents; clusters count from the strongest.
    by_strength = np.argsort(-power, kind="stable")
    number: dict[int, int] = {}
    first: dict[int, int] = {}
    for place in by_strength.tolist():
        number.setdefault(int(group[place]), len(number) + 1)
        first.setdefault(int(group[place]), place)
    representative = np.array([first[int(one)] for one in group], dtype=np.intp)
    return LeadingEdgeClusters(
        method=f"average linkage of the {_NAMES[similarity]} of leading edges,"
        f" cut at {least_similarity:g}; the strongest set represents",
        cluster=np.array([number[int(one)] for one in group], dtype=np.intp),
        representative=representative,
        similarity=alike[np.arange(len(sets)), representative],
    )


_NAMES = {"jaccard": "Jaccard similarity", "overlap": "overlap coefficient"}


def _similarities(sets: list[IndexArray], genes: int, similarity: Similarity) -> FloatArray:
    belongs = indicator(sets, genes)
    shared = np.asarray((belongs @ belongs.T).todense())
    size = np.diag(shared)
    smaller = np.minimum(size[:, np.newaxis], size)
    together = size[:, np.newaxis] + size - shared if similarity == "jaccard" else smaller
    return np.asarray(shared / together, dtype=np.float64)


def _groups(alike: FloatArray, least_similarity: float) -> IndexArray:
    if alike.shape[0] < 2:  # noqa: PLR2004 - nothing to join
        return np.arange(alike.shape[0])
    distance = np.maximum(1 - alike, 0)
    np.fill_diagonal(distance, 0)
    tree = hierarchy.linkage(squareform(distance, checks=False), method="average")
    # A hair above, for means of shares that are equal in decimals and not in binary.
    return np.asarray(
        hierarchy.fcluster(tree, 1 - least_similarity + 1e-9, criterion="distance"), dtype=np.intp
    )
