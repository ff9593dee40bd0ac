"""Starts planned beforehand, taken by a pool of talkers: what open loop and replay share."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from firsttoken.core.clock import NS_PER_MS
from firsttoken.load.schedules.turn import WHOLE, Share, Starts, Wait

LATE_NS = 10 * NS_PER_MS
"""A start is late when it is taken this long after its time: longer than a busy event loop is."""


class Position(NamedTuple):
    """Where a start stands."""

    session: int
    turn: int
    """From 0, in its session."""


class Taken(NamedTuple):
    """A start that a talker shall make now."""

    number: int
    """Of the start in its block, from 0."""
    t_sched_ns: int
    position: Position


class PlannedStarts:
    """Hands the planned starts of one block to its talkers, in order of time.

    A talker without work waits for the time of the next start that nobody waits for yet, so that
    they are not all woken for each start. Whoever comes first when starts are due takes the first
    of them. With no talker free a start waits, and its planned time stays what it was. A turn whose
    session is still being answered waits for that reply, and is then taken by the talker who heard
    it.

    Args:
        offsets_ns: planned times after the start of the block, in order.
        position: of a start, by its number; the turns of a session follow one another in time.
        steady_from_ns: offset from which on starts count.
        drop_after_ns: a start that has waited this long is not made.
        share: the sessions whose starts are made here, where there are several load generators.
    """

    def __init__(
        self,
        offsets_ns: Sequence[int],
        position: Callable[[int], Position],
        steady_from_ns: int,
        drop_after_ns: int,
        share: Share = WHOLE,
    ) -> None:
        self._offsets_ns = offsets_ns
        self._position = position
        self._steady_from_ns = steady_from_ns
        self._drop_after_ns = drop_after_ns
        self._share = share
        self._next = 0
        """The first start that nobody waits for."""
        self._awaited: deque[int] = deque()
        """Starts that are waited for, in order: as many as there are talkers who wait."""
        self._waiting: set[int] = set()
        self._busy: set[int] = set()
        """Sessions with a turn under way, or released to be."""
        self._parked: dict[int, deque[int]] = {}
        """By session: starts whose time came while its turn before was under way."""
        self._released: list[int] = []
        """Heap of starts that were parked and may be made."""
        self._late = 0
        self._dropped = 0

    def take(self, user: int, now_ns: int, start_ns: int) -> Taken | Wait | None:
        """Return the start that ``user`` shall make, or until when it waits; None: none is left
        for it. ``start_ns`` is the start of the block."""
        while True:
            released = user not in self._waiting and bool(self._released)
            if released:
                number = heapq.heappop(self._released)
            elif user in self._waiting or self._has_next():
                until_ns = start_ns + self._offsets_ns[self._await(user)]
                number = self._awaited[0]
                if now_ns < start_ns + self._offsets_ns[number]:
                    return Wait(until_ns)
                self._awaited.popleft()
                self._waiting.discard(user)
            else:
                return None
            due_ns = start_ns + self._offsets_ns[number]
            position = self._position(number)
            if not released and position.session in self._busy:
                self._parked.setdefault(position.session, deque()).append(number)
                continue
            self._busy.add(position.session)
            counts = self._offsets_ns[number] >= self._steady_from_ns
            waited_ns = now_ns - due_ns
            if waited_ns < self._drop_after_ns:
                self._late += counts and waited_ns > LATE_NS
                return Taken(number, due_ns, position)
            self._dropped += counts
            self.ended(position.session)

    def ended(self, session: int) -> None:
        """Let the next turn of a session be made, now that the one before is over."""
        parked = self._parked.get(session)
        if not parked:
            self._busy.discard(session)
            return
        # The session stays busy: a later turn must not overtake the one released.
        heapq.heappush(self._released, parked.popleft())
        if not parked:
            del self._parked[session]

    def owes(self) -> bool:
        """Whether a start is still to be made or dropped."""
        return bool(self._awaited or self._parked or self._released) or self._has_next()

    def starts(self) -> Starts:
        """Return what became of the starts that count."""
        scheduled = sum(
            offset_ns >= self._steady_from_ns and self._share.holds(self._position(number).session)
            for number, offset_ns in enumerate(self._offsets_ns)
        )
        return Starts(scheduled, self._late, self._dropped)

    def _await(self, user: int) -> int:
        """Return the start whose time ``user`` waits for: one more if it did not wait yet, else the
        first of all, for others may have taken those before."""
        if user in self._waiting:
            return self._awaited[0]
        self._awaited.append(self._next)
        self._waiting.add(user)
        self._next += 1
        return self._awaited[-1]

    def _has_next(self) -> bool:
        """Go to the next start of this share that nobody waits for; return whether there is one."""
        while self._next < len(self._offsets_ns):
            if self._share.holds(self._position(self._next).session):
                return True
            self._next += 1
        return False
