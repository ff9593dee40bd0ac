"""Tool calls written as text become tool calls, wherever the text is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.wire.events import Event, Text, ToolArgument
from firsttoken.wire.speech.tool_text import HELD_CHARACTERS, ToolText
from tests.wire.speech.talk import (
    SPEECH,
    closed,
    cut_at,
    cuts,
    named,
    spoken,
    texts,
    unicode_text,
    was_cut,
)

NAMES = ("get_weather", "set_volume", "direct_answer")
WEATHER = ("get_weather", {"city": "杭州"})
VOLUME = ("set_volume", {"level": 5})
WEATHER_JSON = '{"name": "get_weather", "arguments": {"city": "杭州"}}'
VOLUME_JSON = '{"name":"set_volume","parameters":{"level":5}}'

WRITTEN: dict[str, tuple[str, list[tuple[str, Any]]]] = {
    f"<tool_call>{WEATHER_JSON}</tool_call>": ("", [WEATHER]),
    f"<tool_call>\n{WEATHER_JSON}\n</tool_call>\n": ("", [WEATHER]),
    f"好的，我看看😀\n<tool_call>{VOLUME_JSON}</tool_call>\n稍等。": (
        "好的，我看看😀\n稍等。",
        [VOLUME],
    ),
    f"<tool_call>{WEATHER_JSON}</tool_call>\n<tool_call>{VOLUME_JSON}</tool_call>": (
        "",
        [WEATHER, VOLUME],
    ),
    f"<tool_call>{WEATHER_JSON}": ("", [WEATHER]),
    f"<tool_call>{WEATHER_JSON}\n</tool_": ("", [WEATHER]),
    f"<tool_call>{WEATHER_JSON}\n<tool_call>{VOLUME_JSON}": ("", [WEATHER, VOLUME]),
    f"<tool_call>```json\n{WEATHER_JSON}\n```</tool_call>": ("", [WEATHER]),
    f"<tool_call>\n```\n{VOLUME_JSON}```\n</tool_call>": ("", [VOLUME]),
    f"<tool_call>[{WEATHER_JSON}, {VOLUME_JSON}]</tool_call>": ("", [WEATHER, VOLUME]),
    f"<tool_call>{WEATHER_JSON}\n{VOLUME_JSON}</tool_call>": ("", [WEATHER, VOLUME]),
    f"<tool_call>{WEATHER_JSON[:-1]}</tool_call>": ("", [WEATHER]),
    f"<tool_call>{WEATHER_JSON}}}</tool_call>": ("", [WEATHER]),
    '<tool_call>{"type": "function", "function": ' + VOLUME_JSON + "}</tool_call>": (
        "",
        [VOLUME],
    ),
    '<tool_call>{"name": "set_volume", "arguments": "{\\"level\\": 5}"}</tool_call>': (
        "",
        [VOLUME],
    ),
    '<tool_call>{"name": "get_weather"}</tool_call>': ("", [("get_weather", {})]),
    '<tool_call>{"arguments": {"level": 5}, "name": "set_volume"}</tool_call>': ("", [VOLUME]),
    '好<tool_call>{"name": "rm_rf", "arguments": {}}</tool_call> 吧': ("好吧", []),
    '好<tool_call>{"name": "get_weather", "argum</tool_call>吧': ("好吧", []),
    '好<tool_call>{"name": "get_weather", "arguments": [1]}</tool_call>吧': ("好吧", []),
    '好<tool_call>{"name": "get_weather", "arguments": "杭州"}</tool_call>吧': ("好吧", []),
    '好<tool_call>{"name": "get_weather", "arguments": {"a": ' + "[" * 300 + "]" * 300 + "}}": (
        "好",
        [],
    ),
    '好<tool_call>{"name": "get_weather", "arguments": ' + "[" * 5000: ("好", []),
    '好<tool_call>{"name": "get_weather", "arguments": {"city": "杭': ("好", []),
}


def run(pieces: list[str], *, stream_answer: bool = False) -> list[Event]:
    return closed(ToolText(NAMES, stream_answer=stream_answer), texts(pieces))


@pytest.mark.parametrize("text", WRITTEN)
def test_written_calls_become_calls_wherever_they_are_cut(text: str) -> None:
    for pieces in cuts(text) if len(text) < 200 else [[text], list(text)]:
        events = run(pieces)
        assert (spoken(events), named(events)) == WRITTEN[text], pieces


UNTOUCHED = [
    *SPEECH,
    "<tool_call>不是工具</tool_call>好",
    "see <tool_call> in the manual",
    "<tool_call></tool_call>",
    "<tool_call>{1, 2}</tool_call>",
    "a</tool_call>b",
    '<tool_call>[1, "x"]</tool_call>',
    '{"name": "get_weather", "arguments": {}}',
]


@pytest.mark.parametrize("text", UNTOUCHED)
def test_what_is_no_call_is_given_back_as_it_came(text: str) -> None:
    for pieces in cuts(text):
        events = run(pieces)
        assert spoken(events) == text
        assert named(events) == []


ANSWER = "今天晴，😀 a<b。"
ANSWERS = [
    '<tool_call>{"name": "direct_answer", "arguments": {"response": "%s"}}</tool_call>',
    '<tool_call>\n```json\n{"name":"direct_answer","parameters":{"response":"%s"}}\n```',
]


@pytest.mark.parametrize("form", ANSWERS)
def test_an_answer_is_given_while_it_comes(form: str) -> None:
    text = form % ANSWER
    for pieces in cuts(text):
        events = run(pieces, stream_answer=True)
        joined = "".join(event.text for event in events if isinstance(event, ToolArgument))
        assert joined.startswith('{"response":')
        assert json.JSONDecoder().raw_decode(joined)[0] == {"response": ANSWER}
        assert spoken(events) == ""
    half = ToolText(NAMES, stream_answer=True)
    assert len(half.feed(Text(0, text[: text.index("晴")]))) == 2


def test_a_cut_gives_whole_calls_only() -> None:
    text = f"好。<tool_call>{WEATHER_JSON}</tool_call>\n<tool_call>{VOLUME_JSON}"
    first = text.index("}}") + 2
    for end in range(len(text) + 1):
        events = was_cut(ToolText(NAMES, stream_answer=False), texts([text[:end]]))
        assert spoken(events) == "好。"[:end]
        wanted = [WEATHER] if first <= end < len(text) else [WEATHER, VOLUME] * (end == len(text))
        assert named(events) == wanted


def test_text_without_markers_is_not_held_back() -> None:
    part = ToolText(NAMES, stream_answer=False)
    for event in texts("你好，1 + 1 = 2。"):
        assert part.feed(event) == (event,)


def test_what_is_held_back_is_bounded() -> None:
    part = ToolText(NAMES, stream_answer=False)
    long = "x" * HELD_CHARACTERS
    given = [
        *part.feed(Text(0, "<tool_call>")),
        *part.feed(Text(0, long)),
        *part.feed(Text(1, "y")),
    ]
    assert spoken(given) == "<tool_call>" + long + "y"


def test_a_call_too_long_to_be_held_back_is_not_said() -> None:
    head = '<tool_call>{"name": "get_weather", "arguments": {"city": "'
    pieces = [head, *["好" * 1000] * 20, '"}}</tool_', "call> 再见。"]
    events = run(pieces)
    assert spoken(events) == "再见。"
    assert named(events) == []


fragments = st.sampled_from(
    [
        "<tool_call>",
        "</tool_call>",
        WEATHER_JSON,
        VOLUME_JSON,
        "<",
        "```",
        "{",
        "}",
        " ",
        "\n",
        "好",
    ]
)
replies = st.lists(fragments | unicode_text, max_size=10).map("".join)


@given(text=replies, places=st.lists(st.integers(0, 400), max_size=8))
def test_what_comes_out_does_not_depend_on_the_pieces(text: str, places: list[int]) -> None:
    whole = run([text])
    cut = run(cut_at(text, places))
    assert (spoken(cut), named(cut)) == (spoken(whole), named(whole))


@given(text=unicode_text, places=st.lists(st.integers(0, 40), max_size=8))
def test_nothing_is_lost_where_nothing_matches(text: str, places: list[int]) -> None:
    assert spoken(run(cut_at(text, places))) == text
