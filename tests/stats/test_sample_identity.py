"""Whose a sample is: exchanged ones are named, others left alone, with and without likeness within people."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.stats.sample_identity import sample_identity, without_groups


def draw(seed, *, subjects=12, groups=2, personal=0.6, factors=1, genes=1500, share=0.3, batches=0):
    """Noise, what a share of the genes has of each person, and composition that moves many genes at once."""
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(subjects), groups)
    group = np.tile(np.arange(groups), subjects)
    value = rng.normal(0, 1, (genes, subject.size)) * rng.gamma(4, 0.25, genes)[:, None]
    is_personal = rng.random(genes) < share
    value += (rng.normal(0, 2 * personal, (genes, subjects)) * is_personal[:, None])[:, subject]
    for _ in range(factors):
        loading = rng.normal(0, 1, genes) * (rng.random(genes) < 0.1)
        value += np.outer(loading, rng.normal(0, 1.5, subject.size))
    if batches:
        value += rng.normal(0, 0.3, (genes, batches))[:, subject * batches // subjects]
    return value + rng.normal(0, 1, (genes, groups))[:, group], subject, group


def exchanged(subject, one, other):
    recorded = subject.copy()
    recorded[[one, other]] = subject[[other, one]]
    return recorded


def test_two_exchanged_samples_of_four_each_point_at_each_other():
    value, subject, group = draw(1, groups=4)
    # Row 0 and 4 are the first samples of the first two people.
    found = sample_identity(value, exchanged(subject, 0, 4), group)
    assert np.flatnonzero(found.is_other).tolist() == [0, 4]
    assert found.best[[0, 4]].tolist() == [0, 1]
    assert found.own[0] < found.best_correlation[0]


def test_with_two_samples_each_all_four_of_an_exchange_are_found_and_no_other():
    value, subject, group = draw(2, personal=0.8)
    found = sample_identity(value, exchanged(subject, 0, 2), group)
    assert np.flatnonzero(found.is_other).tolist() == [0, 1, 2, 3]


def test_a_sample_of_somebody_else_alone_is_found():
    value, subject, group = draw(3, groups=4)
    recorded = subject.copy()
    recorded[0] = 5
    found = sample_identity(value, recorded, group)
    assert np.flatnonzero(found.is_other).tolist() == [0]
    assert found.best[0] == 0


def test_exchange_across_groups_is_found_although_the_groups_differ():
    value, subject, group = draw(4, groups=4)
    found = sample_identity(value, exchanged(subject, 0, 5), group)
    assert np.flatnonzero(found.is_other).tolist() == [0, 5]


def test_one_group_is_enough():
    value, subject, _ = draw(5, groups=4)
    found = sample_identity(value, exchanged(subject, 0, 4), np.zeros(subject.size, dtype=int))
    assert np.flatnonzero(found.is_other).tolist() == [0, 4]


def test_a_relative_is_not_taken_for_an_exchange():
    value, subject, group = draw(6, groups=4)
    value[:, subject == 1] += (
        0.5 * (value[:, subject == 0].mean(axis=1) - value[:, subject == 1].mean(axis=1))[:, None]
    )
    found = sample_identity(value, subject, group)
    assert not found.is_other.any()
    assert (found.best[subject == 0] == 1).mean() > 0.5


def test_a_bad_library_is_like_nobody():
    value, subject, group = draw(7, groups=4)
    value[:, 0] = np.random.default_rng(8).normal(0, 2, value.shape[0])
    found = sample_identity(value, subject, group)
    assert not found.is_other.any()
    assert found.own[0] < 0.5 * np.median(found.own)


# In 60 studies an error rate of 1 % gives more than three with probability .003 (binomial).
@pytest.mark.parametrize(
    "about",
    [
        {"personal": 0.0, "factors": 3},
        {"personal": 0.0, "factors": 3, "groups": 4},
        {"personal": 0.5, "factors": 3, "share": 0.1},
        {"personal": 0.3, "subjects": 6, "factors": 2, "share": 0.8},
        {"personal": 0.0, "batches": 3},
        {"personal": 0.3, "batches": 3, "groups": 4},
    ],
    ids=str,
)
def test_without_exchange_no_sample_is_suspected_beyond_the_error_rate(about):
    suspected = 0
    for seed in range(60):
        value, subject, group = draw(seed, genes=600, **about)
        found = sample_identity(value, subject, group)
        suspected += found is not None and bool(found.is_other.any())
    assert suspected <= 3


def test_without_likeness_within_people_each_is_recognised_by_chance_alone():
    shares = []
    for seed in range(40):
        value, subject, group = draw(seed, personal=0.0, factors=0, genes=400)
        shares.append(sample_identity(value, subject, group).recognised)
    # One in twelve by chance; the number of genes is chosen among four, which favours the luckier.
    assert 0.04 < np.mean(shares) < 0.2


def test_order_of_genes_and_names_of_subjects_do_not_matter():
    value, subject, group = draw(9, groups=3)
    recorded = exchanged(subject, 0, 3)
    one = sample_identity(value, recorded, group)
    rng = np.random.default_rng(0)
    other = sample_identity(value[rng.permutation(value.shape[0])], 11 - recorded, group)
    assert np.array_equal(one.is_other, other.is_other)
    assert np.allclose(one.own, other.own, atol=1e-9)


def test_too_few_people_or_no_two_samples_of_anybody_cannot_be_asked():
    value, subject, group = draw(10, subjects=4)
    assert sample_identity(value, subject, group) is None
    value, subject, group = draw(10, subjects=12, groups=1)
    assert sample_identity(value, subject, group) is None


def test_a_person_with_one_sample_is_judged_by_likeness_to_others_alone():
    value, subject, group = draw(11, groups=3, personal=0.8)
    twelve = np.append(subject, 12)
    again = np.column_stack([value, value[:, 0] + np.random.default_rng(1).normal(0, 0.3, value.shape[0])])
    found = sample_identity(again, twelve, np.append(group, 0))
    assert found.is_other[-1]
    assert found.best[-1] == 0
    assert np.isnan(found.own[-1])


def test_groups_are_taken_out_with_the_directions_between_them():
    value, _, group = draw(12, groups=3)
    residual = without_groups(value, group)
    for code in range(3):
        assert np.allclose(residual[:, group == code].mean(axis=1), 0, atol=1e-9)
    between = value[:, group == 0].mean(axis=1) - value[:, group == 1].mean(axis=1)
    assert np.allclose(between @ residual, 0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, s, g: (v, s[:-1], g), "must be genes by samples"),
        (lambda v, s, g: (np.where(v > 3, np.nan, v), s, g), "every value must be finite"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        sample_identity(*change(*draw(13)))
