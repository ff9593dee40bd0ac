"""The share of its CPU quota that a local engine uses, found by the port it listens on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

import psutil

from firsttoken.core.host import cpu_quota
from firsttoken.core.settings.endpoint import is_loopback

MEAN_S = 30.0
_CHILDREN_S = 10.0
"""How often the children are looked for anew: Ollama starts one for each model it loads."""
_SEARCH_S = 30.0
"""How often an engine that was not found is looked for."""

Find = Callable[[], int | None]
"""Returns the process id of the engine, or None."""


def loopback_port(url: str) -> int | None:
    """Return the port of a URL that leads to this machine, else None."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    with suppress(ValueError):
        if is_loopback(host):
            return parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return None


def listener(port: int) -> int | None:
    """Return the process that listens on a TCP port of this machine, where we may know it.

    It takes some milliseconds, since the files of all processes are looked through.
    """
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return None
    for each in connections:
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port:
            return each.pid
    return None


class CpuMeter:
    """Measures the engine's processes, children included.

    :meth:`search` looks for them and takes milliseconds: call it in a thread where :meth:`due`
    says so. :meth:`sample` reads their times and takes microseconds.

    Args:
        find: finds the engine's process.
        now_s: a clock in seconds.
        quota: cores it may use; left out, what this process may use.
    """

    def __init__(self, find: Find, now_s: Callable[[], float], quota: float | None = None) -> None:
        self._find = find
        self._now_s = now_s
        self._quota = quota or cpu_quota()
        self._engine: psutil.Process | None = None
        self._seen: dict[psutil.Process, float] = {}
        self._searched_s: float | None = None
        self._busy_s = 0.0
        self._samples: deque[tuple[float, float]] = deque(maxlen=1024)

    @property
    def processes(self) -> tuple[psutil.Process, ...]:
        """The engine's process first, then its children; empty where it was not found."""
        return tuple(self._seen)

    def due(self) -> bool:
        """Say whether the processes have to be looked for."""
        every_s = _CHILDREN_S if self._engine else _SEARCH_S
        return self._searched_s is None or self._now_s() - self._searched_s >= every_s

    def search(self) -> None:
        """Find the engine's processes; what is known of those found before is kept."""
        self._searched_s = self._now_s()
        try:
            if self._engine is None or not _lives(self._engine):
                pid = self._find()
                self._engine = psutil.Process(pid) if pid else None
            engine = self._engine
            found = [engine, *engine.children(recursive=True)] if engine else []
        except psutil.Error:
            self._engine, found = None, []
        # An engine met for the first time has used time before that is none of this window's.
        self._seen = {each: self._seen.get(each, -1.0) for each in found}

    def sample(self) -> float | None:
        """Return the mean share of the quota over the last 30 s; None until so much is known."""
        if self._engine is None:
            self._samples.clear()
            return None
        for process, before_s in tuple(self._seen.items()):
            try:
                times = process.cpu_times()
            except psutil.Error:
                del self._seen[process]
                if process == self._engine:
                    self._engine, self._searched_s = None, None  # look for the next one at once
                continue
            total_s = times.user + times.system
            self._busy_s += total_s - before_s if before_s >= 0 else 0.0
            self._seen[process] = total_s
        return self._mean(self._now_s())

    def _mean(self, now_s: float) -> float | None:
        self._samples.append((now_s, self._busy_s))
        while len(self._samples) > 1 and now_s - self._samples[1][0] >= MEAN_S:
            self._samples.popleft()
        began_s, busy_s = self._samples[0]
        if now_s - began_s < MEAN_S:
            return None
        return (self._busy_s - busy_s) / ((now_s - began_s) * self._quota)


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
