"""An index of answers by what was asked for.

The guards' canonical form is a key, so the only entry that may answer a text is found by one look
in a table, however many entries there are and however alike they look; the encoder then has to
agree. A search for the nearest vectors would do more work to find less: the nearest neighbours of
"a timer for 15 minutes" are timers for other times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from firsttoken.language.encoder import UniversalSentenceEncoder, Vector
from firsttoken.language.form import form
from router.cache.exact import ExactCache

V = TypeVar("V")
LazyVector = Callable[[], Vector]
"""Makes a vector when there is something to compare it with; expected to keep what it made."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[V]):
    """A kept answer, and the text it was given to."""

    text: str
    vector: LazyVector
    value: V


class SemanticIndex(Generic[V]):
    """Keeps up to ``size`` answers for ``ttl_s`` seconds each; the least used one makes room.

    Every call takes the time in seconds of one clock, which may start anywhere. A scope is a digest
    of all that must be equal besides the text; texts of different scopes never meet.
    One thread uses it: it has no lock.
    """

    def __init__(self, size: int, ttl_s: float) -> None:
        self.threshold = UniversalSentenceEncoder.threshold
        """Similarity that a hit needs; the one of the encoder in use."""
        self._entries: ExactCache[Entry[V]] = ExactCache(size, ttl_s)

    def lookup(self, scope: bytes, text: str, vector: LazyVector, now_s: float) -> Entry[V] | None:
        """Return the answer to a text that asks for the same, or None.

        The text has to be one that ``guards.cacheable`` lets pass.
        """
        entry = self._entries.get((scope, form(text).key), now_s)
        if entry is None or float(entry.vector() @ vector()) < self.threshold:
            return None
        return entry

    def put(self, scope: bytes, text: str, vector: LazyVector, value: V, now_s: float) -> None:
        """Keep the answer to a text, in place of one to a text that asked for the same."""
        self._entries.put((scope, form(text).key), Entry(text, vector, value), now_s)

    def remove(self, scope: bytes, text: str) -> None:
        """Forget the answer to a text, if there is one."""
        self._entries.remove((scope, form(text).key))
