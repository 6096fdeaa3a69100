"""The simulated trial: same bytes for a seed, the published result, errors in their places."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

import expectations
from expectations.judge import judge
from expectations.suite import check_types, combine, find_suites
from tasks.simulation import delivery, read_assumptions, simulate, simulated_frames
from tasks.simulation.clinical import global_assessment
from tasks.simulation.cohort import split_total
from warehouse.errors import SourceError, StudyError
from warehouse.study import load_study

STUDY = Path(__file__).resolve().parents[2] / "studies" / "nl_ruxolitinib"
ASSUMPTIONS = STUDY / "simulation.toml"
SHIPPED = read_assumptions(ASSUMPTIONS).shipped
ITEMS = ("ERYTHEMA", "INDURATION", "SCALE", "PIGMENT", "SIZE_CLASS")


def run(out, *, seed=SHIPPED.seed, patients=SHIPPED.patients, genes=500):
    return simulate(ASSUMPTIONS, out, seed=seed, patients=patients, genes=genes)


def read(folder, name):
    separator = ";" if name == "lesion_scores" else ","
    return pl.read_csv(folder / "clinical" / f"{name}.csv", separator=separator, infer_schema=False)


def totals(folder):
    scores = read(folder, "lesion_scores").unique(maintain_order=True)
    return scores.with_columns(total=pl.sum_horizontal(pl.col(item).cast(pl.Int64) for item in ITEMS))


def paired(folder):
    scores = totals(folder)
    base = scores.filter(pl.col("VISIT") == "BASELINE").select("SUBJID", base="total")
    last = scores.filter(pl.col("VISIT") == "WEEK 12").select("SUBJID", last="total")
    return base.join(last, on="SUBJID", maintain_order="left")


def read_star(folder):
    files = sorted((folder / "omics" / "star").glob("*_ReadsPerGene.out.tab"))
    columns = [pl.read_csv(file, separator="\t", has_header=False) for file in files]
    genes = columns[0].to_series(0)[4:].to_list()
    samples = [file.name.removesuffix("_ReadsPerGene.out.tab") for file in files]
    return genes, samples, np.array([table.to_series(3)[4:].to_numpy() for table in columns]).T


def every_byte(folder):
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    out = tmp_path_factory.mktemp("shipped") / "data"
    run(out, genes=SHIPPED.genes)
    return out


@pytest.fixture(scope="module")
def smallest(tmp_path_factory):
    out = tmp_path_factory.mktemp("smallest") / "data"
    run(out, seed=99, patients=6)
    return out


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    out = tmp_path_factory.mktemp("large") / "data"
    run(out, seed=5, patients=120, genes=600)
    return out


# The same seed and size


def test_the_same_seed_and_size_give_the_same_bytes(tmp_path):
    run(tmp_path / "one")
    run(tmp_path / "two")
    assert every_byte(tmp_path / "one") == every_byte(tmp_path / "two")


def test_another_seed_gives_other_patients(tmp_path, smallest):
    run(tmp_path / "other", seed=98, patients=6)
    one, other = every_byte(smallest), every_byte(tmp_path / "other")
    assert one["clinical/lesion_scores.csv"] != other["clinical/lesion_scores.csv"]
    assert one.keys() == other.keys()


def test_patients_stay_the_same_when_the_genes_change(tmp_path, shipped):
    run(tmp_path / "few")
    few, many = every_byte(tmp_path / "few"), every_byte(shipped)
    clinical = [name for name in many if name.startswith("clinical/")]
    assert len(clinical) == 9
    assert all(few[name] == many[name] for name in clinical)


# Calibration


def test_percent_change_of_the_shipped_simulation_is_the_published_one(shipped):
    pairs = paired(shipped)
    percent = (100 * (pairs["last"] - pairs["base"]) / pairs["base"]).to_numpy()
    assert percent.size == 12
    assert round(percent.mean(), 1) == -58.2
    assert round(percent.std(ddof=1), 1) == 28.7


@pytest.mark.parametrize("is_percent", [True, False])
@pytest.mark.parametrize("correction", [True, False])
def test_asymptotic_signed_rank_rounds_to_the_published_p(shipped, is_percent, correction):
    pairs = paired(shipped)
    change = (pairs["last"] - pairs["base"]).to_numpy() / (pairs["base"].to_numpy() if is_percent else 1)
    test = stats.wilcoxon(change, method="asymptotic", correction=correction)
    assert test.statistic == 1  # one patient is slightly worse
    assert round(test.pvalue, 3) == 0.003


def test_calibration_says_the_totals_that_are_written(shipped):
    calibrated = read_assumptions(ASSUMPTIONS).calibrated
    pairs = paired(shipped)
    assert tuple(pairs["base"]) == calibrated.baseline_total
    assert tuple(pairs["last"]) == calibrated.week12_total


def test_other_sizes_are_drawn_and_say_so(tmp_path, shipped):
    summary = run(tmp_path / "data", patients=13)
    assert not summary.is_calibrated
    assert "not fitted to the publication" in str(summary)
    assert tuple(paired(tmp_path / "data")["base"])[:12] != tuple(paired(shipped)["base"])


def test_drawn_response_has_the_published_mean_and_spread(large):
    pairs = paired(large)
    fall = ((pairs["base"] - pairs["last"]) / pairs["base"]).to_numpy()
    # Three standard errors of a mean and of an SD at this size.
    assert abs(fall.mean() - 0.585) < 3 * 0.288 / np.sqrt(fall.size)
    assert abs(fall.std(ddof=1) - 0.288) < 3 * 0.288 / np.sqrt(2 * fall.size)


# Planted errors, in any simulation


@pytest.fixture(params=["shipped", "smallest", "large"])
def any_simulation(request):
    return request.getfixturevalue(request.param)


def test_visit_out_of_window(any_simulation):
    late = []
    schedule = {visit.avisit: visit for visit in load_study(STUDY).design.visits}
    visits = read(any_simulation, "visits").filter(pl.col("STATUS") == "Done")
    first = dict(visits.filter(pl.col("VISIT") == "Baseline").select("SUBJID", "VISITDAT").iter_rows())
    for subject, visit, date, _ in visits.iter_rows():
        day = (np.datetime64(date) - np.datetime64(first[subject])).astype(int) + 1
        low, high = schedule[visit.upper()].window
        if not low <= day <= high:
            late.append((subject, visit))
    assert late == [("003", "Week 8")]


def test_mistyped_score(any_simulation):
    scores = read(any_simulation, "lesion_scores")
    beyond = scores.filter(
        pl.any_horizontal(pl.col(item).cast(int) > (18 if item == "SIZE_CLASS" else 8) for item in ITEMS)
    )
    assert beyond.select("SUBJID", "VISIT", "ERYTHEMA").rows() == [("005", "WEEK 4", "33")]


def test_duplicated_row(any_simulation):
    scores = read(any_simulation, "lesion_scores")
    assert scores.filter(scores.is_duplicated()).select("SUBJID", "VISIT").rows() == [("002", "WEEK 4")] * 2


def test_bsa_over_the_limit(any_simulation):
    forms = read(any_simulation, "eligibility").filter(pl.col("ENROLLED") == "Yes")
    over = forms.filter(pl.col("BSA_PCT").cast(float) > 10)
    assert over.select("SUBJID", "BSA_PCT").rows() == [("004", "12.5")]
    assert forms["LARGEST_LESION_CM"].cast(float).min() >= 1.7


def test_mistyped_year_is_what_the_correction_mends(any_simulation):
    events = read(any_simulation, "adverse_events")
    assert events.filter(pl.col("STARTDAT").str.ends_with("2032"))["SUBJID"].to_list() == ["001"]
    for correction in tomllib.loads((STUDY / "corrections.toml").read_text())["correction"]:
        file = next(any_simulation.glob(f"*/{correction['source']}.csv"))
        separator = ";" if file.stem == "lesion_scores" else ","
        table = pl.read_csv(file, separator=separator, infer_schema=False)
        matched = table.filter(*(pl.col(name) == value for name, value in correction["match"].items()))
        assert matched.height == correction["expect"], correction["id"]


def test_failed_library_and_sex_mismatch(any_simulation):
    genes, samples, counts = read_star(any_simulation)
    library = counts.sum(axis=0)
    assert [samples[at] for at in np.flatnonzero(library < 0.1 * np.median(library))] == ["NLSIM002_N_W12"]
    names = pl.read_csv(any_simulation / "omics" / "gene_table.tsv", separator="\t", infer_schema=False)
    symbol = dict(names.select("symbol", "gene_id").iter_rows())
    xist = counts[genes.index(symbol["XIST"])]
    y = sum(counts[genes.index(symbol[name])] for name in ("RPS4Y1", "DDX3Y", "KDM5D", "UTY"))
    recorded = dict(read(any_simulation, "demographics").select("SUBJID", "SEX").iter_rows())
    differing = {
        sample[5:8]
        for place, sample in enumerate(samples)
        if xist[place] + y[place] >= 10 and ("F" if xist[place] > y[place] else "M") != recorded[sample[5:8]]
    }
    assert differing == {"006"}


def test_exchanged_libraries_hold_each_others_reads_and_the_sheet_does_not_say_so(any_simulation):
    swapped = read_assumptions(ASSUMPTIONS).flaws.swapped_libraries
    genes, samples, counts = read_star(any_simulation)
    truth = pl.read_csv(any_simulation / "truth" / "genes.tsv", separator="\t", infer_schema_length=None)
    usable = truth["module"].is_null().to_numpy() & (counts.mean(axis=1) > 30)
    level = np.log2(counts[usable] + 0.5)
    level -= np.median(level, axis=0)
    level -= level.mean(axis=1, keepdims=True)

    def alike(one, other):
        return np.corrcoef(level[:, samples.index(one)], level[:, samples.index(other)])[0, 1]

    first, second = (f"NLSIM{number:03d}" for number in (swapped.subject, swapped.other))
    for own, other in ((first, second), (second, first)):
        assert alike(f"{own}_N_W12", f"{other}_N_BL") > alike(f"{own}_N_W12", f"{own}_N_BL")
    sheet = pl.read_csv(any_simulation / "omics" / "sample_sheet.csv", infer_schema=False)
    assert (sheet["SAMPLE_ID"].str.slice(5, 3) == sheet["SUBJECT"]).all()
    # Genes of the sex chromosomes cannot tell: the two have one sex.
    recorded = dict(read(any_simulation, "demographics").select("SUBJID", "SEX").iter_rows())
    assert recorded[f"{swapped.subject:03d}"] == recorded[f"{swapped.other:03d}"]
    assert len(genes) == len(truth)


def test_a_null_study_has_the_same_patients_and_no_effect_on_any_gene(tmp_path, large):
    summary = simulate(ASSUMPTIONS, tmp_path / "null", seed=5, patients=120, genes=600, is_null=True)
    assert summary.is_null
    assert "no gene differs" in str(summary)
    assert "no gene differs" in (tmp_path / "null" / "README.txt").read_text()
    assert json.loads((tmp_path / "null" / "SIMULATED.json").read_text())["null"] is True
    null, usual = every_byte(tmp_path / "null"), every_byte(large)
    clinical = [name for name in usual if name.startswith("clinical/")]
    assert all(null[name] == usual[name] for name in clinical)
    for module in ("ifn", "immune"):
        _, lesion, fall = contrasts(tmp_path / "null", module)
        # Three standard errors; in the usual study the lesion is 1 and more above.
        assert abs(lesion.mean()) < 3 * lesion.std(ddof=1) / np.sqrt(lesion.size)
        assert abs(fall.mean()) < 3 * fall.std(ddof=1) / np.sqrt(fall.size)


def test_frames_are_those_of_the_files(smallest):
    made = simulated_frames(ASSUMPTIONS, seed=99, patients=6, genes=500, has_flaws=True)
    genes, samples, counts = read_star(smallest)
    wide = made.expression.pivot(on="sample_id", index="feature_id", values="count")
    assert wide["feature_id"].to_list() == genes
    assert np.array_equal(wide.select(samples).to_numpy(), counts)
    assert made.sample["sample_id"].to_list() == samples
    totals_of_files = totals(smallest).filter(pl.col("SUBJID") != "005").select("SUBJID", "VISIT", "total")
    of_frames = made.score.select(
        SUBJID=pl.col("usubjid").str.slice(-3), VISIT="avisit", of_frame=pl.col("aval").cast(pl.Int64)
    )
    both = totals_of_files.join(of_frames, on=["SUBJID", "VISIT"])
    assert both.height == totals_of_files.height
    assert (both["total"] == both["of_frame"]).all()
    last = made.score.filter(pl.col("avisit") == "WEEK 12")
    assert np.allclose(last["pchg"], 100 * last["chg"] / last["base"])


def test_frames_without_flaws_have_no_failed_library_and_none_exchanged():
    sound = simulated_frames(ASSUMPTIONS, seed=99, patients=6, genes=500)
    flawed = simulated_frames(ASSUMPTIONS, seed=99, patients=6, genes=500, has_flaws=True)
    differing = (
        sound.expression.join(flawed.expression, on=["feature_id", "sample_id"], suffix="_flawed")
        .filter(pl.col("count") != pl.col("count_flawed"))["sample_id"]
        .unique()
    )
    assert set(differing) == {"NLSIM002_N_W12", "NLSIM004_N_W12", "NLSIM005_N_W12"}
    library = sound.expression.group_by("sample_id").agg(pl.col("count").sum())
    assert library["count"].min() > 0.1 * library["count"].median()


def test_summary_and_readme_list_every_planted_error(tmp_path):
    summary = run(tmp_path / "data", patients=6)
    readme = (tmp_path / "data" / "README.txt").read_text()
    assert len(summary.flaws) == len(type(read_assumptions(ASSUMPTIONS).flaws).model_fields) == 8
    assert all(flaw in readme and flaw in str(summary) for flaw in summary.flaws)


# The transcriptome


def test_as_many_genes_pass_a_count_filter_as_in_bulk_skin(shipped):
    _, samples, counts = read_star(shipped)
    assert counts.shape == (20_000, 48)
    assert len(samples) == 48
    assert 12_000 <= ((counts >= 10).sum(axis=1) >= 12).sum() <= 14_000
    assert 4e6 < np.median(counts.sum(axis=0)) < 3e7


def module_means(folder, module):
    genes, samples, counts = read_star(folder)
    truth = pl.read_csv(folder / "truth" / "genes.tsv", separator="\t", infer_schema_length=None)
    assert truth["gene_id"].to_list() == genes
    level = np.log2(counts + 0.5)
    # The genes outside all modules carry the size of a library: among few genes the modules are much of it.
    level -= np.median(level[truth["module"].is_null().to_numpy() & (counts.mean(axis=1) > 50)], axis=0)
    members = (truth["module"] == module).fill_null(value=False).to_numpy()
    return dict(zip(samples, level[members].mean(axis=0), strict=True))


def contrasts(folder, module):
    means = module_means(folder, module)
    subjects = sorted({sample[5:8] for sample in means if sample.endswith("L_W12")})
    get = {
        place: np.array([means[f"NLSIM{subject}_{place}"] for subject in subjects])
        for place in ("L_BL", "L_W12", "N_BL")
    }
    return subjects, get["L_BL"] - get["N_BL"], get["L_W12"] - get["L_BL"]


def test_interferon_module_is_up_in_lesions_and_falls_with_the_score(large):
    subjects, lesion, fall = contrasts(large, "ifn")
    assert lesion.mean() > 1
    assert fall.mean() < -0.4
    pairs = {row[0]: (row[1] - row[2]) / row[1] for row in paired(large).iter_rows()}
    response = np.array([pairs[subject] for subject in subjects])
    assert stats.spearmanr(fall, response).statistic < -0.6
    assert abs(stats.spearmanr(contrasts(large, "adipose")[2], response).statistic) < 0.25


def test_modules_without_disease_do_not_differ_in_lesions(large):
    for module in ("adipose", "early_response"):
        _, lesion, _ = contrasts(large, module)
        assert abs(lesion.mean()) < 4 * lesion.std(ddof=1) / np.sqrt(lesion.size)


def test_interferon_gamma_is_low_and_stat1_is_the_hub(shipped):
    genes, samples, counts = read_star(shipped)
    truth = pl.read_csv(shipped / "truth" / "genes.tsv", separator="\t", infer_schema_length=None)
    symbols = truth["symbol"].to_list()
    assert 0.8 < counts[symbols.index("IFNG")].mean() < 2.2
    usable = counts.sum(axis=0) > 1e6
    level = np.log2((counts[:, usable] + 0.5) / counts[:, usable].sum(axis=0))
    members = np.flatnonzero((truth["module"] == "ifn").fill_null(value=False).to_numpy())
    eigengene = level[members].mean(axis=0)
    correlation = {symbols[at]: np.corrcoef(level[at], eigengene)[0, 1] for at in members}
    assert max(correlation, key=correlation.get) == "STAT1"
    assert correlation["IFNG"] > 0.2
    assert len(genes) == len(set(genes))
    assert len(samples) == counts.shape[1]


def test_counts_are_overdispersed(shipped):
    _, _, counts = read_star(shipped)
    usable = counts[:, counts.sum(axis=0) > 1e6]
    scaled = usable / usable.sum(axis=0) * np.median(usable.sum(axis=0))
    mean, variance = scaled.mean(axis=1), scaled.var(axis=1, ddof=1)
    at = (mean > 50) & (mean < 5000)
    assert np.mean(variance[at] > mean[at]) > 0.98


# The files


def test_star_tables_have_four_leading_rows_and_the_sense_strand_last(shipped):
    file = shipped / "omics" / "star" / "NLSIM001_L_BL_ReadsPerGene.out.tab"
    lines = [line.split("\t") for line in file.read_text().splitlines()]
    assert [line[0] for line in lines[:4]] == ["N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous"]
    assert {len(line) for line in lines} == {4}
    unstranded, forward, reverse = (sum(int(line[at]) for line in lines[4:]) for at in (1, 2, 3))
    assert reverse > 20 * forward
    assert reverse * 0.95 < unstranded < reverse * 1.05


def test_deliveries_differ_as_their_systems_do(shipped):
    scores = (shipped / "clinical" / "lesion_scores.csv").read_bytes()
    assert scores.startswith(b"\xef\xbb\xbfSUBJID;VISIT;")
    assert scores.count(b"\r\n") == scores.count(b"\n")
    assert b'""' not in b"".join(file.read_bytes() for file in (shipped / "clinical").iterdir())
    assert read(shipped, "adverse_events")["STARTDAT"].str.contains(r"^\d{2}-[A-Z]{3}-\d{4}$").all()
    assert read(shipped, "lesion_scores")["ASSESSDAT"].str.contains(r"^\d{2}\.\d{2}\.\d{4}$").all()


def test_the_folder_says_that_it_is_simulated(shipped):
    assert json.loads((shipped / "SIMULATED.json").read_text())["simulated"] is True
    assert (shipped / "README.txt").read_text().startswith("SIMULATED DATA.")
    assert set(read(shipped, "demographics")["STUDYID"]) == {"NLSIM"}


def test_every_source_of_the_study_is_written_with_its_columns(shipped):
    for name, source in load_study(STUDY).sources.items():
        if source.path.startswith("house:"):
            continue
        files = sorted(shipped.glob(source.path))
        assert files, name
        if source.format == "csv":
            header = files[0].read_text(encoding="utf-8-sig").splitlines()[0]
            separator = source.separator or ","
            assert header.split(separator) == list(source.columns), name


def test_assumptions_agree_with_the_design_of_the_study():
    assumptions, study = read_assumptions(ASSUMPTIONS), load_study(STUDY)
    design = {visit.avisit: visit for visit in study.design.visits}
    assert [visit.name for visit in assumptions.visit] == list(design)
    for visit in assumptions.visit:
        planned = design[visit.name]
        assert visit.day == planned.target_day
        assert planned.window[0] <= visit.day - visit.jitter_days
        assert visit.day + visit.jitter_days <= planned.window[1]
    ranges = [score.range[1] for score in study.design.scores]
    assert ranges[0] == assumptions.score.maximum
    assert ranges[1:6] == [item.maximum for item in assumptions.score.item]


def test_named_genes_are_unique_and_well_formed():
    genes = read_assumptions(ASSUMPTIONS).genes()
    assert genes["gene_id"].is_unique().all()
    assert genes["symbol"].is_unique().all()
    assert genes["gene_id"].str.contains(r"^ENSG\d{11}$").all()
    assert genes.height < delivery.GENES[0]


@pytest.mark.acceptance
def test_named_genes_have_the_identifiers_of_the_human_gene_map(test_data):
    columns = {"symbol": pl.String, "ensembl_ids": pl.String}
    known = pl.read_csv(
        test_data / "genesets" / "human_gene_map_org.Hs.eg.db_3.16.0.tsv.gz",
        separator="\t",
        quote_char=None,
        columns=list(columns),
        schema_overrides=columns,
    ).unique("symbol", keep="first", maintain_order=True)
    genes = read_assumptions(ASSUMPTIONS).genes().join(known, on="symbol", how="left")
    wrong = genes.filter(~pl.col("ensembl_ids").fill_null("").str.split("|").list.contains(pl.col("gene_id")))
    assert wrong.select("symbol", "gene_id").rows() == []


@pytest.fixture
def test_data():
    folder = Path(os.environ.get("TRIALHOUSE_TEST_DATA", STUDY.parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the test-data folder {folder} is absent")
    return folder


# Totals and grades


def test_a_total_is_split_whole_and_within_the_maxima():
    items = read_assumptions(ASSUMPTIONS).score.item
    weight = np.array([0.9, 0.02, 0.02, 0.02, 0.04])
    for total in range(51):
        points = split_total(total, weight, items)
        assert sum(points) == total
        assert all(0 <= point <= item.maximum for point, item in zip(points, items, strict=True))
    with pytest.raises(ValueError, match="total: 51: at most 50"):
        split_total(51, weight, items)


@pytest.mark.parametrize(
    ("total", "grade"), [(0, 0), (1, 1), (5, 1), (6, 2), (13, 3), (23, 4), (33, 5), (50, 5)]
)
def test_global_assessment_follows_the_total(total, grade):
    assert global_assessment(total, 50) == grade


# What is refused


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"patients": 5}, "patients: 5: 6 to 200 is allowed"),
        ({"patients": 201}, "patients: 201: 6 to 200"),
        ({"genes": 499}, "genes: 499: 500 to 40000 is allowed"),
        ({"genes": 40_001}, "genes: 40001: 500 to 40000"),
        ({"seed": -1}, "seed: -1: a whole number of 0 or more"),
    ],
)
def test_seed_and_sizes_outside_what_is_allowed(tmp_path, asked, message):
    with pytest.raises(StudyError, match=message):
        run(tmp_path / "data", **asked)
    assert not list(tmp_path.iterdir())


def broken_assumptions(folder, old, new):
    text = ASSUMPTIONS.read_text()
    assert old in text
    (folder / "simulation.toml").write_text(text.replace(old, new, 1))
    shutil.copy(STUDY / "genes.tsv", folder)
    return folder / "simulation.toml"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "female_fraction = 0.8",
            "female_fraction = 1.8",
            "trial.female_fraction: Input should be less than",
        ),
        ("age_sd", "age_spread", "trial.age_spread: Extra inputs"),
        (
            'visit = "WEEK 8"',
            'visit = "WEEK 9"',
            "flaws.visit_out_of_window.visit: 'WEEK 9': allowed: BASELINE",
        ),
        (
            'visit = "WEEK 4"',
            'visit = "WEEK 12"',
            "flaws.mistyped_score.visit: 'WEEK 12': the primary endpoint",
        ),
        (
            'column = "ERYTHEMA"\nmeant',
            'column = "REDNESS"\nmeant',
            "'REDNESS': allowed: ERYTHEMA, INDURATION",
        ),
        ("other = 5", "other = 4", "other: 4: must differ from subject"),
        ("other = 5", "other = 6", "swapped_libraries: subject 6: must not carry a flaw of samples already"),
        ("baseline_total = [37, ", "baseline_total = [", "baseline_total: 11 values: one per patient, 12"),
        ("[trial]", "[trial", "not a TOML file"),
    ],
)
def test_assumptions_that_cannot_be(tmp_path, old, new, message):
    file = broken_assumptions(tmp_path, old, new)
    with pytest.raises(StudyError) as error:
        read_assumptions(file)
    assert message in str(error.value)


def test_a_study_without_assumptions(tmp_path):
    with pytest.raises(
        StudyError, match=r"no such file: a study that can be simulated has a simulation\.toml"
    ):
        read_assumptions(tmp_path / "simulation.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("symbol", "name", "columns gene_id, name, .* allowed: gene_id, symbol"),
        ("\tifn\t", "\tinterferon\t", "module interferon: allowed: ifn, immune"),
    ],
)
def test_gene_list_that_cannot_be(tmp_path, old, new, message):
    file = broken_assumptions(tmp_path, "[trial]", "[trial]")
    genes = tmp_path / "genes.tsv"
    genes.write_text(genes.read_text().replace(old, new, 1))
    with pytest.raises(StudyError, match=message):
        read_assumptions(file).genes()
    genes.unlink()
    with pytest.raises(StudyError, match=r"names a table beside simulation\.toml"):
        read_assumptions(file).genes()


def test_a_folder_with_other_content_is_left_alone(tmp_path):
    out = tmp_path / "data"
    out.mkdir()
    (out / "real.csv").write_text("SUBJID\n")
    with pytest.raises(SourceError, match=r"holds more than an earlier simulation \(real\.csv\)"):
        run(out)
    assert [file.name for file in out.iterdir()] == ["real.csv"]
    with pytest.raises(SourceError, match="is a file"):
        run(out / "real.csv")


def test_an_earlier_simulation_is_replaced_but_not_with_somebodys_file_in_it(tmp_path):
    out = tmp_path / "data"
    run(out, patients=6)
    (out / "clinical" / "visits.csv").unlink()
    run(out, patients=7)
    assert json.loads((out / "SIMULATED.json").read_text())["patients"] == 7
    assert (out / "clinical" / "visits.csv").is_file()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(SourceError, match=r"notes\.txt"):
        run(out)


def test_a_simulation_that_dies_leaves_the_earlier_one_whole(tmp_path, monkeypatch):
    out = tmp_path / "data"
    run(out, patients=6)
    before = every_byte(out)

    def die(*_args, **_kwargs):
        raise OSError("no space left")

    monkeypatch.setattr(delivery, "sample_sheet", die)
    with pytest.raises(OSError, match="no space left"):
        run(out, patients=6)
    assert every_byte(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


# The rules of the study: a sound row passes, and every rule that stops or sets aside is shown to do so

HOUSE_SUITES = find_suites(Path(expectations.__file__).parent)
SUITES = find_suites(STUDY / "expectations")
KNOWN = {
    "sdtm.dm.usubjid": ["S-1", "S-2"],
    "meta.visit.avisit": ["BASELINE", "WEEK 4"],
}
SOUND = {
    "staging.eligibility": {
        "usubjid": "S-1",
        "is_nl_clinical": True,
        "is_nl_histological": True,
        "largest_lesion_cm": 1.7,
        "bsa_pct": 10.0,
        "is_enrolled": True,
    },
    "sdtm.dm": {"usubjid": "S-1", "age": 18, "armcd": "RUX", "rfstdtc": "2023-03-06"},
    "sdtm.qs": {
        "usubjid": "S-1",
        "qstestcd": "NLERYTH",
        "visit": "WEEK 4",
        "qsdtc": "2023-04-03",
        "qsevalid": "RATER-A",
        "qsorres": "3",
        "qsstresn": 3.0,
    },
    "sdtm.sv": {"usubjid": "S-1", "visit": "WEEK 4", "svstdy": 29, "is_in_window": True},
    "sdtm.ae": {
        "usubjid": "S-1",
        "aespid": "1",
        "aeterm": "headache",
        "aestdat_delivered": "06-MAR-2023",
        "aeendtc": "2023-03-07",
        "aestdy": 1,
        "aeendy": 2,
        "aetoxgr": "1",
    },
    "sdtm.ex": {
        "usubjid": "S-1",
        "extrt": "RUXOLITINIB CREAM",
        "exdose": 1.5,
        "exstdtc": "2023-03-06",
        "exendtc": "2023-04-02",
        "exstdy": 1,
        "exendy": 28,
        "exvamt": 20.0,
    },
    "sdtm.ds": {
        "usubjid": "S-1",
        "dscat": "DISPOSITION EVENT",
        "dsdecod": "COMPLETED",
        "dsterm": "Completed",
        "dsstdtc": "2023-06-02",
    },
    "sdtm.mh": {
        "usubjid": "S-1",
        "mhterm": "Hypertension",
        "mhbodsys": "Vascular disorders",
        "mhstdtc": "2001",
        "mhenrf": "ONGOING",
    },
    "sdtm.sc": {"usubjid": "S-1", "sctestcd": "BSA"},
    "sdtm.be": {
        "berefid": "B-1",
        "usubjid": "S-1",
        "visit": "BASELINE",
        "tissue": "LESIONAL",
        "bedtc": "2023-03-06",
    },
    "omics.sample": {"usubjid": "S-1", "strandedness": "reverse", "reverse_pct": 98.0, "rin": 7.5},
}
COMPOUND = "expect_compound_columns_to_be_unique"
IN_SET = "expect_column_values_to_be_in_set"
BETWEEN = "expect_column_values_to_be_between"
# Suite, what the second row differs in from the first, the rule that must speak, and what it does.
BROKEN = [
    ("staging.eligibility", {"bsa_pct": 10.1}, BETWEEN, "warning"),
    ("staging.eligibility", {"largest_lesion_cm": 1.6}, BETWEEN, "warning"),
    ("staging.eligibility", {"is_nl_histological": False}, IN_SET, "warning"),
    ("staging.eligibility", {"bsa_pct": None}, "expect_column_values_to_not_be_null", "warning"),
    ("sdtm.dm", {"usubjid": "S-2", "armcd": "PLACEBO"}, IN_SET, "critical"),
    ("sdtm.dm", {"usubjid": "S-2", "age": 17}, BETWEEN, "warning"),
    ("sdtm.dm", {"usubjid": "S-2", "rfstdtc": None}, "expect_column_values_to_not_be_null", "warning"),
    ("sdtm.qs", {}, COMPOUND, "set_aside"),
    ("sdtm.qs", {"qsorres": "4", "qsstresn": 4.0}, COMPOUND, "critical"),
    ("sdtm.qs", {"usubjid": "S-2", "qsorres": "33", "qsstresn": 33.0}, BETWEEN, "warning"),
    ("sdtm.qs", {"visit": "WEEK 5"}, IN_SET, "warning"),
    ("sdtm.qs", {"usubjid": "S-2", "qsstresn": None}, "expect_column_values_to_not_be_null", "warning"),
    ("sdtm.sv", {"is_in_window": False}, IN_SET, "warning"),
    ("sdtm.sv", {"visit": "WEEK 5"}, IN_SET, "warning"),
    ("sdtm.sv", {"svstdy": None}, "expect_column_values_to_not_be_null", "warning"),
    ("sdtm.ae", {}, COMPOUND, "set_aside"),
    ("sdtm.ae", {"aeterm": "back pain"}, COMPOUND, "critical"),
    ("sdtm.ae", {"aespid": "2", "aestdy": 3300, "aeendy": None}, BETWEEN, "warning"),
    ("sdtm.ae", {"aespid": "2", "aeendy": 0}, "expect_column_pair_values_a_to_be_greater_than_b", "warning"),
    ("sdtm.ae", {"aespid": "2", "aetoxgr": "6"}, IN_SET, "warning"),
    ("sdtm.ex", {}, COMPOUND, "set_aside"),
    ("sdtm.ex", {"exdose": 15.0}, IN_SET, "warning"),
    (
        "sdtm.ex",
        {"exendtc": "2023-03-05", "exendy": 0},
        "expect_column_pair_values_a_to_be_greater_than_b",
        "warning",
    ),
    ("sdtm.ex", {"exvamt": -1.0}, BETWEEN, "warning"),
    ("sdtm.ds", {}, COMPOUND, "set_aside"),
    ("sdtm.mh", {}, COMPOUND, "set_aside"),
    ("sdtm.sc", {}, COMPOUND, "critical"),
    ("sdtm.be", {}, COMPOUND, "set_aside"),
    ("sdtm.be", {"tissue": "NON-LESIONAL"}, "expect_column_values_to_be_unique", "critical"),
    ("sdtm.be", {"berefid": "B-2", "tissue": "BLOOD"}, IN_SET, "critical"),
    ("sdtm.be", {"berefid": "B-2", "visit": "W6"}, IN_SET, "warning"),
    ("omics.sample", {"strandedness": "forward"}, IN_SET, "critical"),
    ("omics.sample", {"reverse_pct": 2.0}, BETWEEN, "critical"),
    ("omics.sample", {"reverse_pct": 60.0}, BETWEEN, "warning"),
    ("omics.sample", {"reverse_pct": None}, "expect_column_values_to_not_be_null", "warning"),
    ("omics.sample", {"rin": 4.0}, BETWEEN, "warning"),
]


def reference(table, column):
    return KNOWN[f"{table}.{column}"]


@pytest.mark.parametrize("name", sorted(SUITES))
def test_a_sound_row_meets_the_rules_of_the_study(name):
    check_types(SUITES[name])
    if name in HOUSE_SUITES:
        combine(HOUSE_SUITES[name], SUITES[name])
    verdict = judge(pl.DataFrame([SOUND[name]]), SUITES[name], reference)
    assert [str(outcome.expectation) for outcome in verdict.outcomes if not outcome.is_met] == []


@pytest.mark.parametrize(("name", "change", "rule", "severity"), BROKEN)
def test_a_broken_row_is_caught(name, change, rule, severity):
    frame = pl.DataFrame([SOUND[name], SOUND[name] | change], infer_schema_length=None)
    verdict = judge(frame, SUITES[name], reference)
    unmet = {(o.expectation.type, o.expectation.severity) for o in verdict.outcomes if not o.is_met}
    assert (rule, severity) in unmet
    assert verdict.is_stopped is (severity == "critical")
    assert verdict.set_aside == ((1,) if severity == "set_aside" else ())


def test_every_rule_that_stops_or_sets_aside_is_shown_to_do_so():
    shown = {(name, rule, severity) for name, _, rule, severity in BROKEN}
    for name, suite in SUITES.items():
        for rule in suite.expectations:
            if rule.severity != "warning":
                assert (name, rule.type, rule.severity) in shown


def test_sample_quality_is_noted_and_never_stops():
    suite = HOUSE_SUITES["omics.sample_qc"]
    sound = {"sample_id": "A", "library_size": 1000, "is_library_size_low": False, "is_sex_concordant": True}
    unknown = {
        "sample_id": "B",
        "library_size": 1000,
        "is_library_size_low": False,
        "is_sex_concordant": None,
    }
    failed = {"sample_id": "C", "library_size": None, "is_library_size_low": True, "is_sex_concordant": False}
    assert all(outcome.is_met for outcome in judge(pl.DataFrame([sound, unknown]), suite, reference).outcomes)
    verdict = judge(pl.DataFrame([sound, failed]), suite, reference)
    assert sum(not outcome.is_met for outcome in verdict.outcomes) == 3
    assert not verdict.is_stopped
    assert judge(pl.DataFrame([sound, sound]), suite, reference).is_stopped
