"""The variance-stabilising transformation; see golden_deseq_rules/README.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks.stats.deseq.trend import dispersion_trend
from tasks.stats.deseq.variance_stabilising import variance_stabilising

GOLDEN = Path(__file__).parent / "golden_deseq_rules"
VALUES = dict(iter(pd.read_csv(GOLDEN / "vst.csv").groupby("kind")))
GENES = dict(iter(pd.read_csv(GOLDEN / "vst_genes.csv").groupby("kind")))
KINDS = ("parametric", "local", "mean")
# The local trend itself agrees with locfit's to about 1e-8.
CLOSE = {"parametric": 1e-12, "local": 1e-8, "mean": 1e-12}


def _matrix(kind, column):
    return VALUES[kind].pivot_table(index="gene", columns="sample", values=column).to_numpy(float)


def _normalised_and_trend(kind):
    normalised = _matrix(kind, "count") / _matrix(kind, "size_factor")
    return normalised, dispersion_trend(normalised.mean(axis=1), GENES[kind].gene_wise, kind=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_transformation_is_that_of_r(kind):
    normalised, trend = _normalised_and_trend(kind)
    ours = variance_stabilising(normalised, trend, size_factor=_matrix(kind, "size_factor")[0])
    np.testing.assert_allclose(ours, _matrix(kind, "value"), rtol=0, atol=CLOSE[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_the_transformation_increases_and_doubles_to_one_more_at_high_counts(kind):
    normalised, trend = _normalised_and_trend(kind)
    normalised[0] = np.linspace(0, normalised.max(), normalised.shape[1])
    ours = variance_stabilising(normalised, trend, size_factor=_matrix(kind, "size_factor")[0])
    order = np.argsort(normalised, axis=None)
    assert (np.diff(ours.ravel()[order])[np.diff(normalised.ravel()[order]) > 0] > 0).all()
    if kind != "local":
        high = np.array([[1e7, 2e7]])
        # Poisson noise is a thousandth of the biological at such counts.
        assert np.diff(variance_stabilising(high, trend)) == pytest.approx(1, abs=1e-3)


def test_negative_binomial_counts_get_the_same_variance_at_every_mean():
    random = np.random.default_rng(8)
    mean = np.repeat([20.0, 200.0, 2000.0], 400)[:, None]
    own = 0.1 + 1 / mean[:, 0]
    count = random.negative_binomial(1 / own[:, None], 1 / (1 + own[:, None] * mean), (1200, 40))
    trend = dispersion_trend(mean[:, 0], own * random.gamma(50, 1 / 50, 1200))
    spread = variance_stabilising(count, trend).var(axis=1).reshape(3, 400).mean(axis=1)
    # By the delta method, asymptotic / log(2)^2; the counts' skew adds up to a seventh at the low mean.
    assert spread / (0.1 / np.log(2) ** 2) == pytest.approx(np.ones(3), abs=0.15)


def test_bad_input_is_refused_in_words():
    normalised, trend = _normalised_and_trend("local")
    with pytest.raises(ValueError, match="size_factor: missing"):
        variance_stabilising(normalised, trend)
    with pytest.raises(ValueError, match="size_factor: shape"):
        variance_stabilising(normalised, trend, size_factor=np.ones(2))
    with pytest.raises(ValueError, match="negative or not finite"):
        variance_stabilising(-normalised, trend)
