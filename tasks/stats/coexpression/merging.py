"""Modules whose eigengenes are alike are one module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import squareform

from tasks.stats.coexpression.correlation import correlation
from tasks.stats.coexpression.eigengene import Eigengenes, module_eigengenes
from tasks.stats.coexpression.linkage import average_linkage, cut_at
from tasks.stats.coexpression.settings import UNASSIGNED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.coexpression.settings import CorrelationKind
    from tasks.stats.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """`label` (genes,) by falling size; `merged_into` names the final label of each one given."""

    label: NDArray[np.int64]
    eigengenes: Eigengenes
    merged_into: dict[int, int]
    rounds: int


def merge_modules(
    value: FloatArray,
    label: NDArray[np.int64],
    *,
    cut_height: float = 0.25,
    kind: CorrelationKind = "pearson",
    max_p_outliers: float = 1.0,
) -> Merge:
    """Merge modules whose eigengenes join, by average linkage on 1 - correlation, up to `cut_height`.

    Eigengenes are made anew after each round, until nothing merges, as in mergeCloseModules. Labels are then
    given by falling size, of equal sizes the lower former label first.
    """
    current = label.copy()
    rounds = 0
    while True:
        eigengenes = module_eigengenes(value, current)
        n_modules = len(eigengenes.module)
        if n_modules < 2:  # noqa: PLR2004 - there is no pair
            break
        distance = 1 - correlation(eigengenes.value, kind=kind, max_p_outliers=max_p_outliers)
        np.fill_diagonal(distance, 0)
        distance = (distance + distance.T) / 2
        branch = cut_at(average_linkage(squareform(distance, checks=False)), cut_height)
        if branch.max() + 1 == n_modules:
            break
        rounds += 1
        for number in range(int(branch.max()) + 1):
            together = eigengenes.module[branch == number]
            current[np.isin(current, together)] = together.min()
    size = np.bincount(current, minlength=1)
    modules = np.unique(current[current != UNASSIGNED])
    by_size = modules[np.argsort(-size[modules], kind="stable")]
    number_of = np.zeros(int(current.max(initial=0)) + 1, dtype=np.int64)
    number_of[by_size] = np.arange(1, len(by_size) + 1)
    final = number_of[current]
    return Merge(
        label=final,
        eigengenes=module_eigengenes(value, final),
        merged_into={int(old): int(final[label == old][0]) for old in np.unique(label[label != UNASSIGNED])},
        rounds=rounds,
    )
