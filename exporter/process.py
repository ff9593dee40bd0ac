"""Memory and CPU of processes, read at scrape time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from firsttoken.core.catalogue import CATALOGUE

_MEMORY = CATALOGUE["llm_process_resident_memory_bytes"]
_CPU = CATALOGUE["llm_process_cpu_seconds_total"]


class ProcessCollector(Collector):
    """Exposes resident memory and CPU time of processes by component.

    A process that is gone has no samples.

    Args:
        pids: process id by component (``engine``, ``router``).
        proc: where the process file system is mounted.
    """

    def __init__(self, pids: Mapping[str, int], proc: Path = Path("/proc")) -> None:
        self._pids = dict(pids)
        self._proc = proc
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")

    def collect(self) -> Iterator[Family]:
        """Yield the two families."""
        memory = GaugeMetricFamily(_MEMORY.name, _MEMORY.help, labels=_MEMORY.labels)
        cpu = CounterMetricFamily(_CPU.name, _CPU.help, labels=_CPU.labels)
        for component, pid in self._pids.items():
            try:
                stat = (self._proc / str(pid) / "stat").read_text(encoding="utf-8")
            except OSError:
                continue
            # The second field, the program's name, is in parentheses and may hold anything.
            # After it, counted from 0: utime 11, stime 12, rss 21 (proc(5)).
            fields = stat.rpartition(")")[2].split()
            memory.add_metric([component], int(fields[21]) * self._page_bytes)
            ticks = int(fields[11]) + int(fields[12])
            cpu.add_metric([component], ticks / self._ticks_per_s)
        yield memory
        yield cpu
