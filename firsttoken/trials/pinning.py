"""Keeps load generator and servers on cores of their own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from firsttoken.core.errors import UserError

MIN_CORES = 3


@dataclass(frozen=True, slots=True)
class Pinning:
    """Which cores are whose."""

    generator: frozenset[int]
    servers: frozenset[int]

    def as_lists(self) -> dict[str, list[int]]:
        """Return it as the manifest has it."""
        return {"generator": sorted(self.generator), "servers": sorted(self.servers)}


def split(cores: Iterable[int]) -> Pinning:
    """Give the last core to the generator, which is one process with one thread that works, and
    the rest to the servers.

    Raises:
        UserError: fewer than three cores: the engine would be left with half of them or none.
    """
    ordered = sorted(cores)
    if len(ordered) < MIN_CORES:
        raise UserError(
            f"--pin needs {MIN_CORES} cores, this process may use {len(ordered)}: the engine would "
            "be measured with half a machine; run the load generator on another one"
        )
    return Pinning(frozenset(ordered[-1:]), frozenset(ordered[:-1]))


def plan() -> Pinning:
    """Split the cores that this process may use; raises as :func:`split` does."""
    return split(os.sched_getaffinity(0))


def keep_to(pid: int, cores: Iterable[int]) -> None:
    """Keep every thread of a process, and what it starts from now on, to ``cores``.

    Raises:
        UserError: it is another user's.
    """
    wanted = set(cores)
    for task in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        try:
            os.sched_setaffinity(int(task.name), wanted)
        except ProcessLookupError:
            continue  # the thread has ended
        except OSError as error:
            raise UserError(f"cannot pin process {pid}: {error.strerror or error}") from error


@contextmanager
def servers_apart(pinning: Pinning | None) -> Iterator[None]:
    """Keep this process, and so every server that it starts meanwhile, to the servers' cores.

    An engine that is started within counts these cores and runs as many threads.
    """
    if pinning is None:
        yield
        return
    before = os.sched_getaffinity(0)
    keep_to(os.getpid(), pinning.servers)
    try:
        yield
    finally:
        keep_to(os.getpid(), before)


def check_servers(pids: Iterable[int], pinning: Pinning) -> None:
    """Check that servers that somebody else started leave the generator's core alone.

    They are not moved: an engine runs as many threads as it counted cores when it began, and with
    fewer cores these wait for each other.

    Raises:
        UserError: one may run on it; the message says how to start it.
    """
    for pid in pids:
        try:
            shared = os.sched_getaffinity(pid) & pinning.generator
        except ProcessLookupError:
            continue
        if shared:
            cores = ",".join(str(core) for core in sorted(pinning.servers))
            raise UserError(
                f"--pin: the server (process {pid}) may run on core {min(shared)}, which is to be "
                f"the load generator's; start it with: taskset -c {cores} COMMAND"
            )
