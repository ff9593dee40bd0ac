"""Messages as strict upstreams take them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsttoken.wire import dialects
from router.voice.messages import NO_RESULT, repaired
from tests.router.voice.bodies import answer, assistant, body, call, user

Message = dict[str, Any]


def assert_strict(messages: list[Message]) -> None:
    """What strict upstreams ask for."""
    waiting: list[str] = []
    before: Message = {"role": ""}
    for message in messages:
        role = message["role"]
        assert message.get("content") is not None
        if role == "tool":
            assert message["tool_call_id"] == waiting.pop(0)
        else:
            assert not waiting
            assert role != before["role"] or role == "system"
        for each in message.get("tool_calls", ()):
            assert "index" not in each
            assert each["type"] == "function"
            waiting.append(each["id"])
        assert len(set(waiting)) == len(waiting)
        before = message
    assert not waiting


def test_a_conversation_without_fault_stays_the_same_list() -> None:
    messages = [user("你好"), assistant("hello 👋"), user("bye")]
    assert repaired(messages) is messages


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": ""}])
def test_a_call_without_content_gets_one(content: Message) -> None:
    found = repaired([user("a"), call("x", **content), answer("x"), user("b")])
    assert [message["content"] for message in found] == ["a", "", "fine", "b"]
    assert "index" not in found[1]["tool_calls"][0]


def test_answers_at_the_end_of_the_list_move_beside_their_calls() -> None:
    messages = [user("a"), call("x", "y"), user("b"), answer("y", "two"), answer("x", "one")]
    found = repaired(messages)
    assert [message["content"] for message in found] == ["a", "", "one", "two", "b"]


def test_a_call_that_nothing_answers_gets_an_answer() -> None:
    found = repaired([user("a"), call("x"), user("b")])
    assert found[2] == {"role": "tool", "tool_call_id": "x", "content": NO_RESULT}


def test_an_answer_that_nothing_asked_for_becomes_the_users() -> None:
    orphan = {"role": "tool", "content": "晴 25°", "name": "weather"}
    found = repaired([user("天气"), orphan, assistant("晴天"), user("谢谢")])
    assert found[0] == user("天气\n(weather: 晴 25°)")
    assert len(found) == 3
    assert repaired([user("a"), {"role": "tool", "content": None}, assistant("b")])[0] == user("a")


def test_an_answer_without_an_id_belongs_to_the_call_right_before() -> None:
    found = repaired([user("a"), call("x", "y"), {"role": "tool", "name": "y", "content": "why"}])
    assert [message["content"] for message in found[2:]] == [NO_RESULT, "why"]


def test_one_id_in_two_turns_is_two_calls() -> None:
    turn = [user("a"), call("x"), answer("x", "one"), assistant("b")]
    again = [user("c"), call("x"), answer("x", "two")]
    found = repaired([*turn, *again])
    assert [message["content"] for message in found if message["role"] == "tool"] == ["one", "two"]


def test_neighbours_of_one_speaker_are_joined_and_speakers_stay_as_written() -> None:
    spoken = '{"speaker":"张三","content":"你好"}'
    found = repaired([user(spoken), user("在吗"), assistant("我在"), assistant("请讲")])
    assert found == [user(f"{spoken}\n在吗"), assistant("我在\n请讲")]
    assert repaired([user(spoken)]) == [user(spoken)]


def test_pictures_and_text_are_joined_as_parts() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    found = repaired([{"role": "user", "content": [picture]}, user("what is it?")])
    assert found == [
        {"role": "user", "content": [picture, {"type": "text", "text": "what is it?"}]}
    ]


@pytest.mark.parametrize(
    ("arguments", "text"), [(None, "{}"), ({"a": 1}, '{"a":1}'), ('{"a":', "{}"), ("[]", "{}")]
)
def test_arguments_are_the_text_of_an_object(arguments: object, text: str) -> None:
    message = call("x")
    message["tool_calls"][0]["function"]["arguments"] = arguments
    assert repaired([user("a"), message])[1]["tool_calls"][0]["function"]["arguments"] == text


def test_a_body_of_the_other_provider_is_let_in() -> None:
    """It leaves the content of calls out."""
    request = body(user("a"), call("x"), answer("x"), call("y", content=None), answer("y"))
    assert_strict(repaired(request.messages))
    written = (
        b'{"messages":[{"role":"user","content":"a"},{"role":"tool","tool_call_id":"x",'
        b'"content":null},{"role":"assistant","tool_calls":[]},{"role":"user","content":"b"}]}'
    )
    assert repaired(dialects.get("openai").parse_request(written).messages) == [user("a\nb")]


_TEXT = st.sampled_from(["", "你好", "hello", "🙂", None])
_IDS = st.sampled_from(["x", "y", "z"])
_MESSAGES = st.one_of(
    st.builds(lambda text: user(text or "hm"), _TEXT),
    st.builds(lambda text: {"role": "assistant", "content": text}, _TEXT),
    st.builds(
        lambda names, text: call(*names, content=text),
        st.lists(_IDS, min_size=1, max_size=3),
        _TEXT,
    ),
    st.builds(lambda name, text: answer(name, text or ""), _IDS, _TEXT),
    st.builds(lambda text: {"role": "tool", "content": text}, _TEXT),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_MESSAGES, max_size=12))
def test_whatever_comes_is_strict_once_repaired(messages: list[Message]) -> None:
    first = user("start")
    before = copy.deepcopy(messages)
    found = repaired([first, *messages])
    assert_strict(found)
    assert repaired(found) == found
    assert messages == before
    said = "".join(str(each["content"]) for each in found if each["role"] == "user")
    assert all(each["content"] in said for each in messages if each["role"] == "user")
