"""Keeping a text from being exactly the word that stops a client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from firsttoken.wire.events import Event, Text, ToolArgument

WORD = "content"
"""xiaozhi looks for this key in a pair of text and calls: a text that equals it is taken for a
key, and the turn ends in an error."""

_HALF = len(WORD) // 2


class ContentWord:
    """Joins a text of exactly :data:`WORD` with the next one; where none follows, it is given in
    two pieces."""

    takes: ClassVar[frozenset[type]] = frozenset({Text, ToolArgument})

    def __init__(self) -> None:
        self._held = False

    def feed(self, event: Event) -> Sequence[Event]:
        """See :class:`firsttoken.wire.speech.chain.Transformer`."""
        if self._held:
            self._held = False
            if type(event) is Text:
                return (Text(event.t_ns, WORD + event.text),)
            return (*_halves(event.t_ns), event)
        if type(event) is Text and event.text == WORD:
            self._held = True
            return ()
        return (event,)

    def close(self, t_ns: int) -> Sequence[Event]:
        """See :class:`firsttoken.wire.speech.chain.Transformer`."""
        held, self._held = self._held, False
        return _halves(t_ns) if held else ()

    def cut(self, t_ns: int) -> Sequence[Event]:
        """See :class:`firsttoken.wire.speech.chain.Transformer`."""
        return self.close(t_ns)


def _halves(t_ns: int) -> Sequence[Event]:
    return Text(t_ns, WORD[:_HALF]), Text(t_ns, WORD[_HALF:])
