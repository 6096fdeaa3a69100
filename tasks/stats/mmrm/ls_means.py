"""Least-squares means: the model's mean at levels of some factors, averaged over the levels of the others."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from tasks.stats.mmrm.inference import NotEstimableError
from tasks.stats.types import checked_choice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tasks.stats.mmrm.design import Design, Factor, Level
    from tasks.stats.mmrm.inference import Contrast
    from tasks.stats.mmrm.result import MmrmFit
    from tasks.stats.types import FloatArray

Weights: TypeAlias = Literal["equal", "observed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LsMean:
    """The mean at `levels` (by factor); without a contrast, `reason` says why it cannot be estimated."""

    levels: Mapping[str, Level]
    contrast: Contrast | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LsMeanDifference:
    """The mean at `level` minus that at `reference` of one factor, at levels of others (`by`)."""

    factor: str
    level: Level
    reference: Level
    by: Mapping[str, Level]
    contrast: Contrast | None
    reason: str


def means(
    fit: MmrmFit, over: Sequence[str], *, at: Mapping[str, float] | None, weights: Weights
) -> tuple[LsMean, ...]:
    rows = _Rows(fit, at, weights)
    result = []
    for levels in rows.crossed(over):
        contrast, reason = _estimated(fit, rows.row(levels))
        result.append(LsMean(levels=levels, contrast=contrast, reason=reason))
    return tuple(result)


def differences(
    fit: MmrmFit,
    factor: str,
    *,
    by: Sequence[str],
    reference: Level | None,
    at: Mapping[str, float] | None,
    weights: Weights,
) -> tuple[LsMeanDifference, ...]:
    rows = _Rows(fit, at, weights)
    if factor in by:
        raise ValueError(f"by: {factor!r}: must not be the factor compared")
    compared = rows.factor(factor).levels
    base = compared[0] if reference is None else compared[rows.factor(factor).position(reference)]
    result = []
    for others in rows.crossed(by):
        reference_row = rows.row({**others, factor: base})
        for level in compared:
            if level == base:
                continue
            contrast, reason = _estimated(fit, rows.row({**others, factor: level}) - reference_row)
            result.append(
                LsMeanDifference(
                    factor=factor, level=level, reference=base, by=others, contrast=contrast, reason=reason
                )
            )
    return tuple(result)


class _Rows:
    """Averaged rows of a fit's design."""

    __slots__ = ("_averages", "_design", "_values")

    def __init__(self, fit: MmrmFit, at: Mapping[str, float] | None, weights: Weights) -> None:
        checked_choice("weights", weights, ("equal", "observed"))
        self._design: Design = fit.data.design
        self._values = fit.data.covariate_means()
        for name, value in (at or {}).items():
            if name not in self._values:
                raise ValueError(
                    f"at: {name!r}: must be a covariate: {', '.join(self._values) or 'there is none'}"
                )
            self._values[name] = float(value)
        self._averages: dict[str, FloatArray] = {}
        for name, factor in self._design.factors.items():
            counts = fit.data.level_counts(name) if weights == "observed" else np.ones(len(factor.levels))
            self._averages[name] = counts / counts.sum()

    def factor(self, name: str) -> Factor:
        factors = self._design.factors
        if name not in factors:
            raise ValueError(f"factor: {name!r}: must be one of {', '.join(factors)}")
        return factors[name]

    def crossed(self, names: Sequence[str]) -> list[dict[str, Level]]:
        levels = [self.factor(name).levels for name in names]
        return [dict(zip(names, combination, strict=True)) for combination in itertools.product(*levels)]

    def row(self, levels: Mapping[str, Level]) -> FloatArray:
        chosen = {
            name: np.eye(len(self.factor(name).levels))[self.factor(name).position(level)]
            for name, level in levels.items()
        }
        return self._design.average_row(self._averages | chosen, self._values)


def _estimated(fit: MmrmFit, row: FloatArray) -> tuple[Contrast | None, str]:
    try:
        return fit.contrast(row), ""
    except NotEstimableError as error:
        return None, str(error)
