"""The OpenAI dialect: ``POST /v1/chat/completions``."""

from __future__ import annotations

from typing import Any

from firsttoken.core.words import ErrorType
from firsttoken.wire import faults
from firsttoken.wire.dialect import ChatRequest, HttpCall, ReplyIdentity, RequestError
from firsttoken.wire.events import End, Event, Failure
from firsttoken.wire.openai_stream import (
    OpenAiReader,
    OpenAiWriter,
    is_error,
    read_delta,
    read_logprobs,
    read_timings,
    read_usage,
    timings_object,
    usage_object,
)
from firsttoken.wire.replies import collect, led_by_role
from firsttoken.wire.requests import (
    Fields,
    check_content,
    check_tool_calls,
    json_headers,
    load_body,
)
from firsttoken.wire.tool_calls import ToolCallNumbers
from firsttoken.wire.values import (
    UnreadableError,
    as_list,
    as_object,
    as_text,
    dump,
    load_object,
)

PATH = "/v1/chat/completions"

_NATIVE_FIELDS = frozenset(
    {
        "options",
        "keep_alive",
        "format",
        "think",
        "truncate",
        "shift",
        "raw",
        "suffix",
        "template",
        "context",
        "result_format",
        "incremental_output",
    }
)
"""Extra fields that only Ollama's or DashScope's own dialect knows: strict servers of this one
answer 400 to them."""


def _read_token_limit(fields: Fields) -> int | None:
    """Read both names of the limit; the newer one counts where both are given."""
    older = fields.token_limit("max_tokens")
    newer = fields.token_limit("max_completion_tokens")
    return older if newer is None else newer


class OpenAi:
    """OpenAI chat completions, as OpenAI and the servers that follow it speak them."""

    name = "openai"
    content_type = "text/event-stream"

    def parse_request(self, body: bytes) -> ChatRequest:
        """Read a request body.

        Raises:
            RequestError: the body is malformed; the message names the field.
        """
        fields = load_body(body)
        messages = fields.messages("messages")
        if not messages:
            raise RequestError("messages: expected at least one message")
        check_content(messages, "messages")
        check_tool_calls(messages, "messages")
        stream_options = fields.object("stream_options")
        include_usage = stream_options.flag("include_usage", default=False)
        fields.put_back("stream_options", stream_options)
        return ChatRequest(
            model=fields.text("model") or "",
            messages=messages,
            stream=fields.flag("stream", default=False),
            max_tokens=_read_token_limit(fields),
            temperature=fields.number("temperature", 0, 2),
            top_p=fields.number("top_p", 0, 1),
            stop=fields.texts("stop"),
            seed=fields.integer("seed"),
            tools=fields.objects("tools"),
            include_usage=include_usage,
            extra=fields.rest(),
        )

    def build_request(self, request: ChatRequest, api_key: str | None) -> HttpCall:
        """Write the call that asks a backend of this dialect for ``request``."""
        extra = {key: value for key, value in request.extra.items() if key not in _NATIVE_FIELDS}
        stream_options = extra.pop("stream_options", {})
        wanted = request.extra.get("format")
        if wanted and "response_format" not in extra:
            extra["response_format"] = _response_format(wanted)
        body: dict[str, Any] = {
            **extra,
            "model": request.model,
            "messages": request.messages,
            "stream": request.stream,
        }
        optional = {
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stop": request.stop or None,
            "seed": request.seed,
            "tools": request.tools or None,
        }
        body |= {key: value for key, value in optional.items() if value is not None}
        if request.stream and request.include_usage:
            stream_options = {**stream_options, "include_usage": True}
        if request.stream and stream_options:
            body["stream_options"] = stream_options
        headers = json_headers(stream=request.stream, media_type=self.content_type, api_key=api_key)
        return HttpCall(PATH, headers, dump(body))

    def reader(self) -> OpenAiReader:
        """Return a reader for one streamed reply."""
        return OpenAiReader()

    def read_reply(self, body: bytes, t_ns: int) -> list[Event]:
        """Read a reply that was not streamed: the same events, the last an End or a Failure."""
        try:
            return _read_whole(load_object(body), t_ns)
        except UnreadableError as error:
            return [Failure(t_ns, ErrorType.PROTOCOL, f"unreadable reply: {error}", None)]

    def writer(self, identity: ReplyIdentity, include_usage: bool) -> OpenAiWriter:
        """Return a writer for one streamed reply."""
        return OpenAiWriter(identity, include_usage)

    def write_reply(self, identity: ReplyIdentity, events: list[Event]) -> bytes:
        """Write a whole reply that is not streamed, from the events of one; of a failed one, its
        error body."""
        reply = collect(events)
        if reply.failure is not None:
            failed = reply.failure
            return dump(faults.openai_error(failed.message, failed.error_type, failed.status))
        message: dict[str, Any] = {"role": "assistant", "content": reply.text}
        if reply.reasoning:
            message["reasoning_content"] = reply.reasoning
        if reply.tool_calls:
            message["content"] = reply.text or None
            message["tool_calls"] = [
                {
                    "id": call.id or f"call_{identity.id}_{number}",
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments},
                }
                for number, call in enumerate(reply.tool_calls)
            ]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": reply.finish_reason or "stop",
        }
        body: dict[str, Any] = {
            "id": identity.id,
            "object": "chat.completion",
            "created": identity.created_unix_s,
            "model": identity.model,
            "choices": [choice],
        }
        if reply.usage is not None:
            body["usage"] = usage_object(reply.usage)
        if reply.timings is not None:
            body["timings"] = timings_object(reply.timings)
        return dump(body)

    def write_error(self, status: int, error_type: str, message: str) -> bytes:
        """Write the body of an HTTP error reply."""
        return dump(faults.openai_error(message, error_type, status))

    def read_error(self, body: bytes) -> str:
        """Return what an HTTP error body says, at most 500 characters, for the record."""
        return faults.describe(body)


def _response_format(wanted: object) -> dict[str, Any]:
    """Return Ollama's ``format`` (``"json"`` or a JSON schema) in OpenAI's shape."""
    if isinstance(wanted, dict):
        return {"type": "json_schema", "json_schema": {"name": "reply", "schema": wanted}}
    return {"type": "json_object"}


def _read_whole(body: dict[str, Any], t_ns: int) -> list[Event]:
    if is_error(body):
        return [faults.failure(body, t_ns)]
    choices = as_list(body.get("choices"), "choices")
    if not choices:
        raise UnreadableError("choices: expected at least one")
    choice = as_object(choices[0], "choices[0]")
    message = as_object(choice.get("message"), "choices[0].message")
    events: list[Event] = []
    read_logprobs(choice.get("logprobs"), t_ns, events)
    read_delta(message, t_ns, ToolCallNumbers(), events)
    reason = as_text(choice.get("finish_reason"), "choices[0].finish_reason")
    events += [event for event in (read_usage(body, t_ns), read_timings(body, t_ns)) if event]
    return led_by_role([*events, End(t_ns, reason)])


OPENAI = OpenAi()
