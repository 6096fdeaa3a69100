"""The pilot's published analysis data as a study of their own, and what is derived here beside them."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import polars as pl
import pytest

from warehouse.study import HOUSE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Ask = Callable[[str], pl.DataFrame]

STUDIES = HOUSE / "studies"
# Both sides are sums and quotients of doubles read from the same decimal texts: rounding, no modelling.
TOLERANCE = 1e-9

# By name in the table of README.md: table, key, condition on the rows of both, variables.
COMPARED = {
    "adsl": (
        ("adsl", ("usubjid",), "true"),
        """
        siteid sitegr1 age agegr1 sex race ethnic trt01p trt01pn trt01a trtsdt trtedt trtdurd saffl ittfl
        efffl comp8fl comp16fl comp24fl eosstt eosdt disconfl dsraefl heightbl weightbl bmibl educlvl durdis
        mmsetot visnumen cumdose avgdd
        """,
    ),
    "adae": (
        ("adae", ("usubjid", "aeseq"), "true"),
        """
        trt01p aedecod aebodsys aesev aeser aerel relgr1 aesdth astdt astdtf astdy aendt aendy adurn trtemfl
        aoccfl aoccsfl aoccpfl aoccifl aoccsifl aoccpifl cq01nam
        """,
    ),
    "adlb": (
        ("adlb", ("usubjid", "lbseq"), "dtype is null"),
        "avisit visitnum adt ady aval base chg anrlo anrhi anrind bnrind shift1 ablfl anl01fl ontrtfl",
    ),
    "adlb, End of Treatment": (
        ("adlb", ("usubjid", "lbseq"), "dtype = 'LOV'"),
        "visitnum adt aval base chg anrind",
    ),
    "advs": (
        ("advs", ("usubjid", "vsseq"), "dtype is null"),
        "paramcd param atpt atptn avisit visitnum adt ady aval base chg pchg ablfl anl01fl ontrtfl",
    ),
    "advs, End of Treatment": (
        ("advs", ("usubjid", "vsseq"), "dtype = 'LOV'"),
        "visitnum adt aval base chg pchg",
    ),
    "adtte": (
        ("adtte", ("usubjid", "paramcd"), "paramcd = 'TTDE'"),
        "startdt adt aval cnsr srcdom srcseq",
    ),
    "adqs": (
        (
            "adqs",
            ("usubjid", "qsseq"),
            "dtype is null and paramtyp is null and paramcd in ('ACTOT', 'CIBIC', 'NPTOT')",
        ),
        "paramcd avisit visitnum adt ady aval base chg ablfl anl01fl awtarget awtdiff",
    ),
    "adqs, LOCF": (
        (
            "adqs",
            ("usubjid", "paramcd", "avisit"),
            "dtype = 'LOCF' and anl01fl = 'Y' and paramcd in ('ACTOT', 'CIBIC')",
        ),
        "aval base chg",
    ),
}


def same(left: str, right: str, kind: pl.DataType) -> pl.Expr:
    if kind.is_float():
        near = (pl.col(left) - pl.col(right)).abs() <= TOLERANCE * (1 + pl.col(right).abs())
        return near.fill_null(value=False) | (pl.col(left).is_null() & pl.col(right).is_null())
    return pl.col(left).eq_missing(pl.col(right))


def comparison(ours: Ask, published: Ask) -> Iterator[tuple[str, str, int, int]]:
    """Yield, for each table and variable, the published records and those with the same value here."""
    for name, ((table, key, condition), variables) in COMPARED.items():
        names = variables.split()
        query = f"select {', '.join([*key, *names])} from adam.{table} where {condition}"
        left, right = ours(query), published(query)
        assert not right.select(key).is_duplicated().any(), name
        joined = right.join(left, on=key, how="left", suffix="_here", coalesce=True)
        joined = joined.join(left.select(key).with_columns(is_here=True), on=key, how="left")
        yield name, "records", right.height, int(joined["is_here"].sum())
        for variable in names:
            agrees = same(f"{variable}_here", variable, right.schema[variable]) & pl.col("is_here")
            yield name, variable, right.height, int(joined.select(agrees.sum()).item())


def table_of(readme: str) -> list[tuple[str, str, int, int]]:
    """Return the lines of the comparison table, `| table | variable | published | the same here |`."""
    pattern = r"^\| (ad\w+(?:, [\w ]+)?) \| `?(\w+)`? \| (\d+) \| (\d+) \|"
    return [
        (found[1], found[2], int(found[3]), int(found[4]))
        for found in re.finditer(pattern, readme, flags=re.MULTILINE)
    ]


def test_both_studies_ask_the_same_questions() -> None:
    first, second = (
        tomllib.loads((STUDIES / study / "study.toml").read_text(encoding="utf-8"))
        for study in ("cdiscpilot01", "cdiscpilot01_adam")
    )
    for part in ("design", "estimands", "families"):
        assert first[part] == second[part], part


@pytest.fixture(scope="module")
def ours(ran):
    return ran("cdiscpilot01")


@pytest.fixture(scope="module")
def published(ran):
    return ran("cdiscpilot01_adam")


@pytest.mark.acceptance
def test_the_table_of_the_readme_is_what_the_two_lakes_say(ours, published) -> None:
    readme = (STUDIES / "cdiscpilot01_adam" / "README.md").read_text(encoding="utf-8")
    assert table_of(readme) == list(comparison(ours, published))


@pytest.mark.acceptance
@pytest.mark.parametrize("study", ["ours", "published"])
def test_treatment_emergent_events_are_those_of_the_study_report(study, request) -> None:
    # Table 14-5.01 of the clinical study report: participants and events by planned arm.
    ask = request.getfixturevalue(study)
    counted = ask(
        "select trt01p, count(distinct usubjid) as n, count(*) as events from adam.adae"
        " where trtemfl = 'Y' group by trt01p"
    )
    assert {arm: (n, events) for arm, n, events in counted.iter_rows()} == {
        "Placebo": (65, 281),
        "Xanomeline Low Dose": (77, 412),
        "Xanomeline High Dose": (76, 433),
    }


@pytest.mark.acceptance
def test_every_time_to_the_first_dermatologic_event_is_the_published_one(ours, test_data) -> None:
    theirs = pl.read_parquet(test_data / "cdiscpilot_adam" / "parquet" / "adtte.parquet")
    here = ours("select usubjid, aval, cnsr from adam.adtte where paramcd = 'TTDE'")
    assert {(i, int(a), int(c)) for i, a, c in here.iter_rows()} == {
        (i, int(a), int(c)) for i, a, c in theirs.select("USUBJID", "AVAL", "CNSR").iter_rows()
    }


@pytest.mark.acceptance
def test_every_difference_of_the_two_adverse_event_files_is_told(ours) -> None:
    counted = ours("select outcome, count(*) as n from staging.ae_versions group by outcome")
    assert dict(counted.iter_rows()) == {"unchanged": 960, "changed": 1, "superseded": 229, "repeated": 1}
    later = ours(
        "select count(*) as n from staging.ae_versions as gone"
        " join staging.ae_versions as kept on gone.usubjid = kept.usubjid and gone.kept_aeseq = kept.aeseq"
        " where gone.outcome = 'superseded' and gone.aedtc > kept.aedtc"
    )
    assert later["n"][0] == 0


@pytest.mark.acceptance
def test_without_a_flagged_baseline_and_only_then_does_a_laboratory_baseline_differ(ours, published) -> None:
    rows = "select usubjid, lbseq, base from adam.adlb where dtype is null"
    joined = ours(rows).join(published(rows), on=["usubjid", "lbseq"], suffix="_published")
    differing = joined.filter(~same("base", "base_published", pl.Float64()))
    # Nothing was measured at the first screening visit: here the repeat before treatment is the baseline.
    assert differing["base_published"].null_count() == differing.height == 918
    assert joined.height == 54575


@pytest.mark.acceptance
def test_the_published_indicator_is_told_by_the_ratios_to_the_limits(ours, test_data) -> None:
    folder = test_data / "cdiscpilot_adam" / "parquet"
    theirs = pl.concat(
        [pl.read_parquet(folder / f"{name}.parquet").select("USUBJID", "LBSEQ", "AVISITN", "ANRIND", "A1HI")
         for name in ("adlbc", "adlbh")]
    )  # fmt: skip
    theirs = theirs.filter(pl.col("AVISITN").fill_null(0) != 99, pl.col("A1HI").is_not_null())
    here = ours(
        "select usubjid, lbseq, r2anrlo, r2anrhi from adam.adlb where dtype is null and aval is not null"
    )
    joined = theirs.with_columns(pl.col("LBSEQ").cast(pl.Int64)).join(
        here.with_columns(pl.col("lbseq").cast(pl.Int64)),
        left_on=["USUBJID", "LBSEQ"], right_on=["usubjid", "lbseq"],
    )  # fmt: skip
    told = (
        pl.when(pl.col("r2anrhi") > 1.5 * (1 + TOLERANCE)).then(pl.lit("H"))
        .when(pl.col("r2anrlo") < 0.5 * (1 - TOLERANCE)).then(pl.lit("L"))
        .otherwise(pl.lit("N"))
    )  # fmt: skip
    assert joined.height > 50_000
    assert joined.filter(told != pl.col("ANRIND")).height == 0
