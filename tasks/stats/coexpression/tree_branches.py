"""The branches of a dendrogram: which stay apart where they join, and which of them are clusters."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.coexpression.condensed import square_among

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.coexpression.linkage import Dendrogram
    from tasks.stats.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a branch must meet to stand alone; heights and distances on the scale of the dissimilarity."""

    cut_height: float
    min_size: int
    max_scatter: float
    min_gap: float
    min_split_height: float


@dataclass(slots=True, kw_only=True)
class Branch:
    """A basic branch holds its leaves in the order in which they joined, a composite one basic branches."""

    leaves: list[int] = field(default_factory=list)
    basic: list[int] = field(default_factory=list)
    size: int = 2
    is_basic: bool = True
    is_absorbed: bool = False
    is_too_small: bool = False
    attached_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """What the tree alone says of each leaf.

    `label` (leaves,): cluster from 1 in the order of their branches, else 0. `small` (leaves,): number from 1
    of the small, tight branch that a leaf outside the clusters belongs to, else 0. `composite` (leaves,):
    number from 1 of the composite branch that a leaf joined by itself, else 0; `clusters_on` has the clusters
    of each.
    """

    label: NDArray[np.int64]
    is_core: NDArray[np.bool_]
    small: NDArray[np.int64]
    composite: NDArray[np.int64]
    clusters_on: dict[int, list[int]]


def core_size(branch_size: int, min_cluster_size: int) -> int:
    """Return how many of a branch's first leaves are its core."""
    base = min_cluster_size / 2 + 1
    return int(base + sqrt(branch_size - base)) if base < branch_size else branch_size


def find_branches(
    dendrogram: Dendrogram, dissimilarity: FloatArray, limits: Limits, *, nested: bool
) -> Branches:
    """Walk up the tree and decide at each join; `nested` keeps composite branches that join apart."""
    walk = _Walk(dendrogram.n_leaves, dissimilarity, limits, nested=nested)
    for merge, ((one, two), height) in enumerate(
        zip(dendrogram.merge.tolist(), dendrogram.height.tolist(), strict=True), start=1
    ):
        if height > limits.cut_height:
            continue
        if one < 0 and two < 0:
            walk.branches.append(Branch(leaves=[-one - 1, -two - 1]))
            walk.of_merge[merge] = len(walk.branches) - 1
        elif one < 0 or two < 0:
            walk.add_leaf(merge, -min(one, two) - 1, walk.of_merge[max(one, two)])
        else:
            walk.join(merge, walk.of_merge[one], walk.of_merge[two], height)
    return walk.result()


class _Walk:
    def __init__(self, n_leaves: int, dissimilarity: FloatArray, limits: Limits, *, nested: bool) -> None:
        self.n_leaves = n_leaves
        self.dissimilarity = dissimilarity
        self.limits = limits
        self.nested = nested
        self.branches: list[Branch] = []
        self.of_merge: dict[int, int] = {}
        self.composite: dict[int, int] = {}

    def add_leaf(self, merge: int, leaf: int, place: int) -> None:
        branch = self.branches[place]
        if branch.is_basic:
            branch.leaves.append(leaf)
        else:
            self.composite[leaf] = place
        branch.size += 1
        self.of_merge[merge] = place

    def scatter(self, branch: Branch) -> float:
        """Return the mean dissimilarity within the core; nothing for a composite branch."""
        if not branch.is_basic:
            return 0.0
        n = core_size(len(branch.leaves), self.limits.min_size)
        core = branch.leaves[:n]
        within = square_among(self.dissimilarity, core, self.n_leaves)
        return float((within.sum(axis=0, dtype=np.float64) / (n - 1)).mean())

    def faults(self, branch: Branch, height: float) -> tuple[bool, bool]:
        """Return whether a branch fails to stand alone here, and whether for its size only."""
        if not branch.is_basic:
            return False, False
        scatter = self.scatter(branch)
        is_loose = scatter > self.limits.max_scatter or height - scatter < self.limits.min_gap
        fails = is_loose or branch.size < self.limits.min_size or height < self.limits.min_split_height
        return fails, fails and not is_loose

    def join(self, merge: int, one: int, two: int, height: float) -> None:
        small, large = (one, two) if self.branches[one].size <= self.branches[two].size else (two, one)
        fails, only_small = self.faults(self.branches[small], height)
        if not fails:
            fails, only_small = self.faults(self.branches[large], height)
            if fails:
                small, large = large, small
        if fails:
            self.absorb(small, large, height, only_small=only_small)
            self.of_merge[merge] = large
        else:
            self.of_merge[merge] = self.keep_apart(small, large, height)

    def absorb(self, small: int, large: int, height: float, *, only_small: bool) -> None:
        taken, into = self.branches[small], self.branches[large]
        taken.is_too_small = only_small
        taken.attached_at = height
        taken.is_absorbed = True
        if into.is_basic:
            into.leaves += taken.leaves
        else:
            self.composite.update(dict.fromkeys(taken.leaves, large))
        into.size += taken.size

    def keep_apart(self, small: int, large: int, height: float) -> int:
        """Put two branches under one composite branch: a new one, or the larger itself if it is one."""
        if self.branches[large].is_basic and not self.branches[small].is_basic:
            small, large = large, small
        one, two = self.branches[small], self.branches[large]
        one.attached_at = height
        basic = [small] if one.is_basic else list(one.basic)
        if not (two.is_basic or self.nested):
            two.basic += basic
            two.size += one.size
            return large
        two.attached_at = height
        basic += [large] if two.is_basic else two.basic
        self.branches.append(Branch(basic=basic, size=one.size + two.size, is_basic=False))
        return len(self.branches) - 1

    def is_cluster(self, branch: Branch) -> bool:
        if not branch.is_basic or branch.is_absorbed:
            return False
        scatter = self.scatter(branch)
        attached_at = self.limits.cut_height if branch.attached_at is None else branch.attached_at
        return (
            branch.size >= self.limits.min_size
            and scatter < self.limits.max_scatter
            and attached_at - scatter > self.limits.min_gap
        )

    def result(self) -> Branches:
        n_leaves = self.n_leaves
        label, small = np.zeros(n_leaves, dtype=np.int64), np.zeros(n_leaves, dtype=np.int64)
        is_core = np.zeros(n_leaves, dtype=np.bool_)
        cluster_of: dict[int, int] = {}
        for place, branch in enumerate(self.branches):
            if branch.is_too_small:
                small[branch.leaves] = place + 1
        for place, branch in enumerate(self.branches):
            if self.is_cluster(branch):
                cluster_of[place] = len(cluster_of) + 1
                label[branch.leaves] = cluster_of[place]
                small[branch.leaves] = 0
                is_core[branch.leaves[: core_size(len(branch.leaves), self.limits.min_size)]] = True
        composite = np.zeros(n_leaves, dtype=np.int64)
        for leaf, place in self.composite.items():
            composite[leaf] = place + 1
        clusters_on = {
            place + 1: sorted({cluster_of[basic] for basic in branch.basic if basic in cluster_of})
            for place, branch in enumerate(self.branches)
            if not branch.is_basic
        }
        return Branches(
            label=label, is_core=is_core, small=small, composite=composite, clusters_on=clusters_on
        )
