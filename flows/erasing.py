"""The command that erases a participant."""

from __future__ import annotations

import contextlib
from typing import Annotated

from cyclopts import Parameter

from flows import environment, output
from warehouse.errors import LakeError, TrialhouseError


def erase(
    study: Annotated[str, Parameter(help="A study's name, or the path of a study folder.")],
    participant: Annotated[str, Parameter(help="Any identifier of the participant that the lake knows.")],
    *,
    reason: Annotated[str, Parameter(help="Why; it is kept, so it must not name the participant.")],
    yes: Annotated[
        bool, Parameter(negative="", help="Erase; without it, only what would be erased is shown.")
    ] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="Show what would be erased; the default.")] = False,
) -> None:
    """Erase one participant from all versions and files of a lake; it cannot be undone."""
    import polars as pl

    from tasks.erasing import clean_prefect, find_delivered
    from warehouse.erasure import erase as carry_out
    from warehouse.erasure import plan_erasure
    from warehouse.lake import open_lake
    from warehouse.roots import data_root
    from warehouse.study import load_study

    loaded = load_study(study)
    lake = open_lake(loaded.id)
    if not yes or dry_run:
        plan = plan_erasure(lake, participant)
        rows = [
            {"table": each.chunk.table, "rows": each.removed, "masked": each.masked} for each in plan.held
        ]
        frame = pl.DataFrame(rows, schema={"table": pl.String, "rows": pl.Int64, "masked": pl.Int64})
        output.show(frame.group_by("table").sum().sort("table"), "table")
        output.say(
            f"{lake.study_id}: {len(plan.participant.all_keys)} identifiers; {plan.rows} rows,"
            f" {len(plan.files)} data files, {len(plan.reports)} reports and {len(plan.copies)} copies of the"
            f" catalog in versions {', '.join(map(str, plan.versions))} would change: nothing was erased:"
            " give --yes to erase"
        )
        return
    if environment.running_server():
        raise LakeError("erase: `trialhouse up` is running, and its database is to be cleaned: end it first")
    done, version = carry_out(
        lake,
        participant,
        reason,
        before=lambda found: clean_prefect(environment.prefect_folder(), found),
    )
    if done is None:
        output.say(f"{lake.study_id}: the participant was erased already, in version {version}")
        return
    output.say(
        f"{lake.study_id}: version {version}: {done.rows} rows erased, {len(done.files)} data files written"
        f" anew, {len(done.reports)} reports removed; older versions no longer hold the participant"
    )
    with contextlib.suppress(TrialhouseError):  # the delivered files may be elsewhere by now
        for file in find_delivered(data_root(loaded, lake.settings), done.participant):
            output.say(f"still delivered outside the lake: {file}")
