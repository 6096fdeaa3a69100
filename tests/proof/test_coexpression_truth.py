"""Twenty simulated studies with planted modules: are they found, and are IFNG and STAT1 hubs of theirs?

`pytest -m proof -s tests/proof/test_coexpression_truth.py` prints a row for each seed. The networks are those
that a study gets by default: the 5,000 most variable expressed genes and the protected ones, bicor, signed
hybrid, over all biopsies, with the power usual for their number. The power that the scale-free fit asks
for stands beside it: where much higher, it takes the smaller modules apart.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import comb

from tasks.omics.counts import count_matrix
from tasks.omics.normalised import most_variable, vst
from tasks.simulation import simulated_frames
from tasks.stats.coexpression.membership import module_membership, rank_in_module
from tasks.stats.coexpression.network import find_modules
from tasks.stats.coexpression.scale_free import choose_power, power_by_samples, soft_threshold
from tasks.stats.coexpression.settings import NetworkSettings
from warehouse.expression_plan import Expression

pytestmark = pytest.mark.proof
ASSUMPTIONS = Path(__file__).parents[2] / "studies" / "nl_ruxolitinib" / "simulation.toml"
SEEDS = range(1, 21)
GENES, PATIENTS, VARIABLE = 20_000, 12, 5_000
PROTECTED = ("IFNG", "STAT1")
# A hub is among the tenth of its module's genes with the highest membership.
HUB_SHARE = 0.1


def adjusted_rand_index(one: np.ndarray, other: np.ndarray) -> float:
    table = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(table, (one, other), 1)
    together, rows, columns = (comb(part, 2).sum() for part in (table, table.sum(axis=1), table.sum(axis=0)))
    expected = rows * columns / comb(len(one), 2)
    return float((together - expected) / ((rows + columns) / 2 - expected))


def of_seed(seed: int) -> dict[str, float]:
    frames = simulated_frames(ASSUMPTIONS, seed=seed, patients=PATIENTS, genes=GENES)
    counts = count_matrix(
        frames.expression, frames.sample, frames.feature, declared=Expression(protected_genes=PROTECTED)
    )
    value = vst(counts)
    n_samples = counts.sample.height
    expressed = np.flatnonzero((counts.count >= 10).sum(axis=1) >= n_samples / 3)
    protected = np.flatnonzero(counts.feature["is_protected"].to_numpy())
    rows = np.union1d(expressed[most_variable(value[expressed], VARIABLE)], protected)
    value = value[rows]
    about = counts.feature[rows.tolist()].join(
        frames.truth.select(feature_id="gene_id", planted="module"),
        on="feature_id",
        how="left",
        maintain_order="left",
    )
    chosen = choose_power(
        soft_threshold(value, kind="bicor", max_p_outliers=0.1, network="signed_hybrid"),
        n_samples,
        network="signed_hybrid",
    )
    settings = NetworkSettings(power=power_by_samples(n_samples, network="signed_hybrid"))
    found = find_modules(value, settings)
    planted = about["planted"].fill_null("").to_numpy()
    names, number, size = np.unique(planted, return_inverse=True, return_counts=True)
    is_seen = (planted != "") & (size[number] >= settings.min_module_size)
    in_ifn = found.label[planted == "ifn"]
    ifn = int(np.bincount(in_ifn[in_ifn > 0]).argmax())
    kme = module_membership(value, found.eigengenes, kind="bicor", max_p_outliers=0.1).kme[:, ifn - 1]
    rank = rank_in_module(kme, np.where(found.label == ifn, ifn, 0))
    row = {
        "seed": seed,
        "power_by_fit": chosen.power,
        "modules": int(found.label.max()),
        "planted_seen": int((size[1:] >= settings.min_module_size).sum()) if names[0] == "" else len(names),
        "ari": adjusted_rand_index(number[is_seen], found.label[is_seen]),
        "ari_with_unplanted": adjusted_rand_index(number, found.label),
        "ifn_size": int((found.label == ifn).sum()),
    }
    for symbol in PROTECTED:
        place = int(np.flatnonzero((about["symbol"] == symbol).to_numpy())[0])
        row[f"{symbol}_rank"] = int(rank[place])
        row[f"{symbol}_kme"] = float(kme[place])
    return row


@pytest.fixture(scope="module")
def figures() -> pl.DataFrame:
    table = pl.DataFrame([of_seed(seed) for seed in SEEDS])
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=200):
        print(table)  # noqa: T201 - the figures are what the proof is for
    return table


def test_planted_modules_are_recovered(figures: pl.DataFrame) -> None:
    assert (figures["ari"] >= 0.9).mean() >= 0.9


def test_stat1_is_a_hub_of_the_interferon_module(figures: pl.DataFrame) -> None:
    is_hub = (figures["STAT1_rank"] > 0) & (figures["STAT1_rank"] <= HUB_SHARE * figures["ifn_size"])
    assert is_hub.mean() >= 0.9
