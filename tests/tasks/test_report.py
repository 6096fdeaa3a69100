"""The report page: everything said, nothing loaded, nothing broken out of, the same bytes twice."""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from scipy import stats

from expectations.judge import judge
from expectations.suite import Suite, load_suite
from tasks.clinical.primary_endpoint import PrimaryEndpointParameters, primary_endpoint
from tasks.older_versions import Makers, declared_columns
from tasks.omics.differential_expression import SCHEMA as EXPRESSION_SCHEMA
from tasks.report import wording
from tasks.report.expression import GRID_COLUMNS, GRID_ROWS, MOST_DOTS, thin
from tasks.report.page import SECTIONS, TABLES, About, render
from warehouse.meta import LEDGERS
from warehouse.study import load_study

HOUSE = Path(__file__).resolve().parents[2]
SQL = HOUSE / "sql" / "reports"
SUITES = HOUSE / "expectations" / "reports"
LOADED = dt.datetime(2026, 11, 20, 9, 30)  # noqa: DTZ001 - the warehouse keeps UTC without saying so
FINISHED = LOADED + dt.timedelta(minutes=1)
# What a page of one study may weigh: it is sent by mail.
MOST_BYTES = 2_000_000
N_GENES = 20_000
PARTICIPANTS = [f"SIM-NL-{number:03d}" for number in range(1, 13)]
VISITS = [("Baseline", 0.0, 1), ("Week 4", 4.0, 29), ("Week 8", 8.0, 57), ("Week 12", 12.0, 85)]
IFN_GENES = (
    "CXCL9",
    "CXCL10",
    "CXCL11",
    "STAT1",
    "GBP1",
    "GBP5",
    "IDO1",
    "ISG15",
    "IFI27",
    "IFI44L",
    "RSAD2",
    "IFIT1",
)
PROTECTED = ("IFNG", "STAT1")
ATTACK = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def about() -> About:
    return About(
        study_id="nl_simulated",
        title="Simulated: topical ruxolitinib in necrobiosis lipoidica",
        is_simulated=True,
        version=7,
        published_at="2026-11-20 09:35 UTC",
        run_id="2026-11-20T0930-a1b2c3",
        code_version="0.1.0+3f9c2d1",
        commands=("trialhouse run nl_simulated", "trialhouse report nl_simulated --version 7"),
        data_version=5,
        release="interim-2026-11",
        phase="Phase 2, open-label, single arm",
        indication="Necrobiosis lipoidica",
        registry="NCT04492618",
        reference="doi 10.1016/j.jid.2023.11.027",
    )


def adqs() -> pl.DataFrame:
    rng = np.random.default_rng(11)
    rows = []
    for place, usubjid in enumerate(PARTICIPANTS):
        base = float(rng.integers(14, 26))
        final = 1.08 if place == 7 else float(rng.uniform(0.12, 0.75))
        for avisit, avisitn, day in VISITS:
            if usubjid == "SIM-NL-010" and avisitn > 4:
                continue
            aval = round(base * (1 - (1 - final) * (1 - np.exp(-avisitn / 4)) / (1 - np.exp(-3))))
            rows.append(
                {
                    "usubjid": usubjid,
                    "trt01a": "Ruxolitinib 1.5 % cream",
                    "paramcd": "NLS",
                    "param": "NL lesion score",
                    "unit": "points",
                    "avisit": avisit,
                    "avisitn": avisitn,
                    "ady": day,
                    "aval": float(aval),
                    "base": base,
                    "chg": aval - base,
                    "pchg": 100 * (aval - base) / base,
                    "anl01fl": "Y",
                    "dtype": None,
                    "saffl": "Y",
                    "fasfl": "Y",
                }
            )
    return pl.DataFrame(rows, schema_overrides={"dtype": pl.String})


def expression_effects() -> pl.DataFrame:
    rng = np.random.default_rng(5)
    n = N_GENES
    symbols = [*IFN_GENES, "IFNG", *(f"GENE{place}" for place in range(n - len(IFN_GENES) - 1))]
    is_null = np.arange(n) > 620
    base_mean = np.exp(rng.normal(5, 2, n))
    lfc_se = 0.12 + 1.2 / np.sqrt(base_mean)
    shift = np.where(is_null, 0, rng.normal(-0.7, 0.6, n))
    shift[: len(IFN_GENES)] = -np.linspace(3.6, 1.6, len(IFN_GENES))
    base_mean[len(IFN_GENES)] = 1.3
    lfc = rng.normal(shift, lfc_se)
    wald = lfc / lfc_se
    p = 2 * stats.norm.sf(np.abs(wald))
    status = np.where(base_mean < 2, "independent_filtering", "tested").astype(object)
    status[-900:] = "all_zero"
    status[-905:-900] = "not_estimable"
    frame = pl.DataFrame(
        {
            "feature_id": [f"ENSG{place:011d}" for place in range(n)],
            "symbol": symbols,
            "base_mean": base_mean,
            "log2_fold_change": lfc,
            "lfc_se": lfc_se,
            "statistic": wald,
            "p_value": p,
            "p_adjusted": stats.false_discovery_control(p),
            "q_value": stats.false_discovery_control(p),
            "status": status.tolist(),
            "is_protected": [symbol in PROTECTED for symbol in symbols],
            "is_low_count": base_mean < 2,
        }
    ).with_columns(
        contrast=pl.lit("treatment"),
        contrast_title=pl.lit("Week 12 against baseline"),
        ensembl_id=pl.lit(None, pl.String),
        lfc_shrunken=pl.col("log2_fold_change") * 0.9,
        lfc_shrunken_se=pl.col("lfc_se"),
        s_value=pl.lit(0.01),
        reason=pl.when(pl.col("status") != "tested").then(pl.lit("for a reason")),
        outlier_sample=pl.lit(None, pl.String),
        test=pl.lit("wald"),
        design=pl.lit("~ usubjid + visit"),
        n_subjects=pl.lit(11, pl.Int64),
        n_samples=pl.lit(22, pl.Int64),
        dispersion=pl.lit(0.1),
        excluded_samples=pl.lit("NL010-W0 (the only sample of subject SIM-NL-010)"),
        method=pl.lit("negative binomial model, Wald test, two-sided; Benjamini-Hochberg"),
    )
    untested = pl.col("status").is_in(["all_zero", "not_estimable"])
    return frame.with_columns(
        pl.when(~untested).then(pl.col("log2_fold_change", "lfc_se", "statistic", "p_value")),
        pl.when(pl.col("status") == "tested").then(pl.col("p_adjusted")),
    ).select(pl.col(name).cast(dtype) for name, dtype in EXPRESSION_SCHEMA.items())


def enriched_gene_sets() -> pl.DataFrame:
    named = [
        "HALLMARK_INTERFERON_GAMMA_RESPONSE",
        "HALLMARK_INTERFERON_ALPHA_RESPONSE",
        "IFN_GAMMA_ONLY",
        "IFN_ALPHA_ONLY",
        "HALLMARK_TNFA_SIGNALING_VIA_NFKB",
        "HALLMARK_INFLAMMATORY_RESPONSE",
        "HALLMARK_ALLOGRAFT_REJECTION",
        "HALLMARK_IL6_JAK_STAT3_SIGNALING",
        "HALLMARK_COMPLEMENT",
        "HALLMARK_ADIPOGENESIS",
        "HALLMARK_FATTY_ACID_METABOLISM",
        "HALLMARK_OXIDATIVE_PHOSPHORYLATION",
        "HALLMARK_MYOGENESIS",
        "HALLMARK_EPITHELIAL_MESENCHYMAL_TRANSITION",
        "HALLMARK_COAGULATION",
        "HALLMARK_ANGIOGENESIS",
        "HALLMARK_HYPOXIA",
        "HALLMARK_G2M_CHECKPOINT",
        "HALLMARK_E2F_TARGETS",
        "HALLMARK_KERATINISATION_OF_THE_SKIN",
        "HALLMARK_P53_PATHWAY",
        "HALLMARK_APOPTOSIS",
    ]
    p = np.logspace(-12, -0.1, len(named))
    nes = np.where(np.arange(len(named)) % 4 == 3, 1, -1) * np.linspace(3.1, 0.7, len(named))
    return pl.DataFrame(
        {
            "contrast": "treatment",
            "contrast_title": "Week 12 against baseline",
            "collection": "Hallmark",
            "gene_set": named,
            "description": None,
            "size_in_collection": 200,
            "size_ranked": 183,
            "enrichment_score": nes / 4,
            "nes": nes,
            "p_value": p,
            "p_adjusted": stats.false_discovery_control(p),
            "q_value": stats.false_discovery_control(p),
            "leading_edge": ", ".join(IFN_GENES),
            "leading_edge_size": np.linspace(90, 12, len(named)).astype(int),
            "n_ranked": 17_903,
            "ranking": "Wald statistic",
            "seed": 20261123,
            "method": "gseapy 1.3.1 prerank, multilevel",
            "direction": np.where(nes < 0, "lower", "higher"),
            "status": "tested",
        },
        schema_overrides={"description": pl.String},
    )


def sample_qc() -> pl.DataFrame:
    rng = np.random.default_rng(3)
    rows = []
    for place, usubjid in enumerate(PARTICIPANTS):
        for visit, tissue in (
            ("Baseline", "lesional"),
            ("Baseline", "non-lesional"),
            ("Week 12", "lesional"),
        ):
            sex = "M" if place % 5 == 0 else "F"
            swapped = usubjid == "SIM-NL-004" and visit == "Week 12"
            low = usubjid == "SIM-NL-009" and tissue == "non-lesional"
            rows.append(
                {
                    "sample_id": f"NL{place + 1:03d}-{visit[0]}{tissue[0].upper()}",
                    "usubjid": usubjid,
                    "visit": visit,
                    "tissue": tissue,
                    "library_size": 2_100_000 if low else int(rng.normal(24e6, 4e6)),
                    "n_genes_detected": int(rng.normal(17_000, 500)),
                    "recorded_sex": sex,
                    "expressed_sex": ("F" if sex == "M" else "M") if swapped else sex,
                    "is_sex_concordant": not swapped,
                    "is_library_size_low": low,
                }
            )
    return pl.DataFrame(rows)


def meta() -> dict[str, pl.DataFrame]:
    run_id = "2026-11-20T0930-a1b2c3"

    def source(name: str, file: str, fmt: str, rows: int, remarks: str | None = None) -> dict[str, object]:
        return {
            "run_id": run_id,
            "source": name,
            "source_file": file,
            "status": "delivered",
            "format": fmt,
            "sha256": f"{abs(hash_of(file)):064x}",
            "bytes": rows * 83,
            "rows": rows,
            "columns": json.dumps(["a", "b", "c"]),
            "encoding": None if fmt == "xpt" else "utf-8",
            "separator": "," if fmt == "csv" else None,
            "has_bom": remarks is not None,
            "remarks": remarks,
            "loaded_at": LOADED,
        }

    def result(
        table: str, column: str, severity: str, failing: int, notes: str, *, stage: str = "build"
    ) -> dict[str, object]:
        return {
            "run_id": run_id,
            "stage": stage,
            "table_name": table,
            "expectation": "expect_column_values_to_be_between",
            "column_name": column,
            "severity": severity,
            "is_met": failing == 0,
            "rows_in": 540,
            "rows_failing": failing,
            "rows_set_aside": 1 if table == "sdtm.qs" else 0,
            "rows_kept": 539 if table == "sdtm.qs" else 540,
            "observed": f"{failing} of 540" if failing else None,
            "notes": notes,
        }

    def failure(
        column: str, value: str | None, severity: str, disposition: str, row: int
    ) -> dict[str, object]:
        return {
            "run_id": run_id,
            "table_name": "sdtm.qs",
            "expectation": "expect_column_values_to_be_between",
            "column_name": column,
            "value": value,
            "severity": severity,
            "disposition": disposition,
            "source_file": "redcap/NLTrial_DATA.csv",
            "source_row": row,
            "row_key": None,
            "notes": "The score ranges from 0 to 27.",
        }

    correction = {
        "run_id": run_id,
        "correction_id": "visit-date-typo",
        "source": "redcap",
        "column_name": "visit_date",
        "old_value": "2062-03-14",
        "new_value": "2026-03-14",
        "reason": "Digits swapped",
        "evidence": "Site query 12",
        "status": "confirmed",
        "source_file": "redcap/NLTrial_DATA.csv",
        "source_row": 44,
    }
    ran = [
        {
            "run_id": run_id,
            "stage": stage,
            "status": "published",
            "started_at": LOADED,
            "finished_at": FINISHED,
            "code_version": "0.1.0+3f9c2d1",
            "message": message,
        }
        for stage, message in (
            ("ingest", "4 files, 2 new"),
            ("build", "23 tables"),
            ("analyze", "3 analyses"),
        )
    ]
    return {
        "meta.source_file": LEDGERS["source_file"].frame(
            [
                source("redcap", "redcap/NLTrial_DATA.csv", "csv", 540, "begins with a byte-order mark"),
                source("adverse_events", "redcap/ae.csv", "csv", 31),
                source("counts", "rnaseq/counts.tsv.gz", "matrix", 720_000),
                source("interferon", "house:interferon.gmt", "gmt", 224),
            ]
        ),
        "meta.check_result": LEDGERS["check_result"].frame(
            [
                result(
                    "raw.redcap",
                    "record_id",
                    "critical",
                    0,
                    "A row without a participant cannot be linked.",
                    stage="ingest",
                ),
                result("sdtm.qs", "qsstresn", "warning", 2, "The score ranges from 0 to 27."),
                result(
                    "sdtm.qs", "usubjid, qsseq", "set_aside", 1, "An exact duplicate counts a visit twice."
                ),
                result("sdtm.dm", "age", "warning", 0, "Adults only."),
                result("results.primary_endpoint", "p_value", "critical", 0, "Never zero.", stage="analyze"),
            ]
        ),
        "meta.check_failure": LEDGERS["check_failure"].frame(
            [
                failure("qsstresn", "31", "warning", "kept", 112),
                failure("qsstresn", None, "warning", "kept", 208),
                failure("usubjid, qsseq", "SIM-NL-003, 4", "set_aside", "set aside", 301),
            ]
        ),
        "meta.correction": LEDGERS["correction"].frame([correction]),
        "meta.run": LEDGERS["run"].frame(ran),
    }


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode().ljust(30, b"."), "big")


def with_reports(frames: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Add the views for people, made by their own SQL from the tables that exist."""
    with duckdb.connect() as connection:
        for name, frame in frames.items():
            schema, table = name.split(".")
            connection.execute(f"create schema if not exists {schema}")
            connection.register("arrived", frame.to_arrow())
            connection.execute(f"create table {schema}.{table} as select * from arrived")
        made = dict(frames)
        connection.execute("create schema reports")
        # Twice, for a model may read one that stands after it.
        for file in 2 * sorted(SQL.glob("*.sql")):
            name = f"reports.{file.stem}"
            try:
                found = connection.execute(file.read_text(encoding="utf-8")).pl()
            except duckdb.CatalogException:
                continue
            if name not in made:
                made[name] = found
                connection.register("arrived", found.to_arrow())
                connection.execute(f"create table {name} as select * from arrived")
    return made


@pytest.fixture(scope="module")
def frames() -> dict[str, pl.DataFrame]:
    enrolled = pl.DataFrame(
        {
            "usubjid": PARTICIPANTS,
            "trt01p": "Ruxolitinib 1.5 % cream",
            "trt01pn": 1.0,
            **dict.fromkeys(("saffl", "fasfl", "ittfl", "efffl", "pprotfl", "bmevalfl"), "Y"),
            "eosstt": ["DISCONTINUED" if each == "SIM-NL-010" else "COMPLETED" for each in PARTICIPANTS],
            "dcsreas": ["WITHDRAWAL BY SUBJECT" if each == "SIM-NL-010" else None for each in PARTICIPANTS],
        }
    )
    scores = adqs()
    score = {
        "paramcd": "NLS",
        "param": "NL lesion score",
        "unit": "points",
        "better": "lower",
        "is_primary": True,
    }
    parameters = PrimaryEndpointParameters(score="NLS", visit="Week 12", better="lower")
    made = with_reports(
        {
            "sdtm.dm": pl.DataFrame(
                {
                    "usubjid": [*PARTICIPANTS, "SIM-NL-013", "SIM-NL-014"],
                    "armcd": ["RUX"] * 12 + ["Scrnfail"] * 2,
                }
            ),
            "adam.adsl": enrolled,
            "adam.adqs": scores,
            "meta.score": pl.DataFrame([score]),
            "results.primary_endpoint": primary_endpoint(scores, parameters=parameters),
            "results.differential_expression": expression_effects(),
            "results.enriched_gene_sets": enriched_gene_sets(),
        }
    )
    made |= {"omics.sample_qc": sample_qc()} | meta()
    return {table: made[table] for table in TABLES if table in made}


@pytest.fixture(scope="module")
def page(frames: dict[str, pl.DataFrame], about: About) -> str:
    return render(frames, about)


class Outline(HTMLParser):
    """What the page is made of: tags with their attributes, ids, and text by tag."""

    VOID = frozenset({"meta", "link", "br", "hr", "img", "input", "wbr"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)


def outline(page: str) -> Outline:
    parsed = Outline()
    parsed.feed(page)
    parsed.close()
    return parsed


def test_the_page_loads_nothing(page: str) -> None:
    loading = {"src", "srcset", "data", "poster", "action", "background", "xlink:href"}
    parsed = outline(page)
    for tag, attributes in parsed.tags:
        assert tag not in {"script", "link", "iframe", "img", "object", "embed", "image", "use"}
        assert not loading & set(attributes), (tag, attributes)
        if "href" in attributes:
            assert tag == "a"
            assert str(attributes["href"]).startswith("#")
    assert not re.search(r"@import|url\((?!#)", page)
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg"}, addresses


def test_the_markup_is_balanced_and_every_id_is_its_own(page: str) -> None:
    parsed = outline(page)
    assert not parsed.unbalanced
    assert not parsed.open
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {str(attributes["href"])[1:] for tag, attributes in parsed.tags if tag == "a"}
    assert links <= set(ids)


def test_every_section_is_there_in_order(page: str) -> None:
    written = [section for section in SECTIONS if section.needs and set(section.needs) <= set(TABLES)]
    present = [section.name for section in written if f'<section id="{section.name}"' in page]
    assert {"deliveries", "participant_flow", "primary_result", "score_over_time"} < set(present)
    places = [page.index(f'<section id="{name}"') for name in present]
    assert places == sorted(places)


def test_simulated_is_said_in_the_title_the_banner_and_on_every_figure(page: str) -> None:
    assert re.search(r"<title>Simulated data: ", page)
    assert 'class="banner"' in page
    figures = re.findall(r"<figure.*?</figure>", page, re.DOTALL)
    assert len(figures) > 15
    assert all("Simulated data" in each for each in figures)
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert drawings
    assert all(">Simulated data<" in each for each in drawings)


def test_a_real_study_carries_no_banner(frames: dict[str, pl.DataFrame], about: About) -> None:
    page = render(frames, replace(about, is_simulated=False, title="A trial"))
    assert "imulated" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).replace(
        "nl_simulated", ""
    )


def test_the_same_input_gives_the_same_bytes(
    frames: dict[str, pl.DataFrame], about: About, page: str
) -> None:
    assert render(dict(reversed(frames.items())), about) == page


def test_the_page_stays_small(page: str) -> None:
    assert len(page.encode()) < MOST_BYTES


def test_the_primary_result_is_said_with_its_method(page: str) -> None:
    lead = re.search(r'<p class="lead">(.*?)</p>', page, re.DOTALL)
    assert lead is not None
    text = re.sub(r"<[^>]+>", "", lead[1])
    assert text.startswith("At Week 12, NL lesion score had fallen by a mean of ")
    assert "95 % interval" in text
    assert "n = 11" in text
    assert "Wilcoxon signed-rank test, exact permutation distribution, two-sided: p = ." in text
    assert "10 of 11 participants improved." in text


def test_a_failing_value_is_listed_with_its_file_and_row(page: str) -> None:
    failures = page[page.index('id="failures-table"') :]
    failures = failures[: failures.index("</figure>")]
    assert re.search(r">31<.*?redcap/NLTrial_DATA\.csv.*?>112<", failures, re.DOTALL)
    assert "1 row was set aside" in page


def test_data_cannot_break_out(frames: dict[str, pl.DataFrame], about: About) -> None:
    def attacked(frame: pl.DataFrame) -> pl.DataFrame:
        kept = {
            "statistic",
            "variable",
            "kind",
            "status",
            "severity",
            "better",
            "columns",
            "run_id",
            "table_name",
        }
        text = [
            name
            for name, dtype in frame.schema.items()
            if dtype == pl.String and name not in kept and frame[name].len()
        ]
        return frame.with_columns(pl.lit(f"{ATTACK}\"'&").alias(name) for name in text if name != "avisit")

    hostile = {name: attacked(frame) for name, frame in frames.items()}
    hostile["results.primary_endpoint"] = frames["results.primary_endpoint"].with_columns(
        param=pl.lit(ATTACK)
    )
    named = replace(
        about, title=ATTACK, study_id=ATTACK, commands=(ATTACK,), reference=ATTACK, code_version=ATTACK
    )
    page = render(hostile, named)
    assert ATTACK not in page
    assert "&lt;script&gt;" in page
    parsed = outline(page)
    assert not parsed.unbalanced
    assert all(tag != "script" for tag, _ in parsed.tags)


def test_empty_tables_give_a_page(frames: dict[str, pl.DataFrame], about: About) -> None:
    page = render({name: frame.clear() for name, frame in frames.items()}, about)
    present = [section for section in SECTIONS if not section.missing(frames)]
    assert all(f'<section id="{section.name}"' in page for section in present)
    assert "No file has been delivered." in page
    assert "No gene has a result in this version." in page
    assert "<svg" not in page


def test_what_the_study_lacks_is_said_in_a_line(frames: dict[str, pl.DataFrame], about: About) -> None:
    clinical = {
        name: frame for name, frame in frames.items() if "gene" not in name and "expression" not in name
    }
    page = render(clinical, about)
    absent = page[page.index('id="not_in_this_version"') :]
    assert "<b>Gene expression</b>: there is no <code>results.differential_expression</code>." in absent
    assert "<b>Gene sets</b>" in absent
    assert '<section id="expression"' not in page
    assert '<section id="primary_result"' in page


def test_nothing_at_all_gives_a_page(about: About) -> None:
    page = render({}, about)
    assert "Nothing of nl_simulated has been analysed in this version." in page
    assert page.count("<li><b>") == sum(bool(section.needs) for section in SECTIONS)


BREAKS = [
    ("participant_flow", {"kind": "room"}),
    ("participant_flow", {"stage": "Enrolled"}),
    ("participant_flow", {"n": None}),
    ("participant_flow", {"n": -1}),
    ("participant_flow", {"kind": "left", "reason": None}),
    ("waterfall", {"usubjid": None}),
    ("waterfall", {"usubjid": "SIM-NL-001"}),
    ("waterfall", {"better": "same"}),
    ("score_over_time", {"usubjid": "SIM-NL-002", "avisit": "Baseline"}),
    ("score_over_time", {"aval": None}),
    ("score_over_time", {"avisitn": None}),
    ("primary_tests", {"p_value": 0.0}),
    ("primary_tests", {"method": None}),
    ("primary_tests", {"is_exact": None}),
    ("primary_tests", {"n": None}),
    ("primary_estimates", {"estimate": None, "warning": None}),
    ("primary_estimates", {"ci_low": 2.0, "ci_high": 1.0}),
    ("primary_estimates", {"ci_level": 95.0}),
    ("primary_summary", {"variable": "CHG"}),
    ("primary_summary", {"mean": None}),
    ("primary_summary", {"min": 2.0, "max": 1.0}),
    ("top_genes", {"feature_id": None}),
    ("top_genes", {"feature_id": "ENSG00000000003"}),
    ("top_genes", {"p_value": 1.5}),
    ("top_genes", {"is_protected": None}),
    ("top_gene_sets", {"gene_set": "IFN_GAMMA_ONLY"}),
    ("top_gene_sets", {"p_value": 0.0}),
    ("top_gene_sets", {"position": 2}),
]


def suite_of(view: str) -> Suite:
    return load_suite(SUITES / f"{view}.json")


def nothing_referenced(table: str, column: str) -> list[object]:
    raise AssertionError(f"{table}.{column}")


@pytest.mark.parametrize("view", sorted({view for view, _ in BREAKS}))
def test_a_view_meets_its_suite(frames: dict[str, pl.DataFrame], view: str) -> None:
    verdict = judge(frames[f"reports.{view}"], suite_of(view), nothing_referenced)
    assert not [str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met]


@pytest.mark.parametrize(("view", "change"), BREAKS)
def test_a_suite_refuses_a_broken_view(
    frames: dict[str, pl.DataFrame], view: str, change: dict[str, object]
) -> None:
    sound = frames[f"reports.{view}"]
    first = pl.DataFrame([sound.row(0, named=True) | change], schema=sound.schema)
    assert judge(pl.concat([first, sound[1:]]), suite_of(view), nothing_referenced).is_stopped


def of_the_primary_result(frames: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    wanted = next(section for section in SECTIONS if section.name == "primary_result")
    return {table: frames[table] for table in (*wanted.needs, *wanted.uses)}


def test_several_arms_have_a_waterfall_each(frames: dict[str, pl.DataFrame], about: About) -> None:
    def split(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(
            trt01a=pl.when(pl.col("usubjid") < "SIM-NL-006").then(pl.lit("Placebo")).otherwise("trt01a")
        )

    primary = of_the_primary_result(frames)
    parted = {name: split(frame) if "trt01a" in frame.columns else frame for name, frame in primary.items()}
    page = render(parted, about)
    assert 'id="waterfall-1"' in page
    assert 'id="waterfall-2"' in page
    assert "Placebo: NL lesion score" in page


def test_an_undefined_percent_change_is_counted_and_not_drawn(
    frames: dict[str, pl.DataFrame], about: About
) -> None:
    changes = frames["reports.waterfall"].with_columns(pchg=pl.when(pl.col("position") > 2).then("pchg"))
    primary = of_the_primary_result(frames)
    page = render(primary | {"reports.waterfall": changes}, about)
    assert "2 participants have no percent change" in page
    nobody = changes.with_columns(pchg=pl.lit(None, pl.Float64))
    assert "no participant has a percent change" in render(primary | {"reports.waterfall": nobody}, about)


def test_the_volcano_is_thinned_by_rule_and_loses_no_gene() -> None:
    effects = expression_effects()
    reduced = thin(effects)
    tested = effects.filter(pl.col("p_value").is_not_null())
    assert reduced.n_genes == tested.height
    assert reduced.dots.height + reduced.grid["genes"].sum() == tested.height
    assert reduced.dots.height <= MOST_DOTS
    assert reduced.grid.select("direction", "x", "y").is_unique().all()
    assert reduced.grid.height <= 3 * GRID_COLUMNS * GRID_ROWS
    assert set(reduced.protected["symbol"]) == set(PROTECTED)
    assert thin(effects.reverse()).grid.equals(reduced.grid)


def test_far_fold_changes_stand_at_the_edge() -> None:
    effects = expression_effects()
    far = effects.with_columns(
        log2_fold_change=pl.when(pl.col("feature_id") == effects["feature_id"][5_000])
        .then(-30.0)
        .otherwise("log2_fold_change")
    )
    reduced = thin(far)
    assert reduced.half_width < 30
    assert reduced.n_at_the_edge >= 1


@pytest.mark.parametrize(
    ("p", "written"),
    [
        (0.0390625, ".039"),
        (0.001, ".001"),
        (0.00048828125, "4.9\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}10⁻⁴"),
        (0.99999, ">.999"),
        (1.0, "1.000"),
        (1 - 1e-12, "1.000"),
        (0.0, "<10⁻³⁰⁰"),
        (None, "\N{EN DASH}"),
        (float("nan"), "\N{EN DASH}"),
    ],
)
def test_p_values_are_written_by_rule(p: float | None, written: str) -> None:
    assert wording.p_value(p) == written


def test_p_values_in_a_sentence() -> None:
    assert wording.p_value_in_words(0.003) == "p = .003"
    assert wording.p_value_in_words(0.00048828125).startswith("p < .001 (4.9")
    assert wording.p_value_in_words(0.99999) == "p > .999"
    assert wording.p_value_in_words(None) == "p not available"


@pytest.mark.parametrize(
    ("value", "decimals", "written"),
    [
        (-58.23, 1, "\N{MINUS SIGN}58.2"),
        (12_345.6, 0, "12,346"),
        (-0.004, 2, "0.00"),
        (0.125, 2, "0.13"),
        (-2.5, 0, "\N{MINUS SIGN}3"),
        (0.1234, None, "0.123"),
        (float("-inf"), None, "\N{MINUS SIGN}∞"),
    ],
)
def test_numbers_have_true_minus_signs_and_separated_thousands(
    value: float, decimals: int | None, written: str
) -> None:
    assert wording.number(value, decimals) == written


def test_intervals_share_their_decimals() -> None:
    assert wording.interval(-76.4, -4.04) == "\N{MINUS SIGN}76.4 to \N{MINUS SIGN}4.0"
    assert wording.interval(None, 1.0) == "\N{EN DASH}"


def test_sizes_and_moments() -> None:
    assert wording.size(1_234_567) == "1.2 MB"
    assert wording.size(83) == "83 B"
    assert wording.size(None) == "\N{EN DASH}"
    assert (
        wording.moment(dt.datetime(2026, 3, 4, 5, 6, tzinfo=dt.timezone(dt.timedelta(hours=2))))
        == "2026-03-04 03:06"
    )
    assert wording.moment(dt.date(2026, 3, 4)) == "2026-03-04"
    assert wording.moment(None) == "\N{EN DASH}"


@pytest.mark.parametrize("name", [section.name for section in SECTIONS if section.name != "coexpression"])
def test_a_column_that_an_older_version_lacks_is_named(name, frames, misses_columns) -> None:
    (section,) = (section for section in SECTIONS if section.name == name)
    effects = frames["results.differential_expression"].gather_every(200)
    if not section.missing(frames):
        assert misses_columns(section, frames | {"results.differential_expression": effects}) == []


def test_a_column_that_no_code_gives_is_a_mistake_of_the_reader(frames, about: About, monkeypatch) -> None:
    makers = Makers(reader="new", tables={}, columns=lambda table: frames[table].columns)
    mistaken = replace(SECTIONS[1], write=lambda frames, _about: frames["meta.source_file"]["sorce"])
    monkeypatch.setattr("tasks.report.page.SECTIONS", (mistaken,))
    with pytest.raises(pl.exceptions.ColumnNotFoundError, match="sorce"):
        render(frames, about, makers)


def test_without_older_code_a_missing_column_raises(frames, about: About) -> None:
    lesser = {"meta.source_file": frames["meta.source_file"].drop("sha256")}
    with pytest.raises((KeyError, pl.exceptions.ColumnNotFoundError), match="sha256"):
        render(lesser, about)


def test_today_s_columns_are_declared_for_every_table_of_the_page(frames) -> None:
    study = load_study("nl_ruxolitinib")
    declared = {table: declared_columns(study, table) for table in TABLES}
    assert [table for table, columns in declared.items() if not columns or "*" in columns] == []
    made = {table for table in frames if table.startswith("reports.")}
    assert {table: set(frames[table].columns) for table in made} == {table: declared[table] for table in made}
