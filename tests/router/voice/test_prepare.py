"""What backends are sent for the requests of talking devices."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from firsttoken.core.settings.backend import Backend
from firsttoken.core.settings.voice import Compact, Prefix, Voice
from firsttoken.core.words import CallClass, Tier
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest
from router.voice.clock import ClockMemory
from router.voice.prefix import in_order
from router.voice.prepare import prepare
from router.voice.thinking import without_thinking
from tests.router.voice.bodies import (
    FEW_SHOT,
    LOCAL,
    REMOTE,
    answer,
    assistant,
    body,
    call,
    user,
)

NOTHING = Voice(
    repair_messages=False,
    unwrap_direct_answer=False,
    disable_thinking=False,
    prefix=Prefix(sort_tools=False, clock="keep"),
)
SPEAKING = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {
            "id": "d",
            "type": "function",
            "function": {"name": "direct_answer", "arguments": '{"response": "😊好的"}'},
        }
    ],
}


def names(request: ChatRequest) -> list[str]:
    return [tool["function"]["name"] for tool in request.tools]


def prepared(
    request: ChatRequest,
    backend: Backend = LOCAL,
    voice: Voice = Voice(),  # noqa: B008 - it is frozen
    clocks: ClockMemory | None = None,
) -> ChatRequest:
    return prepare(
        request, backend, voice, CallClass.CHAT, ClockMemory() if clocks is None else clocks
    )


def test_without_switches_it_is_the_same_request() -> None:
    request = body(user("你好"), user("?"))
    assert prepared(request, voice=NOTHING) is request
    assert prepared(request, REMOTE, NOTHING) is request


@pytest.mark.parametrize("backend", [LOCAL, REMOTE])
@pytest.mark.parametrize("compact", [False, True])
def test_it_is_idempotent_and_changes_nothing_in_place(backend: Backend, compact: bool) -> None:
    request = body(user("weather?"), call("get_weather"), user("hello?"), shuffled=3)
    before = copy.deepcopy(request)
    voice = Voice(compact=Compact(enable=compact, remove=("(?s)<memory>.*</memory>",)))
    clocks = ClockMemory()
    once = prepared(request, backend, voice, clocks)
    assert request == before
    assert prepared(once, backend, voice, clocks) == once


def test_a_local_prompt_stays_the_same_from_minute_to_minute() -> None:
    clocks = ClockMemory()
    first = prepared(body(user("你好"), shuffled=1), clocks=clocks)
    later = body(user("你好"), assistant("在呢"), user("几点了"), clock="10:33", shuffled=2)
    second = prepared(later, clocks=clocks)
    assert second.tools == first.tools
    assert second.messages[: len(first.messages)] == first.messages
    assert second.messages[-1] == user("[10:33] 几点了")


def test_local_backends_are_not_told_of_the_tool_that_only_speaks() -> None:
    request = body(user("你好"))
    local, remote = prepared(request), prepared(request, REMOTE)
    assert "direct_answer" in names(remote)
    assert "direct_answer" not in names(local)
    assert [message["role"] for message in local.messages] == ["system", "user"]
    assert len(remote.messages) == len(FEW_SHOT) + 2


def test_what_was_said_through_it_later_becomes_text_and_real_results_stay() -> None:
    history = [
        user("讲个故事"),
        SPEAKING,
        answer("d", "told"),
        user("天气"),
        call("get_weather", content=""),
        answer("get_weather", "晴"),
    ]
    found = prepared(body(*history)).messages[1:]
    assert [(each["role"], each["content"]) for each in found] == [
        ("user", "讲个故事"),
        ("assistant", "😊好的"),
        ("user", "[10:32] 天气"),
        ("assistant", ""),
        ("tool", "晴"),
    ]
    assert found[3]["tool_calls"][0]["id"] == found[4]["tool_call_id"]


def test_a_choice_of_a_tool_goes_with_the_tool() -> None:
    request = body(user("hi"))
    only = [tool for tool in request.tools if tool["function"]["name"] == "direct_answer"]
    request = replace(request, tools=only, extra={"tool_choice": "auto", "user": "u"})
    assert dict(prepared(request, voice=Voice(disable_thinking=False)).extra) == {"user": "u"}


def test_a_compact_prompt_is_for_local_backends_only() -> None:
    voice = Voice(compact=Compact(enable=True, remove=("(?s)<limits>.*?</limits>",)))
    request = body(user("天气"), call("get_weather"), answer("get_weather", "晴 25°"))
    local = prepared(request, voice=voice)
    assert not local.tools
    assert "<limits>" not in local.messages[0]["content"]
    assert local.messages[1:] == [user("[10:32] 天气\n(get_weather: 晴 25°)")]
    remote = prepared(request, REMOTE, voice)
    assert "<limits>" in remote.messages[0]["content"]
    assert remote.tools


def test_programs_get_their_prompts_as_they_wrote_them() -> None:
    request = body(user("你好"))
    found = prepare(request, LOCAL, Voice(), CallClass.INTENT, ClockMemory())
    assert found.messages == request.messages or "10:32" in found.messages[0]["content"]


def test_tools_have_one_order_and_so_have_their_keys() -> None:
    tool: dict[str, Any] = {
        "function": {
            "parameters": {
                "required": ["b", "a"],
                "properties": {"type": {"type": "string"}, "b": {}, "a": {"enum": ["z", "y"]}},
                "type": "object",
            },
            "name": "x",
        },
        "type": "function",
    }
    (found,) = in_order([tool])
    assert found["function"]["parameters"]["required"] == ["a", "b"]
    assert list(found) == ["type", "function"]
    assert list(found["function"]["parameters"]["properties"]) == ["a", "b", "type"]
    assert found["function"]["parameters"]["properties"]["a"] == {"enum": ["z", "y"]}
    assert in_order([found, {"type": "function"}])[0] == {"type": "function"}


HOSTS = [
    ("https://dashscope.aliyuncs.com/compatible-mode", Tier.REMOTE, "openai", "enable_thinking"),
    ("https://api.deepseek.com", Tier.REMOTE, "openai", "thinking"),
    ("https://open.bigmodel.cn/api/paas/v4", Tier.REMOTE, "openai", "thinking"),
    ("https://ark.cn-beijing.volces.com", Tier.REMOTE, "openai", "thinking"),
    ("https://api.moonshot.cn", Tier.REMOTE, "openai", "thinking"),
    ("https://api.openai.com", Tier.REMOTE, "openai", None),
    ("https://notaliyuncs.com", Tier.REMOTE, "openai", None),
    ("http://127.0.0.1:11434", Tier.LOCAL, "ollama", "think"),
    ("http://127.0.0.1:8000", Tier.LOCAL, "openai", "chat_template_kwargs"),
    ("http://127.0.0.1:8000", Tier.REMOTE, "openai", None),
]


@pytest.mark.parametrize(("url", "tier", "dialect", "field"), HOSTS)
def test_each_upstream_is_told_in_its_own_words(
    url: str, tier: Tier, dialect: str, field: str | None
) -> None:
    backend = Backend("b", tier, url, dialect, "qwen3")
    found = without_thinking({}, backend, dialect)
    assert list(found) == ([field] if field else [])
    own = {"enable_thinking": True}
    assert without_thinking(own, backend, dialect) is own
    assert not without_thinking({}, replace(backend, model="qwq-32b"), dialect)
    call_of = dialects.get(dialect).build_request(
        ChatRequest("m", [user("hi")], stream=True, extra=found), None
    )
    assert field is None or field.encode() in call_of.body


def test_a_clients_own_template_values_stay() -> None:
    given = {"chat_template_kwargs": {"enable_thinking": True, "x": 1}}
    assert without_thinking(given, LOCAL, "openai") == given
    found = without_thinking({"chat_template_kwargs": {"x": 1}}, LOCAL, "openai")
    assert found["chat_template_kwargs"] == {"enable_thinking": False, "x": 1}
