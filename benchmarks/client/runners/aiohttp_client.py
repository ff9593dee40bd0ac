"""aiohttp, line by line: what most asynchronous benchmarks are made of."""

# mypy: disable-error-code="import-not-found, misc"
from __future__ import annotations

import time

import aiohttp

from benchmarks.client.runners.common import Seen, body, finish, headers, options, run_asyncio, take

given = options()


def _make() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def _ask(
    client: aiohttp.ClientSession, model: str, request_id: str, tokens: int, seen: Seen
) -> None:
    url = f"{given.url}/v1/chat/completions"
    async with client.post(url, json=body(model, tokens), headers=headers(request_id)) as response:
        response.raise_for_status()
        counted = 0
        async for line in response.content:
            counted += take(line, time.monotonic_ns(), seen)
            if seen.end_ns is not None:
                break
        finish(seen, counted)


if __name__ == "__main__":
    run_asyncio(_make, _ask)
