"""What stands before Prefect's server: asks for the secret, refuses other pages, proves its identity."""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PROOF = "/trialhouse/proof"
NONCE_LENGTH = 64
API = "/api"
# Says whether the server lives, and nothing else.
OPEN = frozenset({"/api/health", "/api/ready"})
# Prefect shows its whole interface here, to anybody, with scripts of another host.
CLOSED = ("/docs", "/redoc", "/openapi.json")
# The UI's own files and nothing else: no host outside is asked, and no other page may frame it.
# Its graph of a run makes functions of strings of its own ('unsafe-eval').
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def prove(key: str, port: int, nonce: str) -> str:
    """Return what only a server with this key, and at this port, can answer to the nonce."""
    return hmac.digest(key.encode(), f"{port} {nonce}".encode(), "sha256").hex()


@dataclass(frozen=True, slots=True)
class Guard:
    """An ASGI application that lets through to another one what may come from our own pages and programs."""

    app: ASGIApp
    port: int
    key: str
    secret: str
    origins: frozenset[str]
    hosts: frozenset[str]

    @classmethod
    def of(cls, app: ASGIApp, port: int, key: str, secret: str, further: Iterable[str]) -> Guard:
        """Guard a server at a port of loopback; further origins are those of a proxy before it."""
        own = (f"http://127.0.0.1:{port}", f"http://localhost:{port}")
        origins = {*own, *(origin for origin in further if urlsplit(origin).netloc)}
        # A proxy hands on the name by which the browser knows it.
        hosts = {urlsplit(origin).netloc.lower() for origin in origins}
        return cls(app, port, key, secret, frozenset(origins), frozenset(hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        if refusal := self.refuse(scope):
            await _answer(scope, receive, send_guarded, *refusal)
        elif scope["path"] == PROOF:
            await _answer(scope, receive, send_guarded, *self.identify(scope))
        else:
            opens = receive if scope["type"] == "http" else self.listen(receive, send_guarded)
            await self.app(scope, opens, send_guarded)

    def listen(self, receive: Receive, send: Send) -> Receive:
        """Hand on what a websocket says once it has said the secret: a browser cannot send it as a header."""
        is_known = False

        async def listened() -> Message:
            nonlocal is_known
            message = await receive()
            if message["type"] == "websocket.receive" and not is_known:
                is_known = self.is_login(message)
                if not is_known:
                    await send({"type": "websocket.close", "code": 1008, "reason": "Unauthorized"})
                    return {"type": "websocket.disconnect", "code": 1008}
            return message

        return listened

    def is_login(self, message: Message) -> bool:
        try:
            said = json.loads(message.get("text") or "")
            token = said["token"].encode() if said["type"] == "auth" else b""
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return False
        return hmac.compare_digest(token, self.secret.encode())

    def has_secret(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name.lower() == b"authorization"]
        wanted = b"Basic " + base64.b64encode(self.secret.encode())
        return len(given) == 1 and hmac.compare_digest(given[0], wanted)

    def refuse(self, scope: Scope) -> tuple[int, str] | None:
        """Return the status and the reason, where the request is none of our own pages and programs."""
        host = [value.lower() for value in _values(scope, b"host")]
        if len(host) != 1 or host[0] not in self.hosts:
            return 421, "Host: not a name of this server"
        if any(origin not in self.origins for origin in _values(scope, b"origin")):
            return 403, "Origin: another page's"
        if not {*_values(scope, b"sec-fetch-site")} <= {"same-origin", "none"} and not _is_navigation(scope):
            return 403, "Sec-Fetch-Site: another page's"
        path: str = scope["path"]
        if path.startswith(CLOSED):
            return 404, "Not Found"
        is_open = (
            scope["type"] == "websocket"
            or not path.startswith(API)
            or (path in OPEN and scope["method"] == "GET")
        )
        return None if is_open or self.has_secret(scope) else (401, "Unauthorized")

    def identify(self, scope: Scope) -> tuple[int, str]:
        nonce = parse_qs(scope["query_string"].decode("latin-1")).get("nonce", [""])[0]
        if scope["type"] != "http" or len(nonce) != NONCE_LENGTH or not nonce.isalnum():
            return 404, "Not Found"
        return 200, prove(self.key, self.port, nonce)


def _is_navigation(scope: Scope) -> bool:
    """Tell whether a person follows a link to the UI: the page then opens, and the other one sees nothing."""
    return (
        scope["type"] == "http"
        and scope["method"] == "GET"
        and _values(scope, b"sec-fetch-mode") == ["navigate"]
        and _values(scope, b"sec-fetch-dest") == ["document"]
        and not scope["path"].startswith(API)
    )


def _values(scope: Scope, name: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


async def _answer(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        # Before it is accepted: the client sees HTTP 403.
        await send({"type": "websocket.close", "code": 1008, "reason": text})
        return
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
