"""A score at one visit compared between treatment arms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import polars as pl
from pydantic import Field, model_validator

from tasks.analysis import Analysis, Parameters
from tasks.clinical import treatment_comparison_ordinal as ordinal
from tasks.clinical.ard import statistics, table
from tasks.clinical.population import Population, population_of
from tasks.clinical.scores import (
    Analysed,
    analysed,
    description,
    interval_values,
    join_warnings,
    records_at_visit,
    score_address,
)
from tasks.stats.linear_model import (
    LinearModel,
    TermTest,
    fit_linear_model,
    least_squares_differences,
    least_squares_means,
    linear_trend,
    type_iii_tests,
)
from warehouse.errors import AnalysisError
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Iterator

Decision = Literal[
    "difference",
    "overall",
    "dose_response",
    "cmh_row_mean_scores",
    "cmh_general_association",
    "rank_sum",
    "van_elteren",
    "none",
]
_PAIR = 2


class ComparisonOptions(Parameters):
    """How the arms are compared, and which of the p-values decides about the estimand.

    `covariates` are columns of adam.adqs (base) or adam.adsl; text ones are factors. `tests` compare the
    distributions without a model, within the strata of an ADSL variable.
    """

    covariates: tuple[str, ...] = ("base",)
    weights: Literal["equal", "observed"] = "equal"
    has_all_pairs: bool = False
    has_dose_response: bool = False
    tests: tuple[ordinal.OrdinalTest, ...] = ()
    stratum: str | None = None
    decides: Decision = "difference"
    confidence_level: float = Field(default=0.95, gt=0, lt=1)

    @model_validator(mode="after")
    def _decides_by_what_is_done(self) -> Self:
        done = {"none", "difference", "overall", *self.tests}
        done |= {"dose_response"} if self.has_dose_response else set()
        if self.decides not in done:
            raise ValueError(f"decides: {self.decides}: must be one of {', '.join(sorted(done))}")
        if "van_elteren" in self.tests and self.stratum is None:
            raise ValueError("tests: van_elteren: needs a stratum")
        if twice := {"arm", "trt01p", "trt01a"} & set(self.covariates):
            raise ValueError(f"covariates: {', '.join(sorted(twice))}: the arm is in the model already")
        return self


class TreatmentComparisonParameters(ComparisonOptions):
    """Which estimands, compared how; `specific` changes options for single estimands, by id."""

    estimands: tuple[Estimand, ...] = Field(min_length=1)
    specific: dict[str, ComparisonOptions] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _specifies_its_own_estimands(self) -> Self:
        known = [estimand.id for estimand in self.estimands]
        if unknown := set(self.specific) - set(known):
            raise ValueError(f"specific: {', '.join(sorted(unknown))}: must be one of {', '.join(known)}")
        return self

    def options(self, estimand: Estimand) -> ComparisonOptions:
        """Return the common options with those that the estimand has of its own."""
        names = ComparisonOptions.model_fields
        common = {name: getattr(self, name) for name in names if name in self.model_fields_set}
        own = self.specific.get(estimand.id)
        changed = {name: getattr(own, name) for name in own.model_fields_set} if own else {}
        return ComparisonOptions.model_validate({**common, **changed})


def treatment_comparison(
    adsl: pl.DataFrame, adqs: pl.DataFrame, *, parameters: TreatmentComparisonParameters
) -> pl.DataFrame:
    """Compare a score between arms: analysis of covariance, and tests of ordered categories where asked.

    Baseline is a covariate, since adjusting gains power over a comparison of changes and removes chance
    imbalance; arms are not compared within themselves. Factors beside the arm count their levels equally in
    the least-squares means, whoever happened to be recruited there, unless the observed margins are asked
    for. One p-value decides; differences between the other arms carry no claim and are not adjusted.
    """
    rows: list[dict[str, Any]] = []
    for estimand in parameters.estimands:
        rows += _estimand_rows(adsl, adqs, estimand, parameters.options(estimand))
    return table("treatment_comparison", rows)


ANALYSIS = Analysis(
    name="treatment_comparison",
    function=treatment_comparison,
    reads=("adam.adsl", "adam.adqs"),
    parameters=TreatmentComparisonParameters,
)


def _estimand_rows(
    adsl: pl.DataFrame, adqs: pl.DataFrame, estimand: Estimand, options: ComparisonOptions
) -> Iterator[dict[str, Any]]:
    population = population_of(adsl, estimand)
    if len(population.arms) < _PAIR:
        raise AnalysisError(
            f"estimand {estimand.id}: {population.arms[0]} is the only arm: a treatment comparison needs two;"
            " primary_endpoint and score_over_time analyse a single arm"
        )
    records = records_at_visit(adqs, population)
    covariates = _available(records, options.covariates)
    yield from population.rows()
    yield from _baseline(adqs, population)
    for variable in ("aval", "chg"):
        yield from description(population, records, variable)
    cases = analysed(records, population, estimand.variable, covariates)
    yield from _model_rows(cases, records, population, options)
    if options.has_dose_response:
        yield from _dose_rows(cases, records, population, options)
    yield from ordinal.ordinal_rows(
        records, population, options.tests, options.stratum, decides=options.decides
    )


def _available(records: pl.DataFrame, covariates: tuple[str, ...]) -> tuple[str, ...]:
    """Leave the baseline out for a score that has none by nature, such as an impression of change."""
    has_baseline = records["base"].null_count() < records.height
    return tuple(name for name in covariates if name != "base" or has_baseline)


def _baseline(adqs: pl.DataFrame, population: Population) -> Iterator[dict[str, Any]]:
    at_baseline = adqs.filter(
        pl.col("paramcd") == population.estimand.score, pl.col("ablfl") == "Y", pl.col("dtype").is_null()
    ).join(population.subjects.select("usubjid", "arm"), on="usubjid", how="inner")
    if at_baseline.height:
        yield from description(population, at_baseline, "base")


def _confirms(options: ComparisonOptions, population: Population, test: str) -> bool:
    return options.decides == test and population.estimand.family is not None


def _model_rows(
    cases: Analysed, records: pl.DataFrame, population: Population, options: ComparisonOptions
) -> Iterator[dict[str, Any]]:
    variable = population.estimand.variable
    method = _method(cases)
    overall = score_address(population, None, variable, records)
    try:
        model = _fit(cases, population, options)
        tests = type_iii_tests(model)
    except ValueError as error:
        failed = dict.fromkeys(("statistic", "df", "df2", "p.value"))
        yield from statistics(
            overall,
            "ancova",
            failed,
            method=method,
            is_confirmatory=_confirms(options, population, "overall"),
            error=f"not estimable: {error}",
        )
        return
    warning = join_warnings(cases.warning, _aliased(model))
    for test in tests:
        is_arm = test.term == "arm"
        address = overall if is_arm else overall.at(variable_level=test.term.upper())
        yield from statistics(
            address,
            "ancova" if is_arm else "covariate",
            _term_values(test),
            method=f"{method}; type III F test",
            is_confirmatory=is_arm and _confirms(options, population, "overall"),
            warning=warning,
        )
    yield from statistics(
        overall,
        "residual",
        {"n": model.n, "sigma": model.residual_sd, "r.squared": model.r_squared},
        labels={
            "n": "Participants in the model",
            "sigma": "Residual standard deviation",
            "r.squared": "Share of variance explained",
        },
        method=method,
        warning=warning,
    )
    weighted = f"{method}; {options.weights} weights"
    yield from _margins(model, records, population, options, method=weighted, warning=warning)


def _fit(cases: Analysed, population: Population, options: ComparisonOptions) -> LinearModel:
    others = [arm for arm in population.arms if arm != population.reference]
    return fit_linear_model(
        cases.outcome,
        factors={"arm": cases.frame["arm"].to_list(), **cases.factor_values()},
        covariates=cases.number_values(),
        levels={"arm": [population.reference or population.arms[0], *others]},
        level=options.confidence_level,
    )


def _method(cases: Analysed) -> str:
    terms = " + ".join(["arm", *(name.upper() for name in (*cases.factors, *cases.numbers))])
    kind = "Analysis of covariance" if cases.numbers else "Analysis of variance"
    return f"{kind}, {terms}, least squares"


def _aliased(model: LinearModel) -> str | None:
    if not model.aliased:
        return None
    return f"without a coefficient of their own, other columns determine them: {', '.join(model.aliased)}"


def _term_values(test: TermTest) -> dict[str, float]:
    return {"statistic": test.f, "df": test.df, "df2": test.df_denominator, "p.value": test.p_value}


def _margins(
    model: LinearModel,
    records: pl.DataFrame,
    population: Population,
    options: ComparisonOptions,
    *,
    method: str,
    warning: str | None,
) -> Iterator[dict[str, Any]]:
    variable = population.estimand.variable
    level = options.confidence_level
    for mean in least_squares_means(model, "arm", weights=options.weights, level=level):
        address = score_address(population, mean.level_name, variable, records)
        values = {
            "n": mean.n,
            "estimate": mean.estimate,
            "std.error": mean.standard_error,
            "df": mean.df,
            **interval_values(mean.interval),
        }
        yield from statistics(address, "ls_means", values, method=method, warning=warning)
    reference = None if options.has_all_pairs else population.reference
    for difference in least_squares_differences(
        model, "arm", weights=options.weights, level=level, reference=reference
    ):
        address = score_address(
            population, difference.level_name, variable, records, group1_reference=difference.reference
        )
        values = {
            "estimate": difference.estimate,
            "std.error": difference.standard_error,
            **interval_values(difference.interval),
            "statistic": difference.t,
            "df": difference.df,
            "p.value": difference.p_value,
        }
        is_against_reference = difference.reference == population.reference
        yield from statistics(
            address,
            "difference",
            values,
            method=f"{method}; t test, not adjusted",
            is_confirmatory=is_against_reference and _confirms(options, population, "difference"),
            warning=warning,
        )


def _dose_rows(
    cases: Analysed, records: pl.DataFrame, population: Population, options: ComparisonOptions
) -> Iterator[dict[str, Any]]:
    """Test the slope over the dose taken as a number: one degree of freedom instead of one per arm."""
    dose = f"{population.estimand.treatment}n"
    if dose not in population.subjects.columns or population.subjects[dose].null_count():
        raise AnalysisError(
            f"estimand {population.estimand.id}: has_dose_response: adam.adsl has no {dose} for every"
            " participant: give each arm of the design a dose"
        )
    doses = cases.frame.join(population.subjects.select("usubjid", dose), on="usubjid", how="left")[dose]
    address = score_address(population, None, population.estimand.variable, records)
    method = f"{_method(cases).replace('arm', dose.upper(), 1)}; t test of the slope per unit of dose"
    try:
        slope = linear_trend(
            cases.outcome,
            doses.to_numpy(),
            factors=cases.factor_values(),
            covariates=cases.number_values(),
            level=options.confidence_level,
        )
    except ValueError as error:
        failed = dict.fromkeys(("estimate", "std.error", "statistic", "df", "p.value"))
        yield from statistics(
            address, "dose_response", failed, method=method, error=f"not estimable: {error}"
        )
        return
    values = {
        "estimate": slope.estimate,
        "std.error": slope.standard_error,
        **interval_values(slope.interval),
        "statistic": slope.t,
        "df": slope.df,
        "p.value": slope.p_value,
    }
    yield from statistics(
        address,
        "dose_response",
        values,
        method=method,
        is_confirmatory=_confirms(options, population, "dose_response"),
        warning=cases.warning,
    )
