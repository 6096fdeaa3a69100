from __future__ import annotations

import pytest
from pydantic import ValidationError

from warehouse.expression_plan import Expression, ExpressionContrast, ExpressionDesign
from warehouse.meta import study_tables
from warehouse.study import load_study

DESIGN = {"id": "skin", "formula": "~ usubjid + group", "group": ["tissue", "visit"]}
CONTRAST = {"id": "treatment", "title": "T", "design": "skin", "level": "L W12", "reference": "L BASE"}


def test_weights_of_a_contrast_are_those_of_its_levels():
    assert ExpressionContrast.model_validate(CONTRAST).level_weights == {"L W12": 1.0, "L BASE": -1.0}
    weights = {"A": 1, "B": -1, "C": 0}
    given = {"id": "i", "title": "I", "design": "skin", "weights": weights}
    assert ExpressionContrast.model_validate(given).level_weights == {"A": 1.0, "B": -1.0}


DESIGNS = [
    ({"formula": "usubjid"}, "must be `~` and columns"),
    ({"formula": "~ usubjid:visit", "group": []}, "an interaction is a contrast of `group`"),
    ({"formula": "~ visit + visit", "group": []}, "stands more than once"),
    ({"group": []}, "must name the columns of `group`"),
    ({"block": "usubjid"}, 'is for engine = "voom"'),
    ({"engine": "voom", "block": "usubjid"}, "must not be a term of the formula as well"),
]


@pytest.mark.parametrize(("changes", "message"), DESIGNS, ids=[case[1][:20] for case in DESIGNS])
def test_a_design_that_cannot_be_meant_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        ExpressionDesign.model_validate(DESIGN | changes)


CONTRASTS = [
    ({"reference": None}, "both must be given"),
    ({"reference": "L W12"}, "must differ from reference"),
    ({"weights": {"A": 1, "B": -1}}, "one of level with reference, weights, slope"),
    ({"level": None, "reference": None}, "one of level with reference, weights, slope"),
    ({"level": None, "reference": None, "weights": {"A": 1, "B": -0.5}}, "must sum to zero"),
    ({"level": None, "reference": None, "weights": {"A": 0, "B": 0}}, "one must differ from zero"),
]


@pytest.mark.parametrize(("changes", "message"), CONTRASTS, ids=[case[1][:20] for case in CONTRASTS])
def test_a_contrast_that_asks_nothing_or_two_things_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        ExpressionContrast.model_validate(CONTRAST | changes)


DECLARED = [
    ({"contrasts": [CONTRAST | {"design": "other"}]}, "design 'other': must be one of skin"),
    ({"contrasts": [CONTRAST | {"variable": "batch"}]}, "'batch': must be a term of its design"),
    ({"contrasts": [CONTRAST, CONTRAST]}, "treatment stands more than once"),
    ({"protected_genes": ["IFNG", "IFNG"]}, "IFNG stands more than once"),
    (
        {
            "designs": [{"id": "skin", "formula": "~ group", "group": ["visit"], "engine": "voom"}],
            "contrasts": [CONTRAST | {"without": ["group"]}],
        },
        'needs a design with engine = "deseq"',
    ),
]


@pytest.mark.parametrize(("changes", "message"), DECLARED, ids=[case[1][:20] for case in DECLARED])
def test_a_declaration_names_what_there_is(changes, message):
    with pytest.raises(ValidationError, match=message):
        Expression.model_validate({"designs": [DESIGN]} | changes)


def test_sql_can_read_the_designs_and_the_contrasts_in_their_order():
    tables = study_tables(load_study("nl_ruxolitinib"))
    (design,) = tables["expression_design"].to_dicts()
    assert (design["formula"], design["group_columns"]) == ("~ usubjid + group", "tissue, visit")
    assert design["engine"] == "deseq"
    contrasts = tables["expression_contrast"]
    assert contrasts["contrast"].to_list() == ["disease", "treatment", "residual", "interaction"]
    assert contrasts["place"].to_list() == [1, 2, 3, 4]
    assert contrasts["level_weights"][0] == "LESIONAL BASELINE: 1; NON-LESIONAL BASELINE: -1"
    assert contrasts["level"].to_list()[-1] is None
    assert set(contrasts["variable"]) == {"group"}
