"""Restarting a local engine, whoever asks for it: drained, restarted, warmed, readmitted, verified.

This is the one place where that is done, and there is one restart at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from firsttoken.core.catalogue import ActionResult
from firsttoken.core.errors import UserError
from firsttoken.engines.adapters import Adapter
from router.health.monitor import Monitor

_HOUR_S = 3600.0
_POLL_S = 0.1
_PROBE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the steps of a restart may take."""

    drain_s: float = 10.0
    """For which requests under way are waited for."""
    ready_s: float = 120.0
    """For which the engine may take to answer again, its model's loading included."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an action ended."""

    result: ActionResult
    detail: str
    """One line for people."""


async def _unknown() -> float | None:
    return None


class Restarter:
    """Restarts one backend's engine.

    Args:
        backend: its name.
        patience: how long the steps may take.
        adapter: how to restart.
        monitor: the circuits; the backend is drained and readmitted here.
        in_flight: tells how many requests are under way at the backend.
        probe: asks for the health path and one token; says whether both came.
        ready: the same with patience, for a model that has to be loaded: for so many seconds.
        memory: tells the share of its limit that the engine holds; None where that is not known.
        now_s: a clock in seconds.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        backend: str,
        patience: Patience,
        adapter: Adapter,
        monitor: Monitor,
        *,
        in_flight: Callable[[], int],
        probe: Callable[[], Awaitable[bool | None]],
        ready: Callable[[float], Awaitable[bool]],
        memory: Callable[[], Awaitable[float | None]] = _unknown,
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.backend = backend
        self.times_s: tuple[float, ...] = ()
        """Ends of the restarts of the last hour, oldest first."""
        self._busy = False
        self._before: Restarter | None = None
        self._patience = patience
        self._adapter = adapter
        self._monitor = monitor
        self._in_flight = in_flight
        self._probe = probe
        self._answers_within = ready
        self._memory = memory
        self._now_s = now_s
        self._sleep = sleep

    @property
    def under_way(self) -> bool:
        """Whether the engine is being restarted."""
        return self._busy or (self._before is not None and self._before.under_way)

    @property
    def ended_ago_s(self) -> float | None:
        """Seconds since the last restart; None where there was none within the hour."""
        ago_s = self._now_s() - self.times_s[-1] if self.times_s else _HOUR_S
        return ago_s if ago_s < _HOUR_S else None

    def take_over(self, before: Restarter) -> None:
        """Count the restarts of another one, of the same engine and clock, as one's own."""
        self.times_s = before.times_s
        self._before = before if before.under_way else None

    async def restart(self, *, drain: bool, memory: bool = False) -> Outcome:
        """Restart the engine.

        Args:
            drain: requests under way are waited for; a dead engine has none worth waiting for.
            memory: the restart is made to free memory, and has failed where it did not.
        """
        if self.under_way:
            return Outcome(ActionResult.REFUSED, "a restart is under way")
        self._busy = True
        began_s = self._now_s()
        before = tuple(at_s for at_s in self.times_s if began_s - at_s < _HOUR_S)
        self.times_s = (*before, began_s)
        try:
            return await self._restart(began_s, drain, memory)
        finally:
            self.times_s = (*before, self._now_s())
            self._busy = False

    async def _restart(self, began_s: float, drain: bool, memory: bool) -> Outcome:
        healthy = False
        held = await self._memory() if memory else None
        self._monitor.drain(self.backend)
        try:
            if drain:
                await self._drained()
            try:
                await asyncio.to_thread(self._adapter.restart)
            except UserError as error:
                healthy = bool(await self._probe())  # what it was before, it may be still
                return Outcome(ActionResult.FAILED, str(error))
            healthy = await self._ready()
        finally:
            self._monitor.readmit(self.backend, healthy=healthy)
        took = f"in {self._now_s() - began_s:.1f} s"
        if not healthy:
            return Outcome(ActionResult.FAILED, f"no token {took}")
        left = await self._memory() if held is not None else None
        if held is not None and left is not None and left >= held:
            told = f"it answers again {took}, but holds {left:.0%} of its memory, no less than the"
            return Outcome(ActionResult.FAILED, f"{told} {held:.0%} before")
        return Outcome(ActionResult.SUCCEEDED, f"it answers again {took}")

    async def _drained(self) -> None:
        """Wait until no request is under way, or long enough."""
        until_s = self._now_s() + self._patience.drain_s
        while self._in_flight() > 0 and self._now_s() < until_s:
            await self._sleep(_POLL_S)

    async def _ready(self) -> bool:
        """Wait for health and one token, which also warms it; return whether they came in time."""
        until_s = self._now_s() + self._patience.ready_s
        while not await self._answers_within(max(0.0, until_s - self._now_s())):
            if self._now_s() >= until_s:
                return False
            await self._sleep(_PROBE_EVERY_S)
        return True
