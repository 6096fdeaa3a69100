"""Genes whose counts leave a contrast without an estimate: its likelihood rises for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

if TYPE_CHECKING:
    from tasks.stats.types import FloatArray

BoolArray = NDArray[np.bool_]
_BLOCK = 1024
# Eigenvalues of cross products of columns of length one, and lengths of projections on directions of length
# one: zero up to rounding.
_RANK_TOLERANCE = 1e-9
_LENGTH_TOLERANCE = 1e-6


def not_estimable(count: FloatArray, design: FloatArray, contrast: FloatArray) -> BoolArray:
    r"""Say for which genes the contrast has no finite, unique maximum-likelihood estimate.

    With a log link, the likelihood of Poisson or negative binomial counts (known dispersion) does not fall
    along a direction :math:`b` of the coefficients exactly if :math:`x_k^\top b = 0` in every sample with a
    count above zero and :math:`x_k^\top b \le 0` in every sample without. Where such a direction has
    :math:`c^\top b \ne 0`, the estimate of :math:`c^\top\beta` runs off along it, and what a program reports
    is only where it stopped. Examples are a gene seen at one of two visits only, or, with a coefficient per
    subject, one whose every subject with a count has it at one visit only. A subject without a count at any
    visit does not matter: only its own coefficient runs off.

    Parameters
    ----------
    count : (genes, samples) array
        Only whether a count is zero matters.
    design : (samples, coefficients) array
        Of full column rank.
    contrast : (coefficients,) array
        Not all zero.

    Returns
    -------
    (genes,) array of bool
        Exact up to the rounding of a linear program; the same for every dispersion and size factor.

    Raises
    ------
    ValueError
        If the shapes disagree, the design has not full rank, or the contrast is zero.

    References
    ----------
    .. [1] Geyer CJ (2009). Electron J Stat 3:259-289, theorem 3 (directions of recession).
    .. [2] Albert A, Anderson JA (1984). Biometrika 71:1-10, for the same in logistic models.
    """
    count, design, contrast = (np.asarray(a, dtype=np.float64) for a in (count, design, contrast))
    _check(count, design, contrast)
    # Columns of length one, so that one tolerance serves a 0/1 column and an age in years.
    length = np.sqrt((design**2).sum(axis=0))
    scaled, direction = design / length, contrast / length
    direction = direction / np.sqrt((direction**2).sum())

    packed, gene_of = np.unique(np.packbits(count > 0, axis=1), axis=0, return_inverse=True)
    pattern = np.unpackbits(packed, axis=1, count=count.shape[1]).astype(bool)
    result = np.zeros(pattern.shape[0], dtype=bool)
    # Without a zero there is no such direction.
    open_ = np.flatnonzero(~pattern.all(axis=1))
    for start in range(0, open_.size, _BLOCK):
        rows = open_[start : start + _BLOCK]
        result[rows] = _runs_off(pattern[rows], scaled, direction)
    return np.asarray(result[gene_of.ravel()], dtype=np.bool_)


def _runs_off(pattern: BoolArray, design: FloatArray, direction: FloatArray) -> BoolArray:
    """Say of each pattern of counts above zero whether the contrast runs off."""
    p = design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(design.shape[0], p * p)
    value, vector = np.linalg.eigh((pattern @ products).reshape(-1, p, p))
    is_free = value <= _RANK_TOLERANCE
    part = np.where(is_free, direction @ vector, 0.0)
    binding = ~pattern & ~_slackened(pattern, design, direction)
    result = np.zeros(pattern.shape[0], dtype=bool)
    # Unless the positive counts alone leave the contrast open, the zeros cannot.
    for row in np.flatnonzero(np.sqrt((part**2).sum(axis=1)) > _LENGTH_TOLERANCE):
        free = vector[row][:, is_free[row]]
        result[row] = _has_recession(design[binding[row]] @ free, direction @ free)
    return result


def _slackened(pattern: BoolArray, design: FloatArray, direction: FloatArray) -> BoolArray:
    """Say which samples' conditions are met by running off in a way that leaves the contrast alone.

    The ways tried are one coefficient that adds to samples without a count only, such as that of a subject
    without any, and the constant against a factor's coefficients, which is the same for its first level.
    """
    ways = _adding_ways(design)
    added = design @ ways
    keeps = (np.abs(direction @ ways) <= _RANK_TOLERANCE) & (added >= -_RANK_TOLERANCE).all(axis=0)
    adds = added[:, keeps] > _LENGTH_TOLERANCE
    is_idle = ~(pattern.astype(np.float64) @ adds > 0)
    return np.asarray(is_idle @ adds.T.astype(np.float64) > 0, dtype=np.bool_)


def _adding_ways(design: FloatArray) -> FloatArray:
    """Return directions of the coefficients, as columns, that may raise some samples and lower none."""
    p = design.shape[1]
    used = design != 0
    top = design.max(axis=0)
    is_indicator = ((design == 0) | np.isclose(design, top)).all(axis=0) & (top > 0)
    constant = np.flatnonzero(is_indicator & used.all(axis=0))
    factors: list[list[int]] = []
    for column in np.flatnonzero(is_indicator & ~used.all(axis=0)).tolist():
        home = next((f for f in factors if not (used[:, f] & used[:, [column]]).any()), None)
        if home is None:
            factors.append([column])
        else:
            home.append(column)
    first_levels = np.zeros((p, len(factors) * constant.size))
    for way, (level, factor) in enumerate((level, factor) for level in constant for factor in factors):
        first_levels[level, way] = 1 / top[level]
        first_levels[factor, way] = -1 / top[factor]
    return np.hstack([np.eye(p), first_levels])


def _has_recession(on_zeros: FloatArray, effect: FloatArray) -> bool:
    """Say whether some v has on_zeros @ v <= 0 in every row and effect @ v not zero."""
    _, singular, right = np.linalg.svd(on_zeros, full_matrices=False)
    rank = int((singular > _LENGTH_TOLERANCE).sum())
    outside = effect - right[:rank].T @ (right[:rank] @ effect)
    # A direction that none of the conditions sees, or, if they see only one, its sign in each of them.
    if np.sqrt((outside**2).sum()) > _LENGTH_TOLERANCE:
        return True
    if rank == 1:
        seen = on_zeros @ right[0]
        return bool((seen <= _LENGTH_TOLERANCE).all() or (seen >= -_LENGTH_TOLERANCE).all())
    return any(_largest(on_zeros, sign * effect) > _LENGTH_TOLERANCE for sign in (1.0, -1.0))


def _largest(on_zeros: FloatArray, effect: FloatArray) -> float:
    """Return the largest effect @ v with on_zeros @ v <= 0 and v in the unit box."""
    program: Any = linprog(-effect, A_ub=on_zeros, b_ub=np.zeros(on_zeros.shape[0]), bounds=(-1, 1))
    if program.status != 0:  # v = 0 is feasible and the box bounded: only the solver can have failed
        raise RuntimeError(f"estimability: the linear program ended with: {program.message}")
    return float(-program.fun)


def _check(count: FloatArray, design: FloatArray, contrast: FloatArray) -> None:
    if count.ndim != 2:  # noqa: PLR2004 - genes by samples
        raise ValueError(f"count: shape {count.shape}: must be genes by samples")
    if design.ndim != 2 or design.shape[0] != count.shape[1]:  # noqa: PLR2004 - samples by coefficients
        raise ValueError(
            f"design: shape {design.shape}: must have a row for each of {count.shape[1]} samples"
        )
    if contrast.shape != (design.shape[1],):
        raise ValueError(f"contrast: shape {contrast.shape}: must be ({design.shape[1]},)")
    if not (np.isfinite(contrast).all() and contrast.any()):
        raise ValueError("contrast: zero or not finite: must name at least one coefficient")
    rank = int(np.linalg.matrix_rank(design))
    if rank < design.shape[1]:
        raise ValueError(f"design: rank {rank} of {design.shape[1]} columns: must be of full column rank")
