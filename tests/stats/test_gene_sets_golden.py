"""The statistics of gene sets against R: see golden_gene_sets/README.md."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tasks.stats.gene_sets.gsva import gsva
from tasks.stats.gene_sets.leading_edge import cluster_leading_edges
from tasks.stats.gene_sets.mean_z import mean_z
from tasks.stats.gene_sets.over_representation import over_representation
from tasks.stats.gene_sets.ssgsea import ssgsea
from tasks.stats.gene_sets.univariate_linear_model import univariate_linear_model

GOLDEN = Path(__file__).parent / "golden_gene_sets"
KINDS = ("plain", "shallow", "few")
SCORERS = {
    "gsva": gsva,
    "gsva_larger": lambda x, sets: gsva(x, sets, max_difference=False),
    "gsva_empirical": lambda x, sets: gsva(x, sets, kernel="none"),
    "ssgsea": ssgsea,
    "ssgsea_raw": lambda x, sets: ssgsea(x, sets, is_normalised=False),
}


def _rows(name):
    with (GOLDEN / f"{name}.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _lines(name):
    return [line.split(",") for line in (GOLDEN / f"{name}.csv").read_text(encoding="utf-8").splitlines()]


def _expression(kind):
    rows = _rows(f"expression_{kind}")
    samples = [name for name in rows[0] if name != "row"]
    values = np.array([[float(row[sample]) for sample in samples] for row in rows])
    return {row["row"]: place for place, row in enumerate(rows)}, values


def _scored(kind, call):
    wanted: dict[str, list[float]] = {}
    for row in _rows("scores"):
        if (row["kind"], row["call"]) == (kind, call):
            wanted.setdefault(row["set"], []).append(float(row["score"]))
    place, values = _expression(kind)
    named = {name: [place[gene] for gene in genes] for name, *genes in _lines("sets")}
    return values, [named[name] for name in wanted], np.array(list(wanted.values()))


@pytest.mark.parametrize("call", SCORERS)
@pytest.mark.parametrize("kind", KINDS)
def test_sample_scores_are_those_of_r(kind, call):
    values, sets, expected = _scored(kind, call)
    score = SCORERS[call](values, sets).score
    # A walk of at most 240 steps, summed in another order than R's.
    np.testing.assert_allclose(score, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_mean_z_is_the_combined_z_score_over_the_root_of_the_size(kind):
    values, sets, expected = _scored(kind, "zscore")
    result = mean_z(values, sets)
    np.testing.assert_allclose(result.score * np.sqrt(result.size)[:, np.newaxis], expected, atol=1e-12)


def test_over_representation_is_fishers_test():
    rows = _rows("over_representation")
    margin = {name: np.array([int(row[name]) for row in rows]) for name in ("x", "m", "k", "N")}
    for place, row in enumerate(rows):
        x, m, k, n = (int(margin[name][place]) for name in ("x", "m", "k", "N"))
        result = over_representation([x], [m], k, n)
        assert result.p_value[0] == pytest.approx(float(row["p_value"]), rel=1e-9)
        for name, value in (
            ("odds_ratio", result.odds_ratio),
            ("low", result.odds_ratio_low),
            ("high", result.odds_ratio_high),
        ):
            # fisher.test() solves to .00012 of the odds ratio, or of its inverse above one.
            ours, theirs = float(value[0]), float(row[name])
            if theirs > 1:
                ours, theirs = 1 / ours, 1 / theirs
            assert ours == pytest.approx(theirs, abs=1.3e-4), (row, name)


def test_activity_is_the_slope_of_a_line():
    place, values = _expression("plain")
    rows = _rows("linear_models")
    regulators = list(dict.fromkeys(row["regulator"] for row in rows))
    weight = np.zeros((len(regulators), values.shape[0]))
    for row in _rows("weights"):
        weight[regulators.index(row["regulator"]), place[row["gene"]]] = float(row["weight"])
    result = univariate_linear_model(values[:, :3], weight)
    for row in rows:
        at = regulators.index(row["regulator"]), int(row["column"]) - 1
        assert result.slope[at] == pytest.approx(float(row["slope"]), rel=1e-10)
        assert result.statistic[at] == pytest.approx(float(row["t"]), rel=1e-10)
        assert result.p_value[at] == pytest.approx(float(row["p"]), rel=1e-10)


@pytest.mark.parametrize(("column", "least"), [(0, 0.3), (1, 0.2)])
def test_clusters_are_those_of_hclust(column, least):
    lines = [[int(cell) for cell in line] for line in _lines("leading_edges")]
    clusters = cluster_leading_edges(
        [line[2:] for line in lines], np.ones(len(lines)), least_similarity=least
    )
    # R numbers clusters in the order of the sets, as equal strengths do here.
    assert clusters.cluster.tolist() == [line[column] for line in lines]
    assert 1 < clusters.cluster.max() < len(lines)
