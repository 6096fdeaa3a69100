"""The outlier rule of paired designs: its parts against textbooks, what it calls and what it leaves."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special, stats

from tasks.stats.deseq import paired_outlier
from tasks.stats.deseq.glm import fit_glm
from tasks.stats.deseq.paired_outlier import paired_outliers
from tasks.stats.trigamma import inverse_trigamma

PRIOR_VARIANCE = 0.5


def _design(subjects, cells=2):
    subject, cell = (part.ravel() for part in np.mgrid[:subjects, :cells])
    levels = subject[:, None] == np.arange(1, subjects)
    design = np.column_stack([np.ones(subject.size), levels, cell[:, None] == np.arange(1, cells)])
    return design.astype(float), subject, cell


def _study(genes, subjects, cells=2, *, effect=0.0, response=1.0, alpha=0.05, seed=1):
    """Simulate counts with subjects' levels and a change in the last cell that each subject may share."""
    random = np.random.default_rng(seed)
    design, subject, cell = _design(subjects, cells)
    base = np.exp(random.uniform(np.log(50), np.log(2000), genes))
    size_factor = np.exp(random.normal(0, 0.2, subject.size))
    level = random.normal(0, 0.5, (genes, subjects))[:, subject]
    change = np.broadcast_to(response, (genes, subjects))[:, subject] * effect * (cell == cells - 1)
    mean = base[:, None] * np.exp(level + change) * size_factor
    trend = alpha + 1 / base
    dispersion = trend * np.exp(random.normal(0, np.sqrt(PRIOR_VARIANCE), genes))
    size = 1 / dispersion[:, None]
    count = random.negative_binomial(size, size / (size + mean)).astype(float)
    return SimpleNamespace(
        count=count, size_factor=size_factor, design=design, subject=subject, cell=cell, trend=trend
    )


def _call(study, contrast=None, **changes):
    a = SimpleNamespace(**(vars(study) | changes))
    mean = fit_glm(a.count, a.size_factor, a.design, a.trend).mean
    return paired_outliers(
        a.count,
        a.size_factor,
        a.design,
        a.subject,
        np.eye(a.design.shape[1])[-1] if contrast is None else contrast,
        mean=mean,
        trend_dispersion=a.trend,
        prior_variance=PRIOR_VARIANCE,
    )


def _plant(study, library, factor):
    count = study.count.copy()
    rows = np.arange(count.shape[0])
    count[rows, library] = np.round((count[rows, library] + (factor > 1)) * factor)
    return count


def test_at_large_counts_the_statistic_is_a_moderated_studentised_deleted_residual():
    # Ten log ratios measured so well that logs of counts are normal: the textbook's residual of a mean.
    random = np.random.default_rng(4)
    genes, subjects = 50, 10
    design, subject, _ = _design(subjects)
    dispersion = 1e-4
    log_mean = 16 + np.sqrt(dispersion) * random.normal(size=(genes, 2 * subjects))
    count = np.round(np.exp(log_mean))
    outliers = paired_outliers(
        count,
        np.ones(2 * subjects),
        design,
        subject,
        np.eye(subjects + 1)[-1],
        mean=np.full(count.shape, np.exp(16.0)),
        trend_dispersion=np.full(genes, dispersion),
        prior_variance=PRIOR_VARIANCE,
        level=0.9,
    )
    ratio = np.diff(np.log(count).reshape(genes, subjects, 2), axis=2)[:, :, 0]
    prior_df = 2 * inverse_trigamma(np.array([PRIOR_VARIANCE]))[0]
    for gene in range(genes):
        t, df = [], []
        for one in range(subjects):
            others = np.delete(ratio[gene], one)
            observed = others.var(ddof=1) / (2 * dispersion)
            scale = max(observed, (prior_df + 8 * observed) / (prior_df + 8))
            spread = np.sqrt(2 * dispersion * scale * (1 + 1 / 9))
            t.append(abs(ratio[gene, one] - others.mean()) / spread)
            df.append(8 if observed > stats.f.isf(0.05, 8, prior_df) else prior_df + 8)
        raw = np.abs(ratio[gene] - (ratio[gene].sum() - ratio[gene]) / 9)
        suspect = int(np.argmax(raw))
        assert outliers.subject[gene] == suspect
        # trigamma(1e4) is 1e-4 to 5e-5; the log-gamma's tail departs from the normal's by as little.
        assert outliers.statistic[gene] == pytest.approx(t[suspect], rel=2e-3)
        expected = min(1.0, 20 * stats.t.sf(t[suspect], df[suspect]))
        assert outliers.p_value[gene] == pytest.approx(expected, rel=2e-2)


def test_without_uncertainty_of_scale_the_tail_is_that_of_a_ratio_of_gamma_variables():
    deletion = SimpleNamespace(distance=np.array([1.0, -1.0]))
    shape_above, shape_below = 4.0, 1.5
    variance = special.polygamma(1, [[shape_above, shape_below]])
    distance = np.array([2.5])
    tail = paired_outlier._predictive_tail(deletion, distance, variance, np.array([1e8]))
    # The ratio of gamma variables over their shapes is an F variable.
    ratio = np.exp(2.5 + special.psi(shape_above) - special.psi(shape_below)) * shape_below / shape_above
    assert tail[0] == pytest.approx(stats.f.sf(ratio, 2 * shape_above, 2 * shape_below), rel=1e-6)


@pytest.mark.parametrize("df", [2.0, 4.0, 8.0, 30.0])
def test_for_normal_logs_an_uncertain_scale_makes_the_tail_student_s(df):
    deletion = SimpleNamespace(distance=np.array([1.0, -1.0]))
    distance = np.array([-1.0, 2.0, -4.0, 6.0]) * 1e-4
    tail = paired_outlier._predictive_tail(deletion, distance, np.full((4, 2), 0.5e-8), np.full(4, df))
    # The grid's reach leaves out a few percent of the tail where that is 1e-6 and less.
    np.testing.assert_allclose(tail, stats.t.sf([1, 2, 4, 6], df), rtol=0.02)


def test_the_inverse_of_trigamma():
    x = np.geomspace(1e-4, 1e6, 60)
    np.testing.assert_allclose(inverse_trigamma(special.polygamma(1, x)), x, rtol=1e-8)


@pytest.mark.parametrize("subjects", [6, 12])
def test_clean_genes_are_left_alone_with_and_without_strong_effects(subjects):
    for effect in (0.0, 3.0, -3.0):
        outliers = _call(_study(1500, subjects, effect=effect))
        # The level is .005 at most, and 1,500 genes give 7.5 with a standard deviation of 2.7.
        assert outliers.is_outlier.sum() <= 15
        assert not (outliers.p_value < 1e-7).any()


@pytest.mark.parametrize(("factor", "share"), [(30, 0.85), (100, 0.93), (1 / 50, 0.8)])
def test_one_aberrant_library_is_called_and_named(factor, share):
    study = _study(600, 12)
    library = np.random.default_rng(2).integers(0, 24, 600)
    outliers = _call(study, count=_plant(study, library, factor))
    assert outliers.is_outlier.mean() > share
    called = outliers.is_outlier
    assert (outliers.subject == study.subject[library])[called].mean() > 0.99
    assert (outliers.sample == library)[called].mean() > 0.97


def test_heterogeneous_response_is_no_outlier():
    random = np.random.default_rng(5)
    half = random.permuted(np.tile(np.arange(12) < 6, (800, 1)), axis=1)
    graded = random.uniform(0, 1, (800, 12))
    for response in (half, graded):
        for effect in (2.0, -3.0):
            assert _call(_study(800, 12, effect=effect, response=response)).is_outlier.mean() < 0.01


def test_two_subjects_alike_are_not_one_subject_s_doing():
    two = np.random.default_rng(6).permuted(np.tile(np.arange(12) < 2, (800, 1)), axis=1)
    assert _call(_study(800, 12, effect=3.0, response=two)).is_outlier.mean() < 0.02


def test_in_a_factorial_design_only_the_contrast_s_own_cells_count():
    study = _study(300, 8, 4)
    names = {"residual": (0, 0, 1), "treatment": (-1, 0, 1), "interaction": (-1, -1, 1)}
    cells = {"residual": {0, 3}, "treatment": {1, 3}, "interaction": {0, 1, 2, 3}}
    random = np.random.default_rng(8)
    for cell in range(4):
        library = 4 * random.integers(0, 8, 300) + cell
        count = _plant(study, library, 60)
        for name, weights in names.items():
            contrast = np.concatenate([np.zeros(8), weights])
            outliers = _call(study, contrast, count=count)
            if cell in cells[name]:
                assert outliers.is_outlier.mean() > 0.6, (name, cell)
                assert (outliers.sample == library)[outliers.is_outlier].mean() > 0.97
            else:
                assert outliers.is_outlier.mean() < 0.02, (name, cell)


def test_incomplete_pairs_take_no_part():
    study = _study(300, 9)
    library = np.random.default_rng(9).integers(0, 16, 300)
    kept = np.arange(18) != 17  # the last subject's second visit is missing
    complete = {
        "count": _plant(study, library, 50)[:, :16],
        "size_factor": study.size_factor[:16],
        "design": np.delete(study.design[:16], 8, axis=1),
        "subject": study.subject[:16],
    }
    partial = {
        "count": _plant(study, library, 50)[:, kept],
        "size_factor": study.size_factor[kept],
        "design": study.design[kept],
        "subject": study.subject[kept],
    }
    whole, missing = _call(study, **complete), _call(study, **partial)
    assert 8 not in missing.subject
    # The lone library only fits itself, up to the ridge of the fit.
    np.testing.assert_allclose(missing.statistic, whole.statistic, rtol=1e-3)
    np.testing.assert_array_equal(missing.is_outlier, whole.is_outlier)
    assert whole.is_outlier.mean() > 0.6


def test_the_direction_of_the_contrast_and_the_coding_do_not_matter():
    study = _study(200, 7)
    count = _plant(study, np.arange(200) % 14, 40)
    forth, back = _call(study, count=count), _call(study, -np.eye(8)[-1], count=count)
    cells = np.column_stack([study.subject[:, None] == np.arange(7), study.cell == 0]).astype(float)
    recoded = _call(study, -np.eye(8)[-1], count=count, design=cells, subject=study.subject * 10 + 3)
    for other in (back, recoded):
        np.testing.assert_allclose(other.statistic, forth.statistic, rtol=1e-5)
        np.testing.assert_array_equal(other.is_outlier, forth.is_outlier)
        np.testing.assert_array_equal(other.sample, forth.sample)
    np.testing.assert_array_equal(recoded.subject, forth.subject * 10 + 3)


def test_genes_without_counts_have_no_verdict():
    study = _study(20, 6)
    study.count[0], study.trend[1] = 0, np.nan
    mean = np.maximum(study.count, 1.0)
    outliers = paired_outliers(
        study.count,
        study.size_factor,
        study.design,
        study.subject,
        np.eye(7)[-1],
        mean=mean,
        trend_dispersion=study.trend,
        prior_variance=PRIOR_VARIANCE,
    )
    assert np.isnan(outliers.statistic[:2]).all()
    assert not outliers.is_outlier[:2].any()
    assert (outliers.subject[:2] == -1).all()
    assert (outliers.sample[:2] == -1).all()
    assert np.isfinite(outliers.p_value[2:]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subject": np.arange(12)}, "design: no coefficient for subject"),
        ({"subject": np.array(["a", "b"] * 6)}, "subject: not codes"),
        ({"subject": np.arange(11)}, "subject: shape"),
        ({"contrast": np.eye(7)[1]}, "contrast: compares subject"),
        ({"contrast": np.zeros(7)}, "contrast: zero"),
        ({"contrast": np.ones(3)}, "contrast: shape"),
        ({"design": np.ones((12, 7))}, "design: rank 1 of 7"),
        ({"design": np.ones((3, 7))}, "design: shape"),
        ({"trend_dispersion": np.zeros(5)}, "trend_dispersion: 0"),
        ({"prior_variance": 0.0}, "prior_variance: 0"),
        ({"level": 1.0}, "level: 1"),
        ({"count": np.ones(12)}, "count: shape"),
        ({"mean": np.ones((5, 3))}, "mean: shape"),
    ],
)
def test_says_what_is_wrong(change, message):
    design, subject, _ = _design(6)
    given = {
        "count": np.ones((5, 12)),
        "size_factor": np.ones(12),
        "design": design,
        "subject": subject,
        "contrast": np.eye(7)[-1],
        "mean": np.ones((5, 12)),
        "trend_dispersion": np.ones(5),
        "prior_variance": 0.5,
    } | change
    with pytest.raises(ValueError, match=message):
        paired_outliers(**given)


def test_two_pairs_are_too_few():
    design, subject, _ = _design(2)
    with pytest.raises(ValueError, match="at least 3 needed"):
        paired_outliers(
            np.ones((1, 4)),
            np.ones(4),
            design,
            subject,
            np.eye(3)[-1],
            mean=np.ones((1, 4)),
            trend_dispersion=np.ones(1),
            prior_variance=0.5,
        )
