"""Rank correlation of measurements with the change of a clinical score, with what small trials must say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from pydantic import Field

from tasks.analysis import Parameters
from tasks.clinical.population import population_of
from tasks.clinical.scores import records_at_visit
from tasks.omics.measured import ABOUT, SCALE, small_sample_warning
from tasks.stats.multiplicity import adjusted_p
from tasks.stats.spearman import leave_one_out, spearman
from warehouse.errors import AnalysisError
from warehouse.expression_plan import Expression
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasks.omics.measured import OwnValues
    from tasks.stats.types import FloatArray

# The columns of every table of associations; each analysis puts its own first.
SCHEMA = {
    **ABOUT,
    "score": pl.String,
    "visit": pl.String,
    "variable": pl.String,
    "rho": pl.Float64,
    "interval_low": pl.Float64,
    "interval_high": pl.Float64,
    "confidence_level": pl.Float64,
    "interval_method": pl.String,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "smallest_p": pl.Float64,
    "family": pl.String,
    "n_family": pl.Int64,
    "is_exact": pl.Boolean,
    "n_permutations": pl.Int64,
    "seed": pl.Int64,
    "n_subjects": pl.Int64,
    "left_out_subjects": pl.String,
    "rho_without_one_low": pl.Float64,
    "rho_without_one_high": pl.Float64,
    "influential_subject": pl.String,
    "status": pl.String,
    "reason": pl.String,
    "is_small_sample": pl.Boolean,
    "warning": pl.String,
    "method": pl.String,
}
_LEAST_SUBJECTS = 4


class ScoreAssociationParameters(Parameters):
    """The estimand whose score changes, the treatment contrast, and how chance is judged.

    `estimand` and `treatment` are ids. Up to fourteen subjects every order is counted; beyond,
    `n_permutations` are drawn from `seed`.
    """

    estimand: Estimand
    treatment: str
    confidence_level: float = Field(default=0.95, gt=0, lt=1)
    n_permutations: int = Field(default=9_999, ge=999)
    seed: int = Field(default=20240101, ge=0)
    expression: Expression = Expression()


def score_changes(adsl: pl.DataFrame, adqs: pl.DataFrame, estimand: Estimand) -> dict[str, float]:
    """Return each participant's change of the estimand's score at its visit."""
    if estimand.variable == "aval":
        raise AnalysisError(
            f"estimand {estimand.id}: variable 'aval': must be a change, chg or pchg, to be set against a"
            " change"
        )
    records = records_at_visit(adqs, population_of(adsl, estimand)).drop_nulls(estimand.variable)
    return dict(zip(records["usubjid"], records[estimand.variable].cast(pl.Float64), strict=True))


def associations(
    about: pl.DataFrame,
    values: OwnValues,
    change: dict[str, float],
    *,
    parameters: ScoreAssociationParameters,
    says: str,
    warns: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each measurement: its correlation with the change of the score, over shared subjects.

    `says` tells in the method what is correlated; `warns` stands before the warning of a small sample.
    """
    estimand = parameters.estimand
    shared = tuple(subject for subject in values.subjects if subject in change)
    everybody = sorted(set(values.subjects) | set(change))
    missing = [subject for subject in everybody if subject not in shared]
    own = values.of(shared)
    score = np.array([change[subject] for subject in shared])
    small = small_sample_warning(len(shared))
    warning = "; ".join(text for text in (warns, small) if text) or None
    for row, described in enumerate(about.iter_rows(named=True)):
        # A subject whose library a scorer could not score has no value here.
        kept = np.flatnonzero(np.isfinite(own[row]))
        subjects = [shared[place] for place in kept]
        unscored = [subject for subject in shared if subject not in subjects]
        yield {
            **described,
            "score": estimand.score,
            "visit": estimand.visit,
            "variable": estimand.variable,
            "family": _family(described),
            "n_subjects": len(subjects),
            "left_out_subjects": "; ".join(sorted([*missing, *unscored])) or None,
            "is_small_sample": small is not None,
            "warning": warning,
            **_correlated(own[row, kept], score[kept], subjects, parameters, says),
        }


def table(rows: Sequence[dict[str, Any]], schema: dict[str, Any], families: Sequence[str]) -> pl.DataFrame:
    """Return the rows as a table with p-values adjusted (Benjamini-Hochberg) within each family."""
    given = {name: dtype for name, dtype in schema.items() if name not in {"p_adjusted", "n_family"}}
    frame = pl.DataFrame(rows, schema=given)
    tested = frame.with_row_index("place").filter(pl.col("p_value").is_not_null())
    parts = [
        part.select(
            "place",
            p_adjusted=pl.Series(adjusted_p(part["p_value"].to_numpy(), "benjamini-hochberg")),
            n_family=pl.lit(part.height, dtype=pl.Int64),
        )
        for part in tested.partition_by([*families, "family"], maintain_order=True)
    ]
    empty = pl.DataFrame(schema={"place": pl.UInt32, "p_adjusted": pl.Float64, "n_family": pl.Int64})
    return (
        frame.with_row_index("place")
        .join(pl.concat([empty, *parts]), on="place", how="left")
        .select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    )


def _family(described: dict[str, Any]) -> str:
    return " ".join(str(part) for part in (described["kind"], described["scorer"]) if part)


def _correlated(
    value: FloatArray,
    score: FloatArray,
    subjects: Sequence[str],
    parameters: ScoreAssociationParameters,
    says: str,
) -> dict[str, Any]:
    about = f"{says}; genes as {SCALE}; two-sided; Benjamini-Hochberg within the family"
    if len(subjects) < _LEAST_SUBJECTS:
        return _untested(
            "too_few_subjects",
            f"{len(subjects)} subject(s) with both: at least {_LEAST_SUBJECTS} needed",
            about,
        )
    try:
        found = spearman(
            value,
            score,
            level=parameters.confidence_level,
            n_permutations=parameters.n_permutations,
            seed=parameters.seed,
        )
    except ValueError:
        which = "the score's change" if np.ptp(score) == 0 else "the measurement"
        return _untested("not_estimable", f"{which} is the same in every subject", about)
    without = leave_one_out(value, score)
    known = np.isfinite(without)
    shift = np.where(known, np.abs(without - found.rho), -1.0)
    interval = found.interval
    return {
        "rho": found.rho,
        "interval_low": interval.low if interval else None,
        "interval_high": interval.high if interval else None,
        "confidence_level": interval.level if interval else None,
        "interval_method": interval.method if interval else None,
        "p_value": found.p_value,
        "smallest_p": found.smallest_p,
        "is_exact": found.is_exact,
        "n_permutations": found.n_permutations,
        "seed": found.seed,
        "rho_without_one_low": float(without[known].min()) if known.any() else None,
        "rho_without_one_high": float(without[known].max()) if known.any() else None,
        "influential_subject": subjects[int(shift.argmax())] if known.any() else None,
        "status": "tested",
        "method": f"{found.method}, {found.tie_rule}: {about}",
    }


def _untested(status: str, reason: str, about: str) -> dict[str, Any]:
    return {"status": status, "reason": reason, "method": f"Spearman rank correlation: {about}"}
