"""The change of a score from baseline to one visit, within the participants of one treatment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from tasks.analysis import Analysis, Parameters
from tasks.clinical.population import population_of
from tasks.stats.bootstrap import bca_bootstrap, ratio_of_means_change_pct
from tasks.stats.effect_size import cohen_d_z, hedges_g, minimum_detectable_d_z, rank_biserial
from tasks.stats.hodges_lehmann import hodges_lehmann
from tasks.stats.location import paired_t, sign_flip, sign_test
from tasks.stats.signed_rank import signed_rank_asymptotic, signed_rank_exact
from tasks.stats.types import (
    EffectSize,
    FloatArray,
    Interval,
    PairedT,
    PairedTest,
    SignFlip,
    SignTest,
    is_zero,
)
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Variable = Literal["chg", "pchg"]
Test = Literal[
    "signed_rank_exact",
    "signed_rank_asymptotic",
    "signed_rank_asymptotic_corrected",
    "paired_t",
    "sign_test",
    "sign_flip",
]

SCHEMA: dict[str, type[pl.DataType]] = {
    "estimand": pl.String,
    "population": pl.String,
    "arm": pl.String,
    "paramcd": pl.String,
    "param": pl.String,
    "avisit": pl.String,
    "variable": pl.String,
    "unit": pl.String,
    "statistic": pl.String,
    "statistic_label": pl.String,
    "kind": pl.String,
    "n": pl.Int64,
    "n_zero": pl.Int64,
    "estimate": pl.Float64,
    "standard_error": pl.Float64,
    "ci_level": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "test_statistic": pl.Float64,
    "df": pl.Float64,
    "p_value": pl.Float64,
    "method": pl.String,
    "alternative": pl.String,
    "is_exact": pl.Boolean,
    "has_continuity_correction": pl.Boolean,
    "zero_rule": pl.String,
    "tie_rule": pl.String,
    "n_resamples": pl.Int64,
    "seed": pl.Int64,
    "is_primary": pl.Boolean,
    "better": pl.String,
    "warning": pl.String,
}

LABELS = {
    "mean": "Mean",
    "sd": "Standard deviation",
    "median": "Median",
    "q1": "First quartile",
    "q3": "Third quartile",
    "min": "Minimum",
    "max": "Maximum",
    "n_improved": "Participants improved",
    "smallest_attainable_p": "Smallest p-value an exact signed-rank test can reach",
    "minimum_detectable_d_z": "Smallest d_z found with 80 % power by a paired t-test",
    "mean_t_interval": "Mean with t interval",
    "mean_bca": "Mean with BCa bootstrap interval",
    "percentage_of_means": "Percentage of means",
    "hodges_lehmann": "Hodges-Lehmann estimate",
    "cohen_d_z": "Cohen d_z",
    "hedges_g": "Hedges g",
    "rank_biserial": "Matched-pairs rank-biserial correlation",
    "signed_rank_exact": "Wilcoxon signed-rank test, exact",
    "signed_rank_asymptotic": "Wilcoxon signed-rank test, asymptotic",
    "signed_rank_asymptotic_corrected": "Wilcoxon signed-rank test, asymptotic, continuity-corrected",
    "paired_t": "Paired t-test",
    "sign_test": "Sign test",
    "sign_flip": "Sign-flip permutation test",
}

POWER = 0.8
# Below this the normal approximation and the BCa interval are noticeably off.
SMALL_N = 20
_NAMED = 10


class PrimaryTest(Parameters):
    """The one test that decides.

    The raw change is the default: percent change depends on the baseline twice and is the weakest thing to
    test (Vickers 2001, BMC Med Res Methodol 1:6). The exact test is the default since n is small.
    """

    variable: Variable = "chg"
    test: Test = "signed_rank_exact"


class PrimaryEndpointParameters(Parameters):
    """Which score, at which visit, tested how; everything else is reported beside it.

    What an estimand states (score, visit, population, its only arm, the variable tested) need not be said
    again, and cannot be said otherwise.
    """

    estimand: Estimand | None = None
    score: str = Field(min_length=1, description="PARAMCD of the score")
    visit: str = Field(min_length=1, description="AVISIT compared with baseline")
    better: Literal["lower", "higher"] = Field(description="which direction is improvement")
    arm: str | None = Field(default=None, description="TRT01A; needed where there are several")
    population: str = "fasfl"
    variables: tuple[Variable, ...] = Field(default=("chg", "pchg"), min_length=1)
    primary: PrimaryTest = PrimaryTest()
    alternative: Literal["two-sided", "greater", "less"] = "two-sided"
    zero_rule: Literal["wilcox", "pratt"] = "wilcox"
    confidence_level: float = Field(default=0.95, gt=0, lt=1)
    n_resamples: int = Field(default=10_000, ge=10_000)
    seed: int = Field(default=20261123, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _takes_what_the_estimand_states(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("estimand") is None:
            return values
        estimand = Estimand.model_validate(values["estimand"])
        stated: dict[str, Any] = {
            "score": estimand.score,
            "visit": estimand.visit,
            "population": estimand.population,
            "arm": estimand.arms[0] if len(estimand.arms) == 1 else None,
        }
        for key, value in stated.items():
            if value is not None and values.get(key, value) != value:
                raise ValueError(f"{key}: {values[key]}: the estimand {estimand.id} says {value}")
        test = values.get("primary", {})
        test = test.model_dump() if isinstance(test, PrimaryTest) else dict(test)
        if estimand.variable == "aval" or test.get("variable", estimand.variable) != estimand.variable:
            raise ValueError(
                f"primary.variable: {test.get('variable', 'chg')}: the estimand {estimand.id} is of"
                f" {estimand.variable}; a change within one group is chg or pchg"
            )
        known = {key: value for key, value in stated.items() if value is not None}
        return {**known, **values, "primary": {"variable": estimand.variable, **test}}

    @model_validator(mode="after")
    def _analyses_the_primary_variable(self) -> Self:
        if self.estimand is None and self.population not in {"fasfl", "saffl"}:
            raise ValueError(
                f"population: {self.population}: must be fasfl or saffl; an estimand can name any set"
            )
        if self.estimand is not None and self.estimand.imputation == "NRI":
            raise ValueError(
                f"estimand: {self.estimand.id}: non-responders (NRI) have no change; see the responders"
            )
        if self.primary.variable not in self.variables:
            raise ValueError(
                f"primary.variable: {self.primary.variable}: must be one of variables, "
                f"{', '.join(self.variables)}"
            )
        if len(set(self.variables)) < len(self.variables):
            raise ValueError(f"variables: {', '.join(self.variables)}: each at most once")
        return self


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Baseline and visit of the analysed subjects, and what a reader must know about the others."""

    frame: pl.DataFrame
    arm: str | None
    param: str | None
    unit: str | None
    warnings: tuple[str, ...]


def primary_endpoint(
    adqs: pl.DataFrame, adsl: pl.DataFrame | None = None, *, parameters: PrimaryEndpointParameters
) -> pl.DataFrame:
    """Estimate and test the change of a score from baseline to a visit within one group.

    The comparison is with the same participants before treatment, not with a control group: natural course
    and regression to the mean are part of the change. Observed cases, unless the estimand says otherwise;
    participants without a value at the visit are named. All six tests are reported so that the choice among
    them is visible, and exactly one row is primary; the others carry no claim. Percent change is reported as
    mean of percentages and as percentage of means, since the two differ whenever response goes with baseline.
    """
    pairs = _pairs(adqs, adsl, parameters)
    rows = [
        *_described("BASE", pairs.frame["base"].to_numpy(), pairs.unit),
        *_described("AVAL", pairs.frame["aval"].to_numpy(), pairs.unit),
    ]
    for variable in parameters.variables:
        change = pairs.frame[variable].drop_nulls().to_numpy().astype(np.float64)
        unit = "%" if variable == "pchg" else pairs.unit
        rows += _change_rows(variable, change, unit, parameters)
    rows.append(_percentage_of_means(pairs.frame, parameters))
    return _table(rows, pairs, parameters)


ANALYSIS = Analysis(
    name="primary_endpoint",
    function=primary_endpoint,
    reads=("adam.adqs",),
    uses=("adam.adsl",),
    parameters=PrimaryEndpointParameters,
)


def _pairs(adqs: pl.DataFrame, adsl: pl.DataFrame | None, parameters: PrimaryEndpointParameters) -> _Pairs:
    score = _score_rows(adqs, adsl, parameters)
    treatment = parameters.estimand.treatment if parameters.estimand else "trt01a"
    arm, arm_warnings = _arm(score, treatment, parameters)
    score = score.filter(pl.col(treatment) == arm) if parameters.arm is not None else score
    at_visit = _visit_rows(score, parameters)
    complete = at_visit.filter(pl.col("base").is_not_null() & pl.col("aval").is_not_null())
    has_baseline = score.filter(pl.col("base").is_not_null())["usubjid"].unique()
    without_visit = sorted(set(has_baseline) - set(complete["usubjid"]))
    without_baseline = sorted(set(at_visit.filter(pl.col("base").is_null())["usubjid"]))
    if complete.is_empty():
        raise AnalysisError(
            f"{parameters.score} at {parameters.visit}: no subject of the population "
            f"{parameters.population} has both a baseline and a value at the visit"
        )
    for variable in parameters.variables:
        if complete[variable].null_count() == complete.height:
            raise AnalysisError(
                f"{variable} of {parameters.score} at {parameters.visit}: undefined in all "
                f"{complete.height} subjects: leave it out of `variables`"
            )
    warnings = [*arm_warnings]
    if without_visit:
        warnings.append(
            f"{len(without_visit)} of {has_baseline.len()} with a baseline excluded, no value at "
            f"{parameters.visit}: {_names(without_visit)}"
        )
    if without_baseline:
        warnings.append(f"{len(without_baseline)} excluded, no baseline: {_names(without_baseline)}")
    return _Pairs(
        frame=complete.sort("usubjid"),
        arm=arm,
        param=_only(complete, "param"),
        unit=_only(complete, "unit"),
        warnings=tuple(warnings),
    )


def _score_rows(
    adqs: pl.DataFrame, adsl: pl.DataFrame | None, parameters: PrimaryEndpointParameters
) -> pl.DataFrame:
    score = adqs.filter(pl.col("paramcd") == parameters.score)
    if score.is_empty():
        raise AnalysisError(f"score {parameters.score!r}: adam.adqs has {_values(adqs, 'paramcd')}")
    score = _in_population(score, adsl, parameters)
    if score.is_empty():
        raise AnalysisError(f"population {parameters.population!r}: nobody with {parameters.score} is in it")
    return score


def _in_population(
    score: pl.DataFrame, adsl: pl.DataFrame | None, parameters: PrimaryEndpointParameters
) -> pl.DataFrame:
    """Keep the set's participants: an estimand's by adam.adsl, which knows every set, where there is one."""
    if parameters.estimand is not None and adsl is not None:
        subjects = population_of(adsl, parameters.estimand).subjects
        return score.join(subjects.select("usubjid"), on="usubjid", how="semi")
    needs = parameters.estimand is not None and parameters.estimand.subgroup
    if needs or parameters.population not in score.columns:
        raise AnalysisError(f"population {parameters.population!r}: needs adam.adsl, which is not made")
    return score.filter(pl.col(parameters.population) == "Y")


def _arm(
    score: pl.DataFrame, treatment: str, parameters: PrimaryEndpointParameters
) -> tuple[str | None, list[str]]:
    arms = sorted(score[treatment].drop_nulls().unique())
    if parameters.arm is None:
        if len(arms) > 1:
            raise AnalysisError(f"arm: not named, and there are several: name one of {', '.join(arms)}")
        return (arms[0] if arms else None), []
    if parameters.arm not in arms:
        raise AnalysisError(f"arm {parameters.arm!r}: must be one of {', '.join(arms)}")
    if len(arms) == 1:
        return parameters.arm, []
    return parameters.arm, [
        f"{parameters.arm} only, without comparison with the other {len(arms) - 1} arm(s)"
    ]


def _visit_rows(score: pl.DataFrame, parameters: PrimaryEndpointParameters) -> pl.DataFrame:
    if parameters.visit not in score["avisit"]:
        raise AnalysisError(f"visit {parameters.visit!r}: {parameters.score} has {_values(score, 'avisit')}")
    at_visit = score.filter(pl.col("avisit") == parameters.visit, pl.col("anl01fl") == "Y")
    chosen = at_visit.filter(pl.col("dtype").is_null())
    if parameters.estimand is not None and parameters.estimand.imputation != "observed":
        derived = at_visit.filter(pl.col("dtype") == parameters.estimand.imputation)
        chosen = pl.concat([chosen, derived.join(chosen, on="usubjid", how="anti")])
    repeated = chosen.filter(chosen["usubjid"].is_duplicated())["usubjid"].unique().sort()
    if repeated.len():
        raise AnalysisError(
            f"{parameters.score} at {parameters.visit}: more than one analysis record "
            f"(anl01fl = Y, dtype null) of {_names(repeated.to_list())}: one each is allowed"
        )
    return chosen


def _only(frame: pl.DataFrame, column: str) -> str | None:
    """Return the one value of a descriptive column, or None where it is absent, empty or not one."""
    values = frame[column].drop_nulls().unique().to_list() if column in frame.columns else []
    return str(values[0]) if len(values) == 1 else None


def _values(frame: pl.DataFrame, column: str) -> str:
    return ", ".join(map(str, frame[column].drop_nulls().unique().sort())) or "none"


def _names(subjects: list[str]) -> str:
    more = len(subjects) - _NAMED
    return ", ".join(subjects[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _described(variable: str, values: FloatArray, unit: str | None) -> Iterator[dict[str, Any]]:
    # SAS's definition of quartiles, which clinical tables are compared with.
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75], method="averaged_inverted_cdf")
    by_statistic = {
        "mean": values.mean(),
        "sd": values.std(ddof=1) if values.size > 1 else None,
        "median": median,
        "q1": q1,
        "q3": q3,
        "min": values.min(),
        "max": values.max(),
    }
    for statistic, estimate in by_statistic.items():
        yield {
            "variable": variable,
            "unit": unit,
            "statistic": statistic,
            "kind": "summary",
            "n": values.size,
            "estimate": None if estimate is None else float(estimate),
            "method": "quantile by SAS definition 5" if statistic in {"q1", "median", "q3"} else None,
            "warning": "not defined for one value" if estimate is None else None,
        }


def _change_rows(
    variable: Variable, change: FloatArray, unit: str | None, parameters: PrimaryEndpointParameters
) -> list[dict[str, Any]]:
    rows = [
        *_described(variable.upper(), change, unit),
        *_honesty(change, parameters),
        *_estimates(change, parameters),
        *_tests(change, parameters),
    ]
    n_zero = int(is_zero(change).sum())
    dimensionless = {
        "cohen_d_z",
        "hedges_g",
        "rank_biserial",
        "smallest_attainable_p",
        "minimum_detectable_d_z",
    }
    for row in rows:
        statistic = row["statistic"]
        own_unit = "subjects" if statistic == "n_improved" else unit
        if statistic in dimensionless or row["kind"] == "test":
            own_unit = None
        row |= {"variable": variable.upper(), "unit": own_unit, "n": change.size, "n_zero": n_zero}
        if row["kind"] == "test":
            row["is_primary"] = (variable, statistic) == (
                parameters.primary.variable,
                parameters.primary.test,
            )
    return rows


def _honesty(change: FloatArray, parameters: PrimaryEndpointParameters) -> Iterator[dict[str, Any]]:
    improvement = -change if parameters.better == "lower" else change
    moved = ~is_zero(change)
    yield {
        "statistic": "n_improved",
        "kind": "summary",
        "estimate": float((improvement[moved] > 0).sum()),
        "method": f"change in the better direction, {parameters.better}",
    }
    n_moved = int(moved.sum())
    smallest = min(1.0, (2.0 if parameters.alternative == "two-sided" else 1.0) * 0.5**n_moved)
    alpha = 1 - parameters.confidence_level
    yield {
        "statistic": "smallest_attainable_p",
        "kind": "summary",
        "estimate": max(smallest, float(np.finfo(np.float64).tiny)) if n_moved else None,
        "alternative": parameters.alternative,
        "method": "every difference that is not zero in one direction",
        "zero_rule": parameters.zero_rule,
        "warning": f"no exact test can reach p <= {alpha:.3g}" if smallest > alpha else None,
    }
    yield {
        "statistic": "minimum_detectable_d_z",
        "kind": "summary",
        "estimate": minimum_detectable_d_z(change.size, power=POWER, alpha=alpha)
        if change.size > 1 and alpha < POWER
        else None,
        "alternative": "two-sided",
        "method": f"paired t-test, power {POWER:g}, two-sided level {alpha:.3g}",
    }


def _estimates(change: FloatArray, parameters: PrimaryEndpointParameters) -> Iterator[dict[str, Any]]:
    level = parameters.confidence_level
    by_statistic: dict[str, Callable[[], dict[str, Any]]] = {
        "mean_t_interval": lambda: _mean_row(paired_t(change, level=level)),
        "mean_bca": lambda: _bootstrap_row(change, parameters),
        "hodges_lehmann": lambda: _hodges_lehmann_row(change, level),
        "cohen_d_z": lambda: _effect_row(cohen_d_z(change, level=level)),
        "hedges_g": lambda: _effect_row(hedges_g(change, level=level)),
        "rank_biserial": lambda: _effect_row(rank_biserial(change, zeros=parameters.zero_rule)),
    }
    for statistic, compute in by_statistic.items():
        yield {"statistic": statistic, "kind": "estimate", **_or_warning(compute)}


def _tests(change: FloatArray, parameters: PrimaryEndpointParameters) -> Iterator[dict[str, Any]]:
    zeros, alternative = parameters.zero_rule, parameters.alternative
    level = parameters.confidence_level
    by_statistic: dict[Test, Callable[[], PairedTest]] = {
        "signed_rank_exact": lambda: signed_rank_exact(change, zeros=zeros, alternative=alternative),
        "signed_rank_asymptotic": lambda: signed_rank_asymptotic(
            change, continuity=False, zeros=zeros, alternative=alternative
        ),
        "signed_rank_asymptotic_corrected": lambda: signed_rank_asymptotic(
            change, continuity=True, zeros=zeros, alternative=alternative
        ),
        "paired_t": lambda: paired_t(change, level=level, alternative=alternative),
        "sign_test": lambda: sign_test(change, level=level, alternative=alternative),
        "sign_flip": lambda: sign_flip(
            change, alternative=alternative, n_resamples=parameters.n_resamples, seed=parameters.seed
        ),
    }
    for statistic, compute in by_statistic.items():
        row = {"statistic": statistic, "kind": "test", "alternative": alternative}
        if change.size == 1:
            yield row | {"warning": "not estimable: one participant allows no test"}
            continue
        yield {**row, **_or_warning(lambda compute=compute: _test_row(compute()))}  # type: ignore[misc]


def _or_warning(compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Keep the row of a statistic that this sample does not define, with the reason and no numbers."""
    try:
        return compute()
    except ValueError as error:
        return {"warning": f"not estimable: {error}"}


def _interval(interval: Interval | None) -> dict[str, Any]:
    if interval is None:
        return {}
    return {"ci_level": interval.level, "ci_low": interval.low, "ci_high": interval.high}


def _mean_row(test: PairedT) -> dict[str, Any]:
    return {
        "estimate": test.estimate,
        "standard_error": test.standard_error,
        "df": float(test.df),
        "method": "mean of the differences, Student t interval",
        **_interval(test.interval),
    }


def _bootstrap_row(
    sample: FloatArray,
    parameters: PrimaryEndpointParameters,
    statistic: Callable[[FloatArray], FloatArray] | None = None,
) -> dict[str, Any]:
    options: dict[str, Any] = {} if statistic is None else {"statistic": statistic}
    result = bca_bootstrap(
        sample,
        level=parameters.confidence_level,
        n_resamples=parameters.n_resamples,
        seed=parameters.seed,
        **options,
    )
    small = f"BCa intervals cover less than their level at n = {result.n}"
    return {
        "estimate": result.estimate,
        "standard_error": result.standard_error,
        "method": "BCa bootstrap, subjects resampled",
        "n_resamples": result.n_resamples,
        "seed": result.seed,
        "warning": small if result.n < SMALL_N else None,
        **_interval(result.interval),
    }


def _hodges_lehmann_row(change: FloatArray, level: float) -> dict[str, Any]:
    result = hodges_lehmann(change, level=level)
    achieved = result.interval.achieved_level
    row = {
        "estimate": result.estimate,
        "method": f"median of the Walsh averages; {result.interval.method}",
        "is_exact": achieved is not None,
        "zero_rule": "kept",
        **_interval(result.interval),
    }
    if achieved is not None:
        row["method"] += f", achieved level {achieved:.4f}"
        if achieved < level:
            row |= {"ci_level": achieved, "warning": f"n = {result.n} is too small for the level {level:g}"}
    return row


def _effect_row(effect: EffectSize) -> dict[str, Any]:
    return {"estimate": effect.estimate, "method": effect.method, **_interval(effect.interval)}


def _test_row(test: PairedTest) -> dict[str, Any]:
    row: dict[str, Any] = {
        "test_statistic": test.statistic,
        "p_value": test.p_value,
        "method": test.method,
        "alternative": test.alternative,
        "is_exact": test.is_exact,
        "has_continuity_correction": test.has_continuity_correction,
        "zero_rule": test.zero_rule,
        "tie_rule": test.tie_rule,
    }
    if isinstance(test, PairedT):
        row |= {"estimate": test.estimate, "standard_error": test.standard_error, "df": float(test.df)}
        row |= _interval(test.interval)
    elif isinstance(test, SignTest):
        row |= {"estimate": test.estimate, "method": f"{test.method}; estimate is the share that rose"}
        row |= _interval(test.interval)
    elif isinstance(test, SignFlip):
        row |= {"n_resamples": test.n_resamples, "seed": test.seed}
    elif not test.is_exact and test.n_used < SMALL_N:
        row["warning"] = f"normal approximation with {test.n_used} differences: see the exact test"
    return row


def _percentage_of_means(frame: pl.DataFrame, parameters: PrimaryEndpointParameters) -> dict[str, Any]:
    sample = frame.select("base", "aval").to_numpy().astype(np.float64)
    row: dict[str, Any] = {
        "variable": "PCHG",
        "unit": "%",
        "statistic": "percentage_of_means",
        "kind": "estimate",
        "n": sample.shape[0],
        "n_zero": int(is_zero(sample[:, 1] - sample[:, 0]).sum()),
        "method": "100 * (mean AVAL - mean BASE) / mean BASE",
    }
    estimate = float(ratio_of_means_change_pct(sample[np.newaxis])[0])
    if not np.isfinite(estimate):
        return row | {"warning": "not estimable: the mean baseline is zero"}
    row["estimate"] = estimate
    interval = _or_warning(lambda: _bootstrap_row(sample, parameters, ratio_of_means_change_pct))
    if "method" in interval:
        interval["method"] = f"{row['method']}; {interval['method']}"
    return row | interval


def _table(
    rows: Iterable[dict[str, Any]], pairs: _Pairs, parameters: PrimaryEndpointParameters
) -> pl.DataFrame:
    undefined = pairs.frame.filter(pl.col("pchg").is_null())["usubjid"].to_list()
    about_pchg = (
        [f"percent change undefined for {len(undefined)} with baseline zero: {_names(undefined)}"]
        if undefined
        else []
    )
    common = {
        "estimand": parameters.estimand.id if parameters.estimand else "primary_endpoint",
        "population": parameters.population,
        "arm": pairs.arm,
        "paramcd": parameters.score,
        "param": pairs.param,
        "avisit": parameters.visit,
        "better": parameters.better,
        "is_primary": False,
    }
    finished = []
    for row in rows:
        own = [row["warning"]] if row.get("warning") else []
        if row["variable"] == "PCHG" and row["statistic"] != "percentage_of_means":
            own += about_pchg
        if row["variable"] == "PCHG" and row["kind"] == "test":
            own.append("percent change is the weakest thing to test (Vickers 2001)")
        row["statistic_label"] = LABELS[row["statistic"]]
        finished.append({**common, **row, "warning": "; ".join([*own, *pairs.warnings]) or None})
    return pl.DataFrame(finished, schema=SCHEMA, orient="row")
