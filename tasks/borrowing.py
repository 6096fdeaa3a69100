"""Read tables of another study from its lake, at its newest version; nothing there is ever written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tasks.analysis import Borrowed
from warehouse.errors import LakeError, StudyError
from warehouse.lake import LAKE, newest_version, open_lake, tables
from warehouse.lineage import last_made
from warehouse.quoting import qualified
from warehouse.study import load_study

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.settings import Settings


def offer(study_id: str, wanted: Sequence[str], settings: Settings) -> Borrowed:
    """Say what another study's lake has of the tables wanted, without reading their rows.

    A study that cannot be read here is no error, for two lakes need not be in one place: `missing` says why.
    """
    try:
        study = load_study(study_id)
    except StudyError:
        return Borrowed(study=study_id, missing=f"study {study_id} is not known here or not in order")
    try:
        with open_lake(study.id, settings).read() as connection:
            version = newest_version(connection)
            absent = sorted(set(wanted) - tables(connection))
            made = last_made(connection)
    except LakeError:
        return Borrowed(study=study_id, missing=f"study {study_id} has no lake here yet")
    if absent:
        return Borrowed(study=study_id, missing=f"the lake of study {study_id} has no {', '.join(absent)}")
    return Borrowed(
        study=study_id,
        title=study.study.title,
        version=version,
        content={table: made[table].content for table in wanted},
        expression=study.expression,
    )


def load(offered: Borrowed, settings: Settings) -> Borrowed:
    """Return an offer with the rows of its tables, as they were when it was made."""
    if offered.missing is not None:
        return offered
    with open_lake(offered.study, settings).read(offered.version) as connection:
        frames = tuple(
            connection.sql(f"from {qualified(f'{LAKE}.{table}')}").pl() for table in offered.content
        )
    return replace(offered, frames=frames)
