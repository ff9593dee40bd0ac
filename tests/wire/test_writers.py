"""What is written in one dialect reads back the same, and so does a reply carried to another."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsttoken.core.words import ErrorType
from firsttoken.wire.dashscope_stream import DashScopeWriter
from firsttoken.wire.dialect import Writer
from firsttoken.wire.dialects import DIALECTS, get
from firsttoken.wire.events import (
    End,
    Event,
    Failure,
    Reasoning,
    Role,
    Text,
    Timings,
    ToolArgument,
    Usage,
)
from firsttoken.wire.faults import error_type
from firsttoken.wire.replies import Reply, collect
from tests.wire.samples import IDENTITY, STREAMS, read, read_capture, reader_of

TALK: list[Event] = [
    Role(0, "assistant"),
    Reasoning(0, "用户在问好"),
    Text(0, "😊"),
    Text(0, '你好，"朋友"\n'),
    Text(0, "再见。"),
    Usage(0, 30, None, 5),
    End(0, "stop"),
]
CALLS: list[Event] = [
    ToolArgument(0, 0, "call_a", "get_weather", ""),
    ToolArgument(0, 0, "", "", '{"city":'),
    ToolArgument(0, 0, "", "", '"北京"}'),
    ToolArgument(0, 1, "call_b", "get_time", "{}"),
    Usage(0, 30, None, 5),
    End(0, "tool_calls"),
]
PAIRS = list(product(DIALECTS, repeat=2))
CALLING_PAIRS = list(product(["openai", "ollama", "dashscope"], repeat=2))


def carried(writer: Writer, name: str, events: list[Event]) -> list[Event]:
    return read(get(name).reader(), [writer.write(event) for event in events])


def streamed(name: str, events: list[Event]) -> list[Event]:
    return carried(get(name).writer(IDENTITY, include_usage=True), name, events)


def said(events: list[Event]) -> Reply:
    """What was said, without stamps and engine timings, which not every dialect can carry."""
    reply = collect(events)
    usage = reply.usage._replace(t_ns=0) if reply.usage else None
    failure = reply.failure._replace(t_ns=0) if reply.failure else None
    return replace(reply, usage=usage, failure=failure, timings=None)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_talk_survives_every_pair(first: str, second: str) -> None:
    assert said(streamed(second, streamed(first, TALK))) == said(TALK)


@pytest.mark.parametrize(("first", "second"), CALLING_PAIRS)
def test_tool_calls_survive_every_pair(first: str, second: str) -> None:
    assert said(streamed(second, streamed(first, CALLS))) == said(CALLS)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_whole_replies_survive_every_pair(first: str, second: str) -> None:
    events = get(first).read_reply(get(first).write_reply(IDENTITY, TALK), 0)
    assert said(get(second).read_reply(get(second).write_reply(IDENTITY, events), 0)) == said(TALK)


@pytest.mark.parametrize("name", ["openai", "ollama", "dashscope"])
def test_whole_tool_calls(name: str) -> None:
    dialect = get(name)
    assert said(dialect.read_reply(dialect.write_reply(IDENTITY, CALLS), 0)) == said(CALLS)


@pytest.mark.parametrize(("name", "capture"), list(product(DIALECTS, STREAMS)))
def test_captures_carried_over(name: str, capture: str) -> None:
    events = read_capture(capture)
    before, after = said(events), said(streamed(name, events))
    assert (after.text, after.reasoning) == (before.text, before.reasoning)
    assert (after.failure is None) == (before.failure is None)
    if name != "ollama_generate":
        assert [(c.name, orjson.loads(c.arguments)) for c in after.tool_calls] == [
            (c.name, orjson.loads(c.arguments)) for c in before.tool_calls
        ]


@pytest.mark.parametrize("name", DIALECTS)
@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6))
def test_any_text_reads_back(name: str, pieces: list[str]) -> None:
    # DashScope's mode is found from the first two texts; a fixed first one leaves no doubt.
    events: list[Event] = [Text(0, text) for text in ["\x00first\x00", *pieces]]
    events.append(End(0, "stop"))
    assert collect(streamed(name, events)).text == "".join(["\x00first\x00", *pieces])


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("kind", list(ErrorType))
def test_failures_survive(name: str, kind: ErrorType) -> None:
    failure = Failure(0, kind, "它坏了", 500)
    events = streamed(name, [Text(0, "a"), failure])
    assert [event._replace(t_ns=0) for event in events] == [Text(0, "a"), failure]
    unknown = streamed(name, [failure._replace(status=None)])
    assert unknown == [failure._replace(status=None)]
    body = get(name).write_reply(IDENTITY, [Text(0, "a"), failure])
    assert said(get(name).read_reply(body, 0)).failure is not None


@pytest.mark.parametrize("name", DIALECTS)
def test_error_bodies(name: str) -> None:
    body = get(name).write_error(429, "rate_limited", "too many\nrequests \udcff")
    assert get(name).read_error(body) == "too many requests ?"
    assert error_type(429, body) is ErrorType.RATE_LIMITED


def test_openai_chunks() -> None:
    writer = get("openai").writer(IDENTITY, include_usage=True)
    pieces = [writer.write(event) for event in [*TALK[:-1], Timings(0, None, 5.0, 7.5), TALK[-1]]]
    lines = b"".join(pieces).decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    chunks = [orjson.loads(line.removeprefix("data: ")) for line in lines[:-2]]
    assert {(chunk["id"], chunk["model"], chunk["created"]) for chunk in chunks} == {
        ("reply-1", "qwen", 1_795_430_444)
    }
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert [delta.get("role") for delta in deltas] == ["assistant", *[None] * 5]
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 6
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-2]["timings"] == {"prompt_ms": 5.0, "predicted_ms": 7.5}
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 35


def test_openai_without_usage() -> None:
    writer = get("openai").writer(IDENTITY, include_usage=False)
    written = b"".join(writer.write(event) for event in TALK)
    assert b"usage" not in written
    assert written.endswith(b"data: [DONE]\n\n")


def test_openai_tool_call_shape() -> None:
    writer = get("openai").writer(IDENTITY, include_usage=False)
    calls = []
    for event in [ToolArgument(0, 0, "", "f", ""), ToolArgument(0, 0, "", "", "{}")]:
        chunk = orjson.loads(writer.write(event).removeprefix(b"data: "))
        calls += chunk["choices"][0]["delta"]["tool_calls"]
    # A client refuses a call without an id, and joins names that come twice.
    assert calls[0]["id"]
    assert calls[0]["function"] == {"name": "f", "arguments": ""}
    assert calls[1] == {"index": 0, "function": {"arguments": "{}"}}


def test_ollama_lines() -> None:
    writer = get("ollama").writer(IDENTITY, include_usage=False)
    timings = Timings(0, 1.5, 2.0, None)
    written = b"".join(writer.write(event) for event in [*TALK[:-1], timings, TALK[-1]])
    lines = [orjson.loads(line) for line in written.splitlines()]
    assert [line["done"] for line in lines] == [False] * 5 + [True]
    last = lines[-1]
    assert last["created_at"] == "2026-11-23T10:40:44Z"
    assert (last["load_duration"], last["prompt_eval_duration"]) == (1_500_000, 2_000_000)
    assert last["total_duration"] == 3_500_000
    assert (last["prompt_eval_count"], last["eval_count"], last["done_reason"]) == (30, 5, "stop")


def test_ollama_cannot_write_half_a_tool_call() -> None:
    events: list[Event] = [ToolArgument(0, 0, "a", "f", '{"x":'), End(0, "length")]
    assert isinstance(streamed("ollama", events)[-1], Failure)
    reply = get("ollama").read_reply(get("ollama").write_reply(IDENTITY, events), 0)
    assert isinstance(reply[-1], Failure)


@pytest.mark.parametrize("text_format", [True, False])
@pytest.mark.parametrize("cumulative", [True, False])
def test_dashscope_modes(cumulative: bool, text_format: bool) -> None:
    writer = DashScopeWriter(IDENTITY, cumulative=cumulative, text_format=text_format)
    reply = said(carried(writer, "dashscope", TALK))
    assert reply.text == said(TALK).text
    assert reply.usage == said(TALK).usage
    if not text_format:
        again = DashScopeWriter(IDENTITY, cumulative=cumulative)
        assert said(carried(again, "dashscope", CALLS)) == said(CALLS)


def test_dashscope_frames() -> None:
    writer = get("dashscope").writer(IDENTITY, include_usage=True)
    frame = writer.write(Text(0, "好"))
    assert frame.startswith(b"id:1\nevent:result\n:HTTP_STATUS/200\ndata:{")
    assert b'"finish_reason":"null"' in frame
    assert reader_of("dashscope_").feed(frame, 4) == [Text(4, "好")]
    assert writer.write(Timings(0, None, None, None)) == b""
