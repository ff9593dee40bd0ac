"""How much memory a local engine holds, and how much of it the kernel cannot take back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psutil

from firsttoken.core.host import ROOT, Memory, cgroup_dir, group_memory


def engine_memory(processes: Sequence[psutil.Process], root: Path = ROOT) -> Memory | None:
    """Return the memory of the control group of the first process.

    Where the group has no limit: the resident memory of all ``processes``, that of files apart,
    and the memory of the host as the limit. None where it cannot be told, and without a process.
    """
    if not processes:
        return None
    return group_memory(cgroup_dir(root, processes[0].pid)) or _of_host(processes)


def memory_share(processes: Sequence[psutil.Process], root: Path = ROOT) -> float | None:
    """Return unreclaimable memory / limit as :func:`engine_memory` has them."""
    now = engine_memory(processes, root)
    return None if now is None else now.unreclaimable / now.limit


def _of_host(processes: Sequence[psutil.Process]) -> Memory | None:
    try:
        infos = [each.memory_info() for each in processes]
    except psutil.Error:
        return None
    held = sum(info.rss - info.shared for info in infos)
    # Processes of one engine share what they map: counted once, at its largest.
    mapped = max(info.shared for info in infos)
    return Memory(held, mapped, psutil.virtual_memory().total)
