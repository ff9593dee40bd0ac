"""Doing something again and again while some work is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def meanwhile(
    work: Coroutine[Any, Any, T],
    act: Callable[[], Awaitable[None]],
    every_s: float,
    drop: Callable[[T], None],
) -> T:
    """Return what ``work`` returns; while it is under way, ``act`` every so many seconds.

    Where this is cancelled, or ``act`` fails, the work is cancelled and waited for; what it had
    returned at that very moment is given to ``drop``.
    """
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait((task,), timeout=every_s))[0]:
            await act()
    except BaseException:
        task.cancel()
        await asyncio.wait((task,))
        if not task.cancelled() and task.exception() is None:
            drop(task.result())
        raise
    return task.result()
