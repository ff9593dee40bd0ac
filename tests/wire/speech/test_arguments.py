"""Calls are given whole, and answers as they come, in JSON that a voice server can read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firsttoken.wire.events import Event, ToolArgument
from firsttoken.wire.speech.arguments import (
    CALLS,
    HELD_CHARACTERS,
    PIECE_CHARACTERS,
    START,
    Arguments,
)
from tests.wire.speech.talk import (
    call,
    calls,
    closed,
    cut_at,
    cuts,
    fed,
    named,
    unicode_text,
    was_cut,
)

WHOLE = '{"response": "好"}'
WEATHER = '{"city": "杭州 😀", "days": [1, {"a": "}"}]}'


def arguments(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, ToolArgument)]


def test_a_call_is_given_whole_with_its_id_and_name_first() -> None:
    for pieces in cuts(WEATHER):
        events = fed(Arguments(), call("get_weather", pieces))
        assert events == call("get_weather", [WEATHER]), pieces


SLIPS: dict[str, Any] = {
    "": {},
    "  ": {},
    "{}": {},
    '{"a": 1': {"a": 1},
    '{"a": [1, {"b": "}"': {"a": [1, {"b": "}"}]},
    '"{\\"a\\": 1}"': {"a": 1},
    '{"a": 1}\n': {"a": 1},
}


@pytest.mark.parametrize("text", SLIPS)
def test_slips_are_mended_at_the_end(text: str) -> None:
    assert named(closed(Arguments(), call("set_volume", [text]))) == [("set_volume", SLIPS[text])]


@pytest.mark.parametrize("text", ['{"a": "x', '{"a": ', "[1]", "5", "null", "{'a': 1}", "\\"])
def test_what_cannot_be_mended_is_dropped(text: str) -> None:
    assert closed(Arguments(), call("set_volume", [text])) == []


def test_a_cut_never_gives_half_a_call() -> None:
    for end in range(len(WEATHER) + 1):
        given = calls(was_cut(Arguments(), call("get_weather", [WEATHER[:end]])))
        assert [each.arguments for each in given] == [WEATHER] * (end == len(WEATHER))


def test_an_empty_object_waits_for_more() -> None:
    events = call("get_weather", ["{}", WEATHER])
    assert calls(closed(Arguments(), events)) == []
    first = call("get_weather", ["{}"])
    assert fed(Arguments(), first) == []
    assert named(fed(Arguments(), [*first, *call("set_volume", [""], 1, "b")])) == [
        ("get_weather", {})
    ]


def test_calls_that_alternate_are_kept_apart() -> None:
    a, b = (
        call("get_weather", ['{"a"', ": 1}"], 0, "a"),
        call("set_volume", ['{"b"', ": 2}"], 1, "b"),
    )
    mixed = [event for pair in zip(a, b, strict=True) for event in pair]
    assert named(closed(Arguments(), mixed)) == [
        ("get_weather", {"a": 1}),
        ("set_volume", {"b": 2}),
    ]


def test_what_follows_a_whole_call_is_dropped() -> None:
    assert named(closed(Arguments(), call("set_volume", ['{"a": 1}', "}", "x"]))) == [
        ("set_volume", {"a": 1})
    ]


ANSWERS = [
    "好",
    "你好，我是小智。😀 How are you?",
    'a "b" \\ \n\t\x01 </x>',
    "\u2028 👨‍👩‍👧 e\u0301",
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("form", ["plain", "escaped", "spaced"])
def test_an_answer_is_written_anew_in_small_pieces(answer: str, form: str) -> None:
    raw = json.dumps({"response": answer}, ensure_ascii=form == "escaped", indent=2)
    if form == "spaced":
        raw = json.dumps({"mood": "ok", "response": answer}, separators=(" , ", ":"))
    for pieces in cuts(raw):
        events = fed(Arguments(), call("direct_answer", pieces))
        sent = arguments(events)
        assert json.loads("".join(sent)) == {"response": answer}
        assert sent[0] == ""
        assert sent[1].startswith(START)
        check_pieces(sent)


def check_pieces(sent: list[str]) -> None:
    """Check that what was sent reads as JSON after every piece, and grows in small steps."""
    said = ""
    joined = ""
    for piece in sent[1:]:
        joined += piece
        now = json.loads(joined if joined.endswith('"}') and piece == '"}' else joined + '"}')
        assert now["response"].startswith(said)
        assert len(now["response"]) - len(said) <= PIECE_CHARACTERS
        said = now["response"]


def test_an_answer_is_given_as_it_comes() -> None:
    part = Arguments()
    part.feed(call("direct_answer", [])[0])
    sent = [
        arguments(list(part.feed(ToolArgument(0, 0, "", "", p))))
        for p in ('{"response":"', "你", "好。")
    ]
    assert sent == [[], ["", START + "你"], ["好。"]]


@pytest.mark.parametrize(
    "raw", ['{"response": "还没说完', '{"response": "还没说完\\u12', '{"text": "还没说完"']
)
def test_an_answer_that_is_not_finished_is_finished(raw: str) -> None:
    wanted = [] if raw.startswith('{"text') else [("direct_answer", {"response": "还没说完"})]
    assert named(closed(Arguments(), call("direct_answer", [raw]))) == wanted


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ('{"response": "今天天', "今天天。"),
        ('{"response": "It will be', "It will be."),
        ('{"response": "好了。', "好了。"),
        ('{"response": "好了！😀', "好了！😀"),
        ('{"response": "一二三"}', "一二三"),
    ],
)
def test_a_cut_finishes_the_sentence(raw: str, said: str) -> None:
    for pieces in cuts(raw):
        events = was_cut(Arguments(), call("direct_answer", pieces))
        assert named(events) == [("direct_answer", {"response": said})]


@pytest.mark.parametrize("raw", ["", "{", '{"response": "', '{"response": ""}'])
def test_an_answer_that_says_nothing_is_dropped(raw: str) -> None:
    assert closed(Arguments(), call("direct_answer", [raw])) == []
    assert was_cut(Arguments(), call("direct_answer", [raw])) == []


def test_a_name_may_come_after_the_arguments() -> None:
    late = [
        ToolArgument(0, 0, "a", "", '{"response": "好'),
        ToolArgument(0, 0, "", "direct_answer", '"}'),
    ]
    assert named(closed(Arguments(), late)) == [("direct_answer", {"response": "好"})]
    assert closed(Arguments(), [ToolArgument(0, 0, "a", "", "{}")]) == []


def test_what_is_held_back_is_bounded() -> None:
    part = Arguments()
    long = call("get_weather", ['{"a": "', "x" * HELD_CHARACTERS, '"}'])
    assert closed(part, long) == []
    many = [
        event for n in range(2 * CALLS) for event in call("get_weather", ['{"a": 1}'], n, str(n))
    ]
    assert len(calls(closed(Arguments(), many))) == CALLS


@given(
    text=unicode_text.filter(bool),
    places=st.lists(st.integers(0, 200), max_size=8),
    end=st.integers(0, 200),
)
def test_any_answer_in_any_pieces_is_valid_json_wherever_it_is_cut(
    text: str, places: list[int], end: int
) -> None:
    raw = json.dumps({"response": text})
    assert named(closed(Arguments(), call("direct_answer", cut_at(raw, places)))) == [
        ("direct_answer", {"response": text})
    ]
    for _, said in named(was_cut(Arguments(), call("direct_answer", cut_at(raw[:end], places)))):
        assert said["response"].rstrip("。.")[:end] in text


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | unicode_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(unicode_text, inner, max_size=3),
    max_leaves=6,
)


@given(
    value=st.dictionaries(unicode_text, values, min_size=1, max_size=3),
    places=st.lists(st.integers(0, 300), max_size=6),
)
def test_any_call_in_any_pieces_comes_whole(value: dict[str, Any], places: list[int]) -> None:
    raw = json.dumps(value, ensure_ascii=False)
    assert named(closed(Arguments(), call("f", cut_at(raw, places)))) == [("f", value)]
