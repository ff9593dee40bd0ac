"""What the machine says of itself: cores, memory, pressure, steal, throttling.

The readers take the root of a file system as an argument, so that tests can hand in a tree of
their own. A file that a kernel does not have gives None, never an invented figure.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path("/")


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _keyed(text: str | None) -> dict[str, int]:
    """Read lines of ``key value`` (cgroup ``*.stat`` files)."""
    pairs = (line.split() for line in (text or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _meminfo(root: Path) -> dict[str, int]:
    """Read ``/proc/meminfo`` as bytes by name."""
    values = {}
    for line in (_text(root / "proc/meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            values[name] = int(words[0]) * 1024
    return values


def cgroup_dir(root: Path = ROOT, pid: int | None = None) -> Path:
    """Return the cgroup v2 folder of a process (the mount itself where it cannot be told); of this
    one where ``pid`` is left out."""
    mount = root / "sys/fs/cgroup"
    owner = "self" if pid is None else str(pid)
    for line in (_text(root / f"proc/{owner}/cgroup") or "").splitlines():
        if line.startswith("0::"):
            return mount / line[3:].lstrip("/")
    return mount


def cpu_quota(root: Path = ROOT, pid: int | None = None) -> float:
    """Return how many cores a process may use: its affinity, or its cgroup's quota if less.

    Raises:
        ProcessLookupError: there is no process ``pid``.
    """
    cores = float(len(os.sched_getaffinity(pid or 0)))
    words = (_text(cgroup_dir(root, pid) / "cpu.max") or "").split()
    if len(words) == 2 and words[0].isdigit() and int(words[1]) > 0:
        return min(cores, int(words[0]) / int(words[1]))
    return cores


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory in bytes, of the cgroup where it has a limit, else of the host."""

    unreclaimable: int
    """What the kernel cannot drop: mapped model files do not count, since they can be read
    again."""
    file: int
    """Pages of files, mapped or cached."""
    limit: int


def group_memory(group: Path) -> Memory | None:
    """Return the memory of a cgroup v2 folder; None where it has no limit or does not tell."""
    limit = (_text(group / "memory.max") or "").strip()
    stat = _keyed(_text(group / "memory.stat"))
    if not limit.isdigit() or not int(limit) or not stat:
        return None
    unreclaimable = sum(
        stat.get(key, 0)
        for key in ("anon", "shmem", "kernel_stack", "pagetables", "slab_unreclaimable")
    )
    # The kernel counts shared memory among the files, although nothing can read it again.
    return Memory(unreclaimable, max(0, stat.get("file", 0) - stat.get("shmem", 0)), int(limit))


def memory(root: Path = ROOT) -> Memory | None:
    """Return the memory in use and its limit, or None where the kernel does not tell."""
    host = _meminfo(root)
    total = host.get("MemTotal")
    if total is None:
        return None
    of_group = group_memory(cgroup_dir(root))
    if of_group is not None:
        return replace(of_group, limit=min(of_group.limit, total))
    available = host.get("MemAvailable", total)
    return Memory(total - available, host.get("Cached", 0), total)


def memory_available(root: Path = ROOT) -> int | None:
    """Return how many bytes a new process could take, or None where the kernel does not tell."""
    now = memory(root)
    available = _meminfo(root).get("MemAvailable")
    if now is None or available is None:
        return None
    return min(available, now.limit - now.unreclaimable)


def cpu_pressure_some(root: Path = ROOT) -> float | None:
    """Return the share of the last 10 s in which some task waited for a core, in [0, 1]."""
    return pressure(root / "proc/pressure/cpu", "avg10").get("some")


def pressure(file: Path, average: str = "avg60") -> dict[str, float]:
    """Read a file of pressure stall information, the host's or a cgroup's.

    Returns:
        The share of the time, in [0, 1], by who stood still: ``some`` or ``full`` (all) tasks.
        Empty where the kernel does not tell.
    """
    found = {}
    for line in (_text(file) or "").splitlines():
        who, *words = line.split()
        fields = dict(word.partition("=")[::2] for word in words)
        if average in fields:
            found[who] = float(fields[average]) / 100
    return found


@dataclass(frozen=True, slots=True)
class CpuTicks:
    """Counters of the whole host since boot, in clock ticks."""

    total: int
    idle: int
    steal: int
    programs: int
    """Spent by programs and the kernel on their behalf; not by interrupts."""
    throttled_us: int
    """Time in which this cgroup was held back by its quota, in microseconds."""


def cpu_ticks(root: Path = ROOT) -> CpuTicks | None:
    """Read ``/proc/stat`` and the cgroup's ``cpu.stat``; None where the kernel does not tell."""
    first = (_text(root / "proc/stat") or "").partition("\n")[0].split()
    if len(first) < 9 or first[0] != "cpu":
        return None
    # user nice system idle iowait irq softirq steal; guest time is inside user already.
    ticks = [int(word) for word in first[1:9]]
    throttled = _keyed(_text(cgroup_dir(root) / "cpu.stat")).get("throttled_usec", 0)
    return CpuTicks(sum(ticks), ticks[3] + ticks[4], ticks[7], sum(ticks[:3]), throttled)


class Usage(NamedTuple):
    """What one process has used since it began."""

    parent: int
    name: str
    """As the kernel has it: the program's, cut to 15 characters."""
    ticks: int
    """Clock ticks on a core."""
    started: int
    """Clock ticks after boot: with the process id it names a process for good."""


def processes(root: Path = ROOT) -> dict[int, Usage]:
    """Return the processes that this one can see, kernel threads among them, by id."""
    found = {}
    for folder in (root / "proc").glob("[0-9]*"):
        text = _text(folder / "stat")  # None: it ended meanwhile
        # The name stands in brackets and may hold anything.
        start, _, rest = (text or "").rpartition(")")
        words = rest.split()
        if len(words) > 19:
            name = start.partition("(")[2]
            used = int(words[11]) + int(words[12])
            found[int(folder.name)] = Usage(int(words[1]), name, used, int(words[19]))
    return found


def describe(root: Path = ROOT) -> dict[str, Any]:
    """Return what a reader of figures must know of the machine."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in (_text(root / "proc/cpuinfo") or "").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    now = memory(root)
    return {
        "cpu_model": model,
        "cores": cpu_quota(root),
        "memory_bytes": now.limit if now else None,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
