"""Thousands of generated and damaged files: each is read as it was written, or refused with its name."""

from __future__ import annotations

import importlib.util
import random
import zipfile
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, settings

from tasks.readers import Piece, read
from warehouse.errors import SourceError
from warehouse.study import Source

pytestmark = pytest.mark.proof

MANY = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
DAMAGES_OF_EACH = 400
REAL = (
    ("csv", "messy_inputs/bom_overview_errors.csv", None),
    ("csv", "messy_inputs/nextclade_semicolon.csv", None),
    ("csv", "messy_inputs/sdtm_ts_not_utf8.csv", None),
    ("csv", "messy_inputs/ad_pso_clinical_table_newline_headers.csv", None),
    ("csv", "wgcna_femaleliver/ClinicalTraits.csv", None),
    ("xpt", "cdiscpilot_sdtm/cdiscpilot_update2.zip", "SDTM/dm.xpt"),
    ("xpt", "cdiscpilot_sdtm/cdiscpilot_update2.zip", "SDTM/ts.xpt"),
    ("gmt", "genesets/h.all.v7.4.symbols.gmt", None),
    ("geo_series_matrix", "gse97165_ra_synovium/meta_treatment_GSE97165.txt", None),
)


def round_trips():
    """Load the module that continuous integration runs with few examples."""
    file = Path(__file__).parent.parent / "readers" / "test_round_trip.py"
    spec = importlib.util.spec_from_file_location("round_trips", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TRIPS = round_trips()


@pytest.mark.parametrize("kind", TRIPS.FILES)
def test_what_was_written_is_read(tmp_path, kind):
    TRIPS.check_round_trips(tmp_path, kind, MANY)


@pytest.mark.parametrize("kind", TRIPS.FILES)
def test_what_is_damaged_is_refused_or_read_as_it_stands(tmp_path, kind):
    TRIPS.check_damages(tmp_path, kind, MANY)


@pytest.mark.parametrize(("kind", "path", "member"), REAL)
def test_a_damaged_real_file_is_read_or_refused(test_data, tmp_path, kind, path, member):
    whole = (test_data / path).read_bytes()
    if member is not None:
        with zipfile.ZipFile(test_data / path) as archive:
            whole = archive.read(member)
    whole = whole[: 80 * 1000] if kind == "xpt" else whole[:60_000]
    file = tmp_path / "x"
    refused: list[str] = []
    for seed in range(DAMAGES_OF_EACH):
        chance = random.Random(seed)
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            # Half of the damages are where the headers are.
            at = chance.randrange(len(content) if chance.random() < 0.5 else min(2000, len(content)))
            kind_of = chance.random()
            if kind_of < 0.5:
                content[at] = chance.randrange(256)
            elif kind_of < 0.7:
                del content[at : at + chance.randint(1, 100)]
            elif kind_of < 0.9:
                content[at:at] = chance.randbytes(chance.randint(1, 100))
            else:
                del content[max(1, at) :]
        file.write_bytes(content)
        with duckdb.connect(config={"threads": 1}) as connection:
            try:
                delivered = read(connection, Piece(file, "x"), Source(path="x", format=kind))
            except SourceError as error:
                refused.append(str(error))
                continue
            rows = connection.execute(f"select count(*) from {delivered.relation}").fetchone()
            assert rows == (delivered.rows,)
    assert all(message.startswith("x: ") for message in refused)
