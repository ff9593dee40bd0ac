"""One row of ``host.parquet`` a second: who used the cores, and was the machine disturbed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from firsttoken.core import host
from firsttoken.core.clock import NS_PER_S, monotonic_ns
from firsttoken.core.records import HOST, PartWriter

PidsOf = Callable[[], Sequence[int]]
"""Gives the present process ids of a component: a restarted engine has a new one."""

COMPONENTS = ("engine", "router", "generator")


def _cpu_seconds(pids: Sequence[int]) -> float | None:
    """Return the CPU time of processes and their children so far, or None where one is gone."""
    try:
        roots = [psutil.Process(pid) for pid in pids]
        family = [member for root in roots for member in (root, *root.children(recursive=True))]
        times = [member.cpu_times() for member in family]
    except psutil.Error:
        return None
    return sum(float(time.user + time.system) for time in times) if pids else None


class HostSampler:
    """Writes host samples; the caller decides when, once a second is meant."""

    def __init__(self, run_dir: Path, pids: Mapping[str, PidsOf]) -> None:
        unknown = set(pids) - set(COMPONENTS)
        if unknown:
            raise ValueError(f"unknown component(s): {', '.join(sorted(unknown))}")
        self._pids = pids
        self._part = PartWriter(run_dir, "host", "sampler")
        self._last = self._read()

    def _read(self) -> dict[str, Any]:
        return {
            "t_ns": monotonic_ns(),
            "ticks": host.cpu_ticks(),
            **{name: _cpu_seconds(pids_of()) for name, pids_of in self._pids.items()},
        }

    def sample(self) -> None:
        """Append the usage since the sample before."""
        before, now = self._last, self._read()
        self._last = now
        seconds = (now["t_ns"] - before["t_ns"]) / NS_PER_S
        if seconds <= 0:
            return
        row: dict[str, Any] = {"t_ns": now["t_ns"], "cpu_pressure_some": host.cpu_pressure_some()}
        for name in self._pids:
            used, used_before = now[name], before[name]
            # A restarted process starts from zero: that second has no figure.
            if used is not None and used_before is not None and used >= used_before:
                row[f"{name}_cpu"] = (used - used_before) / seconds
        ticks, ticks_before = now["ticks"], before["ticks"]
        if ticks is not None and ticks_before is not None and ticks.total > ticks_before.total:
            total = ticks.total - ticks_before.total
            busy = total - (ticks.idle - ticks_before.idle)
            row["host_cpu"] = busy / total * host.cpu_quota()
            row["steal_share"] = (ticks.steal - ticks_before.steal) / total
            throttled_us = ticks.throttled_us - ticks_before.throttled_us
            row["throttled_share"] = min(1.0, throttled_us / 1e6 / seconds)
        memory = host.memory()
        if memory is not None:
            row["memory_unreclaimable_bytes"] = memory.unreclaimable
            row["memory_file_bytes"] = memory.file
            row["memory_limit_bytes"] = memory.limit
        self._part.append(tuple(row.get(name) for name in HOST.names))
        self._part.flush()

    def close(self) -> None:
        """End the part."""
        self._part.close()
