"""Which resource ran out: named from what was sampled while a load failed, with its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas as pd

from firsttoken.core.clock import NS_PER_S
from firsttoken.core.records import Manifest, read_table
from firsttoken.core.words import Phase, Tier
from reports import text
from reports.load import delays_ms
from reports.statistics import quantile
from reports.trust import BUSY_HOST, MAX_GENERATOR_SHARE
from reports.verdict import MAX_STEAL_SHARE, MAX_THROTTLED_SHARE

BUSY_SHARE = BUSY_HOST
"""Share of the cores, or of the memory limit, from which on a resource is spent."""
QUEUE_SHARE = 0.20
"""Share of TTFT p95 that waiting for a slot may take."""
UPSTREAM_SHARE = 0.50
"""Share of the late requests, answered by the remote tier, from which on that is what is slow."""


_HOST_COLUMNS = (
    "t_ns",
    "engine_cpu",
    "router_cpu",
    "generator_cpu",
    "host_cpu",
    "steal_share",
    "throttled_share",
    "memory_unreclaimable_bytes",
    "memory_limit_bytes",
)


class Resource(StrEnum):
    """What can run out."""

    HELD_BACK = "machine held back"
    GENERATOR = "load generator"
    MEMORY = "memory"
    PROCESSOR = "processor"
    ENGINE_SLOTS = "engine slots"
    UPSTREAM = "remote service"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen while a load failed; None: not known. Cores are means, memory is the peak."""

    cores: float
    engine_cores: float | None = None
    router_cores: float | None = None
    generator_cores: float | None = None
    host_cores: float | None = None
    steal_share: float | None = None
    throttled_share: float | None = None
    memory_share: float | None = None
    ttft_p95_ms: float | None = None
    """Of the requests that got a first token."""
    router_queue_p95_ms: float | None = None
    """Waiting for admission, as the router told."""
    engine_wait_p95_ms: float | None = None
    """TTFT less the engine's own loading and reading of the prompt, of an engine asked directly."""
    late: int = 0
    """Requests that were later than the target."""
    late_remote: int = 0
    """Those of them that the remote tier answered."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The resource that ran out."""

    resource: Resource
    why: str
    """Its figures."""
    also: tuple[str, ...] = ()
    """Other resources that were spent as well, each with its figures."""


def _held_back(seen: Evidence) -> str | None:
    taken = [
        f"{what} {text.quantity(share, 'share')} of the time"
        for share, limit, what in (
            (seen.steal_share, MAX_STEAL_SHARE, "the hypervisor took"),
            (seen.throttled_share, MAX_THROTTLED_SHARE, "the CPU quota held it back for"),
        )
        if share is not None and share > limit
    ]
    return ", ".join(taken) or None


def _generator(seen: Evidence) -> str | None:
    if _of_cores("", seen.host_cores, seen.cores, BUSY_SHARE) is None:
        return None
    used = seen.generator_cores
    return _of_cores("the load generator used", used, seen.cores, MAX_GENERATOR_SHARE)


def _memory(seen: Evidence) -> str | None:
    if seen.memory_share is None or seen.memory_share < BUSY_SHARE:
        return None
    return f"{text.quantity(seen.memory_share, 'share')} of its limit at most"


def _processor(seen: Evidence) -> str | None:
    engine = _of_cores("the engine used", seen.engine_cores, seen.cores, BUSY_SHARE)
    if engine is not None:
        return engine
    whole = _of_cores("all processes used", seen.host_cores, seen.cores, BUSY_SHARE)
    if whole is None:
        return None
    parts = [
        f"{name} {value:.2f}"
        for name, value in (
            ("engine", seen.engine_cores),
            ("router", seen.router_cores),
            ("generator", seen.generator_cores),
        )
        if value is not None
    ]
    return f"{whole} ({', '.join(parts)})" if parts else whole


def _of_cores(what: str, used: float | None, cores: float, limit: float) -> str | None:
    if used is None or used < limit * cores:
        return None
    return f"{what} {used:.2f} of {cores:g} cores"


def _engine_slots(seen: Evidence) -> str | None:
    for waited, what in (
        (seen.router_queue_p95_ms, "waiting for a slot at the router"),
        (seen.engine_wait_p95_ms, "waiting inside the engine"),
    ):
        p95 = seen.ttft_p95_ms
        if waited is not None and p95 and waited > QUEUE_SHARE * p95:
            return f"{what} took {waited:.0f} ms at p95, TTFT p95 was {p95:.0f} ms"
    return None


def _upstream(seen: Evidence) -> str | None:
    if not seen.late_remote or seen.late_remote < UPSTREAM_SHARE * seen.late:
        return None
    return f"{seen.late_remote} of {seen.late} late requests were answered by the remote tier"


_RULES: tuple[tuple[Resource, Callable[[Evidence], str | None]], ...] = (
    (Resource.HELD_BACK, _held_back),
    (Resource.GENERATOR, _generator),
    (Resource.MEMORY, _memory),
    (Resource.PROCESSOR, _processor),
    (Resource.ENGINE_SLOTS, _engine_slots),
    (Resource.UPSTREAM, _upstream),
)
"""In the order of what would have to be mended first: more slots do not help a busy processor."""


def limiting_resource(seen: Evidence) -> Limit:
    """Name the first resource that was spent, and the others beside it."""
    spent = [(resource, why) for resource, rule in _RULES if (why := rule(seen)) is not None]
    if not spent:
        return Limit(Resource.UNKNOWN, "nothing that was sampled was spent")
    (first, why), *others = spent
    return Limit(first, why, tuple(f"{resource}: {more}" for resource, more in others))


def evidence(run_dir: Path, blocks: Sequence[int], target_ms: float) -> Evidence:
    """Gather what a run's tables tell of some of its blocks.

    Raises:
        UserError: the run cannot be read.
    """
    manifest = Manifest.read(run_dir)
    requests = read_table(run_dir, "requests").to_pandas()
    rows = requests[requests["block"].isin(blocks) & (requests["phase"] == Phase.STEADY)]
    attempts = read_table(run_dir, "attempts", ["request_id", "queue_ms"]).to_pandas()
    host = read_table(run_dir, "host", _HOST_COLUMNS).to_pandas()
    inside = np.zeros(len(host), dtype=bool)
    for block in manifest.blocks:
        if block.number in blocks:
            # A sample speaks of the second before it.
            seen = (host["t_ns"] > block.steady_ns + NS_PER_S) & (host["t_ns"] <= block.ended_ns)
            inside |= seen.to_numpy()
    means = host[inside].mean()

    def mean(column: str) -> float | None:
        value = float(means[column])
        return None if np.isnan(value) else value

    memory = host[inside]["memory_unreclaimable_bytes"] / host[inside]["memory_limit_bytes"]
    waited = rows["ttft_ms"] - rows["prompt_ms"] - rows["load_ms"].fillna(0.0)
    late = rows[delays_ms(rows, target_ms) > target_ms]
    return Evidence(
        cores=float(manifest.host["cores"]),
        engine_cores=mean("engine_cpu"),
        router_cores=mean("router_cpu"),
        generator_cores=mean("generator_cpu"),
        host_cores=mean("host_cpu"),
        steal_share=mean("steal_share"),
        throttled_share=mean("throttled_share"),
        memory_share=float(memory.max()) if memory.notna().any() else None,
        ttft_p95_ms=_p95(rows["ttft_ms"]),
        router_queue_p95_ms=_p95(
            attempts[attempts["request_id"].isin(rows["request_id"])]["queue_ms"]
        ),
        # Behind a router, what the engine tells is only a part of the way.
        engine_wait_p95_ms=None if rows["tier"].notna().any() else _p95(waited),
        late=len(late),
        late_remote=int((late["tier"] == Tier.REMOTE).sum()),
    )


def _p95(values: pd.Series[float]) -> float | None:
    return quantile(values.dropna().to_numpy(dtype=np.float64), 0.95).value
