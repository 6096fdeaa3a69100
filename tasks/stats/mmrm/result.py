"""What a fit gives: coefficients, covariances, and tests of contrasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from tasks.stats.mmrm import inference, ls_means
from tasks.stats.mmrm.design import MATRIX_DIMENSIONS
from tasks.stats.mmrm.inference import NotEstimableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from tasks.stats.mmrm.data import MmrmData
    from tasks.stats.mmrm.design import Level
    from tasks.stats.mmrm.inference import Contrast, FTest
    from tasks.stats.mmrm.ls_means import LsMean, LsMeanDifference, Weights
    from tasks.stats.mmrm.structures import StructureName
    from tasks.stats.types import FloatArray

DfMethod: TypeAlias = Literal["kenward-roger", "kenward-roger-linear", "satterthwaite"]
DF_METHODS: tuple[DfMethod, ...] = get_args(DfMethod)

# How far a combination of coefficients may be off what the data determine, relative to its size.
ESTIMABLE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One covariance structure that was tried.

    `reason` says why it did not converge. `deviance` and `gradient_norm` (the largest derivative of the
    deviance by a covariance parameter) are those of the last iteration, None if there was none.
    """

    structure: StructureName
    has_converged: bool
    reason: str
    n_iterations: int
    deviance: float | None
    gradient_norm: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MmrmFit:
    """A fitted model.

    Attributes
    ----------
    structure, attempts
        The covariance structure used, and all that were tried, in order.
    df_method, reml
        How degrees of freedom are computed; restricted or ordinary likelihood.
    beta : (p,) array
        Coefficients named by `coefficient_names`; `aliased` names the columns that have none.
    vcov, model_vcov : (p, p) arrays
        Covariance of the coefficients that contrasts use, and the one without the Kenward-Roger adjustment.
    theta, theta_vcov
        Covariance parameters (see `structures`) and the inverse of their observed information.
    covariances : mapping
        The (visits, visits) covariance matrix in each group; one group where it does not differ.
    deviance, aic, bic : float
        Minus twice the (restricted) log-likelihood, and with its penalty for the covariance parameters (under
        ordinary likelihood the coefficients too); BIC counts subjects.
    """

    structure: StructureName
    attempts: tuple[Attempt, ...]
    df_method: DfMethod
    reml: bool
    coefficient_names: tuple[str, ...]
    aliased: tuple[str, ...]
    beta: FloatArray
    vcov: FloatArray
    model_vcov: FloatArray
    theta: FloatArray
    theta_vcov: FloatArray
    covariances: Mapping[Level, FloatArray]
    deviance: float
    aic: float
    bic: float
    n_subjects: int
    n_observations: int
    data: MmrmData = field(repr=False)
    # The unit coordinates of `inference`: beta = offset + to_beta u, cov(u) = 1, or 1 + excess if adjusted.
    to_unit: FloatArray = field(repr=False)
    unit_excess: FloatArray | None = field(repr=False)
    information_by: FloatArray = field(repr=False)

    @property
    def covariance(self) -> FloatArray:
        """The covariance matrix over visits, where it is the same in all groups."""
        if len(self.covariances) > 1:
            raise ValueError(
                f"covariance: differs between {', '.join(map(str, self.covariances))}: see covariances"
            )
        return next(iter(self.covariances.values()))

    @property
    def log_likelihood(self) -> float:
        return -self.deviance / 2

    @property
    def n_parameters(self) -> int:
        """Number of covariance parameters."""
        return int(self.theta.size)

    def contrast(self, weights: ArrayLike | Mapping[str, float]) -> Contrast:
        """Estimate and test one linear combination of coefficients.

        Parameters
        ----------
        weights : (columns,) array or mapping
            A weight for each column of the design (`data.column_names`), or by name for those that are not
            zero.

        Raises
        ------
        NotEstimableError
            If it depends on how an aliased column is resolved, or its adjusted variance is not positive.
        """
        row = self._checked_contrasts(self._as_row(weights)[None])[0]
        estimate = float(row @ self.beta)
        unit = self.to_unit @ row
        variance = self._unit_variance(unit[None])[0, 0]
        if variance <= 0:
            raise NotEstimableError(
                f"contrast: not estimable: its variance adjusted by {self.df_method} is {variance:.3g}: "
                "must be positive; use kenward-roger-linear or satterthwaite"
            )
        df = inference.one_df(unit, self.information_by, self.theta_vcov)
        return inference.t_test(estimate, float(variance), df, self.df_method)

    def f_test(self, weights: ArrayLike) -> FTest:
        """Test that several linear combinations, the rows of a (rows, columns) array, are all zero.

        Rows may depend on each other. Satterthwaite's df depend on the combinations chosen to state the
        hypothesis.
        """
        rows = np.asarray(weights, dtype=np.float64)
        if rows.ndim != MATRIX_DIMENSIONS or rows.shape[1] != len(self.data.column_names):
            columns = len(self.data.column_names)
            raise ValueError(
                f"weights: shape {rows.shape}: must be (rows, {columns}) as the design has columns"
            )
        kept = self._checked_contrasts(rows)
        unit = kept @ self.to_unit.T
        basis = inference.row_space(unit)
        if not basis.size:
            raise ValueError("weights: every one is zero: at least one must differ")
        q = basis.shape[0]
        # The estimates of the basis: combinations of the rows' estimates, as the basis is of the rows.
        estimate = np.linalg.lstsq(unit.T, basis.T, rcond=None)[0].T @ (kept @ self.beta)
        f = float(estimate @ np.linalg.solve(self._unit_variance(basis), estimate)) / q
        if self.df_method == "satterthwaite":
            df = inference.satterthwaite_df(basis, self.information_by, self.theta_vcov)
            return inference.f_test(f, q, df, 1.0, self.df_method)
        df, scale = inference.kenward_roger_df(basis, self.information_by, self.theta_vcov)
        return inference.f_test(scale * f, q, df, scale, self.df_method)

    def coefficients(self) -> dict[str, Contrast]:
        """Test each coefficient."""
        return {name: self.contrast({name: 1.0}) for name in self.coefficient_names}

    def ls_means(
        self, over: Sequence[str], *, at: Mapping[str, float] | None = None, weights: Weights = "equal"
    ) -> tuple[LsMean, ...]:
        """Estimate the mean at each combination of the levels of some factors, the last running fastest.

        Other factors are averaged over their levels, each counting the same (or, with "observed", as often as
        it is among the observations); covariates are held at their mean over the observations or at the
        values given.
        """
        return ls_means.means(self, over, at=at, weights=weights)

    def ls_mean_differences(
        self,
        factor: str,
        *,
        by: Sequence[str] = (),
        reference: Level | None = None,
        at: Mapping[str, float] | None = None,
        weights: Weights = "equal",
    ) -> tuple[LsMeanDifference, ...]:
        """Estimate each level's mean minus that of the reference level (the first), at each level of `by`."""
        return ls_means.differences(self, factor, by=by, reference=reference, at=at, weights=weights)

    def _as_row(self, weights: ArrayLike | Mapping[str, float]) -> FloatArray:
        names = self.data.column_names
        if isinstance(weights, Mapping):
            row = np.zeros(len(names))
            for name, weight in weights.items():
                if name not in names:
                    raise ValueError(f"weights: {name!r}: must be one of {', '.join(names)}")
                row[names.index(name)] = weight
            return row
        row = np.asarray(weights, dtype=np.float64)
        if row.shape != (len(names),):
            raise ValueError(f"weights: shape {row.shape}: must be ({len(names)},) as the design has columns")
        return row

    def _checked_contrasts(self, rows: FloatArray) -> FloatArray:
        """Return the weights of the kept columns if the data determine the combinations."""
        moments = self.data.moments
        if not np.isfinite(rows).all():
            raise ValueError("weights: must be finite")
        off = rows[:, moments.kept] @ moments.alias - rows[:, moments.aliased]
        size = np.abs(rows).sum(axis=1, keepdims=True)
        touched = (np.abs(off) > ESTIMABLE * size).any(axis=0)
        if touched.any():
            names = ", ".join(
                name for name, is_touched in zip(self.aliased, touched, strict=True) if is_touched
            )
            raise NotEstimableError(f"contrast: not estimable: the data do not determine {names}")
        return np.asarray(rows[:, moments.kept])

    def _unit_variance(self, rows: FloatArray) -> FloatArray:
        plain = rows @ rows.T
        return plain if self.unit_excess is None else np.asarray(plain + rows @ self.unit_excess @ rows.T)
