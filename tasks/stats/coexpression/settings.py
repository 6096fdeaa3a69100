"""The choices that make a network, in one record; names and meanings as in WGCNA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CorrelationKind = Literal["pearson", "bicor"]
NetworkKind = Literal["unsigned", "signed", "signed_hybrid"]
OverlapKind = Literal["unsigned", "signed"]
Denominator = Literal["min", "mean"]
Precision = Literal["single", "double"]

UNASSIGNED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """How genes are compared, joined and cut into modules.

    `power` has no default, for it decides the network: choose it by the scale-free fit or by the number of
    samples. `max_p_outliers` bounds the share of values on either side of the median that bicor may treat as
    outliers. The heights are on the scale of the dissimilarity, from 0 to 1. A gene leaves its module below
    `min_kme_to_stay`; a module must have `min_core_size` genes (a third of `min_module_size` when None) of
    at least `min_core_kme`. A gene is moved to another module when its membership there is more significant
    by the factor `reassign_threshold`.
    """

    power: float
    correlation: CorrelationKind = "bicor"
    max_p_outliers: float = 0.1
    network: NetworkKind = "signed_hybrid"
    overlap: OverlapKind = "signed"
    denominator: Denominator = "min"
    deep_split: int = 2
    min_module_size: int = 30
    cut_height: float = 0.995
    pam_stage: bool = True
    pam_respects_dendrogram: bool = True
    min_kme_to_stay: float = 0.3
    min_core_kme: float = 0.5
    min_core_size: int | None = None
    reassign_threshold: float = 1e-6
    merge_cut_height: float = 0.25
    max_block_size: int = 20000
    precision: Precision = "double"
