"""The correlation between samples of one subject, one for all genes, by restricted maximum likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import elementwise
from scipy.stats import trim_mean

from tasks.stats.limma.checks import checked_block, checked_full_rank, checked_matrix
from tasks.stats.limma.gls import Blocks, Moments, basis_of, blocks_of, gene_blocks, moments

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from tasks.stats.types import FloatArray

# limma's limits: this near to the correlations at which the covariance matrix is singular, and no nearer.
_FROM_SINGULAR = 0.01
_TRIM = 0.15
# Block totals that the design explains up to this say nothing about a correlation.
_EXPLAINED = 1e-8
_GRID = 24
_INSIDE = 1e-6
# A likelihood tells a parameter to the square root of its own rounding, no better.
_PRECISE = 1e-9
# Genes at a time: a step of the search is some dozens of operations on vectors of this length.
_GENES = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateCorrelation:
    """The consensus `correlation`, each gene's own (NaN: none), and in `note` why there is no consensus."""

    correlation: float
    by_gene: FloatArray
    note: str


def duplicate_correlation(
    expression: ArrayLike,
    design: ArrayLike,
    block: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    trim: float = _TRIM,
) -> DuplicateCorrelation:
    r"""Estimate the correlation between samples of one block, common to all genes.

    Each gene's own correlation maximises the restricted likelihood of a linear model whose residuals,
    multiplied by the square roots of the weights, correlate equally within blocks. The consensus is the
    trimmed mean of the genes' on Fisher's scale. The largest of all maxima is found, where limma's search may
    stop at a lower one or short of it; single genes then differ, the consensus in the fifth digit.

    Parameters
    ----------
    expression : (genes, samples) array
        Log expression.
    design : (samples, coefficients) array
        Of full column rank, without the blocks.
    block : (samples,) array
        Values that are equal for samples of one subject; subjects with one sample take part in the means.
    weight : (genes, samples) array, optional
        Positive; inverse to the variances.
    trim : float
        Part of the genes left out at each end of the mean.

    Returns
    -------
    DuplicateCorrelation
        A correlation of zero with a note where the data cannot tell: no subject with two samples, a design
        that contains the subjects, or too few samples.

    Raises
    ------
    ValueError
        If shapes do not agree, a weight is not positive, or the design is not of full rank.

    References
    ----------
    .. [1] Smyth GK, Michaud J, Scott HS (2005). Use of within-array replicate spots for assessing
    differential
       expression in microarray experiments. Bioinformatics 21:2067-2075, section 3.
    """
    response = checked_matrix("expression", expression)
    genes, samples = response.shape
    columns = checked_full_rank(design, samples)
    code = checked_block(block, samples)
    weights = None if weight is None else _checked_weight(weight, response)
    basis = basis_of(columns)
    note = _why_none(code, basis.residual(np.eye(samples)))
    note = note or _too_few(samples, columns.shape[1], code)
    if note:
        return DuplicateCorrelation(correlation=0.0, by_gene=np.full(genes, np.nan), note=note)
    blocks = blocks_of(code)
    by_gene = np.empty(genes)
    for part in gene_blocks(genes, _GENES):
        of_part = None if weights is None else weights[part]
        left = basis.residual(response[part])
        by_gene[part] = _most_likely(moments(basis.column, left, of_part, blocks), blocks)
    known = by_gene[np.isfinite(by_gene)]
    if not known.size:
        note = "no gene varies within the design: the correlation within subjects is taken as zero"
        return DuplicateCorrelation(correlation=0.0, by_gene=by_gene, note=note)
    consensus = float(np.tanh(trim_mean(np.arctanh(known), trim)))
    return DuplicateCorrelation(correlation=consensus, by_gene=by_gene, note="")


def _checked_weight(weight: ArrayLike, response: FloatArray) -> FloatArray:
    weights = checked_matrix("weight", weight)
    if weights.shape != response.shape:
        raise ValueError(f"weight: shape {weights.shape}: must be that of expression, {response.shape}")
    if weights.min() <= 0:
        raise ValueError(f"weight: {weights.min():g}: every weight must be positive")
    return weights


def _why_none(code: NDArray[np.intp], annihilator: FloatArray) -> str:
    """Return why the design leaves no correlation to be estimated, or nothing."""
    if len(np.unique(code)) == len(code):
        return "no subject has two samples: the correlation within subjects is taken as zero"
    member = (code[:, None] == np.unique(code)).astype(np.float64)
    if np.abs(annihilator @ member).max() < _EXPLAINED:
        return "the design contains the subjects: the correlation within subjects is taken as zero"
    return ""


def _too_few(samples: int, coefficients: int, code: NDArray[np.intp]) -> str:
    subjects = len(np.unique(code))
    if samples > coefficients + 2 and 1 < subjects < samples - 1:
        return ""
    return (
        f"{samples} samples of {subjects} subjects with {coefficients} coefficients do not tell the "
        "correlation within subjects: it is taken as zero"
    )


def _most_likely(products: Moments, blocks: Blocks) -> FloatArray:
    """Return each gene's correlation of largest restricted likelihood; NaN where a gene has no residuals."""
    likelihood = _Likelihood(products, blocks)
    largest = int(blocks.size.max())
    lowest, highest = 1 / (1 - largest) + _FROM_SINGULAR, 1 - _FROM_SINGULAR
    # On Fisher's scale, on which likelihoods are about equally wide everywhere.
    grid = np.tanh(np.linspace(np.arctanh(lowest), np.arctanh(highest), _GRID))
    varies = np.flatnonzero(likelihood.has_residuals)
    result = np.full(len(likelihood.has_residuals), np.nan)
    if not varies.size:
        return result
    deviance = np.stack([likelihood.deviance(np.full(len(varies), rho), varies) for rho in grid])
    best = deviance.argmin(axis=0)
    result[varies] = grid[best]
    left, middle, right = grid[np.maximum(best - 1, 0)], grid[best], grid[np.minimum(best + 1, _GRID - 1)]
    # The lowest grid point at an end: the minimum is there, or just inside.
    at_end = (best == 0) | (best == _GRID - 1)
    inside = np.where(best == 0, lowest + _INSIDE, highest - _INSIDE)
    middle = np.where(at_end, inside, middle)
    lower = likelihood.deviance(middle, varies) < deviance[best, np.arange(len(varies))]
    searched = np.flatnonzero(~at_end | lower)
    if searched.size:
        found = elementwise.find_minimum(
            likelihood.at_gene,
            (left[searched], middle[searched], right[searched]),
            # The search hands its arguments on as floating-point numbers.
            args=(varies[searched].astype(np.float64),),
            tolerances={"xatol": _PRECISE, "xrtol": 0.0, "fatol": 0.0, "frtol": 0.0},
            maxiter=100,
        )
        result[varies[searched]] = found.x
    return result


class _Likelihood:
    """The restricted likelihood of the correlation; genes last, so that steps are operations on vectors."""

    def __init__(self, products: Moments, blocks: Blocks) -> None:
        self._order = products.within.shape[1]
        rows, columns = np.tril_indices(self._order)
        # Where a row and column of the lower triangle stand in the flattened arrays.
        self._position = [
            [row * (row + 1) // 2 + column for column in range(row + 1)] for row in range(self._order)
        ]
        self._within = np.ascontiguousarray(products.within[:, rows, columns].T)
        self._between = {
            size: np.ascontiguousarray(between[:, rows, columns].T)
            for size, between in products.between.items()
        }
        self._blocks = blocks
        total = self._within[-1] + sum(between[-1] for between in self._between.values())
        self.has_residuals = total > 0

    def deviance(self, correlation: FloatArray, gene: NDArray[np.intp]) -> FloatArray:
        """Return minus twice the restricted log-likelihood, the variance maximised out, up to a constant."""
        cross = self._within[:, gene] / (1 - correlation)
        for size, between in self._between.items():
            cross += between[:, gene] / (1 + (size - 1) * correlation)
        log_determinant, residual = self._eliminated(cross)
        df = len(self._blocks.order) - self._order + 1
        deviance: FloatArray = (
            df * np.log(residual) + log_determinant + self._blocks.log_determinant(correlation)
        )
        return deviance

    def at_gene(self, correlation: FloatArray, /, gene: FloatArray) -> FloatArray:
        return self.deviance(correlation, gene.astype(np.intp))

    def _eliminated(self, cross: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the log determinant of the columns, and what they leave of the response's square."""
        position = self._position
        determinant = np.zeros(cross.shape[1])
        for pivot in range(self._order - 1):
            column = [cross[position[row][pivot]] for row in range(pivot, self._order)]
            determinant += np.log(column[0])
            for row in range(pivot + 1, self._order):
                factor = column[row - pivot] / column[0]
                for other in range(pivot + 1, row + 1):
                    cross[position[row][other]] -= factor * column[other - pivot]
        # No more than rounding lets it be zero or less: a response that the columns explain wholly.
        return determinant, np.maximum(cross[-1], np.finfo(np.float64).tiny)
