"""Which way of computing it gives a p-value that was published without its method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from tasks.analysis import Analysis, Parameters
from tasks.clinical.ard import statistics, table
from tasks.clinical.population import population_of
from tasks.stats.p_value_forensics import Setting, p_value_settings
from warehouse.study import Estimand

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from tasks.clinical.ard import Address

LABELS = {
    "published": "p-value as published",
    "reproduces": "Whether it rounds to the published one (1) or not (0)",
    "n_used": "Participants that enter the test",
    "rank_sum_negative": "Rank sum of those who changed the wrong way, assumed",
    "n_negative": "Participants who changed the wrong way, assumed",
    "n_settings": "Ways of computing it that were tried",
    "n_reproducing": "Ways that reproduce it",
}


class PublishedPValue(Parameters):
    """A p-value as printed (its decimals say how precise it is), with what was printed beside it."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    p: str = Field(min_length=1)
    n: int = Field(ge=2)
    mean: float | None = None
    sd: float | None = Field(default=None, gt=0)
    n_negative: int | None = Field(default=None, ge=0)
    unit: str | None = None
    source: str = Field(min_length=1)

    @model_validator(mode="after")
    def _can_be_computed(self) -> Self:
        # Refused when the study is read, not when the analysis runs.
        self.settings(0, 0)
        return self

    def settings(self, largest_rank_sum_negative: int, most_dropped: int) -> tuple[Setting, ...]:
        return p_value_settings(
            self.p,
            self.n,
            mean=self.mean,
            sd=self.sd,
            n_negative=self.n_negative,
            largest_rank_sum_negative=largest_rank_sum_negative,
            most_dropped=most_dropped,
        )


class PValueForensicsParameters(Parameters):
    """The published p-values of an estimand; how much of what was not published may be assumed."""

    estimands: tuple[Estimand, ...] = Field(min_length=1, max_length=1)
    published: tuple[PublishedPValue, ...] = Field(min_length=1)
    largest_rank_sum_negative: int = Field(default=3, ge=0)
    most_dropped: int = Field(default=2, ge=0)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        ids = [published.id for published in self.published]
        if len(set(ids)) < len(ids):
            raise ValueError(f"published: {', '.join(ids)}: each id at most once")
        return self


def p_value_forensics(adsl: pl.DataFrame, *, parameters: PValueForensicsParameters) -> pl.DataFrame:
    """Compute a published p-value under every plausible setting and say which settings reproduce it.

    A p-value without test, exactness, continuity correction, rule for zeros and n is not a result: the same
    twelve changes give values that differ fivefold. That a setting reproduces the printed digits shows that
    it may have been used, never that it was; that the test named in a paper does not, shows that it was not
    used as described.
    """
    rows: list[dict[str, Any]] = []
    for estimand in parameters.estimands:
        population = population_of(adsl, estimand)
        rows += population.rows()
        for published in parameters.published:
            address = population.address(
                None, "PUBLISHED", variable_label=f"{published.id}: {published.source}"
            )
            rows += _published_rows(published, address, parameters)
    return table("p_value_forensics", rows)


ANALYSIS = Analysis(
    name="p_value_forensics",
    function=p_value_forensics,
    reads=("adam.adsl",),
    parameters=PValueForensicsParameters,
)


def _published_rows(
    published: PublishedPValue, address: Address, parameters: PValueForensicsParameters
) -> Iterator[dict[str, Any]]:
    settings = published.settings(parameters.largest_rank_sum_negative, parameters.most_dropped)
    here = address.at(group2="PUBLISHED", group2_level=published.id)
    reproducing = [setting for setting in settings if setting.reproduces]
    given: dict[str, float | str | None] = {"published": published.p, "N_obs": published.n}
    given |= {
        name: value for name, value in (("mean", published.mean), ("sd", published.sd)) if value is not None
    }
    yield from statistics(
        here.at(unit=published.unit),
        "published",
        given,
        labels=LABELS,
        method=f"as printed in {published.source}",
    )
    yield from statistics(
        here,
        "summary",
        {"n_settings": len(settings), "n_reproducing": len(reproducing)},
        labels=LABELS,
        method="settings whose p-value rounds to the published one",
        warning=None if reproducing else "no setting that was tried reproduces the published p-value",
    )
    for setting in settings:
        yield from _setting_rows(setting, here)


def _setting_rows(setting: Setting, address: Address) -> Iterator[dict[str, Any]]:
    assumed = {"rank_sum_negative": setting.rank_sum_negative, "n_negative": setting.n_negative}
    known = {name: float(value) for name, value in assumed.items() if value is not None}
    details = [
        setting.settings,
        setting.alternative,
        f"n={setting.n_used}",
        *(
            f"{'W-' if name == 'rank_sum_negative' else 'negative'}={value:g}"
            for name, value in known.items()
        ),
    ]
    yield from statistics(
        address.at(variable_level=", ".join(part for part in details if part)),
        setting.test.replace(" ", "_"),
        {
            "p.value": setting.p_value,
            "reproduces": float(setting.reproduces),
            "n_used": setting.n_used,
            **known,
        },
        labels=LABELS,
        method=f"{setting.test} test, {setting.settings}, {setting.alternative}",
    )
