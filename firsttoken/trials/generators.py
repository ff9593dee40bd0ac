"""The processes that make the load: one, or a master with workers here and on other machines."""

from __future__ import annotations

import json
import queue
import socket
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from firsttoken.core.child import Child
from firsttoken.core.errors import UserError
from firsttoken.trials.pinning import keep_to

LOOPBACK = "127.0.0.1"
WORKER_END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Generators:
    """How many processes share the load. The default: one, without a master."""

    workers: int = 0
    """Started here."""
    expected: int = 0
    """Started by hand on other machines."""
    bind: str = LOOPBACK
    """Address on which the master waits for workers. Their protocol has no password."""
    port: int = 0
    """0: any that is free."""

    @property
    def total(self) -> int:
        """How many workers there are in all; 0 without a master."""
        return self.workers + self.expected


ONE = Generators()


class LoadProcesses:
    """The load generators of one plan, as a context manager: all have ended when it is left.

    Args:
        scenario: file and class of ``loadtests/``.
        plan: what they run.
        log: file to which they write their errors.
        generators: how many there are.
        key_variables: names of the variables that hold keys of the plan's arms.

    Raises:
        UserError: one cannot be started.
    """

    def __init__(
        self,
        scenario: tuple[Path, str],
        plan: Path,
        log: Path,
        generators: Generators,
        key_variables: Sequence[str] = (),
    ) -> None:
        file, name = scenario
        self._locust = ["-m", "locust", "-f", str(file), name]
        self._keys = ["--api-key-env", ",".join(key_variables)] if key_variables else []
        self._generators = generators
        self._log = log
        argv = [sys.executable, *self._locust, "--headless", "--run-plan", str(plan)]
        if generators.total:
            argv += ["--master", "--expect-workers", str(generators.total)]
            argv += ["--master-bind-host", generators.bind]
            argv += ["--master-bind-port", str(generators.port)]
        self._leader = Child.start(argv, log=log, ready_timeout_s=None)
        self._workers: list[Child] = []
        self._cores: Collection[int] | None = None
        self._all_joined = False

    @property
    def pids(self) -> list[int]:
        """The processes on this machine, those that ended left out."""
        here = [self._leader, *self._workers]
        return [child.pid for child in here if child.returncode is None]

    def keep_to(self, cores: Collection[int] | None) -> None:
        """Keep the load generators to ``cores``: those that run and those that are still to be
        started; None: the kernel's choice."""
        self._cores = cores
        if cores is not None:
            for pid in self.pids:
                keep_to(pid, cores)

    def events(self, tick_s: float) -> Iterator[dict[str, Any] | None]:
        """Yield what the run tells as it comes, and None at least every ``tick_s`` seconds.

        Beside the events of :func:`firsttoken.load.pace.tell` there is ``call``, which carries the
        ``command`` to be entered on the other machines.

        Raises:
            UserError: a worker of ours ended before all had joined.
        """
        for line in _lines_or_ticks(self._leader, tick_s):
            if line is None:
                self._look_after_workers()
                yield None
                continue
            event: dict[str, Any] = json.loads(line)
            if event["event"] == "master":
                self._start_workers(int(event["port"]))
                if self._generators.expected:
                    yield {"event": "call", "command": self._command(int(event["port"]))}
                continue
            self._all_joined = self._all_joined or event["event"] == "workers"
            yield event

    def wait(self, timeout_s: float) -> None:
        """Wait for the end of all.

        Raises:
            UserError: the run failed.
        """
        code = self._leader.wait(timeout_s)
        if code != 0:
            raise UserError(
                f"the load child ended with code {code}: {self._leader.last_error_line()} "
                f"(log: {self._log})"
            )
        for worker in self._workers:
            worker.wait(WORKER_END_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The master first: it tells the workers, which then hand over their last rows.
        for child in (self._leader, *self._workers):
            child.stop()

    def _start_workers(self, port: int) -> None:
        everywhere = self._generators.bind in {"0.0.0.0", "*"}  # noqa: S104 - compared only
        host = LOOPBACK if everywhere else self._generators.bind
        for _ in range(self._generators.workers):
            argv = [sys.executable, *self._worker_arguments(host, port)]
            self._workers.append(Child.start(argv, log=self._log, ready_timeout_s=None))
            if self._cores is not None:
                keep_to(self._workers[-1].pid, self._cores)

    def _worker_arguments(self, host: str, port: int) -> list[str]:
        to_master = ["--worker", "--master-host", host, "--master-port", str(port)]
        return [*self._locust, *to_master, *self._keys]

    def _command(self, port: int) -> str:
        everywhere = self._generators.bind in {"0.0.0.0", "*"}  # noqa: S104 - compared only
        host = socket.gethostname() if everywhere else self._generators.bind
        _, _, _, file, *rest = self._worker_arguments(host, port)
        return " ".join(["locust -f", f"loadtests/{Path(file).name}", *rest])

    def _look_after_workers(self) -> None:
        for worker in self._workers:
            code = worker.poll()
            if code is not None and not self._all_joined:
                why = worker.last_error_line()
                raise UserError(f"a load generator ended with code {code} before the run: {why}")


def _lines_or_ticks(child: Child, tick_s: float) -> Iterator[str | None]:
    """Yield the child's lines as they come, and None at least every ``tick_s`` seconds."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    ended = threading.Event()

    def read() -> None:
        for line in child.lines():
            lines.put(line)
        ended.set()
        lines.put(None)

    threading.Thread(target=read, name="load-lines", daemon=True).start()
    while not (ended.is_set() and lines.empty()):
        try:
            yield lines.get(timeout=tick_s)
        except queue.Empty:
            yield None
