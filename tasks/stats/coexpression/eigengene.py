"""The eigengene of a module: the first principal component of its genes over the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.coexpression.knn_imputation import knn_imputed
from tasks.stats.coexpression.settings import UNASSIGNED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray

_NEIGHBOURS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Eigengenes:
    """One row per module, in rising order of label.

    `module` (m,) labels; `value` (m, samples), each of length one; `variance_explained` (m,), the mean
    squared correlation of the genes with the eigengene; `average_expression` (m, samples) of scaled genes.
    """

    module: NDArray[np.int64]
    value: FloatArray
    variance_explained: FloatArray
    average_expression: FloatArray


def module_eigengenes(
    value: FloatArray, label: NDArray[np.int64], *, include_unassigned: bool = False
) -> Eigengenes:
    """Return the eigengenes of modules (`label` (genes,)) of expression (genes, samples).

    Genes are scaled to mean 0 and variance 1, gaps filled from the module's nearest genes before. The sign is
    that of the correlation with the module's average expression, so a high eigengene is a high module.
    Modules in rising order of label.
    """
    modules = np.unique(label)
    if not include_unassigned:
        modules = modules[modules != UNASSIGNED]
    found = [_eigengene(value[label == module]) for module in modules]
    n_samples = value.shape[1]
    return Eigengenes(
        module=modules.astype(np.int64),
        value=np.array([one for one, _, _ in found]).reshape(-1, n_samples),
        variance_explained=np.array([share for _, share, _ in found]),
        average_expression=np.array([average for _, _, average in found]).reshape(-1, n_samples),
    )


def _eigengene(value: FloatArray) -> tuple[FloatArray, float, FloatArray]:
    complete = knn_imputed(value, neighbours=min(_NEIGHBOURS, len(value) - 1)) if len(value) > 1 else value
    complete = np.where(np.isfinite(complete), complete, np.nanmean(complete, axis=1, keepdims=True))
    centred = complete - complete.mean(axis=1, keepdims=True)
    spread = centred.std(axis=1, ddof=1, keepdims=True)
    scaled = centred[spread[:, 0] > 0] / spread[spread[:, 0] > 0]
    if not len(scaled):
        flat = np.zeros(value.shape[1])
        return flat, np.nan, flat
    # The samples are few: their inner products have the same component and are far smaller to decompose.
    _, vectors = np.linalg.eigh(scaled.T @ scaled)
    component = vectors[:, -1]
    average = scaled.mean(axis=0)
    if average @ component < 0:
        component = -component
    deviation = component - component.mean()
    share = (scaled @ deviation) ** 2 / ((deviation @ deviation) * (value.shape[1] - 1))
    return component, float(share.mean()), average
