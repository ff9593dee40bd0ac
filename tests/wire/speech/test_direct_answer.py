"""What a model says through its tool is read out of the JSON, wherever that is cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.wire.events import Text, ToolArgument
from firsttoken.wire.speech.direct_answer import (
    ANSWERS,
    HELD_CHARACTERS,
    DirectAnswer,
    ResponseReader,
)
from tests.wire.speech.talk import call, closed, cut_at, cuts, spoken, unicode_text, was_cut

READ = {
    '{"response": "你好，😀 I am 小智。"}': "你好，😀 I am 小智。",
    '{"response":"a"}': "a",
    ' {\n "response" : "a"\n } ': "a",
    '{"response": "\\u4f60\\u597d \\ud83d\\ude00!"}': "你好 😀!",
    '{"response": "a\\n\\t\\"b\\" \\\\ \\/ \\b\\f\\r"}': 'a\n\t"b" \\ / \b\f\r',
    '{"response": "\\ud83d x \\ude00 \\ud83d\\u0041 \\ud83d"}': "\ufffd x \ufffd \ufffdA \ufffd",
    '{"response": "\\x \\u12 ok"}': "x u12 ok",
    '{"response": "他说"好"。\n走吧"}': '他说"好"。\n走吧',
    '{"emotion": "happy, \\"{\\"", "n": -1.5e3, "b": true, "response": "好", "x": "y"}': "好",
    '{"response": ""}': "",
    '{"list": ["response"], "response": "好"}': "好",
    '{"text": "好的"}': "好的",
    '"好的"': "好的",
    "好的，没问题": "好的，没问题",
    '{"a": "x", "b": "y"}': "",
    '{"response": 5}': "",
    "{}": "",
    "": "",
    '{"resp': "",
    '{"response": "没说完': "没说完",
    '{"response": "没说完\\': "没说完",
    '{"response": "没说完\\ud83d\\ud': "没说完",
    '{"response": "说完了"': "说完了",
    '{"response": "好"} {"response": "again"}': "好",
}


def read(pieces: list[str]) -> str:
    reader = ResponseReader()
    return "".join([*map(reader.feed, pieces), reader.close()])


@pytest.mark.parametrize("raw", READ)
def test_a_response_is_read_wherever_it_is_cut(raw: str) -> None:
    for pieces in cuts(raw):
        assert read(pieces) == READ[raw], pieces


def test_text_comes_as_soon_as_it_is_known() -> None:
    reader = ResponseReader()
    assert [reader.feed(piece) for piece in ('{"response": "', "你", "好\\", "n", '"')] == [
        "",
        "你",
        "好",
        "\n",
        "",
    ]
    assert not reader.ended
    assert reader.feed("}") == ""
    assert reader.ended


def test_what_is_held_back_is_bounded() -> None:
    reader = ResponseReader()
    reader.feed('{"x": "' + "a" * HELD_CHARACTERS)
    assert reader.ended
    assert reader.close() == ""
    for pieces in (['{"response": "好"' + " " * 300 + "x"], ['{"response": "好"', *" " * 300, "x"]):
        assert read(pieces) == "好"
    many = [event for n in range(99) for event in call("direct_answer", ['{"response": "好"}'], n)]
    assert spoken(closed(DirectAnswer(), many)) == "好" * ANSWERS


@given(text=unicode_text, ascii=st.booleans(), places=st.lists(st.integers(0, 200), max_size=8))
def test_any_text_survives_any_pieces(text: str, ascii: bool, places: list[int]) -> None:  # noqa: A002
    raw = json.dumps({"response": text}, ensure_ascii=ascii)
    assert read(cut_at(raw, places)) == text


raws = st.lists(
    st.sampled_from(
        ['{"response": "', '"', "\\", "u", "d83d", "\\ude00", "{", "}", ",", ":", "好"]
    ),
    max_size=12,
).map("".join)


@given(raw=raws, places=st.lists(st.integers(0, 60), max_size=6))
def test_broken_json_reads_the_same_in_any_pieces(raw: str, places: list[int]) -> None:
    assert read(cut_at(raw, places)) == read([raw])


def test_calls_of_the_tool_become_text_and_others_go_past() -> None:
    other = call("get_weather", ['{"city": "杭州"}'], index=1)
    answer = call("direct_answer", ['{"resp', 'onse": "好', '的。"', "}"])
    events = closed(DirectAnswer(), [*answer, *other])
    assert spoken(events) == "好的。"
    assert [event for event in events if not isinstance(event, Text)] == other


def test_an_answer_in_one_piece_becomes_text_at_once() -> None:
    event = ToolArgument(7, 0, "a", "direct_answer", '{"response": "好的。"}')
    assert DirectAnswer().feed(event) == (Text(7, "好的。"),)


def test_a_cut_says_what_has_come() -> None:
    assert spoken(was_cut(DirectAnswer(), call("direct_answer", ['{"response": "好的\\u4f']))) == (
        "好的"
    )
