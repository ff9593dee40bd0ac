"""What a talker is told to do next, by whoever directs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from firsttoken.load.client import Line
from firsttoken.load.exchange import Exchange, Place
from firsttoken.wire.dialect import ChatRequest


@dataclass(frozen=True, slots=True)
class Assignment:
    """One request that a talker shall send now."""

    place: Place
    request_id: str
    t_sched_ns: int
    """When it was meant to be sent: the talker's own start for its first request, else the moment
    its talker was free again (a closed loop's plan is "at once")."""
    request: ChatRequest
    line: Line
    hang_up_after_ms: float | None = None
    """As :attr:`~firsttoken.load.schedules.turn.Turn.hang_up_after_ms`."""
    keep_text: bool = False


class Director(Protocol):
    """Decides what each talker sends and when, and hears how it went."""

    def arrive(self) -> int:
        """Give a new talker its number, from 0."""

    def next(self, user: int) -> Assignment:
        """Return what talker ``user`` shall send now; holds the talker until there is something."""

    def done(self, user: int, assignment: Assignment, exchange: Exchange) -> None:
        """Hear how an assignment ended. Called exactly once for each, stopped talkers included."""
