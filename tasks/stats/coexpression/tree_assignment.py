"""What the tree left outside its clusters goes to the nearest of them, if that is near enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.coexpression.condensed import sums_to_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.coexpression.tree_branches import Branches
    from tasks.stats.types import FloatArray


def assign_by_distance(
    branches: Branches, dissimilarity: FloatArray, *, limit: float, respects_dendrogram: bool
) -> NDArray[np.int64]:
    """Return labels (leaves,) after the stage that resembles partitioning around medoids.

    A small tight branch goes as a whole, any other leaf by itself, to the cluster of the least mean
    dissimilarity, when that is below `limit` or the cluster's width: the largest mean dissimilarity of one of
    its leaves to the others. Distances are to the clusters as the tree gave them, whatever joined since.
    """
    label = branches.label.copy()
    by_tree = branches.label
    n_clusters = int(by_tree.max())
    size = np.bincount(by_tree, minlength=n_clusters + 1)[1:]
    total = sums_to_groups(dissimilarity, by_tree)
    width = np.array(
        [
            (total[by_tree == cluster + 1, cluster] / max(size[cluster] - 1, 1)).max()
            for cluster in range(n_clusters)
        ]
    )
    mean = total / size

    def nearest(leaves: NDArray[np.intp], allowed: list[int]) -> int:
        distance = mean[leaves][:, np.array(allowed) - 1].mean(axis=0)
        place = int(distance.argmin())
        cluster = allowed[place]
        is_near = distance[place] < width[cluster - 1] or distance[place] < limit
        return cluster if is_near else 0

    everywhere = list(range(1, n_clusters + 1))
    settled = label > 0
    for number in np.unique(branches.small[branches.small > 0]):
        leaves = np.flatnonzero(branches.small == number)
        allowed = (
            branches.clusters_on.get(int(branches.composite[leaves[0]]), [])
            if respects_dendrogram
            else everywhere
        )
        if allowed:
            label[leaves] = nearest(leaves, allowed)
            settled[leaves] = True
    for leaf in np.flatnonzero(~settled):
        allowed = (
            branches.clusters_on.get(int(branches.composite[leaf]), []) if respects_dendrogram else everywhere
        )
        if allowed:
            label[leaf] = nearest(np.array([leaf]), allowed)
    return label
