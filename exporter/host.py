"""Memory, pressure and cores of a local engine's control group, read at scrape time.

What a kernel, a control group or a machine does not tell has no sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from exporter.engine_memory import engine_memory
from exporter.process import Processes
from firsttoken.core.catalogue import CATALOGUE
from firsttoken.core.host import ROOT, cgroup_dir, cpu_quota, pressure


class HostCollector(Collector):
    """Exposes what the machine says of the engine and its control group.

    Pressure is that of the engine's group, and of the whole host where there is none.

    Args:
        engine: the engine's processes; empty where it is not on this machine or not found.
        root: of the file system that is read.
    """

    def __init__(self, engine: Processes, root: Path = ROOT) -> None:
        self._engine = engine
        self._root = root

    def collect(self) -> Iterator[Family]:
        """Yield the families."""
        processes = self._engine()
        held = engine_memory(processes, self._root)
        yield _gauge("llm_memory_unreclaimable_bytes", {(): held.unreclaimable if held else None})
        yield _gauge("llm_memory_reclaimable_bytes", {(): held.file if held else None})
        yield _gauge("llm_memory_limit_bytes", {(): held.limit if held else None})
        pid = processes[0].pid if processes else None
        memory, cpu = self._pressure("memory", pid), self._pressure("cpu", pid)
        yield _gauge("llm_memory_pressure_ratio", {(kind,): part for kind, part in memory.items()})
        yield _gauge("llm_cpu_pressure_ratio", {(): cpu.get("some")})
        yield _gauge("llm_cpu_limit_cores", {(): self._cores(pid)})

    def _pressure(self, resource: str, pid: int | None) -> dict[str, float]:
        of_group = pid is not None and pressure(
            cgroup_dir(self._root, pid) / f"{resource}.pressure"
        )
        return of_group or pressure(self._root / f"proc/pressure/{resource}")

    def _cores(self, pid: int | None) -> float | None:
        try:
            return None if pid is None else cpu_quota(self._root, pid)
        except ProcessLookupError:
            return None  # it ended meanwhile


def _gauge(name: str, values: Mapping[tuple[str, ...], float | None]) -> Family:
    metric = CATALOGUE[name]
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        if value is not None:
            family.add_metric(labels, value)
    return family
