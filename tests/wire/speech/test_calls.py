"""What a talking device's server wants is told by its body, and other clients are left alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.words import ANSWER_TOOL, EXIT_TOOL, CallClass
from firsttoken.wire.dialect import ChatRequest
from firsttoken.wire.speech.calls import (
    HEAD_CHARS,
    MOST_TOOLS,
    capped,
    classify,
    few_shot_end,
    is_voice,
)

Messages = list[dict[str, Any]]


def tool(name: str, *parameters: str) -> dict[str, Any]:
    """Return a tool."""
    properties = {each: {"type": "string"} for each in parameters}
    schema = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def said(role: str, text: str | None) -> dict[str, Any]:
    """Return a message."""
    return {"role": role, "content": text}


def round_of(name: str, arguments: str = "{}") -> Messages:
    """Return what a model calls and what the tool answers."""
    function = {"name": name, "arguments": arguments}
    call = {"id": f"id-{name}", "type": "function", "index": 0, "function": function}
    answer = {"role": "tool", "tool_call_id": call["id"], "content": "ok"}
    return [{"role": "assistant", "tool_calls": [call]}, answer]


WEATHER = tool("get_weather", "city")
EXIT = tool(EXIT_TOOL, "say_goodbye")
ANSWER = tool(ANSWER_TOOL, "response")
SYSTEM = said("system", "You are a small owl. 🦉 你住在一棵老树里。")
TEMPLATE = said("system", "<identity>\n小猫头鹰\n</identity>\n<speaker_recognition>\n")
EXAMPLES: Messages = [
    said("user", "Sing me something"),
    *round_of(ANSWER_TOOL, '{"response": "La la"}'),
    said("user", "Good night"),
    *round_of(EXIT_TOOL, '{"say_goodbye": "Sleep well"}'),
    said("assistant", "Sleep well"),
]
HELLO = said("user", "你好，今天怎么样？")
MEMORY = said("system", "\n# 时空记忆编织者\n\n## …")
MEMORY_TEXT = said("system", "\n你是一个经验丰富的记忆总结者，…")
INTENT = said("system", "【格式】\n\n你是一个意图识别助手。…\n函数名: handle_exit_intent\n…")
GOODBYE = said("user", "请你以“时间过得真快”未来头，…")
LIMIT = said("user", "[系统提示] 已达到最大工具调用次数限制，…")
REPLY = said("user", "请根据以上内容，像人类一样说话的口吻回复用户，…用户现在说：几点了")


def request(messages: Messages, *tools: dict[str, Any], **fields: Any) -> ChatRequest:
    """Return a request."""
    return ChatRequest("auto", messages, stream=True, tools=list(tools), **fields)


VOICE = {
    "chat": (CallClass.CHAT, [SYSTEM, *EXAMPLES, HELLO], (WEATHER, EXIT, ANSWER)),
    "chat, interrupted": (
        CallClass.CHAT,
        [SYSTEM, *EXAMPLES, HELLO, *round_of("get_weather")],
        (WEATHER, EXIT, ANSWER),
    ),
    "chat without tools": (CallClass.CHAT, [TEMPLATE, HELLO], ()),
    "chat with a context of its own": (
        CallClass.CHAT,
        [SYSTEM, *EXAMPLES, said("system", "<context>"), said("user", "当前时间：10:32"), HELLO],
        (WEATHER, EXIT, ANSWER),
    ),
    "after a tool": (
        CallClass.AFTER_TOOL,
        [SYSTEM, *EXAMPLES, HELLO, *round_of("get_weather")],
        (WEATHER, EXIT),
    ),
    "after a tool, examples only": (
        CallClass.AFTER_TOOL,
        [SYSTEM, *EXAMPLES, HELLO, *round_of("get_weather")],
        (WEATHER,),
    ),
    "after many tools": (
        CallClass.AFTER_TOOL,
        [SYSTEM, *EXAMPLES, HELLO, *round_of("get_weather"), LIMIT],
        (),
    ),
    "the result in other words": (CallClass.AFTER_TOOL, [said("system", "10:32"), REPLY], ()),
    "goodbye": (CallClass.GOODBYE, [SYSTEM, *EXAMPLES, GOODBYE], (WEATHER, EXIT, ANSWER)),
    "goodbye without tools": (CallClass.GOODBYE, [SYSTEM, HELLO, GOODBYE], ()),
    "intent": (CallClass.INTENT, [INTENT, HELLO], ()),
    "summary": (CallClass.SUMMARY, [MEMORY, HELLO], ()),
    "summary in plain text": (CallClass.SUMMARY, [MEMORY_TEXT, HELLO], ()),
}


@pytest.mark.parametrize("name", VOICE)
def test_every_call_of_a_voice_server_is_known(name: str) -> None:
    call, messages, tools = VOICE[name]
    asked = request(messages, *tools)
    assert is_voice(asked)
    assert classify(asked) is call


OTHERS = {
    "nothing": request([]),
    "a question": request([HELLO]),
    "a chat": request([SYSTEM, HELLO, said("assistant", "好"), HELLO]),
    "tools": request([SYSTEM, HELLO], WEATHER),
    "after a tool": request([SYSTEM, HELLO, *round_of("get_weather")], WEATHER),
    "a tool of the same name": request([SYSTEM, HELLO], tool(ANSWER_TOOL, "answer")),
    "another that recognises intents": request([said("system", "你是一个意图识别助手。"), HELLO]),
    "somebody who speaks of it": request([SYSTEM, said("user", "时空记忆编织者 是什么？")]),
    "an essay": request([said("user", "请你以“时间过得真快”为题写一篇作文")]),
    "a quotation": request([SYSTEM, said("user", "他说：" + str(GOODBYE["content"]))]),
    "a mark too far away": request([said("system", "x" * HEAD_CHARS + "<speaker_recognition>")]),
    "too many tools": request([HELLO], ANSWER, *[WEATHER] * MOST_TOOLS),
    "a conversation that ends": request([SYSTEM, said("user", "拜拜"), *round_of(EXIT_TOOL)]),
    "odd content": request(
        [{"role": "system", "content": [{"type": "image_url"}]}, {"role": "user", "content": [1]}],
        {"type": "function"},
        {"function": {"name": ANSWER_TOOL, "parameters": []}},
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_clients_are_left_alone(name: str) -> None:
    assert not is_voice(OTHERS[name])


def test_of_others_only_the_shape_is_told() -> None:
    assert classify(OTHERS["after a tool"]) is CallClass.AFTER_TOOL
    assert classify(OTHERS["a chat"]) is CallClass.OTHER


def test_text_in_parts_is_text() -> None:
    parts = [{"type": "text", "text": str(MEMORY["content"])}]
    assert classify(request([{"role": "system", "content": parts}, HELLO])) is CallClass.SUMMARY


def test_the_example_conversation_is_known_by_its_shape() -> None:
    first = EXAMPLES[:3]
    assert few_shot_end([SYSTEM, *EXAMPLES, HELLO]) == 8
    assert few_shot_end([SYSTEM, *first, HELLO]) == 4
    assert few_shot_end([*EXAMPLES, HELLO]) == 7
    assert few_shot_end([SYSTEM, *first, *first, *EXAMPLES, HELLO]) == 14
    assert few_shot_end([SYSTEM, HELLO, said("assistant", "好"), *EXAMPLES]) == 0
    # What a person said first and then meant as a goodbye is no example.
    assert few_shot_end([SYSTEM, said("user", "拜拜"), *round_of(EXIT_TOOL), HELLO]) == 0
    assert few_shot_end([SYSTEM, HELLO, *round_of("get_weather"), HELLO]) == 0
    assert few_shot_end([]) == 0


def test_an_intent_is_short() -> None:
    asked = request([INTENT, HELLO], max_tokens=500)
    assert capped(asked, CallClass.INTENT).max_tokens == 128
    assert capped(request([INTENT]), CallClass.INTENT).max_tokens == 128
    assert capped(request([INTENT], max_tokens=20), CallClass.INTENT).max_tokens == 20
    for call in set(CallClass) - {CallClass.INTENT}:
        assert capped(asked, call) is asked


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.sampled_from([ANSWER_TOOL, "tool"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "tool_calls", "function", "name", "parameters", "properties"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional={"content": ANYTHING, "tool_calls": ANYTHING},
)


@given(st.lists(MESSAGE, max_size=5), st.lists(ANYTHING, max_size=3))
def test_anything_at_all_is_some_call(messages: Messages, tools: list[Any]) -> None:
    asked = ChatRequest("auto", messages, stream=True, tools=tools)
    is_voice(asked)
    assert classify(asked) in CallClass
    assert 0 <= few_shot_end(messages) <= len(messages)
