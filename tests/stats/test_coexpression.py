"""What must hold of co-expression networks whatever the data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from tasks.stats.coexpression.adjacency import adjacency, raise_to
from tasks.stats.coexpression.condensed import square_among, sums_to_groups
from tasks.stats.coexpression.correlation import correlation, correlation_p_value, standardised
from tasks.stats.coexpression.eigengene import module_eigengenes
from tasks.stats.coexpression.gene_blocks import gene_blocks
from tasks.stats.coexpression.knn_imputation import knn_imputed
from tasks.stats.coexpression.linkage import average_linkage, cut_at
from tasks.stats.coexpression.membership import intramodular_connectivity, module_membership, rank_in_module
from tasks.stats.coexpression.merging import merge_modules
from tasks.stats.coexpression.network import find_modules, usable
from tasks.stats.coexpression.overlap import overlap_dissimilarity, topological_overlap
from tasks.stats.coexpression.scale_free import SoftThreshold, choose_power, power_by_samples, soft_threshold
from tasks.stats.coexpression.settings import NetworkSettings
from tasks.stats.coexpression.tree_cut import cut_tree_hybrid


def planted(
    sizes: tuple[int, ...] = (60, 40), n_samples: int = 30, noise: int = 50, seed: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = [
        rng.uniform(0.8, 1.2, (size, 1)) * rng.normal(size=n_samples) + rng.normal(0, 0.4, (size, n_samples))
        for size in sizes
    ]
    rows.append(rng.normal(size=(noise, n_samples)))
    label = np.repeat([*range(1, len(sizes) + 1), 0], [*sizes, noise])
    return np.concatenate(rows), label


def test_overlap_is_its_definition_term_by_term() -> None:
    value, _ = planted((6, 5), noise=4)
    a = adjacency(value, NetworkSettings(power=2, network="unsigned", overlap="signed"))
    n = len(a)
    for denominator in ("min", "mean"):
        found = topological_overlap(a, denominator=denominator)
        k = [sum(abs(a[i, u]) for u in range(n) if u != i) for i in range(n)]
        for i, j in ((0, 1), (0, 7), (3, 14)):
            shared = sum(a[i, u] * a[u, j] for u in range(n) if u not in {i, j})
            least = min(k[i], k[j]) if denominator == "min" else (k[i] + k[j]) / 2
            assert found[i, j] == pytest.approx(abs(shared + a[i, j]) / (least + 1 - abs(a[i, j])), abs=1e-14)


@pytest.mark.parametrize("n_genes", [7, 256, 300])
@pytest.mark.parametrize("denominator", ["min", "mean"])
def test_condensed_dissimilarity_is_that_of_the_overlap(n_genes: int, denominator: str) -> None:
    value = np.random.default_rng(0).normal(size=(n_genes, 12))
    a = adjacency(value, NetworkSettings(power=3))
    expected = 1 - topological_overlap(a, denominator=denominator)
    condensed = overlap_dissimilarity(a, denominator=denominator)
    np.testing.assert_allclose(squareform(condensed), expected, atol=1e-13)


def test_condensed_pairs_are_found_again() -> None:
    rng = np.random.default_rng(4)
    condensed, group = rng.random(45), rng.integers(0, 4, 10)
    square = squareform(condensed)
    members = [7, 2, 9, 4]
    np.testing.assert_array_equal(square_among(condensed, members, 10), square[np.ix_(members, members)])
    expected = np.column_stack([square[:, group == one].sum(axis=1) for one in (1, 2, 3)])
    np.testing.assert_allclose(sums_to_groups(condensed, group), expected, atol=1e-14)


@pytest.mark.parametrize("power", [1, 2, 6, 7, 12.5])
def test_powers_by_squaring(power: float) -> None:
    value = np.random.default_rng(0).random((5, 6))
    np.testing.assert_allclose(raise_to(value.copy(), power), value**power, rtol=1e-13)


def test_linkage_is_that_of_scipy() -> None:
    distance = np.random.default_rng(3).random(45)
    tree = average_linkage(distance)
    other = linkage(distance, "average")
    np.testing.assert_allclose(tree.height, other[:, 2])
    assert sorted(tree.order.tolist()) == list(range(10))
    branch, expected = cut_at(tree, 0.5), fcluster(other, 0.5, "distance")
    assert len(set(zip(branch.tolist(), expected.tolist(), strict=True))) == len(set(expected))


@pytest.mark.parametrize("network", ["unsigned", "signed", "signed_hybrid"])
def test_planted_modules_are_found(network: str) -> None:
    value, label = planted()
    found = find_modules(value, NetworkSettings(power=6, network=network, min_module_size=10)).label
    for module in (1, 2):
        assert np.bincount(found[label == module]).argmax() == module
        assert (found[label == module] == module).mean() > 0.95


def test_order_of_genes_and_samples_does_not_matter() -> None:
    value, _ = planted()
    rng = np.random.default_rng(5)
    genes, samples = rng.permutation(len(value)), rng.permutation(value.shape[1])
    settings = NetworkSettings(power=6, min_module_size=10)
    one, two = find_modules(value, settings), find_modules(value[genes][:, samples], settings)
    np.testing.assert_array_equal(one.label[genes], two.label)
    np.testing.assert_allclose(
        np.abs(one.eigengenes.value[:, samples]), np.abs(two.eigengenes.value), atol=1e-8
    )


def test_noise_has_no_module() -> None:
    value = np.random.default_rng(8).normal(size=(200, 60))
    assert not find_modules(value, NetworkSettings(power=6, min_module_size=20)).label.any()


def test_given_blocks_are_kept_and_modules_merge_across_them() -> None:
    value, label = planted((60, 60))
    block = np.tile([1, 2], len(value) // 2 + 1)[: len(value)]
    found = find_modules(value, NetworkSettings(power=6, min_module_size=10), block=block)
    assert len(found.dendrograms) == 2
    assert len(np.unique(found.label[label == 1])) == 1


def test_blocks_hold_no_more_than_asked_and_keep_modules_together() -> None:
    value, label = planted((60, 60), noise=0)
    block = gene_blocks(value, NetworkSettings(power=6, max_block_size=70))
    assert np.bincount(block)[1:].max() <= 70
    for module in (1, 2):
        assert len(np.unique(block[label == module])) == 1


def test_eigengene_points_where_its_genes_point() -> None:
    value, label = planted()
    for sign in (1, -1):
        found = module_eigengenes(sign * value, label)
        mean = (sign * value[label == 1]).mean(axis=0)
        assert np.corrcoef(found.value[0], mean)[0, 1] > 0.98
        np.testing.assert_allclose((found.value**2).sum(axis=1), 1)


def test_modules_alike_are_merged_and_numbered_by_size() -> None:
    value, _ = planted((80, 40), noise=0)
    split = np.repeat([1, 2, 3], [30, 50, 40])
    merged = merge_modules(value, split, cut_height=0.25)
    np.testing.assert_array_equal(merged.label, np.repeat([1, 2], [80, 40]))
    assert merged.merged_into == {1: 1, 2: 1, 3: 2}


def test_membership_ranks_and_connectivity() -> None:
    value, label = planted()
    found = module_membership(value, module_eigengenes(value, label))
    assert found.kme[label == 1, 0].min() > 0.7
    assert found.p_value[label == 1, 0].max() < 1e-4
    rank = rank_in_module(found.kme[:, 0], np.where(label == 1, 1, 0))
    assert sorted(rank[label == 1].tolist()) == list(range(1, 61))
    assert rank[int(found.kme[:60, 0].argmax())] == 1
    k = intramodular_connectivity(adjacency(value, NetworkSettings(power=6)), label)
    np.testing.assert_allclose(k.within[label > 0] + k.out[label > 0], k.total[label > 0])
    assert np.isnan(k.within[label == 0]).all()


def test_a_gap_is_filled_from_genes_alike() -> None:
    value, _ = planted((30,), noise=0)
    gapped = value.copy()
    gapped[4, 7] = np.nan
    filled = knn_imputed(gapped)
    assert abs(filled[4, 7] - value[4, 7]) < abs(value[4].mean() - value[4, 7])
    np.testing.assert_array_equal(np.delete(filled.ravel(), 4 * 30 + 7), np.delete(value.ravel(), 4 * 30 + 7))


def test_genes_without_values_or_spread_take_no_part() -> None:
    value, _ = planted()
    value[0] = 3.0
    value[1, :20] = np.nan
    genes, samples = usable(value)
    assert np.flatnonzero(~genes).tolist() == [0, 1]
    assert samples.all()
    found = find_modules(value, NetworkSettings(power=6, min_module_size=10))
    assert found.label[0] == found.label[1] == 0


def test_a_constant_correlates_with_nothing() -> None:
    value = np.array([[0.1] * 7, [1, 2, 3, 4, 5, 6, 7], [2, 1, 4, 3, 6, 5, 7]])
    found = correlation(value, kind="pearson")
    assert np.isnan(found[0]).all()
    assert found[1, 2] == pytest.approx(np.corrcoef(value[1], value[2])[0, 1])
    assert standardised(np.array([[1.0, 1, 1, 1, 5]]), kind="bicor").fell_back.all()


def test_correlation_p_value_is_student_s() -> None:
    # A t of 2.306 with 8 degrees of freedom is the two-sided 5 % point of every table of Student's t.
    r = 2.306 / np.sqrt(8 + 2.306**2)
    assert correlation_p_value(np.array([r]), 10)[0] == pytest.approx(0.05, abs=1e-4)


def test_power_falls_back_on_the_number_of_samples() -> None:
    def fits(r_squared: list[float], mean: list[float], first: float = 1) -> SoftThreshold:
        k = np.array(mean)
        return SoftThreshold(
            power=first + np.arange(3.0),
            r_squared=np.array(r_squared),
            slope=np.array([-1.0, -1, -1]),
            truncated_r_squared=np.array(r_squared),
            mean_connectivity=k,
            median_connectivity=k,
            max_connectivity=k,
        )

    chosen = choose_power(fits([0.2, 0.9, 0.95], [50, 20, 5]), 24, network="signed_hybrid")
    assert (chosen.power, chosen.rule) == (2, "scale_free_fit")
    assert choose_power(fits([0.2, 0.5, 0.9], [50, 20, 0.5]), 24, network="signed").power == 16
    # A fit at power 9 would do with 19 samples, but not with 24, for which 8 is usual.
    high = fits([0.2, 0.5, 0.9], [50, 20, 5], first=7)
    assert choose_power(high, 19, network="unsigned").rule == "scale_free_fit"
    chosen = choose_power(high, 24, network="unsigned")
    assert (chosen.power, chosen.rule) == (8, "sample_size_table")
    assert "not reached before power 9 (0.900)" in chosen.reason
    assert [power_by_samples(n, network="signed_hybrid") for n in (12, 20, 30, 40, 41)] == [9, 8, 7, 6, 6]


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [("deep_split", 5, "from 0 to 4"), ("min_cluster_size", 0, "1 or more")],
)
def test_wrong_options_are_refused(option: str, value: int, says: str) -> None:
    distance = np.random.default_rng(0).random(10)
    tree = average_linkage(distance)
    with pytest.raises(ValueError, match=says):
        cut_tree_hybrid(tree, distance, **{option: value})


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4 and 4"):
        find_modules(np.random.default_rng(0).normal(size=(30, 3)), NetworkSettings(power=6))


@pytest.mark.parametrize("wrong", [np.ones((3, 4)), np.zeros((3, 3))])
def test_an_adjacency_without_its_diagonal_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="square with 1 on the diagonal"):
        topological_overlap(wrong)


@pytest.mark.parametrize("network", ["unsigned", "signed", "signed_hybrid"])
@pytest.mark.parametrize("has_gaps", [False, True])
def test_a_gene_that_does_not_vary_is_connected_to_none(network: str, has_gaps: bool) -> None:
    value, _ = planted()
    if has_gaps:
        value[5, 3] = np.nan
    settings = NetworkSettings(power=4, correlation="pearson", network=network)
    with_constant = np.vstack([value, np.full(value.shape[1], 2.0)])
    a = adjacency(with_constant, settings)
    assert not a[-1, :-1].any()
    found = soft_threshold(with_constant, [4], network=network)
    others = soft_threshold(value, [4], network=network)
    assert found.max_connectivity[0] == pytest.approx(others.max_connectivity[0])
    n_genes = len(value)
    assert found.mean_connectivity[0] == pytest.approx(others.mean_connectivity[0] * n_genes / (n_genes + 1))
