"""200 samples of 4 to 20 differences against R; see golden_r/README.md."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from tasks.stats.hodges_lehmann import hodges_lehmann
from tasks.stats.location import paired_t, sign_flip, sign_test
from tasks.stats.signed_rank import signed_rank_asymptotic, signed_rank_exact

GOLDEN = Path(__file__).parent / "golden_r"
# R sums the same few hundred doubles in another order.
CLOSE = {"rel": 1e-10, "abs": 1e-12}


def _read():
    values = defaultdict(list)
    with (GOLDEN / "samples.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            values[row["sample"]].append(float(row["difference"]))
    with (GOLDEN / "results.csv").open(newline="") as file:
        return [(row, np.array(values[row["sample"]])) for row in csv.DictReader(file)]


SAMPLES = _read()


def _agrees(ours, row, column):
    assert ours == pytest.approx(float(row[column]), **CLOSE), (row["sample"], column)


def test_the_golden_samples_hold_what_is_hard():
    assert len(SAMPLES) == 200
    assert {difference.size for _, difference in SAMPLES} == set(range(4, 21))
    assert sum((difference == 0).any() for _, difference in SAMPLES) == 100
    for row, difference in SAMPLES:
        assert int(row["n"]) == difference.size
        assert int(row["n_zero"]) == (difference == 0).sum()


def test_exact_signed_rank():
    for row, difference in SAMPLES:
        result = signed_rank_exact(difference)
        _agrees(result.statistic, row, "rank_sum")
        _agrees(result.p_value, row, "exact_p")
        _agrees(result.p_value, row, "exact_p_coin")
        _agrees(signed_rank_exact(difference, alternative="greater").p_value, row, "exact_p_greater")
        _agrees(signed_rank_exact(difference, alternative="less").p_value, row, "exact_p_less")
        _agrees(signed_rank_exact(difference, zeros="pratt").p_value, row, "exact_p_pratt")


def test_asymptotic_signed_rank():
    for row, difference in SAMPLES:
        plain = signed_rank_asymptotic(difference, continuity=False)
        _agrees(plain.p_value, row, "asymptotic_p")
        corrected = signed_rank_asymptotic(difference, continuity=True)
        _agrees(corrected.p_value, row, "asymptotic_p_corrected")
        greater = signed_rank_asymptotic(difference, continuity=False, alternative="greater")
        _agrees(greater.p_value, row, "asymptotic_p_greater")
        greater = signed_rank_asymptotic(difference, continuity=True, alternative="greater")
        _agrees(greater.p_value, row, "asymptotic_p_corrected_greater")
        pratt = signed_rank_asymptotic(difference, continuity=False, zeros="pratt")
        _agrees(pratt.z, row, "asymptotic_z_pratt")
        _agrees(pratt.p_value, row, "asymptotic_p_pratt")


def test_hodges_lehmann_without_ties():
    compared = [(row, difference) for row, difference in SAMPLES if row["kind"] == "distinct"]
    assert len(compared) == 50
    for row, difference in compared:
        result = hodges_lehmann(difference)
        _agrees(result.estimate, row, "hodges_lehmann")
        _agrees(result.interval.low, row, "interval_low")
        _agrees(result.interval.high, row, "interval_high")


def test_hodges_lehmann_interval_inverts_rs_exact_test_also_with_ties_and_zeros():
    compared = [(row, difference) for row, difference in SAMPLES if row["inverted_low"]]
    assert len(compared) == 200
    for row, difference in compared:
        interval = hodges_lehmann(difference).interval
        _agrees(interval.low, row, "inverted_low")
        _agrees(interval.high, row, "inverted_high")


def test_hodges_lehmann_estimate_is_the_median_of_all_walsh_averages():
    for row, difference in SAMPLES:
        _agrees(hodges_lehmann(difference).estimate, row, "walsh_median")


def test_paired_t():
    for row, difference in SAMPLES:
        result = paired_t(difference)
        _agrees(result.statistic, row, "t")
        _agrees(result.p_value, row, "t_p")
        _agrees(result.interval.low, row, "t_low")
        _agrees(result.interval.high, row, "t_high")


def test_sign_test():
    for row, difference in SAMPLES:
        result = sign_test(difference)
        _agrees(result.p_value, row, "sign_p")
        _agrees(result.interval.low, row, "sign_low")
        _agrees(result.interval.high, row, "sign_high")


def test_sign_flip():
    for row, difference in SAMPLES:
        _agrees(sign_flip(difference).p_value, row, "sign_flip_p")
