"""Thinking is never said, wherever its markers are cut; all other text is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.wire.events import Event, Reasoning, Text
from firsttoken.wire.speech.thinking import BLANK_CHARACTERS, Thinking
from tests.wire.speech.talk import (
    SPEECH,
    closed,
    cut_at,
    cuts,
    fed,
    spoken,
    texts,
    unicode_text,
    was_cut,
)

WITH_THINKING = {
    "<think>嗯，用户问好</think>\n\n你好！😀": "你好！😀",
    "<think></think>Hi.": "Hi.",
    "<thinking>Let me see < 3</thinking>  Yes, sure.": "Yes, sure.",
    "\n <think>\n想\n</think>\n好。": "好。",
    "好，<think>再想想</think>那就去吧。": "好，那就去吧。",
    "<think>一</think> <think>二</think> 三": "三",
    "<think>a</thinking></think>b": "b",
    "<think>永远想下去": "",
    "我想一想<think>没有结束 </thin": "我想一想",
    "</think>\n\n你好": "你好",
    "\n</think> ok": "ok",
    "a</think> b": "ab",
    "<think>x</think>\n": "",
    "<<think>x</think>y": "<y",
}


@pytest.mark.parametrize("text", WITH_THINKING)
def test_blocks_are_not_said_wherever_they_are_cut(text: str) -> None:
    for pieces in cuts(text):
        assert spoken(closed(Thinking(), texts(pieces))) == WITH_THINKING[text], pieces


@pytest.mark.parametrize("text", [*SPEECH, " \n你好", "<think", "a </thin"])
def test_other_text_is_said_as_it_came(text: str) -> None:
    for pieces in cuts(text):
        assert spoken(closed(Thinking(), texts(pieces))) == text


def test_reasoning_is_dropped() -> None:
    events: list[Event] = [Reasoning(0, "hm"), Text(1, "好"), Reasoning(2, "hm")]
    assert fed(Thinking(), events) == [Text(1, "好")]


def test_text_without_markers_is_not_held_back() -> None:
    part = Thinking()
    for event in texts("你好，1 + 1 = 2。"):
        assert part.feed(event) == (event,)


@pytest.mark.parametrize("text", WITH_THINKING)
def test_a_cut_says_nothing_of_a_block_and_no_half_marker(text: str) -> None:
    for end in range(len(text)):
        said = spoken(was_cut(Thinking(), texts([text[:end]])))
        assert WITH_THINKING[text].startswith(said)


def test_what_is_held_back_is_bounded() -> None:
    part = Thinking()
    blank = "\n" * (BLANK_CHARACTERS + 1)
    for pieces in ([blank], list(blank)):
        assert spoken(fed(Thinking(), texts(pieces))) == blank
    long = ["<think>", *["想" * 1000] * 100, "</think>好"]
    assert spoken(closed(part, texts(long))) == "好"


fragments = st.sampled_from(
    ["<think>", "</think>", "<thinking>", "</thinking>", "<", "think", ">", " ", "\n", "好", "a"]
)
replies = st.lists(fragments | unicode_text, max_size=12).map("".join)


@given(text=replies, places=st.lists(st.integers(0, 200), max_size=8))
def test_what_is_said_does_not_depend_on_the_pieces(text: str, places: list[int]) -> None:
    whole = spoken(closed(Thinking(), texts([text])))
    assert spoken(closed(Thinking(), texts(cut_at(text, places)))) == whole


@given(text=unicode_text, places=st.lists(st.integers(0, 40), max_size=8))
def test_nothing_is_lost_where_nothing_matches(text: str, places: list[int]) -> None:
    assert spoken(closed(Thinking(), texts(cut_at(text, places)))) == text
