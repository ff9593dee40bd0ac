"""The official clients where the backend does something that no real one does on demand: it calls
tools, breaks off, is silent, or is an Ollama whose requests are looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from json import JSONDecodeError
from typing import Any

import ollama
import openai
import orjson
import pytest

from router.backends.requests import ReplyOptions
from tests.router.conftest import DEADLINE_S, PATIENCE_S, Running, Start, backend
from tests.router.official import TALKERS, Talker
from tests.router.upstream import (
    DONE,
    ROLE,
    Call,
    Script,
    answer,
    delta,
    refuse,
    silent,
    then_cut,
    then_end,
    then_silent,
    whole_reply,
)

ASKED: list[Any] = [{"role": "user", "content": "tell me more"}]
WEATHER: list[Any] = [{"role": "user", "content": "Is it warm in 北京?"}]
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "temperature",
        "description": "The temperature of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}

PATIENT = {"first_token_timeout_s": 30.0, "slots": 4}
"""Of a backend whose slots are known nothing is asked: each connection is a client's."""

Open = Callable[..., Talker]


@pytest.fixture
async def talk() -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        def begin(name: str, router: Running, **more: Any) -> Talker:
            talker = TALKERS[name](router.url, **more)
            stack.push_async_callback(talker.aclose)
            return talker

        yield begin


def _frame(value: object) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def _call_delta(call: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": finish}
    return _frame({"id": "x", "created": 1, "model": "m", "choices": [choice]})


async def calls_a_tool(call: Call) -> None:
    """Answer a request that declares tools with a call of the first one."""
    name = call.body["tools"][0]["function"]["name"]
    first = {"index": 0, "id": "call_1", "type": "function"}
    if call.body.get("stream"):
        await call.head()
        for frame in (
            ROLE,
            _call_delta({**first, "function": {"name": name, "arguments": ""}}),
            _call_delta({"index": 0, "function": {"arguments": '{"city":'}}),
            _call_delta({"index": 0, "function": {"arguments": ' "北京"}'}}),
            _frame({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
            DONE,
        ):
            await call.chunk(frame)
        await call.last_chunk()
        return
    reply = orjson.loads(whole_reply(""))
    function = {"name": name, "arguments": '{"city": "北京"}'}
    reply["choices"][0]["message"] = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }
    reply["choices"][0]["finish_reason"] = "tool_calls"
    await call.whole(orjson.dumps(reply))


async def test_tools_of_openai(start: Start) -> None:
    router = await start(local=calls_a_tool)
    async with openai.AsyncOpenAI(base_url=f"{router.url}/v1", api_key="x") as client:
        ask: Any = client.chat.completions.create
        reply = await ask(model="auto", messages=WEATHER, tools=[TOOL], tool_choice="auto")
        (call,) = reply.choices[0].message.tool_calls
        assert (call.id, call.function.name) == ("call_1", "temperature")
        assert orjson.loads(call.function.arguments) == {"city": "北京"}
        assert reply.choices[0].finish_reason == "tool_calls"
        stream = await ask(model="auto", messages=WEATHER, tools=[TOOL], stream=True)
        parts = [part.choices[0] async for part in stream]
        told = "".join(
            call.function.arguments or "" for part in parts for call in part.delta.tool_calls or ()
        )
        assert orjson.loads(told) == {"city": "北京"}
        assert parts[-1].finish_reason == "tool_calls"
        done: list[Any] = [
            *WEATHER,
            reply.choices[0].message,
            {"role": "tool", "tool_call_id": "call_1", "content": "21"},
        ]
        router.local.script = answer("It is warm.")
        last = await ask(model="auto", messages=done, tools=[TOOL])
        assert last.choices[0].message.content == "It is warm."
    assert router.local.calls[0].body["tools"] == [TOOL]
    assert router.local.calls[0].body["tool_choice"] == "auto"
    sent = router.local.calls[-1].body["messages"]
    assert sent[-1] == {"role": "tool", "tool_call_id": "call_1", "content": "21"}
    assert sent[1]["tool_calls"][0]["function"]["name"] == "temperature"


async def test_tools_of_ollama(start: Start) -> None:
    router = await start(local=calls_a_tool)
    async with ollama.AsyncClient(host=router.url) as client:
        reply = await client.chat("auto", WEATHER, tools=[TOOL])
        (call,) = reply.message.tool_calls or []
        assert (call.function.name, call.function.arguments) == ("temperature", {"city": "北京"})
        parts = [
            part async for part in await client.chat("auto", WEATHER, tools=[TOOL], stream=True)
        ]
        (told,) = [call for part in parts for call in part.message.tool_calls or ()]
        assert told.function.arguments == {"city": "北京"}
        assert parts[-1].done
        turns = [
            *WEATHER,
            reply.message,
            {"role": "tool", "tool_name": "temperature", "content": "21"},
        ]
        router.local.script = answer("It is warm.")
        last = await client.chat("auto", turns, tools=[TOOL])
        assert last.message.content == "It is warm."
    sent = router.local.calls[-1].body["messages"]
    function = sent[1]["tool_calls"][0]["function"]
    assert orjson.loads(function["arguments"]) == {"city": "北京"}
    assert (sent[-1]["role"], sent[-1]["content"]) == ("tool", "21")


def _later(frame: bytes) -> Script:
    """Answer with a token and, some time later, ``frame``, since what comes with the first token
    is seen before the client sees anything."""

    async def script(call: Call) -> None:
        await call.head()
        await call.chunk(delta("a"))
        await asyncio.sleep(0.05)
        await call.chunk(frame)
        await call.last_chunk()

    return script


async def _raises(talker: Talker, name: str, *, stream: bool) -> Exception:
    """Ask, and return the exception that the client raises."""
    own = openai.APIError if name.startswith("openai") else ollama.ResponseError
    # Bytes that go through untouched are read by the client alone, also those it cannot read.
    with pytest.raises((own, JSONDecodeError)) as caught:
        await talker.chat("auto", ASKED, stream=stream)
    return caught.value


@pytest.mark.parametrize(
    "script",
    [
        then_cut(delta("a")),
        then_end(delta("a")),
        then_silent(delta("a")),
        _later(b'data: {"error":{"message":"out of memory","code":500}}\n\n'),
        _later(b"data: {{\n\n"),
    ],
)
@pytest.mark.parametrize("name", ["openai", "openai-async", "ollama-chat", "ollama-generate-async"])
async def test_a_stream_that_breaks_off_is_an_error(
    start: Start, talk: Open, name: str, script: Script
) -> None:
    # Two seconds to the first token, and as long without another one.
    router = await start(local=script, deadline_s=2.0)
    assert str(await _raises(talk(name, router), name, stream=True))
    (decision,) = await router.settled(1)
    assert decision["outcome"] in {"error", "timeout"}
    assert router.cloud.calls == []


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("script", "status"),
    [(silent, 504), (refuse(429), 429), (refuse(401), 502)],
)
@pytest.mark.parametrize("name", ["openai", "ollama-chat-async", "ollama-generate"])
async def test_nobody_answers(
    start: Start, talk: Open, name: str, script: Script, status: int, stream: bool
) -> None:
    # Long enough that a slow machine asks the second one too.
    deadline_s = DEADLINE_S if script is silent else PATIENCE_S
    router = await start(local=script, cloud=script, backend={"first_token_timeout_s": deadline_s})
    error: Any = await _raises(talk(name, router), name, stream=stream)
    assert error.status_code == status
    assert len(router.local.calls) == len(router.cloud.calls) == 1


@pytest.mark.parametrize("name", TALKERS)
async def test_one_identity_through_a_failover(start: Start, talk: Open, name: str) -> None:
    router = await start(local=then_cut(ROLE), cloud=answer("far", " off"))
    whole = await talk(name, router).chat("auto", ASKED, stream=True)
    assert (whole.text, whole.finish) == ("far off", "stop")
    assert len(whole.identities) == name.startswith("openai")
    assert (await router.settled(1))[0]["attempts"] == 2


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", ["openai-async", "ollama-chat-async", "ollama-generate-async"])
async def test_a_client_that_gives_up_frees_the_backend(
    start: Start, talk: Open, name: str, stream: bool
) -> None:
    router = await start(local=silent, backend=PATIENT)
    talker = talk(name, router)
    asking = asyncio.create_task(talker.chat("auto", ASKED, stream=stream))
    await router.local.until(lambda: len(router.local.calls) == 1)
    asking.cancel()
    await asyncio.wait((asking,))
    await router.local.until(lambda: router.local.connections == 0)
    (decision,) = await router.settled(1)
    assert (decision["outcome"], decision["error_type"]) == ("cancelled", "client_gone")


@pytest.mark.parametrize("name", TALKERS)
async def test_a_client_that_closes_its_stream_frees_the_backend(
    start: Start, talk: Open, name: str
) -> None:
    router = await start(local=then_silent(ROLE, delta("first")), backend=PATIENT)
    await talk(name, router).first_part("auto", ASKED)
    await router.local.until(lambda: router.local.connections == 0)
    (decision,) = await router.settled(1)
    assert decision["outcome"] == "cancelled"


async def test_a_client_with_a_deadline_of_its_own(start: Start) -> None:
    router = await start(local=silent, backend=PATIENT)
    ask: Any
    async with openai.AsyncOpenAI(
        base_url=f"{router.url}/v1", api_key="x", max_retries=0
    ) as client:
        ask = client.chat.completions.create
        with pytest.raises(openai.APITimeoutError):
            await ask(model="auto", messages=ASKED, stream=True, timeout=0.1)
    await router.local.until(lambda: router.local.connections == 0)
    assert (await router.settled(1))[0]["outcome"] == "cancelled"


async def _as_ollama(call: Call) -> None:
    """Answer as Ollama does."""
    reply = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": True}
    done = {**reply, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 1}
    message = {"message": {"role": "assistant", "content": "hello"}}
    if not call.body["stream"]:
        await call.whole(orjson.dumps(done | message))
        return
    await call.head(content_type="application/x-ndjson")
    await call.chunk(orjson.dumps({**reply, **message, "done": False}) + b"\n")
    empty = {"message": {"role": "assistant", "content": ""}}
    await call.chunk(orjson.dumps(done | empty) + b"\n")
    await call.last_chunk()


LOADING = {"num_ctx": 2048, "num_thread": 2, "num_gpu": 0, "use_mmap": True}


@pytest.fixture
async def ollama_backed(start: Start) -> Running:
    """A router whose local backend is an Ollama."""
    router = await start(local=_as_ollama)
    # The fixture knows the address only now, so the settings follow by a second router.
    near = backend("local", router.local.url, dialect="ollama", slots=4)
    options = ReplyOptions(max_tokens=64, keep_alive="24h", loading=LOADING)
    second = await start(backends=(near,), options={"local": options})
    return replace(second, local=router.local, cloud=router.cloud)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", ["openai", "ollama-chat-async", "ollama-generate"])
async def test_what_loads_a_model_never_varies(
    ollama_backed: Running, talk: Open, name: str, stream: bool
) -> None:
    router = ollama_backed
    talker = talk(name, router)
    reply = await talker.chat("auto", ASKED, stream=stream, max_tokens=5, temperature=0.5)
    assert (reply.text, reply.finish, reply.output_tokens) == ("hello", "stop", 1)
    if name.startswith("ollama"):
        client: Any = ollama.AsyncClient(host=router.url)
        async with client:
            for number in (512, 4096):
                await client.generate(
                    "auto",
                    "tell me more",
                    keep_alive=number,
                    options={"num_ctx": number, "num_thread": 1, "low_vram": True, "top_k": 3},
                )
        assert [call.body["options"]["top_k"] for call in router.local.calls[1:]] == [3, 3]
    for call in router.local.calls:
        options = call.body["options"]
        assert {key: options[key] for key in LOADING} == LOADING
        assert "low_vram" not in options
        assert call.body["keep_alive"] == "24h"
        assert call.body["model"] == "local-model"
    first = router.local.calls[0].body["options"]
    assert (first["num_predict"], first["temperature"]) == (5, 0.5)
