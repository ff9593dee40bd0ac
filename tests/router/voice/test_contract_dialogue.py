"""Section 1.3 of the contract with the real client: dialogues that strict servers refuse."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from firsttoken.trials.voice_device import SYSTEM
from tests.router.conftest import Start
from tests.router.upstream import Call, answer, refuse
from tests.router.voice.scenes import Body, stream, talk


def fault_of(messages: list[Body]) -> str:
    """Return what a strict server finds wrong with a dialogue; empty if nothing."""
    open_calls: set[str] = set()
    before = ""
    for message in messages:
        role, content = message["role"], message.get("content")
        calls = message.get("tool_calls")
        if role == "tool":
            if message.get("tool_call_id") not in open_calls:
                return "a tool's answer that nobody asked for"
            open_calls.discard(message["tool_call_id"])
        elif open_calls:
            return "a call without an answer"
        if content is None and not calls:
            return f"no content in a message of role {role}"
        if role == before == "user":
            return "two user messages in a row"
        if calls is not None:
            if not calls or any("index" in call for call in calls):
                return "an index within a call"
            open_calls = {call["id"] for call in calls}
        before = role
    return "a call without an answer" if open_calls else ""


async def strict(call: Call) -> None:
    """Answer as a server that takes nothing but what the specification says."""
    fault = fault_of(call.body["messages"])
    await (refuse(400, message=fault) if fault else answer("好的，出门吧。"))(call)


def called(number: str, **more: Any) -> Body:
    function = {"name": "get_weather", "arguments": '{"city": "杭州"}'}
    return {
        "role": "assistant",
        "tool_calls": [{"id": number, "index": 0, "type": "function", "function": function}],
        **more,
    }


def answered(number: str) -> Body:
    return {"role": "tool", "tool_call_id": number, "content": "晴"}


def user(text: str) -> Body:
    return {"role": "user", "content": text}


ASSISTANT = {"role": "assistant", "content": "好的。"}
DIALOGUES: dict[str, list[Body]] = {
    "index within a call, content empty": [user("a"), called("1", content=""), answered("1")],
    "content absent": [user("a"), called("1"), answered("1")],
    "content null": [user("a"), called("1", content=None), answered("1")],
    "an assistant without anything": [user("a"), {"role": "assistant"}, user("b")],
    "an answer at the end of the list": [
        user("a"),
        called("1", content=""),
        user("b"),
        ASSISTANT,
        user("c"),
        answered("1"),
    ],
    "an answer that nobody asked for": [user("a"), answered("7"), user("b")],
    "a call without an answer": [user("a"), called("1", content=""), user("b")],
    "two user messages after a barge-in": [user("讲个故事"), user("算了，放首歌")],
    "half an answer after a barge-in": [user("a"), {"role": "assistant", "content": "从前有"}],
    "who speaks, as JSON": [user('{"speaker": "小明", "content": "我是谁？"}')],
    "the example at the beginning": [],
}


@pytest.mark.parametrize("tools", [True, False])
@pytest.mark.parametrize("name", DIALOGUES)
async def test_a_strict_server_gets_what_it_takes(start: Start, name: str, tools: bool) -> None:
    router = await start(local=strict, cloud=strict)
    body = talk("今天出门好吗？", tools=tools)
    last = body["messages"].pop()
    ends_with_tool = DIALOGUES[name] and DIALOGUES[name][-1]["role"] == "tool"
    body["messages"] += DIALOGUES[name] + ([] if ends_with_tool else [last])
    for model in ("local", "cloud"):
        found = await stream(router.url, body | {"model": model})
        assert found.text == "好的，出门吧。"
    sent = [*router.local.calls, *router.cloud.calls]
    assert [fault_of(call.body["messages"]) for call in sent] == [""] * 2
    # What a person said has arrived, word for word.
    for message in DIALOGUES[name]:
        if message["role"] == "user":
            for call in sent:
                assert message["content"] in _texts(call.body["messages"])


def _texts(messages: list[Body]) -> str:
    return "\n".join(str(message.get("content")) for message in messages)


async def test_other_clients_get_the_refusal_of_a_strict_server(start: Start) -> None:
    router = await start(local=strict, cloud=strict)
    body = {"model": "auto", "stream": True, "messages": [user("a"), user("b")]}
    assert (await stream(router.url, body)).status == 400


async def test_a_clock_that_ticks_and_tools_in_another_order_change_the_end_alone(
    start: Start,
) -> None:
    """The prompt is asked anew with each minute, and the order of the tools with each start."""
    router = await start()
    first = talk()
    second = orjson.loads(orjson.dumps(first))
    second["messages"][0]["content"] = SYSTEM.replace("10:31", "10:32")
    second["messages"] += [ASSISTANT, user("那去哪里呢？")]
    second["tools"].reverse()
    for body in (first, second):
        assert (await stream(router.url, body)).text == "near"
    before, after = (call.body for call in router.local.calls)
    assert before["tools"] == after["tools"]
    assert after["messages"][: len(before["messages"])] == before["messages"]


async def test_tools_that_come_later_are_offered(start: Start) -> None:
    router = await start()
    body = talk()
    fewer = body | {"tools": body["tools"][1:]}
    for each in (fewer, body):
        await stream(router.url, each)
    assert [len(call.body["tools"]) for call in router.local.calls] == [2, 3]
