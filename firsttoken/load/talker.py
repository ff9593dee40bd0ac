"""The base class of every scenario: a Locust user that talks to a chat server."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import gevent
from gevent.pool import Group
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
        self._asides = Group()
        self._connected_for = ""
        self._director = hooks.director(type(self).__name__)
        self._user = self._director.arrive()

    def on_stop(self) -> None:
        """Close the connection, and give up what is done aside."""
        self._asides.kill()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()

    def next_turn(self) -> Assignment:
        """Return what to send now; holds the talker while it has nothing to do."""
        return self._director.next(self._user)

    def ask(self, assignment: Assignment) -> Exchange | None:
        """Send one request, follow its reply to the end, and account for it.

        What is to be done aside is begun, and None returned at once.
        """
        if assignment.aside:
            begun = self._asides.spawn(self._ask_aside, assignment)
            if assignment.asides is not None:
                assignment.asides.add(begun)
            return None
        place = assignment.place
        purpose = f"{place.arm}/{place.block}" if self.by_the_clock else place.session_id
        if self._client is None or self._connected_for != purpose:
            self._hang_up()
            self._client = StreamClient(assignment.line)
            self._connected_for = purpose
        exchange = Exchange(
            assignment.request_id, assignment.t_sched_ns, keep_text=assignment.keep_text
        )
        stopped = True
        try:
            self._client.ask(
                assignment.request, exchange, assignment.hang_up_after_ms, assignment.headers
            )
            stopped = False
        finally:
            self._director.done(self._user, assignment, exchange)
            if exchange.outcome != Outcome.CANCELLED or not stopped:
                table.show(self.environment, exchange)
        failed = exchange.outcome not in {Outcome.SUCCESS, Outcome.CANCELLED}
        if failed and not self.by_the_clock:
            gevent.sleep(PAUSE_AFTER_FAILURE_S)
        return exchange

    def _ask_aside(self, assignment: Assignment) -> None:
        """Do what nobody waits for, over a connection of its own."""
        client = StreamClient(assignment.line)
        exchange = Exchange(assignment.request_id, assignment.t_sched_ns)
        try:
            client.ask(assignment.request, exchange, headers=assignment.headers)
        finally:
            client.close()
            self._director.done(self._user, assignment, exchange)
