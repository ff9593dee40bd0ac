"""A worker: drives its share of the talkers, at the master's word."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gevent
import pyarrow
from gevent.event import AsyncResult, Event
from locust.env import Environment
from locust.runners import WorkerRunner

from firsttoken.core.clock import monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.core.records import SCHEMA_VERSION, BlockResult, batch_to_bytes
from firsttoken.core.words import ExitCode
from firsttoken.load.assignment import Assignment
from firsttoken.load.corpus import Corpus
from firsttoken.load.distributed import messages
from firsttoken.load.driver import PlanDriver
from firsttoken.load.exchange import Exchange
from firsttoken.load.plan import Block, RunPlan
from firsttoken.load.recorder import Recorder
from firsttoken.load.schedules.turn import Share

HELLO_SECONDS = 1.0
BYE_SECONDS = 1.0
"""How long a worker that ends waits to hear that its last rows arrived."""


class Worker:
    """The director of a worker's talkers, and the pace of its driver.

    Talkers that Locust makes before the plan has come wait for it.

    Args:
        environment: of a Locust worker.
        corpus: what is said.
        key_variables: names of the variables that may hold a key. A plan that names another one
            is refused: whoever sends plans must not have this machine's secrets sent to a server
            of its choice.
        end_run: asks for the end of the process with an exit code, and returns at once.
        prepare: called once the plan is there, before the first talker begins.
    """

    def __init__(
        self,
        environment: Environment,
        corpus: Corpus,
        key_variables: frozenset[str],
        end_run: Callable[[int], None],
        prepare: Callable[[], None],
    ) -> None:
        runner = environment.runner
        assert isinstance(runner, WorkerRunner)  # noqa: S101 - it is one where --worker was given
        self._end_run = end_run
        self._runner = runner
        self._corpus = corpus
        self._key_variables = key_variables
        self._prepare = prepare
        self._name = ""
        self._sends_rows = False
        self._driver: AsyncResult = AsyncResult()
        self._begins: dict[int, AsyncResult] = {}
        self._bye = Event()
        self._answered = False
        self._ended = False
        handlers: tuple[Callable[..., None], ...] = (
            self._on_plan,
            self._on_refused,
            self._on_ping,
            self._on_begin,
            self._on_end,
            self._on_bye,
        )
        for message, handler in zip(messages.FROM_MASTER, handlers, strict=True):
            runner.register_message(message, handler)
        gevent.spawn(self._say_hello)

    # The director of the talkers.

    def arrive(self) -> int:
        """Give a new talker its number, once the plan is there."""
        return self._there().arrive()

    def next(self, user: int) -> Assignment:
        """Hold talker ``user`` until there is something for it to send."""
        return self._there().next(user)

    def done(self, user: int, assignment: Assignment, exchange: Exchange) -> None:
        """Record how an assignment ended."""
        self._there().done(user, assignment, exchange)

    # The pace of the driver.

    def begin(self, block: Block) -> int:
        """Tell the master that the talkers are ready; return when it says that they begin."""
        self._runner.send_message(messages.READY, {"block": block.number})
        start_ns: int = self._begin_of(block.number).get()
        return start_ns

    def end(self, result: BlockResult, ttft_ms: Sequence[float]) -> None:
        """Send the result to the master."""
        named = asdict(replace(result, worker=self._name))
        data = {"result": named, "ttft_ms": list(ttft_ms)}
        self._runner.send_message(messages.RESULT, data)

    def over(self) -> None:
        """The master says when the run ends."""

    def close(self) -> None:
        """End the part, after the talkers have ended, and see the last rows off. May be called
        again."""
        if self._ended:
            return
        self._ended = True
        self._answered = True
        if self._driver.successful():
            self._there().close()
            self._runner.send_message(messages.ENDED, {})
            self._bye.wait(BYE_SECONDS)

    # What the master says.

    def _on_plan(self, msg: Any, **_: Any) -> None:
        if self._answered:
            return
        self._answered = True
        data: messages.Data = msg.data
        try:
            self._driver.set(self._prepared(data))
        except UserError as error:
            self._give_up(error)

    def _prepared(self, data: messages.Data) -> PlanDriver:
        plan = RunPlan.parse(str(data["plan"]), "the master's plan")
        share = Share(int(data["index"]), int(data["of"]))
        self._name = str(data["name"])
        for arm in plan.arms:
            if arm.api_key_env and arm.api_key_env not in self._key_variables:
                raise UserError(
                    f"the plan names {arm.api_key_env} as the variable with the key: allow it on "
                    f"this worker with --api-key-env {arm.api_key_env}"
                )
        same_host = data["boot_id"] == messages.boot_id() != ""
        shared = same_host and messages.shares_folder(plan.run_dir, str(data["token"]))
        self._sends_rows = not shared
        # Names the run as the plan does, and no other run of this worker.
        own = Path("runs") / f"{plan.run_id}-{self._name}-{secrets.token_hex(3)}"
        recorder = Recorder(
            plan.run_dir if shared else own,
            self._give_up,
            name=f"{self._name}-{os.getpid()}",
            copy_to=self._send_rows,
        )
        driver = PlanDriver(
            plan, self._corpus, self._end_run, pace=self, share=share, recorder=recorder
        )
        self._prepare()
        return driver

    def _on_refused(self, msg: Any, **_: Any) -> None:
        self._answered = True
        print(f"firsttoken: {msg.data['reason']}", file=sys.stderr, flush=True)
        self._end_run(int(ExitCode.USAGE))

    def _on_ping(self, msg: Any, **_: Any) -> None:
        here = {"sent": msg.data["sent"], "here": monotonic_ns()}
        self._runner.send_message(messages.PONG, here)

    def _on_begin(self, msg: Any, **_: Any) -> None:
        self._begin_of(int(msg.data["block"])).set(int(msg.data["start_ns"]))

    def _on_end(self, **_: Any) -> None:
        self._end_run(int(ExitCode.PASS))

    def _on_bye(self, **_: Any) -> None:
        self._bye.set()

    def _begin_of(self, block: int) -> AsyncResult:
        return self._begins.setdefault(block, AsyncResult())

    def _say_hello(self) -> None:
        said = {
            "host": socket.gethostname(),
            "boot_id": messages.boot_id(),
            "schema_version": SCHEMA_VERSION,
        }
        while not self._answered:
            self._runner.send_message(messages.HELLO, said)
            gevent.sleep(HELLO_SECONDS)

    def _send_rows(self, batch: pyarrow.RecordBatch) -> None:
        data = batch_to_bytes(batch) if self._sends_rows else None
        self._runner.send_message(messages.ROWS, {"count": batch.num_rows, "data": data})

    def _there(self) -> PlanDriver:
        driver: PlanDriver = self._driver.get()
        return driver

    def _give_up(self, error: UserError) -> None:
        print(f"firsttoken: {error}", file=sys.stderr, flush=True)
        self._runner.send_message(messages.FAILED, {"reason": str(error)})
        self._end_run(int(ExitCode.USAGE))
