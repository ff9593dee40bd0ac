"""Reading OpenAI streams: real captures of llama.cpp, and what other servers send."""

from __future__ import annotations

import time

import orjson
import pytest

from firsttoken.core.words import ErrorType
from firsttoken.wire.dialects import get
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
from firsttoken.wire.replies import collect
from tests.wire.samples import read, read_capture, unstamped, whole

OPENAI = get("openai")
DONE = b"data: [DONE]\n\n"


def chunk(delta: object, finish: object = None, **more: object) -> bytes:
    body = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}
    return b"data: " + orjson.dumps(body) + b"\n\n"


def events_of(*pieces: bytes) -> list[Event]:
    return unstamped(read(OPENAI.reader(), pieces))


def test_llamacpp_english() -> None:
    events = read_capture("llamacpp_english.sse")
    assert events[0] == Role(0, "assistant")
    assert events[1] == Text(0, "The")
    reply = collect(events)
    assert reply.text.startswith("The sea is a vast")
    assert reply.usage == Usage(0, 38, 0, 24)
    assert reply.timings == Timings(0, None, 121.503, 200.73)
    assert events[-1] == End(0, "length")


def test_llamacpp_chinese_and_emoji() -> None:
    events = read_capture("llamacpp_chinese.sse")
    # This stream has no role frame at all: the first frame is text.
    assert events[0] == Text(0, "😊")
    assert collect(events).text.startswith("😊你好，今天天气很好！")


def test_llamacpp_usage_and_progress() -> None:
    reply = collect(read_capture("llamacpp_timings.sse"))
    assert reply.usage == Usage(0, 40, 24, 16)
    assert reply.timings == Timings(0, None, 53.785, 119.796)
    early = read_capture("llamacpp_timings.sse")[:4]
    assert [type(event) for event in early[:2]] == [Role, Role]


def test_vllm_metrics() -> None:
    metrics = {
        "time_to_first_token_ms": 85.25,
        "generation_time_ms": 1240.5,
        "queue_time_ms": 12.5,
        "mean_itl_ms": 9.1,
        "tokens_per_second": 103.2,
    }
    usage = {"prompt_tokens": 42, "completion_tokens": 3}
    last = orjson.dumps({"choices": [], "usage": usage, "metrics": metrics})
    events = events_of(
        chunk({"content": "Hi"}),
        chunk({}, "stop"),
        b"data: " + last + b"\n\n",
        b"data: [DONE]\n\n",
    )
    assert events == [
        Text(0, "Hi"),
        Usage(0, 42, None, 3),
        Timings(0, None, 85.25, 1240.5, 12.5),
        End(0, "stop"),
    ]


@pytest.mark.parametrize(
    "metrics",
    [None, {}, [], "fast", {"queue_time_ms": None, "time_to_first_token_ms": None}],
)
def test_metrics_that_tell_nothing(metrics: object) -> None:
    events = events_of(chunk({"content": "Hi"}, "stop", metrics=metrics), b"data: [DONE]\n\n")
    assert events == [Text(0, "Hi"), End(0, "stop")]


def test_vllm_metrics_of_a_whole_reply() -> None:
    body = {
        "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 42, "completion_tokens": 1},
        "metrics": {"time_to_first_token_ms": 85.25, "queue_time_ms": -1, "generation_time_ms": 2},
    }
    reply = collect(OPENAI.read_reply(orjson.dumps(body), 7))
    assert reply.timings == Timings(7, None, 85.25, 2.0)


def test_llamacpp_tool_call() -> None:
    events = read_capture("llamacpp_tools.sse")
    assert [e.name for e in events if isinstance(e, ToolArgument)][:2] == ["get_weather", ""]
    (call,) = collect(events).tool_calls
    assert call.name == "get_weather"
    assert orjson.loads(call.arguments) == {"city": "Beijing"}
    assert events[-1] == End(0, "tool_calls")


def test_whole_replies() -> None:
    events = OPENAI.read_reply(whole("llamacpp_whole.json"), 7)
    assert [type(event) for event in events] == [Text, Usage, Timings, End]
    assert {event.t_ns for event in events} == {7}
    (call,) = collect(OPENAI.read_reply(whole("llamacpp_tools_whole.json"), 0)).tool_calls
    assert (call.name, call.arguments) == ("get_weather", '{"city": "Beijing"}')
    assert OPENAI.read_reply(b'{"choices":[{"message":{"content":""}}]}', 1) == [
        Role(1, "assistant"),
        End(1, ""),
    ]


@pytest.mark.parametrize(
    ("delta", "event"),
    [
        ({}, Role(0, "")),
        (None, Role(0, "")),
        ({"role": "assistant"}, Role(0, "assistant")),
        ({"role": "assistant", "content": ""}, Role(0, "assistant")),
        ({"role": "assistant", "content": None}, Role(0, "assistant")),
        ({"content": "好"}, Text(0, "好")),
        ({"role": "assistant", "content": "好"}, Text(0, "好")),
        ({"reasoning_content": "想"}, Reasoning(0, "想")),
        ({"reasoning": "想"}, Reasoning(0, "想")),
        ({"reasoning": "想", "reasoning_content": "想"}, Reasoning(0, "想")),
        ({"reasoning_content": "想", "content": ""}, Reasoning(0, "想")),
        ({"tool_calls": [], "content": ""}, Role(0, "")),
        ({"tool_calls": [{"function": None}]}, Role(0, "")),
        ({"tool_calls": [{"index": None, "function": {"arguments": "x"}}]}, None),
    ],
)
def test_deltas(delta: object, event: Event | None) -> None:
    expected = event or ToolArgument(0, 0, "", "", "x")
    assert events_of(chunk(delta), DONE) == [expected, End(0, "")]


def fragments(*calls: object) -> list[tuple[int, str, str, str]]:
    events = events_of(*(chunk({"tool_calls": [call]}) for call in calls), DONE)
    return [event[1:] for event in events if isinstance(event, ToolArgument)]


def test_tool_call_numbers() -> None:
    first = {"id": "a", "function": {"name": "f", "arguments": "{"}}
    more = {"function": {"arguments": "}"}}
    second = {"id": "b", "function": {"name": "g", "arguments": {"x": 1}}}
    joined = [(0, "a", "f", "{"), (0, "", "", "}"), (1, "b", "g", '{"x":1}')]
    assert fragments(first, more, second) == joined
    # All calls with index 0, as older Ollama sends them.
    numbered = [{"index": 0, **call} for call in (first, more, second)]
    assert fragments(*numbered) == joined
    # Id and name repeated with every fragment.
    again = {"id": "a", "function": {"name": "f", "arguments": "}"}}
    assert fragments(first, again, second) == joined
    assert fragments({"index": 3, **first}, {"index": 3, **more}) == [
        (3, "a", "f", "{"),
        (3, "", "", "}"),
    ]
    # Several in one frame.
    events = events_of(chunk({"tool_calls": [first, second]}), DONE)
    assert [event.index for event in events if isinstance(event, ToolArgument)] == [0, 1]


def test_counts_on_the_finish_chunk_or_after_it_or_with_every_chunk() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    expected = [Text(0, "a"), Usage(0, 5, None, 2), End(0, "stop")]
    assert events_of(chunk({"content": "a"}), chunk({}, "stop", usage=usage), DONE) == expected
    last = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}\n\n'
    assert events_of(chunk({"content": "a"}), chunk({}, "stop", usage=None), last, DONE) == expected
    so_far = {"prompt_tokens": 5, "completion_tokens": 1}
    assert (
        events_of(chunk({"content": "a"}, usage=so_far), chunk({}, "stop"), last, DONE) == expected
    )


def test_counts_have_the_stamp_of_their_own_frame() -> None:
    reader = OPENAI.reader()
    reader.feed(chunk({}, "stop", usage={"prompt_tokens": 5}), 10)
    assert reader.feed(DONE, 20) == [Usage(10, 5, None, None), End(20, "stop")]


def test_cached_tokens_of_the_timings_where_usage_lacks_them() -> None:
    timings = {"cache_n": 24, "prompt_n": 7, "predicted_n": 3, "prompt_ms": 1.5}
    only = events_of(chunk({}, "stop", timings=timings), DONE)
    assert only == [Usage(0, 31, 24, 3), Timings(0, None, 1.5, None), End(0, "stop")]
    both = events_of(chunk({}, "stop", timings=timings, usage={"prompt_tokens": 40}), DONE)
    assert both[0] == Usage(0, 40, 24, 3)


@pytest.mark.parametrize("wrong", [-1, 2**31, 1.5, "5", True, None, [1]])
def test_wrong_counts_are_unknown_and_end_nothing(wrong: object) -> None:
    usage = {"prompt_tokens": wrong, "prompt_tokens_details": wrong}
    events = events_of(chunk({}, "stop", usage=usage), DONE)
    assert events == [Usage(0, None, None, None), End(0, "stop")]


@pytest.mark.parametrize(
    ("frame", "error_type", "status"),
    [
        (b'data: {"error":{"message":"m","code":400}}', ErrorType.HTTP_4XX, 400),
        (b'data: {"error":{"message":"m","code":429}}', ErrorType.RATE_LIMITED, 429),
        (b'data: {"error":{"message":"m","code":"401"}}', ErrorType.AUTH, 401),
        (b'data: {"error":{"message":"m","type":"invalid_api_key"}}', ErrorType.AUTH, None),
        (b'data: {"error":{"message":"m","type":"server_error"}}', ErrorType.HTTP_5XX, None),
        (b'data: {"error":{"message":"m","code":503}}', ErrorType.HTTP_5XX, 503),
        (b'data: {"error":{"message":"m"}}', ErrorType.PROTOCOL, None),
        (b'data: {"error":"m"}', ErrorType.PROTOCOL, None),
        (b'data: {"object":"error","message":"m","code":500}', ErrorType.HTTP_5XX, 500),
        (b'event: error\ndata: {"message":"m"}', ErrorType.PROTOCOL, None),
        (b"event: error\ndata: m", ErrorType.PROTOCOL, None),
        (b'error: {"code":500,"message":"m","type":"server_error"}', ErrorType.HTTP_5XX, 500),
        (
            b'error: {"code":400,"message":"m","type":"exceed_context_size_error"}',
            ErrorType.CONTEXT_OVERFLOW,
            400,
        ),
    ],
)
def test_errors_inside_the_stream(frame: bytes, error_type: ErrorType, status: int | None) -> None:
    events = events_of(chunk({"content": "a"}), frame + b"\n\n", DONE)
    assert events == [Text(0, "a"), Failure(0, error_type, "m", status)]


def test_a_prompt_that_is_too_long() -> None:
    (failure,) = OPENAI.read_reply(whole("llamacpp_too_long.json"), 0)
    assert isinstance(failure, Failure)
    assert (failure.error_type, failure.status) == (ErrorType.CONTEXT_OVERFLOW, 400)
    assert OPENAI.read_error(whole("llamacpp_too_long.json")).startswith("request (1567 tokens)")


def test_a_stream_without_done() -> None:
    assert events_of(chunk({"content": "a"}), chunk({}, "stop")) == [Text(0, "a"), End(0, "stop")]
    half = [chunk({"content": "a"}), chunk({}, "stop"), b"data: [DO"]
    assert events_of(*half)[-1] == End(0, "stop")
    (_, cut) = events_of(chunk({"content": "a"}))
    assert isinstance(cut, Failure)
    assert cut.error_type is ErrorType.PROTOCOL
    assert "cut" in cut.message


def test_a_cut_stream_still_gives_its_counts() -> None:
    events = events_of(chunk({"content": "a"}, usage={"prompt_tokens": 3}), b'data: {"choices":[{')
    assert [type(event) for event in events] == [Text, Usage, Failure]


@pytest.mark.parametrize(
    "frame",
    [
        b"data: {",
        b"data: 5",
        b"data: [DONE",
        b"data: null",
        b'data: {"choices":5}',
        b'data: {"choices":[5]}',
        b'data: {"choices":[{"delta":"x"}]}',
        b'data: {"choices":[{"delta":{"content":7}}]}',
        b'data: {"choices":[{"delta":{"tool_calls":[7]}}]}',
        b'data: {"choices":[{"delta":{"content":"\xff"}}]}',
        b'data: {"choices":[{"delta":{},"finish_reason":"error"}]}',
    ],
)
def test_frames_that_cannot_be_read(frame: bytes) -> None:
    (failure,) = events_of(frame + b"\n\n", chunk({"content": "a"}), DONE)
    assert isinstance(failure, Failure)
    assert failure.error_type is ErrorType.PROTOCOL


def test_other_choices_and_empty_data_are_passed_over() -> None:
    other = b'data: {"choices":[{"index":1,"delta":{"content":"b"}}]}\n\n'
    filter_results = b'data: {"choices":[],"prompt_filter_results":[]}\n\n'
    events = events_of(b"data:\n\n", filter_results, other, chunk({"content": "a"}), DONE)
    assert events == [Role(0, ""), Role(0, ""), Text(0, "a"), End(0, "")]


def test_a_frame_costs_microseconds() -> None:
    data = chunk({"content": "好"}, id="chatcmpl-1", model="qwen", created=1, object="x") * 1000

    def seconds() -> float:
        reader = OPENAI.reader()
        started = time.process_time()
        assert len(reader.feed(data, 0)) == 1000
        return time.process_time() - started

    # About 5 us a frame; the rest is for a slow and busy machine.
    assert min(seconds() for _ in range(5)) < 0.05
