"""What the figures of a sample amount to, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Row = Mapping[str, Any]

AS_EXPECTED = "as expected"


def verdict(rows: Sequence[Row]) -> list[str]:
    """Return a verdict on each sample; the others of its participant may explain it."""
    record = {row["usubjid"]: row["recorded_sex"] for row in rows if row["usubjid"] is not None}
    return [_verdict(row, rows, record) for row in rows]


def _verdict(row: Row, rows: Sequence[Row], record: Mapping[str, str | None]) -> str:
    said = []
    if row["is_excluded"]:
        said.append(f"left out of all analyses of expression: {row['exclusion_rule']}")
    if row["has_swap_suspected"]:
        said.append(_swap(row, rows, record))
    if row["is_sex_concordant"] is False:
        said.append(_sex(row, rows))
    if row["is_outlier"]:
        said.append("unlike the others of its group")
    if row["is_depth_outlier"]:
        direction = "deeper" if row["depth_outlier_score"] > 0 else "shallower"
        said.append(f"fat markers say that the biopsy went {direction} than the others")
    return "; ".join(said) or AS_EXPECTED


def _swap(row: Row, rows: Sequence[Row], record: Mapping[str, str | None]) -> str:
    own, likely, partner = row["usubjid"], row["likely_subject"], row["likely_partner_sample"]
    whose = likely or "somebody not named"
    if partner is None:
        unlike = own or "anybody named"
        return f"like the samples of {whose}, not of {unlike}: belongs to {whose}?{_by_sex(row, record)}"
    said = f"like the samples of {whose}, not of {own}: exchanged with {partner}?"
    if _is_ambiguous(row, rows):
        said += " (or the other sample of each was; which, expression cannot tell)"
    return said + _by_sex(row, record)


def _is_ambiguous(row: Row, rows: Sequence[Row]) -> bool:
    """Say whether each of the two has one other sample: exchanging those instead explains as much."""
    counted = [
        sum(one["usubjid"] == subject and not one["is_excluded"] for one in rows)
        for subject in (row["usubjid"], row["likely_subject"])
    ]
    return counted == [2, 2]


def _by_sex(row: Row, record: Mapping[str, str | None]) -> str:
    own, likely, expressed = row["recorded_sex"], record.get(row["likely_subject"]), row["expressed_sex"]
    if expressed is None or own is None or likely is None:
        return ""
    if own == likely:
        return f" Sex cannot tell: both are {own}."
    if expressed == likely:
        return f" The expressed sex, {expressed}, says so too."
    return f" The expressed sex, {expressed}, speaks against it."


def _sex(row: Row, rows: Sequence[Row]) -> str:
    said = f"expressed sex {row['expressed_sex']}, recorded {row['recorded_sex']}"
    same = [one for one in rows if one["usubjid"] == row["usubjid"] and one["is_sex_concordant"] is not None]
    if len(same) > 1 and not any(one["is_sex_concordant"] for one in same):
        said += " in every sample of the participant: is the record mistyped?"
    return said
