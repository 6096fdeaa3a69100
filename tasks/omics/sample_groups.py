"""Whose a sample is and which group it belongs to, for questions about the samples themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    IntArray = NDArray[np.integer[Any]]

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleGroups:
    """Codes from zero for the subject and group of each sample, and the names that they stand for.

    A sample of nobody known is a subject of its own, named by None. A study without a column of the group has
    one group.
    """

    subject: IntArray
    subjects: tuple[str | None, ...]
    group: IntArray
    groups: tuple[str, ...]


def sample_groups(sample: pl.DataFrame, columns: Sequence[str]) -> SampleGroups:
    """Return subjects and groups of the samples by the columns that the study has."""
    known = [name for name in columns if name in sample.columns]
    labels = (
        sample.select(
            pl.concat_str([pl.col(name).cast(pl.String).fill_null(UNKNOWN) for name in known], separator=" ")
        )
        .to_series()
        .to_list()
        if known
        else [""] * sample.height
    )
    groups = sorted(set(labels))
    people = sample["usubjid"].to_list() if "usubjid" in sample.columns else [None] * sample.height
    named = sorted({one for one in people if one is not None})
    place = {name: number for number, name in enumerate(named)}
    subject, subjects = [], list[str | None](named)
    for one in people:
        if one is None:
            subject.append(len(subjects))
            subjects.append(None)
        else:
            subject.append(place[one])
    return SampleGroups(
        subject=np.array(subject, dtype=np.int64),
        subjects=tuple(subjects),
        group=np.array([groups.index(label) for label in labels], dtype=np.int64),
        groups=tuple(groups),
    )
