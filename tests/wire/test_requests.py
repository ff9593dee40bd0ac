"""Request bodies of all dialects: read, refused by name, written, read back."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firsttoken.wire.dashscope import wants_stream
from firsttoken.wire.dialect import ChatRequest, RequestError
from firsttoken.wire.dialects import DIALECTS, get

USER = {"role": "user", "content": "你好😊"}
REQUEST = ChatRequest(
    model="qwen2:1.5b",
    messages=[{"role": "system", "content": "短"}, USER],
    stream=True,
    max_tokens=24,
    temperature=0.7,
    top_p=0.9,
    stop=["。"],
    seed=7,
    include_usage=True,
)
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {}}}
CALL: dict[str, Any] = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "f", "arguments": '{"x":1}'},
}


def body(**fields: object) -> bytes:
    return orjson.dumps({"model": "m", "messages": [USER], **fields})


def parse(**fields: object) -> ChatRequest:
    return get("openai").parse_request(body(**fields))


def test_openai_defaults() -> None:
    request = parse()
    assert request == ChatRequest(model="m", messages=[USER], stream=False)
    nulls = parse(stream=None, max_tokens=None, temperature=None, stop=None, tools=None)
    assert nulls == request
    assert get("openai").parse_request(orjson.dumps({"messages": [USER]})).model == ""


def test_openai_fields() -> None:
    request = parse(
        stream=True,
        max_tokens=5,
        max_completion_tokens=7,
        temperature=1,
        stop="x",
        tools=[TOOL],
        stream_options={"include_usage": True, "include_obfuscation": False},
        frequency_penalty=0.5,
        unknown={"a": [1]},
    )
    assert (request.max_tokens, request.temperature, request.stop) == (7, 1.0, ["x"])
    assert (request.tools, request.include_usage) == ([TOOL], True)
    assert request.extra == {
        "frequency_penalty": 0.5,
        "unknown": {"a": [1]},
        "stream_options": {"include_obfuscation": False},
    }
    assert parse(max_tokens=-1).max_tokens is None


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None},
        {"role": "assistant", "tool_calls": [{**CALL, "index": 0}]},
        {"role": "assistant", "content": "", "tool_calls": None},
        {"role": "tool", "tool_call_id": "call_1", "content": "ok"},
        {"role": "developer", "content": "x"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]},
        {"role": "user", "content": ""},
    ],
)
def test_messages_that_are_accepted(message: dict[str, Any]) -> None:
    assert parse(messages=[message]).messages == [message]


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        (b"", "not JSON"),
        (b'{"messages":', "line 1"),
        (b"\xff", "not JSON"),
        (b"[]", "expected a JSON object"),
        (b"{}", "messages"),
        (rb'{"messages":[{"role":"user","content":"\ud800"}]}', "not JSON"),
        (b'{"messages":[' + b"[" * 2000 + b"]" * 2000 + b"]}", "not JSON"),
        (
            b'{"messages":[{"role":"user","content":"a"}],"x":%b}' % (b"[" * 250 + b"]" * 250),
            "deep",
        ),
        (body(messages=[]), "messages: expected at least one"),
        (body(messages={}), "messages: expected a list"),
        (body(messages=["x"]), "messages[0]: expected an object"),
        (body(messages=[USER, {"role": "wizard", "content": ""}]), "messages[1].role: 'wizard'"),
        (body(messages=[{"content": "x"}]), "messages[0].role: null"),
        (body(messages=[{"role": 5, "content": "x"}]), "messages[0].role: a number"),
        (body(messages=[{"role": "user"}]), "messages[0].content: missing"),
        (body(messages=[{"role": "user", "content": 5}]), "messages[0].content"),
        (body(messages=[{"role": "user", "content": [5]}]), "messages[0].content[0]"),
        (
            body(messages=[{"role": "user", "content": [{"type": "text"}]}]),
            "messages[0].content[0].text",
        ),
        (body(messages=[{"role": "assistant", "tool_calls": {}}]), "messages[0].tool_calls"),
        (
            body(messages=[{"role": "assistant", "tool_calls": [{}]}]),
            "messages[0].tool_calls[0].function",
        ),
        (
            body(messages=[{"role": "assistant", "tool_calls": [{**CALL, "id": ["a"]}]}]),
            "messages[0].tool_calls[0].id: expected a string, got a list",
        ),
        (
            body(messages=[{"role": "tool", "tool_call_id": {}, "content": ""}]),
            "messages[0].tool_call_id: expected a string, got an object",
        ),
        (body(messages=[USER] * 5000), "5000 messages"),
        (body(model=5), "model: expected a string, got a number"),
        (body(stream="yes"), "stream: expected true or false, got a string"),
        (body(max_tokens="5"), "max_tokens: expected a whole number"),
        (body(max_tokens=1.5), "max_tokens"),
        (body(max_tokens=True), "max_tokens"),
        (body(max_tokens=0), "max_tokens: expected at least 1"),
        (body(max_completion_tokens=[]), "max_completion_tokens"),
        (body(temperature="hot"), "temperature"),
        (body(temperature=3), "temperature: 3 is not within 0 and 2"),
        (body(top_p=-1), "top_p"),
        (body(seed=0.5), "seed"),
        (body(stop=[5]), "stop"),
        (body(tools={}), "tools"),
        (body(tools=["x"]), "tools[0]"),
        (body(stream_options=[]), "stream_options"),
        (body(stream_options={"include_usage": 1}), "stream_options.include_usage"),
    ],
)
def test_refusals_name_the_field(sent: bytes, named: str) -> None:
    with pytest.raises(RequestError) as caught:
        get("openai").parse_request(sent)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dialect", "sent", "named"),
    [
        ("ollama", {"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        ("ollama", {"messages": [{"role": "x", "content": ""}]}, "messages[0].role"),
        ("ollama", {"options": []}, "options"),
        ("ollama", {"options": {"num_predict": "5"}}, "options.num_predict"),
        ("ollama_generate", {"prompt": 5}, "prompt"),
        ("ollama_generate", {"prompt": "x", "images": [5]}, "images"),
        ("dashscope", {"model": "m"}, "input"),
        ("dashscope", {"input": {"messages": [{"role": "x"}]}}, "input.messages[0].role"),
        ("dashscope", {"input": {"messages": [{"role": "user"}]}}, "input.messages[0].content"),
        ("dashscope", {"input": {"prompt": "x"}, "parameters": {"seed": "x"}}, "parameters.seed"),
        (
            "dashscope",
            {"input": {"messages": [{"role": "user", "content": [{"image": "x"}]}]}},
            "input.messages[0].content",
        ),
    ],
)
def test_refusals_of_the_other_dialects(dialect: str, sent: object, named: str) -> None:
    with pytest.raises(RequestError) as caught:
        get(dialect).parse_request(orjson.dumps(sent))
    assert named in str(caught.value)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("stream", [True, False])
def test_a_written_request_reads_back(name: str, stream: bool) -> None:
    dialect = get(name)
    asked = replace(REQUEST, stream=stream)
    read_back = dialect.parse_request(dialect.build_request(asked, None).body)
    usage = stream if name == "openai" else True
    assert replace(read_back, extra={}) == replace(asked, include_usage=usage)


@pytest.mark.parametrize("name", ["openai", "ollama", "dashscope"])
def test_tools_and_calls_read_back(name: str) -> None:
    dialect = get(name)
    messages: list[dict[str, Any]] = [
        USER,
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "ok", "tool_call_id": "call_1"},
    ]
    asked = replace(REQUEST, tools=[TOOL], messages=messages)
    read_back = dialect.parse_request(dialect.build_request(asked, None).body)
    assert (read_back.tools, read_back.messages) == ([TOOL], messages)


NAMES = st.text(alphabet="abc_你", min_size=1, max_size=4).map("x_".__add__)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    contents=st.lists(st.text(max_size=20), min_size=1, max_size=4),
    extra=st.dictionaries(NAMES, JSON_VALUES, max_size=3),
    max_tokens=st.none() | st.integers(1, 9999),
    stop=st.lists(st.text(max_size=3), max_size=3),
)
def test_openai_round_trip(
    contents: list[str], extra: dict[str, Any], max_tokens: int | None, stop: list[str]
) -> None:
    asked = replace(
        REQUEST,
        messages=[{"role": "user", "content": content} for content in contents],
        max_tokens=max_tokens,
        stop=stop,
        extra=extra,
    )
    dialect = get("openai")
    assert dialect.parse_request(dialect.build_request(asked, "key").body) == asked


@settings(max_examples=200, deadline=None)
@given(value=JSON_VALUES, name=st.sampled_from(sorted(DIALECTS)))
def test_any_json_is_a_request_or_a_refusal(value: object, name: str) -> None:
    for field in ("messages", "options", "input", "parameters", "prompt", "stream", "images"):
        with suppress(RequestError):
            get(name).parse_request(orjson.dumps({"messages": [USER], field: value}))


def call_body(name: str, request: ChatRequest) -> dict[str, Any]:
    loaded = orjson.loads(get(name).build_request(request, None).body)
    assert isinstance(loaded, dict)
    return loaded


def test_headers_and_paths() -> None:
    paths = {
        "openai": "/v1/chat/completions",
        "ollama": "/api/chat",
        "ollama_generate": "/api/generate",
        "dashscope": "/api/v1/services/aigc/text-generation/generation",
    }
    for name, path in paths.items():
        call = get(name).build_request(REQUEST, "secret")
        assert call.path == path
        assert call.headers["authorization"] == "Bearer secret"
        assert call.headers["accept"] == get(name).content_type
        assert call.headers["accept-encoding"] == "identity"
        assert "authorization" not in get(name).build_request(REQUEST, None).headers
    streamed = get("dashscope").build_request(REQUEST, "k").headers
    assert streamed["x-dashscope-sse"] == "enable"
    assert wants_stream(streamed)
    unstreamed = get("dashscope").build_request(replace(REQUEST, stream=False), "k").headers
    assert not wants_stream(unstreamed)


def test_openai_leaves_out_what_only_others_know() -> None:
    extra = {"options": {"num_ctx": 1}, "keep_alive": -1, "format": "json", "top_k": 5}
    written = call_body("openai", replace(REQUEST, extra=extra))
    assert "options" not in written
    assert "keep_alive" not in written
    assert (written["top_k"], written["response_format"]) == (5, {"type": "json_object"})
    assert written["stream_options"] == {"include_usage": True}
    assert "stream_options" not in call_body("openai", replace(REQUEST, stream=False))


def test_ollama_options() -> None:
    extra = {
        "options": {"num_ctx": 2048, "seed": 1},
        "keep_alive": "5m",
        "frequency_penalty": 0.5,
        "enable_thinking": False,
        "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
        "user": "x",
    }
    written = call_body("ollama", replace(REQUEST, extra=extra))
    assert written["options"] == {
        "num_ctx": 2048,
        "seed": 7,
        "num_predict": 24,
        "temperature": 0.7,
        "top_p": 0.9,
        "stop": ["。"],
        "frequency_penalty": 0.5,
    }
    assert (written["keep_alive"], written["think"]) == ("5m", False)
    assert written["format"] == {"type": "object"}
    assert "user" not in written


def test_ollama_parses_its_options_and_streams_by_default() -> None:
    sent = {
        "model": "m",
        "messages": [{"role": "user", "content": "a", "images": ["aGk="]}],
        "options": {"num_predict": -1, "num_ctx": 512, "temperature": 0},
        "keep_alive": 0,
    }
    request = get("ollama").parse_request(orjson.dumps(sent))
    assert (request.stream, request.max_tokens, request.temperature) == (True, None, 0.0)
    assert request.extra == {"options": {"num_ctx": 512}, "keep_alive": 0}
    again = call_body("ollama", request)
    assert again["messages"] == sent["messages"]
    empty = get("ollama").parse_request(b'{"model":"m","keep_alive":-1}')
    assert empty.messages == []
    assert call_body("ollama", empty)["messages"] == []


def test_ollama_generate_prompts() -> None:
    sent = {"model": "m", "system": "s", "prompt": "p", "images": ["aGk="], "raw": True}
    request = get("ollama_generate").parse_request(orjson.dumps(sent))
    written = call_body("ollama_generate", request)
    assert {key: written[key] for key in sent} == sent
    turns: list[dict[str, Any]] = [
        USER,
        {"role": "assistant", "content": "好"},
        {"role": "user", "content": "再见"},
    ]
    talk = call_body("ollama_generate", replace(REQUEST, messages=turns))
    assert talk["prompt"] == "User: 你好😊\nAssistant: 好\nUser: 再见"


@pytest.mark.parametrize("name", ["ollama", "ollama_generate", "dashscope"])
def test_what_a_dialect_cannot_say_is_refused(name: str) -> None:
    url = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    with pytest.raises(RequestError, match=r"messages\[0\]"):
        get(name).build_request(
            replace(REQUEST, messages=[{"role": "user", "content": [url]}]), None
        )
    with pytest.raises(RequestError, match="tools"):
        get("ollama_generate").build_request(replace(REQUEST, tools=[TOOL]), None)


def test_ollama_refuses_arguments_that_are_no_object() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": "{"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    with pytest.raises(RequestError, match="arguments"):
        get("ollama").build_request(replace(REQUEST, messages=[message]), None)


def test_dashscope_body() -> None:
    extra = {"top_k": 5, "think": False, "user": "x"}
    messages: list[dict[str, Any]] = [
        {"role": "developer", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "tool_calls": [CALL]},
    ]
    written = call_body("dashscope", replace(REQUEST, extra=extra, messages=messages))
    assert [(m["role"], m["content"]) for m in written["input"]["messages"]] == [
        ("system", "s"),
        ("user", "ab"),
        ("assistant", ""),
    ]
    assert written["parameters"] == {
        "top_k": 5,
        "enable_thinking": False,
        "max_tokens": 24,
        "temperature": 0.7,
        "top_p": 0.9,
        "stop": ["。"],
        "seed": 7,
        "result_format": "message",
        "incremental_output": True,
    }
    whole = call_body("dashscope", replace(REQUEST, stream=False))["parameters"]
    assert "incremental_output" not in whole


def test_dashscope_parses_prompts_and_parts() -> None:
    sent = {"model": "m", "input": {"prompt": "你好"}, "parameters": {"result_format": "text"}}
    request = get("dashscope").parse_request(orjson.dumps(sent))
    assert request.messages == [{"role": "user", "content": "你好"}]
    assert request.extra == {"result_format": "text", "incremental_output": False}
    parts = {"input": {"messages": [{"role": "user", "content": [{"text": "a"}]}]}}
    (message,) = get("dashscope").parse_request(orjson.dumps(parts)).messages
    assert message["content"] == [{"type": "text", "text": "a"}]
