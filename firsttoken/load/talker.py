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
from firsttoken.load.plan import Scenario

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
    scenario: ClassVar[Scenario]
    """When its talkers speak, in a run by hand; a run plan names its own."""
    by_the_clock: ClassVar[bool] = False
    """Whether its talkers make starts that were planned, each of another session. They keep their
    connection throughout a block then, and do not pause after a failure: the clock paces them."""

    def on_start(self) -> None:
        """Take a number from the director."""
        self._client: StreamClient | None = None
        self._connected_for = ""
        self._director = hooks.director(type(self).__name__)
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
        place = assignment.place
        purpose = f"{place.arm}/{place.block}" if self.by_the_clock else place.session_id
        if self._client is None or self._connected_for != purpose:
            self.on_stop()
            self._client = StreamClient(assignment.line)
            self._connected_for = purpose
        exchange = Exchange(
            assignment.request_id, assignment.t_sched_ns, keep_text=assignment.keep_text
        )
        stopped = True
        try:
            self._client.ask(assignment.request, exchange, assignment.hang_up_after_ms)
            stopped = False
        finally:
            self._director.done(self._user, assignment, exchange)
            if exchange.outcome != Outcome.CANCELLED or not stopped:
                table.show(self.environment, exchange)
        failed = exchange.outcome not in {Outcome.SUCCESS, Outcome.CANCELLED}
        if failed and not self.by_the_clock:
            gevent.sleep(PAUSE_AFTER_FAILURE_S)
        return exchange
