"""A hundred studies in which treatment does nothing: how often each analysis of expression finds something.

The simulated trial without effects: twelve patients, correlated modules of genes that rise and fall by
chance, scores that change without regard to the tissue.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tasks.omics.biomarker_response import BiomarkerResponseParameters, biomarker_response
from tasks.omics.differential_expression import (
    DifferentialExpressionParameters,
    differential_expression,
)
from tasks.omics.enriched_gene_sets import EnrichedGeneSetsParameters, enriched_gene_sets
from tasks.omics.signature_changes import SignatureChangesParameters, signature_changes
from tasks.omics.signature_scores import SignatureScoresParameters, signature_scores
from tasks.simulation.frames import simulated_frames
from warehouse.expression_plan import Expression
from warehouse.study import load_study

pytestmark = pytest.mark.proof

STUDIES = 100
GENES = 3000
SETS = 20
SET_SIZE = 40
LEVEL = 0.05
# Two-sided limits of a binomial count of a hundred at the level.
LIMIT = LEVEL + 1.96 * np.sqrt(LEVEL * (1 - LEVEL) / STUDIES)
STUDY = load_study("nl_ruxolitinib")
DECLARED = Expression.model_validate(
    {
        "designs": [{"id": "lesion", "formula": "~ usubjid + visit", "samples": {"tissue": ["LESIONAL"]}}],
        "contrasts": [
            {
                "id": "treatment",
                "title": "Lesions at week 12 against baseline",
                "design": "lesion",
                "variable": "visit",
                "level": "WEEK 12",
                "reference": "BASELINE",
            }
        ],
    }
)


def _gene_sets(frames, random):
    """Return sets of genes drawn at random, and the interferon module, whose genes move together."""
    drawn = {
        f"RANDOM_{number}": random.choice(frames.feature["symbol"].to_numpy(), SET_SIZE, replace=False)
        for number in range(SETS)
    }
    module = frames.truth.filter(pl.col("module") == "ifn")["symbol"]
    members = [("random", name, gene) for name, genes in drawn.items() for gene in genes]
    members += [("module", "INTERFERON", gene) for gene in module]
    return pl.DataFrame(
        [(*member, "") for member in members],
        schema=["collection", "gene_set", "symbol", "description"],
        orient="row",
    )


def _found(seed):
    frames = simulated_frames(
        STUDY.folder / "simulation.toml", seed=seed, patients=12, genes=GENES, is_null=True
    )
    gene_set = _gene_sets(frames, np.random.default_rng(seed))
    tables = (frames.expression, frames.sample, frames.feature)
    effect = differential_expression(
        *tables, parameters=DifferentialExpressionParameters(expression=DECLARED)
    )
    enriched = enriched_gene_sets(
        effect,
        gene_set,
        frames.feature,
        parameters=EnrichedGeneSetsParameters(min_size=5, expression=DECLARED),
    )
    scores = signature_scores(
        *tables, gene_set, None, parameters=SignatureScoresParameters(min_size=5, expression=DECLARED)
    )
    changes = signature_changes(
        scores, frames.sample, parameters=SignatureChangesParameters(expression=DECLARED)
    )
    estimand = next(one for one in STUDY.estimands if one.id == "primary")
    adsl = frames.score.select(
        "usubjid", fasfl=pl.lit("Y"), trt01p=pl.lit("Ruxolitinib"), trt01a=pl.lit("Ruxolitinib")
    ).unique()
    response = biomarker_response(
        adsl,
        frames.score,
        *tables,
        scores,
        parameters=BiomarkerResponseParameters(expression=DECLARED, estimand=estimand, treatment="treatment"),
    )
    random = pl.col("collection") == "random"
    module = pl.col("collection") == "module"

    def share(table, rows):
        return float((table.filter(rows)["p_value"].drop_nulls() <= LEVEL).mean())

    def any_below(table, column="p_adjusted"):
        return float((table[column].drop_nulls() < LEVEL).any())

    return {
        "genes: p": share(effect, pl.lit(value=True)),
        "genes: any p_adjusted": any_below(effect),
        "genes: any q_value": any_below(effect, "q_value"),
        "GSEA, random sets: p": share(enriched, random),
        "GSEA, random sets: any p_adjusted": any_below(enriched.filter(random)),
        "GSEA, a module: p": share(enriched, module),
        "signatures, a module: p": share(changes, module & (pl.col("scorer") == "mean_z")),
        "signatures, all: p": share(changes, pl.lit(value=True)),
        "biomarkers, a module: p": share(
            response, (pl.col("name") == "INTERFERON") & (pl.col("scorer") == "mean_z")
        ),
        "biomarkers: p": share(response, pl.lit(value=True)),
        "biomarkers: any p_adjusted": any_below(response),
    }


@pytest.fixture(scope="module")
def shares():
    found = pl.DataFrame([_found(seed) for seed in range(1, STUDIES + 1)])
    mean = found.mean().row(0, named=True)
    lines = "\n".join(f"  {name:40s} {value:.4f}" for name, value in mean.items())
    print(f"\n{STUDIES} studies without an effect, share at {LEVEL:g} (limit {LIMIT:.3f}):\n{lines}")  # noqa: T201
    return mean


@pytest.mark.parametrize(
    "name",
    [
        "genes: any q_value",
        "GSEA, random sets: p",
        "GSEA, random sets: any p_adjusted",
        "signatures, a module: p",
        "signatures, all: p",
        "biomarkers, a module: p",
        "biomarkers: p",
        "biomarkers: any p_adjusted",
    ],
)
def test_type_i_error_is_within_the_limits_of_a_hundred_studies(shares, name):
    assert shares[name] <= LIMIT


def test_genes_that_move_together_mislead_gsea_but_not_the_paired_test(shares):
    """What the docstring of enriched_gene_sets warns of: its null hypothesis takes genes as exchangeable."""
    assert shares["GSEA, a module: p"] > LIMIT
