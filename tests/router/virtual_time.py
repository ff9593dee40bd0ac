"""An event loop whose clock jumps to the next timer where no callback is ready."""

from __future__ import annotations

import asyncio
import gc
import logging
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class DeadlockError(Exception):
    """Nothing will ever happen again, or nothing has ended in the time that was allowed."""


class _Jump(selectors.SelectSelector):
    """Waits by moving the loop's clock."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or self.loop.now_s > self.loop.limit_s:
            raise DeadlockError(f"at {self.loop.now_s:.3f} s")
        self.loop.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time costs nothing.

    Args:
        limit_s: virtual seconds after which it gives up.
    """

    def __init__(self, limit_s: float) -> None:
        # A clock that starts at 0 would hide what takes 0 for "not yet".
        self.now_s = 1000.0
        self.limit_s = self.now_s + limit_s
        jump = _Jump()
        jump.loop = self
        super().__init__(jump)

    def time(self) -> float:
        """Return the virtual time, seconds."""
        return self.now_s


class _Errors(logging.Handler):
    """Keeps the errors that are logged."""

    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append(self.format(record))


def run(main: Coroutine[Any, Any, _Result], limit_s: float = 3600.0) -> _Result:
    """Run ``main`` in virtual time; what it leaves behind is a failure: a task, an exception that
    nobody took, or an error in the log."""
    troubles: list[str] = []
    loop = VirtualLoop(limit_s)
    errors = _Errors(troubles)
    logging.getLogger().addHandler(errors)
    loop.set_exception_handler(lambda _, context: troubles.append(repr(context)))
    # So that the search for lost exceptions looks at this run's objects alone.
    gc.freeze()
    try:
        result = loop.run_until_complete(main)
        troubles += [f"left: {task!r}" for task in asyncio.all_tasks(loop)]
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        gc.collect()
        loop.close()
        gc.unfreeze()
        logging.getLogger().removeHandler(errors)
    assert not troubles, troubles
    return result
