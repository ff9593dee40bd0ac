"""Probabilities of tokens, read from a stream; they change nothing else that is read."""

from __future__ import annotations

from math import inf
from typing import Any

import orjson
import pytest

from firsttoken.wire.dialects import DIALECTS, get
from firsttoken.wire.events import End, Event, Probabilities, Role, Text, is_token
from firsttoken.wire.replies import collect
from tests.wire.samples import IDENTITY, read, read_capture, unstamped


def candidate(token: str, logprob: object) -> dict[str, Any]:
    return {"token": token, "bytes": list(token.encode()), "logprob": logprob}


def token(text: str, logprob: object, *others: object) -> dict[str, Any]:
    return {**candidate(text, logprob), "top_logprobs": list(others)}


def openai_frame(logprobs: object, **delta: object) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": None}
    return b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n"


def openai_events(content: object, /, **delta: object) -> list[Event]:
    reader = get("openai").reader()
    return unstamped(reader.feed(openai_frame({"content": content}, **delta), 0))


def ollama_events(logprobs: object, /, **line: object) -> list[Event]:
    body = {"message": {"role": "assistant", **line}, "logprobs": logprobs, "done": False}
    return unstamped(get("ollama").reader().feed(orjson.dumps(body) + b"\n", 0))


def test_llamacpp_gives_them_before_each_text() -> None:
    events = read_capture("llamacpp_logprobs.sse")
    assert [type(event) for event in events[:5]] == [Role, Probabilities, Text, Probabilities, Text]
    assert events[1] == Probabilities(0, (-0.5439180135726929,), (-2.393794298171997,))
    assert not any(is_token(event) for event in events if isinstance(event, Probabilities))
    assert [e for e in events if is_token(e)] == [e for e in events if isinstance(e, Text)]


@pytest.mark.parametrize("events_of", [openai_events, ollama_events])
def test_one_entry_a_token(events_of: Any) -> None:
    content = [
        token("Paris", -0.25, candidate("Paris", -0.25), candidate("The", -2)),
        token("?", -3, candidate("!", -0.5), candidate(".", -1.5)),
        token("x", 0, candidate("x", 0)),
        {"token": "y", "logprob": -1},
    ]
    assert events_of(content, content="Paris?xy") == [
        Probabilities(0, (-0.25, -3.0, 0.0, -1.0), (-2.0, -0.5, None, None)),
        Text(0, "Paris?xy"),
    ]


@pytest.mark.parametrize("impossible", [None, -9999, -9999.0, -1e300, -(10**18)])
def test_a_token_that_could_not_be(impossible: object) -> None:
    (event, _) = openai_events(
        [token("a", impossible, candidate("b", -1), candidate("c", impossible))], content="a"
    )
    assert event == Probabilities(0, (-inf,), (-1.0,))


def test_llamacpp_names_a_candidate_by_its_last_byte() -> None:
    chosen = {"token": "天", "bytes": [229, 164, 169], "logprob": -0.5}
    same, other = ({"token": "\ufffd", "bytes": [byte]} for byte in (169, 143))
    top = [{**same, "logprob": -0.5}, {**other, "logprob": -1.5}]
    (event, _) = openai_events([{**chosen, "top_logprobs": top}], content="天")
    assert event == Probabilities(0, (-0.5,), (-1.5,))


def test_two_equal_candidates_and_a_rounded_one() -> None:
    tie = token("a", -0.7, candidate("b", -0.7), candidate("a", -0.7))
    rounded = token("a", -0.25, candidate("a", -0.2500001), candidate("b", -3))
    (event, _) = openai_events([tie, rounded], content="aa")
    assert event == Probabilities(0, (-0.7, -0.25), (-0.7, -3.0))


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        "text",
        [None],
        [[]],
        [{}],
        [{"logprob": "x"}],
        [{"logprob": True}],
        [{"logprob": 0.7}],
        [{"logprob": -1}, {"token": "no number"}],
    ],
)
def test_malformed_ones_are_left_out(content: object) -> None:
    assert openai_events(content, content="a") == [Text(0, "a")]
    assert ollama_events(content, content="a") == [Text(0, "a")]
    assert openai_events(content, role="assistant") == [Role(0, "assistant")]


@pytest.mark.parametrize("others", [None, {}, [None, {}, {"logprob": "x"}, {"logprob": True}]])
def test_malformed_candidates_are_left_out(others: object) -> None:
    item = {**candidate("a", -0.001), "top_logprobs": others}
    assert openai_events([item], content="a")[0] == Probabilities(0, (-0.001,), (None,))


def test_a_rounded_logarithm_above_zero_is_zero() -> None:
    assert openai_events([token("a", 1e-7)], content="a")[0] == Probabilities(0, (0.0,), (None,))


def test_a_frame_with_nothing_else_is_still_empty() -> None:
    expected = [Probabilities(0, (-1.0,), (None,)), Role(0, "")]
    assert openai_events([token("\ufffd", -1)], content="") == expected


def test_of_a_whole_reply() -> None:
    content = [token("Hi", -0.5), token("!", -1)]
    choice = {"message": {"content": "Hi!"}, "logprobs": {"content": content}}
    body = {"choices": [{**choice, "finish_reason": "stop"}]}
    events = get("openai").read_reply(orjson.dumps(body), 0)
    assert events[0] == Probabilities(0, (-0.5, -1.0), (None, None))
    line = {"message": {"content": "Hi!"}, "logprobs": content, "done": True}
    assert get("ollama").read_reply(orjson.dumps(line), 0)[0] == events[0]


@pytest.mark.parametrize("name", DIALECTS)
def test_writers_have_no_form_for_them(name: str) -> None:
    said: list[Event] = [Probabilities(0, (-0.5,), (None,)), Text(0, "Hi"), End(0, "stop")]
    with_them, without = (get(name).writer(IDENTITY, include_usage=False) for _ in range(2))
    assert with_them.write(said[0]) == b""
    pieces = [with_them.write(event) for event in said]
    assert pieces == [b"", *(without.write(event) for event in said[1:])]
    assert collect(read(get(name).reader(), pieces)).text == "Hi"
    assert get(name).write_reply(IDENTITY, said) == get(name).write_reply(IDENTITY, said[1:])
