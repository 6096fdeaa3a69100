"""The effect that a sensitivity analysis repeats: a paired change, or a difference between arms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl
from scipy import stats

from tasks.clinical.scores import analysed, left_out
from tasks.stats.hodges_lehmann import hodges_lehmann
from tasks.stats.linear_model import LinearModel, fit_linear_model
from tasks.stats.location import paired_t
from tasks.stats.pooling import pool_rubin
from tasks.stats.signed_rank import signed_rank_exact
from tasks.stats.types import Interval, positive_p

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tasks.clinical.population import Population
    from tasks.clinical.scores import Analysed
    from tasks.stats.linear_model import Coefficient
    from tasks.stats.pooling import Pooled
    from tasks.stats.types import FloatArray


# What rounding leaves of one minus a leverage of one.
_LEVERAGE_ROUNDING = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One estimate with its interval and p-value, all None where `error` says why there is none."""

    context: str
    arm: str
    reference: str | None
    estimate: float | None = None
    standard_error: float | None = None
    df: float | None = None
    statistic: float | None = None
    p_value: float | None = None
    interval: Interval | None = None
    n: int = 0
    method: str = ""
    warning: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """What stays the same in all scenarios."""

    population: Population
    variable: str
    covariates: tuple[str, ...]
    level: float

    @property
    def is_paired(self) -> bool:
        return len(self.population.arms) == 1


Shares: TypeAlias = dict[str, tuple["FloatArray", "FloatArray"]]


def effects(records: pl.DataFrame, setting: Setting) -> list[Effect]:
    """Estimate the effect from one record per participant, whatever way it was completed."""
    if setting.is_paired:
        return _paired(records, setting)
    return _between(records, setting)


def _paired(records: pl.DataFrame, setting: Setting) -> list[Effect]:
    known = records.drop_nulls([setting.variable])
    change = known[setting.variable].to_numpy().astype(np.float64)
    arm = setting.population.arms[0]
    missing = left_out(setting.population.subjects, known["usubjid"].to_list(), setting.variable)

    def t_effect() -> Effect:
        test = paired_t(change, level=setting.level)
        return Effect(
            context="paired_t", arm=arm, reference=None, estimate=test.estimate,
            standard_error=test.standard_error, df=test.df, statistic=test.statistic, p_value=test.p_value,
            interval=test.interval, n=change.size, method=f"{test.method}, two-sided; mean change",
            warning=missing,
        )  # fmt: skip

    def rank_effect() -> Effect:
        test = signed_rank_exact(change)
        location = hodges_lehmann(change, level=setting.level)
        return Effect(
            context="signed_rank_exact", arm=arm, reference=None, estimate=location.estimate,
            statistic=test.statistic, p_value=test.p_value, interval=location.interval, n=change.size,
            method=f"{test.method}, two-sided, zeros dropped, midranks; Hodges-Lehmann estimate,"
            f" {location.interval.method}",
            warning=missing,
        )  # fmt: skip

    return [
        _or_error("paired_t", arm, None, t_effect),
        _or_error("signed_rank_exact", arm, None, rank_effect),
    ]


def _or_error(context: str, arm: str, reference: str | None, compute: Callable[[], Effect]) -> Effect:
    try:
        return compute()
    except ValueError as error:
        return Effect(context=context, arm=arm, reference=reference, error=f"not estimable: {error}")


def _between(records: pl.DataFrame, setting: Setting) -> list[Effect]:
    cases = analysed(records, setting.population, setting.variable, setting.covariates)
    try:
        model = fit_model(cases, setting)
    except ValueError as error:
        return missing_effects(setting, f"not estimable: {error}")
    coefficients = {coefficient.name: coefficient for coefficient in model.coefficients}
    return [
        _difference(arm, coefficients.get(f"arm[{arm}]"), model, cases, setting)
        for arm in setting.population.compared
    ]


def missing_effects(setting: Setting, error: str) -> list[Effect]:
    """Return the effects that a scenario cannot give, with the reason."""
    population = setting.population
    if setting.is_paired:
        return [
            Effect(context=context, arm=population.arms[0], reference=None, error=error)
            for context in ("paired_t", "signed_rank_exact")
        ]
    return [
        Effect(context="ancova", arm=arm, reference=population.reference, error=error)
        for arm in population.compared
    ]


def fit_model(cases: Analysed, setting: Setting) -> LinearModel:
    """Fit arm, reference first, and covariates; without interactions a coefficient is a difference."""
    population = setting.population
    return fit_linear_model(
        cases.outcome,
        factors={"arm": cases.frame["arm"].to_list(), **cases.factor_values()},
        covariates=cases.number_values(),
        levels={"arm": [population.reference or population.arms[0], *population.compared]},
        level=setting.level,
    )


def model_method(setting: Setting) -> str:
    terms = " + ".join(["arm", *(name.upper() for name in setting.covariates)])
    return f"Analysis of covariance, {terms}; difference of least-squares means, t test"


def _difference(
    arm: str, coefficient: Coefficient | None, model: LinearModel, cases: Analysed, setting: Setting
) -> Effect:
    reference = setting.population.reference
    if coefficient is None:
        return Effect(
            context="ancova", arm=arm, reference=reference, error="not estimable: nobody of this arm is left"
        )
    return Effect(
        context="ancova", arm=arm, reference=reference, estimate=coefficient.estimate,
        standard_error=coefficient.standard_error, df=coefficient.df, statistic=coefficient.t,
        p_value=coefficient.p_value, interval=coefficient.interval, n=model.n, method=model_method(setting),
        warning=cases.warning,
    )  # fmt: skip


def leave_one_out(records: pl.DataFrame, setting: Setting) -> Iterator[tuple[str, list[Effect]]]:
    """Yield the effects without each participant in turn; a model is updated, not fitted again."""
    if setting.is_paired:
        for subject in records["usubjid"]:
            found = _paired(records.filter(pl.col("usubjid") != subject), setting)
            yield subject, [replace(effect, warning=None) for effect in found]
        return
    cases = analysed(records, setting.population, setting.variable, setting.covariates)
    try:
        model = fit_model(cases, setting)
    except ValueError as error:
        for subject in cases.frame["usubjid"]:
            yield subject, missing_effects(setting, f"not estimable: {error}")
        return
    for place, subject in enumerate(cases.frame["usubjid"]):
        yield subject, _without(place, model, cases, setting)


def _without(place: int, model: LinearModel, cases: Analysed, setting: Setting) -> list[Effect]:
    """Update coefficients and residual variance for one row less (Sherman and Morrison's formula).

    A row of leverage one is the only one of its level: without it goes that level's coefficient, and nothing
    else changes.
    """
    columns = model.design.matrix()[:, model.kept]
    unscaled, row = model.unscaled_covariance, columns[place]
    pulled = unscaled @ row
    rest = 1 - float(row @ pulled)
    residuals = cases.outcome - columns @ model.beta
    residual_ss = float(np.square(residuals).sum())
    beta, df = model.beta, model.residual_df
    if rest > _LEVERAGE_ROUNDING:
        beta = beta - pulled * residuals[place] / rest
        unscaled = unscaled + np.outer(pulled, pulled) / rest
        residual_ss -= float(residuals[place]) ** 2 / rest
        df -= 1
    places = {coefficient.name: i for i, coefficient in enumerate(model.coefficients)}
    own = cases.frame["arm"][place]
    is_last = cases.frame.filter(pl.col("arm") == own).height == 1
    found = []
    for arm in setting.population.compared:
        column = places.get(f"arm[{arm}]")
        is_lost = is_last and own in (arm, setting.population.reference)
        if column is None or is_lost or df < 1 or residual_ss <= 0:
            found.append(
                Effect(
                    context="ancova",
                    arm=arm,
                    reference=setting.population.reference,
                    error="not estimable without this participant",
                )
            )
            continue
        error = float(np.sqrt(residual_ss / df * unscaled[column, column]))
        found.append(_tested(arm, float(beta[column]), error, df=df, n=model.n - 1, setting=setting))
    return found


def _tested(arm: str, estimate: float, error: float, *, df: int, n: int, setting: Setting) -> Effect:
    half_width = float(stats.t.isf((1 - setting.level) / 2, df)) * error
    return Effect(
        context="ancova",
        arm=arm,
        reference=setting.population.reference,
        estimate=estimate,
        standard_error=error,
        df=df,
        statistic=estimate / error,
        p_value=positive_p(2 * float(stats.t.sf(abs(estimate / error), df))),
        interval=Interval(
            low=estimate - half_width,
            high=estimate + half_width,
            level=setting.level,
            achieved_level=None,
            method="Student t",
        ),
        n=n,
        method=model_method(setting),
    )


@dataclass(frozen=True, slots=True)
class Repeated:
    """The same participants with many outcomes: all effects at once, the design worked out once."""

    setting: Setting
    model: LinearModel | None
    order: Sequence[str]

    def pooled(self, outcomes: FloatArray) -> dict[str, Pooled]:
        """Pool the effects of (participants, copies) outcomes by Rubin's rules, by arm."""
        shares = self._paired(outcomes) if self.model is None else self._between(self.model, outcomes)
        complete_df = outcomes.shape[0] - 1 if self.model is None else self.model.residual_df
        return {
            arm: pool_rubin(estimates, variances, complete_df=complete_df, level=self.setting.level)
            for arm, (estimates, variances) in shares.items()
        }

    def _paired(self, outcomes: FloatArray) -> Shares:
        n = outcomes.shape[0]
        return {self.setting.population.arms[0]: (outcomes.mean(axis=0), outcomes.var(axis=0, ddof=1) / n)}

    def _between(self, model: LinearModel, outcomes: FloatArray) -> Shares:
        columns = model.design.matrix()[:, model.kept]
        beta = model.unscaled_covariance @ (columns.T @ outcomes)
        variance = np.square(outcomes - columns @ beta).sum(axis=0) / model.residual_df
        places = {coefficient.name: i for i, coefficient in enumerate(model.coefficients)}
        return {
            arm: (beta[place], variance * model.unscaled_covariance[place, place])
            for arm in self.setting.population.compared
            if (place := places.get(f"arm[{arm}]")) is not None
        }


def repeated(records: pl.DataFrame, outcomes: FloatArray, setting: Setting) -> Repeated:
    """Prepare for outcomes of these participants, in the order of `order`."""
    if setting.is_paired:
        return Repeated(setting, None, records["usubjid"].to_list())
    first = records.with_columns(pl.Series("first_outcome", outcomes[:, 0]))
    cases = analysed(first, setting.population, "first_outcome", setting.covariates)
    return Repeated(setting, fit_model(cases, setting), cases.frame["usubjid"].to_list())
