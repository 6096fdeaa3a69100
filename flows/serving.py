"""The process of Prefect's server, started by flows/prefect_server.py: `python -m flows.serving SOCKET`."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

import uvicorn

from flows.guard import Guard

GRACE_SECONDS = 3
READY = b"ready\n"


class Server(uvicorn.Server):
    """Prefect's server, which ends when the process that started it does, however that ends."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        os.write(1, READY)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)

    def end_with_parent(self) -> None:
        while os.read(0, 1):  # the pipe closes with its other end
            pass
        self.should_exit = True
        time.sleep(2 * GRACE_SECONDS)
        os._exit(1)


def main() -> None:
    os.umask(0o077)  # its database holds what runs say of their data
    listening = socket.socket(fileno=int(sys.argv[1]))
    key = _read_line()
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    api = get_current_settings().server.api
    origins = [origin.strip() for origin in api.cors_allowed_origins.split(",")]
    guard = Guard.of(create_app(final=True), listening.getsockname()[1], key, origins)
    server = Server(
        uvicorn.Config(
            guard,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=api.keepalive_timeout,
        )
    )
    threading.Thread(target=server.end_with_parent, daemon=True).start()
    server.run(sockets=[listening])


def _read_line() -> str:
    return b"".join(iter(lambda: os.read(0, 1), b"\n")).decode("ascii")


if __name__ == "__main__":
    main()
