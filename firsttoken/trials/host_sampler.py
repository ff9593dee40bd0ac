"""One row of ``host.parquet`` a second: who used the cores, and was the machine disturbed."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from firsttoken.core import host
from firsttoken.core.clock import NS_PER_S, monotonic_ns
from firsttoken.core.host import CpuTicks, Usage
from firsttoken.core.records import HOST, PartWriter

PidsOf = Callable[[], Sequence[int]]
"""Gives the present process ids of a component: a restarted engine has a new one."""

COMPONENTS = ("engine", "router", "generator")
_KERNEL_THREADS = 2
"""Process id of kthreadd, the parent of the kernel's own threads."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class _Reading(NamedTuple):
    t_ns: int
    ticks: CpuTicks | None
    processes: dict[int, Usage]
    owners: dict[int, str]
    """Process id -> component, ``other``, or ``kernel``."""


class Used(NamedTuple):
    """Clock ticks between two readings."""

    by_owner: dict[str, int]
    """Of the components, ``other`` and ``kernel``."""
    foreign_program: str | None
    """Of the rest, the one that used most."""


def owners_of(
    processes: Mapping[int, Usage], roots: Mapping[str, Collection[int]]
) -> dict[int, str]:
    """Return to whom each process belongs: to whom its nearest ancestor among ``roots`` does.

    Args:
        roots: by owner, the process ids that are its own.
    """
    owner_of = {pid: owner for owner, pids in roots.items() for pid in pids}
    found: dict[int, str] = {}
    for pid in processes:
        above, seen = pid, set[int]()
        while above not in owner_of and above in processes and above not in seen:
            seen.add(above)
            above = processes[above].parent
        if above in owner_of:
            found[pid] = owner_of[above]
    return found


def used_between(
    before: Mapping[int, Usage], now: Mapping[int, Usage], owners: Mapping[int, str]
) -> Used:
    """Return who used how much. A process that began in between counts from its start; one that
    ended in between is not known."""
    by_owner: dict[str, int] = {}
    most, program = 0, None
    for pid, usage in now.items():
        earlier = before.get(pid)
        same = earlier is not None and earlier.started == usage.started
        used = usage.ticks - (earlier.ticks if earlier is not None and same else 0)
        owner = owners.get(pid)
        if owner is not None:
            by_owner[owner] = by_owner.get(owner, 0) + used
        elif used > most:
            most, program = used, usage.name
    return Used(by_owner, program)


class HostSampler:
    """Writes host samples; the caller decides when, once a second is meant.

    Args:
        pids: by component, its processes; their children count with them. ``other`` is what is left
            of this process and its children.
        servers_known: tells whether ``pids`` name every process on this host that serves the
            run, so that what is left over is foreign.
    """

    def __init__(
        self,
        run_dir: Path,
        pids: Mapping[str, PidsOf],
        *,
        servers_known: Callable[[], bool] = lambda: True,
    ) -> None:
        unknown = set(pids) - set(COMPONENTS)
        if unknown:
            raise ValueError(f"unknown component(s): {', '.join(sorted(unknown))}")
        self._pids = pids
        self._servers_known = servers_known
        self._part = PartWriter(run_dir, "host", "sampler")
        self._last = self._read()

    def _read(self) -> _Reading:
        processes = host.processes()
        roots: dict[str, Collection[int]] = {"kernel": [_KERNEL_THREADS], "other": [os.getpid()]}
        roots |= {name: pids_of() for name, pids_of in self._pids.items()}
        return _Reading(monotonic_ns(), host.cpu_ticks(), processes, owners_of(processes, roots))

    def sample(self) -> None:
        """Append the usage since the sample before."""
        before, now = self._last, self._read()
        self._last = now
        seconds = (now.t_ns - before.t_ns) / NS_PER_S
        if seconds <= 0:
            return
        row: dict[str, Any] = {"t_ns": now.t_ns, "cpu_pressure_some": host.cpu_pressure_some()}
        used = used_between(before.processes, now.processes, now.owners)
        for name in (*self._pids, "other"):
            if name in now.owners.values():
                row[f"{name}_cpu"] = used.by_owner.get(name, 0) / _TICKS_PER_S / seconds
        if now.ticks is not None and before.ticks is not None:
            row |= self._machine(before.ticks, now.ticks, used, seconds)
        memory = host.memory()
        if memory is not None:
            row["memory_unreclaimable_bytes"] = memory.unreclaimable
            row["memory_file_bytes"] = memory.file
            row["memory_limit_bytes"] = memory.limit
        self._part.append(tuple(row.get(name) for name in HOST.names))
        self._part.flush()

    def _machine(
        self, before: CpuTicks, now: CpuTicks, used: Used, seconds: float
    ) -> dict[str, Any]:
        """Return what the machine as a whole used, and what of it was foreign."""
        total = now.total - before.total
        if total <= 0:
            return {}
        busy = total - (now.idle - before.idle)
        throttled_s = (now.throttled_us - before.throttled_us) / 1e6
        row: dict[str, Any] = {
            "host_cpu": busy / total * host.cpu_quota(),
            "steal_share": (now.steal - before.steal) / total,
            "throttled_share": min(1.0, throttled_s / seconds),
        }
        if self._servers_known():
            # What ended within the second is in the sum, though no process tells of it any more.
            foreign = now.programs - before.programs - sum(used.by_owner.values())
            row["foreign_cpu"] = max(0.0, foreign / _TICKS_PER_S / seconds)
            row["foreign_program"] = used.foreign_program
        return row

    def close(self) -> None:
        """End the part."""
        self._part.close()
