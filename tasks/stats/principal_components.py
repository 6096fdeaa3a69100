"""Principal components of samples, with signs that do not depend on the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tasks.stats.types import FloatArray

_SMALLEST = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalComponents:
    """`score` is (samples, components), `loading` (genes, components); all shares together make 1."""

    score: FloatArray
    loading: FloatArray
    variance_share: FloatArray


def principal_components(value: FloatArray, *, at_most: int | None = None) -> PrincipalComponents:
    """Decompose genes by samples, each gene centred and not scaled.

    Components without variance are left out. Of each, the loading that is largest in size is positive.

    Parameters
    ----------
    value : (genes, samples) array
        Expression on a log scale.
    at_most : int, optional
        Components to return.

    Raises
    ------
    ValueError
        If a value is not finite, or there are fewer than two samples.
    """
    if value.ndim != 2 or value.shape[1] < 2:  # noqa: PLR2004 - a component needs a difference
        raise ValueError(f"value: shape {value.shape}: must be genes by two samples or more")
    if not np.isfinite(value).all():
        raise ValueError("value: every value must be finite")
    centred = value - value.mean(axis=1, keepdims=True)
    left, strength, right = np.linalg.svd(centred, full_matrices=False)
    variance = strength**2
    total = float(variance.sum())
    kept = np.flatnonzero(variance > _SMALLEST * total)[:at_most] if total > 0 else np.array([], dtype=int)
    loading = left[:, kept]
    largest = np.abs(loading).argmax(axis=0)
    sign = np.sign(loading[largest, np.arange(kept.size)])
    return PrincipalComponents(
        score=(right[kept].T * strength[kept]) * sign,
        loading=loading * sign,
        variance_share=variance[kept] / total if total > 0 else variance[kept],
    )
