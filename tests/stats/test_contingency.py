from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.stats import contingency
from tasks.stats.contingency import (
    conditional_odds_ratio,
    fisher_exact,
    fisher_monte_carlo,
    mcnemar,
    pearson_chi_square,
)

TEA = [[3, 1], [1, 3]]
JOB = [[1, 2, 1, 0], [3, 3, 6, 1], [10, 10, 14, 9], [6, 7, 12, 11]]
small_tables = st.tuples(st.integers(2, 3), st.integers(2, 3)).flatmap(
    lambda shape: st.lists(
        st.lists(st.integers(0, 3), min_size=shape[1], max_size=shape[1]),
        min_size=shape[0],
        max_size=shape[0],
    ).map(np.array)
)


def test_fisher_tea_tasting_and_job_satisfaction():
    # R's help of fisher.test: .4857 two-sided, .2429 one-sided, odds ratio 6.408309; Job: .7827.
    assert fisher_exact(TEA).p_value == pytest.approx(0.4857, abs=5e-5)
    assert fisher_exact(TEA, alternative="greater").p_value == pytest.approx(0.2429, abs=5e-5)
    assert conditional_odds_ratio(TEA).estimate == pytest.approx(6.408309, abs=1e-3)
    # Agresti's job satisfaction table, as in that help.
    assert fisher_exact(JOB).p_value == pytest.approx(0.7827, abs=5e-5)


def _enumerated(table):
    """Add up every table of the margins, cell by cell."""
    rows, columns = table.sum(axis=1).tolist(), table.sum(axis=0).tolist()

    def weight(cells):
        return 1 / math.prod(math.factorial(cell) for cell in cells)

    def fills(total, room):
        return [f for f in itertools.product(*(range(r + 1) for r in room)) if sum(f) == total]

    observed, total, extreme = weight(table.ravel().tolist()), 0.0, 0.0
    for first in fills(rows[0], columns):
        room = [c - f for c, f in zip(columns, first, strict=True)]
        seconds = [tuple(room)] if len(rows) == 2 else fills(rows[1], room)
        for second in seconds:
            third = [r - s for r, s in zip(room, second, strict=True)] if len(rows) == 3 else []
            one = weight([*first, *second, *third])
            total += one
            extreme += one if one <= observed * (1 + 1e-7) else 0
    return extreme / total


@settings(max_examples=60, deadline=None)
@given(small_tables)
def test_fisher_is_the_sum_over_all_tables(table):
    assume(table.sum() > 0)
    p_value = fisher_exact(table).p_value
    assert p_value == pytest.approx(_enumerated(table), rel=1e-9)
    assert fisher_exact(table.T).p_value == pytest.approx(p_value, rel=1e-9)
    assert fisher_exact(table[::-1]).p_value == pytest.approx(p_value, rel=1e-9)


def test_empty_rows_change_nothing():
    padded = np.zeros((4, 5), dtype=int)
    padded[np.ix_([0, 1, 3], [1, 2, 4])] = [[3, 1, 4], [2, 5, 1], [0, 3, 6]]
    dense = padded[np.ix_([0, 1, 3], [1, 2, 4])]
    assert fisher_exact(padded).p_value == fisher_exact(dense).p_value
    assert pearson_chi_square(padded).df == 4
    assert fisher_exact([[5, 3], [0, 0]]).p_value == 1
    with pytest.raises(ValueError, match="two needed"):
        pearson_chi_square([[5, 3], [0, 0]])


def test_monte_carlo_is_near_exact_and_never_zero():
    # Four standard errors of 20,000 tables.
    exact, drawn = fisher_exact(JOB).p_value, fisher_monte_carlo(JOB, n_resamples=20_000, seed=3)
    assert abs(drawn.p_value - exact) < 4 * np.sqrt(exact * (1 - exact) / 20_000)
    assert not drawn.is_exact
    assert drawn.p_value == fisher_monte_carlo(JOB, n_resamples=20_000, seed=3).p_value
    assert fisher_monte_carlo([[30, 0], [0, 30]], n_resamples=99).p_value == 1 / 100


def test_a_table_too_large_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="fisher_monte_carlo"):
        fisher_exact(np.arange(30, 66).reshape(6, 6))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=4, max_size=4))
def test_odds_ratio_ends_are_where_the_tails_reach_half_of_alpha(cells):
    table = np.array(cells).reshape(2, 2)
    n, row, column = int(table.sum()), int(table[0].sum()), int(table[:, 0].sum())
    ratio = conditional_odds_ratio(table, level=0.9)
    interval = ratio.interval

    def law(odds):
        support = np.arange(max(0, row + column - n), min(row, column) + 1)
        weight = [math.comb(row, x) * math.comb(n - row, column - x) * odds**x for x in support.tolist()]
        return support, np.array(weight) / sum(weight)

    first = int(table[0, 0])
    support, share = law(interval.low)
    assert share[support >= first].sum() == pytest.approx(0.05, rel=1e-9)
    support, share = law(interval.high)
    assert share[support <= first].sum() == pytest.approx(0.05, rel=1e-9)
    support, share = law(ratio.estimate)
    assert support @ share == pytest.approx(first, rel=1e-9)
    swapped = conditional_odds_ratio(table[::-1], level=0.9)
    assert swapped.estimate == pytest.approx(1 / ratio.estimate, rel=1e-8)
    assert swapped.interval.low == pytest.approx(1 / interval.high, rel=1e-8)


def test_odds_ratio_at_the_edge():
    edge = conditional_odds_ratio([[5, 0], [2, 4]])
    assert edge.estimate == edge.interval.high == float("inf")
    assert edge.interval.low > 0
    with pytest.raises(ValueError, match="no empty row"):
        conditional_odds_ratio([[5, 0], [2, 0]])


def test_mcnemar_presidential_approval():
    # R's help of mcnemar.test has this table; the statistic by hand from its 150 and 86 who changed.
    performance = [[794, 150], [86, 570]]
    assert mcnemar(performance, method="asymptotic").statistic == pytest.approx(64**2 / 236)
    corrected = mcnemar(performance, method="asymptotic", continuity=True)
    assert corrected.statistic == pytest.approx(63**2 / 236)
    assert mcnemar([[10, 6], [0, 3]]).p_value == 2 / 2**6
    assert mcnemar([[10, 6], [0, 3]], method="mid-p").p_value == pytest.approx(1 / 2**6)
    with pytest.raises(ValueError, match="nobody changed"):
        mcnemar([[10, 0], [0, 3]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fisher_exact([[1, 2], [3, -1]]), r"-1 at \(1, 1\)"),
        (lambda: fisher_exact([[1, 2], [3, 1.5]]), "whole number"),
        (lambda: fisher_exact([[0, 0], [0, 0]]), "no subject"),
        (lambda: fisher_exact([1, 2]), "rows and columns"),
        (lambda: fisher_exact(JOB, alternative="less"), "2 x 2"),
        (lambda: fisher_monte_carlo(TEA, n_resamples=0), "n_resamples: 0"),
        (lambda: pearson_chi_square(JOB, continuity=True), "2 x 2"),
        (lambda: mcnemar(JOB), "2 x 2"),
        (lambda: mcnemar(TEA, continuity=True), "asymptotic"),
        (lambda: contingency.mcnemar(TEA, method="midp"), "mid-p"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
