"""A run plan in a process of Locust's: the only one, a master, or a worker."""

from __future__ import annotations

import logging
import signal
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.env import Environment

from firsttoken.core.child import die_with_parent
from firsttoken.core.errors import UserError
from firsttoken.core.words import ExitCode
from firsttoken.load.assignment import Director
from firsttoken.load.corpus import Corpus
from firsttoken.load.distributed.master import Master, dispatcher_of
from firsttoken.load.distributed.worker import Worker
from firsttoken.load.driver import PlanDriver
from firsttoken.load.plan import RunPlan
from firsttoken.load.schedules.turn import Share

INTERRUPTED = 128 + signal.SIGINT
SPAWN_RATE = 100
"""Talkers a second that are made at the start of a plan; they wait for their block."""


class _Ending:
    """How a process of Locust's that runs a plan ends: ``close`` first, then Locust."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self.close: Callable[[], None] = self._stop_talkers
        events.quitting.add_listener(self._on_quitting)
        # Python's own handler would raise KeyboardInterrupt inside whichever talker runs.
        gevent.signal_handler(signal.SIGINT, self.end, INTERRUPTED)

    def end(self, code: int) -> None:
        """Have Locust leave with ``code``; a failure outweighs an end. Returns at once."""
        if self._environment.process_exit_code is None or code == ExitCode.USAGE:
            self._environment.process_exit_code = code
        # Not from here: the greenlet that asks may be among those that are stopped.
        gevent.spawn(self._leave)

    def stop_then(self, close: Callable[[], None]) -> None:
        """Once talkers are there: stop them, then ``close``.

        Locust itself looks at its own call stack first, which holds the process up for 50 ms or
        more: what arrived meanwhile would be stamped late. So the talkers end before.
        """

        def both() -> None:
            self._stop_talkers()
            close()

        self.close = both

    def _stop_talkers(self) -> None:
        if self._environment.runner is not None:
            self._environment.runner.user_greenlets.kill()

    def _leave(self) -> None:
        self.close()
        if self._environment.runner is not None:
            self._environment.runner.quit()

    def _on_quitting(self, **_: Any) -> None:
        if self._environment.process_exit_code is None:
            self._environment.process_exit_code = INTERRUPTED
        # Locust says so before it stops the talkers: stop them now, then end their records.
        self.close()


def attach(
    environment: Environment,
    options: Namespace,
    corpus: Corpus,
    direct: Callable[[Director], None],
    prepare: Callable[[], None],
) -> None:
    """Run the plan of ``--run-plan``, alone or as the master of workers.

    ``direct`` is handed the director of the talkers of this process; ``prepare`` is called before
    the first of them begins.

    Raises:
        UserError: the plan cannot be run so.
    """
    if not options.headless:
        raise UserError("--run-plan needs --headless")
    _hush(options)
    plan = RunPlan.read(Path(options.run_plan))
    if plan.parent_pid is not None:
        die_with_parent(plan.parent_pid)
    ending = _Ending(environment)
    if options.master:
        whole = Share(0, options.expect_workers)
        environment.dispatcher_class = dispatcher_of(options.expect_workers)
        options.num_users = options.expect_workers * whole.count(plan.talkers)
        master = Master(plan, environment, options.expect_workers, ending.end)
        ending.close = master.close
    else:
        driver = PlanDriver(plan, corpus, ending.end)
        options.num_users = driver.users
        ending.stop_then(driver.close)
        direct(driver)
    options.spawn_rate = SPAWN_RATE
    # A locust.conf lying about must not cut the plan short, nor keep its talkers at the end.
    options.run_time = None
    environment.stop_timeout = 0.0
    prepare()


def join(
    environment: Environment,
    options: Namespace,
    corpus: Corpus,
    key_variables: frozenset[str],
    prepare: Callable[[], None],
) -> Director:
    """Have a worker take part in its master's plan; return the director of its talkers.

    ``key_variables`` names the variables that this worker may send as a key.
    """
    _hush(options)
    ending = _Ending(environment)
    worker = Worker(environment, corpus, key_variables, ending.end, prepare)
    ending.stop_then(worker.close)
    return worker


def _hush(options: Namespace) -> None:
    """Keep Locust's own account of the run off the terminal: the blocks are told elsewhere."""
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("locust").setLevel(logging.WARNING)
    logging.getLogger("locust.stats_logger").disabled = True
    options.only_summary = True
