"""Replayed replies: the same words in three shapes, at the pace that they were recorded at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from firsttoken.core.errors import UserError
from firsttoken.upstreams.replayed import (
    ONE_SHOT,
    STREAMED,
    Recorded,
    Replayed,
    read,
    write,
)
from firsttoken.upstreams.script import Head, Request, Whole
from firsttoken.wire import dialects
from firsttoken.wire.events import End, Event, Text, ToolArgument

REPLY = Recorded("hi", ("好呀，", 'a "b"\n', "😊"), (0.1, 0.15, 0.25), 0.2)
TOOL = {"type": "function", "function": {"name": "direct_answer", "parameters": {}}}


def played(model: str, *, tools: bool, said: str = "hi") -> tuple[list[tuple[float, Event]], int]:
    """Return the events of a reply, each with its time in seconds, and the status."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": said}]}
    if tools:
        body["tools"] = [TOOL]
    request = Request("POST", "/v1/chat/completions", "", {}, json.dumps(body).encode(), 0)
    reader = dialects.get("openai").reader()
    events: list[tuple[float, Event]] = []
    now_s = 0.0
    for step in Replayed([REPLY]).answer(request):
        if isinstance(step, Whole):
            return events, step.status
        if isinstance(step, float):
            now_s += step
        elif isinstance(step, bytes):
            events += [(round(now_s, 6), event) for event in reader.feed(step, 0)]
        else:
            assert isinstance(step, Head)
    return events, 200


def arguments(events: list[tuple[float, Event]]) -> list[tuple[float, str]]:
    return [(at, event.text) for at, event in events if isinstance(event, ToolArgument)]


@pytest.mark.parametrize("model", [STREAMED, ONE_SHOT])
def test_without_the_tool_the_words_are_text_at_their_own_pace(model: str) -> None:
    events, _ = played(model, tools=False)
    said = [(at, event.text) for at, event in events if isinstance(event, Text)]
    assert said == list(zip(REPLY.after_s, REPLY.pieces, strict=True))
    assert isinstance(events[-1][1], End)


def test_streamed_the_frame_of_the_call_comes_first_and_costs_time() -> None:
    events, _ = played(STREAMED, tools=True)
    found = arguments(events)
    assert json.loads("".join(text for _, text in found)) == {"response": "".join(REPLY.pieces)}
    assert found[0] == (0.1, "")
    assert [at for at, text in found if text] == [0.3, 0.3, 0.35, 0.45, 0.45]


def test_one_shot_the_whole_call_comes_at_the_end() -> None:
    events, _ = played(ONE_SHOT, tools=True)
    ((at, text),) = arguments(events)
    assert at == 0.45
    assert json.loads(text) == {"response": "".join(REPLY.pieces)}


def test_what_was_not_recorded_is_refused() -> None:
    assert played(STREAMED, tools=True, said="who") == ([], 404)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "replies.json"
    write(path, [REPLY])
    assert read(path) == [REPLY]
    path.write_text("[{}]", encoding="utf-8")
    with pytest.raises(UserError, match="cannot read the replies"):
        read(path)
