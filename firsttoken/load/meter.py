"""How well the generator itself kept time: its event loop's lag and its share of a processor."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import gevent

from firsttoken.core.clock import NS_PER_MS, NS_PER_S, monotonic_ns

TICK_S = 0.020
"""Each waking costs about 0.15 ms of a processor that slept: every 10 ms, the meter alone took
1.5 % of a core; every 20 ms, 0.9 %."""


class Hygiene(NamedTuple):
    """The generator over a span of time."""

    lag_p50_ms: float
    lag_p99_ms: float
    lag_max_ms: float
    """How late a greenlet that slept :data:`TICK_S` was woken. A first token that arrives while the
    loop is late is stamped late."""
    cpu_share: float
    """Processor time of this process over wall time: 1.0 is one core, all the time."""


class Meter:
    """Measures from its construction on, until :meth:`close`."""

    def __init__(self) -> None:
        self._lags_ns: list[int] = []
        self._since = (monotonic_ns(), time.process_time_ns())
        self._ticking = gevent.spawn(self._tick)

    def take(self) -> Hygiene:
        """Return what was measured since the last call, and begin anew."""
        lags, self._lags_ns = self._lags_ns, []
        wall, cpu = self._since
        self._since = (monotonic_ns(), time.process_time_ns())
        milliseconds = [lag / NS_PER_MS for lag in lags]
        return Hygiene(
            lag_p50_ms=quantile(milliseconds, 0.50) or 0.0,
            lag_p99_ms=quantile(milliseconds, 0.99) or 0.0,
            lag_max_ms=max(milliseconds, default=0.0),
            cpu_share=(self._since[1] - cpu) / max(self._since[0] - wall, 1),
        )

    def close(self) -> None:
        """Stop measuring."""
        self._ticking.kill(block=False)

    def _tick(self) -> None:
        while True:
            due = monotonic_ns() + int(TICK_S * NS_PER_S)
            gevent.sleep(TICK_S)
            self._lags_ns.append(max(0, monotonic_ns() - due))


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least ``share`` of ``values`` do not exceed; None of none.

    The nearest-rank definition: always a value that was measured.
    """
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
