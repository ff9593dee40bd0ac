"""Emulated cloud: three dialects, seeded, and always marked as emulated."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from firsttoken.upstreams.cloud import (
    DASHSCOPE_PATH,
    INTERFACES,
    Behaviour,
    Cloud,
)
from firsttoken.upstreams.draws import Span
from firsttoken.upstreams.replies import language, reply
from firsttoken.upstreams.server import running
from tests.upstreams.raw import CHAT, Reply, ask, chat, connect, state_when

COMPATIBLE = "/compatible-mode/v1/chat/completions"
FAST = Behaviour(first_token_s=Span(0.001, 0.002), tokens_per_second=5000)
SSE = {"X-DashScope-SSE": "enable", "X-Request-Id": "a"}


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    async with running(Cloud(FAST)) as address:
        yield address


def native(text: str = "你好", **parameters: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "qwen-flash", "input": {"messages": messages}, "parameters": parameters}


def expected(text: str = "你好", name: str = "a") -> list[str]:
    return reply(0, name, text)


@pytest.mark.parametrize("path", [CHAT, COMPATIBLE])
async def test_openai_stream(url: str, path: str) -> None:
    body = chat("qwen-flash", "你好", stream_options={"include_usage": True})
    answer = await ask(url, path, body, {"X-Request-Id": "a"})
    assert answer.headers["x-firsttoken-emulated"] == "1"
    assert answer.headers["x-request-id"] == "a"
    deltas = answer.deltas()
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert [delta["content"] for delta in deltas[1:-1]] == expected()
    *_, finish, usage, done = answer.events()
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert finish["usage"] is None
    assert usage["choices"] == []
    assert usage["usage"] == {
        "prompt_tokens": 1,
        "completion_tokens": len(expected()),
        "total_tokens": 1 + len(expected()),
    }
    assert done == "[DONE]"
    assert len({(event["id"], event["created"]) for event in answer.events()[:-1]}) == 1


@pytest.mark.parametrize("path", [CHAT, COMPATIBLE])
async def test_openai_not_streamed(url: str, path: str) -> None:
    body = chat("gpt-4o-mini", "hello", stream=False, max_tokens=4)
    answer = await ask(url, path, body, {"X-Request-Id": "a"})
    value = answer.json()
    assert value["object"] == "chat.completion"
    assert value["choices"][0]["message"]["content"] == "".join(expected("hello")[:4])
    assert value["choices"][0]["finish_reason"] == "length"
    assert value["usage"]["completion_tokens"] == 4


def frames(answer: Reply) -> list[list[str]]:
    return [frame.split("\n") for frame in answer.body.decode().split("\n\n") if frame]


async def test_dashscope_frames_byte_for_byte(url: str) -> None:
    body = native(result_format="message", incremental_output=True, max_tokens=1)
    answer = await ask(url, DASHSCOPE_PATH, body, SSE)
    assert answer.headers["content-type"] == "text/event-stream;charset=UTF-8"
    token = expected()[0]
    assert answer.body.decode() == (
        "id:1\nevent:result\n:HTTP_STATUS/200\n"
        'data:{"output":{"choices":[{"message":{"role":"assistant","content":"' + token + '"},'
        '"finish_reason":"null"}]},"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2},'
        '"request_id":"a"}\n\n'
        "id:2\nevent:result\n:HTTP_STATUS/200\n"
        'data:{"output":{"choices":[{"message":{"role":"assistant","content":""},'
        '"finish_reason":"length"}]},"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2},'
        '"request_id":"a"}\n\n'
    )


@pytest.mark.parametrize("incremental", [True, False])
@pytest.mark.parametrize("as_message", [True, False])
async def test_dashscope_both_outputs(url: str, *, incremental: bool, as_message: bool) -> None:
    parameters: dict[str, Any] = {"incremental_output": True} if incremental else {}
    if as_message:
        parameters["result_format"] = "message"
    answer = await ask(url, DASHSCOPE_PATH, native(**parameters), SSE)
    outputs = [event["output"] for event in answer.events()]
    if as_message:
        texts = [output["choices"][0]["message"]["content"] for output in outputs]
        finishes = [output["choices"][0]["finish_reason"] for output in outputs]
    else:
        texts = [output["text"] for output in outputs]
        finishes = [output["finish_reason"] for output in outputs]
    tokens = expected()
    if incremental:
        assert texts == [*tokens, ""]
    else:
        whole = ["".join(tokens[:end]) for end in range(1, len(tokens) + 1)]
        assert texts == [*whole, whole[-1]]
    assert finishes == ["null"] * len(tokens) + ["stop"]
    counts = [event["usage"]["output_tokens"] for event in answer.events()]
    assert counts == [*range(1, len(tokens) + 1), len(tokens)]


@pytest.mark.parametrize("headers", [{}, {"Accept": "application/json"}])
async def test_dashscope_not_streamed(url: str, headers: Mapping[str, str]) -> None:
    answer = await ask(
        url,
        DASHSCOPE_PATH,
        native(result_format="message"),
        {**headers, "X-Request-Id": "a"},
    )
    value = answer.json()
    assert value["output"]["choices"][0]["message"]["content"] == "".join(expected())
    assert value["output"]["choices"][0]["finish_reason"] == "stop"
    assert value["request_id"] == "a"


async def test_dashscope_streams_by_accept_too_and_takes_a_prompt(url: str) -> None:
    body = {"model": "qwen-flash", "input": {"prompt": "hello"}}
    headers = {"Accept": "text/event-stream", "X-Request-Id": "a"}
    answer = await ask(url, DASHSCOPE_PATH, body, headers)
    assert answer.events()[-1]["output"]["text"] == "".join(expected("hello"))


@pytest.mark.parametrize("text", ["今天天气怎么样？", "How is the weather?"])
async def test_the_language_is_that_of_the_last_user_message(url: str, text: str) -> None:
    messages = [
        {"role": "system", "content": "你是 a helper"},
        {"role": "user", "content": "hello 你好"},
        {"role": "assistant", "content": "ok 好"},
        {"role": "user", "content": [{"type": "text", "text": text}]},
    ]
    answer = await ask(url, CHAT, {"model": "m", "stream": True, "messages": messages})
    assert language(answer.text()) == language(text)


@pytest.mark.parametrize("path", ["/v1/models", "/compatible-mode/v1/models"])
async def test_models_say_that_they_are_emulated(url: str, path: str) -> None:
    answer = await ask(url, path)
    assert answer.headers["x-firsttoken-emulated"] == "1"
    models = answer.json()["data"]
    assert "qwen-flash" in {model["id"] for model in models}
    assert {model["owned_by"] for model in models} == {"firsttoken-emulated"}


@pytest.mark.parametrize("path", ["/health", "/state", "/nothing", CHAT])
async def test_every_reply_is_marked(url: str, path: str) -> None:
    assert (await ask(url, path)).headers["x-firsttoken-emulated"] == "1"
    async with connect(url) as client:
        client.writer.write(b"no http\r\n\r\n")
        assert (await client.head()).headers["x-firsttoken-emulated"] == "1"


@pytest.mark.parametrize("path", INTERFACES)
async def test_key(path: str) -> None:
    body = native() if path == DASHSCOPE_PATH else chat()
    async with running(Cloud(FAST, api_key="geheim-ключ")) as url:
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "geheim"}):
            answer = await ask(url, path, body, given)
            assert answer.status == 401
            assert answer.headers["x-firsttoken-emulated"] == "1"
            assert b"geheim" not in answer.body
        value = answer.json()
        assert (
            value["code"] == "InvalidApiKey"
            if path == DASHSCOPE_PATH
            else value["error"]["code"] == "invalid_api_key"
        )
        assert (await ask(url, "/v1/models")).status == 401
        assert (await ask(url, "/health")).status == 200
        right = {"Authorization": "Bearer geheim-ключ"}
        assert (await ask(url, path, body, right)).status == 200
        assert (await ask(url, "/v1/models", None, right)).status == 200


async def test_errors_are_seeded_and_split_evenly() -> None:
    behaviour = Behaviour(error_share=0.3)
    n = 6000
    kinds = [behaviour.error(str(index)) for index in range(n)]
    assert kinds == [behaviour.error(str(index)) for index in range(n)]
    for kind, share in ((None, 0.7), ("429", 0.1), ("500", 0.1), ("cut", 0.1)):
        spread = math.sqrt(share * (1 - share) / n)
        assert abs(kinds.count(kind) / n - share) < 3.3 * spread
    assert all(Behaviour().error(str(index)) is None for index in range(1000))
    assert all(
        Behaviour(error_share=1.0, error_kinds=("cut",)).error(str(index)) == "cut"
        for index in range(1000)
    )


@pytest.mark.parametrize("kind", ["429", "500"])
@pytest.mark.parametrize("path", INTERFACES)
async def test_status_errors(path: str, kind: str) -> None:
    body = native() if path == DASHSCOPE_PATH else chat()
    broken = Behaviour(error_share=1.0, error_kinds=(kind,))
    async with running(Cloud(broken)) as url:
        answer = await ask(url, path, body, {"X-Request-Id": "e"})
        assert answer.status == int(kind)
        assert ("retry-after" in answer.headers) == (kind == "429")
        value = answer.json()
        if path == DASHSCOPE_PATH:
            assert value["code"] in {"Throttling.RateQuota", "InternalError"}
            assert value["request_id"] == "e"
        else:
            assert value["error"]["code"] in {"rate_limit_exceeded", "internal_error"}


@pytest.mark.parametrize("stream", [True, False])
async def test_cut(*, stream: bool) -> None:
    broken = Behaviour(
        first_token_s=FAST.first_token_s,
        tokens_per_second=5000,
        error_share=1.0,
        error_kinds=("cut",),
    )
    async with running(Cloud(broken)) as url:
        answer = await ask(url, CHAT, chat(stream=stream), {"X-Request-Id": "a"})
        assert answer.status == 200
        assert not answer.complete
        assert answer.body
        if stream:
            tokens = expected("hello")
            assert answer.text() == "".join(tokens[: len(tokens) // 2])
            assert b"[DONE]" not in answer.body
        assert (await state_when(url, open_requests=0))["client_gone"] == 0


async def test_first_token_is_drawn_as_the_options_say() -> None:
    behaviour = Behaviour()
    n = 4000
    delays = [behaviour.first_token_delay_s(str(index)) for index in range(n)]
    inside = sum(1.5 <= delay <= 3.0 for delay in delays) / n
    assert abs(inside - 0.90) < 3.3 * math.sqrt(0.9 * 0.1 / n)
    assert delays[0] == behaviour.first_token_delay_s("0")
    assert Behaviour(first_token_s=Span(2.0, 2.0)).first_token_delay_s("0") == 2.0


async def test_tokens_come_at_the_rate() -> None:
    behaviour = Behaviour(first_token_s=Span(0.05, 0.05), tokens_per_second=50)
    async with running(Cloud(behaviour)) as url:
        answer = await ask(url, CHAT, chat(max_tokens=6))
    # Never early, by more than a timer's resolution; how late depends on the machine.
    for index, stamp in enumerate(answer.stamps_ns[1:7]):
        assert (stamp - answer.sent_ns) / 1e6 > 50 + 20 * index - 2


async def test_a_client_that_leaves_is_counted() -> None:
    slow = Behaviour(first_token_s=Span(0.01, 0.01), tokens_per_second=2)
    async with running(Cloud(slow)) as url:
        async with connect(url) as client:
            await client.send(CHAT, chat())
            answer = await client.head()
            await client.chunk(answer)
            await client.chunk(answer)
        state = await state_when(url, client_gone=1, open_requests=0, open_connections=0)
        assert state["by_kind"]["openai"] == {"requests": 1, "open": 0, "client_gone": 1}
        assert state["open_connections"] == 0


@pytest.mark.parametrize(
    ("path", "body", "names"),
    [
        (CHAT, {"model": "m", "messages": []}, "messages"),
        (DASHSCOPE_PATH, {"model": "m"}, "input"),
        (DASHSCOPE_PATH, {"model": "m", "input": {}}, "input"),
        (DASHSCOPE_PATH, {**native(), "parameters": 3}, "parameters"),
        (DASHSCOPE_PATH, native(max_tokens="x"), "max_tokens"),
        (DASHSCOPE_PATH, native(incremental_output="x"), "incremental_output"),
    ],
)
async def test_bad_bodies(url: str, path: str, body: object, names: str) -> None:
    answer = await ask(url, path, body)
    assert answer.status == 400
    value = answer.json()
    assert names in (value.get("message") or value["error"]["message"])
