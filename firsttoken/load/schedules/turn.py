"""What a schedule is: for each talker, what to send next and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from firsttoken.load.exchange import Exchange


@dataclass(frozen=True, slots=True)
class Turn:
    """One request, ready to be sent."""

    t_sched_ns: int
    """When it was meant to be sent; never in the future when a schedule returns it."""
    session: int
    """Number of the session in its block; with :attr:`number` it names the request."""
    number: int
    """Of the turn in its session, from 0."""
    messages: list[dict[str, Any]]
    """In the shape of OpenAI messages."""
    max_tokens: int
    hang_up_after_ms: float | None = None
    """When the person interrupts, counted from the first speakable sentence, with which the device
    begins to speak: a reply that still streams then is given up. None: never."""
    keep_text: bool = False
    """Whether the schedule wants to read the reply."""
    hop: int = 0
    """Of the request in its turn, from 0: a tool that was used is told of in another request of the
    same :attr:`number`."""
    last: bool = False
    """Whether the session ends with it."""
    tools: Sequence[Mapping[str, Any]] = ()
    """Offered to the model, in the shape of OpenAI tools."""
    temperature: float | None = None
    as_sdk: bool = False
    """Whether the request bears the headers of a voice server's client library."""
    aside: bool = False
    """Work that nobody waits for: it is sent over a connection of its own, beside what the talker
    does next, and is no part of what is judged."""


class Wait(NamedTuple):
    """Nothing to send before this moment."""

    until_ns: int


@dataclass(slots=True)
class Window:
    """The times of a block, ns. What is not known yet is None: the steady part begins when the
    load has come to rest, and may go on until the figures are sharp enough."""

    start_ns: int
    ramp_ns: int
    """By when all talkers have begun; at or before the steady part."""
    steady_ns: int | None = None
    stop_ns: int | None = None

    def over(self, now_ns: int) -> bool:
        """Whether nothing new may begin."""
        return self.stop_ns is not None and now_ns >= self.stop_ns

    def steady(self, t_ns: int) -> bool:
        """Whether what was planned for ``t_ns`` counts."""
        return self.steady_ns is not None and t_ns >= self.steady_ns


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a run's talkers and planned starts that one of several load generators drives:
    each number counts for the whole run, so that ids, texts and times are those of one process."""

    index: int = 0
    of: int = 1

    def holds(self, number: int) -> bool:
        """Whether the talker or start of this number belongs to it."""
        return number % self.of == self.index

    def count(self, total: int) -> int:
        """Return how many of ``total`` belong to the largest share."""
        return -(-total // self.of)


WHOLE = Share()


class Starts(NamedTuple):
    """What became of the planned starts of an open loop's steady part."""

    scheduled: int
    late: int
    dropped: int


class Schedule(Protocol):
    """Decides for each talker of one block what it sends and when. Pure: time is passed in."""

    elastic: bool
    """Whether the beginning and the end of the steady part may be found while it runs. False where
    every start is planned beforehand."""

    def next(self, user: int, now_ns: int, window: Window) -> Turn | Wait | None:
        """Return what ``user`` shall send now, or until when it waits; None: nothing more."""

    def done(self, user: int, turn: Turn, exchange: Exchange, now_ns: int) -> None:
        """Hear how a turn ended."""

    def owes(self, now_ns: int, window: Window) -> bool:
        """Whether starts are still due though the block's time is over."""

    def starts(self, window: Window) -> Starts | None:
        """Return what became of the planned starts; None where none were planned."""
