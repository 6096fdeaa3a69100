"""Modules against R's blockwiseModules with options and data drawn at random, harsh limits and flaws too.

`pytest -m proof -s tests/proof/test_coexpression_options.py` says how many cases were compared.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tasks.stats.coexpression.network import find_modules
from tasks.stats.coexpression.settings import NetworkSettings

pytestmark = pytest.mark.proof
CASES = 120
R_SCRIPT = """
suppressPackageStartupMessages({library(WGCNA); library(jsonlite)})
# It sweeps memory again and again, which takes most of the time of small networks.
assignInNamespace("collectGarbage", function() invisible(NULL), "WGCNA")
folder <- commandArgs(trailingOnly = TRUE)[1]
capture.output(disableWGCNAThreads())
found <- lapply(fromJSON(file.path(folder, "cases.json"), simplifyVector = FALSE), function(case) {
  x <- t(as.matrix(read.csv(file.path(folder, case$file), header = FALSE, na.strings = "NA")))
  colnames(x) <- paste0("G", seq_len(ncol(x)))
  given <- c(list(x, maxBlockSize = 1e5, numericLabels = TRUE, verbose = 0), case$options)
  if (!is.null(case$blocks)) given$blocks <- unlist(case$blocks)
  capture.output(modules <- do.call(blockwiseModules, given))
  list(before = modules$unmergedColors, after = modules$colors,
    height = lapply(modules$dendrograms, function(tree) tree$height))
})
write(toJSON(found, digits = 17, auto_unbox = TRUE), file.path(folder, "found.json"))
"""
# What R calls each setting.
OF_R = {
    "power": "power",
    "correlation": "corType",
    "max_p_outliers": "maxPOutliers",
    "network": "networkType",
    "overlap": "TOMType",
    "denominator": "TOMDenom",
    "deep_split": "deepSplit",
    "min_module_size": "minModuleSize",
    "cut_height": "detectCutHeight",
    "pam_stage": "pamStage",
    "pam_respects_dendrogram": "pamRespectsDendro",
    "min_kme_to_stay": "minKMEtoStay",
    "min_core_kme": "minCoreKME",
    "min_core_size": "minCoreKMESize",
    "reassign_threshold": "reassignThreshold",
    "merge_cut_height": "mergeCutHeight",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    value: np.ndarray
    settings: dict[str, Any]
    block: list[int] | None


def drawn(seed: int, *, is_harsh: bool) -> Case:
    rng = np.random.default_rng(seed)
    n_genes, n_samples = int(rng.integers(150, 500)), int(rng.integers(8, 40))
    value = rng.normal(size=(n_genes, n_samples)) * rng.uniform(0.2, 1.0)
    factor = rng.normal(size=(int(rng.integers(3, 9)), n_samples))
    factor[1] = 0.8 * factor[0] + 0.6 * factor[1]
    start = 0
    for one in factor:
        end = min(n_genes, start + int(rng.integers(10, 70)))
        sign = rng.choice([-1, 1], (end - start, 1)) if rng.random() < 0.3 else 1
        value[start:end] += rng.uniform(0.3, 1.2, (end - start, 1)) * one * sign
        start = end
    _flawed(value, rng, is_harsh=is_harsh)
    settings: dict[str, Any] = {
        "power": float(rng.choice([3, 5, 6, 8, 12])),
        "correlation": str(rng.choice(["pearson", "bicor"])),
        "max_p_outliers": float(rng.choice([1, 0.1, 0.05])),
        "network": str(rng.choice(["unsigned", "signed", "signed_hybrid"])),
        "overlap": str(rng.choice(["unsigned", "signed"])),
        "denominator": str(rng.choice(["min", "mean"])),
        "deep_split": int(rng.integers(0, 5)),
        "min_module_size": int(rng.choice([5, 10, 20, 30])),
        "cut_height": float(rng.choice([0.995, 0.98, 0.9])),
        "pam_stage": bool(rng.random() < 0.8),
        "pam_respects_dendrogram": bool(rng.random() < 0.5),
        "min_core_kme": float(rng.uniform(0.4, 0.9)) if is_harsh else 0.5,
        "min_kme_to_stay": float(rng.uniform(0.3, 0.8)) if is_harsh else 0.3,
        "reassign_threshold": float(rng.choice([1e-6, 1e-2, 0.2, 0.5])) if is_harsh else 1e-6,
        "merge_cut_height": float(rng.choice([0.1, 0.15, 0.25, 0.4])),
    }
    if is_harsh:
        settings["min_core_size"] = int(rng.choice([2, 5, 10]))
    has_blocks = is_harsh and rng.random() < 0.5
    return Case(
        value=value, settings=settings, block=rng.integers(1, 3, n_genes).tolist() if has_blocks else None
    )


def _flawed(value: np.ndarray, rng: np.random.Generator, *, is_harsh: bool) -> None:
    """Give the data gaps, outliers, ties, or genes that do not vary; harsh data a sample that is left out."""
    n_genes, n_samples = value.shape
    flaw = rng.integers(0, 5)
    if flaw == 1:
        value[rng.random(value.shape) < 0.03] = np.nan
    elif flaw == 2:
        value[rng.random(value.shape) < 0.02] *= 8
    elif flaw == 3:
        value[:] = np.round(value, 1)
        value[:6] = np.where(rng.random((6, n_samples)) < 0.7, 0, value[:6])
    elif flaw == 4:
        value[rng.integers(0, n_genes, 5)] = 1.0
        value[rng.integers(0, n_genes, 3), : int(n_samples * 0.6)] = np.nan
    if is_harsh and rng.random() < 0.5:
        value[rng.random(n_genes) < 0.7, int(rng.integers(0, n_samples))] = np.nan


@pytest.mark.parametrize("is_harsh", [False, True])
def test_modules_are_those_of_r_whatever_the_options(is_harsh: bool, tmp_path) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("no R")
    have = "library(WGCNA); library(jsonlite)"
    if subprocess.run(["Rscript", "-e", have], capture_output=True, check=False).returncode:
        pytest.skip("no WGCNA or jsonlite in R")
    cases = [drawn(1000 * is_harsh + seed, is_harsh=is_harsh) for seed in range(CASES)]
    asked = []
    for number, case in enumerate(cases):
        file = tmp_path / f"{number}.csv"
        np.savetxt(file, case.value, fmt="%.17g", delimiter=",")
        file.write_text(file.read_text(encoding="utf-8").replace("nan", "NA"), encoding="utf-8")
        options = {OF_R[name]: value for name, value in case.settings.items()}
        options["networkType"] = options["networkType"].replace("_", " ")
        asked.append({"file": file.name, "options": options, "blocks": case.block})
    (tmp_path / "cases.json").write_text(json.dumps(asked), encoding="utf-8")
    (tmp_path / "script.R").write_text(R_SCRIPT, encoding="utf-8")
    ended = subprocess.run(
        ["Rscript", tmp_path / "script.R", tmp_path], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    n_with_modules = 0
    for case, given in zip(cases, json.loads((tmp_path / "found.json").read_text()), strict=True):
        block = None if case.block is None else np.array(case.block)
        found = find_modules(case.value, NetworkSettings(**case.settings), block=block)
        for tree, height in zip(found.dendrograms, given["height"], strict=True):
            np.testing.assert_allclose(tree.height, height, atol=1e-8)
        np.testing.assert_array_equal(found.unmerged_label, given["before"], err_msg=str(case.settings))
        # Equal sizes may be numbered otherwise: R breaks their ties by the alphabet.
        pairs = set(zip(found.label.tolist(), given["after"], strict=True))
        assert len({one for one, _ in pairs}) == len({other for _, other in pairs}) == len(pairs)
        n_with_modules += bool(found.label.any())
    print(f"{CASES} cases, {n_with_modules} with modules: as R")  # noqa: T201 - the figure
    assert n_with_modules > CASES / 2
