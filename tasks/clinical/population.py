"""Who is analysed: the participants of an estimand's population, in their arms, and their chosen records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.clinical.ard import TOTAL, Address, statistics
from warehouse.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.study import Estimand


@dataclass(frozen=True, slots=True)
class Population:
    """The rows of adam.adsl in an estimand's population, with `arm` as the treatment that it groups by."""

    estimand: Estimand
    subjects: pl.DataFrame
    arms: tuple[str, ...]

    @property
    def group1(self) -> str:
        return self.estimand.treatment.upper()

    @property
    def reference(self) -> str | None:
        """The arm compared with: as declared, else the first of several."""
        if len(self.arms) == 1:
            return None
        return self.estimand.reference or self.arms[0]

    @property
    def compared(self) -> tuple[str, ...]:
        return tuple(arm for arm in self.arms if arm != self.reference) if self.reference else ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a table: each arm, and all together where there are several."""
        return (*self.arms, TOTAL) if len(self.arms) > 1 else self.arms

    def members(self, column: str) -> pl.DataFrame:
        return self.subjects if column == TOTAL else self.subjects.filter(pl.col("arm") == column)

    def n(self, column: str) -> int:
        if column == TOTAL:
            return self.subjects.height
        return int((self.subjects["arm"] == column).sum())

    def address(self, column: str | None, variable: str, **more: Any) -> Address:
        return Address(
            estimand=self.estimand, group1=self.group1, group1_level=column, variable=variable, **more
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Write the denominators, which the gate holds against the participant flow."""
        for column in self.columns:
            address = self.address(column, self.estimand.population.upper(), variable_label="Population")
            yield from statistics(address, "population", {"N": self.n(column)})


def population_of(adsl: pl.DataFrame, estimand: Estimand) -> Population:
    """Choose an estimand's participants: its flag is Y, its subgroup and its arms hold.

    Raises
    ------
    AnalysisError
        If adam.adsl has no such flag or variable, an arm is unknown, or nobody is left.
    """
    place = f"estimand {estimand.id}"
    for name in (estimand.population, *estimand.subgroup):
        if name not in adsl.columns:
            raise AnalysisError(f"{place}: {name}: adam.adsl has {', '.join(adsl.columns)}")
    subjects = adsl.filter(pl.col(estimand.population) == "Y").with_columns(
        pl.col(estimand.treatment).alias("arm")
    )
    for name, values in estimand.subgroup.items():
        subjects = subjects.filter(pl.col(name).cast(pl.String).is_in(list(values)))
    arms = _ordered_arms(subjects, estimand)
    if estimand.arms:
        if unknown := set(estimand.arms) - set(arms):
            raise AnalysisError(
                f"{place}: arm {', '.join(sorted(unknown))}: must be one of {', '.join(arms)}"
            )
        arms = tuple(arm for arm in arms if arm in estimand.arms)
    subjects = subjects.filter(pl.col("arm").is_in(list(arms))).sort("usubjid")
    if subjects.is_empty():
        raise AnalysisError(f"{place}: nobody is in {estimand.population} with that subgroup and those arms")
    if estimand.reference is not None and estimand.reference not in arms:
        raise AnalysisError(f"{place}: reference {estimand.reference!r}: must be one of {', '.join(arms)}")
    return Population(estimand, subjects, arms)


def _ordered_arms(subjects: pl.DataFrame, estimand: Estimand) -> tuple[str, ...]:
    number = f"{estimand.treatment}n"
    order = number if number in subjects.columns else "arm"
    known = subjects.filter(pl.col("arm").is_not_null())
    return tuple(known.sort(order, "arm")["arm"].unique(maintain_order=True))


def chosen_records(
    records: pl.DataFrame, population: Population, *, visit: str | None = None
) -> pl.DataFrame:
    """Return an estimand's analysis records, one per participant and visit, with ADSL's `arm` beside them.

    Observed records are those with ANL01FL Y and no DTYPE; where the estimand imputes, a record of its
    DTYPE stands in for a visit without an observed one. `visit` narrows to one visit.
    """
    estimand = population.estimand
    if estimand.score is None:
        raise AnalysisError(f"estimand {estimand.id}: score: this analysis needs one")
    score = records.filter(pl.col("paramcd") == estimand.score)
    if score.is_empty():
        known = ", ".join(records["paramcd"].drop_nulls().unique().sort()) or "none"
        raise AnalysisError(f"estimand {estimand.id}: score {estimand.score}: the data have {known}")
    score = score.filter(pl.col("avisit").is_not_null())
    if visit is not None:
        score = score.filter(pl.col("avisit") == visit)
    observed = score.filter(pl.col("dtype").is_null(), pl.col("anl01fl") == "Y")
    chosen = observed
    if estimand.imputation != "observed":
        derived = score.filter(pl.col("dtype") == estimand.imputation, pl.col("anl01fl") == "Y")
        missing = derived.join(observed, on=["usubjid", "avisit"], how="anti")
        chosen = pl.concat([observed, missing])
    _refuse_repeated(chosen, estimand)
    arms = population.subjects.select("usubjid", "arm")
    return chosen.join(arms, on="usubjid", how="inner").sort("usubjid", "avisitn")


def _refuse_repeated(chosen: pl.DataFrame, estimand: Estimand) -> None:
    repeated = chosen.filter(chosen.select("usubjid", "avisit").is_duplicated())
    if repeated.height:
        first = repeated.row(0, named=True)
        raise AnalysisError(
            f"estimand {estimand.id}: {first['usubjid']} has more than one analysis record of"
            f" {estimand.score} at {first['avisit']}: one each is allowed"
        )
