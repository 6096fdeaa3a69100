"""The name that Prefect gave the flow run, to be written beside what it made."""

from __future__ import annotations

from prefect.runtime import flow_run


def flow_run_name() -> str | None:
    """Return the name of the running flow, or None outside one."""
    name = flow_run.get_name()
    return str(name) if name else None
