"""Blocks of genes that stay in the processor's cache, worked on by a few threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Callable

# Values of one array of a block: several such arrays fit in a core's cache, and the interpreter's cost per
# array operation is still small beside the operation.
_VALUES = 32_768
_GENES = (8, 1024)


def gene_blocks(genes: int, samples: int) -> list[slice]:
    """Return slices that cover the genes in order; their width follows the number of samples alone."""
    width = min(max(_VALUES // max(samples, 1), _GENES[0]), _GENES[1])
    return [slice(first, min(first + width, genes)) for first in range(0, genes, width)]


def each_block(
    work: Callable[[slice], None], genes: int, samples: int, *, threads: int | None = None
) -> None:
    """Do the work for every block of genes; each call writes its own rows of the caller's arrays.

    The blocks do not depend on the number of threads, so neither does any bit of the result. BLAS is held to
    one thread: the matrices are small, and threads within threads wait for each other.
    """
    blocks = gene_blocks(genes, samples)
    workers = min(available_threads() if threads is None else threads, len(blocks))
    with threadpool_limits(1, user_api="blas"):
        if workers <= 1:
            for block in blocks:
                work(block)
            return
        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(work, blocks):
                pass


def available_threads() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
