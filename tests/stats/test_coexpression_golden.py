"""The co-expression engine against R's WGCNA, option by option."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.stats.coexpression.correlation import correlation, pairwise_pearson
from tasks.stats.coexpression.network import find_modules
from tasks.stats.coexpression.scale_free import soft_threshold
from tasks.stats.coexpression.settings import NetworkSettings

GOLDEN = Path(__file__).parent / "golden_coexpression"
N_CALLS = 30
POWER = {"unsigned": 5, "signed": 10, "signed hybrid": 5}


def table(name: str) -> np.ndarray:
    return np.genfromtxt(GOLDEN / name, delimiter=",", missing_values="NA")


def settings_of(call: int, **more: object) -> NetworkSettings:
    deep, respects, network = pl.read_csv(GOLDEN / "options.csv").row(call)
    return NetworkSettings(
        power=POWER[network],
        network=network.replace(" ", "_"),
        overlap="unsigned" if deep % 2 else "signed",
        correlation="bicor" if respects else "pearson",
        min_module_size=8 + deep,
        deep_split=deep,
        pam_respects_dendrogram=respects,
        **more,
    )


@pytest.mark.parametrize("limit", [1, 0.1, 0.05])
def test_biweight_midcorrelation_with_gaps_is_that_of_r(limit: float) -> None:
    found = correlation(table("gaps.csv"), kind="bicor", max_p_outliers=limit)
    np.testing.assert_allclose(found, table(f"bicor_{limit:g}.csv"), atol=1e-12)


def test_pearson_with_gaps_is_that_of_r_by_either_way() -> None:
    for found in (correlation(table("gaps.csv"), kind="pearson"), pairwise_pearson(table("gaps.csv"))):
        np.testing.assert_allclose(found, table("pearson.csv"), atol=1e-12)


def test_soft_threshold_table_is_that_of_r() -> None:
    given = pl.read_csv(GOLDEN / "soft_threshold.csv").to_numpy().astype(float)
    found = soft_threshold(table("value.csv"), range(1, 11))
    columns = (
        found.power,
        found.r_squared,
        found.slope,
        found.truncated_r_squared,
        found.mean_connectivity,
        found.median_connectivity,
        found.max_connectivity,
    )
    np.testing.assert_allclose(np.column_stack(columns), given, rtol=1e-8)


@pytest.mark.parametrize("call", range(N_CALLS))
def test_modules_are_those_of_r(call: int) -> None:
    labels = table("labels.csv").astype(int)
    found = find_modules(table("value.csv"), settings_of(call))
    np.testing.assert_array_equal(found.unmerged_label, labels[:, 2 * call])
    # R breaks ties of size by the alphabet of colours, so equal partitions may be numbered otherwise.
    pairs = set(zip(found.label.tolist(), labels[:, 2 * call + 1].tolist(), strict=True))
    assert len({one for one, _ in pairs}) == len({other for _, other in pairs}) == len(pairs)
    sizes = [np.bincount(one) for one in (found.label, labels[:, 2 * call + 1])]
    np.testing.assert_array_equal(*sizes)


@pytest.mark.parametrize(("column", "call"), [(0, 0), (1, 11), (2, 22)])
def test_merge_heights_are_those_of_r(column: int, call: int) -> None:
    tree = find_modules(table("value.csv"), settings_of(call)).dendrograms[0]
    np.testing.assert_allclose(tree.height, table("heights.csv")[:, column], atol=1e-10)


def test_single_precision_finds_the_same_modules() -> None:
    value = table("value.csv")
    one, two = (find_modules(value, settings_of(22, precision=which)) for which in ("single", "double"))
    np.testing.assert_array_equal(one.label, two.label)
    np.testing.assert_allclose(one.dendrograms[0].height, two.dendrograms[0].height, atol=1e-6)
