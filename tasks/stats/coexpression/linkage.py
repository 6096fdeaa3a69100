"""Average linkage, as a dendrogram in the convention of R's hclust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import fastcluster
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Dendrogram:
    """A tree of merges by rising height.

    `merge` (leaves - 1, 2): a negative number is a leaf, counted from 1, a positive one the merge of that
    row, counted from 1. `height` (leaves - 1,). `order` (leaves,): the leaves from left to right, from 0.
    """

    merge: NDArray[np.int64]
    height: FloatArray
    order: NDArray[np.int64]

    @property
    def n_leaves(self) -> int:
        return len(self.height) + 1


def average_linkage(condensed: FloatArray) -> Dendrogram:
    """Cluster by average linkage (UPGMA) of the condensed dissimilarities, on a copy in double precision."""
    tree = fastcluster.linkage(_UsedUp(condensed.astype(np.float64)), method="average", preserve_input=False)
    n_leaves = len(tree) + 1
    joined = np.sort(tree[:, :2].astype(np.int64), axis=1)
    merge = np.where(joined < n_leaves, -joined - 1, joined - n_leaves + 1)
    return Dendrogram(merge=merge, height=tree[:, 2].copy(), order=_order(merge))


class _UsedUp:
    """Hands an array over as it is: fastcluster 1.3.0 copies a plain one even when it may overwrite it."""

    def __init__(self, value: FloatArray) -> None:
        self._value = value

    def __array__(self, dtype: object = None, copy: bool | None = None) -> FloatArray:
        return self._value


def _order(merge: NDArray[np.int64]) -> NDArray[np.int64]:
    order = []
    waiting = [len(merge)]
    pairs = merge.tolist()
    while waiting:
        node = waiting.pop()
        if node < 0:
            order.append(-node - 1)
        else:
            left, right = pairs[node - 1]
            waiting += [right, left]
    return np.array(order, dtype=np.int64)


def cut_at(dendrogram: Dendrogram, height: float) -> NDArray[np.int64]:
    """Return the branch of each leaf, from 0 in the order of the leaves, after merges up to `height`."""
    of_merge: dict[int, list[int]] = {}
    for number, ((one, two), at) in enumerate(
        zip(dendrogram.merge.tolist(), dendrogram.height.tolist(), strict=True), start=1
    ):
        if at > height:
            break
        leaves: list[int] = []
        for node in (one, two):
            leaves += [-node - 1] if node < 0 else of_merge.pop(node)
        of_merge[number] = leaves
    label = np.arange(dendrogram.n_leaves)
    for leaves in of_merge.values():
        label[leaves] = min(leaves)
    return np.unique(label, return_inverse=True)[1].astype(np.int64)
