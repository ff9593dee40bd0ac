"""A whole reply out of its events: for replies that are not streamed, and for dialects that send
a tool call in one piece."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

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
    is_token,
)


@dataclass(slots=True)
class ToolCall:
    """One tool call, whole."""

    id: str = ""
    name: str = ""
    arguments: str = ""
    """JSON text, as the model wrote it."""


@dataclass(slots=True)
class Reply:
    """What a stream said in all."""

    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    """In the order of their first fragments."""
    usage: Usage | None = None
    timings: Timings | None = None
    finish_reason: str = ""
    """Empty where no ``End`` came."""
    failure: Failure | None = None


class ToolCalls:
    """Joins the fragments of tool calls."""

    def __init__(self) -> None:
        self._calls: dict[int, ToolCall] = {}
        self._pieces: dict[int, list[str]] = {}

    def add(self, event: ToolArgument) -> None:
        """Take one fragment."""
        call = self._calls.setdefault(event.index, ToolCall())
        call.id = call.id or event.id
        call.name = call.name or event.name
        self._pieces.setdefault(event.index, []).append(event.text)

    def joined(self) -> list[ToolCall]:
        """Return the calls so far."""
        return [
            ToolCall(call.id, call.name, "".join(self._pieces[index]))
            for index, call in self._calls.items()
        ]


def collect(events: Iterable[Event]) -> Reply:
    """Join the events of one reply."""
    reply = Reply()
    texts: list[str] = []
    reasonings: list[str] = []
    calls = ToolCalls()
    for event in events:
        match event:
            case Text():
                texts.append(event.text)
            case Reasoning():
                reasonings.append(event.text)
            case ToolArgument():
                calls.add(event)
            case Usage():
                reply.usage = event
            case Timings():
                reply.timings = event
            case End():
                reply.finish_reason = event.finish_reason
            case Failure():
                reply.failure = event
    reply.text = "".join(texts)
    reply.reasoning = "".join(reasonings)
    reply.tool_calls = calls.joined()
    return reply


def led_by_role(events: list[Event]) -> list[Event]:
    """Return the events of a whole reply; before one that carries no token, a ``Role``, which is
    what its stream would begin with."""
    last = events[-1]
    if isinstance(last, Failure) or any(is_token(event) for event in events):
        return events
    return [Role(last.t_ns, "assistant"), *events]
