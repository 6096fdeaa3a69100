"""From expression to modules: the whole course, in the order of WGCNA's blockwiseModules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.coexpression.adjacency import adjacency
from tasks.stats.coexpression.eigengene import Eigengenes
from tasks.stats.coexpression.gene_blocks import gene_blocks
from tasks.stats.coexpression.linkage import Dendrogram, average_linkage
from tasks.stats.coexpression.merging import merge_modules
from tasks.stats.coexpression.overlap import overlap_dissimilarity
from tasks.stats.coexpression.settings import UNASSIGNED
from tasks.stats.coexpression.tree_cut import cut_tree_hybrid
from tasks.stats.coexpression.trimming import move_misplaced, trim_modules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.stats.coexpression.settings import NetworkSettings
    from tasks.stats.types import FloatArray

_LEAST_SAMPLES = 4
_LEAST_GENES = 4
_LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneModules:
    """What `find_modules` found.

    `label` (genes,): 0 unassigned, 1.. by falling size; `unmerged_label` (genes,): before merging. `used`
    (genes,) and `used_samples` (samples,) have enough values; the others take no part. `block` (genes,): from
    1, 0 for genes without part; `dendrograms` has one tree per block over its genes in order. The eigengenes
    are over the used samples.
    """

    label: NDArray[np.int64]
    unmerged_label: NDArray[np.int64]
    eigengenes: Eigengenes
    dendrograms: tuple[Dendrogram, ...]
    block: NDArray[np.int64]
    used: NDArray[np.bool_]
    used_samples: NDArray[np.bool_]
    merged_into: dict[int, int]


def find_modules(
    value: FloatArray, settings: NetworkSettings, *, block: NDArray[np.int64] | None = None
) -> GeneModules:
    """Find modules of co-expressed genes in expression (genes, samples), NaN where missing.

    Correlation, adjacency, topological overlap, average linkage, dynamic hybrid cut, removal of modules and
    genes that do not cohere, merging of modules alike. Genes beyond `max_block_size` are cut into blocks
    first, or as `block` (genes,) says, and modules are sought within blocks and merged across them.

    Raises
    ------
    ValueError
        For fewer than four samples or genes with values in half of the rest.
    """
    value = np.ascontiguousarray(value, dtype=np.float64)
    used, used_samples = usable(value)
    chosen = np.ascontiguousarray(value[np.ix_(used, used_samples)])
    blocks = gene_blocks(chosen, settings) if block is None else np.asarray(block)[used]
    label = np.zeros(len(chosen), dtype=np.int64)
    n_cut = 0
    dendrograms = []
    eigengenes: list[Eigengenes] = []
    for number in np.unique(blocks):
        genes = np.flatnonzero(blocks == number)
        dendrogram, found = _modules_of_block(chosen[genes], settings)
        dendrograms.append(dendrogram)
        # Counted on from all modules that were cut, also those that do not stay, as R numbers them.
        found[found > 0] += n_cut
        n_cut = max(n_cut, int(found.max()))
        kept, own = trim_modules(chosen[genes], found, settings)
        label[genes] = kept
        if len(own.module):
            eigengenes.append(own)
    if eigengenes:
        label = move_misplaced(chosen, label, _joined(eigengenes), settings, n_samples=value.shape[1])
    merged = merge_modules(
        chosen,
        label,
        cut_height=settings.merge_cut_height,
        kind=settings.correlation,
        max_p_outliers=settings.max_p_outliers,
    )
    return GeneModules(
        label=_spread(merged.label, used),
        unmerged_label=_spread(label, used),
        eigengenes=merged.eigengenes,
        dendrograms=tuple(dendrograms),
        block=_spread(np.asarray(blocks, dtype=np.int64), used),
        used=used,
        used_samples=used_samples,
        merged_into=merged.merged_into,
    )


def _modules_of_block(value: FloatArray, settings: NetworkSettings) -> tuple[Dendrogram, NDArray[np.int64]]:
    # The adjacency is gone before the linkage makes its copy: one square and a half is the most at a time.
    dissimilarity = overlap_dissimilarity(adjacency(value, settings), denominator=settings.denominator)
    dendrogram = average_linkage(dissimilarity)
    cut = cut_tree_hybrid(
        dendrogram,
        dissimilarity,
        deep_split=settings.deep_split,
        min_cluster_size=settings.min_module_size,
        cut_height=settings.cut_height,
        pam_stage=settings.pam_stage,
        pam_respects_dendrogram=settings.pam_respects_dendrogram,
    )
    return dendrogram, cut.label


def usable(value: FloatArray) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the genes and samples with values in at least half of the others (goodSamplesGenes of WGCNA).

    A gene must also vary and have four samples, a sample four genes; leaving out one may fail another, so it
    is repeated until nothing changes.
    """
    known = np.isfinite(value)
    genes, samples = np.ones(len(value), dtype=np.bool_), np.ones(value.shape[1], dtype=np.bool_)
    tolerance = 1e-10 * float(np.abs(value[known]).max(initial=0.0))
    while True:
        before = int(genes.sum() + samples.sum())
        part = known[:, samples]
        count = part.sum(axis=1)
        filled = np.where(part, value[:, samples], 0.0)
        mean = filled.sum(axis=1) / np.maximum(count, 1)
        variance = (np.where(part, value[:, samples] - mean[:, None], 0.0) ** 2).sum(axis=1)
        variance /= np.maximum(count - 1, 1)
        missing = samples.sum() - count
        genes &= (missing < _LEAST_SHARE * samples.sum()) & (count >= _LEAST_SAMPLES)
        genes &= variance > tolerance**2
        present = known[genes].sum(axis=0)
        samples &= (genes.sum() - present < _LEAST_SHARE * genes.sum()) & (present >= _LEAST_GENES)
        if genes.sum() < _LEAST_GENES or samples.sum() < _LEAST_SAMPLES:
            raise ValueError(
                f"value: {genes.sum()} gene(s) and {samples.sum()} sample(s) with values in half of the"
                f" others: at least {_LEAST_GENES} and {_LEAST_SAMPLES} are needed"
            )
        if int(genes.sum() + samples.sum()) == before:
            return genes, samples


def _joined(found: list[Eigengenes]) -> Eigengenes:
    return Eigengenes(
        module=np.concatenate([one.module for one in found]),
        value=np.concatenate([one.value for one in found]),
        variance_explained=np.concatenate([one.variance_explained for one in found]),
        average_expression=np.concatenate([one.average_expression for one in found]),
    )


def _spread(of_used: NDArray[np.int64], used: NDArray[np.bool_]) -> NDArray[np.int64]:
    result = np.full(len(used), UNASSIGNED, dtype=np.int64)
    result[used] = of_used
    return result
