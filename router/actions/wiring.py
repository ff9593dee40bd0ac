"""What acts on the local engine of one set of settings, put together, started and ended as one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from exporter.engine_cpu import CpuMeter
from exporter.engine_memory import memory_share
from firsttoken.core.catalogue import Action, ActionResult
from firsttoken.core.settings.backend import Backend
from firsttoken.core.words import Tier
from router.account import Books
from router.actions import snapshot
from router.actions.hands import Hands
from router.actions.recovery import Cause, Policy, Recovery, Symptoms
from router.actions.restart import Patience, Restarter
from router.config import RouterConfig
from router.health.monitor import Monitor
from router.health.probes import LocalProbe
from router.health.watch import Watch


@dataclass(frozen=True, slots=True)
class Parts:
    """What actions look at and move."""

    config: RouterConfig
    books: Books
    monitor: Monitor
    watch: Watch
    probe: LocalProbe | None
    """Of the local backend."""
    cpu: CpuMeter | None
    """Of its engine, where that is on this machine."""
    in_flight: Callable[[], int]
    """Requests under way at the local backend."""
    fetch: snapshot.Fetch | None
    """Fetches the local backend's URLs."""
    now_s: Callable[[], float]


class Actions:
    """The restarter, the recovery and the hands of one set of settings."""

    def __init__(self, parts: Parts) -> None:
        backends = parts.config.rules.backends
        local = next((each for each in backends if each.tier is Tier.LOCAL), None)
        remotes = [each.name for each in backends if each.tier is Tier.REMOTE]
        self._restarter = _restarter(parts, local)
        self._recovery = _recovery(parts, self._restarter)
        self.hands = Hands(
            local.name if local else None,
            remotes,
            rules=parts.config.alerts,
            monitor=parts.monitor,
            watch=parts.watch,
            restarter=self._restarter,
            capture=lambda head: _capture(parts, local, head),
        )

    def start(self) -> None:
        """Begin to look after the engine."""
        if self._recovery is not None:
            self._recovery.start()

    def take_over(self, before: Actions) -> None:
        """Go on with the counts of another one, of the same engine."""
        if self._restarter is not None and before._restarter is not None:
            self._restarter.take_over(before._restarter)

    def stop(self) -> None:
        """Begin to end it."""
        if self._recovery is not None:
            self._recovery.stop()

    async def aclose(self) -> None:
        """End it."""
        if self._recovery is not None:
            await self._recovery.aclose()


def _restarter(parts: Parts, local: Backend | None) -> Restarter | None:
    probe, adapter, cpu = parts.probe, parts.config.adapter, parts.cpu
    if local is None or probe is None or adapter is None:
        return None
    told = parts.config.recovery

    async def memory() -> float | None:
        return None if cpu is None else await asyncio.to_thread(_memory_now, cpu)

    return Restarter(
        local.name,
        Patience(told.drain, told.ready),
        adapter,
        parts.monitor,
        in_flight=parts.in_flight,
        probe=probe.passes,
        ready=probe.ready,
        memory=memory,
        now_s=parts.now_s,
    )


def _memory_now(cpu: CpuMeter) -> float | None:
    """Look for the engine's processes, which may be new ones, and measure them."""
    cpu.search()
    return memory_share(cpu.processes)


def _recovery(parts: Parts, restarter: Restarter | None) -> Recovery | None:
    if restarter is None:
        return None
    told, cpu, meters = parts.config.recovery, parts.cpu, parts.books.meters

    def tell(cause: Cause, result: ActionResult) -> None:  # noqa: ARG001 - the log has the cause
        meters.acted(Action.RESTART_SERVICE, result)

    return Recovery(
        Policy(told.memory, told.cool_down, told.most_per_hour),
        restarter,
        symptoms=lambda: Symptoms(
            parts.monitor.dead(restarter.backend), memory_share(cpu.processes) if cpu else None
        ),
        on_action=tell,
        now_s=parts.now_s,
    )


async def _capture(parts: Parts, local: Backend | None, head: Mapping[str, object]) -> Path:
    """Write a snapshot of everything that is known of the router and its engine."""
    rules, books, watch = parts.config.alerts, parts.books, parts.watch
    content: dict[str, Any] = {
        **head,
        "mode": asdict(watch.state) | {"cpu_share": watch.cpu_share, "loaded": watch.loaded},
        "evidence": asdict(watch.evidence()),
        "circuits": parts.monitor.report(),
        "decisions": _last(books.decisions.after(0)[1]),
        "attempts": _last(books.attempts.after(0)[1]),
    }
    if local is not None and parts.fetch is not None:
        content["engine"] = await snapshot.engine_view(parts.fetch, local.base_url)
    engine = parts.cpu.processes if parts.cpu else ()

    def write() -> Path:
        processes = {"router": psutil.Process(os.getpid())}
        processes |= {f"engine_{number}": each for number, each in enumerate(engine)}
        whole = content | {"host": snapshot.host_view(processes)}
        return snapshot.write(rules.snapshots, whole, rules.most_snapshots)

    return await asyncio.to_thread(write)


def _last(records: list[Any]) -> list[dict[str, Any]]:
    return [snapshot.record_view(each) for each in records[-snapshot.KEPT_RECORDS :]]
