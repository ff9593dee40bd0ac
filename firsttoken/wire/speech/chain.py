"""The transformers that one reply needs, one after the other.

Order matters: thinking may hold tool calls that are never meant, calls written as text must be
calls before their arguments are read, calls may be dropped before they are numbered, and only what
comes out at the end may not be a text of exactly ``content``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from firsttoken.core.words import ANSWER_TOOL
from firsttoken.wire.events import End, Event, Text, ToolArgument
from firsttoken.wire.speech.arguments import Arguments
from firsttoken.wire.speech.closing import closing_mark
from firsttoken.wire.speech.content_word import ContentWord
from firsttoken.wire.speech.direct_answer import DirectAnswer
from firsttoken.wire.speech.thinking import Thinking
from firsttoken.wire.speech.tool_numbers import ToolNumbers
from firsttoken.wire.speech.tool_text import ToolText

if TYPE_CHECKING:
    from firsttoken.core.settings.voice import Voice

_TAIL_PIECES = 64
"""Pieces of the last text that are kept to find the language of an unfinished sentence."""


class Transformer(Protocol):
    """Changes the events of one kind or two; no I/O."""

    takes: ClassVar[frozenset[type]]
    """The kinds of events that it wants to see; all others go past it."""

    def feed(self, event: Event) -> Sequence[Event]:
        """Take one event; return what comes of it. An event that does not change is returned
        itself, alone."""

    def close(self, t_ns: int) -> Sequence[Event]:
        """Say that the reply ended; return what was held back."""

    def cut(self, t_ns: int) -> Sequence[Event]:
        """Say that the reply broke off; return what of the held-back can be used."""


_Step = tuple[int, Callable[[Event], Sequence[Event]]]


class Chain:
    """Transformers in their order. An event that none of them takes costs one look-up.

    Usage, timings and failures come through in their places. What is held back is given before
    ``End``, whose finish reason is made to fit: ``tool_calls`` if there are any, and only then.
    After ``End`` nothing more comes.
    """

    def __init__(self, parts: Sequence[Transformer]) -> None:
        self._parts = tuple(parts)
        kinds = frozenset[type]().union(*(part.takes for part in self._parts))
        # For each stage and kind of event: the next stages that take it.
        self._routes: list[dict[type, tuple[_Step, ...]]] = [
            {
                kind: tuple(
                    (place + 1, part.feed)
                    for place, part in enumerate(self._parts)
                    if place >= stage and kind in part.takes
                )
                for kind in kinds
            }
            for stage in range(len(self._parts) + 1)
        ]
        self._tail: deque[str] = deque(maxlen=_TAIL_PIECES)
        self._called = False
        self._ended = False

    def feed(self, events: list[Event]) -> list[Event]:
        """Take the events of one read; return those to hand on, possibly none."""
        out: list[Event] = []
        for event in events:
            if self._ended:
                break
            if type(event) is End:
                self._end(event, out)
            else:
                self._through(event, 0, out)
        return out

    def cut(self, t_ns: int) -> list[Event]:
        """Say that the reply broke off; return what finishes it so that it can be said: what was
        held back and can be used, the end of the sentence, ``End``. Nothing after ``End``."""
        out: list[Event] = []
        if not self._ended:
            self._ended = True
            self._give(_cutting, t_ns, out)
            if mark := closing_mark("".join(self._tail)):
                out.append(Text(t_ns, mark))
            # Calls that were given are whole, and are to be carried out.
            out.append(End(t_ns, "tool_calls" if self._called else "stop"))
        return out

    def _end(self, event: End, out: list[Event]) -> None:
        self._ended = True
        reason = event.finish_reason
        # A reply that reached its limit of tokens stops anywhere, like one that was cut.
        self._give(_cutting if reason == "length" else _closing, event.t_ns, out)
        if self._called and reason in ("stop", ""):
            reason = "tool_calls"
        elif reason == "tool_calls" and not self._called:
            reason = "stop"
        out.append(End(event.t_ns, reason) if self._parts else event)

    def _give(
        self,
        held: Callable[[Transformer, int], Sequence[Event]],
        t_ns: int,
        out: list[Event],
    ) -> None:
        for place, part in enumerate(self._parts, 1):
            for event in held(part, t_ns):
                self._through(event, place, out)

    def _through(self, event: Event, stage: int, out: list[Event]) -> None:
        """Send ``event`` through the parts from ``stage`` on."""
        kind = type(event)
        for after, feed in self._routes[stage].get(kind, ()):
            made = feed(event)
            if len(made) == 1 and made[0] is event:
                continue
            for each in made:
                self._through(each, after, out)
            return
        out.append(event)
        if type(event) is Text:
            self._tail.append(event.text)
        elif type(event) is ToolArgument:
            self._called = True
            # What follows a call is a sentence of its own.
            self._tail.clear()


def _closing(part: Transformer, t_ns: int) -> Sequence[Event]:
    return part.close(t_ns)


def _cutting(part: Transformer, t_ns: int) -> Sequence[Event]:
    return part.cut(t_ns)


def chain_for(voice: Voice, *, tools: Sequence[dict[str, Any]], unwrap: bool) -> Chain:
    """Return the chain of one reply.

    Args:
        voice: says which transformers are switched on.
        tools: those that the client offered. A call of another tool that comes as text is dropped;
            of ``direct_answer`` alone it is said, since its argument is meant to be heard.
        unwrap: whether calls of ``direct_answer`` become text although the client offered it.
    """
    names = frozenset(_names(tools))
    as_text = unwrap or ANSWER_TOOL not in names
    parts: list[Transformer] = []
    if voice.strip_thinking:
        parts.append(Thinking())
    if voice.read_tool_text:
        parts.append(ToolText(names, stream_answer=as_text or voice.restream_arguments))
    if as_text:
        parts.append(DirectAnswer())
    if voice.restream_arguments:
        parts.append(Arguments())
    # Calls out of text have no numbers yet, and a call that became text leaves a gap.
    if voice.number_tools or voice.read_tool_text or as_text:
        parts.append(ToolNumbers())
    if voice.guard_content_word:
        parts.append(ContentWord())
    return Chain(parts)


def _names(tools: Sequence[dict[str, Any]]) -> list[str]:
    functions = [tool.get("function") for tool in tools]
    names = [function.get("name") for function in functions if isinstance(function, dict)]
    return [name for name in names if isinstance(name, str)]
