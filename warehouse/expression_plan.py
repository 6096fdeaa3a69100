"""What study.toml declares of gene expression: samples and genes that count, models, contrasts, sets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from collections.abc import Mapping

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
GROUP = "group"
_TERM = re.compile(r"[a-z][a-z0-9_]*")


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExcludedSample(_Record):
    """A library left out by decision, with the reason that every result repeats."""

    sample_id: str
    reason: str = Field(min_length=1)


class ExpressionDesign(_Record):
    """A model of expression: a formula over columns of omics.sample.

    `formula` adds terms, as in `~ usubjid + group`; text columns are factors, numbers are covariates. `group`
    names the columns whose values, joined by a blank, make the factor `group`.
    `samples` keeps only samples with one of the values named. `engine` is the negative binomial model of
    DESeq2, or limma-voom with the samples of one `block` correlated, which also uses incomplete pairs.
    """

    id: Identifier
    formula: str
    group: tuple[str, ...] = ()
    samples: dict[str, tuple[str, ...]] = {}
    engine: Literal["deseq", "voom"] = "deseq"
    block: str | None = None

    @model_validator(mode="after")
    def _is_a_sum_of_columns(self) -> Self:
        if not self.formula.strip().startswith("~") or not self.terms:
            raise ValueError(
                f"formula {self.formula!r}: must be `~` and columns of omics.sample joined by `+`"
            )
        for term in self.terms:
            if not _TERM.fullmatch(term):
                raise ValueError(
                    f"formula {self.formula!r}: {term!r}: must be a column of omics.sample or `group`;"
                    " an interaction is a contrast of `group`"
                )
        if len(set(self.terms)) < len(self.terms):
            raise ValueError(f"formula {self.formula!r}: a term stands more than once")
        if (GROUP in self.terms) != bool(self.group):
            raise ValueError(
                f"formula {self.formula!r}: group: must name the columns of `group` if it is a term"
            )
        if self.block is not None and self.engine != "voom":
            raise ValueError('block: is for engine = "voom"; put the column into the formula instead')
        if self.block is not None and self.block in self.terms:
            raise ValueError(f"block {self.block!r}: must not be a term of the formula as well")
        return self

    @property
    def terms(self) -> tuple[str, ...]:
        return tuple(term.strip() for term in self.formula.strip().removeprefix("~").split("+"))


class ExpressionContrast(_Record):
    """A question put to a design: one level against another, a weighted sum of levels, or a term as a whole.

    With `level` and `reference` a positive effect is higher at `level`. `weights` is the general form: levels
    of `variable` with weights that sum to zero, so an interaction is two differences, one subtracted. `slope`
    asks for the effect of one unit of a covariate. `without` asks by a likelihood-ratio test whether the
    terms it names are needed at all; the effect reported is then that of the contrast beside it, if any.
    """

    id: Identifier
    title: str = Field(min_length=1)
    design: Identifier
    variable: str = GROUP
    level: str | None = None
    reference: str | None = None
    weights: dict[str, float] = {}
    slope: bool = False
    without: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _asks_one_question(self) -> Self:
        forms = [self.level is not None and self.reference is not None, bool(self.weights), self.slope]
        if (self.level is None) != (self.reference is None):
            raise ValueError("level and reference: both must be given, or neither")
        if sum(forms) > 1 or (not any(forms) and not self.without):
            raise ValueError("one of level with reference, weights, slope, or without must be given")
        if self.level is not None and self.level == self.reference:
            raise ValueError(f"level {self.level!r}: must differ from reference")
        if self.weights and abs(sum(self.weights.values())) > 1e-9:  # noqa: PLR2004 - rounding of decimals
            raise ValueError("weights: must sum to zero")
        if self.weights and not any(self.weights.values()):
            raise ValueError("weights: one must differ from zero")
        return self

    @property
    def level_weights(self) -> Mapping[str, float]:
        """The weight of each level that takes part; empty for a slope or a likelihood-ratio test alone."""
        if self.level is not None and self.reference is not None:
            return {self.level: 1.0, self.reference: -1.0}
        return {level: weight for level, weight in self.weights.items() if weight}


class GeneSetDifference(_Record):
    """A gene set made of others: the genes of `genes_of` that are in none of `but_not_of`."""

    id: str = Field(pattern=r"^\S+$")
    genes_of: str
    but_not_of: tuple[str, ...] = Field(min_length=1)


class ExpressionNetwork(_Record):
    """A co-expression network: the samples and genes that it is of, and the choices that make its modules.

    `samples` keeps samples with one of the values named. `adjust_for` names columns of omics.sample whose
    differences of level are taken out first: `usubjid` leaves what moves within patients. `n_genes` are the
    most variable ones. Without `power` one is chosen: the lowest with a scale-free R squared above
    `r_squared_cut`, if it is no higher than the usual one for the number of samples, else that one. The rest
    is named as in WGCNA.
    """

    id: Identifier
    title: str = Field(min_length=1)
    samples: dict[str, tuple[str, ...]] = {}
    adjust_for: tuple[str, ...] = ()
    n_genes: int = Field(default=5000, ge=30)
    power: float | None = Field(default=None, gt=0, le=30)
    r_squared_cut: float = Field(default=0.85, gt=0, lt=1)
    correlation: Literal["bicor", "pearson"] = "bicor"
    max_p_outliers: float = Field(default=0.1, ge=0, le=1)
    network: Literal["unsigned", "signed", "signed_hybrid"] = "signed_hybrid"
    overlap: Literal["unsigned", "signed"] = "signed"
    deep_split: int = Field(default=2, ge=0, le=4)
    min_module_size: int = Field(default=30, ge=3)
    merge_cut_height: float = Field(default=0.25, ge=0, le=1)
    pam_stage: bool = True
    pam_respects_dendrogram: bool = True
    min_kme_to_stay: float = Field(default=0.3, ge=-1, le=1)
    max_block_size: int = Field(default=20_000, ge=100)
    precision: Literal["single", "double"] = "double"


class PreservationTest(_Record):
    """The question whether the modules of a network are modules in other samples too.

    `samples` and `adjust_for` choose the samples of the test as they do for a network; with `study` they are
    those of another study, whose lake is read and never written. Genes are matched by `match_by`.
    """

    id: Identifier
    title: str = Field(min_length=1)
    network: Identifier
    study: Identifier | None = None
    samples: dict[str, tuple[str, ...]] = {}
    adjust_for: tuple[str, ...] = ()
    match_by: Literal["feature_id", "symbol"] = "feature_id"


class Expression(_Record):
    """Rules that every analysis of expression shares, so that no two of them count other samples or genes.

    A gene passes the filter with `min_count` reads in `min_samples` samples (by default as many as the
    smallest group of the design has). `protected_genes` are tested whatever their counts. A library below
    `min_library_pct` percent of the study's median library is left out as failed.
    """

    protected_genes: tuple[str, ...] = ()
    exclude_samples: tuple[ExcludedSample, ...] = ()
    min_library_pct: float = Field(default=10.0, ge=0, lt=100)
    min_count: int = Field(default=10, ge=0)
    min_samples: int | None = Field(default=None, ge=1)
    designs: tuple[ExpressionDesign, ...] = ()
    contrasts: tuple[ExpressionContrast, ...] = ()
    gene_set_differences: tuple[GeneSetDifference, ...] = ()
    networks: tuple[ExpressionNetwork, ...] = ()
    preservation_tests: tuple[PreservationTest, ...] = ()

    @model_validator(mode="after")
    def _names_what_there_is(self) -> Self:
        designs = {design.id: design for design in self.designs}
        for name, values in (
            ("designs.id", [design.id for design in self.designs]),
            ("contrasts.id", [contrast.id for contrast in self.contrasts]),
            ("gene_set_differences.id", [difference.id for difference in self.gene_set_differences]),
            ("networks.id", [network.id for network in self.networks]),
            ("preservation_tests.id", [test.id for test in self.preservation_tests]),
            ("exclude_samples.sample_id", [sample.sample_id for sample in self.exclude_samples]),
            ("protected_genes", list(self.protected_genes)),
        ):
            if repeated := sorted({value for value in values if values.count(value) > 1}):
                raise ValueError(f"{name}: {', '.join(repeated)} stands more than once; each must be unique")
        networks = [network.id for network in self.networks]
        for test in self.preservation_tests:
            if test.network not in networks:
                known = ", ".join(networks) or "none: none is declared"
                raise ValueError(
                    f"preservation_tests.{test.id}: network {test.network!r}: must be one of {known}"
                )
        for contrast in self.contrasts:
            place = f"contrasts.{contrast.id}"
            if contrast.design not in designs:
                known = ", ".join(designs) or "none: none is declared"
                raise ValueError(f"{place}: design {contrast.design!r}: must be one of {known}")
            terms = designs[contrast.design].terms
            asked = [contrast.variable] if contrast.level_weights or contrast.slope else []
            for term in (*asked, *contrast.without):
                if term not in terms:
                    raise ValueError(f"{place}: {term!r}: must be a term of its design, {', '.join(terms)}")
            if contrast.without and designs[contrast.design].engine != "deseq":
                raise ValueError(f'{place}: without: needs a design with engine = "deseq"')
        return self

    def design_of(self, contrast: ExpressionContrast) -> ExpressionDesign:
        return next(design for design in self.designs if design.id == contrast.design)
