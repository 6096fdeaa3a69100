"""Dissimilarities of all pairs in condensed form: each pair once, half the memory of a square."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray


def pairs_of(row: int, n: int) -> slice:
    """Return where the pairs of a row with all later ones of `n` lie, in scipy's order."""
    start = row * (2 * n - row - 1) // 2
    return slice(start, start + n - row - 1)


def square_among(condensed: FloatArray, members: Sequence[int], n: int) -> FloatArray:
    """Return the square (members, members) of a few of the `n`, 0 on its diagonal."""
    one, two = np.triu_indices(len(members), 1)
    of = np.asarray(members, dtype=np.int64)
    low, high = np.minimum(of[one], of[two]), np.maximum(of[one], of[two])
    square = np.zeros((len(members), len(members)), dtype=condensed.dtype)
    square[one, two] = square[two, one] = condensed[low * (2 * n - low - 1) // 2 + high - low - 1]
    return square


def sums_to_groups(condensed: FloatArray, group: NDArray[np.int64]) -> FloatArray:
    """Return the sums (n, groups) of the dissimilarities to the members of each group 1, 2 ..; 0 is none."""
    n = len(group)
    total = np.zeros((int(group.max(initial=0)) + 1, n))
    for row, own in enumerate(group.tolist()):
        pairs = condensed[pairs_of(row, n)]
        total[:, row] += np.bincount(group[row + 1 :], weights=pairs, minlength=len(total))
        if own:
            total[own, row + 1 :] += pairs
    return total[1:].T
