"""The (restricted) likelihood of a mixed model for repeated measures, its gradient and its Hessian.

All patterns of observed visits are worked on at once: matrices over visits are padded to one size, with zeros
where a visit was not observed, so that the loops are in linear algebra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lapack

if TYPE_CHECKING:
    from tasks.stats.mmrm.moments import Moments
    from tasks.stats.mmrm.structures import CovarianceAt
    from tasks.stats.types import FloatArray

LOG_TWO_PI = float(np.log(2 * np.pi))


class NotPositiveDefiniteError(ValueError):
    """The covariance at this theta is no covariance."""


class Likelihood:
    """Minus twice the log-likelihood at one covariance matrix, in the coordinates of `Moments`.

    Notation: V are the patterns' covariances, X and y the stacked rows, W = V^-1 X C with C C' = (X' V^-1
    X)^-1, so that X C has unit generalised cross-products; e = V^-1 (y - X beta).
    """

    __slots__ = ("_e", "_moments", "_reml", "_spread", "_w", "beta", "deviance", "inverse", "root")

    def __init__(self, moments: Moments, sigma: FloatArray, *, reml: bool) -> None:
        self._moments, self._reml = moments, reml
        m, p = sigma.shape[0], moments.n_coefficients
        is_pair = moments.is_observed[:, :, None] & moments.is_observed[:, None, :]
        padded = np.where(is_pair, sigma, np.eye(m))
        try:
            np.linalg.cholesky(sigma)
            root = np.linalg.cholesky(padded)
            inverse = np.linalg.inv(padded) * is_pair
            solved_x = inverse[moments.pattern_of_row] @ moments.x
            information = moments.x.reshape(-1, p).T @ solved_x.reshape(-1, p)
            information_root = np.linalg.cholesky(information)
        except np.linalg.LinAlgError:
            raise NotPositiveDefiniteError from None
        log_determinant = 2 * float(moments.counts @ np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1))
        score = solved_x.reshape(-1, p).T @ moments.y.reshape(-1)
        # Lower triangular: C' of the notation above.
        self.root: FloatArray = lapack.dtrtri(information_root, lower=1)[0]
        self.beta: FloatArray = self.root.T @ (self.root @ score)
        solved_y = (inverse[moments.pattern_of_row] @ moments.y[:, :, None])[:, :, 0]
        self._e: FloatArray = solved_y - solved_x @ self.beta
        residual_ss = float((self._e * moments.y).sum() + (inverse * moments.scatter).sum())
        deviance = log_determinant + residual_ss
        n = moments.n_observations
        log_scale = 2 * np.log(moments.scale)
        if reml:
            log_information = 2 * float(np.log(np.diag(information_root)).sum())
            log_triangle = 2 * float(np.log(np.abs(np.diag(moments.triangle))).sum())
            deviance += log_information + log_triangle + (n - p) * (LOG_TWO_PI + log_scale)
        else:
            deviance += n * (LOG_TWO_PI + log_scale)
        self.deviance: float = deviance
        self.inverse: FloatArray = inverse
        self._w: FloatArray = solved_x @ self.root.T
        spread = self._e[:, :, None] * self._e[:, None, :]
        if reml:
            spread += self._w @ self._w.transpose(0, 2, 1)
        self._spread: FloatArray = np.add.reduceat(spread, moments.starts, axis=0)
        self._spread += inverse @ moments.scatter @ inverse

    def gradient_by_sigma(self) -> FloatArray:
        """Return the (M, M) derivatives by the elements of Sigma, those of a symmetric pair halved."""
        by_pattern = self._moments.counts[:, None, None] * self.inverse - self._spread
        return np.asarray(by_pattern.sum(axis=0), dtype=np.float64)

    def information_derivatives(self, covariance: CovarianceAt) -> FloatArray:
        """Return W' (dV / dtheta_h) W for each h: (k, p, p), the derivatives of -(X C)' V^-1 X C."""
        k, m = covariance.first.shape[:2]
        p = self._w.shape[2]
        flat = self._w.reshape(-1, m * p)
        crossed = (flat.T @ flat).reshape(m, p, m, p).transpose(0, 2, 1, 3).reshape(m * m, p * p)
        return (covariance.first.reshape(k, -1) @ crossed).reshape(k, p, p)

    def derivatives(self, covariance: CovarianceAt) -> tuple[FloatArray, FloatArray]:
        """Return the gradient (k,) and the Hessian (k, k) by theta."""
        moments, first = self._moments, covariance.first
        k, m = first.shape[:2]
        flat = first.reshape(k, -1)
        by_sigma = self.gradient_by_sigma()
        weight = 2 * self._spread - moments.counts[:, None, None] * self.inverse
        # sum over patterns of tr(dV_h V^-1 dV_j weight), as one bilinear form in the elements of dV.
        pairs = self.inverse.reshape(-1, m * m).T @ weight.reshape(-1, m * m)
        form = pairs.reshape(m, m, m, m).transpose(3, 0, 1, 2).reshape(m * m, m * m)
        hessian = flat @ form @ flat.T
        residual_by = (self._e.T @ self._w.reshape(self._w.shape[0], -1)).reshape(m * m, -1)
        cross = flat @ residual_by
        hessian -= 2 * cross @ cross.T
        if self._reml:
            information_by = self.information_derivatives(covariance).reshape(k, -1)
            hessian -= information_by @ information_by.T
        hessian += covariance.second_against(by_sigma)
        return flat @ by_sigma.reshape(-1), (hessian + hessian.T) / 2

    def kenward_roger_excess(
        self, covariance: CovarianceAt, theta_vcov: FloatArray, *, linear: bool
    ) -> FloatArray:
        """Return what Kenward and Roger add to the covariance, the identity where X C is the design.

        That is 2 sum_hj w_hj (Q_hj - P_h P_j - R_hj / 4), (p, p); with `linear` the second derivatives R of
        the covariance are left out.
        """
        moments, first = self._moments, covariance.first
        k, m = first.shape[:2]
        flat = first.reshape(k, -1)
        weighted = flat.T @ (theta_vcov @ flat)
        # sum_hj w_hj dV_h V^-1 dV_j: element (a, b) takes (a, s) of the one and (t, b) of the other.
        form = weighted.reshape(m, m, m, m).transpose(1, 2, 0, 3).reshape(m * m, m * m)
        inner = (self.inverse.reshape(-1, m * m) @ form).reshape(-1, m, m)
        if not linear:
            inner = inner - covariance.second_weighted(theta_vcov) / 4
        right = inner[moments.pattern_of_row] @ self._w
        p = right.shape[2]
        by = self.information_derivatives(covariance)
        squares = np.einsum("hab,hbc->ac", by, np.tensordot(theta_vcov, by, axes=1), optimize=True)
        excess = self._w.reshape(-1, p).T @ right.reshape(-1, p) - squares
        return np.asarray(excess + excess.T, dtype=np.float64)
