from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.stats.contingency import mcnemar
from tasks.stats.location import sign_flip
from tasks.stats.marginal_homogeneity import bhapkar, ordinal_marginal_homogeneity, stuart_maxwell

# Stuart's unaided vision of 7,477 women, right eye by left eye.
VISION = [[1520, 266, 124, 66], [234, 1512, 432, 78], [117, 362, 1772, 205], [36, 82, 179, 492]]
squares = st.integers(2, 4).flatmap(
    lambda k: st.lists(st.integers(0, 4), min_size=k * k, max_size=k * k).map(
        lambda cells: np.array(cells).reshape(k, k)
    )
)


def test_vision():
    # Stuart (1955): 11.96 on 3 degrees of freedom; Bhapkar (1966): 11.98.
    assert stuart_maxwell(VISION).statistic == pytest.approx(11.96, abs=5e-3)
    assert stuart_maxwell(VISION).df == 3
    assert bhapkar(VISION).statistic == pytest.approx(11.98, abs=5e-3)


@settings(max_examples=50, deadline=None)
@given(squares)
def test_exchange_of_before_and_after_turns_the_sign_only(table):
    assume(table.sum() > np.trace(table))
    assert stuart_maxwell(table.T).statistic == pytest.approx(stuart_maxwell(table).statistic, abs=1e-9)
    for method in ("exact", "asymptotic"):
        one = ordinal_marginal_homogeneity(table, method=method)
        other = ordinal_marginal_homogeneity(table.T, method=method)
        assert other.statistic == pytest.approx(-one.statistic)
        assert other.p_value == pytest.approx(one.p_value)
        rising = ordinal_marginal_homogeneity(table, method=method, alternative="greater").p_value
        falling = ordinal_marginal_homogeneity(table.T, method=method, alternative="less").p_value
        assert rising == pytest.approx(falling)
    with_stayers = table + 5 * np.eye(table.shape[0], dtype=int)
    assert stuart_maxwell(with_stayers).statistic == pytest.approx(stuart_maxwell(table).statistic, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(squares)
def test_exact_ordinal_test_is_the_sign_flip_of_the_changes(table):
    assume(0 < table.sum() - np.trace(table) <= 20)
    size = table.shape[0]
    change = np.repeat([j - i for i in range(size) for j in range(size)], table.ravel())
    exact = ordinal_marginal_homogeneity(table)
    assert exact.p_value == pytest.approx(sign_flip(change).p_value, rel=1e-9)
    # Scores between whole numbers take the other way to the same distribution.
    halves = ordinal_marginal_homogeneity(table, scores=np.arange(size) / 2)
    assert halves.p_value == pytest.approx(exact.p_value, rel=1e-9)
    assert halves.statistic == pytest.approx(exact.statistic / 2)


def test_two_categories_are_mcnemar():
    table = [[10, 7], [2, 5]]
    assert stuart_maxwell(table).statistic == pytest.approx(mcnemar(table, method="asymptotic").statistic)
    assert ordinal_marginal_homogeneity(table).p_value == pytest.approx(mcnemar(table).p_value)


def test_categories_that_nobody_enters_or_leaves_do_not_count():
    apart = np.array([[0, 3, 0, 0], [1, 0, 0, 0], [0, 0, 4, 0], [0, 0, 0, 2]])
    assert stuart_maxwell(apart).df == 1
    assert stuart_maxwell(apart).statistic == pytest.approx(1.0)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="same categories"):
        stuart_maxwell([[1, 2, 3], [4, 5, 6]])
    with pytest.raises(ValueError, match="nobody changed"):
        stuart_maxwell([[1, 0], [0, 3]])
    with pytest.raises(ValueError, match="changed alike"):
        bhapkar([[0, 5], [0, 0]])
    with pytest.raises(ValueError, match="scores: 3 value"):
        ordinal_marginal_homogeneity([[1, 2], [3, 4]], scores=[1, 2, 3])
    with pytest.raises(ValueError, match="nobody changed score"):
        ordinal_marginal_homogeneity([[1, 2], [3, 4]], scores=[1, 1])
