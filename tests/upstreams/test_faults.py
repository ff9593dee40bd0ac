"""Fault wall: each fault gives exactly the bytes it is described to give."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from firsttoken.upstreams.faults import INTERFACES, FaultWall
from firsttoken.upstreams.misbehaviour import (
    DRIP_BYTES,
    FAULTS,
    OVERSIZED_BYTES,
    THOUGHTS,
    TOKENS,
    WHOLE_FAULTS,
    Tempo,
)
from firsttoken.upstreams.server import running
from tests.upstreams.raw import CHAT, Client, Reply, ask, chat, connect, state_when

TEMPO = Tempo(token_s=0.002, ping_s=0.002, drip_s=0.0005)
ID = {"X-Request-Id": "r"}
SILENT = {"silent", "headers_then_silent", "role_then_silent", "pings_only"}
STATUSES = {"status_429": 429, "status_503": 503, "status_401": 401, "status_400_context": 400}
NATIVE = "/api/v1/services/aigc/text-generation/generation"
SSE = {"X-DashScope-SSE": "enable"}
TEXT = "".join(TOKENS)


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    async with running(FaultWall(TEMPO)) as address:
        yield address


def body_for(
    path: str, model: str, *, stream: bool = True
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the body and headers of a request in the dialect of ``path``."""
    messages = [{"role": "user", "content": "hi"}]
    if path == NATIVE:
        parameters = {"result_format": "message", "incremental_output": True}
        body = {"model": model, "input": {"messages": messages}, "parameters": parameters}
        return body, {**ID, **SSE} if stream else ID
    if path == "/api/generate":
        return {"model": model, "prompt": "hi", "stream": stream}, ID
    return {"model": model, "messages": messages, "stream": stream}, ID


async def fault(url: str, name: str, path: str = CHAT, *, stream: bool = True) -> Reply:
    body, headers = body_for(path, f"fault:{name}", stream=stream)
    return await ask(url, path, body, headers)


def openai(delta: dict[str, Any], finish: str | None = None, *, name: str = "ok") -> bytes:
    """Return the frame of ``delta`` as the documentation of the interface has it."""
    value = {
        "id": "chatcmpl-r",
        "object": "chat.completion.chunk",
        "created": 1767225600,
        "model": f"fault:{name}",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def parts(name: str) -> tuple[bytes, list[bytes], bytes]:
    """Return the role frame, the token frames and the end of a reply in order."""
    role = openai({"role": "assistant", "content": ""}, name=name)
    tokens = [openai({"content": token}, name=name) for token in TOKENS]
    return role, tokens, openai({}, "stop", name=name) + b"data: [DONE]\n\n"


def test_every_fault_is_proved_here() -> None:
    assert set(FAULTS) == set(WHOLE_FAULTS)
    named = {name for name in FAULTS if f"test_{name}" in globals()}
    assert named | SILENT | set(STATUSES) == set(FAULTS)


async def test_ok(url: str) -> None:
    role, tokens, end = parts("ok")
    reply = await fault(url, "ok")
    assert reply.chunks == [role, *tokens, end]
    assert reply.complete
    assert reply.headers["x-request-id"] == "r"
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"


async def leave(url: str, name: str, client: Client, **expected: int) -> None:
    """Close ``client`` and see that the server noticed at once."""
    client.writer.close()
    state = await state_when(url, open_requests=0, open_connections=0)
    assert state["by_kind"][name] == {"requests": 1, "open": 0, "client_gone": 1, **expected}
    assert state["open_connections"] == 0


async def silence(client: Client) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await client.reader.read(1)


@pytest.mark.parametrize("name", sorted(SILENT))
@pytest.mark.parametrize("path", INTERFACES)
async def test_silent_ones_until_the_client_leaves(url: str, name: str, path: str) -> None:
    async with connect(url) as client:
        body, headers = body_for(path, f"fault:{name}")
        await client.send(path, body, headers)
        if name != "silent":
            reply = await client.head()
            assert reply.status == 200
        if name == "role_then_silent":
            await client.chunk(reply)
            assert TEXT[:1].encode() not in reply.body
            assert b"assistant" in reply.body or path == "/api/generate"
        if name == "pings_only":
            for _ in range(5):
                await client.chunk(reply)
            assert set(reply.chunks) <= {b": ping\n\n", b"\n", b":ping\n\n"}
        else:
            await silence(client)
        assert (await state_when(url))["by_kind"][name]["open"] == 1
        await leave(url, name, client)


async def test_cut_before_first_token(url: str) -> None:
    reply = await fault(url, "cut_before_first_token")
    assert reply.chunks == [parts("cut_before_first_token")[0]]
    assert not reply.complete


async def test_cut_after_first_token(url: str) -> None:
    role, tokens, _ = parts("cut_after_first_token")
    reply = await fault(url, "cut_after_first_token")
    assert reply.chunks == [role, tokens[0]]
    assert not reply.complete


ERROR = (
    b'data: {"error":{"message":"the fault wall fails inside the stream","type":"server_error",'
    b'"param":null,"code":"internal_error"}}\n\ndata: [DONE]\n\n'
)


async def test_error_in_200(url: str) -> None:
    reply = await fault(url, "error_in_200")
    assert reply.status == 200
    assert reply.chunks == [parts("error_in_200")[0], ERROR]
    assert reply.complete


async def test_error_after_first_token(url: str) -> None:
    role, tokens, _ = parts("error_after_first_token")
    assert (await fault(url, "error_after_first_token")).chunks == [role, tokens[0], ERROR]


@pytest.mark.parametrize("name", STATUSES)
@pytest.mark.parametrize("path", INTERFACES)
@pytest.mark.parametrize("stream", [True, False])
async def test_statuses(url: str, name: str, path: str, *, stream: bool) -> None:
    reply = await fault(url, name, path, stream=stream)
    assert reply.status == STATUSES[name]
    assert ("retry-after" in reply.headers) == (name == "status_429")
    assert reply.headers["content-type"] == "application/json"
    if path == CHAT:
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    elif path == NATIVE:
        assert set(reply.json()) == {"code", "message", "request_id"}
    if name == "status_400_context":
        assert b"context size" in reply.body


async def test_malformed_chunk(url: str) -> None:
    role, tokens, end = parts("malformed_chunk")
    reply = await fault(url, "malformed_chunk")
    broken = b'data: {"choices":[{"delta":{"content":\n\n'
    assert reply.chunks == [role, broken, *tokens, end]


async def test_slow_drip(url: str) -> None:
    role, tokens, end = parts("slow_drip")
    reply = await fault(url, "slow_drip")
    assert reply.body == role + b"".join(tokens) + end
    assert {len(chunk) for chunk in reply.chunks[:-1]} == {DRIP_BYTES}
    assert reply.complete


async def test_null_content_first(url: str) -> None:
    _, tokens, end = parts("null_content_first")
    null = openai({"role": "assistant", "content": None}, name="null_content_first")
    assert (await fault(url, "null_content_first")).chunks == [null, null, *tokens, end]


async def test_no_chunked_encoding(url: str) -> None:
    role, tokens, end = parts("no_chunked_encoding")
    reply = await fault(url, "no_chunked_encoding")
    assert "transfer-encoding" not in reply.headers
    assert "content-length" not in reply.headers
    assert reply.headers["connection"] == "close"
    assert reply.body == role + b"".join(tokens) + end


async def test_connection_close(url: str) -> None:
    role, tokens, end = parts("connection_close")
    async with connect(url) as client:
        reply = await client.ask(CHAT, chat("fault:connection_close"), ID)
        assert reply.headers["connection"] == "close"
        assert reply.chunks == [role, *tokens, end]
        assert reply.complete
        assert await client.at_end()


async def test_utf8_split(url: str) -> None:
    role, tokens, end = parts("utf8_split")
    reply = await fault(url, "utf8_split")
    first, second = reply.chunks[1:3]
    assert first + second == tokens[0]
    # The first write ends with the first byte of a character of three.
    assert first.endswith(TOKENS[0][0].encode()[:1])
    with pytest.raises(UnicodeDecodeError, match="unexpected end of data"):
        first.decode()
    assert reply.chunks == [role, first, second, *tokens[1:], end]


async def test_token_over_two_chunks(url: str) -> None:
    role, tokens, end = parts("token_over_two_chunks")
    reply = await fault(url, "token_over_two_chunks")
    first, second = reply.chunks[1:3]
    assert first + second == tokens[0]
    assert first.decode().endswith(TOKENS[0][0])
    assert second.decode().startswith(TOKENS[0][1])
    assert reply.chunks == [role, first, second, *tokens[1:], end]


async def test_reasoning_first(url: str) -> None:
    name = "reasoning_first"
    role, tokens, end = parts(name)
    thoughts = [
        openai({"content": None, "reasoning_content": thought}, name=name) for thought in THOUGHTS
    ]
    assert (await fault(url, name)).chunks == [role, *thoughts, *tokens, end]


async def test_several_tokens_in_one_chunk(url: str) -> None:
    role, tokens, end = parts("several_tokens_in_one_chunk")
    reply = await fault(url, "several_tokens_in_one_chunk")
    assert reply.chunks == [role, b"".join(tokens[:3]), *tokens[3:], end]


async def test_oversized_frame(url: str) -> None:
    name = "oversized_frame"
    role, _, end = parts(name)
    reply = await fault(url, name)
    big = openai({"content": "x" * OVERSIZED_BYTES}, name=name)
    assert reply.chunks == [role, big, end]


OLLAMA = '{"model":"fault:ok","created_at":"2026-01-01T00:00:00.000000Z",'


async def test_ollama_chat_is_lines(url: str) -> None:
    reply = await fault(url, "ok", "/api/chat")
    assert reply.headers["content-type"] == "application/x-ndjson"
    role, first, *_, last = reply.chunks
    empty = '"message":{"role":"assistant","content":""},"done":false}\n'
    assert role.decode() == OLLAMA + empty
    token = '"message":{"role":"assistant","content":"今天"},"done":false}\n'
    assert first.decode() == OLLAMA + token
    value = json.loads(last)
    assert value["done"] is True
    assert (value["done_reason"], value["eval_count"]) == ("stop", len(TOKENS))


async def test_ollama_generate_is_lines(url: str) -> None:
    reply = await fault(url, "ok", "/api/generate")
    lines = [json.loads(line) for line in reply.body.splitlines()]
    assert "".join(line["response"] for line in lines) == TEXT
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]


@pytest.mark.parametrize("path", INTERFACES)
async def test_errors_inside_a_stream_in_each_dialect(url: str, path: str) -> None:
    reply = await fault(url, "error_in_200", path)
    message = "the fault wall fails inside the stream"
    expected = {
        "/api/chat": json.dumps({"error": message}, separators=(",", ":")) + "\n",
        "/api/generate": json.dumps({"error": message}, separators=(",", ":")) + "\n",
        NATIVE: "id:2\nevent:error\n:HTTP_STATUS/500\ndata:"
        f'{{"code":"internal_error","message":"{message}","request_id":"r"}}\n\n',
    }
    assert reply.chunks[-1].decode() == expected.get(path, ERROR.decode())


@pytest.mark.parametrize("path", INTERFACES)
@pytest.mark.parametrize("name", sorted(set(FAULTS) - SILENT - set(STATUSES)))
async def test_every_fault_speaks_every_dialect(url: str, name: str, path: str) -> None:
    reply = await fault(url, name, path)
    assert reply.status == 200
    assert reply.complete == (not name.startswith("cut_"))
    if name.startswith(("cut_", "error_", "malformed_", "oversized_")):
        return
    whole = reply.body.decode()
    for token in TOKENS:
        assert f'"{token}"' in whole
    if name == "reasoning_first":
        assert whole.index(THOUGHTS[0]) < whole.index(TOKENS[0])
    if name == "null_content_first":
        assert (":null" in whole.split(TOKENS[0])[0]) is True


@pytest.mark.parametrize("path", INTERFACES)
@pytest.mark.parametrize("name", sorted(set(FAULTS) - SILENT - set(STATUSES)))
async def test_not_streamed(url: str, name: str, path: str) -> None:
    reply = await fault(url, name, path, stream=False)
    assert reply.status == 200
    if name.startswith("cut_"):
        assert not reply.complete
        assert reply.body
    elif name.startswith("error_"):
        assert "error" in reply.json() or "code" in reply.json()
    elif name == "malformed_chunk":
        with pytest.raises(json.JSONDecodeError):
            reply.json()
    else:
        assert TEXT in json.dumps(reply.json(), ensure_ascii=False)
    if name == "slow_drip":
        assert {len(chunk) for chunk in reply.chunks[:-1]} == {DRIP_BYTES}


@pytest.mark.parametrize("name", sorted(SILENT))
async def test_not_streamed_and_silent(url: str, name: str) -> None:
    async with connect(url) as client:
        await client.send(CHAT, chat(f"fault:{name}", stream=False), ID)
        if name != "silent":
            assert (await client.head()).status == 200
        await silence(client)
        await leave(url, name, client)


async def test_the_path_names_a_fault_and_wins(url: str) -> None:
    reply = await ask(url, f"/fault/status_503{CHAT}", chat("fault:ok"))
    assert reply.status == 503
    reply = await ask(url, f"/fault/ok{CHAT}", chat("qwen"))
    assert reply.text() == TEXT
    assert (await ask(url, "/fault/silent/v1/models")).status == 200


async def test_without_a_fault_the_reply_is_in_order(url: str) -> None:
    assert (await ask(url, CHAT, chat("qwen2:1.5b"))).text() == TEXT


async def test_unknown_faults_are_refused_and_not_counted(url: str) -> None:
    for path, model in ((CHAT, "fault:nonsense"), (f"/fault/nonsense{CHAT}", "m")):
        reply = await ask(url, path, chat(model))
        assert reply.status == 400
        message = reply.json()["error"]["message"]
        assert message.startswith("no such fault: nonsense; expected one of ok, silent, ")
    assert (await state_when(url))["by_kind"] == {}


async def test_it_passes_for_an_ollama(url: str) -> None:
    assert (await ask(url, "/")).body == b"Ollama is running"
    assert (await ask(url, "/", method="HEAD")).status == 200
    tags = (await ask(url, "/api/tags")).json()["models"]
    assert {tag["name"] for tag in tags} == {f"fault:{name}" for name in FAULTS}
    assert "version" in (await ask(url, "/api/version")).json()
    models = (await ask(url, "/v1/models")).json()["data"]
    assert len(models) == len(FAULTS)
    assert (await ask(url, "/health")).status == 200
    # Ollama streams unless told otherwise, and takes a negative num_predict for "no limit".
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "options": {}}
    assert len((await ask(url, "/api/chat", body)).body.splitlines()) > 1
    body["options"] = {"num_predict": -1}
    assert (await ask(url, "/api/chat", body)).status == 200


async def test_bad_bodies_are_refused(url: str) -> None:
    assert (await ask(url, CHAT, b"{")).status == 400
    assert (await ask(url, "/api/chat", {"messages": []})).status == 400
    assert (await ask(url, NATIVE, {"model": "m", "input": 1})).status == 400


async def test_no_connection_outlives_a_hundred_cancelled_requests(url: str) -> None:
    async def cancelled() -> None:
        async with connect(url) as client:
            await client.send(CHAT, chat("fault:role_then_silent"))
            await client.chunk(await client.head())

    await asyncio.gather(*(cancelled() for _ in range(100)))
    state = await state_when(url, open_requests=0, open_connections=0)
    assert state["by_kind"] == {
        "role_then_silent": {"requests": 100, "open": 0, "client_gone": 100}
    }
    assert state["open_connections"] == 0
