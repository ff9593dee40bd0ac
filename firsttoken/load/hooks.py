"""Our options on Locust's command line, and what happens as a run of it starts and ends.

``--run-plan`` attaches the block driver; without it Locust is driven by hand.
"""

from __future__ import annotations

import gc
import inspect
import logging
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import gevent
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopUser

from firsttoken.core.child import die_with_parent
from firsttoken.core.errors import UserError
from firsttoken.core.words import ExitCode
from firsttoken.load import table
from firsttoken.load.assignment import Assignment, Director
from firsttoken.load.by_hand import Asked, ByHand
from firsttoken.load.client import Line
from firsttoken.load.corpus import Corpus, read_corpus
from firsttoken.load.driver import PlanDriver
from firsttoken.load.exchange import Exchange
from firsttoken.load.plan import RunPlan

REQUEST_TIMEOUT_S = 30.0
INTERRUPTED = 128 + signal.SIGINT
SPAWN_RATE = 100
"""Talkers a second that are made at the start of a plan; they wait for their block."""


class _Nobody:
    """The director of a run that could not start: its talkers leave."""

    def arrive(self) -> int:
        return 0

    def next(self, user: int) -> NoReturn:  # noqa: ARG002 - as Director has it
        raise StopUser

    def done(self, user: int, assignment: Assignment, exchange: Exchange) -> None:
        """Nothing was assigned."""


_state: dict[str, Director] = {"director": _Nobody()}


def director() -> Director:
    """Return who directs the talkers of this process's run."""
    return _state["director"]


def register() -> None:
    """Attach everything in this module to Locust's events. Done once, by :mod:`.talker`."""
    events.init_command_line_parser.add_listener(_add_options)
    events.init.add_listener(_on_init)
    events.test_start.add_listener(_on_test_start)
    table.keep_milliseconds()


def _add_options(parser: LocustArgumentParser, **_: Any) -> None:
    # Locust's own default is every interface, without a password.
    parser.set_defaults(web_host="127.0.0.1")
    group = parser.add_argument_group("First token", "What is asked of the server at --host")
    shown = [
        group.add_argument(
            "--model", default="default", help="model to ask for (default: %(default)s)"
        ),
        group.add_argument(
            "--dialect",
            default="openai",
            choices=("openai", "ollama", "ollama_generate", "dashscope"),
            help="how the server is spoken to (default: %(default)s)",
        ),
        group.add_argument(
            "--api-key-env", default="", metavar="VAR", help="variable that holds the API key"
        ),
        group.add_argument(
            "--max-tokens", type=int, default=32, help="longest reply (default: %(default)s)"
        ),
    ]
    for action in shown:
        # What Locust's own add_argument sets, and that of an argument group does not.
        vars(action).update(
            include_in_web_ui=True, is_secret=False, is_required=False, is_multiple=False
        )
    group.add_argument(
        "--run-plan",
        metavar="FILE",
        help="run the blocks of this plan (what firsttoken bench does)",
    )


@contextmanager
def _one_line_exit() -> Iterator[None]:
    """End the process with one line and code 2 for what a person can put right."""
    try:
        yield
    except UserError as error:
        print(f"firsttoken: {error}", file=sys.stderr, flush=True)
        sys.exit(int(ExitCode.USAGE))


def _corpus_of(environment: Environment) -> Corpus:
    """Read the corpus of the scenario; a run has one scenario, or several of one corpus."""
    folders = {user_class.corpus for user_class in environment.user_classes}  # type: ignore[attr-defined]
    return read_corpus(folders.pop())


def _on_init(environment: Environment, **_: Any) -> None:
    options = environment.parsed_options
    if options is None:
        return
    with _one_line_exit():
        if options.run_plan:
            _attach_plan(environment, options)
            return
        # A reply under way at the end of a run by hand is waited for: to drop the slow ones would
        # make the figures better than they are.
        environment.stop_timeout = environment.stop_timeout or REQUEST_TIMEOUT_S
        if options.headless:
            _direct_by_hand(environment, options)


def _attach_plan(environment: Environment, options: Namespace) -> None:
    if not options.headless or options.master or options.worker or options.processes:
        raise UserError("--run-plan needs --headless, and one process")
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("locust").setLevel(logging.WARNING)
    logging.getLogger("locust.stats_logger").disabled = True
    options.only_summary = True
    plan = RunPlan.read(Path(options.run_plan))
    if plan.parent_pid is not None:
        die_with_parent(plan.parent_pid)

    def end(code: int) -> None:
        """Have Locust stop the talkers and leave with ``code``; a failure outweighs an end."""
        if environment.process_exit_code is None or code == ExitCode.USAGE:
            environment.process_exit_code = code
        # Not from here: the greenlet that asks may be among those that are stopped.
        gevent.spawn(stop)

    def stop() -> None:
        if environment.runner is not None:
            # Locust looks at its own call stack first, which holds the process up for 50 ms or
            # more: what arrived meanwhile would be stamped late. So the talkers end before.
            environment.runner.user_greenlets.kill()
            environment.runner.quit()

    def on_quitting(**_: Any) -> None:
        if environment.process_exit_code is None:
            environment.process_exit_code = INTERRUPTED
        # Locust says so before it stops the talkers: stop them now, then end their records.
        stop()
        driver.close()

    driver = PlanDriver(plan, _corpus_of(environment), end)
    _state["director"] = driver
    options.num_users = driver.users
    options.spawn_rate = SPAWN_RATE
    # A locust.conf lying about must not cut the plan short, nor keep its talkers at the end.
    options.run_time = None
    environment.stop_timeout = 0.0
    events.quitting.add_listener(on_quitting)
    # Python's own handler would raise KeyboardInterrupt inside whichever talker runs.
    gevent.signal_handler(signal.SIGINT, end, INTERRUPTED)
    _settle()


def _settle() -> None:
    """Do now what would hold every talker up once, while first tokens are being stamped.

    A full garbage collection walks the 100,000 objects that live as long as the process: 50 ms,
    measured; frozen, it takes less than 0.1 ms. Locust's ``stop`` looks at its call stack: the
    first look at one takes 40 ms, the next 0.1 ms.
    """
    inspect.getframeinfo(inspect.stack()[0][0])
    gc.collect()
    gc.freeze()


def _direct_by_hand(environment: Environment, options: Namespace) -> None:
    if not environment.host:
        raise UserError("no server was named: give --host http://127.0.0.1:8080")
    if options.max_tokens < 1:
        raise UserError(f"--max-tokens is {options.max_tokens}, expected 1 or more")
    line = Line.to(environment.host, options.dialect, options.api_key_env, REQUEST_TIMEOUT_S)
    asked = Asked(options.model, options.max_tokens)
    users = options.num_users or 1
    _state["director"] = ByHand(line, _corpus_of(environment), asked, users)
    _settle()


def _on_test_start(environment: Environment, **_: Any) -> None:
    """Read what was entered in the web UI; a mistake there must not end the server."""
    options = environment.parsed_options
    if options is None or options.headless:
        return
    try:
        _direct_by_hand(environment, options)
    except UserError as error:
        _state["director"] = _Nobody()
        logging.getLogger("locust").error("firsttoken: %s", error)  # noqa: TRY400 - one line
        if environment.runner is not None:
            # Not from here: the greenlet that fires this event is among those that are stopped.
            gevent.spawn(environment.runner.stop)
