"""OpenAI chat completion chunks: events out of a stream, and a stream out of events.

Reads what OpenAI, llama.cpp, vLLM, SGLang, Ollama's compatible front and DashScope's compatible
mode send: ``data:`` frames with ``choices[0].delta``, token counts on the finish chunk or on one
of their own, llama.cpp's ``timings``, vLLM's ``metrics``, errors inside the stream in four shapes,
``[DONE]``.
"""

from __future__ import annotations

from typing import Any

from firsttoken.core.words import ErrorType
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
from firsttoken.wire.logprobs import read_probabilities
from firsttoken.wire.reader import StreamReader
from firsttoken.wire.sse import SseFrame, SseSplitter
from firsttoken.wire.tool_calls import ToolCallNumbers
from firsttoken.wire.values import (
    UnreadableError,
    as_list,
    as_object,
    as_text,
    count,
    dump,
    kind,
    load_object,
    milliseconds,
)

DONE = b"data: [DONE]\n\n"


def read_delta(
    delta: dict[str, Any], t_ns: int, numbers: ToolCallNumbers, out: list[Event]
) -> None:
    """Append the events of a ``delta`` of a chunk, or of the ``message`` of a whole reply.

    Raises:
        UnreadableError: a field has a type that no server sends.
    """
    # vLLM sends the reasoning under both names; it is one text.
    reasoning = delta.get("reasoning_content") or delta.get("reasoning")
    if reasoning and isinstance(reasoning, str):
        out.append(Reasoning(t_ns, reasoning))
    content = as_text(delta.get("content"), "delta.content")
    if content:
        out.append(Text(t_ns, content))
    if delta.get("tool_calls"):
        numbers.read(delta["tool_calls"], t_ns, out)


def read_logprobs(logprobs: object, t_ns: int, out: list[Event]) -> None:
    """Append the probabilities in ``logprobs`` of a choice, where they can be read."""
    if isinstance(logprobs, dict):
        read_probabilities(logprobs.get("content"), t_ns, out)


def read_usage(chunk: dict[str, Any], t_ns: int) -> Usage | None:
    """Return the token counts of a chunk: ``usage``, completed by llama.cpp's ``timings``."""
    usage = chunk.get("usage")
    timings = chunk.get("timings")
    usage = usage if isinstance(usage, dict) else {}
    timings = timings if isinstance(timings, dict) else {}
    if not usage and not timings:
        return None
    details = usage.get("prompt_tokens_details")
    cached = count(details.get("cached_tokens")) if isinstance(details, dict) else None
    prompt = count(usage.get("prompt_tokens"))
    output = count(usage.get("completion_tokens"))
    reused, evaluated = count(timings.get("cache_n")), count(timings.get("prompt_n"))
    if prompt is None and reused is not None and evaluated is not None:
        prompt = count(reused + evaluated)
    return Usage(
        t_ns,
        prompt,
        reused if cached is None else cached,
        count(timings.get("predicted_n")) if output is None else output,
    )


def read_timings(chunk: dict[str, Any], t_ns: int) -> Timings | None:
    """Return llama.cpp's ``timings`` of a chunk, or vLLM's ``metrics``.

    Both load their model before they listen. vLLM sends ``metrics`` beside ``usage`` where it was
    started with ``--enable-per-request-metrics``; its time to first token begins when the request
    left the engine's queue, and so is that of reading the prompt and of the first decode step.
    """
    timings = chunk.get("timings")
    if not isinstance(timings, dict):
        return _read_metrics(chunk.get("metrics"), t_ns)
    return Timings(
        t_ns,
        None,
        milliseconds(timings.get("prompt_ms")),
        milliseconds(timings.get("predicted_ms")),
    )


def _read_metrics(metrics: object, t_ns: int) -> Timings | None:
    """Return vLLM's ``metrics``; None where it has none, or nothing but nulls."""
    if not isinstance(metrics, dict):
        return None
    prompt, predict, queue = (
        milliseconds(metrics.get(name))
        for name in ("time_to_first_token_ms", "generation_time_ms", "queue_time_ms")
    )
    if prompt is None and predict is None and queue is None:
        return None
    return Timings(t_ns, None, prompt, predict, queue)


def is_error(chunk: dict[str, Any]) -> bool:
    """Whether a JSON object reports an error instead of text."""
    return bool(chunk.get("error")) or chunk.get("object") == "error"


class OpenAiReader(StreamReader[SseFrame]):
    """Reads a stream of chat completion chunks.

    A stream that closes after a finish reason but without ``[DONE]`` is whole. Of several
    choices only the one with index 0 is read.
    """

    def __init__(self) -> None:
        super().__init__(SseSplitter())
        self._numbers = ToolCallNumbers()

    def _read(self, frame: SseFrame, t_ns: int, out: list[Event]) -> None:
        if frame.error or frame.event == b"error":
            self._fail(read_error_frame(frame, t_ns), out)
            return
        data = frame.data
        if not data.startswith(b"{"):
            data = data.strip()
            if data == b"[DONE]":
                self._end(t_ns, self._finish_reason or "", out)
                return
            if not data:
                return
        chunk = load_object(data)
        if is_error(chunk):
            self._fail(faults.failure(chunk, t_ns, frame.status), out)
            return
        self._read_chunk(chunk, t_ns, out)

    def _read_chunk(self, chunk: dict[str, Any], t_ns: int, out: list[Event]) -> None:
        before = len(out)
        role = ""
        finish: object = None
        choice = _first_choice(chunk.get("choices"))
        if choice is not None:
            if logprobs := choice.get("logprobs"):
                read_logprobs(logprobs, t_ns, out)
                before = len(out)
            delta = as_object(choice.get("delta"), "choices[0].delta")
            read_delta(delta, t_ns, self._numbers, out)
            if isinstance(found := delta.get("role"), str):
                role = found
            finish = choice.get("finish_reason")
        usage = None
        if "usage" in chunk or "timings" in chunk or "metrics" in chunk:
            usage = read_usage(chunk, t_ns)
            if usage is not None:
                self._usage = _completed(usage, self._usage)
            self._timings = read_timings(chunk, t_ns) or self._timings
        if finish:
            self._finish(finish, t_ns, out)
        elif len(out) == before and (usage is None or choice is not None):
            out.append(Role(t_ns, role))

    def _finish(self, finish: object, t_ns: int, out: list[Event]) -> None:
        reason = as_text(finish, "choices[0].finish_reason")
        if reason == "error":
            message = "the server ended the reply with finish_reason error"
            self._fail(Failure(t_ns, ErrorType.PROTOCOL, message, None), out)
        else:
            self._finish_reason = reason


def _first_choice(choices: object) -> dict[str, Any] | None:
    """Return the choice with index 0, or None where there is none in this chunk."""
    for item in as_list(choices, "choices"):
        if not isinstance(item, dict):
            raise UnreadableError(f"choices[]: expected an object, got {kind(item)}")
        if not item.get("index"):
            return item
    return None


def _completed(usage: Usage, before: Usage | None) -> Usage:
    """Return the newer counts, with the older ones where the newer chunk does not say."""
    if before is None:
        return usage
    return Usage(
        usage.t_ns,
        before.prompt_tokens if usage.prompt_tokens is None else usage.prompt_tokens,
        before.cached_tokens if usage.cached_tokens is None else usage.cached_tokens,
        before.output_tokens if usage.output_tokens is None else usage.output_tokens,
    )


def read_error_frame(frame: SseFrame, t_ns: int) -> Failure:
    """Return the failure in an ``event: error`` frame or in an ``error:`` field."""
    body = frame.error or frame.data
    try:
        payload: object = load_object(body)
    except UnreadableError:
        payload = body[: 8 * faults.MAX_MESSAGE].decode("utf-8", "replace")
    return faults.failure(payload, t_ns, frame.status)


class OpenAiWriter:
    """Writes a stream of chat completion chunks.

    Token counts and timings are kept until the end: the timings go onto the finish chunk, as
    llama.cpp sends them, the counts onto a chunk of their own where the client asked for them.
    """

    def __init__(self, identity: ReplyIdentity, include_usage: bool) -> None:
        self._identity = identity
        self._include_usage = include_usage
        self._role_written = False
        self._calls_begun: set[int] = set()
        self._usage: Usage | None = None
        self._timings: Timings | None = None

    def write(self, event: Event) -> bytes:
        """Return the bytes of one event; empty where the dialect has no form for it."""
        match event:
            case Text():
                delta: dict[str, Any] = {"content": event.text}
            case Reasoning():
                delta = {"reasoning_content": event.text}
            case ToolArgument():
                delta = {"tool_calls": [self._fragment(event)]}
            case Role():
                if self._role_written:
                    return b""
                delta = {"content": ""}
            case Failure():
                return (
                    b"data: "
                    + dump(faults.openai_error(event.message, event.error_type, event.status))
                    + b"\n\n"
                )
            case End():
                return self._end(event.finish_reason)
            case Usage() | Timings():
                self._hold(event)
                return b""
            case Probabilities():
                return b""
        return self._delta(delta)

    def _hold(self, event: Usage | Timings) -> None:
        if isinstance(event, Usage):
            self._usage = event
        else:
            self._timings = event

    def _fragment(self, event: ToolArgument) -> dict[str, Any]:
        """Return one element of ``tool_calls``; id and type come with the first one only."""
        function: dict[str, str] = {"arguments": event.text}
        if event.name:
            function["name"] = event.name
        fragment: dict[str, Any] = {"index": event.index, "function": function}
        if event.index not in self._calls_begun:
            self._calls_begun.add(event.index)
            fragment["id"] = event.id or f"call_{self._identity.id}_{event.index}"
            fragment["type"] = "function"
        return fragment

    def _delta(self, delta: dict[str, Any], finish: str | None = None, **more: object) -> bytes:
        if not self._role_written:
            self._role_written = True
            delta = {"role": "assistant", **delta}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return self._chunk([choice], **more)

    def _chunk(self, choices: list[dict[str, Any]], **more: object) -> bytes:
        chunk: dict[str, Any] = {
            "id": self._identity.id,
            "object": "chat.completion.chunk",
            "created": self._identity.created_unix_s,
            "model": self._identity.model,
            "choices": choices,
        }
        if self._include_usage:
            chunk["usage"] = None
        return b"data: " + dump(chunk | more) + b"\n\n"

    def _end(self, finish_reason: str) -> bytes:
        more = {} if self._timings is None else {"timings": timings_object(self._timings)}
        written = self._delta({}, finish_reason or "stop", **more)
        if self._include_usage and self._usage is not None:
            written += self._chunk([], usage=usage_object(self._usage))
        return written + DONE


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return the ``usage`` of a reply; counts that nobody named are 0, as clients need numbers."""
    prompt, output = usage.prompt_tokens or 0, usage.output_tokens or 0
    counts: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
    }
    if usage.cached_tokens is not None:
        counts["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return counts


def timings_object(timings: Timings) -> dict[str, float]:
    """Return llama.cpp's ``timings``, with what is known of them."""
    named = {"prompt_ms": timings.prompt_ms, "predicted_ms": timings.predict_ms}
    return {name: value for name, value in named.items() if value is not None}
