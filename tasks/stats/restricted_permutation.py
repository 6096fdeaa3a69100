"""Association tests by permutation where samples come in blocks that belong together."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tasks.stats.types import FloatArray

    IntArray = NDArray[np.integer[Any]]

# Cells of the largest array held at once.
_AT_ONCE = 4_000_000
# Rounding must not make an arrangement that ties with the observed one look smaller.
_TOLERANCE = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class PermutationAssociation:
    """Share of variance explained and its p-value for each column of `value`.

    `n_arrangements` counts those evaluated, the observed one included; `seed` is None when all were.
    """

    r_squared: FloatArray
    p_value: FloatArray
    is_exact: bool
    n_arrangements: int
    seed: int | None


def permutation_association(
    value: FloatArray, predictor: FloatArray, block: IntArray, *, n_resamples: int = 9999, seed: int
) -> PermutationAssociation:
    """Test H0: within blocks, the values are exchangeable whatever the predictor says.

    Values and predictor are centred within blocks; `r_squared` is the share of the remaining variance of a
    value that the predictor explains (a one-column predictor: squared correlation; indicators of levels:
    one-way analysis of variance). Rows are rearranged within blocks only: all arrangements if there are no
    more than `n_resamples` + 1, else that many random ones, with p = (k + 1) / (B + 1), so that it is never
    zero.

    Parameters
    ----------
    value : (n, m) array
        One column for each test.
    predictor : (n, q) array
        A covariate, or indicators of all levels of a factor.
    block : (n,) array
        Codes from zero of what is exchangeable among itself.
    n_resamples : int
        Random arrangements.
    seed : int
        Of the random arrangements.

    Raises
    ------
    ValueError
        If the shapes do not agree.

    References
    ----------
    .. [1] Phipson B, Smyth GK (2010). Permutation p-values should never be zero.
       Stat Appl Genet Mol Biol 9:39.
    .. [2] Winkler AM et al. (2014). Permutation inference for the general linear model.
       NeuroImage 92:381-397.
    """
    if value.ndim != 2 or predictor.ndim != 2 or not len(value) == len(predictor) == len(block):  # noqa: PLR2004
        raise ValueError(
            f"value {value.shape}, predictor {predictor.shape}, block {block.shape}: must have as many rows"
        )
    value = _centred(value, block)
    basis = _orthonormal(_centred(predictor, block))
    total = (value**2).sum(axis=0)
    observed = ((basis.T @ value) ** 2).sum(axis=0)
    members: list[IntArray] = [np.flatnonzero(block == code) for code in np.unique(block)]
    n_all = math.prod(math.factorial(rows.size) for rows in members)
    is_exact = n_all <= n_resamples + 1
    at_least = np.zeros(value.shape[1])
    count = 0
    size = max(1, _AT_ONCE // max(value.size, 1))
    batches = (
        _in_batches(_every_order(members, len(value)), size)
        if is_exact
        else _random_orders(block, n_resamples, size, seed)
    )
    for orders in batches:
        explained = (np.matmul(basis.T, value[orders]) ** 2).sum(axis=1)
        at_least += (explained >= observed - _TOLERANCE * total).sum(axis=0)
        count += len(orders)
    n_arrangements = count if is_exact else count + 1
    reached = at_least if is_exact else at_least + 1
    return PermutationAssociation(
        r_squared=np.where(total > 0, np.minimum(observed / np.where(total > 0, total, 1), 1), 0.0),
        p_value=np.minimum(reached / n_arrangements, 1.0),
        is_exact=is_exact,
        n_arrangements=n_arrangements,
        seed=None if is_exact else seed,
    )


def _centred(table: FloatArray, block: IntArray) -> FloatArray:
    codes, place = np.unique(block, return_inverse=True)
    sums = np.zeros((codes.size, table.shape[1]))
    np.add.at(sums, place, table)
    centred: FloatArray = table - (sums / np.bincount(place)[:, None])[place]
    return centred


def _orthonormal(table: FloatArray) -> FloatArray:
    left, strength, _ = np.linalg.svd(table, full_matrices=False)
    if not strength.size or strength[0] <= 0:
        return left[:, :0]
    return left[:, strength > strength[0] * 1e-9]


def _every_order(members: list[IntArray], n: int) -> Iterator[IntArray]:
    for arrangement in itertools.product(*(itertools.permutations(rows) for rows in members)):
        order = np.arange(n)
        for rows, placed in zip(members, arrangement, strict=True):
            order[rows] = placed
        yield order


def _in_batches(orders: Iterator[IntArray], size: int) -> Iterator[IntArray]:
    while batch := list(itertools.islice(orders, size)):
        yield np.array(batch)


def _random_orders(block: IntArray, n_resamples: int, size: int, seed: int) -> Iterator[IntArray]:
    rng = np.random.default_rng(seed)
    by_block = np.argsort(block, kind="stable")
    for start in range(0, n_resamples, size):
        number = min(size, n_resamples - start)
        # Sorted by block and then by chance, the rows of a block fall on the places of the block.
        shuffled = np.argsort(block + rng.random((number, block.size)), axis=1)
        orders = np.empty_like(shuffled)
        orders[:, by_block] = shuffled
        yield orders
