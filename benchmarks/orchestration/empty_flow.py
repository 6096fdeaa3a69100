"""One flow of one empty step, as `trialhouse run` starts it: prints what Prefect's start alone costs."""

from __future__ import annotations

import asyncio
import json
import time


def main() -> None:
    from flows import environment

    began = time.monotonic()
    environment.configure()
    environment.connect()
    connected = time.monotonic()
    from prefect import flow, task
    from prefect.cache_policies import NO_CACHE

    @task(cache_policy=NO_CACHE)
    def step() -> float:
        return time.monotonic()

    @flow
    async def empty() -> float:
        return step()

    stepped = asyncio.run(empty())
    print(json.dumps({"server": connected - began, "flow": stepped - connected}))


if __name__ == "__main__":
    main()
