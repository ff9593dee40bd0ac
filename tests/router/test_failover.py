"""Each fault before the first token: the other backend answers whole, the request counts once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from firsttoken.core.words import ErrorType
from tests.router.conftest import DEADLINE_S, PATIENCE_S, Start, backend, chat
from tests.router.upstream import (
    DONE,
    FINISH,
    ROLE,
    Call,
    Script,
    answer,
    answer_frames,
    delta,
    drip,
    pings,
    refuse,
    roles,
    silent,
    then_cut,
    then_end,
    then_silent,
)

OVERFLOW = "exceed_context_size_error"
ERROR_IN_200 = b'data: {"error":{"message":"out of memory","code":500}}\n\n'

FAULTS: dict[str, tuple[Script, ErrorType]] = {
    "silent": (silent, ErrorType.FIRST_TOKEN_TIMEOUT),
    "headers then silent": (then_silent(), ErrorType.FIRST_TOKEN_TIMEOUT),
    "role then silent": (then_silent(ROLE), ErrorType.FIRST_TOKEN_TIMEOUT),
    "roles only": (roles, ErrorType.FIRST_TOKEN_TIMEOUT),
    "pings only": (pings, ErrorType.FIRST_TOKEN_TIMEOUT),
    "slow drip": (drip, ErrorType.FIRST_TOKEN_TIMEOUT),
    "cut before the first token": (then_cut(ROLE), ErrorType.PROTOCOL),
    "cut in a frame": (then_cut(ROLE, b'data: {"choi'), ErrorType.PROTOCOL),
    "end before the first token": (then_end(ROLE), ErrorType.PROTOCOL),
    "error inside 200": (then_end(ROLE, ERROR_IN_200), ErrorType.HTTP_5XX),
    "malformed chunk": (then_end(ROLE, b"data: {oops\n\n", DONE), ErrorType.PROTOCOL),
    "JSON instead of a stream": (then_end(b'{"error":"no"}'), ErrorType.PROTOCOL),
    "401": (refuse(401), ErrorType.AUTH),
    "404": (refuse(404), ErrorType.HTTP_4XX),
    "429": (refuse(429), ErrorType.RATE_LIMITED),
    "500": (refuse(500), ErrorType.HTTP_5XX),
    "503": (refuse(503), ErrorType.HTTP_5XX),
    "redirect": (refuse(302, extra="location: http://127.0.0.1:1/\r\n"), ErrorType.PROTOCOL),
    "context overflow": (refuse(400, OVERFLOW), ErrorType.CONTEXT_OVERFLOW),
}

LATE = {ErrorType.FIRST_TOKEN_TIMEOUT}


@pytest.mark.parametrize("name", FAULTS)
async def test_another_backend_answers_whole_and_in_time(start: Start, name: str) -> None:
    script, error_type = FAULTS[name]
    late = error_type in LATE
    deadline_s = DEADLINE_S if late else PATIENCE_S
    router = await start(local=script, cloud=answer("all", " is", " well"), deadline_s=deadline_s)
    began = time.monotonic()
    reply = await router.ask(headers={"X-Request-Id": "r-1"})
    took_s = time.monotonic() - began

    assert reply.status_code == 200
    assert reply.content == b"".join(answer_frames("all", " is", " well"))
    assert reply.headers["x-request-id"] == "r-1"
    assert reply.headers["x-firsttoken-backend"] == "cloud"
    assert reply.headers["x-firsttoken-tier"] == "remote"
    assert reply.headers["x-firsttoken-attempts"] == "2"
    overflow = error_type is ErrorType.CONTEXT_OVERFLOW
    assert reply.headers["x-firsttoken-reason"] == ("context_overflow" if overflow else "failover")
    # Not until the deadline where there is nothing to wait for; how soon, benchmarks say.
    assert took_s < PATIENCE_S / 4

    (decision,) = await router.settled(1)
    assert decision["outcome"] == "success"
    first, second = await router.attempts()
    assert (first["backend"], first["error_type"], first["committed"]) == (
        "local",
        error_type,
        False,
    )
    assert (second["backend"], second["outcome"], second["committed"]) == ("cloud", "success", True)
    assert first["request_id"] == second["request_id"] == "r-1"
    assert second["started_ns"] - first["ended_ns"] < 100e6
    assert await router.metric("llm_requests_total") == 1
    assert await router.metric("llm_requests_total", backend="cloud", outcome="success") == 1
    assert await router.metric("llm_attempts_total", backend="local") == 1
    assert await router.metric("llm_errors_total", backend="local", error_type=error_type) == 1
    assert await router.metric("llm_fallbacks_total", **{"from": "local", "to": "cloud"}) == 1
    assert await router.metric("llm_requests_in_flight") == 0
    if late:
        await router.local.until(lambda: router.local.connections == 0)


async def test_a_refused_connection_costs_nothing(start: Start) -> None:
    router = await start()
    await router.local.stop()
    began = time.monotonic()
    reply = await router.ask()
    assert reply.headers["x-firsttoken-backend"] == "cloud"
    assert time.monotonic() - began < PATIENCE_S / 4
    assert (await router.attempts())[0]["error_type"] == "connect"


async def test_a_connection_closed_before_the_headers_is_the_backends_fault(start: Start) -> None:
    async def hang_up(call: Call) -> None:
        call.cut()

    router = await start(local=hang_up)
    assert (await router.ask()).headers["x-firsttoken-backend"] == "cloud"
    assert len(router.local.calls) == 1


async def test_a_stale_pooled_connection_is_retried_silently(start: Start) -> None:
    async def answer_then_drop(call: Call) -> None:
        await answer("a", "b")(call)
        # The connection dies at the moment of its reuse, before a byte of the second reply.
        if len(router.local.calls) == 2:
            call.cut()

    async def drop_if_reused(call: Call) -> None:
        if len(router.local.calls) == 2:
            call.cut()
        else:
            await answer_then_drop(call)

    router = await start(local=drop_if_reused)
    for _ in range(2):
        reply = await router.ask()
        assert reply.headers["x-firsttoken-backend"] == "local"
        assert reply.headers["x-firsttoken-attempts"] == "1"
    assert len(router.local.calls) == 3
    assert await router.metric("llm_errors_total") == 0


async def test_a_local_timeout_is_named_where_the_cloud_has_that_trigger(start: Start) -> None:
    backends: list[Any] = []
    router = await start(local=silent)
    backends += [
        backend("local", router.local.url, first_token_timeout_s=DEADLINE_S),
        backend("cloud", router.cloud.url, triggers=("local_model_timeout",)),
    ]
    second = await start(backends=tuple(backends))
    reply = await second.ask()
    assert reply.headers["x-firsttoken-reason"] == "local_timeout"


async def test_a_malformed_request_goes_to_no_second_backend(start: Start) -> None:
    router = await start(local=refuse(400, "invalid_request_error", "bad tool"))
    reply = await router.ask()
    assert reply.status_code == 400
    assert "bad tool" in reply.json()["error"]["message"]
    assert router.cloud.calls == []
    assert await router.metric("llm_requests_total", outcome="error", tier="none") == 1


@pytest.mark.parametrize(
    ("script", "status", "outcome"),
    [
        (silent, 504, "timeout"),
        (refuse(429, extra="retry-after: 7\r\n"), 429, "error"),
        (refuse(500), 502, "error"),
        (refuse(400, OVERFLOW), 400, "error"),
        (then_cut(ROLE), 502, "error"),
    ],
)
async def test_when_all_fail_the_client_gets_a_real_status(
    start: Start, script: Script, status: int, outcome: str
) -> None:
    deadline_s = DEADLINE_S if script is silent else PATIENCE_S
    router = await start(local=script, cloud=script, backend={"first_token_timeout_s": deadline_s})
    reply = await router.ask()
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-should-retry"] == "false"
    assert reply.headers["x-firsttoken-attempts"] == "2"
    assert reply.headers["x-firsttoken-tier"] == "none"
    assert set(reply.json()["error"]) >= {"message", "type"}
    assert "secret-of-cloud" not in reply.text
    if status == 429:
        assert reply.headers["retry-after"] == "7"
    (decision,) = await router.settled(1)
    assert decision["outcome"] == outcome
    assert await router.metric("llm_requests_total") == 1


@pytest.mark.parametrize("script", [silent, refuse(503), then_cut(b'{"choi')])
async def test_failover_of_a_reply_that_is_not_streamed(start: Start, script: Script) -> None:
    router = await start(local=script, cloud=answer("all", " well"), deadline_s=DEADLINE_S)
    reply = await router.ask(stream=False)
    assert reply.json()["choices"][0]["message"]["content"] == "all well"
    assert reply.headers["x-firsttoken-backend"] == "cloud"
    assert reply.headers["content-type"] == "application/json"


async def test_an_error_inside_200_of_a_reply_that_is_not_streamed(start: Start) -> None:
    async def broken(call: Call) -> None:
        await call.whole(b'{"error":{"message":"no","code":500}}')

    router = await start(local=broken)
    assert (await router.ask(stream=False)).headers["x-firsttoken-backend"] == "cloud"


async def test_cut_after_the_first_token_ends_with_an_error_and_no_end_mark(start: Start) -> None:
    router = await start(local=then_cut(ROLE, delta("half"), b'data: {"choi'))
    reply = await router.ask()
    assert reply.status_code == 200
    assert reply.content.startswith(ROLE + delta("half") + b'data: {"error":')
    assert reply.content.endswith(b"}\n\n")
    assert b"DONE" not in reply.content
    assert b"choi" not in reply.content.replace(b'"choices"', b"")
    assert router.cloud.calls == []
    (decision,) = await router.settled(1)
    assert (decision["outcome"], decision["error_type"]) == ("error", "protocol")
    assert await router.metric("llm_requests_total", tier="local", outcome="error") == 1


async def test_a_stall_after_the_first_token_is_given_up(start: Start) -> None:
    async def stall(call: Call) -> None:
        await call.head()
        await call.chunk(delta("a"))
        try:
            while True:
                await asyncio.sleep(0.02)
                await call.chunk(b": ping\n\n")
        except ConnectionError:
            call.keep = False

    router = await start(local=stall, deadline_s=DEADLINE_S)
    began = time.monotonic()
    reply = await router.ask()
    assert DEADLINE_S < time.monotonic() - began < PATIENCE_S / 4
    assert b'"error"' in reply.content
    (decision,) = await router.settled(1)
    assert (decision["outcome"], decision["error_type"]) == ("timeout", "stalled")
    await router.local.until(lambda: router.local.connections == 0)


async def test_tokens_that_come_in_time_are_never_a_stall(start: Start) -> None:
    async def steady(call: Call) -> None:
        await call.head()
        for _ in range(6):
            await call.chunk(delta("a"))
            await asyncio.sleep(0.25)
        await call.chunk(FINISH + DONE)
        await call.last_chunk()

    router = await start(local=steady, deadline_s=1.0)
    assert (await router.ask()).content.endswith(DONE)
    assert (await router.settled(1))[0]["outcome"] == "success"


async def test_an_error_that_the_backend_reports_in_its_stream_is_not_repeated(
    start: Start,
) -> None:
    arrived = asyncio.Event()

    async def fails_later(call: Call) -> None:
        await call.head()
        await call.chunk(delta("a"))
        await arrived.wait()
        await call.chunk(ERROR_IN_200)
        await call.last_chunk()

    router = await start(local=fails_later)
    got = b""
    async with router.http.stream("POST", "/v1/chat/completions", json=chat()) as reply:
        async for piece in reply.aiter_raw():
            got += piece
            arrived.set()
    assert got == delta("a") + ERROR_IN_200
    assert (await router.settled(1))[0]["outcome"] == "error"


async def test_an_error_that_comes_along_with_the_first_token_moves_the_request(
    start: Start,
) -> None:
    router = await start(local=then_end(delta("a") + ERROR_IN_200))
    reply = await router.ask()
    assert b"far" in reply.content
    assert delta("a") not in reply.content
    assert (await router.settled(1))[0]["outcome"] == "success"


async def test_a_proper_end_without_a_token_is_an_answer(start: Start) -> None:
    router = await start(local=then_end(ROLE, FINISH, DONE))
    assert (await router.ask()).content == ROLE + FINISH + DONE
    assert (await router.settled(1))[0]["outcome"] == "success"
    assert await router.metric("llm_time_to_first_token_seconds_count") == 0


async def test_every_piece_of_a_stream_arrives_untouched(start: Start) -> None:
    stream = b": ping\r\n\r\n" + b"".join(answer_frames("你好", "，世界")).replace(b"\n", b"\r\n")
    for size in (1, 7, 50, len(stream)):
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        router = await start(local=then_end(*pieces), backend={"first_token_timeout_s": 5.0})
        assert (await router.ask()).content == stream
        assert (await router.settled(1))[0]["outcome"] == "success"
