"""Section 1.4 of the contract with the real client: rules of the stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from firsttoken.core.settings.voice import Voice
from firsttoken.trials.voice_device import APOLOGY, Device, Kind, Provider, TurnHeard
from tests.router.conftest import Running, Start, backend
from tests.router.upstream import (
    DONE,
    ROLE,
    USAGE,
    Script,
    answer,
    delta,
    silent,
    then_cut,
    then_end,
    then_silent,
)
from tests.router.voice.scenes import called, frame, frames, quick, stream, talk

CANNED = Voice().spoken_failure
PATIENT = {"first_token_timeout_s": 30.0}
ANSWER = "direct_answer"

TEXTS = (
    "😊好的，今天天气不错。",
    '😄 Sure, he said "yes"!\nA \\ and a tab\t.',
    "混合 mixed 👩‍👩‍👧 text，好。",
)


def as_json(text: str) -> str:
    return orjson.dumps({"response": text}).decode()


def escaped(text: str) -> str:
    """As Python's own JSON has it: every other character than ASCII escaped."""
    return json.dumps({"response": text})


async def hear(router: Running, kind: Kind = Kind.OPENAI, *, tools: bool = True) -> TurnHeard:
    """Return what the stand-in device makes of one turn."""
    base = f"{router.url}/v1" if kind is Kind.OPENAI else router.url
    device = Device(Provider(kind, base), tools=tools, **quick())
    try:
        return await asyncio.to_thread(device.say, "今天出门好吗？")
    finally:
        device.close()


async def behind(start: Start, script: Script, role: str = "cloud", **more: Any) -> Running:
    """Return a router with one backend: a cloud is asked with the tool, a local one without."""
    house = await start(local=script, cloud=script)
    near = house.local if role == "local" else house.cloud
    router = await start(backends=(backend(role, near.url, **more.pop("backend", {})),), **more)
    router.local = near
    return router


# ---- Tool calls ---------------------------------------------------------------------------------

NUMBERED: dict[str, list[bytes]] = {
    "from 1": [
        called(1, "a", "get_weather", ""),
        called(1, "", "", '{"city": '),
        called(1, "", "", '"杭州"}'),
    ],
    "a gap, and one id twice": [
        called(0, "a", "get_weather", '{"city": "杭州"}'),
        called(4, "a", "play_music", '{"song": "晴天"}'),
    ],
    "no id, name again and again": [
        called(3, "", "get_weather", '{"city"'),
        called(3, "", "get_weather", ': "杭州"}'),
    ],
    "in one piece": [called(0, "a", "get_weather", '{"city": "杭州"}')],
    "no arguments": [called(0, "a", "get_weather", "")],
    "a brace is missing": [called(0, "a", "get_weather", '{"city": "杭州"')],
}


@pytest.mark.parametrize("name", NUMBERED)
@pytest.mark.parametrize("role", ["local", "cloud"])
async def test_calls_are_numbered_from_0_with_id_one_name_and_whole_arguments(
    start: Start, role: str, name: str
) -> None:
    router = await behind(start, frames(*NUMBERED[name]), role)
    found = await stream(router.url, talk())
    assert found.is_whole
    calls = found.calls()
    assert calls[0]["name"] == "get_weather"
    assert len(calls) == 1 + ("gap" in name)
    arguments = orjson.loads(calls[0]["arguments"])
    assert arguments == ({} if name == "no arguments" else {"city": "杭州"})


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("write", [as_json, escaped])
@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_an_answer_through_the_tool_begins_as_the_client_expects(
    start: Start, write: Callable[[str], str], size: int, text: str
) -> None:
    """Whatever spaces the model writes, and in however many pieces."""
    arguments = write(text).replace('{"response":', '{ "response" :')
    pieces = [arguments[at : at + size] for at in range(0, len(arguments), size)]
    sent = [called(0, "a", ANSWER, ""), *(called(0, "", "", piece) for piece in pieces)]
    router = await behind(start, frames(*sent))
    found = await stream(router.url, talk())
    (call,) = found.calls()
    assert call["arguments"].startswith('{"response": "')
    assert orjson.loads(call["arguments"]) == {"response": text}
    heard = await hear(router)
    assert (heard.error, heard.spoken) == (None, text)
    assert len(heard.pieces) > 1  # also where it came in one


@pytest.mark.parametrize("text", TEXTS)
async def test_a_local_model_answers_in_plain_text(start: Start, text: str) -> None:
    """Neither the tool nor the example that teaches it is sent; a call of it is text all the
    same."""
    router = await behind(start, frames(called(0, "a", ANSWER, as_json(text))), "local")
    found = await stream(router.url, talk())
    assert found.calls() == []
    assert found.text == text
    body = router.local.calls[0].body
    assert ANSWER not in orjson.dumps(body).decode()
    assert len(body["tools"]) == 3


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
async def test_a_call_written_as_text_becomes_one(start: Start, size: int) -> None:
    written = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "杭州"}}\n</tool_call>'
    pieces = [written[at : at + size] for at in range(0, len(written), size)]
    router = await behind(start, frames(*map(delta, pieces)), "local")
    found = await stream(router.url, talk())
    assert found.text == ""
    (call,) = found.calls()
    assert (call["name"], orjson.loads(call["arguments"])) == ("get_weather", {"city": "杭州"})


# ---- Text ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["local", "cloud"])
@pytest.mark.parametrize("pieces", [("content",), ("a ", "content"), ("content", "s。", "content")])
async def test_no_piece_is_the_word_that_stops_the_client(
    start: Start, pieces: tuple[str, ...], role: str
) -> None:
    router = await behind(start, frames(*map(delta, pieces)), role)
    found = await stream(router.url, talk())
    assert found.text == "".join(pieces)
    assert "content" not in [each.get("content") for each in found.deltas]
    assert (await hear(router)).error is None


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("tools", [True, False])
@pytest.mark.parametrize(
    "pieces",
    [
        ("<think>嗯</think>", "好的。"),
        ("<th", "ink>", "嗯", "</thi", "nk>\n\n好", "的。"),
        (*"<think>hm</think>好的。",),
    ],
)
async def test_thinking_is_never_spoken(
    start: Start, pieces: tuple[str, ...], kind: Kind, tools: bool
) -> None:
    router = await behind(start, frames(*map(delta, pieces)), "local")
    assert (await hear(router, kind, tools=tools)).spoken == "好的。"


QUIET: dict[str, bytes] = {
    "an empty delta": frame({"content": ""}),
    "a null": frame({"content": None}),
    "a role": ROLE,
    "token counts": USAGE,
    "a comment": b": ping\n\n",
    "no choices": b'data: {"choices":[]}\n\n',
    "empty calls": frame({"content": "", "tool_calls": []}),
}


@pytest.mark.parametrize("name", QUIET)
async def test_chunks_that_say_nothing_do_no_harm(start: Start, name: str) -> None:
    quiet = QUIET[name]
    router = await behind(start, frames(quiet, delta("😊好"), quiet, delta("的。"), quiet), "local")
    found = await stream(router.url, talk())
    assert found.is_whole
    heard = await hear(router)
    assert (heard.error, heard.spoken) == (None, "😊好的。")


async def test_the_emoji_is_in_the_first_chunk_with_text(start: Start) -> None:
    """The device takes its face from the first text that is not blank."""
    thoughts = ("<think>", "嗯", "</think>", "\n\n")
    router = await behind(start, frames(*map(delta, (*thoughts, "😊", "好的。"))), "local")
    found = await stream(router.url, talk())
    said = [each["content"] for each in found.deltas if (each.get("content") or "").strip()]
    assert said[0].startswith("😊")


# ---- How a reply ends ---------------------------------------------------------------------------

ERROR = b'data: {"error":{"message":"out of memory","code":500}}\n\n'
BREAKS: dict[str, Callable[..., Script]] = {
    "cut": then_cut,
    "ends without its mark": then_end,
    "tells of an error and closes": lambda *sent: then_end(*sent, ERROR, DONE),
    "tells of an error and keeps quiet": lambda *sent: then_silent(*sent, ERROR),
    "sends what cannot be read": lambda *sent: then_silent(*sent, b"data: {{\n\n"),
}


@pytest.mark.parametrize("role", ["local", "cloud"])
@pytest.mark.parametrize("name", BREAKS)
async def test_a_reply_that_breaks_off_is_finished_as_a_sentence(
    start: Start, name: str, role: str
) -> None:
    """At once, not when the connection closes; with an end mark, and no error."""

    async def script(call: Any) -> None:
        await call.head()
        await call.chunk(ROLE + delta("😊好的，我想"))
        await asyncio.sleep(0.03)
        rest = BREAKS[name](delta("一想"))
        call.head = _nothing
        await rest(call)

    router = await behind(start, script, role, backend=PATIENT)
    async with asyncio.timeout(5):
        found = await stream(router.url, talk())
    assert found.is_whole
    assert found.text == "😊好的，我想一想。"
    (decision,) = await router.settled(1)
    assert decision["outcome"] == "error"
    assert decision["tier"] == ("local" if role == "local" else "remote")


async def _nothing() -> None:
    """The head was sent before."""


@pytest.mark.parametrize("more", [0, 1, 4, 9])
async def test_a_cut_answer_through_the_tool_is_whole_json(start: Start, more: int) -> None:
    """Wherever it breaks off, inside an escape too."""
    arguments = '{"response": "😊好的，她说\\"走吧\\u5427'
    pieces = [arguments[: len(arguments) - more], ""]

    async def script(call: Any) -> None:
        await call.head()
        await call.chunk(called(0, "a", ANSWER, ""))
        for piece in pieces:
            await call.chunk(called(0, "", "", piece))
            await asyncio.sleep(0.03)
        call.cut()

    router = await behind(start, script)
    found = await stream(router.url, talk())
    assert found.is_whole
    (call,) = found.calls()
    said = orjson.loads(call["arguments"])["response"]
    assert said.startswith("😊好的，她说")
    assert said.endswith("。")
    heard = await hear(router)
    assert (heard.error, heard.spoken) == (None, said)


async def test_half_a_call_is_never_carried_out(start: Start) -> None:
    async def script(call: Any) -> None:
        await call.head()
        await call.chunk(delta("我查一下，"))
        await call.chunk(called(0, "a", "get_weather", '{"city": "杭'))
        await asyncio.sleep(0.03)
        call.cut()

    router = await behind(start, script, "local")
    heard = await hear(router)
    assert (heard.error, heard.called, heard.spoken) == (None, [], "我查一下，。")


async def test_an_emoji_alone_commits_nobody(start: Start) -> None:
    """A backend that breaks off right after it has said nothing yet: the next one answers."""
    router = await start(local=then_cut(ROLE, delta("😊")), cloud=answer("😊", "好的。"))
    found = await stream(router.url, talk())
    assert found.text == "😊好的。"
    (decision,) = await router.settled(1)
    assert (decision["backend"], decision["attempts"]) == ("cloud", 2)


@pytest.mark.parametrize(
    "script",
    [
        frames(),
        frames(delta("😊"), delta("！")),
        frames(delta("<think>嗯"), delta("</think>")),
        frames(frame({"reasoning_content": "嗯"})),
        frames(
            delta('<tool_call>{"name": "get_weather", "arguments": {"city'), delta("</tool_call>")
        ),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
async def test_who_has_nothing_to_say_has_failed(
    start: Start, script: Script, streamed: bool
) -> None:
    if not streamed:
        script = answer("😊")
    router = await start(local=script, cloud=answer("好的。"))
    body = talk() | {"stream": streamed}
    reply = await router.http.post("/v1/chat/completions", json=body)
    assert "好的。" in reply.text
    (decision,) = await router.settled(1)
    assert (decision["backend"], decision["attempts"]) == ("cloud", 2)


# ---- Barge-in -----------------------------------------------------------------------------------


async def test_a_barge_in_frees_the_backend_at_once(start: Start) -> None:
    router = await start(local=then_silent(ROLE, delta("😊好的，")), backend=PATIENT)
    device = Device(Provider(Kind.OPENAI, f"{router.url}/v1"), tools=True, **quick())

    def interrupt() -> None:
        stream_of = device.ask(talk()["messages"])
        next(part for part in stream_of if part.choices[0].delta.content)
        stream_of.close()

    await asyncio.to_thread(interrupt)
    await router.local.until(lambda: router.local.under_way == 0)
    assert (await router.settled(1))[0]["outcome"] == "cancelled"
    device.close()


async def test_a_barge_in_before_the_first_word_too(start: Start) -> None:
    router = await start(local=silent, backend=PATIENT)
    asking = asyncio.create_task(stream(router.url, talk()))
    await router.local.until(lambda: len(router.local.calls) == 1)
    asking.cancel()
    await asyncio.wait((asking,))
    await router.local.until(lambda: router.local.under_way == 0)
    assert (await router.settled(1))[0]["outcome"] == "cancelled"


async def test_the_turn_after_a_barge_in_is_served(start: Start) -> None:
    """Its dialogue has two user messages in a row, and half an answer is not in it."""
    router = await start(local=then_cut(ROLE, delta("好的，")), cloud=answer("好的。"))
    device = Device(Provider(Kind.OPENAI, f"{router.url}/v1"), tools=True, **quick())
    device.history = [{"role": "user", "content": "讲个故事"}]
    heard = await asyncio.to_thread(device.say, "算了，放首歌")
    assert APOLOGY not in heard.spoken
    assert heard.error is None
    device.close()
