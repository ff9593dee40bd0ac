"""Child processes: started with a ready line, supervised, and never left behind.

A child of ours prints one line of JSON on its standard output when it can serve (the ready line,
such as ``{"url": "http://127.0.0.1:43117"}``), may print more lines later, writes its errors to
its standard error, and stops on SIGTERM or SIGINT. Linux only.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from firsttoken.core.errors import UserError

PARENT_PID_VARIABLE = "FIRSTTOKEN_PARENT_PID"
"""Set by :meth:`Child.start` for :func:`die_with_parent`: plumbing between two processes of ours,
not a setting."""

_PR_SET_PDEATHSIG = 1
_MAX_LINE_BYTES = 1 << 20
_MAX_KEPT_LINES = 4096
_ERROR_TAIL_BYTES = 8192
_MAX_ERROR_CHARACTERS = 500
_WAIT_STEP_S = 0.02

# The kernel sends the parent-death signal when the *thread* that started the child ends, not only
# when the process does. All children are therefore started by one thread that lives as long as
# the process; a child may then be started from any thread, a short-lived one too.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="child-spawner")


def die_with_parent(parent_pid: int | None = None) -> None:
    """Have the kernel send SIGTERM to this process when the process that started it ends.

    Every child's main function calls this first. ``parent_pid`` is the process to live with; left
    out, it is what :meth:`Child.start` handed over, and a process that was started by hand (by a
    shell, by systemd) is left alone.

    Raises:
        SystemExit: the parent is gone already.
    """
    handed_over = os.environ.pop(PARENT_PID_VARIABLE, "")
    if parent_pid is None:
        if not handed_over.isdecimal():
            return
        parent_pid = int(handed_over)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:  # it ended before the kernel was told
        sys.exit("the process that started this one has ended")


def _name_of(argv: Sequence[str]) -> str:
    """Return what to call the program in a message: the module after ``-m``, or the file name."""
    if "-m" in argv[:-1]:
        return argv[argv.index("-m") + 1]
    return Path(argv[0]).name


def _ready_object(line: str) -> dict[str, Any] | None:
    """Return the object that ``line`` holds, or None where it is not a JSON object."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


class Child:
    """One child process in its own process group; made by :meth:`start`.

    Safe to use from several threads. As a context manager it is stopped at the end of the block.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], name: str, errors: IO[bytes], log: Path | None
    ) -> None:
        self.name = name
        self.pid: int = process.pid
        self.ready: dict[str, Any] = {}
        """The ready line; empty where none was asked for."""
        self.log = log
        self._process = process
        self._errors = errors
        self._errors_start = errors.tell()
        self._last_error = ""
        self._reaping = threading.Lock()
        self._changed = threading.Condition()
        self._lines: deque[str] = deque(maxlen=_MAX_KEPT_LINES)
        self._waits_for_ready = True
        self._ended = False
        self._drain = threading.Thread(target=self._read_stdout, name=f"{name}-out", daemon=True)

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        log: Path | None = None,
        ready_timeout_s: float | None = 30.0,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Child:
        """Start ``argv`` and wait for its ready line.

        Args:
            argv: program and arguments; nothing goes through a shell.
            log: file to which the child's standard error is appended; None keeps it in an unnamed
                temporary file, for error messages only.
            ready_timeout_s: how long to wait for the ready line, seconds; None for a child that
                prints none: all of its lines are then found in :meth:`lines`.
            env: variables to set on top of this process's own.
            cwd: working directory; None keeps this process's.
            cancelled: asked while waiting; once it says True the child is stopped, and the
                UserError says so.

        Raises:
            UserError: the program cannot be started, ends before its ready line, or is late. The
                message carries the child's last error line and the log's path.
        """
        name = _name_of(argv)
        environment = {**os.environ, **(env or {}), PARENT_PID_VARIABLE: str(os.getpid())}
        errors: IO[bytes]
        try:
            if log is None:
                errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop
            else:
                log.parent.mkdir(parents=True, exist_ok=True)
                errors = log.open("a+b")
                errors.seek(0, os.SEEK_END)
        except OSError as error:
            raise UserError(f"cannot write the log {log}: {error.strerror or error}") from error

        def spawn() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                cwd=cwd,
                process_group=0,
            )

        try:
            process = _spawner.submit(spawn).result()
        except OSError as error:
            errors.close()
            raise UserError(f"cannot start {argv[0]}: {error.strerror or error}") from error
        child = cls(process, name, errors, log)
        child._waits_for_ready = ready_timeout_s is not None
        child._drain.start()
        try:
            if ready_timeout_s is not None:
                child._await_ready(ready_timeout_s, cancelled)
        except BaseException:
            child.stop(timeout_s=1.0)
            raise
        return child

    @property
    def url(self) -> str:
        """The ``url`` of the ready line."""
        return str(self.ready["url"])

    @property
    def returncode(self) -> int | None:
        """The exit code once :meth:`poll`, :meth:`wait` or :meth:`stop` has seen the end;
        negative for a signal."""
        return self._process.returncode

    def poll(self) -> int | None:
        """Return the exit code (negative: minus the signal), or None while the child runs.

        What the child may have left in its process group is killed with it.
        """
        with self._reaping:
            if self._process.returncode is None:
                # WNOWAIT leaves the zombie in place, so that its number cannot be given to
                # another process before the rest of the group has been signalled.
                flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
                if os.waitid(os.P_PID, self.pid, flags) is None:
                    return None
                self._signal_group(signal.SIGKILL)
                self._process.wait()
            return self._process.returncode

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the child to end by itself; return its exit code, or None at the timeout."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pause = threading.Event()
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() >= deadline:
                return None
            pause.wait(_WAIT_STEP_S)
        return code

    def stop(self, timeout_s: float = 5.0) -> int:
        """End the child and its process group: SIGTERM, after ``timeout_s`` SIGKILL; wait for it.

        May be called again, and on a child that has ended. Returns the exit code.
        """
        if self.poll() is None:
            with self._reaping:
                if self._process.returncode is None:
                    self._signal_group(signal.SIGTERM)
            if self.wait(timeout_s) is None:
                with self._reaping:
                    if self._process.returncode is None:
                        self._signal_group(signal.SIGKILL)
                self.wait()
        # A descendant outside the group may hold the pipe open: do not wait for it for ever.
        self._drain.join(timeout=1.0)
        if not self._drain.is_alive() and self._process.stdout is not None:
            self._process.stdout.close()
        self.last_error_line()  # kept for callers that ask after the end
        with self._reaping:
            self._errors.close()
        return int(self._process.returncode)

    def lines(self) -> Iterator[str]:
        """Yield the lines printed on standard output after the ready line, without their ends.

        Waits for the next one; ends when the child has ended or closed its output. Lines nobody
        asks for are dropped, the oldest first, beyond 4,096.
        """
        while True:
            with self._changed:
                while not self._lines:
                    if self._ended:
                        return
                    self._changed.wait()
                line = self._lines.popleft()
            yield line

    def last_error_line(self) -> str:
        """Return the last line the child wrote on its standard error, or an empty string."""
        with self._reaping:
            if not self._errors.closed:
                # The descriptor shares its offset with the child's: read without moving it.
                size = os.fstat(self._errors.fileno()).st_size
                start = max(self._errors_start, size - _ERROR_TAIL_BYTES)
                tail = os.pread(self._errors.fileno(), _ERROR_TAIL_BYTES, start)
                self._last_error = _last_line(tail)
            return self._last_error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _read_stdout(self) -> None:
        """Body of the draining thread: keep the child's pipe empty, hand out its lines."""
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101 - it was asked for as a pipe
        while raw := pipe.readline(_MAX_LINE_BYTES):
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            with self._changed:
                if self._waits_for_ready:
                    # A native library may print before our own line does: not a ready line.
                    ready = _ready_object(line)
                    if ready is not None:
                        self.ready = ready
                        self._waits_for_ready = False
                else:
                    self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _await_ready(self, timeout_s: float, cancelled: Callable[[], bool] | None) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            with self._changed:
                if not self._waits_for_ready:
                    return
                if not self._ended:
                    self._changed.wait(_WAIT_STEP_S)
                if not self._waits_for_ready:
                    return
                closed = self._ended
            code = self.wait(1.0) if closed else self.poll()
            if code is not None:
                how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
                raise UserError(self._message(f"{how} before it was ready"))
            if closed:
                raise UserError(self._message("closed its output before it was ready"))
            if cancelled is not None and cancelled():
                raise UserError(self._message("was stopped before it was ready"))
            if time.monotonic() >= deadline:
                raise UserError(self._message(f"was not ready within {timeout_s:g} s"))

    def _message(self, what: str) -> str:
        line = self.last_error_line()
        where = f" (log: {self.log})" if self.log is not None else ""
        return f"{self.name} {what}" + (f": {line}" if line else "") + where


def _last_line(tail: bytes) -> str:
    """Return the last line of ``tail`` that is not blank, without our own command's prefix."""
    lines = [line.strip() for line in tail.decode("utf-8", "replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return last.removeprefix("firsttoken: ")[:_MAX_ERROR_CHARACTERS]
