from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.stats.cochran_mantel_haenszel import (
    SCORE_KINDS,
    breslow_day,
    cmh_correlation,
    cmh_general_association,
    cmh_row_mean_scores,
    mantel_haenszel,
    stratified_tables,
)
from tasks.stats.contingency import pearson_chi_square
from tasks.stats.rank_sum import kruskal_wallis

# R's UCBAdmissions: strata are departments, rows sex (male, female), columns admitted and rejected.
BERKELEY = np.array(
    [
        [[512, 313], [89, 19]],
        [[353, 207], [17, 8]],
        [[120, 205], [202, 391]],
        [[138, 279], [131, 244]],
        [[53, 138], [94, 299]],
        [[22, 351], [24, 317]],
    ]
)
tables = st.tuples(st.integers(1, 3), st.integers(2, 3), st.integers(2, 4)).flatmap(
    lambda shape: st.lists(st.integers(0, 5), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))).map(
        lambda cells: np.array(cells).reshape(shape)
    )
)


def test_berkeley_admissions():
    # R: mantelhaen.test(UCBAdmissions): 1.4269 with correction (p .2323), common odds ratio .9046968,
    # interval (.7719074, 1.0603298).
    result = mantel_haenszel(BERKELEY, continuity=True)
    assert result.test.statistic == pytest.approx(1.4269, abs=5e-5)
    assert result.test.p_value == pytest.approx(0.2323, abs=5e-5)
    assert result.odds_ratio.estimate == pytest.approx(0.9046968, abs=1e-7)
    assert result.odds_ratio.interval.low == pytest.approx(0.7719074, abs=1e-6)
    assert result.odds_ratio.interval.high == pytest.approx(1.0603298, abs=1e-6)
    # Department A admits women more readily than the others do: the odds ratios differ.
    assert breslow_day(BERKELEY).p_value < 0.01
    assert breslow_day(BERKELEY[1:]).p_value > 0.3


def _used(strata):
    return ((strata.sum(axis=2) > 0).sum(axis=1) > 1) & ((strata.sum(axis=1) > 0).sum(axis=1) > 1)


@settings(max_examples=50, deadline=None)
@given(tables)
def test_degenerate_strata_and_the_order_of_levels_change_nothing(strata):
    assume(_used(strata).any())
    one_row = np.zeros_like(strata[:1])
    one_row[0, 0] = 3
    padded = np.concatenate([strata, one_row])
    general = cmh_general_association(strata)
    assert cmh_general_association(padded).statistic == pytest.approx(general.statistic)
    assert cmh_general_association(padded).n_strata_used == general.n_strata_used == _used(strata).sum()
    turned = cmh_general_association(strata[:, ::-1, ::-1])
    assert turned.statistic == pytest.approx(general.statistic)
    assert turned.df == general.df
    assert cmh_general_association(strata.transpose(0, 2, 1)).statistic == pytest.approx(general.statistic)


@settings(max_examples=50, deadline=None)
@given(tables)
def test_one_stratum_is_known_tests(strata):
    table = strata[0]
    assume(_used(strata[:1])[0])
    n = table.sum()
    general = cmh_general_association(strata[:1])
    assert general.statistic == pytest.approx(pearson_chi_square(table).statistic * (n - 1) / n)
    assert general.df == pearson_chi_square(table).df
    # Rows of one stratum compared by ranks are the Kruskal-Wallis test, whatever the ranks are divided by.
    values = np.concatenate([np.repeat(np.arange(table.shape[1]), row) for row in table])
    rows = [str(i) for i, row in enumerate(table) for _ in range(row.sum())]
    expected = kruskal_wallis(values, rows).statistic
    for kind in SCORE_KINDS[1:]:
        ours = cmh_row_mean_scores(strata[:1], column_scores=kind).statistic
        assert ours == pytest.approx(expected)
    # Mantel's test is (n - 1) r**2.
    r = np.corrcoef(values, np.array(rows, dtype=float))[0, 1]
    assert cmh_correlation(strata[:1]).statistic == pytest.approx((n - 1) * r**2, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(tables, st.floats(-3, 3), st.floats(0.2, 5))
def test_scores_count_up_to_origin_and_unit(strata, shift, scale):
    assume(_used(strata).any())
    scores = scale * np.arange(strata.shape[2]) + shift
    plain = cmh_row_mean_scores(strata).statistic
    assert cmh_row_mean_scores(strata, column_scores=scores).statistic == pytest.approx(plain, abs=1e-9)


def test_two_by_two_has_one_answer():
    q = mantel_haenszel(BERKELEY).test.statistic
    for other in (cmh_general_association, cmh_row_mean_scores, cmh_correlation):
        assert other(BERKELEY).statistic == pytest.approx(q)
    mirrored = mantel_haenszel(BERKELEY[:, ::-1]).odds_ratio
    assert mirrored.estimate == pytest.approx(1 / mantel_haenszel(BERKELEY).odds_ratio.estimate)


def test_an_edge_of_the_odds_ratio_has_no_interval():
    result = mantel_haenszel([[[3, 0], [1, 2]], [[2, 0], [1, 1]]])
    assert result.odds_ratio.estimate == float("inf")
    assert result.odds_ratio.interval is None
    with pytest.raises(ValueError, match="above zero and finite"):
        breslow_day([[[3, 0], [1, 2]], [[2, 0], [1, 1]]])


def test_subjects_are_counted_in_the_order_asked():
    counted = stratified_tables(
        ["b", "a", "b"],
        ["mild", "none", "mild"],
        ["s2", "s1", "s2"],
        column_levels=["none", "mild", "severe"],
    )
    assert counted.row_levels == ("a", "b")
    assert counted.stratum_levels == ("s1", "s2")
    assert counted.tables.tolist() == [[[1, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 2, 0]]]
    with pytest.raises(ValueError, match="column: 'severe'"):
        stratified_tables(["a"], ["severe"], column_levels=["none"])
    with pytest.raises(ValueError, match="stratum: 1"):
        stratified_tables(["a", "b"], ["x", "y"], ["s"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mantel_haenszel([[[1, 2], [0, 0]]]), "no stratum"),
        (lambda: mantel_haenszel(np.ones((2, 3, 2))), r"\(strata, 2, 2\)"),
        (lambda: cmh_general_association([[1, 2], [3, 4]]), r"\(strata, rows, columns\)"),
        (lambda: cmh_row_mean_scores(BERKELEY, column_scores="midrank"), "modridit"),
        (lambda: cmh_row_mean_scores(BERKELEY, column_scores=[1, 2, 3]), "3 value"),
        (lambda: cmh_row_mean_scores(BERKELEY, column_scores=[2, 2]), "must vary"),
        (lambda: breslow_day(BERKELEY[:1]), "two needed"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
