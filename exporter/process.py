"""Memory and CPU of processes, read at scrape time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import psutil
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from firsttoken.core.catalogue import CATALOGUE

_MEMORY = CATALOGUE["llm_process_resident_memory_bytes"]
_CPU = CATALOGUE["llm_process_cpu_seconds_total"]

Processes = Callable[[], Sequence[psutil.Process]]
"""Returns the processes of one component, the first one its own; cheap, called in any thread."""


class ProcessCollector(Collector):
    """Exposes resident memory and CPU time by component, summed over its processes.

    The CPU time of processes that have ended stays in the sum: a counter that falls by the time of
    a child would look like a restart. A component that has no process has no samples.

    Args:
        components: the processes of each component (``engine``, ``router``).
    """

    def __init__(self, components: Mapping[str, Processes]) -> None:
        self._components = dict(components)
        self._seen: dict[str, dict[psutil.Process, float]] = {each: {} for each in components}
        self._ended_s = dict.fromkeys(components, 0.0)
        self._turn = threading.Lock()

    def collect(self) -> Iterator[Family]:
        """Yield the two families."""
        memory = GaugeMetricFamily(_MEMORY.name, _MEMORY.help, labels=_MEMORY.labels)
        cpu = CounterMetricFamily(_CPU.name, _CPU.help, labels=_CPU.labels)
        with self._turn:  # two scrapes at once must not count the end of a process twice
            for component, processes in self._components.items():
                resident, seconds = self._read(component, processes())
                if self._seen[component]:
                    memory.add_metric([component], resident)
                    cpu.add_metric([component], seconds)
        yield memory
        yield cpu

    def _read(self, component: str, processes: Sequence[psutil.Process]) -> tuple[float, float]:
        resident, now = 0.0, {}
        for each in processes:
            try:
                with each.oneshot():
                    times = each.cpu_times()
                    resident += each.memory_info().rss
            except psutil.Error:
                continue
            now[each] = float(times.user + times.system)
        before, self._seen[component] = self._seen[component], now
        self._ended_s[component] += sum(before[gone] for gone in before.keys() - now.keys())
        return resident, self._ended_s[component] + sum(now.values())
