from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.stats.multiplicity import (
    adjusted_p,
    benjamini_hochberg,
    bonferroni,
    fixed_sequence,
    hochberg,
    holm,
)

families = st.lists(st.floats(0, 1), min_size=1, max_size=10).map(np.array)
# Fifteen p-values of Benjamini & Hochberg (1995), sec. 3.1.
THROMBOLYSIS = np.array(
    [
        *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
        *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0),
    ]
)


def test_thrombolysis():
    # The paper: at .05 Bonferroni and Hochberg reject three, the false-discovery procedure four.
    assert (bonferroni(THROMBOLYSIS) <= 0.05).sum() == 3
    assert (hochberg(THROMBOLYSIS) <= 0.05).sum() == 3
    assert (benjamini_hochberg(THROMBOLYSIS) <= 0.05).sum() == 4


@given(families)
def test_procedures_are_ordered_and_follow_their_hypotheses(p):
    chain = [bonferroni(p), holm(p), hochberg(p), benjamini_hochberg(p), p]
    for stricter, milder in pairwise(chain):
        assert (stricter >= milder - 1e-15).all()
    turned = p[::-1]
    for procedure in (bonferroni, holm, hochberg, benjamini_hochberg):
        assert procedure(turned)[::-1] == pytest.approx(procedure(p))


def test_a_fixed_sequence_stops_at_the_first_failure():
    assert fixed_sequence([0.01, 0.2, 0.001]).tolist() == [0.01, 0.2, 0.2]
    assert adjusted_p([0.04, 0.03], "fixed-sequence").tolist() == [0.04, 0.04]
    assert adjusted_p([], "holm").size == 0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"1\.2 at position 1"):
        holm([0.1, 1.2])
    with pytest.raises(ValueError, match="nan at position 0"):
        benjamini_hochberg([np.nan])
    with pytest.raises(ValueError, match="method: 'sidak'"):
        adjusted_p([0.1], "sidak")
