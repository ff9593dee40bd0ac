"""Reading Ollama's and DashScope's own streams, built from their documentation."""

from __future__ import annotations

import orjson
import pytest

from firsttoken.core.words import ErrorType
from firsttoken.wire.dashscope_stream import DashScopeReader
from firsttoken.wire.dialects import get
from firsttoken.wire.events import End, Event, Failure, Reasoning, Role, Text, Timings, Usage
from firsttoken.wire.replies import ToolCall, collect
from tests.wire.samples import STREAMS, read, read_capture, unstamped

HELLO = "😊你好，我是通义千问。哈哈"


def test_ollama_chat() -> None:
    events = read_capture("ollama_chat_documented.ndjson")
    assert events[:3] == [Role(0, "assistant"), Text(0, "😊"), Text(0, "你好")]
    assert events[-3:] == [
        Usage(0, 26, None, 7),
        Timings(0, 1.334875, 342.546, 453.5747),
        End(0, "stop"),
    ]


def test_ollama_thinking_tools_and_generate() -> None:
    assert (
        collect(read_capture("ollama_chat_thinking_documented.ndjson")).reasoning == "用户在问好。"
    )
    tools = read_capture("ollama_chat_tools_documented.ndjson")
    assert collect(tools).tool_calls == [
        ToolCall("call_1", "get_weather", '{"city":"北京","days":2}'),
        ToolCall("", "direct_answer", '{"response":"好的😊"}'),
    ]
    assert tools[-1] == End(0, "tool_calls")
    # The last line has no line end: the closed connection completes it.
    generated = read_capture("ollama_generate_documented.ndjson")
    assert collect(generated).text == "The sky 是蓝色的🙂"
    assert generated[-1] == End(1, "length")


@pytest.mark.parametrize(
    ("line", "error_type", "message"),
    [
        (b'{"error":"it broke"}', ErrorType.PROTOCOL, "it broke"),
        (b'{"error":{"message":"it broke"}}', ErrorType.PROTOCOL, "it broke"),
        (b'{"error":"late","status_code":503}', ErrorType.HTTP_5XX, "late"),
        (
            b'{"error":"the input length exceeds the context length"}',
            ErrorType.CONTEXT_OVERFLOW,
            "the input length exceeds the context length",
        ),
        (b'{"done":1}', ErrorType.PROTOCOL, "cut"),
        (b'{"message":5}', ErrorType.PROTOCOL, "message"),
        (b'{"message":{"content":5}}', ErrorType.PROTOCOL, "content"),
        (b"not json", ErrorType.PROTOCOL, "not JSON"),
    ],
)
def test_ollama_failures(line: bytes, error_type: ErrorType, message: str) -> None:
    first = b'{"message":{"content":"a"},"done":false}\n'
    events = read(get("ollama").reader(), [first, line + b"\n"])
    failure = events[-1]
    assert events[0] == Text(0, "a")
    assert isinstance(failure, Failure)
    assert failure.error_type is error_type
    assert message in failure.message


def test_ollama_loads_a_model() -> None:
    line = b'{"message":{"role":"assistant","content":""},"done_reason":"load","done":true}'
    assert get("ollama").read_reply(line, 3) == [Role(3, "assistant"), End(3, "load")]
    assert isinstance(get("ollama").read_reply(b'{"message":{"content":"a"}}', 3)[0], Failure)


@pytest.mark.parametrize(
    "name", [f"dashscope_{kind}_documented.sse" for kind in ("incremental", "cumulative", "text")]
)
def test_dashscope_gives_the_same_text_in_every_mode(name: str) -> None:
    events = read_capture(name)
    assert collect(events).text == HELLO
    assert [e.text for e in events if isinstance(e, Text)][:3] == ["😊", "你好", "，我是"]
    assert [type(event) for event in events[-2:]] == [Usage, End]
    assert sum(isinstance(event, Usage) for event in events) == 1


@pytest.mark.parametrize("kind", ["incremental", "cumulative"])
def test_dashscope_with_the_mode_given(kind: str) -> None:
    data = STREAMS[f"dashscope_{kind}_documented.sse"]
    events = read(DashScopeReader(cumulative=kind == "cumulative"), [data])
    assert events == read_capture(f"dashscope_{kind}_documented.sse")


def test_dashscope_thinking_tools_and_error() -> None:
    thinking = read_capture("dashscope_thinking_documented.sse")
    assert [e.text for e in thinking if isinstance(e, Reasoning)] == ["先想", "一想"]
    assert collect(thinking).text == "好的"
    (call,) = collect(read_capture("dashscope_tools_documented.sse")).tool_calls
    assert call == ToolCall("call_a1", "get_weather", '{"city": "杭州"}')
    failure = read_capture("dashscope_error_documented.sse")[-1]
    assert isinstance(failure, Failure)
    assert (failure.error_type, failure.status) == (ErrorType.RATE_LIMITED, 429)


def frames(*texts: str, field: str = "content", tokens: bool = True) -> list[bytes]:
    found = []
    for number, text in enumerate(texts):
        last = number == len(texts) - 1
        choice = {"message": {field: text}, "finish_reason": "stop" if last else "null"}
        body: dict[str, object] = {"output": {"choices": [choice]}}
        if tokens:
            body["usage"] = {"output_tokens": number + 1}
        found.append(b"data:" + orjson.dumps(body) + b"\n\n")
    return found


def texts_of(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Text | Reasoning)]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (("哈", "哈", "哈", ""), ["哈", "哈", "哈"]),
        (("你", "你好", "你好！", "你好！"), ["你", "好", "！"]),
        (("好", "好"), ["好"]),
        (("", "你", "你好", "你好"), ["你", "好"]),
        # A cumulative text that shrinks is ignored until it grows past what was given.
        (("你", "你好吗", "你好", "你好吗？", "你好吗？"), ["你", "好吗", "？"]),
        # A wrong guess ends with the first text that does not begin as the stream did.
        (("我", "我们", "好", ""), ["我", "们", "好"]),
    ],
)
@pytest.mark.parametrize("field", ["content", "reasoning_content"])
def test_finding_the_mode(sent: tuple[str, ...], expected: list[str], field: str) -> None:
    assert texts_of(read(get("dashscope").reader(), frames(*sent, field=field))) == expected


def test_repeated_frames_without_counts() -> None:
    reader = get("dashscope").reader()
    assert texts_of(read(reader, frames("好", "好", tokens=False))) == ["好"]


def test_cumulative_given_ignores_a_changed_text() -> None:
    reader = DashScopeReader(cumulative=True)
    assert texts_of(read(reader, frames("ab", "x", "abc", "abc"))) == ["ab", "c"]


@pytest.mark.parametrize(
    ("frame", "error_type"),
    [
        (b'data:{"code":"InvalidApiKey","message":"m"}', ErrorType.AUTH),
        (b'event:error\n:HTTP_STATUS/401\ndata:{"code":"X","message":"m"}', ErrorType.AUTH),
        (b'event:error\nstatus:500\ndata:{"code":"X","message":"m"}', ErrorType.HTTP_5XX),
        (b'event:error\ndata:{"code":"InternalError.Timeout","message":"m"}', ErrorType.HTTP_5XX),
        (
            b'data:{"code":"InvalidParameter","message":"Range of input length should be [1, 9]"}',
            ErrorType.CONTEXT_OVERFLOW,
        ),
        (b'data:{"output":{"choices":[{"message":{"content":5}}]}}', ErrorType.PROTOCOL),
        (b"data:", ErrorType.PROTOCOL),
    ],
)
def test_dashscope_failures(frame: bytes, error_type: ErrorType) -> None:
    failure = read(get("dashscope").reader(), [frame + b"\n\n"])[-1]
    assert isinstance(failure, Failure)
    assert failure.error_type is error_type


def test_dashscope_whole_replies() -> None:
    text = b'{"code":"","output":{"text":"a","finish_reason":"stop"},"usage":{"input_tokens":2}}'
    assert unstamped(get("dashscope").read_reply(text, 1)) == [
        Text(0, "a"),
        Usage(0, 2, None, None),
        End(0, "stop"),
    ]
    cut = get("dashscope").read_reply(b'{"output":{"text":"a","finish_reason":"null"}}', 1)
    assert isinstance(cut[-1], Failure)
