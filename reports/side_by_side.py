"""Two cores for one report: tasks done by this process and by a forked child with the same records.

Only worth it, and only done, for large runs. A child that fails, or takes too long, costs time and
nothing else: what it did not hand over is then done here.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

WORTH_IT_ROWS = 200_000
"""Requests from which on a child saves more than it costs."""

CHILD_SECONDS = 60.0
MOST_TASKS = 10_000
"""Numbers of so many fit the pipe that they are taken from."""

_NUMBER_BYTES = 4


def possible() -> bool:
    """Return whether this machine has a second core, and a way to share memory with a child."""
    return sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1


def run(tasks: Sequence[Callable[[], T]], *, rows: int) -> list[T]:
    """Return what each task returns, in their order.

    Args:
        tasks: independent of each other; what they return can be pickled.
        rows: requests of the run that they are about.
    """
    if rows < WORTH_IT_ROWS or not 1 < len(tasks) <= MOST_TASKS or not possible():
        return [task() for task in tasks]
    queue = _queue(len(tasks))
    child = _Child(tasks, queue)
    found = _taken(tasks, queue)
    os.close(queue)
    found |= child.results()
    return [found[at] if at in found else task() for at, task in enumerate(tasks)]


def _queue(count: int) -> int:
    """Return a pipe that holds the numbers of the tasks: whoever is free reads the next one."""
    out, into = os.pipe()
    with os.fdopen(into, "wb") as pipe:
        pipe.write(b"".join(at.to_bytes(_NUMBER_BYTES) for at in range(count)))
    return out


def _taken(tasks: Sequence[Callable[[], T]], queue: int) -> dict[int, T]:
    """Do tasks until none is left; return what they returned by their numbers."""
    found = {}
    while number := os.read(queue, _NUMBER_BYTES):
        at = int.from_bytes(number)
        found[at] = tasks[at]()
    return found


class _Child:
    """A forked copy of this process that does some of the tasks and ends."""

    def __init__(self, tasks: Sequence[Callable[[], object]], queue: int) -> None:
        self._from_child, to_parent = os.pipe()
        self._deadline = time.monotonic() + CHILD_SECONDS
        with warnings.catch_warnings():
            # Python warns of a fork beside other threads, since one of them may hold a lock. Should
            # that ever be, the child comes to its deadline.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            _work(tasks, queue, to_parent)
        os.close(to_parent)

    def results(self) -> dict[int, T]:
        """Return what the child's tasks returned; nothing where it failed or took too long."""
        chunks = []
        with os.fdopen(self._from_child, "rb", buffering=0) as pipe:
            while True:
                left = max(self._deadline - time.monotonic(), 0.0)
                if not select.select([pipe], [], [], left)[0]:
                    os.kill(self._pid, signal.SIGKILL)
                    break
                chunk = pipe.read(1 << 20)
                if not chunk:
                    break
                chunks.append(chunk)
        _, status = os.waitpid(self._pid, 0)
        if os.waitstatus_to_exitcode(status) != 0:
            return {}
        # Our own child wrote it.
        found: dict[int, T] = pickle.loads(b"".join(chunks))  # noqa: S301
        return found


def _work(tasks: Sequence[Callable[[], object]], queue: int, to_parent: int) -> None:
    """Do tasks in the child, hand over what they return, and end without cleaning up: all that
    could be cleaned up is the parent's."""
    code = 1
    try:
        found = _taken(tasks, queue)
        with os.fdopen(to_parent, "wb") as pipe:
            pickle.dump(found, pipe, protocol=pickle.HIGHEST_PROTOCOL)
        code = 0
    finally:
        os._exit(code)
