"""Whoever reaches the port of Prefect's server reads, writes and runs nothing without the secret.

One real server for the file, with the UI, as `trialhouse up` starts it; requests are sent byte by byte.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from flows import environment
from flows.guard import PROOF, Guard, prove
from flows.prefect_server import PrefectServer
from flows.secret import new_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MARKER = "only-for-those-who-logged-in"
FOREIGN = "http://evil.example"
# What answers without the secret, and is meant to: whether the server lives, and how the UI reaches it.
OPEN = {"/health", "/ready"}
SOCKETS = {
    "/events/in",
    "/events/out",
    "/logs/out",
    "/subscriptions/scheduled",
    "/{work_pool_name}/workers/connect",
}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class Target:
    """A server that is attacked, and the headers of a request that it grants."""

    port: int
    secret: str
    key: str
    csrf: str

    @property
    def granted(self) -> dict[str, str]:
        return {
            "Host": f"127.0.0.1:{self.port}",
            "Authorization": basic(self.secret),
            "Prefect-Csrf-Client": "test",
            "Prefect-Csrf-Token": self.csrf,
            "Content-Type": "application/json",
        }

    def raw(self, request: bytes, seconds: float = 20) -> Answer:
        """Send bytes and read until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), seconds) as connection:
            connection.sendall(request)
            received = b""
            with contextlib.suppress(ConnectionResetError):  # it closes without having read all
                while part := connection.recv(65536):
                    received += part
        head, _, body = received.decode("latin-1").partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
        return Answer(int(first.split()[1]) if first else 0, headers, body)

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | list[tuple[str, str]],
        body: object = None,
        protocol: str = "HTTP/1.1",
    ) -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        pairs = list(headers.items()) if not isinstance(headers, list) else headers
        given = [*pairs, ("Content-Length", str(len(content))), ("Connection", "close")]
        head = "".join(f"{name}: {value}\r\n" for name, value in given)
        return self.raw(f"{method} {path} {protocol}\r\n{head}\r\n".encode("latin-1") + content)

    def flows(self) -> list[str]:
        answer = self.send("POST", "/api/flows/filter", self.granted, {})
        assert answer.status == 200, answer
        return sorted(flow["name"] for flow in json.loads(answer.body))


def basic(secret: str) -> str:
    return f"Basic {base64.b64encode(secret.encode()).decode()}"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    before = dict(os.environ)
    os.environ["TRIALHOUSE_HOME"] = str(tmp_path_factory.mktemp("home"))
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    try:
        environment.configure(use_server=False)
        server = PrefectServer.start(environment.prefect_folder(), new_secret(), is_temporary=False)
        try:
            server.await_ready()
            port = int(server.api.rsplit(":", 1)[1].removesuffix("/api"))
            target = Target(port, server.secret, server.key, "")
            token = target.send("GET", "/api/csrf-token?client=test", target.granted)
            target = Target(port, server.secret, server.key, json.loads(token.body)["token"])
            assert target.send("POST", "/api/flows/", target.granted, {"name": MARKER}).status == 201
            yield target
        finally:
            server.stop()
    finally:
        os.environ.clear()
        os.environ.update(before)


def without(target: Target, *names: str) -> dict[str, str]:
    return {name: value for name, value in target.granted.items() if name not in names}


def altered(target: Target, **changed: str) -> dict[str, str]:
    """Return granted headers with some changed; `{port}` and `{secret}` are filled in."""
    filled = {
        name.replace("_", "-"): value.format(port=target.port, secret=target.secret)
        for name, value in changed.items()
    }
    return target.granted | filled


def assert_refused(target: Target, headers: Any, *statuses: int, protocol: str = "HTTP/1.1") -> None:
    """Ask to read and to write: both are refused, nothing is told and nothing has changed."""
    asked = (
        ("POST", "/api/flows/filter", {}),
        ("POST", "/api/flows/", {"name": "intruder"}),
        ("GET", "/api/admin/settings", None),
    )
    for method, path, body in asked:
        answer = target.send(method, path, headers, body, protocol)
        assert answer.status in statuses, (path, answer)
        assert MARKER not in answer.body
        assert target.secret not in answer.body
        assert answer.headers.get("access-control-allow-origin") is None
    assert target.flows() == [MARKER]


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic //79",  # no UTF-8
        "Basic AAAA",  # NUL
        "Bearer {secret}",
        "{secret}",
        "Basic {secret}",
        *(
            basic(wrong)
            for wrong in ("", ":", "admin:pass", "trialhouse:", "trialhouse:x", "None", "null", "é:é")
        ),
    ],
)
def test_without_the_secret_all_is_refused(target: Target, authorization: str | None) -> None:
    headers = without(target, "Authorization")
    if authorization is not None:
        headers["Authorization"] = authorization.format(secret=target.secret)
    assert_refused(target, headers, 401)


@pytest.mark.parametrize("cut", [slice(None, -1), slice(1, None), slice(None, 12)])
def test_a_part_of_the_secret_is_refused(target: Target, cut: slice) -> None:
    assert_refused(target, target.granted | {"Authorization": basic(target.secret[cut])}, 401)


@pytest.mark.parametrize(
    "elsewhere",
    [{"Cookie": "auth={secret}"}, {"X-Authorization": "Basic {secret}"}, {"Proxy-Authorization": ""}],
)
def test_the_secret_in_another_place_is_refused(target: Target, elsewhere: dict[str, str]) -> None:
    filled = {name: value.format(secret=target.secret) for name, value in elsewhere.items()}
    assert_refused(target, without(target, "Authorization") | filled, 401)


def test_of_two_authorizations_the_right_one_does_not_cover_a_wrong_one(target: Target) -> None:
    headers = [("Authorization", "Basic AAAA"), *target.granted.items()]
    assert_refused(target, headers, 401)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:80",
        "localhost",
        "localhost.:{port}",
        "localhost.evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "0.0.0.0:{port}",
        "[::1]:{port}",
        "127.1:{port}",
        "2130706433:{port}",
        "127.0.0.2:{port}",
        "127.0.0.1:0{port}",
        "evil.example@127.0.0.1:{port}",
        "127.0.0.1:{port}/evil",
        "127.0.0.1:{port},evil.example",
        "",
    ],
)
def test_a_foreign_host_is_refused_with_the_secret_too(target: Target, host: str) -> None:
    assert_refused(target, altered(target, Host=host), 400, 421)


@pytest.mark.parametrize("name", ["X-Forwarded-Host", "X-Host", "Forwarded", "X-Original-Host"])
def test_a_host_that_is_said_elsewhere_does_not_count(target: Target, name: str) -> None:
    headers = altered(target, Host="evil.example") | {name: f"127.0.0.1:{target.port}"}
    assert_refused(target, headers, 421)


def test_no_host_and_two_hosts_are_refused(target: Target) -> None:
    assert_refused(target, without(target, "Host"), 400, 421, protocol="HTTP/1.0")
    assert_refused(target, [("Host", "evil.example"), *target.granted.items()], 400, 421)


@pytest.mark.parametrize(
    "origin",
    [
        FOREIGN,
        "null",
        "",
        "*",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1",
        "http://127.0.0.1:1{port}",
        "http://127.0.0.1:{port}.evil.example",
        "http://127.0.0.1:{port}@evil.example",
        "http://127.0.0.1:{port}/",
        "http://localhost:3000",
        "http://[::1]:{port}",
        "file://",
    ],
)
def test_a_foreign_origin_is_refused_with_the_secret_too(target: Target, origin: str) -> None:
    assert_refused(target, altered(target, Origin=origin), 403)


def test_of_two_origins_one_foreign_is_refused(target: Target) -> None:
    own = ("Origin", f"http://127.0.0.1:{target.port}")
    assert_refused(target, [own, ("Origin", FOREIGN), *target.granted.items()], 403)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "unknown"])
def test_a_request_of_another_page_is_refused_with_the_secret_too(target: Target, site: str) -> None:
    for mode in ("no-cors", "cors", "navigate", "websocket"):
        headers = altered(target, Sec_Fetch_Site=site, Sec_Fetch_Mode=mode, Sec_Fetch_Dest="document")
        assert_refused(target, headers, 403)


def test_a_link_opens_the_ui_and_no_page_embeds_it(target: Target) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    host = {"Host": f"localhost:{target.port}", "Accept": "text/html"}
    assert target.send("GET", "/dashboard", host | link).status == 200
    for embedded in ("iframe", "embed", "object", "script", "image"):
        assert target.send("GET", "/dashboard", host | link | {"Sec-Fetch-Dest": embedded}).status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "GET"])
def test_no_preflight_of_another_page_is_granted(target: Target, method: str) -> None:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
    for origin in (FOREIGN, "null", "http://localhost:3000"):
        headers = {"Host": f"127.0.0.1:{target.port}", "Origin": origin} | asked
        answer = target.send("OPTIONS", "/api/flows/", headers)
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "token",
    [
        {"Prefect-Csrf-Token": None},
        {"Prefect-Csrf-Client": None},
        {"Prefect-Csrf-Token": ""},
        {"Prefect-Csrf-Token": "0" * 64},
        {"Prefect-Csrf-Client": "another"},
    ],
)
def test_a_change_without_its_token_is_refused(target: Target, token: dict[str, str | None]) -> None:
    headers = {name: value for name, value in (target.granted | token).items() if value is not None}
    assert target.send("POST", "/api/flows/", headers, {"name": "intruder"}).status == 403
    assert target.flows() == [MARKER]


@pytest.mark.parametrize(
    "override",
    [{name: "POST"} for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")]
    + [{name: "/api/flows/filter"} for name in ("X-Original-URL", "X-Rewrite-URL")],
)
def test_no_header_changes_the_method_or_the_path(target: Target, override: dict[str, str]) -> None:
    headers = {"Host": f"127.0.0.1:{target.port}"} | override
    for path in ("/api/flows/filter?_method=POST", "/api/flows/", "/api/health"):
        answer = target.send("GET", path, headers, {"name": "intruder"})
        assert answer.status == 401 or answer.body == "true"
    assert target.flows() == [MARKER]


@pytest.mark.parametrize(
    "path",
    [
        "//api{}", "/api/{}", "/./api{}", "/api/../api{}", "/x/../api{}", "/%61pi{}", "/api%2f{}", "/api/.{}",
        "/api/health/..{}", "/api/health/%2e%2e{}", "/api/ready/..{}", "/api/health;{}", "/api{}/health",
        "/api{}?/health", "/api{}#/health", "/API{}", "/v2/api{}", "/api/static/..{}", "/api/static/%2e%2e{}",
        "/ui-settings/..{}", "/assets/..%2f..%2fapi{}", "\\api{}", "api{}", "*", "http://evil.example/api{}",
        "http://127.0.0.1/api{}", "//evil.example/api{}", "/api{}%00", "/api{}/", "/api%0d%0a{}",
    ],
)  # fmt: skip
def test_no_path_leads_past_the_secret(target: Target, path: str) -> None:
    headers = without(target, "Authorization")
    for method, route, body in (
        ("POST", "/flows/filter", {}),
        ("POST", "/flows/", {"name": "intruder"}),
        ("GET", "/admin/settings", None),
        ("GET", f"/flows/name/{MARKER}", None),
    ):
        answer = target.send(method, path.format(route), headers, body)
        assert answer.status >= 400 or "<title>Prefect Server</title>" in answer.body, answer
        assert '"name"' not in answer.body
        assert '"home"' not in answer.body
    assert target.flows() == [MARKER]


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/shadow", "/proc/self/environ"])
def test_no_file_outside_the_ui_is_served(target: Target, path: str) -> None:
    for trick in ("/../../../../../../../..", "/assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e", "/"):
        answer = target.send("GET", trick + path, {"Host": f"127.0.0.1:{target.port}"})
        assert "root:" not in answer.body
        assert "PREFECT_SERVER_API_AUTH_STRING" not in answer.body


def test_every_route_of_the_api_asks_for_the_secret(target: Target) -> None:
    interface = json.loads(target.send("GET", "/api/openapi.json", target.granted).body)
    routes = [(method.upper(), path) for path, methods in interface["paths"].items() for method in methods]
    assert len(routes) > 150
    headers = without(target, "Authorization", "Prefect-Csrf-Token")
    answers = {
        (method, path): target.send(method, f"/api{re.sub('{.*?}', secrets.token_hex(4), path)}", headers, {})
        for method, path in routes
    }
    granted = {path for (_, path), answer in answers.items() if answer.status not in {401, 403}}
    assert granted == OPEN
    assert {answers["GET", path].body for path in OPEN} == {"true", '{"message":"OK"}'}
    unauthorized = without(target, "Authorization")
    changing = [route for route in routes if route[0] != "GET"]
    for method, path in changing[:40]:
        assert target.send(method, f"/api{path}", unauthorized, {}).status == 401


@pytest.mark.parametrize(
    "path", ["/docs", "/docs/", "/docs/oauth2-redirect", "/redoc", "/openapi.json", "/%64ocs"]
)
def test_the_description_of_the_api_is_not_public(target: Target, path: str) -> None:
    answer = target.send("GET", path, {"Host": f"127.0.0.1:{target.port}"})
    assert answer.status == 404
    assert target.send("GET", f"/api{path}", {"Host": f"127.0.0.1:{target.port}"}).status == 401


def test_what_the_ui_may_know_before_the_login(target: Target) -> None:
    answer = target.send("GET", "/ui-settings", {"Host": f"127.0.0.1:{target.port}"})
    said = json.loads(answer.body)
    assert said.pop("api_url") == "/api"
    assert said == {
        "csrf_enabled": True,
        "auth": "BASIC",
        "flags": [],
        "default_ui": "v1",
        "available_uis": ["v1", "v2"],
        "v1_base_url": "/",
        "v2_base_url": "/v2",
    }


@pytest.mark.parametrize("path", ["/dashboard", "/api/health", "/api/flows/", "/docs", "/ui-settings"])
def test_every_answer_forbids_frames_and_foreign_content(target: Target, path: str) -> None:
    headers = target.send("GET", path, {"Host": f"127.0.0.1:{target.port}"}).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert headers["x-frame-options"] == "deny"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers


def listen(target: Target, path: str, *, token: str | None, **more: Any) -> str:
    """Open a websocket, log in, ask for all; return why it was closed."""
    with connect(
        f"ws://127.0.0.1:{target.port}/api{path}", subprotocols=[Subprotocol("prefect")], proxy=None, **more
    ) as opened:
        opened.send(json.dumps({"type": "auth", "token": token}))
        try:
            said = json.loads(opened.recv(timeout=20))
        except ConnectionClosed as closed:
            return f"closed {closed.rcvd.code if closed.rcvd else ''}"
        return str(said["type"])


WEBSOCKETS = (
    "/events/in",
    "/events/out",
    "/logs/out",
    "/task_runs/subscriptions/scheduled",
    "/work_pools/trialhouse/workers/connect",
)


@pytest.mark.parametrize("path", WEBSOCKETS)
def test_a_websocket_asks_for_the_secret_and_refuses_other_pages(target: Target, path: str) -> None:
    for wrong in (None, "", "wrong", target.secret[:-1]):
        assert listen(target, path, token=wrong) == "closed 1008"
    assert listen(target, path, token=target.secret) == "auth_success"
    for refused in (
        {"origin": Origin(FOREIGN)},
        {"origin": Origin("null")},
        {"additional_headers": {"Sec-Fetch-Site": "same-site"}},
    ):
        with pytest.raises(InvalidStatus, match="403"):
            listen(target, path, token=target.secret, **refused)
    with (
        pytest.raises((InvalidStatus, ConnectionClosed)),
        connect(f"ws://127.0.0.1:{target.port}/api{path}", proxy=None) as opened,
    ):
        opened.recv(timeout=20)


def test_a_websocket_with_a_foreign_host_is_refused(target: Target) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    key = {"Sec-WebSocket-Key": base64.b64encode(b"0" * 16).decode(), "Sec-WebSocket-Protocol": "prefect"}
    head = "".join(
        f"{name}: {value}\r\n" for name, value in ({"Host": "evil.example"} | upgrade | key).items()
    )
    answer = target.raw(f"GET /api/events/out HTTP/1.1\r\n{head}\r\n".encode())
    assert answer.status == 403


def test_no_websocket_of_prefect_is_unknown_to_these_tests() -> None:
    import prefect

    folder = Path(prefect.__file__).parent / "server" / "api"
    found = [
        route
        for file in folder.glob("*.py")
        for route in re.findall(r'\.websocket\("(.*?)"\)', file.read_text())
    ]
    assert sorted(f"/{route.lstrip('/')}" for route in found) == sorted(
        ["/in", "/out", "/out", "/subscriptions/scheduled", "/{work_pool_name}/workers/connect"]
    )


def test_a_large_body_is_refused_before_it_is_read(target: Target) -> None:
    head = f"POST /api/flows/ HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\nContent-Length: 1000000000000\r\n"
    for more in ("", "Origin: null\r\n", "Prefect-Csrf-Token: x\r\n"):
        with socket.create_connection(("127.0.0.1", target.port), 20) as connection:
            connection.sendall(f"{head}{more}\r\n{{".encode())
            assert re.match(rb"HTTP/1.1 (401|403)", connection.recv(1000))


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nContent-Length: 60\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "X: " + "a" * 200_000 + "\r\n",
        "Host : 127.0.0.1\r\n",
        "X: a\x00b\r\n",
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_refused(target: Target, head: str) -> None:
    inner = f"GET /api/admin/settings HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n\r\n"
    request = f"POST /api/flows/ HTTP/1.1\r\nHost: 127.0.0.1:{target.port}\r\n{head}Connection: close\r\n\r\n"
    answer = target.raw((request + inner).encode("latin-1"))
    assert answer.status in {0, 400, 401, 403, 431}
    assert '"home"' not in answer.body


def test_the_server_proves_itself_and_its_port(target: Target) -> None:
    host = {"Host": f"127.0.0.1:{target.port}"}
    nonce = secrets.token_hex(32)
    answer = target.send("GET", f"{PROOF}?nonce={nonce}", host)
    assert answer.body == prove(target.key, target.port, nonce)
    assert answer.body != prove(target.key, target.port + 1, nonce)
    assert target.secret not in answer.body
    for wrong in ("", "?nonce=", f"?nonce={nonce[:-1]}", f"?nonce={nonce}0", f"?nonce={'%00' * 64}", "?x=1"):
        assert target.send("GET", PROOF + wrong, host).status == 404


@pytest.mark.parametrize(
    ("host", "origin", "is_refused"),
    [
        ("127.0.0.1:4200", None, False),
        ("127.0.0.1:4200", "https://trials.example", False),
        ("trials.example", "https://trials.example", False),
        ("TRIALS.example", None, False),
        ("trials.example", "http://trials.example", True),
        ("trials.example:4200", None, True),
        ("evil.example", "https://trials.example", True),
        ("127.0.0.1:4200", "https://evil.example", True),
        ("", None, True),
        ("*", None, True),
        ("127.0.0.1:4200", "*", True),
    ],
)
def test_behind_a_proxy_its_own_address_is_let_in_and_no_other(
    host: str, origin: str | None, *, is_refused: bool
) -> None:
    guard = Guard.of(_unreachable, 4200, "key", "secret", ["https://trials.example", "*", ""])
    headers = [(b"host", host.encode()), *([(b"origin", origin.encode())] if origin is not None else [])]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "query_string": b""}
    assert (guard.refuse(scope) is not None) is is_refused


async def _unreachable(*_: object) -> None:
    raise AssertionError
