"""The base class of every scenario: a Locust user that talks to a chat server."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import gevent
from locust import User

from firsttoken.core.words import Outcome
from firsttoken.load import hooks, table
from firsttoken.load.assignment import Assignment
from firsttoken.load.client import StreamClient
from firsttoken.load.exchange import Exchange

PAUSE_AFTER_FAILURE_S = 0.25
"""A server that is gone refuses at once. Without a pause each talker would try thousands of times
a second: no person does, and the one second it was away would outweigh the rest of the run."""

hooks.register()


class Talker(User):
    """One device in conversation. A scenario derives from it and says in its task when to speak.

    What is said, to whom and from when comes from :meth:`next_turn`, so that the same scenario
    runs by hand in Locust's web UI and under a run plan. A talker keeps its connection from
    request to request, and opens a new one where the plan moves on to another block.
    """

    abstract = True
    corpus: ClassVar[Path]
    """Folder with ``personas.jsonl`` and ``utterances.jsonl``."""

    def on_start(self) -> None:
        """Take a number from the director."""
        self._client: StreamClient | None = None
        self._session = ""
        self._director = hooks.director()
        self._user = self._director.arrive()

    def on_stop(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def next_turn(self) -> Assignment:
        """Return what to send now; holds the talker while it has nothing to do."""
        return self._director.next(self._user)

    def ask(self, assignment: Assignment) -> Exchange:
        """Send one request, follow its reply to the end, and account for it."""
        if self._client is None or self._session != assignment.place.session_id:
            self.on_stop()
            self._client = StreamClient(assignment.line)
            self._session = assignment.place.session_id
        exchange = Exchange(assignment.request_id, assignment.t_sched_ns)
        try:
            self._client.ask(assignment.request, exchange)
        finally:
            self._director.done(self._user, assignment, exchange)
            if exchange.outcome != Outcome.CANCELLED:
                table.show(self.environment, exchange)
        if exchange.outcome != Outcome.SUCCESS:
            gevent.sleep(PAUSE_AFTER_FAILURE_S)
        return exchange
