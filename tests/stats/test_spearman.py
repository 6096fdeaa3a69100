"""Rank correlation against R, full enumeration and published examples."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tasks.stats.spearman import EXACT_LIMIT, leave_one_out, spearman

GOLDEN = Path(__file__).parent / "golden_spearman"
# Counts of orders are whole numbers; their shares and R's differ by the rounding of a division.
ROUNDING = 1e-12
# Beyond, it uses an Edgeworth series, which misses the exact value by up to .0011 in these cases: R gives
# .0098 for rho .794 at n = 10 (case 45), where all 10! orders, listed once, give .008778108 as we do.
EDGEWORTH = 2e-3
# R's AS 89 counts orders exactly up to here.
LARGEST_COUNTED_BY_R = 9


def _golden():
    samples = pl.read_csv(GOLDEN / "samples.csv")
    results = pl.read_csv(GOLDEN / "results.csv")
    for row in results.join(samples, on="case").iter_rows(named=True):
        x, y = ([float(value) for value in row[name].split()] for name in ("x", "y"))
        yield row, x, y


def _ids(case):
    return f"{case[0]['case']}-{case[0]['kind'].replace(' ', '_')}" if isinstance(case, tuple) else None


@pytest.mark.parametrize("case", list(_golden()), ids=_ids)
def test_agrees_with_r(case):
    row, x, y = case
    close = ROUNDING if row["kind"] == "ties" or row["n"] <= LARGEST_COUNTED_BY_R else EDGEWORTH
    found = spearman(x, y)
    assert found.rho == pytest.approx(row["rho"], abs=1e-14)
    assert found.p_value == pytest.approx(row["p"], abs=close)
    assert spearman(x, y, alternative="greater").p_value == pytest.approx(row["p_greater"], abs=close)
    assert spearman(x, y, alternative="less").p_value == pytest.approx(row["p_less"], abs=close)
    assert found.is_exact


@pytest.mark.parametrize("ties", ["none", "one variable", "both"])
def test_counts_what_listing_every_order_counts(ties):
    random = np.random.default_rng(3)
    x, y = random.normal(size=8), random.normal(size=8)
    if ties != "none":
        y = np.round(y)
    if ties == "both":
        x = np.round(x)
    x_ranks, y_ranks = stats.rankdata(x), stats.rankdata(y)
    orders = np.array(list(itertools.permutations(x_ranks)))
    score = (orders - orders.mean()) @ (y_ranks - y_ranks.mean())
    observed = (x_ranks - x_ranks.mean()) @ (y_ranks - y_ranks.mean())
    assert spearman(x, y).p_value == pytest.approx(
        (np.abs(score) >= abs(observed) - 1e-9).mean(), abs=ROUNDING
    )


def test_critical_value_of_the_tables_at_twelve():
    # Zar, Biostatistical Analysis, table B.19: two-sided 5 % critical value .587 for n = 12.
    table = {}
    for seed in range(400):
        found = spearman(range(12), np.random.default_rng(seed).permutation(12))
        table[round(abs(found.rho), 3)] = found.p_value
    assert max(p for rho, p in table.items() if rho >= 0.587) <= 0.05
    assert min(p for rho, p in table.items() if rho < 0.587) > 0.05


def test_smallest_p_is_that_of_the_two_perfect_orders():
    # Of 12! orders one agrees in all ranks and one is its reverse.
    perfect = spearman(range(12), range(12))
    assert perfect.p_value == perfect.smallest_p == pytest.approx(2 / 479_001_600, rel=1e-12)
    assert spearman(range(12), [1, 0, *range(2, 12)]).smallest_p == perfect.smallest_p
    # Five ties of six leave six orders that can be told apart.
    assert spearman(range(6), [0, 0, 0, 0, 0, 1]).smallest_p == pytest.approx(2 / 6)


def test_interval_is_that_of_a_published_example():
    # The example of ci.spear in the R package statpsych (Bonett): .8699639, .5840951 to .9638297.
    x = [21, 4, 9, 12, 35, 18, 10, 22, 24, 1, 6, 8, 13, 16, 19]
    y = [67, 28, 30, 28, 52, 40, 25, 37, 44, 10, 14, 20, 28, 40, 51]
    found = spearman(x, y)
    assert found.rho == pytest.approx(0.8699639, abs=5e-8)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.5840951, 0.9638297), abs=5e-8)


def test_no_interval_where_none_is_defined():
    assert spearman([1, 2, 3], [1, 3, 2]).interval is None
    assert spearman(range(6), range(6)).interval is None


def test_beyond_the_limit_orders_are_drawn():
    random = np.random.default_rng(5)
    x = random.normal(size=EXACT_LIMIT + 6)
    y = 0.5 * x + random.normal(size=x.size)
    found = spearman(x, y, n_permutations=9_999, seed=7)
    assert not found.is_exact
    assert (found.n_permutations, found.seed) == (9_999, 7)
    assert found == spearman(x, y, n_permutations=9_999, seed=7)
    t_approximation = stats.spearmanr(x, y).pvalue
    # Four standard errors of a share of 9,999 draws, and the approximation's own error at n = 20.
    allowed = 4 * np.sqrt(t_approximation / 9_999) + 0.1 * t_approximation
    assert found.p_value == pytest.approx(t_approximation, abs=allowed)
    assert spearman(range(40), range(40)).p_value == found.smallest_p == pytest.approx(1e-4)


def test_drawn_and_counted_agree(monkeypatch):
    x, y = range(10), [0, 5, 1, 9, 2, 3, 8, 4, 7, 6]
    counted = spearman(x, y).p_value
    monkeypatch.setattr("tasks.stats.spearman.EXACT_LIMIT", 9)
    drawn = spearman(x, y, n_permutations=50_000).p_value
    assert drawn == pytest.approx(counted, abs=4 * np.sqrt(counted / 50_000))


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=4, max_size=8),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_what_must_not_and_what_must_change_it(pairs, random):
    x, y = (np.array(values, dtype=float) for values in zip(*pairs, strict=True))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return
    found = spearman(x, y)
    order = random.sample(range(len(pairs)), len(pairs))
    for same in (spearman(x[order], y[order]), spearman(y, x), spearman(np.exp(x), 3 * y - 7)):
        assert (same.rho, same.p_value) == pytest.approx((found.rho, found.p_value), abs=ROUNDING)
    turned = spearman(-x, y)
    assert (turned.rho, turned.p_value) == pytest.approx((-found.rho, found.p_value), abs=ROUNDING)
    assert found.smallest_p <= found.p_value <= 1


def test_p_values_are_uniform_without_a_relation():
    random = np.random.default_rng(11)
    p_value = np.array([spearman(*random.normal(size=(2, 12))).p_value for _ in range(2000)])
    # An exact test rejects at most 5 % of the time: 100 expected, standard deviation 9.7.
    assert 65 <= (p_value <= 0.05).sum() <= 135


def test_values_that_differ_by_rounding_are_tied():
    assert spearman([0.3 - 0.2, 0.1, 0.5, 0.7], [1, 2, 3, 4]).rho == pytest.approx(
        spearman([0.1, 0.1, 0.5, 0.7], [1, 2, 3, 4]).rho
    )


def test_leave_one_out_is_the_correlation_of_the_others():
    random = np.random.default_rng(8)
    x, y = random.integers(0, 9, size=(3, 11)).astype(float), random.normal(size=11)
    without = leave_one_out(x, y)
    for row, subject in itertools.product(range(3), range(11)):
        rho = stats.spearmanr(np.delete(x[row], subject), np.delete(y, subject)).statistic
        assert without[row, subject] == pytest.approx(rho, abs=1e-12)
    assert leave_one_out(x[0], y) == pytest.approx(without[0])


def test_leave_one_out_without_variation_is_nan():
    without = leave_one_out([0, 0, 0, 0, 1], [1, 2, 3, 4, 5])
    assert np.isnan(without[4])
    assert np.isfinite(without[:4]).all()


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match=r"y: 3 value\(s\) beside 4 of x"):
        spearman([1, 2, 3, 4], [1, 2, 3])
    with pytest.raises(ValueError, match="x: every value is 2: values must vary"):
        spearman([2, 2, 2], [1, 2, 3])
    with pytest.raises(ValueError, match=r"x: 2 value\(s\): at least 3"):
        spearman([1, 2], [1, 2])
    with pytest.raises(ValueError, match="y: nan at position 1"):
        spearman([1, 2, 3], [1, np.nan, 3])
    with pytest.raises(ValueError, match="n_permutations: 0"):
        spearman(range(20), range(20), n_permutations=0)
