"""Cleveland's robust local regression, as R's `lowess` computes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.types import checked_same_length, checked_vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tasks.stats.types import FloatArray

# Cleveland's numbers: nearer than the first part of the bandwidth a point has the full weight, beyond the
# second none; the same for residuals in units of six median absolute residuals.
_FULL, _NONE = 0.001, 0.999
# Residuals that small beside their mean say that the curve passes through the points: nothing to make robust.
_EXACT_FIT = 1e-7
_TOO_NARROW = 0.001


def lowess(
    x: ArrayLike,
    y: ArrayLike,
    *,
    span: float = 2 / 3,
    iterations: int = 3,
    interpolate_within: float | None = None,
) -> FloatArray:
    """Smooth y over x by local lines with tricube weights, made robust by bisquare weights of the residuals.

    Parameters
    ----------
    x : (n,) array
        In ascending order.
    y : (n,) array
    span : float
        Part of the points that each local line is fitted to.
    iterations : int
        Rounds of robustness after the first fit.
    interpolate_within : float, optional
        The curve is computed at points this far apart in x, and is straight between them; one hundredth of
        the range when not given.

    Returns
    -------
    (n,) array
        The curve at x.

    Raises
    ------
    ValueError
        If x does not ascend, its length is not that of y, or the span is no part.

    References
    ----------
    .. [1] Cleveland WS (1979). Robust locally weighted regression and smoothing scatterplots. JASA
    74:829-836. .. [2] Cleveland WS (1981). LOWESS. The American Statistician 35:54.
    """
    x, y = checked_vector("x", x, at_least=2), checked_vector("y", y)
    checked_same_length("x", len(x), "y", len(y))
    if (np.diff(x) < 0).any():
        raise ValueError(f"x: {len(x)} values out of order: must ascend")
    if not 0 < span <= 1:
        raise ValueError(f"span: {span}: must be more than 0 and at most 1")
    span_points = max(2, min(len(x), int(span * len(x) + 1e-7)))
    apart = 0.01 * (x[-1] - x[0]) if interpolate_within is None else interpolate_within
    anchor = _anchors(x, apart)
    lines = [_LocalLine(x, at, left, span_points) for at, left in _windows(x, anchor, span_points)]
    robustness: FloatArray = np.ones(len(x))
    for iteration in range(iterations + 1):
        curve: FloatArray = np.interp(x, x[anchor], np.array([line.value(y, robustness) for line in lines]))
        if iteration < iterations:
            weight = _bisquare(np.abs(y - curve))
            if weight is None:
                break
            robustness = weight
    return curve


def _anchors(x: FloatArray, apart: float) -> list[int]:
    """Return the points at which lines are fitted, no two with the same x."""
    anchors = [0]
    last = int(np.searchsorted(x, x[0], side="right")) - 1
    while last < len(x) - 1:
        # The furthest point within reach, or the next one where none is.
        reach = int(np.searchsorted(x, x[last] + apart, side="right")) - 1
        here = max(last + 1, reach)
        anchors.append(here)
        last = int(np.searchsorted(x, x[here], side="right")) - 1
    return anchors


def _windows(x: FloatArray, anchor: list[int], points: int) -> list[tuple[float, int]]:
    """Return each anchor's x with the first of the points nearest to it."""
    left = 0
    windows = []
    for index in anchor:
        at = x[index]
        too_far_left = at - x[left : len(x) - points] > x[left + points :] - at
        left += len(too_far_left) if too_far_left.all() else int(np.argmin(too_far_left))
        windows.append((float(at), left))
    return windows


class _LocalLine:
    """What is the same in every round of one local line: its points and their tricube weights."""

    def __init__(self, x: FloatArray, at: float, left: int, points: int) -> None:
        width = max(at - x[left], x[left + points - 1] - at)
        # Points beyond the window that tie with its last one count too.
        right = int(np.searchsorted(x, at + _NONE * width, side="right"))
        right = max(right, left + 1)
        distance = np.abs(x[left:right] - at)
        scaled = distance / width if width > 0 else np.zeros_like(distance)
        self._weight = np.where(scaled <= _FULL, 1.0, np.where(scaled <= _NONE, (1 - scaled**3) ** 3, 0.0))
        self._points = slice(left, right)
        self._x = x[left:right]
        self._at = at
        self._width = width
        self._range = x[-1] - x[0]

    def value(self, y: FloatArray, robustness: FloatArray) -> float:
        weight = self._weight * robustness[self._points]
        total = weight.sum()
        if total <= 0:
            # Every neighbour is an outlier: what the nearest point says stands.
            nearest = self._points.start + int(np.argmin(np.abs(self._x - self._at)))
            return float(y[nearest])
        weight /= total
        centre = weight @ self._x
        spread = weight @ (self._x - centre) ** 2
        if self._width > 0 and np.sqrt(spread) > _TOO_NARROW * self._range:
            weight *= 1 + (self._at - centre) / spread * (self._x - centre)
        return float(weight @ y[self._points])


def _bisquare(residual: FloatArray) -> FloatArray | None:
    """Return the bisquare weights of absolute residuals, or None where the fit is exact."""
    limit = 6 * float(np.median(residual))
    if limit < _EXACT_FIT * residual.mean() or limit == 0:
        return None
    scaled = residual / limit
    return np.where(scaled <= _FULL, 1.0, np.where(scaled <= _NONE, (1 - scaled**2) ** 2, 0.0))
