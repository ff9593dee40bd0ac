"""Arguments of tool calls as a voice server can read them while they come."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from firsttoken.core.words import ANSWER_TOOL
from firsttoken.wire.events import Event, ToolArgument
from firsttoken.wire.speech.closing import closing_mark
from firsttoken.wire.speech.direct_answer import RESPONSE, ResponseReader
from firsttoken.wire.speech.json_text import object_text, quoted

START = f'{{"{RESPONSE}": "'
"""How the arguments of an answer begin: xiaozhi looks for this, character by character."""

FINISH = '"}'

PIECE_CHARACTERS = 8
"""Characters of an answer at most that are sent in one piece."""

HELD_CHARACTERS = 16_384
"""Characters of one call that are held back at most."""

CALLS = 64
"""Calls in one reply at most, and answers; more are dropped."""

_TAIL_CHARACTERS = 64
"""Characters of the end of an answer that are kept to find its language."""


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    text: str = ""


@dataclass(slots=True)
class _Answer:
    id: str
    reader: ResponseReader = field(default_factory=ResponseReader)
    begun: bool = False
    finished: bool = False
    tail: str = ""


class Arguments:
    """Holds the arguments of a call back until they are whole, and streams those of
    ``direct_answer``.

    A call that the device will carry out is given as id and name, then arguments, once these are
    one JSON object. At the end of the reply missing brackets are added; what still is no object is
    dropped, and so is, when the reply broke off, whatever is not whole.

    The arguments of ``direct_answer`` are written anew: they begin with :data:`START`, come in
    pieces of at most :data:`PIECE_CHARACTERS` characters none of which ends inside an escape, and
    are finished as JSON however the reply ends. An answer that says nothing is dropped.
    """

    takes: ClassVar[frozenset[type]] = frozenset({ToolArgument})

    def __init__(self) -> None:
        self._answers: dict[int, _Answer] = {}
        self._held: dict[int, _Call] = {}
        self._over: set[int] = set()
        """Calls that were given or dropped."""

    def feed(self, event: Event) -> Sequence[Event]:
        """See :class:`firsttoken.wire.speech.chain.Transformer`."""
        if type(event) is not ToolArgument:
            return (event,)
        index, text = event.index, event.text
        if event.name == ANSWER_TOOL and index not in self._answers and len(self._answers) < CALLS:
            before = self._held.pop(index, None) or _Call()
            self._answers[index] = _Answer(event.id or before.id)
            text = before.text + text
        if answer := self._answers.get(index):
            said = self._say(index, answer, answer.reader.feed(text), event.t_ns)
            return [*said, *self._finish(index, answer, event.t_ns)]
        return self._hold(event)

    def close(self, t_ns: int) -> Sequence[Event]:
        """See :class:`firsttoken.wire.speech.chain.Transformer`."""
        out: list[Event] = []
        for index, answer in self._answers.items():
            out += self._say(index, answer, answer.reader.close(), t_ns)
            out += self._finish(index, answer, t_ns)
        for index, call in list(self._held.items()):
            out += self._give(index, object_text(call.text.strip() or "{}", mend=True), t_ns)
        return out

    def cut(self, t_ns: int) -> Sequence[Event]:
        """See :class:`firsttoken.wire.speech.chain.Transformer`: an answer is finished with a full
        stop."""
        out: list[Event] = []
        for index, answer in self._answers.items():
            out += self._say(index, answer, answer.reader.close(), t_ns)
            if answer.begun and not answer.finished:
                out += self._say(index, answer, closing_mark(answer.tail), t_ns)
            out += self._finish(index, answer, t_ns)
        for index, call in list(self._held.items()):
            out += self._give(index, object_text(call.text, mend=False), t_ns)
        return out

    def _say(self, index: int, answer: _Answer, text: str, t_ns: int) -> Iterable[Event]:
        if not text:
            return
        before = ""
        if not answer.begun:
            answer.begun = True
            before = START
            yield ToolArgument(t_ns, index, answer.id, ANSWER_TOOL, "")
        answer.tail = (answer.tail + text)[-_TAIL_CHARACTERS:]
        for place in range(0, len(text), PIECE_CHARACTERS):
            piece = quoted(text[place : place + PIECE_CHARACTERS])
            yield ToolArgument(t_ns, index, "", "", before + piece)
            before = ""

    @staticmethod
    def _finish(index: int, answer: _Answer, t_ns: int) -> Iterable[Event]:
        if answer.reader.ended and answer.begun and not answer.finished:
            answer.finished = True
            yield ToolArgument(t_ns, index, "", "", FINISH)

    def _hold(self, event: ToolArgument) -> Sequence[Event]:
        index = event.index
        if index in self._over:
            return ()
        out: list[Event] = []
        call = self._held.get(index)
        if call is None:
            # The next call has begun, so those before it are over, if they can be.
            for other, begun in list(self._held.items()):
                if text := object_text(begun.text, mend=False):
                    out += self._give(other, text, event.t_ns)
            if len(self._held) + len(self._over) >= CALLS:
                return out
            call = self._held[index] = _Call()
        call.id = call.id or event.id
        call.name = call.name or event.name
        call.text += event.text
        if len(call.text) > HELD_CHARACTERS:
            out += self._give(index, "", event.t_ns)
        elif event.text.rstrip().endswith("}") and call.name:
            # An empty object may be the beginning of another: some servers send it first.
            text = object_text(call.text, mend=False)
            if text.strip("{} \n\r\t"):
                out += self._give(index, text, event.t_ns)
        return out

    def _give(self, index: int, arguments: str, t_ns: int) -> Sequence[Event]:
        """Give a call that is over; one without arguments or without a name is dropped."""
        call = self._held.pop(index)
        self._over.add(index)
        if not arguments or not call.name:
            return ()
        return (
            ToolArgument(t_ns, index, call.id, call.name, ""),
            ToolArgument(t_ns, index, "", "", arguments),
        )
