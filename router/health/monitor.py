"""Keeps the breakers of all backends, and probes those whose circuit is open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

from firsttoken.core.catalogue import CircuitState
from firsttoken.core.words import ErrorType
from router.health.breaker import (
    Breaker,
    BreakerRules,
    after_failure,
    after_probe,
    after_success,
    opened,
    start_probe,
    taken_out,
)

Probe = Callable[[str], Awaitable[bool | None]]
"""Asks the backend of this name for one token; says whether it came, None if it is too early to
tell."""

OnChange = Callable[[str, CircuitState], None]
"""Is told of each change of a circuit's state."""

_log = logging.getLogger(__name__)

_DRAINED_S = 1.0
"""How often the recovery of a drained backend looks whether it was readmitted."""


class Monitor:
    """The health of all backends.

    Args:
        names: names of the backends.
        rules: when circuits open.
        probe: asks one backend for a token.
        on_change: is told of each change of state, of the first state of each backend, and, of one
            that is readmitted as healthy, that it is closed, whatever it was before.
        now_s: a clock in seconds.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        names: Iterable[str],
        rules: BreakerRules,
        probe: Probe,
        on_change: OnChange,
        *,
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rules = rules
        self._probe = probe
        self._on_change = on_change
        self._now_s = now_s
        self._sleep = sleep
        self._breakers = {name: Breaker() for name in names}
        self._failed_probes = dict.fromkeys(self._breakers, 0)
        self._succeeded_s: dict[str, float] = {}
        self._drained: frozenset[str] = frozenset()
        self._blocked: frozenset[str] = frozenset()
        self._recoveries: dict[str, asyncio.Task[None]] = {}
        self._stopped = False
        self.on_blocked: Callable[[], None] = lambda: None
        """Called when it has changed which backends get no requests."""
        for name, breaker in self._breakers.items():
            on_change(name, breaker.state)

    @property
    def blocked(self) -> frozenset[str]:
        """Names of the backends that get no requests now: circuit open, or drained."""
        return self._blocked

    @property
    def drained(self) -> frozenset[str]:
        """Names of the backends that are about to be restarted, or are restarting."""
        return self._drained

    @property
    def any_usable(self) -> bool:
        """Whether at least one backend gets requests."""
        return len(self._blocked) < len(self._breakers)

    def dead(self, name: str) -> bool:
        """Say whether probes have failed so often in a row that a restart may be due."""
        return self._failed_probes[name] >= self._rules.failures

    def report(self) -> dict[str, dict[str, object]]:
        """Return each backend's circuit as plain values, for whoever looks into a fault."""
        return {
            name: {
                "state": breaker.state,
                "failures": breaker.failures,
                "cool_down_s": breaker.cool_down_s,
                "probes_wanted": breaker.wanted,
                "probes_passed": breaker.passed,
                "failed_probes": self._failed_probes[name],
                "drained": name in self._drained,
                "seconds_since_success": self.seconds_since_success(name),
            }
            for name, breaker in self._breakers.items()
        }

    def seconds_since_success(self, name: str) -> float | None:
        """Return how long ago a reply came to its end, or None where none ever did."""
        at_s = self._succeeded_s.get(name)
        return None if at_s is None else self._now_s() - at_s

    def succeeded(self, name: str) -> None:
        """Note that a reply came to its end. Its first token alone would not do: a backend that
        always breaks off later would never be taken out."""
        now_s = self._now_s()
        self._succeeded_s[name] = now_s
        self._set(name, after_success(self._breakers[name], self._rules, now_s))

    def failed(self, name: str, error_type: ErrorType) -> None:
        """Note that an attempt failed; opens the circuit and starts its recovery where due."""
        breaker = self._breakers[name]
        self._opens(name, after_failure(breaker, error_type, self._rules, self._now_s()))

    def unhealthy(self, name: str) -> None:
        """Open a circuit, because enough active probes failed in a row; half-open probes alone
        close it again."""
        self._failed_probes[name] = max(self._failed_probes[name], self._rules.failures)
        self._opens(name, opened(self._breakers[name], self._rules, self._now_s()))

    def take_out(self, name: str, hold_s: float, probes: int) -> None:
        """Open a circuit because somebody asked for it: the backend is left alone for ``hold_s``
        seconds, then ``probes`` half-open probes in a row have to succeed. It says nothing of
        whether the backend is dead."""
        breaker = self._breakers[name]
        self._opens(name, taken_out(breaker, self._rules, self._now_s(), hold_s, probes))

    def drain(self, name: str) -> None:
        """Send no more requests to a backend, and no probes, until it is readmitted."""
        self._drained |= {name}
        self._block()

    def readmit(self, name: str, *, healthy: bool) -> None:
        """End what :meth:`drain` began: closed where the backend was just seen to generate, else
        left to the half-open probes."""
        self._drained -= {name}
        if healthy:
            self._failed_probes[name] = 0
            closed = self._breakers[name].state is CircuitState.CLOSED
            self._set(name, Breaker())
            self._block()
            if closed and not self._stopped:
                # No change, yet what answers now is an engine that has begun anew.
                self._on_change(name, CircuitState.CLOSED)
        else:
            self._opens(name, opened(self._breakers[name], self._rules, self._now_s()))
            self._block()

    def take_over(self, before: Monitor, names: Iterable[str]) -> None:
        """Go on with the circuits of these backends as another monitor, of the same clock, leaves
        them: what is open there, or drained, is open here and is probed."""
        for name in names:
            breaker = before._breakers[name]
            if breaker.state is CircuitState.HALF_OPEN:
                breaker = replace(breaker, state=CircuitState.OPEN)
            elif name in before.drained:
                breaker = opened(breaker, self._rules, self._now_s())
            self._failed_probes[name] = before._failed_probes[name]
            self._opens(name, breaker)

    def stop(self) -> None:
        """Begin to end the recoveries under way; no other begins, and nobody is told any more."""
        self._stopped = True
        for recovery in self._recoveries.values():
            recovery.cancel()

    async def aclose(self) -> None:
        """End the recoveries under way."""
        self.stop()
        await asyncio.gather(*self._recoveries.values(), return_exceptions=True)

    def _opens(self, name: str, breaker: Breaker) -> None:
        self._set(name, breaker)
        if self._stopped or name in self._recoveries:
            return
        if breaker.state is CircuitState.OPEN:
            recovery = asyncio.get_running_loop().create_task(self._recover(name))
            self._recoveries[name] = recovery

    async def _recover(self, name: str) -> None:
        """Probe until the circuit is closed; there is one such task for a backend at most."""
        try:
            while self._breakers[name].state is not CircuitState.CLOSED:
                if name in self._drained:
                    await self._sleep(_DRAINED_S)
                    continue
                await self._sleep(max(0.0, self._breakers[name].probe_at_s - self._now_s()))
                probing = start_probe(self._breakers[name], self._now_s())
                if probing is None or name in self._drained:
                    continue
                self._set(name, probing)
                succeeded = await self._passes(name)
                if self._breakers[name] is probing:  # not readmitted meanwhile
                    if succeeded is not None:
                        failed = 0 if succeeded else self._failed_probes[name] + 1
                        self._failed_probes[name] = failed
                    self._set(name, after_probe(probing, succeeded, self._rules, self._now_s()))
        finally:
            del self._recoveries[name]

    async def _passes(self, name: str) -> bool | None:
        try:
            return await self._probe(name)
        except Exception:  # noqa: BLE001 - whatever it is, the circuit must not stay half open for ever
            _log.exception("the probe of %s could not be made", name)
            return False

    def _set(self, name: str, breaker: Breaker) -> None:
        changed = breaker.state is not self._breakers[name].state
        self._breakers[name] = breaker
        if changed:
            self._block()
            if not self._stopped:
                self._on_change(name, breaker.state)

    def _block(self) -> None:
        before = self._blocked
        self._blocked = self._drained | {
            name
            for name, breaker in self._breakers.items()
            if breaker.state is not CircuitState.CLOSED
        }
        if self._blocked != before:
            self.on_blocked()
