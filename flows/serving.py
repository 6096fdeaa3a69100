"""The process of Prefect's server, started by flows/prefect_server.py with the socket that it listens on."""

from __future__ import annotations

import os
import socket
import sys

import uvicorn

from flows.guard import Guard

GRACE_SECONDS = 3
READY = b"ready\n"


class Server(uvicorn.Server):
    """Prefect's server, which says when it is ready."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        os.write(1, READY)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)


def main() -> None:
    os.umask(0o077)  # its database holds what runs say of their data
    listening = socket.socket(fileno=int(sys.argv[1]))
    key = os.environ.pop("TRIALHOUSE_SERVER_KEY")
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    api = get_current_settings().server.api
    if not api.auth_string:
        sys.exit("PREFECT_SERVER_API_AUTH_STRING: not set: no server without a secret")
    guard = Guard.of(
        create_app(final=True),
        listening.getsockname()[1],
        key,
        api.auth_string.get_secret_value(),
        [origin.strip() for origin in api.cors_allowed_origins.split(",")],
    )
    config = uvicorn.Config(
        guard,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=api.keepalive_timeout,
    )
    Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
