"""Having an engine read system prompts before anybody asks.

The beginnings of prompts that were seen lately are kept, in memory only. Whenever no slot of the
engine has read one that is wanted, it is sent once more, one at a time and behind everybody who
talks; what a talker interrupts is not lost, since the engine keeps how far it came. What could not
be read is tried again after a pause.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile

from firsttoken.wire.dialect import ChatRequest
from router.voice.fingerprints import LEAST_PINNED_BYTES, Prompt, fingerprint

MOST = 8
"""Beginnings that are kept."""

MOST_BYTES = 262_144
"""Of one beginning, to be kept."""

PAUSE_S = 5.0
"""After a reading that failed, and until it is looked again whether the engine can be asked."""

MOST_PAUSE_S = 300.0
"""The pause is doubled with each failure, up to this."""

_HEADS = frozenset({"system", "developer"})

Ask = Callable[[ChatRequest], Awaitable[bool]]
"""Has the engine read a beginning, when nobody else needs it, and does nothing where it has; says
whether nothing is left to do, else it is to be tried again."""


def beginning_of(request: ChatRequest, prompt: Prompt | None = None) -> ChatRequest | None:
    """Return a request that has the beginning of a prepared one read: its system prompt and its
    tools, and one token for an answer; None where it has none, or it is short, or too long.

    ``prompt`` is its fingerprint, where it is known.
    """
    size = (prompt or fingerprint(request)).beginning_only.size
    if not LEAST_PINNED_BYTES <= size <= MOST_BYTES:
        return None
    fields = {name: value for name, value in request.extra.items() if name not in _OF_ONE_REPLY}
    head = takewhile(lambda message: message["role"] in _HEADS, request.messages)
    # Some templates refuse a conversation in which nobody has spoken.
    asked = [*head, {"role": "user", "content": "."}]
    return replace(request, messages=asked, stream=True, max_tokens=1, stop=[], extra=fields)


_OF_ONE_REPLY = frozenset({"id_slot", "stream_options", "logprobs", "top_logprobs", "user"})


@dataclass(slots=True)
class _Beginning:
    request: ChatRequest
    pause_s: float = 0.0
    """After the last reading, where it failed; else 0."""
    due_s: float = 0.0
    """Before which it is not tried again."""


class Warmer:
    """Keeps the beginnings of prompts, and has them read.

    Args:
        ask: has one read.
        usable: whether the engine may be asked now; while it may not, what is wanted stays so.
        most: kept at once; the one that was not seen for longest goes.
    """

    def __init__(
        self, ask: Ask, usable: Callable[[], bool] = lambda: True, most: int = MOST
    ) -> None:
        self._ask = ask
        self._usable = usable
        self._most = most
        self._known: OrderedDict[int, _Beginning] = OrderedDict()
        self._wanted = asyncio.Event()

    def __len__(self) -> int:
        """Return how many beginnings are kept."""
        return len(self._known)

    def seen(self, request: ChatRequest, prompt: Prompt | None = None) -> None:
        """Note a prepared request and its fingerprint, where it is known; its beginning is wanted
        from now on."""
        prompt = prompt or fingerprint(request)
        beginning = beginning_of(request, prompt)
        if beginning is None:
            return
        key = prompt.beginning
        # The newest one, since the engine may be asked in another dialect now.
        self._known.setdefault(key, _Beginning(beginning)).request = beginning
        self._known.move_to_end(key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        self._wanted.set()

    def all_wanted(self) -> None:
        """Say that the engine has forgotten everything."""
        for beginning in self._known.values():
            beginning.pause_s = beginning.due_s = 0.0
        if self._known:
            self._wanted.set()

    def take_over(self, before: Warmer) -> None:
        """Keep what another one has kept."""
        for key, beginning in before._known.items():
            self._known[key] = beginning
        self.all_wanted()

    async def run(self) -> None:
        """Have read what is wanted, for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while (pause_s := await self._round()) is not None:
                # What is wanted meanwhile need not wait until what has failed is tried again.
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._wanted.wait()
                self._wanted.clear()

    async def _round(self) -> float | None:
        """Have read what is due, newest first; return after how many seconds there is more to do,
        None where there is not."""
        now_s = asyncio.get_running_loop().time
        for beginning in reversed(tuple(self._known.values())):
            if not self._usable():
                return PAUSE_S
            if beginning.due_s > now_s():
                continue
            if await self._ask(beginning.request):
                beginning.pause_s = beginning.due_s = 0.0
            else:
                beginning.pause_s = min(MOST_PAUSE_S, 2 * beginning.pause_s or PAUSE_S)
                beginning.due_s = now_s() + beginning.pause_s
        due = [each.due_s for each in self._known.values() if each.pause_s]
        return max(0.0, min(due) - now_s()) if due else None
