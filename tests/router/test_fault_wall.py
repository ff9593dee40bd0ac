"""The project's own fault wall as the local backend, every fault of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import httpx
import pytest

from firsttoken.core.child import Child
from firsttoken.upstreams.misbehaviour import FAULTS
from firsttoken.wire import dialects
from firsttoken.wire.replies import collect
from tests.router.conftest import DEADLINE_S, PATIENCE_S, Start, backend

BEFORE_THE_FIRST_TOKEN = {
    "silent",
    "headers_then_silent",
    "role_then_silent",
    "pings_only",
    "cut_before_first_token",
    "error_in_200",
    "status_429",
    "status_503",
    "status_401",
    "status_400_context",
    "malformed_chunk",
    "slow_drip",
    "oversized_frame",
}
LATE = {"silent", "headers_then_silent", "role_then_silent", "pings_only", "slow_drip"}
AFTER_THE_FIRST_TOKEN = {"cut_after_first_token", "error_after_first_token"}


@pytest.fixture(scope="module")
def wall() -> Iterator[str]:
    argv = [sys.executable, "-m", "firsttoken.upstreams.faults", "--token-interval-ms", "5"]
    with Child.start([*argv, "--port", "0"]) as child:
        yield child.url


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault(start: Start, wall: str, fault: str) -> None:
    bad, good = f"{wall}/fault/{fault}", f"{wall}/fault/ok"
    # A drip must not come to its first token in time; a healthy backend always must.
    deadline_s = DEADLINE_S / 2 if fault in LATE else PATIENCE_S
    local = backend("local", bad, first_token_timeout_s=deadline_s)
    cloud = backend("cloud", good)
    router = await start(backends=(local, cloud))
    reply = await router.ask(max_tokens=4)
    events = dialects.get("openai").reader().feed(reply.content, 0)
    read = collect(events)
    switched = fault in BEFORE_THE_FIRST_TOKEN
    broken = fault in AFTER_THE_FIRST_TOKEN
    assert reply.headers["x-firsttoken-backend"] == ("cloud" if switched else "local")
    assert (read.failure is not None) is broken
    (decision,) = await router.settled(1)
    assert decision["outcome"] == ("error" if broken else "success")
    assert await router.metric("llm_requests_total") == 1
    # No connection outlives its request, but for those that are kept for the next one.
    async with httpx.AsyncClient(base_url=wall) as client, asyncio.timeout(20):
        while True:
            if (await client.get("/state")).json()["open_requests"] == 0:
                break
