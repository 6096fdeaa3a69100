"""Modules keep their numbers from one analysis to the next where they keep their genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from tasks.stats.coexpression.settings import UNASSIGNED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuity:
    """`label` (genes,) with kept numbers; for each module whether it was kept, and what to say of it."""

    label: NDArray[np.int64]
    status: dict[int, Literal["first", "kept", "new"]]
    note: dict[int, str]
    lost: tuple[int, ...]


def continued_labels(
    label: NDArray[np.int64], genes: Sequence[str], former: Mapping[str, int] | None
) -> Continuity:
    """Give modules (`label` (genes,)) the numbers of the former ones (gene: module) whose genes they have.

    Modules old and new are paired so that their Jaccard indices, over the genes that both analyses used, sum
    to the most. A pair is one module when it shares half of the genes of the smaller; a module without such a
    former one gets a number that none had.
    """
    modules = [int(module) for module in np.unique(label) if module != UNASSIGNED]
    if former is None:
        return Continuity(
            label=label.copy(),
            status=dict.fromkeys(modules, "first"),
            note=dict.fromkeys(modules, "first version of this network"),
            lost=(),
        )
    before = np.array([former.get(gene, UNASSIGNED) for gene in genes], dtype=np.int64)
    in_both = np.array([gene in former for gene in genes], dtype=np.bool_)
    olds = sorted({module for module in former.values() if module != UNASSIGNED})
    shared = np.array(
        [[int(((label == new) & (before == old)).sum()) for old in olds] for new in modules], dtype=np.float64
    ).reshape(len(modules), len(olds))
    size_new = np.array([int(((label == new) & in_both).sum()) for new in modules])
    size_old = np.array([int((before == old).sum()) for old in olds])
    union = size_new[:, None] + size_old[None, :] - shared
    jaccard = shared / np.maximum(union, 1)
    smaller = np.minimum(size_new[:, None], size_old[None, :])
    is_same = shared >= _HALF * np.maximum(smaller, 1)
    number: dict[int, int] = {}
    status: dict[int, Literal["first", "kept", "new"]] = {}
    note: dict[int, str] = {}
    pairs = np.column_stack(linear_sum_assignment(np.where(is_same, jaccard, 0), maximize=True))
    for row, column in pairs.tolist():
        if is_same[row, column]:
            old = olds[column]
            number[modules[row]] = old
            status[old] = "kept"
            note[old] = (
                f"kept: {shared[row, column]:.0f} of its {size_new[row]} genes known before are of the"
                f" {size_old[column]} of module {old} then (Jaccard {jaccard[row, column]:.2f})"
            )
    free = max([0, *olds]) + 1
    for row, module in enumerate(modules):
        if module in number:
            continue
        number[module] = free
        status[free] = "new"
        best = int(jaccard[row].argmax()) if olds else -1
        nearest = f"; most alike was module {olds[best]} (Jaccard {jaccard[row, best]:.2f})" if olds else ""
        note[free] = f"new: no former module shares half of the genes{nearest}"
        free += 1
    renumbered = np.array([number.get(int(one), UNASSIGNED) for one in label], dtype=np.int64)
    lost = tuple(old for old in olds if status.get(old) != "kept")
    return Continuity(label=renumbered, status=status, note=note, lost=lost)
