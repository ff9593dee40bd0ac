"""DashScope's native dialect: ``POST /api/v1/services/aigc/text-generation/generation``.

(DashScope's compatible mode under ``/compatible-mode/v1`` is the OpenAI dialect.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from firsttoken.core.words import ErrorType
from firsttoken.wire import faults
from firsttoken.wire.dashscope_stream import DashScopeReader, DashScopeWriter, usage_object
from firsttoken.wire.dialect import ChatRequest, HttpCall, ReplyIdentity, RequestError
from firsttoken.wire.events import End, Event, Failure
from firsttoken.wire.replies import collect, led_by_role
from firsttoken.wire.requests import (
    Fields,
    check_content,
    check_tool_calls,
    json_headers,
    load_body,
    text_of,
)
from firsttoken.wire.values import UnreadableError, dump, kind, load_object

PATH = "/api/v1/services/aigc/text-generation/generation"
SSE_HEADER = "x-dashscope-sse"

_PARAMETERS = (
    "enable_search",
    "enable_thinking",
    "frequency_penalty",
    "logprobs",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "repetition_penalty",
    "response_format",
    "search_options",
    "thinking_budget",
    "tool_choice",
    "top_k",
    "top_logprobs",
)
"""Extra fields that DashScope knows as parameters."""


def wants_stream(headers: Mapping[str, str]) -> bool:
    """Whether a native request asks for a stream, which its headers say, not its body.

    Args:
        headers: of the request, names in lower case.
    """
    return headers.get(SSE_HEADER, "").strip().lower() == "enable" or (
        "text/event-stream" in headers.get("accept", "").lower()
    )


class DashScope:
    """DashScope text generation, native."""

    name = "dashscope"
    content_type = "text/event-stream"

    def parse_request(self, body: bytes) -> ChatRequest:
        """Read a request body.

        The body does not say whether to stream (see :func:`wants_stream`): ``stream`` is what
        ``incremental_output``, which only streams have, lets suppose. ``result_format`` and
        ``incremental_output`` are left in ``extra``.

        Raises:
            RequestError: the body is malformed; the message names the field.
        """
        fields = load_body(body)
        model = fields.text("model") or ""
        messages = _read_input(fields)
        parameters = fields.object("parameters")
        incremental = parameters.flag("incremental_output", default=False)
        parameters.rest()["incremental_output"] = incremental
        return ChatRequest(
            model=model,
            messages=messages,
            stream=incremental,
            max_tokens=parameters.token_limit("max_tokens"),
            temperature=parameters.number("temperature", 0, 2),
            top_p=parameters.number("top_p", 0, 1),
            stop=parameters.texts("stop"),
            seed=parameters.integer("seed"),
            tools=parameters.objects("tools"),
            include_usage=True,
            extra=parameters.rest(),
        )

    def build_request(self, request: ChatRequest, api_key: str | None) -> HttpCall:
        """Write the call that asks a backend of this dialect for ``request``: always messages,
        and new text only in each frame of a stream.

        Raises:
            RequestError: a message holds something other than text.
        """
        parameters: dict[str, Any] = {
            name: request.extra[name] for name in _PARAMETERS if name in request.extra
        }
        if "enable_thinking" not in parameters and isinstance(request.extra.get("think"), bool):
            parameters["enable_thinking"] = request.extra["think"]
        optional = {
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stop": request.stop or None,
            "seed": request.seed,
            "tools": request.tools or None,
        }
        parameters |= {name: value for name, value in optional.items() if value is not None}
        parameters["result_format"] = "message"
        if request.stream:
            parameters["incremental_output"] = True
        body = {
            "model": request.model,
            "input": {"messages": _messages_to(request.messages)},
            "parameters": parameters,
        }
        headers = json_headers(stream=request.stream, media_type=self.content_type, api_key=api_key)
        if request.stream:
            headers[SSE_HEADER] = "enable"
        return HttpCall(PATH, headers, dump(body))

    def reader(self) -> DashScopeReader:
        """Return a reader for one streamed reply, cumulative or incremental."""
        return DashScopeReader()

    def read_reply(self, body: bytes, t_ns: int) -> list[Event]:
        """Read a reply that was not streamed: the same events, the last an End or a Failure."""
        events: list[Event] = []
        try:
            DashScopeReader(cumulative=False).read_object(load_object(body), t_ns, None, events)
        except UnreadableError as error:
            return [Failure(t_ns, ErrorType.PROTOCOL, f"unreadable reply: {error}", None)]
        if not isinstance(events[-1], End | Failure):
            message = "unreadable reply: it names no finish reason"
            return [Failure(t_ns, ErrorType.PROTOCOL, message, None)]
        return led_by_role(events)

    def writer(self, identity: ReplyIdentity, include_usage: bool) -> DashScopeWriter:  # noqa: ARG002
        """Return a writer for one streamed reply: messages, incremental; counts always come."""
        return DashScopeWriter(identity)

    def write_reply(self, identity: ReplyIdentity, events: list[Event]) -> bytes:
        """Write a whole reply that is not streamed, from the events of one; of a failed one, its
        error body."""
        reply = collect(events)
        if reply.failure is not None:
            failed = reply.failure
            return dump(faults.dashscope_error(failed.message, failed.error_type, identity.id))
        message: dict[str, Any] = {"role": "assistant", "content": reply.text}
        if reply.reasoning:
            message["reasoning_content"] = reply.reasoning
        if reply.tool_calls:
            message["tool_calls"] = [
                {
                    "index": number,
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for number, call in enumerate(reply.tool_calls)
            ]
        finish_reason = reply.finish_reason or "stop"
        return dump(
            {
                "output": {"choices": [{"message": message, "finish_reason": finish_reason}]},
                "usage": usage_object(reply.usage),
                "request_id": identity.id,
            }
        )

    def write_error(self, status: int, error_type: str, message: str) -> bytes:  # noqa: ARG002
        """Write the body of an HTTP error reply; DashScope names the status in HTTP only."""
        return dump(faults.dashscope_error(message, error_type, ""))

    def read_error(self, body: bytes) -> str:
        """Return what an HTTP error body says, at most 500 characters, for the record."""
        return faults.describe(body)


def _read_input(fields: Fields) -> list[dict[str, Any]]:
    given = fields.object("input")
    messages = given.messages("messages")
    prompt = given.text("prompt")
    if not messages and prompt:
        messages = [{"role": "user", "content": prompt}]
    if not messages:
        raise RequestError("input: expected messages (at least one) or a prompt")
    messages = [_message_from(message, n) for n, message in enumerate(messages)]
    check_content(messages, "input.messages")
    check_tool_calls(messages, "input.messages")
    return messages


def _message_from(message: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a message in OpenAI's shape: DashScope's parts have no ``type``."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    parts = []
    for part in content:
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            raise RequestError(
                f"input.messages[{number}].content: expected parts with a text, got {kind(part)}"
            )
        parts.append({"type": "text", "text": part["text"]})
    return {**message, "content": parts}


def _messages_to(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    written = []
    for number, message in enumerate(messages):
        text = text_of(message.get("content"))
        if text is None:
            raise RequestError(
                f"messages[{number}].content: DashScope's text generation takes text only"
            )
        role = "system" if message["role"] == "developer" else message["role"]
        written.append({**message, "role": role, "content": text})
    return written


DASHSCOPE = DashScope()
