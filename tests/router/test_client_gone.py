"""A client that leaves frees its backend at once, before and after the first byte."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.router.conftest import Running, Start, chat
from tests.router.upstream import (
    DONE,
    FINISH,
    ROLE,
    Call,
    Script,
    answer,
    delta,
    silent,
    then_silent,
)

PATIENT = {"first_token_timeout_s": 30.0}


async def _leave_after(router: Running, size: int, *, stream: bool = True) -> None:
    """Ask, read at least ``size`` bytes of the answer, and close the connection."""
    async with httpx.AsyncClient(base_url=router.url, timeout=10) as client:
        if size == 0:
            asking = asyncio.create_task(
                client.post("/v1/chat/completions", json=chat(stream=stream))
            )
            await router.local.until(lambda: len(router.local.calls) == 1)
            asking.cancel()
            await asyncio.wait((asking,))
            return
        request = client.stream("POST", "/v1/chat/completions", json=chat(stream=stream))
        async with request as reply:
            got = b""
            async for chunk in reply.aiter_raw():
                got += chunk
                if len(got) >= size:
                    return


@pytest.mark.parametrize(
    ("script", "size", "stream"),
    [
        (silent, 0, True),
        (silent, 0, False),
        (then_silent(), 0, True),
        (then_silent(ROLE), 0, True),
        (then_silent(ROLE, delta("a")), 1, True),
    ],
)
async def test_the_backend_is_freed_and_the_request_is_cancelled(
    start: Start, script: Script, size: int, stream: bool
) -> None:
    router = await start(local=script, backend=PATIENT)
    await _leave_after(router, size, stream=stream)
    await router.local.until(lambda: router.local.connections == 0)
    (decision,) = await router.settled(1)
    assert (decision["outcome"], decision["error_type"]) == ("cancelled", "client_gone")
    assert router.cloud.calls == []
    (attempt,) = await router.attempts()
    assert (attempt["outcome"], attempt["error_type"]) == ("cancelled", "client_gone")
    assert attempt["committed"] is (size > 0)
    assert await router.metric("llm_requests_in_flight") == 0
    assert await router.metric("llm_requests_total", outcome="cancelled") == 1


async def test_leaving_after_the_end_mark_is_a_success(start: Start) -> None:
    async def linger(call: Call) -> None:
        await call.head()
        await call.chunk(delta("a") + FINISH + DONE)
        await call.until_gone()

    router = await start(local=linger, backend=PATIENT)
    await _leave_after(router, len(delta("a") + FINISH + DONE))
    assert (await router.settled(1))[0]["outcome"] == "success"


async def test_a_client_that_leaves_during_its_body_is_no_request(start: Start) -> None:
    router = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(router.url[17:]))
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{")
    await writer.drain()
    writer.close()
    assert await reader.read() == b""
    assert await router.metric("llm_requests_total") == 0


async def test_a_slow_client_is_not_a_stalled_backend(start: Start) -> None:
    """The client reads nothing for longer than the stall limit while the backend keeps sending."""
    router = await start(local=answer(*["x" * 1000] * 3000), deadline_s=1.0)
    async with (
        httpx.AsyncClient(base_url=router.url, timeout=10) as client,
        client.stream("POST", "/v1/chat/completions", json=chat()) as reply,
    ):
        await asyncio.sleep(1.2)
        content = await reply.aread()
    assert content.endswith(DONE)
    assert (await router.settled(1))[0]["outcome"] == "success"
