"""Everything that one set of settings needs to serve, put together, started and ended as one."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from exporter.engine_cpu import CpuMeter, listener, loopback_port
from firsttoken.core.catalogue import CircuitState
from firsttoken.core.clock import NS_PER_S, NowNs
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import ErrorType, Reason, Tier
from firsttoken.language.encoder import load as load_encoder
from firsttoken.transport.protocol import Transport
from firsttoken.wire import dialects
from firsttoken.wire.dialect import ChatRequest, Dialect
from router.account import Books
from router.actions.wiring import Actions, Parts
from router.admission import Admission
from router.attempt import Asker
from router.backends.faults import Fault
from router.backends.meeting import Meeting, fetch_from
from router.cache.store import Caches, warm
from router.cache.verify import Verifier
from router.config import RouterConfig
from router.gate import Gate
from router.health.monitor import Monitor
from router.health.probes import LocalProbe
from router.health.watch import Watch
from router.hedging import Budget
from router.pipeline import Pipeline
from router.policy import signals
from router.policy.avoid import Pressure, avoid
from router.policy.explain import explain
from router.policy.prediction import FirstTokenTimes
from router.voice.clock import ClockMemory
from router.voice.readers import Readers
from router.voice.talk import Talk, Talks

_log = logging.getLogger(__name__)

PRESSED_CPU_SHARE = 0.9
"""Of the engine's quota: above it a local first token is taken to be late."""

_LATE = frozenset({ErrorType.FIRST_TOKEN_TIMEOUT, ErrorType.OVERLOADED, ErrorType.RATE_LIMITED})
"""Failures that count as first tokens which came too late."""

_WHOLE = 0.99
"""Who was waited for so much of its time limit has failed by it, and counts as such already."""


class Serving:
    """The running router of one set of settings.

    Args:
        config: what it is told.
        books: where accounts are entered; they outlive it.
        transport: the connections to the backends; closed with it.
        caches: the caches; they may outlive it.
        clocks: what talking devices were told of the time; it outlives it.
        now_ns: the clock.
        draw: random numbers in [0, 1).
    """

    def __init__(
        self,
        config: RouterConfig,
        books: Books,
        transport: Transport,
        caches: Caches,
        clocks: ClockMemory,
        *,
        now_ns: NowNs,
        draw: Callable[[], float] = random.random,
    ) -> None:
        meters = books.meters
        self.config = config
        self.caches = caches
        self._transport = transport
        self._now_ns = now_ns
        self._clocks = clocks
        self._meters = meters
        self._backends = {backend.name: backend for backend in config.rules.backends}
        local = [each for each in self._backends.values() if each.tier is Tier.LOCAL]
        self._local = local[0] if local else None
        self._dialects: dict[str, Dialect] = {
            name: dialects.get(backend.dialect or "openai")
            for name, backend in self._backends.items()
        }
        # Without a limit it still knows how many requests are under way.
        slots_known = config.admission.enable
        self._admissions = {
            each.name: Admission(
                each.slots if slots_known else None, now_ns, most_waiting=config.admission.queue
            )
            for each in local
        }
        self.readers = Readers(
            config.voice,
            self._backends,
            config.options,
            self._dialects,
            self._admissions,
            now_ns=now_ns,
            foreseen=lambda name, ratio: meters.prompt_uncached(name).observe(ratio),
            meet=self._ask_slots,
            known=lambda name: self._meetings[name].known(),
            usable=lambda name: name not in self.monitor.blocked,
        )
        self._meetings = {
            name: Meeting(
                backend,
                fetch_from(transport, backend),
                self._dialects,
                self._admissions.get(name) if slots_known and backend.slots is None else None,
                partial(self.readers.met, name) if backend.tier is Tier.LOCAL else None,
            )
            for name, backend in self._backends.items()
        }
        self._times = {name: FirstTokenTimes() for name in self._backends}
        self._tasks: set[asyncio.Task[None]] = set()
        self.monitor = Monitor(
            self._backends,
            config.breaker,
            self._is_back,
            self._circuit_changed,
            now_s=self._now_s,
        )
        self._probe_of_local = self._make_probe()
        self._cpu = self._make_cpu_meter()
        self.watch = Watch(
            config.modes,
            self.monitor,
            lambda state: meters.mode_changed(state.mode),
            probe=self._probe_of_local if config.health.active else None,
            interval_s=config.health.interval_s,
            retries=config.health.retries,
            cpu=self._cpu,
            waiting=self._local_waits_s,
            now_s=self._now_s,
        )
        asker = Asker(transport, self._dialects, config.options, self._admissions, now_ns)
        asker = replace(asker, place=self.readers.serve)
        self.gate = Gate(
            asker,
            self._failed,
            self._times,
            config.hedging.enable,
            Budget(config.hedging.extra_load),
            config.confidence,
            self._pressed,
            now_ns,
            first_token=self._first_token,
            cold=self._cold,
        )
        self.talks = Talks(config.voice, clocks)
        self.pipeline = Pipeline(
            config,
            self.gate,
            self.monitor,
            caches,
            books,
            draw,
            self._avoid,
            self.talks,
            self._foresee,
        )
        self.actions = Actions(self._parts(books))
        share = config.caching.semantic_cache.verify_share
        verifier = Verifier(asker, caches, self._idle, meters.cache_checked)
        caches.found_by_meaning = lambda lookup: (
            self._later(verifier.check(lookup)) if draw() < share else None
        )

    @property
    def queues(self) -> Mapping[str, Admission]:
        """The queues of the local backends by name."""
        return self._admissions

    async def start(self) -> None:
        """Begin to watch, to ask the backends what they are, and to warm the local one."""
        # What is made when it is first needed is made now: not by the first user.
        explain(self.config, [{"role": "user", "content": "hello, 你好"}], "auto")
        cpu = self._cpu
        self._meters.engine = tuple if cpu is None else lambda: cpu.processes
        self.watch.start()
        self.actions.start()
        if self.caches.wants_encoder:
            self._later(self._load_encoder())
        self._later(self.readers.run(self.gate.asker, self._clocks))
        probe = self._probe_of_local if self.config.preload else None
        for name, meeting in self._meetings.items():
            cold = probe is not None and name == probe.name
            self._later(self._warm(probe) if probe and cold else meeting.until_met())

    def take_over(self, before: Serving) -> None:
        """Go on with what was learned, by the settings before, of the backends that are the same.

        To be followed by :meth:`retire` of the one before and :meth:`start`, at once.
        """
        same = {
            name
            for name, backend in self._backends.items()
            if name in before._backends and _who(before._backends[name]) == _who(backend)
        }
        for name in same:
            self._times[name] = before._times[name]
            self._dialects[name] = before._dialects[name]
            queue, known = self._admissions.get(name), before._admissions.get(name)
            if self.config.admission.enable and queue and known and queue.slots is None:
                queue.resize(known.slots)
        self.readers.take_over(before.readers, same)
        self.monitor.take_over(before.monitor, same)
        all_same = self._backends.keys() == before._backends.keys() == same
        if all_same and self.config.modes == before.config.modes:
            self.watch.take_over(before.watch)
        local = self._local
        if local is not None and local.name in same:
            self.actions.take_over(before.actions)

    def retire(self) -> None:
        """Begin to end the work in the background; requests under way go on."""
        self.actions.stop()
        self.watch.stop()
        self.monitor.stop()
        if self._probe_of_local is not None:
            self._probe_of_local.stop()
        for task in self._tasks:
            task.cancel()

    async def aclose(self) -> None:
        """End the work in the background and all connections."""
        self.retire()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.actions.aclose()
        if self._probe_of_local is not None:
            await self._probe_of_local.aclose()
        await self.watch.aclose()
        await self.monitor.aclose()
        await self._transport.aclose()

    def _now_s(self) -> float:
        return self._now_ns() / NS_PER_S

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # it may be cancelled before it begins

    def _make_probe(self) -> LocalProbe | None:
        local, health = self._local, self.config.health
        if local is None:
            return None
        return LocalProbe(
            local,
            health.endpoint,
            health.timeout_s,
            self.config.recovery.ready,
            self._gives_a_token,
            fetch_from(self._transport, local),
            lambda: self._dialects[local.name].name,
            self._meetings[local.name].ask,
        )

    def _make_cpu_meter(self) -> CpuMeter | None:
        port = loopback_port(self._local.base_url) if self._local else None
        return CpuMeter(lambda: listener(port), self._now_s) if port is not None else None

    def _parts(self, books: Books) -> Parts:
        local = self._local
        return Parts(
            self.config,
            books,
            self.monitor,
            self.watch,
            self._probe_of_local,
            self._cpu,
            lambda: self._admissions[local.name].waited_for if local else 0,
            fetch_from(self._transport, local) if local else None,
            self._now_s,
        )

    def _local_waits_s(self) -> Iterator[float]:
        return self.gate.local_waits_s()

    async def _gives_a_token(self, name: str, seconds: float) -> bool:
        return await self.gate.probe(self._backends[name], seconds)

    async def _is_back(self, name: str) -> bool | None:
        """Probe a backend whose circuit is open, the local one as thoroughly as ever."""
        probe = self._probe_of_local
        if probe is not None and probe.name == name:
            return await probe.passes()
        return await self._gives_a_token(name, self.config.health.timeout_s)

    async def _warm(self, probe: LocalProbe) -> None:
        """Load the local model, as soon as it is known how it is to be asked."""
        await self._meetings[probe.name].until_met()
        await probe.load()

    def _ask_slots(self, name: str) -> None:
        """Ask a backend for its slots too, where they are in the settings and nobody has asked."""
        meeting = self._meetings[name]
        if meeting.want_slots():
            self._later(meeting.until_met())

    def _circuit_changed(self, name: str, state: CircuitState) -> None:
        self._meters.circuit_changed(name, state)
        meeting = self._meetings[name]
        if state is CircuitState.CLOSED:
            self.readers.came_back(name)
        if state is CircuitState.CLOSED and meeting.met:  # else it is being asked, or will be
            meeting.begin_anew()
            if not meeting.met:
                self._later(meeting.until_met())

    def _failed(self, backend: Backend, fault: Fault) -> None:
        """Take note of an attempt that failed, before its first token or after."""
        if fault.hurried or fault.unspeakable:
            return
        if not fault.of_our_queue:
            self.monitor.failed(backend.name, fault.error_type)
        if fault.error_type in _LATE:
            self.watch.late(backend.tier)

    def _first_token(self, backend: Backend, seconds: float, censored: bool) -> None:
        """Take note of how long a first token took, or of how long one was waited for in vain."""
        if not censored:
            self.watch.first_token(backend.name, backend.tier, seconds)
            return
        late = self.watch.slow_s < seconds < _WHOLE * backend.first_token_timeout_s
        if late and backend.tier is Tier.LOCAL:
            self.watch.late(backend.tier, seconds)

    def _cold(self, name: str) -> bool:
        """Whether a backend has to load its model first."""
        return self._local is not None and name == self._local.name and self.watch.loaded is False

    def _idle(self) -> Backend | None:
        """Return the local backend if nobody is using it now."""
        local = self._local
        if local is None or local.name in self.monitor.blocked:
            return None
        return local if self._admissions[local.name].in_use == 0 else None

    def _pressed(self, name: str) -> bool:
        """Whether a backend is known to be late before it is asked."""
        if self._local is None or name != self._local.name:
            return False
        if self._admissions[name].predicted_wait_s(self._now_ns()) > 0:
            return True
        cpu = self.watch.cpu_share
        return self.watch.loaded is False or (cpu is not None and cpu > PRESSED_CPU_SHARE)

    def _foresee(
        self, request: ChatRequest, talk: Talk, avoided: Mapping[str, Reason]
    ) -> Mapping[str, Reason]:
        """Return ``avoided``, and the local backends that a prompt is too long for."""
        chars, now_ns = signals.length(request.messages), self._now_ns()
        return self.readers.foresee(request, talk, avoided, lambda: self._other_s(chars, now_ns))

    def _other_s(self, prompt_chars: int, now_ns: int) -> float | None:
        """Return the usual first token of the best remote backend, where it is known."""
        medians = (
            self._times[name].quantile(0.5, prompt_chars, now_ns)
            for name, backend in self._backends.items()
            if backend.tier is Tier.REMOTE and name not in self.monitor.blocked
        )
        return min((median for median in medians if median is not None), default=None)

    def _avoid(self, prompt_chars: int, draw: float) -> Mapping[str, Reason]:
        """Return the backends that should not come first now."""
        local, now_ns = self._local, self._now_ns()
        if local is None:
            return {}
        queue, state = self._admissions[local.name], self.watch.state
        pressure = Pressure(state.mode, state.local_share)
        wait_s = queue.predicted_wait_s(now_ns)
        if wait_s > 0:
            medians = {
                name: times.quantile(0.5, prompt_chars, now_ns)
                for name, times in self._times.items()
                if name not in self.monitor.blocked
            }
            own_s = medians.pop(local.name, None)
            others = [median for median in medians.values() if median is not None]
            pressure = replace(
                pressure,
                full=queue.full,
                wait_s=wait_s,
                own_s=own_s or 0.0,
                other_s=min(others, default=None),
            )
        return avoid(local, pressure, draw)

    async def _load_encoder(self) -> None:
        """Load the encoder in a thread: it takes a second that the first users need not wait."""
        told = self.config.caching.semantic_cache
        await asyncio.to_thread(warm)
        encoder, why = await asyncio.to_thread(load_encoder, told.embedding_model)
        named = encoder.name == told.embedding_model
        self.caches.use(encoder, told.similarity_threshold if named else encoder.threshold)
        if why:
            _log.warning("%s", why)


def _who(backend: Backend) -> tuple[str | None, ...]:
    """Return what makes two backends the same one, whatever else is set of them."""
    return backend.base_url, backend.dialect, backend.model, backend.api_key


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    """Do some work that nobody waits for; what goes wrong in it goes to the log."""
    try:
        await work
    except Exception:  # noqa: BLE001 - nobody else would ever hear of it
        _log.exception("work in the background failed")
