"""Whether the result of the primary endpoint depends on how it was analysed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator
from threadpoolctl import threadpool_limits

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import statistics, table
from tasks.clinical.population import Population, population_of
from tasks.clinical.scores import (
    baselines,
    interval_values,
    join_warnings,
    records_at_visit,
    score_address,
)
from tasks.clinical.sensitivity_effects import Effect, Setting, effects, leave_one_out, missing_effects
from tasks.clinical.sensitivity_imputation import Deltas, TippingPoint, complete, deltas_of
from tasks.clinical.sensitivity_scenarios import Scenario, log_ratio, scenarios
from tasks.stats.contingency import fisher_exact
from tasks.stats.linear_model import fit_linear_model
from tasks.stats.proportion import clopper_pearson, miettinen_nurminen_difference
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tasks.clinical.ard import Address

LABELS = {
    "ratio": "Ratio of geometric means to baseline",
    "N_imputed": "Participants imputed",
    "delta_significance": "Delta at which the result is significant no longer",
    "delta_zero": "Delta at which the estimate is zero",
    "estimate.min": "Smallest estimate",
    "estimate.max": "Largest estimate",
    "p.value.min": "Smallest p-value",
    "p.value.max": "Largest p-value",
    "n_significant": "Analyses with p at most alpha",
    "n_analyses": "Analyses",
}


class PrimaryEndpointSensitivityParameters(Parameters):
    """What is common to all scenarios, and how far the assumptions are stretched.

    `deltas` are score points by which imputed values are worse than imputed, in the direction that `better`
    calls worse. `rescue` is the ADSL flag of those who took rescue medication.
    """

    estimands: tuple[Estimand, ...] = Field(min_length=1)
    better: Literal["lower", "higher"]
    covariates: tuple[str, ...] = ("base",)
    responder_improvement_pct: float = Field(default=50, gt=0, le=100)
    rescue: str = "rescuefl"
    deltas: tuple[Annotated[float, Field(ge=0)], ...] = tuple(float(delta) for delta in range(11))
    n_imputations: int = Field(default=50, ge=10)
    seed: int = Field(default=20261123, ge=0)
    named_up_to: int = Field(default=50, ge=0, description="participants for a row of each left out")
    confidence_level: float = Field(default=0.95, gt=0, lt=1)

    @model_validator(mode="after")
    def _can_be_completed(self) -> Self:
        for estimand in self.estimands:
            if estimand.imputation == "NRI":
                raise ValueError(f"estimands: {estimand.id}: NRI has no values; responders analyses it")
        if len(set(self.deltas)) < len(self.deltas):
            raise ValueError("deltas: each at most once")
        return self


def primary_endpoint_sensitivity(
    adsl: pl.DataFrame, adqs: pl.DataFrame, *, parameters: PrimaryEndpointSensitivityParameters
) -> pl.DataFrame:
    """Repeat the primary analysis under every assumption that a reader could reasonably doubt.

    Each scenario gives the same statistics, so that they stand in one forest plot; none of them decides, and
    none is adjusted for their number. LOCF and BOCF are asked for and shown, not believed: they treat what
    was not seen as known. Multiple imputation carries its uncertainty, and the tipping point says how much
    worse the unseen must have been to overturn the result, which is a question for a clinician.
    """
    rows: list[dict[str, Any]] = []
    # Many small fits: threads would cost more than they bring, and make the last digit the machine's.
    with threadpool_limits(limits=1, user_api="blas"):
        for estimand in parameters.estimands:
            rows += _estimand_rows(population_of(adsl, estimand), adqs, parameters)
    return table("primary_endpoint_sensitivity", rows)


ANALYSIS = Analysis(
    name="primary_endpoint_sensitivity",
    function=primary_endpoint_sensitivity,
    reads=("adam.adsl", "adam.adqs"),
    parameters=PrimaryEndpointSensitivityParameters,
)


def _estimand_rows(
    population: Population, adqs: pl.DataFrame, parameters: PrimaryEndpointSensitivityParameters
) -> Iterator[dict[str, Any]]:
    estimand = population.estimand
    records = records_at_visit(adqs, population)
    if len(population.arms) == 1 and estimand.variable == "aval":
        raise AnalysisError(f"estimand {estimand.id}: variable aval: within one arm it must be chg or pchg")
    has_baseline = records["base"].null_count() < records.height
    covariates = tuple(name for name in parameters.covariates if name != "base" or has_baseline)
    level = parameters.confidence_level
    setting = Setting(population, estimand.variable, () if len(population.arms) == 1 else covariates, level)
    address = score_address(population, None, estimand.variable, records)
    yield from population.rows()
    by_id = {scenario.id: scenario for scenario in scenarios(adqs, population, parameters.rescue)}
    own = by_id["primary"]
    for scenario in by_id.values():
        yield from _scenario_rows(scenario, setting, address)
    yield from _log_ratio_rows(log_ratio(_frame(own), population), setting, address)
    yield from _model_rows(own, setting, address)
    yield from _responder_rows(adqs, by_id["complete_cases"], setting, address, parameters)
    yield from _imputed_rows(adqs, setting, address, parameters)
    yield from _leave_one_out_rows(own, setting, address, parameters)


def _frame(scenario: Scenario) -> pl.DataFrame:
    if scenario.records is None:
        raise AnalysisError(f"{scenario.id}: {scenario.error}")
    return scenario.records


def _effect_rows(
    found: Sequence[Effect], address: Address, *, rule: str | None = None, warning: str | None = None
) -> Iterator[dict[str, Any]]:
    for effect in found:
        here = address.at(group1_level=effect.arm, group1_reference=effect.reference)
        if effect.error is not None:
            failed = dict.fromkeys(("estimate", "conf.low", "conf.high", "p.value"))
            yield from statistics(here, effect.context, failed, method=rule, error=effect.error)
            continue
        values: dict[str, float | None] = {"N_obs": effect.n, "estimate": effect.estimate}
        if effect.standard_error is not None:
            values["std.error"] = effect.standard_error
        values |= interval_values(effect.interval)
        values["statistic"] = effect.statistic
        if effect.df is not None and np.isfinite(effect.df):
            values["df"] = effect.df
        values["p.value"] = effect.p_value
        if address.variable == "LOGRATIO" and effect.estimate is not None:
            values["ratio"] = float(np.exp(effect.estimate))
        yield from statistics(
            here,
            effect.context,
            values,
            labels=LABELS,
            method="; ".join(part for part in (effect.method, rule) if part),
            warning=join_warnings(effect.warning, warning),
        )


def _scenario_rows(scenario: Scenario, setting: Setting, address: Address) -> Iterator[dict[str, Any]]:
    if scenario.records is None:
        found = missing_effects(setting, scenario.error or "")
    else:
        found = effects(scenario.records, _narrowed(setting, scenario.subjects))
    here = address.at(variable_level=scenario.id, variable_label=scenario.label)
    yield from _effect_rows(found, here, rule=scenario.rule, warning=scenario.warning)


def _narrowed(setting: Setting, subjects: pl.DataFrame | None) -> Setting:
    """Count as left out only those who belong to the scenario."""
    if subjects is None:
        return setting
    population = setting.population
    return replace(setting, population=Population(population.estimand, subjects, population.arms))


def _log_ratio_rows(scenario: Scenario, setting: Setting, address: Address) -> Iterator[dict[str, Any]]:
    covariates = tuple("logbase" if name == "base" else name for name in setting.covariates)
    on_log = Setting(setting.population, "logratio", covariates, setting.level)
    yield from _scenario_rows(scenario, on_log, address.at(variable="LOGRATIO", unit="log ratio"))


def _model_rows(own: Scenario, setting: Setting, address: Address) -> Iterator[dict[str, Any]]:
    """Adjust the single arm's change for baseline, or take the arms' adjustment away."""
    if not setting.is_paired:
        bare = Setting(setting.population, setting.variable, (), setting.level)
        scenario = Scenario(id="unadjusted", label="Without covariates", rule="arm only", records=own.records)
        yield from _scenario_rows(scenario, bare, address)
        return
    here = address.at(variable_level="ancova", variable_label="Change at the mean baseline")
    arm = setting.population.arms[0]
    pairs = _frame(own).drop_nulls(["base", setting.variable])
    base = pairs["base"].to_numpy().astype(np.float64)
    try:
        model = fit_linear_model(
            pairs[setting.variable].to_numpy(), covariates={"base": base - base.mean()}, level=setting.level
        )
        intercept = model.coefficients[0]
        found = Effect(
            context="ancova", arm=arm, reference=None, estimate=intercept.estimate,
            standard_error=intercept.standard_error, df=intercept.df, statistic=intercept.t,
            p_value=intercept.p_value, interval=intercept.interval, n=model.n,
            method="Change regressed on centred baseline: its mean at the mean baseline, t test",
        )  # fmt: skip
    except ValueError as error:
        found = Effect(context="ancova", arm=arm, reference=None, error=f"not estimable: {error}")
    yield from _effect_rows([found], here, rule=own.rule)


def _responder_rows(
    adqs: pl.DataFrame,
    observed: Scenario,
    setting: Setting,
    address: Address,
    parameters: PrimaryEndpointSensitivityParameters,
) -> Iterator[dict[str, Any]]:
    """Count a participant as a responder or not, and who has no value as not."""
    population = setting.population
    limit = parameters.responder_improvement_pct
    here = address.at(
        variable="CRITFL",
        variable_level="nri_responders",
        variable_label=f"Improved by {limit:g} % or more, missing is no response (NRI)",
        unit="proportion",
    )
    rule = f"improvement of {limit:g} % or more, no value counts as no response (NRI)"
    if baselines(adqs, population).is_empty():
        for column in population.compared or population.arms:
            yield from statistics(
                here.at(group1_level=column, group1_reference=population.reference),
                "responders",
                {"estimate": None},
                method=rule,
                error="the score has no baseline: no percent change is defined",
            )
        return
    sign = -1 if parameters.better == "lower" else 1
    responding = _frame(observed).filter((sign * pl.col("pchg")).round(9) >= limit)
    counts = {
        arm: (responding.filter(pl.col("arm") == arm).height, population.n(arm)) for arm in population.arms
    }
    level = setting.level
    if population.reference is None:
        x, n = counts[population.arms[0]]
        interval = clopper_pearson(x, n, level=level)
        values = {"N_obs": n, "estimate": x / n, **interval_values(interval)}
        yield from statistics(
            here.at(group1_level=population.arms[0]), "responders", values,
            method=f"{interval.method} interval; {rule}",
        )  # fmt: skip
        return
    reference_x, reference_n = counts[population.reference]
    for arm in population.compared:
        x, n = counts[arm]
        found = miettinen_nurminen_difference(x, n, reference_x, reference_n, level=level)
        values = {"N_obs": n + reference_n, "estimate": found.estimate, **interval_values(found.interval)}
        try:
            values["p.value"] = fisher_exact([[x, n - x], [reference_x, reference_n - reference_x]]).p_value
        except ValueError:
            values["p.value"] = 1.0
        yield from statistics(
            here.at(group1_level=arm, group1_reference=population.reference),
            "responders",
            values,
            method=f"difference of proportions, Miettinen-Nurminen interval, Fisher's exact test; {rule}",
        )


def _imputed_rows(
    adqs: pl.DataFrame, setting: Setting, address: Address, parameters: PrimaryEndpointSensitivityParameters
) -> Iterator[dict[str, Any]]:
    here = address.at(variable_level="multiple_imputation", variable_label="Multiple imputation")
    try:
        completed = complete(
            adqs, setting.population, n_imputations=parameters.n_imputations, seed=parameters.seed
        )
        deltas = deltas_of(completed, setting, better=parameters.better)
        yield from _effect_rows(deltas.effects(0.0), here)
    except ValueError as error:
        context = "paired_t" if setting.is_paired else "ancova"
        failed = [
            effect
            for effect in missing_effects(setting, f"not estimable: {error}")
            if effect.context == context
        ]
        yield from _effect_rows(failed, here, rule="multiple imputation")
        return
    yield from _tipping_rows(deltas, setting, address, parameters)


def _tipping_rows(
    deltas: Deltas, setting: Setting, address: Address, parameters: PrimaryEndpointSensitivityParameters
) -> Iterator[dict[str, Any]]:
    n_imputed = deltas.completed.n_imputed
    for delta in parameters.deltas if n_imputed else ():
        here = address.at(
            variable_level=f"delta={delta:g}", variable_label=f"Imputed values {delta:g} points worse"
        )
        yield from _effect_rows(deltas.effects(delta), here)
    alpha = 1 - parameters.confidence_level
    here = address.at(
        variable_level="tipping_point", variable_label="Tipping point", unit=_unit(deltas, address)
    )
    context = "paired_t" if setting.is_paired else "ancova"
    points = deltas.tipping_points(alpha) if n_imputed else []
    for point in points:
        values = {
            "N_imputed": n_imputed,
            "delta_significance": point.delta_significance,
            "delta_zero": point.delta_zero,
        }
        yield from statistics(
            here.at(group1_level=point.arm, group1_reference=setting.population.reference),
            context,
            values,
            labels=LABELS,
            method=f"{deltas.completed.method}; root of p - {alpha:.3g} and of the estimate in delta",
            warning=_about(point, alpha),
        )
    for arm in () if n_imputed else setting.population.compared or setting.population.arms:
        yield from statistics(
            here.at(group1_level=arm, group1_reference=setting.population.reference),
            context,
            {"N_imputed": 0, "delta_significance": None, "delta_zero": None},
            labels=LABELS,
            method="delta-adjusted multiple imputation",
            warning="nobody lacks the value: no delta changes the result",
        )


def _unit(deltas: Deltas, address: Address) -> str | None:
    return "points" if deltas.setting.variable == "pchg" else address.unit


def _about(point: TippingPoint, alpha: float) -> str | None:
    reasons = []
    if not point.is_significant:
        reasons.append(f"not significant at {alpha:.3g} without any delta")
    elif point.delta_significance is None:
        reasons.append(f"significant at every delta up to {point.searched_up_to:g}")
    if point.delta_zero is None:
        reasons.append(f"the estimate keeps its sign at every delta up to {point.searched_up_to:g}")
    return "; ".join(reasons) or None


def _leave_one_out_rows(
    own: Scenario, setting: Setting, address: Address, parameters: PrimaryEndpointSensitivityParameters
) -> Iterator[dict[str, Any]]:
    """Leave out each participant in turn: the rows of each where they are few, and the range of all."""
    records = _frame(own).drop_nulls([setting.variable])
    gathered: dict[tuple[str, str, str | None], list[tuple[str, Effect]]] = {}
    for subject, found in leave_one_out(records, setting):
        if records.height <= parameters.named_up_to:
            here = address.at(variable_level=f"without {subject}", variable_label=f"Without {subject}")
            yield from _effect_rows(found, here, rule=own.rule)
        for effect in found:
            key = (effect.context, effect.arm, effect.reference)
            gathered.setdefault(key, []).append((subject, effect))
    here = address.at(variable_level="leave_one_out", variable_label="Leaving out each participant in turn")
    for (context, arm, reference), each in gathered.items():
        yield from _range_rows(
            each, here.at(group1_level=arm, group1_reference=reference), context, 1 - setting.level
        )


def _range_rows(
    each: list[tuple[str, Effect]], address: Address, context: str, alpha: float
) -> Iterator[dict[str, Any]]:
    known = [
        (subject, effect.estimate, effect.p_value)
        for subject, effect in each
        if effect.estimate is not None and effect.p_value is not None
    ]
    failed = len(each) - len(known)
    values: dict[str, float | None] = {"n_analyses": len(each)}
    if not known:
        yield from statistics(
            address, context, values | {"estimate.min": None}, labels=LABELS, error="no analysis is estimable"
        )
        return
    estimates = [estimate for _, estimate, _ in known]
    p_values = [p_value for _, _, p_value in known]
    values |= {
        "estimate.min": min(estimates),
        "estimate.max": max(estimates),
        "p.value.min": min(p_values),
        "p.value.max": max(p_values),
        "n_significant": sum(p_value <= alpha for p_value in p_values),
    }
    lowest, highest = known[int(np.argmin(estimates))][0], known[int(np.argmax(estimates))][0]
    yield from statistics(
        address,
        context,
        values,
        labels=LABELS,
        method=f"range over all; smallest estimate without {lowest}, largest without {highest}",
        warning=f"{failed} of {len(each)} analyses not estimable" if failed else None,
    )
