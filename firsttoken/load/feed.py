"""What the talkers of one process did in a run by hand, and how well the process kept time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gevent
from locust.env import Environment

from firsttoken.core.clock import NS_PER_MS, NS_PER_S, monotonic_ns
from firsttoken.load.exchange import Exchange
from firsttoken.load.first_token import FirstTokens, Tally
from firsttoken.load.meter import TICK_S

MESSAGE = "first_token"
"""What a worker's report holds the tallies under."""
CPU_SPAN_NS = 2 * NS_PER_S
"""Span over which the generator's processor share is taken."""
TENTHS = 10
"""Of a millisecond: what lags are counted in."""


@dataclass(slots=True)
class Pulse:
    """How well one process with talkers kept time."""

    lags: Tally = field(default_factory=Tally)
    """By tenths of a millisecond: how late a greenlet that slept a tick was woken."""
    cpu_share: float = 0.0
    """Processor time over wall time, a short while ago; 1.0 is a whole core."""

    def lag_ms(self, share: float) -> float:
        """Return a quantile of the lag since the run began, or was reset."""
        return (self.lags.quantile(share) or 0.0) / TENTHS


class Feed:
    """What the talkers of this process did, and how well it kept time meanwhile."""

    def __init__(self, environment: Environment) -> None:
        self.tokens = FirstTokens()
        self.pulse = Pulse()
        self._beating: gevent.Greenlet | None = None
        events = environment.events
        events.request.add_listener(self._on_request)
        events.test_start.add_listener(self._on_test_start)
        events.test_stop.add_listener(self._on_test_stop)

    def report(self, environment: Environment) -> None:
        """Add it all to what a worker tells its master every few seconds, and as it stops."""

        def on_report(data: dict[str, Any], **_: Any) -> None:
            lags, self.pulse.lags = self.pulse.lags, Tally()
            data[MESSAGE] = {
                "tokens": self.tokens.drain(),
                "lags": list(lags.buckets.items()),
                "cpu_share": self.pulse.cpu_share,
            }

        environment.events.report_to_master.add_listener(on_report)

    def _on_request(self, context: Mapping[str, Any] | None = None, **_: Any) -> None:
        exchange = (context or {}).get("exchange")
        if isinstance(exchange, Exchange):
            self.tokens.take(exchange)

    def clear(self) -> None:
        """Forget what was counted."""
        self.tokens.clear()
        self.pulse.lags = Tally()

    def _on_test_start(self, **_: Any) -> None:
        self.clear()
        self._on_test_stop()
        self._beating = gevent.spawn(self._beat)

    def _on_test_stop(self, **_: Any) -> None:
        if self._beating is not None:
            self._beating.kill(block=False)
            self._beating = None

    def _beat(self) -> None:
        since = (monotonic_ns(), time.process_time_ns())
        while True:
            before_ns = monotonic_ns()
            gevent.sleep(TICK_S)
            now_ns = monotonic_ns()
            lag_ns = now_ns - before_ns - TICK_S * NS_PER_S
            self.pulse.lags.add(lag_ns * TENTHS / NS_PER_MS)
            wall, cpu = since
            if now_ns - wall >= CPU_SPAN_NS:
                since = (now_ns, time.process_time_ns())
                self.pulse.cpu_share = (since[1] - cpu) / (now_ns - wall)
