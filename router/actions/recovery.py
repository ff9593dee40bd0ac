"""Restarts a local engine that is dead or full of memory: drained first, and not too often."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from firsttoken.core.errors import UserError
from firsttoken.engines.adapters import Adapter
from router.health.monitor import Monitor

_log = logging.getLogger(__name__)

TICK_S = 1.0
_HOUR_S = 3600.0
_POLL_S = 0.1
_PROBE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Policy:
    """When an engine is restarted."""

    memory_share: float = 0.9
    """Unreclaimable memory / its limit; above it the engine is restarted."""
    cool_down_s: float = 60.0
    """From the end of a restart to the next one, whether or not it helped."""
    most_per_hour: int = 3
    drain_s: float = 10.0
    """For which requests under way are waited for."""
    ready_s: float = 120.0
    """For which the engine may take to answer again, its model's loading included."""


@dataclass(frozen=True, slots=True)
class Symptoms:
    """What is known of an engine now; memory that is not known is no reason to restart."""

    dead: bool = False
    """Its probes have failed as often as the settings say."""
    memory_share: float | None = None


class Cause(StrEnum):
    """Why an engine is restarted."""

    DEAD = "dead"
    MEMORY = "memory"


class Result(StrEnum):
    """What became of a restart that was called for."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to restart now: there is a cause, and nothing forbids it."""

    cause: Cause | None = None
    refusal: str = ""
    """Why not, although there is a cause."""


def cause_of(symptoms: Symptoms, policy: Policy) -> Cause | None:
    """Return why the engine needs a restart, if it does."""
    if symptoms.dead:
        return Cause.DEAD
    share = symptoms.memory_share
    return Cause.MEMORY if share is not None and share > policy.memory_share else None


def decide(
    restarts_s: tuple[float, ...], cause: Cause | None, policy: Policy, now_s: float
) -> Decision:
    """Decide about a restart at ``now_s``, given the times of those before it, oldest first.

    Neither limit is lifted by a restart that helped: an engine that dies each minute has a fault
    that restarting does not mend.
    """
    if cause is None:
        return Decision()
    if restarts_s and now_s - restarts_s[-1] < policy.cool_down_s:
        return Decision(cause, f"the last restart was less than {policy.cool_down_s:g} s ago")
    if len(_of_last_hour(restarts_s, now_s)) >= policy.most_per_hour:
        return Decision(cause, f"there were {policy.most_per_hour} restarts in the last hour")
    return Decision(cause)


def _of_last_hour(restarts_s: tuple[float, ...], now_s: float) -> tuple[float, ...]:
    return tuple(at_s for at_s in restarts_s if now_s - at_s < _HOUR_S)


class Recovery:
    """Restarts one backend's engine.

    Args:
        backend: its name.
        policy: when to restart.
        adapter: how to restart.
        monitor: the circuits; the backend is drained and readmitted here.
        symptoms: tells what is known now.
        in_flight: tells how many requests are under way at the backend.
        probe: asks for the health path and one token; says whether both came.
        ready: the same with patience, for a model that has to be loaded: for so many seconds.
        on_action: is told each action and its result, once.
        now_s: a clock in seconds.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        backend: str,
        policy: Policy,
        adapter: Adapter,
        monitor: Monitor,
        *,
        symptoms: Callable[[], Symptoms],
        in_flight: Callable[[], int],
        probe: Callable[[], Awaitable[bool | None]],
        ready: Callable[[float], Awaitable[bool]],
        on_action: Callable[[Cause, Result], None],
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._backend = backend
        self._policy = policy
        self._adapter = adapter
        self._monitor = monitor
        self._symptoms = symptoms
        self._in_flight = in_flight
        self._probe = probe
        self._answers_within = ready
        self._on_action = on_action
        self._now_s = now_s
        self._sleep = sleep
        self._restarts_s: tuple[float, ...] = ()
        self._refused: Decision | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look after the engine."""
        self._task = asyncio.get_running_loop().create_task(self._forever())

    def take_over(self, before: Recovery) -> None:
        """Count the restarts of another recovery, of the same engine and clock, as one's own."""
        self._restarts_s = before._restarts_s

    def stop(self) -> None:
        """Begin to end it; a program that restarts the engine just now is not broken off."""
        if self._task is not None:
            self._task.cancel()

    async def aclose(self) -> None:
        """End it, see :meth:`stop`."""
        self.stop()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def tick(self) -> None:
        """Restart the engine if that is due."""
        cause = cause_of(self._symptoms(), self._policy)
        decision = decide(self._restarts_s, cause, self._policy, self._now_s())
        if decision.cause is None:
            self._refused = None
        elif not decision.refusal:
            self._refused = None
            await self._restart(decision.cause)
        elif decision != self._refused:  # once, not each second
            self._refused = decision
            self._tell(decision.cause, Result.REFUSED, decision.refusal)

    async def _restart(self, cause: Cause) -> None:
        began_s = self._now_s()
        before = _of_last_hour(self._restarts_s, began_s)
        self._restarts_s = (*before, began_s)
        healthy = False
        self._monitor.drain(self._backend)
        try:
            if cause is not Cause.DEAD:
                await self._drained()
            try:
                await asyncio.to_thread(self._adapter.restart)
            except UserError as error:
                healthy = bool(await self._probe())  # what it was before, it may be still
                self._tell(cause, Result.FAILED, str(error))
                return
            healthy = await self._ready()
        finally:
            self._restarts_s = (*before, self._now_s())
            self._monitor.readmit(self._backend, healthy=healthy)
        took = f"in {self._now_s() - began_s:.1f} s"
        if healthy:
            self._tell(cause, Result.SUCCEEDED, f"it answers again {took}")
        else:
            self._tell(cause, Result.FAILED, f"no token {took}")

    async def _drained(self) -> None:
        """Wait until no request is under way, or long enough."""
        until_s = self._now_s() + self._policy.drain_s
        while self._in_flight() > 0 and self._now_s() < until_s:
            await self._sleep(_POLL_S)

    async def _ready(self) -> bool:
        """Wait for health and one token, which also warms it; return whether they came in time."""
        until_s = self._now_s() + self._policy.ready_s
        while not await self._answers_within(max(0.0, until_s - self._now_s())):
            if self._now_s() >= until_s:
                return False
            await self._sleep(_PROBE_EVERY_S)
        return True

    def _tell(self, cause: Cause, result: Result, detail: str) -> None:
        level = logging.INFO if result is Result.SUCCEEDED else logging.WARNING
        _log.log(level, "restart of %s (%s) %s: %s", self._backend, cause, result, detail)
        self._on_action(cause, result)

    async def _forever(self) -> None:
        while True:
            try:
                await self.tick()
            except Exception:  # noqa: BLE001 - without this task nobody would look after the engine any more
                _log.exception("the recovery of %s failed", self._backend)
            await self._sleep(TICK_S)
