"""False calls and power of the outlier rule for paired designs, by simulation through the whole fit.

Negative binomial counts of subjects with levels of their own, dispersions scattered around a trend, library
sizes that differ. Every twentieth gene of a scene with outliers has one library's count multiplied; the other
scenes have none, but effects: strong and shared, of half of the subjects, graded from subject to subject.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from tasks.stats.deseq.model import fit_deseq
from tasks.stats.deseq.paired_outlier import paired_outliers
from tasks.stats.deseq.wald import wald_test

pytestmark = pytest.mark.proof

GENES = 4000
EVERY = 20
STUDIES = [
    # Pairs; dispersion of well-expressed genes; by factor, the least share to be called, which is three
    # binomial standard deviations of 200 genes below what a run gave.
    (6, 0.03, {10: 0.42, 30: 0.66, 100: 0.83}),
    (6, 0.1, {30: 0.41, 100: 0.68}),
    (12, 0.03, {10: 0.57, 30: 0.71, 100: 0.92}),
    (12, 0.1, {10: 0.21, 30: 0.51, 100: 0.81}),
    (19, 0.03, {10: 0.59, 30: 0.78, 100: 0.88}),
    (19, 0.1, {10: 0.29, 30: 0.59, 100: 0.76}),
]
LEVEL = 0.005


def _study(random, pairs, asymptotic, *, effect=0.0, response=1.0, factor=None):
    subject, visit = (part.ravel() for part in np.mgrid[:pairs, :2])
    design = np.column_stack([np.ones(2 * pairs), subject[:, None] == np.arange(1, pairs), visit == 1])
    base = np.exp(random.uniform(np.log(5), np.log(3000), GENES))
    dispersion = (asymptotic + 2 / base) * np.exp(random.normal(0, 0.6, GENES))
    # Effects up and down, so that the size factors are none of them.
    sign = random.choice([-1.0, 1.0], (GENES, 1))
    change = sign * effect * np.broadcast_to(response, (GENES, pairs))[:, subject] * visit
    level = random.normal(0, 0.5, (GENES, pairs))[:, subject]
    mean = base[:, None] * np.exp(level + change) * np.exp(random.normal(0, 0.3, 2 * pairs))
    size = 1 / dispersion[:, None]
    count = random.negative_binomial(size, size / (size + mean)).astype(float)
    library = random.integers(0, 2 * pairs, GENES)
    if factor is not None:
        rows = np.arange(0, GENES, EVERY)
        count[rows, library[rows]] = np.round((count[rows, library[rows]] + 1) * factor)
    return SimpleNamespace(count=count, design=design.astype(float), subject=subject, library=library)


def _call(study):
    fit = fit_deseq(study.count, study.design)
    contrast = np.eye(study.design.shape[1])[-1]
    outliers = paired_outliers(
        study.count,
        fit.size_factor,
        study.design,
        study.subject,
        contrast,
        mean=fit.mean,
        trend_dispersion=fit.fitted_dispersion,
        prior_variance=fit.prior.variance,
    )
    return outliers, wald_test(fit, contrast)


@pytest.mark.parametrize(("pairs", "asymptotic", "power"), STUDIES)
def test_calls_outliers_and_little_else(pairs, asymptotic, power):
    random = np.random.default_rng(20261123)
    half = random.permuted(np.tile(np.arange(pairs) < pairs // 2, (GENES, 1)), axis=1)
    graded = random.uniform(0, 1, (GENES, pairs))
    scenes = {
        "no effect": (0.0, 1.0),
        "strong effect": (2.0, 1.0),
        "half respond": (2.0, half),
        "graded response": (2.0, graded),
    }
    figures = {}
    for name, (effect, response) in scenes.items():
        outliers, _ = _call(_study(random, pairs, asymptotic, effect=effect, response=response))
        figures[name] = outliers.is_outlier.mean()
    for factor in power:
        study = _study(random, pairs, asymptotic, factor=factor)
        outliers, test = _call(study)
        planted = np.arange(GENES) % EVERY == 0
        called = outliers.is_outlier
        named = (outliers.sample == study.library)[planted & called].mean()
        significant = test.p_value < 1e-3  # about what survives adjustment
        figures[f"x{factor}"] = called[planted].mean()
        figures[f"x{factor} named"] = named
        figures[f"x{factor} others"] = called[~planted].mean()
        figures[f"x{factor} significant"] = significant[planted].mean()
        figures[f"x{factor} significant, not called"] = (significant & ~called)[planted].mean()
    print(  # noqa: T201 - the figures are what this proof is run for
        f"\n{pairs} pairs, dispersion {asymptotic}: "
        + ", ".join(f"{name} {100 * share:.2f} %" for name, share in figures.items())
    )
    # Half a percent, and three binomial standard deviations of a share of 4,000 genes; a response that
    # differs from subject to subject is not what the level is promised for.
    limit = LEVEL + 3 * np.sqrt(LEVEL / GENES)
    for name in ("no effect", "strong effect", "half respond"):
        assert figures[name] < limit, name
    assert figures["graded response"] < 2 * LEVEL + 3 * np.sqrt(2 * LEVEL / GENES)
    for factor, least in power.items():
        assert figures[f"x{factor}"] > least, factor
        assert figures[f"x{factor} named"] > 0.9, factor
        assert figures[f"x{factor} others"] < limit, factor
