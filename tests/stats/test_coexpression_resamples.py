"""Stability of modules over resampled patients, and of their numbers over versions."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.stats.coexpression.label_continuity import continued_labels
from tasks.stats.coexpression.network import find_modules
from tasks.stats.coexpression.settings import NetworkSettings
from tasks.stats.coexpression.stability import FOUND_AGAIN, module_stability

SETTINGS = NetworkSettings(power=6, correlation="pearson", min_module_size=15)
GENES = [f"G{number}" for number in range(12)]


def of_patients(n_patients: int = 10, seed: int = 2) -> tuple[np.ndarray, list[str]]:
    """Return a strong module, one that a single patient makes, and noise; two samples a patient."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(n_patients), 2)
    value = rng.normal(size=(140, 2 * n_patients))
    value[:40] += 3 * rng.normal(size=2 * n_patients)
    value[40:80] += 12 * (patient == 3)
    return value, [f"P{one}" for one in patient]


def test_a_module_of_one_patient_is_less_stable_than_one_of_all() -> None:
    value, patient = of_patients()
    label = find_modules(value, SETTINGS).label
    of_all, of_one = (int(np.bincount(label[part]).argmax()) for part in (slice(40), slice(40, 80)))
    assert 0 not in {of_all, of_one}
    assert of_all != of_one
    found = module_stability(value, patient, label, SETTINGS, resamples=12, seed=1)
    again = (found.jaccard >= FOUND_AGAIN).mean(axis=0)
    assert again[found.module == of_all] == 1
    # The patient is in 1 - (1 - 1/10)^10 = 65 % of the draws; without it nothing holds the module together.
    assert again[found.module == of_one] < 0.95
    assert found.share_in_module[:40].mean() > 0.9 > found.share_in_module[40:80].mean()


def test_ranks_are_those_of_the_modules_given() -> None:
    value, patient = of_patients()
    label = np.where(np.arange(140) < 40, 1, 0)
    found = module_stability(value, patient, label, SETTINGS, resamples=3, seed=0)
    assert np.isnan(found.rank[:, 40:]).all()
    for rank in found.rank[:, :40]:
        assert sorted(rank.tolist()) == list(range(1, 41))


def test_a_seed_gives_the_same_resamples() -> None:
    value, patient = of_patients()
    label = np.where(np.arange(140) < 40, 1, 0)
    one, two, other = (
        module_stability(value, patient, label, SETTINGS, resamples=3, seed=seed) for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(one.rank, two.rank)
    assert not np.array_equal(one.rank[:, :40], other.rank[:, :40])


def test_two_patients_cannot_be_resampled() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        module_stability(np.ones((40, 4)), ["A", "A", "B", "B"], np.ones(40, dtype=int), SETTINGS)


def test_the_first_version_names_no_former_one() -> None:
    label = np.repeat([1, 2, 0], 4)
    found = continued_labels(label, GENES, None)
    np.testing.assert_array_equal(found.label, label)
    assert set(found.status.values()) == {"first"}


def test_a_module_keeps_its_number_when_sizes_change_order() -> None:
    former = dict(zip(GENES, [1] * 5 + [2] * 4 + [0] * 3, strict=True))
    # The second module has grown over the first and would be number 1 by size.
    found = continued_labels(np.array([2] * 4 + [0] + [1] * 7), GENES, former)
    np.testing.assert_array_equal(found.label, [1] * 4 + [0] + [2] * 7)
    assert found.status == {1: "kept", 2: "kept"}
    assert "Jaccard 0.80" in found.note[1]
    assert not found.lost


def test_a_new_module_never_takes_a_number_that_was_used() -> None:
    former = dict(zip(GENES, [1] * 4 + [2] * 4 + [0] * 4, strict=True))
    found = continued_labels(np.array([1] * 4 + [0] * 4 + [2] * 4), GENES, former)
    np.testing.assert_array_equal(found.label, [1] * 4 + [0] * 4 + [3] * 4)
    assert found.status[3] == "new"
    assert found.note[3].startswith("new: no former module shares half")
    assert found.lost == (2,)


def test_halves_of_a_module_cannot_both_be_it() -> None:
    former = dict.fromkeys(GENES, 1)
    found = continued_labels(np.array([1] * 7 + [2] * 5), GENES, former)
    np.testing.assert_array_equal(found.label, [1] * 7 + [2] * 5)
    assert found.status == {1: "kept", 2: "new"}


def test_genes_that_were_not_there_say_nothing() -> None:
    former = dict.fromkeys(GENES[:6], 4)
    found = continued_labels(np.array([1] * 6 + [1] * 6), GENES, former)
    np.testing.assert_array_equal(found.label, [4] * 12)
    assert "6 of its 6 genes known before" in found.note[4]
