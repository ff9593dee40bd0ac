"""Talkers without a plan: Locust's own ``-u``, ``-r``, ``-t`` and web UI direct them."""

from __future__ import annotations

import time
from dataclasses import dataclass

import gevent
from locust.exception import StopUser

from firsttoken.core.clock import NS_PER_S, monotonic_ns
from firsttoken.load.assignment import Assignment
from firsttoken.load.client import Line
from firsttoken.load.corpus import Corpus
from firsttoken.load.exchange import Exchange, Place
from firsttoken.load.plan import SHORTEST_REPLY_TOKENS, request_id, session_id
from firsttoken.load.schedules.closed import ClosedLoop
from firsttoken.load.schedules.turn import Schedule, Turn, Window
from firsttoken.load.script import Script
from firsttoken.wire.dialect import ChatRequest

ARM = "target"


@dataclass(frozen=True, slots=True)
class Asked:
    """What every talker asks of the server."""

    model: str
    max_tokens: int


class ByHand:
    """The director of a run by hand: every talker sends as soon as its last reply has ended.

    Nothing is written to disk; Locust's statistics are the result.
    """

    def __init__(self, line: Line, corpus: Corpus, asked: Asked, users: int) -> None:
        self._line = line
        self._asked = asked
        self._users = max(users, 1)
        script = Script(corpus, [self._users], seed=0, repeat_share=0.0)
        shortest = min(SHORTEST_REPLY_TOKENS, asked.max_tokens)
        self._schedule: Schedule = ClosedLoop(script, 0, self._users, shortest, asked.max_tokens)
        self._run_id = f"hand-{time.time_ns()}"
        now_ns = monotonic_ns()
        self._window = Window(now_ns, now_ns)
        self._talkers = 0
        self._turns: dict[str, Turn] = {}
        """Turns under way, by request id."""

    def arrive(self) -> int:
        """Give a new talker its number, from 0."""
        self._talkers += 1
        return self._talkers - 1

    def next(self, user: int) -> Assignment:
        """Return the next request of talker ``user``, once it is due."""
        while True:
            now_ns = monotonic_ns()
            found = self._schedule.next(user, now_ns, self._window)
            if found is None:
                raise StopUser
            if isinstance(found, Turn):
                return self._assign(found)
            gevent.sleep(max(0, found.until_ns - now_ns) / NS_PER_S)

    def done(self, user: int, assignment: Assignment, exchange: Exchange) -> None:
        """Nothing is kept beyond Locust's statistics."""
        turn = self._turns.pop(assignment.request_id)
        self._schedule.done(user, turn, exchange, monotonic_ns())

    def _assign(self, turn: Turn) -> Assignment:
        session = session_id(self._run_id, ARM, 0, turn.session)
        request = ChatRequest(
            model=self._asked.model,
            messages=turn.messages,
            stream=True,
            max_tokens=turn.max_tokens,
            include_usage=True,
        )
        place = Place(self._run_id, ARM, self._users, session, turn.number)
        name = request_id(session, turn.number)
        self._turns[name] = turn
        return Assignment(place, name, turn.t_sched_ns, request, self._line)
