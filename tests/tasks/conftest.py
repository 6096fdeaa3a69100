"""A small trial of one score, to plant effects in, and ways to look at analysis results data."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from expectations.judge import judge
from expectations.suite import find_suites
from tasks.analyses import ANALYSES
from tasks.older_versions import Makers
from tasks.omics.gene_modules import GeneModulesParameters, gene_modules
from tasks.omics.module_eigengenes import ModuleEigengenesParameters, module_eigengenes
from tasks.omics.soft_thresholds import SoftThresholdsParameters, soft_thresholds
from tasks.report import page
from tasks.report.section import About
from warehouse.study import Estimand, Family

SUITES = Path(__file__).parents[2] / "expectations"
VISITS = (("Baseline", 0.0), ("Week 4", 4.0), ("Week 8", 8.0), ("Week 12", 12.0))
FLOATS = ("avisitn", "aval", "base", "chg", "pchg", "range_low", "range_high")


class Trial:
    """Participants by arm, each with a list of scores by visit; None for a visit missed."""

    def __init__(self, arms, *, paramcd="SCORE", columns=None, high=50.0):
        self.arms = arms
        self.paramcd = paramcd
        self.columns = columns or {}
        self.high = high

    @property
    def subjects(self):
        return [
            (f"{arm[0]}{i:02}", arm, scores)
            for arm, members in self.arms.items()
            for i, scores in enumerate(members, start=1)
        ]

    @property
    def adsl(self):
        doses = {arm: float(10 * i) for i, arm in enumerate(self.arms)}
        rows = [
            {
                "usubjid": subject,
                "trt01p": arm,
                "trt01pn": doses[arm],
                "trt01a": arm,
                "saffl": "Y",
                "fasfl": "Y",
                "sitegr1": "north" if i % 2 else "south",
            }
            for i, (subject, arm, _) in enumerate(self.subjects)
        ]
        frame = pl.DataFrame(rows)
        return frame.with_columns(pl.Series(name, values) for name, values in self.columns.items())

    @property
    def adqs(self):
        rows = [row for subject, arm, scores in self.subjects for row in self._records(subject, arm, scores)]
        overrides = {"dtype": pl.String, "ablfl": pl.String, **dict.fromkeys(FLOATS, pl.Float64)}
        return pl.DataFrame(rows, schema_overrides=overrides)

    def _records(self, subject, arm, scores):
        base, last = scores[0], None
        for (avisit, avisitn), observed in zip(VISITS, scores, strict=True):
            is_baseline = avisit == "Baseline"
            if observed is not None:
                yield self._record(subject, arm, avisit, avisitn, base, observed)
                last = last if is_baseline else observed
            elif base is not None and not is_baseline:
                if last is not None:
                    yield self._record(subject, arm, avisit, avisitn, base, last, "LOCF")
                yield self._record(subject, arm, avisit, avisitn, base, base, "BOCF")
                yield self._record(subject, arm, avisit, avisitn, base, None, "NRI")

    def _record(self, subject, arm, avisit, avisitn, base, aval, dtype=None):
        change = None if aval is None or base is None or avisit == "Baseline" else aval - base
        return {
            "usubjid": subject,
            "trt01a": arm,
            "trt01p": arm,
            "paramcd": self.paramcd,
            "param": "Lesion score",
            "unit": "points",
            "avisit": avisit,
            "avisitn": avisitn,
            "aval": aval,
            "base": base,
            "chg": change,
            "pchg": 100 * change / base if change is not None and base else None,
            "ablfl": "Y" if avisit == "Baseline" else None,
            "anl01fl": "Y",
            "dtype": dtype,
            "range_low": 0.0,
            "range_high": self.high,
            "saffl": "Y",
            "fasfl": "Y",
        }


# Twelve participants whose score falls, four visits each, with some scatter.
BASE = (8.0, 10, 6, 12, 9, 7, 11, 8, 10, 6, 9, 12)
FALLING = ((7.0, 9, 5, 10, 8, 7, 9, 7, 9, 5, 8, 10), (5.0, 6, 4, 8, 5, 6, 7, 5, 7, 5, 6, 6))
WEEK_12 = (3.0, 4, 1, 7, 3, 5, 4, 2, 6, 3, 5, 1)


@pytest.fixture(scope="session")
def make_trial():
    return Trial


@pytest.fixture
def falling():
    """Scores of one arm whose score falls, by participant."""
    return [list(scores) for scores in zip(BASE, *FALLING, WEEK_12, strict=True)]


@pytest.fixture
def steady(falling):
    """The same participants, of whom half rise a little and half fall: no effect."""
    return [
        [scores[0], *(scores[0] + sign * step for step in (1, 2, 1 + i // 2))]
        for i, scores in enumerate(falling)
        for sign in [1 if i % 2 else -1]
    ]


@pytest.fixture(scope="session")
def estimand():
    def declare(**changes):
        return {
            "id": "primary",
            "title": "Change of the score",
            "population": "fasfl",
            "score": "SCORE",
            "visit": "Week 12",
            "summary": "mean",
            **changes,
        }

    return declare


def rows_where(result, **where):
    return result.filter(pl.col(name).eq_missing(pl.lit(value)) for name, value in where.items())


@pytest.fixture
def stat():
    """Return the one value at an address; its text where it has no number."""

    def read(result, stat_name, **where):
        found = rows_where(result, stat_name=stat_name, **where)
        number = found["stat"].item()
        return found["stat_text"].item() if number is None else number

    return read


@pytest.fixture
def unmet():
    """Judge a result by its suite and return the critical rules that it breaks."""

    def judged(result, name):
        suite = find_suites(SUITES)[f"results.{name}"]
        verdict = judge(result, suite, lambda _table, _column: [])
        return [
            str(outcome.expectation)
            for outcome in verdict.outcomes
            if outcome.expectation.severity == "critical" and not outcome.is_met
        ]

    return judged


@pytest.fixture
def reconciles():
    """Check that values and missing values add up to the stated population, arm by arm."""

    def check(result):
        stated = {
            (row["estimand"], row["group1_level"]): row["stat"]
            for row in rows_where(result, context="population").iter_rows(named=True)
        }
        wide = result.filter(pl.col("context") == "continuous").pivot(
            "stat_name",
            index=["estimand", "group1_level", "group3_level", "variable"],
            values="stat",
        )
        for row in wide.iter_rows(named=True):
            assert row["N_obs"] + row["N_miss"] == stated[row["estimand"], row["group1_level"]]

    return check


_FIRST = pl.int_range(pl.len()) == 0
BROKEN = {
    "in_set(analysis)": lambda x: x.with_columns(analysis=pl.lit("other")),
    "in_set(context)": lambda x: x.with_columns(context=pl.lit("other")),
    "compound_columns": lambda x: pl.concat([x, x]),
    "between(stat) where stat_name == 'p.value'": lambda x: x.with_columns(
        stat_name=pl.lit("p.value"), stat=pl.lit(0.0)
    ),
    "not_be_null(stat) where stat_name in ['n'": lambda x: x.with_columns(
        stat=pl.when(pl.col("stat_name") != "N").then("stat")
    ),
    "not_be_null(estimand)": lambda x: x.with_columns(estimand=pl.when(~_FIRST).then("estimand")),
}


@pytest.fixture(params=BROKEN)
def broken(request):
    """Break a result in one of the ways that every suite of this shape must reject."""

    def check(result, unmet, name):
        wrong = unmet(BROKEN[request.param](result), name)
        assert any(request.param in text for text in wrong), wrong

    return check


# What the analyses of a small study give, for tests of everything that reads results.
DESCRIBED = {"summary": "description", "population": "saffl"}
GRADES = tuple(float(grade) for grade in range(1, 13))
TERMS = ("PRURITUS", "ERYTHEMA", "HEADACHE")


def _participants(trial):
    """Give a trial's participants what tables of baseline, disposition and safety ask for."""
    n = len(trial.subjects)
    place = pl.int_range(n)
    left = place % 5 == 4
    return trial.adsl.with_columns(
        trt01an="trt01pn",
        siteid=pl.format("{}", 100 + place % 3),
        age=40.0 + place,
        sex=pl.when(place % 3 == 0).then(pl.lit("M")).otherwise(pl.lit("F")),
        race=pl.lit("WHITE"),
        trtdurd=84.0 - 3 * (place % 7),
        enrlfl=pl.lit("Y"),
        ittfl=pl.lit("Y"),
        efffl=pl.lit("Y"),
        bmevalfl=pl.lit("N"),
        pprotfl=pl.when(left).then(pl.lit("N")).otherwise(pl.lit("Y")),
        complfl=pl.when(left).then(pl.lit("N")).otherwise(pl.lit("Y")),
        eosstt=pl.when(left).then(pl.lit("DISCONTINUED")).otherwise(pl.lit("COMPLETED")),
        dcsreas=pl.when(left).then(pl.lit("ADVERSE EVENT")),
    )


def _events(adsl):
    rows = [
        {
            "usubjid": subject,
            "trtemfl": "Y",
            "aebodsys": "SKIN DISORDERS" if event < 2 else "NERVOUS SYSTEM DISORDERS",
            "aedecod": TERMS[event],
            "aesev": ("MILD", "MODERATE", "SEVERE")[place % 3],
            "relgr1": "Y" if event == 0 else "N",
            "aeser": "Y" if place == 1 else "N",
            "is_discontinuing": place == 4,
            "aesdth": "N",
        }
        for place, subject in enumerate(adsl["usubjid"])
        for event in range(place % 4)
    ]
    return pl.DataFrame(rows)


def _times(adsl):
    place = pl.int_range(pl.len())
    return adsl.select(
        "usubjid",
        paramcd=pl.lit("TTRASH"),
        param=pl.lit("Time to first rash"),
        aval=10.0 + 5 * place,
        cnsr=(place % 3 == 0).cast(pl.Int64),
    )


def _measured(adsl, paramcd, param, unit, limits):
    """Values at two visits; every fourth participant rises fourfold, over the upper limit."""
    text = dict.fromkeys(["atoxgr", "btoxgr", "ablfl", "ontrtfl", "dtype", "atpt"], pl.String)
    low, high = limits
    rows = []
    for place, subject in enumerate(adsl["usubjid"]):
        base = low + 5.0
        for avisit, avisitn in (("Baseline", 0.0), ("Week 4", 4.0)):
            aval = base * 4 if avisitn and place % 4 == 0 else base
            is_baseline = avisitn == 0
            rows.append(
                {
                    "usubjid": subject, "paramcd": paramcd, "param": param, "unit": unit, "avisit": avisit,
                    "avisitn": avisitn, "adt": int(avisitn), "aval": aval, "base": base,
                    "chg": None if is_baseline else aval - base, "pchg": None, "anrlo": low, "anrhi": high,
                    "anrind": "HIGH" if aval > high else "NORMAL", "bnrind": "NORMAL",
                    "ablfl": "Y" if is_baseline else None, "anl01fl": "Y",
                    "ontrtfl": None if is_baseline else "Y", "dtype": None, "atpt": "LYING", "atptn": 1.0,
                    "atoxgr": None, "btoxgr": None,
                }
            )  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={**text, "chg": pl.Float64, "pchg": pl.Float64})


def _declared(estimand):
    """Return an estimand as `meta.estimand` tells it."""
    events = "; ".join(f"{event.event}: {event.strategy}" for event in estimand.intercurrent_events)
    told = ("title", "population", "treatment", "reference", "variable", "imputation", "summary", "family")
    return {
        **estimand.model_dump(include=set(told)),
        "estimand": estimand.id,
        "subgroup": None,
        "arms": None,
        "paramcd": estimand.score,
        "avisit": estimand.visit,
        "intercurrent_events": events or None,
    }


@pytest.fixture(scope="session")
def clinical_frames():
    """Return every clinical result of a study with these arms, and the tables of the study they came from."""

    def analysed(arms):
        trial = Trial(arms)
        adsl = _participants(trial)
        several = len(arms) > 1
        more = {"reference": next(iter(arms))} if several else {}
        common = {"summary": "mean", "population": "fasfl", "score": "SCORE", "visit": "Week 12", **more}
        estimands = {
            "safety": Estimand(id="safety", title="Everybody treated", **DESCRIBED),
            "primary": Estimand(
                id="primary", title="Change of the score at week 12", family="main", **common,
                intercurrent_events=[{"event": "visit missed", "strategy": "hypothetical"}],
            ),
            "observed": Estimand(id="observed", title="Change over time", **common),
            "grade": Estimand(id="grade", title="Grade at week 12", **{**common, "variable": "aval"}),
        }  # fmt: skip
        laboratory = pl.concat(
            [
                _measured(adsl, "ALT", "Alanine aminotransferase (U/L)", "U/L", (10.0, 40.0)),
                _measured(adsl, "BILI", "Bilirubin (umol/L)", "umol/L", (3.0, 20.0)),
            ]
        )
        vital = _measured(adsl, "SYSBP", "Systolic blood pressure", "mmHg", (90.0, 140.0))
        outside = {"population_mean": 7, "population_sd": 3, "source": "a guess"}
        published = {"id": "paper", "p": ".003", "n": 12, "source": "a paper"}
        jobs = {
            "disposition": ([adsl], ["safety"], {}),
            "baseline_characteristics": ([adsl], ["safety"], {}),
            "exposure": ([adsl, None], ["safety"], {}),
            "adverse_events": ([adsl, _events(adsl)], ["safety"], {}),
            "time_to_event": ([adsl, _times(adsl)], ["safety"], {"days": [30]}),
            "laboratory": ([adsl, laboratory], ["safety"], {}),
            "vital_signs": ([adsl, vital], ["safety"], {}),
            "score_over_time": ([adsl, trial.adqs], ["observed"], {}),
            "responders": ([adsl, trial.adqs], ["primary"], {"better": "lower"}),
            "score_shifts": ([adsl, trial.adqs], ["grade"], {"levels": {"SCORE": GRADES}}),
            "change_from_baseline": ([adsl, trial.adqs], ["observed"], {}),
            "primary_endpoint_sensitivity": (
                [adsl, trial.adqs], ["primary"], {"better": "lower", "n_imputations": 10},
            ),
            "regression_to_the_mean": ([adsl, trial.adqs], ["primary"], outside),
            "detectability": ([adsl, trial.adqs], ["primary"], {"n_simulations": 1000}),
            "p_value_forensics": ([adsl], ["primary"], {"published": [published]}),
        }  # fmt: skip
        if several:
            jobs["treatment_comparison"] = ([adsl, trial.adqs], ["primary"], {"has_dose_response": True})
        records = {analysis.name: analysis for analysis in ANALYSES}
        results = {}
        for name, (frames, ids, options) in jobs.items():
            analysis = records[name]
            asked = {"estimands": [estimands[each] for each in ids], **options}
            parameters = analysis.parameters.model_validate(asked)
            results[analysis.fills] = analysis.function(*frames, parameters=parameters)
        declared = {"estimands": tuple(estimands.values()), "families": {"main": Family(method="holm")}}
        gathering = records["clinical_statistics"]
        gathered = gathering.function(
            *(results.get(table) for table in gathering.uses),
            parameters=gathering.parameters.model_validate(declared),
        )
        counting = records["participant_counts"]
        counts = counting.function(
            adsl,
            gathered,
            None,
            parameters=counting.parameters.model_validate({"estimands": declared["estimands"]}),
        )
        declaration = pl.DataFrame([_declared(each) for each in estimands.values()])
        return {
            "adam.adsl": adsl,
            "adam.adqs": trial.adqs,
            "meta.estimand": declaration,
            **results,
            gathering.fills: gathered,
            counting.fills: counts,
        }

    return analysed


class Biopsies:
    """Four biopsies of twelve participants: a lesion and skin without one, before and after.

    Genes 0-39 stand `lesion` log2 higher in the lesion and come back by each participant's `share`; genes
    40-59 stand as much lower and stay; IFNG hardly has a read; the others do not differ. The signature SPOT
    follows the first, FLAT nothing.
    """

    GENES = 400
    UP, DOWN = range(40), range(40, 60)
    LESION, SKIN = "LESIONAL", "NON-LESIONAL"

    def __init__(self, share, *, lesion=2.0, seed=1):
        self.subjects = [f"A{number:02}" for number in range(1, len(share) + 1)]
        self.share = np.array(share)
        self.lesion = lesion
        self.random = np.random.default_rng(seed)
        self.sample = pl.DataFrame(
            [
                {
                    "sample_id": f"{subject}_{tissue[0]}_{visit[0]}",
                    "usubjid": subject,
                    "tissue": tissue,
                    "visit": visit,
                }
                for subject in self.subjects
                for tissue in (self.LESION, self.SKIN)
                for visit in ("BASELINE", "WEEK 12")
            ]
        )
        self.height = np.array(
            [
                (tissue == self.LESION)
                * (1 - (visit == "WEEK 12") * self.share[self.subjects.index(subject)])
                for subject, tissue, visit in self.sample.select("usubjid", "tissue", "visit").iter_rows()
            ]
        )
        self.feature = pl.DataFrame(
            {
                "feature_id": [f"F{number:03}" for number in range(self.GENES)],
                "symbol": [f"GENE{number}" for number in range(self.GENES - 1)] + ["IFNG"],
                "ensembl_id": [f"ENSG{number:011}" for number in range(self.GENES)],
            }
        )
        self.expression = self._counts()

    def _counts(self):
        level = self.random.uniform(6, 11, self.GENES)[:, np.newaxis] + np.zeros(self.sample.height)
        level[list(self.UP)] += self.lesion * self.height
        # What is lower in the lesion stays so.
        is_lesion = (self.sample["tissue"] == self.LESION).to_numpy()
        level[list(self.DOWN)] -= self.lesion * is_lesion
        level[-1] = -1.0
        patient = np.repeat(self.random.normal(0, 0.2, (self.GENES, len(self.subjects))), 4, axis=1)
        shape = 1 / 0.02
        count = self.random.poisson(self.random.gamma(shape, np.exp2(level + patient) / shape))
        return pl.DataFrame(
            {
                "feature_id": np.repeat(self.feature["feature_id"].to_numpy(), self.sample.height),
                "sample_id": np.tile(self.sample["sample_id"].to_numpy(), self.GENES),
                "count": count.ravel(),
            }
        )

    @property
    def scores(self):
        rows = self.sample.select("sample_id", "usubjid", "visit", "tissue")
        noise = np.random.default_rng(7)
        of_spot = self.lesion * self.height + noise.normal(0, 0.1, rows.height)
        return pl.concat(
            rows.with_columns(
                collection=pl.lit("own"),
                gene_set=pl.lit(name),
                scorer=pl.lit("mean_z"),
                score=pl.Series(values),
                size_in_collection=pl.lit(40),
                size_scored=pl.lit(40),
                method=pl.lit("mean of z"),
            )
            for name, values in (("SPOT", of_spot), ("FLAT", noise.normal(0, 1, rows.height)))
        )

    @property
    def effect(self):
        """What differential expression says of the disease and of what is left."""
        number = np.arange(self.GENES)
        sign = np.where(number < self.UP.stop, 1, np.where(number < self.DOWN.stop, -1, 0))
        left = np.where(number < self.UP.stop, 1 - self.share.mean(), 1.0)
        return pl.concat(
            self.feature.with_columns(
                contrast=pl.lit(contrast),
                log2_fold_change=pl.Series(self.lesion * sign * of),
                lfc_se=pl.lit(0.1),
                p_adjusted=pl.Series(np.where(sign != 0, 1e-6 * (number + 1), 0.8)),
            )
            for contrast, of in (("disease", np.ones(self.GENES)), ("residual", left))
        )

    @property
    def declared(self):
        return {
            "protected_genes": ["IFNG", "GENE0"],
            "designs": [{"id": "skin", "formula": "~ usubjid + group", "group": ["tissue", "visit"]}],
            "contrasts": [
                {
                    "id": name,
                    "title": name,
                    "design": "skin",
                    "level": f"{self.LESION} {level}",
                    "reference": reference,
                }
                for name, level, reference in (
                    ("disease", "BASELINE", f"{self.SKIN} BASELINE"),
                    ("treatment", "WEEK 12", f"{self.LESION} BASELINE"),
                    ("residual", "WEEK 12", f"{self.SKIN} BASELINE"),
                )
            ],
        }

    @property
    def omics(self):
        return self.expression, self.sample, self.feature

    def scored(self, trial_of, *, follows=True, seed=4):
        """Return a trial whose score falls by each participant's share, or by that of anybody."""
        random = np.random.default_rng(seed)
        fall = self.share if follows else random.permutation(self.share)
        base = random.uniform(20, 40, len(self.subjects))
        return trial_of(
            {
                "Active": [
                    [start, None, None, start * (1 - part)] for start, part in zip(base, fall, strict=True)
                ]
            }
        )


# Shares of the lesion's height that are gone at week 12, no two alike.
SHARES = (0.1, 0.95, 0.3, 0.8, 0.55, 0.7, 0.2, 0.62, 0.45, 0.88, 0.38, 0.77)


@pytest.fixture(scope="session")
def biopsies():
    return Biopsies(SHARES)


@pytest.fixture(scope="session")
def make_biopsies():
    return Biopsies


class PlantedNetwork:
    """Twelve participants, lesion and skin, two visits, three planted modules and genes of their own."""

    SUBJECTS = 12
    MODULES = (range(80), range(80, 140), range(140, 190))
    GENES = 340
    LONE = "F339"

    def __init__(self, *, seed=5, subjects=SUBJECTS):
        random = np.random.default_rng(seed)
        cells = [(tissue, visit) for tissue in ("LESIONAL", "SKIN") for visit in ("BASELINE", "WEEK 12")]
        self.sample = pl.DataFrame(
            [
                {"sample_id": f"S{s:02}{c}", "usubjid": f"A{s:02}", "tissue": tissue, "visit": visit}
                for s in range(1, subjects + 1)
                for c, (tissue, visit) in enumerate(cells)
            ]
        )
        n = self.sample.height
        self.share = np.linspace(0.2, 0.95, subjects)[random.permutation(subjects)]
        height = np.zeros((subjects, 4))
        height[:, 0] = 2.0
        height[:, 1] = 2.0 * (1 - self.share)
        factors = [height.ravel() + random.normal(0, 0.1, n), *random.normal(0, 0.8, (2, n))]
        log2 = random.uniform(8, 11, self.GENES)[:, None] + random.normal(0, 0.25, (self.GENES, n))
        for members, factor in zip(self.MODULES, factors, strict=True):
            log2[list(members)] += random.uniform(0.7, 1.0, len(members))[:, None] * factor
        log2[190:] += random.normal(0, 0.6, (self.GENES - 190, n))
        count = random.poisson(2**log2)
        self.feature = pl.DataFrame(
            {
                "feature_id": [f"F{number:03}" for number in range(self.GENES)],
                "symbol": [f"Gene{number:03}" for number in range(self.GENES)],
            }
        )
        self.expression = (
            pl.DataFrame(count, schema=self.sample["sample_id"].to_list())
            .with_columns(self.feature["feature_id"])
            .unpivot(index="feature_id", variable_name="sample_id", value_name="count")
        )

    @property
    def omics(self):
        return self.expression, self.sample, self.feature

    @property
    def gene_set(self):
        sets = {"FALLING_INTERFERON": range(40), "OTHER": range(90, 120), "NOTHING": range(200, 230)}
        return pl.DataFrame(
            [
                {"collection": "own", "gene_set": name, "symbol": f"Gene{number:03}", "description": name}
                for name, numbers in sets.items()
                for number in numbers
            ]
        )

    def declared(self, **changes):
        network = {"id": "skin", "title": "All biopsies", "n_genes": 400, "power": 6, "min_module_size": 20}
        contrast = {"title": "a contrast", "design": "group"}
        return {
            "protected_genes": ["Gene339"],
            "designs": [{"id": "group", "formula": "~ usubjid + group", "group": ["tissue", "visit"]}],
            "contrasts": [
                contrast | {"id": "treatment", "level": "LESIONAL WEEK 12", "reference": "LESIONAL BASELINE"},
                contrast | {"id": "disease", "level": "LESIONAL BASELINE", "reference": "SKIN BASELINE"},
            ],
            "networks": [network | changes],
        }

    def results(self, **changes):
        """Return the tables that the later analyses of a network read."""
        declared = self.declared(**changes)
        threshold = soft_thresholds(
            *self.omics, parameters=SoftThresholdsParameters.model_validate({"expression": declared})
        )
        modules = gene_modules(
            *self.omics,
            threshold,
            parameters=GeneModulesParameters.model_validate({"expression": declared}),
        )
        eigengenes = module_eigengenes(
            *self.omics,
            modules,
            parameters=ModuleEigengenesParameters.model_validate({"expression": declared}),
        )
        return threshold, modules, eigengenes


@pytest.fixture(scope="session")
def network():
    return PlantedNetwork()


@pytest.fixture(scope="session")
def network_results(network):
    return network.results()


@pytest.fixture(scope="session")
def make_network():
    return PlantedNetwork


def _spoken_of(section, frames, makers):
    """Return what a section says with each column of each of its tables missing, by table and column."""
    about = About(
        study_id="s", title="S", is_simulated=True, version=3, published_at="", run_id="", code_version=""
    )
    whole = page._written(section, frames, about, makers)
    for table in (*section.needs, *section.uses):
        for column in frames[table].columns if table in frames else ():
            lesser = frames | {table: frames[table].drop(column)}
            yield table, column, whole, page._written(section, lesser, about, makers)


@pytest.fixture
def misses_columns(monkeypatch):
    """Look for a section that breaks, or changes without a word, when a version lacks a column."""

    def drawn(spec, **_):
        # What a drawing shows of its data: the columns that the rest of the specification names.
        told = json.dumps({key: value for key, value in spec.items() if key != "datasets"}, default=str)
        # The kind of a mark, such as "rule", may be the name of a column that nothing draws.
        plain = re.sub(r'"type": "\w+"', "", told)
        named = {*re.findall(r'"(\w+)"', plain), *re.findall(r"datum\.(\w+)", plain)}
        shown = [
            [{key: value for key, value in row.items() if key in named} for row in data]
            for data in spec.get("datasets", {}).values()
        ]
        told = re.sub(r"data-[0-9a-f]+", "", told) + json.dumps(shown, default=str)
        return f"<svg>{hashlib.sha256(told.encode()).hexdigest()}</svg>"

    monkeypatch.setattr("vl_convert.vegalite_to_svg", drawn)

    def found(section, frames):
        makers = Makers(
            reader="new",
            tables=dict.fromkeys(frames, "0.1.0+old"),
            columns=lambda table: frames[table].columns,
        )
        return [
            (table, column)
            for table, column, whole, said in _spoken_of(section, frames, makers)
            if said != whole
            and not re.search(
                rf"<code>{table}</code>.* of version 3, made by trialhouse 0\.1\.0\+old, (has|have) no column"
                rf" <code>{column}</code>",
                said,
            )
        ]

    return found
