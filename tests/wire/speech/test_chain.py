"""A whole chain: what a device hears of replies that would otherwise stop it or be read aloud."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.core.words import ErrorType
from firsttoken.wire.events import (
    End,
    Event,
    Failure,
    Probabilities,
    Reasoning,
    Role,
    Text,
    Timings,
    ToolArgument,
    Usage,
)
from firsttoken.wire.speech.arguments import START
from firsttoken.wire.speech.chain import Chain
from firsttoken.wire.speech.closing import FINAL_MARKS
from tests.wire.speech.talk import (
    SPEECH,
    TOOLS,
    call,
    chain,
    check_numbered,
    cut_at,
    cuts,
    named,
    spoken,
    texts,
    through,
    unicode_text,
)

OFF: dict[str, bool] = dict.fromkeys(
    [
        "strip_thinking",
        "read_tool_text",
        "number_tools",
        "restream_arguments",
        "guard_content_word",
    ],
    False,
)
ANSWER = "今天杭州晴，二十度。😀 Enjoy!"
RAW = json.dumps({"response": ANSWER})
WRITTEN = '<tool_call>\n{"name": "direct_answer", "arguments": ' + RAW + "}\n</tool_call>"
WEATHER = ("get_weather", {"city": "杭州"})
WEATHER_RAW = json.dumps(WEATHER[1])
WRITTEN_WEATHER = '<tool_call>{"name": "get_weather", "arguments": ' + WEATHER_RAW + "}</tool_call>"


def heard(events: list[Event]) -> str:
    """Join what a device says, in the order in which it comes, and check that it can."""
    check_speakable(events)
    answers = {e.index for e in events if isinstance(e, ToolArgument) and e.name == "direct_answer"}
    said = "".join(
        e.text
        for e in events
        if isinstance(e, Text) or (isinstance(e, ToolArgument) and e.index in answers)
    )
    return said.replace(START, "").replace('"}', "")


def check_speakable(events: list[Event]) -> None:
    """Check what every device needs, whatever the backend sent."""
    check_numbered(events)
    assert not any(isinstance(event, Reasoning) for event in events)
    for event in events:
        if isinstance(event, Text):
            assert event.text not in ("", "content")
    for name, arguments in named(events):
        assert isinstance(arguments, dict)
        if name == "direct_answer":
            assert arguments["response"]


@pytest.mark.parametrize("unwrap", [False, True])
def test_an_answer_is_heard_however_it_comes(unwrap: bool) -> None:
    for form in (
        [call("direct_answer", pieces) for pieces in cuts(RAW)]
        + [call("direct_answer", [RAW], index=1)]
        + [texts(pieces) for pieces in cuts(WRITTEN)]
        + [[Reasoning(0, "想"), *texts(pieces)] for pieces in cuts(f"<think>嗯</think>{WRITTEN}")]
    ):
        events = through(chain(unwrap), form)
        if unwrap:
            assert spoken(events) == ANSWER
            assert named(events) == []
            assert events[-1] == End(99, "stop")
        else:
            assert spoken(events) == ""
            assert named(events) == [("direct_answer", {"response": ANSWER})]
            assert events[-1] == End(99, "tool_calls")
        check_speakable(events)


def test_an_answer_through_a_tool_that_was_not_offered_is_text() -> None:
    for tools in ([], [{"type": "function", "function": None}, {}, TOOLS[1]]):
        assert spoken(through(chain(tools=tools), call("direct_answer", [RAW]))) == ANSWER
        assert spoken(through(chain(tools=tools), texts([WRITTEN]))) == ANSWER


def test_written_calls_of_tools_that_were_not_offered_are_dropped() -> None:
    assert through(chain(tools=[]), texts([WRITTEN_WEATHER])) == [End(99, "stop")]


@pytest.mark.parametrize("unwrap", [False, True])
def test_calls_of_all_kinds_in_one_reply(unwrap: bool) -> None:
    events = through(
        chain(unwrap),
        [
            *texts(["<think>hm", "</think>好的", "content", "。", WRITTEN_WEATHER]),
            *call("direct_answer", [RAW], 1, "b"),
            *call("set_volume", ['{"level"', ": 5"], 2, "b"),
            *call("set_volume", ['{"level": "5'], 3, "c"),
        ],
    )
    check_speakable(events)
    volume = ("set_volume", {"level": 5})
    answer = ("direct_answer", {"response": ANSWER})
    assert named(events) == ([WEATHER, volume] if unwrap else [WEATHER, answer, volume])
    assert spoken(events) == ("好的content。" + ANSWER if unwrap else "好的content。")


@pytest.mark.parametrize("unwrap", [False, True])
@pytest.mark.parametrize("text", SPEECH)
def test_plain_text_is_heard_as_it_came(text: str, unwrap: bool) -> None:
    for pieces in cuts(text.replace("<think and ", "")):
        assert spoken(through(chain(unwrap), texts(pieces))) == "".join(pieces)


@pytest.mark.parametrize(
    ("tools_called", "reason", "told"),
    [
        (True, "stop", "tool_calls"),
        (True, "", "tool_calls"),
        (True, "length", "length"),
        (False, "tool_calls", "stop"),
        (False, "stop", "stop"),
        (False, "length", "length"),
        (False, "", ""),
    ],
)
def test_the_finish_reason_fits(tools_called: bool, reason: str, told: str) -> None:
    events = call("get_weather", [WEATHER_RAW]) if tools_called else texts(["好"])
    assert through(chain(), events, reason)[-1] == End(99, told)


def test_what_is_held_back_comes_before_the_end() -> None:
    usage, timings = Usage(5, 1, None, 2), Timings(5, None, 1.0, 2.0)
    role = Role(0, "assistant")
    made = chain().feed([role, *texts(["a <th", "in"]), usage, timings, End(6, "stop")])
    assert made == [role, Text(0, "a "), usage, timings, Text(6, "<thin"), End(6, "stop")]


def test_other_events_go_through_in_their_places() -> None:
    events: list[Event] = [
        Role(0, "assistant"),
        Probabilities(0, (-0.1,), (None,)),
        Text(0, "好"),
        Failure(1, ErrorType.PROTOCOL, "cut", None),
    ]
    assert chain().feed(events) == events


def test_after_the_end_nothing_comes() -> None:
    done = chain()
    assert done.feed([End(0, "stop"), Text(1, "more")]) == [End(0, "stop")]
    assert (done.feed(texts(["more"])), done.cut(3)) == ([], [])


def test_an_empty_chain_changes_nothing() -> None:
    events = [*texts(["<think>", "content"]), *call("f", ["{"]), End(9, "stop")]
    assert Chain([]).feed(events) == events


def test_what_is_switched_off_is_left_alone() -> None:
    events = [*texts(["<think>a</think>", "content"]), *call("f", ["{"], 3), End(9, "tool_calls")]
    assert chain(switches=OFF).feed(events) == events


def test_calls_made_out_of_text_are_always_numbered() -> None:
    switches = OFF | {"read_tool_text": True}
    events = through(chain(switches=switches), texts([WRITTEN_WEATHER, WRITTEN]))
    check_numbered(events)
    assert named(events) == [WEATHER, ("direct_answer", {"response": ANSWER})]
    assert spoken(through(chain(unwrap=True, switches=OFF), call("direct_answer", [RAW]))) == ANSWER


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        (["今天天气", "很好"], "今天天气很好。"),
        (["It is", " fine"], "It is fine."),
        (["好了。"], "好了。"),
        (["好了。", "😀"], "好了。😀"),
        (["好的", "content"], "好的content."),
        (["好<thi"], "好。"),
        (["好<think>想"], "好。"),
        (["好。<tool_call>{"], "好。"),
        (["<think>想"], ""),
        ([], ""),
    ],
)
def test_a_cut_finishes_the_sentence(pieces: list[str], said: str) -> None:
    broken = chain()
    events = [*broken.feed(texts(pieces)), *broken.cut(50)]
    assert spoken(events) == said
    assert events[-1] == End(50, "stop")
    assert (broken.feed(texts(["x"])), broken.cut(51)) == ([], [])


@pytest.mark.parametrize(
    "events", [call("get_weather", [WEATHER_RAW]), texts([WRITTEN_WEATHER]), texts([WRITTEN])]
)
def test_a_cut_after_a_whole_call_leaves_it_to_be_carried_out(events: list[Event]) -> None:
    broken = chain()
    made = [*broken.feed(events), *broken.cut(50)]
    assert len(named(made)) == 1
    assert made[-1] == End(50, "tool_calls")


def test_a_cut_in_half_a_call_calls_nothing() -> None:
    broken = chain()
    made = [*broken.feed([*texts(["好的"]), *call("get_weather", ['{"ci'])]), *broken.cut(50)]
    assert (named(made), made[-1]) == ([], End(50, "stop"))


FORMS: dict[str, list[Event]] = {
    "text": texts("我是小智，content 很好 < 3。Hello"),
    "thinking": texts("<think>嗯嗯</think>好的，没问题"),
    "answer": call("direct_answer", list(RAW)),
    "one-shot answer": call("direct_answer", [RAW]),
    "written answer": texts(WRITTEN),
    "written call": texts(f"我查一下{WRITTEN_WEATHER}"),
    "call": [*texts("我查一下"), *call("get_weather", list(WEATHER_RAW))],
}


@pytest.mark.parametrize("unwrap", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", ["cut", "length"])
def test_every_form_broken_off_anywhere_can_be_heard(form: str, unwrap: bool, end: str) -> None:
    events = FORMS[form]
    for place in range(len(events) + 1):
        broken = chain(unwrap)
        made = broken.feed(events[:place])
        said = heard(made) if unwrap else ""
        made += broken.cut(99) if end == "cut" else broken.feed([End(99, "length")])
        check_speakable(made)
        assert isinstance(made[-1], End)
        assert heard(made).startswith(said)
        if end == "cut" and any(map(str.isalnum, heard(made))) and not named(made):
            assert FINAL_MARKS & set(heard(made)[-3:])
        whole = [WEATHER] * (form in ("call", "written call"))
        assert [each for each in named(made) if each[0] != "direct_answer"] in ([], whole)


WRITTEN_CALLS = [WRITTEN, WRITTEN_WEATHER]
MARKS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "content", "<", "好，", " a. ", "😀"]
pieces = st.sampled_from([*MARKS, *WRITTEN_CALLS])
replies = st.lists(pieces | unicode_text, max_size=8).map("".join)


@given(text=replies, places=st.lists(st.integers(0, 600), max_size=8), unwrap=st.booleans())
def test_what_is_heard_does_not_depend_on_the_pieces(
    text: str, places: list[int], unwrap: bool
) -> None:
    def outcome(events: list[Event]) -> tuple[str, list[tuple[str, Any]], Event]:
        check_speakable(events)
        return spoken(events), named(events), events[-1]

    whole = outcome(through(chain(unwrap), texts([text])))
    assert outcome(through(chain(unwrap), texts(cut_at(text, places)))) == whole


@given(text=replies, end=st.integers(0, 600), unwrap=st.booleans())
def test_whatever_is_cut_can_be_heard(text: str, end: int, unwrap: bool) -> None:
    broken = chain(unwrap)
    check_speakable([*broken.feed(texts(text[:end])), *broken.cut(9)])
