"""Watches the local backend: gathers evidence each second, probes at intervals, keeps the mode."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator

from exporter.engine_cpu import CpuMeter
from firsttoken.core.words import Tier
from router.health.modes import Evidence, ModeRules, ModeState, lowered, slow_after_s, step
from router.health.monitor import Monitor
from router.health.probes import LocalProbe

_log = logging.getLogger(__name__)

TICK_S = 1.0
LOCAL_WINDOW_S = 60.0
REMOTE_WINDOW_S = 900.0
"""Longer than the local one: a remote backend is asked seldom, and only its median counts."""
KEPT = 2048
"""First tokens kept of a tier at most."""
_LEAST_REMOTE = 3


class Window:
    """The latest values of the last seconds; adding one takes constant time."""

    def __init__(self, window_s: float, kept: int = KEPT) -> None:
        self._window_s = window_s
        self._values: deque[tuple[float, float]] = deque(maxlen=kept)

    def add(self, now_s: float, value: float) -> None:
        """Add a value met at ``now_s``."""
        self._values.append((now_s, value))

    def clear(self) -> None:
        """Forget all values."""
        self._values.clear()

    def values(self, now_s: float) -> Iterator[float]:
        """Yield the values that are not too old."""
        while self._values and now_s - self._values[0][0] > self._window_s:
            self._values.popleft()
        return (value for _, value in self._values)


def quantile(values: Iterable[float], part: float) -> tuple[float | None, int]:
    """Return the quantile by nearest rank, and of how many values; None of none."""
    ordered = sorted(values)
    if not ordered:
        return None, 0
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)], len(ordered)


class Watch:
    """The evidence of the local backend and the router's mode.

    Args:
        rules: how modes follow from evidence.
        monitor: the circuits of all backends.
        on_change: is told of each change of the mode or the share, and of the first state.
        probe: probes the local backend; None where there is none, or it is not to be probed.
        interval_s: seconds between two probes.
        retries: failed probes in a row after which the local backend is unhealthy.
        cpu: measures the engine's processes; None where they are not on this machine.
        waiting: ages, in seconds, of the requests that now wait for a local first token. Those
            that wait too long already count as late, so that an engine that has stopped is seen
            before its requests end.
        now_s: a clock in seconds.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        rules: ModeRules,
        monitor: Monitor,
        on_change: Callable[[ModeState], None],
        *,
        probe: LocalProbe | None = None,
        interval_s: float = 30.0,
        retries: int = 3,
        cpu: CpuMeter | None = None,
        waiting: Callable[[], Iterable[float]] = tuple,
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.state = step(ModeState(), Evidence(), rules, now_s())
        self.cpu_share: float | None = None
        """Of the engine's quota, mean of 30 s."""
        self._rules = rules
        self._monitor = monitor
        self._on_change = on_change
        self._probe = probe
        self._interval_s = interval_s
        self._retries = retries
        self._cpu = cpu
        self._waiting = waiting
        self._now_s = now_s
        self._sleep = sleep
        self.slow_s = slow_after_s(rules)
        """The least first-token time that a rule calls slow; infinite without one."""
        self._local = Window(LOCAL_WINDOW_S)
        self._remote = Window(REMOTE_WINDOW_S)
        self._was_healthy = True
        self._failed = 0
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        on_change(self.state)
        self._moved = asyncio.Event()
        monitor.on_blocked = self._moved.set

    @property
    def loaded(self) -> bool | None:
        """Whether the local model is in memory, where the engine says so."""
        return self._probe.loaded if self._probe else None

    def first_token(self, backend: str, tier: Tier, seconds: float) -> None:
        """Note an attempt's time to its first token."""
        self._add(tier, seconds)
        probe = self._probe
        if probe is not None and probe.name == backend and probe.loaded is False:
            probe.loaded = True

    def late(self, tier: Tier, seconds: float = math.inf) -> None:
        """Note an attempt that had no first token after ``seconds``, in time, or was turned away
        for load."""
        self._add(tier, seconds)

    def _add(self, tier: Tier, seconds: float) -> None:
        (self._local if tier is Tier.LOCAL else self._remote).add(self._now_s(), seconds)

    def start(self) -> None:
        """Begin to watch."""
        loop = asyncio.get_running_loop()
        works = (self._ticks(), self._moves(), self._probes())
        self._tasks = tuple(loop.create_task(work) for work in works)

    def take_over(self, before: Watch) -> None:
        """Go on with the mode and the evidence of another watch, of the same backends and rules."""
        self._local, self._remote = before._local, before._remote
        self.state, self.cpu_share = before.state, before.cpu_share
        self._on_change(self.state)
        if self._probe is not None and before._probe is not None:
            self._probe.loaded = before.loaded

    def stop(self) -> None:
        """Begin to end the watching."""
        for task in self._tasks:
            task.cancel()

    async def aclose(self) -> None:
        """End the watching."""
        self.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def evidence(self) -> Evidence:
        """Return what is known now."""
        now_s = self._now_s()
        healthy = None if self._probe is None else self._probe.name not in self._monitor.blocked
        if healthy and not self._was_healthy:
            self._local.clear()  # those times are of the engine that was down
        self._was_healthy = healthy is not False
        late = (age_s for age_s in self._waiting() if age_s > self.slow_s)
        times = (*self._local.values(now_s), *late)
        median, _ = quantile(times, 0.5)
        local, count = quantile(times, 0.95)
        remote, asked = quantile(self._remote.values(now_s), 0.5)
        return Evidence(
            local_healthy=healthy,
            local_ttft_p50_s=median,
            local_ttft_p95_s=local,
            local_ttft_count=count,
            remote_ttft_p50_s=remote if asked >= _LEAST_REMOTE else None,
            cpu_share=self.cpu_share,
        )

    def tick(self) -> None:
        """Step the mode."""
        before = self.state
        self.state = step(before, self.evidence(), self._rules, self._now_s())
        if self.state.mode is not before.mode:
            _log.info("mode %s: %s", self.state.mode, self.state.why or "no condition is met")
        if self.state != before:
            self._on_change(self.state)

    def lower_share(self) -> str:
        """Lower the local share by one step, as an alert asks for it; return why not, or an empty
        string. The share rises again as ever."""
        before = self.state
        after = lowered(before, self.evidence(), self._rules, self._now_s())
        if after == before:  # it may say why, which is not compared
            return after.why
        self.state = after
        self._on_change(after)
        return ""

    async def measure(self) -> None:
        """Read the engine's CPU time; look for its processes in a thread where that is due."""
        if self._cpu is not None:
            if self._cpu.due():
                await asyncio.to_thread(self._cpu.search)
            self.cpu_share = self._cpu.sample()

    async def probe(self) -> None:
        """Probe the local backend once, unless its circuit is open: then the monitor does."""
        probe = self._probe
        if probe is None or probe.name in self._monitor.blocked:
            self._failed = 0
            return
        since_s = self._monitor.seconds_since_success(probe.name)
        serving = since_s is not None and since_s <= self._interval_s
        passed = await probe.passes(serving=serving)
        if passed is None:
            return  # the model is being loaded
        if passed:
            self._failed = 0
            return
        self._failed += 1
        _log.warning("probe %d of %d of %s failed", self._failed, self._retries, probe.name)
        if self._failed >= self._retries and probe.name not in self._monitor.drained:
            self._monitor.unhealthy(probe.name)

    async def _ticks(self) -> None:
        await self._forever(TICK_S, self._tick)

    async def _tick(self) -> None:
        await self.measure()
        self.tick()

    async def _moves(self) -> None:
        await self._forever(0.0, self._move)

    async def _move(self) -> None:
        """Step the mode when a circuit opens or closes: a backend that is back serves at once, not
        after the next tick."""
        await self._moved.wait()
        self._moved.clear()
        self.tick()

    async def _probes(self) -> None:
        await self._forever(self._interval_s, self.probe)

    async def _forever(self, every_s: float, what: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await what()
            except Exception:  # noqa: BLE001 - a watch that has ended would keep its last mode for ever
                _log.exception("the watch of the local backend failed")
            await self._sleep(every_s)
