"""How much of its memory limit a local engine holds in a way that the kernel cannot take back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psutil

from firsttoken.core.host import ROOT

_UNRECLAIMABLE = ("anon", "shmem", "kernel_stack", "pagetables", "slab_unreclaimable")


def memory_share(processes: Sequence[psutil.Process], root: Path = ROOT) -> float | None:
    """Return unreclaimable memory / limit of the control group of the first process.

    Where the group has no limit: the resident memory of all ``processes`` that belongs to no file
    / the memory of the host. None where it cannot be told, and without a process.
    """
    if not processes:
        return None
    of_group = _of_group(processes[0].pid, root)
    return _of_host(processes) if of_group is None else of_group


def _of_group(pid: int, root: Path) -> float | None:
    try:
        lines = (root / f"proc/{pid}/cgroup").read_text().splitlines()
        path = next(line[3:] for line in lines if line.startswith("0::"))
        group = root / "sys/fs/cgroup" / path.lstrip("/")
        limit = int((group / "memory.max").read_text())
        pairs = (line.split() for line in (group / "memory.stat").read_text().splitlines())
        stat = {pair[0]: int(pair[1]) for pair in pairs}
        return sum(stat.get(key, 0) for key in _UNRECLAIMABLE) / limit
    except (OSError, ValueError, StopIteration, IndexError, ZeroDivisionError):
        return None  # no control group of the second version, or no limit ("max")


def _of_host(processes: Sequence[psutil.Process]) -> float | None:
    try:
        held = sum(info.rss - info.shared for info in (each.memory_info() for each in processes))
    except psutil.Error:
        return None
    return float(held / psutil.virtual_memory().total)
