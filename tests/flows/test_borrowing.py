"""Tables of another study's lake: read as they stand at one version, or not there for a said reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tasks.borrowing import load, offer
from tasks.omics.module_preservation import ANALYSIS
from tests.flows.conftest import STUDY
from warehouse.lake import newest_version, open_lake
from warehouse.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("home")


def test_an_offer_is_of_one_version_and_loads_its_rows(read_only: Path) -> None:
    assert read_only
    settings = load_settings()
    offered = offer(STUDY, ANALYSIS.borrows, settings)
    assert (offered.study, offered.missing, offered.frames) == (STUDY, None, ())
    assert "imulated" in offered.title
    assert tuple(offered.content) == ANALYSIS.borrows
    assert [network.id for network in offered.expression.networks] == ["skin", "lesion"]
    with open_lake(STUDY).read() as connection:
        assert offered.version == newest_version(connection)
    expression, sample, feature = load(offered, settings).frames
    assert expression.height == sample.height * feature.height


def test_what_is_not_there_is_said(read_only: Path) -> None:
    assert read_only
    settings = load_settings()
    assert (
        offer("nobody", ANALYSIS.borrows, settings).missing
        == "study nobody is not known here or not in order"
    )
    assert offer("ra_tdmard", ANALYSIS.borrows, settings).missing == "study ra_tdmard has no lake here yet"
    lacking = offer(STUDY, ("omics.nothing",), settings)
    assert lacking.missing == f"the lake of study {STUDY} has no omics.nothing"
    assert load(lacking, settings) is lacking
