"""`trialhouse up` as a person meets it: schedules, the UI in a browser, cancelling, killing, stopping.

One server and one home serve the whole file, and the tests run in the order in which they stand.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil
import pytest

from tasks.queries import read
from warehouse.lake import Lake, newest_version, open_lake
from warehouse.settings import Settings

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.proof

STUDY = "nl_ruxolitinib"
SUBFLOWS = ("ingest", "build", "analyze", "report")
TASKS = ("land lesion_scores", "build adam.adqs", "primary_endpoint", "publish results", "write report")
# What stands in each artifact.
ARTIFACTS = {
    "checks": ("first_at", "sdtm.qs"),
    "primary-result": ("p_value", "Hodges-Lehmann estimate"),
    "top-genes": ("log2_fold_change", "ENSG"),
    "version": ("version 3", "landed 61 files"),
}
RUN_SECONDS = 600
EARLIEST = {"sort": "EXPECTED_START_TIME_ASC", "limit": 200}  # of several runs the first had all to do
CHROMIUM = Path("/usr/bin/chromium")
QUIET_BROWSER = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def deliver(up: Any, trialhouse: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[[], None]:
    """Write a new delivery where the deployment looks for it, so that the next run has work to do."""
    seeds = iter(range(1, 100))

    def write() -> None:
        # A place of its own first: a run that starts meanwhile would see half a delivery.
        made = up.home / "made"
        done = trialhouse(
            up.home, "simulate", STUDY, "--seed", str(next(seeds)), "--genes", "500", "--out", str(made)
        )
        assert done.returncode == 0, done.stderr
        place = up.home / "simulated" / STUDY
        place.parent.mkdir(exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        made.rename(place)

    return write


@pytest.fixture(scope="module")
def deployment(up: Any) -> str:
    return str(up.ask(f"/deployments/name/run/{STUDY}")["id"])


@pytest.fixture
def lake(up: Any, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv("TRIALHOUSE_HOME", str(up.home))
    return open_lake(STUDY, Settings(home=up.home))


def version(lake: Lake) -> int:
    return read(lake.study_id, newest_version) if lake.catalog_file.is_file() else 0


def runs(up: Any, **flow_run: object) -> list[dict[str, Any]]:
    found = up.ask("/flow_runs/filter", {"flow_runs": flow_run, "sort": "START_TIME_ASC"})
    return list(found)


def state_of(up: Any, run_id: str) -> str:
    return str(up.ask(f"/flow_runs/{run_id}")["state_name"])


def await_state(up: Any, run_id: str, *wanted: str, seconds: float = RUN_SECONDS) -> str:
    deadline = time.monotonic() + seconds
    while (state := state_of(up, run_id)) not in wanted:
        assert time.monotonic() < deadline, (
            f"{state} after {seconds} s; wanted: {wanted}\n{up.log.read_text()}"
        )
        time.sleep(0.3)
    return state


def trigger(up: Any, deployment: str) -> str:
    return str(up.ask(f"/deployments/{deployment}/create_flow_run", {})["id"])


def processes_of(up: Any) -> list[psutil.Process]:
    return psutil.Process(up.process.pid).children(recursive=True)


@pytest.fixture(scope="module")
def scheduled(up: Any, deployment: str, deliver: Callable[[], None]) -> str:
    """Schedule the deployment for every minute until one run is done; return that run's id."""
    deliver()
    made = up.ask(
        f"/deployments/{deployment}/schedules",
        [{"schedule": {"cron": "* * * * *", "timezone": "UTC"}, "active": True}],
    )
    try:
        deadline = time.monotonic() + RUN_SECONDS
        while True:
            assert time.monotonic() < deadline, up.log.read_text()
            ended = runs(up, deployment_id={"any_": [deployment]}, state={"type": {"any_": ["COMPLETED"]}})
            failed = runs(up, state={"type": {"any_": ["FAILED", "CRASHED"]}})
            assert not failed, failed[0]["state"]
            if ended:
                break
            time.sleep(1)
    finally:
        up.ask(f"/deployments/{deployment}/schedules/{made[0]['id']}", method="DELETE")
        for run in runs(
            up,
            deployment_id={"any_": [deployment]},
            state={"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}},
        ):
            if run["start_time"] or run["state_name"] != "Scheduled":
                await_state(up, run["id"], "Completed", "Cancelled")
            else:
                up.ask(f"/flow_runs/{run['id']}", method="DELETE")
    assert ended[0]["auto_scheduled"]
    return str(ended[0]["id"])


def test_a_scheduled_run_completes_through_the_worker(up: Any, scheduled: str, lake: Lake) -> None:
    run = up.ask(f"/flow_runs/{scheduled}")
    assert run["work_pool_name"] == "trialhouse"
    assert run["state"]["message"] == "version 3"
    assert version(lake) == 3
    assert (lake.folder / "reports" / f"{STUDY}-v3.html").is_file()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.is_file():
        pytest.skip(f"no browser at {CHROMIUM}")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET_BROWSER)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def logged_in(up: Any, browser: Browser) -> Iterator[BrowserContext]:
    """Log in as a person does: with the secret that stands in the file which `trialhouse up` names."""
    named = re.search(r"^Password of the UI: the line in (.+)$", up.log.read_text(), flags=re.MULTILINE)
    assert named
    context = browser.new_context(viewport={"width": 1500, "height": 1000})
    page = context.new_page()
    page.goto(f"{up.ui}/dashboard", wait_until="domcontentloaded")
    entry = page.locator("input[type=password]")
    entry.fill(Path(named[1]).read_text().strip())
    entry.press("Enter")
    page.get_by_text("Active Work Pools").wait_for(timeout=60_000)
    page.close()
    yield context
    context.close()


def see(page: Page, url: str, *texts: str) -> None:
    """Open a page of the UI and wait until each text stands on it."""
    page.goto(url, wait_until="domcontentloaded")
    for text in texts:
        page.get_by_text(text, exact=False).first.wait_for(timeout=60_000)


def test_the_ui_shows_runs_steps_and_artifacts_and_asks_no_host_outside(
    up: Any,
    deployment: str,
    scheduled: str,
    logged_in: BrowserContext,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    pictures = tmp_path_factory.mktemp("pictures")
    page = logged_in.new_page()
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    forbidden: list[str] = []  # by our own content security policy
    page.on("pageerror", lambda error: forbidden.append(str(error)) if "unsafe-" in str(error) else None)

    def look(name: str, path: str, *texts: str) -> None:
        see(page, f"{up.ui}{path}", *texts)
        page.wait_for_timeout(1500)
        page.screenshot(path=pictures / f"{name}.png", full_page=True)

    look("dashboard", "/dashboard", "Flow Runs")
    look("deployments", "/deployments", STUDY, "At 02:00 AM every day")
    look("deployment", f"/deployments/deployment/{deployment}", f"run {STUDY}")
    look("run", f"/runs/flow-run/{scheduled}", f"run {STUDY}", "Completed")
    page.get_by_text("Subflow Runs").first.click()
    for subflow in SUBFLOWS:
        page.get_by_text(f"{subflow} {STUDY}").first.wait_for()
    page.screenshot(path=pictures / "subflows.png", full_page=True)

    said = {log["message"] for log in up.ask("/logs/filter", {"sort": "TIMESTAMP_ASC", "limit": 200})}
    assert any(message.startswith("raw.lesion_scores: ") for message in said), said

    for name in ("ingest", "build", "analyze"):
        (subflow,) = [
            run for run in runs(up, name={"any_": [f"{name} {STUDY}"]}) if of_run(up, run, scheduled)
        ]
        see(page, f"{up.ui}/runs/flow-run/{subflow['id']}", f"{name} {STUDY}")
        page.get_by_text("Task Runs").first.click()
        page.wait_for_timeout(2500)
        page.screenshot(path=pictures / f"{name}.png", full_page=True)
    named = {task["name"] for task in up.ask("/task_runs/filter", EARLIEST)}
    assert set(TASKS) <= named

    look("artifacts", "/artifacts", *(key(name) for name in ARTIFACTS))
    for name, texts in ARTIFACTS.items():
        see(page, f"{up.ui}/artifacts/key/{key(name)}")
        # The newest comes first on the page of a key.
        page.locator("a[href*='/artifacts/artifact/']").first.click()
        for text in texts:
            page.get_by_text(text).first.wait_for()
        page.wait_for_timeout(1000)
        page.screenshot(path=pictures / f"{name}.png", full_page=True)
    page.close()
    print(f"\npictures: {pictures}; hosts asked: {sorted(asked)}")  # noqa: T201 - a person looks at them
    assert asked <= {urlsplit(up.ui).netloc, ""}, asked
    assert forbidden == []


def key(name: str) -> str:
    return f"{STUDY.replace('_', '-')}-{name}"


def of_run(up: Any, subflow: dict[str, Any], run_id: str) -> bool:
    return bool(up.ask(f"/task_runs/{subflow['parent_task_run_id']}")["flow_run_id"] == run_id)


@pytest.mark.usefixtures("scheduled")
def test_a_run_on_the_command_line_uses_the_server_and_stands_in_the_ui(
    up: Any,
    deliver: Callable[[], None],
    trialhouse: Callable[..., subprocess.CompletedProcess[str]],
    logged_in: BrowserContext,
) -> None:
    deliver()
    done = trialhouse(up.home, "run", STUDY)
    assert done.returncode == 0, done.stderr
    ours = [run for run in runs(up, name={"any_": [f"run {STUDY}"]}) if run["deployment_id"] is None]
    assert [run["state_name"] for run in ours] == ["Completed"]
    page = logged_in.new_page()
    see(page, f"{up.ui}/runs/flow-run/{ours[0]['id']}", f"run {STUDY}", "Completed")
    page.close()


@pytest.mark.usefixtures("scheduled")
def test_two_runs_of_one_deployment_do_not_overlap(
    up: Any, deployment: str, deliver: Callable[[], None]
) -> None:
    deliver()
    first, second = trigger(up, deployment), trigger(up, deployment)
    for run in (first, second):
        assert await_state(up, run, "Completed", "Failed", "Crashed") == "Completed"
    spans = sorted(
        (datetime.fromisoformat(run["start_time"]), datetime.fromisoformat(run["end_time"]))
        for run in (up.ask(f"/flow_runs/{first}"), up.ask(f"/flow_runs/{second}"))
    )
    assert spans[0][1] <= spans[1][0], spans


@pytest.mark.usefixtures("scheduled")
def test_a_cancelled_run_leaves_the_lake_untouched(
    up: Any, deployment: str, deliver: Callable[[], None], lake: Lake
) -> None:
    deliver()
    before = version(lake)
    run = trigger(up, deployment)
    await_state(up, run, "Running")
    # `ingest` has begun when its flow run is there: the lake is open and nothing is published yet.
    up.ask(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    started = time.monotonic()
    await_state(up, run, "Cancelled", seconds=120)
    print(f"\ncancelled after {time.monotonic() - started:.1f} s")  # noqa: T201 - a measured figure
    assert version(lake) == before
    time.sleep(5)
    assert version(lake) == before
    assert not (lake.folder / "writing").exists()


@pytest.mark.usefixtures("scheduled")
def test_a_killed_run_is_marked_crashed_and_the_next_one_mends_it(
    up: Any, deployment: str, lake: Lake
) -> None:
    before = version(lake)
    run = trigger(up, deployment)
    await_state(up, run, "Running")
    working = [process for process in processes_of(up) if run_id_of(process) == run]
    assert working
    for process in working:
        process.send_signal(signal.SIGKILL)
    started = time.monotonic()
    await_state(up, run, "Crashed", seconds=120)
    print(f"\nmarked Crashed after {time.monotonic() - started:.1f} s")  # noqa: T201 - a measured figure
    assert version(lake) == before
    following = trigger(up, deployment)
    started = time.monotonic()
    await_state(up, following, "Completed", seconds=900)
    print(f"the next run was done after {time.monotonic() - started:.1f} s")  # noqa: T201 - a measured figure
    assert version(lake) == before + 3


def run_id_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("PREFECT__FLOW_RUN_ID")
    except psutil.Error:
        return None


def test_a_second_up_says_that_one_is_up(
    up: Any, trialhouse: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = trialhouse(up.home, "up", "--port", str(up.port + 1))
    assert done.returncode == 8
    assert f"a trialhouse server is up already at {up.ui}" in done.stderr


def test_a_taken_port_is_named(
    up: Any, tmp_path: Path, trialhouse: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = trialhouse(tmp_path, "up", "--port", str(up.port))
    assert done.returncode == 8
    assert re.search(rf"port {up.port}: .*--port", done.stderr)


def test_the_server_listens_on_loopback_alone(up: Any) -> None:
    listening = {
        connection.laddr.ip
        for process in processes_of(up)
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


@pytest.mark.usefixtures("scheduled")
def test_sigterm_ends_server_worker_and_running_flow(
    up: Any, deployment: str, deliver: Callable[[], None]
) -> None:
    deliver()
    run = trigger(up, deployment)
    await_state(up, run, "Running")
    family = processes_of(up)
    assert up.stop(signal.SIGTERM) == 0, up.log.read_text()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive, alive
    assert "Traceback" not in up.log.read_text()


def test_a_new_up_closes_the_run_that_ended_with_the_old_one_and_the_next_run_starts(
    up: Any, deployment: str, lake: Lake, start_up: Callable[..., AbstractContextManager[Any]]
) -> None:
    before = version(lake)
    with start_up(up.home) as again:
        crashed = runs(again, state={"type": {"any_": ["CRASHED"]}})
        assert any("ended with an earlier" in run["state"]["message"] for run in crashed)
        assert runs(again, state={"type": {"any_": ["RUNNING", "CANCELLING", "PENDING"]}}) == []
        run = trigger(again, deployment)
        assert await_state(again, run, "Completed", "Failed", "Crashed") == "Completed"
    assert version(lake) == before + 3


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_and_a_closed_terminal_end_all(
    how: signal.Signals, tmp_path: Path, start_up: Callable[..., AbstractContextManager[Any]]
) -> None:
    with start_up(tmp_path / "home") as other:
        family = processes_of(other)
        assert len(family) >= 2
        os.killpg(other.process.pid, how)
        assert other.process.wait(60) == 0
        _, alive = psutil.wait_procs(family, timeout=10)
        assert not alive, alive
        assert not (other.home / "server.json").exists()
        assert "Traceback" not in other.log.read_text()


def test_nothing_stays_when_it_is_killed(
    tmp_path: Path, start_up: Callable[..., AbstractContextManager[Any]]
) -> None:
    with start_up(tmp_path / "home") as other:
        family = processes_of(other)
        assert len(family) >= 2
        other.process.kill()
        other.process.wait(60)
        _, alive = psutil.wait_procs(family, timeout=60)
        assert not alive, alive
