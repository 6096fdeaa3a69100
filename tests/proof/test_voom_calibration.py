"""Error rates and power of limma-voom with missing partners, beside models of the complete pairs alone.

Twelve subjects before and after, of whom four have one sample only; negative binomial counts, subjects that
differ, a tenth of the genes changed. Limma-voom takes every sample; with subjects as coefficients, as in
DESeq2, those without partner say nothing.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from tasks.stats.deseq.model import fit_deseq
from tasks.stats.deseq.wald import wald_test
from tasks.stats.limma import contrast_test, filter_by_expr, voom_fit

pytestmark = pytest.mark.proof

SIMULATIONS = 60
GENES, CHANGED = 1500, 150
# On the natural log scale: some found, some not.
EFFECT = 0.5
LEVEL = 0.05
SUBJECT, VISIT = (part.ravel() for part in np.mgrid[:12, :2])
SEEN = np.delete(np.arange(24), [1, 6, 13, 20])
SUBJECT, VISIT = SUBJECT[SEEN], VISIT[SEEN]
PAIRED = np.isin(SUBJECT, np.flatnonzero(np.bincount(SUBJECT) == 2))


def _study(random, effect):
    level = random.normal(4.5, 1.5, (GENES, 1))
    of_subject = random.normal(0, random.gamma(4, 0.1, (GENES, 1)), (GENES, 12))[:, SUBJECT]
    change = np.zeros((GENES, 1))
    change[:CHANGED, 0] = effect * np.repeat([1, -1], CHANGED // 2)
    depth = random.lognormal(0, 0.3, len(SUBJECT))
    mean = np.exp(level + of_subject + change * VISIT) * depth
    dispersion = (0.05 + 1 / np.exp(level)) * random.lognormal(0, 0.4, (GENES, 1))
    return random.negative_binomial(1 / dispersion, 1 / (1 + mean * dispersion)).astype(float)


def _voom(count, use):
    design = np.column_stack([np.ones(use.sum()), VISIT[use]])
    return contrast_test(voom_fit(count[:, use], design, block=SUBJECT[use]), [0, 1]).p_value


def _voom_every_sample(count):
    return _voom(count, np.ones(len(VISIT), dtype=bool))


def _voom_complete_pairs(count):
    return _voom(count, PAIRED)


def _deseq_complete_pairs(count):
    subject = SUBJECT[PAIRED]
    design = np.column_stack([np.equal.outer(subject, np.unique(subject)), VISIT[PAIRED]]).astype(float)
    return wald_test(fit_deseq(count[:, PAIRED], design), np.eye(design.shape[1])[-1]).p_value


METHODS = {
    "voom": _voom_every_sample,
    "voom, complete pairs": _voom_complete_pairs,
    "DESeq2, complete pairs": _deseq_complete_pairs,
}


@pytest.fixture(scope="module")
def rates():
    """Return how often each method rejects unchanged genes, and what it finds with p adjusted."""
    random = np.random.default_rng(20261123)
    of_method = {name: [] for name in METHODS}
    for _ in range(SIMULATIONS):
        count = _study(random, effect=EFFECT)
        kept = filter_by_expr(count, group=VISIT)
        is_changed = (np.arange(GENES) < CHANGED)[kept]
        for name, method in METHODS.items():
            p = method(count[kept])
            tested = np.isfinite(p)
            found = np.zeros(len(p), dtype=bool)
            found[tested] = false_discovery_control(p[tested]) < LEVEL
            of_method[name].append(
                (
                    np.mean(p[tested & ~is_changed] < LEVEL),
                    (found & ~is_changed).sum() / max(found.sum(), 1),
                    (found & is_changed).sum() / is_changed.sum(),
                )
            )
    result = {
        name: dict(zip(("type_1", "false_discovery", "power"), np.mean(rows, axis=0), strict=True))
        for name, rows in of_method.items()
    }
    error = {name: np.std(rows, axis=0, ddof=1) / np.sqrt(SIMULATIONS) for name, rows in of_method.items()}
    print(f"\n{SIMULATIONS} studies: {result}; standard errors {error}")  # noqa: T201 - the figures are the proof
    return result


def test_unchanged_genes_are_rejected_at_the_level(rates):
    # One consensus stands for genes whose correlations differ, so that the rate is not exact; its own
    # standard error over 60 studies is a tenth of the margin.
    assert rates["voom"]["type_1"] == pytest.approx(LEVEL, abs=0.01)


def test_the_false_discovery_proportion_is_near_its_level_and_below_that_of_deseq(rates):
    assert rates["voom"]["false_discovery"] <= LEVEL + 0.01
    assert rates["voom"]["false_discovery"] <= rates["DESeq2, complete pairs"]["false_discovery"] + 0.002


def test_samples_without_partner_add_power(rates):
    assert rates["voom"]["power"] > rates["voom, complete pairs"]["power"]
