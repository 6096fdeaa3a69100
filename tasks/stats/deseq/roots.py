"""Zeros of many smooth decreasing-through-zero functions at once: where likelihoods have their maxima."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tasks.stats.types import FloatArray

# The value at some points, one for each of the genes whose numbers are given.
Function: TypeAlias = Callable[[FloatArray, NDArray[np.intp]], FloatArray]

_MAX_STEPS = 200
_SLOW = 4


def bracketed_root(
    function: Function,
    gene: NDArray[np.intp],
    bracket: FloatArray,
    value: FloatArray,
    *,
    tolerance: float = 1e-8,
) -> FloatArray:
    """Find a zero of each gene's function between two points at which it has opposite signs.

    False position with the weights of Anderson and Bjorck, which converges faster than linearly and keeps the
    bracket; a bracket that does not halve in a few steps is halved.

    Parameters
    ----------
    function
        Called with points and the genes they are for.
    gene : (k,) array
    bracket, value : (2, k) array
        The two points and the function there.
    tolerance : float
        Distance, from one step to the next, at which a zero is found.

    References
    ----------
    .. [1] Anderson N, Bjorck A (1973). BIT 13:253-264.
    """
    (before, newest), (value_before, value_newest) = bracket.copy(), value.copy()
    root: FloatArray = np.where(np.abs(value_newest) <= np.abs(value_before), newest, before)
    active = np.arange(len(gene))
    width = np.abs(newest - before)
    for step in range(_MAX_STEPS):
        if not active.size:
            break
        b, c, fb, fc = before[active], newest[active], value_before[active], value_newest[active]
        with np.errstate(divide="ignore", invalid="ignore"):
            point = c - fc * (c - b) / (fc - fb)
        middle = 0.5 * (b + c)
        is_slow = np.zeros(len(active), dtype=np.bool_)
        if step % _SLOW == _SLOW - 1:
            is_slow = np.abs(c - b) > 0.5 * width[active]
            width[active] = np.abs(c - b)
        low, high = np.minimum(b, c), np.maximum(b, c)
        point = np.where(is_slow | ~((point > low) & (point < high)), middle, point)
        there = function(point, gene[active])
        has_crossed = there * fc < 0
        with np.errstate(divide="ignore", invalid="ignore"):
            shrink = 1 - there / fc
        shrink = np.where(shrink > 0, shrink, 0.5)
        before[active] = np.where(has_crossed, c, b)
        value_before[active] = np.where(has_crossed, fc, fb * np.where(is_slow, 1.0, shrink))
        newest[active], value_newest[active] = point, there
        root[active] = point
        is_done = (np.abs(point - c) < tolerance) | (there == 0) | (high - low < tolerance)
        active = active[~is_done]
    return root
