"""Keeps the breakers of all backends, and probes those whose circuit is open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from firsttoken.core.catalogue import CircuitState
from firsttoken.core.words import ErrorType
from router.health.breaker import (
    Breaker,
    BreakerRules,
    after_failure,
    after_probe,
    after_success,
    start_probe,
)

Probe = Callable[[str], Awaitable[bool]]
"""Asks the backend of this name for one token; says whether it came."""

OnChange = Callable[[str, CircuitState], None]
"""Is told of each change of a circuit's state."""


class Monitor:
    """The health of all backends.

    Args:
        names: names of the backends.
        rules: when circuits open.
        probe: asks one backend for a token.
        on_change: is told of each change of state, and of the first state of each backend.
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
        self._blocked: frozenset[str] = frozenset()
        self._recoveries: set[asyncio.Task[None]] = set()
        for name, breaker in self._breakers.items():
            on_change(name, breaker.state)

    @property
    def blocked(self) -> frozenset[str]:
        """Names of the backends that get no requests now."""
        return self._blocked

    @property
    def any_usable(self) -> bool:
        """Whether at least one backend gets requests."""
        return len(self._blocked) < len(self._breakers)

    def state(self, name: str) -> CircuitState:
        """Return the state of a backend's circuit."""
        return self._breakers[name].state

    def succeeded(self, name: str) -> None:
        """Note that a reply came to its end. Its first token alone would not do: a backend that
        always breaks off later would never be taken out."""
        self._set(name, after_success(self._breakers[name]))

    def failed(self, name: str, error_type: ErrorType) -> None:
        """Note that an attempt failed; opens the circuit and starts its recovery where due."""
        before = self._breakers[name]
        after = after_failure(before, error_type, self._rules, self._now_s())
        self._set(name, after)
        if before.state is CircuitState.CLOSED and after.state is CircuitState.OPEN:
            recovery = asyncio.get_running_loop().create_task(self._recover(name))
            self._recoveries.add(recovery)
            recovery.add_done_callback(self._recoveries.discard)

    async def aclose(self) -> None:
        """End the recoveries under way."""
        recoveries = tuple(self._recoveries)
        for recovery in recoveries:
            recovery.cancel()
        await asyncio.gather(*recoveries, return_exceptions=True)

    async def _recover(self, name: str) -> None:
        while self._breakers[name].state is not CircuitState.CLOSED:
            await self._sleep(max(0.0, self._breakers[name].probe_at_s - self._now_s()))
            probing = start_probe(self._breakers[name], self._now_s())
            if probing is None:
                continue
            self._set(name, probing)
            succeeded = await self._probe(name)
            self._set(name, after_probe(probing, succeeded, self._rules, self._now_s()))

    def _set(self, name: str, breaker: Breaker) -> None:
        changed = breaker.state is not self._breakers[name].state
        self._breakers[name] = breaker
        if changed:
            self._blocked = frozenset(
                name
                for name, breaker in self._breakers.items()
                if breaker.state is not CircuitState.CLOSED
            )
            self._on_change(name, breaker.state)
