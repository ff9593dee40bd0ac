"""Tool calls that a model writes as text, made into tool calls."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import ClassVar

from firsttoken.core.words import ANSWER_TOOL
from firsttoken.wire.events import Event, Text, ToolArgument
from firsttoken.wire.speech.markers import LEAD, first_marker, partial_marker
from firsttoken.wire.speech.written_calls import WrittenCall, looks_like_call, read_calls

OPENING = "<tool_call>"
CLOSING = "</tool_call>"
_BOTH = (OPENING, CLOSING)

HELD_CHARACTERS = 16_384
"""Characters of one call that are held back at most."""

FIRST_INDEX = 1024
"""Index of the first call made here; those of the stream itself are below."""

_ANSWER = re.compile(
    r'\s*(?:```(?:json)?\s*)?\{\s*"name"\s*:\s*"'
    + ANSWER_TOOL
    + r'"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)'
)
"""The beginning of a written ``direct_answer``, up to its arguments."""


class ToolText:
    """Makes ``<tool_call>{"name": …, "arguments": {…}}</tool_call>`` in the text a tool call.

    The closing marker may be missing at the end or before the next call, the JSON may stand in a
    fence, and ``parameters`` may stand for ``arguments``. White space after a call is dropped with
    it. What is no call is given back as it came. A call that is broken beyond mending is dropped,
    for its JSON cannot be said, and so is one of a tool that was not offered, but for
    ``direct_answer``: a later transformer makes that text.

    The calls made here have no id, and indexes from :data:`FIRST_INDEX` on.

    Args:
        names: of the tools that the client offered.
        stream_answer: whether the arguments of ``direct_answer`` are given while they come. What
            follows them, such as the last brace, comes with them, so a later transformer has to
            take the argument out.
    """

    takes: ClassVar[frozenset[type]] = frozenset({Text})

    def __init__(self, names: Collection[str], *, stream_answer: bool) -> None:
        self._names = frozenset({*names, ANSWER_TOOL})
        self._stream_answer = stream_answer
        self._held = ""
        """The beginning of a marker, or the call so far."""
        self._inside = False
        self._answer = -1
        """The index of the answer that is being given, -1 where there is none."""
        self._skipping = False
        """Whether we are in a call that is dropped."""
        self._trim = False
        self._index = FIRST_INDEX

    def feed(self, event: Event) -> Sequence[Event]:
        """See :class:`firsttoken.wire.speech.chain.Transformer`."""
        if type(event) is not Text:
            return (event,)
        if not (self._held or self._inside or self._trim) and LEAD not in event.text:
            return (event,)
        out: list[Event] = []
        self._read(self._held + event.text, event.t_ns, out)
        return out

    def close(self, t_ns: int) -> Sequence[Event]:
        """See :class:`firsttoken.wire.speech.chain.Transformer`: a call may lack its closing
        marker."""
        out: list[Event] = []
        held, self._held = self._held, ""
        if self._inside and not self._streaming:
            self._finish(held, "", t_ns, out)
        elif held and not self._inside:
            out.append(Text(t_ns, held))
        self._inside = False
        return out

    def cut(self, t_ns: int) -> Sequence[Event]:
        """See :class:`firsttoken.wire.speech.chain.Transformer`: only a call that is whole is
        given, and half a marker cannot be said."""
        out: list[Event] = []
        if self._inside and not self._streaming:
            self._call(read_calls(self._held, mend=False) or (), t_ns, out)
        self._held, self._inside = "", False
        return out

    @property
    def _streaming(self) -> bool:
        """Whether the call goes on, or away, as it comes, and is not held back."""
        return self._answer >= 0 or self._skipping

    def _read(self, text: str, t_ns: int, out: list[Event]) -> None:
        self._held = ""
        while text:
            if not self._inside:
                text = self._outside(text, t_ns, out)
            elif self._streaming:
                text = self._stream(text, t_ns, out)
            else:
                text = self._hold(text, t_ns, out)

    def _outside(self, text: str, t_ns: int, out: list[Event]) -> str:
        """Give what is said up to the next call; return the rest, from the call on."""
        if self._trim:
            text = text.lstrip()
            self._trim = not text
        place = text.find(OPENING)
        self._inside = place >= 0
        if not self._inside:
            place = partial_marker(text, (OPENING,))
            self._held = text[place:]
        if place:
            out.append(Text(t_ns, text[:place]))
        return text[place + len(OPENING) :] if self._inside else ""

    def _hold(self, text: str, t_ns: int, out: list[Event]) -> str:
        """Take the call so far; return what is left once it is clear what it is."""
        if self._stream_answer and (match := _ANSWER.match(text)):
            self._answer = self._begin(ANSWER_TOOL, "", t_ns, out)
            return text[match.end() :]
        if found := first_marker(text, _BOTH):
            place, marker = found
            self._inside = marker == OPENING
            rest = text[place + len(marker) :]
            self._finish(text[:place], "" if self._inside else CLOSING, t_ns, out)
            return rest
        if len(text) <= HELD_CHARACTERS:
            self._held = text
        elif looks_like_call(text):
            self._skipping = True
        else:
            self._inside = False
            out.append(Text(t_ns, OPENING + text))
        return ""

    def _stream(self, text: str, t_ns: int, out: list[Event]) -> str:
        """Hand on the arguments up to the end of the call; return what follows it."""
        found = first_marker(text, _BOTH)
        place, marker = found or (partial_marker(text, _BOTH), "")
        if place and self._answer >= 0:
            out.append(ToolArgument(t_ns, self._answer, "", "", text[:place]))
        if not marker:
            self._held = text[place:]
            return ""
        self._inside = marker == OPENING
        self._answer, self._skipping, self._trim = -1, False, True
        return text[place + len(marker) :]

    def _finish(self, body: str, closing: str, t_ns: int, out: list[Event]) -> None:
        calls = read_calls(body, mend=True)
        if calls is None and not looks_like_call(body):
            out.append(Text(t_ns, OPENING + body + closing))
            return
        self._call(calls or (), t_ns, out)
        self._trim = True

    def _call(self, calls: Collection[WrittenCall], t_ns: int, out: list[Event]) -> None:
        for call in calls:
            if call.name in self._names:
                self._begin(call.name, call.arguments, t_ns, out)

    def _begin(self, name: str, arguments: str, t_ns: int, out: list[Event]) -> int:
        index = self._index
        self._index += 1
        out.append(ToolArgument(t_ns, index, "", name, arguments))
        return index
