"""Limma-voom for counts of pairs, complete or not: weights, correlation within subjects, moderated t."""

from tasks.stats.limma.duplicate_correlation import DuplicateCorrelation, duplicate_correlation
from tasks.stats.limma.empirical_bayes import VariancePrior, variance_prior
from tasks.stats.limma.filter_by_expr import filter_by_expr
from tasks.stats.limma.model import LimmaFit, ModeratedT, contrast_test, voom_fit
from tasks.stats.limma.tmm import tmm_factors
from tasks.stats.limma.voom import Voom, voom

__all__ = [
    "DuplicateCorrelation",
    "LimmaFit",
    "ModeratedT",
    "VariancePrior",
    "Voom",
    "contrast_test",
    "duplicate_correlation",
    "filter_by_expr",
    "tmm_factors",
    "variance_prior",
    "voom",
    "voom_fit",
]
