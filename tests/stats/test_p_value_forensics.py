from __future__ import annotations

import numpy as np
import pytest

from tasks.stats.p_value_forensics import p_value_settings
from tasks.stats.signed_rank import signed_rank_asymptotic, signed_rank_exact

PLAIN, CORRECTED = "normal approximation without correction", "normal approximation with correction"


def _found(rows, test, settings, n, rank_sum=None):
    (row,) = [
        row
        for row in rows
        if (row.test, row.n_used, row.rank_sum_negative, row.alternative) == (test, n, rank_sum, "two-sided")
        and row.settings.startswith(settings)
    ]
    return row


def test_the_published_result_of_twelve_patients():
    # Mean fall of 58.2 % (SD 28.7 %), P = .003.
    rows = p_value_settings("0.003", 12, mean=-58.2, sd=28.7)
    t = _found(rows, "paired t", "from mean", 12)
    assert t.p_value == pytest.approx(2.2e-5, abs=5e-7)
    assert not t.reproduces
    for n, rank_sum, settings, p, reproduces in (
        (12, 0, PLAIN, 0.0022, False),
        (12, 0, CORRECTED, 0.0025, True),
        (12, 1, PLAIN, 0.0029, True),
        (12, 1, CORRECTED, 0.0033, True),
        (11, 0, PLAIN, 0.00335, True),
        (12, 0, "exact", 0.00049, False),
    ):
        row = _found(rows, "signed rank", settings, n, rank_sum)
        assert row.p_value == pytest.approx(p, abs=5e-5)
        assert row.reproduces == reproduces
    assert [row.reproduces for row in rows] == sorted((row.reproduces for row in rows), reverse=True)


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_rows_are_the_tests_themselves(wrong):
    difference = np.arange(1.0, 11)
    difference[:wrong] *= -1
    rank_sum = wrong * (wrong + 1) // 2
    rows = p_value_settings("0.01", 10, n_negative=wrong)
    exact = _found(rows, "signed rank", "exact", 10, rank_sum)
    assert exact.p_value == signed_rank_exact(difference).p_value
    assert exact.n_negative == wrong
    for settings, continuity in ((PLAIN, False), (CORRECTED, True)):
        expected = signed_rank_asymptotic(difference, continuity=continuity).p_value
        assert _found(rows, "signed rank", settings, 10, rank_sum).p_value == pytest.approx(expected)
    assert {row.n_negative for row in rows if row.test == "sign"} == {wrong}


def test_decimals_say_how_precise_a_p_value_is():
    exact = 2 / 2**12  # .000488
    for published, reproduces in (
        ("0.0005", True),
        (".00049", True),
        ("4.9e-4", True),
        ("0.00048", False),
        ("<0.001", True),
        ("< 0.0004", False),
    ):
        row = _found(p_value_settings(published, 12), "signed rank", "exact", 12, 0)
        assert row.p_value == exact
        assert row.reproduces == reproduces, published


def test_fewest_subjects_of_a_rank_sum():
    rows = p_value_settings("0.05", 4, largest_rank_sum_negative=5, most_dropped=0)
    fewest = {row.rank_sum_negative: row.n_negative for row in rows if row.test == "signed rank"}
    # Up to rank 4 one subject will do; beyond half of all ranks the change has the other direction.
    assert fewest == {0: 0, 1: 1, 2: 1, 3: 1, 4: 1, 5: 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"published": "P = .003"}, "must be a number"),
        ({"published": "0"}, "above 0"),
        ({"published": "nan"}, "above 0"),
        ({"n": 1}, "n: 1"),
        ({"mean": 3}, "both or neither"),
        ({"mean": 3, "sd": 0}, "sd: 0"),
        ({"most_dropped": 11}, "most_dropped: 11"),
        ({"largest_rank_sum_negative": -1}, "largest_rank_sum_negative"),
        ({"n_negative": 13}, "n_negative: 13"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        p_value_settings(**{"published": "0.003", "n": 12, **arguments})
