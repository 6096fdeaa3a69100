"""What strangers can do to `trialhouse up`: pages of other origins in a real browser, another local account.

One server serves the whole file. The pages know even the secret, so that it is their origin which is refused.
"""

from __future__ import annotations

import base64
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.proof

CHROMIUM = Path("/usr/bin/chromium")
NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
COUNTED = (
    "flows",
    "deployments",
    "flow_runs",
    "variables",
    "work_pools",
    "artifacts",
    "automations",
    "events",
)
ATTACK = (Path(__file__).parent / "foreign_page.js").read_text(encoding="utf-8")


class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>another page</title><body>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[int]:
    """Serve an empty page at another port of loopback; tests put their scripts on it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.is_file():
        pytest.skip(f"no browser at {CHROMIUM}")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                # As after an attacker's name server has changed its mind: the name is now loopback.
                "--host-resolver-rules=MAP *.example 127.0.0.1",
            ],
        )
        yield opened
        opened.close()


def counts(up: Any) -> dict[str, int]:
    """Count what there is of each kind, and what could have been made."""
    counted: dict[str, int] = {}
    for kind in COUNTED:
        found = up.ask(f"/{kind}/filter", {})
        counted[kind] = found["total"] if isinstance(found, dict) else len(found)
    return counted


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.example"])
@pytest.mark.parametrize("is_sandboxed", [False, True])
def test_a_page_of_another_origin_reads_and_writes_nothing(
    up: Any, browser: Browser, elsewhere: int, host: str, *, is_sandboxed: bool
) -> None:
    name = f"stranger-{host.replace('.', '-')}-{is_sandboxed}".lower()
    before = counts(up)
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://{host}:{elsewhere}/")
    frame: Any = page
    if is_sandboxed:  # its origin is `null`
        page.evaluate(
            "() => { const f = document.createElement('iframe'); f.sandbox = 'allow-scripts allow-forms "
            "allow-popups'; f.srcdoc = '<body>'; document.body.append(f); }"
        )
        page.wait_for_timeout(500)
        frame = page.frames[1]
    got = frame.evaluate(ATTACK, {"api": up.api, "ui": up.ui, "secret": up.secret, "name": name})
    context.close()
    assert got == []
    after = counts(up)
    # The server itself notes that its worker lives.
    assert {**after, "events": 0} == {**before, "events": 0}
    assert name not in json.dumps([up.ask(f"/{kind}/filter", {}) for kind in COUNTED])
    assert not Path(f"/tmp/{name}").exists()  # noqa: S108 - where the attack would have left its mark


def test_a_name_that_is_rebound_to_loopback_reads_nothing(up: Any, browser: Browser) -> None:
    page = browser.new_page()
    for path in ("/", "/dashboard", "/api/health", "/ui-settings", "/assets/"):
        answer = page.goto(f"http://rebound.example:{up.port}{path}")
        assert answer is not None
        assert answer.status == 421
        assert page.inner_text("body") == "Host: not a name of this server"
    page.close()


def test_our_own_page_reads_and_writes(up: Any, browser: Browser) -> None:
    page: Page = browser.new_page()
    page.goto(f"{up.ui}/dashboard", wait_until="domcontentloaded")
    ask = "async ([path, headers]) => (await fetch(path, {method: 'POST', body: '{}', headers})).status"
    credentials = {"authorization": f"Basic {base64.b64encode(up.secret.encode()).decode()}"}
    token = up.ask("/csrf-token?client=page")["token"]
    granted = credentials | {
        "prefect-csrf-client": "page",
        "prefect-csrf-token": token,
        "content-type": "application/json",
    }
    assert page.evaluate(ask, ["/api/flows/filter", granted]) == 200
    assert page.evaluate(ask, ["/api/flows/filter", credentials]) == 403
    assert page.evaluate(ask, ["/api/flows/filter", {}]) == 401
    assert (
        page.evaluate(
            """async (secret) => new Promise((done) => {
              const opened = new WebSocket(`ws://${location.host}/api/events/out`, ['prefect']);
              opened.onopen = () => opened.send(JSON.stringify({type: 'auth', token: secret}));
              opened.onmessage = (message) => done(JSON.parse(message.data).type);
              opened.onclose = () => done('closed');
            })""",
            up.secret,
        )
        == "auth_success"
    )
    page.close()


@pytest.fixture(scope="module")
def nobody(up: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command as another account of this machine, which can reach the folder of all lakes."""
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("only root can act as another account, and needs setpriv")
    for folder in (up.home, *up.home.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*NOBODY, *command], capture_output=True, text=True, check=False, timeout=60)

    assert run("ls", "-d", str(up.home)).returncode == 0
    return run


def test_another_account_reads_neither_the_secret_nor_what_prefect_keeps(up: Any, nobody: Any) -> None:
    assert up.secret in (up.home / "prefect" / "secret").read_text()
    processes = [psutil.Process(up.process.pid), *psutil.Process(up.process.pid).children(recursive=True)]
    assert len(processes) >= 3
    private = [
        up.home / "server.json",
        up.home / "prefect",
        *(up.home / "prefect").iterdir(),
        *(Path(f"/proc/{process.pid}/environ") for process in processes),
        *(Path(f"/proc/{process.pid}/mem") for process in processes),
        *(Path(f"/proc/{process.pid}/fd/0") for process in processes),
    ]
    for file in private:
        for command in ("cat", "ls", "cp"):
            more = ["/dev/null"] if command == "cp" else []
            option = ["-A"] if command == "ls" and file.is_dir() else []
            if command == "ls" and not option:
                continue
            done = nobody(command, *option, str(file), *more)
            assert done.returncode, (command, file)
            assert done.stdout == ""
    listed = nobody("ps", "axeww", "-o", "args").stdout
    assert "flows.serving" in listed
    assert up.secret.partition(":")[2] not in listed


def test_another_account_is_refused_by_the_server_and_cannot_take_its_port(up: Any, nobody: Any) -> None:
    for method, path in (("GET", "/admin/settings"), ("POST", "/flows/filter"), ("POST", "/deployments/")):
        done = nobody("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", method, f"{up.api}{path}")
        assert done.stdout in {"401", "403"}
    take = (
        "import socket, sys\n"
        "for options in ((), (2,), (15,), (2, 15)):\n"
        "    for host in ('127.0.0.1', '0.0.0.0'):\n"
        "        s = socket.socket()\n"
        "        [s.setsockopt(1, option, 1) for option in options]\n"
        "        try: s.bind((host, int(sys.argv[1]))); s.listen(); print('taken')\n"
        "        except OSError: pass\n"
    )
    done = nobody(shutil.which("python3", path="/usr/bin") or sys.executable, "-c", take, str(up.port))
    assert (done.returncode, done.stdout) == (0, ""), done


def test_the_secret_is_written_nowhere_but_in_its_file(
    up: Any, trialhouse: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    failed = trialhouse(up.home, "run", "nl_ruxolitinib", "--data", str(up.home / "nothing-there"))
    assert failed.returncode == 4
    token = base64.b64encode(up.secret.encode()).decode()
    wanted = [up.secret.partition(":")[2], token[16:48]]
    files = [file for file in up.home.rglob("*") if file.is_file()]
    assert up.home / "prefect" / "prefect.db" in files
    found = {file.name for file in files for text in wanted if text.encode() in file.read_bytes()}
    assert found == {"secret"}
    assert not [text for text in wanted if text in failed.stdout + failed.stderr + up.log.read_text()]
