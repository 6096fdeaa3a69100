from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tasks.stats.proportion import clopper_pearson


@pytest.mark.parametrize(
    ("successes", "low", "high"), [(6, 0.2109, 0.7891), (9, 0.4281, 0.9451), (12, 0.7354, 1)]
)
def test_clopper_pearson_of_twelve(successes, low, high):
    interval = clopper_pearson(successes, 12)
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


@settings(deadline=None)
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_ends_are_where_the_binomial_tails_reach_half_of_alpha(counts):
    successes, n = counts
    interval = clopper_pearson(successes, n, level=0.9)
    if successes:
        assert stats.binom.sf(successes - 1, n, interval.low) == pytest.approx(0.05, rel=1e-6)
    if successes < n:
        assert stats.binom.cdf(successes, n, interval.high) == pytest.approx(0.05, rel=1e-6)
    mirrored = clopper_pearson(n - successes, n, level=0.9)
    assert mirrored.low == pytest.approx(1 - interval.high, abs=1e-12)


@pytest.mark.parametrize(
    ("successes", "n", "message"), [(0, 0, "n: 0"), (4, 3, "between 0 and 3"), (-1, 3, "-1")]
)
def test_impossible_counts_are_refused(successes, n, message):
    with pytest.raises(ValueError, match=message):
        clopper_pearson(successes, n)
