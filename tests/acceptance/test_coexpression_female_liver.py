"""The female mouse liver data of the WGCNA tutorial: the published modules, gene by gene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from tasks.stats.coexpression.correlation import correlation_p_value
from tasks.stats.coexpression.membership import gene_significance, module_membership
from tasks.stats.coexpression.network import GeneModules, find_modules
from tasks.stats.coexpression.scale_free import soft_threshold
from tasks.stats.coexpression.settings import NetworkSettings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.acceptance
FOLDER = "wgcna_femaleliver"
SIZES = [99, 609, 460, 409, 316, 312, 221, 211, 157, 123, 106, 100, 94, 91, 77, 76, 58, 47, 34]
# Power, scale-free R squared, slope and mean connectivity as R's pickSoftThreshold 1.72-1 prints them.
SOFT = [
    (1, 0.0278, 0.345, 747.0),
    (2, 0.126, -0.597, 254.0),
    (3, 0.340, -1.03, 111.0),
    (4, 0.506, -1.42, 56.5),
    (5, 0.681, -1.72, 32.2),
    (6, 0.902, -1.50, 19.9),
    (7, 0.921, -1.67, 13.2),
    (8, 0.904, -1.72, 9.25),
]


@pytest.fixture(scope="module")
def value(test_data: Path) -> np.ndarray:
    frame = pl.read_csv(test_data / FOLDER / "datExpr_134x3600.csv.gz", null_values="NA")
    return frame[:, 1:].cast(pl.Float64).to_numpy().T.copy()


@pytest.fixture(scope="module")
def published(test_data: Path) -> pl.DataFrame:
    genes = pl.read_csv(test_data / FOLDER / "datExpr_134x3600.csv.gz", n_rows=1).columns[1:]
    table = pl.read_csv(test_data / FOLDER / "geneInfo.csv.gz", null_values="NA", infer_schema_length=None)
    return pl.DataFrame({"substanceBXH": genes}).join(table, on="substanceBXH", maintain_order="left")


@pytest.fixture(scope="module")
def modules(value: np.ndarray) -> GeneModules:
    settings = NetworkSettings(
        power=6,
        correlation="pearson",
        network="unsigned",
        overlap="unsigned",
        min_module_size=30,
        merge_cut_height=0.25,
        pam_respects_dendrogram=False,
        reassign_threshold=0,
    )
    return find_modules(value, settings)


def test_soft_threshold_table(value: np.ndarray) -> None:
    found = soft_threshold(value)
    for row, (power, r_squared, slope, mean) in enumerate(SOFT):
        assert found.power[row] == power
        assert found.r_squared[row] == pytest.approx(r_squared, abs=1e-3)
        assert found.slope[row] == pytest.approx(slope, abs=6e-3)
        assert found.mean_connectivity[row] == pytest.approx(mean, rel=5e-3)


def test_every_gene_is_in_its_published_module(modules: GeneModules, published: pl.DataFrame) -> None:
    assert np.bincount(modules.label).tolist() == SIZES
    pairs = set(zip(modules.label.tolist(), published["moduleColor"].to_list(), strict=True))
    assert len(pairs) == len(SIZES)
    assert (0, "grey") in pairs


def test_membership_and_gene_significance_are_published_ones(
    value: np.ndarray, modules: GeneModules, published: pl.DataFrame, test_data: Path
) -> None:
    membership = module_membership(value, modules.eigengenes)
    for place, module in enumerate(modules.eigengenes.module):
        colour = published["moduleColor"][int(np.flatnonzero(modules.label == module)[0])]
        np.testing.assert_allclose(membership.kme[:, place], published[f"MM.{colour}"].to_numpy(), atol=1e-8)
        # The tutorial takes all 134 samples for every gene; we count those that a gene has.
        p_value = correlation_p_value(membership.kme[:, place], value.shape[1])
        np.testing.assert_allclose(p_value, published[f"p.MM.{colour}"].to_numpy(), atol=1e-8)
    traits = pl.read_csv(
        test_data / FOLDER / "datTraits_134x26.csv", null_values="NA", infer_schema_length=None
    )
    weight = traits["weight_g"].cast(pl.Float64).to_numpy()
    found = gene_significance(value, weight[None])
    np.testing.assert_allclose(found.kme[:, 0], published["GS.weight"].to_numpy(), atol=1e-8)
