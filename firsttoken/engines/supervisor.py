"""Keeps one engine alive: start, ready, restart with back-off on the same port, stop."""

from __future__ import annotations

import errno
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from firsttoken.core.child import Child
from firsttoken.core.clock import NS_PER_S, NowNs, monotonic_ns
from firsttoken.core.errors import UserError
from firsttoken.engines.options import EngineOptions

READY_TIMEOUT_S = 180.0
"""A model of several gigabytes is read from a slow disk in this time."""
_POLL_S = 1.0
_STOP_TIMEOUT_S = 1.5


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How often, and after which pause, an engine that died is started again."""

    most: int = 5
    """Restarts within ``window_s``; the next death is final."""
    window_s: float = 600.0
    first_pause_s: float = 0.2
    """Pause before the second restart of a window; it doubles with each further one. The first
    one comes at once."""
    longest_pause_s: float = 10.0

    def pause_s(self, restarts_ns: Sequence[int], now_ns: int) -> float | None:
        """Return how long to wait before the next restart, seconds, or None to give up.

        ``restarts_ns`` are the times of the restarts so far, on the clock of ``now_ns``.
        """
        since = now_ns - int(self.window_s * NS_PER_S)
        recent = sum(1 for at in restarts_ns if at >= since)
        if recent >= self.most:
            return None
        if recent == 0:
            return 0.0
        return min(self.longest_pause_s, self.first_pause_s * 2.0 ** (recent - 1))


def reserve_port(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to ``port`` (0: a free one) and never listens.

    While it is open nobody else is given the port, so that a restarted engine finds it free; the
    engine itself may bind it, since both set SO_REUSEADDR.

    Raises:
        UserError: the port is taken, not permitted, or the host is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    holder = socket.socket(family, socket.SOCK_STREAM)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((host, port))
    except OSError as error:
        holder.close()
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise UserError(f"host {host}: not an address of this machine") from error
        taken = error.errno == errno.EADDRINUSE
        why = "it is taken" if taken else (error.strerror or str(error))
        raise UserError(
            f"cannot serve on {host} port {port}: {why}; expected a free port, or 0 for any"
        ) from error
    return holder


class EngineSupervisor:
    """Runs the embedded engine in a child process and starts it again when it dies.

    It needs no event loop: a thread of its own watches the child. ``url`` stays the same over
    restarts. As a context manager it starts at the beginning of the block and stops at its end.

    Args:
        options: what :func:`firsttoken.engines.options.check` has passed.
        log: file for llama.cpp's own log; None keeps it for error messages only.
        on_event: told each restart in one line, from the thread that made it.
        policy: when to restart, when to give up.
        now_ns: the clock of the policy.
    """

    def __init__(
        self,
        options: EngineOptions,
        *,
        log: Path | None = None,
        on_event: Callable[[str], None] | None = None,
        policy: RestartPolicy | None = None,
        now_ns: NowNs = monotonic_ns,
    ) -> None:
        self.options = options
        self.log = log
        self.restarts = 0
        """How often the engine was started again."""
        self.failure: UserError | None = None
        """Why it was given up, once it was."""
        self._on_event = on_event or (lambda _line: None)
        self._policy = policy or RestartPolicy()
        self._now_ns = now_ns
        self._restarts_ns: list[int] = []
        self._child: Child | None = None
        self._holder: socket.socket | None = None
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._replacing = threading.Lock()
        """Held while one child takes the place of another."""
        self._watcher: threading.Thread | None = None

    def start(self) -> None:
        """Start the engine; return when it is ready: it answers ``/health`` with ok and has, with
        ``preload``, made a token.

        Raises:
            UserError: the port is taken, or the engine cannot start.
        """
        if self._watcher is not None:
            raise UserError("this engine was started already")
        holder = reserve_port(self.options.host, self.options.port)
        self._holder = holder
        self.options = replace(self.options, port=int(holder.getsockname()[1]))
        try:
            self._child = self._start_child()
        except BaseException:
            holder.close()
            raise
        self._watcher = threading.Thread(target=self._watch, name="engine-watch", daemon=True)
        self._watcher.start()

    @property
    def url(self) -> str:
        """The engine's address, ``http://host:port``."""
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"http://{host}:{self.options.port}"

    @property
    def pid(self) -> int | None:
        """The process id of the present child, or None while there is none."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    @property
    def slots(self) -> int:
        """Slots, as the running engine reports them."""
        return int(self._report("slots", self.options.slots))

    @property
    def context_per_slot(self) -> int:
        """Tokens of one slot, as the running engine reports them."""
        return int(self._report("context_per_slot", self.options.context_per_slot))

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the engine was stopped or given up (then ``failure`` is set); return whether
        it was within ``timeout_s``."""
        return self._ended.wait(timeout_s)

    def restart(self) -> None:
        """Replace the engine by a new process on the same port; return when that is ready.

        Answers under way are cut off. It does not count towards the restarts after which an
        engine that keeps dying is given up.

        Raises:
            UserError: the engine was not started, was stopped or given up, or the new process
                did not come up; then it is tried again as after a death.
        """
        with self._replacing:
            if self._watcher is None:
                raise UserError("this engine was not started; there is nothing to restart")
            if self._stopping.is_set():
                raise UserError("this engine was stopped; it is not restarted")
            if self.failure is not None:
                raise UserError(str(self.failure))
            self._stop_child()
            self._child = None
            began_ns = self._now_ns()
            self._child = child = self._start_child()
            self.restarts += 1
        took_s = (self._now_ns() - began_ns) / NS_PER_S
        self._on_event(
            f"the engine was restarted on request in {took_s:.1f} s (process {child.pid})"
        )

    def stop(self) -> None:
        """Stop the engine within 2 s, leave no process behind. May be called again."""
        self._stopping.set()
        self._stop_child()
        if self._watcher is not None:
            self._watcher.join()
        with self._replacing:
            self._stop_child()  # the one that may have been started meanwhile
        if self._holder is not None:
            self._holder.close()
        self._ended.set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _report(self, key: str, otherwise: int) -> int:
        child = self._child
        return int(child.ready.get(key, otherwise)) if child is not None else otherwise

    def _start_child(self) -> Child:
        argv = [sys.executable, "-m", "firsttoken.engines.llamacpp", self.options.to_json()]
        return Child.start(
            argv,
            log=self.log,
            ready_timeout_s=READY_TIMEOUT_S,
            cancelled=self._stopping.is_set,
        )

    def _stop_child(self) -> None:
        child = self._child
        if child is not None:
            child.stop(timeout_s=_STOP_TIMEOUT_S)

    def _watch(self) -> None:
        """Body of the watching thread."""
        how = ""
        while not self._stopping.is_set():
            child = self._child
            if child is not None:
                if child.wait(_POLL_S) is None:
                    continue
                with self._replacing:
                    if self._child is not child:
                        how = "was to be replaced on request"
                        continue
                    child.stop()
                    how = _how_it_ended(child)
                    self._child = None
            if self._stopping.is_set():  # it ended because it was told to
                break
            pause_s = self._policy.pause_s(self._restarts_ns, self._now_ns())
            if pause_s is None:
                where = f" (log: {self.log})" if self.log is not None else ""
                tries = len(self._restarts_ns)
                self.failure = UserError(f"the engine {how}; given up after {tries} tries{where}")
                break
            if self._stopping.wait(pause_s):
                break
            with self._replacing:
                if self._child is None:
                    how = self._restart(how)
        self._ended.set()

    def _restart(self, how: str) -> str:
        """Try to start the engine again; return how it ended, for the next message."""
        began_ns = self._now_ns()
        self._restarts_ns.append(began_ns)
        try:
            self._child = child = self._start_child()
        except UserError as error:
            return f"did not start again: {error}"
        self.restarts += 1
        took_s = (self._now_ns() - began_ns) / NS_PER_S
        self._on_event(f"the engine {how}; restarted in {took_s:.1f} s (process {child.pid})")
        return how


def _how_it_ended(child: Child) -> str:
    code = child.returncode
    if code is not None and code < 0:
        return f"was ended by signal {-code}"
    line = child.last_error_line()
    return f"ended with exit code {code}" + (f": {line}" if line else "")
