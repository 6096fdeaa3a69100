"""Between cut and merge: modules without a core go, strays leave, and misplaced genes move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from tasks.stats.coexpression.correlation import cross_correlation
from tasks.stats.coexpression.eigengene import Eigengenes, module_eigengenes
from tasks.stats.coexpression.settings import UNASSIGNED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.coexpression.settings import NetworkSettings
    from tasks.stats.types import FloatArray


def trim_modules(
    value: FloatArray, label: NDArray[np.int64], settings: NetworkSettings
) -> tuple[NDArray[np.int64], Eigengenes]:
    """Remove modules without a core of closely following genes, and genes that hardly follow their module.

    Returns the labels and the eigengenes of the modules that stay, from the genes that they had before.
    """
    label = label.copy()
    eigengenes = module_eigengenes(value, label)
    core_size = settings.min_module_size / 3 if settings.min_core_size is None else settings.min_core_size
    stays = np.ones(len(eigengenes.module), dtype=np.bool_)
    for place, module in enumerate(eigengenes.module):
        members = np.flatnonzero(label == module)
        kme = _kme(value[members], eigengenes.value[place : place + 1], settings)[:, 0]
        if (kme > settings.min_core_kme).sum() < core_size:
            stays[place] = False
        elif (kme < settings.min_kme_to_stay).any():
            is_stray = kme < settings.min_kme_to_stay
            stays[place] = (~is_stray).sum() >= settings.min_module_size
            label[members[is_stray]] = UNASSIGNED
        if not stays[place]:
            label[members] = UNASSIGNED
    return label, _only(eigengenes, stays)


def move_misplaced(
    value: FloatArray,
    label: NDArray[np.int64],
    eigengenes: Eigengenes,
    settings: NetworkSettings,
    *,
    n_samples: int,
) -> NDArray[np.int64]:
    """Move a gene whose membership elsewhere is more significant by the factor `reassign_threshold`.

    The target is named by its place among the modules that are left, as in blockwiseModules, which is another
    module's label where a lower one was removed: kept so, that labels equal R's. A module left with too few
    genes is dissolved. `n_samples` is the number before any was left out, as in R.
    """
    before, label = label, label.copy()
    if not len(eigengenes.module) or settings.reassign_threshold <= 0:
        return label
    assigned = np.flatnonzero(before != UNASSIGNED)
    kme = np.full((len(label), len(eigengenes.module)), np.nan)
    kme[assigned] = _kme(value[assigned], eigengenes.value, settings)
    dissolved = []
    for place, module in enumerate(eigengenes.module):
        members = np.flatnonzero(before == module)
        own, best = kme[members, place], kme[members].max(axis=1)
        better = members[own < best]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = _fisher_p(best[own < best], n_samples) / _fisher_p(own[own < best], n_samples)
        moves = np.isfinite(ratio) & (ratio < settings.reassign_threshold)
        if moves.any():
            label[better[moves]] = kme[better[moves]].argmax(axis=1) + 1
            if len(members) - moves.sum() < settings.min_module_size:
                dissolved.append(module)
    label[np.isin(label, dissolved)] = UNASSIGNED
    return label


def _kme(value: FloatArray, eigengene: FloatArray, settings: NetworkSettings) -> FloatArray:
    kme = cross_correlation(
        value, eigengene, kind=settings.correlation, max_p_outliers=settings.max_p_outliers
    )
    return np.abs(kme) if settings.network == "unsigned" else kme


def _fisher_p(r: FloatArray, n: int) -> FloatArray:
    return np.asarray(2 * ndtr(-np.abs(np.arctanh(r) * np.sqrt(n - 3))))


def _only(eigengenes: Eigengenes, stays: NDArray[np.bool_]) -> Eigengenes:
    return Eigengenes(
        module=eigengenes.module[stays],
        value=eigengenes.value[stays],
        variance_explained=eigengenes.variance_explained[stays],
        average_expression=eigengenes.average_expression[stays],
    )
