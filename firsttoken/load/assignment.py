"""What a talker is told to do next, by whoever directs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from gevent.pool import Group

from firsttoken.load.client import Line
from firsttoken.load.exchange import Exchange, Place
from firsttoken.load.schedules.turn import Turn
from firsttoken.wire.dialect import ChatRequest

ASIDE_S = 300.0
"""How long work is waited for that is done aside: as long as by a voice server that has a
conversation summed up, whatever the patience of who talks."""


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
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent beside those of the dialect."""
    aside: bool = False
    """As :attr:`~firsttoken.load.schedules.turn.Turn.aside`."""
    asides: Group | None = None
    """Joined by whoever does it aside, so that the director can end it; None: it does not."""


def assign(
    turn: Turn,
    place: Place,
    request_id: str,
    line: Line,
    *,
    model: str,
    extra: Mapping[str, Any] | None = None,
    asides: Group | None = None,
) -> Assignment:
    """Return what a talker has to do for ``turn``."""
    if turn.aside:
        limits = replace(line.limits, total_s=ASIDE_S, silence_s=ASIDE_S)
        line = replace(line, limits=limits)
    request = ChatRequest(
        model=model,
        messages=turn.messages,
        stream=True,
        max_tokens=turn.max_tokens,
        temperature=turn.temperature,
        tools=[dict(tool) for tool in turn.tools],
        include_usage=True,
        extra=extra or {},
    )
    return Assignment(
        place,
        request_id,
        turn.t_sched_ns,
        request,
        line,
        hang_up_after_ms=turn.hang_up_after_ms,
        keep_text=turn.keep_text,
        headers=_sdk_headers(line) if turn.as_sdk else {},
        aside=turn.aside,
        asides=asides,
    )


def _sdk_headers(line: Line) -> dict[str, str]:
    """Return what the client library of a voice server tells of its own patience and retries."""
    return {
        "x-stainless-retry-count": "0",
        "x-stainless-read-timeout": f"{line.limits.silence_s:g}",
    }


class Director(Protocol):
    """Decides what each talker sends and when, and hears how it went."""

    def arrive(self) -> int:
        """Give a new talker its number, from 0."""

    def next(self, user: int) -> Assignment:
        """Return what talker ``user`` shall send now; holds the talker until there is something."""

    def done(self, user: int, assignment: Assignment, exchange: Exchange) -> None:
        """Hear how an assignment ended. Called exactly once for each, stopped talkers included."""
