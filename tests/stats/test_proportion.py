from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tasks.stats.proportion import (
    clopper_pearson,
    miettinen_nurminen_difference,
    newcombe_difference,
    risk_ratio,
    wilson,
)


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


# Newcombe (1998), Stat Med 17:873-890, table II: methods 10, 11 and 6 (Miettinen-Nurminen).
PUBLISHED = {
    (56, 70, 48, 80): ((0.0524, 0.3339), (0.0428, 0.3422), (0.0528, 0.3382)),
    (9, 10, 3, 10): ((0.1705, 0.8090), (0.1013, 0.8387), (0.1700, 0.8406)),
    (10, 10, 0, 20): ((0.6791, 1.0), (0.6014, 1.0), (0.7156, 1.0)),
}


@pytest.mark.parametrize("counts", PUBLISHED)
def test_differences_of_newcombe(counts):
    results = (
        newcombe_difference(*counts),
        newcombe_difference(*counts, continuity=True),
        miettinen_nurminen_difference(*counts),
    )
    for result, published in zip(results, PUBLISHED[counts], strict=True):
        assert (result.interval.low, result.interval.high) == pytest.approx(published, abs=5e-5)
        assert result.estimate == pytest.approx(counts[0] / counts[1] - counts[2] / counts[3])


def test_wilson_of_newcombe():
    # Newcombe (1998), Stat Med 17:857-872, table I: 81 of 263 and 15 of 148, methods 3 and 4.
    for counts, plain, corrected in (
        ((81, 263), (0.2553, 0.3662), (0.2535, 0.3682)),
        ((15, 148), (0.0624, 0.1605), (0.0598, 0.1644)),
        ((0, 20), (0.0, 0.1611), (0.0, 0.2005)),
    ):
        for interval, published in ((wilson(*counts), plain), (wilson(*counts, continuity=True), corrected)):
            assert (interval.low, interval.high) == pytest.approx(published, abs=5e-5)


groups = st.tuples(
    *(st.integers(1, 30).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))) for _ in "ab")
)


@settings(max_examples=60, deadline=None)
@given(groups)
def test_exchange_of_groups_negates_the_difference(pair):
    (x, n), (x2, n2) = pair
    for difference_of in (newcombe_difference, miettinen_nurminen_difference):
        one, other = difference_of(x, n, x2, n2), difference_of(x2, n2, x, n)
        assert other.estimate == pytest.approx(-one.estimate)
        assert other.interval.low == pytest.approx(-one.interval.high, abs=1e-9)
        assert -1 <= one.interval.low <= one.estimate + 1e-12
        assert one.estimate - 1e-12 <= one.interval.high <= 1
    wider = wilson(x, n, continuity=True)
    assert wider.low <= wilson(x, n).low <= x / n <= wilson(x, n).high <= wider.high


def test_risk_ratio_by_hand():
    ratio = risk_ratio(6, 12, 2, 12)
    assert ratio.estimate == pytest.approx(3)
    # Katz's variance: 1/6 less 1/12, and 1/2 less 1/12.
    assert ratio.standard_error == pytest.approx(0.5**0.5)
    assert ratio.interval.low * ratio.interval.high == pytest.approx(9)
    assert risk_ratio(3, 5, 0, 5).estimate == float("inf")
    assert risk_ratio(0, 5, 3, 5).interval is None
    with pytest.raises(ValueError, match="0 in both"):
        risk_ratio(0, 5, 0, 5)
    with pytest.raises(ValueError, match="reference_successes: 6"):
        risk_ratio(3, 5, 6, 5)
    with pytest.raises(ValueError, match="n: 0"):
        wilson(0, 0)
