"""Mixed model for repeated measures: a linear model with correlated visits, some of them missing."""

from tasks.stats.mmrm.data import MmrmData
from tasks.stats.mmrm.fit import FALL_BACK, NotConvergedError, fit_mmrm
from tasks.stats.mmrm.inference import Contrast, FTest, NotEstimableError
from tasks.stats.mmrm.ls_means import LsMean, LsMeanDifference
from tasks.stats.mmrm.result import Attempt, DfMethod, MmrmFit
from tasks.stats.mmrm.structures import STRUCTURE_NAMES, StructureName

__all__ = [
    "FALL_BACK",
    "STRUCTURE_NAMES",
    "Attempt",
    "Contrast",
    "DfMethod",
    "FTest",
    "LsMean",
    "LsMeanDifference",
    "MmrmData",
    "MmrmFit",
    "NotConvergedError",
    "NotEstimableError",
    "StructureName",
    "fit_mmrm",
]
