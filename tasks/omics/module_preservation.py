"""Whether the modules of a network hold together in other samples, of this study or of another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pydantic import Field

from tasks.analysis import Analysis, Borrowed, Parameters
from tasks.omics.network_expression import (
    colour_of,
    every_gene,
    labels_of,
    network_expressions,
    settings_of,
)
from tasks.stats.coexpression.preservation import module_preservation as preservation_of
from tasks.stats.coexpression.preservation_statistics import GOLD, POWER, STATISTICS
from tasks.stats.coexpression.settings import UNASSIGNED
from tasks.stats.multiplicity import benjamini_hochberg
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression, ExpressionNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from tasks.omics.network_expression import NetworkExpression
    from tasks.stats.coexpression.preservation import ModulePreservation
    from warehouse.expression_plan import PreservationTest

SCHEMA = {
    "network": pl.String,
    "network_title": pl.String,
    "test": pl.String,
    "test_title": pl.String,
    "test_study": pl.String,
    "module": pl.Int64,
    "colour": pl.String,
    "module_size": pl.Int64,
    "n_genes_tested": pl.Int64,
    "status": pl.String,
    "reason": pl.String,
    "verdict": pl.String,
    "z_summary": pl.Float64,
    "z_density": pl.Float64,
    "z_connectivity": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "median_rank": pl.Float64,
    "median_rank_density": pl.Float64,
    "median_rank_connectivity": pl.Float64,
    **dict.fromkeys(STATISTICS, pl.Float64),
    "n_genes_matched": pl.Int64,
    "n_samples_reference": pl.Int64,
    "n_samples_test": pl.Int64,
    "n_samples_in_both": pl.Int64,
    "n_permutations": pl.Int64,
    "seed": pl.Int64,
    "warning": pl.String,
    "method": pl.String,
}
_WEAK, _STRONG = 2.0, 10.0
_LEAST_GENES = 30
_MUCH = 0.5


class ModulePreservationParameters(Parameters):
    """Tests are declared in [[expression.preservation_tests]]; `n_permutations` is of their genes."""

    n_permutations: int = Field(default=100, ge=10)
    seed: int = Field(default=20240101, ge=0)
    expression: Expression = Expression()

    @property
    def other_studies(self) -> tuple[str, ...]:
        return tuple(sorted({test.study for test in self.expression.preservation_tests if test.study}))


def module_preservation(
    expression: pl.DataFrame,
    sample: pl.DataFrame,
    feature: pl.DataFrame,
    modules: pl.DataFrame,
    *,
    parameters: ModulePreservationParameters,
    borrowed: Mapping[str, Borrowed] | None = None,
) -> pl.DataFrame:
    """Test each module against as many genes at random of the test samples, by WGCNA's statistics.

    Zsummary below 2: no evidence that the module is one there; 2 to 10: weak to moderate; from 10: strong.
    It grows with the size of a module; the median rank does not (1 is best), and also ranks the genes of no
    module (grey) and a module of random genes (gold), whose rows describe and are not tested. The p-value is
    the share of permutations with as high a Zsummary; it is adjusted by Benjamini and Hochberg over the
    modules of a test. A test that cannot be made has rows that say why.
    """
    declared = parameters.expression
    if not declared.preservation_tests:
        raise AnalysisError(
            "no test is declared: [[expression.preservation_tests]] with id, title and network is needed"
        )
    references = {
        given.network.id: given
        for given in network_expressions(expression, sample, feature, declared=declared)
    }
    own = Borrowed(study="", expression=declared, frames=(expression, sample, feature))
    known = borrowed or {}
    rows: list[dict[str, Any]] = []
    for test in declared.preservation_tests:
        reference = references[test.network]
        label = labels_of(reference, modules)
        other = own if test.study is None else known[test.study]
        said = _said(test, reference, other, parameters)
        try:
            found = _samples_of_test(test, reference, other)
            rows.extend(_tested(test, reference, label, found, said))
        except AnalysisError as error:
            rows.extend(
                {**said, **_module(module, label), "status": "not_tested", "reason": str(error)}
                for module in np.unique(label)
            )
    return pl.DataFrame(rows, schema=SCHEMA)


def _said(
    test: PreservationTest,
    reference: NetworkExpression,
    other: Borrowed,
    parameters: ModulePreservationParameters,
) -> dict[str, Any]:
    network = reference.network
    return {
        "network": network.id,
        "network_title": network.title,
        "test": test.id,
        # The title of a simulated study says that it is simulated.
        "test_title": f"{test.title} ({other.title})" if test.study and other.title else test.title,
        "test_study": test.study,
        "n_samples_reference": reference.sample.height,
        "n_permutations": parameters.n_permutations,
        "seed": parameters.seed,
        "method": (
            f"module preservation of WGCNA: {reference.correlation_text};"
            f" {network.network.replace('_', ' ')} adjacency at power {POWER[network.network]} as there;"
            f" {parameters.n_permutations} permutations of the test's genes; Zsummary is the mean of the"
            " medians of Z over four statistics of density and three of connectivity; genes matched by"
            f" {test.match_by}"
        ),
    }


def _module(module: int, label: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "module": int(module),
        "colour": "gold" if module == GOLD else colour_of(int(module)),
        "module_size": None if module == GOLD else int((label == module).sum()),
    }


def _samples_of_test(
    test: PreservationTest, reference: NetworkExpression, other: Borrowed
) -> NetworkExpression:
    if other.missing is not None:
        raise AnalysisError(other.missing)
    chosen = ExpressionNetwork(id=test.id, title=test.title, samples=test.samples, adjust_for=test.adjust_for)
    found = every_gene(*other.frames, declared=other.expression, network=chosen)
    if test.match_by not in found.feature.columns or test.match_by not in reference.feature.columns:
        raise AnalysisError(f"omics.feature has no {test.match_by} to match genes by")
    return found


def _matched(reference: NetworkExpression, found: NetworkExpression, by: str) -> tuple[list[int], list[int]]:
    """Return the places of the genes that both have; of several of one name the highest expressed."""
    height = found.value.mean(axis=1)
    place: dict[str, int] = {}
    for number in np.argsort(height, kind="stable"):
        place[found.feature[by][int(number)]] = int(number)
    taken: dict[str, int] = {}
    own_height = reference.value.mean(axis=1)
    for number in np.argsort(own_height, kind="stable"):
        name = reference.feature[by][int(number)]
        if name is not None and name in place:
            taken[name] = int(number)
    pairs = sorted((own, place[name]) for name, own in taken.items())
    return [own for own, _ in pairs], [other for _, other in pairs]


def _tested(
    test: PreservationTest,
    reference: NetworkExpression,
    label: NDArray[np.int64],
    found: NetworkExpression,
    said: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    own, other = _matched(reference, found, test.match_by)
    if len(own) < _LEAST_GENES:
        raise AnalysisError(
            f"{len(own)} gene(s) in both by {test.match_by}: at least {_LEAST_GENES} are needed"
        )
    try:
        result = preservation_of(
            reference.value[own],
            found.value[other],
            label[own],
            settings_of(reference.network, POWER[reference.network.network]),
            permutations=said["n_permutations"],
            seed=said["seed"],
        )
    except ValueError as error:
        raise AnalysisError(str(error)) from error
    shared = 0
    if test.study is None:
        shared = len(set(reference.sample["sample_id"]) & set(found.sample["sample_id"]))
    about = {
        "n_genes_matched": int(result.used.sum()),
        "n_samples_test": found.sample.height,
        "n_samples_in_both": shared,
    }
    matched = label[own][result.used]
    adjusted = _adjusted(result)
    place = {int(module): number for number, module in enumerate(result.module)}
    for module in sorted({*place, *np.unique(label).tolist()}):
        row = {**said, **about, **_module(module, label)}
        n_matched = int((matched == module).sum())
        row["warning"] = _warning(found, shared, n_matched, row["module_size"] if module > 0 else None)
        number = place.get(module)
        if number is None:
            yield row | {
                "status": "not_tested",
                "reason": "none of its genes is in the test",
                "n_genes_tested": 0,
            }
            continue
        summary = result.summary
        z = float(summary.z_summary[number])
        values = {
            "z_summary": z,
            "z_density": summary.z_density[number],
            "z_connectivity": summary.z_connectivity[number],
            "p_value": summary.p_value[number],
            "p_adjusted": adjusted[number],
            "median_rank": summary.median_rank[number],
            "median_rank_density": summary.median_rank_density[number],
            "median_rank_connectivity": summary.median_rank_connectivity[number],
            **dict(zip(STATISTICS, result.observed[number], strict=True)),
        }
        status, reason = _status(module, z)
        yield row | {
            "n_genes_tested": int(result.size[number]),
            "status": status,
            "reason": reason,
            "verdict": _verdict(z),
            **{name: float(value) if np.isfinite(value) else None for name, value in values.items()},
        }


def _status(module: int, z: float) -> tuple[str, str | None]:
    if module in {UNASSIGNED, GOLD}:
        what = "genes of no module" if module == UNASSIGNED else "genes at random"
        return "described", f"{what}: to compare modules with"
    if not np.isfinite(z):
        return "not_tested", "too few of its genes are in the test"
    return "tested", None


def _verdict(z: float) -> str | None:
    if not np.isfinite(z):
        return None
    if z < _WEAK:
        return "no evidence"
    return "weak to moderate" if z < _STRONG else "strong"


def _adjusted(result: ModulePreservation) -> NDArray[np.float64]:
    p = result.summary.p_value
    adjusted = np.full(len(p), np.nan)
    known = np.isfinite(p)
    if known.any():
        adjusted[known] = benjamini_hochberg(p[known])
    return adjusted


def _warning(found: NetworkExpression, shared: int, n_matched: int, size: int | None) -> str | None:
    told = []
    if found.warning:
        told.append(f"the test has {found.warning}")
    if shared:
        told.append(f"{shared} of its samples made the modules too: that they hold in these proves nothing")
    if size is not None and n_matched < _MUCH * size:
        told.append(f"{n_matched} of {size} genes are in the test: it speaks of these alone")
    return "; ".join(told) or None


ANALYSIS = Analysis(
    name="module_preservation",
    function=module_preservation,
    reads=("omics.expression", "omics.sample", "omics.feature", "results.gene_modules"),
    parameters=ModulePreservationParameters,
    borrows=("omics.expression", "omics.sample", "omics.feature"),
)
