"""How strongly two genes are connected: a power of their correlation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.coexpression.correlation import correlation, pairwise_pearson, standardised

if TYPE_CHECKING:
    from tasks.stats.coexpression.settings import NetworkKind, NetworkSettings
    from tasks.stats.types import FloatArray

# Rows taken together: few enough to stay in the processor's cache while they are raised.
BLOCK = 64
DTYPES = {"single": np.float32, "double": np.float64}


def adjacency(value: FloatArray, settings: NetworkSettings) -> FloatArray:
    """Return the adjacency (genes, genes) of expression (genes, samples), 1 on the diagonal.

    The correlations are never kept beside the adjacency: rows are taken in blocks, each pair once. A signed
    overlap of an unsigned network keeps the sign of the correlation. A gene that does not vary is adjacent to
    none.
    """
    dtype = DTYPES[settings.precision]
    keep_sign = keeps_sign(settings)
    if np.isfinite(value).all():
        unit = standardised(value, kind=settings.correlation, max_p_outliers=settings.max_p_outliers).unit
        return _blocked(unit.astype(dtype), settings, keep_sign=keep_sign)
    if settings.correlation == "pearson":
        result = pairwise_pearson(value).astype(dtype)
    else:
        result = correlation(value, kind="bicor", max_p_outliers=settings.max_p_outliers).astype(dtype)
    for start in range(0, len(result), BLOCK):
        block = result[start : start + BLOCK]
        connect(block, network=settings.network, power=settings.power, keep_sign=keep_sign)
        # Only now: no correlation would be half an adjacency in a signed network.
        np.nan_to_num(block, copy=False)
    np.fill_diagonal(result, 1.0)
    return result


def keeps_sign(settings: NetworkSettings) -> bool:
    return settings.network == "unsigned" and settings.overlap == "signed"


def _blocked(unit: FloatArray, settings: NetworkSettings, *, keep_sign: bool) -> FloatArray:
    n_genes = len(unit)
    result = np.empty((n_genes, n_genes), dtype=unit.dtype)
    for start in range(0, n_genes, BLOCK):
        end = min(start + BLOCK, n_genes)
        block = unit[start:end] @ unit[start:].T
        np.clip(block, -1.0, 1.0, out=block)
        connect(block, network=settings.network, power=settings.power, keep_sign=keep_sign)
        np.nan_to_num(block, copy=False)
        result[start:end, start:] = block
        result[end:, start:end] = block[:, end - start :].T
    np.fill_diagonal(result, 1.0)
    return result


def connect(
    correlations: FloatArray, *, network: NetworkKind, power: float, keep_sign: bool = False
) -> FloatArray:
    """Turn correlations, in place, into the adjacency of the kind of network.

    Unsigned |r|^power, signed ((1 + r) / 2)^power, signed hybrid r^power where r > 0 and else 0. With
    `keep_sign` an unsigned adjacency has the sign of r.
    """
    if power <= 0:
        raise ValueError(f"power: {power}: must be above 0")
    if network == "signed":
        correlations += 1
        correlations *= 0.5
    elif network == "signed_hybrid":
        np.maximum(correlations, 0, out=correlations)
    else:
        sign = np.sign(correlations) if keep_sign else None
        np.abs(correlations, out=correlations)
        raise_to(correlations, power)
        if sign is not None:
            correlations *= sign
        return correlations
    return raise_to(correlations, power)


def raise_to(value: FloatArray, power: float) -> FloatArray:
    """Raise to a power in place; whole powers by squaring, several times faster than the general power."""
    if power != int(power):
        return np.power(value, power, out=value)
    exponent = int(power)
    square = value.copy()
    is_first = True
    while exponent:
        if exponent & 1:
            if is_first:
                value[...] = square
                is_first = False
            else:
                value *= square
        exponent >>= 1
        if exponent:
            square *= square
    return value
