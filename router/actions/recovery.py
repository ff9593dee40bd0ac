"""Has a local engine restarted that is dead or full of memory, without any alert; not too often."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from firsttoken.core.catalogue import ActionResult
from router.actions.restart import Restarter

_log = logging.getLogger(__name__)

TICK_S = 1.0
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Policy:
    """When an engine is restarted."""

    memory_share: float = 0.9
    """Unreclaimable memory / its limit; above it the engine is restarted."""
    cool_down_s: float = 60.0
    """From the end of a restart to the next one, whether or not it helped."""
    most_per_hour: int = 3


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
    if sum(now_s - at_s < _HOUR_S for at_s in restarts_s) >= policy.most_per_hour:
        return Decision(cause, f"there were {policy.most_per_hour} restarts in the last hour")
    return Decision(cause)


class Recovery:
    """Looks after one backend's engine.

    Args:
        policy: when to restart.
        restarter: restarts it; what an alert made it do counts towards the limits too.
        symptoms: tells what is known now.
        on_action: is told each action and its result, once.
        now_s: a clock in seconds.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        policy: Policy,
        restarter: Restarter,
        *,
        symptoms: Callable[[], Symptoms],
        on_action: Callable[[Cause, ActionResult], None],
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._policy = policy
        self._restarter = restarter
        self._symptoms = symptoms
        self._on_action = on_action
        self._now_s = now_s
        self._sleep = sleep
        self._refused: Decision | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look after the engine."""
        self._task = asyncio.get_running_loop().create_task(self._forever())

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
        if self._restarter.under_way:
            return
        cause = cause_of(self._symptoms(), self._policy)
        decision = decide(self._restarter.times_s, cause, self._policy, self._now_s())
        if decision.cause is None:
            self._refused = None
        elif not decision.refusal:
            self._refused = None
            memory = decision.cause is Cause.MEMORY
            outcome = await self._restarter.restart(drain=memory, memory=memory)
            self._tell(decision.cause, outcome.result, outcome.detail)
        elif decision != self._refused:  # once, not each second
            self._refused = decision
            self._tell(decision.cause, ActionResult.REFUSED, decision.refusal)

    def _tell(self, cause: Cause, result: ActionResult, detail: str) -> None:
        level = logging.INFO if result is ActionResult.SUCCEEDED else logging.WARNING
        name = self._restarter.backend
        _log.log(level, "restart of %s (%s) %s: %s", name, cause, result, detail)
        self._on_action(cause, result)

    async def _forever(self) -> None:
        while True:
            try:
                await self.tick()
            except Exception:  # noqa: BLE001 - without this task nobody would look after the engine any more
                _log.exception("the recovery of %s failed", self._restarter.backend)
            await self._sleep(TICK_S)
