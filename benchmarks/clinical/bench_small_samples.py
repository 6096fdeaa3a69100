"""Small-sample statistics against scipy: 10,000 BCa resamples and all sign patterns, as n grows."""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1]))
from measuring import arguments, begin, load, show

from tasks.stats.bootstrap import bca_bootstrap
from tasks.stats.contingency import fisher_exact
from tasks.stats.location import sign_flip
from tasks.stats.rank_sum import rank_sum_exact
from tasks.stats.signed_rank import signed_rank_exact

if TYPE_CHECKING:
    from collections.abc import Callable

    from tasks.stats.types import Bootstrap, FloatArray

RESAMPLES = 10_000
# Up to here scipy is made to list every pattern, twice as many with each n.
ENUMERATED = 12
MILLISECONDS = 1_000


def typical_ms(call: Callable[[], object], repeats: int) -> float:
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return MILLISECONDS * float(np.median(times))


def bootstraps(sizes: list[int], repeats: int) -> list[list[object]]:
    rows: list[list[object]] = []
    for n in sizes:
        sample = np.random.default_rng(n).gamma(2, 10, n)

        def scipys(sample: FloatArray = sample) -> Any:
            return stats.bootstrap((sample,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=1)

        def ours(sample: FloatArray = sample) -> Bootstrap:
            return bca_bootstrap(sample, n_resamples=RESAMPLES)

        low, high = scipys().confidence_interval
        interval = ours().interval
        # Both are random: quantiles of 10,000 resamples differ by a few percent of the interval's width.
        assert max(abs(interval.low - low), abs(interval.high - high)) < 0.1 * (high - low)
        rows.append(
            [f"BCa, {RESAMPLES:,} resamples", n, typical_ms(ours, repeats), typical_ms(scipys, repeats)]
        )
    return rows


def enumerations(sizes: list[int], repeats: int) -> list[list[object]]:
    rows: list[list[object]] = []
    for n in sizes:
        change = np.round(np.random.default_rng(n).normal(1, 2, n), 1)

        def permuted(change: FloatArray = change) -> Any:
            return stats.permutation_test(
                (change,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
            )

        def ranked(change: FloatArray = change) -> Any:
            return stats.wilcoxon(change, method=stats.PermutationMethod(n_resamples=np.inf))

        for name, ours, scipys in (
            ("sign-flip, every pattern", lambda change=change: sign_flip(change), permuted),
            ("signed rank, exact", lambda change=change: signed_rank_exact(change), ranked),
        ):
            theirs = None
            if n <= ENUMERATED:
                p_value = float(scipys().pvalue)
                assert abs(ours().p_value - p_value) <= 1e-9 * p_value, (name, n, ours().p_value, p_value)
                theirs = typical_ms(scipys, repeats)
            rows.append([name, n, typical_ms(ours, repeats), theirs])
    return rows


def without_peer(repeats: int) -> list[list[object]]:
    """Exact tests that scipy has by random draws only."""
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 10, 40), generator.integers(1, 11, 40)
    age_groups = [[14, 42, 30], [11, 45, 28], [8, 30, 46]]
    return [
        ["rank sum with ties, exact", 80, typical_ms(lambda: rank_sum_exact(first, second), repeats), None],
        ["Fisher 3 x 3, exact", 254, typical_ms(lambda: fisher_exact(age_groups), repeats), None],
    ]


def main() -> None:
    options = arguments(__doc__)
    begin(__doc__)
    repeats = 1 if options.quick else 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        rows = bootstraps([12] if options.quick else [6, 12, 24, 100, 400], repeats)
        rows += enumerations([12] if options.quick else [8, 12, 16, 24, 32], repeats)
        rows += without_peer(repeats)
    for row in rows:
        row.append(None if row[3] is None else row[3] / row[2])
    show(["what", "n", "ours ms", "scipy ms", "scipy / ours"], rows)
    slower = [row[0] for row in rows if row[4] is not None and row[4] < 1]
    print(
        f"\nGoal: never slower than scipy. {'Missed by ' + ', '.join(slower) if slower else 'Met'}; {load()}"
    )


if __name__ == "__main__":
    main()
