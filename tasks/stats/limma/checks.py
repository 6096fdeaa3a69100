"""How the functions of this package refuse bad counts, designs, libraries and blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.types import checked_same_length, checked_vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from tasks.stats.types import FloatArray


def checked_matrix(name: str, values: ArrayLike) -> FloatArray:
    """Return a finite matrix of float64, or say which value is wrong."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2:  # noqa: PLR2004 - rows and columns
        raise ValueError(f"{name}: shape {array.shape}: must be a matrix")
    if not array.size:
        raise ValueError(f"{name}: shape {array.shape}: must have a row and a column")
    # One pass without a temporary matrix; where the sum is not finite, one is looked for.
    if not np.isfinite(array.sum()):
        wrong = np.argwhere(~np.isfinite(array))
        if wrong.size:
            row, column = (int(i) for i in wrong[0])
            raise ValueError(f"{name}: {array[row, column]} in row {row}, column {column}: must be finite")
    return array


def checked_count(count: ArrayLike) -> FloatArray:
    array = checked_matrix("count", count)
    if array.min() < 0:
        row, column = (int(i) for i in np.argwhere(array < 0)[0])
        raise ValueError(f"count: {array[row, column]:g} in row {row}, column {column}: must not be negative")
    return array


def checked_design(design: ArrayLike, samples: int) -> FloatArray:
    array = checked_matrix("design", design)
    checked_same_length("design", len(array), "samples", samples)
    return array


def checked_full_rank(design: ArrayLike, samples: int) -> FloatArray:
    """Return a design whose coefficients can all be estimated, with samples to spare."""
    array = checked_design(design, samples)
    rank = int(np.linalg.matrix_rank(array))
    if rank < array.shape[1]:
        raise ValueError(f"design: rank {rank} of {array.shape[1]} columns: must be of full column rank")
    if samples <= rank:
        raise ValueError(f"design: {rank} coefficients of {samples} samples: more samples are needed")
    return array


def checked_library_size(library_size: ArrayLike | None, count: FloatArray) -> FloatArray:
    if library_size is None:
        library = np.asarray(count.sum(axis=0))
    else:
        library = checked_vector("library_size", library_size)
        checked_same_length("library_size", len(library), "samples", count.shape[1])
    empty = np.flatnonzero(library <= 0)
    if empty.size:
        sample = int(empty[0])
        raise ValueError(f"library_size: {library[sample]:g} of sample {sample}: must be positive")
    return library


def checked_block(block: ArrayLike, samples: int) -> NDArray[np.intp]:
    """Return codes 0, 1, ... of the blocks in the order of their values."""
    array = np.asarray(block)
    if array.ndim != 1:
        raise ValueError(f"block: shape {array.shape}: must be one-dimensional")
    checked_same_length("block", len(array), "samples", samples)
    code: NDArray[np.intp] = np.unique(array, return_inverse=True)[1]
    return code
