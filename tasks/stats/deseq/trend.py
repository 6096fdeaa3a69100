"""The dispersion expected at a mean count, from the gene-wise dispersions of all genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy.stats import trim_mean

from tasks.stats.deseq.local_fit import LocalFit, local_fit
from tasks.stats.types import checked_choice, checked_same_length

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from tasks.stats.types import FloatArray

TrendKind: TypeAlias = Literal["parametric", "local", "mean"]

# Genes this many times above the smallest dispersion shape the curve; this many times, the mean.
_ABOVE_FLOOR = 100
_ABOVE_FLOOR_FOR_MEAN = 10
# Genes whose ratio to the curve is outside this range do not shape it.
_NEAR_CURVE = (1e-4, 15.0)
_START = (0.1, 1.0)
_ROUNDS = 11
# Squared log change of the coefficients at which choosing genes ends.
_SETTLED = 1e-6
# Iterations and relative change of the deviance of one gamma regression.
_ITERATIONS = 25
_DEVIANCE_TOLERANCE = 1e-8
_TRIMMED_SHARE = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class DispersionTrend:
    """Dispersion as a function of the mean of the normalised counts.

    `parametric` is `asymptotic + extra_poisson / mean`; `local` is a curve; `mean` is `asymptotic` at every
    mean. `note` is empty, or says in words why the curve is not of the kind asked for.
    """

    kind: TrendKind
    asymptotic: float | None
    extra_poisson: float | None
    curve: LocalFit | None
    note: str

    def at(self, mean: ArrayLike) -> FloatArray:
        """Return the dispersion expected at each mean above zero; NaN stays NaN."""
        means = np.asarray(mean, dtype=np.float64)
        if self.curve is not None:
            return np.exp(self.curve.at(np.log(means)))
        asymptotic = np.nan if self.asymptotic is None else self.asymptotic
        if self.extra_poisson is None:
            return np.where(np.isnan(means), np.nan, asymptotic)
        return asymptotic + self.extra_poisson / means


class _NoCurveError(Exception):
    """The parametric curve cannot be fitted; the message says why."""


def dispersion_trend(
    base_mean: ArrayLike,
    gene_wise: ArrayLike,
    *,
    kind: TrendKind = "parametric",
    min_dispersion: float = 1e-8,
) -> DispersionTrend:
    r"""Fit the dispersion expected at a mean :math:`\mu`, by the rule of DESeq2.

    The parametric curve :math:`\alpha_1 / \mu + \alpha_0` is a gamma regression with identity link of the
    genes near the curve, who are chosen afresh in every round; PyDESeq2 drops genes for good instead. Where
    it fails (a coefficient that is not positive, no settling), a local fit of the log dispersion on the log
    mean, weighted by the mean, takes its place; where that is not determined, the trimmed mean.

    Parameters
    ----------
    base_mean : (genes,) array
        Mean of the normalised counts. Genes that are NaN here or in `gene_wise` take no part.
    gene_wise : (genes,) array
        Dispersion estimated from each gene alone. Genes no further than two orders of magnitude above
        `min_dispersion` take no part.
    kind : {"parametric", "local", "mean"}
        The curve to begin with.
    min_dispersion : float
        The smallest dispersion that the gene-wise estimate could take.

    Returns
    -------
    DispersionTrend

    Raises
    ------
    ValueError
        If no gene has a dispersion large enough, a base mean is not positive, or the kind is unknown.

    References
    ----------
    .. [1] Love MI, Huber W, Anders S (2014). Genome Biology 15:550, equations 6 and 7.
    """
    checked_choice("kind", kind, ("parametric", "local", "mean"))
    mean = np.asarray(base_mean, dtype=np.float64)
    dispersion = np.asarray(gene_wise, dtype=np.float64)
    checked_same_length("gene_wise", dispersion.size, "base_mean", mean.size)
    is_used = np.isfinite(mean) & (dispersion > _ABOVE_FLOOR * min_dispersion)
    if not is_used.any():
        raise ValueError(
            f"gene_wise: none of {dispersion.size} genes is above {_ABOVE_FLOOR * min_dispersion:g}: "
            "a trend needs genes that vary more than Poisson counts"
        )
    if (mean[is_used] <= 0).any():
        raise ValueError(f"base_mean: {mean[is_used].min():g}: must be positive where there is a dispersion")
    reason = ""
    if kind == "parametric":
        try:
            asymptotic, extra_poisson = _parametric(mean[is_used], dispersion[is_used])
        except _NoCurveError as failure:
            reason = f"the parametric trend failed ({failure})"
        else:
            return DispersionTrend(
                kind="parametric", asymptotic=asymptotic, extra_poisson=extra_poisson, curve=None, note=""
            )
    if kind != "mean":
        try:
            curve = local_fit(np.log(mean[is_used]), np.log(dispersion[is_used]), mean[is_used])
        except ValueError as failure:
            reason = " and ".join(filter(None, [reason, f"the local fit is not determined ({failure})"]))
        else:
            note = f"{reason}: a local fit took its place" if reason else ""
            return DispersionTrend(kind="local", asymptotic=None, extra_poisson=None, curve=curve, note=note)
    is_used = np.isfinite(mean) & (dispersion > _ABOVE_FLOOR_FOR_MEAN * min_dispersion)
    return DispersionTrend(
        kind="mean",
        asymptotic=float(trim_mean(dispersion[is_used], _TRIMMED_SHARE)),
        extra_poisson=None,
        curve=None,
        note=f"{reason}: the mean dispersion took its place" if reason else "",
    )


def _parametric(mean: FloatArray, dispersion: FloatArray) -> tuple[float, float]:
    columns = np.stack([np.ones_like(mean), 1 / mean], axis=1)
    coefficient = np.array(_START)
    for _ in range(_ROUNDS):
        ratio = dispersion / (columns @ coefficient)
        is_near = (ratio > _NEAR_CURVE[0]) & (ratio < _NEAR_CURVE[1])
        previous = coefficient
        coefficient, is_settled = _gamma_identity(dispersion[is_near], columns[is_near], previous)
        if not (coefficient > 0).all():
            raise _NoCurveError(
                f"{coefficient[0]:.3g} + {coefficient[1]:.3g} / mean: both coefficients must be positive"
            )
        if is_settled and (np.log(coefficient / previous) ** 2).sum() < _SETTLED:
            return float(coefficient[0]), float(coefficient[1])
    raise _NoCurveError(f"the choice of genes did not settle in {_ROUNDS} rounds")


def _gamma_identity(y: FloatArray, columns: FloatArray, start: FloatArray) -> tuple[FloatArray, bool]:
    """Gamma regression with identity link by reweighted least squares, and whether it settled.

    A step to where a mean is not positive is halved until all are, as R's `glm` does.
    """
    if len(y) < columns.shape[1] or np.linalg.matrix_rank(columns) < columns.shape[1]:
        raise _NoCurveError(f"{len(y)} gene(s) near the curve do not determine it")
    coefficient = start
    deviance = _gamma_deviance(y, columns @ start)
    for _ in range(_ITERATIONS):
        fitted = columns @ coefficient
        previous = coefficient
        coefficient = np.linalg.lstsq(columns / fitted[:, None], y / fitted, rcond=None)[0]
        halvings = 0
        while not (columns @ coefficient > 0).all():
            halvings += 1
            if halvings > _ITERATIONS:
                raise _NoCurveError("no fitted dispersion stayed positive")
            coefficient = (coefficient + previous) / 2
        new_deviance = _gamma_deviance(y, columns @ coefficient)
        if abs(new_deviance - deviance) < _DEVIANCE_TOLERANCE * (abs(new_deviance) + 0.1):
            return coefficient, True
        deviance = new_deviance
    return coefficient, False


def _gamma_deviance(y: FloatArray, mean: FloatArray) -> float:
    return 2 * float(((y - mean) / mean - np.log(y / mean)).sum())
