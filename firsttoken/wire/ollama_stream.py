"""Ollama's NDJSON streams: events out of ``/api/chat`` and ``/api/generate``, and back.

Each line is an object; the last one says ``done: true`` and carries counts, and durations in
nanoseconds. A failure inside a stream is a line ``{"error": "..."}`` without ``done``. A tool
call comes whole, in one line.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from firsttoken.wire import faults
from firsttoken.wire.dialect import ReplyIdentity
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
from firsttoken.wire.logprobs import read_probabilities
from firsttoken.wire.ndjson import LineSplitter
from firsttoken.wire.reader import StreamReader
from firsttoken.wire.replies import ToolCall, ToolCalls
from firsttoken.wire.tool_calls import ToolCallNumbers
from firsttoken.wire.values import (
    UnreadableError,
    as_object,
    as_text,
    count,
    dump,
    load_object,
    milliseconds,
)

_NS_PER_MS = 1e6


class OllamaReader(StreamReader[bytes]):
    """Reads a stream of ``/api/chat`` (``message``) or ``/api/generate`` (``response``)."""

    def __init__(self, *, generate: bool) -> None:
        super().__init__(LineSplitter())
        self._generate = generate
        self._numbers = ToolCallNumbers()
        self._called = False

    def _read(self, frame: bytes, t_ns: int, out: list[Event]) -> None:
        self.read_object(load_object(frame), t_ns, out)

    def read_object(self, line: dict[str, Any], t_ns: int, out: list[Event]) -> None:
        """Append the events of one line; a reply that is not streamed is one line.

        Raises:
            UnreadableError: a field has a type that Ollama does not send.
        """
        if line.get("error"):
            self._fail(faults.failure(line, t_ns), out)
            return
        if logprobs := line.get("logprobs"):
            read_probabilities(logprobs, t_ns, out)
        before = len(out)
        message = line if self._generate else as_object(line.get("message"), "message")
        if thinking := as_text(message.get("thinking"), "thinking"):
            out.append(Reasoning(t_ns, thinking))
        if text := as_text(message.get("response" if self._generate else "content"), "content"):
            out.append(Text(t_ns, text))
        if message.get("tool_calls"):
            self._numbers.read(message["tool_calls"], t_ns, out)
            self._called = True
        if line.get("done") is True:
            self._done(line, t_ns, out)
        elif len(out) == before:
            role = message.get("role")
            out.append(Role(t_ns, role if isinstance(role, str) else ""))

    def _done(self, line: dict[str, Any], t_ns: int, out: list[Event]) -> None:
        prompt, output = count(line.get("prompt_eval_count")), count(line.get("eval_count"))
        if prompt is not None or output is not None:
            self._usage = Usage(t_ns, prompt, None, output)
        load, evaluate, predict = (
            milliseconds(line.get(name), _NS_PER_MS)
            for name in ("load_duration", "prompt_eval_duration", "eval_duration")
        )
        if load is not None or evaluate is not None or predict is not None:
            self._timings = Timings(t_ns, load, evaluate, predict)
        reason = as_text(line.get("done_reason"), "done_reason")
        # Ollama says "stop" after a tool call too; who acts on the reason must know.
        self._end(t_ns, "tool_calls" if self._called and reason == "stop" else reason, out)


class OllamaWriter:
    """Writes a stream of ``/api/chat`` or ``/api/generate``.

    Tool calls are kept until the end, since Ollama sends them whole. ``/api/generate`` has no
    form for them.
    """

    def __init__(self, identity: ReplyIdentity, *, generate: bool) -> None:
        self._identity = identity
        self._generate = generate
        self._created_at = created_at(identity)
        self._calls = ToolCalls()
        self._usage: Usage | None = None
        self._timings: Timings | None = None

    def write(self, event: Event) -> bytes:
        """Return the bytes of one event; empty where the dialect has no form for it."""
        match event:
            case Text():
                return self._message(event.text)
            case Reasoning():
                return self._message("", thinking=event.text)
            case Role():
                return self._message("")
            case ToolArgument():
                self._calls.add(event)
            case Usage():
                self._usage = event
            case Timings():
                self._timings = event
            case Failure():
                return error_line(event)
            case End():
                return self._end(event)
        return b""

    def _message(self, text: str, **more: object) -> bytes:
        if self._generate:
            return self._line({"response": text, **more, "done": False})
        message = {"role": "assistant", "content": text, **more}
        return self._line({"message": message, "done": False})

    def _line(self, fields: dict[str, Any]) -> bytes:
        line = {"model": self._identity.model, "created_at": self._created_at, **fields}
        return dump(line) + b"\n"

    def _end(self, end: End) -> bytes:
        written = b""
        calls = [] if self._generate else self._calls.joined()
        if calls:
            try:
                written = self._message("", tool_calls=whole_calls(calls))
            except UnreadableError as error:
                return dump({"error": str(error)}) + b"\n"
        empty = (
            {"response": ""}
            if self._generate
            else {"message": {"role": "assistant", "content": ""}}
        )
        return written + self._line(empty | done_fields(end, self._usage, self._timings))


def created_at(identity: ReplyIdentity) -> str:
    """Return the time of a reply as Ollama writes it."""
    return datetime.fromtimestamp(identity.created_unix_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def error_line(failure: Failure) -> bytes:
    """Return an error line, which ends a stream without ``done``."""
    error = faults.ollama_error(failure.message, failure.error_type, failure.status)
    return dump(error) + b"\n"


def whole_calls(calls: list[ToolCall]) -> list[dict[str, Any]]:
    """Return tool calls in Ollama's shape, whose arguments are an object.

    Raises:
        UnreadableError: the model wrote arguments that are no JSON object.
    """
    written = []
    for number, call in enumerate(calls):
        try:
            arguments = orjson.loads(call.arguments or "{}")
        except orjson.JSONDecodeError:
            arguments = None
        if not isinstance(arguments, dict):
            raise UnreadableError(f"the arguments of tool call {call.name!r} are no JSON object")
        function = {"index": number, "name": call.name, "arguments": arguments}
        written.append({"id": call.id, "function": function} if call.id else {"function": function})
    return written


def done_fields(end: End, usage: Usage | None, timings: Timings | None) -> dict[str, Any]:
    """Return the fields of a last line: durations in nanoseconds, and their sum as the total."""
    reason = "stop" if end.finish_reason in {"", "tool_calls"} else end.finish_reason
    fields: dict[str, Any] = {"done": True, "done_reason": reason}
    if timings is not None:
        durations = {
            "load_duration": timings.load_ms,
            "prompt_eval_duration": timings.prompt_ms,
            "eval_duration": timings.predict_ms,
        }
        known = {
            name: round(value * _NS_PER_MS)
            for name, value in durations.items()
            if value is not None
        }
        fields |= {"total_duration": sum(known.values()), **known}
    if usage is not None:
        counts = {"prompt_eval_count": usage.prompt_tokens, "eval_count": usage.output_tokens}
        fields |= {name: value for name, value in counts.items() if value is not None}
    return fields
