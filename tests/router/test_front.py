"""The OpenAI front: what is accepted, what is refused, what stands in the headers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pyarrow.parquet as pq
import pytest

from firsttoken.core.records import consolidate
from firsttoken.core.words import ErrorType, Outcome
from firsttoken.trials.ledgers import LedgerCollector
from router.account import AttemptRecord, DecisionRecord
from router.config import Limits
from router.fronts.operations import PAGE
from tests.router.conftest import DEADLINE_S, Start, backend, chat
from tests.router.upstream import answer, refuse, silent, then_cut


@pytest.fixture
def paths() -> tuple[str, ...]:
    return ("/v1/chat/completions", "//v1/chat/completions")


async def test_headers_of_an_answer(start: Start, paths: tuple[str, ...]) -> None:
    router = await start()
    for path in paths:
        reply = await router.http.post(f"{router.url}{path}", json=chat("hello there"))
        headers = reply.headers
        assert reply.status_code == 200
        assert headers["content-type"].startswith("text/event-stream")
        assert headers["cache-control"] == "no-cache"
        assert headers["x-firsttoken-tier"] == "local"
        assert headers["x-firsttoken-backend"] == "local"
        assert headers["x-firsttoken-reason"] == "rule_simple"
        assert headers["x-firsttoken-attempts"] == "1"
        assert headers["x-firsttoken-cache"] == "bypass"
        assert headers["server-timing"].startswith("router;dur=")
        assert len(headers["x-request-id"]) == 32
        assert "server" not in headers


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("abc-1", True), ("x" * 128, True), ("x" * 129, False), ("a b", False), ("ä", False)],
)
async def test_request_id(start: Start, sent: str, kept: bool) -> None:
    router = await start()
    reply = await router.ask(headers={"X-Request-Id": sent.encode("latin-1")})
    echoed = reply.headers["x-request-id"]
    assert (echoed == sent) is kept
    assert router.local.calls[0].headers["x-request-id"] == echoed
    assert (await router.attempts())[0]["request_id"] == echoed


async def test_what_the_backend_is_sent(start: Start) -> None:
    router = await start()
    await router.ask(max_tokens=1000, top_p=0.5, stop=["x"])
    call = router.local.calls[0]
    assert call.body["model"] == "local-model"
    assert call.body["max_tokens"] == 64
    assert call.body["temperature"] == 0.7
    assert call.body["top_p"] == 0.5
    assert call.body["stop"] == ["x"]
    assert call.headers["accept-encoding"] == "identity"
    assert "authorization" not in call.headers

    await router.ask("帮我写代码", max_tokens=1000)
    call = router.cloud.calls[0]
    assert call.body["model"] == "cloud-model"
    assert call.body["max_tokens"] == 1000
    assert "temperature" not in call.body
    assert call.headers["authorization"] == "Bearer secret-of-cloud"


async def test_a_model_pins_its_backend(start: Start) -> None:
    router = await start()
    for name in ("cloud", "cloud-model"):
        reply = await router.ask("hello", model=name)
        assert reply.headers["x-firsttoken-backend"] == "cloud"
        assert reply.headers["x-firsttoken-reason"] == "named_model"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"model":"m"}',
        b'{"model":"m","messages":[]}',
        b'{"model":"m","messages":[{"role":"wizard","content":"x"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":"yes"}',
        b"\xff\xfe",
    ],
)
async def test_a_malformed_body_is_refused_before_any_backend(start: Start, body: bytes) -> None:
    router = await start()
    reply = await router.http.post("/v1/chat/completions", content=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert "x-request-id" in reply.headers
    assert router.local.calls == router.cloud.calls == []
    assert await router.metric("llm_requests_total") == 0


async def test_a_body_that_is_too_large_or_too_slow(start: Start) -> None:
    router = await start()
    assert (await router.ask("x" * 30_000)).status_code == 413

    async def chunked() -> Any:
        for _ in range(8):
            yield b"x" * 5_000

    reply = await router.http.post("/v1/chat/completions", content=chunked())
    assert reply.status_code == 413

    async def slow() -> Any:
        yield b"{"
        await asyncio.sleep(1)

    reply = await router.http.post("/v1/chat/completions", content=slow())
    assert reply.status_code == 408
    assert router.local.calls == []


async def test_a_head_that_is_too_large(start: Start) -> None:
    router = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(router.url[17:]))
    writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\nbig: " + b"x" * 200_000)
    # What was not read of it may reset the connection before the answer is seen.
    with suppress(ConnectionResetError):
        assert (await reader.read()).startswith(b"HTTP/1.1 431")
    writer.close()


async def test_more_than_the_limit_in_flight_is_rejected_and_counted(start: Start) -> None:
    hasty = {"first_token_timeout_s": DEADLINE_S}
    router = await start(local=silent, cloud=silent, backend=hasty, limits=Limits(in_flight=1))
    first = asyncio.create_task(router.ask())
    await router.local.until(lambda: len(router.local.calls) == 1)
    reply = await router.ask()
    assert reply.status_code == 503
    assert reply.headers["retry-after"] == "1"
    assert (await first).status_code == 504
    outcomes = [each["outcome"] for each in await router.settled(2)]
    assert outcomes == ["rejected", "timeout"]


async def test_models_are_listed_without_asking_a_backend(start: Start) -> None:
    aliased = backend("local", model_aliases=("fast",))
    router = await start(backends=(aliased, backend("cloud")))
    await router.local.stop()
    for path in ("/v1/models", "//v1/models"):
        listed = (await router.http.get(router.url + path)).json()
        assert [model["id"] for model in listed["data"]] == ["local-model", "fast", "cloud-model"]


async def test_keys(start: Start) -> None:
    router = await start(api_keys=("right-key", "other-key"))
    for path, method in (
        ("/v1/chat/completions", "POST"),
        ("/v1/models", "GET"),
        ("/debug/attempts", "GET"),
        ("/debug/decisions", "GET"),
    ):
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "right-key"}):
            reply = await router.http.request(method, path, json=chat(), headers=headers)
            assert reply.status_code == 401
        reply = await router.http.request(
            method, path, json=chat(), headers={"Authorization": "Bearer other-key"}
        )
        assert reply.status_code == 200
    assert (await router.http.get("/healthz")).status_code == 200
    assert await router.metric("llm_requests_total") == 1


async def test_the_official_client(start: Start) -> None:
    router = await start(local=answer("Hel", "lo"))
    async with openai.AsyncOpenAI(base_url=f"{router.url}/v1/", api_key="x") as client:
        messages: list[Any] = [{"role": "user", "content": "hi"}]
        stream = await client.chat.completions.create(model="auto", messages=messages, stream=True)
        texts = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        assert "".join(texts) == "Hello"
        whole = await client.chat.completions.create(model="auto", messages=messages)
        assert whole.choices[0].message.content == "Hello"
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 3
        assert [model.id async for model in client.models.list()] == ["local-model", "cloud-model"]


async def test_the_official_client_raises_on_errors_and_does_not_repeat(start: Start) -> None:
    router = await start(local=refuse(500), cloud=refuse(500))
    async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key="x") as client:
        messages: list[Any] = [{"role": "user", "content": "hi"}]
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(model="auto", messages=messages)
        assert len(router.local.calls) == 1
        router.local.script = then_cut(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n')
        stream = await client.chat.completions.create(model="auto", messages=messages, stream=True)
        with pytest.raises(openai.APIError):
            _ = [chunk async for chunk in stream]


async def test_tokens_and_times_are_entered(start: Start) -> None:
    router = await start(local=answer("a", "b", "c"))
    await router.ask()
    (attempt,) = await router.attempts()
    assert attempt["prompt_ms"] == 12.5
    assert attempt["predict_ms"] == 20.0
    assert attempt["prompt_tokens"] == 7
    assert attempt["cached_tokens"] == 3
    assert attempt["started_ns"] <= attempt["headers_ns"] <= attempt["first_token_ns"]
    assert attempt["first_token_ns"] <= attempt["ended_ns"]
    assert attempt["hedged"] is False
    labels = {"backend": "local", "model": "local-model"}
    assert await router.metric("llm_tokens_total", type="output", **labels) == 3
    assert await router.metric("llm_time_to_first_token_seconds_count", **labels) == 1
    assert await router.metric("llm_backend_time_to_first_token_seconds_count", **labels) == 1
    assert await router.metric("llm_time_per_output_token_seconds_count", backend="local") == 1
    assert await router.metric("llm_request_duration_seconds_count", outcome="success") == 1


async def test_decisions_hold_no_text_and_ledgers_can_be_followed(start: Start) -> None:
    router = await start()
    await router.ask("my very private words")
    page = (await router.http.get("/debug/attempts")).json()
    assert page["next"] == 1
    assert (await router.http.get("/debug/attempts?after=1")).json()["attempts"] == []
    assert (await router.http.get("/debug/attempts?after=-1")).status_code == 400
    decisions = await router.http.get("/debug/decisions?after=0")
    assert "private" not in decisions.text
    (decision,) = decisions.json()["decisions"]
    assert decision["plan"] == [
        {"backend": "local", "reason": "default_local"},
        {"backend": "cloud", "reason": "failover"},
    ]
    assert decision["model"] == "other"


async def test_attempts_and_decisions_are_given_page_by_page(start: Start, tmp_path: Path) -> None:
    router = await start()
    assert router.router is not None
    books = router.router.books
    attempt = AttemptRecord("before", "local", "m", 1, outcome=Outcome.SUCCESS)
    decision = DecisionRecord("r", 0.0, 0, "m", stream=True)
    for _ in range(PAGE + 1):
        books.attempts.add(attempt)
        books.decisions.add(decision)
    first = (await router.http.get("/debug/attempts")).json()
    second = (await router.http.get(f"/debug/attempts?after={first['next']}")).json()
    assert (len(first["attempts"]), first["next"], first["more"]) == (PAGE, PAGE, True)
    assert (len(second["attempts"]), second["next"], second["more"]) == (1, PAGE + 1, False)
    page = (await router.http.get("/debug/decisions")).json()
    assert (len(page["decisions"]), page["next"]) == (PAGE, PAGE)

    collector = await asyncio.to_thread(LedgerCollector, tmp_path, router.url, "attempts")
    for number in range(2 * PAGE + 1):
        books.attempts.add(replace(attempt, request_id=str(number)))
    with collector:
        assert await asyncio.to_thread(collector.collect) == 2 * PAGE + 1
        assert await asyncio.to_thread(collector.collect) == 0
    consolidate(tmp_path)
    rows = pq.read_table(tmp_path / "attempts.parquet").column("request_id").to_pylist()
    assert rows == [str(number) for number in range(2 * PAGE + 1)]


async def test_unknown_models_do_not_add_series(start: Start) -> None:
    router = await start()
    before = (await router.http.get("/metrics")).text.count("model=")
    for number in range(20):
        await router.ask(model=f"made-up-{number}")
    text = (await router.http.get("/metrics")).text
    assert "made-up" not in text
    assert text.count("model=") == before
    assert before < 1500


async def test_errors_are_known_words(start: Start) -> None:
    router = await start(local=refuse(500), cloud=refuse(500))
    reply = await router.ask()
    assert reply.json()["error"]["type"] in {each.value for each in ErrorType}
    assert (await router.http.post("/v1/nothing")).status_code == 404
    assert (await router.http.get("/v1/chat/completions")).status_code == 405
