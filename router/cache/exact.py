"""The exact cache: a reply is found again by everything that changes an answer."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

import orjson

from firsttoken.wire.dialect import ChatRequest

_Value = TypeVar("_Value")


def key_of(request: ChatRequest, tenant: str, *, text: bool = True) -> bytes:
    """Return the SHA-256 of everything that changes the answer to ``request``.

    Whether the reply is streamed, and whether its token counts are wanted, does not. ``text``
    False leaves out the last message: what remains is the scope within which two questions may be
    compared by their meaning.
    """
    messages = request.messages if text else request.messages[:-1]
    parts = (
        tenant,
        request.model,
        messages,
        request.tools,
        request.max_tokens,
        request.temperature,
        request.top_p,
        request.stop,
        request.seed,
        {name: value for name, value in request.extra.items() if name != "stream_options"},
    )
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).digest()


class ExactCache(Generic[_Value]):
    """The values used last, each for a limited time.

    Args:
        size: entries at most; the one not used for longest makes room.
        ttl_s: seconds for which an entry is found.
    """

    def __init__(self, size: int, ttl_s: float) -> None:
        self._size = size
        self._ttl_s = ttl_s
        self._entries: OrderedDict[Hashable, tuple[float, _Value]] = OrderedDict()

    def get(self, key: Hashable, now_s: float) -> _Value | None:
        """Return the value of ``key``, or None where there is none or it is too old."""
        found = self._entries.get(key)
        if found is None:
            return None
        put_s, value = found
        if now_s - put_s >= self._ttl_s:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: Hashable, value: _Value, now_s: float) -> None:
        """Keep ``value`` from ``now_s`` on."""
        self._entries[key] = (now_s, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def remove(self, key: Hashable) -> None:
        """Forget the value of ``key``, if there is one."""
        self._entries.pop(key, None)
