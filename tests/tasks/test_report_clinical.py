"""The clinical sections of the report: with one arm and with several, with nothing, and with hostile text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import polars as pl
import pytest

from expectations.judge import judge
from expectations.suite import load_suite
from tasks.report import (
    adverse_events,
    baseline,
    disposition,
    estimands,
    exposure,
    honesty,
    laboratory,
    multiplicity,
    participant_flow,
    responders,
    score_changes,
    score_over_time,
    score_shifts,
    sensitivity,
    summary,
    time_to_event,
    treatment_comparison,
    vital_signs,
)
from tasks.report.flow_diagram import Flow, Stage, draw
from tasks.report.forest import Effect, forest
from tasks.report.page import About, render
from tasks.report.statistics_cells import cells, sizes

HOUSE = Path(__file__).resolve().parents[2]
ATTACK = "<script>alert(1)</script>"
FALLING = [
    [8.0, 7, 5, 3],
    [10.0, 9, 6, 4],
    [6.0, 5, 4, 1],
    [12.0, 10, 8, 7],
    [9.0, 8, 5, None],
    [7.0, 7, 6, 5],
]
STEADY = [
    [8.0, 8, 8, 7],
    [10.0, 10, 9, 10],
    [6.0, 7, 6, 6],
    [12.0, 12, 11, 12],
    [9.0, 9, None, 9],
    [7.0, 7, 8, 8],
]
ONE_ARM = {"Active cream": [*FALLING, [11.0, 9, 7, 4], [8.0, 7, 5, 2]]}
TWO_ARMS = {"Vehicle": STEADY, "Active cream": FALLING}
SECTIONS = {
    module.SECTION.name: module.SECTION
    for module in (
        adverse_events, baseline, disposition, estimands, exposure, honesty, laboratory, multiplicity,
        participant_flow, responders, score_changes, score_over_time, score_shifts, sensitivity,
        time_to_event, treatment_comparison, vital_signs,
    )
}  # fmt: skip
FOR_SEVERAL_ARMS = {"treatment_comparison"}
DRAWN = {"participant_flow", "score_over_time", "sensitivity", "time_to_event"}


@pytest.fixture(scope="module")
def about():
    return About(
        study_id="small",
        title="A small study",
        is_simulated=True,
        version=3,
        published_at="2026-11-20 09:35",
        run_id="r1",
        code_version="0.1.0",
    )


def with_models(frames):
    """Add what the report's SQL makes of the tables, each model after those it reads."""
    made = dict(frames)
    with duckdb.connect() as connection:
        connection.execute("create schema reports")
        for name, frame in frames.items():
            put(connection, name, frame)
        waiting = sorted((HOUSE / "sql" / "reports").glob("*.sql"))
        # Twice, for a model may read one that stands after it.
        for file in [*waiting, *waiting]:
            name = f"reports.{file.stem}"
            try:
                found = connection.execute(file.read_text(encoding="utf-8")).pl()
            except duckdb.CatalogException:
                continue
            if name not in made:
                made[name] = found
                put(connection, name, found)
    return made


def put(connection, name, frame):
    schema, table = name.split(".")
    connection.execute(f"create schema if not exists {schema}")
    connection.register("arrived", frame.to_arrow())
    connection.execute(f"create table {schema}.{table} as select * from arrived")


def study(clinical_frames, arms):
    frames = clinical_frames(arms)
    enrolled = frames["adam.adsl"]
    score = {
        "paramcd": "SCORE", "param": "Lesion score", "unit": "points", "better": "lower", "is_primary": True,
    }  # fmt: skip
    screened = pl.concat([enrolled["usubjid"], pl.Series("usubjid", ["X01", "X02"])])
    codes = ["A"] * enrolled.height + ["SCRNFAIL"] * 2
    return with_models(
        frames
        | {
            "sdtm.dm": pl.DataFrame({"usubjid": screened, "armcd": codes}),
            "meta.score": pl.DataFrame([score]),
            "adam.adqs": frames["adam.adqs"].with_columns(ady=7 * pl.col("avisitn") + 1),
        }
    )


@pytest.fixture(scope="module")
def one_arm(clinical_frames):
    return study(clinical_frames, ONE_ARM)


@pytest.fixture(scope="module")
def two_arms(clinical_frames):
    return study(clinical_frames, TWO_ARMS)


class Balance(HTMLParser):
    """Which tags are left open, and every id and tag that there is."""

    VOID = frozenset({"br", "wbr", "meta", "hr"})

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.tags = [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.ids += [value for key, value in attrs if key == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, _tag, attrs):
        self.ids += [value for key, value in attrs if key == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(markup):
    balance = Balance()
    balance.feed(markup)
    balance.close()
    assert not balance.open
    assert len(balance.ids) == len(set(balance.ids))
    return balance


def text(markup):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup)).replace("\N{NO-BREAK SPACE}", " ")


def table_of(markup, name):
    """Return the rows of a table as lists of what their cells say, the heading first."""
    start = markup.index(f'id="{name}-table"')
    body = markup[start : markup.index("</figure>", start)]
    rows = re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    return [
        [text(cell).strip() for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)]
        for row in rows
    ]


def line(rows, label):
    return next(row for row in rows if row[0] == label)


@pytest.mark.parametrize("arms", ["one_arm", "two_arms"])
@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_a_section_writes_for_one_arm_and_for_several(name, arms, about, request):
    frames = request.getfixturevalue(arms)
    section = SECTIONS[name]
    if name in FOR_SEVERAL_ARMS and arms == "one_arm":
        assert section.missing(frames) == list(section.needs)
        return
    assert not section.missing(frames)
    written = section.write(frames, about)
    parsed(written)
    assert "None" not in text(written).replace("None of", "").replace("Adjustment None", "")
    assert "nan" not in text(written).split()
    figures = re.findall(r"<figure.*?</figure>", written, re.DOTALL)
    assert all("Simulated data" in figure for figure in figures)
    assert ("<svg" in written) >= (name in DRAWN)
    assert all('role="img"' in figure for figure in figures if "<svg" in figure)


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_a_section_says_so_when_its_tables_are_empty(name, two_arms, about):
    section = SECTIONS[name]
    empty = {table: frame.clear() for table, frame in two_arms.items()}
    written = section.write(empty, about)
    assert written.startswith("<p>")
    assert "<svg" not in written
    assert "<table" not in written


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_a_section_needs_only_what_it_names(name, two_arms, about):
    section = SECTIONS[name]
    parsed(section.write({table: two_arms[table] for table in section.needs}, about))


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_text_from_the_data_cannot_break_out(name, two_arms, about):
    kept = {
        "context", "stat_name", "kind", "scenario", "variable", "estimand", "arm", "reference", "analysis",
        "group1_level", "group1_reference", "group2_level", "group3_level", "stage", "paramcd", "avisit",
    }  # fmt: skip

    def attacked(frame):
        names = [each for each, dtype in frame.schema.items() if dtype == pl.String and each not in kept]
        return frame.with_columns(pl.lit(f"{ATTACK}\"'&").alias(each) for each in names)

    section = SECTIONS[name]
    written = section.write({table: attacked(frame) for table, frame in two_arms.items()}, about)
    assert ATTACK not in written
    assert "script" not in parsed(written).tags


@pytest.mark.parametrize("name", sorted(set(SECTIONS) - {"participant_flow", "estimands"}))
def test_hostile_arms_cannot_break_out(name, two_arms, about):
    renamed = {
        table: frame.with_columns(
            pl.col(each).str.replace("Vehicle", ATTACK, literal=True)
            for each, dtype in frame.schema.items()
            if dtype == pl.String
        )
        for table, frame in two_arms.items()
    }
    written = SECTIONS[name].write(renamed, about)
    assert ATTACK not in written
    assert "script" not in parsed(written).tags


def test_the_whole_page_is_one_and_points_only_to_what_it_has(two_arms, about):
    page = render(two_arms, about)
    balance = parsed(page)
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert links <= set(balance.ids)
    assert page == render(dict(reversed(two_arms.items())), about)
    assert len(page.encode()) < 1_000_000


def test_the_summary_tells_the_comparison_of_arms(two_arms, about):
    written = summary.SECTION.write(two_arms, about)
    told = text(written)
    difference = two_arms["results.treatment_comparison"].filter(
        pl.col("context") == "difference", pl.col("stat_name") == "estimate"
    )["stat"][0]
    assert difference < -3
    assert f"Active cream \N{MINUS SIGN}{-difference:.2f} points" in told
    assert "difference from Vehicle" in told
    assert 'href="#treatment_comparison"' in written
    assert "1 test in 1 family decides about an estimand: Change of the score at week 12" in told
    assert "all equal" in told


def test_the_summary_of_one_arm_tells_safety_and_sensitivity(one_arm, about):
    told = text(summary.SECTION.write(one_arm, about))
    n = one_arm["adam.adsl"].height
    assert f"of {n} participants, 6 had an event during treatment" in told
    assert "scenarios of the sensitivity analysis the estimate" in told


def test_counts_stand_under_their_arm(two_arms, about):
    rows = table_of(adverse_events.SECTION.write(two_arms, about), "ae_overview-safety")
    heading = rows[0]
    assert heading[1:4] == ["Vehicle (N = 6)", "Active cream (N = 6)", "Total (N = 12)"]
    # Participants 0, 4 and 8 have no event; the others one, two or three.
    assert line(rows, "Any treatment-emergent event")[1:4] == [
        "4 (66.7%) [7]",
        "5 (83.3%) [11]",
        "9 (75.0%) [18]",
    ]
    assert heading[4] == "p: Active cream against Vehicle"


def test_terms_are_ordered_by_how_many_have_them(two_arms, about):
    rows = table_of(adverse_events.SECTION.write(two_arms, about), "ae_terms-safety")
    assert [row[0] for row in rows[1:]] == [
        "Skin disorders",
        "Pruritus",
        "Erythema",
        "Nervous system disorders",
        "Headache",
    ]


def test_a_long_list_of_terms_leaves_out_what_is_rare_and_says_so(two_arms, about):
    result = two_arms[adverse_events.RESULT]
    first = result.filter(pl.col("variable") == "TRTEMFL", pl.col("group3_level") == "PRURITUS")
    many = [
        first.with_columns(
            group3_level=pl.lit(f"TERM {place}"),
            stat=pl.when(pl.col("stat_name") == "p").then(0.01).otherwise("stat"),
        )
        for place in range(adverse_events.MOST_LINES)
    ]
    written = adverse_events.SECTION.write({adverse_events.RESULT: pl.concat([result, *many])}, about)
    assert "60 terms seen in less than 5 % of every arm not shown" in text(written)
    assert "<details>" in written
    assert "Term 7" not in written


def test_numbers_are_described_with_the_decimals_of_the_data(one_arm, about):
    rows = table_of(baseline.SECTION.write(one_arm, about), "baseline-safety")
    # Ages 40 to 47.
    assert line(rows, "Mean (SD)")[1] == "43.5 (2.45)"
    assert line(rows, "Range")[1] == "40 to 47"
    assert line(rows, "White")[1] == "8 (100.0%)"
    assert line(rows, "M")[1] == "3 (37.5%)"


def test_responders_have_their_exact_interval(one_arm, about):
    rows = table_of(responders.SECTION.write(one_arm, about), "responders-primary")
    counted = line(rows, "Improved by 50 % or more")[1]
    assert re.fullmatch(r"\d / \d \(\d+\.\d%\)", counted)
    assert any(row[0] == "95 % interval, Clopper-Pearson" for row in rows)


def test_a_shift_table_shades_by_share_of_the_row(one_arm, about):
    written = score_shifts.SECTION.write(one_arm, about)
    assert 'class="heat h9"' in written
    assert "Missing" in written
    assert "have a lower grade" in written


def test_curves_have_the_numbers_at_risk(two_arms, about):
    written = time_to_event.SECTION.write(two_arms, about)
    drawing = re.search(r"<svg.*?</svg>", written, re.DOTALL)[0]
    assert ">6<" in drawing
    rows = table_of(written, "survival_table-safety-1")
    assert line(rows, "With the event")[1:4] == ["4", "4", "8"]
    assert "Log-rank test, p" in [row[0] for row in rows]


def test_an_unreached_quantile_is_said(two_arms, about):
    result = two_arms[time_to_event.RESULT]
    is_median = (pl.col("context") == "quantile") & (pl.col("variable_level") == "0.5")
    unreached = result.with_columns(stat=pl.when(~is_median).then("stat"))
    written = time_to_event.SECTION.write(two_arms | {time_to_event.RESULT: unreached}, about)
    rows = table_of(written, "survival_table-safety-1")
    assert line(rows, "Median, days")[1:3] == ["not reached", "not reached"]
    assert line(rows, "25 % had the event, days")[1] != "not reached"


def test_the_forest_shows_the_estimands_own_analysis_first(two_arms, about):
    written = sensitivity.SECTION.write(two_arms, about)
    says = re.search(r'aria-label="(Forest plot[^"]*)"', written)[1]
    assert "As the estimand says" in says.split(";")[0]
    assert "delta=" not in written
    assert "Leaving out each participant in turn" in written


def test_an_interval_without_limits_is_drawn_as_a_point(about):
    effects = [
        Effect(label="lone", estimate=1.0, low=None, high=None),
        Effect(label="x", estimate=2.0, low=1.0, high=3.0),
    ]
    assert "1.00 (\N{EN DASH})" in forest("f", effects, axis="Difference", caption="c", about=about)
    assert forest("f", [], axis="Difference", caption="c", about=about) == ""


def test_the_model_of_one_arm_is_tested_and_says_its_covariance(one_arm, about):
    written = score_over_time.SECTION.write(one_arm, about)
    assert "covariance, kenward-roger-linear degrees of freedom; 8 participants, 23 values" in text(written)
    rows = table_of(written, "model_means")
    assert [row[0] for row in rows[1:]] == ["Week 4", "Week 8", "Week 12"]


def test_without_a_model_the_mean_of_those_seen_is_drawn(two_arms, about):
    written = score_over_time.SECTION.write({score_over_time.COURSE: two_arms[score_over_time.COURSE]}, about)
    assert "the mean of those seen drawn thick" in written
    assert written.count("<svg") == 2


def test_every_p_value_that_decides_stands_beside_its_adjusted_one(two_arms, about):
    written = multiplicity.SECTION.write(two_arms, about)
    tests = two_arms[multiplicity.TESTS]
    assert tests.height
    assert tests["p_adjusted"].null_count() == 0
    assert "compared with the participant flow: all equal" in text(written)


def test_a_count_that_differs_is_listed(two_arms, about):
    counts = two_arms[multiplicity.COUNTS].with_columns(
        is_reconciled=pl.int_range(pl.len()) > 0, n_stated=pl.col("n_stated") + (pl.int_range(pl.len()) == 0)
    )
    written = multiplicity.SECTION.write(two_arms | {multiplicity.COUNTS: counts}, about)
    assert "1 differ" in text(written)
    assert 'id="unreconciled-table"' in written


def test_no_family_is_said_in_words(two_arms, about):
    tests = two_arms[multiplicity.TESTS].clear()
    assert "No test belongs to a family" in multiplicity.SECTION.write({multiplicity.TESTS: tests}, about)


def test_honesty_is_told_in_sentences(one_arm, about):
    told = text(honesty.SECTION.write(one_arm, about))
    assert "would have come without treatment" in told
    assert "the smallest p-value that the exact signed-rank test can give" in told
    assert "a paper prints p = .003 with n = 12" in told


def test_estimands_are_told_with_their_events(two_arms, about):
    told = text(estimands.SECTION.write(two_arms, about))
    assert "visit missed: hypothetical" in told
    assert "compared with Vehicle" in told
    assert "family main" in told


def test_the_flow_parts_into_arms_after_enrolment(two_arms, about):
    written = participant_flow.SECTION.write(two_arms, about)
    wide = re.search(r'<div class="wide".*?</svg>', written, re.DOTALL)[0]
    for said in ("Screened", "Screen failure", "Vehicle", "Active cream", "Completed", "Adverse event"):
        assert said in wide
    assert text(wide).count("Treated (n = 6)") == 2
    rows = table_of(written, "sets")
    assert line(rows, "Per-protocol set")[1:] == ["5", "5", "10"]


def test_many_arms_stand_below_each_other_where_they_have_no_room(about):
    lost = (("A reason that needs more than the width of one line of the box", 3),)
    stages = (Stage("Enrolled", 10), Stage("Treated", 9, lost), Stage("Completed", 6))
    branches = {f"Arm {place}": stages for place in range(7)}
    drawing = draw(Flow((Stage("Enrolled", 70),), branches), 860, about)
    heights = [float(y) for y in re.findall(r'<rect x="[\d.]+" y="([\d.]+)"', drawing)]
    assert len(set(heights)) == len(heights) - len(re.findall(r'width="3"', drawing))
    assert drawing.count("Not further") == 7


def test_cells_keep_the_first_unit_and_every_remark(two_arms):
    found = cells(two_arms["results.treatment_comparison"], "difference")
    assert {cell.reference for cell in found} == {"Vehicle"}
    assert all(cell.number("p.value") is not None for cell in found)
    assert found[0].text("p.value") is None
    assert sizes(two_arms["results.treatment_comparison"]) == {"Vehicle": 6, "Active cream": 6, "Total": 12}


BREAKS = [
    ("participant_fate", {"usubjid": None}),
    ("participant_fate", {"stage_left": "Lost"}),
    ("participant_fate", {"is_completed": None}),
    ("participant_fate", {"is_completed": False, "reason": None}),
    ("participant_flow_by_arm", {"arm": None}),
    ("participant_flow_by_arm", {"kind": "room"}),
    ("participant_flow_by_arm", {"stage": "Treated"}),
    ("participant_flow_by_arm", {"n": -1}),
    ("participant_flow_by_arm", {"n": None}),
    ("participant_flow_by_arm", {"kind": "left", "reason": None}),
    ("confirmatory_tests", {"position": 2}),
    ("confirmatory_tests", {"family": None}),
    ("confirmatory_tests", {"p_value": None}),
    ("confirmatory_tests", {"p_value": 0.0}),
    ("confirmatory_tests", {"p_adjusted": 0.0}),
    ("confirmatory_tests", {"p_value": 0.5, "p_adjusted": 0.1}),
    ("confirmatory_tests", {"method": None}),
    ("sensitivity_scenarios", {"scenario": "complete_cases"}),
    ("sensitivity_scenarios", {"label": None}),
    ("sensitivity_scenarios", {"estimate": None, "remark": None}),
    ("sensitivity_scenarios", {"p_value": 0.0}),
    ("sensitivity_scenarios", {"ci_low": 2.0, "ci_high": 1.0}),
    ("survival_curve", {"day": None}),
    ("survival_curve", {"survival": None}),
    ("survival_curve", {"survival": 1.5}),
    ("survival_curve", {"n_at_risk": -1}),
    ("survival_curve", {"ci_low": 0.9, "ci_high": 0.1}),
    ("model_means_over_time", {"avisit": "Week 8"}),
    ("model_means_over_time", {"avisit": None}),
    ("model_means_over_time", {"kind": "median"}),
    ("model_means_over_time", {"estimate": None, "remark": None}),
    ("model_means_over_time", {"p_value": 0.0}),
    ("model_means_over_time", {"ci_low": 2.0, "ci_high": 1.0}),
]


def verdict_on(frame, view):
    suite = load_suite(HOUSE / "expectations" / "reports" / f"{view}.json")
    return judge(frame, suite, lambda _table, _column: [])


@pytest.mark.parametrize("arms", ["one_arm", "two_arms"])
@pytest.mark.parametrize("view", sorted({view for view, _ in BREAKS}))
def test_a_view_meets_its_suite(view, arms, request):
    verdict = verdict_on(request.getfixturevalue(arms)[f"reports.{view}"], view)
    assert not [str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met]


@pytest.mark.parametrize(("view", "change"), BREAKS)
def test_a_suite_refuses_a_broken_view(view, change, two_arms):
    sound = two_arms[f"reports.{view}"]
    if view == "confirmatory_tests":
        sound = pl.concat([sound, sound.with_columns(position=pl.col("position") + 1)])
    first = pl.DataFrame([sound.row(0, named=True) | change], schema=sound.schema)
    assert verdict_on(pl.concat([first, sound[1:]]), view).is_stopped


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_a_column_that_an_older_version_lacks_is_named(name, two_arms, misses_columns):
    assert misses_columns(SECTIONS[name], two_arms) == []
