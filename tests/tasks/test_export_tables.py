"""Formatted tables: rounding as SAS does it, the familiar cells, no statistic lost, well-formed files."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.clinical.ard import TOTAL, Address, described, statistics, table
from tasks.export.cells import Precision, decimals_of, fill, p_value, percent, rounded, statistic
from tasks.export.data_set import Origin
from tasks.export.formatted_table import FormattedTable, format_tables
from tasks.export.html_table import html_index, html_table
from tasks.export.layouts import LAYOUTS
from tasks.export.rtf_table import rtf_table
from tasks.readers import Piece, read
from warehouse.study import Estimand, Source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

ARMS = ("Placebo", "Low", "High")
ORIGIN = Origin(
    study_id="demo",
    title="Demo <of> & tables",
    is_simulated=False,
    version=3,
    published_at="2026-01-31 12:00:00",
    run_id="r1",
    software_version="9.9.9",
)
SAFETY = Estimand(
    id="safety",
    title="Safety of treatment",
    population="saffl",
    summary="participants with events",
    intercurrent_events=({"event": "rescue", "strategy": "composite", "handling": "counts"},),
)


# Numbers.


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.5, 0, "1"), (1.5, 0, "2"), (2.5, 0, "3"), (-2.5, 0, "-3"),  # Python's round gives 0, 2, 2, -2
        (0.125, 2, "0.13"), (-0.125, 2, "-0.13"), (1.005, 2, "1.01"), (2.675, 2, "2.68"),
        (74.3499, 1, "74.3"), (74.34999999999999, 1, "74.4"),  # the latter is 74.35 but for its binary error
        (0.1 + 0.2, 1, "0.3"), (1.45 * 100, 0, "145"), (8.25 - 0.1 + 0.1, 1, "8.3"),
        (-0.04, 1, "0.0"), (-0.05, 1, "-0.1"), (0.0, 2, "0.00"), (1e-20, 3, "0.000"),
        (1234567.5, 0, "1234568"),
    ],
)  # fmt: skip
def test_rounding_is_half_away_from_zero(value, decimals, text):
    assert rounded(value, decimals) == text


@given(st.decimals(-1000, 1000, places=4), st.integers(0, 3))
def test_rounding_follows_the_decimal_value(exact, decimals):
    expected = exact.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)
    assert Decimal(rounded(float(exact), decimals)) == expected
    assert rounded(-float(exact), decimals).lstrip("-") == rounded(float(exact), decimals).lstrip("-")


def test_a_number_that_is_none_is_refused():
    with pytest.raises(ValueError, match="value: nan: a finite number is allowed"):
        rounded(float("nan"), 1)
    with pytest.raises(ValueError, match=r"p: 1\.2: 0 to 1 is allowed"):
        p_value(1.2)


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.59342, "0.5934"), (0.0001, "0.0001"), (0.00009999, "<.0001"), (1e-300, "<.0001"), (0.05, "0.0500"),
        (1.0, "1.0000"), (0.99996, ">.9999"), (0.99994, "0.9999"),
    ],
)  # fmt: skip
def test_p_values(p, text):
    assert p_value(p) == text


@pytest.mark.parametrize(
    ("share", "text"), [(65 / 86, "75.6"), (0.285, "28.5"), (0.0005, "0.1"), (1.0, "100.0")]
)
def test_percent(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(("value", "n"), [(52.0, 0), (0.1, 1), (56.7241379, 3), (1e6, 0), (None, None)])
def test_decimals_of_the_data(value, n):
    assert decimals_of(value) == n


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("{n} ({p})", {"n": 65.0, "p": 65 / 86}, "65 (75.6%)"),
        ("{n} ({p}) [{n_events}]", {"n": 65.0, "p": 65 / 86, "n_events": 281.0}, "65 (75.6%) [281]"),
        ("{n} ({p}) [{n_events}]", {"n": 0.0, "p": 0.0, "n_events": 0.0}, "0"),
        ("{mean} ({sd})", {"mean": 75.2093, "sd": 8.5901}, "75.2 (8.59)"),
        ("{mean} ({sd})", {"mean": 75.0, "sd": None}, "75.0 (NE)"),
        ("{mean} ({sd})", {"mean": None, "sd": None}, "NE"),
        ("{mean} ({sd})", {"n": 3.0}, ""),
        ("({conf.low:%}, {conf.high:%})", {"conf.low": 0.2109, "conf.high": 0.7891}, "(21.1%, 78.9%)"),
        ("{estimate:2}", {"estimate": 4.0849}, "4.08"),
        ("{estimate:2}", {"estimate": None}, "NE"),
        ("{conf.level}", {"conf.level": 0.95}, "95%"),
        ("{df}", {"df": 145.55}, "145.6"),
        ("{structure}", {"structure": "us"}, "us"),
    ],
)
def test_cells(template, values, text):
    assert fill(template, values, Precision(decimals=0)) == text


def test_decimals_follow_the_data():
    assert statistic("mean", 1.23456, Precision(decimals=2)) == "1.235"
    assert statistic("sd", 1.23456, Precision(decimals=2)) == "1.2346"
    assert statistic("min", 1.2, Precision(decimals=2)) == "1.20"


# Tables.


def address(arm: str | None, variable: str, **more: Any) -> Address:
    return Address(estimand=SAFETY, group1="TRT01A", group1_level=arm, variable=variable, **more)


def population() -> Iterator[dict[str, Any]]:
    for arm, n in zip((*ARMS, TOTAL), (86, 84, 84, 254), strict=True):
        yield from statistics(address(arm, "SAFFL", variable_label="Population"), "population", {"N": n})


def one(rows, analysis: str) -> FormattedTable:
    (made,) = format_tables(table(analysis, [*population(), *rows]), [SAFETY], ORIGIN)
    return made


def shown(made: FormattedTable) -> list[tuple[str, ...]]:
    return [(f"{'  ' * row.indent}{row.label}", *row.cells) for row in made.rows]


def event_rows():
    # Table 14-5.01 of the CDISC pilot: any treatment-emergent event.
    counts = {"Placebo": (65, 86, 281), "Low": (77, 84, 412), "High": (76, 84, 433)}
    for words, key in (({}, "any"), ({"group2": "AEBODSYS", "group2_level": "CARDIAC"}, "class")):
        for arm, (n, of, events) in counts.items():
            where = address(arm, "TRTEMFL", variable_label="Any event", variable_level="Y", **words)
            values = (
                {"n": n, "p": n / of, "n_events": events} if key == "any" else {"n": 0, "p": 0, "n_events": 0}
            )
            yield from statistics(where, "incidence", values)
        for arm, p in (("Low", 0.00651), ("High", 0.0136)):
            where = address(arm, "TRTEMFL", variable_label="Any event", variable_level="Y", **words)
            method = "Fisher's exact test"
            yield from statistics(
                where.at(group1_reference="Placebo"), "fisher", {"p.value": p}, method=method
            )


def test_adverse_events():
    made = one(event_rows(), "adverse_events")
    assert (
        made.title
        == "Table 14-5.01 Treatment-emergent adverse events by system organ class and preferred term"
    )
    assert [(column.heading, column.n) for column in made.columns] == [
        ("Placebo", 86),
        ("Low", 84),
        ("High", 84),
        ("Total", 254),
        ("p-value: Low vs Placebo", None),
        ("p-value: High vs Placebo", None),
    ]
    assert shown(made) == [
        ("Any event", "65 (75.6%) [281]", "77 (91.7%) [412]", "76 (90.5%) [433]", "", "0.0065", "0.0136"),
        ("  CARDIAC", "0", "0", "0", "", "0.0065", "0.0136"),
    ]


def test_footnotes_and_subtitles_say_what_the_table_is():
    made = one(event_rows(), "adverse_events")
    assert made.subtitles == ("Safety of treatment", "Safety population")
    assert made.name == "adverse_events_safety"
    assert "Method: Fisher's exact test" in made.footnotes
    assert "Estimand safety: participants with events" in made.footnotes
    assert "Intercurrent event: rescue: composite (counts)" in made.footnotes
    assert made.footnotes[-1] == (
        "Source: results.clinical_statistics of demo, version 3 (2026-01-31 12:00:00 UTC), run r1;"
        " trialhouse 9.9.9"
    )


def test_a_baseline_table_of_the_published_data(test_data):
    path = test_data / "cdiscpilot_adam" / "dsjc" / "adsl.dsjc"
    if not path.is_file():
        pytest.skip("the test-data folder has no published ADSL")
    with duckdb.connect() as connection:
        delivered = read(connection, Piece(path, path.name), Source(path=path.name, format="dataset_json"))
        adsl = connection.sql(f"select TRT01P, AGE::double as age, SEX from {delivered.relation}").pl()
    rows = []
    arms = {"Placebo": "Placebo", "Low": "Xanomeline Low Dose", "High": "Xanomeline High Dose"}
    for arm, name in arms.items():
        own = adsl.filter(pl.col("TRT01P") == name)
        rows += statistics(
            address(arm, "AGE", variable_label="Age", unit="years"), "continuous", described(own["age"])
        )
        for sex in ("F", "M"):
            n = own.filter(pl.col("SEX") == sex).height
            where = address(arm, "SEX", variable_label="Sex", variable_level=sex)
            rows += statistics(where, "categorical", {"n": n, "p": n / own.height})
    rows += statistics(address(None, "AGE", variable_label="Age"), "anova", {"p.value": 0.59342})
    cells = {row[0]: row[1:] for row in shown(one(rows, "baseline_characteristics"))}
    # Table 14-2.01 of the CDISC pilot.
    assert cells["Age (years)"] == ("", "", "", "", "0.5934")
    assert cells["  Mean (SD)"][:3] == ("75.2 (8.59)", "75.7 (8.29)", "74.4 (7.89)")
    assert cells["  Median"][:3] == ("76.0", "77.5", "76.0")
    assert cells["  Min, Max"][:3] == ("52, 89", "51, 88", "56, 88")
    assert cells["  F"][:3] == ("53 (61.6%)", "50 (59.5%)", "40 (47.6%)")


def model_rows():
    for arm, mean in zip(ARMS, (2.5, 2.0, 1.5), strict=True):
        where = address(arm, "CHG", variable_label="Change", group2="PARAMCD", group2_level="ACTOT")
        yield from statistics(where, "continuous", described(pl.Series([-1.0, 2.0, 6.0])))
        values = {"estimate": mean, "std.error": 0.604, "conf.low": 1.3, "conf.high": 3.7, "conf.level": 0.95}
        yield from statistics(where, "ls_means", values)
        if arm != "Placebo":
            values = {"estimate": mean - 2.5, "std.error": 0.82, "conf.low": -2.1, "conf.high": 1.1}
            values |= {"conf.level": 0.95, "p.value": 0.5688}
            yield from statistics(where.at(group1_reference="Placebo"), "difference", values)


def test_a_treatment_comparison():
    made = one(model_rows(), "treatment_comparison")
    assert made.subtitles[-1] == "Parameter: ACTOT"
    assert shown(made)[7:] == [
        ("  LS mean (SE)", "2.5 (0.60)", "2.0 (0.60)", "1.5 (0.60)", ""),
        ("  95% CI of the LS mean", "(1.3, 3.7)", "(1.3, 3.7)", "(1.3, 3.7)", ""),
        ("  Compared with Placebo", "", "", "", ""),
        ("    Difference in LS means (SE)", "", "-0.5 (0.82)", "-1.0 (0.82)", ""),
        ("    95% CI of the difference", "", "(-2.1, 1.1)", "(-2.1, 1.1)", ""),
        ("    p-value", "", "0.5688", "0.5688", ""),
    ]


def test_two_variables_with_one_label_stay_apart():
    rows = []
    for variable, value in (("AVAL", 75.0), ("CHG", -3.0)):
        where = address("Low", variable, variable_label="Diastolic blood pressure", unit="mmHg")
        rows += statistics(where, "continuous", {"mean": value, "sd": 9.5, "min": 40.0, "max": 90.0})
    assert [(row[0], row[2]) for row in shown(one(rows, "vital_signs"))] == [
        ("Diastolic blood pressure (mmHg): value", ""),
        ("  Mean (SD)", "75.0 (9.50)"),
        ("  Min, Max", "40, 90"),
        ("Diastolic blood pressure (mmHg): change from baseline", ""),
        ("  Mean (SD)", "-3.0 (9.50)"),
        ("  Min, Max", "40, 90"),
    ]


@pytest.mark.parametrize("analysis", [*LAYOUTS, "never_heard_of"])
def test_no_statistic_is_lost(analysis):
    """Give results that share every word but their context and variable: each number has its own cell."""
    rows, numbers = [], []
    for context in ("continuous", "new_test", "other_test"):
        for variable in ("AVAL", "CHG"):
            for arm, reference in (("Placebo", None), ("Low", "Placebo"), (None, None)):
                number = 1000.0 + len(numbers)
                numbers.append(rounded(number, 3))
                where = address(arm, variable, variable_label="Score").at(group1_reference=reference)
                rows += statistics(where, context, {"other": number}, labels={"other": "Other"})
    made = one(rows, analysis)
    cells = [cell for row in made.rows for cell in row.cells if cell]
    # Without extremes nothing tells the decimals of the data: four are shown.
    assert sorted(cells) == sorted(rounded(float(number), 4) for number in numbers)


def test_what_could_not_be_computed_says_why():
    rows = statistics(
        address("Low", "CHG"), "ls_means", {"estimate": None, "std.error": None}, error="did not converge"
    )
    made = one(rows, "treatment_comparison")
    assert shown(made)[-1] == ("  LS mean (SE)", "", "NE", "", "")
    assert "NE: did not converge" in made.footnotes


def test_very_many_notes_are_counted():
    rows = []
    for n in range(20):
        rows += statistics(address("Low", "CHG"), f"c{n}", {"estimate": n}, warning=f"Remark {n}")
    notes = [note for note in one(rows, "never_heard_of").footnotes if note.startswith("Note")]
    assert len(notes) == 13
    assert notes[-1] == "Note: 8 more in results.clinical_statistics"


def test_each_estimand_has_a_table_of_its_own():
    other = SAFETY.model_copy(update={"id": "men", "title": "Men", "subgroup": {"sex": ("M",)}})
    rows = [*population(), *event_rows()]
    again = [{**row, "estimand": "men"} for row in rows]
    made = format_tables(table("adverse_events", [*rows, *again]), [SAFETY, other], ORIGIN)
    assert [each.name for each in made] == ["adverse_events_safety", "adverse_events_men"]
    assert made[1].subtitles == ("Men", "Safety population", "SEX: M")
    assert shown(made[0]) == shown(made[1])


# Files.

SIMULATED = Origin(
    study_id="demo",
    title="Simulated: Ärzte",
    is_simulated=True,
    version=3,
    published_at="2026-01-31 12:00:00",
    run_id=None,
    software_version="9.9.9",
)
HOSTILE = "<script>alert(1)</script> {\\b} \N{GREATER-THAN OR EQUAL TO}65 \N{GRINNING FACE}"


def hostile() -> FormattedTable:
    rows = statistics(
        address("Low", "AGEGR1", variable_label=HOSTILE, variable_level=f"level {HOSTILE}"),
        "categorical",
        {"n": 3, "p": 0.5}, warning=HOSTILE,
    )  # fmt: skip
    return one(rows, "baseline_characteristics")


def test_html_is_whole_and_escaped():
    page = html_table(hostile(), SIMULATED)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 3  # heading, level, note
    assert "Simulated data" in page
    assert "(N=84)" in page
    assert "3 (50.0%)" in page
    assert "Table 14-2.01" in page
    assert not re.search(r"https?://", page)
    assert "Simulated data" not in html_table(hostile(), ORIGIN)


def test_html_keeps_the_order_and_depth_of_rows():
    page = html_table(one(model_rows(), "treatment_comparison"), ORIGIN)
    body = page[page.index("<tbody") :]
    places = [body.index(words) for words in ("Change", "Mean (SD)", "LS mean (SE)", "Compared with Placebo")]
    assert places == sorted(places)
    row = re.search(r"<td[^>]*>\s*Difference in LS means", body)
    assert "padding-left: 3.2em" in row[0]
    heading = re.search(r"<td[^>]*>\s*Compared with Placebo", body)
    assert "font-weight: bold" in heading[0]


def test_the_index_lists_every_table():
    page = html_index([hostile()], ORIGIN)
    assert 'href="baseline_characteristics_safety.html"' in page
    assert 'href="baseline_characteristics_safety.rtf"' in page
    assert "Demo &lt;of&gt; &amp; tables" in page


def test_rtf_is_well_formed():
    made = one(model_rows(), "treatment_comparison")
    text = rtf_table(made, SIMULATED)
    assert text.isascii()
    plain = re.sub(r"\\[\\{}]", "", text)
    assert plain.count("{") == plain.count("}")
    rows = re.findall(r"\\trowd.*?\\row\b", text)
    assert len(rows) == 1 + len(made.subtitles) + 1 + len(made.rows)
    for row in rows:
        edges = [int(edge) for edge in re.findall(r"\\cellx(\d+)", row)]
        assert edges == sorted(set(edges))
        assert row.count(r"\cell") - row.count(r"\cellx") == len(edges)
        assert edges[-1] == 14570  # all rows end at the right margin
    # Title, subtitles and headings are repeated on each page, rows are not.
    assert [r"\trhdr" in row for row in rows] == [True] * (2 + len(made.subtitles)) + [False] * len(made.rows)
    assert r"\landscape" in text
    assert r"{\header" in text
    assert "SIMULATED DATA. demo: Simulated: \\u196?rzte" in text
    assert r"\fldinst NUMPAGES" in text


def test_rtf_escapes_text():
    text = rtf_table(hostile(), ORIGIN)
    # Signed sixteen-bit units: 8805, and the two surrogates of U+1F600.
    assert r"\{\\b\} \u8805?65 \u-10179?\u-8704?" in text
