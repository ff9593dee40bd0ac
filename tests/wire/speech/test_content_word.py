"""No text is exactly the word that stops a client."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.wire.events import Event, Text, ToolArgument
from firsttoken.wire.speech.content_word import ContentWord
from tests.wire.speech.talk import closed, fed, spoken, texts, was_cut


@pytest.mark.parametrize(
    ("pieces", "given_on"),
    [
        (["content", " is king."], ["content is king."]),
        (["The ", "content", " is", " new."], ["The ", "content is", " new."]),
        (["content", "content", "content"], ["contentcontent", "con", "tent"]),
        (["content"], ["con", "tent"]),
        (["contents", "Content", " content", "con", "tent"],) * 2,
        (["内容", "content", "。"], ["内容", "content。"]),
    ],
)
def test_the_word_alone_is_joined_with_its_neighbour(
    pieces: list[str], given_on: list[str]
) -> None:
    events = closed(ContentWord(), texts(pieces))
    assert [event.text for event in events if isinstance(event, Text)] == given_on


def test_it_is_said_before_a_tool_call_that_follows() -> None:
    call = ToolArgument(1, 0, "a", "get_weather", "{}")
    assert fed(ContentWord(), [Text(0, "content"), call])[-1] is call
    assert spoken(fed(ContentWord(), [Text(0, "content"), call])) == "content"


def test_a_cut_says_it() -> None:
    assert spoken(was_cut(ContentWord(), texts(["The ", "content"]))) == "The content"


@given(st.lists(st.sampled_from(["content", "a", "好", "con", "tent"]), max_size=12))
def test_nothing_is_lost_and_the_word_never_stands_alone(pieces: list[str]) -> None:
    events: list[Event] = closed(ContentWord(), texts(pieces))
    assert spoken(events) == "".join(pieces)
    assert all(event.text != "content" for event in events if isinstance(event, Text))
