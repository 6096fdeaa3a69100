"""Blocks of genes that fit into memory, genes that go together in one block where that is possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.coexpression.correlation import standardised

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.coexpression.settings import NetworkSettings
    from tasks.stats.types import FloatArray

_SEED = 54321
_ROUNDS = 50
_CENTRES_PER_BLOCK = 20
_ALIKE = 0.5


def gene_blocks(value: FloatArray, settings: NetworkSettings) -> NDArray[np.int64]:
    """Return the block (genes,), from 1 by falling size, of expression (genes, samples).

    Genes are put with the nearest of several centres per block (k-means on correlation, its absolute value
    for unsigned networks); then clusters, the largest first, fill blocks of at most `max_block_size` genes,
    a cluster larger than that being divided along its own eigengene. The centres start from fixed random
    genes: the same data give the same blocks. R's blocks start from other random genes and may differ.
    """
    n_genes = len(value)
    limit = settings.max_block_size
    if n_genes <= limit:
        return np.ones(n_genes, dtype=np.int64)
    filled = np.where(np.isfinite(value), value, np.nanmean(value, axis=1, keepdims=True))
    unit = np.nan_to_num(standardised(filled, kind="pearson").unit)
    n_blocks = -(-n_genes // limit)
    is_unsigned = settings.network == "unsigned"
    cluster = _clusters(unit, n_blocks * _CENTRES_PER_BLOCK, is_unsigned=is_unsigned)
    pieces: list[NDArray[np.intp]] = []
    for number in np.unique(cluster):
        members = np.flatnonzero(cluster == number)
        if len(members) > limit:
            first = np.linalg.svd(unit[members], full_matrices=False)[2][0]
            members = members[np.argsort(unit[members] @ first, kind="stable")]
        pieces += [members[start : start + limit] for start in range(0, len(members), limit)]
    pieces.sort(key=len, reverse=True)
    blocks: list[list[NDArray[np.intp]]] = []
    for piece in pieces:
        fits = [one for one in blocks if sum(map(len, one)) + len(piece) <= limit]
        likeness = [_likeness(unit, piece, np.concatenate(one), is_unsigned=is_unsigned) for one in fits]
        # A block of its own while blocks are to spare, unless another holds genes alike.
        if not fits or (len(blocks) < n_blocks and max(likeness) < _ALIKE):
            blocks.append([piece])
        else:
            fits[int(np.argmax(likeness))].append(piece)
    blocks.sort(key=lambda one: -sum(map(len, one)))
    block = np.zeros(n_genes, dtype=np.int64)
    for number, one in enumerate(blocks, start=1):
        block[np.concatenate(one)] = number
    return block


def _likeness(
    unit: FloatArray, one: NDArray[np.intp], other: NDArray[np.intp], *, is_unsigned: bool
) -> float:
    """Return the correlation of two groups' mean genes, or its absolute value."""
    means = unit[one].mean(axis=0), unit[other].mean(axis=0)
    lengths = float(np.linalg.norm(means[0]) * np.linalg.norm(means[1]))
    found = float(means[0] @ means[1]) / lengths if lengths > 0 else 0.0
    return abs(found) if is_unsigned else found


def _clusters(unit: FloatArray, n_centres: int, *, is_unsigned: bool) -> NDArray[np.int64]:
    rng = np.random.default_rng(_SEED)
    centre = unit[rng.choice(len(unit), size=min(n_centres, len(unit)), replace=False)]
    cluster = np.full(len(unit), -1)
    for _ in range(_ROUNDS):
        likeness = unit @ centre.T
        nearest = (np.abs(likeness) if is_unsigned else likeness).argmax(axis=1)
        if (nearest == cluster).all():
            break
        cluster = nearest
        for number in np.unique(cluster):
            members = unit[cluster == number]
            sign = np.sign(members @ centre[number])[:, None] if is_unsigned else 1.0
            mean = (members * sign).sum(axis=0)
            length = float(np.linalg.norm(mean))
            if length > 0:
                centre[number] = mean / length
    return cluster.astype(np.int64)
