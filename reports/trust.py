"""Whether the machine and the load generator were fit to measure with, step by step.

Rules beside those of the calibration and of steal and throttling (:mod:`reports.verdict`). Each is
a pure function of what was seen while the step was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.records import BlockResult, Manifest
from firsttoken.core.words import EndedBy
from reports import load, text
from reports.load import RunData

MAX_LOOP_LAG_MS = 20.0
"""Lag of the generator's event loop, 99th percentile. A first token that comes in meanwhile is
stamped late by it: at this limit one in a hundred is late by more than 5 % of 400 ms, so the p95
that is read lies at most there above the true p96."""

MAX_GENERATOR_CPU = 0.9
"""Cores. The generator is one thread: from here on it is busy when tokens arrive, and what looks
like a slow server is a queue in the generator."""

BUSY_HOST = 0.90
"""Share of its cores from which on a machine has none to spare: only then does the generator take
from the engine what it uses."""

NOTED_GENERATOR_SHARE = 0.10
"""Share of a busy machine that the generator uses, worth a note: on a machine of its own the engine
would have a ninth more."""

MAX_GENERATOR_SHARE = 0.25
"""Share of a busy machine from which on it is the generator that is measured: the engine would have
a third more without it."""

MAX_FOREIGN_CORES = 0.25
MAX_FOREIGN_SHARE = 0.05
"""What other programs may use on average: a quarter of a core (a desktop at rest, a monitoring
agent), or a twentieth of a large machine, where it delays a first token about as much as the same
share of steal."""


class Usage(NamedTuple):
    """Means over a step, in cores; None: not known."""

    cores: float
    host: float | None
    generator: float | None
    engine: float | None
    foreign: float | None
    foreign_program: str | None
    """The one that most often used most."""
    pinned: bool
    """Whether generator and servers had cores of their own."""


def usages(data: RunData) -> dict[tuple[str, int], Usage]:
    """Return by arm and step who used the cores while it was measured."""

    def known(value: float) -> float | None:
        return None if math.isnan(value) else float(value)

    found = {}
    for cell in data.cells:
        means = load.host_means(data.host, cell.window_ns)
        found[cell.arm, cell.step_users] = Usage(
            cores=float(data.manifest.host.get("cores") or 0.0),
            host=known(means["host_cpu"]),
            generator=known(means["generator_cpu"]),
            engine=known(means["engine_cpu"]),
            foreign=known(means["foreign_cpu"]),
            foreign_program=load.foreign_program(data.host, cell.window_ns),
            pinned=bool(data.manifest.affinity),
        )
    return found


def generator_faults(blocks: Sequence[BlockResult], users: int) -> list[str]:
    """Return how the load generator itself could not keep up in a step's blocks."""
    where = text.users(users)
    lag = max((block.loop_lag_p99_ms for block in blocks), default=0.0)
    cpu = max((block.generator_cpu for block in blocks), default=0.0)
    faults = []
    if lag > MAX_LOOP_LAG_MS:
        faults.append(
            f"the load generator's event loop was late by p99 {lag:.1f} ms at {where}, "
            f"limit {MAX_LOOP_LAG_MS:g} ms"
        )
    if cpu > MAX_GENERATOR_CPU:
        faults.append(
            f"the load generator was saturated at {where}: it used {cpu:.2f} of the one core that "
            "it can use; give it --workers"
        )
    return faults


def foreign_limit(cores: float) -> float:
    """Return how many cores other programs may use."""
    return max(MAX_FOREIGN_CORES, MAX_FOREIGN_SHARE * cores)


def foreign_faults(usage: Usage, users: int) -> list[str]:
    """Return whether other programs took cores in a step."""
    limit = foreign_limit(usage.cores)
    # NaN and None are not known, and no fault.
    if usage.foreign is None or not usage.foreign > limit:
        return []
    most = f", most of it {usage.foreign_program}" if usage.foreign_program else ""
    used = f"other programs used {usage.foreign:.2f} cores at {text.users(users)}"
    return [f"{used}{most}; limit {limit:.2f}"]


def _generator_share(usage: Usage) -> float | None:
    """Return the generator's share of a machine that it shares with the engine and that has no
    core to spare; None: it takes nothing from the engine, or that is not known."""
    known = usage.host is not None and usage.generator is not None and usage.engine is not None
    if usage.pinned or not known or usage.cores <= 0:
        return None
    host, generator = usage.host or 0.0, usage.generator or 0.0
    return generator / usage.cores if host / usage.cores > BUSY_HOST else None


def sharing_faults(usage: Usage, users: int) -> list[str]:
    """Return whether the generator took so much from the engine that it measured itself."""
    share = _generator_share(usage)
    if share is None or share <= MAX_GENERATOR_SHARE:
        return []
    used = f"the load generator used {share:.0%} of a busy machine at {text.users(users)}"
    return [f"{used}, limit {MAX_GENERATOR_SHARE:.0%}: run it on another machine, or with --pin"]


def _sharing_notes(usage: Usage, arm: str, users: int) -> list[str]:
    """Return a note where the generator took from the engine, but not too much."""
    share = _generator_share(usage)
    if share is None or not NOTED_GENERATOR_SHARE < share <= MAX_GENERATOR_SHARE:
        return []
    used = f"{arm}, {text.users(users)}: the load generator used {share:.0%} of a busy machine"
    return [f"{used}; on a machine of its own the engine would be faster"]


def saturated(manifest: Manifest) -> dict[tuple[str, int], str]:
    """Return by arm and step, of those whose load never came to rest, a sentence that says so."""
    return {
        (block.arm, block.step_users): f"{block.arm}, {text.users(block.step_users)}: saturated: "
        "first tokens or requests in flight never came to rest, so the figures depend on when one "
        "looks, and no claim can PASS"
        for block in manifest.blocks
        if block.settled is False
    }


def _ending_notes(manifest: Manifest) -> list[str]:
    """Return what ended steady parts that were to go on until the p95 was sharp."""
    notes = []
    for block in manifest.blocks:
        if block.ended_by is None:
            continue
        width = "not bounded" if block.ci_half_width is None else f"{block.ci_half_width:.1%}"
        seconds = (block.stop_ns - block.steady_ns) / NS_PER_S
        why = "sharp enough" if block.ended_by == EndedBy.INTERVAL else "stopped at the cap"
        notes.append(
            f"{block.arm}, {text.users(block.step_users)}: {why} after {seconds:.0f} s; half the "
            f"interval of the TTFT p95 was {width} of it"
        )
    return notes


def notes(manifest: Manifest, usage: Mapping[tuple[str, int], Usage]) -> list[str]:
    """Return what a reader must know of how the steps were measured, each a sentence."""
    shared = [
        note for (arm, users), used in usage.items() for note in _sharing_notes(used, arm, users)
    ]
    return [*saturated(manifest).values(), *_ending_notes(manifest), *shared]


def blocks_of(manifest: Manifest, arm: str, users: int) -> list[BlockResult]:
    """Return what each load generator says of a step."""
    mine = [item for item in manifest.blocks if (item.arm, item.step_users) == (arm, users)]
    numbers = {item.number for item in mine}
    shares = [item for item in manifest.shares if item.number in numbers]
    return shares or mine
