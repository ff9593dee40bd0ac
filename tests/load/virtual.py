"""Talkers and a server in virtual time: what a schedule does, without waiting for it."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import NamedTuple

from firsttoken.core.clock import NS_PER_S
from firsttoken.load.exchange import Exchange
from firsttoken.load.schedules.turn import Schedule, Turn, Wait, Window

START_NS = 1_000_000_000_000


class Sent(NamedTuple):
    """One request; times in ns after the start of the block."""

    user: int
    turn: Turn
    due_ns: int
    sent_ns: int
    first_token_ns: int
    ended_ns: int

    @property
    def ttft_ms(self) -> float:
        return (self.first_token_ns - self.sent_ns) / 1e6

    @property
    def ttft_user_ms(self) -> float:
        return (self.first_token_ns - self.due_ns) / 1e6


def play(
    schedule: Schedule,
    users: int,
    window: Window,
    *,
    slots: int = 10**9,
    service_s: Callable[[int], float] = lambda _number: 0.1,
) -> list[Sent]:
    """Let ``users`` talkers follow ``schedule`` against a server that answers ``slots`` requests at
    once, first come first served: the n-th takes ``service_s(n)``, its first token comes when it
    has a slot. Returns the requests in the order in which they were sent."""
    events: list[tuple[int, int, int]] = [(START_NS, 0, user) for user in range(users)]
    under_way: dict[int, Sent] = {}
    free_ns = [START_NS] * min(slots, 10_000)
    done: list[Sent] = []
    while events:
        now_ns, order, user = heapq.heappop(events)
        if user in under_way:
            sent = under_way.pop(user)
            schedule.done(user, sent.turn, Exchange("r", sent.turn.t_sched_ns), now_ns)
        found = schedule.next(user, now_ns, window)
        if isinstance(found, Wait):
            assert found.until_ns > now_ns
            heapq.heappush(events, (found.until_ns, order + 1, user))
        elif found is not None:
            begun_ns = max(now_ns, heapq.heappop(free_ns))
            ended_ns = begun_ns + int(service_s(len(done)) * NS_PER_S)
            heapq.heappush(free_ns, ended_ns)
            times = (found.t_sched_ns, now_ns, begun_ns, ended_ns)
            under_way[user] = Sent(user, found, *(stamp - START_NS for stamp in times))
            done.append(under_way[user])
            heapq.heappush(events, (ended_ns, order + 1, user))
    assert not schedule.owes(10**15, window)
    return done


def window_of(warmup_s: float, steady_s: float) -> Window:
    """Return the window of a block that starts at :data:`START_NS`."""
    steady_ns = START_NS + int(warmup_s * NS_PER_S)
    return Window(START_NS, steady_ns, steady_ns, steady_ns + int(steady_s * NS_PER_S))
