"""What the missing values may have been: multiple imputation, and how bad they must be to tip the result."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy import optimize

from tasks.clinical.population import chosen_records
from tasks.clinical.scores import baselines, named, visit_of
from tasks.clinical.sensitivity_effects import Effect, Repeated, Setting, model_method, repeated
from tasks.stats.multiple_imputation import impute_scores
from warehouse.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from tasks.clinical.population import Population
    from tasks.stats.multiple_imputation import Imputation
    from tasks.stats.pooling import Pooled
    from tasks.stats.types import FloatArray

# How finely the range of deltas is searched for the first crossing, before it is solved exactly.
_SEARCHED = 200
# Without a scale's ends: so many standard deviations of the score.
_FAR = 10.0


@dataclass(frozen=True, slots=True)
class Completed:
    """All copies of the score at the visit, and whose values in them are imputed."""

    records: pl.DataFrame
    values: FloatArray
    is_imputed: FloatArray
    imputation: Imputation
    warning: str | None

    @property
    def n_imputed(self) -> int:
        return int(self.is_imputed.sum())

    @property
    def method(self) -> str:
        made = self.imputation
        ends = "" if made.low is None and made.high is None else ", within the scale"
        return (
            f"multiple imputation, Bayesian regression on the visits up to this one{ends},"
            f" {made.n_imputations} imputations, seed {made.seed}, Rubin's rules with Barnard-Rubin df"
        )


def complete(adqs: pl.DataFrame, population: Population, *, n_imputations: int, seed: int) -> Completed:
    """Impute who has a baseline and lacks later visits, from the visits up to the estimand's.

    Raises
    ------
    ValueError
        If too few are observed at a visit to impute from.
    """
    estimand = population.estimand.model_copy(update={"imputation": "observed"})
    observed = chosen_records(adqs, type(population)(estimand, population.subjects, population.arms))
    visits = _visits_up_to(observed, population)
    subjects = baselines(adqs, population)
    wide = subjects.join(
        observed.pivot("avisit", index="usubjid", values="aval"),
        on="usubjid",
        how="left",
        maintain_order="left",
    )
    scores = wide.select("base", *visits).to_numpy().astype(np.float64)
    low, high, beyond = _ends(observed, scores)
    imputation = impute_scores(
        scores,
        n_imputations=n_imputations,
        seed=seed,
        covariates=_indicators(wide["arm"], population),
        low=low,
        high=high,
    )
    without = sorted(set(population.subjects["usubjid"]) - set(subjects["usubjid"]))
    notes = [f"{len(without)} without a baseline left out: {named(without)}"] if without else []
    return Completed(
        records=wide.select("usubjid", "arm", "base", pl.lit(visits[-1]).alias("avisit")),
        values=imputation.values[:, :, -1].T,
        is_imputed=imputation.is_imputed[:, -1].astype(np.float64),
        imputation=imputation,
        warning="; ".join([*notes, *beyond, *_readable(imputation.notes, ["baseline", *visits])]) or None,
    )


def _visits_up_to(observed: pl.DataFrame, population: Population) -> list[str]:
    visit = visit_of(population.estimand)
    at_baseline = observed.filter(pl.col("ablfl") == "Y")["avisit"].unique().to_list()
    order = observed.sort("avisitn")["avisit"].unique(maintain_order=True).to_list()
    if visit not in order:
        raise AnalysisError(f"estimand {population.estimand.id}: visit {visit}: nobody has a value there")
    return [one for one in order[: order.index(visit) + 1] if one not in at_baseline]


def _readable(notes: Sequence[str], names: Sequence[str]) -> list[str]:
    """Put the visits' names for their positions in the notes of the imputation."""
    readable = []
    for note in notes:
        text = note
        for position in reversed(range(len(names))):
            text = text.replace(f"visit {position}", names[position])
        readable.append(text)
    return readable


def _ends(observed: pl.DataFrame, scores: FloatArray) -> tuple[float | None, float | None, list[str]]:
    """Return the ends of the scale, leaving out one that an observed score exceeds, and say so."""
    ends: list[float | None] = []
    notes = []
    for name, is_beyond in (("range_low", np.less), ("range_high", np.greater)):
        known = observed[name].drop_nulls().unique() if name in observed.columns else pl.Series([])
        end = float(known[0]) if known.len() == 1 else None
        if end is not None and is_beyond(scores, end).any():
            notes.append(f"imputed values are not cut at {end:g}, which observed ones exceed")
            end = None
        ends.append(end)
    return ends[0], ends[1], notes


def _indicators(arm: pl.Series, population: Population) -> FloatArray | None:
    if not population.compared:
        return None
    return np.column_stack([(arm == one).to_numpy().astype(np.float64) for one in population.compared])


@dataclass(frozen=True, slots=True)
class TippingPoint:
    """The delta at which the result is significant no longer, and at which the estimate is zero."""

    arm: str
    is_significant: bool
    delta_significance: float | None
    delta_zero: float | None
    searched_up_to: float


@dataclass(frozen=True, slots=True)
class Deltas:
    """The pooled effect as a function of how much worse the missing values are than imputed.

    `rows` are the participants of `completed` in the order of `prepared`, whose design serves every delta.
    """

    completed: Completed
    setting: Setting
    worse: float
    prepared: Repeated
    rows: NDArray[np.int64]

    def pooled(self, delta: float) -> dict[str, Pooled]:
        """Shift the imputed values (of the treated, where arms are compared) and pool."""
        made = self.completed.imputation
        is_moved = _moved(self.completed, self.setting)[:, np.newaxis]
        moved = self.completed.values + self.worse * delta * is_moved
        if made.low is not None or made.high is not None:
            moved = np.where(is_moved > 0, np.clip(moved, made.low, made.high), moved)
        return self.prepared.pooled(_outcomes(moved, self.completed, self.setting)[self.rows])

    def effects(self, delta: float) -> list[Effect]:
        population = self.setting.population
        how = model_method(self.setting) if population.compared else "mean change, t test"
        at = f", imputed values {delta:g} worse" if delta else ""
        return [
            Effect(
                context="ancova" if population.compared else "paired_t",
                arm=arm,
                reference=population.reference,
                estimate=pooled.estimate,
                standard_error=pooled.standard_error,
                df=pooled.df,
                statistic=pooled.t,
                p_value=pooled.p_value,
                interval=pooled.interval,
                n=self.rows.size,
                method=f"{how}; {self.completed.method}{at}",
                warning=self.completed.warning,
            )
            for arm, pooled in self.pooled(delta).items()
        ]

    def _p_above(self, delta: float, *, arm: str, alpha: float) -> float:
        return self.pooled(delta)[arm].p_value - alpha

    def _estimate(self, delta: float, *, arm: str) -> float:
        return self.pooled(delta)[arm].estimate

    def tipping_points(self, alpha: float) -> list[TippingPoint]:
        """Find, arm by arm, the smallest deltas at which p reaches alpha and the estimate reaches zero."""
        made = self.completed.imputation
        if made.low is not None and made.high is not None:
            farthest = made.high - made.low
        else:
            farthest = _FAR * float(np.std(self.completed.values, ddof=1))
        deltas = np.linspace(0, farthest, _SEARCHED + 1)
        course = [self.pooled(float(delta)) for delta in deltas]
        points = []
        for arm, start in course[0].items():
            beyond = partial(self._p_above, arm=arm, alpha=alpha)
            estimated = partial(self._estimate, arm=arm)
            p_values = np.array([pooled[arm].p_value - alpha for pooled in course])
            estimates = np.array([pooled[arm].estimate for pooled in course])
            is_significant = start.p_value <= alpha
            points.append(
                TippingPoint(
                    arm=arm,
                    is_significant=is_significant,
                    delta_significance=_crossing(deltas, p_values, beyond) if is_significant else None,
                    delta_zero=_crossing(deltas, estimates, estimated),
                    searched_up_to=farthest,
                )
            )
        return points


def deltas_of(completed: Completed, setting: Setting, *, better: str) -> Deltas:
    """Work out the design of the completed copies once; without a percent change nobody is in it."""
    base = completed.records["base"].to_numpy()
    is_defined = base != 0 if setting.variable == "pchg" else np.ones(base.size, dtype=np.bool_)
    outcomes = _outcomes(completed.values, completed, setting)
    prepared = repeated(completed.records.filter(pl.Series(is_defined)), outcomes[is_defined], setting)
    place = {subject: i for i, subject in enumerate(completed.records["usubjid"])}
    rows = np.array([place[subject] for subject in prepared.order], dtype=np.int64)
    return Deltas(completed, setting, 1.0 if better == "lower" else -1.0, prepared, rows)


def _moved(completed: Completed, setting: Setting) -> FloatArray:
    if setting.is_paired:
        return completed.is_imputed
    is_treated = (completed.records["arm"] != setting.population.reference).to_numpy()
    return np.asarray(completed.is_imputed * is_treated, dtype=np.float64)


def _outcomes(values: FloatArray, completed: Completed, setting: Setting) -> FloatArray:
    if setting.variable == "aval":
        return values
    base = completed.records["base"].to_numpy().astype(np.float64)[:, np.newaxis]
    change = values - base
    if setting.variable == "chg":
        return change
    # Those with a baseline of zero have no percent change and are not among the rows analysed.
    return 100 * change / np.where(base == 0, np.nan, base)


def _crossing(deltas: FloatArray, values: FloatArray, function: Callable[[float], float]) -> float | None:
    """Return where the function first changes its sign, if it does."""
    changes = np.flatnonzero(np.signbit(values[:-1]) != np.signbit(values[1:]))
    if not changes.size:
        return None
    first = int(changes[0])
    return float(optimize.brentq(function, deltas[first], deltas[first + 1], xtol=1e-9))
