from __future__ import annotations

import polars as pl
import pytest

from tasks.clinical.population import chosen_records, population_of
from warehouse.errors import AnalysisError
from warehouse.study import Estimand


@pytest.fixture
def trial(make_trial):
    return make_trial({"Cream": [[8.0, 7, 5, None], [6.0, 5, 4, 3]]})


def _chosen(trial, adqs, estimand):
    population = population_of(trial.adsl, Estimand.model_validate(estimand))
    return chosen_records(adqs, population, visit="Week 12")


def test_a_derived_record_stands_in_only_where_it_was_chosen(trial, estimand):
    locf = estimand(imputation="LOCF")
    assert _chosen(trial, trial.adqs, locf)["aval"].to_list() == [5.0, 3.0]
    unchosen = trial.adqs.with_columns(anl01fl=pl.when(pl.col("dtype").is_null()).then(pl.col("anl01fl")))
    assert _chosen(trial, unchosen, locf)["aval"].to_list() == [3.0]


def test_an_unknown_population_is_refused(trial, estimand):
    with pytest.raises(AnalysisError, match=r"estimand primary: pprotfl: adam\.adsl has"):
        _chosen(trial, trial.adqs, estimand(population="pprotfl"))
