"""Our options on Locust's command line, and what happens as a run of it starts and ends.

``--run-plan`` attaches the block driver; without it Locust is driven by hand.
"""

from __future__ import annotations

import gc
import inspect
import logging
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, NoReturn

import gevent
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

from firsttoken.core.child import die_with_parent
from firsttoken.core.errors import UserError
from firsttoken.core.words import ExitCode
from firsttoken.load import run_plan, table, web_form, web_tab
from firsttoken.load.asked import FLAGS
from firsttoken.load.assignment import Assignment, Director
from firsttoken.load.by_hand import ByHand, Run, chosen_at_all, prepare
from firsttoken.load.corpus import Corpus, read_corpus
from firsttoken.load.exchange import Exchange
from firsttoken.load.schedules.turn import WHOLE

REQUEST_TIMEOUT_S = 30.0


class _Nobody:
    """The director of a run that could not start: its talkers leave."""

    def arrive(self) -> int:
        return 0

    def next(self, user: int) -> NoReturn:  # noqa: ARG002 - as Director has it
        raise StopUser

    def done(self, user: int, assignment: Assignment, exchange: Exchange) -> None:
        """Nothing was assigned."""


_directors: dict[str, Director] = {}
"""By name of the user class; under the empty name who directs all others."""


_own: dict[str, frozenset[str]] = {}
"""What stood on this process's own command line, whatever its master says later:
``key_variables``, the names of the variables that it may send as a key."""


def director(user_class: str) -> Director:
    """Return who directs the talkers of a class in this process's run."""
    return _directors.get(user_class) or _directors.get("") or _Nobody()


def _direct(directors: Mapping[str, Director]) -> None:
    _directors.clear()
    _directors.update(directors)


def _direct_all(director: Director) -> None:
    _direct({"": director})


def register() -> None:
    """Attach everything in this module to Locust's events. Done once, by :mod:`.talker`."""
    events.init_command_line_parser.add_listener(_add_options)
    events.init.add_listener(_on_init)
    events.test_start.add_listener(_on_test_start)
    events.test_stopping.add_listener(_on_test_stopping)
    table.keep_milliseconds()
    table.keep_the_last_second()


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
            "--max-tokens", type=int, default=32, help="longest reply (default: %(default)s)"
        ),
    ]
    shown += [
        group.add_argument(
            flag.flag,
            type=type(flag.default),
            default=flag.default,
            choices=flag.choices,
            help=f"{flag.section}: {flag.help}"
            + (" (default: %(default)s)" if flag.default != "" else ""),
        )
        for flag in FLAGS
    ]
    for action in shown:
        # What Locust's own add_argument sets, and that of an argument group does not.
        vars(action).update(
            include_in_web_ui=True, is_secret=False, is_required=False, is_multiple=False
        )
    group.add_argument(
        "--api-key-env", default="", metavar="VAR", help="variable that holds the API key"
    )
    group.add_argument(
        "--ttft-target-ms",
        type=float,
        default=None,
        help="target of the web UI's tab (default: the acceptance target, 400)",
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
        if options.worker:
            die_with_parent()
        elif options.run_plan:
            corpus = _corpus_of(environment)
            run_plan.attach(environment, options, corpus, _direct_all, _settle)
            return
        _own["key_variables"] = frozenset(filter(None, options.api_key_env.split(",")))
        # A reply under way at the end of a run by hand is waited for: to drop the slow ones would
        # make the figures better than they are.
        environment.stop_timeout = environment.stop_timeout or REQUEST_TIMEOUT_S
        if options.headless and not options.worker:
            # A mistake on the command line is told before anything runs.
            chosen_at_all(environment.user_classes, options.user_classes)
            _prepare(environment, options)
            _settle()
        if isinstance(environment.runner, WorkerRunner):
            table.tell_the_master_before_stopping(environment.runner)
        web_tab.attach(environment, options)
        web_form.guard(environment, options, _check)


def _settle() -> None:
    """Do now what would hold every talker up once, while first tokens are being stamped.

    A full garbage collection walks the 100,000 objects that live as long as the process: 50 ms,
    measured; frozen, it takes less than 0.1 ms. Locust's ``stop`` looks at its call stack: the
    first look at one takes 40 ms, the next 0.1 ms.
    """
    inspect.getframeinfo(inspect.stack()[0][0])
    gc.collect()
    gc.freeze()


def _check(options: Namespace, host: str | None, classes: Sequence[Any]) -> None:
    """Refuse what was entered in the web form and cannot be run.

    Raises:
        UserError: it cannot.
    """
    _own_key(options)
    prepare(options, host, classes, Run(1, None), timeout_s=REQUEST_TIMEOUT_S)


def _own_key(options: Namespace) -> None:
    """Refuse a variable that a form or a master names, and this command line does not.

    Raises:
        UserError: it is one.
    """
    if options.api_key_env and options.api_key_env not in _own["key_variables"]:
        raise UserError(f"{options.api_key_env} is not the --api-key-env of this command line")


def _prepare(environment: Environment, options: Namespace) -> dict[str, ByHand]:
    """Return the directors of a run by hand as asked for now.

    Raises:
        UserError: what was asked for cannot be run.
    """
    _own_key(options)
    runner = environment.runner
    classes: list[Any] = list(environment.user_classes)
    run = Run(options.num_users or 1, options.run_time, [each.__name__ for each in classes])
    share = WHOLE
    if isinstance(runner, MasterRunner):
        run = replace(run, workers=sorted(runner.clients.keys()))
        # Of Locust's own options a worker is told none: this one goes along with ours.
        options.run_by_hand = asdict(run)
    elif isinstance(runner, WorkerRunner):
        run = Run(**options.run_by_hand)
        share = run.share(runner.client_id)
        classes = [each for each in classes if each.__name__ in run.classes]
    return prepare(
        options, environment.host, classes, run, share=share, timeout_s=REQUEST_TIMEOUT_S
    )


def _on_test_start(environment: Environment, **_: Any) -> None:
    """Begin a run by hand; a mistake made in the web UI must not end the server."""
    options = environment.parsed_options
    if options is None:
        return
    if options.run_plan:
        if isinstance(environment.runner, WorkerRunner):
            corpus, keys = _corpus_of(environment), _own["key_variables"]
            _direct_all(run_plan.join(environment, options, corpus, keys, _settle))
        return
    try:
        _direct(_prepare(environment, options))
        _settle()
    except UserError as error:
        _direct({})
        logging.getLogger("locust").error("firsttoken: %s", error)  # noqa: TRY400 - one line
        if environment.runner is not None:
            # Not from here: the greenlet that fires this event is among those that are stopped.
            gevent.spawn(environment.runner.stop)


def _on_test_stopping(**_: Any) -> None:
    for each in _directors.values():
        if isinstance(each, ByHand):
            each.stop()
