"""Contrasts tested by limma-voom, the samples of one block correlated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.omics.designs import contrast_vector
from tasks.omics.tested_genes import ContrastTests, TStatistic
from tasks.stats.limma.model import LimmaFit, contrast_test, voom_fit

if TYPE_CHECKING:
    from tasks.omics.designs import DesignMatrix
    from tasks.omics.tested_genes import TestedGenes
    from tasks.stats.types import FloatArray
    from warehouse.expression_plan import ExpressionContrast


@dataclass(frozen=True, slots=True, kw_only=True)
class VoomDesign:
    """A design fitted once for all its contrasts; `with_protected` also holds genes that fail the filter."""

    matrix: DesignMatrix
    genes: TestedGenes
    fit: LimmaFit
    with_protected: LimmaFit | None


def fitted_design(matrix: DesignMatrix, genes: TestedGenes) -> VoomDesign:
    shapes = genes.shapes
    fit = voom_fit(genes.count[shapes], matrix.matrix, block=matrix.block)
    together = None
    if not shapes.all():
        # A second fit, so that genes kept for their name shape neither the weights nor the prior of the rest.
        together = voom_fit(
            genes.count,
            matrix.matrix,
            block=matrix.block,
            library_size=fit.library_size,
            correlation=None if matrix.block is None else fit.correlation,
        )
    return VoomDesign(matrix=matrix, genes=genes, fit=fit, with_protected=together)


def voom_contrast(design: VoomDesign, contrast: ExpressionContrast) -> ContrastTests:
    """Test one contrast of a fitted design by a moderated t."""
    direction = contrast_vector(design.matrix, contrast)
    shapes = design.genes.shapes
    test = contrast_test(design.fit, direction)
    extra = None if design.with_protected is None else contrast_test(design.with_protected, direction)

    def joined(name: str) -> FloatArray:
        values = np.empty(shapes.size)
        values[shapes] = getattr(test, name)
        if extra is not None:
            values[~shapes] = getattr(extra, name)[~shapes]
        return values

    nothing = np.full(shapes.size, np.nan)
    correlation = (
        ()
        if design.matrix.block is None
        else (f"samples of one {design.matrix.design.block} correlated by {design.fit.correlation:.3f}",)
    )
    return ContrastTests(
        test="moderated_t",
        estimate=joined("estimate"),
        standard_error=joined("standard_error"),
        statistic=joined("statistic"),
        p_value=joined("p_value"),
        shrunken=nothing,
        shrunken_error=nothing,
        s_value=nothing,
        dispersion=nothing,
        not_estimable={},
        not_converged={},
        outlier={},
        is_filtered=False,
        t_statistic=TStatistic(value=joined("statistic"), degrees_of_freedom=joined("df")),
        method=(
            "limma-voom: moderated t-test of log2 counts per million, two-sided, TMM library sizes",
            *correlation,
            "no shrunken fold changes and no outlier rule in this model",
            *design.fit.notes,
        ),
    )
