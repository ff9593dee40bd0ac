"""How a server of each dialect speaks: the bytes of frames and bodies.

Written apart from the readers and writers of :mod:`firsttoken.wire` on purpose: a server that
shared their code would share their errors, and could then not show one. A voice speaks one reply;
it writes no text of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import orjson

from firsttoken.upstreams.asked import Asked


class Identity(NamedTuple):
    """What the frames of one reply repeat."""

    request_id: str
    created_unix_s: int


class Voice(Protocol):
    """One reply in one dialect. Each method returns the bytes of one or more whole frames."""

    content_type: str

    def role(self) -> bytes:
        """A frame that names the role and carries empty text."""

    def null(self) -> bytes:
        """A frame whose text is null, as llama.cpp's first one is."""

    def text(self, text: str) -> bytes:
        """A frame with text."""

    def reasoning(self, text: str) -> bytes:
        """A frame with reasoning text."""

    def tool(self, name: str, arguments: Sequence[str]) -> list[bytes]:
        """The frames of a tool call: its name first, without an argument, then its arguments in
        pieces of JSON; as one object where the dialect knows no pieces."""

    def end(self, finish_reason: str, output_tokens: int) -> bytes:
        """All that follows the last text."""

    def ping(self) -> bytes:
        """What keeps a connection alive and means nothing."""

    def malformed(self) -> bytes:
        """A delimited frame that is not JSON."""

    def error(self, status: int, code: str, message: str) -> bytes:
        """An error inside a stream that began with 200, and how the dialect ends after it."""

    def whole(self, text: str, finish_reason: str, output_tokens: int) -> bytes:
        """The body of a reply that is not streamed."""

    def error_body(self, status: int, code: str, message: str) -> bytes:
        """The body of an HTTP error."""


class OpenAIVoice:
    """OpenAI chat completions: events with one space after ``data:``, ended by ``[DONE]``."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, identity: Identity, asked: Asked) -> None:
        self._base = {
            "id": f"chatcmpl-{identity.request_id}",
            "object": "chat.completion.chunk",
            "created": identity.created_unix_s,
            "model": asked.model,
        }
        self._include_usage = asked.include_usage
        self._prompt_tokens = asked.prompt_tokens

    def _usage(self, output_tokens: int) -> dict[str, int]:
        return {
            "prompt_tokens": self._prompt_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": self._prompt_tokens + output_tokens,
        }

    def _frame(self, choices: list[dict[str, Any]], usage: object = None) -> bytes:
        value: dict[str, Any] = {**self._base, "choices": choices}
        if self._include_usage:
            value["usage"] = usage
        return b"data: %b\n\n" % orjson.dumps(value)

    def delta(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        """A frame with any ``delta``."""
        return self._frame([{"index": 0, "delta": delta, "finish_reason": finish_reason}])

    def role(self) -> bytes:
        return self.delta({"role": "assistant", "content": ""})

    def null(self) -> bytes:
        return self.delta({"role": "assistant", "content": None})

    def text(self, text: str) -> bytes:
        return self.delta({"content": text})

    def reasoning(self, text: str) -> bytes:
        return self.delta({"content": None, "reasoning_content": text})

    def tool(self, name: str, arguments: Sequence[str]) -> list[bytes]:
        return [
            self.delta({"content": None, "tool_calls": [call]})
            for call in tool_fragments(name, arguments)
        ]

    def end(self, finish_reason: str, output_tokens: int) -> bytes:
        final = self.delta({}, finish_reason)
        if self._include_usage:
            final += self._frame([], self._usage(output_tokens))
        return final + b"data: [DONE]\n\n"

    def ping(self) -> bytes:
        return b": ping\n\n"

    def malformed(self) -> bytes:
        return b'data: {"choices":[{"delta":{"content":\n\n'

    def error(self, status: int, code: str, message: str) -> bytes:
        # Some servers end with [DONE] after an error, as if all were well: the harder case.
        return b"data: %b\n\ndata: [DONE]\n\n" % self.error_body(status, code, message)

    def whole(self, text: str, finish_reason: str, output_tokens: int) -> bytes:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": finish_reason}
        value = {
            **self._base,
            "object": "chat.completion",
            "choices": [choice],
            "usage": self._usage(output_tokens),
        }
        return orjson.dumps(value)

    def error_body(self, status: int, code: str, message: str) -> bytes:
        kind = "invalid_request_error" if status < 429 else "server_error"
        error = {"message": message, "type": kind, "param": None, "code": code}
        return orjson.dumps({"error": error})


class OllamaVoice:
    """Ollama's ``/api/chat`` and ``/api/generate``: a JSON object a line, the last one ``done``."""

    content_type = "application/x-ndjson"

    def __init__(self, asked: Asked, *, generate: bool) -> None:
        # A constant: nothing here or in the reader takes time from it.
        self._base = {"model": asked.model, "created_at": "2026-01-01T00:00:00.000000Z"}
        self._generate = generate
        self._prompt_tokens = asked.prompt_tokens

    def _message(self, text: str | None, reasoning: str | None = None) -> dict[str, Any]:
        thinking = {} if reasoning is None else {"thinking": reasoning}
        if self._generate:
            return {"response": text, **thinking}
        return {"message": {"role": "assistant", "content": text, **thinking}}

    def _line(self, message: dict[str, Any]) -> bytes:
        return orjson.dumps({**self._base, **message, "done": False}) + b"\n"

    def role(self) -> bytes:
        return self._line(self._message(""))

    def null(self) -> bytes:
        return self._line(self._message(None))

    def text(self, text: str) -> bytes:
        return self._line(self._message(text))

    def reasoning(self, text: str) -> bytes:
        return self._line(self._message("", text))

    def tool(self, name: str, arguments: Sequence[str]) -> list[bytes]:
        function = {"name": name, "arguments": orjson.loads("".join(arguments))}
        message = {"role": "assistant", "content": "", "tool_calls": [{"function": function}]}
        return [self.role(), self._line({"message": message})]

    def _done(self, text: str, finish_reason: str, output_tokens: int) -> bytes:
        value = {
            **self._base,
            **self._message(text),
            "done": True,
            "done_reason": finish_reason,
            "total_duration": 300_000_000,
            "load_duration": 10_000_000,
            "prompt_eval_count": self._prompt_tokens,
            "prompt_eval_duration": 90_000_000,
            "eval_count": output_tokens,
            "eval_duration": 200_000_000,
        }
        return orjson.dumps(value)

    def end(self, finish_reason: str, output_tokens: int) -> bytes:
        return self._done("", finish_reason, output_tokens) + b"\n"

    def ping(self) -> bytes:
        return b"\n"

    def malformed(self) -> bytes:
        return b'{"message":{"role":"assistant","content":\n'

    def error(self, status: int, code: str, message: str) -> bytes:
        return self.error_body(status, code, message) + b"\n"

    def whole(self, text: str, finish_reason: str, output_tokens: int) -> bytes:
        return self._done(text, finish_reason, output_tokens)

    def error_body(self, status: int, code: str, message: str) -> bytes:  # noqa: ARG002
        return orjson.dumps({"error": message})


class DashScopeVoice:
    """DashScope native: no space after ``data:``, usage in every frame, no ``[DONE]``.

    Unless incremental output was asked for, each frame carries all text so far.
    """

    content_type = "text/event-stream;charset=UTF-8"

    def __init__(self, identity: Identity, asked: Asked) -> None:
        self._request_id = identity.request_id
        self._as_message = asked.as_message
        self._incremental = asked.incremental
        self._prompt_tokens = asked.prompt_tokens
        self._number = 0
        self._text = ""
        self._reasoning = ""
        self._output_tokens = 0

    def _body(
        self, text: str | None, reasoning: str, finish_reason: str, output_tokens: int
    ) -> dict[str, Any]:
        if self._as_message:
            message = {"role": "assistant", "content": text}
            if reasoning:
                message["reasoning_content"] = reasoning
            output: dict[str, Any] = {
                "choices": [{"message": message, "finish_reason": finish_reason}]
            }
        else:
            output = {"text": text, "finish_reason": finish_reason}
        return {
            "output": output,
            "usage": self._usage(output_tokens),
            "request_id": self._request_id,
        }

    def _usage(self, output_tokens: int) -> dict[str, int]:
        return {
            "input_tokens": self._prompt_tokens,
            "output_tokens": output_tokens,
            "total_tokens": self._prompt_tokens + output_tokens,
        }

    def _event(self, name: str, status: int, data: bytes) -> bytes:
        self._number += 1
        return b"id:%d\nevent:%b\n:HTTP_STATUS/%d\ndata:%b\n\n" % (
            self._number,
            name.encode(),
            status,
            data,
        )

    def _result(self, text: str | None, reasoning: str = "") -> bytes:
        if not self._incremental:
            self._text += text or ""
            self._reasoning += reasoning
            text = None if text is None else self._text
            reasoning = self._reasoning
        body = self._body(text, reasoning, "null", self._output_tokens)
        return self._event("result", 200, orjson.dumps(body))

    def role(self) -> bytes:
        return self._result("")

    def null(self) -> bytes:
        return self._result(None)

    def text(self, text: str) -> bytes:
        self._output_tokens += 1
        return self._result(text)

    def reasoning(self, text: str) -> bytes:
        self._output_tokens += 1
        return self._result("", text)

    def tool(self, name: str, arguments: Sequence[str]) -> list[bytes]:
        frames = []
        for call in tool_fragments(name, arguments):
            self._output_tokens += bool(call["function"]["arguments"])
            message = {"role": "assistant", "content": "", "tool_calls": [call]}
            body = {
                "output": {"choices": [{"message": message, "finish_reason": "null"}]},
                "usage": self._usage(self._output_tokens),
                "request_id": self._request_id,
            }
            frames.append(self._event("result", 200, orjson.dumps(body)))
        return frames

    def end(self, finish_reason: str, output_tokens: int) -> bytes:
        text = "" if self._incremental else self._text
        body = self._body(text, self._reasoning, finish_reason, output_tokens)
        return self._event("result", 200, orjson.dumps(body))

    def ping(self) -> bytes:
        return b":ping\n\n"

    def malformed(self) -> bytes:
        return self._event("result", 200, b'{"output":{"choices":[')

    def error(self, status: int, code: str, message: str) -> bytes:
        return self._event("error", status, self.error_body(status, code, message))

    def whole(self, text: str, finish_reason: str, output_tokens: int) -> bytes:
        return orjson.dumps(self._body(text, "", finish_reason, output_tokens))

    def error_body(self, status: int, code: str, message: str) -> bytes:  # noqa: ARG002
        return orjson.dumps({"code": code, "message": message, "request_id": self._request_id})


def tool_fragments(name: str, arguments: Sequence[str]) -> list[dict[str, Any]]:
    """Return one tool call as OpenAI has it streamed: id and name first, then the arguments."""
    head = {
        "index": 0,
        "id": "call_0",
        "type": "function",
        "function": {"name": name, "arguments": ""},
    }
    return [head, *({"index": 0, "function": {"arguments": text}} for text in arguments)]


def ollama_chat(_: Identity, asked: Asked) -> Voice:
    """Return the voice of ``/api/chat``."""
    return OllamaVoice(asked, generate=False)


def ollama_generate(_: Identity, asked: Asked) -> Voice:
    """Return the voice of ``/api/generate``."""
    return OllamaVoice(asked, generate=True)


VoiceMaker = Callable[[Identity, Asked], Voice]
