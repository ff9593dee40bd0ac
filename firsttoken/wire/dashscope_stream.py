"""DashScope's native streams: events out of ``event:result`` frames, and back.

Frames look like ``id:1``, ``event:result``, ``:HTTP_STATUS/200``, ``data:{...}``, without a space
after the colon. ``finish_reason`` is the text "null" until the end, counts come with every frame,
and there is no end mark but a finish reason. Text is in ``output.choices[0].message`` or, with
``result_format`` "text", in ``output.text``.
"""

from __future__ import annotations

from typing import Any

from firsttoken.wire import faults
from firsttoken.wire.dialect import ReplyIdentity
from firsttoken.wire.events import (
    End,
    Event,
    Failure,
    Probabilities,
    Reasoning,
    Role,
    Text,
    Timings,
    ToolArgument,
    Usage,
)
from firsttoken.wire.growing import Growth
from firsttoken.wire.openai_stream import read_error_frame
from firsttoken.wire.reader import StreamReader
from firsttoken.wire.sse import SseFrame, SseSplitter
from firsttoken.wire.tool_calls import ToolCallNumbers
from firsttoken.wire.values import as_list, as_object, as_text, count, dump, load_object


class DashScopeReader(StreamReader[SseFrame]):
    """Reads a native stream.

    Args:
        cumulative: whether each frame repeats the text so far. None: found from the stream, by
            the rule of :class:`firsttoken.wire.growing.Growth`.
    """

    def __init__(self, *, cumulative: bool | None = None) -> None:
        super().__init__(SseSplitter())
        self._growth = Growth(cumulative)
        self._numbers = ToolCallNumbers()
        self._tokens = 0

    def _read(self, frame: SseFrame, t_ns: int, out: list[Event]) -> None:
        if frame.error or frame.event == b"error":
            self._fail(read_error_frame(frame, t_ns), out)
        elif frame.data.strip():
            self.read_object(load_object(frame.data), t_ns, frame.status, out)

    def read_object(
        self, body: dict[str, Any], t_ns: int, status: int | None, out: list[Event]
    ) -> None:
        """Append the events of one frame; a reply that is not streamed is one frame's data.

        Raises:
            UnreadableError: a field has a type that DashScope does not send.
        """
        if body.get("error") or (body.get("code") and not body.get("output")):
            self._fail(faults.failure(body, t_ns, status), out)
            return
        usage = _read_usage(body.get("usage"), t_ns)
        self._usage = usage or self._usage
        output = as_object(body.get("output"), "output")
        message, finish = _message(output)
        before = len(out)
        # A last frame brings no text of its own in an incremental stream; a cumulative one
        # repeats the text in it, and may count the end token.
        news = self._has_grown(usage) and finish in {"", "null"}
        self._read_message(message, t_ns, out, news=news)
        if finish and finish != "null":
            self._end(t_ns, finish, out)
        elif len(out) == before:
            role = message.get("role")
            out.append(Role(t_ns, role if isinstance(role, str) else ""))

    def _has_grown(self, usage: Usage | None) -> bool:
        """Whether the server has counted more output tokens than in the frame before; true where
        it does not count."""
        if usage is None or usage.output_tokens is None:
            return True
        before, self._tokens = self._tokens, usage.output_tokens
        return usage.output_tokens > before

    def _read_message(
        self, message: dict[str, Any], t_ns: int, out: list[Event], *, news: bool
    ) -> None:
        reasoning = as_text(message.get("reasoning_content"), "reasoning_content")
        content = as_text(message.get("content"), "content")
        called = bool(message.get("tool_calls"))
        # An incremental frame brings one kind of text; what stands beside a later kind, unchanged,
        # is a repetition.
        still_reasoning = news and not content and not called
        if piece := self._growth.piece("reasoning", reasoning, news=still_reasoning):
            out.append(Reasoning(t_ns, piece))
        if piece := self._growth.piece("content", content, news=news and not called):
            out.append(Text(t_ns, piece))
        if not called:
            return
        calls: list[Event] = []
        self._numbers.read(message["tool_calls"], t_ns, calls)
        for call in calls:
            if isinstance(call, ToolArgument):
                text = self._growth.piece(f"arguments {call.index}", call.text, news=news)
                if text or call.id or call.name:
                    out.append(call._replace(text=text))


def _message(output: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the message and the finish reason of either result format."""
    choices = as_list(output.get("choices"), "output.choices")
    if not choices:
        finish = as_text(output.get("finish_reason"), "output.finish_reason")
        return {**output, "content": output.get("text")}, finish
    choice = as_object(choices[0], "output.choices[0]")
    finish = as_text(choice.get("finish_reason"), "output.choices[0].finish_reason")
    return as_object(choice.get("message"), "output.choices[0].message"), finish


def _read_usage(usage: object, t_ns: int) -> Usage | None:
    if not isinstance(usage, dict) or not usage:
        return None
    details = usage.get("prompt_tokens_details")
    cached = count(details.get("cached_tokens")) if isinstance(details, dict) else None
    return Usage(t_ns, count(usage.get("input_tokens")), cached, count(usage.get("output_tokens")))


class DashScopeWriter:
    """Writes a native stream.

    Args:
        identity: its id is the ``request_id``; DashScope's frames name no model.
        cumulative: repeat the text so far in each frame (``incremental_output`` false, which is
            DashScope's default).
        text_format: write ``output.text`` (``result_format`` "text") instead of messages; such a
            stream has no form for reasoning and tool calls.

    Counts come with the last frame only: nobody has counted before.
    """

    def __init__(
        self, identity: ReplyIdentity, *, cumulative: bool = False, text_format: bool = False
    ) -> None:
        self._identity = identity
        self._cumulative = cumulative
        self._text_format = text_format
        self._frames = 0
        self._content = ""
        self._reasoning = ""
        self._calls: dict[int, dict[str, Any]] = {}
        self._usage: Usage | None = None

    def write(self, event: Event) -> bytes:
        """Return the bytes of one event; empty where the dialect has no form for it."""
        match event:
            case Text():
                self._content = self._joined(self._content, event.text)
            case Reasoning() if not self._text_format:
                self._reasoning = self._joined(self._reasoning, event.text)
            case ToolArgument() if not self._text_format:
                self._add_fragment(event)
            case Role():
                pass
            case Failure():
                return self._error(event)
            case End():
                return self._frame(event.finish_reason or "stop")
            case Usage() | Timings() | Probabilities() | Reasoning() | ToolArgument():
                self._usage = event if isinstance(event, Usage) else self._usage
                return b""
        return self._frame("null")

    def _joined(self, before: str, text: str) -> str:
        return before + text if self._cumulative else text

    def _add_fragment(self, event: ToolArgument) -> None:
        new = {"name": event.name, "arguments": event.text}
        if self._cumulative and (known := self._calls.get(event.index)):
            function = known["function"]
            function["arguments"] += event.text
            function["name"] = function["name"] or event.name
            known["id"] = known["id"] or event.id
            return
        call = {"index": event.index, "id": event.id, "type": "function", "function": new}
        self._calls[event.index] = call

    def _frame(self, finish_reason: str) -> bytes:
        if self._text_format:
            output: dict[str, Any] = {"text": self._content, "finish_reason": finish_reason}
        else:
            message: dict[str, Any] = {"role": "assistant", "content": self._content}
            if self._reasoning:
                message["reasoning_content"] = self._reasoning
            if self._calls:
                message["tool_calls"] = list(self._calls.values())
            output = {"choices": [{"message": message, "finish_reason": finish_reason}]}
        usage = usage_object(self._usage)
        body = {"output": output, "usage": usage, "request_id": self._identity.id}
        if not self._cumulative:
            self._content = self._reasoning = ""
            self._calls = {}
        return self._framed(b"result", 200, body)

    def _error(self, failure: Failure) -> bytes:
        error = faults.dashscope_error(failure.message, failure.error_type, self._identity.id)
        return self._framed(b"error", failure.status, error)

    def _framed(self, event: bytes, status: int | None, body: dict[str, Any]) -> bytes:
        self._frames += 1
        comment = b"" if status is None else b":HTTP_STATUS/%d\n" % status
        return b"id:%d\nevent:%b\n%bdata:%b\n\n" % (self._frames, event, comment, dump(body))


def usage_object(usage: Usage | None) -> dict[str, Any]:
    """Return ``usage``, with what is known of it."""
    if usage is None:
        return {}
    counts: dict[str, Any] = {}
    if usage.prompt_tokens is not None:
        counts["input_tokens"] = usage.prompt_tokens
    if usage.output_tokens is not None:
        counts["output_tokens"] = usage.output_tokens
    if counts:
        counts["total_tokens"] = sum(counts.values())
    if usage.cached_tokens is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return counts
