"""The official clients of OpenAI and Ollama, through both fronts, with a real engine and with the
emulated cloud behind a router that is a process of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import ollama
import openai
import pytest

from firsttoken.upstreams.replies import reply as cloud_reply
from tests.router.official import CONTEXT, TALKERS, Front, House, Talker, house

KEY = "key-of-the-tests"
CLOUDS = ("cloud_openai", "cloud_compatible", "cloud_native")
BACKENDS = ("local", *CLOUDS, "auto")
OLLAMA = [name for name in TALKERS if name.startswith("ollama")]
CHATS = [name for name in TALKERS if "generate" not in name]
ONE_OF_EACH = ["openai", "ollama-chat", "ollama-generate"]

QUESTION: list[Any] = [
    {"role": "system", "content": "Answer in one short sentence."},
    {"role": "user", "content": "What can you do for me in the kitchen?"},
]
CHINESE: list[Any] = [{"role": "user", "content": "“量子”是什么？\n请说说看 😀"}]
TALK: list[Any] = [
    {"role": "user", "content": "My name is Ada."},
    {"role": "assistant", "content": "Nice to meet you, Ada."},
    {"role": "user", "content": "And what is the name of my cat?"},
]
TOO_LONG: list[Any] = [
    {"role": "user", "content": "seven words make this sentence quite long. " * 90}
]
SCHEMA = {
    "type": "object",
    "properties": {"warm": {"type": "boolean"}},
    "required": ["warm"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house")) as found:
        yield found


@pytest.fixture(scope="module")
def plain(home: House) -> Front:
    """A router without caches and keys."""
    return home.router(home.settings())


@pytest.fixture(scope="module")
def keyed(home: House) -> Front:
    """A router that asks for a key and has an exact cache."""
    sections: dict[str, Any] = {
        "server": {"api_keys_env": "KEYS_OF_THE_TESTS"},
        "caching_strategy": {"local_cache": {"enable": True}},
    }
    return home.router(home.settings(**sections), KEY, KEYS_OF_THE_TESTS=f"{KEY},another-key")


@pytest.fixture(scope="module")
def alone(home: House) -> Front:
    """A router in front of the engine alone."""
    return home.router(home.settings(remotes=False))


Open = Callable[..., Talker]


@pytest.fixture
async def talk() -> AsyncIterator[Open]:
    """Make clients that are closed after the test."""
    async with AsyncExitStack() as stack:

        def begin(name: str, child: Front, **more: Any) -> Talker:
            talker = TALKERS[name](child.url, **more)
            stack.push_async_callback(talker.aclose)
            return talker

        yield begin


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", TALKERS)
async def test_a_limited_answer(
    plain: Front, talk: Open, name: str, backend: str, stream: bool
) -> None:
    answer = await talk(name, plain).chat(backend, QUESTION, stream=stream, max_tokens=4)
    assert answer.text.strip()
    assert answer.finish == "length"
    assert answer.output_tokens == 4
    assert answer.prompt_tokens is not None
    assert answer.prompt_tokens > 8
    assert answer.pieces > 1 or not stream
    # In a stream llama.cpp's ``created`` is the time of each frame.
    assert len({identity for identity, _ in answer.identities}) == name.startswith("openai")
    decision = plain.operator.last()
    assert decision["outcome"] == "success"
    assert decision["attempts"] == 1
    if backend == "auto":
        assert (decision["backend"], decision["reason"]) == ("local", "default_local")
    else:
        assert (decision["backend"], decision["reason"]) == (backend, "named_model")


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("backend", ["cloud_openai", "cloud_native"])
@pytest.mark.parametrize("name", TALKERS)
async def test_chinese_arrives_whole(
    plain: Front, talk: Open, name: str, backend: str, stream: bool
) -> None:
    answer = await talk(name, plain).chat(backend, CHINESE, stream=stream)
    decision = plain.operator.last()
    said = cloud_reply(0, decision["request_id"], CHINESE[0]["content"])
    assert answer.text == "".join(said)
    assert answer.finish == "stop"
    assert answer.output_tokens == len(said)


@pytest.mark.parametrize("name", ["openai", "ollama-chat"])
async def test_chinese_reaches_the_engine_whole(plain: Front, talk: Open, name: str) -> None:
    """The engine counts the tokens of what arrived: they are the same by both fronts."""
    schema = {"const": "你好😀"}
    answer = await talk(name, plain).chat("local", CHINESE, stream=True, schema=schema)
    assert json.loads(answer.text) == schema["const"]
    other = await talk("ollama-generate", plain).chat("local", CHINESE, stream=True, max_tokens=1)
    assert answer.prompt_tokens == other.prompt_tokens


async def test_every_front_gives_the_same_answer(plain: Front, talk: Open) -> None:
    """At temperature 0 the engine repeats itself: streamed or not, in any dialect, the options
    arrive."""
    wanted: dict[str, Any] = {"max_tokens": 6, "temperature": 0, "seed": 7}
    texts = {
        (await talk(name, plain).chat("local", QUESTION, stream=stream, **wanted)).text
        for name in ONE_OF_EACH
        for stream in (True, False)
    }
    assert len(texts) == 1


@pytest.mark.parametrize("name", ONE_OF_EACH)
async def test_a_seed_repeats_what_is_drawn(plain: Front, talk: Open, name: str) -> None:
    talker = talk(name, plain)

    async def said(seed: int) -> str:
        wanted: dict[str, Any] = {"max_tokens": 4, "temperature": 1.5, "seed": seed}
        return (await talker.chat("local", QUESTION, stream=True, **wanted)).text

    assert await said(3) == await said(3)
    assert len({await said(seed) for seed in range(3)}) > 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", ONE_OF_EACH)
async def test_it_stops_at_a_word(plain: Front, talk: Open, name: str, stream: bool) -> None:
    talker = talk(name, plain)
    wanted: dict[str, Any] = {"max_tokens": 8, "temperature": 0, "seed": 7}
    whole = (await talker.chat("local", QUESTION, stream=stream, **wanted)).text
    word = whole.split()[3]
    answer = await talker.chat("local", QUESTION, stream=stream, stop=[word], **wanted)
    assert answer.text == whole[: whole.index(word)]
    assert answer.finish == "stop"


@pytest.mark.parametrize("backend", ["local", "cloud_native"])
@pytest.mark.parametrize("name", ["openai", "ollama-chat-async"])
async def test_earlier_turns_are_sent(plain: Front, talk: Open, name: str, backend: str) -> None:
    talker = talk(name, plain)
    answers = [
        await talker.chat(backend, messages, stream=True, max_tokens=2)
        for messages in (TALK, TALK[-1:])
    ]
    whole, last = (answer.prompt_tokens for answer in answers)
    assert whole is not None
    assert last is not None
    assert whole > last + 8


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", ONE_OF_EACH)
async def test_json_by_a_schema(plain: Front, talk: Open, name: str, stream: bool) -> None:
    answer = await talk(name, plain).chat("local", QUESTION, stream=stream, schema=SCHEMA)
    assert isinstance(json.loads(answer.text)["warm"], bool)
    assert answer.finish == "stop"


@pytest.mark.parametrize("name", CHATS)
async def test_models_are_listed(home: House, plain: Front, talk: Open, name: str) -> None:
    listed = await talk(name, plain).models()
    assert listed == [home.engine_model, "gpt-4o-mini", "qwen-plus", "qwen-flash"]


async def test_what_is_loaded(home: House, plain: Front) -> None:
    async with ollama.AsyncClient(host=plain.url) as client:
        (model,) = (await client.ps()).models
        assert model.model == home.engine_model
        loaded = await client.generate(model="local")
        assert (loaded.done, loaded.done_reason, loaded.response) == (True, "load", "")
        talked = await client.chat(model="local", messages=[])
        assert (talked.done, talked.done_reason) == (True, "load")
    before = len(plain.operator.decisions())
    with ollama.Client(host=plain.url) as sync_client:
        (part,) = sync_client.generate(model="local", prompt="", stream=True, keep_alive="24h")
        assert part.done_reason == "load"
        assert [each.model for each in sync_client.ps().models] == [home.engine_model]
    assert len(plain.operator.decisions()) == before


@pytest.mark.parametrize(("key", "stream"), [("wrong", True), ("wrong", False), (None, True)])
@pytest.mark.parametrize("name", CHATS)
async def test_a_wrong_key(
    keyed: Front, talk: Open, name: str, key: str | None, stream: bool
) -> None:
    talker = talk(name, keyed, **({"key": key} if key else {}))
    if name.startswith("openai"):
        with pytest.raises(openai.AuthenticationError) as refused:
            await talker.chat("auto", QUESTION, stream=stream)
        with pytest.raises(openai.AuthenticationError):
            await talker.models()
        assert refused.value.status_code == 401
    else:
        with pytest.raises(ollama.ResponseError) as denied:
            await talker.chat("auto", QUESTION, stream=stream)
        with pytest.raises(ollama.ResponseError):
            await talker.models()
        assert denied.value.status_code == 401
        assert denied.value.error == "the API key is missing or wrong"


_MALFORMED: list[tuple[list[Any], dict[str, Any], str]] = [
    ([{"role": "wizard", "content": "x"}], {}, "messages[0].role"),
    (QUESTION, {"temperature": -1}, "temperature"),
    (QUESTION, {"max_tokens": 0}, "expected at least 1"),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("messages", "wanted", "told"), _MALFORMED)
@pytest.mark.parametrize("name", CHATS)
async def test_a_malformed_request(
    plain: Front,
    talk: Open,
    name: str,
    messages: list[Any],
    wanted: dict[str, Any],
    told: str,
    stream: bool,
) -> None:
    before = len(plain.operator.decisions())
    talker = talk(name, plain)
    if name.startswith("openai"):
        with pytest.raises(openai.BadRequestError) as refused:
            await talker.chat("auto", messages, stream=stream, **wanted)
        assert refused.value.type == "invalid_request_error"
        assert told in refused.value.message
    else:
        with pytest.raises(ollama.ResponseError) as denied:
            await talker.chat("auto", messages, stream=stream, **wanted)
        assert denied.value.status_code == 400
        assert told in denied.value.error
    assert len(plain.operator.decisions()) == before


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", ["auto", "local"])
@pytest.mark.parametrize("name", ONE_OF_EACH)
async def test_a_prompt_that_is_too_long_moves_to_the_cloud(
    plain: Front, talk: Open, name: str, model: str, stream: bool
) -> None:
    answer = await talk(name, plain).chat(model, TOO_LONG, stream=stream)
    decision = plain.operator.last()
    assert answer.text == "".join(cloud_reply(0, decision["request_id"], TOO_LONG[0]["content"]))
    assert decision["tier"] == "remote"
    assert decision["reason"] in {"context_overflow", "prompt_too_long"}
    assert len(answer.identities) == (1 if name == "openai" else 0)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", TALKERS)
async def test_a_prompt_that_is_too_long_and_nobody_else(
    alone: Front, talk: Open, name: str, stream: bool
) -> None:
    talker = talk(name, alone)
    if name.startswith("openai"):
        with pytest.raises(openai.BadRequestError) as refused:
            await talker.chat("auto", TOO_LONG, stream=stream)
        assert refused.value.type == "context_overflow"
    else:
        with pytest.raises(ollama.ResponseError) as denied:
            await talker.chat("auto", TOO_LONG, stream=stream)
        assert denied.value.status_code == 400
        assert str(CONTEXT) in denied.value.error
    decision = alone.operator.last()
    assert (decision["outcome"], decision["error_type"]) == ("error", "context_overflow")


@pytest.mark.parametrize("name", TALKERS)
async def test_closing_a_stream_frees_the_engine(
    home: House, plain: Front, talk: Open, name: str
) -> None:
    await talk(name, plain).first_part("local", QUESTION)
    async with asyncio.timeout(5), httpx.AsyncClient(base_url=home.engine) as http:
        busy = True
        while busy:
            slots = (await http.get("/slots")).json()
            busy = any(slot["is_processing"] for slot in slots)
    decision = plain.operator.last()
    assert (decision["outcome"], decision["error_type"]) == ("cancelled", "client_gone")


async def test_the_same_question_is_answered_from_the_cache(keyed: Front, talk: Open) -> None:
    messages: list[Any] = [{"role": "user", "content": "Why is the sky blue?"}]
    async with openai.AsyncOpenAI(base_url=f"{keyed.url}/v1", api_key=KEY) as client:
        ask = client.chat.completions.with_raw_response.create
        first = await ask(model="cloud_native", messages=messages)
        second = await ask(model="cloud_native", messages=messages)
        assert [each.headers["x-firsttoken-cache"] for each in (first, second)] == ["miss", "exact"]
        assert second.headers["x-firsttoken-tier"] == "cache"
        whole = first.parse().choices[0].message.content
        assert second.parse().choices[0].message.content == whole
        other = await ask(model="cloud_native", messages=messages, max_tokens=3)
        assert other.headers["x-firsttoken-cache"] == "miss"
    # It is the same question in every dialect, streamed or not; another key's is another's.
    for name in TALKERS:
        for stream in (True, False):
            talker = talk(name, keyed, key=KEY)
            answer = await talker.chat("cloud_native", messages, stream=stream)
            assert answer.text == whole
            assert answer.finish == "stop"
            assert answer.model == "qwen-flash"
            assert keyed.operator.last()["cache"] == "exact"
    await talk("ollama-chat", keyed, key="another-key").chat("cloud_native", messages, stream=False)
    assert keyed.operator.last()["cache"] == "miss"


@pytest.mark.parametrize("name", OLLAMA)
async def test_ollamas_dialect_finds_its_own_replies(keyed: Front, talk: Open, name: str) -> None:
    messages: list[Any] = [{"role": "user", "content": f"Why does {name} exist?"}]
    talker = talk(name, keyed, key=KEY)
    answers = [await talker.chat("auto", messages, stream=True, max_tokens=4) for _ in range(2)]
    assert answers[0] == answers[1] or answers[0].text == answers[1].text
    found = [each["cache"] for each in keyed.operator.decisions()[-2:]]
    assert found == ["miss", "exact"]


@pytest.mark.parametrize("name", ["openai-async", "ollama-chat", "ollama-generate-async"])
async def test_no_client_is_left_over(plain: Front, talk: Open, name: str) -> None:
    """Six at once, and then nothing is in flight."""
    talker = talk(name, plain)
    asked = (talker.chat("auto", QUESTION, stream=bool(n % 2), max_tokens=2) for n in range(6))
    answers = await asyncio.gather(*asked)
    assert all(answer.output_tokens == 2 for answer in answers)
    assert plain.operator.in_flight() == [0.0] * 4
