"""Talkers without a plan: Locust's own ``-u``, ``-r``, ``-t`` and web UI direct them."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from gevent.event import Event
from locust.exception import StopUser

from firsttoken.core.clock import NS_PER_S, monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.load.asked import plan_of
from firsttoken.load.assignment import Assignment, assign
from firsttoken.load.client import Line
from firsttoken.load.corpus import Corpus, read_corpus
from firsttoken.load.exchange import Exchange, Place
from firsttoken.load.plan import RunPlan, Scenario, request_id, session_id
from firsttoken.load.schedules.choose import Schedules
from firsttoken.load.schedules.turn import WHOLE, Share, Turn, Window


class SceneClass(Protocol):
    """A class of ``loadtests/``."""

    __name__: str
    corpus: Path
    scenario: Scenario
    weight: int | float


@dataclass(frozen=True, slots=True)
class Run:
    """One press of the button, as every process of it knows it."""

    users: int
    seconds: float | None
    """None: until somebody stops it."""
    classes: list[str] = field(default_factory=list)
    """Names of the user classes; a worker has them all, and is told which ones run."""
    workers: list[str] = field(default_factory=list)
    """Ids of the workers that share it; empty where one process does it all."""

    def share(self, worker: str) -> Share:
        """Return what falls to a worker; one that joined later doubles the first."""
        rank = self.workers.index(worker) if worker in self.workers else 0
        return Share(rank, max(len(self.workers), 1))


class ByHand:
    """The director of the talkers of one class.

    Nothing is written to disk; Locust's statistics are the result.
    """

    def __init__(self, plan: RunPlan, line: Line, corpus: Corpus, share: Share) -> None:
        self._block = plan.blocks()[0]
        self._line = line
        self._share = share
        self._schedule = Schedules(plan, corpus, share).of(self._block)
        self._run_id = f"hand-{plan.scenario}-{time.time_ns()}"
        self._window: Window | None = None
        """Opens when the first talker comes: workers may be waited for."""
        self._over = Event()
        self._talkers = 0
        self._turns: dict[str, Turn] = {}
        """Turns under way, by request id."""

    def arrive(self) -> int:
        """Give a new talker its number, from 0, among all of the run."""
        self._talkers += 1
        return self._share.index + self._share.of * (self._talkers - 1)

    def next(self, user: int) -> Assignment:
        """Return the next request of talker ``user``, once it is due."""
        if self._window is None:
            self._window = self._open()
        while not self._over.is_set():
            now_ns = monotonic_ns()
            found = self._schedule.next(user, now_ns, self._window)
            if found is None:
                break
            if isinstance(found, Turn):
                return self._assign(found)
            self._over.wait(max(0, found.until_ns - now_ns) / NS_PER_S)
        raise StopUser

    def done(self, user: int, assignment: Assignment, exchange: Exchange) -> None:
        """Tell the schedule; nothing is kept beyond Locust's statistics."""
        turn = self._turns.pop(assignment.request_id)
        self._schedule.done(user, turn, exchange, monotonic_ns())

    def stop(self) -> None:
        """Begin nothing more: who waits for the next turn leaves, who hears a reply hears it."""
        self._over.set()

    def _open(self) -> Window:
        now_ns = monotonic_ns()
        if self._schedule.elastic:
            return Window(now_ns, now_ns, now_ns)
        return Window(now_ns, now_ns, now_ns, now_ns + int(self._block.steady_seconds * NS_PER_S))

    def _assign(self, turn: Turn) -> Assignment:
        block = self._block
        session = session_id(
            self._run_id, block.arm.arm, self._share.index, turn.session, aside=turn.aside
        )
        place = Place(self._run_id, block.arm.arm, block.users, session, turn.number)
        name = request_id(session, turn.number, turn.hop)
        self._turns[name] = turn
        return assign(turn, place, name, self._line, model=block.arm.model)


def chosen_at_all(classes: Sequence[Any], named: Sequence[str] | None) -> None:
    """Refuse a run of all scenarios at once, which nobody named.

    Raises:
        UserError: there are several, and none was named.
    """
    if len(classes) > 1 and not named:
        names = ", ".join(sorted(each.__name__ for each in classes))
        raise UserError(
            f"name the scenario to run, such as locust -f loadtests/ Steps; there are {names}"
        )


def prepare(
    options: Namespace,
    host: str | None,
    classes: Sequence[SceneClass],
    run: Run,
    *,
    share: Share = WHOLE,
    timeout_s: float = 30.0,
) -> dict[str, ByHand]:
    """Return who directs the talkers of each class, by its name.

    Each class has its own talkers, as many of ``run.users`` as its weight gives it.

    Raises:
        UserError: no server was named, an option is wrong, or a file cannot be read.
    """
    if not host:
        raise UserError("no server was named: give --host http://127.0.0.1:8080")
    line = Line.to(host, options.dialect, options.api_key_env or None, timeout_s)
    weights = sum(each.weight for each in classes)
    directors: dict[str, ByHand] = {}
    for each in classes:
        users = max(1, round(run.users * each.weight / weights))
        plan = plan_of(each.scenario, options, host, users, run.seconds)
        directors[each.__name__] = ByHand(plan, line, read_corpus(each.corpus), share)
    return directors
