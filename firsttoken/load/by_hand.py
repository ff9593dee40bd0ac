"""Talkers without a plan: Locust's own ``-u``, ``-r``, ``-t`` and web UI direct them."""

from __future__ import annotations

import time
from dataclasses import dataclass

from firsttoken.core.clock import monotonic_ns
from firsttoken.load.assignment import Assignment
from firsttoken.load.client import Line
from firsttoken.load.corpus import Corpus
from firsttoken.load.exchange import Exchange, Place
from firsttoken.load.plan import SHORTEST_REPLY_TOKENS, Schedule, request_id, session_id
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
        self._schedule = Schedule(corpus, [self._users], seed=0, repeat_share=0.0)
        self._run_id = f"hand-{time.time_ns()}"
        self._turns: list[int] = []

    def arrive(self) -> int:
        """Give a new talker its number, from 0."""
        self._turns.append(0)
        return len(self._turns) - 1

    def next(self, user: int) -> Assignment:
        """Return the next request of talker ``user``, to be sent at once."""
        turn = self._turns[user]
        self._turns[user] += 1
        session = session_id(self._run_id, ARM, 0, user)
        said = self._schedule.say(0, user, turn)
        longest = self._asked.max_tokens
        request = ChatRequest(
            model=self._asked.model,
            messages=said.messages(),
            stream=True,
            max_tokens=self._schedule.reply_tokens(said, SHORTEST_REPLY_TOKENS, longest),
            include_usage=True,
        )
        place = Place(self._run_id, ARM, self._users, session, turn)
        return Assignment(place, request_id(session, turn), monotonic_ns(), request, self._line)

    def done(self, assignment: Assignment, exchange: Exchange) -> None:
        """Nothing is kept beyond Locust's statistics."""
