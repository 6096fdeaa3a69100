"""The last lines of `make demo`: what was found, and what to look at next."""

from __future__ import annotations

import sys

from flows.output import ask, say
from warehouse.errors import TrialhouseError
from warehouse.lake import open_lake, report_file

STUDY = "nl_ruxolitinib"
COMMAND = ".venv/bin/trialhouse"


def main() -> None:
    version = ask(STUDY, "select max(snapshot_id) as version from lake.snapshots()", None)["version"][0]
    primary = ask(
        STUDY,
        """
        select
            max(n) filter (is_primary) as n,
            max(p_value) filter (is_primary) as p_value,
            max(method) filter (is_primary) as method,
            max(estimate) filter (statistic = 'mean' and variable = 'PCHG') as mean_pct,
            max(estimate) filter (statistic = 'sd' and variable = 'PCHG') as sd_pct
        from results.primary_endpoint
        """,
        None,
    ).row(0, named=True)
    mean, sd = (_decimals(primary[name], 1) for name in ("mean_pct", "sd_pct"))
    p = _decimals(primary["p_value"], 4)
    failed = ask(STUDY, "from meta.current_check_result where not is_met or rows_failing > 0", None)
    print(  # noqa: T201 - the demo talks to a person
        f"""
SIMULATED study {STUDY}, version {version}
  lesion score at week 12: mean change {mean} % (SD {sd} %),
  n = {primary["n"]}, p = {p} ({primary["method"]})
  {failed.height} expectations are not met: the planted flaws of the delivery

Look next at
  the report                {report_file(open_lake(STUDY), version)}
  what failed, and where    {COMMAND} checks {STUDY} --rows
  the result in SQL         {COMMAND} sql {STUDY} "select * from results.primary_endpoint"
  its clinical tables       {COMMAND} export {STUDY} --format tables --to {STUDY}_tables
  the versions              {COMMAND} versions {STUDY}
  runs in the Prefect UI    {COMMAND} up"""
    )


def _decimals(value: float | None, places: int) -> str:
    return "not estimable" if value is None else f"{value:.{places}f}"


if __name__ == "__main__":
    try:
        main()
    except TrialhouseError as error:
        say(f"the demo has nothing to show: {error}")
        sys.exit(1)
