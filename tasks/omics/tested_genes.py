"""Which genes a design tests, what a test of them yields, and the family that is adjusted together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import false_discovery_control

from tasks.stats.deseq.adaptive_shrinkage import adaptive_shrinkage
from tasks.stats.deseq.independent_filtering import independent_filtering
from warehouse.errors import AnalysisError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tasks.omics.designs import DesignMatrix
    from tasks.stats.types import FloatArray
    from warehouse.expression_plan import Expression

    BoolArray = NDArray[np.bool_]

# Below the range of floating-point numbers a p-value is small, not zero.
SMALLEST_P = float(np.finfo(np.float64).tiny)
# What all genes together say of one needs others.
_LEAST_GENES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedGenes:
    """The genes of a design, each array by gene.

    `is_fitted` marks those that have reads and pass the count filter or are protected; `shapes` those of them
    that pass, from which alone size factors, trends and priors are estimated, so that protecting a gene moves
    no other gene's result. `count` holds the fitted genes only.
    """

    count: FloatArray
    is_all_zero: BoolArray
    is_low_count: BoolArray
    is_protected: BoolArray
    is_fitted: BoolArray
    min_samples: int

    @property
    def shapes(self) -> BoolArray:
        """Of the fitted genes, those that pass the filter."""
        return ~self.is_low_count[self.is_fitted]


@dataclass(frozen=True, slots=True, kw_only=True)
class TStatistic:
    """Statistics of the fitted genes, and the degrees of freedom of each one's t distribution under H0."""

    value: FloatArray
    degrees_of_freedom: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastTests:
    """One contrast of the fitted genes: log2 scale, NaN where there is nothing to say.

    `not_estimable` and `outlier` hold, for the genes that are such, the reason and (for outliers) the
    position of the library; those genes have no p-value. `is_filtered` says that the method filters the
    family by mean count before adjusting. `t_statistic`, where the
    test is of one effect, is what q-values rest on.
    """

    test: str
    estimate: FloatArray
    standard_error: FloatArray
    statistic: FloatArray
    p_value: FloatArray
    shrunken: FloatArray
    shrunken_error: FloatArray
    s_value: FloatArray
    dispersion: FloatArray
    not_estimable: dict[int, str]
    not_converged: dict[int, str]
    outlier: dict[int, tuple[int, str]]
    is_filtered: bool
    t_statistic: TStatistic | None
    method: tuple[str, ...]


def tested_genes(matrix: DesignMatrix, declared: Expression) -> TestedGenes:
    """Apply the declared filter to the samples of a design."""
    count = matrix.counts.count
    n = count.shape[1]
    needed = matrix.smallest_group if declared.min_samples is None else declared.min_samples
    if needed > n:
        raise AnalysisError(
            f"expression.min_samples: {needed}: must be {n} or less, the samples of design {matrix.design.id}"
        )
    is_all_zero = np.asarray(count.sum(axis=1) == 0, dtype=np.bool_)
    is_low_count = (count >= declared.min_count).sum(axis=1) < needed
    is_protected = matrix.counts.feature["is_protected"].to_numpy()
    if (is_low_count | is_all_zero).all():
        raise AnalysisError(
            f"expression.min_count: {declared.min_count}: no gene has that many reads in {needed} samples of"
            f" design {matrix.design.id}; lower it"
        )
    is_fitted = (~is_low_count | is_protected) & ~is_all_zero
    return TestedGenes(
        count=np.ascontiguousarray(count[is_fitted]),
        is_all_zero=is_all_zero,
        is_low_count=is_low_count,
        is_protected=is_protected,
        is_fitted=is_fitted,
        min_samples=needed,
    )


def adjusted(
    p_value: FloatArray,
    base_mean: FloatArray,
    *,
    shapes: BoolArray,
    is_protected: BoolArray,
    alpha: float,
    is_filtered: bool,
) -> FloatArray:
    """Return Benjamini-Hochberg adjusted p-values, NaN where there is none.

    The family is that of the genes that pass the count filter and, with `is_filtered`, the threshold on their
    mean that gives most discoveries at `alpha`. A protected gene outside it is adjusted as if it alone of the
    genes outside, with the other protected ones, had been admitted; the family's own values stay as they are.
    """
    result = np.full(p_value.shape, np.nan)
    if is_filtered:
        result[shapes] = independent_filtering(base_mean[shapes], p_value[shapes], alpha=alpha).p_adjusted
    else:
        has_p = shapes & np.isfinite(p_value)
        result[has_p] = false_discovery_control(p_value[has_p]) if has_p.any() else []
    family = np.isfinite(result)
    extra = is_protected & ~family & np.isfinite(p_value)
    if extra.any():
        together = np.flatnonzero(family | extra)
        with_extra = false_discovery_control(p_value[together])
        is_extra = extra[together]
        result[together[is_extra]] = with_extra[is_extra]
    return np.asarray(np.maximum(result, SMALLEST_P), dtype=np.float64)


def q_values(
    statistic: TStatistic, p_value: FloatArray, *, shapes: BoolArray, is_protected: BoolArray
) -> FloatArray:
    """Return the false discovery rates of calling a gene and all that are as certain, by adaptive shrinkage.

    The statistics are shrunken, not the effects: these are larger in genes that vary more, so that a surely
    changed gene of large variance would be taken for an error. Genes without p-value take no part. A
    protected gene that fails the count filter joins the others without moving them, as in `adjusted`.
    """
    has_p = np.isfinite(p_value)
    result = _shrunken_q(statistic, has_p & shapes)
    extra = has_p & is_protected & ~shapes
    if extra.any():
        result[extra] = _shrunken_q(statistic, has_p & (shapes | is_protected))[extra]
    return result


def _shrunken_q(statistic: TStatistic, used: BoolArray) -> FloatArray:
    if used.sum() < _LEAST_GENES:
        return np.full(used.shape, np.nan)
    return adaptive_shrinkage(
        np.where(used, statistic.value, np.nan),
        np.ones(used.shape),
        degrees_of_freedom=statistic.degrees_of_freedom,
    ).q_value
