"""prefect.yaml: what `trialhouse up` deploys can be run as it stands there."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from flows.server import POOL
from warehouse.study import HOUSE, load_study

DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((HOUSE / "prefect.yaml").read_text(encoding="utf-8"))[
    "deployments"
]


def test_every_study_has_its_deployment() -> None:
    studies = sorted(file.parent.name for file in (HOUSE / "studies").glob("*/study.toml"))
    assert sorted(deployment["name"] for deployment in DEPLOYMENTS) == studies


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
class TestDeployment:
    def test_its_entrypoint_is_a_flow(self, deployment: dict[str, Any]) -> None:
        from prefect.flows import load_flow_from_entrypoint

        # The house is an installed package: a path to a file would put `flows/` first on the module path.
        assert "/" not in deployment["entrypoint"]
        assert ":" not in deployment["entrypoint"]
        assert load_flow_from_entrypoint(deployment["entrypoint"]).name == "run"

    def test_its_parameters_are_those_of_the_flow(self, deployment: dict[str, Any]) -> None:
        from prefect.flows import load_flow_from_entrypoint

        flow = load_flow_from_entrypoint(deployment["entrypoint"])
        given = deployment["parameters"]
        assert flow.validate_parameters(given).items() >= given.items()
        assert load_study(given["study"]).id == deployment["name"]

    def test_its_schedule_is_a_time(self, deployment: dict[str, Any]) -> None:
        from prefect.client.schemas.schedules import CronSchedule

        for schedule in deployment["schedules"]:
            assert CronSchedule(**schedule).cron == schedule["cron"]

    def test_it_runs_one_at_a_time_in_the_pool_that_is_served(self, deployment: dict[str, Any]) -> None:
        assert deployment["work_pool"]["name"] == POOL
        assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_schedules_do_not_collide() -> None:
    times = [schedule["cron"] for deployment in DEPLOYMENTS for schedule in deployment["schedules"]]
    assert len(set(times)) == len(times)


def test_the_file_names_the_installed_prefect() -> None:
    from importlib.metadata import version

    content = yaml.safe_load((HOUSE / "prefect.yaml").read_text(encoding="utf-8"))
    assert content["prefect-version"] == version("prefect")
