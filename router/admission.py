"""The queue in front of one local engine: as wide as its slots, first come, first served.

A request that waits for a slot waits for its first token, so the wait is counted apart and
predicted for whoever comes next. Requests that somebody's next words depend on have a head start
in the line; requests that nobody waits for stand in a line of their own behind it, are let in only
where the engine has nothing else to do, and give way to whoever comes. For the tasks of one event
loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from firsttoken.core.clock import NS_PER_S, NowNs, monotonic_ns
from firsttoken.core.words import CallClass

LEAST_WAITING = 16
"""Places in line at least, however few the slots."""

FIRST_GUESS_S = 3.0
"""How long a slot is held, before one was given back: some 40 tokens at the 6 to 25 a second of a
small machine."""

MOST_BEHIND = 64
"""Requests in the line behind everybody, at most."""

HEAD_START_S: dict[CallClass, float] = {
    CallClass.INTENT: 5.0,
    CallClass.AFTER_TOOL: 1.0,
}
"""By how much a request is taken to have come earlier than it did; other classes by nothing.

An intent is short, and the same person's chat begins only after it; after a tool was used somebody
has waited once already. Within a class it is first come, first served, and nobody is overtaken by
those who come more than the longest head start later: nobody starves.
"""

_NEWEST_SHARE = 0.1
"""Weight of the newest holding time in the mean."""


class QueueFullError(Exception):
    """The line is as long as it may be."""


def predicted_wait_s(ages_s: Iterable[float], mean_hold_s: float, places: int, slots: int) -> float:
    """Return how many seconds it takes until ``places`` of the holders have left.

    Holding times are taken as spread evenly between 0 and twice their mean m, so that of one who
    has held a slot for a seconds, 1 / (2 m - a) leave a second; of one who is overdue (a over
    4/3 m), 2 / a: who is late stays late. Together the holders leave at the sum of these rates;
    those who take their places leave at 1 / m each.

    Args:
        ages_s: for how long each holder has had its slot.
        mean_hold_s: mean holding time, over 0.
        places: how many must leave, one included for whoever asks; 0 gives 0.
        slots: slots of the engine.
    """
    rates = [1 / max(2 * mean_hold_s - age, age / 2) for age in ages_s]
    first = min(places, len(rates))
    wait = first / sum(rates) if first else 0.0
    return wait + (places - first) * mean_hold_s / max(1, slots)


class Ticket:
    """One place in a line, then one slot; made by :meth:`Admission.enter` and
    :meth:`Admission.enter_behind`."""

    def __init__(self, admission: Admission) -> None:
        self.granted_ns: int | None = None
        """When it got its slot; None while it waits, or where it left before."""
        self.on_disturbed: Callable[[], None] | None = None
        """Is called, once, when its slot is taken away, as happens behind everybody: what it was
        used for must end at once, and :meth:`granted` may be waited for again."""
        self._admission = admission
        self._left = False
        self._woken: asyncio.Future[None] | None = None

    async def granted(self) -> None:
        """Wait for the slot. A wait that is cancelled gives the place up, also where the slot came
        at the same moment.

        Raises:
            CancelledError: the wait was cancelled, or the ticket left meanwhile.
            RuntimeError: the ticket has left before.
        """
        if self._left:
            raise RuntimeError("this ticket has left")
        # It may be taken away again before whoever waits has run.
        while self.granted_ns is None:
            if self._woken is None or self._woken.done():
                self._woken = asyncio.get_running_loop().create_future()
            try:
                await self._woken
            except asyncio.CancelledError:
                self.leave()
                raise

    def leave(self) -> None:
        """Give the slot or the place in line back, for good; more than once does nothing."""
        if not self._left:
            self._left = True
            self._admission._leave(self)  # noqa: SLF001 - two halves of one thing
            if self._woken is not None:
                self._woken.cancel()

    def _grant(self, now_ns: int) -> None:
        self.granted_ns = now_ns
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def _take_away(self) -> None:
        self.granted_ns = None
        told, self.on_disturbed = self.on_disturbed, None
        if told is not None:
            told()


class Admission:
    """The slots of one engine and the lines before them.

    Args:
        slots: answers that the engine makes at once; None where it does not say, then everybody
            enters at once.
        now_ns: a clock.
        most_waiting: length of the line at most; None: as many as there are slots, at least
            :data:`LEAST_WAITING`.
    """

    def __init__(
        self, slots: int | None, now_ns: NowNs = monotonic_ns, *, most_waiting: int | None = None
    ) -> None:
        self.slots = slots
        self._now_ns = now_ns
        self._most_waiting = most_waiting
        self._holders: dict[Ticket, int] = {}
        """When each got its slot, ns."""
        self._line: dict[Ticket, int] = {}
        """When each came, less its head start, ns; in order of entry. Whoever gives up is gone at
        once."""
        self._behind: dict[Ticket, None] = {}
        """Those who wait until nobody else is here; the next one first."""
        self._guest: Ticket | None = None
        """The one of them that has the engine for itself now."""
        self._mean_hold_s = FIRST_GUESS_S
        self._given_back = 0

    @property
    def in_use(self) -> int:
        """Slots held; for a while more than there are after the engine came back with fewer."""
        return len(self._holders) + (self._guest is not None)

    @property
    def waited_for(self) -> int:
        """Slots held by those that somebody waits for: without the one from behind everybody,
        which may be begun anew."""
        return len(self._holders)

    @property
    def waiting(self) -> int:
        """Tickets in line, without those behind it."""
        return len(self._line)

    @property
    def waiting_behind(self) -> int:
        """Tickets that wait until nobody else is here."""
        return len(self._behind)

    @property
    def full(self) -> bool:
        """Whether :meth:`enter` would refuse."""
        if self._free or self.slots is None:
            return False
        longest = max(self.slots, LEAST_WAITING)
        return self.waiting >= (longest if self._most_waiting is None else self._most_waiting)

    @property
    def _free(self) -> bool:
        # A guest does not count: it gives way.
        return self.slots is None or len(self._holders) < self.slots

    def enter(self, now_ns: int, call: CallClass = CallClass.OTHER) -> Ticket:
        """Return a ticket, with its slot where one is free. Its ``leave`` must be called.

        Raises:
            QueueFullError: the line is as long as it may be.
        """
        if self.full:
            raise QueueFullError(f"{self.waiting} requests wait for {self.slots} slots")
        ticket = Ticket(self)
        self._line[ticket] = now_ns - int(HEAD_START_S.get(call, 0.0) * NS_PER_S)
        self._dismiss_guest()
        self._admit(now_ns)
        return ticket

    def enter_behind(self, now_ns: int) -> Ticket:
        """Return a ticket of the line behind everybody. Its ``leave`` must be called.

        It is granted where nobody has a slot or waits for one, to one at a time, and taken away
        when somebody enters: then it is the first of its line again.

        Raises:
            QueueFullError: the line is as long as it may be.
        """
        if len(self._behind) >= MOST_BEHIND:
            raise QueueFullError(f"{len(self._behind)} requests wait until nobody talks")
        ticket = Ticket(self)
        self._behind[ticket] = None
        self._admit(now_ns)
        return ticket

    def predicted_wait_s(self, now_ns: int) -> float:
        """Return how many seconds a request that came now would wait for its slot."""
        if self._free or self.slots is None:
            return 0.0
        ages_s = [(now_ns - granted_ns) / NS_PER_S for granted_ns in self._holders.values()]
        places = self.waiting + 1 + len(self._holders) - self.slots
        return predicted_wait_s(ages_s, self._mean_hold_s, places, self.slots)

    def resize(self, slots: int | None) -> None:
        """Take over another number of slots; who holds one keeps it."""
        self.slots = slots
        self._admit(self._now_ns())

    def _leave(self, ticket: Ticket) -> None:
        now_ns = self._now_ns()
        self._line.pop(ticket, None)
        self._behind.pop(ticket, None)
        if self._guest is ticket:
            self._guest = None
        granted_ns = self._holders.pop(ticket, None)
        if granted_ns is not None:
            self._learn((now_ns - granted_ns) / NS_PER_S)
        self._admit(now_ns)

    def _learn(self, held_s: float) -> None:
        self._given_back += 1
        # The first ones weigh as in a plain mean, so that the guess is soon forgotten.
        weight = max(_NEWEST_SHARE, 1 / self._given_back)
        self._mean_hold_s = max(1e-3, self._mean_hold_s + weight * (held_s - self._mean_hold_s))

    def _admit(self, now_ns: int) -> None:
        line = self._line
        while line and self._free:
            # Of several that are due at once, the first that came.
            ticket = min(line, key=line.__getitem__)
            del line[ticket]
            self._holders[ticket] = now_ns
            ticket._grant(now_ns)  # noqa: SLF001 - two halves of one thing
        quiet = not line and not self._holders and self._guest is None
        if quiet and self._behind and self._free:
            self._guest = next(iter(self._behind))
            del self._behind[self._guest]
            self._guest._grant(now_ns)  # noqa: SLF001

    def _dismiss_guest(self) -> None:
        """Take the engine away from the one that had it because nobody else was here."""
        guest, self._guest = self._guest, None
        if guest is not None:
            self._behind = {guest: None, **self._behind}
            guest._take_away()  # noqa: SLF001
