"""Module preservation against R's modulePreservation, and by what it must find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tasks.stats.coexpression.preservation import module_preservation, summarise
from tasks.stats.coexpression.preservation_statistics import (
    GOLD,
    STATISTICS,
    ReferenceModules,
    Samples,
)
from tasks.stats.coexpression.settings import NetworkSettings

GOLDEN = Path(__file__).parent / "golden_coexpression"
LABEL = np.repeat([1, 2, 3, 4, 5, 0], [70, 50, 40, 35, 25, 60])
CALLS = {
    "pearson_unsigned": {"correlation": "pearson", "network": "unsigned"},
    "pearson_signed_gaps": {"correlation": "pearson", "network": "signed"},
    "bicor_signed_hybrid": {"correlation": "bicor", "network": "signed_hybrid"},
}
NAMES = {
    "variance_explained": "propVarExplained.pres",
    "mean_kme": "meanSignAwareKME.pres",
    "mean_correlation": "meanSignAwareCorDat.pres",
    "mean_adjacency": "meanAdj.pres",
    "mean_mar": "meanMAR.pres",
    "cor_connectivity": "{}.kIM",
    "cor_kme": "{}.kME",
    "cor_kme_all": "{}.kMEall",
    "cor_correlation": "{}.{}",
    "cor_mar": "{}.MAR",
    "separability": "separability",
}


def matrix(name: str) -> np.ndarray:
    return np.genfromtxt(GOLDEN / name, delimiter=",", missing_values="NA")


def given(name: str) -> pl.DataFrame:
    """Read R's table, the random genes of its module 0.1 as ours."""
    table = pl.read_csv(GOLDEN / name, infer_schema_length=None)
    text = table.with_columns(pl.col(pl.String).exclude("statistic").str.strip_chars().cast(pl.Float64))
    module = pl.when(pl.col("module") == 0.1).then(GOLD).otherwise("module").cast(pl.Int64)
    return text.with_columns(module=module).sort("module", maintain_order=True)


def column_of(name: str, call: str) -> str:
    kind = "bicor" if call.startswith("bicor") else "cor"
    return NAMES[name].format(kind, kind)


@pytest.mark.parametrize("call", CALLS)
def test_observed_statistics_are_those_of_r(call: str) -> None:
    settings = NetworkSettings(power=6, **CALLS[call])
    gold = matrix("preservation_gold.csv").astype(int) - 1
    rows = np.concatenate([np.arange(280), gold])
    label = np.concatenate([LABEL, np.full(100, GOLD)])
    test = matrix("preservation_test.csv")
    if "gaps" not in call:
        test = np.nan_to_num(test)
    modules = ReferenceModules(matrix("value.csv"), rows, label, settings)
    found = modules.statistics_in(Samples(test, settings), rows)
    expected = given(f"preservation_{call}.csv")
    assert modules.module.tolist() == expected["module"].to_list()
    for place, name in enumerate(STATISTICS):
        np.testing.assert_allclose(found[:, place], expected[column_of(name, call)], atol=1e-8, err_msg=name)
    ranked = summarise(found, np.random.default_rng(0).normal(size=(5, *found.shape)))
    np.testing.assert_array_equal(ranked.median_rank, expected["medianRank.pres"])
    np.testing.assert_array_equal(ranked.median_rank_density, expected["medianRankDensity.pres"])
    np.testing.assert_array_equal(ranked.median_rank_connectivity, expected["medianRankConnectivity.pres"])


def test_z_is_that_of_r_for_its_permutations() -> None:
    call = "bicor_signed_hybrid"
    expected = given(f"preservation_{call}.csv")
    permuted = given(f"permuted_{call}.csv")
    modules = expected["module"].to_list()
    drawn = np.full((8, len(modules), len(STATISTICS)), np.nan)
    observed = np.full((len(modules), len(STATISTICS)), np.nan)
    for place, name in enumerate(STATISTICS):
        of_r = permuted.filter(pl.col("statistic") == column_of(name, call))
        for row, module in enumerate(modules):
            own = of_r.filter(pl.col("module") == module).sort("permutation")["value"]
            if len(own):
                drawn[:, row, place] = own
                observed[row, place] = expected[column_of(name, call)][row]
    found = summarise(observed, drawn)
    np.testing.assert_allclose(found.z_summary, expected["Zsummary.pres"], rtol=1e-6)
    np.testing.assert_allclose(found.z_density, expected["Zdensity.pres"], rtol=1e-6)
    np.testing.assert_allclose(found.z_connectivity, expected["Zconnectivity.pres"], rtol=1e-6)
    assert found.p_value.min() == pytest.approx(1 / 9)


@pytest.fixture(scope="module")
def planted():
    settings = NetworkSettings(power=6, correlation="pearson", network="signed_hybrid")
    value, test = matrix("value.csv"), np.nan_to_num(matrix("preservation_test.csv"))
    return value, test, settings


def test_what_holds_is_told_from_what_does_not(planted) -> None:
    value, test, settings = planted
    found = module_preservation(value, test, LABEL, settings, permutations=60, seed=3)
    z = dict(zip(found.module.tolist(), found.summary.z_summary, strict=True))
    p = dict(zip(found.module.tolist(), found.summary.p_value, strict=True))
    assert min(z[1], z[4]) > 8
    assert max(z[3], z[5]) < 3
    assert p[1] == p[4] == pytest.approx(1 / 61)
    rank = dict(zip(found.module.tolist(), found.summary.median_rank, strict=True))
    assert max(rank[1], rank[4]) <= 2
    assert found.size.tolist() == [140, 60, 70, 50, 40, 35, 25]


def test_no_module_holds_in_shuffled_genes(planted) -> None:
    value, test, settings = planted
    rng = np.random.default_rng(5)
    z = [
        module_preservation(
            value, test[rng.permutation(280)], LABEL, settings, permutations=25, seed=draw
        ).summary.z_summary[2:]
        for draw in range(8)
    ]
    # Forty draws of no preservation: near standard normal, means of medians even narrower.
    assert abs(np.mean(z)) < 0.6
    assert np.std(z) < 1.5


def test_genes_without_values_take_no_part(planted) -> None:
    value, test, settings = planted
    broken = test.copy()
    broken[3] = 1.0
    broken[4, :15] = np.nan
    found = module_preservation(value, broken, LABEL, settings, permutations=3)
    assert np.flatnonzero(~found.used).tolist() == [3, 4]
    assert found.size[found.module == 1] == 68
    assert np.isfinite(found.observed).all()


def test_large_modules_are_sampled_and_a_seed_repeats(planted) -> None:
    value, test, settings = planted
    one, two = (
        module_preservation(value, test, LABEL, settings, permutations=3, seed=9, max_module_size=30)
        for _ in range(2)
    )
    assert one.size[one.module > 0].tolist() == [30, 30, 30, 30, 25]
    np.testing.assert_array_equal(one.summary.z_summary, two.summary.z_summary)


def test_a_module_of_one_gene_has_no_statistics(planted) -> None:
    value, test, settings = planted
    label = LABEL.copy()
    label[279] = 6
    found = module_preservation(value, test, label, settings, permutations=3)
    assert np.isnan(found.observed[found.module == 6]).all()
    assert np.isnan(found.summary.p_value[found.module == 6]).all()


def test_wrong_input_is_refused(planted) -> None:
    value, test, settings = planted
    with pytest.raises(ValueError, match="must be the same genes"):
        module_preservation(value, test[:10], LABEL, settings)
    with pytest.raises(ValueError, match="at least 2"):
        module_preservation(value, test, LABEL, settings, permutations=1)
    with pytest.raises(ValueError, match="one module of all genes"):
        module_preservation(value, test, np.ones(280, dtype=int), settings)
