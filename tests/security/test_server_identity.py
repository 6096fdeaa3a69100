"""The secret stays with this account, and goes to the server of this account alone."""

from __future__ import annotations

import base64
import http.server
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from flows import environment
from flows.guard import PROOF
from flows.prefect_server import PrefectServer
from flows.secret import make_private, own_secret, write_private
from warehouse.errors import LakeError
from warehouse.study import HOUSE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _as_before(home: Path) -> Iterator[None]:
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    home.mkdir()
    yield
    os.environ.clear()
    os.environ.update(before)


def mode(file: Path) -> int:
    return stat.S_IMODE(file.lstat().st_mode)


class TestSecretFile:
    def test_it_is_made_once_private_and_random(self, home: Path) -> None:
        old = os.umask(0)
        try:
            made = own_secret(home / "a")
        finally:
            os.umask(old)
        assert mode(home / "a") == 0o600
        assert own_secret(home / "a") == made
        assert own_secret(home / "b") != made
        user, _, password = made.partition(":")
        assert user == "trialhouse"
        assert len(password) >= 43  # 256 bits
        assert sorted(file.name for file in home.iterdir()) == ["a", "b"]

    def test_all_that_start_at_once_have_one(self, home: Path) -> None:
        with ThreadPoolExecutor(16) as pool:
            assert len(set(pool.map(own_secret, [home / "secret"] * 200))) == 1
        assert [file.name for file in home.iterdir()] == ["secret"]

    @pytest.mark.parametrize("loose", [0o640, 0o604, 0o644, 0o666, 0o620, 0o602, 0o610])
    def test_one_that_others_could_read_is_replaced(self, tmp_path: Path, loose: int) -> None:
        file = tmp_path / "secret"
        known = own_secret(file)
        file.chmod(loose)
        assert own_secret(file) != known
        assert mode(file) == 0o600

    @pytest.mark.parametrize("kind", ["link", "dangling", "folder", "fifo", "too short"])
    def test_what_is_no_file_of_ours_is_refused(self, tmp_path: Path, kind: str) -> None:
        file = tmp_path / "secret"
        victim = tmp_path / "victim"
        if kind == "link":
            write_private(victim, "x" * 40)
            file.symlink_to(victim)
        elif kind == "dangling":
            file.symlink_to(victim)
        elif kind == "folder":
            file.mkdir()
        elif kind == "fifo":
            os.mkfifo(file, 0o600)
        else:
            write_private(file, "short")
        with pytest.raises(LakeError, match=r"secret: .*(remove|link|secret)"):
            own_secret(file)
        assert not victim.exists() or victim.read_text() == "x" * 40 + "\n"

    def test_another_accounts_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "secret"
        own_secret(file)
        monkeypatch.setattr(os, "geteuid", lambda: 4321)
        with pytest.raises(LakeError, match="belongs to the account"):
            own_secret(file)
        with pytest.raises(LakeError, match="a folder of this account"):
            make_private(tmp_path)

    def test_a_folder_that_cannot_be_written_is_one_message(self, tmp_path: Path) -> None:
        with pytest.raises(LakeError, match="cannot be"):
            own_secret(tmp_path / "missing" / "secret")
        (tmp_path / "file").write_text("")
        with pytest.raises(LakeError, match="cannot be made"):
            make_private(tmp_path / "file" / "prefect")

    def test_the_folder_of_prefect_is_closed_to_others(self, home: Path) -> None:
        (home / "prefect").mkdir(mode=0o777)
        (home / "prefect").chmod(0o777)
        assert mode(environment.prefect_folder()) == 0o700
        (home / "prefect").rename(home / "elsewhere")
        (home / "prefect").symlink_to(home / "elsewhere")
        with pytest.raises(LakeError, match="prefect: a folder of this account"):
            environment.prefect_folder()


class Squatter(http.server.BaseHTTPRequestHandler):
    """Whoever has taken the port after the server ended: answers all, and writes down what it is sent."""

    seen: list[str]
    says: Callable[[str], bytes]

    def do_GET(self) -> None:
        type(self).seen.append(f"{self.path} {dict(self.headers)}")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(type(self).says(self.path))

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def squatter() -> Iterator[type[Squatter]]:
    class Here(Squatter):
        seen: list[str] = []  # noqa: RUF012 - one list for all requests of this server
        says = staticmethod(lambda _path: b"true")
        port = 0

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Here)
    Here.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Here
    server.shutdown()
    server.server_close()


def announce(port: int, **more: object) -> None:
    said = {"api": f"http://127.0.0.1:{port}/api", "pid": 1, "key": "k" * 64, "is_secret_ours": True}
    write_private(environment.server_file(), json.dumps(said | more))


class TestWhoListens:
    @pytest.mark.parametrize(
        "says",
        [
            lambda _path: b"true",
            lambda _path: b"",
            lambda path: path.encode(),
            lambda path: path.partition("=")[2].encode(),
            lambda _path: b"0" * 64,
            lambda _path: b"\xff" * 64,
            lambda _path: b"x" * 10_000_000,
        ],
    )
    def test_a_squatter_is_not_told_the_secret(
        self, squatter: Any, says: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secret = own_secret(environment.secret_file())
        announce(squatter.port)
        squatter.says = staticmethod(says)
        monkeypatch.setattr(environment, "PrefectServer", None)  # no run of this test starts one
        environment.configure()
        assert "PREFECT_API_URL" not in os.environ
        assert "PREFECT_API_AUTH_STRING" not in os.environ
        assert len(squatter.seen) == 1
        assert squatter.seen[0].startswith(f"{PROOF}?nonce=")
        told = "".join(squatter.seen)
        assert secret not in told
        assert base64.b64encode(secret.encode()).decode() not in told
        assert "k" * 64 not in told

    def test_nothing_is_asked_of_a_server_that_another_account_wrote_down(
        self, squatter: Any, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        announce(squatter.port)
        with monkeypatch.context() as patch:
            patch.setattr(os, "geteuid", lambda: 4321)
            with pytest.raises(LakeError, match="belongs to the account"):
                environment.running_server()
        for loose in (0o644, 0o666, 0o602):
            environment.server_file().chmod(loose)
            with pytest.raises(LakeError, match=r"server\.json: .*remove the file"):
                environment.running_server()
        environment.server_file().rename(home / "elsewhere")
        (home / "elsewhere").chmod(0o600)
        environment.server_file().symlink_to(home / "elsewhere")
        with pytest.raises(LakeError, match="not a link"):
            environment.running_server()
        assert squatter.seen == []

    @pytest.mark.parametrize("text", ["", "{}", "[]", "null", "5", "not JSON", '{"api": 5}', "[" * 5000])
    def test_a_file_that_says_nothing_is_one_message(self, text: str) -> None:
        write_private(environment.server_file(), text)
        with pytest.raises(LakeError, match=r"server\.json: .*remove the file"):
            environment.running_server()

    @pytest.mark.parametrize(
        "api", ["http://192.0.2.1:80/api", "file:///etc/passwd", "http://evil.example/api", "", "http://[::1"]
    )
    def test_no_other_host_is_asked(self, api: str) -> None:
        announce(1, api=api)
        with pytest.raises(LakeError, match=r"server\.json: .*remove the file"):
            environment.running_server()

    @pytest.mark.parametrize("mode", [None, 0o644])
    def test_a_secret_that_went_meanwhile_is_one_message(
        self, monkeypatch: pytest.MonkeyPatch, mode: int | None
    ) -> None:
        announce(1)
        monkeypatch.setattr(environment, "_is_ours", lambda _server: True)
        if mode:
            own_secret(environment.secret_file())
            environment.secret_file().chmod(mode)
        with pytest.raises(LakeError, match="end `trialhouse up` and start it again"):
            environment.configure()

    def test_an_operators_own_secret_has_to_be_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        announce(1, is_secret_ours=False)
        monkeypatch.setattr(environment, "_is_ours", lambda _server: True)
        with pytest.raises(LakeError, match="set PREFECT_API_AUTH_STRING"):
            environment.configure()
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", "operator:given")
        environment.configure()
        assert os.environ["PREFECT_API_AUTH_STRING"] == "operator:given"

    @pytest.mark.parametrize(
        "before", [{}, {"NO_PROXY": "a.example"}, {"no_proxy": "a.example", "NO_PROXY": "b"}]
    )
    def test_no_proxy_is_told_the_secret(self, before: dict[str, str]) -> None:
        for name in ("no_proxy", "NO_PROXY"):
            os.environ.pop(name, None)
        os.environ |= before | {"http_proxy": "http://proxy.example:3128"}
        environment.use("http://127.0.0.1:4200/api", "trialhouse:hidden")
        assert urllib.request.proxy_bypass("127.0.0.1:4200")
        assert bool(urllib.request.proxy_bypass("a.example")) is bool(before)

    def test_a_server_that_the_user_names_is_used_and_not_sent_our_secret(
        self, squatter: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own_secret(environment.secret_file())
        announce(squatter.port)
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{squatter.port}/api")
        environment.configure()
        environment.connect()
        assert "PREFECT_API_AUTH_STRING" not in os.environ
        assert squatter.seen == []


class TestServerProcess:
    def test_the_secret_is_in_no_argument_and_the_client_has_not_the_servers(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started: list[tuple[list[str], dict[str, str]]] = []

        class Recorded(subprocess.Popen[bytes]):
            def __init__(self, command: list[str], **options: Any) -> None:
                started.append((command, options["env"]))
                super().__init__(["cat"], **options)

        monkeypatch.setattr(subprocess, "Popen", Recorded)
        monkeypatch.setenv("PREFECT_API_AUTH_STRING", "of-another:server")
        server = PrefectServer.start(environment.prefect_folder(), "trialhouse:hidden", is_temporary=True)
        server.stop()
        ((command, given),) = started
        assert "hidden" not in " ".join(command)
        assert [name for name, value in given.items() if "hidden" in value] == [
            "PREFECT_SERVER_API_AUTH_STRING"
        ]
        assert "of-another:server" not in given.values()
        environment.use(server.api, server.secret)
        assert [name for name, value in os.environ.items() if "hidden" in value] == [
            "PREFECT_API_AUTH_STRING"
        ]

    def test_nobody_takes_the_port_while_we_live(self) -> None:
        server = PrefectServer.start(environment.prefect_folder(), "trialhouse:hidden", is_temporary=True)
        try:
            server.process.kill()
            server.process.wait()
            port = server.listening.getsockname()[1]
            with pytest.raises(LakeError, match=rf"port {port}: .*--port"):
                PrefectServer.start(environment.prefect_folder(), "x", port=port, is_temporary=True)
            with pytest.raises(LakeError, match=r"ended (at once )?with code -9"):
                server.await_ready()
        finally:
            server.stop()

    @pytest.mark.parametrize("port", [-1, 65536, 10**9])
    def test_a_port_that_cannot_be_is_one_message(self, port: int) -> None:
        with pytest.raises(LakeError, match=rf"port {port}: .*--port"):
            PrefectServer.start(environment.prefect_folder(), "x", port=port, is_temporary=True)

    @pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
    def test_what_we_start_ends_with_us_however_we_end(self, ending: signal.Signals) -> None:
        start = (
            "import os, sys; from pathlib import Path; from flows import lifeline\n"
            "child = lifeline.start('http.server', '--bind', '127.0.0.1', '0', folder=Path.cwd(),\n"
            "    environment={**os.environ, 'PYTHONUNBUFFERED': '1'})\n"
            "child.stdout.readline(); print(child.pid, flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=HOUSE
        ) as parent:
            assert parent.stdout is not None
            child = psutil.Process(int(parent.stdout.readline()))
            parent.send_signal(ending)
        child.wait(60)

    def test_prefect_obeys_no_file_of_the_current_folder(self, tmp_path: Path) -> None:
        hostile = tmp_path / "hostile"
        hostile.mkdir()
        (hostile / "logging.yml").write_text(
            "version: 1\nformatters: {run: {(): subprocess.getoutput, cmd: touch ran}}\nhandlers: {}\n"
        )
        (hostile / ".env").write_text(
            "PREFECT_LOGGING_SETTINGS_PATH=logging.yml\nPREFECT_CLIENT_CSRF_SUPPORT_ENABLED=0\n"
        )
        (hostile / "prefect.toml").write_text('[logging]\nconfig_path = "logging.yml"\n')
        (hostile / "pyproject.toml").write_text('[tool.prefect.logging]\nconfig_path = "logging.yml"\n')
        (hostile / "prefect.py").write_text("raise SystemExit('a module of the current folder was imported')")
        connect = (
            "from flows import environment\n"
            "environment.configure(); environment.connect()\n"
            "from prefect.settings import get_current_settings as read\n"
            "print(read().client.csrf_support_enabled, read().logging.config_path)"
        )
        done = subprocess.run(
            [sys.executable, "-P", "-c", connect],
            cwd=hostile,
            env=os.environ | {"PREFECT_API_URL": "http://127.0.0.1:1/api", "PYTHONPATH": str(HOUSE)},
            capture_output=True,
            text=True,
            check=True,
        )
        said, path = done.stdout.split()
        assert said == "True"
        assert str(hostile) not in path
        assert sorted(file.name for file in hostile.iterdir()) == sorted(
            [".env", "logging.yml", "prefect.py", "prefect.toml", "pyproject.toml"]
        )
