"""Local quadratic regression in one dimension, with a bandwidth that follows the density of the points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.types import checked_same_length, checked_vector

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tasks.stats.types import FloatArray

# A parabola through fewer distinct places than this is not determined.
_FEWEST_PLACES = 3
# What is short of a whole number by less is that number.
_WHOLE = 1e-12
# A cell of a smoothed grid is halved while it holds more than this part of the points in reach.
_CELL_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFit:
    """A parabola through all points, and what the local parabola at each vertex adds to it.

    `value` and `slope` are of that difference; `parabola` holds the coefficients from the square downwards.
    """

    vertex: FloatArray
    value: FloatArray
    slope: FloatArray
    bandwidth: FloatArray
    parabola: FloatArray

    def at(self, x: ArrayLike) -> FloatArray:
        """Return the curve; the difference goes on straight beyond the outermost vertices. NaN stays NaN."""
        place = np.asarray(x, dtype=np.float64)
        left = np.clip(np.searchsorted(self.vertex, place) - 1, 0, len(self.vertex) - 2)
        width = self.vertex[left + 1] - self.vertex[left]
        share = (place - self.vertex[left]) / width
        inside = np.clip(share, 0, 1)
        rise = inside**2 * (3 - 2 * inside)
        from_left = inside * (1 - inside) ** 2 + np.minimum(share, 0)
        from_right = -(inside**2) * (1 - inside) + np.maximum(share - 1, 0)
        difference = (
            self.value[left] * (1 - rise)
            + self.value[left + 1] * rise
            + width * (self.slope[left] * from_left + self.slope[left + 1] * from_right)
        )
        curve: FloatArray = np.polyval(self.parabola, place) + difference
        return curve


def local_fit(
    x: ArrayLike, y: ArrayLike, weight: ArrayLike, *, nearest: float = 0.7, cut: float = 0.8
) -> LocalFit:
    r"""Estimate E(y | x) by weighted local parabolas at a few places, joined by cubics.

    At a place :math:`v` the bandwidth :math:`h` is the distance to the nearest share of the points, and the
    parabola minimises

    .. math:: \sum_i w_i (1 - |x_i - v|^3 / h^3)^3_+ (y_i - a - b (x_i - v) - c (x_i - v)^2)^2.

    The places are the ends of the data and the midpoints of intervals that are wide against their bandwidths:
    many where the points are dense, few where they are sparse.

    Parameters
    ----------
    x, y, weight : (n,) array
        Finite; the weights not negative.
    nearest : float
        Share of the points in reach of each place.
    cut : float
        An interval is halved while its width is more than this part of the smaller bandwidth of its ends.

    Returns
    -------
    LocalFit

    Raises
    ------
    ValueError
        If a value is not finite, a weight is negative, or there are too few distinct places to fit a
        parabola around some vertex.

    References
    ----------
    .. [1] Loader C (1999). Local Regression and Likelihood, sec. 2.2.1 (nearest-neighbour bandwidth), 12.1
       and 12.2 (evaluation structure and interpolation).
    """
    places = checked_vector("x", x, at_least=_FEWEST_PLACES)
    response = checked_vector("y", y)
    weights = checked_vector("weight", weight)
    checked_same_length("y", response.size, "x", places.size)
    checked_same_length("weight", weights.size, "x", places.size)
    if (weights < 0).any():
        raise ValueError(f"weight: {weights.min():g}: must not be negative")
    distinct = len(np.unique(places))
    if distinct < _FEWEST_PLACES:
        raise ValueError(f"x: {distinct} distinct value(s): a parabola needs {_FEWEST_PLACES}")
    # Seven tenths of 170 are 119, although their product falls short of it in the last bit.
    n_near = max(int(places.size * nearest + _WHOLE), 1)
    fitted: dict[float, tuple[float, float, float]] = {}

    def fit_at(vertex: float) -> None:
        fitted[vertex] = _parabola(vertex, places, response, weights, n_near)

    low, high = float(places.min()), float(places.max())
    fit_at(low)
    fit_at(high)
    open_cells = [(low, high)]
    while open_cells:
        left, right = open_cells.pop()
        middle = (left + right) / 2
        if right - left > cut * min(fitted[left][2], fitted[right][2]) and left < middle < right:
            fit_at(middle)
            open_cells += [(left, middle), (middle, right)]
    vertex = np.array(sorted(fitted))
    value, slope, bandwidth = np.array([fitted[place] for place in vertex]).T
    parabola = _parabola_through_all(places, response, weights)
    return LocalFit(
        vertex=vertex,
        value=value - np.polyval(parabola, vertex),
        slope=slope - np.polyval(np.polyder(parabola), vertex),
        bandwidth=bandwidth,
        parabola=parabola,
    )


def smooth_even_grid(x: FloatArray, y: FloatArray, *, span: float) -> LocalFit:
    """Smooth values on an ascending grid by unweighted local parabolas, as R's `loess` does.

    The vertices are those of its k-d tree: the grid is halved at its middle point until a cell holds no more
    than a fifth of the points in reach of a parabola, and the outermost vertices lie just outside the grid.
    """
    n_near = int(x.size * span + _WHOLE)
    margin = 0.005 * float(x[-1] - x[0])
    vertices = [float(x[0]) - margin, float(x[-1]) + margin]
    cells = [(0, x.size)]
    while cells:
        first, end = cells.pop()
        if end - first > int(x.size * span * _CELL_SHARE):
            middle = (first + end + 1) // 2
            vertices.append(float(x[middle - 1]))
            cells += [(first, middle), (middle, end)]
    vertex = np.array(sorted(vertices))
    fitted = [_parabola(place, x, y, np.ones_like(x), n_near) for place in vertex]
    value, slope, bandwidth = np.array(fitted).T
    return LocalFit(
        vertex=vertex, value=value, slope=slope, bandwidth=bandwidth, parabola=np.zeros(_FEWEST_PLACES)
    )


def _parabola_through_all(x: FloatArray, y: FloatArray, weight: FloatArray) -> FloatArray:
    """Coefficients of the weighted parabola, the square's first."""
    root = np.sqrt(weight)
    columns = np.vander(x, _FEWEST_PLACES) * root[:, None]
    coefficient: FloatArray = np.linalg.lstsq(columns, y * root, rcond=None)[0]
    return coefficient


def _parabola(
    vertex: float, x: FloatArray, y: FloatArray, weight: FloatArray, n_near: int
) -> tuple[float, float, float]:
    """Value and slope at the vertex, and the bandwidth."""
    offset = x - vertex
    distance = np.abs(offset)
    bandwidth = float(np.partition(distance, n_near - 1)[n_near - 1])
    near = distance < bandwidth
    if len(np.unique(x[near & (weight > 0)])) < _FEWEST_PLACES:
        raise ValueError(
            f"x: fewer than {_FEWEST_PLACES} distinct values with weight within {bandwidth:g} of {vertex:g}: "
            "a parabola is not determined"
        )
    # In units of the bandwidth the columns are of one size, whatever the unit of x.
    step = offset[near] / bandwidth
    root = np.sqrt(weight[near] * (1 - np.abs(step) ** 3) ** 3)
    columns = np.stack([np.ones_like(step), step, step**2], axis=1) * root[:, None]
    coefficient = np.linalg.lstsq(columns, y[near] * root, rcond=None)[0]
    return float(coefficient[0]), float(coefficient[1] / bandwidth), bandwidth
