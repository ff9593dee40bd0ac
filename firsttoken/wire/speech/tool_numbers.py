"""Numbers, ids and names of tool calls as clients that check them want them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import ClassVar

from firsttoken.wire.events import Event, ToolArgument

HELD_CHARACTERS = 65_536
"""Characters that are held back at most while a call has no name."""


def random_id() -> str:
    """Return an id that no other call has."""
    return f"call_{secrets.token_hex(12)}"


class ToolNumbers:
    """Numbers calls from 0 without gaps, in the order in which they begin; each has an id of its
    own and tells it and its name once, with its first fragment. A call that is never named is
    dropped.

    Args:
        make_id: gives an id to a call that has none, or one that was used before.
    """

    takes: ClassVar[frozenset[type]] = frozenset({ToolArgument})

    def __init__(self, make_id: Callable[[], str] = random_id) -> None:
        self._make_id = make_id
        self._numbers: dict[int, int] = {}
        self._ids: set[str] = set()
        self._unnamed: dict[int, tuple[str, str]] = {}
        """Id and text of calls without a name so far."""
        self._room = HELD_CHARACTERS

    def feed(self, event: Event) -> Sequence[Event]:
        """See :class:`firsttoken.wire.speech.chain.Transformer`."""
        if type(event) is not ToolArgument:
            return (event,)
        t_ns, index, call_id, name, text = event
        number = self._numbers.get(index)
        if number is None:
            return self._begin(event)
        if number == index and not call_id and not name:
            return (event,)
        return (ToolArgument(t_ns, number, "", "", text),) if text else ()

    def close(self, t_ns: int) -> Sequence[Event]:  # noqa: ARG002
        """See :class:`firsttoken.wire.speech.chain.Transformer`."""
        return ()

    def cut(self, t_ns: int) -> Sequence[Event]:  # noqa: ARG002
        """See :class:`firsttoken.wire.speech.chain.Transformer`."""
        return ()

    def _begin(self, event: ToolArgument) -> Sequence[Event]:
        t_ns, index, call_id, name, text = event
        before_id, before = self._unnamed.pop(index, ("", ""))
        call_id, text = call_id or before_id, before + text
        if not name:
            # One more than its text, so that empty fragments are bounded as well.
            self._room -= 1 + len(event.text)
            if self._room >= 0:
                self._unnamed[index] = (call_id, text)
            return ()
        if not call_id or call_id in self._ids:
            call_id = self._make_id()
        self._ids.add(call_id)
        number = self._numbers[index] = len(self._numbers)
        return (ToolArgument(t_ns, number, call_id, name, text),)
