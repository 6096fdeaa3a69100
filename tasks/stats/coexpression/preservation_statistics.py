"""How the genes of a module hang together in other samples, measured in several ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.stats.coexpression.adjacency import connect
from tasks.stats.coexpression.correlation import correlation, cross_correlation, standardised
from tasks.stats.coexpression.eigengene import module_eigengenes
from tasks.stats.coexpression.settings import UNASSIGNED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tasks.stats.coexpression.settings import NetworkSettings
    from tasks.stats.types import FloatArray

# A "module" of genes taken at random from all, which no module should fail to beat.
GOLD = -1
DENSITY = ("variance_explained", "mean_kme", "mean_correlation", "mean_adjacency")
CONNECTIVITY = ("cor_connectivity", "cor_kme", "cor_correlation")
STATISTICS = (*DENSITY, *CONNECTIVITY, "mean_mar", "cor_mar", "cor_kme_all", "separability")
# What WGCNA raises correlations to here, whatever the power of the network.
POWER = {"unsigned": 6, "signed": 12, "signed_hybrid": 6}
_LEAST_GENES = 2


class Samples:
    """Expression (genes, samples), NaN where missing, standardised once for any choice of genes."""

    def __init__(self, value: FloatArray, settings: NetworkSettings) -> None:
        self.value = value
        self.settings = settings
        self._unit = self._standardised(value) if np.isfinite(value).all() else None

    def correlations(self, rows: NDArray[np.intp]) -> FloatArray:
        """Return the correlations (rows, rows) of some genes."""
        if self._unit is None:
            return correlation(
                self.value[rows],
                kind=self.settings.correlation,
                max_p_outliers=self.settings.max_p_outliers,
            )
        unit = self._unit[rows]
        square: FloatArray = unit @ unit.T
        np.clip(square, -1.0, 1.0, out=square)
        np.fill_diagonal(square, 1.0)
        return square

    def memberships(self, rows: NDArray[np.intp], eigengene: FloatArray) -> FloatArray:
        """Return the correlations (rows, modules) of some genes with eigengenes (modules, samples)."""
        if self._unit is None:
            return cross_correlation(
                self.value[rows],
                eigengene,
                kind=self.settings.correlation,
                max_p_outliers=self.settings.max_p_outliers,
            )
        product: FloatArray = self._unit[rows] @ self._standardised(eigengene).T
        return np.clip(product, -1.0, 1.0)

    def _standardised(self, value: FloatArray) -> FloatArray:
        return _unit(value, self.settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Module:
    """One module: correlations and adjacencies of its pairs, condensed; the rest by gene."""

    correlation: FloatArray
    adjacency: FloatArray
    connectivity: FloatArray
    mar: FloatArray
    kme: FloatArray


class ReferenceModules:
    """Modules as they are in the reference samples, to be looked for in others.

    `rows` (chosen,) are places of genes, `label` (chosen,) the module of each; a gene may be chosen twice,
    for its module and for `GOLD`.
    """

    def __init__(
        self, value: FloatArray, rows: NDArray[np.intp], label: NDArray[np.int64], settings: NetworkSettings
    ) -> None:
        self.settings = settings
        self.label = label
        self.module = np.unique(label)
        self.members = [np.flatnonzero(label == module) for module in self.module]
        # Places of the pairs in a flattened square, for permutations look them up again and again.
        self._pairs = [
            np.ravel_multi_index(np.triu_indices(len(members), 1), (len(members), len(members)))
            for members in self.members
        ]
        samples = Samples(value, settings)
        eigengene, kme = self._memberships(samples, rows)
        every = [self._module(samples, rows, kme, place) for place in range(len(eigengene))]
        self._sign = [np.sign(own.correlation) for own in every]
        self._kme_sign = [np.sign(own.kme) for own in every]
        # Standardised at once: the reference stays the same over permutations.
        self._unit = [
            {
                "cor_connectivity": _one(own.connectivity, settings),
                "cor_kme": _one(own.kme, settings),
                "cor_correlation": _one(own.correlation, settings),
                "cor_mar": _one(own.mar, settings),
                "cor_kme_all": _one(kme[:, place], settings),
            }
            for place, own in enumerate(every)
        ]

    @property
    def size(self) -> NDArray[np.int64]:
        return np.array([len(members) for members in self.members], dtype=np.int64)

    def statistics_in(
        self, test: Samples, rows: NDArray[np.intp], places: Sequence[int] | None = None
    ) -> FloatArray:
        """Measure the modules (modules, STATISTICS) in other samples, where `rows` (chosen,) are the genes.

        Density: is the module still one? The mean squared and the mean correlation of its genes with its
        eigengene there, the mean correlation of its pairs, both with the sign they have in the reference, and
        the mean adjacency. Connectivity: are the same genes its centre? The correlation over the module's
        genes of connectivity and of kME, and over its pairs of the correlations. The others describe only:
        the maximum adjacency ratio (MAR) and its correlation, the correlation of kME over all chosen genes,
        and separability, one less the correlation with the nearest other eigengene. Only the modules at
        `places` are measured if given; the others, and those of fewer than two genes, have NaN. As
        modulePreservation of WGCNA 1.72 with missing values taken pair by pair (quickCor = 0).
        """
        eigengene, kme = self._memberships(test, rows)
        nearest = self._nearest(eigengene)
        result = np.full((len(self.module), len(STATISTICS)), np.nan)
        for place in range(len(self.module)) if places is None else places:
            if len(self.members[place]) < _LEAST_GENES:
                continue
            own = self._module(test, rows, kme, place)
            values = {
                "variance_explained": _mean(own.kme**2),
                "mean_kme": abs(_mean(self._kme_sign[place] * own.kme)),
                "mean_correlation": _mean(self._sign[place] * own.correlation),
                "mean_adjacency": _mean(own.adjacency),
                "cor_connectivity": self._related(place, "cor_connectivity", own.connectivity),
                "cor_kme": abs(self._related(place, "cor_kme", own.kme)),
                "cor_correlation": self._related(place, "cor_correlation", own.correlation),
                "mean_mar": _mean(own.mar),
                "cor_mar": self._related(place, "cor_mar", own.mar),
                "cor_kme_all": abs(self._related(place, "cor_kme_all", kme[:, place])),
                "separability": 1 - nearest[place],
            }
            result[place] = [values[name] for name in STATISTICS]
        return result

    def _memberships(self, samples: Samples, rows: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        eigengene = module_eigengenes(samples.value[rows], self.label, include_unassigned=True).value
        return eigengene, samples.memberships(rows, eigengene)

    def _module(self, samples: Samples, rows: NDArray[np.intp], kme: FloatArray, place: int) -> _Module:
        members, pairs = self.members[place], self._pairs[place]
        square = samples.correlations(rows[members])
        correlations = square.ravel()[pairs]
        network = self.settings.network
        connect(square, network=network, power=POWER[network])
        adjacency = square.ravel()[pairs]
        connected = square.sum(axis=0) - 1
        with np.errstate(invalid="ignore", divide="ignore"):
            mar = (np.einsum("ij,ij->j", square, square) - 1) / connected
        return _Module(
            correlation=correlations,
            adjacency=adjacency,
            connectivity=connected,
            mar=np.where(connected == 0, np.nan, mar),
            kme=kme[members, place],
        )

    def _related(self, place: int, name: str, value: FloatArray) -> float:
        before = self._unit[place][name]
        if np.isfinite(before).all() and np.isfinite(value).all():
            return float(np.clip(before @ _one(value, self.settings), -1.0, 1.0))
        return np.nan

    def _nearest(self, eigengene: FloatArray) -> FloatArray:
        """Return the correlation of each eigengene with that of the nearest module other than itself."""
        settings = self.settings
        related = correlation(eigengene, kind=settings.correlation, max_p_outliers=settings.max_p_outliers)
        # A module is no neighbour of its own: no relation stands in, as in WGCNA.
        np.fill_diagonal(related, 0.0)
        others = related[:, (self.module != UNASSIGNED) & (self.module != GOLD)]
        return others.max(axis=1) if others.shape[1] else np.full(len(self.module), np.nan)


def _unit(value: FloatArray, settings: NetworkSettings) -> FloatArray:
    return standardised(value, kind=settings.correlation, max_p_outliers=settings.max_p_outliers).unit


def _one(value: FloatArray, settings: NetworkSettings) -> FloatArray:
    # Of one pair or one gene there is nothing to relate.
    return _unit(value[None], settings)[0] if len(value) else np.full(1, np.nan)


def _mean(value: FloatArray) -> float:
    known = value[np.isfinite(value)]
    return float(known.mean()) if len(known) else np.nan
