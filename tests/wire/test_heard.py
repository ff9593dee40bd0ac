"""When a device begins to speak a reply, and when it falls silent within."""

from __future__ import annotations

import json

import pytest

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.words import ErrorType
from firsttoken.wire.events import End, Event, Failure, Reasoning, Role, Text, ToolArgument
from firsttoken.wire.heard import MAX_CALLS, Heard
from firsttoken.wire.speaking import CHINESE_PER_SECOND

ANSWER = "😊你好，今天天气不错。再见！"
END = End(0, "stop")


def s(seconds: float) -> int:
    return int(seconds * NS_PER_S)


def listen(*said: tuple[float, Event]) -> Heard:
    heard = Heard()
    for seconds, event in said:
        heard.note([event], s(seconds))
    return heard


def call(text: str, name: str = "", index: int = 0) -> ToolArgument:
    return ToolArgument(0, index, "", name, text)


def test_stamps_of_the_first_character_and_the_first_sentence() -> None:
    heard = listen(
        (0.1, Role(0, "assistant")),
        (0.2, Reasoning(0, "他说你好。")),
        (0.3, Text(0, "😊！")),
        (0.4, Text(0, "你")),
        (0.5, Text(0, "好，")),
        (0.6, Text(0, "再见")),
        (0.7, END),
    )
    assert heard.first_speakable_ns == s(0.4)
    assert heard.first_sentence_ns == s(0.5)
    assert (heard.segments, heard.stutters, heard.called_tool) == (2, 0, False)


def test_english_of_full_stops_is_heard_at_the_end() -> None:
    heard = listen((1.0, Text(0, "It is. Fine.")), (2.0, Text(0, " Go on.")), (3.0, END))
    assert (heard.first_speakable_ns, heard.first_sentence_ns) == (s(1.0), s(3.0))
    assert heard.segments == 1


def test_silence_is_the_time_from_the_last_word_to_the_next_segment() -> None:
    spoken_s = 9 / CHINESE_PER_SECOND
    heard = listen(
        (1.0, Text(0, "一二三四五六七八九，")),
        (1.5, Text(0, "一二三四五六七八九。")),
        # The device speaks until 1 + 2 * 2 s; then it has nothing to say for 0.25 s.
        (1.0 + 2 * spoken_s + 0.25, Text(0, "一二三四五六七八九。")),
        (1.0 + 3 * spoken_s + 0.25, Text(0, "一。")),
        (10.0, Text(0, "一。")),
        (10.0, END),
    )
    assert heard.segments == 5
    assert heard.stutters == 2
    second_s = 10.0 - (1.0 + 3 * spoken_s + 0.25 + 1 / CHINESE_PER_SECOND)
    assert heard.longest_gap_ns == pytest.approx(s(second_s), abs=10)
    assert heard.total_gap_ns == pytest.approx(s(0.25 + second_s), abs=10)


def test_segments_of_one_read_are_spoken_one_after_the_other() -> None:
    heard = listen((1.0, Text(0, "一二三四五六七八九，一二三四五六七八九。")), (4.9, END))
    heard.note([Text(0, "好。")], s(4.9))
    assert heard.stutters == 0


@pytest.mark.parametrize("dump", [json.dumps, lambda value: json.dumps(value, ensure_ascii=False)])
def test_an_answer_in_tool_arguments_is_heard_wherever_it_is_cut(dump: object) -> None:
    arguments = dump({"response": ANSWER})  # type: ignore[operator]
    plain = listen((1.0, Text(0, ANSWER)), (1.0, END))
    for size in (1, 2, 3, 5, len(arguments)):
        heard = Heard()
        said = heard.note([call("", "direct_answer")], s(1.0))
        for place in range(0, len(arguments), size):
            said += heard.note([call(arguments[place : place + size])], s(1.0))
        said += heard.note([END], s(1.0))
        assert said == ANSWER
        assert heard.segments == plain.segments == 3
        assert heard.first_sentence_ns == plain.first_sentence_ns == s(1.0)
        assert not heard.called_tool


def test_the_first_sentence_of_an_answer_comes_before_its_arguments_end() -> None:
    heard = Heard()
    heard.note([call('{"response": "你', "direct_answer")], s(0.1))
    heard.note([call("好，今")], s(0.2))
    heard.note([call('天。"}')], s(0.3))
    assert (heard.first_speakable_ns, heard.first_sentence_ns) == (s(0.1), s(0.2))


def test_other_tools_are_not_heard() -> None:
    heard = Heard()
    assert heard.note([call('{"city": "杭州，"}', "get_weather", 0)], s(0.1)) == ""
    heard.note([call('{"response": "好的，', "direct_answer", 1)], s(0.2))
    assert heard.note([call("去。", index=1), call("杭州", index=0)], s(0.3)) == "去。"
    assert heard.called_tool
    assert heard.first_speakable_ns == s(0.2)


def test_calls_without_a_name_or_without_an_end_are_bounded() -> None:
    heard = Heard()
    assert heard.note([call("杭州，", "", 3)], s(0.1)) == ""
    for index in range(10, 10 + 2 * MAX_CALLS):
        heard.note([call('{"response": "好。', "direct_answer", index)], s(0.1))
    assert heard.segments == MAX_CALLS


def test_a_reply_that_breaks_off_has_no_last_segment() -> None:
    failure = Failure(0, ErrorType.PROTOCOL, "cut", None)
    heard = listen((0.1, Text(0, "好，今天")), (0.2, failure))
    assert heard.segments == 1
    silent = listen((0.1, Text(0, "今天")), (0.2, failure))
    assert silent.first_sentence_ns is None
