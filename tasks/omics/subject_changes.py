"""Exact tests of one number per patient against zero, as every paired analysis of expression reports them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.stats.hodges_lehmann import hodges_lehmann
from tasks.stats.location import sign_flip
from tasks.stats.power import smallest_p_signed_rank
from tasks.stats.signed_rank import signed_rank_exact
from tasks.stats.types import is_zero

if TYPE_CHECKING:
    from tasks.stats.types import FloatArray
    from warehouse.expression_plan import ExpressionContrast

_LEAST_SUBJECTS = 2


def taking_part(contrast: ExpressionContrast, sample: pl.DataFrame) -> set[str]:
    """Return the subjects with a sample at any level of the contrast."""
    if "usubjid" not in sample.columns:
        return set()
    is_asked = pl.col(contrast.variable).cast(pl.String).is_in(list(contrast.level_weights))
    return set(sample.filter(is_asked)["usubjid"].drop_nulls())


def tested_change(
    difference: FloatArray, *, confidence_level: float, n_resamples: int, seed: int
) -> dict[str, Any]:
    """Return the columns of a tested change (patients,): estimate, interval, exact p-values, or why not."""
    n = difference.size
    if n < _LEAST_SUBJECTS:
        reason = (
            f"{n} subject(s) with a score at every level of the contrast: at least {_LEAST_SUBJECTS} needed"
        )
        return {"status": "not_estimable", "reason": reason, "n_subjects": n}
    counted = {
        "n_subjects": n,
        "n_higher": int((difference[~is_zero(difference)] > 0).sum()),
        "n_zero": int(is_zero(difference).sum()),
        "mean_difference": float(difference.mean()),
        "sd_difference": float(difference.std(ddof=1)),
    }
    if is_zero(difference).all():
        return counted | {"status": "not_estimable", "reason": "no subject's score differs"}
    rank = signed_rank_exact(difference)
    flip = sign_flip(difference, n_resamples=n_resamples, seed=seed)
    centre = hodges_lehmann(difference, level=confidence_level)
    is_spread = not is_zero(difference - difference.mean()).all()
    return counted | {
        "status": "tested",
        "direction": "higher" if centre.estimate > 0 else "lower" if centre.estimate < 0 else "level",
        "hodges_lehmann": centre.estimate,
        "ci_low": centre.interval.low,
        "ci_high": centre.interval.high,
        "ci_achieved_level": centre.interval.achieved_level,
        "d_z": float(difference.mean() / difference.std(ddof=1)) if is_spread else None,
        "signed_rank": rank.statistic,
        "p_value": rank.p_value,
        "smallest_p_value": smallest_p_signed_rank(rank.n_used),
        "p_sign_flip": flip.p_value,
        "is_sign_flip_exact": flip.is_exact,
    }
