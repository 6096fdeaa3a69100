"""Commands for the upkeep of a lake: verify, repair, upgrade, erase."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from flows import environment, output
from warehouse.errors import LakeError

Study = Annotated[str, Parameter(help="A study's name, or the path of a study folder.")]
Format = output.Format


def verify(
    study: Study,
    *,
    anchor: Annotated[
        str | None, Parameter(help="A seal that you kept elsewhere: is it one of this lake?")
    ] = None,
    format: Annotated[Format, Parameter(help="How to print.")] = "table",  # noqa: A002
) -> None:
    """Hold files, tables, ledgers and catalog of all versions against what was published."""
    import polars as pl

    from warehouse.lake import open_lake
    from warehouse.study import load_study
    from warehouse.verification import find_head
    from warehouse.verification import verify as check

    lake = open_lake(load_study(study).id)
    lake.require()
    found = check(lake, anchor)
    rows = [{"kind": each.kind, "place": each.place, "what": each.what} for each in found]
    frame = pl.DataFrame(rows, schema={"kind": pl.String, "place": pl.String, "what": pl.String})
    if found or format != "table":
        output.show(frame, format)
    if found:
        things = "thing is" if len(found) == 1 else "things are"
        then = (
            "the newest version is whole; what only older versions hold cannot be made again"
            if all(each.is_past for each in found)
            else f"`trialhouse repair {study}` makes again what it can"
        )
        raise LakeError(f"{lake.study_id}: {len(found)} {things} not as published: {then}")
    version, seal = find_head(lake) or (0, "")
    output.say(f"{lake.study_id}: versions 1 to {version} are as they were published; newest seal {seal}")


def repair(study: Study) -> None:
    """Make the newest version of a damaged lake whole, and say what is lost."""
    from warehouse.lake import open_lake
    from warehouse.repair import repair as mend
    from warehouse.seal import copy_file
    from warehouse.study import load_study

    lake = open_lake(load_study(study).id)
    if not copy_file(lake).is_file():
        lake.require()
    done = mend(lake)
    for line in done:
        output.say(line)
    output.say(
        f"{lake.study_id}: repaired; `trialhouse run {study}` makes again what was dropped"
        if done
        else f"{lake.study_id}: the newest version is as it was published: nothing to repair"
    )


def upgrade(study: Study) -> None:
    """Bring a lake that an older trialhouse wrote to today's format; its catalog is backed up first."""
    from warehouse.lake import open_lake
    from warehouse.migrations import upgrade as bring_up
    from warehouse.study import load_study

    lake = open_lake(load_study(study).id)
    lake.require()
    done = bring_up(lake)
    for line in done:
        output.say(line)
    if not done:
        output.say(f"{lake.study_id}: the lake has today's format already")


def erase(
    study: Study,
    participant: Annotated[
        str, Parameter(help="USUBJID, SUBJID or the identifier as delivered.", allow_leading_hyphen=True)
    ],
    *,
    reason: Annotated[str, Parameter(help="Why, without naming anybody: it is kept with the erasure.")],
    yes: Annotated[
        bool, Parameter(negative="", help="Erase; without it only what would be erased is listed.")
    ] = False,
) -> None:
    """Erase a participant from all versions and files of a lake, with an entry in meta.erasure."""
    import polars as pl

    from warehouse.erasure import erase as carry_out
    from warehouse.erasure import plan_erasure
    from warehouse.lake import open_lake
    from warehouse.study import load_study

    lake = open_lake(load_study(study).id)
    plan = plan_erasure(lake, participant)
    if yes:
        if environment.running_server():
            raise LakeError("`trialhouse up` runs, and its logs may name the participant: stop it first")
        for line in carry_out(lake, participant, reason):
            output.say(line)
    else:
        rows = [{"table": table, "rows": count} for table, count in sorted(plan.rows.items())]
        output.show(pl.DataFrame(rows, schema={"table": pl.String, "rows": pl.Int64}), "table")
        output.say(f"identifiers: {', '.join(plan.keys.all)}")
        output.say(f"versions: {', '.join(map(str, plan.versions))}; data files: {plan.files}")
        for page in plan.reports:
            output.say(f"report: {page}")
        output.say(f"{lake.study_id}: nothing is erased yet: `--yes` erases, and nothing brings it back")
    for file in plan.delivered:
        output.say(f"outside the lake, and left as it is: delivered file {file}")
