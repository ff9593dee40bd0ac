"""An index of answers by what was asked for.

The guards' canonical form is a key, so the only entry that may answer a text is found by one look
in a table, however many entries there are and however alike they look; the encoder then has to
agree. A search for the nearest vectors would do more work to find less: the nearest neighbours of
"a timer for 15 minutes" are timers for other times.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from firsttoken.language.encoder import UniversalSentenceEncoder, Vector
from firsttoken.language.form import form

V = TypeVar("V")
LazyVector = Vector | Callable[[], Vector]
"""A vector, or what returns it: called once, and only when there is something to compare with."""


@dataclass(frozen=True, slots=True)
class Hit(Generic[V]):
    """A kept answer, and the text it was given to."""

    value: V
    similarity: float
    text: str


@dataclass(slots=True)
class _Entry(Generic[V]):
    text: str
    vector: LazyVector
    value: V
    expires_s: float


class SemanticIndex(Generic[V]):
    """Keeps up to ``size`` answers for ``ttl_s`` seconds each; the least used one makes room.

    Every call takes the time in seconds of one clock, which may start anywhere. A scope is a digest
    of all that must be equal besides the text; texts of different scopes never meet.
    One thread uses it: it has no lock.
    """

    def __init__(
        self, size: int, ttl_s: float, threshold: float = UniversalSentenceEncoder.threshold
    ) -> None:
        self.threshold = threshold
        """Similarity that a hit needs; the one of the encoder in use."""
        self._size = size
        self._ttl_s = ttl_s
        self._entries: OrderedDict[tuple[bytes, tuple[str, ...]], _Entry[V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def lookup(self, scope: bytes, text: str, vector: LazyVector, now_s: float) -> Hit[V] | None:
        """Return the answer to a text that asks for the same, or None.

        The text has to be one that ``guards.cacheable`` lets pass.
        """
        key = (scope, form(text).key)
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_s <= now_s:
            del self._entries[key]
            return None
        entry.vector = _resolved(entry.vector)
        similarity = float(entry.vector @ _resolved(vector))
        if similarity < self.threshold:
            return None
        self._entries.move_to_end(key)
        return Hit(entry.value, similarity, entry.text)

    def put(self, scope: bytes, text: str, vector: LazyVector, value: V, now_s: float) -> None:
        """Keep the answer to a text, in place of one to a text that asked for the same."""
        key = (scope, form(text).key)
        self._entries[key] = _Entry(text, vector, value, now_s + self._ttl_s)
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def remove(self, scope: bytes, text: str) -> None:
        """Forget the answer to a text, if there is one."""
        self._entries.pop((scope, form(text).key), None)


def _resolved(vector: LazyVector) -> Vector:
    return vector() if callable(vector) else vector
