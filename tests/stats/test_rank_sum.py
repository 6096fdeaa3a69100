from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from tasks.stats.rank_sum import EXACT_LIMIT, kruskal_wallis, rank_sum_asymptotic, rank_sum_exact

groups = st.tuples(*(st.lists(st.integers(0, 4), min_size=1, max_size=5).map(np.array) for _ in "xy"))


def test_permeability_of_hollander_and_wolfe():
    # R's help of wilcox.test: W = 35, one-sided exact p .1272.
    term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
    early = [1.15, 0.88, 0.90, 0.74, 1.21]
    test = rank_sum_exact(term, early, alternative="greater")
    assert test.statistic == 35
    assert test.p_value == pytest.approx(0.1272, abs=5e-5)


@settings(max_examples=60, deadline=None)
@given(groups)
def test_exact_is_the_share_of_all_choices(pair):
    first, second = pair
    values = np.concatenate(pair)
    assume(np.ptp(values) > 0)
    ranks = stats.rankdata(values)
    sums = np.array([sum(c) for c in itertools.combinations(ranks, first.size)])
    observed, centre = ranks[: first.size].sum(), first.size * (values.size + 1) / 2
    expected = np.mean(np.abs(sums - centre) >= abs(observed - centre) - 1e-9)
    assert rank_sum_exact(first, second).p_value == pytest.approx(expected)
    greater = rank_sum_exact(first, second, alternative="greater").p_value
    assert greater == pytest.approx(np.mean(sums >= observed - 1e-9))
    # Exchange of the groups turns the side.
    assert rank_sum_exact(second, first, alternative="less").p_value == pytest.approx(greater)
    u = rank_sum_exact(first, second).statistic + rank_sum_exact(second, first).statistic
    assert u == first.size * second.size


def test_approximation_is_kruskal_wallis_of_two_groups():
    first, second = [3, 5, 5, 8, 9], [1, 2, 2, 5, 6, 7]
    h = kruskal_wallis(first + second, ["x"] * 5 + ["y"] * 6)
    assert h.p_value == pytest.approx(rank_sum_asymptotic(first, second, continuity=False).p_value)


def test_values_equal_but_for_rounding_are_tied():
    assert rank_sum_exact([0.3, 1], [0.1 + 0.2, 2]).statistic == rank_sum_exact([3, 10], [3, 20]).statistic


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="every value is 2"):
        rank_sum_exact([2, 2], [2])
    with pytest.raises(ValueError, match="first: 0 value"):
        rank_sum_exact([], [1, 2])
    with pytest.raises(ValueError, match="rank_sum_asymptotic"):
        rank_sum_exact(np.arange(EXACT_LIMIT), [1.5])
    with pytest.raises(ValueError, match="at least two groups"):
        kruskal_wallis([1, 2], ["a", "a"])
