"""The mixed model for repeated measures: against R's gls and statsmodels, growth, refits that reuse work.

Ours is timed from columns to the tests of every coefficient with Kenward-Roger; gls from a data frame to its
estimates, without degrees of freedom; both after a first fit, on one thread, with the same deviance.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import measuring
from tasks.stats.mmrm import MmrmData, fit_mmrm

if TYPE_CHECKING:
    from collections.abc import Callable

Columns = dict[str, Any]

FIT_GLS = Path(__file__).with_name("fit_gls.R")
FORMULA = "y ~ base + arm * visit"
SUBJECTS, VISITS = 200, 4
REPEATS = 7
REFITS = 1000
GOAL_AGAINST_GLS = 2.0
GOAL_REFITS = 1.0
# Both stop short of the same minimum by less.
SAME_DEVIANCE = 1e-3


def main() -> None:
    options = measuring.arguments(__doc__)
    measuring.begin(__doc__)
    repeats = 1 if options.quick else REPEATS
    columns = simulated(SUBJECTS, VISITS)
    # The matrices are small: more threads wait for each other, and worse on a busy machine.
    with threadpool_limits(1):
        against_peers(columns, repeats)
        growth(repeats, quick=options.quick)
        refits(columns, 20 if options.quick else REFITS)


def simulated(subjects: int, visits: int) -> Columns:
    """Return a two-arm trial in long form of which a seventh of the later visits is missing."""
    random = np.random.default_rng(subjects + visits)
    subject, visit = (part.ravel() for part in np.mgrid[:subjects, :visits])
    base = random.normal(20, 5, subjects)[subject]
    fading = 0.7 ** np.abs(np.subtract.outer(np.arange(visits), np.arange(visits)))
    error = (random.normal(size=(subjects, visits)) @ np.linalg.cholesky(fading).T).ravel()
    y = 0.5 * base + (3 + visit) * error - visit * (subject % 2)
    seen = (visit == 0) | (random.random(visit.size) > 1 / 7)
    return {
        name: values[seen]
        for name, values in (
            ("subject", subject),
            ("visit", visit + 1),
            ("arm", subject % 2),
            ("base", base),
            ("y", y),
        )
    }


def prepared(columns: Columns) -> MmrmData:
    return MmrmData.from_columns(columns, FORMULA, subject="subject", visit="visit", levels={"arm": (0, 1)})


def tested(columns: Columns, structure: str) -> float:
    """Prepare, fit and test every coefficient; return the deviance."""
    fit = fit_mmrm(prepared(columns), structures=(structure,), df_method="kenward-roger")
    fit.coefficients()
    return fit.deviance


def timed(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Return the median seconds of a piece of work that has been done once before, and what it gives."""
    result = work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - started)
    return median(seconds), result


def against_peers(columns: Columns, repeats: int) -> None:
    rows: list[list[object]] = []
    ratio = None
    for structure in ("us", "cs"):
        ours, deviance = timed(lambda structure=structure: tested(columns, structure), repeats)
        rows.append([structure, "ours, with Kenward-Roger", 1000 * ours, 1.0])
        for name, peer in (("R nlme::gls, no df", by_gls), ("statsmodels MixedLM, z-tests", by_statsmodels)):
            answer = peer(columns, structure, repeats)
            if answer is None:
                continue
            seconds, theirs = answer
            assert abs(theirs - deviance) < SAME_DEVIANCE, (structure, name, theirs, deviance)
            rows.append([structure, name, 1000 * seconds, ours / seconds])
            if structure == "us":
                ratio = ours / seconds
    print(f"{SUBJECTS} subjects x {VISITS} visits, a seventh missing; median of {repeats}")
    measuring.show(["covariance", "side", "ms", "ours / side"], rows)
    if ratio is not None:
        measuring.judge("unstructured with Kenward-Roger, against nlme::gls without", ratio, GOAL_AGAINST_GLS)


def by_gls(columns: Columns, structure: str, repeats: int) -> tuple[float, float] | None:
    if shutil.which("Rscript") is None:
        print("R is not here: no comparison with nlme::gls")
        return None
    with measuring.scratch() as folder:
        file = folder / "data.csv"
        with file.open("w", newline="") as opened:
            writer = csv.writer(opened)
            writer.writerow(columns)
            writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))
        single = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = ["Rscript", str(FIT_GLS), str(file), structure, str(repeats)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=single)
    if ended.returncode:
        print(f"R cannot fit: no comparison with nlme::gls: {ended.stderr.strip()[-200:]}")
        return None
    seconds, deviance = map(float, ended.stdout.split())
    return seconds, deviance


def by_statsmodels(columns: Columns, structure: str, repeats: int) -> tuple[float, float] | None:
    """Fit a random intercept, which is compound symmetry; statsmodels has none of the other structures."""
    if structure != "cs":
        return None
    if find_spec("statsmodels") is None:
        print("statsmodels is not installed: no comparison with MixedLM")
        return None
    from statsmodels.regression.mixed_linear_model import MixedLM

    data = prepared(columns)

    def fit() -> float:
        model = MixedLM(data.response, data.rows.x, groups=data.rows.subject.codes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return -2 * float(model.fit(reml=True).llf)

    seconds, deviance = timed(fit, repeats)
    # Its restricted likelihood has no |X'X| either, and the same constant.
    return seconds, deviance


def growth(repeats: int, *, quick: bool) -> None:
    """Time preparing and fitting apart, as subjects and as visits become more."""
    sizes = [(100, 4), (300, 4), (1000, 4), (5000, 4), (300, 3), (300, 6), (300, 9), (300, 12), (5000, 12)]
    rows: list[list[object]] = []
    for subjects, visits in sizes[:1] if quick else sizes:
        columns = simulated(subjects, visits)
        few = min(repeats, 3)
        preparing, data = timed(lambda columns=columns: prepared(columns), few)
        fitting, fit = timed(
            lambda data=data: fit_mmrm(data, structures=("us",), df_method="kenward-roger"), few
        )
        rows.append(
            [
                subjects,
                visits,
                data.n_patterns,
                fit.beta.size,
                fit.n_parameters,
                1000 * preparing,
                1000 * fitting,
                fit.attempts[0].n_iterations,
            ]
        )
    print("\nGrowth of the unstructured fit with Kenward-Roger, subjects then visits")
    header = ["subjects", "visits", "patterns", "coefficients", "parameters", "prepare ms", "fit ms", "steps"]
    measuring.show(header, rows)


def refits(columns: Columns, count: int) -> None:
    """Leave out subjects and shift the active arm's last visit, from nothing and from the full fit."""
    data = prepared(columns)
    full = fit_mmrm(data, structures=("us",))
    left_out = [data.subjects[number % data.n_subjects] for number in range(count)]
    is_shifted = (columns["arm"] == 1) & (columns["visit"] == VISITS)
    deltas = [np.where(is_shifted, delta, 0.0) for delta in np.linspace(0, 5, count)]

    def without_anew() -> list[float]:
        others = (columns["subject"] != subject for subject in left_out)
        return [last({name: values[rows] for name, values in columns.items()}) for rows in others]

    def last(one: Columns) -> float:
        return fit_mmrm(prepared(one), structures=("us",)).deviance

    def shifted_anew() -> list[float]:
        return [last({**columns, "y": columns["y"] + delta}) for delta in deltas]

    def reusing(changed: list[MmrmData]) -> list[float]:
        return [fit_mmrm(one, structures=("us",), start=full.theta).deviance for one in changed]

    rows: list[list[object]] = []
    worst = 0.0
    for name, anew, reused in (
        ("leave one out", without_anew, lambda: reusing([data.without(subject) for subject in left_out])),
        ("delta tipping", shifted_anew, lambda: reusing([data.shifted(delta) for delta in deltas])),
    ):
        started = time.perf_counter()
        expected = anew()
        middle = time.perf_counter()
        got = reused()
        ended = time.perf_counter()
        assert np.allclose(expected, got, rtol=1e-9), name
        ratio = (ended - middle) / (middle - started)
        rows.append([name, count, middle - started, ended - middle, ratio])
        worst = max(worst, ratio)
    print("\nUnstructured refits: from columns, against prepared data and the full fit's parameters")
    measuring.show(["refits", "count", "anew s", "reusing s", "reusing / anew"], rows)
    measuring.judge("refits that reuse work, against fits from nothing", worst, GOAL_REFITS)


if __name__ == "__main__":
    main()
