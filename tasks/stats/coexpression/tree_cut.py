"""The dynamic hybrid cut of a dendrogram: clusters by the shape of branches, then the rest by distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.coexpression.tree_assignment import assign_by_distance
from tasks.stats.coexpression.tree_branches import Limits, find_branches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.coexpression.linkage import Dendrogram
    from tasks.stats.types import FloatArray

_SCATTER = (0.64, 0.73, 0.82, 0.91, 0.95)
_REFERENCE_QUANTILE = 0.05
_DEEPEST = len(_SCATTER) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeCut:
    """The clusters of the leaves.

    `label` (leaves,): 0 unassigned, 1.. by falling size; `is_core` (leaves,): in the core of its cluster;
    `by_tree` (leaves,): assigned by the tree, not afterwards by distance.
    """

    label: NDArray[np.int64]
    is_core: NDArray[np.bool_]
    by_tree: NDArray[np.bool_]


def cut_tree_hybrid(
    dendrogram: Dendrogram,
    dissimilarity: FloatArray,
    *,
    deep_split: int = 2,
    min_cluster_size: int = 20,
    cut_height: float | None = None,
    max_pam_distance: float | None = None,
    pam_stage: bool = True,
    pam_respects_dendrogram: bool = True,
) -> TreeCut:
    """Cut a dendrogram of condensed dissimilarities, as cutreeDynamic(method = "hybrid") of dynamicTreeCut.

    Going up the tree, two branches stay apart when both are large enough, tight in their core, and join well
    above it; else one is taken into the other. `deep_split` 0 to 4 says how little is enough. Leaves outside
    the clusters then go to the nearest (`pam_stage`) by mean dissimilarity, if that is below
    `max_pam_distance` (the cut height) or the cluster's own width; with `pam_respects_dendrogram` only to
    clusters on their own branch. Above `cut_height` (by default 99 % of the range of heights) nothing is
    joined.

    Raises
    ------
    ValueError
        For a dissimilarity of another size, a `deep_split` outside 0 to 4, or a cluster size below 1.

    References
    ----------
    Langfelder P, Zhang B, Horvath S. Defining clusters from a hierarchical cluster tree: the Dynamic Tree Cut
    package for R. Bioinformatics 2008;24:719-720.
    """
    n = dendrogram.n_leaves
    if dissimilarity.shape != (n * (n - 1) // 2,):
        raise ValueError(f"dissimilarity: shape {dissimilarity.shape}: must be condensed, of the {n} leaves")
    if not 0 <= deep_split <= _DEEPEST:
        raise ValueError(f"deep_split: {deep_split}: must be from 0 to {_DEEPEST}")
    if min_cluster_size < 1:
        raise ValueError(f"min_cluster_size: {min_cluster_size}: must be 1 or more")
    height = dendrogram.height
    reference = float(height[max(round(len(height) * _REFERENCE_QUANTILE), 1) - 1])
    highest = float(height.max())
    given = max_pam_distance if max_pam_distance is not None else cut_height
    cut = 0.99 * (highest - reference) + reference if cut_height is None else min(cut_height, highest)
    nothing = TreeCut(
        label=np.zeros(n, dtype=np.int64),
        is_core=np.zeros(n, dtype=np.bool_),
        by_tree=np.zeros(n, dtype=np.bool_),
    )
    if int((height <= cut).sum()) < min_cluster_size:
        return nothing
    scatter = _SCATTER[deep_split]
    limits = Limits(
        cut_height=cut,
        min_size=min_cluster_size,
        max_scatter=reference + scatter * (cut - reference),
        min_gap=(1 - scatter) * 3 / 4 * (cut - reference),
        min_split_height=reference,
    )
    branches = find_branches(dendrogram, dissimilarity, limits, nested=pam_stage and pam_respects_dendrogram)
    label = branches.label.copy()
    if pam_stage and label.any() and not label.all():
        label = assign_by_distance(
            branches,
            dissimilarity,
            limit=cut if given is None else given,
            respects_dendrogram=pam_respects_dendrogram,
        )
    number = _by_size(label)
    return TreeCut(label=number[label], is_core=branches.is_core, by_tree=branches.label > 0)


def _by_size(label: NDArray[np.int64]) -> NDArray[np.int64]:
    size = np.bincount(label)
    order = np.argsort(-size[1:], kind="stable") + 1
    number = np.zeros(len(size), dtype=np.int64)
    number[order] = np.arange(1, len(size))
    return number
