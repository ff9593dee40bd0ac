"""The standalone exporter's own work: it polls and probes an engine, and keeps what it learned.

What is exposed is what was learned last; a scrape never waits for the engine. Each kind of work has
its own loop and at most one piece under way: where one takes longer than its interval, the times
that fell due meanwhile are left out.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from exporter.engine_cpu import CpuMeter, listener, loopback_port
from exporter.engines.asking import ask, recognise
from exporter.engines.reading import Engine, Reading, ReadingError
from exporter.fetch import client, fetch_with
from exporter.measures import Measures
from exporter.probe import TIMEOUT_S, Probed, probe, question
from firsttoken.core.catalogue import Collector
from firsttoken.core.settings.backend import LOCAL_BACKEND
from firsttoken.core.words import Outcome

_log = logging.getLogger(__name__)

POLL_S = 5.0
HOST_S = 1.0
"""How often the engine's processes are looked at; they are searched for less often."""


@dataclass(frozen=True, slots=True)
class Target:
    """The engine that is watched."""

    base_url: str
    """Without ``/v1``."""
    dialect: str | None = None
    """``openai`` or ``ollama``; None: what the engine is found to speak."""
    model: str | None = None
    """Which one is probed; None: the first it names."""
    backend: str = LOCAL_BACKEND
    """The label."""
    api_key: str | None = field(default=None, repr=False)
    probe_s: float = 15.0
    """Between two probes; 0: none are made."""
    pid: int | None = None
    """Of the engine's process; None: found by its port, where that is of this machine."""
    ollama: Mapping[str, Any] = field(default_factory=dict)
    """Fields that every request to Ollama has to bring: with other options of loading than those
    of its users it would load the model anew for each probe."""


class Watching:
    """Watches one engine.

    Args:
        target: which one.
        now_s: a clock in seconds.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        target: Target,
        *,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._target = target
        self._now_s = now_s
        self._sleep = sleep
        self._cpu = _meter(target, now_s)
        cpu = self._cpu
        self.measures = Measures(target.backend, target.model, lambda: cpu.processes if cpu else ())
        self._engine: Engine | None = None
        self._met = False
        self._polled = asyncio.Event()
        self._model = target.model
        self._reading: Reading | None = None
        self._probe_failed = False
        self._http = client(target.base_url, target.api_key)
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    def start(self) -> None:
        """Begin to watch."""
        loop = asyncio.get_running_loop()
        works = [self._forever(self.poll, POLL_S)]
        if self._target.probe_s > 0:
            works.append(self._forever(self.probe, self._target.probe_s))
        if self._cpu is not None:
            works.append(self._forever(self.look_at_host, HOST_S))
        self._tasks = tuple(loop.create_task(work) for work in works)

    async def aclose(self) -> None:
        """End the watching."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    async def poll(self) -> None:
        """Ask the engine once what it says of itself."""
        fetch, began_s = fetch_with(self._http), self._now_s()
        try:
            if not self._met:
                self._engine = await recognise(fetch)
                self._met = True
            self._reading = await ask(fetch, self._engine, self._target.model)
            outcome = Outcome.SUCCESS
        except (OSError, ReadingError) as error:
            _log.debug("%s", error)
            outcome = Outcome.TIMEOUT if isinstance(error, TimeoutError) else Outcome.ERROR
            self._reading, self._met = None, False  # what comes back may be another engine
        self._polled.set()
        self.measures.read(self._reading)
        self._show_up()
        if self._engine is not None:
            self.measures.collected(self._engine.collector, outcome, self._now_s() - began_s)

    async def probe(self) -> None:
        """Make one probe, where it is known what to ask and the model is in memory.

        One that is not made counts as ``cancelled`` while the model is not loaded, and as
        ``error`` while nobody can be asked.
        """
        await self._polled.wait()  # until it is known what to ask
        began_s = self._now_s()
        target, reading = self._target, self._reading
        if reading is not None and reading.models:
            self._model = target.model or reading.models[0]
        dialect = target.dialect or (self._engine.dialect if self._engine else "openai")
        model, refused = self._model, _refused(reading, dialect)
        if refused is not None or model is None:
            result = Probed(refused or Outcome.ERROR)
        else:
            extra = _extra(target, reading) if dialect == "ollama" else {}
            number = random.randrange(10**6)  # noqa: S311 - no secret
            call = question(dialect, model, number, target.api_key, extra)
            result = await probe(self._http, dialect, call, timeout_s=TIMEOUT_S)
        self._probe_failed = result.outcome not in {Outcome.SUCCESS, Outcome.CANCELLED}
        self.measures.probed(model, result)
        self.measures.collected(Collector.PROBE, result.outcome, self._now_s() - began_s)
        self._show_up()

    async def look_at_host(self) -> None:
        """Look at the engine's processes; search for them where that is due."""
        cpu, began_s = self._cpu, self._now_s()
        if cpu is None:
            return
        if cpu.due():
            await asyncio.to_thread(cpu.search)
            outcome = Outcome.SUCCESS if cpu.processes else Outcome.ERROR
            self.measures.collected(Collector.HOST, outcome, self._now_s() - began_s)
        cpu.sample()

    def _show_up(self) -> None:
        self.measures.up(self._reading is not None and not self._probe_failed)

    async def _forever(self, work: Callable[[], Awaitable[None]], every_s: float) -> None:
        while True:
            began_s = self._now_s()
            try:
                await work()
            except Exception:  # noqa: BLE001 - a loop that has ended would show old figures for ever
                _log.exception("watching the engine failed")
            await self._sleep(every_s - (self._now_s() - began_s) % every_s)


def _meter(target: Target, now_s: Callable[[], float]) -> CpuMeter | None:
    pid = target.pid
    if pid is not None:
        return CpuMeter(lambda: pid, now_s)
    port = loopback_port(target.base_url)
    return None if port is None else CpuMeter(lambda: listener(port), now_s)


def _refused(reading: Reading | None, dialect: str) -> Outcome | None:
    """Return the outcome of a probe that is not made; None where it is to be made.

    A probe must not load a model: whoever does so decides with which options.
    """
    if reading is None:
        return Outcome.ERROR if dialect == "ollama" else None
    return Outcome.CANCELLED if reading.loaded is False else None


def _extra(target: Target, reading: Reading | None) -> dict[str, Any]:
    """Return the fields with which Ollama keeps the model as it is loaded."""
    if target.ollama or reading is None or reading.context is None:
        return dict(target.ollama)
    return {"options": {"num_ctx": reading.context}}
