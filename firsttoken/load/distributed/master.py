"""The master: hands out the plan, says when each block begins, and gathers what the workers say."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import gevent
from gevent.event import Event
from locust.dispatch import UsersDispatcher
from locust.env import Environment
from locust.runners import STATE_MISSING, MasterRunner

from firsttoken.core.clock import NS_PER_MS, NS_PER_S, monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.core.records import (
    SCHEMA_VERSION,
    BlockResult,
    PartWriter,
    WorkerResult,
    batches_from_bytes,
    shift_stamps,
)
from firsttoken.core.words import ExitCode
from firsttoken.load.distributed import messages
from firsttoken.load.distributed.merge import merge, on_run_clock
from firsttoken.load.distributed.messages import SAME_CLOCK, Offset, Trip
from firsttoken.load.pace import tell
from firsttoken.load.plan import Block, RunPlan
from firsttoken.load.schedules.turn import Share

LEAD_NS = 200 * NS_PER_MS
"""How far ahead of a block's beginning it is announced, so that all have heard of it."""
TRIPS = 10
TRIP_SECONDS = 1.0
ENDED_SECONDS = 3.0
"""How long the workers' last rows are waited for at the end."""
LOOK_SECONDS = 0.1


def dispatcher_of(expected: int) -> type[UsersDispatcher]:
    """Return how Locust shall spread the talkers: evenly over the first ``expected`` workers.

    Whoever comes later gets none, and nobody's are moved when another is lost: Locust would stop
    talkers in the middle of their requests.
    """

    class Steady(UsersDispatcher):
        def __init__(self, worker_nodes: list[Any], user_classes: list[Any]) -> None:
            super().__init__(worker_nodes[:expected], user_classes)

        def add_worker(self, worker_node: Any) -> None:
            """Leave things as they are."""

        def remove_worker(self, worker_node: Any) -> None:
            """Leave things as they are."""

    return Steady


@dataclass(slots=True)
class _Worker:
    """One worker, as the master knows it."""

    client_id: str
    name: str
    host: str
    same_clock: bool
    users: int
    heard_ns: int
    offset: Offset = SAME_CLOCK
    rows: int = 0
    lost_ns: int | None = None
    ready: int = -1
    """Number of the block that it is ready for."""
    result: BlockResult | None = None
    """Of the last block that it has ended."""
    ttft_ms: list[float] = field(default_factory=list)
    trips: list[Trip] = field(default_factory=list)
    part: PartWriter | None = None
    """Where its rows are kept, if it sends them."""
    ended: bool = False

    def told(self) -> WorkerResult:
        """Return what the manifest says of it."""
        return WorkerResult(
            name=self.name,
            host=self.host,
            users=self.users,
            clock_offset_ns=self.offset.offset_ns,
            clock_error_ns=self.offset.error_ns,
            rows=self.rows,
            lost_ns=self.lost_ns,
        )


class Master:
    """Runs a plan over ``expected`` workers.

    A worker that is not heard of any more, or that ends, is lost: the run goes on with the rest,
    and one that comes back does not join again. What it flushed is kept.

    Args:
        plan: what to run.
        environment: of a Locust master.
        expected: how many workers there are to be.
        end_run: asks for the end of the process with an exit code, and returns at once.

    Raises:
        UserError: the run folder cannot be written.
    """

    def __init__(
        self,
        plan: RunPlan,
        environment: Environment,
        expected: int,
        end_run: Callable[[int], None],
    ) -> None:
        runner = environment.runner
        assert isinstance(runner, MasterRunner)  # noqa: S101 - it is one where --master was given
        self._plan = plan
        self._runner = runner
        self._expected = expected
        self._end_run = end_run
        self._token = secrets.token_hex(16)
        self._workers: dict[str, _Worker] = {}
        """By Locust's id of the client, in the order of their shares."""
        self._began = False
        self._closed = False
        self._gathered = False
        """Whether the parts are closed: rows that come later are in the worker's own folder."""
        self._changed = Event()
        if plan.settle_cap_seconds is not None or plan.until_ci is not None:
            raise UserError(
                "several load generators begin and end their steady parts by the clock: leave "
                "settle_cap_seconds and until_ci out of the plan"
            )
        messages.write_token(plan.run_dir, self._token)
        handlers = (
            self._on_hello,
            self._on_pong,
            self._on_ready,
            self._on_rows,
            self._on_result,
            self._on_failed,
            self._on_ended,
        )
        for message, handler in zip(messages.FROM_WORKER, handlers, strict=True):
            runner.register_message(message, handler)
        environment.events.heartbeat_sent.add_listener(self._on_heartbeat)
        tell("master", port=runner.server.port)
        self._blocks = gevent.spawn(self._run)
        self._blocks.link_exception(lambda _: self._end_run(int(ExitCode.FAULT)))

    def close(self) -> None:
        """Have the workers end and wait for their last rows. May be called again."""
        if self._closed:
            return
        self._closed = True
        self._blocks.kill(block=False)
        for worker in self._here():
            self._send(messages.END, {}, worker)
        with gevent.Timeout(ENDED_SECONDS, exception=False):
            while not all(worker.ended for worker in self._here()):
                self._look()
        self._tell_workers()
        self._gathered = True
        for worker in self._workers.values():
            if worker.part is not None:
                worker.part.close()
        messages.remove_token(self._plan.run_dir)

    def _run(self) -> None:
        try:
            while len(self._workers) < self._expected:
                self._look()
            self._wait_for(lambda worker: worker.ready >= 0)
            self._begin()
            for block in self._plan.blocks():
                self._run_block(block)
        except UserError as error:
            print(f"firsttoken: {error}", file=sys.stderr, flush=True)
            self._end_run(int(ExitCode.USAGE))
        else:
            self._end_run(int(ExitCode.PASS))

    def _begin(self) -> None:
        if self._expected > min(self._plan.steps):
            raise UserError(
                f"{min(self._plan.steps)} talkers are too few for {self._expected} load "
                "generators; expected one for each at least"
            )
        if len(self._here()) < self._expected:
            raise UserError("a load generator was lost before the run began")
        self._began = True

    def _run_block(self, block: Block) -> None:
        self._wait_for(lambda worker: worker.ready >= block.number)
        for worker in self._here():
            self._measure_clock(worker)
        self._tell_workers()
        lead_ns = LEAD_NS + max((worker.offset.error_ns for worker in self._here()), default=0)
        start_ns = monotonic_ns() + lead_ns
        for worker in self._here():
            begin = {"block": block.number, "start_ns": start_ns - worker.offset.offset_ns}
            self._send(messages.BEGIN, begin, worker)
        self._wait_for(
            lambda worker: worker.result is not None and worker.result.number == block.number
        )
        done = [
            (worker, on_run_clock(worker.result, worker.offset.offset_ns))
            for worker in self._here()
            if worker.result is not None
        ]
        ttft_ms = [value for worker, _ in done for value in worker.ttft_ms]
        whole = merge([result for _, result in done], ttft_ms)
        tell("block", **asdict(whole), workers=[asdict(result) for _, result in done])

    def _here(self) -> list[_Worker]:
        """Return the workers that are not lost, in the order of their shares."""
        return [worker for worker in self._workers.values() if worker.lost_ns is None]

    def _wait_for(self, done: Callable[[_Worker], bool]) -> None:
        """Return once ``done`` holds of every worker that is left.

        Raises:
            UserError: none is left.
        """
        while not all(done(worker) for worker in self._here()):
            self._look()
        if not self._here():
            raise UserError("every load generator of the run was lost")

    def _look(self) -> None:
        """Wait for news, at most a moment; find out who is lost."""
        self._changed.wait(LOOK_SECONDS)
        self._changed.clear()
        for worker in self._here():
            client = self._runner.clients.get(worker.client_id)
            if not worker.ended and (client is None or client.state == STATE_MISSING):
                self._lose(worker)

    def _lose(self, worker: _Worker) -> None:
        worker.lost_ns = worker.heard_ns
        self._tell_workers()

    def _measure_clock(self, worker: _Worker) -> None:
        """Ask a worker on another machine for the time; the quickest answer counts."""
        if worker.same_clock:
            return
        worker.trips.clear()
        deadline_ns = monotonic_ns() + int(TRIP_SECONDS * NS_PER_S)
        for asked in range(TRIPS):
            self._send(messages.PING, {"sent": monotonic_ns()}, worker)
            while len(worker.trips) <= asked and worker.lost_ns is None:
                if monotonic_ns() > deadline_ns:
                    break
                self._look()
        if worker.trips:
            worker.offset = messages.offset_of(worker.trips)
        elif worker.offset is SAME_CLOCK and worker.lost_ns is None:
            # Nobody knows when it would begin, nor what its stamps mean.
            self._lose(worker)

    def _tell_workers(self) -> None:
        tell("workers", workers=[asdict(worker.told()) for worker in self._workers.values()])

    def _send(self, message: str, data: messages.Data, worker: _Worker) -> None:
        self._runner.send_message(message, data, worker.client_id)

    def _known(self, client_id: str) -> _Worker | None:
        """Return who speaks, and note that it was heard; one that was lost is sent home."""
        worker = self._workers.get(client_id)
        if worker is None:
            return None
        if worker.lost_ns is None:
            worker.heard_ns = monotonic_ns()
        else:
            self._send(messages.END, {}, worker)
        self._changed.set()
        return worker

    # What the workers say.

    def _on_heartbeat(self, client_id: str, **_: Any) -> None:
        self._known(client_id)

    def _on_hello(self, msg: Any, **_: Any) -> None:
        data: messages.Data = msg.data
        worker = self._workers.get(msg.node_id)
        if worker is None:
            reason = ""
            if self._began or len(self._workers) >= self._expected:
                reason = f"the run has its {self._expected} load generators already"
            elif data["schema_version"] != SCHEMA_VERSION:
                reason = "the master is of another version of firsttoken"
            if reason:
                self._runner.send_message(messages.REFUSED, {"reason": reason}, msg.node_id)
                return
            worker = self._joined(msg.node_id, data)
        share = {"index": list(self._workers).index(msg.node_id), "of": self._expected}
        plan = self._plan.model_copy(update={"parent_pid": None}).model_dump_json()
        here = {"boot_id": messages.boot_id(), "token": self._token, "name": worker.name}
        self._send(messages.PLAN, {"plan": plan, **share, **here}, worker)

    def _joined(self, client_id: str, data: messages.Data) -> _Worker:
        index = len(self._workers)
        share = Share(index, self._expected)
        worker = _Worker(
            client_id=client_id,
            name=f"worker-{index}",
            host=str(data["host"])[:128],
            same_clock=data["boot_id"] == messages.boot_id() != "",
            users=sum(1 for user in range(self._plan.talkers) if share.holds(user)),
            heard_ns=monotonic_ns(),
        )
        self._workers[client_id] = worker
        self._changed.set()
        return worker

    def _on_pong(self, msg: Any, **_: Any) -> None:
        worker = self._known(msg.node_id)
        if worker is not None:
            back_ns = monotonic_ns()
            worker.trips.append(Trip(int(msg.data["sent"]), int(msg.data["here"]), back_ns))

    def _on_ready(self, msg: Any, **_: Any) -> None:
        worker = self._known(msg.node_id)
        if worker is not None:
            worker.ready = int(msg.data["block"])

    def _on_rows(self, msg: Any, **_: Any) -> None:
        worker = self._known(msg.node_id)
        if worker is None:
            return
        if self._gathered:
            return
        worker.rows += int(msg.data["count"])
        if msg.data["data"] is None:
            return
        try:
            batches = batches_from_bytes(msg.data["data"], "requests")
            if worker.part is None:
                name = f"{worker.name}-{os.getpid()}"
                worker.part = PartWriter(self._plan.run_dir, "requests", name)
            for batch in batches:
                worker.part.write(shift_stamps(batch, worker.offset.offset_ns))
        except UserError as error:
            print(f"firsttoken: {worker.name}: {error}", file=sys.stderr, flush=True)
            self._end_run(int(ExitCode.USAGE))

    def _on_result(self, msg: Any, **_: Any) -> None:
        worker = self._known(msg.node_id)
        if worker is not None:
            worker.ttft_ms = [float(value) for value in msg.data["ttft_ms"]]
            worker.result = BlockResult(**msg.data["result"])

    def _on_failed(self, msg: Any, **_: Any) -> None:
        worker = self._known(msg.node_id)
        if worker is not None:
            reason = str(msg.data["reason"])[:500]
            print(f"firsttoken: {worker.name}: {reason}", file=sys.stderr, flush=True)
            self._lose(worker)

    def _on_ended(self, msg: Any, **_: Any) -> None:
        worker = self._known(msg.node_id)
        if worker is not None:
            worker.ended = True
            self._send(messages.BYE, {}, worker)
            if worker.lost_ns is None and not self._closed:
                self._lose(worker)
